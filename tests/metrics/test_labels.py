"""Which labels an accuracy takes, and how they meet the predictions."""

from __future__ import annotations

import numpy as np
import pytest

from refnet import metrics
from refnet.errors import (
    DTypeError,
)

RNG = np.random.default_rng(5)


def test_accuracy_of_what_may_be_either():
    with pytest.raises(DTypeError, match=r"shape \(3,\).*binary_accuracy"):
        metrics.Accuracy()([0, 1, 1], [0.2, 0.9, 0.4])


def test_accuracy_of_sequences_of_class_numbers_with_a_last_axis():
    labels, scores = RNG.integers(0, 4, (2, 3, 1)), RNG.uniform(0, 1, (2, 3, 4))
    expected = np.mean(scores.argmax(-1) == labels[..., 0])
    assert metrics.Accuracy()(labels, scores) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("y", "p", "expected"),
    [
        ((5, 1), (5,), metrics.binary_accuracy),
        ((5, 3, 1), (5, 3), metrics.binary_accuracy),
        ((5,), (5, 1), metrics.binary_accuracy),
        ((5,), (5, 4), metrics.sparse_categorical_accuracy),
        ((5, 1), (5, 4), metrics.sparse_categorical_accuracy),
        ((5, 4), (5, 4), metrics.categorical_accuracy),
        ((5, 3, 4), (5, 3, 4), metrics.categorical_accuracy),
        ((5, 3), (5, 3, 4), metrics.sparse_categorical_accuracy),
    ],
)
def test_which_accuracy_is_meant(y, p, expected):
    assert metrics.accuracy_function(np.zeros(y), np.zeros(p)) is expected
