#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of fuzz_gpu (its step format is described there) into the folder given as argument."""
import pathlib
import struct
import sys

OK_ROOM = 255


def step(what, body=b"", room=OK_ROOM):
    return struct.pack("<BBH", what, room, len(body)) + body


def command(kind, body=b"", flags=0, fence=0, ctx=0, ring=0):
    return struct.pack("<IIQII", kind, flags, fence, ctx, ring) + body


def rect(x, y, w, h):
    return struct.pack("<IIII", x, y, w, h)


def entries(*list_of):
    return b"".join(struct.pack("<QII", address, length, 0) for address, length in list_of)


def create_2d(resource, fmt=2, w=64, h=64):
    return command(0x101, struct.pack("<IIII", resource, fmt, w, h))


def attach(resource, *list_of):
    return command(0x106, struct.pack("<II", resource, len(list_of)) + entries(*list_of))


def detach(resource):
    return command(0x107, struct.pack("<II", resource, 0), 1, 9)


def transfer(resource, x, y, w, h, offset=0):
    return command(0x105, rect(x, y, w, h) + struct.pack("<QII", offset, resource, 0))


def set_scanout(scanout, resource, x, y, w, h):
    return command(0x103, rect(x, y, w, h) + struct.pack("<II", scanout, resource))


def flush(resource, x, y, w, h, fence=1):
    return command(0x104, rect(x, y, w, h) + struct.pack("<II", resource, 0), 1 if fence else 0, fence)


def create_blob(resource, size, *list_of):
    return command(0x10C, struct.pack("<IIIIQQ", resource, 1, 2, len(list_of), 0, size) + entries(*list_of))


def set_scanout_blob(scanout, resource, w, h, stride, offset=0, fmt=2, r=None):
    body = rect(*(r or (0, 0, w, h))) + struct.pack("<IIIIII", scanout, resource, w, h, fmt, 0)
    return command(0x10D, body + struct.pack("<4I4I", stride, 0, 0, 0, offset, 0, 0, 0))


def unref(resource):
    return command(0x102, struct.pack("<II", resource, 0))


def cursor(kind, resource, x=5, y=6):
    return command(kind, struct.pack("<IIII", 0, x, y, 0) + struct.pack("<IIII", resource, 1, 2, 0))


# ---- 3D ----

FENCE, RING = 1, 2  # flags


def ctx_create(ctx, init=0, name=b"fuzz"):
    return command(0x200, struct.pack("<II64s", len(name), init, name), ctx=ctx)


def ctx_destroy(ctx):
    return command(0x201, ctx=ctx)


def ctx_attach(ctx, resource):
    return command(0x202, struct.pack("<II", resource, 0), ctx=ctx)


def ctx_detach(ctx, resource):
    return command(0x203, struct.pack("<II", resource, 0), ctx=ctx)


def create_3d(resource, fmt=2, w=64, h=64, target=2, bind=1 << 1 | 1 << 3 | 1 << 18, levels=0, flags=1, depth=1, layers=1):
    return command(0x204, struct.pack("<12I", resource, target, fmt, bind, w, h, depth, layers, levels, 0, flags, 0))


def transfer_3d(kind, resource, box, offset=0, level=0, stride=0, layer_stride=0, ctx=0, flags=0, fence=0):
    return command(kind, struct.pack("<6IQ4I", *box, offset, resource, level, stride, layer_stride), flags, fence, ctx)


def to_host(resource, *box, **more):
    return transfer_3d(0x205, resource, box or (0, 0, 0, 64, 64, 1), **more)


def from_host(resource, *box, **more):
    return transfer_3d(0x206, resource, box or (0, 0, 0, 64, 64, 1), **more)


def submit(ctx, words, flags=0, fence=0, ring=0, size=None):
    stream = struct.pack(f"<{len(words)}I", *words)
    return command(0x207, struct.pack("<II", len(stream) if size is None else size, 0) + stream, flags, fence, ctx, ring)


def create_host_blob(resource, mem, flags, size, blob_id, *list_of, ctx=0):
    body = struct.pack("<IIIIQQ", resource, mem, flags, len(list_of), blob_id, size) + entries(*list_of)
    return command(0x10C, body, ctx=ctx)


