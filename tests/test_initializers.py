"""Initializers: the spread that the fans ask for, and the same numbers for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

import refnet
from refnet import initializers, layers

SHAPE = FAN_IN, FAN_OUT = 300, 200

#: name -> the variance that its formula gives
VARIANCES = {
    "random_uniform": 0.1**2 / 12,
    "random_normal": 0.05**2,
    "truncated_normal": (0.05 * 0.87962566) ** 2,
    "glorot_uniform": 2 / (FAN_IN + FAN_OUT),
    "glorot_normal": 2 / (FAN_IN + FAN_OUT),
    "he_uniform": 2 / FAN_IN,
    "he_normal": 2 / FAN_IN,
    "lecun_uniform": 1 / FAN_IN,
    "lecun_normal": 1 / FAN_IN,
}
RANDOM = [*VARIANCES, "orthogonal"]


@pytest.mark.parametrize("name", VARIANCES)
def test_mean_and_variance(name):
    """60,000 numbers: the mean within 5 of its standard errors, the variance within 3 %."""
    w = initializers.INITIALIZERS[name](seed=0)(SHAPE)
    assert w.shape == SHAPE
    assert w.dtype == "float32"
    assert abs(w.mean()) < 5 * math.sqrt(VARIANCES[name] / w.size)
    assert w.var() == pytest.approx(VARIANCES[name], rel=0.03)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("random_uniform", 0.05),
        ("truncated_normal", 0.1),
        ("glorot_uniform", math.sqrt(6 / (FAN_IN + FAN_OUT))),
        ("glorot_normal", 2 * math.sqrt(2 / (FAN_IN + FAN_OUT)) / 0.87962566),
        ("he_uniform", math.sqrt(6 / FAN_IN)),
        ("lecun_uniform", math.sqrt(3 / FAN_IN)),
    ],
)
def test_limits_are_reached_and_not_passed(name, limit):
    w = initializers.INITIALIZERS[name](seed=0)(SHAPE)
    assert 0.99 * limit < np.abs(w).max() <= limit * (1 + 1e-6)


@pytest.mark.parametrize("name", RANDOM)
def test_seeds(name):
    make = initializers.INITIALIZERS[name]
    np.testing.assert_array_equal(make(seed=3)((7, 5)), make(seed=3)((7, 5)))
    assert (make(seed=3)((7, 5)) != make(seed=4)((7, 5))).any()
    refnet.utils.set_random_seed(5)
    first, second = make()((7, 5)), make()((7, 5))
    assert (first != second).any()
    refnet.utils.set_random_seed(5)
    np.testing.assert_array_equal(make()((7, 5)), first)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_dtype(name, dtype):
    assert initializers.get(name)((7, 5), dtype).dtype == dtype


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (3, 3, 4, 8)])
def test_orthogonal(shape):
    w = initializers.Orthogonal(gain=2.0, seed=0)(shape, "float64").reshape(-1, shape[-1])
    small = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_constants():
    assert (initializers.get("zeros")((2, 3)) == 0).all()
    assert (initializers.get("ones")((2, 3)) == 1).all()
    assert (initializers.Constant(7)((2, 3)) == 7).all()


def test_fans():
    assert initializers.fans((5,)) == (5, 5)
    assert initializers.fans((4, 3)) == (4, 3)
    assert initializers.fans((3, 3, 4, 8)) == (36, 72)  # a convolution's window counts


def test_signals_keep_their_size_through_ten_layers():
    """What the variances are for: He for relu; with half of it the signal would be 1/1024."""
    x = np.random.default_rng(0).normal(size=(200, 256)).astype("float32")
    y = refnet.tensor(x)
    for seed in range(10):
        y = layers.Dense(256, "relu", kernel_initializer=initializers.HeNormal(seed))(y)
    assert 0.5 < np.mean(y.numpy() ** 2) / np.mean(x**2) < 2


def test_a_layer_takes_names_objects_and_functions():
    for given in ("he_normal", "HeNormal", initializers.HeNormal, initializers.HeNormal(0)):
        layers.Dense(3, kernel_initializer=given).build((None, 4))
    own = layers.Dense(3, kernel_initializer=lambda shape, dtype: np.full(shape, 2, dtype))
    own.build((None, 4))
    assert (own.kernel.numpy() == 2).all()
