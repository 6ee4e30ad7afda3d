"""Models of one's own: a subclass of `Model` says in `call` how its layers are put together."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import refnet
from refnet import Model, Sequential
from refnet.errors import ArgumentError, DataError, NotReadyError, RefnetError, ShapeError
from refnet.layers import Dense, Dropout, Flatten, Input, Layer
from refnet.ops import TABLE

RNG = np.random.default_rng(0)
X = RNG.normal(0, 1, (20, 3)).astype("float32")
Y = RNG.normal(0, 1, (20, 2)).astype("float32")


class Own(Model):
    """The layers of `in_a_row`, as attributes."""

    def __init__(self, units=5, **common):
        super().__init__(**common)
        self.units = units
        self.hidden = Dense(units, "tanh", kernel_regularizer="l2")
        self.drop = Dropout(0.3)
        self.out = Dense(2)

    def call(self, x):
        return self.out(self.drop(self.hidden(x)))


class Passing(Own):
    """Says itself whether its layers train."""

    def call(self, x, training=False):
        return self.out(self.drop(self.hidden(x), training=training))


class ByBuild(Own):
    """Builds its layers in `build`, as in Keras."""

    def build(self, input_shape):
        for layer, inputs in ((self.hidden, 3), (self.drop, self.units), (self.out, self.units)):
            layer.build((*input_shape[:-1], inputs))


class BySuperBuild(Own):
    def build(self, input_shape):
        self.hidden.build(input_shape)
        super().build(input_shape)


class ByLength(Own):
    """Its `call` needs to know how many examples there are."""

    def call(self, x):
        h = self.drop(self.hidden(x))
        return self.out(h.reshape(h.shape[0], -1) + refnet.zeros((h.shape[0], self.units)))


def in_a_row():
    return Sequential([Dense(5, "tanh", kernel_regularizer="l2"), Dropout(0.3), Dense(2)])


KINDS = [Own, Passing, ByBuild, BySuperBuild, ByLength]
kinds = pytest.mark.parametrize("kind", KINDS)
eager = pytest.mark.parametrize("run_eagerly", [False, True])
backends = pytest.mark.parametrize(
    "backend", ["numpy", "loopback", pytest.param("triton", marks=pytest.mark.triton)]
)


COMBINATIONS = [
    pytest.param(
        *(kind, run_eagerly, backend),
        marks=[pytest.mark.triton] * (backend == "triton")
        + [pytest.mark.proof] * (backend != "numpy" and kind is not Own),
    )
    for kind in KINDS
    for run_eagerly in (False, True)
    for backend in ("numpy", "loopback", "triton")
]


def made(make, **compiled):
    refnet.utils.set_random_seed(3)
    model = make()
    model.compile("adam", "mean_squared_error", metrics=["mae"], **compiled)
    return model


def same(a, b):
    assert len(a) == len(b) > 0
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("kind", "run_eagerly", "backend"), COMBINATIONS)
def test_it_learns_as_the_same_layers_in_a_row(kind, run_eagerly, backend):
    own, row = made(kind, run_eagerly=run_eagerly), made(in_a_row, run_eagerly=run_eagerly)
    given = {"batch_size": 8, "epochs": 2, "verbose": 0, "validation_split": 0.2}
    for model in (own, row):
        refnet.utils.set_random_seed(3)
        model.to(backend)
        model.log = model.fit(X, Y, **given).history
    same(own.get_weights(), row.get_weights())
    assert own.log == row.log
    assert own.evaluate(X, Y, verbose=0) == row.evaluate(X, Y, verbose=0)
    assert np.array_equal(own.predict(X), row.predict(X))
    assert own.output_shape == row.output_shape == (None, 2)
    assert own.optimizer.iterations == row.optimizer.iterations == 4


@kinds
def test_within_a_model_it_is_a_layer(kind):
    inner = made(lambda: Sequential([Input((3,)), kind(), Dense(2)]))
    flat = made(lambda: Sequential([Input((3,)), *in_a_row().layers, Dense(2)]))
    assert inner.output_shape == (None, 2)
    assert inner.count_params() == flat.count_params()
    for model in (inner, flat):
        refnet.utils.set_random_seed(3)
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    assert [w.shape for w in inner.weights] == [w.shape for w in flat.weights]
    same(inner.get_weights(), flat.get_weights())


class Layered(Model):
    """Models within models, beside a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.again = Own(units=4), Dense(2)
        self.rest = {"last": [Sequential([Dense(3, "relu"), Dense(2)])]}

    def call(self, x):
        y = self.again(self.again(self.first(x)))
        return y + self.rest["last"][0](y)


