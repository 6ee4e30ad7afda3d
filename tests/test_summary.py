"""Summaries: what is in the files, what a real TensorBoard server makes of them, what `fit` writes."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest

import refnet
from refnet import errors
from refnet.callbacks import TensorBoard
from refnet.graph.entry import Entry
from refnet.layers import Dense, Dropout, Flatten, Input
from refnet.summary import SummaryWriter, graph_definition
from tests.conftest import need

with_tensorboard = pytest.mark.needs("tensorboard")


class Graph:
    """What `add_graph` needs of one."""

    def __init__(self, *entries):
        self._entries = entries

    def entries(self):
        return list(self._entries)


NETWORK = Graph(
    Entry("x", "placeholder", [((None, 3), "float32")]),
    Entry("hidden/kernel", "variable", [((3, 4), "float32")], trainable=True),
    Entry("hidden/bias", "variable", [((4,), "float32")], trainable=False),
    Entry(
        "hidden/linear",
        "op",
        [((None, 4), "float32"), ((None, 4), "float32")],
        "linear",
        ["x", "hidden/kernel", "hidden/bias"],
        {"activation": "relu"},
        line="lesson.py:12: y = layer(x)",
    ),
    Entry("half", "constant", [((), "float64")], value=np.array(0.5)),
    Entry("largest", "op", [((None,), "int64")], "argmax", ["hidden/linear:1"], {"axis": 1}),
)


def values_in(folder):
    """{tag: [(step, value)]} of the one event file in a folder."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    (path,) = folder.glob("events.out.tfevents.*")
    found = {}
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, make_ndarray(value.tensor)))
    return found


def graph_in(folder):
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    ((_, written),) = values_in(folder)["__run_graph__"]
    return GraphDef.FromString(written[0])


@pytest.fixture
def writer(tmp_path):
    need("tensorboard")
    with SummaryWriter(tmp_path / "run") as made:
        yield made


def read(writer):
    """What a writer has written under the only tag."""
    writer.flush()
    ((_, values),) = values_in(writer.log_dir).items()
    return values


# -- the files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [0.1, 3, True, np.float64(-2.5), np.array([7]), refnet.tensor(1.5), 1e300], ids=repr
)
def test_scalars_are_written_as_float32(writer, given):
    writer.add_scalar("loss", given, 4)
    ((step, value),) = read(writer)
    assert (step, value.shape, value.dtype) == (4, (), np.float32)
    with np.errstate(over="ignore"):
        assert value == np.float32(np.asarray(given).item())


@pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf])
def test_scalars_that_are_not_finite_are_written_as_they_are(writer, given):
    writer.add_scalar("loss", given, 0)
    ((_, value),) = read(writer)
    np.testing.assert_equal(value.item(), given)


def test_scalars_of_one_plot_are_runs_of_their_own(writer):
    for step in range(3):
        writer.add_scalars("loss", {"train": step, "validation": 10 * step}, step)
    writer.close()
    for run, factor in {"train": 1, "validation": 10}.items():
        curve = values_in(writer.log_dir / run)["loss"]
        assert [(step, float(value)) for step, value in curve] == [
            (step, step * factor) for step in range(3)
        ]
    assert not list(writer.log_dir.glob("events*"))  # an empty run would stand in the list of runs


def test_histogram(writer):
    values = np.random.default_rng(0).normal(size=(30, 40))
    writer.add_histogram("w", values, 2, bins=7)
    ((step, rows),) = read(writer)
    assert (step, rows.shape, rows.dtype) == (2, (7, 3), np.float64)
    left, right, counts = rows.T
    assert (left[0], right[-1], counts.sum()) == (values.min(), values.max(), 1200)
    np.testing.assert_array_equal(left[1:], right[:-1])
    for i in range(7):
        inside = (values >= left[i]) & ((values < right[i]) if i < 6 else (values <= right[i]))
        assert inside.sum() == counts[i]


@pytest.mark.parametrize(
    ("given", "low", "high", "count"),
    [
        (np.zeros(5), 0, 0, 5),
        ([2], 2, 2, 1),
        ([], 0, 0, 0),
        ([math.nan, 1.0, math.inf, 3.0], 1, 3, 2),
        ([math.nan], 0, 0, 0),
        ([True, False, True], 0, 1, 3),
    ],
)
def test_histograms_of_unusual_values(writer, given, low, high, count):
    writer.add_histogram("w", given, 0, bins=4)
    ((_, rows),) = read(writer)
    assert rows.shape == (4, 3)
    assert (rows[0, 0], rows[-1, 1], rows[:, 2].sum()) == (low, high, count)


