#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The library's parts that talk to the kernel, against a real one: a guest with devices bound to vfio-pci, where vfio-errnos (vfio_errnos.c)
checks every errno that the kernel's dmabuf export has, revocation, and the ways to a device, vfio-mapped (vfio_mapped.c) reading through a
device's fd, udmabuf-limits (udmabuf_limits.c) the rules and limits of udmabuf, and timelines (timelines.c) DRM's timelines; and a vitrine
that is given a device. The guest's display is a vitrine: its card is the importer."""

import argparse
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from checks import run_checks  # noqa: E402
from machine import Guest, Kit, Vitrine  # noqa: E402
from tap import Failure, Tap, expect  # noqa: E402

MEMORY, RESET, TEST = "0000:00:05.0", "0000:00:07.0", "0000:00:08.0"
DEVICES = [
    "-blockdev", "null-co,node-name=disk,size=1048576,read-zeroes=on", "-device", "nvme,serial=vitrine,drive=disk,addr=07.0",
    "-device", "pci-testdev,addr=08.0",
]


def bind(guest, bdf):
    """Gives a device to vfio-pci."""
    guest.run(f"echo vfio-pci > /sys/bus/pci/devices/{bdf}/driver_override && echo {bdf} > /sys/bus/pci/drivers_probe")


def boot(guest, devices):
    guest.start()
    guest.wait_ready()
    for bdf in devices:
        bind(guest, bdf)
    guest.run("for i in $(seq 50); do [ -e /dev/dri/card0 ] && break; sleep 0.1; done; [ -e /dev/dri/card0 ]")


def assigned(guest, control="/tmp/ctl"):
    """The devices that a vitrine in the guest says it has."""
    return json.loads(guest.run(f"vitrinectl --control {control} --json status")[-1])["assigned"]


def check_program(tap, guest):
    """vitrine and vitrinectl inside the guest, with a real device to be given."""
    with tap.case("vfio: vitrine --assign bdf= has the device", guest.logs):
        guest.run(f"vitrine --vfio-user /tmp/gpu --control /tmp/ctl --assign bdf={MEMORY} >/tmp/log 2>&1 & "
                  "for i in $(seq 100); do [ -S /tmp/ctl ] && break; sleep 0.1; done; [ -S /tmp/ctl ] || cat /tmp/log")
        device = assigned(guest)[0]
        bar = next(bar for bar in device["bars"] if bar["bar"] == 2)
        expect(device["name"] == MEMORY and device["no_dmabuf"] is None, device)
        expect(device["capabilities"] == ["dmabuf", "mmap", "bar-addresses"], device)
        expect(bar["size"] == bar["mappable"] == 64 << 20 and int(bar["address"], 16) > 0, bar)
        text = "\n".join(guest.run("vitrinectl --control /tmp/ctl status"))
        expect(f"{MEMORY}, exports dmabufs" in text and "BAR 2 64.0 MiB" in text, text)
    with tap.case("vfio: vitrinectl assign --remove, and the device is free", guest.logs):
        said = guest.run(f"vitrinectl --control /tmp/ctl assign bdf={MEMORY} 2>&1; true")
        expect("held by another process" in said[-1], said)
        guest.run(f"vitrinectl --control /tmp/ctl assign --remove {MEMORY}")
        expect(assigned(guest) == [], "it is still there")
    with tap.case("vfio: vitrinectl assign passes the device", guest.logs):
        said = guest.run(f"vitrinectl --control /tmp/ctl assign bdf={MEMORY}")
        expect(said[0] == f"{MEMORY}, exports dmabufs", said)
        expect([device["name"] for device in assigned(guest)] == [MEMORY], "it did not arrive")
    with tap.case("vfio: pid= of a process that has the device, which is a second time once too often", guest.logs):
        said = guest.run("vitrinectl --control /tmp/ctl assign pid=$(pidof vitrine) 2>&1; true")
        expect(f"{MEMORY} is assigned already" in said[-1], said)
    with tap.case("vfio: pid= of a process that gets the device later, as a VMM does that connects first", guest.logs):
        guest.run(f"vitrinectl --control /tmp/ctl assign --remove {MEMORY}")
        guest.run("vitrine --vfio-user /tmp/gpu2 --control /tmp/ctl2 --assign pid=$(pidof vitrine) >/tmp/log2 2>&1 & "
                  "for i in $(seq 100); do [ -S /tmp/ctl2 ] && break; sleep 0.1; done; [ -S /tmp/ctl2 ] || cat /tmp/log2")
        expect(assigned(guest, "/tmp/ctl2") == [], "it has something")
        text = "\n".join(guest.run("vitrinectl --control /tmp/ctl2 status"))
        expect("awaited" in text and "holds no VFIO device" in text, text)
        guest.run(f"vitrinectl --control /tmp/ctl assign bdf={MEMORY}")
        expect(assigned(guest, "/tmp/ctl2") == [], "nobody had a reason to look")
        guest.run("mkfifo /tmp/stay; vitrine-guest --vfio-user /tmp/gpu2 demo --frames 1 --keep </tmp/stay >/tmp/log3 2>&1 & "
                  "exec 9>/tmp/stay; echo $! >/tmp/player; vitrinectl --control /tmp/ctl2 wait --frames 1")
        guest.run("for i in $(seq 100); do vitrinectl --control /tmp/ctl2 status | grep -q 'exports dmabufs' && break; sleep 0.1; done")
        expect([device["name"] for device in assigned(guest, "/tmp/ctl2")] == [MEMORY], "it was not taken")
    with tap.case("vfio: when the VMM leaves its devices are let go", guest.logs):
        guest.run("kill $(cat /tmp/player)")
        guest.run("for i in $(seq 100); do vitrinectl --control /tmp/ctl2 status | grep -q 'exports dmabufs' || break; sleep 0.1; done")
        expect(assigned(guest, "/tmp/ctl2") == [], "it is held")
        expect([device["name"] for device in assigned(guest)] == [MEMORY], "who has no VMM lets nothing go")
        guest.run("vitrinectl --control /tmp/ctl2 quit; vitrinectl --control /tmp/ctl quit")


