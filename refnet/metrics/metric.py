"""Metric: sums over examples, and one number that is computed of them.

A mean of the means of batches is right for batches of one length alone, and for a ratio such as the
precision never. So a metric keeps sums: what a batch adds does not depend on how the examples were cut
into batches, and neither does the number.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from refnet.autograd.tensor import Tensor
from refnet.base.names import WithOptions, class_after, snake_case
from refnet.base.objects import Configured
from refnet.errors import ArgumentError
from refnet.losses import pairing
from refnet.op.shapes import Shape
from refnet.ops import TABLE

Function = Callable[..., Any]


class Metric(Configured):
    """Sums over examples, and one number that is computed of them.

    A metric of one's own is a function of (y_true, y_pred) that gives one number for each example, if
    it is a mean; if not, a subclass that names its `sums`, and says in `batch_sums` what a batch adds
    to each and in `compute` what is computed of them.

    `fit` and `evaluate` keep sums of their own: what is taken in here by `update_state` stays as it is.

    Examples
    --------
    >>> class RelativeError(Metric):
    ...     "Σ|y - p| / Σ|y|"
    ...
    ...     sums = ("errors", "targets")
    ...
    ...     def batch_sums(self, y_true, y_pred, sample_weight=None):
    ...         return abs(y_true - y_pred).sum(), abs(y_true).sum()
    ...
    ...     def compute(self, errors, targets):
    ...         return errors / targets
    >>> metric = RelativeError()
    >>> metric.update_state(np.array([1.0, 2.0]), np.array([1.5, 2.5]))
    >>> metric.update_state(np.array([5.0]), np.array([6.0]))
    >>> metric.result()
    0.25
    """

    #: the names of the sums, which are attributes: numbers or arrays, in float64
    sums: ClassVar[tuple[str, ...]] = ()
    #: how labels and predictions meet
    rule: ClassVar[pairing.Rule] = pairing.FREE

    def __init__(self, name: str | None = None) -> None:
        if type(self).batch_sums is Metric.batch_sums:
            raise ArgumentError(
                f"{type(self).__name__} has no function: a metric of one's own is a function of (y_true, "
                "y_pred) that gives one number for each example, and compile() takes it as it is; what "
                "is no mean says in batch_sums what a batch adds to its sums"
            )
        self.name = name or snake_case(type(self).__name__)
        self.reset_state()

    # -- what a subclass says ------------------------------------------------------------------

    def batch_sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Sequence[Any]:
        """What a batch adds to each of the sums: of tensors tensors, or numbers that are known."""
        raise NotImplementedError

    def compute(self, *sums: Any) -> float:
        """The metric, of these sums."""
        raise NotImplementedError

    def require(self, y: np.ndarray[Any, Any], output_shape: Shape) -> None:
        """Raise an error if the targets y do not fit a model's output, before training starts."""
        pairing.meet_output(self.rule, self.name, y, output_shape)

    # -- what a user calls ---------------------------------------------------------------------

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch, each example with its weight if there are weights."""
        self._add(self.batch_sums(y_true, y_pred, sample_weight))

    def result(self) -> float:
        """The metric over all batches so far."""
        return float(self.compute(*self._kept()))

    def reset_state(self) -> None:
        """Forget everything."""
        for name in self.sums:
            setattr(self, name, 0.0)

    def merge_state(self, metrics: Iterable[Metric]) -> None:
        """Take in what other metrics of this kind have taken in, such as those of other processes."""
        metrics = [*metrics]
        for other in metrics:
            if type(other) is not type(self) or self._settings() != other._settings():
                raise ArgumentError(
                    f"{self.name}: merge_state takes metrics of the same kind and settings, "
                    f"{type(self).__name__}({self._settings()}), got {other!r}"
                )
        for other in metrics:
            self._add(other._kept())

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Take in a batch, and give the metric over all so far."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def _kept(self) -> list[Any]:
        return [getattr(self, name) for name in self.sums]

    def _add(self, values: Sequence[Any]) -> None:
        for name, total in zip(self.sums, added(self._kept(), values), strict=True):
            setattr(self, name, total)

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._arguments() if name != "name"}

    def __repr__(self) -> str:
        return f"<metric {self.name}: {self.result():.4f}>"


def added(totals: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """Sums and what a batch adds to them, in float64: numbers stay numbers."""
    return [t + np.asarray(v, "float64")[()] for t, v in zip(totals, values, strict=True)]


# -- means -----------------------------------------------------------------------------------------


class Mean(Metric):
    """The running mean of numbers: Σ w x / Σ w.

    >>> mean = Mean()
    >>> mean.update_state([1.0, 2.0, 6.0])
    >>> mean.update_state(11.0)
    >>> mean.result()
    5.0
    """

    sums = ("total", "count")

    def __init__(self, name: str = "mean") -> None:
        super().__init__(name)

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in a number, or all that are in an array."""
        (values,) = pairing.together(values)
        self._add(weighted_sums(values, sample_weight))

    def batch_sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Sequence[Any]:
        """The predictions' own: a mean knows no targets."""
        return weighted_sums(y_pred, sample_weight)

    def compute(self, total: float, count: float) -> float:
        """Σ w x / Σ w; 0 if there are none."""
        return total / count if count else 0.0