def decoded(png):
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(png))
    return np.asarray(image), image.mode


GREY = np.linspace(0, 1, 35).reshape(5, 7).astype("float32")
COLOUR = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("given", "expected", "mode"),
    [
        (GREY, np.round(GREY * 255), "L"),
        (GREY[..., None], np.round(GREY * 255), "L"),
        (COLOUR, COLOUR, "RGB"),
        (COLOUR / 255, COLOUR, "RGB"),
        (COLOUR[:, :, 1], COLOUR[:, :, 1], "L"),
        (np.ones((1, 1)), [[255]], "L"),
    ],
    ids=["grey", "grey (h, w, 1)", "uint8", "floats", "a view", "one pixel"],
)
def test_image(writer, given, expected, mode):
    writer.add_image("picture", given, 0)
    ((_, (width, height, png)),) = read(writer)
    found, found_mode = decoded(png)
    np.testing.assert_array_equal(found, expected)
    assert found_mode == mode
    assert (int(height), int(width)) == found.shape[:2]


@pytest.mark.needs("matplotlib")
def test_an_image_from_a_file_is_written_as_it_is(writer, tmp_path):
    from refnet import plot

    path = plot.loss_curves({"loss": [2.0, 1.0]}, tmp_path / "loss.png")
    writer.add_image("curve", path, 0)
    ((_, (width, height, png)),) = read(writer)
    assert png == path.read_bytes()
    assert decoded(png)[0].shape[:2] == (int(height), int(width))


@pytest.mark.parametrize(
    ("columns", "shape"), [(None, (2, 3)), (5, (1, 5)), (2, (3, 2)), (9, (1, 5))]
)
def test_images_stand_in_rows(writer, columns, shape):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    writer.add_images("digits", images, 0, columns)
    ((_, (_, _, png)),) = read(writer)
    grid, _ = decoded(png)
    rows, across = shape
    assert grid.shape == (rows * 5 + 1, across * 7 + 1, 3)
    for i, image in enumerate(images):
        top, left = 1 + i // across * 5, 1 + i % across * 7
        np.testing.assert_array_equal(grid[top : top + 4, left : left + 6], image)


def test_text(writer):
    writer.add_text("note", "η = 0.1, *small*", 3)
    ((step, text),) = read(writer)
    assert (step, text[0].decode()) == (3, "η = 0.1, *small*")


def test_graph(writer):
    writer.add_graph(NETWORK)
    writer.close()
    nodes = {node.name: node for node in graph_in(writer.log_dir).node}
    assert {name: node.op for name, node in nodes.items()} == {
        "x": "Placeholder",
        "hidden/kernel": "Variable",
        "hidden/bias": "Variable",
        "hidden/linear": "linear",
        "half": "Const",
        "largest": "argmax",
    }
    assert nodes["hidden/linear"].input == ["x", "hidden/kernel", "hidden/bias"]
    assert nodes["largest"].input == ["hidden/linear:1"]
    assert shapes_of(nodes["x"]) == [[-1, 3]]
    assert shapes_of(nodes["hidden/linear"]) == [[-1, 4], [-1, 4]]
    assert shapes_of(nodes["half"]) == [[]]
    said = {name: node.attr for name, node in nodes.items()}
    assert said["hidden/linear"]["activation"].s == b"relu"
    assert said["hidden/linear"]["line"].s == b"lesson.py:12: y = layer(x)"
    assert (said["hidden/kernel"]["trainable"].s, said["hidden/bias"]["trainable"].s) == (
        b"True",
        b"False",
    )
    assert said["half"]["value"].s == b"0.5"
    assert (said["half"]["dtype"].type, said["largest"]["dtype"].type) == (2, 9)  # double, int64
    assert said["hidden/linear"]["dtype"].list.type == [1, 1]


