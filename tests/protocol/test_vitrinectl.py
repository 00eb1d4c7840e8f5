#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vitrinectl as its users see it: exit status, what it prints, the files it writes. The guest is vitrine-guest's demo.

    test_vitrinectl.py VITRINE VITRINECTL VITRINE_GUEST
"""
import contextlib
import json
import os
import pathlib
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "vm")]
import picture  # noqa: E402  pylint: disable=wrong-import-position
from device import listens  # noqa: E402  pylint: disable=wrong-import-position
from tap import Tap, expect  # noqa: E402  pylint: disable=wrong-import-position
from vfio_user import Client  # noqa: E402  pylint: disable=wrong-import-position

WIDTH, HEIGHT = 160, 120
PATIENCE = 30

WRONG_USAGE = (
    (),
    ("explode",),
    ("screenshot",),
    ("screenshot", "a.png", "b.png"),
    ("status", "extra"),
    ("status", "--frames", "1"),
    ("quit", "--cursor"),
    ("wait",),
    ("wait", "--frames", "1", "--image", "a.png"),
    ("wait", "--frames", "1", "--save", "a.png"),
    ("wait", "--frames", "-1"),
    ("wait", "--frames", "1x"),
    ("wait", "--image", "a.png", "--tolerance", "256"),
    ("wait", "--image", "a.png", "--still", "1"),
    ("wait", "--still", "1", "--anywhere"),
    ("wait", "--frames", "1", "--region", "1x1+0+0"),
    ("wait", "--image", "a.png", "--region", "10x10"),
    ("wait", "--image", "a.png", "--region", "0x10+0+0"),
    ("wait", "--image", "a.png", "--region", "10x10+-1+0"),
    ("wait", "--image", "a.png", "--region", "10x10+1+0 "),
    ("wait", "--image", "a.png", "--differ", "101%"),
    ("wait", "--image", "a.png", "--differ", "%"),
    ("status", "--region", "1x1+0+0"),
    ("wait", "--frames", "1", "--timeout", "soon"),
    ("wait", "--frames", "1", "--timeout", "nan"),
    ("wait", "--frames"),
    ("assign",),
    ("assign", "pid=1", "pid=2"),
    ("assign", "--fd", "3", "pid=1"),
    ("assign", "--fd", "3", "--remove", "0000:01:00.0"),
    ("assign", "--fd", "x"),
    ("assign", "--fd", "-1"),
    ("assign", "--remove", ""),
    ("status", "--fd", "3"),
    ("wait", "--frames", "1", "--remove", "x"),
    ("key",),
    ("type",),
    ("pointer",),
    ("pointer", "--output", "first", "1,1"),
    ("key", "--output", "1", "a"),
    ("type", "--press", "a"),
    ("key", "--interval", "-1", "a"),
    ("--nonsense", "status"),
    ("help",),
    ("output",),
    ("output", "explode"),
    ("output-list",),
    ("output", "list", "all"),
    ("output", "list", "--display", "headless"),
    ("output", "add", "1x1", "2x2"),
    ("output", "remove"),
    ("output", "resize", "0"),
    ("output", "move", "0"),
)


class Device:
    """A running vitrine with two outputs, vitrinectl to ask it, and a guest that comes and goes."""

    def __init__(self, arguments, work):
        self.vitrine, self.ctl, self.guest = arguments
        self.work = work
        self.control, self.socket = work / "vitrine.sock", work / "gpu.sock"
        self.log = (work / "vitrine.log").open("wb")
        self.process = self.player = None

    def start(self):
        self.process = subprocess.Popen(
            [self.vitrine, "--vfio-user", self.socket, "--control", self.control, "--output", f"{WIDTH}x{HEIGHT}@100",
             "--output", "64x48,name=second", "--max-outputs", "3"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + PATIENCE
        while not listens(self.control):
            expect(time.monotonic() < deadline and self.process.poll() is None, "vitrine did not start")
            time.sleep(0.02)

    def run(self, *arguments, control=True, **environment):
        command = [self.ctl, *(["--control", self.control] if control else []), *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE, check=False,
                              env={**os.environ, **environment})

    def expect(self, status, *arguments, say=""):
        """Runs vitrinectl; it must end with this status and say this on standard error (or nothing, when all is well)."""
        answer = self.run(*arguments)
        expect(answer.returncode == status, f"{arguments}: status {answer.returncode}, not {status}: {answer.stderr}")
        expect(say in answer.stderr, f"{arguments}: {say!r} is not in {answer.stderr!r}")
        expect(say or status or not answer.stderr, f"{arguments}: it complains: {answer.stderr!r}")
        return answer.stdout

    def scanout(self, number=0):
        return json.loads(self.expect(0, "--json", "status"))["scanouts"][number]

    def play(self, frames):
        """A guest that shows so many frames of the moving picture and leaves the last."""
        self.leave()
        self.player = subprocess.Popen([self.guest, "--vfio-user", self.socket, "demo", "--frames", str(frames), "--keep"],
                                       stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)

    @contextlib.contextmanager
    def playing(self):
        """A guest whose picture moves for as long as the block takes."""
        self.play(1000000)
        try:
            yield
        finally:
            self.player.terminate()
            self.leave()

    def leave(self):
        if self.player:
            with contextlib.suppress(OSError):
                self.player.stdin.close()
            self.player.wait(PATIENCE)
            self.player = None

    def stop(self):
        self.leave()
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def off_by(image, amount, places):
    """A copy in which the channels of these pixels are off."""
    rgb = bytearray(image.rgb)
    for x, y in places:
        at = (y * image.width + x) * 3
        for channel in range(3):
            value = rgb[at + channel]
            rgb[at + channel] = value + amount if value + amount < 256 else value - amount
    return picture.Image(image.width, image.height, bytes(rgb))


def test_command_line(tap, device):
    for arguments in WRONG_USAGE:
        with tap.case(f"wrong usage: {' '.join(arguments) or 'nothing'}"):
            device.expect(2, *arguments, say="vitrinectl --help")
    with tap.case("--help and --version"):
        text = device.expect(0, "--help")
        for command in ("status", "screenshot", "wait", "assign", "output list", "output add", "output move", "quit"):
            expect(f"\n  {command}" in text, f"{command} is not in the help")
        expect(device.expect(0, "--version").startswith("vitrinectl "), "no version")


def test_no_device(tap, device):
    with tap.case("no device listens"):
        device.expect(1, "status", say=f"no vitrine listens on {device.control}")
        (device.work / "stale").write_text("")
        answer = device.run("--control", device.work / "stale", "status")
        expect(answer.returncode == 1 and str(device.work / "stale") in answer.stderr, answer.stderr)
    with tap.case("the control socket that is used without --control"):
        answer = device.run("status", control=False, XDG_RUNTIME_DIR="/nonexistent")
        expect(answer.returncode == 1 and "/nonexistent/vitrine.sock" in answer.stderr, answer.stderr)


def test_nothing_shown(tap, device):
    work = device.work
    with tap.case("status without a guest"):
        text = device.expect(0, "status")
        expect("the guest shows nothing here" in text and "not connected" in text, text)
        expect("second" in text and "\033" not in text, text)
        answer = device.run("status", control=False, XDG_RUNTIME_DIR=str(work))
        expect(answer.returncode == 0, "the standard place of the socket is not used")
        status = json.loads(device.expect(0, "status", "--json"))
        expect([one["name"] for one in status["scanouts"]] == ["vitrine-0", "second", "vitrine-2"], status["scanouts"])
        expect([one["output"]["connected"] for one in status["scanouts"]] == [True, True, False], status["scanouts"])
        expect("vitrine-2" not in text, f"a free place is shown: {text}")
        expect(status["scanouts"][0]["format"] is None and not status["scanouts"][0]["enabled"], status["scanouts"][0])
    with tap.case("a screenshot without a guest is black"):
        device.expect(0, "screenshot", "--scanout", "1", work / "black.png", say="the guest shows nothing on scanout 1")
        image = picture.read_png(work / "black.png")
        expect((image.width, image.height) == (64, 48) and not any(image.rgb), "it is not black")
        device.expect(0, "wait", "--scanout", "1", "--image", work / "black.png")
    with tap.case("what cannot be done"):
        device.expect(1, "screenshot", "--scanout", "2", work / "none.png", say="not connected")
        device.expect(1, "screenshot", "--scanout", "3", work / "none.png", say="there is no scanout 3")
        device.expect(1, "screenshot", "--scanout", "99", work / "none.png", say="scanout is a number")
        device.expect(1, "wait", "--frames", "1", "--timeout", "0.1", say="the guest shows nothing on scanout 0")
        expect(not (work / "none.png").exists(), "a file was written")
        answer = device.run("--json", "wait", "--frames", "1", "--timeout", "0.1")
        expect(answer.returncode == 1 and json.loads(answer.stdout)["code"] == "timeout", answer.stdout)


ASSIGN_REFUSED = (
    (("--fd", "200"), "fd 200 is not open"),
    (("--fd", "0"), "fd 0 is no VFIO device"),
    (("pid=0",), "names no device"),
    (("pid=4194304",), "there is no process 4194304"),
    (("pid=1,device=1",), "names no device"),
    (("bdf=ffff:ff:1f.7",), "there is no PCI device ffff:ff:1f.7"),
    (("bdf=1",), "names no device"),
    (("fd=",), "names no device"),
    (("gpu",), "names no device"),
    (("--remove", "0000:01:00.0"), "no device '0000:01:00.0' is assigned"),
    (("--remove", "x" * 64), "remove is text"),
)


def test_assign(tap, device):
    for arguments, words in ASSIGN_REFUSED:
        with tap.case(f"assign refuses {' '.join(arguments)[:40]}"):
            device.expect(1, "assign", *arguments, say=words)
    with tap.case("assign from a process without devices"):
        device.expect(1, "assign", f"pid={device.process.pid}", "--timeout", "0.3", say="holds no VFIO device")
    with tap.case("assign from a process that does not let us: the missing right is named"):
        # root is not enough without the capability; anybody else may not look into process 1
        drop = ["setpriv", "--bounding-set=-sys_ptrace"] if os.geteuid() == 0 else []
        command = [*drop, device.ctl, "--control", str(device.control), "assign", f"pid={device.process.pid if drop else 1}"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        expect(answer.returncode == 1 and "CAP_SYS_PTRACE" in answer.stderr, answer.stderr)
    with tap.case("an fd that is no device is closed"):
        expect(not assigned_fds(device), "a descriptor is left")
        for count in (1, 2, 5):
            with open("/dev/null", "rb") as file, socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(device.control))
                socket.send_fds(connection, [b'{"command":"assign"}\n'], [file.fileno()] * count)
                reply = json.loads(connection.recv(65536))
                words = "no VFIO device" if count == 1 else "one file descriptor"
                expect(not reply["ok"] and words in reply["error"], reply)
        expect(not assigned_fds(device), "a descriptor is left")
        expect(json.loads(device.expect(0, "--json", "status"))["assigned"] == [], "something was assigned")


def assigned_fds(device):
    """What of /dev/null the device holds besides its standard input."""
    folder = pathlib.Path(f"/proc/{device.process.pid}/fd")
    found = []
    for fd in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed while we look
            if fd.name != "0" and os.readlink(fd) == "/dev/null":
                found.append(fd.name)
    return found


def test_pictures(tap, device):
    work = device.work
    with tap.case("wait for frames"):
        device.play(40)
        device.expect(0, "wait", "--frames", "40")
        scanout = device.scanout()
        expect(scanout["frames"] >= 40 and scanout["enabled"], scanout)
        expect((scanout["width"], scanout["height"], scanout["format"]) == (WIDTH, HEIGHT, "XR24"), scanout)
        expect(scanout["resource"] > 0 and scanout["path"] != "none", scanout)
        device.expect(1, "wait", "--frames", "1000000", "--timeout", "0.1", say=" of 1000000 frames within 0.1 s")
    with tap.case("a screenshot is what is shown, in every pixel"):
        device.expect(0, "screenshot", work / "shown.png")
        wrong = picture.difference(picture.read_png(work / "shown.png"), picture.moving(WIDTH, HEIGHT, 39))
        expect(not wrong, wrong)
    with tap.case("a screenshot that cannot be written"):
        device.expect(1, "screenshot", work / "no-directory" / "shown.png", say="no-directory")
    with tap.case("status as people read it"):
        text = device.expect(0, "status")
        expect(f"{WIDTH}x{HEIGHT} XR24" in text and "flush to presented" in text and "RESOURCE_BLOB" in text, text)
    with tap.case("colours on a terminal that wants them"):
        expect("\033[1m" in on_terminal(device), "no colours")
        expect("\033" not in on_terminal(device, NO_COLOR="1"), "colours in spite of NO_COLOR")


def test_killed(tap, device):
    """The picture of a VMM that is gone, and of the next one."""
    work = device.work
    shown = picture.moving(WIDTH, HEIGHT, 39)
    with tap.case("a VMM that is killed leaves its last picture, and nothing else"):
        device.player.kill()
        device.leave()
        deadline = time.monotonic() + PATIENCE
        while (status := json.loads(device.expect(0, "status", "--json")))["vfio_user"]["connected"]:
            expect(time.monotonic() < deadline, "it is still connected")
            time.sleep(0.02)
        scanout = status["scanouts"][0]
        expect(scanout["enabled"] and scanout["frozen"] and scanout["revoked"] and scanout["path"] == "none", scanout)
        left = {key: status[key] for key in ("memory_regions", "mem_entries", "hostmem", "guest_features")}
        expect(not any(left.values()), left)
        for number in range(2):
            device.expect(0, "screenshot", work / "left.png")
            wrong = picture.difference(picture.read_png(work / "left.png"), shown)
            expect(not wrong, wrong)
        text = device.expect(0, "status")
        expect("its VMM is gone, the last picture stays" in text and "not connected" in text, text)
    with tap.case("it goes with its output to another display"):
        device.expect(0, "output", "move", "0", "headless")
        device.expect(0, "screenshot", work / "moved.png")
        expect(not picture.difference(picture.read_png(work / "moved.png"), shown), "it is another one")
    with tap.case("the next VMM begins with a black screen"):
        with socket.socket(socket.AF_UNIX) as nobody:
            nobody.connect(str(device.socket))
        device.expect(0, "wait", "--image", work / "left.png")
        with Client(str(device.socket)):
            device.expect(0, "screenshot", work / "black.png", say="the guest shows nothing on scanout 0")
            expect(not any(picture.read_png(work / "black.png").rgb), "it is not black")
        device.play(40)
        device.expect(0, "wait", "--image", work / "left.png", "--timeout", str(PATIENCE))
        expect(not device.scanout()["frozen"], device.scanout())


def on_terminal(device, **environment):
    """What status prints on a terminal."""
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | environment
    ours, theirs = pty.openpty()
    with subprocess.Popen([device.ctl, "--control", str(device.control), "status"], stdin=subprocess.DEVNULL, stdout=theirs,
                          env=environment) as process:
        os.close(theirs)
        text = b""
        with contextlib.suppress(OSError):  # EIO: nobody writes any more
            while piece := os.read(ours, 65536):
                text += piece
        os.close(ours)
        expect(process.wait(PATIENCE) == 0, "status failed")
    return text.decode()


def test_wait_image(tap, device):
    work = device.work
    shown = picture.moving(WIDTH, HEIGHT, 39)
    with tap.case("wait for a picture that is there"):
        picture.write_png(work / "right.png", shown)
        device.expect(0, "wait", "--image", work / "right.png")
        answer = json.loads(device.expect(0, "--json", "wait", "--image", work / "right.png"))
        expect(answer == {"ok": True, "pictures": 1}, answer)
    with tap.case("wait in vain says what differs, and keeps what was seen"):
        wrong = off_by(shown, 3, [(7, 5), (3, 9), (WIDTH - 1, HEIGHT - 1)])
        picture.write_png(work / "wrong.png", wrong)
        color, expected = (image.rgb[(5 * WIDTH + 7) * 3:][:3].hex() for image in (shown, wrong))
        device.expect(1, "wait", "--image", work / "wrong.png", "--timeout", "0.3", "--save", work / "seen.png",
                      say=f"3 of {WIDTH * HEIGHT} pixels differ, the first at 7,5, which is #{color} and should be #{expected}")
        expect(picture.read_png(work / "seen.png").rgb == shown.rgb, "what was saved is not what was seen")
    with tap.case("tolerance"):
        device.expect(1, "wait", "--image", work / "wrong.png", "--timeout", "0.3", "--tolerance", "2", say="3 of")
        device.expect(0, "wait", "--image", work / "wrong.png", "--tolerance", "3")
    with tap.case("a reference of another size, and none"):
        picture.write_png(work / "small.png", picture.Image(2, 2, bytes(12)))
        device.expect(1, "wait", "--image", work / "small.png", "--timeout", "0.3", say=f"it is 2x2, and what is shown is {WIDTH}x{HEIGHT}")
        (work / "no.png").write_text("no picture")
        device.expect(1, "wait", "--image", work / "no.png", say="no.png")
        device.expect(1, "wait", "--image", work / "missing.png", say="missing.png")
    test_parts(tap, device, shown)
    with tap.case("wait for a picture that comes"):
        picture.write_png(work / "later.png", picture.moving(WIDTH, HEIGHT, 59))
        with subprocess.Popen([device.ctl, "--control", str(device.control), "wait", "--image", str(work / "later.png")]) as waiting:
            device.play(60)
            expect(waiting.wait(PATIENCE) == 0, "it did not come")


def part_of(image, left, top, width, height):
    rows = (image.rgb[(y * image.width + left) * 3:][:width * 3] for y in range(top, top + height))
    return picture.Image(width, height, b"".join(rows))


def test_parts(tap, device, shown):
    """Regions, references that are anywhere in the picture, with holes, and not quite right."""
    work = device.work
    part, noise = part_of(shown, 100, 50, 20, 10), off_by(part_of(shown, 100, 50, 20, 10), 9, [(0, 0), (19, 9)])
    picture.write_png(work / "part.png", part)
    picture.write_png(work / "noise.png", noise)
    with tap.case("screenshot of a region"):
        device.expect(0, "screenshot", "--region", "20x10+100+50", work / "region.png")
        seen = picture.read_png(work / "region.png")
        expect((seen.width, seen.height, seen.rgb) == (20, 10, part.rgb), "another part was saved")
        device.expect(1, "screenshot", "--region", f"20x10+{WIDTH - 19}+0", work / "region.png",
                      say=f"is not within the picture, which is {WIDTH}x{HEIGHT}")
    with tap.case("wait for a region"):
        device.expect(0, "wait", "--image", work / "part.png", "--region", "20x10+100+50")
        device.expect(1, "wait", "--image", work / "part.png", "--region", "20x10+101+50", "--timeout", "0.3", say="the first at 101,50")
        device.expect(1, "wait", "--image", work / "part.png", "--region", f"20x10+{WIDTH}+0", "--timeout", "0.3", say="is not within")
    with tap.case("wait for a picture anywhere prints its middle"):
        expect(device.expect(0, "wait", "--image", work / "part.png", "--anywhere") == "110,55\n", "it is elsewhere")
        answer = json.loads(device.expect(0, "--json", "wait", "--image", work / "part.png", "--anywhere", "--region", "60x70+100+50"))
        expect(answer == {"ok": True, "pictures": 1, "x": 100, "y": 50, "width": 20, "height": 10}, answer)
        picture.write_png(work / "whole.png", shown)
        expect(device.expect(0, "wait", "--image", work / "whole.png", "--anywhere") == f"{WIDTH // 2},{HEIGHT // 2}\n", "a whole picture")
        device.expect(1, "wait", "--image", work / "part.png", "--anywhere", "--region", "60x69+100+51", "--timeout", "0.3",
                      say="it is nowhere in the last of")
    with tap.case("pixels that may differ"):
        device.expect(1, "wait", "--image", work / "noise.png", "--anywhere", "--timeout", "0.3", say="nowhere")
        device.expect(1, "wait", "--image", work / "noise.png", "--region", "20x10+100+50", "--differ", "1", "--timeout", "0.3", say="2 of 200")
        for differ in ("2", "1%"):
            device.expect(0, "wait", "--image", work / "noise.png", "--region", "20x10+100+50", "--differ", differ)
            expect(device.expect(0, "wait", "--image", work / "noise.png", "--anywhere", "--differ", differ) == "110,55\n", "elsewhere")
    with tap.case("transparent pixels match everything"):
        picture.write_png(work / "holes.png", noise, holes={(0, 0), (19, 9)})
        device.expect(0, "wait", "--image", work / "holes.png", "--region", "20x10+100+50")
        expect(device.expect(0, "wait", "--image", work / "holes.png", "--anywhere") == "110,55\n", "it is elsewhere")
        picture.write_png(work / "nothing.png", noise, holes={(x, y) for x in range(20) for y in range(10)})
        expect(device.expect(0, "wait", "--image", work / "nothing.png", "--anywhere") == "10,5\n", "nothing is not at once")
    with tap.case("wait until the picture is still"):
        started = time.monotonic()
        device.expect(0, "wait", "--still", "0.4")
        expect(time.monotonic() - started >= 0.4, "it was not waited for")
        with device.playing():
            device.expect(1, "wait", "--still", "5", "--timeout", "1", say="never still for 5 s")
            device.expect(0, "wait", "--still", "0.2", "--differ", "100%")  # so much it may move


def outputs(device):
    """Of the outputs that are there: name to what is said of it."""
    return {one["name"]: one for one in json.loads(device.expect(0, "output", "list", "--json"))["outputs"]}


def test_outputs(tap, device):
    work = device.work
    with tap.case("output list"):
        text = device.expect(0, "output", "list")
        expect("second" in text and "64x48 at 60 Hz" in text and "2 of 3 outputs" in text, text)
        expect(outputs(device)["second"] == {"id": 1, "name": "second", "display": "headless", "width": 64, "height": 48, "fixed": True,
                                             "refresh_hz": 60, "connected": True, "lost": None}, outputs(device))
    with tap.case("output add"):
        expect(device.expect(0, "output", "add", "72x40@144,name=third") == "2\n", "it has another number")
        third = outputs(device)["third"]
        expect((third["width"], third["height"], third["refresh_hz"], third["fixed"]) == (72, 40, 144, True), third)
        device.expect(1, "output", "add", say="no more than 3 outputs")
        device.expect(0, "screenshot", "--scanout", "2", work / "third.png", say="black")
        image = picture.read_png(work / "third.png")
        expect((image.width, image.height) == (72, 40), "the picture has another size")
    with tap.case("output resize"):
        device.expect(0, "output", "resize", "third", "80x60")
        expect((outputs(device)["third"]["width"], outputs(device)["third"]["refresh_hz"]) == (80, 60), outputs(device)["third"])
        device.expect(0, "output", "resize", "2", "auto")
        expect((outputs(device)["third"]["width"], outputs(device)["third"]["fixed"]) == (80, False), outputs(device)["third"])
        device.expect(1, "output", "resize", "third", "80x", say="'80x' is no mode")
        device.expect(1, "output", "resize", "fourth", "80x60", say="there is no output 'fourth'")
    with tap.case("output move"):
        device.expect(0, "output", "move", "third", "headless")
        device.expect(1, "output", "move", "third", "cinema", say="there is no display 'cinema'")
        device.expect(1, "output", "add", "--display", "cinema", say="there is no display 'cinema'")
        expect(outputs(device)["third"]["display"] == "headless", outputs(device)["third"])
    with tap.case("output remove"):
        device.expect(0, "output", "remove", "third")
        device.expect(1, "output", "remove", "third", say="there is no output 'third'")
        expect(set(outputs(device)) == {"vitrine-0", "second"}, outputs(device))
        expect(not device.scanout(2)["output"]["connected"], device.scanout(2))
        device.expect(0, "output", "add", ",name=third")
        device.expect(0, "output", "remove", "2")


def test_input(tap, device):
    """What is refused before a guest comes into it; tests/vm has the rest."""
    with tap.case("input without --input"):
        for command in (("key", "a"), ("type", "a"), ("pointer", "1,1", "click")):
            device.expect(1, *command, say="start vitrine with --input PATH")
    with tap.case("type what a US keyboard has not"):
        device.expect(1, "type", "gr\u00fcn", say="a US keyboard has no key for byte 0xc3, number 3 of the text")


def test_quit(tap, device):
    with tap.case("quit"):
        device.leave()
        device.expect(0, "quit")
        expect(device.process.wait(PATIENCE) == 0, "vitrine ended with an error")
        expect(not device.control.exists(), "the control socket is still there")


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="vitrine-ctl-") as work:
        device = Device(sys.argv[1:4], pathlib.Path(work))
        try:
            test_command_line(tap, device)
            test_no_device(tap, device)
            device.start()
            test_nothing_shown(tap, device)
            test_assign(tap, device)
            test_pictures(tap, device)
            test_killed(tap, device)
            test_wait_image(tap, device)
            test_outputs(tap, device)
            test_input(tap, device)
            test_quit(tap, device)
        finally:
            device.stop()
            tap.note((device.work / "vitrine.log").read_text(errors="replace") if tap.failed else "")
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
