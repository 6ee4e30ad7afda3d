"""Which program of a kernel touches which element: as a picture, and as text where tensors are small.

What is shown is what `Backend.trace` returns. Programs are numbered through all launches of an op.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refnet.errors import ArgumentError
from refnet.plot.figure import GREY, RED, new_figure, save

Trace = Mapping[str, Any]
#: one program is told from the next by these, in turn (Okabe and Ito, lighter)
PALETTE = ("#7FB8DA", "#F3CC80", "#80CFB9", "#EBAF80", "#E5BCD3", "#F7F2A0", "#AFDAF4")
NOTHING, MASKED = "#FFFFFF", "#9A9A9A"
COLUMNS = 3  # panels side by side
FOLD = 64  # elements of a vector in one row of its picture
NUMBERED = 48  # programs that get their number written
LARGEST_TEXT = (40, 40)  # rows and columns of a tensor that is printed


def memory_trace(trace: Trace, path: str | Path, title: str = "") -> Path:
    """Each tensor as a grid coloured by program: who wrote an element, or who read it first.

    Dots mark what several programs read, unless all of it is; a red cross what is written twice, or
    should be written and never is. Below, for each launch, the lanes of each program's stores: grey
    ones are masked off.
    """
    tensors = touched(trace)
    panels = len(tensors) + len(trace["launches"])
    if not panels:
        raise ArgumentError(f"{trace['op']} launches no kernel here, so there is nothing to draw")
    columns = 2 if panels == 4 else min(COLUMNS, panels)
    rows = math.ceil(panels / columns)
    with new_figure((4.6 * columns, 3.5 * rows + 0.6), (rows, columns)) as (figure, axes):
        for ax in axes.flat:
            ax.grid(visible=False)
        for ax in axes.flat[panels:]:
            ax.set_axis_off()
        for ax, tensor in zip(axes.flat, tensors, strict=False):
            _draw_tensor(ax, tensor)
        for number, launch in enumerate(trace["launches"]):
            _draw_lanes(axes.flat[len(tensors) + number], number, launch)
        figure.suptitle(title or f"{trace['op']}: which program touches what")
        return save(figure, path)


def touched(trace: Trace) -> list[Mapping[str, Any]]:
    """The tensors that a kernel reads or writes, or should write."""
    return [t for t in trace["tensors"] if t["role"] == "output" or any(t["reads"] + t["writes"])]


def faults(tensor: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Which elements of a result are not written exactly once; of an input, which are written."""
    writes = np.array(tensor["writes"], int)
    if tensor["role"] in ("output", "overwritten"):
        return writes != 1
    return writes > 1


def _programs(tensor: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """For each element who wrote it; of a tensor that is only read, who read it first."""
    return np.array(tensor["writer" if any(tensor["writes"]) else "reader"], int)


def _grid(tensor: Mapping[str, Any], values: np.ndarray[Any, Any], missing: Any) -> Any:
    """The elements as rows and columns; a long vector is folded."""
    shape = tensor["stored"]
    width = shape[-1] if len(shape) > 1 else min(FOLD, max(1, len(values)))
    rows = math.ceil(len(values) / max(1, width))
    padded = np.full(rows * width, missing, values.dtype)
    padded[: len(values)] = values
    return padded.reshape(rows, width)


def _colours(programs: Any) -> Any:
    """Numbers of programs as colours (red, green, blue); -1 is nobody, -2 a lane that is off."""
    from matplotlib.colors import to_rgb

    table = np.array([to_rgb(c) for c in (*PALETTE, MASKED, NOTHING)])
    return table[np.where(programs >= 0, programs % len(PALETTE), programs)]


def _draw_tensor(ax: Any, tensor: Mapping[str, Any]) -> None:
    programs = _grid(tensor, _programs(tensor), -1)
    ax.imshow(_colours(programs), aspect="auto", interpolation="nearest")
    _number(ax, programs)
    size = min(30.0, 4e3 / max(1, *programs.shape) ** 1.5)
    if not any(tensor["writes"]):
        shared = np.array(tensor["reads"], int) > 1
        y, x = np.nonzero(_grid(tensor, shared & ~shared.all(), False))
        ax.scatter(x, y, s=size / 3, color="black", marker=".", linewidths=0)
    y, x = np.nonzero(_grid(tensor, faults(tensor), False))
    ax.scatter(x, y, s=size, color=RED, marker="x", linewidths=0.9)
    ax.set_title(_heading(tensor), fontsize=10)
    folded = len(tensor["stored"]) < 2
    if folded and programs.shape[0] > 1:
        ax.set_ylabel(f"rows of {FOLD}", color=GREY)
    _whole_ticks(ax)


def _number(ax: Any, programs: Any) -> None:
    """The number of each program where most of its elements are."""
    present = [p for p in np.unique(programs) if p >= 0]
    if len(present) > NUMBERED:
        return
    for program in present:
        y, x = np.nonzero(programs == program)
        middle = np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2)
        box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75}
        ax.text(x[middle], y[middle], str(program), ha="center", va="center", fontsize=8, bbox=box)


