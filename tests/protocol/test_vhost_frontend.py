# SPDX-License-Identifier: MIT
"""Our vhost-user front-end: what it sends to an honest back-end, how it answers one, and what a lying one costs."""
import os
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import tap
from vhost_user_backend import (ACCESS_FAIL, ACCESS_PLATFORM, BACKEND_CONFIG_CHANGE_MSG, BACKEND_IOTLB_MSG, BACKEND_REQ,
                                BACKEND_SHARED_OBJECT_ADD, BACKEND_SHARED_OBJECT_LOOKUP, BACKEND_SHARED_OBJECT_REMOVE,
                                BACKEND_SHMEM_MAP, BACKEND_SHMEM_UNMAP, CONFIG, CONFIGURE_MEM_SLOTS, F_RESET_DEVICE, GET_SHMEM_CONFIG,
                                GPA_ADDRESSES, INVALIDATE, LIES, MISS, REPLY_ACK, RO, RW, SHARED_OBJECT, SHM_SIZES, SHMEM, STATUS, UPDATE,
                                VERSION, VERSION_1, WO, BackEnd, bits, change, iotlb)

TIMEOUT_MS = 20000
SILENCE_MS = 1500  # when it is the time-out that is waited for
SILENT = ("silence", "drip", "ack-silence", "ask-for-ever", "ask-without-listening")
SECONDS = 120
PAGE, MIB, USER = 4096, 1 << 20, 0x7F0000000000
SHM_SIZE = SHM_SIZES[1]
EFAULT, EACCES, EEXIST, ENOENT, EINVAL, ENOSPC, ENOSYS, ENOTSUP = 14, 13, 17, 2, 22, 28, 38, 95

# What every conversation with an IOMMU begins with.
PLATFORM = (f"set-features {bits(VERSION_1, ACCESS_PLATFORM):#x}", f"add 0x100000 {MIB:#x} {USER + 0x100000:#x} 0", "set-status 15")


