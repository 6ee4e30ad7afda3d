"""Graphs: what building one promises, names, scopes, gradients, training steps, and errors in place."""

import threading

import numpy as np
import pytest

import refnet
from refnet import layers, losses, optimizers
from refnet.errors import (
    ArgumentError,
    DTypeError,
    GradientError,
    GraphError,
    NotReadyError,
    ShapeError,
    UnknownNameError,
)
from refnet.graph.graph import default_graph
from refnet.ops import TABLE


@pytest.fixture
def graph():
    with refnet.Graph() as graph:
        yield graph


# -- shapes and types while building ---------------------------------------------------------------


def test_a_placeholder_knows_its_shape_and_type(graph):
    x = refnet.placeholder((None, 3), name="x")
    assert (x.shape, x.dtype, x.ndim, x.name) == ((None, 3), "float32", 2, "x")
    assert repr(x) == "Tensor(waiting, shape=(None, 3), dtype=float32, name='x')"
    assert graph.placeholders == [x] or graph.placeholders[0] is x


def test_results_have_shapes_before_they_have_values(graph):
    x = refnet.placeholder((None, 8, 8), name="x")
    y = layers.Dense(10, activation="softmax")(layers.Flatten()(x))
    assert (y.shape, y.dtype) == ((None, 10), "float32")
    assert y.argmax(axis=1).dtype == "int64"
    assert (y > 0.5).dtype == "bool"
    assert y.mean().shape == ()
    assert y[2:, ::3].shape == (None, 4)


def test_a_wrong_graph_fails_where_it_is_written(graph):
    x = refnet.placeholder((None, 3))
    w = refnet.Variable(np.ones((4, 2)))
    before = len(graph.entries())
    with pytest.raises(ShapeError) as caught:
        x @ w  # this very line
    assert "matmul: (None, 3) times (4, 2): rows of 3 numbers meet columns of 4" in str(
        caught.value
    )
    assert "test_graph.py:" in str(caught.value)
    assert "x @ w  # this very line" in str(caught.value)
    assert len(graph.entries()) == before


def test_a_wrong_type_fails_where_it_is_written(graph):
    yes = refnet.placeholder((2,), "bool")
    with pytest.raises(DTypeError, match=r"(?s)subtract of bool, bool: .*yes - yes  # here"):
        yes - yes  # here


@pytest.mark.parametrize("shape", [3, "3", (2.5,), (-1,), (True,)])
def test_what_is_no_shape(graph, shape):
    with pytest.raises(
        ShapeError, match=r"the shape, a tuple of lengths and None, like \(None, 3\)"
    ):
        refnet.placeholder(shape)
    assert not graph.placeholders


def test_what_waits_has_no_value(graph):
    x = refnet.placeholder((None,), name="x")
    for use in (x.numpy, x.item, lambda: bool(x[0] > 0), lambda: np.asarray(x), x.detach):
        with pytest.raises(NotReadyError, match="has no value yet: a Session runs its graph"):
            use()
    with pytest.raises(NotReadyError, match="no length yet"):
        len(x)
    with pytest.raises(NotReadyError, match="no size yet"):
        _ = x.size


def test_attributes_that_can_never_fit_are_named_with_their_line(graph):
    x = refnet.placeholder((None, 3), name="x")
    with pytest.raises(ShapeError, match=r"(?s)softmax: axis 4 .*TABLE\[.softmax.\]\(x, axis=4\)"):
        TABLE["softmax"](x, axis=4)
    with pytest.raises(NotReadyError, match="gradients\\(loss, variables\\) are tensors"):
        x.sum().backward()
    for wrong in (None, 3, ""):
        with pytest.raises(ArgumentError, match="a name scope is text"), refnet.name_scope(wrong):
            pass


# -- names and scopes ------------------------------------------------------------------------------


