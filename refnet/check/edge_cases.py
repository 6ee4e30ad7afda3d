"""Corner cases: what breaks kernels, on which cases each op is tried on it, and where it makes no sense.

========================  =========================================================================
NaN, infinity             an input holds one: it has to come out where the formula says, and only there
empty                     an input or a result has no elements: nothing to launch
one element               all inputs have one: most lanes of the only program are masked
transposed, strided       inputs with gaps between their elements
broadcast                 inputs of different shapes, stretched to one
more than 2³¹ elements    where 32 bits are too few for an address
========================  =========================================================================

What an op is tried on is read off its cases. What makes no sense for it, its row says, with the reason. A
gradient is tried on the cases of its op.

    python -m refnet.check.edge_cases docs/corners.md      # write the page
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from refnet.op import Op
from refnet.op.columns import Case
from refnet.op.shapes import by_name
from refnet.proof.judge import all_ops, cases_of, reference

MANY = "more than 2³¹ elements"
CORNERS = (
    *("NaN", "infinity", "empty", "one element", "transposed", "strided", "broadcast"),
    MANY,
)


def corners(op: Op) -> dict[str, list[str]]:
    """For each corner the names of the cases of `op` that lie in it.

    >>> from refnet.ops import TABLE
    >>> corners(TABLE["relu"])["one element"]
    ['one element', 'scalar']
    """
    found: dict[str, list[str]] = {corner: [] for corner in CORNERS}
    for case in cases_of(op):
        for corner in _corners_of(op.primal or op, case):
            found[corner].append(case.name)
    found[MANY] = [case.name for case in large_cases(op)]
    return found


def large_cases(op: Op) -> tuple[Case, ...]:
    """The cases of more than 2³¹ elements."""
    family = (op.primal or op).cases
    return family.large if family else ()


def without(op: Op) -> dict[str, str]:
    """The corners that make no sense for an op, and why."""
    family = (op.primal or op).cases
    return dict(family.without) if family else {}


def _corners_of(op: Op, case: Case) -> Iterator[str]:
    inputs = [np.asarray(x) for x in case.make(np.random.default_rng(0))]
    results = [np.asarray(y) for y in reference(op, tuple(inputs), case.attributes)]
    floats = [x for x in inputs if x.dtype.kind == "f"]
    if any(np.isnan(x).any() for x in floats):
        yield "NaN"
    if any(np.isinf(x).any() for x in floats):
        yield "infinity"
    if any(x.size == 0 for x in (*inputs, *results)):
        yield "empty"
    if all(x.size == 1 for x in floats or inputs) or (not floats and results[0].size == 1):
        yield "one element"
    if case.layout == "transposed" and any(x.ndim == 2 for x in inputs):
        yield "transposed"
    if case.layout == "strided" and any(x.ndim for x in inputs):
        yield "strided"
    if _broadcasts(op, [x.shape for x in inputs]):
        yield "broadcast"


def _broadcasts(op: Op, shapes: list[tuple[int, ...]]) -> bool:
    """Whether inputs of these shapes are stretched: element by element, or batch by batch."""
    if op.name == "broadcast_to":
        return True
    if op.name == "matmul":
        shapes = [shape[:-2] for shape in shapes]
    elif op.rule is not by_name and op.name != "coordinates":
        return False
    return len(set(shapes)) > 1


# -- the page --------------------------------------------------------------------------------------

INTRODUCTION = """What breaks kernels, and how many cases of each op try it. This page is read off the
cases in `refnet/ops`; `python -m refnet.check.edge_cases docs/corners.md` writes it.
"""
TABLE_OF = """
The number of cases in each corner, or a letter for the reason why it makes no sense, below. Every
gradient is tried on the cases of its op. Those of more than 2³¹ elements are tried without the memory:
it is the addresses that count (`tests/refnet_triton/ops/test_addresses.py`).

"""


def page() -> str:
    """The page of all ops and corners."""
    lines = (__doc__ or "").splitlines()
    rows = [line.split("   ", 1) for line in lines if "   " in line and line[0].isalpha()]
    text = f"# Corner cases\n\n{INTRODUCTION}\n| corner | what it is |\n| --- | --- |\n"
    text += "".join(f"| {corner.strip()} | {what.strip()} |\n" for corner, what in rows)
    text += TABLE_OF
    reasons: dict[str, str] = {}
    text += f"| op | {' | '.join(CORNERS)} |\n| --- |{' ---: |' * len(CORNERS)}\n"
    for op in all_ops():
        if op.primal:
            continue
        found, excused, cells = corners(op), without(op), []
        for corner in CORNERS:
            if corner in excused:
                letter = reasons.setdefault(excused[corner], chr(ord("a") + len(reasons)))
                cells.append(f"*{letter}*")
            else:
                cells.append(str(len(found[corner])))
        text += f"| `{op.name}` | {' | '.join(cells)} |\n"
    text += "\n" + "".join(f"- *{letter}*: {reason}\n" for reason, letter in reasons.items())
    return text


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
