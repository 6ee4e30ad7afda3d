"""No bound is so loose that a wrong result could hide below it."""

from dataclasses import replace

import pytest

from refnet import backend as backends
from refnet.check import tightness
from refnet.op import TABLE
from refnet.proof.bounds import ulp
from refnet.proof.judge import all_ops

ROUNDING = [op for op in all_ops() if tightness.rounds(op)]


@pytest.mark.parametrize("op", ROUNDING, ids=lambda op: op.name)
def test_errors_come_within_a_sixteenth_of_their_bound(op):
    found = tightness.measure(op, "float32", backends.get("numpy"), 150)
    assert found.cases == 150
    assert found.ok, found


def test_most_ops_round():
    assert 70 < len(ROUNDING) < len(all_ops())


def test_a_loose_bound_is_noticed(monkeypatch):
    op = TABLE["tanh"]
    monkeypatch.setattr(op, "error", ulp(100))
    found = tightness.measure(op, "float32", backends.get("numpy"), 50)
    assert 0 < found.ratio < tightness.LOOSEST
    assert not found.ok
    assert not replace(found, ratio=1.01).ok


def test_the_page_names_every_op(monkeypatch):
    monkeypatch.setattr(tightness, "COLUMNS", (("NumPy, float32", "numpy", "float32", 2),))
    text = tightness.page()
    for op in all_ops():
        assert f"| `{op.name}` |" in text
    assert "| `relu` | 0 | exact |" in text
    assert "2 random cases an op on NumPy, float32" in text
