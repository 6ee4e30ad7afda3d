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

from refnet.errors import DTypeError, ShapeError
from refnet.op import op
from refnet.op.shapes import Spec, agree, broadcast, indexed, moved_back


@op(saves="x", shape=indexed, views="x")
def index(x, key=...):
    r"""y = x[key], for integers, slices, None (a new axis) and ... (all other axes)"""
    return x[key]


@index.vjp(shape=moved_back, shape_of="x")
def index_vjp(g, x, key=...):
    r"""∂L/∂x: g where x was looked at, 0 elsewhere"""
    dx = np.zeros(np.shape(x), np.result_type(g))
    dx[key] = g
    return dx


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


@op(saves="x indices", wrt="x", shape=_gathered, views="x")
def gather(x, indices, axes=(0,), at=0):
    r"""y = x[..., i_1, ..., i_2, ...], where i_j = indices[..., j] counts along axis axes[j]

    The axes of x that are not indexed stay in order; from position `at` on, the axes of `indices`
    but its last stand among them. Negative positions count from the end.
    """
    picks = np.ndim(indices) - 1
    y = np.moveaxis(x, axes, range(len(axes)))[_positions(x, indices, axes)]
    return np.moveaxis(y, range(picks), range(at, at + picks))


@gather.vjp(shape_of="x", shape=_scattered)
def gather_vjp(g, x, indices, axes=(0,), at=0):
    r"""∂L/∂x_i = Σ g over all picks of position i: a scatter-add"""
    picks = np.ndim(indices) - 1
    dx = np.zeros(np.shape(x), np.result_type(g))
    terms = np.moveaxis(g, range(at, at + picks), range(picks))
    np.add.at(np.moveaxis(dx, axes, range(len(axes))), _positions(x, indices, axes), terms)
    return dx


def _coordinates_shape(op, specs, attributes):
    """The common shape of the index arrays, and an axis with one position for each."""
    return [Spec((*broadcast(*(s.shape for s in specs)), len(specs)), "int64")]


@op(wrt="", shape=_coordinates_shape)
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


def _mask_coordinates_shape(op, specs, attributes):
    """How many hold is known when the mask is; for how many axes it is, before."""
    mask, x = specs
    check_mask(mask.shape, x.shape, attributes["axis"])
    return [Spec((None, len(mask.shape)), "int64")]


@op(wrt="", shape_of="x", shape=_mask_coordinates_shape, data_dependent_shape=True)
def mask_coordinates(mask, x, axis=0):
    r"""y: where the mask holds, in row-major order, as coordinates of shape (how many, axes)

    The mask has the lengths of the axes of x from `axis` on. How long the result is depends on its
    values: in a graph that length is open.
    """
    check_mask(np.shape(mask), np.shape(x), axis)
    return np.argwhere(mask)


# == Proof: what it is tried on, and how wrong it may be ===========================================

from refnet.proof.bounds import exact, rounded_sum
from refnet.proof.cases import index_arrays, masks, picks, slices

index.proof(slices, exact())


def _largest_sum(g, x, indices, axes=(0,), at=0):
    """(the most terms that meet in one element, Σ|g| for each)"""
    counts = gather_vjp(np.ones_like(g), x, indices, axes, at)
    return np.max(counts, initial=0), gather_vjp(np.abs(g), x, indices, axes, at)


gather.proof(picks, exact(), vjp=rounded_sum(2, _largest_sum))
coordinates.proof(index_arrays, exact())
mask_coordinates.proof(masks, exact())
