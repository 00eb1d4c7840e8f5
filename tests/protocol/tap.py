# SPDX-License-Identifier: MIT
"""Runs unittest cases and prints TAP, one line a test, so that every case is counted by its name."""
import sys
import traceback
import unittest


class TapResult(unittest.TestResult):
    """One line when a test stops; what failed in it, also in its subtests, goes to standard error before."""

    def __init__(self, count):
        super().__init__()
        self.count = 0
        print(f"1..{count}", flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.failed, self.skipped_because = False, None

    def stopTest(self, test):
        super().stopTest(test)
        self.report(not self.failed, test.id(), self.skipped_because)

    def report(self, ok, name, skipped_because=None):
        self.count += 1
        name = name.removeprefix("__main__.").replace("#", "no. ")
        note = f" # SKIP {skipped_because}" if skipped_because else ""
        print(f"{'ok' if ok else 'not ok'} {self.count} {name}{note}", flush=True)

    def note_failure(self, test, error):
        self.failed = True
        print(f"# {test}", file=sys.stderr)
        for line in "".join(traceback.format_exception(*error)).splitlines():
            print(f"# {line}", file=sys.stderr, flush=True)

    def addError(self, test, error):
        super().addError(test, error)
        self.note_failure(test, error)
        if not isinstance(test, unittest.TestCase):  # setUpClass or tearDownClass: no test of its own
            self.report(False, str(test))

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.note_failure(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self.note_failure(subtest, error)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.skipped_because = reason


def main():
    """Runs the tests of the calling script; names given as arguments select some of them."""
    names = [name for name in sys.argv[1:] if "/" not in name]
    loader = unittest.TestLoader()
    module = sys.modules["__main__"]
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = TapResult(suite.countTestCases())
    suite.run(result)
    sys.exit(0 if result.wasSuccessful() else 1)
