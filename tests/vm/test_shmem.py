#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Shared memory regions for real: our back-end's in a BAR of QEMU's generic vhost-user device, and a stock guest that looks into it.
The device is the protocol tests' (tests/protocol/server.c), an entropy source to the guest; what a driver of a GPU would map there is
mapped by hand.
"""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import sessions  # noqa: E402
from machine import Environment, Guest  # noqa: E402
from tap import expect  # noqa: E402

MODULES = ("virtio_rng",)
DEVICE = "/sys/bus/pci/devices/0000:00:06.0"
BAR, SIZE, PAGE = 4, 1 << 20, 4096
PLACED, NOTHING = 0x63616C70, (0, 0xFFFFFFFF)  # "plac"; what may be read where there is no memory
EREMOTEIO = 121


class BackEnd:
    def __init__(self, program, work):
        self.socket = work / "device.sock"
        self.log = open(work / "server.log", "wb")
        self.process = subprocess.Popen([program, "--vhost-user", self.socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        expect(self.process.stdout.readline() == b"ready\n", "the back-end does not start")

    def ask(self, line=""):
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def place(self, offset, size=PAGE):
        return self.ask(f"place {offset} {size}")["result"]

    def displace(self, offset, size=PAGE):
        return self.ask(f"displace {offset} {size}")["result"]

    def stop(self):
        self.process.stdin.close()
        status = self.process.wait(30)
        self.log.close()
        return status


def device(socket):
    return ["-chardev", f"socket,id=device,path={socket}", "-device",
            "vhost-user-test-device-pci,virtio-id=4,num_vqs=2,vq_size=64,config_size=16,chardev=device,addr=06.0"]


class Session:
    def __init__(self, tap, environment):
        self.tap, self.work = tap, environment.work
        self.back_end = BackEnd(environment.programs["server"], self.work)
        self.guest = Guest(environment.kit, self.work, environment.initramfs, environment.accelerator, extra=device(self.back_end.socket))
        self.bar = 0

    def case(self, name):
        return self.tap.case(name, self.guest.logs)

    def peek(self, offset):
        return int(self.guest.run(f"devmem {self.bar + offset:#x} 32")[-1], 16)

    def poke(self, offset, value):
        self.guest.run(f"devmem {self.bar + offset:#x} 32 {value:#x}")

    def run(self):
        with self.case("the guest has a BAR for the region"):
            self.guest.start()
            self.guest.wait_ready()
            start, end, _ = self.guest.run(f"sed -n {BAR + 1}p {DEVICE}/resource")[-1].split()
            self.bar = int(start, 16)
            expect(self.bar and int(end, 16) - self.bar + 1 == SIZE, f"BAR {BAR} is {start} to {end}")
            expect(self.back_end.ask()["rings"], "no ring runs")
        with self.case("nothing is there at the beginning"):
            expect(self.peek(0) in NOTHING, f"{self.peek(0):#x} is read")
        with self.case("what is mapped is seen, and written"):
            expect(self.back_end.place(0, 2 * PAGE) == 0 and self.back_end.place(SIZE - PAGE) == 0, "QEMU refuses")
            expect(self.peek(0) == PLACED and self.peek(SIZE - PAGE) == PLACED, f"{self.peek(0):#x}, {self.peek(SIZE - PAGE):#x} are read")
            self.poke(2 * PAGE - 4, 0x1234ABCD)
            expect(self.peek(2 * PAGE - 4) == 0x1234ABCD, "what was written is not read")
        with self.case("what is unmapped is gone, and its place is free"):
            expect(self.back_end.displace(0, 2 * PAGE) == 0, "QEMU refuses")
            expect(self.peek(0) in NOTHING and self.peek(SIZE - PAGE) == PLACED, f"{self.peek(0):#x}, {self.peek(SIZE - PAGE):#x} are read")
            expect(self.back_end.place(PAGE) == 0 and self.peek(PAGE) == PLACED, f"{self.peek(PAGE):#x} is read")
            expect(self.back_end.displace(0) == EREMOTEIO, "nothing was unmapped")
        with self.case("all end well"):
            self.guest.stop()
            expect(self.back_end.stop() == 0, "the back-end does not")


def session_shmem(tap, environment):
    session = Session(tap, environment)
    try:
        session.run()
    finally:
        session.guest.stop()
        if session.back_end.process.poll() is None:
            session.back_end.process.kill()


def set_up(programs, work, tap):
    return Environment(programs, work, tap, [], MODULES)


if __name__ == "__main__":
    sys.exit(sessions.main(__doc__, ("server",), {"shmem": session_shmem}, set_up))
