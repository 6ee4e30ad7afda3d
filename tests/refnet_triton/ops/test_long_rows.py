"""Rows longer than a block, and products that are not rounded to tf32."""

from __future__ import annotations

import numpy as np
import pytest

from refnet import backend as backends
from refnet.op import TABLE
from refnet.proof.judge import cases_of, compare

ENTROPIES = ["sparse_softmax_cross_entropy", "softmax_cross_entropy"]

PRODUCTS = """
import torch
from refnet_triton.inspect import compilation
compilation.without_memory()
from refnet_triton.ops.matmul import linear, matmul
from refnet_triton.inspect.targets import TARGETS

launches = []
with compilation.recording(launches.append):
    x, bias = torch.empty(256, 256, device="meta"), torch.empty(256, device="meta")
    matmul(x, x)
    linear(x, x, bias, "gelu")
for launch in launches:
    text = compilation.compile_for(launch.made, TARGETS["sm_90"]).asm["ttir"]
    print(*(line for line in text.splitlines() if "tt.dot " in line))
"""


@pytest.mark.triton
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize(("shape", "axis"), [((200_003,), None), ((40_007, 3), 0)])
def test_a_long_reduction_takes_two_launches(name, shape, axis, torch, monkeypatch):
    """As on a GPU. Interpreted it takes one, so that nothing else here goes this way."""
    from refnet_triton.ops import reductions
    from refnet_triton.runtime.device import DEVICE, as_on_a_gpu

    calls, once = [], reductions._reduce
    monkeypatch.setattr(reductions, "_reduce", lambda *a: [calls.append(a), once(*a)][1])
    x = np.random.default_rng(0).normal(3.0, 1.0, shape).astype("float32")
    with as_on_a_gpu():
        y = getattr(reductions, name)(torch.from_numpy(x).to(DEVICE), axis).cpu().numpy()
    expected = getattr(np, name)(x.astype("float64"), axis)
    np.testing.assert_allclose(y, expected, rtol=1e-6, err_msg=f"{name} in two launches")
    assert len(calls) == 2


@pytest.mark.triton
@pytest.mark.parametrize("name", [*ENTROPIES, *(f"{name}_vjp" for name in ENTROPIES)])
def test_a_row_longer_than_a_block(name, monkeypatch):
    """On a GPU a block holds 4096 classes. Interpreted it holds 65,536, and no row is longer."""
    from refnet_triton.ops import losses

    monkeypatch.setattr(losses, "_block", lambda classes: 64)
    op, backend = TABLE[name], backends.get("triton")
    case = next(case for case in cases_of(op) if case.name == "block edge 1025")
    found = compare(op, case, "float32", backend)
    assert found.ok, found.complaint


@pytest.mark.triton
def test_float32_products_are_not_tf32(compile_only):
    """The interpreter multiplies with all digits whatever is asked for; compiled code does not."""
    printed = compile_only(PRODUCTS)
    assert printed.count("tt.dot") == 2
    assert "tf32" not in printed


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
