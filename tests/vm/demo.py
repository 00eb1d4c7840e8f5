#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The part of demo.sh that runs a guest: moving frames in its assigned device's memory, a table of what happened, demo.png."""

import argparse
import pathlib
import signal
import sys
import tempfile
import time

from machine import Failure, Guest, Kit, Vitrine

SECONDS = 8
WIDTH_OF_NAMES = 22


def say(text):
    print(f"      {text}", flush=True)


def show_table(status):
    """What `vitrinectl status` tells, as the few lines that matter here."""
    scanout = status["scanouts"][0]
    latency = scanout["flush_to_present_us"]
    rows = [
        ("transport", status["transport"]),
        ("guest features", ", ".join(status["guest_features"])),
        ("picture", f"{scanout['width']}x{scanout['height']} {scanout['format']} on output {scanout['name']}"),
        ("frames", scanout["frames"]),
        ("path", scanout["path"]),
    ]
    rows += [(f"  why not {entry['path']}", entry["reason"]) for entry in scanout["why_not"]]
    rows += [
        ("bytes copied per frame", f"{scanout['bytes_copied'] // max(scanout['frames'], 1):,}"),
        ("CPU per frame", f"{scanout['cpu_us_per_frame']} us"),
        ("flush to presented", f"{latency['p50']} us (median), {latency['p99']} us (99 %)"),
    ]
    print()
    for name, value in rows:
        print(f"  {name:<{WIDTH_OF_NAMES}}  {value}")
    print(flush=True)


def wait_until_ended(vitrine, guest):
    """--keep: until Ctrl-C, or one of the two ends by itself."""
    print(f"running; control socket: {vitrine.control}")
    print(f"try: {vitrine.ctl} --control {vitrine.control} status")
    print("Ctrl-C ends it", flush=True)
    while vitrine.alive() and guest.process.poll() is None:
        time.sleep(0.5)


def run(arguments, work):
    build = arguments.build.resolve()
    programs = {name: build / "src/programs" / name for name in ("vitrine", "vitrinectl")}
    kit = Kit()
    if missing := kit.missing():
        raise Failure(missing)
    say(f"{kit.qemu_version()}, Linux {kit.kernel_version()}")
    accelerator = kit.accelerator(work)
    say("KVM works here" if accelerator == "kvm" else "KVM does not work here: software emulation, the guest is slow")
    initramfs = kit.initramfs(work / "initramfs.gz", files=[build / "tests/vm/guest-scanout"])
    vitrine = Vitrine(programs, work, options=["--name", "Vitrine demo"], display="auto")
    guest = Guest(kit, work, initramfs, accelerator, gpu=vitrine.socket)
    try:
        vitrine.start()
        display = vitrine.scanout()["display"]
        say(f"vitrine is up, {'without a desktop' if display == 'headless' else f'with a window ({display})'}; booting the guest")
        guest.start()
        guest.wait_ready()
        guest.enter("guest-scanout")
        guest.send("demo")
        moving = guest.wait_for(r"@@(?:MOVING (.*)|FAILED (.*))", 60)
        if moving[2]:
            raise Failure(f"the guest could not show a frame: {moving[2]}")
        say(f"the guest draws in its assigned device's memory: {moving[1]}")
        print("\n[5/5] watching for", SECONDS, "seconds", flush=True)
        first = vitrine.scanout()["frames"]
        time.sleep(SECONDS)
        vitrine.screenshot(arguments.png)
        status = vitrine.status()
        shown = status["scanouts"][0]["frames"] - first
        show_table(status)
        if shown < 2:
            raise Failure(f"{shown} frames arrived in {SECONDS} seconds: the picture does not move\n{guest.logs()}\n{vitrine.log()}")
        print(f"demo.png: {arguments.png} ({shown / SECONDS:.1f} frames a second from this guest)", flush=True)
        if arguments.keep:
            wait_until_ended(vitrine, guest)
    except Failure as failure:
        raise Failure(f"{failure}\n\n{guest.logs()}\nvitrine:\n{vitrine.log()[-2000:]}") from None
    finally:
        guest.stop()
        vitrine.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--png", required=True, type=pathlib.Path)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="vitrine-demo-") as work:
        try:
            run(arguments, pathlib.Path(work))
        except Failure as failure:
            print(f"demo: {failure}", file=sys.stderr)
            print("demo: what to do: the first line says what failed; run ./demo.sh again, and report it with this output when it stays",
                  file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0 if arguments.keep else 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
