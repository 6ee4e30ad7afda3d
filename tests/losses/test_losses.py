"""Losses: known values, scores instead of probabilities, weights and reductions."""

from __future__ import annotations

import math

import numpy as np
import pytest

import refnet
from refnet import activations, layers, losses

log = math.log
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "expected"),
    [
        ("mean_squared_error", [[1, 2], [0, 0]], [[1, 4], [3, 4]], [2, 12.5]),
        ("mean_absolute_error", [[1, 2], [0, 0]], [[1, 4], [3, -4]], [1, 3.5]),
        ("sum_squared_residuals", [[1, 2], [0, 0]], [[1, 4], [3, 4]], [4, 25]),
        ("quadratic_cost", [[1, 2], [0, 0]], [[1, 4], [3, 4]], [2, 12.5]),
        ("huber", [[0, 0], [0, 0]], [[0.5, -1], [3, -1e20]], [(0.125 + 0.5) / 2, (2.5 + 1e20) / 2]),
        ("poisson", [[0, 2]], [[1, 3]], [(1 + 3 - 2 * log(3)) / 2]),
        ("binary_crossentropy", [[1, 0]], [[0.8, 0.4]], [-(log(0.8) + log(0.6)) / 2]),
        ("categorical_crossentropy", [[0, 1, 0]], [[0.2, 0.5, 0.3]], [-log(0.5)]),
        ("categorical_crossentropy", [[0, 1, 0]], [[2, 5, 3]], [-log(0.5)]),  # made to sum to 1
        ("sparse_categorical_crossentropy", [1, 2], [[0.2, 0.5, 0.3]] * 2, [-log(0.5), -log(0.3)]),
    ],
)
def test_known_values(loss, y_true, y_pred, expected):
    kind = "int64" if "sparse" in loss else "float64"
    y_true, y_pred = np.array(y_true, kind), np.array(y_pred, "float64")
    found = getattr(losses, loss)(y_true, y_pred)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    mean = losses.get(loss)(refnet.tensor(y_true), refnet.tensor(y_pred))
    assert float(mean) == pytest.approx(np.mean(expected), rel=1e-6)


def test_quadratic_cost_is_that_of_the_course():
    """C = 1/(2n) Σ ‖y - a‖², n being the number of examples."""
    y, a = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 3))
    expected = np.sum(np.linalg.norm(y - a, axis=1) ** 2) / (2 * 7)
    assert float(losses.QuadraticCost()(y, a)) == pytest.approx(expected)


@pytest.mark.parametrize("delta", [0.25, 1.0, 3.0])
def test_huber_is_that_of_pytorch(torch, delta):
    y, a = RNG.normal(size=(5, 7)), RNG.normal(0, 3, size=(5, 7))
    there = torch.tensor(a, requires_grad=True)
    expected = torch.nn.functional.huber_loss(there, torch.tensor(y), delta=delta)
    expected.backward()
    x = refnet.tensor(a)
    found = losses.Huber(delta=delta)(y, x)
    assert float(found) == pytest.approx(expected.item(), rel=1e-12)
    (g,) = refnet.gradients(found, [x])
    np.testing.assert_allclose(g.numpy(), there.grad.numpy(), rtol=1e-12)
    with pytest.raises(refnet.errors.ArgumentError, match="huber: delta is a number of at least 0"):
        losses.huber(y, a, delta=-1.0)


def test_lists_will_do():
    assert float(losses.MeanSquaredError()([[0.0, 1.0]], [[0.0, 0.0]])) == 0.5


# -- probabilities and scores ----------------------------------------------------------------------

CROSS_ENTROPIES = {
    "binary_crossentropy": ("sigmoid", np.array([[0.0, 0, 1], [0, 0, 1]])),
    "categorical_crossentropy": ("softmax", np.array([[0, 1.0, 0], [0.2, 0.3, 0.5]])),
    "sparse_categorical_crossentropy": ("softmax", np.array([1, 2])),
}


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
def test_scores_give_what_probabilities_give(name):
    activation, y = CROSS_ENTROPIES[name]
    loss, scores = getattr(losses, name), RNG.normal(0, 2, (2, 3))
    p = activations.get(activation)(scores)
    from_scores = loss(y, scores, from_logits=True)
    np.testing.assert_allclose(loss(y, p), from_scores, rtol=1e-6)
    traced = loss(refnet.tensor(y), activations.get(activation)(refnet.tensor(scores)))
    np.testing.assert_array_equal(traced.numpy(), from_scores)


