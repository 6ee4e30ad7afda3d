"""What one can write with tensors: a + b, x[1:], x.sum(axis=0). Each is the op of that name."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnet.errors import ArgumentError
from refnet.ops import TABLE


class Operators:
    """Arithmetic, comparisons, indexing, shape and reductions, as NumPy's arrays have them."""

    __slots__ = ()

    # -- arithmetic ----------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return TABLE["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return TABLE["add"](other, self)

    def __sub__(self, other: Any) -> Any:
        return TABLE["subtract"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return TABLE["subtract"](other, self)

    def __mul__(self, other: Any) -> Any:
        return TABLE["multiply"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return TABLE["multiply"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return TABLE["divide"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return TABLE["divide"](other, self)

    def __pow__(self, other: Any) -> Any:
        return TABLE["power"](self, other)

    def __rpow__(self, other: Any) -> Any:
        return TABLE["power"](other, self)

    def __matmul__(self, other: Any) -> Any:
        return TABLE["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return TABLE["matmul"](other, self)

    def __neg__(self) -> Any:
        return TABLE["negative"](self)

    def __abs__(self) -> Any:
        return TABLE["abs"](self)

    def __eq__(self, other: object) -> Any:
        return TABLE["equal"](self, other)

    def __ne__(self, other: object) -> Any:
        return TABLE["not_equal"](self, other)

    def __lt__(self, other: Any) -> Any:
        return TABLE["less"](self, other)

    def __le__(self, other: Any) -> Any:
        return TABLE["less_equal"](self, other)

    def __gt__(self, other: Any) -> Any:
        return TABLE["greater"](self, other)

    def __ge__(self, other: Any) -> Any:
        return TABLE["greater_equal"](self, other)

    # -- shape and reductions ------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        for part in key if isinstance(key, tuple) else (key,):
            if isinstance(part, bool) or not isinstance(
                part, (int, np.integer, slice, type(None), type(...))
            ):
                raise ArgumentError(
                    f"a tensor is indexed by integers, slices, None and ..., got {part!r}"
                )
        return TABLE["index"](self, key=key)

    def reshape(self, *shape: Any) -> Any:
        """The same elements in another shape: ``x.reshape(2, 3)`` or ``x.reshape((2, -1))``."""
        return TABLE["reshape"](self, shape=_tuple(shape))

    def transpose(self, *axes: Any) -> Any:
        """The axes in another order; reversed if none is given."""
        return TABLE["transpose"](self, axes=_tuple(axes) if axes else None)

    @property
    def T(self) -> Any:
        """The axes reversed."""
        return TABLE["transpose"](self)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Σ over an axis, several, or all."""
        return TABLE["sum"](self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The mean over an axis, several, or all."""
        return TABLE["mean"](self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The largest element along an axis, several, or all."""
        return TABLE["max"](self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The smallest element along an axis, several, or all."""
        return TABLE["min"](self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None) -> Any:
        """Where the largest element is."""
        return TABLE["argmax"](self, axis=axis)

    def astype(self, dtype: str) -> Any:
        """The same values as numbers of another type."""
        return TABLE["cast"](self, dtype=dtype)


def _tuple(items: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(items[0]) if len(items) == 1 and not isinstance(items[0], int) else items
