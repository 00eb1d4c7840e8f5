#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Windows of the whole program on an X desktop, by their pixels, and what a person does with them.

    test_desktop.py VITRINE VITRINECTL VITRINE_GUEST
"""
import contextlib
import pathlib
import sys
import tempfile
import time

import desktop
import x11
from session import Session
from tap import Tap, expect
from picture import Image, moving, read_png
from x11 import PATIENCE, until

NAME = "Test guest"
SECONDS_HIDDEN = 2


def scaled(image, times):
    """Each pixel times x times."""
    rows = []
    for y in range(image.height):
        row = bytearray(image.width * times * 3)
        for channel in range(3):
            line = image.rgb[y * image.width * 3 + channel:(y + 1) * image.width * 3:3]
            for i in range(times):
                row[channel + i * 3::times * 3] = line
        rows += [bytes(row)] * times
    return Image(image.width * times, image.height * times, b"".join(rows))


def framed(image, width, height):
    """In the middle of black."""
    left, top = (width - image.width) // 2, (height - image.height) // 2
    rgb = bytearray(width * height * 3)
    for y in range(image.height):
        at = ((top + y) * width + left) * 3
        rgb[at:at + image.width * 3] = image.rgb[y * image.width * 3:(y + 1) * image.width * 3]
    return Image(width, height, bytes(rgb))


def mode(session, number=0):
    output = session.scanout(number)["output"]
    return output["width"], output["height"]


def check_automatic(tap, session, screen):
    """An output that follows its window."""
    window = screen.window(f"^{NAME} - vitrine-0")
    with tap.case("the title says that there is no signal"):
        expect(window.title() == f"{NAME} - vitrine-0 (no signal)", window.title())
    with tap.case("it has the program's icon"):
        width, height, pixels = window.icon()
        expect((width, height) == (64, 64) and len(pixels) == 64 * 64, f"{len(pixels)} pixels of {width}x{height}")
        colors = [pixels[y * width + x] for x, y in ((0, 0), (32, 9), (32, 20), (44, 21), (32, 42))]
        expect(colors == [0, 0xff2b3a4a, 0xff7fd0e8, 0xffffd76a, 0xff2f8f6b], list(map(hex, colors)))
    with tap.case("the guest's picture, pixel for pixel"), session.picture(3):
        window.wait_pixels(moving(*window.size(), 2))
    with tap.case("the title says how the picture comes"), session.picture():
        until(lambda: window.title() == f"{NAME} - vitrine-0 (mapped)", window.title)
    with tap.case("a guest that is gone: the title says that the picture is an old one"):
        until(lambda: window.title() == f"{NAME} - vitrine-0 (mapped, frozen)", window.title)
    with tap.case("resizing changes the guest's mode"):
        window.do("windowsize", 1000, 701)
        until(lambda: mode(session) == (1000, 700), lambda: mode(session))
    with tap.case("the picture of the new mode"), session.picture():
        window.wait_pixels(framed(moving(1000, 700, 0), 1000, 701))
    with tap.case("a window that is dragged: the mode is that of its last size"):
        for width in range(900, 700, -20):
            window.do("windowsize", width, 600)
        until(lambda: mode(session) == (720, 600), lambda: mode(session))


def check_fixed(tap, session, screen):
    """An output with a mode of its own: the window scales it."""
    window = screen.window(f"^{NAME} - left")
    window.focus()  # and above the other one: X keeps no pixels of what is covered
    image = moving(320, 200, 0)
    with session.picture(1):
        with tap.case("a window begins as large as its output"):
            window.wait_pixels(image)
        with tap.case("letterbox: bars on top and bottom"):
            window.do("windowsize", 320, 300)
            window.wait_pixels(framed(image, 320, 300))
        with tap.case("letterbox: bars on both sides"):
            window.do("windowsize", 421, 200)
            window.wait_pixels(framed(image, 421, 200))
        with tap.case("twice the size, each pixel two by two: Ctrl+Alt+S"):
            window.do("windowsize", 700, 500)
            window.focus()
            screen.xdotool("key", "ctrl+alt+s")
            window.wait_pixels(framed(scaled(image, 2), 700, 500))
        with tap.case("Ctrl+Alt+S: as large as the window again"):
            screen.xdotool("key", "ctrl+alt+s")
            until(lambda: window.pixels().pixel(1, 250) != 0, "no bar on the left")
            bars = window.pixels()
            expect(bars.pixel(350, 10) == 0 == bars.pixel(350, 490), "bars on top and bottom")
        with tap.case("smaller than the picture"):
            window.do("windowsize", 160, 150)
            until(lambda: (seen := window.pixels()) and seen.width == 160 and seen.pixel(80, 10) == 0 == seen.pixel(80, 140) and
                  seen.pixel(80, 75) != 0, "a small picture between bars")
        with tap.case("Ctrl+Alt+0: as large as the picture"):
            window.focus()
            screen.xdotool("key", "ctrl+alt+0")
            window.wait_pixels(image)
        with tap.case("Ctrl+Alt+F: the whole screen, and back"):
            window.focus()
            screen.xdotool("key", "ctrl+alt+f")
            until(lambda: window.size() == (screen.width, screen.height), window.size)
            screen.xdotool("key", "ctrl+alt+f")
            window.wait_pixels(image)
        with tap.case("Ctrl+Alt+G: the title says how to get out again"):
            window.focus()
            screen.xdotool("key", "ctrl+alt+g")
            until(lambda: window.title().endswith(" - Ctrl+Alt+G lets keyboard and pointer go"), window.title)
            screen.xdotool("key", "ctrl+alt+g")
            until(lambda: window.title().endswith("(mapped)"), window.title)
        with tap.case("the mode stayed as it was"):
            expect(mode(session) == (320, 200), mode(session))


def check_size_stays(tap, session, screen):
    """The person's size of a window, when the guest shows nothing for a while; another picture makes another window."""
    window = screen.window(f"^{NAME} - left")
    window.focus()
    with tap.case("a window keeps its size when the guest starts again"):
        window.do("windowsize", 420, 300)
        until(lambda: window.size() == (420, 300), window.size)
        with session.picture(2):
            until(lambda: "mapped" in window.title() and any(window.pixels().rgb), window.title)
            expect(window.size() == (420, 300), window.size())
    with tap.case("a picture of another size makes the window as large"), session.picture(1, "--size", "200x150"):
        window.wait_pixels(moving(200, 150, 0))
    with tap.case("and back"), session.picture(1):
        window.wait_pixels(moving(320, 200, 0))


