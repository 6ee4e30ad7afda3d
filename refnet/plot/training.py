"""Pictures of a training: loss curves, two trainings laid over each other, what the network says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refnet.errors import ArgumentError
from refnet.plot.figure import BLUE, GREEN, GREY, ORANGE, RED, new_figure, save


def loss_curves(history: Mapping[str, Sequence[float]], path: str | Path, title: str = "") -> Path:
    """The loss of every epoch, and each metric; with the held-out curves, dashed.

    `history` is the `history` of what `fit` returns.
    """
    if not history.get("loss"):
        raise ArgumentError(
            "loss_curves needs the loss of at least one epoch: history['loss'] is empty"
        )
    names = [n for n in history if not n.startswith("val_")]
    with new_figure((5.2 * len(names), 3.8), (1, len(names))) as (figure, axes):
        for ax, name in zip(axes.flat, names, strict=True):
            values = history[name]
            epochs = np.arange(1, len(values) + 1)
            marker = "o" if len(values) < 3 else ""
            ax.plot(epochs, values, color=BLUE, marker=marker, label="training")
            held_out = history.get(f"val_{name}")
            if held_out:
                ax.plot(epochs, held_out, color=RED, ls="--", marker=marker, label="held out")
                ax.legend()
            if name == "loss" and min(min(values), *(held_out or values)) > 0:
                ax.set_yscale("log")
                ax.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
                ax.yaxis.set_major_formatter("{x:g}")
                ax.yaxis.set_minor_formatter("")
            ax.set(xlabel="epoch", ylabel=name.replace("_", " "))
            ax.xaxis.get_major_locator().set_params(integer=True)
        figure.suptitle(title or "Training")
        return save(figure, path)


def compare_losses(
    losses: Mapping[str, Sequence[float]],
    bound: Sequence[float],
    path: str | Path,
    title: str = "",
    exact: Sequence[float] | None = None,
) -> Path:
    """The losses of two trainings, step by step, laid over each other; below, how far they lie apart.

    Parameters
    ----------
    losses : two entries, label and losses of each step.
    bound : the largest difference allowed at each step.
    exact : losses in higher precision, to show how far the first of the two is from them.
    """
    (a, first), (b, second) = losses.items()
    steps = np.arange(1, len(first) + 1)
    with new_figure((8.5, 7.0), (2, 1), sharex=True, height_ratios=(1, 1.1)) as (figure, axes):
        top, low = axes.flat
        top.plot(steps, first, color=ORANGE, lw=5, alpha=0.75, solid_capstyle="round", label=a)
        top.plot(steps, second, color=BLUE, lw=1.5, ls="--", label=b)
        top.set(ylabel="loss of the batch")
        top.legend()
        gap = np.abs(np.subtract(first, second))
        smallest = min([float(np.min(bound)) / 64, *gap[gap > 0]]) / 2
        low.fill_between(steps, bound, smallest / 2, color=GREEN, alpha=0.10, lw=0)
        low.plot(steps, bound, color=GREEN, lw=2, label="bound")
        if exact is not None:
            draw_differences(low, steps, first, exact, smallest, f"{a} − float64", ORANGE, "x")
        draw_differences(low, steps, first, second, smallest, f"{b} − {a}", BLUE, "o")
        low.set_yscale("log")
        low.set_ylim(bottom=smallest / 2)
        low.set(xlabel="step", ylabel="difference of the losses")
        low.xaxis.get_major_locator().set_params(integer=True)
        low.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=4, columnspacing=1.4)
        figure.suptitle(title or f"The same training on {a} and on {b}")
        return save(figure, path)


def draw_differences(
    ax: Any, steps: Any, a: Any, b: Any, floor: float, label: str, colour: str, marker: str
) -> None:
    """Draw |b - a| as points; those that are 0, which a log axis lacks, hollow on the floor."""
    gap = np.abs(np.asarray(b, float) - np.asarray(a, float))
    same, size = gap == 0, 4.5 if len(gap) < 100 else 2.5
    kind: dict[str, Any] = {"ls": "none", "marker": marker, "ms": size, "color": colour}
    ax.plot(steps[~same], gap[~same], **kind, label=label)
    if same.any():
        ax.plot(
            steps[same], np.full(same.sum(), floor), **kind, mfc="none", label="no difference (0)"
        )


def predictions(
    images: Any,
    probabilities: Any,
    labels: Any,
    path: str | Path,
    title: str = "",
    columns: int = 4,
) -> Path:
    """Images, each beside the probabilities the network gives its classes.

    The bar of the right class is blue; where another is larger, that one is red, and the caption says
    what the image was taken for. Shapes: (n, height, width), (n, classes), (n,).
    """
    images, probabilities, labels = map(np.asarray, (images, probabilities, labels))
    if len(images) == 0:
        raise ArgumentError("predictions needs at least one image")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    size, grid = (3.3 * columns, 2.35 * rows + 0.6), (rows, 2 * columns)
    with new_figure(size, grid, width_ratios=(1, 1.25) * columns) as (figure, axes):
        for ax in axes.flat[2 * len(images) :]:
            ax.set_axis_off()
        panels = zip(axes.flat[::2], axes.flat[1::2], images, probabilities, labels, strict=False)
        for picture, bars, image, p, label in panels:
            said = int(np.argmax(p))
            picture.imshow(image, cmap="Greys", interpolation="nearest")
            picture.set(xticks=[], yticks=[])
            picture.spines[:].set_visible(True)
            wrong = said != label
            caption = f"{label}, taken\nfor {said}" if wrong else f"{label}"
            picture.set_title(caption, loc="left", fontsize=11, color=RED if wrong else "black")
            colours = [GREY] * len(p)
            colours[said], colours[int(label)] = RED, BLUE
            bars.barh(np.arange(len(p)), p, height=0.75, color=colours)
            bars.grid(axis="y", visible=False)
            bars.set(xlim=(0, 1), xticks=[0, 0.5, 1], yticks=np.arange(len(p)))
            bars.set_xticklabels(["0", "½", "1"])
            bars.tick_params(labelsize=8, length=0)
            bars.invert_yaxis()
        legend = (
            "probabilities;  blue: the right digit   orange: what it was taken for   grey: others"
        )
        figure.suptitle(title or "What the network says")
        figure.supxlabel(legend, fontsize=10)
        return save(figure, path)
