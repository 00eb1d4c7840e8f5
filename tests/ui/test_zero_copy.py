#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The whole program's frames on a window without a byte copied: imported by OpenGL, and handed to a compositor.

    test_zero_copy.py VITRINE VITRINECTL VITRINE_GUEST FAKE_UDMABUF

The last one is for machines without /dev/udmabuf (fake_udmabuf.c).
"""
import contextlib
import os
import pathlib
import sys
import tempfile

import desktop
from session import Session
from tap import Tap, expect
from picture import difference, moving, read_png
from x11 import until

SIZE = 640, 400
FRAMES = 30
GUEST = ("--memory", "ram", "--ranges", 63)


def check(tap, session, name, look):
    """look: what can be seen from outside, or None."""
    shown = moving(*SIZE, FRAMES - 1)
    with session.picture(FRAMES, *GUEST):
        with tap.case(f"{name}: frames are shown where they lie", session.log):
            scanout = session.scanout()
            expect(scanout["path"] == "udmabuf", f"path {scanout['path']}: {scanout['why_not']}")
            expect(scanout["frames"] >= FRAMES, f"{scanout['frames']} frames")
            expect(scanout["bytes_copied"] == 0, f"{scanout['bytes_copied']} bytes were copied")
        with tap.case(f"{name}: a screenshot has every pixel", session.log):
            path = session.directory / "picture.png"
            session.control("screenshot", path)
            expect(not (wrong := difference(read_png(path), shown)), wrong)
        if look:
            with tap.case(f"{name}: the screen has every pixel", session.log):
                until(lambda: not difference(look(), shown), lambda: difference(look(), shown))


def look_at(weston, path):
    path.write_bytes(weston.screenshot())
    return read_png(path)


def main():
    tap = Tap()
    *programs, fake = sys.argv[1:]
    if reason := desktop.missing():
        tap.skip("zero copy", reason)
        return tap.finish()
    preload = {} if os.path.exists("/dev/udmabuf") else {"LD_PRELOAD": fake}
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vitrine-zero-copy-")))
        weston = stack.enter_context(desktop.Weston(stack.enter_context(tempfile.TemporaryDirectory()), *SIZE, more_env=preload))
        size = "--output", "x".join(map(str, SIZE))
        for name, env, look in (("sdl", {**desktop.environment(work), "SDL_VIDEODRIVER": "offscreen"}, None),
                                ("wayland", weston.env, lambda: look_at(weston, work / "screen.png"))):
            with Session(programs, work / name, {**env, **preload}, "--display", name, *size) as session:
                check(tap, session, name, look)
    return tap.finish()


sys.exit(main())
