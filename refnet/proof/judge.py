"""Does a backend agree with the reference? One op, one case, one dtype, against the op's bound.

The inputs are drawn in float64 and rounded to the dtype under test. The reference computes in a longer
type on exactly those values (`refnet.proof.exact`); the backend computes in the dtype. Where they part by
more than the bound of the op's row allows, the backend is wrong.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnet.backend import Array, Backend
from refnet.base.dtypes import arithmetic, round_to
from refnet.op import TABLE, Op
from refnet.op.columns import Case
from refnet.op.results import as_tuple
from refnet.proof.exact import LONGER, exact, reference


@dataclass(frozen=True)
class Verdict:
    """How far a backend was from the reference on one case.

    `error` is the largest |difference|, and `bound` the bound at that element; `ratio` is the largest
    error in units of its bound, over all elements of all outputs: at most 1 if the backend agrees.
    `complaint` is "" or says what is wrong: a shape, a type, a NaN where none should be.

    `output`, `index`, `got` and `expected` say where that largest error is: which result, which of
    its elements, what stands there, and what the reference has. `output` is "" if there is no error.
    """

    op: str
    case: str
    dtype: str
    backend: str
    error: float
    bound: float
    ratio: float
    complaint: str
    output: str = ""
    index: tuple[int, ...] = ()
    got: Any = None
    expected: Any = None

    @property
    def ok(self) -> bool:
        """True if the backend agrees with the reference on this case."""
        return not self.complaint


def cases_of(op: Op) -> Iterator[Case]:
    """The cases to try an op on. A gradient is tried on those of the op it belongs to."""
    family = (op.primal or op).cases
    yield from family or ()


def inputs_for(
    op: Op, case: Case, dtype: str, seed: int = 0
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(inputs, attributes) of a case, in float64, every float rounded to a value of `dtype`.

    For a gradient: a random upstream g for each differentiable result, and what the op saves when the
    reference runs it.
    """
    primal = op.primal or op
    rng = np.random.default_rng([seed, zlib.crc32(f"{primal.name} {case.name}".encode())])
    inputs = tuple(round_to(x, dtype) for x in case.make(rng))
    if op.primal is None:
        return inputs, dict(case.attributes)
    outputs = dict(zip(primal.outputs, reference(primal, inputs, case.attributes), strict=False))
    given = dict(zip(primal.inputs, inputs, strict=False))
    saved: list[Any] = []
    for name in primal.saves:
        if primal.variadic:
            saved.extend(inputs)
        else:
            saved.append(given[name] if name in given else round_to(outputs[name], dtype))
    shapes = [np.shape(outputs[name]) for name in primal.differentiable]
    upstream = [round_to(rng.normal(0.0, 1.0, shape), dtype) for shape in shapes]
    attributes = {k: v for k, v in case.attributes.items() if k in op.attributes}
    return (*upstream, *saved), attributes


def arrays_for(
    backend: Backend, inputs: tuple[Any, ...], dtype: str, layout: str = "C"
) -> tuple[Array, ...]:
    """The inputs as arrays of the backend, floats in `dtype`, laid out as the case asks."""

    def place(x: Any) -> Array:
        x = np.asarray(x)
        kind = dtype if x.dtype.kind == "f" else None
        if layout == "transposed" and x.ndim == 2:
            return backend.array(np.ascontiguousarray(x.T), kind).T
        if layout == "strided" and x.ndim >= 1:
            return backend.array(np.repeat(x, 2, axis=-1), kind)[..., ::2]
        return backend.array(x, kind)

    return tuple(place(x) for x in inputs)


def compare(op: Op, case: Case, dtype: str, backend: Backend, seed: int = 0) -> Verdict:
    """Run one op on one case on a backend and measure it against the exact results."""
    inputs, attributes = inputs_for(op, case, dtype, seed)
    if op.draws:
        attributes = {**attributes, "dtype": dtype}
    return measure(op, case.name, inputs, attributes, dtype, backend, case.layout)


def measure(
    op: Op,
    case: str,
    inputs: tuple[Any, ...],
    attributes: dict[str, Any],
    dtype: str,
    backend: Backend,
    layout: str = "C",
) -> Verdict:
    """Run one op on these inputs, floats rounded to `dtype`, against the exact results."""
    expected = exact(op, inputs, attributes, dtype)
    with np.errstate(all="ignore"):
        arrays = arrays_for(backend, inputs, dtype, layout)
        results = as_tuple(backend.function(op)(*arrays, **attributes))
    bounds = tolerances(op, inputs, attributes, expected, dtype, LONGER)
    worst: tuple[Any, ...] = (0.0, 0.0, 0.0, "")
    if len(results) != len(expected):
        worst = _wrong(f"{len(results)} results, the reference has {len(expected)}")
    names = output_names(op, expected)
    for number, (result, y, bound) in enumerate(zip(results, expected, bounds, strict=False)):
        if result is None and y is None:
            continue
        asked = {**op.attributes, **attributes}.get("dtype", dtype)
        types = {asked if op.primal is None else dtype}
        # what is kept for the gradient may have the precision it was computed in
        if not op.flows_through(number):
            types.add(arithmetic(dtype))
        found = judge_output(names[number], result, y, bound, types, backend)
        if found[2] > worst[2] or (found[3] and not worst[3]):
            worst = found
    return Verdict(op.name, case, dtype, backend.name, *worst)


