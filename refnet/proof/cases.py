"""The inputs every op is tried on, by family: what breaks kernels, and what a benchmark times.

A `Case` makes its inputs in float64 from a random generator; whoever uses it rounds them to the
dtype under test. The names say what a case is after: "points" holds the kinks, signed zeros,
subnormals, huge values, infinities and NaN; "block edge" sizes lie just below, at and just above
the block sizes that kernels use; "transposed" and "strided" are views with odd strides.

A family also has *large* cases, of more than 2³¹ elements, where 32 bits are too few to count them.
Their inputs take no memory: one number stands for all. They are there for their shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refnet.op.columns import Case, Cases, Inputs, Make

#: so large that their powers and multiples overflow in float32; ∞ in float16, but for ±60,000
EXTREMES = np.array([6e4, -6e4, 1e20, -1e20, 3e38, -3e38])

#: zeros, kinks (0, ±3, 6), ordinary, saturating and huge values, subnormals of three formats,
#: infinities and NaN
POINTS = np.array(
    [
        *(0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, -6.0, 0.5, -0.5, 0.35, -0.35, 1e-3, -1e-3),
        *(2.0**-24, -(2.0**-24), 1e-40, -1e-40, 17.0, -17.0, 88.0, -87.0, -103.0, 1e4, -1e4),
        *(np.inf, -np.inf, np.nan),
    ]
)


def normal(*shapes: tuple[int, ...], scale: float = 1.0) -> Make:
    """Inputs drawn from N(0, scale²), one for each shape."""
    return lambda rng: tuple(rng.normal(0.0, scale, shape) for shape in shapes)


def positive(*shapes: tuple[int, ...]) -> Make:
    """Inputs drawn from the log-normal distribution: positive, over several magnitudes."""
    return lambda rng: tuple(np.exp(rng.normal(0.0, 1.5, shape)) for shape in shapes)


def constant(*arrays: Any) -> Make:
    """Inputs that are always the same."""
    return lambda rng: tuple(np.array(a) for a in arrays)


#: 2³¹ + 1 elements, and the rows and columns of a matrix with a few more
MANY = (1 << 31) + 1
TALL = (1 << 21) + 1, 1024


def stand_in(*shapes: tuple[int, ...]) -> Make:
    """Inputs of any size in no memory: every element of one is the same number."""
    return lambda rng: tuple(np.broadcast_to(rng.normal(), shape) for shape in shapes)


def large(*shapes: tuple[int, ...], **attributes: Any) -> Case:
    """A case of more than 2³¹ elements."""
    given = f" {attributes}" if attributes else ""
    return Case(f"{' '.join(map(str, shapes))}{given}", stand_in(*shapes), attributes)


def with_nonfinite(make: Make) -> Make:
    """The same inputs, but in each array of floats the first element NaN, the last ones ∞ and -∞."""

    def spoiled(rng: np.random.Generator) -> Inputs:
        inputs = make(rng)
        for x in inputs:
            if np.ndim(x) and x.dtype.kind == "f":
                flat = x.reshape(-1)  # a view: what is drawn has no gaps
                flat[[0, -2, -1]] = np.nan, np.inf, -np.inf
        return inputs

    return spoiled


#: rows of large and the largest numbers, subnormal ones, -∞: where a formula overflows, or makes NaN
ROWS = {
    "large numbers": [[1e4] * 3, [1e4, -1e4, 0.0], [-1e4] * 3, [100.0, -100.0, 1.0]],
    "largest numbers": [[3e38] * 3, [-3e38] * 3, [1.6e38, -1.6e38, 1.0], [1e20, -1e20, 1e-3]],
    "subnormal numbers": [[1e-40, 2e-40, 3e-40], [1e-45, -1e-45, 0.0], [6e-8, 1e-7, 1.0]],
    "rows of -infinity": [[-np.inf] * 3, [-np.inf, 0.0, 1.0], [-np.inf, -3e38, -3e38]],
}
MUCH = 100_000
#: many terms, whose rounding errors are no errors of mean zero
LONG_SUMS = {
    "equal terms": lambda rng: (np.full((MUCH, 2), [0.1, -1 / MUCH]),),
    "sorted terms": lambda rng: (np.sort(rng.exponential(1.0, (MUCH, 2)), axis=0),),
    "one huge term": lambda rng: (
        np.where(np.arange(2 * MUCH).reshape(-1, 2) < 2, 1e6, rng.random((MUCH, 2))),
    ),
    "alternating signs": lambda rng: (rng.random((MUCH, 2)) * (-1.0) ** np.arange(MUCH)[:, None],),
}
ONE_ARRAY = {"broadcast": "takes one array"}
#: why a score of ∞ gives NaN, though its class has probability 1 in the limit
OVERFLOWN = {
    "limits": "a score of ∞ has overflown on its way, and NaN says so, as in PyTorch and Keras"
}


def _square(elements: int) -> tuple[int, int]:
    """(rows, columns) with about `elements` elements and columns a multiple of 16."""
    columns = max(16, int(elements**0.5) // 16 * 16)
    return max(1, elements // columns), columns


def unary(draw: Callable[..., Make] = normal, variants: tuple[dict[str, Any], ...] = ()) -> Cases:
    """Functions of one array, element by element. `variants` are attributes to try as well."""
    tests = [
        Case("points", constant(POINTS)),
        Case("extremes", constant(EXTREMES)),
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
        *(Case(f"{given} extremes", constant(EXTREMES), given) for given in variants),
        *(Case(f"{given} matrix", draw((5, 9)), given, smooth=True) for given in variants),
    ]

    def bench(n):
        return Case("square", draw(_square(n))), Case("ragged", draw((max(1, n - 5),)))

    return Cases(tuple(tests), bench, (large((MANY,)),), ONE_ARRAY, family="unary")


def _pairs(points: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Every point beside every point, in two arrays of one shape: gradients are not summed."""
    return [np.ravel(x) for x in np.meshgrid(points, points)]


