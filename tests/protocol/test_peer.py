#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vitrine-guest with somebody else's back-end: each check that applies to QEMU's vhost-user-gpu, in TAP.

    test_peer.py VITRINE_GUEST [--3d]

Each check gets a back-end of its own, since many end it. What it is known to get wrong is in FAILURES: such a check may fail, every
other has to pass. That it passes is a check of our front-end.
"""
import concurrent.futures
import contextlib
import fnmatch
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import peer  # pylint: disable=wrong-import-position

CHECK_SECONDS = 60
FAILURES = {
    "setup/offers": "it has no RING_RESET",
    "setup/refuses-*": "features that it did not offer are accepted; without VERSION_1 it ends",
    "setup/reset-forgets": "resources outlive a reset",
    "display/edid-beyond": "scanouts beyond the last have an EDID",
    "2d/create-*": "sizes: none is out of memory, too large is none",
    "2d/host-memory-limit": "there is none",
    "2d/backing-twice": "another error",
    "2d/transfer-*": "offsets are not looked at",
    "2d/set-scanout-errors": "a scanout of no size",
    "2d/picture-*": "pixels go to the VMM in the resource's format",
    "2d/window": "what is outside of the resource's upper left part is black",
    "bad-command/short-*": "another error",
    "bad-command/small-room-*": "it says that it wrote what it did not",
    "memory/unmap-*": "it ends when there are no rings",
    "bad-ring/*": "it ends, or stops, at most rings that no driver writes",
    "vhost/stop-and-start": "it ends when a ring that was stopped is kicked",
    "vhost/disabled-ring": "rings work while they are disabled",
    "vhost/no-call": "it ends when there is no call to be made",
    "vhost/*-of-no-vring": "it ends",
    "vhost/num-*": "any number of entries is taken",
    "vhost/base-beyond": "any base is taken",
    "vhost/enable-nonsense": "anything is taken",
    "vhost/memory-*": "it ends, or takes memory that cannot be",
    "vhost/unknown-request": "it ends",
    "3d-capset/index-beyond": "capsets of no size",
    "3d-capset/wrong-version": "any version is taken",
    "3d-context/ids": "nothing that virglrenderer refuses is an error to the guest",
    "3d-context/destroy-unknown": "the same",
    "3d-context/attach-*": "the same",
    "3d-context/res*": "errors are not told; contexts outlive a reset",
    "3d-resource/*": "what virglrenderer refuses counts as made; there is no limit; backing twice",
    "3d-transfer/[!1-9]*": "what virglrenderer refuses counts as done",
    "3d-transfer/3d-s*": "of several slices the first is read",
    "3d-submit/*": "errors are not told",
    "3d-fence/flush-among-them": "it ends when a 3D resource is shown of which there is no dmabuf",
    "3d-fence/on-errors": "errors are not told",
    "3d-fence/reset-with-pending": "it ends when a 3D resource is shown",
    "3d-scanout/*": "it ends when a 3D resource is shown of which there is no dmabuf, as without a GPU",
}
LIMITLESS = "3d-context/too-many"  # not run: it makes as many as it is asked for, which takes minutes


def run(program, *options, directory, virgl=False):
    """One run of the guest against a back-end of its own: exit status and standard output."""
    with contextlib.closing(peer.BackEnd(directory, virgl)) as back_end:
        command = [program, "--vhost-user", str(back_end.socket), "--display-socket", "--timeout", "5", *options]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
                                timeout=CHECK_SECONDS)
        return result.returncode, result.stdout


def check(program, name):
    virgl = name.startswith("3d-")
    with tempfile.TemporaryDirectory(prefix="vitrine-peer-") as directory:
        output = run(program, "check", "--filter", name, *(["--3d"] if virgl else []), directory=directory, virgl=virgl)[1]
    return (output.splitlines() or [f"FAIL {name}: no output"])[0]


def excuse(name):
    return next((text for pattern, text in FAILURES.items() if fnmatch.fnmatchcase(name, pattern)), None)


def main():
    program, three_d = sys.argv[1], "--3d" in sys.argv[2:]
    if peer.missing():
        print(f"1..0 # SKIP {peer.missing()}")
        return 0
    names = subprocess.run([program, "--vhost-user", "none", "check", "--list", *(["--3d"] if three_d else [])], stdout=subprocess.PIPE,
                           text=True, check=True).stdout.split()
    names = [name for name in names if name != LIMITLESS and (name.startswith("3d-") or not three_d)]
    with tempfile.TemporaryDirectory(prefix="vitrine-peer-") as directory:
        status, output = run(program, "probe", directory=directory)
    print(f"{'ok' if status == 0 and '1280x800' in output else 'not ok'} 1 probe")
    count = 1
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, line in zip(names, pool.map(lambda name: check(program, name), names)):
            if line.startswith("SKIP"):
                continue  # a feature that it does not have
            count += 1
            if line.startswith("FAIL") and excuse(name):
                print(f"ok {count} {name}: the peer's, {excuse(name)}")
            else:
                print(f"{'ok' if line.startswith('PASS') else 'not ok'} {count} {name}", *([] if line.startswith("PASS") else [f"\n# {line}"]))
    print(f"1..{count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
