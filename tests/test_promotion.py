"""One rule for types (`refnet.promotion`): every op, every pair of types, the same on both backends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import refnet
from refnet import Graph, Session, activations, placeholder
from refnet import backend as backends
from refnet.agreement import all_ops, cases_of, inputs_for
from refnet.errors import DTypeError, RefnetError
from refnet.op import TABLE
from refnet.promotion import castable, is_float, promoted
from refnet.shapes import Spec
from refnet.tensor import Variable, apply, tensor

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
        exact = op.function(*[np.array(x).astype(t) for x, t in zip(values, wide, strict=True)], **attributes)
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
        coarsest = max(EPSILON[t] for t in (kind, *types) if is_float(t)) if op.writes else EPSILON[kind]
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
        if name == "triton":  # its kernels see what the rule makes of the types: once is enough
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
