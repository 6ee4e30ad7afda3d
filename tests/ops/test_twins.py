"""Every op, on every backend, in every float type, on every case, against the bound of its row."""

import numpy as np
import pytest

from refnet import backend as backends
from refnet.backend import NumPyBackend
from refnet.base.dtypes import FORMATS
from refnet.errors import BackendError
from refnet.op import TABLE
from refnet.proof.judge import all_ops, arrays_for, cases_of, inputs_for

pytestmark = pytest.mark.usefixtures("poisoned")

BACKENDS = {"loopback": (NumPyBackend.dtypes, ()), "triton": (tuple(FORMATS), pytest.mark.triton)}
NAMES = [pytest.param(name, marks=marks) for name, (_, marks) in BACKENDS.items()]
GRID = [
    pytest.param(name, dtype, marks=marks, id=f"{name}-{dtype}")
    for name, (dtypes, marks) in BACKENDS.items()
    for dtype in dtypes
]
OPS = pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)


def test_every_op_is_compared():
    assert all_ops() == list(TABLE.values())


@pytest.mark.parametrize(("name", "dtype"), GRID)
@OPS
def test_within_the_bound(op, name, dtype, agree):
    agree(op, dtype, backends.get(name))


@pytest.mark.triton
@OPS
def test_within_the_bound_in_the_sizes_of_a_gpu(op, agree, interpreted):
    """The grids, blocks and tiles that a GPU gets. The interpreter takes fewer and larger ones."""
    from refnet_triton.runtime.device import as_on_a_gpu

    with as_on_a_gpu():
        agree(op, "float32", backends.get("triton"))


def largest_cases(op, count=3):
    def elements(case):
        return sum(np.size(x) for x in inputs_for(op, case, "float32")[0])

    return sorted(cases_of(op), key=elements)[-count:]


@pytest.mark.parametrize("name", NAMES)
@OPS
def test_same_bits_again_and_only_what_the_row_says_is_overwritten(op, name):
    backend = backends.get(name)
    for case in largest_cases(op):
        inputs, attributes = inputs_for(op, case, "float32")

        def run(inputs=inputs, case=case, attributes=attributes):
            arrays = arrays_for(backend, inputs, "float32", case.layout)
            results = backend.function(op)(*arrays, **attributes)
            results = results if isinstance(results, tuple) else (results,)
            return arrays, [backend.numpy(result) for result in results]

        before = [backend.numpy(x) for x in arrays_for(backend, inputs, "float32", case.layout)]
        with np.errstate(all="ignore"):
            arrays, first = run()
            _, second = run()
        assert [y.tobytes() for y in first] == [y.tobytes() for y in second], case.name
        after = [backend.numpy(x) for x in arrays]
        for i, parameter in enumerate(op.inputs[:0] if op.variadic else op.inputs):
            expected = first[op.writes.index(parameter)] if parameter in op.writes else before[i]
            assert after[i].tobytes() == expected.tobytes(), f"{parameter} after {case.name}"


@pytest.mark.triton
def test_poisoned_memory_is_poisoned():
    import torch

    assert torch.empty(3).isnan().all()
    assert torch.empty_like(torch.zeros(3, dtype=torch.bfloat16)).isnan().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_result_is_caught(name, agree, monkeypatch):
    """The comparison itself: an element off by 0.1 %, a NaN, a lost row, another type."""
    backend, op = backends.get(name), TABLE["sigmoid"]
    function = backend.function(op)

    def spoiled(x):
        y = np.array(backend.numpy(function(x)))
        if y.shape == (1025,):
            y[-1] *= 1.001
        if y.shape == (257,):
            y[0] = np.nan
        if y.shape == (7, 31):
            y = y[:-1]
        return backend.array(y, "float64" if y.shape == (33, 17) else None)

    monkeypatch.setattr(backend, "function", lambda op: spoiled)
    with pytest.raises(AssertionError) as failure:
        agree(op, "float32", backend)
    complaints = str(failure.value).splitlines()[1:]
    assert [line.partition(" is ")[0].partition(" has ")[0] for line in complaints] == [
        "matrix: y",
        "wide range: y[0]",
        "block edge 1025: y[1024]",
        "transposed: y",
    ]


def test_the_loopback_backend_takes_no_stray_array():
    loopback, x = backends.get("loopback"), np.ones(3)
    for call in (loopback.function(TABLE["relu"]), loopback.numpy, loopback.dtype):
        with pytest.raises(BackendError, match="loopback backend got ndarray"):
            call(x)
    with pytest.raises(BackendError, match=r"numpy\.add was called"):
        loopback.array(x) + x
    with pytest.raises(BackendError, match=r"numpy\.sum was called"):
        np.sum(loopback.array(x))
