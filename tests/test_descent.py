"""Gradient descent by hand: the numbers of the course in exact fractions, limits, and paths."""

from fractions import Fraction

import numpy as np
import pytest

from refnet.autograd.variable import Variable
from refnet.descent import (
    Line,
    central_differences,
    course_line,
    descend,
    descend_in_batches,
    largest_stable_rate,
)
from refnet.errors import ArgumentError, DataError, ShapeError, UnknownNameError
from refnet.optimizers import SGD, Adam, RMSprop

X = [Fraction(5, 10), Fraction(23, 10), Fraction(29, 10)]
Y = [Fraction(14, 10), Fraction(19, 10), Fraction(32, 10)]
SLOPE = Fraction(64, 100)


def exact_gradient(intercept, slope):
    r = [y - (intercept + slope * x) for x, y in zip(X, Y, strict=True)]
    return sum(-2 * e for e in r), sum(-2 * x * e for x, e in zip(X, r, strict=True))


def noisy_line(n=24):
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 3, n)
    return Line(x, 1 + 0.6 * x + rng.normal(0, 0.4, n), mean=True)


# -- the course's example ------------------------------------------------------------------------


def test_every_row_of_the_course_is_exact():
    path = descend(course_line(0.64), [0.0], SGD(learning_rate=0.1), tolerance=0.001)
    intercept = Fraction(0)
    for k in range(len(path)):
        derivative, _ = exact_gradient(intercept, SLOPE)
        step = derivative / 10
        assert path.parameters[k, 0] == pytest.approx(float(intercept), rel=1e-10)
        assert path.gradients[k, 0] == pytest.approx(float(derivative), rel=1e-10)
        assert path.step_sizes[k, 0] == pytest.approx(float(step), rel=1e-10)
        loss = sum((y - (intercept + SLOPE * x)) ** 2 for x, y in zip(X, Y, strict=True))
        assert path.losses[k] == pytest.approx(float(loss), rel=1e-10)
        intercept -= step
        small = abs(step) < Fraction(1, 1000)
        assert small == (k == len(path) - 1)  # the first small step is the last
    assert path.end[0] == pytest.approx(float(intercept), rel=1e-10)
    assert (len(path), path.ended) == (8, "step size close to 0")
    assert exact_gradient(Fraction(0), SLOPE)[0] == Fraction("-5.704")


def test_both_parameters_arrive_at_least_squares():
    path = descend(course_line(), [0.0, 1.0], SGD(0.01), steps=5000, tolerance=1e-14)
    assert path.end == pytest.approx([37 / 39, 25 / 39], rel=1e-10)
    assert exact_gradient(Fraction(37, 39), Fraction(25, 39)) == (0, 0)


def test_five_steps_with_both_parameters_are_exact():
    path = descend(course_line(), [0.0, 1.0], SGD(0.01), steps=5, tolerance=0.0)
    theta = [Fraction(0), Fraction(1)]
    for found in path.parameters:
        assert found == pytest.approx([float(t) for t in theta], rel=1e-12, abs=1e-15)
        theta = [t - g / 100 for t, g in zip(theta, exact_gradient(*theta), strict=True)]


@pytest.mark.parametrize("slope", [None, 0.64])
@pytest.mark.parametrize("mean", [False, True])
def test_gradient_hessian_and_minimum_of_a_line_fit_its_loss(slope, mean):
    line = Line(noisy_line().x, noisy_line().y, slope, mean)
    theta = np.array([0.3, -0.7])[: len(line.names)]
    assert line.gradient(theta) == pytest.approx(central_differences(line, theta), abs=1e-7)
    rows = [
        central_differences(lambda t, j=j: line.gradient(t)[j], theta) for j in range(len(theta))
    ]
    np.testing.assert_allclose(line.hessian(), rows, atol=1e-7)
    assert np.abs(line.gradient(line.best())).max() < 1e-12


def test_the_squares_in_the_slope_gradient_of_the_course_are_a_misprint():
    line, theta = course_line(), np.array([0.0, 1.0])
    r, x = line.residuals(theta), line.x
    printed = -2 * x[0] * r[0] - 2 * x[2] * r[2] ** 2 - 2 * x[1] * r[1] ** 2
    nudged = central_differences(line, theta)[1]
    assert nudged == pytest.approx(-0.8, abs=1e-8)
    assert abs(printed - nudged) > 1


# -- learning rates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "start"), [(course_line(0.64), [0.0]), (course_line(), [0.0, 1.0])], ids=["one", "two"]
)
def test_the_stability_limit_has_two_sides(line, start):
    limit = largest_stable_rate(line.hessian())
    below = descend(line, start, SGD(0.99 * limit), 2000, tolerance=0.0)
    above = descend(line, start, SGD(1.01 * limit), 2000, tolerance=0.0)
    assert below.end == pytest.approx(line.best(), abs=1e-8)
    assert above.losses[-1] > 1e6 * above.losses[0]


