"""Batches of fit, evaluate and train_on_batch: their sizes, logs and first uses."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import refnet
from refnet import callbacks, ops, optimizers
from refnet.errors import (
    ArgumentError,
    NotReadyError,
    RefnetError,
    ShapeError,
)
from refnet.layers import Dense, Flatten, Input, Layer, Reshape, Softmax
from refnet.training.step import weight_gradients
from tests.small import CLASSES, X, Y, compiled

RNG = np.random.default_rng(5)


def unbuilt(y, loss="mse", found=None, **options):
    model = compiled(Dense(3, "softmax"), loss=loss, found=found)
    with pytest.raises(RefnetError) as caught:
        model.fit(X, y, verbose=0, **options)
    assert not model.built
    return str(caught.value)


class Idle(Layer):
    """A layer one of whose weights nothing depends on."""

    def make_weights(self, input_shape):
        self.used, self.idle = (self.add_weight((), "ones", name=n) for n in ("used", "idle"))

    def call(self, x):
        return ops.multiply(x, self.used)


def test_logs_after_a_batch_are_means_of_the_batches_so_far():
    seen, alone = [], []

    class Look(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    model = compiled(Input((3,)), Dense(1), optimizer=optimizers.SGD(0.0))
    for start in range(0, 6, 2):
        alone.append(model.evaluate(X[start : start + 2], Y[start : start + 2], verbose=0))
    model.fit(X, Y, 2, shuffle=False, verbose=0, callbacks=[Look()])
    np.testing.assert_allclose(seen, np.cumsum(alone) / [1, 2, 3], rtol=1e-6)


def test_what_does_not_fit_is_found_before_anything_is_built():
    assert "sparse_categorical_accuracy" in unbuilt(
        np.eye(3)[CLASSES], found=["sparse_categorical_accuracy"]
    )
    assert "sample_weight" in unbuilt(np.eye(3)[CLASSES], sample_weight=np.ones((6, 3)))
    assert "validation_data is" in unbuilt(np.eye(3)[CLASSES], validation_data=(X, X, X, X))


def test_the_first_batch_builds_the_model():
    model = refnet.Sequential([Dense(2), Dense(1)])
    model(X)
    assert model.built and model.output_shape == (None, 1) and model.input_shape == (None, 3)


def test_a_shape_that_the_layers_were_not_built_for():
    model = refnet.Sequential([Input(3), Dense(1)])
    with pytest.raises(ShapeError, match="5"):
        model.compute_output_shape((None, 5))


def test_a_copied_model_has_an_optimizer_of_its_own():
    model = compiled(Dense(1), optimizer="adam")
    model.fit(X, Y, verbose=0)
    made, before = copy.deepcopy(model), model.get_weights()
    made.optimizer.learning_rate = 0.5  # of the copy, and noticed by its next step
    other = compiled(Dense(1), optimizer="adam")
    with pytest.raises(ArgumentError, match="model"):
        other.compile(made.optimizer, "mse")
    start = [w.copy() for w in made.get_weights()]
    made.fit(X, Y, verbose=0)
    moved = [np.abs(a - b).max() for a, b in zip(made.get_weights(), start, strict=True)]
    assert min(moved) > 0.1
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_epoch_leaves_all_as_it_was():
    model = compiled(Input(3), Dense(1))
    before = model.get_weights()
    assert model.fit(X, Y, epochs=0, verbose=0).history == {}
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_of_32():
    class Count(refnet.callbacks.Callback):
        sizes = ()

        def on_train_batch_end(self, batch, logs=None):
            self.sizes += (batch,)

    model, count = compiled(Dense(1)), Count()
    model.fit(np.ones((65, 2)), np.ones((65, 1)), verbose=0, callbacks=[count])
    assert count.sizes == (0, 1, 2)
    model.fit(np.ones((64, 2)), np.ones((64, 1)), verbose=0, callbacks=[count])
    assert count.sizes == (0, 1, 2, 0, 1)


def test_a_batch_is_tested_as_one():
    """The largest output of all is no mean of the largest of parts."""
    model = compiled(Input(2), Flatten(), found=[lambda y, p: ops.max(p)])
    x = np.arange(12.0).reshape(6, 2)
    assert model.test_on_batch(x, x)[1] == 11
    assert model.evaluate(x, x, 2, verbose=0)[1] == (3 + 7 + 11) / 3


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_weights_that_fit_nothing_build_nothing(method):
    model = compiled(Dense(1))
    with pytest.raises(ShapeError, match="sample_weight"):
        getattr(model, method)(X, Y, sample_weight=np.ones((6, 2)))
    assert not model.built


@pytest.mark.parametrize("classes", [2, 4])
def test_classes_of_sequences_are_as_many_as_the_outputs(classes):
    """Three elements a sequence: neither their number nor that of the sequences counts."""
    y = RNG.integers(0, classes, (5, 3))
    model = compiled(Reshape((3, classes)), Softmax(), loss="sparse_categorical_crossentropy")
    x = RNG.normal(0, 1, (5, 3 * classes))
    model.layers.insert(0, Dense(3 * classes))
    weights = dict.fromkeys(range(classes), 2.0)
    assert model.train_on_batch(x, y, class_weight=weights) > 0
    with pytest.raises(ArgumentError, match=f"0 to {classes - 1}"):
        model.train_on_batch(x, y, class_weight={classes: 1.0})


def test_training_comes_after_compile():
    with pytest.raises(NotReadyError, match="compile"):
        refnet.Sequential([Dense(1)]).train_on_batch(X, Y)


def test_what_the_loss_does_not_depend_on_has_gradient_0():
    model = compiled(Input(1), Idle())
    used, idle = weight_gradients(model, np.ones((2, 1)), np.zeros((2, 1)))
    assert used == 2 and idle == 0
