#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Control-queue round trips over vhost-user: ours and QEMU's vhost-user-gpu in turns, in the same run.

    bench_vhost.py VITRINE VITRINE_GUEST [--json] [--rounds N]

Both are driven by `vitrine-guest bench --round-trips` with a display socket, as QEMU gives it one; of all rounds the best figure of each
counts, so that what else the machine does meets both. Without the kit's part "peer" (tests/vm/kit.sh peer) only ours is measured.
"""
import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import peer  # pylint: disable=wrong-import-position
from device import Device  # pylint: disable=wrong-import-position

BENCH_SECONDS = 60


def measure(vitrine_guest, socket):
    """Name to value and unit."""
    command = [vitrine_guest, "--vhost-user", str(socket), "--display-socket", "bench", "--round-trips", "--json"]
    rows = json.loads(subprocess.run(command, timeout=BENCH_SECONDS, check=True, stdout=subprocess.PIPE).stdout)
    return {row["name"]: (row["value"], row["unit"]) for row in rows}


def measure_ours(arguments, directory):
    with contextlib.closing(Device(arguments.vitrine, directory, transport="vhost-user")) as device:
        if not device.wait_ready():
            raise RuntimeError("vitrine did not start: " + device.log_path.read_text(encoding="utf-8", errors="replace"))
        return measure(arguments.vitrine_guest, device.socket)


def measure_peer(arguments, directory):
    with contextlib.closing(peer.BackEnd(directory)) as back_end:
        return measure(arguments.vitrine_guest, back_end.socket)


def better(one, other):
    """More commands, or less time."""
    return max(one, other) if one[1] == "commands/s" else min(one, other)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vitrine")
    parser.add_argument("vitrine_guest")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    who = {"vitrine": measure_ours, **({} if peer.missing() else {"vhost-user-gpu": measure_peer})}
    best = {name: {} for name in who}
    for _ in range(arguments.rounds):
        for name, measured in who.items():
            with tempfile.TemporaryDirectory(prefix="vitrine-bench-") as directory:
                for row, value in measured(arguments, pathlib.Path(directory)).items():
                    best[name][row] = better(best[name].get(row, value), value)

    rows = []
    for row, (value, unit) in best["vitrine"].items():
        other = best.get("vhost-user-gpu", {}).get(row, (None,))[0]
        ratio = None if other is None else value / other if unit == "commands/s" else other / value
        rows.append({"name": row, "unit": unit, "vitrine": value, "vhost-user-gpu": other, "times": ratio})
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"{'':40}{'vitrine':>12}{'vhost-user-gpu':>18}{'times':>8}")
    for row in rows:
        other = "-" if row["vhost-user-gpu"] is None else f"{row['vhost-user-gpu']:.2f}"
        times = "-" if row["times"] is None else f"{row['times']:.1f}"
        print(f"{row['name']:40}{row['vitrine']:12.2f}{other:>18}{times:>8}  {row['unit']}")
    if peer.missing():
        print(peer.missing())
    return 0


if __name__ == "__main__":
    sys.exit(main())
