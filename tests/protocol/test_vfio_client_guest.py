# SPDX-License-Identifier: MIT
"""vitrine-guest between a vitrine and an assigned device that lies, dies, or takes its memory away: it says so and ends, the display
device goes on.

    test_vfio_client_guest.py VITRINE VITRINE_GUEST
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import tap
import vfio_device

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from device import Device  # pylint: disable=wrong-import-position

SECONDS = 120
GONE = 3
CONTRADICTS = "the answer contradicts itself, or the protocol"

# Which lie, and what vitrine-guest says of it.
LIES = {
    "wrong-id": f"the assigned device does not tell what it is: {CONTRADICTS}",
    "short-reply": f"the assigned device does not tell what it is: {CONTRADICTS}",
    "oversized-reply": f"the assigned device does not tell what it is: {CONTRADICTS}",
    "too-many-fds": f"the assigned device does not tell what it is: {CONTRADICTS}",
    "silence": "the assigned device does not tell what it is: no answer in time",
    "death": "the assigned device does not tell what it is: it is gone",
    "caps-loop": f"the assigned device does not tell about BAR 2: {CONTRADICTS}",
    "area-beyond": f"the assigned device does not tell about BAR 2: {CONTRADICTS}",
    "areas-overlap": f"the assigned device does not tell about BAR 2: {CONTRADICTS}",
    "region-fd-pipe": f"the assigned device does not tell about BAR 2: {CONTRADICTS}",
    "region-huge": f"the assigned device does not tell about BAR 2: {CONTRADICTS}",
    "region-huge-unmapped": "the assigned device: BAR 2 has 1152921504673955840 bytes, which is no power of two",
    "region-vast": "the assigned device: no room for the 1152921504606846976 bytes of BAR 2",
    "region-odd-size": "the assigned device: BAR 2 has 12345 bytes, which is no power of two",
    "msix-count": "the assigned device: asking for its ids and interrupts failed: Protocol error",
    "config-fixed": "the assigned device: BAR 2 does not answer where it was put",
    "silence-at-map": "the assigned device: giving it the guest's memory failed: Connection timed out",
    "death-at-map": "the assigned device: giving it the guest's memory failed: Connection reset by peer",
    "ask-for-ever": "the assigned device: giving it the guest's memory failed: Connection timed out",
}


class GuestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vitrine, cls.guest = (path for path in sys.argv[1:3])
        cls.directory = tempfile.TemporaryDirectory(prefix="vitrine-assign-")
        cls.device = Device(cls.vitrine, pathlib.Path(cls.directory.name))
        if not cls.device.wait_ready():
            raise RuntimeError("vitrine did not start")

    @classmethod
    def tearDownClass(cls):
        problem = cls.device.end()
        cls.device.close()
        log = cls.device.log_path.read_text(encoding="utf-8", errors="replace")
        cls.directory.cleanup()
        if problem:
            raise RuntimeError(f"vitrine: {problem}\n{log}")

    def start(self, *options):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        assigned = vfio_device.Process(directory.name, "--size", "64", *options)
        self.addCleanup(assigned.close)
        return assigned

    timeout = "20"

    def command(self, text, *arguments):
        return [self.guest, "--vfio-user", str(self.device.socket), "--timeout", self.timeout, "--assign", text, *arguments]

    def run_guest(self, text, *arguments):
        return subprocess.run(self.command(text, *arguments), capture_output=True, text=True, timeout=SECONDS, check=False)

    def demo(self, assigned, *arguments):
        return self.run_guest(f"vfio-user={assigned.path}", "demo", "--memory", "bar", *arguments)


class Wrong(GuestCase):
    def lie(self, name):
        started = time.monotonic()
        self.timeout = "2" if name.startswith(("silence", "ask-for-ever")) else "20"
        result = self.demo(self.start("--lie", name), "--frames", "2")
        self.assertEqual(result.returncode, GONE, result.stderr)
        self.assertIn(LIES[name], result.stderr)
        self.assertLess(time.monotonic() - started, 60)

    def test_what_cannot_be_assigned(self):
        for text, said in (
            ("fd=3", '"fd=3" cannot be assigned: vfio-user=PATH is expected'),
            ("vfio-user=", '"vfio-user=" cannot be assigned'),
            ("vfio-user=/nowhere", "cannot talk to a device to assign at /nowhere: No such file or directory; start its vfio-user server first"),
        ):
            with self.subTest(text):
                result = self.run_guest(text, "demo", "--frames", "1")
                self.assertEqual(result.returncode, GONE)
                self.assertIn(said, result.stderr)

    def test_too_small(self):
        result = self.demo(self.start("--size", "1"), "--frames", "1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no room for an image of 4096000 bytes in the bar area", result.stderr)


def add_lies():
    for name in LIES:
        setattr(Wrong, "test_" + name.replace("-", "_"), lambda self, name=name: self.lie(name))


class Right(GuestCase):
    def test_probe(self):
        for kind, memory, mappable in (("sealed", "sealed memfd", 64), ("shm", "file", 64), ("none", "messages", 0), ("sparse", "sealed memfd", 32)):
            with self.subTest(kind):
                result = self.run_guest(f"vfio-user={self.start('--bar', kind).path}", "probe")
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertRegex(result.stdout, rf"assigned +1b36:7674, memory by {memory}, interrupts: 1 INTx, 0 MSI, 4 MSI-X")
                self.assertRegex(result.stdout, rf"BAR 2 at 0x380000000000, 67108864 bytes, {mappable << 20} mappable")

    def test_requests_of_the_device(self):
        """It reads and writes all memory that it is given; what it asks beyond that is refused."""
        for name in ("busy", "ask-wrongly"):
            with self.subTest(name):
                result = self.demo(self.start("--lie", name), "--frames", "2")
                self.assertEqual(result.returncode, 0, result.stderr)

    def test_picture(self):
        """What is shown from the BAR is what the guest drew there: the suite compares pixels."""
        assigned = self.start("--size", "128")
        result = self.run_guest(f"vfio-user={assigned.path}", "--control", str(self.device.control), "check", "--filter", "scanout/picture-bar-63-ranges")
        self.assertIn("1 passed", result.stdout)

    def control(self, **request):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(SECONDS)
            control.connect(str(self.device.control))
            control.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(control.makefile().readline())

    def meanwhile(self, assigned, action, *arguments):
        """action(assigned) in the middle of a demo; how the demo ended, and what it said."""
        shown = self.control(command="wait", frames=0)["frames"]
        command = self.command(f"vfio-user={assigned.path}", "demo", *arguments)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
            try:
                self.assertTrue(self.control(command="wait", frames=shown + 10, timeout_ms=SECONDS * 1000)["ok"])
                action(assigned)
                out, said = demo.communicate(timeout=SECONDS)
            finally:
                demo.kill()
        return demo.returncode, out, said

    def test_device_is_killed(self):
        for kind in ("sealed", "none"):
            with self.subTest(kind):
                code, _, said = self.meanwhile(self.start("--bar", kind), lambda assigned: assigned.process.kill(), "--seconds", "100")
                self.assertEqual(code, GONE)
                self.assertTrue(re.search("the connection to the assigned device broke|the assigned device closed", said), said)

    def test_device_is_stopped(self):
        """A device that hangs is waited for as long as --timeout says."""
        assigned = self.start("--bar", "none")
        self.timeout = "3"
        code, _, said = self.meanwhile(assigned, lambda it: os.kill(it.process.pid, signal.SIGSTOP), "--seconds", "100")
        self.assertEqual(code, GONE, said)

    def test_memory_is_truncated(self):
        """Nobody dies of it."""
        code, out, said = self.meanwhile(self.start("--bar", "shm"), lambda it: os.kill(it.process.pid, signal.SIGUSR1), "--frames", "100")
        self.assertEqual(code, 0, said)
        self.assertIn("100 frames of 1280x800", out)


add_lies()
tap.main()
