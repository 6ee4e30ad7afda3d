"""Faults above the ops that the tests of their time did not notice, planted or found by trying."""

from __future__ import annotations

import concurrent.futures
import copy
import functools
import itertools
import pickle
import sys
import threading

import numpy as np
import pytest

import refnet
from refnet import callbacks, losses, metrics, optimizers
from refnet.errors import (
    ArgumentError,
    DTypeError,
    GradientError,
    NotReadyError,
    RefnetError,
    ShapeError,
    UnknownNameError,
)
from refnet.layers import Activation, Dense, Dropout, Flatten, Input, Layer, PReLU, Reshape
from refnet.op import TABLE

RNG = np.random.default_rng(5)
X, Y = RNG.normal(0, 1, (6, 3)), RNG.normal(0, 1, (6, 1))
CLASSES = np.array([0, 1, 2, 0, 1, 2])


def compiled(*layers, optimizer="sgd", loss="mse", found=None):
    model = refnet.Sequential(layers)
    model.compile(optimizer, loss, found)
    return model


# -- layers ----------------------------------------------------------------------------------------


def test_a_length_may_be_zero():
    """Examples without a number: only the bias learns."""
    model = compiled(Input((0,)), Dense(1))
    assert model.layers[0].input_shape == (None, 0)
    model.fit(np.zeros((6, 0)), Y, epochs=2, verbose=0)
    assert [w.shape for w in model.get_weights()] == [(0, 1), (1,)]
    assert model.get_weights()[1] != 0


def test_a_layer_knows_the_shape_it_was_built_for():
    layer = Dense(2)
    layer.build((5, 3))
    assert layer.input_shape == (None, 3)


@pytest.mark.parametrize("shape", [(None, None, 3), (None, 3, None)])
@pytest.mark.parametrize(
    "layer", [PReLU(), Flatten(), Reshape((3,)), Reshape((-1, 3))], ids=lambda x: type(x).__name__
)
def test_lengths_have_to_be_known(layer, shape):
    with pytest.raises(ShapeError, match="known lengths"):
        layer.ensure_built(shape)
        layer.compute_output_shape(shape)


@pytest.mark.parametrize("wrong", ["no", 2, None])
def test_a_layer_is_trainable_or_not(wrong):
    with pytest.raises(ArgumentError, match=r"mine: trainable"):
        Dense(2, name="mine").trainable = wrong


def test_what_comes_in_is_what_was_said():
    model = refnet.Sequential([Input((3,), name="door"), Activation("relu")])
    with pytest.raises(ShapeError, match=r"door"):
        model.predict(np.ones((6, 4)))
    assert model.layers[0].built


def test_what_cannot_be_built_is_not_built_by_half():
    first = Dense(4)
    with pytest.raises(ShapeError):
        refnet.Sequential([first, Reshape((3,))]).build((None, 3))
    assert not first.built
    assert first.weights == []


class Counts(Layer):
    """Counts its calls, asks for a value, and holds a layer that is built when it is first called."""

    def __init__(self):
        super().__init__()
        self.inner = Dense(1)

    def make_weights(self, input_shape):
        self.count = self.add_weight((), "zeros", trainable=False)

    def call(self, x, training=False):
        self.count.assign_add(1.0)
        return self.inner(x * float(x.max()) if training else x * float(x.min()))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


def test_what_is_called_to_be_built_has_not_been_called():
    counting = Counts()
    model = refnet.Sequential([Input((3,)), counting])
    model.compile("sgd", "mse", run_eagerly=True)
    model.predict(X)
    assert counting.count.numpy() == 1
    model.train_on_batch(X, Y)
    assert counting.count.numpy() == 2


# -- models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch"])
def test_the_error_names_the_method_that_compile_comes_before(method):
    with pytest.raises(NotReadyError, match=rf"before {method}\(\)"):
        getattr(refnet.Sequential([Dense(1)]), method)(X, Y)


def test_a_new_model():
    model = refnet.Sequential([Dense(2)])
    assert model.stop_training is False
    assert not model.built
    model(X)
    assert model.built
    assert model.output_shape == (None, 2)


def test_layers_are_taken_off_to_the_last():
    model = refnet.Sequential([Input((3,)), Dense(2)])
    model.pop()
    assert model.output_shape == (None, 3)
    model.pop()
    assert model.layers == [] and not model.built
    model = refnet.Sequential([Dense(2), Dense(3)])
    model.pop()
    assert not model.built


