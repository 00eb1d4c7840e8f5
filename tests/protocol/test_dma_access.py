# SPDX-License-Identifier: MIT
"""DMA_READ and DMA_WRITE: a device that needs memory without an fd, and clients that answer well, badly, slowly or never."""
import collections
import errno
import select
import socket
import struct
import threading
import time

import tap
from vfio_user import *

REMOTE, REMOTE_SIZE = 0x100000, 0x400000
OUT, IN = 0x4000, 0x6000
STALL = 5.5  # seconds: two turns of the device's loop, in each of which it waits for 2 s; and a busy machine
FAILED_AT_ONCE = 1.0  # seconds, well below the time-out of a DMA request


class Access(ServerCase):
    """Every test has a chain on its way whose readable part lies in remote memory."""

    def start(self, length=16, capabilities=None):
        self.client = self.connect(version=False)
        self.client.version(capabilities=capabilities)
        self.local = self.memory(0x500000)
        self.client.dma_map(0, 0x80000, self.local.fd)
        self.client.dma_map(REMOTE, REMOTE_SIZE)
        self.queue = start_driver(self.client, self.local)
        self.request(length)

    def request(self, length=16):
        room = max(32, 4 + length)
        self.local.map[IN : IN + room] = b"\xff" * room
        self.queue.put([(REMOTE, length, False), (IN, room, True)])
        self.queue.ring()

    def expect(self, command=DMA_READ, address=REMOTE, count=16):
        message = self.client.receive()
        self.assertIsNotNone(message)
        self.assertEqual((message.command, message.flags), (command, 0))
        self.assertEqual(struct.unpack_from("=QQ", message.body), (address, count))
        return message

    def answer(self, message, data, address=None, count=None, command=None, flags=TYPE_REPLY, error=0, id=None, tail=b""):
        address, count = (
            given if given is not None else asked for given, asked in zip((address, count), struct.unpack_from("=QQ", message.body))
        )
        body = b"" if flags & ERROR else struct.pack("=QQ", address, count) + data + tail
        id = message.id if id is None else id
        self.client.send(message.command if command is None else command, body, flags=flags, error=error, id=id)

    def result(self):
        """The device's answer: its errno, and the bytes it echoed."""
        self.queue.wait()
        return struct.unpack_from("=I", self.local.map, IN)[0], self.local.map[IN + 4 : IN + 20]

    def assert_result(self, code, data=None):
        got, echoed = self.result()
        self.assertEqual(errno.errorcode.get(got, got), errno.errorcode.get(code, code))
        if data is not None:
            self.assertEqual(echoed, data)

    def assert_works(self):
        """The device serves the next chain on the same connection."""
        self.request()
        self.answer(self.expect(), b"the next request")
        self.assert_result(0, b"the next request")

    # ---- good answers

    def test_read(self):
        fetched = self.server.status()["bytes_fetched"]
        self.start()
        self.answer(self.expect(), b"sixteen bytes ok")
        self.assert_result(0, b"sixteen bytes ok")
        self.assert_works()
        self.assertEqual(self.server.status()["bytes_fetched"], fetched + 32)

    def test_write(self):
        for shape in ("16 bytes", "12 bytes", "no body"):
            with self.subTest(shape):
                self.start()
                self.answer(self.expect(), b"first chain....!")
                self.assert_result(0)
                self.queue.put([(OUT, 4, False), (REMOTE + 0x1000, 32, True)])
                self.local.map[OUT : OUT + 4] = b"abcd"
                self.queue.ring()
                for data in (struct.pack("=I", 0), b"abcd"):
                    message = self.expect(DMA_WRITE, REMOTE + 0x1000 + (4 if data == b"abcd" else 0), len(data))
                    self.assertEqual(message.body[16:], data)
                    body = {"16 bytes": message.body[:16], "12 bytes": message.body[:12], "no body": b""}[shape]
                    self.client.send(DMA_WRITE, body, flags=TYPE_REPLY, id=message.id)
                self.queue.wait()
                self.doCleanups()

    def test_chunks(self):
        """No request is larger than the client's max_data_xfer_size."""
        self.start(length=10, capabilities={"max_data_xfer_size": 4})
        data = b"0123456789"
        for at in (0, 4, 8):
            count = min(4, 10 - at)
            self.answer(self.expect(address=REMOTE + at, count=count), data[at : at + count])
        self.assertEqual(self.result()[1][:10], data)

    def test_large(self):
        """However a large access is cut, every byte is asked for once, in order."""
        length = 1048576 + 4096
        self.start(length=length)
        at = 0
        while at < length:
            message = self.client.receive()
            address, count = struct.unpack_from("=QQ", message.body)
            self.assertEqual(address, REMOTE + at)
            self.assertTrue(0 < count <= min(1048576, length - at))
            self.answer(message, bytes([at // 65536 + 1]) * count)
            at += count
        self.assert_result(0, b"\1" * 16)

    def test_slow(self):
        self.start()
        message = self.expect()
        for byte in HEADER.pack(message.id, DMA_READ, 48, TYPE_REPLY, 0) + message.body + b"one at a time...":
            self.client.send_raw(bytes([byte]))
            time.sleep(0.01)
        self.assert_result(0, b"one at a time...")

    # ---- bad answers

    def test_error_replies(self):
        for code, seen in ((errno.EFAULT, errno.EFAULT), (errno.EINVAL, errno.EINVAL), (0, errno.EIO), (0xFFFFFFFF, errno.EIO)):
            with self.subTest(code=code):
                self.start()
                self.answer(self.expect(), b"", flags=TYPE_REPLY | ERROR, error=code)
                self.assert_result(seen)
                self.assert_works()
                self.doCleanups()

    def test_wrong_answers(self):
        rows = {
            "id": dict(id=4711),
            "command": dict(command=DMA_WRITE),
            "another command": dict(command=REGION_READ),
            "address": dict(address=REMOTE + 1),
            "count": dict(count=15),
            "count with high bits": dict(count=(1 << 32) + 16),
            "longer": dict(tail=b"!"),
            "shorter": dict(data=b"short"),
            "empty": dict(data=b""),
        }
        for name, how in rows.items():
            with self.subTest(name):
                self.start()
                message = self.expect()
                self.answer(message, how.pop("data", b"sixteen bytes ok"), **how)
                self.assert_lost(self.client)
                self.doCleanups()

    def test_write_wrong_answers(self):
        for name, body in (("address", struct.pack("=QQ", 1, 4)), ("count", struct.pack("=QQ", REMOTE, 5)), ("size", bytes(15))):
            with self.subTest(name):
                self.start()
                self.answer(self.expect(), b"first chain....!")
                self.assert_result(0)
                self.queue.put([(OUT, 4, False), (REMOTE, 32, True)])
                self.queue.ring()
                message = self.expect(DMA_WRITE, count=4)
                self.client.send(DMA_WRITE, body, flags=TYPE_REPLY, id=message.id)
                self.assert_lost(self.client)
                self.doCleanups()

    def test_answered_twice(self):
        self.start()
        message = self.expect()
        self.answer(message, b"sixteen bytes ok")
        self.answer(message, b"sixteen bytes ok")
        self.assert_lost(self.client)

    def test_fds_in_an_answer(self):
        self.start()
        before = self.server.fds(waiting=True)
        message = self.expect()
        self.client.send(DMA_READ, message.body + b"sixteen bytes ok", flags=TYPE_REPLY, id=message.id, fds=[0, 1])
        self.assert_result(0, b"sixteen bytes ok")
        self.assertEqual(self.server.fds(), before)

    def test_never(self):
        """The connection is given up after a while, and with it whatever stopped the device."""
        self.start()
        self.expect()
        started = time.monotonic()
        self.assertIsNone(self.client.receive())
        self.assertLess(time.monotonic() - started, TIMEOUT - 1)
        self.assert_lost(self.client)

    def test_never_but_busy(self):
        """Nor does a client gain time by asking on and on."""
        self.start()
        self.expect()
        started = time.monotonic()
        try:
            while time.monotonic() - started < TIMEOUT:
                if self.client.call(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0)) is None:
                    break
        except OSError:
            pass
        self.assertLess(time.monotonic() - started, TIMEOUT - 1)
        self.assert_lost(self.client)

    # ---- several requests at a time

    SMALL = 16  # bytes a message, so that a chain of a few hundred bytes takes many
    WINDOW = 8

    def start_many(self, requests):
        """A chain of so many requests; those that come before the first answer."""
        self.start(length=requests * self.SMALL, capabilities={"max_data_xfer_size": self.SMALL})
        return [self.expect(address=REMOTE + i * self.SMALL) for i in range(min(requests, self.WINDOW))]

    @staticmethod
    def content(message):
        return struct.pack("=QQ", *struct.unpack_from("=QQ", message.body))

    def assert_content(self, requests):
        self.assertEqual(self.result()[0], 0)
        expected = b"".join(struct.pack("=QQ", REMOTE + i * self.SMALL, self.SMALL) for i in range(requests))
        self.assertEqual(self.local.map[IN + 4 : IN + 4 + len(expected)], expected)

    def test_window(self):
        """So many requests, and no more, until one is answered."""
        waiting = self.start_many(20)
        for i in range(self.WINDOW, 20):
            self.assertTrue(self.client.alive(), "the next message is the reply to this")
            message = waiting.pop(0)
            self.answer(message, self.content(message))
            waiting.append(self.expect(address=REMOTE + i * self.SMALL))
        for message in waiting:
            self.answer(message, self.content(message))
        self.assert_content(20)

    def test_any_order(self):
        for order in (lambda n: n - 1, lambda n: 0, lambda n: n // 2):
            with self.subTest(order=[order(n) for n in range(1, 9)]):
                waiting = self.start_many(30)
                for i in range(30):
                    message = waiting.pop(order(len(waiting)))
                    self.answer(message, self.content(message))
                    if i + self.WINDOW < 30:
                        waiting.append(self.expect(address=REMOTE + (i + self.WINDOW) * self.SMALL))
                self.assert_content(30)
                self.doCleanups()

    def test_bytes_under_way(self):
        """Answers have to fit into a socket's buffer: a VMM may drop what does not."""
        self.start(length=300000, capabilities={"max_data_xfer_size": 20000})
        waiting, asked, answered = [], 0, 0
        while answered < 300000:
            if asked < 300000 and (not waiting or asked - answered + min(20000, 300000 - asked) <= 65536):
                waiting.append(self.client.receive())
                address, count = struct.unpack_from("=QQ", waiting[-1].body)
                self.assertEqual((address, count), (REMOTE + asked, min(20000, 300000 - asked)))
                asked += count
                continue
            self.assertTrue(self.client.alive(), "nothing more is asked for now")
            count = struct.unpack_from("=QQ", waiting[0].body)[1]
            self.answer(waiting.pop(0), bytes(count))
            answered += count
        self.assertEqual(self.result()[0], 0)

    def test_one_of_many_fails(self):
        """The others are given up; their answers may still come."""
        waiting = self.start_many(20)
        self.answer(waiting.pop(3), b"", flags=TYPE_REPLY | ERROR, error=errno.EFAULT)
        self.assert_result(errno.EFAULT)
        for message in waiting:
            self.answer(message, self.content(message))
        self.assert_works()

    def test_many_cancelled(self):
        waiting = self.start_many(20)
        self.answer(waiting[0], self.content(waiting[0]))
        waiting.append(self.expect(address=REMOTE + self.WINDOW * self.SMALL))
        self.client.dma_map(0x10000000, 0x1000)
        self.assert_result(errno.ECANCELED)
        for message in reversed(waiting[1:]):
            self.answer(message, self.content(message))
        self.assert_works()
        self.answer(waiting[1], self.content(waiting[1]))
        self.assert_lost(self.client)

    def test_lies_with_many(self):
        rows = {
            "answered twice": lambda waiting: [(waiting[2], {}), (waiting[2], {})],
            "id of none": lambda waiting: [(waiting[2], dict(id=4711))],
            "the next one's id": lambda waiting: [(waiting[2], dict(id=waiting[3].id))],
            "command": lambda waiting: [(waiting[7], dict(command=DMA_WRITE))],
            "shorter": lambda waiting: [(waiting[5], dict(data=b""))],
            "not asked yet": lambda waiting: [(waiting[5], dict(id=waiting[7].id + 1))],
        }
        for name, answers in rows.items():
            with self.subTest(name):
                for message, how in answers(self.start_many(8)):
                    self.answer(message, how.pop("data", self.content(message)), **how)
                self.assert_lost(self.client)
                self.doCleanups()

    def test_one_of_many_never(self):
        """Answers to others do not excuse it."""
        waiting = self.start_many(2000)
        waiting.pop(0)
        started = time.monotonic()
        try:
            while time.monotonic() - started < TIMEOUT:
                message = waiting.pop(0)
                self.answer(message, self.content(message))
                message = self.client.receive()
                if message is None:
                    break
                waiting.append(message)
                time.sleep(0.02)
        except OSError:
            pass
        self.assertLess(time.monotonic() - started, TIMEOUT - 1)
        self.assert_lost(self.client)

    # ---- how long the device stands still

    def longest_stall(self, seconds):
        """Asks for the status over and over: the longest time it took. The server answers it when the device does not wait."""
        longest, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.monotonic()
            self.server.status()
            longest = max(longest, time.monotonic() - started)
            time.sleep(0.01)
        return longest

    def serve_slowly(self, delay, memory=None):
        """On a thread of its own: answers every request after a delay, until the connection ends."""
        thread = threading.Thread(target=self.slow_answers, args=(delay, memory))
        self.addCleanup(thread.join)
        self.addCleanup(self.client.sock.shutdown, socket.SHUT_RDWR)
        thread.start()

    def slow_answers(self, delay, memory):
        waiting = collections.deque()
        while True:
            now = time.monotonic()
            if select.select([self.client.sock], [], [], max(0, waiting[0][0] - now) if waiting else None)[0]:
                message = self.client.receive()
                if message is None:
                    return
                waiting.append((time.monotonic() + delay, message))
            while waiting and waiting[0][0] <= time.monotonic():
                message = waiting.popleft()[1]
                address, count = struct.unpack_from("=QQ", message.body)
                if message.command == DMA_WRITE:
                    memory.map[address : address + count] = message.body[16:]
                    self.client.send(DMA_WRITE, message.body[:16], flags=TYPE_REPLY, id=message.id)
                else:
                    self.answer(message, memory.map[address : address + count] if memory else self.content(message))

    def test_slow_answers(self):
        """Each of a hundred requests is answered, after a while. They are given up, not the client."""
        self.start(length=100 * self.SMALL, capabilities={"max_data_xfer_size": self.SMALL})
        self.serve_slowly(0.2)
        self.assertLess(self.longest_stall(3), STALL)
        self.assert_result(errno.ETIMEDOUT)
        self.assertTrue(self.server.status()["connected"])

    def test_slow_rings(self):
        """Rings and buffers in memory whose every byte takes its time: the device works, and looks at other things in between."""
        self.start()
        self.answer(self.expect(), b"sixteen bytes ok")
        self.assert_result(0)
        self.client.dma_unmap(0, 0x80000)
        self.client.dma_map(0, 0x80000)
        self.request()
        self.local.map[0x100000:0x100010] = b"from slow memory"
        self.serve_slowly(0.3, self.local)
        self.assertLess(self.longest_stall(5), STALL)
        self.assert_result(0, b"from slow memory")

    def test_slowest_rings(self):
        """Each answer comes just in time. The device may not get anywhere, but it does not stand still for that."""
        self.start()
        self.answer(self.expect(), b"sixteen bytes ok")
        self.assert_result(0)
        self.client.dma_unmap(0, 0x80000)
        self.client.dma_map(0, 0x80000)
        self.request()
        self.serve_slowly(1.7, self.local)
        self.assertLess(self.longest_stall(5), STALL)
        self.assertTrue(self.server.status()["connected"])

    # ---- what is served while the device waits

    def test_served_meanwhile(self):
        self.start()
        message = self.expect()
        self.assertTrue(self.client.alive())
        self.assertEqual(self.client.region_info(BAR4)[4], 16384)
        self.assertEqual(self.client.irq_info(MSIX)[3], 3)
        self.assertEqual(self.client.read(BAR4, COMMON + 20, 1), bytes([15]))
        self.client.set_irqs(DATA_NONE | ACTION_TRIGGER, MSIX, 0, 0)
        self.client.write(BAR4, NOTIFY, b"\0\0")
        self.client.post(BAR4, NOTIFY + 4, b"\1\0")
        self.client.ask(REGION_WRITE_MULTI, struct.pack("=QQII", 1, NOTIFY, BAR4, 2) + bytes(8))
        self.refused(errno.ENOSYS, self.client.ask, 99)
        self.refused(errno.EINVAL, self.client.ask, DMA_MAP, bytes(3))
        self.refused(errno.EINVAL, self.client.read, BAR4, 16384, 1)
        self.answer(message, b"after all that..")
        self.assert_result(0, b"after all that..")

    def interrupted(self, question, late=True):
        """What question() asks ends the request; its late answer is ignored."""
        self.start()
        message = self.expect()
        started = time.monotonic()
        question()
        self.assertLess(time.monotonic() - started, FAILED_AT_ONCE)
        if late:
            self.answer(message, b"comes too late!!")
        self.assertTrue(self.client.alive())
        return message

    def test_unmap_meanwhile(self):
        self.interrupted(lambda: self.client.dma_unmap(REMOTE, REMOTE_SIZE))
        self.assert_result(errno.ECANCELED)
        self.assertEqual(self.server.status()["regions"], 1)
        self.request()
        self.assert_result(errno.EFAULT)

    def test_unmap_of_the_rings_meanwhile(self):
        self.interrupted(lambda: self.client.dma_unmap(0, 0x80000))
        self.assertEqual(self.server.status()["regions"], 1)

    def test_map_meanwhile(self):
        self.interrupted(lambda: self.client.dma_map(0x10000000, 0x1000))
        self.assert_result(errno.ECANCELED)
        self.assert_works()

    def test_reset_meanwhile(self):
        resets = self.server.status()["resets"]
        self.interrupted(lambda: self.client.ask(RESET))
        self.assertEqual(self.server.status()["resets"], resets + 3, "by VERSION, by the driver's start, and by RESET")

    def test_status_write_meanwhile(self):
        self.interrupted(lambda: self.client.write(BAR4, COMMON + 20, b"\0"))
        self.assertEqual(self.client.read(BAR4, COMMON + 20, 1), b"\0")

    def test_config_write_meanwhile(self):
        self.interrupted(lambda: self.client.write(CONFIG, 4, struct.pack("=H", 4)))
        self.assert_result(errno.ECANCELED)
        self.assert_works()

    def test_several_writes_meanwhile(self):
        writes = struct.pack("=QII8s", NOTIFY, BAR4, 2, b"") + struct.pack("=QII8s", COMMON + 20, BAR4, 1, b"")
        self.interrupted(lambda: self.client.ask(REGION_WRITE_MULTI, struct.pack("=Q", 2) + writes))
        self.assertEqual(self.client.read(BAR4, COMMON + 20, 1), b"\0")

    def test_posted_write_meanwhile(self):
        self.interrupted(lambda: self.client.post(BAR4, COMMON + 20, b"\0"))
        self.assertEqual(self.client.read(BAR4, COMMON + 20, 1), b"\0")

    def test_gone_meanwhile(self):
        self.start()
        self.expect()
        self.client.close()
        started = time.monotonic()
        self.server.wait_for(lambda status: not status["connected"])
        self.assertLess(time.monotonic() - started, FAILED_AT_ONCE)

    def test_malformed_meanwhile(self):
        self.start()
        self.expect()
        self.client.send_raw(HEADER.pack(1, GET_INFO, 3, 0, 0))
        self.assert_lost(self.client)

    def test_cancelled_often(self):
        """Late answers may take their time, but not without end."""
        self.start()
        late = []
        for i in range(40):
            late.append(self.expect())
            self.client.dma_map(0x10000000 + i * 0x1000, 0x1000)
            self.assert_result(errno.ECANCELED)
            self.request()
        for message in late:
            self.answer(message, b"comes too late!!")
        self.answer(self.expect(), b"sixteen bytes ok")
        self.assert_result(0, b"sixteen bytes ok")

    def test_cancelled_too_often(self):
        self.start()
        with self.assertRaises((OSError, AssertionError, TimeoutError)):
            for i in range(300):
                self.expect()
                self.client.dma_map(0x10000000 + i * 0x1000, 0x1000)
                self.assert_result(errno.ECANCELED)
                self.request()
        self.assert_lost(self.client)


tap.main()
