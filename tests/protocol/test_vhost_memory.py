# SPDX-License-Identifier: MIT
"""The memory table over vhost-user: whole, slot by slot, with both kinds of addresses, and what is none."""
import errno
import os
import struct

import tap
from vhost_user import *

PAGE = 0x1000


class Table(ServerCase):
    def counts(self):
        status = self.server.status()
        return status["slots"], status["regions"], status["removals"]

    def test_several(self):
        front_end = self.connect()
        memory = self.memory(0x10000)
        other = self.memory(0x10000)
        front_end.set_mem_table(
            [front_end.region(0, 0x8000), front_end.region(0x8000, 0x8000, 0x8000), front_end.region(1 << 40, 0x10000)],
            [memory.fd, memory.fd, other.fd],
        )
        self.assertEqual(self.counts()[:2], (3, 3))
        ring = self.ring(front_end, memory=memory)
        ring.start()
        self.assertTrue(ring.echoes())
        other.map[0x100:0x105] = b"there"
        ring.put([((1 << 40) + 0x100, 5, False), ((1 << 40) + 0x200, 9, True)])
        ring.ring()
        self.assertEqual(ring.wait(), 9)
        self.assertEqual(bytes(other.map[0x204:0x209]), b"there")

    def test_eight(self):
        front_end = self.connect()
        memory = self.memory(8 * PAGE)
        regions = [front_end.region(2 * i * PAGE, PAGE, i * PAGE) for i in range(8)]
        front_end.set_mem_table(regions, [memory.fd] * 8)
        self.assertEqual(self.counts()[:2], (8, 8))
        front_end.set_mem_table([], [])
        self.assertEqual(self.counts()[:2], (0, 0))

    def test_what_stays_is_not_touched(self):
        """A table in place of another: only what is not in both goes, however it is ordered and whatever fd it comes with."""
        front_end, memory, ring = self.machine()
        other = self.memory(0x10000)
        first = front_end.region(0, 0x10000)
        removals = self.counts()[2]
        for regions, fds, slots, more in (
            ([front_end.region(1 << 32, 0x1000), first], [other.fd, memory.fd], 2, 0),
            ([first, front_end.region(1 << 32, 0x1000)], [os.dup(memory.fd), other.fd], 2, 0),
            ([first, front_end.region(1 << 32, 0x2000)], [memory.fd, other.fd], 2, 1),
            ([first, front_end.region(1 << 32, 0x2000, 0x1000)], [memory.fd, other.fd], 2, 2),
            ([first, front_end.region(1 << 33, 0x2000, 0x1000)], [memory.fd, other.fd], 2, 3),
            ([first, front_end.region(1 << 33, 0x2000, 0x1000)], [memory.fd, memory.fd], 2, 4),
            ([first], [memory.fd], 1, 5),
            ([front_end.region(0, 0x10000, user=1 << 50)], [memory.fd], 1, 5),
        ):
            front_end.set_mem_table(regions, fds)
            self.assertEqual((self.counts()[0], self.counts()[2]), (slots, removals + more))
            self.assertTrue(ring.echoes())

    def test_grown(self):
        front_end = self.connect()
        memory = self.memory(0x10000)
        front_end.set_mem_table([front_end.region(0, 0x8000)], [memory.fd])
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        self.assertEqual(self.counts()[:2], (1, 1))
        ring = self.ring(front_end, memory=memory)
        ring.start()
        self.assertTrue(ring.echo(b"high", 0xA000) == b"high")

    def test_wrong_tables_change_nothing(self):
        front_end, memory, ring = self.machine()
        before = self.counts()
        good = front_end.region(0, 0x10000)
        short = self.memory(0x1000)
        read, write = os.pipe()
        self.fd(write)
        for regions, fds, code in (
            ([good], [], errno.EINVAL),
            ([good], [memory.fd] * 2, errno.EINVAL),
            ([good, front_end.region(0x8000, 0x1000, user=1 << 50)], [memory.fd] * 2, errno.EEXIST),
            ([good, front_end.region(1 << 32, 0x1000, user=USER + 0x8000)], [memory.fd] * 2, errno.EEXIST),
            ([front_end.region(0, 0)], [memory.fd], errno.EINVAL),
            ([front_end.region((1 << 64) - 0x1000, 0x2000, user=0)], [memory.fd], errno.EINVAL),
            ([front_end.region(0, 0x2000, user=(1 << 64) - 0x1000)], [memory.fd], errno.EINVAL),
            ([front_end.region(0, 0x2000, offset=(1 << 64) - 0x1000)], [memory.fd], errno.EINVAL),
            ([front_end.region(0, 0x20000)], [memory.fd], errno.EINVAL),
            ([front_end.region(0, 0x2000)], [short.fd], errno.EINVAL),
            ([front_end.region(0, 0x1000, offset=0x1000)], [short.fd], errno.EINVAL),
            ([front_end.region(0, 0x1000)], [self.fd(read)], errno.EINVAL),
            ([front_end.region(0, 0x1000)], [ring.kick], errno.EINVAL),
            ([good, front_end.region(1 << 32, 0x2000)], [memory.fd, short.fd], errno.EINVAL),
        ):
            self.refused(code, front_end.set_mem_table, regions, fds)
            self.assertEqual(self.counts(), before)
            self.assertTrue(ring.echoes())

    def test_counts_that_lie(self):
        memory = self.memory(PAGE)
        for count, regions in ((9, 8), (2, 1), (0xFFFFFFFF, 1), (1, 0)):
            front_end = self.connect()
            front_end.send(SET_MEM_TABLE, struct.pack("=II", count, 0) + front_end.region(0, PAGE) * regions, fds=[memory.fd])
            self.assert_lost(front_end)

    def test_memory_goes_with_the_front_end(self):
        front_end, _, ring = self.machine()
        self.assertTrue(ring.echoes())
        front_end.close()
        self.server.wait_for(lambda status: status["slots"] == 0 and status["regions"] == 0)


