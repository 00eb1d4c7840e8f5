# SPDX-License-Identifier: MIT
"""The back-end's own channel: what it asks, and front-ends that answer it badly, late, or never."""
import errno
import os
import select
import socket
import struct
import time

import tap
from vhost_user import *

PROTOCOL = FrontEnd.PROTOCOL_FEATURES | bits(BACKEND_REQ, BACKEND_SEND_FD)


class ChannelCase(ServerCase):
    def open(self, protocol_features=PROTOCOL):
        front_end, memory, ring = self.machine(protocol_features=protocol_features)
        channel = front_end.backend_channel()
        self.addCleanup(channel.close)
        return front_end, ring, channel

    def change(self, front_end):
        """A change of the configuration that the driver is told of."""
        front_end.set_config(15, b"x")

    def expect(self, channel, request, flags=VERSION | NEED_REPLY):
        message = channel.receive()
        self.assertEqual((message.request, message.flags, message.payload, message.fds), (request, flags, b"", []))

    def nothing(self, channel, seconds=0.1):
        self.assertEqual(select.select([channel.sock], [], [], seconds)[0], [])

    def answer(self, channel, request, value=0, flags=VERSION | REPLY):
        channel.send(request, struct.pack("=Q", value), flags=flags)


class Channel(ChannelCase):
    def test_config_change(self):
        front_end, ring, channel = self.open()
        self.assertTrue(self.server.status()["channel"])
        for value in (0, 0, 1):  # 1: refused, which is the front-end's business
            self.change(front_end)
            self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)
            self.answer(channel, BACKEND_CONFIG_CHANGE_MSG, value)
        self.assertTrue(ring.echoes())

    def test_changes_are_told_together(self):
        front_end, _, channel = self.open()
        for _ in range(5):
            self.change(front_end)
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)
        self.nothing(channel)
        self.answer(channel, BACKEND_CONFIG_CHANGE_MSG)
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)
        self.answer(channel, BACKEND_CONFIG_CHANGE_MSG)
        self.nothing(channel)

    def test_without_replies(self):
        front_end, _, channel = self.open(PROTOCOL & ~bits(REPLY_ACK))
        for _ in range(3):
            self.change(front_end)
            self.expect(channel, BACKEND_CONFIG_CHANGE_MSG, VERSION)

    def test_only_with_config(self):
        front_end, _, channel = self.open(PROTOCOL & ~bits(CONFIG))
        self.change_refused(front_end)
        self.nothing(channel)

    def change_refused(self, front_end):
        self.refused(errno.EOPNOTSUPP, self.change, front_end)

    def test_suspended_is_silent(self):
        front_end, ring, channel = self.open()
        base = front_end.get_base(0)
        self.change(front_end)
        self.nothing(channel)
        ring.start(base=base)
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)

    def test_broken_ring(self):
        """NEEDS_RESET is told as a change of the configuration."""
        _, ring, channel = self.open()
        struct.pack_into("=H", ring.memory.map, ring.base + 0x402, 500)
        ring.ring()
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)
        self.assertEqual(signalled(ring.err), 1)

    def assert_closed(self, front_end, ring, channel):
        self.assertIsNone(channel.receive())
        self.server.wait_for(lambda status: not status["channel"])
        self.assertTrue(front_end.alive())
        self.change(front_end)
        self.assertTrue(ring.echoes(), "the device works without it")

    def test_bad_replies(self):
        for flags, request, payload in (
            (VERSION, BACKEND_CONFIG_CHANGE_MSG, bytes(8)),
            (REPLY | 2, BACKEND_CONFIG_CHANGE_MSG, bytes(8)),
            (VERSION | REPLY, BACKEND_IOTLB_MSG, bytes(8)),
            (VERSION | REPLY, BACKEND_CONFIG_CHANGE_MSG, bytes(4)),
            (VERSION | REPLY, BACKEND_CONFIG_CHANGE_MSG, bytes(9)),
            (VERSION | REPLY, BACKEND_CONFIG_CHANGE_MSG, b""),
            (VERSION | REPLY, 0xFFFFFFFF, bytes(8)),
        ):
            with self.subTest(flags=flags, request=request, payload=payload):
                front_end, ring, channel = self.open()
                self.change(front_end)
                self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)
                channel.send(request, payload, flags=flags)
                self.assert_closed(front_end, ring, channel)
                front_end.close()

    def test_reply_to_nothing(self):
        front_end, ring, channel = self.open()
        self.answer(channel, BACKEND_CONFIG_CHANGE_MSG)
        self.assert_closed(front_end, ring, channel)

    def test_a_reply_with_an_fd(self):
        front_end, ring, channel = self.open()
        self.change(front_end)
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)
        channel.send(BACKEND_CONFIG_CHANGE_MSG, bytes(8), flags=VERSION | REPLY, fds=[ring.kick])
        self.assert_closed(front_end, ring, channel)

    def test_closed(self):
        front_end, ring, channel = self.open()
        channel.sock.shutdown(socket.SHUT_RDWR)
        self.assert_closed(front_end, ring, channel)

    def test_half_a_reply(self):
        front_end, ring, channel = self.open()
        self.change(front_end)
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)
        reply = HEADER.pack(BACKEND_CONFIG_CHANGE_MSG, VERSION | REPLY, 8) + bytes(8)
        channel.send_raw(reply[:15])
        self.assertTrue(ring.echoes())
        channel.send_raw(reply[15:])
        self.change(front_end)
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)

    def test_late_reply(self):
        """A front-end that takes its time is told the rest, and its answer is taken when it comes."""
        front_end, _, channel = self.open()
        self.change(front_end)
        self.change(front_end)
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)  # after the time-out
        self.answer(channel, BACKEND_CONFIG_CHANGE_MSG)
        self.answer(channel, BACKEND_CONFIG_CHANGE_MSG)
        self.change(front_end)
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)

    def test_another_one(self):
        front_end, _, channel = self.open()
        self.change(front_end)
        self.expect(channel, BACKEND_CONFIG_CHANGE_MSG)
        other = front_end.backend_channel()
        self.addCleanup(other.close)
        self.assertIsNone(channel.receive())
        self.change(front_end)
        self.expect(other, BACKEND_CONFIG_CHANGE_MSG)

    def test_no_socket(self):
        front_end, memory, _ = self.machine(protocol_features=PROTOCOL)
        read, write = os.pipe()
        datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(datagram.close)
        for fd in (memory.fd, self.fd(read), self.fd(write), datagram.fileno()):
            self.refused(errno.EINVAL, front_end.do, SET_BACKEND_REQ_FD, fds=[fd])
        self.assertFalse(self.server.status()["channel"])

    def test_front_end_that_does_not_read(self):
        """It loses the channel, not the device."""
        front_end, ring, channel = self.open(PROTOCOL & ~bits(REPLY_ACK))
        for _ in range(100000):
            self.change(front_end)
            if not self.server.status()["channel"]:
                break
        self.assertFalse(self.server.status()["channel"])
        self.assertTrue(ring.echoes())


