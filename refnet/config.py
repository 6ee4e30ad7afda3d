"""Settings that hold for the whole program: the default float type, and the small number ε.

>>> from refnet import config
>>> config.floatx()
'float32'
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnet.errors import ArgumentError, DTypeError

FLOATS = ("float16", "float32", "float64")
#: all types of numbers that a tensor may hold
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("bfloat16", *FLOATS),
)

_floatx = "float32"
_epsilon = 1e-7


def floatx() -> str:
    """The float type that new tensors, weights and inputs get: "float32" unless set otherwise."""
    return _floatx


def set_floatx(dtype: Any) -> None:
    """Set the default float type: "float16", "float32" or "float64"."""
    global _floatx
    name = dtype_name(dtype)
    if name not in FLOATS:
        raise ArgumentError(f"floatx is one of {', '.join(FLOATS)}, got {dtype!r}")
    _floatx = name


def dtype_name(dtype: Any = None) -> str:
    """The name of a type of numbers, however it is written; `floatx` for None and Python's float.

    >>> (
    ...     dtype_name("float64"),
    ...     dtype_name(np.float64),
    ...     dtype_name(np.dtype("<i4")),
    ...     dtype_name(float),
    ... )
    ('float64', 'float64', 'int32', 'float32')

    The types of PyTorch and TensorFlow, ``torch.float64``, ``tf.int32``, are known by their names.
    """
    found = dtype
    if not isinstance(dtype, (str, type)):
        found = (
            _floatx if dtype is None else getattr(dtype, "name", str(dtype).removeprefix("torch."))
        )
    elif dtype in (float, "float"):
        found = _floatx
    if found not in DTYPES:
        try:
            found = np.dtype(found).name
        except TypeError:
            found = None
    if found not in DTYPES:
        hint = "; a shape is one tuple, (2, 3)" if isinstance(dtype, int) else ""
        raise DTypeError(f"a type of numbers is one of {', '.join(DTYPES)}, got {dtype!r}{hint}")
    return str(found)


def epsilon() -> float:
    """The small number that keeps divisions and logarithms finite: 1e-7, as in Keras."""
    return _epsilon
