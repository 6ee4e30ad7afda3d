"""Check backends against the reference: every op and gradient, in every type, on every case.

Each run draws new inputs, from a seed that is printed: the same seed draws the same inputs again. For
each op, type and case, four things are asked of a backend:

1. Are its results right? Each element lies within the bound of the op's row (`refnet.proof.judge`) of
   what the reference computes in float64 from the same inputs.
2. Is every element written, and no other memory touched? New memory is filled with NaN beforehand;
   a load or store beside the tensors of its launch is an error, where that can be seen: in Triton's
   interpreter (`Backend.poisoned`).
3. Are its inputs left alone? Only what the row says is overwritten, and with what is returned.
4. Does it give the same bits again? (Not asked if the check is to be quick.)

    >>> report = check(ops=["relu"], backends=["numpy"], seed=1)
    >>> [(row.op, row.dtype, row.status) for row in report.rows]
    [('relu', 'float32', 'pass'), ('relu', 'float64', 'pass')]
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from refnet import backend as registry
from refnet.backend import LACKS, Array, Backend
from refnet.base.dtypes import FORMATS, spacing
from refnet.base.environment import machine
from refnet.check.result import (
    ERROR,
    FAIL,
    MISSING,
    Curve,
    Failure,
    Names,
    Report,
    Row,
    command,
    place,
)
from refnet.errors import ArgumentError, BackendError, unknown_name
from refnet.op import TABLE, Op
from refnet.op.columns import Case
from refnet.op.results import as_tuple
from refnet.proof.cases import normal
from refnet.proof.exact import LONGER, exact
from refnet.proof.judge import (
    Verdict,
    all_ops,
    cases_of,
    compare,
    differences,
    inputs_for,
    output_names,
    overflowing,
    tolerances,
)

OFF_THE_SCALE = 1e12  # ulp: a bound that is no use to draw
SPAN, POINTS = 12.0, 1200  # each activation is tried at so many points of [-12, 12]
LENGTHS = (1, 4, 16, 64, 256, 1024, 4096)  # K of the products that are tried
QUICK_CASES, QUICK_ELEMENTS = 4, 4096  # so many cases of an op, each of at most so many elements

Progress = Callable[[int, int, str], None]


# -- the check -----------------------------------------------------------------------------------------


def check(
    ops: Names = (),
    dtypes: Names = (),
    backends: Sequence[str | Backend] = (),
    cases: Names = (),
    seed: int | None = None,
    quick: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Compare backends with the float64 reference.

    Parameters
    ----------
    ops, dtypes, backends, cases : names; all there are unless given. Backends that cannot run here
        are left out, and an error if they are named.
    seed : of the inputs; a new one is drawn unless given.
    quick : fewer and smaller cases, each run once; still every op in every type.
    progress : called with (rows done, rows in all, what comes next).
    """
    chosen = [TABLE[name] for name in dict.fromkeys(ops)] or all_ops()
    _known("case", cases, (case.name for op in chosen for case in cases_for(op)))
    if cases:
        chosen = [op for op in chosen if any(case.name in cases for case in cases_for(op))]
    found, not_checked = _backends(backends)
    _known("dtype", dtypes, {*FORMATS, *(d for b in found for d in b.dtypes)})
    pairs = []
    for backend in found:
        for dtype in dict.fromkeys(dtypes or backend.dtypes):
            if dtype in backend.dtypes:
                pairs.append((backend, dtype))
            else:
                computes = f"it computes in {', '.join(backend.dtypes)}"
                not_checked[f"{backend.name} in {dtype}"] = computes
    if not pairs:
        raise ArgumentError("; ".join(f"{what}: {why}" for what, why in not_checked.items()))
    seed = new_seed() if seed is None else seed
    names = [backend.name for backend in found] if backends else []
    again = command(ops, dtypes, names, cases, seed, quick)
    report = new_report(found, seed, quick, again, not_checked)
    start, total = time.perf_counter(), len(pairs) * len(chosen)
    for backend, dtype in pairs:
        for op in chosen:
            if progress:
                progress(len(report.rows), total, f"{backend.name} {dtype} {op.name}")
            tried = [c for c in cases_for(op, quick and not cases) if not cases or c.name in cases]
            report.rows.append(check_op(op, dtype, backend, tried, seed, again=not quick))
    if progress:
        progress(total, total, "")
    report.seconds = time.perf_counter() - start
    return report


def new_seed() -> int:
    """A seed that nobody chose."""
    return secrets.randbelow(2**31)


