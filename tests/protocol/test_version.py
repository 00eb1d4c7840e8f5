# SPDX-License-Identifier: MIT
"""VERSION: who may talk to us at all."""
import errno
import json
import struct

import tap
from vfio_user import *


class Version(ServerCase):
    def refuse(self, code, data, **how):
        """VERSION with this body gets an error reply and ends the connection."""
        client = self.connect(version=False)
        reply = client.call(VERSION, data, **how)
        self.assertTrue(reply.flags & ERROR)
        self.assertEqual((reply.error, reply.body), (code, b""))
        self.assert_lost(client)

    def accept(self, data):
        client = self.connect(version=False)
        body = client.ask(VERSION, data)
        self.assertTrue(client.alive())
        return body

    def test_capabilities(self):
        client = self.connect(version=False)
        version, capabilities = client.version()
        self.assertEqual(version, (0, 1))
        self.assertEqual(capabilities["max_msg_fds"], 16)
        self.assertEqual(capabilities["max_data_xfer_size"], 1048576)
        self.assertEqual(capabilities["max_dma_maps"], 65535)
        self.assertEqual(capabilities["pgsizes"], 4096)
        self.assertIs(capabilities["write_multiple"], True)

    def test_write_multiple_only_when_proposed(self):
        client = self.connect(version=False)
        self.assertIs(client.version(capabilities={})[1]["write_multiple"], False)

    def test_qemu(self):
        capabilities = {"max_msg_fds": 16, "max_data_xfer_size": 1048576, "pgsizes": 4096, "max_dma_maps": 65535}
        data = json.dumps({"capabilities": dict(capabilities, migration={"pgsize": 4096}, write_multiple=True)}).encode() + b"\0"
        body = self.accept(struct.pack("=HH", 0, 0) + data)
        self.assertEqual(struct.unpack_from("=HH", body), (0, 0), "the minor version is the smaller of both")
        self.assertEqual(body[-1], 0)

    def test_newer_minor(self):
        self.assertEqual(struct.unpack_from("=HH", self.accept(struct.pack("=HH", 0, 77)))[1], 1)

    def test_no_data(self):
        self.accept(struct.pack("=HH", 0, 1))

    def test_empty_object(self):
        self.accept(struct.pack("=HH", 0, 1) + b"{}\0")

    def test_unknown_members(self):
        self.accept(struct.pack("=HH", 0, 1) + b'{"capabilities": {"twin_socket": {"supported": true}, "new": []}, "x": 1}\0')

    def test_other_major(self):
        self.refuse(errno.EPROTONOSUPPORT, struct.pack("=HH", 1, 0) + b"{}\0")

    def test_bad_data(self):
        for data in (
            b"\0",
            b"{}",
            b"{\0",
            b"not json\0",
            b"[]\0",
            b"3\0",
            b'{"capabilities": []}\0',
            b'{"capabilities": {"max_msg_fds": -1}}\0',
            b'{"capabilities": {"max_msg_fds": "many"}}\0',
            b'{"capabilities": {"max_msg_fds": 1.5}}\0',
            b'{"capabilities": {"max_data_xfer_size": 0}}\0',
            b'{"capabilities": {"max_data_xfer_size": 99999999999999999999}}\0',
            b'{"capabilities": {"pgsizes": 0}}\0',
            b'{"capabilities": {"write_multiple": 1}}\0',
            b'{"a": "\xff\xfe"}\0',
            b"[" * 4000 + b"\0",
            b"{}\0{}\0",
        ):
            with self.subTest(data=data[:40]):
                self.refuse(errno.EINVAL, struct.pack("=HH", 0, 1) + data)

    def test_short(self):
        for size in range(4):
            with self.subTest(size=size):
                self.refuse(errno.EINVAL, bytes(size))

    def test_too_much_data(self):
        self.refuse(errno.EINVAL, struct.pack("=HH", 0, 1) + b"{}" + b" " * 9000 + b"\0")

    def test_with_fd(self):
        self.refuse(errno.EINVAL, struct.pack("=HH", 0, 1), fds=[0])

    def test_twice(self):
        client = self.connect()
        self.refused(errno.EINVAL, client.version)
        self.assertTrue(client.alive())

    def test_anything_before(self):
        for command in (GET_INFO, DMA_MAP, RESET, REGION_READ, 99):
            with self.subTest(command=command):
                client = self.connect(version=False)
                client.send(command, bytes(16))
                self.assertIsNone(client.receive())
                client.close()


tap.main()
