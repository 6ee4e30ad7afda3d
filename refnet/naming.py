"""Names for objects: "relu", "adam", "glorot_uniform" looked up in the module that defines them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from refnet.errors import ArgumentError, unknown_name

_used: Counter[str] = Counter()


def snake_case(name: str) -> str:
    """GlorotUniform as glorot_uniform, LeakyReLU as leaky_re_lu, SGD as sgd."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def class_after(function: Callable[..., Any], base: type, summary: str) -> type:
    """A subclass of `base` around a function: MeanSquaredError for mean_squared_error."""
    name = "".join(word.capitalize() for word in function.__name__.split("_"))
    doc = f"{summary.format(function.__name__)}\n\n    {function.__doc__}"
    return type(name, (base,), {"function": staticmethod(function), "__doc__": doc})


def unique_name(kind: str) -> str:
    """First "dense", then "dense_1", "dense_2" ..."""
    count = _used[kind]
    _used[kind] += 1
    return f"{kind}_{count}" if count else kind


def look_up(kind: str, identifier: Any, known: Mapping[str, Any]) -> Any:
    """What an identifier stands for: a name in `known`, or the object itself. None stays None.

    A class is instantiated with its defaults.
    """
    if isinstance(identifier, str):
        found = known.get(identifier, known.get(snake_case(identifier)))
        if found is None:
            raise unknown_name(kind, identifier, known)
        identifier = found
    if isinstance(identifier, type):
        return identifier()
    if identifier is None or callable(identifier):
        return identifier
    raise ArgumentError(f"{kind} is a name, a function or an object, got {identifier!r}")
