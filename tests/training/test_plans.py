"""Recorded steps: how many are kept, and what they do not compute."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet.errors import (
    GradientError,
)
from refnet.layers import Dense, Input
from tests.small import X, Y, compiled


def step(x):
    return refnet.ops.sign(x)


def test_at_most_32_plans_of_a_step_are_kept():
    model = refnet.Sequential([Input((1,)), Dense(1)])
    for count in range(1, 41):
        assert model.predict(np.ones((count, 1)), batch_size=64).shape == (count, 1)
    (step,) = model._steps.values()
    assert len(step._plans) == 32


def test_the_gradient_of_what_comes_in_is_computed_for_nobody():
    x = refnet.tensor(X[..., None]).reshape(6, 3)
    kernel, bias = refnet.Variable(np.ones((3, 2))), refnet.Variable(np.zeros(2))
    y = refnet.ops.linear(x, kernel, bias)[0]
    (gradient,) = refnet.gradients(y, [kernel])
    assert gradient.node.attributes["wrt"] == ("kernel",)


def test_a_planned_step_leaves_no_gradient_of_what_was_before(backend):
    with refnet.use_backend(backend):
        model = compiled(Input((3,)), Dense(1))
    w = model.layers[1].kernel
    for _ in range(3):  # recorded, then planned
        y = (w * w).sum()
        model.train_on_batch(X, Y)
        with pytest.raises(GradientError):
            refnet.gradients(y, [w])
