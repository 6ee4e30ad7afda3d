"""Objects as data: every public object comes back from what it wrote, and what is refused."""

import inspect
import json

import numpy as np
import pytest

import refnet
from refnet import callbacks, initializers, layers, losses, metrics, optimizers, regularizers
from refnet.base.objects import Configured
from refnet.errors import ArgumentError, RefnetError
from tests.arguments import OTHER, required

#: objects that have nothing of their own, or hold what is no data
LEFT_OUT = {
    "Layer": "computes nothing",
    "Initializer": "draws nothing",
    "VarianceScaling": "is the parent of others",
    "Optimizer": "has no rule",
    "Loss": "has no function",
    "Metric": "has no sums",
    "MeanMetric": "has no function",
    "Callback": "does nothing",
    "LambdaCallback": "holds functions",
    "EpochLines": "holds a stream",
    "ProgressBar": "holds a stream",
    "TensorBoard": "holds data to draw",
}
KINDS = {
    kind.__name__: kind
    for module in (layers, initializers, regularizers, losses, metrics, optimizers, callbacks)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Configured) and kind is not Configured
} | {"Perceptron": refnet.Perceptron}
TRIED = sorted(set(KINDS) - set(LEFT_OUT))


def made(kind, *, other):
    """An object with the defaults, or with other values wherever there are some."""
    given = required(kind)
    if other:
        given |= {name: OTHER[name] for name in kind._arguments() if name in OTHER}
    return kind(**given)


@pytest.mark.parametrize("other", [False, True], ids=["defaults", "others"])
@pytest.mark.parametrize("name", TRIED)
def test_an_object_comes_back(name, other):
    thing = made(KINDS[name], other=other)
    config = thing.get_config()
    through_json = json.loads(json.dumps(config))
    assert through_json == config
    again = type(thing).from_config(through_json)
    assert type(again) is type(thing)
    assert again is not thing
    assert again.get_config() == config
    for argument, value in OTHER.items() if other else ():
        if argument in config and isinstance(value, (bool, int, float, str)):
            assert config[argument] == value


def test_nothing_is_left_out_that_is_not_there():
    assert set(LEFT_OUT) <= set(KINDS)
    assert len(TRIED) > 35


def test_the_numbers_of_a_dense_layer():
    layer = layers.Dense(3, "relu", kernel_regularizer="l2", name="hidden")
    assert layer.get_config() == {
        "units": 3,
        "activation": "relu",
        "use_bias": True,
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": {"class_name": "L2", "config": {"l2": 0.01}},
        "bias_regularizer": None,
        "name": "hidden",
        "trainable": True,
        "input_shape": None,
    }


def test_what_was_set_later_is_written():
    layer, rule = layers.Dropout(0.5), optimizers.Adam()
    layer.rate, layer.trainable, rule.beta_2, rule.learning_rate = 0.25, False, 0.5, 0.125
    assert layer.get_config()["rate"] == 0.25
    assert layer.get_config()["trainable"] is False
    found = optimizers.Adam.from_config(rule.get_config())
    assert (found.beta_2, found.learning_rate) == (0.5, 0.125)


def network():
    inner = refnet.Sequential([layers.Dense(4, "tanh"), layers.Dropout(0.25, seed=1)], "inner")
    return refnet.Sequential(
        [layers.Input((2, 3)), layers.Flatten(), inner, layers.LeakyReLU(0.2), layers.Dense(2)]
    )


def test_a_model_within_a_model():
    model = network()
    config = json.loads(json.dumps(model.get_config()))
    again = refnet.Sequential.from_config(config)
    assert again.get_config() == model.get_config() == config
    again.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    np.testing.assert_array_equal(model.predict(x), again.predict(x))
    assert not {id(v) for v in again.variables} & {id(v) for v in model.variables}


class Scale(layers.Layer):
    def __init__(self, factor, **common):
        super().__init__(**common)
        self.factor = factor

    def call(self, x):
        return x * self.factor


def test_a_layer_of_ones_own():
    model = refnet.Sequential([Scale(2.5, input_shape=(3,)), refnet.Sequential([Scale(2.0)])])
    config = model.get_config()
    again = refnet.Sequential.from_config(config, custom_objects={"Scale": Scale})
    np.testing.assert_array_equal(again.predict([[1.0, 2.0, 3.0]]), [[5.0, 10.0, 15.0]])
    with pytest.raises(RefnetError, match="Scale"):
        refnet.Sequential.from_config(config)


def test_names_and_objects_as_data_are_taken_where_names_are():
    described = {"class_name": "L2", "config": {"l2": 0.5}}
    assert regularizers.get(described).l2 == 0.5
    assert losses.get({"class_name": "MeanSquaredError", "config": {}}).name == "mean_squared_error"
    assert optimizers.get({"class_name": "SGD", "config": {"momentum": 0.5}}).momentum == 0.5
    with pytest.raises(RefnetError, match="L3"):
        regularizers.get({"class_name": "L3", "config": {}})


class Forgetful(layers.Layer):
    def __init__(self, factor, **common):
        super().__init__(**common)


def test_what_cannot_be_written_is_said():
    with pytest.raises(ArgumentError, match=r"Dense.*activation is .*lambda"):
        layers.Dense(2, lambda x: x).get_config()
    with pytest.raises(ArgumentError, match=r"Forgetful.*factor .*self.factor"):
        Forgetful(1).get_config()
    with pytest.raises(ArgumentError, match=r"Dense.from_config: 'unit' is no argument.*units"):
        layers.Dense.from_config({"unit": 3})
    with pytest.raises(ArgumentError, match="takes a dict, got 3"):
        layers.Dense.from_config(3)


def test_every_argument_is_an_attribute():
    for name in TRIED:
        signature = inspect.signature(KINDS[name])
        known = KINDS[name]._arguments()
        assert {p for p in signature.parameters if p not in ("common", "options")} <= set(known), (
            name
        )


@pytest.mark.parametrize("kind", TRIED)
def test_a_name_that_no_argument_has_is_refused_and_the_right_one_suggested(kind):
    with pytest.raises(RefnetError, match=f"{kind}.*'trainabel'"):
        KINDS[kind](trainabel=True)
    names = [name for name in KINDS[kind]._arguments() if len(name) > 5]
    for name in names[:1]:
        with pytest.raises(RefnetError, match=f"did you mean '{name}'"):
            KINDS[kind](**{name + "s": 1})


def test_a_layer_of_ones_own_may_take_what_it_likes():
    class Scaled(layers.Layer):
        def __init__(self, **options):
            self.factor = options.pop("factor", 2.0)
            super().__init__(**options)

        def call(self, x):
            return x * self.factor

    assert Scaled(factor=3.0, name="tripled")([1.0]).numpy() == 3.0
    with pytest.raises(TypeError, match="fctor"):
        Scaled(fctor=3.0)
