"""Bad input: an error that says who, what came and what was expected. Nothing has changed then."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import refnet
from refnet import errors, layers, losses, optimizers
from refnet.layers import Dense, Dropout, Flatten, Input, Reshape

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 4)).astype("float32")
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
NAN, INF = X.copy(), X.copy()
NAN[5, 2], INF[3, 1] = np.nan, -np.inf


def trained(loss="sparse_categorical_crossentropy"):
    """A model with weights and optimizer memory that could be spoiled."""
    refnet.utils.set_random_seed(0)
    model = refnet.Sequential([Input((4,)), Dense(5, "relu", name="hidden"), Dense(3, "softmax")])
    model.compile("adam", loss)
    model.fit(X, LABELS if loss.startswith("sparse") else ONE_HOT, epochs=2, verbose=0)
    return model


def state(model):
    """All that training changes."""
    memory = [v.numpy().copy() for slots in model.optimizer.memory.values() for v in slots]
    return [*model.get_weights(), *memory, np.array(model.optimizer.iterations)]


def assert_nothing_changed(model, before):
    for now, then in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(now, then)


def images():
    return RNG.normal(size=(8, 2, 2))


def labels(*wrong):
    return np.array([*wrong, *LABELS[len(wrong) :]])


SPARSE = "sparse_categorical_crossentropy"
#: what is wrong -> (x, y, the error, what its message says)
DATA = {
    "width": (X[:, :3], LABELS, errors.ShapeError, ["(batch, 4)", "3"]),
    "images": (images(), LABELS, errors.ShapeError, ["(batch, 4)", "2, 2"]),
    "a single row": (X[0], LABELS[:4], errors.ShapeError, ["(batch, 4)"]),
    "label too large": (X, labels(0, 3), errors.DataError, [SPARSE, "label 3", "[1]", "0 to 2"]),
    "label negative": (X, labels(-1), errors.DataError, [SPARSE, "label -1", "[0]", "0 to 2"]),
    "float labels": (X, LABELS * 1.0, errors.DTypeError, [SPARSE, "float32", "integers"]),
    "one-hot labels": (X, ONE_HOT, errors.RefnetError, [SPARSE, "categorical_crossentropy"]),
    "one-hot integers": (
        *(X, ONE_HOT.astype(int), errors.ShapeError),
        [SPARSE, "(8, 3)", "use categorical_crossentropy"],
    ),
    "too few labels": (X, LABELS[:5], errors.DataError, ["x", "8", "y", "5"]),
    "no labels": (X, [], errors.DataError, ["8", "0"]),
    "a single label": (X, 1, errors.DataError, ["8", "y", "single"]),
    "NaN in x": (NAN, LABELS, errors.DataError, ["x holds 1", "[5, 2]", "nan"]),
    "infinity in x": (INF, LABELS, errors.DataError, ["x holds 1", "[3, 1]", "-inf"]),
    "ragged x": ([[1, 2], [3]], LABELS[:2], errors.DataError, ["x", "ragged"]),
    "ragged y": (X[:2], [[1, 2], [3]], errors.DataError, ["y", "ragged"]),
    "text in x": ([["a"] * 4] * 8, LABELS, errors.DTypeError, ["x", "numbers"]),
    "text in y": (X, ["cat"] * 8, errors.DTypeError, ["y", "numbers"]),
    "objects": ([None] * 8, LABELS, errors.DTypeError, ["x", "object"]),
    "complex": (X + 1j, LABELS, errors.DTypeError, ["x", "complex"]),
    "empty": (np.zeros((0, 4)), np.zeros(0, int), errors.DataError, ["no examples", "(0, 4)"]),
    "empty lists": ([], [], errors.DataError, ["no examples"]),
    "a number": (3.0, 1, errors.DataError, ["no examples"]),
}


@pytest.mark.parametrize("method", ["fit", "train_on_batch", "evaluate"])
@pytest.mark.parametrize("wrong", DATA)
def test_data(wrong, method):
    x, y, kind, said = DATA[wrong]
    model = trained()
    before = state(model)
    with pytest.raises(kind) as caught:
        getattr(model, method)(x, y)
    assert_nothing_changed(model, before)
    for part in said:
        assert part in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_float_targets(value):
    model, y = trained("categorical_crossentropy"), ONE_HOT.copy()
    before, y[6, 1] = state(model), value
    with pytest.raises(errors.DataError, match=r"y holds 1 values .* \[6, 1\]"):
        model.fit(X, y, verbose=0)
    assert_nothing_changed(model, before)


@pytest.mark.parametrize("wrong", ["width", "label too large", "NaN in x", "too few labels"])
def test_validation_data_are_checked_before_training(wrong):
    x, y, kind, _ = DATA[wrong]
    model = trained()
    before = state(model)
    with pytest.raises(kind):
        model.fit(X, LABELS, validation_data=(x, y), verbose=0)
    assert_nothing_changed(model, before)


@pytest.mark.parametrize("wrong", ["width", "NaN in x", "ragged x", "text in x", "empty"])
def test_predict(wrong):
    x, _, kind, said = DATA[wrong]
    with pytest.raises(kind) as caught:
        trained().predict(x)
    assert said[0] in str(caught.value)


def test_images_need_flatten():
    dense = Dense(5, name="hidden")
    dense(np.zeros((1, 64), "float32"))
    with pytest.raises(errors.ShapeError) as caught:
        dense(np.zeros((32, 8, 8), "float32"))
    expected = "Dense 'hidden' expects inputs of shape (batch, 64), got (32, 8, 8): "
    assert str(caught.value) == expected + "add Flatten() before it"


def test_images_need_flatten_in_fit():
    model = refnet.Sequential([Dense(3, "softmax", name="only")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, LABELS, verbose=0)
    with pytest.raises(errors.ShapeError, match=r"Dense 'only' .*\(batch, 4\).*add Flatten\(\)"):
        model.fit(images(), LABELS, verbose=0)


#: arguments of fit -> what the message names
ARGUMENTS = [
    ({"batch_size": 0}, "batch_size.*0"),
    ({"batch_size": -3}, "batch_size.*-3"),
    ({"batch_size": 2.5}, "batch_size.*2.5"),
    ({"batch_size": "all"}, "batch_size.*all"),
    ({"epochs": -1}, "epochs.*-1"),
    ({"epochs": 1.5}, "epochs.*1.5"),
    ({"validation_split": 1.0}, "validation_split"),
    ({"validation_split": -0.1}, "validation_split"),
    ({"validation_split": "some"}, "validation_split"),
    ({"validation_data": X}, "validation_data"),
    ({"validation_data": 3}, "validation_data"),
    ({"class_weight": {0: 1.0, 1: float("nan"), 2: 1.0}}, "class_weight"),
    ({"class_weight": [1.0, 1.0, 1.0]}, "class_weight"),
    ({"sample_weight": [1.0, 2.0]}, "sample_weight.*2"),
    ({"sample_weight": [np.nan] * 8}, "sample_weight"),
    ({"sample_weight": ["a"] * 8}, "sample_weight"),
    ({"sample_weight": np.ones((8, 3))}, "sample_weight"),
]


@pytest.mark.parametrize(
    ("options", "said"), ARGUMENTS, ids=[f"{i} {next(iter(a[0]))}" for i, a in enumerate(ARGUMENTS)]
)
def test_arguments_of_fit(options, said):
    model = trained()
    before = state(model)
    with pytest.raises(errors.RefnetError, match=said):
        model.fit(X, LABELS, **{"verbose": 0, **options})
    assert_nothing_changed(model, before)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "given", "nearest"),
    [
        (lambda name: Dense(3, name), "activation", "rleu", "relu"),
        (lambda name: Dense(3, name), "activation", "Sigmod", "sigmoid"),
        (lambda name: layers.Activation(name), "activation", "tahn", "tanh"),
        (lambda name: trained().compile(name, "mse"), "optimizer", "adma", "adam"),
        (
            lambda name: trained().compile("sgd", name),
            "loss",
            "mean_square_error",
            "mean_squared_error",
        ),
        (lambda name: trained().compile("sgd", "mse", [name]), "metric", "acuracy", "accuracy"),
        (
            lambda name: Dense(3, kernel_initializer=name).build((None, 4)),
            *("initializer", "glorot_unifrom", "glorot_uniform"),
        ),
        (
            lambda name: Dense(3, kernel_regularizer=name).build((None, 4)),
            "regularizer",
            "l1l",
            "l1l2",
        ),
        (lambda name: trained().to(name), "backend", "nunpy", "numpy"),
        (lambda name: refnet.use_backend(name), "backend", "tritn", "triton"),
    ],
)
def test_a_mistyped_name_gets_the_nearest_one(make, kind, given, nearest):
    with pytest.raises(errors.UnknownNameError) as caught:
        make(given)
    assert f"unknown {kind} {given!r}: did you mean {nearest!r}? Known: " in str(caught.value)


def test_an_unknown_name_changes_nothing():
    model = trained()
    before = state(model)
    for call in (lambda: model.compile("adma", "mse"), lambda: model.to("tritonn")):
        with pytest.raises(errors.UnknownNameError):
            call()
        assert_nothing_changed(model, before)
        assert model.backend.name == "numpy"


# -- the order of things ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_compile_comes_first(method):
    model = refnet.Sequential([Dense(3, "softmax")], name="mine")
    with pytest.raises(errors.NotReadyError, match=r"mine.*compile\(optimizer, loss\)"):
        getattr(model, method)(X, LABELS)
    assert not model.built


def test_compile_needs_a_loss():
    with pytest.raises(errors.ArgumentError, match="loss"):
        trained().compile("adam")


@pytest.mark.parametrize("optimizer", [None, 3, print])
def test_compile_needs_an_optimizer(optimizer):
    with pytest.raises(errors.ArgumentError, match="optimizer"):
        trained().compile(optimizer, "mse")


def test_a_loss_has_to_be_one_number():
    model = trained()
    with pytest.raises(errors.RefnetError, match="reduction"):
        model.compile("sgd", losses.SparseCategoricalCrossentropy(reduction="none"))
        model.fit(X, LABELS, verbose=0)


def test_a_model_needs_layers():
    empty = refnet.Sequential(name="mine")
    empty.compile("sgd", "mse")
    for call in (lambda: empty.fit(X, X), lambda: empty.predict(X), empty.pop):
        with pytest.raises(errors.RefnetError, match="mine has no layers"):
            call()


@pytest.mark.parametrize("what", [Dense, "dense", None, np.tanh])
def test_add_takes_layers(what):
    with pytest.raises(errors.ArgumentError, match="layer"):
        refnet.Sequential([what])


def test_a_layer_is_added_once():
    model = trained()
    with pytest.raises(errors.ArgumentError, match="hidden"):
        model.add(model.layers[1])


def test_data_that_did_not_fit_leave_an_unbuilt_model_unbuilt():
    model = refnet.Sequential([Reshape((2, 2)), Flatten(), Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(errors.ShapeError):
        model.fit(X[:, :3], LABELS, verbose=0)
    model.fit(X, LABELS, verbose=0)
    model.summary(lambda line: None)


def test_a_label_that_did_not_fit_leaves_an_unbuilt_model_unbuilt():
    model = refnet.Sequential([Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(errors.DataError):
        model.fit(X[:, :3], LABELS + 1, verbose=0)
    model.fit(X, LABELS, verbose=0)


# -- layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan"), "half", None])
def test_dropout_rate(rate):
    with pytest.raises(errors.ArgumentError, match=r"Dropout 'drop'.*rate"):
        Dropout(rate, name="drop")


@pytest.mark.parametrize("units", [0, -3, 2.5, "ten", None])
def test_dense_units(units):
    with pytest.raises(errors.ArgumentError, match=r"Dense 'hidden'.*units"):
        Dense(units, name="hidden")


@pytest.mark.parametrize(
    "target", [(7,), (-1, -1), (-1, 5), (0, -1), (-2, -2), (2.0, 2), ("a",), 3]
)
def test_reshape_target(target):
    with pytest.raises(errors.RefnetError, match="Reshape 'folded'"):
        refnet.Sequential([Input((4,)), Reshape(target, name="folded")])


@pytest.mark.parametrize("shape", [(-1,), (2.5,), ("a",), "ab"])
def test_input_shape(shape):
    with pytest.raises(errors.RefnetError, match="Input 'pixels'"):
        refnet.Sequential([Input(shape, name="pixels"), Dense(3)])


def test_prelu_shared_axes():
    with pytest.raises(errors.RefnetError, match="PReLU 'bend'"):
        layers.PReLU(shared_axes=[5], name="bend").build((None, 4))


@pytest.mark.parametrize(
    "weights",
    [
        [np.ones((4, 5))],
        [np.ones((5, 4)), np.ones(5), np.ones((5, 3)), np.ones(3)],
        [np.ones((4, 5)), np.ones(5), np.ones((5, 3)), np.ones(1)],
        [np.ones((4, 5)), np.ones(5), np.ones((5, 3)), ["a", "b", "c"]],
        "text",
    ],
    ids=["too few", "first", "last", "letters", "text"],
)
def test_set_weights(weights):
    model = trained()
    before = state(model)
    with pytest.raises(errors.RefnetError):
        model.set_weights(weights)
    assert_nothing_changed(model, before)


def test_set_weights_names_the_weight_and_both_shapes():
    model = trained()
    wrong = model.get_weights()
    wrong[0] = wrong[0].T
    with pytest.raises(
        errors.ShapeError, match=r"'hidden/kernel' has shape \(4, 5\), got \(5, 4\)"
    ):
        model.set_weights(wrong)


# -- backends --------------------------------------------------------------------------------------


def test_arrays_of_two_backends_do_not_mix():
    here, there = refnet.tensor([1.0]), refnet.tensor([1.0], backend="loopback")
    with pytest.raises(errors.BackendError, match=r"add.*numpy.*loopback"):
        here + there
    with pytest.raises(errors.BackendError, match=r"loopback.*numpy"):
        here + there.value


def test_a_tensor_of_another_backend_does_not_enter_a_layer():
    model = trained()
    before = state(model)
    with pytest.raises(errors.BackendError, match=r"numpy.*loopback|loopback.*numpy"):
        model(refnet.tensor(X, backend="loopback"))
    assert_nothing_changed(model, before)


def test_an_array_of_numpy_follows_a_layer_to_its_backend():
    model = trained()
    expected = model.layers[1](X).numpy()
    moved = model.to("loopback").layers[1](X)
    assert moved.backend.name == "loopback"
    np.testing.assert_array_equal(moved.numpy(), expected)


def test_a_gradient_of_another_backend_does_not_enter_an_optimizer():
    w = refnet.Variable([1.0])
    optimizer = optimizers.SGD(0.1)
    with pytest.raises(errors.BackendError, match="loopback"):
        optimizer.apply_gradients([(refnet.tensor([1.0], backend="loopback"), w)])
    assert w.item() == 1
    assert optimizer.iterations == 0


NO_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "triton"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import numpy as np
import refnet
from refnet import backend, errors
if "triton" not in backend.names():  # run from a checkout that is not installed
    backend.register("triton", "refnet_triton.backend:TritonBackend")
model = refnet.Sequential([refnet.layers.Dense(1, input_shape=(2,))])
before = model.get_weights()
for call in (lambda: model.to("triton"), lambda: refnet.use_backend("triton")):
    try:
        call()
    except errors.BackendError as error:
        print(error)
    assert model.backend.name == backend.current().name == "numpy"
    assert all((a == b).all() for a, b in zip(model.get_weights(), before))
assert model.predict(np.ones((1, 2))).shape == (1, 1)
"""


