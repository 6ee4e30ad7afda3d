"""Weights of classes: whose they are, and of what is no class."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet.errors import (
    RefnetError,
)
from refnet.layers import Dense, Input
from tests.small import CLASSES, X, compiled

RNG = np.random.default_rng(5)


def test_validation_data_are_not_weighed_by_class():
    options = {"epochs": 1, "shuffle": False, "verbose": 0}
    for held_out in ({"validation_split": 0.5}, {"validation_data": (X[3:], CLASSES[3:])}):
        model = compiled(Input((3,)), Dense(3, "softmax"), loss="sparse_categorical_crossentropy")
        found = model.fit(X, CLASSES, class_weight={0: 3.0, 1: 0.5}, **held_out, **options)
        expected = model.evaluate(X[3:], CLASSES[3:], verbose=0)
        assert found.history["val_loss"][0] == pytest.approx(expected, rel=1e-6)


def test_class_weights_of_sequences_are_those_of_the_elements():
    x, y = RNG.normal(0, 1, (4, 2, 3)), RNG.integers(0, 3, (4, 2))
    weights = {0: 2.0, 1: 0.5, 2: 3.0}
    each = np.vectorize(weights.get)(y)
    sparse = "sparse_categorical_crossentropy"
    for targets, loss in (
        (y, sparse),
        (y[..., None], sparse),
        (np.eye(3)[y], "categorical_crossentropy"),
    ):
        refnet.utils.set_random_seed(2)
        model = compiled(Input((2, 3)), Dense(3, "softmax"), loss=loss)
        expected = model.evaluate(x, targets, verbose=0, sample_weight=each)
        assert model.train_on_batch(x, targets, class_weight=weights) == pytest.approx(
            expected, rel=1e-6
        )


@pytest.mark.parametrize(
    "wrong", [{"0": 1.0}, {3: 1.0}, {-1: 1.0}, {0.5: 1.0}, {True: 1.0, "1": 2.0}]
)
def test_class_weights_of_what_is_no_class(wrong):
    model = compiled(Input((3,)), Dense(3, "softmax"), loss="sparse_categorical_crossentropy")
    with pytest.raises(RefnetError, match="class_weight"):
        model.fit(X, CLASSES, class_weight=wrong, verbose=0)
