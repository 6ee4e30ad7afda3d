r"""Activation functions: what a neuron makes of its weighted sum, and how a gradient passes back.

Where the gradient can be written in the output y alone, it is: the input need not be kept.
Sources: the course; Goodfellow, Bengio, Courville (2016), *Deep Learning*, section 6.3; and the
papers named at each function. Every gradient states the one-sided rule it follows at a kink.
"""

from __future__ import annotations

import math

import numpy as np

from refnet.op import op
from refnet.ops.reductions import sum_to

SLOPE = 0.1  # the course's leaky ReLU
SELU_ALPHA = 1.6732632423543772  # Klambauer et al. (2017), equation 14
SELU_SCALE = 1.0507009873554805


@op(views="x", activation=True)
def identity(x):
    r"""y = x. The "linear" activation: its derivative is the constant 1, whatever x is."""
    return x


@identity.vjp(views="g")
def identity_vjp(g):
    r"""∂L/∂x = g"""
    return g


@op(activation=True)
def binary_step(x):
    r"""y = [x ≥ 0]: 1 from the threshold on, 0 below it. The perceptron's activation."""
    return np.heaviside(x, np.ones((), np.result_type(x)))  # at 0 the second; NaN stays NaN


@binary_step.vjp
def binary_step_vjp(g):
    r"""∂L/∂x = 0: a step is flat on both sides, so nothing can be learned through it."""
    return np.zeros_like(g)


@op(saves="y", activation=True)
def sigmoid(x):
    r"""y = σ(x) = 1 / (1 + e⁻ˣ)

    Written with e^{-|x|}, which cannot overflow: σ(x) = e^x / (1 + e^x) for negative x.
    """
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@sigmoid.vjp
def sigmoid_vjp(g, y):
    r"""∂L/∂x = g · y · (1 - y)"""
    return g * y * (1 - y)


@op(saves="y", activation=True)
def tanh(x):
    r"""y = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)"""
    return np.tanh(x)


@tanh.vjp
def tanh_vjp(g, y):
    r"""∂L/∂x = g · (1 - y²), as (1 - y)(1 + y): no digits cancel where y is near ±1."""
    return g * ((1 - y) * (1 + y))


@op(saves="y", activation=True)
def relu(x):
    r"""y = max(0, x). Nair and Hinton (2010)."""
    return np.maximum(x, 0)


@relu.vjp
def relu_vjp(g, y):
    r"""∂L/∂x = g · [y > 0]: a neuron that is off passes nothing back. 0 at the kink (left)."""
    return np.where(y > 0, g, 0)


@op(saves="x", activation=True)
def leaky_relu(x, negative_slope=SLOPE):
    r"""y = x for x > 0, else negative_slope · x: the course's max(0.1x, x)."""
    return np.where(x > 0, x, negative_slope * x)


@leaky_relu.vjp
def leaky_relu_vjp(g, x, negative_slope=SLOPE):
    r"""∂L/∂x = g for x > 0, else g · negative_slope. The left derivative at the kink."""
    return np.where(x > 0, g, negative_slope * g)


@op(saves="x alpha", floats=True)
def prelu(x, alpha):
    r"""y = x for x > 0, else α · x, where α is learned. He et al. (2015), arXiv:1502.01852."""
    return np.where(x > 0, x, alpha * x)


@prelu.vjp
def prelu_vjp(g, x, alpha):
    r"""∂L/∂x = g · (1 for x > 0, else α),  ∂L/∂α = Σ g · (0 for x > 0, else x)"""
    dx = np.where(x > 0, g, alpha * g)
    dalpha = np.where(x > 0, 0, g * x)
    return sum_to(dx, np.shape(x)), sum_to(dalpha, np.shape(alpha))


@op(saves="y", activation=True)
def elu(x, alpha=1.0):
    r"""y = x for x ≥ 0, else α (eˣ - 1). Clevert et al. (2016), arXiv:1511.07289.

    eˣ - 1 is computed as expm1(x): the naive difference loses every digit for x near 0.
    """
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


@elu.vjp
def elu_vjp(g, y, alpha=1.0):
    r"""∂L/∂x = g · (1 for y ≥ 0, else y + α). The right derivative at the kink."""
    return g * np.where(y >= 0, 1, y + alpha)


