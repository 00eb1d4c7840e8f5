# SPDX-License-Identifier: MIT
"""The display socket of vhost-user-gpu as a VMM serves it, and a guest's driver that is just enough to have something shown there."""
import os
import select
import socket
import struct
import threading
import time

from vfio_user import receive_exactly
from vhost_user import *  # noqa: F403  pylint: disable=wildcard-import,unused-wildcard-import

(GPU_GET_PROTOCOL_FEATURES, GPU_SET_PROTOCOL_FEATURES, GPU_GET_DISPLAY_INFO, GPU_CURSOR_POS, GPU_CURSOR_POS_HIDE, GPU_CURSOR_UPDATE,
 GPU_SCANOUT, GPU_UPDATE, GPU_DMABUF_SCANOUT, GPU_DMABUF_UPDATE, GPU_GET_EDID, GPU_DMABUF_SCANOUT2) = range(1, 13)
GPU_REPLY = 4
F_EDID, F_DMABUF2 = 0, 1
SCANOUTS = 16
OK_DISPLAY_INFO, OK_EDID = 0x1101, 0x1104
PATIENCE = 30


def edid(serial):
    """An EDID that can be told from another by its serial number; its preferred mode is of no size that anybody has."""
    data = bytearray(bytes.fromhex("00ffffffffffff00") + bytes(120))
    struct.pack_into("<I", data, 12, serial)
    data[127] = -sum(data) & 0xFF
    return bytes(data)


class Console:
    """A VMM's end of a display socket, served by a thread. What it is sent becomes pictures; it answers as its members say, which a
    test may change with the lock held."""

    def __init__(self, monitors, features=1 << F_EDID | 1 << F_DMABUF2):
        self.sock, self.theirs = socket.socketpair()
        self.monitors = dict(monitors)  # scanout: (width, height)
        self.features = features
        self.accepted = None
        self.silent = set()  # requests that are not answered
        self.edids = {}  # scanout: bytes; else edid(scanout + 1)
        self.pictures = {}  # scanout: (width, height, bytearray of XRGB8888)
        self.updates = []  # (scanout, x, y, width, height)
        self.cursors = {}  # scanout: (x, y, image) or None: hidden
        self.requests = []
        self.failure = None
        self.lock = threading.RLock()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def fd(self):
        return self.theirs.fileno()

    def given(self):
        """The other end is somebody else's now."""
        self.theirs.close()

    def close(self):
        self.stopped.set()
        self.thread.join()
        self.sock.close()
        self.theirs.close()

    def until(self, condition, what, timeout=PATIENCE):
        end = time.monotonic() + timeout
        while True:
            with self.lock:
                if self.failure:
                    raise AssertionError(self.failure)
                if condition():
                    return
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {timeout} s; requests were {self.requests[-20:]}")
            time.sleep(0.005)

    def shows(self, scanout, width, height, pixels):
        """True when it shows this, every pixel of it, whatever the fourth byte."""
        picture = self.pictures.get(scanout)
        return picture is not None and picture[:2] == (width, height) and without_x(picture[2]) == without_x(pixels)

    def reply(self, request, payload, flags=GPU_REPLY, size=None):
        self.sock.sendall(struct.pack("=III", request, flags, len(payload) if size is None else size) + payload)

    def _serve(self):
        while not self.stopped.is_set():
            if not select.select([self.sock], [], [], 0.05)[0]:
                continue
            try:
                header, _ = receive_exactly(self.sock, 12)
                if len(header) < 12:
                    return
                request, flags, size = struct.unpack("=III", header)
                payload, _ = receive_exactly(self.sock, size)
                with self.lock:
                    self._handle(request, flags, payload)
            except (ConnectionError, OSError):
                return
            except Exception as error:  # pylint: disable=broad-exception-caught
                self.failure = f"the display sent what it must not: {error!r}"
                return

    def _handle(self, request, flags, payload):
        assert flags == 0, f"flags {flags}"
        self.requests.append(request)
        if request in self.silent:
            return
        if request == GPU_GET_PROTOCOL_FEATURES:
            self.reply(request, struct.pack("=Q", self.features))
        elif request == GPU_SET_PROTOCOL_FEATURES:
            (self.accepted,) = struct.unpack("=Q", payload)
        elif request == GPU_GET_DISPLAY_INFO:
            self.reply(request, self._display_info())
        elif request == GPU_GET_EDID:
            assert self.accepted & 1 << F_EDID, "an EDID without the feature"
            (scanout,) = struct.unpack("=I", payload)
            data = self.edids.get(scanout, edid(scanout + 1))
            self.reply(request, struct.pack("=IIQIIII", OK_EDID, 0, 0, 0, 0, 1024, 0) + data.ljust(1024, b"\0"))
        elif request == GPU_SCANOUT:
            scanout, width, height = struct.unpack("=III", payload)
            self.pictures[scanout] = (width, height, bytearray(width * height * 4)) if width else None
        elif request == GPU_UPDATE:
            self._update(payload)
        else:
            self._cursor(request, payload)

    def _display_info(self):
        modes = b""
        for i in range(SCANOUTS):
            width, height = self.monitors.get(i, (0, 0))
            modes += struct.pack("=IIIIII", 0, 0, width, height, 1 if width else 0, 0)
        return struct.pack("=IIQII", OK_DISPLAY_INFO, 0, 0, 0, 0) + modes

    def _update(self, payload):
        scanout, x, y, width, height = struct.unpack_from("=5I", payload)
        full_width, full_height, pixels = self.pictures[scanout]
        assert x + width <= full_width and y + height <= full_height, "an update beyond its scanout"
        assert len(payload) == 20 + width * height * 4, "an update of another size"
        for row in range(height):
            at = ((y + row) * full_width + x) * 4
            pixels[at:at + width * 4] = payload[20 + row * width * 4:20 + (row + 1) * width * 4]
        self.updates.append((scanout, x, y, width, height))

    def _cursor(self, request, payload):
        scanout, x, y = struct.unpack_from("=Iii", payload)
        image = (self.cursors.get(scanout) or (0, 0, None))[2]
        if request == GPU_CURSOR_UPDATE:
            image = payload[20:]  # behind position and hot spot
            assert len(image) == 64 * 64 * 4, "a cursor of another size"
        else:
            assert request in (GPU_CURSOR_POS, GPU_CURSOR_POS_HIDE), f"request {request}"
        self.cursors[scanout] = None if request == GPU_CURSOR_POS_HIDE else (x, y, image)


