"""What a GPU refuses, the interpreter refuses; and no op asks for it, whatever its shapes."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from refnet import backend as backends
from refnet.errors import BackendError
from refnet.op.columns import Case
from refnet.proof.cases import stand_in
from refnet.proof.judge import all_ops, arrays_for, inputs_for

pytestmark = pytest.mark.triton
torch = pytest.importorskip("torch")
runtime = pytest.importorskip("refnet_triton.runtime.device")

import triton  # noqa: E402
import triton.language as tl  # noqa: E402

from refnet_triton.bench.inputs import as_tuple  # noqa: E402
from refnet_triton.language import pointwise  # noqa: E402
from refnet_triton.runtime import interpreter  # noqa: E402
from refnet_triton.runtime.guard import watched  # noqa: E402
from tests.refnet_triton.ops.test_addresses import specs  # noqa: E402

interpreted = pytest.mark.skipif(
    not runtime.INTERPRETED.value, reason="refusals are looked at in the interpreter"
)

# -- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grid", [(1,), (0,), ((1 << 31) - 1,), (1, 65_535), (2, 3, 65_535), (32_767, 65_535), (5, 0, 7)]
)
def test_grids_that_a_gpu_takes(grid):
    interpreter.check_launch("_kernel", grid)


@pytest.mark.parametrize(
    ("grid", "what"),
    [
        ((1 << 31,), "x = 2,147,483,648 (at most 2,147,483,647)"),
        ((1, 65_536), "y = 65,536 (at most 65,535)"),
        ((1, 1, 131_072), "z = 131,072 (at most 65,535)"),
        ((1 << 31, 1 << 16), "x = 2,147,483,648 (at most 2,147,483,647), y = 65,536"),
        ((-1,), "a grid of -1 programs"),
        ((40_000, 60_000), "40,000 x 60,000 programs"),  # more than 2^31, though each is allowed
    ],
)
def test_grids_that_no_gpu_takes(grid, what):
    with pytest.raises(BackendError) as error:
        interpreter.check_launch("_kernel", grid)
    assert what in str(error.value) and "_kernel" in str(error.value)


@triton.jit
def _store_kernel(x):
    tl.store(x, 1.0)


@triton.jit
def _dot_kernel(a, b, y, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    rows, columns = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    step = tl.arange(0, K)
    p = tl.load(a + rows * K + step[None, :]).to(tl.float32)
    q = tl.load(b + step[:, None] * N + columns).to(tl.float32)
    tl.store(y + rows * N + columns, tl.dot(p, q, input_precision="ieee"))


@triton.jit
def _zeros_kernel(y, N: tl.constexpr):
    tl.store(y, tl.sum(tl.zeros((N,), tl.float32)))


@triton.jit
def _mixed_kernel(y):
    a, b = tl.zeros((16, 16), tl.float32), tl.zeros((16, 16), tl.float16)
    tl.store(y, tl.sum(tl.dot(a, b)))


def product(m, n, k, dtype=torch.float32, **options):
    a, b = torch.ones(m, k, dtype=dtype), torch.ones(k, n, dtype=dtype)
    y = torch.empty(m, n)
    _dot_kernel[(1,)](a, b, y, m, n, k, **options)
    return y


@interpreted
def test_a_launch_is_refused_before_anything_runs():
    x = torch.zeros(1)
    for grid in ((1, 70_000), lambda meta: (1, 1, 70_000)):
        with pytest.raises(BackendError, match="_store_kernel has a grid that no GPU takes"):
            _store_kernel[grid](x)
        assert x[0] == 0
    _store_kernel[(0,)](x)
    assert x[0] == 0
    _store_kernel[(2, 3)](x)
    assert x[0] == 1


@interpreted
@pytest.mark.parametrize("warps", [0, 3, 64, -1])
def test_warps_that_a_program_cannot_have(warps):
    with runtime.as_on_a_gpu(), pytest.raises(BackendError, match=f"num_warps={warps}"):
        _store_kernel[(1,)](torch.zeros(1), num_warps=warps)
    _store_kernel[(1,)](torch.zeros(1), num_warps=64)  # interpreted, there are no warps


@interpreted
def test_options_that_triton_does_not_know():
    with pytest.raises(BackendError, match="_store_kernel is launched with num_warp; Triton knows"):
        _store_kernel[(1,)](torch.zeros(1), num_warp=8)
    _store_kernel[(1,)](torch.zeros(1), num_warps=8, num_stages=2, maxnreg=64, **runtime.LAUNCH)


@interpreted
def test_short_sums_in_a_dot():
    with runtime.as_on_a_gpu():
        assert (product(16, 16, 16) == 16).all()
        with pytest.raises(BackendError, match="sums of 8 terms, and the compiler takes 16") as no:
            product(16, 16, 8)
        assert no.value.__context__ is None  # not wrapped in what the interpreter makes of it
    assert (product(16, 16, 8) == 8).all()


@interpreted
def test_tiles_that_no_shared_memory_holds():
    """Of float16, which takes half as much as what it is widened to."""
    with runtime.as_on_a_gpu():
        for stages, dtype, k in ((3, torch.float16, 128), (2, torch.float32, 128)):
            assert (product(128, 128, k, dtype, num_stages=stages) == k).all()
            with pytest.raises(
                BackendError, match=r"_dot_kernel has tiles of .* in . stages: 262,144"
            ):
                product(128, 128, 2 * k, dtype, num_stages=stages if dtype != torch.float16 else 2)
    assert (product(128, 128, 256) == 256).all()


@interpreted
@pytest.mark.parametrize("length", [3, 1 << 21])
def test_blocks_are_powers_of_two_and_not_too_large(length):
    with pytest.raises(Exception, match=r"power of 2|exceeds triton maximum"):
        _zeros_kernel[(1,)](torch.zeros(1), length)


@interpreted
def test_factors_of_two_types():
    with pytest.raises(Exception, match="same dtype"):
        _mixed_kernel[(1,)](torch.zeros(1))


SHARED = """
from refnet_triton.inspect import compilation
compilation.without_memory()
import torch
from refnet_triton.bench.tuning import TILES, tile
from refnet_triton.ops import matmul
from refnet_triton.inspect.targets import TARGETS

