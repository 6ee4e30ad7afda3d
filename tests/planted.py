"""Ops with several differentiable results, which stand in TABLE for as long as a test needs them.

Each formula is written once, with the functions of `xp`: NumPy for the reference, torch for its twin on
the backend `triton`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import numpy as np

from refnet.op import TABLE, Op
from refnet.op.columns import Case, Cases
from refnet.op.shapes import Spec
from refnet.proof.bounds import ulp
from refnet.proof.cases import normal

FILE = "planted"


def polar_of(xp):
    """Two results."""

    def polar(x, y):
        r"""r = √(x² + y²),  φ = arctan(y / x)"""
        return xp.sqrt(x * x + y * y), xp.arctan2(y, x)

    def polar_vjp(gr, gphi, x, y):
        r"""∂L/∂x = ∂L/∂r x/r - ∂L/∂φ y/r²,  ∂L/∂y = ∂L/∂r y/r + ∂L/∂φ x/r²"""
        r = xp.sqrt(x * x + y * y)
        across, along = gphi / (r * r), gr / r
        return along * x - across * y, along * y + across * x

    return polar, polar_vjp


def products_of(xp):
    """Three results, and a gradient that takes `wrt`."""

    def products(a, b):
        r"""p = a b,  q = a²,  s = sin b"""
        return a * b, a * a, xp.sin(b)

    def products_vjp(gp, gq, gs, a, b, wrt=("a", "b")):
        r"""∂L/∂a = ∂L/∂p b + 2 ∂L/∂q a,  ∂L/∂b = ∂L/∂p a + ∂L/∂s cos b"""
        da = gp * b + 2 * gq * a if "a" in wrt else None
        return da, gp * a + gs * xp.cos(b) if "b" in wrt else None

    return products, products_vjp


def growth_of(xp):
    """A gradient that needs the results alone, and of x the shape."""

    def growth(x):
        r"""y = e^x,  z = 2 x,  w = tanh x"""
        return xp.exp(x), 2 * x, xp.tanh(x)

    def growth_vjp(gy, gz, gw, y, w, x):
        r"""∂L/∂x = ∂L/∂y y + 2 ∂L/∂z + ∂L/∂w (1 - w²)"""
        return gy * y + 2 * gz + gw * (1 - w * w)

    return growth, growth_vjp


def powers_of(xp):
    """Whole numbers between two results that are differentiable."""

    def powers(x):
        r"""y = x²,  n = the whole part of x,  z = x³"""
        return x * x, x.astype(np.int64) if xp is np else x.to(xp.int64), x * x * x

    def powers_vjp(gsquare, gcube, x):
        r"""∂L/∂x = 2 ∂L/∂y x + 3 ∂L/∂z x²"""
        return 2 * gsquare * x + 3 * gcube * x * x

    return powers, powers_vjp


def sums_of(xp):
    """Two results of any number of arrays."""

    def sums(*xs):
        r"""y = Σ x_i,  z = Σ x_i²"""
        return sum(xs), sum(x * x for x in xs)

    def sums_vjp(gtotal, gsquares, *xs):
        r"""∂L/∂x_i = ∂L/∂y + 2 ∂L/∂z x_i"""
        return tuple([gtotal + 2 * gsquares * x for x in xs])

    return sums, sums_vjp


def lstm_cell_of(xp):
    """An LSTM's h and c; what its gradient would compute again is saved, and not differentiable."""

    def lstm_cell(x, h, c, kernel, recurrent, bias):
        r"""c' = σ(f) c + σ(i) tanh g,  h' = σ(o) tanh c',  (i, f, g, o) = x W + h U + b"""
        z, n = x @ kernel + h @ recurrent + bias, h.shape[-1]
        i, f, o = (1 / (1 + xp.exp(-z[:, k * n : (k + 1) * n])) for k in (0, 1, 3))
        g = xp.tanh(z[:, 2 * n : 3 * n])
        new = f * c + i * g
        return o * xp.tanh(new), new, xp.concatenate([i, f, g, o], 1)

    def lstm_cell_vjp(
        gh1, gc1, x, h, c, kernel, recurrent, c1, gates,
        wrt=("x", "h", "c", "kernel", "recurrent", "bias"),
    ):  # fmt: skip
        r"""∂L/∂c' = gc + gh σ(o) (1 - tanh² c');  from there on the chain rule"""
        n = h.shape[-1]
        i, f, g, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
        t = xp.tanh(c1)
        dc1 = gc1 + gh1 * o * (1 - t * t)
        dz = xp.concatenate(
            [
                dc1 * g * i * (1 - i),
                dc1 * c * f * (1 - f),
                dc1 * i * (1 - g * g),
                gh1 * t * o * (1 - o),
            ],
            1,
        )
        found = {
            "x": lambda: dz @ kernel.T,
            "h": lambda: dz @ recurrent.T,
            "c": lambda: dc1 * f,
            "kernel": lambda: x.T @ dz,
            "recurrent": lambda: h.T @ dz,
            "bias": lambda: dz.sum(0),
        }
        return tuple([make() if name in wrt else None for name, make in found.items()])

    return lstm_cell, lstm_cell_vjp