class FrontEndCase(unittest.TestCase):
    def start(self, without=0, lie=None, script=None):
        """A back-end in a thread; script(back_end) runs in another one when it has its channel."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "back-end.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen()
        self.back_end = BackEnd(without, lie)
        self.results = []

        def serve():
            with listener:
                self.back_end.serve(listener.accept()[0])

        def run_script():
            self.back_end.channel_given.wait(SECONDS)
            script(self)

        threads = [threading.Thread(target=serve, daemon=True)]
        if script:
            threads.append(threading.Thread(target=run_script, daemon=True))
        for thread in threads:
            thread.start()
        self.threads = threads

    def steps(self, *steps, timeout_ms=TIMEOUT_MS, without=0):
        """What our front-end says to each step."""
        arguments = [os.environ["PROTOCOL_FRONTEND"], self.path, str(timeout_ms), str(without)]
        arguments += [str(word) for step in steps for word in step.split()]
        front_end = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS, check=False)
        self.assertEqual(front_end.returncode, 0, front_end.stderr)
        for thread in self.threads:
            thread.join(SECONDS)
            self.assertFalse(thread.is_alive())
        self.stderr = front_end.stderr
        return front_end.stdout.splitlines()

    def sent(self, name):
        """Payloads and numbers of fds of all requests of this name."""
        return [(payload, fds) for request, payload, fds in self.back_end.seen if request == name]

    def wait_for(self, name, count=1):
        """In a script: until the front-end has sent so many of these."""
        deadline = time.monotonic() + SECONDS
        while len(self.sent(name)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(name)
            time.sleep(0.005)


class Honest(FrontEndCase):
    def test_beginning(self):
        self.start()
        lines = self.steps("numbers", "features")
        self.assertEqual(lines[0], "connect 0")
        self.assertEqual(lines[1], f"numbers 0 features {self.back_end.protocol_features:x} vrings 2 slots 32")
        self.assertEqual(lines[2], f"features 0 {bits(VERSION_1, ACCESS_PLATFORM, 28, 29):x}")
        names = [request for request, _, _ in self.back_end.seen]
        self.assertEqual(names, ["GET_FEATURES", "GET_PROTOCOL_FEATURES", "SET_PROTOCOL_FEATURES", "SET_OWNER", "GET_QUEUE_NUM",
                                 "GET_MAX_MEM_SLOTS", "GET_SHMEM_CONFIG", "SET_BACKEND_REQ_FD", "GET_FEATURES"])

    def test_without(self):
        """What the user does not want is not agreed on."""
        self.start()
        lines = self.steps("numbers", "get-status", "reset", "get-config 0 4", without=bits(STATUS, CONFIG, BACKEND_REQ))
        self.assertIn(f"features {self.back_end.protocol_features & ~bits(STATUS, CONFIG, BACKEND_REQ):x}", lines[1])
        self.assertEqual(lines[2:], ["get-status EOPNOTSUPP", "reset 0", "get-config EOPNOTSUPP"])
        self.assertFalse(self.sent("SET_BACKEND_REQ_FD"))

    def test_rings(self):
        """Addresses are user addresses, in the region that they are in; an address that is nowhere goes as it is."""
        self.start(without=bits(GPA_ADDRESSES))
        region = f"{USER + 0x100000:#x}"
        self.steps(f"add 0x100000 {MIB} {region} 0", "num 1 64", "base 1 5", "addr 1 0x101000 0x102000 0x700000000000", "kick 1 1", "call 1 0",
                   "err 1 1", "enable 1 1", "get-base 1")
        self.assertEqual(self.sent("SET_VRING_ADDR"), [(struct.pack("=IIQQQQ", 1, 0, USER + 0x101000, 0x700000000000, USER + 0x102000, 0), 0)])
        self.assertEqual(self.sent("SET_VRING_NUM"), [(struct.pack("=II", 1, 64), 0)])
        self.assertEqual(self.sent("SET_VRING_BASE"), [(struct.pack("=II", 1, 5), 0)])
        self.assertEqual(self.sent("SET_VRING_KICK"), [(struct.pack("=Q", 1), 1)])
        self.assertEqual(self.sent("SET_VRING_CALL"), [(struct.pack("=Q", 0x101), 0)])
        self.assertEqual(self.sent("SET_VRING_ENABLE"), [(struct.pack("=II", 1, 1), 0)])

    def test_gpa_addresses(self):
        self.start()
        self.steps(f"add 0x100000 {MIB} {USER:#x} 0", "addr 0 0x101000 0x102000 0x103000")
        self.assertEqual(self.sent("ADD_MEM_REG"), [(struct.pack("=QQQQQ", 0, 0x100000, MIB, 0x100000, 0), 1)])
        self.assertEqual(self.sent("SET_VRING_ADDR"), [(struct.pack("=IIQQQQ", 0, 0, 0x101000, 0x103000, 0x102000, 0), 0)])

    def test_platform_addresses(self):
        """With ACCESS_PLATFORM ring addresses are IOVAs: nothing is translated."""
        self.start(without=bits(GPA_ADDRESSES))
        self.steps(*PLATFORM, "addr 0 0x101000 0x102000 0x103000")
        self.assertEqual(self.sent("SET_VRING_ADDR"), [(struct.pack("=IIQQQQ", 0, 0, 0x101000, 0x103000, 0x102000, 0), 0)])

    def test_slots(self):
        self.start()
        lines = self.steps(f"add 0 {PAGE} {USER} 0", f"add {PAGE} {PAGE} {USER + PAGE} {PAGE}", f"add 4 {PAGE} 1 0", "add 0x9000 0 1 0",
                           f"remove 0 {PAGE}", f"remove 0 {PAGE}", f"remove {PAGE} 1", "fds")
        self.assertEqual(lines[1:8], ["add 0", "add 0", "add EEXIST", "add EINVAL", "remove 0", "remove ENOENT", "remove ENOENT"])
        self.assertEqual(self.sent("REM_MEM_REG"), [(struct.pack("=QQQQQ", 0, 0, PAGE, 0, 0), 0)])
        self.assertFalse(self.sent("SET_MEM_TABLE"))

    def test_slots_full(self):
        self.start()
        lines = self.steps(*(f"add {i * PAGE} {PAGE} {USER + i * PAGE} 0" for i in range(33)))
        self.assertEqual(lines[1:], ["add 0"] * 32 + ["add ENOSPC"])

    def test_table(self):
        """Without slots every change is the whole table."""
        self.start(without=bits(CONFIGURE_MEM_SLOTS, GPA_ADDRESSES))
        lines = self.steps(*(f"add {i * PAGE} {PAGE} {USER + i * PAGE} {i * PAGE}" for i in range(9)), f"remove 0 {PAGE}")
        self.assertEqual(lines[1:], ["add 0"] * 8 + ["add ENOSPC", "remove 0"])
        tables = self.sent("SET_MEM_TABLE")
        self.assertEqual([(struct.unpack_from("=I", payload)[0], len(payload), fds) for payload, fds in tables],
                         [(n, 8 + 32 * n, n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 7)])
        self.assertEqual(tables[1][0][8 + 32 :], struct.pack("=QQQQ", PAGE, PAGE, USER + PAGE, PAGE))

    def test_configuration(self):
        self.start()
        lines = self.steps("get-config 4 4", "set-config 4 0x11223344", "get-config 4 4", "get-config 14 4", "set-config 14 1", "get-config 0 257",
                           "get-config 0 0")
        self.assertEqual(lines[1:], ["get-config 0 04050607", "set-config 0", "get-config 0 44332211", "get-config EREMOTEIO",
                                     "set-config EREMOTEIO", "get-config EINVAL", "get-config EINVAL"])

    def test_status(self):
        self.start()
        lines = self.steps("set-status 15", "get-status", "reset", "get-status")
        self.assertEqual(lines[1:], ["set-status 0", "get-status 0 15", "reset 0", "get-status 0 0"])

    def test_inflight(self):
        self.start()
        lines = self.steps("get-inflight 2 64", "set-inflight", "get-inflight 0 64")
        self.assertEqual(lines[1:], ["get-inflight 0 8192@4096", "set-inflight 0", "get-inflight EINVAL"])
        self.assertEqual(self.sent("SET_INFLIGHT_FD"), [(struct.pack("=QQHH4x", 8192, 4096, 2, 64), 1)])

    def test_gpu_socket(self):
        self.start()
        self.assertEqual(self.steps("gpu-socket")[1], "gpu-socket 0")
        self.assertEqual(self.sent("GPU_SET_SOCKET"), [(b"", 1)])

    def test_no_acknowledgements(self):
        """A back-end without REPLY_ACK tells no refusals, and ACCESS_PLATFORM is out of reach."""
        self.start(without=bits(REPLY_ACK))
        lines = self.steps("set-config 14 1", "get-config 0 4", f"set-features {bits(ACCESS_PLATFORM)}", "get-base 0")
        self.assertEqual(lines[1:], ["set-config 0", "get-config 0 00010203", "set-features EOPNOTSUPP", "get-base 0 7"])


class Requests(FrontEndCase):
    """The back-end asks."""

    def run_script(self, script, *steps, **how):
        """The steps after PLATFORM, while script appends to self.results; the lines of the steps."""
        self.start(script=script, without=how.pop("missing", 0))
        return self.steps(*PLATFORM, *steps, **how)[1 + len(PLATFORM):]

    def test_miss(self):
        def script(case):
            case.wait_for("GET_STATUS")
            case.results += [case.back_end.miss(0x5000), case.back_end.miss(0x5800, RW), case.back_end.miss(0x9000)]
            case.wait_for("IOTLB_MSG", 2)

        for missing, uaddr in ((0, 0x100000), (bits(GPA_ADDRESSES), USER + 0x100000)):
            with self.subTest(gpa=not missing):
                lines = self.run_script(script, "iotlb-add 0x5000 0x2000 0x100000 1", "get-status", "dispatch 500", "counters", missing=missing)
                self.assertEqual(self.results, [0, 0, EFAULT])
                update = (iotlb(UPDATE, 0x5000, 0x2000, uaddr, RW), 0)
                self.assertEqual(self.sent("IOTLB_MSG"), [update, update])
                self.assertEqual(lines[-1], "counters 0 misses 3 updates 2 invalidations 0 failures 0 refused 1 unknown 1 config 0")

    def test_permissions(self):
        def script(case):
            case.wait_for("GET_STATUS")
            case.results += [case.back_end.miss(0x5000, RO), case.back_end.miss(0x5000, WO), case.back_end.miss(0x5000, RW)]

        self.run_script(script, f"iotlb-add 0x5000 {PAGE} 0x100000 0", "get-status", "dispatch 300")
        self.assertEqual(self.results, [0, EACCES, EACCES])
        self.assertEqual(self.sent("IOTLB_MSG"), [(iotlb(UPDATE, 0x5000, PAGE, 0x100000, RO), 0)])

    def test_entry_over_two_regions(self):
        """An update does not say more than one region holds."""

        def script(case):
            case.wait_for("GET_STATUS")
            case.results += [case.back_end.miss(0x5000), case.back_end.miss(0x6000), case.back_end.miss(0x7000)]

        self.run_script(script, f"add 0x300000 {PAGE} {USER + 0x900000} 0", f"add 0x301000 {PAGE} {USER + 0x800000} 0",
                        "iotlb-add 0x5000 0x3000 0x300000 1", "get-status", "dispatch 300", missing=bits(GPA_ADDRESSES))
        self.assertEqual(self.results, [0, 0, EFAULT])
        self.assertEqual([payload for payload, _ in self.sent("IOTLB_MSG")], [iotlb(UPDATE, 0x5000, PAGE, USER + 0x900000, RW),
                                                                             iotlb(UPDATE, 0x6000, PAGE, USER + 0x800000, RW)])

    def test_late_answer(self):
        """A miss that is held is answered when there is an entry, once."""

        def script(case):
            case.wait_for("GET_STATUS")
            case.results += [case.back_end.miss(0x5000), case.back_end.miss(0x5000), case.back_end.miss(0x8000)]

        lines = self.run_script(script, "hold 1", "get-status", "dispatch 300", f"iotlb-add 0x5000 {PAGE} 0x100000 1", "dispatch 200", "counters")
        self.assertEqual(self.results, [0, 0, 0])
        self.assertEqual(self.sent("IOTLB_MSG"), [(iotlb(UPDATE, 0x5000, PAGE, 0x100000, RW), 0)])
        self.assertTrue(lines[-1].endswith("refused 0 unknown 3 config 0"), lines[-1])

    def test_held_misses_have_a_limit(self):
        def script(case):
            case.wait_for("GET_STATUS")
            case.results += [case.back_end.miss(0x100000 + i * PAGE) for i in range(66)]

        self.run_script(script, "hold 1", "get-status", "dispatch 500")
        self.assertEqual(self.results, [0] * 64 + [ENOSPC] * 2)

    def test_invalidation(self):
        """What is taken away is gone from the table before the back-end knows; what is left of an entry is still right."""

        def script(case):
            case.wait_for("GET_STATUS")
            case.results += [case.back_end.miss(0x5000), case.back_end.miss(0x6000), case.back_end.miss(0x7000)]

        lines = self.run_script(script, "iotlb-add 0x5000 0x3000 0x100000 1", "iotlb-add 0x7000 0x1000 0x100000 1",
                                "iotlb-remove 0x6000 0x1000", "iotlb-remove 0xffffffffffffffff 2", "iotlb-remove 0 0", "get-status", "dispatch 300")
        self.assertEqual(lines[:5], ["iotlb-add 0", "iotlb-add EEXIST", "iotlb-remove 0", "iotlb-remove EINVAL", "iotlb-remove EINVAL"])
        self.assertEqual(self.results, [0, EFAULT, 0])
        self.assertEqual([payload for payload, _ in self.sent("IOTLB_MSG")],
                         [iotlb(INVALIDATE, 0x6000, 0x1000, 0, 0), iotlb(UPDATE, 0x5000, 0x1000, 0x100000, RW),
                          iotlb(UPDATE, 0x7000, 0x1000, 0x102000, RW)])

    def test_access_failure(self):
        def script(case):
            case.wait_for("GET_STATUS")
            case.results.append(case.back_end.ask(BACKEND_IOTLB_MSG, iotlb(ACCESS_FAIL, 0x5000, perm=WO)).u64())

        lines = self.run_script(script, "get-status", "dispatch 200", "counters")
        self.assertEqual(self.results, [ENOTSUP])
        self.assertIn("failures 1 refused 1", lines[-1])
        self.assertIn("failed access (write) at IOVA 0x5000", self.stderr)

    def test_wrong_iotlb_messages(self):
        def script(case):
            case.wait_for("GET_STATUS")
            for message in (iotlb(UPDATE, 0), iotlb(INVALIDATE, 0), iotlb(0, 0), iotlb(5, 0), iotlb(MISS, 0, perm=0), iotlb(MISS, 0, perm=4)):
                case.results.append(case.back_end.ask(BACKEND_IOTLB_MSG, message).u64())
            case.results.append(case.back_end.ask(200, b"unknown").u64())

        lines = self.run_script(script, "get-status", "dispatch 200", "get-status")
        self.assertEqual(self.results, [EINVAL] * 6 + [ENOSYS])
        self.assertEqual(lines[-1], "get-status 0 15")

    def test_not_before_the_start(self):
        """A device that does not run has nothing to ask, and nothing to tell."""

        def script(case):
            case.wait_for("GET_STATUS")
            case.results += [case.back_end.miss(0x5000), case.back_end.ask(BACKEND_CONFIG_CHANGE_MSG).u64()]
            case.wait_for("GET_STATUS", 2)
            case.results += [case.back_end.miss(0x5000), case.back_end.ask(BACKEND_CONFIG_CHANGE_MSG).u64()]

        lines = self.run_script(script, "set-status 0", f"iotlb-add 0x5000 {PAGE} 0x100000 1", "get-status", "dispatch 300", "counters",
                                "set-status 15", "get-status", "dispatch 300", "counters")
        self.assertEqual(self.results, [EINVAL, 0, 0, 0])
        self.assertTrue(lines[4].endswith("config 0"), lines[4])
        self.assertTrue(lines[8].endswith("config 1"), lines[8])

    def test_not_without_the_feature(self):
        def script(case):
            case.wait_for("GET_STATUS")
            case.results += [case.back_end.miss(0x5000), case.back_end.ask(BACKEND_SHARED_OBJECT_ADD, bytes(16)).u64()]

        self.start(script=script, without=bits(SHARED_OBJECT))
        self.steps(f"set-features {bits(VERSION_1)}", "set-status 15", "get-status", "dispatch 300")
        self.assertEqual(self.results, [EINVAL, EINVAL])

    def test_shared_objects(self):
        one, two, known = bytes([1] * 16), bytes([2] * 16), bytes([0x77] * 16)

        def script(case):
            ask = case.back_end.ask
            case.wait_for("GET_STATUS")
            case.results += [ask(BACKEND_SHARED_OBJECT_ADD, one).u64(), ask(BACKEND_SHARED_OBJECT_ADD, one).u64(),
                             ask(BACKEND_SHARED_OBJECT_REMOVE, two).u64()]
            for uuid in (one, two, known):
                reply = ask(BACKEND_SHARED_OBJECT_LOOKUP, uuid, flags=VERSION)
                case.results.append((reply.u64(), len(reply.fds)))
                for fd in reply.fds:
                    os.close(fd)

        lines = self.run_script(script, "get-status", "dispatch 400", "object 1", "object 2", "fds")
        self.assertEqual(self.results, [0, EEXIST, ENOENT, (ENOENT, 0), (ENOENT, 0), (0, 1)])
        self.assertEqual(lines[2:4], ["object 0", "object ENOENT"])

    def test_shared_objects_have_a_limit(self):
        def script(case):
            case.wait_for("GET_STATUS")
            case.results += [case.back_end.ask(BACKEND_SHARED_OBJECT_ADD, struct.pack("=QQ", 9, i)).u64() for i in range(257)]

        self.run_script(script, "get-status", "dispatch 600")
        self.assertEqual(self.results, [0] * 256 + [ENOSPC])

    def test_shared_memory(self):
        def script(case):
            back_end, memory = case.back_end, case.memfd(b"inside", PAGE * 3)
            case.wait_for("GET_STATUS")
            case.results += [back_end.shmem(BACKEND_SHMEM_MAP, PAGE, PAGE * 2, [memory], fd_offset=0),
                             back_end.shmem(BACKEND_SHMEM_MAP, SHM_SIZE - PAGE, PAGE, [memory], fd_offset=PAGE),
                             back_end.shmem(BACKEND_SHMEM_MAP, 0, PAGE, [memory], shmid=7, flags=0)]
            case.wait_for("GET_STATUS", 2)
            case.results += [os.pread(memory, 7, PAGE), back_end.shmem(BACKEND_SHMEM_UNMAP, PAGE, PAGE * 2)]

        lines = self.run_script(script, "get-status", "dispatch 400", f"shm 1 {PAGE} 0", f"shm-write 1 {SHM_SIZE - PAGE}", "mappings", "get-status",
                                "dispatch 400", f"shm 1 {PAGE} {SHM_SIZE - PAGE}", "shm 7 0 8192", "shm 2 0 0", "mappings", "fds")
        self.assertEqual(self.results, [0, 0, 0, b"touched", 0])
        self.assertEqual(lines[2], f"shm 0 {SHM_SIZE} inside -")
        self.assertEqual(lines[4], "mappings 0 3 refused 0")
        self.assertEqual(lines[7:10], [f"shm 0 {SHM_SIZE} - touche", "shm 0 65536 inside -", "shm ENOENT 0"])
        self.assertEqual(lines[10], "mappings 0 2 refused 0")

    def memfd(self, data, size):
        fd = os.memfd_create("shared", os.MFD_CLOEXEC)
        self.addCleanup(os.close, fd)
        os.write(fd, data)
        os.ftruncate(fd, size)
        return fd

    def test_shared_memory_refused(self):
        """Each is wrong in one way."""
        read_only = os.open("/proc/self/exe", os.O_RDONLY)
        self.addCleanup(os.close, read_only)
        mappings = [  # offset, size, fd, and what else
            (0, PAGE, "memory", {"shmid": 0}, EINVAL), (0, PAGE, "memory", {"shmid": 255}, EINVAL),
            (1, PAGE, "memory", {}, EINVAL), (0, PAGE - 1, "memory", {}, EINVAL), (0, 0, "memory", {}, EINVAL),
            (0, PAGE, "memory", {"fd_offset": 1}, EINVAL), (0, PAGE, "memory", {"flags": 2}, EINVAL),
            (SHM_SIZE, PAGE, "memory", {}, EINVAL), (SHM_SIZE - PAGE, PAGE * 2, "memory", {}, EINVAL),
            (2**64 - PAGE, PAGE * 2, "memory", {}, EINVAL), (PAGE, 2**64 - PAGE, "memory", {}, EINVAL),
            (0, PAGE, "memory", {"fd_offset": 4 * PAGE}, EINVAL), (0, PAGE, "memory", {"fd_offset": 2**64 - PAGE}, EINVAL),
            (0, 5 * PAGE, "memory", {}, EINVAL), (0, PAGE, "read-only", {}, EACCES),
            (0, PAGE, "folder", {}, EINVAL), (0, PAGE, "pipe", {}, EINVAL), (0, PAGE, "zero", {}, EINVAL),
            (PAGE * 8, PAGE, "memory", {}, 0), (PAGE * 8, PAGE, "memory", {}, EEXIST), (PAGE * 7, PAGE * 2, "memory", {}, EEXIST),
        ]
        unmappings = [(PAGE * 8, PAGE * 2, {}, ENOENT), (PAGE * 7, PAGE, {}, ENOENT), (PAGE * 8, PAGE, {"shmid": 7}, ENOENT),
                      (PAGE * 8, PAGE, {"shmid": 2}, EINVAL), (PAGE * 8, 0, {}, EINVAL), (PAGE * 8, PAGE, {}, 0), (PAGE * 8, PAGE, {}, ENOENT)]

        def script(case):
            fds = {"memory": case.memfd(b"", PAGE * 4), "read-only": read_only, "folder": os.open("/", os.O_RDONLY), "pipe": os.pipe()[1],
                   "zero": os.open("/dev/zero", os.O_RDWR)}
            case.wait_for("GET_STATUS")
            for offset, size, fd, how, _ in mappings:
                case.results.append(case.back_end.shmem(BACKEND_SHMEM_MAP, offset, size, [fds[fd]], **how))
            for offset, size, how, _ in unmappings:
                case.results.append(case.back_end.shmem(BACKEND_SHMEM_UNMAP, offset, size, **how))

        lines = self.run_script(script, "get-status", "dispatch 600", "shm 1 0 0", "mappings")
        self.assertEqual(self.results, [error for *_, error in mappings] + [error for *_, error in unmappings])
        self.assertEqual(lines[2], f"shm 0 {SHM_SIZE} - -")
        self.assertEqual(lines[3], f"mappings 0 0 refused {len(self.results) - 2}")

    def test_shared_memory_that_shrinks(self):
        """A file that is cut off under its mapping reads as zeros."""

        def script(case):
            memory = case.memfd(b"inside", PAGE * 2)
            case.wait_for("GET_STATUS")
            case.results.append(case.back_end.shmem(BACKEND_SHMEM_MAP, 0, PAGE * 2, [memory]))
            os.ftruncate(memory, 0)
            case.results.append(case.back_end.shmem(BACKEND_SHMEM_MAP, PAGE * 4, PAGE, [case.memfd(b"other", PAGE)]))

        lines = self.run_script(script, "get-status", "dispatch 400", f"shm 1 {PAGE} {PAGE * 4}", "shm 1 0 0")
        self.assertEqual(self.results, [0, 0])
        self.assertEqual(lines[2:], [f"shm 0 {SHM_SIZE} - other", f"shm 0 {SHM_SIZE} - -"])

    def test_shared_memory_and_reset(self):
        def script(case):
            memory = case.memfd(b"inside", PAGE)
            case.wait_for("GET_STATUS")
            case.results += [case.back_end.shmem(BACKEND_SHMEM_MAP, i * PAGE, PAGE, [memory]) for i in range(256)]

        lines = self.run_script(script, "get-status", "dispatch 900", "mappings", "reset", "mappings", "shm 1 0 4096", "fds")
        self.assertEqual(self.results, [0] * 256)
        self.assertEqual(lines[2], "mappings 0 256 refused 0")
        self.assertEqual(lines[4], "mappings 0 0 refused 0")
        self.assertEqual(lines[5], f"shm 0 {SHM_SIZE} - -")

    def test_a_pause_is_no_reset(self):
        """With RESET_DEVICE a status of 0 may be for a guest that is paused; without, it is the reset."""
        for without, mappings in ((0, 1), (bits(F_RESET_DEVICE), 0)):
            with self.subTest(without=without):
                def script(case):
                    case.wait_for("GET_STATUS")
                    case.results.append(case.back_end.shmem(BACKEND_SHMEM_MAP, 0, PAGE, [case.memfd(b"inside", PAGE)]))

                self.start(script=script, without=without)
                lines = self.steps(f"set-features {bits(VERSION_1)}", "set-status 15", "get-status", "dispatch 300", "set-status 0", "mappings")
                self.assertEqual(self.results, [0])
                self.assertEqual(lines[-1], f"mappings 0 {mappings} refused 0")

    def test_no_shared_memory(self):
        """Not offered, or larger than anybody's address space."""
        self.start(without=bits(SHMEM))
        self.assertEqual(self.steps("shm 1 0 0")[1], "shm ENOENT 0")
        self.assertFalse(self.sent("GET_SHMEM_CONFIG"))
        self.start()
        self.back_end.lie = change(GET_SHMEM_CONFIG, patch=[(20, 0x1000)])
        self.assertEqual(self.steps("shm 1 0 0", "shm 7 0 0")[1:], ["shm ENOENT 0", "shm ENOENT 0"])
        self.assertIn("larger than 1024 GiB", self.stderr)

    def test_misses_during_a_call(self):
        """The back-end asks before it answers, and gets its answers in between."""

        def ask_first(back_end, connection, message, payload, fds):
            for i in range(200):
                self.results.append(back_end.miss(0x5000 + i))
            connection.send(message.request, payload, flags=VERSION | 4)

        self.start()
        self.back_end.lie = type("Lie", (), {"request": 40, "tell": staticmethod(ask_first)})()  # GET_STATUS
        lines = self.steps(*PLATFORM, f"iotlb-add 0x5000 {PAGE} 0x100000 1", "get-status", "set-status 15", "counters", "get-base 0")
        self.assertEqual(self.results, [0] * 200)
        self.assertEqual(lines[-4:], ["get-status 0 15", "set-status 0",
                                      "counters 0 misses 200 updates 200 invalidations 0 failures 0 refused 0 unknown 0 config 0", "get-base 0 7"])


