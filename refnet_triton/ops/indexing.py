"""Some of the elements, chosen by position. The twin of refnet/ops/indexing.py.

Coordinates are turned into *rows*, one integer for each pick: its position along all indexed axes
together, in row-major order. An array is then (before, rows, after): the axes that are not indexed, in
front of the picks and behind them, and in between the rows. No axis has to be moved to bring it to this
form: strides say where an element is.

A gather reads the row that each pick names. The scatter-add that is its gradient would have several picks
add to one row; so the picks are sorted by row first, and whoever owns a row walks down its picks and sums
them. No atomics: the order of additions, and so every bit, is always the same.
"""

from __future__ import annotations

import math

import torch

from refnet.errors import BackendError, DTypeError
from refnet.op.shapes import broadcast
from refnet.ops.indexing import check_axes, check_mask, out_of_range
from refnet_triton.language.copies import contiguous
from refnet_triton.language.keys import forwards
from refnet_triton.language.pointwise import collapse, copy_, strided_offset
from refnet_triton.runtime import device, faults
from refnet_triton.runtime.device import (
    LAUNCH,
    check_tensors,
    compute_type,
    narrow,
    on_device_of,
    widen,
)
from refnet_triton.runtime.faults import note_first

# isort: split
import triton
import triton.language as tl

# --- keys that are known when they are written -----------------------------------------------------


def _reversed(x, axes):
    """x with some axes in reverse order."""
    for axis in axes:
        rows = torch.arange(x.shape[axis] - 1, -1, -1, device=x.device)
        x = _pick(x, rows, (axis,), axis)
    return x


def index(x, key=...):
    r"""y = x[key], for integers, slices, None (a new axis) and ... (all other axes)"""
    key, backwards = forwards(key, x.shape)
    return _reversed(x[key], backwards)


def index_vjp(g, x, key=...):
    r"""∂L/∂x: g where x was looked at, 0 elsewhere"""
    key, backwards = forwards(key, x.shape)
    dx = copy_(torch.empty(x.shape, dtype=g.dtype, device=g.device), 0.0)
    if g.numel():
        copy_(dx[key], _reversed(g, backwards))
    return dx


# --- picks by row ----------------------------------------------------------------------------------


