"""Variables: what may be assigned, and where they belong."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet.errors import (
    ArgumentError,
    ShapeError,
)


@pytest.mark.parametrize("values", [[9.0], [[9.0]], [1.0, 2.0, 3.0, 4.0], []])
def test_a_weight_keeps_its_shape_where_a_graph_leaves_it_open(values):
    with refnet.Graph() as graph:
        x = refnet.placeholder((None,) * np.ndim(values))
        w = refnet.Variable([1.0, 2.0, 3.0])
        if np.ndim(values) == 2:
            with pytest.raises(ShapeError, match="has shape"):
                w.assign(x)
            return
        w.assign(x).named("a")
    with refnet.Session(graph) as session:
        with pytest.raises(ShapeError):
            session.run("a", {x: values})
        np.testing.assert_array_equal(session.run(w), [1, 2, 3])
        np.testing.assert_array_equal(session.run("a", {x: [4.0, 5.0, 6.0]}), [4, 5, 6])


@pytest.mark.parametrize("change", ["+=", "-=", "*=", "/=", "//=", "%=", "**=", "@="])
def test_a_variable_stays_one(change):
    names = {"w": refnet.Variable([1.0, 2.0])}
    with pytest.raises(ArgumentError, match="assign"):
        exec(f"w {change} 2", names)
    assert isinstance(names["w"], refnet.Variable)


def test_a_variable_is_of_the_innermost_graph():
    with refnet.Graph() as outer, refnet.Graph() as inner:
        w = refnet.Variable([1.0])
    assert w.graph is inner and w.graph is not outer


@pytest.mark.parametrize("backend", ["loopback", "numpy"])
def test_values_of_another_backend_are_assigned(backend):
    w = refnet.Variable([1.0, 2.0], backend=backend)
    for other in ("numpy", "loopback"):
        w.assign(refnet.tensor([3.0, 4.0], backend=other))
        np.testing.assert_array_equal(w.numpy(), [3, 4])
        w.assign([0.0, 0.0])


def test_numbers_of_other_types_are_rounded_to_that_of_the_variable():
    w = refnet.Variable([1.0, 2.0])
    for values in ([3, 10**18], [0.1, -1e-50]):
        w.assign(np.array(values))
        np.testing.assert_array_equal(w.numpy(), np.float32(values))
