#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Keys, pointer and fingers in a window of a Wayland compositor, by weston's seat, as the guest's input devices tell them.

    test_wayland_input.py VITRINE VITRINECTL VITRINE_GUEST
"""
import contextlib
import pathlib
import sys
import tempfile

import desktop
from session import Session
from tap import Tap, expect
from test_desktop_input import EV_ABS, EV_KEY, EV_REL, Events, near
from x11 import until

# the window has the whole screen, and the guest's picture is half as large
WIDTH, HEIGHT = 320, 200
SCALE = 2
A, B, G, S, RIGHT = 30, 48, 34, 31, 106
LEFTCTRL, RIGHTCTRL, LEFTALT, RIGHTALT, LEFTSHIFT = 29, 97, 56, 100, 42
BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA, BTN_TOUCH = 0x110, 0x111, 0x112, 0x113, 0x114, 0x14A
REL_X, REL_Y, REL_HWHEEL, REL_WHEEL, REL_WHEEL_HI_RES, REL_HWHEEL_HI_RES = 0, 1, 6, 8, 11, 12
ABS_MT_SLOT, ABS_MT_POSITION_X, ABS_MT_POSITION_Y, ABS_MT_TRACKING_ID = 0x2F, 0x35, 0x36, 0x39


def check_keys(tap, weston, events):
    with tap.case("keys, whatever the layout"):
        for code in A, B, RIGHT, LEFTSHIFT, RIGHTCTRL, RIGHTALT:
            weston.act(f"key {code} 1", f"key {code} 0")
            events.tap(code)
    with tap.case("a key that is held is repeated by nobody here"):
        weston.act(f"key {A} 1")
        events.expect(("keyboard", EV_KEY, A, 1))
        events.silence()
        weston.act(f"key {A} 0")
        events.expect(("keyboard", EV_KEY, A, 0))
    with tap.case("released when the window loses the focus"):
        weston.act(f"key {LEFTSHIFT} 1")
        events.expect(("keyboard", EV_KEY, LEFTSHIFT, 1))
        weston.act("leave")
        events.expect(("keyboard", EV_KEY, LEFTSHIFT, 0))
        weston.act(f"key {LEFTSHIFT} 0", "enter")
        events.drop()


def check_hotkeys(tap, weston, events):
    def pressed(*codes):
        weston.act(*(f"key {code} 1" for code in codes))
        weston.act(*(f"key {code} 0" for code in reversed(codes)))
        seen = []
        while event := events.next(0.3):
            seen.append(event)
        down = {event[2] for event in seen if event[3]}
        expect(down == {event[2] for event in seen if not event[3]}, f"{seen}: something stays down")
        return down

    with tap.case("hotkeys with the modifiers of either side"):
        for ctrl in LEFTCTRL, RIGHTCTRL:
            for alt in LEFTALT, RIGHTALT:
                expect(pressed(ctrl, alt, S) == {ctrl, alt}, "the hotkey is not the guest's")
    with tap.case("both keys of a modifier, and one of them lifted"):
        weston.act(f"key {LEFTCTRL} 1", f"key {RIGHTCTRL} 1", f"key {LEFTCTRL} 0")
        events.drop()
        expect(pressed(LEFTALT, S) == {LEFTALT}, "Ctrl is still down")
        weston.act(f"key {RIGHTCTRL} 0")
        events.drop()
        expect(pressed(LEFTALT, A) == {LEFTALT, A}, "and now it is not")


def check_pointer(tap, weston, events):
    with tap.case("the pointer is at the guest's pixel"):
        for x, y in (0, 0), (100, 50), (319, 199), (7, 131):
            weston.act("move 300 300", f"move {x * SCALE + 1} {y * SCALE + 1}")
            place = events.place()
            expect((place[0] is None or near(place[0], x, WIDTH)) and (place[1] is None or near(place[1], y, HEIGHT)), (place, x, y))
    with tap.case("buttons"):
        for code in BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA:
            weston.act(f"button {code} 1", f"button {code} 0")
            events.tap(code, "tablet")
    with tap.case("steps of the wheel"):
        for steps in 1, -1, 3:
            weston.act(f"wheel {steps}")
            got = {events.next(), events.next()}
            expect(got == {("tablet", EV_REL, REL_WHEEL, -steps), ("tablet", EV_REL, REL_WHEEL_HI_RES, -120 * steps)}, got)
    with tap.case("less than a step, in both directions"):
        weston.act("scroll 0 5")
        events.expect(("tablet", EV_REL, REL_WHEEL_HI_RES, -40))
        weston.act("scroll -2.5 0")
        events.expect(("tablet", EV_REL, REL_HWHEEL_HI_RES, -20))
        events.silence()
        weston.act("scroll 0 10")  # which makes a step of it
        got = {events.next(), events.next()}
        expect(got == {("tablet", EV_REL, REL_WHEEL, -1), ("tablet", EV_REL, REL_WHEEL_HI_RES, -80)}, got)


class Fingers:
    """What the guest's touch screen shows: by slot, None or [x, y]."""

    def __init__(self, events):
        self.events, self.slot, self.places = events, 0, {}

    def follow(self):
        while event := self.events.next(0.3):
            device, kind, code, value = event
            expect(device == "touch", event)
            if kind != EV_ABS:
                expect((kind, code) == (EV_KEY, BTN_TOUCH), event)
            elif code == ABS_MT_SLOT:
                self.slot = value
            elif code == ABS_MT_TRACKING_ID:
                self.places.pop(self.slot, None)
                if value >= 0:
                    self.places[self.slot] = [None, None]
            elif code in (ABS_MT_POSITION_X, ABS_MT_POSITION_Y):
                self.places[self.slot][code - ABS_MT_POSITION_X] = value
        return self

    def expect(self, *pixels):
        places = sorted(self.follow().places.values())
        expect(len(places) == len(pixels) and all(near(place[0], x, WIDTH) and near(place[1], y, HEIGHT)
                                                  for place, (x, y) in zip(places, sorted(pixels))), (places, pixels))


