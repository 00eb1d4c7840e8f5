# SPDX-License-Identifier: MIT
"""Features, protocol features, status and configuration space over vhost-user."""
import errno
import struct

import tap
from vhost_user import *

OFFERED = bits(MQ, REPLY_ACK, BACKEND_REQ, CONFIG, BACKEND_SEND_FD, F_RESET_DEVICE, CONFIGURE_MEM_SLOTS, STATUS, SHARED_OBJECT,
               GPA_ADDRESSES)


class Features(ServerCase):
    def test_offered(self):
        front_end = self.connect(begin=False)
        self.assertEqual(front_end.u64(GET_FEATURES) & ~bits(ACCESS_PLATFORM),
                         bits(VERSION_1, INDIRECT_DESC, EVENT_IDX, RING_RESET, F_PROTOCOL_FEATURES))
        self.assertEqual(front_end.u64(GET_PROTOCOL_FEATURES) & OFFERED, OFFERED)
        self.assertEqual(front_end.u64(GET_PROTOCOL_FEATURES) & bits(LOG_SHMFD, PAGEFAULT, INBAND_NOTIFICATIONS, XEN_MMAP), 0)
        self.assertEqual(front_end.u64(GET_QUEUE_NUM), 2)

    def test_protocol_features_before_anything_else(self):
        front_end = self.connect(begin=False)
        front_end.set_protocol_features(bits(CONFIGURE_MEM_SLOTS))
        self.assertEqual(front_end.u64(GET_MAX_MEM_SLOTS), 256)

    def test_not_offered(self):
        front_end = self.connect()
        for bit in (0, 26, 27, 34, 35, 63):
            self.refused_message(front_end, SET_FEATURES, struct.pack("=Q", bits(VERSION_1, bit)))
        for bit in (LOG_SHMFD, PAGEFAULT, 23, 63):
            self.refused_message(front_end, SET_PROTOCOL_FEATURES, struct.pack("=Q", bits(REPLY_ACK, bit)))
        self.assertTrue(front_end.alive())

    def test_not_while_rings_run(self):
        front_end, _, ring = self.machine()
        self.refused_message(front_end, SET_FEATURES, struct.pack("=Q", bits(VERSION_1)), "EBUSY")
        front_end.do(SET_FEATURES, struct.pack("=Q", front_end.FEATURES))
        self.refused_message(front_end, SET_PROTOCOL_FEATURES, struct.pack("=Q", bits(REPLY_ACK, STATUS)), "EBUSY")
        self.assertTrue(ring.echoes())

    def test_addresses_are_of_one_kind(self):
        front_end, _, ring = self.machine()
        features = struct.pack("=Q", front_end.PROTOCOL_FEATURES | bits(GPA_ADDRESSES))
        self.refused_message(front_end, SET_PROTOCOL_FEATURES, features, "EBUSY")
        self.assertTrue(ring.echoes())

    def test_status_shows_them(self):
        front_end = self.connect()
        self.assertTrue(self.server.status()["connected"])
        self.assertEqual(self.server.status()["peer_pid"], os.getpid())
        refused = self.server.status()["refused"]
        self.refused_message(front_end, SET_FEATURES, struct.pack("=Q", 1))
        self.assertEqual(self.server.status()["refused"], refused + 1)


