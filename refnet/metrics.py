"""Metrics: how good the predictions are, in terms a person asks for. They do not steer training.

A metric keeps a running mean: `update_state` takes in a batch, `result` reads it, `reset_state`
starts over.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from refnet import losses, pairing
from refnet.elsewhere import explain
from refnet.errors import DTypeError
from refnet.naming import WithOptions, class_after, class_around, look_up, snake_case
from refnet.ops import TABLE
from refnet.shapes import Shape

Function = Callable[..., Any]


@pairing.meeting(pairing.NUMBERS)
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the predicted class number is the right one, else 0."""
    return TABLE["cast"](TABLE["equal"](y_true, y_pred))


@pairing.meeting(pairing.TARGETS)
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """The share of outputs that are right: above the threshold where the target is 1, else 0."""
    said = TABLE["cast"](TABLE["greater"](y_pred, threshold), dtype=str(y_true.dtype))
    return TABLE["mean"](TABLE["cast"](TABLE["equal"](y_true, said)), axis=-1)


@pairing.meeting(pairing.TARGETS)
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest output is the class of the one-hot target, else 0."""
    return accuracy(TABLE["argmax"](y_true, axis=-1), TABLE["argmax"](y_pred, axis=-1))


@pairing.meeting(pairing.CLASSES)
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest output is the class y_true, a number, else 0."""
    return accuracy(y_true, TABLE["argmax"](y_pred, axis=-1))


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


class Means:
    """Running means of several numbers of each batch, by name. A second "mse" is called "mse_1".

    What is added is read when a result is asked for: on a GPU, reading means waiting.

    >>> means = Means(["loss", "mse", "mse"])
    >>> means.add(2, [1.0, 3.0, 0.0])
    >>> means.add(1, [4.0, 0.0, 0.0])
    >>> means.result()
    {'loss': 2.0, 'mse': 2.0, 'mse_1': 0.0}
    """

    def __init__(self, names: Sequence[str], read: Callable[[Any], Any] = float) -> None:
        counts = [names[:i].count(name) for i, name in enumerate(names)]
        self.means = [Mean(f"{n}_{c}" if c else n) for n, c in zip(names, counts, strict=True)]
        self.read = read
        self._waiting: list[tuple[int, Sequence[Any]]] = []

    def add(self, count: int, values: Sequence[Any]) -> None:
        """Take in the means over a batch of `count` examples."""
        self._waiting.append((count, values))

    def result(self) -> dict[str, float]:
        """The mean of each over all batches so far."""
        for count, values in self._waiting:
            for mean, value in zip(self.means, values, strict=True):
                mean.add(float(self.read(value)), count)
        self._waiting.clear()
        return {mean.name: mean.result() for mean in self.means}


class Metric(WithOptions, Mean):
    """The running mean of a function of (y_true, y_pred) that gives one number for each example.

    Parameters
    ----------
    name : what reports call it.
    options : what the function takes besides y_true and y_pred, such as threshold=0.7.

    `fit` and `evaluate` compute with a metric's function and options, and keep sums of their own: what
    is taken in here by `update_state` stays as it is.

    >>> m = Accuracy()
    >>> m.update_state([1, 0], [[0.2, 0.8], [0.1, 0.9]])
    >>> m.result()
    0.5
    >>> m.update_state([1, 0], [[0.2, 0.8], [0.1, 0.9]], sample_weight=[2, 0])
    >>> m.result()
    0.75
    """

    rule: ClassVar[pairing.Rule] = pairing.FREE

    def __init__(self, name: str | None = None, **options: Any) -> None:
        self._take(options, METRICS.values())
        super().__init__(name or snake_case(type(self).__name__))

    def per_example(self, y_true: Any, y_pred: Any) -> Any:
        """One number for each example."""
        function = type(self).function
        y_true, y_pred = pairing.meet(self.rule, function.__name__, y_true, y_pred)
        return self._result(function(y_true, y_pred, **self.options), y_pred)

    def require(self, y: np.ndarray[Any, Any], output_shape: Shape) -> None:
        """Raise an error if the targets y do not fit a model's output, before training starts."""
        pairing.meet_output(self.rule, type(self).function.__name__, y, output_shape)

    def batch_mean(self, y_true: Any, y_pred: Any) -> Any:
        """The mean over one batch: a number or a tensor with one."""
        return TABLE["mean"](self.per_example(y_true, y_pred))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch, each example with its weight: the mean is Σ w m / Σ w, as in Keras."""
        values = self.per_example(y_true, y_pred)
        weights = 1.0 if sample_weight is None else pairing.weights_beside(values, sample_weight)
        values = np.asarray(values, "float64")
        weights = np.broadcast_to(np.asarray(weights, "float64"), values.shape)
        count = 1 if values.ndim else np.shape(y_pred)[0]  # one number that stands for all examples
        total = float(weights.sum())
        self.add(float((weights * values).sum()) / total if total else 0.0, total * count)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Take in a batch, and give the mean of all so far."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()


def _class_of(function: Function, rule: pairing.Rule = pairing.FREE) -> type[Metric]:
    """The Metric class of a function: MeanSquaredError of mean_squared_error."""
    kind: type[Metric] = class_after(inspect.unwrap(function), Metric, "The running mean of `{}`.")
    kind.rule = rule
    return kind


BinaryAccuracy = _class_of(binary_accuracy, pairing.TARGETS)
CategoricalAccuracy = _class_of(categorical_accuracy, pairing.TARGETS)
SparseCategoricalAccuracy = _class_of(sparse_categorical_accuracy, pairing.CLASSES)
MeanSquaredError = _class_of(losses.mean_squared_error, pairing.TARGETS)
MeanAbsoluteError = _class_of(losses.mean_absolute_error, pairing.TARGETS)


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


class Accuracy(Metric):
    """The share of right answers: equal class numbers, or the binary, categorical or sparse accuracy.

    Which one it is follows from the shapes and types of the data, see `accuracy_function`.
    """

    function = staticmethod(inspect.unwrap(accuracy))
    rule = pairing.FREE

    def per_example(self, y_true: Any, y_pred: Any) -> Any:
        """1 for each right answer, 0 for each wrong one."""
        y_true, y_pred = pairing.together(y_true, y_pred)
        return accuracy_function(y_true, y_pred)(y_true, y_pred)


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
    return found if isinstance(found, Metric) else class_around(found, METRICS, _class_of)()


explain(__name__)
