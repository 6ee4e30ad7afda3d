"""Graph: a computation written down before it is run. Placeholders stand where the data will be.

A graph is built by computing with placeholders: each op that reads one becomes a node that waits. It
can be looked at, saved to a file, loaded elsewhere, and run by a `Session` on any backend.

    >>> import refnet
    >>> with refnet.Graph() as graph:
    ...     x = refnet.placeholder((None, 3), name="x")
    ...     y = (x * 2.0).sum(axis=1).named("y")
    >>> graph
    <graph: 1 placeholder, 0 variables, 2 ops>
    >>> y
    Tensor(waiting from sum, shape=(None,), dtype=float32, name='y')
    >>> refnet.Session(graph).run("y", {"x": [[1, 2, 3]]})
    array([12.], dtype=float32)
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from refnet import backend as backends
from refnet import config
from refnet.autograd.context import Symbol, graph_in_use, line_of_user, scoped
from refnet.autograd.tensor import Node, Tensor, recorded
from refnet.autograd.variable import Variable
from refnet.errors import ArgumentError, GraphError, ShapeError, unknown_name
from refnet.graph import drawing
from refnet.graph import files as serialization
from refnet.graph.entry import Entry, source_of
from refnet.op.shapes import Spec

if TYPE_CHECKING:
    from refnet.graph.session import Session

_NAME = re.compile(r"[^\x00-\x1f\x7f:/]+(/[^\x00-\x1f\x7f:/]+)*")


class Group:
    """Tensors that a session computes together for what they do: the updates of a training step."""

    def __init__(self, graph: Graph, name: str, tensors: Sequence[Tensor]) -> None:
        self.graph = graph
        self.name = name
        self.tensors = tuple(tensors)

    def __repr__(self) -> str:
        return f"<group {self.name!r} of {len(self.tensors)} ops>"


class Graph:
    """Placeholders, variables and the ops that read them, each under a name of its own.

    Within ``with graph:`` placeholders and variables are made in this graph; outside of any such
    block, placeholders are made in a default graph. `name_scope` puts names into folders.
    """

    def __init__(self) -> None:
        self._things: dict[str, Tensor | Node | Group] = {}
        self._counts: Counter[str] = Counter()
        #: what layers change in a step of training besides their weights: keys of random numbers
        self.updates: list[Tensor] = []
        #: names of what has its value already, given when it is first looked at; and all of them
        self._eager: dict[tuple[int, int], tuple[str, Tensor]] = {}
        self._taken: set[str] = set()
        self._lock = threading.RLock()

    def __enter__(self) -> Graph:
        graph_in_use.set((*graph_in_use.get(), self))
        return self

    def __exit__(self, *error: object) -> None:
        graph_in_use.set(graph_in_use.get()[:-1])

    def as_default(self) -> Graph:
        """The graph itself, for ``with graph.as_default():``, as TensorFlow 1 writes it."""
        return self

    # -- what is in it -------------------------------------------------------------------------

    @property
    def placeholders(self) -> list[Tensor]:
        """What has to be fed, in the order in which it was made."""
        return [t for t in self._leaves() if not isinstance(t, Variable)]

    @property
    def variables(self) -> list[Variable]:
        """What sessions keep: the variables made within the graph."""
        return [t for t in self._leaves() if isinstance(t, Variable)]

    @property
    def trainable_variables(self) -> list[Variable]:
        """The variables an optimizer may change."""
        return [v for v in self.variables if v.trainable]

    @property
    def nodes(self) -> list[Node]:
        """The applications of ops, in the order in which they were written."""
        return [n for n in self._things.values() if isinstance(n, Node)]

    @property
    def groups(self) -> dict[str, Group]:
        """What `group` has put together, by name."""
        return {n: g for n, g in self._things.items() if isinstance(g, Group)}

    def _leaves(self) -> list[Tensor]:
        return [t for t in self._things.values() if isinstance(t, Tensor)]

    def __getitem__(self, name: str) -> Any:
        """The tensor (or group) of this name: ``graph["hidden/linear"]``, ``graph["split:1"]``."""
        base, index = source_of(name) if re.search(r":\d+$", name) else (name, 0)
        thing = self._things.get(base)
        if thing is None:
            raise unknown_name("tensor", name, self._things)
        if not isinstance(thing, Node):
            return thing
        if index >= thing.count:
            raise GraphError(f"{base!r} has {thing.count} results, so there is no {name!r}")
        return thing.output(index)

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def entries(self) -> list[Entry]:
        """All that is in the graph, one entry each; what an entry reads stands before it.

        First come placeholders and variables, then constants, then ops in the order they were written.
        """
        nodes = recorded(t for node in self.nodes for t in node.outputs())
        changing: set[int] = set()  # nodes that a run computes; the others are constants
        for node in nodes:
            if node.values is None or any(
                isinstance(t, Variable) or (t.node and id(t.node) in changing) for t in node.inputs
            ):
                changing.add(id(node))
        leaves = {t.name: self._leaf_entry(t.name, t) for t in self._leaves()}
        variables: dict[str, Entry] = {}
        constants: dict[str, Entry] = {}
        ops: list[Entry] = []
        for node in (n for n in nodes if id(n) in changing):
            name = self._name_of(node.output(0), node.op.name, "")
            reads = []
            for t in node.inputs:
                if t.node is not None and id(t.node) in changing:
                    read = self._name_of(t.node.output(0), "", "")
                    read += f":{t.index}" if t.index else ""
                elif isinstance(t, Variable):
                    read = self._name_of(t, t.name or "variable", "")
                    if read not in leaves:
                        variables[read] = self._leaf_entry(read, t)
                else:
                    read = self._name_of(t, "constant", name.rpartition("/")[0])
                    if read not in leaves:
                        constants[read] = self._leaf_entry(read, t)
                reads.append(read)
            outputs = [(s.shape, s.dtype) for s in (t.spec for t in node.outputs())]
            line = node.symbol.line if node.symbol else ""
            ops.append(Entry(name, "op", outputs, node.op.name, reads, node.attributes, line=line))
        return [*leaves.values(), *variables.values(), *constants.values(), *ops]

    def _name_of(self, t: Tensor, otherwise: str, scope: str) -> str:
        """The name of a tensor; one that has its value gets one when it is first looked at."""
        if t.symbol is not None:
            return t.symbol.name
        if t.key not in self._eager:
            full = f"{scope}/{otherwise}" if scope else otherwise
            self._eager[t.key] = self._unique(full), t
            self._taken.add(self._eager[t.key][0])
        return self._eager[t.key][0]

    def _leaf_entry(self, name: str, t: Tensor) -> Entry:
        line = t.symbol.line if t.symbol else ""
        outputs = [(t.spec.shape, t.spec.dtype)]
        if isinstance(t, Variable):
            value = t.numpy() if t.initial is None else t.initial
            return Entry(name, "variable", outputs, value=value, trainable=t.trainable, line=line)
        if t.value is None:
            return Entry(name, "placeholder", outputs, line=line)
        if t.dtype == "bfloat16":  # NumPy has no such constants: what a session moves, it can have
            return Entry(name, "variable", outputs, value=t.numpy())
        return Entry(name, "constant", outputs, value=t.numpy())

    def __repr__(self) -> str:
        counts = {
            "placeholder": len(self.placeholders),
            "variable": len(self.variables),
            "op": len(self.nodes),
        }
        parts = (f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items())
        return f"<graph: {', '.join(parts)}>"

    # -- how it grows --------------------------------------------------------------------------

    def enter(
        self, thing: Tensor | Node, name: str, specs: Sequence[Spec], line: str | None = None
    ) -> Symbol:
        """Take something up under a name made unique: "add", "add_1" ... within the scopes around it."""
        with self._lock:
            full = self._unique(scoped(name))
            self._things[full] = thing
        return Symbol(self, full, specs, line_of_user() if line is None else line)

    def enter_constant(self, t: Tensor, name: str) -> None:
        """Give a tensor that has its value the name it had in a file."""
        self._eager[t.key] = self._unique(name), t
        self._taken.add(self._eager[t.key][0])

    def rename(self, symbol: Symbol, name: str) -> str:
        """Give something in the graph another name, which has to be free."""
        full = scoped(name)
        self._require_name(full)
        with self._lock:
            if full != symbol.name and full in self._things:
                raise GraphError(f"the name {full!r} is taken: {self._things[full]!r}")
            new = {full if k == symbol.name else k: v for k, v in self._things.items()}
            self._things = new
            symbol.name = full
        return full

    def group(self, name: str, tensors: Sequence[Tensor]) -> Group:
        """Put tensors together under one name, to be run for what they do."""
        with self._lock:
            made = Group(self, self._unique(scoped(name)), tensors)
            self._things[made.name] = made
        return made

    def _unique(self, name: str) -> str:
        self._require_name(name)
        full = name
        while full in self._things or full in self._taken:
            self._counts[name] += 1
            full = f"{name}_{self._counts[name]}"
        return full

    def _require_name(self, name: str) -> None:
        if (
            not isinstance(name, str)
            or not _NAME.fullmatch(name)
            or {".", ".."} & set(name.split("/"))
        ):
            raise GraphError(
                f"a name is text like 'hidden/kernel', without colons or empty parts, got {name!r}"
            )

    # -- files and drawings --------------------------------------------------------------------

    def save(self, path: str | Path, session: Session | None = None) -> Path:
        """Write the graph to one file, from which `Graph.load` makes the same graph again.

        Variables are saved with the values they have in `session`, or else those they start from.
        The file holds numbers and text, no code: loading one runs nothing.
        """
        if session is not None and getattr(session, "graph", None) is not self:
            raise GraphError(f"save takes a session of this graph, {self!r}, got {session!r}")
        values = session.values() if session else {}
        groups = {name: [t.name for t in g.tensors] for name, g in self.groups.items()}
        return serialization.write(path, self.entries(), groups, values)

    @classmethod
    def load(cls, path: str | Path) -> Graph:
        """The graph that `save` wrote to a file. A file that is not in order is a FileError."""
        graph = cls()
        serialization.read_into(graph, path)
        return graph

    def to_mermaid(self, depth: int | None = None) -> str:
        """The graph as text for a ```mermaid block; scopes below `depth` are one box each."""
        return drawing.to_mermaid(self.entries(), depth)

    def to_dot(self, depth: int | None = None) -> str:
        """The graph in Graphviz's language; scopes below `depth` are one box each."""
        return drawing.to_dot(self.entries(), depth)


_default = Graph()


def default_graph() -> Graph:
    """The graph of the innermost ``with graph:``, or the one that is always there."""
    inside = graph_in_use.get()
    return cast(Graph, inside[-1]) if inside else _default


def reset_default_graph() -> None:
    """Put an empty graph in the place of the default one."""
    global _default
    _default = Graph()


def placeholder(
    shape: Sequence[int | None], dtype: Any = None, name: str = "placeholder"
) -> Tensor:
    """A tensor without a value yet: what is computed from it waits until a session is fed one.

    A length that is to stay open is None: ``placeholder((None, 64))`` takes any number of rows.
    """
    if not isinstance(shape, Sequence) or not all(
        n is None or (isinstance(n, int) and not isinstance(n, bool) and n >= 0) for n in shape
    ):
        raise ShapeError(
            f"placeholder {name!r}: first comes the shape, a tuple of lengths and None, like (None, 3), "
            f'then the type: placeholder((None, 3), "float32"); got {shape!r}'
        )
    backend, kind = backends.current(), config.dtype_name(dtype)
    one = backend.array(1, kind)  # a type it does not know is an error
    leaf, graph = Tensor(None, backend), default_graph()
    spec = Spec(tuple(shape), backend.dtype(one))
    leaf._symbol = graph.enter(leaf, name, [spec])
    leaf.name = leaf._symbol.name
    return leaf


def group(*tensors: Tensor | Group, name: str = "group") -> Group:
    """Several updates as one thing to run: ``session.run(group(w.assign(...), b.assign(...)))``."""
    members = [t for x in tensors for t in (x.tensors if isinstance(x, Group) else (x,))]
    graphs = {id(t.graph): t.graph for t in members}
    graph = next(iter(graphs.values()), None)
    if len(graphs) != 1 or graph is None:
        raise ArgumentError(f"group takes tensors that wait in one graph, got {tensors!r}")
    return graph.group(name, members)
