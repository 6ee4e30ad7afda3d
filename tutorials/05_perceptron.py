"""Lesson 5: one neuron.

The perceptron of 1958: a weighted sum, a threshold, and a rule by which it learns. You will follow
the rule step by step, see a proof that it arrives, see a problem that it can never solve, and solve
that with three neurons.

    python tutorials/05_perceptron.py

It needs NumPy alone. With matplotlib it leaves pictures in runs/.
"""

import os
from pathlib import Path

import numpy as np

import refnet
from refnet import datasets, layers, plot
from refnet.errors import DataError, MissingPackageError
from refnet.perceptron import largest_margin, mistake_bound

SHORT = os.environ.get("REFNET_LESSON") == "short"  # how the tests run it
refnet.utils.set_random_seed(0)


# -- 1. The model ----------------------------------------------------------------------------------
#
# A nerve cell collects signals through its dendrites, and fires through its axon if they are strong
# enough. Rosenblatt's model of it weighs its inputs and adds them up,
#
#     f(x) = b + Σ_k w_k x_k = b + x · w
#
# (the course writes β for the weights, A for the inputs and β_0 for b), and then takes a step:
#
#     y = 1 if f(x) ≥ 0, else 0

x = np.array([3.0, 1.0, 4.0])
w = np.array([2.0, -1.0, 1.5])
print(f"x · w = {x[0]}·{w[0]} + {x[1]}·({w[1]}) + {x[2]}·{w[2]} = {x @ w}")


# -- 2. The bias is a threshold --------------------------------------------------------------------
#
# With b = -10, the weighted sum has to reach 10 before the neuron fires.

for b in (0.0, -10.0, -12.0):
    fires = refnet.activations.binary_step(x @ w + b)
    print(f"b = {b:5}: x · w + b = {x @ w + b:5}, so y = {fires:.0f}")
    assert fires == (x @ w >= -b)


# -- 3. Rosenblatt's rule --------------------------------------------------------------------------
#
# Show it the examples, one after the other. If its answer y is the target t, do nothing. If not,
# move the weights towards the example (it should have fired) or away from it (it should not have):
#
#     w ← w + η (t - y) x        b ← b + η (t - y)
#
# η, the learning rate, is 1 here. Let it learn AND: 1 if both inputs are 1.

corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])  # (4, 2)
AND = np.array([0, 0, 0, 1])

print("\nLearning AND:\n  epoch    x    target  answer      w        b")
w, b, mistakes = np.zeros(2), 0.0, [None]
while mistakes[-1] != 0:  # an epoch without a mistake is the end: nothing would change any more
    mistakes.append(0)
    for x, t in zip(corners, AND, strict=True):
        y = float(x @ w + b >= 0)
        if y != t:
            w, b = w + (t - y) * x, b + (t - y)
            mistakes[-1] += 1
            print(f"  {len(mistakes) - 1:3}    {x}     {t}       {y:.0f}     {w!s:8} {b:4}")
print(f"Mistakes in each epoch: {mistakes[1:]}")

# `refnet.Perceptron` does the same.

neuron = refnet.Perceptron().fit(corners, AND)
assert (neuron.weights == w).all()
assert neuron.bias == b
assert neuron.mistakes_per_epoch == mistakes[1:]
assert (neuron.predict(corners) == AND).all()
assert neuron.decision_function([[1, 1]]) == 0  # the threshold, just reached


# -- 4. What it draws is a line --------------------------------------------------------------------
#
# All x with x · w + b = 0 lie on a line (a plane in three dimensions, a hyperplane in more). On its
# one side the neuron says 1, on the other 0. Learning moves the line, and stops as soon as it has
# every example on the right side, or on the line where that counts as right: f = 0 says 1. So it is
# with AND, whose (1, 1) lies on the line exactly (see and.png).

gates = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "NAND": [1, 1, 1, 0]}
print("\n  gate   weights     bias   mistakes")
for name, labels in gates.items():
    learner = refnet.Perceptron().fit(corners, labels)
    print(f"  {name:5}  {learner.weights!s:10} {learner.bias:5}   {learner.mistakes:4}")
    assert learner.converged
    assert learner.score(corners, labels) == 1


