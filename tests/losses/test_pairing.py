"""How targets, predictions and weights meet, against the rule written by hand: equal, or refused.

Every loss and every metric, as function and as class, on arrays, lists and tensors, in a graph, and in
a model's training. Batch, time and classes are of one length here as well: shapes that coincide are
where a wrong axis goes unseen.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import refnet
from refnet import losses, metrics
from refnet.check.training import float_type
from refnet.errors import DTypeError, ShapeError
from refnet.layers import Dense, Input
from refnet.losses import pairing
from refnet.optimizers import SGD

RNG = np.random.default_rng(0)
SHAPES = [(3,), (3, 1), (3, 3), (3, 2), (1, 3), (3, 3, 1), (3, 2, 3), (3, 3, 3)]
PAIRS = list(itertools.product(SHAPES, SHAPES))
#: the shapes of weights that are tried on every pair; "losses" is the losses' own
WEIGHTS = [None, (), (3,), (3, 1), "losses", (1,), (2,), (1, 3), (3, 2), (3, 3), (3, 3, 1)]

FORMULAS = {
    "mean_squared_error": lambda y, p: ((y - p) ** 2).mean(-1),
    "mean_absolute_error": lambda y, p: np.abs(y - p).mean(-1),
    "sum_squared_residuals": lambda y, p: ((y - p) ** 2).sum(-1),
    "quadratic_cost": lambda y, p: ((y - p) ** 2).sum(-1) / 2,
    "huber": lambda y, p: np.where(np.abs(y - p) <= 1, (y - p) ** 2 / 2, np.abs(y - p) - 0.5).mean(
        -1
    ),
    "poisson": lambda y, p: (p - y * np.log(p + 1e-7)).mean(-1),
    "binary_crossentropy": lambda y, p: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(-1),
    "categorical_crossentropy": lambda y, p: (
        -(y * np.log(np.clip(p / p.sum(-1, keepdims=True), 1e-7, 1 - 1e-7))).sum(-1)
    ),
    "sparse_categorical_crossentropy": lambda y, p: -np.log(share(p, y)),
}
METRICS = {
    "accuracy": lambda y, p: (y == p) * 1.0,
    "binary_accuracy": lambda y, p: (y == (p > 0.5)).mean(-1),
    "categorical_accuracy": lambda y, p: (y.argmax(-1) == p.argmax(-1)) * 1.0,
    "sparse_categorical_accuracy": lambda y, p: (y == p.argmax(-1)) * 1.0,
    "mean_squared_error": FORMULAS["mean_squared_error"],
    "mean_absolute_error": FORMULAS["mean_absolute_error"],
}


def share(p, labels):
    """p_c / Σ p for the class number c of each row, one row after the other."""
    found = np.zeros(labels.shape)
    for at in np.ndindex(labels.shape):
        found[at] = p[at][labels[at]] / p[at].sum()
    return found


def test_nothing_is_left_out():
    means = [c for c in metrics.METRICS.values() if issubclass(c, metrics.MeanMetric)]
    for classes, formulas in ((losses.LOSSES.values(), FORMULAS), (means, METRICS)):
        names = {c.function.__name__ for c in classes}
        missing = names - set(formulas)
        assert not missing, f"write the formulas of {missing} into a table at the top of {__file__}"
        assert set(formulas) == names


def together(name, y, p):
    """The rule, written by hand: y and p in shapes that belong together, or None."""
    if name.startswith("sparse"):
        if y.ndim == p.ndim and y.shape[-1] == 1:
            y = y[..., 0]
        return (y, p) if y.shape == p.shape[:-1] else None
    if y.ndim == p.ndim - 1 and p.shape[-1] == 1:
        y = y[..., None]
    elif p.ndim == y.ndim - 1 and y.shape[-1] == 1:
        p = p[..., None]
    return (y, p) if y.shape == p.shape else None


def weighed(values, w):
    """Losses times weights, example by example; None for weights of a shape that does not fit."""
    if w is None or w.shape == () or w.shape == values.shape:
        return values * (1.0 if w is None else w)
    if values.ndim and w.shape in (values.shape[:1], (*values.shape[:1], 1)):
        return np.stack([v * each for v, each in zip(values, w.reshape(-1), strict=True)])
    return None


def data(name, y_shape, p_shape):
    """Targets and predictions of these shapes, as the loss or metric of this name takes them."""
    p = RNG.uniform(0.1, 0.9, p_shape)
    if name.startswith("sparse"):
        return RNG.integers(0, p_shape[-1], y_shape), p
    if name == "accuracy":
        return RNG.integers(0, 3, y_shape), RNG.integers(0, 3, p_shape)
    return RNG.integers(0, 2, y_shape).astype("float64"), p


def weights_of(shape, values):
    if shape is None:
        return None
    return RNG.uniform(0.5, 2.0, values.shape if shape == "losses" else shape)


# -- functions and classes: lists, arrays, tensors, graphs -----------------------------------------


def in_a_graph(function, *arrays):
    """What a function of these arrays gives in a graph that leaves the batch open."""
    with refnet.Graph() as graph:
        fed = [refnet.placeholder((None, *a.shape[1:]), str(a.dtype)) for a in arrays]
        result = function(*fed)
    return refnet.Session(graph).run(result, dict(zip(fed, arrays, strict=True)))


WAYS = {
    "arrays": lambda function, *arrays: function(*arrays),
    "lists": lambda function, *arrays: function(*[a.tolist() for a in arrays]),
    "tensors": lambda function, *arrays: function(*map(refnet.tensor, arrays)).numpy(),
    "predictions": lambda function, y, p: function(y.tolist(), refnet.tensor(p)).numpy(),
    "targets": lambda function, y, p: function(refnet.tensor(y), p).numpy(),
    "graph": in_a_graph,
}
KINDS = [("losses", name) for name in FORMULAS] + [("metrics", name) for name in METRICS]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("module", "name"), KINDS)
def test_functions(module, name, way):
    """Equal to the formula on what belongs together, a ShapeError for all other pairs of shapes."""
    function = getattr(getattr(refnet, module), name, None) or getattr(losses, name)
    formula = FORMULAS[name] if module == "losses" else METRICS[name]
    with float_type("float64"):
        for shapes in PAIRS:
            y, p = data(name, *shapes)
            pair = together(name, y, p)
            if pair is None:
                with pytest.raises(ShapeError):
                    WAYS[way](function, y, p)
            else:
                found, expected = WAYS[way](function, y, p), formula(*pair)
                assert np.shape(found) == expected.shape
                np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("way", ["arrays", "tensors"])
@pytest.mark.parametrize("name", FORMULAS)
def test_losses_with_weights(name, way):
    """Each loss times its weight, in all reductions; weights that fit nothing are refused."""
    convert = refnet.tensor if way == "tensors" else np.asarray
    kind = losses.LOSSES[name]
    for (y_shape, p_shape), shape in itertools.product(PAIRS, WEIGHTS):
        y, p = data(name, y_shape, p_shape)
        pair = together(name, y, p)
        if pair is None:
            continue
        values = FORMULAS[name](*pair)
        w = weights_of(shape, values)
        given = None if w is None else convert(w)
        expected = weighed(values, w)
        if expected is None:
            with pytest.raises(ShapeError, match="sample_weight"):
                kind()(convert(y), convert(p), given)
            continue
        found = {r: kind(reduction=r)(convert(y), convert(p), given) for r in losses.REDUCTIONS}
        np.testing.assert_allclose(np.asarray(found["none"]), expected, rtol=1e-6)
        assert np.shape(found["none"]) == expected.shape
        assert float(found["sum"]) == pytest.approx(expected.sum(), rel=1e-6)
        assert float(found["sum_over_batch_size"]) == pytest.approx(expected.mean(), rel=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_losses_with_weights_in_a_graph(name):
    for shapes, shape in itertools.product([((3,), (3, 1)), ((3, 3), (3, 3, 1))], WEIGHTS):
        y, p = data(name, *shapes)
        pair = together(name, y, p)
        values = FORMULAS[name](*pair)
        w = weights_of(shape, values)
        expected = weighed(values, w)
        arrays = (y, p) if w is None or w.shape == () else (y, p, w)
        loss = losses.LOSSES[name]()
        if expected is None:
            with pytest.raises(ShapeError):
                in_a_graph(loss, *arrays)
        else:
            factor = float(w) if w is not None and w.shape == () else 1.0
            found = in_a_graph(loss, *arrays) * factor
            np.testing.assert_allclose(found, expected.mean(), rtol=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_with_weights(name):
    """Σ w m / Σ w over two batches."""
    for (y_shape, p_shape), shape in itertools.product(PAIRS, WEIGHTS):
        metric, total, count = metrics.METRICS[name](), 0.0, 0.0
        for _ in range(2):
            y, p = data(name, y_shape, p_shape)
            pair = together(name, y, p)
            if pair is None:
                break
            values = METRICS[name](*pair)
            w = weights_of(shape, values)
            expected = weighed(values, w)
            if expected is None:
                with pytest.raises(ShapeError, match="sample_weight"):
                    metric.update_state(y, p, sample_weight=w)
                break
            metric.update_state(y, p, sample_weight=w)
            total += expected.sum()
            count += weighed(np.ones(values.shape), w).sum()
        else:
            assert metric.result() == pytest.approx(total / count, rel=1e-6)


@pytest.mark.parametrize("fed", ["y", "p", "w"])
def test_a_graph_stretches_no_batch_of_one(fed):
    """The lengths are open when it is written; what is fed has to agree all the same."""
    arrays = {"y": np.ones((3, 2)), "p": np.ones((3, 2)), "w": np.ones(3)}
    loss, each = losses.MeanSquaredError(), metrics.categorical_accuracy
    assert in_a_graph(loss, *arrays.values()) == 0
    arrays[fed] = arrays[fed][:1]
    with pytest.raises(ShapeError):
        in_a_graph(loss, *arrays.values())
    if fed != "w":
        with pytest.raises(ShapeError):
            in_a_graph(each, arrays["y"], arrays["p"])


def test_gradients_in_a_graph_are_those_of_tensors():
    y, p, w = np.array([1.0, 2.0, 3.0]), np.array([[2.0], [2.0], [5.0]]), np.array([1.0, 3.0, 0.5])
    loss = losses.MeanSquaredError()
    leaf = refnet.tensor(p)
    (expected,) = refnet.gradients(loss(y, leaf, w), [leaf])
    assert expected.shape == (3, 1)
    np.testing.assert_allclose(expected.numpy(), 2 * (p - y[:, None]) * w[:, None] / 3)
    found = in_a_graph(lambda *fed: refnet.gradients(loss(*fed), [fed[1]])[0], y, p, w)
    np.testing.assert_array_equal(found, expected.numpy())


def test_labels_beside_a_column_are_no_matrix():
    """What NumPy would stretch (3,) and (3, 1) to is 9 differences, of which 6 mean nothing."""
    y, p = np.array([1.0, 2.0, 3.0]), refnet.tensor([[1.0], [2.0], [3.0]])
    loss = losses.MeanSquaredError()(y, p)
    (gradient,) = refnet.gradients(loss, [p])
    assert loss.item() == 0
    np.testing.assert_array_equal(gradient.numpy(), np.zeros((3, 1)))


# -- types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in FORMULAS if "sparse" not in n])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "bool", "float32"])
def test_what_is_computed_with_is_a_float(name, dtype):
    """Integers and booleans on either side: the difference of two uint8 does not wrap around."""
    y, p = np.array([[0, 1, 1], [1, 0, 1]]), np.array([[1, 1, 0], [1, 1, 1]])
    function = getattr(losses, name)
    expected = function(y.astype("float32"), p.astype("float32"))
    for a, b in ((y.astype(dtype), p.astype(dtype)), (y, p.astype(dtype)), (y.astype(dtype), p)):
        for found in (function(a, b), function(refnet.tensor(a), refnet.tensor(b)).numpy()):
            assert found.dtype == "float32"
            np.testing.assert_array_equal(found, expected)


def test_bytes_of_a_picture():
    assert losses.MeanSquaredError()(np.uint8([[200]]), np.uint8([[100]])) == 10_000


def test_targets_take_the_type_of_the_predictions():
    """Labels made by NumPy are float64; a loop of one's own computes in float32 all the same."""
    y, p = np.array([[0.0], [1.0]]), refnet.tensor([[0.25], [0.5]])
    loss = losses.MeanSquaredError()(y, p, np.array([1.0, 2.0]))
    assert (loss.dtype, refnet.gradients(loss, [p])[0].dtype) == ("float32", "float32")


