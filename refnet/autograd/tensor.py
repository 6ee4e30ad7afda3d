"""Tensor: a value, and the op and inputs that made it. apply() makes one.

**A value stays what it is; only a Variable changes.** So what is read from a variable, x.T as well as
x.numpy(), is in memory of its own: what is written to the variable afterwards does not show in it.

**Known values run now; placeholders wait.** `apply(op, inputs)` records a node. If every input has a
value, the op runs at once (eager). If one waits for a session, as placeholders do, the result waits
too, and its node stands in the same graph; its shape and type are known already. Either way the
tensors remember how they were made, and `refnet.autograd.backpropagation` follows that trail backwards.
"""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from refnet import backend as backends
from refnet import config
from refnet.autograd import numpy_functions
from refnet.autograd.context import GraphLike, Symbol, line_of_user, noted, step_inputs
from refnet.autograd.operators import Operators
from refnet.backend import Array, Backend
from refnet.backend.conversion import as_numbers
from refnet.base.dtypes import INTEGERS, is_float
from refnet.errors import (
    ArgumentError,
    BackendError,
    CallError,
    DTypeError,
    GraphError,
    NotReadyError,
    RefnetError,
    ShapeError,
)
from refnet.op import Op
from refnet.op.promotion import keeps_floats, promoted
from refnet.op.results import as_tuple
from refnet.op.shapes import Shape, Spec
from refnet.ops import TABLE

if TYPE_CHECKING:
    from refnet.autograd.variable import Variable

#: the moments at which ops were applied and variables were changed, in one count
clock = itertools.count()

#: (backend, op, its inputs, what a graph knows of it) -> the function that is to run
Watch = Callable[[Backend, Op, Sequence["Tensor"], Symbol | None], Callable[..., Any]]
#: who looks at every op that runs in this thread, as `refnet.shadow` does within its block
watching: ContextVar[Watch | None] = ContextVar("watching", default=None)