class MeanMetric(WithOptions, Metric):
    """The running mean of a function of (y_true, y_pred) that gives one number for each example.

    Parameters
    ----------
    name : what reports call it.
    options : what the function takes besides y_true and y_pred, such as threshold=0.7.

    >>> from refnet.metrics import Accuracy
    >>> m = Accuracy()
    >>> m.update_state([1, 0], [[0.2, 0.8], [0.1, 0.9]])
    >>> m.result()
    0.5
    >>> m.update_state([1, 0], [[0.2, 0.8], [0.1, 0.9]], sample_weight=[2, 0])
    >>> m.result()
    0.75
    """

    sums = ("total", "count")

    def __init__(self, name: str | None = None, **options: Any) -> None:
        self._take(options, MeanMetric)
        super().__init__(name)

    def per_example(self, y_true: Any, y_pred: Any) -> Any:
        """One number for each example."""
        function = type(self).function
        y_true, y_pred = pairing.meet(self.rule, function.__name__, y_true, y_pred)
        return self._result(function(y_true, y_pred, **self.options), y_pred)

    def require(self, y: np.ndarray[Any, Any], output_shape: Shape) -> None:
        """Raise an error if the targets y do not fit a model's output, before training starts."""
        pairing.meet_output(self.rule, type(self).function.__name__, y, output_shape)

    def batch_sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Sequence[Any]:
        """Σ w m and Σ w, as in Keras. One number stands for all examples."""
        values = self.per_example(y_true, y_pred)
        return weighted_sums(values, sample_weight, 1 if values.ndim else np.shape(y_pred)[0])

    def compute(self, total: float, count: float) -> float:
        """Σ w m / Σ w; 0 if there are none."""
        return total / count if count else 0.0

    def _settings(self) -> dict[str, Any]:
        return dict(self.options)


def weighted_sums(values: Any, sample_weight: Any = None, each: int = 1) -> tuple[Any, Any]:
    """Σ w x and Σ w, where each value counts `each` times."""
    values = values if str(values.dtype) == wide(values) else TABLE["cast"](values, wide(values))
    if sample_weight is None:
        total = TABLE["sum"](values)
        return total * float(each) if each > 1 else total, float(values.size * each)
    weights = pairing.weights_beside(values, sample_weight)
    alike = each * (values.size // weights.size if weights.size else 1)
    return TABLE["sum"](values * weights) * float(each), TABLE["sum"](weights) * float(alike)


def wide(x: Any) -> str:
    """The type in which x is summed: that of a tensor, but float32 at least; float64 for an array."""
    if not isinstance(x, Tensor):
        return "float64"
    return x.dtype if x.dtype in ("float32", "float64") else "float32"


def metric_of(function: Function, rule: pairing.Rule = pairing.FREE) -> type[MeanMetric]:
    """The class of the mean of a function: MeanSquaredError of mean_squared_error."""
    kind: type[MeanMetric] = class_after(
        inspect.unwrap(function), MeanMetric, "The running mean of `{}`."
    )
    kind.rule = rule
    return kind
