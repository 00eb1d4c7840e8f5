#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The whole program as a client of a Wayland compositor that stops, dies and comes back; the guest is vitrine-guest's demo.

    test_wayland.py VITRINE VITRINECTL VITRINE_GUEST
"""
import contextlib
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "vm")]
import desktop  # noqa: E402  pylint: disable=wrong-import-position
import picture  # noqa: E402  pylint: disable=wrong-import-position
from device import listens  # noqa: E402  pylint: disable=wrong-import-position
from session import Session  # noqa: E402  pylint: disable=wrong-import-position
from tap import Tap, expect  # noqa: E402  pylint: disable=wrong-import-position

WIDTH, HEIGHT = 480, 320
PATIENCE = 60
STOPPED_SECONDS = 2
LEAST_RATE = 30  # frames a second of a guest that flips at 60 Hz, on a machine that has other things to do, too


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {PATIENCE} s: {what() if callable(what) else what}")
        time.sleep(0.05)
    return result


class Vitrine(contextlib.AbstractContextManager):
    """programs: paths of vitrine, vitrinectl and vitrine-guest."""

    def __init__(self, programs, directory, env):
        self.program, self.ctl, self.guest = programs
        self.directory = directory
        self.socket, self.control, self.log_path = (directory / name for name in ("gpu.sock", "control.sock", "vitrine.log"))
        with self.log_path.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen([self.program, "--vfio-user", str(self.socket), "--control", str(self.control),
                                             "--display", "wayland", "--output", f"{WIDTH}x{HEIGHT}"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        until(lambda: listens(self.socket) and listens(self.control) or self.process.poll() is not None, "vitrine starts")
        expect(self.process.poll() is None, f"vitrine ended: {self.log()}")

    def __exit__(self, *_exception):
        self.process.kill()
        self.process.wait()

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def ask(self, *command):
        return subprocess.run([self.ctl, "--control", str(self.control), *map(str, command)], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)

    def ok(self, *command):
        answer = self.ask(*command)
        expect(answer.returncode == 0, f"vitrinectl {' '.join(command)}: {answer.stderr}\n{self.log()}")
        return answer.stdout

    def scanout(self):
        return json.loads(self.ok("--json", "status"))["scanouts"][0]

    def screenshot(self):
        path = self.directory / "screenshot.png"
        self.ok("screenshot", str(path))
        return picture.read_png(path)

    @contextlib.contextmanager
    def demo(self, *options):
        """vitrine-guest's demo, until the block ends."""
        process = subprocess.Popen([self.guest, "--vfio-user", str(self.socket), "demo", *map(str, options)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            yield process
        finally:
            process.stdin.close()
            process.terminate()
            process.wait(PATIENCE)
            process.stdout.close()


class Screen:
    """The compositor, which may be another one after a while."""

    def __init__(self, stack, directory):
        self.stack, self.directory = stack, directory
        self.weston = None
        self.start()

    def start(self):
        self.weston = self.stack.enter_context(desktop.Weston(self.directory, WIDTH, HEIGHT))

    def look(self):
        path = self.directory / "screen.png"
        path.write_bytes(self.weston.screenshot())
        return picture.read_png(path)

    def expect(self, expected):
        deadline = time.monotonic() + PATIENCE
        while difference := picture.difference(self.look(), expected):
            expect(time.monotonic() < deadline, difference)


def number_of(image):
    """Of the demo's frame (picture.moving())."""
    return sum(1 << y * 16 + bit for y in range(2) for bit in range(16) if image.pixel(bit * 12 + 1, y * 4 + 1) == 0xFFFFFF)


def last_frame(process, frames):
    """Waits until the demo has shown all of them and keeps the last one."""
    line = process.stdout.readline()
    expect(line.startswith(f"{frames} frames"), f"the demo says: {line}")
    return picture.moving(WIDTH, HEIGHT, frames - 1)


def check_shown(tap, vitrine, screen):
    with tap.case("the compositor shows what the guest shows"), vitrine.demo("--frames", 20, "--keep") as guest:
        expected = last_frame(guest, 20)
        screen.expect(expected)
        difference = picture.difference(vitrine.screenshot(), expected)
        expect(not difference, f"vitrinectl screenshot: {difference}")


def check_cursor(tap, vitrine, screen):
    """No input devices: the guest's cursor is where the guest says, above its picture."""
    left, top, size = 200, 120, 64
    with tap.case("a guest's cursor without a tablet"), vitrine.demo("--frames", 1, "--keep", "--cursor", f"{left},{top}") as guest:
        expected = last_frame(guest, 1)

        def cursor_alone():
            seen = screen.look()
            other = [(x, y) for y in range(HEIGHT) for x in range(WIDTH) if seen.pixel(x, y) != expected.pixel(x, y)]
            return other and all(left <= x < left + size and top <= y < top + size for x, y in other)

        until(cursor_alone, vitrine.log)


def frames_in(vitrine, seconds):
    before = vitrine.scanout()["frames"]
    time.sleep(seconds)
    return vitrine.scanout()["frames"] - before


def check_stopped(tap, vitrine, screen):
    process = screen.weston.process
    with vitrine.demo("--seconds", 600):
        until(lambda: vitrine.scanout()["frames"] > 30, "the guest flips")
        process.send_signal(signal.SIGSTOP)
        with tap.case("a stopped compositor does not stop the guest"):
            count = frames_in(vitrine, STOPPED_SECONDS)
            expect(count >= STOPPED_SECONDS * LEAST_RATE, f"{count} frames in {STOPPED_SECONDS} s")
        with tap.case("nor screenshots"):
            first = number_of(vitrine.screenshot())
            until(lambda: number_of(vitrine.screenshot()) > first, "another picture")
            second = number_of(vitrine.screenshot())
        process.send_signal(signal.SIGCONT)
        with tap.case("when it goes on it shows what is new"):
            until(lambda: number_of(screen.look()) > second, vitrine.log)
    with tap.case("a picture that came while it was stopped"):
        process.send_signal(signal.SIGSTOP)
        try:
            with vitrine.demo("--frames", 50, "--keep") as guest:
                expected = last_frame(guest, 50)
                process.send_signal(signal.SIGCONT)
                screen.expect(expected)
        finally:
            process.send_signal(signal.SIGCONT)


def check_killed(tap, vitrine, screen):
    with vitrine.demo("--seconds", 600):
        until(lambda: vitrine.scanout()["frames"] > 30, "the guest flips")
        screen.weston.process.kill()
        with tap.case("without its compositor the output is headless, and the guest goes on"):
            until(lambda: vitrine.scanout()["display"] == "headless", lambda: json.dumps(vitrine.scanout()))
            expect("the compositor is gone" in vitrine.log() and "are headless now" in vitrine.log(), vitrine.log())
            expect(frames_in(vitrine, 1) >= LEAST_RATE, "frames")
            first = number_of(vitrine.screenshot())
            until(lambda: number_of(vitrine.screenshot()) > first, "another picture")
            second = number_of(vitrine.screenshot())
        with tap.case("it cannot go back before there is another compositor"):
            answer = vitrine.ask("output", "move", "0", "wayland")
            expect(answer.returncode == 1 and "no Wayland compositor answers" in answer.stderr, answer.stderr)
            expect(vitrine.scanout()["display"] == "headless", "it stays where it is")
        screen.start()
        with tap.case("and goes back when there is"):
            vitrine.ok("output", "move", "0", "wayland")
            until(lambda: vitrine.scanout()["display"] == "wayland", lambda: json.dumps(vitrine.scanout()))
            newest = number_of(vitrine.screenshot())
            until(lambda: number_of(screen.look()) >= newest, vitrine.log)


def check_rate(tap, programs, directory):
    """A monitor above 60 Hz, told by the window's compositor, in the guest's EDID."""
    directory.mkdir()
    with tap.case("the monitor's refresh rate reaches the EDID"), desktop.Weston(directory, WIDTH, HEIGHT, ["--refresh-rate=143900"]) as weston, \
            Session(programs, directory / "session", weston.env, "--display", "wayland", "--output", "auto") as session:
        with session.picture():
            until(lambda: session.scanout()["output"]["refresh_hz"] == 143.9, lambda: json.dumps(session.scanout()))
        probe = subprocess.run([session.guest, "--vfio-user", str(session.device.socket), "probe"], capture_output=True, text=True,
                               timeout=PATIENCE, check=True).stdout
        rates = [float(rate) for rate in re.findall(r'EDID "vitrine-0".* at ([0-9.]+) Hz', probe)]
        expect(len(rates) == 1 and abs(rates[0] - 143.9) < 0.1, probe)


def main():
    tap = Tap()
    reason = desktop.missing()
    if reason:
        tap.skip("wayland", reason)
        return tap.finish()
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vitrine-wayland-")))
        screen = Screen(stack, directory)
        vitrine = stack.enter_context(Vitrine(sys.argv[1:4], directory, screen.weston.env))
        check_shown(tap, vitrine, screen)
        check_cursor(tap, vitrine, screen)
        check_stopped(tap, vitrine, screen)
        check_killed(tap, vitrine, screen)
        check_shown(tap, vitrine, screen)
        check_rate(tap, sys.argv[1:4], directory / "rate")
    return tap.finish()


sys.exit(main())
