# SPDX-License-Identifier: MIT
"""Between a VMM and its vhost-user back-end: what a VMM does that connects again when its back-end comes back. QEMU's generic device
(11.1) does not live through that; the VMM here never learns of it.

Everything the VMM has said that a back-end has to know is kept, and said again to the next one; where rings go on is what their used
rings say, as after an unclean end. The device is not behind an IOMMU: what is said about translations is not kept.
"""
import array
import os
import select
import socket
import struct
import threading
import time

HEADER = struct.Struct("=III")
REPLY, NEED_REPLY = 4, 8
(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE) = range(1, 6)
(SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR) = range(8, 15)
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, SET_VRING_ENABLE, SET_BACKEND_REQ_FD = 15, 16, 18, 21
ADD_MEM_REG, REM_MEM_REG, SET_STATUS = 37, 38, 39
ACCESS_PLATFORM = 33
OF_A_RING = (SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR, SET_VRING_ENABLE)
ONCE = (SET_FEATURES, SET_OWNER, SET_PROTOCOL_FEATURES, SET_BACKEND_REQ_FD, SET_STATUS)


class Gone(Exception):
    """The other end has closed the connection."""


def receive(sock):
    """One message and its fds."""
    data, fds = b"", []
    while len(data) < HEADER.size or len(data) < HEADER.size + HEADER.unpack_from(data)[2]:
        wanted = HEADER.size if len(data) < HEADER.size else HEADER.size + HEADER.unpack_from(data)[2]
        try:
            part, ancillary, _, _ = sock.recvmsg(wanted - len(data), socket.CMSG_SPACE(32))
        except OSError as error:
            raise Gone from error
        for _, _, raw in ancillary:
            numbers = array.array("i")
            numbers.frombytes(raw)
            fds += numbers
        if not part:
            raise Gone
        data += part
    return data, fds


def send(sock, data, fds=()):
    try:
        socket.send_fds(sock, [data], list(fds))
    except OSError as error:
        raise Gone from error


class Relay:
    """Listens at path for one VMM, and speaks for it to the back-ends at back_end."""

    def __init__(self, path, back_end):
        self.path, self.back_end = str(path), str(back_end)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.kept = {}     # message, and ring where it is of one: (bytes, fds)
        self.regions = {}  # user address: (guest address, size, offset, fd, the message)
        self.pending = None  # (message, fds) whose reply is still to come
        self.closed = False
        threading.Thread(target=self._run, daemon=True).start()

    def close(self):
        self.closed = True
        self.listener.close()

    def _run(self):
        vmm, _ = self.listener.accept()
        while not self.closed:
            try:
                back = self._connect()
                self._say_again(back)
                self._go_on(vmm, back)
                self._serve(vmm, back)
                return  # the VMM is gone
            except Gone:
                continue

    def _connect(self):
        while not self.closed:
            back = socket.socket(socket.AF_UNIX)
            try:
                back.connect(self.back_end)
                return back
            except OSError:
                back.close()
                time.sleep(0.01)
        raise Gone

    def _go_on(self, vmm, back):
        """What the last back-end had no time to answer: the next one has been told by now, or is asked."""
        if not self.pending:
            return
        request = HEADER.unpack_from(self.pending[0])[0]
        if request in OF_A_RING + ONCE + (ADD_MEM_REG, REM_MEM_REG):
            send(vmm, HEADER.pack(request, 1 | REPLY, 8) + bytes(8))
            self.pending = None
        else:
            send(back, *self.pending)

    def _serve(self, vmm, back):
        """Until the VMM is gone; raises Gone when the back-end is."""
        while True:
            for sock in select.select([vmm, back], [], [])[0]:
                if sock is back:
                    data, fds = receive(back)
                    self.pending = None
                    if HEADER.unpack_from(data)[0] == GET_FEATURES:
                        features = struct.unpack_from("=Q", data, HEADER.size)[0] & ~(1 << ACCESS_PLATFORM)
                        data = data[: HEADER.size] + struct.pack("=Q", features)
                    send(vmm, data, fds)
                else:
                    try:
                        data, fds = receive(vmm)
                    except Gone:
                        back.close()
                        return
                    self._keep(data, fds)
                    request, flags, _ = HEADER.unpack_from(data)
                    answered = flags & NEED_REPLY or request in (GET_FEATURES, GET_PROTOCOL_FEATURES, GET_VRING_BASE, 17, 24, 36, 40)
                    self.pending = (data, fds) if answered else None
                    send(back, data, fds)

    # what a back-end has to know

    def _keep(self, data, fds):
        request, body = HEADER.unpack_from(data)[0], data[HEADER.size :]
        if request in OF_A_RING:
            self.kept[request, body[0]] = data, fds
        elif request in ONCE:
            self.kept[request] = data, fds
        elif request == GET_VRING_BASE:
            for message in OF_A_RING:
                self.kept.pop((message, body[0]), None)
        elif request == ADD_MEM_REG:
            guest, size, user, offset = struct.unpack_from("=QQQQ", body, 8)
            self.regions[user] = guest, size, offset, fds[0], data
        elif request == REM_MEM_REG:
            self.regions.pop(struct.unpack_from("=QQQQ", body, 8)[2], None)
        elif request == SET_MEM_TABLE:
            raise AssertionError("memory regions were expected to come one by one")

    def _used_index(self, ring):
        """Where the ring's addresses, as the VMM gave them, lead to in its memory."""
        used = struct.unpack_from("=IIQQ", self.kept[SET_VRING_ADDR, ring][0], HEADER.size)[3]
        for user, (_, size, offset, fd, _) in self.regions.items():
            if user <= used < user + size:
                return struct.unpack("=H", os.pread(fd, 2, offset + used - user + 2))[0]
        raise AssertionError(f"the used ring {used:#x} is in no memory region")

    def _say(self, back, data, fds=()):
        """Says something again. What is answered is not for the VMM."""
        send(back, data, fds)
        request, flags, _ = HEADER.unpack_from(data)
        if flags & NEED_REPLY:
            receive(back)
        return request

    def _say_again(self, back):
        for request in (SET_PROTOCOL_FEATURES, SET_OWNER, SET_BACKEND_REQ_FD, SET_FEATURES):
            if request in self.kept:
                self._say(back, *self.kept[request])
        for _, _, _, fd, data in self.regions.values():
            self._say(back, data, [fd])
        for ring in sorted({key[1] for key in self.kept if isinstance(key, tuple)}):
            for request in OF_A_RING:
                if request == SET_VRING_BASE and (SET_VRING_ADDR, ring) in self.kept:
                    base = struct.pack("=II", ring, self._used_index(ring))
                    self._say(back, HEADER.pack(SET_VRING_BASE, 1, len(base)) + base)
                elif (request, ring) in self.kept:
                    self._say(back, *self.kept[request, ring])
        if SET_STATUS in self.kept:
            self._say(back, *self.kept[SET_STATUS])
