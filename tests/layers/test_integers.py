"""Integers and truth values stay what they are on their way into a layer; floats become floatx."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet import Model, Sequential
from refnet.config import DTYPES
from refnet.layers import Activation, Dense, Dropout, Flatten, Input, Layer, PReLU, Reshape

RNG = np.random.default_rng(0)
WHOLE = [name for name in DTYPES if not name.startswith(("float", "bfloat"))]
FLOATS = ["float16", "float32", "float64"]
NUMBERS = RNG.integers(0, 2, (12, 3))
Y = RNG.normal(0, 1, (12, 2)).astype("float32")


class Table(Layer):
    """A row of a table for each number: it needs integers. The same shape, and 4 more."""

    def make_weights(self, input_shape):
        self.rows = self.add_weight((10, 4), "random_normal", name="rows")

    def call(self, x):
        self.seen = x.dtype
        return self.rows[x]

    def compute_output_shape(self, input_shape):
        return (*input_shape, 4)


class Tabled(Model):
    def __init__(self):
        super().__init__()
        self.table, self.flat, self.out = Table(), Flatten(), Dense(2)

    def call(self, x):
        return self.out(self.flat(self.table(x)))


MODELS = {
    "in a row": lambda: Sequential([Table(), Flatten(), Dense(2)]),
    "with an input": lambda: Sequential([Input((3,)), Table(), Flatten(), Dense(2)]),
    "behind what rearranges": lambda: Sequential(
        [Reshape((3, 1)), Flatten(), Dropout(0.0), Table(), Flatten(), Dense(2)]
    ),
    "of one's own": Tabled,
    "within a model": lambda: Sequential([Tabled(), Dense(2)]),
    "within two": lambda: Sequential([Input((3,)), Sequential([Tabled()]), Dense(2)]),
}
models = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
backends = pytest.mark.parametrize("backend", ["numpy", "loopback"])


@models
@backends
@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_a_model_that_needs_integers_learns(make, backend, run_eagerly, dtype):
    model = make()
    model.compile("sgd", "mean_squared_error", run_eagerly=run_eagerly)
    model.to(backend)
    x = NUMBERS.astype(dtype)
    model.fit(x, Y, batch_size=5, epochs=2, verbose=0)
    (table,) = (layer for layer in model.flattened() if isinstance(layer, Table))
    assert table.seen == dtype
    rows, before = table.rows.numpy().copy(), model.evaluate(x, Y, verbose=0)
    assert np.isfinite(before)
    model.fit(x, Y, batch_size=5, epochs=9, verbose=0)
    assert model.evaluate(x, Y, verbose=0) < before
    moved = (table.rows.numpy() != rows).any(axis=1)
    assert moved.tolist() == [True, True, *[False] * 8]  # those that were looked up
    assert model.predict(x).shape == (12, 2)
    assert model.train_on_batch(x, Y) > 0
    assert np.array_equal(model(x).numpy(), model(x.tolist()).numpy())


class Seeing(Layer):
    def call(self, x):
        self.seen = x.dtype
        return x


@pytest.mark.parametrize("dtype", [*WHOLE, *FLOATS])
def test_what_a_layer_gets(dtype):
    """Alone, in a model, in a batch of `fit`: integers as they are, floats as floatx."""
    expected = "float32" if dtype in FLOATS else dtype
    x = NUMBERS.astype(dtype)
    layer = Seeing()
    layer(x)
    assert layer.seen == expected
    model = Sequential([layer, Dense(2)])
    for use in (lambda: model(x), lambda: model.predict(x)):
        layer.seen = None
        use()
        assert layer.seen == expected
    model.compile("sgd", "mean_squared_error")
    layer.seen = None
    model.fit(x, Y, verbose=0)
    assert layer.seen == expected


@pytest.mark.parametrize("values", [[[1, 0, 1]], [[True, False, True]], [[1.0, 0.0, 1.0]]])
def test_lists_are_what_python_says(values):
    layer = Seeing()
    layer(values)
    assert layer.seen == {bool: "bool", int: "int64", float: "float32"}[type(values[0][0])]


@pytest.mark.parametrize("dtype", WHOLE)
@pytest.mark.parametrize(
    "layers",
    [
        lambda: [Dense(2)],
        lambda: [Dense(2, use_bias=False)],
        lambda: [Dense(2, "relu", use_bias=False)],
        lambda: [Flatten(), Dense(2)],
        lambda: [Activation("tanh"), Dense(2)],
        lambda: [Activation("relu"), Dense(2)],
        lambda: [Dropout(0.5), Dense(2)],
        lambda: [PReLU(), Dense(2)],
    ],
)
def test_neurons_take_integers_as_the_floats_they_are(dtype, layers):
    """Bit by bit what floats of the same values give, and of the same type."""
    trained = []
    for x in (NUMBERS.astype(dtype), NUMBERS.astype(dtype).astype("float32")):
        refnet.utils.set_random_seed(1)
        model = Sequential(layers())
        model.compile("adam", "mean_squared_error")
        model.fit(x, Y, batch_size=5, epochs=2, verbose=0)
        trained.append([*model.get_weights(), model.predict(x), model(x).numpy()])
    for a, b in zip(*trained, strict=True):
        assert a.dtype == b.dtype == "float32"
        assert np.array_equal(a, b)