def _sums_vjp(op, specs, attributes):
    return specs[2:]


def _cell(op, specs, attributes):
    _, h, c, _, _, bias = specs
    return [h, c, Spec((h.shape[0], bias.shape[0]), h.dtype)]


def _cell_vjp(op, specs, attributes):
    _, _, x, h, c, kernel, recurrent, _, _ = specs
    return [x, h, c, kernel, recurrent, Spec(kernel.shape[1:], kernel.dtype)]


# -- how wrong they may be ---------------------------------------------------------------------------


def _polar_terms(gr, gphi, x, y):
    r = np.hypot(x, y)
    a, b = np.abs(gr / r), np.abs(gphi / (r * r))
    return a * np.abs(x) + b * np.abs(y), a * np.abs(y) + b * np.abs(x)


def _products_terms(gp, gq, gs, a, b, wrt=()):
    gp, gq, gs, a, b = map(np.abs, (gp, gq, gs, a, b))
    return gp * b + 2 * gq * a, gp * a + gs


def _cell_terms(x, h, c, kernel, recurrent, bias):
    """Of the arguments of σ and tanh, whose slopes are at most 1, and of c."""
    x, h, c, kernel, recurrent, bias = map(np.abs, (x, h, c, kernel, recurrent, bias))
    return np.max(x @ kernel + h @ recurrent + bias) + np.max(c) + 1


def _cell_vjp_terms(gh, gc, *saved, wrt=()):
    """Of sums over the batch or the units, of a gradient of z times an input or a weight."""
    largest = [1.0, *(np.max(np.abs(x)) for x in saved)]
    return np.sum(np.abs(gh) + np.abs(gc)) * max(largest) ** 2 * 4


def _growth_terms(gy, gz, gw, y, w, x):
    return np.abs(gy * y) + 2 * np.abs(gz) + np.abs(gw)


def _sums_terms(gtotal, gsquares, *xs):
    return tuple([np.abs(gtotal) + 2 * np.abs(gsquares * x) for x in xs])


CELL = (3, 4), (3, 2), (3, 2), (4, 8), (2, 8), (8,)
PROOFS = {
    "polar": ([(5, 7), (5, 7)], ulp(4), ulp(8, of=_polar_terms)),
    "products": ([(5, 7), (5, 7)], ulp(4), ulp(8, of=_products_terms)),
    "growth": ([(5, 7)], ulp(4), ulp(8, of=_growth_terms)),
    "powers": ([(5, 7)], ulp(2), ulp(8, of=lambda g, h, x: 2 * abs(g * x) + 3 * abs(h) * x * x)),
    "sums": (
        [(5, 7)] * 3,
        ulp(4, of=lambda *xs: sum(map(abs, xs)) + sum(x * x for x in xs)),
        ulp(4, of=_sums_terms),
    ),
    "lstm_cell": (CELL, ulp(8, of=_cell_terms), ulp(8, of=_cell_vjp_terms)),
}

FORMULAS = {
    "polar": (polar_of, {"saves": "x y", "outputs": "r phi", "differentiable": "r phi"}),
    "products": (products_of, {"saves": "a b", "outputs": "p q s", "differentiable": "p q s"}),
    "growth": (growth_of, {"saves": "y w x", "outputs": "y z w", "differentiable": "y z w"}),
    "powers": (
        powers_of,
        {"saves": "x", "outputs": "square whole cube", "differentiable": "square cube"},
    ),
    "sums": (
        sums_of,
        {"saves": "xs", "outputs": "total squares", "differentiable": "total squares"},
    ),
    "lstm_cell": (
        lstm_cell_of,
        {
            "saves": "x h c kernel recurrent c1 gates",
            "outputs": "h1 c1 gates",
            "differentiable": "h1 c1",
            "shape": _cell,
        },
    ),
}
GRADIENTS = {
    "growth": {"shape_of": "x"},
    "lstm_cell": {"shape": _cell_vjp},
    "sums": {"shape": _sums_vjp},
}


def _twins():
    """A module of torch functions, such as the files of refnet_triton/ops are."""
    import torch

    module = ModuleType(f"refnet_triton.ops.{FILE}")
    for made, _ in FORMULAS.values():
        for function in made(torch):
            setattr(module, function.__name__, function)
    return module


@contextlib.contextmanager
def planted():
    """The ops, by name, within the block."""
    ops = {}
    for name, (formulas, row) in FORMULAS.items():
        function, gradient = formulas(np)
        function.__module__ = gradient.__module__ = f"refnet.ops.{FILE}"
        ops[name] = TABLE[name] = Op(function, **row)
        ops[name].vjp(**GRADIENTS.get(name, {}))(gradient)
    twins = f"refnet_triton.ops.{FILE}"
    if importlib.util.find_spec("torch"):
        sys.modules[twins] = _twins()
    for name, (shapes, error, vjp) in PROOFS.items():
        tests = (Case("normal", normal(*shapes), smooth=True),)
        ops[name].proof(Cases(tests, lambda n: ()), error, vjp=vjp)
    try:
        yield SimpleNamespace(**ops)
    finally:
        for op in ops.values():
            del TABLE[op.name], TABLE[op.gradient.name]
        sys.modules.pop(twins, None)
