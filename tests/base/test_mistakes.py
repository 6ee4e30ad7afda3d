"""Plain mistakes have plain errors."""

from __future__ import annotations

import pytest

import refnet
from refnet.errors import (
    RefnetError,
)
from refnet.layers import Activation, Dense, Flatten
from tests.small import compiled


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: compiled(Dense(1)).predict_on_batch(3.0),
        lambda: compiled(Dense(1)).predict_on_batch(None),
        lambda: compiled(Dense(1)).predict_on_batch([[1], [1, 2]]),
        lambda: compiled(Dense(1)).test_on_batch(3.0, 3.0),
        lambda: Dense(2)([[1], [1, 2]]),
        lambda: Flatten()(3.0),
        lambda: Dense(2)(3.0),
        lambda: Activation("softmax")(3.0),
        lambda: Dense(2).build(3),
        lambda: Dense(2).build(()),
        lambda: refnet.Sequential([Dense(2)]).build(None),
        lambda: refnet.Sequential([Dense(2)]).build(3),
    ],
)
def test_plain_mistakes_have_plain_errors(mistake):
    with pytest.raises(RefnetError):
        mistake()
