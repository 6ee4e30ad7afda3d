"""A training that is interrupted goes on from where it stood, and ends with the same bits."""

from __future__ import annotations

import json

import numpy as np
import pytest

import refnet
from refnet.callbacks import Callback
from refnet.errors import ArgumentError, NotReadyError
from refnet.layers import Dense, Dropout, Input

RNG = np.random.default_rng(0)
X = RNG.normal(0, 1, (22, 3)).astype("float32")
Y = (RNG.uniform(0, 1, (22, 1)) > 0.5).astype("float32")
BATCH, EPOCHS = 5, 3
STEPS = 5
backends = pytest.mark.parametrize("backend", ["numpy", "loopback"])


def made(seed=1, backend="numpy", optimizer="adam", **compiled):
    refnet.utils.set_random_seed(seed)
    model = refnet.Sequential(
        [Input((3,)), Dense(6, "tanh"), Dropout(0.4), Dense(1, "sigmoid"), Dropout(0.1, seed=3)]
    )
    metrics = ["accuracy", "auc", refnet.metrics.Precision(name="accuracy")]
    model.compile(optimizer, "binary_crossentropy", metrics=metrics, **compiled)
    return model.to(backend)


def kept(model):
    """All that a training changes, besides its position."""
    memory = [slot for slots in model.optimizer.memory.values() for slot in slots]
    variables = [*model.weights, *model.state, *memory]
    return [np.array(v.numpy()) for v in variables], model.optimizer.iterations


def put_back(model, values, iterations):
    assert model.parameters is not None
    model.optimizer.build([model.parameters.theta])
    memory = [slot for slots in model.optimizer.memory.values() for slot in slots]
    variables = [*model.weights, *model.state, *memory]
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    model.optimizer.iterations = iterations


class Watch(Callback):
    """Notes where the training stands, at a hook; stops there if it is to."""

    def __init__(self, epoch, batch, hook="on_train_batch_end", stop=True):
        self.epoch, self.batch, self.stop, self.now = epoch, batch, stop, 0
        self.found = None
        setattr(self, hook, self._batch if "batch" in hook else self._epoch)

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def _batch(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.batch):
            self.take()

    def _epoch(self, epoch, logs=None):
        if epoch == self.epoch:
            self.take()

    def take(self):
        self.found = json.loads(json.dumps(self.model.position)), *kept(self.model)
        self.model.stop_training = self.stop


@backends
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize(
    ("hook", "epoch", "batch", "stands"),
    [
        ("on_train_batch_end", 0, 0, (0, 1)),
        ("on_train_batch_end", 1, 2, (1, 3)),
        ("on_train_batch_end", 1, STEPS - 1, (1, STEPS)),
        ("on_train_batch_begin", 2, 3, (2, 3)),
        ("on_epoch_end", 1, None, (2, 0)),
        ("on_epoch_begin", 1, None, (1, 0)),
    ],
)
def test_it_ends_with_the_same_bits(backend, shuffle, optimizer, hook, epoch, batch, stands):
    """In another model of another seed, which has only what was written down."""
    given = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0, "shuffle": shuffle}
    whole = made(backend=backend, optimizer=optimizer)
    watch = Watch(epoch, batch, hook, stop=False)
    log = whole.fit(X, Y, callbacks=watch, validation_data=(X, Y), **given).history
    position, values, iterations = watch.found
    assert (position["epoch"], position["batch"]) == stands

    other = made(99, backend, optimizer)
    refnet.random.uniform((3,))
    put_back(other, values, iterations)
    rest = other.fit(X, Y, validation_data=(X, Y), position=position, **given).history
    for mine, theirs in zip(kept(other)[0], kept(whole)[0], strict=True):
        assert np.array_equal(mine, theirs)
    assert other.optimizer.iterations == whole.optimizer.iterations == EPOCHS * STEPS
    for name, numbers in log.items():
        assert rest[name] == numbers[stands[0] :]


