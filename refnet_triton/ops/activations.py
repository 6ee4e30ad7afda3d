"""Activation functions and their gradients. The twin of refnet/ops/activations.py.

Only the mathematics stands here: loads, masks and stores are those of
`refnet_triton.language.pointwise`. The same formulas are fused behind a matrix product by
`refnet_triton.ops.matmul.linear`.
"""

from __future__ import annotations

from refnet_triton.language import mathematics
from refnet_triton.language.pointwise import pointwise
from refnet_triton.ops.reductions import summed

# isort: split
import triton
import triton.language as tl

# A constant stands to the right of what it multiplies: on the left, the interpreter misses the tensor.
SELU_ALPHA = tl.constexpr(1.6732632423543772)
SELU_SCALE = tl.constexpr(1.0507009873554805)
SQRT_HALF = tl.constexpr(0.7071067811865476)
SQRT_2_OVER_PI = tl.constexpr(0.7978845608028654)
ONE_OVER_SQRT_2PI = tl.constexpr(0.3989422804014327)


@triton.jit
def _fading(x, factor):
    """x · factor, and 0 where the factor is 0: it faded faster than x grew, to ±∞ perhaps."""
    return tl.where(factor == 0, 0.0, x) * factor


@pointwise
def identity(x):
    r"""y = x"""
    return x


@pointwise
def identity_vjp(g):
    r"""∂L/∂x = g"""
    return g


@pointwise
def binary_step(x):
    r"""y = [x ≥ 0]; NaN stays NaN"""
    return tl.where(x >= 0, 1.0, tl.where(x < 0, 0.0, x))


@pointwise
def binary_step_vjp(g):
    r"""∂L/∂x = 0"""
    return tl.zeros_like(g)


@pointwise
def sigmoid(x):
    r"""y = σ(x) = 1 / (1 + e⁻ˣ)"""
    return mathematics.sigmoid(x)


@pointwise
def sigmoid_vjp(g, y):
    r"""∂L/∂x = g · y · (1 - y)"""
    return g * y * (1 - y)


@pointwise
def tanh(x):
    r"""y = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)"""
    return mathematics.tanh(x)


@pointwise
def tanh_vjp(g, y):
    r"""∂L/∂x = g · (1 - y²), as (1 - y)(1 + y)"""
    return g * ((1 - y) * (1 + y))


@pointwise
def relu(x):
    r"""y = max(0, x)"""
    return tl.where(x < 0, 0.0, x)


@pointwise
def relu_vjp(g, y):
    r"""∂L/∂x = g · [y > 0]"""
    return tl.where(y > 0, g, 0.0)


@pointwise
def leaky_relu(x, negative_slope=0.1):
    r"""y = x for x > 0, else negative_slope · x"""
    return tl.where(x > 0, x, negative_slope * x)


@pointwise
def leaky_relu_vjp(g, x, negative_slope=0.1):
    r"""∂L/∂x = g for x > 0, else g · negative_slope"""
    return tl.where(x > 0, g, negative_slope * g)


@pointwise
def prelu(x, alpha):
    r"""y = x for x > 0, else α · x, where α is learned"""
    return tl.where(x > 0, x, alpha * x)


@pointwise
def _prelu_gradients(g, x, alpha):
    return tl.where(x > 0, g, alpha * g), tl.where(x > 0, 0.0, g * x)


def prelu_vjp(g, x, alpha):
    r"""∂L/∂x = g · (1 for x > 0, else α),  ∂L/∂α = Σ g · (0 for x > 0, else x)"""
    return summed(_prelu_gradients, g, x, alpha)


@pointwise
def elu(x, alpha=1.0):
    r"""y = x for x ≥ 0, else α (eˣ - 1)"""
    return tl.where(x >= 0, x, alpha * mathematics.expm1(x))


@pointwise
def elu_vjp(g, y, alpha=1.0):
    r"""∂L/∂x = g · (1 for y ≥ 0, else y + α)"""
    return g * tl.where(y >= 0, 1.0, y + alpha)


@pointwise
def selu(x):
    r"""y = λ x for x ≥ 0, else λα (eˣ - 1)"""
    return tl.where(x >= 0, x * SELU_SCALE, mathematics.expm1(x) * (SELU_SCALE * SELU_ALPHA))


@pointwise
def selu_vjp(g, y):
    r"""∂L/∂x = g · (λ for y ≥ 0, else y + λα)"""
    return g * tl.where(y >= 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA)


@pointwise
def swish(x):
    r"""y = x · σ(x)"""
    return _fading(x, mathematics.sigmoid(x))


@pointwise
def swish_vjp(g, x):
    r"""∂L/∂x = g · (s + x · s · (1 - s)),  s = σ(x)"""
    s = mathematics.sigmoid(x)
    return g * (s + _fading(x, s * (1 - s)))