def test_graph_of_a_gradient(writer):
    """A real graph: what it names is there, and each shape is what the tensor of that name has."""
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 4), name="x")
        with refnet.name_scope("layer"):
            w = refnet.Variable(np.ones((4, 2), "float32"), name="w")
            y = refnet.activations.tanh(x @ w)
        with refnet.name_scope("gradients"):
            refnet.gradients((y * 3.0).sum(), [w])
    writer.add_graph(graph)
    writer.close()
    nodes = {node.name: node for node in graph_in(writer.log_dir).node}
    assert {"x", "layer/w", "layer/matmul", "layer/tanh"} <= set(nodes)
    assert any(n.op == "tanh_vjp" and name.startswith("gradients/") for name, n in nodes.items())
    for node in nodes.values():
        assert {source.split(":")[0] for source in node.input} <= set(nodes)
        if node.name in graph:
            assert shapes_of(node)[0] == [-1 if n is None else n for n in graph[node.name].shape]


def shapes_of(node):
    return [[d.size for d in s.dim] for s in node.attr["_output_shapes"].list.shape]


def test_a_run_has_one_graph(writer):
    writer.add_graph(NETWORK)
    with pytest.raises(errors.ArgumentError, match="shows one"):
        writer.add_graph(NETWORK)
    writer.run("another").add_graph(NETWORK)
    writer.close()
    assert graph_in(writer.log_dir) == graph_in(writer.log_dir / "another")


@with_tensorboard
def test_long_attributes_are_cut():
    long = {"offsets": tuple(range(1000))}
    large = Entry("c", "constant", [((100,), "float32")], value=np.zeros(100))
    node, constant = graph_definition(
        [Entry("p", "op", [((8,), "float32")], "pack", [], long), large]
    ).node
    assert len(node.attr["offsets"].s) == 200
    assert node.attr["offsets"].s.endswith(b"...")
    assert "value" not in constant.attr


# -- the writer ------------------------------------------------------------------------------------


def test_nothing_is_written_after_close(writer):
    writer.add_scalars("loss", {"train": 1.0}, 0)
    writer.close()
    writer.close()
    writer.flush()
    for add in (lambda: writer.add_scalar("loss", 1, 1), lambda: writer.run("train")):
        with pytest.raises(errors.NotReadyError, match="closed"):
            add()


def test_flush_makes_everything_readable(writer):
    run = writer.run("train")
    run.add_scalar("loss", 1.0, 0)
    writer.flush()
    assert values_in(run.log_dir)["loss"]
    assert writer.run("train") is run


