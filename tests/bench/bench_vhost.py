#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Control-queue round trips over vhost-user: ours and QEMU's vhost-user-gpu in turns, in the same run.

    bench_vhost.py VITRINE VITRINE_GUEST [--json] [--rounds N]

Both are driven by `vitrine-guest bench --round-trips` with a display socket, as QEMU gives it one; of all rounds the best figure of each
counts, so that what else the machine does meets both. Without the kit's part "peer" (tests/vm/kit.sh peer) only ours is measured.
"""
import contextlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import peer  # pylint: disable=wrong-import-position
import turns  # pylint: disable=wrong-import-position

BENCH_SECONDS = 60
PEER = "vhost-user-gpu"


def measure(vitrine_guest, socket):
    return turns.guest_figures([vitrine_guest, "--vhost-user", str(socket), "--display-socket", "bench", "--round-trips", "--json"], BENCH_SECONDS)


def measure_ours(arguments, directory):
    with turns.vitrine(arguments, directory) as device:
        return measure(arguments.vitrine_guest, device.socket)


def measure_peer(arguments, directory):
    with contextlib.closing(peer.BackEnd(directory)) as back_end:
        return measure(arguments.vitrine_guest, back_end.socket)


def main():
    arguments = turns.parse()
    best = turns.best_of(arguments, {"vitrine": measure_ours, **({} if peer.missing() else {PEER: measure_peer})})
    rows = []
    for row, (value, unit) in best["vitrine"].items():
        other = best.get(PEER, {}).get(row, (None,))[0]
        rows.append({"name": row, "unit": unit, "vitrine": value, PEER: other, "times": turns.times(value, other, unit)})
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"{'':40}{'vitrine':>12}{PEER:>18}{'times':>8}")
    for row in rows:
        other = "-" if row[PEER] is None else f"{row['vhost-user-gpu']:.2f}"
        times = "-" if row["times"] is None else f"{row['times']:.1f}"
        print(f"{row['name']:40}{row['vitrine']:12.2f}{other:>18}{times:>8}  {row['unit']}")
    if peer.missing():
        print(peer.missing())
    return 0


if __name__ == "__main__":
    sys.exit(main())
