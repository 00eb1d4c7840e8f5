# SPDX-License-Identifier: MIT
"""Regions: information, reads, writes, many writes in one."""
import errno
import struct

import tap
from vfio_user import *


class Region(ServerCase):
    def test_device_info(self):
        body = self.connect().ask(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))
        self.assertEqual(struct.unpack("=IIII", body), (16, 3, 9, 5), "PCI, RESET, 9 regions, 5 kinds of irqs")

    def test_device_info_argsz(self):
        client = self.connect()
        for argsz in (0, 15):
            self.refused(errno.EINVAL, client.ask, GET_INFO, struct.pack("=IIII", argsz, 0, 0, 0))
        self.assertEqual(len(client.ask(GET_INFO, struct.pack("=IIII", 4096, 0, 0, 0))), 16)

    def test_info(self):
        client = self.connect()
        sizes = {BAR1: 4096, BAR4: 16384, CONFIG: 256}
        for index in range(9):
            with self.subTest(index=index):
                argsz, flags, echoed, cap_offset, size, offset = client.region_info(index)
                self.assertEqual((argsz, echoed, cap_offset, offset), (32, index, 0, 0))
                self.assertEqual((size, flags), (sizes[index], 3) if index in sizes else (0, 0))

    def test_info_refused(self):
        client = self.connect()
        self.refused(errno.EINVAL, client.region_info, 9)
        self.refused(errno.EINVAL, client.region_info, 0xFFFFFFFF)
        self.refused(errno.EINVAL, client.region_info, 0, argsz=31)

    def test_io_fds(self):
        client = self.connect()
        for index in range(9):
            body = client.ask(GET_REGION_IO_FDS, struct.pack("=IIII", 16, 0, index, 0))
            self.assertEqual(struct.unpack("=IIII", body), (16, 0, index, 0), "there are none")
        for row in ((15, 0, 0, 0), (16, 1, 0, 0), (16, 0, 9, 0), (16, 0, 0, 1)):
            self.refused(errno.EINVAL, client.ask, GET_REGION_IO_FDS, struct.pack("=IIII", *row))

    def test_config_space(self):
        client = self.connect()
        vendor, device = struct.unpack("=HH", client.read(CONFIG, 0, 4))
        self.assertEqual((vendor, device), (0x1AF4, 0x1040 + 4))
        self.assertEqual(len(client.read(CONFIG, 0, 256)), 256)

    def test_write_and_read_back(self):
        client = self.connect()
        body = client.write(BAR4, DEVICE_CONFIG + 4, b"vitrine!")
        self.assertEqual(body, struct.pack("=QII", DEVICE_CONFIG + 4, BAR4, 8))
        self.assertEqual(client.read(BAR4, DEVICE_CONFIG, 16), b"\0\0\0\0vitrine!\0\0\0\0")

    def test_posted_write_then_read(self):
        client = self.connect()
        for i in range(200):
            client.post(BAR4, DEVICE_CONFIG, bytes([i]))
        self.assertEqual(client.read(BAR4, DEVICE_CONFIG, 1), bytes([199]))

    def test_nothing(self):
        client = self.connect()
        self.assertEqual(client.read(BAR4, 0, 0), b"")
        client.write(BAR4, 0, b"")

    def test_out_of_bounds(self):
        client = self.connect()
        for region, offset, count in (
            (BAR4, 16384, 1),
            (BAR4, 16383, 2),
            (BAR4, 0, 16385),
            (BAR4, (1 << 64) - 1, 1),
            (BAR4, (1 << 64) - 1, 2),
            (CONFIG, 256, 1),
            (CONFIG, 253, 4),
            (BAR1, 4096, 4),
            (0, 0, 1),
            (8, 0, 1),
            (9, 0, 1),
            (0xFFFFFFFF, 0, 1),
        ):
            with self.subTest(region=region, offset=offset, count=count):
                self.refused(errno.EINVAL, client.read, region, offset, count)
                self.refused(errno.EINVAL, client.write, region, offset, bytes(count))

    def test_read_counts(self):
        client = self.connect()
        for count in (1048577, 0x7FFFFFFF, 0xFFFFFFFF):
            self.refused(errno.EINVAL, client.ask, REGION_READ, struct.pack("=QII", 0, BAR4, count))

    def test_write_counts(self):
        client = self.connect()
        for count in (0, 3, 5, 0xFFFFFFFF):
            with self.subTest(count=count):
                self.refused(errno.EINVAL, client.ask, REGION_WRITE, struct.pack("=QII", DEVICE_CONFIG, BAR4, count) + b"abcd")
        self.assertEqual(client.read(BAR4, DEVICE_CONFIG, 4), bytes(4))


class WriteMulti(ServerCase):
    def write(self, client, *writes, count=None, tail=b"", **how):
        """writes: (region, offset, bytes or (count, bytes))"""
        body = struct.pack("=Q", len(writes) if count is None else count)
        for region, offset, data in writes:
            length, data = data if isinstance(data, tuple) else (len(data), data)
            body += struct.pack("=QII", offset, region, length) + data.ljust(8, b"\0")
        return client.ask(REGION_WRITE_MULTI, body + tail, **how)

    def test_in_order(self):
        client = self.connect()
        reply = self.write(client, (BAR4, DEVICE_CONFIG, b"12345678"), (BAR4, DEVICE_CONFIG + 2, b"ab"), (BAR4, DEVICE_CONFIG + 3, b"c"))
        self.assertEqual(reply, struct.pack("=Q", 3))
        self.assertEqual(client.read(BAR4, DEVICE_CONFIG, 8), b"12ac5678")

    def test_none(self):
        self.assertEqual(self.write(self.connect()), struct.pack("=Q", 0))

    def test_many(self):
        client = self.connect()
        self.write(client, *[(BAR4, DEVICE_CONFIG + i % 16, bytes([i % 256])) for i in range(5000)])
        self.assertEqual(client.read(BAR4, DEVICE_CONFIG + 7, 1), bytes([4999 % 256]))

    def test_shape(self):
        client = self.connect()
        good = (BAR4, DEVICE_CONFIG, b"x")
        for how in (dict(count=0), dict(count=2), dict(count=(1 << 64) - 1), dict(count=0x0AAAAAAAAAAAAAAB), dict(tail=b"1")):
            with self.subTest(**how):
                self.refused(errno.EINVAL, self.write, client, good, **how)
        for bad in ((9, 0, b"x"), (BAR4, 0, (9, b"x")), (BAR4, 0, (0xFFFFFFFF, b"x"))):
            with self.subTest(bad=bad):
                self.refused(errno.EINVAL, self.write, client, good, bad)
        self.assertEqual(client.read(BAR4, DEVICE_CONFIG, 1), b"\0", "nothing is written when one of them is malformed")
        self.refused(errno.EINVAL, self.write, client, (BAR4, 16384, b"x"))


tap.main()
