"""Inputs whose shapes do not fit: every op refuses them on every backend, or gives the same on all."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from refnet import Graph, Session, placeholder
from refnet import backend as backends
from refnet.autograd.tensor import apply, tensor
from refnet.autograd.variable import Variable
from refnet.errors import DataError, DTypeError, RefnetError, ShapeError
from refnet.op import TABLE
from refnet.op.fitting import MOST, Fitted
from refnet.proof.judge import all_ops, cases_of, differences, inputs_for, tolerances

TRITON = pytest.param("triton", marks=pytest.mark.triton)
SEVERAL = [op for op in all_ops() if len(op.inputs) > 1 or op.variadic]
SMALL = 150  # elements of a case: what fits or not is no matter of size


def small_cases(op, count=3):
    """(inputs, attributes) of some cases of an op, of as many numbers of axes as there are."""
    found = {}
    for case in cases_of(op):
        inputs, attributes = inputs_for(op, case, "float32")
        inputs = [np.asarray(x) for x in inputs]
        if 0 < sum(x.size for x in inputs) <= SMALL:
            kind = tuple(x.ndim for x in inputs), tuple(attributes)
            found.setdefault(kind, (inputs, attributes))
    return list(found.values())[:count]


def altered(x):
    """x in other shapes: an axis longer, shorter, of one element or none, one more, one less."""
    for axis in range(x.ndim):
        yield np.concatenate([x, x], axis)
        for n in (0, 1, x.shape[axis] - 1):
            if 0 <= n < x.shape[axis]:
                yield np.take(x, range(n), axis)
        if x.shape[axis]:
            yield np.take(x, 0, axis)
    yield x[None]
    yield np.stack([x, x])
    yield x[..., None]


def misfits(op):
    """Inputs of `op`, one of them of another shape than it should have, and the attributes."""
    for inputs, attributes in small_cases(op):
        for place, x in enumerate(inputs):
            for other in altered(x):
                yield [*inputs[:place], other, *inputs[place + 1 :]], attributes


def placed(backend, x):
    return backend.array(x, "float32" if x.dtype.kind == "f" else None)


def outcome(run):
    """The results as arrays, or the error."""
    try:
        with np.errstate(all="ignore"):
            return run()
    except RefnetError as error:
        return error


def direct(op, name, inputs, attributes):
    """The outcome of an op on a backend, applied to tensors."""
    backend = backends.get(name)
    given = [placed(backend, x) for x in inputs]
    kinds = [Variable if n in op.writes else tensor for n in op.names(len(given))]

    def run():
        leaves = [kind(x, backend=backend) for kind, x in zip(kinds, given, strict=True)]
        results = apply(op, leaves, attributes)
        results = results if isinstance(results, tuple) else (results,)
        return [None if y.value is None else y.numpy() for y in results]

    return outcome(run)


def complaint(op, attributes, inputs, ours, theirs):
    """What is wrong, if two outcomes are not the same."""
    shapes = [x.shape for x in inputs]
    if isinstance(ours, Exception) or isinstance(theirs, Exception):
        if type(ours) is type(theirs):
            return None
        ours, theirs = (
            f"{type(x).__name__}: {x}" if isinstance(x, Exception) else [np.shape(y) for y in x]
            for x in (ours, theirs)
        )
        return f"{shapes} {attributes}: numpy {ours}, triton {theirs}"
    exact = [None if y is None else np.float64(y) for y in ours]
    with np.errstate(all="ignore"):
        bounds = tolerances(op, tuple(inputs), attributes, tuple(exact), "float32")
    for y, z, bound in zip(exact, theirs, bounds, strict=True):
        if (y is None) != (z is None) or np.shape(y) != np.shape(z):
            return f"{shapes} {attributes}: numpy {np.shape(y)}, triton {np.shape(z)}"
        if y is not None and np.max(differences(z, y, 2 * bound + 1e-12)[1], initial=0) > 1:
            return f"{shapes} {attributes}: numpy {y}, triton {z}"
    return None


@pytest.fixture
def guarded():
    """A load or store beside the tensors of its launch is an error."""
    with backends.get("triton").poisoned():
        yield


@pytest.mark.triton
@pytest.mark.parametrize("op", SEVERAL, ids=lambda op: op.name)
def test_shapes_that_do_not_meet(op, guarded):
    """The same numbers on both backends, or the same error on both."""
    complaints, tried = [], 0
    for inputs, attributes in misfits(op):
        ours, theirs = (direct(op, name, inputs, attributes) for name in ("numpy", "triton"))
        tried += 1
        complaints.append(complaint(op, attributes, inputs, ours, theirs))
    complaints = [c for c in complaints if c]
    assert tried and not complaints, "\n".join(complaints)


def open_placeholder(x):
    dtype = "float32" if x.dtype.kind == "f" else str(x.dtype)
    return placeholder((None,) * x.ndim, dtype)


@pytest.mark.triton
@pytest.mark.parametrize("op", [op for op in SEVERAL if not op.writes], ids=lambda op: op.name)
def test_shapes_that_do_not_meet_in_a_session(op, guarded):
    """The lengths are open when the graph is written: only the run knows that they do not fit."""
    complaints, tried = [], 0
    for inputs, attributes in misfits(op):
        with Graph() as graph:
            try:
                xs = [open_placeholder(x) for x in inputs]
                results = apply(op, xs, attributes)
            except RefnetError:
                continue
        tried += 1
        results = results if isinstance(results, tuple) else (results,)
        feeds = {p: x.astype(p.dtype) for p, x in zip(xs, inputs, strict=True)}
        ours, theirs = (
            outcome(lambda name=name: Session(graph, backend=name).run(list(results), feeds))  # noqa: B023
            for name in ("numpy", "triton")
        )
        complaints.append(complaint(op, attributes, inputs, ours, theirs))
    complaints = [c for c in complaints if c]
    assert not complaints, "\n".join(complaints)
    if not tried:
        pytest.skip("its attributes hold lengths: no graph of open ones can be written")


# -- the samples by name -----------------------------------------------------------------------------

X, W, B = np.ones((4, 3), "float32"), np.ones((3, 4), "float32"), np.ones(4, "float32")


@pytest.mark.parametrize("name", ["numpy", "loopback", TRITON])
@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("linear", (X, W, B[:2])),
        ("linear", (X, W, B[:1])),
        ("mean_squared_error", (X, X[:1])),
        ("softmax_cross_entropy", (X, X[:1])),
        ("sparse_softmax_cross_entropy", (X, np.array([0, 1]))),
        ("sparse_softmax_cross_entropy", (X, np.zeros((4, 3), int))),
        ("softmax_vjp", (X, X[0])),
        ("concatenate", (X, X[:, :1])),
        ("stack", (X, X[:1])),
    ],
)
def test_what_was_stretched_or_read_beyond_its_end(op, inputs, name):
    there = backends.get(name)
    with pytest.raises(ShapeError, match=f"^{op}: "):
        there.function(TABLE[op])(*(there.array(x) for x in inputs))


@pytest.mark.parametrize("name", ["numpy", "loopback", TRITON])
@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class(name, label):
    op, there = TABLE["sparse_softmax_cross_entropy"], backends.get(name)
    labels = np.array([0, label, 2, 1])
    logits = tensor(X, backend=there)
    with pytest.raises(DataError, match=f"labels from 0 to 2 for 3 classes, got {label}$"):
        op(logits, tensor(labels, backend=there))
    losses = tensor(X[:, 0], backend=there)
    with pytest.raises(DataError, match=f"got {label}$"):
        op.gradient(losses, logits, tensor(labels, backend=there), losses, losses)
    with pytest.raises(DTypeError, match="labels are integers, got float32"):
        op(logits, tensor(labels.astype("float32"), backend=there))


@pytest.mark.parametrize("name", ["numpy", "loopback", TRITON])
@pytest.mark.parametrize("op", ["random_bits", "random_uniform", "random_normal", "dropout"])
def test_a_key_holds_two_integers(op, name):
    there = backends.get(name)
    key = there.array(np.array([7]))
    inputs = (there.array(X), key) if op == "dropout" else (key,)
    with pytest.raises(ShapeError, match=r"a key holds two integers, got shape \(1,\)"):
        there.function(TABLE[op])(*inputs)


@pytest.mark.parametrize("name", ["numpy", "loopback", TRITON])
@pytest.mark.parametrize(
    "op",
    [op for op in all_ops() if "axis" in op.attributes and not op.primal],
    ids=lambda o: o.name,
)
def test_an_axis_that_is_not_there(op, name):
    there = backends.get(name)
    x = np.ones((3, 4), bool if op.name == "mask_coordinates" else "float32")
    inputs = [tensor(x, backend=there)] * max(1, len(op.inputs))
    for axis in (5, -5):
        with pytest.raises(ShapeError):
            apply(op, inputs, {"axis": axis})


# -- how the rule is asked ---------------------------------------------------------------------------


def test_the_rule_is_asked_once_for_each_combination(monkeypatch):
    asked = []
    op, right = TABLE["add"], TABLE["add"].rule
    monkeypatch.setattr(op, "rule", lambda *given: [asked.append(given), right(*given)][1])
    fitted = Fitted(op, op.function)
    for _ in range(3):
        for dtype in ("float32", "float64"):
            for rows in (2, 3):
                fitted(np.ones((rows, 4), dtype), np.ones(4, dtype))
    assert len(asked) == 4
    for rows in range(MOST + 3):
        fitted._remember((rows,))
    assert len(fitted._known) < MOST


def test_a_fitted_function_keeps_its_signature():
    fitted = backends.get("numpy").function(TABLE["linear"])
    assert inspect.signature(fitted) == inspect.signature(TABLE["linear"].function)
    assert (fitted.__name__, fitted.__doc__) == ("linear", TABLE["linear"].function.__doc__)
    assert "linear of inputs that fit" in repr(fitted)
