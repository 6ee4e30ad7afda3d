"""Pictures of gradient descent: steps on a curve, a line and its residuals, paths on a surface."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from refnet.descent import Line, Path
from refnet.errors import ArgumentError, ShapeError
from refnet.plot.figure import BLUE, GREEN, GREY, ORANGE, RED, new_figure, save

COLOURS = (BLUE, RED, GREEN, ORANGE, "black")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
START = {"marker": "D", "color": "black", "mfc": "white", "ms": 6, "zorder": 4}
MINIMUM = {"marker": "*", "color": "black", "mec": "white", "ms": 13, "zorder": 5}


def steps_on_curve(
    line: Line, paths: Mapping[str, Path], path: str | FilePath, title: str = ""
) -> FilePath:
    """The loss as a curve over the intercept, and the steps of each descent on a panel of its own.

    Short pieces of tangents show the derivative, where there is room for them; a star is the minimum.
    What leaves the picture is cut off.
    """
    _require(line, paths, 1)
    best, lowest = float(line.best()[0]), line(line.best())
    reach = 1.3 * max(abs(float(p.parameters[0, 0]) - best) for p in paths.values()) or 1.0
    intercepts = np.linspace(best - reach, best + reach, 201)
    curve = [line([b]) for b in intercepts]
    columns = min(3, len(paths))
    rows = -(-len(paths) // columns)
    size = (max(4.1 * columns, 6.0), 3.5 * rows + 0.5)
    with new_figure(size, (rows, columns), sharey=True) as (figure, axes):
        for ax in axes.flat[len(paths) :]:
            ax.set_axis_off()
        for ax, (label, steps) in zip(axes.flat, paths.items(), strict=False):
            height = max(curve) - lowest
            ax.plot(intercepts, curve, color=GREY, lw=1.5, zorder=1)
            visited, drawn = steps.parameters[:, 0], [np.inf]
            for b, loss, slope in zip(visited, steps.losses, steps.gradients[:, 0], strict=False):
                if np.abs(np.subtract(drawn, b)).min() > 0.3 * reach:
                    half = 0.16 * reach / np.hypot(1, slope * 1.5 * reach / height)
                    ends = np.array([-half, half])
                    look = {"color": ORANGE, "lw": 3.5, "label": "tangent: the derivative"}
                    ax.plot(b + ends, loss + slope * ends, **look)
                    drawn.append(b)
            ax.plot(best, lowest, label="minimum", ls="", **{**MINIMUM, "ms": 19, "zorder": 1.5})
            ax.plot(visited, steps.losses, color=BLUE, lw=1, marker="o", ms=4.5, label="steps")
            ax.set(xlim=(best - reach, best + reach), ylim=(lowest - 0.06 * height, max(curve)))
            how = "" if steps.ended == "maximum number of steps" else f": {steps.ended}"
            ax.set_title(f"{label}\n{len(steps)} steps{how}", fontsize=11)
            ax.set_xlabel(line.names[0])
        for ax in axes[:, 0]:
            ax.set_ylabel("loss")
        _legend_below(figure, axes)
        figure.suptitle(title or "Steps of gradient descent")
        return save(figure, path)


def line_fits(
    line: Line, fits: Mapping[str, Any], path: str | FilePath, title: str = ""
) -> FilePath:
    """The points, and for each θ a panel with its line and its residuals, dashed."""
    if not fits:
        raise ArgumentError("there is no line to draw")
    columns = min(3, len(fits))
    rows = -(-len(fits) // columns)
    ends = np.array([line.x.min(), line.x.max()]) + np.ptp(line.x) * np.array([-0.08, 0.08])
    along = Line(ends, ends, line.slope)
    size = (max(4.1 * columns, 6.0), 3.5 * rows + 0.5)
    with new_figure(size, (rows, columns), sharex=True, sharey=True) as (figure, axes):
        for ax in axes.flat[len(fits) :]:
            ax.set_axis_off()
        for ax, (label, theta) in zip(axes.flat, fits.items(), strict=False):
            ax.plot(ends, along.predictions(theta), color=BLUE, lw=2)
            ax.vlines(line.x, line.predictions(theta), line.y, color=RED, ls="--", lw=1.5)
            ax.plot(line.x, line.y, "o", color="black", ms=6)
            kind = "mean of squares" if line.mean else "sum of squares"
            ax.set_title(f"{label}\n{kind} {line(theta):.4f}", fontsize=11)
            ax.set_xlabel("x")
        for ax in axes[:, 0]:
            ax.set_ylabel("y")
        figure.suptitle(title or "A line and its residuals")
        return save(figure, path)


def paths_on_surface(
    line: Line,
    paths: Mapping[str, Path],
    path: str | FilePath,
    title: str = "",
    panels: bool = False,
) -> FilePath:
    """The loss over intercept and slope as a map with contours, and the ways down on it.

    A white diamond is where a descent starts, the star the minimum. With panels=True each gets a map of
    its own. From one contour to the next but three, the loss above its minimum grows tenfold.
    """
    _require(line, paths, 2)
    best = line.best()
    corners = np.stack([_extent(p) for p in paths.values()])  # (paths, 2, 2)
    low = np.minimum(corners[:, 0].min(0), best)
    high = np.maximum(corners[:, 1].max(0), best)
    margin = 0.12 * (high - low) + 1e-9
    across, up = (np.linspace(a, b, 161) for a, b in zip(low - margin, high + margin, strict=True))
    excess = np.array([[line([b, m]) for b in across] for m in up]) - line(best)
    levels = excess.max() * np.logspace(-4.5, 0, 19)
    count = len(paths) if panels else 1
    columns = min(3, count)
    rows = -(-count // columns)
    size = (4.3 * columns + (2.7 if count == 1 else 0), 4.0 * rows + 0.7)
    with new_figure(size, (rows, columns), sharex=True, sharey=True) as (figure, axes):
        for ax in axes.flat[:count]:
            ax.contour(across, up, excess, levels=levels, colors="#C4C4C4", linewidths=0.7)
            ax.grid(visible=False)
            ax.tick_params(labelbottom=True)
            ax.set(xlabel=line.names[0])
        for ax in axes.flat[count:]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel(line.names[1])
        targets = list(axes.flat[:count]) if panels else [axes[0, 0]] * len(paths)
        for ax, colour, (label, way) in zip(targets, cycle(COLOURS), paths.items(), strict=False):
            few = len(way) <= 60
            style = {"lw": 1.3 if few else 0.8, "marker": "o" if few else "", "ms": 2.5}
            ax.plot(*way.parameters.T, color=colour, **style, label=label)
            ax.plot(*way.parameters[0], ls="", label="start" if panels else "", **START)
            if panels:
                ax.set_title(label, fontsize=11)
        for ax in axes.flat[:count]:
            ax.plot(*best, ls="", label="minimum", **MINIMUM)
            ax.set(xlim=across[[0, -1]], ylim=up[[0, -1]])
        if panels:
            _legend_below(figure, axes)
        else:
            axes[0, 0].plot([], [], ls="", label="start", **START)
            axes[0, 0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.suptitle(title or "Ways down")
        return save(figure, path)


def excess_losses(
    line: Line, paths: Mapping[str, Path], path: str | FilePath, title: str = ""
) -> FilePath:
    """How far each descent is above the minimum, L(θ) - L(best), after each epoch, on a log scale."""
    _require(line, paths, len(line.names))
    lowest = line(line.best())
    rounding = 2.0**-52 * max(lowest, 1e-300)
    with new_figure((8.5, 4.6), (1, 1)) as (figure, axes):
        ax = axes[0, 0]
        looks = zip(cycle(COLOURS), cycle(STYLES), paths.items(), strict=False)
        for colour, style, (label, way) in looks:  # a noisy line is drawn thin
            above = np.maximum(way.losses - lowest, rounding)
            look = {"ls": style, "lw": 1.8} if len(way) <= 400 else {"ls": "-", "lw": 0.8}
            ax.plot(way.epochs, above, color=colour, **look, label=label)
        batched = any(p.steps_per_epoch > 1 for p in paths.values())
        ax.set_yscale("log")
        ax.set(xlabel="epochs" if batched else "steps", ylabel="loss − smallest loss")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.suptitle(title or "How far above the minimum")
        return save(figure, path)


def _legend_below(figure: Any, axes: Any) -> None:
    """One legend for all panels, without the path of each, which its title names."""
    named: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            if label != ax.get_title():
                named.setdefault(label, handle)
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=len(named))


def _require(line: Line, paths: Mapping[str, Path], parameters: int) -> None:
    """Raise an error unless there is a path, and the line and each path have this many parameters."""
    if len(line.names) != parameters:
        raise ShapeError(
            f"this picture is of {parameters} parameters, the line has {len(line.names)}"
        )
    if not paths:
        raise ArgumentError("there is no path to draw")
    for label, path in paths.items():
        if path.parameters.shape[1] != parameters:
            raise ShapeError(
                f"this picture is of {parameters} parameters, path {label!r} has "
                f"{path.parameters.shape[1]}"
            )


def _extent(path: Path) -> Any:
    """The lower left and upper right corners of a path; of one that diverged, of its start."""
    kept = path.parameters if path.ended != "diverged" else path.parameters[:1]
    return np.min(kept, axis=0), np.max(kept, axis=0)
