"""The perceptron: Rosenblatt's rule, Novikoff's bound, what one neuron cannot learn, and its pictures."""

import math
import re

import numpy as np
import pytest

import refnet
from refnet.errors import ArgumentError, DataError, DTypeError, NotReadyError, ShapeError
from refnet.perceptron import Perceptron, largest_margin, mistake_bound
from refnet.plot.figure import BLUE, ORANGE, RED
from refnet.plot.perceptron import approximations, decision_boundary, responsibilities
from tests import pictures
from tests.conftest import need

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "NAND": [1, 1, 1, 0]}
XOR = [0, 1, 1, 0]


# -- the rule ------------------------------------------------------------------------------------


def test_the_rule_by_hand():
    """Of AND with η = ½: at 0 the step says 1, so (0, 0) is the first mistake."""
    learner = Perceptron(learning_rate=0.5, max_epochs=2).fit(CORNERS, GATES["AND"])
    by_hand = [
        ([0.0, 0.0], -0.5),  # (0,0) said 1; (0,1) and (1,0) say 0
        ([0.5, 0.5], 0.0),  # (1,1) said 0
        ([0.5, 0.5], -0.5),  # second epoch: (0,0) said 1
        ([0.5, 0.0], -1.0),  # (0,1) said 1, at the threshold; (1,0) says 0
        ([1.0, 0.5], -0.5),  # (1,1) said 0
    ]
    assert [(w.tolist(), b) for w, b in learner.history] == by_hand
    assert (learner.weights.tolist(), learner.bias) == by_hand[-1]
    assert learner.mistakes_per_epoch == [2, 3]
    assert learner.mistakes == 5
    assert not learner.converged
    assert learner.cycle is None


def test_the_bias_is_a_threshold():
    """The course's b = -10: x · w must reach 10."""
    neuron = Perceptron()
    neuron.weights, neuron.bias = np.array([1.0]), -10.0
    assert neuron.predict([[9.5], [10.0], [12.0]]).tolist() == [0, 1, 1]
    assert neuron.decision_function([[9.5], [10.0], [12.0]]).tolist() == [-0.5, 0.0, 2.0]


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("options", [{}, {"shuffle": True, "seed": 4}, {"learning_rate": 0.1}])
def test_gates_are_learned(gate, options):
    learner = Perceptron(**options).fit(CORNERS, GATES[gate])
    assert learner.converged
    assert learner.predict(CORNERS).tolist() == GATES[gate]
    assert learner.score(CORNERS, GATES[gate]) == 1.0
    assert learner.mistakes == len(learner.history) == sum(learner.mistakes_per_epoch)
    assert learner.mistakes_per_epoch[-1] == 0
    assert (
        0
        < learner.mistakes
        <= mistake_bound(CORNERS, GATES[gate], *largest_margin(CORNERS, GATES[gate]))
    )


def test_partial_fit_is_one_epoch_of_fit():
    x, y, _ = separable(seed=8, features=3)
    whole = Perceptron(0.25).fit(x, y)
    assert len(whole.mistakes_per_epoch) > 2
    by_epoch = Perceptron(0.25)
    while not by_epoch.converged:
        by_epoch.partial_fit(x, y)
    assert by_epoch.mistakes_per_epoch == whole.mistakes_per_epoch
    assert np.array_equal(by_epoch.weights, whole.weights)
    assert by_epoch.bias == whole.bias


def test_partial_fit_carries_on_and_fit_starts_over():
    learner = Perceptron().fit(CORNERS, GATES["AND"])
    first = learner.weights
    learner.partial_fit(CORNERS, GATES["OR"])
    assert not np.array_equal(learner.weights, first)
    assert not learner.converged
    learner.fit(CORNERS, GATES["AND"])
    assert np.array_equal(learner.weights, first)
    assert learner.mistakes == 11