# -- 5. It arrives: the bound on its mistakes ------------------------------------------------------
#
# Suppose some line separates the two classes. Then the rule finds one, after so many mistakes at
# most (Novikoff 1962):
#
#     mistakes ≤ (R / γ)²
#
# Treat the bias as the weight of one more input, which is always 1: z = (x, 1), v = (w, b). R is
# the length of the longest z. γ is the margin: how far the nearest z is from the separating plane.
#
# Why? Let u be the separating v, scaled to length 1, and let t = ±1 stand for the labels. A mistake
# on z adds tz to v.
#
#   - Each mistake adds at least γ to v · u, because t z · u ≥ γ. After M of them, v · u ≥ Mγ.
#   - Each adds at most R² to ‖v‖²: it becomes ‖v‖² + 2 t z · v + ‖z‖², and t z · v ≤ 0, or it would
#     not have been a mistake. After M of them, ‖v‖ ≤ R√M.
#   - v · u is at most ‖v‖. So Mγ ≤ R√M, which says M ≤ (R/γ)².
#
# Nothing here depends on the order of the examples, or on how many there are. Any separating plane
# gives a bound; the one with the largest margin gives the smallest.

weights, bias = largest_margin(corners, AND)
print(f"\nAND: the largest margin is that of the line {weights.round(3)} · x + {bias:.3f} = 0.")
bound = mistake_bound(corners, AND, weights, bias)
print(f"R² = 3, γ² = {3 / bound:.4f}: at most {bound:.1f} mistakes. It made {neuron.mistakes}.")
assert neuron.mistakes <= bound

rng = np.random.default_rng(0)
print("\nClouds of 200 points, pushed apart along a direction in d dimensions:")
print("   d    gap    bound   mistakes, in five orders")
for d, gap in ((2, 1.0), (2, 0.1), (10, 1.0), (10, 0.1), (50, 0.1)):
    u = rng.normal(size=d)
    u /= np.linalg.norm(u)
    points = rng.normal(size=(200, d))
    labels = (points @ u > 0).astype(int)
    points += gap / 2 * np.where(labels == 1, 1, -1)[:, None] * u
    bound = mistake_bound(points, labels, *largest_margin(points, labels))
    runs = [refnet.Perceptron(shuffle=True, seed=s).fit(points, labels) for s in range(5)]
    print(f"  {d:2}   {gap:4}   {bound:6.0f}   {[run.mistakes for run in runs]}")
    assert all(run.converged and run.mistakes <= bound for run in runs)


# -- 6. A perceptron that reads --------------------------------------------------------------------
#
# "Is it a 6?" asked of pictures of 64 pixels. The bound says beforehand that learning will end.

(x_train, y_train), (x_test, y_test) = datasets.digits.load_data()
x_train, x_test = x_train.reshape(-1, 64), x_test.reshape(-1, 64)

six = refnet.Perceptron().fit(x_train, y_train == 6)
bound = mistake_bound(x_train, y_train == 6, *largest_margin(x_train, y_train == 6))
print(f"\nIs it a 6? At most {bound:.0f} mistakes; it took {six.mistakes}.")
print(f"Of new digits, it answers {six.score(x_test, y_test == 6):.1%} right.")
assert six.converged
assert six.mistakes <= bound

# Not every question is of that kind. Is it an 8? No plane answers that, and this is the proof: some
# examples, each with a weight a > 0, so that Σ a t (x, 1) is 0 (but for rounding). A plane (w, b) with
# all examples on their right sides would have every t (x · w + b) > 0, and so a positive sum of them;
# but that sum is Σ a t (x, 1) · (w, b) = 0.

try:
    largest_margin(x_train, y_train == 8)
except DataError as error:
    print(f"Is it an 8: {error}.")
else:
    raise AssertionError("a plane separates the 8s")


# -- 7. XOR: what it cannot learn ------------------------------------------------------------------
#
# XOR is 1 if exactly one input is 1. The perceptron goes on and on:

XOR = np.array([0, 1, 1, 0])
stuck = refnet.Perceptron().fit(corners, XOR)
print(f"\nXOR: {stuck}")

