"""What changed between two checks: another machine, compiled and interpreted, before and after an edit.

Both come as `refnet.report.as_json` writes them. The largest error of a row, in units of its bound, is
the largest of many; other inputs move it a little, and a kernel that computes in another way moves it
more. Rows in which it differs by more than `FACTOR` are listed, to be explained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

FACTOR = 2.0
OTHER_INPUTS = "OTHER INPUTS"
TRIED = ("pass", "fail")  # a row that was cut short by an exception has no largest error

Json = dict[str, Any]


def changes(now: Json, before: Json) -> Json:
    """Where the largest error / bound of an op in a type of a backend is another than it was.

    ``rows`` has an entry for each that differs by more than ``FACTOR``, the worst first: op, backend,
    dtype, factor, and error, bound, ratio and where, ``before`` and ``now``. ``compared`` counts the rows
    that both have, ``only_now`` and ``only_before`` those that one of them has. ``earlier`` says what
    the other check was, and ``same_inputs`` whether the seed is the same and both or none were quick.

    >>> row = {"op": "relu", "backend": "numpy", "dtype": "float32", "status": "pass"}
    >>> row |= {"error": 0.1, "bound": 1.0, "ratio": 0.1, "where": None}
    >>> check = {"seed": 1, "quick": False, "machine": {}, "backends": {}, "rows": [row]}
    >>> worse = {**check, "rows": [{**row, "error": 0.3, "ratio": 0.3}]}
    >>> found = changes(worse, check)
    >>> [(one["op"], one["before"]["ratio"], one["now"]["ratio"]) for one in found["rows"]]
    [('relu', 0.1, 0.3)]
    >>> found["compared"], changes(check, check)["rows"]
    (1, [])
    """
    after, was = _tried(now), _tried(before)
    both = [key for key in after if key in was]
    rows: list[Json] = [
        {
            **dict(zip(("op", "backend", "dtype"), key, strict=True)),
            "factor": _factor(was[key], after[key]),
            "before": _largest(was[key]),
            "now": _largest(after[key]),
        }
        for key in both
    ]
    changed = [row for row in rows if row["factor"] > FACTOR]
    changed.sort(key=lambda row: (-row["factor"], -max(_ratio(row["before"]), _ratio(row["now"]))))
    return {
        "earlier": {name: before[name] for name in ("seed", "quick", "machine", "backends")},
        "same_inputs": (now["seed"], now["quick"]) == (before["seed"], before["quick"]),
        "compared": len(both),
        "only_now": len(after) - len(both),
        "only_before": len(was) - len(both),
        "rows": changed,
    }


def _tried(check: Json) -> dict[tuple[str, str, str], Json]:
    return {
        (row["op"], row["backend"], row["dtype"]): row
        for row in check["rows"]
        if row["status"] in TRIED
    }


def _ratio(row: Json) -> float:
    return float(row["ratio"])  # infinity is text in JSON


def _factor(one: Json, other: Json) -> float:
    """The larger ratio over the smaller: 1 if they are equal, infinite if only one is 0 or infinite."""
    small, large = sorted((_ratio(one), _ratio(other)))
    return 1.0 if small == large else large / small if small else math.inf


def _largest(row: Json) -> Json:
    return {name: row[name] for name in ("error", "bound", "ratio", "where")}


def lines(found: Json, seed: int, most: int | None = None) -> Iterator[str]:
    """What `changes` found, to be read; at most `most` rows. `seed` is that of the check of now."""
    yield f"The earlier check: {', '.join(described(found))}"
    yield inputs(found, seed)
    yield (
        f"{len(found['rows'])} of {found['compared']} rows differ by more than a factor {FACTOR:g} in "
        f"their largest error / bound; only this check has {found['only_now']} rows, only the earlier "
        f"one {found['only_before']}"
    )
    for row in found["rows"][:most]:
        yield f"{float(row['factor']):8.1f} x  {row['op']} on {row['backend']} in {row['dtype']}"
        for when in ("before", "now"):
            yield f"{'':12}{when:6} {size(row[when])}"
    if most is not None and len(found["rows"]) > most:
        yield f"{'':12}and {len(found['rows']) - most} more"


def described(found: Json) -> list[str]:
    """When and where the earlier check ran, and its backends."""
    machine, backends = found["earlier"]["machine"], found["earlier"]["backends"]
    about = [machine.get("date"), machine.get("commit") and f"commit {machine['commit']}"]
    return [*map(str, filter(None, about)), *(f"{name}: {line}" for name, line in backends.items())]


def inputs(found: Json, seed: int) -> str:
    """Whether both checks saw the same inputs."""
    if found["same_inputs"]:
        return f"Both drew their inputs from seed {seed}"
    then = found["earlier"]["seed"]
    why = f"the seed was {then} and is {seed}" if then != seed else "one of the two was quick"
    return f"{OTHER_INPUTS}: {why}; a part of any difference is chance"


def size(one: Json) -> str:
    """A largest error: in units of its bound, as it is, and where."""
    error, bound, ratio = (float(one[name]) for name in ("error", "bound", "ratio"))
    where = one["where"] or {}
    at = f", {where['case']}: {where['output']}{where['index'] or ''}" if where else ""
    return f"{ratio:.3f} (error {error:.3g}, bound {bound:.3g}{at})"
