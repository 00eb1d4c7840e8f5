#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vitrine --3d virgl,isolate: the renderer's process is killed and stopped under a guest that draws. The picture stays, 2D goes on, the
guest's commands are answered, and a new context draws in a new process.

    test_renderer.py VITRINE
"""
import contextlib
import os
import pathlib
import signal
import struct
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]
from device import Device  # noqa: E402  pylint: disable=wrong-import-position
from gpu_guest import *  # noqa: E402  pylint: disable=wrong-import-position
from tap import Tap, expect  # noqa: E402  pylint: disable=wrong-import-position

PATIENCE = 60
VIRGL = 0
CTX_CREATE, CTX_DESTROY, CTX_ATTACH, CTX_DETACH, CREATE_3D, TRANSFER_TO_HOST_3D, TRANSFER_FROM_HOST_3D, SUBMIT_3D = range(0x200, 0x208)
ERROR = 0x1200
RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


class Guest3d(Guest):
    FEATURES = Guest.FEATURES | bits(VIRGL)


def header_3d(command, context, fence=0):
    return struct.pack("=IIQII", command, FENCE if fence else 0, fence, context, 0)


def create_context(context):
    return header_3d(CTX_CREATE, context) + struct.pack("=II64s", 4, 0, b"test")


def attach_resource(context, resource):
    return header_3d(CTX_ATTACH, context) + struct.pack("=II", resource, 0)


def create_texture(resource):
    """B8G8R8X8, to be drawn to, sampled and shown."""
    return header_3d(CREATE_3D, 0) + struct.pack("=12I", resource, 2, 2, 1 << 1 | 1 << 3 | 1 << 18, WIDTH, HEIGHT, 1, 1, 0, 0, 1, 0)


def clear(context, resource, colour, fence=0):
    """A surface of the texture, drawn to, and cleared."""
    stream = struct.pack("=6I", 1 | 8 << 8 | 5 << 16, 100 + resource, resource, 2, 0, 0)
    stream += struct.pack("=4I", 5 | 3 << 16, 1, 0, 100 + resource)
    stream += struct.pack("=2I4f3I", 7 | 8 << 16, 4, *colour, 1.0, 0, 0, 0)
    return header_3d(SUBMIT_3D, context, fence) + struct.pack("=II", len(stream), 0) + stream


def picture_of(colour):
    red, green, blue = (int(part * 255) for part in colour)
    return struct.pack("=I", red << 16 | green << 8 | blue) * (WIDTH * HEIGHT)


def draw(guest, context, resource, colour):
    guest.must(create_texture(resource), attach_resource(context, resource), clear(context, resource, colour, fence=resource),
               set_scanout(resource), flush(resource, fence=resource + 1))


def show_2d(guest, resource, place, seed):
    guest.paint(place, seed)
    guest.must(create_2d(resource), attach(resource, place_of(place), BYTES), transfer(resource), set_scanout(resource), flush(resource))


class Tests:
    def __init__(self, program):
        self.program, self.tap = program, Tap()

    @contextlib.contextmanager
    def case(self, name):
        """A vitrine, and a guest that is connected to it."""
        with contextlib.ExitStack() as stack:
            directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vitrine-renderer-", dir="/dev/shm")))
            log = directory / "vitrine.log"
            with self.tap.case(name, lambda: log.read_text(errors="replace")[-4000:] if log.exists() else ""):
                vitrine = stack.enter_context(contextlib.closing(Device(
                    self.program, directory, "--3d", "virgl,isolate", display=("--display", "headless", "--output", "1280x800"),
                    transport="vhost-user")))
                expect(vitrine.wait_ready(), "it did not start")
                guest = stack.enter_context(contextlib.closing(Guest3d(False)))
                guest.connect(vitrine.socket)
                yield vitrine, guest


def renderer_of(vitrine):
    """The pid of its renderer's process; None when there is none."""
    children = pathlib.Path(f"/proc/{vitrine.process.pid}/task/{vitrine.process.pid}/children").read_text(encoding="ascii").split()
    expect(len(children) <= 1, f"its children are {children}")
    return int(children[0]) if children else None


def wait_for(what, is_so):
    end = time.monotonic() + PATIENCE
    while not is_so():
        expect(time.monotonic() < end, what)
        time.sleep(0.01)


def expect_picture(vitrine, picture, what):
    wait_for(what, lambda: screenshot(vitrine.control) == colours(picture))


def wait_for_context(guest, context):
    """A new process takes a moment, and the pause before it."""
    wait_for("no new context", lambda: guest.call(create_context(context)) == OK)


