"""Every op in every type, on every case or on two, in many processes at once: right, or not.

The rows are those of `refnet check --backend triton`, and so are the files that they are written to. If
docs/results/interpreted.check.json is there, the check of a machine without a GPU, both files say where
the compiled kernels are off by another amount.
"""

from __future__ import annotations

import importlib.util
import math
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from refnet_triton.bench.inputs import backend
from refnet_triton.bench.measure import compared
from refnet_triton.bench.results import ROOT, remarks
from refnet_triton.bench.suite import Spec, specs
from refnet_triton.bench.timing import ON_GPU
from refnet_triton.gpu.clock import Clock
from refnet_triton.gpu.workers import run_all

# isort: split
import numpy as np

from refnet.base.files import plain
from refnet.check import baseline as changes
from refnet.check.ops import cases_for, check_op, new_report, new_seed
from refnet.check.result import ERROR, Failure, Row
from refnet.check.result import Report as Checked
from refnet.errors import RefnetError
from refnet.op import Op
from refnet.op.columns import Case
from refnet.ops import TABLE
from refnet.proof.judge import all_ops
from refnet.report import as_json, read_json, row_as_json, write_html, write_json

NO_RESULT = "no result: the clock cut it off"
INTERPRETED = ROOT / "docs/results/interpreted.check.json"
MOST_SHOWN = 15
#: which cases of an op are tried: all of them; two small ones; so few that each kernel is launched once
ALL, TWO_SMALL, SMOKE = "all", "two small", "smoke"

Report = dict[str, Any]
Note = Callable[[str, Any], None]  # what has been found, at once: the text of a line, and the facts
Task = tuple[str, str, int, str]  # op, dtype, seed, which cases


def cases_of(op: Op, which: str) -> Sequence[Case]:
    """The cases of an op that are tried."""
    if which == ALL:
        return cases_for(op)
    if which == TWO_SMALL:
        return cases_for(op, True)[:2]
    cases = list(cases_for(op))
    smooth = [case for case in cases if case.smooth] or cases
    views = [case for case in cases if case.layout != "C"]
    sizes = {
        case.name: [np.shape(x) for x in case.make(np.random.default_rng(0))] for case in cases
    }
    largest = max(cases, key=lambda case: sum(map(math.prod, sizes[case.name])))
    deepest = max(smooth[::-1], key=lambda case: max(map(len, sizes[case.name]), default=0))
    found = [smooth[0], smooth[-1], *views[-1:], largest, deepest]
    return [case for number, case in enumerate(found) if case not in found[:number]]


def checked(task: Task) -> Row:
    """An op in a type on its cases: one row of the check."""
    name, dtype, seed, which = task
    cases = cases_of(TABLE[name], which)
    return check_op(TABLE[name], dtype, backend(), cases, seed, again=which == ALL)


def with_error(task: Task, row: Row | None, error: str) -> Row:
    """The row, or one in its place, with what went wrong outside of its cases: a lost GPU."""
    op, dtype = TABLE[task[0]], task[1]
    row = row or Row(op.name, op.file, backend().name, dtype)
    row.failures.append(Failure("", error, raised=True))
    row.status, row.message = ERROR, row.message or error
    return row


def command(part: str, ops: Sequence[Op], seed: int) -> str:
    """What to type for these rows again.

    >>> command("smoke", [TABLE["relu"], TABLE["relu_vjp"]], 7)
    'python -m refnet_triton.gpu --parts smoke --ops relu --seed 7'
    """
    names = dict.fromkeys((op.primal or op).name for op in ops)
    chosen = ["--ops", *names] if len(ops) < len(all_ops()) else []
    words = ["python", "-m", "refnet_triton.gpu", "--parts", part, *chosen, "--seed", str(seed)]
    return shlex.join(words)


def check_all(
    ops: Sequence[Op],
    which: str,
    workers: int,
    clock: Clock,
    note: Note,
    seed: int | None = None,
) -> Checked:
    """Every op in every type, each noted as it comes; rows in the order of `check`."""
    triton, start = backend(), time.monotonic()
    seed = new_seed() if seed is None else seed
    dtypes = triton.dtypes if ON_GPU else ("float32", "bfloat16")
    again = command("smoke" if which == SMOKE else "check", ops, seed)
    left_out = {"most cases of an op": f"{which} cases are tried"} if which != ALL else {}
    found = new_report([triton], seed, which != ALL, again, left_out)
    tasks = [(op.name, dtype, seed, which) for dtype in dtypes for op in ops]
    order = {task[:2]: number for number, task in enumerate(tasks)}
    tasks.sort(key=lambda task: "linear" not in task[0])  # what takes longest goes first

    def take(task: Task, row: Row | None, error: str) -> None:
        row = with_error(task, row, error) if error or row is None else row
        found.rows.append(row)
        note("", {"row": plain(row_as_json(row, task[2]))})

    for name, dtype, *_ in run_all(checked, tasks, workers, clock, take):
        found.not_checked[f"{name} on {triton.name} in {dtype}"] = NO_RESULT
    found.rows.sort(key=lambda row: order[row.op, row.dtype])
    found.seconds = time.monotonic() - start
    return found


