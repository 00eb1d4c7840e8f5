#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a program with the kit's Mesa on a desktop of its own: run_in_desktop.py [--desktop KIND] PROGRAM [ARGUMENT]...

KIND: none (the default), weston, x11 (Xvfb, which does not import dmabufs), or offscreen or dummy, which are SDL's. Without the kit
the whole is one skipped test.
"""
import argparse
import contextlib
import pathlib
import subprocess
import sys
import tempfile

import desktop

KINDS = ("none", "weston", "x11", "offscreen", "dummy")


@contextlib.contextmanager
def desktop_of(kind):
    """The environment of a program on a new desktop."""
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vitrine-desktop-")))
        if kind == "weston":
            yield stack.enter_context(desktop.Weston(directory)).env
        elif kind == "x11":
            yield {**stack.enter_context(desktop.Xvfb(directory)).env, "VITRINE_TEST_NO_IMPORT": "1", "SDL_VIDEODRIVER": "x11"}
        elif kind == "none":
            yield desktop.environment(directory)
        else:
            yield {**desktop.environment(directory), "SDL_VIDEODRIVER": kind}


def run_each(kind, command):
    """Each test of a GLib test program on a desktop of its own: weston's kiosk shell does not survive many windows without a seat."""
    with desktop_of("none") as env:
        names = subprocess.run([*command, "-l"], env=env, check=True, text=True, capture_output=True).stdout.split()
    failed = 0
    for number, name in enumerate(names, 1):
        with desktop_of(kind) as env:
            run = subprocess.run([*command, "-p", name], env=env, check=False, text=True, stdout=subprocess.PIPE)
        failed += run.returncode != 0
        if run.returncode:
            print(*(f"# {line}" for line in run.stdout.splitlines()), sep="\n")
        print(f"{'not ok' if run.returncode else 'ok'} {number} {name}", flush=True)
    print(f"1..{len(names)}")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--desktop", choices=KINDS, default="none")
    parser.add_argument("--each", action="store_true", help="a new desktop for each test")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    command = [part for part in arguments.command if part != "--"]
    reason = desktop.missing()
    if reason:
        print(f"1..0 # SKIP {reason}")
        return 0
    if arguments.each:
        return run_each(arguments.desktop, command)
    with desktop_of(arguments.desktop) as env:
        return subprocess.run(command, env=env, check=False).returncode


sys.exit(main())
