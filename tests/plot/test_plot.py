"""The pictures: written where they were asked for, not empty, and different where the data differ."""

import builtins

import numpy as np
import pytest

from refnet import descent, plot
from refnet.errors import ArgumentError, RefnetError, ShapeError, UnknownNameError
from refnet.optimizers import SGD
from refnet.plot.figure import BLUE, GREEN, ORANGE, RED
from tests.pictures import contains, pixels

drawn = pytest.mark.needs("matplotlib")

CURVES = {"loss": [1.0, 0.5, 0.2], "accuracy": [0.3, 0.6, 0.9]}
HELD_OUT = {**CURVES, "val_loss": [1.1, 0.7, 0.6], "val_accuracy": [0.2, 0.5, 0.8]}


@drawn
def test_loss_curves(tmp_path):
    path = plot.loss_curves(HELD_OUT, tmp_path / "new" / "folder" / "a.png", "A title")
    assert path == tmp_path / "new" / "folder" / "a.png"
    image = pixels(path)
    assert contains(image, BLUE)
    assert contains(image, RED)
    assert not contains(pixels(plot.loss_curves(CURVES, tmp_path / "b.png")), RED)
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]  # no unfinished file is left


@drawn
@pytest.mark.parametrize("losses", [[0.5], [0.0, 0.0], [-1.0, 1.0]])
def test_loss_curves_of_odd_losses(tmp_path, losses):
    pixels(plot.loss_curves({"loss": losses}, tmp_path / "a.png"))


@drawn
def test_compare_losses(tmp_path):
    losses = {"numpy": [2.0, 1.0, 0.5, 0.2], "triton": [2.0, 1.0 + 1e-7, 0.5, 0.2 - 1e-8]}
    bound, exact = [1e-6] * 4, [2.0 + 1e-8, 1.0, 0.5, 0.2]
    image = pixels(plot.compare_losses(losses, bound, tmp_path / "a.png", exact=exact), (600, 800))
    assert all(contains(image, colour) for colour in (BLUE, GREEN, ORANGE))


@drawn
def test_compare_losses_that_are_all_equal(tmp_path):
    pixels(plot.compare_losses({"a": [1.0, 0.5], "b": [1.0, 0.5]}, [1e-6] * 2, tmp_path / "a.png"))


@drawn
def test_predictions(tmp_path):
    images, labels = np.random.default_rng(0).random((5, 8, 8)), np.array([0, 1, 2, 3, 4])
    right = np.eye(10)[labels]
    wrong = np.eye(10)[(labels + 1) % 10]
    assert not contains(pixels(plot.predictions(images, right, labels, tmp_path / "a.png")), RED)
    assert contains(pixels(plot.predictions(images, wrong, labels, tmp_path / "b.png")), RED)
    pixels(plot.predictions(images[:1], right[:1], labels[:1], tmp_path / "c.png"), (200, 200))


@drawn
def test_activation_curves(tmp_path):
    names = ["sigmoid", "relu", "binary_step", "gelu"]
    image = pixels(plot.activation_curves(names, tmp_path / "a.png"))
    assert contains(image, BLUE)
    assert contains(image, RED)


@drawn
def test_activation_curves_take_keras_names(tmp_path):
    linear = pixels(plot.activation_curves(["linear"], tmp_path / "a.png"), (300, 300))
    silu = pixels(plot.activation_curves(["silu"], tmp_path / "b.png"), (300, 300))
    assert linear.shape == silu.shape
    assert (linear != silu).any()