def test_triton_without_torch_says_what_to_install():
    run = subprocess.run([sys.executable, "-c", NO_TORCH], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "'triton' cannot run here: No module named 'torch'" in line
        assert "pip install 'refnet[triton]'" in line


def test_every_error_is_also_a_builtin_one():
    """So that `except ValueError` in an existing program keeps working."""
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)]
    for kind in kinds:
        assert issubclass(kind, errors.RefnetError)
        if kind is not errors.RefnetError:
            assert issubclass(
                kind, (ValueError, TypeError, RuntimeError, ImportError, AttributeError)
            )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Dense(3, "prelu"), r"layer PReLU\(\)"),
        (lambda: losses.BinaryCrossentropy(from_logit=True), "did you mean 'from_logits'"),
        (lambda: losses.MeanSquaredError(from_logits=True), "from_logits"),
        (lambda: Dense(3, kernel_initializer="he"), "unknown initializer 'he'"),
        (lambda: Dense(3, kernel_regularizer="l3"), "unknown regularizer 'l3'"),
        (lambda: Dense(True), "units"),
        (lambda: Dense(3, input_shape=8), r"\(8,\)"),
        (lambda: trained().compile("sgd", "mse", "accuracy"), r"\['accuracy'\]"),
        (lambda: refnet.Sequential(Dense(3)), "layers is a list"),
        (lambda: trained().fit(X, None), "targets"),
        (lambda: trained().get_layer("hiden"), "did you mean 'hidden'"),
        (lambda: trained().predict(X[0]), r"x\[None\]"),
    ],
)
def test_the_message_says_what_to_write(call, said):
    with pytest.raises(errors.RefnetError, match=said):
        call()
