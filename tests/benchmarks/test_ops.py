"""Every op of TABLE on the inputs it is timed with: on NumPy, and on Triton where there is a GPU.

    pytest tests/benchmarks/test_ops.py -k softmax

The suite is that of `refnet_triton.bench`: the `bench` cases of every row. On NumPy the arrays are of
a modest size, as on a laptop; on a GPU they are large, and the clock stops when the GPU is done. For
percent of the machine's limits and ratios to PyTorch: `make gpu`.
"""

from __future__ import annotations

import numpy as np
import pytest

from refnet.backend import NumPyBackend
from refnet.proof.judge import all_ops, arrays_for, inputs_for

ELEMENTS, LARGE = 1 << 16, 1 << 26
BRIEF = pytest.mark.benchmark(max_time=0.1, min_rounds=3)


def rows(elements):
    """(op, case) for every row of the suite."""
    return [
        pytest.param(op, case, id=f"{op.name}-{case.name}")
        for op in all_ops()
        for case in (op.primal or op).cases.bench(elements)
    ]


@BRIEF
@pytest.mark.parametrize(("op", "case"), rows(ELEMENTS))
def test_numpy(benchmark, op, case):
    inputs, attributes = inputs_for(op, case, "float32")
    arrays = arrays_for(NumPyBackend(), inputs, "float32", case.layout)
    benchmark.group = op.file
    with np.errstate(all="ignore"):
        benchmark(op.function, *arrays, **attributes)


@pytest.mark.gpu
@BRIEF
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("op", "case"), rows(LARGE))
def test_triton(benchmark, op, case, dtype):
    from refnet_triton.bench.inputs import backend, draw
    from refnet_triton.bench.timing import synchronize

    arrays, attributes = draw(op, case, dtype)
    function = backend().function(op)
    benchmark.group = op.file

    def run():
        function(*arrays, **attributes)
        synchronize()

    run()  # compiles
    benchmark(run)
