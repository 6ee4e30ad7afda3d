"""What a user gives as numbers of a type: lists and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnet import backend as backends
from refnet import config
from refnet.errors import DTypeError, ShapeError
from refnet.promotion import native

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def require_range(array: np.ndarray[Any, Any], dtype: str) -> None:
    """Raise a DTypeError if numbers are too large for the integer type they are to be stored in."""
    if array.dtype.kind in "iuf" and dtype in INTEGERS and array.size:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        for value in (array.min().item(), array.max().item()):
            if not least <= value <= most:  # NaN is not
                raise DTypeError(f"{value} is no {dtype}: these hold {least} to {most}")


def as_numbers(values: Any, dtype: str | None) -> np.ndarray[Any, Any]:
    """Nested lists and scalars as an array, Python floats as floatx; anything else is an error."""
    if np.ma.is_masked(values):
        raise DTypeError(
            "a tensor has no mask: values.filled(0) is an array, x[~mask] what is there"
        )
    given = backends.backend_of(values)
    if given is not None:
        values = given.numpy(values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"the nested lists are ragged: {error}") from error
    except (TypeError, RuntimeError) as error:  # what another library's array says on its way here
        raise DTypeError(f"{type(values).__name__} cannot become an array: {error}") from error
    if dtype is not None and dtype in INTEGERS:
        require_range(array, dtype)
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"a tensor holds numbers, got {type(values).__name__} of {array.dtype}")
    config.dtype_name(array.dtype)  # a DTypeError for long doubles
    array = native(array)
    if (
        dtype is None
        and array.dtype.kind == "f"
        and not isinstance(values, (np.ndarray, np.generic))
    ):
        array = array.astype(config.floatx())
    return array