def test_a_deep_copy_goes_on_where_the_model_was():
    def trained(steps):
        refnet.utils.set_random_seed(1)
        model = compiled(Input((3,)), Dense(4, "tanh"), Dense(1), optimizer="adam")
        for _ in range(steps):
            model.train_on_batch(X, Y)
        return model

    model, expected = trained(3), trained(5)
    other = copy.deepcopy(model)
    for going_on in (other, model):
        for _ in range(2):
            going_on.train_on_batch(X, Y)
        for w, right in zip(going_on.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(w, right)
    other.optimizer.beta_1 = 0.5  # noticed by the copy, and by the copy alone
    for going_on in (other, model, expected):
        going_on.train_on_batch(X, Y)
    for a, b, c in zip(*(m.get_weights() for m in (other, model, expected)), strict=True):
        np.testing.assert_array_equal(b, c)
        assert not np.array_equal(a, b)


def test_weights_start_at_multiples_of_16_numbers():
    """On a GPU, lines of 64 bytes."""
    model = refnet.Sequential([Input((3,)), Dense(5), Dense(1)])
    assert model.parameters.offsets == [0, 16, 32, 48]


def test_logs_after_a_batch_are_means_of_the_batches_so_far():
    seen, alone = [], []

    class Look(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    model = compiled(Input((3,)), Dense(1), optimizer=optimizers.SGD(0.0))
    for start in range(0, 6, 2):
        alone.append(model.evaluate(X[start : start + 2], Y[start : start + 2], verbose=0))
    model.fit(X, Y, 2, shuffle=False, verbose=0, callbacks=[Look()])
    np.testing.assert_allclose(seen, np.cumsum(alone) / [1, 2, 3], rtol=1e-6)


def unbuilt(y, loss="mse", found=None, **options):
    model = compiled(Dense(3, "softmax"), loss=loss, found=found)
    with pytest.raises(RefnetError) as caught:
        model.fit(X, y, verbose=0, **options)
    assert not model.built
    return str(caught.value)


def test_what_does_not_fit_is_found_before_anything_is_built():
    assert "sparse_categorical_accuracy" in unbuilt(
        np.eye(3)[CLASSES], found=["sparse_categorical_accuracy"]
    )
    assert "sample_weight" in unbuilt(np.eye(3)[CLASSES], sample_weight=np.ones((6, 3)))
    assert "validation_data is" in unbuilt(np.eye(3)[CLASSES], validation_data=(X, X, X, X))


def test_at_most_32_plans_of_a_step_are_kept():
    model = refnet.Sequential([Input((1,)), Dense(1)])
    for count in range(1, 41):
        assert model.predict(np.ones((count, 1)), batch_size=64).shape == (count, 1)
    (step,) = model._steps.values()
    assert len(step._plans) == 32


def test_the_gradient_of_what_comes_in_is_computed_for_nobody():
    x = refnet.tensor(X[..., None]).reshape(6, 3)
    kernel, bias = refnet.Variable(np.ones((3, 2))), refnet.Variable(np.zeros(2))
    y = refnet.ops.linear(x, kernel, bias)[0]
    (gradient,) = refnet.gradients(y, [kernel])
    assert gradient.node.attributes["wrt"] == ("kernel",)


def test_a_planned_step_leaves_no_gradient_of_what_was_before(backend):
    with refnet.use_backend(backend):
        model = compiled(Input((3,)), Dense(1))
    w = model.layers[1].kernel
    for _ in range(3):  # recorded, then planned
        y = (w * w).sum()
        model.train_on_batch(X, Y)
        with pytest.raises(GradientError):
            refnet.gradients(y, [w])


# -- weights of classes ----------------------------------------------------------------------------


def test_validation_data_are_not_weighed_by_class():
    options = {"epochs": 1, "shuffle": False, "verbose": 0}
    for held_out in ({"validation_split": 0.5}, {"validation_data": (X[3:], CLASSES[3:])}):
        model = compiled(Input((3,)), Dense(3, "softmax"), loss="sparse_categorical_crossentropy")
        found = model.fit(X, CLASSES, class_weight={0: 3.0, 1: 0.5}, **held_out, **options)
        expected = model.evaluate(X[3:], CLASSES[3:], verbose=0)
        assert found.history["val_loss"][0] == pytest.approx(expected, rel=1e-6)


def test_class_weights_of_sequences_are_those_of_the_elements():
    x, y = RNG.normal(0, 1, (4, 2, 3)), RNG.integers(0, 3, (4, 2))
    weights = {0: 2.0, 1: 0.5, 2: 3.0}
    each = np.vectorize(weights.get)(y)
    sparse = "sparse_categorical_crossentropy"
    for targets, loss in (
        (y, sparse),
        (y[..., None], sparse),
        (np.eye(3)[y], "categorical_crossentropy"),
    ):
        refnet.utils.set_random_seed(2)
        model = compiled(Input((2, 3)), Dense(3, "softmax"), loss=loss)
        expected = model.evaluate(x, targets, verbose=0, sample_weight=each)
        assert model.train_on_batch(x, targets, class_weight=weights) == pytest.approx(
            expected, rel=1e-6
        )


@pytest.mark.parametrize(
    "wrong", [{"0": 1.0}, {3: 1.0}, {-1: 1.0}, {0.5: 1.0}, {True: 1.0, "1": 2.0}]
)
def test_class_weights_of_what_is_no_class(wrong):
    model = compiled(Input((3,)), Dense(3, "softmax"), loss="sparse_categorical_crossentropy")
    with pytest.raises(RefnetError, match="class_weight"):
        model.fit(X, CLASSES, class_weight=wrong, verbose=0)


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", metrics.METRICS.values(), ids=lambda kind: kind.__name__)
def test_a_metric_takes_the_options_of_its_function(kind):
    for wrong in ("treshold", "from_logit"):
        with pytest.raises(UnknownNameError, match=wrong):
            kind(**{wrong: 0.3})
    if kind is not metrics.BinaryAccuracy:
        with pytest.raises(UnknownNameError, match="threshold"):
            kind(threshold=0.3)


@pytest.mark.parametrize("kind", losses.LOSSES.values(), ids=lambda kind: kind.__name__)
def test_a_loss_takes_the_options_of_its_function(kind):
    for wrong in ("from_logit", "treshold", "redution"):
        with pytest.raises(UnknownNameError, match=wrong):
            kind(**{wrong: True})


def test_metric_objects_in_compile():
    y = np.array([0, 1, 1, 0, 1, 0])
    found = [metrics.BinaryAccuracy(threshold=0.7), metrics.BinaryAccuracy(name="half")]
    model = compiled(Input((3,)), Dense(1, "sigmoid"), loss="binary_crossentropy", found=found)
    _, high, half = model.evaluate(X, y, verbose=0)
    p = model.predict(X)[:, 0]
    assert high == pytest.approx(np.mean((p > 0.7) == y), abs=1e-6)
    assert half == pytest.approx(np.mean((p > 0.5) == y), abs=1e-6)


WRONG = {
    "patience": lambda: callbacks.EarlyStopping(patience="a"),
    "no patience": lambda: callbacks.EarlyStopping(patience=-1),
    "verbose": lambda: compiled(Dense(1)).fit(X, Y, verbose="loud"),
    "rate of dropout": lambda: Dropout(1.5),
    "learning rate": lambda: optimizers.SGD(-0.1),
    "no number": lambda: optimizers.SGD("0.1"),
    "NaN": lambda: optimizers.Adam(float("nan")),
    "momentum": lambda: optimizers.SGD(0.1, momentum=1.5),
    "beta": lambda: optimizers.Adam(beta_1=1.0),
    "units": lambda: Dense(2.5),
    "shuffle": lambda: compiled(Dense(1)).fit(X, Y, shuffle="yes"),
    "epochs": lambda: compiled(Dense(1)).fit(X, Y, epochs=1.5),
    "batch_size": lambda: compiled(Dense(1)).fit(X, Y, batch_size=0),
    "run_eagerly": lambda: refnet.Sequential([Dense(1)]).compile("sgd", "mse", run_eagerly="no"),
}


@pytest.mark.parametrize("what", WRONG)
def test_arguments_that_make_no_sense(what):
    with pytest.raises(ArgumentError):
        WRONG[what]()


@pytest.mark.parametrize(
    "wrong", [X + 1j, X.astype(object), X.astype(str)], ids=["j", "object", "text"]
)
def test_what_is_no_number(wrong):
    model = compiled(Input((3,)), Dense(1))
    for use in (refnet.tensor, model.predict, model, lambda x: model.fit(x, Y, verbose=0)):
        with pytest.raises(DTypeError):
            use(wrong)


# -- metrics ---------------------------------------------------------------------------------------


def test_accuracy_of_what_may_be_either():
    with pytest.raises(DTypeError, match=r"shape \(3,\).*binary_accuracy"):
        metrics.Accuracy()([0, 1, 1], [0.2, 0.9, 0.4])


def test_accuracy_of_sequences_of_class_numbers_with_a_last_axis():
    labels, scores = RNG.integers(0, 4, (2, 3, 1)), RNG.uniform(0, 1, (2, 3, 4))
    expected = np.mean(scores.argmax(-1) == labels[..., 0])
    assert metrics.Accuracy()(labels, scores) == pytest.approx(expected)


def test_float_labels_are_an_error_that_names_the_loss():
    with pytest.raises(DTypeError, match="sparse_categorical_crossentropy"):
        losses.sparse_categorical_crossentropy([0.0, 1.0], [[0.2, 0.8], [0.5, 0.5]])


def test_an_example_without_a_weight_weighs_1():
    metric = metrics.MeanAbsoluteError()
    metric.update_state([[0.0], [0.0]], [[1.0], [3.0]], sample_weight=[1.0, 3.0])
    metric.update_state([[0.0]], [[5.0]])
    assert metric.result() == (1 + 9 + 5) / (1 + 3 + 1)


@pytest.mark.parametrize(
    ("y", "p"), [((4,), (4, 3)), ((4, 3), (4,)), ((4, 2, 1), (4, 3)), ((4,), (4,))]
)
def test_functions_from_elsewhere_get_what_does_not_belong_together_as_it_is(y, p):
    seen = []

    def mine(y_true, y_pred):
        seen.extend([tuple(y_true.shape), tuple(y_pred.shape)])
        return 0.0 * y_pred

    metrics.get(mine).update_state(np.ones(y), np.ones(p))
    assert seen == [y, p]


def test_what_is_said_of_shapes_that_do_not_belong_together():
    with pytest.raises(ShapeError, match=r"mean_squared_error expects an axis of outputs"):
        losses.mean_squared_error(1.0, 2.0)
    for y, p in (((4,), (4, 3)), ((2, 3), (2, 3, 4))):
        with pytest.raises(ShapeError, match="use the sparse loss"):
            losses.categorical_crossentropy(np.ones(y, int), np.ones(p))
        with pytest.raises(ShapeError, match=r"got \([0-9, ]+\)$"):
            losses.categorical_crossentropy(np.ones(y), np.ones(p))


def test_labels_of_sequences_are_smoothed_over_the_classes():
    y, p = np.eye(3)[RNG.integers(0, 3, (4, 2))], RNG.uniform(0.1, 1.0, (4, 2, 3))
    p /= p.sum(-1, keepdims=True)
    found = losses.categorical_crossentropy(y, p, label_smoothing=0.3)
    np.testing.assert_allclose(found, -((0.7 * y + 0.1) * np.log(p)).sum(-1), rtol=1e-6)


# -- seeds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_mask_is_not_drawn_from_the_numbers_of_a_kernel(seed):
    refnet.utils.set_random_seed(seed)
    kernel = Dense(64)
    kernel.build((None, 64))
    y = Dropout(0.5, seed=seed)(refnet.tensor(np.ones((64, 64))), training=True).numpy()
    agree = np.mean((y > 0) == (kernel.get_weights()[0] > 0))
    assert 0.4 < agree < 0.6


# -- tensors ---------------------------------------------------------------------------------------


def test_an_empty_axis_is_split():
    assert [part.shape for part in refnet.zeros((2, 0)).split(3, 1)] == [(2, 0)] * 3


def test_one_end_is_enough_to_clip(backend):
    with refnet.use_backend(backend):
        x = refnet.tensor([-3.0, 0.5, 3.0])
    assert x.clip(maximum=2.0).numpy().tolist() == [-3.0, 0.5, 2.0]
    assert x.clip(minimum=-2.0).numpy().tolist() == [-2.0, 0.5, 3.0]
    assert x.clip().numpy().tolist() == [-3.0, 0.5, 3.0]


# -- fit within fit --------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end", "on_train_begin"])
def test_each_fit_returns_its_own_history(hook):
    model = compiled(Input((3,)), Dense(1), optimizer=optimizers.SGD(0.0))
    inner = []

    def fit_again(*_):
        inner.append(model.fit(X, Y + 9, epochs=2, verbose=0))

    history = model.fit(
        X, Y, epochs=3, verbose=0, callbacks=[callbacks.LambdaCallback(**{hook: fit_again})]
    )
    loss = model.evaluate(X, Y, verbose=0)
    assert history.history["loss"] == pytest.approx([loss] * 3)
    assert model.history is history
    other = model.evaluate(X, Y + 9, verbose=0)
    assert all(one.history["loss"] == pytest.approx([other] * 2) for one in inner)
    assert len(inner) == (1 if hook == "on_train_begin" else 3)


# -- optimizers ------------------------------------------------------------------------------------


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


# -- numbers that are taken for others -------------------------------------------------------------


def test_numbers_that_a_type_does_not_hold():
    for make in (
        lambda: refnet.full((2,), 300, "uint8"), lambda: refnet.tensor([300.0], "uint8"),
        lambda: refnet.tensor(np.array([300]), "uint8"), lambda: refnet.tensor([-1], "uint8"),
        lambda: refnet.tensor([np.nan], "int32"), lambda: refnet.Variable(1e20, "int64"),
    ):  # fmt: skip
        with pytest.raises(DTypeError):
            make()
    assert refnet.full((2,), 200, "uint8").numpy().tolist() == [200, 200]


def test_a_mask_is_not_ignored():
    masked = np.ma.masked_array(X, X > 0)
    model = compiled(Input((3,)), Dense(1))
    for use in (refnet.tensor, model.predict, lambda x: model.fit(x, Y, verbose=0)):
        with pytest.raises(RefnetError, match="mask"):
            use(masked)
    assert refnet.tensor(np.ma.masked_array([1.0, 2.0])).numpy().tolist() == [1.0, 2.0]


@pytest.mark.parametrize("wrong", [1j, "1.5", None])
def test_weights_are_numbers(wrong):
    model = refnet.Sequential([Input((3,)), Dense(1)])
    before = model.get_weights()
    with pytest.raises(DTypeError, match="kernel"):
        model.set_weights([np.full((3, 1), wrong), np.zeros(1)])
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_a_list_of_tensors_keeps_its_history():
    x = refnet.Variable(2.0)
    y = refnet.tensor([x, 3.0 * x, 1.0])
    assert y.numpy().tolist() == [2.0, 6.0, 1.0]
    assert refnet.gradients(y, x).numpy() == 4.0
    deeper = refnet.tensor([[x, 3.0], (1.0, x * x)])
    assert deeper.numpy().tolist() == [[2.0, 3.0], [1.0, 4.0]]
    assert refnet.gradients(deeper, x).numpy() == 5.0


@pytest.mark.parametrize("wrong", [5, None, "abc", {"kernel": 1}])
def test_weights_are_a_list(wrong):
    model = refnet.Sequential([Input((3,)), Dense(1)])
    for thing in (model, model.layers[1]):
        with pytest.raises(ArgumentError, match=f"{thing.name}.*a list of arrays"):
            thing.set_weights(wrong)


def test_what_is_fed_twice():
    """By name and as the tensor: a computed one is another object each time it is looked up."""
    with refnet.Graph() as graph:
        p = refnet.placeholder((2,))
        y = (p * 2).named("y")
        z = y + 1
    session = refnet.Session(graph)
    assert session.run(z, {"y": [1, 2]}).tolist() == [2, 3]
    for feeds in ({y: [1, 2], "y": [1, 2]}, {p: [1, 2], p.name: [3, 4]}):
        with pytest.raises(ArgumentError, match="twice"):
            session.run(z, feeds)


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "int8", "int64"])
def test_placeholders_of_integers_take_lists(dtype):
    with refnet.Graph() as graph:
        p = refnet.placeholder((None,), dtype)
        y = p + 1
    session = refnet.Session(graph)
    assert session.run(y, {p: [3, 0, 1]}).tolist() == [4, 1, 2]
    for wrong in ([2**70], [0.5], np.float32([1, 2])):
        with pytest.raises(RefnetError):
            session.run(y, {p: wrong})


