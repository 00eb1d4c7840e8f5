#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The proof with the real kernel: a guest's frame in an assigned device's memory, scanned out by the host's card without a copy.

All of it runs in the virtual host (host.py), and what is looked at is the virtual host's screen. docs/testing.md says what is needed.
"""

import argparse
import contextlib
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import picture  # noqa: E402
from checks import report  # noqa: E402
from host import DEVICE, InnerVitrine, VirtualHost  # noqa: E402
from machine import Kit  # noqa: E402
from tap import Failure, Tap, expect  # noqa: E402

WIDTH, HEIGHT = 1280, 800


class Nested:
    """The test's cases and what they share."""

    def __init__(self, tap, host):
        self.tap, self.host = tap, host

    @contextlib.contextmanager
    def case(self, name):
        with self.tap.case(f"nested: {name}", self.host.logs):
            yield

    def expect_screen(self, seed, width=WIDTH, height=HEIGHT, output=0, settle=10):
        """Every pixel of the virtual host's monitor is that of picture number seed. settle: seconds that it may take."""
        expected, deadline = picture.picture(width, height, seed), time.monotonic() + settle
        while difference := picture.difference(self.host.screenshot(output), expected, seed):
            if time.monotonic() >= deadline:
                raise AssertionError(difference)
            time.sleep(0.3)


def check_beside(nested):
    """A VMM that has not run an instruction yet, and a program beside it that shows a frame from its device."""
    host, card = nested.host, nested.host.cards["virtio-pci"]
    with nested.case("a program beside a VMM"):
        host.start_guest([])
        host.run("mkfifo /tmp/beside")
        host.run(f"vfio-beside $qemu {DEVICE} {card} 1 </tmp/beside >/tmp/beside.log 2>&1 & beside=$!")
        host.run("exec 9>/tmp/beside; for i in $(seq 600); do grep -q @@SHOWN /tmp/beside.log && break; kill -0 $beside || break; "
                 "sleep 0.1; done")
        report(nested.tap, "nested", host.run("cat /tmp/beside.log"))
        nested.expect_screen(1)
    with nested.case("a VMM that is killed leaves the picture where it is"):
        host.kill_guest()
        host.run("kill -0 $beside")
        nested.expect_screen(1)
        host.run("exec 9>&-; wait $beside")


def run(tap, programs, work):
    inside = [programs["vfio-beside"]]
    host = VirtualHost(programs, work, tap.note, extra_programs=inside)
    nested = Nested(tap, host)
    try:
        started = time.monotonic()
        with nested.case("the virtual host boots"):
            host.start()
            expect(len(host.cards) == 2, f"cards: {host.cards}")
        check_beside(nested)
        tap.note(f"{time.monotonic() - started:.0f} s in all")
    finally:
        host.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for program in ("vitrine", "vitrinectl", "guest-scanout", "vfio-beside"):
        parser.add_argument(f"--{program}", required=True, type=pathlib.Path, metavar="PROGRAM")
    programs = {name.replace("_", "-"): path.resolve() for name, path in vars(parser.parse_args()).items()}
    tap = Tap()
    if missing := Kit().missing():
        print(f"1..0 # SKIP {missing}")
        return 0
    with tempfile.TemporaryDirectory(prefix="vitrine-nested-") as work:
        try:
            run(tap, programs, work)
        except Failure as failure:
            print(f"Bail out! {failure}")
            return 1
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
