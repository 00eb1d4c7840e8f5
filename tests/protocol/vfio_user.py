# SPDX-License-Identifier: MIT
"""The vfio-user protocol as a client speaks it, in so far as tests want to speak it: well, badly, or not at all."""
import array
import errno
import json
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

TIMEOUT = 5.0

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS = range(1, 9)
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET, DIRTY_PAGES, REGION_WRITE_MULTI, DEVICE_FEATURE = range(9, 17)
MIG_DATA_READ, MIG_DATA_WRITE = 17, 18
TYPE_REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20

HEADER = struct.Struct("=HHIII")
CAPABILITIES = {"max_msg_fds": 16, "max_data_xfer_size": 1048576, "pgsizes": 4096, "max_dma_maps": 65535, "write_multiple": True}

BAR1, BAR4, CONFIG = 1, 4, 7
COMMON, ISR, DEVICE_CONFIG, NOTIFY = 0x0000, 0x1000, 0x2000, 0x3000
INTX, MSI, MSIX = 0, 1, 2
DATA_NONE, DATA_BOOL, DATA_EVENTFD, ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER = 1, 2, 4, 8, 16, 32


class Reply:
    def __init__(self, header, body, fds):
        self.id, self.command, self.size, self.flags, self.error = HEADER.unpack(header)
        self.body, self.fds = body, fds

    def __repr__(self):
        return f"<id {self.id} command {self.command} flags {self.flags:#x} error {self.error} body {self.body[:64]!r}>"


def receive_exactly(sock, size):
    """size bytes and the fds that came with them; fewer bytes at the end of the stream."""
    data, fds = b"", []
    while len(data) < size:
        part, ancillary, _, _ = sock.recvmsg(size - len(data), socket.CMSG_SPACE(64 * 4))
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(raw[: len(raw) - len(raw) % numbers.itemsize])
                fds += list(numbers)
        if not part:
            break
        data += part
    return data, fds


