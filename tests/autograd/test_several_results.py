"""Ops with several results: gradients flow through every one that the row names, and come together."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet.errors import GradientError, ShapeError
from refnet.layers import Dense, Layer
from refnet.op import TABLE, Case, op
from refnet.op.shapes import Spec, moved_back
from refnet.plan.plan import Plan
from refnet.proof.judge import inputs_for

RNG = np.random.default_rng(0)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _cell_shape(op, specs, attributes):
    return [Spec(specs[1].shape, specs[1].dtype)] * 2


@pytest.fixture(scope="module")
def ops():
    """A cell with two results, and an op with three of which one is a whole number."""
    before = dict(TABLE)

    @op(saves="z c0 c", outputs="h c", differentiable="h c", shape=_cell_shape)
    def tried_cell(z, c0):
        """z = (i, f, o, g): c = σ(f) c₀ + σ(i) tanh(g),  h = σ(o) tanh(c)"""
        i, f, o, g = np.split(z, 4, axis=-1)
        c = _sigmoid(f) * c0 + _sigmoid(i) * np.tanh(g)
        return _sigmoid(o) * np.tanh(c), c

    @tried_cell.vjp(shape=moved_back)
    def tried_cell_vjp(gh, gc, z, c0, c):
        i, f, o, g = np.split(z, 4, axis=-1)
        si, sf, so, t = _sigmoid(i), _sigmoid(f), _sigmoid(o), np.tanh(g)
        dc = gc + gh * so * (1 - np.tanh(c) ** 2)
        dz = (
            dc * t * si * (1 - si),
            dc * c0 * sf * (1 - sf),
            gh * np.tanh(c) * so * (1 - so),
            dc * si * (1 - t**2),
        )
        return np.concatenate(dz, axis=-1), dc * sf

    def _three(op, specs, attributes):
        return [specs[0], Spec(specs[0].shape, "int64"), specs[0]]

    @op(saves="x", outputs="square sign cube", differentiable="square cube", shape=_three)
    def tried_three(x):
        return x * x, np.sign(x).astype("int64"), x * x * x

    @tried_three.vjp(shape=moved_back)
    def tried_three_vjp(gsquare, gcube, x):
        assert gsquare.shape == gcube.shape == x.shape
        assert gsquare.dtype == gcube.dtype == x.dtype
        return 2 * x * gsquare + 3 * x * x * gcube

    yield {"cell": tried_cell, "three": tried_three}
    TABLE.clear()
    TABLE.update(before)


#: a result made of y = x², s = sign x and z = x³, and its derivative
USES = {
    "the first": (lambda y, s, z: y, lambda x: 2 * x),
    "the last": (lambda y, s, z: z, lambda x: 3 * x**2),
    "both": (lambda y, s, z: y + z, lambda x: 2 * x + 3 * x**2),
    "one twice": (lambda y, s, z: z * z, lambda x: 6 * x**5),
    "one through the other": (lambda y, s, z: y * z, lambda x: 5 * x**4),
    "through other ops": (
        lambda y, s, z: refnet.ops.exp(y) * refnet.ops.tanh(z),
        lambda x: np.exp(x**2) * (2 * x * np.tanh(x**3) + 3 * x**2 * (1 - np.tanh(x**3) ** 2)),
    ),
    "beside the whole number": (lambda y, s, z: z * s.astype("float64"), lambda x: 3 * x * abs(x)),
}
uses = pytest.mark.parametrize(("use", "slope"), USES.values(), ids=USES)
X = np.array([-1.5, -0.5, 0.25, 1.25])


@uses
def test_what_is_used_counts(ops, use, slope):
    x = refnet.tensor(X)
    y = use(*ops["three"](x))
    np.testing.assert_allclose(refnet.gradients(y.sum(), x).numpy(), slope(X), rtol=1e-13)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), slope(X), rtol=1e-13)


def test_what_is_detached_is_a_constant(ops):
    x = refnet.tensor(X)
    y, _, z = ops["three"](x)
    found = refnet.gradients((y.detach() * z).sum(), x)
    np.testing.assert_allclose(found.numpy(), 3 * X**4, rtol=1e-13)


@uses
def test_in_a_graph(ops, use, slope):
    with refnet.Graph() as graph:
        x = refnet.placeholder((None,), "float64")
        y = use(*ops["three"](x)).sum()
        dx = refnet.gradients(y, x)
    assert dx.shape == (None,)
    found = refnet.Session(graph).run(dx, {x: X})
    np.testing.assert_allclose(found, slope(X), rtol=1e-13)


@uses
def test_in_a_plan(ops, use, slope):
    """Recorded once, then run on other values."""
    x = refnet.tensor(np.ones(4))
    dx = refnet.gradients(use(*ops["three"](x)).sum(), x)
    (found,) = Plan([x], [dx])(X)
    np.testing.assert_allclose(found, slope(X), rtol=1e-13)


def test_what_the_row_does_not_name_is_refused(ops):
    x = refnet.tensor(X)
    _, sign, _ = ops["three"](x)
    assert refnet.gradients(sign, x) is None  # whole numbers change in steps
    w = refnet.Variable(np.ones((2, 2), "float32"))
    y, saved = TABLE["linear"](refnet.ones((1, 2)), w, refnet.ones((2,)), activation="tanh")
    with pytest.raises(GradientError, match="no gradient flows through its result"):
        refnet.gradients((y + saved).sum(), w)


def test_a_gradient_of_another_form_is_refused(ops):
    with pytest.raises(TypeError, match=r"tried_two_vjp takes ga, gb first"):

        @op(saves="x", outputs="a b", differentiable="a b")
        def tried_two(x):
            return x, x

        @tried_two.vjp
        def tried_two_vjp(g, x):
            return g


def test_a_wrong_shape_of_an_upstream_gradient_is_named(ops):
    z, c0 = np.ones((2, 8)), np.ones((2, 2))
    _, c = ops["cell"](z, c0)
    with pytest.raises(ShapeError, match=r"gc of shape \(3, 2\) has not the shape of the result"):
        ops["cell"].gradient(np.ones((2, 2)), np.ones((3, 2)), z, c0, c)


# -- a recurrent network, against PyTorch ----------------------------------------------------------


def unrolled(cell, x, h, c, w, u, b, steps=5):
    for t in range(steps):
        h, c = cell(x[:, t] @ w + h @ u + b, c)
    return h, c


def numbers():
    shapes = {"x": (3, 5, 4), "h": (3, 2), "c": (3, 2), "w": (4, 8), "u": (2, 8), "b": (8,)}
    return {name: RNG.normal(0, 0.7, shape) for name, shape in shapes.items()}


def by_torch(given):
    torch = pytest.importorskip("torch")
    t = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in given.items()}

    def cell(z, c0):
        i, f, o, g = torch.chunk(z, 4, dim=-1)
        c = torch.sigmoid(f) * c0 + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    h, c = unrolled(cell, *t.values())
    loss = (h**2).sum() + torch.tanh(c).sum()
    loss.backward()
    return loss.item(), [v.grad.numpy() for v in t.values()]


def loss_of(cell, t):
    h, c = unrolled(cell, *t)
    return (h**2).sum() + refnet.ops.tanh(c).sum()


@pytest.mark.parametrize("how", ["eager", "graph", "plan"])
def test_a_recurrent_cell_learns_as_pytorchs(ops, how):
    given = numbers()
    loss, expected = by_torch(given)
    if how == "graph":
        with refnet.Graph() as graph:
            t = [refnet.placeholder(v.shape, "float64") for v in given.values()]
            y = loss_of(ops["cell"], t)
            found = refnet.gradients(y, t)
        got = refnet.Session(graph).run([y, *found], dict(zip(t, given.values(), strict=True)))
    else:
        t = [refnet.tensor(v) for v in given.values()]
        y = loss_of(ops["cell"], t)
        found = refnet.gradients(y, t)
        got = [y.numpy(), *[g.numpy() for g in found]]
    if how == "plan":
        ones = [refnet.tensor(np.ones_like(v)) for v in given.values()]
        y = loss_of(ops["cell"], ones)
        got = Plan(ones, [y, *refnet.gradients(y, ones)])(*given.values())
    assert float(got[0]) == pytest.approx(loss, rel=1e-14)
    for mine, theirs in zip(got[1:], expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


class Recurrent(Layer):
    def __init__(self, cell, **common):
        super().__init__(**common)
        self.cell = cell

    def make_weights(self, input_shape):
        self.w = self.add_weight((input_shape[-1], 8), name="w")
        self.u = self.add_weight((2, 8), name="u")
        self.b = self.add_weight((8,), "zeros", name="b")

    def call(self, x):
        h = x[:, 0, :2] * 0
        h, _ = unrolled(self.cell, x, h, h, self.w, self.u, self.b, x.shape[1])
        return h

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 2)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_network_with_it_learns_an_order(ops, run_eagerly):
    """Whether the larger number comes first: of no single step."""
    x = RNG.uniform(-1, 1, (120, 3, 2)).astype("float32")
    y = (x[:, 0, 0] > x[:, 2, 0]).astype("float32")[:, None]
    refnet.utils.set_random_seed(0)
    model = refnet.Sequential([Recurrent(ops["cell"]), Dense(1, "sigmoid")])
    model.compile(refnet.optimizers.Adam(0.03), "binary_crossentropy", run_eagerly=run_eagerly)
    log = model.fit(x, y, epochs=25, batch_size=30, verbose=0).history["loss"]
    assert log[-1] < 0.3 < 0.6 < log[0]


def test_cases_of_a_gradient_have_every_upstream(ops):
    """What the judge tries a gradient on: a random gradient for each result."""
    made = Case("plain", lambda rng: (rng.normal(0, 1, (3, 8)), rng.normal(0, 1, (3, 2))))
    inputs, _ = inputs_for(ops["cell"].gradient, made, "float64")
    gh, gc, z, c0, c = inputs
    assert gh.shape == gc.shape == c.shape == c0.shape == (3, 2)
    assert z.shape == (3, 8)
    assert not np.array_equal(gh, gc)