class Acknowledgements(ServerCase):
    def test_only_when_asked(self):
        front_end = self.connect()
        front_end.send(SET_OWNER)
        front_end.send(RESET_OWNER)
        self.assertTrue(front_end.alive())

    def test_only_when_negotiated(self):
        front_end = self.connect(protocol_features=0)
        front_end.send(SET_OWNER, flags=VERSION | NEED_REPLY)
        front_end.send(SET_FEATURES, struct.pack("=Q", 1), flags=VERSION | NEED_REPLY)
        front_end.send(SET_VRING_NUM, struct.pack("=II", 9, 9), flags=VERSION | NEED_REPLY)
        self.assertTrue(front_end.alive(), "nobody was answered who did not ask")

    def test_never_twice(self):
        """A message with a reply of its own has that one, asked or not."""
        front_end = self.connect()
        for request in (GET_FEATURES, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_MAX_MEM_SLOTS):
            front_end.ask(request, flags=VERSION | NEED_REPLY)
        self.assertTrue(front_end.alive())

    def test_refusal_changes_nothing(self):
        front_end, memory, ring = self.machine()
        regions = self.server.status()["regions"]
        self.refused(errno.EEXIST, front_end.add_region, 0x8000, 0x1000, memory.fd)
        self.refused(errno.EINVAL, front_end.vring, SET_VRING_NUM, 0, 3)
        self.refused(errno.EINVAL, front_end.vring, SET_VRING_ENABLE, 0, 2)
        self.assertEqual(self.server.status()["regions"], regions)
        self.assertTrue(ring.echoes())

    def test_unknown(self):
        front_end = self.connect()
        for request in (0, 45, SET_LOG_BASE, SEND_RARP, POSTCOPY_ADVISE, VRING_KICK, SET_DEVICE_STATE_FD, 1 << 31, 0xFFFFFFFF):
            self.refused_message(front_end, request, b"", "ENOSYS")
            front_end.send(request, bytes(16))
        self.assertTrue(front_end.alive())


class NeedsItsFeature(ServerCase):
    def test_refused_without(self):
        front_end = self.connect(protocol_features=bits(REPLY_ACK))
        memory = self.memory(0x1000)
        self.refused(errno.EOPNOTSUPP, front_end.add_region, 0, 0x1000, memory.fd)
        self.refused(errno.EOPNOTSUPP, front_end.remove_region, 0, 0x1000)
        self.refused(errno.EOPNOTSUPP, front_end.set_config, 0, b"1234")
        self.refused(errno.EOPNOTSUPP, front_end.set_status, 1)
        self.refused_message(front_end, RESET_DEVICE, b"", "EOPNOTSUPP")
        self.refused(errno.EOPNOTSUPP, front_end.backend_channel)
        self.assertIsNone(front_end.get_config(0, 4))

    def test_lost_where_it_would_wait(self):
        for request in (GET_MAX_MEM_SLOTS, GET_STATUS):
            front_end = self.connect(protocol_features=bits(REPLY_ACK))
            front_end.send(request)
            self.assert_lost(front_end)


class Config(ServerCase):
    def test_all_of_it(self):
        front_end = self.connect()
        self.assertEqual(front_end.get_config(0, 16), bytes(16))
        front_end.set_config(0, bytes(range(15)))
        self.assertEqual(front_end.get_config(0, 16), bytes(range(15)) + b"\0")
        self.assertEqual(front_end.get_config(3, 2), b"\3\4")

    def test_flags_come_back(self):
        self.assertEqual(self.connect().get_config(0, 4, flags=1), bytes(4))

    def test_beyond(self):
        front_end = self.connect()
        for offset, size in ((0, 17), (16, 1), (15, 2), (0, 0), (0, 256), (0xFFFFFFFF, 1), (0xFFFFFFF0, 16)):
            self.assertIsNone(front_end.get_config(offset, size), (offset, size))
        for offset, size in ((0, 17), (16, 1), (15, 2), (0xFFFFFFFF, 1)):
            self.refused(errno.EINVAL, front_end.set_config, offset, bytes(size))
        self.assertTrue(front_end.alive())

    def test_of_a_migration(self):
        self.refused(errno.EINVAL, self.connect().set_config, 0, b"1234", flags=1)

    def test_sizes_that_disagree(self):
        for request in (GET_CONFIG, SET_CONFIG):
            for size, sent in ((4, 8), (8, 4), (0xFFFFFFFF, 4), (0, 4), (4, 0)):
                front_end = self.connect()
                front_end.send(request, struct.pack("=III", 0, size, 0) + bytes(sent))
                self.assert_lost(front_end)


