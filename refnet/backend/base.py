"""What a backend has to provide: the functions of TABLE's names, and a handful of array calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from refnet.errors import BackendError
from refnet.op import Op
from refnet.op.shapes import Spec

Array = Any
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
