"""The program that walks through copies: some tests in each, and what became of them as JSON.

    python inside.py TORCH SECONDS

TORCH is "with" or "without"; without, torch seems not to be installed. It is asked by a line of JSON,
[folder, arguments of pytest], and answers by a line with the exit status, once pytest has ended or the
SECONDS are over. In the folder lie then report.json, a list of [node id, phase, outcome, message], and
printed.txt. Each copy gets a process of its own, which begins with what takes long to import: NumPy,
pytest and torch, of which no copy has another.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path


class Notes:
    """A plugin of pytest that writes down what became of each test."""

    def __init__(self):
        self.found = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            message = report.longreprtext if report.outcome == "failed" else str(report.longrepr)
            self.found.append([report.nodeid, report.when, report.outcome, message])


def tried(folder, arguments):
    """Run pytest in a copy; its exit status."""
    import pytest

    os.chdir(folder)
    os.environ["PYTHONPATH"] = folder
    sys.path.insert(0, folder)
    notes = Notes()
    code = pytest.main(["--import-mode=importlib", *arguments], plugins=[notes])
    Path("report.json").write_text(json.dumps(notes.found), encoding="utf-8")
    return code


def forked(folder, arguments, seconds):
    """`tried`, in a process of its own; "killed" after so many seconds."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(seconds)
        out = os.open(Path(folder, "printed.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = 70
        try:
            code = tried(folder, arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(code))
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def started(folder, arguments, seconds):
    """`tried`, where there is no fork: by this program, started anew."""
    with open(Path(folder, "printed.txt"), "wb") as out:
        program = [sys.executable, "-P", __file__, *sys.argv[1:], folder, *arguments]
        return subprocess.run(
            program, stdout=out, stderr=out, timeout=seconds, check=False
        ).returncode


def main(torch, seconds, *once):
    """Serve until nobody asks any more; or go through one copy."""
    if torch == "without":
        sys.modules["torch"] = None  # type: ignore[assignment]
    if once:
        return tried(once[0], once[1:])
    run = started
    if hasattr(os, "fork"):
        import numpy  # noqa: F401
        import pytest  # noqa: F401

        run = forked
        if torch == "with":
            import torch
    for line in sys.stdin:
        folder, arguments = json.loads(line)
        print(run(folder, arguments, int(seconds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
