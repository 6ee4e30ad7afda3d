"""Gradients through depth, dead neurons, and which activation to choose."""

import numpy as np
import pytest

from refnet import Sequential, activations, layers, losses, random
from refnet.diagnostics import dead_neurons, gradient_norms
from refnet.errors import ArgumentError, DataError, ShapeError, UnknownNameError
from refnet.optimizers import Adam

# -- gradients through depth ---------------------------------------------------------------------


@pytest.mark.parametrize(("name", "steepest"), [("sigmoid", 0.25), ("tanh", 1.0), ("relu", 1.0)])
def test_orthogonal_weights_keep_the_product_bound(name, steepest):
    """‖∂L/∂z_l‖ ≤ (max f')^(L - l + 1): each activation shrinks, the weights do not stretch."""
    depth = 20
    norms = gradient_norms(depth, name, initializer="orthogonal")
    assert norms.shape == (depth,)
    assert (norms > 0).all()
    assert (norms <= steepest ** np.arange(depth, 0, -1) * (1 + 1e-5)).all()


def test_linear_layers_of_orthogonal_weights_pass_everything():
    norms = gradient_norms(15, "linear", initializer="orthogonal")
    np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_one_neuron_a_layer_by_hand():
    """With one unit of weight ±1: ∂L/∂z_l = ± Π_{k ≥ l} σ'(z_k) for one example."""
    depth, seed = 6, 4
    norms = gradient_norms(depth, "sigmoid", width=1, initializer="orthogonal", seed=seed, batch=1)
    factors = norms[:-1] / norms[1:]
    assert ((factors > 0) & (factors <= 0.25)).all()
    below = gradient_norms(depth, "sigmoid", width=1, initializer="ones", seed=seed, batch=1)
    rng = np.random.default_rng(seed)
    rng.standard_normal((1, 1))
    z, slopes = rng.standard_normal((1, 1)).item(), []
    for _ in range(depth):
        a = 1 / (1 + np.exp(-z))
        slopes.append(a * (1 - a))
        z = a
    np.testing.assert_allclose(below, np.cumprod(slopes[::-1])[::-1], rtol=1e-12)


def test_a_step_lets_nothing_through():
    assert not gradient_norms(4, "binary_step").any()


def test_weights_that_suit_relu_keep_its_gradient():
    assert gradient_norms(30, "relu", initializer="he_normal")[0] > 0.1
    assert gradient_norms(30, "relu", initializer="glorot_normal")[0] < 1e-3
    assert gradient_norms(30, "tanh")[0] > 1e6 * gradient_norms(30, "sigmoid")[0]


def test_norms_depend_on_the_seed_alone():
    random.set_seed(0)
    first = gradient_norms(5, "tanh", seed=1)
    random.uniform((3,))
    assert first.tolist() == gradient_norms(5, "tanh", seed=1).tolist()
    assert first.tolist() != gradient_norms(5, "tanh", seed=2).tolist()


def test_the_seed_of_the_program_is_left_alone():
    random.set_seed(0)
    expected = random.uniform((3,)).numpy().tolist()
    random.set_seed(0)
    gradient_norms(3)
    assert random.uniform((3,)).numpy().tolist() == expected


def test_norms_of_what_is_no_network():
    with pytest.raises(ArgumentError, match="got 0, 64 and 32"):
        gradient_norms(0)
    with pytest.raises(UnknownNameError, match="did you mean 'sigmoid'"):
        gradient_norms(3, "sigmod")
    with pytest.raises(UnknownNameError, match="initializer"):
        gradient_norms(3, initializer="ortho")
    with pytest.raises(ArgumentError, match="initializer is a name"):
        gradient_norms(3, initializer=np.ones)


# -- dead neurons --------------------------------------------------------------------------------


def network(*activation_layers, bias=(0.0, -9.0, 0.0, -2.5)):
    model = Sequential([layers.Input((2,)), *activation_layers])
    model.set_weights([np.ones((2, 4)), bias, *model.get_weights()[2:]])
    return model


X = np.array([[1.0, 1.0], [0.5, 1.5], [1.0, 2.0]])  # sums 2, 2, 3


def test_units_that_are_zero_for_every_example_are_dead():
    model = network(layers.Dense(4, "relu", name="hidden"), layers.Dense(1, "sigmoid"))
    (dead,) = dead_neurons(model, X)
    assert (dead.layer, dead.units, dead.indices, len(dead)) == ("hidden", 4, (1,), 1)
    assert str(dead) == "hidden: 1 of 4 units are dead: 1"
    (dead,) = dead_neurons(model, X[:2])  # without the third example, unit 3 is never on
    assert dead.indices == (1, 3)


