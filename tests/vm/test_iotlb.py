#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The device IOTLB for real: a stock guest whose IOMMU translates, over QEMU's generic vhost-user device behind intel-iommu. Pictures
in every pixel, and what vitrinectl counts; strict and lazy invalidation, guest-physical and user addresses in the messages.
"""

import functools
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import sessions  # noqa: E402
from machine import Environment, Guest, Vitrine  # noqa: E402
from qmp import Monitor  # noqa: E402
from tap import expect  # noqa: E402

WIDTH, HEIGHT = 1280, 800
MODULES = ("virtio_gpu",)
SETTINGS = {
    "strict": {"append": "iommu.strict=1", "without": ""},
    "lazy": {"append": "iommu.strict=0", "without": "GPA_ADDRESSES"},
}


class TranslatedGuest(Guest):
    """A guest whose kernel gives every device a translated domain, and an IOMMU that tells vhost of it. ATS takes a root port."""

    def _arguments(self):
        iommu = {"intel-iommu,caching-mode=on,intremap=on": "intel-iommu,device-iotlb=on,intremap=on"}
        return [iommu.get(word, word).replace(" iommu=pt", "") for word in super()._arguments()]


def vhost_device(socket):
    return ["-chardev", f"socket,id=gpu,path={socket}", "-device", "pcie-root-port,id=downstream,chassis=1,addr=06.0",
            "-device", "vhost-user-test-device-pci,bus=downstream,chardev=gpu,virtio-id=16,num_vqs=2,vq_size=256,config_size=16,"
            "iommu_platform=on,ats=on"]


class Session(sessions.Session):
    """... behind an IOMMU."""

    settle = 30

    def __init__(self, tap, environment, name):
        super().__init__(tap, environment, name)
        self.setting = SETTINGS[name]
        env = dict(os.environ, VITRINE_VHOST_USER_WITHOUT=self.setting["without"])
        self.vitrine = Vitrine(environment.programs, self.work, size=f"{WIDTH}x{HEIGHT}", env=env, protocol="vhost-user")
        self.monitor = Monitor(self.work / "qmp.sock")
        self.guest = TranslatedGuest(environment.kit, self.work, environment.initramfs, environment.accelerator,
                                     append=self.setting["append"],
                                     extra=[*vhost_device(self.vitrine.socket), *self.monitor.arguments()])

    def stop_guest(self):
        self.monitor.close()
        super().stop_guest()

    def front_end(self):
        return self.vitrine.status()["vhost_user"]

    def iotlb(self):
        return self.front_end()["iotlb"]


def check_boot(session):
    session.guest.start()
    session.guest.wait_ready()
    session.guest.enter("guest-scanout")
    front_end = session.front_end()
    without = session.setting["without"]
    expect(("GPA_ADDRESSES" in front_end["protocol_features"]) == (without != "GPA_ADDRESSES"),
           f"protocol features are {front_end['protocol_features']}")
    expect("ACCESS_PLATFORM" in session.vitrine.status()["guest_features"], "the driver did not accept ACCESS_PLATFORM")
    counts = front_end["iotlb"]
    expect(counts, "there is no IOTLB")
    # a lazy IOMMU takes everything back at once now and then: there may be no entries at this moment
    expect(counts["misses"] and counts["updates"], f"nothing was translated: {counts}")


def check_invalidations(session):
    before = session.iotlb()
    for seed in (21, 22, 23):  # each takes the place of one that the guest gives back
        session.guest.show(f"dumb {seed}")
        session.expect_picture(seed)
    after = session.iotlb()
    expect(after["invalidations"] > before["invalidations"], f"nothing was invalidated: {before}, {after}")
    expect(after["misses"] > before["misses"], f"new pictures missed nothing: {before}, {after}")
    frame = WIDTH * HEIGHT * 4 // 4096
    expect(after["entries"] < 5 * frame, f"translations of old pictures are left: {after}")


def check_pause(session):
    """While its device is stopped QEMU tells of no invalidations: translations end there, and are asked for again."""
    session.monitor.call("stop")
    deadline = time.monotonic() + 30
    while session.front_end()["rings"]:
        expect(time.monotonic() < deadline, f"the rings still run: {session.front_end()}")
        time.sleep(0.1)
    expect(session.iotlb()["entries"] == 0, f"translations outlive the pause: {session.iotlb()}")
    session.expect_picture(23)
    session.monitor.call("cont")
    session.guest.show("redraw 24")
    session.expect_picture(24)


def check_counts(session):
    counts = session.iotlb()
    expect(counts["timeouts"] == 0, f"misses were not answered: {counts}")
    expect(counts["access_failures"] == 0, f"accesses were not permitted: {counts}")
    expect(counts["hits"] > counts["misses"], f"most look-ups miss: {counts}")
    expect(counts["pending"] == 0, f"something is still asked for: {counts}")
    session.tap.note(f"{session.name}: {counts}")


def check_waiting_is_quiet(session):
    """Nothing to do costs nothing."""
    def cpu():
        fields = pathlib.Path(f"/proc/{session.vitrine.process.pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu()
    time.sleep(2)
    spent = cpu() - before
    expect(spent < 0.5, f"vitrine used {spent:.2f} s of 2 s while nothing was shown")


def run_session(tap, environment, name):
    with Session(tap, environment, name) as session:
        with session.case("the guest's driver works behind a translating IOMMU"):
            check_boot(session)
        with session.case("a frame in RAM"):
            session.guest.show("dumb 5")
            session.expect_picture(5)
        with session.case("other pixels in the same framebuffer"):
            session.guest.show("redraw 6")
            session.expect_picture(6)
        with session.case("what the guest gives back is invalidated, and new pictures are right"):
            check_invalidations(session)
        with session.case("waiting is quiet"):
            check_waiting_is_quiet(session)
        with session.case("a pause ends translations, and the picture stays and goes on"):
            check_pause(session)
        with session.case("the counters are plausible"):
            check_counts(session)


SESSIONS = {name: functools.partial(run_session, name=name) for name in SETTINGS}


def set_up(programs, work, tap):
    return Environment(programs, work, tap, ["guest-scanout"], MODULES)


if __name__ == "__main__":
    sys.exit(sessions.main(__doc__, ("vitrine", "vitrinectl", "guest-scanout"), SESSIONS, set_up))
