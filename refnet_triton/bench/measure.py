"""One row of the benchmark: what an op has to move and compute, and how long it and PyTorch's take."""

from __future__ import annotations

import contextlib
import functools
import math
import statistics
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refnet_triton.bench import peers
from refnet_triton.bench.goals import to_be_compiled
from refnet_triton.bench.inputs import as_tuple, backend, draw
from refnet_triton.bench.suite import COMPILED, EAGER, REFNET, Spec, case_of
from refnet_triton.bench.timing import CACHE, ON_GPU, interleaved, rounded, stored, synchronize

# isort: split
import torch

from refnet.op import TABLE, Op
from refnet.op.columns import Case
from refnet.proof.judge import inputs_for

# -- what has to be moved and computed -------------------------------------------------------------


@functools.cache
def _reads(op: Op, given: str) -> tuple[bool, ...]:
    """Whether the results depend on the values of each input: found out by spoiling it (on NumPy)."""
    small = (op.primal or op).cases.bench(1 << 12)  # type: ignore[union-attr]
    case = next((c for c in small if str(c.attributes) == given), small[0])
    inputs, attributes = inputs_for(op, case, "float64")

    def results(spoiled: int | None = None) -> list[bytes]:
        arrays = [np.array(x) for x in inputs]
        if spoiled is not None:
            x = arrays[spoiled]
            x[...] = np.nan if x.dtype.kind == "f" else ~x if x.dtype.kind == "b" else 0
        with np.errstate(all="ignore"):
            found = as_tuple(op.function(*arrays, **attributes))
        return [np.asarray(y).tobytes() for y in found]

    return tuple(results(i) != results() for i in range(len(inputs)))


def traffic(op: Op, case: Case, inputs: Iterable[Any], outputs: Iterable[Any]) -> int:
    """Bytes that have to be read and written. 0 if the results are views of the inputs."""
    inputs, outputs = list(inputs), {y.data_ptr(): y for y in outputs if y is not None}
    ours = {x.untyped_storage().data_ptr() for x in inputs}
    written = [
        y for y in outputs.values() if op.writes or y.untyped_storage().data_ptr() not in ours
    ]
    read = _reads(op, str(case.attributes))
    read_bytes = sum(stored(x) for x, wanted in zip(inputs, read, strict=True) if wanted)
    return read_bytes + sum(map(stored, written)) if written else 0


def operations(op: Op, inputs: Iterable[Any], attributes: dict[str, Any]) -> int:
    """Arithmetic operations, for ops that state them; otherwise 0."""
    if op.flops is None:
        return 0
    return int(op.flops(*(np.broadcast_to(0.0, tuple(x.shape)) for x in inputs), **attributes))


# -- one row of the result -------------------------------------------------------------------------


@dataclass
class Row:
    """One op on one case in one type: what it has to do, how long that took, and how good that is.

    `samples` holds microseconds a call, for each contender that ran; `microseconds` is the median of
    ours, `floor` the shortest possible time, `percent` the floor over ours; `eager` and `compiled` are
    how many times as long PyTorch took. `difference` is ‖ours - PyTorch's‖ / ‖PyTorch's‖, over all
    results. `errors` says which contender failed, and how; `note`, why there is nothing to time.
    """

    op: str
    family: str
    case: str
    dtype: str
    bytes: int = 0
    operations: int = 0
    samples: dict[str, list[float]] = field(default_factory=dict)
    difference: float | None = None
    note: str = ""
    errors: list[str] = field(default_factory=list)
    floor: float | None = None
    microseconds: float | None = None
    percent: float | None = None
    eager: float | None = None
    compiled: float | None = None

    def __str__(self) -> str:
        return f"{self.op} {self.case} {self.dtype}"

    def judge(self, limits: dict[str, Any] | None) -> Row:
        """Fill in what follows from the samples and, where they are known, the machine's limits."""
        medians = {name: statistics.median(s) for name, s in self.samples.items() if s}
        if limits:
            rate = limits["flops_per_second"].get(self.dtype, math.inf)
            moving = self.bytes / limits["copy_bytes_per_second"]
            self.floor = 1e6 * max(moving, self.operations / rate) or None
        self.microseconds = ours = medians.get(REFNET)
        if ours:
            self.percent = 100 * self.floor / ours if self.floor else None
            self.eager = medians[EAGER] / ours if EAGER in medians else None
            self.compiled = medians[COMPILED] / ours if COMPILED in medians else None
        return self


