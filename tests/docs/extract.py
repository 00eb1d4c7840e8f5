#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`extract.py PAGE OUT`: writes the one C program of a Markdown page, so that what the documentation shows is what is compiled."""

import pathlib
import re
import sys


def main(page, out):
    programs = re.findall(r"^```c\n(.*?)^```$", pathlib.Path(page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if len(programs) != 1:
        sys.exit(f"{page}: {len(programs)} C programs, one is expected")
    pathlib.Path(out).write_text(programs[0], encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
