"""Random tensors and orders, from one seed.

Every draw takes the next *stream* of the seed, so that after `set_seed(0)` the same calls give the
same numbers. What is drawn is a constant, within a graph as well: drawn once, when it is written. But
a layer or a loss that draws in a step of training draws anew in every step. The generator is the
Philox of `refnet.ops.random`; draws are made with NumPy whatever the current backend is, so that a
model starts from the same weights everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from refnet import config, ops
from refnet.autograd.context import step_inputs
from refnet.autograd.tensor import Tensor, tensor
from refnet.autograd.variable import Variable
from refnet.base.arguments import whole_number
from refnet.errors import ShapeError
from refnet.op import TABLE, Op

_seed = int.from_bytes(os.urandom(4), "little")
_stream = 0


def set_seed(seed: int) -> None:
    """Start over: the draws that follow depend on `seed` alone."""
    global _seed, _stream
    _seed, _stream = whole_number("a seed", seed, least=None) & 0xFFFFFFFF, 0


def get_state() -> tuple[int, int]:
    """The seed and how many streams have been drawn of it: `set_state` goes on from there."""
    return _seed, _stream


def set_state(state: Sequence[int]) -> None:
    """Go on drawing from where `get_state` was called.

    >>> state = get_state()
    >>> x = uniform((3,)).numpy()
    >>> set_state(state)
    >>> bool((uniform((3,)).numpy() == x).all())
    True
    """
    global _seed, _stream
    seed, stream = state
    _seed = whole_number("a seed", seed, least=0)
    _stream = whole_number("a stream", stream, least=0)


#: which stream of a given seed a draw takes: one seed for two purposes gives numbers of two kinds.
#: The streams of `set_seed` are counted from 1 and stay far below.
STREAMS = {"draw": 0, "weights": 2**31, "order": 2**31 + 1, "generator": 2**31 + 2}


def next_key(seed: int | None = None, purpose: str = "draw") -> np.ndarray[Any, Any]:
    """A key (seed, stream) nobody else has; for a given `seed`, the stream of this purpose."""
    global _stream
    if seed is not None:
        return np.array([whole_number("a seed", seed, least=None) & 0xFFFFFFFF, STREAMS[purpose]])
    _stream += 1
    return np.array([_seed, _stream])


def generator_key(seed: int | None = None) -> np.ndarray[Any, Any]:
    """The first key of a generator of its own, whose streams are apart from those of all others."""
    seed, stream = map(int, next_key(seed, "generator"))
    return np.array([(seed ^ (stream * 0x9E3779B9)) & 0xFFFFFFFF, 0])


def next_stream(key: Variable) -> Any:
    """The next key of a generator, which moves on: at each run of a recorded step, too."""
    following = TABLE["add"](key, [0, 1])  # a copy: a gradient may read it again
    TABLE["assign"](key, following)
    return following


def uniform(
    shape: int | Sequence[int] = (),
    minimum: float = 0.0,
    maximum: float = 1.0,
    dtype: Any = None,
    seed: int | None = None,
) -> Tensor:
    """A tensor of numbers drawn uniformly from [minimum, maximum)."""
    return _draw(ops.random.random_uniform, shape, minimum, maximum, dtype, seed)


def normal(
    shape: int | Sequence[int] = (),
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: int | None = None,
) -> Tensor:
    """A tensor of numbers drawn from the normal distribution N(mean, stddev²)."""
    return _draw(ops.random.random_normal, shape, mean, stddev, dtype, seed)


def _draw(
    op: Op,
    shape: int | Sequence[int],
    first: float,
    second: float,
    dtype: Any,
    seed: int | None,
) -> Tensor:
    attributes = _lengths(shape), first, second, config.dtype_name(dtype)
    inputs = step_inputs.get()
    if inputs is None or seed is not None:
        return tensor(op.function(next_key(seed), *attributes))
    key = Variable(generator_key(), trainable=False, backend=inputs[0].backend)
    drawn: Tensor = op(next_stream(key), *attributes)
    return drawn


def _lengths(shape: int | Sequence[int]) -> tuple[int, ...]:
    lengths = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in lengths):
        raise ShapeError(f"a shape is a tuple of lengths of at least 0, got {shape!r}")
    return lengths


def permutation(n: int, seed: int | None = None) -> np.ndarray[Any, Any]:
    """The numbers 0 … n-1 in random order, as a NumPy array."""
    return order_of(next_key(seed, "order"), n)


def order_of(key: Any, n: int) -> np.ndarray[Any, Any]:
    """The order of 0 … n-1 that belongs to a key: each gets a random word, then sort."""
    return np.argsort(ops.random.random_bits(np.asarray(key), (n,)), kind="stable")
