"""The program that runs within a copy: some tests, and one line of JSON about what became of them.

    python inside.py OUTPUT TORCH PYTEST_ARGUMENTS

OUTPUT is the file for the JSON: a list of [node id, phase, outcome, message]. TORCH is "with" or
"without"; without, torch seems not to be installed, which saves the seconds its import takes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


class Notes:
    """A plugin of pytest that writes down what became of each test."""

    def __init__(self):
        self.found = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            message = report.longreprtext if report.outcome == "failed" else str(report.longrepr)
            self.found.append([report.nodeid, report.when, report.outcome, message])


def main(output, torch, *arguments):
    if torch == "without":
        sys.modules["torch"] = None  # type: ignore[assignment]
    import pytest

    notes = Notes()
    code = pytest.main(["--import-mode=importlib", *arguments], plugins=[notes])
    Path(output).write_text(json.dumps(notes.found), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
