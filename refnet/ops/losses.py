r"""How wrong the predictions are, and which way to change them.

The cross-entropies take *logits*, the scores before softmax or sigmoid, and do both steps at once:
the logarithm undoes the exponential, so nothing overflows and no digit is lost, and the gradient is
the plain difference between prediction and target. Each returns one loss for each example.
"""

from __future__ import annotations

import numpy as np

from refnet.errors import DataError, DTypeError
from refnet.op import op
from refnet.op.shapes import per_labelled_row, per_row
from refnet.ops.activations import sigmoid
from refnet.ops.reductions import sum_to


@op(saves="y_true y_pred", shape=per_row)
def mean_squared_error(y_true, y_pred):
    r"""L = (1/n) Σ_j (a_j - y_j)², over the n outputs of an example (the last axis)"""
    return np.mean((y_pred - y_true) ** 2, -1)


@mean_squared_error.vjp
def mean_squared_error_vjp(g, y_true, y_pred):
    r"""∂L/∂a_j = g · 2 (a_j - y_j) / n,  ∂L/∂y_j = -∂L/∂a_j"""
    dpred = g[..., None] * (y_pred - y_true) * (2 / np.shape(y_true)[-1])
    return -dpred, dpred


def shifted(x):
    r"""(max x, x - max x, ln Σ_j e^{x_j - max x}) over the last axis: nothing can overflow.

    The maximum and the logarithm stay apart. Their sum, ln Σ e^x, would lose the digits of the
    logarithm when the logits are large.
    """
    largest = x.max(-1, keepdims=True)
    z = x - largest
    return largest[..., 0], z, np.log(np.exp(z).sum(-1))


def picked(x, labels):
    """x_c for the class number c of each row."""
    rows = np.reshape(x, (np.size(labels), np.shape(x)[-1]))
    return np.reshape(rows[np.arange(len(rows)), np.reshape(labels, -1)], np.shape(labels))


def one_hot(labels, classes):
    """Class numbers as rows that are 1 at the class and 0 elsewhere (boolean)."""
    return np.asarray(labels)[..., None] == np.arange(classes)


def no_class(label, classes):
    """The error for a label that is the number of no class."""
    return DataError(
        f"sparse_softmax_cross_entropy expects labels from 0 to {classes - 1} for {classes} classes, "
        f"got {label}"
    )


def _require_classes(labels, classes):
    if np.asarray(labels).dtype.kind not in "iu":
        raise DTypeError(f"labels are integers, got {np.asarray(labels).dtype}")
    wrong = np.extract((labels < 0) | (labels >= classes), labels)
    if wrong.size:
        raise no_class(wrong[0], classes)


def probabilities(logits, largest, log_sum):
    r"""softmax(x)_j = e^{x_j - max x - ln Σ e^{x - max x}}, from what the forward pass kept"""
    return np.exp(logits - largest[..., None] - log_sum[..., None])


@op(
    saves="logits labels largest log_sum",
    outputs="loss largest log_sum",
    wrt="logits",
    shape=per_labelled_row,
)
def sparse_softmax_cross_entropy(logits, labels):
    r"""L = -ln softmax(x)_c = ln Σ_j e^{x_j} - x_c, where c is the right class

    Shapes: logits x (..., classes), labels c (...) integers in 0 … classes-1, losses L (...). Also
    returned are max x and ln Σ_j e^{x_j - max x}, which the gradient needs again.
    """
    _require_classes(labels, np.shape(logits)[-1])
    largest, z, log_sum = shifted(logits)
    return log_sum - picked(z, labels), largest, log_sum


@sparse_softmax_cross_entropy.vjp
def sparse_softmax_cross_entropy_vjp(g, logits, labels, largest, log_sum):
    r"""∂L/∂x_j = g · (softmax(x)_j - [j = c]): prediction minus target."""
    classes = np.shape(logits)[-1]
    _require_classes(labels, classes)
    target = one_hot(labels, classes)
    return g[..., None] * (probabilities(logits, largest, log_sum) - target)


