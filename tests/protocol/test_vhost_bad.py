# SPDX-License-Identifier: MIT
"""Front-ends that break the rules: each loses its connection, the back-end loses nothing."""
import os
import random
import resource
import socket
import struct

import tap
from vhost_user import *

# Sizes of the payloads: what is allowed.
SIZES = {
    GET_FEATURES: (0,), SET_FEATURES: (8,), SET_OWNER: (0,), RESET_OWNER: (0,), SET_VRING_NUM: (8,), SET_VRING_ADDR: (40,),
    SET_VRING_BASE: (8,), GET_VRING_BASE: (8,), SET_VRING_KICK: (8,), SET_VRING_CALL: (8,), SET_VRING_ERR: (8,),
    GET_PROTOCOL_FEATURES: (0,), SET_PROTOCOL_FEATURES: (8,), GET_QUEUE_NUM: (0,), SET_VRING_ENABLE: (8,), SET_BACKEND_REQ_FD: (0,),
    GPU_SET_SOCKET: (0,), RESET_DEVICE: (0,), GET_MAX_MEM_SLOTS: (0,), ADD_MEM_REG: (40,), REM_MEM_REG: (40,), SET_STATUS: (8,),
    GET_STATUS: (0,),
}
# Numbers of fds that are allowed.
FDS = {
    SET_MEM_TABLE: range(9), SET_VRING_KICK: (0, 1), SET_VRING_CALL: (0, 1), SET_VRING_ERR: (0, 1), SET_BACKEND_REQ_FD: (1,),
    GPU_SET_SOCKET: (1,), ADD_MEM_REG: (1,), REM_MEM_REG: (0, 1),
}


