"""What `fit` warns of: set-ups that raise no error and cannot learn what they say."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import refnet
from refnet import losses, metrics
from refnet.layers import Activation, Dense, Dropout, Flatten, Input, LeakyReLU, Softmax

X = np.linspace(-1, 1, 18).reshape(6, 3)
YES = np.array([0, 1, 1, 0, 1, 0])
CLASSES = np.array([0, 1, 2, 0, 1, 2])
ONE_HOT = np.eye(3)[CLASSES]
SCORES = {"from_logits": True}


def network(*end):
    return refnet.Sequential([Input((3,)), Dense(4, "tanh", name="hidden"), *end])


def warned(model, y, loss, found=None):
    """What is said while a model is fitted, without the name of the model."""
    model.compile("sgd", loss, found)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, epochs=2, batch_size=2, verbose=0)
    assert all(w.category is UserWarning and w.filename == __file__ for w in caught)
    said = [str(w.message) for w in caught]
    assert all(text.startswith(f"{model.name}: layer ") for text in said)
    return said


#: what is wrong -> (the end of the model, targets, loss, metrics, the layer and what is said of it)
WRONG = {
    "binary, linear": (
        *([Dense(1, name="last")], YES, "binary_crossentropy", None),
        ["'last' ends with linear", 'activation="sigmoid"', "from_logits=True"],
    ),
    "binary, relu": (
        *([Dense(1, "relu", name="last")], YES, "binary_crossentropy", None),
        ["'last' ends with relu", 'activation="sigmoid"'],
    ),
    "categorical, tanh": (
        *([Dense(3, "tanh", name="last")], ONE_HOT, "categorical_crossentropy", None),
        ["'last' ends with tanh", 'activation="softmax"'],
    ),
    "sparse, linear, then dropout": (
        *([Dense(3, name="last"), Dropout(0.5)], CLASSES, "sparse_categorical_crossentropy", None),
        ["'last' ends with linear", 'activation="softmax"'],
    ),
    "sparse, a layer of its own": (
        [Dense(3), LeakyReLU(name="leaky")],
        *(CLASSES, "sparse_categorical_crossentropy", None, ["'leaky' ends with leaky_relu"]),
    ),
    "sparse, a linear activation behind": (
        [Dense(3, "relu", name="last"), Activation("linear")],
        *(CLASSES, "sparse_categorical_crossentropy", None, ["'last' ends with relu"]),
    ),
    "softmax over one unit": (
        *([Dense(1, "softmax", name="last")], YES, "binary_crossentropy", None),
        ["'last' has one unit", "always 1", 'Dense(1, "sigmoid") and binary_crossentropy'],
    ),
    "one class": (
        *([Dense(1, name="last")], np.zeros(6, int)),
        *(losses.SparseCategoricalCrossentropy(**SCORES), None, ["'last' has one unit"]),
    ),
    "sigmoid twice": (
        *([Dense(1, "sigmoid", name="last")], YES, losses.BinaryCrossentropy(**SCORES), None),
        ["'last' ends with sigmoid", "applies sigmoid once more", "leave out one"],
    ),
    "softmax twice": (
        [Dense(3), Softmax(name="soft")],
        *(CLASSES, losses.SparseCategoricalCrossentropy(**SCORES), None),
        ["'soft' ends with softmax", "applies softmax once more"],
    ),
    "a slope of 0": (
        *([Activation("binary_step", name="last")], YES[:, None] * np.ones(4), "mse", None),
        ["'last' ends with binary_step", "slope is 0"],
    ),
    "-1 and +1": (
        *([Dense(1, "sigmoid", name="last")], 2.0 * YES - 1, "binary_crossentropy", None),
        ["from -1 to 1", "(y + 1) / 2"],
    ),
    "numbers as probabilities": (
        *([Dense(1, "sigmoid", name="last")], 3.0 * YES, "binary_crossentropy", None),
        ["from 0 to 3", "takes probabilities", "mean_squared_error"],
    ),
    "accuracy of numbers": (
        *([Dense(1, name="last")], 0.5 * CLASSES, "mse", ["accuracy"]),
        ["from 0 to 1", "yes or no", "mean_absolute_error"],
    ),
    "accuracy of scores": (
        *([Dense(1, name="last")], YES, losses.BinaryCrossentropy(**SCORES), ["accuracy"]),
        ["'last' gives scores", "above 0.5", "threshold=0"],
    ),
    "binary accuracy of scores": (
        [Dense(1, name="last")],
        *(YES, losses.BinaryCrossentropy(**SCORES), [metrics.BinaryAccuracy(threshold=0.5)]),
        ["'last' gives scores", "threshold=0"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_it_is_said_once_with_layer_and_remedy(what):
    end, y, loss, found, parts = WRONG[what]
    model = network(*end)
    (said,) = warned(model, y, loss, found)
    for part in parts:
        assert part in said
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y, verbose=0)  # again: nothing is said
    assert warned(model, y, loss, found) == [said]  # compiled anew


RIGHT = {
    "binary": ([Dense(1, "sigmoid")], YES, "binary_crossentropy", ["accuracy"]),
    "sparse": ([Dense(3, "softmax")], CLASSES, "sparse_categorical_crossentropy", ["accuracy"]),
    "several answers": ([Dense(3, "sigmoid")], ONE_HOT, "binary_crossentropy", ["accuracy"]),
    "behind dropout": (
        [Dense(3, "softmax"), Dropout(0.1)],
        ONE_HOT,
        "categorical_crossentropy",
        None,
    ),
    "flattened": ([Dense(3, "softmax"), Flatten()], ONE_HOT, "categorical_crossentropy", None),
    "soft targets": (
        [Dense(3, "softmax")],
        ONE_HOT * 0.9,
        "categorical_crossentropy",
        ["accuracy"],
    ),
    "scores": ([Dense(3)], CLASSES, losses.SparseCategoricalCrossentropy(**SCORES), ["accuracy"]),
    "scores, yes above 0": (
        [Dense(1)],
        *(YES, losses.BinaryCrossentropy(**SCORES), [metrics.BinaryAccuracy(threshold=0)]),
    ),
    "one's own activation": (
        [Dense(3, lambda x: refnet.ops.softmax(x))],
        *(CLASSES, "sparse_categorical_crossentropy", None),
    ),
    "regression": ([Dense(1)], 3.0 * YES - 1, "mse", ["mae"]),
    "regression of -1 and 1": ([Dense(1, "tanh")], 2.0 * YES - 1, "mse", None),
}


@pytest.mark.parametrize("what", RIGHT)
def test_nothing_is_said_of_what_learns(what):
    end, y, loss, found = RIGHT[what]
    assert warned(network(*end), y, loss, found) == []


def test_two_things_are_said_of_what_is_wrong_twice():
    said = warned(network(Dense(1)), 2.0 * YES - 1, "binary_crossentropy", ["accuracy"])
    assert len(said) == 2
    assert "ends with linear" in said[0] and "from -1 to 1" in said[1]
