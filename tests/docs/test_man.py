#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`test_man.py FOLDER PROGRAM...`: the manual pages say what the programs take. FOLDER: what scdoc made of them, or "".

Every option of --help is in the page, and the other way round.
"""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tap import Tap, expect  # noqa: E402

OPTION = re.compile(r"(?<![\w-])--[a-z0-9][a-z0-9-]*")
PAGES = pathlib.Path(__file__).resolve().parents[2] / "data/man"


def options_of(text):
    return set(OPTION.findall(text))


def check(tap, program, built):
    name = pathlib.Path(program).name
    page = (PAGES / f"{name}.1.scd").read_text(encoding="utf-8")
    answer = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    mine = "".join(re.split(r"^```$", page, flags=re.MULTILINE)[::2])  # examples have other programs' options, too
    mine = re.sub(r"\*vitrine --\w+\*", "", mine) if name != "vitrine" else mine
    with tap.case(f"man: {name}: options"):
        there, said = options_of(answer), options_of(mine)
        expect(there == said, f"only in --help: {sorted(there - said)}; only in the page: {sorted(said - there)}")
    with tap.case(f"man: {name}: the page"):
        sections = re.findall(r"^# (.*)$", page, re.MULTILINE)
        expect(sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"] and sections[-1] == "SEE ALSO", sections)
        expect("EXIT STATUS" in sections, "it does not say what the exit status means")
    if built:
        with tap.case(f"man: {name}: as roff"):
            roff = (pathlib.Path(built) / f"{name}.1").read_text(encoding="utf-8")
            expect(f'.TH "{name}" "1"' in roff and ".SH EXIT STATUS" in roff, roff[:400])


def main(built, *programs):
    tap = Tap()
    for program in programs:
        check(tap, program, built)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
