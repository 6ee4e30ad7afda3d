"""One command for a machine that has a GPU: check, test, time and tune the kernels.

    python -m refnet_triton.gpu                             # or: make gpu
    python -m refnet_triton.gpu --parts bench --ops relu    # some of it
    python -m refnet_triton.gpu --out FOLDER --budget 520   # where to, and how many seconds in all

========  ========================================================================================
check     every op in every type on every case, as `refnet check --backend triton` does, compiled
tests     the tests that are marked `gpu` or `triton`
bench     every op: time, percent of the machine's limit, ratios to PyTorch (`refnet_triton.bench`)
tuning    tile sizes of the matrix product, timed against cuBLAS
========  ========================================================================================

It needs torch, triton, numpy, pytest and this checkout. What it finds is written as JSON into
docs/results, after each part and at the end. A part that runs out of time is cut off, and says so.
The check has a file of its own beside it, NAME.check.json, the same as that of `refnet check --json`,
and NAME.check.html if matplotlib is there. If docs/results/interpreted.check.json is there, the check
of a machine without a GPU, both say where the compiled kernels are off by another amount.

The check comes first, in many processes at once: it compiles most kernels, and what is compiled is
kept on disk for the parts that follow. Nothing is timed while anything else runs.

Where there is no GPU, all of it runs on tiny sizes in Triton's interpreter, to show that it runs.
That is no measurement, its JSON says so, and it goes to runs/gpu.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import multiprocessing
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from refnet_triton import bench, results
from refnet_triton.results import ROOT

# isort: split
import torch

from refnet import changes
from refnet.agreement import all_ops
from refnet.check import ERROR, Failure, Row, cases_for, check_op, command, new_report, new_seed
from refnet.check import Report as Checked
from refnet.errors import RefnetError
from refnet.op import Op
from refnet.ops import TABLE
from refnet.report import as_json, read_json, write_html, write_json

PARTS = ("check", "tests", "bench", "tuning")
#: when a part has to end, as a fraction of the budget; what one leaves unused goes to the next
ENDS = {"check": 0.32, "tests": 0.52, "bench": 0.93, "tuning": 1.0}
SILENCE = 90.0  # seconds without any result after which a worker is taken for lost
QUICK_TESTS = ["tests/test_twins.py", "-k", "relu6 and float32 and bound"]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS")
IN_THE_WAY = ["test_compile.py", "test_gpu_script.py"]  # tests of what a GPU does not need

Report = dict[str, Any]


def say(*lines: str) -> None:
    """Print at once: the output may be a pipe."""
    print(*lines, sep="\n", flush=True)


# -- many small tasks, some processes, a deadline --------------------------------------------------


def run_all(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    deadline: float,
    take: Callable[[Any, Any, str], None],
) -> list[Any]:
    """``take(task, function(task), error)`` for all tasks; returns those without a result.

    With workers, the tasks run in processes of their own. One that loses its GPU (an illegal
    address spoils all that follows in that process) ends them all, and the rest goes on in new
    ones. The task of one that is killed has no result, nor have those that time cut off.
    """
    left = dict(enumerate(tasks))
    attempt = functools.partial(_attempt, function)
    if not workers:
        for number, task in enumerate(tasks):
            if time.monotonic() < deadline:
                take(left.pop(number), *attempt((number, task))[1:3])
        return list(left.values())
    for _ in range(6):
        lost = False
        with multiprocessing.get_context("spawn").Pool(min(workers, len(left) or 1)) as pool:
            done = pool.imap_unordered(attempt, list(left.items()))
            for _ in range(len(left)):
                try:
                    wait = min(SILENCE, max(0.0, deadline - time.monotonic()))
                    number, result, error, lost = done.next(timeout=wait)
                except multiprocessing.TimeoutError:
                    return list(left.values())
                take(left.pop(number), result, error)
                if lost:
                    break
        if not lost or not left:
            break
    return list(left.values())


def _attempt(function: Callable[[Any], Any], item: tuple[int, Any]) -> tuple[int, Any, str, bool]:
    """(number, result, error, whether the GPU is lost to this process)."""
    number, task = item
    result, error = None, ""
    try:
        result = function(task)
    except Exception as exception:
        error = f"{type(exception).__name__}: {exception}"[:2000]
    try:
        bench.synchronize()
    except Exception as exception:
        return number, result, error or f"{type(exception).__name__}: {exception}"[:2000], True
    return number, result, error, False


# -- check -----------------------------------------------------------------------------------------

NO_RESULT = "no result: the clock cut it off, or its process ended"
INTERPRETED = ROOT / "docs/results/interpreted.check.json"

Task = tuple[str, str, int, bool]  # op, dtype, seed, quick: two small cases, each run once


def checked(task: Task) -> Row:
    """An op in a type on its cases: one row of the check."""
    name, dtype, seed, quick = task
    cases = cases_for(TABLE[name], quick)[: 2 if quick else None]
    return check_op(TABLE[name], dtype, bench.backend(), cases, seed, again=not quick)


def with_error(task: Task, row: Row | None, error: str) -> Row:
    """The row, or one in its place, with what went wrong outside of its cases: a lost GPU."""
    op, dtype = TABLE[task[0]], task[1]
    row = row or Row(op.name, op.file, bench.backend().name, dtype)
    row.failures.append(Failure("", error, raised=True))
    row.status, row.message = ERROR, row.message or error
    return row


def check_all(
    ops: Sequence[Op], workers: int, deadline: float, before: Report | None = None
) -> Checked:
    """Every op in every type on every case; rows in the order of `check`.

    The inputs are those of the check `before`, if there is one to compare with; else drawn anew.
    """
    backend, quick, start = bench.backend(), not bench.ON_GPU, time.monotonic()
    seed = before["seed"] if before else new_seed()
    dtypes = ("float32", "bfloat16") if quick else backend.dtypes
    names = [op.name for op in ops]
    again = command(names if len(ops) < len(all_ops()) else [], dtypes if quick else [],
                    [backend.name], [], seed, quick)  # fmt: skip
    say(f"the same inputs again, here or on another machine: {again}")
    limits = {"more than two small cases of an op": "there is no GPU here"} if quick else {}
    found = new_report([backend], seed, quick, again, limits)
    tasks = [(name, dtype, seed, quick) for dtype in dtypes for name in names]
    order = {task[:2]: number for number, task in enumerate(tasks)}
    tasks.sort(key=lambda task: "linear" not in task[0])  # what takes longest goes first

    def take(task: Task, row: Row | None, error: str) -> None:
        found.rows.append(with_error(task, row, error) if error or row is None else row)

    for name, dtype, *_ in run_all(checked, tasks, workers, deadline, take):
        found.not_checked[f"{name} on {backend.name} in {dtype}"] = NO_RESULT
    found.rows.sort(key=lambda row: order[row.op, row.dtype])
    found.seconds = time.monotonic() - start
    return found


def interpreted() -> Report | None:
    """The check of a machine without a GPU, to compare with."""
    try:
        return read_json(INTERPRETED) if INTERPRETED.exists() else None
    except RefnetError as error:  # no reason to measure nothing
        say(f"NOT COMPARED with an interpreted check: {error}")
        return None


def write_check(found: Checked, place: Path, before: Report | None = None) -> Report:
    """The check as the files of `refnet check` beside `place`, and as what the first of them holds."""
    write_json(found, place.with_suffix(".check.json"), before)
    try:
        if importlib.util.find_spec("matplotlib"):
            write_html(found, place.with_suffix(".check.html"), before)
        else:
            say("no HTML report of the check: matplotlib is not installed here")
    except Exception as error:  # a picture less is no reason to lose the parts that follow
        say(f"no HTML report of the check: {type(error).__name__}: {error}")
    return as_json(found, before)


def check_part(ops: Sequence[Op], workers: int, deadline: float, place: Path) -> Report:
    """The check, compared with the interpreted one; a GPU gets the same inputs as that one."""
    before = interpreted()
    found = check_all(ops, workers, deadline, before if bench.ON_GPU else None)
    return write_check(found, place, before)


def shown_check(found: Report, most: int = 15) -> list[str]:
    """A line for each type, all that is wrong, and what is not as it was when interpreted."""
    lines = [f"check with seed {found['seed']}: {found['command']}"]
    for one in found["summary"]:
        counts = {what: one[what] for what in ("passed", "failed", "errors", "missing")}
        lines.append(
            f"{one['backend']} {one['dtype']}: {one['ops']} ops, "
            + ", ".join(f"{n} {what}" for what, n in counts.items() if n)
            + f"; {one['cases']} cases, {one['numbers']:,} numbers; largest error "
            f"{float(one['ratio']):.2f} of its bound ({one['at']})"
        )
    if not found["ok"]:
        lines.append("NOT ALL OF IT IS RIGHT" if found["rows"] else "NOTHING WAS CHECKED")
    for row in [row for row in found["rows"] if row["status"] != "pass"][:most]:
        message = " ".join(row["message"].split())[-160:]
        lines.append(f"  {row['status'].upper()} {row['op']} {row['dtype']}: {message}")
        lines += [f"    {one['replay']}" for one in row["failures"][:1]]
    if "changes" in found:
        lines += ["against the interpreted check:"]
        lines += changes.lines(found["changes"], found["seed"], most)
    return lines


# -- tests -----------------------------------------------------------------------------------------


def tests(workers: int, deadline: float, log: Path) -> Report:
    """The GPU tier of the tests, in a process of its own, with pytest-xdist if it is there."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if bench.ON_GPU:
        command += ["tests", "-m", "gpu or triton", "--tb=short"]
        command += [f"--ignore=tests/{name}" for name in IN_THE_WAY]
        if importlib.util.find_spec("xdist"):
            command += ["-n", str(workers)]
    else:
        command += QUICK_TESTS
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    status: int | None = None
    with open(log, "w", encoding="utf-8") as out:
        program = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            status = program.wait(timeout=max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    counts = {
        what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|errors?|skipped)", text)
    }
    return {
        "command": command[1:],
        "exit_status": status,
        "cut": [] if status is not None else ["pytest, stopped by the clock"],
        "counts": counts,
        "failed": re.findall(r"^(?:FAILED|ERROR) (.*)$", text, re.MULTILINE)[:200],
        "tail": text.splitlines()[-25:],
    }