@op(saves="y", activation=True)
def selu(x):
    r"""y = λ x for x ≥ 0, else λα (eˣ - 1), λ ≈ 1.0507, α ≈ 1.6733: λ · elu(x, α).

    Klambauer et al. (2017), arXiv:1706.02515. λα is one constant, rounded once.
    """
    below = SELU_SCALE * SELU_ALPHA * np.expm1(np.minimum(x, 0))
    return np.where(x >= 0, SELU_SCALE * x, below)


@selu.vjp
def selu_vjp(g, y):
    r"""∂L/∂x = g · (λ for y ≥ 0, else y + λα). The right derivative at the kink."""
    return g * np.where(y >= 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA)


def fading(x, factor):
    r"""x · factor, and 0 where the factor is 0: it faded faster than x grew, to ±∞ perhaps."""
    return np.where(factor == 0, 0, x) * factor


@op(saves="x", activation=True)
def swish(x):
    r"""y = x · σ(x), also called SiLU. Ramachandran et al. (2017), arXiv:1710.05941."""
    return fading(x, sigmoid(x))


@swish.vjp
def swish_vjp(g, x):
    r"""∂L/∂x = g · (s + x · s · (1 - s)),  s = σ(x)"""
    s = sigmoid(x)
    return g * (s + fading(x, s * (1 - s)))


erf = np.frompyfunc(math.erf, 1, 1)  # NumPy has no error function; Python has


def standard_normal_cdf(x):
    r"""Φ(x) = (1 + erf(x / √2)) / 2: the chance that a standard normal number is below x."""
    x = np.asarray(x)
    return np.asarray(0.5 * (1.0 + erf(x.astype(np.float64) / math.sqrt(2.0)))).astype(x.dtype)


def standard_normal_pdf(x):
    r"""φ(x) = e^{-x²/2} / √(2π)"""
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _gelu_tanh(x):
    """tanh of the approximate GELU's argument, √(2/π) (x + 0.044715 x³)."""
    return np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x))


@op(saves="x", activation=True)
def gelu(x, approximate=False):
    r"""y = x · Φ(x), Φ the standard normal CDF. Hendrycks and Gimpel (2016), arXiv:1606.08415.

    With approximate=True: y = x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))).
    """
    if approximate:
        return fading(0.5 * x, 1 + _gelu_tanh(x))
    return fading(x, standard_normal_cdf(x))


@gelu.vjp
def gelu_vjp(g, x, approximate=False):
    r"""∂L/∂x = g · (Φ(x) + x · φ(x)), φ the standard normal density"""
    if approximate:
        t = _gelu_tanh(x)
        slope = math.sqrt(2.0 / math.pi) * (1 + 3 * 0.044715 * x * x)
        return g * (0.5 * (1 + t) + 0.5 * fading(x * slope, (1 - t) * (1 + t)))
    return g * (standard_normal_cdf(x) + fading(x, standard_normal_pdf(x)))


@op(saves="x", activation=True)
def softplus(x):
    r"""y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^{-|x|}): a smooth ReLU. Dugas et al. (2001)."""
    return np.logaddexp(0, x)


@softplus.vjp
def softplus_vjp(g, x):
    r"""∂L/∂x = g · σ(x)"""
    return g * sigmoid(x)


@op(saves="x", activation=True)
def softsign(x):
    r"""y = x / (1 + |x|). Turian et al. (2009)."""
    return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x)))


@softsign.vjp
def softsign_vjp(g, x):
    r"""∂L/∂x = g / (1 + |x|)²"""
    distance = 1 + np.abs(x)
    return g / distance / distance


@op(saves="x", activation=True)
def hard_sigmoid(x):
    r"""y = min(max(x + 3, 0), 6) / 6: σ(x) in straight lines, as in Keras 3."""
    return np.clip(x + 3, 0, 6) / 6


@hard_sigmoid.vjp
def hard_sigmoid_vjp(g, x):
    r"""∂L/∂x = g/6 for -3 < x < 3, else 0. 0 at both kinks (left of -3, right of 3)."""
    return np.where((x > -3) & (x < 3), g / 6, 0)


@op(saves="x", activation=True)
def hard_swish(x):
    r"""y = x · min(max(x + 3, 0), 6) / 6: swish with a hard_sigmoid in it. Howard et al. (2019)."""
    return fading(x, np.clip(x + 3, 0, 6) / 6)


