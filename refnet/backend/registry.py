"""Backends by name: those that are installed, those made known here, and the one in use."""

from __future__ import annotations

import importlib
import os
import sys
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import numpy as np

from refnet.backend.base import CALLS, Backend
from refnet.backend.numpy import NumPyBackend
from refnet.base.dtypes import FORMATS
from refnet.errors import BackendError, RefnetError, unknown_name

ENTRY_POINTS = "refnet.backends"

_targets: dict[str, str | type[Backend]] = {"numpy": NumPyBackend}
_loaded: dict[str, Backend] = {}
_current: ContextVar[Backend | None] = ContextVar("current", default=None)


def register(name: str, target: str | type[Backend]) -> None:
    """Make a backend known without an entry point: a `Backend` subclass, or "module:Class"."""
    _targets[name] = target
    _loaded.pop(name, None)


def register_uninstalled(name: str, target: str) -> None:
    """`register` a backend that lies in a checkout nobody installed: there is no entry point then."""
    from importlib.metadata import entry_points

    if name not in _targets and not entry_points(group=ENTRY_POINTS, name=name):
        register(name, target)


def names() -> list[str]:
    """The backends that can be asked for, whether or not this machine can run them."""
    from importlib.metadata import entry_points

    return sorted({*_targets, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def get(backend: str | Backend | None = None) -> Backend:
    """The backend of this name; the current one if None."""
    if isinstance(backend, Backend):
        return backend
    if backend is None:
        return current()
    if backend not in _loaded:
        _loaded[backend] = _load(backend)
    return _loaded[backend]


def _load(name: str) -> Backend:
    target = _targets.get(name) or _entry_point(name)
    try:
        found = _named(target) if isinstance(target, str) else target
        _must_be_a_backend(name, found)
        return found()
    except RefnetError:
        raise
    except Exception as error:  # a package of another's that is broken may raise anything
        what = f"{error}" if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise BackendError(f"backend {name!r} cannot run here: {what}{_hint(name)}") from error


def _named(target: str) -> Any:
    """What "module:Class" names."""
    module, colon, attributes = target.partition(":")
    if not (colon and attributes):
        raise BackendError(f"the entry point {target!r} should read 'module:Class'")
    found = importlib.import_module(module)
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise BackendError(f"the entry point names {target!r}: {module} has no {attribute!r}")
        found = getattr(found, attribute)
    return found


def _must_be_a_backend(name: str, found: Any) -> None:
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise BackendError(f"backend {name!r}: {found!r} is no subclass of refnet.backend.Backend")
    said = f"backend {name!r}: {found.__module__}.{found.__qualname__}"
    lacks = [call for call in CALLS if getattr(found, call) is getattr(Backend, call)]
    if lacks:
        raise BackendError(f"{said} has to override {', '.join(lacks)}")
    if found.name != name:
        raise BackendError(f"{said} has the name {found.name!r}, not the one it is found by")
    dtypes: Any = found.dtypes
    if isinstance(dtypes, str) or not dtypes or not set(dtypes) <= set(FORMATS):
        known = ", ".join(FORMATS)
        raise BackendError(f"{said}.dtypes should be a tuple of {known}, got {dtypes!r}")


def _hint(name: str) -> str:
    """How to get what a backend of refnet's own needs."""
    if name != "triton":
        return ""
    linux = "" if sys.platform == "linux" else " (which needs Linux)"
    return f". Try: pip install 'refnet[triton]'{linux}"


def _entry_point(name: str) -> str:
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=name):
        return point.value
    raise unknown_name("backend", name, names())


def current() -> Backend:
    """The backend new tensors are made on: NumPy, or what REFNET_BACKEND or `use_backend` says."""
    found = _current.get()
    if found is None:
        found = get(os.environ.get("REFNET_BACKEND", "numpy"))
        _current.set(found)
    return found


class use_backend:
    """Make tensors and models on another backend, from now on or within a ``with`` block.

    It holds for the thread it is in, as `numpy.errstate` does; a new thread starts on NumPy, or on
    what REFNET_BACKEND says.

    >>> with use_backend("numpy") as backend:
    ...     backend.name
    'numpy'
    """

    def __init__(self, backend: str | Backend) -> None:
        self._backend = get(backend)
        self._before = current()
        _current.set(self._backend)

    def __enter__(self) -> Backend:
        return self._backend

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.set(self._before)


def backend_of(array: Any) -> Backend | None:
    """The backend whose array this is, among those in use; None for numbers and lists."""
    for backend in (current(), *_loaded.values()):
        if type(array) is backend.array_type:
            return backend
    return get("numpy") if isinstance(array, (np.ndarray, np.generic)) else None