class Objects(ChannelCase):
    """Shared objects: announced on the channel, asked for on the connection."""

    FEATURES = PROTOCOL | bits(SHARED_OBJECT)
    UUID = bytes(range(16))

    def get(self, front_end, uuid):
        """The fd, or None."""
        reply = front_end.ask(GET_SHARED_OBJECT, uuid)
        self.assertEqual(reply.payload, uuid)
        return self.fd(reply.fds[0]) if reply.fds else None

    def expect_object(self, channel, request, uuid):
        message = channel.receive()
        self.assertEqual((message.request, message.flags, message.payload, message.fds), (request, VERSION, uuid, []))

    def test_object(self):
        front_end, ring, channel = self.open(self.FEATURES)
        self.assertIsNone(self.get(front_end, self.UUID))
        ring.echo(b"share" + self.UUID)
        self.expect_object(channel, BACKEND_SHARED_OBJECT_ADD, self.UUID)
        fd = self.get(front_end, self.UUID)
        self.assertEqual(os.pread(fd, 99, 0), self.UUID)
        self.assertIsNone(self.get(front_end, bytes(16)))
        ring.echo(b"unshare" + self.UUID)
        self.expect_object(channel, BACKEND_SHARED_OBJECT_REMOVE, self.UUID)
        self.assertIsNone(self.get(front_end, self.UUID))

    def test_object_not_negotiated(self):
        front_end, ring, channel = self.open()
        ring.echo(b"share" + self.UUID)
        self.nothing(channel)
        front_end.send(GET_SHARED_OBJECT, self.UUID)
        self.assert_lost(front_end)

    def test_objects_without_a_channel(self):
        front_end, _, ring = self.machine(protocol_features=self.FEATURES)
        ring.echo(b"share" + self.UUID)
        self.assertIsNotNone(self.get(front_end, self.UUID))


if __name__ == "__main__":
    tap.main()
