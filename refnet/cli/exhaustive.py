"""What ``refnet check --exhaustive`` does: every float32 there is, part by part, kept as it goes."""

from __future__ import annotations

import argparse
from pathlib import Path

from refnet import backend as backends
from refnet.check.exhaustive import PARTS, Part, exhaust, is_unary, missing, read, write
from refnet.cli.output import BAD, GOOD, HEADING, duration, say
from refnet.errors import ArgumentError
from refnet.op import TABLE


def run(arguments: argparse.Namespace) -> int:
    """Try what is not in the file yet; the exit code is 1 if anything is out of its bound."""
    wanted = vars(arguments)
    if "op" not in wanted:
        raise ArgumentError("--exhaustive takes --op NAME: which functions of one number?")
    ops = [TABLE[name] for name in dict.fromkeys(wanted["op"])]
    for op in ops:
        if not is_unary(op):
            raise ArgumentError(
                f"{op.name} is no function of one number: there are too many inputs"
            )
    path: Path | None = wanted.get("json")
    done = read(path) if path else []
    only = _part(wanted["part"]) if "part" in wanted else None
    ok = True
    for name in wanted.get("backend", ["numpy"]):
        there = backends.get(name)
        for op in ops:
            say(f"{op.name} on {name}", HEADING)
            for part, given in [*missing(op, there, done)]:
                if only in (None, part):
                    found = exhaust(op, there, part, given)
                    done.append(found)
                    ok &= not found.complaint
                    _say(found)
                    if path:
                        write(path, done)
    return 0 if ok else 1


def _part(text: str) -> int:
    number, _, of = text.partition("/")
    if not number.isdecimal() or of != str(PARTS) or not 1 <= int(number) <= PARTS:
        raise ArgumentError(f"--part is one of 1/{PARTS} to {PARTS}/{PARTS}, got {text}")
    return int(number)


def _say(found: Part) -> None:
    given = f" {found.settings}" if found.settings else ""
    say(
        f"  part {found.part}/{PARTS}{given}, {found.numbers:,} numbers, {duration(found.seconds)}: "
        + (found.complaint or f"the largest error is {found.ratio:.3g} of the bound, at {found.x}"),
        BAD if found.complaint else GOOD,
    )
