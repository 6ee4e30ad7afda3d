"""Comparisons, a choice between two tensors, a change of type. The twin of refnet/ops/comparisons.py."""

from __future__ import annotations

import torch

from refnet_triton.language.copies import rounded
from refnet_triton.language.pointwise import pointwise
from refnet_triton.ops.reductions import summed

# isort: split
import triton.language as tl


@pointwise(dtype=torch.bool)
def equal(a, b):
    r"""y = [a = b]"""
    return a == b


@pointwise(dtype=torch.bool)
def not_equal(a, b):
    r"""y = [a ≠ b]"""
    return a != b


@pointwise(dtype=torch.bool)
def less(a, b):
    r"""y = [a < b]"""
    return a < b


@pointwise(dtype=torch.bool)
def less_equal(a, b):
    r"""y = [a ≤ b]"""
    return a <= b


@pointwise(dtype=torch.bool)
def greater(a, b):
    r"""y = [a > b]"""
    return a > b


@pointwise(dtype=torch.bool)
def greater_equal(a, b):
    r"""y = [a ≥ b]"""
    return a >= b


@pointwise
def where(condition, a, b):
    r"""y = a where the condition holds, else b"""
    return tl.where(condition, a, b)


@pointwise
def _where_gradients(g, condition):
    return tl.where(condition, g, 0.0), tl.where(condition, 0.0, g)


def where_vjp(g, condition, a, b):
    r"""∂L/∂a = g · [condition],  ∂L/∂b = g · [not condition]"""
    return summed(_where_gradients, g, condition, of=(a, b))


def cast(x, dtype="float32"):
    r"""y = x as numbers of another type, rounded to the nearest"""
    return rounded(x, getattr(torch, dtype))


def cast_vjp(g, x, dtype="float32"):
    r"""∂L/∂x = g, in the type of x"""
    return rounded(g, x.dtype)
