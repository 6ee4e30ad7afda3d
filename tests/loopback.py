"""A backend that is NumPy again, under another name, and touches no array that is not its own.

What runs on it goes through the dispatch, all the way: its arrays refuse every NumPy function and
all arithmetic, its functions refuse every other array. Code that reaches around the backend fails
here, on any machine, and not only on a GPU.
"""

from __future__ import annotations

import numpy as np

from refnet.backend import Backend, get
from refnet.errors import BackendError


class LoopbackArray(np.ndarray):
    """Memory and a shape. To compute with it, ask its backend."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        raise BackendError(f"numpy.{ufunc.__name__} was called on a loopback array")

    def __array_function__(self, function, types, arguments, options):
        raise BackendError(f"numpy.{function.__name__} was called on a loopback array")


def own(value):
    """A result of NumPy as an array of this backend, in the same memory. None stays None."""
    return None if value is None else np.asarray(value).view(LoopbackArray)


def opened(array, asker):
    """An array of this backend as one of NumPy, in the same memory."""
    if type(array) is not LoopbackArray:
        raise BackendError(f"{asker} of the loopback backend got {type(array).__name__}")
    return array.view(np.ndarray)


class Loopback(Backend):
    """The reference, behind a door that only lets in what it handed out."""

    name = "loopback"
    array_type = LoopbackArray
    dtypes = ("float32", "float64")

    def function(self, op):
        def run(*inputs, **attributes):
            results = op.fitted(*(opened(x, op.name) for x in inputs), **attributes)
            if isinstance(results, tuple):
                return tuple(own(result) for result in results)
            return own(results)

        return run

    def array(self, values, dtype=None):
        if type(values) is LoopbackArray:
            values = opened(values, "array")
        return own(get("numpy").array(values, dtype))

    def numpy(self, array):
        return opened(array, "numpy").copy()

    def dtype(self, array):
        return str(opened(array, "dtype").dtype)
