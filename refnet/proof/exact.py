r"""The exact result, by which an op is judged: its formula in more digits, and limits.

===============  ====================================================================================
computed in      judged by the formula of the reference in
===============  ====================================================================================
float32, halves  float64
float64          the processor's longer type, where it has one: 64 bits of mantissa and numbers up to
                 10⁴⁹³² on x86; else float64 again
===============  ====================================================================================

So the reference is judged as well. A formula that cancels digits away, or overflows on its way, differs
from itself in a longer type: ln Σ eˣ, as it stands, is ∞ in float64 from x = 710 on, and 710.69 there.

What no number of digits tells apart is ∞ - ∞. There the limit decides, if there is one: every ∞ is taken
for numbers beyond all others, of one size and of many, and if the formula gives one and the same for all
of them, that is the result, and NaN is a mistake. ln Σ eˣ of (-∞, -∞) is -∞. Where ∞ meets 0 there is a
limit only if it is the same with small numbers in place of 0. An op for which NaN is the better answer
says so in its cases, ``without={"limits": why}``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnet.op import Op
from refnet.op.results import as_tuple

Values = tuple[Any, ...]

#: the processor's longer type of floats, or float64 where that is all there is
LONGER: Any = np.longdouble if np.finfo(np.longdouble).maxexp > 1024 else np.float64
SIZES = 2000.0, 2400.0  # decimal exponents of what stands for ∞: its square is a number there
DRAWS = 16


def judged_by(dtype: str) -> str:
    """In words, the type in which results of `dtype` are judged.

    >>> judged_by("float32")
    'float64'
    """
    longer = LONGER is not np.float64 and dtype == "float64"
    return f"floats of {np.finfo(LONGER).nmant + 1} bits of mantissa" if longer else "float64"


def reference(op: Op, inputs: Values, attributes: dict[str, Any]) -> Values:
    """The formula of the reference in float64."""
    if op.draws:
        attributes = {**attributes, "dtype": "float64"}
    return _results(op, inputs, attributes)


def exact(op: Op, inputs: Values, attributes: dict[str, Any], dtype: str) -> Values:
    """What an op that computes in `dtype` is judged by."""
    if dtype != "float64" or LONGER is np.float64 or op.draws:
        return reference(op, inputs, attributes)
    results = _results(op, tuple(map(_longer, inputs)), attributes)
    family = (op.primal or op).cases
    if not any(map(_has_infinity, inputs)) or (family and "limits" in family.without):
        return results
    tried = [
        _results(op, tuple(_stand_in(x, rng, zeros) for x in inputs), attributes)
        for zeros in (False, True)
        for rng in (None, *map(np.random.default_rng, range(DRAWS)))
    ]
    return tuple(map(_with_limits, results, zip(*tried, strict=True)))


def _with_limits(y: Any, tried: tuple[Any, ...]) -> Any:
    """y, but where it is NaN and all that was tried is one number of float64, that number."""
    if y is None or np.asarray(y).dtype.kind != "f":
        return y
    with np.errstate(all="ignore"):
        numbers = [np.asarray(one).astype(np.float64) for one in tried]
        same = [np.isclose(one, numbers[0], rtol=1e-9, atol=0.0) for one in numbers]
    return np.where(np.isnan(y) & np.all(same, axis=0), numbers[0], y)


def _results(op: Op, inputs: Values, attributes: dict[str, Any]) -> Values:
    """All results of the formula; what it overwrites are copies."""
    copies = tuple(np.array(x) for x in inputs) if op.writes else inputs
    with np.errstate(all="ignore"):
        return as_tuple(op.function(*copies, **attributes))


def _has_infinity(x: Any) -> bool:
    return np.asarray(x).dtype.kind == "f" and bool(np.isinf(x).any())


def _longer(x: Any) -> Any:
    x = np.asarray(x)
    return x.astype(LONGER) if x.dtype.kind == "f" else x


def _stand_in(x: Any, rng: np.random.Generator | None, zeros: bool) -> Any:
    """x with ±10ᵉ for every ±∞, e random or all the same; with `zeros`, ±10⁻ᵉ for every ±0."""
    x = _longer(x)
    if x.dtype.kind != "f":
        return x
    exponents = np.full(x.shape, SIZES[0]) if rng is None else rng.uniform(*SIZES, x.shape)
    size = LONGER(10) ** exponents.astype(LONGER)
    x = np.where(np.isinf(x), np.copysign(size, x), x)
    return np.where(x == 0, np.copysign(1 / size, x), x) if zeros else x
