# SPDX-License-Identifier: MIT
"""An X desktop with a window manager, and what a person does there: by xdotool, looked at by xwd."""
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "vm"))
import desktop  # noqa: E402  pylint: disable=wrong-import-position
from picture import Image  # noqa: E402  pylint: disable=wrong-import-position

PATIENCE = 60
TOOLS = {"Xvfb": "xvfb", "openbox": "openbox", "xdotool": "xdotool", "xwd": "x11-apps", "xprop": "x11-utils"}


def missing():
    """What the machine lacks, as the reason of a skip; None when all is there."""
    packages = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    return f"apt-get install {' '.join(packages)}" if packages else None


def until(condition, what):
    """Waits until condition() is true and returns what it gave; what: for the message, a text or a function."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {PATIENCE} s: {what() if callable(what) else what}")
        time.sleep(0.03)
    return result


def parse_xwd(data):
    """A picture of X's window dump (X11/XWDFile.h). Pixels have four bytes, or three where windows of several visuals overlap."""
    fields = struct.unpack(">25I", data[:100])
    header, width, height, order, bits, stride, colors = (fields[i] for i in (0, 4, 5, 7, 11, 12, 19))
    if bits not in (24, 32):
        raise ValueError(f"a window dump of {bits} bits per pixel")
    at, size = header + 12 * colors, bits // 8
    rgb = bytearray(width * height * 3)
    for y in range(height):
        row = data[at + y * stride:at + y * stride + width * size]
        for channel in range(3):  # blue is first, or last and padding before red
            rgb[y * width * 3 + channel:(y + 1) * width * 3:3] = row[(size - 3 + channel if order else 2 - channel)::size]
    return Image(width, height, bytes(rgb))


# Of the window manager's own keys only the one that closes a window.
MANAGER_SETTINGS = """<?xml version="1.0"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <desktops><number>1</number></desktops>
  <keyboard><keybind key="A-F4"><action name="Close"/></keybind></keyboard>
</openbox_config>
"""


class Desktop:
    """Xvfb with openbox: moves, resizes, iconifies and closes windows as a person's desktop does."""

    def __init__(self, directory, width=1400, height=1000):
        self.server = desktop.Xvfb(directory, width, height)
        self.width, self.height = width, height
        self.env = self.server.env
        # the machine's own tools, with its own libraries
        self.tool_env = {name: value for name, value in self.env.items() if name != "LD_LIBRARY_PATH"}
        settings = directory / "openbox.xml"
        settings.write_text(MANAGER_SETTINGS, encoding="ascii")
        try:
            self.manager = desktop.Program(["openbox", "--sm-disable", "--config-file", settings], directory, self.tool_env)
            until(lambda: "window id" in self.run("xprop", "-root", "_NET_SUPPORTING_WM_CHECK"), "openbox runs")
        except BaseException:
            self.server.__exit__()
            raise

    def close(self):
        self.manager.__exit__()
        self.server.__exit__()

    def run(self, *command):
        return subprocess.run(list(map(str, command)), env=self.tool_env, capture_output=True, text=True, timeout=PATIENCE, check=False).stdout

    def xdotool(self, *command):
        result = subprocess.run(["xdotool", *map(str, command)], env=self.tool_env, capture_output=True, text=True, timeout=PATIENCE,
                                check=False)
        if result.returncode:
            raise AssertionError(f"xdotool {' '.join(map(str, command))}: {result.stderr}")
        return result.stdout

    def windows(self, pattern):
        """Those on the screen whose titles match."""
        return [Window(self, number) for number in self.run("xdotool", "search", "--onlyvisible", "--name", pattern).split()]

    def window(self, pattern):
        """The one whose title matches, once it is there."""
        return until(lambda: self.windows(pattern), f"a window '{pattern}'")[0]


class Window:
    """A window by its X number."""

    def __init__(self, owner, number):
        self.desktop, self.number = owner, number

    def do(self, action, *arguments):
        """xdotool ACTION WINDOW ARGUMENT..."""
        self.desktop.xdotool(action, self.number, *arguments)

    def focus(self):
        self.do("windowactivate")
        until(lambda: self.desktop.run("xdotool", "getwindowfocus").strip() == self.number, "the window has the focus")

    def title(self):
        return self.desktop.run("xdotool", "getwindowname", self.number).strip()

    def icon(self):
        """(width, height, its pixels as ARGB); None when it has none."""
        text = self.desktop.run("xprop", "-id", self.number, "-notype", "32c", "_NET_WM_ICON").partition("=")[2]
        numbers = [int(number) & 0xffffffff for number in re.findall(r"-?\d+", text)]
        return (numbers[0], numbers[1], numbers[2:]) if numbers else None

    def _geometry(self, *names):
        lines = dict(line.split("=", 1) for line in self.desktop.run("xdotool", "getwindowgeometry", "--shell", self.number).split())
        return tuple(int(lines[name]) for name in names)

    def size(self):
        return self._geometry("WIDTH", "HEIGHT")

    def position(self):
        """Of its upper left pixel on the screen."""
        lines = self.desktop.run("xwininfo", "-id", self.number)
        return tuple(int(re.search(rf"Absolute upper-left {axis}: +(-?\d+)", lines)[1]) for axis in "XY")

    def pixels(self):
        """What X shows in it; None when it is not on the screen."""
        result = subprocess.run(["xwd", "-silent", "-id", self.number], env=self.desktop.tool_env, capture_output=True, timeout=PATIENCE,
                                check=False)
        return parse_xwd(result.stdout) if result.returncode == 0 and result.stdout else None

    def wait_pixels(self, expected):
        """Until the window shows exactly this picture."""
        seen = None

        def equal():
            nonlocal seen
            seen = self.pixels()
            return seen and (seen.width, seen.height) == (expected.width, expected.height) and seen.rgb == expected.rgb

        until(equal, lambda: describe(seen, expected))


def describe(seen, expected):
    if not seen or (seen.width, seen.height) != (expected.width, expected.height):
        return f"the window is {seen and (seen.width, seen.height)}, not {expected.width}x{expected.height}"
    wrong = [at // 3 for at in range(0, len(seen.rgb), 3) if seen.rgb[at:at + 3] != expected.rgb[at:at + 3]]
    if not wrong:
        return "equal, but too late"
    x, y = wrong[0] % seen.width, wrong[0] // seen.width
    return f"{len(wrong)} pixels differ, the first at {x},{y}: {seen.pixel(x, y):06x}, not {expected.pixel(x, y):06x}"