@op(
    saves="logits targets largest log_sum",
    outputs="loss largest log_sum",
    wrt="logits",
    shape=per_row,
)
def softmax_cross_entropy(logits, targets):
    r"""L = -Σ_j t_j ln softmax(x)_j = Σ_j t_j (ln Σ_k e^{x_k} - x_j)

    Shapes: logits x and target probabilities t (..., classes), losses L (...). Also returned are
    max x and ln Σ_j e^{x_j - max x}. No gradient flows to the targets.
    """
    largest, z, log_sum = shifted(logits)
    return np.sum(targets * (log_sum[..., None] - z), -1), largest, log_sum


@softmax_cross_entropy.vjp
def softmax_cross_entropy_vjp(g, logits, targets, largest, log_sum):
    r"""∂L/∂x_j = g · (softmax(x)_j · Σ_k t_k - t_j)"""
    p = probabilities(logits, largest, log_sum)
    return g[..., None] * (p * np.sum(targets, -1, keepdims=True) - targets)


def _or_none(share, x):
    """share · x, and nothing where either is 0, however large the other."""
    return np.where((share == 0) | (x == 0), 0, share * x)


@op(saves="logits targets", wrt="logits")
def sigmoid_cross_entropy(logits, targets):
    r"""L = -t ln σ(x) - (1 - t) ln(1 - σ(x)) = (1 - t) max(x, 0) + t max(-x, 0) + ln(1 + e^{-|x|})

    Shapes: logits x and targets t the same (or broadcasting), one loss for each element.
    No gradient flows to the targets.
    """
    wrong = _or_none(1 - targets, np.maximum(logits, 0)) + _or_none(targets, np.maximum(-logits, 0))
    return wrong + np.log1p(np.exp(-np.abs(logits)))


@sigmoid_cross_entropy.vjp
def sigmoid_cross_entropy_vjp(g, logits, targets):
    r"""∂L/∂x = g · (σ(x) - t)"""
    return sum_to(g * (sigmoid(logits) - targets), np.shape(logits))


# == Proof: what it is tried on, and how wrong it may be ===========================================

from refnet.op.columns import Case, Cases
from refnet.ops.reductions import summed_to_inputs
from refnet.proof.bounds import rounded_sum, ulp
from refnet.proof.cases import OVERFLOWN, ROWS, TALL, binary, constant, large, normal


