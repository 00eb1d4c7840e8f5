# SPDX-License-Identifier: MIT
"""Interrupts: information, SET_IRQS in all its forms, eventfds that are signalled and eventfds that are not."""
import errno
import os
import select
import struct

import tap
from vfio_user import *


class Irq(ServerCase):
    def eventfds(self, count):
        return [self.fd(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)) for _ in range(count)]

    def fired(self, fd):
        return bool(select.select([fd], [], [], 0)[0]) and os.eventfd_read(fd)

    def test_info(self):
        client = self.connect()
        self.assertEqual(client.irq_info(INTX), (16, 7, INTX, 1), "EVENTFD, MASKABLE, AUTOMASKED")
        self.assertEqual(client.irq_info(MSIX), (16, 3, MSIX, 3), "a vector per queue and one")
        for index in (1, 3, 4):
            self.assertEqual(client.irq_info(index), (16, 0, index, 0))
        self.refused(errno.EINVAL, client.irq_info, 5)
        self.refused(errno.EINVAL, client.irq_info, 0, argsz=15)

    def test_trigger_each(self):
        client, fds = self.connect(), self.eventfds(3)
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 3, fds=fds)
        for i in range(3):
            client.set_irqs(DATA_NONE | ACTION_TRIGGER, MSIX, i, 1)
            self.assertEqual([self.fired(fd) for fd in fds], [i == 0, i == 1, i == 2])
        client.set_irqs(DATA_BOOL | ACTION_TRIGGER, MSIX, 0, 3, data=bytes([1, 0, 255]))
        self.assertEqual([self.fired(fd) for fd in fds], [1, False, 1])

    def test_replace_and_remove(self):
        client, fds = self.connect(), self.eventfds(2)
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 1, 1, fds=fds[:1])
        before = self.server.fds()
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 1, 1, fds=fds[1:])
        self.assertEqual(self.server.fds(), before, "the first one was closed")
        client.set_irqs(DATA_NONE | ACTION_TRIGGER, MSIX, 1, 1)
        self.assertEqual([self.fired(fd) for fd in fds], [False, 1])
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 1, 1)
        self.assertEqual(self.server.fds(), before - 1)
        client.set_irqs(DATA_NONE | ACTION_TRIGGER, MSIX, 1, 1)
        self.assertEqual([self.fired(fd) for fd in fds], [False, False])

    def test_disable_all(self):
        client, fds = self.connect(), self.eventfds(3)
        before = self.server.fds()
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 3, fds=fds)
        self.assertEqual(self.server.fds(), before + 3)
        client.set_irqs(DATA_NONE | ACTION_TRIGGER, MSIX, 0, 0)
        self.assertEqual(self.server.fds(), before)

    def test_device_interrupts(self):
        """A queue's interrupt comes by its vector."""
        client, memory, fds = self.connect(), self.memory(0x8000), self.eventfds(3)
        client.dma_map(0, 0x8000, memory.fd)
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 3, fds=fds)
        queue = start_driver(client, memory)
        client.write(BAR4, COMMON + 22, struct.pack("=H", 0))
        client.write(BAR4, COMMON + 26, struct.pack("=H", 2))
        queue.put([(0x4000, 4, False), (0x5000, 16, True)])
        queue.ring()
        queue.wait()
        self.assertTrue(select.select([fds[2]], [], [], TIMEOUT)[0])

    def intx(self, client):
        """An asserted INTx: its eventfd, which fired once and is masked now."""
        memory, (fd,) = self.memory(0x8000), self.eventfds(1)
        client.dma_map(0, 0x8000, memory.fd)
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, INTX, 0, 1, fds=[fd])
        queue = start_driver(client, memory)
        queue.put([(0x4000, 4, False), (0x5000, 16, True)])
        queue.ring()
        queue.wait()
        self.assertTrue(select.select([fd], [], [], TIMEOUT)[0])
        self.assertTrue(self.fired(fd))
        return fd

    def test_intx_unmask(self):
        client = self.connect()
        fd = self.intx(client)
        client.set_irqs(DATA_NONE | ACTION_UNMASK, INTX, 0, 1)
        self.assertTrue(self.fired(fd), "still asserted: fires again")
        client.set_irqs(DATA_BOOL | ACTION_UNMASK, INTX, 0, 1, data=b"\0")
        self.assertFalse(self.fired(fd))
        client.set_irqs(DATA_BOOL | ACTION_MASK, INTX, 0, 1, data=b"\1")
        self.assertTrue(client.read(BAR4, ISR, 1) != b"\0")
        client.set_irqs(DATA_NONE | ACTION_UNMASK, INTX, 0, 1)
        self.assertFalse(self.fired(fd), "the ISR was read: not asserted any more")

    def test_intx_unmask_by_eventfd(self):
        client = self.connect()
        fd = self.intx(client)
        (unmask,) = self.eventfds(1)
        client.set_irqs(DATA_EVENTFD | ACTION_UNMASK, INTX, 0, 1, fds=[unmask])
        os.eventfd_write(unmask, 1)
        self.assertTrue(select.select([fd], [], [], TIMEOUT)[0])
        before = self.server.fds()
        client.set_irqs(DATA_EVENTFD | ACTION_UNMASK, INTX, 0, 1)
        self.assertEqual(self.server.fds(), before - 1)

    def test_refused(self):
        client, fds = self.connect(), self.eventfds(4)
        before = self.server.fds()
        eventfd, none, boolean = DATA_EVENTFD | ACTION_TRIGGER, DATA_NONE | ACTION_TRIGGER, DATA_BOOL | ACTION_TRIGGER
        rows = {
            "index": (eventfd, 5, 0, 1, b"", fds[:1]),
            "index of no irqs": (eventfd, MSI, 0, 1, b"", fds[:1]),
            "disabling no irqs": (none, 3, 0, 0, b"", []),
            "start": (none, MSIX, 3, 1, b"", []),
            "count": (none, MSIX, 0, 4, b"", []),
            "start + count": (none, MSIX, 2, 2, b"", []),
            "start + count wraps": (none, MSIX, 2, 0xFFFFFFFF, b"", []),
            "start wraps": (none, MSIX, 0xFFFFFFFF, 2, b"", []),
            "more fds than count": (eventfd, MSIX, 0, 1, b"", fds[:2]),
            "fewer fds than count": (eventfd, MSIX, 0, 3, b"", fds[:2]),
            "fds and no use": (none, MSIX, 0, 1, b"", fds[:1]),
            "fds with booleans": (boolean, MSIX, 0, 1, b"\1", fds[:1]),
            "too few booleans": (boolean, MSIX, 0, 3, b"\1\1", []),
            "too many booleans": (boolean, MSIX, 0, 1, b"\1\1", []),
            "data where none is": (none, MSIX, 0, 1, b"\1", []),
            "data with fds": (eventfd, MSIX, 0, 1, b"\0\0\0\0", fds[:1]),
            "no data type": (ACTION_TRIGGER, MSIX, 0, 1, b"", []),
            "two data types": (DATA_NONE | DATA_BOOL | ACTION_TRIGGER, MSIX, 0, 1, b"\1", []),
            "no action": (DATA_NONE, MSIX, 0, 1, b"", []),
            "two actions": (DATA_NONE | ACTION_MASK | ACTION_UNMASK, MSIX, 0, 1, b"", []),
            "unknown flag": (none | 0x40, MSIX, 0, 1, b"", []),
            "no flags": (0, MSIX, 0, 1, b"", []),
            "all flags": (0xFFFFFFFF, MSIX, 0, 1, b"", []),
            "count 0 with eventfd": (eventfd, MSIX, 0, 0, b"", []),
            "count 0 with mask": (DATA_NONE | ACTION_MASK, MSIX, 0, 0, b"", []),
            "count 0 with start": (none, MSIX, 1, 0, b"", []),
        }
        for name, (flags, index, start, count, data, passed) in rows.items():
            with self.subTest(name):
                self.refused(errno.EINVAL, client.set_irqs, flags, index, start, count, data, passed)
        self.refused(errno.EINVAL, client.set_irqs, none, MSIX, 0, 1, argsz=19)
        self.refused(errno.ENOTTY, client.set_irqs, DATA_EVENTFD | ACTION_MASK, INTX, 0, 1, fds=fds[:1])
        self.refused(errno.ENOTTY, client.set_irqs, DATA_EVENTFD | ACTION_UNMASK, MSIX, 0, 1, fds=fds[:1])
        self.assertEqual(self.server.fds(), before)
        self.assertTrue(client.alive())

    def test_fds_that_are_no_eventfds(self):
        client = self.connect()
        memory = self.memory(4096)
        pipe = os.pipe()
        before = self.server.fds()
        for name, fd in (("pipe", pipe[1]), ("memfd", memory.fd), ("/dev/null", self.fd(os.open("/dev/null", os.O_RDWR)))):
            with self.subTest(name):
                self.refused(errno.EINVAL, client.set_irqs, DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 1, fds=[fd])
        (good,) = self.eventfds(1)
        self.refused(errno.EINVAL, client.set_irqs, DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 2, fds=[good, pipe[1]])
        self.assertEqual(self.server.fds(), before)
        self.assertFalse(select.select([pipe[0]], [], [], 0)[0], "nothing was written to the pipe")
        for fd in pipe:
            os.close(fd)

    def test_full_counter(self):
        """An eventfd that cannot count any more does not stop the device."""
        client = self.connect()
        fd = self.fd(os.eventfd(0, os.EFD_CLOEXEC))
        os.eventfd_write(fd, (1 << 64) - 2)
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 1, fds=[fd])
        for _ in range(3):
            client.set_irqs(DATA_NONE | ACTION_TRIGGER, MSIX, 0, 1)
        self.assertTrue(client.alive())

    def test_go_with_the_client(self):
        client, fds = self.connect(), self.eventfds(5)
        before = self.server.fds()
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, MSIX, 0, 3, fds=fds[:3])
        client.set_irqs(DATA_EVENTFD | ACTION_TRIGGER, INTX, 0, 1, fds=fds[3:4])
        client.set_irqs(DATA_EVENTFD | ACTION_UNMASK, INTX, 0, 1, fds=fds[4:])
        self.assertEqual(self.server.fds(), before + 5)
        client.close()
        self.server.wait_for(lambda status: not status["connected"])
        self.assertEqual(self.server.fds(), before - 1)


tap.main()
