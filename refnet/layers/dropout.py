"""Dropout: neurons that fail at random, so that none is relied upon."""

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
