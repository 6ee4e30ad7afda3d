"""New tensors: of constants, ranges, and the like of what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from refnet import backend as backends
from refnet import config
from refnet.autograd.tensor import Tensor, tensor
from refnet.backend import Backend
from refnet.errors import ArgumentError, BackendError, DTypeError, ShapeError


def zeros(shape: int | Sequence[int] = (), dtype: Any = None, name: str = "") -> Tensor:
    """A tensor of zeros."""
    return _filled("zeros", shape, 0, config.dtype_name(dtype), name)


def ones(shape: int | Sequence[int] = (), dtype: Any = None, name: str = "") -> Tensor:
    """A tensor of ones."""
    return _filled("ones", shape, 1, config.dtype_name(dtype), name)


def full(shape: int | Sequence[int], value: float, dtype: Any = None, name: str = "") -> Tensor:
    """A tensor with the same value everywhere, of the type Python gives the value.

    >>> full((2,), 7)
    Tensor([7, 7], shape=(2,), dtype=int64)
    """
    return _filled("full", shape, tensor(value).numpy(), dtype, name)


def _filled(owner: str, shape: int | Sequence[int], value: Any, dtype: Any, name: str) -> Tensor:
    lengths = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in lengths):
        raise ShapeError(f"{owner}: a shape is a tuple of lengths of at least 0, got {shape!r}")
    return tensor(np.full(lengths, value), dtype, name)


def zeros_like(x: Any, dtype: Any = None) -> Tensor:
    """Zeros in the shape of x, of its type unless another is given."""
    return _like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Tensor:
    """Ones in the shape of x, of its type unless another is given."""
    return _like(x, 1, dtype)


def _like(x: Any, value: int, dtype: Any) -> Tensor:
    x = x if isinstance(x, Tensor) else tensor(x)
    return tensor(
        np.full(x.known().shape, value), x.dtype if dtype is None else dtype, backend=x.backend
    )


def eye(rows: int, columns: int | None = None, dtype: Any = None) -> Tensor:
    """The identity matrix: ones on the diagonal, zeros elsewhere."""
    columns = rows if columns is None else columns
    if rows < 0 or columns < 0:
        raise ShapeError(f"eye: the lengths are at least 0, got {rows} and {columns}")
    return tensor(np.eye(rows, columns), config.dtype_name(dtype))


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> Tensor:
    """The numbers from `start` (0 if only one bound is given) up to but not including `stop`.

    >>> arange(2, 8, 2)
    Tensor([2, 4, 6], shape=(3,), dtype=int64)
    """
    if step == 0:
        raise ArgumentError("arange: the step is 0, so it would never arrive")
    first, last = (0, start) if stop is None else (start, stop)
    whole = all(isinstance(n, int) for n in (first, last, step))
    kind = "int64" if whole and dtype is None else config.dtype_name(dtype)
    return tensor(np.arange(first, last, step), kind)


def linspace(start: float, stop: float, num: int = 50, dtype: Any = None) -> Tensor:
    """`num` numbers, evenly spaced from `start` to `stop`, both included.

    >>> linspace(0, 1, 5)
    Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ], shape=(5,), dtype=float32)
    """
    if num < 0:
        raise ArgumentError(f"linspace: num is at least 0, got {num}")
    return tensor(np.linspace(start, stop, num), config.dtype_name(dtype))


def from_dlpack(array: Any, name: str = "", backend: str | Backend | None = None) -> Tensor:
    """The array of another library (PyTorch, CuPy, JAX ...) as a tensor, without a copy if possible.

    Where memory is shared, what changes on one side changes on the other.

    >>> from_dlpack(np.array([1.0, 2.0]))
    Tensor([1., 2.], shape=(2,), dtype=float64)
    """
    there = backends.get(backend)
    if not hasattr(array, "__dlpack__"):
        raise DTypeError(f"from_dlpack: {type(array).__name__} does not speak DLPack")
    try:
        return Tensor(there.from_dlpack(array), there, name=name)
    except (BufferError, RuntimeError, ValueError) as error:
        raise BackendError(
            f"from_dlpack: {there.name} cannot take over this {type(array).__name__}: {error}"
        ) from error


__all__ = [
    "arange",
    "eye",
    "from_dlpack",
    "full",
    "linspace",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]
