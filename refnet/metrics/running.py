"""The sums of a loss and several metrics, while batches go by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from refnet.errors import ArgumentError
from refnet.metrics.metric import Mean, Metric, added


class Running:
    """What a loss and metrics are over the batches so far, by name. A second "mse" is called "mse_1".

    What is added is read when a result is asked for: on a GPU, reading means waiting.

    >>> running = Running([Mean("size"), Mean("size")])
    >>> running.add(2, [1.0, 6.0, 3.0, 10.0, 2.0])
    >>> running.add(1, [4.0, 0.0, 1.0, 0.0, 2.0])
    >>> running.result()
    {'loss': 2.0, 'size': 1.5, 'size_1': 2.5}
    """

    def __init__(self, metrics: Sequence[Metric], read: Callable[[Any], Any] = np.asarray) -> None:
        self.metrics = [Mean("loss"), *metrics]
        self.read = read
        self.reset()

    def reset(self) -> None:
        """Start over."""
        self.sums: list[list[Any]] = [[0.0] * len(m.sums) for m in self.metrics]
        self._waiting: list[tuple[int, Sequence[Any]]] = []

    def get_state(self) -> list[list[Any]]:
        """The sums, as floats and lists of floats."""
        self._read()
        return [[np.asarray(x, "float64").tolist() for x in sums] for sums in self.sums]

    def set_state(self, sums: Sequence[Sequence[Any]]) -> None:
        """Go on with what `get_state` gave; an ArgumentError if it was that of other metrics."""
        names = [m.name for m in self.metrics]
        if not isinstance(sums, Sequence) or len(sums) != len(names):
            raise ArgumentError(
                f"sums are those of {', '.join(names)}, one list for each, got {sums!r}"
            )
        for metric, parts in zip(self.metrics, sums, strict=True):
            if not isinstance(parts, Sequence) or len(parts) != len(metric.sums):
                expected = ", ".join(metric.sums)
                raise ArgumentError(f"{metric.name} has the sums {expected}, got {parts!r}")
        try:
            known = [[np.asarray(x, "float64")[()] for x in parts] for parts in sums]
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"sums are numbers and lists of numbers, got {sums!r}") from error
        self.reset()
        self.sums = known

    def add(self, count: int, values: Sequence[Any]) -> None:
        """Take in a batch of `count` examples: its mean loss, and what it adds to each metric's sums."""
        self._waiting.append((count, values))

    def result(self) -> dict[str, float]:
        """The mean loss and each metric over all batches so far."""
        self._read()
        names = [m.name for m in self.metrics]
        found = {}
        for i, (metric, sums) in enumerate(zip(self.metrics, self.sums, strict=True)):
            again = names[:i].count(metric.name)
            name = f"{metric.name}_{again}" if again else metric.name
            found[name] = float(metric.compute(*sums))
        return found

    def _read(self) -> None:
        for count, values in self._waiting:
            loss, *rest = [v if isinstance(v, float) else self.read(v) for v in values]
            self.sums[0] = added(self.sums[0], [np.asarray(loss, "float64") * count, float(count)])
            for i, metric in enumerate(self.metrics[1:], start=1):
                here, rest = rest[: len(metric.sums)], rest[len(metric.sums) :]
                self.sums[i] = added(self.sums[i], here)
        self._waiting.clear()
