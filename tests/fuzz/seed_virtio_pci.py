#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the hand-made inputs of fuzz_virtio_pci into a folder: python3 seed_virtio_pci.py corpus/virtio_pci"""

import os
import struct
import sys

BASE = 0x10000
(READ, WRITE, POKE, DISPATCH, SET_IRQ, MASK_IRQ, TRIGGER_IRQ, RESET, CONFIG_CHANGED, REMOVE_MEMORY, ADD_MEMORY) = range(11)
MSIX_BAR, BAR, CONFIG = 1, 4, 7
INTX, MSIX = 0, 2
ISR, DEVICE, NOTIFY = 0x1000, 0x2000, 0x3000
PCI_CFG = 0xa4 - 20  # the last capability
RING, DATA = 0, 0x1000


def read(region, offset, length):
    return struct.pack('<BBHB', READ, region, offset, length)


def write(region, offset, data):
    return struct.pack('<BBHB', WRITE, region, offset, len(data)) + data


def poke(offset, data):
    return struct.pack('<BHB', POKE, offset, len(data)) + data


def common(offset, format, value):
    return write(BAR, offset, struct.pack('<' + format, value))


def op(command, *arguments):
    return bytes([command, *arguments])


def features(low, high):
    return (common(20, 'B', 1) + common(20, 'B', 3) + common(8, 'I', 0) + common(12, 'I', low) + common(8, 'I', 1)
            + common(12, 'I', high) + common(20, 'B', 11) + read(BAR, 20, 1))


def queue(index, size, vector):
    desc, avail, used = BASE + RING, BASE + RING + 0x400, BASE + RING + 0x600
    return (common(22, 'H', index) + common(24, 'H', size) + common(26, 'H', vector) + common(32, 'Q', desc)
            + common(40, 'Q', avail) + common(48, 'Q', used) + common(28, 'H', 1))


def request(flags=2):
    table = struct.pack('<QIHH', BASE + DATA, 8, 1, 1) + struct.pack('<QIHH', BASE + DATA + 64, 8, flags, 0)
    return poke(RING, table) + poke(RING + 0x400, struct.pack('<HHH', 0, 1, 0)) + common(0x3000, 'H', 0) + op(DISPATCH)


LIVE = features(0x3000000e, 0x103) + queue(0, 16, 1) + common(20, 'B', 15) + op(DISPATCH)

SEEDS = {
    'request-intx': op(SET_IRQ, INTX, 0) + LIVE + request() + read(BAR, ISR, 1) + op(MASK_IRQ, INTX, 0x80),
    'request-msix': op(SET_IRQ, MSIX, 1) + LIVE + request() + op(SET_IRQ, MSIX, 0x81) + op(CONFIG_CHANGED),
    'request-bad': LIVE + request(flags=1) + read(BAR, 20, 1) + common(20, 'B', 0) + LIVE,
    'msix-pending': write(CONFIG, 0x42, b'\x01\x80') + LIVE + request() + read(MSIX_BAR, 0x800, 8) + op(SET_IRQ, MSIX, 1),
    'queue-reset': LIVE + common(58, 'H', 1) + queue(0, 8, 0) + request(),
    'reset': LIVE + request() + op(RESET) + LIVE + request(),
    'memory-goes': LIVE + op(REMOVE_MEMORY) + request() + op(ADD_MEMORY) + common(20, 'B', 0) + LIVE + request(),
    'config-space': b''.join(read(CONFIG, at, 4) + write(CONFIG, at, b'\xff' * 4) for at in range(0, 256, 4)),
    'pci-cfg': (write(CONFIG, PCI_CFG + 4, b'\x04') + write(CONFIG, PCI_CFG + 8, struct.pack('<II', 20, 1))
                + write(CONFIG, PCI_CFG + 16, b'\x01') + read(CONFIG, PCI_CFG + 16, 1)),
    'device-config': read(BAR, DEVICE, 24) + write(BAR, DEVICE + 20, b'12345678') + op(CONFIG_CHANGED),
    'odd-sizes': read(BAR, 0xfff, 3) + read(BAR, 1, 7) + write(BAR, 0x2fff, b'\0' * 11) + write(BAR, 19, b'\xff' * 5) + read(9, 0, 1),
}


def main(folder):
    os.makedirs(folder, exist_ok=True)
    for name, commands in SEEDS.items():
        with open(os.path.join(folder, name), 'wb') as file:
            file.write(commands)


if __name__ == '__main__':
    main(*sys.argv[1:])
