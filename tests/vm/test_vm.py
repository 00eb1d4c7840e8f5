#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The device under a stock Linux guest in a stock QEMU: what the guest draws against what a screenshot shows, in every pixel.

Each session boots one guest and runs several cases in it. A session that cannot go on fails its remaining cases. docs/testing.md says
what is needed to run this.
"""

import contextlib
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import guest_input  # noqa: E402
import picture  # noqa: E402
import sessions  # noqa: E402
from inside import Inside  # noqa: E402
from machine import MODULES, Environment, Guest, Vitrine, vhost_user_device  # noqa: E402
from qmp import Monitor, wait_until  # noqa: E402
from tap import Failure, expect  # noqa: E402

WIDTH, HEIGHT = 1280, 800
FRAME_BYTES = WIDTH * HEIGHT * 4
# best first; a machine with /dev/udmabuf takes a better one than a machine without
ZERO_COPY = ("vfio-dmabuf", "vfio-window", "udmabuf")


class Session(sessions.Session):
    """... with a program in the guest that shows what it is told."""

    def __init__(self, tap, environment, name, options=(), share=True, devices=(), protocol="vfio-user"):
        super().__init__(tap, environment, name)
        self.vitrine = Vitrine(environment.programs, self.work, options, protocol=protocol)
        socket = self.vitrine.socket
        gpu, devices = (None, [*vhost_user_device(socket), *devices]) if protocol == "vhost-user" else (socket, devices)
        self.guest = Guest(environment.kit, self.work, environment.initramfs, environment.accelerator, gpu=gpu, share=share, extra=devices)

    def boot(self):
        self.guest.start()
        self.guest.wait_ready()
        self.guest.enter("guest-scanout")

    def show(self, command):
        return self.guest.show(command)

    def connectors(self):
        """What the guest's connectors say: [('connected', 'its preferred mode in whole Hz'), ('disconnected', '')]."""
        found = []
        for line in self.guest.run("connectors"):
            if match := re.search(r"@@CONNECTOR \d+ (\w+)(?:.*? (\d+x\d+)@(\d+)\*)?", line):
                found.append((match[1], f"{match[2]}@{round(int(match[3]) / 1000)}" if match[2] else ""))
        return found

    def expect_connector(self, number, state, preferred="", patience=30):
        """The guest comes to see the connector so: it was told, and looked."""
        deadline = time.monotonic() + patience
        while (seen := self.connectors())[number] != (state, preferred):
            expect(time.monotonic() < deadline, f"the connectors are {seen}; number {number} is not {state} {preferred}")
            time.sleep(0.2)


def check_status(session):
    """Everything that `vitrinectl status --json` promises about a running guest."""
    status = session.vitrine.status()
    expect("vfio-user" in status["transport"], f"transport is {status['transport']!r}")
    for feature in ("EDID", "RESOURCE_UUID", "RESOURCE_BLOB"):
        expect(any(feature in name for name in status["guest_features"]), f"{feature} is not in {status['guest_features']}")
    scanout = status["scanouts"][0]
    expect((scanout["width"], scanout["height"]) == (WIDTH, HEIGHT), f"the scanout is {scanout['width']}x{scanout['height']}")
    expect(scanout["format"] in ("XR24", "XRGB8888"), f"the scanout's format is {scanout['format']}")
    expect(scanout["resource"] > 0, "the scanout has no resource")
    expect(scanout["frames"] > 0, "no frame was counted")
    expect(scanout["cpu_us_per_frame"] >= 0, "cpu_us_per_frame is negative")
    latency = scanout["flush_to_present_us"]
    expect(0 <= latency["p50"] <= latency["p99"], f"flush_to_present_us is {latency}")
    if scanout["path"] not in ZERO_COPY:
        refused = {entry["path"]: entry["reason"] for entry in scanout["why_not"]}
        expect(refused.get("udmabuf"), f"no reason is given against udmabuf: {scanout['why_not']}")
    sizes = [region["size"] for region in status["memory_regions"]]
    expect(64 << 20 in sizes, f"the assigned device's BAR of 64 MB is not among the memory regions: {sizes}")


