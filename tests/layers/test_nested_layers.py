"""Layers within layers: what a layer holds is its own, however deep it lies and however it is held."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet.layers import Dense, Dropout, Input, Layer, PReLU
from refnet.ops import TABLE
from refnet.optimizers import SGD, Adam

RNG = np.random.default_rng(0)
X = RNG.normal(0, 1, (12, 4)).astype("float32")
Y = RNG.normal(0, 1, (12, 4)).astype("float32")


class Holder(Layer):
    """Applies what it holds, one after the other; a subclass says in what it holds it."""

    def __init__(self, *layers, **common):
        super().__init__(**common)
        self.hold(*layers)

    def hold(self, *layers):
        self.blocks = list(layers)

    def inner(self):
        return self.blocks

    def call(self, x, training=False):
        for layer in self.inner():
            x = layer(x, training=training)
        return x


class ByAttributes(Holder):
    def hold(self, *layers):
        for i, layer in enumerate(layers):
            setattr(self, f"part_{i}", layer)
        self.count = len(layers)

    def inner(self):
        return [getattr(self, f"part_{i}") for i in range(self.count)]


class ByTuple(Holder):
    def hold(self, *layers):
        self.blocks = tuple(layers)


class ByDict(Holder):
    def hold(self, *layers):
        self.blocks = {f"{i}": layer for i, layer in enumerate(layers)}

    def inner(self):
        return self.blocks.values()


class ByAll(Holder):
    """In dicts of lists of tuples."""

    def hold(self, *layers):
        self.blocks = {"all": [tuple(layers[:1]), {"rest": list(layers[1:])}]}

    def inner(self):
        first, rest = self.blocks["all"]
        return [*first, *rest["rest"]]


class BuiltByHand(Holder):
    """Builds the layers it holds in its own `build`, as a Keras layer may."""

    def build(self, input_shape):
        for layer in self.blocks:
            layer.build(input_shape)


class BySequential(Holder):
    def hold(self, *layers):
        self.blocks = [refnet.Sequential(layers)]


class OwnModel(refnet.Model):
    """A model of one's own, which does not pass on whether it trains."""

    def __init__(self, *layers, **common):
        super().__init__(**common)
        self.blocks = list(layers)

    def call(self, x):
        for layer in self.blocks:
            x = layer(x)
        return x


class Silent(Holder):
    """Does not pass on whether it trains."""

    def call(self, x):
        for layer in self.blocks:
            x = layer(x)
        return x


HOLDERS = {
    "list": Holder,
    "attributes": ByAttributes,
    "tuple": ByTuple,
    "dict": ByDict,
    "all of them": ByAll,
    "within a layer within a layer": lambda *layers: Holder(ByDict(Holder(*layers))),
    "built by hand": BuiltByHand,
    "a model within a layer": BySequential,
    "a model within a model": lambda *layers: refnet.Sequential(layers),
    "models within models": lambda *layers: refnet.Sequential([refnet.Sequential(layers)]),
    "training is passed on": Silent,
    "a model of one's own": OwnModel,
    "three models deep": lambda *layers: OwnModel(refnet.Sequential([Silent(OwnModel(*layers))])),
}
holders = pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
backends = pytest.mark.parametrize("backend", ["numpy", "loopback"])


def parts():
    """Layers with everything a layer may have: weights, penalties, keys, a frozen one."""
    return (
        Dense(4, "tanh", kernel_regularizer="l2", bias_initializer="random_normal"),
        Dropout(0.4),
        PReLU("random_normal"),
        Dense(4, trainable=False),
    )


def twins(hold, optimizer=lambda: SGD(0.1, 0.9), loss="mean_squared_error"):
    """Two models that compute the same: layers in a row, and the same ones held by something."""
    models = []
    for together in (lambda *layers: layers, lambda *layers: [hold(*layers)]):
        refnet.utils.set_random_seed(5)
        model = refnet.Sequential([Input((4,)), *together(*parts())])
        model.compile(optimizer(), loss)
        models.append(model)
    return models


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def values(tensors):
    return [t.numpy() for t in tensors]


@holders
def test_what_inner_layers_have_is_the_layers_own(hold):
    flat, held = twins(hold)
    outer = held.layers[1]
    for owner in (held, outer):
        for what in ("weights", "trainable_weights", "non_trainable_weights", "state", "losses"):
            found = values(getattr(owner, what))
            assert found, what
            same(found, values(getattr(flat, what)))
        assert owner.count_params() == flat.count_params() == 20 + 4 + 20
        same(owner.get_weights(), flat.get_weights())
    assert held.summary.__self__ is held
    lines = []
    held.summary(lines.append)
    assert lines[-1] == "44 parameters, 24 of them trainable"
    assert any(outer.name in line and line.endswith(" 44") for line in lines)


