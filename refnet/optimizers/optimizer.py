"""Optimizer: which update rule, with which numbers, and the memory it keeps for each variable."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from refnet.autograd.backpropagation import gradients
from refnet.autograd.context import graph_in_use, name_scope
from refnet.autograd.tensor import Tensor, leaves, tensor
from refnet.autograd.variable import Variable
from refnet.base.arguments import Number, number
from refnet.base.elsewhere import Explained, explained
from refnet.base.names import snake_case
from refnet.base.objects import Configured
from refnet.errors import (
    ArgumentError,
    BackendError,
    GradientError,
    GraphError,
    NotReadyError,
    ShapeError,
)
from refnet.graph.graph import Group
from refnet.op import Op
from refnet.op.results import as_tuple
from refnet.optimizers.parameters import Parameters

#: the model that an optimizer was compiled into
model_of: weakref.WeakKeyDictionary[Optimizer, weakref.ref[Any]] = weakref.WeakKeyDictionary()


class Coefficient(Number):
    """A number that an optimizer's rule takes: one of its attributes, which may be set at any time."""

    def kept(self, thing: Any) -> dict[str, Any]:
        if self.name not in thing.rule.attributes:
            raise ArgumentError(
                f"{type(thing).__name__}: its rule, {thing.rule.name}, takes no {self.name}: make another"
            )
        attributes: dict[str, Any] = thing.attributes
        return attributes


