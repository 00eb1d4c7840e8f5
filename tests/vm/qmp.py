# SPDX-License-Identifier: MIT
"""QEMU's monitor protocol (QMP): what a test asks of the machine itself, above all what its screen shows."""

import json
import socket
import time

from picture import Image
from tap import Failure

TIMEOUT = 30


class Monitor:
    """A connection to the monitor of one QEMU, made when it is first used."""

    def __init__(self, path):
        self.path = path
        self.stream = None

    def arguments(self):
        return ["-qmp", f"unix:{self.path},server=on,wait=off"]

    def _connect(self):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(TIMEOUT)
        connection.connect(str(self.path))
        self.stream = connection.makefile("rw", encoding="utf-8")
        connection.close()  # the stream has its own
        self._read("QMP")
        self._call("qmp_capabilities", {})

    def _read(self, *wanted):
        """The next message that has one of these members; events are passed over."""
        while line := self.stream.readline():
            message = json.loads(line)
            if any(name in message for name in wanted):
                return message
        raise Failure("QEMU closed its monitor")

    def _call(self, command, arguments):
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        answer = self._read("return", "error")
        if "error" in answer:
            raise Failure(f"QEMU's monitor: {command}: {answer['error']['desc']}")
        return answer["return"]

    def call(self, command, **arguments):
        if not self.stream:
            self._connect()
        return self._call(command, arguments)

    def screen(self, path, device=None, head=0):
        """What the machine's screen shows."""
        where = {"device": device, "head": head} if device else {}
        self.call("screendump", filename=str(path), **where)
        return read_ppm(path)

    def close(self):
        if self.stream:
            self.stream.close()
            self.stream = None


def read_ppm(path):
    """A binary PPM file of 8 bits a channel, as screendump writes it."""
    data = path.read_bytes()
    fields, at = [], 0
    while len(fields) < 4:
        end = min(data.index(separator, at) for separator in (b" ", b"\n") if separator in data[at:at + 64])
        fields.append(data[at:end])
        at = end + 1
    if fields[0] != b"P6" or fields[3] != b"255":
        raise Failure(f"{path} is no PPM file of 8 bits a channel")
    return Image(int(fields[1]), int(fields[2]), data[at:])


def wait_until(condition, timeout, what):
    """Asks until condition() is true; the last answer otherwise is in the failure."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise Failure(f"{what} did not happen within {timeout} s")
        time.sleep(0.2)
    return answer