def check_two_heads(tap, session, screen):
    left, right = screen.window(f"^{NAME} - left"), screen.window(f"^{NAME} - right")
    left.do("windowmove", 20, 40)
    right.do("windowmove", 800, 500)
    with tap.case("two heads: each window has its picture"):
        with session.picture(2, "--scanout", 1):
            right.wait_pixels(moving(400, 300, 1))
            until(lambda: "no signal" in left.title(), left.title)
            expect(not any(left.pixels().rgb), "the other one is black")


def check_close(tap, session, screen):
    """--on-close hide, with two heads."""
    with tap.case("closing a window hides it, and the guest goes on"), session.picture(1):
        window = screen.window(f"^{NAME} - left")
        window.focus()
        screen.xdotool("key", "alt+F4")
        until(lambda: not screen.windows(f"^{NAME} - left"), "the window is gone")
        expect(session.scanout()["display"] == "headless", session.scanout())
        expect(len(screen.windows(f"^{NAME} - right")) == 1, "the other window stays")
        session.control("output", "move", 0, "sdl")
        screen.window(f"^{NAME} - left").wait_pixels(moving(320, 200, 0))


def check_hidden(tap, session, screen):
    """A window that nobody sees."""
    window = screen.window(f"^{NAME} - left")
    with tap.case("a minimised window does not stall the guest"), session.demo("--seconds", PATIENCE):
        until(lambda: session.scanout()["frames"] > 0, "frames")
        window.do("windowminimize")
        until(lambda: not screen.windows(f"^{NAME} - left"), "the window is minimised")
        before, started = session.scanout(), time.monotonic()
        time.sleep(SECONDS_HIDDEN)
        after, seconds = session.scanout(), time.monotonic() - started
        rate = (after["frames"] - before["frames"]) / seconds
        tap.note(f"{rate:.0f} frames a second, {after['dropped'] - before['dropped']} dropped, {after['timeouts'] - before['timeouts']} late")
        expect(rate >= 15, f"{rate} frames a second")
        expect(after["bytes_copied"] == before["bytes_copied"], "nobody looks, and pixels are copied")
        window.do("windowmap")
        until(lambda: session.scanout()["bytes_copied"] > after["bytes_copied"], "pixels flow again")
    with tap.case("a window that comes back shows the newest frame"):
        window.do("windowminimize")
        until(lambda: not screen.windows(f"^{NAME} - left"), "the window is minimised")
        with session.picture(7):
            window.do("windowmap")
            window.wait_pixels(moving(320, 200, 6))
    with tap.case("a screenshot of a minimised window"):
        window.do("windowminimize")
        until(lambda: not screen.windows(f"^{NAME} - left"), "the window is minimised")
        for frames in 4, 2:  # shown while nobody looked
            with session.picture(frames):
                session.control("screenshot", session.directory / "hidden.png")
                expect(read_png(session.directory / "hidden.png").rgb == moving(320, 200, frames - 1).rgb, f"not picture {frames - 1}")
        window.do("windowmap")


