# SPDX-License-Identifier: MIT
"""As much of a VNC client (RFC 6143 and the extension ExtendedDesktopSize) as plays a monitor for QEMU: it has a size, and the card's
cursor is seen there and nowhere else."""

import socket
import struct

from tap import Failure

TIMEOUT = 30
RAW, CURSOR, EXTENDED_DESKTOP_SIZE = 0, -239, -308
PIXEL_FORMAT = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


class Viewer:
    """A connection to one QEMU's VNC server. The size of the monitor and the shape of the cursor are as last told."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(str(path))
        self.size, self.cursor = None, None
        self._begin()

    def _read(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise Failure("QEMU closed the VNC connection")
            data += piece
        return bytes(data)

    def _begin(self):
        self.socket.sendall(self._read(12))  # whatever version it speaks
        if 1 not in self._read(self._read(1)[0]):
            raise Failure("QEMU's VNC server wants a password")
        self.socket.sendall(b"\1")
        self._read(4)
        self.socket.sendall(b"\1")
        width, height, _, length = struct.unpack(">HH16sI", self._read(24))
        self._read(length)
        self.size = (width, height)
        self.socket.sendall(b"\0\0\0\0" + PIXEL_FORMAT)
        encodings = (RAW, CURSOR, EXTENDED_DESKTOP_SIZE)
        self.socket.sendall(struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings))

    def resize(self, width, height):
        """Another monitor is plugged in."""
        self.socket.sendall(struct.pack(">BxHHBx", 251, width, height, 1) + struct.pack(">IHHHHI", 0, 0, 0, width, height, 0))

    def look(self):
        """Reads one update of the screen."""
        self.socket.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, *self.size))
        while (kind := self._read(1)[0]) != 0:
            if kind == 3:  # cut text
                self._read(struct.unpack(">3xI", self._read(7))[0])
            elif kind != 2:  # bell
                raise Failure(f"QEMU's VNC server sent message {kind}")
        for _ in range(struct.unpack(">xH", self._read(3))[0]):
            self._rectangle(*struct.unpack(">HHHHi", self._read(12)))

    def _rectangle(self, _x, _y, width, height, encoding):
        if encoding == RAW:
            self._read(width * height * 4)
        elif encoding == CURSOR:
            pixels = self._read(width * height * 4)
            mask = self._read((width + 7) // 8 * height)
            self.cursor = (width, height, pixels, mask)
        elif encoding == EXTENDED_DESKTOP_SIZE:
            self._read(3 + 16 * self._read(1)[0])
            self.size = (width, height)
        else:
            raise Failure(f"QEMU's VNC server uses encoding {encoding}")

    def close(self):
        self.socket.close()
