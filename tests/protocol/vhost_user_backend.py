#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A vhost-user back-end without a device: one that behaves, and one that lies.

    vhost_user_backend.py SOCKET [--lie NAME] [--without BITS]

It answers every request of a front-end as the specification has it, prints a line for each one, and looks at no ring. With a
channel it can ask (miss(), ...). Front-ends come one after the other. LIES lists what it can get wrong.
"""
import argparse
import os
import socket
import struct
import sys
import threading
import time

from vhost_user import *  # pylint: disable=wildcard-import,unused-wildcard-import
from vhost_user import ACCESS_PLATFORM, BACKEND_REQ, BACKEND_SEND_FD, EVENT_IDX, F_RESET_DEVICE, HEADER, INDIRECT_DESC, VERSION_1

ALL_FEATURES = bits(VERSION_1, ACCESS_PLATFORM, INDIRECT_DESC, EVENT_IDX, F_PROTOCOL_FEATURES)
ALL_PROTOCOL_FEATURES = bits(MQ, REPLY_ACK, BACKEND_REQ, CONFIG, BACKEND_SEND_FD, INFLIGHT_SHMFD, F_RESET_DEVICE, CONFIGURE_MEM_SLOTS,
                             STATUS, SHARED_OBJECT, GPA_ADDRESSES, SHMEM)
MISS, UPDATE, INVALIDATE, ACCESS_FAIL = range(1, 5)
RO, WO, RW = 1, 2, 3
CONFIG_SIZE = 16
SHM_SIZES = {1: 1 << 20, 7: 1 << 16}
INFLIGHT_SIZE, INFLIGHT_OFFSET = 8192, 4096
NAMES = {number: name for name, number in list(globals().items())
         if name.isupper() and isinstance(number, int) and name.startswith(("GET_", "SET_", "ADD_MEM", "REM_MEM", "IOTLB", "RESET_", "GPU_"))
         and name not in ("GET_VRING_BASE_INFLIGHT",)}

# Requests that have a reply of their own.
ASKING = (GET_FEATURES, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_VRING_BASE, GET_CONFIG, GET_INFLIGHT_FD, GET_MAX_MEM_SLOTS, GET_STATUS,
          GET_SHARED_OBJECT, GET_SHMEM_CONFIG)


def u64(value):
    return struct.pack("=Q", value)


def iotlb(kind, iova, size=0, uaddr=0, perm=RO):
    return struct.pack("=QQQBB6x", iova, size, uaddr, perm, kind)


class Hangup(Exception):
    """The back-end leaves this front-end."""


class BackEnd:
    """seen: what came, a tuple each; told: called with each. It serves in a thread of its own once started."""

    def __init__(self, without=0, lie=None, told=None):
        self.protocol_features = ALL_PROTOCOL_FEATURES & ~without
        self.lie = LIES[lie] if lie else None
        self.told = told
        self.seen, self.config, self.status = [], bytearray(range(CONFIG_SIZE)), 0
        self.agreed, self.channel = 0, None
        self.inflight = os.memfd_create("inflight", os.MFD_CLOEXEC)
        os.ftruncate(self.inflight, INFLIGHT_OFFSET + INFLIGHT_SIZE)
        self.channel_given = threading.Event()

    # ---- what is asked of the front-end

    def ask(self, request, payload=b"", flags=VERSION | NEED_REPLY, fds=(), **how):
        """The reply on the channel; None when it is closed."""
        self.channel.send(request, payload, flags=flags, fds=fds, **how)
        return self.channel.receive()

    def miss(self, iova, perm=RO):
        """The acknowledgement of a miss: 0, or an errno."""
        return self.ask(BACKEND_IOTLB_MSG, iotlb(MISS, iova, perm=perm)).u64()

    def shmem(self, request, offset, size, fds=(), shmid=1, fd_offset=0, flags=1):
        """The acknowledgement of a SHMEM_MAP or SHMEM_UNMAP: 0, or an errno."""
        return self.ask(request, struct.pack("=B7xQQQQ", shmid, fd_offset, offset, size, flags), fds=fds).u64()

    # ---- what is asked of it

    def answer(self, message):
        """The payload and the fds of the reply, or None when there is none."""
        request, payload = message.request, message.payload
        if request == GET_FEATURES:
            return u64(ALL_FEATURES), ()
        if request == GET_PROTOCOL_FEATURES:
            return u64(self.protocol_features), ()
        if request == GET_QUEUE_NUM:
            return u64(2), ()
        if request == GET_MAX_MEM_SLOTS:
            return u64(32), ()
        if request == GET_VRING_BASE:
            return struct.pack("=II", struct.unpack_from("=I", payload)[0], 7), ()
        if request == GET_STATUS:
            return u64(self.status), ()
        if request == GET_CONFIG:
            offset, size = struct.unpack_from("=II", payload)
            if offset + size > CONFIG_SIZE:
                return b"", ()
            return payload[:12] + bytes(self.config[offset : offset + size]), ()
        if request == GET_INFLIGHT_FD:
            queues, size = struct.unpack_from("=16xHH", payload)
            return struct.pack("=QQHH4x", INFLIGHT_SIZE, INFLIGHT_OFFSET, queues, size), (self.inflight,)
        if request == GET_SHARED_OBJECT:
            return payload, (self.inflight,)
        if request == GET_SHMEM_CONFIG:
            return struct.pack("=II256Q", len(SHM_SIZES), 0, *(SHM_SIZES.get(i, 0) for i in range(256))), ()
        return None

    def take(self, message):
        """Does what it says. An errno, or 0."""
        request, payload = message.request, message.payload
        if request == SET_PROTOCOL_FEATURES:
            (self.agreed,) = struct.unpack("=Q", payload)
        elif request == SET_STATUS:
            (self.status,) = struct.unpack("=Q", payload)
        elif request == SET_CONFIG:
            offset, size = struct.unpack_from("=II", payload)
            if offset + size > CONFIG_SIZE:
                return 22
            self.config[offset : offset + size] = payload[12:]
        elif request == RESET_DEVICE:
            self.status = 0
        elif request == SET_BACKEND_REQ_FD:
            self.channel = Connection(socket.socket(fileno=os.dup(message.fds[0])))
            self.channel_given.set()
        elif request not in NAMES:
            return 38
        return 0

    def handle(self, connection, message):
        self.seen.append((NAMES.get(message.request, message.request), message.payload, len(message.fds)))
        if self.told:
            self.told(f"{self.seen[-1][0]} {message.payload.hex()} {len(message.fds)} fds")
        answer = self.answer(message)
        acknowledge = answer is None and message.flags & NEED_REPLY and self.agreed & bits(REPLY_ACK)
        if answer is None:
            error = self.take(message)
            answer = u64(error), ()
        for fd in message.fds:
            os.close(fd)
        if self.lie and self.lie.request == message.request:
            self.lie.tell(self, connection, message, *answer)
        elif acknowledge or message.request in ASKING:
            connection.send(message.request, answer[0], flags=VERSION | REPLY, fds=answer[1])

    def serve(self, sock):
        """One front-end, until it leaves."""
        with Connection(sock) as connection:
            connection.sock.settimeout(None)
            try:
                while (message := connection.receive()) is not None:
                    self.handle(connection, message)
            except (Hangup, OSError):
                pass
        if self.channel:
            self.channel.close()
            self.channel = None
        self.agreed = 0


# ---- lies


class Lie:
    """In place of the reply to a request: what tell() sends."""

    def __init__(self, request, tell):
        self.request, self.tell = request, tell


def change(request, fds=None, cut=None, more=b"", patch=(), flags=VERSION | REPLY, number=None, size=None):
    """A reply that is right but for this: its length, its fds, 32-bit words of it, or its header."""

    def tell(back_end, connection, message, payload, own):
        payload = bytearray(payload[:cut] + more)
        for offset, value in patch:
            struct.pack_into("=I", payload, offset, value)
        connection.send(number or message.request, bytes(payload), flags=flags, fds=own if fds is None else fds, size=size)

    return Lie(request, tell)


def silence(back_end, connection, message, payload, fds):
    while connection.receive() is not None:
        pass
    raise Hangup


def die(back_end, connection, message, payload, fds):
    """In the middle of the reply."""
    connection.send_raw(HEADER.pack(message.request, VERSION | REPLY, len(payload) + 8) + payload[:4])
    raise Hangup


def drip(back_end, connection, message, payload, fds):
    """A byte now and then."""
    for byte in HEADER.pack(message.request, VERSION | REPLY, len(payload)) + payload:
        connection.send_raw(bytes([byte]))
        time.sleep(0.2)


def twice(back_end, connection, message, payload, fds):
    for _ in range(2):
        connection.send(message.request, payload, flags=VERSION | REPLY, fds=fds)


def ask_for_ever(back_end, connection, message, payload, fds):
    while True:
        if back_end.ask(BACKEND_IOTLB_MSG, iotlb(MISS, 0)) is None:
            raise Hangup


def ask_without_listening(back_end, connection, message, payload, fds):
    """Misses without end, whose replies nobody reads."""
    while True:
        back_end.channel.send(BACKEND_IOTLB_MSG, iotlb(MISS, 0x1000, perm=RO), flags=VERSION | NEED_REPLY)


def on_channel(*, request=BACKEND_IOTLB_MSG, payload=iotlb(MISS, 0), flags=VERSION, fds=0, size=None):
    """A message on the channel that is none, and then the truth."""

    def tell(back_end, connection, message, answer, own):
        back_end.channel.send(request, payload, flags=flags, fds=[FOLDER] * fds, size=size)
        back_end.channel.receive()
        connection.send(message.request, answer, flags=VERSION | REPLY, fds=own)

    return Lie(GET_STATUS, tell)


FOLDER = os.open("/", os.O_RDONLY)
PIPE = os.pipe()[0]

LIES = {
    "wrong-request": change(GET_STATUS, number=GET_FEATURES),
    "no-reply": change(GET_STATUS, flags=VERSION),
    "wrong-version": change(GET_STATUS, flags=2 | REPLY),
    "odd-flags": change(GET_STATUS, flags=VERSION | REPLY | 0x80),
    "short": change(GET_STATUS, cut=-1),
    "long": change(GET_STATUS, more=b"\0"),
    "empty": change(GET_STATUS, cut=0),
    "enormous": change(GET_STATUS, size=0xFFFFFFFF),
    "fd": change(GET_STATUS, fds=[FOLDER]),
    "many-fds": change(GET_STATUS, fds=[FOLDER] * 100),
    "status-large": change(GET_STATUS, patch=[(4, 1)]),
    "twice": Lie(GET_STATUS, twice),
    "silence": Lie(GET_STATUS, silence),
    "drip": Lie(GET_STATUS, drip),
    "death": Lie(GET_STATUS, die),
    "ack-short": change(SET_STATUS, cut=4),
    "ack-fd": change(SET_STATUS, fds=[FOLDER]),
    "ack-wrong-request": change(SET_STATUS, number=SET_FEATURES),
    "ack-silence": Lie(SET_STATUS, silence),
    "slots-0": change(GET_MAX_MEM_SLOTS, patch=[(0, 0)]),
    "vrings-without-end": change(GET_QUEUE_NUM, patch=[(4, 0xFFFFFFFF)]),
    "features-short": change(GET_PROTOCOL_FEATURES, cut=4),
    "base-other-vring": change(GET_VRING_BASE, patch=[(0, 1)]),
    "base-large": change(GET_VRING_BASE, patch=[(4, 0x10000)]),
    "config-other-offset": change(GET_CONFIG, patch=[(0, 4)]),
    "config-other-size": change(GET_CONFIG, patch=[(4, 0xFFFFFFFF)]),
    "config-short": change(GET_CONFIG, cut=-1),
    "config-long": change(GET_CONFIG, more=b"more"),
    "config-head-only": change(GET_CONFIG, cut=12),
    "inflight-no-fd": change(GET_INFLIGHT_FD, fds=[]),
    "inflight-two-fds": change(GET_INFLIGHT_FD, fds=[FOLDER, FOLDER]),
    "inflight-pipe": change(GET_INFLIGHT_FD, fds=[PIPE]),
    "inflight-folder": change(GET_INFLIGHT_FD, fds=[FOLDER]),
    "inflight-beyond": change(GET_INFLIGHT_FD, patch=[(0, INFLIGHT_SIZE + 4096)]),
    "inflight-wraps": change(GET_INFLIGHT_FD, patch=[(8, 0xFFFFFFFF), (12, 0xFFFFFFFF)]),
    "inflight-other-vrings": change(GET_INFLIGHT_FD, patch=[(16, 0x00100009)]),
    "object-two-fds": change(GET_SHARED_OBJECT, fds=[FOLDER, FOLDER]),
    "object-long": change(GET_SHARED_OBJECT, more=b"more"),
    "shmem-short": change(GET_SHMEM_CONFIG, cut=-8),
    "shmem-count": change(GET_SHMEM_CONFIG, patch=[(0, 3)]),
    "shmem-odd-size": change(GET_SHMEM_CONFIG, patch=[(16, 4095)]),
    "shmem-wraps": change(GET_SHMEM_CONFIG, patch=[(16, 0xFFFFF000), (20, 0xFFFFFFFF)]),
    "shmem-fd": change(GET_SHMEM_CONFIG, fds=[FOLDER]),
    "channel-map-without-fd": on_channel(request=BACKEND_SHMEM_MAP, payload=bytes(40)),
    "channel-map-two-fds": on_channel(request=BACKEND_SHMEM_MAP, payload=bytes(40), fds=2),
    "channel-map-short": on_channel(request=BACKEND_SHMEM_MAP, payload=bytes(39), fds=1),
    "channel-unmap-fd": on_channel(request=BACKEND_SHMEM_UNMAP, payload=bytes(40), fds=1),
    "channel-reply": on_channel(flags=VERSION | REPLY),
    "channel-version": on_channel(flags=3),
    "channel-short": on_channel(payload=iotlb(MISS, 0)[:-1]),
    "channel-long": on_channel(payload=iotlb(MISS, 0) + b"\0"),
    "channel-enormous": on_channel(size=0xFFFFFFFF),
    "channel-fd": on_channel(fds=1),
    "channel-many-fds": on_channel(fds=100),
    "channel-config-payload": on_channel(request=BACKEND_CONFIG_CHANGE_MSG, payload=b"more"),
    "ask-for-ever": Lie(GET_STATUS, ask_for_ever),
    "ask-without-listening": Lie(GET_STATUS, ask_without_listening),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("--lie", choices=sorted(LIES))
    parser.add_argument("--without", type=lambda text: int(text, 0), default=0)
    arguments = parser.parse_args()

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(arguments.socket)
        listener.listen()
        while True:
            BackEnd(arguments.without, arguments.lie, lambda line: print(line, flush=True)).serve(listener.accept()[0])


if __name__ == "__main__":
    sys.exit(main())