def wakeups(process, seconds):
    """Of the display's thread, in one second."""
    def switches():
        for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
            if (task / "comm").read_text(encoding="ascii").strip() == "vitrine-display":
                lines = (task / "status").read_text(encoding="ascii").splitlines()
                return next(int(line.split()[1]) for line in lines if line.startswith("voluntary"))
        raise AssertionError("there is no display thread")

    before, started = switches(), time.monotonic()
    time.sleep(seconds)
    return (switches() - before) / (time.monotonic() - started)


def check_idle(tap, session, screen):
    with tap.case("a window in which nothing happens sleeps"), session.picture():
        until(lambda: any(screen.window("^Vitrine - vitrine-0").pixels().rgb), "the picture")
        until(lambda: wakeups(session.device.process, SECONDS_HIDDEN) <= 2, lambda: wakeups(session.device.process, SECONDS_HIDDEN))


def check_quit(tap, session, screen):
    with tap.case("closing a window ends the program"):
        screen.window("^Vitrine - vitrine-0").focus()
        screen.xdotool("key", "alt+F4")
        expect(session.device.process.wait(PATIENCE) == 0, session.log())


def check_server_dies(tap, session, window, server):
    """Of the X server's death the guest notices nothing."""
    with tap.case("the X server dies: the output is headless, and the guest goes on"), session.picture(2):
        window.wait_pixels(moving(320, 200, 1))
        server.kill()  # while nothing is being drawn: Xlib may crash then, ui/sdl/connection.c
        server.wait()
        until(lambda: session.device.process.poll() is not None or session.scanout()["display"] == "headless", session.log)
        expect(session.device.process.poll() is None, f"vitrine ended: {session.log()}")
        session.control("screenshot", session.directory / "dead.png")
        expect("desktop" in session.scanout()["output"]["lost"], session.scanout())
    with tap.case("it ends as it should, without its X server"):
        expect((wrong := session.device.end()) is None, f"{wrong}: {session.log()}")


def run(tap, programs, directory):
    with contextlib.ExitStack() as stack:
        screen = x11.Desktop(directory)
        stack.callback(screen.close)

        def session(name, *options):
            return Session(programs, directory / name, screen.env, "--display", "sdl", *options)

        with session("automatic", "--name", NAME) as one:
            check_automatic(tap, one, screen)
        with session("fixed", "--name", NAME, "--on-close", "hide", "--output", "320x200,name=left", "--output", "400x300,name=right") as two:
            for check in (check_fixed, check_size_stays, check_two_heads, check_close, check_hidden):
                check(tap, two, screen)
        with session("quit") as three:
            check_idle(tap, three, screen)
            check_quit(tap, three, screen)
        with session("dead", "--output", "320x200") as four:
            check_server_dies(tap, four, screen.window("^Vitrine - "), screen.server.process)


def main(*programs):
    tap = Tap()
    if reason := desktop.missing() or x11.missing():
        tap.skip("windows", reason)
        return tap.finish()
    with tempfile.TemporaryDirectory(prefix="vitrine-windows-") as directory:
        run(tap, programs, pathlib.Path(directory))
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
