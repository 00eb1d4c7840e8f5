#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What 3D draws, exported as dmabufs for real: vitrine --3d inside a machine with a stock kernel, whose /dev/udmabuf Mesa's llvmpipe makes
dmabufs with, and a guest in user space that draws. What the displays there show is what a reading of the renderer's textures says.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import picture  # noqa: E402
import sessions  # noqa: E402
from inside import Inside  # noqa: E402
from machine import Environment, Kit  # noqa: E402
from qmp import wait_until  # noqa: E402
from screen import SETTLE, boot, machine  # noqa: E402
from tap import expect  # noqa: E402

FRAMES, MORE = 12, 20
ENVIRONMENT = "LD_LIBRARY_PATH=/tmp/lib VITRINE_RENDERER=/tmp/bin/vitrine-renderer"


class Drawing(Inside):
    """... whose vitrine draws with the Mesa of a disk: its root is there, and /tmp is the same for all."""

    program = "chroot /gl /tmp/bin/vitrine"

    def mount(self):
        self.host.run("mkdir /gl && mount -t ext4 -o ro /dev/vda /gl && for place in dev proc sys tmp; do mount --bind /$place /gl/$place; done")
        self.host.run("mkdir /tmp/bin /tmp/lib && cp /bin/vitrine /bin/vitrine-renderer /tmp/bin/ && "
                      "for file in /lib/*.so*; do [ -e /gl/lib/${file##*/} ] || cp $file /tmp/lib/; done")

    def start(self, *options, display="headless --output 1280x800"):
        self.display = display
        self.start_vitrine(*options, environment=ENVIRONMENT)

    def draw(self, frames=FRAMES):
        self.show_frame("--3d", frames=frames)

    def expect_exported(self):
        self.expect_path("virgl")
        expect(self.copied() == 0, f"{self.copied()} bytes were copied")


def read_back(inside, frames):
    """What the same guest draws, as it is read back."""
    inside.start("--3d", "virgl", "--path", "readback")
    inside.draw(frames)
    inside.screenshot()
    inside.expect_path("readback")
    return inside.screenshot()


def check_headless(inside, expected):
    with inside.case("what a process of its own draws is exported, and looked at where it is"):
        inside.start("--3d", "virgl,isolate")
        inside.draw()
        inside.expect_exported()
        inside.expect_image(expected)
        inside.expect_exported()
    with inside.case("the process is killed: what it exported is there still"):
        inside.host.run(f"kill -9 {inside.status()['renderer']['pid']}")
        wait_until(lambda: inside.status()["renderer"]["lost"], SETTLE, "the loss")
        inside.expect_image(expected)
    with inside.case("another guest draws with another one"):
        inside.draw(MORE)
        inside.expect_exported()
        difference = picture.difference(inside.screenshot(), expected)
        expect(difference, "the picture is the last guest's")
        inside.draw()
        inside.expect_image(expected)


def check_kms(inside, screen, expected):
    """This card's driver scans out no memory that has red first, which llvmpipe's has; those of GPUs do."""
    for mode in ("virgl", "virgl,isolate"):
        with inside.case(f"{mode}: a card that does not scan out the format in which it was drawn gets a copy, and says so"):
            inside.start("--3d", mode, display="kms")
            inside.draw()
            reasons = inside.expect_path("readback")
            expect("no framebuffers of format XB24" in reasons["virgl"], reasons)
            screen.expect(expected)


def session_export(tap, environment):
    disk = ["-drive", f"file={environment.kit.gl_disk()},format=raw,readonly=on,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk"]
    modules = ["bochs", "virtio_blk", "ext4"]
    with machine(tap, environment, "export", modules, Drawing, extra=["-device", "bochs-display,edid=on", *disk]) as (inside, screen, _):
        with inside.case("a stock kernel boots to its console", alive=False):
            boot(inside, screen)
            inside.mount()
            inside.host.run("[ -c /dev/udmabuf ]")
        with inside.case("a picture is drawn in software, and read back"):
            expected = read_back(inside, FRAMES)
            expect(len({expected.rgb[at:at + 3] for at in range(0, len(expected.rgb), 3)}) > 1000, "it is no triangle of three colours")
        check_headless(inside, expected)
        check_kms(inside, screen, expected)


def set_up(programs, work, tap):
    return Environment(programs, work, tap, [])


if __name__ == "__main__":
    sys.exit(sessions.main(__doc__, ("vitrine", "vitrinectl", "vitrine-guest", "vitrine-renderer"), {"export": session_export}, set_up,
                           Kit().missing(gl=True)))
