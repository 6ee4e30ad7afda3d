"""Layers that rearrange: the numbers of an example in another shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from refnet.errors import ArgumentError, ShapeError
from refnet.layers.layer import Layer, Shape
from refnet.ops import TABLE


class Reshape(Layer):
    """Each example in another shape; one length may be -1, which is worked out."""

    def __init__(self, target_shape: Sequence[int], **common: Any) -> None:
        super().__init__(**common)
        given = target_shape if isinstance(target_shape, Sequence) else (None,)
        if not all(isinstance(n, int) and n >= -1 for n in given):
            raise ArgumentError(
                f"{type(self).__name__} {self.name!r}: target_shape is a tuple of lengths, one of which "
                f"may be -1, got {target_shape!r}"
            )
        self.target_shape = tuple(target_shape)

    def call(self, x: Any, training: bool = False) -> Any:
        shape = self.compute_output_shape(x.shape)
        return TABLE["reshape"](x, shape=(-1, *shape[1:]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        lengths = [n for n in input_shape[1:] if n is not None]
        if len(lengths) < len(input_shape[1:]):
            raise self.wrong_shape("with known lengths", input_shape)
        size = math.prod(lengths)
        known = math.prod(n for n in self.target_shape if n != -1)
        free = self.target_shape.count(-1)
        if free > 1 or (known != size if not free else known == 0 or size % known):
            raise ShapeError(
                f"{type(self).__name__} {self.name!r} cannot turn examples of shape "
                f"{input_shape[1:]} ({size} numbers) into {self.target_shape}"
            )
        return (input_shape[0], *(size // known if n == -1 else n for n in self.target_shape))


class Flatten(Reshape):
    """Each example as one row of numbers: (batch, 8, 8) becomes (batch, 64)."""

    def __init__(self, **common: Any) -> None:
        super().__init__((-1,), **common)

    @classmethod
    def _arguments(cls) -> list[str]:
        return [name for name in super()._arguments() if name != "target_shape"]
