"""Settings that hold for the whole program: the default float type, and the small number ε.

>>> from refnet import config
>>> config.floatx()
'float32'
"""

from __future__ import annotations

from refnet.errors import ArgumentError

FLOATS = ("float16", "float32", "float64")

_floatx = "float32"
_epsilon = 1e-7


def floatx() -> str:
    """The float type that new tensors, weights and inputs get: "float32" unless set otherwise."""
    return _floatx


def set_floatx(dtype: str) -> None:
    """Set the default float type: "float16", "float32" or "float64"."""
    global _floatx
    if dtype not in FLOATS:
        raise ArgumentError(f"floatx is one of {', '.join(FLOATS)}, got {dtype!r}")
    _floatx = dtype


def epsilon() -> float:
    """The small number that keeps divisions and logarithms finite: 1e-7, as in Keras."""
    return _epsilon