def shown_tests(found: Report) -> list[str]:
    """Counts, and the names of what failed."""
    counts = ", ".join(f"{n} {what}" for what, n in found["counts"].items()) or "none ran"
    status = "stopped by the clock" if found["exit_status"] is None else found["exit_status"]
    lines = [f"tests: {counts} (exit status {status})"]
    return lines + [f"  FAILED {name[:170]}" for name in found["failed"][:15]]


# -- bench and tuning ------------------------------------------------------------------------------

#: (M, N, K, warps, stages) of a tile of the product in 16 bits, to try
TILES = [
    (128, 256, 64, 8, 3), (128, 256, 64, 8, 4), (256, 128, 64, 8, 3), (256, 128, 64, 8, 4),
    (128, 128, 64, 4, 3), (128, 128, 64, 4, 4), (128, 128, 64, 8, 3), (128, 128, 64, 8, 4),
    (128, 128, 32, 8, 4), (64, 256, 64, 4, 3), (64, 256, 64, 4, 4), (256, 64, 64, 4, 4),
    (64, 128, 64, 4, 4), (128, 64, 64, 4, 4), (64, 64, 64, 4, 4), (64, 128, 128, 4, 3),
]  # fmt: skip
SHAPES = [(4096, 4096, 4096), (8192, 8192, 8192), (4096, 4096, 512), (1024, 1024, 1024)]


