"""Some of the elements, chosen by position: x[key], as in NumPy.

A key of numbers that are known when it is written, x[1:, ::2], is an attribute: `index`. Positions
that are data themselves, x[rows, columns] or x[x > 0], are an input: `gather` picks one element (or
one slice) for each *coordinate*, a row of integers with one position for each axis that is indexed.
`coordinates` makes such rows of several index arrays, `mask_coordinates` of a boolean mask.

Positions have no gradient. What was picked several times gets the sum of all that comes back: the
gradient of a gather is a scatter-add.
"""

from __future__ import annotations

import numpy as np

from refnet.bounds import exact, rounded_sum
from refnet.cases import Case, Cases, constant, normal
from refnet.errors import DTypeError, ShapeError
from refnet.op import op
from refnet.shapes import Spec, agree, broadcast, indexed, moved_back


def _keys(*rows):
    """Cases of `index` from (shape of x, key) rows."""
    tests = [
        Case(f"{shape} {key}", normal(shape), {"key": key}, smooth=True) for shape, key in rows
    ]
    tests += [Case(f"{c.name} transposed", c.make, c.attributes, "transposed") for c in tests[:2]]
    tests += [Case(f"{c.name} strided", c.make, c.attributes, "strided") for c in tests[:2]]
    halves = {"key": (slice(None), slice(0, 512))}
    return Cases(tuple(tests), lambda n: (Case("rows", normal((max(1, n // 1024), 1024)), halves),))


INDICES = _keys(
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
)


@op(cases=INDICES, saves="x", error=exact(), shape=indexed)
def index(x, key=...):
    r"""y = x[key], for integers, slices, None (a new axis) and ... (all other axes)"""
    return x[key]


@index.vjp(shape=moved_back, shape_of="x")
def index_vjp(g, x, key=...):
    r"""∂L/∂x: g where x was looked at, 0 elsewhere"""
    dx = np.zeros(np.shape(x), np.result_type(g))
    dx[key] = g
    return dx


def _picks():
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
    ]

    def bench(n):
        rows = max(1, n // 1024)
        return (
            Case("rows", picked((rows, 1024), (rows,)), row),
            Case("elements", picked((n,), (max(1, n // 8),)), row),
        )

    return Cases(tuple(tests), bench)


def check_axes(shape, indices_shape, axes):
    """Raise a ShapeError unless coordinates of this shape have one position for each of `axes`."""
    fits = indices_shape and indices_shape[-1] in (None, len(axes))
    if not fits or len(set(axes)) < len(axes) or not set(axes) <= set(range(len(shape))):
        raise ShapeError(
            f"coordinates of shape {tuple(indices_shape)} do not hold one position for each of the "
            f"axes {axes} of an array of shape {tuple(shape)}"
        )


def out_of_range(position, axis, shape):
    """The error for a position that an axis does not have."""
    return ShapeError(
        f"index {position} is out of range for axis {axis} of length {shape[axis]} (of an array of "
        f"shape {tuple(shape)})"
    )


def _require_integers(indices):
    if np.asarray(indices).dtype.kind not in "iu":
        raise DTypeError(f"positions are integers, got {np.asarray(indices).dtype}")


def _gathered(op, specs, attributes):
    """The axes that are not indexed, and from `at` on those of the coordinates."""
    (x, indices), axes, at = specs, attributes["axes"], attributes["at"]
    check_axes(x.shape, indices.shape, axes)
    rest = [n for axis, n in enumerate(x.shape) if axis not in axes]
    return [Spec((*rest[:at], *indices.shape[:-1], *rest[at:]), x.dtype)]


def _scattered(op, specs, attributes):
    """What was gathered from has the shape of x, and its gradient the type of g."""
    return [Spec(specs[1].shape, specs[0].dtype)]


def _largest_sum(g, x, indices, axes=(0,), at=0):
    """(the most terms that meet in one element, Σ|g| for each)"""
    counts = gather_vjp(np.ones_like(g), x, indices, axes, at)
    return np.max(counts, initial=0), gather_vjp(np.abs(g), x, indices, axes, at)


def _positions(x, indices, axes):
    """One index array for each of `axes`, with every position in range."""
    check_axes(np.shape(x), np.shape(indices), axes)
    _require_integers(indices)
    columns = tuple(np.moveaxis(indices, -1, 0))
    for axis, column in zip(axes, columns, strict=True):
        n = np.shape(x)[axis]
        outside = np.extract((column < -n) | (column >= n), column)
        if outside.size:
            raise out_of_range(outside[0], axis, np.shape(x))
    return columns


@op(cases=_picks(), saves="x indices", wrt="x", error=exact(), shape=_gathered)
def gather(x, indices, axes=(0,), at=0):
    r"""y = x[..., i_1, ..., i_2, ...], where i_j = indices[..., j] counts along axis axes[j]

    The axes of x that are not indexed stay in order; from position `at` on, the axes of `indices`
    but its last stand among them. Negative positions count from the end.
    """
    picks = np.ndim(indices) - 1
    y = np.moveaxis(x, axes, range(len(axes)))[_positions(x, indices, axes)]
    return np.moveaxis(y, range(picks), range(at, at + picks))


@gather.vjp(error=rounded_sum(2, _largest_sum), shape_of="x", shape=_scattered)
def gather_vjp(g, x, indices, axes=(0,), at=0):
    r"""∂L/∂x_i = Σ g over all picks of position i: a scatter-add"""
    picks = np.ndim(indices) - 1
    dx = np.zeros(np.shape(x), np.result_type(g))
    terms = np.moveaxis(g, range(at, at + picks), range(picks))
    np.add.at(np.moveaxis(dx, axes, range(len(axes))), _positions(x, indices, axes), terms)
    return dx


def _index_arrays():
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
    )
    return Cases(tests, lambda n: (Case("flat", drawn((n // 8,), (n // 8,))),))


def _coordinates_shape(op, specs, attributes):
    """The common shape of the index arrays, and an axis with one position for each."""
    return [Spec((*broadcast(*(s.shape for s in specs)), len(specs)), "int64")]


@op(cases=_index_arrays(), wrt="", error=exact(), shape=_coordinates_shape)
def coordinates(*indices):
    r"""y[..., j] = indices_j: index arrays, broadcast together, side by side along a new last axis"""
    for i in indices:
        _require_integers(i)
    shape = broadcast(*(np.shape(i) for i in indices))
    return np.stack([np.broadcast_to(i, shape) for i in indices], -1).astype(np.int64)


def check_mask(shape, x_shape, axis):
    """Raise a ShapeError unless a mask of this shape fits the axes of x from `axis` on."""
    there = tuple(x_shape[axis : axis + len(shape)])
    if not agree(there, tuple(shape)):
        raise ShapeError(
            f"a mask of shape {tuple(shape)} does not fit the axes {there} of an array of shape "
            f"{tuple(x_shape)}"
        )


def _masks():
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
        Case("transposed", masked((33, 17), (33, 17)), layout="transposed"),
    )
    return Cases(tests, lambda n: (Case("flat", masked((n,), (n,))),))


def _mask_coordinates_shape(op, specs, attributes):
    """How many hold is known when the mask is; for how many axes it is, before."""
    mask, x = specs
    check_mask(mask.shape, x.shape, attributes["axis"])
    return [Spec((None, len(mask.shape)), "int64")]


@op(
    cases=_masks(),
    wrt="",
    error=exact(),
    shape_of="x",
    shape=_mask_coordinates_shape,
    varies=True,
)
def mask_coordinates(mask, x, axis=0):
    r"""y: where the mask holds, in row-major order, as coordinates of shape (how many, axes)

    The mask has the lengths of the axes of x from `axis` on. How long the result is depends on its
    values: in a graph that length is open.
    """
    check_mask(np.shape(mask), np.shape(x), axis)
    return np.argwhere(mask)
