"""What is kept and printed of a training: the history, a line for each epoch, a progress bar."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from refnet.base.arguments import one_of
from refnet.callbacks.callback import Callback, Logs


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


def loudness(verbose: Any) -> int | str:
    """How much is printed: 0, 1, 2 or "auto"; False is 0, True is 1."""
    verbose = int(verbose) if isinstance(verbose, bool) else verbose
    checked: int | str = one_of("verbose", verbose, ("auto", 0, 1, 2))
    return checked


def progress(verbose: int | str, stream: TextIO | None = None) -> list[Callback]:
    """The callback that prints: none (0), a bar (1), lines (2); "auto" is 1 on a terminal, else 2."""
    loud = loudness(verbose)
    if loud == 0:
        return []
    moving = loud != 2 and (stream or sys.stdout).isatty()
    return [ProgressBar(stream) if moving else EpochLines(stream)]
