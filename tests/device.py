# SPDX-License-Identifier: MIT
"""A vitrine of its own for a test: two headless outputs or what a test wants, the device's and a control socket in a directory."""
import signal
import subprocess
import time

START_SECONDS = 30
END_SECONDS = 20
HEADLESS = ("--display", "headless", "--output", "1280x800", "--output", "1024x768,name=second")


def listens(path):
    """Whether somebody accepts connections there: a socket has its path a moment before."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
        return any(fields[3] == "00010000" and fields[7:] == [str(path)] for fields in (line.rstrip("\n").split(None, 7) for line in sockets))


class Device:
    """A running vitrine. display: what replaces the two headless outputs; env: its environment; transport: or vhost-user."""

    def __init__(self, program, directory, *options, display=HEADLESS, env=None, transport="vfio-user"):
        self.socket = directory / "gpu.sock"
        self.control = directory / "control.sock"
        self.input = directory / "input"
        self.log_path = directory / "vitrine.log"
        self.log = self.log_path.open("w", encoding="utf-8")
        command = [program, "--" + transport, self.socket, "--control", self.control, "--input", self.input, *display, *options]
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=env)

    def wait_ready(self):
        """True when it serves both sockets."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if listens(self.socket) and listens(self.control):
                return True
            time.sleep(0.02)
        return False

    def end(self):
        """Asks it to end; None when it did as it should, else what went wrong."""
        if self.process.poll() is not None:
            return f"it had ended before, with status {self.process.returncode}"
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"it did not end within {END_SECONDS} s of SIGTERM"
        return None if status == 0 else f"it ended with status {status}"

    def close(self):
        """Leaves nothing running."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
