# SPDX-License-Identifier: MIT
"""vitrine's command line: what it prints, what it refuses, and what it leaves behind.

    test_cli.py VITRINE 3d|no-3d

The second word is whether it was built with virglrenderer.
"""
import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

import tap
from vfio_user import Client
from vhost_user import FrontEnd

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from device import listens  # noqa: E402  pylint: disable=wrong-import-position

PROGRAM = sys.argv.pop(1)
VIRGL = sys.argv.pop(1) == "3d"
SECONDS = 20


def run(*arguments, **options):
    """Runs vitrine to its end, which must come by itself."""
    return subprocess.run([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False, **options)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vitrine-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = self.folder / "gpu.sock"

    def start(self, *arguments, **options):
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, **options)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, what, condition):
        deadline = time.monotonic() + SECONDS
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.01)

    def serve(self, *arguments, **options):
        """A vitrine that serves self.path."""
        process = self.start("--vfio-user", self.path, *arguments, **options)
        self.wait_for("it serves its socket", lambda: process.poll() is not None or self.answers())
        self.assertIsNone(process.poll())
        return process

    def answers(self):
        try:
            self.connect()
        except OSError:
            return False
        return True

    def connect(self):
        """Connects, negotiates, and goes again: a device serves one client at a time."""
        with Client(str(self.path)):
            pass

    def end(self, process, number=signal.SIGTERM):
        process.send_signal(number)
        self.assertEqual(process.wait(SECONDS), 0)


class Prints(Case):
    def test_help(self):
        result = run("--help")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for option in ("--vfio-user", "--vfio-user-fd", "--vhost-user", "--socket-path", "--fd", "--print-capabilities", "--display", "--output", "--max-outputs", "--path", "--input", "--assign", "--3d", "--virgl", "--render-node", "--control", "--max-hostmem",
                       "--no-blob", "--log-level", "--help", "--version"):
            self.assertIn(option, result.stdout)

    def test_capabilities(self):
        """Whatever else is said: mistakes, too."""
        for others in ((), ("--vhost-user", self.path), ("--virgl", "--frobnicate"), ("--fd", "x", "stray")):
            for arguments in (("--print-capabilities", *others), (*others, "--print-capabilities")):
                with self.subTest(arguments=arguments):
                    result = run(*arguments)
                    self.assertEqual((result.returncode, result.stderr), (0, ""))
                    features = ["render-node", "virgl"] if VIRGL else []
                    self.assertEqual(json.loads(result.stdout), {"type": "gpu", "features": features})
                    self.assertFalse(self.path.exists())

    def test_version(self):
        result = run("--version")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"\Avitrine \d+\.\d+\.\d+\n\Z")


TRANSPORTS = ("vfio-user", "vfio-user-fd", "vhost-user", "socket-path", "fd")
WRONG_VALUES = {
    "vfio-user": ["", "x" * 200],
    "vfio-user-fd": ["", "-1", "x"],
    "vhost-user": ["", "x" * 200],
    "socket-path": ["", "x" * 200],
    "fd": ["", "-1", "x", "1x", " 1", "+1", "4294967296", "99999999999999999999"],
    "display": ["", "gtk"],
    "output": ["", "0x0", "1280", "1280x", "1280x800@", "1280x800@0", "16385x1", "1x16385", "1280x800,name=", "1280x800 ",
               "1280x800,name=" + "n" * 32, "-1x1", "auto@60", "automatic", "auto,name="],
    "max-outputs": ["", "0", "17", "-1", "four", "4x"],
    "path": ["", "none", "best", "virtio", "vfio", "Mapped"],
    "3d": ["", "on", "Virgl", "virgl,", "virgl2", "off,isolate", "virgl,frobnicate", "virgl,isolate,", "virgl,isolated", "virgl,record",
           "virgl,record=", "virgl,isolate,isolate", "virgl,isolate,record=", "virgl,record=f,isolate", "virgl,isolate,record=f,isolate"],
    "render-node": [""],
    "input": ["", "x" * 200],
    "control": ["", "x" * 200],
    "max-hostmem": ["", "0", "-1", " -1", "1T", "1GG", "G", "1.5G", "99999999999999999999", "99999999999G"],
    "log-level": ["", "loud"],
}