def test_a_model_knows_all_that_its_models_hold():
    model = made(Layered)
    model.fit(X, Y, verbose=0)
    assert [type(layer).__name__ for layer in model.layers] == ["Own", "Dense", "Sequential"]
    assert len(model.weights) == len(model.trainable_weights) == 4 + 2 + 4
    assert len(model.state) == 1
    assert len(model.losses) == 1
    before = model.get_weights()
    model.first.trainable = False
    model.fit(X, Y, verbose=0)
    same(model.get_weights()[:4], before[:4])
    assert not any(
        np.array_equal(a, b) for a, b in zip(model.get_weights()[4:], before[4:], strict=True)
    )


def test_gradients_of_a_call_of_ones_own():
    """Against differences of the loss, with a layer that is used twice and a sum of two ways."""
    refnet.config.set_floatx("float64")
    try:
        model = made(Layered)
        x = X.astype("float64")
        loss = TABLE["sum"](model(x) * model(x))
        for w, g in zip(model.weights, refnet.gradients(loss, model.weights), strict=True):
            value, step = w.numpy().copy(), 1e-6
            at = tuple(0 for _ in w.shape)
            moved = []
            for change in (step, -step):
                other = value.copy()
                other[at] += change
                w.assign(other)
                moved.append(float(TABLE["sum"](model(x) * model(x))))
            w.assign(value)
            assert g.numpy()[at] == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-6)
    finally:
        refnet.config.set_floatx("float32")


class Asking(Own):
    """Its `call` decides by the values of the batch."""

    def call(self, x):
        h = self.hidden(x)
        return self.out(h * 2 if float(h.sum()) > 0 else h)


@pytest.mark.parametrize(
    "make", [Asking, lambda: Sequential([Asking()]), lambda: Sequential([Input((3,)), Asking()])]
)
def test_a_call_that_asks_for_values_is_built_by_the_first_batch(make):
    model = made(make, run_eagerly=True)
    assert not model.weights
    model.fit(X, Y, epochs=2, verbose=0)
    assert model.output_shape == (None, 2)
    assert model.predict(X).shape == (20, 2)
    assert len(model.weights) == 4
    with pytest.raises(NotReadyError):
        made(Asking).build((None, 3))


# -- what does not fit -----------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize(
    ("x", "y", "error"),
    [
        (X, Y[:, :1][:, :0], RefnetError),
        (X, np.ones((20, 7)), ShapeError),
        (X, Y[:5], DataError),
        (X[0], Y[0], RefnetError),
        (np.full((20, 3), np.nan), Y, DataError),
        (X, None, DataError),
    ],
)
def test_what_does_not_fit_builds_nothing(kind, x, y, error):
    model = made(kind)
    with pytest.raises(error):
        model.fit(x, y, verbose=0)
    assert not model.built
    assert not model.weights
    assert not any(layer.built for layer in model.layers)
    model.fit(X, Y, verbose=0)
    assert model.built


class Wrong(Model):
    """Its second layer does not fit behind its first."""

    def __init__(self):
        super().__init__()
        self.first, self.flat, self.last = Dense(4), Flatten(), Dense(2)
        self.last.build((None, 7))

    def call(self, x):
        return self.last(self.flat(self.first(x)))


def test_a_layer_that_fails_leaves_the_others_unbuilt():
    model = made(Wrong)
    there = model.last.get_weights()
    for use in (lambda: model(X), lambda: model.fit(X, Y, verbose=0), lambda: model.predict(X)):
        with pytest.raises(ShapeError, match=r"Dense .* expects inputs of shape \(batch, 7\)"):
            use()
        assert not model.first.built
        assert not model.first.weights
        assert not model.built
        same(model.last.get_weights(), there)


