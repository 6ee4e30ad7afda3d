"""Back-propagation: from the loss back to everything it depends on, by the chain rule.

`gradients(y, xs)` follows the record of how y was made, backwards. Each op on the way turns the
gradient with respect to its result into those with respect to its inputs: its vjp, which stands
right below its formula and is applied through the same `apply`. So the gradient of a graph is a graph.
An op with several differentiable results has a gradient with respect to each; zeros, if nothing reads it.

The walk is a loop, not a recursion: a chain of 100,000 ops is no deeper than one of ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from refnet.autograd.context import absolute_scope
from refnet.autograd.tensor import Node, Tensor, apply, lift, recorded
from refnet.autograd.variable import Variable
from refnet.base.dtypes import is_float
from refnet.errors import ArgumentError, GradientError, ShapeError
from refnet.op.results import as_tuple
from refnet.op.shapes import agree
from refnet.ops import TABLE

Key = tuple[int, int]


def gradients(y: Tensor, xs: Sequence[Tensor] | Tensor, upstream: Any = None) -> Any:
    """∂L/∂x for each x in xs, given upstream = ∂L/∂y (ones if None): back-propagation.

    The result is a list like xs; for a single tensor in its place, that tensor's gradient. Any
    tensors may stand in xs, not only leaves. A gradient is None if y does not depend on x in a
    differentiable way; no gradient flows to or through integers and booleans, which change in steps.
    Raises GradientError where an op on the way has no gradient.

    Examples
    --------
    >>> from refnet import tensor
    >>> x = tensor(3.0)
    >>> gradients(x * x, [x])
    [Tensor(6., shape=(), dtype=float32)]
    """
    if isinstance(xs, Tensor):
        return gradients(y, [xs], upstream)[0]
    for t in (y, *xs):
        if not isinstance(t, Tensor):
            raise ArgumentError(
                f"gradients are those of tensors, with respect to tensors, got {t!r}"
            )
    order = recorded([y])
    wanted = {x.key for x in xs if is_float(x.dtype)}
    depends = _depending(order, wanted)
    path = wanted | depends
    _require_constant_targets(order, path)
    with absolute_scope("gradients"):
        start = _upstream(y, upstream)
    found: dict[Key, Tensor] = {y.key: start}
    for node in reversed(order):
        keys = [(id(node), i) for i in range(node.count)]
        arrived = {i: found[k] for i, k in enumerate(keys) if k in found and k in depends}
        if not arrived:
            continue
        _require_gradient(node, arrived)
        with absolute_scope(f"gradients/{_scope(node)}"):
            for x, dx in _backward(node, _of_results(node, arrived), path):
                found[x.key] = TABLE["add"](found[x.key], dx) if x.key in found else dx
    return [found.get(x.key) for x in xs]


def _upstream(y: Tensor, upstream: Any) -> Tensor:
    """∂L/∂y: ones, unless something else of y's shape is given."""
    if upstream is None:
        return TABLE["full_like"](y, value=1.0)
    start = lift(upstream, y.backend, y.dtype)
    if isinstance(start, Variable):  # it may be the gradient of something: then it is read here
        start = TABLE["identity"](start)
    if not agree(y.shape, start.shape):
        raise ShapeError(f"upstream has shape {start.shape}, but y has shape {y.shape}")
    return start


def _scope(node: Node) -> str:
    """The scope of names a node stands in."""
    return node.symbol.name.rpartition("/")[0] if node.symbol else ""


def _differentiable(node: Node) -> Iterable[Tensor]:
    """The inputs of a node that gradients flow to."""
    op = node.op
    if node.detached:
        return ()
    if op.primal is not None:  # a gradient depends on all it was given, and `_backward` says so
        return node.inputs
    if op.variadic:
        return node.inputs if op.wrt else ()
    return (t for name, t in zip(op.inputs, node.inputs, strict=True) if name in op.wrt)


def _depending(order: list[Node], wanted: set[Key]) -> set[Key]:
    """The results through which a wanted tensor reaches the output, by key."""
    depends: set[Key] = set()
    for node in order:
        if any(t.key in wanted or t.key in depends for t in _differentiable(node)):
            depends.update(t.key for t in _results(node) if is_float(t.dtype))
    return depends


def _results(node: Node) -> Iterable[Tensor]:
    """The results of a node, without the gradients that it was not asked for."""
    return (t for t in node.outputs() if node.values is None or t.value is not None)


def _require_constant_targets(order: list[Node], path: set[Key]) -> None:
    """Raise an error if a gradient is asked for that would go through the targets of a cross-entropy."""
    for node in order:
        for name, t in zip(node.op.inputs, node.inputs, strict=False):
            if name == "targets" and t.key in path and node.op.primal is None:
                raise GradientError(
                    f"{node.op.name}: no gradient flows to the targets: "
                    "targets.detach() are constants; a loss written with refnet.ops has both gradients"
                )


def _require_gradient(node: Node, arrived: Iterable[int]) -> None:
    """Raise an error if a gradient that arrived at a result can go no further."""
    if node.op.gradient is None:
        reason = "it is a gradient itself" if node.op.primal else "its row has no vjp"
        raise GradientError(f"{node.op.name} cannot be differentiated: {reason}")
    for number in arrived:
        if not node.op.flows_through(number):
            name = node.op.outputs[number]
            raise GradientError(f"{node.op.name}: no gradient flows through its result {name!r}")


def _of_results(node: Node, arrived: Mapping[int, Tensor]) -> list[Tensor]:
    """∂L/∂result for each differentiable result: what arrived there, and zeros where nothing did."""
    return [
        arrived[i] if i in arrived else TABLE["full_like"](node.output(i), value=0.0)
        for i in range(node.count)
        if node.op.flows_through(i)
    ]


def _require_unchanged(node: Node) -> None:
    """Raise an error if a variable was overwritten after an op read it: its old value is gone."""
    vjp = node.op.gradient
    if vjp is None or node.values is None:
        return
    saved = list(node.saved())
    names = vjp.names(len(node.op.upstream) + len(saved))[len(node.op.upstream) :]
    for name, t in zip(names, saved, strict=True):
        if isinstance(t, Variable) and t.changed_since(node) and name not in vjp.shape_of:
            raise GradientError(
                f"{node.op.name} read variable {t.name!r}, which has been assigned since: compute the "
                "result again, then its gradients"
            )


def _backward(
    node: Node, upstream: Sequence[Tensor], path: set[Key]
) -> Iterable[tuple[Tensor, Tensor]]:
    """Apply a node's vjp: (input, its gradient) for every input on the path to a wanted tensor."""
    op, vjp = node.op, node.op.gradient
    assert vjp is not None
    _require_unchanged(node)
    inputs = list(_differentiable(node))
    on_path = [t.key in path for t in inputs]
    attributes = {k: v for k, v in node.attributes.items() if k in vjp.attributes}
    if "wrt" in vjp.attributes:
        attributes["wrt"] = tuple(n for n, needed in zip(op.wrt, on_path, strict=True) if needed)
    results = as_tuple(apply(vjp, (*upstream, *node.saved()), attributes))
    results[0].node.since = node.serial
    return [(t, dx) for t, dx, needed in zip(inputs, results, on_path, strict=True) if needed]
