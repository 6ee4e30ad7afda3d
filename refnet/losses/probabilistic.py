"""Losses of probabilities: how unlikely the predictions make what is right."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from refnet import config
from refnet.autograd.tensor import Node, Tensor
from refnet.autograd.variable import Variable
from refnet.base.arguments import number
from refnet.errors import DataError, DTypeError
from refnet.losses import pairing
from refnet.losses.loss import Loss, loss_of
from refnet.op.shapes import Shape
from refnet.ops import TABLE


@pairing.meeting(pairing.TARGETS)
def poisson(y_true: Any, y_pred: Any) -> Any:
    r"""L = (1/n) Σ_j (a_j - y_j ln a_j): counts y with expected value a. ε is added to a."""
    log = TABLE["log"](TABLE["add"](y_pred, config.epsilon()))
    return TABLE["mean"](TABLE["subtract"](y_pred, TABLE["multiply"](y_true, log)), axis=-1)


@pairing.meeting(pairing.TARGETS)
def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Any:
    r"""L = -(1/n) Σ_j [y_j ln p_j + (1 - y_j) ln(1 - p_j)]

    y_pred holds probabilities p, or with from_logits=True the scores x of p = σ(x). Probabilities
    that came out of a sigmoid are traced back to its scores, so that nothing is lost near 0 and 1;
    others are kept within [ε, 1 - ε].
    """
    if number("label_smoothing", label_smoothing, least=0, most=1):
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


@pairing.meeting(pairing.TARGETS)
def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Any:
    r"""L = -Σ_j y_j ln p_j, where y is a distribution over the classes (one-hot, as a rule)

    y_pred holds probabilities, or with from_logits=True the scores before softmax. Probabilities
    that came out of a softmax are traced back to its scores.
    """
    if number("label_smoothing", label_smoothing, least=0, most=1):
        classes = y_pred.shape[-1]
        y_true = y_true * (1 - label_smoothing) + label_smoothing / float(classes or 1)
    logits = y_pred if from_logits else _before("softmax", y_pred)
    if logits is not None:
        return TABLE["softmax_cross_entropy"](logits, y_true)[0]
    total = TABLE["sum"](y_pred, axis=-1, keepdims=True)
    log_p = TABLE["log"](_within(TABLE["divide"](y_pred, total)))
    return TABLE["negative"](TABLE["sum"](TABLE["multiply"](y_true, log_p), axis=-1))


@pairing.meeting(pairing.CLASSES)
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
    kind = str(y_true.dtype)
    if not kind.startswith(("int", "uint")):
        raise DTypeError(
            f"sparse_categorical_crossentropy expects class numbers as integers, got {kind}: "
            "convert them with y.astype('int64'), or use categorical_crossentropy for one-hot rows"
        )


def _within(p: Any) -> Any:
    """Probabilities kept within [ε, 1 - ε], so that no logarithm is infinite."""
    return TABLE["clip"](p, minimum=config.epsilon(), maximum=1 - config.epsilon())


def _before(activation: str, p: Any) -> Any:
    """The scores x of p = activation(x), if p is a tensor that was made that way; else None.

    None also if a variable that p was computed from has been assigned since: its scores are gone.
    """
    node = p.node if isinstance(p, Tensor) else None
    if node is None or _outdated(node):
        return None
    if node.op.name == activation and node.attributes.get("axis", -1) == -1:
        return node.inputs[0]
    if node.op.name == "linear" and node.attributes.get("activation") == activation:
        return TABLE["linear"](*node.inputs)[0]
    return None


def _outdated(node: Node) -> bool:
    """Whether a variable that a node read is assigned after it: what it did cannot be done again."""
    read = {t for t in node.inputs if isinstance(t, Variable)}
    if node.symbol is None:
        return any(v.changed_since(node) for v in read)
    later = (n for n in node.symbol.graph.nodes if n.serial > node.serial and n.op.writes)
    return any(read & {v, *v.overlaps} for n in later for v in n.written)


class SparseCategoricalCrossentropy(Loss):
    """`sparse_categorical_crossentropy`, averaged over the batch. Targets are class numbers."""

    rule = pairing.CLASSES

    def targets(self, y: np.ndarray[Any, Any], output_shape: Shape) -> np.ndarray[Any, Any]:
        """The class numbers, which must be integers from 0 to classes - 1, one for each row."""
        _require_integers(y)
        name = type(self).function.__name__
        y = pairing.meet_output(self.rule, name, y, output_shape)
        classes = output_shape[-1] or 0
        wrong = (y < 0) | (y >= classes)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise DataError(
                f"{self.name}: label {y[at]} at {list(at)} is out of range: the model has {classes} "
                f"outputs, so labels are 0 to {classes - 1}"
            )
        return y


Poisson = loss_of(poisson)
BinaryCrossentropy = loss_of(binary_crossentropy)
CategoricalCrossentropy = loss_of(categorical_crossentropy)
SparseCategoricalCrossentropy.function = staticmethod(
    inspect.unwrap(sparse_categorical_crossentropy)
)
