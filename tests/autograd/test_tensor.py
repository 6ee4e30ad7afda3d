"""Tensors: making them, arithmetic, gradients, placeholders and plans, on every backend."""

import operator

import numpy as np
import pytest

import refnet
from refnet import config
from refnet.autograd.backpropagation import gradients
from refnet.autograd.creation import arange, ones, zeros
from refnet.autograd.tensor import apply, tensor
from refnet.autograd.variable import Variable
from refnet.backend import registry
from refnet.errors import (
    ArgumentError,
    BackendError,
    DTypeError,
    GradientError,
    NotReadyError,
    ShapeError,
    UnknownNameError,
)
from refnet.graph.graph import Graph, placeholder
from refnet.graph.session import Session
from refnet.op import TABLE
from refnet.plan.plan import Plan
from refnet.proof.judge import cases_of, inputs_for


@pytest.fixture
def here(backend):
    """Tensors are made on each backend in turn."""
    with registry.use_backend(backend):
        yield backend


def close(t, expected):
    np.testing.assert_allclose(t.numpy(), expected, rtol=1e-6, atol=1e-7)


# -- making them ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (1.5, None, "float32"),
        ([1.0, 2.0], None, "float32"),
        ([[1, 2], [3, 4]], None, "int64"),
        (True, None, "bool"),
        (np.float64(1.5), None, "float64"),
        (np.ones(3), None, "float64"),
        (np.ones(3, "float32"), None, "float32"),
        (np.arange(3, dtype="int32"), None, "int32"),
        (np.ones(3), "float32", "float32"),
        ([1, 2], "float64", "float64"),
        ([1.9, -1.9], "int64", "int64"),
    ],
)
def test_dtype_of_a_new_tensor(here, values, dtype, expected):
    t = tensor(values, dtype)
    assert t.dtype == expected
    assert (t.shape, t.ndim, t.size) == (np.shape(values), np.ndim(values), np.size(values))
    np.testing.assert_array_equal(t.numpy(), np.array(values).astype(expected))


def test_floatx_decides_for_python_floats_only(here, monkeypatch):
    monkeypatch.setattr(config, "_floatx", "float32")  # put back afterwards
    refnet.config.set_floatx("float64")
    assert tensor([1.0]).dtype == zeros((2,)).dtype == ones((2,)).dtype == "float64"
    assert tensor(np.ones(2, "float32")).dtype == "float32"
    assert tensor([1]).dtype == "int64"


def test_zeros_ones_arange(here):
    assert zeros((2, 3)).numpy().tolist() == [[0.0] * 3] * 2
    assert ones((2,), "int64").numpy().tolist() == [1, 1]
    assert (arange(3).dtype, arange(3).numpy().tolist()) == ("int64", [0, 1, 2])
    assert (arange(1, 2, 0.25).dtype, arange(1, 2, 0.25).numpy().tolist()) == (
        "float32",
        [1.0, 1.25, 1.5, 1.75],
    )


def test_a_new_tensor_is_a_copy(here):
    array = np.ones(2, "float32")
    t = tensor(array)
    array[0] = 7
    assert t.numpy().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([[1.0, 2.0], [3.0]], ShapeError),
        ("text", DTypeError),
        (["a", "b"], DTypeError),
        ([None], DTypeError),
        ([1 + 2j], DTypeError),
        ({"a": 1}, DTypeError),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(here, values, error):
    with pytest.raises(error):
        tensor(values)


def test_variable_assign_keeps_the_shape(here):
    v = Variable([1.0, 2.0], name="v")
    with pytest.raises(ShapeError, match=r"'v' has shape \(2,\), got \(3,\)"):
        v.assign([1.0, 2.0, 3.0])
    assert v.numpy().tolist() == [1.0, 2.0]
    array = v.value
    v.assign([3, 4])
    assert v.value is array and v.numpy().tolist() == [3.0, 4.0]
    v.assign(np.array([5.0, 6.0]))
    assert (v.dtype, v.numpy().tolist()) == ("float32", [5.0, 6.0])