class Optimizer(Explained, Configured):
    """Follow gradients downhill with an update rule of `refnet.ops.optimizers`.

    A subclass says which op is its rule and with which attributes. The op's own row says the rest:
    what it writes besides θ is memory, one array like θ each; and whether it counts steps.

    Examples
    --------
    >>> from refnet.optimizers import SGD
    >>> w = Variable([1.0, 2.0])
    >>> SGD(learning_rate=0.5).apply_gradients([([1.0, 1.0], w)])
    >>> w.numpy()
    array([0.5, 1.5], dtype=float32)
    """

    #: what each step changes, apart from what a recorded step depends on, which is in `__dict__`
    __slots__ = ("__dict__", "__weakref__", "_learning_rate", "iterations", "memory")

    def __init__(self, learning_rate: float, rule: Op, name: str | None = None, **attributes: Any):
        self.learning_rate = learning_rate
        self.rule = rule
        self.attributes = attributes
        self.name = name or snake_case(type(self).__name__)
        self.iterations = 0
        self.memory: dict[Variable, list[Variable]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if explained("Optimizer", name):
            getattr(self, name)  # raises an error that says what it is called here
        super().__setattr__(name, value)

    @property
    def learning_rate(self) -> float:
        """η, the size of the steps. May be set at any time."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = number(f"{type(self).__name__}: learning_rate", value, least=0)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the rule's memory for these variables. What is there already stays."""
        owner = "" if graph_in_use.get() else f"{self.name}/"  # in a graph, the name scope says it
        for variable in variables:
            if variable not in self.memory:
                self.memory[variable] = [
                    Variable(
                        np.full(variable.shape, self.starts_at(state)),
                        variable.dtype,
                        name=f"{owner}{variable.name or 'variable'}/{state}",
                        trainable=False,
                        backend=variable.backend,
                    )
                    for state in self.rule.writes[1:]
                ]

    def starts_at(self, state: str) -> float:
        """What the rule's memory of this name holds before the first step."""
        return 0.0

    def rearrange(self, before: Parameters | None, now: Parameters | None) -> None:
        """The memory follows the weights from one θ to another; that of frozen ones waits for them."""
        if before is not None and before.theta in self.memory:
            slots = [before.parts(slot) for slot in self.memory.pop(before.theta)]
            for i, variable in enumerate(before.variables):
                self.memory[variable] = [
                    Variable(parts[i], trainable=False, backend=variable.backend) for parts in slots
                ]
        if now is not None and any(v in self.memory for v in now.variables):
            self.build([now.theta])
            kept = [self.memory.pop(v, None) for v in now.variables]
            for i, slot in enumerate(self.memory[now.theta]):
                fresh = now.parts(slot)
                values = [
                    fresh[j] if slots is None else slots[i].numpy() for j, slots in enumerate(kept)
                ]
                slot.assign(now.vector(values, slot.dtype))

    def claim(self, model: Any) -> None:
        """One optimizer trains one model: it counts that model's steps, and keeps its memory."""
        claimed = model_of.get(self)
        other = model if claimed is None else claimed()
        if other is not model and (other is not None or self.iterations):
            raise ArgumentError(
                f"{model.name}: this {type(self).__name__} trains "
                f"{other.name if other is not None else 'another model'}, counts its steps and keeps "
                "memory for its weights: make an optimizer for each model"
            )
        model_of[self] = weakref.ref(model)

    def apply_gradients(self, pairs: Sequence[tuple[Any, Variable]]) -> None:
        """Take one step: update each variable by its gradient, given as (gradient, variable) pairs.

        Whatever is given is updated, whether it is `trainable` or not.
        """
        pairs = list(pairs)
        for pair in pairs:
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
                raise ArgumentError(
                    f"{self.name}: apply_gradients takes pairs [(gradient, variable), ...], got {pair!r}"
                )
            if not isinstance(pair[1], Variable):
                raise ArgumentError(
                    f"{self.name}: apply_gradients changes variables, the second of each pair: "
                    f"refnet.Variable(values) makes one, got {type(pair[1]).__name__}"
                )
        pairs = [(self._fitting(g, variable), variable) for g, variable in pairs]
        for g, variable in pairs:
            if g.value is None or variable.value is None:
                raise NotReadyError(
                    f"{self.name}: variable {variable.name!r} or its gradient waits in a graph: "
                    "minimize(loss) adds the updates to the graph"
                )
        self.iterations += 1
        for g, variable in pairs:
            rate, t = self.step_inputs(variable)
            self.update(variable, g, rate, t)

    def minimize(
        self, loss: Tensor, variables: Sequence[Variable] | None = None, name: str = "train"
    ) -> Group:
        """What makes one step of a graph's training: run by a session, it changes the variables.

        Adds to the graph the gradients of `loss`, a count of the steps, the learning rate (a variable,
        "adam/learning_rate", which a session may assign), and the update of each variable: all
        trainable ones the loss depends on, unless they are given.

        >>> import refnet
        >>> with refnet.Graph() as graph:
        ...     w = refnet.Variable(5.0, name="w")
        ...     train = refnet.optimizers.SGD(0.25).minimize((w - 1.0) ** 2)
        >>> session = refnet.Session(graph)
        >>> [session.run([train, w])[1].item() for step in range(3)]
        [3.0, 2.0, 1.5]
        """
        graph = loss.graph if isinstance(loss, Tensor) else None
        if graph is None:
            raise GraphError(
                f"{self.name}: minimize needs a loss that waits in a graph, got {loss!r}. A loss that "
                "has its value is made smaller by gs = refnet.gradients(loss, variables) and "
                "optimizer.apply_gradients(list(zip(gs, variables)))"
            )
        if loss.shape != ():
            raise ShapeError(
                f"{self.name}: a loss is one number, got shape {loss.shape}: average it"
            )
        read = [v for v in leaves(loss) if isinstance(v, Variable)]
        if variables is None:
            variables = [v for v in read if v.trainable]
        if not variables:
            raise GradientError(f"{self.name}: the loss depends on no trainable variable")
        pairs = list(zip(gradients(loss, variables), variables, strict=True))
        with graph, name_scope(self.name):
            pairs = [(self._fitting(g, variable), variable) for g, variable in pairs]
            kind = countable(loss.dtype)
            count = Variable(0.0, kind, "iterations", trainable=False)
            t = count.assign_add(1.0)
            rate = Variable(self.learning_rate, kind, "learning_rate", trainable=False)
            updates = [self.update(variable, g, rate, t) for g, variable in pairs]
        keys = {v.key for v in read}
        also = [u for u in graph.updates if u.node and u.node.inputs[0].key in keys]
        return graph.group(name, [*also, t, *updates])

    def step_inputs(self, variable: Variable) -> tuple[Tensor, Tensor]:
        """(η, t) of the current step, as tensors beside the variable."""
        dtype, backend = countable(variable.dtype), variable.backend
        return (
            tensor(self.learning_rate, dtype, backend=backend),
            tensor(float(self.iterations), dtype, backend=backend),
        )

    def update(self, variable: Variable, g: Tensor, rate: Tensor, t: Tensor) -> Tensor:
        """Apply the rule: variable and memory are overwritten. Returns what the op made of θ."""
        counted = [t] if "t" in self.rule.inputs else []
        made = self.rule(variable, g, *self._memory_of(variable), rate, *counted, **self.attributes)
        return as_tuple(made)[0]

    def _memory_of(self, variable: Variable) -> list[Variable]:
        """The rule's memory for a variable: of a weight of the model, its part of the memory for θ."""
        model = model_of[self]() if self in model_of else None
        parameters = None if model is None or graph_in_use.get() else model._parameters
        if parameters is not None and parameters.part(parameters.theta, variable) is not None:
            self.build([parameters.theta])
            parts = [parameters.part(slot, variable) for slot in self.memory[parameters.theta]]
            return [part for part in parts if part is not None]
        self.build([variable])
        return self.memory[variable]

    def _fitting(self, g: Any, variable: Variable) -> Tensor:
        """The gradient as a tensor of the variable's shape, type and backend, or a clear error."""
        if g is None:
            raise GradientError(f"{self.name}: variable {variable.name!r} has no gradient (None)")
        g = g if isinstance(g, Tensor) else tensor(g, variable.dtype, backend=variable.backend)
        if g.value is not None and g.backend is not variable.backend:
            raise BackendError(
                f"{self.name}: variable {variable.name!r} is on {variable.backend.name}, its gradient "
                f"on {g.backend.name}"
            )
        if g.shape != variable.shape:
            raise GradientError(
                f"{self.name}: variable {variable.name!r} has shape {variable.shape}, "
                f"its gradient {g.shape}"
            )
        return g

    def __repr__(self) -> str:
        given = {"learning_rate": self.learning_rate, **self.attributes}
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in given.items())})"


def countable(dtype: str) -> str:
    """The type for a step's number and rate: half types end counting at 2048, or at 256."""
    return dtype if dtype in ("float32", "float64") else "float32"
