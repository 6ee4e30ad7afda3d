"""What no test noticed when `make mutants` put the fault in, above the ops."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import refnet
from refnet import losses, metrics, ops
from refnet.autograd.backpropagation import gradients
from refnet.autograd.tensor import apply
from refnet.errors import (
    ArgumentError,
    DTypeError,
    GradientError,
    NotReadyError,
    ShapeError,
)
from refnet.layers import Dense, Dropout, Flatten, Input, Layer, PReLU, Reshape, Softmax
from refnet.losses import pairing
from refnet.op import TABLE
from refnet.training.step import weight_gradients

RNG = np.random.default_rng(7)
X, Y = RNG.normal(0, 1, (6, 3)), RNG.normal(0, 1, (6, 1))


def compiled(*layers, optimizer="sgd", loss="mse", found=None):
    model = refnet.Sequential(layers)
    model.compile(optimizer, loss, found)
    return model


# -- gradients -------------------------------------------------------------------------------------


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


# -- layers ----------------------------------------------------------------------------------------


def test_softmax_is_along_the_last_axis():
    found = Softmax()(RNG.normal(0, 1, (2, 3, 4)))
    np.testing.assert_allclose(found.numpy().sum(-1), np.ones((2, 3)), rtol=1e-6)


def test_call_does_not_train_unless_it_is_told():
    layer, x = Dropout(0.9), refnet.tensor(np.ones((4, 4)))
    layer.ensure_built(x.shape)
    assert layer.call(x) is x


@pytest.mark.parametrize("axis", [0, -1, 2])
def test_a_slope_is_shared_along_axes_of_an_example(axis):
    with pytest.raises(ShapeError, match=f"with an axis {axis}"):
        PReLU(shared_axes=(axis,))(X)


def test_an_input_takes_a_length_and_holds_to_it():
    assert Input(4).input_shape == Input([4]).input_shape == (None, 4)
    layer = Input((None, 3))
    for length in (2, 5):  # the first batch does not say what the open length is
        assert layer(np.zeros((1, length, 3))).shape == (1, length, 3)
    with pytest.raises(ShapeError, match="input"):
        Input(4)(np.zeros((2, 5)))


def test_the_shape_of_an_example_is_a_tuple():
    with pytest.raises(ArgumentError, match=r"input_shape is a tuple, \(4,\) for one axis"):
        Dense(3, input_shape=4)


def test_whole_weights_are_not_set_to_fractions():
    class Count(Layer):
        def make_weights(self, input_shape):
            self.count = self.add_weight((2,), "zeros", "int32", trainable=False, name="count")

        def call(self, x):
            return x

    layer = Count()
    layer.ensure_built((2, 3))
    layer.set_weights([[1, 2]])
    with pytest.raises(DTypeError, match=r"count.*holds int32, got float"):
        layer.set_weights([[0.5, 1.5]])
    np.testing.assert_array_equal(layer.count.numpy(), [1, 2])


# -- losses, metrics, and how they meet ------------------------------------------------------------


@pytest.mark.parametrize("kind", [losses.MeanSquaredError, losses.BinaryCrossentropy])
def test_reductions_have_names(kind):
    with pytest.raises(ArgumentError, match="reduction"):
        kind(reduction="mean")


def test_one_number_for_a_batch_weighs_as_many_as_it_stands_for():
    """A function that gives the largest error of a batch: 2 of one example, 4 of three."""
    metric = metrics.get(lambda y, p: ops.max(ops.abs(ops.subtract(y, p))))
    metric.update_state([[0.0]], [[2.0]])
    metric.update_state(np.zeros((3, 1)), [[1.0], [4.0], [0.0]])
    assert metric.result() == (1 * 2 + 3 * 4) / 4


@pytest.mark.parametrize(
    ("y", "p", "expected"),
    [
        ((5, 1), (5,), metrics.binary_accuracy),
        ((5, 3, 1), (5, 3), metrics.binary_accuracy),
        ((5,), (5, 1), metrics.binary_accuracy),
        ((5,), (5, 4), metrics.sparse_categorical_accuracy),
        ((5, 1), (5, 4), metrics.sparse_categorical_accuracy),
        ((5, 4), (5, 4), metrics.categorical_accuracy),
        ((5, 3, 4), (5, 3, 4), metrics.categorical_accuracy),
        ((5, 3), (5, 3, 4), metrics.sparse_categorical_accuracy),
    ],
)
def test_which_accuracy_is_meant(y, p, expected):
    assert metrics.accuracy_function(np.zeros(y), np.zeros(p)) is expected


def test_a_number_is_a_target_of_one_output():
    assert float(losses.mean_squared_error(1.0, [0.5])) == 0.25
    assert float(losses.mean_squared_error([1.0], 0.5)) == 0.25


def test_what_is_said_of_weights_that_fit_nothing():
    def said(losses_shape, weights):
        with pytest.raises(ShapeError) as raised:
            pairing.require_weights(losses_shape, weights)
        return str(raised.value)

    assert said((4,), (3,)) == (
        "sample_weight is a number, or one for each example, (4,), got (3,)"
    )
    assert said((4, 2), (3,)) == (
        "sample_weight is a number, or one for each example, (4,), or has the shape of the losses, "
        "(4, 2), got (3,)"
    )
    assert said((), (3,)) == (
        "sample_weight is a number, got (3,): y[:, None] and p[:, None] make an example of each number"
    )


@pytest.mark.parametrize(
    ("function", "y", "p", "said"),
    [
        (losses.mean_squared_error, np.zeros(3), np.float64(1), "an axis of outputs"),
        (losses.sparse_categorical_crossentropy, np.zeros((3, 2), int), np.full((3, 4), 0.25),
         r"expects class numbers of shape \(3,\)"),
        (losses.sparse_categorical_crossentropy, np.zeros((3, 4), int), np.full((3, 4), 0.25),
         "for one-hot rows use categorical_crossentropy"),
        (losses.categorical_crossentropy, np.zeros((3, 2), int), np.full((3, 2, 4), 0.25),
         "to_categorical"),
        (losses.categorical_crossentropy, np.zeros(3, int), np.full((3, 4), 0.25), "to_categorical"),
    ],
)  # fmt: skip
def test_what_is_said_of_targets_that_do_not_fit(function, y, p, said):
    with pytest.raises(ShapeError, match=said):
        function(y, p)


def test_whole_targets_are_as_exact_as_the_predictions():
    many = 2**24 + 1  # float32 has no such number
    for function in (losses.mean_squared_error, losses.MeanSquaredError()):
        assert function(np.array([[many]]), np.array([[float(many)]])) == 0
        assert function(refnet.tensor([[many]]), refnet.tensor(np.array([[float(many)]]))) == 0


@pytest.mark.parametrize("y", ["float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("p", ["float32", "float64", "int64", "uint8"])
def test_which_types_meet(y, p):
    """Targets take the type of predictions that are floats; what is free stays as it is."""

    def met(rule):
        found = pairing.meet(rule, "it", np.ones((2, 1), y), np.ones((2, 1), p))
        return tuple(str(array.dtype) for array in found)

    scores = p if p.startswith("float") else "float32"
    assert met(pairing.TARGETS) == (scores, scores)
    assert met(pairing.CLASSES) == (y, scores)
    assert met(pairing.FREE) == (y, p)
    floats = [dtype for dtype in (p, y) if dtype.startswith("float")]
    assert met(pairing.NUMBERS) == ((floats[0],) * 2 if floats else (y, p))


# -- models ----------------------------------------------------------------------------------------


class Twice(Layer):
    """A layer that makes another one when it is first called."""

    def __init__(self):
        super().__init__()
        self.inner = Dense(2)

    def call(self, x):
        return self.inner(self.inner(x))


class Idle(Layer):
    """A layer one of whose weights nothing depends on."""

    def make_weights(self, input_shape):
        self.used, self.idle = (self.add_weight((), "ones", name=n) for n in ("used", "idle"))

    def call(self, x):
        return ops.multiply(x, self.used)


def test_a_new_model_does_not_stop():
    assert refnet.Sequential().stop_training is False


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: refnet.Sequential(Dense(1)), "layers is a list"),
        (lambda: refnet.Sequential([Dense]), r"add\(\) takes a layer"),
        (lambda: refnet.Sequential([len]), r"add\(\) takes a layer"),
        (lambda: refnet.Sequential([layer := Dense(1), layer]), "in the model already"),
        (lambda: compiled(Dense(1), loss=None), "needs a loss"),
        (lambda: compiled(Dense(1), found="mse"), "metrics is a list"),
        (lambda: compiled(Dense(1)).fit(X, Y, initial_epoch=-1), "initial_epoch"),
        (lambda: compiled(Dense(1)).fit(X, Y, initial_epoch="2"), "initial_epoch"),
        (lambda: compiled(Dense(1)).fit(X, Y, epochs=-1), "epochs"),
        (lambda: compiled(Dense(1)).predict(X, verbose="loud"), "verbose"),
    ],
)
def test_what_a_model_is_made_of(make, said):
    with pytest.raises(ArgumentError, match=said):
        make()


def test_what_cannot_be_built_is_said_when_it_is_built():
    with pytest.raises(ShapeError, match="known lengths"):
        refnet.Sequential([PReLU(input_shape=(None, 3))])


def test_a_model_within_a_model_computes_where_the_outer_one_does():
    inner = refnet.Sequential([Dense(2)])
    with refnet.use_backend("loopback"):
        outer = refnet.Sequential([Input(3), inner])
    assert inner.backend is outer.backend and inner.backend.name == "loopback"
    np.testing.assert_array_equal(inner.predict(X), outer.predict(X))


def test_to_build_is_to_build_all_that_is_within():
    model = refnet.Sequential([Twice()])
    model.build((None, 2))
    assert [w.shape for w in model.get_weights()] == [(2, 2), (2,)]
    assert model.all_built() and model.output_shape == (None, 2)


def test_the_first_batch_builds_the_model():
    model = refnet.Sequential([Dense(2), Dense(1)])
    model(X)
    assert model.built and model.output_shape == (None, 1) and model.input_shape == (None, 3)


def test_a_shape_that_the_layers_were_not_built_for():
    model = refnet.Sequential([Input(3), Dense(1)])
    with pytest.raises(ShapeError, match="5"):
        model.compute_output_shape((None, 5))


def test_a_copied_model_has_an_optimizer_of_its_own():
    model = compiled(Dense(1), optimizer="adam")
    model.fit(X, Y, verbose=0)
    made, before = copy.deepcopy(model), model.get_weights()
    made.optimizer.learning_rate = 0.5  # of the copy, and noticed by its next step
    other = compiled(Dense(1), optimizer="adam")
    with pytest.raises(ArgumentError, match="model"):
        other.compile(made.optimizer, "mse")
    start = [w.copy() for w in made.get_weights()]
    made.fit(X, Y, verbose=0)
    moved = [np.abs(a - b).max() for a, b in zip(made.get_weights(), start, strict=True)]
    assert min(moved) > 0.1
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_epoch_leaves_all_as_it_was():
    model = compiled(Input(3), Dense(1))
    before = model.get_weights()
    assert model.fit(X, Y, epochs=0, verbose=0).history == {}
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_of_32():
    class Count(refnet.callbacks.Callback):
        sizes = ()

        def on_train_batch_end(self, batch, logs=None):
            self.sizes += (batch,)

    model, count = compiled(Dense(1)), Count()
    model.fit(np.ones((65, 2)), np.ones((65, 1)), verbose=0, callbacks=[count])
    assert count.sizes == (0, 1, 2)
    model.fit(np.ones((64, 2)), np.ones((64, 1)), verbose=0, callbacks=[count])
    assert count.sizes == (0, 1, 2, 0, 1)


def test_a_batch_is_tested_as_one():
    """The largest output of all is no mean of the largest of parts."""
    model = compiled(Input(2), Flatten(), found=[lambda y, p: ops.max(p)])
    x = np.arange(12.0).reshape(6, 2)
    assert model.test_on_batch(x, x)[1] == 11
    assert model.evaluate(x, x, 2, verbose=0)[1] == (3 + 7 + 11) / 3


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_weights_that_fit_nothing_build_nothing(method):
    model = compiled(Dense(1))
    with pytest.raises(ShapeError, match="sample_weight"):
        getattr(model, method)(X, Y, sample_weight=np.ones((6, 2)))
    assert not model.built


@pytest.mark.parametrize("classes", [2, 4])
def test_classes_of_sequences_are_as_many_as_the_outputs(classes):
    """Three elements a sequence: neither their number nor that of the sequences counts."""
    y = RNG.integers(0, classes, (5, 3))
    model = compiled(Reshape((3, classes)), Softmax(), loss="sparse_categorical_crossentropy")
    x = RNG.normal(0, 1, (5, 3 * classes))
    model.layers.insert(0, Dense(3 * classes))
    weights = dict.fromkeys(range(classes), 2.0)
    assert model.train_on_batch(x, y, class_weight=weights) > 0
    with pytest.raises(ArgumentError, match=f"0 to {classes - 1}"):
        model.train_on_batch(x, y, class_weight={classes: 1.0})


def test_training_comes_after_compile():
    with pytest.raises(NotReadyError, match="compile"):
        refnet.Sequential([Dense(1)]).train_on_batch(X, Y)


def test_what_the_loss_does_not_depend_on_has_gradient_0():
    model = compiled(Input(1), Idle())
    used, idle = weight_gradients(model, np.ones((2, 1)), np.zeros((2, 1)))
    assert used == 2 and idle == 0


# -- tensors and variables -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "std", "argmax", "argmin"])
def test_reductions_take_an_axis_away(name):
    t = refnet.tensor(X)
    assert getattr(t, name)(axis=0).shape == getattr(np, name)(X, axis=0).shape == (3,)
    assert getattr(t, name)().shape == ()
    if not name.startswith("arg"):
        assert getattr(t, name)(axis=1, keepdims=True).shape == (6, 1)


def test_a_variable_is_of_the_innermost_graph():
    with refnet.Graph() as outer, refnet.Graph() as inner:
        w = refnet.Variable([1.0])
    assert w.graph is inner and w.graph is not outer


@pytest.mark.parametrize("backend", ["loopback", "numpy"])
def test_values_of_another_backend_are_assigned(backend):
    w = refnet.Variable([1.0, 2.0], backend=backend)
    for other in ("numpy", "loopback"):
        w.assign(refnet.tensor([3.0, 4.0], backend=other))
        np.testing.assert_array_equal(w.numpy(), [3, 4])
        w.assign([0.0, 0.0])


def test_numbers_of_other_types_are_rounded_to_that_of_the_variable():
    w = refnet.Variable([1.0, 2.0])
    for values in ([3, 10**18], [0.1, -1e-50]):
        w.assign(np.array(values))
        np.testing.assert_array_equal(w.numpy(), np.float32(values))


# -- the parameters --------------------------------------------------------------------------------


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


def test_looking_draws_no_random_numbers():
    """A model that is built is not called once more to be built."""
    model = compiled(Input(3), Dropout(0.5), Dense(1))
    before = [v.numpy() for v in model.variables]
    model.predict(X)
    model.evaluate(X, Y, verbose=0)
    for a, b in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


def test_in_a_graph_the_ops_know_the_shape():
    class Total(Layer):
        def call(self, x):
            return ops.sum(x, axis=-1, keepdims=True)

    with refnet.Graph():
        x = refnet.placeholder((None, 3))
        y = Total()(x)
    assert y.shape == (None, 1)
    with refnet.Session(y.graph) as session:
        np.testing.assert_allclose(session.run(y, {x: X}), X.sum(1, keepdims=True), rtol=1e-6)


def test_a_model_that_is_built_is_called_once():
    """By the first step, which is recorded; the others run what was recorded."""
    calls = []

    class Counted(Layer):
        def call(self, x):
            calls.append(x)
            return x

    model = compiled(Input(3), Counted(), Dense(1))
    for _ in range(3):
        model.predict(X)
        assert len(calls) == 1


def test_a_copy_notices_its_own_settings():
    """What was recorded before one of them changed is recorded anew, in the copy alone."""
    model = compiled(Input(3), Dropout(0.0), Dense(2, use_bias=False), Dense(1))
    model.fit(X, Y, verbose=0)
    made = copy.deepcopy(model)
    made.fit(X, Y, verbose=0)
    made.layers[2].trainable = False
    frozen, moving = made.layers[2].kernel.numpy(), model.layers[2].kernel.numpy()
    for one in (made, model):
        one.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(made.layers[2].kernel.numpy(), frozen)
    assert np.abs(model.layers[2].kernel.numpy() - moving).max() > 0
    made.layers[1].rate = 0.999999
    before = made.get_weights()[1]
    made.train_on_batch(X, Y)
    np.testing.assert_array_equal(made.get_weights()[1], before)  # nothing came in: no gradient
