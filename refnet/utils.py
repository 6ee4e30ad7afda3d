"""Small helpers a Keras user expects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from refnet import config
from refnet.errors import ArgumentError, DataError, unknown_name
from refnet.random import set_seed as set_random_seed

__all__ = ["multi_hot", "set_random_seed", "to_categorical"]

Array = np.ndarray[Any, Any]


def to_categorical(
    labels: Any, num_classes: int | None = None, classes: Sequence[Any] | None = None
) -> Array:
    """One-hot rows: 1 in the column of the class, 0 elsewhere.

    Parameters
    ----------
    labels : class numbers 0, 1, ...; or, with `classes`, names. Any shape; a last axis of length 1
        is dropped, as in Keras.
    num_classes : how many columns; without it, as many as the largest number needs.
    classes : the names of the classes, in the order of the columns.

    Returns
    -------
    Rows of floatx, of shape (*labels.shape, num_classes).

    >>> to_categorical([0, 2], 3)
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    >>> to_categorical(["blue", "red"], classes=["red", "green", "blue"])
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    numbers = _class_numbers(labels, classes)
    if numbers.ndim > 1 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
    return _one_hot(numbers, _columns(numbers, num_classes, classes))


def multi_hot(
    label_sets: Iterable[Iterable[Any]],
    num_classes: int | None = None,
    classes: Sequence[Any] | None = None,
) -> Array:
    """Multi-hot rows: 1 in the column of each class an example has, for classes that do not exclude
    each other.

    `label_sets` holds one collection of labels for each example, maybe an empty one. `num_classes` and
    `classes` are those of `to_categorical`.

    >>> multi_hot([["A", "B"], ["A"], ["C", "B"], ["B"]], classes=["A", "B", "C"])
    array([[1., 1., 0.],
           [1., 0., 0.],
           [0., 1., 1.],
           [0., 1., 0.]], dtype=float32)
    >>> multi_hot([[0, 1], []], num_classes=3)
    array([[1., 1., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    sets = []
    for number, labels in enumerate(label_sets):
        if isinstance(labels, str) or not isinstance(labels, Iterable):
            raise DataError(
                f"multi_hot takes a collection of labels for each example, got {labels!r} for example "
                f"{number}: [{labels!r}]. Where each has one label, use to_categorical"
            )
        sets.append(_class_numbers(list(labels), classes))
    columns = _columns(np.concatenate([[], *sets]), num_classes, classes)
    rows = [_one_hot(numbers, columns).max(axis=0, initial=0) for numbers in sets]
    return np.array(rows, config.floatx()).reshape(len(sets), columns)


def _class_numbers(labels: Any, classes: Sequence[Any] | None) -> Array:
    """Labels as class numbers: those of the names in `classes`, if there are any."""
    try:
        labels = np.asarray(labels)
    except ValueError as error:
        raise DataError(
            "labels is ragged: where examples have several labels each, use multi_hot"
        ) from error
    if classes is not None and labels.size:
        column = {name: number for number, name in enumerate(classes)}
        for name in labels.ravel().tolist():
            if name not in column:
                raise unknown_name("class", name, map(str, classes))
        return np.reshape([column[name] for name in labels.ravel().tolist()], labels.shape)
    if labels.size and labels.dtype.kind in "USO":
        raise DataError(
            f"labels that are names ({labels.ravel()[0]}) need classes=[...], the names in the order "
            f"of the columns"
        )
    if labels.size and labels.dtype.kind not in "biu":
        raise DataError(f"class numbers are integers, got {labels.dtype}")
    return labels.astype(np.int64)


def _columns(numbers: Array, num_classes: int | None, classes: Sequence[Any] | None) -> int:
    """How many classes there are; all numbers have to be among them."""
    if classes is not None:
        if len(set(classes)) < len(classes):
            raise ArgumentError(f"classes names one twice: {list(classes)}")
        if num_classes not in (None, len(classes)):
            raise ArgumentError(f"num_classes is {num_classes}, but classes has {len(classes)}")
        return len(classes)
    largest, smallest = (int(numbers.max()), int(numbers.min())) if numbers.size else (-1, 0)
    columns = largest + 1 if num_classes is None else num_classes
    if smallest < 0 or largest >= columns:
        raise DataError(f"labels are 0 to {columns - 1}, got {smallest} to {largest}")
    return columns


def _one_hot(numbers: Array, columns: int) -> Array:
    return (numbers[..., None] == np.arange(columns)).astype(config.floatx())
