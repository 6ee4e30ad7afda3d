"""Precision, recall, AUC: against counts by hand, and against pairs of examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import refnet
from refnet import metrics
from refnet.errors import ArgumentError, DataError, ShapeError
from refnet.layers import Dense, Input

RNG = np.random.default_rng(0)
#: 3 TP, 2 FP, 1 FN, 2 TN at 0.5
Y = np.array([1, 1, 1, 1, 0, 0, 0, 0])
P = np.array([0.9, 0.8, 0.6, 0.5, 0.7, 0.51, 0.4, 0.0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("true_positives", 3),
        ("false_positives", 2),
        ("true_negatives", 2),
        ("false_negatives", 1),
        ("precision", 3 / 5),
        ("recall", 3 / 4),
        ("f1_score", 2 * 0.6 * 0.75 / (0.6 + 0.75)),
    ],
)
@pytest.mark.parametrize("shape", [(8,), (8, 1), (4, 2), (2, 2, 2)])
def test_known_counts(name, expected, shape):
    metric = metrics.get(name)
    metric.update_state(Y.reshape(shape), P.reshape(shape))
    assert metric.result() == pytest.approx(expected, rel=1e-15)
    for y, p in (
        (Y.tolist(), P.tolist()),
        (Y.astype(bool), P),
        (refnet.tensor(Y), refnet.tensor(P)),
    ):
        again = metrics.get(name)
        again.update_state(y, p)
        assert again.result() == metric.result()


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.51, 0.95, -1.0, 2.0])
def test_thresholds(threshold):
    yes = threshold < P
    for kind, part, whole in (
        (metrics.Precision, (yes & (Y == 1)).sum(), yes.sum()),
        (metrics.Recall, (yes & (Y == 1)).sum(), (Y == 1).sum()),
    ):
        metric = kind(threshold)
        assert metric(Y, P) == (part / whole if whole else 0.0)


def test_one_class_of_several():
    y, p = np.eye(3)[RNG.integers(0, 3, 40)], RNG.uniform(0, 1, (40, 3))
    weights = RNG.uniform(0, 1, 40)
    for which in range(3):
        one, alone = metrics.Recall(class_id=which), metrics.Recall()
        one.update_state(y, p, weights)
        alone.update_state(y[:, which], p[:, which], weights)
        assert one.result() == alone.result() > 0
    with pytest.raises(ShapeError, match=r"recall: class_id is 3, and the outputs are of shape"):
        metrics.Recall(class_id=3)(y, p)


def pairs(y, p, w=None):
    """The probability that an example of 1 scores higher than one of 0; half of it if they are equal."""
    w = np.ones(len(y)) if w is None else w
    total = right = 0.0
    for i, j in itertools.product(np.flatnonzero(y == 1), np.flatnonzero(y == 0)):
        total += w[i] * w[j]
        right += w[i] * w[j] * (1.0 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0.0)
    return right / total


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("steps", [2, 5, 50])
def test_the_area_under_roc_is_that_of_pairs(steps, weighed):
    """Exactly, for scores that are told apart as the thresholds tell them apart."""
    y, p = RNG.integers(0, 2, 60), (RNG.integers(0, steps, 60) + 0.5) / steps
    w = RNG.integers(0, 4, 60).astype(float) if weighed else None
    auc = metrics.AUC(num_thresholds=steps + 1)
    for part in (slice(0, 7), slice(7, 60)):
        auc.update_state(y[part], p[part], None if w is None else w[part])
    assert auc.result() == pytest.approx(pairs(y, p, w), rel=1e-12)


def test_the_area_of_scores_at_the_ends():
    assert metrics.AUC()([0, 0, 1, 1], [0.0, 0.0, 1.0, 1.0]) == pytest.approx(1)
    assert metrics.AUC()([1, 1, 0, 0], [0.0, 0.0, 1.0, 1.0]) == pytest.approx(0)
    assert metrics.AUC()([0, 1, 0, 1], [0.0, 0.0, 1.0, 1.0]) == pytest.approx(0.5)
    assert metrics.AUC()([1, 1], [0.3, 0.7]) == metrics.AUC()([0, 0], [0.3, 0.7]) == 0
    assert metrics.AUC().result() == 0


def test_the_area_under_precision_and_recall_is_an_integral():
    """Against a sum over many small steps from one threshold to the next."""
    y, p = RNG.integers(0, 2, 50), (RNG.integers(0, 6, 50) + 0.5) / 6
    area, before = 0.0, (0.0, 0.0)
    for t in [1.1, *np.linspace(0, 1, 7)[-2:0:-1], -0.1]:
        now = float(((p > t) & (y == 1)).sum()), float((p > t).sum())
        share = (np.arange(100_000) + 0.5) / 100_000
        tp = before[0] + share * (now[0] - before[0])
        n = before[1] + share * (now[1] - before[1])
        if now[1] > before[1]:
            area += np.mean(tp / n) * (now[0] - before[0]) / (y == 1).sum()
        before = now
    assert metrics.AUC(7, curve="PR")(y, p) == pytest.approx(area, rel=1e-6)


def test_logits_are_scores_once_the_sigmoid_is_taken():
    y, z = RNG.integers(0, 2, 50), RNG.normal(0, 3, 50)
    assert metrics.AUC(from_logits=True)(y, z) == metrics.AUC()(y, 1 / (1 + np.exp(-z)))


@pytest.mark.parametrize(
    "kind", [metrics.Precision, metrics.Recall, metrics.F1Score, metrics.AUC, metrics.TruePositives]
)
def test_labels_are_0_or_1(kind):
    metric = kind()
    metric.update_state(Y, P)
    before = metric.result()
    for y in ([0, 2], [0.0, 0.5], [0, -1], [np.nan, 1]):
        with pytest.raises(DataError, match=f"{metric.name} takes labels that are 0 or 1"):
            metric.update_state(y, [0.1, 0.9])
    with pytest.raises(ShapeError, match=metric.name):
        metric.update_state([0, 1, 1], [0.1, 0.9])
    assert metric.result() == before
    model = refnet.Sequential([Input((2,)), Dense(1, "sigmoid")])
    model.compile("sgd", "mean_squared_error", metrics=[metric])
    with pytest.raises(DataError, match="labels that are 0 or 1, got 3"):
        model.fit(np.ones((4, 2)), [[0], [1], [3], [0]], verbose=0)
    assert metric.result() == before


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (
            lambda: metrics.Precision(thresholds="high"),
            "Precision 'precision': thresholds is a number",
        ),
        (lambda: metrics.Recall(thresholds=[0.5, 0.6]), "thresholds is a number"),
        (lambda: metrics.Recall(class_id=-1), "class_id is a whole number of at least 0"),
        (lambda: metrics.AUC(num_thresholds=1), "num_thresholds is a whole number of at least 2"),
        (lambda: metrics.AUC(curve="roc"), "curve is one of 'ROC', 'PR'"),
        (lambda: metrics.AUC(from_logits=1), "from_logits is True or False"),
    ],
)
def test_what_they_are_made_with(make, complaint):
    with pytest.raises(ArgumentError, match=complaint):
        make()


def test_in_a_model_by_name():
    model = refnet.Sequential([Input((2,)), Dense(1, "sigmoid")])
    names = ["precision", "recall", "auc", "f1_score", "false_negatives"]
    model.compile("adam", "binary_crossentropy", metrics=names)
    x = RNG.normal(0, 1, (60, 2))
    y = (x.sum(1, keepdims=True) > 0).astype(int)
    log = model.fit(x, y, epochs=3, batch_size=7, verbose=0, validation_split=0.2).history
    assert list(log) == [p + n for p in ("", "val_") for n in ("loss", *names)]
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    p = model.predict(x)
    for name in names:
        assert found[name] == pytest.approx(metrics.get(name)(y, p), rel=1e-6)
