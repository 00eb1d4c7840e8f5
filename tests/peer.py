# SPDX-License-Identifier: MIT
"""QEMU's vhost-user-gpu, from the kit's part "peer" (tests/vm/kit.sh peer): a back-end of somebody else's."""
import os
import pathlib
import subprocess
import time

from device import listens

START_SECONDS = 30


def _tree():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(os.environ.get("VITRINE_KIT") or os.path.join(cache, "vitrine", "kit")) / "peer"


def missing():
    """What is missing, in words, or None."""
    program = _tree() / "usr/lib/qemu/vhost-user-gpu"
    return None if program.exists() else f"{program} is missing: run tests/vm/kit.sh peer"


def _software_gl(tree):
    """Its own Mesa, and nothing of the machine's."""
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    return {**os.environ, "__EGL_VENDOR_LIBRARY_DIRS": str(tree / "usr/share/glvnd/egl_vendor.d"), "LIBGL_DRIVERS_PATH": str(libraries / "dri"),
            "GBM_BACKENDS_PATH": str(libraries / "gbm"), "GBM_ALWAYS_SOFTWARE": "1", "LP_NATIVE_VECTOR_WIDTH": "128"}


class BackEnd:
    """A running vhost-user-gpu; it serves one front-end and ends with it.

    virgl: it draws by software. It does so by GBM only, which wants a device file of some kind: it gets /dev/null for its render node, and
    Mesa, which finds no driver for that, draws by itself.
    """

    def __init__(self, directory, virgl=False):
        tree = _tree()
        self.socket = pathlib.Path(directory) / "peer.sock"
        self.log_path = pathlib.Path(directory) / "peer.log"
        command = [tree / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", tree / "usr/lib/x86_64-linux-gnu",
                   tree / "usr/lib/qemu/vhost-user-gpu", f"--socket-path={self.socket}",
                   *(["--virgl", "--render-node=/dev/null"] if virgl else [])]
        with self.log_path.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=_software_gl(tree))
        deadline = time.monotonic() + START_SECONDS
        while not listens(self.socket):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError("vhost-user-gpu did not start: " + self.log_path.read_text(encoding="utf-8", errors="replace"))
            time.sleep(0.005)

    def close(self):
        """Leaves nothing running."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
