"""Lesson 9: gradient descent by hand.

Three points, a line through them, and the steps that lead to the best line: few enough to follow
each of them with a pocket calculator.

    python tutorials/09_gradient_descent.py

It needs NumPy alone. With matplotlib it leaves pictures in runs/.
"""

from pathlib import Path

import numpy as np

from refnet import plot
from refnet.descent import central_differences, course_line, descend, largest_stable_rate
from refnet.errors import MissingPackageError
from refnet.optimizers import SGD

# -- 1. The points, the line, the loss -------------------------------------------------------------
#
# Somebody measured three pairs (x, y). A line predicts y from x:
#
#     prediction = intercept + slope · x
#
# A residual is what the prediction misses. The loss is the sum of the squared residuals. To begin
# with, the slope is known, 0.64, and only the intercept is looked for. `course_line` holds the three
# points of the course, and knows the residuals, the loss and the gradient of the lines through them.

line = course_line(slope=0.64)
print("    x     y    prediction with intercept 0    residual")
rows = zip(line.x, line.y, line.predictions([0.0]), line.residuals([0.0]), strict=True)
for x, y, predicted, residual in rows:
    print(f"  {x:.1f}   {y:.1f}   {predicted:27.3f}   {residual:9.3f}")
print(f"Sum of squared residuals: {line([0.0]):.6f}\n")
assert np.isclose(line([0.0]), 1.08**2 + 0.428**2 + 1.344**2, rtol=1e-12)


# -- 2. The derivative -----------------------------------------------------------------------------
#
# How does the loss change as the intercept does? By the chain rule each squared residual r² gives
# 2r times the derivative of r, which is -1:
#
#     d/d intercept = Σ -2 (y - (intercept + 0.64 · x))

derivative = line.gradient([0.0])[0]
print(
    f"At intercept 0 the derivative is {derivative:.3f}: negative, so the loss falls to the right."
)
assert np.isclose(derivative, -2 * (1.08 + 0.428 + 1.344), rtol=1e-12)


# -- 3. Step by step -------------------------------------------------------------------------------
#
# Step size = derivative × learning rate;  new intercept = old intercept - step size. Then everything
# again, until the step size is close to 0 (here: less than 0.001 from it) or 1000 steps are taken.
# A step size has the sign of the derivative: a negative one is a step to the right.
#
# The course says "in practice, minimum learning rate is 0.001". What stops a descent is a minimum
# *step size* of 0.001. The learning rate, here 0.1, stays as it is.

path = descend(line, [0.0], SGD(learning_rate=0.1), steps=1000, tolerance=0.001)
print("\n  step   intercept   derivative   step size   new intercept")
for k in range(len(path)):
    (old,), (g,), (size,) = path.parameters[k], path.gradients[k], path.step_sizes[k]
    print(f"  {k + 1:4}   {old:9.6f}   {g:10.6f}   {size:9.6f}   {path.parameters[k + 1, 0]:13.6f}")
best = line.best()[0]
print(f"It stopped after {len(path)} steps: {path.ended}.")
print(f"The best intercept is {best:.6f}: 2.852 / 3, the mean of y - 0.64 x.")
assert np.isclose(best, 2.852 / 3, rtol=1e-12)

# Two things to see. The steps get smaller although the learning rate does not: the derivative fades.
# And stopping is not arriving: here two thirds of the last step are still missing.

missing = best - path.end[0]
(last,) = path.step_sizes[-1]
print(
    f"It is {missing:.6f} short of it; its last step size was {last:.6f}, so {-last:.6f} to the right."
)
assert np.isclose(missing, -2 / 3 * last)


# -- 4. Two parameters: the gradient ---------------------------------------------------------------
#
# Now the slope is looked for as well. There are two derivatives, one for each parameter:
#
#     ∂L/∂intercept = Σ -2 (y - (intercept + slope · x))
#     ∂L/∂slope     = Σ -2 x (y - (intercept + slope · x))
#
# Together, as a vector, they are the gradient. It points the way the loss rises fastest; we go the
# other way. (One derivative alone is a gradient too, of one number.)
#
# In the course, two terms of ∂L/∂slope carry a square: -2 · 2.9 (3.2 - ...)². Is that right? Nudge the
# slope and look:

both = course_line()
theta = np.array([0.0, 1.0])  # intercept 0, slope 1


def as_in_the_course(theta):
    r, x = both.residuals(theta), both.x
    return -2 * x[0] * r[0] - 2 * x[2] * r[2] ** 2 - 2 * x[1] * r[1] ** 2


nudged = central_differences(both, theta)
print(f"\n∂L/∂slope by nudging         {nudged[1]:9.5f}")
print(f"         by the chain rule   {both.gradient(theta)[1]:9.5f}")
print(f"         with the squares    {as_in_the_course(theta):9.5f}   a misprint")
assert np.allclose(nudged, both.gradient(theta), atol=1e-8)
assert abs(as_in_the_course(theta) - nudged[1]) > 0.1

# A squared residual has lost its sign, so the misprinted formula cannot tell whether the line lies
# above a point or below. Where the loss is smallest the true gradient is zero. The misprint is not:

print(
    f"At the best line: gradient {np.abs(both.gradient(both.best())).max():.0e}, "
    f"with the squares {as_in_the_course(both.best()):.3f}"
)
assert abs(as_in_the_course(both.best())) > 1