class Refuses(Case):
    def refused(self, result, status, *words):
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stdout, "")
        for word in words:
            self.assertIn(word, result.stderr)

    def test_no_transport(self):
        self.refused(run(), 2, "--vfio-user", "--fd", "--help")

    def test_two_transports(self):
        for one in (("--vfio-user", self.path), ("--vfio-user-fd", 3), ("--vhost-user", self.path), ("--fd", 3)):
            for other in (("--vfio-user", self.path), ("--vhost-user", self.path), ("--socket-path", self.path), ("--fd", 3)):
                with self.subTest(one=one, other=other):
                    self.refused(run(*one, *other), 2, "--vfio-user", "--vhost-user", "--fd")

    def test_unknown_option(self):
        self.refused(run("--vfio-user", self.path, "--frobnicate"), 2, "--frobnicate", "--help")

    def test_missing_value(self):
        self.refused(run("--vfio-user"), 2, "--vfio-user", "--help")

    def test_stray_word(self):
        self.refused(run("--vfio-user", self.path, "stray"), 2, "stray")

    def test_too_many_outputs(self):
        self.refused(run("--vfio-user", self.path, *["--output", "640x480"] * 17), 2, "--output")

    def test_assign_too_many(self):
        self.refused(run("--vfio-user", self.path, *["--assign", "fd=3"] * 17), 2, "--assign")


    def test_more_outputs_than_there_may_be(self):
        self.refused(run("--vfio-user", self.path, "--max-outputs", "1", *["--output", "640x480"] * 2), 2, "--max-outputs")

    def test_path_from_3d(self):
        for path in ("virgl", "readback"):
            self.refused(run("--vfio-user", self.path, "--path", path), 2, f"--path {path}", "--3d virgl")

    def test_record_is_not_last(self):
        """It would record to "FILE,isolate", and not isolate."""
        file = self.folder / "stream"
        result = run("--vfio-user", self.path, "--3d", f"virgl,record={file},isolate")
        self.refused(result, 2, "record comes last", f"{file},isolate", "virgl,isolate,record=FILE")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_socket_in_use(self):
        process = self.serve()
        self.refused(run("--vfio-user", self.path), 1, str(self.path), "in use", "another path")
        self.assertTrue(self.answers())
        self.end(process)

    def test_control_socket_in_use(self):
        control = self.folder / "control.sock"
        process = self.serve("--control", control)
        self.refused(run("--vfio-user", self.folder / "other.sock", "--control", control), 1, str(control), "another path")
        self.assertFalse((self.folder / "other.sock").exists())
        self.end(process)

    def test_input_socket_in_use(self):
        process = self.serve("--input", self.folder / "input")
        self.refused(run("--vfio-user", self.folder / "other.sock", "--input", self.folder / "input"), 1, "input.keyboard",
                     "another path")
        self.end(process)

    def test_no_folder(self):
        self.refused(run("--vfio-user", self.folder / "missing" / "gpu.sock"), 1, "missing/gpu.sock")

    def test_a_file_in_the_way(self):
        self.path.write_text("mine")
        self.refused(run("--vfio-user", self.path), 1, str(self.path))
        self.assertEqual(self.path.read_text(), "mine")

    def test_fd_that_is_none(self):
        self.refused(run("--fd", 200), 1, "vhost-user fd 200")
        self.refused(run("--vfio-user-fd", 200), 1, "vfio-user fd 200")

    def test_fd_that_is_no_socket(self):
        with open("/dev/null", "rb") as file:
            self.refused(run("--fd", file.fileno(), pass_fds=[file.fileno()]), 1, f"fd {file.fileno()}")


ASSIGN = {
    "closed_fd": ("fd=200", "fd 200 is not open"),
    "not_a_device": ("fd=0", "fd 0 is no VFIO device"),
    "no_process": ("pid=4194304", "there is no process 4194304", "vitrinectl assign pid=4194304"),
    "no_such_device": ("bdf=ffff:ff:1f.7", "there is no PCI device"),
    "nothing": ("", "names no device"),
    "word": ("gpu", "names no device"),
    "half": ("pid=", "names no device"),
    "bad_bdf": ("pid=1,device=x", "names no device"),
    "negative": ("fd=-1", "names no device"),
}


def add_assign():
    """A test of its own for each device that cannot be assigned."""
    for name, (value, *words) in ASSIGN.items():
        def test(self, value=value, words=words):
            self.refused(run("--vfio-user", self.path, "--assign", value), 1, f"--assign {value}", *words)
            self.assertFalse(self.path.exists())
        setattr(Refuses, f"test_assign_{name}", test)


