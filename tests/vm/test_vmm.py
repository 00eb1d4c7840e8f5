#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The VMM's own console as the display: a stock guest over QEMU's vhost-user-gpu-pci, which has no blobs, and what QEMU's screendump
and our screenshot say of it. The guest's frames are in both, in every pixel.
"""

import os
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import picture  # noqa: E402
import sessions  # noqa: E402
from machine import Environment, Guest, Vitrine  # noqa: E402
from qmp import Monitor, wait_until  # noqa: E402
from tap import Failure, expect  # noqa: E402

WIDTH, HEIGHT = 1024, 768  # QEMU's, not ours
MODULES = ("virtio_gpu",)
PATIENCE = 60
CARD = "card"


class VmmSession(sessions.Session):
    """... a vitrine that nobody has told where to show its outputs, and a QEMU that wants them."""

    def __init__(self, tap, environment, name, display, options=()):
        super().__init__(tap, environment, name)
        # headless until the socket comes, also where the tests have a desktop; and no dmabufs, which QEMU's screendump does not show
        env = {key: value for key, value in os.environ.items() if key not in ("WAYLAND_DISPLAY", "DISPLAY")}
        self.vitrine = Vitrine(environment.programs, self.work, options, size="auto", display=display, env=env, protocol="vhost-user")
        self.screens = 0

    def start_guest(self):
        work = self.work / f"guest{self.screens}"
        work.mkdir()
        self.monitor = Monitor(work / "qmp.sock")
        device = ["-chardev", f"socket,id=gpu,path={self.vitrine.socket}",
                  "-device", f"vhost-user-gpu-pci,chardev=gpu,id={CARD},max_outputs=2,xres={WIDTH},yres={HEIGHT}"]
        self.guest = Guest(self.environment.kit, work, self.environment.initramfs, self.environment.accelerator,
                           extra=[*device, *self.monitor.arguments()])
        self.guest.start()
        self.guest.wait_ready()

    def stop_guest(self):
        if self.guest:
            self.monitor.close()
            self.guest.stop()
            self.guest = None

    def screen(self, head=0):
        self.screens += 1
        return self.monitor.screen(self.work / f"screen{self.screens}.ppm", CARD, head)

    def expect_everywhere(self, expected):
        """QEMU's console shows it, and so does our screenshot."""
        last = []

        def shown(look):
            last[:] = [picture.difference(look(), expected)]
            return not last[0]

        for look, what in ((self.screen, "QEMU's screen"), (self.screenshot, "the screenshot")):
            try:
                wait_until(lambda look=look: shown(look), PATIENCE, what)
            except Failure as failure:
                raise AssertionError(f"{what}: {last[0]}") from failure

    def displays(self):
        return [scanout["display"] for scanout in self.vitrine.status()["scanouts"]]

    def connectors(self):
        """[('connected', its preferred mode), ...]."""
        found = [re.search(r"@@CONNECTOR \d+ (\w+)(?:.*? (\d+x\d+)@\d+\*)?", line) for line in self.guest.run("connectors")]
        return [(match[1], match[2] or "") for match in found if match]


def check_frames(session):
    with session.case("a frame, pixel by pixel, on QEMU's console and in the screenshot"):
        session.guest.show("dumb 1")
        session.expect_everywhere(picture.picture(WIDTH, HEIGHT, 1))
    with session.case("other pixels in the framebuffer that is shown"):
        session.guest.show("redraw 2")
        session.expect_everywhere(picture.picture(WIDTH, HEIGHT, 2))
    with session.case("one picture after another, each of them shown"):
        before = session.vitrine.scanout()
        for seed in range(10, 20):
            session.guest.show(f"redraw {seed}")
        session.expect_everywhere(picture.picture(WIDTH, HEIGHT, 19))
        frames = session.vitrine.scanout()["frames"] - before["frames"]
        expect(frames >= 10, f"{frames} frames were counted")
    with session.case("the kernel's console"):
        session.guest.show("console 3")
        session.expect_everywhere(picture.console(WIDTH, HEIGHT, 3))


def session_auto(tap, environment):
    """Nobody named a display."""
    with VmmSession(tap, environment, "auto", "auto", ["--path", "mapped"]) as session:
        with session.case("before the VMM: headless"):
            expect(session.displays()[0] == "headless", session.displays())
        with session.case("a stock kernel boots over vhost-user-gpu-pci, and QEMU's console is the display"):
            session.start_guest()
            session.guest.enter("guest-scanout")
            expect(session.displays()[0] == "vmm", session.displays())
            features = session.vitrine.status()["guest_features"]
            expect(not any("BLOB" in name for name in features), f"blobs are offered: {features}")
        with session.case("monitors are as QEMU has them: size, connection, EDID"):
            expect(session.connectors() == [("connected", f"{WIDTH}x{HEIGHT}"), ("disconnected", "")], session.connectors())
        check_frames(session)
        with session.case("elsewhere: the screenshot goes on, QEMU's console is empty; and back"):
            session.vitrine.ask("output", "move", "0", "headless")
            session.guest.show("dumb 4")
            wait_until(lambda: picture.difference(session.screen(), picture.picture(WIDTH, HEIGHT, 4)), PATIENCE, "another screen")
            expect(not picture.difference(session.screenshot(), picture.picture(WIDTH, HEIGHT, 4)), "the screenshot differs")
            session.vitrine.ask("output", "move", "0", "vmm")
            session.expect_everywhere(picture.picture(WIDTH, HEIGHT, 4))
        with session.case("the machine is stopped, and goes on"):
            session.monitor.call("stop")
            session.monitor.call("cont")
            session.expect_everywhere(picture.picture(WIDTH, HEIGHT, 4))
            session.guest.show("redraw 5")
            session.expect_everywhere(picture.picture(WIDTH, HEIGHT, 5))
        with session.case("the driver lets go of the device and takes it again"):
            session.guest.send("quit")
            session.guest.wait_for("@@DONE", PATIENCE)
            session.guest.run("cd /sys/bus/virtio/drivers/virtio_gpu && for device in virtio*; do "
                              "echo $device >unbind && echo $device >bind || break; done; cd /")
            session.guest.enter("guest-scanout")
            session.guest.show("dumb 6")
            session.expect_everywhere(picture.picture(WIDTH, HEIGHT, 6))
        with session.case("the guest reboots"):
            session.guest.send("quit")
            session.guest.send("reboot -f")
            session.guest.wait_ready()
            session.guest.enter("guest-scanout")
            session.guest.show("dumb 4")
            session.expect_everywhere(picture.picture(WIDTH, HEIGHT, 4))
        with session.case("QEMU is killed: the last picture stays, headless"):
            session.guest.kill()
            wait_until(lambda: session.displays()[0] == "headless", PATIENCE, "headless")
            expect(not picture.difference(session.screenshot(), picture.picture(WIDTH, HEIGHT, 4)), "the last picture is not there")
        with session.case("the next one has the picture on its console again"):
            session.stop_guest()
            session.start_guest()
            session.guest.enter("guest-scanout")
            session.guest.show("dumb 5")
            session.expect_everywhere(picture.picture(WIDTH, HEIGHT, 5))
            expect(session.displays()[0] == "vmm", session.displays())


def set_up(programs, work, tap):
    return Environment(programs, work, tap, ["guest-scanout"], MODULES)


if __name__ == "__main__":
    sys.exit(sessions.main(__doc__, ("vitrine", "vitrinectl", "guest-scanout"), {"auto": session_auto}, set_up))
