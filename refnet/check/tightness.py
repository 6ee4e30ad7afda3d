r"""Is a bound tight? The largest error ever measured, over many random inputs, in units of the bound.

A bound that nothing comes near proves little: a wrong kernel may hide below it. So each op is tried on
thousands of inputs drawn anew, and the largest ratio error / bound is noted. It has to be at most 1,
and for a bound worth its name at least 1/16. Bounds of 0 (nothing is rounded) are as tight as can be.

    python -m refnet.check.tightness docs/bounds.md      # measure, and write the page (takes minutes)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

from refnet import backend as backends
from refnet.backend import Backend
from refnet.errors import RefnetError
from refnet.op import Op
from refnet.op.columns import Case
from refnet.proof.judge import Verdict, all_ops, cases_of, compare

LOOSEST = 1 / 16
LARGE = 10_000  # elements: cases of more are tried once


@dataclass(frozen=True)
class Tightness:
    """`cases` runs of an op; `ratio` is the largest error found, in units of its bound.

    `exact` says that the op rounds nothing in this type; `worst` is the run of the largest error, None if
    none was off at all, and `seed` that of its inputs.
    """

    op: str
    dtype: str
    backend: str
    cases: int
    ratio: float
    exact: bool = False
    worst: Verdict | None = None
    seed: int = 0

    @property
    def ok(self) -> bool:
        """Whether the bound was kept, and came within a factor of 16 of what was measured."""
        return self.ratio == 0 if self.exact else LOOSEST <= self.ratio <= 1


def rounds(op: Op, dtype: str = "float32") -> bool:
    """Whether the op rounds at all in this type: its bound is not 0, nor does it cast to more digits."""
    widens = op.name in ("cast", "cast_vjp") and dtype != "float64"
    return op.error is not None and str(op.error) != "0" and not widens


def measure(op: Op, dtype: str, backend: Backend, runs: int, first: int = 0) -> Tightness:
    """Try an op on `runs` inputs: all of its cases in turn, with the random numbers of the next seed."""
    done, ratio, worst, of = 0, 0.0, None, first
    for case, seed in islice(_draws(op, first), runs):
        found, done = compare(op, case, dtype, backend, seed), done + 1
        if found.ratio > ratio:
            ratio, worst, of = found.ratio, found, seed
    exact = not rounds(op, dtype)
    return Tightness(op.name, dtype, backend.name, done, ratio, exact, worst, of)


def _draws(op: Op, first: int) -> Iterator[tuple[Case, int]]:
    cases = list(cases_of(op))
    yield from ((case, first) for case in cases)
    small = [c for c in cases if _size(c) <= LARGE]
    for seed in count(first + 1) if small else ():
        yield from ((case, seed) for case in small)


def _size(case: Case) -> int:
    return sum(np.size(x) for x in case.make(np.random.default_rng(0)))


# -- the page --------------------------------------------------------------------------------------

COLUMNS = (
    ("NumPy, float32", "numpy", "float32", 10_000),
    ("Triton, float32", "triton", "float32", 100),
    ("Triton, bfloat16", "triton", "bfloat16", 100),
)
PAGE = """\
# How wrong a result may be

Every op has a bound on the error of each element, derived from its formula (`refnet/proof/bounds.py`),
and every backend has to hold it on every case. The exact result is the formula of the reference in a
longer type (`refnet/proof/exact.py`): float64, and for float64 the processor's longer one, where it has
one; on the same inputs, which are rounded to the type under test beforehand.

| bound | means | for |
| --- | --- | --- |
| 0 | the same number | what is moved, compared or counted |
| n ulp | abs(ŷ − y) ≤ n · ulp(y) | elementwise functions |
| n ulp of its terms | abs(ŷ − y) ≤ n · ulp(largest term) | where terms cancel |
| c·u·√n·Σ\\|terms\\| | abs(ŷ − y) ≤ c · u · √n · Σ abs(term) + ulp(y) | sums and products of n terms |

u is the unit roundoff of the arithmetic: 2⁻²⁴ for float32 and for the half types, which are computed
in float32 and rounded once more when they are stored, 2⁻⁵³ for float64. The last line is the
probabilistic bound of N. J. Higham and T. Mary, "A new approach to probabilistic rounding error
analysis", SIAM Journal on Scientific Computing 41 (2019): rounding errors of both signs add up as √n;
the certain bound with n in place of √n (N. J. Higham, *Accuracy and Stability of Numerical Algorithms*,
2002, section 3.1) is never seen. Bounds of functions such as eˣ hold on every machine: where NumPy uses
AVX-512, its float32 functions are off by up to 3.3 ulp (ln) and 2.4 ulp (eˣ, and eˣ - 1).

## How near anything comes

The largest error measured, in units of the bound: {what}.
A kept bound is at most 1; one that nothing comes near, below {loosest:.4f} = 1/16, would be too loose.
{verdict}

| op | bound | {titles} |
| --- | --- | {rules} |
{rows}

Written by `python -m refnet.check.tightness docs/bounds.md`.
"""


def page() -> str:
    """Measure everything this machine can run, and describe it in Markdown."""
    columns = [c for c in COLUMNS if _there(c[1])]
    rows, loose, tried = [], [], 0
    for op in all_ops():
        cells = []
        for _, backend, dtype, runs in columns:
            if not rounds(op, dtype):
                cells.append("exact" if str(op.error) == "0" else "-")
                continue
            found = measure(op, dtype, backends.get(backend), runs)
            cells.append(f"{found.ratio:.2f}")
            tried += 1
            if not found.ok:
                loose.append(f"`{op.name}` in {dtype} on {backend} ({found.ratio:.3f})")
        bound = str(op.error).replace("|", "\\|")
        rows.append(f"| `{op.name}` | {bound} | {' | '.join(cells)} |")
    what = ", ".join(f"{runs:,} random cases an op on {title}" for title, _, _, runs in columns)
    verdict = f"Outside of both: {', '.join(loose)}." if loose else f"All {tried} are between."
    titles, rules = " | ".join(c[0] for c in columns), " | ".join("---" for _ in columns)
    return PAGE.format(
        what=what,
        loosest=LOOSEST,
        verdict=verdict,
        titles=titles,
        rules=rules,
        rows="\n".join(rows),
    )


def _there(name: str) -> bool:
    try:
        backends.get(name)
    except RefnetError:
        return False
    return True


def main(arguments: Sequence[str]) -> None:
    """Write the page to the file named, or print it."""
    text = page()
    if arguments:
        Path(arguments[0]).write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
