r"""Update rules: how the parameters θ follow the gradient g downhill.

All parameters of a model are one vector θ, so each rule is one line of arithmetic on whole arrays.
These are the only ops that write: θ and the rule's memory are overwritten in place, and returned.
An input may lie in memory that is overwritten: what it is needed for is computed before.
η is the learning rate; t counts the steps from 1. Both are data, as they change from step to step.
"""

from __future__ import annotations

import math

import numpy as np

from refnet.op import op


@op(writes="theta", outputs="theta", wrt="")
def sgd(theta, g, learning_rate):
    r"""θ ← θ - η g. Robbins and Monro (1951)."""
    theta -= learning_rate * g
    return theta


@op(writes="theta velocity", outputs="theta velocity", wrt="")
def momentum(theta, g, velocity, learning_rate, momentum=0.9):
    r"""v ← μ v - η g;  θ ← θ + v. Polyak (1964)."""
    velocity[...] = momentum * velocity - learning_rate * g
    theta += velocity
    return theta, velocity


@op(writes="theta velocity", outputs="theta velocity", wrt="")
def nesterov(theta, g, velocity, learning_rate, momentum=0.9):
    r"""v ← μ v - η g;  θ ← θ + μ v - η g. Nesterov (1983); in this form Sutskever et al. (2013)."""
    step = learning_rate * g
    velocity *= momentum
    velocity -= step
    theta += momentum * velocity - step
    return theta, velocity


@op(writes="theta total", outputs="theta total", wrt="")
def adagrad(theta, g, total, learning_rate, epsilon=1e-7):
    r"""s ← s + g²;  θ ← θ - η g / √(s + ε)

    A parameter's steps grow smaller the more it has been moved; one that is seldom needed keeps large
    ones. Source: Duchi, Hazan and Singer (2011); ε as in Keras.
    """
    step = learning_rate * g
    total += g * g
    theta -= step / np.sqrt(total + epsilon)
    return theta, total


@op(writes="theta mean_square", outputs="theta mean_square", wrt="")
def rmsprop(theta, g, mean_square, learning_rate, rho=0.9, epsilon=1e-7):
    r"""s ← ρ s + (1 - ρ) g²;  θ ← θ - η g / √(s + ε)

    Each parameter's step is divided by how large its gradient has lately been (the root of the
    moving mean square). Source: Tieleman and Hinton (2012), lecture 6.5; ε as in Keras.
    """
    step = learning_rate * g
    mean_square[...] = rho * mean_square + (1 - rho) * g * g
    theta -= step / np.sqrt(mean_square + epsilon)
    return theta, mean_square