def is_gone(pid):
    return not pathlib.Path(f"/proc/{pid}").exists()


def killed(tests):
    with tests.case("the renderer's process is killed while nothing is drawn, and while something is") as (vitrine, guest):
        pids = []
        for i in range(2):
            context, texture = 1 + i, 10 + i
            wait_for_context(guest, context)
            draw(guest, context, texture, GREEN if i else RED)
            expect_picture(vitrine, picture_of(GREEN if i else RED), "what 3D drew is not shown")
            pid = renderer_of(vitrine)
            expect(pid and pid not in pids, f"its processes: {pids}, {pid}")
            pids.append(pid)
            if i:
                os.kill(pid, signal.SIGSTOP)
                slots = [guest.submit(clear(context, texture, RED, fence=70 + n)) for n in range(4)]
                os.kill(pid, signal.SIGKILL)
                for slot in slots:
                    expect(guest.rings[0].answer(slot, PATIENCE)[0] >= ERROR, "a stream was carried out by a process that is dead")
            else:
                os.kill(pid, signal.SIGKILL)
            wait_for("its process is still there", lambda pid=pid: is_gone(pid))
            expect(guest.call(clear(context, texture, RED)) >= ERROR, "a context survived its process")
            expect_picture(vitrine, picture_of(GREEN if i else RED), "the last picture is gone")
            show_2d(guest, 20 + i, i, 5 + i)
            expect_picture(vitrine, painting(5 + i), "2D does not go on")
        wait_for_context(guest, 9)
        draw(guest, 9, 30, RED)
        expect_picture(vitrine, picture_of(RED), "a new context does not draw")
        problem = vitrine.end()
        expect(problem is None, problem)


def stopped(tests):
    with tests.case("the renderer's process stops: it is given up, and only those who asked it wait") as (vitrine, guest):
        wait_for_context(guest, 1)
        draw(guest, 1, 10, RED)
        expect_picture(vitrine, picture_of(RED), "what 3D drew is not shown")
        pid = renderer_of(vitrine)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        slot = guest.submit(clear(1, 10, GREEN, fence=50))
        guest.must(update_cursor(0, 5, 5), queue=1)
        expect(screenshot(vitrine.control) == picture_of(RED), "the picture is gone while it hangs")
        expect(time.monotonic() - began < 5, f"everybody waited for the renderer: {time.monotonic() - began:.1f} s")
        expect(guest.rings[0].answer(slot, PATIENCE)[0] >= ERROR, "a stream was carried out by a process that stands still")
        expect(time.monotonic() - began < 40, f"it was given up after {time.monotonic() - began:.1f} s")
        wait_for("its process is still there", lambda: is_gone(pid))
        expect_picture(vitrine, picture_of(RED), "the last picture is gone")
        show_2d(guest, 20, 0, 7)
        expect_picture(vitrine, painting(7), "2D does not go on")
        wait_for_context(guest, 2)
        draw(guest, 2, 11, GREEN)
        expect_picture(vitrine, picture_of(GREEN), "a new context does not draw")


def machine_goes(tests):
    with tests.case("the VMM goes while the renderer's process stands still, and another one comes") as (vitrine, guest):
        wait_for_context(guest, 1)
        draw(guest, 1, 10, RED)
        pid = renderer_of(vitrine)
        os.kill(pid, signal.SIGSTOP)
        guest.submit(clear(1, 10, GREEN))
        guest.disconnect()
        guest.reset()
        guest.connect(vitrine.socket)
        show_2d(guest, 20, 0, 3)
        expect_picture(vitrine, painting(3), "2D does not go on")
        wait_for_context(guest, 1)
        draw(guest, 1, 10, GREEN)
        expect_picture(vitrine, picture_of(GREEN), "a new context does not draw")
        expect(is_gone(pid), "the process that stood still is still there")


def vitrine_goes(tests):
    for name, number in ("orderly", signal.SIGTERM), ("killed", signal.SIGKILL):
        with tests.case(f"vitrine ends, {name}: its renderer's process ends with it") as (vitrine, guest):
            wait_for_context(guest, 1)
            draw(guest, 1, 10, RED)
            pid = renderer_of(vitrine)
            vitrine.process.send_signal(number)
            vitrine.process.wait(PATIENCE)
            wait_for("its process is still there", lambda: is_gone(pid))


def main():
    tests = Tests(sys.argv[1])
    killed(tests)
    stopped(tests)
    machine_goes(tests)
    vitrine_goes(tests)
    return tests.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
