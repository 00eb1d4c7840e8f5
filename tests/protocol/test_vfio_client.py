# SPDX-License-Identifier: MIT
"""Assigned devices that another process serves by vfio-user: what is made of an honest one, and what a lying one costs."""
import os
import subprocess
import tempfile
import time
import unittest

import tap
from vfio_device import COMMAND, BARS, DMA_ADDRESS, DMA_GO, DMA_LENGTH, DMA_RESULT, LIES, MEMORY_BAR, REGISTERS_BAR, SCRATCH, Process

TIMEOUT_MS = 20000
SILENCE_MS = 2000  # when it is the time-out that is waited for
SILENT = ("silence", "drip", "ask-for-ever")
SECONDS = 120
MIB = 1 << 20
CONFIG = 7


class DeviceCase(unittest.TestCase):
    def start(self, *options):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        device = Process(directory.name, "--size", "16", *options)
        self.addCleanup(device.close)
        return device.path

    def steps(self, path, *steps, timeout_ms=TIMEOUT_MS):
        """What our client says to each step."""
        arguments = [os.environ["PROTOCOL_CLIENT"], path, str(timeout_ms)] + [str(word) for step in steps for word in step.split()]
        client = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS, check=False)
        self.assertEqual(client.returncode, 0, client.stderr)
        lines = client.stdout.splitlines()
        self.assertEqual(lines[0], "connect 0")
        return lines[1:]


class Honest(DeviceCase):
    """The same device, with BAR 2 in each kind of memory."""

    def looks(self, kind, expected):
        lines = self.steps(self.start("--bar", kind), "device", "region 2", "region 7")
        self.assertEqual(lines, [f"device 0 {expected[0]}", f"region 0 {expected[1]}", "region 0 size 256 rw fd no areas 0 last 0"])

    def test_sealed(self):
        udmabuf = ",udmabuf" if os.access("/dev/udmabuf", os.R_OK | os.W_OK) else ""
        self.looks("sealed", (f"mmap,addresses{udmabuf} bar0 16384/0@0 bar2 16777216/1/sealed@0", "size 16777216 rw fd sealed areas 1 last 0"))

    def test_shm(self):
        self.looks("shm", ("mmap,addresses bar0 16384/0@0 bar2 16777216/1@0", "size 16777216 rw fd yes areas 1 last 0"))

    def test_none(self):
        self.looks("none", ("addresses bar0 16384/0@0 bar2 16777216/0@0", "size 16777216 rw fd no areas 0 last 0"))

    def test_sparse(self):
        lines = self.steps(self.start("--bar", "sparse"), "device", "region 2")
        self.assertIn("bar2 16777216/2/sealed@0", lines[0])
        self.assertEqual(lines[1], f"region 0 size 16777216 rw fd sealed areas 2 last {12 * MIB}")

    def test_bars_are_followed(self):
        """Where the VMM puts them in configuration space; the two halves of a 64-bit BAR and the command register in one message."""
        place = ["cork", f"poke 7 {BARS} 0xfe000000", f"poke 7 {BARS + 8} 0", f"poke 7 {BARS + 12} 0x3800", f"poke 7 {COMMAND} 2", "uncork"]
        move = [f"poke 7 {BARS + 12} 0x3900", "refresh", f"poke 7 {COMMAND} 0", "refresh", "reset", "refresh"]
        lines = self.steps(self.start(), "device", "refresh", *place, "refresh", "refresh", *move)
        self.assertEqual(
            [line for line in lines if line.startswith("refresh")],
            [
                "refresh 0  bar0 16384/0@0 bar2 16777216/1/sealed@0",
                "refresh 0 changed bar0 16384/0@fe000000 bar2 16777216/1/sealed@380000000000",
                "refresh 0  bar0 16384/0@fe000000 bar2 16777216/1/sealed@380000000000",
                "refresh 0 changed bar0 16384/0@fe000000 bar2 16777216/1/sealed@390000000000",
                "refresh 0 changed bar0 16384/0@0 bar2 16777216/1/sealed@0",
                "refresh 0  bar0 16384/0@0 bar2 16777216/1/sealed@0",
            ],
        )

    def test_udmabuf(self):
        """The ranges of a sealed BAR, merged where they touch; guests' mistakes are found before."""
        steps = ["have-udmabuf", "dmabuf 2 4096 65536", "dmabuf 2 0 8192", "dmabuf 2 100 8192", f"dmabuf 2 0 {16 * MIB}", "dmabuf 0 0 8192", "dmabuf 1 0 0"]
        lines = self.steps(self.start(), "device", *steps)
        self.assertEqual(lines[2:6], ["udmabuf 1000+2000", "udmabuf 10000+1000", "dmabuf 0", "udmabuf 0+3000"])
        self.assertEqual([line.split(": ")[0] for line in lines[7:]], ["dmabuf EINVAL guest", "dmabuf ERANGE guest", "dmabuf EOPNOTSUPP unsupported", "dmabuf ENODEV guest"])
        self.assertIn("BAR 0 of the device is no sealed memfd", lines[9])

    def test_udmabuf_of_areas(self):
        lines = self.steps(self.start("--bar", "sparse"), "device", "have-udmabuf", "dmabuf 2 4096 12582912", "dmabuf 2 0 12582912")
        self.assertEqual(lines[2:5], ["udmabuf 11000+2000", "udmabuf c10000+1000", "dmabuf 0"])
        self.assertIn("dmabuf EACCES guest", lines[5])

    def test_no_dmabuf(self):
        for kind in ("shm", "none"):
            with self.subTest(kind):
                lines = self.steps(self.start("--bar", kind), "device", "dmabuf 2 0 65536")
                self.assertIn("dmabuf EOPNOTSUPP unsupported: no dmabufs can be made of the device", lines[1])
                self.assertIn("sealed memfds", lines[1])

    @unittest.skipIf(os.path.exists("/dev/udmabuf"), "this machine has udmabuf")
    def test_no_udmabuf_here(self):
        lines = self.steps(self.start(), "device", "dmabuf 2 0 65536")
        self.assertIn("dmabuf EOPNOTSUPP unsupported: no dmabufs can be made of the device: /dev/udmabuf is missing", lines[1])

    def test_reads_and_writes(self):
        """The mapped memory and the messages are the same memory; what is posted arrives before what is asked for."""
        for kind in ("sealed", "none"):
            with self.subTest(kind):
                steps = [f"poke {MEMORY_BAR} {MIB} 0x2a000007", f"read {MEMORY_BAR} {MIB} 4", f"read {MEMORY_BAR} 0 {3 * MIB}", f"read {MEMORY_BAR} {16 * MIB} 1"]
                lines = self.steps(self.start("--bar", kind), "device", *steps)
                self.assertEqual(lines[1:], ["poke 0", "read 0 first 7 last 42", "read 0 first 0 last 0", "read EINVAL"])

    def test_dma(self):
        """The device reads and writes our memory; where there is none it gets an error."""
        go = [f"poke {REGISTERS_BAR} {DMA_LENGTH} 8", f"poke {REGISTERS_BAR} {DMA_GO} 1", f"read {REGISTERS_BAR} {SCRATCH} 8", f"read {REGISTERS_BAR} {DMA_RESULT} 1"]
        lines = self.steps(self.start(), f"poke {REGISTERS_BAR} {DMA_ADDRESS} 252", *go, f"poke {REGISTERS_BAR} {DMA_ADDRESS} 65536", *go)
        self.assertEqual([line for line in lines if line.startswith("read")], ["read 0 first 1 last 8", "read 0 first 0 last 0", "read 0 first 1 last 8", "read 0 first 14 last 14"])
        write = [f"poke {REGISTERS_BAR} {SCRATCH} 99", f"poke {REGISTERS_BAR} {DMA_LENGTH} 4", f"poke {REGISTERS_BAR} {DMA_GO} 2", "dispatch 200"]
        self.assertEqual(self.steps(self.start(), *write)[-1], "dispatch 0 memory 99")

    def test_one_client_after_the_other(self):
        path = self.start()
        for _ in range(3):
            self.assertEqual(self.steps(path, "device", "map-memfd 0 8192", "unmap 0 8192", "set-irq 2 0")[1:], ["map-memfd 0", "unmap 0", "set-irq 0"])


