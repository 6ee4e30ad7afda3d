"""Ops with several results that gradients flow through: an LSTM returns h and c."""

import numpy as np
import pytest

import refnet
from refnet import backend as backends
from refnet import ops
from refnet.autograd.backpropagation import gradients
from refnet.autograd.context import recording
from refnet.autograd.tensor import recorded, tensor
from refnet.errors import GradientError, ShapeError
from refnet.layers import Dense, Input, Layer
from refnet.op import TABLE, Op
from refnet.op.promotion import promoted
from refnet.optimizers import SGD
from refnet.plan.plan import Plan
from tests.planted import planted

RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(2, 4, 3))


@pytest.fixture(scope="module", autouse=True)
def made():
    """The planted ops."""
    with planted() as found:
        yield found


@pytest.fixture
def here(backend):
    with backends.use_backend(backend):
        yield backend


# -- three ways to compute gradients -----------------------------------------------------------------


def eagerly(f, xs, backend):
    """The gradients of f(*xs), computed as they are asked for."""
    leaves = [tensor(x) for x in xs]
    return [None if g is None else backend.numpy(g.value) for g in gradients(f(*leaves), leaves)]


def in_a_session(f, xs, backend):
    """The same as tensors of a graph, which a session runs."""
    with refnet.Graph() as graph:
        leaves = [refnet.placeholder(x.shape, str(x.dtype)) for x in xs]
        found = gradients(f(*leaves), leaves)
    known = [g for g in found if g is not None]
    values = refnet.Session(graph, backend).run(known, dict(zip(leaves, xs, strict=True)))
    each = iter(values)
    return [None if g is None else next(each) for g in found]


def in_a_plan(f, xs, backend):
    """The same as a plan, read off a record of other values."""
    leaves = [tensor(x * 0.5) for x in xs]
    with recording(leaves):
        found = gradients(f(*leaves), leaves)
    plan = Plan(leaves, [g for g in found if g is not None])
    each = map(backend.numpy, plan(*(backend.array(x) for x in xs)))
    return [None if g is None else next(each) for g in found]


ways = pytest.mark.parametrize("way", [eagerly, in_a_session, in_a_plan])


def require_close(found, expected):
    assert len(found) == len(expected)
    for g, e in zip(found, expected, strict=True):
        assert (g is None) == (e is None)
        if e is not None:
            assert g.shape == e.shape
            assert np.max(np.abs(g - e)) <= 1e-12 * max(1.0, np.max(np.abs(e)))


def by_torch(torch, f, xs):
    leaves = [torch.tensor(x, requires_grad=True) for x in xs]
    found = torch.autograd.grad(f(*leaves), leaves, allow_unused=True)
    return [None if g is None else g.numpy() for g in found]


# -- which of the results are used, and how ----------------------------------------------------------


class Written:
    """The functions a loss below is written with, once with the planted ops, once in torch."""

    def __init__(self, polar, products, tanh):
        self.polar, self.products, self.tanh = polar, products, tanh


REFNET = Written(
    lambda *xs: TABLE["polar"](*xs), lambda *xs: TABLE["products"](*xs), lambda x: ops.tanh(x)
)


def in_torch(torch):
    return Written(
        lambda x, y: (torch.sqrt(x * x + y * y), torch.atan2(y, x)),
        lambda a, b: (a * b, a * a, torch.sin(b)),
        torch.tanh,
    )


def both(w, x, y):
    r, phi = w.polar(x, y)
    return (r * 2.0 + phi * r).sum()


def twice(w, x, y):
    r, phi = w.polar(x, y)
    return (r * r + phi * phi + r).sum() + (phi * 3.0).sum()


def through_another(w, x, y):
    r, phi = w.polar(x, y)
    return (w.tanh(r) * phi + w.tanh(phi)).sum()


def one_into_the_next(w, x, y):
    r, phi = w.polar(x, y)
    s, psi = w.polar(phi, r)
    return (s * psi).sum()


