"""Arithmetic, element by element, with NumPy's broadcasting.

Where an input was stretched to the shape of the result, its gradient is summed back to its own
shape (`sum_to`): an element that was used many times gets the sum of what came back.
"""

from __future__ import annotations

import numpy as np

from refnet.errors import DTypeError
from refnet.op import op
from refnet.ops.reductions import sum_to


@op(saves="a b")
def add(a, b):
    r"""y = a + b"""
    return a + b


@add.vjp(shape_of="a b", views="g")
def add_vjp(g, a, b):
    r"""∂L/∂a = g,  ∂L/∂b = g"""
    return sum_to(g, np.shape(a)), sum_to(g, np.shape(b))


@op(saves="a b")
def subtract(a, b):
    r"""y = a - b"""
    return a - b


@subtract.vjp(shape_of="a b", views="g")
def subtract_vjp(g, a, b):
    r"""∂L/∂a = g,  ∂L/∂b = -g"""
    return sum_to(g, np.shape(a)), sum_to(-g, np.shape(b))


@op(saves="a b")
def multiply(a, b):
    r"""y = a · b"""
    return a * b


@multiply.vjp
def multiply_vjp(g, a, b):
    r"""∂L/∂a = g · b,  ∂L/∂b = g · a"""
    return sum_to(g * b, np.shape(a)), sum_to(g * a, np.shape(b))


@op(saves="a b")
def divide(a, b):
    r"""y = a / b"""
    return a / b


@divide.vjp
def divide_vjp(g, a, b):
    r"""∂L/∂a = g / b,  ∂L/∂b = -g · a / b²"""
    return sum_to(g / b, np.shape(a)), sum_to(-g * (a / b) / b, np.shape(b))


@op(saves="a b")
def power(a, b):
    r"""y = aᵇ. NaN for a negative base with an exponent that is not whole."""
    if np.result_type(a, b).kind == "i" and np.any(np.less(b, 0)):
        raise DTypeError("integers have no negative powers: cast them to floats")
    return np.power(a, b)


@power.vjp
def power_vjp(g, a, b, wrt=("a", "b")):
    r"""∂L/∂a = g · b · aᵇ⁻¹,  ∂L/∂b = g · aᵇ · ln a

    a⁰ is 1 for every a, so its slope is 0, at a = 0 as well; 0ᵇ is 0 for every b > 0; and where a power
    is 0, it fell faster than b or ln a grow.
    """
    da = db = None
    if "a" in wrt:
        power = np.power(a, np.where(b == 0, 0, b - 1))
        da = sum_to(g * np.where(power == 0, 0, b) * power, np.shape(a))
    if "b" in wrt:
        power = np.power(a, b)
        log_a = np.log(np.where((a == 0) & (b >= 0), 1, a))
        db = sum_to(g * np.where(power == 0, 0, log_a) * power, np.shape(b))
    return da, db


@op()
def negative(x):
    r"""y = -x"""
    return -x


@negative.vjp
def negative_vjp(g):
    r"""∂L/∂x = -g"""
    return -g


@op(saves="x")
def square(x):
    r"""y = x²"""
    return x * x


@square.vjp
def square_vjp(g, x):
    r"""∂L/∂x = g · 2x"""
    return g * x * 2  # 2x may be too large where g · 2x is not


@op(saves="y")
def exp(x):
    r"""y = eˣ"""
    return np.exp(x)


@exp.vjp
def exp_vjp(g, y):
    r"""∂L/∂x = g · y"""
    return g * y


@op(saves="x")
def log(x):
    r"""y = ln x. NaN below 0."""
    return np.log(x)


@log.vjp
def log_vjp(g, x):
    r"""∂L/∂x = g / x"""
    return g / x


@op(saves="y")
def sqrt(x):
    r"""y = √x. NaN below 0."""
    return np.sqrt(x)


@sqrt.vjp
def sqrt_vjp(g, y):
    r"""∂L/∂x = g / (2y)"""
    return g / (2 * y)


@op(saves="x")
def abs(x):
    r"""y = |x|"""
    return np.abs(x)


@abs.vjp
def abs_vjp(g, x):
    r"""∂L/∂x = g · sign(x): 0 at the kink x = 0."""
    return g * np.sign(x)


@op(wrt="")
def sign(x):
    r"""y = 1 where x > 0, -1 where x < 0, 0 where x = 0. It is flat: no gradient flows."""
    return np.sign(x)


@op(wrt="")
def floor(x):
    r"""y = ⌊x⌋, the largest integer that is not above x. It is flat: no gradient flows."""
    return np.floor(x)


@op(saves="a b")
def maximum(a, b):
    r"""y = max(a, b). NaN if either is NaN."""
    return np.maximum(a, b)


@maximum.vjp
def maximum_vjp(g, a, b):
    r"""g goes to the larger of the two; where a = b, half to each."""
    half = np.where(a == b, g / 2, np.zeros_like(g))
    to_a, to_b = np.where(a > b, g, half), np.where(b > a, g, half)
    return sum_to(to_a, np.shape(a)), sum_to(to_b, np.shape(b))