def test_without_tensorboard(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    for make in (SummaryWriter, TensorBoard):
        with pytest.raises(errors.MissingPackageError, match=r"pip install 'refnet\[viz\]'"):
            make(tmp_path)


@with_tensorboard
def test_no_tensorflow_and_no_torch():
    program = """
import sys, tempfile
sys.modules["tensorflow"] = None  # importing it is an ImportError
from refnet.summary import SummaryWriter
with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
    writer.add_scalar("loss", 1, 0)
    writer.add_image("image", [[0.5]], 0)
print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


WRONG = {
    "a scalar with two numbers": (lambda w: w.add_scalar("t", [1, 2], 0), "ShapeError", "'t'.*(2,)"),
    "a scalar that is text": (lambda w: w.add_scalar("t", "one", 0), "DTypeError", "'t'.*str"),
    "a scalar that is None": (lambda w: w.add_scalar("t", None, 0), "DTypeError", "'t'.*None"),
    "no tag": (lambda w: w.add_scalar("", 1, 0), "ArgumentError", "tag"),
    "a tag that is a number": (lambda w: w.add_scalar(5, 1, 0), "ArgumentError", "tag.*5"),
    "half a step": (lambda w: w.add_scalar("t", 1, 0.5), "ArgumentError", "'t'.*step.*0.5"),
    "a negative step": (lambda w: w.add_scalar("t", 1, -1), "ArgumentError", "'t'.*-1"),
    "a step that is True": (lambda w: w.add_scalar("t", 1, True), "ArgumentError", "True"),
    "no step": (lambda w: w.add_histogram("t", [1], None), "ArgumentError", "'t'.*None"),
    "scalars without names": (lambda w: w.add_scalars("t", [1], 0), "ArgumentError", "'t'.*dict"),
    "one bad scalar": (lambda w: w.add_scalars("t", {"a": 1, "b": "x"}, 0), "DTypeError", "'t'"),
    "a run elsewhere": (lambda w: w.add_scalars("t", {"../a": 1}, 0), "ArgumentError", "../a"),
    "a run at the root": (lambda w: w.run("/tmp"), "ArgumentError", "/tmp"),
    "a run without a name": (lambda w: w.run("."), "ArgumentError", "folder"),
    "a histogram of text": (lambda w: w.add_histogram("t", ["a"], 0), "DTypeError", "'t'"),
    "a ragged histogram": (lambda w: w.add_histogram("t", [[1], [1, 2]], 0), "ShapeError", "'t'"),
    "no bins": (lambda w: w.add_histogram("t", [1], 0, bins=0), "ArgumentError", "'t'.*bins.*0"),
    "a row": (lambda w: w.add_image("t", np.zeros(3), 0), "ShapeError", r"'t'.*\(3,\)"),
    "two colours": (lambda w: w.add_image("t", np.zeros((4, 4, 2)), 0), "ShapeError", "4, 4, 2"),
    "no pixels": (lambda w: w.add_image("t", np.zeros((0, 4)), 0), "ShapeError", "0, 4"),
    "too bright": (lambda w: w.add_image("t", [[0.0, 1.5]], 0), "ArgumentError", "'t'.*1.5"),
    "too dark": (lambda w: w.add_image("t", [[-0.5, 1.0]], 0), "ArgumentError", "'t'.*-0.5"),
    "NaN": (lambda w: w.add_image("t", [[math.nan]], 0), "ArgumentError", "'t'.*nan"),
    "whole numbers": (lambda w: w.add_image("t", [[0, 255]], 0), "DTypeError", "'t'.*int64"),
    "no such file": (lambda w: w.add_image("t", "none.png", 0), "ArgumentError", "none.png"),
    "not a PNG": (lambda w: w.add_image("t", __file__, 0), "ArgumentError", "test_summary.*PNG"),
    "one of several": (lambda w: w.add_images("t", np.zeros((2, 2)), 0), "ShapeError", "number"),
    "no columns": (
        lambda w: w.add_images("t", np.zeros((2, 2, 2)), 0, 0), "ArgumentError", "'t'.*columns"
    ),
    "a text that is a number": (lambda w: w.add_text("t", 5), "ArgumentError", "'t'.*int"),
    "no graph": (lambda w: w.add_graph([1]), "ArgumentError", "Graph.*list"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_named_and_writes_nothing(writer, case):
    add, error, message = WRONG[case]
    with pytest.raises(getattr(errors, error), match=message):
        add(writer)
    assert not list(writer.log_dir.rglob("events*"))


@with_tensorboard
def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.ArgumentError, match="file"):
        SummaryWriter(tmp_path / "file" / "run").add_scalar("loss", 1, 0)


# -- the server ------------------------------------------------------------------------------------

STEPS = range(5)
WEIGHTS = np.random.default_rng(1).normal(size=(len(STEPS), 200))


class Server:
    """A TensorBoard of its own, asked over HTTP as its pages ask it."""

    def __init__(self, log_dir):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir), "--port", "0",
             "--host", "127.0.0.1", "--load_fast=false"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        said = ""
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", said)):
            line = self.process.stderr.readline()
            assert line, f"TensorBoard ended: {said}"
            said += line
        self.address = found.group()

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.process.stderr.close()

    def bytes(self, path, **query):
        query = urllib.parse.urlencode(query)
        with urllib.request.urlopen(f"{self.address}/data/{path}?{query}", timeout=20) as answer:
            return answer.read()

    def json(self, path, **query):
        return json.loads(self.bytes(path, **query))

    def wait_for_everything(self, last_run):
        """Files are read in the background, run by run."""
        until = time.monotonic() + 60
        while last_run not in self.json("plugin/scalars/tags"):
            assert time.monotonic() < until, "TensorBoard did not read the files"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need("tensorboard")
    log_dir = tmp_path_factory.mktemp("served")
    with SummaryWriter(log_dir / "a") as writer:
        writer.add_graph(NETWORK)
        writer.add_text("notes/first", "**bold**, η", 2)
        for step in STEPS:
            writer.add_scalar("curves/square", step**2, step)
            writer.add_histogram("layer/kernel", WEIGHTS[step], step, bins=10)
            writer.add_image("pictures/colour", np.roll(COLOUR, step, axis=0), step)
        writer.add_scalar("curves/odd", math.nan, 0)
    with SummaryWriter(log_dir) as writer:
        writer.add_scalars("loss", {"z/train": 0.5, "z/validation": 0.75}, 1)
    running = Server(log_dir)
    try:
        running.wait_for_everything("z/validation")
        yield running
    finally:
        running.stop()


def test_pages_are_switched_on(server):
    pages = server.json("plugins_listing")
    expected = {"scalars", "images", "graphs", "distributions", "histograms", "text", "timeseries"}
    assert expected <= {name for name, page in pages.items() if page["enabled"]}


def test_scalars_page(server):
    tags = server.json("plugin/scalars/tags")
    assert {run: set(found) for run, found in tags.items() if found} == {
        "a": {"curves/square", "curves/odd"},
        "z/train": {"loss"},
        "z/validation": {"loss"},
    }
    points = server.json("plugin/scalars/scalars", run="a", tag="curves/square")
    assert [(step, value) for _, step, value in points] == [(s, s**2) for s in STEPS]
    ((_, _, odd),) = server.json("plugin/scalars/scalars", run="a", tag="curves/odd")
    assert odd == "NaN"
    ((_, step, value),) = server.json("plugin/scalars/scalars", run="z/validation", tag="loss")
    assert (step, value) == (1, 0.75)


def test_histograms_page(server):
    assert list(server.json("plugin/histograms/tags")["a"]) == ["layer/kernel"]
    rows = server.json("plugin/histograms/histograms", run="a", tag="layer/kernel")
    assert [step for _, step, _ in rows] == list(STEPS)
    for (_, _, buckets), values in zip(rows, WEIGHTS, strict=True):
        counts, edges = np.histogram(values, 10)
        np.testing.assert_allclose(buckets, np.stack([edges[:-1], edges[1:], counts], 1))


def test_distributions_page(server):
    rows = server.json("plugin/distributions/distributions", run="a", tag="layer/kernel")
    assert [step for _, step, _ in rows] == list(STEPS)
    for (_, _, quantiles), values in zip(rows, WEIGHTS, strict=True):
        found = dict(quantiles)  # of 10000: minimum, median and maximum
        width = np.ptp(values) / 10
        expected = values.min(), np.median(values), values.max()
        np.testing.assert_allclose([found[0], found[5000], found[10000]], expected, atol=width)


def test_images_page(server):
    assert list(server.json("plugin/images/tags")["a"]) == ["pictures/colour"]
    found = server.json("plugin/images/images", run="a", tag="pictures/colour", sample=0)
    assert [image["step"] for image in found] == list(STEPS)
    for image in found:
        query = dict(urllib.parse.parse_qsl(image["query"]))
        picture, _ = decoded(server.bytes("plugin/images/individualImage", **query))
        np.testing.assert_array_equal(picture, np.roll(COLOUR, image["step"], axis=0))


def test_text_page(server):
    assert server.json("plugin/text/tags")["a"] == ["notes/first"]
    (note,) = server.json("plugin/text/text", run="a", tag="notes/first")
    assert note["step"] == 2
    assert "<strong>bold</strong>, η" in note["text"]


def test_graphs_page(server):
    from google.protobuf import text_format
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    assert server.json("plugin/graphs/info")["a"]["run_graph"]
    answer = server.bytes("plugin/graphs/graph", run="a", limit_attr_size=1024, large_attrs_key="l")
    nodes = {node.name: node for node in text_format.Parse(answer.decode(), GraphDef()).node}
    assert set(nodes) == {entry.name for entry in NETWORK.entries()}
    for entry in NETWORK.entries():
        assert nodes[entry.name].input == list(entry.inputs)
        assert shapes_of(nodes[entry.name]) == [
            [-1 if n is None else n for n in shape] for shape, _ in entry.outputs
        ]
    assert not nodes["hidden/linear"].attr["l"].list.s  # nothing was too long to be shown


def test_time_series_page(server):
    tags = server.json("plugin/timeseries/tags")
    assert "curves/square" in tags["scalars"]["runTagInfo"]["a"]
    assert tags["histograms"]["runTagInfo"]["a"] == ["layer/kernel"]
    assert "pictures/colour" in tags["images"]["tagRunSampledInfo"]
    requests = [
        {"plugin": "scalars", "tag": "loss"},
        {"plugin": "histograms", "tag": "layer/kernel", "run": "a"},
        {"plugin": "images", "tag": "pictures/colour", "sample": 0, "run": "a"},
    ]
    loss, kernel, pictures = server.json(
        "plugin/timeseries/timeSeries", requests=json.dumps(requests)
    )
    assert {run: series[0]["value"] for run, series in loss["runToSeries"].items()} == {
        "z/train": 0.5,
        "z/validation": 0.75,
    }
    assert [sum(b["count"] for b in h["bins"]) for h in kernel["runToSeries"]["a"]] == [200] * 5
    last = pictures["runToSeries"]["a"][-1]
    picture, _ = decoded(server.bytes("plugin/timeseries/imageData", imageId=last["imageId"]))
    np.testing.assert_array_equal(picture, np.roll(COLOUR, last["step"], axis=0))


# -- the callback ----------------------------------------------------------------------------------

(DIGITS, LABELS), _ = refnet.datasets.digits.load_data()
DIGITS, LABELS = DIGITS[:96], LABELS[:96]


def digits_model(rate=0.0):
    refnet.utils.set_random_seed(0)
    model = refnet.Sequential(
        [
            Input((8, 8)),
            Flatten(),
            Dense(16, "relu", name="hidden"),
            Dropout(rate),
            Dense(10, "softmax", kernel_regularizer="l2", name="output"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fitted(callback, epochs=2, rate=0.0, **options):
    model = digits_model(rate)
    history = model.fit(
        DIGITS, LABELS, 32, epochs, verbose=0, callbacks=[callback] if callback else [], **options
    )
    return model, history.history


def numbers(values):
    return [(step, float(value)) for step, value in values]


@with_tensorboard
def test_callback_writes_the_curves_as_keras_does(tmp_path):
    _, history = fitted(TensorBoard(tmp_path, write_graph=False), validation_split=1 / 3)
    train, validation = values_in(tmp_path / "train"), values_in(tmp_path / "validation")
    assert set(train) == {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
    assert set(validation) == {
        "epoch_loss",
        "epoch_accuracy",
        "evaluation_loss_vs_iterations",
        "evaluation_accuracy_vs_iterations",
    }
    for name in ("loss", "accuracy"):
        held_out = history[f"val_{name}"]
        for found, expected in [
            (train[f"epoch_{name}"], enumerate(history[name])),
            (validation[f"epoch_{name}"], enumerate(held_out)),
            (validation[f"evaluation_{name}_vs_iterations"], zip([2, 4], held_out, strict=True)),
        ]:
            assert numbers(found) == [(step, np.float32(value)) for step, value in expected]
    assert numbers(train["epoch_learning_rate"]) == [(0, np.float32(0.001)), (1, np.float32(0.001))]
    assert not list(tmp_path.glob("events*"))


@with_tensorboard
@pytest.mark.parametrize(("update_freq", "steps"), [("batch", [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6])])
def test_callback_writes_batches(tmp_path, update_freq, steps):
    callback = TensorBoard(tmp_path, write_graph=False, update_freq=update_freq)
    _, history = fitted(callback)
    train = values_in(tmp_path / "train")
    assert [step for step, _ in train["batch_accuracy"]] == steps
    last = dict(numbers(train["batch_loss"]))[6]
    assert last == np.float32(history["loss"][-1])  # the mean over the epoch so far, as in Keras


@with_tensorboard
def test_callback_leaves_batches_alone_unless_asked(tmp_path):
    from refnet.callbacks import Callbacks

    for update_freq, each_batch in [("epoch", False), ("batch", True)]:
        callback = TensorBoard(tmp_path, update_freq=update_freq)
        assert Callbacks([callback], digits_model()).each_batch is each_batch


@with_tensorboard
def test_callback_writes_histograms_of_weights_and_gradients(tmp_path):
    sample = DIGITS[:40], LABELS[:40]
    callback = TensorBoard(tmp_path, 2, write_graph=False, write_images=True, sample=sample)
    model, _ = fitted(callback, epochs=3)
    train = values_in(tmp_path / "train")
    for weight in model.weights:
        found = train[f"{weight.name}/histogram"]
        assert [step for step, _ in found] == [0, 2]
        np.testing.assert_array_equal(
            found[-1][1][:, 2], np.histogram(weight.numpy().astype("float64"), 30)[0]
        )
        picture, _ = decoded(train[f"{weight.name}/image"][-1][1][2])
        low, high = weight.numpy().min(), weight.numpy().max()
        expected = np.round((weight.numpy() - low) / (high - low) * 255)
        np.testing.assert_array_equal(picture, np.atleast_2d(expected))
    for weight in model.trainable_weights:  # ∂L/∂w by nudging all of w by its own direction
        step, rows = train[f"{weight.name}/gradient"][-1]
        assert step == 2
        before, nudge = weight.numpy().copy(), 0.01
        ends = []
        for sign in (1, -1):
            weight.assign(before + sign * nudge)
            ends.append(model.evaluate(*sample, 40)[0])
        weight.assign(before)
        total = (rows[:, :2].mean(axis=1) * rows[:, 2]).sum()  # Σ ∂L/∂w, up to the bins' width
        slack = np.ptp(rows[:, :2]) / 30 / 2 * rows[:, 2].sum()
        assert abs((ends[0] - ends[1]) / (2 * nudge) - total) <= slack
        assert rows[:, 2].sum() == weight.size


@with_tensorboard
def test_callback_changes_nothing_in_the_training(tmp_path):
    everything = TensorBoard(
        tmp_path, 1, True, True, "batch", (DIGITS, LABELS), (DIGITS[:9], LABELS[:9])
    )
    watched, ours = fitted(everything, rate=0.5, validation_split=0.25)
    alone, theirs = fitted(None, rate=0.5, validation_split=0.25)
    assert ours == theirs
    for a, b in zip(watched.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.needs("tensorboard", "matplotlib")
def test_callback_draws_the_worst_mistakes(tmp_path, monkeypatch):
    from refnet.callbacks import tensorboard

    drawn = []
    draw = tensorboard._draw_mistakes
    monkeypatch.setattr(
        tensorboard, "_draw_mistakes", lambda *given: drawn.append(given) or draw(*given)
    )
    callback = TensorBoard(tmp_path, write_graph=False, mistakes=(DIGITS, LABELS), mistakes_freq=2)
    model, _ = fitted(callback, epochs=3)
    found = values_in(tmp_path / "validation")["mistakes"]
    assert [step for step, _ in found] == [0, 2]
    for _, (width, _, png) in found:
        assert int(width) == 330  # as wide as a card: TensorBoard need not shrink it
        assert decoded(png)[0].std() > 10
    images, labels, said, _, title = drawn[-1]
    p = model.predict(DIGITS)
    wrong = [i for i in range(96) if p[i].argmax() != LABELS[i]]
    worst = sorted(wrong, key=lambda i: p[i, LABELS[i]])[:12]
    np.testing.assert_array_equal(images, DIGITS[worst])
    assert labels.tolist() == LABELS[worst].tolist()
    assert said.tolist() == p[worst].argmax(1).tolist()
    assert title == f"epoch 2: {len(wrong)} of 96 wrong"


@with_tensorboard
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_callback_goes_on_where_weights_are_not_finite(tmp_path):
    """A training that has failed is what one wants to look at."""
    callback = TensorBoard(tmp_path, 1, False, True, sample=(DIGITS, LABELS))
    model = digits_model()
    model.layers[2].kernel.assign(np.full((64, 16), np.nan))
    model.layers[2].bias.assign(np.where(np.arange(16) < 8, np.inf, np.arange(16)))
    model.compile(refnet.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    model.fit(DIGITS, LABELS, callbacks=callback, verbose=0)
    train = values_in(tmp_path / "train")
    ((_, loss),) = train["epoch_loss"]
    assert np.isnan(loss)
    ((_, rows),) = train["hidden/kernel/histogram"]
    assert rows[:, 2].sum() == 0
    ((_, (_, _, png)),) = train["hidden/kernel/image"]
    assert not decoded(png)[0].any()


def test_pictures_of_weights():
    from refnet.callbacks.tensorboard import _as_picture

    weight = np.array([[-1.0, 1.0], [np.nan, 0.0], [np.inf, 3.0]], "float32")
    np.testing.assert_array_equal(_as_picture(weight), [[0, 0.5], [0, 0.25], [0, 1]])
    np.testing.assert_array_equal(_as_picture(np.ones((2, 3, 4))), np.zeros((6, 4)))
    np.testing.assert_array_equal(_as_picture(np.full(3, np.nan)), np.zeros((1, 3)))


@with_tensorboard
def test_callback_draws_no_mistakes_where_there_are_none(tmp_path):
    model = digits_model()
    said = model.predict(DIGITS).argmax(1)
    model.compile(refnet.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    callback = TensorBoard(tmp_path, write_graph=False, mistakes=(DIGITS, said))
    model.fit(DIGITS, LABELS, callbacks=callback, verbose=0)
    assert not (tmp_path / "validation").exists()


@with_tensorboard
def test_callback_works_on_every_backend(tmp_path, backend):
    model = refnet.Sequential([Input((2, 2)), Flatten(), Dense(3, "softmax", name="layer")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = DIGITS[:6, :2, :2], np.arange(6) % 3
    model.to(backend.name)
    callback = TensorBoard(tmp_path, 1, True, True, "batch", (x, y))
    model.fit(x, y, epochs=1, callbacks=callback, verbose=0)
    train = values_in(tmp_path / "train")
    of_weights = [
        f"layer/{weight}/{what}"
        for weight in ("kernel", "bias")
        for what in ("histogram", "gradient", "image")
    ]
    curves = ["batch_loss", "epoch_loss", "epoch_learning_rate"]
    assert set(train) == {"__run_graph__", *curves, *of_weights}


@with_tensorboard
def test_callback_writes_the_models_graph(tmp_path):
    model, _ = fitted(TensorBoard(tmp_path), epochs=1, rate=0.5)
    nodes = {node.name: node for node in graph_in(tmp_path / "train").node}
    assert nodes["input"].op == "Placeholder"
    assert shapes_of(nodes["input"]) == [[-1, 8, 8]]
    variables = {name: shapes_of(n)[0] for name, n in nodes.items() if n.op == "Variable"}
    assert {w.name: list(w.shape) for w in model.weights}.items() <= variables.items()
    assert nodes["hidden/linear"].op == "linear"
    assert nodes["hidden/linear"].input[1:] == ["hidden/kernel", "hidden/bias"]
    assert shapes_of(nodes["output/softmax"]) == [[-1, 10]]
    assert "model.fit" in nodes["hidden/linear"].attr["line"].s.decode()
    assert all(source.split(":")[0] in nodes for n in nodes.values() for source in n.input)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"histogram_freq": -1}, "ArgumentError", "histogram_freq.*-1"),
        ({"histogram_freq": 0.5}, "ArgumentError", "histogram_freq.*0.5"),
        ({"update_freq": "step"}, "ArgumentError", "update_freq.*step"),
        ({"update_freq": 0}, "ArgumentError", "update_freq.*0"),
        ({"mistakes_freq": 0}, "ArgumentError", "mistakes_freq.*0"),
        ({"sample": (DIGITS, LABELS)}, "ArgumentError", "histogram_freq=1"),
        ({"sample": DIGITS}, "ArgumentError", "sample.*ndarray"),
        ({"mistakes": DIGITS}, "ArgumentError", "mistakes.*ndarray"),
        ({"mistakes": (DIGITS.reshape(96, 64), LABELS)}, "ShapeError", "96, 64"),
        ({"mistakes": (DIGITS, LABELS[:5])}, "DataError", r"96.*\(5,\)"),
        ({"mistakes": (DIGITS, LABELS / 2)}, "DataError", "float64"),
        ({"mistakes": (DIGITS, LABELS - 1)}, "DataError", "class number"),
        ({"mistakes": (DIGITS[:0], LABELS[:0])}, "ShapeError", "0, 8, 8"),
    ],
)
def test_callback_refuses(tmp_path, options, error, message):
    with pytest.raises(getattr(errors, error), match=message):
        TensorBoard(tmp_path, **options)


@with_tensorboard
def test_callback_with_data_that_do_not_fit_the_model(tmp_path):
    """Said before the first step, and before anything is written."""
    for options, message in [
        ({"sample": (DIGITS[:, :4], LABELS), "histogram_freq": 1}, "batch, 4, 8"),
        ({"sample": (DIGITS, LABELS + 5), "histogram_freq": 1}, "14"),
        ({"mistakes": (DIGITS[:, :4], LABELS)}, "batch, 4, 8"),
        ({"mistakes": (DIGITS, LABELS + 5)}, "labels up to 14"),
    ]:
        model = digits_model()
        before = model.get_weights()
        with pytest.raises(errors.RefnetError, match=message):
            model.fit(DIGITS, LABELS, callbacks=TensorBoard(tmp_path, **options), verbose=0)
        assert all(map(np.array_equal, before, model.get_weights()))
        assert not list(tmp_path.rglob("events*"))
