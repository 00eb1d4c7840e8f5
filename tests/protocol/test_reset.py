# SPDX-License-Identifier: MIT
"""DEVICE_RESET, DEVICE_FEATURE and what belongs to migration."""
import errno
import os
import struct

import tap
from vfio_user import *

GET, SET, PROBE = 1 << 16, 1 << 17, 1 << 18


class Reset(ServerCase):
    def test_device_is_as_new(self):
        client, memory = self.connect(), self.memory(0x8000)
        client.dma_map(0, 0x8000, memory.fd)
        start_driver(client, memory)
        client.write(CONFIG, 4, struct.pack("=H", 6))
        client.write(BAR4, DEVICE_CONFIG, b"old")
        self.assertEqual(client.ask(RESET), b"")
        self.assertEqual(client.read(BAR4, COMMON + 20, 1), b"\0")
        self.assertEqual(client.read(BAR4, COMMON + 28, 2), b"\0\0", "queue 0 is off")
        self.assertEqual(client.read(BAR4, DEVICE_CONFIG, 3), b"\0\0\0")
        self.assertEqual(client.read(CONFIG, 4, 2), b"\0\0")

    def test_memory_and_irqs_stay(self):
        client, memory = self.connect(), self.memory(0x8000)
        fd = self.fd(os.eventfd(0, os.EFD_NONBLOCK))
        client.dma_map(0, 0x8000, memory.fd)
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 1, fds=[fd])
        client.ask(RESET)
        self.assertEqual(self.server.status()["regions"], 1)
        client.set_irqs(DATA_NONE | ACTION_TRIGGER, MSIX, 0, 1)
        self.assertEqual(os.eventfd_read(fd), 1)

    def test_works_afterwards(self):
        client, memory = self.connect(), self.memory(0x8000)
        client.dma_map(0, 0x8000, memory.fd)
        for _ in range(20):
            queue = start_driver(client, memory)
            memory.map[0x4000:0x4004] = b"echo"
            queue.put([(0x4000, 4, False), (0x5000, 16, True)])
            queue.ring()
            self.assertEqual(queue.wait(), 8)
            self.assertEqual(memory.map[0x5004:0x5008], b"echo")
            client.ask(RESET)


class Feature(ServerCase):
    def test_unknown(self):
        client = self.connect()
        for index in (0, 1, 2, 3, 6, 7, 8, 11, 0xFFFF):
            for operation in (GET, SET, PROBE, PROBE | GET, PROBE | SET, PROBE | GET | SET):
                with self.subTest(index=index, operation=operation):
                    self.refused(errno.ENOTTY, client.ask, DEVICE_FEATURE, struct.pack("=II", 24, index | operation) + bytes(16))

    def test_malformed(self):
        client = self.connect()
        for argsz, flags in ((0, GET), (7, GET), (8, 0), (8, 1), (8, GET | SET), (8, GET | 1 << 19), (8, 1 << 31)):
            with self.subTest(argsz=argsz, flags=flags):
                self.refused(errno.EINVAL, client.ask, DEVICE_FEATURE, struct.pack("=II", argsz, flags))

    def test_migration_data(self):
        client = self.connect()
        for command in (MIG_DATA_READ, MIG_DATA_WRITE):
            for body in (b"", struct.pack("=II", 16, 8), bytes(5000)):
                self.refused(errno.ENOTSUP, client.ask, command, body)


tap.main()