# -- what is open, what is not there ---------------------------------------------------------------


def test_an_open_length_takes_any():
    model = refnet.Sequential([Input((None, 3)), Dense(2)])
    for n in (7, 5):
        assert model.predict(np.ones((2, n, 3))).shape == (2, n, 2)
    with pytest.raises(ShapeError, match=r"\(batch, None, 3\)"):
        model.predict(np.ones((2, 7, 4)))


@pytest.mark.parametrize("base", [losses.Loss, metrics.Metric])
def test_a_class_without_a_function(base):
    kind = type("Mine", (base,), {})
    with pytest.raises(ArgumentError, match=r"Mine has no function.*compile\(\)"):
        kind()


def test_models_are_copied_and_not_pickled():
    with pytest.raises(ArgumentError, match="get_weights"):
        pickle.dumps(refnet.Sequential([Dense(1)]))


TRITON = pytest.mark.triton


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


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4"])
def test_bytes_in_the_other_order(dtype, backend):
    values = np.array([1, 2], dtype)
    with refnet.use_backend(backend):
        x = refnet.tensor(values)
    assert x.dtype == values.dtype.name
    y = (x.astype("float32") if dtype == ">i4" else x) ** 2
    assert y.numpy().tolist() == [1.0, 4.0]
    if dtype != ">i4":
        assert refnet.gradients(y, x).numpy().tolist() == [2.0, 4.0]


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", ">u2", ">i8"])
@pytest.mark.parametrize(
    "use",
    [
        lambda x: refnet.ops.add(x, x),
        lambda x: refnet.ops.exp(x),
        lambda x: refnet.ops.concatenate([x, x]),
        lambda x: refnet.tensor([1.5, 2.5, 3.5, 4.5]) * x,
        lambda x: losses.MeanSquaredError()(x, [1.0, 0.0, 1.0, 0.0]),
        lambda x: losses.MeanSquaredError()(x, x + 1),
        lambda x: losses.MeanSquaredError()(refnet.tensor([1.0, 0.0, 1.0, 0.0]), x),
        lambda x: metrics.MeanAbsoluteError()(x, x + 1),
        lambda x: losses.MeanSquaredError()(np.ones((4, 1)), np.zeros((4, 1)), x),
        lambda x: _fed(x),
        lambda x: _trained(x[:, None]),
    ],
)
def test_the_order_of_bytes_changes_nothing(use, dtype):
    values = np.array([0, 1, 1, 0], dtype)
    found, expected = use(values), use(values.astype(values.dtype.newbyteorder("=")))
    assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("dtype", [">i4", ">u2"])
