"""Which element lies where in memory: shapes, strides, and addresses.

A tensor is an address, a length and a step for each axis. From these follows, with no look at any number,
which elements lie side by side, and which of two tensors lie in the same memory.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch


def collapse(
    shape: tuple[int, ...], strides: list[tuple[int, ...]]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """The same elements with as few dimensions as possible.

    Dimensions of size 1 go. Two neighbours become one if a step of the outer one is, in every
    tensor, as long as all steps of the inner one together. A whole batch of rows is then just a
    longer row.
    """
    sizes: list[int] = []
    kept: list[list[int]] = [[] for _ in strides]
    for d, size in enumerate(shape):
        if size == 1:
            continue
        if sizes and all(k[-1] == size * s[d] for k, s in zip(kept, strides, strict=True)):
            sizes[-1] *= size
            for k, s in zip(kept, strides, strict=True):
                k[-1] = s[d]
        else:
            sizes.append(size)
            for k, s in zip(kept, strides, strict=True):
                k.append(s[d])
    return tuple(sizes), [tuple(k) for k in kept]


def expand(
    shape: tuple[int, ...], strides: tuple[int, ...], to: tuple[int, ...]
) -> tuple[int, ...]:
    """The strides of a tensor broadcast to a larger shape: 0 where it is repeated."""
    missing = len(to) - len(shape)
    kept = (
        0 if size != full else stride
        for size, stride, full in zip(shape, strides, to[missing:], strict=True)
    )
    return (0,) * missing + tuple(kept)


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the elements lie side by side in row-major order."""
    return collapse(shape, [strides])[1][0] in ((), (1,)) or 0 in shape


def reach(sizes: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """The largest offset of an element."""
    return sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))


def stored_twice(sizes: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether two indices may lead to one element: a step is no longer than all inner ones together."""
    inner = 0
    for stride, size in sorted(zip(strides, sizes, strict=True)):
        if size > 1 and stride <= inner:
            return True
        inner += (size - 1) * stride
    return False


def meetings(kinds: list[tuple], writes: list[int], shape: tuple[int, ...]) -> tuple[tuple, ...]:
    """(i, j, low, high, same): tensor i is written, and j lies in the same memory if it begins more
    than `low` and fewer than `high` bytes behind it.

    Unless j is an input and begins `same` bytes behind it: then each element of j is read where it is
    written, and before. `same` is None where that cannot be.

    ``kinds`` has (dtype, shape, strides, device) of each tensor, which broadcast to `shape`, and
    ``writes`` says which of them are written.
    """
    if 0 in shape or "meta" in {device.type for *_, device in kinds}:
        return ()  # nothing is written; or there is no memory
    steps, spans = [], []
    for dtype, sizes, strides, _ in kinds:
        expanded = zip(shape, expand(sizes, strides, shape), strict=True)
        steps.append((dtype, [step for n, step in expanded if n > 1]))
        spans.append((reach(sizes, strides) + 1) * dtype.itemsize)
    return tuple(
        (i, j, -spans[j], spans[i], 0 if j not in writes and steps[i] == steps[j] else None)
        for i in writes
        for j in range(len(kinds))
        if i < j or j not in writes
    )


def share_elements(*tensors: torch.Tensor) -> bool:
    """Whether two tensors have an element in common. Those that take turns, x[::2] and x[1::2], do not.

    NumPy works it out from addresses alone, and looks at no memory: it may be that of a GPU.
    """
    return np.shares_memory(*(
        np.asarray(SimpleNamespace(__array_interface__={
            "version": 3, "typestr": f"|V{x.itemsize}", "data": (x.data_ptr(), True),
            "shape": tuple(x.shape), "strides": tuple(x.itemsize * step for step in x.stride()),
        })) for x in tensors
    ))  # fmt: skip
