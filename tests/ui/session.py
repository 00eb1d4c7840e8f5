# SPDX-License-Identifier: MIT
"""A vitrine with windows on an X desktop, guests in user space behind it, and vitrinectl: what the tests of whole windows share."""
import contextlib
import json
import pathlib
import queue
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from device import Device  # noqa: E402  pylint: disable=wrong-import-position
from tap import expect  # noqa: E402  pylint: disable=wrong-import-position
from x11 import PATIENCE, until  # noqa: E402  pylint: disable=wrong-import-position


class Process:
    """A vitrine-guest that runs until close(), however long it would; its lines are read meanwhile."""

    def __init__(self, command):
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip())

    def next_line(self, seconds=PATIENCE):
        """The next one; None when none came."""
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def close(self):
        self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        self.process.stdout.close()


class Session(contextlib.AbstractContextManager):
    """programs: paths of vitrine, vitrinectl and vitrine-guest."""

    def __init__(self, programs, directory, env, *options):
        self.vitrine, self.ctl, self.guest = programs
        directory.mkdir()
        self.directory = directory
        self.stack = contextlib.ExitStack()
        self.device = Device(self.vitrine, directory, *options, display=(), env=env)
        self.stack.callback(self.device.close)
        if not self.device.wait_ready():
            self.stack.close()
            raise AssertionError(f"vitrine did not start: {self.log()}")

    def __exit__(self, *_exception):
        self.stack.close()

    def log(self):
        return self.device.log_path.read_text(encoding="utf-8", errors="replace")

    def control(self, *command):
        """What vitrinectl prints."""
        result = subprocess.run([self.ctl, "--control", str(self.device.control), *map(str, command)], capture_output=True, text=True,
                                timeout=PATIENCE, check=False)
        expect(result.returncode == 0, f"vitrinectl {command}: {result.stderr}")
        return result.stdout

    def status(self):
        return json.loads(self.control("--json", "status"))

    def scanout(self, number=0):
        return self.status()["scanouts"][number]

    @contextlib.contextmanager
    def demo(self, *options):
        """vitrine-guest's demo; it ends with the block."""
        process = Process([self.guest, "--vfio-user", self.device.socket, "demo", *options])
        try:
            yield process
        finally:
            process.close()

    @contextlib.contextmanager
    def picture(self, frames=1, *options):
        """The demo's last picture of so many, for as long as the block takes."""
        with self.demo("--frames", frames, "--keep", *options) as process:
            line = process.next_line()
            expect(line and line.startswith(f"{frames} frames"), f"the demo says: {line}")
            yield process

    @contextlib.contextmanager
    def events(self, devices="keyboard,tablet"):
        """The guest's input devices, in use."""
        process = Process([self.guest, "--input", self.device.input, "events", "--devices", devices])
        try:
            wanted = set(devices.split(","))
            until(lambda: wanted <= {row["kind"] for row in self.status()["input"]["devices"] if row["used"]}, "the guest uses its input devices")
            yield process
        finally:
            process.close()