def test_names_are_unique_and_scopes_are_folders(graph):
    x = refnet.placeholder((3,), name="x")
    again = refnet.placeholder((3,), name="x")
    with refnet.name_scope("encoder"):
        a = x + again
        with refnet.name_scope("inner"):
            b = a + x
        c = a + b
    assert [t.name for t in (x, again, a, b, c)] == [
        "x", "x_1", "encoder/add", "encoder/inner/add", "encoder/add_1",
    ]  # fmt: skip
    assert graph["encoder/inner/add"].key == b.key
    with pytest.raises(UnknownNameError, match="did you mean 'encoder/inner/add'"):
        graph["encoder/iner/add"]


def test_further_results_have_numbers(graph):
    x = refnet.placeholder((4, 6), name="x")
    parts = TABLE["stack_vjp"](x, axis=0)
    assert [t.name for t in parts] == [f"stack_vjp{i}" for i in ("", ":1", ":2", ":3")]
    assert graph["stack_vjp:2"].key == parts[2].key
    with pytest.raises(GraphError, match="4 results, so there is no 'stack_vjp:4'"):
        graph["stack_vjp:4"]


def test_named(graph):
    x = refnet.placeholder((3,), name="x")
    y = (x * 2.0).named("twice")
    assert (y.name, graph["twice"].key) == ("twice", y.key)
    assert "multiply" not in graph
    with pytest.raises(GraphError, match="the name 'x' is taken"):
        (x + 1.0).named("x")
    for wrong in ("", "a:b", "a//b", "/a", "a\nb", None):
        with pytest.raises((GraphError, TypeError)):
            (x + 1.0).named(wrong)
    with pytest.raises(ArgumentError, match="only what waits in a graph is named"):
        refnet.tensor(1.0).named("one")


def test_two_graphs_do_not_mix():
    with refnet.Graph():
        x = refnet.placeholder((3,), name="x")
    with refnet.Graph():
        y = refnet.placeholder((3,), name="y")
    with pytest.raises(GraphError, match=r"add got tensors of 2 graphs: 'x', 'y'"):
        x + y


def test_the_default_graph():
    refnet.reset_default_graph()
    first = default_graph()
    x = refnet.placeholder((3,), name="x")
    assert x.graph is first
    with refnet.Graph() as inner:
        assert refnet.placeholder((3,)).graph is inner
        with refnet.Graph() as innermost:
            assert refnet.placeholder((3,)).graph is innermost
        assert refnet.placeholder((3,)).graph is inner
    assert (x + 1.0).graph is first
    refnet.reset_default_graph()
    assert default_graph() is not first


