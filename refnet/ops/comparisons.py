"""Questions about elements: comparisons, a choice between two arrays, a change of type.

A comparison jumps from False to True: no gradient flows through it. `where` chooses, so its gradient
goes to whichever array was chosen.
"""

from __future__ import annotations

import numpy as np

from refnet.op import op
from refnet.ops.reductions import sum_to


@op(wrt="")
def equal(a, b):
    r"""y = [a = b]"""
    return a == b


@op(wrt="")
def not_equal(a, b):
    r"""y = [a ≠ b]"""
    return a != b


@op(wrt="")
def less(a, b):
    r"""y = [a < b]"""
    return a < b


@op(wrt="")
def less_equal(a, b):
    r"""y = [a ≤ b]"""
    return a <= b


@op(wrt="")
def greater(a, b):
    r"""y = [a > b]"""
    return a > b


@op(wrt="")
def greater_equal(a, b):
    r"""y = [a ≥ b]"""
    return a >= b


@op(saves="condition a b", wrt="a b")
def where(condition, a, b):
    r"""y = a where the condition holds, else b"""
    return np.where(condition, a, b)


@where.vjp
def where_vjp(g, condition, a, b):
    r"""∂L/∂a = g · [condition],  ∂L/∂b = g · [not condition]"""
    none = np.zeros_like(g)
    to_a, to_b = np.where(condition, g, none), np.where(condition, none, g)
    return sum_to(to_a, np.shape(a)), sum_to(to_b, np.shape(b))


@op(saves="x", views="x")
def cast(x, dtype="float32"):
    r"""y = x as numbers of another type, rounded to the nearest"""
    return np.asarray(x).astype(dtype)


@cast.vjp(shape_of="x", views="g")
def cast_vjp(g, x, dtype="float32"):
    r"""∂L/∂x = g, in the type of x"""
    return np.asarray(g).astype(np.result_type(x))


# == Proof: what it is tried on, and how wrong it may be ===========================================

from dataclasses import replace

from refnet.op.columns import Case, Cases
from refnet.proof.bounds import exact, rounded_sum, ulp
from refnet.proof.cases import MANY, TALL, binary, large, normal, unary

equal.proof(binary, exact())
not_equal.proof(binary, exact())
less.proof(binary, exact())
less_equal.proof(binary, exact())
greater.proof(binary, exact())
greater_equal.proof(binary, exact())


def _choices():
    def chosen(*shapes):
        def make(rng):
            condition, a, b = normal(*shapes)(rng)
            return condition > 0, a, b

        return make

    return Cases(
        (
            Case("same shape", chosen((7, 31), (7, 31), (7, 31)), smooth=True),
            Case("row of conditions", chosen((17,), (6, 17), (6, 17)), smooth=True),
            Case("column and scalar", chosen((6, 17), (6, 1), ()), smooth=True),
            Case("scalars", chosen((), (), ())),
            Case("empty", chosen((0, 3), (0, 3), (3,))),
            Case("block edge", chosen((1025,), (1025,), (1025,))),
            Case("strided", chosen((5, 29), (5, 29), (5, 29)), layout="strided"),
            Case("transposed", chosen((33, 17), (33, 17), (33, 17)), layout="transposed"),
            Case(
                "NaN and infinities, chosen and not",
                lambda rng: (
                    np.array([True, False, True, False]),
                    np.array([1.0, np.nan, np.nan, -np.inf]),
                    np.array([np.nan, 2.0, np.inf, -np.inf]),
                ),
            ),
        ),
        lambda n: (Case("flat", chosen((n,), (n,), (n,))),),
        (
            Case(
                "many",
                lambda rng: (np.broadcast_to(True, (MANY,)), *[np.broadcast_to(0.5, (MANY,))] * 2),
            ),
            Case(
                "rows",
                lambda rng: (
                    np.broadcast_to(True, (TALL[0], 1)),
                    *[np.broadcast_to(0.5, TALL[1:])] * 2,
                ),
            ),
        ),
    )


where.proof(
    _choices,
    exact(),
    vjp=rounded_sum(
        1,
        lambda g, condition, a, b: [
            (max(1, g.size / max(1, x.size)), sum_to(np.abs(g), np.shape(x))) for x in (a, b)
        ],
    ),
)


CASTS = replace(unary(variants=({"dtype": "float64"},)), large=(large((MANY,), dtype="float64"),))


cast.proof(CASTS, ulp(0.5))
