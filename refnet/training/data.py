"""What `fit` is given, checked and cut into batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from refnet import config
from refnet.autograd.tensor import Tensor
from refnet.base.dtypes import native
from refnet.errors import ArgumentError, DataError, DTypeError
from refnet.losses import pairing
from refnet.random import order_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Examples:
    """Inputs x, targets y (None for prediction) and weights (None: all 1), one row an example."""

    x: Array
    y: Array | None
    weights: Array | None

    def __len__(self) -> int:
        return len(self.x)

    def batches(
        self, size: int, key: Sequence[int] | None = None, first: int = 0
    ) -> Iterator[tuple[Array, Array, Array]]:
        """(x, y, weights) of each batch from number `first` on; the last one may be smaller.

        In the order that belongs to a key of random numbers, if there is one.
        """
        order = None if key is None else order_of(key, len(self))
        for start in range(first * size, len(self), size):
            rows = slice(start, start + size) if order is None else order[start : start + size]
            y = self.x[:0] if self.y is None else self.y[rows]
            weights = NO_WEIGHTS if self.weights is None else self.weights[rows]
            yield self.x[rows], y, weights

    def split(self, share: float) -> tuple[Examples, Examples]:
        """All but the last `share` of the examples, and these, as Keras' validation_split does."""
        if not (isinstance(share, (int, float)) and 0 < share < 1):
            raise ArgumentError(f"validation_split is between 0 and 1, got {share!r}")
        at = int(len(self) * (1 - share))
        if not 0 < at < len(self):
            raise ArgumentError(f"validation_split={share} of {len(self)} examples leaves none")
        return self._rows(slice(None, at)), self._rows(slice(at, None))

    def weighed_by_class(
        self, class_weight: Mapping[int, float], losses_shape: tuple[int, ...], outputs: int | None
    ) -> Examples:
        """The same examples, each weighed by its class too; in a sequence, each element by its own.

        `losses_shape` is the shape of the losses, and of the weights; `outputs` the length of a row.
        """
        assert self.y is not None
        weights = _class_weights(class_weight, self.y, losses_shape, outputs)
        if self.weights is not None:
            weights = pairing.weights_beside(weights, self.weights) * weights
        return replace(self, weights=weights)

    def _rows(self, rows: slice) -> Examples:
        y = None if self.y is None else self.y[rows]
        return Examples(self.x[rows], y, None if self.weights is None else self.weights[rows])


NO_WEIGHTS = np.zeros(0, "float32")


def examples(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
) -> Examples:
    """Check data and convert it: floats to floatx, class numbers to int64; integers in x stay.

    Raises DataError for empty data, uneven lengths, NaN or infinities, DTypeError for what is not
    numbers. Nothing has been computed then.
    """
    x = _numbers("x", x)
    if x.ndim == 0 or len(x) == 0:
        raise DataError(f"x holds no examples: its shape is {x.shape}")
    if x.dtype.kind == "f":
        x = _finite("x", x.astype(config.floatx(), copy=False))
    if y is not None:
        y = _numbers("y", y)
        _same_length("y", y, x)
        kind = "int64" if y.dtype.kind in "iu" else config.floatx()
        y = _finite("y", y.astype(kind, copy=False))
    weights = None
    if sample_weight is not None:
        weights = _finite("sample_weight", _numbers("sample_weight", sample_weight))
        if weights.ndim == 0:  # one number for all
            weights = np.full(len(x), weights)
        _same_length("sample_weight", weights, x)
        weights = weights.astype(config.floatx(), copy=False)
    return Examples(x, y, weights)


def _numbers(name: str, values: Any) -> Array:
    if isinstance(values, Tensor):
        return values.numpy()
    if np.ma.is_masked(values):
        raise DataError(f"{name} is masked: leave those examples out, or give them sample_weight 0")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{name} is ragged: its rows have different lengths") from error
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"{name} holds {array.dtype}, expected numbers")
    return native(array)


def _finite(name: str, array: Array) -> Array:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = ~np.isfinite(array)
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{name} holds {int(bad.sum())} values that are NaN or infinite, the first at {list(at)}: "
            f"{array[at]}. Nothing can be learned from them: remove or replace them"
        )
    return array


def _same_length(name: str, array: Array, x: Array) -> None:
    if array.ndim == 0 or len(array) != len(x):
        got = "a single number" if array.ndim == 0 else f"{len(array)}"
        raise DataError(f"x has {len(x)} examples, {name} has {got}")


def _class_weights(
    class_weight: Mapping[Any, Any], y: Array, losses_shape: tuple[int, ...], outputs: int | None
) -> Array:
    """The weight of the class of each target; 1 for a class without one."""
    if not isinstance(class_weight, Mapping):
        raise ArgumentError(f"class_weight maps class numbers to weights, got {class_weight!r}")
    if not all(isinstance(w, Real) and math.isfinite(w) for w in class_weight.values()):
        raise DataError(f"class_weight holds what is no finite number: {dict(class_weight)}")
    if not losses_shape:
        raise DataError(
            "class_weight needs an axis of outputs: there is none to be one for each class"
        )
    rows = len(losses_shape) < y.ndim
    classes = (y.shape[-1] if rows else outputs) or 0
    for key in class_weight:
        whole = isinstance(key, Real) and float(key).is_integer()
        if not whole or (classes > 1 and not 0 <= key < classes):
            among = f", 0 to {classes - 1}" if classes > 1 else ""
            raise ArgumentError(f"class_weight: {key!r} is no class number{among}")
    numbers = _class_numbers(y, rows)
    weights = np.ones(losses_shape, config.floatx())
    for key, weight in class_weight.items():
        weights[numbers == key] = weight
    return weights


def _class_numbers(y: Array, rows: bool) -> Array:
    """The class of each target: the number itself, alone or in a column, or where its row is largest."""
    if not rows or y.shape[-1] == 1:
        numbers = y[..., 0] if rows else y
        if (numbers != np.floor(numbers)).any():
            raise DataError("class_weight needs targets that are class numbers, got fractions")
        return numbers
    largest = y.max(-1, keepdims=True)
    one_class = ((y == largest).sum(-1) == 1) & (y >= 0).all(-1) & (y <= 1).all(-1)
    if not one_class.all():
        at = tuple(int(i) for i in np.argwhere(~one_class)[0])
        raise DataError(
            f"class_weight needs one class for each example: row {list(at)} of the targets is {y[at]}. "
            "Where there are several, or none, give sample_weight"
        )
    return y.argmax(-1)
