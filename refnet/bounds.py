r"""How far from the exact result a float computation may be: the bounds of TABLE.

The exact result is taken from the reference in float64, on the same rounded inputs. Let u be the
unit roundoff of the arithmetic (2⁻²⁴ in float32, 2⁻⁵³ in float64; half precision is computed in
float32 and rounded once at the end), and let ulp(y) be the distance between the floats around y.

=================  =======================================================  ======================
`ulp(n)`           |ŷ - y| ≤ n · ulp(y)                                     elementwise functions
`ulp(n, of=s)`     |ŷ - y| ≤ n · ulp(s(inputs))                             where terms cancel
`rounded_sum(c)`   |ŷ - y| ≤ c · u · √n · Σ|terms|                          sums and products of n
=================  =======================================================  ======================

The third is the probabilistic bound of Higham and Mary (2019), "A new approach to probabilistic
rounding error analysis", with λ = c: the worst case has n in place of √n, and is never seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: mantissa bits (with the hidden one) and smallest normal exponent of each float type
FORMATS = {
    "float64": (53, -1022),
    "float32": (24, -126),
    "float16": (11, -14),
    "bfloat16": (8, -126),
}


def unit_roundoff(dtype: str) -> float:
    """u = 2⁻ᵖ for p mantissa bits: the largest relative error of one rounding."""
    return float(2.0 ** -FORMATS[dtype][0])


def arithmetic(dtype: str) -> str:
    """The type that values of `dtype` are computed in: float32 for the half types."""
    return "float64" if dtype == "float64" else "float32"


def spacing(y: Any, dtype: str) -> Any:
    """ulp(y): the distance from |y| to the next larger float of `dtype`, in float64.

    >>> float(spacing(1.0, "float32")) == 2.0**-23, float(spacing(0.0, "float32")) == 2.0**-149
    (True, True)
    """
    bits, smallest = FORMATS[dtype]
    magnitude = np.nan_to_num(np.abs(np.asarray(y, np.float64)), nan=0.0, posinf=0.0)
    exponent = np.where(magnitude > 0, np.frexp(magnitude)[1] - 1, smallest)  # frexp(0) is (0, 0)
    exponent = np.maximum(exponent, smallest)
    return np.ldexp(1.0, exponent - (bits - 1))


def round_to(x: Any, dtype: str) -> Any:
    """x rounded to the nearest value of `dtype`, kept in float64 (NumPy itself has no bfloat16).

    >>> round_to(1.00390625, "bfloat16").item()
    1.0
    """
    x = np.asarray(x)
    if x.dtype.kind != "f":
        return x
    with np.errstate(over="ignore", under="ignore"):
        if dtype != "bfloat16":
            return x.astype(dtype).astype(np.float64)
        bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
        bits += 0x7FFF + ((bits >> 16) & 1)  # round half to even
        rounded = (bits & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)
        return np.where(np.isnan(x), np.nan, rounded)


def below(y: float, dtype: str) -> float:
    """The largest number of `dtype` that is less than y; -∞ below the least.

    >>> below(1.0, "float32") == 1 - 2.0**-24, below(1.0, "float16") == 1 - 2.0**-11
    (True, True)
    """
    nearest = float(round_to(y, dtype))
    if nearest < y:
        return nearest
    smaller = np.nextafter(nearest, -np.inf)  # a float64 with the spacing of the numbers below
    return float(nearest - spacing(smaller, dtype))


Scale = Callable[..., Any]


@dataclass(frozen=True)
class Bound:
    """A bound on |ŷ - y| for each output of an op, element by element.

    `tolerance(dtype, inputs, attributes, outputs)` takes the float64 inputs and exact outputs and
    returns one array per output. `formula` is what the documentation prints.
    """

    formula: str
    tolerance: Callable[[str, tuple[Any, ...], dict[str, Any], tuple[Any, ...]], list[Any]]

    def __str__(self) -> str:
        return self.formula


def exact() -> Bound:
    """No error at all: moved, compared or counted, never rounded."""
    return Bound("0", lambda dtype, inputs, attributes, outputs: [np.zeros(())] * len(outputs))


def ulp(n: float, of: Scale | None = None) -> Bound:
    """n units in the last place of the result, or of the magnitudes `of(*inputs, **attributes)`.

    `of` returns one array, or a tuple of one per output. Half types add their final rounding.
    """

    def tolerance(
        dtype: str, inputs: tuple[Any, ...], attributes: dict[str, Any], outputs: tuple[Any, ...]
    ) -> list[Any]:
        scales = outputs if of is None else _each(of(*inputs, **attributes), outputs)
        return [
            n * spacing(scale, arithmetic(dtype)) + _storage_rounding(y, dtype)
            for scale, y in zip(scales, outputs, strict=True)
        ]

    return Bound(f"{n:g} ulp" + (" of its terms" if of else ""), tolerance)


def rounded_sum(c: float, terms: Scale, plus: float = 1.0, stored: bool = False) -> Bound:
    """c · u · √n · Σ|terms| + `plus` ulp, where ``terms(*inputs, **attributes)`` is (n, Σ|terms|).

    `terms` returns one such pair, or a list of one per output. `stored` says that one factor of each
    term is itself a result that a backend may store in the dtype under test before it is summed: for
    the half types, whose roundoff is larger than that of their arithmetic, that adds Σ|terms| times it.
    """

    def tolerance(
        dtype: str, inputs: tuple[Any, ...], attributes: dict[str, Any], outputs: tuple[Any, ...]
    ) -> list[Any]:
        pairs = terms(*inputs, **attributes)
        pairs = pairs if isinstance(pairs, list) else [pairs]
        u = unit_roundoff(arithmetic(dtype))
        once = unit_roundoff(dtype) if stored and dtype != arithmetic(dtype) else 0.0
        return [
            (c * u * np.sqrt(max(n, 1)) + once) * np.nan_to_num(total, nan=0.0, posinf=0.0)
            + plus * spacing(y, arithmetic(dtype))
            + _storage_rounding(y, dtype)
            for (n, total), y in zip(pairs, outputs, strict=True)
        ]

    return Bound(f"{c:g}·u·√n·Σ|terms|", tolerance)


def _each(scale: Any, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return scale if isinstance(scale, tuple) else (scale,) * len(outputs)


def _storage_rounding(y: Any, dtype: str) -> Any:
    """Half an ulp more for types that are computed in float32 and rounded at the store."""
    return 0.0 if dtype == arithmetic(dtype) else 0.51 * spacing(y, dtype)
