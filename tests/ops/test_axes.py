"""Axes, counted from the front and from the end; axes that are empty, or taken away."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import refnet
from refnet.op import TABLE

ONE, PAIRS = (0, 1, 2), ((0, 1), (2, 0), (1, 2))

#: an index is made of these, whose axes are never counted from the end
OF_INDICES = "gather", "mask_coordinates"


def _takes_several(op):
    return any(isinstance(case.attributes.get("axis"), tuple) for case in op.cases)


AXES = {
    name: (*ONE, *PAIRS) if _takes_several(op) else ONE
    for name, op in TABLE.items()
    if "axis" in op.attributes and not op.primal and name not in OF_INDICES
} | {"transpose": tuple(itertools.permutations(ONE))}

RNG = np.random.default_rng(7)

X, Y = RNG.normal(0, 1, (6, 3)), RNG.normal(0, 1, (6, 1))


def test_an_empty_axis_is_split():
    assert [part.shape for part in refnet.zeros((2, 0)).split(3, 1)] == [(2, 0)] * 3


def test_one_end_is_enough_to_clip(backend):
    with refnet.use_backend(backend):
        x = refnet.tensor([-3.0, 0.5, 3.0])
    assert x.clip(maximum=2.0).numpy().tolist() == [-3.0, 0.5, 2.0]
    assert x.clip(minimum=-2.0).numpy().tolist() == [-2.0, 0.5, 3.0]
    assert x.clip().numpy().tolist() == [-3.0, 0.5, 3.0]


def test_all_ops_with_axes_are_tried():
    having = {n for n, op in TABLE.items() if {"axis", "axes"} & {*op.attributes} and not op.primal}
    assert having == {*AXES, *OF_INDICES}
    assert {name for name in AXES if len(AXES[name]) > 3} >= {"sum", "mean", "max", "min"}


@pytest.mark.parametrize(
    ("name", "axes"),
    [(name, axes) for name in AXES for axes in AXES[name]],
    ids=lambda what: str(what).replace(" ", ""),
)
def test_an_axis_is_the_same_from_either_end(name, axes, backend):
    """Where all axes have one length, nothing but their numbers tells them apart."""
    op, one = TABLE[name], isinstance(axes, int)
    arrays = np.random.default_rng(3).normal(0, 1, (2 if op.variadic else 1, 3, 3, 3))
    inputs = [refnet.tensor(x, "float32", backend=backend) for x in arrays]
    spelt = [(axis, axis - (4 if name == "stack" else 3)) for axis in ((axes,) if one else axes)]
    found = []
    for each in itertools.product(*spelt):
        y = op(*inputs, **{"axes" if "axes" in op.attributes else "axis": each[0] if one else each})
        values = np.arange(float(y.size)).reshape(y.shape)
        upstream = refnet.tensor(values, "float32", backend=backend)
        gs = refnet.gradients(y, inputs, upstream) if op.gradient else []
        found.append([t.numpy() for t in (y, *gs)])
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "std", "argmax", "argmin"])
def test_reductions_take_an_axis_away(name):
    t = refnet.tensor(X)
    assert getattr(t, name)(axis=0).shape == getattr(np, name)(X, axis=0).shape == (3,)
    assert getattr(t, name)().shape == ()
    if not name.startswith("arg"):
        assert getattr(t, name)(axis=1, keepdims=True).shape == (6, 1)