def session_blob(tap, environment):
    """Blob resources in all kinds of memory, then the guest and its VMM going away and coming back."""
    with Session(tap, environment, "blob") as session:
        with session.case("a stock kernel boots and finds the display"):
            session.boot()
            session.guest.run("boots")
        with session.case("a frame in more than 60 shuffled ranges of a BAR"):
            shown = session.show("vfio 1")
            expect(shown["ranges"] > 60, f"only {shown['ranges']} ranges")
            session.expect_picture(1)
            session.expect_path(*ZERO_COPY, "mapped")
        with session.case("an odd stride and a plane offset"):
            expect(session.show("stride 2")["ranges"] > 60, "too few ranges")
            session.expect_picture(2)
        with session.case("a frame in RAM"):
            session.show("dumb 3")
            session.expect_picture(3)
            session.expect_path(*ZERO_COPY, "mapped")
        with session.case("other pixels in the framebuffer that is shown"):
            session.show("redraw 4")
            session.expect_picture(4)
        with session.case("a cursor, in the picture only when asked for"):
            session.guest.run("cursor 5 700 300")
            session.expect_image(picture.with_cursor(picture.picture(WIDTH, HEIGHT, 4), 5, 700, 300), options=["--cursor"])
            session.expect_picture(4)
            session.guest.run("cursor")
            session.expect_image(picture.picture(WIDTH, HEIGHT, 4), options=["--cursor"])
        with session.case("a page flip between two buffers in a BAR"):
            before = session.vitrine.scanout()["frames"]
            session.show("flip 6 5")
            session.expect_picture(6)
            frames = session.vitrine.scanout()["frames"] - before
            expect(frames >= 6, f"{frames} frames were counted for a mode set and 5 flips")
        with session.case("a BAR that goes away under its frame and comes back"):
            session.show("vfio 7")
            session.expect_picture(7)
            session.guest.run("decoding off")
            try:
                session.expect_picture(7)  # what was read stays
            finally:
                session.guest.run("decoding on")
            session.show("redraw 8")
            session.expect_picture(8)
        with session.case("the kernel's console in RAM"):
            session.show("console 9")
            session.expect_image(picture.console(WIDTH, HEIGHT, 9))
        with session.case("vitrinectl wait sees a picture come, and one that does not"):
            check_wait(session)
        with session.case("moving frames"):
            frames = session.show("demo 40")["frames"]
            expect(frames == 40, f"{frames} frames")
        with session.case("status tells what is shown and how"):
            check_status(session)
        with session.case("the driver lets go of the device and takes it again"):
            session.guest.send("quit")
            session.guest.wait_for("@@DONE", 30)
            session.guest.run("cd /sys/bus/virtio/drivers/virtio_gpu && for device in virtio*; do "
                              "echo $device >unbind && echo $device >bind || break; done; cd /")
            session.guest.enter("guest-scanout")
            session.show("vfio 9")
            session.expect_picture(9)
        with session.case("the guest reboots"):
            session.guest.send("quit")
            session.guest.send("reboot -f")
            session.guest.wait_ready()
            session.guest.enter("guest-scanout")
            boots = session.guest.run("boots")
            expect("@@BOOTS 2" in boots, f"this is no second boot: {boots}")
            session.show("vfio 10")
            session.expect_picture(10)
        with session.case("QEMU is killed: the last picture stays"):
            session.guest.kill()
            wait_until(lambda: not session.vitrine.status()["vfio_user"]["connected"], 30, "QEMU's leaving")
            session.expect_picture(10)
            status, scanout = session.vitrine.status(), session.vitrine.scanout()
            expect(scanout["enabled"] and scanout["frozen"] and scanout["revoked"], f"it is not said to be revoked: {scanout}")
            expect(not status["memory_regions"] and not status["mem_entries"], f"memory is left: {status}")
            maps = pathlib.Path(f"/proc/{session.vitrine.process.pid}/maps").read_text(encoding="utf-8")
            expect("memfd:" not in maps, f"memory of the guest is mapped still:\n{maps}")
        with session.case("QEMU is started again"):
            session.boot()
            session.show("vfio 11")
            session.expect_picture(11)
            expect(not session.vitrine.scanout()["frozen"], "it is said to be frozen")


def check_wait(session):
    """`vitrinectl wait --image`: true at once, true later, never."""
    reference, other = session.work / "reference.png", session.work / "other.png"
    picture.write_png(reference, picture.picture(WIDTH, HEIGHT, 20))
    picture.write_png(other, picture.picture(WIDTH, HEIGHT, 21))
    session.show("vfio 20")
    session.vitrine.ask("wait", "--image", reference, "--timeout", "10")
    with contextlib.suppress(Failure):
        session.vitrine.ask("wait", "--image", other, "--timeout", "1")
        raise AssertionError("a picture that is not shown was seen")
    session.vitrine.ask("wait", "--frames", "1", "--timeout", "10")


