"""Every row of TABLE: its facts, its bound, its gradient against differences, its accuracy."""

import numpy as np
import pytest

from refnet import backend as backends
from refnet.autograd.backpropagation import gradients
from refnet.autograd.tensor import apply, tensor
from refnet.backend import NumPyBackend
from refnet.base.dtypes import spacing
from refnet.errors import GradientError
from refnet.op import TABLE
from refnet.op.results import as_tuple
from refnet.proof.exact import reference
from refnet.proof.judge import all_ops, cases_of, inputs_for

FORWARD = [op for op in TABLE.values() if op.primal is None]
DIFFERENTIABLE = [op for op in FORWARD if op.gradient]
FLAT = [op for op in FORWARD if not op.gradient]


def each(ops):
    return pytest.mark.parametrize("op", ops, ids=lambda op: op.name)


# -- the facts of a row --------------------------------------------------------------------------


@each(TABLE.values())
def test_a_row_is_complete(op):
    assert any(sign in op.formula for sign in ("=", "←", ": ")), "a formula comes first"
    assert op.error is not None
    assert list(cases_of(op))
    names = [case.name for case in cases_of(op)]
    assert len(set(names)) == len(names), "a case's name says which one failed"
    assert set(op.saves) <= {*op.inputs, *op.outputs}
    assert set(op.wrt) | set(op.writes) <= set(op.inputs)
    for case in cases_of(op):
        assert set(case.attributes) <= set((op.primal or op).attributes), case.name


@each(DIFFERENTIABLE)
def test_a_gradient_takes_what_the_row_saves(op):
    assert op.gradient.inputs == (*op.upstream, *op.saves)
    if not op.variadic:
        assert len(op.gradient.outputs) == len(op.wrt)
    assert set(op.gradient.attributes) - {"wrt"} <= set(op.attributes)
    assert any(case.smooth for case in op.cases)


def moved(inputs):
    """The floats among the inputs a little larger; 0 and all other inputs where they were."""
    return tuple(x * (1 + 1e-6) if x.dtype.kind == "f" else x for x in inputs)


@each(FLAT)
def test_only_flat_ops_and_updates_have_no_gradient(op):
    assert op.wrt == ()
    if op.writes:
        return  # an update rule: what it writes is the end of a step
    for case in op.cases:
        inputs, attributes = inputs_for(op, case, "float64")
        here = reference(op, inputs, attributes)
        # At one number with itself a comparison does jump; `points` compares all with all.
        # At a whole number `floor` does, and numbers so large are whole.
        jumps = case.name == "points" or (op.name, case.name) == ("floor", "extremes")
        there = here if jumps else reference(op, moved(inputs), attributes)
        for y, z in zip(here, there, strict=True):
            assert np.array_equal(y, z, equal_nan=y.dtype.kind == "f"), case.name


@pytest.mark.parametrize("dtype", NumPyBackend.dtypes)
@each(TABLE.values())
def test_the_reference_is_within_its_own_bound(op, dtype, agree):
    agree(op, dtype, backends.get("numpy"))


# -- gradients -----------------------------------------------------------------------------------


def applied(op, inputs, attributes):
    """(the inputs as tensors, the results that gradients flow through)."""
    leaves = [tensor(x) for x in inputs]
    return leaves, through(op, as_tuple(apply(op, leaves, attributes)))


def through(op, results):
    """The differentiable ones among the results."""
    return [y for number, y in enumerate(results) if op.flows_through(number)]


def upstream(op, inputs, attributes):
    """A random ∂L/∂y for each differentiable result y."""
    rng = np.random.default_rng(1)
    return [rng.normal(size=y.shape) for y in through(op, reference(op, inputs, attributes))]


def flows(op, inputs):
    """Which inputs gradients flow to."""
    return [i for i in range(len(inputs)) if op.variadic or op.inputs[i] in op.wrt]


def gradient(op, inputs, attributes, gs):
    """[(which input, ∂(Σ g · y)/∂input)] for the inputs that gradients flow to, by the vjp."""
    leaves, ys = applied(op, inputs, attributes)
    loss = sum((y * g).sum() for y, g in zip(ys, gs, strict=True))
    found = gradients(loss, [leaves[i] for i in flows(op, inputs)])
    return [(i, dx.numpy()) for i, dx in zip(flows(op, inputs), found, strict=True)]


def differences(op, inputs, attributes, gs, i, element, step):
    """(Σ g · (y(x + step) - y(x)), Σ g · (y(x) - y(x - step))), for one element of input i."""

    def y(shift):
        shifted = list(inputs)
        shifted[i] = inputs[i].copy()
        shifted[i][element] += shift
        return through(op, reference(op, tuple(shifted), attributes)), shifted[i][element]

    (low, x_low), (middle, x), (high, x_high) = y(-step), y(0.0), y(step)
    # exactly 0 where y does not depend on it
    right = sum(np.sum(g * (b - a)) for g, a, b in zip(gs, middle, high, strict=True))
    left = sum(np.sum(g * (b - a)) for g, a, b in zip(gs, low, middle, strict=True))
    return right / (x_high - x), left / (x - x_low)