@hard_swish.vjp
def hard_swish_vjp(g, x):
    r"""∂L/∂x = g (x/3 + 1/2) for -3 < x < 3, below that 0, above it g. 0 and g at the kinks."""
    return np.where((x > -3) & (x < 3), g * (x / 3 + 0.5), np.where(x < 3, 0, g))


@op(saves="y", activation=True)
def relu6(x):
    r"""y = min(max(x, 0), 6). Krizhevsky (2010)."""
    return np.clip(x, 0, 6)


@relu6.vjp
def relu6_vjp(g, y):
    r"""∂L/∂x = g for 0 < y < 6, else 0. 0 at both kinks (left of 0, right of 6)."""
    return np.where((y > 0) & (y < 6), g, 0)


@op(saves="x", activation=True)
def mish(x):
    r"""y = x · tanh(ln(1 + eˣ)). Misra (2019), arXiv:1908.08681."""
    return fading(x, np.tanh(softplus(x)))


@mish.vjp
def mish_vjp(g, x):
    r"""∂L/∂x = g · (t + x · (1 - t²) · σ(x)),  t = tanh(ln(1 + eˣ))"""
    t = np.tanh(softplus(x))
    return g * (t + fading(x, (1 - t) * (1 + t) * sigmoid(x)))


@op(saves="y", activation=True)
def exponential(x):
    r"""y = eˣ"""
    return np.exp(x)


@exponential.vjp
def exponential_vjp(g, y):
    r"""∂L/∂x = g · y"""
    return g * y


# == Proof: what it is tried on, and how wrong it may be ===========================================

from refnet.op import Kink
from refnet.op.columns import Case, Cases
from refnet.ops.reductions import summed_to_inputs
from refnet.proof.bounds import exact, ulp
from refnet.proof.cases import MANY, TALL, constant, large, normal, unary

identity.proof(unary, exact(), known={-2.0: -2.0, 0.0: 0.0, 1.0: 1.0})
binary_step.proof(unary, exact(), known={-0.5: 0.0, 0.0: 1.0, 2.0: 1.0})
sigmoid.proof(
    unary,
    ulp(4),
    vjp=ulp(3, of=lambda g, y: (np.abs(g * y),)),
    known={-2.0: 0.11920292202211755594, 0.0: 0.5, 1.0: 0.73105857863000487925},
)
tanh.proof(
    unary,
    ulp(2.5),
    vjp=ulp(3),
    known={-2.0: -0.96402758007581688395, 0.0: 0.0, 1.0: 0.76159415595576488812},
)
relu.proof(unary, exact(), kinks=[Kink((0.0,), "left")], known={-2.0: 0.0, 0.0: 0.0, 1.5: 1.5})
leaky_relu.proof(
    lambda: unary(variants=({"negative_slope": 0.3},)),
    ulp(1.5),
    vjp=ulp(1.5),
    kinks=[Kink((0.0,), "left")],
    known={-2.0: -0.2, 0.0: 0.0, 1.5: 1.5},
)


