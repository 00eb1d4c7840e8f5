# SPDX-License-Identifier: MIT
"""DMA_MAP and DMA_UNMAP: what may be guest memory, and what becomes of it."""
import errno
import os
import socket
import struct

import tap
from vfio_user import *

PAGE = 4096


class Map(ServerCase):
    def regions(self):
        return self.server.status()["regions"]

    def test_with_and_without_fd(self):
        client, memory = self.connect(), self.memory(4 * PAGE)
        self.assertEqual(client.dma_map(0, 4 * PAGE, memory.fd), b"")
        self.assertEqual(client.dma_map(0x100000, PAGE), b"")
        self.assertEqual(self.regions(), 2)
        unmap = struct.pack("=IIQQ", 24, 0, 0, 4 * PAGE)
        self.assertEqual(client.ask(DMA_UNMAP, unmap), unmap, "the reply repeats the request")
        client.dma_unmap(0x100000, PAGE)
        self.assertEqual(self.regions(), 0)

    def test_read_only(self):
        client, memory = self.connect(), self.memory(PAGE)
        client.dma_map(0, PAGE, memory.fd, flags=1)

    def test_refused(self):
        client, memory = self.connect(), self.memory(4 * PAGE)
        rows = {
            "size 0": dict(address=0, size=0),
            "wraps": dict(address=1 << 63, size=(1 << 63) + 1),
            "wraps at the top": dict(address=(1 << 64) - PAGE, size=2 * PAGE),
            "no access": dict(address=0, size=PAGE, flags=0),
            "only written": dict(address=0, size=PAGE, flags=2),
            "unknown flag": dict(address=0, size=PAGE, flags=5),
            "argsz": dict(address=0, size=PAGE, argsz=31),
            "argsz 0": dict(address=0, size=PAGE, argsz=0),
            "longer than the file": dict(address=0, size=5 * PAGE, fd=memory.fd),
            "beyond the file": dict(address=0, size=PAGE, fd=memory.fd, offset=4 * PAGE),
            "offset wraps": dict(address=0, size=PAGE, fd=memory.fd, offset=(1 << 64) - PAGE),
            "two fds": dict(address=0, size=PAGE, fds=[memory.fd, memory.fd]),
        }
        before = self.server.fds()
        for name, how in rows.items():
            with self.subTest(name):
                self.refused(errno.EINVAL, client.dma_map, **how)
        self.assertEqual((self.regions(), self.server.fds()), (0, before))

    def test_fds_of_the_wrong_kind(self):
        client = self.connect()
        pipe = os.pipe()
        pair = socket.socketpair()
        wrong = {
            "pipe": pipe[0],
            "socket": pair[0].fileno(),
            "eventfd": self.fd(os.eventfd(0)),
            "directory": self.fd(os.open("/", os.O_RDONLY)),
            "/dev/null": self.fd(os.open("/dev/null", os.O_RDWR)),
        }
        before = self.server.fds()
        for name, fd in wrong.items():
            with self.subTest(name):
                self.refused(errno.EINVAL, client.dma_map, 0, PAGE, fd)
        self.assertEqual((self.regions(), self.server.fds()), (0, before))
        self.assertTrue(client.alive())
        for fd in pipe:
            os.close(fd)
        for end in pair:
            end.close()

    def test_overlaps(self):
        client = self.connect()
        client.dma_map(0x10000, 0x10000)
        for address, size in ((0x10000, 0x10000), (0, 0x10001), (0x1FFFF, 1), (0x12000, PAGE), (0, 0x100000)):
            with self.subTest(address=address, size=size):
                self.refused(errno.EEXIST, client.dma_map, address, size)
        client.dma_map(0, 0x10000)
        client.dma_map(0x20000, 0x10000)
        self.assertEqual(self.regions(), 3)

    def test_unmap_refused(self):
        client = self.connect()
        for address in (0x10000, 0x20000):
            client.dma_map(address, 0x10000)
        for name, code, address, size in (
            ("inside", errno.EINVAL, 0x12000, PAGE),
            ("head", errno.EINVAL, 0x10000, PAGE),
            ("tail", errno.EINVAL, 0x1F000, PAGE),
            ("across", errno.EINVAL, 0x18000, 0x10000),
            ("size 0", errno.EINVAL, 0x10000, 0),
            ("wraps", errno.EINVAL, 0x10000, (1 << 64) - 1),
        ):
            with self.subTest(name):
                self.refused(code, client.dma_unmap, address, size)
        for flags in (1, 3, 4, 0x80):
            with self.subTest(flags=flags):
                self.refused(errno.ENOTSUP if flags == 1 else errno.EINVAL, client.dma_unmap, 0x10000, 0x10000, flags=flags)
        self.refused(errno.EINVAL, client.dma_unmap, 0x10000, 0x10000, argsz=23)
        self.assertEqual(self.regions(), 2)

    def test_unmap_of_nothing(self):
        client = self.connect()
        client.dma_map(0x10000, 0x10000)
        body = client.dma_unmap(0x100000, 0x10000)
        self.assertEqual(struct.unpack("=IIQQ", body), (24, 0, 0x100000, 0), "VFIO's way to say so")
        self.assertEqual(self.regions(), 1)

    def test_unmap_all(self):
        client = self.connect()
        for i in range(5):
            client.dma_map(i * 0x10000, 0x1000)
        self.refused(errno.EINVAL, client.dma_unmap, 0x10000, 0x1000, flags=2)
        client.dma_unmap(0, 0, flags=2)
        self.assertEqual(self.regions(), 0)
        client.dma_unmap(0, 0, flags=2)

    def test_remapping(self):
        """The same range comes and goes: nothing is left behind."""
        client, memory = self.connect(), self.memory(PAGE)
        client.dma_map(0, PAGE, memory.fd)
        before = self.server.fds()
        for _ in range(500):
            client.dma_unmap(0, PAGE)
            client.dma_map(0, PAGE, memory.fd)
        self.assertEqual(self.server.fds(), before)

    def test_65536_regions(self):
        client = self.connect()
        resident = self.server.resident()
        results = {}
        for start in range(0, 65536, 64):
            for i in range(start, start + 64):
                client.send(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, i * 0x2000, PAGE))
            for _ in range(64):
                reply = client.receive()
                results[reply.error] = results.get(reply.error, 0) + 1
        self.assertEqual(results, {0: 65535, errno.ENOSPC: 1})
        self.assertEqual(self.regions(), 65535)
        self.assertLess(self.server.resident() - resident, 65535)  # a KiB each, with what a sanitizer adds
        client.dma_unmap(0, 0, flags=2)
        client.dma_map(0, PAGE)

    def test_truncated_under_us(self):
        """Memory whose file shrank gives an error or zeros, never a signal."""
        client, rings, data = self.connect(), self.memory(8 * PAGE), self.memory(4 * PAGE)
        client.dma_map(0, 8 * PAGE, rings.fd)
        client.dma_map(0x100000, 4 * PAGE, data.fd)
        queue = start_driver(client, rings)
        os.ftruncate(data.fd, 0)
        queue.put([(0x100000, 64, False), (0x4000, 128, True)])
        queue.ring()
        queue.wait()
        os.ftruncate(rings.fd, 0)
        queue.ring()
        self.assertTrue(client.alive())
        self.server.status()
        self.assertTrue(client.alive())

    def test_memory_goes_with_the_client(self):
        client, memory = self.connect(), self.memory(PAGE)
        before = self.server.fds()
        client.dma_map(0, PAGE, memory.fd)
        removals = self.server.status()["removals"]
        client.close()
        self.server.wait_for(lambda status: not status["connected"])
        status = self.server.status()
        self.assertEqual((status["regions"], status["removals"]), (0, removals + 1))
        self.assertLess(self.server.fds(), before)


tap.main()
