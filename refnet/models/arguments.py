"""What `fit`, `evaluate` and `predict` are given besides data, checked; and how they return numbers."""

from __future__ import annotations

from typing import Any

from refnet.base.arguments import truth, whole_number
from refnet.callbacks import Callback, Logs
from refnet.errors import ArgumentError


def batch_size_of(given: int | None) -> int:
    """Keras' default where none is given."""
    return 32 if given is None else whole_number("batch_size", given)


def callbacks_of(given: Any) -> list[Callback]:
    """A list of callbacks; one alone stands for itself."""
    if isinstance(given, Callback):
        return [given]
    if not isinstance(given or (), (list, tuple)):
        raise ArgumentError(f"callbacks is a list of callback objects, got {given!r}")
    return [*(given or ())]


def require_for_fit(epochs: Any, initial_epoch: Any, shuffle: Any, validation_data: Any) -> None:
    """Raise an error for what `fit` cannot count with."""
    whole_number("epochs", epochs, least=0)
    whole_number("initial_epoch", initial_epoch, least=0)
    truth("shuffle", shuffle)
    pair = validation_data is None or (
        isinstance(validation_data, (tuple, list)) and len(validation_data) in (2, 3)
    )
    if not pair:
        raise ArgumentError("validation_data is (x, y) or (x, y, sample_weight)")


def shown(logs: Logs, return_dict: bool) -> Any:
    """The logs; or their values, and one alone as itself."""
    values = list(logs.values())
    return logs if return_dict else values[0] if len(values) == 1 else values
