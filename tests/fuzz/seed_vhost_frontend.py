#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the hand-made inputs of fuzz_vhost_user_frontend: python3 seed_vhost_frontend.py corpus"""

import os
import struct
import sys

RAW, REPLY, REQUEST, RAW_REQUEST = range(4)
(FEATURES, SET_FEATURES, ADD_MEMORY, REMOVE_MEMORY, RING, GET_BASE, CONFIG, STATUS, SET_STATUS, RESET, INFLIGHT, IOTLB_ADD, IOTLB_REMOVE, OBJECT,
 DISPATCH) = range(15)
MEMORY, SHORT, PIPE, EVENT, NULL = range(5)
MISS, UPDATE, INVALIDATE, ACCESS_FAIL = range(1, 5)
ALL = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 21


def fds(count, kind):
    return count | kind << 5


def message(kind, request, payload=b'', flags=0, which=0):
    return struct.pack('<BBBBH', kind, request, flags, which, len(payload)) + payload


def u64(value):
    return struct.pack('<Q', value)


def reply(request, payload, **how):
    return message(REPLY, request, payload, **how)


def ack(request, value=0):
    return reply(request, u64(value))


def hello(protocol=ALL, slots=32):
    """What an honest back-end says at the beginning."""
    return (reply(1, u64(1 << 30 | 3 << 32)) + reply(15, u64(protocol)) + ack(3) + reply(17, u64(2)) + reply(36, u64(slots)) + ack(21))


def shmem_hello(*sizes, **how):
    """With shared memory regions of these sizes, from 0 on."""
    config = struct.pack('<II256Q', sum(size > 0 for size in sizes), 0, *sizes, *(0,) * (256 - len(sizes)))
    return (reply(1, u64(1 << 30 | 3 << 32)) + reply(15, u64(ALL | 1 << 22)) + ack(3) + reply(17, u64(2)) + reply(36, u64(32)) +
            reply(44, config, **how) + ack(21))


def shmem(request, offset, size, shmid=1, fd_offset=0, flags=1, which=None):
    return message(REQUEST, request, struct.pack('<B7xQQQQ', shmid, fd_offset, offset, size, flags),
                   which=(fds(1, MEMORY) if request == 9 else 0) if which is None else which)


def miss(iova, kind=MISS, perm=1, **how):
    return message(REQUEST, 1, struct.pack('<QQQBB6x', iova, 0, 0, perm, kind), **how)


def record(calls, *messages):
    return bytes([len(calls)]) + bytes(calls) + b''.join(messages)


PLATFORM = (SET_FEATURES, ADD_MEMORY, IOTLB_ADD, SET_STATUS)
PLATFORM_REPLIES = ack(2) + ack(37) + ack(39)
CONFIG_BYTES = struct.pack('<III', 0, 16, 0) + bytes(16)
INFLIGHT_REPLY = struct.pack('<QQHH4x', 4096, 0, 2, 64)

