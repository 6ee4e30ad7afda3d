"""A check as JSON, for programs: written, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from refnet.base.files import plain, replace_file
from refnet.check import baseline
from refnet.check.result import Report, Row
from refnet.errors import FileError

SCHEMA = 1
ABOUT = ["seed", "quick", "command", "seconds", "machine", "backends", "poisoned", "not_checked"]


def as_json(report: Report, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The report as what JSON knows; infinity and NaN as text.

    ``rows`` has one entry for each op, backend and type: op, file, backend, dtype, status ("pass",
    "fail", "error" or "missing"), cases, numbers, error, bound, ratio, where (case, output, index, got,
    expected), message, seconds, and failures, each with the command that runs it again.

    ``changes`` is there if an earlier check is given, as `read_json` reads it: see
    `refnet.check.baseline`.
    """
    found = {
        "schema": SCHEMA,
        "ok": report.ok(),
        **{name: getattr(report, name) for name in ABOUT},
        "summary": [vars(one) for one in report.summaries()],
        "rows": [row_as_json(row, report.seed) for row in report.rows],
    }
    if before is not None:
        found["changes"] = baseline.changes(found, before)
    return plain(found)


def row_as_json(row: Row, seed: int) -> dict[str, Any]:
    """One of the ``rows`` of `as_json`."""
    names = ("op", "file", "backend", "dtype", "status", "cases", "numbers", "message", "seconds")
    worst = row.worst
    return {
        **{name: getattr(row, name) for name in names},
        "error": worst.error if worst else 0.0,
        "bound": worst.bound if worst else 0.0,
        "ratio": row.ratio,
        "where": _where(worst) if worst else None,
        "failures": [
            {
                **_where(one),
                **{name: getattr(one, name) for name in ("complaint", "error", "bound", "ratio")},
                "replay": row.replay(seed, one.case),
            }
            for one in row.failures
        ],
    }


def _where(found: Any) -> dict[str, Any]:
    """The element that a `Verdict` or a `Failure` is about."""
    return {name: getattr(found, name) for name in ("case", "output", "index", "got", "expected")}


def write_json(report: Report, path: str | Path, before: dict[str, Any] | None = None) -> Path:
    """Write `as_json` to a file, whole or not at all."""
    text = json.dumps(as_json(report, before), indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(Path(path), (text + "\n").encode())
    return Path(path)


#: what is read of an earlier check and of its rows, and its types
EARLIER = {"seed": int, "quick": bool, "machine": dict, "backends": dict, "rows": list}
TEXTS, NUMBERS = ("op", "backend", "dtype", "status"), ("error", "bound", "ratio")


def read_json(path: str | Path) -> dict[str, Any]:
    """An earlier check, as `write_json` wrote it."""
    try:
        found = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise FileError(f"{path}: cannot read it ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is no JSON, or damaged: {error}") from error
    wrong = FileError(f"{path} is no report of a check: refnet check --json writes one")
    if not isinstance(found, dict) or "schema" not in found:
        raise wrong
    if found["schema"] != SCHEMA:
        raise FileError(
            f"{path} was written by another version of refnet: its schema is {found['schema']!r}, "
            f"this one reads {SCHEMA}"
        )
    if not all(type(found.get(name)) is kind for name, kind in EARLIER.items()):
        raise wrong
    for number, row in enumerate(found["rows"]):
        if not _is_row(row):
            raise FileError(f"{path}: row {number} is damaged, or not of a check")
    return found


def _is_row(row: Any) -> bool:
    """Whether this is a row as `_row` makes it, as far as it is read again."""
    try:
        where = row["where"]
        place = where is None or isinstance(where["index"], list)
        named = where is None or all(isinstance(where[name], str) for name in ("case", "output"))
        sizes = [float(row[name]) >= 0 for name in NUMBERS]
        return place and named and all(sizes) and all(isinstance(row[name], str) for name in TEXTS)
    except (KeyError, TypeError, ValueError):
        return False
