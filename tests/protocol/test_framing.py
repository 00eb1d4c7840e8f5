# SPDX-License-Identifier: MIT
"""Messages as such: sizes, flags, ids, fds, halves, and clients that do not listen."""
import errno
import os
import socket
import struct
import time

import tap
from vfio_user import *

INFO = struct.pack("=IIII", 16, 0, 0, 0)


class Framing(ServerCase):
    def lose(self, data, fds=()):
        client = self.connect()
        client.send_raw(data, fds)
        self.assert_lost(client)

    def test_sizes_that_cannot_be(self):
        for size in (0, 1, 15, 1048576 + 4096 + 1, 0x7FFFFFFF, 0xFFFFFFFF):
            with self.subTest(size=size):
                self.lose(HEADER.pack(1, GET_INFO, size, 0, 0) + INFO)

    def test_flags_that_cannot_be(self):
        for flags in (0x2, 0xF, 0x40, 0x80000000, ERROR):
            with self.subTest(flags=flags):
                self.lose(HEADER.pack(1, GET_INFO, 32, flags, 0) + INFO)

    def test_unsolicited_replies(self):
        for command in (GET_INFO, DMA_READ, DMA_WRITE, 99):
            with self.subTest(command=command):
                self.lose(HEADER.pack(0, command, 32, TYPE_REPLY, 0) + INFO)

    def test_unknown_commands(self):
        client = self.connect()
        for command in (0, DMA_READ, DMA_WRITE, DIRTY_PAGES, 19, 255, 0xFFFF):
            for body in (b"", bytes(16), bytes(5000)):
                with self.subTest(command=command, size=len(body)):
                    self.refused(errno.ENOSYS, client.ask, command, body)
        self.assertTrue(client.alive())

    def test_body_sizes(self):
        client = self.connect()
        fixed = {DMA_MAP: 32, GET_INFO: 16, GET_REGION_INFO: 32, GET_REGION_IO_FDS: 16, GET_IRQ_INFO: 16, REGION_READ: 16, RESET: 0}
        least = {DMA_UNMAP: 24, SET_IRQS: 20, REGION_WRITE: 16, REGION_WRITE_MULTI: 8, DEVICE_FEATURE: 8}
        for command, size in fixed.items():
            for wrong in {size - 1, size + 1, 0, 4096} - {-1, size}:
                with self.subTest(command=command, size=wrong):
                    self.refused(errno.EINVAL, client.ask, command, bytes(wrong))
        for command, size in least.items():
            for wrong in (0, size - 1):
                with self.subTest(command=command, size=wrong):
                    self.refused(errno.EINVAL, client.ask, command, bytes(wrong))
        self.assertTrue(client.alive())

    def test_fds_where_none_belong(self):
        client = self.connect()
        before = self.server.fds()
        for command, size in ((GET_INFO, 16), (GET_REGION_INFO, 32), (REGION_READ, 16), (DMA_UNMAP, 24), (RESET, 0), (99, 0)):
            with self.subTest(command=command):
                with self.assertRaises(OSError):
                    client.ask(command, bytes(size), fds=[0, 1])
        self.assertTrue(client.alive())
        self.assertEqual(self.server.fds(), before)

    def test_too_many_fds(self):
        before = self.server.fds()
        for count in (17, 18, 64, 253):
            with self.subTest(count=count):
                self.lose(HEADER.pack(1, GET_INFO, 32, 0, 0) + INFO, [0] * count)
        self.server.wait_for(lambda status: not status["connected"] or self.server.fds() <= before + 1)

    def test_too_many_fds_in_pieces(self):
        client = self.connect()
        client.send_raw(HEADER.pack(1, GET_INFO, 32, 0, 0), [0] * 10)
        client.send_raw(INFO, [0] * 7)
        self.assert_lost(client)

    def test_id_is_echoed(self):
        client = self.connect()
        for id in (0, 1, 0x1234, 0xFFFF, 0xFFFF):
            self.assertEqual(client.call(GET_INFO, INFO, id=id).id, id)

    def test_error_field_of_a_command_is_ignored(self):
        self.assertFalse(self.connect().call(GET_INFO, INFO, error=77).flags & ERROR)

    def test_no_reply(self):
        client = self.connect()
        client.send(GET_INFO, INFO, flags=NO_REPLY)
        client.send(99, b"", flags=NO_REPLY)
        client.send(REGION_WRITE, struct.pack("=QII", 0, 99, 0), flags=NO_REPLY)
        self.assertTrue(client.alive())

    def test_pipelined(self):
        client = self.connect()
        ids = [client.send(GET_INFO, INFO) for _ in range(300)]
        self.assertEqual([client.receive().id for _ in ids], ids)

    def test_byte_by_byte(self):
        client = self.connect()
        for byte in HEADER.pack(7, GET_INFO, 32, 0, 0) + INFO:
            client.send_raw(bytes([byte]))
            time.sleep(0.001)
        self.assertEqual(client.receive().id, 7)

    def test_half_a_message(self):
        """The loop goes on while a client stays in the middle of a message, and the rest of it is still welcome."""
        message = HEADER.pack(7, GET_INFO, 32, 0, 0) + INFO
        for half in (1, 8, 15, 16, 17, 31):
            with self.subTest(half=half):
                client = self.connect()
                client.send_raw(message[:half])
                time.sleep(0.02)
                self.assertTrue(self.server.status()["connected"])
                client.send_raw(message[half:])
                self.assertEqual(client.receive().id, 7)
                client.close()

    def test_half_a_message_and_gone(self):
        before = self.server.fds()
        for half in (1, 15, 16, 20):
            client = self.connect()
            client.send_raw((HEADER.pack(7, DMA_MAP, 48, 0, 0) + bytes(32))[:half], [0, 1, 2])
            client.close()
            self.server.wait_for(lambda status: not status["connected"])
        self.assertEqual(self.server.fds(), before)

    def test_announced_and_not_sent(self):
        """A header that announces a megabyte, and nothing behind it."""
        client = self.connect()
        client.send_raw(HEADER.pack(7, REGION_WRITE, 1048576 + 32, 0, 0))
        self.assertTrue(self.server.status()["connected"])

    def test_largest_message(self):
        client = self.connect()
        self.refused(errno.EINVAL, client.write, BAR4, 0, bytes(1048576))
        self.assertTrue(client.alive())

    def test_replies_nobody_reads(self):
        """A client that only asks is dropped when too much waits for it, and costs bounded memory."""
        client = self.connect()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        resident = self.server.resident()
        question = HEADER.pack(1, REGION_READ, 32, 0, 0) + struct.pack("=QII", 0, BAR4, 16384)
        with self.assertRaises(OSError):
            for _ in range(100000):
                client.send_raw(question)
        self.assertLess(self.server.resident() - resident, 32768)
        with Client(self.server.path) as other:
            self.assertTrue(other.alive())

    def test_slow_reader_gets_everything(self):
        client = self.connect()
        question = HEADER.pack(1, REGION_READ, 32, 0, 0) + struct.pack("=QII", 0, BAR4, 16384)
        client.send_raw(question * 100)
        time.sleep(0.1)
        for _ in range(100):
            self.assertEqual(client.receive().size, 16 + 16 + 16384)


tap.main()
