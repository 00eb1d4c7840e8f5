# SPDX-License-Identifier: MIT
"""What the tests in virtual machines have in common: a session with one guest, and a main program that runs one session after another."""

import argparse
import contextlib
import pathlib
import tempfile
import time

import picture
from machine import Kit
from tap import Failure, Tap, expect


class Session:
    """A vitrine, a guest that it is the display of, and the cases that look at both. Who inherits sets vitrine and guest."""

    size = (1280, 800)
    settle = 10  # seconds: a guest waits 50 ms for a frame and then says that it is shown; on a busy machine it may not be yet

    def __init__(self, tap, environment, name):
        self.tap, self.environment, self.name = tap, environment, name
        self.work = environment.work / name
        self.work.mkdir()
        self.vitrine = self.guest = None
        self.shots = 0

    def __enter__(self):
        self.vitrine.start()
        return self

    def __exit__(self, failed, *_):
        if not failed:
            self.check_end()
        self.stop_guest()
        self.vitrine.stop()

    def stop_guest(self):
        self.guest.stop()

    def check_end(self):
        """The program ends when it is asked to, with nothing left behind; a sanitizer's findings would be its exit status."""
        with self.tap.case(f"{self.name}: vitrine ends when asked", self.logs):
            status = self.vitrine.quit()
            expect(status == 0, f"vitrine ended with status {status}")
            left = [path.name for path in (self.vitrine.socket, self.vitrine.control) if path.exists()]
            expect(not left, f"sockets are left: {left}")

    def logs(self):
        return f"{self.guest.logs() if self.guest else ''}\nvitrine:\n{self.vitrine.log()[-3000:]}"

    @contextlib.contextmanager
    def case(self, name):
        with self.tap.case(f"{self.name}: {name}", self.logs):
            yield
            expect(self.vitrine.alive(), "vitrine is not running any more")

    def screenshot(self, *options):
        self.shots += 1
        return picture.read_png(self.vitrine.screenshot(self.work / f"shot{self.shots}.png", *options))

    def expect_image(self, expected, seed=None, options=(), settle=None):
        """settle: seconds that the picture may take to be there."""
        deadline = time.monotonic() + (self.settle if settle is None else settle)
        while difference := picture.difference(self.screenshot(*options), expected, seed):
            if time.monotonic() >= deadline:
                raise AssertionError(difference)
            time.sleep(0.3)

    def expect_picture(self, seed):
        self.expect_image(picture.picture(*self.size, seed), seed)

    def expect_path(self, *wanted):
        scanout = self.vitrine.scanout()
        expect(scanout["path"] in wanted, f"path is {scanout['path']}, not {' or '.join(wanted)}; why not: {scanout['why_not']}")
        return scanout


def _parse(description, programs, sessions):
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    for program in programs:
        parser.add_argument(f"--{program}", required=True, type=pathlib.Path, metavar="PROGRAM")
    parser.add_argument("--session", action="append", choices=sessions, help="run these sessions only")
    parser.add_argument("--work", help="a directory that keeps screenshots and logs")
    arguments = parser.parse_args()
    found = {name.replace("_", "-"): path.resolve() for name, path in vars(arguments).items() if isinstance(path, pathlib.Path)}
    return found, arguments


def _run(tap, name, session, environment):
    started = time.monotonic()
    try:
        session(tap, environment)
    except Failure as failure:
        with tap.case(f"{name}: session"):
            raise failure
    tap.note(f"session {name}: {time.monotonic() - started:.0f} s")


def main(description, programs, sessions, set_up, missing=None, place=None):  # pylint: disable=too-many-arguments
    """Of a test with these programs as options. sessions: by name, called with the TAP and the environment, which is what
    set_up(programs, work, tap) returned. missing: why it cannot run here. place: where its temporary directory is."""
    found, arguments = _parse(description, programs, sessions)
    if missing := missing or Kit().missing():
        print(f"1..0 # SKIP {missing}")
        return 0
    tap = Tap()
    with contextlib.ExitStack() as stack:
        if arguments.work:
            work = pathlib.Path(arguments.work)
            work.mkdir(parents=True, exist_ok=True)
        else:
            work = stack.enter_context(tempfile.TemporaryDirectory(prefix="vitrine-vm-", dir=place))
        try:
            environment = set_up(found, work, tap)
        except Failure as failure:
            print(f"Bail out! {failure}")
            return 1
        for name in arguments.session or sessions:
            _run(tap, name, sessions[name], environment)
    return tap.finish()