@op(saves="a b")
def minimum(a, b):
    r"""y = min(a, b). NaN if either is NaN."""
    return np.minimum(a, b)


@minimum.vjp
def minimum_vjp(g, a, b):
    r"""g goes to the smaller of the two; where a = b, half to each."""
    return maximum_vjp(g, -a, -b)


@op(saves="x")
def clip(x, minimum=-np.inf, maximum=np.inf):
    r"""y = min(max(x, minimum), maximum)"""
    return np.clip(x, minimum, maximum)


@clip.vjp
def clip_vjp(g, x, minimum=-np.inf, maximum=np.inf):
    r"""∂L/∂x = g where minimum ≤ x ≤ maximum, else 0"""
    return np.where((x >= minimum) & (x <= maximum), g, np.zeros_like(g))


# == Proof: what it is tried on, and how wrong it may be ===========================================

from dataclasses import replace

from refnet.op import Kink
from refnet.op.columns import Case, Cases
from refnet.ops.reductions import summed_to_inputs
from refnet.proof.bounds import exact, ulp
from refnet.proof.cases import binary, constant, normal, positive, unary

add.proof(binary, ulp(0.5), vjp=summed_to_inputs(lambda g, a, b: (g, g)))
subtract.proof(binary, ulp(0.5), vjp=summed_to_inputs(lambda g, a, b: (g, g)))
multiply.proof(binary, ulp(0.5), vjp=summed_to_inputs(lambda g, a, b: (g * b, g * a)))
divide.proof(
    lambda: replace(binary(), without={"limits": "∞ / ∞ is NaN, and so is its gradient"}),
    ulp(0.5),
    vjp=summed_to_inputs(lambda g, a, b: (g / b, g * (a / b) / b)),
)


def _powers():
    """Positive bases with any exponent; any base with whole exponents; the corners of both."""
    base = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 10.0, np.inf, -np.inf, np.nan]
    exponent = [0.0, -0.0, 1.0, -1.0, 2.0, 3.0, -3.0, 0.5, -0.5, np.inf, -np.inf, np.nan]
    ordinary = lambda *shapes: (
        lambda rng: (
            positive(shapes[0])(rng)[0],
            normal(shapes[1])(rng)[0],
        )
    )
    return Cases(
        (
            Case("corners", constant(np.array(base)[:, None], exponent)),
            Case("corners of one shape", constant(*map(np.ravel, np.meshgrid(base, exponent)))),
            Case("ordinary", ordinary((7, 31), (7, 31)), smooth=True),
            Case("row", ordinary((6, 17), (17,)), smooth=True),
            Case("column", ordinary((6, 1), (6, 17)), smooth=True),
            Case("square", lambda rng: (*normal((5, 9))(rng), np.array(2.0))),
            Case("cube root", lambda rng: (*positive((5, 9))(rng), np.array(1 / 3))),
            Case("empty", ordinary((0,), (0,))),
            Case("block edge", ordinary((1025,), (1025,))),
            Case("transposed", ordinary((33, 17), (33, 17)), layout="transposed"),
            Case("strided", ordinary((5, 29), (5, 29)), layout="strided"),
            Case("one element", ordinary((1,), (1,))),
        ),
        lambda n: (Case("square", lambda rng: (*positive((n,))(rng), np.array(1.7))),),
        binary().large,
    )


def _power_terms(g, a, b, wrt=("a", "b")):
    log_a = np.log(np.where(a > 0, a, 1.0))
    grown = 1 + np.abs(np.nan_to_num(b * log_a, posinf=0, neginf=0))  # see `power`'s bound
    return g * b * a ** (b - 1) * grown, g * a**b * log_a * grown


power.proof(_powers, ulp(4), vjp=summed_to_inputs(_power_terms, c=8))
negative.proof(unary, exact())
square.proof(unary, ulp(0.5), vjp=ulp(1))
exp.proof(unary, ulp(3), vjp=ulp(0.5))
log.proof(lambda: unary(positive), ulp(4), vjp=ulp(0.5))
sqrt.proof(lambda: unary(positive), ulp(0.5), vjp=ulp(1))
abs.proof(unary, exact(), kinks=[Kink((0.0,), "mean")])
sign.proof(unary, exact())
floor.proof(unary, exact())
maximum.proof(
    binary,
    exact(),
    vjp=summed_to_inputs(lambda g, a, b: (g * (a >= b), g * (b >= a))),
    kinks=[Kink((1.0, 1.0), "mean")],
)
minimum.proof(
    binary,
    exact(),
    vjp=summed_to_inputs(lambda g, a, b: (g * (a <= b), g * (b <= a))),
    kinks=[Kink((1.0, 1.0), "mean")],
)


CLIP = unary(variants=({"minimum": -0.5, "maximum": 0.5}, {"minimum": 0.0}))


clip.proof(
    CLIP,
    exact(),
    kinks=[
        Kink((-0.5,), "right", {"minimum": -0.5, "maximum": 0.5}),
        Kink((0.5,), "left", {"minimum": -0.5, "maximum": 0.5}),
        Kink((0.0,), "right", {"minimum": 0.0}),
    ],
)