def new_report(
    backends: Sequence[Backend], seed: int, quick: bool, again: str, not_checked: dict[str, str]
) -> Report:
    """A report that waits for its rows; `again` is the command that does the same again."""
    return Report(
        seed=seed,
        quick=quick,
        command=again,
        machine=machine(),
        backends={backend.name: _described(backend) for backend in backends},
        poisoned=[b.name for b in backends if type(b).poisoned is not Backend.poisoned],
        not_checked=not_checked,
    )


def _known(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = set(known)
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)


def _backends(wanted: Sequence[str | Backend]) -> tuple[list[Backend], dict[str, str]]:
    """The backends asked for; or all that can run here, and why the others cannot."""
    if wanted:
        return [registry.get(name) for name in dict.fromkeys(wanted)], {}
    found, cannot = [], {}
    for name in registry.names():
        try:
            found.append(registry.get(name))
        except Exception as error:  # a package of another's that is broken may raise anything
            cannot[name] = str(error) if isinstance(error, BackendError) else _raised(error)
    return found, cannot


def _described(backend: Backend) -> str:
    """What it says of itself; where even that fails, why."""
    try:
        return str(backend.describe())
    except Exception as error:
        return _raised(error)


# -- the cases -----------------------------------------------------------------------------------------


@functools.cache
def cases_for(op: Op, quick: bool = False) -> tuple[Case, ...]:
    """The cases of the op's row, and sweeps: over the range of an activation, over K of a product.

    If it is to be quick: a few small ones from first to last, and the shorter sweeps.
    """
    cases = list(cases_of(op))
    if quick:
        small = [case for case in cases if _elements(case) <= QUICK_ELEMENTS] or cases
        picked = np.linspace(0, len(small) - 1, min(QUICK_CASES, len(small))).round()
        cases = [small[int(i)] for i in picked]
    swept = [case for case in _sweeps(op) if not quick or _elements(case) <= QUICK_ELEMENTS]
    return (*cases, *swept)


def _elements(case: Case) -> int:
    return sum(np.size(x) for x in case.make(np.random.default_rng(0)))


@functools.cache
def _sweeps(op: Op) -> list[Case]:
    family = op.primal or op
    if family.activation:
        name = f"{POINTS} points from {-SPAN:g} to {SPAN:g}"
        return [Case(name, lambda rng: (np.sort(rng.uniform(-SPAN, SPAN, POINTS)),))]
    if family.name in ("matmul", "linear"):
        bias = [(8,)] if family.name == "linear" else []
        return [Case(f"K = {k}", normal((8, k), (k, 8), *bias)) for k in LENGTHS]
    return []


# -- one op --------------------------------------------------------------------------------------------


def check_op(
    op: Op, dtype: str, backend: Backend, cases: Sequence[Case], seed: int, again: bool = True
) -> Row:
    """Try one op in one type on these cases; `again` runs each twice and compares the bits."""
    row = Row(op.name, op.file, backend.name, dtype)
    start = time.perf_counter()
    try:
        backend.function(op)
    except LACKS as error:
        row.status, row.message = MISSING, _raised(error)
        return row
    except Exception as error:
        row.failures.append(Failure("", _raised(error), raised=True))
        cases = ()
    curves = []
    for case in cases:
        row.cases += 1
        witness = _Witness(backend)
        try:
            found = compare(op, case, dtype, witness, seed)
            failure = _failure(op, case, dtype, witness, seed, found)
            if again and failure is None:
                failure = _differs(op, case, dtype, witness, seed)
            row.numbers += sum(np.size(y) for y in witness.values)
            comparable = found.ok or found.got is not None
            if comparable and case in _sweeps(op) and op.primal is None:
                curves.append(_curve(op, case, dtype, witness, seed, found))
        except Exception as error:
            row.failures.append(Failure(case.name, _raised(error), raised=True))
            continue
        if failure:
            row.failures.append(failure)
        if found.ratio > row.ratio:
            row.worst = found
    if not row.cases and not row.failures:
        row.failures.append(Failure("", "there is no case to try it on"))
    if row.failures:
        row.status = ERROR if any(failure.raised for failure in row.failures) else FAIL
        row.message = row.failures[0].complaint
    if curves:
        row.curve = Curve(*(np.concatenate(parts) for parts in zip(*curves, strict=True)))
    row.seconds = time.perf_counter() - start
    return row


