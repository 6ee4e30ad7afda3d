"""Matrix products, with bias and activation fused behind them. The twin of refnet/ops/matmul.py.

One program computes one tile of the result. It walks along k, multiplies a tile of A by a tile of B on
the matrix units, and sums in float32 (float64 for float64). What follows the product, a bias and an
activation, happens while the tile is still in registers. A transposed matrix is the same memory with
its strides exchanged: no copies.
"""

from __future__ import annotations

import math

import torch

from refnet.errors import DTypeError, ShapeError
from refnet.op.shapes import require_axes
from refnet.ops import TABLE
from refnet_triton.language.copies import contiguous, rounded
from refnet_triton.ops import activations
from refnet_triton.ops.reductions import sum, sum_to
from refnet_triton.runtime import device
from refnet_triton.runtime.device import (
    INTERPRETED,
    LAUNCH,
    arithmetic,
    blocks,
    check_tensors,
    compute_type,
    launches,
    narrow,
    on_device_of,
    widen,
)

# isort: split
import triton
import triton.language as tl

IDENTITY = activations.identity.formula


@triton.jit
def _matmul_kernel(a, b, bias, y, saved, m, n, k, a_batch, a_m, a_k, b_batch, b_k, b_n, y_batch,
                   ACTIVATION: tl.constexpr, COMPUTE: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
                   K: tl.constexpr, GROUP: tl.constexpr, WIDEN: tl.constexpr):  # fmt: skip
    """One (M, N) tile of y = f(a b + bias). m, n, k are the lengths of the product, M, N, K the tile's.

    Programs are counted by one number: all tiles of a product, then those of the next one.
    Programs that run at the same time should need the same rows and columns, so that these come from
    the cache: tiles are taken in groups of GROUP rows, down a column of the group, then the next one.
    """
    across, down = blocks(n, N), blocks(m, M)
    tile = tl.program_id(0) % (across * down)
    batch = (tl.program_id(0) // (across * down)).to(tl.int64)
    first = tile // (GROUP * across) * GROUP
    height = tl.minimum(down - first, GROUP)
    place = tile % (GROUP * across)
    row = (first + place % height) * M + tl.arange(0, M)
    column = (place // height) * N + tl.arange(0, N)

    # Rows and columns beyond the end are computed from others and not stored: no mask along m and n.
    step = tl.arange(0, K).to(tl.int64)
    a_tile = a + batch * a_batch + (row % m).to(tl.int64)[:, None] * a_m + step[None, :] * a_k
    b_tile = b + batch * b_batch + step[:, None] * b_k + (column % n).to(tl.int64)[None, :] * b_n
    a_step, b_step = tl.full((), K, tl.int64) * a_k, tl.full((), K, tl.int64) * b_k
    total = tl.zeros((M, N), COMPUTE)
    for start in range(0, k, K):
        inside = step < k - start
        p = tl.load(a_tile, mask=inside[None, :], other=0.0)
        q = tl.load(b_tile, mask=inside[:, None], other=0.0)
        if WIDEN:  # the interpreter multiplies the bits of bfloat16, not the numbers
            p, q = widen(p), widen(q)
        total = tl.dot(p, q, total, input_precision="ieee", out_dtype=COMPUTE)
        a_tile += a_step
        b_tile += b_step

    inside = (row < m)[:, None] & (column < n)[None, :]
    at = batch * y_batch + row.to(tl.int64)[:, None] * n + column[None, :]
    if bias is not None:
        total += widen(tl.load(bias + column % n)).to(COMPUTE)[None, :]
    if saved is not None:
        tl.store(saved + at, narrow(total, saved.dtype.element_ty), mask=inside)
    tl.store(y + at, narrow(ACTIVATION(total), y.dtype.element_ty), mask=inside)


def configuration(m, n, k, dtype, keep=False):
    """(M, N, K, warps, stages) of the tiles for a product (m, k) @ (k, n).

    The largest tile fills the registers. Where z has to be kept beside f(z), as for GELU, none are
    left for the activation, and numbers would spill to memory: the tile is half as large, and the
    smallest one is shared by twice as many threads.
    """
    if device.few_programs:
        return *(min(256, max(16, triton.next_power_of_2(s))) for s in (m, n, k)), 4, 1
    if dtype == torch.float64:
        return 64, 64, 16, 8, 3
    if dtype == torch.float32:
        return (64, 64, 32, 4, 3) if m * n >= 1 << 20 else (32, 32, 32, 4, 3)
    if m * n >= 1 << 22 and not keep:
        return 128, 256, 64, 8, 3
    if m * n >= 1 << 18:
        return 128, 128, 64, 8, 3
    return 64, 64, 64, 8 if keep else 4, 4


def _product(a, b, bias=None, activation=IDENTITY, keep=False, dtype=None):
    """f(a b + bias) for a (batch, m, k) and b (batch, k, n) with any strides, and z if `keep`."""
    batches, m, k = a.shape
    n = b.shape[-1]
    y = torch.empty((batches, m, n), dtype=dtype or a.dtype, device=a.device)
    saved = torch.empty_like(y) if keep else None
    if y.numel() == 0:
        return y, saved
    wide = compute_type(a.dtype)
    tile_m, tile_n, tile_k, warps, stages = configuration(m, n, k, a.dtype, keep)
    tiles = triton.cdiv(m, tile_m) * triton.cdiv(n, tile_n)
    with on_device_of(a):
        for some in launches(batches, tiles):
            p, q, r = (x if len(some) == batches else x[some.start : some.stop] for x in (a, b, y))
            _matmul_kernel[(len(some) * tiles,)](
                p, q, bias, r, saved, m, n, k, *a.stride(), *b.stride(), y.stride(0),
                activation, wide, tile_m, tile_n, tile_k, 8, INTERPRETED.value,
                num_warps=warps, num_stages=stages, **LAUNCH,
            )  # fmt: skip
    return y, saved


def _stack(x, leading):
    """x (..., r, c) as (batch, r, c): a view where its strides allow it."""
    if x.shape[:-2] == leading == ():
        return x[None]
    x = x.expand(*leading, *x.shape[-2:])
    if len(leading) == 1:
        return x
    return contiguous(x).view(math.prod(leading), *x.shape[-2:])


def as_matrices(a, b):
    """a and b with the axis of length 1 that a vector lacks: a row on the left, a column on the right."""
    return (a[None, :] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)


def as_matrix(y, a, b):
    """y = a @ b with the axes that vectors among a and b left out of it."""
    if b.ndim == 1:
        y = y[..., None]
    return y[..., None, :] if a.ndim == 1 else y


def matmul(a, b):
    r"""Y = A B,  y_ij = Σ_k a_ik b_kj"""
    check_tensors("matmul", a, b)
    require_axes(tuple(a.shape), tuple(b.shape), "matmul ")
    p, q = as_matrices(a, b)
    _require_fitting(p, q)
    y = _batched_product(p, q, a.dtype)
    return y.view((*y.shape[:-2], *a.shape[-2:-1], *(b.shape[-1:] if b.ndim > 1 else ())))


def _batched_product(a, b, dtype):
    """a b in the given type, with broadcast leading axes."""
    leading = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y, _ = _product(_stack(a, leading), _stack(b, leading), dtype=dtype)
    return y.view(*leading, a.shape[-2], b.shape[-1])


def _require_fitting(a, b):
    if not a.dtype.is_floating_point:
        raise DTypeError(f"products of matrices are of floats on Triton, got {a.dtype}: cast them")
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2] or a.dtype != b.dtype:
        raise ShapeError(
            f"matmul needs matrices (..., m, k) and (..., k, n) of one type, got {tuple(a.shape)} "
            f"{a.dtype} and {tuple(b.shape)} {b.dtype}"
        )


def _transposed(x):
    return x.transpose(-1, -2)


def matmul_vjp(g, a, b, wrt=("a", "b")):
    r"""∂L/∂A = G Bᵀ,  ∂L/∂B = Aᵀ G"""
    g, (p, q) = as_matrix(g, a, b), as_matrices(a, b)
    da = _summed_product(g, _transposed(q), p).view(a.shape) if "a" in wrt else None
    db = _summed_product(_transposed(p), g, q).view(b.shape) if "b" in wrt else None
    return da, db


def _summed_product(p, q, x):
    """p q, summed over the batches that x was stretched to; half types are summed in float32."""
    if torch.broadcast_shapes(p.shape[:-2], q.shape[:-2]) == x.shape[:-2]:
        return _batched_product(p, q, x.dtype)
    product = _batched_product(p, q, arithmetic(x.dtype))
    return rounded(sum_to(product, x.shape), x.dtype)


def _rows(x):
    """x (..., k) as one matrix (1, rows, k)."""
    return contiguous(x).view(1, math.prod(x.shape[:-1]), x.shape[-1]) if x.ndim != 2 else x[None]


def linear(x, kernel, bias, activation="identity"):
    r"""y = f(x W + b), and what the gradient of f is written in: y, or z = x W + b"""
    check_tensors("linear", x, kernel, bias)
    _require_fitting(_rows(x)[0], kernel)
    f = getattr(activations, activation).formula
    keep = "x" in TABLE[activation].saves
    y, z = _product(_rows(x), kernel[None], contiguous(bias), f, keep)
    shape = (*x.shape[:-1], kernel.shape[-1])
    y = y.view(shape)
    return y, (z.view(shape) if keep else y)


def linear_vjp(g, x, kernel, saved, activation="identity", wrt=("x", "kernel", "bias")):
    r"""∂L/∂z = g · f'(z);  ∂L/∂x = ∂L/∂z Wᵀ,  ∂L/∂W = xᵀ ∂L/∂z,  ∂L/∂b = Σ_rows ∂L/∂z"""
    check_tensors("linear_vjp", g, x, kernel)
    vjp = getattr(activations, f"{activation}_vjp")
    dz = vjp(g, saved) if len(vjp.data) == 2 else vjp(g)
    rows = _rows(dz)
    dx = dkernel = dbias = None
    if "x" in wrt:
        dx = _product(rows, _transposed(kernel)[None])[0].view(x.shape)
    if "kernel" in wrt:
        dkernel = _product(_transposed(_rows(x)), rows)[0][0]
    if "bias" in wrt:
        dbias = sum(rows[0], axis=0)
    return dx, dkernel, dbias
