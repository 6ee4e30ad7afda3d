"""Tensor: a value, and the op and inputs that made it. apply() makes one; gradients() walks back.

**Known values run now; placeholders wait.** `apply(op, inputs)` records a node. If every input has a
value, the op runs at once (eager). If one is a placeholder, the result waits for one too (graph).
Either way the tensors remember how they were made, and `gradients` follows that trail backwards with
the ops' vjps, applied through the same `apply`: the gradient of a graph is a graph.

The walks are loops, not recursion: a chain of 100,000 ops is no deeper than one of ten.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from refnet import backend as backends
from refnet import config
from refnet.backend import Array, Backend
from refnet.errors import (
    BackendError,
    DTypeError,
    GradientError,
    NotReadyError,
    ShapeError,
)
from refnet.op import Op
from refnet.operators import Operators
from refnet.ops import TABLE

_serial = itertools.count()


class Node:
    """One application of an op: its inputs, its attributes, and its results if they are known.

    `count` is the number of results. `serial` counts the applications: sorted by it, nodes stand in
    the order they were recorded in.
    """

    __slots__ = ("attributes", "count", "inputs", "op", "serial", "values")

    def __init__(
        self,
        op: Op,
        inputs: tuple[Tensor, ...],
        attributes: dict[str, Any],
        values: tuple[Array, ...] | None,
        count: int,
    ) -> None:
        self.op = op
        self.count = count
        self.serial = next(_serial)
        self.inputs = inputs
        self.attributes = attributes
        self.values = values

    def output(self, index: int) -> Tensor:
        """Result `index` as a tensor."""
        value = None if self.values is None else self.values[index]
        return Tensor(value, self.inputs[0].backend, self, index)

    def saved(self) -> Iterable[Tensor]:
        """What the op's gradient needs: inputs and outputs, by the names its row gives."""
        op = self.op
        for name in op.saves:
            if op.variadic:
                yield from self.inputs
            elif name in op.inputs:
                yield self.inputs[op.inputs.index(name)]
            else:
                yield self.output(op.outputs.index(name))


