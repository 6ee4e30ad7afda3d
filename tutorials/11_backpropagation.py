"""Lesson 11: back-propagation.

How one number for how wrong a network is tells every weight which way to move. You will compute costs
by hand, send two inputs forward through a network whose every parameter has a name, walk back through
it with the chain rule, and count what that costs.

    python tutorials/11_backpropagation.py

It needs NumPy alone. With matplotlib it leaves a picture in runs/.
"""

import inspect
import os
from math import exp
from pathlib import Path

import numpy as np

import refnet
from refnet import activations, losses, ops
from refnet.descent import central_differences
from refnet.errors import MissingPackageError
from refnet.plot.perceptron import responsibilities

SHORT = os.environ.get("REFNET_LESSON") == "short"  # how the tests run it
STEPS = 200 if SHORT else 5000


# -- 1. The cost: one number for how wrong ---------------------------------------------------------
#
# A network puts out a(x) where y(x) was wanted. The quadratic cost of the course, for n examples:
#
#     C = 1/(2n) Σ_x ‖y(x) - a(x)‖²
#
# The bars are the length of a vector: the squares of all its components, added up. The ½ is there for
# comfort. It cancels the 2 that comes down from the square, so that the derivative is a - y, and not
# twice that. `losses.quadratic_cost` gives ½ ‖y - a‖² for each example, and the mean of these is C.

y = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])  # three examples, two outputs each
a = np.array([[0.8, 0.3], [0.6, 0.9], [0.1, 0.2]])
for wanted, said in zip(y, a, strict=True):
    squares = (wanted - said) ** 2
    print(
        f"  y {wanted}, a {said}: ½ ({squares[0]:.2f} + {squares[1]:.2f}) = {squares.sum() / 2:.3f}"
    )
C = ((y - a) ** 2).sum() / (2 * len(y))
print(f"C, their mean, is {C:.4f}")
assert np.isclose(C, (0.065 + 0.085 + 0.025) / 3)
assert np.isclose(losses.quadratic_cost(y, a).mean(), C)

# "The cost function must be a kind of average", says the course. A sum would be one number too. But it
# grows with the number of examples, and with it the gradient, so that a learning rate that suits 100
# examples would be ten times too large for 1000. And the cost of a batch could not be compared with
# that of another, larger one. Here every example is taken twice:

twice_y, twice_a = np.concatenate([y, y]), np.concatenate([a, a])
both = [(losses.quadratic_cost(*pair)) for pair in ((y, a), (twice_y, twice_a))]
print(
    f"Every example twice: the sum goes from {both[0].sum():.3f} to {both[1].sum():.3f};", end=" "
)
print(f"the mean from {both[0].mean():.4f} to {both[1].mean():.4f}")
assert np.isclose(both[1].mean(), C)
assert np.isclose(both[1].sum(), 2 * both[0].sum())


# -- 2. Another cost: the cross-entropy ------------------------------------------------------------
#
# The output is a = σ(z). How does the cost of one answer change with the score z? By the chain rule,
#
#     quadratic cost   ½ (y - a)²                   ∂C/∂z = (a - y) · a (1 - a)
#     cross-entropy    -y ln a - (1 - y) ln(1 - a)   ∂C/∂z = (a - y)
#
# The factor a (1 - a) is the slope of the sigmoid. Where the neuron is sure and wrong, it is tiny, and
# by the quadratic cost such a neuron learns slowest of all. The cross-entropy has it cancelled.

print("\n  y = 1, z =      a      quadratic: ∂C/∂z    cross-entropy: ∂C/∂z")
for score in (0.0, -2.0, -6.0):
    z = refnet.tensor(np.array([score]))
    said = activations.sigmoid(z)
    slopes = [
        refnet.gradients(cost(np.array([1.0]), said), z).item()
        for cost in (losses.quadratic_cost, losses.binary_crossentropy)
    ]
    print(f"  {score:9}   {said.item():.4f}   {slopes[0]:17.4f}   {slopes[1]:20.4f}")
    assert np.isclose(slopes[0], (said.item() - 1) * said.item() * (1 - said.item()))
    assert np.isclose(slopes[1], said.item() - 1)

# Lesson 7 says which cost goes with which output. Here it is the quadratic one, with sigmoids.