def slope(op, inputs, attributes, gs, i, element):
    """Central differences, freed of their h² term (Richardson); of some step sizes the steadiest.

    The steps are fractions of x, so that no step crosses 0 (kinks, logarithms, powers); where one
    crosses another kink, h and h/2 disagree, and a smaller step is taken.
    """
    estimates = []
    for fraction in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        h = fraction * (np.abs(inputs[i][element]) or 1.0)
        coarse = np.mean(differences(op, inputs, attributes, gs, i, element, h))
        fine = np.mean(differences(op, inputs, attributes, gs, i, element, h / 2))
        if coarse == fine == 0:
            return 0.0
        estimates.append((np.abs(fine - coarse), (4 * fine - coarse) / 3))
        if estimates[-1][0] < 1e-8 * np.abs(fine):
            break
    return min(estimates)[1]


def agrees_with_differences(op):
    """The gradient of an op, on its smooth cases, is that of central differences."""
    checked = 0
    for case in (case for case in op.cases if case.smooth):
        inputs, attributes = inputs_for(op, case, "float64")
        if op is TABLE["cast"]:
            attributes["dtype"] = "float64"  # rounding to float32 is a staircase
        gs = upstream(op, inputs, attributes)
        for i, dx in gradient(op, inputs, attributes, gs):
            assert dx.shape == inputs[i].shape
            expected = np.zeros_like(dx)
            for element in np.ndindex(dx.shape):
                expected[element] = slope(op, inputs, attributes, gs, i, element)
            size = np.maximum(np.abs(expected), np.mean(np.abs(expected))) if dx.size else 1.0
            wrong = np.abs(dx - expected) > 1e-6 * size
            assert not np.any(wrong), (
                f"{case.name}, input {i}: {dx[wrong]} at {np.argwhere(wrong).tolist()}, "
                f"by differences {expected[wrong]}"
            )
            checked += dx.size
    assert checked


@each(DIFFERENTIABLE)
def test_gradient_agrees_with_central_differences(op):
    agrees_with_differences(op)


def test_a_wrong_gradient_is_caught(monkeypatch):
    vjp = TABLE["swish_vjp"]
    right = vjp.function
    monkeypatch.setattr(vjp, "function", lambda g, x: right(g, x) * (1 + 2e-6))
    with pytest.raises(AssertionError, match="by differences"):
        agrees_with_differences(TABLE["swish"])


KINKS = [
    pytest.param(op, kink, id=f"{op.name}-{kink.at}") for op in DIFFERENTIABLE for kink in op.kinks
]


@pytest.mark.parametrize(("op", "kink"), KINKS)
def test_gradient_at_a_kink_follows_its_rule(op, kink):
    inputs = tuple(np.array(x, np.float64) for x in kink.at)
    gs = [np.full(g.shape, 1.5) for g in upstream(op, inputs, kink.attributes)]
    for i, dx in gradient(op, inputs, kink.attributes, gs):
        for element in np.ndindex(dx.shape):
            arguments = op, inputs, kink.attributes, gs, i, element
            coarse, fine = differences(*arguments, 2e-6), differences(*arguments, 1e-6)
            right, left = (2 * b - a for a, b in zip(coarse, fine, strict=True))
            rules = {"left": left, "right": right, "mean": (left + right) / 2}
            assert dx[element] == pytest.approx(rules[kink.rule], abs=1e-7)


POINTWISE = [op for op in DIFFERENTIABLE if op.cases.family == "unary" and op is not TABLE["cast"]]


@each(POINTWISE)
def test_every_kink_is_in_its_row(op):
    stated = {(kink.at[0], str(kink.attributes)) for kink in op.kinks}
    for attributes in ({}, *(case.attributes for case in op.cases if case.name.startswith("{"))):
        for x in (-6.0, -3.0, -0.5, 0.0, 0.5, 3.0, 6.0):
            arguments = op, (np.array(x),), attributes, [np.array(1.0)], 0, ()
            right, left = differences(*arguments, 1e-6)
            bent = 1e-3 < np.abs(right - left) < 1e3  # beyond that it is a jump, not a kink
            known = {(x, str(attributes)), (x, "{}")} & stated
            assert known or not bent, (x, attributes)


def test_the_gradient_of_a_gradient_is_a_clear_error():
    silent = []
    for op in DIFFERENTIABLE:
        smooth = next(case for case in op.cases if case.smooth)
        leaves, (y, *_) = applied(op, *inputs_for(op, smooth, "float64"))
        g = tensor(np.ones(y.shape))
        (dx,) = gradients(y, [leaves[flows(op, leaves)[0]]], upstream=g)
        try:
            gradients(dx, [g])
        except GradientError as error:
            assert f"{op.gradient.name} cannot be differentiated: it is a gradient" in str(error)
        else:
            silent.append(op.name)
    assert not silent


