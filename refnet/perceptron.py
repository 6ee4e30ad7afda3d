r"""The perceptron: one neuron, and the first rule by which a machine learned.

Sources: Rosenblatt (1958), "The perceptron: a probabilistic model for information storage and
organization in the brain", Psychological Review 65; Novikoff (1962), "On convergence proofs on
perceptrons", for the bound on its mistakes; Minsky and Papert (1969), *Perceptrons*, for what it
cannot learn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnet.base.objects import Configured
from refnet.errors import ArgumentError, DataError, NotReadyError, ShapeError
from refnet.ops.activations import binary_step
from refnet.random import next_key
from refnet.training.data import examples

Array = np.ndarray[Any, Any]


class Perceptron(Configured):
    r"""y = step(x · w + b): 1 if the weighted sum x · w crosses the threshold -b, else 0

    Rosenblatt's rule takes the examples one after the other. Where the answer y is right, nothing
    happens; where it is not the target t, the plane x · w + b = 0 is moved towards the example:

        w ← w + η (t - y) x,    b ← b + η (t - y)

    Parameters
    ----------
    learning_rate : η. It scales w and b alike, so it changes no answer (but for rounding).
    max_epochs : how often `fit` goes through the examples at most.
    shuffle : whether each epoch takes them in a new order.
    seed : which orders; without one, those of `utils.set_random_seed`.

    Attributes
    ----------
    weights, bias : w, of shape (features,), and b; w is None before the first example.
    mistakes : how many wrong answers there were while learning; each moved the plane once.
    mistakes_per_epoch : the same, epoch by epoch.
    history : (w, b) after each mistake.
    converged : whether the last epoch had no mistake.
    cycle : None, or two epochs (m, n): after epoch n, the weights were those they had been after
        epoch m (0 is the start). From there on everything repeats, for ever, and `fit` stops.

    Examples
    --------
    >>> x = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> conjunction = Perceptron().fit(x, [0, 0, 0, 1])
    >>> conjunction.predict(x), conjunction.weights, conjunction.bias
    (array([0, 0, 0, 1]), array([2., 1.]), -3.0)
    >>> conjunction.mistakes_per_epoch
    [2, 3, 3, 2, 1, 0]
    >>> Perceptron().fit(x, [0, 1, 1, 0])
    <Perceptron: mistakes 10, epochs 3, not converged: after epoch 3 it stood where it did after epoch 2>
    """

    def __init__(
        self,
        learning_rate: float = 1.0,
        max_epochs: int = 1000,
        shuffle: bool = False,
        seed: int | None = None,
    ) -> None:
        if not (isinstance(learning_rate, (int, float, np.number)) and 0 < learning_rate < np.inf):
            raise ArgumentError(f"learning_rate is a number above 0, got {learning_rate!r}")
        for name, value, least in (("max_epochs", max_epochs, 1), ("seed", seed or 0, 0)):
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or value < least:
                raise ArgumentError(f"{name} is a whole number of at least {least}, got {value!r}")
        self.learning_rate = float(learning_rate)
        self.max_epochs = max_epochs
        self.shuffle = shuffle
        self.seed = seed
        self._forget()

    def _forget(self) -> None:
        self.weights: Array | None = None
        self.bias = 0.0
        self.history: list[tuple[Array, float]] = []
        self.mistakes_per_epoch: list[int] = []
        self.cycle: tuple[int, int] | None = None

    @property
    def mistakes(self) -> int:
        """How many wrong answers there were while learning."""
        return sum(self.mistakes_per_epoch)

    @property
    def converged(self) -> bool:
        """Whether the last epoch had no mistake: the examples are separated."""
        return self.mistakes_per_epoch[-1:] == [0]

    def fit(self, x: Any, y: Any) -> Perceptron:
        """Start from w = 0, b = 0, and learn until an epoch has no mistake.

        x : (examples, features); y : (examples,), each 0 or 1. It stops after `max_epochs`, and also
        where the weights return to a former state: then it would never converge.
        """
        x, y = _labelled(x, y)
        self._forget()
        self.weights = np.zeros(x.shape[1])
        rng = np.random.default_rng(next_key(self.seed))
        seen: dict[tuple[float, ...], int] = {}
        for epoch in range(self.max_epochs):
            if not self.shuffle:
                before = seen.setdefault((*self.weights, self.bias), epoch)
                if before < epoch:
                    self.cycle = before, epoch
                    break
            self._learn(x, y, rng.permutation(len(x)) if self.shuffle else np.arange(len(x)))
            if self.converged:
                break
        return self

    def partial_fit(self, x: Any, y: Any) -> Perceptron:
        """Go through these examples once, in the order given, from where the weights are."""
        x, y = _labelled(x, y)
        if self.weights is None:
            self.weights = np.zeros(x.shape[1])
        self._check_features(x)
        self.cycle = None
        self._learn(x, y, np.arange(len(x)))
        return self

    def _learn(self, x: Array, y: Array, order: Array) -> None:
        """One epoch of Rosenblatt's rule."""
        assert self.weights is not None
        mistakes = 0
        for i in order:
            error = y[i] - binary_step(x[i] @ self.weights + self.bias)  # -1, 0 or 1
            if error:
                self.weights = self.weights + self.learning_rate * error * x[i]
                self.bias += float(self.learning_rate * error)
                self.history.append((self.weights, self.bias))
                mistakes += 1
        self.mistakes_per_epoch.append(mistakes)

    def decision_function(self, x: Any) -> Array:
        """x · w + b for each example: which side of the plane it lies on, and how far, times ‖w‖."""
        if self.weights is None:
            raise NotReadyError("this Perceptron has learned nothing yet: call fit(x, y) first")
        x = _rows(examples(x).x)
        self._check_features(x)
        return x @ self.weights + self.bias

    def predict(self, x: Any) -> Array:
        """0 or 1 for each example."""
        return np.asarray(binary_step(self.decision_function(x))).astype(np.int64)

    def score(self, x: Any, y: Any) -> float:
        """The share of examples that get the right answer."""
        x, y = _labelled(x, y)
        return float(np.mean(self.predict(x) == y))

    def _check_features(self, x: Array) -> None:
        assert self.weights is not None
        if x.shape[1] != len(self.weights):
            raise ShapeError(
                f"this Perceptron has {len(self.weights)} weights, one for each feature; got examples "
                f"of {x.shape[1]} features"
            )

    def __repr__(self) -> str:
        if self.weights is None:
            return "<Perceptron, not fitted>"
        end = "converged" if self.converged else "not converged"
        if self.cycle is not None:
            end += (
                f": after epoch {self.cycle[1]} it stood where it did after epoch {self.cycle[0]}"
            )
        epochs = len(self.mistakes_per_epoch)
        return f"<Perceptron: mistakes {self.mistakes}, epochs {epochs}, {end}>"


