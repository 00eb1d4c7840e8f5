#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`vitrine-guest bench` against a vitrine of its own.

    bench_device.py VITRINE VITRINE_GUEST [--json]
"""
import contextlib
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from device import Device  # pylint: disable=wrong-import-position

BENCH_SECONDS = 300


def main():
    vitrine, vitrine_guest, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="vitrine-bench-") as name, \
            contextlib.closing(Device(vitrine, pathlib.Path(name))) as device:
        if not device.wait_ready():
            print("vitrine did not start:", device.log_path.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
            return 1
        command = [vitrine_guest, "--vfio-user", str(device.socket), "--control", str(device.control), "bench", *options]
        return subprocess.run(command, timeout=BENCH_SECONDS, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