# After an epoch its weights were those it had had before. The next epoch begins in the same state,
# so it will do the same things, and so for ever: this is a proof that it never converges. The picture
# stuck.png numbers the four lines that it goes through. It is not the rule's fault. Minsky and Papert
# (1969): no weights do it. They would have to satisfy
#
#     (0, 0) → 0:              b < 0
#     (0, 1) → 1:        w_2 + b ≥ 0
#     (1, 0) → 1:  w_1       + b ≥ 0
#     (1, 1) → 0:  w_1 + w_2 + b < 0
#
# Add the first and the last: w_1 + w_2 + 2b < 0. Add the two in the middle: w_1 + w_2 + 2b ≥ 0.
# Both cannot be. In the picture: no line has the two ends of one diagonal on its one side, and those
# of the other diagonal on its other side.

assert not stuck.converged
first, again = stuck.cycle
ends = np.cumsum(stuck.mistakes_per_epoch)
for epoch in (first, again):
    w, b = stuck.history[ends[epoch - 1] - 1]
    print(f"  after epoch {epoch}: w = {w}, b = {b}")

z = np.column_stack([corners, np.ones(4)])  # (4, 3)
t = np.where(XOR == 1, 1, -1)
print(f"  the four inequalities, t (x, 1) · v ≥ 0, two of them > 0, add up to {t @ z} · v > 0")
assert not (t @ z).any()


# -- 8. Three neurons can --------------------------------------------------------------------------
#
# XOR is "the one OR the other, AND NOT both". OR, NAND and AND are gates that one neuron can be. Two
# neurons look at the inputs, the third looks at these two:
#
#     h_1 = step(x_1 + x_2 - ½)       OR
#     h_2 = step(-x_1 - x_2 + 1½)     NAND
#     y   = step(h_1 + h_2 - 1½)      AND

by_hand = refnet.Sequential(
    [
        layers.Input((2,)),
        layers.Dense(2, activation="binary_step", name="hidden"),
        layers.Dense(1, activation="binary_step", name="output"),
    ]
)
by_hand.get_layer("hidden").set_weights([np.array([[1, -1], [1, -1]]), np.array([-0.5, 1.5])])
by_hand.get_layer("output").set_weights([np.array([[1], [1]]), np.array([-1.5])])

hidden = by_hand.get_layer("hidden")(corners.astype("float32")).numpy()
print("\n   x      OR  NAND   XOR")
for x, (h1, h2), y in zip(corners, hidden, by_hand.predict(corners)[:, 0], strict=True):
    print(f"  {x}    {h1:.0f}    {h2:.0f}     {y:.0f}")
assert (by_hand.predict(corners)[:, 0] == XOR).all()

# The hidden layer has moved the corners: (0, 1) and (1, 0) both to (1, 1), and now one line is
# enough. That is what layers are for.


# -- 9. And can learn it ---------------------------------------------------------------------------
#
# Rosenblatt's rule does not say what the hidden neurons' targets are, and a step tells gradient
# descent nothing: its gradient is 0. With smooth neurons in the place of steps, gradient descent
# finds weights by itself.

learned = refnet.Sequential(
    [
        layers.Input((2,)),
        layers.Dense(4, activation="tanh"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
learned.compile(refnet.optimizers.Adam(0.1), "binary_crossentropy")
learned.fit(corners, XOR, batch_size=4, epochs=150, verbose=0)
probability = learned.predict(corners)[:, 0]
print(f"\nA trained network says XOR is 1 with the probabilities {probability.round(3)}.")
assert ((probability > 0.5) == XOR).all()


# -- 10. Pictures ----------------------------------------------------------------------------------

cloud = rng.normal(size=(150, 2))
above = (cloud @ [0.8, 0.6] > 0.3).astype(int)
cloud += 0.05 * np.where(above == 1, 1, -1)[:, None] * [0.8, 0.6]
pictures = Path("runs") / "05_perceptron"
plots = [
    (neuron, corners, AND, "and.png", "A perceptron learns AND"),
    (
        refnet.Perceptron().fit(cloud, above),
        cloud,
        above,
        "cloud.png",
        "A perceptron parts a cloud",
    ),
    (stuck, corners, XOR, "stuck.png", "XOR: four lines, round and round"),
    (by_hand, corners, XOR, "by_hand.png", "XOR by hand: OR and NAND, then AND"),
    (learned, corners, XOR, "learned.png", "XOR, learned by gradient descent"),
]
print()
try:
    for model, x, y, file, title in plots[: 1 if SHORT else None]:
        print("Picture:", plot.decision_boundary(model, x, y, pictures / file, title))
except MissingPackageError as error:
    print(f"No pictures: {error}")
