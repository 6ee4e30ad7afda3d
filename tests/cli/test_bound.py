"""`refnet bound OP`: what it measures, and what it says of bounds that are broken, loose and exact."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from refnet.op import TABLE
from refnet.proof.bounds import exact, ulp
from refnet.proof.exact import LONGER

pytestmark = pytest.mark.needs("rich")
PAGE = Path(__file__).resolve().parents[2] / "docs/deriving_bounds.md"
FEW = "--runs", "60"


def test_the_page_shows_what_is_printed(refnet_):
    code, out, err = refnet_("bound", "softsign")
    assert (code, err) == (0, "")
    shown = re.search(
        r"^\$ refnet bound softsign\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M
    )[1]
    assert out == shown  # + and / are rounded alike on every machine


def test_an_op_is_measured_with_its_gradient_and_a_gradient_alone(refnet_):
    code, out, _ = refnet_("bound", "softmax", *FEW)
    assert code == 0
    assert re.findall(r"^\w+", out, re.M) == ["softmax", "softmax_vjp"]
    assert out.count("numpy float32, 60 runs: kept: the largest error is 0.") == 2
    code, out, _ = refnet_("bound", "softmax_vjp", *FEW)
    assert re.findall(r"^\w+", out, re.M) == ["softmax_vjp"]


def test_what_is_not_rounded_is_exact(refnet_):
    code, out, _ = refnet_("bound", "relu", *FEW)
    assert code == 0
    assert out.count("exact, as the bound says") == 2
    assert "the largest" not in out


@pytest.mark.parametrize("bound", [ulp(0.1), exact()])
def test_a_broken_bound_is_said_and_where(refnet_, monkeypatch, bound):
    monkeypatch.setattr(TABLE["softsign"], "error", bound)
    code, out, _ = refnet_("bound", "softsign", *FEW)
    assert code == 1
    assert "numpy float32, 60 runs: BROKEN at " in out
    again = shlex.split(re.search(r"the largest: refnet (check --op softsign .*)", out)[1])
    code, said, _ = refnet_(*again)
    assert code == 1
    assert re.search(r"FAIL  softsign on numpy in float32\n  (.*)", said)[1] in out.replace(
        "BROKEN at ", ""
    )


def test_a_loose_bound_is_said_and_by_how_much(refnet_, monkeypatch):
    _, before, _ = refnet_("bound", "softsign", *FEW)
    monkeypatch.setattr(TABLE["softsign"], "error", ulp(200))
    code, out, _ = refnet_("bound", "softsign", *FEW)
    assert code == 1
    factor = float(re.search(r"TOO LOOSE by ([\d.]+): ", out)[1])
    seen = float(re.search(r"error is ([\d.]+) of", before)[1]) * 2 / 200
    assert factor == pytest.approx(1 / 16 / seen, rel=0.05)
    monkeypatch.setattr(TABLE["relu"], "error", ulp(1))
    code, out, _ = refnet_("bound", "relu", *FEW)
    assert code == 1
    assert "TOO LOOSE: no error at all was seen" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nosuch",), "unknown op 'nosuch'. Known: abs, "),
        (("relu", "--backend", "nosuch"), "unknown backend 'nosuch'. Known: "),
        (("tanh", "--dtype", "int32"), "--dtype on numpy is one of 'float"),
    ],
)
def test_a_mistake_gets_one_clear_line(refnet_, arguments, complaint):
    code, out, err = refnet_("bound", *arguments, *FEW)
    assert (code, out) == (2, "")
    assert err.startswith(f"refnet bound: {complaint}")
    assert err.count("\n") == 1


@pytest.mark.triton
def test_on_triton(refnet_):
    code, out, _ = refnet_(
        "bound", "tanh", "--backend", "triton", "--dtype", "bfloat16", "--runs", "5"
    )
    assert code == 0
    assert out.count("triton bfloat16, 5 runs: kept: ") == 2


def test_the_reference_has_a_bound_to_keep_where_there_is_a_longer_type(refnet_, monkeypatch):
    if LONGER is not np.float64:
        code, out, _ = refnet_("bound", "tanh", "--dtype", "float64", *FEW)
        assert code == 0
        assert out.count("numpy float64, 60 runs: kept: ") == 2
    from refnet.cli import bound

    monkeypatch.setattr(bound, "LONGER", np.float64)
    code, out, err = refnet_("bound", "tanh", "--dtype", "float64", *FEW)
    assert (code, out) == (2, "")
    assert err == "refnet bound: NumPy in float64 is the reference itself: nothing to measure\n"
