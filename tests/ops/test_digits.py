"""Digits that are lost in a formula: small losses, far data, NaN."""

from __future__ import annotations

import numpy as np
import pytest

from refnet import backend as backends
from refnet.autograd.tensor import tensor
from refnet.op import TABLE

FAMILIES = "unary", "binary", "reduction", "rows"
COMPUTED = [
    op
    for op in TABLE.values()
    if op.primal is None
    and op.cases.family in FAMILIES
    and op.file != "comparisons"
    and "arg" not in op.name
]


def test_unlikely_classes_have_finite_logarithms(backend):
    x = np.array([[0.0, -1000.0], [300.0, 0.0]], "float32")
    y = backend.numpy(backend.function(TABLE["log_softmax"])(backend.array(x)))
    np.testing.assert_array_equal(y, [[0.0, -1000.0], [0.0, -300.0]])


def test_right_answers_have_a_small_loss_and_not_none(backend):
    """A score of 17 on the right side costs 4·10⁻⁸, and one of 60 still e⁻⁶⁰."""
    x = np.array([17.0, 20.0, 60.0, -17.0, -40.0], "float32")
    t = np.array([1.0, 1.0, 1.0, 0.0, 0.0], "float32")
    loss = backend.function(TABLE["sigmoid_cross_entropy"])(backend.array(x), backend.array(t))
    expected = np.log1p(np.exp(-np.abs(x.astype("float64"))))
    np.testing.assert_allclose(backend.numpy(loss), expected, rtol=1e-6)


def test_the_variance_of_data_far_from_zero(backend):
    """E[x²] - E[x]² would have no digit right here: both terms are 10⁸."""
    x = (1e4 + np.random.default_rng(0).normal(size=(3, 500))).astype("float32")
    with backends.use_backend(backend):
        found = tensor(x).var(axis=1).numpy()
    np.testing.assert_allclose(found, x.astype("float64").var(axis=1), rtol=1e-3)


@pytest.mark.parametrize("op", COMPUTED, ids=lambda op: op.name)
def test_nan_is_never_swallowed(op):
    """Whichever of its inputs is NaN, the result is."""
    for place in range(len(op.inputs)):
        inputs = [np.array([2.0]) for _ in op.inputs]
        if op.name == "prelu":
            inputs[0] = np.array([-2.0])  # so that the slope counts
        inputs[place] = np.array([np.nan])
        with np.errstate(invalid="ignore"):
            y = op.function(*inputs)
        assert np.isnan(y).all(), f"{op.name} of {inputs} is {y}, not NaN"
