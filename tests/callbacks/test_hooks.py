"""A fit within a fit, and weights that are not the last."""

from __future__ import annotations

import numpy as np
import pytest

from refnet import Sequential, callbacks, optimizers
from refnet.callbacks import Callback, EarlyStopping
from refnet.layers import Dense, Input
from tests.small import X, Y, compiled


class Scripted(Callback):
    """Puts numbers of our choice into the logs, and copies the weights of each epoch."""

    def __init__(self, values):
        self.values, self.weights = values, []

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.values[epoch]
        self.weights.append([np.array(w) for w in self.model.get_weights()])


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end", "on_train_begin"])
def test_each_fit_returns_its_own_history(hook):
    model = compiled(Input((3,)), Dense(1), optimizer=optimizers.SGD(0.0))
    inner = []

    def fit_again(*_):
        inner.append(model.fit(X, Y + 9, epochs=2, verbose=0))

    history = model.fit(
        X, Y, epochs=3, verbose=0, callbacks=[callbacks.LambdaCallback(**{hook: fit_again})]
    )
    loss = model.evaluate(X, Y, verbose=0)
    assert history.history["loss"] == pytest.approx([loss] * 3)
    assert model.history is history
    other = model.evaluate(X, Y + 9, verbose=0)
    assert all(one.history["loss"] == pytest.approx([other] * 2) for one in inner)
    assert len(inner) == (1 if hook == "on_train_begin" else 3)


def test_the_best_weights_are_not_the_last():
    """Views of the weights would follow them, those of the callback and those of a test alike."""
    rng = np.random.default_rng(0)
    model = Sequential([Input((3,)), Dense(2)])
    model.compile("sgd", "mse")
    scripted, stopping = Scripted([2, 1, 3]), EarlyStopping(patience=2, restore_best_weights=True)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    model.fit(x, y, epochs=3, callbacks=[scripted, stopping], verbose=0)
    _, best, last = scripted.weights
    assert (best[0] != last[0]).any()
    for found, expected in zip(model.get_weights(), best, strict=True):
        np.testing.assert_array_equal(found, expected)
