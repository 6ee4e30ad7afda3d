"""A recipe in PyTorch: the layers as plain formulas, autograd, the update rules written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from refnet.op import TABLE
from refnet_triton.bench import peers

from .ours import OTHER_RATE, Numbers, _shaken
from .recipe import Recipe

Tensor = torch.Tensor
EPSILON = 1e-7  # probabilities are kept that far from 0 and 1


class Layer:
    """One layer: its weights, whether they learn, and y = call(x)."""

    def __init__(self, name: str, options: dict[str, Any], weights: list[np.ndarray], key: Any):
        self.name, self.options, self.key, self.learns = name, dict(options), key, True
        self.weights = [torch.tensor(w, requires_grad=True) for w in weights]

    def call(self, x: Tensor, training: bool) -> Tensor:
        """The output."""
        if self.name == "Dense":
            kernel, *bias = self.weights
            return _activation(self.options["activation"], x @ kernel + (bias[0] if bias else 0.0))
        if self.name == "Activation":
            return _activation(self.options["activation"], x)
        if self.name == "PReLU":
            return torch.where(x > 0, x, self.weights[0] * x)
        if self.name == "Dropout":
            return self._dropped(x) if training and self.options["rate"] else x
        if self.name == "Flatten":
            return x.reshape(len(x), -1)
        return peers.EAGER[{"LeakyReLU": "leaky_relu", "ELU": "elu"}[self.name]](x)

    def _dropped(self, x: Tensor) -> Tensor:
        """The mask is refnet's own: random numbers are drawn there, and not compared here."""
        self.key = np.add(self.key, [0, 1])
        mask = TABLE["dropout"](np.ones(tuple(x.shape)), self.key, rate=self.options["rate"])
        return x * torch.tensor(mask)

    def charge(self) -> Tensor | float:
        """What the regularizer adds to the loss."""
        l1, l2 = self.options.get("kernel_regularizer", (0.0, 0.0))
        kernel = self.weights[0] if self.weights else torch.zeros(())
        return l1 * kernel.abs().sum() + l2 * kernel.square().sum()


