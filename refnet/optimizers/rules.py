"""The optimizers under their Keras names and defaults: each is one op of `refnet.ops.optimizers`."""

from __future__ import annotations

from typing import Any

from refnet.base.arguments import number, truth
from refnet.errors import ArgumentError
from refnet.ops import TABLE
from refnet.optimizers.optimizer import Coefficient, Optimizer


class SGD(Optimizer):
    r"""θ ← θ - η g; with momentum μ the steps gather speed: v ← μ v - η g, θ ← θ + v

    With nesterov=True the gradient is followed from where the momentum leads: θ ← θ + μ v - η g.
    The name says stochastic; batch, mini-batch or stochastic is the `batch_size` given to `fit`.
    """

    momentum = Coefficient(least=0, most=1)

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        name: str | None = None,
    ) -> None:
        momentum = number("SGD: momentum", momentum, least=0, most=1)
        if truth("SGD: nesterov", nesterov) and not momentum:
            raise ArgumentError("SGD: nesterov=True needs a momentum above 0")
        if momentum:
            super().__init__(learning_rate, TABLE["nesterov" if nesterov else "momentum"], name)
            self.momentum = momentum
        else:
            super().__init__(learning_rate, TABLE["sgd"], name)

    def get_config(self) -> dict[str, Any]:
        """What it was made with: without a momentum, the rule keeps none."""
        return {
            "learning_rate": self.learning_rate,
            "momentum": self.attributes.get("momentum", 0.0),
            "nesterov": self.rule.name == "nesterov",
            "name": self.name,
        }


class Adagrad(Optimizer):
    r"""s ← s + g²;  θ ← θ - η g / √(s + ε), s from initial_accumulator_value on. Duchi et al. (2011)."""

    epsilon = Coefficient(least=0)

    def __init__(
        self,
        learning_rate: float = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, TABLE["adagrad"], name)
        self.epsilon = epsilon
        self.initial_accumulator_value = number(
            "Adagrad: initial_accumulator_value", initial_accumulator_value, least=0
        )

    def starts_at(self, state: str) -> float:
        """The sum of squares starts where the user says: from 0, the first steps would all be η."""
        return self.initial_accumulator_value


class RMSprop(Optimizer):
    r"""s ← ρ s + (1 - ρ) g²;  θ ← θ - η g / √(s + ε). Tieleman and Hinton (2012)."""

    rho, epsilon = Coefficient(least=0, most=1), Coefficient(least=0)

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        epsilon: float = 1e-7,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, TABLE["rmsprop"], name)
        self.rho, self.epsilon = rho, epsilon


class Adam(Optimizer):
    r"""θ ← θ - η m̂ / (√v̂ + ε), with bias-corrected means m̂ of g and v̂ of g². Kingma and Ba (2015)."""

    beta_1, beta_2 = Coefficient(least=0, below=1), Coefficient(least=0, below=1)
    epsilon = Coefficient(least=0)

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, TABLE["adam"], name)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
