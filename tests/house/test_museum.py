"""The bug museum: every planted mistake is caught, by the test that its piece names."""

from __future__ import annotations

import ast
import dataclasses
import re

import pytest

from tests.museum import PIECES
from tests.museum.harness import Outcome, StaleError, copy, plant, run, why_not_caught

BY_ID = {piece.id: piece for piece in PIECES}
TRITON = pytest.mark.triton


def why_skipped(one):
    """The reason alone, without the path of the copy that it was said in."""
    _path, _line, reason = ast.literal_eval(one.message)
    return reason.removeprefix("Skipped: ")


@pytest.mark.parametrize(
    "piece",
    [pytest.param(piece, id=piece.id, marks=[TRITON] if piece.triton else []) for piece in PIECES],
)
def test_the_mistake_is_caught(piece, tmp_path, request):
    if piece.triton:
        request.getfixturevalue("interpreted")
    folder = copy(tmp_path)
    plant(piece, folder)
    code, found, printed = run([piece.test], folder, piece.triton)
    for one in found:
        if one.outcome == "skipped":
            pytest.skip(why_skipped(one))
    assert not why_not_caught(piece, code, found), printed


@pytest.mark.parametrize(
    "triton", [False, pytest.param(True, marks=TRITON)], ids=["numpy", "triton"]
)
def test_without_a_mistake_all_these_tests_pass(triton, tmp_path, request):
    if triton:
        request.getfixturevalue("interpreted")
    tests = sorted({piece.test for piece in PIECES if piece.triton is triton})
    code, found, printed = run(tests, copy(tmp_path), triton)
    skipped = [one for one in found if one.outcome == "skipped"]
    assert sorted(one.test for one in found) == tests, printed
    assert code == 0 and all(one.outcome == "passed" or one in skipped for one in found), printed
    if skipped:
        pytest.skip(f"{len(skipped)} of {len(tests)} did not run: {why_skipped(skipped[0])}")


def test_the_museum_is_in_order():
    assert len(BY_ID) == len(PIECES) >= 25
    for piece in PIECES:
        assert piece.right != piece.wrong and all(
            getattr(piece, field.name) for field in dataclasses.fields(piece)[:4]
        )
        assert 3 <= len(re.findall(r"[.?!]\s", piece.story)) <= 6, piece.id
        assert piece.symptom.endswith(".") and piece.complaint


def test_a_stale_piece_says_so(tmp_path):
    folder, piece = copy(tmp_path), BY_ID["relu-at-zero"]
    for right in ("no such line", "SLOPE"):
        times = (folder / piece.file).read_text(encoding="utf-8").count(right)
        with pytest.raises(StaleError, match=f"relu-at-zero is stale: .* text {times} times"):
            plant(dataclasses.replace(piece, right=right), folder)
    gone = dataclasses.replace(piece, file="refnet/gone.py")
    with pytest.raises(StaleError, match=r"refnet/gone.py has its text 0 times"):
        plant(gone, folder)


def test_an_edit_that_changes_nothing_is_not_caught(tmp_path):
    folder, piece = copy(tmp_path), BY_ID["relu-at-zero"]
    harmless = dataclasses.replace(piece, wrong="return np.where(0 < y, g, 0)")
    plant(harmless, folder)
    code, found, _ = run([harmless.test], folder, torch=False)
    assert "passes with the mistake in" in why_not_caught(harmless, code, found)


PIECE = BY_ID["relu-at-zero"]


@pytest.mark.parametrize(
    ("code", "found", "said"),
    [
        (1, [(PIECE.test, "call", "failed", "E   assert 1 == 2")], ""),
        (0, [(PIECE.test, "call", "passed", "")], "does not catch it"),
        (1, [(PIECE.test, "setup", "failed", "assert")], "failed in its setup"),
        (1, [(PIECE.test, "call", "failed", "ImportError: no")], "does not say"),
        (1, [("tests/a.py::b", "call", "failed", "assert")], "and tests/a.py::b did"),
        (2, [], "and nothing did (exit status 2)"),
        (4, [], "and nothing did (exit status 4)"),
    ],
)
def test_only_the_right_failure_counts(code, found, said):
    why = why_not_caught(PIECE, code, [Outcome(*row) for row in found])
    assert said in why and bool(said) == bool(why)
