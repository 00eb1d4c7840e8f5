# SPDX-License-Identifier: MIT
"""The cases about input: what a stock kernel makes of the four devices, event by event as its evdev has them."""

import json

from qmp import wait_until
from tap import expect

SYN, KEY, REL, ABS = 0, 1, 2, 3
CTRL, ALT, SHIFT, A, B, ENTER, TAB, F2, F24 = 29, 56, 42, 30, 48, 28, 15, 60, 194
LEFT, RIGHT, TOUCH = 0x110, 0x111, 0x14a
X, Y, SLOT, MT_X, MT_Y, TRACKING_ID = 0, 1, 0x2f, 0x35, 0x36, 0x39
REL_HWHEEL, REL_WHEEL, WHEEL_HI_RES, HWHEEL_HI_RES = 6, 8, 11, 12
AXIS = 32768

# What each device says of itself to the guest. types, properties, rel and leds are bits.
DEVICES = {
    "Keyboard": "serial=vitrine-keyboard bus=6 id=1af4:0001 version=1 types=120003 properties=0 keys=577 rel=0 leds=7",
    "Tablet": "serial=vitrine-tablet bus=6 id=1af4:0002 version=1 types=f properties=0 keys=8 rel=1940 leds=0 "
              "abs0=0..32767 abs1=0..32767",
    "Mouse": "serial=vitrine-mouse bus=6 id=1af4:0003 version=1 types=7 properties=1 keys=8 rel=1943 leds=0",
    "Touchscreen": "serial=vitrine-touch bus=6 id=1af4:0004 version=1 types=b properties=2 keys=1 rel=0 leds=0 "
                   "abs0=0..32767 abs1=0..32767 abs47=0..9 abs53=0..32767 abs54=0..32767 abs57=0..65535",
}


