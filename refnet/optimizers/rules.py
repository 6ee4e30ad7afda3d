"""The optimizers under their Keras names and defaults: each is one op of `refnet.ops.optimizers`."""

from __future__ import annotations

import math

from refnet.errors import ArgumentError
from refnet.ops import TABLE
from refnet.optimizers.optimizer import Optimizer


def _require(owner: str, name: str, value: float, most: float = math.inf) -> None:
    if not (isinstance(value, (int, float)) and 0 <= value <= most):
        raise ArgumentError(f"{owner}: {name} is a number from 0 to {most}, got {value!r}")


class SGD(Optimizer):
    r"""θ ← θ - η g; with momentum μ the steps gather speed: v ← μ v - η g, θ ← θ + v

    With nesterov=True the gradient is followed from where the momentum leads: θ ← θ + μ v - η g.
    The name says stochastic; batch, mini-batch or stochastic is the `batch_size` given to `fit`.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        name: str | None = None,
    ) -> None:
        _require("SGD", "momentum", momentum, 1.0)
        if nesterov and not momentum:
            raise ArgumentError("SGD: nesterov=True needs a momentum above 0")
        if momentum:
            rule = TABLE["nesterov" if nesterov else "momentum"]
            super().__init__(learning_rate, rule, name, momentum=float(momentum))
        else:
            super().__init__(learning_rate, TABLE["sgd"], name)


class RMSprop(Optimizer):
    r"""s ← ρ s + (1 - ρ) g²;  θ ← θ - η g / √(s + ε). Tieleman and Hinton (2012)."""

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        epsilon: float = 1e-7,
        name: str | None = None,
    ) -> None:
        _require("RMSprop", "rho", rho, 1.0)
        _require("RMSprop", "epsilon", epsilon)
        super().__init__(
            learning_rate, TABLE["rmsprop"], name, rho=float(rho), epsilon=float(epsilon)
        )


class Adam(Optimizer):
    r"""θ ← θ - η m̂ / (√v̂ + ε), with bias-corrected means m̂ of g and v̂ of g². Kingma and Ba (2015)."""

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str | None = None,
    ) -> None:
        _require("Adam", "epsilon", epsilon)
        for label, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise ArgumentError(f"Adam: {label} is at least 0 and below 1, got {beta}")
        super().__init__(
            learning_rate,
            TABLE["adam"],
            name,
            beta_1=float(beta_1),
            beta_2=float(beta_2),
            epsilon=float(epsilon),
        )