class Malformed(ServerCase):
    def lost(self, data, fds=()):
        front_end = self.connect()
        front_end.send_raw(data, fds)
        self.assert_lost(front_end)

    def test_versions(self):
        for flags in (0, 2, 3, NEED_REPLY, 2 | NEED_REPLY):
            self.lost(HEADER.pack(GET_FEATURES, flags, 0))

    def test_replies(self):
        for request in (GET_FEATURES, SET_FEATURES, 99):
            self.lost(HEADER.pack(request, VERSION | REPLY, 8) + bytes(8))

    def test_sizes(self):
        for request, sizes in SIZES.items():
            fds = [0] * min(FDS.get(request, (0,)))
            for size in {0, 1, 4, 7, 8, 9, 12, 16, 39, 40, 41, 264, 4096} - set(sizes):
                with self.subTest(request=request, size=size):
                    self.lost(HEADER.pack(request, VERSION, size) + bytes(size), fds)

    def test_sizes_beyond_any_message(self):
        for size in (4097, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            self.lost(HEADER.pack(SET_MEM_TABLE, VERSION, size))

    def test_fds(self):
        for request in list(SIZES) + [SET_MEM_TABLE, GET_CONFIG, SET_CONFIG]:
            size = SIZES.get(request, (12,))[0] if request != SET_MEM_TABLE else 8
            for count in {0, 1, 2, 8, 9, 16} - set(FDS.get(request, (0,))):
                with self.subTest(request=request, fds=count):
                    self.lost(HEADER.pack(request, VERSION, size) + bytes(size), [0] * count)

    def test_more_fds_than_a_message_can_have(self):
        for count in (17, 50, 253):
            self.lost(HEADER.pack(SET_MEM_TABLE, VERSION, 8) + bytes(8), [0] * count)

    def test_no_fd_stays(self):
        before = self.server.fds()
        self.test_fds()
        self.test_more_fds_than_a_message_can_have()
        self.server.wait_for(lambda status: not status["connected"])
        self.assertEqual(self.server.fds(), before)

    def test_pieces(self):
        """A message that comes byte by byte is none the worse for it."""
        front_end = self.connect()
        for byte in HEADER.pack(GET_FEATURES, VERSION, 0):
            front_end.send_raw(bytes([byte]))
        self.assertEqual(front_end.receive().request, GET_FEATURES)

    def test_half_a_message(self):
        """It is waited for, and does not keep anybody else."""
        for length in (1, 11, 12, 20):
            front_end = self.connect()
            front_end.send_raw((HEADER.pack(SET_FEATURES, VERSION, 16) + bytes(16))[:length])
            self.assertTrue(self.server.status()["connected"])
            front_end.sock.shutdown(socket.SHUT_WR)
            self.assert_lost(front_end)

    def test_fd_with_the_second_half(self):
        """It is the message's all the same, and goes with it."""
        front_end = self.connect()
        before = self.server.fds()
        message = HEADER.pack(SET_FEATURES, VERSION, 8) + bytes(8)
        front_end.send_raw(message[:14])
        front_end.send_raw(message[14:], [0])
        self.assert_lost(front_end)
        self.server.wait_for(lambda status: not status["connected"])
        self.assertLessEqual(self.server.fds(), before)

    def test_does_not_read(self):
        front_end = self.connect()
        front_end.sock.settimeout(0.5)
        try:
            for _ in range(200000):
                front_end.send(GET_FEATURES)
        except (TimeoutError, ConnectionError, BrokenPipeError):
            pass
        self.server.wait_for(lambda status: not status["connected"])

    def test_noise(self):
        random.seed(1)
        before = self.server.fds()
        for _ in range(200):
            front_end = FrontEnd(self.server.path)
            front_end.sock.settimeout(0.02)
            try:
                for _ in range(random.randrange(1, 8)):
                    payload = random.randbytes(random.choice((0, 8, 12, 16, 32, 40, 72, 264)))
                    front_end.send_raw(HEADER.pack(random.randrange(46), random.choice((1, 9)), len(payload)) + payload,
                                       random.choice(([], [], [], [0], [0, 1, 2])))
                while front_end.receive() is not None:
                    pass
            except OSError:
                pass
            front_end.close()
        self.server.wait_for(lambda status: not status["connected"])
        self.assertEqual(self.server.fds(), before)


class Order(ServerCase):
    """Anything in any order: what cannot be served is refused, or does nothing yet."""

    def test_rings_first(self):
        front_end = self.connect(begin=False)
        memory = self.memory(0x10000)
        ring = self.ring(front_end, memory=memory)
        ring.start()
        self.assertEqual(self.server.status()["rings"], 0)
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        self.assertTrue(front_end.alive())
        front_end.do(SET_FEATURES, struct.pack("=Q", front_end.FEATURES))
        front_end.vring_fd(SET_VRING_KICK, 0, ring.kick)
        self.assertTrue(ring.echoes())

    def test_nothing_but_stops(self):
        front_end = self.connect(begin=False)
        for _ in range(3):
            self.assertEqual(front_end.get_base(0), 0)
            front_end.send(RESET_OWNER)

    def test_random_but_well_formed(self):
        """A front-end that does what it may in an order of its own, with the device at work."""
        random.seed(2)
        memory = self.memory(0x10000)
        for _ in range(40):
            front_end = self.connect(protocol_features=FrontEnd.PROTOCOL_FEATURES | bits(STATUS))
            ring = self.ring(front_end, memory=memory)
            steps = (
                lambda: front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd]),
                lambda: front_end.set_mem_table([], []),
                ring.start,
                lambda: front_end.vring(SET_VRING_ENABLE, 0, random.randrange(2)),
                lambda: front_end.get_base(0),
                lambda: front_end.do(RESET_DEVICE),
                lambda: front_end.set_status(random.choice((0, 1, 3, 8, 11, 15))),
                lambda: front_end.do(SET_FEATURES, struct.pack("=Q", random.choice((0, FrontEnd.FEATURES)))),
                ring.ring,
                lambda: front_end.set_config(0, b"x"),
            )
            for _ in range(60):
                try:
                    random.choice(steps)()
                except OSError as error:
                    self.assertFalse(isinstance(error, (ConnectionError, TimeoutError)), error)
            self.assertTrue(front_end.alive())
            front_end.close()


