"""Arithmetic, element by element, with broadcasting. The twin of refnet/ops/elementwise.py.

Each formula runs in the shared kernel of `refnet_triton.language.pointwise`. A gradient that has to be
summed back to the shape of its input takes a second kernel: see `summed`.
"""

from __future__ import annotations

import math

from refnet_triton.language import mathematics
from refnet_triton.language.pointwise import pointwise
from refnet_triton.ops.reductions import sum_to, summed

# isort: split
import triton.language as tl


@pointwise
def add(a, b):
    r"""y = a + b"""
    return a + b


def add_vjp(g, a, b):
    r"""∂L/∂a = g,  ∂L/∂b = g"""
    return sum_to(g, a.shape), sum_to(g, b.shape)


@pointwise
def subtract(a, b):
    r"""y = a - b"""
    return a - b


def subtract_vjp(g, a, b):
    r"""∂L/∂a = g,  ∂L/∂b = -g"""
    return sum_to(g, a.shape), negative(sum_to(g, b.shape))


@pointwise
def multiply(a, b):
    r"""y = a · b"""
    return a * b


@pointwise
def _multiply_gradients(g, a, b):
    return g * b, g * a


def multiply_vjp(g, a, b):
    r"""∂L/∂a = g · b,  ∂L/∂b = g · a"""
    return summed(_multiply_gradients, g, a, b)


@pointwise
def divide(a, b):
    r"""y = a / b"""
    return mathematics.divide(a, b)


@pointwise
def _divide_gradients(g, a, b):
    return mathematics.divide(g, b), mathematics.divide(-g * mathematics.divide(a, b), b)


def divide_vjp(g, a, b):
    r"""∂L/∂a = g / b,  ∂L/∂b = -g · a / b²"""
    return summed(_divide_gradients, g, a, b)


@pointwise(floats=True)
def power(a, b):
    r"""y = aᵇ. NaN for a negative base with an exponent that is not whole."""
    return mathematics.power(a, b)


@pointwise
def _power_base_gradient(g, a, b):
    power = mathematics.power(a, b - 1)
    return g * tl.where(b == 0, 0.0, tl.where(power == 0, 0.0, b * power))


@pointwise
def _power_exponent_gradient(g, a, b):
    base = tl.where(a == 0, tl.where(b < 0, a, 1.0), a)
    power = mathematics.power(a, b)
    return g * tl.where(power == 0, 0.0, power * mathematics.log(base))


def power_vjp(g, a, b, wrt=("a", "b")):
    r"""∂L/∂a = g · b · aᵇ⁻¹  (0 for b = 0),  ∂L/∂b = g · aᵇ · ln a  (0 for a = 0, b ≥ 0)"""
    da = summed(_power_base_gradient, g, a, b, of=(a,))[0] if "a" in wrt else None
    db = summed(_power_exponent_gradient, g, a, b, of=(b,))[0] if "b" in wrt else None
    return da, db


@pointwise
def negative(x):
    r"""y = -x"""
    if x.dtype.is_floating():
        return x * -1  # -x is 0 - x to Triton, which turns 0 into 0, not -0
    else:
        return 0 - x


@pointwise
def negative_vjp(g):
    r"""∂L/∂x = -g"""
    return g * -1


@pointwise
def square(x):
    r"""y = x²"""
    return x * x


@pointwise
def square_vjp(g, x):
    r"""∂L/∂x = g · 2x"""
    return g * x * 2  # 2x may be too large where g · 2x is not


@pointwise
def exp(x):
    r"""y = eˣ"""
    return mathematics.exp(x)


@pointwise
def exp_vjp(g, y):
    r"""∂L/∂x = g · y"""
    return g * y


@pointwise
def log(x):
    r"""y = ln x. NaN below 0."""
    return mathematics.log(x)


@pointwise
def log_vjp(g, x):
    r"""∂L/∂x = g / x"""
    return mathematics.divide(g, x)


@pointwise
def sqrt(x):
    r"""y = √x. NaN below 0."""
    return mathematics.sqrt(x)


@pointwise
def sqrt_vjp(g, y):
    r"""∂L/∂x = g / (2y)"""
    return mathematics.divide(g, 2 * y)


@pointwise
def abs(x):
    r"""y = |x|"""
    return tl.abs(x)


@pointwise
def abs_vjp(g, x):
    r"""∂L/∂x = g · sign(x): 0 at the kink x = 0."""
    sign = tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, x))  # x itself: 0 stays 0, NaN stays NaN
    return g * sign


@pointwise
def sign(x):
    r"""y = 1 where x > 0, -1 where x < 0, 0 where x = 0. It is flat: no gradient flows."""
    if x.dtype.is_floating():
        return tl.where(x > 0, 1, tl.where(x < 0, -1, x))
    else:
        return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@pointwise
def floor(x):
    r"""y = ⌊x⌋, the largest integer that is not above x. It is flat: no gradient flows."""
    if x.dtype.is_floating():
        return tl.floor(x)
    else:
        return x


@pointwise
def maximum(a, b):
    r"""y = max(a, b). NaN if either is NaN."""
    return mathematics.maximum(a, b)


@pointwise
def _maximum_gradients(g, a, b):
    half = tl.where(a == b, 0.5 * g, 0.0)
    return tl.where(a > b, g, half), tl.where(b > a, g, half)


def maximum_vjp(g, a, b):
    r"""g goes to the larger of the two; where a = b, half to each."""
    return summed(_maximum_gradients, g, a, b)


@pointwise
def minimum(a, b):
    r"""y = min(a, b). NaN if either is NaN."""
    return mathematics.minimum(a, b)


@pointwise
def _minimum_gradients(g, a, b):
    half = tl.where(a == b, 0.5 * g, 0.0)
    return tl.where(a < b, g, half), tl.where(b < a, g, half)


def minimum_vjp(g, a, b):
    r"""g goes to the smaller of the two; where a = b, half to each."""
    return summed(_minimum_gradients, g, a, b)


@pointwise
def clip(x, minimum=-math.inf, maximum=math.inf):
    r"""y = min(max(x, minimum), maximum)"""
    return mathematics.minimum(mathematics.maximum(x, minimum), maximum)


@pointwise
def clip_vjp(g, x, minimum=-math.inf, maximum=math.inf):
    r"""∂L/∂x = g where minimum ≤ x ≤ maximum, else 0"""
    return tl.where((x >= minimum) & (x <= maximum), g, 0.0)
