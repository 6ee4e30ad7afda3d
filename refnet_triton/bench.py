"""How fast is each op? Op by op and type by type, against the machine's limits and against PyTorch.

    python -m refnet_triton.gpu --parts bench                     # all ops: some minutes on a GPU
    python -m refnet_triton.gpu --parts bench --ops relu softmax

There is one suite: the `bench` cases of every row of TABLE. A *limit* is what the machine can do
at best, measured in the same run: the bandwidth of a large copy for ops that move bytes, the rate of
the library's 8192-cubed product for ops that count operations (`Op.flops`). From them follows the
shortest possible time,

    bytes / bandwidth    or    operations / rate,

and `percent` is that time over the measured one. Bytes are counted once for each array that has to
be read and each that is written; an array that is only asked for its shape is not read, one that
is overwritten is both.

Contenders take turns (A B C A B C ...), each on other inputs than the last time, after a write to a
large buffer that empties the cache and keeps the GPU busy while Python asks for the launches: the
times, between events on the GPU, are the GPU's. Raw samples are kept.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refnet_triton.runtime import DEVICE

# isort: split
import torch

import refnet
from refnet import backend as backends
from refnet.agreement import inputs_for
from refnet.cases import Case
from refnet.op import Op
from refnet.ops import TABLE

ON_GPU = DEVICE.type == "cuda"
REFNET, EAGER, COMPILED = "refnet", "eager", "compile"

#: elements of an op's largest array; updates are for many parameters at once
ELEMENTS = {"optimizers": 1 << 27}
ELEMENTS_OTHERWISE = 1 << 26
QUICK_ELEMENTS = 1 << 10
DTYPES = {"matmul": ("bfloat16", "float16", "float32")}
DTYPES_OTHERWISE = ("float32", "bfloat16")
#: files of ops in the order in which they are timed: when time is short, the last ones are cut
ORDER = ["matmul", "losses", "softmax", "activations", "optimizers", "reductions", "elementwise"]
#: where PyTorch's eager function is one kernel as it is: torch.compile would run the same again
ONE_KERNEL = ("comparisons", "shape", "indexing", "random")
PRODUCTS = ("matmul", "matmul_vjp")

CACHE = 256 << 20  # bytes: several times the largest level-2 cache


def backend() -> Any:
    """The backend `triton`, registered by hand in a checkout that was not installed."""
    backends.register_uninstalled("triton", "refnet_triton.backend:TritonBackend")
    return backends.get("triton")


# -- inputs, made on the device --------------------------------------------------------------------


class Drawn(torch.Tensor):
    """A tensor on which NumPy's functions are torch's of the same name: np.exp(x) is torch.exp(x)."""

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **named: Any) -> Any:
        return getattr(torch, function.__name__)(*inputs, **named)

    def __array_function__(self, function: Any, types: Any, inputs: Any, named: Any) -> Any:
        return getattr(torch, function.__name__)(*inputs, **named)


class Draws:
    """What a case asks a NumPy generator for, drawn on the device: 64 million numbers in no time."""

    def normal(self, mean: float, deviation: float, shape: Any) -> Drawn:
        """Normally distributed numbers, in float32."""
        shape = (shape,) if isinstance(shape, int) else shape
        return (torch.randn(shape, device=DEVICE) * deviation + mean).as_subclass(Drawn)

    def integers(self, low: int, high: int, shape: Any) -> Drawn:
        """Whole numbers low … high-1, in int64."""
        shape = (shape,) if isinstance(shape, int) else shape
        return torch.randint(low, high, shape, device=DEVICE).as_subclass(Drawn)


def _place(x: Any, dtype: str) -> torch.Tensor:
    """An input as a plain tensor on the device, floats in `dtype`."""
    x = x.as_subclass(torch.Tensor) if isinstance(x, Drawn) else torch.as_tensor(x, device=DEVICE)
    return x.to(getattr(torch, dtype)) if x.is_floating_point() else x


def draw(op: Op, case: Case, dtype: str) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """(inputs, attributes) of a case on the device, as `agreement.inputs_for` makes them in NumPy."""
    primal = op.primal or op
    inputs = tuple(_place(x, dtype) for x in case.make(Draws()))  # type: ignore[arg-type]
    attributes = {k: v for k, v in case.attributes.items() if k in op.attributes}
    if op.file == "random" and "dtype" in op.attributes:
        attributes["dtype"] = dtype
    if op.primal is None:
        return inputs, attributes
    outputs = _tuple(backend().function(primal)(*inputs, **case.attributes))
    known = dict(zip(primal.outputs, outputs, strict=False))
    known |= dict(zip(primal.inputs, inputs, strict=False))
    saved = [inputs if primal.variadic else (known[name],) for name in primal.saves]
    g = _place(Draws().normal(0.0, 1.0, tuple(outputs[0].shape)), dtype)
    return (g, *itertools.chain(*saved)), attributes


def _tuple(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, tuple | list) else (results,)


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
            found = _tuple(op.function(*arrays, **attributes))
        return [np.asarray(y).tobytes() for y in found]

    return tuple(results(i) != results() for i in range(len(inputs)))


def _stored(x: torch.Tensor) -> int:
    """Bytes of x in memory; what an expanded tensor repeats is there once."""
    sizes = [n for n, stride in zip(x.shape, x.stride(), strict=True) if stride]
    return math.prod(sizes) * x.element_size()


def traffic(op: Op, case: Case, inputs: Iterable[Any], outputs: Iterable[Any]) -> int:
    """Bytes that have to be read and written. 0 if the results are views of the inputs."""
    inputs, outputs = list(inputs), {y.data_ptr(): y for y in outputs if y is not None}
    ours = {x.untyped_storage().data_ptr() for x in inputs}
    written = [
        y for y in outputs.values() if op.writes or y.untyped_storage().data_ptr() not in ours
    ]
    read = _reads(op, str(case.attributes))
    read_bytes = sum(_stored(x) for x, wanted in zip(inputs, read, strict=True) if wanted)
    return read_bytes + sum(map(_stored, written)) if written else 0


def operations(op: Op, inputs: Iterable[Any], attributes: dict[str, Any]) -> int:
    """Arithmetic operations, for ops that state them; otherwise 0."""
    if op.flops is None:
        return 0
    return int(op.flops(*(np.broadcast_to(0.0, tuple(x.shape)) for x in inputs), **attributes))


# -- time ------------------------------------------------------------------------------------------


def synchronize() -> None:
    """Wait until the GPU has done all it was asked to."""
    if ON_GPU:
        torch.cuda.synchronize()


class Busy:
    """A large buffer. Writing it empties the cache and keeps the GPU busy for a known time."""

    def __init__(self) -> None:
        self.buffer = torch.empty(CACHE if ON_GPU else 1, dtype=torch.int8, device=DEVICE)
        self.seconds = 0.0
        for _ in range(3):  # the first times are slower
            start = _now()
            for _ in range(20):
                self.buffer.zero_()
            self.seconds = (_now() - start) / 20

    def __call__(self, seconds: float) -> None:
        for _ in range(1 + math.ceil(seconds / self.seconds) if ON_GPU else 0):
            self.buffer.zero_()


def _now() -> float:
    synchronize()
    return time.perf_counter()


_busy = functools.cache(Busy)


def _mark() -> Any:
    if not ON_GPU:
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _microseconds(start: Any, end: Any) -> float:
    return start.elapsed_time(end) * 1e3 if ON_GPU else (end - start) * 1e6


def interleaved(
    contenders: dict[str, Callable[[int], Any]], seconds: float = 0.35
) -> dict[str, list[float]]:
    """Microseconds a call, taking turns. A contender is called with the number of the call."""
    turn = itertools.count()
    samples: dict[str, list[float]] = {name: [] for name in contenders}

    def once(repeats: int, ahead: float) -> None:
        _busy()(ahead)
        marks = [_mark()]
        for call in contenders.values():
            for _ in range(repeats):
                call(next(turn))
            marks.append(_mark())
        synchronize()
        for values, start, end in zip(samples.values(), marks, marks[1:], strict=False):
            values.append(_microseconds(start, end) / repeats)

    if not ON_GPU:  # only to show that it runs
        once(1, 0.0)
        return samples
    for call in [*contenders.values()] * 3:
        call(next(turn))
    start = _now()
    for call in contenders.values():
        call(next(turn))
    asking = time.perf_counter() - start  # what Python takes for a round
    for _ in range(2):
        once(1, 2 * asking)
    each = [min(values) for values in samples.values()]
    repeats = max(1, min(20, math.ceil(100 / max(1.0, min(each)))))
    ahead = 2 * asking * repeats
    rounds = seconds / (sum(each) * 1e-6 * repeats + ahead)
    for values in samples.values():
        values.clear()
    for _ in range(max(7, min(40, int(rounds)))):
        once(repeats, ahead)
    return samples


@contextlib.contextmanager
def tf32(allowed: bool):
    """Whether PyTorch may round the factors of float32 products to tf32 (10 bits) within the block."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    yield
    torch.set_float32_matmul_precision("highest")


