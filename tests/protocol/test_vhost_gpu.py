#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The whole program as a back-end of vhost-user-gpu: a front-end with a display socket (vhost_user_gpu.py), and what its console shows.

    test_vhost_gpu.py VITRINE VITRINECTL
"""
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "vm"), str(ROOT)]
import picture  # noqa: E402  pylint: disable=wrong-import-position
from device import listens  # noqa: E402  pylint: disable=wrong-import-position
from tap import Tap, expect  # noqa: E402  pylint: disable=wrong-import-position
from vfio_user import Memfd  # noqa: E402  pylint: disable=wrong-import-position
from vhost_user_gpu import *  # noqa: E402,F403  pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

WIDTH, HEIGHT = 320, 200
NO_DESKTOP = {key: value for key, value in os.environ.items() if key not in ("WAYLAND_DISPLAY", "DISPLAY")}


class Vitrine:
    def __init__(self, programs, directory, display):
        self.ctl = programs[1]
        self.socket, self.control = directory / "gpu.sock", directory / "control.sock"
        self.log_path = directory / "vitrine.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen([programs[0], "--vhost-user", self.socket, "--control", self.control, "--display", display],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=NO_DESKTOP)
        wait_until(lambda: listens(self.socket) and listens(self.control), "vitrine serves its sockets")

    def call(self, *arguments):
        return subprocess.run([self.ctl, "--control", self.control, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE,
                              check=False)

    def ask(self, *arguments):
        answer = self.call(*arguments)
        expect(answer.returncode == 0, f"vitrinectl {arguments}: {answer.stderr}")
        return answer.stdout

    def scanouts(self):
        return json.loads(self.ask("status", "--json"))["scanouts"]

    def display(self, number=0):
        return self.scanouts()[number]["display"]

    def connected(self):
        return [scanout["output"]["connected"] for scanout in self.scanouts()]

    def screenshot(self, *options):
        path = self.log_path.with_name("shot.png")
        self.ask("screenshot", *options, path)
        return picture.read_png(path)

    def end(self):
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        expect(status == 0, f"vitrine ended with status {status}")


def wait_until(condition, what, timeout=PATIENCE):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.01)


class Session:
    """A vitrine, and guests and consoles that are made as a case needs them and end with it."""

    def __init__(self, tap, programs, display):
        self.tap, self.name = tap, display
        self.directory = tempfile.TemporaryDirectory(prefix="vitrine-vhost-gpu-")
        self.vitrine = Vitrine(programs, pathlib.Path(self.directory.name), display)
        self.stack = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.tap.case(f"{self.name}: the end", self.log):
            self.vitrine.end()
        self.directory.cleanup()

    def log(self):
        return self.vitrine.log_path.read_text(encoding="utf-8", errors="replace")[-2000:]

    @contextlib.contextmanager
    def case(self, name):
        with self.tap.case(f"{self.name}: {name}", self.log), contextlib.ExitStack() as self.stack:
            yield
            expect(self.vitrine.process.poll() is None, "vitrine is not running any more")

    def guest(self, console=None):
        memory = Memfd(Guest.MEMORY)
        self.stack.callback(memory.close)
        guest = Guest(self.vitrine.socket, memory)
        self.stack.callback(guest.close)
        if console:
            guest.show_on(console)
        guest.start()
        return guest

    def console(self, monitors=None, **how):
        console = Console(monitors or {0: (WIDTH, HEIGHT)}, **how)
        self.stack.callback(console.close)
        return console


def expect_shown(console, scanout, pixels, width=WIDTH, height=HEIGHT):
    console.until(lambda: console.shows(scanout, width, height, pixels), f"scanout {scanout} shows the picture")


def expect_screenshot(session, pixels):
    shot = session.vitrine.screenshot()
    rgb = bytearray(len(pixels) // 4 * 3)
    for channel in range(3):
        rgb[channel::3] = pixels[2 - channel::4]
    expect((shot.width, shot.height) == (WIDTH, HEIGHT) and shot.rgb == bytes(rgb), "the screenshot shows something else")


def changed(pixels, rectangle, seed):
    """The picture with other pixels in the rectangle."""
    x, y, width, height = rectangle
    data, other = bytearray(pixels), noise(WIDTH, HEIGHT, seed)
    for row in range(y, y + height):
        at = (row * WIDTH + x) * 4
        data[at:at + width * 4] = other[at:at + width * 4]
    return bytes(data)


def run_pictures(session):
    with session.case("the guest's first questions are answered by the console"):
        console = session.console({0: (1000, 700), 1: (800, 600)})
        guest = session.guest(console)
        expect(guest.monitors() == {0: (1000, 700), 1: (800, 600)}, guest.monitors())
        expect(guest.edid(1) == edid(2), "the EDID is not the console's")
        expect(console.accepted == 1 << F_EDID | 1 << F_DMABUF2, f"features {console.accepted}")
    with session.case("a picture, what changes of it, and the screenshot"):
        console = session.console()
        guest = session.guest(console)
        pixels = noise(WIDTH, HEIGHT, 1)
        resource = guest.show(0, WIDTH, HEIGHT, pixels)
        expect_shown(console, 0, pixels)
        expect(session.vitrine.display() == "vmm", session.vitrine.scanouts()[0])
        for seed, rectangle in enumerate(((0, 0, 1, 1), (100, 50, 64, 64), (319, 0, 1, 200), (0, 199, 320, 1)), 2):
            with console.lock:
                console.updates.clear()
            pixels = changed(pixels, rectangle, seed)
            guest.draw(resource, WIDTH, rectangle, pixels)
            expect_shown(console, 0, pixels)
            with console.lock:
                expect(console.updates == [(0, *rectangle)], f"{console.updates} for {rectangle}")
            expect_screenshot(session, pixels)
    with session.case("the console's window is resized, the guest asks"):
        console = session.console()
        guest = session.guest(console)
        for step in range(1, 11):
            with console.lock:
                console.monitors[0] = (WIDTH + 8 * step, HEIGHT)
                console.edids[0] = edid(step)
            expect(guest.monitors() == {0: (WIDTH + 8 * step, HEIGHT)}, f"{guest.monitors()} in step {step}")
            expect(guest.edid(0) == edid(step), f"another EDID in step {step}")
    with session.case("monitors come and go, each with its own picture"):
        console = session.console()
        guest = session.guest(console)
        expect(guest.monitors() == {0: (WIDTH, HEIGHT)}, guest.monitors())
        with console.lock:
            console.monitors[2] = (WIDTH, HEIGHT)
        expect(set(guest.monitors()) == {0, 2}, guest.monitors())
        first, second = noise(WIDTH, HEIGHT, 1), noise(WIDTH, HEIGHT, 2)
        guest.show(0, WIDTH, HEIGHT, first)
        guest.show(2, WIDTH, HEIGHT, second)
        expect_shown(console, 0, first)
        expect_shown(console, 2, second)
        expect(session.vitrine.connected() == [True, False, True, False], session.vitrine.connected())
        with console.lock:
            del console.monitors[2]
        expect(guest.monitors() == {0: (WIDTH, HEIGHT)}, guest.monitors())
    with session.case("the cursor"):
        console = session.console()
        guest = session.guest(console)
        image = noise(64, 64, 9)
        guest.cursor(0, 100, 50, image)
        console.until(lambda: console.cursors.get(0), "a cursor")
        console.until(lambda: console.cursors[0][:2] == (100, 50), "its place")
        expect(console.cursors[0][2] == image, "another image")
        guest.cursor(0, 7, 8)
        console.until(lambda: console.cursors[0] and console.cursors[0][:2] == (7, 8), "its new place")
    with session.case("a console without EDIDs: they are ours"):
        console = session.console(features=0)
        guest = session.guest(console)
        expect(guest.monitors() == {0: (WIDTH, HEIGHT)}, guest.monitors())
        expect(guest.edid(0)[8:10] != edid(1)[8:10] and len(guest.edid(0)) in (128, 256), "no EDID of ours")
        expect(GPU_GET_EDID not in console.requests, "it was asked all the same")
    with session.case("an EDID that is none: it is ours"):
        console = session.console()
        console.edids[0] = b"nonsense" * 16
        guest = session.guest(console)
        expect(guest.edid(0)[:8] == edid(1)[:8], "no EDID")


def run_silence(session):
    with session.case("a console that does not answer costs half a second, once"):
        console = session.console()
        guest = session.guest(console)
        guest.monitors()
        with console.lock:
            console.silent.add(GPU_GET_DISPLAY_INFO)
        guest.monitors()
        begin = time.monotonic()
        for _ in range(20):
            guest.monitors()
        expect(time.monotonic() - begin < 5, "each question waits")
    with session.case("nor does it stall or grow with frames, and the last one comes through"):
        console = session.console()
        guest = session.guest(console)
        pixels = noise(WIDTH, HEIGHT, 1)
        resource = guest.show(0, WIDTH, HEIGHT, pixels)
        expect_shown(console, 0, pixels)
        with console.lock:
            console.silent.add(GPU_GET_DISPLAY_INFO)
            asked = console.requests.count(GPU_GET_DISPLAY_INFO)
        for seed in range(2, 32):
            pixels = noise(WIDTH, HEIGHT, seed)
            guest.draw(resource, WIDTH, (0, 0, WIDTH, HEIGHT), pixels)
        with console.lock:
            expect(console.requests.count(GPU_GET_DISPLAY_INFO) == asked + 1, "more than one frame was under way")
            console.silent.clear()
            console.reply(GPU_GET_DISPLAY_INFO, console._display_info())  # pylint: disable=protected-access
        expect_shown(console, 0, pixels)


def run_ends(session):
    with session.case("the socket closes: headless with the picture; another one comes"):
        console = session.console()
        guest = session.guest(console)
        pixels = noise(WIDTH, HEIGHT, 1)
        guest.show(0, WIDTH, HEIGHT, pixels)
        expect_shown(console, 0, pixels)
        for _ in range(3):
            console.close()
            wait_until(lambda: session.vitrine.display() == "headless", "headless")
            lost = session.vitrine.scanouts()[0]["output"]["lost"]
            expect("closed its display socket" in lost, lost)
            expect_screenshot(session, pixels)
            console = session.console()
            guest.show_on(console)
            expect_shown(console, 0, pixels)
    with session.case("a new socket takes the place of one that is there"):
        console = session.console()
        guest = session.guest(console)
        pixels = noise(WIDTH, HEIGHT, 1)
        guest.show(0, WIDTH, HEIGHT, pixels)
        expect_shown(console, 0, pixels)
        console = session.console({0: (640, 480)})
        guest.show_on(console)
        expect_shown(console, 0, pixels)
        expect(guest.monitors() == {0: (640, 480)}, guest.monitors())
    for name, reply in (("a reply to nothing", (GPU_DMABUF_UPDATE, b"")), ("a request", (GPU_GET_DISPLAY_INFO, bytes(408), 0)),
                        ("an unknown reply", (77, bytes(8))), ("a huge one", (GPU_GET_EDID, b"", GPU_REPLY, 0xFFFFFFFF))):
        with session.case(f"{name} ends the display, not the guest"):
            console = session.console()
            guest = session.guest(console)
            pixels = noise(WIDTH, HEIGHT, 1)
            guest.show(0, WIDTH, HEIGHT, pixels)
            expect_shown(console, 0, pixels)
            console.reply(*reply)
            wait_until(lambda: session.vitrine.display() == "headless", "headless")
            expect_screenshot(session, pixels)
            expect(guest.monitors() == {0: (WIDTH, HEIGHT)}, guest.monitors())
    with session.case("the front-end leaves: outputs are as they were, and the next one begins anew"):
        wait_until(lambda: session.vitrine.connected() == [True, False, False, False], session.vitrine.connected())
        expect(session.vitrine.display() == "headless", session.vitrine.display())
    with session.case("fifty sockets: no fd is left"):
        console = session.console()
        guest = session.guest(console)
        pixels = noise(WIDTH, HEIGHT, 1)
        guest.show(0, WIDTH, HEIGHT, pixels)
        expect_shown(console, 0, pixels)
        before = count_fds(session.vitrine.process.pid)
        for _ in range(50):
            console = session.console()
            guest.show_on(console)
        expect_shown(console, 0, pixels)
        wait_until(lambda: count_fds(session.vitrine.process.pid) <= before, "as many fds as before")


def run_moves(session, follows):
    with session.case("without a socket there is nothing to move to"):
        answer = session.vitrine.call("output", "move", 0, "vmm")
        expect(answer.returncode != 0 and "display socket" in answer.stderr, answer.stderr)
    with session.case("the socket comes"):
        console = session.console()
        guest = session.guest(console)
        pixels = noise(WIDTH, HEIGHT, 1)
        guest.show(0, WIDTH, HEIGHT, pixels)
        if follows:
            expect_shown(console, 0, pixels)
        else:
            expect_screenshot(session, pixels)
        expect(session.vitrine.display() == ("vmm" if follows else "headless"), session.vitrine.display())
        session.vitrine.ask("output", "move", 0, "headless")
        console.until(lambda: not console.pictures.get(0), "the console is empty")
        session.vitrine.ask("output", "move", 0, "vmm")
        expect_shown(console, 0, pixels)


SESSIONS = {
    "auto": (run_pictures, run_silence, run_ends, lambda session: run_moves(session, True)),
    "vmm": (lambda session: run_moves(session, True),),
    "headless": (lambda session: run_moves(session, False),),
}


def main():
    tap = Tap()
    for display, parts in SESSIONS.items():
        with Session(tap, sys.argv[1:3], display) as session:
            for part in parts:
                part(session)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
