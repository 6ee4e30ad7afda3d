"""Which numbers are taken for a tensor's values, in which type and order of bytes."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet import losses, metrics
from refnet.errors import (
    ArgumentError,
    DTypeError,
    RefnetError,
)
from refnet.layers import Dense, Input
from tests.small import X, Y, compiled


def _fed(x):
    with refnet.Graph() as graph:
        p = refnet.placeholder((None,), x.dtype.name)
    return refnet.Session(graph).run(p * 2, {p: x})


def _trained(x):
    refnet.utils.set_random_seed(1)
    model = compiled(Input((1,)), Dense(1))
    model.fit(x, x, sample_weight=x[:, 0], epochs=2, shuffle=False, verbose=0)
    return np.concatenate([w.ravel() for w in model.get_weights()])


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


def test_long_doubles_are_no_type_of_numbers_here():
    for values in (np.longdouble(1), np.ones(2, np.longdouble)):
        if values.dtype.itemsize > 8:
            with pytest.raises(DTypeError, match="a type of numbers"):
                refnet.tensor(values)
