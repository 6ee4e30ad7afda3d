"""The same numbers elsewhere in memory: laid out without gaps, or in another type.

All of it is the shared pointwise kernel storing what it loaded (`pointwise.copy_`).
"""

from __future__ import annotations

import torch

from refnet_triton.language.pointwise import copied, copy_


def contiguous(x):
    """x itself if its elements lie side by side in row-major order, else a copy that does."""
    if x.is_contiguous():
        return x
    return copied(x)


def rounded(x, dtype):
    """x in another type, rounded to the nearest; x itself if it has that type."""
    if x.dtype == dtype:
        return x
    return copy_(torch.empty(x.shape, dtype=dtype, device=x.device), x)


def wide(x):
    """Half types as float32: for what is summed before it is rounded."""
    half = x.dtype in (torch.float16, torch.bfloat16)
    return rounded(x, torch.float32) if half else x