# -- 3. A small network with all its parameters labelled -------------------------------------------
#
#     x1 ──▶ h1 ──▶ a1        Every x leads to every h, and every h to every a.
#        ╲ ╱    ╲ ╱           w12 is the weight from x1 to h2, v12 that from h1 to a2;
#        ╱ ╲    ╱ ╲           b1 and b2 are the biases of h1 and h2, c1 and c2 those of a1 and a2.
#     x2 ──▶ h2 ──▶ a2        Twelve parameters. All four neurons are sigmoids.
#
# Inputs are -1 (no) or 1 (yes). a1 should be "x1 or x2", a2 "x1 and x2". The example: yes and no.

w11, w12, b1 = 0.5, -0.4, 0.1
w21, w22, b2 = 0.3, 0.8, -0.2
v11, v12, c1 = 0.7, -0.6, 0.05
v21, v22, c2 = -0.3, 0.9, 0.2
x1, x2 = 1.0, -1.0
y1, y2 = 1.0, 0.0


def sigmoid(z):
    return 1 / (1 + exp(-z))


# -- 4. Forward ------------------------------------------------------------------------------------
#
# Each neuron weighs its inputs, adds its bias: that is its score z. The sigmoid makes its output.

zh1 = x1 * w11 + x2 * w21 + b1
zh2 = x1 * w12 + x2 * w22 + b2
h1, h2 = sigmoid(zh1), sigmoid(zh2)
za1 = h1 * v11 + h2 * v21 + c1
za2 = h1 * v12 + h2 * v22 + c2
a1, a2 = sigmoid(za1), sigmoid(za2)
C = ((y1 - a1) ** 2 + (y2 - a2) ** 2) / 2
print(f"\nForward:   h = ({h1:.4f}, {h2:.4f})   a = ({a1:.4f}, {a2:.4f})   C = {C:.4f}")


# -- 5. Backward, layer by layer -------------------------------------------------------------------
#
# For each neuron one number, δ = ∂C/∂z: how the cost changes with the neuron's score. It is the exact
# meaning of the course's "how much of the loss every node is responsible for". It has a sign: with
# δ > 0 the cost falls if the score falls, with δ < 0 it falls if the score rises.
#
# The outputs first. z changes a, at the slope of the sigmoid, which is a (1 - a); a changes C:

delta_a1 = (a1 - y1) * a1 * (1 - a1)
delta_a2 = (a2 - y2) * a2 * (1 - a2)

# Then the hidden neurons. h1 reaches C on two ways, through a1 by v11 and through a2 by v12. Along each
# way the factors are multiplied, and the ways are added up. The δ's of the outputs, computed already,
# hold all that lies behind them, and are used by both hidden neurons:

delta_h1 = (delta_a1 * v11 + delta_a2 * v12) * h1 * (1 - h1)
delta_h2 = (delta_a1 * v21 + delta_a2 * v22) * h2 * (1 - h2)

# Last the parameters. A weight multiplies its input, so ∂C/∂weight = input · δ; a bias is added as it
# is, so ∂C/∂bias = δ.

by_hand = {
    "w11": x1 * delta_h1, "w12": x1 * delta_h2, "w21": x2 * delta_h1, "w22": x2 * delta_h2,
    "b1": delta_h1, "b2": delta_h2,
    "v11": h1 * delta_a1, "v12": h1 * delta_a2, "v21": h2 * delta_a1, "v22": h2 * delta_a2,
    "c1": delta_a1, "c2": delta_a2,
}  # fmt: skip
print(
    f"Backward:  δ of a1 {delta_a1:+.4f}, a2 {delta_a2:+.4f}, h1 {delta_h1:+.4f}, h2 {delta_h2:+.4f}"
)

# The same network as tensors, and `refnet.gradients`:

W = refnet.tensor(np.array([[w11, w12], [w21, w22]]))  # (inputs, hidden neurons)
b = refnet.tensor(np.array([b1, b2]))
V = refnet.tensor(np.array([[v11, v12], [v21, v22]]))  # (hidden neurons, outputs)
c = refnet.tensor(np.array([c1, c2]))
parameters = [W, b, V, c]


def network(x, W, b, V, c):
    return activations.sigmoid(activations.sigmoid(x @ W + b) @ V + c)


def cost(x, y, parameters):
    return losses.quadratic_cost(y, network(x, *parameters)).mean()


x, y = np.array([[x1, x2]]), np.array([[y1, y2]])
assert np.isclose(cost(refnet.tensor(x), y, parameters), C, rtol=1e-14)
found = refnet.gradients(cost(refnet.tensor(x), y, parameters), parameters)
found = np.concatenate([g.numpy().ravel() for g in found])  # in the order of the names above


def digits(a, b):
    """To how many digits two lists of numbers agree, the worst of them, beside the largest number."""
    return -np.log10(max(np.abs(np.subtract(a, b)).max() / np.abs(a).max(), 1e-16))


