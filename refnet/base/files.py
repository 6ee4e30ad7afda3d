"""Files put in their place whole or not at all, and Python's values as JSON that says which they were."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from refnet.errors import FileError


def replace_file(path: Path, content: bytes) -> None:
    """Put a file in its place whole: a temporary file beside it, flushed to the disk, then renamed."""
    if path.is_dir():
        raise FileError(f"{path} is a folder: a file cannot take its place")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def encode(value: Any) -> Any:
    """An attribute as JSON that says which Python value it was.

    >>> encode((1, slice(None, 3), ...))
    {'tuple': [1, {'slice': [None, 3, None]}, {'ellipsis': True}]}
    """
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return {"tuple": [encode(v) for v in value]}
    if isinstance(value, slice):
        return {"slice": [encode(v) for v in (value.start, value.stop, value.step)]}
    if value is ...:
        return {"ellipsis": True}
    raise FileError(f"an attribute of type {type(value).__name__} cannot be saved: {value!r}")


def decode(value: Any) -> Any:
    """The attribute that `encode` wrote."""
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise FileError(f"a list stands where an attribute should: {value!r}")
        return value
    match value:
        case {"float": ("inf" | "-inf" | "nan") as text}:
            return float(text)
        case {"tuple": list(items)}:
            return tuple(decode(v) for v in items)
        case {"slice": [start, stop, step]}:
            return slice(decode(start), decode(stop), decode(step))
        case {"ellipsis": True}:
            return ...
    raise FileError(f"an attribute is not understood: {value!r}")


def plain(value: Any) -> Any:
    """NaN and infinity as text: JSON has no numbers for them."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
