"""Sessions: the bits of eager, no op too many, memory given back, variables, errors, two backends."""

import re
import threading
import tracemalloc
from collections import namedtuple

import numpy as np
import pytest

import refnet
from refnet import backend as backends
from refnet.autograd.tensor import apply, tensor
from refnet.autograd.variable import Variable
from refnet.errors import (
    ArgumentError,
    DTypeError,
    GraphError,
    NotReadyError,
    ShapeError,
    UnknownNameError,
)
from refnet.ops import TABLE
from refnet.proof.judge import all_ops, cases_of, inputs_for
from tests.conftest import TRITON


class Counting(backends.NumPyBackend):
    """NumPy, but every call of an op is counted; one op may be planted wrong."""

    name = "counting"
    array_type = type("Nothing", (), {})

    def __init__(self, wrong=None):
        self.calls = []
        self.wrong = wrong or {}

    def function(self, op):
        def call(*inputs, **attributes):
            self.calls.append(op.name)
            return self.wrong.get(op.name, op.function)(*inputs, **attributes)

        return call


@pytest.fixture
def graph():
    with refnet.Graph() as graph:
        yield graph


# -- the same bits ---------------------------------------------------------------------------------


def as_tuple(results):
    return results if isinstance(results, tuple) else (results,)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
def test_eager_and_graph_give_the_same_bits(op, dtype):
    """Every op of TABLE, every case; once with the shapes known beforehand, once with them open."""
    for case in cases_of(op):
        inputs, attributes = inputs_for(op, case, dtype)
        inputs = [np.asarray(x, dtype if np.asarray(x).dtype.kind == "f" else None) for x in inputs]
        with np.errstate(all="ignore"):
            eager = as_tuple(apply(op, [tensor(x) for x in inputs], attributes))
        for shape_of in (np.shape, lambda x: (None,) * np.ndim(x)):
            if op.name == "stack_vjp" and shape_of is not np.shape:
                continue  # how many results there are has to be known
            with refnet.Graph() as graph:
                if op.writes:
                    waiting = [
                        Variable(x)
                        if name in op.writes
                        else refnet.placeholder(shape_of(x), str(x.dtype))
                        for name, x in zip(op.inputs, inputs, strict=True)
                    ]
                else:
                    waiting = [refnet.placeholder(shape_of(x), str(x.dtype)) for x in inputs]
                found = as_tuple(apply(op, waiting, attributes))
            feeds = {
                p: x for p, x in zip(waiting, inputs, strict=True) if not isinstance(p, Variable)
            }
            with np.errstate(all="ignore"):
                results = refnet.Session(graph).run(found, feeds)
            assert len(results) == len(eager)
            for y, z in zip(eager, results, strict=True):
                assert (y.shape, y.dtype) == (z.shape, str(z.dtype))
                assert y.numpy().tobytes() == z.tobytes(), case.name


# -- only what is needed, and no longer than it is needed ------------------------------------------


def test_only_the_needed_ops_run(graph):
    x = refnet.placeholder((3,), name="x")
    y = x + 1.0
    z = y * 2.0
    other = TABLE["exp"](y)
    refnet.gradients(other.sum(), [x])
    backend = Counting()
    session = refnet.Session(graph, backend)
    assert session.run(z, {x: [1, 2, 3]}).tolist() == [4, 6, 8]
    assert backend.calls == ["add", "multiply"]
    backend.calls.clear()
    session.run(z, {y: [5, 5, 5]})  # what is fed need not be computed, nor what it was made from
    assert backend.calls == ["multiply"]


def test_what_depends_on_no_feed_is_computed_once(graph):
    a = TABLE["exp"](tensor([1.0, 2.0]))
    x = refnet.placeholder((2,), name="x")
    backend = Counting()
    session = refnet.Session(graph, backend)
    for _ in range(3):
        session.run(a * x, {x: [1, 1]})
    assert set(backend.calls) == {"multiply"}


def test_memory_is_given_back_during_a_run(graph):
    """A chain of 100 results of 4 MB needs the memory of three at any time, not of a hundred."""
    size = 1_000_000
    x = y = refnet.placeholder((size,), name="x")
    for _ in range(100):
        y = y + 1.0
    session, data = refnet.Session(graph), np.zeros(size, "float32")
    session.run(y[0], {x: data[:size]})
    tracemalloc.start()
    session.run(y[0], {x: data})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 4 * size < peak < 4 * 4 * size


# -- fetches ---------------------------------------------------------------------------------------


