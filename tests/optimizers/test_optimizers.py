"""Optimizers: each rule against its textbook formula and against PyTorch; memory, defaults."""

from __future__ import annotations

import math

import numpy as np
import pytest

import refnet
from refnet import errors, optimizers
from refnet.optimizers import SGD, Adagrad, Adam, RMSprop

STEPS = 20
GRADIENTS = np.random.default_rng(0).normal(size=STEPS)


def sgd(w, g, t, memory, eta=0.01):
    return w - eta * g


def momentum(w, g, t, memory, eta=0.01, mu=0.9):
    memory["v"] = mu * memory.get("v", 0.0) - eta * g
    return w + memory["v"]


def nesterov(w, g, t, memory, eta=0.01, mu=0.9):
    memory["v"] = mu * memory.get("v", 0.0) - eta * g
    return w + mu * memory["v"] - eta * g


def adagrad(w, g, t, memory, eta=0.001, start=0.1, epsilon=1e-7):
    memory["s"] = memory.get("s", start) + g**2
    return w - eta * g / math.sqrt(memory["s"] + epsilon)


def rmsprop(w, g, t, memory, eta=0.001, rho=0.9, epsilon=1e-7):
    memory["s"] = rho * memory.get("s", 0.0) + (1 - rho) * g**2
    return w - eta * g / math.sqrt(memory["s"] + epsilon)


def adam(w, g, t, memory, eta=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    memory["m"] = beta_1 * memory.get("m", 0.0) + (1 - beta_1) * g
    memory["v"] = beta_2 * memory.get("v", 0.0) + (1 - beta_2) * g**2
    m_hat, v_hat = memory["m"] / (1 - beta_1**t), memory["v"] / (1 - beta_2**t)
    return w - eta * m_hat / (math.sqrt(v_hat) + epsilon)


#: what is given to the constructor, the textbook, and what is given to that (defaults: Keras')
RULES = [
    (lambda: SGD(), sgd, {}),
    (lambda: SGD(0.3), sgd, {"eta": 0.3}),
    (lambda: SGD(momentum=0.9), momentum, {}),
    (lambda: SGD(0.1, momentum=0.5), momentum, {"eta": 0.1, "mu": 0.5}),
    (lambda: SGD(momentum=0.9, nesterov=True), nesterov, {}),
    (lambda: Adagrad(), adagrad, {}),
    (
        lambda: Adagrad(0.5, initial_accumulator_value=2, epsilon=1e-2),
        adagrad,
        {"eta": 0.5, "start": 2.0, "epsilon": 1e-2},
    ),
    (lambda: RMSprop(), rmsprop, {}),
    (
        lambda: RMSprop(0.1, rho=0.5, epsilon=1e-2),
        rmsprop,
        {"eta": 0.1, "rho": 0.5, "epsilon": 1e-2},
    ),
    (lambda: Adam(), adam, {}),
    (
        lambda: Adam(0.1, 0.5, 0.9, 1e-2),
        adam,
        {"eta": 0.1, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2},
    ),
]
IDS = [f"{rule.__name__} {options}" for _, rule, options in RULES]


@pytest.mark.parametrize(("make", "rule", "options"), RULES, ids=IDS)
def test_rule_is_that_of_the_textbook(make, rule, options):
    optimizer, variable = make(), refnet.Variable(np.array([1.0]))
    w, memory = 1.0, {}
    for t, g in enumerate(GRADIENTS, 1):
        optimizer.apply_gradients([([g], variable)])
        w = rule(w, g, t, memory, **options)
        np.testing.assert_allclose(variable.numpy(), [w], rtol=1e-13)
    assert optimizer.iterations == STEPS


def of_torch(torch, optimizer, parameters):
    """PyTorch's optimizer of the same rule."""
    given = {"lr": optimizer.learning_rate}
    if isinstance(optimizer, SGD):
        return torch.optim.SGD(
            parameters,
            **given,
            momentum=optimizer.attributes.get("momentum", 0),
            nesterov=optimizer.rule.name == "nesterov",
        )
    a = optimizer.attributes
    return torch.optim.Adam(parameters, **given, betas=(a["beta_1"], a["beta_2"]), eps=a["epsilon"])


@pytest.mark.parametrize(
    "make",
    [r[0] for r in RULES if r[1] not in (rmsprop, adagrad)],
    ids=[i for i in IDS if not i.startswith(("rms", "adagrad"))],
)
def test_rule_is_that_of_pytorch(make, torch):
    """All but RMSprop and Adagrad, where PyTorch puts ε outside of the root and Keras inside."""
    ours, variable = make(), refnet.Variable(np.linspace(-1, 1, 7))
    parameter = torch.nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64))
    theirs = of_torch(torch, ours, [parameter])
    for g in np.random.default_rng(1).normal(size=(STEPS, 7)):
        ours.apply_gradients([(g, variable)])
        parameter.grad = torch.from_numpy(g)
        theirs.step()
        np.testing.assert_allclose(variable.numpy(), parameter.detach().numpy(), 1e-12, 1e-14)


