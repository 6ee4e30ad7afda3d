"""What a model is made of, when it is built, and what a copy of it holds."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import refnet
from refnet import ops
from refnet.errors import (
    ArgumentError,
    NotReadyError,
    ShapeError,
)
from refnet.layers import Dense, Dropout, Input, Layer, PReLU
from tests.small import X, Y, compiled


class Twice(Layer):
    """A layer that makes another one when it is first called."""

    def __init__(self):
        super().__init__()
        self.inner = Dense(2)

    def call(self, x):
        return self.inner(self.inner(x))


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch"])
def test_the_error_names_the_method_that_compile_comes_before(method):
    with pytest.raises(NotReadyError, match=rf"before {method}\(\)"):
        getattr(refnet.Sequential([Dense(1)]), method)(X, Y)


def test_a_new_model():
    model = refnet.Sequential([Dense(2)])
    assert model.stop_training is False
    assert not model.built
    model(X)
    assert model.built
    assert model.output_shape == (None, 2)


def test_layers_are_taken_off_to_the_last():
    model = refnet.Sequential([Input((3,)), Dense(2)])
    model.pop()
    assert model.output_shape == (None, 3)
    model.pop()
    assert model.layers == [] and not model.built
    model = refnet.Sequential([Dense(2), Dense(3)])
    model.pop()
    assert not model.built


def test_a_deep_copy_goes_on_where_the_model_was():
    def trained(steps):
        refnet.utils.set_random_seed(1)
        model = compiled(Input((3,)), Dense(4, "tanh"), Dense(1), optimizer="adam")
        for _ in range(steps):
            model.train_on_batch(X, Y)
        return model

    model, expected = trained(3), trained(5)
    other = copy.deepcopy(model)
    for going_on in (other, model):
        for _ in range(2):
            going_on.train_on_batch(X, Y)
        for w, right in zip(going_on.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(w, right)
    other.optimizer.beta_1 = 0.5  # noticed by the copy, and by the copy alone
    for going_on in (other, model, expected):
        going_on.train_on_batch(X, Y)
    for a, b, c in zip(*(m.get_weights() for m in (other, model, expected)), strict=True):
        np.testing.assert_array_equal(b, c)
        assert not np.array_equal(a, b)


def test_weights_start_at_multiples_of_16_numbers():
    """On a GPU, lines of 64 bytes."""
    model = refnet.Sequential([Input((3,)), Dense(5), Dense(1)])
    assert model.parameters.offsets == [0, 16, 32, 48]


def test_models_are_copied_and_not_pickled():
    with pytest.raises(ArgumentError, match="get_weights"):
        pickle.dumps(refnet.Sequential([Dense(1)]))


def test_a_new_model_does_not_stop():
    assert refnet.Sequential().stop_training is False


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: refnet.Sequential(Dense(1)), "layers is a list"),
        (lambda: refnet.Sequential([Dense]), r"add\(\) takes a layer"),
        (lambda: refnet.Sequential([len]), r"add\(\) takes a layer"),
        (lambda: refnet.Sequential([layer := Dense(1), layer]), "in the model already"),
        (lambda: compiled(Dense(1), loss=None), "needs a loss"),
        (lambda: compiled(Dense(1), found="mse"), "metrics is a list"),
        (lambda: compiled(Dense(1)).fit(X, Y, initial_epoch=-1), "initial_epoch"),
        (lambda: compiled(Dense(1)).fit(X, Y, initial_epoch="2"), "initial_epoch"),
        (lambda: compiled(Dense(1)).fit(X, Y, epochs=-1), "epochs"),
        (lambda: compiled(Dense(1)).predict(X, verbose="loud"), "verbose"),
    ],
)
def test_what_a_model_is_made_of(make, said):
    with pytest.raises(ArgumentError, match=said):
        make()


def test_what_cannot_be_built_is_said_when_it_is_built():
    with pytest.raises(ShapeError, match="known lengths"):
        refnet.Sequential([PReLU(input_shape=(None, 3))])


def test_a_model_within_a_model_computes_where_the_outer_one_does():
    inner = refnet.Sequential([Dense(2)])
    with refnet.use_backend("loopback"):
        outer = refnet.Sequential([Input(3), inner])
    assert inner.backend is outer.backend and inner.backend.name == "loopback"
    np.testing.assert_array_equal(inner.predict(X), outer.predict(X))


def test_to_build_is_to_build_all_that_is_within():
    model = refnet.Sequential([Twice()])
    model.build((None, 2))
    assert [w.shape for w in model.get_weights()] == [(2, 2), (2,)]
    assert model.all_built() and model.output_shape == (None, 2)


def test_in_a_graph_the_ops_know_the_shape():
    class Total(Layer):
        def call(self, x):
            return ops.sum(x, axis=-1, keepdims=True)

    with refnet.Graph():
        x = refnet.placeholder((None, 3))
        y = Total()(x)
    assert y.shape == (None, 1)
    with refnet.Session(y.graph) as session:
        np.testing.assert_allclose(session.run(y, {x: X}), X.sum(1, keepdims=True), rtol=1e-6)


def test_a_model_that_is_built_is_called_once():
    """By the first step, which is recorded; the others run what was recorded."""
    calls = []

    class Counted(Layer):
        def call(self, x):
            calls.append(x)
            return x

    model = compiled(Input(3), Counted(), Dense(1))
    for _ in range(3):
        model.predict(X)
        assert len(calls) == 1


def test_a_copy_notices_its_own_settings():
    """What was recorded before one of them changed is recorded anew, in the copy alone."""
    model = compiled(Input(3), Dropout(0.0), Dense(2, use_bias=False), Dense(1))
    model.fit(X, Y, verbose=0)
    made = copy.deepcopy(model)
    made.fit(X, Y, verbose=0)
    made.layers[2].trainable = False
    frozen, moving = made.layers[2].kernel.numpy(), model.layers[2].kernel.numpy()
    for one in (made, model):
        one.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(made.layers[2].kernel.numpy(), frozen)
    assert np.abs(model.layers[2].kernel.numpy() - moving).max() > 0
    made.layers[1].rate = 0.999999
    before = made.get_weights()[1]
    made.train_on_batch(X, Y)
    np.testing.assert_array_equal(made.get_weights()[1], before)  # nothing came in: no gradient