@backends
@holders
def test_training_is_that_of_the_same_layers_in_a_row(hold, backend):
    """Bit for bit: masks, penalties, updates, a short last batch, predictions on the way."""
    flat, held = (model.to(backend) for model in twins(hold))
    for _ in range(3):
        for rows in (slice(0, 5), slice(5, 10), slice(10, 12)):
            found = held.train_on_batch(X[rows], Y[rows])
            assert found == flat.train_on_batch(X[rows], Y[rows])
        same(held.get_weights(), flat.get_weights())
        same([held.predict(X)], [flat.predict(X)])
        assert held.evaluate(X, Y) == flat.evaluate(X, Y)
    same(values(held.state), values(flat.state))
    assert held.state[0].numpy()[1] == 9  # one mask for each of nine steps


@holders
def test_every_step_draws_another_mask(hold):
    model = refnet.Sequential([Input((50,)), hold(Dropout(0.5))])
    model.compile(SGD(0.0), "mean_squared_error")
    x, y = np.ones((1, 50), "float32"), np.zeros((1, 50), "float32")
    (key,), keys = model.state, []
    for _ in range(8):
        model.train_on_batch(x, y)
        keys.append(tuple(key.numpy().tolist()))
    assert len(set(keys)) == 8


@holders
def test_freezing_and_thawing_the_outer_layer(hold):
    _, model = twins(hold)
    outer, before = model.layers[1], model.get_weights()
    outer.trainable = False
    assert model.trainable_weights == outer.trainable_weights == []
    model.fit(X, Y, verbose=0)
    same(model.get_weights(), before)
    outer.trainable = True
    assert len(model.trainable_weights) == len(model.weights) == 5
    model.fit(X, Y, verbose=0)
    assert all((a != b).any() for a, b in zip(model.get_weights(), before, strict=True))


@holders
def test_weights_are_set_and_moved_all_together(hold):
    flat, held = twins(hold, Adam)
    for model in (flat, held):
        model.train_on_batch(X, Y)
        model.set_weights([np.full(w.shape, 0.1 * i) for i, w in enumerate(model.get_weights())])
        model.layers[1].set_weights(model.layers[1].get_weights())
        for there in ("loopback", "numpy"):
            assert {v.backend.name for v in model.to(there).variables} == {there}
            model.train_on_batch(X, Y)
    same(held.get_weights(), flat.get_weights())
    with pytest.raises(refnet.errors.ShapeError, match="5 weights, got 1"):
        held.layers[1].set_weights([np.ones(4)])


class Twice(Layer):
    """The same layer two times in one pass."""

    def __init__(self, layer):
        super().__init__()
        self.layer = self.again = layer

    def call(self, x, training=False):
        return self.again(self.layer(x, training=training), training=training)


@backends
def test_a_layer_that_is_called_twice_keeps_both_updates(backend):
    model = refnet.Sequential([Input((4,)), Twice(Dropout(0.5))])
    model.compile(SGD(0.1), "mean_squared_error")
    model.to(backend)
    for step in range(1, 5):
        model.train_on_batch(X, Y)
        assert model.state[0].numpy()[1] == 2 * step


def test_a_layer_held_twice_counts_once():
    model = refnet.Sequential([Input((4,)), Twice(Dense(4, kernel_regularizer="l2"))])
    model.compile(SGD(0.1), "mean_squared_error")
    assert len(model.weights) == 2
    assert model.count_params() == 20
    assert len(model.losses) == 1
    kernel, bias = model.get_weights()
    model.train_on_batch(X, Y)

    def loss(k, b):
        return np.mean(((X @ k + b) @ k + b - Y) ** 2) + 0.01 * np.sum(k**2)

    g = np.array([[(loss(kernel + h, bias) - loss(kernel - h, bias)) / 2e-2 for h in row]
                  for row in 1e-2 * np.eye(16).reshape(4, 4, 4, 4)])  # fmt: skip
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.1 * g, atol=2e-3)


class Counting(Layer):
    """Keeps a running mean of what it saw, by `assign`, and counts its calls."""

    def make_weights(self, input_shape):
        self.mean = self.add_weight((input_shape[-1],), "zeros", trainable=False, name="mean")
        self.calls = self.add_state(0.0, "calls")

    def call(self, x, training=False):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * TABLE["mean"](x, axis=0))
            self.calls.assign_add(1.0)
        return x - self.mean


