"""What a training consists of, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refnet.op import TABLE
from refnet_triton.bench.peers import EAGER

#: those that PyTorch has too, but for the step, through which nothing is learned
ACTIVATIONS = [
    op.name
    for op in TABLE.values()
    if op.activation and op.name in EAGER and op.name != "binary_step"
]
#: loss -> the activations of the last layer it is for
LAST = {
    "mean_squared_error": ("identity", "tanh", "sigmoid"),
    "mean_absolute_error": ("identity", "softplus"),
    "quadratic_cost": ("identity", "sigmoid"),
    "sum_squared_residuals": ("identity",),
    "poisson": ("softplus", "exponential"),
    "binary_crossentropy": ("sigmoid",),
    "categorical_crossentropy": ("softmax",),
    "sparse_categorical_crossentropy": ("softmax",),
}
KINDS = ("float64", "float32", "int64", "uint8", "bool")


class Phase(NamedTuple):
    """A call of fit, and what happens before one of its epochs: between two calls, or in a callback."""

    epochs: int
    events: list[tuple[str, Any]]
    at: int


@dataclass
class Recipe:
    """One training. `layers`, `optimizer` and events are (what, options) pairs."""

    seed: int
    x: np.ndarray
    y: np.ndarray
    batch_size: int
    layers: list[tuple[str, dict[str, Any]]]
    loss: tuple[str, dict[str, Any]]
    optimizer: tuple[str, dict[str, Any]]
    weights: dict[str, Any]  # of the examples: arguments of fit
    shared: int  # how many layers the other model shares
    other_y: np.ndarray
    phases: list[Phase] = field(default_factory=list)

    def __str__(self) -> str:
        words = [f"{self.x.dtype}{self.x.shape} in batches of {self.batch_size}"]
        words += [f"{name}({_given(options)})" for name, options in self.layers]
        words += [f"{name}({_given(options)})" for name, options in (self.loss, self.optimizer)]
        words += [f"weighted by {name}" for name in self.weights]
        for phase in self.phases:
            words += [f"{phase.epochs} epochs"]
            words += [f"before epoch {phase.at}: {what} {value}" for what, value in phase.events]
        return ", ".join(words)


def _given(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def draw(seed: int) -> Recipe:
    """The recipe of a seed."""
    r = np.random.default_rng(seed)
    n, features = int(r.integers(3, 20)), int(r.integers(1, 7))
    sequence = r.random() < 0.25
    shape = (n, int(r.integers(1, 4)), features) if sequence else (n, features)
    x = _inputs(r, shape)
    loss, options = _loss(r)
    classes = "categorical" in loss
    units = int(r.integers(2, 5)) if classes else int(r.integers(1, 4))
    layers, keeps_time = _hidden(r, sequence)
    layers += _last(r, loss, options, units)
    y = _targets(r, loss, (*(shape[:-1] if keeps_time else shape[:1]), units))
    shared = int(r.integers(0, len(layers) + 1))
    recipe = Recipe(
        seed, x, y, int(r.integers(1, n + 3)), layers, (loss, options), _optimizer(r),
        _weights(r, n, units if classes and y.ndim <= 2 else 0), shared, r.normal(size=(n, 2)),
    )  # fmt: skip
    for _ in range(int(r.integers(1, 4))):
        epochs = int(r.integers(1, 4))
        events = [_event(r, layers) for _ in range(int(r.integers(0, 3)))]
        recipe.phases.append(Phase(epochs, events, int(r.integers(0, epochs))))
    return recipe


def _inputs(r: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    kind = r.choice(KINDS)
    if kind == "bool":
        return r.random(shape) < 0.5
    if kind in ("int64", "uint8"):
        return r.integers(0 if kind == "uint8" else -3, 4, shape).astype(kind)
    return r.normal(size=shape).astype(kind)


def _loss(r: np.random.Generator) -> tuple[str, dict[str, Any]]:
    name = str(r.choice(list(LAST)))
    options: dict[str, Any] = {}
    if "crossentropy" in name and r.random() < 0.5:
        options["from_logits"] = True
    if name in ("binary_crossentropy", "categorical_crossentropy") and r.random() < 0.3:
        options["label_smoothing"] = 0.1
    return name, options


def _hidden(r: np.random.Generator, sequence: bool) -> tuple[list[Any], bool]:
    """Layers, and whether the axis of time is still there behind them."""
    layers: list[tuple[str, dict[str, Any]]] = []
    for _ in range(int(r.integers(0, 4))):
        kind = r.choice(["Dense", "Dense", "Activation", "LeakyReLU", "ELU", "PReLU", "Dropout"])
        options: dict[str, Any] = {}
        if kind == "Dense":
            options = {
                "units": int(r.integers(1, 6)),
                "activation": str(r.choice([*ACTIVATIONS, "softmax"])),
                "use_bias": bool(r.random() < 0.8),
            }
            if r.random() < 0.4:
                l1, l2 = r.choice([0.0, 0.01, 0.1], 2)
                options["kernel_regularizer"] = (float(l1), float(l2))
        elif kind == "Activation":
            options = {"activation": str(r.choice([*ACTIVATIONS, "softmax"]))}
        elif kind == "Dropout":
            options = {"rate": float(r.choice([0.0, 0.25, 0.5]))}
        layers.append((str(kind), options))
    flat = sequence and r.random() < 0.5
    if flat:
        layers.insert(int(r.integers(0, len(layers) + 1)), ("Flatten", {}))
    return layers, sequence and not flat


def _last(r: np.random.Generator, loss: str, options: dict[str, Any], units: int) -> list[Any]:
    activation = "identity" if options.get("from_logits") else str(r.choice(LAST[loss]))
    if r.random() < 0.3 and activation != "identity":  # the activation in a layer of its own
        dense = {"units": units, "activation": "identity", "use_bias": True}
        return [("Dense", dense), ("Activation", {"activation": activation})]
    return [("Dense", {"units": units, "activation": activation, "use_bias": r.random() < 0.9})]


def _targets(r: np.random.Generator, loss: str, shape: tuple[int, ...]) -> np.ndarray:
    """Targets for an output of this shape; where it has one unit, at times without that axis."""
    if loss == "sparse_categorical_crossentropy":
        return r.integers(0, shape[-1], shape[:-1] if r.random() < 0.7 else (*shape[:-1], 1))
    if loss == "categorical_crossentropy":
        return np.eye(shape[-1])[r.integers(0, shape[-1], shape[:-1])]
    if loss == "binary_crossentropy":
        y = r.integers(0, 2, shape) if r.random() < 0.5 else r.random(shape) < 0.5
    elif loss == "poisson":
        y = r.poisson(1.5, shape)
    else:
        y = r.normal(size=shape)
    return y[..., 0] if shape[-1] == 1 and r.random() < 0.5 else y


def _weights(r: np.random.Generator, n: int, classes: int) -> dict[str, Any]:
    kind = r.choice(["none", "sample", "column", "class"])
    if kind == "class" and classes:
        return {"class_weight": {c: float(r.choice([0.5, 1.0, 3.0])) for c in range(classes)}}
    if kind in ("sample", "column"):
        w = r.random(n) * (r.random(n) < 0.8)  # some are masked: they weigh nothing
        return {"sample_weight": w[:, None] if kind == "column" else w}
    return {}


def _optimizer(r: np.random.Generator) -> tuple[str, dict[str, Any]]:
    rate = {"learning_rate": float(r.choice([0.003, 0.01, 0.05]))}
    name = str(r.choice(["SGD", "momentum", "nesterov", "RMSprop", "Adam"]))
    if name in ("momentum", "nesterov"):
        return "SGD", {**rate, "momentum": 0.9, "nesterov": name == "nesterov"}
    if name == "Adam":
        return name, {**rate, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-5}
    return name, {**rate, "rho": 0.8, "epsilon": 1e-5} if name == "RMSprop" else rate


def _event(r: np.random.Generator, layers: list[Any]) -> tuple[str, Any]:
    """(what, value); layers go by their number."""
    at = {name: [i for i, (kind, _) in enumerate(layers) if kind == name]
          for name in ("Dense", "PReLU", "Dropout")}  # fmt: skip
    charged = [i for i in at["Dense"] if "kernel_regularizer" in layers[i][1]]
    what = str(
        r.choice(["rate", "backend", "weights", "other learns", "other predicts", "freeze",
                  "unfreeze", "dropout", "l2"])
    )  # fmt: skip
    if what == "rate":
        return what, float(r.choice([0.0, 0.002, 0.02]))
    if what == "backend":
        return what, str(r.choice(["numpy", "loopback"]))
    if what == "weights":
        return what, int(r.integers(1 << 30))
    if what in ("freeze", "unfreeze"):
        return what, int(r.choice([*at["Dense"], *at["PReLU"]]))
    if what == "dropout" and at["Dropout"]:
        return what, (int(r.choice(at["Dropout"])), float(r.choice([0.0, 0.1, 0.4])))
    if what == "l2" and charged:
        return what, (int(r.choice(charged)), float(r.choice([0.0, 0.03])))
    return ("other learns" if r.random() < 0.5 else "other predicts"), None
