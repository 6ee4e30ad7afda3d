r"""Gradient descent by hand: a line through points, and every step on the way to the best one.

The course fits a line to three points. Its loss is the sum of squared residuals,

    L(intercept, slope) = Σ_i (y_i - (intercept + slope · x_i))²

and one step of gradient descent goes against the gradient, η being the learning rate:

    step size = ∂L/∂θ · η        θ ← θ - step size

The update rules are those of `refnet.ops.optimizers`, reached through `refnet.optimizers`; here they
are applied one step at a time, in float64, and everything they pass is kept.

>>> from refnet.optimizers import SGD
>>> path = descend(course_line(slope=0.64), [0.0], SGD(learning_rate=0.1))
>>> path
<Path of 8 steps to (0.950044), loss 0.44462: step size close to 0>
>>> path.gradients[:2].round(4).tolist()
[[-5.704], [-2.2816]]
>>> path.parameters[:3].round(5).tolist()
[[0.0], [0.5704], [0.79856]]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any, Protocol

import numpy as np

from refnet import optimizers
from refnet.autograd.variable import Variable
from refnet.errors import ArgumentError, DataError, ShapeError
from refnet.optimizers import Optimizer

Array = np.ndarray[Any, Any]


class Surface(Protocol):
    """A loss to go down on: its height at the parameters θ, and its gradient there, shaped like θ."""

    def __call__(self, theta: Any) -> float:
        """L(θ)"""

    def gradient(self, theta: Any) -> Array:
        """∂L/∂θ"""


@dataclass(frozen=True, eq=False)
class Line:
    r"""L(θ) = Σ_i (y_i - (intercept + slope · x_i))², the sum of squared residuals of a line

    θ is (intercept, slope), or the intercept alone where a `slope` is given and stays fixed. With
    mean=True everything is divided by the number of points, so that batches of any size compare.

    Examples
    --------
    >>> line = Line([0.5, 2.3, 2.9], [1.4, 1.9, 3.2])
    >>> line.residuals([0.0, 1.0]).round(10).tolist()
    [0.9, -0.4, 0.3]
    >>> round(line([0.0, 1.0]), 10)
    1.06
    """

    x: Any
    y: Any
    slope: float | None = None
    mean: bool = False

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if self.x.ndim != 1 or self.x.shape != self.y.shape:
            raise ShapeError(
                f"a line takes x and y of one length, got shapes {self.x.shape} and {self.y.shape}"
            )
        if not len(self.x) or not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise DataError("a line needs at least one point, and finite numbers")

    @property
    def names(self) -> tuple[str, ...]:
        """What the parameters are called, in their order."""
        return ("intercept", "slope") if self.slope is None else ("intercept",)

    def predictions(self, theta: Any) -> Array:
        r"""intercept + slope · x, one for each point."""
        if np.shape(theta) != (len(self.names),):
            raise ShapeError(f"θ is ({', '.join(self.names)}), got shape {np.shape(theta)}")
        intercept, slope = theta if self.slope is None else (theta[0], self.slope)
        on_line: Array = intercept + slope * self.x
        return on_line

    def residuals(self, theta: Any) -> Array:
        """How far each point lies above the line: y - (intercept + slope · x)."""
        above: Array = self.y - self.predictions(theta)
        return above

    def __call__(self, theta: Any) -> float:
        r"""Σ residual², or their mean."""
        return float((self.residuals(theta) ** 2).sum() * self._weight)

    def gradient(self, theta: Any) -> Array:
        r"""∂L/∂intercept = Σ -2 · residual,  ∂L/∂slope = Σ -2 · x · residual"""
        r = self.residuals(theta)
        by_both = [(-2 * r).sum(), (-2 * self.x * r).sum()]
        return np.array(by_both[: len(self.names)]) * self._weight

    def hessian(self) -> Array:
        r"""The second derivatives, the same at every θ: 2 · [[n, Σx], [Σx, Σx²]]."""
        n, x = len(self.x), self.x
        by_both = 2 * np.array([[n, x.sum()], [x.sum(), (x * x).sum()]])
        return by_both[: len(self.names), : len(self.names)] * self._weight

    def best(self) -> Array:
        """The θ of least squares, where the gradient is zero, without a single step."""
        columns = np.stack([np.ones_like(self.x), self.x], axis=1)[:, : len(self.names)]
        target = self.y if self.slope is None else self.y - self.slope * self.x
        theta: Array = np.linalg.lstsq(columns, target, rcond=None)[0]
        return theta

    def subset(self, rows: Any) -> Line:
        """The same loss over some of the points: a batch."""
        return Line(self.x[rows], self.y[rows], self.slope, self.mean)

    @property
    def _weight(self) -> float:
        return 1 / len(self.x) if self.mean else 1.0


def course_line(slope: float | None = None) -> Line:
    """The three points of the course. With slope=0.64 the intercept alone is to be found."""
    return Line([0.5, 2.3, 2.9], [1.4, 1.9, 3.2], slope)


@dataclass(frozen=True, eq=False)
class Path:
    """Every point a descent of K steps came by; n is the number of parameters.

    Attributes
    ----------
    parameters : (K + 1, n), the start first.
    losses : (K + 1,), the height of the whole surface at each of them.
    gradients : (K, n), what each step followed: at parameters[k], of the batch that was seen.
    ended : why it stopped: "step size close to 0", "maximum number of steps" or "diverged".
    steps_per_epoch : how many steps see every example once.
    """

    parameters: Array
    losses: Array
    gradients: Array
    ended: str
    steps_per_epoch: int = 1

    @property
    def step_sizes(self) -> Array:
        """(K, n), what each step took off the parameters; for plain descent the gradient times η."""
        return -np.diff(self.parameters, axis=0)

    @property
    def end(self) -> Array:
        """(n,), the parameters at which it stopped."""
        last: Array = self.parameters[-1]
        return last

    @property
    def epochs(self) -> Array:
        """(K + 1,), how often all examples had been seen at each point."""
        return np.arange(len(self.parameters)) / self.steps_per_epoch

    def __len__(self) -> int:
        return len(self.gradients)

    def __repr__(self) -> str:
        steps = f"{len(self)} step{'s' * (len(self) != 1)}"
        end = ", ".join([f"{v:.6g}" for v in self.end[:4]] + ["..."] * (len(self.end) > 4))
        return f"<Path of {steps} to ({end}), loss {self.losses[-1]:.6g}: {self.ended}>"


def descend(
    surface: Surface,
    start: Sequence[float] | Array,
    rule: str | Optimizer = "sgd",
    steps: int = 1000,
    tolerance: float = 0.001,
    schedule: Callable[[int], float] | None = None,
    seen: Iterable[Surface] | None = None,
    steps_per_epoch: int = 1,
) -> Path:
    """Go down a surface until a step is small, or for a number of steps.

    Parameters
    ----------
    rule : an optimizer that has taken no step yet, or its name.
    tolerance : the last step is the first of which every component is smaller than this; 0 means that
        all steps are taken.
    schedule : the learning rate of step 0, 1, 2 ...; without it the optimizer keeps its own.
    seen : the surfaces whose gradients the steps follow, a batch each; `surface` itself if not given.

    A descent whose loss is no longer a finite number has diverged, and stops there.
    """
    optimizer = optimizers.get(rule)
    if optimizer.iterations:
        raise ArgumentError(
            f"a descent starts with a new optimizer: {optimizer} has taken {optimizer.iterations} steps"
        )
    if steps < 1 or not tolerance >= 0:
        raise ArgumentError(
            f"a descent takes steps of at least 1 and a tolerance of at least 0, got {steps} and "
            f"{tolerance}"
        )
    theta = Variable(np.array(start, np.float64), name="theta", backend="numpy")
    visited, losses, gradients = [np.array(start, np.float64)], [surface(start)], []
    ended = "maximum number of steps"
    for t, here in enumerate(islice(repeat(surface) if seen is None else seen, steps)):
        if schedule is not None:
            optimizer.learning_rate = schedule(t)
        gradients.append(here.gradient(visited[-1]))
        optimizer.apply_gradients([(gradients[-1], theta)])
        visited.append(theta.numpy().copy())
        with np.errstate(over="ignore", invalid="ignore"):
            losses.append(surface(visited[-1]))
        if not np.isfinite(losses[-1]):
            ended = "diverged"
            break
        if np.abs(visited[-1] - visited[-2]).max() < tolerance:
            ended = "step size close to 0"
            break
    return Path(np.array(visited), np.array(losses), np.array(gradients), ended, steps_per_epoch)


def descend_in_batches(
    line: Line,
    start: Sequence[float] | Array,
    rule: str | Optimizer = "sgd",
    batch_size: int = 1,
    epochs: int = 1,
    seed: int = 0,
    schedule: Callable[[int], float] | None = None,
) -> Path:
    """Each step follows the gradient of a batch: of all points, of a few (mini-batch), or of one.

    batch_size=n is batch gradient descent, 1 stochastic, everything between mini-batch. However many
    steps that makes, every point is seen once in an epoch. For the mean gradient of each batch, as
    the course has it, the line has mean=True.
    """
    if not 1 <= batch_size <= len(line.x):
        raise ArgumentError(f"batch_size is from 1 to {len(line.x)}, got {batch_size}")
    per_epoch = -(-len(line.x) // batch_size)
    seen = _batches(line, batch_size, seed)
    return descend(line, start, rule, per_epoch * epochs, 0.0, schedule, seen, per_epoch)


def _batches(line: Line, batch_size: int, seed: int) -> Iterator[Line]:
    """Epoch after epoch the points in another order, cut into batches; the last may be smaller."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(line.x))
        for first in range(0, len(order), batch_size):
            yield line.subset(order[first : first + batch_size])


