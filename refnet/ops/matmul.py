r"""Products of matrices: where a network spends its time.

(m, k) @ (k, n) = (m, n). Leading dimensions are batches and broadcast, as in `numpy.matmul`; so does a
vector (k,), which is a row on the left and a column on the right: (k,) @ (k, n) = (n,).
"""

from __future__ import annotations

import math

import numpy as np

from refnet.op import TABLE, op
from refnet.op.shapes import neurons, neurons_vjp, product, require_axes
from refnet.ops import activations as activations  # fills TABLE
from refnet.ops.reductions import added, sum_to


@op(shape=product, saves="a b")
def matmul(a, b):
    r"""Y = A B,  y_ij = Σ_k a_ik b_kj"""
    require_axes(np.shape(a), np.shape(b), "matmul ")
    return a @ b


@matmul.vjp
def matmul_vjp(g, a, b, wrt=("a", "b")):
    r"""∂L/∂A = G Bᵀ,  ∂L/∂B = Aᵀ G. `wrt` names the gradients that are wanted; others are None."""
    g, (p, q) = as_matrix(g, a, b), as_matrices(a, b)
    da = db = None
    if "a" in wrt:
        da = np.reshape(sum_to(g @ transpose_last(q), np.shape(p)), np.shape(a))
    if "b" in wrt:
        db = np.reshape(sum_to(transpose_last(p) @ g, np.shape(q)), np.shape(b))
    return da, db


def transpose_last(x):
    """x with its last two axes exchanged: each matrix of a batch transposed."""
    return np.swapaxes(x, -1, -2)


def as_matrices(a, b):
    """a and b with the axis of length 1 that a vector lacks: a row on the left, a column on the right."""
    return (a[None, :] if np.ndim(a) == 1 else a), (b[:, None] if np.ndim(b) == 1 else b)


def as_matrix(y, a, b):
    """y = a @ b with the axes that vectors among a and b left out of it."""
    if np.ndim(b) == 1:
        y = y[..., None]
    return y[..., None, :] if np.ndim(a) == 1 else y


def as_rows(x):
    """x (..., k) as one matrix (rows, k)."""
    return x if np.ndim(x) == 2 else np.reshape(x, (math.prod(np.shape(x)[:-1]), np.shape(x)[-1]))


def activation_vjp(g, saved, activation):
    """∂L/∂z through the activation named `activation`, from what `linear` saved of it."""
    f = TABLE[activation]
    return f.gradient.function(g, saved) if f.saves else f.gradient.function(g)


@op(shape=neurons, saves="x kernel saved", outputs="y saved", floats=True)
def linear(x, kernel, bias, activation="identity"):
    r"""y = f(x W + b): a layer of neurons, each a weighted sum, a bias and an activation f.

    Shapes: x (..., k), kernel W (k, n), bias b (n,), y (..., n). `activation` names any elementwise
    activation. The second result is what the gradient of f is written in: y itself where that is
    enough (sigmoid, tanh, relu ...), else z = x W + b (swish, gelu ...).
    """
    z = x @ kernel + bias
    f = TABLE[activation]
    y = f.function(z)
    return y, (z if "x" in f.saves else y)


@linear.vjp(shape=neurons_vjp)
def linear_vjp(g, x, kernel, saved, activation="identity", wrt=("x", "kernel", "bias")):
    r"""∂L/∂z = g · f'(z);  ∂L/∂x = ∂L/∂z Wᵀ,  ∂L/∂W = xᵀ ∂L/∂z,  ∂L/∂b = Σ_rows ∂L/∂z"""
    dz = activation_vjp(g, saved, activation)
    dx = dz @ kernel.T if "x" in wrt else None
    dkernel = as_rows(x).T @ as_rows(dz) if "kernel" in wrt else None
    dbias = added(as_rows(dz), 0) if "bias" in wrt else None
    return dx, dkernel, dbias


# == Proof: what it is tried on, and how wrong it may be ===========================================

