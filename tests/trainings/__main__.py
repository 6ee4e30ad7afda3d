"""python -m tests.trainings [--count N] [--seed S]: the largest difference, and where it is."""

from __future__ import annotations

import argparse

from . import __doc__ as about
from .compare import compare
from .recipe import draw

BOUND = 1e-8  # float64, after some dozens of steps: what is larger is no rounding


def main() -> int:
    """Compare, print; 1 if a training differs by more than rounding."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.trainings", description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="of the first; the next have the next")
    given = parser.parse_args()
    found = []
    for seed in range(given.seed, given.seed + given.count):
        found.append(compare(seed))
        if not found[-1].size <= BOUND or given.count == 1:
            one = found[-1]
            print(f"seed {seed}: {one.size:.2g} in {one.where}: {draw(seed)}", flush=True)
    worst = max(found, key=lambda one: one.size)
    wrong = sum(not one.size <= BOUND for one in found)
    print(
        f"{len(found)} trainings, {wrong} differ by more than {BOUND:g}; the largest difference is "
        f"{worst.size:.2g}, of seed {worst.seed}, in {worst.where}"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