print(
    f"By hand and by refnet.gradients: the same to {digits(list(by_hand.values()), found):.0f} digits"
)
assert digits(list(by_hand.values()), found) > 14


# -- 6. Up or down, against the gradient -----------------------------------------------------------
#
# The course goes on: the weights are updated "by giving the nodes with higher error rates lower weights
# and vice versa". That is not what happens. Each weight moves against its own gradient, w ← w - η ∂C/∂w,
# up or down, whether the node it leads to is much to blame or little:

deltas = {"a1": delta_a1, "a2": delta_a2, "h1": delta_h1, "h2": delta_h2}
values = dict(zip(by_hand, np.concatenate([p.numpy().ravel() for p in parameters]), strict=True))
after = {name: values[name] - 1.0 * g for name, g in by_hand.items()}  # η = 1
print("\nA step with η = 1:")
for name, g in by_hand.items():
    way = "up" if after[name] > values[name] else "down"
    print(f"  {name:4} {values[name]:7.4f} -> {after[name]:7.4f}   ∂C/∂{name:4}{g:+.4f}   {way}")
rising = {name for name in after if after[name] > values[name]}
assert sorted(deltas, key=lambda name: abs(deltas[name])) == ["h2", "h1", "a1", "a2"]
assert rising.isdisjoint({"v12", "v22", "c2"})
assert {"v11", "v21", "c1"} < rising
assert {"w11", "w21"} & rising == {"w11"}

# a2 says too much, so all that leads there falls (and v12, below 0, becomes larger in size by that). a1
# says too little, so all that leads there rises; its |δ| is the second largest. Of the two weights that
# lead to h1 one rises and one falls, since their inputs have different signs. |δ| says how far, δ and
# the input together say which way.


# -- 7. All examples at once, in matrices ----------------------------------------------------------
#
# With one row for each example, and ⊙ for products number by number, the same four lines are, for
# any number of layers (the 1/n of the mean is in the first of them, and so in all):
#
#     δ of the outputs    = (A - Y) ⊙ A ⊙ (1 - A) / n
#     δ of a layer        = (δ of the next · its kernelᵀ) ⊙ H ⊙ (1 - H)
#     ∂C/∂kernel          = inputᵀ · δ
#     ∂C/∂bias            = Σ over the examples of δ

multiplications = 0


def product(P, Q):
    """P Q, and a count of the multiplications in it."""
    global multiplications
    multiplications += P.shape[0] * P.shape[1] * Q.shape[1]
    return P @ Q


def squash(z):
    return 1 / (1 + np.exp(-z))


def forward(x, W, b, V, c):
    H = squash(product(x, W) + b)
    return H, squash(product(H, V) + c)


def backward(x, y, H, A, V):
    delta_a = (A - y) * A * (1 - A) / len(x)
    delta_h = product(delta_a, V.T) * H * (1 - H)
    return [product(x.T, delta_h), delta_h.sum(0), product(H.T, delta_a), delta_a.sum(0)]


x = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
y = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])  # or, and
arrays = [p.numpy() for p in parameters]
ours = backward(x, y, *forward(x, *arrays), arrays[2])
theirs = refnet.gradients(cost(refnet.tensor(x), y, parameters), parameters)
for mine, g in zip(ours, theirs, strict=True):
    assert np.allclose(mine, g.numpy(), rtol=1e-13, atol=1e-16)

# Is it true? Nudge each parameter, and look. From both sides the error is of the order h², from one
# side of the order h. A smaller h is better, until the rounding of C, divided by h, takes over.

ends = np.cumsum([p.size for p in arrays])
flat, gradient = (
    np.concatenate([p.ravel() for p in arrays]),
    np.concatenate([g.ravel() for g in ours]),
)


def cost_at(theta):
    parts = np.split(theta, ends[:-1])
    _, A = forward(x, *(part.reshape(p.shape) for part, p in zip(parts, arrays, strict=True)))
    return ((y - A) ** 2).sum() / (2 * len(x))


print("\nDigits that agree with the back-propagation:\n       h    one-sided   two-sided")
agreeing = {}
for h in (1e-2, 1e-5, 1e-8, 1e-11):
    one_sided = [(cost_at(flat + h * e) - cost_at(flat)) / h for e in np.eye(len(flat))]
    two_sided = central_differences(cost_at, flat, h)
    agreeing[h] = digits(gradient, one_sided), digits(gradient, two_sided)
    print(f"  {h:6.0e}   {agreeing[h][0]:9.1f}   {agreeing[h][1]:9.1f}")
