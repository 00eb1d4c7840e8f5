#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vitrine is killed under a running guest, and started again: the picture is back, every command is answered, once. The guest's VMM is
killed under a running vitrine.

    test_restart.py VITRINE
"""
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]
from gpu_guest import *  # noqa: E402  pylint: disable=wrong-import-position
from tap import Tap, expect  # noqa: E402  pylint: disable=wrong-import-position

ROUNDS = 100
PATIENCE = 20
SLACK = int(os.environ.get("RESIDENT_SLACK_MB", "1")) << 20


class Vitrine:
    """The back-end, which may be killed and started again."""

    def __init__(self, program, directory, *options):
        self.directory = pathlib.Path(directory)
        self.socket, self.control = self.directory / "gpu.sock", self.directory / "control.sock"
        self.state = self.directory / "gpu.sock.state"
        self.command = [program, "--vhost-user", str(self.socket), "--control", str(self.control), "--display", "headless", "--output",
                        "1280x800", *map(str, options)]
        self.log = (self.directory / "vitrine.log").open("w", encoding="utf-8")
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        expect(self.process.wait(PATIENCE) == 0, f"it ended with status {self.process.returncode}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def messages(self):
        return (self.directory / "vitrine.log").read_text(encoding="utf-8", errors="replace")

    def shows(self, picture, cursor=False):
        """Waits until output 0 shows the picture."""
        end, found = time.monotonic() + PATIENCE, None
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                found = screenshot(self.control, cursor)
            if found == colours(picture):
                return
            if time.monotonic() > end:
                break
            time.sleep(0.005)
        raise AssertionError("the picture did not come" if not found else
                             f"another picture: {len(found)} bytes, the first pixel is {found[:3].hex()} and not {picture[:3].hex()}")

    def wait_alone(self):
        """Waits until it has noticed that the front-end is gone."""
        end = time.monotonic() + PATIENCE
        while True:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(PATIENCE)
                sock.connect(str(self.control))
                sock.sendall(b'{"command":"status"}\n')
                if not json.loads(sock.makefile().readline())["vhost_user"]["connected"]:
                    return
            expect(time.monotonic() < end, "the front-end is gone, and it has not noticed")
            time.sleep(0.01)

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Tests:
    """A directory in memory, a vitrine, a guest, for each case."""

    def __init__(self, program):
        self.program, self.tap = program, Tap()

    @contextlib.contextmanager
    def case(self, name):
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="vitrine-restart-", dir="/dev/shm"))
            log = pathlib.Path(directory) / "vitrine.log"
            with self.tap.case(name, lambda: "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else ""):
                yield directory, stack

    def vitrine(self, directory, stack, *options):
        return stack.enter_context(contextlib.closing(Vitrine(self.program, directory, *options)))

    @staticmethod
    def guest(stack, inflight):
        return stack.enter_context(contextlib.closing(Guest(inflight)))


def restart(vitrine, guest):
    vitrine.kill()
    guest.disconnect()
    vitrine.start()
    guest.connect(vitrine.socket)


def killed_during_frames(tests, inflight):
    """Flips between two blobs, several commands on their way, and a kill at any moment."""
    kept = "by the VMM" if inflight else "in a file"
    with tests.case(f"vitrine is killed during frames, {ROUNDS} times; its state is kept {kept}") as (directory, stack):
        vitrine, guest = tests.vitrine(directory, stack), tests.guest(stack, inflight)
        when = random.Random(1)
        guest.connect(vitrine.socket)
        guest.paint(0, 1)
        guest.paint(1, 2)
        guest.show_blob(1, 0)
        guest.show_blob(2, 1)
        fence, blocks = 0, 0
        for i in range(ROUNDS):
            slots, until = [], time.monotonic() + when.random() * 0.004
            while time.monotonic() < until and len(slots) < SIZE // 2 - 4:
                fence += 1
                shown = 1 + fence % 2
                slots += [(guest.submit(set_scanout_blob(shown)), 0), (guest.submit(flush(shown, fence)), fence)]
            restart(vitrine, guest)
            vitrine.shows(painting(1 + fence % 2 if fence else 2))
            for slot, expected in slots:
                answer, flags, got = guest.rings[0].answer(slot)
                expect(answer == OK, f"round {i}: a command was answered with {answer:#x}")
                expect(got == expected and flags == (FENCE if expected else 0), f"round {i}: fence {got} and not {expected}")
            size = os.fstat(guest.inflight[1]).st_blocks if inflight else vitrine.state.stat().st_blocks
            blocks = max(blocks, size) if i < 3 else blocks
            expect(size <= blocks, f"round {i}: what is kept grows from {blocks} to {size} blocks")
        expect(vitrine.messages().count("goes on where it was") == ROUNDS, "some guests were not recognized")


def killed_while_resources_change(tests, inflight):
    """Resources are made and ended with their ids used again: nothing is done twice, nothing is lost."""
    kept = "by the VMM" if inflight else "in a file"
    with tests.case(f"vitrine is killed while resources change; its state is kept {kept}") as (directory, stack):
        vitrine, guest = tests.vitrine(directory, stack), tests.guest(stack, inflight)
        when = random.Random(2)
        guest.connect(vitrine.socket)
        guest.paint(0, 3)
        guest.show_blob(99, 0)
        for i in range(40):
            slots, until = [], time.monotonic() + when.random() * 0.003
            for n in range(SIZE // 2):
                step, resource = n % 5, 1 + n // 5 % 3
                request = [create_2d(resource), attach(resource, place_of(1), BYTES), transfer(resource), detach(resource),
                           unref(resource)][step]
                slots.append(guest.submit(request))
                if time.monotonic() > until and step == 4:
                    break
            while len(slots) % 5:
                guest.rings[0].answer(slots.pop())
            restart(vitrine, guest)
            for slot in slots:
                answer = guest.rings[0].answer(slot)[0]
                expect(answer == OK, f"round {i}: a command was answered with {answer:#x}")
            for resource in (1, 2, 3):  # what the pops above may have left
                guest.call(unref(resource))
        vitrine.shows(painting(3))


def everything_comes_back(tests, inflight):
    kept = "by the VMM" if inflight else "in a file"
    with tests.case(f"2D pictures and the cursor come back; the state is kept {kept}") as (directory, stack):
        vitrine, guest = tests.vitrine(directory, stack), tests.guest(stack, inflight)
        guest.connect(vitrine.socket)
        guest.paint(0, 5)
        guest.memory.map[place_of(2) : place_of(2) + 0x4000] = struct.pack("=I", 0xFF0000FF) * 0x1000
        guest.must(create_2d(1), attach(1, place_of(0), BYTES), transfer(1), set_scanout(1), flush(1))
        guest.must(create_2d(2, 64, 64, 1), attach(2, place_of(2), 0x4000), transfer(2, 64, 64))
        guest.must(update_cursor(2, 8, 4), queue=1)
        expected = bytearray(painting(5))
        for y in range(4, HEIGHT):
            expected[y * STRIDE + 32 : (y + 1) * STRIDE] = struct.pack("=I", 0xFF0000FF) * (WIDTH - 8)
        for _ in range(3):
            vitrine.shows(expected, cursor=True)
            vitrine.shows(painting(5))
            restart(vitrine, guest)
        guest.paint(0, 6)
        guest.must(transfer(1), flush(1, 7))
        vitrine.shows(painting(6))
        guest.must(update_cursor(0, 0, 0), queue=1)
        vitrine.shows(painting(6), cursor=True)
        restart(vitrine, guest)
        vitrine.shows(painting(6), cursor=True)


def ended_and_started(tests):
    with tests.case("an orderly end keeps the state of a guest that is there, and removes that of one that is gone") as (directory, stack):
        vitrine, guest = tests.vitrine(directory, stack), tests.guest(stack, False)
        guest.connect(vitrine.socket)
        guest.paint(0, 8)
        guest.show_blob(1, 0)
        expect(stat.S_IMODE(vitrine.state.stat().st_mode) == 0o600, "its file can be read by others")
        vitrine.end()
        expect(vitrine.state.exists(), "the file is gone")
        guest.disconnect()
        vitrine.start()
        guest.connect(vitrine.socket)
        vitrine.shows(painting(8))
        guest.disconnect()
        vitrine.wait_alone()
        vitrine.end()
        expect(not vitrine.state.exists(), "the file is there still")


def other_guests(tests, inflight):
    kept = "by the VMM" if inflight else "in a file"
    with tests.case(f"another guest, and another driver, find nothing of the last one's; the state is kept {kept}") as (directory, stack):
        vitrine, guest = tests.vitrine(directory, stack), tests.guest(stack, inflight)
        guest.connect(vitrine.socket)
        guest.show_blob(1, 0)
        vitrine.kill()
        guest.disconnect()
        guest.reset()
        vitrine.start()
        guest.connect(vitrine.socket)
        guest.must(create_2d(1))
        vitrine.kill()
        other = tests.guest(stack, inflight)
        vitrine.start()
        other.connect(vitrine.socket)
        other.must(create_2d(1))
        expect("goes on where it was" not in vitrine.messages(), "a guest was taken for another one")


def connection_lost(tests):
    """The same guest comes back to a vitrine that has been there all the time."""
    with tests.case("a connection is lost, and the guest goes on") as (directory, stack):
        for inflight in (False, True):
            vitrine, guest = tests.vitrine(directory, stack), tests.guest(stack, inflight)
            guest.connect(vitrine.socket)
            guest.paint(0, 9)
            guest.show_blob(1, 0)
            guest.disconnect()
            slot = guest.submit(flush(1, 5))
            guest.connect(vitrine.socket)
            expect(guest.rings[0].answer(slot) == (OK, FENCE, 5), "the flush was not answered well")
            vitrine.shows(painting(9))
            vitrine.close()


def files(tests):
    with tests.case("--state: files that are not ours are left alone") as (directory, stack):
        foreign, link, loose = (pathlib.Path(directory) / name for name in ("foreign", "link", "loose"))
        foreign.write_text("a letter\n" * 100)
        foreign.chmod(0o600)
        link.symlink_to(foreign)
        loose.touch()
        loose.chmod(0o660)
        for path, word in ((foreign, "not a state file"), (link, "symbolic link"), (loose, "not a file of this user alone"),
                           (pathlib.Path(directory), "Is a directory"), (pathlib.Path("/nonexistent/state"), "No such file")):
            vitrine = tests.vitrine(directory, stack, "--state", path)
            expect(vitrine.process.wait(PATIENCE) == 1, f"{path}: it started")
            expect(word in vitrine.messages(), f"{path}: {vitrine.messages()}")
        expect(foreign.read_text() == "a letter\n" * 100, "a file was written to")
        first = tests.vitrine(directory, stack, "--state", pathlib.Path(directory) / "mine")
        tests.guest(stack, False).connect(first.socket)
        second = subprocess.run([*first.command[:2], directory + "/other.sock", "--state", directory + "/mine"], capture_output=True,
                                timeout=PATIENCE, text=True, check=False)
        expect(second.returncode == 1 and "another process" in second.stderr, second.stderr)
        third = subprocess.run([tests.program, "--vfio-user", directory + "/other.sock", "--state", "x"], capture_output=True,
                               timeout=PATIENCE, text=True, check=False)
        expect(third.returncode == 2, third.stderr)


def hostile_memory(tests):
    with tests.case("memory that a VMM keeps for us, and should not have") as (directory, stack):
        vitrine, guest = tests.vitrine(directory, stack, "--state", "none"), tests.guest(stack, True)
        guest.connect(vitrine.socket)
        expect(not list(pathlib.Path(directory).glob("*.state")), "there is a file, which was not wanted")
        guest.disconnect()
        payload, fd = guest.inflight
        size, offset, queues, queue_size = struct.unpack("=QQHH4x", payload)
        front_end = FrontEnd(str(vitrine.socket), features=guest.FEATURES,
                             protocol_features=FrontEnd.PROTOCOL_FEATURES | bits(INFLIGHT_SHMFD))
        stack.enter_context(contextlib.closing(front_end))
        short = stack.enter_context(contextlib.closing(Memfd(0x1000)))
        pipe = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        for number, description in ((fd, (size, offset, 0, queue_size)), (fd, (size, offset, 3, queue_size)),
                                    (fd, (size, offset, queues, 3)), (fd, (size, offset, queues, 2048)),
                                    (fd, (size, 4, queues, queue_size)), (fd, (size, 1 << 63, queues, queue_size)),
                                    (fd, (size, size, queues, queue_size)), (fd, (16, offset, queues, queue_size)),
                                    (short.fd, (0x1000, 0, 2, 1024)), (pipe[0], (size, offset, queues, queue_size)),
                                    (null, (size, offset, queues, queue_size))):
            try:
                front_end.do(SET_INFLIGHT_FD, struct.pack("=QQHH4x", *description), fds=[number])
            except OSError as error:
                expect(not isinstance(error, ConnectionError), f"{description}: the connection is gone")
            else:
                raise AssertionError(f"{description} was taken")
        for number in (*pipe, null):
            os.close(number)
        for queues, queue_size in ((0, 64), (3, 64), (2, 0), (2, 65535)):
            reply = front_end.ask(GET_INFLIGHT_FD, struct.pack("=QQHH4x", 0, 0, queues, queue_size))
            expect(not reply.fds and not struct.unpack_from("=Q", reply.payload)[0], f"{queues}, {queue_size}: {reply}")
        front_end.close()

        # accounts only, as another back-end would have made them; and memory that goes under us
        accounts = stack.enter_context(contextlib.closing(Memfd(0x4000)))
        for length in (None, 0):
            os.ftruncate(accounts.fd, 0x4000)
            guest.reset()
            guest.inflight = struct.pack("=QQHH4x", 0x4000, 0, 2, SIZE), os.dup(accounts.fd)
            guest.connect(vitrine.socket)
            guest.must(create_2d(1))
            if length is not None:
                os.ftruncate(accounts.fd, length)
            guest.must(create_2d(2), unref(1), unref(2))
            guest.disconnect()
        # nonsense where the state should be: a VMM can spoil its own guest's rings, and nothing else
        noise = random.Random(3)
        for i in range(50):
            guest.reset()
            guest.connect(vitrine.socket)
            guest.must(create_2d(1))
            guest.disconnect()
            for _ in range(1 << i % 9):
                os.pwrite(guest.inflight[1], noise.randbytes(8), noise.randrange(0, 0x20000) & ~7)
            guest.submit(create_2d(3 + i))
            guest.connect(vitrine.socket)
            screenshot(vitrine.control)
            guest.disconnect()
        guest.reset()
        guest.connect(vitrine.socket)
        guest.must(create_2d(1), unref(1))
        expect(vitrine.process.poll() is None, "it is gone")


def vmm_killed(tests):
    """The other way round: the VMM dies, with its guest, and another one is started."""
    with tests.case(f"the VMM is killed during frames, {ROUNDS} times: no fd and no memory grows") as (directory, stack):
        vitrine = tests.vitrine(directory, stack)
        fds = resident = 0
        for i in range(ROUNDS):
            child = os.fork()
            if not child:
                with contextlib.suppress(BaseException):
                    guest = Guest(i % 2 == 0)
                    guest.connect(vitrine.socket)
                    guest.paint(0, 100 + i)
                    guest.show_blob(1, 0)
                    while True:
                        guest.must(set_scanout_blob(1), flush(1, 1))
                os._exit(1)
            try:
                vitrine.shows(painting(100 + i))
            finally:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            vitrine.wait_alone()
            if i == 10:
                fds, resident = vitrine.fds(), vitrine.resident()
        # a black picture and staging images, which are there or not, are less than anything a hundred times
        expect(vitrine.fds() <= fds + 8, f"from {fds} to {vitrine.fds()} fds")
        expect(vitrine.resident() <= resident + SLACK + (12 << 20), f"from {resident >> 10} to {vitrine.resident() >> 10} KiB")


def main():
    tests = Tests(sys.argv[1])
    for inflight in (False, True):
        killed_during_frames(tests, inflight)
        killed_while_resources_change(tests, inflight)
        everything_comes_back(tests, inflight)
        other_guests(tests, inflight)
    ended_and_started(tests)
    connection_lost(tests)
    files(tests)
    hostile_memory(tests)
    vmm_killed(tests)
    return tests.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