# What is said of each lie, and by which errno; where nothing is said the truth behind it is usable.
NOT_TOLD = "the device does not tell "
WHAT, BAR2, SPACE = NOT_TOLD + "what it is: ", NOT_TOLD + "about BAR 2: ", NOT_TOLD + "about its configuration space: "
CONTRADICTS, LATE, GONE = "the answer contradicts itself, or the protocol", "no answer in time", "it is gone"
FEATURES = "the device stopped answering when it was asked what it can do"

SAID = {
    "wrong-id": ("EPROTO", WHAT + CONTRADICTS),
    "wrong-command": ("EPROTO", WHAT + CONTRADICTS),
    "wrong-type": ("EPROTO", WHAT + CONTRADICTS),
    "short-header": ("EPROTO", WHAT + CONTRADICTS),
    "short-reply": ("EPROTO", WHAT + CONTRADICTS),
    "oversized-reply": ("EPROTO", WHAT + CONTRADICTS),
    "enormous-reply": ("EPROTO", WHAT + CONTRADICTS),
    "error-with-body": ("EPROTO", WHAT + CONTRADICTS),
    "regions-without-end": ("EPROTO", WHAT + CONTRADICTS),
    "irqs-without-end": ("EPROTO", WHAT + CONTRADICTS),
    "few-regions": ("EPROTO", "the device is a PCI device with 7 regions only"),
    "no-pci": ("ENODEV", "the device is no PCI device"),
    "too-many-fds": ("EPROTO", WHAT + CONTRADICTS),
    "region-wrong-index": ("EPROTO", BAR2 + CONTRADICTS),
    "region-short": ("EPROTO", BAR2 + CONTRADICTS),
    "region-oversized": ("EPROTO", BAR2 + CONTRADICTS),
    "region-not-sent": ("EPROTO", BAR2 + CONTRADICTS),
    "region-argsz-huge": ("EPROTO", BAR2 + CONTRADICTS),
    "region-two-fds": ("EPROTO", BAR2 + CONTRADICTS),
    "region-no-fd": ("EPROTO", BAR2 + CONTRADICTS),
    "region-fd-pipe": ("EPROTO", BAR2 + CONTRADICTS),
    "region-fd-socket": ("EPROTO", BAR2 + CONTRADICTS),
    "region-fd-folder": ("EPROTO", BAR2 + CONTRADICTS),
    "region-huge": ("EPROTO", BAR2 + CONTRADICTS),
    "region-wraps": ("EPROTO", BAR2 + CONTRADICTS),
    "region-offset-beyond": ("EPROTO", BAR2 + CONTRADICTS),
    "region-huge-unmapped": ("0", f"bar2 {(1 << 60) + 16 * MIB}/0@0"),
    "region-vast": ("0", f"bar2 {1 << 60}/0@0"),
    "region-odd-size": ("0", "bar2 12345/0@0"),
    "caps-loop": ("EPROTO", BAR2 + CONTRADICTS),
    "caps-loop-of-two": ("EPROTO", BAR2 + CONTRADICTS),
    "caps-beyond": ("EPROTO", BAR2 + CONTRADICTS),
    "caps-in-the-header": ("EPROTO", BAR2 + CONTRADICTS),
    "areas-without-end": ("EPROTO", BAR2 + CONTRADICTS),
    "areas-not-sent": ("EPROTO", BAR2 + CONTRADICTS),
    "area-beyond": ("EPROTO", BAR2 + CONTRADICTS),
    "area-wraps": ("EPROTO", BAR2 + CONTRADICTS),
    "areas-overlap": ("EPROTO", BAR2 + CONTRADICTS),
    "config-short": ("ENOTCONN", FEATURES),
    "config-other-offset": ("ENOTCONN", FEATURES),
    "config-oversized": ("ENOTCONN", FEATURES),
    "silence": ("ETIMEDOUT", WHAT + LATE),
    "silence-at-region": ("ETIMEDOUT", BAR2 + LATE),
    "silence-at-feature": ("ENOTCONN", FEATURES),
    "drip": ("ETIMEDOUT", WHAT + LATE),
    "death": ("ECONNRESET", WHAT + GONE),
    "death-at-region": ("ECONNRESET", BAR2 + GONE),
    "death-at-feature": ("ENOTCONN", FEATURES),
}

