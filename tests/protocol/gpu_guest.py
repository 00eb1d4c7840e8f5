# SPDX-License-Identifier: MIT
"""A small guest for tests of vitrine over vhost-user: memory, a driver of the two queues, pictures. It outlives the back-end, as a virtual
machine does, and connects again."""
import errno
import os
import socket
import struct
import time

from vhost_user import *

RESOURCE_BLOB = 3
(CREATE_2D, UNREF, SET_SCANOUT, FLUSH, TRANSFER_TO_HOST_2D, ATTACH_BACKING, DETACH_BACKING) = range(0x101, 0x108)
CREATE_BLOB, SET_SCANOUT_BLOB, UPDATE_CURSOR, MOVE_CURSOR = 0x10C, 0x10D, 0x300, 0x301
OK, FENCE = 0x1100, 1

WIDTH, HEIGHT = 64, 32
STRIDE = WIDTH * 4
BYTES = STRIDE * HEIGHT

SIZE = 64  # entries of a ring: half as many requests at a time
SLOT = 0x400
RINGS, REQUESTS, PICTURES, MEMORY = 0, 0x10000, 0x40000, 0x100000
DESC, AVAIL, USED, RING = 0, 0x800, 0x1000, 0x2000


class GpuRing:
    """The driver's side of a queue. Requests are named by their slot until their answer is taken."""

    def __init__(self, memory, index):
        self.memory, self.index, self.base = memory, index, RINGS + index * RING
        self.kick, self.call, self.err = (os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(3))
        self.reset()

    def reset(self):
        """As a driver that begins anew."""
        self.memory.map[self.base : self.base + RING] = bytes(RING)
        self.avail = self.used_seen = 0
        self.free = list(range(SIZE // 2))
        self.answers = {}

    def close(self):
        for fd in (self.kick, self.call, self.err):
            os.close(fd)

    def used(self):
        return self.memory.index(self.base + USED + 2)

    def start(self, front_end, base):
        front_end.vring(SET_VRING_NUM, self.index, SIZE)
        front_end.vring(SET_VRING_BASE, self.index, base)
        front_end.set_addr(self.index, self.base + DESC, self.base + USED, self.base + AVAIL)
        front_end.vring_fd(SET_VRING_CALL, self.index, self.call)
        front_end.vring_fd(SET_VRING_KICK, self.index, self.kick)
        front_end.vring(SET_VRING_ENABLE, self.index, 1)

    def submit(self, request):
        slot = self.free.pop(0)
        at = REQUESTS + (self.index * SIZE // 2 + slot) * 2 * SLOT
        self.memory.map[at : at + len(request)] = request
        self.memory.map[at + SLOT : at + SLOT + 24] = bytes(24)
        struct.pack_into("=QIHH", self.memory.map, self.base + DESC + 32 * slot, at, len(request), 1, 2 * slot + 1)
        struct.pack_into("=QIHH", self.memory.map, self.base + DESC + 32 * slot + 16, at + SLOT, SLOT, 2, 0)
        struct.pack_into("=H", self.memory.map, self.base + AVAIL + 4 + 2 * (self.avail % SIZE), 2 * slot)
        self.avail += 1
        self.memory.set_index(self.base + AVAIL + 2, self.avail)
        os.eventfd_write(self.kick, 1)
        return slot

    def take(self):
        """Takes the answers that are there."""
        while self.used() != self.used_seen & 0xFFFF:
            head = struct.unpack_from("=I", self.memory.map, self.base + USED + 4 + 8 * (self.used_seen % SIZE))[0]
            self.used_seen += 1
            slot = head // 2
            assert head % 2 == 0 and slot not in self.free and slot not in self.answers, f"an answer to nothing: {head}"
            at = REQUESTS + (self.index * SIZE // 2 + slot) * 2 * SLOT + SLOT
            self.answers[slot] = struct.unpack_from("=IIQ", self.memory.map, at)

    def answer(self, slot, timeout=10):
        """(type, flags, fence) of the answer."""
        end = time.monotonic() + timeout
        while slot not in self.answers:
            self.take()
            if time.monotonic() > end:
                raise TimeoutError(f"queue {self.index}: no answer to request {slot}")
            if slot not in self.answers:
                time.sleep(0.0005)
        self.free.append(slot)
        return self.answers.pop(slot)


def header(command, fence=0):
    return struct.pack("=IIQII", command, FENCE if fence else 0, fence, 0, 0)


def create_blob(resource, entries):
    size = sum(length for _, length in entries)
    return (header(CREATE_BLOB) + struct.pack("=IIIIQQ", resource, 1, 0, len(entries), 0, size) +
            b"".join(struct.pack("=QII", address, length, 0) for address, length in entries))


def set_scanout_blob(resource, scanout=0):
    return header(SET_SCANOUT_BLOB) + struct.pack("=4I6I4I4I", 0, 0, WIDTH, HEIGHT, scanout, resource, WIDTH, HEIGHT, 2, 0, STRIDE,
                                                  *[0] * 7)


def flush(resource, fence=0):
    return header(FLUSH, fence) + struct.pack("=4III", 0, 0, WIDTH, HEIGHT, resource, 0)


def create_2d(resource, width=WIDTH, height=HEIGHT, picture_format=2):
    return header(CREATE_2D) + struct.pack("=4I", resource, picture_format, width, height)


def attach(resource, address, length):
    return header(ATTACH_BACKING) + struct.pack("=IIQII", resource, 1, address, length, 0)


def detach(resource):
    return header(DETACH_BACKING) + struct.pack("=II", resource, 0)


def transfer(resource, width=WIDTH, height=HEIGHT):
    return header(TRANSFER_TO_HOST_2D) + struct.pack("=4IQII", 0, 0, width, height, 0, resource, 0)


def set_scanout(resource, scanout=0):
    return header(SET_SCANOUT) + struct.pack("=4III", 0, 0, WIDTH, HEIGHT, scanout, resource)


def unref(resource):
    return header(UNREF) + struct.pack("=II", resource, 0)


def update_cursor(resource, x, y):
    return header(UPDATE_CURSOR) + struct.pack("=8I", 0, x, y, 0, resource, 0, 0, 0)


def painting(seed):
    """The pixels of a picture, of which no two of a test are the same."""
    return b"".join(struct.pack("=I", 0xFF000000 | (seed * 2654435761 + i * 7919) & 0xFFFFFF) for i in range(WIDTH * HEIGHT))


class Guest:
    """The virtual machine. inflight: its VMM keeps memory for the back-end."""

    FEATURES = bits(VERSION_1, F_PROTOCOL_FEATURES, RESOURCE_BLOB)

    def __init__(self, inflight):
        self.memory = Memfd(MEMORY)
        self.rings = [GpuRing(self.memory, index) for index in range(2)]
        self.keeps, self.inflight = inflight, None
        self.front_end = None

    def close(self):
        self.disconnect()
        self.forget()
        for ring in self.rings:
            ring.close()
        self.memory.close()

    def disconnect(self):
        if self.front_end:
            self.front_end.close()
        self.front_end = None

    def forget(self):
        """The VMM lets go of what it keeps for the back-end."""
        if self.inflight:
            os.close(self.inflight[1])
        self.inflight = None

    def reset(self):
        """Another driver, on the same machine."""
        self.forget()
        for ring in self.rings:
            ring.reset()

    def connect(self, path, timeout=20):
        """Connects as a VMM does that lost the back-end: where the rings go on is what the used indices say."""
        end = time.monotonic() + timeout
        while not self.front_end:
            try:
                protocol = FrontEnd.PROTOCOL_FEATURES | (bits(INFLIGHT_SHMFD) if self.keeps else 0)
                self.front_end = FrontEnd(str(path), features=self.FEATURES, protocol_features=protocol)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ECONNREFUSED) or time.monotonic() > end:
                    raise
                time.sleep(0.002)
        self.front_end.set_mem_table([self.front_end.region(0, MEMORY)], [self.memory.fd])
        if self.keeps:
            self.exchange_inflight()
        for ring in self.rings:
            ring.start(self.front_end, ring.used())

    def exchange_inflight(self):
        if not self.inflight:
            reply = self.front_end.ask(GET_INFLIGHT_FD, struct.pack("=QQHH4x", 0, 0, 2, SIZE))
            size, offset, queues, queue_size = struct.unpack("=QQHH4x", reply.payload)
            assert (queues, queue_size) == (2, SIZE) and size and len(reply.fds) == 1, reply
            self.inflight = struct.pack("=QQHH4x", size, offset, queues, queue_size), reply.fds[0]
        self.front_end.do(SET_INFLIGHT_FD, self.inflight[0], fds=[self.inflight[1]])

    def submit(self, request, queue=0):
        return self.rings[queue].submit(request)

    def call(self, request, queue=0):
        """The type of the answer."""
        return self.rings[queue].answer(self.submit(request, queue))[0]

    def must(self, *requests, queue=0):
        for request in requests:
            answer = self.call(request, queue)
            assert answer == OK, f"command {struct.unpack_from('=I', request)[0]:#x} was answered with {answer:#x}"

    def paint(self, place, seed):
        """Puts a picture into the memory of this place."""
        self.memory.map[place_of(place) : place_of(place) + BYTES] = painting(seed)

    def show_blob(self, resource, place):
        half = BYTES // 2
        self.must(create_blob(resource, [(place_of(place), half), (place_of(place) + half, half)]), set_scanout_blob(resource),
                  flush(resource))


def place_of(place):
    return PICTURES + place * 0x8000


def screenshot(control, cursor=False):
    """What output 0 shows, without the bytes that mean nothing; b"" while the guest shows nothing. By the control socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(control))
        sock.sendall(b'{"command":"screenshot"%s}\n' % (b',"cursor":true' if cursor else b""))
        line, fds = b"", []
        while not line.endswith(b"\n"):
            part, more, _, _ = socket.recv_fds(sock, 65536, 4)
            if not part:
                raise ConnectionResetError("vitrine closed the control connection")
            line, fds = line + part, fds + more
    if b'"enabled":true' not in line.replace(b" ", b""):
        for fd in fds:
            os.close(fd)
        return b""
    with os.fdopen(fds[0], "rb") as picture:
        picture.seek(0)
        return colours(picture.read())


def colours(pixels):
    """A picture's colours: every fourth byte means nothing."""
    result = bytearray(pixels)
    result[3::4] = bytes(len(result) // 4)
    return bytes(result)
