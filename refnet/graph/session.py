"""Session: where a graph is run. It places the ops on a backend, and keeps the variables' values.

>>> import refnet
>>> with refnet.Graph() as graph:
...     x = refnet.placeholder((None,), name="x")
...     count = refnet.Variable(0.0, name="count")
...     step = count.assign(count + x.sum())
>>> session = refnet.Session(graph)
>>> session.run(step, {x: [1, 2]}), session.run(step, {x: [10]})
(array(3., dtype=float32), array(13., dtype=float32))
>>> refnet.Session(graph).run(count)  # another session, another count
array(0., dtype=float32)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnet import backend as backends
from refnet.autograd.tensor import Tensor, recorded
from refnet.autograd.variable import Variable
from refnet.backend import Array, Backend
from refnet.base.dtypes import INTEGERS, castable, native, require_range
from refnet.errors import (
    ArgumentError,
    DTypeError,
    GraphError,
    NotReadyError,
    RefnetError,
    ShapeError,
)
from refnet.graph.compare import Comparison, compare
from refnet.graph.graph import Graph, Group, default_graph
from refnet.op.shapes import agree
from refnet.plan.plan import Plan

Feeds = Mapping[Any, Any]


@dataclass(frozen=True)
class Program:
    """A plan for some fetches, and the variables it reads after the feeds."""

    plan: Plan
    fetched: Sequence[Tensor]
    variables: Sequence[Variable]


class Session:
    """Runs a graph.

    A session starts each variable of the graph from its initial value and keeps what becomes of it,
    apart from all other sessions. Variables made outside of graphs, such as the weights of a model,
    are not its own: it reads and writes them where they are.

    Sessions may be used from several threads: their runs then follow one another.

    Parameters
    ----------
    graph : the graph to run; None for the one in use.
    backend : the name of the backend to run it on; None for the one in use.
    """

    def __init__(self, graph: Graph | None = None, backend: str | Backend | None = None) -> None:
        if not isinstance(graph, Graph | None):
            raise ArgumentError(f"a Session runs a Graph, got {graph!r}")
        self.graph = default_graph() if graph is None else graph
        self.backend = backends.get(backend)
        self._values: dict[Variable, Array] = {}
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._lock = threading.RLock()
        self._closed = False

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<session of {self.graph!r} on {self.backend.name}>"

    def close(self) -> None:
        """Let go of the variables' values."""
        self._closed = True
        self._values, self._programs = {}, {}

    # -- running -------------------------------------------------------------------------------

    def run(self, fetches: Any, feed_dict: Feeds | None = None) -> Any:
        """The values of the fetches as NumPy arrays, computed from what is fed.

        Only what the fetches need is computed, in the order in which it was written; what nobody needs
        any more gives its memory back. A variable, and an op that overwrites it, has the value it has at
        the end of the run. Constants, also random ones, were drawn when they were written.

        Parameters
        ----------
        fetches : a tensor, its name, a group, or lists, tuples and dicts of them; the result has the
            same form. What a group computes is not returned: its place holds None.
        feed_dict : placeholders (or other tensors of the graph, or names) and their values.

        Raises
        ------
        NotReadyError : a placeholder that is needed was not fed.
        ShapeError, DTypeError : what was fed does not fit, or an op failed; nothing is computed before
            all that is fed was looked at.
        GraphError : a tensor of another graph.

        Where an op fails on the values it gets, what was written before it stays written.
        """
        with self._lock:
            self._require_open()
            wanted: list[Tensor] = []
            form = self._form(fetches, wanted)
            feeds = self._feeds(feed_dict or {})
            program = self._program(wanted, list(feeds))
            arrays = [self._array(v) for v in program.variables]
            given = [*feeds.values(), *arrays]
            try:
                results = program.plan(*given)
            except (ValueError, IndexError, TypeError, RuntimeError) as error:
                raise self._explained(error, program.plan) from error
            for variable, array in zip(program.variables, arrays, strict=True):
                if variable in program.plan.written and variable.value is not None:
                    self._write_back(variable, array)
            shared = {id(a) for a in (*given, *program.plan.constants)}
            return form([self._numpy(x, shared) for x in results])

    def _require_open(self) -> None:
        """Raise an error once the session is closed: the values its variables had are gone."""
        if self._closed:
            raise NotReadyError("the session is closed")

    def source(self, fetches: Any, fed: Sequence[Tensor | str] = ()) -> str:
        """The program that `run` writes for these fetches, as Python text.

        v0, v1 ... are first what is fed, then the variables, then the results; c... are constants.
        """
        wanted: list[Tensor] = []
        self._form(fetches, wanted)
        given = [self._own(self.graph[t] if isinstance(t, str) else t) for t in fed]
        with self._lock:
            return self._program(wanted, given).plan.source

    def _program(self, wanted: Sequence[Tensor], fed: Sequence[Tensor]) -> Program:
        """The plan for these fetches and feeds: made at the first run, the same at those that follow."""
        key = tuple(t.key for t in wanted), tuple(t.key for t in fed)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._new_program(wanted, fed)
        return program

    def _new_program(self, wanted: Sequence[Tensor], fed: Sequence[Tensor]) -> Program:
        nodes = recorded(wanted, given=fed)
        leaves = {t.key: t for t in (*wanted, *(t for n in nodes for t in n.inputs)) if not t.node}
        for t in fed:
            leaves.pop(t.key, None)
        missing = [t for t in leaves.values() if t.value is None and not isinstance(t, Variable)]
        if missing:
            lines = sorted(
                f"\n  {t.name!r} of shape {t.shape}, {t.dtype}, from {t.symbol and t.symbol.line}"
                for t in missing
            )
            raise NotReadyError(f"feed_dict lacks a value for{''.join(lines)}")
        variables = [t for t in leaves.values() if isinstance(t, Variable)]
        plan = Plan([*fed, *variables], wanted, backend=self.backend)
        return Program(plan, list(wanted), variables)

    def _form(self, fetches: Any, wanted: list[Tensor]) -> Callable[[list[Any]], Any]:
        """Enter the tensors among the fetches into `wanted`; how to put their values in their places."""
        if isinstance(fetches, str):
            fetches = self.graph[fetches]
        if isinstance(fetches, Group):
            for t in fetches.tensors:
                wanted.append(self._own(t))
            return lambda values: None
        if isinstance(fetches, Tensor):
            place = len(wanted)
            wanted.append(self._own(fetches))
            return lambda values: values[place]
        if isinstance(fetches, Mapping):
            forms = {k: self._form(v, wanted) for k, v in fetches.items()}
            return lambda values: {k: form(values) for k, form in forms.items()}
        if isinstance(fetches, (list, tuple)):
            parts = [self._form(x, wanted) for x in fetches]
            kind = type(fetches)
            made = kind._make if hasattr(kind, "_make") else kind
            return lambda values: made(form(values) for form in parts)
        raise ArgumentError(
            f"run computes tensors, their names and groups, got {type(fetches).__name__}: {fetches!r}"
        )

    def _own(self, t: Tensor) -> Tensor:
        """A tensor that may be fetched or fed here; an error if it belongs to another graph."""
        if t.graph is not None and t.graph is not self.graph:
            raise GraphError(
                f"{t.name!r} belongs to another graph than this session's, {self.graph!r}: make a "
                "Session(graph) of its own for it"
            )
        return t

    # -- what goes in --------------------------------------------------------------------------

    def _feeds(self, feed_dict: Feeds) -> dict[Tensor, Array]:
        """The tensors that are fed, with their values on this backend, all of them checked."""
        if not isinstance(feed_dict, Mapping):
            raise ArgumentError(
                f"feed_dict is a dict of tensors and their values, got {feed_dict!r}"
            )
        feeds: dict[Tensor, Array] = {}
        for key, value in feed_dict.items():
            t = self.graph[key] if isinstance(key, str) else key
            if not isinstance(t, Tensor):
                raise ArgumentError(f"feed_dict holds tensors or their names, got {key!r}")
            if any(self._own(t).key == other.key for other in feeds):
                raise ArgumentError(f"feed_dict holds {t.name!r} twice")
            feeds[t] = self._fed(t, value)
        return feeds

    def _fed(self, t: Tensor, value: Any) -> Array:
        if t.value is not None:
            raise ArgumentError(f"{t!r} has its value: only what waits is fed")
        owner = backends.backend_of(value)
        if isinstance(value, Tensor):
            value = value.numpy()
        elif owner is not None:
            value = owner.numpy(value)
        try:
            array = native(np.asarray(value))
        except ValueError as error:
            raise ShapeError(f"{t.name!r} was fed ragged lists: {error}") from error
        of_python = not isinstance(value, (np.ndarray, np.generic))  # of no type, as they are whole
        whole = array.size == 0 or (array.dtype.kind in "iu" and t.dtype in INTEGERS)
        fits = castable(str(array.dtype), t.dtype) or (of_python and whole)
        if array.dtype.kind not in "biuf" or not fits:
            raise DTypeError(f"{t.name!r} expects {t.dtype}, was fed {array.dtype}")
        try:
            require_range(array, t.dtype)
        except DTypeError as error:
            raise DTypeError(f"{t.name!r} was fed what it cannot hold: {error}") from None
        if not agree(t.shape, array.shape):
            raise ShapeError(f"{t.name!r} expects shape {t.shape}, was fed {array.shape}")
        return self.backend.array(array, t.dtype)

    def _array(self, variable: Variable) -> Array:
        """The value of a variable on this backend; what is written there is written to the variable."""
        if variable.value is not None:
            own = variable.backend is self.backend
            return variable.value if own else self.backend.array(variable.numpy(), variable.dtype)
        self._own(variable)
        if variable not in self._values:
            self._values[variable] = self.backend.array(variable.initial, variable.dtype)
        return self._values[variable]

    def _write_back(self, variable: Variable, array: Array) -> None:
        """Hand the new value to a variable that lives outside of graphs, on another backend."""
        if variable.backend is not self.backend:
            variable.assign(self.backend.numpy(array))

    def assign(self, variable: Variable | str, values: Any) -> None:
        """Overwrite the value a variable of the graph has in this session."""
        owner = self.graph[variable] if isinstance(variable, str) else variable
        if not isinstance(owner, Variable):
            raise ArgumentError(f"only variables are assigned, got {owner!r}")
        with self._lock:
            self._require_open()
            if owner.value is not None:
                owner.assign(values)
            else:
                self._values[self._own(owner)] = self._fed(owner, values)  # type: ignore[index]

    def values(self) -> dict[str, np.ndarray[Any, Any]]:
        """The values of the graph's variables in this session, by name."""
        with self._lock:
            self._require_open()
            return {
                v.name: np.array(self.backend.numpy(self._array(v))) for v in self.graph.variables
            }

    # -- what comes out ------------------------------------------------------------------------

    def _numpy(self, x: Array, shared: set[int]) -> Any:
        """A result as an array of the caller's own: changing it changes nothing here."""
        array = self.backend.numpy(x)
        owned = self.backend.name == "numpy" and array.base is None and id(x) not in shared
        return array if owned and not isinstance(x, np.generic) else np.array(array)

    def _explained(self, error: Exception, plan: Plan) -> Exception:
        """The error of an op, with its name in the graph and the line that wrote it."""
        node = plan.failed_at(error)
        if node is None or node.symbol is None:
            return error
        text = str(error)
        where = f"{node.op.name} {node.symbol.name!r} failed: {text}\n  in {node.symbol.line}"
        if isinstance(error, RefnetError):
            return type(error)(where)
        return ShapeError(where) if isinstance(error, (ValueError, IndexError)) else error

    def compare(
        self, other: str | Backend, fetches: Any = None, feed_dict: Feeds | None = None
    ) -> Comparison:
        """Run on this backend and on another, and compare every result on the way, op by op.

        `fetches` says what to compute; None is all that does not write. No variable is changed.
        """
        there = backends.get(other)
        with self._lock:
            self._require_open()
            wanted: list[Tensor] = []
            if fetches is None:
                nodes = (n for n in self.graph.nodes if not n.op.writes)
                wanted = [t for n in nodes for t in n.outputs()]
            else:
                self._form(fetches, wanted)
            feeds = self._feeds(feed_dict or {})
            self._program(wanted, list(feeds))
            given = {t: self.backend.numpy(x) for t, x in feeds.items()}
            return compare(wanted, given, self._array, self.backend, there)