def _draw_lanes(ax: Any, number: int, launch: Mapping[str, Any]) -> None:
    first, last = launch["programs"]
    masks = ["".join(a["mask"] for a in program if a["writes"]) for program in launch["lanes"]]
    picture = np.full((max(1, last - first), max([1, *map(len, masks)])), -1)
    for row, mask in enumerate(masks):
        lanes = np.frombuffer(mask.encode(), np.uint8) == ord("1")
        picture[row, : len(mask)] = np.where(lanes, first + row, -2)
    ends = (-0.5, picture.shape[1] - 0.5, last - 0.5, first - 0.5)
    ax.imshow(_colours(picture), aspect="auto", interpolation="nearest", extent=ends)
    ax.set_title(f"stores of launch {number + 1}, {launch['kernel']}\n{_idle(masks)}", fontsize=10)
    ax.set_xlabel("lane", color=GREY)
    ax.set_ylabel("program", color=GREY)
    _whole_ticks(ax)


def _whole_ticks(ax: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.tick_params(labelsize=8)


# -- in words --------------------------------------------------------------------------------------


def trace_text(trace: Trace) -> list[str]:
    """The same as lines of text; the elements of small tensors one by one.

    `.` is an element nobody touches, `*` one that several programs read, `!` one that is written twice.
    """
    lines = []
    for number, launch in enumerate(trace["launches"], 1):
        first, last = launch["programs"]
        grid = " x ".join(map(str, launch["grid"]))
        masks = ["".join(a["mask"] for a in program if a["writes"]) for program in launch["lanes"]]
        lines.append(
            f"launch {number}: {launch['kernel']}, grid {grid}, programs {first} to {last - 1}; "
            f"stores: {_idle(masks)}"
        )
    for tensor in touched(trace):
        lines += ["", _heading(tensor).replace("\n", ", ")]
        shown = _grid(tensor, _programs(tensor), -1)
        if shown.size and all(n <= most for n, most in zip(shown.shape, LARGEST_TEXT, strict=True)):
            lines += _elements(tensor, shown)
    if trace["views"]:
        lines += ["", f"no kernel writes {', '.join(trace['views'])}: a view of an input"]
    if trace["stray"]:
        lines += ["", f"{trace['stray']} ACCESSES BESIDE ALL TENSORS"]
    return lines


def _elements(tensor: Mapping[str, Any], programs: Any) -> list[str]:
    writes = _grid(tensor, np.array(tensor["writes"], int), 0)
    reads = _grid(tensor, np.array(tensor["reads"], int), 0)
    cells = [
        [
            "." if p < 0 else f"{p}{'!' if w > 1 else '*' if not w and r > 1 else ''}"
            for p, w, r in zip(*rows, strict=True)
        ]
        for rows in zip(programs, writes, reads, strict=True)
    ]
    width = max(len(cell) for row in cells for cell in row)
    return ["  " + " ".join(cell.rjust(width) for cell in row).rstrip() for row in cells]


def _heading(tensor: Mapping[str, Any]) -> str:
    """Name and shape of a tensor, and below what was done to its elements."""
    shape = f"({', '.join(map(str, tensor['shape']))}{',' * (len(tensor['shape']) == 1)})"
    writes, reads = (np.array(tensor[kind], int) for kind in ("writes", "reads"))
    if writes.any() or tensor["role"] == "output":
        never, more = int((writes == 0).sum()), int((writes > 1).sum())
        parts = [f"{never} NEVER WRITTEN"] if never else []
        parts += [f"{more} written up to {writes.max()} times"] if more else []
        said = "; ".join(parts) or "each element written once"
    else:
        several, never = int((reads > 1).sum()), int((reads == 0).sum())
        most = int(reads.max(initial=0))
        if most == reads.min(initial=most):
            said = f"each element read by {most} program{'s' * (most != 1)}"
        else:
            said = f"{several} read by several programs, up to {most}" if several else "read by one"
            said += f"; {never} not read" if never else ""
    return f"{tensor['name']} {shape}, {tensor['role']}\n{said}"


def _idle(masks: list[str]) -> str:
    lanes, off = sum(map(len, masks)), sum(mask.count("0") for mask in masks)
    if not off:
        return f"all {lanes} lanes on"
    return f"{off} of {lanes} lanes masked off ({100 * off / lanes:.0f} %)"
