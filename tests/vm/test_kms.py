#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The KMS display against real drivers: vitrine --display kms inside a machine with a stock kernel, a guest in user space that it is the
display of, and what the machine's screen shows, in every pixel.

Each session is one machine with one kind of card. docs/testing.md says what is needed to run this.
"""

import contextlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import picture  # noqa: E402
import sessions  # noqa: E402
from inside import Inside  # noqa: E402
from machine import Kit, Vitrine  # noqa: E402
from qmp import wait_until  # noqa: E402
from screen import SETTLE, Screen, boot, machine, write_console  # noqa: E402
from tap import Failure, expect  # noqa: E402
from vnc import Viewer  # noqa: E402

WIDTH, HEIGHT = 1280, 800
CONNECTOR = "/sys/class/drm/card0-Virtual-1/status"


def expect_frame(inside, screen, width=WIDTH, height=HEIGHT):
    """The screen shows the frame that vitrine-guest stays on."""
    screen.expect(picture.moving(width, height, inside.last))


def expect_zero_copy(inside):
    """A frame arrives without a byte being copied."""
    inside.show_frame(frames=3)
    expect(inside.copied() == 0, f"{inside.copied()} bytes were copied")
    inside.expect_path("udmabuf")


def check_console(inside, screen, console):
    """The console is what it was, and draws."""
    screen.expect(console)
    write_console(inside, 1, "it draws again")
    wait_until(lambda: screen.look().rgb != console.rgb, SETTLE, "drawing on the console")
    inside.host.run("printf '\\033[1A\\033[2K' >/dev/tty1")
    screen.expect(console)
    left = inside.host.run("ps | grep -c '[v]itrine-keeper'; true")
    expect(left == ["0"], "a keeper is left behind")


# ---- cases for every card that scans out udmabufs ----


def check_frames(inside, screen):
    with inside.case("frames in scattered RAM are scanned out where they are"):
        inside.start_vitrine()
        scanout = inside.scanout()
        expect((scanout["display"], scanout["name"]) == ("kms", "Virtual-1"), scanout)
        inside.show_frame(frames=30)
        expect_frame(inside, screen)
        inside.expect_path("udmabuf")
        expect(inside.copied() == 0, f"{inside.copied()} bytes were copied")
        scanout = inside.scanout()
        expect(scanout["frames"] == 30, f"{scanout['frames']} frames were counted")
        # one that is not shown in time is answered, and the next may take its place: this machine is slow
        expect(scanout["dropped"] <= 3 + scanout["timeouts"], f"{scanout['dropped']} frames of a guest that waits for each were dropped, and "
               f"{scanout['timeouts']} came late")
        latency = scanout["flush_to_present_us"]
        inside.tap.note(f"figure: flush to page flip {latency['p50']} us (median), {latency['p99']} us (99 %)")
    with inside.case("a guest that draws into the framebuffer on the screen"):
        inside.show_frame("--buffers", "1", frames=7)
        expect_frame(inside, screen)
        expect(inside.copied() == 0, f"{inside.copied()} bytes were copied")


def check_screenshot(inside, screen):
    with inside.case("a screenshot of what is scanned out, and no copy after it"):
        inside.show_frame()
        inside.expect_image(picture.moving(WIDTH, HEIGHT, inside.last))
        expect_frame(inside, screen)
        expect_zero_copy(inside)
        expect_frame(inside, screen)


def check_sizes(inside, screen):
    with inside.case("a picture of another size gets a mode of its own"):
        inside.show_frame("--size", "800x600")
        expect_frame(inside, screen, 800, 600)
        inside.expect_path("udmabuf")
    with inside.case("a picture that no mode has the size of is scaled"):
        inside.show_frame("--size", "1000x700")
        wait_until(lambda: is_scaled(screen.look(), picture.moving(1000, 700, inside.last)), SETTLE, "the scaled picture")
        reasons = inside.expect_path("mapped")
        expect("no mode" in reasons["udmabuf"], reasons)
        inside.expect_image(picture.moving(1000, 700, inside.last))
    with inside.case("and one of the monitor's size is scanned out again"):
        inside.show_frame()
        expect_frame(inside, screen)
        expect_zero_copy(inside)
        expect_frame(inside, screen)


def is_scaled(screen, original):
    """original in the middle of the screen, with its proportions, in points of a grid; black around it."""
    if (screen.width, screen.height) != (WIDTH, HEIGHT):
        return False
    scale = min(WIDTH / original.width, HEIGHT / original.height)
    left, top = (WIDTH - int(original.width * scale)) // 2, (HEIGHT - int(original.height * scale)) // 2
    if screen.pixel(0, HEIGHT // 2) or screen.pixel(WIDTH - 1, HEIGHT // 2) or screen.pixel(left - 1, 20):
        return False
    for y in range(30, original.height - 1, 29):
        for x in range(30, original.width - 1, 31):
            shown = screen.pixel(left + int((x + 0.5) * scale), top + int((y + 0.5) * scale))
            # blue changes fast and wraps: it is looked at where it does not
            for shift in (16, 8):
                if abs((shown >> shift & 255) - (original.pixel(x, y) >> shift & 255)) > 2 and shown != 0xF8F8F8:
                    return False
    return True


def check_terminals(inside, screen, console):
    with inside.case("another virtual terminal is switched to"):
        inside.show_frame()
        inside.host.run("chvt 2")
        wait_until(lambda: console.rgb != screen.look().rgb and len(set(screen.look().rgb)) == 2, SETTLE, "the second terminal")
        expect(inside.host.run("cat /sys/class/tty/tty0/active") == ["tty2"], "the second terminal is not active")
    with inside.case("a screenshot while another terminal is on the screen"):
        inside.show_frame(frames=8)
        inside.expect_image(picture.moving(WIDTH, HEIGHT, inside.last))
    with inside.case("and back"):
        inside.host.run("chvt 1")
        expect_frame(inside, screen)
        expect_zero_copy(inside)
        expect_frame(inside, screen)


def check_hotplug(inside, screen):
    with inside.case("the monitor is pulled"):
        inside.show_frame()
        inside.host.run(f"echo off >{CONNECTOR} && echo change >/sys/class/drm/card0/uevent")
        wait_until(lambda: not inside.scanout()["output"]["connected"], SETTLE, "the disconnection")
        with contextlib.suppress(Failure):
            inside.ask("screenshot /tmp/shot.png")
            raise AssertionError("a screenshot was taken of an output without a monitor")
    with inside.case("and plugged in again"):
        inside.host.run(f"echo on >{CONNECTOR} && echo change >/sys/class/drm/card0/uevent")
        wait_until(lambda: inside.scanout()["output"]["connected"], SETTLE, "the connection")
        expect_frame(inside, screen)
        inside.expect_path("udmabuf")


def check_mapped(inside, screen):
    with inside.case("frames that are copied into dumb buffers"):
        inside.start_vitrine("--path", "mapped")
        inside.show_frame(frames=9)
        expect_frame(inside, screen)
        inside.expect_path("mapped")
        expect(inside.copied() > 0, "no byte was copied")
        inside.expect_image(picture.moving(WIDTH, HEIGHT, inside.last))


def check_legacy(inside, screen, console):
    with inside.case("without atomic commits"):
        inside.start_vitrine(environment="VITRINE_KMS_LEGACY=1")
        expect(any("legacy" in line for line in inside.host.run("cat /tmp/vitrine.log")), "atomic commits are used")
        inside.show_frame(frames=12)
        expect_frame(inside, screen)
        inside.show_frame("--buffers", "1", frames=7)
        expect_frame(inside, screen)
        inside.show_frame("--size", "800x600")
        expect_frame(inside, screen, 800, 600)
        expect(inside.copied() == 0, f"{inside.copied()} bytes were copied")
    with inside.case("the console after the end of that", alive=False):
        check_quit(inside, screen, console)


def check_quit(inside, screen, console):
    inside.ask("quit")
    inside.host.run("wait $vitrine")
    check_console(inside, screen, console)


def check_ends(inside, screen, console):
    with inside.case("the console is as it was when vitrine ends", alive=False):
        inside.start_vitrine()
        inside.show_frame()
        expect_frame(inside, screen)
        check_quit(inside, screen, console)
    with inside.case("and when it is killed", alive=False):
        inside.start_vitrine()
        inside.show_frame()
        expect_frame(inside, screen)
        inside.host.run("kill -9 $vitrine; wait $vitrine 2>/dev/null; true")
        check_console(inside, screen, console)
    with inside.case("and when it is killed while another terminal is on the screen", alive=False):
        inside.start_vitrine()
        inside.show_frame()
        inside.host.run("chvt 2; kill -9 $vitrine; wait $vitrine 2>/dev/null; chvt 1")
        check_console(inside, screen, console)


def check_refusals(inside):
    """What cannot work says why, and what to do."""
    def refuse(command, *words):
        lines = inside.host.run(f"{command} 2>/tmp/refusal.log; echo $?; cat /tmp/refusal.log")
        expect(lines[0] == "1", f"exit status {lines[0]}: {lines[1:]}")
        expect(any(all(word in line for word in words) for line in lines[1:]), f"{words} are in no line of {lines[1:]}")

    with inside.case("no card"):
        inside.start_vitrine()
        refuse("vitrine --vfio-user /tmp/other.sock --display kms=/dev/dri/card7", "/dev/dri/card7", "driver")
    with inside.case("a card that another program has"):
        refuse("vitrine --vfio-user /tmp/other.sock --display kms", "/dev/dri/card0", "another program", "end it")
    with inside.case("no permission"):
        inside.host.run("mkdir -p /etc && echo nobody:x:65534:65534::/:/bin/sh >/etc/passwd")
        inside.host.run("chmod 777 /tmp")
        refuse("su nobody -c 'vitrine --vfio-user /tmp/other.sock --display kms'", "/dev/dri/card0", "video")
    with inside.case("more --output than connectors"):
        inside.start_vitrine()
        inside.host.run("kill $vitrine; wait $vitrine")
        refuse("vitrine --vfio-user /tmp/other.sock --display kms --output 800x600 --output 800x600", "1 connectors")
        inside.start_vitrine()


# ---- sessions ----


def session_bochs(tap, environment):
    """bochs-display: a framebuffer in memory, no cursor plane; scans out whatever can be mapped."""
    with machine(tap, environment, "bochs", ["bochs"], extra=["-device", "bochs-display,edid=on"]) as (inside, screen, _):
        with inside.case("a stock kernel boots to its console", alive=False):
            console = boot(inside, screen)
        check_frames(inside, screen)
        check_screenshot(inside, screen)
        check_sizes(inside, screen)
        check_drawn_cursor(inside, screen)
        check_terminals(inside, screen, console)
        check_hotplug(inside, screen)
        check_mapped(inside, screen)
        check_legacy(inside, screen, console)
        check_ends(inside, screen, console)
        check_refusals(inside)


def check_drawn_cursor(inside, screen):
    with inside.case("a cursor on a card that has no plane for it"):
        inside.show_frame("--cursor", "300,200")
        screen.expect(picture.with_demo_cursor(picture.moving(WIDTH, HEIGHT, inside.last), 300, 200))
        reasons = inside.expect_path("mapped")
        expect("cursor" in reasons["udmabuf"], reasons)
        inside.expect_image(picture.moving(WIDTH, HEIGHT, inside.last))
        inside.expect_image(picture.with_demo_cursor(picture.moving(WIDTH, HEIGHT, inside.last), 300, 200), "--cursor")
    with inside.case("half of a cursor, at the picture's edge"):
        inside.show_frame("--cursor", f"{WIDTH - 20},{HEIGHT - 10}")
        screen.expect(picture.with_demo_cursor(picture.moving(WIDTH, HEIGHT, inside.last), WIDTH - 20, HEIGHT - 10))
    with inside.case("no copy without a cursor"):
        inside.show_frame()
        expect_frame(inside, screen)
        expect_zero_copy(inside)


def session_virtio(tap, environment):
    """QEMU's virtio-gpu: a cursor plane, monitors of any size; imports nothing, so everything is copied."""
    socket = environment.work / "vnc.sock"
    card = ["-device", "virtio-gpu-pci,edid=on,max_outputs=2,id=card", "-vnc", f"unix:{socket}"]
    with machine(tap, environment, "virtio", ["virtio_gpu"], extra=card) as (inside, screen, monitor):
        with inside.case("a stock kernel boots to its console", alive=False):
            console = boot(inside, screen)
        with inside.case("what the card does not import is copied"):
            inside.start_vitrine()
            inside.show_frame(frames=12)
            expect_frame(inside, screen)
            reasons = inside.expect_path("mapped")
            expect("virtio_gpu" in reasons["udmabuf"] and "import" in reasons["udmabuf"], reasons)
            inside.expect_image(picture.moving(WIDTH, HEIGHT, inside.last))
        viewer = Viewer(socket)
        check_plane_cursor(inside, screen, viewer)
        check_resize(inside, screen, viewer)
        viewer.close()
        check_second(inside, monitor)
        with inside.case("the conformance suite's pictures and cursors"):
            inside.start_vitrine()
            inside.host.run("vitrine-guest --vfio-user /tmp/gpu.sock --control /tmp/control.sock check "
                            "--filter '@(scanout|cursor)/*' >/tmp/check.log; status=$?; "
                            "grep -v ^PASS /tmp/check.log; [ $status = 0 ]", timeout=300)
        check_ends(inside, screen, console)


