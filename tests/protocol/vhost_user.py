# SPDX-License-Identifier: MIT
"""The vhost-user protocol as a front-end speaks it, in so far as tests want to speak it: well, badly, or not at all."""
import errno
import os
import select
import socket
import struct
import time

import vfio_user
from vfio_user import TIMEOUT, Memfd, receive_exactly  # pylint: disable=unused-import

HEADER = struct.Struct("=III")
VERSION, REPLY, NEED_REPLY = 1, 4, 8

# Messages of the front-end
(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD, SET_VRING_NUM, SET_VRING_ADDR,
 SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES,
 GET_QUEUE_NUM, SET_VRING_ENABLE, SEND_RARP, NET_SET_MTU, SET_BACKEND_REQ_FD, IOTLB_MSG, SET_VRING_ENDIAN, GET_CONFIG, SET_CONFIG,
 CREATE_CRYPTO_SESSION, CLOSE_CRYPTO_SESSION, POSTCOPY_ADVISE, POSTCOPY_LISTEN, POSTCOPY_END, GET_INFLIGHT_FD, SET_INFLIGHT_FD,
 GPU_SET_SOCKET, RESET_DEVICE, VRING_KICK, GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS, GET_SHARED_OBJECT,
 SET_DEVICE_STATE_FD, CHECK_DEVICE_STATE, GET_SHMEM_CONFIG) = range(1, 45)

# Messages of the back-end
(BACKEND_IOTLB_MSG, BACKEND_CONFIG_CHANGE_MSG, BACKEND_VRING_HOST_NOTIFIER_MSG, BACKEND_VRING_CALL, BACKEND_VRING_ERR,
 BACKEND_SHARED_OBJECT_ADD, BACKEND_SHARED_OBJECT_REMOVE, BACKEND_SHARED_OBJECT_LOOKUP, BACKEND_SHMEM_MAP,
 BACKEND_SHMEM_UNMAP) = range(1, 11)

# Feature bits
INDIRECT_DESC, EVENT_IDX, F_PROTOCOL_FEATURES, VERSION_1, ACCESS_PLATFORM, RING_RESET = 28, 29, 30, 32, 33, 40
(MQ, LOG_SHMFD, RARP, REPLY_ACK, MTU, BACKEND_REQ, CROSS_ENDIAN, CRYPTO_SESSION, PAGEFAULT, CONFIG, BACKEND_SEND_FD, HOST_NOTIFIER,
 INFLIGHT_SHMFD, F_RESET_DEVICE, INBAND_NOTIFICATIONS, CONFIGURE_MEM_SLOTS, STATUS, XEN_MMAP, SHARED_OBJECT, DEVICE_STATE,
 GET_VRING_BASE_INFLIGHT, GPA_ADDRESSES, SHMEM) = range(23)

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 64, 128
NOFD = 0x100

USER = 0x7F0000000000  # where the front-end says that it has guest address 0


def bits(*numbers):
    return sum(1 << number for number in numbers)


class Reply:
    def __init__(self, header, payload, fds):
        self.request, self.flags, self.size = HEADER.unpack(header)
        self.payload, self.fds = payload, fds

    def __repr__(self):
        return f"<message {self.request} flags {self.flags:#x} payload {self.payload[:64]!r} fds {self.fds}>"

    def u64(self):
        return struct.unpack("=Q", self.payload)[0]


class Connection(vfio_user.Connection):
    """One end of a vhost-user socket: the front-end's, or of the back-end channel."""

    def send(self, request, payload=b"", flags=VERSION, fds=(), size=None):
        self.send_raw(HEADER.pack(request, flags, len(payload) if size is None else size) + payload, fds)

    def receive(self):
        """The next message, or None at the end of the stream."""
        try:
            header, fds = receive_exactly(self.sock, HEADER.size)
            if len(header) < HEADER.size:
                return None
            payload, more = receive_exactly(self.sock, HEADER.unpack(header)[2])
        except ConnectionResetError:
            return None
        return Reply(header, payload, fds + more)


