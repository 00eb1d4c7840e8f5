#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the hand-made inputs of fuzz_vhost_user_server: python3 seed_vhost_user_server.py corpus"""

import os
import struct
import sys

(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, _, _, SET_NUM, SET_ADDR, SET_BASE, GET_BASE, SET_KICK, SET_CALL,
 SET_ERR, GET_PROTOCOL, SET_PROTOCOL, QUEUE_NUM, ENABLE) = range(1, 19)
BACKEND_REQ_FD, IOTLB, GET_CONFIG, SET_CONFIG, INFLIGHT_GET, INFLIGHT_SET, GPU_SOCKET, RESET = 21, 22, 24, 25, 31, 32, 33, 34
SLOTS, ADD_REG, REM_REG, SET_STATUS, GET_STATUS, OBJECT = range(36, 42)
MEMORY, SHORT, PIPE, EVENT, NULL = range(5)
NEED_REPLY = 8
VERSION_1, ACCESS_PLATFORM, EVENT_IDX, PROTOCOL = 1 << 32, 1 << 33, 1 << 29, 1 << 30
ALL = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 10 | 1 << 13 | 1 << 15 | 1 << 16
GPA = 1 << 21
USER = 0x7F0000000000
NOFD = 0x100


def fds(count, kind):
    return count | kind << 5


def message(request, payload=b"", flags=NEED_REPLY, which=0):
    return struct.pack("<BBBBH", 1, request, flags, which, len(payload)) + payload


def raw(data, which=0):
    return struct.pack("<BBH", 0, which, len(data)) + data


DISPATCH, KICK, CHANNEL, CHANGE = b"\2", b"\4", b"\5", b"\7"
SHMEM_CONFIG, SHMEM_MAP, SHMEM_UNMAP = 44, 9, 10
SHMEM = ALL | 1 << 22


def poke(offset, data):
    return struct.pack("<BHH", 3, offset, len(data)) + data


def place(page, kind=MEMORY):
    return struct.pack("<BBB", 8, page, kind)


def displace(page):
    return struct.pack("<BB", 9, page)


def answer(request, value=0, flags=5, size=8):
    data = struct.pack("<III", request, flags, size) + struct.pack("<Q", value)[:size]
    return struct.pack("<BH", 6, len(data)) + data


def u64(request, value, **how):
    return message(request, struct.pack("<Q", value), **how)


def state(request, index, number):
    return message(request, struct.pack("<II", index, number))


def region(address, size, user=None, offset=0):
    return struct.pack("<QQQQ", address, size, address + USER if user is None else user, offset)


def table(*regions, which=None):
    return message(SET_MEM_TABLE, struct.pack("<II", len(regions), 0) + b"".join(regions), which=fds(len(regions), MEMORY) if which is None else which)


def add(*arguments, which=fds(1, MEMORY), **how):
    return message(ADD_REG, bytes(8) + region(*arguments, **how), which=which)


def remove(*arguments, which=0, **how):
    return message(REM_REG, bytes(8) + region(*arguments, **how), which=which)


def begin(features=VERSION_1 | PROTOCOL, protocol=ALL):
    return message(GET_FEATURES, flags=0) + u64(SET_PROTOCOL, protocol, flags=0) + message(SET_OWNER) + u64(SET_FEATURES, features) + DISPATCH


def ring(index=0, at=0x1000, size=16, base=0, user=USER, enable=True, kick=fds(1, EVENT)):
    setup = state(SET_NUM, index, size) + state(SET_BASE, index, base)
    setup += message(SET_ADDR, struct.pack("<IIQQQQ", index, 0, at + user, at + 0x800 + user, at + 0x400 + user, 0))
    setup += u64(SET_CALL, index, which=fds(1, EVENT)) + u64(SET_ERR, index, which=fds(1, EVENT))
    setup += u64(SET_KICK, index | (0 if kick else NOFD), which=kick)
    return setup + (state(ENABLE, index, 1) if enable else b"") + DISPATCH


def chain(at=0x1000, position=0, address=0x4000):
    descriptors = struct.pack("<QIHHQIHH", address, 16, 1, 1, address + 0x100, 64, 2, 0)
    return poke(at, descriptors) + poke(at + 0x404 + 2 * position, struct.pack("<H", 0)) + poke(at + 0x402, struct.pack("<H", position + 1))