def all_three(w, x, y):
    p, q, s = w.products(x, y)
    return (p * q * s).sum()


def two_of_three(w, x, y):
    p, _, s = w.products(x, y)
    return (p + w.tanh(s)).sum()


def only(op, number):
    def loss(w, x, y):
        return (getattr(w, op)(x, y)[number] * 3.0).sum()

    loss.__name__ = f"only_{number}_of_{op}"
    return loss


LOSSES = [both, twice, through_another, one_into_the_next, all_three, two_of_three]
LOSSES += [only("polar", 0), only("polar", 1), *(only("products", n) for n in range(3))]


@ways
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_however_results_are_used_the_gradients_are_those_of_torch(loss, way, here, torch):
    found = way(lambda x, y: loss(REFNET, x, y), [X, Y], here)
    expected = by_torch(torch, lambda x, y: loss(in_torch(torch), x, y), [X, Y])
    # an op is asked for its gradients as a whole: where torch says that nothing depends, zeros
    require_close(found, [np.zeros_like(X) if e is None else e for e in expected])


@ways
@pytest.mark.parametrize("wanted", [0, 1])
def test_only_some_inputs_are_asked_for(wanted, way, here, torch):
    def loss(w, x, made):
        return all_three(w, *((x, made(Y)) if wanted == 0 else (made(X), x)))

    xs = [(X, Y)[wanted]]
    found = way(lambda x: loss(REFNET, x, tensor), xs, here)
    require_close(found, by_torch(torch, lambda x: loss(in_torch(torch), x, torch.tensor), xs))


def test_the_vjp_is_told_what_is_wanted():
    x, y = tensor(X), tensor(Y)
    found = gradients(all_three(REFNET, x, y), [y])
    assert found[0].node.op is TABLE["products_vjp"]
    assert found[0].node.attributes == {"wrt": ("b",)}


@ways
def test_a_result_that_is_the_output(way, here):
    r = np.hypot(X, Y)
    require_close(way(lambda x, y: TABLE["polar"](x, y)[1], [X, Y], here), [-Y / r**2, X / r**2])
    require_close(way(lambda x, y: TABLE["polar"](x, y)[0], [X, Y], here), [X / r, Y / r])


def test_upstream_of_a_result_beside_the_first(here):
    x, y, g = tensor(X), tensor(Y), RNG.normal(size=X.shape)
    _, phi = TABLE["polar"](x, y)
    found = [here.numpy(dx.value) for dx in gradients(phi, [x, y], upstream=tensor(g))]
    r = np.hypot(X, Y)
    require_close(found, [-g * Y / r**2, g * X / r**2])
    with pytest.raises(ShapeError, match="upstream"):
        gradients(phi, [x, y], upstream=tensor(g[0]))


def test_results_may_be_asked_for_themselves(here):
    """∂L/∂r and ∂L/∂φ, with and without what lies before them."""
    x, y = tensor(X), tensor(Y)
    r, phi = TABLE["polar"](x, y)
    loss = (r * r * phi).sum()
    dr, dphi = (here.numpy(g.value) for g in gradients(loss, [r, phi]))
    again = gradients(loss, [phi, x, r, y])
    require_close([dr, dphi], [2 * here.numpy((r * phi).value), here.numpy((r * r).value)])
    require_close([here.numpy(again[0].value), here.numpy(again[2].value)], [dphi, dr])
    radius = np.hypot(X, Y)
    require_close([here.numpy(again[1].value)], [dr * X / radius - dphi * Y / radius**2])


@ways
@pytest.mark.parametrize("used", ["total", "squares", "both"])
def test_any_number_of_inputs(used, way, here):
    def loss(x, y):
        total, squares = TABLE["sums"](x, y, x)
        return {"total": total, "squares": squares, "both": total * squares}[used].sum()

    total, squares = 2 * X + Y, 2 * X * X + Y * Y
    gtotal = {"total": 1.0, "squares": 0.0, "both": squares}[used]
    gsquares = {"total": 0.0, "squares": 1.0, "both": total}[used]
    expected = [2 * (gtotal + gsquares * 2 * X), gtotal + gsquares * 2 * Y]
    require_close(way(loss, [X, Y], here), expected)


