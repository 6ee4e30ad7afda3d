"""Axes of a reduction: which they are, and how any of them become the middle one of three."""

from __future__ import annotations

import math


def axes_of(x, axis):
    """The reduced axes, counted from 0, in ascending order."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = (axis,) if isinstance(axis, int) else axis
    return tuple(sorted(a % x.ndim for a in axes))


def three_axes(shape, begin, end):
    """(outer, length, inner): how many elements before, in and after the axes begin … end-1."""
    return math.prod(shape[:begin]), math.prod(shape[begin:end]), math.prod(shape[end:])


def neighbours(axes):
    """Runs of neighbouring axes as (begin, end), the last run first: (0, 1, 3) is (3, 4), (0, 2)."""
    groups = []
    for axis in axes:
        if groups and groups[-1][1] == axis:
            groups[-1] = (groups[-1][0], axis + 1)
        else:
            groups.append((axis, axis + 1))
    return groups[::-1]


def spread(g, x, axis, keepdims):
    """g, a result of a reduction of x over `axis`, shaped so that it broadcasts against x."""
    if keepdims:
        return g
    axes = axes_of(x, axis)
    return g.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


def reduced_count(x, axis):
    """How many elements of x go into each result of a reduction over `axis`."""
    return math.prod(x.shape[a] for a in axes_of(x, axis))


def stretched(shape, to):
    """The axes of the shape `to` along which `shape` is stretched to it, in ascending order."""
    extra = len(to) - len(shape)
    return (
        *range(extra),
        *[i + extra for i, n in enumerate(shape) if n == 1 and to[i + extra] != 1],
    )
