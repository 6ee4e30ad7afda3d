"""Numbers from elsewhere: the course, 100-bit arithmetic, steps by hand, and PyTorch."""

import math

import numpy as np
import pytest

from refnet.autograd.backpropagation import gradients
from refnet.autograd.tensor import tensor
from refnet.op import TABLE

# -- the course ----------------------------------------------------------------------------------


def test_the_softmax_of_the_course():
    y = TABLE["softmax"](np.array([1.8, 0.9, 0.68]))
    assert y.round(2).tolist() == [0.58, 0.23, 0.19]
    exact = [0.57708417628652807502, 0.23462491719449763419, 0.18829090651897429078]  # by mpmath
    np.testing.assert_allclose(y, exact, rtol=1e-15)


#: the rows that name results (`known` in refnet/ops/FILE.py, below the line "# == Proof")
KNOWN = [op for op in TABLE.values() if op.known]


def wrong_values(op, dtype="float64", rtol=1e-14):
    """What an op computes otherwise than its row says, in words."""
    said = []
    for x, y in op.known.items():
        given = x if isinstance(x, tuple) else (x,)
        where = f"{op.name}: known={{{x}: {y}}} in refnet/ops/{op.file}.py"
        if len(given) != len(op.inputs) and not op.variadic:
            said.append(f"{where} gives {len(given)} inputs, the op takes {', '.join(op.inputs)}")
            continue
        arrays = [np.array(v) for v in given]
        arrays = [v.astype(dtype) if v.dtype.kind == "f" else v for v in arrays]
        found, expected = op(*arrays), y if op.returns_tuple else (y,)
        found = found if isinstance(found, tuple) else (found,)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for a, b in zip(found, expected, strict=False):
            if np.shape(a) != np.shape(b) or not np.allclose(a, b, rtol=rtol, atol=0):
                said.append(f"{where}, computed {a}")
            if a.dtype != dtype:
                said.append(f"{where} of {dtype} is {a.dtype}")
    return said


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", KNOWN, ids=lambda op: op.name)
def test_results_are_those_that_the_row_names(op, dtype):
    assert not wrong_values(op, dtype, {"float32": 1e-6, "float64": 1e-14}[dtype])


