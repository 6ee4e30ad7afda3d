"""Random numbers: whose stream is whose, and what draws none."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet.layers import Dense, Dropout, Input
from tests.small import X, Y, compiled


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_mask_is_not_drawn_from_the_numbers_of_a_kernel(seed):
    refnet.utils.set_random_seed(seed)
    kernel = Dense(64)
    kernel.build((None, 64))
    y = Dropout(0.5, seed=seed)(refnet.tensor(np.ones((64, 64))), training=True).numpy()
    agree = np.mean((y > 0) == (kernel.get_weights()[0] > 0))
    assert 0.4 < agree < 0.6


def test_looking_draws_no_random_numbers():
    """A model that is built is not called once more to be built."""
    model = compiled(Input(3), Dropout(0.5), Dense(1))
    before = [v.numpy() for v in model.variables]
    model.predict(X)
    model.evaluate(X, Y, verbose=0)
    for a, b in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)
