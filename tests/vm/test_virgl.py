#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""OpenGL in a stock guest with Mesa's virgl driver, drawn by vitrine --3d virgl: what kmscube and guest-gl draw against what a
screenshot shows. docs/testing.md says what is needed to run this.
"""

import contextlib
import os
import pathlib
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "ui")]

import desktop  # noqa: E402
import picture  # noqa: E402
import sessions  # noqa: E402
import x11  # noqa: E402
from machine import Environment, Guest, Kit, Vitrine, vhost_user_device  # noqa: E402
from qmp import Monitor, wait_until  # noqa: E402
from tap import Failure, expect  # noqa: E402

WIDTH, HEIGHT = 640, 480
MODULES = ("virtio_gpu", "virtio_blk", "ext4")
PROGRAMS = ("guest-gl", "guest-scanout")
PATIENCE = 90
NAME = "OpenGL guest"
# kmscube clears to half of white, which may be rounded either way
BACKGROUND = (0x7F7F7F, 0x808080)


class Session(sessions.Session):
    """... the vitrine draws, and the guest has Mesa on a disk."""

    size = (WIDTH, HEIGHT)

    def __init__(self, tap, environment, name, options=("--3d", "virgl"), env=None, display="headless", protocol="vfio-user", device=None):
        super().__init__(tap, environment, name)
        self.vitrine = Vitrine(environment.programs, self.work, ["--name", NAME, *options], size=f"{WIDTH}x{HEIGHT}", display=display,
                               env=env or desktop.environment(self.work), protocol=protocol)
        device = device(self.vitrine.socket) if device else []
        disk = ["-drive", f"file={environment.kit.gl_disk()},format=raw,readonly=on,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk"]
        self.guest = Guest(environment.kit, self.work, environment.initramfs, environment.accelerator,
                           gpu=self.vitrine.socket if protocol == "vfio-user" else None, extra=[*disk, *device])

    def kill_renderer(self):
        """virglrenderer's process is gone when this returns, and vitrine knows."""
        before = self.vitrine.status()["renderer"]
        os.kill(before["pid"], signal.SIGKILL)
        wait_until(lambda: self.vitrine.status()["renderer"]["lost"] > before["lost"], PATIENCE, "the loss is told")

    def logs(self):
        with contextlib.suppress(Failure):
            self.guest.run("tail -n 20 /tmp/kmscube.log; true", timeout=10)
        return super().logs()

    # ---- the guest ----

    def boot(self):
        self.guest.start()
        self.wait_boot()

    def wait_boot(self):
        """Programs with OpenGL have the disk for their root."""
        self.guest.wait_ready()
        self.guest.run("mkdir /gl && mount -t ext4 -o ro /dev/vda /gl && mount -t tmpfs tmpfs /gl/tmp && cp /bin/guest-gl /gl/tmp/ && "
                       "for place in dev proc sys; do mount --bind /$place /gl/$place; done")

    def check_boot(self):
        with self.case("a stock kernel boots and finds a device that draws"):
            self.boot()
            self.guest.run("dmesg | grep 'features: +virgl' && ls /dev/dri/renderD128")
            features = self.vitrine.status()["guest_features"]
            expect("VIRGL" in features, f"VIRGL is not in {features}")

    def check_names(self):
        """On GBM's platform, which kmscube's is."""
        with self.case("eglinfo names virgl"):
            said = self.guest.run("chroot /gl /bin/eglinfo -B -p gbm 2>&1", timeout=PATIENCE)
            expect(any("OpenGL ES profile renderer: virgl" in line for line in said), f"eglinfo says: {said}")

    def start_cube(self):
        # until its standard input has something: nothing ever comes from that serial port
        self.guest.run("chroot /gl /bin/kmscube -D /dev/dri/card0 </dev/ttyS1 >/tmp/kmscube.log 2>&1 & cube=$!")

    def stop_cube(self):
        self.guest.run("kill $cube; wait $cube; true")

    def show(self, command):
        return self.guest.show(command, timeout=PATIENCE)

    @contextlib.contextmanager
    def program(self, name):
        """One that takes commands, until the end of the block."""
        self.guest.enter({"guest-gl": "chroot /gl /tmp/guest-gl"}.get(name, name))
        yield
        self.guest.send("quit")
        self.guest.wait_for("@@DONE", PATIENCE)

    # ---- what is shown ----

    def expect_cubes(self, n=3):
        """So many pictures of the cube, each another one. Returns the last one."""
        seen = []
        wait_until(lambda: is_cube(self.screenshot()), PATIENCE, "a picture of the cube")

        def another():
            shot = self.screenshot()
            expect(is_cube(shot), f"shot{self.shots}.png is no cube: {describe(shot)}")
            if all(picture.difference(shot, before) for before in seen):
                seen.append(shot)
            return len(seen) == n

        wait_until(another, PATIENCE, f"{n} pictures of the cube that differ")
        return seen[-1]

    def expect_still_cube(self):
        still = self.screenshot()
        expect(is_cube(still), f"shot{self.shots}.png is no cube: {describe(still)}")
        self.vitrine.ask("wait", "--still", "1")
        self.expect_image(still)

    def check_console(self, seed):
        with self.case("the kernel's console is shown again"):
            with self.program("guest-scanout"):
                self.show(f"console {seed}")
            self.expect_image(picture.console(WIDTH, HEIGHT, seed))


