"""Variable: a tensor whose value changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from refnet.autograd.context import graph_in_use
from refnet.autograd.tensor import Node, Tensor, apply, checked_when_run, clock, tensor
from refnet.backend import Array, Backend
from refnet.base.dtypes import INTEGERS, castable, require_range
from refnet.errors import ArgumentError, DTypeError, ShapeError
from refnet.op.shapes import agree
from refnet.ops import TABLE


class Variable(Tensor):
    """A tensor whose value changes: a weight, a counter, a running mean.

    `trainable` says whether training changes it: `fit`, and `minimize` where no variables are given. A
    variable made within ``with graph:`` has its value in a session: it waits, and `initial` is what each
    session starts it from.

    Examples
    --------
    >>> w = Variable([1.0, 2.0], name="w")
    >>> w.assign([3.0, 4.0])
    Variable([3., 4.], shape=(2,), dtype=float32, name='w')
    """

    __slots__ = ("changed", "initial", "overlaps", "trainable")

    changes = True

    def __init__(
        self,
        values: Any,
        dtype: Any = None,
        name: str = "",
        trainable: bool = True,
        backend: str | Backend | None = None,
    ) -> None:
        leaf, graphs = tensor(values, dtype, name, backend), graph_in_use.get()
        super().__init__(None if graphs else leaf.value, leaf.backend, name=name)
        self.trainable = trainable
        self.changed = -1  # when it was last overwritten, counted as the nodes are
        self.overlaps: Sequence[Variable] = ()  # what changes with it: θ and the weights in it
        self.initial: np.ndarray[Any, Any] | None = None
        if graphs:
            self.initial = leaf.numpy()
            self._symbol = graphs[-1].enter(self, name or "variable", [leaf.spec])
            self.name = self._symbol.name

    def assign(self, values: Any) -> Any:
        """Overwrite the value in place; the shape stays. In a graph: the op that does so when run."""
        new = values
        if not (
            isinstance(values, Tensor) and (values.value is None or values.backend is self.backend)
        ):
            new = tensor(values, backend=self.backend)
        if not castable(new.dtype, self.dtype):
            raise DTypeError(f"variable {self.name!r} holds {self.dtype}, got {new.dtype}")
        if not agree(new.shape, self.shape):
            raise ShapeError(f"variable {self.name!r} has shape {self.shape}, got {new.shape}")
        if self.value is None or new.value is None:
            return apply(TABLE["assign"], (self, checked_when_run(new, self)))
        if new.dtype != self.dtype and self.dtype in INTEGERS:
            require_range(new.numpy(), self.dtype)
        apply(TABLE["assign"], (self, new))
        return self

    def note_change(self) -> None:
        """What was computed from the value before is out of date: its gradients cannot be had."""
        now = next(clock)
        for variable in (self, *self.overlaps):
            variable.changed = now

    def changed_since(self, node: Node) -> bool:
        """Whether it was overwritten after a node read it, and computed its values."""
        return node.values is not None and self.changed > node.serial

    def read(self) -> Array:
        return self.backend.array(self.known())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError(f"variable {self.name!r} may change: what NumPy reads of it is a copy")
        return super().__array__(dtype, copy)

    def __copy__(self) -> Variable:
        return Variable(self, None, self.name, self.trainable, self.backend)

    def __getstate__(self) -> Any:  # a deep copy lies in memory of its own
        kept: Any = super().__getstate__()
        return kept[0], {**kept[1], "overlaps": ()}

    def __iadd__(self, other: Any) -> Any:
        raise ArgumentError(
            "a variable changes by assign, assign_add and assign_sub, not by +=, *= and the like"
        )

    __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = __iadd__
    __ipow__ = __imatmul__ = __iadd__

    def assign_add(self, values: Any) -> Any:
        """w ← w + values"""
        return self.assign(self + values)

    def assign_sub(self, values: Any) -> Any:
        """w ← w - values"""
        return self.assign(self - values)