def test_class_numbers_in_the_other_order(dtype):
    y, p = np.array([0, 1, 1], dtype), [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]
    expected = -np.log([0.9, 0.8, 0.5]).mean()
    np.testing.assert_allclose(losses.SparseCategoricalCrossentropy()(y, p), expected, rtol=1e-6)
    assert metrics.Accuracy()(y, p) == pytest.approx(2 / 3)
    model = compiled(Input((2,)), Dense(2), loss="sparse_categorical_crossentropy")
    assert np.isfinite(model.train_on_batch(np.array(p, ">f8"), y))


def _fed(x):
    with refnet.Graph() as graph:
        p = refnet.placeholder((None,), x.dtype.name)
    return refnet.Session(graph).run(p * 2, {p: x})


def _trained(x):
    refnet.utils.set_random_seed(1)
    model = compiled(Input((1,)), Dense(1))
    model.fit(x, x, sample_weight=x[:, 0], epochs=2, shuffle=False, verbose=0)
    return np.concatenate([w.ravel() for w in model.get_weights()])


def test_long_doubles_are_no_type_of_numbers_here():
    for values in (np.longdouble(1), np.ones(2, np.longdouble)):
        if values.dtype.itemsize > 8:
            with pytest.raises(DTypeError, match="a type of numbers"):
                refnet.tensor(values)