# -- 5. Down to least squares ----------------------------------------------------------------------
#
# For a line the best parameters can also be computed without any descent: least squares. After
# enough steps the two are the same. That is what the course means by "it's same as SS".

print("\n  stop below   steps     intercept          slope")
for tolerance in (1e-3, 1e-6, 1e-14):
    down = descend(both, theta, SGD(0.01), steps=5000, tolerance=tolerance)
    print(f"  {tolerance:10.0e}   {len(down):5}   {down.end[0]:.10f}   {down.end[1]:.10f}")
print(f"  least squares        {both.best()[0]:.10f}   {both.best()[1]:.10f}   (37/39 and 25/39)")
assert np.allclose(down.end, both.best(), rtol=1e-10)
assert np.allclose(both.best(), [37 / 39, 25 / 39], rtol=1e-12)

# With 0.001, the rule of the course, it stops early: this surface is a long valley. Across it the
# steps are right, along it they are tiny, and a tiny step looks like an arrival.


# -- 6. The learning rate --------------------------------------------------------------------------
#
# Back to the intercept alone. The loss is a parabola whose second derivative is 6 everywhere. One
# step multiplies the distance to the minimum by 1 - 6η:
#
#     η < 1/6         between 0 and 1: it comes nearer from one side
#     η = 1/6         0: it is there in one step
#     1/6 < η < 1/3   negative, smaller than 1 in size: it jumps over the minimum, to and fro, and nearer
#     η = 1/3         -1: to and fro for ever
#     η > 1/3         larger than 1: each jump is longer than the last

limit = largest_stable_rate(line.hessian())
print(f"\nThe limit is 2 / 6 = {limit:.4f}. After 30 steps:")
rates = {}
for rate, what in [
    (0.002, "too small"),
    (0.1, "good"),
    (1 / 6, "the first step arrives"),
    (0.3, "oscillates"),
    (1 / 3, "for ever to and fro"),
    (0.35, "diverges"),
]:
    rates[f"η = {rate:.3g}, {what}"] = steps = descend(line, [0.0], SGD(rate), 30, tolerance=0.0)
    distance = steps.end[0] - best
    print(f"  η = {rate:.4f}   1 - 6η = {1 - 6 * rate:7.4f}   distance {distance:12.3e}   {what}")
    assert np.isclose(distance, -best * (1 - 6 * rate) ** 30, rtol=1e-9, atol=1e-15)

# "Larger steps: you might miss the minimum" is true only from some size on, and then it is worse
# than a miss. With two parameters the steepest direction sets the limit: 2 / λ, where λ is the
# largest eigenvalue of the matrix of second derivatives.

limit = largest_stable_rate(both.hessian())
print(f"\nBoth parameters: the limit is {limit:.5f}.")
for factor in (0.98, 1.02):
    end = descend(both, theta, SGD(factor * limit), 500, tolerance=0.0)
    print(f"  {factor:.2f} of it: after 500 steps the loss is {end.losses[-1]:.4g}")
    assert (end.losses[-1] < end.losses[0]) == (factor < 1)


# -- 7. Larger steps first, smaller ones later -----------------------------------------------------
#
# "Step sizes were equal previously", says the course; section 3 shows that they are not, where a step
# is derivative × learning rate. What can be made smaller besides is the learning rate itself. Then
# one may start with a rate far too large: it overshoots at first, and settles once η is small enough.


def decreasing(t):
    return 0.5 / (1 + 0.2 * t)


settled = descend(line, [0.0], SGD(0.5), steps=60, schedule=decreasing)
wild = descend(line, [0.0], SGD(0.5), steps=60)
print("\n  step   intercept with η = 0.5    with η = 0.5 / (1 + 0.2 t)")
for k in (0, 1, 2, 3, 4, 6, 8, 10):
    if k < len(settled.parameters):
        print(f"  {k:4}   {wild.parameters[k, 0]:22.4f}   {settled.parameters[k, 0]:27.4f}")
print(f"The decreasing one stopped after {len(settled)} steps: {settled.ended}.")
assert abs(settled.end[0] - best) < 0.001 < abs(wild.end[0] - best)


# -- 8. Pictures -----------------------------------------------------------------------------------

pictures = Path("runs") / "09_gradient_descent"
fits = {
    "where it starts": path.parameters[0],
    "after one step": path.parameters[1],
    f"after {len(path)} steps": path.end,
}
ways = {"learning rate 0.01": down, "0.98 of the limit": descend(both, theta, SGD(0.98 * limit))}
try:
    plot.line_fits(line, fits, pictures / "line.png", "The line with slope 0.64")
    plot.steps_on_curve(line, {"η = 0.1": path}, pictures / "steps.png", "Down the curve")
    plot.steps_on_curve(line, rates, pictures / "rates.png", "Learning rates")
    plot.paths_on_surface(both, ways, pictures / "surface.png", "Intercept and slope together")
    print(f"\nPictures: {pictures}/line.png, steps.png, rates.png and surface.png")
except MissingPackageError as error:
    print(f"\nNo pictures: {error}")


# -- Summary ---------------------------------------------------------------------------------------
#
# 1. Take the derivative of the loss with respect to each parameter: the gradient.
# 2. Pick values to start from.
# 3. Put them into the gradient.
# 4. Step size = gradient × learning rate.
# 5. New parameters = old parameters - step size.
#
# Repeat 3 to 5 until the step size is small or there were steps enough. It works the same way for
# any loss that has a gradient; where it arrives is the lowest point only if there is but one valley.
