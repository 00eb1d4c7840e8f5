# SPDX-License-Identifier: MIT
"""Rings over vhost-user: what starts and stops them, where they go on, who is told what, and kick fds of all kinds."""
import errno
import os
import struct
import time

import tap
from vhost_user import *


class Rings(ServerCase):
    def test_echo(self):
        front_end, _, ring = self.machine()
        for size in (1, 100, 0x800):
            self.assertTrue(ring.echoes(os.urandom(size)))
        self.assertGreater(signalled(ring.call), 0)
        self.assertEqual(self.server.status()["rings"], 1)
        self.assertEqual(front_end.get_base(0), 3)
        self.assertEqual(self.server.status()["rings"], 0)

    def test_two(self):
        front_end, memory, first = self.machine()
        second = self.ring(front_end, 1, memory, 0x2000)
        second.start()
        for _ in range(20):
            self.assertTrue(first.echoes(os.urandom(8)))
            self.assertTrue(second.echoes(os.urandom(8)))
        self.assertEqual(self.server.status()["rings"], 3)
        self.assertEqual(front_end.get_base(0), 20)
        self.assertTrue(second.echoes())
        self.assertEqual(front_end.get_base(1), 21)

    def test_each_step_is_needed(self):
        """In another order than QEMU's, and nothing happens before the last of them."""
        front_end = self.connect()
        memory = self.memory(0x10000)
        ring = self.ring(front_end, memory=memory)
        ring.put([(0x4000, 4, False), (0x5000, 16, True)])
        ring.ring()
        for step in (
            lambda: front_end.vring(SET_VRING_ENABLE, 0, 1),
            lambda: front_end.vring_fd(SET_VRING_CALL, 0, ring.call),
            lambda: front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd]),
            lambda: front_end.vring(SET_VRING_NUM, 0, ring.size),
            lambda: front_end.set_addr(0, ring.base, ring.base + 0x800, ring.base + 0x400),
        ):
            step()
            self.assertTrue(ring.silent(0.02))
        front_end.vring_fd(SET_VRING_KICK, 0, ring.kick)
        self.assertEqual(ring.wait(), 8)
        self.assertGreater(signalled(ring.call), 0)

    def test_disabled_is_left_alone(self):
        front_end, _, ring = self.machine()
        self.assertTrue(ring.echoes())
        front_end.vring(SET_VRING_ENABLE, 0, 0)
        ring.put([(0x4000, 4, False), (0x5000, 16, True)])
        ring.ring()
        self.assertTrue(ring.silent())
        front_end.vring(SET_VRING_ENABLE, 0, 1)
        self.assertEqual(ring.wait(), 8)
        self.assertEqual(front_end.get_base(0), 2)

    def test_enabled_from_the_start(self):
        """Without VHOST_USER_F_PROTOCOL_FEATURES nobody says so."""
        front_end = self.connect(features=bits(VERSION_1))
        memory = self.memory(0x10000)
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        ring = self.ring(front_end, memory=memory)
        ring.start(enable=False)
        self.assertTrue(ring.echoes())

    def test_goes_on_where_it_stopped(self):
        front_end, _, ring = self.machine()
        for _ in range(40):
            self.assertTrue(ring.echoes(os.urandom(5)))
        before = self.server.status()["resets"]
        for _ in range(3):
            base = front_end.get_base(0)
            ring.put([(0x4000, 4, False), (0x5000, 16, True)])
            ring.ring()
            self.assertTrue(ring.silent(0.02), "it is stopped")
            ring.start(base=base)
            self.assertEqual(ring.wait(), 8)
            self.assertTrue(ring.echoes())
        self.assertEqual(self.server.status()["resets"], before)

    def test_goes_on_elsewhere(self):
        """Another base is another driver: the device is reset before it sees that."""
        front_end, memory, ring = self.machine()
        self.assertTrue(ring.echoes())
        before = self.server.status()["resets"]
        self.assertEqual(front_end.get_base(0), 1)
        ring = self.ring(front_end, memory=memory)
        ring.start()
        self.assertTrue(ring.echoes())
        self.assertEqual(self.server.status()["resets"], before + 1)
        self.assertEqual(front_end.get_base(0), 1)

    def test_used_index_is_in_memory(self):
        """A back-end that is new to a running guest: both indices are the guest's."""
        front_end = self.connect()
        memory = self.memory(0x10000)
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        ring = self.ring(front_end, memory=memory)
        ring.avail = ring.used_seen = 65530
        struct.pack_into("=H", memory.map, ring.base + 0x402, ring.avail)
        struct.pack_into("=H", memory.map, ring.base + 0x802, ring.avail)
        ring.start(base=ring.avail)
        for _ in range(20):
            self.assertTrue(ring.echoes(os.urandom(5)))
        self.assertEqual(front_end.get_base(0), 65550 & 0xFFFF)

    def test_stopped_twice(self):
        front_end, _, ring = self.machine()
        self.assertTrue(ring.echoes())
        self.assertEqual([front_end.get_base(0) for _ in range(3)], [1, 1, 1])
        self.assertEqual(front_end.get_base(1), 0)

    def test_reset_device(self):
        front_end, memory, ring = self.machine()
        self.assertTrue(ring.echoes())
        front_end.set_config(0, b"state")
        before = self.server.status()["resets"]
        front_end.do(RESET_DEVICE)
        self.assertEqual(self.server.status()["resets"], before + 1)
        self.assertEqual(self.server.status()["rings"], 0)
        self.assertEqual(front_end.get_config(0, 5), bytes(5))
        ring = self.ring(front_end, memory=memory)
        ring.start()
        self.assertTrue(ring.echoes())

    def test_sizes(self):
        front_end = self.connect()
        for size in (1, 2, 64, 256, 1024):
            front_end.vring(SET_VRING_NUM, 1, size)
        for size in (0, 3, 100, 2048, 65536, 0xFFFFFFFF):
            self.refused(errno.EINVAL, front_end.vring, SET_VRING_NUM, 1, size)

    def test_a_large_ring(self):
        front_end = self.connect()
        memory = self.memory(0x20000)
        front_end.set_mem_table([front_end.region(0, 0x20000)], [memory.fd])
        call, kick = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2))
        front_end.vring(SET_VRING_NUM, 1, 1024)
        front_end.set_addr(1, 0, 0x8000, 0x4000)
        front_end.vring_fd(SET_VRING_CALL, 1, self.fd(call))
        front_end.vring_fd(SET_VRING_KICK, 1, self.fd(kick))
        front_end.vring(SET_VRING_ENABLE, 1, 1)
        for i in range(1024):
            struct.pack_into("=QIHH", memory.map, 16 * i, 0x10000 + 16 * i, 16, 2, 0)
            struct.pack_into("=H", memory.map, 0x4004 + 2 * i, i)
        struct.pack_into("=H", memory.map, 0x4002, 1024)
        os.eventfd_write(kick, 1)
        end = time.monotonic() + TIMEOUT
        while struct.unpack_from("=H", memory.map, 0x8002)[0] != 1024:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.001)

    def test_numbers_that_are_none(self):
        front_end = self.connect()
        for index in (2, 255, 256, 0xFFFFFFFF):
            for request in (SET_VRING_NUM, SET_VRING_BASE, SET_VRING_ENABLE):
                self.refused(errno.EINVAL, front_end.vring, request, index, 1)
            self.refused_message(front_end, SET_VRING_ADDR, struct.pack("=IIQQQQ", index, 0, 0, 0, 0, 0))
        for index in (2, 255):
            for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
                self.refused_message(front_end, request, struct.pack("=Q", index | NOFD))
        self.refused(errno.EINVAL, front_end.vring, SET_VRING_BASE, 0, 65536)
        self.refused_message(front_end, SET_VRING_KICK, struct.pack("=Q", 0x200 | NOFD))
        self.assertTrue(front_end.alive())
        for index in (2, 0xFFFFFFFF):
            other = self.connect_after(front_end)
            other.send(GET_VRING_BASE, struct.pack("=II", index, 0))
            self.assert_lost(other)

    def connect_after(self, front_end):
        front_end.close()
        return self.connect()

    def test_addresses(self):
        front_end = self.connect()
        for desc, used, avail in ((8, 0, 0), (0, 2, 0), (0, 0, 1)):
            self.refused(errno.EINVAL, front_end.set_addr, 0, desc, used, avail)
        self.refused(errno.EINVAL, front_end.set_addr, 0, 0, 0, 0, flags=1)

    def test_not_while_it_runs(self):
        front_end, _, ring = self.machine()
        front_end.vring(SET_VRING_NUM, 0, ring.size)
        front_end.set_addr(0, ring.base, ring.base + 0x800, ring.base + 0x400)
        self.refused(errno.EBUSY, front_end.vring, SET_VRING_NUM, 0, 2 * ring.size)
        self.refused(errno.EBUSY, front_end.vring, SET_VRING_BASE, 0, 0)
        self.refused(errno.EBUSY, front_end.set_addr, 0, ring.base + 0x1000, ring.base + 0x800, ring.base + 0x400)
        self.assertTrue(ring.echoes())

    def test_rings_outside_of_memory(self):
        front_end = self.connect()
        memory = self.memory(0x10000)
        front_end.set_mem_table([front_end.region(0, 0x2000)], [memory.fd])
        for base in (0x1900, 0x3000):
            ring = self.ring(front_end, memory=memory, base=base)
            ring.start()
            self.assertEqual(signalled(ring.err), 1)
            self.assertEqual(self.server.status()["rings"], 0)
            front_end.get_base(0)
        ring = self.ring(front_end, memory=memory)
        ring.start()
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        self.assertTrue(ring.echoes())

    def test_features_that_cannot_be_served(self):
        """Without VERSION_1: a legacy driver."""
        front_end = self.connect(features=bits(F_PROTOCOL_FEATURES))
        memory = self.memory(0x10000)
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        ring = self.ring(front_end, memory=memory)
        ring.start()
        self.assertEqual(signalled(ring.err), 1)
        self.assertEqual(self.server.status()["rings"], 0)
        front_end.do(SET_FEATURES, struct.pack("=Q", front_end.FEATURES))
        front_end.vring_fd(SET_VRING_KICK, 0, ring.kick)
        self.assertTrue(ring.echoes())

    def test_broken_ring(self):
        """It is reported once, and the other ring stops, too: the device needs a reset."""
        front_end, memory, ring = self.machine()
        other = self.ring(front_end, 1, memory, 0x2000)
        other.start()
        struct.pack_into("=H", memory.map, ring.base + 0x402, 500)
        for _ in range(3):
            ring.ring()
        self.assertEqual(signalled(ring.err), 1)
        self.assertEqual(signalled(ring.err, 0.05), 0)
        other.put([(0x4000, 4, False), (0x5000, 16, True)])
        other.ring()
        self.assertTrue(other.silent())
        front_end.do(RESET_DEVICE)
        ring = self.ring(front_end, memory=memory)
        ring.start()
        self.assertTrue(ring.echoes())

    def test_error_before_there_is_an_eventfd(self):
        front_end, memory, ring = self.machine()
        front_end.vring_fd(SET_VRING_ERR, 0)
        struct.pack_into("=H", memory.map, ring.base + 0x402, 500)
        ring.ring()
        time.sleep(0.05)
        front_end.vring_fd(SET_VRING_ERR, 0, ring.err)
        self.assertEqual(signalled(ring.err), 1)


