#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of fuzz_vhost_user_gpu (its step format is described there) into the folder given as argument."""
import pathlib
import struct
import sys

RAW, REPLY, FEATURES, INFO, EDID, UPDATED, FRAME, CURSOR, ASK, CAPTURE, MOVE = range(11)
BLANK, UNREAD, BUFFER, PIXELS, KNOWN = 0, 1, 2, 3, 8
BOTH, UNPACED, UNASKED = 3 << 4, 8, 0x80


def info(scanout=0, width=641, height=480):
    return struct.pack("<BBHH", INFO, scanout, width, height)


def frame(content, output=0, damage=0xFF):
    return bytes([FRAME, output, content, damage])


def edid(wrong=0, at=200, by=0, extra=b""):
    return bytes([EDID, wrong, at]) + extra + bytes([by])


def reply(request, payload, flags=4):
    return struct.pack("<BBBH", REPLY, request, flags, len(payload)) + payload


def raw(data, fds=0):
    return struct.pack("<BBH", RAW, fds, len(data)) + data


SEEDS = {
    "pixels": bytes([BOTH | UNPACED]) + info() + edid() + (frame(PIXELS | KNOWN) + info()) * 4,
    "dmabuf": bytes([BOTH | UNPACED]) + info() + edid() + (frame(BUFFER | KNOWN) + bytes([UPDATED])) * 4 + frame(PIXELS | KNOWN) + info() + frame(BLANK),
    "dmabuf-1": bytes([UNPACED]) + info() + (frame(BUFFER | KNOWN) + bytes([UPDATED])) * 2 + frame(BUFFER | KNOWN | 16),
    "outputs": bytes([BOTH | UNPACED | 3]) + info(3) + edid() + b"".join(frame(PIXELS | KNOWN, i) for i in range(4)) + info() * 4,
    "resizes": bytes([BOTH]) + b"".join(bytes([ASK, 0]) + info(0, 101 + 2 * i, 100) + edid() for i in range(5)),
    "late-edid": bytes([BOTH]) + info() + frame(PIXELS | KNOWN) + info() + edid() + bytes([ASK, 0]) + info(0, 0, 0),
    "wrong-edids": bytes([BOTH]) + b"".join(info(0, 641 + 2 * i, 480) + edid(*row) for i, row in enumerate(
        ((1, 0, 0, b"\x01\x00"), (2, 0, 0, b"\x00\x12"), (0, 126, 1), (4, 126, 1), (0, 0, 1)))),
    "captures": bytes([BOTH | UNPACED]) + info() + edid() + frame(BUFFER | KNOWN) + bytes([CAPTURE, 0]) + frame(PIXELS | KNOWN) + info() + bytes([CAPTURE, 0]),
    "cursor": bytes([BOTH]) + info() + bytes([CURSOR]) + frame(PIXELS) + bytes([CURSOR]),
    "moves": bytes([BOTH | UNPACED]) + info() + edid() + (frame(PIXELS | KNOWN) + bytes([MOVE, 0])) * 4 + info() * 2,
    "silent": bytes([BOTH | UNPACED]) + info() + edid() + frame(PIXELS | KNOWN) * 8,
    "mute": bytes([UNASKED]) + frame(PIXELS | KNOWN) + bytes([ASK, 0, CAPTURE, 0]),
    "features-late": bytes([UNASKED]) + frame(PIXELS | KNOWN) + bytes([FEATURES, 3]) + info() + edid() + info(),
    "not-asked": bytes([BOTH]) + bytes([UPDATED]),
    "request": bytes([BOTH]) + reply(3, bytes(408), 0),
    "short": bytes([BOTH]) + reply(3, bytes(400)),
    "unknown": bytes([BOTH]) + reply(99, b""),
    "huge": bytes([BOTH]) + raw(struct.pack("<III", 3, 4, 0xFFFFFFFF)),
    "pieces": bytes([BOTH]) + raw(struct.pack("<II", 3, 4)) + raw(struct.pack("<I", 408) + bytes(100)) + raw(bytes(308)) + frame(PIXELS | KNOWN),
    "fds": bytes([BOTH]) + raw(struct.pack("<III", 3, 4, 408), 0x1F) + raw(bytes(408), 3) + frame(PIXELS | KNOWN),
}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
