"""Pictures of activation functions: each curve with its gradient, and gradients through depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np

from refnet import activations
from refnet.errors import ArgumentError
from refnet.plot.figure import BLUE, GREEN, GREY, ORANGE, RED, new_figure, save


def activation_curves(
    names: Sequence[str], path: str | Path, span: tuple[float, float] = (-4.0, 4.0), title: str = ""
) -> Path:
    """Elementwise activation functions f by their names (solid), each with its gradient f' (dashed)."""
    functions: list[Any] = [activations.get(name) for name in names]
    unfit = [
        n for n, f in zip(names, functions, strict=True) if not getattr(f, "activation", False)
    ]
    if unfit or not names:
        raise ArgumentError(
            f"activation_curves draws elementwise activations, got {unfit or 'none'}"
        )
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with new_figure((4.0 * columns, 3.0 * rows + 0.5), (rows, columns)) as (figure, axes):
        for ax in axes.flat[len(names) :]:
            ax.set_axis_off()
        for ax, name, op in zip(axes.flat, names, functions, strict=False):
            x = np.linspace(*span, 801)
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


def gradients_through_depth(
    norms: Mapping[str, Sequence[float]],
    path: str | Path,
    title: str = "",
    bound: Sequence[float] | None = None,
) -> Path:
    """The norm of the gradient in each layer, first to last, on a log scale: one line for each name.

    `norms` holds what `refnet.diagnostics.gradient_norms` found; `bound`, if given, is drawn dotted.
    Norms that are 0 have no place on a log scale and are left out.
    """
    if not norms:
        raise ArgumentError("gradients_through_depth needs the norms of at least one network")
    with new_figure((8.5, 4.6), (1, 1)) as (figure, axes):
        ax = axes[0, 0]
        lines = product(("-", "--"), (BLUE, GREEN, ORANGE, "black", RED))
        for (style, colour), marker, (name, values) in zip(
            cycle(lines), cycle("osv"), norms.items()
        ):
            seen = np.where(np.asarray(values, float) > 0, values, np.nan)
            label = name if np.isfinite(seen).any() else f"{name} (all 0)"
            layer = np.arange(1, len(seen) + 1)
            ax.plot(layer, seen, color=colour, ls=style, marker=marker, ms=4, label=label)
        if bound is not None:
            ax.plot(np.arange(1, len(bound) + 1), bound, color=GREY, ls=":", lw=2, label="bound")
        ax.set_yscale("log")
        ax.set(xlabel="layer (1 is next to the input)", ylabel="norm of the gradient")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.suptitle(title or "What is left of a gradient on its way down")
        return save(figure, path)
