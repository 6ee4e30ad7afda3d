"""How an op may be called: data and attributes by position or by name, as any function of Python."""

import numpy as np
import pytest

import refnet
from refnet import ops
from refnet.autograd.tensor import Tensor
from refnet.errors import CallError, RefnetError, ShapeError
from refnet.op import TABLE
from refnet.proof.judge import all_ops, cases_of, inputs_for

OPS = list(all_ops())


def each(chosen):
    return pytest.mark.parametrize("op", chosen, ids=lambda op: op.name)


def values_of(results):
    """Results as a list of arrays, whatever they came as."""
    results = results if isinstance(results, tuple) else (results,)
    return [y.numpy() if isinstance(y, Tensor) else np.asarray(y) for y in results]


def by_name(op, inputs):
    """The data of a call as keywords, the last one first."""
    if op.variadic:
        *single, several = op.inputs
        named = dict(zip(single, inputs, strict=False))
        named[several] = list(inputs[len(single) :])
    else:
        named = dict(zip(op.inputs, inputs, strict=True))
    return dict(reversed(named.items()))


def calls(op):
    """For each case: its inputs, made anew where an op writes, and its attributes."""
    for case in cases_of(op):
        inputs, attributes = inputs_for(op, case, "float32")
        yield case.name, lambda inputs=inputs: [np.array(x) for x in inputs], attributes


def assert_same(results, expected, name):
    for y, z in zip(values_of(results), values_of(expected), strict=True):
        np.testing.assert_array_equal(y, z, err_msg=name)


@each(OPS)
def test_data_by_name_is_data_by_position(op):
    with np.errstate(all="ignore"):
        for name, inputs, attributes in calls(op):
            expected = op(*inputs(), **attributes)
            assert_same(op(**by_name(op, inputs()), **attributes), expected, name)
            tensors = [refnet.tensor(x) for x in inputs()]
            results = op(**by_name(op, tensors), **attributes)
            for y in results if isinstance(results, tuple) else (results,):
                assert isinstance(y, Tensor), name
            again = op(*[refnet.tensor(x) for x in inputs()], **attributes)
            assert_same(results, again, name)


@each([op for op in OPS if op.primal is None])
def test_data_by_name_in_a_graph(op):
    with np.errstate(all="ignore"):
        for name, inputs, attributes in calls(op):
            with refnet.Graph() as graph:
                arrays = inputs()
                held = [
                    (refnet.Variable if n in op.writes else refnet.placeholder)(
                        *((x,) if n in op.writes else (x.shape, str(x.dtype)))
                    )
                    for n, x in zip(op.names(len(arrays)), arrays, strict=True)
                ]
                y = op(**by_name(op, held), **attributes)
            feed = {t: x for t, x in zip(held, arrays, strict=True) if not hasattr(t, "trainable")}
            with np.errstate(all="ignore"):
                (found, *_) = values_of(
                    refnet.Session(graph).run(y[0] if isinstance(y, tuple) else y, feed)
                )
            (expected, *_) = values_of(op(*inputs(), **attributes))
            np.testing.assert_array_equal(found, expected, err_msg=name)


@each(OPS)
def test_a_call_that_does_not_fit_names_the_op_and_its_parameters(op):
    _, inputs, attributes = next(iter(calls(op)))
    first = op.inputs[0]
    wrong = {
        "none at all": lambda x: op(),
        "a name nobody knows": lambda x: op(*x, **attributes, nonsense=1),
        "too many": lambda x: op(*x, *range(9)) if not op.variadic else op(),
        "twice": lambda x: op(*x, **{first: x[0]}),
        "the last one missing": lambda x: op(
            **dict(list(by_name(op, x).items())[1:]), **attributes
        ),
    }
    for kind, call in wrong.items():
        for data in (inputs(), [refnet.tensor(x) for x in inputs()]):
            with pytest.raises(CallError) as caught:
                call(data)
            assert isinstance(caught.value, (RefnetError, TypeError))
            message = str(caught.value)
            assert message.startswith(f"{op.name} takes ("), kind
            assert all(name in message for name in (*op.inputs, *op.attributes)), kind


def test_numbers_and_attributes_in_any_order():
    x = refnet.tensor([-2.0, 4.0])
    np.testing.assert_array_equal(ops.prelu(x, alpha=0.25).numpy(), [-0.5, 4.0])
    np.testing.assert_array_equal(ops.prelu(alpha=0.25, x=x).numpy(), [-0.5, 4.0])
    np.testing.assert_array_equal(ops.prelu(0.25 * x, alpha=x).numpy(), [1.0, 1.0])
    np.testing.assert_array_equal(ops.sum(axis=0, x=x).numpy(), 2.0)
    np.testing.assert_array_equal(ops.clip(x, 0.0, maximum=3.0).numpy(), [0.0, 3.0])
    with pytest.raises(CallError, match=r"clip takes \(x, minimum=-inf, .*got minimum twice"):
        ops.clip(x, 0.0, minimum=1.0)


