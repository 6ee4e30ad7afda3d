"""What a benchmark found: a table of the worst rows, one line for each goal, and a file of JSON.

A goal is a bound on a figure of some rows: percent of the machine's limit, or how many times as long
PyTorch took. A goal is met if every row keeps it; where it says so, their geometric mean counts.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from refnet.serialization import replace_file
from refnet_triton.bench import COMPILED, EAGER, ON_GPU, ORDER, PRODUCTS, REFNET, Row

# isort: split
import numpy as np
import torch
import triton

ROOT = Path(__file__).resolve().parent.parent

Figure = tuple[str, float]  # what it was measured on, and the value
Facts = dict[str, Any]  # {"rows": [Row], "host": {name: µs}, "training": {...}}

LARGE = 64 << 20  # bytes: below, a time is that of the launch, not of the memory


@dataclass(frozen=True)
class Goal:
    """A bound on some figures: at least `least`, or at most `most`."""

    title: str
    figures: Callable[[Facts], Iterator[Figure]]
    least: float = -math.inf
    most: float = math.inf
    mean: float = -math.inf  # what their geometric mean has to reach besides
    unit: str = "x"

    def line(self, facts: Facts) -> str:
        """Met or missed, the worst figure, the mean, and how many there are."""
        found = list(self.figures(facts))
        bound = f">= {self.least:g}" if self.least > -math.inf else f"<= {self.most:g}"
        bound += f", mean >= {self.mean:g}" if self.mean > -math.inf else ""
        if not found:
            return f"{'not measured':>12}  {self.title} ({bound} {self.unit})"
        where, worst = (min if self.least > -math.inf else max)(found, key=lambda figure: figure[1])
        mean = geometric_mean([max(value, 1e-9) for _, value in found])
        met = self.least <= worst <= self.most and mean >= self.mean
        return (
            f"{'met' if met else 'MISSED':>12}  {self.title} ({bound} {self.unit}): "
            f"worst {worst:.2f} ({where}), mean {mean:.2f} of {len(found)}"
        )


def _rows(
    measure: str,
    *ops: str,
    families: Sequence[str] = (),
    case: str = "",
    dtypes: Sequence[str] = (),
) -> Callable:
    """Figures: `measure` of the rows of these ops, or families of ops, whose case begins like this."""

    def figures(facts: Facts) -> Iterator[Figure]:
        for row in facts["rows"]:
            chosen = (row.op in ops or row.family in families) and row.case.startswith(case)
            large = row.operations or row.bytes >= LARGE
            value = getattr(row, measure)
            if chosen and large and value is not None and (not dtypes or row.dtype in dtypes):
                yield f"{row.op} {row.case} {row.dtype}", value

    return figures


def _chain(*sources: Callable[[Facts], Iterator[Figure]]) -> Callable[[Facts], Iterator[Figure]]:
    return lambda facts: (figure for source in sources for figure in source(facts))


def _over(op: str, bare: str) -> Callable[[Facts], Iterator[Figure]]:
    """Figures: the time of `op` over that of the bare product of the same size and type."""

    def figures(facts: Facts) -> Iterator[Figure]:
        times = {(r.op, r.case, r.dtype): r.microseconds for r in facts["rows"]}
        for (name, case, dtype), time in times.items():
            product = times.get((bare, case.partition(",")[0], dtype))
            if name == op and time and product:
                yield f"{case} {dtype}", time / product

    return figures


def _host(facts: Facts) -> Iterator[Figure]:
    for name, cost in facts.get("host", {}).items():
        if not name.startswith("torch."):
            yield name, cost


def _training(peer: str) -> Callable[[Facts], Iterator[Figure]]:
    def figures(facts: Facts) -> Iterator[Figure]:
        times = facts.get("training", {}).get("microseconds", {})
        if REFNET in times and peer in times:
            yield f"{times[REFNET]:.0f} us against {times[peer]:.0f}", times[peer] / times[REFNET]

    return figures


HALF, SINGLE = ("bfloat16", "float16"), ("float32",)
SOFTMAX = ("softmax", "log_softmax", "softmax_vjp", "log_softmax_vjp")
COMMON = ("1024 ", "4096 ", "32768 ")
LOSSES = ("sparse_softmax_cross_entropy", "softmax_cross_entropy")
LOSSES += tuple(f"{name}_vjp" for name in LOSSES)
CLASSES = ("1024 ", "32000 ", "128256 ")

GOALS = [
    Goal("bf16, fp16 products from 4096 cubed: cuBLAS' time over ours",
         _chain(*(_rows("eager", *PRODUCTS, case=c, dtypes=HALF) for c in ("4096", "8192"))),
         least=0.95, mean=1.0),
    Goal("bf16, fp16 products up to 1024 cubed: cuBLAS' time over ours",
         _chain(*(_rows("eager", *PRODUCTS, case=c, dtypes=HALF) for c in ("512", "1024"))),
         least=0.9),
    Goal("fp32 (ieee) products: cuBLAS' time over ours",
         _rows("eager", *PRODUCTS, dtypes=SINGLE), least=0.9),
    Goal("linear with bias and activation, over the bare product", _over("linear", "matmul"),
         most=1.03),
    Goal("gradient of linear, over the two bare products", _over("linear_vjp", "matmul_vjp"),
         most=1.05),
    Goal("gradient of linear: torch.compile's time over ours", _rows("compiled", "linear_vjp"),
         least=1.0),
    Goal("activations forward and backward", _rows("percent", families=["activations"]), least=97,
         unit="% of copy"),
    Goal("softmax and log-softmax, 1K-32K columns",
         _chain(*(_rows("percent", *SOFTMAX, case=c) for c in COMMON)), least=95, unit="% of copy"),
    Goal("softmax and log-softmax, 128K columns", _rows("percent", *SOFTMAX, case="131072"),
         least=90, unit="% of copy"),
    Goal("cross-entropy and its gradient",
         _chain(*(_rows("percent", *LOSSES, case=c) for c in CLASSES)), least=93, unit="% of copy"),
    Goal("cross-entropy and its gradient, 50257 classes", _rows("percent", *LOSSES, case="50257"),
         least=88, unit="% of copy"),
    Goal("cross-entropy and its gradient: torch.compile's time over ours",
         _rows("compiled", *LOSSES), least=1.8),
    Goal("updates of 134 million parameters", _rows("percent", families=["optimizers"]), least=95,
         unit="% of copy"),
    Goal("Adam: torch's fused time over ours", _rows("eager", "adam"), least=1.0),
    Goal("reductions", _rows("percent", families=["reductions"]), least=95, unit="% of copy"),
    Goal("elementwise arithmetic (no goal of its own; that of activations)",
         _rows("percent", families=["elementwise", "comparisons"]), least=97, unit="% of copy"),
    Goal("what Python costs for one op", _host, most=10, unit="us"),
    Goal("training step: torch.compile's time over ours", _training(COMPILED), least=1.0),
    Goal("training step: torch eager's time over ours", _training(EAGER), least=3.0),
]  # fmt: skip


def goals(facts: Facts) -> list[str]:
    """One line for each goal."""
    return [goal.line(facts) for goal in GOALS]


def table(rows: Sequence[Row], each: int | None = None) -> list[str]:
    """The rows, the worst first within each family; at most `each` of a family."""
    order = {name: number for number, name in enumerate(ORDER)}
    timed = [row for row in rows if row.microseconds]
    timed.sort(key=lambda r: (order.get(r.family, len(order)), r.family, r.percent or math.inf))
    lines = [f"{'':34}{'':22}{'':>10}{'us':>10}{'% limit':>9}{'eager':>8}{'compile':>9}"]
    for _, family in groupby(timed, key=lambda row: row.family):
        members = list(family)
        lines += [
            f"{row.op:34}{row.case:22}{row.dtype:>10}{row.microseconds:10.1f}"
            f"{_shown(row.percent, 9)}{_shown(row.eager, 8, 2)}{_shown(row.compiled, 9, 2)}"
            for row in members[:each]
        ]
        if each and len(members) > each:
            lines.append(f"  ... and {len(members) - each} better rows of this family")
    return lines


def _shown(value: float | None, width: int, digits: int = 1) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def remarks(rows: Sequence[Row]) -> list[str]:
    """Rows with something to say: a contender that failed, or a result that is not PyTorch's."""
    tolerated = {"float32": 1e-4, "float16": 2e-3, "bfloat16": 2e-2}
    found = []
    for row in rows:
        where = f"{row.op} {row.case} {row.dtype}"
        if row.note and not row.note.startswith("a view"):
            found.append(f"{where}: {row.note}")
        if row.difference is not None and not row.difference <= tolerated[row.dtype]:
            found.append(f"{where}: the result is {row.difference:.2g} away from PyTorch's")
    return found


