"""Elementwise functions at the largest and smallest numbers: the value of the limit, and no NaN.

What is expected comes from the same formula in a type of far larger range, where nothing overflows on
the way: float64 for float32 and float16, and the processor's longer type for float64. There a number
of 10³⁰⁰ or more stands for ∞, so that a limit is a value.
"""

import numpy as np
import pytest

from refnet import backend as backends
from refnet.op import TABLE

FORWARD = [op for op in TABLE.values() if op.primal is None]
OPS = [op for op in FORWARD if op.cases.family == "unary" and "dtype" not in op.attributes]
#: the largest numbers, ±10²⁰, and the smallest ones of each type
LARGE = {
    "float16": [6e4, 65504.0],
    "float32": [1e4, 1e20, 3e38],
    "float64": [1e4, 1e20, 3e38, 1e155, 1e308],
}
SMALL = {"float16": [6e-8, 1e-5], "float32": [1e-45, 1e-40], "float64": [5e-324, 1e-310]}
BEYOND = {"float16": 1e300, "float32": 1e300, "float64": np.longdouble("1e2400")}
WIDE = {"float16": np.float64, "float32": np.float64, "float64": np.longdouble}
KINDS = [
    *(("numpy", dtype) for dtype in LARGE),
    *(pytest.param("triton", dtype, marks=pytest.mark.triton) for dtype in LARGE),
]


def variants(op):
    """The settings of the attributes that the op's cases try."""
    return [{}, *{str(c.attributes): c.attributes for c in op.cases if c.attributes}.values()]


def points(dtype, op=None):
    """(x, the same in a wide type, where a number beyond all others stands for ∞)

    The logarithm of any number is small: it is given ∞ itself.
    """
    sizes = [0.0, *SMALL[dtype], *LARGE[dtype], np.inf]
    x = np.array([sign * size for size in sizes for sign in (1.0, -1.0)], dtype)
    wide = x.astype(WIDE[dtype])
    if op is not TABLE["log"]:
        wide[np.isinf(wide)] = np.copysign(BEYOND[dtype], wide[np.isinf(wide)])
    return x, wide


def rounded(y, dtype):
    with np.errstate(all="ignore"):
        return np.asarray(y).astype(dtype)


def hold(found, expected, dtype, where, digits=0.0):
    """Equal to within rounding, infinite where the limit is, and NaN only where the wide one is."""
    expected = rounded(expected, dtype).astype("float64")
    info = np.finfo(dtype)
    absolute = max(float(info.tiny), digits * float(info.eps))
    with np.errstate(all="ignore"):
        close = np.isclose(found.astype("float64"), expected, 32 * float(info.eps), absolute)
    close |= np.isnan(found) & np.isnan(expected)
    assert close.all(), [
        f"{where} at {x}: {a}, not {b}"
        for x, a, b, c in zip(points(dtype)[0], found, expected, close, strict=True)
        if not c
    ]


@pytest.mark.parametrize(("name", "dtype"), KINDS)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_functions_and_gradients_have_the_value_of_the_limit(op, name, dtype):
    if np.finfo(WIDE[dtype]).maxexp <= 1024 and dtype == "float64":
        pytest.skip("this machine has no type of a larger range than float64")
    backend, (x, wide) = backends.get(name), points(dtype, op)
    for given in variants(op):
        with np.errstate(all="ignore"):
            y = backend.function(op)(backend.array(x), **given)
            exact = op.function(wide, **given)
            hold(backend.numpy(y), exact, dtype, f"{op.name} {given}")
            if not op.gradient:
                continue
            for size in (1.0, 0.25):
                g = np.full(x.shape, size, dtype)
                kept = rounded(exact, dtype)
                saved = {"x": backend.array(x), "y": backend.array(kept)}
                saved_wide = {"x": wide, "y": np.where(np.isinf(kept), exact, kept)}
                dx = backend.function(op.gradient)(
                    backend.array(g), *(saved[n] for n in op.saves), **given
                )
                slope = op.gradient.function(
                    g.astype(WIDE[dtype]), *(saved_wide[n] for n in op.saves), **given
                )
                where = f"{op.gradient.name} {given} of {size}"
                hold(backend.numpy(dx), slope, dtype, where, digits=2)  # y + α: α is rounded


PAIRS = [op for op in FORWARD if op.cases.family == "binary" and op.gradient]
PAIRS += [TABLE["power"], TABLE["prelu"]]


@pytest.mark.parametrize(("name", "dtype"), KINDS)
@pytest.mark.parametrize("op", PAIRS, ids=lambda op: op.name)
def test_what_two_large_numbers_give_is_finite_where_it_can_be(op, name, dtype):
    """Every pair of large, ordinary and no numbers: as in a type in which nothing overflows."""
    if np.finfo(WIDE[dtype]).maxexp <= 1024 and dtype == "float64":
        pytest.skip("this machine has no type of a larger range than float64")
    backend, wide = backends.get(name), WIDE[dtype]
    sizes = [s * x for x in (0.0, 0.5, 1.0, 3.0, *LARGE[dtype]) for s in (1, -1)]
    pair = [x.ravel() for x in np.meshgrid(np.array(sizes, dtype), np.array(sizes, dtype))]
    if op.name == "sigmoid_cross_entropy":
        pair = [
            np.array(sizes, dtype),
            np.resize(np.array([1.0, 0.0, 0.0, 1.0], dtype), len(sizes)),
        ]
    g = np.ones(pair[0].shape, dtype)
    calls = [(op, pair), (op.gradient, [g, *pair])]
    with np.errstate(all="ignore"):
        for function, inputs in calls:
            found = backend.function(function)(*map(backend.array, inputs))
            exact = function.function(*(x.astype(wide) for x in inputs))
            found, exact = (y if isinstance(y, tuple) else (y,) for y in (found, exact))
            for y, limit in zip(found, exact, strict=True):
                limit = rounded(limit, dtype)
                y, finite = backend.numpy(y), np.isfinite(limit)
                wrong = finite & ~np.isfinite(y)
                assert not wrong.any(), f"{function.name} of {[x[wrong] for x in pair]}"
                assert not np.isnan(y[np.isinf(limit)]).any(), function.name


def test_every_activation_is_tried():
    assert {op.name for op in TABLE.values() if op.activation} <= {op.name for op in OPS}
    assert {"exp", "log", "square", "sqrt", "abs", "clip"} <= {op.name for op in OPS}


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_known_without_a_formula(sign, backend):
    """The limits at ±10²⁰ and ±∞ in numbers of their own."""
    x = backend.array(sign * np.array([1e20, 3e38, np.inf], "float32"))
    one = backend.array(np.ones(3, "float32"))
    for name, given in (("gelu", {"approximate": True}), ("gelu", {}), ("swish", {}), ("mish", {})):
        with np.errstate(all="ignore"):
            y = backend.numpy(backend.function(TABLE[name])(x, **given))
            dx = backend.numpy(backend.function(TABLE[f"{name}_vjp"])(one, x, **given))
        assert y.tolist() == (backend.numpy(x).tolist() if sign > 0 else [0.0] * 3), name
        assert dx.tolist() == [float(sign > 0)] * 3, name
    with np.errstate(all="ignore"):
        y = backend.numpy(backend.function(TABLE["softsign"])(x))
    assert y.tolist() == [float(sign)] * 3
