"""Dropout: neurons that fail at random, so that none is relied upon."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnet.errors import ArgumentError
from refnet.layers.layer import Layer, Shape
from refnet.ops import TABLE
from refnet.random import next_key


class Dropout(Layer):
    r"""While training, y = x · [u ≥ rate] / (1 - rate); otherwise y = x

    Each element is dropped with probability `rate`. Srivastava et al. (2014), "Dropout: a simple way
    to prevent neural networks from overfitting".
    """

    def __init__(self, rate: float, seed: int | None = None, **common: Any) -> None:
        super().__init__(**common)
        if not (isinstance(rate, (int, float)) and 0 <= rate < 1):
            raise ArgumentError(
                f"Dropout {self.name!r}: rate is at least 0 and below 1, got {rate!r}"
            )
        self.rate, self.seed = float(rate), seed

    def make_weights(self, input_shape: Shape) -> None:
        seed, stream = next_key(self.seed)
        # a generator of this layer's own; each call takes the next stream
        first = np.array([(seed ^ (stream * 0x9E3779B9)) & 0xFFFFFFFF, 0])
        self.key = self.add_state(first, "key")

    def call(self, x: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return x
        key = TABLE["add"](self.key, [0, 1])  # a copy: the gradient will read it again
        TABLE["assign"](self.key, key)
        return TABLE["dropout"](x, key, rate=self.rate)