class Squares:
    def __call__(self, y_true, y_pred):
        return ((y_true - y_pred) ** 2).mean(axis=-1)


@pytest.mark.parametrize("loss", [Squares(), functools.partial(losses.mean_squared_error)])
def test_what_is_called_is_a_loss_and_a_metric(loss):
    model, plain = (
        compiled(Input((3,)), Dense(1, kernel_initializer="ones"), loss=f, found=[f])
        for f in (loss, "mse")
    )
    assert model.train_on_batch(X, Y) == pytest.approx(plain.train_on_batch(X, Y), rel=1e-6)
    assert model.metrics[0].name in ("squares", "mean_squared_error")


# -- axes, counted from the front and from the end ---------------------------------------------------

ONE, PAIRS = (0, 1, 2), ((0, 1), (2, 0), (1, 2))
#: an index is made of these, whose axes are never counted from the end
OF_INDICES = "gather", "mask_coordinates"


def _takes_several(op):
    return any(isinstance(case.attributes.get("axis"), tuple) for case in op.cases)


AXES = {
    name: (*ONE, *PAIRS) if _takes_several(op) else ONE
    for name, op in TABLE.items()
    if "axis" in op.attributes and not op.primal and name not in OF_INDICES
} | {"transpose": tuple(itertools.permutations(ONE))}


