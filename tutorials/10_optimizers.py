"""Lesson 10: optimizers.

One loss surface and many ways down: with all examples in every step, a few, or one; with momentum,
RMSProp and Adam. What each of them does is measured, not told.

    python tutorials/10_optimizers.py

It needs NumPy alone. With matplotlib it leaves pictures in runs/.
"""

import os
from pathlib import Path

import numpy as np

from refnet import plot
from refnet.descent import Line, descend, descend_in_batches, largest_stable_rate
from refnet.errors import MissingPackageError
from refnet.optimizers import SGD, Adam, RMSprop

SHORT = os.environ.get("REFNET_LESSON") == "short"  # how the tests run it
EPOCHS = 100 if SHORT else 400
TRIED = 10 ** np.linspace(-3, 1, 13 if SHORT else 25)  # learning rates

# -- 1. One surface --------------------------------------------------------------------------------
#
# 64 noisy points near the line y = 1 + 0.6 x, and a line to be fitted. There are two parameters,
# intercept and slope, so the loss can be drawn as a map. It is the mean of the squared residuals.
#
# The map is a long valley: its steepest curvature is many times its flattest. That is what makes
# descents slow, here and in real networks.

N = 64
rng = np.random.default_rng(0)
x = rng.uniform(0, 3, N)
line = Line(x, 1 + 0.6 * x + rng.normal(0, 0.4, N), mean=True)
best, start = line.best(), np.array([-1.0, 2.0])
flat, steep = np.linalg.eigvalsh(line.hessian())
limit = largest_stable_rate(line.hessian())
print(f"The best line: intercept {best[0]:.4f}, slope {best[1]:.4f}, loss {line(best):.4f}")
print(f"Curvature from {flat:.2f} to {steep:.2f}; plain descent is stable below η = {limit:.3f}")


def excess(path, k=-1):
    """How far above the smallest loss a path is at its k-th point."""
    return path.losses[k] - line(best)


# -- 2. Batch, stochastic, mini-batch --------------------------------------------------------------
#
# Batch gradient descent averages the gradients of all examples, and takes one step an epoch.
# Stochastic gradient descent takes a step after each example, mini-batch after a few. In one epoch
# each of them looks at every example once: the work is the same, the number of steps is not.

RATE = 0.05
print(f"\nLoss above the smallest, all with η = {RATE}:")
print("   batch size   steps in an epoch   after 1 epoch        5       20")
paths = {}
for size, name in ((N, "batch"), (8, "mini-batch"), (1, "stochastic")):
    path = descend_in_batches(line, start, SGD(RATE), size, epochs=20, seed=1)
    paths[f"{name}, {size} in a step"] = path
    after = [excess(path, k * path.steps_per_epoch) for k in (1, 5, 20)]
    row = "".join(f"{a:9.4f}" for a in after)
    print(f"   {size:10}   {path.steps_per_epoch:17}   {row[:13]:>13}{row[13:]:>14}")
batch, mini, stochastic = paths.values()
assert excess(stochastic, stochastic.steps_per_epoch) < excess(batch, 5)

# So for the same work the stochastic one comes near sooner. But why are its steps noisy? The gradient
# of a batch of k is a random number around the true one. Its variance falls with k; for batches
# drawn without repetition it is σ²/k · (n - k)/(n - 1), and for k = n nothing random is left.

each = np.array([line.subset([i]).gradient(start) for i in range(N)])
print("\n   batch size   spread of the intercept's derivative   by the formula")
for k in (1, 4, 16, 64):
    drawn = [each[rng.permutation(N)[:k], 0].mean() for _ in range(4000)]
    formula = np.sqrt(each[:, 0].var() / k * (N - k) / (N - 1))
    print(f"   {k:10}   {np.std(drawn):36.4f}   {formula:14.4f}")
    assert np.isclose(np.std(drawn), formula, rtol=0.05, atol=1e-12)


