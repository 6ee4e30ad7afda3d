"""Recorded steps notice what changed: plain values that refnet owns, and what a user's Python reads."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet import layers, losses, optimizers, regularizers
from refnet.callbacks import LambdaCallback
from refnet.layers import Dense, Dropout, Input, Layer
from refnet.optimizers import SGD, Adam, RMSprop
from refnet.training.settings import KEPT, Settings

RNG = np.random.default_rng(1)
X = RNG.normal(0, 1, (12, 4)).astype("float32")
Y = RNG.integers(0, 2, (12, 3)).astype("float32")

backends = pytest.mark.parametrize("backend", ["numpy", "loopback"])


class Scaled(Layer):
    """A custom layer whose settings lie in a list, a dict and an object."""

    def __init__(self):
        super().__init__()
        self.factor, self.factors, self.named = 1.0, [1.0, (1.0, 1.0)], {"factor": 1.0}
        self.function = Times()
        self.constant = refnet.tensor(1.0)

    def call(self, x):
        return (
            x
            * self.factor
            * self.factors[0]
            * self.factors[1][0]
            * self.named["factor"]
            * self.function(1.0)
            * float(self.constant)
        )


class Times:
    by = 1.0

    def __init__(self):
        self.by = 1.0

    def __call__(self, x):
        return x * self.by


class Annealed(losses.Loss):
    """A loss with a factor that a callback may change."""

    function = staticmethod(losses.mean_squared_error)
    factor = 1.0

    def per_example(self, y_true, y_pred):
        return super().per_example(y_true, y_pred) * self.factor


class Price:
    """A regularizer of one's own."""

    def __init__(self, price):
        self.price = price

    def __call__(self, w):
        return self.price * (w * w).sum()


def network(optimizer=None, loss=None, kernel_regularizer=None, middle=()):
    refnet.utils.set_random_seed(2)
    dense = Dense(6, "tanh", kernel_regularizer=kernel_regularizer, bias_regularizer="l1_l2")
    model = refnet.Sequential([Input((4,)), dense, *middle, Dense(3, "sigmoid")])
    loss = loss or losses.BinaryCrossentropy()
    model.compile(optimizer or SGD(0.1), loss, ["binary_accuracy"])
    return model


def layer(model):
    return model.layers[2]


def dense(model):
    return model.layers[1]


def changed(thing, name, value):
    """A change of an attribute, on what `thing` finds in a model."""
    return lambda model: setattr(thing(model), name, value)


def inside(holder, key, value):
    """A change of an element of a list or a dict."""
    return lambda model: holder(model).__setitem__(key, value)


def with_middle(*make):
    return lambda: network(middle=[m() for m in make])


def kernel_regularizer(model):
    return dense(model)._penalties[0][0]


def bias_regularizer(model):
    return dense(model)._penalties[-1][0]


def optimizer_of(model):
    return model.optimizer


