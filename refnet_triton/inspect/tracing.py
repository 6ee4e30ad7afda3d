"""Which program of a kernel touches which element: launches in the interpreter, their accesses noted.

The accesses (`refnet_triton.runtime.guard`) tell everything: which elements are read and by whom, which
are written, never or twice, and how many lanes idle. The launches are those of a GPU: blocks, tiles and
grids have the sizes they have there (`device.as_on_a_gpu`).

Programs are numbered through all launches of an op: those of the second one follow those of the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from refnet.errors import BackendError
from refnet.op import TABLE, Op
from refnet_triton.runtime import device
from refnet_triton.runtime.guard import Access, watched

NOBODY = -1


class _Notes:
    """Launches and their accesses, noted while the block runs."""

    def __init__(self) -> None:
        self.launches: list[dict[str, Any]] = []
        self.tensors: list[torch.Tensor] = []  # kept, so that no memory is given out twice
        self.accesses: list[tuple[int, int, Access]] = []  # each with its launch and program
        self._count = 0  # programs of all launches so far

    def launched(self, kernel: str, grid: tuple[int, ...], tensors: list[torch.Tensor]) -> None:
        """One launch."""
        programs = [self._count, self._count + math.prod(grid)]
        self._count = programs[1]
        self.launches.append({"kernel": kernel, "grid": list(grid), "programs": programs})
        self.tensors += tensors

    def touched(self, access: Access) -> None:
        """One load or store."""
        program = self.launches[-1]["programs"][0] + access.program
        self.accesses.append((len(self.launches) - 1, program, access))


# -- the elements of the tensors -------------------------------------------------------------------


class _Memory:
    """A tensor, where its elements lie, and who touched them."""

    def __init__(self, name: str, role: str, tensor: torch.Tensor) -> None:
        self.name, self.role, self.tensor = name, role, tensor
        pairs = zip(tensor.shape, tensor.stride(), strict=True)
        self.stored = tuple(n if stride or n == 0 else 1 for n, stride in pairs)
        offsets = np.zeros(self.stored, np.int64)
        for axis, (n, stride) in enumerate(zip(self.stored, tensor.stride(), strict=True)):
            steps = np.arange(n, dtype=np.int64) * stride
            offsets = offsets + steps.reshape(-1, *[1] * (len(self.stored) - axis - 1))
        places = tensor.data_ptr() + tensor.element_size() * offsets.reshape(-1)
        self._order = np.argsort(places, kind="stable")
        self._places = places[self._order]
        self.writes, self.reads = (np.zeros(places.size, np.int64) for _ in "wr")
        self.writer, self.reader = (np.full(places.size, NOBODY, np.int64) for _ in "wr")

    def touch(self, program: int, access: Access) -> np.ndarray[Any, Any]:
        """Count an access of a program; which of its active lanes are on this tensor."""
        if not self._places.size:
            return np.zeros(access.addresses.size, bool)
        at = np.searchsorted(self._places, access.addresses).clip(max=self._places.size - 1)
        here = access.active & (self._places[at] == access.addresses)
        elements = self._order[at[here]]
        if access.writes:
            np.add.at(self.writes, elements, 1)
            self.writer[elements] = program
        else:
            elements = np.unique(elements)
            self.reads[elements] += 1
            new = elements[self.reader[elements] == NOBODY]
            self.reader[new] = program
        return here

    def entry(self) -> dict[str, Any]:
        """What there is to say, in lists and numbers."""
        return {
            "name": self.name, "role": self.role, "shape": list(self.tensor.shape),
            "stored": list(self.stored), "dtype": str(self.tensor.dtype).removeprefix("torch."),
            "writes": self.writes.tolist(), "writer": self.writer.tolist(),
            "reads": self.reads.tolist(), "reader": self.reader.tolist(),
        }  # fmt: skip


def trace(
    name: str, function: Callable[..., Any], arrays: tuple[Any, ...], attributes: dict[str, Any]
) -> dict[str, Any]:
    """Run an op's twin and say who touched what: see `Backend.trace` for what is returned."""
    if not device.INTERPRETED.value:
        raise BackendError("a trace needs Triton's interpreter: set TRITON_INTERPRET=1")
    op, notes = TABLE[name], _Notes()
    with device.as_on_a_gpu(), watched(notes.launched, notes.touched), np.errstate(all="ignore"):
        results = function(*arrays, **attributes)
    memory, views = _memory(op, arrays, results, notes.tensors)
    lanes: dict[tuple[int, int], list[dict[str, Any]]] = {}
    stray = 0
    for launch, program, access in notes.accesses:
        known = np.zeros(access.addresses.size, bool)
        for one in memory:
            known |= one.touch(program, access)
        stray += int((access.active & ~known).sum())
        mask = "".join("1" if on else "0" for on in access.active)
        lanes.setdefault((launch, program), []).append({"writes": access.writes, "mask": mask})
    for number, one in enumerate(notes.launches):
        one["lanes"] = [lanes.get((number, p), []) for p in range(*one["programs"])]
    return {
        "op": name, "launches": notes.launches, "tensors": [one.entry() for one in memory],
        "views": views, "stray": stray,
    }  # fmt: skip


def _memory(
    op: Op, arrays: tuple[Any, ...], results: Any, arguments: list[torch.Tensor]
) -> tuple[list[_Memory], list[str]]:
    """The tensors of an op, inputs first, and the names of results that are views of an input."""
    given = zip(op.names(len(arrays)), arrays, strict=True)
    memory = [_Memory(name, "input", x) for name, x in given]
    known = {_storage(x) for x in arrays}
    views = []
    results = results if isinstance(results, tuple | list) else (results,)
    names = op.outputs if len(op.outputs) == len(results) else op.outputs[:1] * len(results)
    written: set[tuple] = set()
    for name, y in zip(names, results, strict=True):
        if y is None:
            continue
        place = y.data_ptr(), tuple(y.shape), y.stride()
        if _storage(y) in known:
            if op.writes and any(y.data_ptr() == one.tensor.data_ptr() for one in memory):
                same = next(one for one in memory if y.data_ptr() == one.tensor.data_ptr())
                same.role = "overwritten"
            else:
                views.append(name)
        elif place not in written:
            written.add(place)
            memory.append(_Memory(name, "output", y))
    known |= {_storage(one.tensor) for one in memory}
    for tensor in arguments:
        if _storage(tensor) not in known:
            known.add(_storage(tensor))
            whole = tensor.new_empty(0).set_(tensor.untyped_storage())
            kept = tensor if tensor.numel() == whole.numel() else whole
            memory.append(_Memory("between", "temporary", kept))
    return memory, views


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)
