"""The file of results: what was found, where and with what; and the rows as lines of text."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from refnet.base.files import plain, replace_file
from refnet_triton.bench.measure import Row
from refnet_triton.bench.suite import ORDER
from refnet_triton.bench.timing import ON_GPU

# isort: split
import numpy as np
import torch
import triton

ROOT = Path(__file__).resolve().parent.parent.parent

# -- rows as text ----------------------------------------------------------------------------------

HEAD = f"{'':34}{'':26}{'':>10}{'floor':>10}{'us':>10}{'% limit':>9}{'eager':>8}{'compile':>9}"


def line(row: Row) -> str:
    """One row, in the columns of `HEAD`."""
    if row.microseconds is None:
        return f"{row.op:34}{row.case:26}{row.dtype:>10}  {row.note or '; '.join(row.errors)}"
    return (
        f"{row.op:34}{row.case:26}{row.dtype:>10}{_shown(row.floor, 10)}{row.microseconds:10.1f}"
        f"{_shown(row.percent, 9)}{_shown(row.eager, 8, 2)}{_shown(row.compiled, 9, 2)}"
    )


def table(rows: Sequence[Row], each: int | None = None) -> list[str]:
    """The rows, the worst first within each family; at most `each` of a family."""
    order = {name: number for number, name in enumerate(ORDER)}
    timed = [row for row in rows if row.microseconds]
    timed.sort(key=lambda r: (order.get(r.family, len(order)), r.family, r.percent or math.inf))
    lines = [HEAD]
    for _, family in groupby(timed, key=lambda row: row.family):
        members = list(family)
        lines += map(line, members[:each])
        if each and len(members) > each:
            more = len(members) - each
            lines.append(f"  ... and {more} better row{'s' * (more > 1)} of this family")
    return lines


def _shown(value: float | None, width: int, digits: int = 1) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def remarks(rows: Sequence[Row]) -> list[str]:
    """Rows whose result is not PyTorch's. It may be PyTorch's that is off: the check says."""
    tolerated = {"float32": 1e-4, "float16": 2e-3, "bfloat16": 2e-2}
    return [
        f"{row}: the result is {row.difference:.2g} away from PyTorch's"
        for row in rows
        if row.difference is not None and not row.difference <= tolerated[row.dtype]
    ]


# -- where and with what it ran --------------------------------------------------------------------


def output(*command: str, seconds: float = 30.0) -> str | None:
    """What a program prints; None if it is not here, fails, or takes too long."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=True
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
        "commit": output("git", "rev-parse", "HEAD") or os.environ.get("REFNET_COMMIT"),
        "uncommitted_changes": output(
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
            "driver": (output(*query) or "").partition("\n")[0],
            "cuda": torch.version.cuda or torch.version.hip,
        }
    return found


def as_data(value: Any) -> Any:
    """Rows as dicts, paths as text, NaN and infinity as words: what JSON has."""
    if isinstance(value, Row):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_data(item) for item in value]
    return plain(value) if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def write(path: Path, report: dict[str, Any]) -> None:
    """Write as JSON: the old file or the new one, whole, is there at any moment."""
    replace_file(path, json.dumps(as_data(report), indent=1, allow_nan=False).encode())


def place_for(folder: Path, report: dict[str, Any]) -> Path:
    """folder/<date>-<device>.json, numbered if that name is taken, and taken by a journal from now on.

    Whatever begins with a name takes it: the journal of a run that was lost is all that is left of it.
    """
    device = report["device"] if report["measurement"] else "no-measurement"
    name = f"{report['date'][:10]}-{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}"
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        place = folder / f"{name}{f'-{number}' if number > 1 else ''}.json"
        taken = {path.name.partition(".")[0] for path in folder.glob(f"{name}*")}
        if place.stem not in taken:
            with contextlib.suppress(FileExistsError):  # of a run that began at the same moment
                place.with_suffix(".journal").touch(exist_ok=False)
                return place
    raise AssertionError("there is always a next number")
