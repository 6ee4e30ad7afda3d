"""The parts of `make gpu`, one after the other, against the clock. See `refnet_triton.gpu`."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import refnet_triton.gpu
from refnet.op import TABLE, Op
from refnet.proof.judge import all_ops
from refnet_triton.bench import page, results
from refnet_triton.bench.results import ROOT
from refnet_triton.bench.timing import ON_GPU
from refnet_triton.gpu import check, preflight, speed, tests
from refnet_triton.gpu.clock import Clock

#: how many seconds each part is meant to take: the docstring of `refnet_triton.gpu` says why
SECONDS = {"smoke": 30, "check": 170, "tests": 105, "goals": 230, "bench": 215, "tuning": 30}
UNLESS_NAMED = ("check", "tests", "bench", "tuning")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS")
RIGHT, WRONG, NOT_STARTED, CUT = 0, 1, 2, 3  # exit statuses

Report = dict[str, Any]
Part = Callable[["Run", Clock], Report]


def say(*lines: str) -> None:
    """Print at once: the output may be a pipe. If nobody reads it any more, the run goes on."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Run:
    """What all parts share: the ops, how many processes, and the files that results go to."""

    def __init__(self, ops: Sequence[Op], seed: int | None, place: Path, report: Report) -> None:
        self.ops = ops
        self.seed = seed
        self.place = place
        self.report = report
        self.workers = max(2, min(14, (os.cpu_count() or 2) - 2)) if ON_GPU else 2
        self.journal = place.with_suffix(".journal")
        self.noted: list[Any] = []  # of the part that runs

    def note(self, line: str, facts: Any) -> None:
        """Put what a line is about on the disk, then print it, if there is a line."""
        if facts is not None:
            self.noted.append(results.as_data(facts))
            with open(self.journal, "a", encoding="utf-8") as file:
                file.write(json.dumps(self.noted[-1]) + "\n")
        if line:
            say(line)

    def write(self, path: Path) -> None:
        """All that has been found so far."""
        results.write(path, self.report)

    def close(self) -> None:
        """Write the report, which holds all that stands in the journal."""
        self.write(self.place)
        for path in (self.journal, self.place.with_suffix(".partial")):
            path.unlink(missing_ok=True)


PARTS: dict[str, tuple[Part, Callable[[Report], list[str]]]] = {
    "smoke": (
        lambda run, clock: check.smoke(run.ops, run.workers, clock, run.note, run.seed),
        check.shown,
    ),
    "check": (
        lambda run, clock: check.check(
            run.ops, run.workers, clock, run.note, run.place, run.seed
        ),
        check.shown,
    ),
    "tests": (
        lambda run, clock: tests.run(run.workers, clock, run.place.with_suffix(".tests.log")),
        tests.shown,
    ),
    "goals": (
        lambda run, clock: speed.bench(run.ops, run.workers, clock, run.note, rest=False),
        speed.shown,
    ),
    "bench": (
        lambda run, clock: speed.bench(run.ops, run.workers, clock, run.note),
        lambda found: speed.shown(found, each=3),
    ),
    "tuning": (
        lambda run, clock: speed.tune(run.workers, clock, run.note),
        speed.shown_tuning,
    ),
}  # fmt: skip