def map_blob(resource, offset=0):
    return command(0x208, struct.pack("<IIQ", resource, 0, offset))


def unmap_blob(resource):
    return command(0x209, struct.pack("<II", resource, 0))


def toggle(number):
    return step(3 | number << 3)


BAR0, BAR2 = 0xFE000000, 0x800000000
PIXELS = step(6 | 2 << 3)
DMABUFS = step(6 | 1 << 3)
TIME = [step(5)] * 3
SHUFFLED = [step(0, create_blob(1, 16384, *((BAR0 + page * 4096, 4096) for page in (9, 3, 7, 1)))), step(0, set_scanout_blob(0, 1, 64, 64, 256))]
WINDOW = [step(0, create_blob(1, 16384, (BAR2 + 0x5000, 16384))), step(0, set_scanout_blob(0, 1, 64, 64, 256))]
FLUSH = [step(0, flush(1, 0, 0, 64, 64))] + TIME
KILLED = step(7 | 1 << 3, struct.pack("<Q", 15))
BLOB = [step(0, create_blob(1, 16384, (0, 8192), (65536, 8192))), step(0, set_scanout_blob(0, 1, 64, 64, 256))]
IMAGE = [step(0, create_2d(1)), step(0, attach(1, (4096, 16384))), step(0, transfer(1, 0, 0, 64, 64)), step(0, set_scanout(0, 1, 0, 0, 64, 64))]


THREE_D = step(7, struct.pack("<Q", 0x1F))
ANSWERS_LATER, RENDERER_FAILS, RENDERER_ANSWERS, RENDERER_LOST, EXPORTS = map(toggle, range(9, 14))
CLEAR = [7 | 8 << 16, 4, 0x3E800000, 0x3F000000, 0x3F400000, 0x3F800000, 0, 0, 0]
CONTEXT = [THREE_D, step(0, ctx_create(1, 2))]
DRAWN = CONTEXT + [step(0, create_3d(1)), step(0, attach(1, (4096, 16384))), step(0, ctx_attach(1, 1))]
SHOWN = DRAWN + [step(0, set_scanout(0, 1, 0, 0, 64, 64)), step(0, submit(1, CLEAR, FENCE, 1)), step(0, flush(1, 0, 0, 64, 64, 2))]

