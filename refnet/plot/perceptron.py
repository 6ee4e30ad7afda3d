"""Pictures of what a neuron and a network can say: where they draw the line, which curve they make."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from refnet.errors import ArgumentError, DataError, ShapeError
from refnet.perceptron import Perceptron
from refnet.plot.figure import BLUE, GREY, ORANGE, RED, new_figure, save

_LINES = 30  # more of them than this are one grey area


def decision_boundary(model: Any, x: Any, y: Any, path: str | Path, title: str = "") -> Path:
    """The examples in their plane, and behind them what the model answers: 1 (blue) or 0 (orange).

    Parameters
    ----------
    model : a Perceptron, or whatever has `predict(x)` that gives one number for each example; from ½
        on it counts as 1. Of a Perceptron also the lines it drew on its way are shown, one for each
        mistake (or 30, evenly spaced), the later the darker; of one that goes round in a circle, the
        lines of that circle, numbered in their order.
    x, y : the examples, (n, 2), and their labels, each 0 or 1, (n,).
    """
    x, y = np.asarray(x, float), np.asarray(y)
    if x.ndim != 2 or x.shape[1] != 2 or y.shape != x.shape[:1] or len(x) == 0:
        raise ShapeError(
            f"decision_boundary draws examples (n, 2) with labels (n,), got {x.shape} and {y.shape}"
        )
    strange = sorted(set(y.tolist()) - {0, 1})
    if strange:
        raise DataError(f"the labels are 0 and 1, got also {strange[:5]}")
    middle, reach = (x.max(0) + x.min(0)) / 2, 0.7 * max(*np.ptp(x, axis=0), 0.5)
    circle = _circle(model, middle) if isinstance(model, Perceptron) else []
    furthest = max((float(np.linalg.norm(foot - middle)) for foot, _ in circle), default=0.0)
    reach = min(max(reach, 1.2 * furthest), 3 * reach)  # so that its lines are seen
    across, up = (np.linspace(m - reach, m + reach, 401) for m in middle)
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    answers = np.asarray(model.predict(points))
    if answers.size != len(points):
        raise ShapeError(f"a model with one output can be drawn, got outputs {answers.shape}")
    with new_figure((5.6, 5.6), (1, 1)) as (figure, axes):
        ax = axes[0, 0]
        ax.grid(False)
        is_one = (answers.reshape(len(up), len(across)) >= 0.5).astype(float)
        colours = {"colors": [ORANGE, BLUE], "levels": [-0.5, 0.5, 1.5], "alpha": 0.22}
        ax.contourf(across, up, is_one, **colours)
        if circle:
            _numbered(ax, circle, 0.6 * reach)
        elif isinstance(model, Perceptron):
            _lines(ax, model)
        for label, colour, marker in ((0, ORANGE, "o"), (1, BLUE, "s")):
            these = x[y == label]
            size = 90 if len(x) < 30 else 30
            kind = {"color": colour, "marker": marker, "s": size, "edgecolors": "white"}
            ax.scatter(*these.T, **kind, zorder=3, label=f"label {label}")
        ax.set(xlim=across[[0, -1]], ylim=up[[0, -1]], xlabel="x₁", ylabel="x₂", aspect="equal")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
        ax.set_title(title or "What the model answers")
        return save(figure, path)


def _lines(ax: Any, perceptron: Perceptron) -> None:
    """The lines w · x + b = 0 after each mistake; no line where w = 0, or of weights that are gone."""
    history = [(w, b) for w, b in perceptron.history if np.any(w)]
    shown = min(len(history), _LINES)
    history = [history[i] for i in np.linspace(0, len(history) - 1, shown).astype(int)]
    labels = {shown - 1: "after each mistake", shown: "after the last"}
    for number, (w, b) in enumerate(history, 1):
        foot = -b * w / (w @ w)  # the point of the line that is nearest to 0
        along = np.array([-w[1], w[0]])
        kind: Any = {"color": GREY, "lw": 1.2, "alpha": 0.1 + 0.6 * number / shown}
        if number == shown:
            kind = {"color": "black", "lw": 2.2}
        ax.axline(foot, foot + along, **kind, label=labels.get(number))


def _circle(perceptron: Perceptron, middle: Any) -> list[tuple[Any, Any]]:
    """(the point nearest to the middle, the direction) of each line in the circle it goes round in."""
    if perceptron.cycle is None:
        return []
    first, last = (sum(perceptron.mistakes_per_epoch[:epoch]) for epoch in perceptron.cycle)
    lines = [(w, b) for w, b in perceptron.history[first:last] if np.any(w)]
    return [(middle - (middle @ w + b) * w / (w @ w), [-w[1], w[0]]) for w, b in lines]


def _numbered(ax: Any, lines: list[tuple[Any, Any]], aside: float) -> None:
    """The lines of a circle, each with its number; the last is where the neuron stands at the end."""
    for number, (foot, along) in enumerate(lines, 1):
        last = number == len(lines)
        label = {1: "after each mistake of the circle", len(lines): "after the last; then 1 again"}
        kind: Any = {"color": "black" if last else GREY, "lw": 2.2 if last else 1.2}
        ax.axline(foot, foot + along, **kind, label=label.get(number))
        place = foot + aside * np.asarray(along) / np.linalg.norm(along)
        behind = {"boxstyle": "circle", "fc": "white", "ec": kind["color"]}
        ax.text(*place, str(number), ha="center", va="center", bbox=behind, zorder=4)


def approximations(
    x: Any, y: Any, fits: Mapping[int, Any], path: str | Path, title: str = ""
) -> Path:
    """A curve, and what networks of growing width make of it; at the end their largest errors.

    Parameters
    ----------
    x, y : points of the curve, (n,) and (n,), in the order of x.
    fits : number of neurons -> what the network says at x, (n,).
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    curves = {width: np.asarray(fit, float) for width, fit in fits.items()}
    wrong = [f"{c.shape} at width {w}" for w, c in curves.items() if c.shape != x.shape]
    if x.ndim != 1 or y.shape != x.shape or wrong:
        got = ", ".join([f"{x.shape}", f"{y.shape}", *wrong])
        raise ShapeError(f"approximations draws x, y and fits of one shape (n,), got {got}")
    if not curves or any(width < 1 for width in curves):
        raise ArgumentError(f"fits maps numbers of neurons to curves, got {list(curves)}")
    errors = {width: float(np.abs(fit - y).max()) for width, fit in curves.items()}
    columns = min(4, len(curves) + 1)
    rows = -(-(len(curves) + 1) // columns)
    with new_figure((3.4 * columns, 2.8 * rows + 0.8), (rows, columns)) as (figure, axes):
        room = 0.15 * np.ptp(y)
        for ax, (width, fit) in zip(axes.flat, curves.items(), strict=False):
            ax.plot(x, y, color=GREY, lw=4, alpha=0.5)
            ax.plot(x, fit, color=BLUE, lw=1.8)
            ax.set_ylim(y.min() - room, y.max() + room)
            ax.set_title(f"{width} neuron{'s' * (width > 1)}", fontsize=11)
        last, *empty = axes.flat[len(curves) :]
        floor = np.finfo(float).eps  # a log axis has no place for 0
        shown = np.maximum(list(errors.values()), floor)
        last.loglog(list(errors), shown, color=RED, marker="o")
        decades = np.floor(np.log10(shown.min())), np.ceil(np.log10(shown.max()))
        last.set_ylim(10 ** (decades[0] - 0.1), 10 ** (decades[1] + 0.1))
        last.set_title("largest error (both axes logarithmic)", fontsize=11)
        last.set_xlabel("neurons")
        last.minorticks_off()
        last.set_xticks(list(errors), [str(width) for width in errors])
        for ax in empty:
            ax.set_axis_off()
        figure.suptitle(title or "The wider the network, the closer the curve")
        figure.supxlabel("grey: the curve   blue: the network", fontsize=10)
        return save(figure, path)


def responsibilities(
    outputs: Mapping[str, Any],
    deltas: Any,
    kernels: Any,
    gradients: Any,
    path: str | Path,
    title: str = "",
) -> Path:
    """A small network of dense layers: how its cost C depends on every node and every weight.

    Orange says that C falls if the node's score, or the weight, goes down; blue, if it goes up. The
    fuller the colour of a node, the larger |δ|; the wider an edge, the larger |∂C/∂w|.

    Parameters
    ----------
    outputs : a letter for each layer, the inputs first, and what its nodes put out.
    deltas : δ = ∂C/∂z of the nodes of each layer but the first.
    kernels, gradients : the weights into each layer but the first, (nodes before, nodes), and ∂C/∂w.
    """
    layers = {letter: np.asarray(a, float) for letter, a in outputs.items()}
    sizes = [a.size for a in layers.values()]
    given = [[np.asarray(part, float) for part in all_] for all_ in (deltas, kernels, gradients)]
    pairs = list(pairwise(sizes))
    wanted = [[(n,) for _, n in pairs], pairs, pairs]
    if not pairs or [[part.shape for part in all_] for all_ in given] != wanted:
        got = [[part.shape for part in all_] for all_ in given]
        raise ShapeError(
            f"layers of {sizes} nodes have δ, weights and gradients {wanted}, got {got}"
        )
    delta, kernel, slopes = given
    most, widest = (max(float(np.abs(p).max()) for p in all_) or 1.0 for all_ in (delta, slopes))
    tallest = max(sizes)
    with new_figure((3.3 * len(sizes), 1.7 * tallest + 1.0), (1, 1)) as (figure, axes):
        ax = axes[0, 0]
        ax.set_axis_off()
        ax.set(xlim=(-0.35, len(sizes) - 0.65), ylim=(-tallest / 2 + 0.1, tallest / 2 - 0.1))
        heights = [(n - 1) / 2 - np.arange(n) for n in sizes]
        for layer, (w, slope) in enumerate(zip(kernel, slopes, strict=True)):
            for i, j in np.ndindex(w.shape):
                start, end = heights[layer][i], heights[layer + 1][j]
                look = {"color": _sign(slope[i, j]), "lw": 0.5 + 5 * abs(slope[i, j]) / widest}
                ax.plot([layer, layer + 1], [start, end], **look, zorder=1)
                text = f"{w[i, j]:g}\n∂ {slope[i, j]:+.4f}"
                behind = {"fc": "white", "ec": "none", "pad": 1.0}
                place = (layer + 0.34, start + 0.34 * (end - start))
                ax.text(*place, text, ha="center", va="center", fontsize=9, bbox=behind)
        for layer, (letter, a) in enumerate(layers.items()):
            for i, (value, height) in enumerate(zip(a, heights[layer], strict=True)):
                d = delta[layer - 1][i] if layer else 0.0
                ax.plot(layer, height, "o", ms=68, color="white", mec=GREY, zorder=2)
                strength = 0.75 * abs(d) / most
                ax.plot(layer, height, "o", ms=68, color=_sign(d), alpha=strength, zorder=3)
                name = f"{letter}{i + 1} = {value:.3g}" + (f"\nδ {d:+.4f}" if layer else "")
                ax.text(layer, height, name, ha="center", va="center", fontsize=10, zorder=4)
        figure.suptitle(title or "How the cost depends on every node and weight")
        key = "orange: C falls if it goes down   blue: C falls if it goes up   on each edge: w, and ∂C/∂w"
        figure.supxlabel(key, fontsize=10)
        return save(figure, path)


def _sign(slope: Any) -> str:
    return ORANGE if slope > 0 else BLUE
