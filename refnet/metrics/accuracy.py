"""Accuracies: the share of right answers."""

from __future__ import annotations

import inspect
from typing import Any

from refnet.errors import DTypeError
from refnet.losses import pairing
from refnet.metrics.metric import Function, MeanMetric, metric_of
from refnet.ops import TABLE


@pairing.meeting(pairing.NUMBERS)
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the predicted class number is the right one, else 0."""
    return TABLE["cast"](TABLE["equal"](y_true, y_pred))


@pairing.meeting(pairing.TARGETS)
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """The share of outputs that are right: above the threshold where the target is 1, else 0."""
    said = TABLE["cast"](TABLE["greater"](y_pred, threshold), dtype=str(y_true.dtype))
    right = TABLE["cast"](TABLE["equal"](y_true, said), dtype=str(y_true.dtype))
    return TABLE["mean"](right, axis=-1)


@pairing.meeting(pairing.TARGETS)
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest output is the class of the one-hot target, else 0."""
    return accuracy(TABLE["argmax"](y_true, axis=-1), TABLE["argmax"](y_pred, axis=-1))


@pairing.meeting(pairing.CLASSES)
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest output is the class y_true, a number, else 0."""
    return accuracy(y_true, TABLE["argmax"](y_pred, axis=-1))


BinaryAccuracy = metric_of(binary_accuracy, pairing.TARGETS)
CategoricalAccuracy = metric_of(categorical_accuracy, pairing.TARGETS)
SparseCategoricalAccuracy = metric_of(sparse_categorical_accuracy, pairing.CLASSES)


def accuracy_function(y_true: Any, y_pred: Any) -> Function:
    """Which accuracy fits, by shapes and types, as for Keras' "accuracy".

    Whole numbers on both sides are class numbers, and compared. Otherwise predictions are scores:
    binary for one output, sparse for class numbers beside several, else categorical.
    """
    y, p = tuple(y_true.shape), tuple(y_pred.shape)
    if not pairing.is_float(y_pred) and pairing.NUMBERS.axes(y, p):
        return accuracy
    if p[-1:] == (1,) or (len(y) == len(p) + 1 and y[-1] == 1):
        return binary_accuracy
    if len(p) == 1 and len(y) == 1:
        raise DTypeError(
            f"accuracy: predictions of shape {p} in {y_pred.dtype} may be class numbers or "
            "probabilities. Class numbers are integers; for probabilities use binary_accuracy"
        )
    if len(y) < len(p) or y[-1:] == (1,):
        return sparse_categorical_accuracy
    return categorical_accuracy


class Accuracy(MeanMetric):
    """The share of right answers: equal class numbers, or the binary, categorical or sparse accuracy.

    Which one it is follows from the shapes and types of the data, see `accuracy_function`.
    """

    function = staticmethod(inspect.unwrap(accuracy))
    rule = pairing.FREE

    def per_example(self, y_true: Any, y_pred: Any) -> Any:
        """1 for each right answer, 0 for each wrong one."""
        y_true, y_pred = pairing.together(y_true, y_pred)
        return accuracy_function(y_true, y_pred)(y_true, y_pred)