@drawn
def test_gradients_through_depth(tmp_path):
    norms = {"sigmoid": 0.2 ** np.arange(9, 0, -1), "relu": np.ones(9), "binary_step": np.zeros(9)}
    bare = pixels(plot.gradients_through_depth(norms, tmp_path / "a.png"))
    assert contains(bare, BLUE)
    assert contains(bare, GREEN)
    bound = 0.25 ** np.arange(9, 0, -1)
    path = plot.gradients_through_depth(norms, tmp_path / "b.png", bound=bound)
    assert not np.array_equal(pixels(path), bare)
    with pytest.raises(ArgumentError, match="at least one network"):
        plot.gradients_through_depth({}, tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


@drawn
def test_pictures_of_a_descent_with_one_parameter(tmp_path):
    line = descent.course_line(slope=0.64)
    paths = {f"{rate}": descent.descend(line, [0.0], SGD(rate), 9) for rate in (0.05, 0.3, 9e9)}
    steps = pixels(plot.steps_on_curve(line, paths, tmp_path / "a.png"), (500, 1000))
    assert contains(steps, BLUE)
    assert contains(steps, ORANGE)
    assert contains(pixels(plot.excess_losses(line, paths, tmp_path / "b.png")), GREEN)
    start, end = ({"fit": theta} for theta in ([0.0], line.best()))
    images = [pixels(plot.line_fits(line, fit, tmp_path / "c.png")) for fit in (start, end)]
    assert contains(images[0], RED)
    assert (images[0] != images[1]).any()


def named(figure):
    """The names in the legends of a figure and of its panels."""
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    return sorted(text.get_text() for legend in legends for text in legend.get_texts())


@drawn
def test_signs_in_pictures_of_a_descent_are_explained_once(monkeypatch):
    monkeypatch.setattr("refnet.plot.descent.save", lambda figure, path: figure)
    line = descent.course_line(slope=0.64)
    paths = {f"{rate}": descent.descend(line, [0.0], SGD(rate), 9) for rate in (0.05, 0.3)}
    curve = plot.steps_on_curve(line, paths, "a.png")
    assert named(curve) == ["minimum", "steps", "tangent: the derivative"]
    line = descent.course_line()
    paths = {f"{rate}": descent.descend(line, [0.0, 1.0], SGD(rate), 9) for rate in (0.01, 0.05)}
    assert named(plot.paths_on_surface(line, paths, "a.png")) == [
        "0.01", "0.05", "minimum", "start",
    ]  # fmt: skip
    assert named(plot.paths_on_surface(line, paths, "a.png", panels=True)) == ["minimum", "start"]


@drawn
def test_pictures_of_a_descent_with_two_parameters(tmp_path):
    line = descent.Line([0.5, 2.3, 2.9], [1.4, 1.9, 3.2], mean=True)
    paths = {
        "batch": descent.descend(line, [0.0, 1.0], SGD(0.1), 70, tolerance=0.0),
        "each": descent.descend_in_batches(line, [0.0, 1.0], SGD(0.02), 1, 5),
        "diverges": descent.descend(line, [0.0, 1.0], SGD(2.0)),
    }
    assert paths["diverges"].ended == "diverged"
    for panels, width in ((False, 700), (True, 1400)):
        image = pixels(
            plot.paths_on_surface(line, paths, tmp_path / "a.png", panels=panels), (500, width)
        )
        assert all(contains(image, colour) for colour in (BLUE, RED, GREEN))


def test_descents_that_do_not_fit_their_picture(tmp_path):
    one, two = descent.course_line(slope=0.64), descent.course_line()
    short = {"a": descent.descend(one, [0.0], SGD(0.1), 3)}
    path = tmp_path / "a.png"
    with pytest.raises(ArgumentError, match="no path to draw"):
        plot.excess_losses(one, {}, path)
    with pytest.raises(ArgumentError, match="no line to draw"):
        plot.line_fits(one, {}, path)
    with pytest.raises(ShapeError, match="of 2 parameters, path 'a' has 1"):
        plot.paths_on_surface(two, short, path)
    with pytest.raises(ShapeError, match="the line has 2"):
        plot.steps_on_curve(two, short, path)
    assert not path.exists()


def test_what_cannot_be_drawn(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(ArgumentError, match=r"history\['loss'\] is empty"):
        plot.loss_curves({}, path)
    with pytest.raises(ArgumentError, match="at least one image"):
        plot.predictions(np.zeros((0, 8, 8)), np.zeros((0, 10)), np.zeros(0), path)
    with pytest.raises(ArgumentError, match=r"elementwise activations, got \['softmax'\]"):
        plot.activation_curves(["softmax"], path)
    with pytest.raises(ArgumentError, match="got none"):
        plot.activation_curves([], path)
    with pytest.raises(UnknownNameError, match="did you mean 'relu'"):
        plot.activation_curves(["rleu"], path)
    assert not path.exists()


def test_without_matplotlib(tmp_path, monkeypatch):
    real = builtins.__import__

    def no_matplotlib(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    with pytest.raises(RefnetError, match=r"pip install 'refnet\[viz\]'"):
        plot.loss_curves(CURVES, tmp_path / "a.png")


@drawn
def test_the_settings_of_matplotlib_stay(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    plot.loss_curves(CURVES, tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before
