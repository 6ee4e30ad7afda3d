"""Graph files: the same graph bit for bit, in other processes too; and what damaged files get."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import refnet
from refnet import layers, losses, optimizers
from refnet.autograd.tensor import apply
from refnet.autograd.variable import Variable
from refnet.base.files import decode, encode
from refnet.errors import FileError, GraphError
from refnet.graph.files import _digest
from refnet.ops import TABLE
from refnet.proof.judge import all_ops, cases_of, inputs_for
from tests.conftest import need

ROOT = Path(__file__).resolve().parents[2]
in_a_file = pytest.mark.needs("safetensors")
X = np.linspace(-1, 1, 28, dtype="float32").reshape(7, 4)
T = np.arange(7) % 3


def network():
    """A graph with everything in it: scopes, several results, constants, updates, a group."""
    refnet.utils.set_random_seed(3)
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 4), name="x")
        t = refnet.placeholder((None,), "int64", name="t")
        h = layers.Dense(5, activation="gelu", name="hidden")(x * [0.5, 1.0, 2.0, -1.0])
        h = layers.Dropout(0.25, seed=1, name="dropout")(h, training=True)
        p = layers.Dense(3, activation="softmax", name="output")(h).named("p")
        loss = losses.SparseCategoricalCrossentropy()(t, p).named("loss")
        optimizers.Adam(0.05).minimize(loss)
    return graph


@pytest.fixture
def saved(tmp_path):
    need("safetensors")
    graph = network()
    return graph, graph.save(tmp_path / "net.refnet")


# -- the same graph --------------------------------------------------------------------------------


def test_a_loaded_graph_is_the_same_graph(saved, tmp_path):
    graph, path = saved
    again = refnet.Graph.load(path)
    assert repr(again) == repr(graph)
    for a, b in zip(graph.entries(), again.entries(), strict=True):
        assert (a.name, a.kind, list(a.outputs), a.op, list(a.inputs), a.attributes, a.line) == (
            b.name, b.kind, list(b.outputs), b.op, list(b.inputs), b.attributes, b.line,
        )  # fmt: skip
        assert (a.value is None) == (b.value is None)
        assert a.value is None or a.value.tobytes() == b.value.tobytes()
    assert again.save(tmp_path / "again.refnet").read_bytes() == path.read_bytes()


def test_a_loaded_graph_gives_the_same_bits_and_can_be_trained(saved):
    graph, path = saved
    a, b = refnet.Session(graph), refnet.Session(refnet.Graph.load(path))
    feeds = {"x": X, "t": T}
    for _ in range(3):
        for y, z in zip(a.run(["p", "loss"], feeds), b.run(["p", "loss"], feeds), strict=True):
            assert y.tobytes() == z.tobytes()
        a.run("train", feeds)
        b.run("train", feeds)
    for name, value in a.values().items():
        assert value.tobytes() == b.values()[name].tobytes(), name


def test_the_values_of_a_session_are_saved(saved, tmp_path):
    graph, path = saved
    session = refnet.Session(graph)
    session.run("train", {"x": X, "t": T})
    trained = refnet.Graph.load(graph.save(tmp_path / "trained.refnet", session))
    assert trained.entries()[2].value.tobytes() == session.values()["hidden/kernel"].tobytes()
    assert (
        refnet.Graph.load(path).entries()[2].value.tobytes() != trained.entries()[2].value.tobytes()
    )
    a, b = (s.run("p", {"x": X}) for s in (session, refnet.Session(trained)))
    assert a.tobytes() == b.tobytes()


@in_a_file
@pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
def test_every_op_survives_its_file(op, tmp_path):
    for number, case in enumerate([*cases_of(op)][:6]):
        inputs, attributes = inputs_for(op, case, "float32")
        inputs = [
            np.asarray(x, "float32" if np.asarray(x).dtype.kind == "f" else None) for x in inputs
        ]
        if sum(x.size for x in inputs) > 10_000:
            continue
        with refnet.Graph() as graph:
            variables = [Variable(x, name=f"v{i}") for i, x in enumerate(inputs)]
            found = apply(op, variables, attributes)
        names = [t.name for t in (found if isinstance(found, tuple) else (found,))]
        again = refnet.Graph.load(graph.save(tmp_path / f"{number}.refnet"))
        with np.errstate(all="ignore"):
            before, after = refnet.Session(graph).run(names), refnet.Session(again).run(names)
        for y, z in zip(before, after, strict=True):
            assert y.dtype == z.dtype
            assert y.tobytes() == z.tobytes(), case.name


@in_a_file
def test_a_model_from_outside_is_saved_with_its_weights(tmp_path):
    model = refnet.Sequential([layers.Input((4,)), layers.Dense(3, name="only")])
    with refnet.Graph() as graph:
        model(refnet.placeholder((None, 4), name="x")).named("y")
    again = refnet.Graph.load(graph.save(tmp_path / "m.refnet"))
    assert [v.name for v in again.variables] == ["only/kernel", "only/bias"]
    assert np.array_equal(refnet.Session(again).run("y", {"x": X}), model.predict(X))


def test_attributes_survive():
    values = [
        None, True, 3, -0.0, 0.1, float("inf"), float("-inf"), "text", (1, (2.5, None)), (), ...,
        slice(1, None, -2), (slice(None), ..., None, 0),
    ]  # fmt: skip
    for value in values:
        text = json.dumps(encode(value), allow_nan=False)
        assert repr(decode(json.loads(text))) == repr(value)
    assert np.isnan(decode(json.loads(json.dumps(encode(float("nan"))))))
    assert encode(np.int64(3)) == 3
    with pytest.raises(FileError, match="of type object cannot be saved"):
        encode(object())


def test_a_file_is_replaced_whole_or_not_at_all(saved, monkeypatch):
    _, path = saved
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        refnet.Graph().save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


# -- other processes -------------------------------------------------------------------------------

SAVES = """
from tests.graph.test_files import network, X, T
import numpy as np, refnet
graph = network()
session = refnet.Session(graph, "numpy")
session.run("train", {"x": X, "t": T})
graph.save("net.refnet", session)
np.savez("inputs.npz", x=X, t=T)
"""
RUNS = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import numpy as np, refnet
data = np.load("inputs.npz")
graph = refnet.Graph.load("net.refnet")
names = ["p", "loss", *(n.symbol.name for n in graph.nodes if n.symbol.name.startswith("gradients"))]
session = refnet.Session(graph, {backend!r})
p, loss = session.run(["p", "loss"], dict(data))
session.run("train", dict(data))
np.savez({out!r}, p=p, loss=loss, **{{k.replace("/", "."): v for k, v in session.values().items()}})
print(session.compare("numpy", feed_dict=dict(data)).ok, "torch" in sys.modules)
"""