def test_results_have_the_form_of_the_fetches(graph):
    x = refnet.placeholder((), name="x")
    y, z = (x + 1.0).named("y"), x * 2.0
    pair = namedtuple("pair", "a b")
    session = refnet.Session(graph)
    found = session.run({"one": y, "more": [z, (y, "y")], "pair": pair(x, "x")}, {"x": 3})
    assert found == {"one": 4, "more": [6, (4, 4)], "pair": pair(3, 3)}
    assert isinstance(found["pair"], pair)
    assert session.run([], {}) == []
    assert session.run(tensor(5.0)) == 5
    with pytest.raises(
        ArgumentError, match="run computes tensors, their names and groups, got int"
    ):
        session.run([y, 3], {x: 1})
    with pytest.raises(UnknownNameError, match="unknown tensor 'q'"):
        session.run("q")


def test_results_are_the_callers_own(graph):
    x = refnet.placeholder((3,), name="x")
    w = refnet.Variable([1.0, 2.0, 3.0])
    c = tensor([7.0, 8.0, 9.0])
    data = np.zeros(3, "float32")
    session = refnet.Session(graph)
    results = session.run([x, x[:2], w, w.reshape(3, 1), c, TABLE["identity"](w), w.T], {x: data})
    for result in results:
        result[...] = -1
    assert data.tolist() == [0, 0, 0]
    assert c.numpy().tolist() == [7, 8, 9]
    assert session.run(w).tolist() == [1, 2, 3]


# -- feeds -----------------------------------------------------------------------------------------


@pytest.fixture
def fed(graph):
    x = refnet.placeholder((None, 3), name="x")
    t = refnet.placeholder((None,), "int64", name="t")
    w = refnet.Variable(np.zeros(3, "float32"), name="w")
    y = (x + w).named("y")
    step = w.assign_add(x.sum(axis=0))
    return refnet.Session(graph), x, t, y, step


def refused(session, fetches, feeds, kind, message):
    before = session.values()
    with pytest.raises(kind, match=message):
        session.run(fetches, feeds)
    after = session.values()
    assert {k: v.tolist() for k, v in before.items()} == {k: v.tolist() for k, v in after.items()}


def test_a_missing_feed(fed):
    session, x, t, y, step = fed
    message = r"lacks a value for\n  'x' of shape \(None, 3\), float32, from test_session"
    refused(session, [y, step], {}, NotReadyError, message)
    refused(session, [y, t], {}, NotReadyError, r"(?s)'t' of shape .*\n  'x' of shape")
    assert session.run(y, {x: [[1, 2, 3]]}).tolist() == [
        [1, 2, 3]
    ]  # what is not needed is not missed


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ([[1, 2]], ShapeError, r"'x' expects shape \(None, 3\), was fed \(1, 2\)"),
        ([1, 2, 3], ShapeError, r"was fed \(3,\)"),
        ([[1, 2], [3]], ShapeError, "ragged"),
        ([["a", "b", "c"]], DTypeError, "'x' expects float32, was fed <U1"),
        ([[None, 1, 2]], DTypeError, "was fed object"),
        (np.ones((1, 3), complex), DTypeError, "was fed complex128"),
    ],
)
def test_a_wrong_feed(fed, value, kind, message):
    session, x, _, y, step = fed
    refused(session, [y, step], {x: value}, kind, message)


def test_more_wrong_feeds(fed):
    session, x, t, y, step = fed
    refused(session, t, {t: [0.5]}, DTypeError, "'t' expects int64, was fed float64")
    refused(session, step, {x: [[1, 2, 3]], 3: 4}, ArgumentError, "tensors or their names, got 3")
    refused(session, step, {x: [[1, 2, 3]], "z": 4}, UnknownNameError, "unknown tensor 'z'")
    refused(session, step, {tensor(1.0): 4}, ArgumentError, "only what waits is fed")
    assert session.run(t, {t: []}).tolist() == []
    assert session.run(y, {x: np.ones((1, 3), "float64")}).dtype == "float32"


def test_numbers_that_do_not_fit(graph):
    i = refnet.placeholder((None,), "int32", name="i")
    v = refnet.Variable([1], "int32", name="v")
    session = refnet.Session(graph)
    for value in (2**40, -(2**40)):
        with pytest.raises(
            DTypeError, match=f"'i' was fed what it cannot hold: {value} is no int32"
        ):
            session.run(i, {i: [value]})
        with pytest.raises(DTypeError, match="'v' was fed what it cannot hold"):
            session.assign(v, [value])
    assert session.run(i, {i: [2**31 - 1]}).tolist() == [2**31 - 1]
    with pytest.raises(ArgumentError, match="feed_dict holds 'i' twice"):
        session.run(i, {i: [1], "i": [2]})


