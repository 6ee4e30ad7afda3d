"""What a user gives as numbers of a type: lists and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnet import backend as backends
from refnet import config
from refnet.base.dtypes import INTEGERS, native, require_range
from refnet.errors import DTypeError, ShapeError


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
