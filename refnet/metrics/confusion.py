r"""Yes and no: how often each is said, and how often that is right.

With labels y of 0 or 1 and scores p, where p > t is taken for a yes:

=================  ======  ======
\                  y = 1   y = 0
=================  ======  ======
p > t, yes         TP      FP
p ≤ t, no          FN      TN
=================  ======  ======

Each is a sum of weights, 1 if there are none. Where outputs are several, all of them count, or those
of one class. A ratio of nothing, 0 / 0, is 0.

Fawcett (2006), "An introduction to ROC analysis".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from refnet import config
from refnet.base.arguments import Checked, Number, one_of, truth, whole_number
from refnet.errors import DataError, ShapeError
from refnet.losses import pairing
from refnet.metrics.metric import Metric, wide
from refnet.op.shapes import Shape
from refnet.ops import TABLE

#: the four cells, of a label and of whether a yes was said: 1 where it is one, else 0
CELLS: dict[str, Callable[[Any, Any], Any]] = {
    "true_positives": lambda y, yes: y * yes,
    "false_positives": lambda y, yes: (1 - y) * yes,
    "true_negatives": lambda y, yes: (1 - y) * (1 - yes),
    "false_negatives": lambda y, yes: y * (1 - yes),
}


def ratio(part: Any, whole: Any) -> Any:
    """part / whole, and 0 where there is nothing."""
    whole = np.asarray(whole, "float64")
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole != 0)[()]


class Confusion(Metric):
    """A metric of labels 0 and 1 and scores: the cells of the table named in `sums` are its sums."""

    rule: ClassVar[pairing.Rule] = pairing.TARGETS
    thresholds: Any
    class_id: int | None = None

    def require(self, y: np.ndarray[Any, Any], output_shape: Shape) -> None:
        """Raise an error if the targets do not fit a model's output, or are neither 0 nor 1."""
        super().require(y, output_shape)
        self._require_class(output_shape)
        self._require_labels(y)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch, each example with its weight if there are weights."""
        y_true, y_pred = pairing.together(y_true, y_pred)
        self._require_labels(np.asarray(y_true))
        super().update_state(y_true, y_pred, sample_weight)

    def batch_sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Sequence[Any]:
        y, p = pairing.meet(self.rule, self.name, y_true, y_pred)
        if p.ndim == 1:  # one output each
            y, p = y[:, None], p[:, None]
        self._require_class(tuple(p.shape))
        kind, weights = wide(p), None
        if sample_weight is not None:
            weights = pairing.weights_beside(TABLE["cast"](p[..., 0], kind), sample_weight)
        if self.class_id is None:
            weights = weights[..., None] if weights is not None and weights.ndim else weights
        else:
            y, p = y[..., self.class_id], p[..., self.class_id]
        yes, y = TABLE["cast"](self._said(p), kind), TABLE["cast"](y, kind)
        return [self._sum(cell, y, yes, weights) for cell in self.sums]

    def _said(self, p: Any) -> Any:
        """Whether a yes was said: where the score exceeds the threshold."""
        return TABLE["greater"](p, self.thresholds)

    def _sum(self, cell: str, y: Any, yes: Any, weights: Any) -> Any:
        each = CELLS[cell](y, yes)
        return TABLE["sum"](each if weights is None else each * weights)

    def _require_labels(self, y: np.ndarray[Any, Any]) -> None:
        wrong = (y != 0) & (y != 1)
        if wrong.any():
            at = [int(i) for i in np.argwhere(wrong)[0]]
            raise DataError(
                f"{self.name} takes labels that are 0 or 1, got {y[wrong][0]:g} at {at}: "
                "utils.to_categorical(y) makes rows of them of class numbers"
            )

    def _require_class(self, shape: Shape) -> None:
        which = self.class_id
        if which is not None and shape[-1] is not None and which >= shape[-1]:
            raise ShapeError(
                f"{self.name}: class_id is {which}, and the outputs are of shape {pairing.shown(shape)}"
            )


def _class_number(what: str, value: Any) -> int | None:
    return None if value is None else whole_number(what, value, least=0)


class _Thresholded(Confusion):
    thresholds = Number()
    class_id = Checked(_class_number)

    def __init__(
        self, thresholds: float = 0.5, class_id: int | None = None, name: str | None = None
    ) -> None:
        super().__init__(name)
        self.thresholds, self.class_id = thresholds, class_id


class Precision(_Thresholded):
    """TP / (TP + FP): how much of what was taken for a yes is one.

    Parameters
    ----------
    thresholds : a score above it is a yes.
    class_id : the output that counts, if it is one of several.

    Examples
    --------
    >>> precision = Precision()
    >>> precision.update_state([0, 1, 1, 1], [0.9, 0.2, 0.8, 0.7])
    >>> round(precision.result(), 4)
    0.6667
    """

    sums = ("true_positives", "false_positives")

    def compute(self, true_positives: float, false_positives: float) -> float:
        return float(ratio(true_positives, true_positives + false_positives))


class Recall(_Thresholded):
    """TP / (TP + FN): how much of what is a yes was taken for one.

    The parameters are those of `Precision`.
    """

    sums = ("true_positives", "false_negatives")

    def compute(self, true_positives: float, false_negatives: float) -> float:
        return float(ratio(true_positives, true_positives + false_negatives))


class F1Score(_Thresholded):
    """2 P R / (P + R) = 2 TP / (2 TP + FP + FN): the harmonic mean of precision and recall.

    The parameters are those of `Precision`. Outputs that are several are counted together (Keras:
    average="micro").
    """

    sums = ("true_positives", "false_positives", "false_negatives")

    def compute(self, true_positives: float, *wrong: float) -> float:
        return float(ratio(2 * true_positives, 2 * true_positives + sum(wrong)))


class _Cell(_Thresholded):
    def compute(self, total: float) -> float:
        return total


class TruePositives(_Cell):
    """TP: how often a yes was rightly said. The parameters are those of `Precision`."""

    sums = ("true_positives",)


class FalsePositives(_Cell):
    """FP: how often a yes was wrongly said. The parameters are those of `Precision`."""

    sums = ("false_positives",)


class TrueNegatives(_Cell):
    """TN: how often a no was rightly said. The parameters are those of `Precision`."""

    sums = ("true_negatives",)


class FalseNegatives(_Cell):
    """FN: how often a no was wrongly said. The parameters are those of `Precision`."""

    sums = ("false_negatives",)


class AUC(Confusion):
    r"""The area under a curve on which the threshold moves from 1 down to 0.

    "ROC": the true positive rate TP / (TP + FN) over the false positive rate FP / (FP + TN), by
    trapezoids: the probability that an example of 1 scores higher than one of 0.

    "PR": the precision TP / (TP + FP) over the recall TP / (TP + FN). Between two thresholds TP and FP
    grow in proportion, TP = a + s (TP + FP), and the precision is no straight line. With n = TP + FP,

        ∫ P dTP = s ((TP₁ - TP₀) + a ln(n₁ / n₀)),    s = (TP₁ - TP₀) / (n₁ - n₀),  a = TP₀ - s n₀

    Davis and Goadrich (2006), "The relationship between precision-recall and ROC curves".

    Parameters
    ----------
    num_thresholds : how many thresholds: 0, 1 and evenly spaced ones between. Scores that lie between
        the same two are not told apart, so the area is that of scores which are rounded so.
    curve : "ROC" or "PR".
    from_logits : whether the scores are logits, of which the sigmoid is taken first.

    Examples
    --------
    >>> auc = AUC()
    >>> auc.update_state([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> auc.result()
    0.75
    """

    sums = ("true_positives", "false_positives", "true_negatives", "false_negatives")
    num_thresholds = Checked(lambda what, value: whole_number(what, value, least=2))
    curve = Checked(lambda what, value: one_of(what, value, ("ROC", "PR")))
    from_logits = Checked(truth)

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        from_logits: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name or "auc")
        self.num_thresholds, self.curve, self.from_logits = num_thresholds, curve, from_logits

    @property
    def thresholds(self) -> np.ndarray[Any, Any]:
        """From below 0, where all is a yes, to above 1, where nothing is."""
        inner = np.linspace(0, 1, self.num_thresholds)[1:-1]
        return np.array([-config.epsilon(), *inner, 1 + config.epsilon()])

    def _said(self, p: Any) -> Any:
        """Whether a yes was said, for each threshold: a new last axis."""
        p = TABLE["sigmoid"](p) if self.from_logits else p
        p, limits = pairing.together(p[..., None], self.thresholds.astype(str(p.dtype)))
        return TABLE["greater"](p, limits)

    def _sum(self, cell: str, y: Any, yes: Any, weights: Any) -> Any:
        each = CELLS[cell](y[..., None], yes)
        if weights is not None:
            each = each * weights[..., None] if weights.ndim else each * weights
        return TABLE["sum"](each, axis=tuple(range(each.ndim - 1)))

    def compute(self, tp: Any, fp: Any, tn: Any, fn: Any) -> float:
        """The area under the curve through the points of all thresholds."""
        if np.ndim(tp) == 0:  # nothing has come yet
            return 0.0
        if self.curve == "ROC":
            rates, false = ratio(tp, tp + fn), ratio(fp, fp + tn)
            return float(np.sum((false[:-1] - false[1:]) * (rates[:-1] + rates[1:]) / 2))
        n = tp + fp
        gained, slope = tp[:-1] - tp[1:], ratio(tp[:-1] - tp[1:], n[:-1] - n[1:])
        intercept = tp[1:] - slope * n[1:]
        both = (n[:-1] > 0) & (n[1:] > 0)
        logs = np.log(np.where(both, n[:-1], 1) / np.where(both, n[1:], 1))
        return float(np.sum(ratio(slope * (gained + intercept * logs), tp[1:] + fn[1:])))


__all__ = [
    "AUC",
    "F1Score",
    "FalseNegatives",
    "FalsePositives",
    "Precision",
    "Recall",
    "TrueNegatives",
    "TruePositives",
]
