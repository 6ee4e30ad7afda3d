"""What a model cannot learn as it was set up: mistakes that raise no error and spoil a training.

The shapes fit and the numbers are what was asked for; only hardly anybody would ask for them on
purpose. `fit` says each of these sentences once, as a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet import losses, metrics
from refnet.layers import (
    ELU,
    Activation,
    Dense,
    Dropout,
    Flatten,
    LeakyReLU,
    PReLU,
    ReLU,
    Reshape,
    Softmax,
)
from refnet.layers.layer import Layer
from refnet.op import Op

if TYPE_CHECKING:
    from refnet.models.trainer import Trainer

#: the activation that makes the probabilities each cross-entropy takes
CROSS_ENTROPIES: dict[type[losses.Loss], str] = {
    losses.BinaryCrossentropy: "sigmoid",
    losses.CategoricalCrossentropy: "softmax",
    losses.SparseCategoricalCrossentropy: "softmax",
}
PROBABILITIES = {"sigmoid", "softmax", "hard_sigmoid", "binary_step"}
LAYERS: dict[type[Layer], str] = {
    Softmax: "softmax",
    ReLU: "relu",
    LeakyReLU: "leaky_relu",
    ELU: "elu",
    PReLU: "prelu",
}


def warn(model: Trainer, y: Any, said: set[str]) -> None:
    """Warn of what cannot be learned as it is set up, of nothing that was `said` before."""
    for sentence in advice(model, y):
        if sentence not in said:
            said.add(sentence)
            warnings.warn(f"{model.name}: {sentence}", UserWarning, stacklevel=3)


def advice(model: Trainer, y: np.ndarray[Any, Any]) -> list[str]:
    """What is wrong with learning the targets y, each in a sentence that names layer and remedy."""
    layer, activation = output_of(model)
    found = (*_activation(model, activation), *_targets(model, y), *_threshold(model, activation))
    steps = [f"layer {name!r} {sentence}" for name, sentence in _steps(model)]
    return steps + [f"layer {layer!r} {sentence}" for sentence in found]


def output_of(model: Trainer) -> tuple[str, str]:
    """The layer that makes the output, and its activation: "" if it is none of refnet's."""
    for layer in reversed(model.layers):
        f = layer.activation if isinstance(layer, Dense | Activation) else None
        name = f.__name__ if isinstance(f, Op) else LAYERS.get(type(layer), "")
        passes = isinstance(layer, Dropout | Flatten | Reshape)
        if not (passes or (isinstance(layer, Activation) and name == "identity")):
            return layer.name, "linear" if name == "identity" else name
    return model.layers[-1].name, ""


def _steps(model: Trainer) -> Iterator[tuple[str, str]]:
    """Layers whose slope is 0 everywhere."""
    for layer in model.flattened():
        f = layer.activation if isinstance(layer, Dense | Activation) else None
        if isinstance(f, Op) and f.__name__ == "binary_step":
            yield (
                layer.name,
                "ends with binary_step, whose slope is 0: neither it nor what stands before it learns",
            )


def _activation(model: Trainer, activation: str) -> Iterator[str]:
    """Scores where the loss takes probabilities, or the other way round; a single class."""
    name, wanted = model.loss.name, CROSS_ENTROPIES.get(type(model.loss), "")
    if _units(model) == 1 and "softmax" in (activation, wanted):
        yield (
            f"has one unit, and softmax over one unit is always 1 ({activation or 'its output'}, "
            f'{name}): for yes or no use Dense(1, "sigmoid") and binary_crossentropy'
        )
    elif wanted and _from_logits(model) and activation in ("sigmoid", "softmax"):
        yield (
            f"ends with {activation}, and {name} with from_logits=True applies {wanted} once more: "
            "leave out one of the two"
        )
    elif wanted and not _from_logits(model) and activation not in {"", *PROBABILITIES}:
        yield (
            f"ends with {activation}, but {name} takes its output for probabilities: give it "
            f'activation="{wanted}", or give the loss from_logits=True'
        )


def _targets(model: Trainer, y: np.ndarray[Any, Any]) -> Iterator[str]:
    """Targets that are no probabilities, or neither yes nor no, where they are taken for that."""
    low, high = y.min(), y.max()
    given = f"is to learn targets from {low:g} to {high:g}"
    probabilities = isinstance(
        model.loss, losses.BinaryCrossentropy | losses.CategoricalCrossentropy
    )
    if probabilities and (low < 0 or high > 1):
        remedy = "for numbers use mean_squared_error"
        if (low, high) == (-1, 1):
            remedy = "(y + 1) / 2 makes 0 and 1 of -1 and 1"
        yield f"{given}, but {model.loss.name} takes probabilities, 0 to 1: {remedy}"
    elif any(_is_binary(model, m) for m in model.metrics) and not np.isin(y, (0, 1)).all():
        yield (
            f"{given}, but accuracy takes them for yes or no, 1 or 0, and counts all others as wrong: "
            "for numbers use mean_absolute_error, for classes give it one unit for each"
        )


def _threshold(model: Trainer, activation: str) -> Iterator[str]:
    """Scores say yes above 0, probabilities above 0.5."""
    if not _from_logits(model) or activation in PROBABILITIES:
        return
    for metric in model.metrics:
        if _is_binary(model, metric) and getattr(metric, "threshold", 0.5) == 0.5:
            yield (
                f"gives scores (from_logits=True), but {metric.name} takes only those above 0.5 for "
                "a yes: use metrics.BinaryAccuracy(threshold=0)"
            )


def _from_logits(model: Trainer) -> bool:
    return bool(model.loss.options.get("from_logits"))


def _units(model: Trainer) -> int | None:
    return model.output_shape[-1] if model.output_shape else None


def _is_binary(model: Trainer, metric: metrics.Metric) -> bool:
    """Whether a metric compares outputs with a threshold."""
    one = isinstance(metric, metrics.Accuracy) and _units(model) == 1
    return one or isinstance(metric, metrics.BinaryAccuracy)
