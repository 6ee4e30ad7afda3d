"""A case's inputs, drawn on the device: 64 million numbers take no time there."""

from __future__ import annotations

import itertools
from typing import Any

from refnet_triton.runtime import device

# isort: split
import torch

from refnet import backend as backends
from refnet.op import Op
from refnet.op.columns import Case


def backend() -> Any:
    """The backend `triton`, registered by hand in a checkout that was not installed."""
    backends.register_uninstalled("triton", "refnet_triton.backend:TritonBackend")
    return backends.get("triton")


class Drawn(torch.Tensor):
    """A tensor on which NumPy's functions are torch's of the same name: np.exp(x) is torch.exp(x)."""

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **named: Any) -> Any:
        return getattr(torch, function.__name__)(*inputs, **named)

    def __array_function__(self, function: Any, types: Any, inputs: Any, named: Any) -> Any:
        return getattr(torch, function.__name__)(*inputs, **named)


class Draws:
    """What a case asks a NumPy generator for, drawn on the device: 64 million numbers in no time."""

    def normal(self, mean: float, deviation: float, shape: Any) -> Drawn:
        """Normally distributed numbers, in float32."""
        shape = (shape,) if isinstance(shape, int) else shape
        return (torch.randn(shape, device=device.DEVICE) * deviation + mean).as_subclass(Drawn)

    def integers(self, low: int, high: int, shape: Any) -> Drawn:
        """Whole numbers low … high-1, in int64."""
        shape = (shape,) if isinstance(shape, int) else shape
        return torch.randint(low, high, shape, device=device.DEVICE).as_subclass(Drawn)


def _place(x: Any, dtype: str) -> torch.Tensor:
    """An input as a plain tensor on the device, floats in `dtype`."""
    x = (
        x.as_subclass(torch.Tensor)
        if isinstance(x, Drawn)
        else torch.as_tensor(x, device=device.DEVICE)
    )
    return x.to(getattr(torch, dtype)) if x.is_floating_point() else x


def draw(op: Op, case: Case, dtype: str) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """(inputs, attributes) of a case on the device, as `agreement.inputs_for` makes them in NumPy."""
    primal = op.primal or op
    inputs = tuple(_place(x, dtype) for x in case.make(Draws()))  # type: ignore[arg-type]
    attributes = {k: v for k, v in case.attributes.items() if k in op.attributes}
    if op.draws:
        attributes["dtype"] = dtype
    if op.primal is None:
        return inputs, attributes
    results = as_tuple(backend().function(primal)(*inputs, **case.attributes))
    outputs = dict(zip(primal.outputs, results, strict=False))
    known = outputs | dict(zip(primal.inputs, inputs, strict=False))
    saved = [inputs if primal.variadic else (known[name],) for name in primal.saves]
    shapes = [tuple(outputs[name].shape) for name in primal.differentiable]
    upstream = [_place(Draws().normal(0.0, 1.0, shape), dtype) for shape in shapes]
    return (*upstream, *itertools.chain(*saved)), attributes


def as_tuple(results: Any) -> tuple[Any, ...]:
    """The results of an op: one, or several."""
    return tuple(results) if isinstance(results, tuple | list) else (results,)
