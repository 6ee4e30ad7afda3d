"""The backend `triton`: the twins of `refnet_triton.ops`, on torch tensors."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from refnet.backend import Array, Backend
from refnet.errors import BackendError, DTypeError
from refnet.op import Op
from refnet.op.fitting import Fitted
from refnet.op.shapes import Spec
from refnet_triton.capture import TURN, CapturedGraph, Graphs
from refnet_triton.inspect import process
from refnet_triton.runtime import faults
from refnet_triton.runtime.device import DEVICE, INTERPRETED
from refnet_triton.runtime.guard import guarded

# isort: split
import triton


class TritonBackend(Backend):
    """Kernels compiled on a GPU, interpreted on a machine without one."""

    name = "triton"
    array_type = torch.Tensor
    dtypes = ("float32", "float16", "bfloat16", "float64")
    interpreted = bool(INTERPRETED.value)

    def __init__(self) -> None:
        self._functions: dict[Op, Callable[..., Any]] = {}
        self._graphs = Graphs()

    def function(self, op: Op) -> Callable[..., Any]:
        if op not in self._functions:
            self._functions[op] = Fitted(op, self._twin(op))
        return self._functions[op]

    def _twin(self, op: Op) -> Callable[..., Any]:
        path = f"refnet_triton.ops.{op.file}"
        try:
            return getattr(importlib.import_module(path), op.name)
        except (ModuleNotFoundError, AttributeError) as error:
            raise BackendError(
                f"backend 'triton' has no twin of op {op.name!r} in {path}"
            ) from error

    def array(self, values: Any, dtype: str | None = None) -> Array:
        kind = None if dtype is None else getattr(torch, dtype, None)
        if dtype is not None and not isinstance(kind, torch.dtype):
            raise DTypeError(f"PyTorch has no type {dtype!r}")
        if isinstance(values, torch.Tensor):
            return values.to(device=DEVICE, dtype=kind, copy=True)
        values = np.asarray(values)
        if not values.flags.writeable or any(stride < 0 for stride in values.strides):
            values = values.copy()
        return torch.tensor(values, dtype=kind, device=DEVICE)

    def feed(self, values: Any) -> Array:
        """The same memory as a tensor, on the CPU: a captured graph copies it to its inputs.

        A tensor is fed as it is: a batch that is on the GPU does not travel.
        """
        if isinstance(values, torch.Tensor):
            return values
        usable = values.flags.writeable and values.flags.c_contiguous
        return torch.from_numpy(values if usable else values.copy())

    def from_dlpack(self, array: Any) -> Array:
        return torch.from_dlpack(array).to(DEVICE)

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """The values. What a kernel found wrong since they were last read is raised here."""
        array = array.detach()
        if array.dtype == torch.bfloat16:
            array = array.float()
        values = array.cpu().numpy()
        faults.raise_noted()
        return values

    def dtype(self, array: Array) -> str:
        return str(array.dtype).removeprefix("torch.")

    def synchronize(self) -> None:
        """Wait for the GPU. What a kernel found wrong since is raised here."""
        if DEVICE.type == "cuda":
            with TURN:  # waiting for the whole device would break a capture in another thread
                torch.cuda.synchronize()
        faults.raise_noted()

    @contextmanager
    def poisoned(self) -> Iterator[None]:
        """PyTorch fills what `torch.empty` returns, as long as algorithms have to be deterministic.

        Interpreted kernels are guarded besides: see `refnet_triton.runtime.guard`.
        """
        fill = torch.utils.deterministic.fill_uninitialized_memory
        strict = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = True
        try:
            with guarded() if self.interpreted else nullcontext():
                yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)
            torch.utils.deterministic.fill_uninitialized_memory = fill

    def capture(self, run: Callable[..., Any], arguments: tuple[Array, ...]) -> Callable[..., Any]:
        return run if DEVICE.type != "cuda" else CapturedGraph(run, self._graphs)

    def inspect(
        self,
        op: Op,
        inputs: Sequence[Spec],
        attributes: Mapping[str, Any],
        target: str,
        listing: str = "",
    ) -> list[dict[str, Any]]:
        return process.inspect(process.Inspection(op, inputs, attributes, target, listing))[0]

    def trace(
        self, op: Op, inputs: Sequence[Any], attributes: Mapping[str, Any], dtype: str
    ) -> dict[str, Any]:
        return process.trace(process.Trace(op, inputs, attributes, dtype))[0]

    def describe(self) -> str:
        how = "interpreted on the CPU" if self.interpreted else torch.cuda.get_device_name(DEVICE)
        return f"Triton {triton.__version__}, torch {torch.__version__}, {how}"