class Node:
    """One application of an op: its inputs, its attributes, and its results if they are known.

    `count` is the number of results. `serial` counts the applications: sorted by it, nodes stand in
    the order they were recorded in. `symbol` is what a graph knows of a node that waits. `detached`
    is True if no gradient flows through it, `recorded` if it was applied while a step was recorded. Of a
    gradient, `since` is the serial of the node it is the gradient of.
    """

    __slots__ = (
        "attributes",
        "count",
        "detached",
        "inputs",
        "op",
        "recorded",
        "serial",
        "since",
        "symbol",
        "values",
    )

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
        self.serial = next(clock)
        self.inputs = inputs
        self.attributes = attributes
        self.values = values
        self.symbol: Symbol | None = None
        self.detached = False
        self.recorded = step_inputs.get() is not None
        self.since: int | None = None

    def __repr__(self) -> str:
        return f"<node {self.symbol.name if self.symbol else self.serial}: {self.op.name}>"

    def output(self, index: int) -> Tensor:
        """Result `index` as a tensor."""
        value = None if self.values is None else self.values[index]
        name = self.symbol.name if self.symbol else ""
        backend = self.inputs[0].backend
        return Tensor(value, backend, self, index, f"{name}:{index}" if name and index else name)

    def outputs(self) -> tuple[Tensor, ...]:
        """All results as tensors."""
        if self.values is None:
            return tuple([self.output(i) for i in range(self.count)])
        backend = self.inputs[0].backend
        return tuple([Tensor(v, backend, self, i) for i, v in enumerate(self.values)])

    @property
    def written(self) -> list[Variable]:
        """The variables it overwrites."""
        return variables_among(self.op.writes, self.op, self.inputs)

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
    name : what the user or the graph calls it.
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
        "_symbol",
        "backend",
        "grad",
        "index",
        "name",
        "node",
        "value",
    )

    changes = False  # whether its value may become another one

    def __init__(
        self,
        value: Array | None,
        backend: Backend | None = None,
        node: Node | None = None,
        index: int = 0,
        name: str = "",
    ) -> None:
        if backend is None:
            raise CallError(
                "refnet.tensor(values) makes a tensor; Tensor(...) is for what ops make"
            )
        self.value = value
        self.backend = backend
        self.node = node
        self.index = index
        self.name = name
        self.grad: Tensor | None = None
        self._symbol: Symbol | None = None  # of a leaf that waits

    # -- what it is ----------------------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        """The length of each axis; None where it is open until the graph runs."""
        return self.spec.shape if self.value is None else tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        """The name of the element type: "float32", "int64", "bool" ..."""
        return self.spec.dtype if self.value is None else self.backend.dtype(self.value)

    @property
    def spec(self) -> Spec:
        """Shape and type together, which a tensor has even before it has a value."""
        symbol = self.symbol
        return symbol.specs[self.index] if symbol else Spec(self.shape, self.dtype)

    @property
    def symbol(self) -> Symbol | None:
        """What a graph knows of a tensor that waits; None if it has a value."""
        return self._symbol if self.node is None else self.node.symbol

    @property
    def graph(self) -> GraphLike | None:
        """The graph a waiting tensor belongs to."""
        return self.symbol.graph if self.symbol else None

    def named(self, name: str) -> Tensor:
        """Give the result a name of your choice in its graph, by which to fetch it later."""
        symbol = self.symbol
        if symbol is None:
            raise ArgumentError(f"only what waits in a graph is named: {self!r} has its value")
        if self.index:
            raise ArgumentError(f"{self.name!r} goes by the name of the op's first result")
        self.name = symbol.graph.rename(symbol, name)
        return self

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        if None in self.shape:
            raise NotReadyError(f"tensor {self.name!r} of shape {self.shape} has no size yet")
        return math.prod(n or 0 for n in self.shape)

    @property
    def key(self) -> tuple[int, int]:
        """What identifies the value: two tensors with one key are the same result."""
        return (id(self), -1) if self.node is None else (id(self.node), self.index)

    def known(self) -> Array:
        """The backend's array itself, which of a Variable changes; an error for a tensor that waits."""
        if self.value is None:
            raise NotReadyError(f"{self!r} has no value yet: a Session runs its graph")
        return self.value

    def read(self) -> Array:
        """The value as an array of the backend that stays what it is: of a Variable, a copy."""
        return self.known()

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a NumPy array, to be read only: the memory may be the tensor's own.

        Of a Variable it is a copy, which stays what it is when the variable is assigned.
        """
        if step_inputs.get() is not None:
            _warn_of_reading(self)
        array = self.backend.numpy(self.read()).view()
        array.flags.writeable = False
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return numpy_functions.ufunc(function, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return numpy_functions.array_function(function, types, arguments, options)

    def __dlpack__(self, **options: Any) -> Any:
        """The value for another library, ``torch.from_dlpack(x)``, without a copy.

        Of a Variable it is a copy. Who wants its memory, which changes, asks for it:
        ``torch.from_dlpack(w.known())``.
        """
        return _with_axes(self.read()).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return _with_axes(self.known()).__dlpack_device__()

    def __repr__(self) -> str:
        kind, name = type(self).__name__, f", name={self.name!r}" if self.name else ""
        if self.value is None:
            made_by = f" from {self.node.op.name}" if self.node else ""
            return f"{kind}(waiting{made_by}, shape={self.shape}, dtype={self.dtype}{name})"
        where = "" if self.backend.name == "numpy" else f", backend={self.backend.name}"
        values = np.array2string(self.numpy(), separator=", ", prefix=kind + "(", threshold=50)
        return f"{kind}({values}, shape={self.shape}, dtype={self.dtype}{where}{name})"

    # -- how gradients reach it ----------------------------------------------------------------

    def backward(self, upstream: Any = None) -> None:
        """Set `.grad` of every float leaf this tensor depends on to ∂self/∂leaf.

        Each call sets the gradients afresh: calling it twice gives the same answer twice. For a
        tensor with several elements `upstream` is ∂L/∂self (ones if None).
        """
        from refnet.autograd.backpropagation import gradients

        if self.value is None:
            raise NotReadyError(
                f"{self!r} waits: in a graph, gradients(loss, variables) are tensors"
            )
        found = [t for t in leaves(self) if t.dtype.startswith(("float", "bf"))]
        for leaf, gradient in zip(found, gradients(self, found, upstream), strict=True):
            leaf.grad = gradient

    def detach(self) -> Tensor:
        """The same value without its history: gradients stop here. Recorded steps compute it anew."""
        if step_inputs.get() is None:
            return Tensor(self.read(), self.backend, name=self.name)
        node = Node(TABLE["identity"], (self,), {}, (self.read(),), 1)
        node.detached = True
        return node.output(0)

    @staticmethod
    def __refnet_apply__(op: Op, inputs: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
        return apply(op, inputs, attributes)

    __hash__ = object.__hash__  # == compares elements, so identity is what a set or dict uses


def tensor(
    values: Any,
    dtype: Any = None,
    name: str = "",
    backend: str | Backend | None = None,
) -> Tensor:
    """A new tensor with these values, on the current backend unless another is named.

    Python floats become `config.floatx()`; arrays keep their type unless `dtype` is given. A list of
    tensors is stacked, and gradients flow back through it.
    """
    there = backends.get(backend)
    dtype = None if dtype is None else config.dtype_name(dtype)
    if isinstance(values, (list, tuple)) and _holds_tensors(values):
        parts = [tensor(x, None, "", there) if isinstance(x, (list, tuple)) else x for x in values]
        stacked: Tensor = TABLE["stack"](*parts)
        return stacked if dtype is None else TABLE["cast"](stacked, dtype=dtype)
    if isinstance(values, Tensor):
        if step_inputs.get() is not None and values.backend is there:
            _warn_of_reading(values)
        values = values.known() if values.backend is there else values.numpy()
    if (
        type(values) is there.array_type
        and there.dtype(values) in config.DTYPES
        and dtype not in INTEGERS
    ):
        made = there.array(values, dtype)
    else:
        made = there.array(as_numbers(values, dtype), dtype)
    return Tensor(made, there, name=name)


def _holds_tensors(values: Iterable[Any]) -> bool:
    """Whether there are tensors in lists, however deep."""
    return any(
        isinstance(x, Tensor) or (isinstance(x, (list, tuple)) and _holds_tensors(x))
        for x in values
    )


def apply(op: Op, inputs: Sequence[Any], attributes: dict[str, Any] | None = None) -> Any:
    """Apply an op to tensors, numbers and arrays: a tensor, or a tuple of them if it has several.

    The op runs at once if every input has a value; otherwise the result waits for a session.
    """
    attributes = attributes or {}
    first = next((x for x in inputs if isinstance(x, Tensor)), None)
    backend = backends.current() if first is None else first.backend
    tensors = _operands(op, inputs, attributes, backend)
    waiting = mixed = changes = False
    for t in tensors:
        waiting |= t.value is None
        mixed |= t.backend is not backend
        changes |= t.changes
    if waiting:  # a session will move all of them to its backend
        node = _wait(op, tensors, attributes)
    else:
        if mixed:
            raise _two_backends(op, tensors)
        values = _run(op, tensors, attributes)
        if changes and op.shares and variables_among(op.shares, op, tensors):
            values = tuple([v if v is None else backend.array(v) for v in values])
        node = Node(op, tensors, attributes, values, len(values))
    outputs = node.outputs()
    if op.writes and (writes := noted.get()) is not None:
        writes.append(outputs[0])
    return outputs[0] if len(outputs) == 1 else outputs


def _operands(
    op: Op, inputs: Sequence[Any], attributes: dict[str, Any], backend: Backend
) -> tuple[Tensor, ...]:
    """The inputs as tensors of the types that the op computes in: see `refnet.op.promotion`."""
    kinds = set()
    for x in inputs:  # at every call: as little as possible
        if not isinstance(x, Tensor) or x.value is None:
            break
        kinds.add(x.value.dtype)
    else:
        if len(kinds) == 1 and keeps_floats(op) and _is_of_floats(*kinds):
            return tuple(inputs)
    return _promoted(op, inputs, attributes, backend)


def _promoted(
    op: Op, inputs: Sequence[Any], attributes: dict[str, Any], backend: Backend
) -> tuple[Tensor, ...]:
    found: list[Any] = []
    given: list[Any] = []
    for x in inputs:
        if isinstance(x, (bool, int, float)):
            x = float(x) if isinstance(x, float) else x  # one of NumPy's is as weak
            given.append(x)
        else:
            x = x if isinstance(x, Tensor) else lift(x, backend)
            given.append(x.dtype)
        found.append(x)
    types = promoted(op, given, attributes)
    if any(isinstance(x, Tensor) and x.value is None for x in found):  # before a cast is written
        _inferred(op, map(_spec_as, found, types), attributes, line_of_user())
    return tuple([_as_type(x, dtype, backend) for x, dtype in zip(found, types, strict=True)])


def _spec_as(x: Any, dtype: str) -> Spec:
    return Spec(x.shape if isinstance(x, Tensor) else (), dtype)


def _as_type(x: Any, dtype: str, backend: Backend) -> Tensor:
    """A tensor, or a Python number, as a tensor of a type. A cast is recorded."""
    if not isinstance(x, Tensor):
        return tensor(x, dtype, backend=backend)
    return x if x.dtype == dtype else TABLE["cast"](x, dtype=dtype)


@functools.cache
def _is_of_floats(dtype: Any) -> bool:
    """Whether a backend's type, or the name of one, is one of floats."""
    return is_float(str(dtype).removeprefix("torch."))


