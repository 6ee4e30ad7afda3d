"""What a check found: a row for each op, type and backend, and what went wrong in it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refnet.proof.exact import LONGER
from refnet.proof.judge import Verdict

PASS, FAIL, ERROR, MISSING = "pass", "fail", "error", "missing"

Names = Sequence[str]


@dataclass(frozen=True)
class Failure:
    """What is wrong with one case.

    `output`, `index`, `got` and `expected` name the element that is furthest off, if it is one element;
    `ratios` holds error / bound of each element of that output, if they can be compared.
    """

    case: str
    complaint: str
    raised: bool = False
    output: str = ""
    index: tuple[int, ...] = ()
    got: Any = None
    expected: Any = None
    error: float = np.inf
    bound: float = 0.0
    ratio: float = np.inf
    ratios: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Curve:
    """The error and the bound over something: over x in ulp of f(x), or over K, as they are."""

    x: Any
    error: Any
    bound: Any


@dataclass
class Row:
    """One op on one backend in one type.

    `status` is "pass", "fail", "error" (an exception) or "missing" (the backend lacks the op); `worst` is
    the largest error over all cases, in units of its bound; `numbers` counts the elements compared.
    """

    op: str
    file: str
    backend: str
    dtype: str
    status: str = PASS
    cases: int = 0
    numbers: int = 0
    worst: Verdict | None = None
    message: str = ""
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    curve: Curve | None = field(default=None, compare=False, repr=False)

    @property
    def ratio(self) -> float:
        """The largest error in units of its bound."""
        return self.worst.ratio if self.worst else 0.0

    @property
    def where(self) -> str:
        """The case, output and element of the largest error; "" if nothing is off at all."""
        if self.worst is None:
            return ""
        return f"{self.worst.case}: {self.worst.output}{place(self.worst.index)}"

    def replay(self, seed: int, case: str = "") -> str:
        """The command that runs this row alone again, or one case of it, on the same inputs."""
        cases = [case] if case else []
        return command([self.op], [self.dtype], [self.backend], cases, seed)


def command(
    ops: Names, dtypes: Names, backends: Names, cases: Names, seed: int, quick: bool = False
) -> str:
    r"""What to type for this check.

    >>> command(["relu"], ["float32"], [], ["{'axis': 0}"], 7)
    'refnet check --op relu --dtype float32 --case "{\'axis\': 0}" --seed 7'
    """
    words = ["refnet", "check"]
    for name, values in (("op", ops), ("dtype", dtypes), ("backend", backends), ("case", cases)):
        words += [f"--{name}", *map(_quoted, values)] if values else []
    return " ".join([*words, "--seed", str(seed), *(["--quick"] if quick else [])])


def _quoted(word: str) -> str:
    """A word for the shell, in double quotes where single ones would have to be escaped."""
    plain = "'" in word and not set('"$`\\!') & set(word)
    return f'"{word}"' if plain else shlex.quote(word)


def place(index: tuple[int, ...]) -> str:
    """An element as Python writes it; "" for the only one of a scalar.

    >>> place((3, 1)), place(())
    ('[3, 1]', '')
    """
    return f"[{', '.join(map(str, index))}]" if index else ""


@dataclass
class Summary:
    """All rows of one backend in one type. `at` says where the largest error is.

    `itself` is True for what the reference itself is computed with, and judged by: it can only agree.
    """

    backend: str
    dtype: str
    ops: int
    cases: int
    numbers: int
    passed: int
    failed: int
    errors: int
    missing: int
    ratio: float
    at: str
    seconds: float
    itself: bool


@dataclass
class Report:
    """What a check found, and on which machine.

    `command` does the same again. `backends` holds a line about each backend, `poisoned` the names of
    those that fill new memory with NaN, `not_checked` what was left out, and why.
    """

    seed: int
    quick: bool
    command: str
    machine: dict[str, Any]
    backends: dict[str, str]
    poisoned: list[str]
    not_checked: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> list[Row]:
        """The rows with a wrong result or an exception."""
        return [row for row in self.rows if row.status in (FAIL, ERROR)]

    @property
    def missing(self) -> list[Row]:
        """The rows of ops that a backend lacks."""
        return [row for row in self.rows if row.status == MISSING]

    def ok(self, allow_missing: bool = False) -> bool:
        """True if something was compared, all of it agrees, and no op is missing (or may be)."""
        tried = any(row.cases for row in self.rows)
        return tried and not self.failed and (allow_missing or not self.missing)

    def summaries(self) -> list[Summary]:
        """One for each backend and type, in the order of the rows."""
        keys = dict.fromkeys((row.backend, row.dtype) for row in self.rows)
        return [
            _summary([row for row in self.rows if (row.backend, row.dtype) == key]) for key in keys
        ]


def _summary(rows: list[Row]) -> Summary:
    first, worst = rows[0], max(rows, key=lambda row: row.ratio)
    count = Counter(row.status for row in rows)
    return Summary(
        backend=first.backend,
        dtype=first.dtype,
        ops=len(rows),
        cases=sum(row.cases for row in rows),
        numbers=sum(row.numbers for row in rows),
        passed=count[PASS],
        failed=count[FAIL],
        errors=count[ERROR],
        missing=count[MISSING],
        ratio=worst.ratio,
        at=f"{worst.op}, {worst.where}" if worst.worst else "",
        seconds=sum(row.seconds for row in rows),
        itself=(first.backend, first.dtype) == ("numpy", np.dtype(LONGER)),
    )


def by_file(report: Report) -> tuple[list[str], list[list[str]]]:
    """(header, rows): the largest error / bound of each op file in each type of each backend.

    Where something is wrong, the number of ops that are: "2 wrong", "1 missing".
    """
    pairs = list(dict.fromkeys((row.backend, row.dtype) for row in report.rows))
    files = list(dict.fromkeys(row.file for row in report.rows))
    rows = []
    for file in files:
        cells = [
            _cell([r for r in report.rows if (r.file, r.backend, r.dtype) == (file, *pair)])
            for pair in pairs
        ]
        rows.append([file, *cells])
    return ["file", *(f"{backend} {dtype}" for backend, dtype in pairs)], rows


def _cell(rows: list[Row]) -> str:
    wrong = sum(row.status in (FAIL, ERROR) for row in rows)
    missing = sum(row.status == MISSING for row in rows)
    said = [f"{n} {what}" for n, what in ((wrong, "wrong"), (missing, "missing")) if n]
    return ", ".join(said) or f"{max(row.ratio for row in rows):.2f}"


def verdict(report: Report) -> str:
    """The result in one line."""
    pairs = ", ".join(f"{one.backend} {one.dtype}" for one in report.summaries())
    ops = len({row.op for row in report.rows})
    if not any(row.cases for row in report.rows):
        return f"Nothing was compared: {pairs}"
    parts = []
    if report.failed:
        parts.append(
            f"{len(report.failed)} of {len(report.rows)} checks disagree with the reference"
        )
    if report.missing:
        parts.append(f"{len({row.op for row in report.missing})} of {ops} ops are missing")
        agree = len(report.rows) - len(report.failed) - len(report.missing)
        parts[-1] += "" if report.failed else f", the other {agree} checks agree"
    if parts:
        return f"{' and '.join(parts)} ({ops} ops, {pairs})"
    return f"{'All ' if ops > 1 else ''}{ops} op{'s' * (ops > 1)} within bounds: {pairs}"