def limits(quick: bool = False) -> dict[str, Any]:
    """The machine's limits: bytes a second of a copy, operations a second of the library's product."""
    pair = [torch.randn(1 << (12 if quick else 30), device=DEVICE) for _ in range(2)]
    copies = interleaved({"copy": lambda i: pair[0].copy_(pair[1])})["copy"]
    moved = sum(map(_stored, pair))
    pair.clear()
    n = 64 if quick else 8192
    products = {}
    for name, dtype in {"bfloat16": "bfloat16", "float16": "float16", "float32": "float32",
                        "tf32": "float32"}.items():  # fmt: skip
        a, b = (torch.randn(n, n, device=DEVICE).to(getattr(torch, dtype)) for _ in "ab")
        with tf32(name == "tf32"):
            products[name] = interleaved({name: lambda i, a=a, b=b: a @ b})[name]
    return {
        "copy_bytes_per_second": moved / statistics.median(copies) * 1e6,
        "flops_per_second": {k: 2 * n**3 / statistics.median(v) * 1e6 for k, v in products.items()},
        "copy_bytes": moved,
        "product_side": n,
        "samples": {"copy": _rounded(copies), **{k: _rounded(v) for k, v in products.items()}},
    }


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 3) for value in values]


# -- one row of the result -------------------------------------------------------------------------


