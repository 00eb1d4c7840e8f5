#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vitrine --3d: what the program offers, says and leaves behind. What a guest can do with it is vitrine-guest's business.

    test_3d.py VITRINE
"""
import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]
from gpu_guest import *  # noqa: E402  pylint: disable=wrong-import-position
from tap import Tap, expect  # noqa: E402  pylint: disable=wrong-import-position

PATIENCE = 60
VIRGL, CONTEXT_INIT = 0, 4
GET_CAPSET_INFO, GET_CAPSET, OK_CAPSET_INFO, OK_CAPSET = 0x108, 0x109, 0x1102, 0x1103
CTX_CREATE, CTX_DESTROY, CTX_ATTACH_RESOURCE, CREATE_3D, SUBMIT_3D = 0x200, 0x201, 0x202, 0x204, 0x207
ERR_UNSPEC = 0x1200
ROUNDS = 20


class Vitrine:
    """The program, as a vhost-user back-end."""

    def __init__(self, program, directory, *options):
        self.socket, self.control = pathlib.Path(directory, "gpu.sock"), pathlib.Path(directory, "control.sock")
        self.log = pathlib.Path(directory, "vitrine.log")
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen([program, "--vhost-user", str(self.socket), "--control", str(self.control), "--state", "none",
                                             "--display", "headless", *map(str, options)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def messages(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        expect(self.process.wait(PATIENCE) == 0, f"it ended with status {self.process.returncode}: {self.messages()}")

    def status(self):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(self.control))
            sock.sendall(b'{"command":"status"}\n')
            line = b""
            while not line.endswith(b"\n"):
                part = sock.recv(65536)
                expect(part, "the control connection ended")
                line += part
        return json.loads(line)

    def wait(self, what, condition):
        """Until condition holds for the status."""
        end = time.monotonic() + PATIENCE
        while not condition(self.status()):
            expect(time.monotonic() < end, f"{what}: {self.status()}")
            time.sleep(0.01)


class Guest3D(Guest):
    FEATURES = Guest.FEATURES | bits(VIRGL, CONTEXT_INIT)

    def __init__(self):
        super().__init__(False)

    def ask(self, request, size):
        """The whole answer: its type, and size bytes behind the header."""
        slot = self.submit(request)
        kind = self.rings[0].answer(slot)[0]
        at = REQUESTS + slot * 2 * SLOT + SLOT + 24
        return kind, bytes(self.memory.map[at : at + size])

    def capsets(self):
        """{id: (version, size)}"""
        count = struct.unpack_from("=I", self.front_end.get_config(0, 16), 12)[0]
        found = {}
        for index in range(count):
            kind, body = self.ask(header(GET_CAPSET_INFO) + struct.pack("=II", index, 0), 16)
            expect(kind == OK_CAPSET_INFO, f"capset {index}: {kind:#x}")
            number, version, size, _ = struct.unpack("=4I", body)
            found[number] = version, size
        kind = self.call(header(GET_CAPSET_INFO) + struct.pack("=II", count, 0))
        expect(kind != OK_CAPSET_INFO, "there are more capsets than the configuration says")
        return found


def context(number):
    return (struct.pack("=IIQII", CTX_CREATE, 0, 0, number, 0) + struct.pack("=II64s", 4, 2, b"test"))


def in_context(command, number, *words):
    return struct.pack("=IIQII", command, 0, 0, number, 0) + struct.pack(f"={len(words)}I", *words)


def clear(ctx, resource, red, green, blue):
    """A surface of the resource is made the framebuffer and cleared."""
    word = struct.Struct("=f").pack
    colours_of = [struct.unpack("=I", word(value))[0] for value in (red, green, blue, 1)]
    words = [1 | 8 << 8 | 5 << 16, resource, resource, 2, 0, 0,  # CREATE_OBJECT, a surface: handle, resource, format, level, layers
             5 | 3 << 16, 1, 0, resource,                         # SET_FRAMEBUFFER_STATE: one, no depth
             7 | 8 << 16, 4, *colours_of, 0, 0, 0]                # CLEAR: colour 0
    return in_context(SUBMIT_3D, ctx, 4 * len(words), 0, *words)


def create_target(resource):
    """B8G8R8X8, 2D, a render target to be sampled and shown, the top row first."""
    return in_context(CREATE_3D, 0, resource, 2, 2, 1 << 1 | 1 << 3 | 1 << 18, WIDTH, HEIGHT, 1, 1, 0, 0, 1, 0)


def new_context(guest, number):
    """The process that follows a lost one is not there at once."""
    end = time.monotonic() + PATIENCE
    while (answer := guest.call(context(number))) != OK:
        expect(answer == ERR_UNSPEC and time.monotonic() < end, f"no new context: {answer:#x}")
        time.sleep(0.05)


def show(guest, ctx, resource, colour):
    new_context(guest, ctx)
    guest.must(create_target(resource), in_context(CTX_ATTACH_RESOURCE, ctx, resource, 0), clear(ctx, resource, *colour),
               set_scanout(resource), flush(resource, 1))


@contextlib.contextmanager
def session(program, *options):
    """A guest with 3D and its vitrine, which has to end well."""
    with tempfile.TemporaryDirectory(prefix="vitrine-3d-") as directory, Vitrine(program, directory, *options) as vitrine:
        guest = Guest3D()
        try:
            guest.connect(vitrine.socket, PATIENCE)
            yield vitrine, guest
        finally:
            guest.close()
        vitrine.end()


def start_and_end(program, mode):
    with session(program, "--3d", mode) as (vitrine, guest):
        features = guest.front_end.u64(GET_FEATURES)
        expect(features & bits(VIRGL, CONTEXT_INIT) == bits(VIRGL, CONTEXT_INIT), f"features {features:#x}")
        capsets = guest.capsets()
        expect(capsets and set(capsets) <= set(range(1, 8)), f"capsets {capsets}")
        for number, (version, size) in capsets.items():
            kind = guest.call(header(GET_CAPSET) + struct.pack("=II", number, version)) if size + 24 <= SLOT else OK_CAPSET
            expect(kind == OK_CAPSET and size, f"capset {number}: {kind:#x}, {size} bytes")
        guest.must(context(1))
        vitrine.wait("it has a context", lambda status: status["renderer"]["contexts"] == 1)
        messages = vitrine.messages()
        expect("3D: virgl" in messages, f"the log does not say what draws: {messages}")
        expect("warning" not in messages and "error" not in messages, messages)


def shows(program, mode, path):
    red, green = bytes((0, 0, 255, 0)), bytes((0, 255, 0, 0))
    with session(program, "--3d", mode) as (vitrine, guest):
        show(guest, 1, 7, (1, 0, 0))
        expect(screenshot(vitrine.control) == red * WIDTH * HEIGHT, "the picture is not red")
        guest.must(clear(1, 7, 0, 1, 0), flush(7, 2))
        expect(screenshot(vitrine.control) == green * WIDTH * HEIGHT, "the picture is not green")
        status = vitrine.status()
        scanout, renderer = status["scanouts"][0], status["renderer"]
        expect(scanout["path"] == path, f"path {scanout['path']}: {scanout['why_not']}")
        expect((renderer["contexts"], renderer["resources"], renderer["lost"]) == (1, 1, 0), renderer)
        expect(renderer["isolated"] == (mode != "virgl"), renderer)
        expect("virgl" in renderer["description"], renderer)


def loses(program):
    """The process is killed: errors, the last picture, 2D, and the next context."""
    red = bytes((0, 0, 255, 0)) * WIDTH * HEIGHT
    with session(program, "--3d", "virgl,isolate") as (vitrine, guest):
        show(guest, 1, 7, (1, 0, 0))
        expect(screenshot(vitrine.control) == red, "the picture is not red")
        pid = vitrine.status()["renderer"]["pid"]
        expect(pid and pid != vitrine.process.pid, f"process {pid}")
        os.kill(pid, signal.SIGKILL)
        vitrine.wait("the loss is told", lambda status: status["renderer"]["lost"] == 1 and status["renderer"]["lost_reason"])
        expect(guest.call(clear(1, 7, 0, 1, 0)) >= ERR_UNSPEC, "a lost context draws")
        expect(screenshot(vitrine.control) == red, "the last picture is gone")
        guest.paint(0, 5)
        guest.must(create_2d(9), attach(9, place_of(0), BYTES), transfer(9), set_scanout(9), flush(9))
        expect(screenshot(vitrine.control) == colours(painting(5)), "2D does not go on")
        show(guest, 2, 8, (0, 0, 1))
        expect(screenshot(vitrine.control) == bytes((255, 0, 0, 0)) * WIDTH * HEIGHT, "a new context does not draw")
        renderer = vitrine.status()["renderer"]
        expect(renderer["pid"] not in (None, pid) and renderer["lost"] == 1, renderer)


def records(program):
    with tempfile.TemporaryDirectory(prefix="vitrine-3d-") as directory:
        path = pathlib.Path(directory, "a,b=c.rec")
        with session(program, "--3d", f"virgl,record={path}") as (_, guest):
            show(guest, 1, 7, (1, 0, 0))
        expect(path.stat().st_size > 200, "nothing was recorded")
        expect(path.stat().st_mode & 0o77 == 0, "others may read it")
    with tempfile.TemporaryDirectory(prefix="vitrine-3d-") as directory:
        with Vitrine(program, directory, "--3d", "virgl,record=/nowhere/at/all") as vitrine:
            expect(vitrine.process.wait(PATIENCE) == 1, "it started")
            expect("/nowhere/at/all" in vitrine.messages(), vitrine.messages())


def warns(program):
    """Of a device that is assigned, or is about to be."""
    for options, warned in ((("--assign", f"pid={os.getpid()}"), True), ((), False)):
        with session(program, "--3d", "virgl", *options) as (vitrine, _):
            expect(("two devices" in vitrine.messages()) == warned, vitrine.messages())


def off(program):
    for options in ((), ("--3d", "off"), ("--virgl", "--3d", "off")):
        with tempfile.TemporaryDirectory(prefix="vitrine-3d-") as directory, Vitrine(program, directory, *options) as vitrine:
            guest = Guest(False)
            try:
                guest.connect(vitrine.socket, PATIENCE)
                features = guest.front_end.u64(GET_FEATURES)
                expect(not features & bits(VIRGL, CONTEXT_INIT), f"{options}: features {features:#x}")
                expect(guest.call(context(1)) >= ERR_UNSPEC, "a context without 3D")
                expect("renderer" not in vitrine.status(), "a renderer without 3D")
            finally:
                guest.close()
            vitrine.end()


def no_such_node(program):
    with tempfile.TemporaryDirectory(prefix="vitrine-3d-") as directory:
        with Vitrine(program, directory, "--3d", "virgl", "--render-node", "/dev/dri/nowhere") as vitrine:
            expect(vitrine.process.wait(PATIENCE) == 1, "it started")
            expect("--3d virgl: " in vitrine.messages() and "/dev/dri/nowhere" in vitrine.messages(), vitrine.messages())


def main(program):
    tap = Tap()
    with tap.case("3d: off"):
        off(program)
    for mode in ("virgl", "virgl,isolate"):
        for number in range(ROUNDS if mode == "virgl" else 3):
            with tap.case(f"3d: {mode}: starts and ends, {number + 1}"):
                start_and_end(program, mode)
    for mode, path in (("virgl", "virgl"), ("virgl,isolate", "readback")):
        with tap.case(f"3d: {mode}: shows what is drawn"):
            shows(program, mode, path)
    with tap.case("3d: the renderer's process is killed"):
        loses(program)
    with tap.case("3d: a recording"):
        records(program)
    with tap.case("3d: with an assigned device"):
        warns(program)
    with tap.case("3d: a render node that is not there"):
        no_such_node(program)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
