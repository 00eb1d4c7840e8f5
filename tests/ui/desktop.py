# SPDX-License-Identifier: MIT
"""A desktop on a machine that has none: weston with its headless backend, from the kit (tests/vm/kit.sh desktop), and Xvfb.

The kit's Mesa draws with llvmpipe and imports any dmabuf or memfd that can be mapped, so that a window's whole way to the
compositor is the real one. Programs under test find the kit's libraries by the environment: they must be those of Debian 12.
"""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

KIT = pathlib.Path(os.environ.get("VITRINE_KIT") or
                   pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "vitrine" / "kit")
TREE = KIT / "desktop"
LIBRARIES = TREE / "usr/lib/x86_64-linux-gnu"
HERE = pathlib.Path(__file__).resolve().parent
START_SECONDS = 60
END_SECONDS = 20


def sanitizer_options():
    """With what libraries leak and race, for programs that are built with a sanitizer."""
    return {variable: f"{os.environ.get(variable, '')}:suppressions={HERE / file}".lstrip(":")
            for variable, file in (("LSAN_OPTIONS", "lsan.supp"), ("TSAN_OPTIONS", "tsan.supp"))}


def missing():
    """What the kit lacks, as the reason of a skip; None when all is there."""
    if not (TREE / "usr/bin/weston").exists():
        return f"{TREE} is missing: run tests/vm/kit.sh desktop"
    return None if shutil.which("Xvfb") else "Xvfb is missing: apt-get install xvfb"


def environment(runtime_directory):
    """For programs that shall use the kit's Mesa, and for the kit's own programs. runtime_directory: private, for the sockets."""
    modules = [path for room in ("libweston-14", "weston") for path in sorted((LIBRARIES / room).glob("*.so"))]
    modules += [TREE / "usr/libexec/weston-desktop-shell"]
    return {
        **{name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")},
        **sanitizer_options(),
        "XDG_RUNTIME_DIR": str(runtime_directory),
        "LD_LIBRARY_PATH": ":".join(map(str, (LIBRARIES, LIBRARIES / "weston", LIBRARIES / "libweston-14"))),
        "__EGL_VENDOR_LIBRARY_DIRS": str(TREE / "usr/share/glvnd/egl_vendor.d"),
        "LIBGL_DRIVERS_PATH": str(LIBRARIES / "dri"),
        "GBM_BACKENDS_PATH": str(LIBRARIES / "gbm"),
        "XKB_CONFIG_ROOT": str(TREE / "usr/share/X11/xkb"),
        "WESTON_MODULE_MAP": ";".join(f"{path.name}={path}" for path in modules),
    }


class Program(contextlib.AbstractContextManager):
    """A running program of the desktop, its output in log_path."""

    def __init__(self, command, directory, env, pass_fds=()):
        self.log_path = directory / (pathlib.Path(command[0]).name + ".log")
        self.log = self.log_path.open("w", encoding="utf-8")
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env=env, pass_fds=pass_fds)

    def wait_for(self, path):
        """Until path is there; the log's text in the error when it never is."""
        deadline = time.monotonic() + START_SECONDS
        while not path.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{path} did not appear:\n{self.log_path.read_text(encoding='utf-8', errors='replace')}")
            time.sleep(0.02)

    def __exit__(self, *_exception):
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def compile_seat(directory):
    """weston_seat.c as a module of the kit's weston: not by meson, which may run where there is no kit yet."""
    module = directory / "weston_seat.so"
    include = TREE / "usr/include"
    subprocess.run([*os.environ.get("CC", "cc").split(), "-shared", "-fPIC", "-O1", "-o", module,
                    pathlib.Path(__file__).with_name("weston_seat.c"), f"-I{include}/libweston-14", f"-I{include}/pixman-1",
                    f"-I{include}"], check=True, timeout=START_SECONDS)
    return module


class Weston(Program):
    """A compositor: its clients' WAYLAND_DISPLAY is in env. It stands for the whole of a person's desktop, see act().

    shell: kiosk has each window as large as the screen, the newest above all others; desktop has several that are seen.
    """

    SOCKET = "vitrine-test"

    def __init__(self, directory, width=1280, height=800, extra=(), shell="kiosk", more_env=None):
        self.directory = pathlib.Path(directory)
        self.directory.chmod(0o700)
        self.env = {**environment(self.directory), "WAYLAND_DISPLAY": self.SOCKET}
        seat = self.directory / "seat"
        for path in (self.directory / self.SOCKET, seat):
            path.unlink(missing_ok=True)  # what one that was killed has left
        super().__init__([TREE / "usr/bin/weston", "--backend=headless", "--renderer=gl", f"--socket={self.SOCKET}",
                          "--idle-time=0", "--debug", "--no-config", f"--shell={shell}-shell.so", f"--width={width}",
                          f"--height={height}", f"--modules={compile_seat(self.directory)}", *extra],
                         self.directory, {**environment(self.directory), **(more_env or {})})
        self.wait_for(self.directory / self.SOCKET)
        self.wait_for(seat)
        self.person = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.person.connect(str(seat))

    def act(self, *what):
        """What a person does, as weston_seat.c says: act("move 100 100", "button 272 1")."""
        for one in what:
            self.person.send(one.encode())

    def __exit__(self, *exception):
        self.person.close()
        super().__exit__(*exception)

    def screenshot(self):
        """The bytes of a PNG file of what the compositor shows."""
        with tempfile.TemporaryDirectory(dir=self.directory) as place:
            subprocess.run([str(TREE / "usr/bin/weston-screenshooter")], cwd=place, env=self.env, stdin=subprocess.DEVNULL,
                           check=True, timeout=START_SECONDS, capture_output=True)
            return next(pathlib.Path(place).glob("*.png")).read_bytes()


class Xvfb(Program):
    """An X server without GL imports (no DRI3): the upload paths. It is the machine's own; DISPLAY is in its clients' env."""

    def __init__(self, directory, width=1280, height=800):
        directory = pathlib.Path(directory)
        read, write = os.pipe()
        super().__init__(["Xvfb", "-displayfd", write, "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp", "-noreset"],
                         directory, os.environ, (write,))
        os.close(write)
        with os.fdopen(read, encoding="ascii") as number:
            display = number.readline().strip()
        if not display:
            self.__exit__()
            raise RuntimeError(f"Xvfb did not start:\n{self.log_path.read_text(encoding='utf-8', errors='replace')}")
        self.env = {**environment(directory), "DISPLAY": ":" + display}