# -- 3. "SGD converges faster"? --------------------------------------------------------------------
#
# It comes near faster. With a constant learning rate it does not converge at all: it rattles about
# the minimum, the more the larger η is. Batch gradient descent is slower at first and ends up
# with every digit right. A learning rate that decreases makes the stochastic one converge, slowly.


def mean_excess_of_last_epochs(path):
    return np.mean(path.losses[-10 * path.steps_per_epoch :]) - line(best)


def decreasing(t):
    return RATE / (1 + t / (5 * N))


print(f"\nAfter {EPOCHS} epochs, loss above the smallest, mean of the last 10 epochs:")
ends = {}
for name, size, rate, schedule in (
    ("batch, η = 0.2", N, 0.2, None),
    ("stochastic, η = 0.05", 1, 0.05, None),
    ("stochastic, η = 0.0125", 1, 0.0125, None),
    ("stochastic, η decreasing from 0.05", 1, RATE, decreasing),
):
    long = descend_in_batches(line, start, SGD(rate), size, EPOCHS, seed=1, schedule=schedule)
    ends[name] = mean_excess_of_last_epochs(long)
    print(f"   {name:36} {ends[name]:9.1e}")
exact, large, small, settling = ends.values()
assert exact < settling < small < large
assert small < large / 2


# -- 4. "Batch converges directly"? ----------------------------------------------------------------
#
# Its path is smooth. Direct it is not: the gradient is at right angles to the contours, and in a
# valley that is not the direction of the minimum.

to_minimum = best - start
for name, path in (
    ("batch", descend(line, start, SGD(0.2), 2000, tolerance=0.0)),
    ("stochastic", stochastic),
):
    first = -path.gradients[0]
    cosine = first @ to_minimum / np.linalg.norm(first) / np.linalg.norm(to_minimum)
    length = np.linalg.norm(path.step_sizes, axis=1).sum() / np.linalg.norm(to_minimum)
    print(
        f"   {name:10}: the first step is {np.degrees(np.arccos(cosine)):.0f} degrees off; the whole "
        f"path is {length:.1f} times the straight line"
    )
    if name == "batch":
        assert cosine < 0.9 and 1.01 < length < 3


# -- 5. What momentum, RMSProp and Adam do with a gradient -----------------------------------------
#
# Let the gradient be the same in every step, once 1, once 1000. How large are the steps?


class Slope:
    """A plane: the same gradient everywhere."""

    def __init__(self, steepness):
        self.steepness = steepness

    def __call__(self, theta):
        return self.steepness * float(theta[0])

    def gradient(self, theta):
        return np.array([self.steepness])


def rules(rate):
    return {
        "plain": SGD(rate),
        "momentum": SGD(rate, momentum=0.9),
        "Nesterov": SGD(rate, momentum=0.9, nesterov=True),
        "RMSProp": RMSprop(rate),
        "Adam": Adam(rate),
    }


print("\nStep size divided by η, where the gradient is always    1              1000")
print("                                                    step 1  step 200   step 1   step 200")
sizes = {}
for name in rules(0.01):
    sizes[name] = [
        descend(Slope(g), [0.0], rules(0.01)[name], 200, tolerance=0.0).step_sizes[:, 0] / 0.01
        for g in (1.0, 1000.0)
    ]
    row = [s[k] for s in sizes[name] for k in (0, -1)]
    print(f"   {name:46} {row[0]:8.3f} {row[1]:8.3f} {row[2]:9.3f} {row[3]:9.3f}")

# Momentum adds up: v ← 0.9 v - η g grows to 1 / (1 - 0.9) = 10 steps in one. Where gradients point to
# and fro it adds up to little. Nesterov's rule keeps the same v, and looks one step ahead: it moves by
# 0.9 v - η g, with the new v. In the first step that v is -η g, so it moves by 1.9 times η g.
#
# RMSProp divides by the root of the mean square of recent gradients, so a step is about η whatever
# the gradient's size. (It is no kind of momentum, as the course has it.) Its first step is larger,
# 1/√0.1, because the mean square starts at 0. Adam does the same with a mean of gradients on top,
# that is momentum, and corrects both means for their start: every step here is η.