def test_all_ops_with_axes_are_tried():
    having = {n for n, op in TABLE.items() if {"axis", "axes"} & {*op.attributes} and not op.primal}
    assert having == {*AXES, *OF_INDICES}
    assert {name for name in AXES if len(AXES[name]) > 3} >= {"sum", "mean", "max", "min"}


@pytest.mark.parametrize(
    ("name", "axes"),
    [(name, axes) for name in AXES for axes in AXES[name]],
    ids=lambda what: str(what).replace(" ", ""),
)
def test_an_axis_is_the_same_from_either_end(name, axes, backend):
    """Where all axes have one length, nothing but their numbers tells them apart."""
    op, one = TABLE[name], isinstance(axes, int)
    arrays = np.random.default_rng(3).normal(0, 1, (2 if op.variadic else 1, 3, 3, 3))
    inputs = [refnet.tensor(x, "float32", backend=backend) for x in arrays]
    spelt = [(axis, axis - (4 if name == "stack" else 3)) for axis in ((axes,) if one else axes)]
    found = []
    for each in itertools.product(*spelt):
        y = op(*inputs, **{"axes" if "axes" in op.attributes else "axis": each[0] if one else each})
        values = np.arange(float(y.size)).reshape(y.shape)
        upstream = refnet.tensor(values, "float32", backend=backend)
        gs = refnet.gradients(y, inputs, upstream) if op.gradient else []
        found.append([t.numpy() for t in (y, *gs)])
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