float32 = [(64, 64, 32, 4, 3), (32, 32, 32, 4, 3), (128, 64, 32, 8, 4)]
through_registers = [(32, 256, 64, 4, 3), (64, 64, 64, 2, 3)]  # few rows; two warps
for dtype, tiles in ((torch.bfloat16, TILES[:4] + through_registers), (torch.float32, float32)):
    factors = [torch.empty(4096, 4096, dtype=dtype, device="meta") for _ in "ab"]
    for one in tiles:
        launches = []
        with tile(one), compilation.recording(launches.append):
            matmul.matmul(*factors)
        compiled = compilation.compile_for(launches[0].made, TARGETS["sm_90"])
        print("tile", dtype.itemsize, *one, compiled.metadata.shared)
"""


def test_the_shared_memory_is_that_of_the_compiler(compile_only):
    lines = [line.split()[1:] for line in compile_only(SHARED).splitlines() if "tile" in line]
    assert len(lines) == 9
    for size, m, n, k, warps, stages, taken in (map(int, line) for line in lines):
        tiles = interpreter.Tiles("_matmul_kernel", stages, warps)
        factors = np.zeros((m, k), np.float32), np.zeros((k, n), np.float32)
        for x in factors:
            tiles.load(x.shape, size)
        assert tiles.taken(*factors) == taken, (size, m, n, k, warps, stages)


# -- what the ops ask for ------------------------------------------------------------------------------

BILLION = 1 << 30
#: few rows and many, short and long
ROWS = [(2, 8_388_608), (2, BILLION), (8_388_608, 2), (BILLION, 2), (1, BILLION), (BILLION, 1)]
#: many small products; one side of them stretched; one long product
PRODUCTS = [
    ((70_000, 2, 3), (70_000, 3, 4)),
    ((1 << 20, 16, 16), (16, 16)),
    ((16, 16), (1 << 20, 16, 16)),
    ((3, 1, 2, 3), (70_000, 3, 2)),
    ((2, 3), (3, BILLION)),
    ((BILLION, 3), (3, 2)),
]


def labelled(shape):
    return lambda rng: (np.broadcast_to(0.5, shape), np.broadcast_to(0, shape[:1]))


def extreme_cases(op):
    """Extreme shapes for an op, by what it takes: rows, rows and labels, or factors."""
    primal = op.primal or op
    if primal.file == "matmul":
        shapes = PRODUCTS if primal.name == "matmul" else [
            (a, b, b[-1:]) for a, b in PRODUCTS if len(a) == len(b) == 2
        ]  # fmt: skip
        return [Case(f"{shape}", stand_in(*shape)) for shape in shapes]
    if primal.inputs == ("x",) and "axis" in primal.attributes:
        axes = (0, 1) if primal.file == "softmax" else (0, 1, None)
        return [Case(f"{s} axis {a}", stand_in(s), {"axis": a}) for s in ROWS for a in axes]
    make = labelled if "labels" in primal.inputs else lambda shape: stand_in(shape, shape)
    return [Case(f"{s}", make(s)) for s in ROWS]


FAMILIES = ("matmul", "reductions", "softmax", "losses")  # all whose kernels are not one pointwise
EXTREME = [
    pytest.param(op, case, id=f"{op.name} {case.name}")
    for op in all_ops()
    if op.file in FAMILIES and "shape" not in (op.primal or op).attributes
    for case in extreme_cases(op)
]


@interpreted
@pytest.mark.parametrize(("op", "case"), EXTREME)
def test_a_gpu_takes_the_grid_whatever_the_shape(op, case, monkeypatch):
    """On tensors without memory, in the sizes of a GPU; nothing is run."""
    grids = []
    twin = backends.get("triton").function(op)  # imported before anything is patched

    def launch(executor, *arguments, num_warps=4, **options):
        interpreter.check_launch(executor.fn.__name__, executor.grid, num_warps)
        grids.append(executor.grid)

    for module in (runtime, pointwise):
        monkeypatch.setattr(module, "DEVICE", torch.device("meta"))
    monkeypatch.setattr(triton.runtime.interpreter.GridExecutor, "__call__", launch)
    inputs, attributes = specs(op, case)
    tensors = [torch.empty(s.shape, dtype=getattr(torch, s.dtype), device="meta") for s in inputs]
    with runtime.as_on_a_gpu():
        twin(*tensors, **attributes)
    assert grids or op.name in VIEWS


VIEWS = {"sum_vjp", "mean_vjp"}


def test_more_programs_than_a_grid_has_are_several_launches():
    most = runtime.MOST_PROGRAMS
    assert runtime.launches(5, 7) == [range(5)]
    assert runtime.launches(most, 1) == [range(most)]
    assert runtime.launches(most + 1, 1) == [range(most), range(most, most + 1)]
    assert runtime.launches(3, most // 2 + 1) == [range(1), range(1, 2), range(2, 3)]
    assert runtime.launches(0, 3) == []


@interpreted
@pytest.mark.parametrize(
    "op", [op for op in all_ops() if op.file in FAMILIES], ids=lambda op: op.name
)
def test_several_launches_compute_the_same(op, monkeypatch):
    """As if a grid had two programs at most: the same bits."""
    triton_backend = backends.get("triton")
    twin = triton_backend.function(op)
    cut, divisible = False, False
    for case in (op.primal or op).cases:
        inputs, attributes = inputs_for(op, case, "float32")
        arrays = arrays_for(triton_backend, inputs, "float32", case.layout)
        if max((np.size(x) for x in inputs), default=0) > 200:
            continue
        with runtime.as_on_a_gpu(), launched() as names:
            whole = twin(*arrays, **attributes)
            before = len(names)
            with monkeypatch.context() as patch:
                patch.setattr(runtime, "MOST_PROGRAMS", 2)
                parts = twin(*arrays, **attributes)
        cut = cut or len(names) > 2 * before
        divisible = divisible or any(name != "_pointwise_kernel" for name in names)
        for a, b in zip(as_tuple(whole), as_tuple(parts), strict=True):
            if a is not None:
                torch.testing.assert_close(b, a, rtol=0, atol=0, equal_nan=True)
    assert cut == (divisible and op.name not in ONE_LAUNCH)


#: a row of more than 16,384 numbers a program, of which no memory has too many
ONE_LAUNCH = {
    *("softmax", "softmax_vjp", "log_softmax", "log_softmax_vjp"),
    *("linear", "linear_vjp"),  # one product, not many
}


@contextlib.contextmanager
def launched():
    """The names of the kernels that are launched within the block."""
    names = []
    with watched(lambda kernel, grid, _: names.append(kernel), lambda _: None):
        yield names
