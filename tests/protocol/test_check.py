#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The conformance suite of vitrine-guest against vitrine: TAP of all checks, and that the device ends well afterwards.

    test_check.py VITRINE VITRINE_GUEST [--path PATH] [--filter GLOB] [--assign KIND] [--vhost-user [--iommu] [--without NAMES] [--display-socket]]
                  [--3d virgl|virgl,isolate]

--display-socket: pictures are compared on the VMM's console, by pixels.
--3d: of a device that draws this way; the guest's driver knows 3D in the families 3d-* and in no other.
--assign: with a device of vfio_device.py assigned to the guest, its BAR in memory of this kind. --iommu, --without: as for vitrine-guest.

The device runs in a temporary directory with a control socket, so that pictures are compared. Everything has a time-out.
"""
import argparse
import contextlib
import pathlib
import subprocess
import sys
import tempfile
import threading

import vfio_device

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from device import END_SECONDS, Device  # pylint: disable=wrong-import-position

SUITE_SECONDS = 600
CONSOLE = ("--display", "vmm", "--max-outputs", "2")  # as many as vitrine-guest's


def transport(arguments):
    return "vhost-user" if arguments.vhost_user else "vfio-user"


def run_suite(arguments, device, assigned):
    """Passes the suite's TAP through, without its plan; returns the number of checks it printed and whether it came to its end."""
    command = [arguments.vitrine_guest, f"--{transport(arguments)}", str(device.socket), "--timeout", "20",
               *(["--display-socket"] if arguments.display_socket else ["--control", str(device.control)]),
               "--input", str(device.input), *(["--iommu"] if arguments.iommu else []),
               *(["--without", arguments.without] if arguments.without else []),
               *(["--assign", f"vfio-user={assigned.path}"] if assigned else []), "check", "--tap", "--filter", arguments.filter,
               *(["--3d"] if arguments.three_d else [])]
    count, planned = 0, 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as suite:
        alarm = threading.Timer(SUITE_SECONDS, suite.kill)
        alarm.start()
        try:
            for line in suite.stdout:
                if line.startswith("1.."):
                    planned = int(line[3:])
                    continue
                if line.startswith("Bail out!"):
                    break
                count += line.startswith(("ok ", "not ok "))
                print(line, end="", flush=True)
            status = suite.wait(END_SECONDS)
        finally:
            alarm.cancel()
            if suite.poll() is None:
                suite.kill()
    return count, count > 0 and count == planned and status in (0, 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vitrine")
    parser.add_argument("vitrine_guest")
    parser.add_argument("--path", default="auto")
    parser.add_argument("--filter", default="*")
    parser.add_argument("--assign", choices=["sealed", "shm", "none", "sparse"])
    parser.add_argument("--vhost-user", action="store_true")
    parser.add_argument("--iommu", action="store_true")
    parser.add_argument("--without")
    parser.add_argument("--display-socket", action="store_true")
    parser.add_argument("--3d", dest="three_d", choices=["virgl", "virgl,isolate"])
    arguments = parser.parse_args()

    problems = []
    with tempfile.TemporaryDirectory(prefix="vitrine-check-") as name:
        device = Device(arguments.vitrine, pathlib.Path(name), *([] if arguments.path == "auto" else ["--path", arguments.path]),
                        *(["--3d", arguments.three_d] if arguments.three_d else []), transport=transport(arguments),
                        **({"display": CONSOLE} if arguments.display_socket else {}))
        count, finished = 0, False
        with contextlib.closing(device), contextlib.ExitStack() as stack:
            assigned = vfio_device.Process(name, "--bar", arguments.assign) if arguments.assign else None
            if assigned:
                stack.callback(assigned.close)
            if device.wait_ready():
                count, finished = run_suite(arguments, device, assigned)
            problem = device.end()
        if not finished:
            problems.append("the suite did not come to its end")
        if problem:
            problems.append(f"the device: {problem}")
        log = device.log_path.read_text(encoding="utf-8", errors="replace")
    print(f"{'not ok' if problems else 'ok'} {count + 1} the device outlives the suite and ends when asked")
    for line in problems + (log.splitlines()[-200:] if problems else []):
        print(f"# {line}")
    print(f"1..{count + 1}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
