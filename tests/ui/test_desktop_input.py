#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Keys and pointer in windows on an X desktop, by xdotool, as the guest's input devices tell them.

    test_desktop_input.py VITRINE VITRINECTL VITRINE_GUEST
"""
import contextlib
import pathlib
import sys
import tempfile

import desktop
import x11
from session import Session
from tap import Tap, expect
from x11 import until

QUIET_SECONDS = 0.3
EV_SYN, EV_KEY, EV_REL, EV_ABS = "EV_SYN", "EV_KEY", "EV_REL", "EV_ABS"
REL_X, REL_Y, REL_HWHEEL, REL_WHEEL, REL_WHEEL_HI_RES, REL_HWHEEL_HI_RES = 0, 1, 6, 8, 11, 12
ABS_MAX = 32767
LEFTSHIFT, A, LEFTCTRL = 42, 30, 29

# X's names of keys on a US keyboard: their codes in linux/input-event-codes.h
KEYS = {
    "letters": {"a": 30, "q": 16, "y": 21, "z": 44, "m": 50},
    "digits and signs": {"1": 2, "0": 11, "minus": 12, "equal": 13, "bracketleft": 26, "semicolon": 39, "apostrophe": 40, "grave": 41,
                         "backslash": 43, "comma": 51, "slash": 53},
    "whitespace": {"Return": 28, "Tab": 15, "space": 57, "BackSpace": 14, "Escape": 1},
    "modifiers": {"Shift_L": 42, "Control_L": 29, "Alt_L": 56, "Super_L": 125},
    "arrows": {"Up": 103, "Down": 108, "Left": 105, "Right": 106, "Home": 102, "End": 107, "Prior": 104, "Next": 109, "Insert": 110,
               "Delete": 111},
    "by X's keycodes, where names take more keys": {"62": 54, "105": 97, "108": 100, "94": 86},
    "function keys": {"F1": 59, "F5": 63, "F10": 68, "F11": 87, "F12": 88, "Print": 99, "Pause": 119, "Menu": 127},
    "keypad": {"KP_Home": 71, "KP_Begin": 76, "KP_Next": 81, "KP_Insert": 82, "KP_Delete": 83, "KP_Enter": 96, "KP_Divide": 98,
               "KP_Multiply": 55, "KP_Subtract": 74, "KP_Add": 78},
}
BUTTONS = {"left": (1, 0x110), "middle": (2, 0x112), "right": (3, 0x111), "side": (8, 0x113), "extra": (9, 0x114)}
WHEELS = {"up": (4, REL_WHEEL, REL_WHEEL_HI_RES, 1), "down": (5, REL_WHEEL, REL_WHEEL_HI_RES, -1),
          "left": (6, REL_HWHEEL, REL_HWHEEL_HI_RES, -1), "right": (7, REL_HWHEEL, REL_HWHEEL_HI_RES, 1)}


class Events:
    """What the guest gets, without the ends of packets."""

    def __init__(self, process):
        self.process = process

    def next(self, seconds=x11.PATIENCE):
        while line := self.process.next_line(seconds):
            device, kind, code, value = line.split()
            if kind != EV_SYN:
                return device, kind, int(code), int(value)
        return None

    def expect(self, *expected):
        for event in expected:
            got = self.next()
            expect(got == event, f"{got}, not {event}")

    def tap(self, code, device="keyboard"):
        self.expect((device, EV_KEY, code, 1), (device, EV_KEY, code, 0))

    def silence(self):
        got = self.next(QUIET_SECONDS)
        expect(got is None, f"{got}, where nothing should come")

    def drop(self):
        """Whatever comes until it is quiet."""
        while self.next(QUIET_SECONDS):
            pass

    def place(self):
        """Where the tablet is after all that comes until it is quiet; axes that say nothing: None."""
        axes = [None, None]
        while event := self.next(QUIET_SECONDS):
            expect(event[:2] == ("tablet", EV_ABS), event)
            axes[event[2]] = event[3]
        return axes


def near(value, pixel, extent):
    """A guest that spreads the axis over extent pixels has the pointer on this pixel."""
    return value is not None and int(value * extent / (ABS_MAX + 1)) == pixel


def check_keys(tap, screen, events):
    for name, keys in KEYS.items():
        with tap.case(f"keys: {name}"):
            for key, code in keys.items():
                screen.xdotool("key", key)
                events.tap(code)
    with tap.case("keys: combinations, in their order"):
        screen.xdotool("keydown", "Control_L", "keydown", "Shift_L", "key", "a", "keyup", "Shift_L", "keyup", "Control_L")
        key = ("keyboard", EV_KEY)
        events.expect((*key, LEFTCTRL, 1), (*key, LEFTSHIFT, 1), (*key, A, 1), (*key, A, 0), (*key, LEFTSHIFT, 0), (*key, LEFTCTRL, 0))
    with tap.case("keys: the guest repeats them itself"):
        screen.xdotool("keydown", "a", "sleep", "1", "keyup", "a")
        events.tap(A)
        events.silence()
    with tap.case("keys: hotkeys are not the guest's"):
        screen.xdotool("key", "ctrl+alt+s")
        screen.xdotool("key", "ctrl+alt+s")
        seen = []
        while event := events.next(QUIET_SECONDS):
            seen.append(event)
        expect(all(event[2] in (29, 56) for event in seen if event[3]), seen)
        held = {event[2] for event in seen if event[3]} - {event[2] for event in seen if not event[3]}
        expect(not held, f"{held} stay down")


def check_focus(tap, screen, events, window, other):
    with tap.case("keys: released when the window loses the focus"):
        screen.xdotool("keydown", "shift")
        events.expect(("keyboard", EV_KEY, LEFTSHIFT, 1))
        other.focus()
        events.expect(("keyboard", EV_KEY, LEFTSHIFT, 0))
        screen.xdotool("keyup", "shift")
        window.focus()
        events.drop()


def check_pointer(tap, screen, events, left, right):
    """Two pictures side by side, 320x200 each; the right window is larger than its picture."""
    wide, high = 320 + 320, 200

    def point(window, x, y):
        left_edge, top = window.position()
        screen.xdotool("mousemove", left_edge + x, top + y)
        return events.place()

    with tap.case("pointer: pixels of the left picture"):
        point(left, 10, 10)
        x, y = point(left, 100, 50)
        expect(near(x, 100, wide) and near(y, 50, high), (x, y))
        x, y = point(left, 319, 199)
        expect(near(x, 319, wide) and near(y, 199, high), (x, y))
    with tap.case("pointer: pixels of the right picture"):
        right.do("windowsize", 320, 200)
        until(lambda: right.size() == (320, 200), right.size)
        x, y = point(right, 200, 150)
        expect(near(x, 320 + 200, wide) and near(y, 150, high), (x, y))
    with tap.case("pointer: buttons"):
        for number, code in BUTTONS.values():
            screen.xdotool("click", number)
            events.tap(code, "tablet")
    with tap.case("pointer: wheel"):
        for number, code, fine, sign in WHEELS.values():
            screen.xdotool("click", number)
            got = {events.next(), events.next()}
            expect(got == {("tablet", EV_REL, code, sign), ("tablet", EV_REL, fine, 120 * sign)}, got)
    with tap.case("pointer: a scaled picture between bars"):
        left.do("windowsize", 640, 500)
        until(lambda: left.size() == (640, 500), left.size)
        point(left, 30, 200)
        x, y = point(left, 201, 50 + 101)
        expect(near(x, 100, wide) and near(y, 50, high), (x, y))
        x, y = point(left, 5, 5)  # on the bar: the nearest pixel
        expect(near(x, 2, wide) and near(y, 0, high), (x, y))


def check_mouse(tap, session, screen, window):
    """A guest without the tablet."""
    with session.events("keyboard,mouse") as process:
        events = Events(process)
        left, top = window.position()
        with tap.case("mouse: nothing before the window has the pointer"):
            screen.xdotool("mousemove", left + 50, top + 50, "mousemove", left + 60, top + 70)
            events.silence()
        with tap.case("mouse: a click takes the pointer in, and is not the guest's"):
            screen.xdotool("click", 1)
            until(lambda: "Ctrl+Alt+G" in window.title(), window.title)
            events.drop()
        with tap.case("mouse: motion and buttons"):
            screen.xdotool("mousemove_relative", 10, 5)
            moved = [0, 0]
            while event := events.next(QUIET_SECONDS):
                expect(event[:2] == ("mouse", EV_REL), event)
                moved[event[2]] += event[3]
            expect(moved == [10, 5], moved)
            screen.xdotool("click", 3)
            events.tap(BUTTONS["right"][1], "mouse")
        with tap.case("mouse: Ctrl+Alt+G lets it go"):
            screen.xdotool("key", "ctrl+alt+g")
            until(lambda: "Ctrl+Alt+G" not in window.title(), window.title)
            events.drop()
            screen.xdotool("mousemove", left + 50, top + 50)
            events.silence()


def run(tap, programs, directory):
    with contextlib.ExitStack() as stack:
        screen = x11.Desktop(directory)
        stack.callback(screen.close)
        session = stack.enter_context(Session(programs, directory / "input", screen.env, "--display", "sdl", "--output", "320x200,name=left",
                                              "--output", "400x300,name=right"))
        left, right = screen.window("^Vitrine - left"), screen.window("^Vitrine - right")
        left.do("windowmove", 20, 40)
        right.do("windowmove", 800, 400)
        left.focus()
        with session.picture(1, "--heads", 2), session.events() as process:
            events = Events(process)
            for window in left, right:
                until(lambda window=window: "mapped" in window.title(), window.title)
            screen.xdotool("mousemove", screen.width - 1, 0, "key", "a")  # SDL tells where the pointer left with the first key only
            events.drop()
            check_keys(tap, screen, events)
            check_focus(tap, screen, events, left, right)
            check_pointer(tap, screen, events, left, right)
        with session.picture(1):
            left.focus()
            check_mouse(tap, session, screen, left)


def main(*programs):
    tap = Tap()
    if reason := desktop.missing() or x11.missing():
        tap.skip("input", reason)
        return tap.finish()
    with tempfile.TemporaryDirectory(prefix="vitrine-input-") as directory:
        run(tap, programs, pathlib.Path(directory))
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
