"""Plan: a recorded computation as a small program, to be run again on other values.

Tensors remember the ops that made them. A plan takes that record from some outputs back to some
inputs, and writes it down as a Python function that calls the backend's functions one after the
other: no tensors, no dispatch, no tape. Variables are read at every run, as they are updated in
place; all other values that do not depend on the inputs are constants.

What was read from a variable stays what it was, here too. Most of it is used up before the variable is
overwritten, and is a view without a copy. What is read again after that, or returned, is copied when
it is made: see `_to_copy`.

`Plan.source` is that function's text: the training step of a model is a program one can read.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from refnet.autograd.tensor import Node, Tensor, Watch, recorded, tensor, variables_among, watching
from refnet.autograd.variable import Variable
from refnet.backend import Array, Backend
from refnet.errors import GradientError, NotReadyError

PLAN_FILE = "<plan>"  # what tracebacks call a plan's source
Key = tuple[int, int]


class Plan:
    """A function from the inputs' values to the outputs' values, read off a record.

    Parameters
    ----------
    inputs : tensors whose values will be given at each run.
    outputs : tensors to compute.
    keep : tensors whose ops have an effect (updates) and have to run though nothing reads them.
    backend : where to run it; None for the backends the tensors are on.

    Examples
    --------
    >>> import numpy as np
    >>> from refnet import tensor
    >>> x = tensor([1.0, 2.0])
    >>> plan = Plan([x], [x * x + 1.0])
    >>> plan(np.array([3.0, 4.0], "float32"))
    (array([10., 17.], dtype=float32),)
    >>> print(plan.source)
    def plan(v0):
        v1 = multiply(v0, v0)
        v3 = add(v1, c2)
        del v1
        return (v3,)
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        keep: Sequence[Tensor] = (),
        backend: Backend | None = None,
    ) -> None:
        self._backend = backend
        self._names: dict[tuple[int, int], str] = {}
        self._globals: dict[str, Any] = {"inf": math.inf, "nan": math.nan}
        self._functions: set[str] = set()
        given = {t.key: self._new_name("v", t) for t in inputs}
        arguments = list(given.values())
        order = recorded([*outputs, *keep], given=inputs)
        lines: list[str] = []
        nodes: list[Node] = []
        body: list[str] = []
        last_use: dict[str, int] = {}
        for node in order:
            if self._is_constant(node):
                for t in node.outputs():
                    self._globals[self._new_name("c", t)] = self._constant(t)
                continue
            number = len(lines)
            read = [self._name(t) for t in node.inputs]
            data = self._arguments(node)
            write = [self._new_name("v", node.output(i)) for i in range(node.count)]
            options = [f"{k}={self._literal(k, v)}" for k, v in node.attributes.items()]
            where = backend or node.inputs[0].backend
            function = self._function(node.op.name, where.function(node.op))
            targets = ", ".join(write) + ("," if node.op.returns_tuple and node.count == 1 else "")
            lines.append(f"{targets} = {function}({', '.join([*data, *options])})")
            nodes.append(node)
            last_use |= dict.fromkeys([*read, *write], number)
        _require_unwritten(nodes)
        copied = _to_copy(nodes, outputs)
        results = [self._result(t, given) for t in outputs]
        kept = {*results, *arguments, *self._globals}
        done: dict[int, list[str]] = {}
        for name, number in last_use.items():
            if name not in kept:
                done.setdefault(number, []).append(name)
        self._node_at: dict[int, Node] = {}
        for number, (line, node) in enumerate(zip(lines, nodes, strict=True)):
            self._node_at[len(body) + 2] = node  # the first line is the `def`
            body.append(line)
            for t in node.outputs():
                if t.key in copied:
                    body.append(f"{self._names[t.key]} = {self._copy(t)}")
            if number in done:  # what nobody needs any more gives its memory back
                body.append(f"del {', '.join(done[number])}")
        body.append(f"return ({', '.join(results)}{',' if len(results) == 1 else ''})")
        self.source = "\n    ".join([f"def plan({', '.join(arguments)}):", *body])
        self._code = compile(self.source, PLAN_FILE, "exec")
        exec(self._code, self._globals)
        self._run: Callable[..., tuple[Array, ...]] = self._globals["plan"]
        self.steps = len(lines)
        #: the variables a run overwrites
        self.written = frozenset(v for node in nodes for v in node.written)
        #: whether shapes within the plan depend on values: then no backend can capture it
        self.data_dependent_shape = any(node.op.data_dependent_shape for node in nodes)

    def note_changes(self) -> None:
        """A run follows: gradients of what was computed from the variables before cannot be had."""
        for variable in self.written:
            variable.note_change()

    def __call__(self, *arguments: Array) -> tuple[Array, ...]:
        """Run the plan on the inputs' values (backend arrays, in the order of `inputs`)."""
        self.note_changes()
        watch = watching.get()
        return (self._run if watch is None else self._watched(watch))(*arguments)

    def _watched(self, watch: Watch) -> Callable[..., tuple[Array, ...]]:
        """The same program, with every op of it run as `watch` says."""

        def run(*inputs: Array, **attributes: Any) -> Any:
            node = self._node_at[sys._getframe(1).f_lineno]
            where = self._backend or node.inputs[0].backend
            return watch(where, node.op, node.inputs, node.symbol)(*inputs, **attributes)

        program = {**self._globals, **dict.fromkeys(self._functions, run)}
        exec(self._code, program)
        return program["plan"]

    @property
    def constants(self) -> list[Array]:
        """The values no run changes."""
        return [v for name, v in self._globals.items() if re.fullmatch(r"c\d+", name)]

    def failed_at(self, error: BaseException) -> Node | None:
        """The node whose function raised the error, if it came out of a run."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != PLAN_FILE:
            trace = trace.tb_next
        return None if trace is None else self._node_at.get(trace.tb_lineno)

    def _is_constant(self, node: Node) -> bool:
        """Whether no run can change the results: they depend on shapes and on constants alone."""
        op, names = node.op, node.op.names(len(node.inputs))
        return (
            not op.writes
            and node.values is not None
            and all(
                self._names.get(t.key, "c").startswith("c")
                and (t.node is not None or t.value is not None)
                and not isinstance(t, Variable)
                for name, t in zip(names, node.inputs, strict=True)
                if name not in op.shape_of
            )
        )

    def _new_name(self, kind: str, t: Tensor) -> str:
        self._names[t.key] = f"{kind}{len(self._names)}"
        return self._names[t.key]

    def _name(self, t: Tensor) -> str:
        """The name of a value; a leaf that is not an input is a constant, or a variable's array."""
        if t.key not in self._names:
            if t.value is None:
                raise NotReadyError(f"the plan needs a value for placeholder {t.name!r}")
            self._globals[self._new_name("c", t)] = self._constant(t)
        return self._names[t.key]

    def _constant(self, t: Tensor) -> Array:
        """The value of a tensor on the backend the plan runs on."""
        there = self._backend
        return t.value if there is None or t.backend is there else tensor(t, backend=there).value

    def _function(self, name: str, function: Callable[..., Any]) -> str:
        """The op's name; numbered, should two backends' functions of one name meet in a plan."""
        name = self._called(name, function)
        self._functions.add(name)
        return name

    def _arguments(self, node: Node) -> list[str]:
        """The texts of a node's inputs.

        A tensor that is no variable does not change: if the op would overwrite it, it gets a copy.
        """
        named = zip(node.op.names(len(node.inputs)), node.inputs, strict=True)
        return [
            self._copy(t)
            if name in node.op.writes and not isinstance(t, Variable)
            else self._name(t)
            for name, t in named
        ]

    def _result(self, t: Tensor, given: Mapping[Key, str]) -> str:
        """The text of what is returned: a variable, and what overwrites it, as it is at the end."""
        name, node = self._name(t), t.node
        if node is not None and node.op.writes and t.key not in given:
            t = node.inputs[node.op.inputs.index(node.op.outputs[t.index])]
        return self._copy(t) if isinstance(t, Variable) else name

    def _copy(self, t: Tensor) -> str:
        """The text that copies a value."""
        return f"{self._called('copy', (self._backend or t.backend).array)}({self._names[t.key]})"

    def _called(self, name: str, function: Callable[..., Any]) -> str:
        while self._globals.setdefault(name, function) != function:
            name += "_"
        return name

    def _literal(self, attribute: str, value: Any) -> str:
        """An attribute as Python text, if its text says all; else a name that stands for it."""
        text = repr(value)
        try:
            if eval(text, {"inf": math.inf}) == value:
                return text
        except (NameError, SyntaxError, TypeError):
            pass
        name = f"{attribute}{len(self._globals)}"
        self._globals[name] = value
        return name


