"""Entry: one line of what a graph holds. Whatever saves a graph or draws it reads a list of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Entry:
    """A placeholder, a variable, a constant, or the application of an op.

    Attributes
    ----------
    name : unique in the graph; scopes are separated by slashes: "hidden/linear".
    kind : "placeholder", "variable", "constant" or "op".
    outputs : (shape, dtype) of each result; a length that is open until the run is None. All kinds
        but "op" have one result.
    op, inputs, attributes : the op's name, what it reads, and how it was applied. An input is the name
        of an entry, "hidden/linear", or one of its further results, "hidden/linear:1".
    value : the array of a constant, or what a variable starts from.
    trainable : whether an optimizer may change the variable.
    line : where the user wrote it: "lesson.py:12: y = x @ w".
    """

    name: str
    kind: str
    outputs: Sequence[tuple[Shape, str]]
    op: str = ""
    inputs: Sequence[str] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    value: np.ndarray[Any, Any] | None = None
    trainable: bool = False
    line: str = ""

    @property
    def scope(self) -> str:
        """The part of the name before the last slash; "" at the top."""
        return self.name.rpartition("/")[0]


def source_of(reference: str) -> tuple[str, int]:
    """The name and the number of the result a reference means.

    >>> source_of("hidden/linear:1"), source_of("x")
    (('hidden/linear', 1), ('x', 0))
    """
    name, colon, index = reference.rpartition(":")
    return (name, int(index)) if colon else (reference, 0)