def largest_stable_rate(hessian: Any) -> float:
    r"""2 / λ_max: below this learning rate plain descent on a quadratic arrives, above it diverges.

    Along an eigenvector of the Hessian with eigenvalue λ, the distance to the minimum is multiplied
    by 1 - ηλ in each step. It shrinks as long as |1 - ηλ| < 1, that is, η < 2/λ; the largest λ
    decides. Below 1/λ it arrives from one side, above it jumps to and fro.

    Examples
    --------
    >>> largest_stable_rate([[6.0]])
    0.3333333333333333
    """
    hessian = np.asarray(hessian, np.float64)
    if hessian.ndim != 2 or not np.array_equal(hessian, hessian.T):
        raise ShapeError(f"a Hessian is a symmetric matrix, got\n{hessian}")
    steepest = float(np.linalg.eigvalsh(hessian)[-1])
    if not steepest > 0:
        raise ArgumentError(f"the surface bends upwards nowhere: largest eigenvalue {steepest}")
    return 2 / steepest


def central_differences(loss: Callable[[Any], float], theta: Any, nudge: float = 1e-5) -> Array:
    r"""∂L/∂θ_j ≈ (L(θ + h e_j) - L(θ - h e_j)) / 2h: the gradient by nudging one parameter at a time.

    The error is of the order h² times the third derivative, and u · L / h from rounding.
    """
    theta = np.asarray(theta, np.float64)
    return np.array(
        [(loss(theta + e) - loss(theta - e)) / (2 * nudge) for e in nudge * np.eye(len(theta))]
    )