#: a setting -> (the model, its change)
SETTINGS = {
    "Dropout.rate": (with_middle(lambda: Dropout(0.2)), changed(layer, "rate", 0.7)),
    "Dropout.rate 0": (with_middle(lambda: Dropout(0.2)), changed(layer, "rate", 0)),
    "LeakyReLU.negative_slope": (
        with_middle(layers.LeakyReLU), changed(layer, "negative_slope", 0.7),
    ),
    "ELU.alpha": (with_middle(layers.ELU), changed(layer, "alpha", 0.2)),
    "Softmax.axis": (with_middle(layers.Softmax), changed(layer, "axis", 0)),
    "Activation.activation": (
        with_middle(lambda: layers.Activation("relu")),
        changed(layer, "activation", refnet.activations.get("gelu")),
    ),
    "Dense.activation": (network, changed(dense, "activation", refnet.activations.get("relu"))),
    "Dense.use_bias": (network, changed(dense, "use_bias", False)),
    "layer.trainable": (network, changed(dense, "trainable", False)),
    "model.trainable": (network, changed(lambda model: model, "trainable", False)),
    "weight.trainable": (network, changed(lambda model: dense(model).kernel, "trainable", False)),
    "L2.l2": (lambda: network(kernel_regularizer="l2"), changed(kernel_regularizer, "l2", 0.5)),
    "L2.l2 0": (lambda: network(kernel_regularizer="l2"), changed(kernel_regularizer, "l2", 0)),
    "L1L2.l1": (network, changed(bias_regularizer, "l1", 0.5)),
    "a regularizer of one's own": (
        lambda: network(kernel_regularizer=Price(0.1)), changed(kernel_regularizer, "price", 0.9),
    ),
    "learning_rate": (network, changed(optimizer_of, "learning_rate", 0.5)),
    "SGD.momentum": (lambda: network(SGD(0.1, 0.9)), changed(optimizer_of, "momentum", 0.2)),
    "RMSprop.rho": (lambda: network(RMSprop()), changed(optimizer_of, "rho", 0.2)),
    "RMSprop.epsilon": (lambda: network(RMSprop()), changed(optimizer_of, "epsilon", 0.2)),
    "Adam.beta_1": (lambda: network(Adam()), changed(optimizer_of, "beta_1", 0.2)),
    "Adam.beta_2": (lambda: network(Adam()), changed(optimizer_of, "beta_2", 0.2)),
    "Adam.epsilon": (lambda: network(Adam()), changed(optimizer_of, "epsilon", 0.2)),
    "attributes of an optimizer": (
        lambda: network(Adam()), inside(lambda model: model.optimizer.attributes, "beta_1", 0.3),
    ),
    "options of a loss": (
        network, changed(lambda model: model.loss, "label_smoothing", 0.3),
    ),
    "Loss.reduction": (network, changed(lambda model: model.loss, "reduction", "sum")),
    "a loss of one's own": (
        lambda: network(loss=Annealed()), changed(lambda model: model.loss, "factor", 0.3),
    ),
    "options of a metric": (
        network, changed(lambda model: model.metrics[0], "threshold", 0.1),
    ),
    "an attribute": (with_middle(Scaled), changed(layer, "factor", 0.3)),
    "a list": (with_middle(Scaled), inside(lambda model: layer(model).factors, 0, 0.3)),
    "a tuple in a list": (
        with_middle(Scaled), inside(lambda model: layer(model).factors, 1, (0.3, 1.0)),
    ),
    "a dict": (with_middle(Scaled), inside(lambda model: layer(model).named, "factor", 0.3)),
    "an object": (
        with_middle(Scaled), changed(lambda model: layer(model).function, "by", 0.3),
    ),
    "a constant tensor": (with_middle(Scaled), changed(layer, "constant", refnet.tensor(0.3))),
    "compile": (
        network, lambda model: model.compile(Adam(), "mean_squared_error", ["accuracy"]),
    ),
}  # fmt: skip
settings = pytest.mark.parametrize("setting", SETTINGS)


def twins(setting):
    """A model that records its steps, and one that does not."""
    make, change = SETTINGS[setting]
    models = make(), make()
    models[1].run_eagerly = True
    return *models, change


