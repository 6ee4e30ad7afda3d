"""The tests that are marked `gpu` or `triton`, on a GPU, in many processes at once.

Needs pytest and none of its plugins: `refnet_triton.gpu.share` splits the tests and keeps a journal of
what each one does. A process that is lost, or stands still, costs the test it was at, and goes on behind
it. When time is up the processes are asked to stop, as Ctrl-C does, before they are ended. The journals
lie in NAME.tests until the end; what pytest printed stays in NAME.tests.log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from refnet_triton.bench.results import ROOT
from refnet_triton.bench.timing import ON_GPU
from refnet_triton.gpu.clock import Clock
from refnet_triton.gpu.share import read
from refnet_triton.gpu.workers import MOST_LOST, SILENCE

#: tests of compilers that need no GPU, and of the command that runs this
IN_THE_WAY = [
    "refnet_triton/inspect/test_compile.py",
    "refnet_triton/gpu/test_gpu_script.py",
    "house/test_museum.py",
]
SELECTED = ["tests", "-m", "gpu or triton", *(f"--ignore=tests/{name}" for name in IN_THE_WAY)]
QUICK = ["tests/ops/test_twins.py", "-k", "relu6 and float32 and bound"]
MANNERS = 10.0  # seconds between asking pytest to stop and ending it
ALL_DONE = (0, 1, 5)  # exit statuses of pytest: passed, some failed, none selected
MOST_SHOWN = 15


class Run:
    """One share of the tests: its process, its journal, and how often it had to be started."""

    def __init__(self, number: int, of: int, selected: list[str], folder: Path) -> None:
        self.share = f"{number}/{of}"
        self.selected = selected
        self.journal = folder / f"{number}.journal"
        self.log = folder / f"{number}.log"
        self.lost: list[tuple[str, str]] = []  # the test it was at, and how
        self.over = False
        self.start()

    def start(self) -> None:
        """Begin, or go on behind the last test that the journal names."""
        # -W default: a warning of a newer NumPy, torch or Python is no failure of ours
        command = [sys.executable, "-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider"]
        command += ["-p", "refnet_triton.gpu.share", "--share", self.share]
        command += ["--journal", str(self.journal), "--tb=short", *self.selected]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.moved = time.monotonic()
        self.size = -1

    def watch(self, silence: float) -> None:
        """See whether it is done, was lost, or stands still."""
        size = self.journal.stat().st_size if self.journal.exists() else 0
        if size != self.size:
            self.size, self.moved = size, time.monotonic()
        status = self.process.poll()
        if status in ALL_DONE:
            self.over = True
        elif status is not None:
            self.give_up_on(f"its process ended with status {status}")
        elif time.monotonic() - self.moved > silence:
            self.kill(signal.SIGKILL)
            self.process.wait()
            self.give_up_on(f"no end after {silence:.0f} s")

    def give_up_on(self, why: str) -> None:
        """Leave the test it was at, and go on behind it; without one, there is nothing to go on with."""
        at = running(read(self.journal))
        self.lost.append((at or f"share {self.share}, before its first test", why))
        self.over = at is None or len(self.lost) > MOST_LOST
        if not self.over:
            self.start()

    def kill(self, how: int) -> None:
        """Send it, and what it has started, a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, how)


def running(journal: list[dict[str, Any]]) -> str | None:
    """The test that a journal says had begun last; None if there was none."""
    return next((line["test"] for line in reversed(journal) if "test" in line), None)


def run(workers: int, clock: Clock, log: Path, selected: list[str] | None = None,
        silence: float = SILENCE) -> dict[str, Any]:  # fmt: skip
    """Run them; what became of each, counted, and everything that went wrong."""
    selected = selected or (SELECTED if ON_GPU else QUICK)
    folder = log.with_suffix("")
    folder.mkdir(parents=True)
    runs: list[Run] = []
    try:
        for number in range(workers):
            runs.append(Run(number, workers, selected, folder))
        while not all(run.over for run in runs) and clock.left():
            time.sleep(0.2)
            for one in runs:
                if not one.over:
                    one.watch(silence)
        cut = [one for one in runs if not one.over]
    finally:
        stop(runs)
    with open(log, "wb") as out:
        for one in runs:
            out.write(f"\n===== share {one.share} =====\n".encode() + one.log.read_bytes())
    found = gathered(runs, cut)
    shutil.rmtree(folder)
    return found


def stop(runs: list[Run]) -> None:
    """End those that still run: asked first, as Ctrl-C does."""
    for how in (signal.SIGINT, signal.SIGKILL):
        going = [one for one in runs if one.process.poll() is None]
        for one in going:
            one.kill(how)
        until = time.monotonic() + MANNERS
        while any(one.process.poll() is None for one in going) and time.monotonic() < until:
            time.sleep(0.1)


def gathered(runs: list[Run], cut: list[Run]) -> dict[str, Any]:
    """The journals of all shares, added up; `cut` are the shares that the clock cut off."""
    selected: dict[str, Run] = {}
    outcomes: dict[str, str] = {}
    failed: dict[str, str] = {}
    reasons: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for one in runs:
        for line in read(one.journal):
            selected |= dict.fromkeys(line.get("share", ()), one)
            if "ended" not in line:
                continue
            name, outcome = line["ended"], line["outcome"]
            seconds[name] += line.get("seconds", 0.0)
            if outcome == "failed":
                failed[name] = line["text"]
            elif outcome == "skipped":
                reasons[line.get("reason", "")] += 1
            if outcomes.get(name) != "failed":  # what cleans up may fail behind a test that passed
                outcomes[name] = outcome
        for name, why in one.lost:
            failed[name], outcomes[name] = why, "failed"
    counts = Counter(outcomes.values())
    not_run = [name for name in selected if name not in outcomes]
    uncollected = [one for one in cut if one not in selected.values()]
    errors = [] if selected or cut else ["no test was collected: see the log"]
    return {
        "selected": len(selected),
        "counts": dict(counts),
        "not_run": len(not_run),
        "skipped": dict(reasons.most_common()),
        "failed": failed,
        "slowest": seconds.most_common(20),
        "cut": [*(name for name in not_run if selected[name] in cut),
                *(f"all tests of share {one.share}" for one in uncollected)],
        "errors": errors,
    }  # fmt: skip


def shown(found: dict[str, Any]) -> list[str]:
    """Counts, what was skipped and why, and the names of what failed."""
    counts = ", ".join(f"{n} {what}" for what, n in found["counts"].items()) or "none ran"
    not_run = f"; {found['not_run']} NOT RUN" if found["not_run"] else ""
    lines = [f"tests: {counts}, of {found['selected']}{not_run}"]
    lines += [f"  skipped, {n}: {why}" for why, n in found["skipped"].items()]
    lines += [f"  ERROR {error}" for error in found["errors"]]
    for name, text in list(found["failed"].items())[:MOST_SHOWN]:
        last = (text.strip().splitlines() or [""])[-1]
        lines.append(f"  FAILED {name[:110]}: {last[-110:]}")
    more = len(found["failed"]) - MOST_SHOWN
    return lines + ([f"  ... and {more} more: see the JSON"] if more > 0 else [])