def _to_copy(nodes: Sequence[Node], returned: Sequence[Tensor]) -> set[Key]:
    """Which values are copied when they are made.

    They lie in the memory of a variable, as views do, and are looked at after it was overwritten: by an
    op that follows, or by whoever gets the results, as the next run may overwrite it.
    """
    writes: dict[Variable, list[int]] = {}
    last_use: dict[Key, int] = {}
    for number, node in enumerate(nodes):
        last_use |= {t.key: number for t in node.inputs}
        for variable in node.written:
            for one in (variable, *variable.overlaps):
                writes.setdefault(one, []).append(number)
    keys = {t.key for t in returned}
    copied: set[Key] = set()
    lies_in: dict[Key, set[Variable]] = {}
    for number, node in enumerate(nodes):
        inside: set[Variable] = set()
        for name, t in zip(node.op.names(len(node.inputs)), node.inputs, strict=True):
            if isinstance(t, Variable) and name in node.op.shares:
                inside.add(t)
            elif name in node.op.views:
                inside |= lies_in.get(t.key, set())
        for t in node.outputs() if inside else ():
            last = last_use.get(t.key, number)
            outdated = any(number < at < last for v in inside for at in writes.get(v, ()))
            if outdated or (t.key in keys and not node.op.writes):
                copied.add(t.key)
            else:
                lies_in[t.key] = inside
    return copied


def _require_unwritten(nodes: Sequence[Node]) -> None:
    """Raise an error if a gradient reads a variable that was overwritten since its op read it."""
    writes = [(node.serial, {v, *v.overlaps}) for node in nodes for v in node.written]
    for node in nodes:
        if node.since is None:
            continue
        between = [changed for at, changed in writes if node.since < at < node.serial]
        saved = [name for name in node.op.inputs if name not in node.op.shape_of]
        for t in variables_among(saved, node.op, node.inputs):
            if any(t in changed for changed in between):
                raise GradientError(
                    f"{node.op.name} needs variable {t.name!r} as it was when the result was "
                    "computed, and it is assigned before: write the gradients down first"
                )