def test_each_variable_has_its_own_memory():
    optimizer = Adam(0.1)
    first, second = refnet.Variable([1.0, 2.0]), refnet.Variable([[3.0]])
    optimizer.apply_gradients([([1.0, 1.0], first), ([[0.0]], second)])
    assert {v.shape for v in optimizer.memory[first]} == {(2,)}
    assert (optimizer.memory[first][0].numpy() > 0).all()
    assert (optimizer.memory[second][0].numpy() == 0).all()
    np.testing.assert_array_equal(second.numpy(), [[3.0]])


def test_memory_that_does_not_start_at_0_does_so_for_weights_that_join_later():
    """Frozen at first, its sum of squares starts where the others' did."""
    model = refnet.Sequential([refnet.layers.Dense(2, input_shape=(3,)), refnet.layers.Dense(1)])
    model.compile(Adagrad(0.1, initial_accumulator_value=0.5), "mse")
    x, y = np.ones((4, 3)), np.zeros((4, 1))
    model.layers[0].trainable = False
    model.fit(x, y, epochs=2, verbose=0)
    model.layers[0].trainable = True
    kernel = model.layers[0].kernel
    loss = ((model(x) - y) ** 2).mean()
    g, before = refnet.gradients(loss, [kernel])[0].numpy(), kernel.numpy().copy()
    model.fit(x, y, epochs=1, verbose=0)
    expected = before - 0.1 * g / np.sqrt(0.5 + g * g + 1e-7)
    np.testing.assert_allclose(kernel.numpy(), expected, rtol=1e-5)


def test_learning_rate_may_change_between_steps():
    optimizer, w = SGD(1.0), refnet.Variable([10.0])
    for rate, expected in ((1.0, 9.0), (0.5, 8.5), (0.0, 8.5), (2, 6.5)):
        optimizer.learning_rate = rate
        optimizer.apply_gradients([([1.0], w)])
        assert w.item() == expected


def test_learning_rate_may_be_a_number_of_numpy():
    assert SGD(np.float32(0.5)).learning_rate == 0.5


def test_defaults_are_those_of_keras():
    assert repr(optimizers.get("sgd")) == "SGD(learning_rate=0.01)"
    assert repr(optimizers.get("adam")) == (
        "Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07)"
    )
    assert repr(optimizers.get("adagrad")) == "Adagrad(learning_rate=0.001, epsilon=1e-07)"
    assert optimizers.Adagrad().initial_accumulator_value == 0.1
    assert repr(optimizers.get("RMSprop")) == "RMSprop(learning_rate=0.001, rho=0.9, epsilon=1e-07)"


def test_optimizers_are_found_by_name_class_and_object():
    own = Adam(0.5)
    assert optimizers.get(own) is own
    assert isinstance(optimizers.get("Adam"), Adam)
    assert isinstance(optimizers.get(Adam), Adam)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (SGD, {"learning_rate": -0.1}),
        (SGD, {"learning_rate": "fast"}),
        (SGD, {"learning_rate": math.nan}),
        (SGD, {"learning_rate": math.inf}),
        (SGD, {"momentum": 1.5}),
        (SGD, {"momentum": "much"}),
        (SGD, {"nesterov": True}),
        (RMSprop, {"rho": 1.5}),
        (RMSprop, {"epsilon": -1.0}),
        (Adam, {"beta_1": 1.0}),
        (Adam, {"beta_2": -0.1}),
        (Adam, {"epsilon": -1.0}),
    ],
    ids=str,
)
def test_settings_out_of_range(make, options):
    with pytest.raises(errors.ArgumentError, match=next(iter(options))):
        make(**options)


@pytest.mark.parametrize("given", [None, 3, print], ids=str)
def test_what_is_no_optimizer(given):
    with pytest.raises(errors.ArgumentError, match="optimizer"):
        optimizers.get(given)


@pytest.mark.parametrize("g", [None, [1.0], [[1.0, 2.0]], ["a", "b"]])
def test_a_gradient_that_does_not_fit_changes_nothing(g):
    optimizer = Adam(0.1)
    fine, variable = refnet.Variable([5.0]), refnet.Variable([1.0, 2.0], name="w")
    with pytest.raises(errors.RefnetError):
        optimizer.apply_gradients([([1.0], fine), (g, variable)])
    assert optimizer.iterations == 0
    assert fine.item() == 5
    np.testing.assert_array_equal(variable.numpy(), [1.0, 2.0])


def test_variables_of_a_graph_are_updated_by_minimize():
    sgd = SGD()
    with refnet.Graph() as graph:
        w = refnet.Variable([1.0], name="w")
        (g,) = refnet.gradients((w * w).sum(), [w])
    with pytest.raises(
        errors.NotReadyError, match=r"variable 'w' .* minimize\(loss\) adds the updates"
    ):
        sgd.apply_gradients([(g, w)])
    assert sgd.iterations == 0
    assert not graph.variables[1:]