@dataclass
class Row:
    """One op on one case in one type: what it has to do, how long that took, and how good that is.

    `samples` holds microseconds a call, for each contender that ran. `percent` is of the machine's
    limit, `eager` and `compiled` are how many times as long PyTorch took. `difference` is
    ‖ours - PyTorch's‖ / ‖PyTorch's‖, over all results. `note` says what is missing, and why.
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
    microseconds: float | None = None
    percent: float | None = None
    eager: float | None = None
    compiled: float | None = None

    def judge(self, limits: dict[str, Any]) -> Row:
        """Fill in what follows from the samples and the machine's limits."""
        medians = {name: statistics.median(s) for name, s in self.samples.items() if s}
        self.microseconds = ours = medians.get(REFNET)
        if ours:
            rate = limits["flops_per_second"].get(self.dtype) if self.operations else None
            best = self.operations / rate if rate else self.bytes / limits["copy_bytes_per_second"]
            self.percent = 100 * best * 1e6 / ours if best else None
            self.eager = medians[EAGER] / ours if EAGER in medians else None
            self.compiled = medians[COMPILED] / ours if COMPILED in medians else None
        return self


Spec = tuple[str, int, int, str]  # op, elements, number of the case, dtype


def suite(quick: bool = False, ops: Iterable[str] = ()) -> list[Spec]:
    """Every op x size x dtype, those with goals first."""
    chosen = [TABLE[name] for name in ops] or list(TABLE.values())
    chosen.sort(key=lambda op: ORDER.index(op.file) if op.file in ORDER else len(ORDER))
    specs = []
    for op in chosen:
        elements = QUICK_ELEMENTS if quick else ELEMENTS.get(op.file, ELEMENTS_OTHERWISE)
        dtypes = DTYPES_OTHERWISE[:1] if quick else DTYPES.get(op.file, DTYPES_OTHERWISE)
        count = len((op.primal or op).cases.bench(elements))  # type: ignore[union-attr]
        specs += [(op.name, elements, i, dtype) for dtype in dtypes for i in range(count)]
    return specs