class Tensor(Operators):
    """An array that remembers where it came from.

    Arithmetic, comparisons, indexing and methods work as in NumPy and record what they do.

    Attributes
    ----------
    value : the backend's array, or None for a placeholder and all that depends on it.
    backend : the backend the value lives on.
    node, index : the op application that made it and which of its results it is; None for a leaf.
    name : what the user calls it.
    grad : after `backward()`, the gradient with respect to this tensor, if it is a leaf.

    Examples
    --------
    >>> x = tensor([1.0, 2.0, 3.0])
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    Tensor([2., 4., 6.], shape=(3,), dtype=float32)
    """

    __slots__ = (
        "__weakref__",
        "_declared",
        "backend",
        "grad",
        "index",
        "name",
        "node",
        "value",
    )
    __array_priority__ = 1000  # NumPy arrays leave the arithmetic to us
    __array_ufunc__ = None

    def __init__(
        self,
        value: Array | None,
        backend: Backend,
        node: Node | None = None,
        index: int = 0,
        name: str = "",
    ) -> None:
        self.value = value
        self.backend = backend
        self.node = node
        self.index = index
        self.name = name
        self.grad: Tensor | None = None
        self._declared: tuple[tuple[int | None, ...], str] | None = None

    # -- what it is ----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The length of each axis; None where a placeholder leaves it open."""
        return self._promise()[0] if self.value is None else tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        """The name of the element type: "float32", "int64", "bool" ..."""
        return self._promise()[1] if self.value is None else self.backend.dtype(self.value)

    def _promise(self) -> tuple[tuple[int | None, ...], str]:
        """(shape, dtype) of a placeholder, as it was declared."""
        if self._declared is None:
            made_by = f"the result of {self.node.op.name}" if self.node else "it"
            raise NotReadyError(f"{made_by} has no shape or dtype yet: it waits for a placeholder")
        return self._declared

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        if None in self.shape:
            raise NotReadyError(f"placeholder {self.name!r} of shape {self.shape} has no size yet")
        return math.prod(n or 0 for n in self.shape)

    @property
    def key(self) -> tuple[int, int]:
        """What identifies the value: two tensors with one key are the same result."""
        return (id(self), -1) if self.node is None else (id(self.node), self.index)

    def known(self) -> Array:
        """The backend's array; an error for a placeholder."""
        if self.value is None:
            raise NotReadyError("this tensor waits for a placeholder and has no value yet")
        return self.value

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a NumPy array."""
        return self.backend.numpy(self.known())

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        return self.numpy().item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype, copy=bool(copy) or None)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"a tensor of shape {self.shape} is neither true nor false")
        return bool(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("a tensor without axes has no length")
        if self.shape[0] is None:
            raise NotReadyError(
                f"placeholder {self.name!r} of shape {self.shape} has no length yet"
            )
        return self.shape[0]

    def __iter__(self) -> Iterable[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        kind, name = type(self).__name__, f", name={self.name!r}" if self.name else ""
        if self.value is None:
            made_by = f" from {self.node.op.name}" if self.node else ""
            return f"{kind}(waiting{made_by}{name})"
        where = "" if self.backend.name == "numpy" else f", backend={self.backend.name}"
        values = np.array2string(self.numpy(), separator=", ", prefix=kind + "(", threshold=50)
        return f"{kind}({values}, shape={self.shape}, dtype={self.dtype}{where}{name})"

    # -- how gradients reach it ----------------------------------------------------------------

    def backward(self, upstream: Any = None) -> None:
        """Set `.grad` of every float leaf this tensor depends on to ∂self/∂leaf.

        Each call sets the gradients afresh: calling it twice gives the same answer twice. For a
        tensor with several elements `upstream` is ∂L/∂self (ones if None).
        """
        leaves = [
            t for t in _leaves(self) if t.value is None or t.dtype.startswith(("float", "bf"))
        ]
        for leaf, gradient in zip(leaves, gradients(self, leaves, upstream), strict=True):
            leaf.grad = gradient

    def detach(self) -> Tensor:
        """The same value without its history: gradients stop here."""
        return Tensor(self.known(), self.backend, name=self.name)

    @staticmethod
    def __refnet_apply__(op: Op, inputs: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
        return apply(op, inputs, attributes)

    __hash__ = object.__hash__  # == compares elements, so identity is what a set or dict uses


class Variable(Tensor):
    """A tensor whose value changes: a weight, a counter, a running mean.

    `trainable` says whether an optimizer may change it.

    Examples
    --------
    >>> w = Variable([1.0, 2.0], name="w")
    >>> w.assign([3.0, 4.0])
    Variable([3., 4.], shape=(2,), dtype=float32, name='w')
    """

    __slots__ = ("trainable",)

    def __init__(
        self,
        values: Any,
        dtype: str | None = None,
        name: str = "",
        trainable: bool = True,
        backend: str | Backend | None = None,
    ) -> None:
        leaf = tensor(values, dtype, name, backend)
        super().__init__(leaf.value, leaf.backend, name=name)
        self.trainable = trainable

    def assign(self, values: Any) -> Variable:
        """Overwrite the value in place. The shape stays."""
        if isinstance(values, Tensor) and values.backend is self.backend:
            new: Tensor = values
        else:
            new = tensor(values, self.dtype, backend=self.backend)
        if new.shape != self.shape:
            raise ShapeError(f"variable {self.name!r} has shape {self.shape}, got {new.shape}")
        self.backend.function(TABLE["assign"])(self.value, new.known())
        return self


def tensor(
    values: Any,
    dtype: str | None = None,
    name: str = "",
    backend: str | Backend | None = None,
) -> Tensor:
    """A new tensor with these values, on the current backend unless another is named.

    Python floats become `config.floatx()`; arrays keep their type unless `dtype` is given.
    """
    there = backends.get(backend)
    if isinstance(values, Tensor):
        values = values.known() if values.backend is there else values.numpy()
    if type(values) is there.array_type:
        made = there.array(values, dtype)
    else:
        made = there.array(_numbers(values, dtype), dtype)
    return Tensor(made, there, name=name)


def _numbers(values: Any, dtype: str | None) -> np.ndarray[Any, Any]:
    """Nested lists and scalars as an array, Python floats as floatx; anything else is an error."""
    given = backends.backend_of(values)
    if given is not None:
        values = given.numpy(values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"the nested lists are ragged: {error}") from error
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"a tensor holds numbers, got {type(values).__name__} of {array.dtype}")
    if (
        dtype is None
        and array.dtype.kind == "f"
        and not isinstance(values, (np.ndarray, np.generic))
    ):
        array = array.astype(config.floatx())
    return array


def placeholder(
    shape: Sequence[int | None], dtype: str | None = None, name: str = "placeholder"
) -> Tensor:
    """A tensor without a value yet: what is computed from it waits until a value is fed."""
    leaf = Tensor(None, backends.current(), name=name)
    leaf._declared = tuple(shape), dtype or config.floatx()
    return leaf


def zeros(shape: Sequence[int] = (), dtype: str | None = None, name: str = "") -> Tensor:
    """A tensor of zeros."""
    return tensor(np.zeros(shape, dtype or config.floatx()), name=name)


def ones(shape: Sequence[int] = (), dtype: str | None = None, name: str = "") -> Tensor:
    """A tensor of ones."""
    return tensor(np.ones(shape, dtype or config.floatx()), name=name)


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: str | None = None
) -> Tensor:
    """The numbers from `start` (0 if only one bound is given) up to but not including `stop`."""
    first, last = (0, start) if stop is None else (start, stop)
    whole = all(isinstance(n, int) for n in (first, last, step))
    kind = np.dtype(dtype or ("int64" if whole else config.floatx()))
    return tensor(np.arange(first, last, step).astype(kind))


def apply(
    op: Op,
    inputs: Sequence[Any],
    attributes: dict[str, Any] | None = None,
    results: int | None = None,
) -> Any:
    """Apply an op to tensors, numbers and arrays: a tensor, or a tuple of them if it has several.

    The op runs at once if every input has a value; otherwise the result waits. `results` tells how
    many there are, for ops whose number of outputs depends on their inputs.
    """
    attributes = attributes or {}
    tensors = _on_one_backend(op, inputs)
    values = None
    if all(t.value is not None for t in tensors):
        values = _run(op, tensors, attributes)
        results = len(values)
    node = Node(op, tensors, attributes, values, results or len(op.outputs))
    outputs = tuple(node.output(i) for i in range(node.count))
    return outputs[0] if len(outputs) == 1 else outputs


def _run(op: Op, tensors: tuple[Tensor, ...], attributes: dict[str, Any]) -> tuple[Array, ...]:
    backend = tensors[0].backend
    try:
        values = backend.function(op)(*(t.value for t in tensors), **attributes)
    except (ValueError, IndexError) as error:
        if isinstance(error, ShapeError) or type(error).__module__.startswith("refnet"):
            raise
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise ShapeError(f"{op.name}: {error} (inputs of shape {shapes})") from error
    return values if isinstance(values, tuple) else (values,)


def _on_one_backend(op: Op, inputs: Sequence[Any]) -> tuple[Tensor, ...]:
    """The inputs as tensors on the backend of the first tensor among them."""
    first = next((x for x in inputs if isinstance(x, Tensor)), None)
    backend = backends.current() if first is None else first.backend
    tensors = []
    for x in inputs:
        if not isinstance(x, Tensor):
            x = _lift(x, backend, first)
        elif x.backend is not backend:
            raise BackendError(
                f"{op.name} got tensors of two backends, {backend.name} and {x.backend.name}: "
                f"move one with refnet.tensor(x, backend={backend.name!r})"
            )
        tensors.append(x)
    return tuple(tensors)


def _lift(x: Any, backend: Backend, like: Tensor | None) -> Tensor:
    """A constant as a tensor; a Python number takes the float type of the tensor it meets."""
    if isinstance(x, Tensor):
        return x if x.backend is backend else tensor(x, backend=backend)
    owner = backends.backend_of(x)
    if owner is not None and owner is not backend and not isinstance(x, np.generic):
        raise BackendError(
            f"got an array of the {owner.name} backend beside tensors of the {backend.name} backend: "
            f"convert it with refnet.tensor(x, backend={backend.name!r})"
        )
    dtype = None
    if isinstance(x, (bool, int, float)) and like is not None and like.value is not None:
        weak_float = isinstance(x, float) or like.dtype.startswith(("float", "bf"))
        dtype = like.dtype if weak_float and not like.dtype.startswith(("int", "bool")) else None
    return tensor(x, dtype, backend=backend)


def recorded(outputs: Sequence[Tensor]) -> list[Node]:
    """Every node the outputs depend on, in the order in which they were recorded.

    A node is recorded after the nodes that made its inputs, so this order is topological; and what
    reads a variable before it is updated stays before the update.
    """
    found: dict[int, Node] = {}
    stack = [t.node for t in outputs if t.node is not None]
    while stack:
        node = stack.pop()
        if node.serial not in found:
            found[node.serial] = node
            stack.extend(t.node for t in node.inputs if t.node is not None)
    return [found[serial] for serial in sorted(found)]


def _leaves(output: Tensor) -> list[Tensor]:
    """The tensors without a history that the output depends on."""
    found = {t.key: t for node in recorded([output]) for t in node.inputs if t.node is None}
    return list(found.values()) or [output]


def gradients(y: Tensor, xs: Sequence[Tensor] | Tensor, upstream: Any = None) -> Any:
    """∂L/∂x for each x in xs, given upstream = ∂L/∂y (ones if None): back-propagation.

    The result is a list like xs; for a single tensor in its place, that tensor's gradient. Any
    tensors may stand in xs, not only leaves. A gradient is None if y does not depend on x in a
    differentiable way. Raises GradientError where an op on the way has no gradient.

    Examples
    --------
    >>> x = tensor(3.0)
    >>> gradients(x * x, [x])
    [Tensor(6., shape=(), dtype=float32)]
    """
    if isinstance(xs, Tensor):
        return gradients(y, [xs], upstream)[0]
    order = recorded([y])
    wanted = {x.key for x in xs}
    depends = _depending(order, wanted)
    start = TABLE["full_like"](y, value=1.0) if upstream is None else _lift(upstream, y.backend, y)
    if upstream is not None and y.value is not None and start.shape != y.shape:
        raise ShapeError(f"upstream has shape {start.shape}, but y has shape {y.shape}")
    found: dict[tuple[int, int], Tensor] = {y.key: start}
    for node in reversed(order):
        if id(node) not in depends:
            continue
        _require_gradient(node, found)
        g = found.get((id(node), 0))
        if g is None:
            continue
        for x, dx in _backward(node, g, wanted, depends):
            found[x.key] = TABLE["add"](found[x.key], dx) if x.key in found else dx
    return [found.get(x.key) for x in xs]


def _differentiable(node: Node) -> Iterable[Tensor]:
    """The inputs of a node that gradients flow to."""
    op = node.op
    if op.primal is not None:  # a gradient depends on all it was given, and `_backward` says so
        return node.inputs
    if op.variadic:
        return node.inputs if op.wrt else ()
    return (t for name, t in zip(op.inputs, node.inputs, strict=True) if name in op.wrt)


def _depending(order: list[Node], wanted: set[tuple[int, int]]) -> set[int]:
    """The nodes through which a wanted tensor reaches the output, by id."""
    depends: set[int] = set()
    for node in order:
        for t in _differentiable(node):
            if t.key in wanted or (t.node is not None and id(t.node) in depends):
                depends.add(id(node))
                break
    return depends


def _require_gradient(node: Node, found: dict[tuple[int, int], Tensor]) -> None:
    """Raise an error if a gradient that arrived at a node can go no further."""
    arrived = [i for i in range(node.count) if (id(node), i) in found]
    if arrived and node.op.gradient is None:
        reason = "it is a gradient itself" if node.op.primal else "its row has no vjp"
        raise GradientError(f"{node.op.name} cannot be differentiated: {reason}")
    if arrived and arrived[-1] > 0:
        name = node.op.outputs[arrived[-1]]
        raise GradientError(f"{node.op.name}: no gradient flows through its result {name!r}")


def _backward(
    node: Node, g: Tensor, wanted: set[tuple[int, int]], depends: set[int]
) -> Iterable[tuple[Tensor, Tensor]]:
    """Apply a node's vjp: (input, its gradient) for every input on the way to a wanted tensor."""
    op, vjp = node.op, node.op.gradient
    assert vjp is not None
    inputs = list(_differentiable(node))
    on_path = [t.key in wanted or (t.node is not None and id(t.node) in depends) for t in inputs]
    attributes = {k: v for k, v in node.attributes.items() if k in vjp.attributes}
    if "wrt" in vjp.attributes:
        attributes["wrt"] = tuple(n for n, needed in zip(op.wrt, on_path, strict=True) if needed)
    results = apply(vjp, (g, *node.saved()), attributes, len(inputs))
    results = results if isinstance(results, tuple) else (results,)
    return [(t, dx) for t, dx, needed in zip(inputs, results, on_path, strict=True) if needed]