def run(tap, guest, name, devices, others=()):
    """Boots the guest and runs vfio-errnos with these devices, then the other programs."""
    try:
        with tap.case(f"vfio: {name}: a stock kernel boots and gives devices to vfio-pci", guest.logs):
            boot(guest, devices)
        run_checks(tap, guest, "vfio", f"vfio-errnos {' '.join(devices)} /dev/dri/card0")
        for other in others:
            run_checks(tap, guest, "vfio", other)
        if others:
            check_program(tap, guest)
        with tap.case(f"vfio: {name}: the example of docs/vfio-embedding.md makes a dmabuf", guest.logs):
            lines = guest.run(f"vfio-embedding bdf={devices[0]}")
            expect(lines == [f"dmabuf of {devices[0]}: 8192 bytes"], lines)
    finally:
        guest.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for program in ("vitrine", "vitrinectl", "vitrine-guest", "vfio-errnos", "vfio-mapped", "udmabuf-limits", "vfio-user-bars",
                    "vfio-embedding"):
        parser.add_argument(f"--{program}", required=True, type=pathlib.Path, metavar="PROGRAM")
    parser.add_argument("--timelines", type=pathlib.Path, metavar="PROGRAM", help="where there is a Wayland display")
    programs = {name.replace("_", "-"): path.resolve() for name, path in vars(parser.parse_args()).items() if path}
    timelines = [programs["timelines"]] if "timelines" in programs else []
    tap, kit = Tap(), Kit()
    if missing := kit.missing():
        print(f"1..0 # SKIP {missing}")
        return 0
    with tempfile.TemporaryDirectory(prefix="vitrine-vfio-") as work:
        work = pathlib.Path(work)
        vitrine = Vitrine(programs, work)
        try:
            inside = [programs[name] for name in ("vfio-errnos", "vfio-mapped", "udmabuf-limits", "vfio-user-bars", "vfio-embedding",
                                                   "vitrine", "vitrinectl", "vitrine-guest")] + timelines
            initramfs = kit.initramfs(work / "initramfs.gz", programs=inside)
            machine = (kit, work, initramfs, kit.accelerator(work), vitrine.socket)
            vitrine.start()
            run(tap, Guest(*machine, extra=DEVICES), "identity", (MEMORY, RESET, TEST),
                [f"vfio-mapped {MEMORY}", "vfio-user-bars /dev/dri/card0", "udmabuf-limits /dev/dri/card0",
                 *(["timelines /dev/dri/card0"] if timelines else [])])
            run(tap, Guest(*machine, append="iommu.passthrough=0"), "translated", (MEMORY,))
        except Failure as failure:
            print(f"Bail out! {failure}")
            return 1
        finally:
            vitrine.stop()
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
