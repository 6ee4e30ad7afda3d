"""The memory of an optimizer, by hand and in fit; what it refuses."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import refnet
from refnet import optimizers
from refnet.errors import (
    ArgumentError,
)
from refnet.layers import Dense, Input
from tests.small import X, Y, compiled


def fitted(model):
    model.fit(X, Y, 6, verbose=0)


def by_hand(model, backend="numpy"):
    weights = model.trainable_weights
    found = refnet.gradients(model.loss(Y, model(X)), weights)
    model.optimizer.apply_gradients(zip(found, weights, strict=True))


def looked_at(model):
    assert model.parameters.size


def frozen(model):
    model.layers[1].trainable = False


def thawed(model):
    model.layers[1].trainable = True


def moved(model):
    model.to("loopback")


ORDERS = [
    (fitted, by_hand), (by_hand, fitted), (fitted, by_hand, fitted, by_hand),
    (looked_at, by_hand, fitted),
    (fitted, frozen, by_hand, fitted, thawed, by_hand, fitted), (fitted, moved, by_hand, fitted),
    (fitted, copy.deepcopy, by_hand, fitted),
]  # fmt: skip


def step(x):
    return refnet.ops.sign(x)


TRITON = pytest.mark.triton


@pytest.mark.parametrize("rule", ["momentum", "adam", "rmsprop"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(f.__name__ for f in order))
def test_a_step_by_hand_and_a_step_of_fit_keep_one_memory(order, rule):
    """Whoever takes the steps: the same as if fit had taken all of them."""
    kinds = {"momentum": lambda: optimizers.SGD(0.1, momentum=0.9), "adam": lambda: optimizers.Adam(0.1),
             "rmsprop": lambda: optimizers.RMSprop(0.1)}  # fmt: skip

    def trained(order):
        refnet.utils.set_random_seed(3)
        model = compiled(Input((3,)), Dense(4, "tanh"), Dense(1), optimizer=kinds[rule]())
        for step in order:
            step(model)
        return model

    found = trained(order)
    expected = trained([fitted if step is by_hand else step for step in order])
    assert found.optimizer.iterations == expected.optimizer.iterations
    for w, right in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(w, right, rtol=2e-5, atol=1e-6)


def test_apply_gradients_takes_pairs_of_gradients_and_variables():
    w, optimizer = refnet.Variable([1.0, 2.0]), optimizers.SGD(0.5)
    g = np.ones(2, "float32")
    for wrong in (
        [(w, g)],
        [(g, g)],
        [(g, refnet.tensor([1.0, 2.0]))],
        (g, w),
        [g],
        [(g, w), (g, None)],
    ):
        with pytest.raises(ArgumentError, match="sgd: apply_gradients"):
            optimizer.apply_gradients(wrong)
    assert w.numpy().tolist() == [1.0, 2.0] and optimizer.iterations == 0
    optimizer.apply_gradients(zip([g], [w], strict=True))
    assert w.numpy().tolist() == [0.5, 1.5]


def test_names_of_elsewhere_are_not_set_either():
    with pytest.raises(AttributeError, match=r"learning_rate = 0\.01"):
        optimizers.SGD(0.5).lr = 0.1


def test_a_weight_is_assigned_and_not_replaced():
    layer = Dense(2)
    layer.build((None, 3))
    with pytest.raises(ArgumentError, match=r"kernel\.assign"):
        layer.kernel = np.ones((3, 2))
    layer.kernel = layer.kernel


@pytest.mark.parametrize(
    ("dtype", "backend"),
    [
        ("float16", "numpy"),
        pytest.param("float16", "triton", marks=TRITON),
        pytest.param("bfloat16", "triton", marks=TRITON),
    ],
)
def test_steps_are_counted_beyond_what_a_half_type_holds(dtype, backend):
    with refnet.use_backend(backend), refnet.Graph() as graph:
        w = refnet.Variable([0.0], dtype, name="w")
        train = optimizers.Adam(1e-3).minimize(w.sum())
    session = refnet.Session(graph, backend)
    session.assign("adam/iterations", 2048.0)
    session.run(train)
    assert session.run("adam/iterations") == 2049


@pytest.mark.parametrize("rate", [1e-8, 1e-3])
def test_a_small_rate_is_no_0_for_a_half_type(rate):
    refnet.config.set_floatx("float16")
    try:
        model = refnet.Sequential([Dense(1, use_bias=False, input_shape=(1,))])
        model.set_weights([[[0.001]]])
        model.compile(optimizers.SGD(rate), "mse")
        model.fit([[100.0]], [[-100.0]], verbose=0)
        expected = 0.001 - rate * 2 * 100.1 * 100
        np.testing.assert_allclose(model.get_weights()[0], [[expected]], rtol=2e-3)
    finally:
        refnet.config.set_floatx("float32")
