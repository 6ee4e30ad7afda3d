"""A graph of 10,000 ops: run by a session, beside the same computation done eagerly.

    pytest tests/benchmarks/test_session.py

Each of 64 numbers is multiplied by 0.999 and shifted by 0.001, five thousand times over. The work on
the numbers is next to nothing, so what is measured is what each op costs on its way: eager, with a
record for gradients; a session, which runs a program written down before; and the same lines of NumPy.
Contenders take turns in one run. Medians, ratios, the cost of the first run and peak memory are printed.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc

import numpy as np

import refnet

OPS = 10_000
ROUNDS = 15
DATA = np.linspace(0, 1, 64, dtype="float32")


def chain(x):
    for _ in range(OPS // 2):
        x = x * 0.999 + 0.001
    return x


def eager():
    return chain(refnet.tensor(DATA)).numpy()


def numpy():
    return chain(DATA)


def timed(run):
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def peak(run):
    tracemalloc.start()
    run()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 1e6


def test_ten_thousand_ops(benchmark, capsys):
    with refnet.Graph() as graph:
        x = refnet.placeholder((64,), name="x")
        building, y = timed(lambda: chain(x))
        half = graph.nodes[OPS // 2 - 1].output(0)
    session = refnet.Session(graph, "numpy")
    first, _ = timed(lambda: session.run(y, {x: DATA}))
    contenders = {
        "NumPy by itself": numpy,
        "eager": eager,
        "session": lambda: session.run(y, {x: DATA}),
        "session, half of the graph": lambda: session.run(half, {x: DATA}),
    }
    assert len(graph.nodes) == OPS
    assert np.array_equal(eager(), contenders["session"]())
    contenders["session, half of the graph"]()
    samples = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, run in contenders.items():
            samples[name].append(timed(run)[0])
    medians = {name: statistics.median(s) for name, s in samples.items()}
    benchmark.extra_info.update(samples=samples, first_run=first, building=building)
    benchmark.pedantic(contenders["session"], rounds=ROUNDS)
    with capsys.disabled():
        print(f"\n\n{OPS} ops on 64 numbers, medians of {ROUNDS} interleaved runs")
        for name, seconds in medians.items():
            ratio, memory = seconds / medians["eager"], peak(contenders[name])
            each = seconds / OPS * 1e6
            print(
                f"  {name:27} {each:6.2f} us an op   {ratio:5.2f} x eager   peak {memory:7.2f} MB"
            )
        print(f"  building the graph {building / OPS * 1e6:.1f} us an op; ", end="")
        print(f"the first run, which writes the program, {first / OPS * 1e6:.1f} us an op")
