"""Lesson 6: neurons become a network.

What a layer is, why layers need something bent between them, and what can be computed with enough
neurons: any continuous function. You will build such networks by hand, and then train some.

    python tutorials/06_networks.py

It needs NumPy alone. With matplotlib it leaves pictures in runs/.
"""

import os
from pathlib import Path

import numpy as np

import refnet
from refnet import initializers, layers, optimizers, plot
from refnet.errors import MissingPackageError

SHORT = os.environ.get("REFNET_LESSON") == "short"  # how the tests run it
refnet.utils.set_random_seed(4)


# -- 1. A layer is many neurons that look at the same inputs ---------------------------------------
#
# One neuron: y = f(x · w + b). Put the weights of several into the columns of a matrix W, and their
# biases into a vector b: then y = f(x W + b) are all of them at once. The next layer takes these as
# its inputs. Layers between input and output are called hidden, since no data say what they should
# compute: that is found by training.

rng = np.random.default_rng(0)
x = rng.normal(size=(5, 3))  # five examples of three features
W1, b1 = rng.normal(size=(3, 4)), rng.normal(size=4)  # four neurons
W2, b2 = rng.normal(size=(4, 2)), rng.normal(size=2)  # two neurons that look at those four

one_by_one = np.column_stack([np.tanh(x @ W1[:, j] + b1[j]) for j in range(4)])
assert np.allclose(one_by_one, np.tanh(x @ W1 + b1))

network = refnet.Sequential(
    [layers.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(2)]
)
network.set_weights([W1, b1, W2, b2])
by_hand = np.tanh(x @ W1 + b1) @ W2 + b2  # (5, 2)
assert np.allclose(network.predict(x), by_hand, atol=1e-5)
print("tanh(x W₁ + b₁) W₂ + b₂ is what a network of two layers says: checked.")
network.summary()


# -- 2. Linear layers collapse ---------------------------------------------------------------------
#
# Leave the activation out, and
#
#     (x W₁ + b₁) W₂ + b₂ = x (W₁ W₂) + (b₁ W₂ + b₂)
#
# which is one layer, with the weights W₁ W₂. However many are stacked, it stays one.

two_layers = (x @ W1 + b1) @ W2 + b2
one_layer = x @ (W1 @ W2) + (b1 @ W2 + b2)
print(f"\nTwo linear layers: {two_layers[0]}\nOne layer:         {one_layer[0]}")
assert np.allclose(two_layers, one_layer)

# The course adds that back-propagation is not possible with a constant derivative. It is: the
# gradients are not 0, and training works. It arrives at what one layer can do. For XOR (lesson 5)
# that is to say ½ to everything.

corners, XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])


def trained_on_xor(activation):
    model = refnet.Sequential(
        [
            layers.Input((2,)),
            layers.Dense(8, activation=activation),
            layers.Dense(8, activation=activation),
            layers.Dense(1),
        ]
    )
    model.compile(optimizers.Adam(0.03), "mean_squared_error")
    first = model.fit(corners, XOR, batch_size=4, epochs=1, verbose=0).history["loss"][0]
    last = model.fit(corners, XOR, batch_size=4, epochs=400, verbose=0).history["loss"][-1]
    print(f"  {activation:7} {first:.3f} -> {last:.3f}   {model.predict(corners)[:, 0].round(2)}")
    return last


print("\nXOR by three layers: loss before and after training, and the answers")
assert np.isclose(trained_on_xor("linear"), 0.25, atol=0.005)
assert trained_on_xor("tanh") < 0.01


# -- 3. With steps one can build any curve ---------------------------------------------------------
#
# Take two neurons with steps, one that fires from a on, one from b on. Their difference is a bump:
# 1 between a and b, 0 elsewhere. Bumps side by side, each as high as the curve is there, make a
# staircase along the curve. Where two bumps meet they share a neuron, so that n neurons make n + 1
# bumps:
#
#     y(x) = c_0 + Σ_i (c_i - c_{i-1}) step(x - e_i)
#
# e_i are the edges, c_i the heights, n + 1 of them. If the curve is nowhere steeper than S, up or down,
# |slope| ≤ S, the error is nowhere above S h/2, h being the width of the bumps: as small as you like,
# with enough of them.

LOW, HIGH = -np.pi, np.pi
x = np.linspace(LOW, HIGH, 2000)


def curve(x):
    return np.sin(x) + 0.5 * np.sin(3 * x)  # |slope| ≤ 1 + 1.5, |second derivative| ≤ 1 + 4.5


def one_hidden_layer(activation, kernel, bias, heights, offset):
    """The network offset + Σ_i heights_i · activation(kernel_i x + bias_i)."""
    model = refnet.Sequential(
        [
            layers.Input((1,)),
            layers.Dense(len(heights), activation=activation),
            layers.Dense(1),
        ]
    )
    model.set_weights([kernel[None, :], bias, heights[:, None], np.array([offset])])
    return model


