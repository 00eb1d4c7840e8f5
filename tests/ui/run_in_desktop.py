#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a program with the kit's Mesa: run_in_desktop.py PROGRAM [ARGUMENT]... Without the kit the whole is one skipped test."""
import subprocess
import sys
import tempfile

import desktop


def main():
    reason = desktop.missing()
    if reason:
        print(f"1..0 # SKIP {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="vitrine-desktop-") as directory:
        return subprocess.run(sys.argv[1:], env=desktop.environment(directory), check=False).returncode


sys.exit(main())
