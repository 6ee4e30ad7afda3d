"""The same numbers in another arrangement. The twin of refnet/ops/shape.py.

Where the arrangement is a view, it is torch's own: nothing moves. Where numbers have to move, the shared
kernel moves them (`copy_`).
"""

from __future__ import annotations

import torch

from refnet_triton.language.copies import contiguous
from refnet_triton.language.pointwise import copy_
from refnet_triton.ops.reductions import sum_to


def _empty(shape, like):
    return torch.empty(shape, dtype=like.dtype, device=like.device)


def _zeros(shape, like):
    return copy_(_empty(shape, like), 0.0)


def reshape(x, shape=(-1,)):
    r"""y: the elements of x, in row-major order, in another shape. -1 is worked out."""
    return contiguous(x).view(shape)


def reshape_vjp(g, x, shape=(-1,)):
    r"""∂L/∂x: g in the shape of x"""
    return reshape(g, x.shape)


def transpose(x, axes=None):
    r"""y: the axes of x in another order, reversed if none is given"""
    return x.permute(tuple(range(x.ndim))[::-1] if axes is None else axes)


def transpose_vjp(g, axes=None):
    r"""∂L/∂x: the axes of g put back in order"""
    if axes is None:
        return transpose(g)
    order = [axis % g.ndim for axis in axes]
    return g.permute(tuple(sorted(range(g.ndim), key=order.__getitem__)))


def concatenate(*xs, axis=0):
    r"""y: the arrays one after the other along an axis they already have"""
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    y = _empty(shape, xs[0])
    start = 0
    for x in xs:
        copy_(y.narrow(axis, start, x.shape[axis]), x)
        start += x.shape[axis]
    return y


def concatenate_vjp(g, *xs, axis=0):
    r"""∂L/∂x_i: the part of g where x_i lies"""
    return torch.split(g, [x.shape[axis] for x in xs], axis)


def stack(*xs, axis=0):
    r"""y: the arrays side by side along a new axis"""
    shape = list(xs[0].shape)
    shape.insert(axis % (len(shape) + 1), len(xs))
    y = _empty(shape, xs[0])
    for i, x in enumerate(xs):
        copy_(y.select(axis, i), x)
    return y


def stack_vjp(g, axis=0):
    r"""∂L/∂x_i: slice i of g"""
    return torch.unbind(g, axis)


def broadcast_to(x, shape=()):
    r"""y: x repeated along axes of length 1 and along new leading axes"""
    return x.expand(shape)


def broadcast_to_vjp(g, x, shape=()):
    r"""∂L/∂x: g summed over the copies"""
    return sum_to(g, x.shape)


def pad(x, pad_width=(), value=0.0):
    r"""y: x with a border: `pad_width` holds (before, after) for each axis"""
    shape = [before + n + after for n, (before, after) in zip(x.shape, pad_width, strict=True)]
    y = copy_(_empty(shape, x), value)
    copy_(y[_inside(x, pad_width)], x)
    return y


def _inside(x, pad_width):
    return tuple(
        slice(before, before + n) for n, (before, _) in zip(x.shape, pad_width, strict=True)
    )


def pad_vjp(g, x, pad_width=(), value=0.0):
    r"""∂L/∂x: g without the border"""
    return g[_inside(x, pad_width)]


def full_like(x, value=0.0):
    r"""y: an array of x's shape and type with `value` everywhere"""
    return copy_(_empty(x.shape, x), value)


def pack(*xs, offsets=(), size=0):
    r"""y: a vector of `size` numbers that holds x_i, flattened, from offset i on, and 0 elsewhere"""
    y = _zeros((size,), xs[0])
    for x, offset in zip(xs, offsets, strict=True):
        copy_(y[offset : offset + x.numel()].view(x.shape), x)
    return y


def pack_vjp(g, *xs, offsets=(), size=0):
    r"""∂L/∂x_i: the part of g where x_i lies, in the shape of x_i"""
    parts = zip(xs, offsets, strict=True)
    return tuple(g[at : at + x.numel()].view(x.shape) for x, at in parts)