@backends
@holders
def test_what_a_layer_assigns_is_assigned_at_every_step(hold, backend):
    """By `assign` or by an op, in a layer or a layer within: what writes is run again."""
    model = refnet.Sequential([Input((4,)), Dense(4), hold(Counting())])
    model.compile(SGD(0.1), "mean_squared_error")
    model.to(backend)
    expected = np.zeros(4)
    for step in range(1, 5):
        kernel, bias, _ = model.get_weights()
        expected = 0.9 * expected + 0.1 * (X @ kernel + bias).mean(0)
        model.train_on_batch(X, Y)
        np.testing.assert_allclose(model.get_weights()[2], expected, rtol=1e-5)
        assert model.state[0].numpy() == step
        model.predict(X)


class Lazy(Layer):
    """Makes its layer only when it is called."""

    def call(self, x, training=False):
        if not hasattr(self, "dense"):
            self.dense = Dense(x.shape[-1])
        return self.dense(x)


class LooksAtValues(Lazy):
    """Cannot be called with a placeholder."""

    def call(self, x, training=False):
        return super().call(x) if float(x.max()) > -1e9 else x


class OnlyWhileTraining(Holder):
    """Uses its layers in training alone."""

    def call(self, x, training=False):
        return super().call(x) if training else x


@pytest.mark.filterwarnings("ignore:a step that is recorded")
@pytest.mark.parametrize(
    "make",
    [Lazy, LooksAtValues, lambda: OnlyWhileTraining(Dense(4))],
    ids=["lazy", "values", "train"],
)
def test_layers_that_are_made_late_learn_from_the_first_step_on(make):
    model = refnet.Sequential([Input((4,)), make()])
    model.compile(SGD(0.1), "mean_squared_error")
    model.evaluate(X, Y)
    before = model.get_weights()
    assert len(before) == 2
    model.train_on_batch(X, Y)
    assert all((a != b).any() for a, b in zip(model.get_weights(), before, strict=True))


def test_a_variable_among_the_attributes_is_a_weight():
    class Scale(Layer):
        def make_weights(self, input_shape):
            self.scale = refnet.Variable(np.ones(input_shape[-1], "float32"), name="scale")

        def call(self, x):
            return x * self.scale

    model = refnet.Sequential([Input((4,)), Scale()])
    model.compile(SGD(0.1), "mean_squared_error")
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] != 1).all()


def test_weights_are_in_the_order_in_which_attributes_were_set():
    class Block(Layer):
        def __init__(self):
            super().__init__()
            self.last, self.first = Dense(1, name="last"), Dense(4, name="first")
            self.both = [self.first, self.last]

        def make_weights(self, input_shape):
            self.add_weight((4,), name="own")

        def call(self, x):
            return self.last(self.first(x))

        def compute_output_shape(self, input_shape):
            return (input_shape[0], 1)

    model = refnet.Sequential([Input((4,)), Block()])
    names = [w.name.rpartition("/")[2] for w in model.weights]
    shapes = [w.shape for w in model.weights]
    assert names == ["own", "kernel", "bias", "kernel", "bias"]
    assert shapes == [(4,), (4, 1), (1,), (4, 4), (4,)]


def test_a_model_in_a_model_goes_on_by_itself():
    """What the outer model learned, the inner one predicts; each may be trained and moved."""
    inner = refnet.Sequential([Input((4,)), Dense(3, "tanh")])
    outer = refnet.Sequential([inner, Dense(4)])
    assert outer.built
    inner.compile(Adam(), "mean_squared_error")
    outer.compile(Adam(), "mean_squared_error")
    for there in ("numpy", "loopback"):
        outer.to(there)
        outer.fit(X, Y, verbose=0)
        kernel, bias = inner.get_weights()
        np.testing.assert_allclose(inner.predict(X), np.tanh(X @ kernel + bias), rtol=1e-5)
        inner.fit(X, Y[:, :3], verbose=0)
        assert (inner.get_weights()[0] != kernel).any()
        kernel, bias, *last = outer.get_weights()
        expected = np.tanh(X @ kernel + bias) @ last[0] + last[1]
        np.testing.assert_allclose(outer.predict(X), expected, rtol=1e-4, atol=1e-6)


def test_no_model_holds_itself():
    model = refnet.Sequential([Dense(2)])
    with pytest.raises(refnet.errors.ArgumentError, match="is or holds this very model"):
        model.add(refnet.Sequential([model]))
    with pytest.raises(refnet.errors.ArgumentError, match="is or holds this very model"):
        model.add(model)