def binary(draw: Callable[..., Make] = normal) -> Cases:
    """Functions of two arrays that broadcast against each other."""
    grid = POINTS[:, None], POINTS[None, :]
    subnormal = (POINTS != 0) & (
        np.abs(POINTS) < 1e-30
    )  # what is computed from them has few digits
    tests = (
        Case("points", constant(*grid)),
        Case("points of one shape", constant(*_pairs(POINTS[~subnormal]))),
        Case("extremes", constant(*_pairs(np.array([0.0, 1.0, -1.0, *EXTREMES])))),
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
    beyond = (large((MANY,), (MANY,)), large(TALL, TALL[1:]), large(TALL, (TALL[0], 1)))
    bench = lambda n: (Case("square", draw(_square(n), _square(n))),)  # noqa: E731
    return Cases(tests, bench, beyond, family="binary")


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
        ((2, 3, 4, 5), {"axis": (0, 2, 3)}),
    ]
    tests = [Case(f"{shape} {given}", draw(shape), given, smooth=True) for shape, given in shaped]
    tests += [
        Case("scalar", draw(())),
        Case("one element", draw((1,)), {"axis": 0}),
        Case("long", draw((5003,))),
        Case("long rows", draw((3, 2049)), {"axis": 1}),
        Case("tall columns", draw((1031, 5)), {"axis": 0}),
        Case("wide columns", draw((37, 130)), {"axis": 0}),
        Case("tall and wide", draw((1500, 64)), {"axis": 0}),
        Case("NaN", constant([[1.0, np.nan, 2.0], [3.0, 4.0, 5.0]]), {"axis": 1}),
        Case("NaN in a column", constant([[1.0, np.nan, 2.0], [3.0, 4.0, 5.0]]), {"axis": 0}),
        Case("infinities", constant([[1.0, np.inf, 2.0], [-np.inf, 4.0, 5.0]]), {"axis": 1}),
        Case("ties", constant([[2.0, 2.0, 1.0], [0.0, -0.0, 0.0]]), {"axis": 1}),
        Case("transposed", draw((33, 17)), {"axis": 1}, layout="transposed"),
        Case("strided", draw((5, 29)), {"axis": 1}, layout="strided"),
        Case("no rows", draw((0, 3)), {"axis": 1}),
        *(Case(name, make, {"axis": 0}) for name, make in LONG_SUMS.items()),
        *(Case(name, constant(x), {"axis": 1}) for name, x in ROWS.items()),
        *(
            Case(f"{name}, in columns", constant(np.transpose(x)), {"axis": 0})
            for name, x in ROWS.items()
        ),
    ]
    if empty:
        tests.append(Case("empty", draw((0, 3)), {"axis": 0}))
    beyond = large((MANY,)), large(TALL, axis=0), large(TALL, axis=1)
    bench = lambda n: tuple(  # noqa: E731
        Case(name, draw(_square(n)), given)
        for name, given in (("rows", {"axis": 1}), ("columns", {"axis": 0}), ("all", {}))
    )
    return Cases(tuple(tests), bench, beyond, ONE_ARRAY, family="reduction")


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
        *(Case(name, constant(x)) for name, x in ROWS.items()),
        *(Case(f"block edge {n}", normal((3, n), scale=4.0)) for n in (127, 128, 129, 1023, 1025)),
        Case("long row", normal((2, 40_000), scale=3.0)),
        Case("transposed", normal((33, 17)), layout="transposed"),
        Case("strided", normal((5, 29)), layout="strided"),
    )
    return Cases(
        tests,
        lambda n: tuple(
            Case(f"{columns} columns", normal((max(1, n // columns), columns)))
            for columns in (1024, 4096, 32_768, 131_072, 262_144)
            if columns <= max(n, 1024)
        ),
        (large(TALL), large((1 << 16, (1 << 15) + 1)), large(TALL, axis=0)),
        ONE_ARRAY | OVERFLOWN,
        family="rows",
    )


# -- positions ----------------------------------------------------------------------------------------


def slices() -> Cases:
    """Keys of integers, slices, None and ..., for `index`."""
    rows = (
        ((5, 4), (slice(1, 4), slice(None, None, 2))),
        ((5, 4), (slice(None, None, -1), slice(3, 0, -2))),
        ((5, 4), 2),
        ((5, 4), -1),
        ((5, 4), (Ellipsis, 0)),
        ((5, 4), (None, slice(None), 1)),
        ((2, 3, 4), (slice(0, 0),)),
        ((2, 3, 4), (slice(0, 1, -1), 0)),
        ((2, 3, 4), (1, slice(None), slice(1, 3))),
        ((2, 3, 4), (1, None, Ellipsis, slice(-2, None, -1))),
        ((1,), (None, 0)),
        ((0, 3), (slice(None), 1)),
    )
    tests = [
        Case(f"{shape} {key}", normal(shape), {"key": key}, smooth=True) for shape, key in rows
    ]
    tests += [Case(f"{c.name} transposed", c.make, c.attributes, "transposed") for c in tests[:2]]
    tests += [Case(f"{c.name} strided", c.make, c.attributes, "strided") for c in tests[:2]]
    for case in tests[:2]:
        make = with_nonfinite(case.make)
        tests.append(Case(f"{case.name} NaN and infinities", make, case.attributes))
    halves = {"key": (slice(None), slice(0, 512))}
    return Cases(
        tuple(tests),
        lambda n: (Case("rows", normal((max(1, n // 1024), 1024)), halves),),
        (large((TALL[0], 2 * TALL[1]), key=(slice(None), slice(None, None, -2))),),
        ONE_ARRAY,
    )


def picks() -> Cases:
    """Cases of `gather`: positions from both ends, once, often and never, along one axis and several."""

    def picked(shape, count, axes=(0,), once=False):
        """x of a shape, and coordinates of shape (*count, axes)."""

        def make(rng):
            lengths = [shape[axis] for axis in axes]
            if once:
                columns = [np.arange(n)[::-1].reshape(count) for n in lengths]
            else:
                columns = [rng.integers(-n, n, count) for n in lengths]
            return rng.normal(0.0, 1.0, shape), np.stack(columns, -1)

        return make

    def one_row(rng):
        return rng.normal(0.0, 1.0, (3, 2)), np.full((300, 1), 1)

    def narrow(rng):
        x, indices = picked((5, 4), (7,), (0, 1))(rng)
        return x, indices.astype(np.int32)

    row = {"axes": (0,), "at": 0}
    shaped = (
        ("rows", (5, 4), (7,), row),
        ("a matrix of rows", (5, 4), (2, 3), row),
        ("one row", (5, 4), (), row),
        ("columns", (5, 4), (3,), {"axes": (1,), "at": 1}),
        ("columns in front", (5, 4), (3,), {"axes": (1,), "at": 0}),
        ("elements", (5, 4), (9,), {"axes": (0, 1), "at": 0}),
        ("middle axes", (2, 3, 4, 5), (2, 2), {"axes": (1, 2), "at": 1}),
        ("outer axes", (3, 4, 5), (6,), {"axes": (0, 2), "at": 0}),
        ("axes in another order", (3, 4, 5), (6,), {"axes": (2, 0), "at": 1}),
    )
    tests = [
        Case(name, picked(s, count, given["axes"]), given, smooth=True)
        for name, s, count, given in shaped
    ]
    tests += [
        Case("each once", picked((6, 3), (6,), once=True), row, smooth=True),
        Case("one row only", one_row, row),
        Case("32-bit positions", narrow, {"axes": (0, 1), "at": 0}),
        Case("many terms", picked((3, 37), (1500,)), row),
        Case("long rows", picked((4, 1025), (9,)), row),
        Case("block edge", picked((1025,), (1023,)), row),
        Case("nothing picked", picked((5, 4), (0,)), row),
        Case("empty rows", picked((5, 0), (3,)), row),
        Case("nothing to pick from", picked((0, 3), (0,), once=True), row),
        Case("transposed", picked((33, 17), (40,)), row, "transposed"),
        Case("strided", picked((5, 29), (11,), (1,)), {"axes": (1,), "at": 1}, "strided"),
        Case("one element", picked((1,), ()), row),
        Case("NaN and infinities", with_nonfinite(picked((5, 4), (7,))), row),
    ]

    def bench(n):
        rows = max(1, n // 1024)
        return (
            Case("rows", picked((rows, 1024), (rows,)), row),
            Case("elements", picked((n,), (max(1, n // 8),)), row),
        )

    def one_column(rng):
        return *stand_in(TALL)(rng), np.full((1, 1), TALL[0] - 1)

    def every_row(rng):
        return *stand_in((5, TALL[1]))(rng), np.broadcast_to(0, (TALL[0], 1))

    beyond = Case("out of many", one_column, row), Case("many", every_row, row)
    without = {"broadcast": "positions say where, x what: their shapes are not compared"}
    return Cases(tuple(tests), bench, beyond, without)


def index_arrays() -> Cases:
    """Index arrays that broadcast against each other, for `coordinates`."""

    def drawn(*shapes):
        return lambda rng: tuple(rng.integers(-9, 9, shape) for shape in shapes)

    def narrow(rng):
        a, b = drawn((4,), (3, 1))(rng)
        return a.astype(np.int32), b.astype(np.uint8)

    tests = (
        Case("one", drawn((5,))),
        Case("same shape", drawn((5,), (5,))),
        Case("outer", drawn((4, 1), (3,))),
        Case("with a number", drawn((2, 3), (), (3,))),
        Case("numbers", drawn((), ())),
        Case("empty", drawn((0,), (1,))),
        Case("narrow types", narrow),
        Case("transposed", drawn((33, 17), (33, 17)), layout="transposed"),
        Case("strided", drawn((5, 29), (29,)), layout="strided"),
    )

    def many(rng):
        return np.broadcast_to(1, (MANY // 2 + 1,)), np.zeros(1, int)

    return Cases(
        tests,
        lambda n: (Case("flat", drawn((n // 8,), (n // 8,))),),
        (Case("many", many),),
        {"NaN": "positions are integers", "infinity": "positions are integers"},
    )


def masks() -> Cases:
    """Masks and what they are laid over, for `mask_coordinates`."""

    def masked(shape, x_shape):
        return lambda rng: (rng.normal(0.0, 1.0, shape) > 0, rng.normal(0.0, 1.0, x_shape))

    none, all_ = np.zeros((3, 2), bool), np.ones((3, 2), bool)
    tests = (
        Case("vector", masked((7,), (7,))),
        Case("matrix", masked((5, 4), (5, 4))),
        Case("rows", masked((5,), (5, 4))),
        Case("columns", masked((4,), (5, 4)), {"axis": 1}),
        Case("middle axes", masked((3, 4), (2, 3, 4, 5)), {"axis": 1}),
        Case("none holds", constant(none, np.zeros((3, 2)))),
        Case("all hold", constant(all_, np.zeros((3, 2)))),
        Case("empty", masked((0, 3), (0, 3))),
        Case("one element", masked((1,), (1,))),
        Case("transposed", masked((33, 17), (33, 17)), layout="transposed"),
        Case("strided", masked((5, 29), (5, 29)), layout="strided"),
    )

    def many(rng):
        return np.broadcast_to(True, (MANY,)), np.broadcast_to(0.0, (MANY,))

    shape_only = "of x only the shape counts, and the mask is true or false"
    without = {"NaN": shape_only, "infinity": shape_only}
    without["broadcast"] = "the mask has the lengths of the axes it masks"
    return Cases(
        tests, lambda n: (Case("flat", masked((n,), (n,))),), (Case("many", many),), without
    )
