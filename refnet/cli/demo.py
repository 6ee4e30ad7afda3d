"""refnet demo: train on handwritten digits with NumPy, then on another backend, and compare.

Part 1 trains a multi-layer network in NumPy and measures it on images it has not seen. Part 2
starts twice from the same weights, trains on the same batches with NumPy and with the other backend,
and holds the difference of the losses of every step against the bound of `refnet.check.training`. Part 3
draws what came out.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from refnet import Sequential, activations, datasets, layers, optimizers, plot, random
from refnet import backend as backends
from refnet.base.dtypes import unit_roundoff
from refnet.check import training as drift
from refnet.cli.output import (
    BAD,
    GOOD,
    HEADING,
    QUIET,
    counted,
    duration,
    say,
    seed,
    whole,
    writable,
)
from refnet.errors import BackendError, MissingPackageError
from refnet.op import TABLE

WANTED = 0.97  # of the images that were held out
UNITS, BATCH, LEARNING_RATE = (128, 64), 32, 1e-3
INTERPRETED_STEPS, STEPS = 45, 450  # one epoch, ten epochs
U = unit_roundoff("float32")
PICTURES = (
    "learning curves",
    "digits and what the network says",
    "both trainings, and how they differ",
)

Array = np.ndarray[Any, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--backend", default="triton", help="what to compare NumPy with")
    parser.add_argument("--epochs", type=whole, default=30, help="how long to train in part 1")
    parser.add_argument(
        "--steps", type=whole, default=argparse.SUPPRESS,
        help=f"how many steps to compare in part 2 (default: {INTERPRETED_STEPS} where kernels are "
        f"interpreted, else {STEPS})",
    )  # fmt: skip
    parser.add_argument(
        "--activation", default="swish",
        help="of the hidden layers; with a kink, as relu has, the bound may break",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="of the weights and of all shuffles")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder for the results"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 if the accuracy or the bound is missed."""
    activations.get(arguments.activation)
    other, missing = _other(arguments.backend)
    writable(arguments.out)
    train, held_out = _digits()

    model, reached = _train(arguments, train, held_out)
    results: dict[str, Any] = dict(reached)
    paths = [arguments.out / "training.png", arguments.out / "digits.png"]

    say()
    holds = True
    if other is None:
        say("2. The same training on another backend", HEADING)
        say(missing)
    else:
        compared = _compare(arguments, other, train)
        results["comparison"] = compared.report()
        holds = compared.holds
        paths.append(arguments.out / "comparison.png")

    say()
    say("3. Results", HEADING)
    record = arguments.out / "demo.json"
    record.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    say(f"{record}  all numbers, every step")
    try:
        plot.loss_curves(results["history"], paths[0], "64-128-64-10 on the digits, in NumPy")
        _draw_digits(model, held_out, paths[1])
        if other is not None:
            compared.draw(paths[2])
        for path, what in zip(paths, PICTURES, strict=False):
            say(f"{path}  {what}")
    except MissingPackageError as error:
        say(f"no pictures: {error}")
    return 0 if holds and results["held_out_accuracy"] >= WANTED else 1


def _other(name: str) -> tuple[backends.Backend | None, str]:
    """The backend to compare with, or None and why there is none."""
    if name == "numpy":
        return None, "--backend numpy names the reference itself: nothing to compare."
    try:
        return backends.get(name), ""
    except BackendError as error:
        return None, f"Skipped: {error}"


# -- part 1 ---------------------------------------------------------------------------------------


def _digits() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """((x, y) to train on, (x, y) held out): pixels shifted and scaled to mean 0 and deviation 1.

    Both numbers are those of the training images: the network must know nothing about the others.
    """
    (x, y), (x_held_out, y_held_out) = datasets.digits.load_data()
    mean, deviation = x.mean(dtype="float64"), x.std(dtype="float64")

    def standardized(x: Array) -> Array:
        return np.asarray((x - mean) / deviation, "float32")

    return (standardized(x), y), (standardized(x_held_out), y_held_out)


