"""Plant one mistake in a copy of the packages, and run the test that has to catch it there."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple

from .piece import Piece

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("refnet", "refnet_triton", "tests")
LONGEST = 300  # seconds a run may take


class StaleError(Exception):
    """The text that a piece would change is not in its file, or not once."""


class Outcome(NamedTuple):
    """What became of one test: in which phase it ended, passed, failed or skipped, and what it said."""

    test: str
    phase: str
    outcome: str
    message: str


def copy(folder: Path) -> Path:
    """The packages and their tests in an empty folder. Compiled modules come along: they save time."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    return folder


def plant(piece: Piece, folder: Path) -> None:
    """Make the mistake in a copy."""
    path = folder / piece.file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = text.count(piece.right)
    if found != 1:
        raise StaleError(
            f"{piece.id} is stale: {piece.file} has its text {found} times, not once. Find where that "
            f"mistake would be made today, and change the piece:\n{piece.right}"
        )
    path.write_text(text.replace(piece.right, piece.wrong), encoding="utf-8")
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def run(tests: Sequence[str], folder: Path, torch: bool) -> tuple[int, list[Outcome], str]:
    """Run tests in a copy: the exit status of pytest, what became of each test, and what was printed."""
    report, printed = folder / "report.json", folder / "printed.txt"
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", "-o", "addopts=--strict-markers"]
    keeper = _keeper(torch)
    assert keeper.stdin and keeper.stdout
    print(json.dumps([str(folder), [*options, *tests]]), file=keeper.stdin, flush=True)
    answer = keeper.stdout.readline()
    text = (
        printed.read_text(encoding="utf-8", errors="replace")[-8000:] if printed.is_file() else ""
    )
    if not report.is_file():
        raise RuntimeError(f"pytest did not come to its end ({answer.strip()}):\n{text}")
    found = [Outcome(*row) for row in json.loads(report.read_text(encoding="utf-8"))]
    return int(answer), found, text


@functools.cache
def _keeper(torch: bool) -> subprocess.Popen[str]:
    """A program that has imported what takes long, and goes through a copy in a process of its own."""
    here = Path(__file__).with_name("inside.py")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    keeper = subprocess.Popen(
        [sys.executable, "-P", str(here), "with" if torch else "without", str(LONGEST)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(keeper.communicate)  # nobody asks any more: it ends
    return keeper


def why_not_caught(piece: Piece, code: int, found: Sequence[Outcome]) -> str:
    """ "" if the piece's test failed, alone and as foreseen; else what happened in its place."""
    if code == 0 and found:
        return f"{piece.test} passes with the mistake in: it does not catch it"
    if [one.test for one in found] != [piece.test]:
        ran = ", ".join(one.test for one in found) or "nothing"
        return f"{piece.test} was to run, and {ran} did (exit status {code})"
    (only,) = found
    if code != 1 or (only.phase, only.outcome) != ("call", "failed"):
        return (
            f"{piece.test} {only.outcome} in its {only.phase}, exit status {code}:\n{only.message}"
        )
    if not re.search(piece.complaint, only.message):
        return f"{piece.test} failed, but does not say {piece.complaint!r}:\n{only.message}"
    return ""
