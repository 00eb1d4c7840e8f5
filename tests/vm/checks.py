# SPDX-License-Identifier: MIT
"""Programs that check inside a guest (checks.h): their TAP lines become cases of the test outside."""

import re

from tap import expect

RESULT = re.compile(r"^(not )?ok \d+ - (.*)$")


def report(tap, name, lines):
    """The program's checks as ours, with what it says about those that failed. `# figure` lines are passed on."""
    for number, line in enumerate(lines):
        if found := RESULT.match(line):
            with tap.case(f"{name}: {found[2]}"):
                said = lines[number + 1] if number + 1 < len(lines) and lines[number + 1].startswith("# ") else ""
                expect(not found[1], said)
        elif line.startswith("# figure"):
            tap.note(line[2:])
    plan = [line for line in lines if line.startswith("1..")]
    count = sum(bool(RESULT.match(line)) for line in lines)
    expect(count and plan == [f"1..{count}"], f"{count} checks were seen, the plan is {plan}: {lines[-3:]}")


def run_checks(tap, guest, name, command, timeout=180):
    """Runs a shell command with such a program in a guest or in the virtual host."""
    with tap.case(f"{name}: {command.split()[0]} ran to its end", guest.logs):
        report(tap, name, guest.run(f"{command}; true", timeout))
