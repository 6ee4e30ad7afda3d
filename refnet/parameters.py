"""All parameters of a model are one vector θ.

The variables of the layers stay what they are, but their values become views into one contiguous
array. Then an optimizer step is one update rule on one array, a gradient is one array, and so are
the optimizer's memory, a checkpoint, and a message to another GPU.

Each variable starts at a multiple of 16 numbers: aligned for vector loads. The gaps hold zeros, which
no update rule changes, as their gradient is zero.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from refnet.backend import LACKS, Backend
from refnet.errors import BackendError
from refnet.ops import TABLE
from refnet.tensor import Tensor, Variable

ALIGNMENT = 16


class Parameters:
    """Variables of one dtype as one vector `theta`.

    Examples
    --------
    >>> w, b = Variable([[1.0, 2.0]], name="w"), Variable([3.0], name="b")
    >>> parameters = Parameters([w, b])
    >>> parameters.theta.shape
    (32,)
    >>> _ = parameters.theta.assign(np.zeros(32))
    >>> w.numpy()
    array([[0., 0.]], dtype=float32)
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self.variables = list(variables)
        self.offsets: list[int] = []
        size = 0
        for variable in self.variables:
            self.offsets.append(size)
            size += math.ceil(variable.size / ALIGNMENT) * ALIGNMENT
        self.size = size
        first = self.variables[0]
        values = np.zeros(size, first.dtype)
        for variable, start in zip(self.variables, self.offsets, strict=True):
            values[start : start + variable.size] = variable.numpy().reshape(-1)
        self.theta = Variable(values, name="theta", backend=first.backend)
        self._make_views()

    def _make_views(self) -> None:
        _must_make_views(self.theta.backend)
        theta = self.theta.known()
        for variable, start in zip(self.variables, self.offsets, strict=True):
            shape = tuple(n or 0 for n in variable.shape)
            variable.value = theta[start : start + variable.size].reshape(shape)
            variable.backend = self.theta.backend
            variable.overlaps = (self.theta,)
        self.theta.overlaps = tuple(self.variables)
        self._views = [variable.value for variable in self.variables]

    def holds(self, variables: Sequence[Variable]) -> bool:
        """Whether these very variables lie here, and no other model has taken them since."""
        return len(variables) == len(self.variables) and all(
            a is b and a.value is view
            for a, b, view in zip(variables, self.variables, self._views, strict=True)
        )

    def take_back(self) -> None:
        """Copy the variables' values into θ, and make them views of it again."""
        values = np.zeros(self.size, self.theta.dtype)
        for variable, start in zip(self.variables, self.offsets, strict=True):
            values[start : start + variable.size] = variable.numpy().reshape(-1)
        self.theta.assign(values)
        self._make_views()

    def take_over(self, slots: Sequence[Variable], before: Parameters) -> list[Variable]:
        """An optimizer's memory for `before`, laid out for these variables: new ones start at zero."""
        places = dict(zip(map(id, before.variables), before.offsets, strict=True))
        taken = []
        for slot in slots:
            old, new = slot.numpy(), np.zeros(self.size, slot.dtype)
            for variable, start in zip(self.variables, self.offsets, strict=True):
                at = places.get(id(variable))
                if at is not None:
                    new[start : start + variable.size] = old[at : at + variable.size]
            taken.append(Variable(new, name=slot.name, trainable=False, backend=slot.backend))
        return taken

    def pack(self, gradients: Sequence[Tensor | None]) -> Any:
        """The gradients of the variables as one vector laid out like θ; None stands for zeros."""
        parts = [
            TABLE["full_like"](variable) if g is None else g
            for g, variable in zip(gradients, self.variables, strict=True)
        ]
        return TABLE["pack"](*parts, offsets=tuple(self.offsets), size=self.size)

    def to(self, backend: Backend) -> None:
        """Move θ, and with it every variable, to another backend."""
        move(self.theta, backend)
        self._make_views()


def move(variable: Variable, backend: Backend) -> None:
    """Give a variable an array of another backend with the same values."""
    variable.value = backend.array(variable.numpy(), variable.dtype)
    variable.backend = backend


@functools.cache
def _must_make_views(backend: Backend) -> None:
    """Where a slice is a copy, update rules would change θ and never a weight: nothing is learned."""
    try:
        assign = backend.function(TABLE["assign"])
    except LACKS:
        return
    whole = backend.array(np.zeros(4), "float32")
    part = whole[0:4].reshape((2, 2))
    assign(whole, backend.array(np.ones(4), "float32"))
    if not np.all(backend.numpy(part) == 1):
        raise BackendError(
            f"backend {backend.name!r} copies: x[start:stop] and x.reshape(shape) have to be "
            "views of the same memory, as the weights of a model are views of one vector"
        )
