#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""From a guest's flush to the frame on a window, with one and with four heads, copied and imported, by vitrine's own figures. The
guest flushes again when it was shown, so the median is a refresh of the monitor, less the time in which it draws.

    bench_windows.py VITRINE VITRINECTL VITRINE_GUEST FAKE_UDMABUF [--json]
"""
import json
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "ui"), str(ROOT)]
import desktop  # noqa: E402  pylint: disable=wrong-import-position
from session import Session  # noqa: E402  pylint: disable=wrong-import-position

FRAMES = 300
SIZE = "640x400"  # small: the processor draws the windows, which is not what is measured


def measure(programs, directory, preload, heads):
    env = {**desktop.environment(directory), "SDL_VIDEODRIVER": "offscreen", **preload}
    outputs = [word for head in range(heads) for word in ("--output", f"{SIZE},name=head{head}")]
    with Session(programs, directory / f"{'copied' if not preload else 'imported'}-{heads}", env, "--display", "sdl", *outputs) as session, \
            session.picture(FRAMES, "--heads", heads, "--memory", "ram", "--ranges", 63):
        scanout = session.scanout()
        return {"name": f"{heads} heads, {scanout['path']}", "unit": "us", "flush_to_present": scanout["flush_to_present_us"],
                "cpu_per_frame": scanout["cpu_us_per_frame"], "bytes_copied": scanout["bytes_copied"], "dropped": scanout["dropped"],
                "late": scanout["timeouts"]}


def main():
    *programs, fake_udmabuf = sys.argv[1:5]
    options = sys.argv[5:]
    if reason := desktop.missing():
        print(reason, file=sys.stderr)
        return 77
    with tempfile.TemporaryDirectory(prefix="vitrine-bench-") as name:
        rows = [measure(programs, pathlib.Path(name), preload, heads)
                for preload in ({}, {"LD_PRELOAD": fake_udmabuf}) for heads in (1, 4)]
    if "--json" in options:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        print(f"{row['name']:24} flush to presented {row['flush_to_present']['p50']:8} us median {row['flush_to_present']['p99']:8} us 99 %, "
              f"device thread {row['cpu_per_frame']:8.1f} us a frame, {row['bytes_copied']} bytes copied, {row['dropped']} dropped, "
              f"{row['late']} late")
    return 0


if __name__ == "__main__":
    sys.exit(main())
