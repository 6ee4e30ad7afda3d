"""An op with several differentiable results is proven like any other: its vjp on a gradient for each."""

import numpy as np
import pytest

import refnet
from refnet import backend as backends
from refnet.autograd.backpropagation import gradients
from refnet.autograd.tensor import tensor
from refnet.backend import NumPyBackend
from refnet.check.ops import check
from refnet.op import TABLE
from refnet.proof.judge import cases_of, compare, inputs_for
from tests.op.test_table import agrees_with_differences
from tests.planted import planted


@pytest.fixture(scope="module", autouse=True)
def made():
    with planted() as found:
        yield found


class Wrong(NumPyBackend):
    """NumPy, except that the results of one op go through `fault`."""

    name, array_type = "wrong", type("Array", (np.ndarray,), {})
    dtypes = ("float32", "float64", "float16")

    def __init__(self, op="", fault=None):
        self.op, self.fault = op, fault

    def function(self, op):
        right = op.fitted
        if op.name != self.op:
            return right
        return lambda *inputs, **attributes: self.fault(right, *inputs, **attributes)


def without(number):
    """A gradient that forgets what arrived at one of the results."""

    def fault(right, *inputs, **attributes):
        return right(*(x * 0 if i == number else x for i, x in enumerate(inputs)), **attributes)

    return fault


NAMES = "polar", "products", "growth", "powers", "sums", "lstm_cell"
each = pytest.mark.parametrize("name", [*NAMES, *(f"{name}_vjp" for name in NAMES)])


def judged(op, dtype, backend):
    (case,) = cases_of(op)
    return compare(op, case, dtype, backend)


# -- the judge ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each
def test_every_backend_keeps_the_bounds(name, dtype, backend, agree):
    agree(TABLE[name], dtype, backend)


@each
def test_numpy_keeps_them_in_float16_as_well(name, agree):
    agree(TABLE[name], "float16", backends.get("numpy"))


def test_a_gradient_is_tried_on_one_for_each_result(made):
    (case,) = cases_of(made.polar)
    (gr, gphi, x, y), _ = inputs_for(made.polar.gradient, case, "float32")
    assert gr.shape == gphi.shape == x.shape and not np.array_equal(gr, gphi)
    given, _ = inputs_for(made.polar, case, "float32")
    np.testing.assert_array_equal(given, [x, y])


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_a_backend_that_forgets_one_of_them_is_caught(name, number):
    op = TABLE[name].gradient
    found = judged(op, "float32", Wrong(op.name, without(number)))
    assert not found.ok and found.output.startswith(op.outputs)


def as_computed(*which):
    """Results that were computed in float32 and are not rounded."""

    def fault(right, *inputs, **attributes):
        wide = right(*(x.astype("float32") for x in inputs), **attributes)
        narrow = right(*inputs, **attributes)
        return tuple(
            a if i in which else b for i, (a, b) in enumerate(zip(wide, narrow, strict=True))
        )

    return fault


def test_a_differentiable_result_has_the_type_of_the_inputs(monkeypatch, made):
    unrounded = Wrong("polar", as_computed(1))
    found = judged(made.polar, "float16", unrounded)
    assert found.complaint == "phi has type float32, not float16"
    monkeypatch.setattr(made.polar, "differentiable", ("r",))  # what is kept may be more precise
    assert judged(made.polar, "float16", unrounded).ok
    assert not judged(made.polar, "float16", Wrong("polar", as_computed(0))).ok


def test_float16_is_rounded_in_every_differentiable_result_and_kept_in_no_other(made):
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (3, 2), (3, 2), (4, 8), (2, 8), (8,)]
    inputs = [rng.normal(size=shape).astype("float16") for shape in shapes]
    h, c, gates = made.lstm_cell(*inputs)
    assert (h.dtype, c.dtype, gates.dtype) == ("float16", "float16", "float32")
    leaves = [tensor(x) for x in inputs]
    found = gradients(made.lstm_cell(*leaves)[1], leaves)
    assert {g.dtype for g in found} == {"float16"}
    gh, gc, *_ = found[0].node.inputs
    assert (gh.dtype, gc.dtype) == ("float16", "float16")


# -- central differences -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_agrees_with_central_differences(name):
    agrees_with_differences(TABLE[name])


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_differences_catch_a_gradient_that_forgets_a_result(name, number, monkeypatch):
    vjp = TABLE[name].gradient
    right = vjp.function
    monkeypatch.setattr(vjp, "function", lambda *a, **given: without(number)(right, *a, **given))
    with pytest.raises(AssertionError, match="by differences"):
        agrees_with_differences(TABLE[name])


# -- check and shadow --------------------------------------------------------------------------------


def test_the_check_tries_it(made):
    report = check(["polar", "polar_vjp"], backends=["numpy", "loopback"], seed=4)
    assert {row.status for row in report.rows} == {"pass"} and len(report.rows) == 8
    forgetful = Wrong("polar_vjp", without(1))
    report = check(["polar", "polar_vjp"], ["float32"], [forgetful], seed=4)
    assert [row.status for row in report.rows] == ["pass", "fail"]


def loss(x, y):
    r, phi = TABLE["polar"](x, y)
    return (r * phi).sum() + phi.sum()


def test_a_shadow_sees_both_gradients(tmp_path, monkeypatch):
    x, y = np.random.default_rng(2).normal(size=(2, 4, 5)).astype("float32")
    path = tmp_path / "found.safetensors"
    with refnet.shadow("numpy", "loopback", path=path) as seen:
        leaves = tensor(x), tensor(y)
        gradients(loss(*leaves), leaves)
    assert seen.ops["polar"].checked == seen.ops["polar_vjp"].checked == 1
    assert set(seen.ops["polar_vjp"].worst) == {"numpy", "loopback"}

    loopback = backends.get("loopback")
    right = loopback.function
    own = loopback.array

    def forgets(op):
        function = right(op)
        if op.name != "polar_vjp":
            return function
        return lambda gr, gphi, x, y: function(gr, own(np.zeros(gphi.shape, "float32")), x, y)

    monkeypatch.setattr(loopback, "function", forgets)
    with (
        pytest.raises(refnet.shadow.Disagreement, match="loopback disagrees") as error,
        refnet.shadow("numpy", "loopback", path=path),
    ):
        gradients(loss(*leaves), leaves)
    assert error.value.judged.op == "polar_vjp"
    assert len(refnet.shadow.replay(path).call.values) == 4


def test_the_types_a_shadow_allows(made):
    """φ is differentiable and has the type of the inputs; the gates are kept as they were computed."""
    from refnet.check.shadow import Call

    x, y = np.random.default_rng(2).normal(size=(2, 9)).astype("float16")
    backend = Wrong()
    call = Call.of(backend, made.polar, (x, y), {})
    r, phi = made.polar.fitted(x, y)
    wide = made.polar.fitted(x.astype("float32"), y.astype("float32"))
    assert call.judge(backend, (x, y), (r, phi)).ok
    assert "phi has type float32" in call.judge(backend, (x, y), (r, wide[1])).complaint
    assert "r has type float32" in call.judge(backend, (x, y), (wide[0], phi)).complaint