def test_the_seed_decides_the_orders():
    x, y, _ = separable(seed=1, features=4)
    runs = [Perceptron(shuffle=True, seed=seed).fit(x, y).history for seed in (1, 1, 2)]
    same = [len(runs[0]) == len(r) and np.array_equal(runs[0][-1][0], r[-1][0]) for r in runs[1:]]
    assert same == [True, False]
    refnet.utils.set_random_seed(3)
    drawn = Perceptron(shuffle=True).fit(x, y)
    refnet.utils.set_random_seed(3)
    assert np.array_equal(Perceptron(shuffle=True).fit(x, y).weights, drawn.weights)


def test_labels_and_inputs_of_other_types():
    expected = Perceptron().fit(CORNERS, GATES["AND"]).weights
    for x, y in [
        (CORNERS.tolist(), np.array(GATES["AND"], bool)),
        (CORNERS.astype("uint8"), np.array(GATES["AND"], float)),
        (refnet.tensor(CORNERS.astype("float32")), tuple(GATES["AND"])),
    ]:
        assert np.array_equal(Perceptron().fit(x, y).weights, expected)


# -- the bound -----------------------------------------------------------------------------------


def separable(seed, features=None, examples=None):
    """Data with a planted plane and no example near it: x, y and the (weights, bias) of the plane."""
    rng = np.random.default_rng(seed)
    features = features or int(rng.integers(1, 13))
    examples = examples or int(rng.integers(20, 120))
    scale = rng.choice([0.1, 1.0, 20.0])
    w = rng.normal(size=features)
    w /= np.linalg.norm(w)
    x = rng.normal(0, scale, (examples, features))
    b = -(x[0] @ w) / 2
    t = np.where(x @ w + b > 0, 1, -1)
    x += scale * rng.choice([0.03, 0.1, 0.5]) * t[:, None] * w  # away from the plane
    x = x.astype("float32").astype(
        "float64"
    )  # refnet rounds data to floatx; now it has nothing to do
    return x, (t + 1) // 2, (w, b)


@pytest.mark.parametrize("seed", range(60))
def test_mistakes_never_exceed_the_bound(seed):
    x, y, planted = separable(seed)
    best = largest_margin(x, y)
    bound = mistake_bound(x, y, *best)
    assert bound <= mistake_bound(x, y, *planted) * (1 + 1e-8)
    for options in (
        {},
        {"learning_rate": 0.01},
        {"learning_rate": 7.0, "shuffle": True, "seed": seed},
        {"shuffle": True, "seed": seed + 60},
    ):
        learner = Perceptron(**options, max_epochs=int(bound) + 1).fit(x, y)
        assert learner.converged
        assert learner.mistakes <= bound
        assert learner.score(x, y) == 1.0


def test_the_learning_rate_changes_nothing_but_the_scale():
    x, y, _ = separable(seed=8)
    one, eighth = Perceptron(1.0).fit(x, y), Perceptron(0.125).fit(x, y)
    assert one.mistakes_per_epoch == eighth.mistakes_per_epoch
    assert np.array_equal(one.weights / 8, eighth.weights)
    assert one.bias / 8 == eighth.bias


def hadamard(order):
    """Rows at right angles to each other, all of length √order, that end in 1."""
    rows = np.ones((1, 1))
    while len(rows) < order:
        rows = np.kron([[1, 1], [-1, 1]], rows)
    return rows * rows[:, -1:]


@pytest.mark.parametrize("order", [2, 4, 16, 64])
def test_the_bound_is_reached(order):
    """Where the z = (x, 1) stand at right angles, no mistake helps with any other example."""
    z = hadamard(order)
    assert np.array_equal(z @ z.T, order * np.eye(order))
    x, y = z[:, :-1], np.zeros(order, int)
    learner = Perceptron().fit(x, y)
    assert learner.mistakes == order
    assert mistake_bound(x, y, -x.sum(axis=0), -order) == order
    y[0] = 1  # the one that the step gets right from the start: both labels, all but one mistake
    assert Perceptron().fit(x, y).mistakes == order - 1
    assert mistake_bound(x, y, *largest_margin(x, y)) == pytest.approx(order, rel=1e-8)