SEEDS = {
    "info": [step(0, command(0x100)), step(0, command(0x10A, struct.pack("<II", 0, 0))), step(0, command(0x10A, struct.pack("<II", 7, 0)))],
    "2d": IMAGE + [step(0, flush(1, 0, 0, 64, 64)), step(5)],
    "2d-pixels": [PIXELS] + IMAGE + [step(0, flush(1, 3, 4, 5, 6)), step(5), step(0, flush(1, 0, 0, 64, 64, 0)), step(5)],
    "blob": BLOB + [step(0, flush(1, 0, 0, 64, 64)), step(5)],
    "blob-pixels": [PIXELS] + BLOB + [step(0, flush(1, 0, 0, 64, 64)), step(5), step(2), step(5)],
    "blob-rect": [PIXELS, BLOB[0], step(0, set_scanout_blob(1, 1, 32, 32, 200, 100, 134, (8, 8, 16, 16))), step(0, flush(1, 0, 0, 32, 32)), step(5)],
    "blob-too-small": [BLOB[0], step(0, set_scanout_blob(0, 1, 64, 65, 256)), step(0, set_scanout_blob(0, 1, 64, 64, 0xFFFFFFFF))],
    "entries-nowhere": [step(0, create_blob(1, 4096, (1 << 40, 4096))), step(0, create_blob(1, 4096, (2**64 - 4096, 8192))), step(0, create_blob(1, 8192, (0, 4096)))],
    "late-backing": [step(0, create_blob(1, 4096)), step(0, attach(1, (0, 4096))), step(0, attach(1, (0, 4096))), step(0, detach(1)), step(0, detach(1))],
    "live-detach": [PIXELS] + BLOB + [step(0, flush(1, 0, 0, 64, 64)), step(0, detach(1)), step(0, flush(1, 0, 0, 64, 64)), step(0, attach(1, (0, 16384))), step(0, flush(1, 0, 0, 64, 64)), step(5)],
    "memory-goes": [PIXELS] + BLOB + [step(0, flush(1, 0, 0, 64, 64)), step(3), step(2), step(3), step(2), step(5)],
    "unref-shown": [PIXELS] + BLOB + [step(0, unref(1)), step(0, unref(1)), step(0, flush(1, 0, 0, 1, 1)), step(5)],
    "cursor": [step(0, create_2d(2, 1)), step(0, attach(2, (0, 16384))), step(1, cursor(0x300, 2), 0), step(1, cursor(0x301, 2, 9, 9), 3), step(1, cursor(0x300, 0), 0)],
    "cursor-blob": [step(0, create_blob(3, 16384, (0, 16384))), step(1, cursor(0x300, 3), 0), step(3), step(1, cursor(0x300, 3), 0)],
    "uuid": [BLOB[0], step(0, command(0x10B, struct.pack("<II", 1, 0))), step(2), step(0, command(0x10B, struct.pack("<II", 2, 0)))],
    "queue-reset": BLOB + [step(0, flush(1, 0, 0, 64, 64)), step(4), step(0, flush(1, 0, 0, 64, 64)), step(4 | 8)],
    "bar": [DMABUFS] + SHUFFLED + FLUSH + FLUSH,
    "bar-window": [DMABUFS, toggle(4)] + WINDOW + FLUSH + [toggle(4)] + TIME + FLUSH,
    "bar-fetched": [PIXELS] + SHUFFLED + FLUSH,
    "bar-mixed": [DMABUFS, step(0, create_blob(1, 16384, (0, 8192), (BAR0, 8192))), SHUFFLED[1]] + FLUSH,
    "bar-unaligned": [DMABUFS, step(0, create_blob(1, 16384, (BAR0 + 16, 8192), (BAR0, 8192))), SHUFFLED[1]] + FLUSH,
    "bar-two-bars": [DMABUFS, step(0, create_blob(1, 16384, (BAR0, 8192), (BAR2, 8192))), SHUFFLED[1]] + FLUSH,
    "bar-beyond": [step(0, create_blob(1, 16384, (BAR2 + (64 << 20) - 8192, 16384)))],
    "bar-unmapped": [DMABUFS] + SHUFFLED + FLUSH + [toggle(1)] + FLUSH + [toggle(1)] + FLUSH,
    "bar-not-decoded": [DMABUFS, toggle(3)] + SHUFFLED + FLUSH + [toggle(3)] + FLUSH,
    "bar-detached": [DMABUFS] + SHUFFLED + [step(0, flush(1, 0, 0, 64, 64)), step(0, detach(1))] + TIME + [step(0, attach(1, (BAR2, 16384)))] + FLUSH,
    "bar-export-fails": [DMABUFS, toggle(5)] + SHUFFLED + FLUSH + [toggle(5), step(5 | 2 << 3)] + FLUSH,
    "bar-import-fails": [DMABUFS, toggle(6)] + WINDOW + FLUSH + [step(5 | 2 << 3)] + FLUSH + [toggle(6), step(5 | 31 << 3)] + FLUSH,
    "bar-import-revoked": [DMABUFS, toggle(7)] + SHUFFLED + FLUSH + [toggle(7)] + FLUSH,
    "bar-other-display": [DMABUFS, toggle(6)] + SHUFFLED + FLUSH + [toggle(6), toggle(8)] + TIME,
    "vmm-dies": [PIXELS] + BLOB + FLUSH + [step(0, flush(1, 0, 0, 64, 64)), KILLED] + BLOB + FLUSH + [KILLED],
    "vmm-dies-unread": BLOB + [step(0, flush(1, 0, 0, 64, 64)), KILLED, DMABUFS] + SHUFFLED + FLUSH + [KILLED],
    "vmm-dies-2d": [DMABUFS] + IMAGE + FLUSH + [KILLED, toggle(8)] + TIME + IMAGE + FLUSH,
    "vmm-dies-revoked": [DMABUFS] + SHUFFLED + FLUSH + [toggle(1)] + FLUSH + [KILLED] + SHUFFLED + FLUSH,
    "no-blob": [step(7, struct.pack("<Q", 2))] + BLOB,
    "short": [step(0, command(0x10C)[:20]), step(0, command(0x103)), step(0, b"")],
    "no-room": [step(0, command(0x100), 0), step(0, command(0x100), 3), step(0, command(0x100), 2)],
    "3d-capsets": [THREE_D] + [step(0, command(0x108, struct.pack("<II", i, 0))) for i in range(4)]
    + [step(0, command(0x109, struct.pack("<II", i, v))) for i, v in ((1, 1), (2, 2), (2, 0), (2, 9), (7, 0))],
    "3d-contexts": CONTEXT + [step(0, ctx_create(1)), step(0, ctx_create(0)), step(0, ctx_create(2, 9)), step(0, ctx_create(3, 0, b"n" * 64)),
                              step(0, ctx_destroy(3)), step(0, ctx_destroy(3)), step(0, ctx_destroy(1))],
    "3d-resources": CONTEXT + [step(0, create_3d(1)), step(0, create_3d(1)), step(0, create_3d(0)), step(0, create_3d(2, 67, 16384, 16384)),
                               step(0, create_3d(3, 64, 4096, 1, 0, 1 << 4)), step(0, create_3d(4, 67, 64, 64, 2, 8, 6)),
                               step(0, create_3d(5, 67, 32, 32, 3, 8, 0, 0, 32)), step(0, unref(1)), step(0, unref(4))],
    "3d-attach": DRAWN + [step(0, ctx_attach(1, 1)), step(0, ctx_attach(1, 9)), step(0, ctx_attach(9, 1)), step(0, ctx_detach(1, 1)),
                          step(0, ctx_detach(1, 1)), step(0, unref(1)), step(0, ctx_destroy(1))],
    "3d-twin": CONTEXT + IMAGE + [step(0, ctx_attach(1, 1)), step(0, transfer(1, 3, 4, 5, 6)), step(0, submit(1, CLEAR)), step(0, flush(1, 0, 0, 64, 64)),
                                  step(0, ctx_detach(1, 1)), step(0, unref(1))] + TIME,
    "3d-transfers": DRAWN + [step(0, to_host(1, ctx=1, flags=FENCE, fence=1)), step(0, from_host(1, ctx=1)), step(0, to_host(1, 3, 4, 0, 5, 6, 1, stride=256)),
                             step(0, to_host(1, 0, 0, 0, 65, 64, 1)), step(0, to_host(1, offset=16000)), step(0, from_host(1, 0, 0, 0, 0, 0, 0)),
                             step(0, to_host(1, 63, 63, 0, 1, 1, 1, offset=2**64 - 4)), step(0, from_host(1, level=3, layer_stride=0xFFFFFFFF))],
    "3d-submit": DRAWN + [step(0, submit(1, CLEAR, FENCE, 5)), step(0, submit(1, CLEAR, size=4)), step(0, submit(1, CLEAR, size=0x7FFFFFFF)),
                          step(0, submit(1, CLEAR, size=37)), step(0, submit(1, [])), step(0, submit(9, CLEAR)), step(0, submit(1, [0xDEADBEEF]))],
    "3d-shown": SHOWN + TIME + [step(0, submit(1, CLEAR)), step(0, flush(1, 5, 6, 7, 8)), PIXELS] + FLUSH,
    "3d-shown-texture": [DMABUFS] + SHOWN + TIME + [step(0, flush(1, 0, 0, 64, 64))] + TIME + [step(0, unref(1))] + TIME,
    "3d-shown-refused": [DMABUFS, toggle(6)] + SHOWN + TIME + [toggle(6)] + FLUSH,
    "3d-exports": [DMABUFS, EXPORTS] + SHOWN + TIME + [EXPORTS] + FLUSH + [toggle(8)] + FLUSH,
    "3d-cursor": DRAWN + [step(0, submit(1, CLEAR)), step(1, cursor(0x300, 1), 0), step(1, cursor(0x301, 1, 9, 9), 3), step(0, unref(1))] + TIME,
    "3d-rings": CONTEXT + [step(0, submit(1, [], FENCE | RING, 7, 1)), step(0, submit(1, [], FENCE | RING, 3, 63)), step(0, submit(1, [], FENCE | RING, 3, 64)),
                           step(0, submit(1, [], FENCE, 9))] + TIME,
    "3d-later": DRAWN[:2] + [ANSWERS_LATER] + DRAWN[2:] + [step(0, submit(1, CLEAR, FENCE, 1)), RENDERER_ANSWERS] * 3
    + [step(0, from_host(1, ctx=1, flags=FENCE, fence=2)), RENDERER_ANSWERS, step(0, detach(1)), step(0, unref(1)), RENDERER_ANSWERS],
    "3d-later-shown": [ANSWERS_LATER] + SHOWN[:1] + sum(([s, RENDERER_ANSWERS] for s in SHOWN[1:]), []) + FLUSH + [RENDERER_ANSWERS] * 4 + TIME,
    "3d-later-reset": [ANSWERS_LATER] + DRAWN[:3] + [step(4), THREE_D] + DRAWN[1:] + [step(7, struct.pack("<Q", 15)), RENDERER_ANSWERS],
    "3d-later-memory-goes": [ANSWERS_LATER] + sum(([s, RENDERER_ANSWERS] for s in DRAWN), []) + [step(0, to_host(1)), toggle(0), RENDERER_ANSWERS, toggle(0)] + FLUSH,
    "3d-memory-goes": SHOWN + [toggle(0), step(0, to_host(1)), step(0, submit(1, CLEAR)), toggle(0), step(0, to_host(1))] + FLUSH,
    "3d-device-memory": CONTEXT + [step(0, create_3d(1)), step(0, attach(1, (BAR2, 16384))), step(0, to_host(1)), step(0, detach(1)),
                                   step(0, attach(1, (BAR0, 16384))), step(0, to_host(1))],
    "3d-fails": CONTEXT + sum(([RENDERER_FAILS, s, s] for s in DRAWN[2:] + [step(0, submit(1, CLEAR, FENCE, 1)), step(0, to_host(1)), step(0, detach(1))]), []),
    "3d-lost": SHOWN + [RENDERER_LOST] + FLUSH + [step(0, submit(1, CLEAR, FENCE, 3)), step(0, ctx_destroy(1)), step(0, unref(1))] + SHOWN[1:] + FLUSH,
    "3d-lost-later": [ANSWERS_LATER] + DRAWN[:3] + [RENDERER_LOST, RENDERER_ANSWERS] + SHOWN[1:] + [RENDERER_ANSWERS, RENDERER_LOST] + FLUSH,
    "3d-blob-host": CONTEXT + [step(0, create_host_blob(1, 2, 1, 16384, 5, ctx=1)), step(0, map_blob(1)), step(0, map_blob(1, 4096)), step(0, unmap_blob(1)),
                               step(0, unmap_blob(1)), step(0, set_scanout_blob(0, 1, 64, 64, 256))] + FLUSH + [step(0, unref(1))],
    "3d-blob-host-guest": CONTEXT + [step(0, create_host_blob(1, 3, 3, 16384, 6, (0, 8192), (65536, 8192), ctx=1)), step(0, ctx_attach(1, 1)),
                                     step(0, detach(1)), step(0, attach(1, (0, 16384))), step(0, unref(1))],
    "3d-blob-guest": CONTEXT + BLOB + [step(0, ctx_attach(1, 1)), step(0, submit(1, CLEAR)), step(0, detach(1)), step(0, ctx_detach(1, 1))],
    "3d-vmm-dies": SHOWN + [KILLED] + SHOWN + FLUSH + [KILLED],
    "3d-not-offered": [step(0, ctx_create(1)), step(0, create_3d(1)), step(0, submit(1, CLEAR)), step(0, to_host(1)), step(0, map_blob(1))],
    "3d": [step(0, command(kind, bytes(64))) for kind in (0x108, 0x109, 0x200, 0x207, 0x208)],
}

target = pathlib.Path(sys.argv[1])
target.mkdir(parents=True, exist_ok=True)
for name, steps in SEEDS.items():
    (target / name).write_bytes(b"".join(steps))
