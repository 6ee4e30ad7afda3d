"""Small helpers a Keras user expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from refnet import config
from refnet.errors import DataError
from refnet.random import set_seed as set_random_seed

__all__ = ["multi_hot", "set_random_seed", "to_categorical"]


def to_categorical(labels: Any, num_classes: int | None = None) -> np.ndarray[Any, Any]:
    """Class numbers as one-hot rows.

    >>> to_categorical([0, 2], 3)
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    labels = np.asarray(labels)
    if labels.size and labels.dtype.kind not in "biu":
        raise DataError(f"class numbers are integers, got {labels.dtype}")
    classes = num_classes or (int(labels.max()) + 1 if labels.size else 0)
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise DataError(f"labels are 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
    return (labels[..., None] == np.arange(classes)).astype(config.floatx())


def multi_hot(label_sets: Sequence[Sequence[int]], num_classes: int) -> np.ndarray[Any, Any]:
    """Sets of class numbers as rows that are 1 at each of them: classes that do not exclude each other.

    >>> multi_hot([[0, 1], [0], [2, 1]], 3)
    array([[1., 1., 0.],
           [1., 0., 0.],
           [0., 1., 1.]], dtype=float32)
    """
    rows = np.zeros((len(label_sets), num_classes), config.floatx())
    for row, labels in zip(rows, label_sets, strict=True):
        if any(not 0 <= label < num_classes for label in labels):
            raise DataError(f"labels are 0 to {num_classes - 1}, got {list(labels)}")
        row[list(labels)] = 1
    return rows
