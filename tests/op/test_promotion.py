"""One rule for types (`refnet.op.promotion`): every op, every pair of types, on both backends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import refnet
from refnet import Graph, Session, activations, placeholder
from refnet import backend as backends
from refnet.autograd.tensor import apply, tensor
from refnet.autograd.variable import Variable
from refnet.base.dtypes import is_float
from refnet.errors import DTypeError
from refnet.op import TABLE
from refnet.op.promotion import promoted
from refnet.op.shapes import Spec
from refnet.proof.judge import all_ops, cases_of, inputs_for

TRITON = pytest.param("triton", marks=pytest.mark.triton)
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
TYPES = ("bool", *INTEGERS, "float16", "float32", "float64", "bfloat16")
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}

# -- every op, every pair ----------------------------------------------------------------------------


def smallest_case(op):
    """The inputs and attributes of the op's case of fewest elements, but two or more."""

    def size(case):
        total = sum(np.size(x) for x in case.make(np.random.default_rng(0)))
        return total if total > 1 else np.inf

    inputs, attributes = inputs_for(op, min(cases_of(op), key=size), "float32")
    return [np.asarray(x) for x in inputs], attributes


def combinations(op, inputs, backend):
    """Types for the inputs of floats: all pairs, or where there is one such input all types."""
    floats = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
    known = [t for t in TYPES if backend == "triton" or t != "bfloat16"]
    if backend == "triton" and (op.primal or op.writes):  # these take floats
        known = ["uint8", "float16", "float32", "float64", "bfloat16"]
    kept = op.primal.outputs[1:] if op.primal else ()
    for pair in itertools.product(known, repeat=min(2, len(floats))):
        types = [str(x.dtype) for x in inputs]
        for place, i in enumerate(floats):
            types[i] = pair[place % 2]
        for i, name in enumerate(op.names(len(inputs))):
            if name in kept:  # what the op itself has saved
                types[i] = promoted(op, types, {})[0]
        yield types


def as_numbers(x, dtype, op):
    """Small numbers that the type holds: fractions, negative ones and whole ones."""
    if x.dtype.kind != "f":
        return x
    n = np.arange(x.size).reshape(x.shape) % 3
    if op.writes:
        return n / 4 + 1 if is_float(dtype) else n + 1
    if is_float(dtype):
        return n - 0.5
    return n - (dtype.startswith("int") and op.name != "power") if dtype != "bool" else n > 0


def stored(values, dtype):
    """As an array of NumPy's, which has no bfloat16: these numbers are numbers of both."""
    return np.asarray(values).astype("float32" if dtype == "bfloat16" else dtype)


def expected(op, values, types, attributes):
    """(types, values) of the results: the formula in float64 on what the rule makes of the inputs."""
    with np.errstate(all="ignore"):
        meet = promoted(op, types, {**op.attributes, **attributes})
        wide = ["float64" if is_float(t) else t for t in meet]
        exact = op.function(
            *[np.array(x).astype(t) for x, t in zip(values, wide, strict=True)], **attributes
        )
    specs = op.infer([Spec(np.shape(x), t) for x, t in zip(values, types, strict=True)], attributes)
    return [s.dtype for s in specs], exact if isinstance(exact, tuple) else (exact,)


def outcome(op, values, types, attributes, backend):
    kinds = [Variable if n in op.writes else tensor for n in op.names(len(values))]
    given = [
        kind(backend.array(stored(x, t), t), backend=backend)
        for kind, x, t in zip(kinds, values, types, strict=True)
    ]
    with np.errstate(all="ignore"):
        results = apply(op, given, attributes)
    results = results if isinstance(results, tuple) else (results,)
    return [(None, None) if y.value is None else (y.dtype, y.numpy()) for y in results]


def complaint(op, inputs, types, attributes, backend):
    """What is wrong, if anything; "refused" if the types are."""
    values = [as_numbers(x, t, op) for x, t in zip(inputs, types, strict=True)]
    try:
        got = outcome(op, values, types, attributes, backend)
    except DTypeError:
        return "refused"
    except Exception as error:
        return f"{types}: {type(error).__name__}: {str(error)[-200:]}"
    wanted, exact = expected(op, values, types, attributes)
    if len(got) != len(exact):
        return f"{types}: {len(got)} results"
    for i, ((dtype, y), kind, right) in enumerate(zip(got, wanted, exact, strict=True)):
        if y is None and right is None:
            continue
        computed = i and dtype == "float32"  # what is kept may be as precise as it was computed
        if dtype != kind and not computed:
            return f"{types}: gives {dtype}, promised {kind}"
        if not is_float(kind):
            if not np.array_equal(y, np.asarray(right).astype(kind)):
                return f"{types}: {y} is not {right}"
            continue
        finite = np.nan_to_num(np.asarray(right), posinf=1, neginf=1)
        met = (kind, *types) if op.writes else (kind,)
        coarsest = max(EPSILON[t] for t in met if is_float(t))
        near = 16 * coarsest * max(1, np.max(np.abs(finite), initial=0))
        with np.errstate(all="ignore"):
            same = np.allclose(np.float64(y), right, rtol=0, atol=near, equal_nan=True)
        if not same:
            return f"{types}: {y} is not {right}"
    return None


