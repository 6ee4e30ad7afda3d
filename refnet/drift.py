r"""How far two backends drift apart while they train the same network on the same batches.

Both start from the same weights, so all that can separate them is rounding. A step computes the
loss through the D weight layers of the network and the cross-entropy behind them: D + 1 stages, each
of which rounds its result, relative to max(1, L), by about u = 2⁻²⁴ (the errors of the terms of a
sum, and those of the examples of a batch, are independent, and average out). What earlier steps
rounded reaches the loss through the weights. After step t, counted from 0, the difference of two
backends is thus made of n = 2 (D + 1) (t + 1) small errors, and n independent errors add up as √n:

    |L_a(t) - L_b(t)| ≤ λ · u · √n · max(1, L(t)),   λ = 2

This is the rule of `refnet.bounds.rounded_sum` (Higham and Mary, 2019), for steps in place of terms.
It holds to first order: as long as a small change of the weights makes a small change of the
gradient. Activations with a kink break that. Where a rounding error carries the input of a relu
across 0, its gradient jumps, and Adam turns a first gradient of any size into a step of size η.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet import config
from refnet.bounds import unit_roundoff

if TYPE_CHECKING:
    from refnet.models import Sequential

LAMBDA = 2.0
Batch = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def loss_bound(t: Any, loss: Any, layers: int, rounded: int = 2, dtype: str = "float32") -> Any:
    r"""λ · u · √n · max(1, L),  n = rounded · (layers + 1) · (t + 1),  λ = 2

    How far the losses of step t (counted from 0) of two trainings may lie apart. `layers` is the
    number D of layers with weights; `rounded` how many of the two round: 2, or 1 beside an exact one.

    >>> float(loss_bound(0, 2.3, layers=3)) < 1e-6
    True
    """
    n = rounded * (layers + 1) * (np.asarray(t) + 1)
    return LAMBDA * unit_roundoff(dtype) * np.sqrt(n) * np.maximum(1.0, loss)


@dataclass(frozen=True)
class Run:
    """One participant: a label, the backend it trains on, and the float type it computes in."""

    label: str
    backend: str
    dtype: str = "float32"


@dataclass(frozen=True)
class Step:
    """What one step gave: the loss, the seconds and the parameters θ of each run, by label."""

    t: int
    losses: Mapping[str, float]
    seconds: Mapping[str, float]
    theta: Mapping[str, np.ndarray[Any, Any]]

    def distance(self, a: str, b: str) -> float:
        """‖θ_b - θ_a‖ / ‖θ_a‖: how far the parameters of two runs lie apart after this step."""
        size = float(np.linalg.norm(self.theta[a]))
        return float(np.linalg.norm(self.theta[b] - self.theta[a])) / (size or 1.0)


def steps(
    make: Callable[[], Sequential], runs: Sequence[Run], batches: Iterable[Batch]
) -> Iterator[Step]:
    """Train a model on all runs in lockstep: same initial weights, same batches, step by step.

    `make` returns a new, built and compiled model. The weights of its first call are given to all.
    """
    first = make().get_weights()
    models = {run.label: _placed(make, run, first) for run in runs}
    for t, (x, y) in enumerate(batches):
        losses, seconds, theta = {}, {}, {}
        for run in runs:
            model, start = models[run.label], time.perf_counter()
            with float_type(run.dtype):
                losses[run.label] = float(model.train_on_batch(x, y, return_dict=True)["loss"])
            seconds[run.label] = time.perf_counter() - start
            assert model.parameters is not None
            theta[run.label] = np.array(model.parameters.theta.numpy(), "float64")
        yield Step(t, losses, seconds, theta)


def _placed(make: Callable[[], Sequential], run: Run, weights: Sequence[Any]) -> Sequential:
    """A model of a run's type, on its backend, with these weights."""
    with float_type(run.dtype):
        model = make()
        model.set_weights(weights)
        return model.to(run.backend)


@contextlib.contextmanager
def float_type(dtype: str) -> Iterator[None]:
    """New weights and data are of this type within the block: ``with float_type("float64"):``."""
    before = config.floatx()
    config.set_floatx(dtype)
    try:
        yield
    finally:
        config.set_floatx(before)


def weight_layers(model: Sequential) -> int:
    """D: how many layers of the model have weights."""
    return sum(bool(layer.trainable_weights) for layer in model.layers)


def batches_of(x: Any, y: Any, size: int, count: int, seed: int = 0) -> Iterator[Batch]:
    """`count` batches, epoch after epoch, each in a random order that depends on `seed` alone."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(x))
        for start in range(0, len(x), size):
            if count == 0:
                return
            count -= 1
            rows = order[start : start + size]
            yield x[rows], y[rows]
