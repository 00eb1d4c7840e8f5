#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the hand-made inputs of fuzz_vhost_iotlb into a folder: python3 seed_vhost_iotlb.py corpus/vhost_iotlb"""

import os
import struct
import sys

(MESSAGE, TRANSLATE, INVALIDATE, READ, WRITE, ACCESS, SPANS, REPLY, TURN, ADD_REGION, REMOVE_REGION, FORGET_ALL,
 TOGGLE) = range(13)
GPA_ADDRESSES, SMALL = 1, 2
MISS, UPDATE, INVALIDATION, ACCESS_FAIL = 1, 2, 3, 4
TOP = (1 << 64) - 1


def message(iova, size, uaddr, perm, kind):
    return struct.pack("<BQQQBB6x", MESSAGE, iova & TOP, size & TOP, uaddr & TOP, perm, kind)


def translate(iova, page, pages=1, perm=3):
    return struct.pack("<BHHBB", TRANSLATE, iova, page, pages, perm)


def invalidate(iova, pages):
    return struct.pack("<BHB", INVALIDATE, iova, pages)


def access(iova, pages=1, write=0):
    return struct.pack("<BHBB", ACCESS, iova, pages, write)


def spans(*entries):
    return struct.pack("<BB", SPANS, len(entries)) + b"".join(struct.pack("<HB", *entry) for entry in entries)


def reply(which, refused):
    return struct.pack("<BBB", REPLY, which, refused)


TABLE = bytes([ADD_REGION, 0, ADD_REGION, 1])
TURNS = bytes([TURN] * 3)
MISSES = access(10) + reply(0, 0) + translate(10, 3) + access(10) + access(11, write=1) + reply(0, 1) + access(11, write=1)

INPUTS = {
    "miss": bytes([0]) + TABLE + MISSES + TURNS,
    "gpa": bytes([GPA_ADDRESSES]) + TABLE + MISSES + message(0, 0, 0, 3, UPDATE) + access(1) + message(0, 0, 0, 0, INVALIDATION),
    "split": bytes([0]) + TABLE + translate(0, 0, 200) + spans((0, 4), (100, 100)) + invalidate(50, 3) + invalidate(0, 1)
    + access(49) + access(53, 100) + invalidate(0, 255),
    "permissions": bytes([0]) + TABLE + translate(5, 5, 1, 1) + access(5, write=1) + translate(5, 5, 1, 1) + access(5, write=1)
    + translate(5, 5, 1, 2) + access(5) + TURNS + access(5),
    "batch": bytes([0]) + TABLE + access(0, 200) + b"".join(translate(i, i) for i in range(200)) + access(0, 200) + spans((0, 200)),
    "eviction": bytes([SMALL]) + TABLE + b"".join(translate(2 * i, i) for i in range(100)) + spans((150, 1), (152, 1))
    + b"".join(translate(2 * i, i) for i in range(100)) + access(152),
    "table": bytes([0]) + TABLE + translate(0, 0, 255) + translate(255, 250, 20) + bytes([REMOVE_REGION, 1]) + access(260)
    + bytes([REMOVE_REGION, 0]) + access(0) + translate(0, 0) + TABLE + translate(0, 0) + access(0),
    "refused": bytes([0]) + TABLE + message(0, 4096, 0, 0, UPDATE) + message(TOP, 2, 0, 3, UPDATE) + message(0, 4096, TOP, 3, UPDATE)
    + message(0, 0, 0, 3, MISS) + message(0, 0, 0, 3, ACCESS_FAIL) + message(0, 0, 0, 0, 5) + message(4096, 0, 0, 0, INVALIDATION)
    + message(0, TOP, 0, 0, INVALIDATION) + message(0, TOP, 0, 3, UPDATE),
    "toggle": bytes([0]) + TABLE + access(3, 40) + bytes([TOGGLE]) + access(3) + reply(0, 1) + bytes([TOGGLE]) + access(3, 40)
    + bytes([FORGET_ALL]) + TURNS,
    "edges": bytes([0]) + TABLE + struct.pack("<BQH", READ, TOP, 1) + struct.pack("<BQH", WRITE, TOP, 2)
    + message(TOP - 4095, 4096, 0, 3, UPDATE) + struct.pack("<BQH", READ, TOP, 1) + struct.pack("<BQH", READ, TOP - 9, 10),
}

os.makedirs(sys.argv[1], exist_ok=True)
for name, data in INPUTS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as out:
        out.write(data)