def check_plane_cursor(inside, screen, viewer):
    """The cursor is not in the picture, but in the plane: QEMU gives it to its viewers."""
    with inside.case("the cursor is in the card's plane"):
        inside.show_frame("--cursor", "300,200")
        expect_frame(inside, screen)

        def seen():
            viewer.look()
            return viewer.cursor and viewer.cursor[:2] == (picture.CURSOR_SIZE, picture.CURSOR_SIZE)
        wait_until(seen, SETTLE, "the cursor's arrival")
        width, _, pixels, mask = viewer.cursor
        for y in range(picture.CURSOR_SIZE):
            for x in range(picture.CURSOR_SIZE):
                opaque = bool(mask[y * width // 8 + x // 8] & 0x80 >> x % 8)
                at = (y * width + x) * 4
                wanted = picture.demo_cursor(x, y)
                expect(opaque == (wanted is not None), f"pixel {x}, {y} of the cursor is {'opaque' if opaque else 'transparent'}")
                expect(not opaque or int.from_bytes(pixels[at:at + 3], "little") == wanted, f"pixel {x}, {y} of the cursor is wrong")


def check_second(inside, monitor):
    """The card's second connector."""
    status = CONNECTOR.replace("Virtual-1", "Virtual-2")
    with inside.case("a second monitor is plugged in"):
        inside.start_vitrine()
        expect(not inside.scanout(1)["output"]["connected"], "there is one already")
        inside.host.run(f"echo on >{status} && echo change >/sys/class/drm/card0/uevent")
        wait_until(lambda: inside.scanout(1)["output"]["connected"], SETTLE, "the connection")
        inside.show_frame("--scanout", "1")
        output = inside.scanout(1)["output"]
        second = Screen(inside, lambda: monitor.screen(inside.work / "second.ppm", "card", 1))
        expect_frame(inside, second, output["width"], output["height"])
        inside.host.run(f"echo detect >{status} && echo change >/sys/class/drm/card0/uevent")
        wait_until(lambda: not inside.scanout(1)["output"]["connected"], SETTLE, "the disconnection")


def check_resize(inside, screen, viewer):
    with inside.case("another monitor tells the guest its size"):
        viewer.resize(1024, 768)
        wait_until(lambda: (inside.scanout()["output"]["width"], inside.scanout()["output"]["height"]) == (1024, 768), SETTLE,
                   "the new mode")
        inside.show_frame()  # of the size that the device prefers
        expect_frame(inside, screen, 1024, 768)
    with inside.case("and one that --output keeps to"):
        inside.start_vitrine("--output", "800x600,name=kept")
        inside.show_frame()
        expect_frame(inside, screen, 800, 600)
        expect(inside.scanout()["name"] == "kept", "the output has another name")
        viewer.resize(WIDTH, HEIGHT)
        inside.host.run("sleep 1")
        inside.show_frame(frames=4)
        expect_frame(inside, screen, 800, 600)


def session_ours(tap, environment):
    """Our own device as the card: it imports dmabufs, and what comes out of it is on the outer vitrine."""
    work = environment.work / "outer"
    work.mkdir()
    outer = Vitrine(environment.programs, work)
    outer.start()
    inside = Inside(tap, environment, "ours", "kms", ["virtio_gpu"], gpu=outer.socket)
    screen = Screen(inside, lambda: picture.read_png(outer.screenshot(work / "shot.png")))
    try:
        with inside.case("a stock kernel boots to its console", alive=False):
            console = boot(inside, screen)
        check_frames(inside, screen)
        with inside.case("the cursor is in the card's plane, where it belongs"):
            inside.show_frame("--cursor", "300,200")
            expect_frame(inside, screen)
            inside.expect_path("udmabuf")
            shot = picture.read_png(outer.screenshot(work / "cursor.png", "--cursor"))
            difference = picture.difference(shot, picture.with_demo_cursor(picture.moving(WIDTH, HEIGHT, inside.last), 300, 200))
            expect(not difference, difference)
        check_screenshot(inside, screen)
        check_ends(inside, screen, console)
    finally:
        inside.host.stop()
        outer.stop()


class Environment:
    """What all sessions share."""

    def __init__(self, programs, work, tap):
        self.kit, self.programs, self.work = Kit(), programs, pathlib.Path(work)
        tap.note(self.kit.qemu_version())
        self.accelerator = self.kit.accelerator(self.work)
        tap.note(f"Linux {self.kit.kernel_version()}, {self.accelerator}")


SESSIONS = {"bochs": session_bochs, "virtio": session_virtio, "ours": session_ours}


if __name__ == "__main__":
    sys.exit(sessions.main(__doc__, ("vitrine", "vitrinectl", "vitrine-guest"), SESSIONS, Environment))