@op(writes="theta m v", outputs="theta m v", wrt="")
def adam(theta, g, m, v, learning_rate, t, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    r"""θ ← θ - η m̂ / (√v̂ + ε)

    m ← β₁ m + (1 - β₁) g       m̂ = m / (1 - β₁ᵗ)     mean of the gradient
    v ← β₂ v + (1 - β₂) g²      v̂ = v / (1 - β₂ᵗ)     mean of its square

    Both means start at 0; dividing by 1 - βᵗ undoes their bias towards it. The two divisors are
    Python floats, in double precision: in single, 1 - 0.999 already loses four digits. v̂ itself may be
    too large a number; its root is not.
    Source: Kingma and Ba (2015), arXiv:1412.6980, algorithm 1.
    """
    t = float(t)
    step_size = float(learning_rate) / (1 - beta_1**t)
    m[...], v[...] = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g * g
    theta -= step_size * m / (np.sqrt(v) / math.sqrt(1 - beta_2**t) + epsilon)
    return theta, m, v


@op(writes="target", outputs="target", wrt="")
def assign(target, value):
    r"""x ← value, broadcast to x's shape"""
    target[...] = np.array(value)  # a copy: x[::2] = x[:n] reads what it has just written
    return target


# == Proof: what it is tried on, and how wrong it may be ===========================================

from refnet.op.columns import Case, Cases
from refnet.proof.bounds import exact, rounded_sum
from refnet.proof.cases import MANY, large, with_nonfinite


def _steps(states, counted=False, variants=()):
    """θ, g, as many state vectors as the rule keeps, η, and t if the rule counts steps.

    `states` holds for each state whether it may be negative.
    """

    def make(n, t=3, scale=1.0):
        def inputs(rng):
            theta, g = rng.normal(0, 1, n), rng.normal(0, scale, n)
            memory = [rng.normal(0, scale, n) for _ in states]
            memory = [m if signed else m * m for m, signed in zip(memory, states, strict=True)]
            return (theta, g, *memory, np.array(0.01), *([np.array(float(t))] if counted else []))

        return inputs

    tests = (
        *(Case(f"{n} parameters", make(n)) for n in (1, 37, 1023, 1024, 1025)),
        Case("none", make(0)),
        Case("first step", make(37, t=1)),
        Case("step 100,000", make(37, t=100_000)),
        Case("vanishing gradient", make(37, scale=1e-12)),
        Case("exploding gradient", make(37, scale=1e6)),
        Case("subnormal gradient", make(37, scale=1e-40)),
        Case("huge gradient", make(37, scale=1e18)),
        Case("NaN and infinities", with_nonfinite(make(37))),
        Case("transposed", make((33, 17)), layout="transposed"),
        Case("strided", make((5, 29)), layout="strided"),
        *(Case(f"{given}", make(37), given) for given in variants),
    )
    arrays, numbers = 2 + len(states), 1 + counted
    beyond = large(*[(MANY,)] * arrays, *[()] * numbers)
    without = {"limits": "a step of ∞ / ∞ has to be seen"}
    return Cases(tests, lambda n: (Case("flat", make(n)),), (beyond,), without)


sgd.proof(
    lambda: _steps(()),
    rounded_sum(1, lambda theta, g, eta: (1, np.abs(theta) + np.abs(eta * g))),
    known={((1.0,), (0.5,), 0.1): (0.95,)},
)


def _momentum_terms(theta, g, velocity, eta, momentum=0.9):
    v = np.abs(momentum * velocity) + np.abs(eta * g)
    return [(1, np.abs(theta) + 2 * v), (1, v)]


momentum.proof(
    lambda: _steps((True,), variants=({"momentum": 0.5},)),
    rounded_sum(2, _momentum_terms),
    known={((1.0,), (0.5,), (0.2,), 0.1): ((1.13,), (0.13,))},
)
nesterov.proof(
    lambda: _steps((True,), variants=({"momentum": 0.5},)),
    rounded_sum(2, _momentum_terms),
    known={((1.0,), (0.5,), (0.2,), 0.1): ((1.067,), (0.13,))},
)


def _adagrad_terms(theta, g, total, eta, epsilon=1e-7):
    s = total + g * g
    return [(1, np.abs(theta) + 4 * np.abs(eta * g) / np.sqrt(s + epsilon)), (1, s)]


adagrad.proof(
    lambda: _steps((False,), variants=({"epsilon": 1e-3},)),
    rounded_sum(2, _adagrad_terms),
    known={((1.0,), (3.0,), (16.0,), 0.5): ((0.70000000059999999819,), (25.0,))},
)


def _rmsprop_terms(theta, g, mean_square, eta, rho=0.9, epsilon=1e-7):
    mean = rho * mean_square + (1 - rho) * g * g
    return [(1, np.abs(theta) + 4 * np.abs(eta * g) / np.sqrt(mean + epsilon)), (1, mean)]


rmsprop.proof(
    lambda: _steps((False,), variants=({"rho": 0.5, "epsilon": 1e-3},)),
    rounded_sum(3, _rmsprop_terms),
)


def _adam_terms(theta, g, m, v, eta, t, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m_terms = np.abs(beta_1 * m) + np.abs((1 - beta_1) * g)
    v_terms = beta_2 * v + (1 - beta_2) * g * g
    root = np.sqrt(v_terms / (1 - beta_2**t)) + epsilon
    return [
        (1, np.abs(theta) + 6 * np.abs(eta) * m_terms / (1 - beta_1**t) / root),
        (1, m_terms),
        (1, v_terms),
    ]


adam.proof(
    lambda: _steps((True, False), counted=True, variants=({"beta_1": 0.5, "beta_2": 0.9},)),
    rounded_sum(3, _adam_terms),
)


def _copies():
    def pair(shape, value_shape):
        return lambda rng: (rng.normal(0, 1, shape), rng.normal(0, 1, value_shape))

    tests = (
        Case("vector", pair((1025,), (1025,))),
        Case("matrix", pair((7, 31), (7, 31))),
        Case("row", pair((7, 31), (31,))),
        Case("scalar", pair((), ())),
        Case("empty", pair((0, 3), (0, 3))),
        Case("strided", pair((5, 29), (5, 29)), layout="strided"),
        Case("transposed", pair((33, 17), (33, 17)), layout="transposed"),
        Case("NaN and infinities", with_nonfinite(pair((7, 31), (31,)))),
    )
    return Cases(tests, lambda n: (Case("flat", pair((n,), (n,))),), (large((MANY,), (MANY,)),))


assign.proof(_copies, exact())
