#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the hand-made inputs of fuzz_virtqueue into a folder: python3 seed_virtqueue.py corpus/virtqueue"""

import os
import struct
import sys

BASE = 0x10000
EVENT_IDX, INDIRECT, REMOTE, TWO_REGIONS = 1, 2, 4, 8
NEXT, WRITE, IND = 1, 2, 4
SIZE_LOG2 = 3
SIZE = 1 << SIZE_LOG2
DESC, AVAIL, USED, TABLE, DATA = 0, 0x100, 0x180, 0x200, 0x400

(POP, PUSH, READ, WRITE_BYTES, SHOULD_INTERRUPT, ENABLE_NOTIFY, DISABLE_NOTIFY, POKE, PUBLISH, RESTART, REMOVE_MEMORY,
 ADD_MEMORY) = range(12)


def command(op, *arguments):
    return struct.pack('<B', op) + b''.join(struct.pack('<H', a & 0xffff) for a in arguments)


# pop all there is, use the first chain, return it, look at the notifications, and once more
CYCLE = (command(DISABLE_NOTIFY) + command(POP) + command(READ, 0, 0, 64) + command(WRITE_BYTES, 0, 0, 64) + command(PUSH, 0, 8)
         + command(SHOULD_INTERRUPT) + command(ENABLE_NOTIFY) + command(POP) + command(PUSH, 0, 0) + command(PUBLISH, 1)
         + command(POP) + command(PUSH, 0, 1) + command(SHOULD_INTERRUPT))
MEMORY = command(POP) + command(REMOVE_MEMORY) + command(READ, 0, 0, 8) + command(PUSH, 0, 0) + command(POP) + command(
    ADD_MEMORY) + command(RESTART) + CYCLE


class Image:
    def __init__(self):
        self.bytes = bytearray(DATA + 64)
        self.available = 0

    def put(self, offset, data):
        self.bytes[offset:offset + len(data)] = data

    def desc(self, index, address, length, flags=0, next=0, table=DESC):
        self.put(table + 16 * index, struct.pack('<QIHH', address, length, flags, next))

    def publish(self, head):
        self.put(AVAIL + 4 + 2 * (self.available % SIZE), struct.pack('<H', head))
        self.available += 1
        self.put(AVAIL + 2, struct.pack('<H', self.available))


def direct(image):
    image.desc(0, BASE + DATA, 24, NEXT, 1)
    image.desc(1, BASE + DATA + 24, 16, NEXT | WRITE, 2)
    image.desc(2, BASE + DATA + 48, 8, WRITE)
    image.publish(0)
    image.desc(3, BASE + DATA, 4)
    image.publish(3)


def indirect(image):
    image.desc(0, BASE + DATA, 8, NEXT, 1)
    image.desc(1, BASE + TABLE, 64, IND)
    for i in range(3):
        image.desc(i, BASE + DATA + 8 * i, 8, NEXT, i + 1, TABLE)
    image.desc(3, BASE + DATA + 32, 8, WRITE, 0, TABLE)
    image.publish(0)


def bad(image_change):
    def make(image):
        direct(image)
        image_change(image)
    return make


SEEDS = {
    'direct': (0, direct, CYCLE),
    'direct-event-idx': (EVENT_IDX, direct, CYCLE),
    'direct-remote': (REMOTE | EVENT_IDX, direct, CYCLE),
    'direct-two-regions': (TWO_REGIONS, direct, CYCLE),
    'indirect': (INDIRECT, indirect, CYCLE),
    'indirect-remote': (INDIRECT | REMOTE, indirect, CYCLE),
    'indirect-not-negotiated': (0, indirect, CYCLE),
    'memory-goes': (INDIRECT, indirect, MEMORY),
    'loop': (0, bad(lambda i: i.desc(1, BASE + DATA, 8, NEXT, 0)), CYCLE),
    'zero-length': (0, bad(lambda i: i.desc(1, BASE + DATA, 0, WRITE)), CYCLE),
    'wraps': (0, bad(lambda i: i.desc(1, 2**64 - 4, 16, WRITE)), CYCLE),
    'four-gib': (0, bad(lambda i: i.desc(1, 0, 2**32 - 1, WRITE)), CYCLE),
    'out-after-in': (0, bad(lambda i: i.desc(2, BASE + DATA, 8)), CYCLE),
    'next-beyond': (0, bad(lambda i: i.desc(1, BASE + DATA, 8, NEXT, SIZE)), CYCLE),
    'head-beyond': (0, bad(lambda i: i.publish(SIZE)), CYCLE + CYCLE),
    'idx-beyond': (0, bad(lambda i: i.put(AVAIL + 2, b'\xff\x7f')), CYCLE),
    'idx-full': (0, bad(lambda i: i.put(AVAIL + 2, b'\x08\x00')), command(POP) * 10 + command(PUBLISH, 1) + command(POP)),
    'nested': (INDIRECT, lambda i: (indirect(i), i.desc(1, BASE + TABLE, 16, IND, 0, TABLE)), CYCLE),
    'ragged-table': (INDIRECT, lambda i: (indirect(i), i.desc(1, BASE + TABLE, 63, IND)), CYCLE),
    'table-beyond-memory': (INDIRECT, lambda i: (indirect(i), i.desc(1, BASE + 0x3ff0, 64, IND)), CYCLE),
}


def main(folder):
    os.makedirs(folder, exist_ok=True)
    for name, (flags, make, commands) in SEEDS.items():
        image = Image()
        make(image)
        header = struct.pack('<BBHHHH', flags, SIZE_LOG2, DESC, AVAIL, USED, len(image.bytes))
        with open(os.path.join(folder, name), 'wb') as file:
            file.write(header + bytes(image.bytes) + commands)


if __name__ == '__main__':
    main(*sys.argv[1:])
