# SPDX-License-Identifier: MIT
"""A machine with a card, on whose screen the KMS display of a vitrine inside shows its pictures."""

import contextlib
import time

import picture
from inside import Inside
from qmp import Monitor
from tap import expect

SETTLE = 20


class Screen:
    """A machine whose screen we look at from outside; look(): an image of it."""

    def __init__(self, inside, look):
        self.inside, self.look = inside, look

    def expect(self, expected):
        """The screen shows this picture, soon."""
        deadline = time.monotonic() + SETTLE
        while difference := picture.difference(self.look(), expected):
            if time.monotonic() >= deadline:
                picture.write_png(self.inside.work / "wrong.png", self.look())
                raise AssertionError(difference)
            time.sleep(0.3)

    def steady(self):
        """What the screen shows when it does not change any more."""
        before = self.look()
        while (now := self.look()).rgb != before.rgb:
            before = now
        return now


def write_console(inside, terminal, text):
    """Text, and no blinking cursor."""
    inside.host.run(f"printf '\\033[?25l{text}\\n' >/dev/tty{terminal}")


def boot(inside, screen):
    """The machine with its text console, as the display will find it."""
    inside.host.start()
    inside.host.wait_ready()
    inside.host.run("for i in $(seq 100); do [ -e /dev/dri/card0 ] && break; sleep 0.1; done; [ -e /dev/dri/card0 ]")
    write_console(inside, 1, "the first terminal")
    write_console(inside, 2, "the second terminal")
    time.sleep(0.5)
    console = screen.steady()
    expect(len(set(console.rgb)) == 2, "the screen does not show a text console")
    return console


@contextlib.contextmanager
def machine(tap, environment, name, modules, kind=Inside, **options):
    """A machine with a card, its screen, and QEMU's monitor; ended when it is left. kind: what runs inside."""
    monitor = Monitor(environment.work / f"{name}.qmp")
    options["extra"] = [*options.get("extra", ()), *monitor.arguments()]
    inside = kind(tap, environment, name, "kms", modules, **options)
    screen = Screen(inside, lambda: monitor.screen(inside.work / "screen.ppm"))
    try:
        yield inside, screen, monitor
    finally:
        monitor.close()
        inside.host.stop()
