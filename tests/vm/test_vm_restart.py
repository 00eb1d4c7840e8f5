#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""vitrine is killed under a stock guest over vhost-user, and started again: the guest's driver notices nothing, the picture is back
before the guest does anything. The VMM is QEMU and a relay (vhost_user_relay.py), which connects again for it: QEMU itself does not live
through that (11.1). Nobody keeps anything for us.
"""

import functools
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import picture  # noqa: E402
import sessions  # noqa: E402
from machine import Environment, Guest, Vitrine  # noqa: E402
from qmp import wait_until  # noqa: E402
from tap import expect  # noqa: E402
from vhost_user_relay import Relay  # noqa: E402

WIDTH, HEIGHT = 1280, 800
PATIENCE = 60
KILLS = 6


class Session(sessions.Session):
    """... with a relay between the two."""

    settle = PATIENCE

    def __init__(self, tap, environment, name, options):
        super().__init__(tap, environment, name)
        self.vitrine = Vitrine(environment.programs, self.work, ["--state", str(self.work / "state"), *options], protocol="vhost-user")
        device = ["-chardev", f"socket,id=gpu,path={self.work / 'vmm.sock'}",
                  "-device", "vhost-user-test-device-pci,virtio-id=16,num_vqs=2,vq_size=256,config_size=16,chardev=gpu,addr=06.0"]
        self.guest = Guest(environment.kit, self.work, environment.initramfs, environment.accelerator, extra=device)
        self.relay = None

    def __enter__(self):
        return self  # boot() starts everything, after the relay

    def boot(self):
        (self.work / "vmm.sock").unlink(missing_ok=True)
        self.relay = Relay(self.work / "vmm.sock", self.vitrine.socket)
        self.vitrine.start()
        self.guest.start()
        self.guest.wait_ready()

    def stop_guest(self):
        super().stop_guest()
        self.relay.close()

    def check_end(self):
        with self.tap.case(f"{self.name}: vitrine ends when asked, and its file with it", self.logs):
            self.stop_guest()
            wait_until(lambda: not self.vitrine.status()["vhost_user"]["connected"], PATIENCE, "the VMM's leaving")
            status = self.vitrine.quit()
            expect(status == 0, f"vitrine ended with status {status}")
            expect(not (self.work / "state").exists(), "the state is there still")

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


SESSIONS = {
    "blob": functools.partial(run, name="blob", options=(), frame="vfio"),
    "2d": functools.partial(run, name="2d", options=("--no-blob",), frame="dumb"),
}


def set_up(programs, work, tap):
    return Environment(programs, work, tap, ["guest-scanout"])


if __name__ == "__main__":
    sys.exit(sessions.main(__doc__, ("vitrine", "vitrinectl", "guest-scanout"), SESSIONS, set_up,
                           place="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
