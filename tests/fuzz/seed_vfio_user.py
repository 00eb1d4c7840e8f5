#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the hand-made inputs of fuzz_vfio_user_server and fuzz_vfio_user_client: python3 seed_vfio_user.py corpus"""

import os
import struct
import sys

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET = range(1, 14)
WRITE_MULTI, FEATURE, MIG_READ, MIG_WRITE = range(15, 19)
MEMORY, SHORT, PIPE, EVENT, NULL = range(5)
NO_REPLY, ERROR = 0x10, 0x20
JSON = b'{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"write_multiple":true}}\0'


def fds(count, kind):
    return count | kind << 5


def message(step, command, body=b'', flags=0, which=0):
    return struct.pack('<BBBBH', step, command, flags, which, len(body)) + body


def raw(data, which=0):
    return struct.pack('<BBH', 0, which, len(data)) + data


# ---- the server's inputs: RAW, COMMAND, REPLY, DURING, DISPATCH, POKE, GATHER

STEPS = 7


def command(number, body=b'', **how):
    return message(1, number, body, **how)


def answer(number, body=b'', later=0, **how):
    """later: to which request after the next one."""
    return message(2 + later * STEPS, number, body, **how)


def during(*messages):
    return struct.pack('<BH', 3, sum(map(len, messages))) + b''.join(messages)


DISPATCH = b'\4'


def poke(offset, data):
    return struct.pack('<BHH', 5, offset, len(data)) + data


def hello(data=JSON):
    return command(VERSION, struct.pack('<HH', 0, 1) + data) + DISPATCH


def dma_map(address, size, which=fds(1, MEMORY), flags=3):
    return command(DMA_MAP, struct.pack('<IIQQQ', 32, flags, 0, address, size), which=which)


def dma_unmap(address, size, flags=0):
    return command(DMA_UNMAP, struct.pack('<IIQQ', 24, flags, address, size))


def write(offset, data, region=4, flags=NO_REPLY):
    return command(REGION_WRITE, struct.pack('<QII', offset, region, len(data)) + data, flags=flags)


def read(offset, count, region=4):
    return command(REGION_READ, struct.pack('<QII', offset, region, count))


def set_irqs(flags, index, start, count, data=b'', which=0):
    return command(SET_IRQS, struct.pack('<IIIII', 20 + len(data), flags, index, start, count) + data, which=which)


def live(ring=0x1000):
    common = [(20, 'B', 1), (20, 'B', 3), (8, 'I', 1), (12, 'I', 1), (20, 'B', 11), (22, 'H', 0), (24, 'H', 16), (26, 'H', 1)]
    common += [(32, 'Q', ring), (40, 'Q', ring + 0x400), (48, 'Q', ring + 0x800), (28, 'H', 1), (20, 'B', 15)]
    return b''.join(write(offset, struct.pack('<' + form, value)) for offset, form, value in common) + DISPATCH


def chain(out, inn):
    table = struct.pack('<QIHHQIHH', out, 8, 1, 1, inn, 16, 2, 0)
    return poke(0x1000, table) + poke(0x1400, struct.pack('<HHH', 0, 1, 0)) + write(0x3000, b'\0\0') + DISPATCH


REMOTE = 0x100000
ACCESS = struct.pack('<QQ', REMOTE, 8)
REMOTE_MEMORY = hello() + dma_map(0, 0x10000) + dma_map(REMOTE, 0x1000, 0) + live()


def remote_read(*messages):
    """A chain whose readable part is remote, and what the client sends while the device waits for it."""
    return REMOTE_MEMORY + during(*messages) + chain(REMOTE, 0x5000) + DISPATCH * 3


def gather(pieces, *messages):
    """Pieces (offset, length) of remote memory, and what the client sends while the device waits for them."""
    return (hello() + dma_map(REMOTE, 0x10000, 0) + DISPATCH * 2 + during(*messages) + bytes([6, len(pieces)])
            + b''.join(struct.pack('<IH', REMOTE + offset, length) for offset, length in pieces) + DISPATCH)


def fetched(offset, length, later):
    return answer(DMA_READ, struct.pack('<QQ', REMOTE + offset, length) + bytes(length), later)


FAR = [(0x8000, 8), (0, 16), (0x4000, 12)]