def _two_backends(op: Op, tensors: Sequence[Tensor]) -> BackendError:
    here, there, *_ = dict.fromkeys(t.backend.name for t in tensors)
    return BackendError(
        f"{op.name} got tensors of two backends, {here} and {there}: "
        f"move one with refnet.tensor(x, backend={here!r})"
    )


def _wait(op: Op, tensors: tuple[Tensor, ...], attributes: dict[str, Any]) -> Node:
    """A node for later, in the graph of the inputs that wait."""
    line = line_of_user()
    graphs = {id(t.graph): t.graph for t in tensors if t.graph is not None}
    if len(graphs) > 1:
        names = ", ".join(repr(t.name) for t in tensors if t.graph is not None)
        raise GraphError(f"{op.name} got tensors of {len(graphs)} graphs: {names}\n  in {line}")
    (graph,) = graphs.values()
    return defer(graph, op, tensors, attributes, op.name, line)


def defer(
    graph: GraphLike,
    op: Op,
    tensors: tuple[Tensor, ...],
    attributes: dict[str, Any],
    name: str,
    line: str,
) -> Node:
    """Write an op down in a graph. Inputs that can never fit are an error here, not at the run."""
    specs = _inferred(op, [t.spec for t in tensors], attributes, line)
    node = Node(op, tensors, attributes, None, len(specs))
    node.symbol = graph.enter(node, name, specs, line)
    return node


