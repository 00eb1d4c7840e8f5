# SPDX-License-Identifier: MIT
"""The server's life: its socket, clients that come and go, fds that it inherits, and nothing that grows."""
import os
import random
import resource
import socket
import stat
import struct
import tempfile
import time

import tap
from vfio_user import *


class Clients(ServerCase):
    def use(self, client, memory):
        """Memory, irqs, a queue, a chain: something of everything."""
        client.dma_map(0, 0x8000, memory.fd)
        client.dma_map(0x100000, 0x1000)
        fd = os.eventfd(0, os.EFD_NONBLOCK)
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 3, fds=[fd] * 3)
        os.close(fd)
        queue = start_driver(client, memory)
        queue.put([(0x4000, 4, False), (0x5000, 16, True)])
        queue.ring()
        queue.wait()

    def cycle(self, memory, count):
        for _ in range(count):
            with Client(self.server.path) as client:
                self.use(client, memory)

    def test_200_clients(self):
        memory = self.memory(0x8000)
        self.cycle(memory, 10)
        self.server.wait_for(lambda status: not status["connected"])
        fds, resident = self.server.fds(), self.server.resident()
        connections = self.server.status()["connections"]
        self.cycle(memory, 200)
        self.server.wait_for(lambda status: not status["connected"])
        self.assertEqual(self.server.status()["connections"], connections + 200)
        self.assertEqual(self.server.fds(), fds)
        self.assertLess(self.server.resident() - resident, 1024 * int(os.environ.get("RESIDENT_SLACK_MB", "1")))

    def test_next_in_the_backlog(self):
        first = self.connect()
        second = self.connect(version=False)
        second.send(VERSION, struct.pack("=HH", 0, 1))
        self.assertTrue(first.alive())
        second.sock.settimeout(0.1)
        with self.assertRaises(TimeoutError):
            second.receive()
        second.sock.settimeout(TIMEOUT)
        first.close()
        self.assertEqual(second.receive().command, VERSION)
        self.assertTrue(second.alive())

    def test_out_of_fds(self):
        """A client that cannot be accepted waits, without keeping the server busy, until it can be."""
        limits = resource.prlimit(self.server.process.pid, resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir(f"/proc/{self.server.process.pid}/fd"))
        resource.prlimit(self.server.process.pid, resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        client = self.connect(version=False)
        busy = self.processor_time()
        time.sleep(0.3)
        self.assertLess(self.processor_time() - busy, 0.1)
        self.assertFalse(self.server.status()["connected"])
        resource.prlimit(self.server.process.pid, resource.RLIMIT_NOFILE, limits)
        client.version()
        self.assertTrue(client.alive())

    def processor_time(self):
        with open(f"/proc/{self.server.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_next_finds_a_new_device(self):
        memory = self.memory(0x8000)
        with Client(self.server.path) as client:
            self.use(client, memory)
            client.write(BAR4, DEVICE_CONFIG, b"secret")
        with Client(self.server.path) as client:
            self.assertEqual(client.read(BAR4, DEVICE_CONFIG, 6), bytes(6))
            self.assertEqual(client.read(BAR4, COMMON + 20, 1), b"\0")
            self.use(client, memory)

    def test_reset_when_the_next_one_comes(self):
        """A client that leaves, however it does, leaves the picture; the device is reset for the next one that is one."""
        memory = self.memory(0x8000)
        for leave in (Client.close, lambda client: client.send_raw(bytes(16)), lambda client: client.sock.shutdown(socket.SHUT_WR)):
            client = self.connect()
            self.use(client, memory)
            before = self.server.status()
            leave(client)
            self.server.wait_for(lambda status: not status["connected"])
            after = self.server.status()
            self.assertEqual((after["resets"], after["abandoned"]), (before["resets"], before["abandoned"] + 1))
            self.assertEqual(after["regions"], 0)
            client.close()
        for version in (struct.pack("=HH", 7, 0), b"", struct.pack("=HH", 0, 1) + b"no json\0"):
            client = self.connect(version=False)
            client.send(VERSION, version)
            self.assert_not_served(client)
            self.assertEqual(self.server.status()["resets"], after["resets"], "who is no client changes nothing")
        with Client(self.server.path):
            self.assertEqual(self.server.status()["resets"], after["resets"] + 1)

    def assert_not_served(self, client):
        while client.receive() is not None:
            pass
        client.close()
        self.server.wait_for(lambda status: not status["connected"])

    def test_status(self):
        with Client(self.server.path) as client:
            before = self.server.status()
            self.assertTrue(before["connected"])
            self.assertEqual(before["peer_pid"], os.getpid())
            client.alive()
            self.assertEqual(self.server.status()["messages"], before["messages"] + 1)
        self.server.wait_for(lambda status: status["peer_pid"] == 0)

    def test_shutdown_of_one_direction(self):
        client = self.connect()
        client.sock.shutdown(socket.SHUT_WR)
        self.assert_lost(client)

    def test_noise(self):
        """Bytes without a meaning, with and without fds: each client is dropped or answered, the server stays."""
        random.seed(1)
        before = self.server.fds()
        for _ in range(200):
            client = Client(self.server.path, version=random.random() < 0.8)
            client.sock.settimeout(0.02)
            try:
                for _ in range(random.randrange(1, 6)):
                    body = random.randbytes(random.choice((0, 4, 8, 16, 20, 24, 32, 48, 200)))
                    size = 16 + len(body) if random.random() < 0.9 else random.randrange(1 << 32)
                    flags = random.choice((0, 0, 0, 0x10, 1, 0x21))
                    client.send_raw(
                        HEADER.pack(random.randrange(65536), random.randrange(20), size, flags, 0) + body,
                        random.choice(([], [], [], [0], [0, 1, 2])),
                    )
                while client.receive() is not None:
                    pass
            except OSError:
                pass
            client.close()
        self.server.wait_for(lambda status: not status["connected"])
        self.assertEqual(self.server.fds(), before)


class Socket(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "socket")

    def start(self, *arguments, **how):
        server = Server(*arguments, **how)
        self.addCleanup(server.stop)
        return server

    def test_private(self):
        old = os.umask(0)
        try:
            self.assertEqual(self.start(self.path).ready, "ready")
        finally:
            os.umask(old)
        info = os.stat(self.path)
        self.assertTrue(stat.S_ISSOCK(info.st_mode))
        self.assertEqual(stat.S_IMODE(info.st_mode), 0o600)

    def test_removed_at_the_end(self):
        server = self.start(self.path)
        self.assertEqual(server.stop()[0], 0)
        self.assertFalse(os.path.lexists(self.path))

    def test_stale_is_replaced(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
            stale.bind(self.path)
        self.assertEqual(self.start(self.path).ready, "ready")
        with Client(self.path) as client:
            self.assertTrue(client.alive())

    def test_live_is_not_replaced(self):
        first = self.start(self.path)
        second = self.start(self.path)
        self.assertIn("Address already in use", second.ready)
        with Client(self.path) as client:
            self.assertTrue(client.alive())
        self.assertEqual(first.stop()[0], 0)

    def test_a_file_is_not_replaced(self):
        with open(self.path, "w") as file:
            file.write("precious")
        self.assertNotEqual(self.start(self.path).ready, "ready")
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")

    def test_not_ours_is_not_removed(self):
        server = self.start(self.path)
        os.unlink(self.path)
        with open(self.path, "w"):
            pass
        server.stop()
        self.assertTrue(os.path.exists(self.path))

    def test_path_too_long(self):
        self.assertIn("too long", self.start("/tmp/" + "x" * 200).ready)

    def test_inherited_listener(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(self.path)
            listener.listen()
            server = self.start(fd=listener.fileno())
        for _ in range(3):
            with Client(self.path) as client:
                self.assertTrue(client.alive())
        server.stop()
        self.assertTrue(os.path.exists(self.path), "who made the socket removes it")

    def test_inherited_connection(self):
        ours, theirs = socket.socketpair()
        server = self.start(fd=theirs.fileno())
        theirs.close()
        with Client(sock=ours) as client:
            self.assertTrue(client.alive())
        server.wait_for(lambda status: not status["connected"])
        self.assertEqual(server.stop()[0], 0)

    def test_inherited_fd_of_the_wrong_kind(self):
        read, write = os.pipe()
        self.assertNotEqual(self.start(fd=read).ready, "ready")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
            self.assertNotEqual(self.start(fd=datagram.fileno()).ready, "ready")
        os.close(read)
        os.close(write)

    def test_ends_with_a_client(self):
        server = self.start(self.path)
        with Client(self.path) as client:
            client.dma_map(0, 0x1000)
            code, said = server.stop()
            self.assertEqual(code, 0, said)
            self.assertIsNone(client.receive())


tap.main()
