"""The same numbers in another arrangement. Nothing is computed, so nothing is rounded.

The gradient of a rearrangement is the rearrangement undone.
"""

from __future__ import annotations

import numpy as np

from refnet.op import op
from refnet.op.shapes import (
    joined,
    moved_back,
    packed,
    padded,
    reshaped,
    stacked,
    stacked_vjp,
    stretched,
    transposed,
)
from refnet.ops.reductions import sum_to


@op(saves="x", shape=reshaped, views="x")
def reshape(x, shape=(-1,)):
    r"""y: the elements of x, in row-major order, in another shape. -1 is worked out."""
    return np.reshape(x, shape)


@reshape.vjp(shape=moved_back, shape_of="x", views="g")
def reshape_vjp(g, x, shape=(-1,)):
    r"""∂L/∂x: g in the shape of x"""
    return np.reshape(g, np.shape(x))


@op(shape=transposed, views="x")
def transpose(x, axes=None):
    r"""y: the axes of x in another order, reversed if none is given"""
    return np.transpose(x, axes)


@transpose.vjp(shape=transposed, views="g")
def transpose_vjp(g, axes=None):
    r"""∂L/∂x: the axes of g put back in order"""
    return np.transpose(g, None if axes is None else np.argsort(np.mod(axes, np.ndim(g))))


@op(saves="xs", shape=joined)
def concatenate(*xs, axis=0):
    r"""y: the arrays one after the other along an axis they already have"""
    return np.concatenate(xs, axis)


@concatenate.vjp(shape=moved_back, shape_of="xs", views="g")
def concatenate_vjp(g, *xs, axis=0):
    r"""∂L/∂x_i: the part of g where x_i lies"""
    ends = np.cumsum([np.shape(x)[axis] for x in xs])
    return tuple(np.split(g, ends[:-1], axis))


@op(shape=stacked)
def stack(*xs, axis=0):
    r"""y: the arrays side by side along a new axis"""
    return np.stack(xs, axis)


@stack.vjp(shape=stacked_vjp, views="g")
def stack_vjp(g, axis=0):
    r"""∂L/∂x_i: slice i of g"""
    return tuple(np.moveaxis(g, axis, 0))


@op(saves="x", shape=stretched, views="x")
def broadcast_to(x, shape=()):
    r"""y: x repeated along axes of length 1 and along new leading axes"""
    return np.broadcast_to(x, shape)


@broadcast_to.vjp(shape=moved_back, shape_of="x", views="g")
def broadcast_to_vjp(g, x, shape=()):
    r"""∂L/∂x: g summed over the copies"""
    return sum_to(g, np.shape(x))


@op(saves="x", shape=padded)
def pad(x, pad_width=(), value=0.0):
    r"""y: x with a border: `pad_width` holds (before, after) for each axis"""
    return np.pad(x, pad_width, constant_values=value)


@pad.vjp(shape=moved_back, shape_of="x", views="g")
def pad_vjp(g, x, pad_width=(), value=0.0):
    r"""∂L/∂x: g without the border"""
    return g[
        tuple(
            slice(before, before + n) for (before, _), n in zip(pad_width, np.shape(x), strict=True)
        )
    ]


@op(wrt="", shape_of="x")
def full_like(x, value=0.0):
    r"""y: an array of x's shape and type with `value` everywhere"""
    return np.full(np.shape(x), value, np.result_type(x))


@op(saves="xs", shape=packed)
def pack(*xs, offsets=(), size=0):
    r"""y: a vector of `size` numbers that holds x_i, flattened, from offset i on, and 0 elsewhere"""
    y = np.zeros(size, np.result_type(*xs))
    for x, offset in zip(xs, offsets, strict=True):
        y[offset : offset + x.size] = x.reshape(-1)
    return y


@pack.vjp(shape=moved_back, shape_of="xs", views="g")
def pack_vjp(g, *xs, offsets=(), size=0):
    r"""∂L/∂x_i: the part of g where x_i lies, in the shape of x_i"""
    parts = zip(xs, offsets, strict=True)
    return tuple(np.reshape(g[at : at + np.size(x)], np.shape(x)) for x, at in parts)


# == Proof: what it is tried on, and how wrong it may be ===========================================

from refnet.op.columns import Case, Cases
from refnet.ops.reductions import summed_to_inputs
from refnet.proof.bounds import exact
from refnet.proof.cases import MANY, ONE_ARRAY, TALL, large, normal, with_nonfinite


def _arrangements(*rows, bench, beyond, without=ONE_ARRAY):
    """Cases from (shapes of the inputs, attributes) rows; `beyond` has a large one."""
    tests = [Case(f"{s} {given}", normal(*s), given, smooth=True) for s, given in rows]
    tests += [Case(f"{c.name} transposed", c.make, c.attributes, "transposed") for c in tests[:1]]
    tests += [Case(f"{c.name} strided", c.make, c.attributes, "strided") for c in tests[:1]]
    first, (shapes, given), (many, given_many) = tests[0], bench, beyond
    tests.append(
        Case(f"{first.name} NaN and infinities", with_nonfinite(first.make), first.attributes)
    )
    return Cases(
        tuple(tests),
        lambda n: (Case("rows", normal(*shapes(n)), given),),
        (large(*many, **given_many),),
        without,
    )