def check_touch(tap, weston, events):
    fingers = Fingers(events)
    with tap.case("fingers come, move and go"):
        weston.act("touch 1 21 41")
        fingers.expect((10, 20))
        weston.act("touch 2 201 101", "touch 1 61 81")
        fingers.expect((30, 40), (100, 50))
        weston.act("lift 1")
        fingers.expect((100, 50))
        weston.act("touch 2 639 399", "touch 7 1 1")
        fingers.expect((319, 199), (0, 0))
        weston.act("lift 7", "lift 2")
        fingers.expect()


def check_mouse(tap, weston, events):
    """A guest without the tablet: the pointer is locked into the window, and only its motion is told."""
    def moved():
        total = [0, 0]
        while event := events.next(0.3):
            expect(event[:2] == ("mouse", EV_REL), event)
            total[event[2]] += event[3]
        return total

    with tap.case("mouse: nothing before the window has the pointer"):
        weston.act("push 10 20")
        events.silence()
    with tap.case("mouse: a click takes the pointer in, and is not the guest's"):
        weston.act(f"button {BTN_LEFT} 1", f"button {BTN_LEFT} 0")
        events.drop()
        weston.act("push 10 20", "push -3 -50.5", "push 0 0.5")
        expect(moved() == [7, -30], "motion, with its fractions")
        weston.act(f"button {BTN_RIGHT} 1", f"button {BTN_RIGHT} 0")
        events.tap(BTN_RIGHT, "mouse")
    with tap.case("mouse: Ctrl+Alt+G lets it go"):
        codes = LEFTCTRL, RIGHTALT, G
        weston.act(*(f"key {code} 1" for code in codes), *(f"key {code} 0" for code in codes))
        events.drop()
        weston.act("push 10 20")
        events.silence()


def run(tap, programs, directory):
    with contextlib.ExitStack() as stack:
        screen = directory / "screen"
        screen.mkdir()
        weston = stack.enter_context(desktop.Weston(screen, WIDTH * SCALE, HEIGHT * SCALE))
        session = stack.enter_context(Session(programs, directory / "input", weston.env, "--display", "wayland",
                                              "--output", f"{WIDTH}x{HEIGHT}"))
        with session.picture(1), session.events("keyboard,tablet,touch") as process:
            events = Events(process)
            until(lambda: session.scanout()["display"] == "wayland", session.log)
            weston.act("move 300 300")
            expect(events.next() is not None, session.log)  # the window is there
            events.drop()
            check_keys(tap, weston, events)
            check_hotkeys(tap, weston, events)
            check_pointer(tap, weston, events)
            check_touch(tap, weston, events)
        with session.picture(1), session.events("keyboard,mouse") as process:
            check_mouse(tap, weston, Events(process))


def main(*programs):
    tap = Tap()
    if reason := desktop.missing():
        tap.skip("input", reason)
        return tap.finish()
    with tempfile.TemporaryDirectory(prefix="vitrine-wayland-input-") as directory:
        run(tap, programs, pathlib.Path(directory))
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
