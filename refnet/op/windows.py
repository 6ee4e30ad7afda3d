r"""Shapes where windows slide: convolution and pooling.

Along an axis of length n, a window of w elements, d apart, that moves by s covers

    e = d (w - 1) + 1

elements. With padding "valid" it stays within the axis, with "same" zeros (or nothing) stand around so
that it starts at every s-th element:

    n_out = ⌊(n - e) / s⌋ + 1  ("valid"),    n_out = ⌈n / s⌉  ("same")

Dumoulin and Visin (2016), "A guide to convolution arithmetic for deep learning". Arrays are
(batch, lengths ..., channels), as in Keras.

The types of the results are those of the inputs, which `refnet.op.promotion` has brought to one: a
formula of windows cannot be asked with one number, as `refnet.op.shapes.types` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from refnet.errors import ShapeError
from refnet.op.shapes import Attributes, Length, Shape, Spec, agree

if TYPE_CHECKING:
    from refnet.op import Op

PADDINGS = ("valid", "same")


def output_length(
    n: Length, window: int, stride: int = 1, padding: str = "valid", dilation: int = 1
) -> Length:
    """How often a window fits along an axis of length n; None for an open one.

    >>> output_length(28, 3), output_length(28, 3, 2), output_length(28, 3, 2, "same")
    (26, 13, 14)
    """
    if n is None:
        return None
    if padding == "same":
        return -(-n // stride)
    covered = dilation * (window - 1) + 1
    if covered > n:
        raise ShapeError(f"a window that covers {covered} elements does not fit in {n}")
    return (n - covered) // stride + 1


def padding_widths(
    n: int, window: int, stride: int = 1, padding: str = "valid", dilation: int = 1
) -> tuple[int, int]:
    """How many elements stand before and after the axis: with "same" the later side has the odd one.

    >>> padding_widths(28, 3, 1, "same"), padding_widths(28, 2, 1, "same"), padding_widths(28, 3)
    ((1, 1), (0, 1), (0, 0))
    """
    if padding == "valid":
        return 0, 0
    count = -(-n // stride)
    total = max((count - 1) * stride + dilation * (window - 1) + 1 - n, 0)
    return total // 2, total - total // 2


def per_axis(name: str, value: Any, axes: int) -> tuple[int, ...]:
    """One number for each axis, of a number for all or a tuple; at least 1.

    >>> per_axis("strides", 2, 3)
    (2, 2, 2)
    """
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(values) != axes or not all(isinstance(v, int) and v >= 1 for v in values):
        raise ShapeError(f"{name} is a number of at least 1, or {axes} of them, got {value!r}")
    return values


def pooled(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """x (batch, lengths ..., channels) under windows of `pool_size`; strides: as long, if None."""
    x = specs[0]
    axes = _axes(x.shape)
    window = per_axis("pool_size", attributes["pool_size"], axes)
    strides = attributes.get("strides")
    moves = window if strides is None else per_axis("strides", strides, axes)
    lengths = _slid(x.shape, window, moves, attributes)
    return [Spec((x.shape[0], *lengths, x.shape[-1]), x.dtype)] * len(op.outputs)


def convolved(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """x (batch, ..., channels), kernel (windows ..., channels, filters) give (batch, ..., filters)."""
    x, kernel = specs[0], specs[1]
    axes = _axes(x.shape)
    if len(kernel.shape) != axes + 2 or not agree(x.shape[-1:], kernel.shape[-2:-1]):
        raise ShapeError(
            f"x {x.shape} has {axes} axes between batch and channels: it needs a kernel of {axes} "
            f"windows, {x.shape[-1]} channels and the filters, got {kernel.shape}"
        )
    window = kernel.shape[:axes]
    if None in window:
        raise ShapeError(f"the windows of the kernel {kernel.shape} have to be known")
    moves = per_axis("strides", attributes.get("strides", 1), axes)
    lengths = _slid(x.shape, [n or 0 for n in window], moves, attributes)
    return [Spec((x.shape[0], *lengths, kernel.shape[-1]), x.dtype)] * len(op.outputs)


def _axes(shape: Shape) -> int:
    """How many axes windows slide along."""
    if len(shape) < 3:
        raise ShapeError(f"windows slide over (batch, lengths ..., channels), got {shape}")
    return len(shape) - 2


def _slid(
    shape: Shape, window: Sequence[int], strides: Sequence[int], attributes: Attributes
) -> list[Length]:
    padding = attributes.get("padding", "valid")
    if padding not in PADDINGS:
        raise ShapeError(f"padding is one of {', '.join(PADDINGS)}, got {padding!r}")
    dilation = per_axis("dilation_rate", attributes.get("dilation_rate", 1), len(window))
    each = zip(shape[1:-1], window, strides, dilation, strict=True)
    return [output_length(n, w, s, padding, d) for n, w, s, d in each]


__all__ = ["convolved", "output_length", "padding_widths", "per_axis", "pooled"]
