"""Lesson 8: activation functions.

What a neuron makes of its weighted sum. Every function of the course with its formula, its values and
its gradient; then what the gradient means for a deep network: it can vanish, and neurons can die.

    python tutorials/08_activations.py

It needs NumPy alone. With matplotlib it leaves pictures in runs/.
"""

import os
from pathlib import Path

import numpy as np

import refnet
from refnet import activations, datasets, layers, plot
from refnet.diagnostics import dead_neurons, gradient_norms
from refnet.errors import MissingPackageError
from refnet.plot.figure import BLUE, GREY, RED, new_figure, save

SHORT = os.environ.get("REFNET_LESSON") == "short"  # how the tests run it
DEPTH = 10 if SHORT else 40
EPOCHS = 8 if SHORT else 30
refnet.utils.set_random_seed(0)

POINTS = [-3.0, -1.0, 0.0, 1.0, 3.0]


def at(f, points, **options):
    """f and its gradient f' at some points. The gradient of a sum has f' as its entries."""
    x = refnet.tensor(np.array(points))
    y = f(x, **options)
    return y.numpy(), refnet.gradients(y.sum(), x).numpy()


def show(name, formula, **options):
    y, slope = at(activations.get(name), POINTS, **options)
    print(f"\n{name}: {formula}")
    for label, row in (("x", POINTS), ("f(x)", y), ("f'(x)", slope)):
        print(f"   {label:6}", *(f"{value:9.4f}" for value in row))
    return y, slope


# -- 1. Binary step --------------------------------------------------------------------------------
#
# On or off. Its gradient is 0 on both sides of the threshold (and does not exist on it), so nothing
# can be learned through it.

_, slope = show("binary_step", "1 for x ≥ 0, else 0")
assert not slope.any()


# -- 2. Linear -------------------------------------------------------------------------------------
#
# The derivative is a constant, 1. The course says that back-propagation is not possible then; lesson 6,
# section 2, trains such a network, and shows what does fail: its layers collapse into one. In
# back-propagation, what passes through a linear neuron is multiplied by 1.

_, slope = show("linear", "x")
assert (slope == 1).all()


# -- 3. Sigmoid ------------------------------------------------------------------------------------
#
# Any number becomes one between 0 and 1. Its gradient σ(1 - σ) is 1/4 at most, at 0, and at ±3 it has
# fallen to 0.0452: small, not zero.

rng = np.random.default_rng(0)
y, slope = show("sigmoid", "1 / (1 + e⁻ˣ)")
assert slope.max() == slope[2] == 0.25
assert np.isclose(slope[4], 0.0451766597, atol=1e-9)

# "A probability", says the course, since it lies between 0 and 1. That is not enough. Here, yes or no
# is drawn with the probability σ(x). One model says σ(x), another σ(4x). Both decide the same, being
# above ½ for the same x. But when the second says "more than 90 %", is it right that often?

scores = rng.normal(size=100_000)
truth = rng.random(scores.size) < activations.sigmoid(scores)
for name, p in (
    ("σ(x)", activations.sigmoid(scores)),
    ("σ(4x)", activations.sigmoid(4 * scores)),
):
    sure = p > 0.9
    right, said = np.mean((p > 0.5) == truth), p[sure].mean()
    print(
        f"   {name:5}: {right:.1%} of decisions right. Where it says more than 90 %: it says "
        f"{said:.1%} on average, and {truth[sure].mean():.1%} are yes"
    )
    assert (abs(said - truth[sure].mean()) < 0.02) == (name == "σ(x)")
print("   Only the first means what it says. Training with cross-entropy pulls towards that.")


# -- 4. Tanh ---------------------------------------------------------------------------------------
#
# The sigmoid stretched to -1 … 1 and squeezed sideways: tanh(x) = 2σ(2x) - 1. So its outputs centre on
# 0, and its gradient is up to four times as steep: 1 at 0. It vanishes at both ends all the same.

y, slope = show("tanh", "(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)")
assert np.allclose(y, 2 * activations.sigmoid(2 * np.array(POINTS)) - 1)
assert slope.max() == slope[2] == 1.0


# -- 5. ReLU and its relatives ---------------------------------------------------------------------
#
# ReLU lets positive sums through as they are. It has no derivative at 0; the convention is 0 there.
# For negative sums the gradient is 0, and a neuron that is negative for every example is dead.

_, slope = show("relu", "max(0, x)")
assert slope.tolist() == [0, 0, 0, 1, 1]

_, slope = show("leaky_relu", "max(0.1 x, x)")
assert slope.tolist() == [0.1, 0.1, 0.1, 1, 1]

# Parametric ReLU learns the slope a of the negative side: x for x > 0, else a x. The course
# writes max(a x, x). That is the same only as long as a ≤ 1:

print("\nprelu: x for x > 0, else a x")
for a in (0.25, 1.0, 2.0):
    pieces, largest = refnet.ops.prelu(np.array([-1.0, 1.0]), a), np.maximum([-a, a], [-1.0, 1.0])
    print(f"   a = {a:4}   at -1 and 1: {pieces.tolist()}, max(a x, x) gives {largest.tolist()}")
    assert np.array_equal(pieces, largest) == (a <= 1)