from refnet.base.dtypes import arithmetic
from refnet.op.columns import Bound, Case, Cases
from refnet.proof.bounds import rounded_sum, ulp
from refnet.proof.cases import ROWS, constant, large, normal, with_nonfinite

SUM_OF_PRODUCTS = {"limits": "∞ · 0 among the terms of a sum is NaN, however large the others"}


def _products():
    shapes = [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4, 5)),
        ((4,), (4,)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 5)),
    ]
    tests = [Case(f"{a} @ {b}", normal(a, b), smooth=True) for a, b in shapes]
    tests += [
        Case("one element", normal((1, 1), (1, 1))),
        Case("row by column", normal((1, 37), (37, 1))),
        Case("column by row", normal((37, 1), (1, 29))),
        Case("no rows", normal((0, 4), (4, 5))),
        Case("nothing to sum", normal((3, 0), (0, 5))),
        Case("block edge 31", normal((31, 33), (33, 31))),
        Case("block edge 65", normal((65, 64), (64, 65))),
        Case("primes", normal((67, 101), (101, 71))),
        Case("long sums", normal((5, 2053), (2053, 3))),
        Case("long vectors", normal((2053,), (2053,))),
        Case("no vector", normal((0,), (0, 3))),
        Case(
            "NaN and infinity", constant([[1.0, np.nan], [np.inf, 1.0]], [[1.0, 2.0], [3.0, 4.0]])
        ),
        *(Case(name, constant(x, np.eye(3))) for name, x in ROWS.items()),
        Case("transposed", normal((33, 17), (17, 35)), layout="transposed"),
        Case("strided", normal((9, 17), (17, 7)), layout="strided"),
        Case("strided vector", normal((9, 17), (17,)), layout="strided"),
    ]

    def bench(elements):
        side = max(16, int(elements**0.5) // 16 * 16)
        sides = sorted({min(s, side) for s in (512, 1024, 2048, 4096, 8192)})
        cubes = [Case(f"{s} cubed", normal((s, s), (s, s))) for s in sides]
        n, k = sides[-1] // 2, sides[-1] // 16  # short sums: 4096 x 512 x 4096 as a rule
        return *cubes, Case(f"{n} x {k} x {n}", normal((n, k), (k, n)))

    many = (1 << 16) + 1, 1 << 15
    beyond = large(many, (many[1], 16)), large((16, many[0]), many)
    return Cases(tuple(tests), bench, beyond, SUM_OF_PRODUCTS)


def _product_terms(a, b):
    """(k, |A||B|): the terms of every sum, for the bound c · u · √k · (|A||B|)."""
    return np.shape(a)[-1], np.abs(a) @ np.abs(b)


def _matmul_vjp_terms(g, a, b, wrt=("a", "b")):
    g, (p, q) = np.abs(as_matrix(g, a, b)), map(np.abs, as_matrices(a, b))
    da, db = g @ transpose_last(q), transpose_last(p) @ g
    batches = [da.size / max(1, np.size(a)), db.size / max(1, np.size(b))]
    return [
        (np.shape(g)[-1] * batches[0], np.reshape(sum_to(da, np.shape(p)), np.shape(a))),
        (np.shape(g)[-2] * batches[1], np.reshape(sum_to(db, np.shape(q)), np.shape(b))),
    ]


def _flops(a, b):
    """A multiplication and an addition for each term; each number of a stands in n terms."""
    a, b = as_matrices(a, b)
    return 2 * np.shape(a)[-1] * np.shape(b)[-1] * (np.size(a) // np.shape(a)[-1])


matmul.proof(
    _products,
    rounded_sum(4, _product_terms),
    vjp=rounded_sum(4, _matmul_vjp_terms),
    flops=_flops,
    vjp_flops=lambda g, a, b: 4 * np.size(g) * np.shape(a)[-1],
)


def _layers():
    shapes = (4, 3), (3, 5), (5,)
    sizes = (17, 64), (64, 33), (33,)
    # all but the step: where z is nearly 0, a rounding error may turn 0 into 1
    names = [name for name, row in TABLE.items() if row.activation and name != "binary_step"]
    tests = [Case(f"{n}", normal(*shapes), {"activation": n}, smooth=True) for n in names]
    tests += [
        Case("blocks", normal(*sizes), {"activation": "relu"}),
        Case("one element", normal((1, 1), (1, 1), (1,))),
        Case("no rows", normal((0, 3), (3, 5), (5,)), {"activation": "tanh"}),
        Case("sequence", normal((2, 7, 3), (3, 5), (5,)), {"activation": "tanh"}, smooth=True),
        Case("block edge", normal((65, 31), (31, 129), (129,)), {"activation": "gelu"}),
        Case("transposed", normal((33, 17), (17, 35), (35,)), layout="transposed"),
        Case("strided", normal((9, 17), (17, 7), (7,)), layout="strided"),
        Case("NaN and infinities", with_nonfinite(normal(*shapes))),
        *(Case(name, constant(x, np.eye(3), np.zeros(3))) for name, x in ROWS.items()),
    ]

    def bench(elements):
        side = max(16, int(elements**0.5) // 16 * 16)
        sides = sorted({min(s, side) for s in (1024, 4096)})
        return tuple(
            Case(f"{s} cubed, {name}", normal((s, s), (s, s), (s,)), {"activation": name})
            for s in sides
            for name in ("identity", "relu", "gelu")
        )

    many = (1 << 16) + 1, 1 << 15
    beyond = large(many, (many[1], 16), (16,), activation="gelu")
    without = {"broadcast": "input, kernel and bias have the shapes of a layer"} | SUM_OF_PRODUCTS
    return Cases(tuple(tests), bench, (beyond,), without)


def _steepness(f, z):
    """The largest |f'| near z: there and a thousandth to the left and right, beyond a kink perhaps."""

    def slope(z):
        saved = {"x": z, "y": f.function(z)}
        return np.abs(f.gradient.function(np.ones_like(z), *[saved[name] for name in f.saves]))

    near = 1e-3 * (1 + np.abs(z))
    return np.maximum(slope(z), np.maximum(slope(z - near), slope(z + near)))


def _neuron_terms(x, kernel, bias):
    """(n, Σ|terms|) of z = x W + b."""
    return np.shape(x)[-1], np.abs(x) @ np.abs(kernel) + np.abs(bias)


def _neuron_error(dtype, inputs, attributes, outputs):
    """Of y = f(z): the error of z, times the slope of f, and what f rounds itself. Of z: that of z."""
    x, kernel, bias = inputs
    z, f = x @ kernel + bias, TABLE[attributes.get("activation", "identity")]
    y, wide = f.function(z), arithmetic(dtype)
    product = rounded_sum(4, lambda *_: _neuron_terms(x, kernel, bias))
    (of_z,), (own,) = (
        product.tolerance(wide, inputs, {}, (z,)),
        f.error.tolerance(wide, (z,), {}, (y,)),
    )
    (stored,) = ulp(0).tolerance(dtype, inputs, {}, (y,))  # half types: the rounding at the end
    of_y = _steepness(f, z) * of_z + own + stored
    return [of_y, of_y if "y" in f.saves else product.tolerance(dtype, inputs, {}, (z,))[0]]


def _linear_vjp_terms(g, x, kernel, saved, activation="identity", wrt=()):
    dz = np.abs(activation_vjp(g, saved, activation)) + np.abs(g)
    rows = math.prod(np.shape(g)[:-1])
    return [
        (np.shape(g)[-1], dz @ np.abs(kernel).T),
        (rows, as_rows(np.abs(x)).T @ as_rows(dz)),
        (rows, np.sum(as_rows(dz), axis=0)),
    ]


linear.proof(
    _layers,
    Bound("4·u·√n·Σ|terms| · |f'| + that of f", _neuron_error),
    vjp=rounded_sum(4, _linear_vjp_terms, stored=True),
    flops=lambda x, kernel, bias, activation="": 2 * np.size(x) * np.shape(kernel)[-1],
    vjp_flops=lambda g, x, kernel, saved, activation="": 4 * np.size(g) * np.shape(kernel)[0],
)