class Connection:
    """One end of a vfio-user socket."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(TIMEOUT)
        self.next_id = 1

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_raw(self, data, fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([data], ancillary)
        if sent < len(data):
            self.sock.sendall(data[sent:])

    def send(self, command, body=b"", flags=0, fds=(), error=0, id=None, size=None):
        if id is None:
            id = self.next_id
            self.next_id = (self.next_id + 1) & 0xFFFF
        size = HEADER.size + len(body) if size is None else size
        self.send_raw(HEADER.pack(id, command, size, flags, error) + body, fds)
        return id

    def receive(self):
        """The next message, or None at the end of the stream."""
        try:
            header, fds = receive_exactly(self.sock, HEADER.size)
            if len(header) < HEADER.size:
                return None
            size = HEADER.unpack(header)[2]
            body, more = receive_exactly(self.sock, size - HEADER.size)
        except ConnectionResetError:
            return None
        return Reply(header, body, fds + more)

    def call(self, command, body=b"", **how):
        id = self.send(command, body, **how)
        reply = self.receive()
        if reply is not None:
            assert (reply.id, reply.command, reply.flags & 0xF) == (id, command, TYPE_REPLY), reply
        return reply


class Client(Connection):
    """A client of our server. Calls return the body of the reply, and raise OSError for an error reply."""

    def __init__(self, path=None, sock=None, version=True):
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(TIMEOUT)
            sock.connect(path)
        super().__init__(sock)
        if version:
            self.version()

    def ask(self, command, body=b"", **how):
        reply = self.call(command, body, **how)
        if reply is None:
            raise ConnectionResetError("the server closed the connection")
        if reply.flags & ERROR:
            assert reply.body == b"", "an error reply has no body"
            raise OSError(reply.error, os.strerror(reply.error))
        return reply.body

    def version(self, major=0, minor=1, capabilities=None, data=None):
        if data is None:
            data = json.dumps({"capabilities": CAPABILITIES if capabilities is None else capabilities}).encode() + b"\0"
        body = self.ask(VERSION, struct.pack("=HH", major, minor) + data)
        return struct.unpack_from("=HH", body), json.loads(body[4:].rstrip(b"\0"))["capabilities"]

    def dma_map(self, address, size, fd=None, offset=0, flags=3, argsz=32, fds=None, **how):
        fds = fds if fds is not None else [] if fd is None else [fd]
        return self.ask(DMA_MAP, struct.pack("=IIQQQ", argsz, flags, offset, address, size), fds=fds, **how)

    def dma_unmap(self, address, size, flags=0, argsz=24):
        return self.ask(DMA_UNMAP, struct.pack("=IIQQ", argsz, flags, address, size))

    def region_info(self, index, argsz=32):
        return struct.unpack("=IIIIQQ", self.ask(GET_REGION_INFO, struct.pack("=IIIIQQ", argsz, 0, index, 0, 0, 0)))

    def irq_info(self, index, argsz=16):
        return struct.unpack("=IIII", self.ask(GET_IRQ_INFO, struct.pack("=IIII", argsz, 0, index, 0)))

    def set_irqs(self, flags, index, start, count, data=b"", fds=(), argsz=None):
        argsz = 20 + len(data) if argsz is None else argsz
        return self.ask(SET_IRQS, struct.pack("=IIIII", argsz, flags, index, start, count) + data, fds=fds)

    def read(self, region, offset, count):
        body = self.ask(REGION_READ, struct.pack("=QII", offset, region, count))
        assert struct.unpack_from("=QII", body) == (offset, region, count)
        return body[16:]

    def write(self, region, offset, data, **how):
        return self.ask(REGION_WRITE, struct.pack("=QII", offset, region, len(data)) + data, **how)

    def post(self, region, offset, data):
        self.send(REGION_WRITE, struct.pack("=QII", offset, region, len(data)) + data, flags=NO_REPLY)

    def alive(self):
        return len(self.ask(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))) == 16


class Memfd:
    """Guest memory of this side."""

    def __init__(self, size):
        self.fd = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)
        self.map = mmap.mmap(self.fd, size)

    def index(self, at):
        """A ring's index, in one access: struct takes a byte after the other."""
        return int.from_bytes(self.map[at : at + 2], "little")

    def set_index(self, at, value):
        """... In struct.pack_into() there is a moment in which it is 0, and a device may look just then."""
        self.map[at : at + 2] = (value & 0xFFFF).to_bytes(2, "little")

    def close(self):
        self.map.close()
        os.close(self.fd)


class Queue:
    """The driver's side of one split virtqueue, its rings at `base` in memory."""

    SIZE = 16

    def __init__(self, client, index, memory, base):
        self.client, self.index, self.memory, self.base = client, index, memory, base
        self.used_seen = 0
        self.avail = 0
        memory.map[base : base + 0x1000] = bytes(0x1000)
        client.write(BAR4, COMMON + 22, struct.pack("=H", index))
        client.write(BAR4, COMMON + 24, struct.pack("=H", self.SIZE))
        for at, ring in ((32, base), (40, base + 0x400), (48, base + 0x800)):
            client.write(BAR4, COMMON + at, struct.pack("=II", ring & 0xFFFFFFFF, ring >> 32))
        client.write(BAR4, COMMON + 28, struct.pack("=H", 1))

    def put(self, segments):
        """segments: (address, length, device writes)."""
        for i, (address, length, writes) in enumerate(segments):
            flags = (1 if i + 1 < len(segments) else 0) | (2 if writes else 0)
            struct.pack_into("=QIHH", self.memory.map, self.base + 16 * i, address, length, flags, i + 1)
        struct.pack_into("=H", self.memory.map, self.base + 0x400 + 4 + 2 * (self.avail % self.SIZE), 0)
        self.avail += 1
        self.memory.set_index(self.base + 0x400 + 2, self.avail)

    def ring(self):
        self.client.post(BAR4, NOTIFY + 4 * self.index, struct.pack("=H", self.index))

    def used(self):
        return self.memory.index(self.base + 0x800 + 2)

    def wait(self, timeout=TIMEOUT):
        end = time.monotonic() + timeout
        while self.used() == self.used_seen:
            if time.monotonic() > end:
                raise TimeoutError("no answer in the used ring")
            time.sleep(0.001)
        length = struct.unpack_from("=II", self.memory.map, self.base + 0x800 + 4 + 8 * (self.used_seen % self.SIZE))[1]
        self.used_seen += 1
        return length