def tolerances(
    op: Op,
    inputs: tuple[Any, ...],
    attributes: dict[str, Any],
    exact: tuple[Any, ...],
    dtype: str,
    judged_in: Any = np.float64,
) -> list[Any]:
    """How far each element of each result may lie from the exact one, computed in the type `judged_in`.

    If that is float64 for float64, it rounds as well, within the same bound: the two may lie twice as far
    apart.
    """
    if op.error is None:
        return []
    with np.errstate(all="ignore"):
        bounds = op.error.tolerance(dtype, inputs, attributes, exact)
    return [2 * bound for bound in bounds] if np.dtype(judged_in) == dtype else bounds


def output_names(op: Op, outputs: tuple[Any, ...]) -> list[str]:
    """What the results are called; numbered, where their number depends on the inputs."""
    if len(op.outputs) == len(outputs):
        return list(op.outputs)
    return [f"{op.outputs[0]}[{i}]" for i in range(len(outputs))]


def _wrong(complaint: str, output: str = "") -> tuple[Any, ...]:
    """A result that cannot be compared element by element."""
    return np.inf, 0.0, np.inf, complaint, output


def differences(got: Any, y: Any, bound: Any) -> tuple[Any, Any]:
    """(|got - y|, the same in units of `bound`) of each element; NaN where it should be is no error.

    Nor is anything where the bound is infinite.

    >>> differences(np.array([1.0, np.nan, np.nan]), np.array([1.5, np.nan, 2.0]), 0.25)[1]
    array([ 2.,  0., inf])
    """
    got = got.astype(np.result_type(np.float64, np.asarray(y)))
    same = (got == y) | (np.isnan(got) & np.isnan(y))
    with np.errstate(all="ignore"):
        difference = np.where(same, 0.0, np.abs(got - y))
        difference = np.where(np.isnan(difference), np.inf, difference)
        ratio = np.where((difference == 0) | np.isposinf(bound), 0.0, difference / bound)
    return difference, ratio


def judge_output(
    name: str, result: Array, y: Any, bound: Any, types: set[str], backend: Backend
) -> tuple[Any, ...]:
    """The last fields of a `Verdict`, for one output: error, bound, ratio, complaint, and where."""
    y = np.asarray(y)
    if y.dtype.kind == "f":
        kind = backend.dtype(result)
        if kind not in types:
            return _wrong(f"{name} has type {kind}, not {' or '.join(sorted(types))}", name)
        y = overflowing(y, kind)
    got = np.asarray(backend.numpy(result))
    if got.shape != y.shape:
        return _wrong(f"{name} has shape {got.shape}, the reference {y.shape}", name)
    if y.dtype.kind != got.dtype.kind:
        return _wrong(f"{name} is {got.dtype}, the reference {y.dtype}", name)
    if y.size == 0:
        return 0.0, 0.0, 0.0, ""
    if y.dtype.kind != "f":
        wrong = got != y
        if not wrong.any():
            return 0.0, 0.0, 0.0, ""
        at, count = _place(wrong), int(np.sum(wrong))
        complaint = f"{name}: {count} wrong, first {_where(at)} is {got[at]}, the reference {y[at]}"
        return float(count), 0.0, np.inf, complaint, name, at, got[at].item(), y[at].item()
    bound = np.broadcast_to(bound, y.shape)
    difference, ratio = differences(got, y, bound)
    at, complaint = _place(ratio), ""
    here = float(got[at]), float(y[at])
    if not ratio[at] <= 1:  # NaN, if the bound is none, is no agreement either
        complaint = (
            f"{name}{_where(at)} is {here[0]!r}, the reference {here[1]!r}, bound {bound[at]:.3g}"
        )
    worst = float(difference[at]), float(bound[at]), float(ratio[at])
    return *worst, complaint, name, at, *here


def _place(ratio: Any) -> tuple[int, ...]:
    """Where the largest is."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))


def _where(at: tuple[int, ...]) -> str:
    return f"[{', '.join(str(i) for i in at)}]"


def overflowing(y: Any, dtype: str) -> Any:
    """The exact y, but infinite where `dtype` has no number that large."""
    rounded = round_to(y, dtype)
    return np.where(np.isinf(rounded), rounded, y)


def all_ops() -> list[Op]:
    """Every op of TABLE that has cases, forward before gradient."""
    return [op for op in TABLE.values() if (op.primal or op).cases is not None]
