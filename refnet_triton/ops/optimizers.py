"""Update rules: one kernel launch over the whole of θ. The twin of refnet/ops/optimizers.py.

θ and the rule's memory are read once, changed in registers, and written once. The learning rate η and the
step number t are data, 0-d tensors as a rule: a captured graph sees them change, and nothing is compiled
anew.
"""

from __future__ import annotations

import math

from refnet_triton.language import mathematics
from refnet_triton.language.pointwise import copy_, pointwise

# isort: split
import triton
import triton.language as tl


@pointwise(writes=("theta",))
def sgd(theta, g, learning_rate):
    r"""θ ← θ - η g"""
    return theta - learning_rate * g


@pointwise(writes=("theta", "velocity"))
def momentum(theta, g, velocity, learning_rate, momentum=0.9):
    r"""v ← μ v - η g;  θ ← θ + v"""
    velocity = momentum * velocity - learning_rate * g
    return theta + velocity, velocity


@pointwise(writes=("theta", "velocity"))
def nesterov(theta, g, velocity, learning_rate, momentum=0.9):
    r"""v ← μ v - η g;  θ ← θ + μ v - η g"""
    step = learning_rate * g
    velocity = momentum * velocity - step
    return theta + (momentum * velocity - step), velocity


@pointwise(writes=("theta", "total"))
def adagrad(theta, g, total, learning_rate, epsilon=1e-7):
    r"""s ← s + g²;  θ ← θ - η g / √(s + ε)"""
    total = total + g * g
    return theta - mathematics.divide(learning_rate * g, mathematics.sqrt(total + epsilon)), total


@pointwise(writes=("theta", "mean_square"))
def rmsprop(theta, g, mean_square, learning_rate, rho=0.9, epsilon=1e-7):
    r"""s ← ρ s + (1 - ρ) g²;  θ ← θ - η g / √(s + ε)"""
    mean_square = rho * mean_square + (1 - rho) * (g * g)
    step = mathematics.divide(learning_rate * g, mathematics.sqrt(mean_square + epsilon))
    return theta - step, mean_square


@triton.constexpr_function
def _ln(beta):
    """ln β, while compiling, in double precision: in single, that of 0.999 has four digits."""
    return math.log(beta) if beta else -math.inf


@triton.jit
def _one_minus_power(beta: tl.constexpr, t):
    """1 - βᵗ = -(e^{t ln β} - 1): no digits cancel, as they would in 1 - 0.999."""
    return -mathematics.expm1(t * _ln(beta))


@pointwise(writes=("theta", "m", "v"))
def adam(theta, g, m, v, learning_rate, t, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    r"""m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  θ ← θ - η m̂ / (√v̂ + ε)"""
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * (g * g)
    step_size = mathematics.divide(learning_rate, _one_minus_power(beta_1, t))
    root = mathematics.divide(mathematics.sqrt(v), mathematics.sqrt(_one_minus_power(beta_2, t)))
    return theta - mathematics.divide(step_size * m, root + epsilon), m, v


def assign(target, value):
    r"""x ← value, broadcast to x's shape"""
    return copy_(target, value)
