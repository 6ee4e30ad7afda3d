"""The only plug-in point: find a backend by name, move arrays to and from it.

A backend is a namespace of the names in TABLE, on arrays of its own, and a handful of array calls.
Others can add one: a distribution that declares an entry point in the group ``refnet.backends``
names a subclass of `Backend`, and `refnet.use_backend("theirs")` finds it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import numpy as np

from refnet import ops
from refnet.bounds import FORMATS
from refnet.errors import BackendError, DTypeError, RefnetError, unknown_name
from refnet.op import Op
from refnet.shapes import Spec

Array = Any
ENTRY_POINTS = "refnet.backends"
#: what `Backend.function` may raise for an op it lacks
LACKS = (BackendError, NotImplementedError, LookupError, AttributeError)
CALLS = "function", "array", "numpy", "dtype"  # what every backend has to override


class Backend:
    """What a backend provides. Subclass it, and override everything that raises here."""

    name: str = ""
    #: the type of this backend's arrays; no two backends may share one
    array_type: type = object
    #: float types it computes in
    dtypes: tuple[str, ...] = ("float32",)
    #: True where kernels are stepped through in Python: right, and slow
    interpreted: bool = False

    def function(self, op: Op) -> Callable[..., Any]:
        """The function that computes `op` on this backend's arrays. A missing one is an error."""
        raise NotImplementedError

    def array(self, values: Any, dtype: str | None = None) -> Array:
        """A new array with these values (a NumPy array, one of its own, a number, nested lists)."""
        raise NotImplementedError

    def feed(self, values: Any) -> Array:
        """An array, NumPy's or this backend's own, as an argument of what `capture` returned.

        It is only read. The memory may be shared, and need not be where the backend computes: a
        captured function moves its arguments to their places itself. A batch that is there already
        need not travel: a backend may feed its own arrays as they are.
        """
        return self.array(values)

    def from_dlpack(self, array: Any) -> Array:
        """Another library's array as one of this backend's, in the same memory where that can be."""
        return self.array(np.from_dlpack(array))

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """The values as a NumPy array (a type that NumPy lacks, bfloat16, as float32)."""
        raise NotImplementedError

    def dtype(self, array: Array) -> str:
        """The name of the array's type: "float32", "int64", "bool" ..."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until everything asked for so far is computed, and raise what went wrong in it."""

    def poisoned(self) -> AbstractContextManager[None]:
        """``with backend.poisoned():`` new memory holds NaN (integers: their largest value).

        For checks: an element that a kernel never wrote is then seen, and not right by luck. A
        backend that can tell also raises an error where a kernel touches memory beside its tensors.
        By default nothing is done; override it where results are written into memory asked for empty.
        """
        return nullcontext()

    def capture(self, run: Callable[..., Any], arguments: tuple[Array, ...]) -> Callable[..., Any]:
        """A faster way to call `run` again with arguments like these; by default, `run` itself.

        What is returned takes its arguments from `feed`, and each call has the effect of one call of
        `run`, in any thread.
        """
        return run

    def inspect(
        self,
        op: Op,
        inputs: Sequence[Spec],
        attributes: Mapping[str, Any],
        target: str,
        listing: str = "",
    ) -> list[dict[str, Any]]:
        """What a compiler makes of an op on inputs like these, for a GPU that need not be here.

        One entry for each kernel launch: its name, grid and constants, the registers and memory it
        needs, its loads and stores; with `listing`, the text of one stage of the compilation. For a
        gradient, `inputs` are those of the op it belongs to.
        """
        raise BackendError(f"backend {self.name!r} compiles no kernels: there is none to inspect")

    def trace(
        self, op: Op, inputs: Sequence[Any], attributes: Mapping[str, Any], dtype: str
    ) -> dict[str, Any]:
        """Which program of an op's kernels reads and writes which element, floats in `dtype`.

        ``launches``: kernel, grid, the numbers of its programs, and for each program its loads and
        stores with the lanes that are on. ``tensors``: for each element how often it is written,
        how many programs read it, and who does (-1: nobody). ``views``: results that no kernel
        writes. ``stray``: accesses beside all tensors. For a gradient, `inputs` (NumPy arrays) are
        those of the op it belongs to.
        """
        raise BackendError(f"backend {self.name!r} launches no kernels: there is none to trace")

    def describe(self) -> str:
        """One line about the hardware it runs on."""
        return self.name

    def __deepcopy__(self, memo: dict[int, Any]) -> Backend:
        return self  # there is one of each

    def __repr__(self) -> str:
        return f"<backend {self.name}>"


class NumPyBackend(Backend):
    """The reference: the functions of `refnet.ops` themselves."""

    name = "numpy"
    array_type = np.ndarray
    dtypes = ("float32", "float64")

    def function(self, op: Op) -> Callable[..., Any]:
        return op.fitted

    def array(self, values: Any, dtype: str | None = None) -> Array:
        try:
            return np.array(values, dtype)
        except TypeError as error:
            raise DTypeError(f"NumPy makes no {dtype} of this: {error}") from error

    def feed(self, values: Any) -> Array:
        return values

    def from_dlpack(self, array: Any) -> Array:
        return np.from_dlpack(array)

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array)

    def dtype(self, array: Array) -> str:
        return str(array.dtype)

    def describe(self) -> str:
        return f"NumPy {np.__version__} on the CPU"


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


__all__ = [
    "Backend",
    "NumPyBackend",
    "backend_of",
    "current",
    "get",
    "names",
    "ops",
    "register",
    "register_uninstalled",
    "use_backend",
]