def mistake_bound(x: Any, y: Any, weights: Any, bias: float) -> float:
    r"""(R/γ)²: Rosenblatt's rule, started from 0, makes no more mistakes than this. Novikoff (1962).

    The bias is the weight of one more input, the constant 1: z = (x, 1), v = (w, b). Then

        R = max ‖z‖,    γ = min t (z · v) / ‖v‖,    t = 1 for label 1, -1 for label 0:

    the length of the longest example, and the margin: how far from the plane of (weights, bias) the
    nearest example lies. Any (weights, bias) that separate the labels give a valid bound, those of
    `largest_margin` the smallest. It holds for every order of the examples and every learning rate.

    Proof: with η = 1, each mistake adds tz to the learner's v', and it was one because
    t (z · v') ≤ 0. So each adds at least γ to v' · v/‖v‖, but at most R² to ‖v'‖². After M of them,
    Mγ ≤ v' · v/‖v‖ ≤ ‖v'‖ ≤ R√M, hence M ≤ (R/γ)².

    >>> mistake_bound([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 1], weights=[2, 2], bias=-3)
    51.0
    """
    z = _signed(*_labelled(x, y))
    v = np.append(np.asarray(weights, np.float64), bias)
    if v.shape != z.shape[1:]:
        raise ShapeError(f"{z.shape[1] - 1} features need as many weights, got {len(v) - 1}")
    margins = z @ v
    worst = int(np.argmin(margins))
    if not margins[worst] > 0:
        raise DataError(
            f"these weights do not separate the labels: for example {worst}, of label "
            f"{int(z[worst, -1] > 0)}, x · w + b is {z[worst, -1] * margins[worst]:g}"
        )
    return float((z**2).sum(axis=1).max() * (v @ v) / margins[worst] ** 2)


