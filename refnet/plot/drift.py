"""One training on two backends, in one picture: how far apart it is, and how far apart it may be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from refnet.check.training import Drift
from refnet.plot.figure import BLUE, GREEN, GREY, ORANGE, RED, new_figure, save
from refnet.plot.training import draw_differences

COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)


def training_drift(drift: Drift, path: str | Path, title: str = "") -> Path:
    """Losses, gradients, optimizer and weights of two trainings, as `drift.compare` saw them.

    Of each layer (of each vector the optimizer keeps) the picture shows the weight that comes nearest to
    what is allowed: solid is its distance, dashed in the same colour what is allowed.
    """
    a, b = drift.labels
    steps = np.arange(1, len(drift.loss_bounds) + 1)
    layers = [
        [drift.variables.index(name) for name in names]
        for _, names in groupby(drift.variables, lambda name: name.rpartition("/")[0])
    ]
    everything = list(range(len(drift.variables)))
    memory = [kind for kind in drift.distances if kind not in ("gradient", "weights")]
    with new_figure((11.5, 9.0), (2, 2), sharex=True) as (figure, axes):
        loss, gradient, optimizer, weights = axes.flat
        bound = np.asarray(drift.loss_bounds)
        gap = drift.loss_differences
        floor = min([bound.min() / 64, *gap[gap > 0]]) / 2
        loss.plot(steps, bound, color=GREEN, ls="--", lw=1.6, marker=".", label="bound")
        draw_differences(
            loss, steps, drift.losses[a], drift.losses[b], floor, f"|{b} − {a}|", BLUE, "o"
        )
        loss.set(title="loss", ylabel="difference")
        _draw(gradient, steps, drift, [("gradient", names) for names in layers])
        gradient.set(title="gradient of each layer", ylabel="‖a − b‖ / ‖a‖")
        _draw(optimizer, steps, drift, [(kind, everything) for kind in memory])
        what = ", ".join(memory) or "it keeps nothing"
        optimizer.set(title=f"memory of the optimizer: {what}", ylabel="‖a − b‖ / ‖a‖")
        _draw(weights, steps, drift, [("weights", names) for names in layers])
        weights.set(title="weights of each layer", ylabel="‖a − b‖ / ‖a‖")
        for ax in axes.flat:
            if not ax.lines:
                ax.set_axis_off()
                continue
            ax.set_yscale("log")
            ax.margins(y=0.12)
            low, high = ax.get_ylim()
            middle = (low * high) ** 0.5
            ax.set_ylim(min(low, middle / 4), max(high, middle * 4))
            ax.set_xlim(0.5, len(steps) + 0.5)
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=9)
            ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("step")
        figure.suptitle(
            title or f"The same training on {a} and on {b}: distances (solid), allowed (dashed)"
        )
        return save(figure, path)


def _draw(ax: Any, steps: Any, drift: Drift, rows: Sequence[tuple[str, Sequence[int]]]) -> None:
    """A pair of lines for each row (kind, weights): of the weight that comes nearest to its limit."""
    for number, (kind, choice) in enumerate(rows):
        nearest = max(choice, key=lambda i: float(drift.ratios(kind)[:, i].max()))
        distance, allowed = (x[kind][:, nearest] for x in (drift.distances, drift.allowed))
        colour, worst = COLOURS[number % len(COLOURS)], drift.ratios(kind)[:, nearest].max()
        if not distance.any() and not allowed.any():
            continue
        prefix = "" if kind in ("gradient", "weights") else f"{kind} of "
        how_near = f"{worst:.2g} of what is allowed" if worst else "equal to the last bit"
        label = f"{prefix}{drift.variables[nearest]}: {how_near}"
        style: dict[str, Any] = {"color": colour, "marker": "o", "ms": 2.5 if len(steps) > 1 else 5}
        ax.plot(steps, np.where(distance > 0, distance, np.nan), **style, lw=1.5, label=label)
        ax.plot(steps, np.where(allowed > 0, allowed, np.nan), **style, lw=1.3, ls="--", mfc="none")
