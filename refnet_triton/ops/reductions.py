"""Sums, means and extremes along axes. The twin of refnet/ops/reductions.py.

Every reduction is brought to one form: x as (outer, length, inner), of which the middle axis is reduced.
A program takes a few inner columns of one outer slice and walks down the middle axis with a tile of
running results, one for each row of the tile; at the end it reduces the tile. Where there are too few
outer and inner positions to fill a GPU, the middle axis is cut into parts, and the parts' results are
reduced by a second launch. No atomics: the order of additions, and so every bit, is always the same.

Programs are counted by one number, as only the first axis of a grid may be long: the blocks of columns
of a part lie side by side, then come the parts of a slice, then the slices.
"""

from __future__ import annotations

import builtins
import math

import torch

from refnet.errors import DTypeError
from refnet_triton.language import mathematics
from refnet_triton.language.axes import (
    axes_of,
    neighbours,
    reduced_count,
    spread,
    stretched,
    three_axes,
)
from refnet_triton.language.copies import contiguous, rounded, wide
from refnet_triton.language.pointwise import pointwise
from refnet_triton.runtime.device import (
    LAUNCH,
    arithmetic,
    blocks,
    check_tensors,
    compute_type,
    launches,
    narrow,
    on_device_of,
    share,
    widen,
)

# isort: split
import triton
import triton.language as tl

PROGRAMS = 1024  # enough to fill a GPU several times over
TILE = 4096  # elements a program holds at a time


# --- what to reduce with: how two elements combine, how a tile becomes a row, where to start --------


@triton.jit
def _add(a, b):
    return a + b


@triton.jit
def _sum_tile(tile):
    return tl.sum(tile, axis=0)


SUM = (_add, _sum_tile, 0.0)
MAX = (mathematics.maximum, mathematics.largest, -math.inf)
MIN = (mathematics.minimum, mathematics.smallest, math.inf)
OF_INTEGERS = {  # in int64
    SUM: (*SUM[:2], 0),
    MAX: (*MAX[:2], -(1 << 63)),
    MIN: (*MIN[:2], (1 << 63) - 1),
}