class _Witness(Backend):
    """A backend that passes everything on to another, and watches it compute.

    `values` are the last results, `changed` is the first input that is not as it should be.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend, self.name = backend, backend.name
        self.values: list[np.ndarray[Any, Any]] = []
        self.changed: Failure | None = None

    def array(self, values: Any, dtype: str | None = None) -> Array:
        return self._backend.array(values, dtype)

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return self._backend.numpy(array)

    def dtype(self, array: Array) -> str:
        return self._backend.dtype(array)

    def _copy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.array(self._backend.numpy(array))

    def function(self, op: Op) -> Callable[..., Any]:
        function = self._backend.function(op)

        def launch(*inputs: Array, **attributes: Any) -> Any:
            before = [self._copy(x) for x in inputs]
            with self._backend.poisoned():
                returned = function(*inputs, **attributes)
                self._backend.synchronize()
            results = as_tuple(returned)
            after = [self._copy(x) for x in inputs]
            self.values = [self._copy(y) for y in results if y is not None]
            self.changed = _changed(op, before, after, self.values)
            return returned

        return launch


def _changed(op: Op, before: list[Any], after: list[Any], results: list[Any]) -> Failure | None:
    """The first input that was overwritten and should not have been, or the other way round."""
    for name, x, now in zip(op.names(len(before)), before, after, strict=True):
        written = name in op.writes
        expected = results[op.writes.index(name)] if written else x
        at = _first_difference(expected, now)
        if at is not None:
            what = f"{name} was not overwritten with the result" if written else f"{name} changed"
            complaint = (
                f"{what}: {name}{place(at)} is {now[at].item()!r}, not {expected[at].item()!r}"
            )
            return Failure("", complaint, False, name, at, now[at].item(), expected[at].item())
    return None


def _first_difference(expected: Any, found: Any) -> tuple[int, ...] | None:
    """The first element whose bits differ. -0 is not 0 here, and a NaN equals itself."""
    if expected.shape != found.shape:
        return (0,) * found.ndim
    wrong = _bits(expected) != _bits(found)
    if not wrong.any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))


def _bits(x: Any) -> Any:
    return np.array(x, order="C").view(f"u{x.itemsize}")


def _failure(
    op: Op, case: Case, dtype: str, witness: _Witness, seed: int, found: Verdict
) -> Failure | None:
    """What is wrong with a case: its results, or its inputs afterwards."""
    if found.ok:
        return witness.changed and replace(witness.changed, case=case.name)
    ratios = None
    if found.got is not None:
        _, _, ratios, _ = _elementwise(op, case, dtype, witness, seed, found.output)
    return Failure(
        case.name, found.complaint, False, found.output, found.index, found.got, found.expected,
        found.error, found.bound, found.ratio, ratios,
    )  # fmt: skip


def _differs(op: Op, case: Case, dtype: str, witness: _Witness, seed: int) -> Failure | None:
    """The first bit that is another when the same case is run again."""
    once = witness.values
    compare(op, case, dtype, witness, seed)
    for number, (y, z) in enumerate(zip(once, witness.values, strict=True)):
        at = _first_difference(y, z)
        if at is not None:
            name = f"result {number}{place(at)}"
            complaint = f"run again, {name} is {z[at].item()!r}; it was {y[at].item()!r}"
            return Failure(case.name, complaint, False, "", at, z[at].item(), y[at].item())
    return None


def _elementwise(
    op: Op, case: Case, dtype: str, witness: _Witness, seed: int, output: str
) -> tuple[Any, Any, Any, Any]:
    """(error, bound, error / bound, exact value) of each element of an output the witness saw last."""
    inputs, attributes = inputs_for(op, case, dtype, seed)
    expected = exact(op, inputs, attributes, dtype)
    bounds = tolerances(op, inputs, attributes, expected, dtype, LONGER)
    number = output_names(op, expected).index(output)
    given = sum(y is not None for y in expected[:number])
    got, y = witness.values[given], np.asarray(expected[number])
    if y.dtype.kind != "f":
        return got != y, 0, np.where(got != y, np.inf, 0.0), y
    y, bound = overflowing(y, dtype), np.broadcast_to(bounds[number], y.shape)
    error, ratio = differences(got, y, bound)
    return error, bound, ratio, y


def _curve(
    op: Op, case: Case, dtype: str, witness: _Witness, seed: int, found: Verdict
) -> tuple[Any, Any, Any]:
    """Points of a `Curve`: all elements of an activation's sweep, or the worst one of a product."""
    inputs, _ = inputs_for(op, case, dtype, seed)
    if not op.activation:
        return [np.shape(inputs[0])[-1]], [found.error], [found.bound]
    error, bound, _, exact = _elementwise(op, case, dtype, witness, seed, op.outputs[0])
    ulp = np.where(np.isfinite(exact), spacing(exact, dtype), np.nan)
    with np.errstate(over="ignore"):  # where f(x) underflows, its ulp is tiny, and x is left out
        in_ulp = bound / ulp
        return inputs[0], error / ulp, np.where(in_ulp < OFF_THE_SCALE, in_ulp, np.nan)


def _raised(error: BaseException) -> str:
    """An exception as one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__