def test_backward_sets_the_gradients_of_leaves():
    x, y = tensor(X), tensor(Y)
    _, phi = TABLE["polar"](x, y)
    phi.backward()
    require_close([x.grad.numpy()], [-Y / np.hypot(X, Y) ** 2])


# -- zeros where none flow ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_result_that_nothing_reads_has_a_gradient_of_zeros(dtype, here):
    x, y = tensor(X, dtype), tensor(Y, dtype)
    (dx,) = gradients(TABLE["polar"](x, y)[1], [x])
    gr, gphi, *_ = dx.node.inputs
    assert (gr.shape, gr.dtype) == (gphi.shape, gphi.dtype) == (X.shape, dtype)
    assert not here.numpy(gr.value).any() and here.numpy(gphi.value).all()


def test_zeros_are_made_once_and_only_where_they_are_needed():
    for loss, count in ((both, 0), (only("polar", 1), 1), (only("products", 1), 2)):
        with refnet.Graph() as graph:
            x, y = (refnet.placeholder(X.shape, "float64") for _ in range(2))
            value = loss(REFNET, x, y)
            before = len(graph.nodes)
            gradients(value, [x, y])
        zeros = [n for n in graph.nodes[before:] if n.op.name == "full_like"]
        assert len([n for n in zeros if n.attributes == {"value": 0.0}]) == count


def test_a_plan_computes_no_zeros():
    x, y = tensor(X), tensor(Y)
    with recording([x, y]):
        found = gradients(TABLE["polar"](x, y)[1], [x, y])
    source = Plan([x, y], found).source
    assert "polar_vjp" in source and "full_like" not in source


# -- results that gradients do not flow through ------------------------------------------------------


@ways
def test_whole_numbers_beside_two_that_are_differentiable(way, here):
    def loss(x):
        square, whole, cube = TABLE["powers"](x)
        assert whole.dtype == "int64"
        return (square + cube * ops.cast(whole, dtype="float64")).sum()

    (found,) = way(loss, [X], here)
    require_close([found], [2 * X + 3 * X**2 * X.astype(int)])


def test_no_gradient_flows_through_whole_numbers(here):
    x = tensor(X)
    _, whole, _ = TABLE["powers"](x)
    assert gradients(whole, [x]) == [None]
    assert gradients((ops.cast(whole, dtype="float64") * 2.0).sum(), [x]) == [None]


@pytest.mark.parametrize("beside", [False, True])
def test_a_result_that_the_row_does_not_list_is_an_error(beside):
    given = [tensor(a) for a in cell_inputs()]
    h, _, gates = TABLE["lstm_cell"](*given)
    with pytest.raises(
        GradientError, match="lstm_cell: no gradient flows through its result 'gates'"
    ):
        gradients(gates.sum() + h.sum() if beside else gates, given)
    assert gradients(h.sum() + gates.detach().sum(), given)[0] is not None


@pytest.mark.parametrize("way", [eagerly, in_a_plan])  # what waits has no value yet to detach
@pytest.mark.parametrize("detached", ["r", "phi", "both"])
def test_detached_results_are_constants(detached, way, here):
    def loss(x, y):
        r, phi = TABLE["polar"](x, y)
        r = r.detach() if detached in ("r", "both") else r
        phi = phi.detach() if detached in ("phi", "both") else phi
        return (r * phi).sum()

    r, phi = np.hypot(X, Y), np.arctan2(Y, X)
    gr, gphi = phi * (detached == "phi"), r * (detached == "r")
    expected = [gr * X / r - gphi * Y / r**2, gr * Y / r + gphi * X / r**2]
    require_close(way(loss, [X, Y], here), [None, None] if detached == "both" else expected)