SEVERAL = {"broadcast": "the arrays lie side by side, each with a shape of its own"}


def _matrix(n):
    return ((max(1, n // 1024), 1024),)


RESHAPES = _arrangements(
    (((6, 4),), {"shape": (3, 8)}),
    (((2, 3, 4),), {"shape": (2, -1)}),
    (((2, 3),), {"shape": (-1,)}),
    (((1,),), {"shape": ()}),
    (((0, 3),), {"shape": (0, 1, 3)}),
    bench=(_matrix, {"shape": (-1,)}),
    beyond=((TALL,), {"shape": (-1,)}),
)


reshape.proof(RESHAPES, exact())


TRANSPOSES = _arrangements(
    (((5, 4),), {}),
    (((2, 3, 4),), {}),
    (((2, 3, 4),), {"axes": (0, 2, 1)}),
    (((2, 3, 4, 5),), {"axes": (2, 0, 3, 1)}),
    (((2, 3, 4),), {"axes": (0, -1, 1)}),
    (((3,),), {}),
    (((1, 1),), {}),
    (((0, 3),), {}),
    bench=(_matrix, {}),
    beyond=((TALL,), {}),
)


transpose.proof(TRANSPOSES, exact())


JOINS = _arrangements(
    (((2, 3), (4, 3)), {"axis": 0}),
    (((2, 3), (2, 1), (2, 2)), {"axis": 1}),
    (((2, 3), (2, 3)), {"axis": -1}),
    (((0, 3), (2, 3)), {"axis": 0}),
    (((5,),), {"axis": 0}),
    (((1,),), {"axis": 0}),
    bench=(lambda n: _matrix(n // 2) * 2, {"axis": 1}),
    beyond=((TALL, TALL), {"axis": 1}),
    without=SEVERAL,
)


concatenate.proof(JOINS, exact())


STACKS = _arrangements(
    (((2, 3), (2, 3)), {"axis": 0}),
    (((2, 3), (2, 3), (2, 3)), {"axis": 1}),
    (((4,), (4,)), {"axis": -1}),
    (((4,), (4,)), {"axis": -2}),
    (((), ()), {"axis": 0}),
    (((0, 3), (0, 3)), {"axis": 1}),
    bench=(lambda n: _matrix(n // 2) * 2, {"axis": 0}),
    beyond=((TALL, TALL), {"axis": 0}),
    without={"broadcast": "all arrays have one shape"},
)


stack.proof(STACKS, exact())


STRETCHES = _arrangements(
    (((4, 1),), {"shape": (4, 5)}),
    (((3,),), {"shape": (2, 3)}),
    (((),), {"shape": (2, 3)}),
    (((1, 3),), {"shape": (0, 3)}),
    (((2, 1, 4),), {"shape": (5, 2, 3, 4)}),
    bench=(lambda n: ((1024,),), {"shape": (1024, 1024)}),
    beyond=((TALL[1:],), {"shape": TALL}),
    without={},
)


broadcast_to.proof(STRETCHES, exact(), vjp=summed_to_inputs(lambda g, x, shape=(): (g,)))


PADS = _arrangements(
    (((4, 3),), {"pad_width": ((1, 2), (0, 3))}),
    (((5,),), {"pad_width": ((2, 0),)}),
    (((2, 3, 4),), {"pad_width": ((0, 0), (1, 1), (2, 2)), "value": 1.5}),
    (((0, 3),), {"pad_width": ((1, 1), (0, 0))}),
    (((1,),), {"pad_width": ((1, 0),)}),
    bench=(_matrix, {"pad_width": ((1, 1), (1, 1))}),
    beyond=((TALL,), {"pad_width": ((1, 1), (1, 1))}),
)


pad.proof(PADS, exact())


FILLS = _arrangements(
    (((5, 4),), {}),
    (((5, 4),), {"value": 1.0}),
    (((),), {"value": 1.0}),
    (((0, 3),), {"value": 1.0}),
    bench=(_matrix, {"value": 1.0}),
    beyond=((TALL,), {"value": 1.0}),
)


full_like.proof(FILLS, exact())


PACKS = _arrangements(
    (((2, 3), (4,)), {"offsets": (0, 16), "size": 32}),
    (((5,), (), (2, 2)), {"offsets": (0, 16, 32), "size": 48}),
    (((16,),), {"offsets": (0,), "size": 16}),
    (((1,),), {"offsets": (0,), "size": 16}),
    (((0, 3), (4,)), {"offsets": (0, 16), "size": 32}),
    bench=(lambda n: ((1024, 512), (512,)), {"offsets": (0, 524_288), "size": 524_800}),
    beyond=((TALL, (16,)), {"offsets": (0, MANY + 1023), "size": MANY + 1039}),
    without=SEVERAL,
)


pack.proof(PACKS, exact())