def wrong(found: Report) -> bool:
    """Whether something in a part is not right, or failed."""
    return bool(found.get("errors") or found.get("failed") or found.get("wrong"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, write the JSON, print the summary; returns the exit status."""
    options = _options(arguments)
    clock = Clock(options.budget)
    for name in THREADS:
        os.environ.setdefault(name, "1")  # the processes are many already
    report = results.surroundings()
    say(_heading(report))
    missing = preflight.missing()
    if missing and ON_GPU:
        say(*(f"refnet: MISSING {what}" for what in missing), "refnet: nothing was started")
        return NOT_STARTED
    report["scarce"] = preflight.scarce()
    say(*(f"refnet: not here: {what}" for what in missing))
    say(*(f"refnet: MIND {what}" for what in report["scarce"]))

    start = time.monotonic()
    folder = options.out or ROOT / ("docs/results" if ON_GPU else "runs/gpu")
    chosen = [op for op in all_ops() if not options.ops or (op.primal or op).name in options.ops]
    asked = {name: getattr(options, name) for name in ("parts", "ops", "budget", "seed")}
    report |= {"options": asked, "seconds": {}, "cut": [], "wrong": []}
    run = Run(chosen, options.seed, results.place_for(folder, report), report)
    summary: list[str] = []
    try:
        with _told_to_stop(clock):
            _run_parts(run, options.parts, clock, summary)
            report["seconds"]["all"] = round(time.monotonic() - start, 1)
            run.close()
            if ON_GPU and options.out is None:
                page.write(folder)
    except KeyboardInterrupt:
        say(f"refnet: ended at once: what was found stands in {run.journal}")
        return CUT
    status = WRONG if report["wrong"] else CUT if report["cut"] else RIGHT
    say(*summary, "", f"{'measured' if ON_GPU else 'NO MEASUREMENT'}, in "
        f"{report['seconds']['all']:.0f} s, exit status {status}: {run.place}")  # fmt: skip
    return status


@contextlib.contextmanager
def _told_to_stop(clock: Clock) -> Iterator[None]:
    """Whoever ends it, by Ctrl-C or `kill`, gets what there is: the time is up. Ctrl-C twice ends it."""

    def stop(number: int, frame: Any) -> None:
        clock.stop()
        signal.signal(number, before[number])

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m refnet_triton.gpu",
        description=refnet_triton.gpu.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="folder for the JSON")
    parser.add_argument("--budget", type=float, help="seconds in all; default: those of the parts")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=UNLESS_NAMED)
    parser.add_argument(
        "--ops", nargs="+", default=[],
        help="only these ops (and their gradients); all tests and all tiles are tried nevertheless",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="of the inputs of check and smoke; default: anew")
    options = parser.parse_args(arguments)
    gradients = {op.name: op.primal.name for op in all_ops() if op.primal}
    for name in options.ops:
        if name in gradients:
            parser.error(f"{name} comes with its op: --ops {gradients[name]}")
        if name not in TABLE:
            parser.error(f"no op is named {name}")
    if options.out and not options.out.is_dir() and options.out.exists():
        parser.error(f"--out is a folder, {options.out} is a file")
    options.parts = [part for part in PARTS if part in options.parts]
    if options.budget is None:
        options.budget = float(sum(SECONDS[part] for part in options.parts))
    if not (math.isfinite(options.budget) and options.budget >= 0):
        parser.error(f"--budget is a number of seconds, got {options.budget}")
    if options.seed is not None and options.seed < 0:
        parser.error(f"--seed is 0 or more, got {options.seed}")
    return options


def _heading(report: Report) -> str:
    if not ON_GPU:
        return "refnet: NO GPU HERE. All parts on tiny sizes, interpreted: no measurement."
    return f"refnet: {report['device']}, driver {report['driver']}, {report['versions']}"


def _run_parts(run: Run, parts: Sequence[str], clock: Clock, summary: list[str]) -> None:
    """Each part until its share of the time is over; what it leaves unused goes to the next."""
    meant = [SECONDS[part] for part in parts]
    for number, part in enumerate(parts):
        began = time.monotonic()
        mine = clock.part(clock.left() * meant[number] / sum(meant[number:]))
        do, show = PARTS[part]
        run.noted = []
        try:
            found = do(run, mine)
        except Exception as error:  # the parts that follow are worth having
            found = {"errors": [f"{part}: {type(error).__name__}: {error}"], "cut": []}
            found["noted"] = run.noted
            show = _shown_errors
        run.report[part] = found
        took = run.report["seconds"][part] = round(time.monotonic() - began, 1)
        say(f"refnet: {part} took {took:.0f} s")
        if found["cut"]:
            why = "as it was told to stop" if clock.stopped else "by the clock"
            run.report["cut"].append(f"{part}, {why}: {len(found['cut'])} not run")
            summary.append(f"CUT OFF {why} in {part}: {len(found['cut'])}, "
                           f"from {found['cut'][0]} on")  # fmt: skip
        if wrong(found):
            run.report["wrong"].append(part)
        summary += ["", *show(found)]
        run.write(run.place.with_suffix(".partial"))


def _shown_errors(found: Report) -> list[str]:
    return [f"FAILED {error}" for error in found["errors"]]