def test_the_limit_of_the_intercept_is_a_third():
    assert largest_stable_rate(course_line(0.64).hessian()) == pytest.approx(1 / 3, rel=1e-15)
    half = descend(course_line(0.64), [0.0], SGD(1 / 6), steps=1, tolerance=0.0)
    assert half.end[0] == pytest.approx(2.852 / 3, rel=1e-14)  # there in one step


@pytest.mark.parametrize(
    ("rate", "same_side", "nearer"),
    [(0.05, True, True), (0.3, False, True), (0.36, False, False)],
    ids=["slowly", "oscillating", "diverging"],
)
def test_slow_oscillating_and_diverging(rate, same_side, nearer):
    line = course_line(0.64)
    path = descend(line, [0.0], SGD(rate), 20, tolerance=0.0)
    distance = path.parameters[:, 0] - line.best()[0]
    assert distance == pytest.approx(distance[0] * (1 - 6 * rate) ** np.arange(21), rel=1e-6)
    assert (distance[1:] * distance[:-1] > 0).all() == same_side
    assert (np.abs(distance[1:]) < np.abs(distance[:-1])).all() == nearer


def test_a_descent_that_overflows_stops():
    path = descend(course_line(), [0.0, 1.0], SGD(1.0), steps=10_000)
    assert path.ended == "diverged"
    assert len(path) < 200
    assert np.isfinite(path.losses[:-1]).all()
    assert not np.isfinite(path.losses[-1])


def test_steps_end_at_their_number():
    path = descend(course_line(), [0.0, 1.0], SGD(1e-3), steps=7)
    assert (len(path), path.ended) == (7, "maximum number of steps")
    assert path.parameters.shape == (8, 2)
    assert path.losses.shape == (8,)
    assert path.gradients.shape == path.step_sizes.shape == (7, 2)
    assert path.epochs.tolist() == list(range(8))


def test_a_path_says_in_one_line_what_it_did():
    path = descend(course_line(0.64), [0.0], SGD(0.1), tolerance=0.001)
    assert repr(path) == "<Path of 8 steps to (0.950044), loss 0.44462: step size close to 0>"
    assert repr(descend(course_line(), [0.0, 1.0], SGD(0.0), 1, 0.0)) == (
        "<Path of 1 step to (0, 1), loss 1.06: maximum number of steps>"
    )
    assert repr(descend(course_line(), [0.0, 1.0], SGD(1.0))).endswith(", loss inf: diverged>")


def test_steps_shrink_though_the_rate_does_not():
    path = descend(course_line(0.64), [0.0], SGD(0.1))
    assert (np.diff(np.abs(path.step_sizes[:, 0])) < 0).all()
    np.testing.assert_allclose(path.step_sizes, 0.1 * path.gradients, atol=1e-15)


def test_a_schedule_sets_the_rate_of_each_step():
    line = course_line(0.64)
    path = descend(line, [0.0], SGD(0.5), 60, schedule=lambda t: 0.5 / (1 + 0.2 * t))
    rates = path.step_sizes[:4, 0] / path.gradients[:4, 0]
    assert rates == pytest.approx([0.5, 0.5 / 1.2, 0.5 / 1.4, 0.5 / 1.6])
    assert path.end == pytest.approx(line.best(), abs=1e-3)
    constant = descend(line, [0.0], SGD(0.5), 60)
    assert abs(constant.end[0] - line.best()[0]) > 1e6


# -- rules ---------------------------------------------------------------------------------------

RULES = {
    "sgd": lambda: SGD(0.02),
    "momentum": lambda: SGD(0.02, momentum=0.9),
    "nesterov": lambda: SGD(0.02, momentum=0.9, nesterov=True),
    "rmsprop": lambda: RMSprop(0.02),
    "adam": lambda: Adam(0.02),
}


@pytest.mark.parametrize("name", RULES)
def test_a_path_takes_the_steps_of_its_optimizer(name):
    line, start = course_line(), [0.0, 1.0]
    path = descend(line, start, RULES[name](), 12, tolerance=0.0)
    optimizer, theta = RULES[name](), Variable(np.array(start))
    for k in range(12):
        optimizer.apply_gradients([(line.gradient(theta.numpy()), theta)])
        assert path.parameters[k + 1].tolist() == theta.numpy().tolist()
    assert path.parameters.dtype == np.float64


@pytest.mark.parametrize("name", RULES)
def test_every_rule_goes_down(name):
    line = course_line()
    path = descend(line, [0.0, -1.0], RULES[name](), 1500, tolerance=0.0)
    assert path.losses[-1] - line(line.best()) < 0.01


def test_the_first_steps_of_adam_and_rmsprop_do_not_feel_the_scale_of_the_loss():
    for height in (1.0, 1000.0):
        line = Line([0.0], [height], slope=0.0)  # a gradient of -2 · height
        for rule, size in ((Adam(0.01), -0.01), (RMSprop(0.01), -0.01 / np.sqrt(0.1))):
            path = descend(line, [0.0], rule, steps=1, tolerance=0.0)
            assert path.step_sizes[0, 0] == pytest.approx(size, rel=1e-6)