# -- the file of results: where and with what it ran -----------------------------------------------


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def surroundings() -> dict[str, Any]:
    """Date, device, driver, versions, commit; a digest of the sources, as a copy may have no commit."""
    digest = hashlib.sha256()
    for path in sorted((*ROOT.glob("refnet/**/*.py"), *ROOT.glob("refnet_triton/**/*.py"))):
        digest.update(path.read_bytes())
    versions = {module.__name__: module.__version__ for module in (torch, triton, np)}
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "measurement": ON_GPU,
        "device": f"no GPU, interpreted on {platform.machine()}",
        "versions": {"python": platform.python_version(), **versions},
        "commit": _output("git", "rev-parse", "HEAD") or os.environ.get("REFNET_COMMIT"),
        "uncommitted_changes": _output(
            "git", "status", "--porcelain", "--", "refnet", "refnet_triton"
        ),
        "sources_sha256": digest.hexdigest(),
        "processors": os.cpu_count(),
    }
    if ON_GPU:
        properties = torch.cuda.get_device_properties(0)
        query = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        found |= {
            "device": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory_bytes": properties.total_memory,
            "driver": (_output(*query) or "").partition("\n")[0],
            "cuda": torch.version.cuda or torch.version.hip,
        }
    return found


def write(path: Path, report: dict[str, Any]) -> None:
    """Write as JSON: the old file or the new one, whole, is there at any moment."""
    text = json.dumps(_plain(report), indent=1, allow_nan=False)
    replace_file(path, text.encode())


def _plain(value: Any) -> Any:
    """The same in what JSON has: infinities and NaN, which it lacks, as words."""
    if isinstance(value, Row):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else str(value)
    return value if isinstance(value, int | str | None) else str(value)


def place_for(folder: Path, report: dict[str, Any]) -> Path:
    """folder/<date>-<device>.json, with a number behind it if that is there already."""
    device = report["device"] if report["measurement"] else "no-measurement"
    name = f"{report['date'][:10]}-{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}"
    folder.mkdir(parents=True, exist_ok=True)
    taken = {path.name for path in folder.glob(f"{name}*")}
    numbered = (name if i == 1 else f"{name}-{i}" for i in range(1, len(taken) + 2))
    return folder / f"{next(n for n in numbered if f'{n}.json' not in taken)}.json"
