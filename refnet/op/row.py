"""What an op is, and TABLE: the one list of all of them.

An op is a named pure function on arrays, with its gradient written directly below it::

    @op(saves="y")
    def sigmoid(x):
        r\"\"\"σ(x) = 1 / (1 + e^{-x})\"\"\"

    @sigmoid.vjp
    def sigmoid_vjp(g, y):
        r\"\"\"∂L/∂x = g · y · (1 - y)\"\"\"

What proves it stands at the end of the file: what it is tried on, and how wrong it may be::

    sigmoid.proof(unary, ulp(4), vjp=ulp(4), known={0.0: 0.5})

The decorator reads the rest off the function itself. **A parameter without a default is data** (an
array that gradients may flow to); **a parameter with a default is an attribute** (fixed when the op
is applied: an axis, a slope, a shape).

A *vjp* (vector-Jacobian product) turns g = ∂L/∂y, the gradient of the loss L with respect to the
op's output, into the gradient with respect to its inputs. It is an op too: it has its own row here,
its own twin in every backend, its own error bound, and it is tested and timed like any other.

Everything that has to know all ops reads TABLE: the dispatch, the tests, the benchmarks, the
command line and the catalogue in the docs.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from refnet.config import dtype_name
from refnet.errors import CallError, ShapeError, unknown_name
from refnet.op.columns import Bound, Cases, Kink
from refnet.op.fitting import Fitted
from refnet.op.halves import in_float32
from refnet.op.promotion import promoted, promoted_arrays
from refnet.op.shapes import Rule, Spec, by_name, require_results

Function = Callable[..., Any]


class Op:
    """One row of TABLE: a named function on arrays, and what has to be known about it.

    Attributes
    ----------
    name, function, file
        The function, its name, and the file of `ops/` it stands in (its twin's file as well).
    inputs, attributes
        Parameters without a default (data) and with one (attributes, with their defaults).
        `variadic` is True where the data are ``*xs``: any number of arrays.
    outputs
        Names of the results.
    differentiable
        Through which results gradients flow: the first alone, unless the row says otherwise (h and c of
        an LSTM). The others (a log-sum-exp, the pre-activations) are there to be saved for the gradient.
    upstream
        What the gradient calls ∂L/∂result of each of these, and takes first: g of one, gh and gc of h
        and c. Of a result that nothing reads it is zeros.
    saves
        Which inputs and outputs the gradient needs, by name, in the order its function takes them.
    wrt
        Which inputs gradients flow to: all, unless the row says otherwise (labels have none).
    writes
        Which inputs are overwritten in place. Empty for all but the update rules, θ ← θ - η g.
    views
        Inputs in whose memory a result may lie, on any backend: x of a transposition, g of the
        gradient of a sum. All other results have memory of their own.
    cases, error
        The inputs to try, and the bound on the error that every backend has to hold.
    kinks
        Where the derivative jumps, and the one-sided rule the gradient follows there.
    known
        Results that are known from elsewhere, ``{x: y}``; empty where none are. For several inputs x
        is a tuple of them all, ``{(a, b): y}``, for several results y is one of those, or the first
        alone. A tuple in place of a number is an array: ``{((1.0, 2.0), (3.0, 4.0)): 11.0}``.
    flops
        Arithmetic operations as a function of the inputs, for ops that compute more than they
        read (products); None for ops whose cost is the bytes they move.
    shape_of
        Inputs of which only the shape and type count: a plan computes what depends on nothing else
        once, when it is made.
    activation
        True for an elementwise function of x alone that a layer may fuse behind a product.
    floats
        True for an op of floats whose formula does not tell so: it would keep integers, or take none.
    data_dependent_shape
        True if the values of the inputs, and not their shapes alone, decide the shape of the result:
        where the elements of a mask lie.
    rule
        What the results' shapes are before anything is computed: a function of `refnet.op.shapes`.
    gradient
        The vjp op, or None.
    """

    def __init__(
        self,
        function: Function,
        *,
        saves: str = "",
        outputs: str = "y",
        differentiable: str | None = None,
        wrt: str | None = None,
        writes: str = "",
        views: str = "",
        shape_of: str = "",
        shape: Rule = by_name,
        activation: bool = False,
        floats: bool = False,
        data_dependent_shape: bool = False,
        primal: Op | None = None,
    ) -> None:
        parameters = inspect.signature(function).parameters.values()
        data = [p for p in parameters if p.default is p.empty]
        self.name: str = function.__name__
        self.function = function
        self.file: str = function.__module__.rpartition(".")[2]
        self.inputs = tuple(p.name for p in data)
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in data)
        self.attributes = {p.name: p.default for p in parameters if p.default is not p.empty}
        self.outputs = tuple(outputs.split())
        self.differentiable = self._differentiable(differentiable)
        several = len(self.differentiable) > 1
        self.upstream = tuple([f"g{name}" if several else "g" for name in self.differentiable])
        self.saves = tuple(saves.split())
        self.wrt = self.inputs if wrt is None else tuple(wrt.split())
        self.writes = tuple(writes.split())
        self.views = tuple(views.split())
        self.shares = self.views + self.writes
        self.error: Bound | None = None
        self.kinks: tuple[Kink, ...] = ()
        self.known: Mapping[Any, Any] = {}
        self.flops: Function | None = None
        self._cases: Cases | Callable[[], Cases] | None = None
        self.shape_of = tuple(shape_of.split())
        self.rule = shape
        self.activation = activation
        self.floats = floats
        self.data_dependent_shape = data_dependent_shape
        self.primal = primal
        self.gradient: Op | None = None
        # a call with so many inputs, and attributes of these names alone, is in order as it stands
        self._least = len(self.inputs)
        self._most: float = math.inf if self.variadic else self._least
        self._plain = frozenset(self.attributes) - {"dtype"}
        self._fits: Function | None = None
        self.__name__ = self.__qualname__ = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function

    def __call__(self, *inputs: Any, **attributes: Any) -> Any:
        """Apply the op: on NumPy arrays at once, on tensors through `refnet.autograd.tensor.apply`.

        Data may be given by name, ``add(a=x, b=y)``, attributes by position, ``reshape(x, (2, 3))``.
        """
        if self.variadic and inputs and isinstance(inputs[0], (list, tuple)):
            inputs, attributes = self._from_list(inputs, attributes)
        if (
            (attributes and not self._plain.issuperset(attributes))
            or len(inputs) < self._least
            or len(inputs) > self._most
        ):
            inputs, attributes = self._sorted(inputs, attributes)
        for x in inputs:
            dispatch = getattr(type(x), "__refnet_apply__", None)
            if dispatch is not None:
                return dispatch(self, inputs, attributes)
        return self.fitted(*promoted_arrays(self, inputs, attributes), **attributes)

    @property
    def fitted(self) -> Fitted:
        """The function, for inputs that fit by the row's rule: what NumPy's backend runs.

        float16 is computed in float32 and rounded at the end (`refnet.op.halves`).
        """
        if self._fits is not self.function:
            self._fits = self.function
            self._fitted = Fitted(self, in_float32(self, self.function))
        return self._fitted

    def vjp(self, function: Function | None = None, **row: Any) -> Any:
        """Decorator: the function below is this op's gradient. Takes the same columns as `op`."""

        def attach(function: Function) -> Op:
            if function.__name__ != f"{self.name}_vjp":
                raise TypeError(f"the gradient of {self.name} is named {self.name}_vjp")
            columns = {"outputs": " ".join(f"d{name}" for name in self.wrt), **row}
            made = Op(function, **columns, wrt="", primal=self)
            if made.inputs[: len(self.upstream)] != self.upstream:
                raise TypeError(f"{made.name} takes {', '.join(self.upstream)} first")
            self.gradient = _enter(made)
            return self.gradient

        return attach if function is None else attach(function)

    def proof(
        self,
        cases: Cases | Callable[[], Cases],
        error: Bound,
        *,
        vjp: Bound | None = None,
        kinks: Sequence[Kink] = (),
        flops: Function | None = None,
        vjp_flops: Function | None = None,
        known: Mapping[Any, Any] | None = None,
    ) -> None:
        """Say what the op is tried on, and how wrong it and its gradient may be.

        `vjp` is the bound of the gradient, the same as the op's if not given. A function that makes
        the cases is called when they are first asked for. `known` are results from elsewhere, if any.
        """
        self.known = dict(known or {})
        self._cases, self.error, self.kinks, self.flops = cases, error, tuple(kinks), flops
        if self.gradient is not None:
            self.gradient.error, self.gradient.flops = vjp or error, vjp_flops
        elif vjp or vjp_flops:
            raise TypeError(f"{self.name} has no gradient to be proven")

    @property
    def cases(self) -> Cases | None:
        """The inputs to try; None for an op without proof, and for a gradient, which has its op's."""
        if callable(self._cases):
            self._cases = self._cases()
        return self._cases

    def flows_through(self, number: int) -> bool:
        """Whether result `number` is differentiable; if not, it may be as precise as it was computed."""
        return number < len(self.outputs) and self.outputs[number] in self.differentiable

    def names(self, count: int) -> list[str]:
        """The names of `count` data inputs: where there may be any number, the last one repeats."""
        return [self.inputs[min(i, len(self.inputs) - 1)] for i in range(count)]

    def infer(self, specs: Sequence[Spec], attributes: Mapping[str, Any]) -> list[Spec]:
        """Shape and type of each result, from those of the inputs; a ShapeError if they do not fit."""
        attributes = {**self.attributes, **attributes}
        try:
            types = promoted(self, [s.dtype for s in specs], attributes)
            specs = [Spec(s.shape, t) for s, t in zip(specs, types, strict=True)]
            if self.primal is not None:
                require_results(self, specs, attributes)
            return list(self.rule(self, specs, attributes))
        except ShapeError as error:
            raise ShapeError(f"{self.name}: {error}") from None

    @property
    def formula(self) -> str:
        """The first line of the docstring."""
        return (self.__doc__ or "").strip().partition("\n")[0]

    @property
    def draws(self) -> bool:
        """True for random numbers: all there is of the inputs is a key, and the type is an attribute."""
        return self.inputs == ("key",) and "dtype" in self.attributes

    @property
    def returns_tuple(self) -> bool:
        """True if the function returns a tuple even when there is one result in it."""
        return len(self.outputs) > 1 or (self.primal is not None and self.primal.variadic)

    def _differentiable(self, names: str | None) -> tuple[str, ...]:
        if names is None:
            return self.outputs[:1]
        found = tuple(names.split())
        if not found or found != tuple([name for name in self.outputs if name in found]):
            raise TypeError(
                f"{self.name}: differentiable names results, of {', '.join(self.outputs)} in this order, "
                f"got {names!r}"
            )
        return found

    def _from_list(
        self, inputs: tuple[Any, ...], attributes: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Any number of data in one list, as NumPy writes it: ``stack([a, b])``, ``stack([a, b], 1)``."""
        data, *by_position = inputs
        if not by_position:
            return tuple(data), attributes
        if len(by_position) > len(self.attributes) or not all(
            isinstance(value, int) for value in by_position
        ):
            return inputs, attributes  # the list is an array, and so is what follows
        given = dict(zip(self.attributes, by_position, strict=False))
        self._require_new(attributes, given)
        return tuple(data), {**given, **attributes}

    def _sorted(
        self, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(the data in order, the attributes) of a call, as Python sorts the arguments of a function.

        A type of numbers, however it is written, becomes its name.
        """
        names, last = (*self.inputs, *self.attributes), len(self.inputs) - 1
        if self.variadic and len(arguments) > last:
            arguments = (*arguments[:last], arguments[last:])
        if len(arguments) > len(names):
            raise self._wrong_call(f"{len(arguments)} arguments")
        given = dict(zip(names, arguments, strict=False))
        if named:
            self._require_new(named, given)
            given.update(named)
        missing = [name for name in self.inputs if name not in given]
        if missing:
            raise self._wrong_call(f"no {' and no '.join(missing)}")
        data = tuple([given.pop(name) for name in self.inputs])
        if "dtype" in given:
            given["dtype"] = dtype_name(given["dtype"])
        return ((*data[:-1], *data[-1]) if self.variadic else data), given

    def _require_new(self, named: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Raise a CallError for a name that is no parameter of the op, or was given by position."""
        for name in named:
            if name in given:
                raise self._wrong_call(f"{name} twice")
            if name not in self.inputs and name not in self.attributes:
                raise self._wrong_call(f"{name}=")

    def _wrong_call(self, got: str) -> CallError:
        defaults = (f"{name}={value!r}" for name, value in self.attributes.items())
        data = [f"*{x}" if self.variadic and x == self.inputs[-1] else x for x in self.inputs]
        return CallError(f"{self.name} takes ({', '.join((*data, *defaults))}), got {got}")

    def __deepcopy__(self, memo: dict[int, Any]) -> Op:
        return self  # TABLE holds one of each

    def __repr__(self) -> str:
        return f"<op {self.name}: {self.formula}>"


class Table(dict[str, Op]):
    """All ops by name. A name that is not there raises an error that suggests the nearest one."""

    def __missing__(self, name: str) -> Op:
        raise unknown_name("op", name, self)


TABLE: Table = Table()


def op(**row: Any) -> Callable[[Function], Op]:
    """Decorator: enter a function into TABLE. See `Op` for the columns a row may have."""
    return lambda function: _enter(Op(function, **row))


def _enter(row: Op) -> Op:
    if row.name in TABLE:
        raise TypeError(f"two ops are named {row.name}")
    TABLE[row.name] = row
    return row