def test_a_session_of_something_else():
    with pytest.raises(ArgumentError, match="a Session runs a Graph, got 'graph'"):
        refnet.Session("graph")
    with pytest.raises(UnknownNameError, match="did you mean 'numpy'"):
        refnet.Session(refnet.Graph(), "nunpy")


def test_the_program_of_a_run(fed):
    session, x, _, y, _ = fed
    assert session.source([y], [x]) == "\n    ".join(
        ["def plan(v0, v1):", "v2 = add(v0, v1)", "return (v2,)"]
    )


def test_tensors_of_another_graph(fed):
    session, x, _, y, _ = fed
    with refnet.Graph():
        other = refnet.placeholder((None, 3), name="other")
    refused(session, other, {}, GraphError, "'other' belongs to another graph")
    refused(
        session, y, {x: [[1, 2, 3]], other: [[1, 2, 3]]}, GraphError, "'other' belongs to another"
    )


def test_an_op_that_fails_is_named_with_its_line(graph):
    a, b = refnet.placeholder((None,), name="a"), refnet.placeholder((None,), name="b")
    with refnet.name_scope("inner"):
        y = a + b  # fails when it runs
    session = refnet.Session(graph)
    assert session.run(y, {a: [1, 2], b: [3, 4]}).tolist() == [4, 6]
    with pytest.raises(
        ShapeError, match=r"(?s)add 'inner/add' failed: .*y = a \+ b  # fails when"
    ) as e:
        session.run(y, {a: [1, 2], b: [3, 4, 5]})
    assert "test_session.py" in str(e.value)


def test_errors_of_the_ops_keep_their_kind(graph):
    logits = refnet.placeholder((None, 3), name="logits")
    labels = refnet.placeholder((None,), "int64", name="labels")
    loss = TABLE["sparse_softmax_cross_entropy"](logits, labels)[0]
    with pytest.raises(
        refnet.errors.DataError, match=r"(?s)labels from 0 to 2 .*in test_session.py"
    ):
        refnet.Session(graph).run(loss, {logits: [[1, 2, 3]], labels: [3]})


# -- variables -------------------------------------------------------------------------------------


def test_sessions_keep_variables_apart(graph):
    w = refnet.Variable([1.0, 2.0], name="w")
    more = w.assign_add([1.0, 1.0])
    a, b = refnet.Session(graph), refnet.Session(graph)
    a.run(more)
    a.run(more)
    b.run(more)
    assert (a.run(w).tolist(), b.run(w).tolist()) == ([3, 4], [2, 3])
    b.assign(w, [7, 7])
    a.assign("w", np.array([8, 8]))
    assert (a.values()["w"].tolist(), b.values()["w"].tolist()) == ([8, 8], [7, 7])
    with pytest.raises(ShapeError, match=r"'w' expects shape \(2,\), was fed \(3,\)"):
        a.assign(w, [1, 2, 3])
    with pytest.raises(ArgumentError, match="only variables are assigned"):
        a.assign(more, [1, 2])
    assert a.values()["w"].tolist() == [8, 8]
    assert w.initial.tolist() == [1, 2]


@pytest.mark.parametrize("name", ["numpy", "loopback", TRITON])
def test_a_variable_from_outside_is_changed_where_it_is(name):
    w = refnet.Variable([1.0, 2.0], name="w")
    with refnet.Graph() as graph:
        x = refnet.placeholder((2,), name="x")
        step = w.assign_add(x)
    session = refnet.Session(graph, name)
    assert session.run(step, {x: [1, 1]}).tolist() == [2, 3]
    assert w.numpy().tolist() == [2, 3]
    w.assign([5.0, 5.0])
    assert session.run(step, {x: [1, 1]}).tolist() == [6, 6]
    session.assign(w, [0, 0])
    assert w.numpy().tolist() == [0, 0]


def test_a_session_that_changes_a_variable_makes_old_gradients_impossible():
    w = refnet.Variable([2.0], name="w")
    y = w * w
    with refnet.Graph() as graph:
        step = w.assign_add(refnet.placeholder((1,), name="x"))
    refnet.Session(graph).run(step, {"x": [1.0]})
    with pytest.raises(refnet.errors.GradientError, match="which has been assigned since"):
        refnet.gradients(y, w)


