"""Metrics of numbers: how far they are off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from refnet.losses import mean_absolute_error, mean_squared_error, pairing
from refnet.metrics.metric import Metric, metric_of, weighted_sums

MeanSquaredError = metric_of(mean_squared_error, pairing.TARGETS)
MeanAbsoluteError = metric_of(mean_absolute_error, pairing.TARGETS)


class RootMeanSquaredError(Metric):
    """√(Σ w (y - p)² / Σ w): the mean squared error in the unit of the targets.

    It is no mean of those of batches: the root is taken at the end.

    Examples
    --------
    >>> metric = RootMeanSquaredError()
    >>> metric.update_state([[1.0], [2.0]], [[1.0], [2.0]])
    >>> metric.update_state([[0.0], [0.0]], [[4.0], [4.0]])
    >>> round(metric.result(), 4)
    2.8284
    """

    sums = ("total", "count")
    rule = pairing.TARGETS

    def batch_sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Sequence[Any]:
        """Σ w (y - p)² and Σ w."""
        return weighted_sums(mean_squared_error(y_true, y_pred), sample_weight)

    def compute(self, total: float, count: float) -> float:
        """The root of the mean; 0 if there is nothing."""
        return math.sqrt(total / count) if count else 0.0
