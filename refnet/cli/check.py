"""refnet check: compare every op and gradient, in every type, with the reference in more digits.

The inputs are drawn anew at each run; the seed that is printed draws them again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from refnet import report as reports
from refnet.check import baseline as changes
from refnet.check.ops import check
from refnet.check.result import PASS, Report, Row, by_file, verdict
from refnet.cli import exhaustive
from refnet.cli.output import (
    BAD,
    GOOD,
    HEADING,
    QUIET,
    console,
    counted,
    duration,
    say,
    seed,
    table,
)
from refnet.errors import ArgumentError
from refnet.proof.exact import judged_by
from refnet.report.html import LISTED

Earlier = dict[str, Any] | None
FEW = 24  # rows up to which each is shown, and not each file of ops


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add, default = parser.add_argument, argparse.SUPPRESS
    names: dict[str, Any] = {"action": "extend", "nargs": "+", "default": default}
    add("--op", **names, metavar="NAME", help="only these ops, by exact name")
    add("--dtype", **names, help="only these types: float32, bfloat16, ...")
    add("--backend", **names, help="only these; default: all that can run here")
    add("--case", **names, help="only these cases, by exact name")
    add("--seed", type=seed, default=default, help="of the inputs; default: a new one at each run")
    add("--quick", action="store_true", help="fewer and smaller cases, each run once")
    every = "functions of one number, on every float32 there is; --json FILE keeps what is done"
    add("--exhaustive", action="store_true", help=every)
    add("--part", default=default, metavar="N/64", help="with --exhaustive: only that part of them")
    add("--allow-missing", action="store_true", help="an op that a backend lacks is no failure")
    earlier = "the JSON of an earlier check: list what is another by more than a factor of 2"
    add("--against", type=Path, default=default, metavar="FILE", help=earlier)
    add("--json", type=Path, default=default, metavar="FILE", help="write all results as JSON")
    add("--html", type=Path, default=default, metavar="FILE", help="write a report with pictures")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 if anything disagrees, or is missing and may not be."""
    if arguments.exhaustive:
        return exhaustive.run(arguments)
    wanted = vars(arguments)
    writers: dict[str, Callable[[Report, Path, Earlier], Path]]
    writers = {"json": reports.write_json, "html": reports.write_html}
    before = reports.read_json(wanted["against"]) if "against" in wanted else None
    files = {kind: _file(kind, wanted[kind]) for kind in writers if kind in wanted}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    out = console()
    with Progress(
        *columns, TimeRemainingColumn(), console=out, transient=True, disable=not out.is_terminal
    ) as bar:
        task = bar.add_task("drawing inputs", total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{what:40}")

        report = check(
            wanted.get("op", ()), wanted.get("dtype", ()), wanted.get("backend", ()),
            wanted.get("case", ()), wanted.get("seed"), arguments.quick, progress,
        )  # fmt: skip
    _say_failures(report)
    _say_machine(report)
    _say_table(report)
    _say_summaries(report)
    if before is not None:
        _say_changes(report, before)
    for kind, path in files.items():
        say(f"{writers[kind](report, path, before)}  the report as {kind.upper()}")
    ok = report.ok(arguments.allow_missing)
    say(verdict(report), GOOD if ok else BAD)
    return 0 if ok else 1


def _file(kind: str, path: Path) -> Path:
    """A file to write to, its folder made if need be: before the work, not after it in vain."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        if not os.access(path.parent, os.W_OK):
            raise PermissionError("the folder is read-only")
    except OSError as error:
        why = error.strerror or error
        raise ArgumentError(f"--{kind} {path}: cannot write there ({why})") from error
    return path


# -- on screen -------------------------------------------------------------------------------------


def _say_failures(report: Report) -> None:
    """What is wrong, case by case, each with the command that runs it alone."""
    for row in report.failed:
        say(f"{row.status.upper()}  {row.op} on {row.backend} in {row.dtype}", BAD)
        for one in row.failures[:LISTED]:
            say(f"  {one.case}: {one.complaint}" if one.case else f"  {one.complaint}")
            say(f"    {row.replay(report.seed, one.case)}", QUIET)
        more = len(row.failures) - LISTED
        if more > 0:
            say(f"  and {counted(more, 'more case')}: {row.replay(report.seed)}", QUIET)
    for pair in dict.fromkeys((row.backend, row.dtype) for row in report.missing):
        names = [row.op for row in report.missing if (row.backend, row.dtype) == pair]
        say(f"MISSING  {counted(len(names), 'op')} on {' in '.join(pair)}: {', '.join(names)}", BAD)
        first = next(row for row in report.missing if (row.backend, row.dtype) == pair)
        say(f"  {first.op}: {first.message}", QUIET)
    if report.failed or report.missing:
        say()


def _say_machine(report: Report) -> None:
    """Where it ran, and how to run it again."""
    for line in report.backends.items():
        say(": ".join(line))
    for what, why in report.not_checked.items():
        say(f"NOT CHECKED  {what}: {why}", BAD)
    commit = report.machine["commit"]
    say(
        f"seed {report.seed} (--seed {report.seed} draws the same inputs again), "
        f"{report.machine['date']}" + (f", commit {commit}" if commit else "")
    )
    say()


def _say_table(report: Report) -> None:
    """The largest error of each op, if they are few; else of each file of ops."""
    if len(report.rows) > FEW:
        header, rows = by_file(report)
        say("Largest error in units of its bound", HEADING)
    else:
        header = ["op", "backend", "dtype", "status", "cases", "error", "bound", "ratio", "where"]
        rows = [_cells(row) for row in sorted(report.rows, key=lambda row: row.status == PASS)]
    head, *lines = table(header, rows)
    say(head, QUIET)
    for line, cells in zip(lines, rows, strict=True):
        said = " ".join(map(str, cells))
        say(
            line, BAD if any(word in said for word in ("wrong", "missing", "fail", "error")) else ""
        )
    say()


def _cells(row: Row) -> list[Any]:
    error, bound = (row.worst.error, row.worst.bound) if row.worst else (0.0, 0.0)
    sizes = f"{error:.3g}", f"{bound:.3g}", f"{row.ratio:.2f}"
    where = row.where
    if row.worst and row.worst.got is None:
        where = f"{row.worst.case}: {row.worst.complaint}"
    elif row.worst:
        where += f" is {row.worst.got!r}, the reference {row.worst.expected!r}"
    return [row.op, row.backend, row.dtype, row.status, row.cases, *sizes, where or row.message]


def _say_summaries(report: Report) -> None:
    """A line for each backend and type."""
    for one in report.summaries():
        counts = [(one.passed, "agree"), (one.failed, "DISAGREE"), (one.errors, "RAISED ERRORS")]
        counts.append((one.missing, "MISSING"))
        said = ", ".join(f"{n} {what}" for n, what in counts if n)
        note = (
            "; this is the reference itself"
            if one.itself
            else f"; judged in {judged_by(one.dtype)}"
        )
        at = f"; largest error {one.ratio:.2f} of its bound ({one.at})" if one.at else ""
        say(
            f"{one.backend} {one.dtype}: {said}; {counted(one.cases, 'case')}, {one.numbers:,} numbers, "
            f"{duration(one.seconds)}{at}{note}",
            GOOD if one.passed == one.ops else BAD,
        )
    say()


def _say_changes(report: Report, before: dict[str, Any]) -> None:
    """The rows whose largest error is another than in the earlier check."""
    say("Against an earlier check", HEADING)
    for line in changes.lines(reports.as_json(report, before)["changes"], report.seed):
        say(line, BAD if line.startswith(changes.OTHER_INPUTS) else "")
    say()
