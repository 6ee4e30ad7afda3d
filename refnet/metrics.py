"""Metrics: how good the predictions are, in terms a person asks for. They do not steer training.

A metric keeps a running mean: `update_state` takes in a batch, `result` reads it, `reset_state`
starts over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from refnet import losses
from refnet.elsewhere import explain
from refnet.naming import class_after, look_up, snake_case
from refnet.ops import TABLE
from refnet.tensor import Tensor

Function = Callable[..., Any]


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """The share of outputs on the right side of the threshold."""
    said = TABLE["greater"](y_pred, threshold)
    right = TABLE["equal"](TABLE["greater"](y_true, 0.5), said)
    return TABLE["mean"](TABLE["cast"](right), axis=-1)


def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest output is the class of the one-hot target, else 0."""
    right = TABLE["equal"](TABLE["argmax"](y_true, axis=-1), TABLE["argmax"](y_pred, axis=-1))
    return TABLE["cast"](right)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest output is the class y_true, a number, else 0."""
    return TABLE["cast"](TABLE["equal"](y_true, TABLE["argmax"](y_pred, axis=-1)))


class Mean:
    """The running mean of numbers, each with a weight."""

    def __init__(self, name: str = "mean") -> None:
        self.name = name
        self.reset_state()

    def reset_state(self) -> None:
        """Forget everything."""
        self.total, self.count = 0.0, 0.0

    def add(self, mean: float, count: float) -> None:
        """Take in the mean of `count` numbers."""
        self.total += float(mean) * count
        self.count += count

    def result(self) -> float:
        """The mean of all numbers so far; 0 if there are none."""
        return self.total / self.count if self.count else 0.0

    def __repr__(self) -> str:
        return f"<metric {self.name}: {self.result():.4f}>"


class Metric(Mean):
    """The running mean of a function of (y_true, y_pred) that gives one number for each example.

    >>> m = Accuracy()
    >>> m.update_state([1, 0], [[0.2, 0.8], [0.1, 0.9]])
    >>> m.result()
    0.5
    """

    function: ClassVar[Function]

    def __init__(self, name: str | None = None, **options: Any) -> None:
        super().__init__(name or snake_case(type(self).__name__))
        self.options = options

    def batch_mean(self, y_true: Any, y_pred: Any) -> Any:
        """The mean over one batch: a number or a tensor with one."""
        return TABLE["mean"](type(self).function(y_true, y_pred, **self.options))

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        """Take in a batch."""
        y_true = y_true if isinstance(y_true, Tensor) else np.asarray(y_true)
        y_pred = y_pred if isinstance(y_pred, Tensor) else np.asarray(y_pred)
        self.add(float(self.batch_mean(y_true, y_pred)), len(y_pred))


def _class_of(function: Function) -> type[Metric]:
    """The Metric class of a function: MeanSquaredError of mean_squared_error."""
    return class_after(function, Metric, "The running mean of `{}`.")


BinaryAccuracy = _class_of(binary_accuracy)
CategoricalAccuracy = _class_of(categorical_accuracy)
SparseCategoricalAccuracy = _class_of(sparse_categorical_accuracy)
MeanSquaredError = _class_of(losses.mean_squared_error)
MeanAbsoluteError = _class_of(losses.mean_absolute_error)


def accuracy_function(target_shape: tuple[Any, ...], output_shape: tuple[Any, ...]) -> Function:
    """Which accuracy fits: binary for one output, sparse for class numbers, else categorical."""
    if output_shape[-1] == 1:
        return binary_accuracy
    if len(target_shape) < len(output_shape):
        return sparse_categorical_accuracy
    return categorical_accuracy


class Accuracy(Metric):
    """The share of right answers: binary, categorical or sparse, whichever fits the data's shape."""

    def batch_mean(self, y_true: Any, y_pred: Any) -> Any:
        """The share of right answers in one batch."""
        function = accuracy_function(tuple(y_true.shape), tuple(y_pred.shape))
        return TABLE["mean"](function(y_true, y_pred))


METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "acc": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
}


def get(identifier: str | Metric | Function) -> Metric:
    """The metric of this name, called what it was asked for by; a function becomes a Metric."""
    if isinstance(identifier, str) and identifier in METRICS:
        return METRICS[identifier](name=identifier)
    found = look_up("metric", identifier, METRICS)
    return found if isinstance(found, Metric) else _class_of(found)()


explain(__name__)
