"""How targets, predictions and weights meet: shapes, types, reductions."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet import losses, metrics, ops
from refnet.errors import (
    ArgumentError,
    DTypeError,
    ShapeError,
)
from refnet.losses import pairing

RNG = np.random.default_rng(5)


def test_float_labels_are_an_error_that_names_the_loss():
    with pytest.raises(DTypeError, match="sparse_categorical_crossentropy"):
        losses.sparse_categorical_crossentropy([0.0, 1.0], [[0.2, 0.8], [0.5, 0.5]])


def test_an_example_without_a_weight_weighs_1():
    metric = metrics.MeanAbsoluteError()
    metric.update_state([[0.0], [0.0]], [[1.0], [3.0]], sample_weight=[1.0, 3.0])
    metric.update_state([[0.0]], [[5.0]])
    assert metric.result() == (1 + 9 + 5) / (1 + 3 + 1)


@pytest.mark.parametrize(
    ("y", "p"), [((4,), (4, 3)), ((4, 3), (4,)), ((4, 2, 1), (4, 3)), ((4,), (4,))]
)
def test_functions_from_elsewhere_get_what_does_not_belong_together_as_it_is(y, p):
    seen = []

    def mine(y_true, y_pred):
        seen.extend([tuple(y_true.shape), tuple(y_pred.shape)])
        return 0.0 * y_pred

    metrics.get(mine).update_state(np.ones(y), np.ones(p))
    assert seen == [y, p]


def test_what_is_said_of_shapes_that_do_not_belong_together():
    with pytest.raises(ShapeError, match=r"mean_squared_error expects an axis of outputs"):
        losses.mean_squared_error(1.0, 2.0)
    for y, p in (((4,), (4, 3)), ((2, 3), (2, 3, 4))):
        with pytest.raises(ShapeError, match="use the sparse loss"):
            losses.categorical_crossentropy(np.ones(y, int), np.ones(p))
        with pytest.raises(ShapeError, match=r"got \([0-9, ]+\)$"):
            losses.categorical_crossentropy(np.ones(y), np.ones(p))


def test_labels_of_sequences_are_smoothed_over_the_classes():
    y, p = np.eye(3)[RNG.integers(0, 3, (4, 2))], RNG.uniform(0.1, 1.0, (4, 2, 3))
    p /= p.sum(-1, keepdims=True)
    found = losses.categorical_crossentropy(y, p, label_smoothing=0.3)
    np.testing.assert_allclose(found, -((0.7 * y + 0.1) * np.log(p)).sum(-1), rtol=1e-6)


@pytest.mark.parametrize("kind", [losses.MeanSquaredError, losses.BinaryCrossentropy])
def test_reductions_have_names(kind):
    with pytest.raises(ArgumentError, match="reduction"):
        kind(reduction="mean")


def test_one_number_for_a_batch_weighs_as_many_as_it_stands_for():
    """A function that gives the largest error of a batch: 2 of one example, 4 of three."""
    metric = metrics.get(lambda y, p: ops.max(ops.abs(ops.subtract(y, p))))
    metric.update_state([[0.0]], [[2.0]])
    metric.update_state(np.zeros((3, 1)), [[1.0], [4.0], [0.0]])
    assert metric.result() == (1 * 2 + 3 * 4) / 4


def test_a_number_is_a_target_of_one_output():
    assert float(losses.mean_squared_error(1.0, [0.5])) == 0.25
    assert float(losses.mean_squared_error([1.0], 0.5)) == 0.25


def test_what_is_said_of_weights_that_fit_nothing():
    def said(losses_shape, weights):
        with pytest.raises(ShapeError) as raised:
            pairing.require_weights(losses_shape, weights)
        return str(raised.value)

    assert said((4,), (3,)) == (
        "sample_weight is a number, or one for each example, (4,), got (3,)"
    )
    assert said((4, 2), (3,)) == (
        "sample_weight is a number, or one for each example, (4,), or has the shape of the losses, "
        "(4, 2), got (3,)"
    )
    assert said((), (3,)) == (
        "sample_weight is a number, got (3,): y[:, None] and p[:, None] make an example of each number"
    )


@pytest.mark.parametrize(
    ("function", "y", "p", "said"),
    [
        (losses.mean_squared_error, np.zeros(3), np.float64(1), "an axis of outputs"),
        (losses.sparse_categorical_crossentropy, np.zeros((3, 2), int), np.full((3, 4), 0.25),
         r"expects class numbers of shape \(3,\)"),
        (losses.sparse_categorical_crossentropy, np.zeros((3, 4), int), np.full((3, 4), 0.25),
         "for one-hot rows use categorical_crossentropy"),
        (losses.categorical_crossentropy, np.zeros((3, 2), int), np.full((3, 2, 4), 0.25),
         "to_categorical"),
        (losses.categorical_crossentropy, np.zeros(3, int), np.full((3, 4), 0.25), "to_categorical"),
    ],
)  # fmt: skip
def test_what_is_said_of_targets_that_do_not_fit(function, y, p, said):
    with pytest.raises(ShapeError, match=said):
        function(y, p)


def test_whole_targets_are_as_exact_as_the_predictions():
    many = 2**24 + 1  # float32 has no such number
    for function in (losses.mean_squared_error, losses.MeanSquaredError()):
        assert function(np.array([[many]]), np.array([[float(many)]])) == 0
        assert function(refnet.tensor([[many]]), refnet.tensor(np.array([[float(many)]]))) == 0


@pytest.mark.parametrize("y", ["float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("p", ["float32", "float64", "int64", "uint8"])
def test_which_types_meet(y, p):
    """Targets take the type of predictions that are floats; what is free stays as it is."""

    def met(rule):
        found = pairing.meet(rule, "it", np.ones((2, 1), y), np.ones((2, 1), p))
        return tuple(str(array.dtype) for array in found)

    scores = p if p.startswith("float") else "float32"
    assert met(pairing.TARGETS) == (scores, scores)
    assert met(pairing.CLASSES) == (y, scores)
    assert met(pairing.FREE) == (y, p)
    floats = [dtype for dtype in (p, y) if dtype.startswith("float")]
    assert met(pairing.NUMBERS) == ((floats[0],) * 2 if floats else (y, p))
