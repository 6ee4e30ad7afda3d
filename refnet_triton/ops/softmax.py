"""Softmax and its logarithm, row by row. The twin of refnet/ops/softmax.py.

A row that fits into the registers of one program is read once and written once; several short rows
share a program. A longer row is read twice: once to find its largest element and its sum, with the sum
corrected whenever a larger element turns up (Milakov and Gimelshein (2018), "Online normalizer
calculation for softmax"), and once to write the results.
"""

from __future__ import annotations

import math

import torch

from refnet_triton.language import mathematics
from refnet_triton.language.axes import axes_of, spread
from refnet_triton.language.copies import contiguous
from refnet_triton.language.pointwise import pointwise
from refnet_triton.runtime import device
from refnet_triton.runtime.device import (
    LAUNCH,
    arithmetic,
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

LONGEST = 16_384  # elements of a row that one program holds
BLOCK = 8_192  # elements of a longer row that it holds at a time
PROGRAMS = 1024  # enough to fill a GPU several times over


# --- what is done to a tile of whole rows -----------------------------------------------------------


@triton.jit
def _softmax_rows(x, _):
    e = mathematics.exp(x - tl.max(x, axis=1)[:, None])
    return mathematics.divide(e, tl.sum(e, axis=1)[:, None])


@triton.jit
def _log_softmax_rows(x, _):
    z = x - tl.max(x, axis=1)[:, None]
    return z - mathematics.log(tl.sum(mathematics.exp(z), axis=1))[:, None]


@triton.jit
def _softmax_vjp_rows(y, g):
    return y * (g - tl.sum(g * y, axis=1)[:, None])


@triton.jit
def _log_softmax_vjp_rows(y, g):
    return g - mathematics.exp(y) * tl.sum(g, axis=1)[:, None]


@triton.jit
def _rows_kernel(F: tl.constexpr, x, g, out, rows, columns, COMPUTE: tl.constexpr, ROWS: tl.constexpr,
                 COLUMNS: tl.constexpr):  # fmt: skip
    """out = F(x, g) for ROWS whole rows. Beyond the end of a row x is -∞, whose exponential is 0."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < columns)
    at = row * columns + column
    a = widen(tl.load(x + at, mask=inside, other=float("-inf"))).to(COMPUTE)
    if g is None:
        b = a
    else:
        b = widen(tl.load(g + at, mask=inside, other=0.0)).to(COMPUTE)
        a = tl.where(inside, a, 0.0)
    tl.store(out + at, narrow(F(a, b), out.dtype.element_ty), mask=inside)


# --- rows too long for that -------------------------------------------------------------------------


@triton.jit
def online_sum(x, columns, COMPUTE: tl.constexpr, BLOCK: tl.constexpr):
    """(max, Σ e^{x - max}) of a row, in one pass. All -∞ gives (-∞, NaN), as x - max is NaN then.

    tl.max drops NaN, but the sum is NaN where one was met: the maximum is put right at the end.
    """
    largest = tl.full((), float("-inf"), COMPUTE)
    total = tl.zeros((), COMPUTE)
    for start in range(0, columns, BLOCK):
        first_column = start  # interpreted: a number, and an array of 64 bits if need be
        column = first_column + tl.arange(0, BLOCK)
        tile = tl.load(x + column, mask=column < columns, other=float("-inf"))
        tile = widen(tile).to(COMPUTE)
        new = tl.maximum(largest, tl.max(tile, axis=0))
        safe = tl.where(new == float("-inf"), 0.0, new)  # -∞ - -∞ would be NaN, and stay
        old = total * mathematics.exp(largest - safe)
        total = old + tl.sum(mathematics.exp(tile - safe), axis=0)
        largest = new
    finite = tl.abs(largest) < float("inf")
    total = tl.where(largest == float("-inf"), float("nan"), total)
    return tl.where(finite & (total != total), float("nan"), largest), total


@triton.jit
def _long_softmax_kernel(x, out, columns, LOG: tl.constexpr, COMPUTE: tl.constexpr,
                         BLOCK: tl.constexpr):  # fmt: skip
    x += tl.program_id(0).to(tl.int64) * columns
    out += tl.program_id(0).to(tl.int64) * columns
    largest, total = online_sum(x, columns, COMPUTE, BLOCK)
    log_total = mathematics.log(total)
    for start in range(0, columns, BLOCK):
        first_column = start  # interpreted: a number, and an array of 64 bits if need be
        column = first_column + tl.arange(0, BLOCK)
        inside = column < columns
        z = widen(tl.load(x + column, mask=inside)).to(COMPUTE) - largest
        if LOG:
            y = z - log_total
        else:
            y = mathematics.divide(mathematics.exp(z), total)
        tl.store(out + column, narrow(y, out.dtype.element_ty), mask=inside)


@triton.jit
def _long_vjp_kernel(
    y, g, out, columns, LOG: tl.constexpr, COMPUTE: tl.constexpr, BLOCK: tl.constexpr
):
    first = tl.program_id(0).to(tl.int64) * columns
    parts = tl.zeros((BLOCK,), COMPUTE)
    for start in range(0, columns, BLOCK):
        at = first + start + tl.arange(0, BLOCK)
        inside = at < first + columns
        term = widen(tl.load(g + at, mask=inside, other=0.0)).to(COMPUTE)
        if not LOG:
            term *= widen(tl.load(y + at, mask=inside, other=0.0)).to(COMPUTE)
        parts += term
    total = tl.sum(parts, axis=0)
    for start in range(0, columns, BLOCK):
        at = first + start + tl.arange(0, BLOCK)
        inside = at < first + columns
        a = widen(tl.load(y + at, mask=inside)).to(COMPUTE)
        b = widen(tl.load(g + at, mask=inside)).to(COMPUTE)
        if LOG:
            dx = b - mathematics.exp(a) * total
        else:
            dx = a * (b - total)
        tl.store(out + at, narrow(dx, out.dtype.element_ty), mask=inside)


@triton.jit
def _logsumexp_kernel(x, out, columns, part, parts, COMPUTE: tl.constexpr, BLOCK: tl.constexpr):
    """out[row, p] = ln Σ e^x over x[row, p · part : (p + 1) · part], in one pass.

    Each e^x is taken relative to the largest element so far, or to 0 while that is not finite.
    """
    place = tl.program_id(0).to(tl.int64)
    row, first = place // parts, place % parts * part
    last = tl.minimum(first + part, columns)
    lane = tl.arange(0, BLOCK).to(tl.int64)
    largest = tl.full((), float("-inf"), COMPUTE)
    shift = tl.zeros((), COMPUTE)
    total = tl.zeros((), COMPUTE)
    for start in range(first, last, BLOCK):
        column = start + lane
        tile = tl.load(x + row * columns + column, mask=column < last, other=float("-inf"))
        tile = widen(tile).to(COMPUTE)
        largest = tl.maximum(largest, tl.max(tile, axis=0))
        new = tl.where(tl.abs(largest) < float("inf"), largest, 0.0)
        total = tl.where(total == 0, 0.0, total * mathematics.exp(shift - new))
        total += tl.sum(mathematics.exp(tile - new), axis=0)
        shift = new
    y = shift + mathematics.log(total)
    tl.store(out + place, narrow(y, out.dtype.element_ty))


# --- launching --------------------------------------------------------------------------------------


def _warps(elements):
    """4 warps up to 4096 elements, then more, so that a thread holds at most 32."""
    return max(4, triton.next_power_of_2(elements) // 1024)


def _last(x, axis):
    """x with `axis` moved to the end, contiguous."""
    return contiguous(x.movedim(axis, -1))


def _each_row(tile_function, long_kernel, log, axis, x, g=None):
    check_tensors("softmax", *(t for t in (x, g) if t is not None))
    a, b = _last(x, axis), None if g is None else _last(g, axis)
    out = torch.empty(a.shape, dtype=x.dtype, device=x.device)
    columns = a.shape[-1]
    rows = a.numel() // max(1, columns)
    if a.numel():
        with on_device_of(a):
            if columns <= LONGEST:
                wide = triton.next_power_of_2(columns)
                most = 65_536 if device.few_programs else 2048  # elements of a program
                tall = max(1, min(triton.next_power_of_2(rows), most // wide))
                _rows_kernel[(triton.cdiv(rows, tall),)](
                    tile_function, a, b, out, rows, columns, compute_type(x.dtype), tall, wide,
                    num_warps=_warps(wide * tall), **LAUNCH,
                )  # fmt: skip
            else:
                operands = (a, out) if b is None else (a, b, out)
                long_kernel[(rows,)](
                    *operands, columns, log, compute_type(x.dtype), BLOCK, num_warps=8, **LAUNCH
                )
    return out.movedim(-1, axis)


def softmax(x, axis=-1):
    r"""y_i = e^{x_i} / Σ_j e^{x_j}"""
    return _each_row(_softmax_rows, _long_softmax_kernel, False, axis, x)


def softmax_vjp(g, y, axis=-1):
    r"""∂L/∂x_i = y_i · (g_i - Σ_j g_j y_j)"""
    return _each_row(_softmax_vjp_rows, _long_vjp_kernel, False, axis, y, g)


def log_softmax(x, axis=-1):
    r"""y_i = x_i - ln Σ_j e^{x_j}"""
    return _each_row(_log_softmax_rows, _long_softmax_kernel, True, axis, x)


def log_softmax_vjp(g, y, axis=-1):
    r"""∂L/∂x_i = g_i - e^{y_i} · Σ_j g_j"""
    return _each_row(_log_softmax_vjp_rows, _long_vjp_kernel, True, axis, y, g)


def _reduce_rows(x, dtype):
    """ln Σ e^x of each row; where rows are few and long, of parts of them, and then of those."""
    rows, columns = x.shape
    block = min(max(16, triton.next_power_of_2(columns)), BLOCK)
    wanted = 1 if device.few_programs else triton.cdiv(PROGRAMS, max(1, rows))
    part = block * triton.cdiv(columns, block * max(1, min(wanted, columns // (4 * block))))
    parts = max(1, triton.cdiv(columns, max(1, part)))
    y = torch.empty(
        (rows, parts), dtype=dtype if parts == 1 else arithmetic(x.dtype), device=x.device
    )
    with on_device_of(x):
        for slices in launches(rows, parts):
            _logsumexp_kernel[(len(slices) * parts,)](
                share(x, slices, columns), share(y, slices, parts), columns, part, parts,
                compute_type(x.dtype), block, num_warps=_warps(block), **LAUNCH,
            )  # fmt: skip
    return y if parts == 1 else _reduce_rows(y, dtype)


def logsumexp(x, axis=None, keepdims=False):
    r"""y = ln Σ_i e^{x_i}"""
    check_tensors("logsumexp", x)
    axes = axes_of(x, axis)
    kept = [n for i, n in enumerate(x.shape) if i not in axes]
    rows = contiguous(x.movedim(axes, tuple(range(-len(axes), 0))))
    y = _reduce_rows(rows.reshape(math.prod(kept), math.prod(x.shape[i] for i in axes)), x.dtype)
    return y.reshape([1 if i in axes else n for i, n in enumerate(x.shape)] if keepdims else kept)


@pointwise
def _share(g, x, y):
    return g * mathematics.exp(x - y)


def logsumexp_vjp(g, x, y, axis=None, keepdims=False):
    r"""∂L/∂x_i = g · e^{x_i - y}"""
    return _share(spread(g, x, axis, keepdims), x, spread(y, x, axis, keepdims))
