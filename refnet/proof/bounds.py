r"""How far from the exact result a float computation may be: the bounds of TABLE.

The exact result is taken from the reference in a longer type (`refnet.proof.exact`), on the same
rounded inputs. Let u be the unit roundoff of the arithmetic (2⁻²⁴ in float32, 2⁻⁵³ in float64; half
precision is computed in float32 and rounded once at the end), and let ulp(y) be the distance between the
floats around y.

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
from typing import Any

import numpy as np

from refnet.base.dtypes import arithmetic, spacing, unit_roundoff
from refnet.op.columns import Bound

Scale = Callable[..., Any]


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


def rounded_sum(
    c: float, terms: Scale, plus: float = 1.0, stored: bool = False, divided: bool = False
) -> Bound:
    """c · u · √n · Σ|terms| + `plus` ulp, where ``terms(*inputs, **attributes)`` is (n, Σ|terms|).

    There is no bound where Σ|terms| is no number of the arithmetic any more: partial sums overflow, in
    one order of the terms or another. `divided` says that they are summed before they are divided by n.
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
        largest = np.finfo(arithmetic(dtype)).max
        return [
            (c * u * np.sqrt(max(n, 1)) + once) * np.nan_to_num(total, nan=0.0, posinf=0.0)
            + plus * spacing(y, arithmetic(dtype))
            + _storage_rounding(y, dtype)
            + np.where(
                np.isfinite(total) & (total > largest / (max(n, 1) if divided else 1)), np.inf, 0
            )
            for (n, total), y in zip(pairs, outputs, strict=True)
        ]

    return Bound(f"{c:g}·u·√n·Σ|terms|", tolerance)


def _each(scale: Any, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return scale if isinstance(scale, tuple) else (scale,) * len(outputs)


def _storage_rounding(y: Any, dtype: str) -> Any:
    """Half an ulp more for types that are computed in float32 and rounded at the store."""
    return 0.0 if dtype == arithmetic(dtype) else 0.51 * spacing(y, dtype)
