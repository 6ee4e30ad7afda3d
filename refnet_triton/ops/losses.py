"""Losses fused with the step before them. The twin of refnet/ops/losses.py.

A cross-entropy reads each row of logits once, keeping a running maximum and sum, and writes three
numbers: the loss, the maximum, and ln Σ e^{x - max}. The gradient reads the logits once more and writes
once: nothing else of the size of the logits ever exists.
"""

from __future__ import annotations

import torch

from refnet.ops.losses import no_class
from refnet_triton.language import mathematics
from refnet_triton.language.axes import spread
from refnet_triton.language.copies import contiguous, rounded, wide
from refnet_triton.language.pointwise import pointwise
from refnet_triton.ops.reductions import mean, summed
from refnet_triton.ops.softmax import online_sum
from refnet_triton.runtime import device, faults
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
from refnet_triton.runtime.faults import note_value

# isort: split
import triton
import triton.language as tl


@triton.jit(do_not_specialize=["number"])
def _sparse_kernel(logits, labels, loss, maxima, log_sums, note, number, classes,
                   COMPUTE: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """One row: L = ln Σ e^{x - max} - (x_c - max); NaN, and noted, if c is no class."""
    row = tl.program_id(0).to(tl.int64)
    x = logits + row * classes
    largest, total = online_sum(x, classes, COMPUTE, BLOCK)
    log_sum = mathematics.log(total)
    label = tl.load(labels + row)
    valid = (label >= 0) & (label < classes)
    chosen = widen(tl.load(x + label, mask=valid, other=float("nan"))).to(COMPUTE)
    tl.store(loss + row, narrow(log_sum - (chosen - largest), loss.dtype.element_ty))
    tl.store(maxima + row, largest)
    tl.store(log_sums + row, log_sum)
    if note is not None:
        wrong = (label < 0) | (label >= classes)
        if wrong:
            note_value(note, label, number)


@triton.jit
def _sparse_vjp_kernel(g, logits, labels, maxima, log_sums, out, classes, COMPUTE: tl.constexpr,
                       BLOCK: tl.constexpr):  # fmt: skip
    """One block of one row: g · (softmax(x)_j - [j = c]). A label that is no class gives NaN."""
    across = blocks(classes, BLOCK)
    row = (tl.program_id(0) // across).to(tl.int64)
    column = tl.program_id(0) % across * BLOCK + tl.arange(0, BLOCK)
    inside = column < classes
    upstream = widen(tl.load(g + row)).to(COMPUTE)
    largest = widen(tl.load(maxima + row)).to(COMPUTE)
    log_sum = widen(tl.load(log_sums + row)).to(COMPUTE)
    label = tl.load(labels + row)
    target = tl.where(column == label, 1.0, 0.0)
    target = tl.where((label >= 0) & (label < classes), target, float("nan"))
    x = widen(tl.load(logits + row * classes + column, mask=inside)).to(COMPUTE)
    dx = upstream * (mathematics.exp(x - largest - log_sum) - target)
    tl.store(out + row * classes + column, narrow(dx, out.dtype.element_ty), mask=inside)


@triton.jit
def _dense_kernel(logits, targets, loss, maxima, log_sums, classes, COMPUTE: tl.constexpr,
                  BLOCK: tl.constexpr):  # fmt: skip
    """One row: L = Σ_j t_j (ln Σ e^{x - max} - (x_j - max)). The row is read twice."""
    row = tl.program_id(0).to(tl.int64)
    x, t = logits + row * classes, targets + row * classes
    largest, total = online_sum(x, classes, COMPUTE, BLOCK)
    log_sum = mathematics.log(total)
    parts = tl.zeros((BLOCK,), COMPUTE)
    for start in range(0, classes, BLOCK):
        first_column = start  # interpreted: a number, and an array of 64 bits if need be
        column = first_column + tl.arange(0, BLOCK)
        inside = column < classes
        score = widen(tl.load(x + column, mask=inside)).to(COMPUTE)
        target = widen(tl.load(t + column, mask=inside)).to(COMPUTE)
        parts += tl.where(inside, target * (log_sum - (score - largest)), 0.0)
    tl.store(loss + row, narrow(tl.sum(parts, axis=0), loss.dtype.element_ty))
    tl.store(maxima + row, largest)
    tl.store(log_sums + row, log_sum)


@triton.jit
def _dense_vjp_kernel(g, logits, targets, maxima, log_sums, out, classes, COMPUTE: tl.constexpr,
                      BLOCK: tl.constexpr):  # fmt: skip
    """One row: g · (softmax(x)_j · Σ t - t_j). Targets are read twice, to sum them first."""
    row = tl.program_id(0).to(tl.int64)
    first = row * classes
    upstream = widen(tl.load(g + row)).to(COMPUTE)
    largest = widen(tl.load(maxima + row)).to(COMPUTE)
    log_sum = widen(tl.load(log_sums + row)).to(COMPUTE)
    parts = tl.zeros((BLOCK,), COMPUTE)
    for start in range(0, classes, BLOCK):
        first_column = start  # interpreted: a number, and an array of 64 bits if need be
        column = first_column + tl.arange(0, BLOCK)
        parts += widen(tl.load(targets + first + column, mask=column < classes, other=0.0)).to(
            COMPUTE
        )
    total = tl.sum(parts, axis=0)
    for start in range(0, classes, BLOCK):
        first_column = start  # interpreted: a number, and an array of 64 bits if need be
        column = first_column + tl.arange(0, BLOCK)
        inside = column < classes
        x = widen(tl.load(logits + first + column, mask=inside)).to(COMPUTE)
        t = widen(tl.load(targets + first + column, mask=inside)).to(COMPUTE)
        dx = upstream * (mathematics.exp(x - largest - log_sum) * total - t)
        tl.store(out + first + column, narrow(dx, out.dtype.element_ty), mask=inside)


def _block(classes):
    return min(triton.next_power_of_2(max(classes, 16)), 65_536 if device.few_programs else 4096)


def _losses(kernel, logits, targets, *note):
    """(loss, max x, ln Σ e^{x - max}) of every row; the last two in the type they were computed in."""
    check_tensors(kernel.__name__, logits, targets)
    logits, targets = contiguous(logits), contiguous(targets)
    wide = arithmetic(logits.dtype)
    loss, maxima, log_sums = (
        torch.empty(logits.shape[:-1], dtype=dtype, device=logits.device)
        for dtype in (logits.dtype, wide, wide)
    )
    if loss.numel():
        operands = logits, targets, loss, maxima, log_sums
        _launch(kernel, logits, loss.numel(), 1, *operands, more=note)
    return loss, maxima, log_sums


def _gradient(kernel, g, logits, targets, largest, log_sum, across=1):
    check_tensors(kernel.__name__, g, logits, targets, largest, log_sum)
    out = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    if out.numel():
        operands = [contiguous(t) for t in (g, logits, targets, largest, log_sum)]
        _launch(kernel, logits, g.numel(), across, *operands, out)
    return out


def _launch(kernel, logits, rows, across, *operands, more=()):
    """So many programs for each row; every operand has a part for each row, and `more` goes to all."""
    classes = logits.shape[-1]
    with on_device_of(logits):
        for numbers in launches(rows, across):
            kernel[(len(numbers) * across,)](
                *(share(x, numbers, x.numel() // rows) for x in operands), *more,
                classes, compute_type(logits.dtype), _block(classes), **LAUNCH,
            )  # fmt: skip


def sparse_softmax_cross_entropy(logits, labels):
    r"""L = -ln softmax(x)_c = ln Σ_j e^{x_j} - x_c, where c is the right class

    A label that is the number of no class is an error. On a GPU it is raised where values are read.
    """
    classes = logits.shape[-1]
    _require_classes(labels, classes)
    note = faults.note_on(logits.device) if faults.later else None
    return _losses(_sparse_kernel, logits, labels, note, faults.number_of((classes,), _no_class))


def _no_class(label, axis, shape):
    return no_class(label, shape[axis])


def _require_classes(labels, classes):
    """Raise the error of the first label that is no class, if there are values that may be looked at."""
    if faults.later or labels.is_meta:
        return
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.numel():
        raise no_class(int(wrong[0]), classes)


def sparse_softmax_cross_entropy_vjp(g, logits, labels, largest, log_sum):
    r"""∂L/∂x_j = g · (softmax(x)_j - [j = c])"""
    classes = logits.shape[-1]
    _require_classes(labels, classes)
    across = triton.cdiv(classes, _block(classes))
    return _gradient(_sparse_vjp_kernel, g, logits, labels, largest, log_sum, across)


def softmax_cross_entropy(logits, targets):
    r"""L = -Σ_j t_j ln softmax(x)_j = Σ_j t_j (ln Σ_k e^{x_k} - x_j)"""
    return _losses(_dense_kernel, logits, targets)


def softmax_cross_entropy_vjp(g, logits, targets, largest, log_sum):
    r"""∂L/∂x_j = g · (softmax(x)_j · Σ_k t_k - t_j)"""
    return _gradient(_dense_vjp_kernel, g, logits, targets, largest, log_sum)


@triton.jit
def _or_none(share, x):
    """share · x, and nothing where either is 0, however large the other."""
    return tl.where(share == 0, 0.0, tl.where(x == 0, 0.0, share * x))


@pointwise
def sigmoid_cross_entropy(logits, targets):
    r"""L = (1 - t) max(x, 0) + t max(-x, 0) + ln(1 + e^{-|x|})"""
    wrong = _or_none(1 - targets, mathematics.maximum(logits, 0.0))
    wrong += _or_none(targets, mathematics.maximum(-logits, 0.0))
    return wrong + mathematics.softplus(-tl.abs(logits))


@pointwise
def _sigmoid_gradient(g, logits, targets):
    return g * (mathematics.sigmoid(logits) - targets)


def sigmoid_cross_entropy_vjp(g, logits, targets):
    r"""∂L/∂x = g · (σ(x) - t)"""
    return summed(_sigmoid_gradient, g, logits, targets, of=(logits,))[0]


@pointwise
def _squared_difference(y_true, y_pred):
    return (y_pred - y_true) * (y_pred - y_true)


def mean_squared_error(y_true, y_pred):
    r"""L = (1/n) Σ_j (a_j - y_j)², over the n outputs of an example (the last axis)"""
    return rounded(mean(_squared_difference(wide(y_true), y_pred), axis=-1), y_pred.dtype)


@pointwise
def _squared_gradients(g, y_true, y_pred, factor):
    dpred = g * (y_pred - y_true) * factor
    return -dpred, dpred


def mean_squared_error_vjp(g, y_true, y_pred):
    r"""∂L/∂a_j = g · 2 (a_j - y_j) / n,  ∂L/∂y_j = -∂L/∂a_j"""
    factor = 2 / max(1, y_true.shape[-1])
    return _squared_gradients(spread(g, y_true, -1, False), y_true, y_pred, factor)
