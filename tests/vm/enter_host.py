#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A shell in the virtual host (host.py), on this terminal. Without SOCKET a virtual host is started for it, with vitrine,
vitrinectl, vitrine-guest and the checking programs in /bin and the kit's QEMU in /host; it ends with the shell."""

import argparse
import os
import pathlib
import select
import signal
import socket
import sys
import tempfile
import termios
import time
import tty

from host import InnerVitrine, VirtualHost
from tap import Failure

LEAVE = b"\x1d"  # Ctrl-], as in telnet


def relay(connection, keyboard, screen):
    """Until Ctrl-] or the other end closes."""
    while True:
        ready, _, _ = select.select([connection, keyboard], [], [])
        if connection in ready:
            data = connection.recv(65536)
            if not data:
                return
            os.write(screen, data)
        if keyboard in ready:
            data = os.read(keyboard, 4096)
            if not data or LEAVE in data:
                return
            connection.sendall(data)


def enter(path):
    """Connects this terminal to the shell behind this socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        print("a shell in the virtual host; Ctrl-] leaves", flush=True)
        connection.sendall(b"\n")
        keyboard = sys.stdin.fileno()
        if not os.isatty(keyboard):
            return relay(connection, keyboard, sys.stdout.fileno())
        before = termios.tcgetattr(keyboard)
        tty.setraw(keyboard)
        try:
            return relay(connection, keyboard, sys.stdout.fileno())
        finally:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def start_guest(host):
    """A guest that shows moving frames, and the vitrine that scans them out."""
    vitrine = InnerVitrine(host, "imports")
    host.launch_guest([vitrine])
    vitrine.start("--display", f"kms={host.cards['virtio-pci']}", "--assign", f"pid={host.guest_pid()}")
    host.wait_launched()
    host.resume_guest()
    host.wait_guest()
    host.guest.send("demo")
    host.guest.wait_for("@@MOVING", 60)


def run(arguments, work):
    build = arguments.build.resolve()
    programs = {name: build / "src/programs" / name for name in ("vitrine", "vitrinectl", "vitrine-guest")}
    programs["guest-scanout"] = build / "tests/vm/guest-scanout"
    inside = [build / "tests/vm" / name for name in ("vfio-errnos", "udmabuf-limits", "vfio-beside")]
    outputs = arguments.output or ["1280x800"]
    host = VirtualHost(programs, work, outputs=outputs, extra_programs=[programs["vitrine-guest"], *inside])
    started = time.monotonic()
    try:
        host.start()
        if arguments.guest:
            print("the virtual host is up; booting the guest", flush=True)
            start_guest(host)
        print(f"up after {time.monotonic() - started:.0f} s; cards: {host.cards}")
        print(f"its screen: {programs['vitrinectl']} --control {host.outer.control} screenshot screen.png")
        enter(host.shell)
    except Failure as failure:
        raise Failure(f"{failure}\n{host.logs()}") from None
    finally:
        host.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="where the programs are (build)")
    parser.add_argument("--output", action="append", metavar="WxH", help="a monitor of the host; repeat for more (1280x800)")
    parser.add_argument("--guest", action="store_true", help="with a guest that shows moving frames in its device's memory")
    parser.add_argument("socket", nargs="?", metavar="SOCKET", help="of a host that runs: shell.sock in a test's work directory")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if arguments.socket:
            enter(arguments.socket)
        else:
            with tempfile.TemporaryDirectory(prefix="vitrine-host-") as work:
                run(arguments, work)
    except (Failure, OSError) as error:
        print(f"enter_host: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