# -- operators against NumPy ---------------------------------------------------------------------

A = np.array([[1.5, -2.0, 0.25], [3.0, 4.0, -0.5]], "float32")
B = np.array([[2.0, 0.5, 3.0]], "float32")
BINARY = (
    operator.add, operator.sub, operator.mul, operator.truediv,
    operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
)  # fmt: skip


@pytest.mark.parametrize("f", BINARY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("b", [B, 2.0, 2], ids=["row", "float", "int"])
def test_operators(here, f, b):
    right = tensor(b) if isinstance(b, np.ndarray) else b
    for y, expected in ((f(tensor(A), right), f(A, b)), (f(right, tensor(A)), f(b, A))):
        assert y.dtype == str(expected.dtype)
        close(y, expected)


def test_power_product_sign_and_size(here):
    close(tensor(np.abs(A)) ** tensor(B), np.abs(A) ** B)
    close(2.0 ** tensor(A), 2.0**A)
    close(tensor(A) ** 2, A**2)
    close(tensor(A) @ tensor(B.T.copy()), A @ B.T)
    close(-tensor(A), -A)
    close(abs(tensor(A)), abs(A))


def test_numbers_take_the_type_of_the_tensor(here):
    double = tensor(A.astype("float64"))
    assert (double * 2.0).dtype == (2 + double).dtype == "float64"
    assert (tensor(A) * 0.1).dtype == "float32"
    assert (tensor([1, 2]) * 2).dtype == "int64"


KEYS = [0, -1, slice(1), (slice(None), 1), (..., None), (1, slice(0, 3, 2))]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing(here, key):
    close(tensor(A)[key], A[key])


def test_shapes_and_reductions(here):
    t = tensor(A)
    close(t.reshape(3, 2), A.reshape(3, 2))
    close(t.reshape((-1,)), A.reshape(-1))
    close(t.T, A.T)
    close(t.transpose(1, 0), A.T)
    for name in ("sum", "mean", "max", "min"):
        close(getattr(t, name)(axis=1, keepdims=True), getattr(A, name)(axis=1, keepdims=True))
        close(getattr(t, name)(), getattr(A, name)())
    assert t.argmax(axis=1).numpy().tolist() == [0, 1]
    assert t.astype("float64").dtype == "float64"
    assert [row.shape for row in t] == [(3,), (3,)] and len(t) == 2


def test_shapes_that_do_not_fit_name_the_op_and_the_shapes(here):
    with pytest.raises(ShapeError, match=r"(?s)add.*\(2, 3\).*\(2,\)"):
        tensor(A) + tensor([1.0, 2.0])


# -- gradients -----------------------------------------------------------------------------------


def test_a_value_used_many_times_gathers_all_its_gradients(here):
    x = tensor([1.0, -2.0])
    y = x * x + x * 3.0 + x  # dy/dx = 2x + 4
    for _ in range(3):
        y = y + x
    close(gradients(y.sum(), [x])[0], [9.0, 3.0])


def test_shared_sub_expressions(here):
    x = tensor(0.5)
    s = x * x
    t = s * s  # x⁴, where s is used twice, and again at another depth
    close(gradients(t + s * x, [x])[0], 4 * 0.5**3 + 3 * 0.5**2)


def test_backward_twice_is_right_twice(here):
    x, w = tensor([1.0, 2.0]), tensor([3.0, 4.0])
    y = (x * w * w).sum()
    for _ in range(2):
        y.backward()
        close(x.grad, [9.0, 16.0])
        close(w.grad, [6.0, 16.0])


def test_broadcasting_sums_back(here):
    x, row, number = tensor(A), tensor([1.0, 2.0, 3.0]), tensor(2.0)
    found = gradients((x * row * number).sum(), [x, row, number])
    close(found[0], np.broadcast_to([2.0, 4.0, 6.0], (2, 3)))
    close(found[1], A.sum(0) * 2)
    close(found[2], (A * [1.0, 2.0, 3.0]).sum())


def test_gradient_of_indexing(here):
    x = tensor(A)
    y = (x[0] * 2.0).sum() + x[:, 1].sum()
    close(gradients(y, [x])[0], [[2, 3, 2], [0, 1, 0]])


def test_gradients_of_what_was_computed_and_of_what_does_not_matter(here):
    x, other = tensor([1.0, 2.0]), tensor([5.0, 6.0])
    z = x * x
    y = (z * z).sum()
    to_z, to_other, to_itself = gradients(y, [z, other, y])
    close(to_z, [2.0, 8.0])
    assert to_other is None
    close(to_itself, 1.0)
    assert gradients((x > 1.0).astype("float32").sum(), [x]) == [None]


def test_upstream_is_where_the_gradient_starts(here):
    x = tensor([1.0, 2.0])
    y = x * x
    close(gradients(y, [x])[0], [2.0, 4.0])
    close(gradients(y, [x], upstream=tensor([10.0, 100.0]))[0], [20.0, 400.0])
    y.backward(tensor([1.0, 0.0]))
    close(x.grad, [2.0, 0.0])
    with pytest.raises(ShapeError, match=r"upstream has shape \(3,\), but y has shape \(2,\)"):
        gradients(y, [x], upstream=tensor([1.0, 1.0, 1.0]))


def test_several_outputs(here):
    """Gradients flow through the first result; the others are there to be saved."""
    logits, labels = tensor(A), tensor([0, 2])
    loss, _, log_sum = TABLE["sparse_softmax_cross_entropy"](logits, labels)
    p = np.exp(A) / np.exp(A).sum(1, keepdims=True)
    found, to_labels = gradients(loss, [logits, labels])
    close(found, p - np.eye(3)[[0, 2]])
    assert to_labels is None
    with pytest.raises(GradientError, match="'log_sum'"):
        gradients(log_sum, [logits])
    parts = gradients(TABLE["concatenate"](logits, logits * 2.0, axis=1).sum(), [logits])
    close(parts[0], np.full((2, 3), 3.0))


def test_only_the_float_leaves_get_a_gradient(here):
    table, labels = Variable(A), tensor([0, 2])
    TABLE["sparse_softmax_cross_entropy"](table, labels)[0].sum().backward()
    assert table.grad.shape == (2, 3) and labels.grad is None


def test_a_chain_of_100_000_ops():
    x = tensor(np.array(3.0))
    y = x
    for _ in range(99_999):
        y = -y
    assert gradients(y, [x])[0].numpy() == -1.0
    plan = Plan([x], [y])
    assert plan.steps == 99_999
    assert plan(np.array(5.0))[0] == -5.0
    del plan, y  # a recursive clean-up would overflow the stack here


# -- placeholders and plans ----------------------------------------------------------------------


def test_a_placeholder_waits_and_a_plan_runs_it(here):
    x = placeholder((None, 3), name="x")
    w = Variable(B.T.copy())
    y = (x * 2.0) @ w
    (dw,) = gradients(y.sum(), [w])
    assert (x.shape, x.dtype) == ((None, 3), "float32")
    with pytest.raises(NotReadyError):
        y.numpy()
    plan = Plan([x], [y, dw])
    for values in (A, A[:1], A * 3):
        found = [here.numpy(result) for result in plan(here.array(values))]
        np.testing.assert_allclose(found[0], values * 2 @ B.T, rtol=1e-6)
        np.testing.assert_allclose(found[1], (values * 2).sum(0)[:, None], rtol=1e-6)
    w.assign((B.T * 2).tolist())  # variables are read at every run
    np.testing.assert_allclose(here.numpy(plan(here.array(A))[0]), A * 4 @ B.T, rtol=1e-6)


def test_a_plan_needs_its_placeholders(here):
    x, other = placeholder((2,), name="x"), placeholder((2,), name="other")
    with pytest.raises(NotReadyError, match="placeholder 'other"):
        Plan([x], [x + other])


def test_a_plan_of_the_gradient_of_several_inputs(here):
    x, y = placeholder((2,), name="x"), placeholder((2,), name="y")
    joined = TABLE["concatenate"](x, y * y, x)
    plan = Plan([x, y], gradients(joined.sum(), [x, y]))
    found = plan(here.array(A[0, :2]), here.array(A[1, :2]))
    assert [here.numpy(dx).tolist() for dx in found] == [[2.0, 2.0], [6.0, 8.0]]


def owns(backend, value):
    """NumPy gives some results without axes as its scalars: those are its own as well."""
    return type(value) is backend.array_type or (
        backend.name == "numpy" and isinstance(value, np.generic)
    )


@pytest.mark.parametrize("op", TABLE.values(), ids=lambda op: op.name)
def test_a_plan_gives_the_bits_of_eager(op, here):
    """And all that either of them computes is the backend's own."""
    drawn = [inputs_for(op, case, "float32") for case in cases_of(op)]
    small = [pair for pair in drawn if sum(np.size(x) for x in pair[0]) <= 100][:4]
    assert small
    for inputs, attributes in small:

        def fresh(inputs=inputs):
            return [tensor(x, "float32" if x.dtype.kind == "f" else None) for x in inputs]

        with np.errstate(all="ignore"):
            eager = apply(op, fresh(), attributes)
            eager = eager if isinstance(eager, tuple) else (eager,)
            waiting = [placeholder(x.shape, x.dtype) for x in fresh()]
            outputs = apply(op, waiting, attributes)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            planned = Plan(waiting, outputs)(*(x.value for x in fresh()))
        for y, z in zip(eager, planned, strict=True):
            assert owns(here, y.value) and owns(here, z)
            assert here.dtype(z) == y.dtype
            assert y.numpy().tobytes() == here.numpy(z).tobytes()


def test_the_slope_of_a_power_of_zero_exponent_is_zero(here):
    """x⁰ is 1 for every x, at 0 too: eagerly and in a session."""
    points = [0.0, -0.0, 2.0, np.inf]
    x = tensor(points)
    assert gradients((x**0.0).sum(), [x])[0].numpy().tolist() == [0.0] * 4
    with Graph() as graph:
        x, b = placeholder((4,)), placeholder((4,))
        slopes = gradients((x**b).sum(), [x])[0]
    with Session(graph) as session:
        found = session.run(slopes, {x: points, b: [0.0] * 4})
    assert np.asarray(found).tolist() == [0.0] * 4


@pytest.mark.parametrize("op", [op for op in TABLE.values() if op.writes], ids=lambda op: op.name)
def test_what_is_no_variable_is_not_written_into(op, here):
    """A tensor may have been read: what is written is a copy of it, and the results are the same."""
    inputs, attributes = inputs_for(op, next(iter(cases_of(op))), "float32")
    given = [tensor(x, "float32") for x in inputs]
    before = [x.numpy().tobytes() for x in given]
    made = op(*given, **attributes)
    assert [x.numpy().tobytes() for x in given] == before
    overwritten = op(*[Variable(x, "float32") for x in inputs], **attributes)
    for y, z in zip(
        *(t if isinstance(t, tuple) else (t,) for t in (made, overwritten)), strict=True
    ):
        assert y.numpy().tobytes() == z.numpy().tobytes()


def through_steps(x, w, dtype):
    """(y, the gradients with respect to x, to x rounded, and to w, which x rounded multiplies)"""
    steps = x.astype(dtype)
    y = (steps.astype("float32") * w).sum()
    return y, *gradients(y, [x, steps, w])


@pytest.mark.parametrize("dtype", ["int64", "int8", "bool"])
def test_no_gradient_flows_through_what_changes_in_steps(dtype, here):
    x, w = tensor([1.5, 0.5]), tensor([2.0, 3.0])
    y, dx, dsteps, dw = through_steps(x, w, dtype)
    rounded = np.array([1.5, 0.5]).astype(dtype).astype("float32").tolist()
    assert dx is None and dsteps is None and dw.numpy().tolist() == rounded
    y.backward()
    assert x.grad is None and w.grad.numpy().tolist() == rounded
    with Graph() as graph:
        x, w = (placeholder((2,), name=name) for name in "xw")
        _, dx, dsteps, dw = through_steps(x, w, dtype)
    assert dx is None and dsteps is None
    with Session(graph) as session:
        found = session.run(dw, {x: [1.5, 0.5], w: [2.0, 3.0]})
    assert np.asarray(found).tolist() == rounded


OF_FLOATS_ALONE = {"power", "matmul"}  # on Triton
DIFFERENTIABLE = [
    op for op in TABLE.values() if op.gradient and op.wrt and op.name not in OF_FLOATS_ALONE
]


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_gradients_are_floats_and_those_of_floats(op, here):
    """Whatever a float is computed from: no gradient is rounded to the integers it would flow to."""
    inputs, attributes = inputs_for(op, next(c for c in op.cases if c.smooth), "float32")
    whole = [tensor(np.rint(x), "int64") for x in inputs]
    given = [x if x.ndim else x.astype("float32") for x in whole]
    with np.errstate(all="ignore"):
        y = apply(op, given, attributes)
        y = y[0] if isinstance(y, tuple) else y
        assert gradients(y, [x for x in whole if x.ndim]) == [None for x in whole if x.ndim]


# -- two backends --------------------------------------------------------------------------------


def test_two_backends_do_not_mix():
    x, y = tensor([1.0], backend="numpy"), tensor([1.0], backend="loopback")
    for mixed in (lambda: x + y, lambda: TABLE["where"](x > 0.0, x, y)):
        with pytest.raises(BackendError, match="numpy and loopback"):
            mixed()
    with pytest.raises(BackendError, match=r"(?s)numpy.*loopback"):
        y + np.ones(1, "float32")
    assert (y + np.float32(1)).numpy().tolist() == [2.0]
    assert (y + tensor(x, backend="loopback")).numpy().tolist() == [2.0]


def test_gradients_stay_on_their_backend(here):
    x = tensor(A)
    for name in ("sigmoid", "softmax", "square"):
        (dx,) = gradients(TABLE[name](x).sum(), [x])
        assert dx.backend is here
        assert owns(here, dx.value)


def test_the_environment_names_the_backend(monkeypatch):
    for name, answer in (("loopback", "loopback"), (None, "numpy")):
        registry._current.set(None)
        if name:
            monkeypatch.setenv("REFNET_BACKEND", name)
        else:
            monkeypatch.delenv("REFNET_BACKEND")
        assert tensor([1.0]).backend.name == answer
    registry._current.set(None)
    monkeypatch.setenv("REFNET_BACKEND", "nunpy")
    with pytest.raises(UnknownNameError, match="did you mean 'numpy'"):
        tensor([1.0])


def test_gradients_of_one_tensor():
    x = tensor(A)
    close(gradients((x * x).sum(), x), 2 * A)


def test_a_placeholder_has_no_size_and_many_elements_are_not_one_truth():
    waiting = placeholder((None, 3), name="pixels")
    for ask in (len, lambda t: t.size):
        with pytest.raises(NotReadyError, match="pixels"):
            ask(waiting)
    with pytest.raises(ShapeError, match="neither true nor false"):
        bool(tensor(A))


def test_a_product_of_a_matrix_and_a_vector(here):
    np.testing.assert_array_equal((tensor(A) @ tensor(A[0])).numpy(), A @ A[0])
    np.testing.assert_array_equal((tensor(A[0]) @ tensor(A[0])).numpy(), A[0] @ A[0])
    with pytest.raises(ShapeError, match="matrices or vectors"):
        tensor(A) @ 2.0


# -- variables that change -----------------------------------------------------------------------


def test_a_gradient_of_values_that_are_gone_is_an_error():
    """In place of 2 · 5, which is neither the old gradient nor the new one."""
    v = Variable(2.0, name="v")
    y = v * v
    assert gradients(y, v).item() == 4
    v.assign(5.0)
    with pytest.raises(GradientError, match="multiply read variable 'v', which has been assigned"):
        gradients(y, v)
    assert gradients(v * v, v).item() == 10


def test_changes_that_no_gradient_looks_at():
    v = Variable([2.0, 3.0], name="v")
    y = (v + 1.0).sum()  # of v, the gradient needs the shape alone
    v.assign([5.0, 5.0])
    assert gradients(y, v).numpy().tolist() == [1, 1]
    z = TABLE["exp"](v)
    v.assign([0.0, 0.0])  # the gradient of exp needs the result, which is still there
    assert np.allclose(gradients(z.sum(), v).numpy(), np.exp(5))


def test_an_update_counts_as_a_change():
    v = Variable([2.0], name="v")
    y = v * v
    refnet.optimizers.SGD(0.5).apply_gradients([([1.0], v)])
    with pytest.raises(GradientError, match="which has been assigned since"):
        gradients(y, v)


def test_variables_keep_their_type():
    v = Variable([1, 2], name="v")
    with pytest.raises(DTypeError, match="variable 'v' holds int64, got float32"):
        v.assign([1.5, 2.5])
    assert v.numpy().tolist() == [1, 2]
    w = Variable([1.0, 2.0])
    assert w.assign(np.array([3, 4])).dtype == "float32"
    assert w.assign(np.array([3.5, 4.5])).numpy().tolist() == [3.5, 4.5]


def test_as_python_numbers():
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.tolist() == [[1, 2], [3, 4]]
    assert f"{x.sum():.2f}" == "10.00"
    assert f"{x}" == str(x)
    with pytest.raises(
        ShapeError, match=r"item\(\) is for one element, the tensor has shape \(2, 2\)"
    ):
        x.item()


def test_gradients_are_those_of_tensors():
    x = tensor(1.0)
    for y, xs in ((3.0, [x]), (x * x, [3.0])):
        with pytest.raises(ArgumentError, match=r"with respect to tensors, got 3\.0"):
            gradients(y, xs)


def test_a_list_of_arrays_is_several_arrays():
    a, b = tensor([1.0]), tensor([2.0, 3.0])
    assert TABLE["concatenate"]([a, b]).tolist() == TABLE["concatenate"](a, b).tolist() == [1, 2, 3]
    assert TABLE["stack"]([np.ones(2), np.zeros(2)], axis=1).shape == (2, 2)


def test_types_that_do_not_go_together():
    yes = tensor([True])
    with pytest.raises(DTypeError, match=r"subtract: .*\(inputs of type bool, bool\)"):
        yes - yes


def test_the_values_of_a_tensor_are_to_be_read_only():
    x = tensor([2.0, 3.0])
    y = (x * x).sum()
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 10
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(x)[0] = 10
    np.array(x)[0] = 10
    assert gradients(y, x).tolist() == [4, 6]


def test_a_variable_is_not_changed_by_operators_of_python():
    w = kept = Variable(1.0)
    with pytest.raises(ArgumentError, match="assign_add"):
        w += 1.0
    assert w is kept


def test_integers_that_do_not_fit():
    for make in (
        lambda: tensor([2**40], "int32"),
        lambda: tensor([-1], "uint8"),
        lambda: Variable([1], "int32").assign([2**40]),
    ):
        with pytest.raises(DTypeError, match=r"is no u?int\d+: these hold"):
            make()
