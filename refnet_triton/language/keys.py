"""Keys that are known when they are written, in a form that torch has views for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def _backwards(part: Any) -> bool:
    """Whether a part of a key is a slice with a negative step."""
    return isinstance(part, slice) and part.step is not None and part.step < 0


def forwards(key: Any, shape: Sequence[int]) -> tuple[tuple[Any, ...], list[int]]:
    """(key without negative steps, the axes of x[key] that are to be reversed), for x of a shape.

    torch has no views that run backwards: what a negative step takes is taken forwards, then reversed.
    """
    key = key if isinstance(key, tuple) else (key,)
    if not any(_backwards(part) for part in key):
        return key, []
    taken = sum(part is not None and part is not ... for part in key)
    rest = [slice(None)] * (len(shape) - taken)
    at = key.index(...) if ... in key else len(key)
    parts: list[Any] = []
    backwards: list[int] = []
    lengths, axis = iter(shape), 0
    for part in (*key[:at], *rest, *key[at + 1 :]):
        n = None if part is None else next(lengths, 0)
        if _backwards(part):
            positions = range(*part.indices(n))[::-1]
            part = slice(positions.start, positions.stop, positions.step)
            backwards.append(axis)
        parts.append(part)
        axis += part is None or isinstance(part, slice)
    return tuple(parts), backwards
