"""Faults that a kernel sees and nobody waits for: noted on the GPU, raised where Python waits anyway.

Whether a position is out of range, or a label the number of no class, is known on the GPU, long after the
call that asked returned. To wait for the answer at each call would cost more than the call. So the kernel
notes the first fault it sees: four integers on its device, (1, position, axis, number of error and
shape). What moves values to the CPU, or waits for the device, reads the note and raises the error. A CUDA
graph that is replayed notes as well.

Interpreted, on the CPU, there is nothing to wait for, and an error comes from the call at fault.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch

from refnet.ops.indexing import out_of_range
from refnet_triton.runtime.device import DEVICE

# isort: split
import triton
import triton.language as tl

later = DEVICE.type != "cpu"  # whether faults are noted, and not raised by the call at fault

_notes: dict[torch.device, torch.Tensor] = {}
_numbers: dict[tuple[Callable, tuple[int, ...]], int] = {}
_next_number = itertools.count()


def note_on(device: torch.device) -> torch.Tensor | None:
    """Where kernels on a device note a fault; None if there is no place, and none can be made.

    A CUDA graph would replay the zeros that a note starts with, and so forget what was noted. What is
    captured has run once before, as a rule, and made the note then.
    """
    if device not in _notes:
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return None
        _notes.setdefault(device, torch.zeros(4, dtype=torch.int64).to(device))
    return _notes[device]


def number_of(shape: tuple[int, ...], error: Callable = out_of_range) -> int:
    """The number that stands in a note for a shape, and for error(position, axis, shape)."""
    what = error, tuple(shape)
    return _numbers[what] if what in _numbers else _numbers.setdefault(what, next(_next_number))


def raise_noted() -> None:
    """Raise the error of the first fault that was noted, and forget it. Waits for the GPU."""
    for note in list(_notes.values()):
        seen, position, axis, number = note.tolist()
        if seen:
            note.zero_()
            error, shape = next(what for what, known in _numbers.items() if known == number)
            raise error(position, axis, shape)


@triton.jit
def note_first(note, coordinate, step, axes, lengths, shape):
    """Note a coordinate: its first position that is out of range, and the axis. One program wins."""
    free, taken = tl.full((), 0, tl.int64), tl.full((), 1, tl.int64)
    if tl.atomic_cas(note, free, taken) == 0:
        for j in tl.static_range(len(lengths) - 1, -1, -1):  # the first axis is the last to write
            position, n = tl.load(coordinate + j * step).to(tl.int64), lengths[j]
            if (position < -n) | (position >= n):
                tl.store(note + 1, position)
                tl.store(note + 2, axes[j])
        tl.store(note + 3, shape)


@triton.jit
def note_value(note, position, shape):
    """Note a number that is no position along the only axis of a shape."""
    free, taken = tl.full((), 0, tl.int64), tl.full((), 1, tl.int64)
    if tl.atomic_cas(note, free, taken) == 0:
        tl.store(note + 1, position.to(tl.int64))
        tl.store(note + 2, tl.full((), 0, tl.int64))
        tl.store(note + 3, shape)