def check_outputs(session):
    """Monitors that change, come and go while the guest runs: it hears of it, and finds EDID and display info of one mind."""
    with session.case("a guest has a connector for each output that may come"):
        expected = [("connected", f"{WIDTH}x{HEIGHT}@60")] + [("disconnected", "")] * 3
        expect(session.connectors() == expected, f"the connectors are {session.connectors()}")
    with session.case("a monitor gets another mode, with more than 60 Hz"):
        session.vitrine.ask("output", "resize", "0", "1024x768@144")
        session.expect_connector(0, "connected", "1024x768@144")
        session.guest.run("card 0 0")  # as a compositor takes the new mode
        session.show("dumb 33")
        session.expect_image(picture.picture(1024, 768, 33), 33)
    with session.case("a size that is no multiple of anything"):
        session.vitrine.ask("output", "resize", "0", "1366x769")
        session.expect_connector(0, "connected", "1366x769@60")
    with session.case("a mode that needs a DisplayID extension"):
        session.vitrine.ask("output", "resize", "0", "3840x2160@144")
        session.expect_connector(0, "connected", "3840x2160@144")
    with session.case("a second monitor is plugged in"):
        session.vitrine.ask("output", "add", "640x480@75,name=second")
        session.expect_connector(1, "connected", "640x480@75")
        session.guest.run("card 0 1")
        session.show("dumb 34")
        session.expect_image(picture.picture(640, 480, 34), 34, options=["--scanout", "1"])
    with session.case("it is pulled"):
        session.vitrine.ask("output", "remove", "second")
        session.expect_connector(1, "disconnected")
        session.expect_connector(0, "connected", "3840x2160@144")


def session_2d(tap, environment):
    """A device that offers no blobs: pixels come by TRANSFER_TO_HOST_2D. Then input and outputs, which have nothing to do with it."""
    prefix = environment.work / "input"
    with Session(tap, environment, "2d", ["--no-blob", "--input", prefix], devices=guest_input.functions(prefix)) as session:
        with session.case("a stock kernel boots and finds the display"):
            session.boot()
            features = session.vitrine.status()["guest_features"]
            expect(not any("BLOB" in name for name in features), f"blobs are offered: {features}")
        with session.case("a frame"):
            session.show("dumb 30")
            session.expect_picture(30)
        with session.case("other pixels in the framebuffer that is shown"):
            session.show("redraw 31")
            session.expect_picture(31)
        with session.case("the kernel's console"):
            session.show("console 32")
            session.expect_image(picture.console(WIDTH, HEIGHT, 32))
        session.guest.send("quit")
        session.guest.wait_for("@@DONE", 30)
        guest_input.run_cases(session, WIDTH, HEIGHT)
        session.guest.enter("guest-scanout")
        check_outputs(session)  # last: the kernel's console does not always find back to its first mode


def session_fetched(tap, environment):
    """Guest RAM that comes without an fd: rings, requests and pixels are asked for, byte by byte."""
    with Session(tap, environment, "no shared memory", share=False) as session:
        with session.case("a stock kernel boots and finds the display"):
            session.boot()
        with session.case("a frame in RAM is fetched"):
            session.show("dumb 40")
            session.expect_picture(40)
            scanout = session.expect_path("fetched")
            refused = {entry["path"]: entry["reason"] for entry in scanout["why_not"]}
            expect(refused.get("mapped"), f"no reason is given against mapped: {scanout['why_not']}")
        with session.case("a frame in a BAR that has an fd is mapped"):
            session.show("vfio 41")
            session.expect_picture(41)
            session.expect_path(*ZERO_COPY, "mapped")