class Life(ServerCase):
    def test_next_in_the_backlog(self):
        first, _, ring = self.machine()
        second = self.connect(begin=False)
        second.send(GET_FEATURES)
        self.assertTrue(ring.echoes())
        second.sock.settimeout(0.1)
        with self.assertRaises(TimeoutError):
            second.receive()
        second.sock.settimeout(TIMEOUT)
        first.close()
        self.assertEqual(second.receive().request, GET_FEATURES)

    def test_next_finds_a_new_device(self):
        """The last one's picture stays until the next one begins its session."""
        front_end, memory, ring = self.machine()
        self.assertTrue(ring.echoes())
        front_end.set_config(0, b"secret")
        before = self.server.status()
        front_end.close()
        self.server.wait_for(lambda status: not status["connected"])
        after = self.server.status()
        self.assertEqual((after["resets"], after["abandoned"]), (before["resets"], before["abandoned"] + 1))
        front_end = self.connect(begin=False)
        front_end.ask(GET_FEATURES)
        self.assertEqual(self.server.status()["resets"], before["resets"])
        front_end.begin()
        self.assertEqual(self.server.status()["resets"], before["resets"] + 1)
        self.assertEqual(front_end.get_config(0, 6), bytes(6))
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        ring = self.ring(front_end, memory=memory)
        ring.start()
        self.assertTrue(ring.echoes())

    def test_without_set_owner(self):
        front_end, memory, ring = self.machine()
        self.assertTrue(ring.echoes())
        front_end.close()
        self.server.wait_for(lambda status: not status["connected"])
        before = self.server.status()["resets"]
        front_end = self.connect(begin=False)
        front_end.do(SET_FEATURES, struct.pack("=Q", bits(VERSION_1)))
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        ring = self.ring(front_end, memory=memory)
        ring.start(enable=False)
        self.assertTrue(ring.echoes())
        self.assertEqual(self.server.status()["resets"], before + 1)

    def cycle(self, memory, count):
        for _ in range(count):
            with FrontEnd(self.server.path, protocol_features=FrontEnd.PROTOCOL_FEATURES | bits(BACKEND_REQ)) as front_end:
                channel = front_end.backend_channel()
                front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
                ring = Ring(front_end, 0, memory, 0x1000)
                ring.start()
                ring.echo(b"once")
                front_end.set_config(15, b"x")
                ring.close()
                channel.close()

    def test_200_front_ends(self):
        memory = self.memory(0x10000)
        self.cycle(memory, 10)
        self.server.wait_for(lambda status: not status["connected"])
        fds, resident = self.server.fds(), self.server.resident()
        self.cycle(memory, 200)
        self.server.wait_for(lambda status: not status["connected"])
        self.assertEqual(self.server.fds(), fds)
        self.assertLess(self.server.resident() - resident, 1024 * int(os.environ.get("RESIDENT_SLACK_MB", "1")))

    def test_out_of_fds(self):
        """A message whose fds the process cannot have is one without: the front-end is lost, and nobody else."""
        front_end, _, ring = self.machine()
        limits = resource.prlimit(self.server.process.pid, resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir(f"/proc/{self.server.process.pid}/fd"))
        resource.prlimit(self.server.process.pid, resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        try:
            self.assertTrue(ring.echoes())
            front_end.send(SET_MEM_TABLE, bytes(8 * 33), fds=[0] * 8)
            while front_end.receive() is not None:
                pass
        finally:
            resource.prlimit(self.server.process.pid, resource.RLIMIT_NOFILE, limits)
        self.assert_lost(front_end)

    def test_inherited_connection(self):
        ours, theirs = socket.socketpair()
        server = Server(fd=theirs.fileno())
        self.addCleanup(server.stop)
        theirs.close()
        with FrontEnd(sock=ours) as front_end:
            self.assertTrue(front_end.alive())
        server.wait_for(lambda status: not status["connected"])
        self.assertEqual(server.stop()[0], 0)

    def test_ends_with_a_front_end(self):
        path = self.server.path + "-other"
        server = Server(path)
        self.addCleanup(server.stop)
        with FrontEnd(path) as front_end:
            memory = self.memory(0x10000)
            front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
            ring = self.ring(front_end, memory=memory)
            ring.start()
            self.assertTrue(ring.echoes())
            code, said = server.stop()
            self.assertEqual(code, 0, said)
            self.assertIsNone(front_end.receive())
        self.assertFalse(os.path.exists(path))

    def test_display_socket_for_nobody(self):
        """Without a display that wants it (the program has one) it is refused and closed."""
        front_end = self.connect()
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        ours.settimeout(TIMEOUT)
        self.refused_message(front_end, GPU_SET_SOCKET, b"", "EOPNOTSUPP", fds=[theirs.fileno()])
        theirs.close()
        self.assertEqual(ours.recv(1), b"")


if __name__ == "__main__":
    tap.main()