def live(**how):
    return begin(**how) + table(region(0, 0x10000)) + ring()


WORK = chain() + KICK + DISPATCH * 3
FULL = 15

SEEDS = {
    "begin": begin(),
    "questions": begin() + message(QUEUE_NUM) + message(SLOTS) + message(GET_STATUS) + message(GET_PROTOCOL) + message(RESET_OWNER) + DISPATCH,
    "work": live() + WORK,
    "two-rings": live() + ring(1, 0x2000) + WORK + chain(0x2000) + KICK + DISPATCH * 3,
    "polled": begin() + table(region(0, 0x10000)) + ring(kick=0) + chain() + DISPATCH * 3,
    "enabled-from-the-start": begin(VERSION_1) + table(region(0, 0x10000)) + ring(enable=False) + WORK,
    "stop-and-go-on": live() + WORK + state(GET_BASE, 0, 0) + DISPATCH + ring(base=1) + chain(position=1) + KICK + DISPATCH * 3,
    "stop-and-begin": live() + WORK + state(GET_BASE, 0, 0) + DISPATCH + poke(0x1000, bytes(0x1000)) + ring() + WORK,
    "disable": live() + state(ENABLE, 0, 0) + WORK + state(ENABLE, 0, 1) + DISPATCH * 3,
    "reset": live() + WORK + message(RESET) + DISPATCH + ring() + WORK,
    "status": begin() + u64(SET_STATUS, 3) + table(region(0, 0x10000)) + ring() + u64(SET_STATUS, 11) + u64(SET_STATUS, FULL) + WORK + u64(SET_STATUS, 0) + DISPATCH,
    "status-reset": live(protocol=ALL & ~(1 << 13)) + u64(SET_STATUS, FULL) + WORK + u64(SET_STATUS, 0) + DISPATCH,
    "broken": live() + poke(0x1402, b"\xff\xff") + KICK + DISPATCH * 3 + message(GET_STATUS) + DISPATCH,
    "event-idx": live(features=VERSION_1 | PROTOCOL | EVENT_IDX) + WORK,
    "rings-nowhere": begin() + table(region(0, 0x1000)) + ring() + WORK,
    "rings-first": begin() + ring() + table(region(0, 0x10000)) + ring() + WORK,
    "guest-addresses": begin(protocol=ALL | GPA) + table(region(0, 0x10000, 0)) + ring(user=0) + WORK,
    "guest-addresses-differ": begin(protocol=ALL | GPA) + table(region(0, 0x10000)) + add(1 << 32, 0x1000),
    "tables": live() + table(region(0, 0x10000), region(1 << 32, 0x1000)) + table(region(0, 0x10000)) + WORK + table() + KICK + DISPATCH * 3,
    "tables-overlap": live() + table(region(0, 0x9000), region(0x8000, 0x1000)) + WORK,
    "table-short": live() + table(region(0, 0x10000), which=fds(1, SHORT)) + WORK,
    "table-fds": live() + table(region(0, 0x10000), which=fds(2, MEMORY)) + table(region(0, 0x10000), which=fds(1, PIPE)) + WORK,
    "table-count": begin() + message(SET_MEM_TABLE, struct.pack("<II", 8, 0) + region(0, 0x1000), which=fds(8, MEMORY)),
    "slots": begin() + add(0, 0x8000) + add(0x8000, 0x8000, offset=0x8000) + ring() + WORK + remove(0x8000, 0x8000) + remove(0, 0x8000, which=fds(1, MEMORY)) + KICK + DISPATCH * 3,
    "slots-wrong": live() + add(0x8000, 0x1000) + add(1 << 32, 0) + add(2**64 - 4096, 8192, 0) + remove(5, 5) + DISPATCH,
    "config": begin() + message(GET_CONFIG, struct.pack("<III", 0, 24, 0) + bytes(24)) + message(SET_CONFIG, struct.pack("<III", 4, 4, 0) + b"abcd") + DISPATCH,
    "config-beyond": begin() + message(GET_CONFIG, struct.pack("<III", 20, 8, 0) + bytes(8)) + message(SET_CONFIG, struct.pack("<III", 2**32 - 1, 1, 0) + b"a") + DISPATCH,
    "config-lies": begin() + message(GET_CONFIG, struct.pack("<III", 0, 8, 0)),
    "fds-of-all-kinds": live() + b"".join(u64(request, 0, which=fds(1, kind)) for request in (SET_KICK, SET_CALL, SET_ERR) for kind in range(5)) + WORK,
    "no-fds": live() + b"".join(u64(request, NOFD) + u64(request, 0) for request in (SET_KICK, SET_CALL, SET_ERR)) + WORK,
    "too-many-fds": begin() + message(SET_MEM_TABLE, struct.pack("<II", 0, 0), which=fds(20, MEMORY)),
    "channel": live() + CHANNEL + DISPATCH + CHANGE + DISPATCH + answer(2) + DISPATCH + CHANGE * 3 + DISPATCH + answer(2, 1) + DISPATCH,
    "channel-nonsense": live() + CHANNEL + DISPATCH + CHANGE + DISPATCH + answer(1) + DISPATCH * 2 + CHANGE + DISPATCH,
    "channel-request": live() + CHANNEL + DISPATCH + CHANGE + answer(2, flags=1) + DISPATCH * 2 + CHANNEL + DISPATCH + CHANGE + DISPATCH,
    "channel-short": live() + CHANNEL + DISPATCH + CHANGE + answer(2, size=4) + DISPATCH * 2,
    "channel-not-a-socket": live() + message(BACKEND_REQ_FD, which=fds(1, PIPE)) + message(BACKEND_REQ_FD, which=fds(1, MEMORY)) + DISPATCH + WORK,
    "shmem": live(protocol=SHMEM) + message(SHMEM_CONFIG) + CHANNEL + DISPATCH + place(0) + place(1, SHORT) + DISPATCH + answer(SHMEM_MAP) +
             answer(SHMEM_MAP, 1) + DISPATCH + displace(0) + DISPATCH + answer(SHMEM_UNMAP) + DISPATCH,
    "shmem-disorder": live(protocol=SHMEM) + CHANNEL + DISPATCH + place(0) + CHANGE + displace(0) + DISPATCH + answer(SHMEM_UNMAP) + answer(2) +
                      answer(SHMEM_MAP) + DISPATCH,
    "shmem-left": live(protocol=SHMEM) + CHANNEL + DISPATCH + place(0) + place(1) + DISPATCH + CHANNEL + DISPATCH + place(2) + message(RESET) + DISPATCH,
    "shmem-no-channel": live(protocol=SHMEM) + place(0) + displace(0) + DISPATCH,
    "shmem-unable": live(protocol=SHMEM & ~(1 << 10)) + message(SHMEM_CONFIG) + CHANNEL + DISPATCH + place(0) + DISPATCH,
    "shmem-not-negotiated": live() + place(0) + message(SHMEM_CONFIG) + DISPATCH,
    "display-socket": begin() + message(GPU_SOCKET, which=fds(1, NULL)) + DISPATCH,
    "iotlb": begin(VERSION_1 | PROTOCOL | ACCESS_PLATFORM) + table(region(0, 0x10000)) + CHANNEL + DISPATCH + ring(user=0) +
             message(IOTLB, struct.pack("<QQQBB6x", 0, 0x10000, USER, 3, 2)) + DISPATCH * 2 + WORK +
             message(IOTLB, struct.pack("<QQQBB6x", 0, 0x10000, 0, 0, 3)) + KICK + DISPATCH * 3 + answer(1) + DISPATCH,
    "other-messages": begin() + b"".join(message(request, bytes(24)) for request in (6, 7, 19, 20, 23, 26, 31, 35, 41, 42, 43, 44, 200)) + DISPATCH,
    "old-version": begin() + message(GET_FEATURES, flags=3),
    "a-reply": begin() + message(GET_FEATURES, flags=4),
    "half": begin() + raw(struct.pack("<III", SET_FEATURES, 1, 8) + bytes(3)),
    "huge": begin() + raw(struct.pack("<III", SET_MEM_TABLE, 1, 2**32 - 1)),
    "pieces": begin() + b"".join(raw(bytes([byte])) for byte in struct.pack("<IIIQ", SET_FEATURES, 9, 8, VERSION_1)) + DISPATCH,
}


def main(folder):
    folder = os.path.join(folder, "vhost_user_server")
    os.makedirs(folder, exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