def describe(image):
    colors = {image.rgb[at:at + 3] for at in range(0, len(image.rgb), 3)}
    corners = [image.pixel(x, y) for x in (0, image.width - 1) for y in (0, image.height - 1)]
    return f"{len(colors)} colours, the corners are {' '.join(f'{corner:06x}' for corner in corners)}"


def is_cube(image):
    """Smooth shades in the middle of kmscube's background."""
    corners = {image.pixel(x, y) for x in (0, image.width - 1) for y in (0, image.height - 1)}
    if len(corners) > 1 or not corners <= set(BACKGROUND):
        return False
    background = corners.pop().to_bytes(3, "big")
    pixels = [image.rgb[at:at + 3] for at in range(0, len(image.rgb), 3)]
    share = pixels.count(background) / len(pixels)
    middle = image.pixel(image.width // 2, image.height // 2)
    return 0.3 < share < 0.95 and len(set(pixels)) > 500 and middle not in BACKGROUND


def check_drawing(session, *paths):
    """Every pixel of what guest-gl draws, each time by other commands of the driver's."""
    with session.program("guest-gl"):
        with session.case("guest-gl draws by virgl, too"):
            said = session.guest.run("renderer")
            expect(any("virgl" in line for line in said), f"OpenGL says: {said}")
        with session.case("a picture that a shader computes, upright, in every pixel"):
            session.show("draw 5")
            session.expect_picture(5)
            session.expect_path(*paths)
        with session.case("a texture that the guest uploads"):
            session.show("texture 6")
            session.expect_picture(6)
        with session.case("page flips"):
            session.show("flip 7 10")
            session.expect_picture(7)
        with session.case("pixels that the guest reads back"):
            session.guest.run("read 8")
        with session.case("a cursor that OpenGL has drawn"):
            session.guest.run("cursor 9 100 50")
            session.expect_image(picture.with_cursor(picture.picture(WIDTH, HEIGHT, 7), 9, 100, 50), options=["--cursor"])
            session.guest.run("cursor")
            session.expect_picture(7)


def session_virgl(tap, environment):
    """In vitrine's own process, over vfio-user."""
    with Session(tap, environment, "virgl") as session:
        session.check_boot()
        session.check_names()
        with session.case("kmscube: the cube turns"):
            session.start_cube()
            session.expect_cubes()
            session.expect_path("virgl")
        with session.case("kmscube ends"):
            session.stop_cube()
        session.check_console(3)
        check_drawing(session, "virgl")
        with session.case("the guest reboots while kmscube draws"):
            session.start_cube()
            session.expect_cubes(1)
            session.guest.send("reboot -f")
            session.wait_boot()
        session.check_console(4)
        with session.case("QEMU is killed while kmscube draws: the last picture stays"):
            session.start_cube()
            session.expect_cubes(1)
            session.guest.kill()
            wait_until(lambda: not session.vitrine.status()["vfio_user"]["connected"], PATIENCE, "the end of the connection")
            session.expect_still_cube()
        with session.case("the next one draws"):
            session.guest.stop()
            session.boot()
            with session.program("guest-gl"):
                session.show("draw 12")
                session.expect_picture(12)


def session_isolate(tap, environment):
    """In a process of its own, which is killed."""
    with Session(tap, environment, "isolate", ["--3d", "virgl,isolate"]) as session:
        session.check_boot()
        with session.case("kmscube: the cube turns"):
            session.start_cube()
            session.expect_cubes(2)
        with session.case("what draws is killed: the last picture stays"):
            session.kill_renderer()
            session.expect_still_cube()
        with session.case("the guest lives"):
            session.stop_cube()
        session.check_console(3)
        session.check_names()
        check_drawing(session, "virgl", "readback")
        with session.case("killed again, under a picture that nobody has looked at"):
            with session.program("guest-gl"):
                session.show("flip 13 4")
                session.kill_renderer()
                session.expect_picture(13)
        session.check_console(4)


def session_vhost(tap, environment):
    """Over vhost-user: QEMU's device for any back-end, then its own for GPUs, with a console of QEMU's."""
    with Session(tap, environment, "vhost", protocol="vhost-user", device=vhost_user_device) as session:
        session.check_boot()
        with session.case("kmscube: the cube turns"):
            session.start_cube()
            session.expect_cubes(2)
            session.stop_cube()
        check_drawing(session, "virgl")

    monitor = Monitor(environment.work / "console.qmp")

    def console(socket):
        return ["-chardev", f"socket,id=gpu,path={socket}", "-device", f"vhost-user-gpu-pci,chardev=gpu,id=card,xres={WIDTH},yres={HEIGHT}",
                *monitor.arguments()]

    # no dmabufs, which QEMU's screendump does not show
    with Session(tap, environment, "console", ["--3d", "virgl", "--path", "readback"], display="auto", protocol="vhost-user",
                 device=console) as session:
        session.check_boot()
        with session.case("a picture on QEMU's console, and in our screenshot"), session.program("guest-gl"):
            session.show("draw 10")
            wait_until(lambda: not picture.difference(monitor.screen(session.work / "screen.ppm"), picture.picture(WIDTH, HEIGHT, 10)),
                       PATIENCE, "the picture on QEMU's console")
            session.expect_picture(10)
            session.expect_path("readback")
        monitor.close()


def session_window(tap, environment):
    """The window draws with the EGLDisplay that the guest's pictures are drawn with."""
    place = environment.work / "desktop"
    place.mkdir()
    screen = x11.Desktop(place, 1000, 700)
    try:
        with Session(tap, environment, "window", display="sdl", env=screen.env) as session:
            session.check_boot()
            window = screen.window(f"^{NAME} - ")
            with session.case("a picture in the window, in every pixel"), session.program("guest-gl"):
                session.show("draw 11")
                window.wait_pixels(picture.picture(WIDTH, HEIGHT, 11))
                session.expect_picture(11)
                session.expect_path("virgl")
            with session.case("kmscube: the cube turns in the window"):
                session.start_cube()
                session.expect_cubes(2)
                wait_until(lambda: is_cube(window.pixels()), PATIENCE, "the cube in the window")
                session.stop_cube()
    finally:
        screen.close()


SESSIONS = {"virgl": session_virgl, "isolate": session_isolate, "vhost": session_vhost, "window": session_window}


def set_up(programs, work, tap):
    return Environment(programs, work, tap, PROGRAMS, MODULES)


if __name__ == "__main__":
    sys.exit(sessions.main(__doc__, ("vitrine", "vitrinectl", *PROGRAMS), SESSIONS, set_up,
                           Kit().missing(gl=True) or desktop.missing() or x11.missing()))
