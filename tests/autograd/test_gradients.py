"""Which gradients there are, and which of them are computed."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet import losses, ops
from refnet.autograd.backpropagation import gradients
from refnet.autograd.tensor import apply
from refnet.errors import (
    GradientError,
)
from refnet.layers import Dense, Input
from refnet.op import TABLE
from tests.small import X, Y, compiled

RNG = np.random.default_rng(5)


def step(x):
    return refnet.ops.sign(x)


def test_what_gets_no_gradient_is_said():
    model = compiled(Input((3,)), Dense(2, step), Dense(1))
    with pytest.warns(UserWarning, match=r"no gradient to .*kernel.*bias") as said:
        model.fit(X, Y, epochs=3, batch_size=4, verbose=0)
    assert len(said) == 1
    for last in (step, lambda x: refnet.tensor(np.asarray(x.detach()))):
        model = refnet.Sequential([Input((3,)), Dense(1, last)])
        model.compile("sgd", "mse", run_eagerly=True)
        before = model.get_weights()
        with pytest.raises(GradientError, match="no gradient"):
            model.fit(X, Y, verbose=0)
        for w, right in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(w, right)
        assert model.optimizer.iterations == 0


@pytest.mark.parametrize("loss", [losses.BinaryCrossentropy, losses.CategoricalCrossentropy])
def test_no_gradient_is_lost_in_the_targets_of_a_cross_entropy(loss):
    z, t = refnet.Variable(RNG.normal(0, 1, (2, 3))), refnet.tensor(RNG.uniform(0, 1, (2, 3)))
    p = refnet.activations.softmax(z)
    for targets, wanted in ((p, z), (t, t)):
        with pytest.raises(GradientError, match=r"targets\.detach"):
            refnet.gradients(loss(from_logits=True)(targets, z), wanted)
    assert refnet.gradients(loss(from_logits=True)(p.detach(), z), z).shape == (2, 3)


def test_what_is_wanted_need_not_have_a_gradient_itself():
    """y = w · floor(x): neither floor nor what stands before it is on the way to w or to floor(x)."""
    x, w = refnet.tensor([1.5, 2.5]), refnet.tensor([3.0, 4.0])
    rounded = ops.floor(ops.multiply(x, 2.0))
    y = ops.multiply(w, rounded)
    found = gradients(y, [w, rounded])
    np.testing.assert_array_equal([g.numpy() for g in found], [[3, 5], [3, 4]])


def test_only_gradients_that_are_asked_for_are_computed():
    with refnet.Graph() as graph:
        x, w = refnet.placeholder((None, 3)), refnet.Variable(np.ones((3, 2)))
        h = ops.relu(x)
        before = len(graph.nodes)
        gradients(ops.sum(ops.matmul(h, w)), [w])
    names = [node.op.name for node in graph.nodes[before:]]
    assert "relu_vjp" not in names and "matmul_vjp" in names
    node = next(node for node in graph.nodes if node.op.name == "matmul_vjp")
    assert node.attributes["wrt"] == ("b",)


@pytest.mark.parametrize("result", [1, 2])
def test_results_beside_the_first_have_no_gradient(result):
    logits, op = refnet.tensor([[1.0, 2.0]]), TABLE["softmax_cross_entropy"]
    found = apply(op, (logits, [[0.0, 1.0]]))
    for y in (found[result], found[0] + found[result]):
        with pytest.raises(GradientError, match=f"its result '{op.outputs[result]}'"):
            gradients(y, logits)


def test_targets_that_were_computed_have_no_gradient_either():
    y, p = refnet.tensor([[0.5, 0.5]]), refnet.tensor([[0.25, 0.75]])
    loss = losses.CategoricalCrossentropy(from_logits=True)(y * 2.0 - y, p)
    with pytest.raises(GradientError, match="detach"):
        gradients(loss, y)