# Lies that a VMM meets later: the step, and what comes of it.
LATER = {
    "config-fixed": (f"poke 7 {COMMAND} 2", "poke 0"),
    "msix-count": ("irq 2", "irq EPROTO"),
    "msix-index": ("irq 2", "irq EPROTO"),
    "silence-at-map": ("map 0 4096", "map ETIMEDOUT"),
    "death-at-map": ("map 0 4096", "map ECONNRESET"),
    "ask-for-ever": ("map 0 4096", "map ETIMEDOUT"),
    "ask-wrongly": ("map 0 4096", "map 0"),
    "busy": ("map 0 4096", "map 0"),
}


class Lying(DeviceCase):
    """Each lie costs an error that says which question it was, within the time-out, and no fd."""

    def timeout_ms(self, name):
        return SILENCE_MS if name.startswith(SILENT) else TIMEOUT_MS

    def lie(self, name):
        started = time.monotonic()
        lines = self.steps(self.start("--lie", name), "fds", "device", "fds", timeout_ms=self.timeout_ms(name))
        code, text = SAID[name]
        self.assertEqual(lines[1].split()[1], code, lines[1])
        self.assertIn(text, lines[1])
        if code != "0":
            before, after = (int(line.split()[-1]) for line in (lines[0], lines[2]))
            self.assertLessEqual(after, before)
        self.assertLess(time.monotonic() - started, 60)

    def later(self, name):
        step, said = LATER[name]
        lines = self.steps(self.start("--lie", name), "device", step, "refresh", timeout_ms=self.timeout_ms(name))
        self.assertEqual(lines[0].split()[1], "0", lines[0])
        self.assertEqual(lines[1].split()[:2], said.split())
        # A device whose server is lost has no BAR that answers; it can be asked, and destroyed.
        self.assertEqual(lines[2].split()[1], "0" if said.endswith(" 0") else "ENOTCONN")


def add_lies():
    for names, run in ((SAID, Lying.lie), (LATER, Lying.later)):
        for name in names:
            setattr(Lying, "test_" + name.replace("-", "_"), lambda self, run=run, name=name: run(self, name))
    assert set(SAID) | set(LATER) == set(LIES), "a lie without a row"


add_lies()
tap.main()