def test_no_part_of_a_second_derivative_is_dropped():
    x = tensor([1.0, 2.0])
    (dx,) = gradients((x * x).sum(), [x])
    with pytest.raises(GradientError, match="multiply_vjp cannot be differentiated"):
        gradients((dx * x).sum(), [x])
    (halved,) = gradients((dx.detach() * x).sum(), [x])
    assert halved.numpy().tolist() == [2.0, 4.0]


# -- accuracy against 100 bits -------------------------------------------------------------------

#: op: (goal in ULP of the result or, if True, of max(|f(x)|, |x|); f in mpmath)
GOALS = {
    "relu": (0, False, lambda mp, x: max(x, 0)),
    "relu6": (0, False, lambda mp, x: min(max(x, 0), 6)),
    "leaky_relu": (1.5, False, lambda mp, x: x if x > 0 else mp.mpf(0.1) * x),
    "softsign": (2, False, lambda mp, x: x / (1 + abs(x))),
    "tanh": (2.5, False, lambda mp, x: mp.tanh(x)),
    "elu": (2.5, False, lambda mp, x: x if x > 0 else mp.expm1(x)),
    "softplus": (2.5, False, lambda mp, x: max(x, 0) + mp.log1p(mp.exp(-abs(x)))),
    "sigmoid": (3, False, lambda mp, x: 1 / (1 + mp.exp(-x))),
    "exponential": (3, False, lambda mp, x: mp.exp(x)),
    "selu": (
        3,
        False,
        lambda mp, x: (
            mp.mpf(1.0507009873554805) * (x if x > 0 else mp.mpf(1.6732632423543772) * mp.expm1(x))
        ),
    ),
    "swish": (4, False, lambda mp, x: x / (1 + mp.exp(-x))),
    "mish": (4, False, lambda mp, x: x * mp.tanh(mp.log1p(mp.exp(x)))),
    "gelu": (4, True, lambda mp, x: x * mp.erfc(-x / mp.sqrt(2)) / 2),
    "hard_sigmoid": (2, False, lambda mp, x: min(max(x + 3, 0), 6) / 6),
}


def accuracy_points(dtype):
    """Near 0, around 1, far out (as far as eˣ is a normal number), and beside every kink."""
    far = {"float32": 87.0, "float64": 708.0}[dtype]
    rng = np.random.default_rng(5)
    sizes = [np.logspace(-30, -1, 60), rng.uniform(0, 8, 120), rng.uniform(8, far, 60), [far]]
    sizes += [[3.0, 6.0], np.nextafter(np.array([3.0, 6.0], dtype), np.array(0, dtype))]
    positive = np.concatenate(sizes).astype(dtype)
    return np.concatenate([positive, -positive])


@pytest.mark.parametrize("dtype", NumPyBackend.dtypes)
@pytest.mark.parametrize("name", GOALS)
def test_accuracy_against_100_bits(name, dtype, mpmath):
    goal, beside_x, f = GOALS[name]
    x = accuracy_points(dtype)
    y = TABLE[name].function(x)
    assert y.dtype == dtype
    with mpmath.workprec(100):
        exact = [f(mpmath, mpmath.mpf(float(v))) for v in x]
        found = [mpmath.mpf(float(v)) for v in y]
        error = np.array([float(abs(a - b)) for a, b in zip(found, exact, strict=True)])
    size = np.array([float(abs(b)) for b in exact])
    ulps = error / spacing(np.maximum(size, np.abs(x)) if beside_x else size, dtype)
    worst = int(np.argmax(ulps))
    assert ulps[worst] <= goal, f"{ulps[worst]:.2f} ULP at x = {x[worst]!r}"


def test_the_accuracy_check_sees_lost_digits(monkeypatch, mpmath):
    naive = lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - np.ones((), x.dtype))  # noqa: E731
    monkeypatch.setattr(TABLE["elu"], "function", naive)
    with pytest.raises(AssertionError, match="ULP at x"):
        test_accuracy_against_100_bits("elu", "float32", mpmath)


@pytest.mark.parametrize("op", [op for op in all_ops() if op.shape_of], ids=lambda op: op.name)
def test_what_counts_by_its_shape_alone(op):
    """Other values in the inputs that the row names as `shape_of` change nothing."""
    for case in cases_of(op):
        inputs, attributes = inputs_for(op, case, "float64")
        names = op.names(len(inputs))
        others = tuple(
            np.full_like(x, np.nan if np.asarray(x).dtype.kind == "f" else 1)
            if name in op.shape_of
            else x
            for name, x in zip(names, inputs, strict=True)
        )
        for y, z in zip(
            reference(op, inputs, attributes), reference(op, others, attributes), strict=True
        ):
            assert np.array_equal(y, z, equal_nan=True), case.name
