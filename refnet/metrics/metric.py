"""Metric: a running mean of a function of targets and predictions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from refnet.base.names import WithOptions, class_after, snake_case
from refnet.base.objects import Configured
from refnet.losses import pairing
from refnet.op.shapes import Shape
from refnet.ops import TABLE

Function = Callable[..., Any]


class Mean(Configured):
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

    >>> from refnet.metrics import Accuracy
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
        self._take(options, Metric)
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


def metric_of(function: Function, rule: pairing.Rule = pairing.FREE) -> type[Metric]:
    """The Metric class of a function: MeanSquaredError of mean_squared_error."""
    kind: type[Metric] = class_after(inspect.unwrap(function), Metric, "The running mean of `{}`.")
    kind.rule = rule
    return kind
