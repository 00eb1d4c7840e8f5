# SPDX-License-Identifier: MIT
"""Runs unittest cases and prints TAP, one line a test, so that every case is counted by its name."""
import sys
import traceback
import unittest


class TapResult(unittest.TestResult):
    def __init__(self, count):
        super().__init__()
        self.count = 0
        print(f"1..{count}", flush=True)

    def report(self, ok, test, note=""):
        self.count += 1
        name = test.id().removeprefix("__main__.")
        print(f"{'ok' if ok else 'not ok'} {self.count} {name}{note}", flush=True)

    def report_failure(self, test, error):
        for line in "".join(traceback.format_exception(*error)).splitlines():
            print(f"# {line}", file=sys.stderr, flush=True)
        self.report(False, test)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.report(True, test)

    def addError(self, test, error):
        super().addError(test, error)
        self.report_failure(test, error)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.report_failure(test, error)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.report(True, test, f" # SKIP {reason}")


def main():
    """Runs the tests of the calling script; names given as arguments select some of them."""
    names = [name for name in sys.argv[1:] if not name.startswith("/")]
    loader = unittest.TestLoader()
    module = sys.modules["__main__"]
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = TapResult(suite.countTestCases())
    suite.run(result)
    sys.exit(0 if result.wasSuccessful() else 1)
