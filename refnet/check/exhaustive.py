"""Every float32 there is: the largest error of a function of one number, over all 4,294,967,296.

Random cases find what is likely. A function of one number can be tried on all numbers: on NumPy that
takes minutes an op, compiled for a GPU seconds. The numbers are cut into `PARTS`, each of which is a
result of its own, so that a run may be stopped and gone on with, or shared among machines.

What has been run stands in docs/exhaustive.json, and docs/exhaustive.md is written from it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refnet.backend import Backend
from refnet.base.dtypes import spacing
from refnet.base.environment import machine
from refnet.base.files import replace_file
from refnet.errors import ArgumentError, FileError
from refnet.op import TABLE, Op
from refnet.op.columns import Case
from refnet.proof.cases import constant
from refnet.proof.judge import Verdict, compare

NUMBERS = 1 << 32
PARTS = 64
BLOCK = 1 << 20  # numbers that are computed at a time


@dataclass(frozen=True)
class Part:
    """What one part of the numbers showed: the largest error, in units of its bound, and where.

    `ulp` is that error in units of the last place of the exact result, `x` the input, `complaint` "" if
    every number is within its bound.
    """

    op: str
    settings: str
    backend: str
    part: int
    numbers: int
    ratio: float
    ulp: float
    x: str
    got: str
    expected: str
    complaint: str
    seconds: float
    date: str
    versions: str


def is_unary(op: Op) -> bool:
    """Whether an op is a function of one number, or the gradient of one."""
    family = (op.primal or op).cases
    return family is not None and family.family == "unary" and "dtype" not in op.attributes


def settings(op: Op) -> dict[str, dict[str, Any]]:
    """The attributes that the op's cases try, by their text; "" if there are none."""
    tried = [dict(case.attributes) for case in (op.primal or op).cases or ()]
    return {str(given) if given else "": given for given in tried}


def numbers_of(part: int) -> Iterator[Any]:
    """The float32 numbers of a part, 1 to `PARTS`, block by block, by their bits."""
    if not 1 <= part <= PARTS:
        raise ArgumentError(f"a part is a number from 1 to {PARTS}, got {part}")
    first = (part - 1) * (NUMBERS // PARTS)
    for start in range(first, first + NUMBERS // PARTS, BLOCK):
        yield np.arange(start, start + BLOCK, dtype=np.uint64).astype(np.uint32).view(np.float32)


def exhaust(op: Op, backend: Backend, part: int, given: dict[str, Any]) -> Part:
    """Try an op on all float32 numbers of a part."""
    if not is_unary(op):
        raise ArgumentError(f"{op.name} is no function of one number: there are too many inputs")
    start, count, worst, x = time.perf_counter(), 0, None, np.float32(0)
    for block in numbers_of(part):
        values = np.full(block.shape, np.nan)
        values[~np.isnan(block)] = block[~np.isnan(block)]
        case = Case(f"part {part} of {PARTS}", constant(values), given)
        found = compare(op, case, "float32", backend, part)
        count += block.size
        if worst is None or found.ratio > worst.ratio:
            worst, x = found, block[found.index or 0]
    assert worst is not None
    return Part(
        op.name, str(given) if given else "", backend.name, part, count,
        float(worst.ratio), _in_ulp(worst), repr(float(x)), repr(worst.got), repr(worst.expected),
        worst.complaint, round(time.perf_counter() - start, 1), machine()["date"][:10],
        ", ".join(f"{name} {machine()[name]}" for name in ("numpy", "triton")),
    )  # fmt: skip


def _in_ulp(found: Verdict) -> float:
    if found.expected is None or not np.isfinite(found.expected):
        return 0.0 if found.ok else np.inf
    return float(found.error / spacing(found.expected, "float32"))


# -- results that are kept ---------------------------------------------------------------------------


def read(path: Path) -> list[Part]:
    """The parts that a file holds; none if there is no file."""
    if not path.exists():
        return []
    try:
        return [Part(**row) for row in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise FileError(f"{path} holds no parts of an exhaustive check: {error}") from error


def write(path: Path, parts: Iterable[Part]) -> None:
    """All parts into a file, whole or not at all."""
    rows = ",\n".join(json.dumps(asdict(part), ensure_ascii=False) for part in parts)
    replace_file(path, f"[\n{rows}\n]\n".encode())


def missing(op: Op, backend: Backend, done: Iterable[Part]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(part, settings) of what has not been tried yet."""
    there = {(one.op, one.settings, one.backend, one.part) for one in done}
    for name, given in settings(op).items():
        for part in range(1, PARTS + 1):
            if (op.name, name, backend.name, part) not in there:
                yield part, given


# -- the page ------------------------------------------------------------------------------------------

RESULTS = Path(__file__).resolve().parents[2] / "docs/exhaustive.json"
INTRODUCTION = f"""\
# Every number there is

Of each function of one number, the largest error over all {NUMBERS:,} inputs in float32, in units of
its bound and in ulp of the exact result at that place, and how much of them has been tried. The half
types have 65,536 numbers each, all of which are tried by the tests, on both sides
(`tests/proof/test_every_number.py`). The first command goes on where it was stopped:

    refnet check --exhaustive --op NAME --json docs/exhaustive.json
    refnet check --exhaustive --op NAME --part 3/{PARTS} --backend triton

`make docs` writes this page.

| op | backend | tried | largest error / bound | in ulp | at x | with |
| --- | --- | ---: | ---: | ---: | --- | --- |
"""


def page(path: Path = RESULTS) -> str:
    """The page of what has been run."""
    rows: dict[tuple[str, str, str], list[Part]] = {}
    for part in read(path):
        rows.setdefault((part.op, part.settings, part.backend), []).append(part)
    order = list(TABLE)
    text = INTRODUCTION
    for (op, given, backend), parts in sorted(rows.items(), key=lambda row: order.index(row[0][0])):
        worst = max(parts, key=lambda part: part.ratio)
        share = sum(part.numbers for part in parts) / NUMBERS
        name = f"`{op}`" + (f" {given}" if given else "")
        text += (
            f"| {name} | {backend} | {share:.1%} | {worst.ratio:.2f} | {worst.ulp:.2f} | {worst.x} | "
            f"{worst.versions}, {worst.date} |\n"
        )
    return text