def _inferred(op: Op, given: Iterable[Spec], attributes: dict[str, Any], line: str) -> list[Spec]:
    """What an op's results will be; an error names the line of the user's code."""
    given = list(given)
    try:
        return op.infer(given, attributes)
    except ShapeError as error:
        raise ShapeError(f"{error}\n  in {line}") from None
    except (ValueError, IndexError) as error:
        raise ShapeError(f"{op.name}: {error}\n  in {line}") from None
    except TypeError as error:
        types = ", ".join(spec.dtype for spec in given)
        raise DTypeError(f"{op.name} of {types}: {error}\n  in {line}") from error


def _run(op: Op, tensors: tuple[Tensor, ...], attributes: dict[str, Any]) -> tuple[Array, ...]:
    backend, watch = tensors[0].backend, watching.get()
    function = backend.function(op) if watch is None else watch(backend, op, tensors, None)
    arrays = [t.value for t in tensors]
    if op.writes:  # a tensor that is no variable does not change: what is written is a copy of it
        for i in range(len(op.inputs)):
            if op.inputs[i] in op.writes and not tensors[i].changes:
                arrays[i] = backend.array(arrays[i])
    try:
        values = function(*arrays, **attributes)
    except RefnetError:
        raise
    except (ValueError, IndexError) as error:
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise ShapeError(f"{op.name}: {str(error).strip()} (inputs of shape {shapes})") from error
    except TypeError as error:
        types = ", ".join(t.dtype for t in tensors)
        raise DTypeError(f"{op.name}: {error} (inputs of type {types})") from error
    for variable in variables_among(op.writes, op, tensors) if op.writes else ():
        variable.note_change()
    return as_tuple(values)