def test_the_bound_by_hand():
    """AND with 2x + 2x' - 3: R² = ‖(1, 1, 1)‖² = 3, all margins at least 1/√17."""
    assert mistake_bound(CORNERS, GATES["AND"], [2, 2], -3) == pytest.approx(3 * 17)
    assert mistake_bound(CORNERS, GATES["AND"], [20, 20], -30) == pytest.approx(3 * 17)
    assert mistake_bound(CORNERS, GATES["AND"], [4, 4], -5) == pytest.approx(3 * 57)


def test_largest_margin_by_hand():
    """Two points ±a on a line: the plane halfway, and its margin is the distance of a."""
    weights, bias = largest_margin([[-3.0, -4.0], [3.0, 4.0]], [0, 1])
    assert weights == pytest.approx([0.6, 0.8])
    assert bias == pytest.approx(0)
    assert largest_margin([[2.0]], [0]) == (
        pytest.approx([-2 / 5**0.5]),
        pytest.approx(-1 / 5**0.5),
    )


@pytest.mark.parametrize("seed", range(40))
def test_with_labels_at_random_there_is_a_plane_or_a_proof_that_there_is_none(seed):
    """Small whole numbers: many examples are equal, or lie on one plane."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (int(rng.integers(2, 14)), 3))
    y = rng.integers(0, 2, len(x))
    learner = Perceptron(max_epochs=3000).fit(x, y)
    try:
        best = largest_margin(x, y)
    except DataError:
        assert learner.cycle is not None
    else:
        assert learner.converged
        assert learner.mistakes <= mistake_bound(x, y, *best)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_plane_has_a_larger_margin(seed):
    x, y, _ = separable(seed, features=2, examples=40)
    weights, bias = largest_margin(x, y)
    assert np.hypot(np.linalg.norm(weights), bias) == pytest.approx(1)
    z = np.where(y == 1, 1, -1)[:, None] * np.column_stack([x, np.ones(len(x))])
    v = np.append(weights, bias)
    others = (
        v + np.random.default_rng(0).normal(size=(4000, 3)) * np.geomspace(1e-4, 1, 4000)[:, None]
    )
    others /= np.linalg.norm(others, axis=1)[:, None]
    margins = (others @ z.T).min(axis=1)
    assert margins.max() <= (z @ v).min() * (1 + 1e-8)
    assert margins.max() > 0


@pytest.mark.parametrize("seed", range(20))
def test_the_largest_margin_is_carried_by_the_nearest_examples(seed):
    """γ v is a mean, with weights a > 0, of the examples at distance γ: then no margin is larger."""
    x, y, _ = separable(seed)
    v = np.append(*largest_margin(x, y))
    z = np.where(y == 1, 1, -1)[:, None] * np.column_stack([x, np.ones(len(x))])
    margin = (z @ v).min()
    nearest = z[z @ v < margin * (1 + 1e-6)]
    a = np.linalg.lstsq(np.vstack([nearest.T, np.ones(len(nearest))]), np.append(margin * v, 1))[0]
    assert a.min() > 0
    assert a.sum() == pytest.approx(1)
    assert a @ nearest == pytest.approx(margin * v, rel=1e-6, abs=1e-6 * margin)


def test_planes_that_do_not_separate():
    with pytest.raises(DataError, match=re.escape("for example 3, of label 1, x · w + b is -1")):
        mistake_bound(CORNERS, GATES["AND"], [1, 1], -3)
    with pytest.raises(DataError, match=re.escape("for example 1, of label 0, x · w + b is 0.5")):
        mistake_bound(CORNERS, GATES["AND"], [1, 1], -0.5)
    with pytest.raises(DataError, match="do not separate"):  # on the plane is not beside it
        mistake_bound(CORNERS, GATES["AND"], [1, 1], -2)
    with pytest.raises(DataError, match="do not separate"):
        mistake_bound(CORNERS, GATES["AND"], [math.nan, 1], -2)
    with pytest.raises(ShapeError, match="2 features need as many weights, got 3"):
        mistake_bound(CORNERS, GATES["AND"], [1, 1, 1], -2)
    with pytest.raises(DataError, match=r"no plane separates.*positive a at 4 examples"):
        largest_margin(CORNERS, XOR)
    with pytest.raises(DataError, match=r"no plane separates these labels: Σ a t \(x, 1\)"):
        largest_margin([[1.0], [1.0]], [0, 1])
    with pytest.raises(DataError, match=r"these labels with a margin above 1.4e-05: Σ"):
        largest_margin([[1.0], [1.000001]], [0, 1])  # a plane does, but the margin is too small


# -- what one neuron cannot learn ----------------------------------------------------------------


@pytest.mark.parametrize("rate", [1.0, 0.1, 0.5])
def test_xor_goes_round_in_circles(rate):
    learner = Perceptron(rate, max_epochs=500).fit(CORNERS, XOR)
    assert not learner.converged
    first, again = learner.cycle
    assert first < again == len(learner.mistakes_per_epoch) < 500
    ends = np.cumsum(learner.mistakes_per_epoch)
    states = [(*w, b) for w, b in learner.history]
    assert states[ends[first - 1] - 1] == states[ends[again - 1] - 1]
    assert "it stood where it did" in repr(learner)
    learner.partial_fit(CORNERS, XOR)
    assert learner.mistakes_per_epoch[first] == learner.mistakes_per_epoch[again]
    assert learner.cycle is None


def test_xor_in_any_order_never_converges():
    learner = Perceptron(shuffle=True, seed=0, max_epochs=300).fit(CORNERS, XOR)
    assert not learner.converged
    assert learner.cycle is None  # another order may lead elsewhere, so nothing has been shown
    assert len(learner.mistakes_per_epoch) == 300
    assert min(learner.mistakes_per_epoch) > 0
    assert learner.score(CORNERS, XOR) < 1


def test_two_layers_of_steps_compute_xor():
    Dense = refnet.layers.Dense
    network = refnet.Sequential(
        [Dense(2, activation="binary_step", input_shape=(2,)), Dense(1, activation="binary_step")]
    )
    #          OR  NAND                                AND of the two
    weights = [[[1, -1], [1, -1]], [-0.5, 1.5], [[1], [1]], [-1.5]]
    network.set_weights([np.array(w, "float32") for w in weights])
    assert network.predict(CORNERS)[:, 0].tolist() == XOR


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        ([], [], DataError, "x holds no examples"),
        (np.zeros((0, 2)), [], DataError, "x holds no examples"),
        ([[0, math.nan]], [1], DataError, "x holds 1 values that are NaN or infinite"),
        ([[0, math.inf]], [1], DataError, "NaN or infinite"),
        ([[0, 1]], [math.nan], DataError, "y holds 1 values that are NaN"),
        ([["a"]], [1], DTypeError, "expected numbers"),
        ([[0], [1]], [-1, 1], DataError, "got also [-1]: for -1 and +1, use (y + 1) // 2"),
        ([[0], [1]], [1, 2], DataError, "labels are 0 and 1, got also [2]"),
        ([[0], [1]], [0.5, 1], DataError, "got also [0.5]"),
        ([[0], [1]], [0, 1, 1], DataError, "x has 2 examples, y has 3"),
        ([[0], [1]], None, DataError, "needs labels y"),
        ([[0], [1]], [[0], [1]], ShapeError, "one label for each example, (2,), got (2, 1)"),
        ([0, 1], [0, 1], ShapeError, "got (2,): x[:, None] is one feature"),
        (np.zeros((2, 8, 8)), [0, 1], ShapeError, "got (2, 8, 8): x.reshape(len(x), -1)"),
    ],
)
def test_examples_that_cannot_be_learned(x, y, error, message):
    learner = Perceptron().fit(CORNERS, GATES["AND"])
    before = learner.weights.tolist(), learner.bias, learner.mistakes
    for use in (learner.fit, learner.partial_fit, learner.score, largest_margin):
        with pytest.raises(error, match=re.escape(message)):
            use(x, y)
    assert (learner.weights.tolist(), learner.bias, learner.mistakes) == before


def test_the_wrong_number_of_features():
    learner = Perceptron().fit(CORNERS, GATES["AND"])
    x = np.ones((4, 3))
    for use in (learner.predict, learner.decision_function):
        with pytest.raises(ShapeError, match=r"2 weights.*got examples of 3 features"):
            use(x)
    for use in (learner.partial_fit, learner.score):
        with pytest.raises(ShapeError, match=r"2 weights.*got examples of 3 features"):
            use(x, GATES["AND"])
    assert learner.fit(x, GATES["OR"]).weights.shape == (3,)


def test_nothing_learned_yet():
    learner = Perceptron()
    assert repr(learner) == "<Perceptron, not fitted>"
    assert not learner.converged
    for use in (learner.predict, learner.decision_function):
        with pytest.raises(NotReadyError, match=re.escape("call fit(x, y) first")):
            use(CORNERS)
    with pytest.raises(NotReadyError, match=re.escape("call fit(x, y) first")):
        learner.score(CORNERS, XOR)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0}, "learning_rate is a number above 0, got 0"),
        ({"learning_rate": math.nan}, "got nan"),
        ({"learning_rate": "fast"}, "got 'fast'"),
        ({"max_epochs": 0}, "max_epochs is a whole number of at least 1, got 0"),
        ({"max_epochs": 2.5}, "got 2.5"),
        ({"seed": -1}, "seed is a whole number of at least 0, got -1"),
        ({"seed": "x"}, "got 'x'"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        Perceptron(**options)


# -- pictures ------------------------------------------------------------------------------------


@pytest.fixture
def looked_at():
    """Ways to look at a picture; where there is no matplotlib, it skips."""
    need("matplotlib")
    return pictures


def test_decision_boundary(tmp_path, looked_at):
    learner = Perceptron().fit(CORNERS, GATES["AND"])
    path = decision_boundary(learner, CORNERS, GATES["AND"], tmp_path / "new" / "a.png", "AND")
    assert path == tmp_path / "new" / "a.png"
    image = looked_at.pixels(path)
    assert looked_at.contains(image, BLUE)
    assert looked_at.contains(image, ORANGE)
    one_line = Perceptron().fit(CORNERS, GATES["AND"])
    one_line.history = one_line.history[-1:]
    fewer = looked_at.pixels(
        decision_boundary(one_line, CORNERS, GATES["AND"], tmp_path / "b.png", "AND")
    )
    assert fewer.shape != image.shape or not np.array_equal(fewer, image)


def test_the_boundary_of_a_network_and_of_a_neuron_without_a_line(tmp_path, looked_at):
    network = refnet.Sequential([refnet.layers.Dense(1, activation="sigmoid", input_shape=(2,))])
    network.set_weights([np.array([[1.0], [0.0]]), np.array([-0.5])])
    image = looked_at.pixels(decision_boundary(network, CORNERS, [0, 0, 1, 1], tmp_path / "a.png"))
    half = image[200:400, :, :3].mean(axis=0)  # a band of the plane: orange to the left, blue right
    left, right = half[image.shape[1] // 3], half[image.shape[1] * 2 // 3]
    assert left[0] > left[2]
    assert right[0] < right[2]
    nothing = Perceptron(max_epochs=1).fit([[0.0, 0.0]], [0])  # w stays 0
    looked_at.pixels(decision_boundary(nothing, CORNERS, GATES["OR"], tmp_path / "b.png"))


def test_approximations(tmp_path, looked_at):
    x = np.linspace(0, 6, 50)
    fits = {n: np.round(np.sin(x) * n) / n for n in (1, 2, 4, 8, 16, 32)}
    image = looked_at.pixels(approximations(x, np.sin(x), fits, tmp_path / "a.png"), (600, 900))
    assert looked_at.contains(image, BLUE)
    assert looked_at.contains(image, RED)
    looked_at.pixels(
        approximations(x, np.sin(x), {1: np.sin(x)}, tmp_path / "b.png")
    )  # no error at all


@pytest.mark.needs("matplotlib")
def test_a_circle_is_drawn_with_the_order_of_its_lines(monkeypatch):
    monkeypatch.setattr("refnet.plot.perceptron.save", lambda figure, path: figure)
    stuck = Perceptron().fit(CORNERS, XOR)
    (ax,) = decision_boundary(stuck, CORNERS, XOR, "a.png").axes
    places = {text.get_text(): np.array(text.get_position()) for text in ax.texts}
    assert sorted(places) == ["1", "2", "3", "4"]  # epoch 3 made four mistakes
    for number, (w, b) in enumerate(stuck.history[-4:], 1):
        assert places[f"{number}"] @ w + b == pytest.approx(0)
        assert (ax.get_xlim()[0] < places[f"{number}"]).all()
    (ax,) = decision_boundary(Perceptron().fit(CORNERS, GATES["AND"]), CORNERS, XOR, "a.png").axes
    assert not ax.texts


@pytest.mark.needs("matplotlib")
def test_the_axis_of_the_largest_errors_has_whole_decades(monkeypatch):
    monkeypatch.setattr("refnet.plot.perceptron.save", lambda figure, path: figure)
    x = np.linspace(0, 1, 50)
    fits = {1: x + 0.3, 2: x + 0.02, 4: x + 0.004}
    axes = approximations(x, x, fits, "a.png").axes
    (last,) = (ax for ax in axes if ax.get_title().startswith("largest error"))
    low, high = last.get_ylim()
    assert last.get_yscale() == last.get_xscale() == "log"
    assert low < 1e-3
    assert high > 1
    assert {1e-3, 1e-2, 1e-1, 1.0} <= set(last.get_yticks())


def test_responsibilities(tmp_path, looked_at):
    outputs = {"x": [1.0, -1.0], "h": [0.2, 0.4, 0.6], "a": [0.9]}
    deltas = [[0.1, -0.2, 0.0], [0.3]]
    kernels = [np.ones((2, 3)), np.ones((3, 1))]
    slopes = [np.full((2, 3), -0.1), np.full((3, 1), 0.2)]
    path = responsibilities(outputs, deltas, kernels, slopes, tmp_path / "a.png")
    image = looked_at.pixels(path)
    assert looked_at.contains(image, BLUE)  # an edge that may rise
    assert looked_at.contains(image, ORANGE)
    falling = [-part for part in slopes]
    other = responsibilities(outputs, deltas, kernels, falling, tmp_path / "b.png")
    assert (looked_at.pixels(other) != image).any()
    with pytest.raises(ShapeError, match=re.escape("layers of [2, 3, 1] nodes")):
        responsibilities(outputs, deltas, kernels[::-1], slopes, tmp_path / "c.png")
    with pytest.raises(ShapeError, match=re.escape("layers of [2] nodes")):
        responsibilities({"x": [1.0, 2.0]}, [], [], [], tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_what_cannot_be_drawn(tmp_path):
    path = tmp_path / "a.png"
    learner = Perceptron().fit(CORNERS, GATES["AND"])
    with pytest.raises(ShapeError, match=re.escape("got (4, 3) and (4,)")):
        decision_boundary(learner, np.zeros((4, 3)), XOR, path)
    with pytest.raises(ShapeError, match=re.escape("got (4, 2) and (3,)")):
        decision_boundary(learner, CORNERS, XOR[:3], path)
    many = refnet.Sequential([refnet.layers.Dense(3, input_shape=(2,))])
    with pytest.raises(ShapeError, match="one output can be drawn"):
        decision_boundary(many, CORNERS, XOR, path)
    with pytest.raises(DataError, match=re.escape("labels are 0 and 1, got also [2]")):
        decision_boundary(learner, CORNERS, [0, 1, 2, 1], path)
    with pytest.raises(ShapeError, match=re.escape("(2,) at width 4")):
        approximations([0, 1, 2], [0, 1, 2], {4: [0, 1]}, path)
    with pytest.raises(ArgumentError, match=re.escape("got []")):
        approximations([0, 1, 2], [0, 1, 2], {}, path)
    with pytest.raises(ArgumentError, match=re.escape("got [0]")):
        approximations([0, 1], [0, 1], {0: [0, 1]}, path)
    assert not path.exists()
