"""What judges the reference: its own formula in a longer type, and limits."""

import numpy as np
import pytest

from refnet import backend as backends
from refnet.backend import NumPyBackend
from refnet.op import TABLE
from refnet.op.columns import Case
from refnet.proof import exact as judged
from refnet.proof.cases import constant
from refnet.proof.exact import LONGER, exact, reference
from refnet.proof.judge import cases_of, compare

longer = pytest.mark.skipif(
    LONGER is np.float64, reason="this machine has no longer type of floats"
)


# -- mistakes that the reference and every backend share ---------------------------------------------


def _without_the_largest(x, axis=None, keepdims=False):
    return np.log(np.sum(np.exp(x), axis, keepdims=keepdims))


def _without_a_guard(x, axis=None, keepdims=False):
    m = np.max(x, axis, keepdims=True, initial=-np.inf)
    y = m + np.log(np.sum(np.exp(x - m), axis, keepdims=True))
    return y if keepdims else np.squeeze(y, axis)


def _adam_of_v_hat(theta, g, m, v, learning_rate, t, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    t = float(t)
    m[...], v[...] = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g * g
    root = np.sqrt(v / (1 - beta_2**t))
    theta -= float(learning_rate) / (1 - beta_1**t) * m / (root + epsilon)
    return theta, m, v


def _softmax_as_it_stands(x, axis=-1):
    e = np.exp(x)
    return e / np.sum(e, axis, keepdims=True)


def _mean_of_a_product(x, axis=None, keepdims=False):
    """Of numbers around 1 it is right."""
    return np.log(np.mean(np.exp(x), axis, keepdims=keepdims))


MISTAKES = {
    "log-sum-exp without the largest subtracted": ("logsumexp", _without_the_largest),
    "log-sum-exp of a row of -infinity": ("logsumexp", _without_a_guard),
    "x · clip(x + 3, 0, 6) before the division": (
        "hard_swish",
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
    ),
    "softmax without the largest subtracted": ("softmax", _softmax_as_it_stands),
    "log(softmax)": (
        "log_softmax",
        lambda x, axis=-1: np.log(
            np.exp(x - np.max(x, axis, keepdims=True))
            / np.sum(np.exp(x - np.max(x, axis, keepdims=True)), axis, keepdims=True)
        ),
    ),
    "a cross-entropy whose terms cancel": (
        "sigmoid_cross_entropy",
        lambda x, t: np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x))),
    ),
    "ln(1 + eˣ) as it stands": ("softplus", lambda x: np.log(1 + np.exp(x))),
    "x · σ(x) at -infinity": ("swish", lambda x: x / (1 + np.exp(-x))),
    "tanh of two exponentials": (
        "tanh",
        lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
    ),
    "Adam's v̂ that overflows": ("adam", _adam_of_v_hat),
}


def said_with(monkeypatch, name, wrong):
    """What the judge says where the reference and the backend compute by the same wrong function."""
    op = TABLE[name]

    class Backend(NumPyBackend):
        name = "alike"

        def function(self, op):
            return wrong

    monkeypatch.setattr(op, "function", wrong)
    said = []
    for dtype in ("float32", "float64"):
        for case in cases_of(op):
            with np.errstate(all="ignore"):
                found = compare(op, case, dtype, Backend())
            said += [] if found.ok else [f"{dtype} {case.name}: {found.complaint}"]
    return said


@longer
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_that_both_sides_share_is_caught(monkeypatch, mistake):
    assert said_with(monkeypatch, *MISTAKES[mistake])


@longer
@pytest.mark.parametrize("name", sorted({name for name, _ in MISTAKES.values()}))
def test_as_they_are_nothing_is_said(monkeypatch, name):
    assert not said_with(monkeypatch, name, TABLE[name].function)


# -- limits ----------------------------------------------------------------------------------------


def exactly(name, *inputs, **attributes):
    return exact(TABLE[name], tuple(map(np.asarray, inputs)), attributes, "float64")[0]


@longer
def test_where_a_formula_overflows_the_longer_type_has_the_number(monkeypatch):
    monkeypatch.setattr(TABLE["logsumexp"], "function", _without_the_largest)
    assert np.isinf(reference(TABLE["logsumexp"], (np.array([1000.0, 1000.0]),), {})[0])
    assert float(exactly("logsumexp", [1000.0, 1000.0])) == 1000 + np.log(2)


@longer
def test_nan_stays_where_there_is_no_limit():
    infinity = np.inf
    assert np.isnan(
        exactly("subtract", [infinity], [infinity])
    )  # of one size: 0; of others: anything
    assert np.isnan(exactly("multiply", [infinity], [0.0]))
    assert np.isnan(exactly("sum", [infinity, -infinity]))
    assert np.isnan(exactly("add", [np.nan], [infinity]))
    assert np.isnan(exactly("sqrt", [-infinity]))
    assert exactly("add", [infinity], [1.0]) == infinity


@longer
def test_a_limit_takes_the_place_of_nan(monkeypatch):
    monkeypatch.setattr(TABLE["logsumexp"], "function", _without_a_guard)
    assert exactly("logsumexp", [[-np.inf, -np.inf], [-np.inf, 0.0]], axis=1).tolist() == [
        -np.inf,
        0,
    ]
    assert exactly("logsumexp", [np.inf, 0.0]) == np.inf
    # the row says that a score of infinity is to be seen
    assert np.isnan(exactly("softmax", [np.inf, 0.0])).any()
    assert "limits" in TABLE["softmax"].cases.without


def test_narrower_types_are_judged_in_float64():
    x = np.array([0.5, 2.0])
    (y,) = exact(TABLE["tanh"], (x,), {}, "float32")
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, np.tanh(x))


def test_where_there_is_no_longer_type_float64_is_judged_by_itself(monkeypatch):
    monkeypatch.setattr(judged, "LONGER", np.float64)
    (y,) = exact(TABLE["logsumexp"], (np.array([-np.inf, -np.inf]),), {}, "float64")
    assert y.dtype == np.float64


def test_a_sum_may_overflow_where_its_terms_do():
    """3e38 + 3e38 - 3e38 is a number, and ∞ if it is summed from the left."""
    x = Case("overflowing", constant([3e38, 3e38, -3e38]))
    assert compare(TABLE["sum"], x, "float32", backends.get("numpy")).ok
    x = Case("large", constant([1e38, 1e38, -1e38]))

    class Infinite(NumPyBackend):
        name = "infinite"

        def function(self, op):
            return lambda x: np.float32(np.inf)

    assert not compare(TABLE["sum"], x, "float32", Infinite()).ok
