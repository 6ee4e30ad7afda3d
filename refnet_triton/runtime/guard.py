"""Every load and store of a kernel, seen in the interpreter; and a guard that lets none stray.

A kernel gets addresses from its pointers, one for each lane, and a mask that switches lanes off. The
interpreter hands both to one function for loads and one for stores. Wrapped, these tell everything.

A lane that reads beside the tensors of its launch reads whatever lies there. Nobody sees it where the
number is dropped later on; but on a GPU there may be no memory at all, and then the program dies. A lane
that is switched off has no value, unless the load names one; the interpreter makes it 0, the guard NaN.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from refnet.errors import BackendError


class Access(NamedTuple):
    """One load or store of one program: an address for each lane, and whether the lane is on.

    `program` counts the programs of its launch, `bytes` are those of one element.
    """

    program: int
    writes: bool
    addresses: np.ndarray[Any, Any]
    active: np.ndarray[Any, Any]
    bytes: int


@contextlib.contextmanager
def watched(
    launched: Callable[[str, tuple[int, ...], list[torch.Tensor]], Any],
    touched: Callable[[Access], Any],
) -> Iterator[None]:
    """Within the block, ``launched(kernel, grid, tensors)`` is called before each launch, and
    ``touched(access)`` before each load and store of its programs.
    """
    from triton.runtime import interpreter

    builder, executor = interpreter.InterpreterBuilder, interpreter.GridExecutor
    load, store = builder.create_masked_load, builder.create_masked_store
    launch = executor.__call__

    def watched_load(builder: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        touched(_access(builder, pointers, mask, False))
        return load(builder, pointers, mask, *rest)

    def watched_store(builder: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        touched(_access(builder, pointers, mask, True))
        return store(builder, pointers, value, mask, *rest)

    def watched_launch(executor: Any, *arguments: Any, **options: Any) -> Any:
        grid = executor.grid if isinstance(executor.grid, tuple) else (executor.grid,)
        launched(executor.fn.__name__, grid, list(tensors_in((*arguments, *options.values()))))
        return launch(executor, *arguments, **options)

    builder.create_masked_load, builder.create_masked_store = watched_load, watched_store
    executor.__call__ = watched_launch
    try:
        yield
    finally:
        builder.create_masked_load, builder.create_masked_store = load, store
        executor.__call__ = launch


def _access(builder: Any, pointers: Any, mask: Any, writes: bool) -> Access:
    x, y, z = builder.grid_idx
    wide, high, _ = builder.grid_dim
    addresses = np.asarray(pointers.data).astype(np.int64).reshape(-1)
    active = np.broadcast_to(np.asarray(mask.data).astype(bool), np.shape(pointers.data))
    size = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
    return Access(x + wide * (y + high * z), writes, addresses, active.reshape(-1).copy(), size)


def tensors_in(values: Any) -> Iterator[torch.Tensor]:
    """The tensors among the arguments of a launch, those in tuples included."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, tuple):
            yield from tensors_in(value)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Within the block, a load or store beside the tensors of its launch is an error, and what a lane
    that is off reads is NaN (an integer: its largest value).
    """
    kernel, extents = "", []

    def launched(name: str, grid: tuple[int, ...], tensors: list[torch.Tensor]) -> None:
        nonlocal kernel, extents
        kernel, extents = name, [extent(tensor) for tensor in tensors if tensor.numel()]

    def touched(access: Access) -> None:
        addresses = access.addresses[access.active]
        if not addresses.size:
            return
        first, end = int(addresses.min()), int(addresses.max()) + access.bytes
        if any(start <= first and end <= stop for start, stop in extents):
            return
        kind = "stores" if access.writes else "loads"
        start, stop = min(extents, key=lambda e: max(e[0] - first, end - e[1]))
        raise BackendError(
            f"program {access.program} of {kernel} {kind} bytes {first - start} to {end - start} of a "
            f"tensor of {stop - start} bytes: a lane without a mask, or a wrong address"
        )

    from triton.runtime import interpreter

    builder = interpreter.InterpreterBuilder
    load = builder.create_masked_load

    def poisoned_load(builder: Any, pointers: Any, mask: Any, other: Any, *rest: Any) -> Any:
        loaded = load(builder, pointers, mask, other, *rest)
        if other is None and not mask.data.all():
            loaded.data = np.where(mask.data, loaded.data, _poison(loaded))
        return loaded

    builder.create_masked_load = poisoned_load
    try:
        with watched(launched, touched):
            yield
    finally:
        builder.create_masked_load = load


def _poison(loaded: Any) -> Any:
    """NaN as the interpreter stores it (bfloat16 as the bits of a uint16); an integer's largest value."""
    kind = loaded.data.dtype
    if kind.kind == "f":
        return kind.type(np.nan)
    if loaded.dtype.scalar.is_bf16():
        return kind.type(0x7FC0)
    return kind.type(True) if kind.kind == "b" else np.iinfo(kind).max


def extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The addresses from the first byte of a tensor to behind its last one."""
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    start = tensor.data_ptr()
    return start, start + (last + 1) * tensor.element_size()
