"""Types of numbers: what their formats hold, how numbers are rounded and cast to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from refnet.errors import DTypeError

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NARROW = {"bool", "int8", "uint8"}  # their numbers are numbers of bfloat16
#: mantissa bits (with the hidden one) and smallest normal exponent of each float type
FORMATS = {
    "float64": (53, -1022),
    "float32": (24, -126),
    "float16": (11, -14),
    "bfloat16": (8, -126),
}


def unit_roundoff(dtype: str) -> float:
    """u = 2⁻ᵖ for p mantissa bits: the largest relative error of one rounding."""
    return float(2.0 ** -FORMATS[dtype][0])


def arithmetic(dtype: str) -> str:
    """The type that values of `dtype` are computed in: float32 for the half types."""
    return "float64" if dtype == "float64" else "float32"


def spacing(y: Any, dtype: str) -> Any:
    """ulp(y): the distance from |y| to the next larger float of `dtype`, in float64.

    >>> float(spacing(1.0, "float32")) == 2.0**-23, float(spacing(0.0, "float32")) == 2.0**-149
    (True, True)
    """
    bits, smallest = FORMATS[dtype]
    magnitude = np.nan_to_num(np.abs(np.asarray(y, np.float64)), nan=0.0, posinf=0.0)
    exponent = np.where(magnitude > 0, np.frexp(magnitude)[1] - 1, smallest)  # frexp(0) is (0, 0)
    exponent = np.maximum(exponent, smallest)
    return np.ldexp(1.0, exponent - (bits - 1))


def round_to(x: Any, dtype: str) -> Any:
    """x rounded to the nearest value of `dtype`, kept in float64 (NumPy itself has no bfloat16).

    >>> round_to(1.00390625, "bfloat16").item()
    1.0
    """
    x = np.asarray(x)
    if x.dtype.kind != "f":
        return x
    with np.errstate(over="ignore", under="ignore"):
        if dtype != "bfloat16":
            return x.astype(dtype).astype(np.float64)
        bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
        bits += 0x7FFF + ((bits >> 16) & 1)  # round half to even
        rounded = (bits & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)
        return np.where(np.isnan(x), np.nan, rounded)


def below(y: float, dtype: str) -> float:
    """The largest number of `dtype` that is less than y; -∞ below the least.

    >>> below(1.0, "float32") == 1 - 2.0**-24, below(1.0, "float16") == 1 - 2.0**-11
    (True, True)
    """
    nearest = float(round_to(y, dtype))
    if nearest < y:
        return nearest
    smaller = np.nextafter(nearest, -np.inf)  # a float64 with the spacing of the numbers below
    return float(nearest - spacing(smaller, dtype))


# -- casts ------------------------------------------------------------------------------------------


def common(dtypes: Sequence[str]) -> str:
    """The type of arrays of these types together.

    >>> common(["uint8", "int8"]), common(["int32", "float32"]), common(["bfloat16", "float16"])
    ('int16', 'float64', 'float32')
    """
    others = set(dtypes) - {"bfloat16"}
    if "bfloat16" not in dtypes:
        return str(np.result_type(*others))
    return "bfloat16" if others <= NARROW else str(np.result_type("float32", *others))


def is_float(dtype: str) -> bool:
    """Whether a type holds fractions: gradients flow through tensors of such types alone."""
    return dtype.startswith(("float", "bfloat"))


def castable(source: str, target: str) -> bool:
    """Whether numbers of a type may be stored as another: integers as floats, not floats as integers.

    >>> castable("float64", "float32"), castable("int64", "float32"), castable("float32", "int64")
    (True, True, False)
    """
    source, target = ("float32" if t == "bfloat16" else t for t in (source, target))
    return np.can_cast(source, target, "same_kind")


def native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same numbers with their bytes in the order of this machine, which types here all have.

    >>> str(native(np.array([1.0], ">f4")).dtype)
    'float32'
    """
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def require_range(array: np.ndarray[Any, Any], dtype: str) -> None:
    """Raise a DTypeError if numbers are too large for the integer type they are to be stored in."""
    if array.dtype.kind in "iuf" and dtype in INTEGERS and array.size:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        for value in (array.min().item(), array.max().item()):
            if not least <= value <= most:  # NaN is not
                raise DTypeError(f"{value} is no {dtype}: these hold {least} to {most}")
