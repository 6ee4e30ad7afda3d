"""What `import refnet` costs over `import numpy`. The goal: less than 60 ms.

pytest tests/benchmarks/test_import.py

Compiled once, as after any first import: without bytecode Python would compile every file each time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
CONTENDERS = {
    "nothing": "pass",
    "numpy": "import numpy",
    "refnet": "import refnet",
}
ROUNDS, GOAL = 30, 0.060


def seconds_of(statement, bytecode):
    """What a statement takes in a fresh interpreter, by that interpreter's own clock."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    settings = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode), "PYTHONDONTWRITEBYTECODE": ""}
    run = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    return float(run.stdout)


def test_import(benchmark, capsys, tmp_path):
    seconds = {name: [] for name in CONTENDERS}

    def everyone_once():
        for name, statement in CONTENDERS.items():
            seconds[name].append(seconds_of(statement, tmp_path))

    benchmark.pedantic(everyone_once, rounds=ROUNDS, warmup_rounds=2)
    seconds = {name: samples[2:] for name, samples in seconds.items()}
    medians = {name: statistics.median(samples) for name, samples in seconds.items()}
    over = statistics.median(
        ours - numpy for ours, numpy in zip(seconds["refnet"], seconds["numpy"], strict=True)
    )
    benchmark.extra_info.update(medians=medians, over_numpy=over, samples=seconds)
    with capsys.disabled():
        print("".join(f"\n{name:20}{1e3 * time:8.1f} ms" for name, time in medians.items()))
        print(f"{'refnet over numpy':20}{1e3 * over:8.1f} ms", "met" if over < GOAL else "MISSED")
