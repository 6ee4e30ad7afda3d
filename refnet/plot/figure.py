"""How our pictures look, and how they are written: one PNG, whole or not at all.

No window is opened and no global state of matplotlib is touched, so pictures can be made anywhere.
The colours are those of Okabe and Ito (2008), which people with any kind of colour vision can tell
apart; lines differ in style as well.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refnet.base.files import replace_file
from refnet.errors import ArgumentError, MissingPackageError

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6B6B6B"
STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
DPI = 130


@contextlib.contextmanager
def new_figure(
    size: tuple[float, float], grid: tuple[int, int], **layout: Any
) -> Iterator[tuple[Any, Any]]:
    """A matplotlib figure with a grid of axes, in our style."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise MissingPackageError(
            f"pictures need matplotlib: pip install 'refnet[viz]' ({error})"
        ) from error
    with rc_context(STYLE):
        spaced = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)  # inches
        figure = Figure(size, dpi=DPI, layout=spaced)
        yield figure, figure.subplots(*grid, squeeze=False, **layout)


def save(figure: Any, path: str | Path) -> Path:
    """Write the figure as a PNG, making the folder if need be; a file is replaced whole or not at all."""
    path = Path(path)
    if path.suffix != ".png":
        raise ArgumentError(f"pictures are PNG files, so the name ends with .png, got {path}")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    replace_file(path, drawn.getvalue())
    return path