def test_a_rule_may_be_a_name():
    assert len(descend(course_line(), [0.0, 1.0], "adam", 3, tolerance=0.0)) == 3


# -- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "steps"), [(24, 1), (7, 4), (1, 24)])
def test_an_epoch_sees_every_point_once(size, steps):
    line = noisy_line()
    path = descend_in_batches(line, [0.0, 0.0], SGD(1e-9), size, epochs=3, seed=5)
    assert (len(path), path.steps_per_epoch, path.epochs[-1]) == (3 * steps, steps, 3.0)
    sizes = np.array([size] * (24 // size) + [24 % size] * (24 % size > 0))
    for epoch in range(3):  # at a rate of almost 0, the batches of an epoch add up to the whole
        followed = path.gradients[epoch * steps : (epoch + 1) * steps]
        np.testing.assert_allclose(sizes @ followed / 24, line.gradient([0.0, 0.0]), rtol=1e-6)


def test_the_whole_as_one_batch_is_batch_gradient_descent():
    line = noisy_line()
    by_batch = descend_in_batches(line, [0.0, 0.0], SGD(0.1), 24, epochs=30)
    plain = descend(line, [0.0, 0.0], SGD(0.1), 30, tolerance=0.0)
    np.testing.assert_allclose(by_batch.parameters, plain.parameters, rtol=1e-12)


def test_the_seed_decides_the_order():
    def path(seed):
        return descend_in_batches(noisy_line(), [0.0, 0.0], SGD(0.05), 1, 2, seed).parameters

    assert (path(1) == path(1)).all()
    assert not (path(1) == path(2)).all()


def test_epochs_come_in_different_orders():
    gradients = descend_in_batches(noisy_line(), [0.0, 0.0], SGD(0.0), 1, 2).gradients
    assert not np.array_equal(gradients[:24], gradients[24:])
    assert sorted(map(tuple, gradients[:24])) == sorted(map(tuple, gradients[24:]))


def test_noise_grows_as_batches_shrink_and_batch_descent_has_none():
    line = noisy_line()
    ends = [
        descend_in_batches(line, line.best(), SGD(0.05), size, epochs=200, seed=2)
        for size in (24, 6, 1)
    ]
    rattle = [np.mean(path.losses - line(line.best())) for path in ends]
    assert rattle[0] < 1e-25
    assert 1e-5 < rattle[1] < rattle[2] / 3


def test_a_decreasing_rate_settles_stochastic_descent():
    line = noisy_line()
    ends = [
        descend_in_batches(line, [0.0, 0.0], SGD(0.05), 1, 150, seed=1, schedule=schedule)
        for schedule in (None, lambda t: 0.05 / (1 + t / 100))
    ]
    constant, decreasing = (np.mean(p.losses[-480:]) - line(line.best()) for p in ends)
    assert decreasing < constant / 20


# -- bad input -----------------------------------------------------------------------------------


def test_what_is_no_line():
    with pytest.raises(ShapeError, match=r"one length, got shapes \(2,\) and \(3,\)"):
        Line([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="at least one point"):
        Line([], [])
    with pytest.raises(DataError, match="finite"):
        Line([1.0, np.nan], [0.0, 1.0])
    with pytest.raises(ShapeError, match=r"θ is \(intercept, slope\), got shape \(1,\)"):
        descend(course_line(), [0.0])
    with pytest.raises(ShapeError, match=r"θ is \(intercept\), got shape \(2,\)"):
        course_line(0.64)([0.0, 1.0])


def test_what_is_no_descent():
    used = SGD(0.1)
    descend(course_line(0.64), [0.0], used, steps=2)
    with pytest.raises(ArgumentError, match=r"new optimizer.*has taken 2 steps"):
        descend(course_line(0.64), [0.0], used)
    with pytest.raises(ArgumentError, match=r"got 0 and 0\.001"):
        descend(course_line(), [0.0, 1.0], steps=0)
    with pytest.raises(ArgumentError, match="got 5 and nan"):
        descend(course_line(), [0.0, 1.0], steps=5, tolerance=float("nan"))
    with pytest.raises(UnknownNameError, match="did you mean 'adam'"):
        descend(course_line(), [0.0, 1.0], "adamm")
    for size in (0, 25):
        with pytest.raises(ArgumentError, match=f"from 1 to 24, got {size}"):
            descend_in_batches(noisy_line(), [0.0, 0.0], batch_size=size)


def test_what_is_no_hessian():
    with pytest.raises(ShapeError, match="symmetric"):
        largest_stable_rate([[1.0, 2.0], [0.0, 1.0]])
    with pytest.raises(ArgumentError, match="bends upwards nowhere"):
        largest_stable_rate([[-1.0]])
