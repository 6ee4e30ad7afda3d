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
from refnet.shapes import Spec
from refnet_triton import inspect
from refnet_triton.accesses import guarded
from refnet_triton.runtime import DEVICE, INTERPRETED

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

    def function(self, op: Op) -> Callable[..., Any]:
        if op not in self._functions:
            self._functions[op] = self._twin(op)
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

    def feed(self, values: np.ndarray[Any, Any]) -> Array:
        """The same memory as a tensor, on the CPU: a captured graph copies it to its inputs."""
        usable = values.flags.writeable and values.flags.c_contiguous
        return torch.from_numpy(values if usable else values.copy())

    def from_dlpack(self, array: Any) -> Array:
        return torch.from_dlpack(array).to(DEVICE)

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        array = array.detach()
        if array.dtype == torch.bfloat16:
            array = array.float()
        return array.cpu().numpy()

    def dtype(self, array: Array) -> str:
        return str(array.dtype).removeprefix("torch.")

    def synchronize(self) -> None:
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    @contextmanager
    def poisoned(self) -> Iterator[None]:
        """PyTorch fills what `torch.empty` returns, as long as algorithms have to be deterministic.

        Interpreted kernels are guarded besides: see `refnet_triton.accesses`.
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
        return run if DEVICE.type != "cuda" else CapturedGraph(run, arguments)

    def inspect(
        self,
        op: Op,
        inputs: Sequence[Spec],
        attributes: Mapping[str, Any],
        target: str,
        listing: str = "",
    ) -> list[dict[str, Any]]:
        return inspect.inspect(inspect.Inspection(op, inputs, attributes, target, listing))[0]

    def trace(
        self, op: Op, inputs: Sequence[Any], attributes: Mapping[str, Any], dtype: str
    ) -> dict[str, Any]:
        return inspect.trace(inspect.Trace(op, inputs, attributes, dtype))[0]

    def describe(self) -> str:
        how = "interpreted on the CPU" if self.interpreted else torch.cuda.get_device_name(DEVICE)
        return f"Triton {triton.__version__}, torch {torch.__version__}, {how}"


class CapturedGraph:
    """A function on tensors as one CUDA graph: Python runs once, then the GPU replays its launches.

    The first call runs as usual, which compiles the kernels; the second is captured. Inputs are copied
    to fixed places before a replay, and results copied out of theirs after it.
    """

    def __init__(self, run: Callable[..., Any], arguments: tuple[Array, ...]) -> None:
        self._run = run
        self._inputs = tuple(a.clone() for a in arguments)
        self._graph: Any = None
        self._warm = False

    def __call__(self, *arguments: Array) -> tuple[Array, ...]:
        if self._graph is None and not self._warm:
            self._warm = True
            return self._run(*(a.to(DEVICE) for a in arguments))
        for place, value in zip(self._inputs, arguments, strict=True):
            place.copy_(value, non_blocking=True)
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = self._run(*self._inputs)
        self._graph.replay()
        return tuple(output.clone() for output in self._outputs)
