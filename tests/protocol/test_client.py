# SPDX-License-Identifier: MIT
"""Our client against servers that lie: what a server may get wrong costs an error, never more."""
import errno
import fcntl
import os
import select
import socket
import struct
import subprocess
import tempfile
import threading
import time

import tap
from vfio_user import *

CALL_TIMEOUT_MS = 400
CAPABILITIES_DATA = json.dumps({"capabilities": CAPABILITIES}).encode() + b"\0"
CAPS_FLAG, MMAP_FLAG = 8, 4


class LyingServer(Connection):
    """Answers VERSION well, unless told otherwise, and everything else by the function that the test gives."""

    def reply(self, command, body=b"", flags=TYPE_REPLY, error=0, fds=(), id=None, size=None, number=None):
        self.send(
            command.command if number is None else number,
            body,
            flags=flags,
            error=error,
            fds=fds,
            id=command.id if id is None else id,
            size=size,
        )

    def version(self, major=0, minor=1, data=CAPABILITIES_DATA, **how):
        self.reply(self.receive(), struct.pack("=HH", major, minor) + data, **how)


class ClientCase(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "socket")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.settimeout(TIMEOUT)
        self.addCleanup(self.listener.close)

    def run_client(self, serve, *steps, version=True, timeout_ms=CALL_TIMEOUT_MS):
        """Runs the client's steps against serve(server); what the client said, a line each."""
        errors = []

        def work():
            try:
                with LyingServer(self.listener.accept()[0]) as server:
                    if version:
                        server.version()
                    serve(server)
                    while server.receive() is not None:
                        pass
            except OSError:
                pass  # the client hung up: that is its right
            except Exception as error:  # pylint: disable=broad-except
                errors.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        arguments = [os.environ["PROTOCOL_CLIENT"], self.path, str(timeout_ms)] + [str(word) for step in steps for word in step.split()]
        client = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT * 2, check=False)
        thread.join(TIMEOUT)
        self.assertEqual(client.returncode, 0, client.stderr)
        self.assertEqual(errors, [])
        return client.stdout.splitlines()

    def lie(self, step, serve, result="EPROTO", closed=True):
        """The step fails with result, and the connection is closed after it, or is not."""
        lines = self.run_client(serve, step, "reset")
        self.assertEqual(lines[:2], ["connect 0", f"{step.split()[0]} {result}"])
        if closed:
            self.assertEqual(lines[2], "reset ENOTCONN")


class ClientVersion(ClientCase):
    def refuse(self, serve, result="EPROTO", **how):
        self.assertEqual(self.run_client(serve, version=False, **how), [f"connect {result}"])

    def test_lies(self):
        good = struct.pack("=HH", 0, 1)
        rows = {
            "other major": dict(major=1),
            "newer minor": dict(minor=2),
            "no NUL": dict(data=b"{}"),
            "no JSON": dict(data=b"hello\0"),
            "no object": dict(data=b"[]\0"),
            "bad limit": dict(data=b'{"capabilities": {"max_data_xfer_size": 0}}\0'),
            "long": dict(data=b" " * 9000 + b"{}\0"),
            "wrong id": dict(id=77),
            "wrong command": dict(number=GET_INFO),
            "unknown flag": dict(flags=TYPE_REPLY | 0x40),
            "a command": dict(flags=0x20),
            "size below the header": dict(size=15),
            "size beyond any": dict(size=0xFFFFFFFF),
            "fds": dict(fds=[0, 1]),
            "too many fds": dict(fds=[0] * 60),
        }
        self.assertEqual(len(good), 4)
        for name, how in rows.items():
            with self.subTest(name):
                self.refuse(lambda server, how=how: server.version(**how))

    def test_short(self):
        for size in range(4):
            with self.subTest(size=size):
                self.refuse(lambda server, size=size: server.reply(server.receive(), bytes(size)))

    def test_error(self):
        self.refuse(lambda server: server.reply(server.receive(), flags=TYPE_REPLY | ERROR, error=errno.EPERM), "EPERM")

    def test_silence(self):
        started = time.monotonic()
        self.refuse(lambda server: time.sleep(0.6), "ETIMEDOUT")
        self.assertLess(time.monotonic() - started, 3)

    def test_half_and_silence(self):
        self.refuse(lambda server: (server.send_raw(HEADER.pack(0, VERSION, 200, 1, 0) + b"\0"), time.sleep(0.6)), "ETIMEDOUT")

    def test_closed(self):
        self.refuse(lambda server: server.close(), "ECONNRESET")

    def test_nobody_there(self):
        self.listener.close()
        self.assertEqual(self.run_client(lambda server: None), ["connect ECONNREFUSED"])
        os.unlink(self.path)
        self.assertEqual(self.run_client(lambda server: None), ["connect ENOENT"])

    def test_full_backlog(self):
        """Connecting does not take longer than the time-out either."""
        self.listener.listen(0)
        others = []
        while True:
            other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            other.setblocking(False)
            others.append(other)
            try:
                other.connect(self.path)
            except BlockingIOError:
                break
        arguments = [os.environ["PROTOCOL_CLIENT"], self.path, str(CALL_TIMEOUT_MS)]
        client = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        self.assertEqual(client.stdout, "connect ETIMEDOUT\n")
        for other in others:
            other.close()

    def test_without_capabilities(self):
        self.assertEqual(self.run_client(lambda server: server.version(data=b""), version=False), ["connect 0"])