def _with_slopes():
    def slopes(x_shape, alpha_shape):
        return normal(x_shape, alpha_shape)

    return Cases(
        (
            Case("one slope a feature", slopes((7, 31), (31,)), smooth=True),
            Case("one slope a channel", slopes((2, 3, 4, 5), (1, 1, 5)), smooth=True),
            Case("shared slope", slopes((7, 31), (1,)), smooth=True),
            Case("points", constant(unary().tests[0].make(None)[0], 0.25)),
            Case("empty", slopes((0, 3), (3,))),
            Case("tall", slopes((1031, 3), (3,))),
            Case("one element", slopes((1,), (1,))),
            Case("transposed", slopes((33, 17), (33, 17)), layout="transposed"),
            Case("strided", slopes((5, 29), (29,)), layout="strided"),
        ),
        lambda n: (Case("rows", slopes((max(1, n // 1024), 1024), (1024,))),),
        (large((MANY,), (1,)), large(TALL, TALL[1:])),
    )


prelu.proof(
    _with_slopes,
    ulp(0.5),
    vjp=summed_to_inputs(lambda g, x, alpha: (np.where(x > 0, g, alpha * g), g * np.minimum(x, 0))),
    kinks=[Kink((0.0, 0.25), "left")],
)


def _elu_terms(x, alpha=1.0):
    """An ulp of eˣ - 1, times α, may be two ulp of the product."""
    y = np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))
    return y if alpha == 1 else 2 * y


elu.proof(
    lambda: unary(variants=({"alpha": 1.5},)),
    ulp(2.5, of=_elu_terms),
    vjp=ulp(3, of=lambda g, y, alpha=1.0: np.abs(g) * np.maximum(1, np.abs(alpha))),
    kinks=[Kink((0.0,), "right"), Kink((0.0,), "right", {"alpha": 1.5})],
    known={-2.0: -0.86466471676338730811, 0.0: 0.0, 1.5: 1.5},
)
selu.proof(
    unary,
    ulp(4),
    vjp=ulp(3, of=lambda g, y: 2 * np.abs(g)),
    kinks=[Kink((0.0,), "right")],
    known={-2.0: -1.5201664685956949676, 0.0: 0.0, 1.0: 1.0507009873554805},
)


def _times_x(factor):
    """x · factor(x): where the factor is subnormal, its few digits are stretched by |x|."""
    return lambda x: np.abs(x) * np.maximum(factor(x), 2.0**-126)


def _swish_terms(g, x):
    """1 - s is rounded relative to s, not to itself."""
    return np.abs(g) * np.maximum(sigmoid(x), 2.0**-126) * (1 + np.abs(x))


swish.proof(
    unary,
    ulp(5, of=_times_x(sigmoid)),
    vjp=ulp(6, of=_swish_terms),
    known={-2.0: -0.23840584404423511188, 0.0: 0.0, 1.0: 0.73105857863000487925},
)
gelu.proof(
    lambda: unary(variants=({"approximate": True},)),
    ulp(4, of=lambda x, approximate=False: np.abs(x)),
    vjp=ulp(8, of=lambda g, x, approximate=False: np.abs(g) * (1 + np.abs(x))),
    known={-2.0: -0.045500263896358414401, 0.0: 0.0, 1.0: 0.84134474606854294859},
)
softplus.proof(
    unary,
    ulp(2.5),
    vjp=ulp(5),
    known={-2.0: 0.12692801104297249644, 0.0: math.log(2), 1.0: 1.313261687518222834},
)
softsign.proof(unary, ulp(2), vjp=ulp(4), known={-2.0: -2 / 3, 0.0: 0.0, 1.0: 0.5})
hard_sigmoid.proof(
    unary,
    ulp(2, of=lambda x: np.maximum(np.clip(x / 6 + 0.5, 0, 1), np.abs(np.clip(x, -3, 3)) / 6)),
    vjp=ulp(1),
    kinks=[Kink((-3.0,), "left"), Kink((3.0,), "right")],
    known={-3.0: 0.0, -2.0: 1 / 6, 0.0: 0.5, 3.0: 1.0, 9.0: 1.0},
)
hard_swish.proof(
    unary,
    ulp(3, of=lambda x: np.abs(x) * np.clip(np.maximum(x / 6 + 0.5, np.abs(x) / 6), 0, 1)),
    vjp=ulp(3, of=lambda g, x: np.abs(g) * np.minimum(np.abs(x) / 3 + 0.5, 1.5)),
    kinks=[Kink((-3.0,), "left"), Kink((3.0,), "right")],
    known={-3.0: 0.0, -1.0: -1 / 3, 0.0: 0.0, 1.0: 2 / 3, 3.0: 3.0, 3e38: 3e38},
)
relu6.proof(
    unary,
    exact(),
    kinks=[Kink((0.0,), "left"), Kink((6.0,), "right")],
    known={-2.0: 0.0, 1.5: 1.5, 7.0: 6.0},
)


def _mish_terms(g, x):
    """1 - t is rounded relative to t, not to itself."""
    return np.abs(g) * np.maximum(sigmoid(x), 2.0**-126) * (1 + np.abs(x))


mish.proof(
    unary,
    ulp(4, of=_times_x(lambda x: np.tanh(softplus(x)))),
    vjp=ulp(10, of=_mish_terms),
    known={-2.0: -0.25250148269570886364, 0.0: 0.0, 1.0: 0.86509838826731034612},
)
exponential.proof(
    unary, ulp(3), vjp=ulp(0.5), known={-2.0: 0.13533528323661269189, 0.0: 1.0, 1.0: math.e}
)