@pytest.mark.parametrize("wrong", [["a", "b"], [None, 1]], ids=["text", "objects"])
def test_what_is_no_number(wrong):
    for function in (losses.mean_squared_error, metrics.binary_accuracy):
        with pytest.raises(DTypeError, match="numbers"):
            function(wrong, [0.5, 0.5])
    with pytest.raises(ShapeError, match="ragged"):
        losses.mean_squared_error([[1.0], [1.0, 2.0]], [[0.5], [0.5]])


@pytest.mark.parametrize("name", FORMULAS)
def test_errors_name_both_shapes_and_the_remedy(name):
    with pytest.raises(ShapeError, match=rf"{name} expects .*\(4, 3\).*got \(4, 2\)"):
        getattr(losses, name)(np.ones((4, 2), int), np.ones((4, 3)))
    sparse = name.startswith("sparse")
    y = np.ones((4, 3) if sparse else 4, int)
    hint = "categorical_crossentropy" if sparse else "sparse.*to_categorical"
    with pytest.raises(ShapeError, match=f"use .*{hint}"):
        getattr(losses, name)(y, np.ones((4, 3)))


# -- fit, evaluate, and a loop of one's own --------------------------------------------------------

INPUTS = {
    "column": ((4,), 1),
    "rows": ((4,), 3),
    "sequence": ((3, 4), 3),
    "one a step": ((3, 4), 1),
}