@triton.jit
def standard_normal_cdf(x):
    r"""Φ(x) = (1 + erf(x / √2)) / 2"""
    return 0.5 * (1 + mathematics.erf(x * SQRT_HALF))


@triton.jit
def _gelu_tanh(x):
    return mathematics.tanh((x + 0.044715 * x * x * x) * SQRT_2_OVER_PI)


@pointwise
def gelu(x, approximate=False):
    r"""y = x · Φ(x); with approximate=True, x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))"""
    if approximate:
        return _fading(0.5 * x, 1 + _gelu_tanh(x))
    else:
        return _fading(x, standard_normal_cdf(x))


@pointwise
def gelu_vjp(g, x, approximate=False):
    r"""∂L/∂x = g · (Φ(x) + x · φ(x))"""
    if approximate:
        t = _gelu_tanh(x)
        slope = (1 + 3 * 0.044715 * x * x) * SQRT_2_OVER_PI
        return g * (0.5 * (1 + t) + 0.5 * _fading(x * slope, (1 - t) * (1 + t)))
    else:
        density = mathematics.exp(-0.5 * x * x) * ONE_OVER_SQRT_2PI
        return g * (standard_normal_cdf(x) + _fading(x, density))


@pointwise
def softplus(x):
    r"""y = ln(1 + eˣ)"""
    return mathematics.softplus(x)


@pointwise
def softplus_vjp(g, x):
    r"""∂L/∂x = g · σ(x)"""
    return g * mathematics.sigmoid(x)


@pointwise
def softsign(x):
    r"""y = x / (1 + |x|)"""
    sign = tl.where(x > 0, 1.0, -1.0)
    return tl.where(tl.abs(x) == float("inf"), sign, mathematics.divide(x, 1 + tl.abs(x)))


@pointwise
def softsign_vjp(g, x):
    r"""∂L/∂x = g / (1 + |x|)²"""
    distance = 1 + tl.abs(x)
    return mathematics.divide(mathematics.divide(g, distance), distance)


@triton.jit
def _between(x, low: tl.constexpr, high: tl.constexpr):
    """min(max(x, low), high); NaN stays NaN."""
    return mathematics.minimum(mathematics.maximum(x, low), high)


@pointwise
def hard_sigmoid(x):
    r"""y = min(max(x + 3, 0), 6) / 6"""
    return mathematics.divide(_between(x + 3, 0.0, 6.0), 6.0)


@pointwise
def hard_sigmoid_vjp(g, x):
    r"""∂L/∂x = g/6 for -3 < x < 3, else 0"""
    return tl.where((x > -3) & (x < 3), mathematics.divide(g, 6.0), 0.0)


@pointwise
def hard_swish(x):
    r"""y = x · min(max(x + 3, 0), 6) / 6"""
    return _fading(x, mathematics.divide(_between(x + 3, 0.0, 6.0), 6.0))


@pointwise
def hard_swish_vjp(g, x):
    r"""∂L/∂x = g (x/3 + 1/2) for -3 < x < 3, below that 0, above it g"""
    slope = g * (mathematics.divide(x, 3.0) + 0.5)
    return tl.where((x > -3) & (x < 3), slope, tl.where(x < 3, 0.0, g))


@pointwise
def relu6(x):
    r"""y = min(max(x, 0), 6)"""
    return _between(x, 0.0, 6.0)


@pointwise
def relu6_vjp(g, y):
    r"""∂L/∂x = g for 0 < y < 6, else 0"""
    return tl.where((y > 0) & (y < 6), g, 0.0)


@triton.jit
def _tanh_softplus(x):
    """tanh(ln(1 + eˣ)) = n / (n + 2), n = eˣ (eˣ + 2): one exponential. Above 20 it is 1 anyway."""
    e = mathematics.exp(mathematics.minimum(x, 20.0))
    n = e * (e + 2)
    return mathematics.divide(n, n + 2)


@pointwise
def mish(x):
    r"""y = x · tanh(ln(1 + eˣ))"""
    return _fading(x, _tanh_softplus(x))


@pointwise
def mish_vjp(g, x):
    r"""∂L/∂x = g · (t + x · (1 - t²) · σ(x)),  t = tanh(ln(1 + eˣ))"""
    t = _tanh_softplus(x)
    return g * (t + _fading(x, (1 - t) * (1 + t) * mathematics.sigmoid(x)))


@pointwise
def exponential(x):
    r"""y = eˣ"""
    return mathematics.exp(x)


@pointwise
def exponential_vjp(g, y):
    r"""∂L/∂x = g · y"""
    return g * y