class Calls(ServerCase):
    def test_none(self):
        front_end, _, ring = self.machine()
        front_end.vring_fd(SET_VRING_CALL, 0)
        self.assertTrue(ring.echoes())
        self.assertEqual(signalled(ring.call, 0.05), 0)

    def test_one_that_comes_later(self):
        """What was missed is made up for."""
        front_end, _, ring = self.machine()
        front_end.vring_fd(SET_VRING_CALL, 0)
        self.assertTrue(ring.echoes())
        front_end.vring_fd(SET_VRING_CALL, 0, ring.call)
        self.assertEqual(signalled(ring.call), 1)

    def test_exchanged_while_it_runs(self):
        front_end, _, ring = self.machine()
        for _ in range(10):
            old, ring.call = ring.call, os.eventfd(0, os.EFD_NONBLOCK)
            front_end.vring_fd(SET_VRING_CALL, 0, ring.call)
            os.close(old)
            self.assertTrue(ring.echoes())
            self.assertEqual(signalled(ring.call), 1)

    def test_one_that_is_full(self):
        """Writing to it would block: the server does not wait, whatever the front-end has made of the flags."""
        front_end, _, ring = self.machine()
        os.eventfd_write(ring.call, 0xFFFFFFFFFFFFFFFE)
        for _ in range(5):
            self.assertTrue(ring.echoes())
        self.assertTrue(front_end.alive())

    def test_no_interrupt_wanted(self):
        front_end, memory, ring = self.machine()
        struct.pack_into("=H", memory.map, ring.base + 0x400, 1)
        self.assertTrue(ring.echoes())
        self.assertEqual(signalled(ring.call, 0.05), 0)


