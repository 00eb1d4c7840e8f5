#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""vitrine is killed under a stock guest over vhost-user, and started again: the guest's driver notices nothing, the picture is back
before the guest does anything. The VMM is QEMU and a relay (vhost_user_relay.py), which connects again for it: QEMU itself does not live
through that (11.1). Nobody keeps anything for us.
"""

import argparse
import contextlib
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import picture  # noqa: E402
from machine import Environment, Guest, Kit, Vitrine  # noqa: E402
from qmp import wait_until  # noqa: E402
from tap import Failure, Tap, expect  # noqa: E402
from vhost_user_relay import Relay  # noqa: E402

WIDTH, HEIGHT = 1280, 800
PATIENCE = 60
KILLS = 6


class Session:
    def __init__(self, tap, environment, name, options):
        self.tap, self.name, self.environment = tap, name, environment
        self.work = environment.work / name
        self.work.mkdir()
        self.vitrine = Vitrine(environment.programs, self.work, ["--state", str(self.work / "state"), *options], protocol="vhost-user")
        device = ["-chardev", f"socket,id=gpu,path={self.work / 'vmm.sock'}",
                  "-device", "vhost-user-test-device-pci,virtio-id=16,num_vqs=2,vq_size=256,config_size=16,chardev=gpu,addr=06.0"]
        self.guest = Guest(environment.kit, self.work, environment.initramfs, environment.accelerator, extra=device)
        self.relay, self.shots = None, 0

    def __enter__(self):
        return self

    def boot(self):
        (self.work / "vmm.sock").unlink(missing_ok=True)
        self.relay = Relay(self.work / "vmm.sock", self.vitrine.socket)
        self.vitrine.start()
        self.guest.start()
        self.guest.wait_ready()

    def stop_guest(self):
        self.guest.stop()
        self.relay.close()

    def __exit__(self, *_):
        self.stop_guest()
        self.vitrine.stop()

    def logs(self):
        return f"{self.guest.logs()}\nvitrine:\n{self.vitrine.log()[-3000:]}"

    @contextlib.contextmanager
    def case(self, name):
        with self.tap.case(f"{self.name}: {name}", self.logs):
            yield
            expect(self.vitrine.alive(), "vitrine is not running any more")

    def screenshot(self, *options):
        self.shots += 1
        return picture.read_png(self.vitrine.screenshot(self.work / f"shot{self.shots}.png", *options))

    def expect_image(self, expected, *options):
        last = []

        def shown():
            last[:] = [picture.difference(self.screenshot(*options), expected)]
            return not last[0]

        try:
            wait_until(shown, PATIENCE, "the picture")
        except Failure as failure:
            raise AssertionError(last[0]) from failure

    def expect_picture(self, seed):
        self.expect_image(picture.picture(WIDTH, HEIGHT, seed))

    def restart(self):
        """kill -9, and another one in its place that has the guest."""
        self.vitrine.process.kill()
        self.vitrine.process.wait()
        self.vitrine.start()
        wait_until(lambda: "goes on where it was" in self.vitrine.log(), PATIENCE, "that the guest is recognized")

    def expect_no_complaints(self):
        """The driver has seen no error and no time-out."""
        complaints = [line for line in self.guest.log("kernel.log").splitlines() if "*ERROR*" in line or "timed out" in line]
        expect(not complaints, "\n".join(complaints))


def run(tap, environment, name, options, frame):
    with Session(tap, environment, name, options) as session:
        with session.case("a stock guest over QEMU's generic vhost-user device"):
            session.boot()
            session.guest.enter("guest-scanout")
            session.guest.show(f"{frame} 1")
            session.expect_picture(1)
        with session.case("killed and started again while nothing moves, three times"):
            for _ in range(3):
                session.restart()
                session.expect_picture(1)
        with session.case("the guest draws into what it had"):
            session.guest.show("redraw 2")
            session.expect_picture(2)
        if frame == "vfio":
            with session.case(f"killed {KILLS} times during page flips"):
                session.guest.send("flip 3 900")
                for _ in range(KILLS):
                    session.restart()
                session.guest.wait_for(r"@@DONE 0", 240)
                session.expect_picture(3)
        with session.case("the kernel's console, and another frame"):
            session.restart()
            session.guest.show("console 4")
            session.expect_image(picture.console(WIDTH, HEIGHT, 4))
            session.restart()
            session.expect_image(picture.console(WIDTH, HEIGHT, 4))
            session.guest.show(f"{frame} 5")
            session.expect_picture(5)
        with session.case("the guest's driver has noticed nothing"):
            session.expect_no_complaints()
        with session.case("another guest begins anew"):
            session.vitrine.process.kill()
            session.vitrine.process.wait()
            session.stop_guest()
            session.guest.work = session.work / "second"
            session.guest.work.mkdir()
            session.boot()
            expect("goes on where it was" not in session.vitrine.log(), "it was taken for the first one")
            session.expect_no_complaints()
        with tap.case(f"{name}: vitrine ends when asked, and its file with it", session.logs):
            session.stop_guest()
            wait_until(lambda: not session.vitrine.status()["vhost_user"]["connected"], PATIENCE, "the VMM's leaving")
            status = session.vitrine.quit()
            expect(status == 0, f"vitrine ended with status {status}")
            expect(not (session.work / "state").exists(), "the state is there still")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for program in ("vitrine", "vitrinectl", "guest-scanout"):
        parser.add_argument(f"--{program}", required=True, type=pathlib.Path, metavar="PROGRAM")
    parser.add_argument("--session", choices=["blob", "2d"])
    arguments = vars(parser.parse_args())
    wanted = arguments.pop("session")
    programs = {name.replace("_", "-"): path.resolve() for name, path in arguments.items()}
    tap = Tap()
    if missing := Kit().missing():
        print(f"1..0 # SKIP {missing}")
        return 0
    with tempfile.TemporaryDirectory(prefix="vitrine-restart-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as work:
        try:
            environment = Environment(programs, work, tap, ["guest-scanout"])
            for name, options, frame in (("blob", (), "vfio"), ("2d", ("--no-blob",), "dumb")):
                if wanted in (None, name):
                    run(tap, environment, name, options, frame)
        except Failure as failure:
            with tap.case("session"):
                raise failure
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
