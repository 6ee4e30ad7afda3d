"""Tiles, blocks and programs: how many, how large, in the sizes of a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from refnet import backend as backends
from refnet import errors
from refnet.op import TABLE

SIDES = [1, 16, 500, 511, 512, 513, 1024, 2047, 2048, 4096, 8192]


@pytest.fixture
def gpu_sizes():
    from refnet_triton.runtime.device import as_on_a_gpu

    with as_on_a_gpu():
        yield


@pytest.fixture
def grids():
    """grids(function, *arguments): the grid of each launch that a function makes."""
    from refnet_triton.runtime import guard
    from refnet_triton.runtime.device import INTERPRETED

    if not INTERPRETED.value:
        pytest.skip("launches are watched in the interpreter")

    def of(function, *arguments, **attributes):
        found = []
        note = lambda kernel, grid, tensors: found.append(grid)  # noqa: E731
        with guard.watched(note, lambda access: None):
            function(*arguments, **attributes)
        return found

    return of


@pytest.mark.triton
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("keep", [False, True])
def test_a_tile_of_a_product_fits_into_registers_and_shared_memory(dtype, keep, torch):
    """Of every GPU down to sm_80: 255 registers a thread, 163 KB for the tiles in flight."""
    from refnet_triton.ops.matmul import configuration
    from refnet_triton.runtime.device import as_on_a_gpu

    kind = getattr(torch, dtype)
    with as_on_a_gpu():
        found = {configuration(m, n, 4096, kind, keep) for m in SIDES for n in SIDES}
    for m, n, k, warps, stages in found:
        assert all(side & (side - 1) == 0 and side >= 16 for side in (m, n, k))
        assert warps in (4, 8) and stages >= 3  # one tile is multiplied, two are on their way
        assert stages * (m * k + k * n) * kind.itemsize <= 163 << 10
        words = m * n * max(4, kind.itemsize) / 4  # of the running sums
        kept = 2 if keep else 1
        assert words * kept / (32 * warps) <= 128, "more than half of the registers"


@pytest.mark.triton
@pytest.mark.parametrize(
    ("dtype", "keep", "results", "below", "from_there_on"),
    [
        ("bfloat16", False, 1 << 18, (64, 64), (128, 128)),
        ("bfloat16", False, 1 << 22, (128, 128), (128, 256)),
        ("bfloat16", True, 1 << 22, (128, 128), (128, 128)),
        ("float32", False, 1 << 20, (32, 32), (64, 64)),
        ("float64", False, 1 << 20, (64, 64), (64, 64)),
    ],
)
def test_more_results_take_larger_tiles(dtype, keep, results, below, from_there_on, torch):
    """Small tiles make enough programs for a GPU, large ones read each number less often."""
    from refnet_triton.ops.matmul import configuration
    from refnet_triton.runtime.device import as_on_a_gpu

    kind = getattr(torch, dtype)
    with as_on_a_gpu():
        assert configuration(1, results - 1, 64, kind, keep)[:2] == below
        assert configuration(1, results, 64, kind, keep)[:2] == from_there_on


@pytest.mark.triton
@pytest.mark.parametrize(("length", "inner"), [(1, 1), (3, 5), (100, 1), (5000, 64), (70, 1000)])
def test_a_tile_of_a_reduction(length, inner):
    """At most 4096 elements, 64 columns, and no power of two more than there is to hold."""
    from refnet_triton.ops.reductions import _tile

    rows, columns = _tile(length, inner)
    assert rows * columns <= 4096 and columns <= 64
    assert columns == 64 or inner <= columns < 2 * inner
    assert rows * columns == 4096 or length <= rows < 2 * length


@pytest.mark.triton
@pytest.mark.parametrize(
    ("length", "rows", "programs", "parts"),
    [
        (16 * 64, 64, 1, 1),  # 16 tiles: one program walks down them
        (16 * 64 + 1, 64, 1, 2),
        (100 * 64, 64, 1, 7),
        (1 << 20, 64, 1, 1024),  # as many programs as fill a GPU, and no more
        (1 << 20, 64, 100, 11),
        (1 << 20, 64, 1023, 2),
        (1 << 20, 64, 1024, 1),
        (0, 1, 1, 1),
        (1 << 20, 64, 0, 1),  # there is nothing to reduce
    ],
)
def test_into_how_many_parts_a_long_axis_is_cut(length, rows, programs, parts, gpu_sizes):
    from refnet_triton.ops.reductions import _parts

    assert _parts(length, rows, programs) == parts


@pytest.mark.triton
def test_programs_are_counted_over_all_slices_and_blocks(torch, grids, gpu_sizes):
    from refnet_triton.ops.reductions import argmax, sum

    x = torch.zeros(3, 2049, 130)
    assert grids(sum, x, 1)[0] == (
        27,
    )  # 3 slices; 2049 rows, 64 at a time, 16 times: 3 parts; 3 blocks
    assert grids(argmax, x, 1)[-1] == (27,)


@pytest.mark.triton
@pytest.mark.parametrize(
    ("shape", "programs"),
    [
        ((300, 100), 19),  # 16 rows of 128 in a program: 2048 elements
        ((2, 2), 1),
        ((3, 2048), 3),
        ((3, 1025), 3),
        ((2, 16_384), 2),
        ((2, 16_385), 2),
    ],
)
def test_how_many_rows_of_softmax_share_a_program(shape, programs, torch, grids, gpu_sizes):
    from refnet_triton.ops.softmax import log_softmax_vjp, softmax

    x = torch.zeros(shape)
    assert grids(softmax, x) == grids(log_softmax_vjp, x, x) == [(programs,)]


@pytest.mark.triton
@pytest.mark.parametrize(("rows", "programs"), [(512, 1), (513, 2), (1025, 3)])
def test_the_interpreter_takes_more_rows_at_once(rows, programs, torch, grids):
    from refnet_triton.ops.softmax import softmax

    assert grids(softmax, torch.zeros(rows, 100)) == [(programs,)]


@pytest.mark.triton
def test_a_block_of_classes(torch, gpu_sizes):
    from refnet_triton.ops.losses import _block

    sizes = {1: 16, 16: 16, 17: 32, 1000: 1024, 4096: 4096, 4097: 4096, 50_257: 4096}
    assert {n: _block(n) for n in sizes} == sizes


@pytest.mark.triton
@pytest.mark.parametrize(
    ("rows", "inner", "picks", "programs"),
    [
        (5000, 1, 10, 5),  # a program sums 1024 rows, one term of each at a time
        (5000, 32, 10, 157),
        (5000, 63, 10, 313),
        (5000, 64, 10, 5000),  # or one row, 8 terms at a time
        (5000, 300, 10, 15_000),
        (10, 1, 160, 1),
        (10, 1, 161, 10),
    ],
)
def test_who_sums_what_was_picked(rows, inner, picks, programs, torch, gpu_sizes, monkeypatch):
    from refnet_triton.ops import indexing

    found = []

    class Noted:
        def __getitem__(self, grid):
            return lambda *arguments, **options: found.append(grid)

    monkeypatch.setattr(indexing, "_scatter_add_kernel", Noted())
    x, indices = torch.zeros(rows, inner), torch.zeros(picks, 1, dtype=torch.int64)
    indexing.gather_vjp(torch.zeros(picks, inner), x, indices)
    assert found == [(programs,)]


@pytest.mark.triton
def test_32_bits_as_long_as_they_suffice(torch, gpu_sizes):
    """A tile of 1024 elements may begin at the last one."""
    from refnet_triton.ops.indexing import _index_type

    def type_of(*sizes):
        return str(_index_type(*(torch.empty(n, device="meta") for n in sizes)))

    assert type_of((1 << 31) - 1024) == type_of(5, (1 << 31) - 1024) == "int32"
    assert type_of((1 << 31) - 1023) == type_of(5, (1 << 31) - 1023) == "int64"
    assert type_of((1 << 31) - 1023, 5) == "int64"
    spread = torch.empty((1 << 30, 3), device="meta")
    assert str(_index_type(spread[:, 0], torch.empty(5, device="meta"))) == "int64"


@pytest.mark.triton
def test_philox_counts_beyond_32_bits(torch):
    import triton
    import triton.language as tl

    from refnet.ops.random import philox as reference
    from refnet_triton.ops.random import philox
    from refnet_triton.runtime.device import DEVICE

    @triton.jit
    def kernel(key, y, first, F: tl.constexpr):
        lane = tl.arange(0, 16)
        a, b, c, d = F(first + lane.to(tl.int64), key)
        tl.store(y + 4 * lane, a.to(tl.int64))
        tl.store(y + 4 * lane + 1, b.to(tl.int64))
        tl.store(y + 4 * lane + 2, c.to(tl.int64))
        tl.store(y + 4 * lane + 3, d.to(tl.int64))

    key = torch.tensor([3, 4], device=DEVICE)
    y = torch.zeros(16, 4, dtype=torch.int64, device=DEVICE)
    for first in ((1 << 32) - 8, 5 << 33):
        kernel[(1,)](key, y, first, philox)
        expected = reference(np.arange(first, first + 16), np.array([3, 4]))
        assert y.cpu().tolist() == expected.astype(np.int64).tolist()


@pytest.mark.triton
def test_a_product_keeps_nothing_it_was_not_asked_for(torch):
    from refnet_triton.ops.matmul import _product
    from refnet_triton.runtime.device import DEVICE

    a = torch.ones(1, 2, 2, device=DEVICE)
    assert _product(a, a)[1] is None and _product(a, a, keep=True)[1] is not None


@pytest.mark.triton
@pytest.mark.parametrize(
    "name", ["matmul", "linear", "linear_vjp", "softmax", "sum", "relu", "gather", "coordinates"]
)
def test_a_twin_takes_tensors_alone(name, torch):
    """And names itself: deep in a kernel nobody would know which op it was."""
    op = TABLE[name]
    twin, x = backends.get("triton").function(op).function, torch.ones(2, 2)
    for wrong in set(op.inputs) - {"saved"}:  # the gradient of the identity does not look at it
        given = [np.ones((2, 2)) if name == wrong else x for name in op.inputs]
        with pytest.raises(errors.BackendError, match="works on torch tensors, got ndarray"):
            twin(*given)


@pytest.mark.triton
@pytest.mark.parametrize("elements", [1, 1024, 4096, 4097, 8192, 16_384])
def test_a_thread_holds_at_most_32_elements_of_a_row(elements):
    from refnet_triton.ops.softmax import _warps

    warps = _warps(elements)
    assert warps in (4, 8, 16) and elements <= 32 * 32 * warps
    assert warps == 4 or elements > 32 * 32 * warps // 2


@pytest.mark.triton
@pytest.mark.parametrize("classes", [3, 5000])
def test_the_loss_of_a_label_that_is_no_class_is_nan(classes, torch, monkeypatch):
    """Nobody waits for labels that lie on a GPU: the error is raised where values are read."""
    from refnet_triton.ops.losses import (
        sparse_softmax_cross_entropy,
        sparse_softmax_cross_entropy_vjp,
    )
    from refnet_triton.runtime import faults
    from refnet_triton.runtime.device import DEVICE

    monkeypatch.setattr(faults, "later", True)
    monkeypatch.setattr(faults, "_notes", {})

    logits = torch.zeros(4, classes, device=DEVICE)
    labels = torch.tensor([-1, 0, classes - 1, classes], device=DEVICE)
    loss, *kept = sparse_softmax_cross_entropy(logits, labels)
    assert loss.isnan().tolist() == [True, False, False, True]
    dx = sparse_softmax_cross_entropy_vjp(torch.ones_like(loss), logits, labels, *kept)
    assert dx.isnan().all(1).tolist() == dx.isnan().any(1).tolist() == [True, False, False, True]
    with pytest.raises(errors.DataError, match=f"from 0 to {classes - 1} .* got (-1|{classes})$"):
        faults.raise_noted()
    faults.raise_noted()  # once


@pytest.mark.triton
@pytest.mark.parametrize(
    ("a", "b"), [((), (3, 2)), ((2, 3), ()), ((3,), (2, 3)), ((2, 3), (2, 3)), ((2, 3), (3, 2, 1))]
)
def test_twins_take_matrices_that_fit(a, b, torch):
    from refnet_triton.ops.matmul import linear, matmul
    from refnet_triton.runtime.device import DEVICE

    x, y = torch.ones(a, device=DEVICE), torch.ones(b, device=DEVICE)
    with pytest.raises(errors.ShapeError, match="matmul needs matrices"):
        matmul(x, y)
    if x.ndim > 1:  # one row of a layer's inputs may be a vector
        with pytest.raises(errors.ShapeError, match="matmul needs matrices"):
            linear(x, y, torch.ones(2, device=DEVICE))
    with pytest.raises(errors.ShapeError, match="of one type"):
        matmul(torch.ones(2, 2, device=DEVICE), torch.ones(2, 2, device=DEVICE).double())