def test_activations_losses_and_rules_have_known_values():
    assert {op.file for op in KNOWN} >= {"activations", "losses", "optimizers", "softmax"}


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("tanh", {0.0: 0.1}, "computed 0.0"),
        ("tanh", {(0.0, 1.0): 0.1}, "gives 2 inputs, the op takes x"),
        ("sgd", {((1.0,), (0.5,), 0.1): (0.9,)}, "computed [0.95]"),
        ("softmax", {((0.0, 0.0),): 0.5}, "computed [0.5 0.5]"),
        ("momentum", {((1.0,), (0.5,), (0.2,), 0.1): ((1.13,), (0.2,))}, "computed [0.13]"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(monkeypatch, name, known, said):
    monkeypatch.setattr(TABLE[name], "known", known)
    (complaint,) = wrong_values(TABLE[name])
    assert said in complaint and f"refnet/ops/{TABLE[name].file}.py" in complaint


def test_the_approximate_gelu():
    exact = [-0.045402305912224981219, 0.84119199060827670478]
    found = TABLE["gelu"](np.array([-2.0, 1.0]), approximate=True)
    np.testing.assert_allclose(found, exact, rtol=1e-13)


def test_the_elu_of_the_course_and_its_derivative():
    """f = x for x ≥ 0, else α (eˣ - 1);  f' = 1 for x ≥ 0, else f + α."""
    for alpha in (1.0, 0.5):
        points = [-1.5, -0.1, 0.0, 2.0]
        x = tensor(np.array(points))
        y = TABLE["elu"](x, alpha=alpha)
        by_hand = [v if v >= 0 else alpha * (math.exp(v) - 1) for v in points]
        slopes = [1.0 if v >= 0 else f + alpha for v, f in zip(points, by_hand, strict=True)]
        np.testing.assert_allclose(y.numpy(), by_hand, rtol=1e-14)
        np.testing.assert_allclose(gradients(y.sum(), [x])[0].numpy(), slopes, rtol=1e-14)


def test_the_quadratic_cost_of_the_course():
    """C = 1/(2n) Σ_x ‖y(x) - a(x)‖²:  (1 + 4 + 0 + 9) / (2 · 2) = 3.5, ∂C/∂a = (a - y) / n."""
    y, a = tensor([[1.0, 0.0], [2.0, 3.0]]), tensor([[2.0, 2.0], [2.0, 0.0]])
    cost = TABLE["square"](y - a).sum() / (2 * len(a))
    assert cost.item() == 3.5
    assert gradients(cost, [a])[0].numpy().tolist() == [[0.5, 1.0], [0.0, -1.5]]


def test_the_line_of_the_course_is_fitted_by_gradient_descent():
    """Sum of squared residuals, slope 0.64, intercept from 0: derivatives -5.7, -2.3 …"""
    weight, height = tensor(np.array([0.5, 2.3, 2.9])), tensor(np.array([1.4, 1.9, 3.2]))
    intercept, derivatives = tensor(np.array(0.0)), []
    for _ in range(30):
        loss = TABLE["square"](height - (intercept + 0.64 * weight)).sum()
        (slope,) = gradients(loss, [intercept])
        derivatives.append(slope.item())
        intercept = (intercept - 0.1 * slope).detach()
    assert derivatives[:3] == pytest.approx([-5.704, -2.2816, -0.91264], rel=1e-12)
    assert intercept.item() == pytest.approx((1.4 + 1.9 + 3.2 - 0.64 * 5.7) / 3, rel=1e-9)


def test_both_derivatives_of_the_line():
    intercept, slope = tensor(np.array(0.0)), tensor(np.array(1.0))
    x, y = np.array([0.5, 2.3, 2.9]), np.array([1.4, 1.9, 3.2])
    loss = TABLE["square"](tensor(y) - (intercept + slope * tensor(x))).sum()
    by_hand = [sum(-2 * (y - x)), sum(-2 * x * (y - x))]
    found = [d.item() for d in gradients(loss, [intercept, slope])]
    assert found == pytest.approx(by_hand, rel=1e-13)
    assert found == pytest.approx([-1.6, -0.8], rel=1e-12)


def test_the_gradients_of_sigmoid_and_tanh_at_points_the_course_names():
    """σ' is 1/4 at most, at 0, and 0.0452 at ±3; tanh' is 1 at most, four times as much."""
    x = tensor(np.array([-3.0, 0.0, 3.0]))
    found = {name: gradients(TABLE[name](x).sum(), [x])[0].numpy() for name in ("sigmoid", "tanh")}
    e = math.exp(-3)
    at_3 = {"sigmoid": e / (1 + e) ** 2, "tanh": 4 * e**2 / (1 + e**2) ** 2}
    for name, largest in (("sigmoid", 0.25), ("tanh", 1.0)):
        assert found[name].tolist() == pytest.approx([at_3[name], largest, at_3[name]], rel=1e-13)
        assert found[name][1] == largest
    assert at_3["sigmoid"] == pytest.approx(0.0452, abs=3e-5)
    many = tensor(np.linspace(-8, 8, 1601))
    for name, largest in (("sigmoid", 0.25), ("tanh", 1.0)):
        assert gradients(TABLE[name](many).sum(), [many])[0].numpy().max() == largest


def test_the_lowest_point_of_swish():
    """1 + x (1 - σ(x)) = 0 at x = -1.27846…, where f = -0.27846…: f = x + 1 there."""
    x = tensor(np.array([-1.2784645427610738]))
    y = TABLE["swish"](x)
    assert y.item() == pytest.approx(-0.2784645427610738, rel=1e-14)
    assert abs(gradients(y.sum(), [x])[0].item()) < 1e-15
    assert TABLE["swish"](np.linspace(-30, 30, 60001)).min() >= y.item()


def test_max_of_ax_and_x_is_prelu_only_up_to_a_slope_of_1():
    x = np.array([-2.0, -0.5, 0.0, 1.5])
    for a in (0.0, 0.1, 1.0, 1.5):
        same = np.array_equal(TABLE["prelu"](x, np.array(a)), np.maximum(a * x, x))
        assert same == (a <= 1)


# -- update rules, one number at a time ----------------------------------------------------------


def sgd(p, g, s, t, eta):
    return p - eta * g


def momentum(p, g, s, t, eta, mu=0.9):
    s["v"] = mu * s.get("v", 0.0) - eta * g
    return p + s["v"]


def nesterov(p, g, s, t, eta, mu=0.9):
    s["v"] = mu * s.get("v", 0.0) - eta * g
    return p + mu * s["v"] - eta * g


def rmsprop(p, g, s, t, eta, rho=0.9, epsilon=1e-7):
    s["s"] = rho * s.get("s", 0.0) + (1 - rho) * g**2
    return p - eta * g / math.sqrt(s["s"] + epsilon)


def adam(p, g, s, t, eta, b1=0.9, b2=0.999, epsilon=1e-7):
    s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g**2
    m_hat, v_hat = s["m"] / (1 - b1**t), s["v"] / (1 - b2**t)
    return p - eta * m_hat / (math.sqrt(v_hat) + epsilon)


RULES = [sgd, momentum, nesterov, rmsprop, adam]
START, ETA = [1.0, -2.0, 0.5], 0.05


def slope_at(p):
    """∂/∂p (p² + sin 3p): neither constant nor convex."""
    return 2 * p + 3 * math.cos(3 * p)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_ten_steps_by_hand(rule, dtype, backend):
    op = TABLE[rule.__name__]
    update = backend.function(op)
    theta = backend.array(START, dtype)
    memory = [backend.array(np.zeros(3), dtype) for _ in op.writes[1:]]
    by_hand, states = list(START), [{} for _ in START]
    for t in range(1, 11):
        g = [slope_at(p) for p in backend.numpy(theta).tolist()]
        count = [backend.array(float(t), dtype)] if "t" in op.inputs else []
        update(theta, backend.array(g, dtype), *memory, backend.array(ETA, dtype), *count)
        by_hand = [rule(p, d, s, t, ETA) for p, d, s in zip(by_hand, g, states, strict=True)]
        rounding = {"float32": 3e-6, "float64": 1e-13}[dtype]
        np.testing.assert_allclose(backend.numpy(theta), by_hand, rtol=rounding, atol=rounding)


# -- PyTorch -------------------------------------------------------------------------------------


#: op: (name in torch.nn.functional, its arguments, the op's attributes)
IN_TORCH = {
    "sigmoid": ("sigmoid", {}, {}),
    "tanh": ("tanh", {}, {}),
    "relu": ("relu", {}, {}),
    "leaky_relu": ("leaky_relu", {"negative_slope": 0.1}, {}),
    "elu": ("elu", {"alpha": 1.5}, {"alpha": 1.5}),
    "selu": ("selu", {}, {}),
    "swish": ("silu", {}, {}),
    "gelu": ("gelu", {"approximate": "tanh"}, {"approximate": True}),
    "softplus": ("softplus", {"threshold": 1e9}, {}),  # by default the identity above 20
    "softsign": ("softsign", {}, {}),
    "hard_sigmoid": ("hardsigmoid", {}, {}),
    "hard_swish": ("hardswish", {}, {}),
    "relu6": ("relu6", {}, {}),
    "mish": ("mish", {}, {}),
    "softmax": ("softmax", {"dim": -1}, {}),
    "log_softmax": ("log_softmax", {"dim": -1}, {}),
}


@pytest.mark.parametrize("name", IN_TORCH)
def test_functions_and_gradients_are_those_of_torch(torch, name):
    theirs, arguments, attributes = IN_TORCH[name]
    rng = np.random.default_rng(2)
    values, upstream = rng.normal(0, 4, (5, 40)), rng.normal(size=(5, 40))
    x, there = tensor(values), torch.tensor(values, requires_grad=True)
    f = getattr(torch.nn.functional, theirs)
    y, expected = TABLE[name](x, **attributes), f(there, **arguments)
    expected.backward(torch.tensor(upstream))
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-15)
    (dx,) = gradients(y, [x], upstream=tensor(upstream))
    rounding = 3e-8 if name == "hard_sigmoid" else 1e-11  # torch: 1/6 in float32
    np.testing.assert_allclose(dx.numpy(), there.grad.numpy(), rtol=rounding, atol=1e-14)


