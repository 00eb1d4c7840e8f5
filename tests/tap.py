# SPDX-License-Identifier: MIT
"""Named test cases for a test program of its own, in TAP (https://testanything.org), as meson reads it with protocol: 'tap'."""

import contextlib
import sys
import time
import traceback


class Skip(Exception):
    """Raised in a case that cannot run here; the message names what is missing."""


class Failure(Exception):
    """Something that a test works with went wrong, and the message says what: no traceback is needed."""


class Tap:
    """Numbers and prints the cases."""

    def __init__(self, out=sys.stdout):
        self.out = out
        self.count = self.failed = 0

    def _line(self, text):
        print(text, file=self.out, flush=True)

    def note(self, text):
        for line in str(text).splitlines():
            self._line(f"# {line}")

    def _result(self, ok, name, directive=""):
        self.count += 1
        self.failed += not ok
        self._line(f"{'ok' if ok else 'not ok'} {self.count} - {name}{directive}")

    def skip(self, name, reason):
        self._result(True, name, f" # SKIP {reason}")

    @contextlib.contextmanager
    def case(self, name, on_failure=None):
        """One case: what it raises is its failure, and does not go further. on_failure() may return text for the log."""
        started = time.monotonic()
        try:
            yield
        except Skip as reason:
            self.skip(name, reason)
        except Exception as error:  # pylint: disable=broad-except
            self._result(False, name)
            self.note(f"{type(error).__name__}: {error}")
            if not isinstance(error, (AssertionError, Failure)):
                self.note(traceback.format_exc())
            if on_failure:
                self.note(on_failure())
        else:
            self._result(True, name)
            self.note(f"{time.monotonic() - started:.1f} s")

    def finish(self):
        """Prints the plan and returns the exit status."""
        self._line(f"1..{self.count}")
        return 1 if self.failed else 0


def expect(condition, message):
    if not condition:
        raise AssertionError(message)
