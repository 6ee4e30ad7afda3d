"""The inputs every op is tried on, by family: what breaks kernels, and what a benchmark times.

A `Case` makes its inputs in float64 from a random generator; whoever uses it rounds them to the
dtype under test. The names say what a case is after: "points" holds the kinks, signed zeros,
subnormals, huge values, infinities and NaN; "block edge" sizes lie just below, at and just above
the block sizes that kernels use; "transposed" and "strided" are views with odd strides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Inputs = tuple[Any, ...]
Make = Callable[["np.random.Generator"], Inputs]  # quoted: numpy.random takes long to import

#: zeros, kinks (0, ±3, 6), ordinary, saturating and huge values, subnormals of three formats,
#: infinities and NaN
POINTS = np.array(
    [
        *(0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, -6.0, 0.5, -0.5, 0.35, -0.35, 1e-3, -1e-3),
        *(2.0**-24, -(2.0**-24), 1e-40, -1e-40, 17.0, -17.0, 88.0, -87.0, -103.0, 1e4, -1e4),
        *(np.inf, -np.inf, np.nan),
    ]
)


@dataclass(frozen=True)
class Case:
    """One set of inputs to try.

    Attributes
    ----------
    name : what the case is after.
    make : draws the inputs, in float64 (integers stay integers).
    attributes : the op's attributes for this case.
    layout : "C", or "transposed" or "strided" for views of every input that allows it.
    smooth : True if the op has a derivative at these inputs: the gradient check uses the case.
    """

    name: str
    make: Make
    attributes: dict[str, Any] = field(default_factory=dict)
    layout: str = "C"
    smooth: bool = False


@dataclass(frozen=True)
class Cases:
    """A family of cases, and `bench`: the inputs to time, for a given number of elements."""

    tests: tuple[Case, ...]
    bench: Callable[[int], tuple[Case, ...]]

    def __iter__(self) -> Any:
        return iter(self.tests)


def normal(*shapes: tuple[int, ...], scale: float = 1.0) -> Make:
    """Inputs drawn from N(0, scale²), one for each shape."""
    return lambda rng: tuple(rng.normal(0.0, scale, shape) for shape in shapes)


def positive(*shapes: tuple[int, ...]) -> Make:
    """Inputs drawn from the log-normal distribution: positive, over several magnitudes."""
    return lambda rng: tuple(np.exp(rng.normal(0.0, 1.5, shape)) for shape in shapes)


def constant(*arrays: Any) -> Make:
    """Inputs that are always the same."""
    return lambda rng: tuple(np.array(a) for a in arrays)


def _square(elements: int) -> tuple[int, int]:
    """(rows, columns) with about `elements` elements and columns a multiple of 16."""
    columns = max(16, int(elements**0.5) // 16 * 16)
    return max(1, elements // columns), columns


def unary(draw: Callable[..., Make] = normal, variants: tuple[dict[str, Any], ...] = ()) -> Cases:
    """Functions of one array, element by element. `variants` are attributes to try as well."""
    tests = [
        Case("points", constant(POINTS)),
        Case("one element", draw((1,))),
        Case("scalar", draw(()), smooth=True),
        Case("empty", draw((0,))),
        Case("empty rows", draw((3, 0))),
        Case("matrix", draw((7, 31)), smooth=True),
        Case("wide range", lambda rng: (draw((257,))(rng)[0] * 12.0,)),
        *(Case(f"block edge {n}", draw((n,))) for n in (1023, 1024, 1025)),
        Case("transposed", draw((33, 17)), layout="transposed"),
        Case("strided", draw((5, 29)), layout="strided"),
        *(Case(f"{given}", constant(POINTS), given) for given in variants),
        *(Case(f"{given} matrix", draw((5, 9)), given, smooth=True) for given in variants),
    ]
    return Cases(tuple(tests), lambda n: (Case("square", draw(_square(n))),))


def binary(draw: Callable[..., Make] = normal) -> Cases:
    """Functions of two arrays that broadcast against each other."""
    grid = POINTS[:, None], POINTS[None, :]
    tests = (
        Case("points", constant(*grid)),
        Case("same shape", draw((7, 31), (7, 31)), smooth=True),
        Case("row", draw((6, 17), (17,)), smooth=True),
        Case("column", draw((6, 17), (6, 1)), smooth=True),
        Case("outer", draw((5, 1, 7), (4, 1)), smooth=True),
        Case("scalar right", draw((3, 5), ()), smooth=True),
        Case("scalar left", draw((), (3, 5)), smooth=True),
        Case("scalars", draw((), ())),
        Case("one element", draw((1,), (1,))),
        Case("empty", draw((0, 3), (3,))),
        Case("block edge", draw((1025,), (1025,))),
        Case("transposed", draw((33, 17), (33, 17)), layout="transposed"),
        Case("strided", draw((5, 29), (5, 29)), layout="strided"),
    )
    return Cases(tests, lambda n: (Case("square", draw(_square(n), _square(n))),))


def reduction(draw: Callable[..., Make] = normal, empty: bool = True) -> Cases:
    """Reductions over one axis, several, or all, with and without keepdims."""
    shaped: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        ((4, 3, 5), {}),
        ((4, 3, 5), {"axis": 0}),
        ((4, 3, 5), {"axis": 1, "keepdims": True}),
        ((4, 3, 5), {"axis": -1}),
        ((4, 3, 5), {"axis": (0, 2)}),
        ((4, 3, 5), {"axis": (1, 2), "keepdims": True}),
        ((2, 3, 4, 5), {"axis": (0, 3)}),
    ]
    tests = [Case(f"{shape} {given}", draw(shape), given, smooth=True) for shape, given in shaped]
    tests += [
        Case("scalar", draw(())),
        Case("one element", draw((1,)), {"axis": 0}),
        Case("long", draw((5003,))),
        Case("long rows", draw((3, 2049)), {"axis": 1}),
        Case("tall columns", draw((1031, 5)), {"axis": 0}),
        Case("wide columns", draw((37, 130)), {"axis": 0}),
        Case("NaN", constant([[1.0, np.nan, 2.0], [3.0, 4.0, 5.0]]), {"axis": 1}),
        Case("infinities", constant([[1.0, np.inf, 2.0], [-np.inf, 4.0, 5.0]]), {"axis": 1}),
        Case("ties", constant([[2.0, 2.0, 1.0], [0.0, -0.0, 0.0]]), {"axis": 1}),
        Case("transposed", draw((33, 17)), {"axis": 1}, layout="transposed"),
        Case("strided", draw((5, 29)), {"axis": 1}, layout="strided"),
    ]
    if empty:
        tests += [
            Case("empty", draw((0, 3)), {"axis": 0}),
            Case("no rows", draw((0, 3)), {"axis": 1}),
        ]
    bench = lambda n: tuple(  # noqa: E731
        Case(name, draw(_square(n)), given)
        for name, given in (("rows", {"axis": 1}), ("columns", {"axis": 0}), ("all", {}))
    )
    return Cases(tuple(tests), bench)


def rows() -> Cases:
    """Functions that normalise along an axis: softmax and its kin."""
    tests = (
        Case("small", normal((4, 5)), smooth=True),
        Case("three dimensions", normal((2, 3, 4)), {"axis": 1}, smooth=True),
        Case("first axis", normal((6, 3)), {"axis": 0}, smooth=True),
        Case("one column", normal((5, 1))),
        Case("one element", normal((1,))),
        Case("empty", normal((0, 4))),
        Case("huge logits", constant([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]])),
        Case("infinities", constant([[np.inf, 0.0, 1.0], [-np.inf, 0.0, 1.0]])),
        Case("all -inf", constant([[-np.inf, -np.inf]])),
        Case("NaN", constant([[np.nan, 0.0, 1.0], [3.0, 2.0, 1.0]])),
        *(Case(f"block edge {n}", normal((3, n), scale=4.0)) for n in (127, 128, 129, 1023, 1025)),
        Case("long row", normal((2, 40_000), scale=3.0)),
        Case("transposed", normal((33, 17)), layout="transposed"),
        Case("strided", normal((5, 29)), layout="strided"),
    )
    return Cases(
        tests,
        lambda n: tuple(
            Case(f"{columns} columns", normal((max(1, n // columns), columns)))
            for columns in (1024, 4096, 32_768, 131_072)
            if columns <= max(n, 1024)
        ),
    )
