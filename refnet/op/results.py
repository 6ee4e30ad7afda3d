"""What an op's function returns: the one result there is, or a tuple of several."""

from __future__ import annotations

from typing import Any


def as_tuple(results: Any) -> tuple[Any, ...]:
    """The results of an op, one or several, as a tuple."""
    return results if isinstance(results, tuple) else (results,)
