"""Random tensors and orders, from one seed.

Every draw takes the next *stream* of the seed, so that after `set_seed(0)` the same calls give the
same numbers. What is drawn is a constant, within a graph as well: drawn once, when it is written. The
generator is the Philox of `refnet.ops.random`; draws are made with NumPy whatever
the current backend is, so that a model starts from the same weights everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from refnet import config, ops
from refnet.errors import ArgumentError, ShapeError
from refnet.tensor import Tensor, tensor

_seed = int.from_bytes(os.urandom(4), "little")
_stream = 0


def set_seed(seed: int) -> None:
    """Start over: the draws that follow depend on `seed` alone."""
    global _seed, _stream
    _seed, _stream = int(seed) & 0xFFFFFFFF, 0


def next_key(seed: int | None = None) -> np.ndarray[Any, Any]:
    """A key (seed, stream) nobody else has; for a given `seed`, its first stream."""
    global _stream
    if seed is not None and not isinstance(seed, (int, np.integer)):
        raise ArgumentError(f"a seed is a whole number, got {seed!r}")
    if seed is not None:
        return np.array([int(seed) & 0xFFFFFFFF, 0])
    _stream += 1
    return np.array([_seed, _stream])


def uniform(
    shape: int | Sequence[int] = (),
    minimum: float = 0.0,
    maximum: float = 1.0,
    dtype: Any = None,
    seed: int | None = None,
) -> Tensor:
    """A tensor of numbers drawn uniformly from [minimum, maximum)."""
    draw = ops.random.random_uniform
    return tensor(draw(next_key(seed), _lengths(shape), minimum, maximum, config.dtype_name(dtype)))


def normal(
    shape: int | Sequence[int] = (),
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: int | None = None,
) -> Tensor:
    """A tensor of numbers drawn from the normal distribution N(mean, stddev²)."""
    draw = ops.random.random_normal
    return tensor(draw(next_key(seed), _lengths(shape), mean, stddev, config.dtype_name(dtype)))


def _lengths(shape: int | Sequence[int]) -> tuple[int, ...]:
    lengths = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in lengths):
        raise ShapeError(f"a shape is a tuple of lengths of at least 0, got {shape!r}")
    return lengths


def permutation(n: int, seed: int | None = None) -> np.ndarray[Any, Any]:
    """The numbers 0 … n-1 in random order, as a NumPy array: each gets a random word, then sort."""
    return np.argsort(ops.random.random_bits(next_key(seed), (n,)), kind="stable")
