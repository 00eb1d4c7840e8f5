#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`meson install` into an empty root: the files are there, and a program that knows only the pkg-config file builds and runs."""

import argparse
import fcntl
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tap import Tap, expect  # noqa: E402

PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include <vitrine/buffer.h>
#include <vitrine/loop.h>

int main(void)
{
	struct vtr_loop *loop = vtr_loop_create();
	enum vtr_path path;

	if (!loop || vtr_path_from_name("udmabuf", &path) < 0)
		return 1;
	printf("%s\n", vtr_path_name(path));
	vtr_loop_destroy(loop);
	return 0;
}
"""


def run(command, **options):
    answer = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False, **options)
    expect(answer.returncode == 0, f"{' '.join(map(str, command))}: status {answer.returncode}\n{answer.stdout}{answer.stderr}")
    return answer.stdout


def one_file(root, pattern):
    found = [path for path in root.glob(pattern) if path.is_file()]
    expect(found, f"{pattern} was not installed")
    return found[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--source", required=True, type=pathlib.Path)
    parser.add_argument("--cc", default="cc")
    arguments = parser.parse_args()
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="vitrine-install-") as work:
        root = pathlib.Path(work) / "root"
        with tap.case("meson install"):
            run(["meson", "install", "-C", arguments.build, "--no-rebuild", "--destdir", root])
        with tap.case("the public headers, all of them"):
            wanted = {path.name for path in (arguments.source / "include/vitrine").glob("*.h")}
            installed = {path.name for path in root.glob("**/include/vitrine/*.h")}
            expect(wanted <= installed, f"not installed: {sorted(wanted - installed)}")
        with tap.case("the desktop's files"):
            one_file(root, "**/share/applications/vitrine.desktop")
            one_file(root, "**/share/icons/hicolor/scalable/apps/vitrine.svg")
        with tap.case("the description of the vhost-user back-end names the program"):
            described = json.loads(one_file(root, "**/share/qemu/vhost-user/50-vitrine.json").read_text(encoding="ascii"))
            expect(described["type"] == "gpu", f"its type is {described['type']}")
            expect((root / described["binary"].lstrip("/")).is_file(), f"{described['binary']} was not installed")
        with tap.case("the programs run"):
            library = one_file(root, "**/libvitrine.so").parent
            environment = dict(os.environ, LD_LIBRARY_PATH=str(library))
            for program in ("vitrine", "vitrinectl", "vitrine-guest"):
                expect("vitrine" in run([one_file(root, f"**/bin/{program}"), "--version"], env=environment), f"{program} --version")
        with tap.case("what virglrenderer runs in is where the library looks for it"):
            check_renderer(root)
        with tap.case("the units: socket-activated, and again after a crash"):
            check_units(pathlib.Path(work), root, environment)
        for kind in ("shared", "static"):
            with tap.case(f"a program built with pkg-config alone, {kind} library"):
                build_program(pathlib.Path(work), root, arguments.cc, kind)
    return tap.finish()


def check_renderer(root):
    """Built with virglrenderer only."""
    library = one_file(root, "**/libvitrine.so").read_bytes()
    programs = list(root.glob("**/vitrine-renderer"))
    expect(len(programs) == (b"/vitrine-renderer" in library), f"installed: {programs}")
    for program in programs:
        expect(f"/{program.relative_to(root)}\0".encode() in library, f"the library does not name /{program.relative_to(root)}")
        expect("vitrine-renderer" in run([program, "--version"]), "vitrine-renderer --version")


def activated(root, command, listener, environment):
    """What systemd does: the listening socket is fd 3."""
    command = [one_file(root, f"**{command[0]}"), *command[1:]]
    keep = fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, 10)
    try:
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, pass_fds=[3],
                                preexec_fn=lambda: os.dup2(keep, 3))
    finally:
        os.close(keep)


def features(path):
    """GET_FEATURES of vhost-user, and its answer: request, flags, size and the bits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as front_end:
        front_end.settimeout(20)
        front_end.connect(str(path))
        front_end.sendall(struct.pack("=III", 1, 1, 0))
        return struct.unpack("=IIIQ", front_end.recv(20, socket.MSG_WAITALL))


def check_units(work, root, environment):
    units = one_file(root, "**/systemd/user/vitrine@.service"), one_file(root, "**/systemd/user/vitrine@.socket")
    service, unit = (path.read_text(encoding="utf-8") for path in units)
    runtime = work / "runtime"
    (runtime / "vitrine").mkdir(parents=True)
    path, command = (re.search(rf"^{key}=(.*)$", text, re.MULTILINE)[1].replace("%t", str(runtime)).replace("%i", "test")
                     for key, text in (("ListenStream", unit), ("ExecStart", service)))
    environment = {**environment, "XDG_RUNTIME_DIR": str(runtime)}
    for name in ("WAYLAND_DISPLAY", "DISPLAY"):
        environment.pop(name, None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        for end, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
            process = activated(root, command.split(), listener, environment)
            try:
                answer = features(path)
                expect(answer[:3] == (1, 5, 8) and answer[3] & 1 << 32, f"GET_FEATURES was answered with {answer}")
            finally:
                process.send_signal(end)
                _, said = process.communicate(timeout=20)
            expect(process.returncode == status, f"status {process.returncode}: {said}")


def build_program(work, root, compiler, kind):
    description = one_file(root, "**/pkgconfig/vitrine.pc")
    library = one_file(root, "**/libvitrine.so").parent
    # the root stands somewhere else than it says
    relocated = work / "vitrine.pc"
    relocated.write_text(re.sub(r"^prefix=", f"prefix={root}", description.read_text(encoding="utf-8"), flags=re.MULTILINE),
                         encoding="utf-8")
    environment = dict(os.environ, PKG_CONFIG_PATH=str(work), LD_LIBRARY_PATH=str(library))
    flags = run(["pkg-config", "--cflags", "--libs"] + (["--static"] if kind == "static" else []) + ["vitrine"], env=environment)
    if kind == "static":
        flags = flags.replace("-lvitrine", "-Wl,-Bstatic -lvitrine -Wl,-Bdynamic")
    source, program = work / "program.c", work / f"program-{kind}"
    source.write_text(PROGRAM, encoding="ascii")
    run([compiler, "-Wall", "-Werror", "-o", program, source, *flags.split()])
    expect(run([program], env=environment) == "udmabuf\n", "the program printed something else")


if __name__ == "__main__":
    sys.exit(main())