assert np.isclose(sizes["momentum"][0][-1], 10) and np.isclose(sizes["momentum"][1][-1], 10_000)
assert np.isclose(sizes["Nesterov"][0][0], 0.9 + 1)
for g in (0, 1):
    assert np.isclose(sizes["RMSProp"][g][0], 1 / np.sqrt(0.1), rtol=1e-5)
    assert np.isclose(sizes["RMSProp"][g][-1], 1, rtol=1e-5)
    assert np.allclose(sizes["Adam"][g], 1, rtol=1e-5)

# So these two do not care about the scale of the loss. Multiply it by 100: plain descent diverges,
# Adam walks nearly the same path.


class Scaled:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, theta):
        return self.scale * line(theta)

    def gradient(self, theta):
        return self.scale * line.gradient(theta)


for name in ("plain", "Adam"):
    once, hundred = (
        descend(Scaled(scale), start, rules(0.1)[name], 50, tolerance=0.0).end for scale in (1, 100)
    )
    ends_at = [" and ".join(f"{value:.4g}" for value in end) for end in (once, hundred)]
    print(f"   {name:6} after 50 steps: {ends_at[0]}; with the loss times 100: {ends_at[1]}")
    assert np.allclose(once, hundred, atol=1e-3) == (name == "Adam")


# -- 6. The same surface, the same start -----------------------------------------------------------
#
# "Adam is a much more efficient way." On every surface? Here are the valley above, and a longer one:
# the same points moved right by 2, so that intercept and slope are harder to tell apart. Each rule
# gets the learning rate that serves it best, of TRIED, from 0.001 to 10, with 100 steps that follow the
# gradient of all examples. Paths that oscillate dip now and then, so the loss at step 100 alone would
# be luck: what counts is the largest of the last 10. The last column counts the rates that are any good.


def best_of(rule, surface, rates):
    """(the path whose last 10 losses are lowest, its rate, their largest, how many rates are good)

    All above the minimum; a rate is good if the largest of its last 10 losses is less than 0.01 above.
    """
    found = [descend(surface, start, rules(rate)[rule], 100, tolerance=0.0) for rate in rates]
    last = np.array([p.losses[-10:].max() for p in found]) - surface(surface.best())
    last[[p.ended == "diverged" for p in found]] = np.inf
    chosen = int(last.argmin())
    return found[chosen], rates[chosen], last[chosen], int((last < 0.01).sum())


long_valley = Line(line.x + 2, line.y + 1.2, mean=True)
all_ways, above, good_rates = {}, {}, {}
for label, surface in (("the valley above", line), ("a longer valley", long_valley)):
    curvature = np.linalg.eigvalsh(surface.hessian())
    print(f"\n   {label}, steepest by flattest curvature: {curvature[1] / curvature[0]:.0f}")
    print(f"   rule        best η    largest of the last 10    good rates, of {len(TRIED)}")
    all_ways[label] = {}
    for name in rules(0.01):
        way, rate, ends_at, good = best_of(name, surface, TRIED)
        all_ways[label][f"{name}, η = {rate:.2g}"] = way
        above[label, name], good_rates[label, name] = ends_at, good
        print(f"   {name:9} {rate:8.3f}    {ends_at:22.1e}    {good:10}")
        assert rate < TRIED[-1]  # or the best may lie beyond
best_rules = {label: min(rules(0.01), key=lambda name: above[label, name]) for label in all_ways}
print("  ", "; ".join(f"{label}: {name} is best" for label, name in best_rules.items()))
assert best_rules == {"the valley above": "plain", "a longer valley": "Nesterov"}
for label in all_ways:
    assert above[label, "Nesterov"] < above[label, "Adam"] < above[label, "RMSProp"]
    assert good_rates[label, "Adam"] == max(good_rates[label, name] for name in rules(0.01))

