"""The guard: a load or store beside the tensors of its launch is an error, in the interpreter."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
pytestmark = pytest.mark.triton

from refnet import backend as backends  # noqa: E402
from refnet.check.ops import check  # noqa: E402
from refnet.op import TABLE  # noqa: E402
from refnet_triton.runtime.device import DEVICE, INTERPRETED, as_on_a_gpu  # noqa: E402
from refnet_triton.runtime.guard import guarded, watched  # noqa: E402

# isort: split
import triton  # noqa: E402
import triton.language as tl  # noqa: E402


@triton.jit
def _copy_kernel(x, y, n, first, FAULT: tl.constexpr, BLOCK: tl.constexpr):
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK) + first
    value = tl.load(x + lane) if FAULT == "load" else tl.load(x + lane, mask=lane < n, other=0.0)
    if FAULT == "store":
        tl.store(y + lane, value)
    else:
        tl.store(y + lane, value, mask=lane < n)


def launch(fault, n=20, first=0):
    x, y = torch.arange(40.0, device=DEVICE), torch.zeros(40, device=DEVICE)
    _copy_kernel[(2,)](x[:n], y[:n], n, first, fault, 16)
    return y


@pytest.fixture(autouse=True)
def interpreted():
    if not INTERPRETED.value:
        pytest.skip("a GPU is not watched: compute-sanitizer does that")


def test_what_stays_inside_passes():
    with guarded():
        assert launch("").tolist() == [*map(float, range(20)), *[0.0] * 20]
        _copy_kernel[(1,)](torch.empty(0), torch.empty(0), 0, 0, "", 16)


@pytest.mark.parametrize(
    ("fault", "first", "said"),
    [
        ("load", 0, "program 1 of _copy_kernel loads bytes 64 to 128 of a tensor of 80 bytes"),
        ("store", 0, "program 1 of _copy_kernel stores bytes 64 to 128 of a tensor of 80 bytes"),
        ("", -1, "program 0 of _copy_kernel loads bytes -4 to 60 of a tensor of 80 bytes"),
    ],
)
def test_what_strays_is_named(fault, first, said):
    launch(fault, 20, max(first, 0))  # unguarded, nobody sees it: the memory happens to be there
    with pytest.raises(Exception, match=said), guarded():
        launch(fault, 20, first)


def test_poisoned_memory_is_guarded_and_only_that():
    backend = backends.get("triton")
    with pytest.raises(Exception, match="a lane without a mask"), backend.poisoned():
        launch("load")
    launch("load")


def test_check_says_which_case_strayed(monkeypatch):
    from refnet_triton.ops import activations

    def careless(x):
        y = torch.empty_like(x)
        _copy_kernel[(triton.cdiv(x.numel(), 16),)](x, y, x.numel(), 0, "load", 16)
        return y

    backend = backends.get("triton")
    monkeypatch.setattr(activations, "identity", careless)
    monkeypatch.setattr(backend, "_functions", {})
    (row,) = check(["identity"], ["float32"], ["triton"], seed=1, quick=True).rows
    assert row.status == "error" and "loads bytes" in row.message


def test_the_sizes_of_a_gpu_are_others():
    def programs(elements):
        counts = []
        with watched(lambda kernel, grid, tensors: counts.append(grid), lambda access: None):
            backends.get("triton").function(TABLE["relu"])(torch.zeros(elements, device=DEVICE))
        return counts

    assert programs(5000) == [(2,)]
    with as_on_a_gpu():
        assert programs(5000) == [(5,)]
    assert programs(5000) == [(2,)]


@triton.jit
def _spill_kernel(x, y, n, OTHER: tl.constexpr, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    tl.store(y + lane, tl.load(x + lane, mask=lane < n, other=OTHER))


@pytest.mark.parametrize(
    ("dtype", "undefined"),
    [("float32", "nan"), ("bfloat16", "nan"), ("int32", str((1 << 31) - 1)), ("uint8", "255")],
)
def test_a_lane_that_is_off_has_no_value(dtype, undefined):
    x = torch.zeros(16, device=DEVICE).to(getattr(torch, dtype))
    y = torch.zeros_like(x)
    with guarded():
        _spill_kernel[(1,)](x, y, 3, None, 16)
    assert [str(v) for v in y.tolist()] == [str(v) for v in x[:3].tolist()] + [undefined] * 13
    with guarded():
        _spill_kernel[(1,)](x, y, 3, 1.0, 16)
    assert y.tolist() == [0] * 3 + [1] * 13
    _spill_kernel[(1,)](x, y, 3, None, 16)
    assert y.tolist() == [0] * 16
