#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small PCI device that is served by vfio-user: one that behaves, and one that lies.

    vfio_device.py SOCKET [--bar KIND] [--size MIB] [--lie NAME]

BAR 0: registers, accessed by messages only.   BAR 2: memory, where KIND says.

    sealed   a memfd that cannot shrink: udmabufs can be made of it
    shm      a file that anybody may truncate, from 64 KiB on
    none     nowhere: accessed by messages
    sparse   a sealed memfd, from 64 KiB on, of which two areas may be mapped: from 4 KiB of the BAR on, and its last quarter

Clients come one after the other; what is in BAR 2 stays. LIES lists what it can get wrong. SIGUSR1 truncates the file of BAR 2.
"""
import argparse
import errno
import fcntl
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from vfio_user import *  # pylint: disable=wildcard-import,unused-wildcard-import

READ, WRITE, MMAP, CAPS = 1, 2, 4, 8
REGIONS, IRQS, CONFIG_SIZE, REGISTERS_SIZE = 9, 5, 256, 16384
REGISTERS_BAR, MEMORY_BAR = 0, 2
COMMAND, STATUS, BARS = 0x04, 0x06, 0x10

# Registers of BAR 0: writing 1 to DMA_GO reads DMA_LENGTH bytes at DMA_ADDRESS of the client's memory to SCRATCH, writing 2 writes them
# there from SCRATCH; DMA_RESULT is then 0 or an errno. DMA_GO 3 raises MSI-X vector 0.
DMA_ADDRESS, DMA_LENGTH, DMA_RESULT, DMA_GO, SCRATCH = 0, 8, 12, 16, 2048


def sparse(*areas, next=0, count=None):
    """A sparse mmap capability."""
    count = len(areas) if count is None else count
    return struct.pack("=HHIII", 1, 1, next, count, 0) + b"".join(struct.pack("=QQ", *area) for area in areas)


class Hangup(Exception):
    """The device leaves this client."""


class Device:
    def __init__(self, kind, size, lie=None):
        self.kind, self.size = kind, size
        self.offset = 0x10000 if kind in ("shm", "sparse") else 0  # of the BAR in its file
        self.lie = LIES[lie] if lie else None
        self.file = self.make_file()
        self.memory = mmap.mmap(self.file, size, offset=self.offset)
        self.maps, self.vectors, self.waiting = {}, {}, []
        self.reset()

    def make_file(self):
        if self.kind == "shm":
            with tempfile.TemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as file:
                fd = os.dup(file.fileno())
        else:
            fd = os.memfd_create("BAR 2", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, self.offset + self.size)
        if self.kind != "shm":
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        return fd

    def reset(self):
        self.registers = bytearray(REGISTERS_SIZE)
        self.config = bytearray(CONFIG_SIZE)
        struct.pack_into("=HHHHBBBBBBBB", self.config, 0, 0x1B36, 0x7674, 0, 0, 1, 0, 0x80, 0x03, 0, 0, 0, 0)
        struct.pack_into("=III", self.config, BARS, 0, 0, 0xC)  # 32 bit; none; 64 bit, prefetchable

    # ---- what it says about itself

    def region(self, index):
        """size, flags, capabilities, fds"""
        if index == REGISTERS_BAR:
            return REGISTERS_SIZE, READ | WRITE, b"", ()
        if index == 7:
            return CONFIG_SIZE, READ | WRITE, b"", ()
        if index != MEMORY_BAR:
            return 0, 0, b"", ()
        if self.kind == "none":
            return self.size, READ | WRITE, b"", ()
        if self.kind == "sparse":
            quarter = self.size // 4
            return self.size, READ | WRITE | MMAP | CAPS, sparse((3 * quarter, quarter), (4096, quarter)), (self.file,)
        return self.size, READ | WRITE | MMAP, b"", (self.file,)

    def region_info(self, argsz, index):
        size, flags, caps, fds = self.region(index)
        body = struct.pack("=IIIIQQ", 32 + len(caps), flags, index, 32 if caps else 0, size, self.offset if fds else 0) + caps
        return (body, fds) if len(body) <= argsz else (body[:32], ())

    # ---- what is read and written

    def space(self, region):
        """The bytes of a region; None when there are none."""
        return {REGISTERS_BAR: self.registers, MEMORY_BAR: self.memory, 7: self.config}.get(region)

    def check(self, region, offset, count):
        space = self.space(region)
        if space is None or offset + count > len(space):
            raise OSError(errno.EINVAL, "")
        return space

    def write(self, connection, region, offset, data):
        space = self.check(region, offset, len(data))
        before = bytes(self.config)
        space[offset : offset + len(data)] = data
        if region == 7:
            self.fix_config(before)
        elif region == REGISTERS_BAR and offset == DMA_GO:
            self.go(connection, data[0])

    def fix_config(self, before):
        """What a driver may write: the command register, and the address bits of the BARs."""
        written = bytes(self.config)
        self.config[:] = before
        self.config[COMMAND : COMMAND + 2] = written[COMMAND : COMMAND + 2]
        low, middle, high = struct.unpack_from("=I4xII", written, BARS)
        wide = (high << 32 | middle) & ~(self.size - 1) | 0xC
        struct.pack_into("=I4xII", self.config, BARS, low & ~(REGISTERS_SIZE - 1), wide & 0xFFFFFFFF, wide >> 32)

    def go(self, connection, what):
        address, length = struct.unpack_from("=QI", self.registers, DMA_ADDRESS)
        length = min(length, 2048)
        if what == 3:
            if 0 in self.vectors:
                os.eventfd_write(self.vectors[0], 1)
            return
        data = self.registers[SCRATCH : SCRATCH + length] if what == 2 else b""
        reply = self.ask(connection, DMA_WRITE if what == 2 else DMA_READ, struct.pack("=QQ", address, length) + data)
        if what == 1 and not reply.error:
            self.registers[SCRATCH : SCRATCH + length] = reply.body[16:]
        struct.pack_into("=I", self.registers, DMA_RESULT, reply.error)

    def ask(self, connection, command, body):
        """The client's reply to a request of the device's; what comes before it waits."""
        id = connection.send(command, body)
        while (message := connection.receive()) is not None:
            if message.flags & 0xF == TYPE_REPLY and message.id == id:
                return message
            self.waiting.append(message)
        raise Hangup

    # ---- messages

    def answer(self, connection, message):
        """The body and the fds of the reply."""
        code, body = message.command, message.body
        if code == VERSION:
            return struct.pack("=HH", 0, 1) + json.dumps({"capabilities": CAPABILITIES}).encode() + b"\0", ()
        if code == GET_INFO:
            return struct.pack("=IIII", 16, 3, REGIONS, IRQS), ()
        if code == GET_REGION_INFO:
            return self.region_info(*struct.unpack_from("=I4xI", body))
        if code == GET_IRQ_INFO:
            (index,) = struct.unpack_from("=8xI", body)
            return struct.pack("=IIII", 16, 1, index, {INTX: 1, MSIX: 4}.get(index, 0)), ()
        if code == SET_IRQS:
            index, start, count = struct.unpack_from("=8xIII", body)
            self.vectors.update({start + i: fd for i, fd in enumerate(message.fds)} if index == MSIX else {})
            return b"", ()
        if code == REGION_READ:
            offset, region, count = struct.unpack_from("=QII", body)
            return body[:16] + bytes(self.check(region, offset, count)[offset : offset + count]), ()
        if code == REGION_WRITE:
            offset, region, count = struct.unpack_from("=QII", body)
            self.write(connection, region, offset, body[16:])
            return body[:16], ()
        if code == REGION_WRITE_MULTI:
            (writes,) = struct.unpack_from("=Q", body)
            for i in range(writes):
                offset, region, count = struct.unpack_from("=QII", body, 8 + 24 * i)
                self.write(connection, region, offset, body[24 + 24 * i : 24 + 24 * i + count])
            return body[:8], ()
        if code == DMA_MAP:
            address, size = struct.unpack_from("=16xQQ", body)
            self.maps[address] = size
            return b"", ()
        if code == DMA_UNMAP:
            address, size = struct.unpack_from("=8xQQ", body)
            if self.maps.pop(address, None) is None:
                raise OSError(errno.ENOENT, "")
            return body[:24], ()
        if code == RESET:
            self.reset()
            return b"", ()
        raise OSError(errno.EINVAL, "")  # DEVICE_FEATURE among them, as libvfio-user has it

    def handle(self, connection, message):
        try:
            body, fds = self.answer(connection, message)
            error = 0
        except OSError as failure:
            body, fds, error = b"", (), failure.errno
        if message.command != SET_IRQS:
            for fd in message.fds:
                os.close(fd)
        if self.lie and self.lie.command == message.command and self.lie.wants(message):
            self.lie.tell(self, connection, message, body, fds)
        elif not message.flags & NO_REPLY:
            send(connection, message, body, fds, flags=TYPE_REPLY | (ERROR if error else 0), error=error)

    def serve(self, sock):
        """One client, until it leaves."""
        with Connection(sock) as connection:
            connection.sock.settimeout(None)
            try:
                while (message := self.waiting.pop(0) if self.waiting else connection.receive()) is not None:
                    self.handle(connection, message)
            except (Hangup, OSError):
                pass
        self.waiting.clear()
        self.maps.clear()
        for fd in self.vectors.values():
            os.close(fd)
        self.vectors.clear()
        self.reset()


def send(connection, message, body, fds=(), **how):
    how = {"flags": TYPE_REPLY, "id": message.id, **how}
    connection.send(how.pop("number", message.command), body, fds=fds, **how)


# ---- lies


class Lie:
    """In place of the reply to a command: what tell() sends. index: only when region or kind of irq is this one."""

    def __init__(self, command, tell, index=None):
        self.command, self.tell, self.index = command, tell, index

    def wants(self, message):
        return self.index is None or struct.unpack_from("=8xI", message.body)[0] == self.index


def change(command, index=None, fds=None, cut=None, more=b"", patch=(), **how):
    """A reply that is right but for this: its length, its fds, 32-bit words of it, or its header."""

    def tell(device, connection, message, body, own):
        body = bytearray(body[:cut] + more)
        for offset, value in patch:
            struct.pack_into("=I", body, offset, value)
        send(connection, message, bytes(body), own if fds is None else fds, **({k: v(message) if callable(v) else v for k, v in how.items()}))

    return Lie(command, tell, index)


def caps(capabilities, size=None, fds=None):
    """BAR 2 with these capabilities, by the rules of argsz."""

    def tell(device, connection, message, body, own):
        data = capabilities(device) if callable(capabilities) else capabilities
        argsz = struct.unpack_from("=I", message.body)[0]
        whole = struct.pack("=IIIIQQ", 32 + len(data), 15, MEMORY_BAR, 32, device.size if size is None else size, 0) + data
        told = whole if len(whole) <= argsz else whole[:32]
        send(connection, message, told, ([device.file] if fds is None else fds) if len(told) > 32 else ())

    return Lie(GET_REGION_INFO, tell, MEMORY_BAR)


def silence(device, connection, message, body, fds):
    while connection.receive() is not None:
        pass
    raise Hangup


def die(device, connection, message, body, fds):
    """In the middle of the reply, and for good."""
    connection.send_raw(HEADER.pack(message.id, message.command, HEADER.size + len(body) + 8, TYPE_REPLY, 0) + body[:4])
    os._exit(1)


def ask_for_ever(device, connection, message, body, fds):
    while True:
        device.ask(connection, DMA_READ, struct.pack("=QQ", 0, 4096))


def drip(device, connection, message, body, fds):
    """A byte now and then."""
    for byte in HEADER.pack(message.id, message.command, HEADER.size + len(body), TYPE_REPLY, 0) + body:
        connection.send_raw(bytes([byte]))
        time.sleep(0.1)


def ask_wrongly(device, connection, message, body, fds):
    """Requests that are to be refused, and then the truth."""
    for address, count, data in ((0xDEAD0000000000, 64, b""), (0, 1 << 63, b""), ((1 << 64) - 16, 32, b""), (0, 64, b"tail")):
        if not device.ask(connection, DMA_READ, struct.pack("=QQ", address, count) + data).flags & ERROR:
            os._exit(2)
    send(connection, message, body, fds)


def keep_config(device, connection, message, body, fds):
    """Nothing that is written to configuration space stays there."""
    device.config[COMMAND : COMMAND + 2] = bytes(2)
    if not message.flags & NO_REPLY:
        send(connection, message, body, fds)


def be_busy(device, connection, message, body, fds):
    """No lie: reads and writes what it is given, before it says thank you."""
    (address,) = struct.unpack_from("=16xQ", message.body)
    place = struct.pack("=QQ", address, 4096)
    page = device.ask(connection, DMA_READ, place)
    if page.flags & ERROR or len(page.body) != 16 + 4096 or device.ask(connection, DMA_WRITE, place + page.body[16:]).flags & ERROR:
        os._exit(2)
    send(connection, message, body, fds)


PIPE = os.pipe()
UNIX = socket.socket(socket.AF_UNIX)
FOLDER = os.open("/", os.O_RDONLY)
BEYOND = (1 << 64) - 4096

LIES = {
    "wrong-id": change(GET_INFO, id=lambda message: message.id + 1),
    "wrong-command": change(GET_INFO, number=GET_IRQ_INFO),
    "wrong-type": change(GET_INFO, flags=2),
    "short-header": change(GET_INFO, size=15),
    "short-reply": change(GET_INFO, cut=-1),
    "oversized-reply": change(GET_INFO, more=bytes(4)),
    "enormous-reply": change(GET_INFO, size=0xFFFFFFFF),
    "error-with-body": change(GET_INFO, flags=TYPE_REPLY | ERROR, error=5),
    "regions-without-end": change(GET_INFO, patch=[(8, 0xFFFFFFFF)]),
    "irqs-without-end": change(GET_INFO, patch=[(12, 0xFFFFFFFF)]),
    "few-regions": change(GET_INFO, patch=[(8, 7)]),
    "no-pci": change(GET_INFO, patch=[(4, 5)]),
    "too-many-fds": change(GET_INFO, fds=[FOLDER] * 100),
    "region-wrong-index": change(GET_REGION_INFO, MEMORY_BAR, patch=[(8, 3)]),
    "region-short": change(GET_REGION_INFO, MEMORY_BAR, cut=31),
    "region-oversized": change(GET_REGION_INFO, MEMORY_BAR, more=bytes(8)),
    "region-not-sent": change(GET_REGION_INFO, MEMORY_BAR, patch=[(0, 32 + 8)]),
    "region-argsz-huge": change(GET_REGION_INFO, MEMORY_BAR, patch=[(0, 0xFFFFFFFF)]),
    "region-two-fds": change(GET_REGION_INFO, MEMORY_BAR, fds=[FOLDER, FOLDER]),
    "region-no-fd": change(GET_REGION_INFO, MEMORY_BAR, fds=[]),
    "region-fd-pipe": change(GET_REGION_INFO, MEMORY_BAR, fds=[PIPE[0]]),
    "region-fd-socket": change(GET_REGION_INFO, MEMORY_BAR, fds=[UNIX.fileno()]),
    "region-fd-folder": change(GET_REGION_INFO, MEMORY_BAR, fds=[FOLDER]),
    "region-huge": change(GET_REGION_INFO, MEMORY_BAR, patch=[(20, 0x40000000)]),
    "region-wraps": change(GET_REGION_INFO, MEMORY_BAR, patch=[(16, 0xFFFFFFFF), (20, 0xFFFFFFFF)]),
    "region-offset-beyond": change(GET_REGION_INFO, MEMORY_BAR, patch=[(24, 4096)]),
    "region-huge-unmapped": change(GET_REGION_INFO, MEMORY_BAR, fds=[], patch=[(4, 3), (20, 0x10000000)]),
    "region-vast": change(GET_REGION_INFO, MEMORY_BAR, fds=[], patch=[(4, 3), (16, 0), (20, 0x10000000)]),
    "region-odd-size": change(GET_REGION_INFO, MEMORY_BAR, fds=[], patch=[(4, 3), (16, 12345)]),
    "caps-loop": caps(struct.pack("=HHI", 7, 1, 32)),
    "caps-loop-of-two": caps(struct.pack("=HHI", 7, 1, 40) + struct.pack("=HHI", 8, 1, 32)),
    "caps-beyond": caps(struct.pack("=HHI", 7, 1, 0xFFFFFFF8)),
    "caps-in-the-header": caps(struct.pack("=HHI", 7, 1, 8)),
    "areas-without-end": caps(sparse(count=0xFFFFFFFF)),
    "areas-not-sent": caps(sparse((0, 4096), count=2)),
    "area-beyond": caps(lambda device: sparse((4096, device.size))),
    "area-wraps": caps(sparse((BEYOND, 8192))),
    "areas-overlap": caps(sparse((0, 8192), (4096, 8192))),
    "config-short": change(REGION_READ, 7, cut=-1),
    "config-other-offset": change(REGION_READ, 7, patch=[(0, 4)]),
    "config-oversized": change(REGION_READ, 7, more=b"more"),
    "config-fixed": Lie(REGION_WRITE, keep_config, 7),
    "msix-count": change(GET_IRQ_INFO, MSIX, patch=[(12, 0xFFFFFFFF)]),
    "msix-index": change(GET_IRQ_INFO, MSIX, patch=[(8, 1)]),
    "silence": Lie(GET_INFO, silence),
    "silence-at-region": Lie(GET_REGION_INFO, silence, MEMORY_BAR),
    "silence-at-feature": Lie(DEVICE_FEATURE, silence),
    "silence-at-map": Lie(DMA_MAP, silence),
    "drip": Lie(GET_INFO, drip),
    "death": Lie(GET_INFO, die),
    "death-at-region": Lie(GET_REGION_INFO, die, MEMORY_BAR),
    "death-at-feature": Lie(DEVICE_FEATURE, die),
    "death-at-map": Lie(DMA_MAP, die),
    "ask-for-ever": Lie(DMA_MAP, ask_for_ever),
    "ask-wrongly": Lie(DMA_MAP, ask_wrongly),
    "busy": Lie(DMA_MAP, be_busy),
}


class Process:
    """The device in a process of its own, in a directory."""

    def __init__(self, directory, *options):
        self.path = os.path.join(directory, "assigned.sock")
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), self.path, *options], stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            self.close()
            raise RuntimeError("the test device did not start")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("--bar", choices=["sealed", "shm", "none", "sparse"], default="sealed")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--lie", choices=sorted(LIES))
    arguments = parser.parse_args()

    device = Device(arguments.bar, arguments.size << 20, arguments.lie)
    signal.signal(signal.SIGUSR1, lambda *_: os.ftruncate(device.file, 0))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(arguments.socket)
        listener.listen()
        print("ready", flush=True)
        while True:
            device.serve(listener.accept()[0])


if __name__ == "__main__":
    sys.exit(main())
