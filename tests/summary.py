#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Sums up meson's test logs: `summary.py LABEL=TESTLOG.json...` prints what failed with its output, what took longest, what was
skipped and why, and one closing line `N passed, N failed, N skipped`. Subtests of TAP programs count one by one. Exit status 1 when
anything failed or nothing passed."""

import json
import pathlib
import re
import sys

TAP_LINE = re.compile(r"^(not )?ok\b *\d* *-? *([^#]*?) *(?:# *(SKIP|TODO)\S* *(.*))?$", re.IGNORECASE)
TAP_PLAN = re.compile(r"^1\.\.(\d+)(?: *# *SKIP\S* *(.*))?$", re.IGNORECASE)
BAD_RESULTS = ("FAIL", "TIMEOUT", "ERROR", "INTERRUPT", "UNEXPECTEDPASS")
LOG_LINES = 120
LONGEST = 12


class Totals:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def add(self, label, test):
        """One test program of one build."""
        name = f"{label}: {test['name']}"
        failed, skipped = len(self.failed), len(self.skipped)
        passed = self._add_subtests(name, test.get("stdout") or "")
        found = passed + len(self.failed) - failed + len(self.skipped) - skipped
        self.passed += passed
        if test["result"] in BAD_RESULTS and len(self.failed) == failed:
            self.failed.append(f"{name} ({test['result'].lower()})")
        elif test["result"] == "SKIP" and len(self.skipped) == skipped:
            self.skipped.append((name, (test.get("stdout") or "").strip() or "the test gives no reason"))
        elif not found:
            self.passed += 1
        return len(self.failed) > failed

    def _add_subtests(self, name, text):
        passed = 0
        for line in text.splitlines():
            if plan := TAP_PLAN.match(line):
                if plan[1] == "0":
                    self.skipped.append((name, plan[2] or "the test gives no reason"))
            elif result := TAP_LINE.match(line):
                subtest = f"{name}: {result[2]}"
                if result[1] and (result[3] or "").upper() != "TODO":
                    self.failed.append(subtest)
                elif (result[3] or "").upper() == "SKIP":
                    self.skipped.append((subtest, result[4] or "the test gives no reason"))
                else:
                    passed += 1
        return passed


def tail(test):
    text = f"{test.get('stdout') or ''}\n{test.get('stderr') or ''}".strip().splitlines()
    return "\n".join(text[-LOG_LINES:])


def read_log(path):
    """The log's tests; meson writes one JSON object a line."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return [json.loads(line) for line in file if line.strip()]


def main(arguments):
    totals, durations = Totals(), []
    for argument in arguments:
        label, _, path = argument.partition("=")
        if not pathlib.Path(path).exists():
            totals.failed.append(f"{label}: its tests did not run ({path} is missing)")
            continue
        for test in read_log(path):
            durations.append((test["duration"], f"{label}: {test['name']}"))
            if totals.add(label, test):
                print(f"==== {label}: {test['name']}: {test['result'].lower()}\n{tail(test)}\n")
    for seconds, name in sorted(durations, reverse=True)[:LONGEST]:
        print(f"{seconds:6.0f} s  {name}")
    for name, reason in totals.skipped:
        print(f"skipped: {name}: {reason}")
    for name in totals.failed:
        print(f"failed: {name}")
    print(f"{totals.passed} passed, {len(totals.failed)} failed, {len(totals.skipped)} skipped")
    return 1 if totals.failed or not totals.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