class Slots(ServerCase):
    def test_add_and_remove(self):
        front_end = self.connect()
        memory = self.memory(0x10000)
        front_end.add_region(0, 0x10000, memory.fd)
        front_end.add_region(1 << 32, 0x8000, memory.fd, 0x8000)
        ring = self.ring(front_end, memory=memory)
        ring.start()
        self.assertTrue(ring.echoes())
        front_end.remove_region(1 << 32, 0x8000)
        self.assertEqual(self.server.status()["slots"], 1)
        ring.put([(1 << 32, 5, False), (0x5000, 9, True)])
        ring.ring()
        self.assertEqual(ring.wait(), 4, "the error only")
        self.assertEqual(struct.unpack_from("=I", memory.map, 0x5000)[0], errno.EFAULT)
        front_end.add_region(1 << 32, 0x8000, memory.fd, 0x8000)
        memory.map[0x8000:0x8005] = b"again"
        ring.put([(1 << 32, 5, False), (0x5000, 9, True)])
        ring.ring()
        self.assertEqual(ring.wait(), 9)

    def test_remove_with_an_fd(self):
        """QEMU sends one, "and the back-end MUST close it"."""
        front_end = self.connect()
        memory = self.memory(PAGE)
        before = self.server.fds()
        for _ in range(10):
            front_end.add_region(0, PAGE, memory.fd)
            front_end.remove_region(0, PAGE, fds=[memory.fd])
        self.assertEqual(self.server.fds(), before)

    def test_all_of_them(self):
        front_end = self.connect()
        slots = front_end.u64(GET_MAX_MEM_SLOTS)
        memory = self.memory(slots * PAGE)
        for i in range(slots):
            front_end.add_region(2 * i * PAGE, PAGE, memory.fd, i * PAGE)
        self.assertEqual(self.server.status()["slots"], slots)
        self.refused(errno.ENOSPC, front_end.add_region, 1 << 40, PAGE, memory.fd)
        for i in range(0, slots, 2):
            front_end.remove_region(2 * i * PAGE, PAGE)
        self.assertEqual(self.server.status()["regions"], slots // 2)

    def test_each_a_file_of_its_own(self):
        front_end = self.connect()
        slots = front_end.u64(GET_MAX_MEM_SLOTS)
        for i in range(slots):
            fd = os.memfd_create("slot", os.MFD_CLOEXEC)
            os.ftruncate(fd, PAGE)
            front_end.add_region(i * PAGE, PAGE, fd)
            os.close(fd)
        self.assertEqual(self.server.status()["regions"], slots)

    def test_wrong_ones(self):
        front_end, memory, ring = self.machine()
        read, write = os.pipe()
        self.fd(write)
        for arguments, code in (
            ((0x8000, 0x1000, memory.fd), errno.EEXIST),
            ((1 << 32, 0x1000, memory.fd, 0, USER), errno.EEXIST),
            ((1 << 32, 0, memory.fd), errno.EINVAL),
            ((1 << 32, 0x20000, memory.fd), errno.EINVAL),
            (((1 << 64) - 0x1000, 0x2000, memory.fd, 0, 0), errno.EINVAL),
            ((1 << 32, 0x1000, self.fd(read)), errno.EINVAL),
        ):
            self.refused(code, front_end.add_region, *arguments)
        for arguments in ((0, 0x8000), (0x8000, 0x8000), (1 << 32, 0x10000), (0, 0x10000, 5)):
            self.refused(errno.ENOENT, front_end.remove_region, *arguments)
        self.assertTrue(ring.echoes())

    def test_read_only_file(self):
        """It is memory that the device does not write to."""
        front_end, _, ring = self.machine()
        memory = self.memory(PAGE)
        fd = os.open(f"/proc/self/fd/{memory.fd}", os.O_RDONLY | os.O_CLOEXEC)
        front_end.add_region(1 << 32, PAGE, self.fd(fd))
        memory.map[0:4] = b"only"
        ring.put([(1 << 32, 4, False), (0x5000, 8, True)])
        ring.ring()
        self.assertEqual(ring.wait(), 8)
        ring.put([(0x4000, 4, False), (1 << 32, 8, True)])
        ring.ring()
        self.assertEqual(ring.wait(), 0)
        self.assertEqual(bytes(memory.map[0:4]), b"only")

    def test_truncated_under_a_ring(self):
        front_end, memory, ring = self.machine()
        self.assertTrue(ring.echoes())
        os.ftruncate(memory.fd, 0)
        ring.ring()
        self.assertEqual(signalled(ring.err), 1)
        self.assertTrue(front_end.alive())


class GuestAddresses(ServerCase):
    """GPA_ADDRESSES: there are no user addresses."""

    PROTOCOL = FrontEnd.PROTOCOL_FEATURES | bits(GPA_ADDRESSES)

    def machine(self, **how):
        return super().machine(protocol_features=self.PROTOCOL, **how)

    def test_echo(self):
        front_end, memory, ring = self.machine()
        self.assertTrue(ring.echoes())
        front_end.add_region(1 << 32, 0x8000, memory.fd, 0x8000)
        front_end.remove_region(1 << 32, 0x8000)
        self.assertTrue(ring.echoes())

    def test_must_be_the_same(self):
        front_end, memory, ring = self.machine()
        self.refused(errno.EINVAL, front_end.add_region, 1 << 32, PAGE, memory.fd, 0, USER)
        self.refused(errno.EINVAL, front_end.set_mem_table, [front_end.region(0, 0x10000, user=USER)], [memory.fd])
        self.assertTrue(ring.echoes())


if __name__ == "__main__":
    tap.main()