class Lying(FrontEndCase):
    STEPS = ("set-status 15", "features", "get-status", "get-config 0 4", "get-base 0", "get-inflight 2 64")
    OPEN_FDS = 8  # at most: the three standard ones, two of memory, what the counting takes; none of a connection

    def lie(self, name):
        silent = name in SILENT

        def announce(case):
            if name.startswith("object"):
                case.back_end.ask(BACKEND_SHARED_OBJECT_ADD, bytes([1] * 16))

        self.start(lie=name, script=announce if name.startswith("object") else None)
        steps = (*PLATFORM, f"iotlb-add 0 {PAGE * 2} 0x100000 1") if name.startswith(("object", "ask")) else ()
        steps += ("dispatch 500", "object 1") if name.startswith("object") else ()
        started = time.monotonic()
        lines = self.steps(*steps, *self.STEPS, "fds", timeout_ms=SILENCE_MS if silent else TIMEOUT_MS)
        self.assertLess(time.monotonic() - started, 15 if not silent else SILENCE_MS / 1000 + 15, "it waits too long")
        if lines[0] != "connect 0":
            self.assertEqual(lines, ["connect EPROTO"])
            return
        errors = [line.split()[1] for line in lines]
        failed = next((i for i, error in enumerate(errors) if error != "0"), None)
        self.assertIsNotNone(failed, f"the lie was believed: {lines}")
        self.assertIn(errors[failed], {"ETIMEDOUT"} if silent else {"ECONNRESET"} if name.startswith("death") else {"EPROTO"}, lines)
        self.assertEqual(set(errors[failed + 1 : -1]) - {"ENOTCONN"}, set(), lines)
        self.assertLessEqual(int(lines[-1].split()[-1]), self.OPEN_FDS, lines)


def add_lies():
    for name in LIES:
        def test(self, name=name):
            self.lie(name)
        setattr(Lying, f"test_{name.replace('-', '_')}", test)


add_lies()

if __name__ == "__main__":
    tap.main()