class Rule:
    """An update rule, with its memory for each weight."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.options, self.t = name, dict(options), 0
        self.memory: dict[int, list[Tensor]] = {}

    def step(self, weights: list[Tensor], gradients: list[Tensor]) -> None:
        """One step downhill."""
        self.t += 1
        with torch.no_grad():
            for w, g in zip(weights, gradients, strict=True):
                memory = self.memory.setdefault(id(w), [torch.zeros_like(w) for _ in "mv"])
                w -= self._change(g, *memory)

    def _change(self, g: Tensor, m: Tensor, v: Tensor) -> Tensor:
        o, rate = self.options, self.options["learning_rate"]
        if self.name == "Adam":
            m.mul_(o["beta_1"]).add_((1 - o["beta_1"]) * g)
            v.mul_(o["beta_2"]).add_((1 - o["beta_2"]) * g * g)
            top = m / (1 - o["beta_1"] ** self.t)
            return rate * top / (torch.sqrt(v / (1 - o["beta_2"] ** self.t)) + o["epsilon"])
        if self.name == "RMSprop":
            v.mul_(o["rho"]).add_((1 - o["rho"]) * g * g)
            return rate * g / torch.sqrt(v + o["epsilon"])
        if not o.get("momentum"):
            return rate * g
        m.mul_(o["momentum"]).add_(rate * g)
        return o["momentum"] * m + rate * g if o.get("nesterov") else m.clone()


class Model:
    """Layers in a row, a loss and a rule."""

    def __init__(self, layers: list[Layer], loss: tuple[str, dict[str, Any]], rule: Rule) -> None:
        self.layers, self.loss, self.rule = layers, loss, rule

    @property
    def weights(self) -> list[Tensor]:
        """Those of all layers."""
        return [w for layer in self.layers for w in layer.weights]

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """The output."""
        for layer in self.layers:
            x = layer.call(x, training)
        return x

    def value(self, x: Tensor, y: Tensor, w: Tensor, training: bool = False) -> Tensor:
        """The weighted mean loss of a batch, with what the regularizers charge."""
        each = _loss(*self.loss, y, self.call(x, training))
        each = each * w.reshape(-1, *[1] * (each.ndim - 1))
        return each.mean() + sum(layer.charge() for layer in self.layers)

    def fit(self, x: Tensor, y: Tensor, w: Tensor, size: int, epochs: int = 1) -> list[float]:
        """The mean loss of each epoch."""
        found = []
        for _ in range(epochs):
            total = 0.0
            for rows in _batches(len(x), size):
                loss = self.value(x[rows], y[rows], w[rows], training=True)
                total += float(loss.detach()) * len(x[rows])
                self._learn(loss)
            found.append(total / len(x))
        return found

    def _learn(self, loss: Tensor) -> None:
        learning = [w for layer in self.layers if layer.learns for w in layer.weights]
        if learning:
            gradients = torch.autograd.grad(loss, learning, allow_unused=True)
            pairs = zip(learning, gradients, strict=True)
            self.rule.step(learning, [torch.zeros_like(w) if g is None else g for w, g in pairs])

    def evaluate(self, x: Tensor, y: Tensor, size: int) -> np.ndarray:
        """The mean loss, nothing weighted."""
        one = torch.ones(len(x), dtype=x.dtype)
        with torch.no_grad():
            parts = [self.value(x[r], y[r], one[r]) * len(x[r]) for r in _batches(len(x), size)]
        return np.array(float(sum(parts)) / len(x))


def _batches(count: int, size: int) -> list[slice]:
    return [slice(at, at + size) for at in range(0, count, size)]


def _activation(name: str, x: Tensor) -> Tensor:
    return torch.softmax(x, -1) if name == "softmax" else peers.EAGER[name](x)


def _loss(name: str, options: dict[str, Any], y: Tensor, p: Tensor) -> Tensor:
    """One loss for each example (and time)."""
    if name == "sparse_categorical_crossentropy":
        log_p = torch.log_softmax(p, -1) if options.get("from_logits") else torch.log(p)
        labels = y.long().reshape(p.shape[:-1])
        return -log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    y = y.double().reshape(p.shape)
    smooth = options.get("label_smoothing", 0.0)
    if name == "categorical_crossentropy":
        y = y * (1 - smooth) + smooth / p.shape[-1]
        log_p = torch.log_softmax(p, -1) if options.get("from_logits") else torch.log(p)
        return -(y * log_p).sum(-1)
    if name == "binary_crossentropy":
        y = y * (1 - smooth) + 0.5 * smooth
        if options.get("from_logits"):
            return torch.nn.functional.binary_cross_entropy_with_logits(
                p, y, reduction="none"
            ).mean(-1)
        return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean(-1)
    return {
        "mean_squared_error": lambda: (p - y).square().mean(-1),
        "mean_absolute_error": lambda: (p - y).abs().mean(-1),
        "quadratic_cost": lambda: (p - y).square().sum(-1) / 2,
        "sum_squared_residuals": lambda: (p - y).square().sum(-1),
        "poisson": lambda: (p - y * torch.log(p + EPSILON)).mean(-1),
    }[name]()


class Theirs:
    """The model, and the other one that shares its first layers."""

    def __init__(self, recipe: Recipe, start: dict[str, Any]) -> None:
        self.recipe = recipe
        left = list(start["model"])
        made = []
        for (name, options), key in zip(recipe.layers, start["keys"], strict=True):
            count = 1 + options["use_bias"] if name == "Dense" else int(name == "PReLU")
            made.append(Layer(name, options, [left.pop(0) for _ in range(count)], key))
        self.model = Model(made, recipe.loss, Rule(*recipe.optimizer))
        flat = Layer("Flatten", {}, [], None)
        last = Layer("Dense", {"activation": "identity"}, start["other"][-2:], None)
        rule = Rule("SGD", {"learning_rate": OTHER_RATE, "momentum": 0.5})
        shared = made[: recipe.shared]
        self.other = Model([*shared, flat, last], ("mean_squared_error", {}), rule)
        self.x = torch.tensor(recipe.x.astype("float64"))
        self.y = torch.tensor(recipe.y)
        self.w = torch.tensor(_weights(recipe))

    def follow(self) -> Numbers:
        """All phases, and what they give."""
        recipe, found = self.recipe, {}
        for number, phase in enumerate(recipe.phases):
            before = self._fit(phase.at)
            for what, value in phase.events:
                self.happen(what, value)
            losses = [*before, *self._fit(phase.epochs - phase.at)]
            found[f"losses of phase {number}"] = np.array(losses)
            found[f"evaluation {number}"] = self.model.evaluate(self.x, self.y, 4)
            with torch.no_grad():
                found[f"prediction {number}"] = self.model.call(self.x).numpy()
        for owner, model in (("weights", self.model), ("other weights", self.other)):
            found |= {f"{owner} {i}": w.detach().numpy() for i, w in enumerate(model.weights)}
        return found

    def _fit(self, epochs: int) -> list[float]:
        return self.model.fit(self.x, self.y, self.w, self.recipe.batch_size, epochs)

    def happen(self, what: str, value: Any) -> None:
        """What happens between two epochs."""
        layers = self.model.layers
        if what == "rate":
            self.model.rule.options["learning_rate"] = value
        elif what == "weights":
            before = [w.detach().numpy() for w in self.model.weights]
            with torch.no_grad():
                for w, new in zip(self.model.weights, _shaken(before, value), strict=True):
                    w.copy_(torch.tensor(new))
        elif what == "other learns":
            one = torch.ones(len(self.x), dtype=torch.float64)
            self.other.fit(self.x, torch.tensor(self.recipe.other_y), one, 4)
        elif what in ("freeze", "unfreeze"):
            layers[value].learns = what == "unfreeze"
        elif what == "dropout":
            layers[value[0]].options["rate"] = value[1]
        elif what == "l2":
            options = layers[value[0]].options
            options["kernel_regularizer"] = (options["kernel_regularizer"][0], value[1])


def _weights(recipe: Recipe) -> np.ndarray:
    """One for each example."""
    if "sample_weight" in recipe.weights:
        return recipe.weights["sample_weight"].reshape(-1)
    if "class_weight" in recipe.weights:
        y = recipe.y
        classes = y.reshape(len(y)) if recipe.loss[0].startswith("sparse") else y.argmax(-1)
        return np.array([recipe.weights["class_weight"][int(c)] for c in classes])
    return np.ones(len(recipe.x))


def run(recipe: Recipe, start: dict[str, Any]) -> Numbers:
    """What comes out."""
    return Theirs(recipe, start).follow()
