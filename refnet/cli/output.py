"""What the commands print with: styled on a terminal, plain text everywhere else."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from refnet.errors import ArgumentError

HEADING, GOOD, BAD, QUIET = "bold", "green", "bold red", "dim"
MINUTE, MILLISECOND = 60.0, 1e-3


def console() -> Console:
    """The terminal, or the file or pipe in its place: 160 columns then, unless COLUMNS says else."""
    found = Console(highlight=False)
    if not found.is_terminal:
        columns = os.environ.get("COLUMNS", "")
        return Console(highlight=False, width=int(columns) if columns.isdigit() else 160)
    return found


def say(text: str = "", style: str = "") -> None:
    """Print one line, as it is: nothing in it is markup, and it is not wrapped."""
    out = console()
    if out.is_terminal:
        out.print(Text(text, style), soft_wrap=True)
    else:
        print(text, flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows as lines of text, the columns aligned: numbers to the right, text to the left.

    >>> table(("op", "error"), [("relu", 0.5), ("tanh", 12.0)])
    ['op    error', 'relu    0.5', 'tanh   12.0']
    """
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numeric = [bool(rows) and not isinstance(rows[0][i], str) for i in range(len(header))]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(0.0123), duration(4.56), duration(185.0)
    ('12.3 ms', '4.6 s', '3 min 5 s')
    """
    if seconds < 0.1:
        return f"{seconds / MILLISECOND:.1f} ms"
    if seconds < 2 * MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds // MINUTE:.0f} min {seconds % MINUTE:.0f} s"


def counted(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "epoch"), counted(2, "epoch")
    ('1 epoch', '2 epochs')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def writable(folder: Path) -> Path:
    """The folder given as --out, made if need be: before the work, not after it in vain."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("it is read-only")
    except OSError as error:
        raise ArgumentError(
            f"--out {folder}: cannot write there ({error.strerror or error})"
        ) from error
    return folder


def whole(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is expected, got {text!r}")
    return int(text)


def seed(text: str) -> int:
    """An argument that is a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number of at least 0 is expected, got {text!r}")
    return int(text)