SERVER = {
    'information': hello()
    + command(GET_INFO, struct.pack('<IIII', 16, 0, 0, 0))
    + b''.join(command(REGION_INFO, struct.pack('<IIIIQQ', 32, 0, i, 0, 0, 0)) for i in range(10))
    + b''.join(command(IRQ_INFO, struct.pack('<IIII', 16, 0, i, 0)) for i in range(6))
    + command(IO_FDS, struct.pack('<IIII', 16, 0, 4, 0))
    + command(FEATURE, struct.pack('<II', 8, 0x10001))
    + command(MIG_READ) + command(MIG_WRITE) + command(RESET) + command(99),
    'no-version': command(GET_INFO, bytes(16)),
    'bad-version': hello(b'{"capabilities":3}\0'),
    'no-data': hello(b''),
    'memory': hello() + dma_map(0, 0x10000) + dma_map(0x8000, 0x10000) + dma_map(0x20000, 0x1000, 0) + dma_unmap(0, 0x1000)
    + dma_unmap(0, 0x30000) + dma_map(0, 0x1000, fds(1, PIPE)) + dma_map(0, 100, fds(1, SHORT)) + dma_unmap(0, 0, 2),
    'irqs': hello() + set_irqs(0x24, 2, 0, 3, which=fds(3, EVENT)) + set_irqs(0x21, 2, 0, 3) + set_irqs(0x22, 2, 0, 3, b'\1\0\1')
    + set_irqs(0x09, 0, 0, 1) + set_irqs(0x14, 0, 0, 1, which=fds(1, EVENT)) + set_irqs(0x24, 2, 0, 3, which=fds(3, NULL))
    + set_irqs(0x21, 2, 0, 0),
    'accesses': hello() + read(0, 64) + write(0x2000, b'12345678', flags=0) + read(0x3fff, 2) + read(0, 256, 7)
    + command(WRITE_MULTI, struct.pack('<Q', 2) + struct.pack('<QII8s', 0x2000, 4, 4, b'abcd') * 2),
    'queue': hello() + dma_map(0, 0x10000) + set_irqs(0x24, 2, 0, 3, which=fds(3, EVENT)) + live() + chain(0x4000, 0x5000) + DISPATCH * 2,
    'remote': remote_read(answer(DMA_READ, ACCESS + b'12345678')),
    'remote-write': REMOTE_MEMORY + during(answer(DMA_WRITE, ACCESS)) + chain(0x4000, REMOTE) + DISPATCH * 3,
    'remote-write-header': REMOTE_MEMORY + during(answer(DMA_WRITE)) + chain(0x4000, REMOTE) + DISPATCH * 3,
    'remote-error': remote_read(answer(DMA_READ, flags=ERROR)),
    'remote-short': remote_read(answer(DMA_READ, ACCESS + b'123')),
    'remote-busy': remote_read(read(0, 4), write(0x3000, b'\0\0'), command(99), answer(DMA_READ, ACCESS + b'12345678')),
    'remote-unmap': remote_read(read(0, 4), dma_unmap(REMOTE, 0x1000), answer(DMA_READ, ACCESS + b'12345678')),
    'remote-reset': remote_read(write(0x3000, b'\0\0'), command(RESET), answer(DMA_READ, ACCESS + b'12345678')),
    'remote-status': remote_read(write(20, b'\0'), answer(DMA_READ, ACCESS + b'12345678')),
    'remote-multi': remote_read(
        command(WRITE_MULTI, struct.pack('<Q', 2) + struct.pack('<QII8s', 0x3000, 4, 2, b'') + struct.pack('<QII8s', 20, 4, 1, b'')),
    ),
    'remote-map': remote_read(dma_map(0x200000, 0x1000), answer(DMA_READ, ACCESS + b'12345678')),
    'remote-twice': remote_read(answer(DMA_READ, ACCESS + b'12345678') * 2),
    'remote-never': remote_read(),
    'remote-gone': remote_read(raw(struct.pack('<HHIII', 1, RESET, 3, 0, 0))),
    'remote-rings': hello() + dma_map(0, 0x10000, 0) + live() + during(answer(DMA_READ, ACCESS[:8])) + chain(0x4000, 0x5000) + DISPATCH * 2,
    'gather': gather(FAR, fetched(0, 16, 0), fetched(0x4000, 12, 1), fetched(0x8000, 8, 2)),
    'gather-backwards': gather(FAR, fetched(0x8000, 8, 2), fetched(0x4000, 12, 1), fetched(0, 16, 0)),
    'gather-close': gather([(64, 8), (32, 8), (0, 8)], fetched(0, 72, 0)),
    'gather-error': gather(FAR, answer(DMA_READ, later=1, flags=ERROR), fetched(0, 16, 0)),
    'gather-twice': gather(FAR, fetched(0x4000, 12, 1) * 2),
    'gather-unmap': gather(FAR, fetched(0x4000, 12, 1), dma_unmap(REMOTE, 0x10000), fetched(0, 16, 0)) + DISPATCH * 2,
    'gather-many': gather([(i * 0x800, 4) for i in range(20)], *(fetched(i * 0x800, 4, i) for i in range(8))),
    'too-many-fds': hello() + command(GET_INFO, bytes(16), which=fds(17, NULL)),
    'half': hello() + raw(struct.pack('<HHIII', 1, REGION_WRITE, 1000, 0, 0) + b'half', fds(2, NULL)),
    'sizes': raw(struct.pack('<HHIII', 1, VERSION, 3, 0, 0)),
}

# ---- the client's inputs: calls, then RAW, REPLY, COMMAND

