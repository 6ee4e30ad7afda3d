"""Metrics keep sums: whatever the batches, and however sums are put together, there is one number."""

from __future__ import annotations

import math

import numpy as np
import pytest

import refnet
from refnet import metrics
from refnet.errors import ArgumentError, RefnetError
from refnet.layers import Dense, Input
from refnet.metrics import METRICS, MeanMetric, Metric
from refnet.metrics.confusion import Confusion

RNG = np.random.default_rng(0)
N = 23
KINDS = list(dict.fromkeys(METRICS.values()))
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
SPARSE = {"SparseCategoricalAccuracy"}


def data(kind, n=N, dtype="float32"):
    """Labels and scores between 0 and 1 that a metric takes, and weights, some of them 0."""
    p = RNG.uniform(0, 1, (n, 3)).astype(dtype)
    classes = RNG.integers(0, 3, n)
    y = classes if kind.__name__ in SPARSE else np.eye(3, dtype=dtype)[classes]
    return y, p, RNG.integers(0, 4, n) / 2


def over_batches(kind, size, weighed):
    metric = kind()
    for start in range(0, N, size):
        part = slice(start, start + size)
        metric.update_state(Y[part], P[part], W[part] if weighed else None)
    return metric


@pytest.fixture(autouse=True)
def _drawn(request):
    global Y, P, W
    if "kind" in request.fixturenames:
        Y, P, W = data(request.getfixturevalue("kind"))


@kinds
@pytest.mark.parametrize("weighed", [False, True])
def test_batches_of_1_3_7_and_n_give_one_number(kind, weighed):
    whole = over_batches(kind, N, weighed).result()
    assert whole > 0
    for size in (1, 3, 7):
        assert over_batches(kind, size, weighed).result() == pytest.approx(whole, rel=1e-13)