# No rule is the best of all surfaces. Where the valley is short, plain descent with the right rate is
# hard to beat; where it is long, it hardly gets along, and Nesterov's momentum is far ahead. Adam is
# first in neither. Its strength is the last column: of the rates tried, more are good than with any
# other rule, so that a guess will do.


# -- 7. One learning rate for gradients of different size ------------------------------------------
#
# In a network, the derivatives by some parameters may be thousands of times those by others. Here is
# that in small: L = ½ (a² + 10,000 b²), started 1 away from the minimum in a and in b. And the same
# bowl, turned by 45 degrees: then both derivatives are large, or small, together.

RATIO = 10_000.0
RATES = 10 ** np.linspace(-4, 0, 5 if SHORT else 25)
turn = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)


class Bowl:
    """L = ½ θᵀ H θ, lowest at 0."""

    def __init__(self, hessian):
        self.hessian = hessian

    def __call__(self, theta):
        return 0.5 * float(theta @ self.hessian @ theta)

    def gradient(self, theta):
        return self.hessian @ theta


along = np.diag([1.0, RATIO])
bowls = {"along the axes": (Bowl(along), [1.0, -1.0])}
bowls["turned"] = Bowl(turn @ along @ turn.T), turn @ [1.0, -1.0]
print(
    "\n   300 steps each: the largest distance from the minimum in the last 10, with the best η of"
)
print(f"   0.0001 to 1 (and with how many of {len(RATES)} it is below 0.05)")
print("   rule       " + "".join(f"{label:>18}" for label in bowls))
for name in rules(0.01):
    distance, row = {}, f"   {name:11}"
    for label, (bowl, corner) in bowls.items():
        ways = [descend(bowl, corner, rules(rate)[name], 300, tolerance=0.0) for rate in RATES]
        ends_at = [
            np.linalg.norm(way.parameters[-10:], axis=1).max()
            for way in ways
            if way.ended != "diverged"
        ]
        distance[label] = min(ends_at)
        row += f"{distance[label]:13.1e} ({sum(d < 0.05 for d in ends_at):2})"
    print(row)
    assert (distance["along the axes"] < 0.05) == (name in ("RMSProp", "Adam"))
    assert distance["turned"] > 0.2

# RMSProp and Adam divide each parameter's step by the size of that parameter's own gradients: one η
# does for both. For the others, η has to be small enough for b, and then a hardly moves. But it is
# done parameter by parameter. In the turned bowl every parameter has a share in the steep direction
# and in the flat one, and then it does not help: no rule arrives.


# -- 8. Is the learning rate no hyperparameter any more? -------------------------------------------
#
# "RMSprop uses an adaptive learning rate instead of treating the learning rate as a hyperparameter."
# It adapts the step of each parameter, but η remains and has to be chosen. It says how near to the
# minimum one gets: as a step is about η long however small the gradient, RMSProp keeps stepping over
# the minimum and back. Here it starts close by, 0.2 away in each parameter.

print()
for rate in (0.1, 0.01, 0.001):
    path = descend(line, best + 0.2, RMSprop(rate), 1000, tolerance=0.0)
    off = np.abs(path.parameters[-200:] - best).max()
    print(f"   RMSProp with η = {rate:5}: in the last 200 of 1000 steps up to {off:.5f} off")
    assert 0.1 * rate < off < 10 * rate


# -- 9. Pictures -----------------------------------------------------------------------------------

pictures = Path("runs") / "10_optimizers"
try:
    plot.paths_on_surface(line, paths, pictures / "batches.png", "20 epochs each", panels=True)
    plot.excess_losses(line, paths, pictures / "batches_loss.png", "The same number of epochs")
    ways = all_ways["a longer valley"]
    plot.paths_on_surface(long_valley, ways, pictures / "rules.png", "100 steps each", panels=True)
    plot.excess_losses(long_valley, ways, pictures / "rules_loss.png", "The longer valley")
    print(f"\nPictures: {pictures}/batches.png, batches_loss.png, rules.png and rules_loss.png")
except MissingPackageError as error:
    print(f"\nNo pictures: {error}")