@triton.jit
def _place(parts, inner, COLUMNS: tl.constexpr):
    """(slice and part in one number, that part, first column) of a program."""
    across = blocks(inner, COLUMNS)
    place = (tl.program_id(0) // across).to(tl.int64)
    return place, place % parts, (tl.program_id(0) % across).to(tl.int64) * COLUMNS


@triton.jit
def _reduce_kernel(x, y, length, inner, parts, part, divisor: tl.float64, COMBINE: tl.constexpr,
                   FINISH: tl.constexpr, START: tl.constexpr, COMPUTE: tl.constexpr,
                   ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # fmt: skip
    """y[outer, p, i] = the reduction of x[outer, p·part : (p+1)·part, i], divided by `divisor`."""
    place, p, first_column = _place(parts, inner, COLUMNS)
    column = first_column + tl.arange(0, COLUMNS)[None, :]
    row = tl.arange(0, ROWS)[:, None].to(tl.int64)
    first = p * part
    last = tl.minimum(first + part, length)
    x += place // parts * length * inner
    tile = tl.full((ROWS, COLUMNS), START, COMPUTE)
    for start in range(first, last, ROWS):
        inside = (start + row < last) & (column < inner)
        values = tl.load(x + (start + row) * inner + column, mask=inside, other=START)
        tile = COMBINE(tile, widen(values).to(COMPUTE))
    result = FINISH(tile)
    if result.dtype.is_floating():
        result = mathematics.divide(result, tl.full((COLUMNS,), divisor, COMPUTE))
    flat = first_column + tl.arange(0, COLUMNS)
    y += place * inner
    tl.store(y + flat, narrow(result, y.dtype.element_ty), mask=flat < inner)


@triton.jit
def _first_equal_kernel(
    x, y, where, length, inner, parts, part, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """where[outer, p, i] = the smallest r of part p with x[outer, r, i] = y[outer, i]; NaN equals NaN."""
    place, p, first_column = _place(parts, inner, COLUMNS)
    outer = place // parts
    column = first_column + tl.arange(0, COLUMNS)[None, :]
    row = tl.arange(0, ROWS)[:, None].to(tl.int64)
    first_row = p * part
    last = tl.minimum(first_row + part, length)
    wanted = widen(tl.load(y + outer * inner + column, mask=column < inner))
    x += outer * length * inner
    first = tl.full((ROWS, COLUMNS), 1 << 62, tl.int64)
    for start in range(first_row, last, ROWS):
        inside = (start + row < last) & (column < inner)
        values = widen(tl.load(x + (start + row) * inner + column, mask=inside))
        match = inside & ((values == wanted) | ((values != values) & (wanted != wanted)))
        first = tl.minimum(first, tl.where(match, start + row, first))
    flat = first_column + tl.arange(0, COLUMNS)
    where += place * inner
    tl.store(where + flat, tl.min(first, axis=0), mask=flat < inner)


def _tile(length, inner):
    """(rows, columns) of a tile: wide where columns lie side by side in memory, tall where rows do."""
    columns = builtins.min(triton.next_power_of_2(inner), 64)
    return builtins.min(triton.next_power_of_2(builtins.max(length, 1)), TILE // columns), columns


def _parts(length, rows, programs):
    """How many parts to cut the reduced axis into: enough to fill a GPU, each of 16 tiles or more."""
    if programs == 0:
        return 1
    wanted = triton.cdiv(PROGRAMS, programs)
    return builtins.max(1, builtins.min(triton.cdiv(length, 16 * rows), wanted))


def _reduce(x, outer, length, inner, how, divisor, dtype):
    """x, contiguous, seen as (outer, length, inner), reduced over the middle: (outer, inner)."""
    combine, finish, start = how
    y = torch.empty((outer, inner), dtype=dtype, device=x.device)
    if y.numel() == 0:
        return y
    rows, columns = _tile(length, inner)
    across = triton.cdiv(inner, columns)
    parts = _parts(length, rows, outer * across)
    part, out = triton.cdiv(length, parts), y
    if parts > 1:
        out = torch.empty((outer, parts, inner), dtype=_arithmetic(x.dtype), device=x.device)
    with on_device_of(x):
        for slices in launches(outer, parts * across):
            _reduce_kernel[(len(slices) * parts * across,)](
                share(x, slices, length * inner), share(out, slices, parts * inner),
                length, inner, parts, part, float(divisor if parts == 1 else 1.0),
                combine, finish, start, _compute_type(x.dtype), rows, columns, **LAUNCH,
            )  # fmt: skip
    return y if parts == 1 else _reduce(out, outer, parts, inner, how, divisor, dtype)


def _arithmetic(dtype):
    """`arithmetic`, and int64 for integers."""
    return arithmetic(dtype) if dtype.is_floating_point else torch.int64


def _compute_type(dtype):
    return compute_type(dtype) if dtype.is_floating_point else tl.int64


def _whole(dtype, how):
    """The type of the result for integers: sums have 64 bits, as NumPy's have."""
    if how is SUM:
        return torch.int64 if dtype == torch.bool or dtype.is_signed else torch.uint64
    if dtype == torch.uint64:
        raise DTypeError("the extremes of uint64 are not found on Triton, which orders int64")
    return dtype


def _along(x, axis, keepdims, how, divisor=1.0):
    """A reduction over some axes: neighbouring axes in one go, the last group first."""
    check_tensors("a reduction", x)
    axes = axes_of(x, axis)
    dtype, y = x.dtype, contiguous(x)
    if not dtype.is_floating_point:
        dtype = _whole(x.dtype, how)
        y, how = rounded(y, torch.int64), OF_INTEGERS[how]
    groups = neighbours(axes)
    for begin, end in groups:
        outer, length, inner = three_axes(y.shape, begin, end)
        shape = [*y.shape[:begin], *[1] * (end - begin), *y.shape[end:]]
        kind, n = (dtype, divisor) if (begin, end) == groups[-1] else (_arithmetic(y.dtype), 1.0)
        y = _reduce(y, outer, length, inner, how, n, kind).reshape(shape)
    kept = [1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes]
    return y.reshape(kept)


# --- the ops ----------------------------------------------------------------------------------------


def sum(x, axis=None, keepdims=False):
    r"""y = Σ_i x_i"""
    return _along(x, axis, keepdims, SUM)


def sum_vjp(g, x, axis=None, keepdims=False):
    r"""∂L/∂x_i = g: a view, nothing is copied"""
    return spread(g, x, axis, keepdims).expand(x.shape)


def mean(x, axis=None, keepdims=False):
    r"""y = (1/n) Σ_i x_i"""
    return _along(x, axis, keepdims, SUM, divisor=reduced_count(x, axis))


@pointwise
def _shared(g, n, chosen):
    return mathematics.divide(g, n) * chosen


def mean_vjp(g, x, axis=None, keepdims=False):
    r"""∂L/∂x_i = g / n"""
    share = _shared(g, float(reduced_count(x, axis)), 1.0)
    return spread(share, x, axis, keepdims).expand(x.shape)


def max(x, axis=None, keepdims=False):
    r"""y = max_i x_i. NaN if any x_i is NaN."""
    return _along(x, axis, keepdims, MAX)


@pointwise(dtype=torch.float32)
def _is_equal(x, y):
    return tl.where(x == y, 1.0, 0.0)


def max_vjp(g, x, y, axis=None, keepdims=False):
    r"""∂L/∂x_i = g · [x_i = y] / (how many are equal to y): the largest elements share g."""
    largest = _is_equal(x, spread(y, x, axis, keepdims))
    ties = spread(sum(largest, axis, keepdims), x, axis, keepdims)
    return rounded(_shared(spread(g, x, axis, keepdims), ties, largest), g.dtype)


def min(x, axis=None, keepdims=False):
    r"""y = min_i x_i. NaN if any x_i is NaN."""
    return _along(x, axis, keepdims, MIN)


def min_vjp(g, x, y, axis=None, keepdims=False):
    r"""∂L/∂x_i = g · [x_i = y] / (how many are equal to y): the smallest elements share g."""
    return max_vjp(g, x, y, axis, keepdims)


def _index_of(x, y, axis, keepdims):
    """Where along `axis` the first element equal to y, the extreme, stands."""
    begin, end = (0, x.ndim) if axis is None else (axis % x.ndim, axis % x.ndim + 1)
    x = contiguous(x)
    outer, length, inner = three_axes(x.shape, begin, end)
    rows, columns = _tile(length, inner)
    across = triton.cdiv(inner, columns)
    parts = _parts(length, rows, outer * across)
    where = torch.empty((outer, parts, inner), dtype=torch.int64, device=x.device)
    if where.numel():
        with on_device_of(x):
            for slices in launches(outer, parts * across):
                _first_equal_kernel[(len(slices) * parts * across,)](
                    share(x, slices, length * inner), share(y, slices, inner),
                    share(where, slices, parts * inner),
                    length, inner, parts, triton.cdiv(length, parts), rows, columns, **LAUNCH,
                )  # fmt: skip
    return (where.amin(1) if parts > 1 else where).view(y.shape)


def argmax(x, axis=None, keepdims=False):
    r"""The index of the largest x_i: the first one, if several are equal; of the first NaN, if any."""
    return _index_of(x, max(x, axis, keepdims), axis, keepdims)


def argmin(x, axis=None, keepdims=False):
    r"""The index of the smallest x_i: the first one, if several are equal; of the first NaN, if any."""
    return _index_of(x, min(x, axis, keepdims), axis, keepdims)


def sum_to(x, shape=()):
    r"""x summed over the axes along which `shape` was stretched to x's shape: undoes broadcasting."""
    shape = tuple(shape)
    if tuple(x.shape) == shape:
        return x
    return sum(x, stretched(shape, x.shape), keepdims=True).reshape(shape)


def sum_to_vjp(g, x, shape=()):
    r"""∂L/∂x: g, stretched to x's shape."""
    return g.expand(x.shape)


def summed(gradients, g, *inputs, of=None):
    """The gradients of an op that broadcasts, each summed to the shape of its input.

    ``gradients(g, *inputs)`` computes them in the shape of g; `of` names the inputs they belong to (all
    inputs, unless given). Half types are summed before they are rounded, in float32.
    """
    of = inputs if of is None else of
    if builtins.any(x.shape != g.shape for x in of):
        g = wide(g)
    terms = gradients(g, *inputs)
    terms = terms if isinstance(terms, tuple) else (terms,)
    sums = [sum_to(term, x.shape) for term, x in zip(terms, of, strict=True)]
    return tuple(rounded(y, x.dtype) for y, x in zip(sums, of, strict=True))
