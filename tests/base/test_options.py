"""Options and arguments: which there are, of which kind, and what makes no sense."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import refnet
from refnet import callbacks, losses, metrics, optimizers
from refnet.errors import (
    ArgumentError,
    DTypeError,
    UnknownNameError,
)
from refnet.layers import Dense, Dropout, Input
from tests.small import X, Y, compiled

WRONG = {
    "patience": lambda: callbacks.EarlyStopping(patience="a"),
    "no patience": lambda: callbacks.EarlyStopping(patience=-1),
    "verbose": lambda: compiled(Dense(1)).fit(X, Y, verbose="loud"),
    "rate of dropout": lambda: Dropout(1.5),
    "learning rate": lambda: optimizers.SGD(-0.1),
    "no number": lambda: optimizers.SGD("0.1"),
    "NaN": lambda: optimizers.Adam(float("nan")),
    "momentum": lambda: optimizers.SGD(0.1, momentum=1.5),
    "beta": lambda: optimizers.Adam(beta_1=1.0),
    "units": lambda: Dense(2.5),
    "shuffle": lambda: compiled(Dense(1)).fit(X, Y, shuffle="yes"),
    "epochs": lambda: compiled(Dense(1)).fit(X, Y, epochs=1.5),
    "batch_size": lambda: compiled(Dense(1)).fit(X, Y, batch_size=0),
    "run_eagerly": lambda: refnet.Sequential([Dense(1)]).compile("sgd", "mse", run_eagerly="no"),
}


class Squares:
    def __call__(self, y_true, y_pred):
        return ((y_true - y_pred) ** 2).mean(axis=-1)


@pytest.mark.parametrize("kind", metrics.METRICS.values(), ids=lambda kind: kind.__name__)
def test_a_metric_takes_the_options_of_its_function(kind):
    for wrong in ("treshold", "from_logit"):
        with pytest.raises(UnknownNameError, match=wrong):
            kind(**{wrong: 0.3})
    if kind is not metrics.BinaryAccuracy:
        with pytest.raises(UnknownNameError, match="threshold"):
            kind(threshold=0.3)


@pytest.mark.parametrize("kind", losses.LOSSES.values(), ids=lambda kind: kind.__name__)
def test_a_loss_takes_the_options_of_its_function(kind):
    for wrong in ("from_logit", "treshold", "redution"):
        with pytest.raises(UnknownNameError, match=wrong):
            kind(**{wrong: True})


def test_metric_objects_in_compile():
    y = np.array([0, 1, 1, 0, 1, 0])
    found = [metrics.BinaryAccuracy(threshold=0.7), metrics.BinaryAccuracy(name="half")]
    model = compiled(Input((3,)), Dense(1, "sigmoid"), loss="binary_crossentropy", found=found)
    _, high, half = model.evaluate(X, y, verbose=0)
    p = model.predict(X)[:, 0]
    assert high == pytest.approx(np.mean((p > 0.7) == y), abs=1e-6)
    assert half == pytest.approx(np.mean((p > 0.5) == y), abs=1e-6)


@pytest.mark.parametrize("what", WRONG)
def test_arguments_that_make_no_sense(what):
    with pytest.raises(ArgumentError):
        WRONG[what]()


@pytest.mark.parametrize(
    "wrong", [X + 1j, X.astype(object), X.astype(str)], ids=["j", "object", "text"]
)
def test_what_is_no_number(wrong):
    model = compiled(Input((3,)), Dense(1))
    for use in (refnet.tensor, model.predict, model, lambda x: model.fit(x, Y, verbose=0)):
        with pytest.raises(DTypeError):
            use(wrong)


@pytest.mark.parametrize("base", [losses.Loss, metrics.Metric])
def test_a_class_without_a_function(base):
    kind = type("Mine", (base,), {})
    with pytest.raises(ArgumentError, match=r"Mine has no function.*compile\(\)"):
        kind()


@pytest.mark.parametrize("loss", [Squares(), functools.partial(losses.mean_squared_error)])
def test_what_is_called_is_a_loss_and_a_metric(loss):
    model, plain = (
        compiled(Input((3,)), Dense(1, kernel_initializer="ones"), loss=f, found=[f])
        for f in (loss, "mse")
    )
    assert model.train_on_batch(X, Y) == pytest.approx(plain.train_on_batch(X, Y), rel=1e-6)
    assert model.metrics[0].name in ("squares", "mean_squared_error")


@pytest.mark.parametrize("kind", [*losses.LOSSES.values(), *metrics.METRICS.values()])
def test_options_are_of_the_kind_of_their_defaults(kind):
    for name, default in dict(getattr(kind(), "options", {})).items():
        for wrong in (
            "no",
            None,
            [1],
            *((1, 0.0) if isinstance(default, bool) else (True, np.nan)),
        ):
            with pytest.raises(ArgumentError, match=name):
                kind(**{name: wrong})
            made = kind()
            with pytest.raises(ArgumentError, match=name):
                setattr(made, name, wrong)
            assert dict(made.options) == dict(kind().options)


@pytest.mark.parametrize("kind", [losses.BinaryCrossentropy, losses.CategoricalCrossentropy])
@pytest.mark.parametrize("share", [-1.0, 2.0])
def test_labels_are_smoothed_by_a_share(kind, share):
    with pytest.raises(ArgumentError, match="label_smoothing"):
        kind(label_smoothing=share)([[1, 0]], [[0.9, 0.1]])