@contextlib.contextmanager
def tile(configuration: tuple[int, ...]):
    """Within the block, products use this tile."""
    from refnet_triton.ops import matmul

    before = matmul.configuration
    matmul.configuration = lambda *_, **__: configuration
    try:
        yield
    finally:
        matmul.configuration = before


def _factors(shape: tuple[int, int, int]) -> list[torch.Tensor]:
    m, n, k = shape
    sizes = [(m, k), (k, n)]
    return [torch.randn(size, device=bench.DEVICE).bfloat16() for size in sizes]


def warm(task: Any) -> None:
    """Compile what a benchmark row or a tile needs, into the caches on disk."""
    if len(task) == 4:
        bench.warm(task)
    else:
        with tile(task):
            bench.backend().function(TABLE["matmul"])(*_factors((1024, 1024, 1024)))


def timed(task: Any) -> Any:
    """One task of the bench: the limits, the cost of Python, the training step, or a row."""
    quick = not bench.ON_GPU
    if task == "limits":
        return bench.limits(quick)
    if task == "host":
        return bench.host_cost()
    if task == "training":
        return bench.training_step(quick)
    return bench.measure(task)


def bench_all(
    ops: Sequence[Op],
    rows: list[Any],
    workers: int,
    deadline: float,
    save: Callable[[Report], None],
) -> Report:
    """Every row of the suite, one after the other, in one process."""
    if workers:
        half = time.monotonic() + 0.4 * (deadline - time.monotonic())
        started = time.monotonic()
        cut = run_all(warm, [*TILES, *rows], workers, half, lambda *_: None)
        say(f"compiled what the benchmark needs in {time.monotonic() - started:.0f} s"
            + (f"; {len(cut)} are left for later" if cut else ""))  # fmt: skip
    found: Report = {"limits": None, "host": {}, "training": {}, "rows": [], "errors": []}

    def take(task: Any, result: Any, error: str) -> None:
        if error:
            found["errors"].append({"task": task, "error": error})
        elif isinstance(task, str):
            found[task] = result
        else:
            found["rows"].append(result)
        save(found)

    tasks = ["limits", "training", "host", *rows]
    cut = run_all(timed, tasks, min(workers, 1), deadline, take)
    if found["limits"]:
        for row in found["rows"]:
            row.judge(found["limits"])
    found["cut"] = [task if isinstance(task, str) else " ".join(map(str, task)) for task in cut]
    return found


