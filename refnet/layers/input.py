"""Input: says what one example looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from refnet.errors import ArgumentError
from refnet.layers.layer import Layer
from refnet.op.shapes import agree


class Input(Layer):
    """The shape of one example, as the first entry of a model. It computes nothing.

    Examples
    --------
    >>> Input(shape=(8, 8)).input_shape
    (None, 8, 8)
    """

    def __init__(self, shape: Sequence[int], name: str | None = None) -> None:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        super().__init__(name=name, input_shape=shape)
        self.shape = shape
        if not all(n is None or (isinstance(n, int) and n >= 0) for n in shape):
            raise ArgumentError(f"Input {self.name!r}: shape is a tuple of lengths, got {shape}")
        self.built = True

    def check_input(self, shape: tuple[int | None, ...]) -> None:
        assert self.input_shape is not None
        if not agree(shape[1:], self.input_shape[1:]):
            expected = ", ".join(["batch", *map(str, self.input_shape[1:])])
            raise self.wrong_shape(f"({expected})", shape)

    def call(self, x: Any, training: bool = False) -> Any:
        return x