def interpreted() -> Report | None:
    """The check of a machine without a GPU, to compare with."""
    try:
        return read_json(INTERPRETED) if INTERPRETED.exists() else None
    except RefnetError as error:  # no reason to measure nothing
        print(f"NOT COMPARED with an interpreted check: {error}")
        return None


def write_check(found: Checked, place: Path, before: Report | None = None) -> Report:
    """The check as the files of `refnet check` beside `place`, and as what the first of them holds."""
    write_json(found, place.with_suffix(".check.json"), before)
    try:
        if importlib.util.find_spec("matplotlib"):
            write_html(found, place.with_suffix(".check.html"), before)
        else:
            print("no HTML report of the check: matplotlib is not installed here")
    except Exception as error:  # a picture less is no reason to lose the parts that follow
        print(f"no HTML report of the check: {type(error).__name__}: {error}")
    return as_json(found, before)


def check(
    ops: Sequence[Op], workers: int, clock: Clock, note: Note, place: Path, seed: int | None = None
) -> Report:
    """The check, compared with the interpreted one; a GPU gets the same inputs as that one."""
    before = interpreted()
    if before is not None:
        names = {op.name for op in ops}
        before["rows"] = [row for row in before["rows"] if row["op"] in names]
        seed = before["seed"] if seed is None and ON_GPU else seed
    found = check_all(ops, ALL if ON_GPU else TWO_SMALL, workers, clock, note, seed)
    return finished(write_check(found, place, before))


def smoke(
    ops: Sequence[Op], workers: int, clock: Clock, note: Note, seed: int | None = None
) -> Report:
    """Every kernel once in every type: a few cases an op, and products as large as are timed."""
    products = [spec for spec in specs(not ON_GPU, [op.name for op in ops]) if _is_large(spec)]
    large: list[Any] = []
    errors: list[str] = []

    def take(spec: Spec, row: Any, error: str) -> None:
        errors.extend(f"{spec}: {e}" for e in ([error] if error else row.errors))
        if row is not None:
            large.append(row)
            note("", {"row": row})

    found = as_json(check_all(ops, SMOKE, workers, clock, note, seed))
    cut = run_all(compared, products, workers, clock, take)
    errors += remarks(large)
    return finished(found | {"errors": errors}, [str(spec) for spec in cut])


def _is_large(spec: Spec) -> bool:
    return spec.family == "matmul" and not spec.case.startswith("8192")


def finished(found: Report, cut: Sequence[str] = ()) -> Report:
    """With what the clock cut off, and whether what it did not cut off is wrong."""
    late = [what for what, why in found["not_checked"].items() if why == NO_RESULT]
    wrong = not found["ok"] and bool(found["rows"] or not late)
    return found | {"cut": [*late, *cut], "wrong": wrong}


def shown(found: Report, most: int = MOST_SHOWN) -> list[str]:
    """A line for each type, all that is wrong, and what is not as it was when interpreted."""
    lines = [f"again: {found['command']}"]
    for one in found["summary"]:
        counts = {what: one[what] for what in ("passed", "failed", "errors", "missing")}
        lines.append(
            f"{one['backend']} {one['dtype']}: {one['ops']} ops, "
            + ", ".join(f"{n} {what}" for what, n in counts.items() if n)
            + f"; {one['cases']} cases, {one['numbers']:,} numbers; largest error "
            f"{float(one['ratio']):.2f} of its bound" + (f" ({one['at']})" if one["at"] else "")
        )
    if not found["rows"]:
        lines.append("NOTHING WAS CHECKED")
    elif not found["ok"]:
        lines.append("NOT ALL OF IT IS RIGHT")
    for row in [row for row in found["rows"] if row["status"] != "pass"][:most]:
        message = " ".join(row["message"].split())[-160:]
        lines.append(f"  {row['status'].upper()} {row['op']} {row['dtype']}: {message}")
        lines += [f"    {one['replay']}" for one in row["failures"][:1]]
    lines += [f"  ERROR {error[:170]}" for error in found.get("errors", [])[:most]]
    if "changes" in found:
        lines += ["against the interpreted check:"]
        lines += changes.lines(found["changes"], found["seed"], most)
    return lines
