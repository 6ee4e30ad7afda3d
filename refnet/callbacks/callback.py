"""Callback: the hooks that `fit` calls, named as in Keras, and the list of those in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from refnet.base.objects import Configured
from refnet.errors import ArgumentError

if TYPE_CHECKING:
    from refnet.training.model import Trainable

Logs = dict[str, float]


class Callback(Configured):
    """Override any hook. `logs` holds the loss and the metrics so far; `self.model` is the model.

    Setting ``self.model.stop_training = True`` ends training after the current epoch, or
    after the batch at whose end it was set.
    """

    model: Trainable
    params: dict[str, Any]

    def set_model(self, model: Trainable) -> None:
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

    def __init__(self, callbacks: Sequence[Callback], model: Trainable, **params: Any) -> None:
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


class LambdaCallback(Callback):
    """Hooks given as functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch))``."""

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for hook, function in hooks.items():
            if not hook.startswith("on_") or not hasattr(Callback, hook):
                raise ArgumentError(f"there is no hook named {hook!r}")
            setattr(self, hook, function)

    @classmethod
    def _require_known(cls, given: Iterable[str]) -> None:
        """The hooks are looked at above."""
