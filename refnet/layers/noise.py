"""Noise while training, so that nothing is learned that hangs on one number: dropout, Gaussian noise."""

from __future__ import annotations

from typing import Any

from refnet.base.arguments import Checked, Number, optional_seed
from refnet.layers.layer import Layer, Shape
from refnet.ops import TABLE
from refnet.random import generator_key, next_stream


class Dropout(Layer):
    r"""While training, y = x · [u ≥ rate] / (1 - rate); otherwise y = x

    Each element is dropped with probability `rate`. Srivastava et al. (2014), "Dropout: a simple way
    to prevent neural networks from overfitting".
    """

    rate = Number(least=0, below=1)
    seed = Checked(lambda what, seed: optional_seed(seed), fixed=True)

    def __init__(self, rate: float, seed: int | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.rate, self.seed = rate, seed

    def make_weights(self, input_shape: Shape) -> None:
        self.key = self.add_state(generator_key(self.seed), "key")

    def call(self, x: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return x
        return TABLE["dropout"](x, next_stream(self.key), rate=self.rate)


class GaussianNoise(Layer):
    r"""While training, y = x + σ ε, ε ~ N(0, 1) for each element; otherwise y = x

    With noisy inputs, a network learns as if they were more: Bishop (1995), "Training with noise is
    equivalent to Tikhonov regularization".
    """

    stddev = Number(least=0)
    seed = Checked(lambda what, seed: optional_seed(seed), fixed=True)

    def __init__(self, stddev: float, seed: int | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.stddev, self.seed = stddev, seed

    def make_weights(self, input_shape: Shape) -> None:
        self.key = self.add_state(generator_key(self.seed), "key")

    def call(self, x: Any, training: bool = False) -> Any:
        if not training or self.stddev == 0:
            return x
        noise = TABLE["random_normal"](next_stream(self.key), shape=x.shape, dtype=x.dtype)
        return x + noise * self.stddev
