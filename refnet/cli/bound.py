"""refnet bound: measure the error of an op and of its gradient, in units of their bounds.

Each is run on many inputs, all of its cases with new random numbers each time. A bound has to be kept,
and to lie within 16 times the largest error that is seen: below a looser one a wrong result could hide.
How a bound is derived is told in docs/deriving_bounds.md.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any

import numpy as np

from refnet import backend as backends
from refnet.base.arguments import one_of
from refnet.check.result import command
from refnet.check.tightness import LOOSEST, Tightness, measure
from refnet.cli.output import BAD, GOOD, HEADING, QUIET, say, seed, whole
from refnet.errors import ArgumentError
from refnet.op import TABLE
from refnet.proof.exact import LONGER


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add, default = parser.add_argument, argparse.SUPPRESS
    several: dict[str, Any] = {"nargs": "+", "metavar": "NAME"}
    add("op", help="its name; its gradient is measured with it")
    add("--backend", **several, default=["numpy"], help="where to run it")
    add("--dtype", **several, default=["float32"], help="in which types")
    add(
        "--runs", type=whole, default=1000, help="inputs to try, at most; large ones are tried once"
    )
    add("--seed", type=seed, default=default, help="of the first inputs; default: 0")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 if a bound is broken, or too loose."""
    op, first, ok = TABLE[arguments.op], getattr(arguments, "seed", 0), True
    pairs = list(product(map(backends.get, arguments.backend), arguments.dtype))
    for there, dtype in pairs:
        one_of(f"--dtype on {there.name}", dtype, there.dtypes)
        if (there.name, dtype) == ("numpy", np.dtype(LONGER)):
            raise ArgumentError("NumPy in float64 is the reference itself: nothing to measure")
    for one in filter(None, (op, op.gradient)):
        results = [measure(one, dtype, there, arguments.runs, first) for there, dtype in pairs]
        say(f"{one.name}: {one.error}", HEADING)
        for found in results:
            _say(found)
        ok &= all(found.ok for found in results)
    return 0 if ok else 1


def _say(found: Tightness) -> None:
    """A line for what was found, and one to run the worst of it again."""
    where = f"  {found.backend} {found.dtype}, {found.cases:,} runs: "
    say(where + judgement(found), GOOD if found.ok else BAD)
    if found.worst is not None:
        again = command([found.op], [found.dtype], [found.backend], [found.worst.case], found.seed)
        say(f"    the largest: {again}", QUIET)


def judgement(found: Tightness) -> str:
    """What the measurement says of the bound."""
    if found.ratio > 1:
        assert found.worst is not None
        return f"BROKEN at {found.worst.case}: {found.worst.complaint}"
    if found.exact:
        return "exact, as the bound says"
    if found.ratio == 0:
        return "TOO LOOSE: no error at all was seen"
    seen = f"the largest error is {found.ratio:.3g} of the bound"
    if found.ratio < LOOSEST:
        return f"TOO LOOSE by {LOOSEST / found.ratio:.1f}: {seen}, less than 1/16"
    return f"kept: {seen}"