def assert_same_steps(recorded, eager, steps=2):
    for _ in range(steps):
        for rows in (slice(0, 7), slice(7, 12)):
            assert recorded.train_on_batch(X[rows], Y[rows]) == eager.train_on_batch(
                X[rows], Y[rows]
            )
        assert recorded.evaluate(X, Y) == eager.evaluate(X, Y)
        np.testing.assert_array_equal(recorded.predict(X), eager.predict(X))
        for a, b in zip(recorded.get_weights(), eager.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@backends
@settings
def test_a_change_has_the_effect_it_has_where_nothing_is_recorded(setting, backend):
    recorded, eager, change = twins(setting)
    if setting == "a constant tensor" and backend != "numpy":
        pytest.skip("the constant is on NumPy, and the layer on another backend")
    recorded.to(backend)
    assert_same_steps(recorded, eager)
    change(recorded)
    change(eager)
    assert_same_steps(recorded, eager)


@settings
def test_a_change_changes_something(setting):
    """That the test above can fail: without the change, training goes elsewhere."""
    make, change = SETTINGS[setting]
    with_it, without = make(), make()
    change(with_it)
    found = [
        [
            model.train_on_batch(X, Y),
            model.train_on_batch(-X, Y),
            model.evaluate(X, Y),
            *model.get_weights(),
        ]
        for model in (with_it, without)
    ]
    assert not all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


@settings
def test_a_callback_may_change_it(setting):
    recorded, eager, change = twins(setting)
    if setting == "compile":
        pytest.skip("a model is not compiled anew within fit")
    history = []
    for model in (recorded, eager):
        hook = LambdaCallback(on_epoch_end=lambda epoch, logs, m=model: epoch or change(m))
        options = {"epochs": 3, "batch_size": 5, "shuffle": False, "verbose": 0}
        history.append(model.fit(X, Y, callbacks=[hook], **options).history)
    assert history[0] == history[1]


def recordings(model, monkeypatch):
    """A list that grows by one entry for each plan that is made."""
    made, kind = [], type(model.backend)
    monkeypatch.setattr(kind, "capture", lambda self, run, arguments: made.append(run) or run)
    return made


def test_an_old_value_finds_its_plan_again(monkeypatch):
    model = with_middle(lambda: Dropout(0.2))()
    made = recordings(model, monkeypatch)
    for rate in (0.2, 0.5, 0.2, 0.5, 0.2):
        layer(model).rate = rate
        model.train_on_batch(X, Y)
    assert len(made) == 2


def test_the_number_of_plans_is_bounded(monkeypatch):
    model = with_middle(lambda: Dropout(0.2))()
    made = recordings(model, monkeypatch)
    for i in range(2 * KEPT):
        layer(model).rate = i / 100
        model.train_on_batch(X, Y)
    assert len(made) == 2 * KEPT
    (step,) = model._steps.values()
    assert len(step._plans) <= KEPT
    assert len(model.settings._numbers) <= KEPT


def test_what_stays_is_recorded_once(monkeypatch):
    """The learning rate is an input of the step; counts and memory are no settings."""
    model = network(Adam())
    made = recordings(model, monkeypatch)
    for i in range(10):
        model.optimizer.learning_rate = 0.1 / (i + 1)
        model.metrics[0].update_state(Y, Y)
        model.train_on_batch(X, Y)
    assert len(made) == 1


def test_inputs_of_another_type_are_recorded_anew(monkeypatch):
    model = network()
    made = recordings(model, monkeypatch)
    step = refnet.training.Step(model, lambda inputs: [inputs[0] + 1])
    for dtype in ("float32", "float64", "int64", "float32"):
        (found,) = step(np.ones((2, 3), dtype))
        assert found.dtype == dtype
    assert len(made) == 3


def every_settable():
    """(who, name, a value, another one) for every plain attribute of everything refnet offers."""
    things = [
        *(Dropout(0.1), layers.LeakyReLU(), layers.ELU(), layers.Softmax(), Dense(3)),
        *(layers.PReLU(), layers.Reshape((2, 2)), layers.Flatten(), layers.Activation("relu")),
        *(Dense(3, kernel_regularizer=kind()) for kind in regularizers.REGULARIZERS.values()),
    ]
    for thing in things:
        for name, value in vars(thing).items():
            if isinstance(value, (bool, int, float, str)):
                yield pytest.param(thing, thing, name, id=f"{type(thing).__name__}.{name}")
        for regularizer in [r for r in vars(thing).get("_kernel", {}).values() if r is not None]:
            for name in vars(regularizer):
                if isinstance(vars(regularizer)[name], float):
                    yield pytest.param(
                        thing, regularizer, name, id=f"{type(regularizer).__name__}.{name}"
                    )


@pytest.mark.parametrize(("root", "thing", "name"), list(every_settable()))
def test_every_plain_attribute_is_a_setting(root, thing, name):
    settings, before = Settings(root), vars(thing)[name]
    first = settings.number()
    other = (not before) if isinstance(before, bool) else before * 2 if before else 0.5
    vars(thing)[name] = other
    second = settings.number()
    vars(thing)[name] = before
    assert first != second
    assert settings.number() == first


# -- what a user's Python decides ------------------------------------------------------------------


class Reads(Layer):
    """A layer that reads a value in a way that is given."""

    def __init__(self, read):
        super().__init__()
        self.read = [read]

    def make_weights(self, input_shape):
        self.w = self.add_weight((), "ones")

    def call(self, x):
        self.read[0](x, self.w)
        return x * self.w


READINGS = {
    "float": lambda x, w: float(x.max()),
    "int": lambda x, w: int(x.max()),
    "bool": lambda x, w: bool(x.max() > 0),
    "if": lambda x, w: 1 if x.max() > 0 else 2,
    "numpy": lambda x, w: x.numpy(),
    "asarray": lambda x, w: np.asarray(x),
    "item": lambda x, w: x.max().item(),
    "tolist": lambda x, w: x.tolist(),
    "format": lambda x, w: f"{x.max():.2f}",
    "tensor": lambda x, w: refnet.tensor(x),
    "tensor of a weight": lambda x, w: refnet.tensor(w),
    "a weight": lambda x, w: float(w),
    "made of a weight": lambda x, w: float(w * 2.0),
}


@pytest.mark.parametrize("reading", READINGS)
def test_reading_a_value_warns(reading):
    def model():
        found = refnet.Sequential([Input((4,)), Reads(READINGS[reading])])
        found.compile(SGD(0.1), "mean_squared_error")
        return found

    with pytest.warns(UserWarning, match=r"test_settings.py:\d+.*run_eagerly=True") as warned:
        model().train_on_batch(X, X)
    assert len(warned) == 1
    eager = model()
    eager.run_eagerly = True
    eager.train_on_batch(X, X)  # warnings are errors here
    with pytest.warns(UserWarning, match="run_eagerly=True"):
        model().predict(X)


def test_what_no_step_can_change_is_read_in_peace():
    constant = refnet.tensor([1.0, 2.0])
    reading = Reads(lambda x, w: (float(constant.sum()), x.shape, len(x), x.ndim))
    model = refnet.Sequential([Input((4,)), reading, Dropout(0.5), Dense(4, "softmax")])
    model.compile(Adam(), "categorical_crossentropy", ["accuracy"])
    model.fit(X, np.eye(4)[[0, 1, 2] * 4], verbose=0)


class Clips(Layer):
    """Decides by the values of the batch."""

    def call(self, x):
        return x * 0.0 if float(x.max()) > 10 else x


def test_run_eagerly_decides_anew_at_every_step():
    model = refnet.Sequential([Input((4,)), Clips(), Dense(4)])
    model.compile(SGD(0.0), "mean_squared_error", run_eagerly=True)
    for x in (X, 100 * X, X):
        expected = model.layers[2](x if x.max() < 10 else 0 * x).numpy()
        np.testing.assert_array_equal(model.predict(x), expected)
        assert model.train_on_batch(x, x) == pytest.approx(np.mean((expected - x) ** 2), rel=1e-5)


class Noisy(Layer):
    """Draws in its `call`, as a user would."""

    def __init__(self, draw):
        super().__init__()
        self.draw = [draw]

    def call(self, x, training=False):
        return x + self.draw[0](x.shape) if training else x


@backends
@pytest.mark.parametrize("draw", [refnet.random.normal, refnet.random.uniform])
def test_what_a_layer_draws_is_drawn_anew_in_every_step(draw, backend):
    """With the moments it should have, and the same again after the same seed."""
    losses = []
    for _ in range(2):
        refnet.utils.set_random_seed(4)
        model = refnet.Sequential([Input((100,)), Noisy(draw)])
        model.compile(SGD(0.1), "mean_squared_error")
        model.to(backend)
        x = np.zeros((50, 100), "float32")
        losses.append([model.train_on_batch(x, x) for _ in range(20)])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 20
    square = 1.0 if draw is refnet.random.normal else 1 / 3
    assert np.mean(losses[0]) == pytest.approx(square, rel=0.02)


def test_a_seed_that_is_given_draws_the_same_in_every_step():
    model = refnet.Sequential(
        [Input((9,)), Noisy(lambda shape: refnet.random.normal(shape, seed=3))]
    )
    model.compile(SGD(0.1), "mean_squared_error")
    x = np.zeros((5, 9), "float32")
    assert len({model.train_on_batch(x, x) for _ in range(3)}) == 1


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_a_rule_without_momentum_takes_none_later(name):
    with pytest.raises(refnet.errors.ArgumentError, match="takes no momentum"):
        SGD(0.1).momentum = 0.9
    assert optimizers.SGD(0.1, 0.9, nesterov=name == "nesterov").momentum == 0.9
