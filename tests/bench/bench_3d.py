#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What 3D costs beside the drawing: ours in this process, ours isolated, and QEMU's vhost-user-gpu --virgl, in turns, in the same run.

    bench_3d.py VITRINE VITRINE_GUEST [--json] [--rounds N]

All three are driven by `vitrine-guest bench --3d` over vhost-user, and draw in software with the kit's Mesa libraries (tests/vm/kit.sh desktop peer):
not the same version of Mesa, since each has to fit its program. Of all rounds the best figure of each counts. The processor time of who
draws for vitrine is added up over its two processes where it has two. QEMU's back-end ends when it shall show what it has no dmabuf of,
so without a GPU it has no figures for that.
"""
import contextlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1] / "ui"))
import desktop  # pylint: disable=wrong-import-position
import peer  # pylint: disable=wrong-import-position
import turns  # pylint: disable=wrong-import-position

BENCH_SECONDS = 120
# no pace of a monitor's; both as many threads to draw with as there are processors
OUTPUT = ("--display", "headless", "--output", "1280x800@1000")
PEER, ISOLATED = "vhost-user-gpu", "isolated"
CPU, RENDERER_CPU = ": device CPU", ": renderer CPU"


def measure(vitrine_guest, socket, *options):
    """Name to value and unit, of what could be measured."""
    command = [vitrine_guest, "--vhost-user", str(socket), *options, "bench", "--3d", "--json"]
    figures = turns.guest_figures(command, BENCH_SECONDS, check=False)
    for name in [name for name in figures if name.endswith(RENDERER_CPU)]:
        whole = name.removesuffix(RENDERER_CPU) + CPU
        figures[whole] = (figures[whole][0] + figures.pop(name)[0], figures[whole][1])
    return figures


def measure_ours(mode):
    def measured(arguments, directory):
        environment = {**desktop.environment(directory), "LP_NATIVE_VECTOR_WIDTH": "128"}
        with turns.vitrine(arguments, directory, "--3d", mode, display=OUTPUT, env=environment if desktop.TREE.exists() else None) as device:
            return measure(arguments.vitrine_guest, device.socket, "--control", str(device.control))
    return measured


def measure_peer(arguments, directory):
    with contextlib.closing(peer.BackEnd(directory, virgl=True)) as back_end:
        return measure(arguments.vitrine_guest, back_end.socket, "--display-socket")


def times(row, who):
    """How many times as good as `who` vitrine is, of what is good or bad."""
    return turns.times(row["vitrine"], row[who], row["unit"]) if row["unit"] in ("frames/s", "us") else None


def text(value, places):
    return "-" if value is None else f"{value:.{places}f}"


def main():
    arguments = turns.parse()
    best = turns.best_of(arguments, {"vitrine": measure_ours("virgl"), ISOLATED: measure_ours("virgl,isolate"),
                                     **({} if peer.missing() else {PEER: measure_peer})})
    rows = [{"name": name, "unit": unit, "vitrine": value, **{other: best.get(other, {}).get(name, (None,))[0] for other in (ISOLATED, PEER)}}
            for name, (value, unit) in best["vitrine"].items()]
    for row in rows:
        row["times"] = {other: times(row, other) for other in (ISOLATED, PEER)}
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"{'':34}{'vitrine':>12}{ISOLATED:>12}{'times':>7}{PEER:>16}{'times':>7}")
    for row in rows:
        print(f"{row['name']:34}{row['vitrine']:12.1f}" +
              "".join(f"{text(row[other], 1):>{width}}{text(row['times'][other], 2):>7}" for other, width in ((ISOLATED, 12), (PEER, 16))) +
              f"  {row['unit']}")
    if peer.missing():
        print(peer.missing())
    return 0


if __name__ == "__main__":
    sys.exit(main())
