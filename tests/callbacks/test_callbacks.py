"""Callbacks: which hook is called when and with what, and what the ready-made ones do."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import refnet
from refnet import errors
from refnet.callbacks import Callback, EarlyStopping, History, LambdaCallback, TerminateOnNaN
from refnet.callbacks import progress as printers
from refnet.layers import Dense, Input
from refnet.optimizers import SGD

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def regression(optimizer="sgd"):
    refnet.utils.set_random_seed(0)
    model = refnet.Sequential([Input((3,)), Dense(1)])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


class Recorder(Callback):
    """Notes every call: (hook, epoch or batch, the logs' names)."""

    def __init__(self):
        self.calls = []


def _note(hook):
    def called(self, *arguments):
        *number, logs = arguments
        self.calls.append((hook.removeprefix("on_"), *number, *sorted(logs or ())))

    return called


for _hook in [name for name in vars(Callback) if name.startswith("on_")]:
    setattr(Recorder, _hook, _note(_hook))


def test_hooks_are_called_in_the_order_of_keras():
    recorder = Recorder()
    regression().fit(X, Y, 3, epochs=2, validation_split=0.5, callbacks=[recorder], verbose=0)
    epoch = [
        ("train_batch_begin", 0),
        ("train_batch_end", 0, "loss", "mae"),
        ("test_begin",),
        ("test_end", "loss", "mae"),
    ]
    logs = "loss", "mae", "val_loss", "val_mae"
    assert recorder.calls == [
        ("train_begin",),
        *(("epoch_begin", 0), *epoch, ("epoch_end", 0, *logs)),
        *(("epoch_begin", 1), *epoch, ("epoch_end", 1, *logs)),
        ("train_end",),
    ]
    assert recorder.params["epochs"] == 2
    assert recorder.params["steps"] == 1


def test_batch_hooks_see_the_mean_so_far():
    seen, model = [], regression(SGD(0.0))
    hook = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    history = model.fit(X, Y, 4, shuffle=False, callbacks=[hook], verbose=0)
    each = (model.predict(X) - Y)[:, 0] ** 2
    np.testing.assert_allclose(seen, [each[:4].mean(), each.mean()], rtol=1e-5)
    assert history.history["loss"] == [seen[-1]]


def test_watching_batches_changes_nothing():
    watched, plain = regression(), regression()
    hook = LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    seen = watched.fit(X, Y, 2, epochs=3, shuffle=False, callbacks=[hook], verbose=0).history
    assert seen == plain.fit(X, Y, 2, epochs=3, shuffle=False, verbose=0).history


def test_initial_epoch():
    recorder = Recorder()
    regression().fit(X, Y, epochs=5, initial_epoch=3, callbacks=[recorder], verbose=0)
    assert [c[1] for c in recorder.calls if c[0] == "epoch_begin"] == [3, 4]


@pytest.mark.parametrize(("hook", "epochs"), [("on_epoch_end", 1), ("on_train_batch_end", 1)])
def test_stop_training(hook, epochs):
    model = regression()

    def stop(number, logs):
        model.stop_training = True

    history = model.fit(X, Y, 2, epochs=9, callbacks=[LambdaCallback(**{hook: stop})], verbose=0)
    assert len(history.epoch) == epochs
    assert len(model.fit(X, Y, epochs=2, verbose=0).epoch) == 2  # it trains again


def test_history_is_always_there():
    model = regression()
    history = model.fit(X, Y, epochs=3, verbose=0)
    assert isinstance(history, History)
    assert history.epoch == [0, 1, 2]
    assert history.model is model


@pytest.mark.parametrize("hook", ["on_epoch_ends", "epoch_end", "set_model", "on_fire"])
def test_lambda_callback_knows_its_hooks(hook):
    with pytest.raises(errors.ArgumentError, match=hook):
        LambdaCallback(**{hook: print})


@pytest.mark.parametrize("callbacks", [["early"], [EarlyStopping], [print], 3])
def test_what_is_no_callback(callbacks):
    model = regression()
    before = model.get_weights()
    with pytest.raises(errors.ArgumentError, match="callback"):
        model.fit(X, Y, callbacks=callbacks, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_one_callback_needs_no_list():
    recorder = Recorder()
    regression().fit(X, Y, callbacks=recorder, verbose=0)
    assert recorder.calls


# -- EarlyStopping ---------------------------------------------------------------------------------


class Scripted(Callback):
    """Stands before EarlyStopping and puts numbers of our choice into the logs."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name, self.weights = values, name, []

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]
        self.weights.append([np.array(w) for w in self.model.get_weights()])


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([3, 2, 1, 2, 1, 0], {}, 4),
        ([3, 2, 1, 2, 3, 4, 5], {"patience": 2}, 5),
        ([3, 2, 3, 1, 2, 3, 4], {"patience": 2}, 6),  # patience starts anew
        ([3, 2.9, 2.8, 2.0], {"min_delta": 0.5}, 2),
        ([3, float("nan"), 1], {}, 2),
        ([1, 2, 3, 2, 4], {"mode": "max"}, 4),
        ([5, 4, 3], {}, 3),
    ],
)
def test_early_stopping(values, options, epochs):
    scripted, stopping = Scripted(values), EarlyStopping(**options)
    history = regression().fit(X, Y, epochs=len(values), callbacks=[scripted, stopping], verbose=0)
    assert len(history.epoch) == epochs
    assert stopping.stopped_epoch == (epochs - 1 if epochs < len(values) else 0)


def test_early_stopping_takes_larger_accuracies_for_better():
    scripted = Scripted([0.1, 0.5, 0.4, 0.6], "val_accuracy")
    stopping = EarlyStopping("val_accuracy")
    history = regression().fit(X, Y, epochs=4, callbacks=[scripted, stopping], verbose=0)
    assert len(history.epoch) == 3


@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize("values", [[3, 1, 2, 2, 0], [3, 1, 2]], ids=["stopped", "ran out"])
def test_early_stopping_restores_the_best_weights(values, restore):
    model, scripted = regression(), Scripted(values)
    stopping = EarlyStopping(patience=2, restore_best_weights=restore)
    model.fit(X, Y, epochs=len(values), callbacks=[scripted, stopping], verbose=0)
    expected = scripted.weights[1 if restore else -1]
    for found, best in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, best)


def test_early_stopping_needs_what_it_monitors():
    with pytest.raises(errors.ArgumentError, match=r"val_loss.*loss, mae"):
        regression().fit(X, Y, callbacks=[EarlyStopping()], verbose=0)
    with pytest.raises(errors.ArgumentError, match="mode"):
        EarlyStopping(mode="least")


# -- TerminateOnNaN --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_terminate_on_nan(capsys):
    recorder, model = Recorder(), regression(SGD(1e30))
    history = model.fit(X, Y, 1, epochs=9, callbacks=[TerminateOnNaN(), recorder], verbose=0)
    assert len(history.epoch) == 1
    assert 1 < sum(call[0] == "train_batch_end" for call in recorder.calls) < 6
    assert re.search(r"batch \d: the loss is (inf|nan)", capsys.readouterr().out)


# -- what is printed -------------------------------------------------------------------------------


def test_verbose_0_prints_nothing(capsys):
    regression().fit(X, Y, epochs=3, verbose=0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", ["auto", 1, 2])
def test_one_clean_line_an_epoch_without_a_terminal(verbose, capsys):
    regression().fit(X, Y, epochs=12, validation_split=0.5, verbose=verbose)
    printed = capsys.readouterr().out
    number = r"\d+\.\d{4}"
    line = (
        rf" ?\d+/12  \d+\.\d\d s  loss {number}  mae {number}  val_loss {number}  val_mae {number}"
    )
    assert re.fullmatch(rf"(epoch {line}\n){{12}}", printed)
    assert printed.startswith("epoch  1/12")


def test_a_pipe_gets_lines_and_a_terminal_a_bar():
    program = (
        "import numpy as np, refnet\n"
        "model = refnet.Sequential([refnet.layers.Dense(1, input_shape=(1,))])\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(np.ones((4, 1)), np.ones((4, 1)), 1, epochs=3)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert len(run.stdout.splitlines()) == 3
    assert not {"\r", "\x1b", "━"} & set(run.stdout)
    assert run.stderr == ""


class Terminal:
    """A stream that says it is a terminal."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_a_bar_fills_and_makes_way_for_its_line():
    terminal = Terminal()
    (bar,) = printers("auto", terminal)
    regression().fit(X, Y, 2, epochs=2, callbacks=[bar], verbose=0)
    shown = terminal.text.split("\r\x1b[K")
    assert "━" in terminal.text
    assert [s.count("\n") for s in shown if "\n" in s] == [1, 1]
    assert all("━" not in s for s in shown if "\n" in s)
    assert printers(0, terminal) == []
    assert type(printers(2, terminal)[0]).__name__ == "EpochLines"