@triton.jit
def _gather_kernel(x, rows, y, count, picks, inner, before, x_before, along, x_along, after, x_after,
                   MISSING: tl.constexpr, INDEX: tl.constexpr, LINES: tl.constexpr,
                   COLUMNS: tl.constexpr):  # fmt: skip
    """y[b, p, a] = x at (b, rows[p], a), for `count` lines (b, p) of `inner` elements a."""
    blocks = tl.cdiv(inner, COLUMNS)
    line = (tl.program_id(0) // blocks).to(INDEX) * LINES + tl.arange(0, LINES)[:, None]
    a = (tl.program_id(0) % blocks).to(INDEX) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    row = tl.load(rows + line % picks, mask=line < count)
    x += strided_offset(line // picks, before, x_before) + strided_offset(row, along, x_along)
    x += strided_offset(a, after, x_after)
    inside = (line < count) & (a < inner)
    values = tl.load(x, mask=inside & (row >= 0), other=MISSING)
    tl.store(y + line * inner + a, values, mask=inside)


@triton.jit
def _scatter_add_kernel(g, order, starts, dx, count, rows, picks, inner, before, dx_before, along,
                        dx_along, after, dx_after, COMPUTE: tl.constexpr, INDEX: tl.constexpr,
                        TERMS: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr):  # fmt: skip
    """dx at (b, r, a) = Σ g[b, p, a] over the picks p of row r, for `count` lines (b, r).

    They are order[starts[r]], …, order[starts[r + 1] - 1]. A program takes either LINES lines, one term
    of each at a time, or (TERMS > 1) one line, TERMS terms at a time. It has one of the two as tile rows.
    """
    blocks = tl.cdiv(inner, COLUMNS)
    lane = tl.arange(0, LINES * TERMS)[:, None]
    line = (tl.program_id(0) // blocks).to(INDEX) * LINES + lane // TERMS
    a = (tl.program_id(0) % blocks).to(INDEX) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    b, row = line // rows, line % rows
    term = tl.load(starts + row, mask=line < count, other=0)
    last = tl.load(starts + row + 1, mask=line < count, other=0)
    longest = tl.max(tl.max(last - term, axis=1), axis=0)
    term += lane % TERMS
    tile = tl.zeros((LINES * TERMS, COLUMNS), COMPUTE)
    for start in range(0, longest, TERMS):
        there = term + start < last
        p = tl.load(order + term + start, mask=there).to(INDEX)
        values = tl.load(g + (b * picks + p) * inner + a, mask=there & (a < inner), other=0.0)
        tile += widen(values).to(COMPUTE)
    if TERMS > 1:
        tile = tl.broadcast_to(tl.sum(tile, axis=0)[None, :], (LINES * TERMS, COLUMNS))
    dx += strided_offset(b, before, dx_before) + strided_offset(row, along, dx_along)
    dx += strided_offset(a, after, dx_after)
    inside = (line < count) & (a < inner) & (lane % TERMS == 0)
    tl.store(dx, narrow(tile, dx.dtype.element_ty), mask=inside)


def _three_parts(x, axes, at):
    """((lengths of the axes before, along, after), (lengths, strides of each, for a kernel))."""
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    shapes, places = [], []
    for part in (rest[:at], axes, rest[at:]):
        shape, strides = [x.shape[i] for i in part], [x.stride(i) for i in part]
        sizes, (steps,) = collapse(shape, [strides])
        shapes.append(shape)
        places += [sizes or (1,), steps or (0,)]
    return shapes, places


def _tile():
    """How many elements a program holds at a time."""
    return 1 << 16 if device.few_programs else 1024


def _index_type(*arrays):
    """32-bit integers, unless an element lies beyond their reach."""
    reach = max(sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True)) for x in arrays)
    return tl.int32 if reach + _tile() < 1 << 31 else tl.int64


def _pick(x, rows, axes, at):
    """y[before, p, after] = x[before, rows[p], after]; NaN, or 0, for a row of -1."""
    (before, _, after), places = _three_parts(x, axes, at)
    y = torch.empty((*before, *rows.shape, *after), dtype=x.dtype, device=x.device)
    if y.numel() == 0:
        return y
    picks, inner = rows.numel(), math.prod(after)
    count = y.numel() // inner
    columns = min(triton.next_power_of_2(inner), _tile())
    lines = min(triton.next_power_of_2(count), _tile() // columns)
    from_, to = (t.view(torch.uint8) if t.dtype == torch.bool else t for t in (x, y))
    missing = math.nan if x.is_floating_point() else 0
    with on_device_of(x):
        _gather_kernel[(triton.cdiv(count, lines) * triton.cdiv(inner, columns),)](
            from_, contiguous(rows), to, count, picks, inner, *places,
            missing, _index_type(x, y, rows), lines, columns, **LAUNCH,
        )  # fmt: skip
    return y


@triton.jit(do_not_specialize=["shape"])
def _positions_kernel(indices, rows, note, shape, count, picks, steps, step, axes, lengths,
                      INDEX: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """rows[p] = Σ_j i_j · (the lengths of the axes behind j), or -1 if a position i_j is out of range."""
    p = tl.program_id(0).to(INDEX) * BLOCK + tl.arange(0, BLOCK)
    at = indices + strided_offset(p, picks, steps)
    row = tl.zeros((BLOCK,), tl.int64)
    for j in tl.static_range(len(lengths)):
        n = lengths[j]
        position = tl.load(at + j * step, mask=p < count, other=0).to(tl.int64)
        inside = (position >= -n) & (position < n)
        from_start = tl.where(position < 0, position + n, position)
        row = tl.where(inside & (row >= 0), row * n + from_start, -1)
    tl.store(rows + p, row, mask=p < count)
    if note is not None:
        first = tl.min(tl.where(row < 0, p, count), axis=0)
        if first < count:
            coordinate = indices + strided_offset(first, picks, steps)
            note_first(note, coordinate, step, axes, lengths, shape)


def _rows(x, indices, axes, noted=False):
    """The row of each pick: -1 if a position in it is out of range. One that is may be noted."""
    check_tensors("gather", x, indices)
    check_axes(x.shape, indices.shape, axes)
    _require_integers(indices)
    rows = torch.empty(indices.shape[:-1], dtype=torch.int64, device=x.device)
    if not axes:
        return copy_(rows, 0)
    if rows.numel() == 0:
        return rows
    picks, (steps,) = collapse(rows.shape, [indices.stride()[:-1]])
    block = min(triton.next_power_of_2(rows.numel()), _tile())
    note = faults.note_on(x.device) if noted else None
    with on_device_of(x):
        _positions_kernel[(triton.cdiv(rows.numel(), block),)](
            indices, rows, note, faults.number_of(x.shape), rows.numel(), picks or (1,), steps or (0,),
            indices.stride(-1), tuple(axes), tuple(x.shape[axis] for axis in axes),
            _index_type(indices, rows), block, **LAUNCH,
        )  # fmt: skip
    return rows


def _require_in_range(rows, x, indices, axes):
    """Raise the error of the first position out of range, if there are values to look at."""
    if rows.is_meta or not (rows < 0).any():
        return
    for j, axis in enumerate(axes):
        positions, n = indices[..., j].long(), x.shape[axis]  # -n may be no number of their type
        outside = positions[(positions < -n) | (positions >= n)]
        if outside.numel():
            raise out_of_range(int(outside[0]), axis, x.shape)


def _require_integers(indices):
    if indices.is_floating_point() or indices.dtype == torch.bool:
        raise DTypeError(f"positions are integers, got {str(indices.dtype).removeprefix('torch.')}")


def gather(x, indices, axes=(0,), at=0):
    r"""y = x[..., i_1, ..., i_2, ...], where i_j = indices[..., j] counts along axis axes[j]

    A position out of range is an error. On a GPU nobody waits for it here: what was picked is NaN, or 0
    if it is an integer, and the error is raised where the values of any result are read, or where the
    GPU is waited for. So it is where a CUDA graph is replayed. Of several such positions, any one may be
    the one that is named.
    """
    rows = _rows(x, indices, axes, noted=faults.later)
    if not faults.later:
        _require_in_range(rows, x, indices, axes)
    return _pick(x, rows, axes, at)


def gather_vjp(g, x, indices, axes=(0,), at=0):
    r"""∂L/∂x_i = Σ g over all picks of position i: a scatter-add"""
    dx = torch.empty(x.shape, dtype=g.dtype, device=g.device)
    picked = _rows(x, indices, axes)
    if not faults.later:
        _require_in_range(picked, x, indices, axes)
    picked = picked.reshape(-1)
    if dx.numel() == 0:
        return dx
    g = contiguous(g)
    (_, along, after), places = _three_parts(dx, axes, at)
    rows, inner, picks = math.prod(along), math.prod(after), picked.numel()
    picked, order = torch.sort(picked, stable=True)
    starts = torch.searchsorted(picked, torch.arange(rows + 1, device=g.device))
    count = dx.numel() // inner
    columns = min(triton.next_power_of_2(inner), 128)
    tall = min(_tile() // columns, 1024)
    terms = tall if inner >= 64 or picks > 16 * rows else 1
    lines = 1 if terms > 1 else min(triton.next_power_of_2(count), tall)
    with on_device_of(g):
        _scatter_add_kernel[(triton.cdiv(count, lines) * triton.cdiv(inner, columns),)](
            g, order, starts, dx, count, rows, picks, inner, *places,
            compute_type(g.dtype), _index_type(dx, g, starts), terms, lines, columns, **LAUNCH,
        )  # fmt: skip
    return dx


def coordinates(*indices):
    r"""y[..., j] = indices_j: index arrays, broadcast together, side by side along a new last axis"""
    check_tensors("coordinates", *indices)
    for i in indices:
        _require_integers(i)
    shape = broadcast(*(tuple(i.shape) for i in indices))
    y = torch.empty((*shape, len(indices)), dtype=torch.int64, device=indices[0].device)
    for j, i in enumerate(indices):
        copy_(y[..., j], i)
    return y


def _is_captured(tensor):
    """Whether what is done with a tensor now becomes part of a CUDA graph."""
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def mask_coordinates(mask, x, axis=0):
    r"""y: where the mask holds, in row-major order, as coordinates of shape (how many, axes)

    How long the result is depends on the values. So this op waits for the GPU, the only one that has to,
    and no CUDA graph can hold it.
    """
    check_tensors("mask_coordinates", mask, x)
    check_mask(mask.shape, x.shape, axis)
    if mask.is_meta:  # no values: as if all of them held
        return torch.empty((mask.numel(), mask.ndim), dtype=torch.int64, device=mask.device)
    if _is_captured(mask):
        raise BackendError(
            "how many elements a mask picks cannot be known while a CUDA graph is captured"
        )
    return torch.nonzero(mask)