def largest_margin(x: Any, y: Any) -> tuple[Array, float]:
    r"""The (weights, bias), of length ‖(w, b)‖ = 1, whose margin γ is the largest there is.

    With z and t as in `mistake_bound`: the sums v = Σ a_i t_i z_i with a ≥ 0, Σ a_i = 1 fill a convex
    body. Its point nearest to 0 is the direction of the largest margin, and its length ‖v‖ is that
    margin. Wolfe's algorithm (1976), "Finding the nearest point in a polytope", finds it: take in the
    example of the smallest margin, go to the nearest point of the plane through the examples taken
    in, and drop those whose a would turn negative on the way; until v comes no nearer.

    If 0 lies in the body, Σ a_i t_i z_i = 0 shows that no plane separates the labels: each
    t_i (z_i · v) would have to be positive, but with the weights a they add up to 0.

    Raises
    ------
    DataError if no plane separates the labels with a margin above R/10⁵.

    >>> weights, bias = largest_margin([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 1])
    >>> print((weights / weights[0]).round(3), f"{bias / weights[0]:.3f}")
    [1. 1.] -1.500
    """
    z = _signed(*_labelled(x, y))
    taken, a = _nearest_to_zero(z)
    v = a @ z[taken]
    length = float(np.linalg.norm(v))
    tiny = 1e-5 * float(np.linalg.norm(z, axis=1).max())
    if length > tiny and (z @ v).min() > 0:
        return v[:-1] / length, float(v[-1]) / length
    chief = [taken[i] for i in np.argsort(-a)[:8]]
    exact = length < 1e-5 * tiny  # 0, but for rounding
    limit = "" if exact else f" with a margin above {max(length, tiny):.2g}"
    raise DataError(
        f"no plane separates these labels{limit}: Σ a t (x, 1) has length {length:.1g} for positive a "
        f"at {len(taken)} examples, Σ a = 1, chiefly at {sorted(chief)}"
    )


def _nearest_to_zero(z: Array) -> tuple[list[int], Array]:
    """Wolfe's algorithm: examples i and their weights a_i > 0, Σ a_i = 1, with Σ a_i z_i shortest."""
    taken, a = [int(np.argmin((z**2).sum(axis=1)))], np.ones(1)
    v = z[taken[0]]
    while True:
        further, b = [*taken, int(np.argmin(z @ v))], np.append(a, 0.0)
        while (goal := _nearest_on_plane(z[further])).min() < 0:
            falling = goal < 0
            step = (b[falling] / (b - goal)[falling]).min()
            b = b + step * (goal - b)
            kept = b > 1e-12
            further, b = [i for i, keep in zip(further, kept, strict=True) if keep], b[kept]
        shorter = goal @ z[further]
        if not shorter @ shorter < v @ v:
            return taken, a
        taken, a, v = further, goal, shorter


def _nearest_on_plane(z: Array) -> Array:
    """The a with Σ a_i = 1 for which v = Σ a_i z_i is shortest: there z_i · v is the same for all i."""
    a = np.linalg.lstsq(z @ z.T + 1, np.ones(len(z)))[0]
    return np.asarray(a / a.sum())


def _signed(x: Array, y: Array) -> Array:
    """t (x, 1) for each example, t = ±1: a plane through 0 separates if all are on its one side."""
    return np.where(y == 1, 1.0, -1.0)[:, None] * np.column_stack([x, np.ones(len(x))])


def _labelled(x: Any, y: Any) -> tuple[Array, Array]:
    """Checked examples (n, features) and their labels (n,), in float64."""
    if y is None:
        raise DataError("a perceptron needs labels y beside the inputs x")
    data = examples(x, y)
    assert data.y is not None
    x, y = _rows(data.x), data.y
    if y.ndim != 1:
        raise ShapeError(f"y holds one label for each example, ({len(x)},), got {y.shape}")
    strange = sorted(set(np.unique(y).tolist()) - {0, 1})
    if strange:
        hint = ": for -1 and +1, use (y + 1) // 2" if set(np.unique(y)) <= {-1, 1} else ""
        raise DataError(f"a perceptron's labels are 0 and 1, got also {strange[:5]}{hint}")
    return x, y.astype(np.float64)


def _rows(x: Array) -> Array:
    """Examples as rows, (n, features), in float64."""
    if x.ndim != 2:
        flat = x.ndim == 1
        hint = "x[:, None] is one feature, x[None] one example" if flat else "x.reshape(len(x), -1)"
        raise ShapeError(f"x has one row of features for each example, got {x.shape}: {hint}")
    return x.astype(np.float64)
