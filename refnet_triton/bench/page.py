"""docs/results/README.md: goal beside result for every measurement there is, read off the JSON files.

`make docs` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refnet.base.files import replace_file
from refnet_triton.bench.goals import ABSENT, GOALS, MET, MISSED
from refnet_triton.bench.results import ROOT

FOLDER = ROOT / "docs/results"
HEAD = """# What was measured

Written by `make docs` from the files in this folder: every result below stands
in one of them. `python -m refnet_triton.gpu` makes such a file on a machine that has a GPU.

"""
NOTHING = "**Nothing has been measured on a GPU yet.** The goals, for an H100 or H200:\n\n"


def measurements(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """(name, report) of every file of a measurement with goals and of all ops, the latest first."""
    found = []
    for path in folder.glob("*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        whole = report.get("measurement") and not report["options"]["ops"]
        if whole and verdicts(report):
            found.append((path.name, report))
    return sorted(found, key=lambda one: one[1]["date"], reverse=True)


def verdicts(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The goals of a report, from whichever part measured them."""
    return report.get("bench", {}).get("goals") or report.get("goals", {}).get("goals") or []


def text(folder: Path = FOLDER) -> str:
    """The page."""
    found = measurements(folder)
    return HEAD + "\n".join(_measured(found) if found else _goals()) + "\n"


def write(folder: Path = FOLDER) -> Path:
    """Write the page into the folder it is about."""
    path = folder / "README.md"
    replace_file(path, text(folder).encode())
    return path


def _goals() -> Iterator[str]:
    yield NOTHING.rstrip("\n")
    yield ""
    yield "| kernel | limit | goal | |"
    yield "| --- | --- | --- | --- |"
    for verdict in (goal.judge({"rows": []}) for goal in GOALS):
        absent = ABSENT if verdict["verdict"] == ABSENT else ""
        yield f"| {verdict['goal']} | {verdict['limit']} | {verdict['bound']} | {absent} |"


def _measured(found: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    for name, report in found:
        commit = str(report.get("commit") or report["sources_sha256"])[:12]
        versions = report["versions"]
        counts = [one["verdict"] for one in verdicts(report)]
        yield f"## {report['device']}, {report['date'][:10]}"
        yield ""
        yield (
            f"Commit {commit}{' and uncommitted changes' * bool(report.get('uncommitted_changes'))}, "
            f"torch {versions['torch']}, Triton {versions['triton']}, driver {report.get('driver')}: "
            f"[{name}]({name}). {counts.count(MET)} goals met, {counts.count(MISSED)} missed, "
            f"{len(counts) - counts.count(MET) - counts.count(MISSED)} not measured."
        )
        if report.get("cut"):
            yield f"Cut off: {'; '.join(report['cut'])}."
        yield ""
        yield "| kernel | goal | result (worst) | goal reached | verdict | where |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for one in verdicts(report):
            worst = one.get("worst")
            cells = ("", "", "")
            if worst:
                cells = f"{worst['value']:.2f}", f"{100 * one['ratio']:.0f} %", worst["where"]
            yield (
                f"| {one['goal']} | {one['bound']} | {cells[0]} | {cells[1]} | {one['verdict']} "
                f"| {cells[2]} |"
            )
        yield ""
