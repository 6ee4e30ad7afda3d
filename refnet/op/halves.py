"""float16 is computed in float32 and rounded once, at the end: on NumPy as in every kernel.

Sixteen bits are for storage. In float16, 2,049 ones add up to 2,048, and the sum of 70,000 is infinite,
where their mean is 1. The formulas of `refnet.ops` need not mention it: what they are given is wide.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet.op.promotion import joined_inputs
from refnet.op.results import as_tuple

if TYPE_CHECKING:
    from refnet.op import Op

HALF = np.dtype("float16")


def in_float32(op: Op, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of an op, but float16 widened on the way in and its results rounded to it.

    Ops that only move or compare numbers, of error 0, are left as they are, and so are those that are
    told a type. Results that are kept for the gradient stay in the precision they were computed in.
    """
    if op.error is None or str(op.error) == "0" or "dtype" in op.attributes:
        return function

    @functools.wraps(function)
    def widened(*inputs: Any, **attributes: Any) -> Any:
        halves = [i for i, x in enumerate(inputs) if getattr(x, "dtype", None) == HALF]
        if not halves:
            return function(*inputs, **attributes)
        joined, names = joined_inputs(op, len(inputs)), op.names(len(inputs))
        wide = [x.astype("float32") if i in halves else x for i, x in enumerate(inputs)]
        results = as_tuple(function(*wide, **attributes))
        if op.writes:
            for i in halves:
                if names[i] in op.writes:
                    inputs[i][...] = wide[i]
            results = tuple([inputs[names.index(name)] for name in op.writes])
        elif any(joined[i] for i in halves):  # they are of one type
            rounded = [op.primal is not None or op.flows_through(i) for i in range(len(results))]
            results = tuple([_narrow(y) if r else y for y, r in zip(results, rounded, strict=True)])
        return results if op.returns_tuple else results[0]

    return widened


def _narrow(y: Any) -> Any:
    """y rounded to float16; None, for a gradient that is not wanted, stays None."""
    return y if y is None or y.dtype != "float32" else y.astype(HALF)