def outcome_of_rule(op, types, attributes):
    try:
        return promoted(op, types, {**op.attributes, **attributes})
    except DTypeError:
        return None


@pytest.mark.parametrize("name", ["numpy", TRITON])
@pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
def test_every_pair_of_types(op, name):
    """The type and the values of the rule, or a DTypeError, which floats never are."""
    backend = backends.get(name)
    inputs, attributes = smallest_case(op)
    complaints, tried = [], set()
    for types in combinations(op, inputs, name):
        if name == "triton" or op.primal:  # to see once what the rule makes of the types is enough
            meet = outcome_of_rule(op, types, attributes)
            if meet in tried:
                continue
            tried.add(meet)
        found = complaint(op, inputs, types, attributes, backend)
        if found == "refused" and (op.writes or not all(map(is_float, types))):
            continue
        if found:
            complaints.append(found)
    assert not complaints, "\n".join([f"{len(complaints)} complaints", *complaints])


# -- the rule ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum"])
@pytest.mark.parametrize("a", TYPES[:-1])
def test_arrays_meet_as_in_numpy(name, a):
    op = TABLE[name]
    for b in TYPES[:-1]:
        x, y = np.ones(2, a), np.ones(2, b)
        there = getattr(np, name)(x, y)
        for here in (op(x, y), op(tensor(x), tensor(y)), op(tensor(x), y)):
            assert str(here.dtype) == str(there.dtype), (a, b)
            assert np.array_equal(here, there)


@pytest.mark.parametrize("a", TYPES[:-1])
@pytest.mark.parametrize("number", [True, 2, 0.5])
def test_numbers_of_python_are_weak_as_in_numpy(a, number):
    """But a float makes floatx of integers, and not float64."""
    x = np.ones(2, a)
    there = x * number
    if isinstance(number, float) and not is_float(a):
        there = there.astype("float32")
    for here in (tensor(x) * number, number * tensor(x), TABLE["multiply"](x, number)):
        assert str(here.dtype) == str(there.dtype)
        assert np.array_equal(here, there)


@pytest.mark.parametrize("a", [*INTEGERS, "float32"])
@pytest.mark.parametrize("number", [2.5, -1, 2, 300, 70_000])
def test_comparisons_compare_values(a, number):
    x = np.arange(4).astype(a)
    if (a, number) == ("uint64", -1):  # no type holds both
        with pytest.raises(DTypeError, match="no type holds the integers of both"):
            TABLE["less"](tensor(x), number)
        return
    for here, there in [
        (tensor(x) == number, x == number),
        (tensor(x) < number, x < number),
        (number >= tensor(x), number >= x),
    ]:
        assert here.dtype == "bool" and np.array_equal(here, there)


def test_large_integers_are_told_apart():
    """As floats of 64 bits these two are one number."""
    x, y = tensor(np.array([2**53])), tensor(np.array([2**53 + 1]))
    assert not (x == y).numpy().any()
    with pytest.raises(DTypeError, match="int64 and uint64"):
        TABLE["equal"](x, tensor(np.array([2**53], "uint64")))


def test_a_number_that_the_type_does_not_hold():
    for number in (300, -1):
        with pytest.raises(DTypeError, match=f"{number} is no uint8: these hold 0 to 255"):
            tensor(np.uint8([1])) + number


def test_the_default_type_of_floats_is_asked_for():
    refnet.config.set_floatx("float64")
    try:
        assert (tensor(np.uint8([1])) * 0.5).dtype == "float64"
        assert activations.sigmoid(tensor([1])).dtype == "float64"
    finally:
        refnet.config.set_floatx("float32")
    assert (tensor(np.uint8([1])) * 0.5).dtype == "float32"


def test_bounds_are_told_by_their_types():
    """1 and 1.0 are equal, and yet of two types."""
    x = tensor([0, 5])
    assert x.clip(1, 3).dtype == "int64"
    assert x.clip(1.0, 3.0).dtype == "float32"
    assert x.clip(1, 3).dtype == "int64"


def test_a_cast_is_recorded_and_gradients_flow_back():
    x, w = tensor(np.float32([1, 2])), tensor(np.array([3.0, 4.0]))
    y = (x * w).sum()
    y.backward()
    assert (y.dtype, x.grad.dtype, w.grad.dtype) == ("float64", "float32", "float64")
    assert x.grad.tolist() == [3.0, 4.0] and w.grad.tolist() == [1.0, 2.0]


def test_tensors_of_two_types_do_not_reach_a_function():
    with pytest.raises(
        DTypeError, match="add computes with float64, float64, got float32, float64"
    ):
        backends.get("numpy").function(TABLE["add"])(np.ones(2, "float32"), np.ones(2))