def test_what_a_call_returns_is_a_tensor_with_a_row_for_each_example():
    for result in (lambda x: (x, x), TABLE["sum"], lambda x: None, lambda x: [x]):
        kind = type("Kind", (Model,), {"call": lambda self, x, result=result: result(x)})
        with pytest.raises(ArgumentError, match=r"Kind 'kind.*': call returns a tensor"):
            kind()(X)


def test_a_model_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match=r"a subclass says in call\(self, x\)"):
        Model()(X)


@pytest.mark.parametrize("base", [Model, Layer])
def test_a_forgotten_super_is_named(base):
    class Forgotten(base):
        def __init__(self):
            self.inner = Dense(2)

    with pytest.raises(ArgumentError, match=r"Forgotten: call super\(\).__init__\(\) before"):
        Forgotten()


# -- and is a model like any other -----------------------------------------------------------------


@kinds
def test_a_copy_is_a_model_of_its_own(kind):
    model = made(kind)
    model.fit(X, Y, verbose=0)
    twin = copy.deepcopy(model)
    same(twin.get_weights(), model.get_weights())
    before = model.get_weights()
    twin.fit(X, Y, verbose=0)
    same(model.get_weights(), before)
    model.fit(X, Y, verbose=0)
    assert twin.optimizer.iterations == model.optimizer.iterations == 2


@kinds
def test_it_is_written_down_by_its_arguments(kind):
    model = kind(7, name="own")
    config = model.get_config()
    assert config["units"] == 7
    assert kind.from_config(config).get_config() == config
    around = Sequential([model])
    with pytest.raises(RefnetError, match=kind.__name__):
        Sequential.from_config(around.get_config())
    twin = Sequential.from_config(around.get_config(), custom_objects={kind.__name__: kind})
    assert twin.layers[0].units == 7


def test_settings_of_its_layers_are_noticed_and_its_history_is_not():
    model = made(Own)
    model.fit(X, Y, batch_size=10, epochs=1, verbose=0)
    steps = len(next(iter(model._steps.values()))._plans)
    model.fit(X, Y, batch_size=10, epochs=3, verbose=0)
    assert len(next(iter(model._steps.values()))._plans) == steps
    model.drop.rate = 0.0
    losses = [model.train_on_batch(X, np.zeros_like(Y)) for _ in range(2)]
    assert losses[0] != losses[1]
    assert len(next(iter(model._steps.values()))._plans) > steps


def test_the_summary_shows_its_layers(capsys):
    model = made(Own)
    model.summary()
    assert "?" in capsys.readouterr().out
    model.build((None, 3))
    model.summary()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-3:] for line in lines if "(None, 5)" in line or "(None, 2)" in line] == [
        ["(None,", "5)", "20"],
        ["(None,", "5)", "0"],
        ["(None,", "2)", "12"],
    ]
    assert lines[-1] == "32 parameters, 32 of them trainable"


def test_the_shape_of_the_output_builds_nothing_and_draws_nothing():
    model = made(Own)
    state = refnet.random.get_state()
    assert model.compute_output_shape((None, 3)) == (None, 2)
    assert model.compute_output_shape((6, 9, 3)) == (6, 9, 2)
    assert not model.built
    assert not model.hidden.built
    assert refnet.random.get_state() == state


def test_models_that_share_a_layer():
    """Each trains the shared layer as if it were alone with it."""
    first, second = made(Own), made(Own)
    second.hidden = first.hidden
    for model in (first, second, first):
        before = model.hidden.kernel.numpy().copy() if model.hidden.built else None
        model.fit(X, Y, verbose=0)
        assert before is None or not np.array_equal(before, model.hidden.kernel.numpy())
    assert first.hidden.kernel is second.hidden.kernel


def test_inner_layers_train_unless_told_otherwise():
    class Told(Own):
        def call(self, x):
            return self.drop(self.hidden(x), training=False)

    own, told = made(Own), made(Told)
    assert not np.array_equal(own(X, training=True).numpy(), own(X, training=True).numpy())
    assert np.array_equal(told(X, training=True).numpy(), told(X).numpy())
    assert np.array_equal(own(X).numpy(), own(X, training=False).numpy())


def test_in_a_graph_it_has_its_weights_at_once():
    model = made(Own)
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 3))
        y = model(x)
    assert np.array_equal(refnet.Session(graph).run(y, {x: X}), model.predict(X))
