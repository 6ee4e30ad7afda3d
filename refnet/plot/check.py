"""Pictures of a check: errors over the range of each activation, over K, and where failures lie."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet.errors import ArgumentError
from refnet.plot.figure import BLUE, GREEN, GREY, ORANGE, RED, new_figure, save

if TYPE_CHECKING:
    from refnet.check.result import Curve, Failure

COLUMNS = 4
STEEP = 30  # a bound that varies by more is drawn on a log scale
FOLD = 64  # elements of a row of a map, where the array itself has only one
#: error / bound from which a colour is used; what fails is yellow to red, NaN and infinity are red
LEVELS = (0.0, 0.5, 1.0, 2.0, 10.0, np.inf)
SHADES = ("#F4F8FB", "#A9CCE3", "#F6D55C", ORANGE, RED)


def activation_errors(curves: Mapping[str, Curve], path: str | Path, title: str = "") -> Path:
    """Error (points) and bound (line) over x of each activation by its name, in ulp of f(x)."""
    if not curves:
        raise ArgumentError("activation_errors draws the errors of at least one activation")
    rows = -(-len(curves) // COLUMNS)
    with new_figure((3.3 * COLUMNS, 2.2 * rows + 0.5), (rows, COLUMNS)) as (figure, axes):
        for ax in axes.flat[len(curves) :]:
            ax.set_axis_off()
        for ax, (name, curve) in zip(axes.flat, curves.items(), strict=False):
            ax.plot(curve.x, curve.bound, color=RED, lw=1.2)
            error = np.asarray(curve.error)
            top = np.max(
                [*curve.bound, *error], where=np.isfinite([*curve.bound, *error]), initial=0
            )
            ax.plot(curve.x, np.minimum(error, 1.1 * top), ".", color=BLUE, ms=2)
            if top > STEEP * np.nanmin(curve.bound) > 0:
                ax.set_yscale("symlog", linthresh=1.0)
                ax.yaxis.get_major_locator().set_params(numticks=6)
            ax.set_ylim(-0.05 * min(top, 1.0) or -0.05, 1.15 * top or 1.0)
            kept = f"{_largest_ratio(curve):.2f} of the bound" if top else "exact"
            ax.set_title(f"{name}: {kept}", fontsize=10)
            ax.tick_params(labelsize=8)
        figure.supxlabel("x", fontsize=10)
        figure.supylabel("ulp of f(x)", fontsize=10)
        figure.suptitle(title or "Error (points) and bound (line)")
        return save(figure, path)


def _largest_ratio(curve: Curve) -> float:
    """The largest error / bound."""
    error, bound = np.asarray(curve.error), np.asarray(curve.bound)
    off = error > 0
    with np.errstate(divide="ignore"):
        return float(np.max(error[off] / bound[off], initial=0.0))


def product_errors(
    curves: Mapping[str, Mapping[str, Curve]], path: str | Path, title: str = ""
) -> Path:
    """The largest error (solid) of a product against K, and the bound at that element (dotted).

    `curves[op][label]` has one line each: one panel for each op. Errors of 0 have no place on a log
    scale and are left out.
    """
    if not curves:
        raise ArgumentError("product_errors draws the errors of at least one product")
    with new_figure((6.6 * len(curves), 4.4), (1, len(curves))) as (figure, axes):
        for ax, (op, lines) in zip(axes.flat, curves.items(), strict=True):
            styles = zip(cycle("osv^D"), cycle((BLUE, GREEN, ORANGE, "black", RED, GREY)))
            for number, (label, curve) in enumerate(lines.items()):
                marker, colour = next(styles)
                error, bound = (_on_a_log_scale(values) for values in (curve.error, curve.bound))
                points = {"marker": marker, "ms": max(4, 10 - 2 * number), "mfc": "none"}
                label += "" if np.any(curve.error) else " (all 0)"
                ax.plot(curve.x, error, color=colour, **points, label=label)
                ax.plot(curve.x, bound, color=colour, ls=":")
            ax.set(title=op, xlabel="K: terms of each sum", ylabel="|ŷ - y|")
            ax.set_xscale("log", base=2)
            if any(np.isfinite(line.get_ydata()).any() for line in ax.lines):
                ax.set_yscale("log")
        axes.flat[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
        figure.suptitle(title or "Largest error (solid) and the bound at that element (dotted)")
        return save(figure, path)


def _on_a_log_scale(values: Any) -> Any:
    """What can be drawn on one: other values become gaps."""
    values = np.asarray(values)
    return np.where((values > 0) & np.isfinite(values), values, np.nan)


def failure_maps(failures: Mapping[str, Failure], path: str | Path, title: str = "") -> Path:
    """Where the wrong elements lie: each element of a failed result, coloured by error / bound.

    The last axis runs to the right. A result of one axis is folded into rows of 64.
    """
    shown = {name: one for name, one in failures.items() if one.ratios is not None}
    if not shown:
        raise ArgumentError("failure_maps draws failures whose elements could be compared")
    from matplotlib.colors import BoundaryNorm, ListedColormap

    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    colours, norm = ListedColormap(SHADES), BoundaryNorm(range(len(LEVELS)), len(SHADES))
    size = (4.4 * columns + 1.0, 3.3 * rows + 0.5)
    with new_figure(size, (rows, columns)) as (figure, axes):
        for ax in axes.flat[len(shown) :]:
            ax.set_axis_off()
        for ax, (name, one) in zip(axes.flat, shown.items(), strict=False):
            grid = _levels(_flat(one.ratios))
            image = ax.imshow(grid, colours, norm, aspect="auto", interpolation="nearest")
            wrong = int(np.sum(~(np.asarray(one.ratios) <= 1)))
            ax.set_title(f"{name}\n{wrong} of {np.size(one.ratios)} wrong", fontsize=9)
            ax.grid(False)
            for axis in (ax.xaxis, ax.yaxis):
                axis.get_major_locator().set_params(integer=True)
        bar = figure.colorbar(image, ax=axes, ticks=range(len(LEVELS)), label="error / bound")
        bar.ax.set_yticklabels(["0", "0.5", "1", "2", "10", "∞"])
        figure.suptitle(title or "Where the wrong elements lie")
        return save(figure, path)


def _flat(ratios: Any) -> Any:
    """As a matrix, empty places masked."""
    ratios = np.asarray(ratios, float)
    if ratios.ndim >= 2:
        return np.ma.masked_array(ratios.reshape(-1, ratios.shape[-1]))
    ratios = ratios.reshape(-1)
    width = min(FOLD, ratios.size)
    padded = np.full((-(-ratios.size // width), width), -1.0)
    padded.flat[: ratios.size] = ratios
    return np.ma.masked_array(padded, padded == -1)


def _levels(ratios: Any) -> Any:
    """The number of the colour of each element; exactly 1 still passes."""
    level = np.searchsorted(LEVELS[1:-1], np.nan_to_num(ratios.filled(0.0), nan=np.inf))
    return np.ma.masked_array(level, np.ma.getmaskarray(ratios))
