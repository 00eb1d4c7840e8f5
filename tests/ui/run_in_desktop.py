#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a program with the kit's Mesa on a desktop of its own: run_in_desktop.py [--desktop KIND] PROGRAM [ARGUMENT]...

KIND: none (the default), weston, weston-windows (with a desktop's shell: several windows are seen), x11 (Xvfb, which does not import
dmabufs), or offscreen or dummy, which are SDL's. Without the kit the whole is one skipped test.
"""
import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

import desktop

KINDS = ("none", "weston", "weston-windows", "x11", "offscreen", "dummy")


@contextlib.contextmanager
def desktop_of(kind):
    """The environment of a program on a new desktop."""
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vitrine-desktop-")))
        if kind.startswith("weston"):
            weston = stack.enter_context(desktop.Weston(directory, shell="desktop" if kind == "weston-windows" else "kiosk"))
            yield {**weston.env, "VITRINE_TEST_SCREENSHOOTER": str(desktop.TREE / "usr/bin/weston-screenshooter"),
                   "VITRINE_TEST_COMPOSITOR": str(weston.process.pid)}
        elif kind == "x11":
            # SDL unloads Xlib: what that keeps has no name any more by which it could be told from a leak of ours
            leaks = f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0".lstrip(":")
            yield {**stack.enter_context(desktop.Xvfb(directory)).env, "VITRINE_TEST_NO_IMPORT": "1", "SDL_VIDEODRIVER": "x11",
                   "ASAN_OPTIONS": leaks}
        elif kind == "none":
            yield desktop.environment(directory)
        else:
            yield {**desktop.environment(directory), "SDL_VIDEODRIVER": kind}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--desktop", choices=KINDS, default="none")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    command = [part for part in arguments.command if part != "--"]
    reason = desktop.missing()
    if reason:
        print(f"1..0 # SKIP {reason}")
        return 0
    with desktop_of(arguments.desktop) as env:
        return subprocess.run(command, env=env, check=False).returncode


sys.exit(main())