class BatchMeans(metrics.Precision):
    """The mistake: the mean of the precisions of the batches."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen = [*getattr(self, "seen", []), metrics.Precision()(y_true, y_pred)]

    def result(self):
        return float(np.mean(self.seen))


def test_the_mean_of_batches_is_found_out():
    global Y, P, W
    Y, P, W = data(BatchMeans)
    with pytest.raises(AssertionError):
        test_batches_of_1_3_7_and_n_give_one_number(BatchMeans, False)


@kinds
def test_weights_count_as_often_as_they_say(kind):
    """An example of weight 2 is two of them, and one of weight 0 is none."""
    weights = RNG.integers(0, 3, N)
    weighed, repeated = kind(), kind()
    weighed.update_state(Y, P, weights)
    repeated.update_state(np.repeat(Y, weights, axis=0), np.repeat(P, weights, axis=0))
    assert weighed.result() == pytest.approx(repeated.result(), rel=1e-13)
    for scale in (0.5, 8.0):
        scaled = kind()
        scaled.update_state(Y, P, weights * scale)
        counts = kind.__name__.startswith(("True", "False"))
        expected = weighed.result() * (scale if counts else 1)
        assert scaled.result() == pytest.approx(expected, rel=1e-13)


@kinds
@pytest.mark.parametrize("shape", [(), (N,), (N, 1)])
def test_shapes_of_weights(kind, shape):
    one, other = kind(), kind()
    weights = np.broadcast_to(np.reshape(W if shape else 0.5, shape or ()), shape)
    one.update_state(Y, P, weights)
    other.update_state(Y, P, np.broadcast_to(weights.reshape(-1), N))
    assert one.result() == pytest.approx(other.result(), rel=1e-13)
    before = one.result()
    with pytest.raises(RefnetError, match="sample_weight"):
        one.update_state(Y, P, np.ones(N + 1))
    assert one.result() == before


@kinds
def test_merged_states_are_those_of_one_pass(kind):
    parts = [kind() for _ in range(3)]
    for i, part in enumerate(parts):
        part.update_state(Y[i::3], P[i::3], W[i::3])
    first, *rest = parts
    first.merge_state(rest)
    assert first.result() == pytest.approx(over_batches(kind, N, True).result(), rel=1e-13)
    assert all(np.array_equal(a, b) for a, b in zip(rest[0]._kept(), parts[1]._kept(), strict=True))
    first.reset_state()
    assert first.result() == 0


def test_only_metrics_of_one_kind_are_merged():
    metric = metrics.Precision()
    metric.update_state([1, 0], [0.9, 0.8])
    for other in (metrics.Recall(), metrics.Precision(0.7), metrics.Precision(class_id=1), 3.0):
        with pytest.raises(ArgumentError, match="precision: merge_state takes metrics of the same"):
            metric.merge_state([metrics.Precision(), other])
    assert metric.result() == 0.5
    one, other = metrics.BinaryAccuracy(threshold=0.6), metrics.BinaryAccuracy()
    with pytest.raises(ArgumentError, match="threshold"):
        one.merge_state([other])


@kinds
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_tensors_and_arrays_give_one_number(kind, dtype):
    y, p, w = data(kind, n=5000, dtype=dtype)  # more than float16 counts
    arrays, tensors = kind(), kind()
    arrays.update_state(y, p, w)
    tensors.update_state(refnet.tensor(y), refnet.tensor(p), refnet.tensor(w))
    rel = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-13}[dtype]
    assert tensors.result() == pytest.approx(arrays.result(), rel=rel)


# -- in a model ------------------------------------------------------------------------------------


def model_of(kind, backend, **compiled):
    refnet.utils.set_random_seed(4)
    model = refnet.Sequential([Input((3,)), Dense(3, "softmax")])
    sparse = kind.__name__ in SPARSE
    loss = "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"
    model.compile("sgd", loss, metrics=[kind(), "accuracy"], **compiled)
    return model.to(backend)


@kinds
@pytest.mark.parametrize("backend", ["numpy", "loopback"])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_evaluate_gives_one_number_whatever_the_batches(kind, backend, run_eagerly):
    """The loss with weights, and the metrics; against the metric over the predictions."""
    model = model_of(kind, backend, run_eagerly=run_eagerly)
    x = RNG.normal(0, 1, (N, 3)).astype("float32")
    whole = model.evaluate(x, Y, batch_size=N, sample_weight=W, verbose=0)
    alone = kind()
    alone.update_state(Y, model.predict(x))
    assert whole[1] == pytest.approx(alone.result(), rel=1e-6)
    for size in (1, 3, 7):
        found = model.evaluate(x, Y, batch_size=size, sample_weight=W, verbose=0)
        assert found == pytest.approx(whole, rel=1e-6)
        if issubclass(kind, Confusion):  # counts
            assert found[1:] == pytest.approx(whole[1:], rel=1e-15)


@pytest.mark.triton
@pytest.mark.parametrize(
    "kind", [metrics.Accuracy, metrics.RootMeanSquaredError, metrics.Recall, metrics.AUC]
)
def test_evaluate_on_a_gpu(kind):
    """A mean, a root, a ratio and an area."""
    model = model_of(kind, "triton")
    x = RNG.normal(0, 1, (N, 3)).astype("float32")
    expected = model_of(kind, "numpy").evaluate(x, Y, verbose=0)
    assert model.evaluate(x, Y, batch_size=12, verbose=0) == pytest.approx(expected, rel=1e-5)


@kinds
def test_the_log_of_fit_is_of_the_whole_epoch(kind):
    """With a learning rate of 0 it is what `evaluate` says, for batches of any size."""
    model = model_of(kind, "numpy")
    model.optimizer.learning_rate = 0.0
    x = RNG.normal(0, 1, (N, 3)).astype("float32")
    expected = model.evaluate(x, Y, batch_size=N, verbose=0, return_dict=True)
    for size in (4, 7):
        log = model.fit(x, Y, batch_size=size, verbose=0, validation_data=(x, Y)).history
        for name, value in expected.items():
            assert log[name][0] == pytest.approx(value, rel=1e-6)
            assert log[f"val_{name}"][0] == pytest.approx(value, rel=1e-6)


# -- the parts -------------------------------------------------------------------------------------


def test_a_subclass_that_says_its_sums_is_a_metric_of_a_model():
    class Largest(Metric):
        """√Σe⁴ / √Σe²: no mean, and sums of arrays of numbers."""

        sums = ("powers",)

        def batch_sums(self, y_true, y_pred, sample_weight=None):
            e = (y_true - y_pred) ** 2
            return [refnet.ops.stack([(e * e).sum(), e.sum()])]

        def compute(self, powers):
            return math.sqrt(powers[0] / powers[1]) if np.ndim(powers) else 0.0

    model = refnet.Sequential([Input((2,)), Dense(1)])
    model.compile("sgd", "mean_squared_error", metrics=[Largest(name="mine")])
    x, y = RNG.normal(0, 1, (9, 2)), RNG.normal(0, 1, (9, 1))
    e = (model.predict(x) - y) ** 2
    for size in (2, 9):
        found = model.evaluate(x, y, batch_size=size, verbose=0, return_dict=True)["mine"]
        assert found == pytest.approx(math.sqrt((e**2).sum() / e.sum()), rel=1e-5)


def test_a_mean_of_numbers():
    mean = metrics.Mean()
    mean.update_state([[1.0, 2.0], [3.0, 4.0]])
    mean.update_state(10)
    assert mean.result() == 4
    mean.update_state([0.0, 100.0], sample_weight=[5.0, 0.0])
    assert mean.result() == 2


def test_rmse_is_the_root_of_the_mean():
    metric = metrics.RootMeanSquaredError()
    for error in (1.0, 7.0):
        metric.update_state([[0.0]], [[error]])
    assert metric.result() == 5
    assert metrics.get("rmse").name == "rmse"


def test_every_mean_is_made_of_the_sums_of_its_function():
    for kind in KINDS:
        if issubclass(kind, MeanMetric):
            assert kind.sums == ("total", "count")
