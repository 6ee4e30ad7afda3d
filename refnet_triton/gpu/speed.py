"""How fast: the rows of the benchmark and the tiles of the product, one after the other in one process.

What is timed runs alone. What it needs is compiled before, in many processes at once, into the caches on
disk that all of them share.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from refnet.op import Op
from refnet_triton.bench import goals, host, measure, results, timing, tuning
from refnet_triton.bench.suite import Spec, suite
from refnet_triton.bench.timing import ON_GPU
from refnet_triton.gpu.clock import Clock
from refnet_triton.gpu.workers import run_all

Report = dict[str, Any]
Note = Callable[[str, Any], None]  # what has been found, at once: the text of a line, and the facts
WARMING = 0.4  # of the time at most is spent on compiling beforehand
#: tasks that are no row: what they are called in the report, and what does them
OTHERS = {"limits": timing.limits, "training": host.training_step, "host": host.host_cost}
SHAPE = tuple[int, int, int]


def warm(task: Any) -> None:
    """Compile what a row or a tile needs."""
    (measure.warm if isinstance(task, Spec) else tuning.warm_tile)(task)


def timed(task: Any) -> Any:
    """One task of the benchmark."""
    if isinstance(task, Spec):
        return measure.measure(task)
    return OTHERS[task](not ON_GPU)


def bench(ops: Sequence[Op], workers: int, clock: Clock, note: Note, rest: bool = True) -> Report:
    """The rows that goals are about, and the `rest` after them; each is noted as it comes."""
    names = [op.name for op in ops]
    rows = suite(not ON_GPU, names, goals.GOALS, rest)
    if ON_GPU:
        began = time.monotonic()
        warming = clock.part(WARMING * clock.left())
        cut = run_all(warm, [*(tuning.TILES if rest else ()), *rows], workers, warming, _ignore)
        note(f"compiled what the benchmark needs in {time.monotonic() - began:.0f} s"
             + (f"; {len(cut)} rows are left for later" if cut else ""), None)  # fmt: skip
    note(results.HEAD, None)
    found: Report = {"limits": None, "training": {}, "host": {}, "rows": [], "errors": []}

    def take(task: Any, result: Any, error: str) -> None:
        wrong = [error] if error else _errors(result)
        found["errors"] += [{"task": str(task), "error": one} for one in wrong]
        for one in wrong:
            note(
                f"FAILED {task}: {' '.join(one.split())[-160:]}", {"task": str(task), "error": one}
            )
        if result is None:
            return
        if isinstance(task, str):
            found[task] = result
            note(f"{task}: done", {task: result})
        else:
            result.judge(found["limits"])
            found["rows"].append(result)
            note(results.line(result), {"row": result})

    cut = run_all(timed, [*OTHERS, *rows], 1, clock, take)
    found["cut"] = [str(task) for task in cut]
    found["goals"] = goals.judged(found) if ON_GPU else []
    return found


def _ignore(*_: Any) -> None:
    """What fails while it is compiled beforehand fails again where it is timed, and is told there."""


def _errors(result: Any) -> list[str]:
    """What went wrong within a task that has a result all the same."""
    if isinstance(result, measure.Row):
        return result.errors
    return [f"{name}: {error}" for name, error in result.get("errors", {}).items()]


def tune(workers: int, clock: Clock, note: Note) -> Report:
    """The best tile for each shape."""
    found: Report = {"tried": [], "best": [], "errors": []}

    def take(shape: SHAPE, tried: Any, error: str) -> None:
        if error:
            found["errors"].append({"task": str(shape), "error": error})
            return
        found["tried"] += tried
        good = [one for one in tried if "ratio" in one]
        if good:
            best = max(good, key=lambda one: one["ratio"])
            found["best"].append({k: v for k, v in best.items() if k != "samples"})
            note(_best(found["best"][-1]), {"tile": best})

    shapes = tuning.SHAPES if ON_GPU else [(32, 32, 32)]
    found["cut"] = [str(s) for s in run_all(tuning.tuned, shapes, min(workers, 1), clock, take)]
    return found


def _best(one: dict[str, Any]) -> str:
    return (
        f"product {one['shape']}: best tile {one['tile']}, {one['refnet_us']:.1f} us, "
        f"PyTorch's product {one['ratio']:.3g} x as long"
    )


# -- the summary -----------------------------------------------------------------------------------


def shown(found: Report, each: int = 0) -> list[str]:
    """The machine's limits, the worst rows of each family, remarks, errors, and the goals."""
    lines = []
    if found["limits"]:
        rates = found["limits"]["flops_per_second"]
        lines.append(
            f"copy {found['limits']['copy_bytes_per_second'] / 1e12:.3g} TB/s; products "
            + ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in rates.items())
            + " TFLOP/s"
        )
    lines += results.table(found["rows"], each) if each and found["rows"] else []
    lines += [f"  {remark[:170]}" for remark in results.remarks(found["rows"])[:20]]
    lines += shown_errors(found)
    for what, part in {"host us a call": "host", "training step us": "training"}.items():
        numbers = found[part].get("microseconds")
        if numbers:
            lines.append(f"{what}: {', '.join(f'{name} {t:.1f}' for name, t in numbers.items())}")
    return lines + (goals.table(found["goals"]) if found["goals"] else [])


def shown_errors(found: Report, most: int = 15) -> list[str]:
    """What went wrong, a line each."""
    errors = found["errors"]
    lines = [f"  FAILED {e['task']}: {' '.join(e['error'].split())[-160:]}" for e in errors[:most]]
    return lines + ([f"  ... and {len(errors) - most} more errors"] if len(errors) > most else [])


def shown_tuning(found: Report) -> list[str]:
    """The best tile for each shape."""
    return [*map(_best, found["best"]), *shown_errors(found)]
