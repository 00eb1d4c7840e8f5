#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`test_replay_render.py REPLAY_RENDER VITRINE_RENDERER CORPUS`: recordings of what guests wanted drawn, played again.

Each file of CORPUS is played against virglrenderer in the player's own process: the answers and the pictures that were read have to
be the same, and nothing may crash or leak. Then with calls that are changed at random, the same ones in each run: any answer will do.
Files of CORPUS/crashes are what virglrenderer does not survive, and no check in front of it can tell: they are played against a
renderer in a process of its own, which may be lost; the player may not.
"""
import lzma
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tap import Tap, expect  # noqa: E402  pylint: disable=wrong-import-position

SEEDS = 6
SECONDS = 600


def run(player, *arguments):
    done = subprocess.run([player, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=SECONDS, check=False)
    output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    expect(done.returncode == 0, f"status {done.returncode}: {output[-2000:]}{errors[-6000:]}")
    return output.splitlines()[-1]


def unpacked(folder, directory):
    for path in sorted(pathlib.Path(folder).glob("*.xz")):
        recording = pathlib.Path(directory, path.stem)
        recording.write_bytes(lzma.decompress(path.read_bytes()))
        yield recording


def main(player, renderer, corpus):
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="vitrine-replay-") as directory:
        recordings = list(unpacked(corpus, directory))
        for recording in recordings:
            with tap.case(f"replay: {recording.name}"):
                tap.note(run(player, recording))
            with tap.case(f"replay: {recording.name}: changed"):
                tap.note(run(player, "--from", 1, "--mutate", SEEDS, recording))
            with tap.case(f"replay: {recording.name}: in a process of its own"):
                tap.note(run(player, "--isolate", renderer, recording))
        for recording in unpacked(pathlib.Path(corpus, "crashes"), directory):
            with tap.case(f"replay: {recording.name}: the renderer may be lost"):
                tap.note(run(player, "--isolate", renderer, recording))
        with tap.case("replay: there are recordings"):
            expect(recordings, "none")
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
