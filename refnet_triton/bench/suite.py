"""The rows of the benchmark: every op x size x type, the most important ones first.

Time may run out. So the first round takes the most important row of every goal, the second one the next
most important, and so on; what no goal asks for comes last.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from refnet.op import Op
from refnet.op.columns import Case
from refnet.ops import TABLE

REFNET, EAGER, COMPILED = "refnet", "eager", "compile"  # the contenders

#: elements of an op's largest array; updates are for many parameters at once
ELEMENTS = {"optimizers": 1 << 27}
ELEMENTS_OTHERWISE = 1 << 26
QUICK_ELEMENTS = 1 << 10
DTYPES = {"matmul": ("bfloat16", "float16", "float32")}
DTYPES_OTHERWISE = ("float32", "bfloat16")
#: files of ops in the order in which they are timed where no goal says more
ORDER = ["matmul", "losses", "softmax", "activations", "optimizers", "reductions", "elementwise"]


class Spec(NamedTuple):
    """What makes a row: an op, one of its cases for so many elements, and a type."""

    op: str
    family: str  # the file it stands in
    case: str
    dtype: str
    elements: int
    number: int  # of the case, among those for so many elements

    def __str__(self) -> str:
        return f"{self.op} {self.case} {self.dtype}"


def specs(quick: bool = False, ops: Iterable[str] = ()) -> list[Spec]:
    """Every op x size x dtype."""
    chosen = [TABLE[name] for name in ops] or list(TABLE.values())
    chosen.sort(key=lambda op: ORDER.index(op.file) if op.file in ORDER else len(ORDER))
    found = []
    for op in chosen:
        elements = QUICK_ELEMENTS if quick else ELEMENTS.get(op.file, ELEMENTS_OTHERWISE)
        dtypes = DTYPES_OTHERWISE[:1] if quick else DTYPES.get(op.file, DTYPES_OTHERWISE)
        names = [case.name for case in (op.primal or op).cases.bench(elements)]  # type: ignore[union-attr]
        found += [
            Spec(op.name, op.file, name, dtype, elements, number)
            for dtype in dtypes
            for number, name in enumerate(names)
        ]
    return found


def suite(
    quick: bool = False, ops: Iterable[str] = (), goals: Iterable = (), rest: bool = True
) -> list[Spec]:
    """The rows in the order in which they are to be timed; those of `goals` alone without the `rest`."""
    found = specs(quick, ops)
    wanted = [goal.rows_among(found) for goal in goals]
    order = dict.fromkeys(_in_turn(wanted))
    return [*order, *(spec for spec in found if rest and spec not in order)]


def _in_turn(lists: list[list[Spec]]) -> Iterator[Spec]:
    """The first of each list, the second of each ..."""
    for round_ in itertools.zip_longest(*lists):
        yield from (spec for spec in round_ if spec is not None)


def case_of(spec: Spec) -> tuple[Op, Case]:
    """The op and the case of a row."""
    op = TABLE[spec.op]
    return op, (op.primal or op).cases.bench(spec.elements)[spec.number]  # type: ignore[union-attr]
