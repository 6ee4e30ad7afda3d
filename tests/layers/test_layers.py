"""Layers: shapes, weights, names and defaults as in Keras, and what each of them computes."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet import activations, errors, layers

RNG = np.random.default_rng(0)


def values(*shape):
    return RNG.normal(0, 1, shape).astype("float32")


@pytest.mark.parametrize(
    ("make", "given", "expected"),
    [
        (lambda: layers.Dense(3), (5, 4), (5, 3)),
        (lambda: layers.Dense(3, use_bias=False), (5, 4), (5, 3)),
        (lambda: layers.Dense(3, activation="gelu"), (5, 7, 4), (5, 7, 3)),
        (lambda: layers.Activation("tanh"), (5, 4), (5, 4)),
        (lambda: layers.LeakyReLU(), (5, 4), (5, 4)),
        (lambda: layers.PReLU(), (5, 3, 4), (5, 3, 4)),
        (lambda: layers.ELU(), (5, 4), (5, 4)),
        (lambda: layers.Softmax(), (5, 4), (5, 4)),
        (lambda: layers.Dropout(0.5), (5, 4), (5, 4)),
        (lambda: layers.GaussianNoise(0.5), (5, 4), (5, 4)),
        (lambda: layers.Flatten(), (5, 8, 8), (5, 64)),
        (lambda: layers.Flatten(), (5, 4), (5, 4)),
        (lambda: layers.Flatten(), (5,), (5, 1)),
        (lambda: layers.Reshape((2, 6)), (5, 12), (5, 2, 6)),
        (lambda: layers.Reshape((-1, 3)), (5, 2, 6), (5, 4, 3)),
        (lambda: layers.Input((4, 3)), (5, 4, 3), (5, 4, 3)),
    ],
)
def test_output_shape(make, given, expected):
    layer = make()
    assert layer(values(*given), training=True).shape == expected
    assert layer.compute_output_shape((None, *given[1:])) == (None, *expected[1:])


@pytest.mark.parametrize("activation", sorted(set(activations.ACTIVATIONS) - {"prelu"}))
def test_dense_is_f_of_xw_plus_b(activation):
    layer, x = layers.Dense(3, activation, bias_initializer="random_normal"), values(5, 4)
    y = layer(x)
    kernel, bias = layer.get_weights()
    expected = activations.get(activation)(x @ kernel + bias)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_dense_weights_are_those_of_keras():
    layer = layers.Dense(3, name="hidden")
    layer.build((None, 4))
    assert [w.name for w in layer.weights] == ["hidden/kernel", "hidden/bias"]
    assert [w.shape for w in layer.weights] == [(4, 3), (3,)]
    assert layer.count_params() == 15
    assert np.abs(layer.kernel.numpy()).max() <= np.sqrt(6 / (4 + 3))  # glorot_uniform
    assert layer.kernel.numpy().any()
    assert not layer.bias.numpy().any()


def test_a_layer_built_by_hand_is_not_built_again():
    layer = layers.Dense(3)
    layer.build((None, 4))
    kernel = layer.get_weights()[0]
    layer(values(2, 4))
    assert layer.built
    assert len(layer.weights) == 2
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)


def test_dense_without_bias_has_one_weight():
    layer = layers.Dense(3, use_bias=False)
    x = values(2, 4)
    np.testing.assert_array_equal(layer(x).numpy(), x @ layer.get_weights()[0])
    assert len(layer.weights) == 1


def test_a_layer_takes_lists():
    layer = layers.Dense(2, kernel_initializer="ones")
    np.testing.assert_array_equal(layer([[1, 2], [3, 4]]).numpy(), [[3, 3], [7, 7]])


def test_a_layer_computes_in_its_own_type():
    """As in Keras: float64 data do not turn a float32 network into a slower one."""
    assert layers.Dense(2)(np.ones((3, 4), "float64")).dtype == "float32"


def test_names_are_made_up_from_the_class_and_unique():
    first, second = layers.LeakyReLU(), layers.LeakyReLU()
    assert first.name.startswith("leaky_re_lu")
    assert first.name != second.name
    assert layers.Dense(1, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Activation("relu"), [0, 0, 3]),
        (layers.Activation(activations.softsign), [-2 / 3, 0, 3 / 4]),
        (layers.LeakyReLU(), [-0.2, 0, 3]),  # the course's slope, 0.1
        (layers.LeakyReLU(0.3), [-0.6, 0, 3]),
        (layers.ELU(), [np.expm1(-2), 0, 3]),
        (layers.ELU(alpha=0.5), [0.5 * np.expm1(-2), 0, 3]),
        (layers.Softmax(), np.exp([-2, 0, 3]) / np.exp([-2, 0, 3]).sum()),
        (layers.PReLU(), [0, 0, 3]),  # slopes start at 0
        (layers.PReLU("ones"), [-2, 0, 3]),
    ],
)
def test_activation_layers(layer, expected):
    np.testing.assert_allclose(layer([[-2, 0, 3]]).numpy(), [expected], rtol=1e-6)


def test_softmax_along_another_axis():
    y = layers.Softmax(axis=1)(values(2, 3, 4)).numpy()
    np.testing.assert_allclose(y.sum(1), np.ones((2, 4)), rtol=1e-6)


def test_prelu_has_a_slope_for_each_element_unless_shared():
    own, shared = layers.PReLU(), layers.PReLU(shared_axes=[1, 2])
    own(values(2, 3, 4, 5)), shared(values(2, 3, 4, 5))
    assert own.alpha.shape == (3, 4, 5)
    assert shared.alpha.shape == (1, 1, 5)


def test_frozen_weights_are_not_trainable():
    layer = layers.Dense(3, trainable=False)
    layer.build((None, 4))
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == 2
    layer.trainable = True
    assert len(layer.trainable_weights) == 2


def test_regularizers_charge_for_weights():
    layer = layers.Dense(
        2, kernel_initializer="ones", kernel_regularizer="l2", bias_regularizer="l1"
    )
    layer.build((None, 3))
    layer.bias.assign([2, -3])
    assert [round(float(loss), 6) for loss in layer.losses] == [0.06, 0.05]


# -- Gaussian noise --------------------------------------------------------------------------------


def test_noise_has_the_deviation_asked_for_and_only_while_training():
    x = np.linspace(-1, 1, 200_000, dtype="float32").reshape(1000, 200)
    layer = layers.GaussianNoise(0.3, seed=1)
    np.testing.assert_array_equal(layer(x).numpy(), x)
    noise = layer(x, training=True).numpy() - x
    assert noise.mean() == pytest.approx(0, abs=5 * 0.3 / np.sqrt(noise.size))
    assert noise.std() == pytest.approx(0.3, rel=0.01)
    assert np.abs(np.corrcoef(noise.reshape(-1), x.reshape(-1))[0, 1]) < 0.02


def test_noise_is_another_at_each_step_and_the_same_for_a_seed():
    one, same, other = (layers.GaussianNoise(1.0, seed=seed) for seed in (1, 1, 2))
    x = np.zeros((10, 10), "float32")
    first = one(x, training=True).numpy()
    np.testing.assert_array_equal(first, same(x, training=True).numpy())
    assert (first != one(x, training=True).numpy()).any()
    assert (first != other(x, training=True).numpy()).any()
    assert not layers.GaussianNoise(0.0)(x, training=True).numpy().any()
    with pytest.raises(errors.ArgumentError, match="stddev is a number of at least 0"):
        layers.GaussianNoise(-1.0)


def test_noise_lets_gradients_pass():
    x = refnet.tensor(np.ones((3, 4)))
    (g,) = refnet.gradients((layers.GaussianNoise(2.0)(x, training=True) * 3.0).sum(), [x])
    np.testing.assert_array_equal(g.numpy(), 3.0)


# -- dropout ---------------------------------------------------------------------------------------


def test_dropout_does_nothing_at_inference():
    x = values(5, 4)
    np.testing.assert_array_equal(layers.Dropout(0.9)(x).numpy(), x)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.8])
def test_dropout_drops_its_share_and_keeps_the_sum(rate):
    y = layers.Dropout(rate, seed=1)(np.ones((100, 1000), "float32"), training=True).numpy()
    assert np.mean(y == 0) == pytest.approx(rate, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_draws_another_mask_at_each_call():
    layer, x = layers.Dropout(0.5, seed=1), np.ones((10, 100), "float32")
    masks = [layer(x, training=True).numpy() != 0 for _ in range(4)]
    for i in range(4):
        for j in range(i):
            assert np.mean(masks[i] == masks[j]) == pytest.approx(0.5, abs=0.1)


def test_dropout_repeats_itself_for_a_seed():
    x = np.ones((10, 100), "float32")
    one, same, other = (layers.Dropout(0.5, seed=seed) for seed in (1, 1, 2))
    for _ in range(3):
        first = one(x, training=True).numpy()
        np.testing.assert_array_equal(same(x, training=True).numpy(), first)
        assert (other(x, training=True).numpy() != first).any()


def test_dropouts_of_one_model_differ():
    refnet.utils.set_random_seed(0)
    x, first, second = np.ones((10, 100), "float32"), layers.Dropout(0.5), layers.Dropout(0.5)
    assert (first(x, training=True).numpy() != second(x, training=True).numpy()).any()


def test_dropout_passes_gradients_where_it_passed_values():
    x = refnet.tensor(values(10, 100))
    y = layers.Dropout(0.5, seed=3)(x, training=True)
    (dx,) = refnet.gradients(y, [x])
    np.testing.assert_array_equal(
        dx.numpy(), np.where(y.numpy() != 0, np.float32(2), np.float32(0))
    )


def test_dropout_has_no_parameters():
    """The state of its random numbers is no weight, as in Keras."""
    layer = layers.Dropout(0.5)
    layer(values(2, 3), training=True)
    assert layer.get_weights() == []
    assert layer.count_params() == 0


# -- get_weights and set_weights -------------------------------------------------------------------


def test_weights_go_out_and_in():
    one, other, x = layers.Dense(3), layers.Dense(3), values(5, 4)
    y = one(x)
    assert (other(x).numpy() != y.numpy()).any()
    other.set_weights(one.get_weights())
    np.testing.assert_array_equal(other(x).numpy(), y.numpy())


def test_get_weights_gives_copies():
    layer = layers.Dense(3)
    layer.build((None, 4))
    layer.get_weights()[0][:] = 7
    assert not (layer.kernel.numpy() == 7).any()


@pytest.mark.parametrize(
    "second",
    [np.ones(4), [["a"] * 3], ["a", "b", "c"], [[1], [1, 2], [3]], None],
    ids=["shape", "rank", "text", "ragged", "missing"],
)
def test_set_weights_takes_all_or_none(second):
    layer = layers.Dense(3)
    layer.build((None, 4))
    before = layer.get_weights()
    given = [np.full((4, 3), 9.0), *([] if second is None else [second])]
    with pytest.raises(errors.RefnetError, match=layer.name):
        layer.set_weights(given)
    for now, then in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