@pytest.mark.parametrize(("epoch", "batch"), [(0, 2), (1, 0), (2, STEPS - 1)])
def test_a_training_that_was_stopped_goes_on_in_place(epoch, batch):
    given = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0}
    whole, cut = made(), made()
    refnet.utils.set_random_seed(7)
    whole.fit(X, Y, **given)
    refnet.utils.set_random_seed(7)
    cut.fit(X, Y, callbacks=Watch(epoch, batch), **given)
    assert cut.optimizer.iterations == epoch * STEPS + batch + 1
    cut.fit(X, Y, position=cut.position, **given)
    for mine, theirs in zip(kept(cut)[0], kept(whole)[0], strict=True):
        assert np.array_equal(mine, theirs)


def test_an_error_in_a_callback_leaves_a_position_to_go_on_from():
    class Broken(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                raise KeyboardInterrupt

    given = {"batch_size": BATCH, "epochs": 1, "verbose": 0}
    whole, cut = made(), made()
    refnet.utils.set_random_seed(7)
    whole.fit(X, Y, **given)
    refnet.utils.set_random_seed(7)
    with pytest.raises(KeyboardInterrupt):
        cut.fit(X, Y, callbacks=Broken(), **given)
    assert (cut.position["epoch"], cut.position["batch"]) == (0, 4)
    cut.fit(X, Y, position=cut.position, **given)
    for mine, theirs in zip(kept(cut)[0], kept(whole)[0], strict=True):
        assert np.array_equal(mine, theirs)


def test_after_a_whole_training_more_epochs_follow():
    given = {"batch_size": BATCH, "verbose": 0}
    whole, parts = made(), made()
    refnet.utils.set_random_seed(7)
    whole.fit(X, Y, epochs=4, **given)
    refnet.utils.set_random_seed(7)
    parts.fit(X, Y, epochs=2, **given)
    assert (parts.position["epoch"], parts.position["batch"]) == (2, 0)
    log = parts.fit(X, Y, epochs=4, position=parts.position, **given)
    assert log.epoch == [2, 3]
    for mine, theirs in zip(kept(parts)[0], kept(whole)[0], strict=True):
        assert np.array_equal(mine, theirs)
    assert parts.fit(X, Y, epochs=4, position=parts.position, **given).history == {}


def test_what_is_no_position_changes_nothing():
    model = made()
    with pytest.raises(NotReadyError, match=r"fit\(\) has not begun"):
        _ = model.position
    model.fit(X, Y, batch_size=BATCH, verbose=0, callbacks=Watch(0, 2))
    there, before, drawn = model.position, kept(model)[0], refnet.random.get_state()
    for wrong, complaint in (
        ({}, "position is what model.position was"),
        (3, "position is what model.position was"),
        ({**there, "more": 1}, "position is what model.position was"),
        ({**there, "epoch": -1}, "epoch is a whole number"),
        ({**there, "batch": 1.5}, "batch is a whole number"),
        ({**there, "batch": 77}, "an epoch has 5 steps"),
        ({**there, "order": [1]}, "order is two whole numbers"),
        ({**there, "random": None}, "random is two whole numbers"),
        ({**there, "random": [1, "x"]}, "random is a whole number"),
        ({**there, "sums": there["sums"][:1]}, "sums are those of loss, accuracy, auc, accuracy"),
        ({**there, "sums": [[0.0], *there["sums"][1:]]}, "loss has the sums total, count"),
        ({**there, "sums": [["a", "b"], *there["sums"][1:]]}, "sums are numbers"),
    ):
        with pytest.raises(ArgumentError, match=complaint):
            model.fit(X, Y, batch_size=BATCH, verbose=0, position=wrong)
        assert refnet.random.get_state() == drawn
    assert model.position == there
    for mine, theirs in zip(kept(model)[0], before, strict=True):
        assert np.array_equal(mine, theirs)
