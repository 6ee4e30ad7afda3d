"""What Python holds, and a step that was recorded: attributes that are replaced are noticed."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet.errors import (
    ArgumentError,
)
from refnet.layers import Dense, Input, Layer
from tests.small import X, Y, compiled


class Scaled(Layer):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


class Weighed:
    """A loss, or a metric, that holds a number."""

    factor = 1.0

    def __init__(self):
        self.factor = 1.0

    def __call__(self, y, p):
        return ((y - p) ** 2).mean(axis=-1) * self.factor


@pytest.mark.parametrize("way", ["leaf", "computed", "computed twice"])
def test_a_tensor_among_the_attributes_may_be_replaced(way, backend):
    """However it came about: what counts is whether it was there when the step was recorded."""
    times = ["leaf", "computed", "computed twice"].index(way)

    def made(k):
        found = refnet.tensor(k)
        for _ in range(times):
            found = found * 1.0
        return found

    with refnet.use_backend(backend):
        layer = Scaled(made(1.0))
        model = compiled(Input((1,)), layer, Dense(1, kernel_initializer="ones"))
        for k in (1.0, 2.0, 3.0):
            layer.factor = made(k)
            assert model.predict([[1.0]]) == k == model([[1.0]]).numpy()
            assert model.evaluate([[1.0]], [[0.0]], verbose=0) == k * k
        assert model.train_on_batch([[1.0]], [[0.0]]) == 9


def test_what_a_layer_keeps_of_its_last_call_is_no_setting():
    class Keeping(Layer):
        calls = 0

        def call(self, x):
            Keeping.calls += 1
            self.last = x * 2.0
            return self.last

    model = compiled(Input((3,)), Keeping(), Dense(1))
    model.predict(X)
    model.predict(X)  # since the first call the layer has one attribute more
    before = Keeping.calls
    for _ in range(3):
        model.predict(X)
    assert Keeping.calls == before


def test_attributes_of_a_loss_or_a_metric_that_is_called():
    loss, metric = Weighed(), Weighed()
    model = compiled(Input((3,)), Dense(1), loss=loss, found=[metric])
    first = model.evaluate(X, Y, verbose=0)
    loss.factor, metric.factor = 2.0, 4.0
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), [2 * first[0], 4 * first[1]])


@pytest.mark.parametrize("wrong", [3.0, np.float32(2), None, [1.0, 2.0], (), "no", np.ones(6)])
@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("of", ["loss", "metric"])
def test_what_is_no_tensor_is_no_loss_and_no_metric(of, eagerly, wrong):
    model = refnet.Sequential([Input((3,)), Dense(1)])
    loss, found = ("mse", [lambda y, p: wrong]) if of == "metric" else (lambda y, p: wrong, None)
    model.compile("adam", loss, found, run_eagerly=eagerly)
    before = model.get_weights()
    for method in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ArgumentError, match="returns a tensor"):
            method(X, Y)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
