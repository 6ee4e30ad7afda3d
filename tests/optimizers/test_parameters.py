"""The parameters as one vector: its parts, its types, taken back."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet import ops
from refnet.autograd.backpropagation import gradients
from refnet.errors import (
    DTypeError,
    GradientError,
)
from refnet.layers import Dense, Input, Layer
from tests.small import X, Y, compiled


def test_weights_of_two_types_are_not_trained_together():
    class Two(Layer):
        def make_weights(self, input_shape):
            self.a = self.add_weight((1,), "ones", "float32")
            self.b = self.add_weight((1,), "ones", "float64", name="other")

        def call(self, x):
            return ops.multiply(ops.multiply(x, self.a), ops.cast(self.b))

    with pytest.raises(DTypeError, match=r"one type: .* is float32, .*other' is float64"):
        compiled(Two()).fit(X, X, verbose=0)


def test_one_weight_alone_is_taken_back():
    layer = Dense(1, use_bias=False)
    first, second = compiled(Input(3), layer), compiled(layer)
    for model in (first, second, first):
        before = layer.kernel.numpy()
        model.fit(X, Y, verbose=0)
        assert np.abs(layer.kernel.numpy() - before).max() > 0


def test_a_part_of_a_vector_changes_it():
    parameters = compiled(Input(3), Dense(1)).parameters
    vector = refnet.Variable(np.ones(parameters.size), "float32")
    part = parameters.part(vector, parameters.variables[0])
    y = ops.multiply(vector, vector)
    part.assign(np.full((3, 1), 2.0))
    assert part.shape == (3, 1) and list(vector.numpy()[:4]) == [2, 2, 2, 1]
    with pytest.raises(GradientError, match="assigned since"):
        gradients(y, vector)