def test_the_gradient_of_a_gradient_is_the_same_error_as_of_any_other():
    x, y = tensor(X), tensor(Y)
    r, phi = TABLE["polar"](x, y)
    for z in (r, phi, r * phi):
        (dx,) = gradients(z, [x])
        with pytest.raises(
            GradientError, match="polar_vjp cannot be differentiated: it is a gradient"
        ):
            gradients((dx * x).sum(), [x])
        (found,) = gradients((dx.detach() * x).sum(), [x])
        np.testing.assert_array_equal(found.numpy(), dx.numpy())


def test_so_is_that_of_gradients_that_were_not_all_asked_for():
    x, kernel = tensor(X), tensor(Y.T)
    y = ops.linear(x, kernel, tensor(np.zeros(4)))[0]
    (dkernel,) = gradients(y, [kernel])
    with pytest.raises(
        GradientError, match="linear_vjp cannot be differentiated: it is a gradient"
    ):
        gradients((dkernel * dkernel).sum(), [x])


# -- variables ---------------------------------------------------------------------------------------


def test_a_variable_that_was_overwritten_since():
    inputs = cell_inputs()
    kernel = refnet.Variable(inputs[3])
    _, c, _ = TABLE["lstm_cell"](*map(tensor, inputs[:3]), kernel, *map(tensor, inputs[4:]))
    kernel.assign(inputs[3] * 2)
    with pytest.raises(GradientError, match=r"lstm_cell read variable .*assigned since"):
        gradients(c.sum(), [kernel])


def test_one_of_which_only_the_shape_counts_may_be_overwritten():
    x = refnet.Variable(X)
    y, z, w = TABLE["growth"](x)
    x.assign(Y)
    (dx,) = gradients((y + z * w).sum(), [x])
    require_close([dx.numpy()], [np.exp(X) + 2 * np.tanh(X) + 2 * X / np.cosh(X) ** 2])


def test_a_graph_that_overwrites_what_a_gradient_needs():
    with refnet.Graph() as graph:
        w = refnet.Variable(X, name="w")
        x = refnet.placeholder(X.shape, "float64")
        _, phi = TABLE["polar"](x, w)
        new = w.assign(w * 2.0)
        (dx,) = gradients(phi.sum(), [x])
    with pytest.raises(GradientError, match="polar_vjp needs variable 'w'"):
        refnet.Session(graph).run([new, dx], {x: Y})


# -- an LSTM, unrolled -------------------------------------------------------------------------------

STEPS, BATCH, INPUTS, UNITS = 5, 3, 4, 2


def cell_inputs(seed=3):
    """x, h, c, kernel, recurrent, bias of one step."""
    rng = np.random.default_rng(seed)
    shapes = [(BATCH, INPUTS), (BATCH, UNITS), (BATCH, UNITS)]
    shapes += [(INPUTS, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,)]
    return [rng.normal(0.0, 0.7, shape) for shape in shapes]


def unrolled(cell, xs, h, c, *weights):
    """All h, and the last c."""
    found = []
    for x in xs:
        h, c = cell(x, h, c, *weights)
        found.append(h)
    return found, c


ENDS = {
    "every h and the last c": lambda hs, c: sum((h * h).sum() for h in hs) + (c * 2.0).sum(),
    "the last h": lambda hs, c: (hs[-1] * hs[-1]).sum(),
    "the last c": lambda hs, c: (c * c).sum(),
    "the first h": lambda hs, c: (hs[0] * 3.0).sum(),
    "h times c": lambda hs, c: (hs[-1] * c * hs[2]).sum(),
}


def sequence():
    """(the inputs of all steps, the state to begin with and the weights)."""
    xs = [cell_inputs(seed)[0] for seed in range(STEPS)]
    return xs, cell_inputs()[1:]


def torch_cell(torch, kernel, recurrent, bias):
    """torch.nn.LSTMCell's own function, with weights laid out as ours are."""
    return lambda x, h, c: torch._VF.lstm_cell(x, (h, c), kernel.T, recurrent.T, bias, bias * 0)