def network(activation: str, seed: int) -> Sequential:
    """The network of the demo, with weights that depend on `seed` alone."""
    random.set_seed(seed)
    model = Sequential(
        [
            layers.Input((8, 8)),
            layers.Flatten(name="flatten"),
            *(
                layers.Dense(units, activation=activation, name=f"hidden_{i}")
                for i, units in enumerate(UNITS, 1)
            ),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits",
    )
    model.compile(
        optimizers.Adam(LEARNING_RATE), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def _train(
    arguments: argparse.Namespace, train: tuple[Array, Array], held_out: tuple[Array, Array]
) -> tuple[Sequential, dict[str, Any]]:
    """Part 1: train with NumPy. Returns the model and what there is to report."""
    numpy = backends.get("numpy")
    with backends.use_backend(numpy):
        model = network(arguments.activation, arguments.seed)
    say(f"1. Training with {numpy.describe()}", HEADING)
    say(
        f"{len(train[0])} images of digits, 8 x 8 pixels; {len(held_out[0])} more are held out. "
        f"{arguments.activation}, Adam, η = {LEARNING_RATE}, "
        f"batches of {BATCH}, seed {arguments.seed}."
    )
    model.summary(say)
    start = time.perf_counter()
    history = model.fit(
        *train, batch_size=BATCH, epochs=arguments.epochs, validation_data=held_out
    ).history
    seconds = time.perf_counter() - start
    accuracy = float(model.evaluate(*held_out, return_dict=True)["accuracy"])
    right = round(accuracy * len(held_out[0]))
    say(f"{counted(arguments.epochs, 'epoch')} in {duration(seconds)}.")
    say(
        f"Held-out accuracy: {accuracy:.2%}, {right} of {len(held_out[0])} right "
        f"({'reaches' if accuracy >= WANTED else 'MISSES'} the {WANTED:.0%} it should)",
        GOOD if accuracy >= WANTED else BAD,
    )
    return model, {
        "seed": arguments.seed,
        "activation": arguments.activation,
        "epochs": arguments.epochs,
        "seconds": seconds,
        "held_out_accuracy": accuracy,
        "held_out_accuracy_wanted": WANTED,
        "history": history,
    }


def _draw_digits(model: Sequential, held_out: tuple[Array, Array], path: Path) -> Path:
    """The eight images the network is least sure of, wrong ones first, and four ordinary ones."""
    x, y = held_out
    p = model.predict(x)
    order = np.argsort(p[np.arange(len(y)), y], kind="stable")
    chosen = [*order[:8], *order[len(y) // 2 :][:4]]
    wrong = int(np.sum(np.argmax(p, axis=-1) != y))
    title = f"Held-out digits ({wrong} of {len(y)} wrong): eight hard ones, four ordinary ones"
    return plot.predictions(x[chosen], p[chosen], y[chosen], path, title)


# -- part 2 ---------------------------------------------------------------------------------------


@dataclass
class Comparison:
    """The losses of NumPy, of the other backend and of NumPy in float64, for every step."""

    other: str
    layers: int
    losses: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    theta: dict[str, list[float]] = field(default_factory=dict)

    def add(self, step: drift.Step) -> None:
        """Take in one step."""
        for label in step.losses:
            self.losses.setdefault(label, []).append(step.losses[label])
            self.seconds.setdefault(label, []).append(step.seconds[label])
            self.theta.setdefault(label, []).append(step.distance("numpy", label))

    def difference(self, label: str) -> Array:
        """|L_label - L_numpy| of each step."""
        return np.abs(np.subtract(self.losses[label], self.losses["numpy"]))

    def bound(self, label: str) -> Array:
        """What it may be: with float64, only one of the two rounds."""
        losses = np.array(self.losses["numpy"])
        rounded = 1 if label == "float64" else 2
        bound: Array = drift.loss_bound(np.arange(len(losses)), losses, self.layers, rounded)
        return bound

    def worst(self, label: str) -> tuple[int, float]:
        """(step, from 0, where the difference is nearest to its bound; difference / bound)."""
        ratio = self.difference(label) / self.bound(label)
        return int(np.argmax(ratio)), float(np.max(ratio))

    @property
    def holds(self) -> bool:
        """True if every step is within its bound."""
        return self.worst(self.other)[1] <= 1

    def report(self) -> dict[str, Any]:
        """Everything, for the JSON file."""
        return {
            "backend": self.other,
            "bound": "2 u sqrt(2 (layers + 1) (t + 1)) max(1, L), u = 2^-24, t from 0",
            "layers": self.layers,
            "largest_difference": float(self.difference(self.other).max()),
            "largest_difference_in_units_of_its_bound": self.worst(self.other)[1],
            "holds": self.holds,
            "losses": self.losses,
            "difference": self.difference(self.other).tolist(),
            "bounds": self.bound(self.other).tolist(),
            "relative_distance_of_parameters": self.theta,
            "seconds": self.seconds,
        }

    def draw(self, path: Path) -> Path:
        """The losses over each other, and their differences below."""
        return plot.compare_losses(
            {label: self.losses[label] for label in ("numpy", self.other)},
            self.bound(self.other).tolist(),
            path,
            f"The same training on numpy and on {self.other}",
            exact=self.losses["float64"],
        )


def _compare(
    arguments: argparse.Namespace, other: backends.Backend, train: tuple[Array, Array]
) -> Comparison:
    """Part 2: the same steps on NumPy, on the other backend, and on NumPy in float64."""
    count = getattr(arguments, "steps", INTERPRETED_STEPS if other.interpreted else STEPS)
    say(f"2. The same training with {other.describe()}", HEADING)
    say(f"Same initial weights, same batches, {counted(count, 'step')}. u = 2^-24 = {U:.3g}.")

    def make() -> Sequential:
        with backends.use_backend("numpy"):
            return network(arguments.activation, arguments.seed)

    found = Comparison(other.name, drift.weight_layers(make()))
    runs = [
        drift.Run("numpy", "numpy"),
        drift.Run(other.name, other.name),
        drift.Run("float64", "numpy", "float64"),
    ]
    batches = drift.batches_of(*train, BATCH, count, arguments.seed)
    say(f"step  loss on numpy  {'loss on ' + other.name:>15}  difference      bound", QUIET)
    for step in drift.steps(make, runs, batches):
        found.add(step)
        if _shown(step.t, count):
            gap, bound = found.difference(other.name)[-1], found.bound(other.name)[-1]
            a, b = step.losses["numpy"], step.losses[other.name]
            say(f"{step.t + 1:4}  {a:13.7f}  {b:15.7f}  {gap:10.2e}  {bound:9.2e}")
    _sum_up(found, other, arguments.activation)
    return found


def _shown(t: int, count: int) -> bool:
    """The first three steps, a dozen in between, and the last."""
    return t < 3 or t == count - 1 or (t + 1) % max(1, round(count / 12 / 5) * 5) == 0


def _sum_up(found: Comparison, other: backends.Backend, activation: str) -> None:
    """What the comparison shows, in words."""
    label, gap = found.other, found.difference(found.other)
    at, ratio = found.worst(label)
    n = 2 * (found.layers + 1)
    if not gap.any():
        say(f"All {len(gap)} losses are equal to the last bit.")
    else:
        say(
            f"Largest difference: {gap.max():.2e} = {gap.max() / U:.1f} u, "
            f"at step {int(gap.argmax()) + 1}; "
            f"{int(np.sum(gap == 0))} of {len(gap)} losses are equal to the last bit."
        )
    say(
        f"Bound: |L_{label} - L_numpy| ≤ 2 u √({n} (t + 1)) max(1, L), "
        f"where t counts the steps from 0 and {n} = 2 backends x ({found.layers} layers + 1 loss)."
    )
    if found.holds:
        nearest = f"; nearest to it is step {at + 1}, with {ratio:.2f} of the bound"
        say(f"It holds at every step{nearest if gap.any() else ''}.", GOOD)
    else:
        first = int(np.argmax(gap > found.bound(label))) + 1
        say(f"It BREAKS at step {first}; step {at + 1} has {ratio:.3g} times the bound.", BAD)
        if activation in TABLE and TABLE[activation].kinks:
            say(
                f"{activation} has a kink: where a rounding error carries a neuron across it, the "
                "gradient jumps, and two trainings part that were right until then. "
                "Try --activation swish."
            )
    exact = found.worst("float64")[1]
    say(
        "Against NumPy in float64, float32 itself is off by up to "
        f"{found.difference('float64').max():.2e} "
        f"({exact:.2f} of its bound, 2 u √({n // 2} (t + 1)) max(1, L))."
    )
    say(
        "Parameters after the last step, ‖Δθ‖ / ‖θ‖: "
        f"{found.theta[label][-1] / U:.1f} u between the two, "
        f"{found.theta['float64'][-1] / U:.1f} u from float64."
    )
    say(
        f"A step takes {duration(float(np.median(found.seconds['numpy'])))} on numpy and "
        f"{duration(float(np.median(found.seconds[label])))} on {label} (median; the first: "
        f"{duration(found.seconds[label][0])})."
    )
