"""A plugin of pytest: run a share of the tests, and write down what each does as it happens.

    python -m pytest -p refnet_triton.gpu.share --share 3/14 --journal FILE

Share 3 of 14 are the tests number 3, 17, 31 ... of those that are selected. What the journal says has
been done already is left out: a run that was lost goes on where it stopped, behind the test it stopped
at. A test that costs the process its GPU ends the process, as nothing after it could be right.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from refnet_triton.gpu import workers

LOST = 70  # the exit status of a process that has lost its GPU
MOST_TEXT = 4000  # characters of a failure that are kept


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two options."""
    group = parser.getgroup("share")
    group.addoption("--share", default="0/1", help="K/N: the tests K, K + N, K + 2 N ...")
    group.addoption("--journal", type=Path, help="file to which every test is written as it runs")


def pytest_configure(config: pytest.Config) -> None:
    """Begin."""
    if config.getoption("--journal"):
        config.pluginmanager.register(Share(config), "a share of the tests")


class Share:
    """One run of one share."""

    def __init__(self, config: pytest.Config) -> None:
        number, of = config.getoption("--share").split("/")
        self.number, self.of = int(number), int(of)
        self.path: Path = config.getoption("--journal")
        self.done = {line["test"] for line in read(self.path) if "test" in line}

    def note(self, **what: Any) -> None:
        """One line of the journal, in the file before anything else happens."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(what) + "\n")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep this share, less what has been done."""
        share = items[self.number :: self.of]
        self.note(of=len(items), share=[item.nodeid for item in share])
        kept = [item for item in share if item.nodeid not in self.done]
        left_out = [item for item in items if item not in set(kept)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self.note(test=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A part of a test is over: set-up, the test, or what cleans up after it."""
        told = report.when == "call" or not report.passed
        if not told:
            return
        what: dict[str, Any] = {"outcome": report.outcome, "seconds": round(report.duration, 3)}
        if report.failed:
            what["text"] = str(report.longrepr)[-MOST_TEXT:]
        if report.skipped and isinstance(report.longrepr, tuple):
            what["reason"] = report.longrepr[2].removeprefix("Skipped: ")
        self.note(ended=report.nodeid, **what)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Behind each test: is the GPU still there?"""
        try:
            workers.synchronize()
        except Exception as error:
            self.note(ended=nodeid, outcome="failed", text=f"the GPU is lost: {error}"[:MOST_TEXT])
            os._exit(LOST)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """The end of this run."""
        self.note(exitstatus=int(exitstatus))


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal. The last one may be cut off: its process was ended while it wrote."""
    found = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return found
