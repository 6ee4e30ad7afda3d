r"""How far two backends drift apart while they train the same network on the same batches.

Both start from the same weights, so all that can separate them is rounding. A step computes the
loss through the D weight layers of the network and the cross-entropy behind them: D + 1 stages, each
of which rounds its result, relative to max(1, L), by about u = 2⁻²⁴ (the errors of the terms of a
sum, and those of the examples of a batch, are independent, and average out). What earlier steps
rounded reaches the loss through the weights. After step t, counted from 0, the difference of two
backends is thus made of n = 2 (D + 1) (t + 1) small errors, and n independent errors add up as √n:

    |L_a(t) - L_b(t)| ≤ λ · u · √n · max(1, L(t)),   λ = 2

This is the rule of `refnet.proof.bounds.rounded_sum` (Higham and Mary, 2019), for steps in place of
terms. It holds to first order: as long as a small change of the weights makes a small change of the
gradient. Activations with a kink break that. Where a rounding error carries the input of a relu
across 0, its gradient jumps, and Adam turns a first gradient of any size into a step of size η.

For gradients, the optimizer's memory and the weights no such bound is known beforehand: how far a
rounding error carries depends on the training itself, on its curvature and on what Adam divides by. To
first order, though, the distance of a rounded training from the exact one is δ = J ρ. Here ρ holds the
rounding errors of all ops of all steps so far, and J is how the training carries them on. The row of op j
says |ρ_j| ≤ b_j; let r_j ≤ 1 be the largest part of that bound that the op was seen to use. If the errors
are independent and of mean 0, then

    E‖δ‖² = Σ_j Var(ρ_j) ‖J_j‖² ≤ Σ_j (r_j b_j)² ‖J_j‖² = E‖J (r ∘ b ∘ s)‖²,   s_j = ±1 at random,

and the right side can be measured: train in float64, and let every op be wrong by r_j b_j, up or down at
random. Of the distances from the exact training that K such trainings have, the root mean square is
what is *allowed*; two backends that both round may lie √2 times as far apart. This is an expectation,
estimated from K draws and right to first order, and no worst case. A distance above it says that
something other than the rounding of single ops is at work: an op that breaks its bound (r_j stays 1
then), errors that all point the same way, or a kink.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet import config
from refnet.autograd.tensor import Tensor, watching
from refnet.autograd.variable import Variable
from refnet.backend import Array, Backend
from refnet.base.dtypes import unit_roundoff
from refnet.check.shadow import Call
from refnet.errors import ArgumentError, NotReadyError
from refnet.op import Op

if TYPE_CHECKING:
    from refnet.training.model import Trainable

LAMBDA = 2.0
Vector = np.ndarray[Any, Any]
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
    """One participant: a label, the backend it trains on, and the float type it computes in.

    With a `wrong_by`, a float type, every op is wrong by as much of its bound for that type as it was
    seen to use in the runs that stand before, up or down at random as `seed` says.
    """

    label: str
    backend: str
    dtype: str = "float32"
    wrong_by: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """What one step gave: the loss, the seconds and the parameters θ of each run, by label.

    If they were asked for, also the gradient that the step followed and the optimizer's memory after
    it, by name; all of them laid out as θ is.
    """

    t: int
    losses: Mapping[str, float]
    seconds: Mapping[str, float]
    theta: Mapping[str, Vector]
    gradient: Mapping[str, Vector] = field(default_factory=dict)
    memory: Mapping[str, Mapping[str, Vector]] = field(default_factory=dict)

    def distance(self, a: str, b: str) -> float:
        """‖θ_b - θ_a‖ / ‖θ_a‖: how far the parameters of two runs lie apart after this step."""
        size = float(np.linalg.norm(self.theta[a]))
        return float(np.linalg.norm(self.theta[b] - self.theta[a])) / (size or 1.0)


def steps(
    make: Callable[[], Trainable],
    runs: Sequence[Run],
    batches: Iterable[Batch],
    inside: bool = False,
) -> Iterator[Step]:
    """Train a model on all runs in lockstep: same initial weights, same batches, step by step.

    `make` returns a new, built and compiled model. The weights of its first call are given to all, and
    so are the keys of its random numbers. With `inside`, steps tell their gradients and the
    optimizer's memory too; they are then run op by op, which takes longer and gives the same numbers.
    """
    first = make()
    models = {run.label: _placed(make, run, first) for run in runs}
    used: dict[str, float] | None = {} if any(run.wrong_by for run in runs) else None
    inner = {run.label: _Inside(models[run.label], run, used) for run in runs}
    for t, (x, y) in enumerate(batches):
        losses, seconds, theta, gradient, memory = {}, {}, {}, {}, {}
        for run in runs:
            label, model, start = run.label, models[run.label], time.perf_counter()
            with float_type(run.dtype), inner[label] if inside else contextlib.nullcontext():
                losses[label] = float(model.train_on_batch(x, y, return_dict=True)["loss"])
            seconds[label] = time.perf_counter() - start
            theta[label] = _vector(_theta(model))
            if inside:
                slots = model.optimizer.memory[_theta(model)]
                names = model.optimizer.rule.writes[1:]
                gradient[label] = inner[label].gradient
                memory[label] = {n: _vector(v) for n, v in zip(names, slots, strict=True)}
        yield Step(t, losses, seconds, theta, gradient, memory)


def _placed(make: Callable[[], Trainable], run: Run, first: Trainable) -> Trainable:
    """A model of a run's type, on its backend, with the weights and the random keys of the first."""
    with float_type(run.dtype):
        model = make()
        model.set_weights(first.get_weights())
        for layer, other in zip(model.layers, first.layers, strict=True):
            for key, value in zip(layer.state, other.state, strict=True):
                key.assign(value.numpy())
        return model.to(run.backend)


