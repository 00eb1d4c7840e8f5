#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of fuzz_control (its step format is described there) into the folder given as argument."""
import json
import pathlib
import struct
import sys

SEND, HANG_UP, HALF_CLOSE, READ, TURN, SEND_FD, ANSWER = range(7)


def step(what, data=b"", client=0):
    body = struct.pack("<H", len(data)) + data if what in (SEND, SEND_FD, ANSWER) else b""
    return bytes([what | client << 4]) + body


def request(command, client=0, **arguments):
    return step(SEND, json.dumps({"command": command, **arguments}).encode() + b"\n", client) + step(TURN) + step(READ, client=client)


SEEDS = {
    "status": request("status"),
    "help": request("help") + request("version") + request("quit"),
    "screenshot": request("screenshot") + step(TURN) + step(READ),
    "screenshot-all": request("screenshot", scanout=0, cursor=True, after=0, timeout_ms=1) + step(TURN) + step(READ),
    "wait": request("wait", frames=0) + request("wait", frames=9, timeout_ms=0) + step(TURN) + step(READ),
    "wait-hang-up": request("wait", frames=9, timeout_ms=86400000) + step(HANG_UP) + step(TURN),
    "four": b"".join(request("wait", client, frames=1) for client in range(4)) + request("status", 1),
    "pipelined": step(SEND, b'{"command":"version"}\n{"command":"explode"}\n{"command":"help"}\n') + step(TURN) * 3 + step(READ),
    "half": step(SEND, b'{"command":') + step(SEND, b'"status"}') + step(SEND, b"\n") + step(HALF_CLOSE) + step(TURN) + step(READ),
    "refused": request("wait") + request("wait", frames="1") + request("screenshot", scanout=16) + request("status", colour=1),
    "nonsense": step(SEND, b"hello\n") + step(TURN) + step(READ) + step(SEND, b"[" * 3000 + b"\n", 1) + step(READ, client=1),
    "long": (step(SEND, b"x" * 65535) + step(TURN)) * 2 + step(READ),
    "fd": step(SEND_FD, b'{"command":"version"}\n') + step(TURN) + step(READ),
    "assign": (step(SEND_FD, b'{"command":"assign"}\n') + step(TURN) + step(READ) + request("assign") + request("assign", remove="0000:01:00.0")),
    "assign-pieces": step(SEND_FD, b'{"command":') + step(TURN) + step(SEND_FD, b'"assign"}\n') + step(TURN) + step(READ),
    "assign-half": step(SEND_FD, b'{"command":"assign"') + step(TURN) + step(HANG_UP) + step(TURN),
    "outputs": (request("output-list") + request("output-add", mode="64x48@120,name=b") + request("output-resize", output="b", mode="8x8")
                + request("output-move", output="1", display="other") + request("screenshot", scanout=1) + step(TURN) + step(READ)
                + request("output-remove", output="b") + request("output-list")),
    "outputs-auto": request("output-add", mode="auto", display="other") * 4 + request("output-resize", output="1", mode="auto"),
    "outputs-all-gone": request("output-remove", output="0") + request("screenshot") + step(TURN) + step(READ) + request("output-add"),
    "outputs-refused": (request("output-add", mode="0x0") + request("output-add", display="none") + request("output-move", output="0")
                        + request("output-remove", output="nobody") + request("output-resize", output="0", mode="8x8,name=x")),
    "answer": step(ANSWER, b'{"ok":true}\n') + step(ANSWER, b"{}") + step(ANSWER, b"{}\n{}\n") + step(ANSWER, b""),
}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
