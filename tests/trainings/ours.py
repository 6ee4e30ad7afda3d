"""A recipe in refnet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import refnet
from refnet import layers, losses, optimizers, regularizers
from tests.loopback import Loopback

from .recipe import Phase, Recipe

Numbers = dict[str, np.ndarray]
BACKENDS = {"numpy": "numpy", "loopback": Loopback()}
OTHER_RATE = 0.02


class Ours:
    """The model, and the other one that shares its first layers."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        r = np.random.default_rng(recipe.seed)
        made = [_layer(name, options) for name, options in recipe.layers]
        self.model = refnet.Sequential(made)
        self.model.build((None, *recipe.x.shape[1:]))
        self.other = refnet.Sequential([*made[: recipe.shared], layers.Flatten(), layers.Dense(2)])
        self.other.build((None, *recipe.x.shape[1:]))
        for model in (self.model, self.other):
            model.set_weights([r.normal(size=w.shape) * 0.7 for w in model.weights])
        name, options = recipe.loss
        loss = getattr(losses, _class_name(name))(**options)
        kind, options = recipe.optimizer
        self.model.compile(getattr(optimizers, kind)(**options), loss)
        self.other.compile(optimizers.SGD(OTHER_RATE, momentum=0.5), "mean_squared_error")

    def start(self) -> dict[str, Any]:
        """What a training starts from: weights of both, and the keys of random masks."""
        keys = [layer.key.numpy().copy() if isinstance(layer, layers.Dropout) else None
                for layer in self.model.layers]  # fmt: skip
        return {"model": self.model.get_weights(), "other": self.other.get_weights(), "keys": keys}

    def follow(self) -> Numbers:
        """All phases, and what they give."""
        recipe, found = self.recipe, {}
        for number, phase in enumerate(recipe.phases):
            inside = [Happening(self, phase)] if phase.at else []
            if not inside:
                self.happen(phase.events)
            history = self.model.fit(
                recipe.x, recipe.y, batch_size=recipe.batch_size, epochs=phase.epochs, shuffle=False,
                verbose=0, callbacks=inside, **recipe.weights,
            )  # fmt: skip
            found[f"losses of phase {number}"] = np.array(history.history["loss"])
            found[f"evaluation {number}"] = np.array(
                self.model.evaluate(recipe.x, recipe.y, batch_size=4, verbose=0)
            )
            found[f"prediction {number}"] = self.model.predict(recipe.x, batch_size=5, verbose=0)
        for owner, model in (("weights", self.model), ("other weights", self.other)):
            found |= {f"{owner} {i}": w for i, w in enumerate(model.get_weights())}
        return found

    def happen(self, events: list[tuple[str, Any]]) -> None:
        """What happens between two epochs."""
        for what, value in events:
            self._happen(what, value)

    def _happen(self, what: str, value: Any) -> None:
        {
            "rate": lambda: setattr(self.model.optimizer, "learning_rate", value),
            "backend": lambda: [model.to(BACKENDS[value]) for model in (self.model, self.other)],
            "weights": lambda: self.model.set_weights(_shaken(self.model.get_weights(), value)),
            "other learns": self._other_learns,
            "other predicts": lambda: self.other.predict(self.recipe.x, verbose=0),
            "freeze": lambda: setattr(self.model.layers[value], "trainable", False),
            "unfreeze": lambda: setattr(self.model.layers[value], "trainable", True),
            "dropout": lambda: setattr(self.model.layers[value[0]], "rate", value[1]),
            "l2": lambda: setattr(_regularizer(self.model.layers[value[0]]), "l2", value[1]),
        }[what]()

    def _other_learns(self) -> None:
        self.other.fit(self.recipe.x, self.recipe.other_y, batch_size=4, shuffle=False, verbose=0)


class Happening(refnet.callbacks.Callback):
    """What happens in the middle of a phase."""

    def __init__(self, ours: Ours, phase: Phase) -> None:
        super().__init__()
        self.ours, self.phase = ours, phase

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.phase.at:
            self.ours.happen(self.phase.events)


def _layer(name: str, options: dict[str, Any]) -> Any:
    make: Callable[..., Any] = getattr(layers, name)
    if "kernel_regularizer" in options:
        options = {
            **options,
            "kernel_regularizer": regularizers.L1L2(*options["kernel_regularizer"]),
        }
    return make(**options)


def _regularizer(layer: Any) -> Any:
    return layer.kernel_regularizer


def _class_name(function: str) -> str:
    return function.title().replace("_", "")


def _shaken(weights: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """The weights, each a little different."""
    r = np.random.default_rng(seed)
    return [w + 0.1 * r.normal(size=w.shape) for w in weights]


def run(recipe: Recipe) -> tuple[dict[str, Any], Numbers]:
    """(what it started from, what came out)"""
    ours = Ours(recipe)
    return ours.start(), ours.follow()