@ways
@pytest.mark.parametrize("end", ENDS)
def test_an_lstm_over_five_steps_has_the_gradients_of_torch(end, way, here, torch):
    xs, (h, c, *weights) = sequence()

    def ours(*given):
        cell = lambda *inputs: TABLE["lstm_cell"](*inputs)[:2]  # noqa: E731
        return ENDS[end](*unrolled(cell, given[:STEPS], *given[STEPS:]))

    def theirs(*given):
        h, c, *weights = given[STEPS:]
        return ENDS[end](*unrolled(torch_cell(torch, *weights), given[:STEPS], h, c))

    given = [*xs, h, c, *weights]
    require_close(way(ours, given, here), by_torch(torch, theirs, given))


class Recurrent(Layer):
    """The cell over the steps of a sequence: the last h beside the last c."""

    def make_weights(self, input_shape):
        length = 4 * UNITS
        self.kernel = self.add_weight((input_shape[-1], length), "glorot_uniform", name="kernel")
        self.recurrent = self.add_weight((UNITS, length), "glorot_uniform", name="recurrent")
        self.bias = self.add_weight((length,), "zeros", name="bias")

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-2], 2 * UNITS)

    def call(self, x, training=False):
        h = c = ops.full_like(x[:, 0, :UNITS], value=0.0)
        for step in range(x.shape[1]):
            h, c, _ = TABLE["lstm_cell"](x[:, step], h, c, self.kernel, self.recurrent, self.bias)
        return ops.concatenate(h, c, axis=-1)


def test_training_with_it_is_the_same_planned_and_eagerly(here):
    x = RNG.normal(size=(8, STEPS, INPUTS)).astype("float32")
    y = x.sum((1, 2))[:, None]
    found = []
    for run_eagerly in (False, True):
        refnet.utils.set_random_seed(5)
        model = refnet.Sequential([Input((STEPS, INPUTS)), Recurrent(), Dense(1)])
        model.compile(SGD(0.05), "mean_squared_error", run_eagerly=run_eagerly)
        history = model.fit(x, y, epochs=4, batch_size=3, verbose=0, shuffle=False)
        found.append([*model.get_weights(), np.array(history.history["loss"])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert found[0][-1][-1] < found[0][-1][0]


# -- graphs ------------------------------------------------------------------------------------------


def graph_of_an_lstm():
    given = cell_inputs()
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, INPUTS), "float64", name="x")
        state = [refnet.placeholder((None, UNITS), "float64", name=name) for name in "hc"]
        weights = [
            refnet.Variable(value, name=name)
            for name, value in zip(("kernel", "recurrent", "bias"), given[3:], strict=True)
        ]
        _, c, _ = TABLE["lstm_cell"](x, *state, *weights)
        (c * 2.0).sum().named("loss")
        for w, g in zip(weights, gradients(graph["loss"], weights), strict=True):
            ops.identity(g).named(f"slope_of_{w.name}")
    feed = dict(zip(("x", "h", "c"), given[:3], strict=True))
    return graph, feed, ["loss", "slope_of_kernel", "slope_of_bias"]


def test_a_graph_file_holds_it(tmp_path):
    graph, feed, wanted = graph_of_an_lstm()
    loaded = refnet.Graph.load(graph.save(tmp_path / "lstm.safetensors"))
    before, after = (refnet.Session(g).run(wanted, feed) for g in (graph, loaded))
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert before[1].any()
    assert [e.inputs for e in loaded.entries()] == [e.inputs for e in graph.entries()]


def test_a_drawing_shows_which_result_is_read():
    graph, _, _ = graph_of_an_lstm()
    entries = {entry.op: entry for entry in graph.entries() if entry.op}
    assert "lstm_cell:1" in entries["multiply"].inputs
    assert list(entries["lstm_cell_vjp"].inputs[-2:]) == ["lstm_cell:1", "lstm_cell:2"]
    for text in (graph.to_mermaid(), graph.to_dot()):
        assert "lstm_cell_vjp" in text and "full_like" in text