def staircase(n, activation="binary_step", steepness=1.0):
    edges = np.linspace(LOW, HIGH, n + 2)
    heights = curve((edges[:-1] + edges[1:]) / 2)  # the curve in the middle of each bump
    inner = edges[1:-1]
    kernel = np.full(n, steepness)
    return one_hidden_layer(activation, kernel, -steepness * inner, np.diff(heights), heights[0])


bump = one_hidden_layer("binary_step", np.ones(2), np.array([-1.0, -2.0]), np.array([1.0, -1.0]), 0)
print("\nA bump from 1 to 2:")
for at in (0.5, 1.5, 2.5):
    print(f"  at {at}: {bump.predict([[at]])[0, 0]:.0f}")
assert bump.predict([[0.5], [1.5], [2.5]])[:, 0].tolist() == [0, 1, 0]


# -- 4. Sigmoids do as well, and ReLUs do better ---------------------------------------------------
#
# A sigmoid of steep slope k is nearly a step: σ(k (x - e)). ReLUs, max(0, x - e), change the slope
# at e instead of the height, and so make a line of straight pieces from point to point of the curve.
# Its error falls with h², not h: it is at most C h²/8, where C is the largest |second derivative|.


def straight_pieces(n):
    edges = np.linspace(LOW, HIGH, n + 1)
    slopes = np.diff(curve(edges)) / np.diff(edges)
    changes = np.diff(slopes, prepend=0)
    return one_hidden_layer("relu", np.ones(n), -edges[:-1], changes, curve(LOW))


def said(model):
    return model.predict(x[:, None])[:, 0]


def largest_error(model):
    return np.abs(said(model) - curve(x)).max()


print("\nLargest error of networks built by hand, and its bound:")
print("  neurons     steps  (bound)   sigmoids     ReLUs   (bound)")
for n in (8, 32, 128, 512):
    h = (HIGH - LOW) / (n + 1)
    steps, sigmoids = staircase(n), staircase(n, "sigmoid", 10 / h)
    relus, H = straight_pieces(n), (HIGH - LOW) / n
    step_bound, relu_bound = 2.5 * h / 2, 5.5 * H**2 / 8
    errors = [largest_error(model) for model in (steps, sigmoids, relus)]
    print(
        f"  {n:7}   {errors[0]:.5f} ({step_bound:.5f})   {errors[1]:.5f}  "
        f"{errors[2]:.6f} ({relu_bound:.6f})"
    )
    assert errors[0] <= step_bound + 1e-5  # and what float32 rounds
    assert errors[1] <= 2 * step_bound
    assert errors[2] <= relu_bound + 1e-5


# -- 5. The theorem, precisely ---------------------------------------------------------------------
#
# Universal approximation: for every continuous function on a compact set (closed and bounded, such
# as an interval or a cube) and every ε > 0 there is a network with one hidden layer, and a linear
# output, that is within ε of the function everywhere on that set.
#
#   - Cybenko (1989): with continuous activations of sigmoid shape.
#   - Hornik (1991): with any activation that is continuous, bounded and not constant.
#   - Leshno, Lin, Pinkus and Schocken (1993): with any activation that is not a polynomial, and with
#     no polynomial. (It has to be bounded on every interval, and the closure of the set of its jumps
#     negligible.) So ReLUs and steps are in.
#
# It says that such a network exists. It does not say how many neurons that takes, nor that training
# finds it, nor anything about the function outside of the set.
#
# The course writes that Zhou Lu and then Boris Hanin proved it for "convex continuous" functions.
# The theorem is older, and needs nothing convex. What they asked in 2017 is how narrow a network may
# be if it may be deep instead, with ReLUs and d inputs. Lu, Pu, Wang, Hu and Wang: width d + 4 is
# enough to approximate every integrable function, in the mean (L¹), and width d is not. Hanin: width
# d + 3 is enough for every continuous function, everywhere on the cube; for the convex ones, d + 1 is.
#
# Why no polynomials? Take squares: each neuron is (w x + b)² = w² x² + 2wb x + b². A sum of these is
# a parabola, with 3 neurons or with 300. The best parabola is the end of it.

parabola = np.polyval(np.polyfit(x, curve(x), 2), x)
floor = np.sqrt(np.mean((parabola - curve(x)) ** 2))
print(f"\nThe best parabola is {floor:.4f} off (root mean square). Neurons with squares:")
for n in (3, 30, 300):
    hidden = (rng.normal(size=n) * x[:, None] + rng.normal(size=n)) ** 2  # (2000, n)
    best = hidden @ np.linalg.lstsq(hidden, curve(x))[0]
    error = np.sqrt(np.mean((best - curve(x)) ** 2))
    print(f"  {n:3} neurons, {np.linalg.matrix_rank(hidden)} of them independent: {error:.4f}")
    assert np.linalg.matrix_rank(hidden) == 3
    assert np.isclose(error, floor)