# a is learned like any weight: ∂L/∂a is the sum of g · x over the negative x. Here with g = 1:

a = refnet.tensor(np.array([0.25]))
by_a = refnet.gradients(refnet.ops.prelu(refnet.tensor(np.array(POINTS)), a).sum(), a)
print(f"   ∂L/∂a at the points above: {by_a.item()} = -3 - 1")
assert by_a.item() == -4

# ELU bends towards -α along an exponential (the course says a log curve). Its derivative for x < 0 is
# α eˣ, and f(x) + α is the same number. At 0 the two sides meet with the slopes α and 1. For α = 1
# these agree; for any other α there is a kink at 0, and the 1 of the course is the right-hand slope.

for alpha in (1.0, 0.5):
    y, slope = show("elu", f"x for x ≥ 0, else {alpha} (eˣ - 1)", alpha=alpha)
    assert np.allclose(slope[:2], alpha * np.exp(POINTS[:2]))
    assert np.allclose(slope[:2], y[:2] + alpha)
    tiny = 1e-6
    (below, zero, above), _ = at(activations.elu, [-tiny, 0.0, tiny], alpha=alpha)
    left, right = (zero - below) / tiny, (above - zero) / tiny
    print(f"   slope just left of 0: {left:.4f}, just right of it: {right:.4f}")
    assert np.allclose([left, right], [alpha, 1], atol=1e-5)


# -- 6. Softmax ------------------------------------------------------------------------------------
#
# For a whole layer at once: positive numbers that sum to 1. Lesson 7, section 4, shows what it does to
# the scores of the course, and that it is neither a row of sigmoids nor a choice of the largest. Here
# is its gradient, the part that is missing there. Each p depends on every z, so it is a table:
#
#     softmax(z)_i = e^(z_i) / Σ_j e^(z_j)        ∂p_i/∂z_j = p_i ((1 if i = j, else 0) - p_j)

z = refnet.tensor(np.array([1.8, 0.9, 0.68]))
p = activations.softmax(z)
table = np.array([refnet.gradients(p[i], z).numpy() for i in range(3)])  # one row for each p
print("\nsoftmax: e^(z_i) / Σ_j e^(z_j), of", z.numpy(), "is", p.numpy().round(2))
for i, row in enumerate(table):
    print(f"   ∂p_{i + 1}/∂z  ", *(f"{value:7.4f}" for value in row))
p = p.numpy()
assert np.allclose(table, np.diag(p) - np.outer(p, p))

# A score that rises takes from the others what its own p gains: every column sums to 0. And a p near 0
# or 1 hardly moves, as with the sigmoid.

assert np.allclose(table.sum(axis=0), 0)
sure = activations.softmax(25 * z.numpy())
print(
    f"   25 times these scores: largest p {sure.max():.6f}, its slope {sure[0] * (1 - sure[0]):.1e}"
)
assert sure[0] * (1 - sure[0]) < 1e-8


# -- 7. Swish --------------------------------------------------------------------------------------
#
# x σ(x): smooth, without a bound above, and bounded below: it falls to -0.278 at x = -1.278, then
# rises towards 0 again. (Towards infinity it follows x; the constant it approaches is 0, at the left.)

show("swish", "x σ(x)")
grid = np.linspace(-5, 0, 500_001)
lowest = activations.swish(grid).min()
where = grid[activations.swish(grid).argmin()]
print(f"   smallest value {lowest:.4f} at x = {where:.4f}; f(-20) = {activations.swish(-20.0):.1e}")
assert abs(lowest + 0.27846) < 1e-5 and abs(where + 1.27846) < 1e-4
assert abs(at(activations.swish, [where])[1][0]) < 1e-4


# -- 8. Vanishing gradients, measured --------------------------------------------------------------
#
# Back-propagation multiplies one f' for each layer. If f' is 1/4 at most, then after 20 layers what is
# left is at most (1/4)^20, about 10⁻¹², times what the weights do. Into the top of an untrained
# network we send a gradient of length 1, and measure what arrives at each layer. Orthogonal weights
# keep lengths, so that with them all the shrinking is the activation's:

print(f"\nOf a gradient of length 1, {DEPTH} layers deep, there arrives at the first layer:")
names = ["linear", "tanh", "elu", "relu", "leaky_relu", "swish", "sigmoid", "binary_step"]
norms = {name: gradient_norms(DEPTH, name, initializer="orthogonal") for name in names}
suited = {name: gradient_norms(DEPTH, name, initializer="he_normal") for name in names}
print("                 orthogonal weights   He's weights")
for name in names:
    print(f"   {name:12}   {norms[name][0]:18.1e}   {suited[name][0]:12.1e}")
bound = 0.25 ** np.arange(DEPTH, 0, -1)
print(f"   (1/4)^{DEPTH} = {bound[0]:.1e}: the sigmoid stays below it.")
assert np.all(norms["sigmoid"] <= bound * (1 + 1e-5))
assert norms["relu"][0] < 0.1 < suited["relu"][0] < 10
assert norms["tanh"][0] > 1000 * norms["sigmoid"][0]
assert suited["swish"][0] < suited["relu"][0]

