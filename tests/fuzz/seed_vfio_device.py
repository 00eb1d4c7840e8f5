#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the hand-made inputs of fuzz_vfio_device into a folder: python3 seed_vfio_device.py corpus/vfio_device"""

import os
import struct
import sys

MEMORY, SHORT, PIPE, EVENT, NULL, NO_FD, SEALED = range(7)
FOREIGN, UDMABUF = 1, 2
PCI, RESET = 2, 1
READ, WRITE, MMAP, CAPS = 1, 2, 4, 8
OK, ENOTTY, EINVAL, EOPNOTSUPP, EIO, ENODEV = range(6)
HEADER, RANGES, IOVECS, ENTRIES, MAPPING, UNREADABLE = range(6)
MIB, PAGE = 1 << 20, 4096


def region(index, size=0, flags=READ | WRITE, caps=b'', fd=NO_FD, offset=0, cap_offset=32, argsz=None):
    argsz = 32 + len(caps) if argsz is None else argsz
    body = struct.pack('<IIIIQQ', argsz, flags | (CAPS if caps else 0), index, cap_offset if caps else 0, size, offset) + caps
    return struct.pack('<BH', fd, len(body)) + body


def sparse(*areas, next_cap=0, count=None, cap=1):
    count = len(areas) if count is None else count
    return struct.pack('<HHIII', cap, 1, next_cap, count, 0) + b''.join(struct.pack('<QQ', *area) for area in areas)


def space(bars=(0xfe000000, 0, 0xc, 8, 0, 0), command=2, kind=0):
    header = bytearray(64)
    struct.pack_into('<HHH', header, 0, 0x1b36, 1, command)
    header[0x0e] = kind
    struct.pack_into('<6I', header, 0x10, *bars)
    return bytes(header)


def device(bar0, bar2, *steps, flags=0, info=PCI | RESET, regions=9, probe=OK, get=OK, config=None, header=None):
    config = region(7, 256, fd=NO_FD) if config is None else config
    start = bytes([flags, info, regions, probe, get])
    none = [region(i) for i in (1, 3, 4, 5)]
    return start + bar0 + none[0] + bar2 + b''.join(none[1:]) + config + (space() if header is None else header) + b''.join(steps)


def number(pages=0, base=0, odd=None):
    return struct.pack('<BH', base | (0 if odd is None else 8), pages) + (b'' if odd is None else bytes([odd]))


def ranges(*items):
    return bytes([RANGES, len(items)]) + b''.join(bytes([bar]) + offset + length for bar, offset, length in items)


def entries(bar, *items):
    return bytes([ENTRIES, len(items), bar]) + b''.join(address + length for address, length in items)


def iovecs(*items):
    return bytes([IOVECS, len(items)]) + b''.join(address + length for address, length in items)


def mapping(bar, offset, host, size):
    return bytes([MAPPING, bar]) + offset + host + size


def header(**how):
    return bytes([HEADER]) + space(**how)


BAR0 = region(0, MIB, READ | WRITE | MMAP, fd=MEMORY)
BAR2 = region(2, MIB, READ | WRITE | MMAP, fd=MEMORY)
PLENTY = ranges((2, number(4), number(2)), (2, number(0), number(3)), (2, number(3), number(1, odd=5)))
USE = (PLENTY, entries(2, (number(8), number(1)), (number(2), number(2))), mapping(2, number(0), number(16, 2), number(16)),
       iovecs((number(18, 2), number(1)), (number(16, 2), number(1))))


def sealed(**how):
    return region(2, MIB, READ | WRITE | MMAP, fd=SEALED, **how)


def areas(caps, **how):
    return device(BAR0, region(2, MIB, READ | WRITE | MMAP, caps, SEALED, **how), *USE, flags=FOREIGN | UDMABUF, probe=EINVAL)


