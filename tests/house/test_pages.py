"""The generated pages of docs are those of the code."""

import pytest

from tests import pages
from tests.pages import PAGES, ROOT, is_stale

NEEDS_TRITON = {"docs/results/README.md"}


@pytest.mark.every_op
@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=pytest.mark.triton if p in NEEDS_TRITON else ()) for p in PAGES],
)
def test_a_page_is_that_of_the_code(page):
    assert not is_stale(page), f"{page} is stale: run `make docs`"


def test_a_stale_page_is_written_anew(monkeypatch, tmp_path, capsys):
    page = "docs/edge_cases.md"
    monkeypatch.setattr(pages, "PAGES", {page: PAGES[page]})
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / page).write_text("old")
    assert is_stale(page)
    pages.main()
    assert not is_stale(page)
    assert (tmp_path / page).read_text("utf-8") == (ROOT / page).read_text("utf-8")
    pages.main()
    assert capsys.readouterr().out == f"wrote {page}\n"