def process(program, folder):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {k: v for k, v in os.environ.items() if k != "REFNET_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder, env={**environment, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


REGISTERED = """
from refnet import backend
backend.register_uninstalled("triton", "refnet_triton.backend:TritonBackend")
"""
OPTIONAL = ("torch", "triton", "refnet_triton", "rich", "matplotlib", "tensorboard", "pytest")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one process saves, a second runs with NumPy alone; returns the folder and the results."""
    need("safetensors")
    folder = tmp_path_factory.mktemp("processes")
    process(SAVES, folder)
    program = RUNS.format(missing=OPTIONAL, backend="numpy", out="numpy.npz")
    assert process(program, folder) == "True False\n"
    return folder, dict(np.load(folder / "numpy.npz"))


def test_another_process_with_numpy_alone_gives_the_same_bits(results):
    _, found = results
    session = refnet.Session(network(), "numpy")
    session.run("train", {"x": X, "t": T})
    p, loss = session.run(["p", "loss"], {"x": X, "t": T})
    assert (p.tobytes(), loss.tobytes()) == (found["p"].tobytes(), found["loss"].tobytes())
    session.run("train", {"x": X, "t": T})
    for name, value in session.values().items():
        assert value.tobytes() == found[name.replace("/", ".")].tobytes(), name


@pytest.mark.triton
def test_another_process_on_triton_keeps_the_bounds(results):
    folder, reference = results
    program = REGISTERED + RUNS.format(missing=(), backend="triton", out="triton.npz")
    said = process(program, folder)
    assert said.splitlines()[-1] == "True True"  # every op within its bound
    found = dict(np.load(folder / "triton.npz"))
    for name, value in reference.items():
        if name == "p":
            assert np.allclose(found[name], value, rtol=0, atol=1e-6)
        elif name.endswith("/kernel"):
            assert np.allclose(found[name], value, rtol=1e-5, atol=1e-6), name


# -- damaged, truncated, newer and hostile files ---------------------------------------------------


def document_of(path):
    import safetensors

    with safetensors.safe_open(str(path), framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["graph"]), arrays


def written(path, document, arrays, text=None):
    import safetensors.numpy

    text = json.dumps(document) if text is None else text
    path.write_bytes(safetensors.numpy.save(arrays, {"graph": text}))
    return path


def entry(document, name):
    return next(e for e in document["entries"] if e["name"] == name)


def changed(entry_name, /, **fields):
    return lambda d, arrays: entry(d, entry_name).update(fields)


def another(name):
    row = {"name": name, "kind": "placeholder", "outputs": [[[], "float32"]]}
    return lambda d, arrays: d["entries"].append(row)


def without(name, field):
    return lambda d, arrays: entry(d, name).pop(field)


def doubled(d, arrays):
    d["entries"].append(dict(d["entries"][0]))


def absurd(d, arrays):
    arrays["hidden/bias"] = np.zeros(7, "float32")


CHANGES = {
    "newer": (
        lambda d, a: d.update(version=2),
        "written by a newer refnet: its format is version 2",
    ),
    "no version": (lambda d, a: d.pop("version"), "the format version is None"),
    "text version": (lambda d, a: d.update(version="1"), "the format version is '1'"),
    "another format": (lambda d, a: d.update(format="onnx"), "no graph of refnet"),
    "no entries": (lambda d, a: d.pop("entries"), "no list of entries"),
    "no groups": (lambda d, a: d.update(groups=[]), "no table of groups"),
    "a group of nothing": (lambda d, a: d["groups"].update(train=["q"]), "'train' reads 'q'"),
    "an entry that is text": (lambda d, a: d["entries"].append("x"), "'x' is no entry"),
    "unknown kind": (changed("x", kind="program"), "'x' is a 'program'"),
    "unknown op": (changed("loss", op="os.system"), "there is no op 'os.system'"),
    "an op that is a list": (changed("loss", op=["mean"]), r"there is no op \['mean'\]"),
    "a method as op": (changed("loss", op="__class__"), "there is no op '__class__'"),
    "unknown attribute": (changed("loss", attributes={"out": 1}), "mean has no attribute out"),
    "attribute of a wrong type": (
        changed("loss", attributes={"axis": "x"}),
        "mean: invalid literal",
    ),
    "attribute no axis": (changed("loss", attributes={"axis": 5}), "there is no axis 5"),
    "attribute not understood": (
        changed("loss", attributes={"axis": {"eval": "1"}}),
        "not understood",
    ),
    "too many inputs": (changed("loss", inputs=["x", "x"]), "mean of 2 inputs"),
    "an input that is not there": (changed("loss", inputs=["nothing"]), "reads 'nothing'"),
    "a result that is not there": (changed("loss", inputs=["p:7"]), "reads 'p:7'"),
    "a result that is no number": (changed("loss", inputs=["p:x"]), "names no result"),
    "itself": (changed("loss", inputs=["loss"]), "a cycle: loss -> loss"),
    "a cycle": (
        changed("hidden/linear", inputs=["loss", "hidden/kernel", "hidden/bias"]),
        "a cycle: hidden/linear -> dropout/dropout -> .* -> loss -> hidden/linear",
    ),
    "behind it": (changed("p", inputs=["adam/adam"]), "cannot be computed"),
    "a shape that lies": (
        changed("loss", outputs=[[[5], "float32"]]),
        "would give .* float32, not",
    ),
    "a type that lies": (changed("loss", outputs=[[[], "int64"]]), "would give .* not .* int64"),
    "an unknown type": (changed("x", outputs=[[[4], "object"]]), "'x' has the type 'object'"),
    "an absurd length": (changed("x", outputs=[[[10**30], "float32"]]), "'x' has the shape"),
    "a negative length": (changed("x", outputs=[[[-4], "float32"]]), "'x' has the shape"),
    "a hundred axes": (changed("x", outputs=[[[1] * 100, "float32"]]), "'x' has the shape"),
    "a length that is true": (changed("x", outputs=[[[True], "float32"]]), "'x' has the shape"),
    "no outputs": (changed("x", outputs=[]), "'x' has no results"),
    "two values": (changed("x", outputs=[[[], "bool"], [[], "bool"]]), "'x' has 2 values"),
    "values of another shape": (absurd, r"'hidden/bias' of shape \(5,\) has values of \(7,\)"),
    "missing values": (lambda d, a: a.pop("hidden/bias"), "'hidden/bias' has no values"),
    "a variable that is none": (
        changed("adam/adam", inputs=["x", "x", "x", "x", "x", "x"]),
        "adam would write to 'x', which is no variable",
    ),
    "a name twice": (doubled, "the name 'x' stands there 2 times"),
    "a name up the tree": (another("../../etc/passwd"), "a name is text"),
    "a name of two lines": (another("a\nb"), "a name is text"),
    "a name with a colon": (changed("x", name="c:x"), "reads 'x'|a name is text"),
    "no name": (without("x", "name"), "has no name"),
    "no inputs": (without("loss", "inputs"), "'loss' has no list of inputs"),
    "no attributes": (without("loss", "attributes"), "'loss' has no table of attributes"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_not_in_order(saved, tmp_path, change):
    _, path = saved
    document, arrays = document_of(path)
    alter, message = CHANGES[change]
    alter(document, arrays)
    document["sha256"] = _digest(arrays)
    wrong = written(tmp_path / "wrong.refnet", document, arrays)
    with pytest.raises(FileError, match=f"(?s)wrong.refnet: .*{message}"):
        refnet.Graph.load(wrong)


@pytest.mark.parametrize("text", ["", "{", "null", "[" * 100_000, '{"version": 1}', "1e999"])
def test_a_structure_that_is_no_json_of_ours(saved, tmp_path, text):
    wrong = written(tmp_path / "wrong.refnet", {}, {}, text)
    with pytest.raises(FileError, match=r"no JSON|no graph of refnet"):
        refnet.Graph.load(wrong)


def test_a_truncated_or_damaged_file(saved, tmp_path):
    _, path = saved
    whole = path.read_bytes()
    wrong = tmp_path / "wrong.refnet"
    for length in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        wrong.write_bytes(whole[:length])
        with pytest.raises(FileError, match="is damaged, truncated, or no graph file"):
            refnet.Graph.load(wrong)
    rng = np.random.default_rng(0)
    header = int.from_bytes(whole[:8], "little")
    refused = 0
    for _ in range(300):  # a byte of the header changed: an error of ours, or still a whole graph
        damaged = bytearray(whole)
        at = int(rng.integers(0, header + 8))
        damaged[at] ^= int(rng.integers(1, 256))
        wrong.write_bytes(damaged)
        try:
            refnet.Graph.load(wrong)
        except FileError:
            refused += 1
    assert refused > 150


@in_a_file
def test_files_that_are_something_else(tmp_path):
    import safetensors.numpy

    other = tmp_path / "other.refnet"
    other.write_bytes(b"\x80\x04\x95 this would be a pickle")
    with pytest.raises(FileError, match="is damaged, truncated, or no graph file"):
        refnet.Graph.load(other)
    other.write_bytes(safetensors.numpy.save({"x": np.ones(3)}))
    with pytest.raises(FileError, match="holds no graph of refnet"):
        refnet.Graph.load(other)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        refnet.Graph.load(tmp_path / "nothing.refnet")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        refnet.Graph.load(tmp_path)
    with pytest.raises(FileError, match="is a folder"):
        refnet.Graph().save(tmp_path)
    assert refnet.Graph().save(tmp_path / "new" / "folder" / "a.refnet").is_file()


def test_a_session_of_another_graph_is_not_saved(tmp_path):
    graph = network()
    for other in (refnet.Session(refnet.Graph()), "numpy"):
        with pytest.raises(GraphError, match="save takes a session of this graph"):
            graph.save(tmp_path / "other.refnet", other)
    assert not (tmp_path / "other.refnet").exists()


def test_damaged_values(saved, tmp_path):
    _, path = saved
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    (tmp_path / "wrong.refnet").write_bytes(whole)
    with pytest.raises(FileError, match="its values are damaged"):
        refnet.Graph.load(tmp_path / "wrong.refnet")


@in_a_file
def test_loading_runs_nothing(tmp_path):
    """A graph that would need a petabyte is loaded, looked at, and fails only when it is run."""
    with refnet.Graph() as graph:
        x = refnet.placeholder((), name="x")
        TABLE["broadcast_to"](x, shape=(10**5, 10**5, 10**5)).named("large")
        TABLE["exp"](graph["large"]).named("too_large")
    again = refnet.Graph.load(graph.save(tmp_path / "large.refnet"))
    assert again["too_large"].shape == (10**5, 10**5, 10**5)
    with pytest.raises(MemoryError):
        refnet.Session(again).run("too_large", {"x": 1})
