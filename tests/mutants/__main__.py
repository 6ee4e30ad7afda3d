"""python -m tests.mutants [refnet refnet_triton above] [--sample N --seed S] [--jobs J] [--file NAME]."""

from __future__ import annotations

import argparse
import json
import os
import random
from dataclasses import asdict
from pathlib import Path

from . import report
from .mutator import Mutant, mutants
from .runner import ROOT, above, fingerprint, verdicts, warm_up, watch

SIDES = {
    "refnet": "refnet/ops",
    "refnet_triton": "refnet_triton/ops",
    "above": "refnet, above the ops",
}
ALIVE = {"outcome": "survived"}  # what has not been tried


def all_mutants(side: str, only: str) -> dict[str, list[Mutant]]:
    """The mutants of each file of a side."""
    found = {}
    files = [*(ROOT / side / "ops").glob("*.py")]
    if side == "above":
        files = [file for file in (ROOT / "refnet").rglob("*.py") if above(file.relative_to(ROOT))]
    for file in sorted(files):
        path = file.relative_to(ROOT).as_posix()
        if file.stem != "__init__" and only in ("", file.stem):
            found[path] = mutants(file.read_text(), path)
    return found


def key(mutant: Mutant) -> str:
    """The mutant, and the text it was made of."""
    return f"{fingerprint(mutant.path)} {mutant.path} {mutant.start} {mutant.end} {mutant.new}"


def judge(side: str, only: str, sample: int, seed: int, jobs: int, results: Path) -> None:
    """Try the mutants of a side that no earlier run killed; write down each verdict."""
    known = report.read(results)
    made = [mutant for found in all_mutants(side, only).values() for mutant in found]
    random.Random(seed).shuffle(made)  # a run that is interrupted is a sample too
    chosen = [
        m for m in made[: sample or None] if known.get(key(m), ALIVE)["outcome"] == "survived"
    ]
    paths = sorted({above(m.path) or m.path: m.path for m in chosen}.values())  # one of each part
    unharmed = [(path, None) for path in paths if f"{fingerprint(path)} {path}" not in known]
    if side == "above" and chosen:
        watch(sorted({ROOT / mutant.path for mutant in chosen}), jobs)
    tried = verdicts([*((mutant.path, mutant) for mutant in chosen), *unharmed], jobs)
    for number, ((path, mutant), verdict) in enumerate(tried, 1):
        if mutant is None and verdict.outcome == "killed":
            raise SystemExit(f"refnet: tests fail without a fault in {path}: {verdict.by}")
        row = {"key": f"{fingerprint(path)} {path}", "path": path, **asdict(verdict)}
        if mutant:
            diff = mutant.diff((ROOT / path).read_text())
            row |= {"key": key(mutant), "function": mutant.function, "line": mutant.line}
            row |= {"kind": mutant.kind, "diff": diff}
        with results.open("a") as out:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        what = f"{path}:{mutant.line} {mutant.kind}" if mutant else f"{path} without a fault"
        count = f"{number}/{len(unharmed) + len(chosen)}"
        print(f"{count} {verdict.outcome} {verdict.seconds:.1f} s {what} {verdict.by}", flush=True)


def main() -> None:
    """Judge the mutants that have no verdict yet, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("sides", nargs="*", help=f"{', '.join(SIDES)}; default: all")
    parser.add_argument("--sample", type=int, default=0, help="so many of each side; default: all")
    parser.add_argument("--seed", type=int, default=0, help="which ones a sample takes")
    parser.add_argument("--file", default="", help="one file only, such as softmax")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "mutants.md")
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "runs" / "mutants.jsonl",
        help="verdicts; a later run with the same file tries what is new and what survived",
    )
    given = parser.parse_args()
    if unknown := set(given.sides) - set(SIDES):
        parser.error(f"sides are {', '.join(SIDES)}, got {', '.join(sorted(unknown))}")
    given.results.parent.mkdir(parents=True, exist_ok=True)
    warm_up()
    for side in given.sides or SIDES:
        judge(side, given.file, given.sample, given.seed, given.jobs, given.results)
    keys = {
        title: {path: [*map(key, found)] for path, found in all_mutants(side, "").items()}
        for side, title in SIDES.items()
    }
    before = given.page.read_text() if given.page.exists() else ""
    given.page.write_text(report.page(keys, report.read(given.results), given.seed, before))
    print(f"refnet: wrote {given.page}")


if __name__ == "__main__":
    main()
