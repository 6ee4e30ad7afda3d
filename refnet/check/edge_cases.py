"""Edge cases: what breaks kernels, on which cases each op is tried on it, and where it makes no sense.

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
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refnet.op import Op
from refnet.op.columns import Case
from refnet.op.shapes import by_name
from refnet.proof.exact import reference
from refnet.proof.judge import all_ops, cases_of

MANY = "more than 2³¹ elements"
EDGE_CASES = (
    *("NaN", "infinity", "empty", "one element", "transposed", "strided", "broadcast"),
    MANY,
)


def tried(op: Op) -> dict[str, list[str]]:
    """For each edge the names of the cases of `op` that lie in it.

    >>> from refnet.ops import TABLE
    >>> tried(TABLE["relu"])["one element"]
    ['one element', 'scalar']
    """
    found: dict[str, list[str]] = {edge: [] for edge in EDGE_CASES}
    for case in cases_of(op):
        for edge in _edges_of(op.primal or op, case):
            found[edge].append(case.name)
    found[MANY] = [case.name for case in large_cases(op)]
    return found


def large_cases(op: Op) -> tuple[Case, ...]:
    """The cases of more than 2³¹ elements."""
    family = (op.primal or op).cases
    return family.large if family else ()


def without(op: Op) -> dict[str, str]:
    """The edge cases that make no sense for an op, and why."""
    family = (op.primal or op).cases
    reasons = family.without if family else {}
    return {edge: why for edge, why in reasons.items() if edge in EDGE_CASES}


def _edges_of(op: Op, case: Case) -> Iterator[str]:
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
cases in `refnet/ops`; `make docs` writes it.
"""
TABLE_OF = """
The number of cases in each edge, or a letter for the reason why it makes no sense, below. Every
gradient is tried on the cases of its op. Those of more than 2³¹ elements are tried without the memory:
it is the addresses that count (`tests/refnet_triton/ops/test_addresses.py`).

"""


def page() -> str:
    """The page of all ops and edge cases."""
    lines = (__doc__ or "").splitlines()
    rows = [line.split("   ", 1) for line in lines if "   " in line and line[0].isalpha()]
    text = f"# Edge cases\n\n{INTRODUCTION}\n| edge | what it is |\n| --- | --- |\n"
    text += "".join(f"| {edge.strip()} | {what.strip()} |\n" for edge, what in rows)
    text += TABLE_OF
    reasons: dict[str, str] = {}
    text += f"| op | {' | '.join(EDGE_CASES)} |\n| --- |{' ---: |' * len(EDGE_CASES)}\n"
    for op in all_ops():
        if op.primal:
            continue
        found, excused, cells = tried(op), without(op), []
        for edge in EDGE_CASES:
            if edge in excused:
                letter = reasons.setdefault(excused[edge], chr(ord("a") + len(reasons)))
                cells.append(f"*{letter}*")
            else:
                cells.append(str(len(found[edge])))
        text += f"| `{op.name}` | {' | '.join(cells)} |\n"
    text += "\n" + "".join(f"- *{letter}*: {reason}\n" for reason, letter in reasons.items())
    return text
