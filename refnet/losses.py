r"""Losses: one number that says how wrong the predictions are.

Each function takes what is right, y_true, and what the network says, y_pred, as tensors or arrays,
and returns one loss for each example. The class of the same name (``MeanSquaredError`` for
`mean_squared_error`) averages them over the batch, weighted if asked to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from refnet import config
from refnet.elsewhere import explain
from refnet.errors import ArgumentError, DataError, DTypeError, ShapeError, unknown_name
from refnet.naming import class_after, look_up, snake_case
from refnet.ops import TABLE
from refnet.scope import name_scope
from refnet.tensor import Tensor, tensor

Function = Callable[..., Any]


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    r"""L = (1/n) Σ_j (a_j - y_j)²"""
    y_true, y_pred = _beside(y_pred, y_true), _beside(None, y_pred)
    return TABLE["mean_squared_error"](y_true, y_pred)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    r"""L = (1/n) Σ_j |a_j - y_j|"""
    y_true, y_pred = _beside(y_pred, y_true), _beside(None, y_pred)
    return TABLE["mean"](TABLE["abs"](TABLE["subtract"](y_pred, y_true)), axis=-1)


def quadratic_cost(y_true: Any, y_pred: Any) -> Any:
    r"""L = ½ ‖y - a‖², so that the mean over n examples is the course's C = 1/(2n) Σ_x ‖y(x) - a(x)‖²"""
    return TABLE["multiply"](sum_squared_residuals(y_true, y_pred), 0.5)