def test_an_update_rule_is_of_floats():
    with pytest.raises(DTypeError, match="sgd updates floats, got theta of int64"):
        apply(TABLE["sgd"], (Variable([1]), tensor([1]), 1))


# -- what was wrong ----------------------------------------------------------------------------------


def beside(x, *arrays):
    return [tensor(a, backend=x.backend) for a in arrays]


BYTES = np.uint8([0, 1, 200])
EXAMPLES = {
    "times a float": (BYTES, lambda x: x * 0.5, np.float32([0, 0.5, 100])),
    "scaled": (BYTES, lambda x: x * (1 / 255), np.float32([0, 1 / 255, 200 / 255])),
    "divided": (BYTES, lambda x: x / 255, np.float32([0, 1 / 255, 200 / 255])),
    "equal": (np.uint8([2]), lambda x: x == 2.5, np.array([False])),
    "root": (BYTES, lambda x: x**0.5, np.sqrt(np.float32(BYTES))),
    "where": (np.float32([1, 3]), lambda x: TABLE["where"](x > 2, x, 0), np.float32([0, 3])),
    "numpy's where": (np.float32([1, 3]), lambda x: np.where(x > 2, x, 0), np.float32([0, 3])),
    "gelu": (np.array([1, 2, 3]), activations.gelu, np.float32([0.8413447, 1.9544997, 2.9959502])),
    "sigmoid": (BYTES, activations.sigmoid, np.float32([0.5, 0.7310586, 1])),
    "softmax": (np.array([0, 0]), TABLE["softmax"], np.float32([0.5, 0.5])),
    "min": (np.array([3, 1, 2]), lambda x: x.min(), np.int64(1)),
    "min of small ones": (np.int8([-3, -1, -2]), lambda x: x.min(), np.int8(-3)),
    "max of small ones": (np.int8([-3, -1, -2]), lambda x: x.max(), np.int8(-1)),
    "argmin": (np.array([3, 1, 2]), lambda x: x.argmin(), np.int64(1)),
    "argmax": (np.array([3, 1, 2]), lambda x: x.argmax(), np.int64(0)),
    "sum of truths": (np.array([True, True]), lambda x: x.sum(), np.int64(2)),
    "sum of bytes": (np.uint8([200, 200]), lambda x: x.sum(), np.uint64(400)),
    "sum beyond 2⁵³": (np.array([2**53, 1]), lambda x: x.sum(), np.int64(2**53 + 1)),
    "mean": (np.array([1, 2]), lambda x: x.mean(), np.float32(1.5)),
    "mean of an axis": (np.array([[[1, 2]]]), lambda x: x.mean(2), np.float32([[1.5]])),
    "joined": (
        np.array([3, 1]),
        lambda x: TABLE["concatenate"](x, *beside(x, np.array([1.5]))),
        np.array([3, 1, 1.5]),
    ),
    "neurons": (
        np.array([[1, 2]]),
        lambda x: TABLE["linear"](x, *beside(x, np.float32([[1.5], [2]]), np.float32([0])))[0],
        np.float32([[5.5]]),
    ),
    "neurons of 64 bits": (
        np.float32([[1, 2]]),
        lambda x: TABLE["linear"](x, *beside(x, np.array([[1e-9 + 1], [2]]), np.float32([0])))[0],
        np.array([[5 + 1e-9]]),
    ),
    "dropped": (
        np.array([4]),
        lambda x: TABLE["dropout"](x, *beside(x, np.array([1, 2])), rate=0.0),
        np.float32([4]),
    ),
    "clipped": (np.array([3, 1, 2]), lambda x: x.clip(1.5, 2.5), np.float32([2.5, 1.5, 2])),
    "padded": (
        np.array([3]),
        lambda x: TABLE["pad"](x, pad_width=((1, 0),), value=0.5),
        np.float32([0.5, 3]),
    ),
}


@pytest.mark.parametrize("name", ["numpy", TRITON])
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples(example, name):
    values, f, right = EXAMPLES[example]
    with refnet.use_backend(name):
        y = f(tensor(values))
    assert y.dtype == str(right.dtype)
    np.testing.assert_allclose(y.numpy(), right, rtol=1e-6 if y.dtype == "float32" else 1e-15)


@pytest.mark.parametrize("name", ["numpy", TRITON])
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_in_a_graph(example, name):
    """A placeholder promises the type that the run gives."""
    values, f, right = EXAMPLES[example]
    with Graph() as graph:
        x = placeholder(values.shape, str(values.dtype))
        y = f(x)
    assert y.dtype == str(right.dtype)
    got = Session(graph, backend=name).run(y, {x: values})
    assert got.dtype == right.dtype
    np.testing.assert_allclose(got, right, rtol=1e-6 if y.dtype == "float32" else 1e-15)