def _theta(model: Trainable) -> Variable:
    if model.parameters is None:
        raise NotReadyError(f"{model.name} has no weights to train")
    return model.parameters.theta


def _vector(t: Tensor) -> Vector:
    return np.array(t.numpy(), "float64")


class _Inside:
    """Looks at every op of a step, and keeps the gradient that θ follows.

    `used` is the largest part of its bound that each op was seen to use, if anybody wants to know it: a
    right run adds to it, a wrong one reads it.
    """

    def __init__(self, model: Trainable, run: Run, used: dict[str, float] | None) -> None:
        self.model, self.run, self.used = model, run, used
        self.gradient: Vector = np.zeros(0)
        self._rng = np.random.default_rng(run.seed)

    def __enter__(self) -> None:
        self._token = watching.set(self._watch)

    def __exit__(self, *error: object) -> None:
        watching.reset(self._token)

    def _watch(
        self, backend: Backend, op: Op, tensors: Sequence[Tensor], symbol: object
    ) -> Callable[..., Any]:
        if op.writes and tensors[0] is _theta(self.model):
            self.gradient = _vector(tensors[op.inputs.index("g")])
        function = backend.function(op)

        def judged(*inputs: Array, **attributes: Any) -> Any:
            call = Call.of(backend, op, inputs, attributes)
            results = function(*inputs, **attributes)
            ratio = min(1.0, call.judge(backend, inputs, results).ratio)
            assert self.used is not None
            self.used[op.name] = max(ratio, self.used.get(op.name, 0.0))
            return results

        def wrong(*inputs: Array, **attributes: Any) -> Any:
            before = tuple(np.array(x) for x in inputs)
            results = function(*inputs, **attributes)
            several = isinstance(results, tuple)
            made = self._wrong(op, before, attributes, results if several else (results,))
            return made if several else made[0]

        if self.used is None:
            return function
        return wrong if self.run.wrong_by else judged

    def _wrong(
        self, op: Op, inputs: tuple[Any, ...], attributes: dict[str, Any], results: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Exact results, each element moved; what an update rule wrote, where it lies."""
        assert op.error is not None
        assert self.used is not None
        with np.errstate(all="ignore"):
            bounds = op.error.tolerance(self.run.wrong_by, inputs, attributes, results)
        moved: dict[int, Any] = {}  # a result that is returned twice is moved once
        for y, bound in zip(results, bounds, strict=True):
            if y is None or np.asarray(y).dtype.kind != "f" or id(y) in moved:
                continue
            size = np.where(y == 0, 0.0, self.used.get(op.name, 1.0) * bound)  # 0 stays 0
            error = size * self._rng.choice((-1.0, 1.0), np.shape(y))
            if op.writes:
                y += error
            else:
                moved[id(y)] = y + error
        return tuple(moved.get(id(y), y) for y in results)


@contextlib.contextmanager
def float_type(dtype: str) -> Iterator[None]:
    """New weights and data are of this type within the block: ``with float_type("float64"):``."""
    before = config.floatx()
    config.set_floatx(dtype)
    try:
        yield
    finally:
        config.set_floatx(before)


def weight_layers(model: Trainable) -> int:
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


# -- how far two backends part -----------------------------------------------------------------------


@dataclass(frozen=True)
class Drift:
    """The same training on two backends: how far apart it is, and how far apart it may be.

    Attributes
    ----------
    labels : the two backends.
    losses : the losses of each step of both, by label.
    loss_bounds : how far apart they may be at each step, by `loss_bound`.
    variables : the names of the weights.
    distances : ‖a - b‖ / ‖a‖ of every weight at every step, shape (steps, variables): for "weights" and
        "gradient", and for what the optimizer keeps, by the names its rule has for it ("m", "v").
    allowed : what these distances may be expected to reach, in the same form; see the top of this page.
    """

    labels: tuple[str, str]
    losses: Mapping[str, Sequence[float]]
    loss_bounds: Sequence[float]
    variables: tuple[str, ...]
    distances: Mapping[str, Vector]
    allowed: Mapping[str, Vector]

    @property
    def loss_differences(self) -> Vector:
        """|L_b - L_a| of each step."""
        a, b = (np.asarray(self.losses[label]) for label in self.labels)
        return np.abs(b - a)

    def ratios(self, kind: str) -> Vector:
        """Distances in units of what is allowed; 0 where there is no distance at all."""
        distance, allowed = self.distances[kind], self.allowed[kind]
        with np.errstate(all="ignore"):
            return np.where(distance == 0, 0.0, distance / allowed)

    @property
    def holds(self) -> bool:
        """True if losses keep their bound and no distance is larger than what is allowed."""
        inside = all(bool((self.ratios(kind) <= 1).all()) for kind in self.distances)
        return inside and bool((self.loss_differences <= self.loss_bounds).all())

    def __str__(self) -> str:
        width = max(len(name) for name in ("loss", *self.variables))
        lines = [f"{'':10}{'':{width}}  largest distance  at step  largest distance / allowed"]
        gap = self.loss_differences
        rows = [("loss", "", gap, gap / np.asarray(self.loss_bounds))]
        for kind, distance in self.distances.items():
            ratios = self.ratios(kind)
            rows += [
                (kind, name, distance[:, i], ratios[:, i]) for i, name in enumerate(self.variables)
            ]
        for kind, name, distance, ratio in rows:
            at = int(np.argmax(distance))
            lines.append(
                f"{kind:10}{name:{width}}  {distance[at]:16.2e}  {at + 1:7}  {ratio.max():15.2g}"
            )
        return "\n".join(lines)


def compare(
    make: Callable[[], Trainable],
    first: str,
    second: str,
    batches: Iterable[Batch],
    draws: int = 4,
    seed: int = 0,
    dtype: str = "float32",
) -> Drift:
    """Train on two backends and see how far they part: losses, gradients, optimizer and weights.

    `make` and `batches` are as in `steps`. Beside the two run one exact training in float64, and
    `draws` in which every op is wrong.
    """
    if first == second:
        raise ArgumentError(f"compare takes two backends, got {first!r} twice")
    if draws < 1:
        raise ArgumentError(f"draws is at least 1, got {draws}")
    exact = Run("exact", "numpy", "float64")
    wrong = [
        Run(f"wrong {i}", "numpy", "float64", wrong_by=dtype, seed=seed + i) for i in range(draws)
    ]
    runs = [Run(first, first, dtype), Run(second, second, dtype), exact, *wrong]
    model = make()
    names, places = _places(model)
    losses: dict[str, list[float]] = {first: [], second: []}
    distances: dict[str, list[list[float]]] = {}
    allowed: dict[str, list[list[float]]] = {}
    for step in steps(make, runs, batches, inside=True):
        for label in losses:
            losses[label].append(step.losses[label])
        kinds = {"gradient": step.gradient, "weights": step.theta}
        for kind in step.memory[first]:
            kinds[kind] = {label: slots[kind] for label, slots in step.memory.items()}
        for kind, by_label in kinds.items():
            sizes = [float(np.linalg.norm(by_label[first][place])) or 1.0 for place in places]
            apart = _norms(by_label[second] - by_label[first], places)
            spread = [_norms(by_label[w.label] - by_label["exact"], places) for w in wrong]
            expected = np.sqrt(2 * np.mean(np.square(spread), axis=0))
            distances.setdefault(kind, []).append(list(apart / sizes))
            allowed.setdefault(kind, []).append(list(expected / sizes))
    count = len(losses[first])
    if not count:
        raise ArgumentError("compare needs at least one batch")
    bounds = loss_bound(np.arange(count), losses[first], weight_layers(model), dtype=dtype)
    return Drift(
        (first, second),
        losses,
        list(bounds),
        names,
        {kind: np.array(rows) for kind, rows in distances.items()},
        {kind: np.array(rows) for kind, rows in allowed.items()},
    )


def _places(model: Trainable) -> tuple[tuple[str, ...], list[slice]]:
    """The names of the weights, and where each lies in θ."""
    _theta(model)
    assert model.parameters is not None
    pairs = list(zip(model.parameters.variables, model.parameters.offsets, strict=True))
    return tuple(v.name for v, _ in pairs), [slice(at, at + v.size) for v, at in pairs]


def _norms(vector: Vector, places: Sequence[slice]) -> Vector:
    return np.array([np.linalg.norm(vector[place]) for place in places])