assert agreeing[1e-5][1] > 8
assert agreeing[1e-5][1] > agreeing[1e-5][0]
assert max(one for one, _ in agreeing.values()) < 10


# -- 8. What it costs ------------------------------------------------------------------------------
#
# Count the multiplications in products of matrices, for the network of lesson 1, with sigmoids and a
# batch of 32. Backward there are two products where forward there is one: δ for the layer before, and
# the gradient of the kernel. Only the first layer needs no δ for its inputs. So one backward pass costs
# about as much as a forward pass, twice at most, however many parameters there are. Nudging needs a
# forward pass for each parameter, and one more for C itself.

rng = np.random.default_rng(0)
sizes = [(64, 128), (128,), (128, 10), (10,)]
large = [rng.normal(0, 0.1, size) for size in sizes]
batch, wanted = rng.random((32, 64)), np.eye(10)[rng.integers(0, 10, 32)]
multiplications = 0
H, A = forward(batch, *large)
there = multiplications
backward(batch, wanted, H, A, large[2])
back = multiplications - there
count = sum(p.size for p in large)
print(f"\n{count:,} parameters. Multiplications:")
print(f"  forward                    {there:14,}")
print(f"  backward                   {back:14,}   {back / there:.2f} times as many")
print(f"  forward and backward       {there + back:14,}   all gradients, to the last digits")
print(
    f"  nudging, from one side     {(count + 1) * there:14,}   all gradients, to about half of them"
)
print(f"  that is {(count + 1) * there / (there + back):,.0f} times as many")
assert there == 32 * (64 * 128 + 128 * 10)
assert there <= back <= 2 * there
assert (count + 1) * there > 4000 * (there + back)

# What it takes besides is memory: the backward pass needs H and A, so they are kept until then.


# -- 9. Where this stands in refnet ----------------------------------------------------------------
#
# Every operation has its step backwards written right below its formula: `refnet show sigmoid` prints
# both. It is called a vjp, a vector-Jacobian product: it turns g = ∂C/∂output into ∂C/∂input. A network
# of any form is nothing but these, one after the other, in the reverse order.

for op in ("sigmoid", "matmul"):
    print("\n" + inspect.getsource(ops.TABLE[f"{op}_vjp"].function).rstrip())
H, A = forward(x, *arrays)
g = (A - y) / len(x)
g = ops.sigmoid_vjp(g, A)
g, dV = ops.matmul_vjp(g, H, arrays[2])
g = ops.sigmoid_vjp(g, H)
_, dW = ops.matmul_vjp(g, x, arrays[0])
assert np.allclose(dW, ours[0], rtol=1e-13)
assert np.allclose(dV, ours[2], rtol=1e-13)
print("\nBy four vjps, the same gradients: checked.")


# -- 10. And training ------------------------------------------------------------------------------
#
# Forward, backward, a step against the gradient; again and again, in ten lines of NumPy.

theta = [p.copy() for p in arrays]
print("\n   step      C")
for step in range(STEPS + 1):
    H, A = forward(x, *theta)
    C = ((y - A) ** 2).sum() / (2 * len(x))
    if step in (0, 10, 100, 200, 1000, 5000):
        print(f"  {step:5}   {C:.5f}")
    gradients = backward(x, y, H, A, theta[2])
    theta = [p - 2.0 * g for p, g in zip(theta, gradients, strict=True)]  # η = 2
print("It says, of (or, and):", A.round(2).tolist())
assert cost_at(flat) / 5 > C
assert ((A > 0.5) == (y == 1)).all()


# -- 11. A picture ---------------------------------------------------------------------------------
#
# The network of section 3 with its example: the colour of a node is its δ, the width of an edge the
# size of ∂C/∂w.

arrays = [np.array([[w11, w12], [w21, w22]]), np.array([[v11, v12], [v21, v22]])]
slopes = [by_hand[name] for name in ("w11", "w12", "w21", "w22", "v11", "v12", "v21", "v22")]
try:
    picture = responsibilities(
        {"x": [x1, x2], "h": [h1, h2], "a": [a1, a2]},
        [[delta_h1, delta_h2], [delta_a1, delta_a2]],
        arrays,
        np.reshape(slopes, (2, 2, 2)),
        Path("runs") / "11_backpropagation" / "network.png",
        f"How the cost depends on every node and weight; wanted: ({y1:g}, {y2:g})",
    )
    print(f"\nPicture: {picture}")
except MissingPackageError as error:
    print(f"\nNo picture: {error}")
