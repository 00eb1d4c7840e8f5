#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The programs that the documentation shows, where there is nothing for them to work with: they say so and end."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tap import Tap, expect  # noqa: E402


def main(vfio_embedding):
    tap = Tap()
    with tap.case("docs: vfio-embedding says that there is no such device"):
        answer = subprocess.run([vfio_embedding, "bdf=ffff:ff:1f.7"], capture_output=True, text=True, timeout=60, check=False)
        expected = "no device: there is no PCI device ffff:ff:1f.7 (host)\n"
        expect((answer.returncode, answer.stdout, answer.stderr) == (1, "", expected), answer)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
