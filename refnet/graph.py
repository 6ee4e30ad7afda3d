"""Plan: a recorded computation as a list of array calls, to be run again on other values.

Tensors remember the ops that made them. A plan takes that record from some outputs back to some
inputs, puts the ops in order, and numbers the values. Running it is then a plain loop over array
functions: no tensors, no dispatch, no tape. Variables are read at every run, as they are updated in
place; all other values that do not depend on the inputs are constants.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from refnet.backend import Array
from refnet.errors import NotReadyError
from refnet.tensor import Tensor, recorded

Step = tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class Plan:
    """A function from the inputs' values to the outputs' values, read off a record.

    Parameters
    ----------
    inputs : tensors whose values will be given at each run.
    outputs : tensors to compute.
    keep : tensors whose ops have an effect (updates) and have to run though nothing reads them.

    Examples
    --------
    >>> import numpy as np
    >>> from refnet.tensor import tensor
    >>> x = tensor([1.0, 2.0])
    >>> plan = Plan([x], [x * x + 1.0])
    >>> plan(np.array([3.0, 4.0], "float32"))
    (array([10., 17.], dtype=float32),)
    """

    def __init__(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], keep: Sequence[Tensor] = ()
    ) -> None:
        slots: dict[tuple[int, int], int] = {t.key: i for i, t in enumerate(inputs)}
        self._values: list[Array | None] = [None] * len(slots)
        self.steps: list[Step] = []
        self.names: list[str] = []

        def slot(t: Tensor) -> int:
            if t.key not in slots:
                if t.node is None and t.value is None:
                    raise NotReadyError(f"the plan needs a value for placeholder {t.name!r}")
                slots[t.key] = len(self._values)
                self._values.append(t.value if t.node is None else None)
            return slots[t.key]

        order = recorded([*outputs, *keep])
        last_use: dict[int, int] = {}
        for position, node in enumerate(order):
            read = tuple(slot(t) for t in node.inputs)
            write = tuple(slot(node.output(i)) for i in range(node.count))
            run = node.inputs[0].backend.function(node.op)
            if node.attributes:
                run = functools.partial(run, **node.attributes)
            self.steps.append((run, read, write, ()))
            self.names.append(node.op.name)
            for used in (*read, *write):
                last_use[used] = position
        self._outputs = tuple(slot(t) for t in outputs)
        self._free(last_use, {slots[t.key] for t in inputs})

    def _free(self, last_use: dict[int, int], inputs: set[int]) -> None:
        """Note at each step which values nobody needs afterwards, so that their memory is reused."""
        constants = {i for i, value in enumerate(self._values) if value is not None}
        kept = constants | set(self._outputs) | inputs
        for used, position in last_use.items():
            if used not in kept:
                run, read, write, free = self.steps[position]
                self.steps[position] = (run, read, write, (*free, used))

    def __call__(self, *arguments: Array) -> tuple[Array, ...]:
        """Run the plan on the inputs' values (backend arrays, in the order of `inputs`)."""
        values = self._values.copy()
        values[: len(arguments)] = arguments
        for run, read, write, free in self.steps:
            result = run(*[values[i] for i in read])
            if len(write) == 1 and type(result) is not tuple:
                values[write[0]] = result
            else:
                for i, value in zip(write, result, strict=True):
                    values[i] = value
            for i in free:
                values[i] = None
        return tuple([values[i] for i in self._outputs])