INFO, REGION, IRQ, SET_IRQ, READ, WRITE, POST, MAP, UNMAP, RESET_CALL, SERVE, FEATURE_CALL, CORK, UNCORK = range(14)
SMALL_POST = 132  # 8 bytes, which can be collected
PROBE = struct.pack('<II', 8, 1 << 18 | 11)


def reply(number, body=b'', **how):
    return message(1, number, body, **how)


def raw_reply(id, number, body=b''):
    return raw(struct.pack('<HHIII', id, number, 16 + len(body), 1, 0) + body)


def request(number, address, count, data=b'', **how):
    return message(2, number, struct.pack('<QQ', address, count) + data, **how)


def session(calls, *messages, version=JSON):
    return bytes([len(calls)]) + bytes(calls) + reply(VERSION, struct.pack('<HH', 0, 1) + version) + b''.join(messages)


def region(caps=b'', flags=3, cap_offset=32, size=0x1000, which=0, argsz=None):
    argsz = 32 + len(caps) if argsz is None else argsz
    body = struct.pack('<IIIIQQ', argsz, flags | (8 if caps else 0), 4, cap_offset if caps else 0, size, 0)
    first = reply(REGION_INFO, body, which=which) if caps else b''
    return first + reply(REGION_INFO, body + caps, which=which)


def sparse(*areas, next_cap=0):
    return struct.pack('<HHIII', 1, 1, next_cap, len(areas), 0) + b''.join(struct.pack('<QQ', *area) for area in areas)


CLIENT = {
    'information': session(
        [INFO, REGION, IRQ, SET_IRQ, RESET_CALL],
        reply(GET_INFO, struct.pack('<IIII', 16, 3, 9, 5)), region(), reply(IRQ_INFO, struct.pack('<IIII', 16, 7, 2, 3)),
        reply(SET_IRQS), reply(RESET),
    ),
    'accesses': session(
        [READ, WRITE, POST, MAP, UNMAP],
        reply(REGION_READ, struct.pack('<QII', 0, 4, 16) + bytes(16)), reply(REGION_WRITE, struct.pack('<QII', 0, 4, 16)),
        reply(0), reply(DMA_MAP), reply(DMA_UNMAP, struct.pack('<IIQQ', 24, 0, 0, 4096)),
    ),
    'mappable': session([REGION], region(flags=7, which=fds(1, MEMORY))),
    'too-short': session([REGION], region(flags=7, which=fds(1, SHORT))),
    'pipe': session([REGION], region(flags=7, which=fds(1, PIPE))),
    'sparse': session([REGION, REGION], region(sparse((0, 0x100), (0x800, 0x100)), flags=7, which=fds(1, MEMORY)) * 2),
    'sparse-beyond': session([REGION], region(sparse((0x800, 0x801)), flags=7, which=fds(1, MEMORY))),
    'cap-loop': session([REGION], region(sparse((0, 0x100), next_cap=32), flags=7, which=fds(1, MEMORY))),
    'argsz': session([REGION], region(argsz=0xffffffff)),
    'requests': session(
        [RESET_CALL, SERVE],
        request(DMA_READ, 0, 64), request(DMA_WRITE, 8, 4, b'abcd'), request(DMA_READ, 4090, 64), request(GET_INFO, 0, 0),
        request(DMA_READ, 0, 1 << 33), request(DMA_WRITE, 0, 5, b'abcd', flags=NO_REPLY), reply(RESET),
        request(DMA_READ, 0, 4096), request(DMA_READ, 0, 4, which=fds(2, NULL)),
    ),
    'errors': session([INFO, IRQ, RESET_CALL], reply(GET_INFO, flags=ERROR), reply(IRQ_INFO, flags=ERROR), reply(RESET, b'x', flags=ERROR)),
    'feature': session([FEATURE_CALL] * 3, reply(FEATURE, PROBE), reply(FEATURE, PROBE, which=fds(1, MEMORY)), reply(FEATURE, flags=ERROR)),
    'feature-other': session([FEATURE_CALL], reply(FEATURE, bytes(8))),
    'collected': session(
        [CORK, SMALL_POST, SMALL_POST, READ, SMALL_POST, UNCORK, RESET_CALL],
        raw_reply(1, REGION_READ, struct.pack('<QII', 0, 4, 16) + bytes(16)), raw_reply(4, RESET),
    ),
    'no-capabilities': session([RESET_CALL], reply(RESET), version=b''),
    'bad-version': session([RESET_CALL], version=b'{"capabilities":[]}\0'),
    'too-many-fds': session([INFO], reply(GET_INFO, bytes(16), which=fds(20, NULL))),
    'half': session([RESET_CALL], raw(b'half a')),
}


def main(folder):
    for target, seeds in (('vfio_user_server', SERVER), ('vfio_user_client', CLIENT)):
        os.makedirs(os.path.join(folder, target), exist_ok=True)
        for name, data in seeds.items():
            with open(os.path.join(folder, target, name), 'wb') as file:
                file.write(data)


if __name__ == '__main__':
    main(*sys.argv[1:])