SEEDS = {
    'kernel': device(BAR0, BAR2, *USE),
    'kernel-without': device(BAR0, BAR2, *USE, probe=ENOTTY),
    'driver-that-does-not': device(BAR0, BAR2, *USE, *USE, get=EOPNOTSUPP),
    'revoked': device(BAR0, BAR2, *USE, header(command=0), *USE, get=ENODEV),
    'moves': device(BAR0, BAR2, *USE, header(bars=(0xfd000000, 0, 0x1000000c, 9, 0, 0)), *USE, bytes([UNREADABLE]), *USE),
    'sized': device(BAR0, BAR2, header(bars=(0xfff00000, 0, 0xfff0000c, 0xffffffff, 0, 0)), *USE),
    'bridge': device(BAR0, BAR2, header(kind=1), header(kind=0x7f), *USE),
    'io': device(BAR0, BAR2, header(bars=(0xc001, 0, 0xc, 8, 0, 4)), *USE),
    'user': device(region(0, 16384), sealed(), *USE, flags=FOREIGN | UDMABUF, probe=EINVAL),
    'user-without-udmabuf': device(region(0, 16384), sealed(), *USE, flags=FOREIGN, probe=EINVAL),
    'user-file': device(region(0, 16384), BAR2, *USE, flags=FOREIGN | UDMABUF, probe=EINVAL),
    'user-messages': device(region(0, 16384), region(2, MIB), *USE, flags=FOREIGN | UDMABUF, probe=EINVAL),
    'user-dmabufs': device(region(0, 16384), sealed(), *USE, flags=FOREIGN | UDMABUF),
    'user-drops-dmabufs': device(region(0, 16384), sealed(), *USE, *USE, flags=FOREIGN | UDMABUF, get=EOPNOTSUPP),
    'fd-short': device(BAR0, region(2, MIB, 7, fd=SHORT), flags=FOREIGN),
    'fd-pipe': device(BAR0, region(2, MIB, 7, fd=PIPE), flags=FOREIGN),
    'fd-event': device(BAR0, region(2, MIB, 7, fd=EVENT), *USE, flags=FOREIGN),
    'fd-null': device(BAR0, region(2, MIB, 7, fd=NULL), *USE, flags=FOREIGN),
    'fd-none': device(BAR0, region(2, MIB, 7), flags=FOREIGN),
    'offset': device(BAR0, sealed(offset=PAGE), flags=FOREIGN),
    'offset-fits': device(BAR0, region(2, MIB // 2, 7, fd=SEALED, offset=MIB // 2), *USE, flags=FOREIGN | UDMABUF, probe=EINVAL),
    'offset-odd': device(BAR0, region(2, MIB // 2, 7, fd=SEALED, offset=100), *USE, flags=FOREIGN | UDMABUF),
    'offset-wraps': device(BAR0, sealed(offset=(1 << 64) - PAGE), flags=FOREIGN),
    'huge': device(BAR0, region(2, (1 << 63) - 1), *USE),
    'too-huge': device(BAR0, region(2, 1 << 63), *USE),
    'sparse': areas(sparse((0, PAGE), (2 * PAGE, 8 * PAGE))),
    'sparse-kernel': device(BAR0, region(2, MIB, 7, sparse((0, 4 * PAGE), (8 * PAGE, 8 * PAGE))), *USE),
    'sparse-touching': areas(sparse((4 * PAGE, 4 * PAGE), (0, 4 * PAGE))),
    'sparse-odd': areas(sparse((100, 3 * PAGE))),
    'sparse-empty': areas(sparse((0, 0), (PAGE, 0))),
    'sparse-none': areas(sparse()),
    'sparse-beyond': areas(sparse((MIB - PAGE, 2 * PAGE))),
    'sparse-wraps': areas(sparse(((1 << 64) - PAGE, 2 * PAGE))),
    'sparse-overlap': areas(sparse((0, 2 * PAGE), (PAGE, 2 * PAGE))),
    'sparse-count': areas(sparse((0, PAGE), count=0xffffffff)),
    'chain': areas(struct.pack('<HHI', 7, 1, 40) + sparse((0, PAGE))),
    'chain-backwards': areas(sparse((0, PAGE)) + struct.pack('<HHI', 7, 1, 32), cap_offset=64),
    'chain-loop': areas(struct.pack('<HHI', 7, 1, 32)),
    'chain-of-two': areas(struct.pack('<HHI', 7, 1, 40) + struct.pack('<HHI', 8, 1, 32)),
    'chain-twice': areas(sparse((0, PAGE), next_cap=64) + sparse((PAGE, PAGE))),
    'chain-beyond': areas(sparse((0, PAGE), next_cap=0xfffffff8)),
    'chain-in-header': areas(sparse((0, PAGE)), cap_offset=8),
    'argsz-small': device(BAR0, region(2, MIB, argsz=31)),
    'argsz-large': device(BAR0, region(2, MIB, argsz=0xffffffff)),
    'argsz-grows': device(BAR0, region(2, MIB, argsz=65536)),
    'other-index': device(BAR0, region(3, MIB)),
    'short-answer': device(BAR0, struct.pack('<BH', NO_FD, 8) + bytes(8)),
    'no-pci': device(BAR0, BAR2, info=RESET),
    'few-regions': device(BAR0, BAR2, regions=7),
    'no-vfio': device(BAR0, BAR2, info=0xff),
    'config-not-readable': device(BAR0, BAR2, *USE, config=region(7, 256, 0)),
    'config-short': device(BAR0, BAR2, *USE, config=region(7, 63)),
    'wrong-ranges': device(
        BAR0, BAR2, ranges((2, number(0), number(0))), ranges((2, number(0, odd=1), number(1))), ranges((6, number(0), number(1))),
        ranges((2, number(255), number(2))), ranges((2, number(0, 4), number(2))), ranges((0, number(0), number(1)), (2, number(0), number(1))),
        ranges(), ranges((1, number(0), number(1))), entries(2, (number(0, 4), number(1))), iovecs((number(0), number(1))),
    ),
    'mappings': device(
        BAR0, BAR2, mapping(2, number(0), number(16, 2), number(4)), mapping(2, number(4), number(20, 2), number(4)),
        mapping(2, number(0), number(18, 2), number(4)), mapping(0, number(0), number(1, 4), number(4)), mapping(7, number(0), number(0), number(1)),
        iovecs((number(16, 2), number(8))), iovecs((number(23, 2), number(2))), iovecs((number(19, 2), number(2)), (number(16, 2), number(1))),
    ),
}


def main(folder):
    os.makedirs(folder, exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(folder, name), 'wb') as file:
            file.write(data)


if __name__ == '__main__':
    main(*sys.argv[1:])