def _contenders(spec: Spec, attributes: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """Ours, PyTorch's eager one and, where a goal asks for it, that through torch.compile."""
    found = {REFNET: backend().function(TABLE[spec.op])}
    if spec.op in peers.EAGER:
        found[EAGER] = peers.EAGER[spec.op]
        if ON_GPU and to_be_compiled(spec):
            found[COMPILED] = _compiled(peers.COMPILED.get(spec.op, found[EAGER]))
    return {name: functools.partial(f, **attributes) for name, f in found.items()}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """torch.compile in its default mode, for these very shapes."""
    torch.compiler.reset()
    return torch.compile(function, dynamic=False)


def warm(spec: Spec) -> None:
    """Compile all that `measure` will run, into the caches that all processes share."""
    op, case = case_of(spec)
    inputs, attributes = draw(op, case, spec.dtype)
    for run in _contenders(spec, attributes).values():
        with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
            run(*inputs)
    synchronize()
    if ON_GPU:
        torch.cuda.empty_cache()


def measure(spec: Spec) -> Row:
    """Time one op on one case in one type."""
    op, case = case_of(spec)
    inputs, attributes = draw(op, case, spec.dtype)
    contenders = _contenders(spec, attributes)
    row = _compared(op, case, spec.dtype, inputs, attributes, contenders)
    if row.note:
        return row
    size = sum(map(stored, inputs))
    count = min(24, max(len(contenders), math.ceil(CACHE / max(1, size)))) if ON_GPU else 2
    sets = [inputs, *(draw(op, case, row.dtype)[0] for _ in range(count - 1))]
    calls = {k: lambda i, run=run: run(*sets[i % count]) for k, run in contenders.items()}
    row.samples = {name: rounded(values) for name, values in interleaved(calls).items()}
    sets.clear()
    if ON_GPU:
        torch.cuda.empty_cache()
    return row


def compared(spec: Spec) -> Row:
    """One op on one case in one type, compared with PyTorch's result; nothing is timed."""
    op, case = case_of(spec)
    inputs, attributes = draw(op, case, spec.dtype)
    contenders = _contenders(spec, attributes)
    contenders.pop(COMPILED, None)
    return _compared(op, case, spec.dtype, inputs, attributes, contenders)


def _compared(
    op: Op,
    case: Case,
    dtype: str,
    inputs: tuple[torch.Tensor, ...],
    attributes: dict[str, Any],
    contenders: dict[str, Callable[..., Any]],
) -> Row:
    """A row without samples. Contenders that fail are removed from `contenders`, and named in it."""
    row = Row(op.name, op.file, case.name, dtype)
    outputs = as_tuple(contenders[REFNET](*inputs))
    row.bytes = traffic(op, case, inputs, outputs)
    row.operations = operations(op, inputs, attributes)
    del outputs
    if not row.bytes:
        row.note = "a view: nothing is moved"
        return row
    for name in [name for name in contenders if name != REFNET]:
        try:
            with warnings.catch_warnings(action="ignore"):
                theirs = contenders[name](*(x.clone() for x in inputs))
            synchronize()
        except Exception as error:
            del contenders[name]
            row.errors.append(f"{name} failed: {first_line(error)}")
            continue
        if name == EAGER and op.file != "random" and op.name != "dropout":
            row.difference = _difference(contenders[REFNET](*(x.clone() for x in inputs)), theirs)
        del theirs
    return row


def _difference(ours: Any, theirs: Any) -> float | None:
    """‖ours - theirs‖ / ‖theirs‖ over the floats among the results; None if there are none."""
    pairs = [
        (a, b) for a, b in zip(as_tuple(ours), as_tuple(theirs), strict=False)
        if a.is_floating_point() and b.is_floating_point()
    ]  # fmt: skip
    norm = functools.partial(torch.linalg.vector_norm, dtype=torch.float64)
    away = math.hypot(*(float(norm(a - b)) for a, b in pairs))
    size = math.hypot(*(float(norm(b)) for _, b in pairs))
    return away / size if size else away if pairs else None


def first_line(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
