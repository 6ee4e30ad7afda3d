"""What a layer is built for, and what it refuses: lengths, types, names, halves."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet.errors import (
    ArgumentError,
    DTypeError,
    ShapeError,
)
from refnet.layers import Activation, Dense, Dropout, Flatten, Input, Layer, PReLU, Reshape, Softmax
from tests.small import X, Y, compiled

RNG = np.random.default_rng(5)


class Counts(Layer):
    """Counts its calls, asks for a value, and holds a layer that is built when it is first called."""

    def __init__(self):
        super().__init__()
        self.inner = Dense(1)

    def make_weights(self, input_shape):
        self.count = self.add_weight((), "zeros", trainable=False)

    def call(self, x, training=False):
        self.count.assign_add(1.0)
        return self.inner(x * float(x.max()) if training else x * float(x.min()))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


def test_a_length_may_be_zero():
    """Examples without a number: only the bias learns."""
    model = compiled(Input((0,)), Dense(1))
    assert model.layers[0].input_shape == (None, 0)
    model.fit(np.zeros((6, 0)), Y, epochs=2, verbose=0)
    assert [w.shape for w in model.get_weights()] == [(0, 1), (1,)]
    assert model.get_weights()[1] != 0


def test_a_layer_knows_the_shape_it_was_built_for():
    layer = Dense(2)
    layer.build((5, 3))
    assert layer.input_shape == (None, 3)


@pytest.mark.parametrize("shape", [(None, None, 3), (None, 3, None)])
@pytest.mark.parametrize(
    "layer", [PReLU(), Flatten(), Reshape((3,)), Reshape((-1, 3))], ids=lambda x: type(x).__name__
)
def test_lengths_have_to_be_known(layer, shape):
    with pytest.raises(ShapeError, match="known lengths"):
        layer.ensure_built(shape)
        layer.compute_output_shape(shape)


@pytest.mark.parametrize("wrong", ["no", 2, None])
def test_a_layer_is_trainable_or_not(wrong):
    with pytest.raises(ArgumentError, match=r"mine: trainable"):
        Dense(2, name="mine").trainable = wrong


def test_what_comes_in_is_what_was_said():
    model = refnet.Sequential([Input((3,), name="door"), Activation("relu")])
    with pytest.raises(ShapeError, match=r"door"):
        model.predict(np.ones((6, 4)))
    assert model.layers[0].built


def test_what_cannot_be_built_is_not_built_by_half():
    first = Dense(4)
    with pytest.raises(ShapeError):
        refnet.Sequential([first, Reshape((3,))]).build((None, 3))
    assert not first.built
    assert first.weights == []


def test_what_is_called_to_be_built_has_not_been_called():
    counting = Counts()
    model = refnet.Sequential([Input((3,)), counting])
    model.compile("sgd", "mse", run_eagerly=True)
    model.predict(X)
    assert counting.count.numpy() == 1
    model.train_on_batch(X, Y)
    assert counting.count.numpy() == 2


def test_an_open_length_takes_any():
    model = refnet.Sequential([Input((None, 3)), Dense(2)])
    for n in (7, 5):
        assert model.predict(np.ones((2, n, 3))).shape == (2, n, 2)
    with pytest.raises(ShapeError, match=r"\(batch, None, 3\)"):
        model.predict(np.ones((2, 7, 4)))


def test_softmax_is_along_the_last_axis():
    found = Softmax()(RNG.normal(0, 1, (2, 3, 4)))
    np.testing.assert_allclose(found.numpy().sum(-1), np.ones((2, 3)), rtol=1e-6)


def test_call_does_not_train_unless_it_is_told():
    layer, x = Dropout(0.9), refnet.tensor(np.ones((4, 4)))
    layer.ensure_built(x.shape)
    assert layer.call(x) is x


@pytest.mark.parametrize("axis", [0, -1, 2])
def test_a_slope_is_shared_along_axes_of_an_example(axis):
    with pytest.raises(ShapeError, match=f"with an axis {axis}"):
        PReLU(shared_axes=(axis,))(X)


def test_an_input_takes_a_length_and_holds_to_it():
    assert Input(4).input_shape == Input([4]).input_shape == (None, 4)
    layer = Input((None, 3))
    for length in (2, 5):  # the first batch does not say what the open length is
        assert layer(np.zeros((1, length, 3))).shape == (1, length, 3)
    with pytest.raises(ShapeError, match="input"):
        Input(4)(np.zeros((2, 5)))


def test_the_shape_of_an_example_is_a_tuple():
    with pytest.raises(ArgumentError, match=r"input_shape is a tuple, \(4,\) for one axis"):
        Dense(3, input_shape=4)


def test_whole_weights_are_not_set_to_fractions():
    class Count(Layer):
        def make_weights(self, input_shape):
            self.count = self.add_weight((2,), "zeros", "int32", trainable=False, name="count")

        def call(self, x):
            return x

    layer = Count()
    layer.ensure_built((2, 3))
    layer.set_weights([[1, 2]])
    with pytest.raises(DTypeError, match=r"count.*holds int32, got float"):
        layer.set_weights([[0.5, 1.5]])
    np.testing.assert_array_equal(layer.count.numpy(), [1, 2])
