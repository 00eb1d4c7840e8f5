# SPDX-License-Identifier: MIT
"""vitrine, vitrine-guest and vitrinectl inside a guest, where /dev/udmabuf and the display card are real: their host is the stock kernel
there."""

import base64
import contextlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import picture  # noqa: E402
from machine import Guest  # noqa: E402
from tap import Failure, expect  # noqa: E402

# instrumented programs need more than others
MEMORY_MB = 2048


class Inside:
    """The machine that is their host, and what runs in it: the shell's variables vitrine and guest are their process ids."""

    FRAMES = 5
    program = "vitrine"

    def __init__(self, tap, environment, name, display="headless --output 1280x800", modules=(), **machine):
        self.tap, self.name, self.display = tap, name, display
        self.work = environment.work / name
        self.work.mkdir()
        self.last = 0  # the number of the frame that vitrine-guest stays on
        self.copied_before = 0
        programs = [environment.programs[program] for program in ("vitrine", "vitrinectl", "vitrine-guest", "vitrine-renderer")
                    if program in environment.programs]
        initramfs = environment.kit.initramfs(self.work / "initramfs.gz", programs=programs, modules=modules)
        self.host = Guest(environment.kit, self.work, initramfs, environment.accelerator, memory_mb=MEMORY_MB, **machine)

    @contextlib.contextmanager
    def case(self, name, alive=True):
        """alive: vitrine has to run at its end."""
        with self.tap.case(f"{self.name}: {name}", self.logs):
            yield
            if alive:
                self.host.run("kill -0 $vitrine")

    def logs(self):
        with contextlib.suppress(Failure):
            self.host.run("tail -n 20 /tmp/vitrine.log /tmp/guest.log")
        return self.host.logs()

    def start_vitrine(self, *options, environment=""):
        """A new vitrine in place of what was there."""
        self.host.run("kill $guest $vitrine 2>/dev/null; wait; rm -f /tmp/*.sock; true")
        self.host.run(f"{environment} {self.program} --vfio-user /tmp/gpu.sock --control /tmp/control.sock --display {self.display} "
                      f"{' '.join(options)} >/tmp/vitrine.log 2>&1 & vitrine=$!")
        self.host.run("for i in $(seq 200); do [ -e /tmp/control.sock ] && [ -e /tmp/gpu.sock ] && break; sleep 0.1; done")

    def show_frame(self, *options, frames=FRAMES):
        """A new vitrine-guest that stays on one frame in scattered RAM, when it has shown the others."""
        self.last = frames - 1
        self.host.run('[ -z "$guest" ] || kill $guest 2>/dev/null; [ -z "$guest" ] || wait $guest; true')
        self.host.run("for i in $(seq 100); do vitrinectl --control /tmp/control.sock --json status | "
                      "grep -q '\"connected\":true,\"connections' || break; sleep 0.1; done")
        self.copied_before = self.scanout()["bytes_copied"]  # the last picture of the guest that left, too
        # until its standard input ends: nothing ever comes from that serial port
        self.host.run(f"vitrine-guest --vfio-user /tmp/gpu.sock demo --memory ram --ranges 63 --frames {frames} --keep "
                      f"{' '.join(options)} </dev/ttyS1 >/tmp/guest.log 2>&1 & guest=$!")
        self.host.run("for i in $(seq 600); do grep -q 'last frame' /tmp/guest.log && break; kill -0 $guest || break; sleep 0.1; done; "
                      "grep 'last frame' /tmp/guest.log", timeout=90)

    def ask(self, command):
        return "\n".join(self.host.run(f"vitrinectl --control /tmp/control.sock {command}", timeout=90))

    def status(self):
        return json.loads(self.ask("status --json"))

    def scanout(self, number=0):
        return self.status()["scanouts"][number]

    def copied(self):
        """Bytes that were copied since this vitrine-guest came."""
        return self.scanout()["bytes_copied"] - self.copied_before

    def expect_path(self, wanted):
        scanout = self.scanout()
        expect(scanout["path"] == wanted, f"path is {scanout['path']}, not {wanted}; why not: {scanout['why_not']}")
        return {entry["path"]: entry["reason"] for entry in scanout["why_not"]}

    def screenshot(self, options=""):
        self.ask(f"screenshot {options} /tmp/shot.png")
        lines = self.host.run("base64 /tmp/shot.png", timeout=120)
        path = self.work / "shot.png"
        path.write_bytes(base64.b64decode("".join(lines)))
        return picture.read_png(path)

    def expect_image(self, expected, options=""):
        difference = picture.difference(self.screenshot(options), expected)
        expect(not difference, difference)