def test_threads_build_graphs_of_their_own():
    made = {}

    def build(number):
        with refnet.Graph() as graph:
            x = refnet.placeholder((2,), name="x")
            for _ in range(200):
                x = x + 1.0
            made[number] = graph

    threads = [threading.Thread(target=build, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(made[n].nodes) for n in range(8)] == [200] * 8


def test_one_graph_built_by_several_threads_has_every_name_once(graph):
    x = refnet.placeholder((2,), name="x")

    def build():
        for _ in range(200):
            _ = x + 1.0

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(graph.nodes) == 800
    assert len({e.name for e in graph.entries() if e.kind == "op"}) == 800


# -- entries ---------------------------------------------------------------------------------------


def test_entries_read_what_stands_before_them(graph):
    x = refnet.placeholder((None, 3), name="x")
    w = refnet.Variable(np.ones((3, 2), "float32"), name="w")
    (refnet.tensor(2.0) * 3.0 * (x @ w)).sum().named("y")
    entries = {e.name: e for e in graph.entries()}
    assert list(entries) == ["x", "w", "constant", "matmul", "multiply", "y"]
    assert entries["constant"].value == 6.0  # computed when it was written: it will not change
    assert entries["multiply"].inputs == ["constant", "matmul"]
    assert entries["w"].trainable
    assert entries["matmul"].outputs == [((None, 2), "float32")]
    assert "test_graph.py" in entries["matmul"].line
    assert "(x @ w)).sum()" in entries["matmul"].line
    assert [e.name for e in graph.entries()] == list(entries)


def test_variables_from_outside_are_read_by_ops_that_run(graph_of_outside):
    graph, _ = graph_of_outside
    kinds = {e.name: e.kind for e in graph.entries()}
    assert kinds == {"x": "placeholder", "w": "variable", "square": "op", "multiply": "op"}


@pytest.fixture
def graph_of_outside():
    w = refnet.Variable(3.0, name="w")
    with refnet.Graph() as graph:
        x = refnet.placeholder((2,), name="x")
        y = TABLE["square"](w) * x  # the square has its value already, and it changes with w
    return graph, (w, x, y)


# -- variables -------------------------------------------------------------------------------------


def test_a_variable_of_a_graph_waits(graph):
    w = refnet.Variable([1.0, 2.0], name="w")
    assert (w.shape, w.dtype, w.value) == ((2,), "float32", None)
    assert w.initial.tolist() == [1.0, 2.0]
    session = refnet.Session(graph)
    more = w.assign_add([1.0, 1.0])
    less = w.assign_sub(more * 0.5)
    assert session.run(w).tolist() == [1.0, 2.0]
    assert session.run(less).tolist() == [1.0, 1.5]
    assert session.run(w).tolist() == [1.0, 1.5]
    with pytest.raises(ShapeError, match="variable 'w' has shape"):
        w.assign([1.0, 2.0, 3.0])


def test_an_eager_variable_counts_too():
    w = refnet.Variable([1.0])
    w.assign_add([2.0])
    w.assign_sub(0.5)
    assert w.numpy().tolist() == [2.5]


# -- gradients and training ------------------------------------------------------------------------


def network(x, t):
    hidden = layers.Dense(5, activation="tanh", name="hidden", kernel_initializer="ones")(x)
    p = layers.Dense(3, activation="softmax", name="output")(hidden)
    return losses.SparseCategoricalCrossentropy()(t, p)


X = np.linspace(-1, 1, 28, dtype="float32").reshape(7, 4)
T = np.arange(7) % 3


def test_the_gradient_of_a_graph_is_a_graph():
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 4), name="x")
        t = refnet.placeholder((None,), "int64", name="t")
        loss = network(x, t)
        found = refnet.gradients(loss, graph.trainable_variables)
    assert [g.shape for g in found] == [(4, 5), (5,), (5, 3), (3,)]
    assert all(g.name.startswith("gradients/") for g in found)
    assert {n.symbol.name for n in graph.nodes} >= {"gradients/hidden/linear_vjp"}
    session = refnet.Session(graph)
    by_graph = session.run(found, {x: X, t: T})
    h, o = layers.Dense(5, activation="tanh"), layers.Dense(3, activation="softmax")
    h.build((None, 4))
    o.build((None, 5))
    for layer, name in ((h, "hidden"), (o, "output")):
        layer.set_weights([session.values()[f"{name}/{part}"] for part in ("kernel", "bias")])
    eager = losses.SparseCategoricalCrossentropy()(T, o(h(X)))
    for a, b in zip(by_graph, refnet.gradients(eager, [*h.weights, *o.weights]), strict=True):
        assert a.tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: optimizers.SGD(0.1),
        lambda: optimizers.SGD(0.1, momentum=0.9),
        lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        lambda: optimizers.RMSprop(0.01),
        lambda: optimizers.Adam(0.01),
    ],
)
def test_minimize_takes_the_steps_of_apply_gradients(optimizer):
    start = np.array([[1.0, -2.0], [0.5, 3.0]], "float32")
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 2), name="x")
        w = refnet.Variable(start, name="w")
        loss = ((x @ w) ** 2.0).mean()
        train = optimizer().minimize(loss)
    session = refnet.Session(graph)
    other, v = optimizer(), refnet.Variable(start)
    for _ in range(4):
        data = np.array([[1.0, 2.0], [3.0, -1.0]], "float32")
        eager = ((refnet.tensor(data) @ v) ** 2.0).mean()
        seen = session.run([loss, train], {x: data})
        assert seen == [eager.item(), None]
        other.apply_gradients([(refnet.gradients(eager, v), v)])
        assert session.run(w).tobytes() == v.numpy().tobytes()


