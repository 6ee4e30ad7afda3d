"""Many numbers become one: sums, means and extremes along axes.

A reduction's gradient goes the other way: what arrives for the one result is handed back to every
element that went in. `axis` is None (all), an integer or a tuple of integers, as in NumPy.
"""

from __future__ import annotations

import builtins
import math

import numpy as np

from refnet.op import op
from refnet.op.shapes import reduced, summed_to


@op(saves="x", shape=reduced, views="x")
def sum(x, axis=None, keepdims=False):
    r"""y = Σ_i x_i"""
    return added(x, axis, keepdims)


@sum.vjp(shape_of="x", views="g")
def sum_vjp(g, x, axis=None, keepdims=False):
    r"""∂L/∂x_i = g: every term of a sum passes on the whole of g."""
    return stretched(spread(g, x, axis, keepdims), x)


@op(saves="x", shape=reduced, views="x")
def mean(x, axis=None, keepdims=False):
    r"""y = (1/n) Σ_i x_i"""
    return added(x, axis, keepdims) / reduced_count(x, axis)


@mean.vjp(shape_of="x")
def mean_vjp(g, x, axis=None, keepdims=False):
    r"""∂L/∂x_i = g / n"""
    share = g / reduced_count(x, axis)
    return stretched(spread(share, x, axis, keepdims), x)


BLOCK = 128  # terms that are added one after another, as in NumPy's own sums of a row


def added(x, axis=None, keepdims=False):
    """Σ along some axes, in blocks, and the sums of blocks in blocks again.

    NumPy adds the numbers of a row in pairs, but rows one after another: 10⁶ rows of 0.1 in float32 come
    to 100,958. In blocks, a term meets 128 roundings at each of log n / log 128 levels, and not n.
    """
    shape = np.shape(x)
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    for a in axes:
        if shape[a] > BLOCK and x.strides[a] != x.itemsize:
            x = _in_blocks(x, a % len(shape))
    return np.sum(x, axis, keepdims=keepdims)


def _in_blocks(x, axis):
    """The sums of blocks along an axis, until they are no more than a block."""
    while x.shape[axis] > BLOCK:
        n = x.shape[axis] // BLOCK
        whole, rest = np.split(x, [n * BLOCK], axis)
        blocks = whole.reshape(*x.shape[:axis], n, BLOCK, *x.shape[axis + 1 :])
        parts = [np.sum(blocks, axis + 1), np.sum(rest, axis, keepdims=True)]
        x = np.concatenate(parts if rest.size else parts[:1], axis)
    return x


def stretched(g, x):
    """g repeated to the shape of x (a new array)."""
    y = np.empty(np.shape(x), np.result_type(g))
    y[...] = g
    return y


def spread(g, x, axis, keepdims):
    """g, a result of a reduction of x over `axis`, shaped so that it broadcasts against x."""
    return g if axis is None or keepdims else np.expand_dims(g, axis)


def reduced_count(x, axis):
    """How many elements of x go into each result of a reduction over `axis`."""
    if axis is None:
        return np.size(x)
    axes = (axis,) if isinstance(axis, int) else axis
    return math.prod(np.shape(x)[a] for a in axes)


@op(saves="x y", shape=reduced, views="x")
def max(x, axis=None, keepdims=False):
    r"""y = max_i x_i. NaN if any x_i is NaN."""
    return np.max(x, axis, keepdims=keepdims)


@max.vjp
def max_vjp(g, x, y, axis=None, keepdims=False):
    r"""∂L/∂x_i = g · [x_i = y] / (how many are equal to y): the largest elements share g."""
    largest = x == spread(y, x, axis, keepdims)
    ties = np.sum(largest, axis, keepdims=keepdims).astype(np.result_type(g))
    return spread(g / ties, x, axis, keepdims) * largest


@op(saves="x y", shape=reduced, views="x")
def min(x, axis=None, keepdims=False):
    r"""y = min_i x_i. NaN if any x_i is NaN."""
    return np.min(x, axis, keepdims=keepdims)


@min.vjp
def min_vjp(g, x, y, axis=None, keepdims=False):
    r"""∂L/∂x_i = g · [x_i = y] / (how many are equal to y): the smallest elements share g."""
    return max_vjp(g, x, y, axis, keepdims)


@op(wrt="", shape=reduced)
def argmax(x, axis=None, keepdims=False):
    r"""The index of the largest x_i: the first one, if several are equal; of the first NaN, if any."""
    return np.argmax(x, axis, keepdims=keepdims)


