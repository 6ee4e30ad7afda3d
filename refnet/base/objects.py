"""Objects as data: what an object was made with, as a dict that JSON can hold, and the object again.

The names are Keras': ``layer.get_config()`` is a dict, ``Dense.from_config(config)`` another layer of
the same kind. An object within an object is ``{"class_name": "L2", "config": {"l2": 0.01}}``, a function
that has a name is its name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from refnet.errors import ArgumentError, UnknownNameError, unknown_name

PLAIN = (bool, int, float, str, type(None))


class _MadeByName:
    """Python passes arguments here first; `inspect.signature` reads the `__init__` of a subclass."""

    __slots__ = ()

    def __new__(cls, *_: Any, **given: Any) -> Self:
        if given:
            cls._require_known(given)
        return super().__new__(cls)

    @classmethod
    def _require_known(cls, given: Iterable[str]) -> None:
        raise NotImplementedError


class Configured(_MadeByName):
    """An object that can be written down: each argument of `__init__` is an attribute of that name.

    >>> class Spring(Configured):
    ...     def __init__(self, stiffness=1.0):
    ...         self.stiffness = stiffness
    >>> Spring(2.0).get_config()
    {'stiffness': 2.0}
    >>> Spring.from_config({"stiffness": 3.0}).stiffness
    3.0
    """

    __slots__ = ()

    def __init__(self) -> None:
        """Unless a subclass says otherwise, there is nothing to make one with."""

    def get_config(self) -> dict[str, Any]:
        """What the object was made with, or was set to since, by argument: numbers, text, lists, dicts.

        ArgumentError for what cannot be written down, such as a function of one's own.
        """
        return {name: self._written(name) for name in self._arguments()}

    def _written(self, name: str) -> Any:
        what = f"{type(self).__name__}: {name}"
        try:
            value = getattr(self, name)
        except AttributeError:
            raise ArgumentError(
                f"{what} is an argument and no attribute, so nobody knows what it was: keep it as "
                f"self.{name}, or write a get_config()"
            ) from None
        return written(what, value, getattr(getattr(type(self), name, None), "get", None))

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """An object made with what `get_config` wrote. `custom_objects` maps names to classes of yours.

        ArgumentError for arguments that the class does not take.
        """
        if not isinstance(config, Mapping):
            raise ArgumentError(f"{cls.__name__}.from_config takes a dict, got {config!r}")
        known = cls._arguments()
        for name in config:
            if name not in known:
                raise ArgumentError(
                    f"{cls.__name__}.from_config: {name!r} is no argument; there is: {', '.join(known)}"
                )
        return cls(**{name: read(value, custom_objects or {}) for name, value in config.items()})

    @classmethod
    def _arguments(cls) -> list[str]:
        return arguments_of(cls)

    @classmethod
    def _require_known(cls, given: Iterable[str]) -> None:
        """Refuse a name that no argument has, and suggest the right one."""
        for name in given if _knows_all(cls) else ():  # type: ignore[arg-type]
            if name not in cls._arguments():
                raise unknown_name(f"argument of {cls.__name__}", name, cls._arguments())


def arguments_of(kind: type) -> list[str]:
    """What a class takes by name: of its `__init__`, and of that of its base where ``**`` passes on."""
    several = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    every = [p for _, parameters in _chain(kind) for p in parameters]
    return [*dict.fromkeys(p.name for p in every if p.kind not in several)]


def _chain(kind: type) -> Iterator[tuple[type, list[inspect.Parameter]]]:
    """The classes whose `__init__` is called for one of this kind, each with its parameters."""
    for c in kind.__mro__:
        if "__init__" in vars(c):
            parameters = [*inspect.signature(vars(c)["__init__"]).parameters.values()][1:]
            yield c, parameters
            if not _passes_on(parameters):
                return


def _passes_on(parameters: Iterable[inspect.Parameter]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


@functools.cache
def _knows_all(kind: type) -> bool:
    """Whether nothing but the arguments can be meant: nobody takes others out of its ``**``."""
    takers = [c for c, parameters in _chain(kind) if _passes_on(parameters)]
    return all(c.__module__.startswith("refnet.") for c in takers)


def written(what: str, value: Any, get: Callable[[Any], Any] | None = None) -> Any:
    """A value as data. `get`, if there is one, finds a function by its name."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, (list, tuple)):
        return [written(what, part, get) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: written(what, part, get) for key, part in value.items()}
    if hasattr(type(value), "get_config"):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    name = getattr(value, "__name__", "")
    if get is not None and name and _finds(get, name) is value:
        return name
    raise ArgumentError(
        f"{what} is {value!r}, which cannot be written down: numbers, text, lists, dicts, functions with "
        "a name here and objects with a get_config() can"
    )


def _finds(get: Callable[[Any], Any], name: str) -> Any:
    try:
        return get(name)
    except (ArgumentError, UnknownNameError):
        return None


def read(value: Any, classes: Mapping[str, Any]) -> Any:
    """Data as a value: objects whose class is among `classes` are made, also within lists and dicts."""
    if isinstance(value, (list, tuple)):
        return [read(part, classes) for part in value]
    if not isinstance(value, Mapping):
        return value
    if is_object(value) and value["class_name"] in classes:
        return made(classes[value["class_name"]], value["config"], classes)
    return {key: read(part, classes) for key, part in value.items()}


def is_object(value: Any) -> bool:
    """Whether this is an object as data."""
    return isinstance(value, Mapping) and {*value} == {"class_name", "config"}


def made(kind: Any, config: Mapping[str, Any], custom_objects: Mapping[str, Any]) -> Any:
    """An object of a class, whose `from_config` may be of yours and take the config alone."""
    if "custom_objects" in inspect.signature(kind.from_config).parameters:
        return kind.from_config(config, custom_objects=custom_objects)
    return kind.from_config(config)
