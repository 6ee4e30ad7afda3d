"""What no test noticed when `make mutants` put the fault in."""

import numpy as np
import pytest

from refnet import backend as backends
from refnet import errors
from refnet.op import TABLE
from refnet.op.shapes import Spec

KEY = np.array((1, 2))


@pytest.mark.parametrize("name", ["random_bits", "random_uniform", "random_normal", "dropout"])
def test_programs_continue_the_stream_where_the_one_before_ended(name, backend):
    """In the interpreter a program draws 16,384 numbers: three of them, the last one not full."""
    op, n = TABLE[name], 2 * 16_384 + 5
    inputs = (np.ones(n), KEY) if name == "dropout" else (KEY,)
    given = {"rate": 0.3} if name == "dropout" else {"shape": (n,)}
    expected = np.asarray(op(*inputs, **given))
    found = backend.numpy(backend.function(op)(*(backend.array(x) for x in inputs), **given))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [[-1, 0], [0, 3]])
def test_labels_that_are_no_class(labels):
    op = TABLE["sparse_softmax_cross_entropy"]
    with pytest.raises(errors.DataError, match=r"labels from 0 to 2 for 3 classes, got (-1|3)$"):
        op(np.zeros((2, 3)), np.array(labels))


@pytest.mark.parametrize(("a", "b"), [((), (3, 2)), ((2, 3), ()), ((3,), (2, 3))])
def test_a_product_takes_matrices_and_vectors(a, b):
    with pytest.raises(errors.ShapeError, match=r"matrices or vectors|meet columns of 2"):
        TABLE["matmul"](np.ones(a), np.ones(b))


@pytest.mark.parametrize("name", ["stack", "concatenate"])
def test_one_array_is_enough(name, backend):
    x = np.arange(6.0).reshape(2, 3)
    found = backend.numpy(backend.function(TABLE[name])(backend.array(x)))
    assert found.tolist() == getattr(np, name)([x]).tolist()


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (1, 1), (4, 1, 1), (4, 1, 5), (5,), ()])
def test_a_stretched_array_gets_the_sum_of_its_copies(shape, backend):
    x = np.arange(60.0).reshape(4, 3, 5)
    expected = np.zeros(shape)
    for place in np.ndindex(x.shape):
        own = place[x.ndim - len(shape) :]
        expected[tuple(i if n > 1 else 0 for i, n in zip(own, shape, strict=True))] += x[place]
    found = backend.numpy(backend.function(TABLE["sum_to"])(backend.array(x), shape=shape))
    assert found.tolist() == expected.tolist()


def test_a_power_of_0_does_not_change_with_its_exponent(backend):
    g, a, b = (backend.array(np.array(x)) for x in ([1.0, 1.0], [0.0, 0.0], [0.0, 2.0]))
    _, db = backend.function(TABLE["power_vjp"])(g, a, b, wrt=("b",))
    assert backend.numpy(db).tolist() == [0.0, 0.0]


def test_dropout_at_rate_0_keeps_also_where_the_random_number_is_0(monkeypatch):
    monkeypatch.setattr("refnet.ops.random.random_uniform", lambda key, shape: np.zeros(shape))
    assert TABLE["dropout"](np.ones(3), KEY, rate=0.0).tolist() == [1.0, 1.0, 1.0]


def test_what_is_gathered_is_promised_in_its_own_type():

    g, x, indices = Spec((7, 4), "float32"), Spec((5, 4), "float64"), Spec((7, 1), "int64")
    attributes = {"axes": (0,), "at": 0}
    assert TABLE["gather_vjp"].infer([g, x, indices], attributes) == [Spec((5, 4), "float32")]
    with pytest.raises(errors.ShapeError, match="do not hold one position"):
        TABLE["gather"].infer([x, Spec((7, 2), "int64")], attributes)


@pytest.mark.triton
@pytest.mark.parametrize("log", [False, True])
def test_the_gradient_of_a_long_row_ends_where_the_row_ends(log):
    import torch

    from refnet_triton.ops.softmax import _long_vjp_kernel
    from refnet_triton.runtime.device import DEVICE, LAUNCH, compute_type

    y, g = torch.ones(2, 8, device=DEVICE)
    out = torch.full((8,), torch.nan, device=DEVICE)
    _long_vjp_kernel[(1,)](y, g, out, 5, log, compute_type(y.dtype), 8, **LAUNCH)
    assert out.isnan().tolist() == [False] * 5 + [True] * 3


def test_a_mask_that_does_not_fit():
    mask, x = Spec((3,), "bool"), Spec((5, 4), "float32")
    with pytest.raises(errors.ShapeError, match="does not fit the axes"):
        TABLE["mask_coordinates"].infer([mask, x], {"axis": 0})


# -- what a GPU would be given ---------------------------------------------------------------------

SIDES = [1, 16, 500, 511, 512, 513, 1024, 2047, 2048, 4096, 8192]


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


@pytest.fixture
def gpu_sizes():
    from refnet_triton.runtime.device import as_on_a_gpu

    with as_on_a_gpu():
        yield


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


@pytest.mark.parametrize("name", ["dropout", "dropout_vjp"])
def test_dropout_keeps_what_lies_at_the_rate(name, backend):
    u = TABLE["random_uniform"](KEY, shape=(64,))
    x = backend.array(np.ones(64, np.float32))
    y = backend.function(TABLE[name])(x, backend.array(KEY), rate=float(u[5]))
    assert (backend.numpy(y) != 0).tolist() == (u >= u[5]).tolist()


def test_the_formulas_take_plain_numbers():
    assert TABLE["gelu"](0.0) == 0 and abs(TABLE["gelu"](1.0) - 0.8413447460685429) < 1e-15


def test_two_copies_are_summed_as_well(backend):
    x = backend.array(np.arange(6.0).reshape(2, 3))
    y = backend.function(TABLE["sum_to"])(x, shape=(1, 3))
    assert backend.numpy(y).tolist() == [[3.0, 5.0, 7.0]]
    x = backend.array(np.arange(12.0).reshape(4, 3, 1))
    y = backend.function(TABLE["sum_to"])(x, shape=(1, 1))
    assert backend.numpy(y).tolist() == [[66.0]]


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