def test_cross_entropies_are_those_of_torch(torch):
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(0, 5, (7, 4)), rng.integers(0, 4, 7)
    p = rng.dirichlet(np.ones(4), 7)
    there, functional = torch.tensor(logits, requires_grad=True), torch.nn.functional
    pairs = [
        (TABLE["sparse_softmax_cross_entropy"], labels, functional.cross_entropy),
        (TABLE["softmax_cross_entropy"], p, functional.cross_entropy),
        (TABLE["sigmoid_cross_entropy"], p, functional.binary_cross_entropy_with_logits),
    ]
    for op, target, theirs in pairs:
        x = tensor(logits)
        loss = op(x, tensor(target))
        loss = loss[0] if isinstance(loss, tuple) else loss
        expected = theirs(there, torch.tensor(target), reduction="none")
        np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-14)
        there.grad = None
        expected.sum().backward()
        np.testing.assert_allclose(
            gradients(loss, [x])[0].numpy(), there.grad.numpy(), rtol=1e-11, atol=1e-14
        )


def test_linear_is_that_of_torch(torch):
    rng = np.random.default_rng(4)
    values = [rng.normal(size=shape) for shape in ((6, 3), (3, 5), (5,))]
    ours = [tensor(v) for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    y, _ = TABLE["linear"](*ours, activation="tanh")
    expected = torch.tanh(torch.nn.functional.linear(theirs[0], theirs[1].T, theirs[2]))
    expected.square().sum().backward()
    for found, there in zip(gradients(TABLE["square"](y).sum(), ours), theirs, strict=True):
        np.testing.assert_allclose(found.numpy(), there.grad.numpy(), rtol=1e-12)


#: rule: (name in torch.optim, its arguments, the op's attributes). torch adds ε to the root.
OPTIMIZERS = {
    "sgd": ("SGD", {}, {}),
    "momentum": ("SGD", {"momentum": 0.9}, {}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}, {}),
    "rmsprop": ("RMSprop", {"alpha": 0.9, "eps": 0.0}, {"epsilon": 0.0}),  # torch: √s + ε
    "adam": ("Adam", {"eps": 1e-7}, {}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_steps_are_those_of_torch(torch, name):
    optimizer, arguments, attributes = OPTIMIZERS[name]
    op, rng = TABLE[name], np.random.default_rng(6)
    start = rng.normal(size=50)
    there = torch.tensor(start.copy(), requires_grad=True)
    theirs = getattr(torch.optim, optimizer)([there], lr=ETA, **arguments)
    theta, memory = start.copy(), [np.zeros(50) for _ in op.writes[1:]]
    for t in range(1, 11):
        g = rng.normal(size=50)
        there.grad = torch.tensor(g)
        theirs.step()
        count = [np.array(float(t))] if "t" in op.inputs else []
        op.function(theta, g, *memory, np.array(ETA), *count, **attributes)
    np.testing.assert_allclose(theta, there.detach().numpy(), rtol=1e-11)