def functions(prefix, first=7):
    """QEMU's arguments for the four devices, at PCI addresses from `first` on."""
    arguments = []
    for number, kind in enumerate(("keyboard", "tablet", "mouse", "touch"), first):
        device = {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": f"{prefix}.{kind}"}, "addr": f"{number:02x}.0"}
        arguments += ["-device", json.dumps(device)]
    return arguments


def position(pixel, size):
    """Where the middle of this pixel lies on an axis."""
    return (2 * pixel + 1) * AXIS // (2 * size)


def packets(*contents):
    """Events with a SYN_REPORT behind each group."""
    events = []
    for content in contents:
        events += [*content, (SYN, 0, 0)]
    return events


def taps(*codes):
    """Each key down and up again."""
    return packets(*([(KEY, code, value)] for code in codes for value in (1, 0)))


class Recorder:
    """Everything that the guest's evdev gives while vitrinectl is asked for this and that; a request can be a function, too."""

    def __init__(self, session):
        self.session = session

    def record(self, *requests):
        """The events of each device, in order, without those of the key that ends the recording."""
        guest, vitrine = self.session.guest, self.session.vitrine
        guest.send("guest-input record")
        guest.wait_for("@@LISTENING", 60)
        first = len(guest.transcript)
        for request in (*requests, ("key", "f24")):
            if callable(request):
                request()
            else:
                vitrine.ask(*request, "--timeout", "60", timeout=120)
        guest.wait_for("@@DONE 0", 60)
        events = {}
        for line in guest.transcript[first:]:
            if line.startswith("@@EVENT "):
                _, device, *numbers = line.split()
                events.setdefault(device, []).append(tuple(map(int, numbers)))
        end = taps(F24)
        expect(events.get("Keyboard", [])[-len(end):] == end, f"the recording does not end as it should: {events}")
        events["Keyboard"] = events["Keyboard"][:-len(end)]
        return events

    def expect(self, wanted, *requests):
        """wanted: events of each device; the others have none."""
        events = {device: found for device, found in self.record(*requests).items() if found}
        for device in {*events, *wanted}:
            found, right = events.get(device, []), wanted.get(device, [])
            expect(found == right, f"{requests}: {device} has {found}, not {right}")


def check_devices(session):
    """The guest's own words."""
    lines = dict(line.removeprefix("@@DEVICE ").split(": ", 1) for line in session.guest.run("guest-input list"))
    expect(lines == DEVICES, f"the guest sees {lines}")
    used = {device["kind"]: device["used"] for device in session.vitrine.status()["input"]["devices"]}
    expect(used == dict.fromkeys(("keyboard", "tablet", "mouse", "touch"), True), f"used are {used}")


def check_pointer(recorder, width, height):
    """Tablet, mouse and wheel."""
    def at(pixel_x, pixel_y):
        return [(ABS, X, position(pixel_x, width)), (ABS, Y, position(pixel_y, height))]
    click = packets([(KEY, LEFT, 1)], [(KEY, LEFT, 0)])
    recorder.expect({"Tablet": packets(at(100, 200)) + click}, ("pointer", "100,200", "click"))
    recorder.expect({"Tablet": packets(at(width - 1, height - 1), [(KEY, RIGHT, 1)], [(KEY, RIGHT, 0)])},
                    ("pointer", f"{width - 1},{height - 1}", "click:right"))
    path = [at(80 * i, 40 * i) for i in range(1, 9)]
    recorder.expect({"Tablet": packets(at(0, 0), [(KEY, LEFT, 1)], *path, [(KEY, LEFT, 0)])}, ("pointer", "0,0", "drag:640,320"))
    recorder.expect({"Tablet": packets([(REL, WHEEL_HI_RES, -120), (REL, REL_WHEEL, -1)], [(REL, WHEEL_HI_RES, -60)],
                                       [(REL, HWHEEL_HI_RES, 120), (REL, REL_HWHEEL, 1)])},
                    ("pointer", "wheel:-1.5", "hwheel:1"))
    recorder.expect({"Mouse": packets([(REL, X, 7), (REL, Y, -9)]) + click}, ("pointer", "by:7,-9", "click"))


def check_touch(recorder, width, height):
    """One finger, which is also the pointer of programs that know no more than one."""
    def finger(pixel_x, pixel_y, names):
        return [(ABS, names[0], position(pixel_x, width)), (ABS, names[1], position(pixel_y, height))]
    events = recorder.record(("pointer", "10,20", "tap", "640,0", "swipe:640,400"))
    expect(set(filter(events.get, events)) == {"Touchscreen"}, f"others have events, too: {events}")
    events = events["Touchscreen"]
    ids = [value for kind, code, value in events if (kind, code) == (ABS, TRACKING_ID)]
    expect(len(ids) == 4 and ids[1] == ids[3] == -1 and ids[0] >= 0 and ids[2] == ids[0] + 1, f"tracking ids are {ids}")
    lift = [(ABS, TRACKING_ID, -1), (KEY, TOUCH, 0)]
    steps = [[(ABS, MT_Y, position(50 * i, height)), (ABS, Y, position(50 * i, height))] for i in range(1, 9)]
    wanted = packets([(ABS, TRACKING_ID, ids[0]), *finger(10, 20, (MT_X, MT_Y)), *finger(10, 20, (X, Y)), (KEY, TOUCH, 1)], lift,
                     [(ABS, TRACKING_ID, ids[2]), *finger(640, 0, (MT_X, MT_Y)), *finger(640, 0, (X, Y)), (KEY, TOUCH, 1)],
                     *steps, lift)
    expect(events == wanted, f"the touch screen has {events}, not {wanted}")


def check_typing(recorder):
    """A text with everything on a US keyboard: as many presses as releases, and shift where it belongs."""
    recorder.expect({"Keyboard": taps(A) + packets([(KEY, SHIFT, 1)], [(KEY, B, 1)], [(KEY, B, 0)], [(KEY, SHIFT, 0)]) + taps(TAB, ENTER)},
                    ("type", "aB\t\n"))
    text = "".join(map(chr, range(32, 127)))
    events = recorder.record(("type", text))["Keyboard"]
    presses = [code for kind, code, value in events if kind == KEY and value == 1 and code != SHIFT]
    releases = [code for kind, code, value in events if kind == KEY and value == 0 and code != SHIFT]
    expect(len(presses) == len(text) and presses == releases, f"{len(presses)} presses, {len(releases)} releases of {len(text)} keys")
    shifts = sum(1 for kind, code, value in events if (kind, code, value) == (KEY, SHIFT, 1))
    expect(shifts == sum(character.isupper() or character in '~!@#$%^&*()_+{}|:"<>?' for character in text), f"{shifts} shifts")


def check_leds(session):
    """A program in the guest turns a LED on; the host sees it."""
    for code, value, wanted in ((1, 1, ["caps"]), (2, 1, ["caps", "scroll"]), (1, 0, ["scroll"]), (2, 0, [])):
        session.guest.run(f"guest-input led {code} {value}")
        wait_until(lambda wanted=wanted: session.vitrine.status()["input"]["leds"] == wanted, 30, f"LEDs {wanted}")


def run_cases(session, width, height):
    """All of them, in a guest that is at its shell."""
    recorder = Recorder(session)
    with session.case("the kernel finds keyboard, tablet, mouse and touch screen"):
        check_devices(session)
    with session.case("vitrinectl key: combinations, in evdev and at the kernel's console"):
        session.guest.run("true >/dev/tty2")  # or there is none to switch to
        combination = packets(*([(KEY, code, value)] for value, codes in ((1, (CTRL, ALT, F2)), (0, (F2, ALT, CTRL))) for code in codes))
        recorder.expect({"Keyboard": combination}, ("key", "ctrl-alt-f2"))
        active = session.guest.run("cat /sys/class/tty/tty0/active")
        expect("tty2" in active, f"the kernel's active console is {active}")
        recorder.expect({"Keyboard": packets([(KEY, SHIFT, 1)]) + taps(A) + packets([(KEY, SHIFT, 0)])},
                        ("key", "--press", "shift"), ("key", "a"), ("key", "--release", "shift"))
    with session.case("vitrinectl type: every character, none lost"):
        check_typing(recorder)
    with session.case("vitrinectl pointer: positions, buttons, drag, wheel, relative motion"):
        check_pointer(recorder, width, height)
    with session.case("vitrinectl pointer: a finger"):
        check_touch(recorder, width, height)
    with session.case("LEDs that the guest sets are seen"):
        check_leds(session)