@pytest.mark.parametrize("wrapped", ["function", "dense", "layer"])
@pytest.mark.parametrize("name", CROSS_ENTROPIES)
def test_probabilities_of_a_network_are_traced_back_to_scores(name, wrapped):
    """At scores of ±10⁴ probabilities are 0 and 1 exactly; the loss and its gradient stay right."""
    activation, y = CROSS_ENTROPIES[name]
    x = refnet.tensor(np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0]], "float32"))
    if wrapped == "dense":
        eye = layers.Dense(
            3, activation, kernel_initializer=lambda shape, dtype: np.eye(3, dtype=dtype)
        )
        p = eye(x)
    else:
        f = activations.get(activation) if wrapped == "function" else layers.Activation(activation)
        p = f(x)
    loss = getattr(losses, name)(refnet.tensor(y.astype("float32" if y.ndim > 1 else "int64")), p)
    (dx,) = refnet.gradients(loss, [x])
    target = np.eye(3)[y] if y.ndim == 1 else y
    share = 3 if activation == "sigmoid" else 1  # the binary loss is a mean over outputs
    np.testing.assert_allclose(dx.numpy(), (p.numpy() - target) / share, atol=1e-6)
    assert np.all(loss.numpy() > 1e3)
    assert np.all(np.isfinite(loss.numpy()))


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
def test_probabilities_from_elsewhere_are_kept_off_0_and_1(name):
    _, y = CROSS_ENTROPIES[name]
    found = getattr(losses, name)(y, np.array([[1.0, 0, 0], [1, 0, 0]]))
    assert np.all(np.isfinite(found))
    assert np.all(found > 1)


def test_label_smoothing():
    y, scores = np.array([[0.0, 1.0, 0.0, 0.0]]), RNG.normal(size=(1, 4))
    found = losses.categorical_crossentropy(y, scores, from_logits=True, label_smoothing=0.2)
    softened = np.array([[0.05, 0.85, 0.05, 0.05]])
    expected = losses.categorical_crossentropy(softened, scores, from_logits=True)
    np.testing.assert_allclose(found, expected)
    found = losses.binary_crossentropy(y, scores, from_logits=True, label_smoothing=0.2)
    expected = losses.binary_crossentropy(y * 0.8 + 0.1, scores, from_logits=True)
    np.testing.assert_allclose(found, expected)


# -- weights and reductions ------------------------------------------------------------------------


def test_reductions():
    y, a = np.zeros((2, 2)), np.array([[1.0, 1], [3, 3]])  # losses 1 and 9
    weights = np.array([1.0, 0.5])
    found = {r: losses.MeanSquaredError(reduction=r) for r in losses.REDUCTIONS}
    assert float(found["sum_over_batch_size"](y, a)) == 5
    assert float(found["sum_over_batch_size"](y, a, weights)) == 2.75  # Σ w L / n, as in Keras
    assert float(found["sum"](y, a, weights)) == 5.5
    np.testing.assert_array_equal(found["none"](y, a, weights), [1, 4.5])


def test_a_weight_counts_for_the_whole_example():
    """Losses (batch, time), one weight an example: also where batch and time are equally long."""
    y, a = np.zeros((3, 3, 1)), np.arange(9.0).reshape(3, 3, 1)
    found = losses.MeanSquaredError(reduction="none")(y, a, np.array([1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(found, [[0, 1, 4], [0, 0, 0], [72, 98, 128]])


def test_losses_are_found_by_name_class_and_function():
    assert isinstance(losses.get("mse"), losses.MeanSquaredError)
    assert isinstance(losses.get("MeanSquaredError"), losses.MeanSquaredError)
    assert isinstance(losses.get(losses.Poisson), losses.Poisson)
    own = losses.get(lambda y_true, y_pred: (y_true - y_pred)[:, 0])
    assert float(own(refnet.tensor([[3.0]]), refnet.tensor([[1.0]]))) == 2
    assert losses.get(own) is own
