"""docs/museum.md, written from the pieces and from the source they change."""

from __future__ import annotations

import difflib
import textwrap
from types import ModuleType

from . import HALLS, PIECES
from .harness import ROOT
from .piece import Piece

WIDTH = 100

INTRODUCTION = f"""\
# The bug museum

Tests that pass prove little. Here are {len(PIECES)} mistakes that people really make, each a small
edit of refnet's own source. The museum plants them one at a time in a copy of the packages and runs
one test there. The test has to fail with the mistake and to pass without it, and it has to say the
right thing. So every piece is also a test of a test.

`pytest tests/house/test_museum.py` walks through all halls.
`make docs` writes this page anew.
"""

CLOSING = """\
## What the museum found

These went uncaught when they were first planted; the tests that catch them now were written for them.

"""


def page() -> str:
    """The page as Markdown."""
    found = "".join(f"- {link(piece)}. {piece.unseen}\n" for piece in PIECES if piece.unseen)
    return "\n".join([INTRODUCTION, *(hall_text(hall) for hall in HALLS), CLOSING + found])


def hall_text(hall: ModuleType) -> str:
    """One hall: what its module says of it, a list, and the pieces."""
    title, _, lead = (hall.__doc__ or "").partition(": ")
    links = "\n".join(f"- {link(piece)}" for piece in hall.PIECES)
    lead = lead[0].upper() + lead[1:]
    return f"## {title}\n\n{lead}\n\n{links}\n\n" + "\n".join(map(piece_text, hall.PIECES))


def link(piece: Piece) -> str:
    title = piece.title.replace("[", r"\[").replace("]", r"\]")
    return f"[{title}](#{piece.id})"


def piece_text(piece: Piece) -> str:
    """One piece: title, story, edit, symptom, test."""
    return "\n\n".join(
        [
            f'<a id="{piece.id}"></a>\n### {piece.title}',
            textwrap.fill(" ".join(piece.story.split()), WIDTH, break_on_hyphens=False),
            f"`{piece.file}`\n\n```diff\n{difference(piece)}\n```",
            textwrap.fill(f"**Symptom.** {piece.symptom}", WIDTH, break_on_hyphens=False),
            f"**Caught by** `{piece.test}`\n",
        ]
    )


def difference(piece: Piece) -> str:
    """The edit as a diff, in whole lines of the file."""
    text = (ROOT / piece.file).read_text(encoding="utf-8")
    start = text.index(piece.right)
    end = start + len(piece.right)
    first = text.rfind("\n", 0, start) + 1
    last = end if piece.right.endswith("\n") else text.find("\n", end) + 1
    before = text[first:last]
    after = text[first:start] + piece.wrong + text[end:last]
    margin = min(len(x) - len(x.lstrip()) for x in before.splitlines() if x.strip())
    lines = [[x[margin:] for x in part.splitlines()] for part in (before, after)]
    return "\n".join(
        x for x in difflib.unified_diff(*lines, lineterm="") if x[:3] not in ("---", "+++", "@@ ")
    )
