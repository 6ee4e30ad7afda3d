"""Philox random numbers, bit for bit those of the reference. The twin of refnet/ops/random.py.

A program takes a block of counters; each gives four words, which are laid side by side, so that element i
of the result is word i mod 4 of counter i // 4. No state, no order: any program may run first.
"""

from __future__ import annotations

import math

import torch

from refnet.ops.random import ends
from refnet_triton.language import mathematics
from refnet_triton.language.copies import contiguous
from refnet_triton.runtime import device
from refnet_triton.runtime.device import (
    LAUNCH,
    check_tensors,
    compute_type,
    narrow,
    on_device_of,
    widen,
)

# isort: split
import triton
import triton.language as tl

ROUNDS = tl.constexpr(10)
TWO_PI = tl.constexpr(2 * math.pi)


@triton.jit
def philox(counter, key):
    """Four random 32-bit words for each 64-bit counter: Philox 4x32-10, key a pointer to two integers."""
    c0, c1 = counter.to(tl.uint32), (counter >> 32).to(tl.uint32)
    c2, c3 = c0 * 0, c0 * 0
    k0, k1 = tl.load(key).to(tl.uint32), tl.load(key + 1).to(tl.uint32)
    m0, m1 = tl.full((), 0xD2511F53, tl.uint32), tl.full((), 0xCD9E8D57, tl.uint32)
    w0, w1 = tl.full((), 0x9E3779B9, tl.uint32), tl.full((), 0xBB67AE85, tl.uint32)
    for _ in tl.static_range(ROUNDS):
        high0, high1 = tl.umulhi(c0, m0), tl.umulhi(c2, m1)
        low0, low1 = c0 * m0, c2 * m1
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + w0, k1 + w1
    return c0, c1, c2, c3


@triton.jit
def _words(key, COUNTERS: tl.constexpr):
    """The words of one program in order, and their positions."""
    start = tl.program_id(0).to(tl.int64) * COUNTERS
    a, b, c, d = philox(start + tl.arange(0, COUNTERS), key)
    words = tl.interleave(tl.interleave(a, c), tl.interleave(b, d))
    return words, 4 * start + tl.arange(0, 4 * COUNTERS)


@triton.jit
def _fraction(words, COMPUTE: tl.constexpr):
    """⌊word / 2⁸⌋ / 2²⁴: uniform on [0, 1), exact in float32."""
    return (words >> 8).to(tl.int32).to(COMPUTE) * (1.0 / 16777216.0)


@triton.jit
def _bits_kernel(key, y, n, COUNTERS: tl.constexpr):
    words, i = _words(key, COUNTERS)
    tl.store(y + i, words.to(tl.int64), mask=i < n)


@triton.jit
def _uniform_kernel(key, y, n, low: tl.float64, width: tl.float64, least: tl.float64,
                    largest: tl.float64, COMPUTE: tl.constexpr, COUNTERS: tl.constexpr):  # fmt: skip
    words, i = _words(key, COUNTERS)
    product = tl.full((), width, COMPUTE) * _fraction(words, COMPUTE)
    x = tl.full((), low, COMPUTE) + product
    x = tl.minimum(tl.maximum(x, tl.full((), least, COMPUTE)), tl.full((), largest, COMPUTE))
    tl.store(y + i, narrow(x, y.dtype.element_ty), mask=i < n)


@triton.jit
def _normal_kernel(key, y, n, mean: tl.float64, stddev: tl.float64, COMPUTE: tl.constexpr,
                   COUNTERS: tl.constexpr):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * COUNTERS
    a, b, c, d = philox(start + tl.arange(0, COUNTERS), key)
    u1, u2 = tl.interleave(a, c), tl.interleave(b, d)  # the words 2j and 2j + 1
    radius = mathematics.sqrt(-2 * mathematics.log(_fraction(u1, COMPUTE) + 1.0 / 16777216.0))
    angle = _fraction(u2, COMPUTE) * TWO_PI
    z = tl.interleave(radius * mathematics.cos(angle), radius * mathematics.sin(angle))
    z = tl.full((), mean, COMPUTE) + tl.full((), stddev, COMPUTE) * z
    i = 4 * start + tl.arange(0, 4 * COUNTERS)
    tl.store(y + i, narrow(z, y.dtype.element_ty), mask=i < n)


@triton.jit
def _dropout_kernel(key, y, n, x, rate: tl.float64, COMPUTE: tl.constexpr, COUNTERS: tl.constexpr):
    words, i = _words(key, COUNTERS)
    keep = _fraction(words, tl.float32) >= tl.full((), rate, tl.float32)
    values = widen(tl.load(x + i, mask=i < n)).to(COMPUTE)
    kept = mathematics.divide(values, tl.full((4 * COUNTERS,), 1 - rate, COMPUTE))
    tl.store(y + i, narrow(tl.where(keep, kept, 0.0), y.dtype.element_ty), mask=i < n)


def _launch(kernel, key, y, *arguments, options=LAUNCH):
    """Run a kernel that fills y, four elements for each counter."""
    check_tensors("a random op", key, y)
    n = y.numel()
    counters = 4096 if device.few_programs else 256
    if n:
        compute = () if kernel is _bits_kernel else (compute_type(y.dtype),)
        with on_device_of(y):
            kernel[(triton.cdiv(n, 4 * counters),)](
                key.contiguous(), y, n, *arguments, *compute, counters, **options
            )
    return y


def random_bits(key, shape=()):
    r"""Random 32-bit words, as integers 0 … 2³²-1 in int64"""
    return _launch(_bits_kernel, key, torch.empty(shape, dtype=torch.int64, device=key.device))


def random_uniform(key, shape=(), minimum=0.0, maximum=1.0, dtype="float32"):
    r"""x = minimum + (maximum - minimum) · ⌊word / 2⁸⌋ / 2²⁴, uniform on [minimum, maximum)

    Product and sum are rounded one after the other, as in the reference: the bits are the same.
    """
    y = torch.empty(shape, dtype=getattr(torch, dtype), device=key.device)
    interval = float(minimum), float(maximum - minimum), *ends(minimum, maximum, dtype)
    return _launch(_uniform_kernel, key, y, *interval, options={"enable_fp_fusion": False})


def random_normal(key, shape=(), mean=0.0, stddev=1.0, dtype="float32"):
    r"""x = mean + stddev · √(-2 ln u₁) cos(2π u₂), and the same with sin: Box and Muller (1958)"""
    y = torch.empty(shape, dtype=getattr(torch, dtype), device=key.device)
    return _launch(_normal_kernel, key, y, float(mean), float(stddev))


def dropout(x, key, rate=0.5):
    r"""y = x · [u ≥ rate] / (1 - rate), u uniform on [0, 1)"""
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    return _launch(_dropout_kernel, key, y, contiguous(x), float(rate))


def dropout_vjp(g, key, rate=0.5):
    r"""∂L/∂x = g · [u ≥ rate] / (1 - rate): the same mask, drawn again from the same key."""
    return dropout(g, key, rate)
