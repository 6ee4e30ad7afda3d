r"""One graph on two backends, compared op by op: where do they first part, and by how much?

Two questions are asked of every op. *How far are the results apart?* Each backend goes on with what it
computed itself, so that differences add up as they would in a run: this is `difference`. *Is the op to
blame?* The second backend also computes it from the first one's values, and the distance from the
exact result is measured against the bound of the op's row: this is `ratio`, at most 1 if it is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnet.autograd.tensor import Node, Tensor, recorded
from refnet.autograd.variable import Variable
from refnet.backend import Array, Backend
from refnet.op.results import as_tuple
from refnet.proof.judge import Verdict, measure

Key = tuple[int, int]


@dataclass(frozen=True)
class Compared:
    """One op: its name in the graph, how far its results lie apart, and how well it keeps its bound.

    `difference` is max |b - a| over all results, `relative` the same in units of max |a|.
    """

    name: str
    op: str
    difference: float
    relative: float
    agreement: Verdict
    line: str

    @property
    def ratio(self) -> float:
        """The error of the op itself, in units of its bound."""
        return self.agreement.ratio


class Comparison:
    """What `Session.compare` found, op by op, in the order of computation.

    Attributes
    ----------
    backends : the names of the two.
    ops : a `Compared` for each op.
    """

    def __init__(self, backends: tuple[str, str], ops: Sequence[Compared]) -> None:
        self.backends = backends
        self.ops = list(ops)

    @property
    def first_difference(self) -> Compared | None:
        """The first op whose results differ at all; None if all are the same to the last bit."""
        return next((c for c in self.ops if c.difference), None)

    @property
    def first_disagreement(self) -> Compared | None:
        """The first op that breaks its bound; None if all keep it."""
        return next((c for c in self.ops if not c.agreement.ok), None)

    @property
    def ok(self) -> bool:
        """True if every op keeps its bound."""
        return self.first_disagreement is None

    def __str__(self) -> str:
        a, b = self.backends
        width = max([len(c.name) for c in self.ops] + [2])
        title = f"max |{b} - {a}|"
        lines = [f"{'op':{width}}  {title}  relative  error / bound"]
        for c in self.ops:
            numbers = f"{c.difference:{len(title)}.3g}  {c.relative:8.2g}  {c.ratio:13.2g}"
            lines.append(f"{c.name:{width}}  {numbers}  {c.agreement.complaint}".rstrip())
        first, wrong = self.first_difference, self.first_disagreement
        if first is None:
            lines.append(f"{a} and {b} agree to the last bit.")
        else:
            lines.append(
                f"They first part at {first.name!r}, by {first.difference:.3g}  ({first.line})"
            )
        if wrong is not None:
            lines.append(f"{wrong.name!r} breaks its bound: {wrong.agreement.complaint}")
        elif first is not None:
            lines.append("Every op keeps its bound.")
        return "\n".join(lines)

    def __repr__(self) -> str:
        state = "agree" if self.ok else "DISAGREE"
        return f"<comparison of {' and '.join(self.backends)}: {len(self.ops)} ops, {state}>"


def compare(
    wanted: Sequence[Tensor],
    feeds: Mapping[Tensor, np.ndarray[Any, Any]],
    value: Callable[[Variable], Array],
    first: Backend,
    second: Backend,
) -> Comparison:
    """Compute the wanted tensors on both backends and compare all results on the way.

    `value` gives a variable's array on the first backend; both sides work on copies.
    """
    sides = first, second
    known: list[dict[Key, Array]] = [{}, {}]

    def read(t: Tensor, side: int) -> Array:
        if t.key not in known[side]:
            on_first = value(t) if isinstance(t, Variable) else None
            array = t.numpy() if on_first is None else first.numpy(on_first)
            known[side][t.key] = sides[side].array(array, t.dtype)
        return known[side][t.key]

    for t, fed in feeds.items():
        for side in (0, 1):
            known[side][t.key] = sides[side].array(fed, t.dtype)
    found = []
    for node in recorded(wanted, given=feeds):
        given = [tuple(read(t, side) for t in node.inputs) for side in (0, 1)]
        before = tuple(_exact(first.numpy(x)) for x in given[0])
        results = []
        for side in (0, 1):
            made = as_tuple(sides[side].function(node.op)(*given[side], **node.attributes))
            if node.op.views:  # it may be a view of a variable that is overwritten later
                made = tuple(y if y is None else sides[side].array(y) for y in made)
            results.append(made)
            known[side] |= {(id(node), i): y for i, y in enumerate(results[side])}
        found.append(_compared(node, before, results, sides))
    return Comparison((first.name, second.name), found)


def _exact(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy with floats as float64, in which the exact result is computed."""
    return np.array(values, "float64" if values.dtype.kind == "f" else None)


def _compared(
    node: Node, inputs: tuple[Any, ...], results: Sequence[tuple[Array, ...]], sides: Any
) -> Compared:
    first, second = sides
    difference = relative = 0.0
    for a, b in zip(*results, strict=True):
        if a is None or b is None:
            continue
        x, y = (np.asarray(s.numpy(v)) for s, v in ((first, a), (second, b)))
        gap = _distance(x, y)
        difference = max(difference, gap)
        largest = float(np.max(np.abs(x), initial=0.0)) if x.dtype.kind == "f" else 1.0
        relative = max(relative, gap / largest if largest > 0 else gap)
    name = node.symbol.name if node.symbol else node.op.name
    line = node.symbol.line if node.symbol else ""
    dtype = next((t.dtype for t in node.inputs if t.dtype.startswith(("float", "bf"))), "float32")
    agreement = measure(node.op, name, inputs, node.attributes, dtype, second)
    return Compared(name, node.op.name, difference, relative, agreement, line)


def _distance(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    """max |y - x|; infinite where only one of them is NaN or they are of different shapes."""
    if x.shape != y.shape:
        return np.inf
    if x.dtype.kind != "f":
        return float(np.sum(x != y))
    x, y = x.astype("float64"), y.astype("float64")
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(all="ignore"):
        gap = np.where(same, 0.0, np.abs(y - x))
    return float(np.max(np.where(np.isnan(gap), np.inf, gap), initial=0.0))
