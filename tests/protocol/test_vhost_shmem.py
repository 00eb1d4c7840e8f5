# SPDX-License-Identifier: MIT
"""The back-end's shared memory region: what a front-end is told of it, and what it is asked to place there."""
import errno
import os
import struct
import time

import tap
from vhost_user import *

PROTOCOL = FrontEnd.PROTOCOL_FEATURES | bits(BACKEND_REQ, BACKEND_SEND_FD, SHMEM)
SHM_ID, SHM_SIZE, PAGE = 1, 1 << 20, 4096


class Shmem(ServerCase):
    def open(self, protocol_features=PROTOCOL):
        front_end, _, ring = self.machine(protocol_features=protocol_features)
        channel = front_end.backend_channel() if protocol_features & bits(BACKEND_REQ) else None
        if channel:
            self.addCleanup(channel.close)
        return front_end, ring, channel

    def tearDown(self):
        super().tearDown()
        self.assertEqual(self.server.status()["placing"], 0, "a chain waits for nobody")

    def put(self, ring, word, offset, size=PAGE, writable=1, at=0x4000):
        data = word + struct.pack("=QQQ", offset, size, writable)
        ring.memory.map[at : at + len(data)] = data
        ring.put([(at, len(data), False), (at + 0x1000, 64, True)])
        ring.ring()

    def answer(self, ring, at=0x4000):
        """The errno that the guest gets."""
        self.assertEqual(ring.wait(), 4, "the result and nothing else")
        return struct.unpack_from("=I", ring.memory.map, at + 0x1000)[0]

    def take(self, channel, request, offset, size=PAGE, writable=1):
        """The request, whose fds are closed at the end."""
        message = channel.receive()
        flags = writable if request == BACKEND_SHMEM_MAP else 0
        self.assertEqual((message.request, message.flags), (request, VERSION | NEED_REPLY))
        self.assertEqual(message.payload, struct.pack("=B7xQQQQ", SHM_ID, 0, offset, size, flags))
        self.assertEqual(len(message.fds), request == BACKEND_SHMEM_MAP)
        return [self.fd(fd) for fd in message.fds]

    def reply(self, channel, request, value=0):
        channel.send(request, struct.pack("=Q", value), flags=VERSION | REPLY)

    def test_config(self):
        front_end, _, _ = self.open()
        payload = front_end.ask(GET_SHMEM_CONFIG).payload
        sizes = struct.unpack("=II256Q", payload)
        self.assertEqual((sizes[0], sizes[1]), (1, 0))
        self.assertEqual([(i, size) for i, size in enumerate(sizes[2:]) if size], [(SHM_ID, SHM_SIZE)])

    def test_no_region_where_nothing_can_be_placed(self):
        """Without the channel, its fds, or acknowledgements no guest is to see a region."""
        for missing in (BACKEND_REQ, BACKEND_SEND_FD, REPLY_ACK):
            with self.subTest(missing=missing):
                front_end, ring, _ = self.open(PROTOCOL & ~bits(missing))
                self.assertEqual(front_end.ask(GET_SHMEM_CONFIG).payload, bytes(8 + 8 * 256))
                self.put(ring, b"place", 0)
                self.assertEqual(self.answer(ring), errno.EOPNOTSUPP)
                front_end.close()

    def test_not_negotiated(self):
        front_end, ring, _ = self.open(PROTOCOL & ~bits(SHMEM))
        self.put(ring, b"place", 0)
        self.assertEqual(self.answer(ring), errno.EOPNOTSUPP)
        front_end.send(GET_SHMEM_CONFIG)
        self.assert_lost(front_end)

    def test_malformed(self):
        for how in ({"payload": b"more"}, {"fds": [0]}):
            with self.subTest(how=how):
                front_end, _, _ = self.open()
                front_end.send(GET_SHMEM_CONFIG, **how)
                self.assert_lost(front_end)

    def test_map_and_unmap(self):
        _, ring, channel = self.open()
        for offset, size, writable in ((0, PAGE, 1), (SHM_SIZE - 4 * PAGE, 4 * PAGE, 0)):
            self.put(ring, b"place", offset, size, writable)
            (fd,) = self.take(channel, BACKEND_SHMEM_MAP, offset, size, writable)
            self.assertTrue(ring.silent(), "nobody has placed it yet")
            self.assertEqual((os.pread(fd, 6, 0), os.fstat(fd).st_size), (b"placed", size))
            self.reply(channel, BACKEND_SHMEM_MAP)
            self.assertEqual(self.answer(ring), 0)
        self.put(ring, b"displace", 0)
        self.take(channel, BACKEND_SHMEM_UNMAP, 0)
        self.reply(channel, BACKEND_SHMEM_UNMAP)
        self.assertEqual(self.answer(ring), 0)

    def test_refused(self):
        _, ring, channel = self.open()
        for word, request in ((b"place", BACKEND_SHMEM_MAP), (b"displace", BACKEND_SHMEM_UNMAP)):
            self.put(ring, word, PAGE)
            self.take(channel, request, PAGE)
            self.reply(channel, request, errno.EEXIST)
            self.assertEqual(self.answer(ring), errno.EREMOTEIO)
        self.assertTrue(ring.echoes())

    def test_others_go_on(self):
        """Also with a front-end that takes its time; answers come in any order."""
        front_end, ring, channel = self.open()
        self.put(ring, b"place", 0)
        self.take(channel, BACKEND_SHMEM_MAP, 0)
        self.assertTrue(ring.echo(b"others", at=0x8000), b"others")
        front_end.set_config(15, b"x")
        message = channel.receive()
        self.assertEqual(message.request, BACKEND_CONFIG_CHANGE_MSG)
        self.reply(channel, BACKEND_CONFIG_CHANGE_MSG)
        self.reply(channel, BACKEND_SHMEM_MAP)
        self.assertEqual(self.answer(ring), 0)

    def test_never_answered(self):
        front_end, ring, channel = self.open()
        began = time.monotonic()
        self.put(ring, b"place", 0)
        self.take(channel, BACKEND_SHMEM_MAP, 0)
        self.assertEqual(self.answer(ring), errno.ETIMEDOUT)
        self.assertGreater(time.monotonic() - began, 1)
        self.reply(channel, BACKEND_SHMEM_MAP)  # after all
        self.assertTrue(ring.echoes() and front_end.alive() and self.server.status()["channel"])

    def test_channel_closed(self):
        front_end, ring, channel = self.open()
        self.put(ring, b"place", 0)
        self.take(channel, BACKEND_SHMEM_MAP, 0)
        channel.close()
        self.assertEqual(self.answer(ring), errno.ECONNRESET)
        self.put(ring, b"place", 0)
        self.assertEqual(self.answer(ring), errno.ENOTCONN)
        self.assertTrue(front_end.alive())

    def test_no_channel_yet(self):
        _, _, ring = self.machine(protocol_features=PROTOCOL)
        self.put(ring, b"place", 0)
        self.assertEqual(self.answer(ring), errno.ENOTCONN)

    def test_front_end_leaves(self):
        front_end, ring, channel = self.open()
        self.put(ring, b"place", 0)
        self.take(channel, BACKEND_SHMEM_MAP, 0)
        front_end.close()
        self.server.wait_for(lambda status: not status["connected"] and not status["placing"])

    def test_reset_and_stop(self):
        """What is under way ends for a ring that has stopped; its answer goes nowhere."""
        front_end, ring, channel = self.open()
        self.put(ring, b"place", 0)
        self.take(channel, BACKEND_SHMEM_MAP, 0)
        front_end.get_base(0)
        self.put(ring, b"place", 0)
        front_end.do(RESET_DEVICE)
        self.reply(channel, BACKEND_SHMEM_MAP)
        self.server.wait_for(lambda status: not status["placing"])
        self.assertEqual(ring.used(), ring.used_seen)

    def test_fds_do_not_leak(self):
        _, ring, channel = self.open()
        before = self.server.fds()
        for _ in range(50):
            self.put(ring, b"place", 0)
            message = channel.receive()
            os.close(message.fds[0])
            self.reply(channel, BACKEND_SHMEM_MAP, 1)
            self.assertEqual(self.answer(ring), errno.EREMOTEIO)
        self.assertEqual(self.server.fds(), before)


if __name__ == "__main__":
    tap.main()
