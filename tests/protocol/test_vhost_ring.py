# SPDX-License-Identifier: MIT
"""Rings over vhost-user: what starts and stops them, where they go on, who is told what, and kick fds of all kinds."""
import errno
import os
import struct
import time

import tap
from vhost_user import *


class Rings(ServerCase):
    def test_echo(self):
        front_end, _, ring = self.machine()
        for size in (1, 100, 0x800):
            self.assertTrue(ring.echoes(os.urandom(size)))
        self.assertGreater(signalled(ring.call), 0)
        self.assertEqual(self.server.status()["rings"], 1)
        self.assertEqual(front_end.get_base(0), 3)
        self.assertEqual(self.server.status()["rings"], 0)


tap.main()