class ClientCalls(ClientCase):
    INFO = struct.pack("=IIII", 16, 3, 9, 5)

    def test_good(self):
        self.assertEqual(
            self.run_client(lambda server: server.reply(server.receive(), self.INFO), "info"), ["connect 0", "info 0 flags 3 regions 9 irqs 5"]
        )

    def test_lies_of_the_header(self):
        rows = {
            "wrong id": dict(id=4711),
            "wrong command": dict(number=GET_IRQ_INFO),
            "unknown flag": dict(flags=TYPE_REPLY | 0x80),
            "unknown type": dict(flags=2),
            "no reply": dict(flags=TYPE_REPLY | NO_REPLY),
            "short": dict(body=self.INFO[:-1]),
            "long": dict(body=self.INFO + b"\0"),
            "empty": dict(body=b""),
            "fd": dict(fds=[0]),
            "too many fds": dict(fds=[0] * 100),
            "size 0": dict(size=0),
            "size beyond any": dict(size=1 << 31),
            "error with a body": dict(flags=TYPE_REPLY | ERROR, error=5),
            "regions without end": dict(body=struct.pack("=IIII", 16, 3, 0xFFFFFFFF, 5)),
            "irqs without end": dict(body=struct.pack("=IIII", 16, 3, 9, 0xFFFFFFFF)),
        }
        for name, how in rows.items():
            with self.subTest(name):
                self.lie("info", lambda server, how=how: server.reply(server.receive(), **{"body": self.INFO, **how}))

    def test_error_replies(self):
        for code, seen in (
            (errno.EINVAL, "EINVAL"),
            (errno.ENOTTY, "ENOTTY"),
            (0, "EIO"),
            (100000, "EIO"),
            (0xFFFFFFFF, "EIO"),
            (errno.EPROTO, "EIO"),
            (errno.ETIMEDOUT, "EIO"),
            (errno.ENOTCONN, "EIO"),
        ):

            def serve(server, code=code):
                server.reply(server.receive(), flags=TYPE_REPLY | ERROR, error=code)
                server.reply(server.receive())

            with self.subTest(code=code):
                lines = self.run_client(serve, "info", "reset")
                self.assertEqual(lines, ["connect 0", f"info {seen}", "reset 0"])

    def test_silence(self):
        self.lie("info", lambda server: time.sleep(0.6), "ETIMEDOUT")

    def test_half_a_reply(self):
        self.lie("info", lambda server: (server.send_raw(HEADER.pack(1, GET_INFO, 32, 1, 0) + b"123"), time.sleep(0.6)), "ETIMEDOUT")

    def test_closed(self):
        self.lie("info", lambda server: server.close(), "ECONNRESET")
        self.lie("info", lambda server: (server.receive(), server.close()), "ECONNRESET")
        self.lie("info", lambda server: (server.receive(), server.send_raw(bytes(7)), server.close()), "ECONNRESET")

    def test_answers_before_the_question(self):
        self.lie("info", lambda server: server.send(GET_INFO, self.INFO, flags=TYPE_REPLY, id=99))

    def test_irq(self):
        for name, row in (("index", (16, 7, 1, 3)), ("count", (16, 7, 2, 0xFFFFFFFF))):
            with self.subTest(name):
                self.lie("irq 2", lambda server, row=row: server.reply(server.receive(), struct.pack("=IIII", *row)))

    def test_read(self):
        data = bytes(range(8))

        def answer(server, offset=16, region=4, count=8, body=data):
            server.reply(server.receive(), struct.pack("=QII", offset, region, count) + body)

        self.assertEqual(self.run_client(answer, "read 4 16 8")[1], "read 0 first 0 last 7")
        for how in (dict(offset=17), dict(region=5), dict(count=7), dict(count=0xFFFFFFFF), dict(body=data[:7]), dict(body=data + b"x")):
            with self.subTest(**how):
                self.lie("read 4 16 8", lambda server, how=how: answer(server, **how))

    def test_write(self):
        for row in ((17, 4, 8), (16, 5, 8), (16, 4, 9)):
            with self.subTest(row=row):
                self.lie("write 4 16 8", lambda server, row=row: server.reply(server.receive(), struct.pack("=QII", *row)))

    def test_chunks(self):
        """Neither reads nor writes are larger than the server's max_data_xfer_size."""
        seen = []

        def serve(server):
            server.version(data=b'{"capabilities": {"max_data_xfer_size": 1000}}\0')
            for _ in range(6):
                command = server.receive()
                offset, region, count = struct.unpack_from("=QII", command.body)
                seen.append((command.command, offset, count))
                server.reply(command, command.body[:16] + (bytes(count) if command.command == REGION_READ else b""))

        lines = self.run_client(serve, "read 4 0 2500", "write 4 100 2500", version=False)
        self.assertEqual([line.split()[1] for line in lines], ["0", "0", "0"])
        sizes = (1000, 1000, 500)
        self.assertEqual(seen[:3], [(REGION_READ, 1000 * i, sizes[i]) for i in range(3)])
        self.assertEqual(seen[3:], [(REGION_WRITE, 100 + 1000 * i, sizes[i]) for i in range(3)])

    def test_posted_write(self):
        seen = []

        def serve(server):
            seen.append(server.receive())
            server.reply(server.receive())

        self.assertEqual(self.run_client(serve, "post 4 16 8", "reset"), ["connect 0", "post 0", "reset 0"])
        self.assertEqual((seen[0].command, seen[0].flags), (REGION_WRITE, NO_REPLY))

    def multi(self, steps, version=CAPABILITIES_DATA, messages=1):
        """What the server sees of the steps: each message's command, flags, and the writes in it."""
        seen = []

        def serve(server):
            server.version(data=version)
            for _ in range(messages):
                command = server.receive()
                writes = []
                if command.command == REGION_WRITE_MULTI:
                    (count,) = struct.unpack_from("=Q", command.body)
                    self.assertEqual(len(command.body), 8 + 24 * count)
                    writes = [struct.unpack_from("=QII", command.body, 8 + 24 * i) for i in range(count)]
                elif command.command == REGION_WRITE:
                    writes = [struct.unpack_from("=QII", command.body)]
                seen.append((command.command, command.flags, writes))
                if not command.flags & NO_REPLY:
                    server.reply(command, command.body[:16] if command.command == REGION_WRITE else b"")

        lines = self.run_client(serve, *steps, version=False)
        self.assertEqual([line.split()[1] for line in lines], ["0"] * (1 + len(steps)))
        return seen

    def test_collected_writes(self):
        seen = self.multi(["cork", "post 4 16 8", "post 4 20 2", "post 1 0 1", "uncork", "post 4 24 4"], messages=2)
        self.assertEqual(seen[0], (REGION_WRITE_MULTI, NO_REPLY, [(16, 4, 8), (20, 4, 2), (0, 1, 1)]))
        self.assertEqual(seen[1], (REGION_WRITE, NO_REPLY, [(24, 4, 4)]))

    def test_collected_writes_keep_their_order(self):
        """Whatever else is sent goes behind them."""
        for step, command in (("reset", RESET), ("write 4 0 8", REGION_WRITE), ("post 4 0 9", REGION_WRITE)):
            with self.subTest(step):
                seen = self.multi(["cork", "post 4 16 8", step], messages=2)
                self.assertEqual([entry[0] for entry in seen], [REGION_WRITE_MULTI, command])

    def test_collection_is_bounded(self):
        seen = self.multi(["cork"] + ["post 4 16 8"] * 300 + ["uncork"], messages=3)
        self.assertEqual([len(entry[2]) for entry in seen], [128, 128, 44])

    def test_collection_fits_the_server(self):
        version = b'{"capabilities": {"write_multiple": true, "max_data_xfer_size": 100}}\0'
        seen = self.multi(["cork"] + ["post 4 16 8"] * 5 + ["uncork"], version, 2)
        self.assertEqual([len(entry[2]) for entry in seen], [3, 2])

    def test_server_without_write_multiple(self):
        seen = self.multi(["cork", "post 4 16 8", "post 4 20 2", "uncork"], b"", 2)
        self.assertEqual(seen, [(REGION_WRITE, NO_REPLY, [(16, 4, 8)]), (REGION_WRITE, NO_REPLY, [(20, 4, 2)])])

    def test_feature(self):
        PROBE_GET_11 = 1 << 18 | 1 << 16 | 11

        def answer(server, flags=PROBE_GET_11, body=b"", **how):
            server.reply(server.receive(), struct.pack("=II", 8, flags) + body, **how)

        step = f"feature {PROBE_GET_11}"
        self.assertEqual(self.run_client(answer, step)[1], "feature 0 fd no")
        self.assertEqual(self.run_client(lambda server: answer(server, fds=[0]), step)[1], "feature 0 fd yes")
        for how in (dict(flags=11), dict(body=b"more"), dict(fds=[0, 0]), dict(fds=[0] * 17)):
            with self.subTest(**how):
                self.lie(step, lambda server, how=how: answer(server, **how))
        for size in (0, 7):
            with self.subTest(size=size):
                self.lie(step, lambda server, size=size: server.reply(server.receive(), bytes(size)))

    def test_server_that_receives_no_fds(self):
        def serve(server):
            server.version(data=b'{"capabilities": {"max_msg_fds": 0}}\0')
            server.reply(server.receive())

        lines = self.run_client(serve, "set-irq 2 1", "reset", version=False)
        self.assertEqual(lines[1:], ["set-irq E2BIG", "reset 0"])

    def test_posted_and_not_read(self):
        """A server that does not read stops the client for the time-out, not longer."""
        lines = self.run_client(lambda server: time.sleep(1.5), *["post 4 0 1048576"] * 4)
        self.assertEqual(lines[-1].split()[1], "ENOTCONN")
        self.assertIn("post ETIMEDOUT", lines)

    def test_reply_to_a_posted_write(self):
        def serve(server):
            command = server.receive()
            server.reply(command, command.body[:16])

        self.assertEqual(self.run_client(serve, "post 4 16 8", "dispatch 300", "reset")[1:], ["post 0", "dispatch EPROTO memory 0", "reset ENOTCONN"])

    def test_unmap(self):
        for body in (b"", bytes(23), struct.pack("=IIQQ", 24, 0, 0, 4095), struct.pack("=IIQQ", 24, 0, 8, 4096)):
            with self.subTest(body=body):
                self.lie("unmap 0 4096", lambda server, body=body: server.reply(server.receive(), body))

    def test_unmap_of_nothing(self):
        self.lie("unmap 4096 4096", lambda server: server.reply(server.receive(), struct.pack("=IIQQ", 24, 0, 4096, 0)), "ENOENT", closed=False)

    def test_map_passes_its_fd(self):
        seen = []

        def serve(server):
            for _ in range(2):
                seen.append(server.receive())
                server.reply(seen[-1])

        self.assertEqual(self.run_client(serve, "map-memfd 4096 8192", "map 65536 4096"), ["connect 0", "map-memfd 0", "map 0"])
        self.assertEqual([len(command.fds) for command in seen], [1, 0])
        self.assertEqual(struct.unpack("=IIQQQ", seen[0].body), (32, 3, 0, 4096, 8192))
        self.assertEqual(os.fstat(seen[0].fds[0]).st_size, 8192)
        os.close(seen[0].fds[0])