def test_the_learning_rate_of_a_session(graph):
    w = refnet.Variable(5.0, name="w")
    train = optimizers.SGD(0.25).minimize(w * w)
    session = refnet.Session(graph)
    session.assign("sgd/learning_rate", 0.0)
    session.run(train)
    assert session.run([w, "sgd/iterations"]) == [5.0, 1.0]


def test_minimize_draws_new_dropout_masks(graph):
    x = refnet.placeholder((None, 50), name="x")
    y = layers.Dropout(0.5)(x, training=True)
    w = refnet.Variable(1.0, name="w")
    train = optimizers.SGD(0.0).minimize((y * w).sum())
    session, ones = refnet.Session(graph), np.ones((2, 50))
    first, again = session.run(y, {x: ones}), session.run(y, {x: ones})
    assert np.array_equal(first, again)
    session.run(train, {x: ones})
    assert not np.array_equal(first, session.run(y, {x: ones}))


def test_what_minimize_refuses(graph):
    x = refnet.placeholder((None, 2), name="x")
    w = refnet.Variable(np.ones(2, "float32"), name="w")
    sgd = optimizers.SGD()
    with pytest.raises(ShapeError, match=r"sgd: a loss is one number, got shape \(None, 2\)"):
        sgd.minimize(x * w)
    with pytest.raises(GradientError, match="depends on no trainable variable"):
        sgd.minimize(x.sum())
    with pytest.raises(GraphError, match="needs a loss that waits in a graph"):
        sgd.minimize(refnet.tensor(1.0))
    other = refnet.Variable(1.0, name="other")
    with pytest.raises(GradientError, match="'other' has no gradient"):
        sgd.minimize((x * w).sum(), [other])
    assert not graph.groups


def test_weights_of_a_model_outside_are_trained_where_they_are():
    model = refnet.Sequential([layers.Input((4,)), layers.Dense(3)])
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 4), name="x")
        loss = (model(x) ** 2.0).mean()
        train = optimizers.SGD(0.1).minimize(loss)
    before = model.get_weights()[0].copy()
    refnet.Session(graph).run(train, {x: X})
    assert not np.array_equal(before, model.get_weights()[0])


def test_a_model_made_within_a_graph_has_its_own_weights(graph):
    model = refnet.Sequential([layers.Input((4,)), layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(X, X[:, :3], verbose=0)
    assert model.get_weights()[0].shape == (4, 3)
    y = model(refnet.placeholder((None, 4), name="x"))
    assert np.array_equal(refnet.Session(graph).run(y, {"x": X}), model.predict(X))
    assert not graph.variables


def test_a_layer_used_in_a_graph_has_its_weights_in_a_session(graph):
    layer = layers.Dense(3, name="dense")
    layer(refnet.placeholder((None, 4)))
    assert [v.name for v in graph.variables] == ["dense/kernel", "dense/bias"]
    with pytest.raises(NotReadyError, match=r"'dense/kernel'.* a Session runs its graph"):
        layer.get_weights()
    with pytest.raises(NotReadyError, match=r"has its value in a session: session\.assign"):
        layer.set_weights([np.ones((4, 3)), np.ones(3)])


def test_group(graph):
    a, b = refnet.Variable(1.0, name="a"), refnet.Variable(2.0, name="b")
    both = refnet.group(a.assign(10.0 * b), b.assign(5.0 + a), name="both")
    session = refnet.Session(graph)
    assert session.run("both") is None
    assert session.run([a, b]) == [20.0, 25.0]  # in the order in which they were written
    assert session.run({"both": both, "a": a}) == {"both": None, "a": 250.0}
    for wrong in ((), (refnet.tensor(1.0),)):
        with pytest.raises(ArgumentError, match="group takes tensors that wait in one graph"):
            refnet.group(*wrong)


def test_a_long_graph_is_no_deeper_than_a_short_one(graph):
    x = y = refnet.placeholder((), "float64", name="x")
    for _ in range(20_000):
        y = y + x
    (g,) = refnet.gradients(y, [x])
    assert len(graph.entries()) > 40_000
    assert g.shape == ()