def without_x(pixels):
    data = bytearray(pixels)
    data[3::4] = bytes(len(data) // 4)
    return data


# virtio-gpu
(GET_DISPLAY_INFO, RESOURCE_CREATE_2D, RESOURCE_UNREF, SET_SCANOUT, RESOURCE_FLUSH, TRANSFER_TO_HOST_2D,
 RESOURCE_ATTACH_BACKING) = range(0x100, 0x107)
GET_EDID = 0x10A
UPDATE_CURSOR, MOVE_CURSOR = 0x300, 0x301
FORMAT_B8G8R8X8, FORMAT_B8G8R8A8 = 2, 1
OK_NODATA = 0x1100
FEATURE_EDID = 1


class Guest:
    """A front-end and its guest, with 2D resources: as QEMU's vhost-user-gpu is, down to a status that never tells of a driver."""

    MEMORY, PIXELS, REQUESTS = 8 << 20, 1 << 20, 0x10000

    def __init__(self, path, memory):
        self.front_end = FrontEnd(str(path), features=bits(VERSION_1, F_PROTOCOL_FEATURES, FEATURE_EDID),
                                  protocol_features=bits(MQ, REPLY_ACK, CONFIG, STATUS))
        self.front_end.sock.settimeout(PATIENCE)
        self.memory = memory
        self.front_end.set_mem_table([self.front_end.region(0, self.MEMORY)], [memory.fd])
        self.resources = 0
        self.rings = []

    def show_on(self, console):
        """Gives the back-end the display socket."""
        self.front_end.do(GPU_SET_SOCKET, fds=[console.fd()])
        console.given()

    def start(self):
        self.front_end.set_status(FEATURES_OK)
        self.rings = [Ring(self.front_end, i, self.memory, 0x1000 * (i + 1)) for i in range(2)]
        for ring in self.rings:
            ring.start()

    def close(self):
        for ring in self.rings:
            ring.close()
        self.front_end.close()

    def _call(self, queue, request, room):
        at = self.REQUESTS
        self.memory.map[at:at + len(request)] = request
        answer = at + 0x8000
        self.memory.map[answer:answer + room] = bytes(room)
        self.rings[queue].put([(at, len(request), False), (answer, room, True)])
        self.rings[queue].ring()
        self.rings[queue].wait(PATIENCE)
        return bytes(self.memory.map[answer:answer + room])

    def command(self, kind, payload=b"", room=24, fence=None, queue=0):
        """The answer to a command; its first word is the kind of answer."""
        header = struct.pack("=IIQII", kind, fence is not None, fence or 0, 0, 0)
        return self._call(queue, header + payload, room)

    def do(self, *arguments, **how):
        kind = struct.unpack_from("=I", self.command(*arguments, **how))[0]
        assert kind == OK_NODATA, f"answered with {kind:#x}"

    def monitors(self):
        """{scanout: (width, height)} of those that are connected."""
        answer = self.command(GET_DISPLAY_INFO, room=408)
        assert struct.unpack_from("=I", answer)[0] == OK_DISPLAY_INFO
        modes = [struct.unpack_from("=IIIIII", answer, 24 + 24 * i) for i in range(SCANOUTS)]
        return {i: (mode[2], mode[3]) for i, mode in enumerate(modes) if mode[4]}

    def edid(self, scanout):
        answer = self.command(GET_EDID, struct.pack("=II", scanout, 0), room=1056)
        kind, size = struct.unpack_from("=I20xI", answer)
        assert kind == OK_EDID, f"answered with {kind:#x}"
        return answer[32:32 + size]

    def show(self, scanout, width, height, pixels):
        """A resource of its own with these pixels on the scanout; its number."""
        self.resources += 1
        number = self.resources
        at = self.PIXELS * (1 + number % 4)
        self.do(RESOURCE_CREATE_2D, struct.pack("=4I", number, FORMAT_B8G8R8X8, width, height))
        self.do(RESOURCE_ATTACH_BACKING, struct.pack("=IIQII", number, 1, at, width * height * 4, 0))
        self.do(SET_SCANOUT, struct.pack("=6I", 0, 0, width, height, scanout, number))
        self.draw(number, width, (0, 0, width, height), pixels)
        return number

    def draw(self, number, width, rectangle, pixels):
        """pixels: of the whole picture, of which the rectangle has changed."""
        at = self.PIXELS * (1 + number % 4)
        x, y, w, h = rectangle
        self.memory.map[at:at + len(pixels)] = pixels
        self.do(TRANSFER_TO_HOST_2D, struct.pack("=4IQII", x, y, w, h, (y * width + x) * 4, number, 0))
        self.do(RESOURCE_FLUSH, struct.pack("=6I", x, y, w, h, number, 0), fence=1)

    def cursor(self, scanout, x, y, pixels=None):
        """pixels: of a 64x64 image; None: it only moves."""
        number = 0
        if pixels:
            self.resources += 1
            number = self.resources
            at = self.PIXELS * (1 + number % 4)
            self.memory.map[at:at + len(pixels)] = pixels
            self.do(RESOURCE_CREATE_2D, struct.pack("=4I", number, FORMAT_B8G8R8A8, 64, 64))
            self.do(RESOURCE_ATTACH_BACKING, struct.pack("=IIQII", number, 1, at, 64 * 64 * 4, 0))
            self.do(TRANSFER_TO_HOST_2D, struct.pack("=4IQII", 0, 0, 64, 64, 0, number, 0))
        self.command(UPDATE_CURSOR if pixels else MOVE_CURSOR, struct.pack("=8I", scanout, x, y, 0, number, 3, 4, 0), queue=1)

    def unref(self, number):
        self.do(RESOURCE_UNREF, struct.pack("=II", number, 0))


def noise(width, height, seed):
    """Pixels that are all over the place, and the same for the same seed."""
    row = bytes((seed * 37 + i * 101 + (i >> 8) * 13) & 0xFF for i in range(width * 4))
    return b"".join(row[y * 7 % len(row):] + row[:y * 7 % len(row)] for y in range(height))


def count_fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
