"""What the kernels are to reach, by which rows that is judged, and the verdict.

A goal is a bound on one figure of some rows: percent of the machine's limit, or how many times as long
another contender took. It is met if every row keeps the bound; where it says so, their geometric mean
counts as well. A row too small to be limited by memory or arithmetic (`LARGE`) is judged by no goal on
percent.

The bounds follow the best that is published for each kernel on such a GPU: cuBLAS for products, the
Liger kernels and QuACK for what moves bytes, PyTorch's own fused update, and torch.compile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any, NamedTuple

from refnet_triton.bench.suite import COMPILED, EAGER, REFNET, Spec

MANY_TENSORS = "adam over 300 tensors"  # among what Python costs
LARGE = 64 << 20  # bytes: below, a time is that of the launch, not of the memory
HALF, SINGLE = ("bfloat16", "float16"), ("float32",)

MET, MISSED, NOT_MEASURED, ABSENT = "met", "MISSED", "not measured", "no such op yet"


class Figure(NamedTuple):
    """What a goal is about: where it was measured, its value, and the times it comes from."""

    where: str
    value: float
    floor: float | None = None  # microseconds: the shortest possible time
    microseconds: float | None = None


@dataclass(frozen=True)
class Rows:
    """Rows of the suite: those of some ops, or families of ops; the most important ones first.

    `cases` are the beginnings of the cases' names; without any, every case counts.
    """

    ops: Sequence[str] = ()
    families: Sequence[str] = ()
    cases: Sequence[str] = ("",)
    dtypes: Sequence[str] = ("bfloat16", "float32", "float16")
    but: Sequence[str] = ()  # not these cases

    def place(self, row: Any) -> tuple[int, ...] | None:
        """Where a row comes among these; None if it is not one of them."""
        case = next((i for i, c in enumerate(self.cases) if row.case.startswith(c)), None)
        named = row.op in self.ops or row.family in self.families
        if case is None or not named or row.dtype not in self.dtypes or row.case in self.but:
            return None
        op = self.ops.index(row.op) if row.op in self.ops else len(self.ops)
        return case, op, self.dtypes.index(row.dtype)

    def __call__(self, rows: Sequence[Any]) -> list[Any]:
        """Those of them, in order of importance."""
        placed = [(place, i) for i, row in enumerate(rows) if (place := self.place(row))]
        return [rows[i] for _, i in sorted(placed)]


NONE = Rows()
Facts = dict[str, Any]  # {"rows": [Row], "host": {"microseconds": {...}}, "training": {...}}


@dataclass(frozen=True)
class Goal:
    """A bound on some figures: at least `least`, or at most `most`.

    `measure` is a figure of a row ("percent", "eager", "compiled"), or a function of all facts.
    `besides` are rows that have to be measured for the comparison.
    """

    title: str
    limit: str  # what it cannot be faster than
    measure: str | Callable[[Facts], Iterator[Figure]] = ""
    rows: Rows = NONE
    besides: Rows = NONE
    least: float = -math.inf
    most: float = math.inf
    mean: float = -math.inf  # what their geometric mean has to reach besides
    unit: str = "x"

    def rows_among(self, specs: Sequence[Spec]) -> list[Spec]:
        """The rows it needs, the most important ones first, each beside the one it is compared with."""
        return [*dict.fromkeys(_alternating(self.rows(specs), self.besides(specs)))]

    @property
    def bound(self) -> str:
        """The bound in words: >= 97 % of copy, <= 10 us."""
        text = f">= {self.least:g}" if self.least > -math.inf else f"<= {self.most:g}"
        return f"{text} {self.unit}"

    def figures(self, facts: Facts) -> list[Figure]:
        """The figures it is about, of what has been measured."""
        if callable(self.measure):
            return list(self.measure(facts))
        found = []
        for row in self.rows(facts["rows"]):
            value = getattr(row, self.measure)
            small = self.measure == "percent" and not row.operations and row.bytes < LARGE
            if value is not None and not small:
                found.append(Figure(str(row), value, row.floor, row.microseconds))
        return found

    def judge(self, facts: Facts) -> dict[str, Any]:
        """The verdict, with every figure; the worst one decides.

        `ratio` is the worst figure over its bound, or the bound over it: 1 and more is met.
        """
        found = self.figures(facts) if self.measure else []
        judged: dict[str, Any] = {
            "goal": self.title, "limit": self.limit, "bound": self.bound,
            "verdict": NOT_MEASURED if self.measure else ABSENT,
            "figures": [figure._asdict() for figure in found],
        }  # fmt: skip
        if self.mean > -math.inf:
            judged["bound"] += f", mean >= {self.mean:g}"
        if not found:
            return judged
        most = self.least == -math.inf
        worst = (max if most else min)(found, key=lambda figure: figure.value)
        mean = geometric_mean([max(figure.value, 1e-9) for figure in found])
        met = self.least <= worst.value <= self.most and mean >= self.mean
        ratio = self.most / worst.value if most else worst.value / self.least
        if self.mean > -math.inf:
            ratio = min(ratio, mean / self.mean)
        return judged | {
            "verdict": MET if met else MISSED, "worst": worst._asdict(), "mean": mean, "ratio": ratio,
        }  # fmt: skip


def _alternating(rows: Sequence[Spec], besides: Sequence[Spec]) -> Iterator[Spec]:
    """Each row behind those of the same size and type that it is compared with."""
    for row in rows:
        yield from (b for b in besides if _size(b) == _size(row))
        yield row


def _size(row: Any) -> tuple[str, str]:
    return row.case.partition(",")[0], row.dtype


def _over(op: str, bare: str) -> Callable[[Facts], Iterator[Figure]]:
    """The time of `op` over that of the bare product of the same size and type."""

    def figures(facts: Facts) -> Iterator[Figure]:
        times = {_size(row): row.microseconds for row in facts["rows"] if row.op == bare}
        for row in LINEAR[op](facts["rows"]):
            product = times.get(_size(row))
            if row.microseconds and product:
                yield Figure(str(row), row.microseconds / product, product, row.microseconds)

    return figures


def _costs(facts: Facts) -> dict[str, float]:
    """What Python costs, in microseconds a call."""
    return facts.get("host", {}).get("microseconds", {})


def _host(facts: Facts) -> Iterator[Figure]:
    for name, cost in _costs(facts).items():
        if not name.startswith("torch.") and name != MANY_TENSORS:
            yield Figure(name, cost)


def _many_tensors(facts: Facts) -> Iterator[Figure]:
    if MANY_TENSORS in _costs(facts):
        yield Figure(MANY_TENSORS, _costs(facts)[MANY_TENSORS])


def _training(peer: str) -> Callable[[Facts], Iterator[Figure]]:
    def figures(facts: Facts) -> Iterator[Figure]:
        times = facts.get("training", {}).get("microseconds", {})
        if REFNET in times and peer in times:
            ours = times[REFNET]
            yield Figure(f"against {times[peer]:.0f} us", times[peer] / ours, None, ours)

    return figures


PRODUCTS = ("matmul", "matmul_vjp")
CUBES = ("4096 cubed", "8192 cubed")
FLAT = "4096 x 512 x 4096"  # K = 512
LINEAR = {op: Rows(ops=[op], cases=["4096"], dtypes=HALF) for op in ("linear", "linear_vjp")}
SOFTMAX = ("softmax", "log_softmax", "softmax_vjp", "log_softmax_vjp")
SPARSE = "sparse_softmax_cross_entropy", "sparse_softmax_cross_entropy_vjp"
LOSSES = (*SPARSE, "softmax_cross_entropy", "softmax_cross_entropy_vjp")
ACTIVATIONS = ("gelu", "relu", "gelu_vjp", "relu_vjp")  # the first ones of the family to be timed
CUBLAS, COPY = "x cuBLAS", "% of copy"
GEMM, BANDWIDTH, LAUNCH, TWO = "products", "bandwidth", "launch", "two products"

GOALS = [
    Goal("bf16, fp16 products, M, N >= 4096, K >= 1024", GEMM, "eager",
         Rows(PRODUCTS, cases=CUBES, dtypes=HALF), least=0.95, mean=1.0, unit=CUBLAS),
    Goal("bf16, fp16 products, K = 512", GEMM, "eager",
         Rows(PRODUCTS, cases=[FLAT], dtypes=HALF), least=0.95, unit=CUBLAS),
    Goal("bf16, fp16 products up to 1024 cubed", LAUNCH, "eager",
         Rows(PRODUCTS, cases=["1024 cubed", "512 cubed"], dtypes=HALF), least=0.9, unit=CUBLAS),
    Goal("fp32 (ieee) products", GEMM, "eager",
         Rows(PRODUCTS, cases=[*CUBES, "2048", "1024", "512"], dtypes=SINGLE), least=0.9,
         unit=CUBLAS),
    Goal("tf32 products", GEMM, least=0.95, unit=CUBLAS),
    Goal("linear: bias, activation; over the bare product", "product", _over("linear", "matmul"),
         LINEAR["linear"], Rows(["matmul"], cases=["4096 cubed"], dtypes=HALF), most=1.03),
    Goal("linear with relu, cuBLASLt's epilogue over it", "product", "eager",
         Rows(["linear"], cases=["4096 cubed, relu"], dtypes=HALF), least=1.0),
    Goal("linear_vjp over two bare products", TWO, _over("linear_vjp", "matmul_vjp"),
         LINEAR["linear_vjp"], Rows(["matmul_vjp"], cases=["4096 cubed"], dtypes=HALF), most=1.05),
    Goal("linear_vjp: torch.compile over it", TWO, "compiled", LINEAR["linear_vjp"], least=1.0),
    Goal("activations and their gradients", BANDWIDTH, "percent",
         Rows(ACTIVATIONS, ["activations"], but=["ragged"]), least=97, unit=COPY),
    Goal("activations and their gradients, ragged sizes", BANDWIDTH, "percent",
         Rows(ACTIVATIONS, ["activations"], cases=["ragged"]), least=95, unit=COPY),
    Goal("softmax, log-softmax, 1K-32K columns", BANDWIDTH, "percent",
         Rows(SOFTMAX, cases=["4096 ", "32768 ", "1024 "]), least=95, unit=COPY),
    Goal("softmax, log-softmax, 128K-256K columns", BANDWIDTH, "percent",
         Rows(SOFTMAX, cases=["131072 ", "262144 "]), least=90, unit=COPY),
    Goal("cross-entropies and gradients", BANDWIDTH, "percent",
         Rows(LOSSES, cases=["32000 ", "128256 ", "1024 "]), least=93, unit=COPY),
    Goal("cross-entropies and gradients, 50257 classes", BANDWIDTH, "percent",
         Rows(LOSSES, cases=["50257 "]), least=88, unit=COPY),
    Goal("cross-entropies: torch.compile over them", BANDWIDTH, "compiled",
         Rows(SPARSE, cases=["32000 ", "50257 ", "128256 ", "1024 "]), least=1.8),
    Goal("LayerNorm, BatchNorm", BANDWIDTH, least=93, unit=COPY),
    Goal("updates of 134 million parameters", BANDWIDTH, "percent",
         Rows(["adam", "sgd"], ["optimizers"]), least=95, unit=COPY),
    Goal("adam: torch's fused one over it", BANDWIDTH, "eager",
         Rows(["adam"], dtypes=SINGLE), least=1.0),
    Goal(MANY_TENSORS, LAUNCH, _many_tensors, most=100, unit="us of host"),
    Goal("LSTM and GRU cells and sequences", BANDWIDTH, least=92, unit=COPY),
    Goal("convolution", GEMM, least=0.85, unit="x cuDNN"),
    Goal("reductions", BANDWIDTH, "percent",
         Rows(["sum", "max", "mean"], ["reductions"]), least=95, unit=COPY),
    Goal("pooling", BANDWIDTH, least=95, unit=COPY),
    Goal("what Python costs for one op", LAUNCH, _host, most=10, unit="us"),
    Goal("training step: torch.compile over it", LAUNCH, _training(COMPILED), least=1.0),
    Goal("training step: torch eager over it", LAUNCH, _training(EAGER), least=3.0),
]  # fmt: skip


def to_be_compiled(row: Spec) -> bool:
    """Whether a goal compares this row with torch.compile, which takes seconds."""
    return any(goal.measure == "compiled" and goal.rows.place(row) is not None for goal in GOALS)


def judged(facts: Facts) -> list[dict[str, Any]]:
    """The verdict on every goal."""
    return [goal.judge(facts) for goal in GOALS]


def table(verdicts: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each goal: floor and time of the worst row, result, goal, their ratio, verdict."""
    head = ("goal", "floor us", "us", "result", "goal", "ratio", "verdict: worst row")
    rows = [head, *map(_cells, verdicts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head) - 1)]
    lines = []
    for row in rows:
        first, *figures = (
            f"{cell:{'<' if i in (0, 4) else '>'}{widths[i]}}" for i, cell in enumerate(row[:-1])
        )
        lines.append("  ".join([first, *figures, row[-1]]).rstrip())
    return lines


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    """What stands in the columns of one verdict."""
    worst = one.get("worst")
    if worst is None:
        return one["goal"], "", "", "", one["bound"], "", one["verdict"]
    time = ["" if t is None else f"{t:.1f}" for t in (worst["floor"], worst["microseconds"])]
    count = len(one["figures"])
    row = f"{one['verdict']}: {worst['where']}" + (f" of {count}" if count > 1 else "")
    if "mean" in one["bound"]:
        row += f", mean {one['mean']:.2f}"
    return (
        one["goal"], *time, f"{worst['value']:.2f}", one["bound"], f"{one['ratio']:.2f}", row,
    )  # fmt: skip
