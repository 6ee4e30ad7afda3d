"""The ends of what an op takes: labels, shapes, exponents, rates."""

from __future__ import annotations

import numpy as np
import pytest

from refnet import errors
from refnet.op import TABLE
from refnet.op.shapes import Spec

KEY = np.array((1, 2))


@pytest.mark.parametrize("name", ["random_bits", "random_uniform", "random_normal", "dropout"])
def test_programs_continue_the_stream_where_the_one_before_ended(name, backend):
    """In the interpreter a program draws 16,384 numbers: three of them, the last one not full."""
    op, n = TABLE[name], 2 * 16_384 + 5
    inputs = (np.ones(n), KEY) if name == "dropout" else (KEY,)
    given = {"rate": 0.3} if name == "dropout" else {"shape": (n,)}
    expected = np.asarray(op(*inputs, **given))
    found = backend.numpy(backend.function(op)(*(backend.array(x) for x in inputs), **given))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [[-1, 0], [0, 3]])
def test_labels_that_are_no_class(labels):
    op = TABLE["sparse_softmax_cross_entropy"]
    with pytest.raises(errors.DataError, match=r"labels from 0 to 2 for 3 classes, got (-1|3)$"):
        op(np.zeros((2, 3)), np.array(labels))


@pytest.mark.parametrize(("a", "b"), [((), (3, 2)), ((2, 3), ()), ((3,), (2, 3))])
def test_a_product_takes_matrices_and_vectors(a, b):
    with pytest.raises(errors.ShapeError, match=r"matrices or vectors|meet columns of 2"):
        TABLE["matmul"](np.ones(a), np.ones(b))


@pytest.mark.parametrize("name", ["stack", "concatenate"])
def test_one_array_is_enough(name, backend):
    x = np.arange(6.0).reshape(2, 3)
    found = backend.numpy(backend.function(TABLE[name])(backend.array(x)))
    assert found.tolist() == getattr(np, name)([x]).tolist()


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (1, 1), (4, 1, 1), (4, 1, 5), (5,), ()])
def test_a_stretched_array_gets_the_sum_of_its_copies(shape, backend):
    x = np.arange(60.0).reshape(4, 3, 5)
    expected = np.zeros(shape)
    for place in np.ndindex(x.shape):
        own = place[x.ndim - len(shape) :]
        expected[tuple(i if n > 1 else 0 for i, n in zip(own, shape, strict=True))] += x[place]
    found = backend.numpy(backend.function(TABLE["sum_to"])(backend.array(x), shape=shape))
    assert found.tolist() == expected.tolist()


def test_a_power_of_0_does_not_change_with_its_exponent(backend):
    g, a, b = (backend.array(np.array(x)) for x in ([1.0, 1.0], [0.0, 0.0], [0.0, 2.0]))
    _, db = backend.function(TABLE["power_vjp"])(g, a, b, wrt=("b",))
    assert backend.numpy(db).tolist() == [0.0, 0.0]


def test_dropout_at_rate_0_keeps_also_where_the_random_number_is_0(monkeypatch):
    monkeypatch.setattr("refnet.ops.random.random_uniform", lambda key, shape: np.zeros(shape))
    assert TABLE["dropout"](np.ones(3), KEY, rate=0.0).tolist() == [1.0, 1.0, 1.0]


def test_what_is_gathered_is_promised_in_its_own_type():

    g, x, indices = Spec((7, 4), "float32"), Spec((5, 4), "float64"), Spec((7, 1), "int64")
    attributes = {"axes": (0,), "at": 0}
    assert TABLE["gather_vjp"].infer([g, x, indices], attributes) == [Spec((5, 4), "float32")]
    with pytest.raises(errors.ShapeError, match="do not hold one position"):
        TABLE["gather"].infer([x, Spec((7, 2), "int64")], attributes)


def test_a_mask_that_does_not_fit():
    mask, x = Spec((3,), "bool"), Spec((5, 4), "float32")
    with pytest.raises(errors.ShapeError, match="does not fit the axes"):
        TABLE["mask_coordinates"].infer([mask, x], {"axis": 0})


@pytest.mark.parametrize("name", ["dropout", "dropout_vjp"])
def test_dropout_keeps_what_lies_at_the_rate(name, backend):
    u = TABLE["random_uniform"](KEY, shape=(64,))
    x = backend.array(np.ones(64, np.float32))
    y = backend.function(TABLE[name])(x, backend.array(KEY), rate=float(u[5]))
    assert (backend.numpy(y) != 0).tolist() == (u >= u[5]).tolist()


def test_the_formulas_take_plain_numbers():
    assert TABLE["gelu"](0.0) == 0 and abs(TABLE["gelu"](1.0) - 0.8413447460685429) < 1e-15


def test_two_copies_are_summed_as_well(backend):
    x = backend.array(np.arange(6.0).reshape(2, 3))
    y = backend.function(TABLE["sum_to"])(x, shape=(1, 3))
    assert backend.numpy(y).tolist() == [[3.0, 5.0, 7.0]]
    x = backend.array(np.arange(12.0).reshape(4, 3, 1))
    y = backend.function(TABLE["sum_to"])(x, shape=(1, 1))
    assert backend.numpy(y).tolist() == [[66.0]]