def session_vhost(tap, environment):
    """The same guest over vhost-user, whose device QEMU makes: blobs in RAM and in the BAR, and both ends leaving in every order."""
    monitor = Monitor(environment.work / "vhost.qmp")
    with Session(tap, environment, "vhost", devices=monitor.arguments(), protocol="vhost-user") as session:
        with session.case("a stock kernel boots and finds the display"):
            session.boot()
        with session.case("a frame in more than 60 shuffled ranges of a BAR"):
            expect(session.show("vfio 50")["ranges"] > 60, "too few ranges")
            session.expect_picture(50)
            session.expect_path(*ZERO_COPY, "mapped")
        with session.case("an odd stride and a plane offset"):
            session.show("stride 51")
            session.expect_picture(51)
        with session.case("a frame in RAM, and other pixels in it"):
            session.show("dumb 52")
            session.expect_picture(52)
            session.show("redraw 53")
            session.expect_picture(53)
        with session.case("page flips"):
            session.show("flip 55 5")
            session.expect_picture(55)
        with session.case("the guest is paused, and goes on with what it had"):
            for shown, then in ((55, 48), (48, 49), (49, 55)):
                monitor.call("stop")
                wait_until(lambda: not session.vitrine.status()["vhost_user"]["rings"], 30, "the end of the rings")
                session.expect_picture(shown)
                monitor.call("cont")
                session.show(f"redraw {then}")
                session.expect_picture(then)
            monitor.close()
        with session.case("a cursor"):
            session.guest.run("cursor 5 700 300")
            session.expect_image(picture.with_cursor(picture.picture(WIDTH, HEIGHT, 55), 5, 700, 300), options=["--cursor"])
            session.guest.run("cursor")
        with session.case("the kernel's console"):
            session.show("console 56")
            session.expect_image(picture.console(WIDTH, HEIGHT, 56))
        with session.case("a monitor gets another mode: the guest hears of it on the back-end's channel"):
            session.vitrine.ask("output", "resize", "0", "1024x768@75")
            session.expect_connector(0, "connected", "1024x768@75")
            session.vitrine.ask("output", "resize", "0", f"{WIDTH}x{HEIGHT}@60")
            session.expect_connector(0, "connected", f"{WIDTH}x{HEIGHT}@60")
        with session.case("status tells what is shown and how"):
            expect(session.vitrine.status()["transport"].startswith("vhost-user"), session.vitrine.status()["transport"])
        with session.case("the guest reboots"):
            session.guest.send("quit")
            session.guest.send("reboot -f")
            session.guest.wait_ready()
            session.guest.enter("guest-scanout")
            session.show("vfio 57")
            session.expect_picture(57)
        with session.case("QEMU is killed: the last picture stays"):
            session.guest.kill()
            session.expect_picture(57)
        with session.case("QEMU is started again"):
            session.boot()
            session.show("vfio 58")
            session.expect_picture(58)


LIMIT = "/sys/module/udmabuf/parameters/list_limit"


def session_inside(tap, environment):
    """The udmabuf rung, which most test machines lack: in a guest with a stock kernel it is there."""
    inside = Inside(tap, environment, "inside")
    try:
        inside.host.start()
        inside.host.wait_ready()
        with inside.case("a frame in scattered RAM becomes one udmabuf"):
            inside.start_vitrine("--path", "udmabuf")
            inside.show_frame()
            inside.expect_image(picture.moving(WIDTH, HEIGHT, inside.last))
            inside.expect_path("udmabuf")
        with inside.case("the conformance suite, with udmabufs"):
            inside.start_vitrine()
            # without what creates resources by the thousand and shows none: here that takes a minute
            inside.host.run("vitrine-guest --vfio-user /tmp/gpu.sock --control /tmp/control.sock check "
                            "--filter '!(blob/too-many-*|blob/create-and-unref)' >/tmp/check.log; status=$?; "
                            "grep -v ^PASS /tmp/check.log; [ $status = 0 ]", timeout=300)
        with inside.case("the limit that is hit is named, and the next rung shows the frame"):
            inside.host.run(f"echo 16 > {LIMIT}")
            inside.start_vitrine()
            inside.show_frame()
            inside.expect_image(picture.moving(WIDTH, HEIGHT, inside.last))
            refused = inside.expect_path("mapped")
            expect(LIMIT in refused["udmabuf"], f"{LIMIT} is not named: {refused['udmabuf']}")
    finally:
        inside.host.stop()


SESSIONS = {"blob": session_blob, "2d": session_2d, "fetched": session_fetched, "vhost": session_vhost, "inside": session_inside}


def set_up(programs, work, tap):
    return Environment(programs, work, tap, ["guest-scanout", "guest-input"], (*MODULES, "virtio_input", "evdev"))


if __name__ == "__main__":
    sys.exit(sessions.main(__doc__, ("vitrine", "vitrinectl", "vitrine-guest", "guest-scanout", "guest-input"), SESSIONS, set_up))
