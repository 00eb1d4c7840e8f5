#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the documentation shows: programs, where there is nothing for them to work with, say so and end; and QEMU's command lines."""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tap import Tap, expect  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[2]
COMMAND = re.compile(r"qemu-system-x86_64\b(?:.*\\\n)*.*")
OURS = re.compile(r"vfio-user-pci|vhost-user-\S*(?:gpu|vga|virtio-id=16)|id=gpu,path=")
NO_OTHER_CARD = re.compile(r"-vga none|-nodefaults|vhost-user-vga")


def check_graphics_cards(tap):
    """QEMU gives a machine a VGA card of its own beside our device, which guests then boot and draw on, unless it is told not to."""
    pages = [SOURCE / "README.md", *sorted((SOURCE / "docs").glob("*.md")), SOURCE / "data/man/vitrine.1.scd"]
    found = 0
    for page in pages:
        ours = [command for command in COMMAND.findall(page.read_text(encoding="utf-8")) if OURS.search(command)]
        found += len(ours)
        if ours:
            with tap.case(f"docs: {page.relative_to(SOURCE)}: QEMU adds no graphics card of its own"):
                wrong = [command for command in ours if not NO_OTHER_CARD.search(command)]
                expect(not wrong, wrong)
    with tap.case("docs: there are command lines of QEMU"):
        expect(found >= 10, found)


def main(vfio_embedding):
    tap = Tap()
    check_graphics_cards(tap)
    with tap.case("docs: vfio-embedding says that there is no such device"):
        answer = subprocess.run([vfio_embedding, "bdf=ffff:ff:1f.7"], capture_output=True, text=True, timeout=60, check=False)
        expected = "no device: there is no PCI device ffff:ff:1f.7 (host)\n"
        expect((answer.returncode, answer.stdout, answer.stderr) == (1, "", expected), answer)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