def sum_squared_residuals(y_true: Any, y_pred: Any) -> Any:
    r"""L = Σ_j (y_j - a_j)²"""
    y_true, y_pred = _beside(y_pred, y_true), _beside(None, y_pred)
    return TABLE["sum"](TABLE["square"](TABLE["subtract"](y_true, y_pred)), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Any:
    r"""L = (1/n) Σ_j (a_j - y_j ln a_j): counts y with expected value a. ε is added to a."""
    y_true, y_pred = _beside(y_pred, y_true), _beside(None, y_pred)
    log = TABLE["log"](TABLE["add"](y_pred, config.epsilon()))
    return TABLE["mean"](TABLE["subtract"](y_pred, TABLE["multiply"](y_true, log)), axis=-1)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Any:
    r"""L = -(1/n) Σ_j [y_j ln p_j + (1 - y_j) ln(1 - p_j)]

    y_pred holds probabilities p, or with from_logits=True the scores x of p = σ(x). Probabilities
    that came out of a sigmoid are traced back to its scores, so that nothing is lost near 0 and 1;
    others are kept within [ε, 1 - ε].
    """
    y_true, y_pred = _beside(y_pred, y_true), _beside(None, y_pred)
    if label_smoothing:
        y_true = y_true * (1 - label_smoothing) + 0.5 * label_smoothing
    logits = y_pred if from_logits else _before("sigmoid", y_pred)
    if logits is not None:
        return TABLE["mean"](TABLE["sigmoid_cross_entropy"](logits, y_true), axis=-1)
    p = _within(y_pred)
    log_p, log_q = TABLE["log"](p), TABLE["log"](TABLE["subtract"](1.0, p))
    likelihood = TABLE["add"](
        TABLE["multiply"](y_true, log_p), TABLE["multiply"](TABLE["subtract"](1.0, y_true), log_q)
    )
    return TABLE["negative"](TABLE["mean"](likelihood, axis=-1))


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Any:
    r"""L = -Σ_j y_j ln p_j, where y is a distribution over the classes (one-hot, as a rule)

    y_pred holds probabilities, or with from_logits=True the scores before softmax. Probabilities
    that came out of a softmax are traced back to its scores.
    """
    y_true, y_pred = _beside(y_pred, y_true), _beside(None, y_pred)
    if label_smoothing:
        classes = np.shape(y_pred)[-1] if not isinstance(y_pred, Tensor) else y_pred.shape[-1]
        y_true = y_true * (1 - label_smoothing) + label_smoothing / float(classes or 1)
    logits = y_pred if from_logits else _before("softmax", y_pred)
    if logits is not None:
        return TABLE["softmax_cross_entropy"](logits, y_true)[0]
    total = TABLE["sum"](y_pred, axis=-1, keepdims=True)
    log_p = TABLE["log"](_within(TABLE["divide"](y_pred, total)))
    return TABLE["negative"](TABLE["sum"](TABLE["multiply"](y_true, log_p), axis=-1))


def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Any:
    r"""L = -ln p_c, where c, the number of the right class, is an integer

    y_pred holds probabilities, or with from_logits=True the scores before softmax. Probabilities
    that came out of a softmax are traced back to its scores; of others the logarithm is taken,
    which is a valid score too.
    """
    _require_integers(y_true)
    logits = y_pred if from_logits else _before("softmax", y_pred)
    if logits is None:
        logits = TABLE["log"](_within(y_pred))
    return TABLE["sparse_softmax_cross_entropy"](logits, y_true)[0]


def _require_integers(y_true: Any) -> None:
    kind = y_true.dtype if isinstance(y_true, Tensor) else str(np.asarray(y_true).dtype)
    if not kind.startswith(("int", "uint")):
        raise DTypeError(
            f"sparse_categorical_crossentropy expects class numbers as integers, got {kind}: "
            "convert them with y.astype('int64'), or use categorical_crossentropy for one-hot rows"
        )


def _within(p: Any) -> Any:
    """Probabilities kept within [ε, 1 - ε], so that no logarithm is infinite."""
    return TABLE["clip"](p, minimum=config.epsilon(), maximum=1 - config.epsilon())


def _before(activation: str, p: Any) -> Any:
    """The scores x of p = activation(x), if p is a tensor that was made that way; else None."""
    node = p.node if isinstance(p, Tensor) else None
    if node is None:
        return None
    if node.op.name == activation and node.attributes.get("axis", -1) == -1:
        return node.inputs[0]
    if node.op.name == "linear" and node.attributes.get("activation") == activation:
        return TABLE["linear"](*node.inputs)[0]
    return None


class Loss:
    """A loss function with a reduction over the batch.

    Parameters
    ----------
    reduction : "sum_over_batch_size" (the mean), "sum", or "none" (one loss for each example).
    name : what reports call it.
    options : what the function takes besides y_true and y_pred, such as from_logits=True.
    """

    function: ClassVar[Function]

    def __init__(
        self, *, reduction: str = "sum_over_batch_size", name: str | None = None, **options: Any
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ArgumentError(f"reduction is one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        known = list(inspect.signature(type(self).function).parameters)[2:]
        for option in options:
            if option not in known:
                raise unknown_name(f"option of {type(self).__name__}", option, known)
        self.reduction = reduction
        self.name = name or snake_case(type(self).__name__)
        self.options = options

    def per_example(self, y_true: Any, y_pred: Any) -> Any:
        """One loss for each example."""
        return type(self).function(y_true, y_pred, **self.options)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch: the mean of w · L (or the sum, or each)."""
        y_pred = _beside(None, y_pred)
        with name_scope(self.name):
            losses = self.per_example(_beside(y_pred, y_true), y_pred)
            if sample_weight is not None:
                w = _beside(y_pred, sample_weight)
                # one for each example, whatever else the losses have axes for
                shape = (*w.shape[: losses.ndim], *(1,) * (losses.ndim - w.ndim))
                losses = TABLE["multiply"](losses, w if w.shape == shape else w.reshape(shape))
            return REDUCTIONS[self.reduction](losses)

    def check(self, y: np.ndarray[Any, Any], output_shape: tuple[int | None, ...]) -> None:
        """Raise a clear error if the targets y do not fit a model's output, before training starts."""
        if y.shape[1:] != output_shape[1:]:
            classes = y.ndim == len(output_shape) - 1 and y.dtype.kind in "iu"
            hint = ": for class numbers use the sparse loss, or utils.to_categorical(y)"
            raise ShapeError(
                f"{self.name} expects targets of shape {_batch(output_shape)} to match the model's "
                f"output, got {y.shape}" + (hint if classes else "")
            )

    def __repr__(self) -> str:
        return f"<loss {self.name}>"


def _beside(y_pred: Any, values: Any) -> Any:
    """Lists and NumPy arrays as what y_pred is: an array, or a tensor on the same backend."""
    if isinstance(values, Tensor):
        return values
    return (
        tensor(values, backend=y_pred.backend) if isinstance(y_pred, Tensor) else np.asarray(values)
    )


REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "sum_over_batch_size": lambda losses: TABLE["mean"](losses),
    "sum": lambda losses: TABLE["sum"](losses),
    "none": lambda losses: losses,
}


def _batch(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join(['batch', *map(str, shape[1:])])})"


class SparseCategoricalCrossentropy(Loss):
    """`sparse_categorical_crossentropy`, averaged over the batch. Targets are class numbers."""

    function = sparse_categorical_crossentropy

    def check(self, y: np.ndarray[Any, Any], output_shape: tuple[int | None, ...]) -> None:
        """Targets must be integers from 0 to classes - 1, one for each row of the output."""
        _require_integers(y)
        if y.shape[1:] != output_shape[1:-1]:
            one_hot = y.shape[1:] == output_shape[1:]
            hint = ": for one-hot rows use categorical_crossentropy" if one_hot else ""
            raise ShapeError(
                f"{self.name} expects class numbers of shape {_batch(output_shape[:-1])} for outputs "
                f"{_batch(output_shape)}, got {y.shape}{hint}"
            )
        classes = output_shape[-1] or 0
        wrong = (y < 0) | (y >= classes)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise DataError(
                f"{self.name}: label {y[at]} at {list(at)} is out of range: the model has {classes} "
                f"outputs, so labels are 0 to {classes - 1}"
            )


def _class_of(function: Function) -> type[Loss]:
    """The Loss class of a function: MeanSquaredError of mean_squared_error."""
    return class_after(function, Loss, "`{}`, averaged over the batch.")


MeanSquaredError = _class_of(mean_squared_error)
MeanAbsoluteError = _class_of(mean_absolute_error)
QuadraticCost = _class_of(quadratic_cost)
SumSquaredResiduals = _class_of(sum_squared_residuals)
Poisson = _class_of(poisson)
BinaryCrossentropy = _class_of(binary_crossentropy)
CategoricalCrossentropy = _class_of(categorical_crossentropy)
SparseCategoricalCrossentropy.function = staticmethod(sparse_categorical_crossentropy)

LOSSES: dict[str, type[Loss]] = {
    **{
        c.function.__name__: c
        for c in (
            *(MeanSquaredError, MeanAbsoluteError, QuadraticCost, SumSquaredResiduals, Poisson),
            *(BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy),
        )
    },
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
}


def get(identifier: str | Loss | Function) -> Loss:
    """The loss of this name; a function (y_true, y_pred) -> loss of each example becomes a Loss."""
    found = look_up("loss", identifier, LOSSES)
    return found if isinstance(found, Loss) else _class_of(found)()


explain(__name__)
