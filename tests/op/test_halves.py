"""float16: computed in float32 and rounded once, on NumPy as on Triton. Half types are for storage."""

import numpy as np
import pytest

from refnet import backend as backends
from refnet import losses, metrics
from refnet.autograd.backpropagation import gradients
from refnet.autograd.tensor import tensor
from refnet.op import TABLE
from refnet.proof.judge import all_ops


@pytest.fixture
def here(backend):
    """Tensors are made on each backend in turn."""
    with backends.use_backend(backend):
        yield backend


@pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
def test_every_op_keeps_its_bound_in_float16_on_numpy(op, agree):
    """The bounds take float32 arithmetic for granted: the tests of the other types are in test_twins."""
    agree(op, "float16", backends.get("numpy"))


# -- reductions -----------------------------------------------------------------------------------

ONES = np.ones(70_000, "float16")  # more than float16 counts to


def test_the_mean_of_70000_ones_is_1(here):
    x = tensor(ONES)
    mean = x.mean()
    assert mean.dtype == "float16" and mean.item() == 1
    (dx,) = gradients(mean, [x])
    assert dx.dtype == "float16" and set(dx.numpy().tolist()) == {float(np.float16(1 / 70_000))}


def test_a_sum_is_rounded_once(here):
    """One after another in float16, 1 + 1 + … stays at 2048."""
    assert tensor(ONES[:6000]).sum().item() == 6000
    assert tensor(np.full(6000, 0.1, "float16")).sum().item() == 600.0  # 599.85 in exact numbers
    rows = tensor(np.full((3, 5000), 2.0, "float16"))
    assert rows.sum(axis=1).numpy().tolist() == [10_000.0] * 3
    assert rows.mean(axis=(0, 1)).item() == 2.0


def test_what_only_passes_through_large_numbers_is_finite(here):
    x = tensor(np.array([60_000.0, 60_000.0, -60_000.0], "float16"))
    assert x.sum().item() == 60_000 and x.mean().item() == 20_000
    scores = tensor(np.zeros((1, 66_000), "float16"))  # Σ e⁰ is beyond float16
    p, log_p = TABLE["softmax"](scores), TABLE["log_softmax"](scores)
    assert p.numpy().max() == np.float16(1 / 66_000)
    assert log_p.numpy().min() == np.float16(-np.log(66_000))
    product = tensor(np.array([[300.0, -300.0]], "float16")) @ tensor(
        np.full((2, 1), 300, "float16")
    )
    assert product.numpy().tolist() == [[0.0]]


LOSSES = {kind.function.__name__: kind for kind in losses.LOSSES.values()}


COUNT = 12


def examples(name):
    """(targets, predictions, options): every loss is 10,000 or more, and their sum beyond float16."""
    column = np.ones((COUNT, 1), "float16")
    if name in ("categorical_crossentropy", "sparse_categorical_crossentropy"):
        scores = np.tile(np.array([[-5000.0, 5000.0]], "float16"), (COUNT, 1))
        chosen = np.zeros(COUNT, "int64")
        one_hot = np.eye(2, dtype="float16")[chosen]
        return chosen if name.startswith("sparse") else one_hot, scores, {"from_logits": True}
    if name == "binary_crossentropy":
        return column, -10_000 * column, {"from_logits": True}
    squares = LOSSES.get(name, losses.MeanSquaredError)()(column, 151.0 * column) > 10_000
    return (column, 151 * column, {}) if squares else (0 * column, 10_000 * column, {})


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_float16_is_that_of_float64_rounded(name, here):
    y, p, options = examples(name)
    found, exact = [], []
    for kind, values in (("float16", found), ("float64", exact)):
        y_true, y_pred = tensor(y, kind if y.dtype.kind == "f" else None), tensor(p, kind)
        loss = LOSSES[name](**options)(y_true, y_pred)
        assert loss.dtype == kind
        values += [loss.item(), *gradients(loss, [y_pred])[0].numpy()[:2].ravel().tolist()]
    assert exact[0] * COUNT > 65504
    assert found == pytest.approx(exact, rel=4e-3, abs=2e-7)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_every_metric_of_float16_is_right(name, here):
    classes = {"categorical_accuracy", "sparse_categorical_accuracy"} & {name}
    labels = issubclass(metrics.METRICS[name], metrics.confusion.Confusion)
    alike = f"{name.removesuffix('accuracy')}crossentropy" if classes else "mse"
    y, p, _ = examples("binary_crossentropy" if labels else alike)
    metric = metrics.get(name)
    metric.update_state(tensor(y), tensor(p))
    by_64 = metrics.get(name)
    by_64.update_state(*(tensor(x, "float64" if x.dtype.kind == "f" else None) for x in (y, p)))
    assert metric.result() == pytest.approx(by_64.result(), rel=1e-3)
    sums = [np.asarray(x, "float64") for x in metric.batch_sums(tensor(y), tensor(p))]
    assert float(metric.compute(*sums)) == pytest.approx(metric.result())
