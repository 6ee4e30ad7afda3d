"""The reference as a backend: NumPy's arrays, and the functions of `refnet.ops` themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refnet.backend.base import Array, Backend
from refnet.errors import DTypeError
from refnet.op import Op


class NumPyBackend(Backend):
    """The reference: the functions of `refnet.ops` themselves."""

    name = "numpy"
    array_type = np.ndarray
    dtypes = ("float32", "float64")

    def function(self, op: Op) -> Callable[..., Any]:
        return op.fitted

    def array(self, values: Any, dtype: str | None = None) -> Array:
        try:
            return np.array(values, dtype)
        except TypeError as error:
            raise DTypeError(f"NumPy makes no {dtype} of this: {error}") from error

    def feed(self, values: Any) -> Array:
        return values

    def from_dlpack(self, array: Any) -> Array:
        return np.from_dlpack(array)

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array)

    def dtype(self, array: Array) -> str:
        return str(array.dtype)

    def describe(self) -> str:
        return f"NumPy {np.__version__} on the CPU"