def test_all_ways_to_write_a_relu_count():
    models = [
        network(layers.Dense(4, "relu6")),
        network(layers.Dense(4), layers.ReLU()),
        network(layers.Dense(4), layers.Activation("relu"), layers.Dropout(0.5)),
    ]
    for model in models:
        assert [found.indices for found in dead_neurons(model, X)] == [(1,)]


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "sigmoid", "linear"])
def test_other_activations_are_not_listed(name):
    assert dead_neurons(network(layers.Dense(4, name)), X) == []
    assert dead_neurons(network(layers.Dense(4), layers.PReLU()), X) == []


def test_channels_are_the_units_of_an_image():
    model = Sequential([layers.Activation("relu", input_shape=(2, 2, 3))])
    images = -np.ones((5, 2, 2, 3))
    images[4, 1, 1, 2] = 1.0
    (dead,) = dead_neurons(model, images)
    assert dead.indices == (0, 1)


def test_dead_units_of_no_examples():
    model = network(layers.Dense(4, "relu"))
    with pytest.raises(DataError, match="of none, every unit would be dead"):
        dead_neurons(model, np.zeros((0, 2)))
    with pytest.raises(ShapeError):
        dead_neurons(model, np.zeros((3, 5)))


def test_training_does_not_reach_dead_units_and_leaky_relu_revives_them():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)).astype("float32")
    y = 1 + np.abs(x[:, :1]) * np.ones(8)  # positive, as no unit is at the start
    start = [rng.normal(size=(2, 8)), np.full(8, -6.0)]
    ends = {}
    for name in ("relu", "leaky_relu"):
        model = Sequential([layers.Dense(8, name, input_shape=(2,))])
        model.set_weights(start)
        model.compile(Adam(0.1), "mean_squared_error")
        model.fit(x, y, epochs=60, verbose=0)
        ends[name] = model.get_weights()
    for trained, first in zip(ends["relu"], start, strict=True):
        np.testing.assert_array_equal(trained, first.astype("float32"))
    relu = Sequential([layers.Dense(8, "relu", input_shape=(2,))])
    for weights, dead in ((start, 8), (ends["relu"], 8), (ends["leaky_relu"], 0)):
        relu.set_weights(weights)
        assert len(dead_neurons(relu, x)[0]) == dead


# -- which activation ----------------------------------------------------------------------------

GUIDE = {
    "regression": ("linear", "mean_squared_error", np.array([[0.5], [-2.0]])),
    "binary": ("sigmoid", "binary_crossentropy", np.array([[0.0], [1.0]])),
    "multiclass": ("softmax", "sparse_categorical_crossentropy", np.array([0, 2])),
    "multilabel": ("sigmoid", "binary_crossentropy", np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])),
}


@pytest.mark.parametrize("problem", GUIDE)
def test_the_guide_of_the_course(problem):
    choice = activations.for_output(problem)
    activation, loss, y = GUIDE[problem]
    assert (choice.activation, choice.loss) == (activation, loss)
    said = str(choice).splitlines()
    assert said[0] == choice.purpose
    assert all(any(word in line for line in said) for word in (activation, loss, "why", "units"))
    units = {"regression": 1, "binary": 1}.get(problem, 3)
    model = Sequential([layers.Dense(units, choice.activation, input_shape=(2,))])
    model.compile("sgd", choice.loss)  # what is advised goes together
    assert np.isfinite(model.fit(np.eye(2), y, verbose=0).history["loss"][0])


def test_a_problem_may_be_written_out():
    for given in ("Binary classification", "multilabel_classification", "MULTICLASS"):
        assert activations.for_output(given).purpose.startswith(given[:6].lower())


def test_hidden_layers():
    assert activations.for_hidden().activation == "relu"
    assert activations.for_hidden("CNN").activation == "relu"
    recurrent = activations.for_hidden("rnn")
    assert recurrent.activation == "tanh"
    assert "sigmoid" in recurrent.why
    assert "loss" not in str(recurrent)


def test_every_advised_name_exists():
    for choice in (*activations.OUTPUTS.values(), *activations.HIDDEN.values()):
        assert callable(activations.get(choice.activation))
        assert not choice.loss or losses.get(choice.loss).name == choice.loss


def test_an_unknown_problem_is_named():
    with pytest.raises(UnknownNameError, match="unknown problem 'regresion': did you mean 'regre"):
        activations.for_output("regresion")
    with pytest.raises(UnknownNameError, match="unknown network 'gan'"):
        activations.for_hidden("gan")
