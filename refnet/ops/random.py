r"""Random numbers that are a function: the same key gives the same numbers, on every backend.

An ordinary generator hides a state that changes with every call, so its numbers depend on who asked
first. A *counter-based* generator has no state. It scrambles the counters 0, 1, 2, … with a key:
number i can be computed without numbers 0 … i-1, on any processor, in any order.

The generator is Philox 4x32-10 of Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers:
as easy as 1, 2, 3". Ten times it multiplies, keeps both halves of the product, and mixes the key in.

A key is an array of two integers, (seed, stream): two streams of one seed have nothing in common.
"""

from __future__ import annotations

import math

import numpy as np

from refnet.base.dtypes import arithmetic, below, round_to
from refnet.errors import ArgumentError
from refnet.op import op
from refnet.op.shapes import drawn, dropped


@op(wrt="", shape=drawn)
def random_bits(key, shape=()):
    r"""y_i = word i mod 4 of philox(i // 4, key): random integers 0 … 2³²-1, in int64"""
    return words(key, math.prod(shape)).astype(np.int64).reshape(shape)


MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85  # added to the key after each round: the golden ratio, √3 - 1
ROUNDS = 10


def philox(counter, key):
    """Four random 32-bit words for each counter.

    Parameters
    ----------
    counter : array (n,) of integers in 0 … 2⁶⁴-1
    key : two integers in 0 … 2³²-1

    Returns
    -------
    array (n, 4) of uint32
    """
    low = np.uint64(0xFFFFFFFF)
    counter = np.asarray(counter, np.uint64)
    c0, c1 = counter & low, counter >> np.uint64(32)
    c2 = c3 = np.zeros_like(counter)
    k0, k1 = int(key[0]) & 0xFFFFFFFF, int(key[1]) & 0xFFFFFFFF
    for _ in range(ROUNDS):
        p0, p1 = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])  # 64-bit products
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & low,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def words(key, count):
    """The first `count` random 32-bit words of a key: element i is word i mod 4 of counter i // 4."""
    return philox(np.arange((count + 3) // 4), key).reshape(-1)[:count]


def _fractions(key, count, dtype):
    """`count` uniform numbers k / 2²⁴, as floats of the type `dtype` is computed in."""
    kind = arithmetic(dtype)
    return (words(key, count) >> 8).astype(kind) * np.asarray(2.0**-24, kind)


def ends(minimum, maximum, dtype):
    """(least, largest) number of `dtype` in [minimum, maximum): where rounding has to stop.

    Of an interval without width, both are what `minimum` is rounded to. An ArgumentError for one
    that holds no number of `dtype`, runs backwards, or is wider than its numbers reach.
    """
    minimum, maximum = float(minimum), float(maximum)
    low, high = round_to([minimum, maximum], dtype).tolist()
    width = round_to(maximum - minimum, arithmetic(dtype))
    if minimum == maximum and np.isfinite(low):
        return low, low
    least, largest = -below(-minimum, dtype) if low < minimum else low, below(maximum, dtype)
    if not np.isfinite([low, high, width]).all() or least > largest:
        raise ArgumentError(
            f"uniform numbers are drawn from [minimum, maximum), where {dtype} has numbers: "
            f"got [{minimum}, {maximum})"
        )
    return least, largest


@op(wrt="", shape=drawn)
def random_uniform(key, shape=(), minimum=0.0, maximum=1.0, dtype="float32"):
    r"""x = minimum + (maximum - minimum) · ⌊word / 2⁸⌋ / 2²⁴, uniform on [minimum, maximum)

    24 bits are what a float32 holds exactly. What would be rounded up to the maximum, and what would
    be rounded below the minimum, is the number of the type that is nearest to it within.
    """
    least, largest = ends(minimum, maximum, dtype)
    u = _fractions(key, math.prod(shape), dtype)
    x = np.clip(minimum + (maximum - minimum) * u, least, largest)
    return x.astype(dtype).reshape(shape)


@op(wrt="", shape=drawn)
def random_normal(key, shape=(), mean=0.0, stddev=1.0, dtype="float32"):
    r"""x = mean + stddev · √(-2 ln u₁) cos(2π u₂), and the same with sin: Box and Muller (1958)

    Words 2i and 2i+1 of the key give the uniform numbers u₁ in (0, 1] and u₂ in [0, 1), and these
    the normal numbers 2i (cosine) and 2i+1 (sine).
    """
    count = math.prod(shape)
    u = _fractions(key, count + count % 2, dtype).reshape(-1, 2)
    u1, u2 = u[:, 0] + u.dtype.type(2.0**-24), u[:, 1]
    radius, angle = np.sqrt(-2 * np.log(u1)), 2 * math.pi * u2
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)[:count]
    return (mean + stddev * z).astype(dtype).reshape(shape)


@op(saves="key", wrt="x", shape=dropped, floats=True)
def dropout(x, key, rate=0.5):
    r"""y = x · [u ≥ rate] / (1 - rate), u uniform on [0, 1)

    Each element is dropped with probability `rate`; the others grow, so that the expected sum stays.
    Source: Srivastava et al. (2014).
    """
    return np.where(random_uniform(key, np.shape(x)) >= rate, x / (1 - rate), np.zeros_like(x))


@dropout.vjp(shape=dropped)
def dropout_vjp(g, key, rate=0.5):
    r"""∂L/∂x = g · [u ≥ rate] / (1 - rate): the same mask, drawn again from the same key."""
    return np.where(random_uniform(key, np.shape(g)) >= rate, g / (1 - rate), np.zeros_like(g))


# == Proof: what it is tried on, and how wrong it may be ===========================================

from refnet.base.dtypes import spacing
from refnet.op.columns import Bound, Case, Cases
from refnet.proof.bounds import exact, ulp
from refnet.proof.cases import MANY, with_nonfinite


def _keys(*variants):
    """Cases of many shapes, and one for each other setting of the attributes."""
    key = lambda rng: (rng.integers(0, 2**32, 2),)
    shapes = ((), (1,), (0,), (3,), (4,), (5, 7), (1023,), (4097,), (2, 3, 4))
    tests = [Case(f"{shape}", key, {"shape": shape}) for shape in shapes]
    tests += [Case(f"{given}", key, {"shape": (99,), **given}) for given in variants]
    tests.append(Case("key 0", lambda rng: (np.zeros(2, np.int64),), {"shape": (9,)}))
    tests.append(Case("strided", key, {"shape": (9,)}, "strided"))
    only_key = "draws from a key: two integers"
    without = dict.fromkeys(("NaN", "infinity", "transposed", "broadcast"), only_key)
    return Cases(
        tuple(tests),
        lambda n: (Case("flat", key, {"shape": (n,)}),),
        (Case("many", key, {"shape": (MANY,)}),),
        without,
    )


random_bits.proof(_keys, exact())


INTERVALS = (
    {"minimum": -3.0, "maximum": 5.0},
    {"minimum": 1e3, "maximum": 1e3 + 1},
    {"minimum": -101.0, "maximum": -100.0},
    {"minimum": 2.0, "maximum": 2.0},
)


def _ends(key, shape=(), minimum=0.0, maximum=1.0, dtype=""):
    """The largest number that is rounded on the way; 0 for [0, 1), where nothing is."""
    return np.asarray(0.0 if (minimum, maximum) == (0, 1) else max(map(abs, (minimum, maximum))))


def _inward(dtype, inputs, attributes, outputs):
    """What half types round away from a maximum lies a whole ulp, and not half of one, beside it."""
    within = ulp(1.5, of=_ends).tolerance(dtype, inputs, attributes, outputs)
    if dtype == arithmetic(dtype):
        return within
    return [t + 0.5 * spacing(y, dtype) for t, y in zip(within, outputs, strict=True)]


random_uniform.proof(lambda: _keys(*INTERVALS), Bound("1.5 ulp of its terms", _inward))


def _tails(key, shape=(), mean=0.0, stddev=1.0, dtype=""):
    """√(-2 ln 2⁻²⁴) < 6: no number lies farther out, in units of stddev."""
    return np.asarray(abs(mean) + 6 * abs(stddev))


random_normal.proof(lambda: _keys({"mean": -2.0, "stddev": 0.5}), ulp(4, of=_tails))


def _dropped():
    def make(*shape):
        return lambda rng: (rng.normal(0, 1, shape), rng.integers(0, 2**32, 2))

    tests = (
        Case("half", make(7, 31), smooth=True),
        Case("a tenth", make(7, 31), {"rate": 0.1}, smooth=True),
        Case("none", make(5), {"rate": 0.0}),
        Case("one element", make(1)),
        Case("empty", make(0, 3)),
        Case("block edge", make(1025)),
        Case("NaN and infinities", with_nonfinite(make(7, 31))),
        Case("transposed", make(33, 17), layout="transposed"),
        Case("strided", make(5, 29), layout="strided"),
    )
    many = lambda rng: (np.broadcast_to(0.5, (MANY,)), rng.integers(0, 2**32, 2))
    without = {"broadcast": "every element is kept or dropped by a number of its own"}
    return Cases(tests, lambda n: (Case("flat", make(n)),), (Case("many", many),), without)


dropout.proof(_dropped, ulp(1))
