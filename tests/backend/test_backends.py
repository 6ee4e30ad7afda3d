"""Backends that somebody else wrote: those of docs/backends.md, held by the same proof."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import refnet
from refnet import layers
from refnet.backend import registry
from refnet.errors import BackendError
from refnet.op import TABLE
from refnet.proof.judge import all_ops

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "torch_example"
PAGE = (ROOT / "docs" / "backends.md").read_text("utf-8")


def block(language):
    """The first block of the page in this language."""
    return re.search(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)[1]


def installed(folder, text, version="1.0"):
    """What pip leaves of a pyproject.toml: a folder by which Python finds its entry points."""
    project = tomllib.loads(text)["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    named = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
    (info / "METADATA").write_text(named, "utf-8")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def python(folders, *arguments, cwd):
    """(exit code, what was printed) of a Python that has these folders in its path."""
    path = os.pathsep.join(map(str, [*folders, ROOT]))
    environment = {k: v for k, v in os.environ.items() if k not in ("REFNET_BACKEND", "COLUMNS")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**environment, "PYTHONPATH": path, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
    )
    return done.returncode, done.stdout + done.stderr


# -- the two files of the page, with NumPy alone ------------------------------------------------------


@pytest.fixture
def theirs(tmp_path):
    folder = installed(tmp_path / "site", block("toml"))
    (folder / "theirs.py").write_text(block("python"), "utf-8")
    return folder


@pytest.mark.needs("rich")
def test_the_page_leads_to_a_green_check(theirs, tmp_path):
    line = re.search(r"^refnet check (--backend theirs --op .*)$", PAGE, re.M)[1]
    code, said = python([theirs], "-m", "refnet", "check", *line.split(), cwd=tmp_path)
    assert code == 0, said
    verdict = said.splitlines()[-1]
    assert verdict == "All 3 ops within bounds: theirs float32, theirs float64"
    assert f"`{verdict}`" in PAGE


@pytest.mark.needs("rich")
def test_what_is_missing_is_said_and_may_be_allowed(theirs, tmp_path):
    check = ["-m", "refnet", "check", "--backend", "theirs", "--quick"]
    code, said = python([theirs], *check, "--op", "relu", "gelu", "multiply", cwd=tmp_path)
    assert code == 1
    for dtype in ("float32", "float64"):
        assert f"MISSING  1 op on theirs in {dtype}: gelu" in said
        assert f"theirs {dtype}: 2 agree, 1 MISSING" in said
    assert "BackendError: backend 'theirs' has no op 'gelu'" in said
    code, said = python([theirs], *check, "--allow-missing", "--json", "all.json", cwd=tmp_path)
    assert code == 0, said
    assert "`MISSING  N ops on theirs in float32: sum, " in PAGE
    assert re.search(r"MISSING  \d+ ops on theirs in float32: sum, ", said)
    rows = json.loads((tmp_path / "all.json").read_text("utf-8"))["rows"]
    assert sorted(r["op"] for r in rows if r["status"] == "pass" and r["dtype"] == "float32") == [
        "multiply",
        "relu",
        "relu_vjp",
    ]
    assert {r["op"] for r in rows} == {op.name for op in all_ops()}


@pytest.mark.needs("rich")
def test_what_is_not_installed_is_not_found(theirs, tmp_path):
    for entry in theirs.glob("*.dist-info/entry_points.txt"):
        entry.unlink()
    code, said = python([theirs], "-m", "refnet", "check", "--backend", "theirs", cwd=tmp_path)
    assert code == 2
    assert "unknown backend 'theirs'" in said


@pytest.mark.needs("rich")
def test_the_check_is_not_green_if_the_page_is_wrong(theirs, tmp_path):
    module = theirs / "theirs.py"
    module.write_text(module.read_text("utf-8").replace("y > 0", "y >= 0"), "utf-8")
    line = ["--backend", "theirs", "--quick", "--op", "relu_vjp"]
    code, said = python([theirs], "-m", "refnet", "check", *line, cwd=tmp_path)
    assert code == 1
    assert "FAIL  relu_vjp on theirs in float32" in said
    assert "refnet check --op relu_vjp --dtype float32 --backend theirs --case" in said


def test_it_is_used_by_its_name(theirs, tmp_path):
    program = """