# With ReLU, half of the units pass nothing on. He's weights are larger by √2 and make up for it; for
# linear layers they are too large, and the gradient explodes. So it is activation and weights
# together. And the course's "swish for more than 40 layers" is advice, not a law: before training, its
# gradients come through no better than ReLU's.


# -- 9. Dead neurons -------------------------------------------------------------------------------
#
# A network that reads digits, after an accident: every bias of its hidden layer is -3. For no digit
# does any sum come out positive.

(x_train, y_train), _ = datasets.digits.load_data()
x_train = x_train.reshape(-1, 64)


def reader(activation):
    model = refnet.Sequential(
        [
            layers.Input((64,)),
            layers.Dense(32, activation, name="hidden"),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile(
        refnet.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


relu = reader("relu")
W, b, W2, b2 = relu.get_weights()
accident = [W, b - 3, W2, b2]
relu.set_weights(accident)
print(f"\n{dead_neurons(relu, x_train)[0]}")
assert len(dead_neurons(relu, x_train)[0]) == 32


def report(name, model):
    (dead,) = dead_neurons(model, x_train)
    _, accuracy = model.evaluate(x_train, y_train)
    print(f"   {name:34} {accuracy:6.1%} read right, {len(dead):2} of {dead.units} units dead")
    return len(dead), accuracy


# Their gradients are 0, so training cannot reach them: not one bit of their weights changes.

print(f"After {EPOCHS} epochs of training:")
relu.fit(x_train, y_train, epochs=EPOCHS, verbose=0)
dead, accuracy = report("with ReLU", relu)
assert dead == 32 and accuracy < 0.2
assert np.array_equal(relu.get_weights()[0], accident[0])

# Now the same weights with leaky ReLU. A tenth of the gradient comes through, and here that is
# enough. Put back into the network with ReLU, most units are alive, and it learns on.

leaky = reader("leaky_relu")
leaky.set_weights(accident)
leaky.fit(x_train, y_train, epochs=EPOCHS, verbose=0)
relu.set_weights(leaky.get_weights())
relu.fit(x_train, y_train, epochs=1, verbose=0)
dead, accuracy = report("with leaky ReLU, then 1 with ReLU", relu)
assert dead < 8 and accuracy > 0.9

# It does not take an accident. A learning rate that is too large throws neurons off in a few steps:

for rate in (0.1, 5.0):
    model = reader("relu")
    model.set_weights([W, b, W2, b2])
    model.compile(refnet.optimizers.SGD(rate), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x_train, y_train, verbose=0)
    report(f"1 epoch of SGD, learning rate {rate}", model)
assert len(dead_neurons(model, x_train)[0]) > 0


# -- 10. Which one? --------------------------------------------------------------------------------
#
# The output layer follows from the problem, and so does the loss:

print()
for problem in ("regression", "binary classification", "multiclass", "multilabel"):
    print(activations.for_output(problem))
print()
for network in ("dense", "CNN", "RNN"):
    print(activations.for_hidden(network))


# -- 11. Pictures ----------------------------------------------------------------------------------

pictures = Path("runs") / "08_activations"
curves = ["binary_step", "linear", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "swish"]


def draw_prelu(path):
    """PReLU has a slope to learn, and so no single curve: three slopes, and what max(a x, x) would be."""
    x = np.linspace(-2, 2, 401)
    with new_figure((12, 3.6), (1, 3), sharey=True) as (figure, axes):
        for ax, a in zip(axes.flat, (0.25, 1.0, 2.0), strict=True):
            ax.plot(x, refnet.ops.prelu(x, a), color=BLUE, lw=2, label="f(x)")
            ax.plot(x[x <= 0], 0 * x[x <= 0] + a, color=RED, ls="--", lw=2, label="f'(x)")
            ax.plot(x[x > 0], 0 * x[x > 0] + 1, color=RED, ls="--", lw=2)
            ax.plot(x, np.maximum(a * x, x), color=GREY, ls=":", lw=2, label="max(a x, x)")
            ax.set_title(f"a = {a:g}", fontsize=12)
        axes[0, 0].legend(loc="upper left")
        figure.suptitle("prelu: x for x > 0, else a x")
        save(figure, path)


try:
    plot.activation_curves(curves, pictures / "curves.png")
    draw_prelu(pictures / "prelu.png")
    for found, kind, limit in ((norms, "orthogonal", bound), (suited, "He's", None)):
        drawn = {name: found[name] for name in ("linear", "tanh", "relu", "swish", "sigmoid")}
        file = pictures / f"depth_{'he' if limit is None else kind}.png"
        plot.gradients_through_depth(
            drawn, file, f"A gradient on its way down, {kind} weights", limit
        )
    print(f"\nPictures: {pictures}/curves.png, prelu.png, depth_orthogonal.png and depth_he.png")
except MissingPackageError as error:
    print(f"\nNo pictures: {error}")