@op(wrt="", shape=reduced)
def argmin(x, axis=None, keepdims=False):
    r"""The index of the smallest x_i: the first one, if several are equal; of the first NaN, if any."""
    return np.argmin(x, axis, keepdims=keepdims)


@op(saves="x", shape=summed_to, views="x", floats=True)
def sum_to(x, shape=()):
    r"""x summed over the axes along which `shape` was stretched to x's shape: undoes broadcasting."""
    if np.shape(x) == shape:
        return x
    extra = np.ndim(x) - len(shape)
    stretched = [i + extra for i, n in enumerate(shape) if n == 1 and np.shape(x)[i + extra] != 1]
    total = added(x, (*range(extra), *stretched), keepdims=True)
    return np.reshape(total, shape)


@sum_to.vjp(shape_of="x", views="g")
def sum_to_vjp(g, x, shape=()):
    r"""∂L/∂x: g, stretched to x's shape."""
    return stretched(g, x)


# == Proof: what it is tried on, and how wrong it may be ===========================================

from dataclasses import replace

from refnet.op import Kink
from refnet.op.columns import Case, Cases
from refnet.proof.bounds import exact, rounded_sum, ulp
from refnet.proof.cases import ONE_ARRAY, TALL, large, normal, reduction, with_nonfinite


def _terms(x, axis=None, keepdims=False):
    """(n, Σ|x|) for the error bound of a sum."""
    return reduced_count(x, axis), np.sum(np.abs(x), axis, keepdims=keepdims)


sum.proof(reduction, rounded_sum(2, _terms), vjp=exact())


def _mean_terms(x, axis=None, keepdims=False):
    n, total = _terms(x, axis, keepdims)
    return n, total / builtins.max(n, 1)


mean.proof(reduction, rounded_sum(2, _mean_terms, divided=True), vjp=ulp(1))
max.proof(
    lambda: reduction(empty=False),
    exact(),
    vjp=ulp(1),
    kinks=[Kink(([1.0, 1.0],), "mean", {"axis": 0})],
)
min.proof(
    lambda: reduction(empty=False),
    exact(),
    vjp=ulp(1),
    kinks=[Kink(([1.0, 1.0],), "mean", {"axis": 0})],
)


def _one_axis():
    """The cases of `reduction` that have one axis, or none."""
    family = reduction(empty=False)
    allowed = {"axis", "keepdims"}
    tests = [c for c in family if not isinstance(c.attributes.get("axis"), tuple)]
    assert builtins.all(set(c.attributes) <= allowed for c in tests)
    tests = tuple(Case(c.name, c.make, c.attributes, c.layout) for c in tests)
    return replace(family, tests=tests)


argmax.proof(_one_axis, exact())
argmin.proof(_one_axis, exact())


def _stretched(shape, to):
    return Case(f"{to} to {shape}", normal(to), {"shape": shape}, smooth=True)


SUM_TO = Cases(
    (
        _stretched((3,), (4, 3)),
        _stretched((4, 1), (4, 3)),
        _stretched((), (4, 3)),
        _stretched((4, 3), (4, 3)),
        _stretched((3, 1), (2, 4, 3, 5)),
        _stretched((1, 3), (1031, 3)),
        Case("empty", normal((0, 3)), {"shape": (3,)}),
        Case("one element", normal((1, 1)), {"shape": ()}),
        Case("NaN and infinities", with_nonfinite(normal((4, 3))), {"shape": (3,)}),
        Case("transposed", normal((33, 17)), {"shape": (1, 17)}, "transposed"),
        Case("strided", normal((5, 29)), {"shape": (29,)}, "strided"),
    ),
    lambda n: (Case("columns", normal((builtins.max(1, n // 1024), 1024)), {"shape": (1024,)}),),
    (large(TALL, shape=TALL[1:]), large(TALL, shape=(TALL[0], 1))),
    ONE_ARRAY,
)


def _sum_to_terms(x, shape=()):
    return np.size(x) / builtins.max(1, math.prod(shape)), sum_to(np.abs(x), shape)


sum_to.proof(SUM_TO, rounded_sum(2, _sum_to_terms), vjp=exact())


def summed_to_inputs(terms, c=4):
    """Error bound for the gradient of an op that broadcasts: Σ|terms| over what was stretched.

    ``terms(g, *inputs)`` returns, for each input, the gradient before it is summed to its shape.
    """

    def pairs(g, *inputs, **attributes):
        return [
            (np.size(g) / builtins.max(1, np.size(x)), sum_to(np.abs(term + 0 * g), np.shape(x)))
            for term, x in zip(terms(g, *inputs, **attributes), inputs, strict=False)
        ]

    return rounded_sum(c, pairs)
