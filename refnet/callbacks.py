"""Callbacks: what happens around training. `fit` calls their hooks, named as in Keras."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from refnet.errors import ArgumentError

if TYPE_CHECKING:
    from refnet.models import Sequential

Logs = dict[str, float]


class Callback:
    """Override any hook. `logs` holds the loss and the metrics so far; `self.model` is the model.

    Setting ``self.model.stop_training = True`` ends training after the current epoch.
    """

    model: Sequential
    params: dict[str, Any]

    def set_model(self, model: Sequential) -> None:
        """Called first, with the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Called with {"epochs", "steps", "verbose"}."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before each epoch; they count from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After each epoch, with its mean loss and metrics, and val_... of the validation data."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before each step; they count from 0 within an epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After each step, with the means over the epoch so far."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before an evaluation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After an evaluation, with its loss and metrics."""


class Callbacks:
    """Several callbacks called as one. `each_batch` is False if none of them looks at batches."""

    def __init__(self, callbacks: Sequence[Callback], model: Sequential, **params: Any) -> None:
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise ArgumentError(
                    f"a callback is an object of a Callback class, got {callback!r}"
                )
            callback.set_model(model)
            callback.set_params(params)
        self.callbacks = list(callbacks)
        hooks = "on_train_batch_begin", "on_train_batch_end"
        self.each_batch = any(
            getattr(type(c), hook) is not getattr(Callback, hook) or hook in vars(c)
            for c in callbacks
            for hook in hooks
        )

    def __call__(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)


class History(Callback):
    """`history` holds the loss and the metrics of every epoch; `fit` returns it."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class EpochLines(Callback):
    """What `fit` prints into a file or with verbose=2: one clean line an epoch."""

    begin, end = "", "\n"

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch, self.start = epoch, time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        seconds = time.perf_counter() - self.start
        self.stream.write(self.begin + self._line(f"{seconds:.2f} s", logs) + "\n")
        self.stream.flush()

    def _line(self, middle: str, logs: Logs | None) -> str:
        epochs = self.params["epochs"]
        shown = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        return f"epoch {self.epoch + 1:{len(str(epochs))}}/{epochs}  {middle}  {shown}"


class ProgressBar(EpochLines):
    """What `fit` prints on a terminal: a bar that fills during each epoch, then its line."""

    begin = "\r\x1b[K"  # back to the start of the line, and clear it
    width = 24
    shown = 0.0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        now = time.perf_counter()
        if now - self.shown > 0.1:
            self.shown = now
            done = (batch + 1) / self.params["steps"]
            bar = "━" * round(self.width * done)
            self.stream.write(self.begin + self._line(f"{bar:<{self.width}} {done:4.0%}", logs))
            self.stream.flush()


def progress(verbose: int | str, stream: TextIO | None = None) -> list[Callback]:
    """The callback that prints: none (0), a bar (1), lines (2); "auto" is 1 on a terminal, else 2."""
    if verbose == 0:
        return []
    moving = verbose != 2 and (stream or sys.stdout).isatty()
    return [ProgressBar(stream) if moving else EpochLines(stream)]


class LambdaCallback(Callback):
    """Hooks given as functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch))``."""

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for hook, function in hooks.items():
            if not hook.startswith("on_") or not hasattr(Callback, hook):
                raise ArgumentError(f"there is no hook named {hook!r}")
            setattr(self, hook, function)


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
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(f"EarlyStopping: mode is auto, min or max, got {mode!r}")
        self.monitor, self.min_delta, self.patience = monitor, abs(min_delta), patience
        self.sign = 1 if mode == "max" or (mode == "auto" and "acc" in monitor) else -1
        self.restore_best_weights = restore_best_weights

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