# -- what Python holds, and a step that was recorded ---------------------------------------------------


class Scaled(Layer):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


@pytest.mark.parametrize("way", ["leaf", "computed", "computed twice"])
def test_a_tensor_among_the_attributes_may_be_replaced(way, backend):
    """However it came about: what counts is whether it was there when the step was recorded."""
    times = ["leaf", "computed", "computed twice"].index(way)

    def made(k):
        found = refnet.tensor(k)
        for _ in range(times):
            found = found * 1.0
        return found

    with refnet.use_backend(backend):
        layer = Scaled(made(1.0))
        model = compiled(Input((1,)), layer, Dense(1, kernel_initializer="ones"))
        for k in (1.0, 2.0, 3.0):
            layer.factor = made(k)
            assert model.predict([[1.0]]) == k == model([[1.0]]).numpy()
            assert model.evaluate([[1.0]], [[0.0]], verbose=0) == k * k
        assert model.train_on_batch([[1.0]], [[0.0]]) == 9


def test_what_a_layer_keeps_of_its_last_call_is_no_setting():
    class Keeping(Layer):
        calls = 0

        def call(self, x):
            Keeping.calls += 1
            self.last = x * 2.0
            return self.last

    model = compiled(Input((3,)), Keeping(), Dense(1))
    model.predict(X)
    model.predict(X)  # since the first call the layer has one attribute more
    before = Keeping.calls
    for _ in range(3):
        model.predict(X)
    assert Keeping.calls == before


class Weighed:
    """A loss, or a metric, that holds a number."""

    factor = 1.0

    def __init__(self):
        self.factor = 1.0

    def __call__(self, y, p):
        return ((y - p) ** 2).mean(axis=-1) * self.factor


def test_attributes_of_a_loss_or_a_metric_that_is_called():
    loss, metric = Weighed(), Weighed()
    model = compiled(Input((3,)), Dense(1), loss=loss, found=[metric])
    first = model.evaluate(X, Y, verbose=0)
    loss.factor, metric.factor = 2.0, 4.0
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), [2 * first[0], 4 * first[1]])


@pytest.mark.parametrize("wrong", [3.0, np.float32(2), None, [1.0, 2.0], (), "no", np.ones(6)])
@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("of", ["loss", "metric"])
def test_what_is_no_tensor_is_no_loss_and_no_metric(of, eagerly, wrong):
    model = refnet.Sequential([Input((3,)), Dense(1)])
    loss, found = ("mse", [lambda y, p: wrong]) if of == "metric" else (lambda y, p: wrong, None)
    model.compile("adam", loss, found, run_eagerly=eagerly)
    before = model.get_weights()
    for method in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ArgumentError, match="returns a tensor"):
            method(X, Y)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