def variables_among(names: Sequence[str], op: Op, tensors: Sequence[Tensor]) -> list[Variable]:
    """The variables among an op's inputs of these names."""
    given: Iterable[tuple[str, Any]] = zip(op.names(len(tensors)), tensors, strict=True)
    return [t for name, t in given if name in names and t.changes]


def _with_axes(value: Array) -> Array:
    """A scalar of NumPy's as an array without axes, which other libraries take."""
    return np.asarray(value) if isinstance(value, np.generic) else value


def lift(x: Any, backend: Backend, dtype: str | None = None) -> Tensor:
    """A constant as a tensor of a backend; a Python number in the type that is given."""
    if isinstance(x, Tensor):
        return x if x.backend is backend else tensor(x, backend=backend)
    owner = backends.backend_of(x)
    if owner is not None and owner is not backend and not isinstance(x, np.generic):
        raise BackendError(
            f"got an array of the {owner.name} backend beside tensors of the {backend.name} backend: "
            f"convert it with refnet.tensor(x, backend={backend.name!r})"
        )
    return tensor(x, dtype if isinstance(x, (bool, int, float)) else None, backend=backend)


def recorded(outputs: Iterable[Tensor], given: Iterable[Tensor] = ()) -> list[Node]:
    """Every node the outputs depend on, in the order in which they were recorded.

    A node is recorded after the nodes that made its inputs, so this order is topological; and what
    reads a variable before it is updated stays before the update. Nobody asks how tensors that are
    `given` were made.
    """
    known = {t.key for t in given}
    found: dict[int, Node] = {}
    stack = [t.node for t in outputs if t.node is not None and t.key not in known]
    while stack:
        node = stack.pop()
        if node.serial not in found:
            found[node.serial] = node
            stack.extend(t.node for t in node.inputs if t.node and t.key not in known)
    return [found[serial] for serial in sorted(found)]


def _warn_of_reading(t: Tensor) -> None:
    """Python reads a value that is another one at the next step: what it makes of it stays as it is."""
    given = {x.key for x in step_inputs.get() or ()}
    if any(x.changes or x.key in given for x in leaves(t)):
        warnings.warn(
            f"a step that is recorded, to be run again, reads a value in {line_of_user()!r}: what Python "
            "makes of it is the same in all steps that follow, unless compile(..., run_eagerly=True)",
            UserWarning,
            stacklevel=2,
        )


def leaves(*outputs: Tensor) -> list[Tensor]:
    """The tensors without a history that the outputs depend on."""
    found = {t.key: t for t in outputs if t.node is None}
    found |= {t.key: t for node in recorded(outputs) for t in node.inputs if t.node is None}
    return list(found.values())


def checked_when_run(x: Tensor, like: Tensor) -> Tensor:
    """x, which has to have the shape of the other also where a graph leaves lengths open.

    Arithmetic would stretch a batch of one to fit; `stack` takes arrays of one shape only.
    """
    if None not in (*x.shape, *like.shape):
        return x
    both: Tensor = TABLE["stack"](x, like)
    return cast(Tensor, TABLE["index"](both, key=0))
