"""The device functions of `refnet_triton.language.mathematics`, interpreted, in units in the last place
(ULP).

float32 is judged against NumPy in float64, float64 against mpmath in 100 bits. On a GPU the same
tests judge the compiled functions.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip(
    "refnet_triton.runtime.device"
)  # before triton, which it tells whether to interpret

from refnet_triton.language import mathematics as tm  # noqa: E402
from refnet_triton.language.pointwise import pointwise  # noqa: E402
from refnet_triton.runtime.device import DEVICE  # noqa: E402

pytestmark = pytest.mark.triton

_exp, _expm1, _log, _log1p, _tanh = tm.exp, tm.expm1, tm.log, tm.log1p, tm.tanh
_sigmoid, _softplus, _erf, _sqrt, _divide = tm.sigmoid, tm.softplus, tm.erf, tm.sqrt, tm.divide
_sin, _cos, _power, _maximum, _minimum = tm.sin, tm.cos, tm.power, tm.maximum, tm.minimum
_copysign = tm.copysign


@pointwise
def exp(x):
    return _exp(x)


@pointwise
def expm1(x):
    return _expm1(x)


@pointwise
def log(x):
    return _log(x)


@pointwise
def log1p(x):
    return _log1p(x)


@pointwise
def tanh(x):
    return _tanh(x)


@pointwise
def sigmoid(x):
    return _sigmoid(x)


@pointwise
def softplus(x):
    return _softplus(x)


@pointwise
def erf(x):
    return _erf(x)


@pointwise
def sqrt(x):
    return _sqrt(x)


@pointwise
def sin(x):
    return _sin(x)


@pointwise
def cos(x):
    return _cos(x)


@pointwise
def divide(x, y):
    return _divide(x, y)


@pointwise
def power(x, y):
    return _power(x, y)


@pointwise
def maximum(x, y):
    return _maximum(x, y)


@pointwise
def minimum(x, y):
    return _minimum(x, y)


@pointwise
def copysign(x, y):
    return _copysign(x, y)


def np_sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


def np_softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def mp_sigmoid(mp, x):
    return mp.exp(x) / (1 + mp.exp(x)) if x < 0 else 1 / (1 + mp.exp(-x))


def mp_softplus(mp, x):
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


# operation, NumPy's, mpmath's, the finite arguments it takes, bound in float32, in float64
ONE_ARGUMENT = [
    (exp, np.exp, lambda mp, x: mp.exp(x), (-np.inf, np.inf), 2.5, 1.0),
    (expm1, np.expm1, lambda mp, x: mp.expm1(x), (-np.inf, np.inf), 1.5, 2.0),
    (log, np.log, lambda mp, x: mp.log(x), (0, np.inf), 1.5, 1.0),
    (log1p, np.log1p, lambda mp, x: mp.log1p(x), (-1, np.inf), 2.0, 2.0),
    (tanh, np.tanh, lambda mp, x: mp.tanh(x), (-np.inf, np.inf), 2.5, 2.5),
    (sigmoid, np_sigmoid, mp_sigmoid, (-np.inf, np.inf), 3.0, 2.0),
    (softplus, np_softplus, mp_softplus, (-np.inf, np.inf), 2.5, 2.0),
    (sqrt, np.sqrt, lambda mp, x: mp.sqrt(x), (0, np.inf), 0.5, 0.5),
]
IDS = [row[0].__name__ for row in ONE_ARGUMENT]

KINKS = np.array(
    [0.0, 2 / 3, 0.9, 1.0, 4 / 3, 20.0, 40.0, 88.72, 88.73, 87.33, 103.9, 104.0, 709.78, 745.1]
)


def arguments(dtype, low, high, count):
    """Numbers of every size between low and high: random bits, dense ones around 0 and 1, kinks and
    extremes.
    """
    generator = np.random.default_rng(0)
    info = np.finfo(dtype)
    bits = generator.integers(0, 1 << info.bits, count, dtype=f"uint{info.bits}").view(dtype)
    bits = bits[np.isfinite(bits)]
    x = np.concatenate([
        bits, generator.normal(0, 1, count), generator.normal(0, 40, count),
        1 + generator.normal(0, 0.01, count), KINKS,
        np.nextafter(KINKS, 0), np.nextafter(KINKS, 1e3),
        [info.smallest_subnormal, info.smallest_normal, info.eps, info.max],
    ]).astype(dtype)  # fmt: skip
    x = np.concatenate([x, -x])
    return x[np.isfinite(x) & (x >= low) & (x <= high)]


def ulps(y, exact, dtype):
    """|y - exact| in units of the last place that exact has in this type; 0 where both are the same
    ∞ or NaN.
    """
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype)
        spacing = np.spacing(np.abs(rounded)).astype(np.float64)
        error = np.abs(y.astype(np.float64) - exact.astype(np.float64)) / spacing
    same = (y == rounded) & ~np.isfinite(rounded) | np.isnan(y) & np.isnan(rounded)
    return np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))


def run(operation, *arrays):
    tensors = [torch.from_numpy(np.ascontiguousarray(a)).to(DEVICE) for a in arrays]
    return operation(*tensors).cpu().numpy()


@pytest.mark.parametrize(
    ("operation", "numpy", "_mp", "domain", "bound", "_bound"), ONE_ARGUMENT, ids=IDS
)
def test_float32_within_its_bound(operation, numpy, _mp, domain, bound, _bound):
    x = arguments(np.float32, *domain, 20_000)
    with np.errstate(all="ignore"):
        exact = numpy(x.astype(np.float64))
    error = ulps(run(operation, x), exact, np.float32)
    worst = error.argmax()
    print(f"{operation.__name__} float32: {error[worst]:.2f} ULP at {x[worst]!r}")
    assert error[worst] <= bound, f"{error[worst]} ULP at {x[worst]!r}"


@pytest.mark.parametrize(
    ("operation", "_np", "exact", "domain", "_bound", "bound"), ONE_ARGUMENT, ids=IDS
)
def test_float64_within_its_bound(operation, _np, exact, domain, _bound, bound, mpmath):
    x = arguments(np.float64, *domain, 300)
    x = x[np.abs(x) < 1e5] if operation not in (sqrt, log, log1p) else x
    y = run(operation, x)
    worst, where = 0.0, None
    with mpmath.workprec(100):
        for xi, yi in zip(x.tolist(), y.tolist(), strict=True):
            true = mpmath.mpf(exact(mpmath, mpmath.mpf(xi))) if xi != domain[0] else None
            if true is None or abs(true) > 1.79e308:
                continue
            spacing = np.spacing(abs(float(true)))
            error = float(abs(mpmath.mpf(yi) - true) / mpmath.mpf(float(spacing)))
            if not error <= worst:
                worst, where = error, xi
    print(f"{operation.__name__} float64: {worst:.2f} ULP at {where!r}")
    assert worst <= bound, f"{worst} ULP at {where!r}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", ONE_ARGUMENT, ids=IDS)
def test_special_values(row, dtype):
    """±0 keep their sign; ±∞, NaN and arguments outside the domain give what NumPy gives."""
    operation, numpy = row[:2]
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 1.0, -1.5, 1e4, -1e4], dtype)
    with np.errstate(all="ignore"):
        exact = numpy(x.astype(np.float64)).astype(dtype)
    y = run(operation, x)
    odd_one = np.isfinite(exact) & (exact != 0)
    np.testing.assert_array_equal(y[~odd_one], exact[~odd_one])
    np.testing.assert_allclose(y[odd_one], exact[odd_one], rtol=5 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(np.signbit(y[:2]), np.signbit(exact[:2]))


@pytest.mark.parametrize(("operation", "numpy"), [(sin, np.sin), (cos, np.cos)])
def test_sin_and_cos(operation, numpy):
    """An error in the last place of x itself cannot be told from one in the result, far from 0."""
    x = np.linspace(-1000, 1000, 30_001)
    x = np.concatenate([x, x / 150, np.arange(-8, 9) * np.pi / 4])
    narrow = x.astype(np.float32)
    error32 = np.abs(run(operation, narrow) - numpy(narrow.astype(np.float64)))
    error64 = np.abs(run(operation, x) - numpy(x))
    bound = np.maximum(np.abs(numpy(x)), 1e-3)
    print(
        f"{operation.__name__}: {(error32 / bound).max() * 2**23:.2f} ε in float32, "
        f"{(error64 / bound).max() * 2**52:.2f} ε in float64"
    )
    assert (error32 <= 2 * 2**-23 * bound).all()
    assert (error64 <= 2 * 2**-52 * bound).all()


def test_erf():
    x = np.concatenate([np.linspace(-6, 6, 500), [0.0, -0.0, np.inf, -np.inf, 1e-40]]).astype(
        np.float32
    )
    exact = np.array([math.erf(v) for v in x])
    assert ulps(run(erf, x), exact, np.float32).max() <= 2.0


def test_divide_is_correctly_rounded():
    generator = np.random.default_rng(1)
    x, y = (generator.normal(0, 1, 10_000).astype(np.float32) for _ in range(2))
    np.testing.assert_array_equal(run(divide, x, y), x / y)
    np.testing.assert_array_equal(
        run(divide, x.astype(float), y.astype(float)), x.astype(float) / y.astype(float)
    )


SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.0,
    -3.0,
    2.5,
    -2.5,
    1e30,
    -1e30,
    np.inf,
    -np.inf,
    np.nan,
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_power_special_values(dtype):
    x, y = (grid.ravel().astype(dtype) for grid in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        exact = np.power(x, y)
    result = run(power, x, y)
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(result[~finite], exact[~finite])
    np.testing.assert_allclose(result[finite], exact[finite], rtol=4 * np.finfo(dtype).eps)
    zero = exact == 0
    np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(exact[zero]))


def power_arguments(dtype, count):
    generator = np.random.default_rng(2)
    info = np.finfo(dtype)
    x = np.concatenate(
        [np.exp(generator.normal(0, 3, count)), 1 + generator.normal(0, 1e-3, count)]
    )
    # exponents that lead anywhere between the smallest and the largest number
    y = generator.uniform(np.log(info.smallest_normal), np.log(info.max), 2 * count) / np.log(x)
    return x.astype(dtype), y.astype(dtype)


def test_power_float32_within_its_bound():
    x, y = power_arguments(np.float32, 20_000)
    exact = np.power(x.astype(np.float64), y.astype(np.float64))
    error = ulps(run(power, x, y), exact, np.float32)
    assert error.max() <= 0.51


def test_power_float64_within_its_bound(mpmath):
    x, y = power_arguments(np.float64, 300)
    worst = 0.0
    with mpmath.workprec(120):
        for xi, yi, zi in zip(x.tolist(), y.tolist(), run(power, x, y).tolist(), strict=True):
            true = mpmath.mpf(xi) ** mpmath.mpf(yi)
            if true < 1.79e308:
                worst = max(
                    worst,
                    float(abs(mpmath.mpf(zi) - true) / mpmath.mpf(float(np.spacing(float(true))))),
                )
    print(f"power float64: {worst:.2f} ULP")
    assert worst <= 16.0


def test_maximum_and_minimum_propagate_nan():
    x, y = (
        grid.ravel() for grid in np.meshgrid([1.0, -1.0, np.nan, np.inf], [0.0, np.nan, -np.inf])
    )
    np.testing.assert_array_equal(run(maximum, x, y), np.maximum(x, y))
    np.testing.assert_array_equal(run(minimum, x, y), np.minimum(x, y))


def test_copysign():
    for dtype in (np.float32, np.float64):
        x, y = (
            grid.ravel().astype(dtype)
            for grid in np.meshgrid([1.5, -2.0, 0.0, -0.0], [3.0, -3.0, 0.0, -0.0])
        )
        result = run(copysign, x, y)
        np.testing.assert_array_equal(result, np.copysign(x, y))
        np.testing.assert_array_equal(np.signbit(result), np.signbit(y))


def test_integers_are_refused():
    with pytest.raises(Exception, match="expects float32 or float64"):
        exp(torch.arange(3, device=DEVICE))
