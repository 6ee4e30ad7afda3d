"""Where a training stands, as data: what `fit` needs to go on from there, besides the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from refnet import random
from refnet.base.arguments import whole_number
from refnet.errors import ArgumentError
from refnet.metrics import Running

FIELDS = ("epoch", "batch", "order", "sums", "random")


class Position:
    """An epoch, a batch within it, the order of the examples, the sums of the metrics so far.

    Attributes
    ----------
    epoch, batch : the step that comes next; both count from 0.
    order : the key of this epoch's order of the examples; None before it is drawn, and without one.
    running : the sums of the loss and the metrics over the batches of this epoch.
    """

    def __init__(self, running: Running, epoch: int = 0) -> None:
        self.epoch, self.batch = epoch, 0
        self.order: list[int] | None = None
        self.running = running

    def begin(self, epoch: int) -> None:
        """The next epoch, before its first batch."""
        self.epoch, self.batch, self.order = epoch, 0, None
        self.running.reset()

    def as_data(self) -> dict[str, Any]:
        """All of it, and where the random numbers stand: whole numbers, floats and lists, for JSON."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "order": self.order,
            "sums": self.running.get_state(),
            "random": [*random.get_state()],
        }

    def go_to(self, data: Mapping[str, Any], steps: int) -> None:
        """Take up what `as_data` wrote, in epochs of `steps` steps; an ArgumentError for all else."""
        if not isinstance(data, Mapping) or {*data} != {*FIELDS}:
            raise ArgumentError(
                f"position is what model.position was, a dict of {', '.join(FIELDS)}, got {data!r}"
            )
        epoch = whole_number("position: epoch", data["epoch"], least=0)
        batch = whole_number("position: batch", data["batch"], least=0)
        if batch > steps:
            raise ArgumentError(
                f"position: batch is {batch}, and an epoch has {steps} steps: it was taken with other "
                "data or another batch_size"
            )
        order = None if data["order"] is None else _key("order", data["order"])
        drawn = _key("random", data["random"])
        self.running.set_state(data["sums"])
        random.set_state(drawn)
        self.epoch, self.batch, self.order = epoch, batch, order


def _key(name: str, key: Any) -> list[int]:
    if not isinstance(key, Sequence) or len(key) != 2:
        raise ArgumentError(f"position: {name} is two whole numbers, got {key!r}")
    return [whole_number(f"position: {name}", part, least=0) for part in key]