class ClientRegion(ClientCase):
    SIZE = 0x10000

    def info(self, caps=b"", flags=3, index=4, argsz=None, cap_offset=None, size=SIZE, offset=0):
        flags |= CAPS_FLAG if caps else 0
        argsz = 32 + len(caps) if argsz is None else argsz
        cap_offset = (32 if caps else 0) if cap_offset is None else cap_offset
        return struct.pack("=IIIIQQ", argsz, flags, index, cap_offset, size, offset) + caps

    def sparse(self, *areas, next=0, count=None):
        count = len(areas) if count is None else count
        return struct.pack("=HHIII", 1, 1, next, count, 0) + b"".join(struct.pack("=QQ", *area) for area in areas)

    def serve(self, body, fds=()):
        """A server that answers as a good one does: what does not fit into the client's argsz is announced first."""

        def function(server):
            while True:
                command = server.receive()
                if command is None:
                    return
                room = struct.unpack_from("=I", command.body)[0] if command.command == GET_REGION_INFO else 0
                if command.command == RESET:
                    server.reply(command)
                elif len(body) <= room:
                    server.reply(command, body, fds=fds)
                else:
                    server.reply(command, body[:32], fds=fds)

        return function

    def memfd(self, size, seals=0):
        fd = os.memfd_create("region", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        if seals:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        self.addCleanup(os.close, fd)
        return fd

    def good(self, text, body, fds=()):
        lines = self.run_client(self.serve(body, fds), "region 4", "region 4", "reset")
        self.assertEqual(lines, ["connect 0", f"region 0 {text}", f"region 0 {text}", "reset 0"])

    def bad(self, body, fds=(), closed=False):
        """A reply that is no reply costs the connection, one that says what cannot be the region."""
        self.lie("region 4", self.serve(body, fds), closed=closed)

    def test_plain(self):
        self.good("size 65536 rw fd no areas 0 last 0", self.info())

    def test_mappable(self):
        self.good("size 65536 rw fd yes areas 1 last 0", self.info(flags=7), [self.memfd(self.SIZE)])

    def test_sparse(self):
        caps = self.sparse((0x1000, 0x1000), (0x3000, 0x2000))
        self.good("size 65536 rw fd yes areas 2 last 12288", self.info(caps, flags=7), [self.memfd(self.SIZE)])

    def test_sparse_behind_another(self):
        caps = struct.pack("=HHIII", 2, 1, 48, 1, 2) + self.sparse((0, 0x1000))
        self.good("size 65536 rw fd yes areas 1 last 0", self.info(caps, flags=7), [self.memfd(0x1000)])

    def test_many_areas(self):
        caps = self.sparse(*[(i * 0x10, 8) for i in reversed(range(4000))])
        self.good("size 65536 rw fd yes areas 4000 last 63984", self.info(caps, flags=7), [self.memfd(self.SIZE)])

    def test_areas_that_touch(self):
        caps = self.sparse((0x3000, 0x1000), (0x1000, 0x1000), (0x2000, 0x1000), (0x8000, 0))
        self.good("size 65536 rw fd yes areas 1 last 4096", self.info(caps, flags=7), [self.memfd(self.SIZE)])

    def test_offset(self):
        self.good("size 65536 rw fd yes areas 1 last 0", self.info(flags=7, offset=0x3000), [self.memfd(self.SIZE + 0x3000)])

    def test_sealed(self):
        """What udmabuf takes; sealed against writing it does not."""
        memfd = self.memfd(self.SIZE, fcntl.F_SEAL_SHRINK)
        self.good("size 65536 rw fd sealed areas 1 last 0", self.info(flags=7), [memfd])
        memfd = self.memfd(self.SIZE, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE)
        self.good("size 65536 rw fd yes areas 1 last 0", self.info(flags=7), [memfd])

    def test_not_mapped(self):
        """Fds that could be mapped by others: not by us, accesses go by messages."""
        with open("/dev/zero", "r+b") as zero:
            self.good("size 65536 rw fd no areas 0 last 0", self.info(flags=7), [zero.fileno()])
        memfd = self.memfd(2 * self.SIZE)
        self.good("size 65536 rw fd no areas 0 last 0", self.info(flags=7, offset=100), [memfd])

    def test_header_lies(self):
        for name, how in {
            "index": dict(index=5),
            "argsz below": dict(argsz=31),
            "argsz that is not sent": dict(argsz=33),
        }.items():
            with self.subTest(name):
                self.bad(self.info(**how), closed=True)
        for argsz in (65537, 0xFFFFFFFF):
            with self.subTest(argsz=argsz):
                self.bad(self.info(argsz=argsz))

    def test_argsz_that_grows(self):
        def serve(server):
            for _ in range(2):
                command = server.receive()
                asked = struct.unpack_from("=I", command.body)[0]
                server.reply(command, self.info(argsz=asked + 8) + bytes(asked - 32))
            server.reply(server.receive())

        self.lie("region 4", serve, closed=False)

    def test_capability_lies(self):
        area = (0, 0x1000)
        rows = {
            "loop": self.info(self.sparse(area, next=32), flags=7),
            "backwards": self.info(self.sparse(area, next=8), flags=7),
            "loop of others": self.info(struct.pack("=HHI", 7, 1, 40) + struct.pack("=HHI", 8, 1, 32), flags=7),
            "two of a kind": self.info(self.sparse(area, next=64) + self.sparse((0x2000, 0x1000)), flags=7),
            "overlapping areas": self.info(self.sparse((0, 0x1001), (0x1000, 0x1000)), flags=7),
            "the same area twice": self.info(self.sparse(area, area), flags=7),
            "into the header": self.info(self.sparse(area), flags=7, cap_offset=8),
            "beyond the reply": self.info(self.sparse(area), flags=7, cap_offset=4000),
            "at the very end": self.info(self.sparse(area), flags=7, cap_offset=60),
            "next beyond": self.info(self.sparse(area, next=0xFFFFFFF8), flags=7),
            "no room for areas": self.info(self.sparse(area, count=2), flags=7),
            "areas without end": self.info(self.sparse(area, count=0xFFFFFFFF), flags=7),
            "two that loop": self.info(self.sparse(next=48) + self.sparse(next=32), flags=7),
        }
        for name, body in rows.items():
            with self.subTest(name):
                self.bad(body, [self.memfd(self.SIZE)])

    def test_areas_beyond(self):
        for area in ((0xF000, 0x1001), (0x10000, 1), (0, 0x10001), ((1 << 64) - 0x1000, 0x2000), (0x1000, (1 << 64) - 1)):
            with self.subTest(area=area):
                self.bad(self.info(self.sparse(area), flags=7), [self.memfd(self.SIZE)])

    def test_fds(self):
        """How many: with the reply's header, before anybody looks at them."""
        memfd = self.memfd(self.SIZE)
        for name, (flags, fds) in {"none": (7, []), "unexpected": (3, [memfd]), "two": (7, [memfd, memfd]), "16": (7, [memfd] * 16)}.items():
            with self.subTest(name):
                self.bad(self.info(flags=flags), fds, closed=True)
        with self.subTest("17"):
            self.bad(self.info(flags=7), [memfd] * 17, closed=True)

    def test_fds_that_are_no_memory(self):
        memfd, pipe, unix = self.memfd(self.SIZE), os.pipe(), socket.socket(socket.AF_UNIX)
        directory = os.open("/", os.O_RDONLY)
        for name, fd in {"pipe": pipe[0], "socket": unix.fileno(), "directory": directory, "too short": self.memfd(self.SIZE - 1)}.items():
            with self.subTest(name):
                self.bad(self.info(flags=7), [fd])
        for offset in ((1 << 64) - 1, 1 << 63, (1 << 63) - 4096, 4096):
            with self.subTest(offset=offset):
                self.bad(self.info(flags=7, offset=offset), [memfd])
        for fd in pipe + (directory,):
            os.close(fd)
        unix.close()

    def test_no_fd_stays_open(self):
        memfd = self.memfd(self.SIZE)
        lines = self.run_client(self.serve(self.info(flags=7), [memfd]), "region 4", "fds", *["region 4"] * 20, "fds")
        self.assertEqual(lines[2], lines[-1])

    def test_index_of_ours(self):
        self.assertEqual(self.run_client(self.serve(self.info()), "region 9", "reset")[1:], ["region EINVAL", "reset 0"])


class ClientMemory(ClientCase):
    """The server's DMA_READ and DMA_WRITE, during a call and between calls."""

    def ask(self, server, command, address, count, data=b"", fds=(), flags=0):
        id = server.send(command, struct.pack("=QQ", address, count) + data, fds=fds, flags=flags)
        if flags & NO_REPLY:
            return None
        reply = server.receive()
        self.assertEqual((reply.id, reply.command, reply.flags & 0xF), (id, command, TYPE_REPLY))
        return reply

    def test_during_a_call(self):
        def serve(server):
            command = server.receive()
            reply = self.ask(server, DMA_READ, 251 * 3 + 1, 8)
            self.assertEqual(reply.body, struct.pack("=QQ", 251 * 3 + 1, 8) + bytes(range(1, 9)))
            reply = self.ask(server, DMA_WRITE, 0, 4, b"\x2a123")
            self.assertEqual(reply.body, struct.pack("=QQ", 0, 4))
            server.reply(command)

        self.assertEqual(self.run_client(serve, "reset", "dispatch 10"), ["connect 0", "reset 0", "dispatch 0 memory 42"])

    def test_between_calls(self):
        def serve(server):
            self.assertEqual(len(self.ask(server, DMA_READ, 0, 65536).body), 16 + 65536)
            self.ask(server, DMA_WRITE, 0, 1, b"\x07")
            server.reply(server.receive())

        self.assertEqual(self.run_client(serve, "dispatch 300", "reset"), ["connect 0", "dispatch 0 memory 7", "reset 0"])

    def test_refused(self):
        def refused(server, code, *arguments, **how):
            reply = self.ask(server, *arguments, **how)
            self.assertEqual((reply.flags & ERROR, errno.errorcode.get(reply.error), reply.body), (ERROR, errno.errorcode[code], b""))

        def serve(server):
            command = server.receive()
            refused(server, errno.EFAULT, DMA_READ, 65536, 1)
            refused(server, errno.EFAULT, DMA_READ, (1 << 64) - 1, 2)
            refused(server, errno.EFAULT, DMA_WRITE, 65535, 2, b"xx")
            refused(server, errno.EINVAL, DMA_READ, 0, 1048577)
            refused(server, errno.EINVAL, DMA_READ, 0, (1 << 64) - 1)
            refused(server, errno.EINVAL, DMA_READ, 0, 4, b"tail")
            refused(server, errno.EINVAL, DMA_WRITE, 0, 5, b"four")
            refused(server, errno.EINVAL, DMA_WRITE, 0, (1 << 32) + 4, b"four")
            refused(server, errno.EINVAL, DMA_READ, 0, 4, fds=[0])
            refused(server, errno.ENOSYS, GET_INFO, 0, 4)
            refused(server, errno.ENOSYS, 999, 0, 4)
            for size in (0, 8, 15):
                id = server.send(DMA_READ, bytes(size))
                reply = server.receive()
                self.assertEqual((reply.id, reply.error), (id, errno.EINVAL))
            server.reply(command)

        self.assertEqual(self.run_client(serve, "fds", "reset", "fds")[2], "reset 0")

    def test_no_reply(self):
        def serve(server):
            command = server.receive()
            self.ask(server, DMA_WRITE, 0, 1, b"\x09", flags=NO_REPLY)
            self.ask(server, DMA_READ, 0, 1, flags=NO_REPLY)
            server.reply(command)

        self.assertEqual(self.run_client(serve, "reset", "dispatch 10"), ["connect 0", "reset 0", "dispatch 0 memory 9"])

    def test_busy_for_ever(self):
        """A server that asks and asks instead of answering has as much time as a silent one."""

        def serve(server):
            server.receive()
            while True:
                self.ask(server, DMA_READ, 0, 16)

        started = time.monotonic()
        self.lie("reset", lambda server: self.swallow(serve, server), "ETIMEDOUT")
        self.assertLess(time.monotonic() - started, 3)

    def swallow(self, function, server):
        try:
            function(server)
        except (AttributeError, AssertionError):
            pass  # the stream ended

    def test_asks_and_does_not_read(self):
        """Answers that nobody reads pile up to a bound, then the connection ends."""

        def serve(server):
            server.receive()
            question = HEADER.pack(1, DMA_READ, 32, 0, 0) + struct.pack("=QQ", 0, 65536)
            for _ in range(2000):
                server.send_raw(question)
            time.sleep(0.6)

        lines = self.run_client(serve, "reset", "reset")
        self.assertIn(lines[1], ("reset ECONNRESET", "reset ETIMEDOUT"))
        self.assertEqual(lines[2], "reset ENOTCONN")

    def test_error_flag_in_a_command(self):
        self.lie("reset", lambda server: server.send(DMA_READ, bytes(16), flags=ERROR))

    def test_gone_between_calls(self):
        lines = self.run_client(lambda server: server.close(), "dispatch 300", "reset")
        self.assertEqual(lines[1:], ["dispatch ECONNRESET memory 0", "reset ENOTCONN"])


class ClientAndServer(ServerCase):
    def test_everything(self):
        """The client and the server of this house."""
        steps = "info region 4 region 7 region 0 irq 0 irq 2 set-irq 2 1 set-irq 2 3 read 4 0 16384 read 4 1 16384 write 4 8192 16"
        steps += " post 4 12288 2 map-memfd 0 4096 map 0 4096 map 4096 4096 unmap 1 1 unmap 0 8192 unmap 0 8192 reset dispatch 1"
        arguments = [os.environ["PROTOCOL_CLIENT"], self.server.path, "2000"] + steps.split()
        client = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT * 2, check=False)
        self.assertEqual(
            client.stdout.splitlines(),
            [
                "connect 0",
                "info 0 flags 3 regions 9 irqs 5",
                "region 0 size 16384 rw fd no areas 0 last 0",
                "region 0 size 256 rw fd no areas 0 last 0",
                "region 0 size 0  fd no areas 0 last 0",
                "irq 0 count 1",
                "irq 0 count 3",
                "set-irq 0",
                "set-irq EINVAL",
                "read 0 first 0 last 0",
                "read EINVAL",
                "write 0",
                "post 0",
                "map-memfd 0",
                "map EEXIST",
                "map 0",
                "unmap EINVAL",
                "unmap 0",
                "unmap ENOENT",
                "reset 0",
                "dispatch 0 memory 0",
            ],
        )


tap.main()