def test_what_is_read_before_an_update_has_the_old_value(graph):
    w = refnet.Variable([1.0], name="w")
    before = w * 1.0
    step = w.assign(w + 1.0)
    after = w * 1.0
    session = refnet.Session(graph)
    assert session.run([after, step, before, w]) == [2, 2, 1, 2]


def test_a_closed_session(graph):
    w = refnet.Variable(1.0)
    with refnet.Session(graph) as session:
        assert session.run(w) == 1
    with pytest.raises(NotReadyError, match="the session is closed"):
        session.run(w)


def test_threads_share_a_session(graph):
    """A thousand increments of two variables from eight threads: none is lost, none torn."""
    a, b = refnet.Variable(0.0, "float64"), refnet.Variable(np.zeros(10_000))
    x = refnet.placeholder((), "float64", name="x")
    step = refnet.group(a.assign_add(x), b.assign_add(x))
    session, torn = refnet.Session(graph), []

    def work():
        for _ in range(125):
            session.run(step, {x: 1})
            seen, all_seen = session.run([a, b])
            torn.append(np.ptp(all_seen) or all_seen[0] != seen)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.run([a, b[0]]) == [1000, 1000]
    assert len(torn) == 1000
    assert not any(torn)


# -- other backends, and the comparison ------------------------------------------------------------


def small_network():
    x = refnet.placeholder((None, 3), name="x")
    w = refnet.Variable(np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4), name="w")
    h = TABLE["tanh"](x @ w).named("h")
    loss = (h**2.0).mean().named("loss")
    refnet.optimizers.Adam(0.1).minimize(loss)
    return x, w, loss


X = np.linspace(-2, 2, 15, dtype="float32").reshape(5, 3)


@pytest.mark.parametrize("name", ["loopback", TRITON])
def test_the_same_graph_on_another_backend(graph, name):
    x, w, loss = small_network()
    here, there = refnet.Session(graph, "numpy"), refnet.Session(graph, name)
    for _ in range(3):
        a, b = here.run([loss, "train"], {x: X}), there.run([loss, "train"], {x: X})
        assert np.allclose(a[0], b[0], rtol=1e-6)
        assert isinstance(b[0], np.ndarray)
    assert np.allclose(here.run(w), there.run(w), rtol=1e-5)


@pytest.mark.parametrize("name", ["loopback", TRITON])
def test_comparing_backends(graph, name):
    x, w, _ = small_network()
    session = refnet.Session(graph, "numpy")
    found = session.compare(name, feed_dict={x: X})
    assert found.ok, str(found)
    assert [c.op for c in found.ops][:2] == ["matmul", "tanh"]
    assert {"matmul_vjp", "tanh_vjp"} <= {c.op for c in found.ops}
    assert not {"adam", "assign"} & {c.op for c in found.ops}
    if name == "loopback":
        assert found.first_difference is None
        assert "numpy and loopback agree to the last bit" in str(found)
    with_updates = session.compare(name, ["train", w], {x: X})
    assert "adam" in {c.op for c in with_updates.ops}
    assert with_updates.ok, str(with_updates)
    assert session.values()["w"].tolist() == w.initial.tolist()  # nothing was changed


def test_the_first_wrong_op_is_named(graph):
    x, _, _ = small_network()
    wrong = Counting({"tanh": lambda x: np.tanh(x) * np.float32(1.0001)})
    found = refnet.Session(graph, "numpy").compare(wrong, feed_dict={x: X})
    assert not found.ok
    assert found.first_difference.name == "h"
    assert found.first_disagreement is found.first_difference
    assert found.first_disagreement.ratio > 100
    assert 5e-5 < found.first_difference.relative < 2e-4
    blamed = [c.name for c in found.ops if not c.agreement.ok]
    assert blamed == ["h"]  # what follows computes with wrong numbers, but computes right
    assert sum(c.difference > 0 for c in found.ops) > 3
    text = str(found)
    assert re.search(r"first part at 'h', by .*test_session.py:\d+: h = TABLE", text)
    assert "'h' breaks its bound" in text
    assert "DISAGREE" in repr(found)


def test_a_comparison_sees_nan(graph):
    x = refnet.placeholder((3,), name="x")
    _ = TABLE["exp"](x)
    wrong = Counting({"exp": lambda x: np.where(x > 1, np.float32(np.nan), np.exp(x))})
    found = refnet.Session(graph, "numpy").compare(wrong, feed_dict={x: [0, 1, 2]})
    assert found.first_difference.difference == np.inf
    assert not found.ok