def _classified(dense):
    """Logits with class numbers, or with target distributions if `dense`."""

    def make(*shape, scale=1.0):
        def inputs(rng):
            logits = rng.normal(0.0, scale, shape)
            if not dense:
                return logits, rng.integers(0, shape[-1], shape[:-1])
            weights = np.exp(rng.normal(0.0, 1.0, shape))
            return logits, weights / np.sum(weights, -1, keepdims=True)

        return inputs

    extreme = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [np.nan, 0.0, 1.0]])
    infinite = np.array([[np.inf, 0.0, 1.0], [-np.inf, 0.0, 1.0], [-np.inf, -np.inf, -np.inf]])
    targets = np.eye(3) if dense else np.array([1, 2, 0])
    tests = (
        Case("small", make(4, 5), smooth=True),
        Case("sequence", make(2, 3, 4), smooth=True),
        Case("one example", make(5)),
        Case("one class", make(3, 1)),
        Case("empty", make(0, 4)),
        Case("one element", make(1, 1)),
        Case("extreme logits", constant(extreme, targets)),
        Case("infinite logits", constant(infinite, targets)),
        *(
            Case(name, constant(x[:3], targets if dense else targets[: len(x[:3])]))
            for name, x in ROWS.items()
        ),
        *(Case(f"block edge {n}", make(3, n, scale=4.0)) for n in (127, 128, 129, 1023, 1025)),
        Case("long row", make(2, 40_000)),
        Case("transposed", make(33, 17), layout="transposed"),
        Case("strided", make(5, 29), layout="strided"),
    )
    return Cases(
        tests,
        lambda n: tuple(
            Case(f"{classes} classes", make(max(1, n // classes), classes))
            for classes in (1024, 32_000, 50_257, 128_256)
            if classes <= max(n, 1024)
        ),
        tuple(
            large(shape, shape) if dense else Case(f"{shape}", _stand_in_classified(shape))
            for shape in (TALL, (42_732, 50_257))
        ),
        {"broadcast": f"each row of logits has {'targets' if dense else 'a label'} of its own"}
        | OVERFLOWN,
    )


def _stand_in_classified(shape):
    return lambda rng: (np.broadcast_to(0.5, shape), np.broadcast_to(0, shape[:-1]))


def _logarithm_terms(x):
    """Each exponential carries |x - max| · u; the sum and the logarithm a few u more."""
    z = np.abs(x - np.max(x, -1, keepdims=True))
    p = np.exp(-z)
    carried = np.sum(p * (2 + np.minimum(z, 104)), -1) / np.sum(p, -1)
    return carried + np.log(np.shape(x)[-1])


def _sparse_terms(logits, labels):
    largest, z, _ = shifted(logits)
    chosen = np.abs(picked(z, labels))
    logarithm = _logarithm_terms(logits)
    return [(1, logarithm + chosen), (1, 0 * largest), (1, logarithm)]


def _probability_terms(logits, largest, log_sum):
    """A probability carries the rounding of its exponent, relative to itself."""
    z = np.abs(logits - largest[..., None]) + np.abs(log_sum[..., None])
    return probabilities(logits, largest, log_sum) * (2 + np.minimum(z, 104))


def _sparse_vjp_terms(g, logits, labels, largest, log_sum):
    p = _probability_terms(logits, largest, log_sum)
    return 1, np.abs(g)[..., None] * (p + one_hot(labels, np.shape(logits)[-1]))


sparse_softmax_cross_entropy.proof(
    lambda: _classified(dense=False),
    rounded_sum(2, _sparse_terms),
    vjp=rounded_sum(2, _sparse_vjp_terms),
    known={((0.0, 0.0), 1): 0.6931471805599453},
)


def _dense_terms(logits, targets):
    largest, z, _ = shifted(logits)
    logarithm = _logarithm_terms(logits)
    products = np.sum(np.abs(targets * (np.abs(z) + logarithm[..., None])), -1)
    return [(np.shape(logits)[-1], products), (1, 0 * largest), (1, logarithm)]


def _dense_vjp_terms(g, logits, targets, largest, log_sum):
    p = _probability_terms(logits, largest, log_sum)
    total = np.sum(np.abs(targets), -1, keepdims=True)
    return np.shape(logits)[-1], np.abs(g)[..., None] * (p * total + np.abs(targets))


softmax_cross_entropy.proof(
    lambda: _classified(dense=True),
    rounded_sum(2, _dense_terms),
    vjp=rounded_sum(2, _dense_vjp_terms),
)
sigmoid_cross_entropy.proof(
    binary,
    ulp(
        4,
        of=lambda logits, targets: (
            np.abs(_or_none(targets, logits)) + np.maximum(np.abs(logits), 1)
        ),
    ),
    vjp=summed_to_inputs(
        lambda g, logits, targets: (np.abs(g) * (sigmoid(logits) + np.abs(targets)),)
    ),
    known={(0.0, 1.0): 0.6931471805599453},
)


def _pairs():
    tests = (
        Case("small", normal((4, 5), (4, 5)), smooth=True),
        Case("sequence", normal((2, 3, 4), (2, 3, 4)), smooth=True),
        Case("one output", normal((7, 1), (7, 1)), smooth=True),
        Case("vector", normal((7,), (7,)), smooth=True),
        Case("empty", normal((0, 4), (0, 4))),
        Case(
            "NaN and infinity", constant([[1.0, np.nan], [np.inf, 1.0]], [[1.0, 2.0], [3.0, 4.0]])
        ),
        Case("long rows", normal((3, 2049), (3, 2049))),
        *(Case(name, constant(x, np.multiply(x, 0.5))) for name, x in ROWS.items()),
        Case("transposed", normal((33, 17), (33, 17)), layout="transposed"),
        Case("strided", normal((5, 29), (5, 29)), layout="strided"),
        Case("one element", normal((1, 1), (1, 1))),
    )
    return Cases(
        tests,
        lambda n: (Case("rows", normal(*((max(1, n // 1024), 1024),) * 2)),),
        (large(TALL, TALL),),
        {"broadcast": "targets and predictions have one shape"},
    )


def _squared_terms(y_true, y_pred):
    return np.shape(y_true)[-1], np.mean((y_pred - y_true) ** 2, -1)


mean_squared_error.proof(
    _pairs, rounded_sum(4, _squared_terms), vjp=ulp(3), known={((1.0, 2.0), (2.0, 4.0)): 2.5}
)
