"""Names for objects: "relu", "adam", "glorot_uniform" looked up in the module that defines them."""

from __future__ import annotations

import functools
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from refnet.base.arguments import number, truth
from refnet.base.objects import Configured, arguments_of, is_object, made
from refnet.errors import ArgumentError, UnknownNameError, unknown_name

_used: Counter[str] = Counter()


def snake_case(name: str) -> str:
    """GlorotUniform as glorot_uniform, LeakyReLU as leaky_re_lu, SGD as sgd."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def class_after(function: Callable[..., Any], base: type, summary: str) -> type:
    """A subclass of `base` around a function: MeanSquaredError for mean_squared_error."""
    name = "".join(word.capitalize() for word in function.__name__.split("_"))
    doc = f"{summary.format(function.__name__)}\n\n    {function.__doc__}"
    return type(name, (base,), {"function": staticmethod(function), "__doc__": doc})


def class_around(
    function: Callable[..., Any], known: Mapping[str, type], make: Callable[..., type]
) -> type:
    """The class in `known` that was made after this function, or else a new one."""
    plain = inspect.unwrap(function)
    for kind in known.values():
        if getattr(kind, "function", None) is plain:
            return kind
    return make(function if hasattr(function, "__name__") else _named(function))


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    """An object that is called, such as a `functools.partial`, as a function with a name."""

    def call(y_true: Any, y_pred: Any) -> Any:
        return function(y_true, y_pred)

    vars(call)["called"] = function  # whose attributes may change
    within = getattr(function, "func", None)
    call.__name__ = getattr(within, "__name__", snake_case(type(function).__name__))
    return call


def called(kind: type) -> Any:
    """The function of a class, or the object that it calls."""
    function = kind.function  # type: ignore[attr-defined]
    return getattr(function, "called", function)


def options_of(kind: type) -> dict[str, Any]:
    """What the function of a class takes besides y_true and y_pred, with the defaults."""
    return _options(kind.function)  # type: ignore[attr-defined]


@functools.lru_cache(256)
def _options(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = list(inspect.signature(function).parameters.values())
    return {p.name: p.default for p in parameters[2:]}


class WithOptions(Configured):
    """A loss or a metric around a function, whose options are attributes: loss.label_smoothing."""

    function: ClassVar[Callable[..., Any]]

    def _take(self, options: Mapping[str, Any], base: type) -> None:
        """Check the options, and keep them beside the defaults of the others."""
        require_function(type(self))
        require_options(type(self), options, base)
        for name, value in {**options_of(type(self)), **options}.items():
            if value is not inspect.Parameter.empty:
                setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        """An option that is True or False, or a number, stays one; a number may wait in a tensor."""
        known = options_of(type(self)) if hasattr(self, "function") else {}
        default, what = known.get(name), f"{type(self).__name__}: {name}"
        if isinstance(default, bool):
            value = truth(what, value)
        elif isinstance(default, (int, float)) and not hasattr(value, "numpy"):
            value = number(what, value)
        super().__setattr__(name, value)

    def _result(self, found: Any, y_pred: Any) -> Any:
        """What the function returned, which is a tensor if it was given tensors."""
        if hasattr(y_pred, "node") and not hasattr(found, "node"):
            raise ArgumentError(
                f"{type(self).__name__}: {type(self).function.__name__}(y_true, y_pred) returns a "
                f"tensor, with a number for each example, made by refnet.ops or +, *, .mean() ...; "
                f"got {found!r}"
            )
        return found

    @classmethod
    def _arguments(cls) -> list[str]:
        return [*arguments_of(cls), *options_of(cls)]

    @classmethod
    def _require_known(cls, given: Iterable[str]) -> None:
        """`_take` does, and knows which other class has an option."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The options as they are now, to be read."""
        known = [name for name in options_of(type(self)) if hasattr(self, name)]
        return MappingProxyType({name: getattr(self, name) for name in known})


def require_options(kind: type, options: Iterable[str], base: type) -> None:
    """Raise an error that suggests the right name, or the class that has an option, if one is wrong."""
    known = options_of(kind)
    for option in options:
        if option not in known:
            those = dict.fromkeys(
                c.__name__ for c in _functions_of(base) if option in options_of(c)
            )
            common = [p for p in inspect.signature(kind).parameters if p != "options"]
            error = unknown_name(f"option of {kind.__name__}", option, [*known, *common])
            hint = f". It is one of {', '.join(those)}" if those else ""
            raise UnknownNameError(f"{error}{hint}")


def _functions_of(base: type) -> Iterable[type]:
    """The classes around a function that are made after a base."""
    found: list[type] = base.__subclasses__()
    return (kind for kind in found if hasattr(kind, "function"))


def require_function(kind: type) -> None:
    """Raise an error for a loss or metric class that has no function."""
    if not hasattr(kind, "function"):
        raise ArgumentError(
            f"{kind.__name__} has no function: a loss or metric of one's own is a function of (y_true, "
            "y_pred) that gives one number for each example, and compile() takes it as it is"
        )


def unique_name(kind: str) -> str:
    """First "dense", then "dense_1", "dense_2" ..."""
    count = _used[kind]
    _used[kind] += 1
    return f"{kind}_{count}" if count else kind


def look_up(kind: str, identifier: Any, known: Mapping[str, Any]) -> Any:
    """What an identifier stands for: a name in `known`, or the object itself. None stays None.

    A class is instantiated with its defaults; an object may be given as data (`refnet.base.objects`).
    """
    if is_object(identifier):
        name = identifier["class_name"]
        found = known.get(snake_case(name))
        if not isinstance(found, type):
            raise unknown_name(
                kind, name, [k.__name__ for k in known.values() if isinstance(k, type)]
            )
        return made(found, identifier["config"], {})
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
