r"""Softmax: scores become probabilities, positive and with sum 1.

The largest score is subtracted first. It changes nothing (numerator and denominator shrink by the
same factor) and keeps every exponential at most 1, so that softmax([1000, 0]) is [1, 0], not NaN.
"""

from __future__ import annotations

import math

import numpy as np

from refnet.op import op
from refnet.op.shapes import reduced
from refnet.ops.reductions import added, reduced_count, spread


# The formulas, each with its gradient.
@op(saves="y")
def softmax(x, axis=-1):
    r"""y_i = e^{x_i} / Σ_j e^{x_j}

    Source: the course; Bridle (1990).
    """
    e = np.exp(x - np.max(x, axis, keepdims=True))
    return e / added(e, axis, keepdims=True)


@softmax.vjp
def softmax_vjp(g, y, axis=-1):
    r"""∂L/∂x_i = y_i · (g_i - Σ_j g_j y_j), from ∂y_j/∂x_i = y_j · ([i = j] - y_i)"""
    return y * (g - added(g * y, axis, keepdims=True))


@op(saves="y")
def log_softmax(x, axis=-1):
    r"""y_i = x_i - ln Σ_j e^{x_j}

    The logarithm of softmax, without taking one of a number that may have become 0.
    """
    z = x - np.max(x, axis, keepdims=True)
    return z - np.log(added(np.exp(z), axis, keepdims=True))


@log_softmax.vjp
def log_softmax_vjp(g, y, axis=-1):
    r"""∂L/∂x_i = g_i - e^{y_i} · Σ_j g_j"""
    return g - np.exp(y) * added(g, axis, keepdims=True)


@op(saves="x y", shape=reduced, floats=True)
def logsumexp(x, axis=None, keepdims=False):
    r"""y = ln Σ_i e^{x_i} = m + ln Σ_i e^{x_i - m}, m = max_i x_i (0, if that is not finite)"""
    m = np.max(x, axis, keepdims=True, initial=-np.inf)
    m = np.where(np.isfinite(m), m, 0)
    y = m + np.log(added(np.exp(x - m), axis, keepdims=True))
    return y if keepdims else np.squeeze(y, axis)


@logsumexp.vjp
def logsumexp_vjp(g, x, y, axis=None, keepdims=False):
    r"""∂L/∂x_i = g · e^{x_i - y}: g, shared out as softmax does"""
    return spread(g, x, axis, keepdims) * np.exp(x - spread(y, x, axis, keepdims))


# == Proof: what it is tried on, and how wrong it may be ===========================================

from refnet.proof.bounds import rounded_sum
from refnet.proof.cases import reduction, rows

# How rounding grows (see refnet/proof/bounds.py). Below e^-104 float32 has no numbers but 0.
LEAST_EXPONENT = 104


def _softmax_terms(x, axis=-1):
    """Each y carries the rounding of x - max (|x - max| · u, absolute in the exponent) and of Σ."""
    z = np.abs(x - np.max(x, axis, keepdims=True))
    return np.shape(x)[axis], softmax(x, axis) * (2 + np.minimum(z, LEAST_EXPONENT))


def _softmax_vjp_terms(g, y, axis=-1):
    mixed = np.sum(np.abs(g * y), axis, keepdims=True)
    return np.shape(y)[axis], y * (np.abs(g) + mixed)


softmax.proof(
    rows,
    rounded_sum(2, _softmax_terms),
    vjp=rounded_sum(2, _softmax_vjp_terms),
    known={
        ((1.8, 0.9, 0.68),): (
            0.57708417628652807502,
            0.23462491719449763419,
            0.18829090651897429078,
        )
    },
)


def _log_softmax_terms(x, axis=-1):
    z = x - np.max(x, axis, keepdims=True)
    return 1, 2 + np.abs(z) + np.log(np.shape(x)[axis])


def _log_softmax_vjp_terms(g, y, axis=-1):
    share = np.exp(y) * (1 + np.minimum(np.abs(y), LEAST_EXPONENT))
    return np.shape(y)[axis], np.abs(g) + share * np.sum(np.abs(g), axis, keepdims=True)


log_softmax.proof(
    rows, rounded_sum(2, _log_softmax_terms), vjp=rounded_sum(2, _log_softmax_vjp_terms)
)


def _distances(x, y):
    """|x - y|, which is rounded, as far as float32 has numbers for its exponential."""
    return np.minimum(np.abs(np.nan_to_num(x - y, nan=0.0)), LEAST_EXPONENT)


def _logsumexp_terms(x, axis=None, keepdims=False):
    """The logarithm makes of the relative error of the sum an absolute one."""
    m = np.max(x, axis, keepdims=True, initial=-np.inf)
    share = np.nan_to_num(np.exp(x - logsumexp(x, axis, keepdims=True)))
    rounded = np.sum(share * _distances(x, m), axis, keepdims=keepdims)
    return reduced_count(x, axis), 3 + rounded


def _logsumexp_vjp_terms(g, x, y, axis=None, keepdims=False):
    """x - y is rounded, and so was y, which may be larger than their difference."""
    g, y = spread(g, x, axis, keepdims), spread(y, x, axis, keepdims)
    return 1, np.abs(g) * np.exp(x - y) * (3 + _distances(x, y))


logsumexp.proof(
    reduction,
    rounded_sum(2, _logsumexp_terms),
    vjp=rounded_sum(2, _logsumexp_vjp_terms),
    known={((0.0, 0.0),): math.log(2), ((1000.0, 1000.0),): 1000 + math.log(2)},
)