def model_of(inputs, units, loss):
    refnet.utils.set_random_seed(0)
    model = refnet.Sequential([Input(inputs), Dense(units, "sigmoid")])
    model.compile(SGD(0.5), loss)
    return model


@pytest.mark.parametrize("output", INPUTS)
@pytest.mark.parametrize("name", FORMULAS)
def test_a_model_and_a_loop_agree(name, output):
    """The loss before a step and the weights after it: the same, or both are refused."""
    inputs, units = INPUTS[output]
    x = RNG.normal(size=(3, *inputs)).astype("float32")
    for y_shape, w_shape in itertools.product(SHAPES, WEIGHTS):
        if y_shape[0] != 3:
            continue
        fitted, looped = (model_of(inputs, units, name) for _ in range(2))
        p = looped(x)
        y, _ = data(name, y_shape, p.shape)
        pair = together(name, y, p.numpy())
        values = np.zeros(3) if pair is None else FORMULAS[name](*pair)
        w = weights_of(w_shape, values)
        if w is not None and w.shape and len(w) != 3:
            continue  # a model counts its examples first, see test_errors.py
        expected = None if pair is None else weighed(values, w)
        if expected is None:
            before = fitted.get_weights()
            for method in (fitted.evaluate, fitted.train_on_batch, fitted.fit):
                with pytest.raises(ShapeError):
                    method(x, y, sample_weight=w)
            with pytest.raises(ShapeError):
                looped.loss(y, p, w)
            assert fitted.optimizer.iterations == 0
            for now, then in zip(fitted.get_weights(), before, strict=True):
                np.testing.assert_array_equal(now, then)
            continue
        loss = looped.loss(y, p, w)
        assert loss.item() == pytest.approx(expected.mean(), rel=1e-4)
        assert fitted.evaluate(x, y, sample_weight=w) == pytest.approx(loss.item(), rel=1e-6)
        gradients = refnet.gradients(loss, looped.trainable_weights)
        pairs = zip(gradients, looped.trainable_weights, strict=True)
        looped.optimizer.apply_gradients(list(pairs))
        assert fitted.train_on_batch(x, y, w) == pytest.approx(loss.item(), rel=1e-6)
        for now, then in zip(fitted.get_weights(), looped.get_weights(), strict=True):
            np.testing.assert_allclose(now, then, rtol=1e-5, atol=1e-7)


def test_functions_from_elsewhere_meet_what_losses_meet():
    def distance(y_true, y_pred):
        return abs(y_true - y_pred).mean(axis=-1)

    y, p = [1.0, 2.0], [[2.0], [2.0]]
    assert losses.get(distance)(y, p) == 0.5
    assert metrics.get(distance)(y, p) == 0.5
    with pytest.raises(ShapeError, match="distance"):
        losses.get(distance)([[1.0]], [[1.0, 2.0]])


def test_a_rule_leaves_alone_what_belongs_together():
    y, p = refnet.tensor([[1.0]]), refnet.tensor([[2.0]])
    met = pairing.meet(pairing.TARGETS, "mine", y, p)
    assert met[0] is y
    assert met[1] is p
