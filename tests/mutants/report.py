"""The page of mutants: how many were killed, which survived and why. docs/mutants.md."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

from .equivalent import REASONS

Row = dict[str, Any]

HEAD = """# Do the tests notice?

One small fault at a time is put into a file: a `+` becomes `-`, a `<` becomes `<=`, a number is one
too large, a minus sign, a statement or a mask is gone, two arguments change places, `max` stands for
`min`. The tests concerned run on each such *mutant*. A test that fails, an import that fails,
a crash, or a test that takes more than a minute *kills* it. A mutant that *survives* is either no fault
at all (it computes the same, or as well; the reason stands below) or shows a test that is missing.

Docstrings, decorators (cases, bounds, kinks), type hints, errors and `strict=True` are left alone, and so
are the functions of `refnet/ops` that only cases and bounds use. Kernels run in Triton's interpreter, in
its sizes and in those of a GPU, with every load and store guarded; what the compiler makes of them is not
judged here. Of the test files, those run that try ops one by one (`test_table.py`, `test_twins.py`,
`test_shapes.py`, `test_addresses.py`) and those that belong to the op file; not all. What stands above
the ops (losses, metrics, tensors, back-propagation, layers, parameters, training, models) is tried with
NumPy's tests alone.

`make mutants` writes this page, each section of it when its mutants were tried.
"""

TABLE = """
| file | mutants | tried | killed | survived | of these explained | killed of all | killed of the rest |
|---|---:|---:|---:|---:|---:|---:|---:|
"""


def read(path: Path) -> dict[str, Row]:
    """The verdicts of earlier runs by their key."""
    if not path.exists():
        return {}
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return {row["key"]: row for row in rows}


def name(row: Row) -> str:
    """`path: before → after`, which stays the same when lines are added above."""
    lines = row["diff"].splitlines()
    before = " ".join(line[2:] for line in lines if line.startswith("-"))
    after = " ".join(line[2:] for line in lines if line.startswith("+"))
    return f"{row['path']}: {before} → {after}"


def why(row: Row) -> str:
    """Why a survivor is no fault, or ""."""
    return next((reason for reason, names in REASONS.items() if name(row) in names), "")


def page(
    made: dict[str, dict[str, list[str]]], known: dict[str, Row], seed: int, before: str = ""
) -> str:
    """The page, of the keys of all mutants of each file of each side, and the verdicts there are.

    A side of which nothing was tried keeps its section of the page before.
    """
    kept = {part.partition("\n")[0]: part for part in before.split("\n## ")[1:]}
    parts = [HEAD]
    for title, files in made.items():
        tried = {path: [known[key] for key in keys if key in known] for path, keys in files.items()}
        rows = [row for those in tried.values() for row in those]
        if not rows and title in kept:
            parts.append(f"\n## {kept[title].rstrip()}\n")
        else:
            parts.append(_section(title, files, tried, seed))
    return "".join(parts)


def _section(
    title: str, files: dict[str, list[str]], tried: dict[str, list[Row]], seed: int
) -> str:
    rows = [row for those in tried.values() for row in those]
    count = sum(map(len, files.values()))
    sample = f"A random sample (seed {seed}): {len(rows)} of {count} mutants"
    parts = [f"\n## {title}\n\n"]
    parts.append(sample if len(rows) < count else f"All {count} mutants")
    parts.append(f"; {datetime.date.today()}, commit {_commit()}.\n")
    parts.append(TABLE)
    parts += [_line(f"`{Path(path).name}`", len(files[path]), tried[path]) for path in files]
    parts.append(_line("all", count, rows))
    alive = [row for row in rows if row["outcome"] == "survived"]
    parts.append(_survivors("Survivors without a reason", [r for r in alive if not why(r)]))
    parts.append(_survivors("Survivors with a reason", [r for r in alive if why(r)]))
    return "".join(parts)


def _line(title: str, count: int, rows: list[Row]) -> str:
    alive = [row for row in rows if row["outcome"] == "survived"]
    killed, excused = len(rows) - len(alive), sum(bool(why(row)) for row in alive)
    shares = [f"{100 * killed / n:.1f} %" if n else "–" for n in (len(rows), len(rows) - excused)]
    cells = title, count, len(rows), killed, len(alive), excused, *shares
    return f"| {' | '.join(map(str, cells))} |\n"


def _survivors(title: str, rows: list[Row]) -> str:
    if not rows:
        return ""
    text = f"\n### {title}\n"
    reasons: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["path"], row["line"])):
        reasons.setdefault(why(row), []).append(row)
    for reason, those in reasons.items():
        text += f"\n{reason}\n" if reason else ""
        for row in those:
            text += f"\n`{row['path']}:{row['line']}`, {row['function']}\n\n"
            text += f"```diff\n{row['diff']}\n```\n"
    return text


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "refnet", "refnet_triton", "tests")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + " and changes since" * bool(changed)
