"""refnet train: build a network of dense layers, train it, measure it on data it has not seen."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from refnet import (
    Sequential,
    datasets,
    layers,
    losses,
    optimizers,
    plot,
    random,
    regularizers,
    utils,
)
from refnet import backend as backends
from refnet.base.files import plain
from refnet.cli.output import BAD, GOOD, HEADING, counted, duration, say, seed, whole, writable
from refnet.errors import ArgumentError, MissingPackageError, unknown_name

DATA = {"digits": datasets.digits}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add = parser.add_argument
    add("--data", default="digits", help=f"what to learn: {', '.join(DATA)}")
    add("--layers", default="128,64", help="units of the hidden layers, with commas; '' for none")
    add("--activation", default="relu", help="of the hidden layers")
    add("--optimizer", default="adam", help=", ".join(optimizers.OPTIMIZERS))
    add(
        "--learning-rate",
        type=float,
        default=argparse.SUPPRESS,
        help="default: the optimizer's own",
    )
    add("--loss", default="sparse_categorical_crossentropy", help=", ".join(losses.LOSSES))
    add("--epochs", type=whole, default=20, help="how often to go through the data")
    add("--batch-size", type=whole, default=32, help="examples for each step")
    add(
        "--dropout",
        type=float,
        default=0.0,
        help="share of neurons that fail, behind hidden layers",
    )
    add("--l2", type=float, default=0.0, help="price of Σw² for the kernels, added to the loss")
    add(
        "--backend",
        default=argparse.SUPPRESS,
        help="where to compute: numpy (default), triton, ...",
    )
    add("--seed", type=seed, default=0, help="of the weights, of the shuffles and of the dropout")
    add(
        "--out", type=Path, default=argparse.SUPPRESS, help="folder for the history and its picture"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 if training diverged."""
    if arguments.data not in DATA:
        raise unknown_name("data set", arguments.data, DATA)
    (x, y), (x_held_out, y_held_out) = DATA[arguments.data].load_data()
    classes = int(max(y.max(), y_held_out.max())) + 1
    backend = backends.get(getattr(arguments, "backend", None))
    model = _model(arguments, x.shape[1:], classes, backend)
    if hasattr(arguments, "out"):
        writable(arguments.out)
    if not isinstance(model.loss, losses.SparseCategoricalCrossentropy):
        y, y_held_out = (utils.to_categorical(labels, classes) for labels in (y, y_held_out))

    say(f"Training on {arguments.data} with {backend.describe()}", HEADING)
    say(
        f"{len(x)} examples, {len(x_held_out)} more are held out; {model.optimizer}, {model.loss.name}."
    )
    model.summary(say)
    start = time.perf_counter()
    with np.errstate(over="ignore", invalid="ignore"):  # said below, in words
        history = model.fit(
            x, y, arguments.batch_size, arguments.epochs, validation_data=(x_held_out, y_held_out)
        ).history
        say(f"{counted(arguments.epochs, 'epoch')} in {duration(time.perf_counter() - start)}.")
        found: dict[str, float] = model.evaluate(x_held_out, y_held_out, return_dict=True)
    diverged = not math.isfinite(history["loss"][-1])
    say(
        f"Held out: loss {found['loss']:.4f}, accuracy {found['accuracy']:.2%}",
        BAD if diverged else GOOD,
    )
    if diverged:
        say(f"The training loss is {history['loss'][-1]}: try a smaller --learning-rate.", BAD)
    if hasattr(arguments, "out"):
        _write(arguments, history, found)
    return int(diverged)


def _model(
    arguments: argparse.Namespace, shape: tuple[int, ...], classes: int, backend: backends.Backend
) -> Sequential:
    """The compiled network: dense layers, dropout behind each, softmax at the end."""
    random.set_seed(arguments.seed)
    price = regularizers.L2(_at_least_0("--l2", arguments.l2)) if arguments.l2 else None
    optimizer = optimizers.get(arguments.optimizer)
    if hasattr(arguments, "learning_rate"):
        optimizer.learning_rate = _at_least_0("--learning-rate", arguments.learning_rate)
    with backends.use_backend(backend):
        model = Sequential([layers.Input(shape), layers.Flatten()], name=arguments.data)
        for units in _units(arguments.layers):
            model.add(
                layers.Dense(units, activation=arguments.activation, kernel_regularizer=price)
            )
            if arguments.dropout:
                model.add(layers.Dropout(arguments.dropout))
        model.add(layers.Dense(classes, activation="softmax", kernel_regularizer=price))
    model.compile(optimizer, arguments.loss, metrics=["accuracy"])
    return model


def _units(text: str) -> list[int]:
    """The numbers in "128,64" as [128, 64]."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise ArgumentError(
            f"--layers is the units of each hidden layer, such as 128,64; got {text!r}"
        )
    return [int(part) for part in parts]


def _at_least_0(name: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ArgumentError(f"{name} is a number of at least 0, got {value}")
    return value


def _write(arguments: argparse.Namespace, history: dict[str, Any], found: dict[str, float]) -> None:
    """The history as JSON and as a picture."""
    asked = {k: str(v) if isinstance(v, Path) else v for k, v in vars(arguments).items()}
    record = {"arguments": asked, "held_out": found, "history": history}
    path = arguments.out / "history.json"
    path.write_text(json.dumps(plain(record), indent=1) + "\n", encoding="utf-8")
    say(f"{path}  the history")
    if not np.isfinite(history["loss"]).all():
        return
    try:
        path = plot.loss_curves(history, arguments.out / "training.png", arguments.data)
        say(f"{path}  learning curves")
    except MissingPackageError as error:
        say(f"no picture: {error}")
