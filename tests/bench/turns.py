# SPDX-License-Identifier: MIT
"""Benchmarks that measure several programs in turns, in the same run, so that what else the machine does meets them all."""

import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from device import Device  # pylint: disable=wrong-import-position


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("vitrine")
    parser.add_argument("vitrine_guest")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def guest_figures(command, seconds, check=True):
    """Name to value and unit, of what `vitrine-guest bench` could measure. check: everything has to be."""
    rows = json.loads(subprocess.run(command, timeout=seconds, check=check, stdout=subprocess.PIPE).stdout)
    return {row["name"]: (row["value"], row["unit"]) for row in rows if row["value"] is not None}


@contextlib.contextmanager
def vitrine(arguments, directory, *options, **how):
    """One over vhost-user, ready."""
    with contextlib.closing(Device(arguments.vitrine, directory, *options, transport="vhost-user", **how)) as device:
        if not device.wait_ready():
            raise RuntimeError("vitrine did not start: " + device.log_path.read_text(encoding="utf-8", errors="replace"))
        yield device


def is_rate(unit):
    """More of it is better; of everything else less is."""
    return unit.endswith("/s")


def better(one, other):
    return max(one, other) if is_rate(one[1]) else min(one, other)


def times(one, other, unit):
    """How many times as good as the other it is, or None."""
    if not one or not other:
        return None
    return one / other if is_rate(unit) else other / one


def best_of(arguments, who):
    """The best figure of each of all rounds. who: name to function(arguments, directory), which returns name to value and unit."""
    best = {name: {} for name in who}
    for _ in range(arguments.rounds):
        for name, measured in who.items():
            with tempfile.TemporaryDirectory(prefix="vitrine-bench-") as directory:
                for row, value in measured(arguments, pathlib.Path(directory)).items():
                    best[name][row] = better(best[name].get(row, value), value)
    return best