def _case(spec: Spec) -> tuple[Op, Case]:
    op = TABLE[spec[0]]
    return op, (op.primal or op).cases.bench(spec[1])[spec[2]]  # type: ignore[union-attr]


def _contenders(op: Op, attributes: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """Ours, PyTorch's eager one, and that through torch.compile, as functions of the inputs."""
    from refnet_triton import peers

    found = {REFNET: backend().function(op)}
    if op.name in peers.EAGER:
        found[EAGER] = peers.EAGER[op.name]
        if ON_GPU and op.name not in PRODUCTS and op.file not in ONE_KERNEL:
            found[COMPILED] = _compiled(peers.COMPILED.get(op.name, found[EAGER]))
    return {name: functools.partial(f, **attributes) for name, f in found.items()}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """torch.compile in its default mode, for these very shapes."""
    torch.compiler.reset()
    return torch.compile(function, dynamic=False)


def warm(spec: Spec) -> None:
    """Compile all that `measure` will run, into the caches that all processes share."""
    op, case = _case(spec)
    inputs, attributes = draw(op, case, spec[3])
    for run in _contenders(op, attributes).values():
        with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
            run(*inputs)
    synchronize()
    if ON_GPU:
        torch.cuda.empty_cache()


def measure(spec: Spec) -> Row:
    """Time one op on one case in one type."""
    op, case = _case(spec)
    row = Row(op.name, op.file, case.name, spec[3])
    inputs, attributes = draw(op, case, row.dtype)
    contenders = _contenders(op, attributes)
    outputs = _tuple(contenders[REFNET](*inputs))
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
            row.note += f"{name} failed: {_first_line(error)}; "
            continue
        if name == EAGER and op.file != "random" and op.name != "dropout":
            row.difference = _difference(contenders[REFNET](*(x.clone() for x in inputs)), theirs)
        del theirs
    size = sum(map(_stored, inputs))
    count = min(24, max(len(contenders), math.ceil(CACHE / max(1, size)))) if ON_GPU else 2
    sets = [inputs, *(draw(op, case, row.dtype)[0] for _ in range(count - 1))]
    calls = {k: lambda i, run=run: run(*sets[i % count]) for k, run in contenders.items()}
    row.samples = {name: _rounded(values) for name, values in interleaved(calls).items()}
    sets.clear()
    if ON_GPU:
        torch.cuda.empty_cache()
    return row


def _difference(ours: Any, theirs: Any) -> float | None:
    """‖ours - theirs‖ / ‖theirs‖ over the floats among the results; None if there are none."""
    pairs = [
        (a, b) for a, b in zip(_tuple(ours), _tuple(theirs), strict=False)
        if a.is_floating_point() and b.is_floating_point()
    ]  # fmt: skip
    norm = functools.partial(torch.linalg.vector_norm, dtype=torch.float64)
    away = math.hypot(*(float(norm(a - b)) for a, b in pairs))
    size = math.hypot(*(float(norm(b)) for _, b in pairs))
    return away / size if size else away if pairs else None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


# -- what Python costs -----------------------------------------------------------------------------


def host_cost(calls: int = 1000) -> dict[str, float]:
    """Microseconds of Python for one call of an op on 16 numbers: the GPU has nothing to do."""
    x = torch.ones(16, device=DEVICE)
    ops = {name: backend().function(TABLE[name]) for name in ("relu", "add", "softmax", "sum")}
    run = {
        "relu": lambda: ops["relu"](x),
        "add": lambda: ops["add"](x, x),
        "softmax": lambda: ops["softmax"](x),
        "sum": lambda: ops["sum"](x),
        "torch.relu": lambda: torch.relu(x),
        "torch.add": lambda: torch.add(x, x),
    }
    found: dict[str, list[float]] = {name: [] for name in run}
    for turn in range(6):
        for name, call in run.items():
            start = _now()
            for _ in range(calls if ON_GPU else 2):
                call()
            if turn:  # the first one warms up
                found[name].append((_now() - start) / (calls if ON_GPU else 2) * 1e6)
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


def training_step(quick: bool = False) -> dict[str, Any]:
    """Microseconds of one step of a 784-512-512-10 network on a batch of 128, with Adam.

    refnet's is one captured graph; PyTorch's run eagerly and through torch.compile(mode=
    "reduce-overhead"), with the fused Adam. The batch is on the device already. Taking turns, each
    is asked for a few steps, and the clock stops when the GPU has done them.
    """
    sizes, batch = ((8, 4, 4, 3), 5) if quick else ((784, 512, 512, 10), 128)
    x = torch.randn(batch, sizes[0], device=DEVICE)
    y = torch.randint(0, sizes[-1], (batch,), device=DEVICE)
    contenders = {REFNET: _our_step(sizes, x, y), EAGER: _their_step(sizes, x, y)}
    if ON_GPU:
        contenders[COMPILED] = _their_step(sizes, x, y, mode="reduce-overhead")
    steps, rounds = (50, 30) if ON_GPU else (1, 2)
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    notes = {}
    for turn in range(rounds + 1):
        for name, step in list(contenders.items()):
            try:
                start = _now()
                for _ in range(steps):
                    step()
                if turn:
                    samples[name].append((_now() - start) / steps * 1e6)
            except Exception as error:
                notes[name] = _first_line(error)
                del contenders[name]
    return {
        "layers": sizes, "batch": batch, "notes": notes,
        "microseconds": {name: statistics.median(v) for name, v in samples.items() if v},
        "samples": {name: _rounded(values) for name, values in samples.items()},
    }  # fmt: skip


def _our_step(sizes: tuple[int, ...], x: torch.Tensor, y: torch.Tensor) -> Callable[[], Any]:
    from refnet.training import training_step

    refnet.utils.set_random_seed(0)
    first, *hidden, last = sizes
    dense = refnet.layers.Dense
    model = refnet.Sequential(
        [refnet.layers.Input((first,)), *(dense(n, "relu") for n in hidden), dense(last, "softmax")]
    )
    model.compile(refnet.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    model.to(backend())
    model.train_on_batch(x.cpu().numpy(), y.cpu().numpy())  # makes the optimizer's memory
    step, t = model._step(training_step), torch.tensor(1.0, device=DEVICE)
    no_weights, rate = torch.empty(0, device=DEVICE), torch.tensor(1e-3, device=DEVICE)
    return lambda: step(x, y, no_weights, rate, t.add_(1))


def _their_step(
    sizes: tuple[int, ...], x: torch.Tensor, y: torch.Tensor, mode: str | None = None
) -> Callable[[], Any]:
    layers: list[torch.nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1]).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(x), y)

    forward = torch.compile(loss_of, mode=mode) if mode else loss_of

    def step() -> torch.Tensor:
        if mode:
            torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step