import refnet
refnet.use_backend("theirs")
y = refnet.activations.relu(refnet.tensor([-1.0, 2.0]))
print(y.backend, type(y.value).__name__, y.numpy())
"""
    code, said = python([theirs], "-c", program, cwd=tmp_path)
    assert (code, said.strip()) == (0, "<backend theirs> Array [0. 2.]")


def test_the_other_code_of_the_page_runs(theirs, tmp_path):
    programs = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)[1:]
    assert len(programs) == 2
    code, said = python([theirs], "-c", "\n".join(programs), cwd=tmp_path)
    assert code == 0, said


# -- the example in PyTorch ---------------------------------------------------------------------------


@pytest.fixture
def example(torch, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    import torch_example

    monkeypatch.setitem(sys.modules, "torch_example", torch_example)
    monkeypatch.setattr(registry, "_targets", dict(registry._targets))
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
    registry.register("torch_example", torch_example.TorchBackend)
    return torch_example


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_op_it_has_keeps_its_bound(example, agree, dtype):
    there = registry.get("torch_example")
    known = [op for op in all_ops() if op.name in example.OPS]
    assert len(known) == len(example.OPS)
    for op in known:
        agree(op, dtype, there)


def test_what_is_missing_is_named(example):
    with pytest.raises(BackendError, match="backend 'torch_example' has no op 'dropout'"):
        registry.get("torch_example").function(TABLE["dropout"])
    with pytest.raises(BackendError, match="backend 'torch_example' has no op 'sum'"):
        refnet.tensor([1.0], backend="torch_example").sum()


def test_its_results_are_arrays_of_its_own(example):
    there = registry.get("torch_example")
    x = there.array([[1.0, -2.0]], "float32")
    for name in example.ACTIVATIONS:
        y = there.function(TABLE[name])(x)
        saved = (x if "x" in TABLE[name].saves else y,) if TABLE[name].saves else ()
        g = there.function(TABLE[f"{name}_vjp"])(x, *saved)
        assert type(y) is type(g) is example.Array, name
        assert not g.requires_grad


@pytest.mark.needs("rich")
def test_its_entry_point_is_found_and_it_is_checked(torch, tmp_path):
    """As it is when it is installed: nothing registers it but the entry point of its pyproject.toml."""
    site = installed(tmp_path / "site", (EXAMPLE / "pyproject.toml").read_text("utf-8"))
    check = ["-m", "refnet", "check", "--backend", "torch_example", "--quick"]
    folders = [site, EXAMPLE]
    code, said = python(folders, *check, "--op", "relu", "gelu", "dropout", "sum", cwd=tmp_path)
    assert code == 1
    assert f"torch_example: PyTorch {torch.__version__} on the CPU" in said
    for dtype in ("float32", "float64"):
        assert f"MISSING  2 ops on torch_example in {dtype}: dropout, sum" in said
        assert f"torch_example {dtype}: 2 agree, 2 MISSING" in said
    code, said = python(folders, *check, "--allow-missing", cwd=tmp_path)
    assert code == 0, said


def test_it_trains(example, torch, capsys):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # products as small as these only wait for each other
    try:
        example.main()
    finally:
        torch.set_num_threads(threads)
    right = float(re.search(r"([\d.]+)% right", capsys.readouterr().out)[1])
    assert right > 90


def test_a_graph_runs_on_it_and_is_compared(example):
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 3), name="x")
        layers.Dense(4, activation="tanh")(x).mean().named("y")
    session = refnet.Session(graph, "numpy")
    found = session.compare("torch_example", feed_dict={x: [[1, 2, 3], [4, 5, 6]]})
    assert found.ok, str(found)
    assert [c.op for c in found.ops] == ["linear", "mean"]


# -- what does not load ---------------------------------------------------------------------------------

BROKEN = """
from refnet.backend import Backend, NumPyBackend

class NoBackend: pass
class Half(Backend):
    name = "theirs"
    def function(self, op): return op.function
class Other(NumPyBackend): name = "other"
class NoType(NumPyBackend): name, dtypes = "theirs", "float32"
class Raises(NumPyBackend):
    name = "theirs"
    def __init__(self): raise OSError("no device")
"""


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("absent:A", "backend 'theirs' cannot run here: No module named 'absent'"),
        ("failing:A", "backend 'theirs' cannot run here: RuntimeError: no accelerator"),
        ("broken", "the entry point 'broken' should read 'module:Class'"),
        ("broken:Absent", "the entry point names 'broken:Absent': broken has no 'Absent'"),
        ("broken:NoBackend", "is no subclass of refnet.backend.Backend"),
        ("broken:Half", "broken.Half has to override array, numpy, dtype"),
        ("broken:Other", "broken.Other has the name 'other', not the one it is found by"),
        ("broken:NoType", "broken.NoType.dtypes should be a tuple of"),
        ("broken:Raises", "backend 'theirs' cannot run here: OSError: no device"),
    ],
)
def test_what_does_not_load_says_why(tmp_path, monkeypatch, entry, complaint):
    (tmp_path / "broken.py").write_text(BROKEN, "utf-8")
    (tmp_path / "failing.py").write_text("raise RuntimeError('no accelerator')", "utf-8")
    installed(tmp_path, block("toml").replace("theirs:TheirBackend", entry))
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("broken", "failing"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(BackendError) as found:
        registry.get("theirs")
    assert complaint in str(found.value)
    assert "pip install" not in str(found.value)


@pytest.mark.needs("rich")
def test_an_option_given_twice_counts_twice(theirs, tmp_path):
    check = ["-m", "refnet", "check", "--backend", "theirs", "--quick"]
    code, said = python([theirs], *check, "--op", "relu", "--op", "multiply", cwd=tmp_path)
    assert code == 0
    assert said.splitlines()[-1].startswith("All 2 ops within bounds")


class Copied(np.ndarray):
    """Arrays whose parts are copies."""

    def __getitem__(self, key):
        return np.array(np.asarray(self)[key]).view(Copied)


class Copies(refnet.backend.NumPyBackend):
    name, array_type = "copies", Copied

    def array(self, values, dtype=None):
        return np.array(values, dtype).view(Copied)


def test_where_slices_are_copies_nothing_could_be_learned():
    with refnet.use_backend(Copies()):
        model = refnet.Sequential([layers.Dense(2)])
        model.compile(optimizer="sgd", loss="mean_squared_error")
        with pytest.raises(
            BackendError, match=r"'copies' copies: x\[start:stop\] .* have to be views"
        ):
            model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=1, verbose=0)
