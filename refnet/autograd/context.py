"""Where something is written: in which graph, in which name scope, on which line of the user's code."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from refnet.errors import ArgumentError

if TYPE_CHECKING:
    from refnet.autograd.tensor import Node, Tensor
    from refnet.op.shapes import Spec


class GraphLike(Protocol):
    """What a tensor needs of the graph it waits in; `refnet.Graph` is one."""

    updates: list[Tensor]

    @property
    def nodes(self) -> list[Node]:
        """All ops, in the order in which they were written."""

    def __enter__(self) -> Any:
        """From here on, what is written belongs to it."""

    def __exit__(self, *error: object) -> None:
        """No longer."""

    def enter(
        self, thing: Tensor | Node, name: str, specs: Sequence[Spec], line: str | None = None
    ) -> Symbol:
        """Give something that waits its place, and a name that no other has."""

    def rename(self, symbol: Symbol, name: str) -> str:
        """Call something by another name: the name it has then, which no other has."""

    def group(self, name: str, tensors: Sequence[Tensor]) -> Any:
        """Several results under one name."""


#: the graphs of all ``with graph:`` around what is written now, innermost last; the scopes of names
graph_in_use: ContextVar[tuple[GraphLike, ...]] = ContextVar("graph_in_use", default=())
_names: ContextVar[str] = ContextVar("names", default="")
#: the inputs of the step that is being recorded: what Python makes of them will not be made again
step_inputs: ContextVar[Sequence[Tensor] | None] = ContextVar("step_inputs", default=None)
#: where the ops that overwrite something are noted, by their first results; None: nobody asks
noted: ContextVar[list[Tensor] | None] = ContextVar("noted", default=None)
#: what may stand between the user's line and ours: refnet itself, its decorators, a plan's program
_NOT_THE_USERS = (os.path.dirname(os.path.dirname(__file__)), contextlib.__file__, "<plan>")


@dataclass(eq=False, slots=True)
class Symbol:
    """What is known of something that waits for a session: its place in a graph, and its results.

    `specs` holds shape and type of each result; `line` is where the user wrote it.
    """

    graph: GraphLike
    name: str
    specs: Sequence[Spec]
    line: str


@contextlib.contextmanager
def name_scope(name: str) -> Iterator[str]:
    """Names given within the block start with ``name/``: it becomes one box in a drawing.

    Scopes may stand within each other. Outside of graphs, where nothing is named, it does nothing.

    >>> with name_scope("encoder"), name_scope("attention") as scope:
    ...     scope
    'encoder/attention'
    """
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"a name scope is text, got {name!r}")
    with absolute_scope(scoped(name)) as full:
        yield full


@contextlib.contextmanager
def absolute_scope(full: str) -> Iterator[str]:
    """A scope that does not stand within those around it."""
    token = _names.set(full.rstrip("/"))
    try:
        yield full
    finally:
        _names.reset(token)


@contextlib.contextmanager
def outside_graphs() -> Iterator[None]:
    """Variables made within the block have their values at once: a model's weights are its own."""
    token = graph_in_use.set(())
    try:
        yield
    finally:
        graph_in_use.reset(token)


@contextlib.contextmanager
def recording(inputs: Sequence[Tensor] | None) -> Iterator[None]:
    """Within the block a step with these inputs is recorded, to be run again; None: nothing is."""
    token = step_inputs.set(inputs)
    try:
        yield
    finally:
        step_inputs.reset(token)


@contextlib.contextmanager
def writes_of() -> Iterator[list[Tensor]]:
    """The results of all ops within the block that overwrite something, in their order."""
    found: list[Tensor] = []
    token = noted.set(found)
    try:
        yield found
    finally:
        noted.reset(token)


def scoped(name: str) -> str:
    """A name as it is called within the scopes around it."""
    scope = _names.get()
    return f"{scope}/{name}" if scope and name else scope or name


def line_of_user() -> str:
    """The line outside of refnet that led here: "lesson.py:12: y = x @ w"."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame = frame.f_back
    path, number = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(path, number, frame.f_globals).strip()
    return f"{os.path.basename(path)}:{number}{': ' if text else ''}{text}"
