"""Loss: a function that says how wrong each prediction is, and how that becomes one number."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from refnet import config
from refnet.autograd.context import name_scope
from refnet.base.names import WithOptions, class_after, snake_case
from refnet.errors import ArgumentError
from refnet.losses import pairing
from refnet.op.shapes import Shape
from refnet.ops import TABLE

Function = Callable[..., Any]


class Loss(WithOptions):
    """A loss function with a reduction over the batch.

    Parameters
    ----------
    reduction : "sum_over_batch_size" (the mean), "sum", or "none" (one loss for each example).
    name : what reports call it.
    options : what the function takes besides y_true and y_pred, such as from_logits=True.

    The mean is Σ w L / n, where n counts the losses and not their weights, as in Keras. With "sum", a
    step of `fit` goes down the gradient of the sum over its batch; what is reported, as in Keras, is
    the mean of these sums (weighted by the sizes of the batches), which grows with the batch size.
    """

    rule: ClassVar[pairing.Rule] = pairing.TARGETS

    def __init__(
        self, *, reduction: str = "sum_over_batch_size", name: str | None = None, **options: Any
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ArgumentError(f"reduction is one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        self._take(options, Loss)
        self.reduction = reduction
        self.name = name or snake_case(type(self).__name__)

    def per_example(self, y_true: Any, y_pred: Any) -> Any:
        """One loss for each example."""
        function = type(self).function
        y_true, y_pred = pairing.meet(self.rule, function.__name__, y_true, y_pred)
        return self._result(function(y_true, y_pred, **self.options), y_pred)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch: the mean of w · L (or the sum, or each)."""
        with name_scope(self.name):
            losses = self.per_example(y_true, y_pred)
            if sample_weight is not None:
                losses = TABLE["multiply"](losses, pairing.weights_beside(losses, sample_weight))
            return REDUCTIONS[self.reduction](losses)

    def targets(self, y: np.ndarray[Any, Any], output_shape: Shape) -> np.ndarray[Any, Any]:
        """The targets y as they will meet a model's output; an error if they do not fit it."""
        name = type(self).function.__name__
        y = pairing.meet_output(self.rule, name, y, output_shape)
        return y.astype(config.floatx(), copy=False)

    def __repr__(self) -> str:
        return f"<loss {self.name}>"


REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "sum_over_batch_size": lambda losses: TABLE["mean"](losses),
    "sum": lambda losses: TABLE["sum"](losses),
    "none": lambda losses: losses,
}


def loss_of(function: Function) -> type[Loss]:
    """The Loss class of a function: MeanSquaredError of mean_squared_error."""
    return class_after(inspect.unwrap(function), Loss, "`{}`, averaged over the batch.")
