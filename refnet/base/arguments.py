"""What arguments may be: whole numbers, numbers within a range, one of some words.

Each function returns the value, or raises an ArgumentError that says who expects what and what came.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from refnet.errors import ArgumentError


def whole_number(what: str, value: Any, least: int | None = 1) -> int:
    """A whole number of at least `least` (None: of any size); True and 3.0 are none.

    >>> whole_number("epochs", 3)
    3
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or (least is not None and value < least):
        size = "" if least is None else f" of at least {least}"
        raise ArgumentError(f"{what} is a whole number{size}, got {value!r}")
    return int(value)


def number(
    what: str, value: Any, least: float = -math.inf, most: float = math.inf, below: float = math.inf
) -> float:
    """A finite number from `least` to `most`, and below `below`; True and NaN are none.

    >>> number("rate", 0.5, least=0, below=1)
    0.5
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not (math.isfinite(value) and least <= value <= most and value < below):
        limits = [
            *([f"at least {least:g}"] if least > -math.inf else []),
            *([f"at most {most:g}"] if most < math.inf else []),
            *([f"below {below:g}"] if below < math.inf else []),
        ]
        within = f" of {' and '.join(limits)}" if limits else ""
        raise ArgumentError(f"{what} is a number{within}, got {value!r}")
    return float(value)


def optional_seed(seed: Any) -> int | None:
    """A whole number, or None: numbers nobody can foresee."""
    return None if seed is None else whole_number("a seed", seed, least=None)


def truth(what: str, value: Any) -> bool:
    """True or False, and nothing that only counts as one of them."""
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentError(f"{what} is True or False, got {value!r}")
    return bool(value)


def one_of(what: str, value: Any, options: Sequence[Any]) -> Any:
    """One of the options, of the very type: neither "2" nor True is 2 or 1."""
    if not any(type(value) is type(option) and value == option for option in options):
        raise ArgumentError(f"{what} is one of {', '.join(map(repr, options))}, got {value!r}")
    return value


class Checked:
    """An attribute that is checked whenever it is set.

    `check(what, value)` returns what is kept, or raises an error that begins with `what`. What is
    `fixed` is read when a thing is built, and refused afterwards, when it would change nothing.

    >>> class Tower:
    ...     built = False
    ...     floors = Checked(whole_number, fixed=True)
    >>> tower = Tower()
    >>> tower.floors, tower.built = 3, True
    >>> tower.floors = 4
    Traceback (most recent call last):
    refnet.errors.ArgumentError: Tower: floors is 3 since it was built: to change it, make another one
    """

    def __init__(self, check: Callable[[str, Any], Any], fixed: bool = False) -> None:
        self.check, self.fixed = check, fixed

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, thing: Any, owner: type | None = None) -> Any:
        if thing is None:
            return self
        try:
            return self.kept(thing)[self.name]
        except KeyError:
            raise AttributeError(f"{self._what(thing)} is not set yet") from None

    def __set__(self, thing: Any, value: Any) -> None:
        what, kept = self._what(thing), self.kept(thing)
        if self.fixed and thing.built:
            raise ArgumentError(
                f"{what} is {kept[self.name]!r} since it was built: to change it, make another one"
            )
        kept[self.name] = self.check(what, value)

    def kept(self, thing: Any) -> dict[str, Any]:
        """Where the value is kept."""
        return vars(thing)

    def _what(self, thing: Any) -> str:
        name = vars(thing).get("name")
        return f"{type(thing).__name__}{f' {name!r}' if name else ''}: {self.name}"


class Number(Checked):
    """An attribute that is a number within a range.

    >>> class Spring:
    ...     stiffness = Number(least=0)
    >>> spring = Spring()
    >>> spring.stiffness = 2
    >>> spring.stiffness
    2.0
    """

    def __init__(self, least: float = -math.inf, most: float = math.inf, below: float = math.inf):
        super().__init__(partial(number, least=least, most=most, below=below))


class Named(Checked):
    """An attribute given by name or as an object: `get` finds what is meant."""

    def __init__(self, get: Callable[[Any], Any], fixed: bool = False) -> None:
        super().__init__(lambda what, value: get(value), fixed)
        self.get = get