class FrontEnd(Connection):
    """A front-end of our back-end. What is refused raises OSError with the errno of the acknowledgement."""

    FEATURES = bits(VERSION_1, F_PROTOCOL_FEATURES)
    PROTOCOL_FEATURES = bits(MQ, REPLY_ACK, CONFIG, CONFIGURE_MEM_SLOTS, F_RESET_DEVICE)

    def __init__(self, path=None, sock=None, begin=True, features=None, protocol_features=None):
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(TIMEOUT)
            sock.connect(path)
        super().__init__(sock)
        self.acknowledged = False
        self.gpa = False
        if begin:
            self.begin(features, protocol_features)

    def begin(self, features=None, protocol_features=None):
        """As a VMM begins: what there is, what is used of it, and whose it is."""
        protocol_features = self.PROTOCOL_FEATURES if protocol_features is None else protocol_features
        self.ask(GET_FEATURES)
        self.ask(GET_PROTOCOL_FEATURES)
        self.set_protocol_features(protocol_features)
        self.do(SET_OWNER)
        self.do(SET_FEATURES, struct.pack("=Q", self.FEATURES if features is None else features))

    def set_protocol_features(self, features):
        self.send(SET_PROTOCOL_FEATURES, struct.pack("=Q", features))
        self.acknowledged = bool(features & bits(REPLY_ACK))
        self.gpa = bool(features & bits(GPA_ADDRESSES))

    def ask(self, request, payload=b"", **how):
        """The payload of the reply."""
        self.send(request, payload, **how)
        reply = self.receive()
        if reply is None:
            raise ConnectionResetError("the back-end closed the connection")
        assert (reply.request, reply.flags) == (request, VERSION | REPLY), reply
        return reply

    def do(self, request, payload=b"", fds=()):
        """A message without a reply of its own; acknowledged where that was agreed upon."""
        if not self.acknowledged:
            self.send(request, payload, fds=fds)
            return
        result = self.ask(request, payload, flags=VERSION | NEED_REPLY, fds=fds).u64()
        if result:
            raise OSError(result, os.strerror(result))

    def u64(self, request):
        return self.ask(request).u64()

    def user(self, address):
        """A guest address as the messages of this connection have it."""
        return address if self.gpa else address + USER

    def region(self, address, size, offset=0, user=None):
        return struct.pack("=QQQQ", address, size, self.user(address) if user is None else user, offset)

    def set_mem_table(self, regions, fds, count=None):
        """regions: what region() makes."""
        self.do(SET_MEM_TABLE, struct.pack("=II", len(regions) if count is None else count, 0) + b"".join(regions), fds=fds)

    def add_region(self, address, size, fd, offset=0, user=None):
        self.do(ADD_MEM_REG, bytes(8) + self.region(address, size, offset, user), fds=[fd])

    def remove_region(self, address, size, user=None, fds=()):
        self.do(REM_MEM_REG, bytes(8) + self.region(address, size, 0, user), fds=fds)

    def vring(self, request, index, number):
        self.do(request, struct.pack("=II", index, number))

    def vring_fd(self, request, index, fd=None):
        self.do(request, struct.pack("=Q", index | (NOFD if fd is None else 0)), fds=[] if fd is None else [fd])

    def set_addr(self, index, desc, used, avail, flags=0):
        """Guest addresses."""
        self.do(SET_VRING_ADDR, struct.pack("=IIQQQQ", index, flags, self.user(desc), self.user(used), self.user(avail), 0))

    def get_base(self, index):
        answer, base = struct.unpack("=II", self.ask(GET_VRING_BASE, struct.pack("=II", index, 0)).payload)
        assert answer == index
        return base

    def get_config(self, offset, size, flags=0):
        """None: refused."""
        reply = self.ask(GET_CONFIG, struct.pack("=III", offset, size, flags) + bytes(size))
        if not reply.payload:
            return None
        assert struct.unpack_from("=III", reply.payload) == (offset, size, flags)
        return reply.payload[12:]

    def set_config(self, offset, data, flags=0):
        self.do(SET_CONFIG, struct.pack("=III", offset, len(data), flags) + data)

    def set_status(self, status):
        self.do(SET_STATUS, struct.pack("=Q", status))

    def backend_channel(self):
        """Gives the back-end a channel; this end of it."""
        ours, theirs = socket.socketpair()
        self.do(SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        return Connection(ours)

    def alive(self):
        return self.u64(GET_FEATURES) != 0


class Ring:
    """The driver's side of one split virtqueue, its rings at `base` in memory, and the eventfds of it. The memory lies at its own
    offsets."""

    def __init__(self, front_end, index, memory, base, size=16):
        self.front_end, self.index, self.memory, self.base, self.size = front_end, index, memory, base, size
        self.used_seen = self.avail = 0
        memory.map[base : base + 0x1000] = bytes(0x1000)
        self.kick, self.call, self.err = (os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(3))

    def close(self):
        for fd in (self.kick, self.call, self.err):
            os.close(fd)

    def start(self, base=0, enable=True, kick=True):
        self.front_end.vring(SET_VRING_NUM, self.index, self.size)
        self.front_end.vring(SET_VRING_BASE, self.index, base)
        self.front_end.set_addr(self.index, self.base, self.base + 0x800, self.base + 0x400)
        self.front_end.vring_fd(SET_VRING_CALL, self.index, self.call)
        self.front_end.vring_fd(SET_VRING_ERR, self.index, self.err)
        self.front_end.vring_fd(SET_VRING_KICK, self.index, self.kick if kick else None)
        if enable:
            self.front_end.vring(SET_VRING_ENABLE, self.index, 1)

    def put(self, segments):
        """segments: (address, length, device writes)."""
        for i, (address, length, writes) in enumerate(segments):
            flags = (1 if i + 1 < len(segments) else 0) | (2 if writes else 0)
            struct.pack_into("=QIHH", self.memory.map, self.base + 16 * i, address, length, flags, i + 1)
        struct.pack_into("=H", self.memory.map, self.base + 0x400 + 4 + 2 * (self.avail % self.size), 0)
        self.avail += 1
        struct.pack_into("=H", self.memory.map, self.base + 0x400 + 2, self.avail & 0xFFFF)

    def ring(self):
        os.eventfd_write(self.kick, 1)

    def used(self):
        return struct.unpack_from("=H", self.memory.map, self.base + 0x800 + 2)[0]

    def wait(self, timeout=TIMEOUT):
        """Waits for the next used entry; the bytes that were written."""
        end = time.monotonic() + timeout
        while self.used() == self.used_seen & 0xFFFF:
            if time.monotonic() > end:
                raise TimeoutError("no answer in the used ring")
            time.sleep(0.001)
        length = struct.unpack_from("=II", self.memory.map, self.base + 0x804 + 8 * (self.used_seen % self.size))[1]
        self.used_seen += 1
        return length

    def echo(self, data, at=0x4000):
        """Sends data through the device and returns what it sends back."""
        self.memory.map[at : at + len(data)] = data
        self.put([(at, len(data), False), (at + 0x1000, len(data) + 4, True)])
        self.ring()
        written = self.wait()
        result = struct.unpack_from("=I", self.memory.map, at + 0x1000)[0]
        if result:
            raise OSError(result, os.strerror(result))
        return bytes(self.memory.map[at + 0x1004 : at + 0x1000 + written])

    def echoes(self, data=b"hello"):
        return self.echo(data) == data

    def silent(self, seconds=0.1):
        """Is there no answer?"""
        time.sleep(seconds)
        return self.used() == self.used_seen & 0xFFFF


def signalled(fd, timeout=TIMEOUT):
    """Takes the count of an eventfd: 0 when nobody wrote to it in time."""
    return os.eventfd_read(fd) if select.select([fd], [], [], timeout)[0] else 0


class Server(vfio_user.Server):
    PROTOCOL = ["--vhost-user"]


class ServerCase(vfio_user.ServerCase):
    SERVER, CLIENT = Server, FrontEnd

    def ring(self, front_end, index=0, memory=None, base=0x1000, **how):
        ring = Ring(front_end, index, memory, base, **how)
        self.addCleanup(ring.close)
        return ring

    def machine(self, **how):
        """A front-end with 64 KiB of memory at 0, and a ring that runs."""
        front_end = self.connect(**how)
        memory = self.memory(0x10000)
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        ring = self.ring(front_end, memory=memory)
        ring.start()
        return front_end, memory, ring

    def refused_message(self, front_end, request, payload=b"", code="EINVAL", **how):
        self.refused(getattr(errno, code), front_end.do, request, payload, **how)