def add_without_virglrenderer():
    """A test of its own for each way to ask for 3D that is not there."""
    for name, option in {"3d": "--3d=virgl", "virgl": "--virgl", "isolated": "--3d=virgl,isolate"}.items():
        def test(self, option=option):
            self.refused(run("--vfio-user", self.path, option), 1, "--3d virgl", "libvirglrenderer-dev", "-Dvirgl=enabled")
            self.assertFalse(self.path.exists())
        setattr(Refuses, f"test_without_virglrenderer_{name}", test)


def add_wrong_values():
    """A test of its own for each wrong value."""
    for option, values in WRONG_VALUES.items():
        for value in values:
            def test(self, option=option, value=value):
                transport = [] if option in TRANSPORTS else ["--vfio-user", self.path]
                status = 1 if len(value) > 108 else 2  # too long for a socket's address: only the system says so
                self.refused(run(*transport, f"--{option}={value}"), status, value[:20] if status == 1 else f"--{option}")
            name = re.sub(r"\W", "_", value[:20]) or "empty"
            while hasattr(Refuses, f"test_{option}_{name}"):
                name += "_"
            setattr(Refuses, f"test_{option}_{name}", test)


class Serves(Case):
    def test_socket_is_private(self):
        for mask in (0o000, 0o077, 0o777):
            with self.subTest(umask=mask):
                process = self.serve("--control", self.folder / "control.sock", umask=mask)
                for path in (self.path, self.folder / "control.sock"):
                    self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
                self.end(process)

    def test_input_sockets(self):
        """One for each device, private, and gone with the program; each is a PCI function of its own."""
        process = self.serve("--input", self.folder / "input")
        paths = [self.folder / f"input.{kind}" for kind in ("keyboard", "tablet", "mouse", "touch")]
        for path in paths:
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        with contextlib.ExitStack() as stack:
            for path in paths:
                stack.enter_context(Client(str(path)))
        self.end(process)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_ends_when_asked(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number):
                process = self.serve("--control", self.folder / "control.sock")
                self.end(process, number)
                self.assertEqual(list(self.folder.iterdir()), [])

    def test_with_each_path(self):
        for path in ("vfio-dmabuf", "vfio-window", "udmabuf", "mapped", "fetched"):
            with self.subTest(path=path):
                self.end(self.serve("--path", path))

    def test_render_node_without_3d(self):
        process = self.serve("--render-node", "/dev/dri/renderD128")
        self.end(process)
        self.assertRegex(process.stdout.read(), "warn: --render-node /dev/dri/renderD128: .* without 3D: give --3d virgl")

    def test_stale_socket_is_replaced(self):
        process = self.serve()
        process.kill()
        process.wait()
        self.assertTrue(self.path.is_socket())
        self.end(self.serve())

    def test_stays_silent_about_clients_that_leave(self):
        process = self.serve("--log-level", "warn")
        for _ in range(20):
            self.connect()
        self.end(process)
        self.assertEqual(process.stdout.read(), "")

    def test_listening_fd(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
            listener.listen()
            process = self.start("--vfio-user-fd", listener.fileno(), pass_fds=[listener.fileno()])
        for _ in range(2):
            self.connect()
        self.end(process)
        self.assertTrue(self.path.is_socket())  # not ours to remove

    def test_connected_fd(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = self.start("--vfio-user-fd", theirs.fileno(), pass_fds=[theirs.fileno()])
            theirs.close()
            with Client(sock=ours):
                self.end(process)

    def test_connected_fd_is_all_there_is(self):
        """When the VMM has gone nobody can come any more."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = self.start("--vfio-user-fd", theirs.fileno(), pass_fds=[theirs.fileno()])
            theirs.close()
            with Client(sock=ours):
                pass
        self.assertEqual(process.wait(timeout=10), 0)

    def serve_vhost_user(self, *arguments, **options):
        """A vhost-user back-end on self.path."""
        process = self.start(*arguments, **options)
        self.wait_for("it serves its socket", lambda: process.poll() is not None or listens(self.path))
        self.assertIsNone(process.poll())
        return process

    def test_vhost_user(self):
        """By either name, one front-end after the other, until SIGTERM."""
        for option in (("--vhost-user", self.path), (f"--socket-path={self.path}",)):
            with self.subTest(option=option):
                process = self.serve_vhost_user(*option)
                self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
                for _ in range(3):
                    with FrontEnd(str(self.path)) as front_end:
                        self.assertTrue(front_end.alive())
                        self.assertEqual(len(front_end.get_config(0, 16)), 16)
                self.end(process)
                self.assertFalse(self.path.exists())

    def test_vhost_user_sigterm_with_a_front_end(self):
        process = self.serve_vhost_user("--vhost-user", self.path)
        with FrontEnd(str(self.path)) as front_end:
            self.end(process)
            self.assertIsNone(front_end.receive())
        self.assertFalse(self.path.exists())

    def test_vhost_user_connected_fd(self):
        """As libvirt starts it: the back-end ends with its VMM."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = self.start(f"--fd={theirs.fileno()}", pass_fds=[theirs.fileno()])
            theirs.close()
            with FrontEnd(sock=ours) as front_end:
                self.assertTrue(front_end.alive())
        self.assertEqual(process.wait(timeout=SECONDS), 0)

    def test_vhost_user_listening_fd(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
            listener.listen()
            process = self.start("--fd", listener.fileno(), pass_fds=[listener.fileno()])
        for _ in range(2):
            with FrontEnd(str(self.path)) as front_end:
                self.assertTrue(front_end.alive())
        self.end(process)
        self.assertTrue(self.path.is_socket())

    def test_vhost_user_in_use(self):
        process = self.serve_vhost_user("--vhost-user", self.path)
        result = run("--vhost-user", self.path)
        self.assertEqual(result.returncode, 1)
        self.assertIn("another path", result.stderr)
        self.end(process)

    def test_assign_from_a_process_without_devices(self):
        """It may come to have one: a VMM that connects first and opens its devices then."""
        process = self.serve("--assign", f"pid={os.getpid()}")
        with Client(str(self.path)) as client:
            client.dma_map(0, 4096)
        self.end(process)
        self.assertIn(f"pid={os.getpid()} is awaited: process {os.getpid()} holds no VFIO device", process.stdout.read())

    def test_many_fds(self):
        """The limit of fds is the hard one: guest memory comes in fds."""
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        process = self.serve()
        limits = pathlib.Path(f"/proc/{process.pid}/limits").read_text(encoding="ascii")
        soft, hard = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits).groups()
        self.assertEqual(soft, hard)
        self.end(process)


class Libvirt(Case):
    """The script of docs/vmm.md that libvirt starts in vitrine's place."""

    def setUp(self):
        super().setUp()
        page = (pathlib.Path(__file__).resolve().parents[2] / "docs/vmm.md").read_text(encoding="utf-8")
        script, = re.findall(r"^    (#!/bin/sh\n(?:    .*\n)+)", page, re.MULTILINE)
        script = script.replace("/usr/local/bin/vitrine", PROGRAM).replace("/run/vitrine", str(self.folder))
        self.script = self.folder / "vitrine-libvirt"
        self.script.write_text(re.sub("^    ", "", script, flags=re.MULTILINE), encoding="utf-8")
        self.script.chmod(0o755)

    def status(self, process):
        """By the control socket, which has the number of the process that was started."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(SECONDS)
            control.connect(str(self.folder / str(process.pid)))
            control.sendall(b'{"command":"status"}\n')
            with control.makefile() as replies:
                return json.loads(replies.readline())

    def serve_libvirt(self, *options):
        """vitrine as libvirt starts it, and its status."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = subprocess.Popen([self.script, f"--fd={theirs.fileno()}", *options], pass_fds=[theirs.fileno()],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            theirs.close()
            with FrontEnd(sock=ours) as front_end:
                self.assertTrue(front_end.alive())
                status = self.status(process)
            self.assertEqual(process.wait(timeout=SECONDS), 0)
        return status

    def test_capabilities(self):
        result = subprocess.run([self.script, "--print-capabilities"], capture_output=True, text=True, timeout=SECONDS, check=True)
        self.assertEqual((result.stdout, result.stderr), (run("--print-capabilities").stdout, ""))

    def test_without_3d(self):
        status = self.serve_libvirt("--render-node=/dev/dri/renderD128")
        self.assertIsNone(status.get("renderer"))
        self.assertIn("without 3D", (self.folder / "log").read_text(encoding="utf-8"))

    if VIRGL:
        def test_isolated(self):
            status = self.serve_libvirt("--virgl")
            self.assertTrue(status["renderer"]["isolated"])
            self.assertIn("3D: virgl on", (self.folder / "log").read_text(encoding="utf-8"))


add_assign()
add_wrong_values()
if not VIRGL:
    add_without_virglrenderer()
if __name__ == "__main__":
    tap.main()