def test_two_backends_compute_the_graph_op_by_op():
    graph, feed, wanted = graph_of_an_lstm()
    compared = refnet.Session(graph).compare("loopback", wanted, feed)
    assert compared.first_difference is None and compared.ok
    assert {"lstm_cell", "lstm_cell_vjp"} <= {c.op for c in compared.ops}


# -- rows --------------------------------------------------------------------------------------------


def two(x):
    r"""y = x,  z = 2 x"""
    return x, 2 * x


def test_the_first_result_alone_unless_the_row_says_otherwise():
    for name in ("linear", "softmax_cross_entropy", "tanh"):
        op = TABLE[name]
        assert op.differentiable == op.outputs[:1] and op.upstream == ("g",)
        assert op.gradient.inputs[0] == "g"
    op = Op(two, outputs="y z", differentiable="z")
    assert op.upstream == ("g",)
    assert [op.flows_through(n) for n in range(3)] == [False, True, False]
    assert TABLE["polar"].upstream == ("gr", "gphi") == TABLE["polar_vjp"].inputs[:2]


@pytest.mark.parametrize("names", ["", "w", "z y", "y y", "y w"])
def test_differentiable_names_results_in_their_order(names):
    with pytest.raises(TypeError, match="two: differentiable names results, of y, z"):
        Op(two, outputs="y z", differentiable=names)


def test_a_gradient_takes_what_arrives_first():
    def two_vjp(g, x):
        return g

    with pytest.raises(TypeError, match="two_vjp takes gy, gz first"):
        Op(two, outputs="y z", differentiable="y z", saves="x").vjp(two_vjp)
    assert "two_vjp" not in TABLE


def test_gradients_of_other_shapes_than_the_results_are_refused():
    x = np.ones((2, 3))
    with pytest.raises(ShapeError, match=r"polar_vjp: gphi of shape \(2, 1\)"):
        TABLE["polar_vjp"](x, x[:, :1], x, x)
    with pytest.raises(ShapeError, match=r"polar_vjp: gr of shape \(1, 3\)"):
        TABLE["polar_vjp"](x[:1], x, x, x)
    with pytest.raises(ShapeError, match=r"sums_vjp: gtotal of shape \(2, 3\)"):
        TABLE["sums_vjp"](x, x, x[0], x[0])


def test_nor_of_others_than_results_that_were_saved():
    op, x = Op(two, outputs="y z", differentiable="y z", saves="y z"), np.ones((2, 3))

    def two_vjp(gy, gz, y, z):
        return gy + 2 * gz

    made = Op(two_vjp, outputs="dx", wrt="", primal=op)
    assert made.fitted(x, x, x, x).shape == (2, 3)
    for wrong in ((x[:1], x), (x, x[:1])):
        with pytest.raises(ShapeError, match=r"two_vjp: g[yz] of shape \(1, 3\)"):
            made.fitted(*wrong, x, x)


def test_types_of_what_a_gradient_is_given():
    """A differentiable result that was saved is joined with the rest; what was kept has its own type."""
    vjp = TABLE["lstm_cell_vjp"]

    def met(**other):
        return promoted(vjp, [other.get(name, "float32") for name in vjp.inputs], {})

    assert set(met(gates="float64")[:-1]) == {"float32"} and met(gates="float64")[-1] == "float64"
    assert met(c1="float64") == ("float64",) * 8 + ("float32",)
    assert met(gc1="float64") == met(c1="float64")


def test_what_was_recorded_is_what_was_run():
    x, y = tensor(X), tensor(Y)
    _, phi = TABLE["polar"](x, y)
    (dx,) = gradients(phi, [x])
    names = [node.op.name for node in recorded([dx])]
    assert sorted(names) == ["full_like", "full_like", "polar", "polar_vjp"]
