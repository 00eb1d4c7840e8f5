# SPDX-License-Identifier: MIT
"""Talking with what reads commands line by line and tells each one's end: guest/init's shell and guest-scanout."""

import pathlib
import queue
import re
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tap import Failure  # noqa: E402

COMMAND_TIMEOUT = 120


class Console:
    """One guest's serial port, at the other end of two streams. Time-outs are in seconds."""

    def __init__(self):
        self.lines, self.transcript = queue.Queue(), []
        self._sink = None

    def attach(self, source, sink):
        """Reads lines from source, in a thread, and writes commands to sink; what was read before is forgotten."""
        self.lines, self.transcript, self._sink = queue.Queue(), [], sink
        threading.Thread(target=self._read, args=(source, self.lines), daemon=True).start()

    @staticmethod
    def _read(source, lines):
        try:
            for line in source:
                lines.put(line.decode("utf-8", "replace").rstrip("\r\n"))
        except (OSError, ValueError):
            pass  # closed under us
        lines.put(None)

    def ended(self):
        """Why nothing more can come from here, in words."""
        return "the console is closed"

    def trouble(self):
        """A reason not to wait any longer, in words, or None."""
        return None

    def wait_for(self, pattern, timeout):
        """The match of the first line from now on that has pattern."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.lines.get(timeout=min(0.5, max(0.01, deadline - time.monotonic())))
            except queue.Empty:
                if trouble := self.trouble():
                    raise Failure(trouble) from None
                if time.monotonic() >= deadline:
                    raise Failure(f"the guest did not print {pattern!r} within {timeout} s") from None
                continue
            if line is None:
                raise Failure(self.ended())
            self.transcript.append(line)
            if found := re.search(pattern, line):
                return found

    def wait_ready(self, timeout):
        """Waits for the first prompt after power-on or a reboot."""
        first = len(self.transcript)
        self.wait_for(r"@@READY after", timeout)
        self._raise_failures(first)

    def send(self, line):
        try:
            self._sink.write(line.encode() + b"\n")
            self._sink.flush()
        except OSError as error:
            raise Failure(f"{self.ended()} ({error})") from None

    def run(self, command, timeout=COMMAND_TIMEOUT):
        """Runs one command in the guest and returns the lines it printed."""
        self.send(command)
        first = len(self.transcript)
        status = self.wait_for(r"@@DONE (\d+)", timeout)
        self._raise_failures(first)
        if status[1] != "0":
            raise Failure(f"{command!r} ended with status {status[1]} in the guest: {self.transcript[first:-1]}")
        return self.transcript[first:-1]

    def show(self, command, timeout=COMMAND_TIMEOUT):
        """Runs a command of guest-scanout that ends with a picture; returns the words of its SHOWN line, e.g. {'ranges': 63}."""
        lines = self.run(command, timeout)
        shown = [line for line in lines if line.startswith("@@SHOWN")]
        if not shown:
            raise Failure(f"{command!r} showed nothing: {lines}")
        return {word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", shown[-1])}

    def _raise_failures(self, first):
        for line in self.transcript[first:]:
            if "@@FAILED" in line:
                raise Failure(f"in the guest: {line.split('@@FAILED ', 1)[1]}")

    def enter(self, program):
        """Starts a program that reads commands itself, as guest-scanout does."""
        self.send(program)
        self.wait_for(r"@@READY", COMMAND_TIMEOUT)