def start_driver(client, memory, base=0x1000):
    """Brings the device to DRIVER_OK with one queue whose rings are at base in memory (mapped at its own offset)."""
    status = 0
    for bit in (0, 1, 2):
        status = 0 if bit == 0 else status | bit
        client.write(BAR4, COMMON + 20, bytes([status]))
    client.write(BAR4, COMMON + 8, struct.pack("=I", 1))
    client.write(BAR4, COMMON + 12, struct.pack("=I", 1))  # VERSION_1
    client.write(BAR4, COMMON + 20, bytes([status | 8]))
    queue = Queue(client, 0, memory, base)
    client.write(BAR4, COMMON + 20, bytes([status | 8 | 4]))
    assert client.read(BAR4, COMMON + 20, 1) == bytes([15])
    return queue


class Server:
    """The server program under test."""

    PROTOCOL = []  # what the program takes for it

    def __init__(self, path=None, fd=None):
        arguments = self.PROTOCOL + ([path] if path else ["--fd", str(fd)])
        self.path = path
        self.process = subprocess.Popen(
            [os.environ["PROTOCOL_SERVER"]] + arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("VTR_DEBUG") else subprocess.PIPE,
            pass_fds=[fd] if fd is not None else [],
        )
        self.ready = self.process.stdout.readline().decode().strip()

    def status(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def wait_for(self, condition, timeout=TIMEOUT):
        """Polls the status until condition(status)."""
        end = time.monotonic() + timeout
        while not condition(self.status()):
            if time.monotonic() > end:
                raise TimeoutError(f"status stays {self.status()}")
            time.sleep(0.005)

    def fds(self, waiting=False):
        """waiting: the server waits for us, and answers nothing else."""
        if not waiting:
            self.status()  # the turn of the loop that sent a reply is over: it may have closed some after that
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    def stop(self):
        """Ends the server the polite way. Its exit status and what it said."""
        if self.process.stdin.closed:
            return self.process.returncode, ""
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGABRT)
                self.process.wait()
        said = self.process.stderr.read().decode() if self.process.stderr else ""
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        return self.process.returncode, said


class ServerCase(unittest.TestCase):
    """A server for the class, a fresh connection on demand; after each test the server has to be there, idle and well."""

    SERVER, CLIENT = Server, Client

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp()
        cls.server = cls.SERVER(os.path.join(cls.directory, "socket"))
        if cls.server.ready != "ready":
            raise RuntimeError(cls.server.ready)

    @classmethod
    def tearDownClass(cls):
        code, said = cls.server.stop()
        shutil.rmtree(cls.directory)
        if code:
            raise RuntimeError(f"the server ended with {code}: {said}")

    def setUp(self):
        self.cleanup_fds = []

    def tearDown(self):
        self.doCleanups()
        self.assertIsNone(self.server.process.poll(), "the server died")
        self.server.wait_for(lambda status: not status["connected"] and status["regions"] == 0)

    def connect(self, **how):
        client = self.CLIENT(self.server.path, **how)
        self.addCleanup(client.close)
        return client

    def memory(self, size):
        memory = Memfd(size)
        self.addCleanup(memory.close)
        return memory

    def fd(self, fd):
        self.addCleanup(os.close, fd)
        return fd

    def refused(self, code, function, *arguments, **how):
        with self.assertRaises(OSError) as caught:
            function(*arguments, **how)
        self.assertEqual(errno.errorcode.get(caught.exception.errno), errno.errorcode[code])

    def assert_lost(self, client):
        """The server closed the connection (after whatever it still had to say), and serves the next one."""
        while client.receive() is not None:
            pass
        client.close()
        with self.CLIENT(self.server.path) as other:
            self.assertTrue(other.alive())
