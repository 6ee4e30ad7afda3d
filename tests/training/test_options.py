"""What an object was made with is an attribute. Set later, it counts, or it is refused; never neither."""

import inspect

import numpy as np
import pytest

import refnet
from refnet import layers, losses, metrics, regularizers
from refnet.base.names import WithOptions, options_of
from refnet.errors import ArgumentError, RefnetError
from tests.arguments import other, required

RNG = np.random.default_rng(3)
X = RNG.normal(0, 1, (8, 3)).astype("float32")
COMMON = {"name", "trainable", "input_shape", "common", "shape"}
KINDS = [
    kind
    for kind in vars(layers).values()
    if isinstance(kind, type) and kind not in (layers.Layer, layers.Input)
]
GIVEN = [
    (kind, name)
    for kind in KINDS
    for name in inspect.signature(kind).parameters
    if name not in COMMON
]


def _seen(layer):
    """Whatever can be told apart from outside: outputs in training, and penalties."""
    for state in layer.state:
        state.assign(np.ones_like(state.numpy()))
    penalty = sum(float(loss) for loss in layer.losses)
    return layer(X, training=True).numpy(), penalty


@pytest.mark.parametrize(("kind", "name"), GIVEN, ids=lambda x: getattr(x, "__name__", x))
def test_an_option_of_a_layer_that_is_built(kind, name):
    layer = kind(**required(kind))
    layer.ensure_built((None, 3))
    for weight in layer.weights:
        weight.assign(np.full(weight.shape, 0.3, "float32"))
    before, value = _seen(layer), getattr(layer, name)
    try:
        setattr(layer, name, other(kind, name))
    except ArgumentError as error:
        assert name in str(error)
        assert layer.name in str(error)
        assert getattr(layer, name) is value
    else:
        after = _seen(layer)
        assert before[0].shape != after[0].shape or not np.allclose(before[0], after[0])


@pytest.mark.parametrize(("kind", "name"), GIVEN, ids=lambda x: getattr(x, "__name__", x))
def test_an_option_of_a_layer_that_is_not_built(kind, name):
    """It is as if the layer had been made with it."""
    layer = kind(**required(kind))
    setattr(layer, name, other(kind, name))
    changed = kind(**{**required(kind), name: other(kind, name)})
    for x in (layer, changed):
        refnet.utils.set_random_seed(2)
        x.ensure_built((None, 3))
    for mine, theirs in zip(layer.get_weights(), changed.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(_seen(layer), _seen(changed), strict=True):
        np.testing.assert_array_equal(mine, theirs)


MEASURES = [
    (kind, name)
    for kind in dict.fromkeys((*losses.LOSSES.values(), *metrics.METRICS.values()))
    if issubclass(kind, WithOptions)
    for name in options_of(kind)
]
#: of metrics that are no mean of a function, all that they are made with
COUNTED = [
    (kind, name)
    for kind in dict.fromkeys(metrics.METRICS.values())
    if not issubclass(kind, WithOptions)
    for name in kind._arguments()
    if name != "name"
]


@pytest.mark.parametrize(("kind", "name"), MEASURES, ids=lambda x: getattr(x, "__name__", x))
def test_an_option_of_a_loss_or_a_metric(kind, name):
    y = np.array([0, 1, 1]) if "Sparse" in kind.__name__ else np.eye(3, dtype="float32")[:, :2]
    p = np.array([[0.7, 0.3], [0.6, 0.4], [0.4, 0.6]], "float32")
    late, early, plain = kind(), kind(**{name: other(kind, name)}), kind()
    setattr(late, name, other(kind, name))
    assert late.options == early.options != plain.options
    with pytest.raises(TypeError, match="assignment"):
        late.options[name] = 0
    assert float(late(y, p)) == float(early(y, p)) != float(plain(y, p))


@pytest.mark.parametrize(("kind", "name"), COUNTED, ids=lambda x: getattr(x, "__name__", x))
def test_a_setting_of_a_metric_of_sums(kind, name):
    """Set later or given at once, also between the steps of a model."""
    x = np.array([[0.45, -0.1], [0.6, 2.5], [-0.4, 0.7], [0.55, 0.3], [1.2, 0.2]], "float32")
    y = np.array([[1, 0], [0, 1], [0, 1], [1, 0], [0, 1]], "float32")
    late, early, plain = kind(), kind(**{name: other(kind, name)}), kind()
    setattr(late, name, other(kind, name))
    assert late(y, x) == early(y, x) != plain(y, x)
    model = refnet.Sequential([layers.Flatten(input_shape=(2,))])
    model.compile("sgd", "mean_squared_error", [kind()])
    assert model.evaluate(x, y, verbose=0)[1] == plain.result()
    setattr(model.metrics[0], name, other(kind, name))
    assert model.evaluate(x, y, verbose=0)[1] == early.result()


def test_options_that_change_between_steps():
    """The steps of a model that were recorded before are recorded anew."""
    y = RNG.random((8, 1)).round().astype("float32")
    model = refnet.Sequential([layers.Dense(1, activation="sigmoid", input_shape=(3,))])
    model.compile("sgd", "binary_crossentropy", [metrics.BinaryAccuracy()])
    p = model.predict(X, verbose=0)
    for smoothing, threshold in ((0.0, 0.5), (0.4, 0.9), (0.0, 0.1)):
        model.loss.label_smoothing, model.metrics[0].threshold = smoothing, threshold
        loss, accuracy = model.evaluate(X, y, verbose=0)
        expected = losses.BinaryCrossentropy(label_smoothing=smoothing)(y, p)
        np.testing.assert_allclose(loss, float(expected), rtol=1e-6)
        assert accuracy == pytest.approx(np.mean((p > threshold) == y))


def test_an_option_without_a_default_has_to_be_given():
    def tilted(y_true, y_pred, slope):
        return refnet.ops.mean((y_pred - y_true) * slope, axis=-1)

    kind = type(losses.get(tilted))
    assert float(kind(slope=2.0)([[1.0]], [[4.0]])) == 6
    assert kind().options == {}
    with pytest.raises(TypeError, match="slope"):
        kind()([[1.0]], [[4.0]])


def test_what_a_layer_is_given_by_name_may_be_changed_by_name():
    layer = layers.Dense(1, kernel_regularizer="l1")
    layer.kernel_regularizer = None
    assert layer.kernel_regularizer is None
    layer.kernel_regularizer = "l2"
    assert isinstance(layer.kernel_regularizer, type(regularizers.get("l2")))
    with pytest.raises(RefnetError, match="unknown"):
        layer.activation = "rulu"
    assert layer.activation is refnet.activations.get(None)