INPUTS = {
    'hello': record((), hello()),
    'no-slots': record((), hello(slots=0)),
    'features': record((FEATURES, SET_FEATURES), hello(), reply(1, u64(1)), ack(2)),
    'memory': record((ADD_MEMORY, ADD_MEMORY + 15, REMOVE_MEMORY), hello(), ack(37), ack(37, 1), ack(38)),
    'table': record((ADD_MEMORY, ADD_MEMORY + 15, REMOVE_MEMORY), hello(ALL & ~(1 << 15)), ack(5), ack(5), ack(5)),
    'ring': record((RING, GET_BASE), hello(), ack(9), ack(12), ack(18), reply(11, struct.pack('<II', 0, 7))),
    'base-other': record((GET_BASE,), hello(), reply(11, struct.pack('<II', 3, 7))),
    'config': record((CONFIG,), hello(), reply(24, CONFIG_BYTES)),
    'config-empty': record((CONFIG,), hello(), reply(24, b'')),
    'config-short': record((CONFIG,), hello(), reply(24, CONFIG_BYTES[:-1])),
    'status': record((SET_STATUS, STATUS, RESET), hello(), ack(39), reply(40, u64(15)), ack(34)),
    'inflight': record((INFLIGHT,), hello(), reply(31, INFLIGHT_REPLY, which=fds(1, MEMORY)), ack(32)),
    'inflight-pipe': record((INFLIGHT,), hello(), reply(31, INFLIGHT_REPLY, which=fds(1, PIPE))),
    'inflight-short': record((INFLIGHT,), hello(), reply(31, INFLIGHT_REPLY, which=fds(1, SHORT))),
    'miss': record(PLATFORM + (DISPATCH, IOTLB_REMOVE), hello(), PLATFORM_REPLIES, miss(0), miss(5000), miss(100001), miss(100000), ack(22), ack(22)),
    'miss-held': record(PLATFORM + (DISPATCH, IOTLB_ADD + 15 * 8), hello(), PLATFORM_REPLIES, miss(32769), ack(22), ack(22)),
    'access-fail': record(PLATFORM + (DISPATCH,), hello(), PLATFORM_REPLIES, miss(0, ACCESS_FAIL)),
    'miss-wrong': record(PLATFORM + (DISPATCH,), hello(), PLATFORM_REPLIES, miss(0, UPDATE), miss(0, 9), miss(0, perm=0)),
    'miss-reply': record(PLATFORM + (DISPATCH,), hello(), PLATFORM_REPLIES, miss(0, flags=12)),
    'miss-fd': record(PLATFORM + (DISPATCH,), hello(), PLATFORM_REPLIES, miss(0, which=fds(1, MEMORY))),
    'objects': record((DISPATCH, OBJECT), hello(), message(REQUEST, 6, b'\1' + bytes(15)), message(REQUEST, 8, b'\1' + bytes(15)),
                      message(REQUEST, 8, b'\3' + bytes(15)), message(REQUEST, 7, bytes(16)), reply(41, b'\1' + bytes(15), which=fds(1, MEMORY))),
    'config-change': record((SET_STATUS, DISPATCH), hello(), ack(39), message(REQUEST, 2)),
    'shmem': record((DISPATCH, RESET, DISPATCH), shmem_hello(0, 1 << 20), shmem(9, 0, 8192), shmem(9, 8192, 4096, fd_offset=4096, flags=0),
                    shmem(10, 0, 8192), shmem(9, 4096, 4096), ack(34)),
    'shmem-stays': record((DISPATCH,), shmem_hello(0, 1 << 20), shmem(9, 0, 65536)),
    'shmem-wrong': record((DISPATCH,), shmem_hello(4096, 1 << 20), shmem(9, 0, 4096, shmid=2), shmem(9, 1 << 20, 4096), shmem(9, 0, 4097),
                          shmem(9, (1 << 64) - 4096, 8192), shmem(9, 0, 4096, flags=3), shmem(9, 0, 4096, fd_offset=1), shmem(9, 0, 1 << 20),
                          shmem(9, 0, 4096), shmem(9, 0, 4096), shmem(10, 0, 8192), shmem(10, 4096, 4096)),
    'shmem-fds': record((DISPATCH,), shmem_hello(0, 1 << 20), *(shmem(9, 0, 4096, which=fds(1, kind)) for kind in (SHORT, PIPE, EVENT, NULL))),
    'shmem-no-fd': record((DISPATCH,), shmem_hello(0, 1 << 20), shmem(9, 0, 4096, which=0)),
    'shmem-not-agreed': record((DISPATCH,), hello(), shmem(9, 0, 4096)),
    'shmem-large': record((DISPATCH,), shmem_hello(0, 1 << 50), shmem(9, 0, 4096)),
    'shmem-wraps': record((DISPATCH,), shmem_hello(4096, (1 << 64) - 4096)),
    'shmem-odd': record((DISPATCH,), shmem_hello(0, 4097)),
    'shmem-config-fd': record((DISPATCH,), shmem_hello(0, 4096, which=fds(1, MEMORY))),
    'unknown-request': record((DISPATCH,), hello(), message(REQUEST, 200, b'what')),
    'unasked': record((DISPATCH,), hello(), ack(22)),
    'enormous': record((), struct.pack('<BBHIII', RAW, 0, 12, 1, 5, 0xFFFFFFFF)),
    'fds': record((FEATURES,), hello(), reply(1, u64(1), which=fds(31, NULL))),
}


def main():
    corpus = os.path.join(sys.argv[1], 'vhost_user_frontend')
    os.makedirs(corpus, exist_ok=True)
    for name, data in INPUTS.items():
        with open(os.path.join(corpus, name), 'wb') as file:
            file.write(data)


if __name__ == '__main__':
    main()
