"""When to stop before the last epoch: nothing gets better any more, or nothing makes sense any more."""

from __future__ import annotations

import math
from typing import Any

from refnet.base.arguments import number, one_of, truth, whole_number
from refnet.callbacks.callback import Callback, Logs
from refnet.errors import ArgumentError


class TerminateOnNaN(Callback):
    """Stop as soon as the loss is NaN or infinite: nothing can be learned from there."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            print(f"batch {batch}: the loss is {loss}, training stops")
            self.model.stop_training = True


class EarlyStopping(Callback):
    """Stop when a number no longer improves.

    Parameters
    ----------
    monitor : a name in the logs. mode : "min" or "max"; "auto" is max for accuracies, else min.
    min_delta : a change has to be larger than this to count. patience : epochs to wait for one.
    restore_best_weights : go back to the best epoch's weights at the end.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        restore_best_weights: bool = False,
    ) -> None:
        one_of("EarlyStopping: mode", mode, ("auto", "min", "max"))
        if not isinstance(monitor, str):
            raise ArgumentError(f"EarlyStopping: monitor is a name in the logs, got {monitor!r}")
        self.monitor = monitor
        self.min_delta = abs(number("EarlyStopping: min_delta", min_delta))
        self.patience = whole_number("EarlyStopping: patience", patience, least=0)
        self.mode = mode
        self.sign = 1 if mode == "max" or (mode == "auto" and "acc" in monitor) else -1
        self.restore_best_weights = truth(
            "EarlyStopping: restore_best_weights", restore_best_weights
        )

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.best, self.waited, self.stopped_epoch = -math.inf, 0, 0
        self.best_weights: list[Any] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.monitor not in (logs or {}):
            known = ", ".join(logs or {})
            raise ArgumentError(f"EarlyStopping monitors {self.monitor!r}; there is: {known}")
        value = self.sign * (logs or {})[self.monitor]
        if value > self.best + self.min_delta:
            self.best, self.waited = value, 0
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
        else:
            self.waited += 1
            if self.waited >= self.patience:
                self.stopped_epoch, self.model.stop_training = epoch, True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