# -- options, and the type of a rate -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*losses.LOSSES.values(), *metrics.METRICS.values()])
def test_options_are_of_the_kind_of_their_defaults(kind):
    for name, default in dict(getattr(kind(), "options", {})).items():
        for wrong in (
            "no",
            None,
            [1],
            *((1, 0.0) if isinstance(default, bool) else (True, np.nan)),
        ):
            with pytest.raises(ArgumentError, match=name):
                kind(**{name: wrong})
            made = kind()
            with pytest.raises(ArgumentError, match=name):
                setattr(made, name, wrong)
            assert dict(made.options) == dict(kind().options)


@pytest.mark.parametrize("kind", [losses.BinaryCrossentropy, losses.CategoricalCrossentropy])
@pytest.mark.parametrize("share", [-1.0, 2.0])
def test_labels_are_smoothed_by_a_share(kind, share):
    with pytest.raises(ArgumentError, match="label_smoothing"):
        kind(label_smoothing=share)([[1, 0]], [[0.9, 0.1]])


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


# -- threads -------------------------------------------------------------------------------------------


def in_threads(count, work):
    """The results of work(0), work(1) ..., each in a thread of its own; an error in one is raised."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return [one.result(60) for one in [pool.submit(work, i) for i in range(count)]]


def test_a_backend_in_use_is_that_of_its_thread():
    inside, over = threading.Event(), threading.Event()

    def other(i):
        with refnet.use_backend("loopback"):
            inside.set()
            over.wait(60)
            return refnet.tensor(1.0).backend.name

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        found = pool.submit(other, 0)
        inside.wait(60)
        assert refnet.tensor(1.0).backend.name == "numpy"
        with refnet.use_backend("numpy"):
            over.set()
            assert found.result(60) == "loopback"
            assert refnet.tensor(1.0).backend.name == "numpy"
    assert refnet.tensor(1.0).backend.name == "numpy"


def test_threads_that_call_a_model_first_build_it_once():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            model = refnet.Sequential([Dense(4, "relu"), Dense(2)])
            found = in_threads(6, lambda i, model=model: model.predict(X))
            assert len(model.get_weights()) == 4
            for y in found:
                np.testing.assert_array_equal(y, model.predict(X))
    finally:
        sys.setswitchinterval(before)


# -- plain mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[9.0], [[9.0]], [1.0, 2.0, 3.0, 4.0], []])
def test_a_weight_keeps_its_shape_where_a_graph_leaves_it_open(values):
    with refnet.Graph() as graph:
        x = refnet.placeholder((None,) * np.ndim(values))
        w = refnet.Variable([1.0, 2.0, 3.0])
        if np.ndim(values) == 2:
            with pytest.raises(ShapeError, match="has shape"):
                w.assign(x)
            return
        w.assign(x).named("a")
    with refnet.Session(graph) as session:
        with pytest.raises(ShapeError):
            session.run("a", {x: values})
        np.testing.assert_array_equal(session.run(w), [1, 2, 3])
        np.testing.assert_array_equal(session.run("a", {x: [4.0, 5.0, 6.0]}), [4, 5, 6])


@pytest.mark.parametrize("change", ["+=", "-=", "*=", "/=", "//=", "%=", "**=", "@="])
def test_a_variable_stays_one(change):
    names = {"w": refnet.Variable([1.0, 2.0])}
    with pytest.raises(ArgumentError, match="assign"):
        exec(f"w {change} 2", names)
    assert isinstance(names["w"], refnet.Variable)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: compiled(Dense(1)).predict_on_batch(3.0),
        lambda: compiled(Dense(1)).predict_on_batch(None),
        lambda: compiled(Dense(1)).predict_on_batch([[1], [1, 2]]),
        lambda: compiled(Dense(1)).test_on_batch(3.0, 3.0),
        lambda: Dense(2)([[1], [1, 2]]),
        lambda: Flatten()(3.0),
        lambda: Dense(2)(3.0),
        lambda: Activation("softmax")(3.0),
        lambda: Dense(2).build(3),
        lambda: Dense(2).build(()),
        lambda: refnet.Sequential([Dense(2)]).build(None),
        lambda: refnet.Sequential([Dense(2)]).build(3),
    ],
)
def test_plain_mistakes_have_plain_errors(mistake):
    with pytest.raises(RefnetError):
        mistake()
