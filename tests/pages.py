"""The pages of docs that are generated: ``make docs``, or ``python -m tests.pages``, writes them anew.

Two others are measured, and written on demand: docs/bounds.md ends with the table of
`refnet.check.tightness`, docs/mutants.md is the report of `tests.mutants`, which takes hours.
"""

from __future__ import annotations

import importlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: page -> the function that gives its text
PAGES = {
    "docs/edge_cases.md": "refnet.check.edge_cases:page",
    "docs/exhaustive.md": "refnet.check.exhaustive:page",
    "docs/museum.md": "tests.museum.page:page",
    "docs/results/README.md": "refnet_triton.bench.page:text",
}


def text(page: str) -> str:
    """What a page is to say."""
    module, _, function = PAGES[page].partition(":")
    found: str = getattr(importlib.import_module(module), function)()
    return found


def is_stale(page: str) -> bool:
    """Whether a page says something else."""
    path = ROOT / page
    return not path.exists() or path.read_text(encoding="utf-8") != text(page)


def main() -> None:
    """Write those that are stale."""
    for page in PAGES:
        if is_stale(page):
            (ROOT / page).write_text(text(page), encoding="utf-8")
            print(f"wrote {page}")


if __name__ == "__main__":
    main()