class Kicks(ServerCase):
    def test_polled(self):
        """Without a kick fd the ring is looked at now and then."""
        front_end = self.connect()
        memory = self.memory(0x10000)
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        ring = self.ring(front_end, memory=memory)
        ring.start(kick=False)
        for _ in range(5):
            self.assertTrue(ring.echoes(), "nobody rings")
        front_end.get_base(0)
        self.assertEqual(self.server.status()["rings"], 0)

    def test_not_an_eventfd(self):
        front_end, memory, ring = self.machine()
        read, write = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (self.fd(read), self.fd(write), self.fd(null), memory.fd, front_end.sock.fileno()):
            for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
                self.refused(errno.EINVAL, front_end.vring_fd, request, 0, fd)
        self.assertTrue(ring.echoes())

    def test_fd_or_none(self):
        front_end, _, ring = self.machine()
        for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
            self.refused_message(front_end, request, struct.pack("=Q", 0))
            self.refused_message(front_end, request, struct.pack("=Q", NOFD), fds=[ring.call])
        self.assertTrue(ring.echoes())

    def processor_time(self):
        with open(f"/proc/{self.server.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_always_readable(self):
        """Eventfds that stay readable whatever is read: the server is not busy, and hears the next kick."""
        front_end, _, ring = self.machine()
        for flags in (os.EFD_SEMAPHORE, os.EFD_SEMAPHORE | os.EFD_NONBLOCK):
            os.close(ring.kick)
            ring.kick = os.eventfd(0, flags)
            os.eventfd_write(ring.kick, 1 << 60)
            front_end.vring_fd(SET_VRING_KICK, 0, ring.kick)
            self.assertTrue(ring.echoes())
            before = self.processor_time()
            time.sleep(0.3)
            self.assertLess(self.processor_time() - before, 0.15)
            self.assertTrue(ring.echoes())

    def test_blocking(self):
        """Somebody else reads it first."""
        front_end, _, ring = self.machine()
        os.close(ring.kick)
        ring.kick = os.eventfd(0)
        front_end.vring_fd(SET_VRING_KICK, 0, ring.kick)
        for _ in range(50):
            os.eventfd_write(ring.kick, 1)
            os.set_blocking(ring.kick, False)
            try:
                os.eventfd_read(ring.kick)
            except BlockingIOError:
                pass
            os.set_blocking(ring.kick, True)
        self.assertTrue(front_end.alive())
        self.assertTrue(ring.echoes())

    def test_exchanged_while_it_runs(self):
        front_end, _, ring = self.machine()
        for _ in range(10):
            old, ring.kick = ring.kick, os.eventfd(0, os.EFD_NONBLOCK)
            ring.put([(0x4000, 4, False), (0x5000, 16, True)])
            os.eventfd_write(old, 1)
            front_end.vring_fd(SET_VRING_KICK, 0, ring.kick)
            os.close(old)
            self.assertEqual(ring.wait(), 8)
            self.assertTrue(ring.echoes())


if __name__ == "__main__":
    tap.main()