class Status(ServerCase):
    PROTOCOL = FrontEnd.PROTOCOL_FEATURES | bits(STATUS)

    def machine(self, **how):
        return super().machine(protocol_features=self.PROTOCOL, **how)

    def machine_with_driver(self):
        """A front-end that tells of its driver from the beginning."""
        front_end = self.connect(protocol_features=self.PROTOCOL)
        front_end.set_status(ACKNOWLEDGE | DRIVER)
        memory = self.memory(0x10000)
        front_end.set_mem_table([front_end.region(0, 0x10000)], [memory.fd])
        ring = self.ring(front_end, memory=memory)
        ring.start()
        return front_end, memory, ring

    def test_a_status_without_a_driver(self):
        """QEMU's generic devices: FEATURES_OK, and not a word after it."""
        front_end, _, ring = self.machine()
        front_end.set_status(FEATURES_OK)
        self.assertTrue(ring.echoes())
        self.assertEqual(front_end.u64(GET_STATUS), FEATURES_OK)

    def test_driver_ok_starts(self):
        front_end, _, ring = self.machine_with_driver()
        ring.put([(0x4000, 4, False), (0x5000, 16, True)])
        ring.ring()
        self.assertTrue(ring.silent())
        front_end.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK)
        self.assertEqual(front_end.u64(GET_STATUS), 11)
        self.assertTrue(ring.silent())
        front_end.set_status(15)
        self.assertEqual(ring.wait(), 8)
        self.assertEqual(front_end.u64(GET_STATUS), 15)

    def test_features_have_to_stay(self):
        front_end = self.connect(protocol_features=self.PROTOCOL, features=bits(F_PROTOCOL_FEATURES))
        front_end.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
        self.assertEqual(front_end.u64(GET_STATUS), ACKNOWLEDGE | DRIVER)
        front_end.do(SET_FEATURES, struct.pack("=Q", front_end.FEATURES))
        front_end.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
        self.assertEqual(front_end.u64(GET_STATUS), 15)

    def test_failed_stops(self):
        front_end, _, ring = self.machine()
        front_end.set_status(15)
        self.assertTrue(ring.echoes())
        front_end.set_status(15 | FAILED)
        self.assertEqual(self.server.status()["rings"], 0)

    def test_wrong_values(self):
        self.refused(errno.EINVAL, self.connect(protocol_features=self.PROTOCOL).set_status, 256)

    def test_broken_ring_shows(self):
        front_end, memory, ring = self.machine()
        front_end.set_status(15)
        struct.pack_into("=H", memory.map, ring.base + 0x402, 500)
        ring.ring()
        self.assertEqual(signalled(ring.err), 1)
        self.assertEqual(front_end.u64(GET_STATUS), 15 | NEEDS_RESET)
        front_end.do(RESET_DEVICE)
        self.assertEqual(front_end.u64(GET_STATUS), 0)

    def test_zero_alone_is_a_pause(self):
        """What QEMU sends when its guest is paused, and when it goes on."""
        front_end, _, ring = self.machine()
        front_end.set_status(15)
        self.assertTrue(ring.echoes())
        before = self.server.status()
        base = front_end.get_base(0)
        front_end.set_status(0)
        self.assertEqual(front_end.u64(GET_STATUS), 0)
        ring.start(base=base)
        front_end.set_status(15)
        self.assertTrue(ring.echoes())
        self.assertEqual(self.server.status()["resets"], before["resets"])
        self.assertEqual(self.server.status()["drains"], before["drains"] + 1)

    def test_zero_and_another_driver(self):
        """The same as a driver's reset: it begins at 0."""
        front_end, memory, ring = self.machine()
        front_end.set_status(15)
        self.assertTrue(ring.echoes())
        before = self.server.status()["resets"]
        front_end.get_base(0)
        front_end.set_status(0)
        ring = self.ring(front_end, memory=memory)
        ring.start()
        front_end.set_status(15)
        self.assertTrue(ring.echoes())
        self.assertEqual(self.server.status()["resets"], before + 1)

    def test_zero_resets_where_nothing_else_does(self):
        front_end, memory, ring = ServerCase.machine(self, protocol_features=self.PROTOCOL & ~bits(F_RESET_DEVICE))
        front_end.set_status(15)
        self.assertTrue(ring.echoes())
        before = self.server.status()["resets"]
        front_end.set_status(0)
        self.assertEqual(self.server.status()["resets"], before + 1)
        self.assertEqual(self.server.status()["rings"], 0)


if __name__ == "__main__":
    tap.main()
