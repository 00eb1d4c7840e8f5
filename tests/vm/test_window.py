#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A real guest as a person has it: in a window on an X desktop, with typing and pointing there; then scripted, by docs/testing-guests/.

test_vm.py has everything that needs no window.
"""

import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "ui")]

import desktop  # noqa: E402
import guest_input  # noqa: E402
import picture  # noqa: E402
import sessions  # noqa: E402
import x11  # noqa: E402
from machine import Environment, Guest, Kit, Vitrine  # noqa: E402
from tap import expect  # noqa: E402
from x11 import until  # noqa: E402

EXAMPLE = HERE.parents[1] / "docs/testing-guests"
WIDTH, HEIGHT = 640, 400
NAME = "Real guest"
MODULES = ("virtio_gpu", "virtio_input", "evdev")
ON_THE_SCREEN = "TERMINAL=tty1"  # guest/init
EXAMPLE_SECONDS = 300


class WindowSession(sessions.Session):
    """... a guest with its input devices, in a window; a shell is on its screen, another one on its serial port."""

    def __init__(self, tap, environment, screen):
        super().__init__(tap, environment, "window")
        self.screen = screen
        prefix = self.work / "input"
        self.vitrine = Vitrine(environment.programs, self.work, ["--name", NAME, "--input", prefix], size=f"{WIDTH}x{HEIGHT}", display="sdl",
                               env=screen.env)
        self.guest = Guest(environment.kit, self.work, environment.initramfs, environment.accelerator, gpu=self.vitrine.socket,
                           append=ON_THE_SCREEN, extra=guest_input.functions(prefix))

    def wait_image(self, name, *options):
        """As the example does."""
        return self.vitrine.ask("wait", "--image", EXAMPLE / f"{name}.png", *options, "--timeout", "60", "--save", self.work / f"no-{name}.png",
                                timeout=90)

    def events(self, kind):
        return next(device["events"] for device in self.vitrine.status()["input"]["devices"] if device["kind"] == kind)

    def person(self, kind, events, *action):
        """Something to be recorded: what a person does with xdotool, which brings so many events of this device."""
        def do():
            before = self.events(kind)
            self.screen.xdotool(*action)
            until(lambda: self.events(kind) >= before + events, f"{action} brings {events} events of the {kind}")
        return do


def equal(session, window):
    """Window and screenshot show the same, in every pixel; the cursor of a console blinks between the two."""
    def look():
        shot, seen = session.screenshot(), window.pixels()
        return seen and not picture.difference(seen, shot)
    until(look, "the window shows what the screenshot has")


def run_window(tap, environment, screen):
    with WindowSession(tap, environment, screen) as session:
        with session.case("it opens before there is a guest"):
            window = screen.window(f"^{NAME} - ")
            expect("no signal" in window.title(), window.title())
        with session.case("a stock kernel boots in it, up to the prompt on its console"):
            session.guest.start()
            session.guest.wait_ready()
            session.wait_image("prompt", "--anywhere")
            until(lambda: "no signal" not in window.title(), window.title)
            expect(window.size() == (WIDTH, HEIGHT), f"the window is {window.size()}")
        with session.case("it shows the console, in every pixel"):
            equal(session, window)
        with session.case("what is typed into it is on the console"):
            window.focus()
            screen.xdotool("type", "--delay", "30", "clear; echo $((6 * 7))")
            screen.xdotool("key", "Return")
            session.wait_image("answer", "--region", "240x32+0+0")
            equal(session, window)
        recorder = guest_input.Recorder(session)
        with session.case("a key that is pressed in it is in the guest's /dev/input"):
            recorder.expect({"Keyboard": guest_input.taps(guest_input.A)}, session.person("keyboard", 4, "key", "a"))
        with session.case("so is a click, at its place"):
            at = [(guest_input.ABS, guest_input.X, guest_input.position(100, WIDTH)),
                  (guest_input.ABS, guest_input.Y, guest_input.position(60, HEIGHT))]
            button = guest_input.packets([(guest_input.KEY, guest_input.LEFT, 1)], [(guest_input.KEY, guest_input.LEFT, 0)])
            recorder.expect({"Tablet": guest_input.packets(at) + button},
                            session.person("tablet", 7, "mousemove", "--window", window.number, 100, 60, "click", 1))
        with session.case("a frame of a program in the guest, in every pixel"):
            session.guest.enter("guest-scanout")
            session.guest.show("dumb 5")
            window.wait_pixels(picture.picture(WIDTH, HEIGHT, 5))
            equal(session, window)
        with session.case("QEMU is killed: the picture stays, and the title says that it is an old one"):
            session.guest.kill()
            until(lambda: "frozen" in window.title(), window.title)
            window.wait_pixels(picture.picture(WIDTH, HEIGHT, 5))


def session_window(tap, environment):
    place = environment.work / "desktop"
    place.mkdir()
    screen = x11.Desktop(place, 1000, 700)
    try:
        run_window(tap, environment, screen)
    finally:
        screen.close()


def session_example(tap, environment):
    """docs/testing-guests/boot-and-type.sh, with the kit's guest for a guest."""
    work = environment.work / "example"
    work.mkdir()
    command, settings = environment.kit.qemu()
    qemu = work / "qemu"
    qemu.write_text(f"#!/bin/sh\nexec {shlex.join(command)} \"$@\"\n", encoding="utf-8")
    qemu.chmod(0o755)
    settings = {**settings, "QEMU": str(qemu), "WORK": str(work), "VITRINE": str(environment.programs["vitrine"]),
                "VITRINECTL": str(environment.programs["vitrinectl"])}
    options = ["-accel", environment.accelerator, "-cpu", "EPYC", "-smp", "2", "-kernel", environment.kit.path / "kernel/vmlinuz",
               "-initrd", environment.initramfs, "-append", f"console=ttyS0 panic=-1 {ON_THE_SCREEN}", "-serial", f"file:{work / 'kernel.log'}"]
    with tap.case("the example of docs/testing-guests.md"):
        with subprocess.Popen([EXAMPLE / "boot-and-type.sh", *map(str, options)], env=settings, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True) as script:
            try:
                said, _ = script.communicate(timeout=EXAMPLE_SECONDS)
            except subprocess.TimeoutExpired:
                said = f"it did not end within {EXAMPLE_SECONDS} s"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(script.pid, signal.SIGKILL)  # the script's own children, too
        expect(script.returncode == 0 and "booted, typed, seen" in said, f"status {script.returncode}: {said}")
        done = picture.read_png(work / "done.png")
        expect((done.width, done.height) == (WIDTH, HEIGHT), f"the screenshot is {done.width}x{done.height}")


def set_up(programs, work, tap):
    return Environment(programs, work, tap, ["guest-scanout", "guest-input"], MODULES)


if __name__ == "__main__":
    sys.exit(sessions.main(__doc__, ("vitrine", "vitrinectl", "guest-scanout", "guest-input"),
                           {"example": session_example, "window": session_window}, set_up,
                           Kit().missing() or desktop.missing() or x11.missing()))
