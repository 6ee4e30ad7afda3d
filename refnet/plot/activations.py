"""Pictures of activation functions: each curve with its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refnet.errors import ArgumentError
from refnet.op import TABLE
from refnet.plot.figure import BLUE, GREY, RED, new_figure, save


def activation_curves(
    names: Sequence[str], path: str | Path, span: tuple[float, float] = (-4.0, 4.0), title: str = ""
) -> Path:
    """Activation functions f of TABLE (solid), each with its gradient f' (dashed)."""
    unfit = [n for n in names if not TABLE[n].activation]
    if unfit or not names:
        raise ArgumentError(
            f"activation_curves draws elementwise activations, got {unfit or 'none'}"
        )
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with new_figure((4.0 * columns, 3.0 * rows + 0.5), (rows, columns)) as (figure, axes):
        for ax in axes.flat[len(names) :]:
            ax.set_axis_off()
        for ax, name in zip(axes.flat, names, strict=False):
            op, x = TABLE[name], np.linspace(*span, 801)
            assert op.gradient is not None
            y = op.function(x)
            saved = [x if s == "x" else y for s in op.saves]
            slope = op.gradient.function(np.ones_like(x), *saved)
            ax.axhline(0, color=GREY, lw=0.8)
            ax.axvline(0, color=GREY, lw=0.8)
            for values, style in ((y, {"color": BLUE}), (slope, {"color": RED, "ls": "--"})):
                ax.plot(x, _broken(values), lw=2, **style)
            ax.set_title(name, fontsize=12)
            ax.set_ylim(np.clip(ax.get_ylim(), *span))
        figure.suptitle(title or "f(x), solid, and f'(x), dashed")
        return save(figure, path)


def _broken(values: Any) -> Any:
    """A curve that is not drawn across its jumps."""
    jump = np.abs(np.diff(values, prepend=values[0])) > 0.09
    return np.where(jump, np.nan, values)
