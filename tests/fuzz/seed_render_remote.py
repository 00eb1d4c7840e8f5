#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of fuzz_render_remote (its step format is described there) into the folder given as argument."""
import pathlib
import struct
import sys

RAW, DONE, PASSED, STARTED, CALL, WAIT, TURN, AGAIN = range(8)
(CTX_CREATE, CTX_DESTROY, CTX_ATTACH, CTX_DETACH, SUBMIT, CREATE_3D, CREATE_BLOB, UNREF, ATTACH_BACKING, DETACH_BACKING, TO_HOST, FROM_HOST, FENCE, READ,
 EXPORT, EXPORT_BLOB, RESET) = range(17)
WELL = bytes([1])
OK, EINVAL, ENOENT, ENOMEM, EOPNOTSUPP, EIO = range(6)
ONE_MEMORY, TWO_MEMORY, ONE_SHORT, ONE_PIPE = 0x01, 0x02, 0x21, 0x41
WIDTH, HEIGHT = 16, 8


def call(op, what=1):
    return bytes([CALL, op, what])


def wait(op, what=1):
    return bytes([WAIT, op, what])


def done(code=OK, fds=0, offset=0, size=0, stride=0, last=0, serial=0):
    return struct.pack("<BBBBHHHB", DONE, serial, code, fds, offset, size, stride, last)


def answered(op, what=1, **answer):
    return call(op, what) + done(**answer) + bytes([TURN])


def passed(fence):
    return bytes([PASSED, fence])


def started(at=0, by=0):
    return struct.pack("<BHB", STARTED, at, by)


def raw(data, fds=0):
    return struct.pack("<BBH", RAW, fds, len(data)) + data


TURNS = bytes([TURN])
CREATED = answered(CTX_CREATE) + answered(CREATE_3D, HEIGHT * 4 + 1)
PICTURE = dict(size=WIDTH * (HEIGHT * 4 + 1) * 4, stride=WIDTH * 4)
SEEDS = {
    "well": WELL + CREATED + answered(ATTACH_BACKING) + answered(SUBMIT) + answered(READ) + answered(TO_HOST) + answered(UNREF) + answered(RESET),
    "every-call": WELL + b"".join(answered(op) for op in range(17)),
    "in-progress": WELL + b"".join(call(op) for op in range(17)) + done() * 5 + TURNS + done() * 12 + TURNS,
    "errors": WELL + b"".join(answered(op, code=1 + op % 4) for op in range(17)),
    "fences": WELL + answered(FENCE, 1) + answered(FENCE, 2) + answered(FENCE, 3) + passed(2) + passed(1) + TURNS + passed(3) + TURNS,
    "fence-first": WELL + call(FENCE, 9) + passed(9) + done() + TURNS,
    "fence-twice": WELL + answered(FENCE, 9) + passed(9) + passed(9) + TURNS,
    "fence-refused": WELL + answered(FENCE, 9, code=EINVAL) + passed(9) + TURNS,
    "fence-reset": WELL + answered(FENCE, 9) + answered(RESET) + answered(FENCE, 9) + passed(9) + TURNS,
    "picture": WELL + CREATED + answered(EXPORT, fds=ONE_MEMORY, **PICTURE),
    "picture-short": WELL + CREATED + answered(EXPORT, fds=ONE_SHORT, **PICTURE),
    "picture-pipe": WELL + CREATED + answered(EXPORT, fds=ONE_PIPE, **PICTURE),
    "picture-twice": WELL + CREATED + answered(EXPORT, fds=TWO_MEMORY, **PICTURE),
    "picture-tiled": WELL + CREATED + answered(EXPORT, fds=ONE_MEMORY, last=8, **PICTURE),
    "picture-refused": WELL + CREATED + answered(EXPORT, code=EOPNOTSUPP, last=0xC3),
    "blob": WELL + answered(EXPORT_BLOB, fds=ONE_MEMORY, size=4096, last=1),
    "blob-odd": WELL + answered(EXPORT_BLOB, fds=ONE_MEMORY, offset=1, size=4096),
    "serial": WELL + call(UNREF) + done(serial=1) + TURNS,
    "unknown-code": WELL + call(UNREF) + done(code=EIO) + TURNS,
    "nothing-asked": WELL + done() + TURNS,
    "waits": WELL + call(SUBMIT) + done() + done(serial=1) + wait(DETACH_BACKING) + call(UNREF) + wait(UNREF) + TURNS,
    "next": WELL + CREATED + done() + TURNS + call(CTX_CREATE) + bytes([AGAIN]) + CREATED + answered(ATTACH_BACKING) + raw(b"x" * 8) + TURNS,
    "lost-while-waiting": WELL + call(FENCE, 1) + done() + done(serial=5) + wait(UNREF) + call(CTX_CREATE) + TURNS,
    "started-again": WELL + started() + TURNS,
    "badly": bytes([0]) + struct.pack("<HB", 8, 1),
    "badly-capsets": bytes([0]) + struct.pack("<HB", 240, 7),
    "badly-text": bytes([0]) + struct.pack("<HB", 12, 200),
    "oddly-but-well": bytes([0]) + struct.pack("<HB", 400, 200) + CREATED,
    "huge": WELL + call(UNREF) + raw(struct.pack("<II", 5, 0xFFFFFFFF)) + TURNS,
    "pieces": WELL + call(UNREF) + raw(struct.pack("<I", 5)) + TURNS + raw(struct.pack("<IQ", 272, 0)) + TURNS + raw(bytes(256)) + TURNS,
}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
