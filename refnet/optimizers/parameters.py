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

from refnet.autograd.tensor import Tensor
from refnet.autograd.variable import Variable
from refnet.backend import LACKS, Backend
from refnet.errors import BackendError, DTypeError
from refnet.ops import TABLE

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
        for variable in self.variables:
            if variable.dtype != first.dtype:
                raise DTypeError(
                    f"weights that are trained together have one type: {first.name!r} is "
                    f"{first.dtype}, {variable.name!r} is {variable.dtype}"
                )
        values = self.vector([v.numpy() for v in self.variables], first.dtype)
        self.theta = Variable(values, name="theta", backend=first.backend)
        self._make_views()

    def vector(self, values: Sequence[Any], dtype: str) -> np.ndarray[Any, Any]:
        """A value for each variable, laid out like θ; None stands for zeros."""
        laid_out = np.zeros(self.size, dtype)
        for value, variable, start in zip(values, self.variables, self.offsets, strict=True):
            if value is not None:
                laid_out[start : start + variable.size] = value.reshape(-1)
        return laid_out

    def parts(self, vector: Tensor) -> list[np.ndarray[Any, Any]]:
        """What a vector that is laid out like θ holds for each variable."""
        values = vector.numpy()
        return [
            values[start : start + v.size].reshape(v.shape)
            for v, start in zip(self.variables, self.offsets, strict=True)
        ]

    def part(self, vector: Variable, variable: Variable) -> Variable | None:
        """What a vector that is laid out like θ holds for a variable, in the same memory."""
        for v, start in zip(self.variables, self.offsets, strict=True):
            if v is variable:
                made = Variable(variable, None, vector.name, False, vector.backend)
                made.value = vector.known()[start : start + v.size].reshape(v.shape)
                made.overlaps = (vector,)
                return made
        return None

    def _make_views(self) -> None:
        _must_make_views(self.theta.backend)
        theta = self.theta.known()
        self._views = []
        for variable, start in zip(self.variables, self.offsets, strict=True):
            shape = tuple(n or 0 for n in variable.shape)
            self._views.append(theta[start : start + variable.size].reshape(shape))
        self._hand_out()

    def _hand_out(self) -> None:
        for variable, view in zip(self.variables, self._views, strict=True):
            variable.value, variable.backend = view, self.theta.backend
            variable.overlaps = (self.theta,)
        self.theta.overlaps = tuple(self.variables)

    def in_place(self) -> bool:
        """Whether all variables lie here, and no other model has taken them since."""
        return all(v.value is a for v, a in zip(self.variables, self._views, strict=True))

    def is_of(self, variables: Sequence[Variable]) -> bool:
        """Whether θ was made for these very variables, wherever their values lie now."""
        return len(variables) == len(self.variables) and all(
            a is b for a, b in zip(variables, self.variables, strict=True)
        )

    def take_back(self) -> None:
        """Copy the variables' values into θ, on the backend where they are, and view them there.

        The views are those there were before: steps that were recorded with them are right again.
        """
        there = self.variables[0].backend
        values = self.vector([v.numpy() for v in self.variables], self.theta.dtype)
        if self.theta.backend is there:
            self.theta.assign(values)
            self._hand_out()
        else:
            self.theta.value, self.theta.backend = there.array(values), there
            self._make_views()

    def pack(self, gradients: Sequence[Tensor | None]) -> Any:
        """The gradients of the variables as one vector laid out like θ; None stands for zeros."""
        parts = [
            TABLE["full_like"](variable) if g is None else g
            for g, variable in zip(gradients, self.variables, strict=True)
        ]
        return TABLE["pack"](*parts, offsets=tuple(self.offsets), size=self.size)


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