def shown_bench(found: Report, each: int = 6) -> list[str]:
    """The machine's limits, the worst rows of each family, remarks, and the goals."""
    lines = []
    if found["limits"]:
        rates = found["limits"]["flops_per_second"]
        lines += [
            f"copy {found['limits']['copy_bytes_per_second'] / 1e12:.2f} TB/s; products "
            + ", ".join(f"{name} {rate / 1e12:.1f}" for name, rate in rates.items())
            + " TFLOP/s",
        ]
    lines += results.table(found["rows"], each)
    lines += [f"  {remark[:200]}" for remark in results.remarks(found["rows"])[:20]]
    lines += [
        f"  FAILED {e['task']}: {' '.join(e['error'].split())[-160:]}" for e in found["errors"][:15]
    ]
    times = found["training"].get("microseconds", {})
    costs = {"host us a call": found["host"], "training step us": times}
    lines += [
        f"{k}: {', '.join(f'{n} {t:.1f}' for n, t in v.items())}" for k, v in costs.items() if v
    ]
    return lines + (results.goals(found) if bench.ON_GPU else [])


def tuned(shape: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Each tile on one shape, and cuBLAS in the same round: microseconds, and cuBLAS' time over it."""
    product = bench.backend().function(TABLE["matmul"])
    found = []
    for configuration in TILES if bench.ON_GPU else TILES[:1]:
        one: dict[str, Any] = {"shape": shape, "tile": configuration}
        sets = [_factors(shape) for _ in range(3)]

        def ours(i: int, sets: Any = sets, tile_of: Any = configuration) -> Any:
            with tile(tile_of):
                return product(*sets[i % 3])

        try:
            samples = bench.interleaved(
                {"refnet": ours, "cublas": lambda i, sets=sets: torch.matmul(*sets[i % 3])}, 0.1
            )
        except Exception as error:  # out of shared memory, as a rule
            bench.synchronize()
            one["error"] = f"{type(error).__name__}: {error}"[:300]
        else:
            median = {name: statistics.median(values) for name, values in samples.items()}
            one |= {f"{name}_us": round(value, 3) for name, value in median.items()}
            one["ratio"] = median["cublas"] / median["refnet"]
            one["samples"] = {
                name: [round(v, 3) for v in values] for name, values in samples.items()
            }
        found.append(one)
    return found


def tune_all(workers: int, deadline: float) -> Report:
    """The best tile for each shape."""
    found: Report = {"tried": [], "best": [], "errors": []}

    def take(shape: Any, tried: Any, error: str) -> None:
        if error:
            found["errors"].append({"task": shape, "error": error})
            return
        found["tried"] += tried
        good = [one for one in tried if "ratio" in one]
        if good:
            best = max(good, key=lambda one: one["ratio"])
            found["best"].append({k: v for k, v in best.items() if k != "samples"})

    shapes = SHAPES if bench.ON_GPU else [(32, 32, 32)]
    found["cut"] = [str(s) for s in run_all(tuned, shapes, min(workers, 1), deadline, take)]
    return found


def shown_tuning(found: Report) -> list[str]:
    """The best tile for each shape."""
    return [
        f"product {one['shape']}: best tile {one['tile']}, {one['refnet_us']:.1f} us, "
        f"cuBLAS {one['ratio']:.2f} x as long"
        for one in found["best"]
    ]


# -- all of it -------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, write the JSON, print the summary. 0 unless something was wrong or failed."""
    parser = argparse.ArgumentParser(prog="python -m refnet_triton.gpu", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--out", type=Path, help="folder for the JSON")
    parser.add_argument("--budget", type=float, default=520.0, help="seconds in all")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--ops", nargs="+", default=[], help="only these ops (and their gradients)")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    report = results.surroundings()
    if bench.ON_GPU:
        say(f"refnet: {report['device']}, driver {report['driver']}, {report['versions']}")
    else:
        say(
            "refnet: NO GPU HERE. Running the whole path on tiny sizes, interpreted: no measurement."
        )
    folder = ROOT / ("docs/results" if bench.ON_GPU else "runs/gpu")
    place = results.place_for(options.out or folder, report)
    partial = place.with_suffix(".partial")
    workers = max(2, min(14, (os.cpu_count() or 2) - 2)) if bench.ON_GPU else 0
    for name in THREADS:
        os.environ.setdefault(name, "1")  # the workers are many already
    ops = [op for op in all_ops() if not options.ops or (op.primal or op).name in options.ops]
    rows = bench.suite(quick=not bench.ON_GPU, ops=[op.name for op in ops])
    saved = start

    def save(found: Report) -> None:
        nonlocal saved
        if time.monotonic() - saved > 20:
            saved = time.monotonic()
            results.write(partial, {**report, "bench": found})

    run: dict[str, Callable[[float], Report]] = {
        "check": lambda end: check_part(ops, workers, end, place),
        "tests": lambda end: tests(workers, end, place.with_suffix(".tests.log")),
        "bench": lambda end: bench_all(ops, rows, workers, end, save),
        "tuning": lambda end: tune_all(workers, end),
    }
    show = {
        "check": shown_check,
        "tests": shown_tests,
        "bench": shown_bench,
        "tuning": shown_tuning,
    }
    report["seconds"] = {}
    report["cut"] = []
    summary: list[str] = []
    for part in [part for part in PARTS if part in options.parts]:
        began = time.monotonic()
        end = start + options.budget * (ENDS[part] if len(options.parts) > 1 else 1.0)
        report[part] = found = run[part](end)
        report["seconds"][part] = round(time.monotonic() - began, 1)
        say(f"refnet: {part} took {report['seconds'][part]:.0f} s")
        cut = found.get("cut") or [
            what for what, why in found.get("not_checked", {}).items() if why == NO_RESULT
        ]
        if cut:
            report["cut"].append(f"{part}: {len(cut)} not run")
            summary.append(f"CUT OFF by the clock in {part}: {len(cut)}, from {cut[0]} on")
        summary += ["", *show[part](found)]
        results.write(partial, report)
    report["seconds"]["all"] = round(time.monotonic() - start, 1)
    results.write(place, report)
    partial.unlink(missing_ok=True)
    say(*summary, "", f"{'measured' if bench.ON_GPU else 'NO MEASUREMENT'}, in "
        f"{report['seconds']['all']:.0f} s: {place}")  # fmt: skip
    wrong = not report.get("check", {"ok": True})["ok"] or report.get("bench", {}).get("errors")
    return 1 if wrong or report.get("tests", {}).get("exit_status", 0) else 0


if __name__ == "__main__":
    # As a module of its own name, for the processes that are started to find its functions there.
    from refnet_triton import gpu

    sys.exit(gpu.main())