def test_data_by_name_has_a_gradient():
    a, b = refnet.Variable([1.0, 2.0]), refnet.Variable([3.0, 4.0])
    da, db = refnet.gradients(ops.multiply(b=b, a=a).sum(), [a, b])
    np.testing.assert_array_equal(da.numpy(), b.numpy())
    np.testing.assert_array_equal(db.numpy(), a.numpy())


def test_an_axis_after_a_list():
    """np.stack([a, b], 1): attributes by position follow a list of data too."""
    a, b = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    for join, numpys in ((ops.concatenate, np.concatenate), (ops.stack, np.stack)):
        expected = numpys([a, b], 1)
        np.testing.assert_array_equal(join([a, b], 1), expected)
        found = join([refnet.tensor(a), b], 1)
        np.testing.assert_array_equal(found.numpy(), expected)
        np.testing.assert_array_equal(join((refnet.tensor(a), b), axis=1).numpy(), expected)
        with pytest.raises(CallError, match="axis twice"):
            join([a, b], 1, axis=0)
    rows = ops.stack(refnet.tensor([1.0, 2.0]), [3.0, 4.0])
    np.testing.assert_array_equal(rows.numpy(), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(ops.coordinates([0, 1], 1), [[0, 1], [1, 1]])


# -- products of vectors ---------------------------------------------------------------------------

SHAPES = [((3, 4), (4,)), ((4,), (4, 5)), ((4,), (4,)), ((2, 3, 4), (4,)), ((4,), (2, 4, 5))]


@pytest.mark.parametrize(("left", "right"), SHAPES, ids=str)
def test_vectors_are_multiplied_as_in_numpy(left, right):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=left), rng.normal(size=right)
    x, w = refnet.Variable(a), refnet.Variable(b)
    y = x @ w
    assert y.shape == (a @ b).shape
    np.testing.assert_array_equal(y.numpy(), a @ b)
    np.testing.assert_array_equal((a @ w).numpy(), a @ b)
    np.testing.assert_array_equal((x @ b).numpy(), a @ b)
    g = rng.normal(size=y.shape)
    da, db = refnet.gradients(y, [x, w], upstream=g)
    for v, dv, f in ((a, da, lambda a: a @ b), (b, db, lambda b: a @ b)):
        expected = np.zeros_like(v)
        for at in np.ndindex(v.shape):
            step = np.zeros_like(v)
            step[at] = 1e-6
            expected[at] = np.sum(g * (f(v + step) - f(v - step))) / 2e-6
        assert dv.shape == v.shape
        np.testing.assert_allclose(dv.numpy(), expected, rtol=1e-7, atol=1e-8)


def test_vectors_in_a_graph_and_open_lengths():
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 3), name="x")
        v = refnet.placeholder((3,), name="v")
        n = refnet.placeholder((None,), name="n")
        assert (x @ v).shape == (None,)
        assert (v @ v).shape == ()
        assert (n @ x).shape == (3,)
        y = (x @ v).named("y")
        dv = refnet.gradients(y.sum(), [v])[0]
        with pytest.raises(ShapeError, match="rows of 3 numbers meet columns of 4"):
            v @ np.ones(4, "float32")
    rows = np.arange(6, dtype="float32").reshape(2, 3)
    found, gradient = refnet.Session(graph).run([y, dv], {"x": rows, "v": rows[1]})
    np.testing.assert_array_equal(found, rows @ rows[1])
    np.testing.assert_array_equal(gradient, rows.sum(0))


@pytest.mark.parametrize("backend", ["numpy", pytest.param("triton", marks=pytest.mark.triton)])
def test_a_number_is_no_factor_of_a_product(backend):
    with refnet.use_backend(backend):
        x = refnet.tensor(np.ones((2, 2), "float32"))
        for call in (lambda: x @ 2.0, lambda: 2.0 @ x, lambda: x @ x.sum()):
            with pytest.raises(ShapeError, match=r"matmul.* \* multiplies by a number"):
                call()
        with pytest.raises(ShapeError, match="matmul"):
            x @ refnet.tensor(np.ones(3, "float32"))


def test_every_case_of_a_product_is_named_by_its_shapes():
    names = {case.name for case in TABLE["matmul"].cases}
    assert {f"{a} @ {b}" for a, b in SHAPES} <= names
