"""Metrics: known values, and means that count examples, not batches."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet import metrics


@pytest.mark.parametrize(
    ("name", "y_true", "y_pred", "expected"),
    [
        ("binary_accuracy", [[1], [0], [1], [0]], [[0.9], [0.6], [0.5], [0.2]], 0.5),
        ("categorical_accuracy", [[0, 1, 0], [1, 0, 0]], [[0.1, 0.7, 0.2], [0.3, 0.6, 0.1]], 0.5),
        ("sparse_categorical_accuracy", [1, 0, 2], [[0.1, 0.7, 0.2]] * 3, 1 / 3),
        ("mean_squared_error", [[0.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 3.0]], 1.5),
        ("mean_absolute_error", [[0.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 3.0]], 1),
        ("accuracy", [[1], [0], [1], [0]], [[0.9], [0.6], [0.5], [0.2]], 0.5),
        ("accuracy", [[0, 1, 0], [1, 0, 0]], [[0.1, 0.7, 0.2], [0.3, 0.6, 0.1]], 0.5),
        ("accuracy", [1, 0, 2], [[0.1, 0.7, 0.2]] * 3, 1 / 3),
    ],
)
def test_known_values(name, y_true, y_pred, expected):
    metric = metrics.get(name)
    metric.update_state(y_true, y_pred)
    assert metric.result() == pytest.approx(expected, rel=1e-6)
    metric.reset_state()
    metric.update_state(refnet.tensor(y_true), refnet.tensor(y_pred))
    assert metric.result() == pytest.approx(expected, rel=1e-6)


def test_threshold():
    metric = metrics.BinaryAccuracy(threshold=0.8)
    metric.update_state([[1], [0]], [[0.7], [0.7]])
    assert metric.result() == 0.5


def test_batches_count_by_their_size():
    metric = metrics.MeanAbsoluteError()
    metric.update_state(np.zeros((3, 1)), np.ones((3, 1)))
    metric.update_state(np.zeros((1, 1)), np.full((1, 1), 5.0))
    assert metric.result() == 2
    metric.reset_state()
    assert metric.result() == 0


def test_a_metric_is_called_what_it_was_asked_for_by():
    assert metrics.get("acc").name == "acc"
    assert metrics.get("mse").name == "mse"
    assert metrics.get(metrics.MeanSquaredError).name == "mean_squared_error"
    assert metrics.MeanSquaredError(name="mine").name == "mine"


def test_a_function_is_a_metric():
    def largest_error(y_true, y_pred):
        return abs(y_true - y_pred).max(axis=-1)

    metric = metrics.get(largest_error)
    metric.update_state(refnet.tensor([[0.0, 0.0]]), refnet.tensor([[1.0, -3.0]]))
    assert metric.result() == 3
    assert metric.name == "largest_error"