# -- 6. Deep instead of wide -----------------------------------------------------------------------
#
# Hanin's convex case, d = 1. A convex curve lies above its tangents, and the largest of many tangents
# is close to it. Two neurons a layer can keep the largest so far:
#
#     max(y, l) = l + max(0, y - l)
#
# One neuron carries x along (which is positive, so ReLU lets it pass); the other takes the maximum
# with one more tangent l = s x + c in each layer. For x² with n tangents the error is 1/(4n²).


def largest_of_tangents(n):
    points = (np.arange(n) + 0.5) / n
    s, c = 2 * points, -(points**2)  # the tangent of x² at p is 2p x - p²
    model = refnet.Sequential(
        [layers.Input((1,)), *(layers.Dense(2, activation="relu") for _ in range(n - 1))]
    )
    model.add(layers.Dense(1))
    weights = []
    for k in range(n - 1):
        y_is = [[1, s[k] - s[k + 1]]] if k == 0 else [[1, s[k] - s[k + 1]], [0, 1]]
        weights += [np.array(y_is), np.array([0, c[k] - c[k + 1]])]
    model.set_weights([*weights, np.array([[s[-1]], [1]]), c[-1:]])
    return model


unit = np.linspace(0, 1, 1001)
print("\nx² on [0, 1] by layers of two neurons:")
for n in (2, 5, 10):
    error = np.abs(largest_of_tangents(n).predict(unit[:, None])[:, 0] - unit**2).max()
    print(f"  hidden layers: {n - 1}, largest error {error:.5f}, 1/(4n²) = {1 / (4 * n * n):.5f}")
    assert np.isclose(error, 1 / (4 * n * n), atol=1e-5)


# -- 7. And by training ----------------------------------------------------------------------------
#
# Now nobody tells the neurons where to stand. Networks with 1, 2, 4 ... 32 of them learn the curve
# from 200 points. Each starts as the trained one before it, with new neurons of output weight 0: a
# wider network can do what a narrower one can, so training only has to improve on that. It lowers
# the mean square of the errors; the largest error follows, not always at once.

points = np.linspace(LOW, HIGH, 200)[:, None]
widths = (1, 4, 16) if SHORT else (1, 2, 4, 8, 16, 32)
schedule = ((0.02, 300),) if SHORT else ((0.02, 1500), (0.005, 500), (0.001, 500))
fits, rms_errors = {}, []
kernel, bias, heights, offset = np.zeros((1, 0)), np.zeros(0), np.zeros((0, 1)), np.zeros(1)

print("\nNetworks of tanh neurons, trained:\n  neurons   rms error   largest")
for width in widths:
    model = refnet.Sequential(
        [
            layers.Input((1,)),
            layers.Dense(
                width,
                activation="tanh",
                kernel_initializer=initializers.RandomNormal(stddev=3.0),
                bias_initializer=initializers.RandomUniform(-6.0, 6.0),
            ),
            layers.Dense(1, kernel_initializer="zeros"),
        ]
    )
    new_kernel, new_bias, new_heights, _ = model.get_weights()
    before = len(bias)
    new_kernel[:, :before], new_bias[:before], new_heights[:before] = kernel, bias, heights
    model.set_weights([new_kernel, new_bias, new_heights, offset])
    for rate, epochs in schedule:
        model.compile(optimizers.Adam(rate), "mean_squared_error")
        model.fit(points, curve(points), batch_size=len(points), epochs=epochs, verbose=0)
    kernel, bias, heights, offset = model.get_weights()

    fits[width] = said(model)
    rms_errors.append(np.sqrt(np.mean((fits[width] - curve(x)) ** 2)))
    print(f"  {width:7}   {rms_errors[-1]:9.4f}   {largest_error(model):7.4f}")

assert rms_errors == sorted(rms_errors, reverse=True)
assert rms_errors[-1] < rms_errors[0] / (2 if SHORT else 20)


# -- 8. Pictures -----------------------------------------------------------------------------------

stairs = {n: said(staircase(n)) for n in (4, 8, 16, 32, 64, 128)}
pieces = {n: said(straight_pieces(n)) for n in (4, 8, 16, 32, 64, 128)}
pictures = Path("runs") / "06_networks"
plots = [
    (fits, "trained.png", "Networks of tanh neurons, trained"),
    (stairs, "steps.png", "Staircases of binary steps, built by hand"),
    (pieces, "relus.png", "Straight pieces of ReLUs, built by hand"),
]
print()
try:
    for drawn, file, title in plots[: 1 if SHORT else None]:
        print("Picture:", plot.approximations(x, curve(x), drawn, pictures / file, title))
except MissingPackageError as error:
    print(f"No pictures: {error}")
