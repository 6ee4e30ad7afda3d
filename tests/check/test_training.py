"""How far two trainings part, inside and out: what is measured is what was run, and faults show."""

import numpy as np
import pytest

import refnet
from refnet import backend as backends
from refnet import config, layers
from refnet.autograd.tensor import watching
from refnet.check import training as drift
from refnet.errors import ArgumentError, NotReadyError
from refnet.plot.figure import BLUE, GREEN, ORANGE
from refnet.training import step as training
from tests.conftest import TRITON
from tests.pictures import contains, pixels

X = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
X[:, 2] = 0  # an input that is never there: its weights never move
Y = np.random.default_rng(1).integers(0, 3, 48)


def network(optimizer="adam", dropout=True, seed=None):
    if seed is not None:
        refnet.random.set_seed(seed)
    model = refnet.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(16, activation="tanh", name="hidden"),
            *([layers.Dropout(0.25)] if dropout else []),
            layers.Dense(3, activation="softmax", name="out"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def batches(count=6):
    return drift.batches_of(X, Y, 16, count)


@pytest.fixture
def reordered(monkeypatch):
    """The loopback backend, summing its products in another order."""
    loopback = backends.get("loopback")
    right = loopback.function

    def function(op):
        if op.name == "linear":
            flip = slice(None, None, -1)
            return lambda x, kernel, bias, **attributes: right(op)(
                x[..., flip], kernel[flip], bias, **attributes
            )
        if op.name == "linear_vjp":
            return lambda *data, **attributes: _sums_reversed(right(op), data, attributes)
        return right(op)

    monkeypatch.setattr(loopback, "function", function)
    return loopback


def _sums_reversed(linear_vjp, data, attributes):
    """The rows of the batch from the last to the first; ∂L/∂x, if it is there, is turned back."""
    g, x, kernel, saved = data
    dx, dkernel, dbias = linear_vjp(g[::-1], x[::-1], kernel, saved[::-1], **attributes)
    return dx if dx is None else dx[::-1], dkernel, dbias


# -- what steps tell -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loopback", TRITON])
def test_looking_inside_changes_nothing(name):
    runs = [drift.Run("one", name)]
    plain = list(drift.steps(lambda: network(seed=3), runs, batches(3)))
    inside = list(drift.steps(lambda: network(seed=3), runs, batches(3), inside=True))
    assert watching.get() is None
    for a, b in zip(plain, inside, strict=True):
        assert a.losses == b.losses
        assert a.theta["one"].tobytes() == b.theta["one"].tobytes()
        assert (a.gradient, a.memory) == ({}, {})
        assert b.gradient["one"].shape == b.theta["one"].shape
        assert set(b.memory["one"]) == {"m", "v"}


def test_the_gradient_is_the_one_that_was_followed():
    model = network(dropout=False, seed=3)
    make = lambda: network(dropout=False, seed=3)  # noqa: E731
    x, y = next(batches(1))
    step = next(drift.steps(make, [drift.Run("one", "numpy")], [(x, y)], inside=True))
    names, places = drift._places(model)
    assert names == ("hidden/kernel", "hidden/bias", "out/kernel", "out/bias")
    for place, g in zip(places, training.weight_gradients(model, x, y), strict=True):
        assert step.gradient["one"][place] == pytest.approx(g.reshape(-1), rel=1e-5, abs=1e-8)
    m, v, g = step.memory["one"]["m"], step.memory["one"]["v"], step.gradient["one"]
    assert m == pytest.approx(0.1 * g, rel=1e-6)
    assert v == pytest.approx(0.001 * g * g, rel=1e-5)


def test_random_keys_are_the_same_for_all():
    """Dropout layers made one after the other draw different numbers: here they must not."""
    found = drift.compare(network, "numpy", "loopback", batches(3), draws=1)
    assert not found.loss_differences.any()


def test_a_wrong_run_is_wrong_by_little_and_the_exact_one_is_exact():
    runs = [
        drift.Run("right", "numpy"),
        drift.Run("exact", "numpy", "float64"),
        drift.Run("wrong", "numpy", "float64", wrong_by="float32", seed=1),
        drift.Run("wrong too", "numpy", "float64", wrong_by="float32", seed=2),
    ]
    make = lambda: network(seed=3)  # noqa: E731
    for together, alone in zip(
        drift.steps(make, runs, batches(4), inside=True),
        drift.steps(make, runs[1:2], batches(4)),
        strict=True,
    ):
        assert together.losses["exact"] == alone.losses["exact"]
        assert 0 < abs(together.losses["wrong"] - together.losses["exact"]) < 1e-4
        assert together.losses["wrong"] != together.losses["wrong too"]
        assert 1e-8 < together.distance("exact", "wrong") < 1e-4


# -- what compare finds ----------------------------------------------------------------------------


def test_two_backends_of_the_same_bits():
    found = drift.compare(lambda: network(seed=3), "numpy", "loopback", batches(), draws=2)
    assert found.holds
    assert not found.loss_differences.any()
    assert set(found.distances) == set(found.allowed) == {"gradient", "weights", "m", "v"}
    for kind, distance in found.distances.items():
        assert distance.shape == (6, 4)
        assert not distance.any()
        assert (found.allowed[kind] > 0).all()
        assert not found.ratios(kind).any()


def test_sums_in_another_order_stay_within_what_is_allowed(reordered):
    found = drift.compare(lambda: network(seed=3), "numpy", "loopback", batches(12))
    assert found.holds
    assert found.loss_differences.any()
    for kind in ("gradient", "weights", "m", "v"):
        ratios = found.ratios(kind)
        assert 1 / 64 < ratios.max() <= 1, kind  # what is allowed is not far from what is there
        assert found.allowed[kind].max() < 1e-4


@pytest.mark.triton
def test_triton_stays_within_what_is_allowed():
    found = drift.compare(lambda: network(seed=3), "numpy", "triton", batches(4), draws=2)
    assert found.holds
    assert found.distances["gradient"].any()


@pytest.mark.parametrize(("op", "first_wrong"), [("linear_vjp", "gradient"), ("adam", "weights")])
def test_a_wrong_op_shows(monkeypatch, op, first_wrong):
    loopback = backends.get("loopback")
    right = loopback.function

    def function(row):
        def wrong(*inputs, **attributes):
            if op == "adam":  # η is a tenth too large
                *others, rate, t = inputs
                return right(row)(
                    *others, loopback.array(1.1 * loopback.numpy(rate)), t, **attributes
                )
            return tuple(
                None if y is None else loopback.array(loopback.numpy(y) * np.float32(1.01))
                for y in right(row)(*inputs, **attributes)
            )

        return wrong if row.name == op else right(row)

    monkeypatch.setattr(loopback, "function", function)
    found = drift.compare(lambda: network(seed=3), "numpy", "loopback", batches(3), draws=2)
    assert not found.holds
    assert found.ratios(first_wrong)[0].min() > 10
    if op == "adam":
        assert not found.distances["gradient"][0].any()  # the first gradient came before the fault


def test_the_same_numbers_every_time(reordered):
    first, again = (
        drift.compare(lambda: network(seed=3), "numpy", "loopback", batches(2), draws=2, seed=5)
        for _ in range(2)
    )
    assert str(first) == str(again)
    for kind in first.allowed:
        assert first.allowed[kind].tobytes() == again.allowed[kind].tobytes()
    other = drift.compare(lambda: network(seed=3), "numpy", "loopback", batches(2), draws=2, seed=9)
    assert other.allowed["m"].tobytes() != first.allowed["m"].tobytes()
    assert other.distances["m"].tobytes() == first.distances["m"].tobytes()


@pytest.mark.parametrize(("momentum", "memory"), [(0.9, {"velocity"}), (0.0, set())])
def test_an_optimizer_with_a_velocity_and_one_without_memory(momentum, memory):
    make = lambda: network(refnet.optimizers.SGD(0.1, momentum), seed=3)  # noqa: E731
    found = drift.compare(make, "numpy", "loopback", batches(2), draws=1)
    assert set(found.distances) == {"gradient", "weights"} | memory


def test_the_table(reordered):
    found = drift.compare(lambda: network(seed=3), "numpy", "loopback", batches(3), draws=1)
    head, loss, *rows = str(found).splitlines()
    assert head.split() == [
        "largest",
        "distance",
        "at",
        "step",
        "largest",
        "distance",
        "/",
        "allowed",
    ]
    assert loss.split()[0] == "loss"
    assert float(loss.split()[1]) == pytest.approx(found.loss_differences.max(), rel=0.01)
    assert len(rows) == 4 * 4
    kind, name, distance, step, ratio = rows[0].split()
    assert (kind, name) == ("gradient", "hidden/kernel")
    column = found.distances["gradient"][:, 0]
    assert float(distance) == pytest.approx(column.max(), rel=0.01)
    assert int(step) == column.argmax() + 1
    assert float(ratio) == pytest.approx(found.ratios("gradient")[:, 0].max(), rel=0.06)


def test_bad_arguments():
    with pytest.raises(ArgumentError, match="takes two backends, got 'numpy' twice"):
        drift.compare(network, "numpy", "numpy", batches(1))
    with pytest.raises(ArgumentError, match="draws is at least 1, got 0"):
        drift.compare(network, "numpy", "loopback", batches(1), draws=0)
    with pytest.raises(ArgumentError, match="at least one batch"):
        drift.compare(network, "numpy", "loopback", [])
    with pytest.raises(NotReadyError, match="has no weights to train"):
        drift.compare(refnet.Sequential, "numpy", "loopback", batches(1))


# -- bounds, batches, types ------------------------------------------------------------------------


def test_the_bound_as_a_formula():
    assert drift.loss_bound(0, 0.1, layers=3) == 2 * 2**-24 * np.sqrt(8)
    assert drift.loss_bound(3, 2.5, layers=3) == 2 * 2**-24 * np.sqrt(8 * 4) * 2.5
    assert drift.loss_bound(0, 1.0, 1, rounded=1, dtype="float64") == 2 * 2**-53 * np.sqrt(2)
    assert drift.loss_bound(np.arange(3), np.ones(3), 3).shape == (3,)


def test_batches_are_the_same_every_time_and_cover_each_epoch():
    x, y = np.arange(10), np.arange(10) * 2
    first, again = (list(drift.batches_of(x, y, 4, 6, seed=1)) for _ in range(2))
    assert [len(a) for a, _ in first] == [4, 4, 2, 4, 4, 2]
    for start in (0, 3):
        assert sorted(np.concatenate([a for a, _ in first[start : start + 3]])) == list(range(10))
    assert all((a == b).all() for (a, _), (b, _) in zip(first, again, strict=True))
    assert all((b == 2 * a).all() for a, b in first)


def test_float_type_is_restored_after_an_error():
    with pytest.raises(ArgumentError), drift.float_type("float64"):
        raise ArgumentError
    assert config.floatx() == "float32"


# -- the picture -----------------------------------------------------------------------------------


@pytest.mark.needs("matplotlib")
def test_the_picture(reordered, tmp_path):
    from refnet.plot.drift import training_drift

    found = drift.compare(lambda: network(seed=3), "numpy", "loopback", batches(3), draws=1)
    image = pixels(training_drift(found, tmp_path / "a.png"), (600, 800))
    assert all(contains(image, colour) for colour in (BLUE, GREEN, ORANGE))


@pytest.mark.needs("matplotlib")
def test_the_picture_of_one_step_without_any_distance(tmp_path):
    from refnet.plot.drift import training_drift

    sgd = lambda: network(refnet.optimizers.SGD(0.1), seed=3)  # noqa: E731
    found = drift.compare(sgd, "numpy", "loopback", batches(1), draws=1)
    pixels(training_drift(found, tmp_path / "a.png", "A title"), (600, 800))
