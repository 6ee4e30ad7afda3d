"""A backend that somebody else wrote: the example of docs/backends.md, held by the same proof."""

import sys
from pathlib import Path

import pytest

import refnet
from refnet import backend as backends
from refnet import layers
from refnet.agreement import all_ops
from refnet.errors import BackendError
from refnet.op import TABLE

pytestmark = pytest.mark.triton  # it needs torch
EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


@pytest.fixture
def example(torch, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import torch_backend

    monkeypatch.setitem(sys.modules, "torch_backend", torch_backend)
    monkeypatch.setattr(backends, "_targets", dict(backends._targets))
    monkeypatch.setattr(backends, "_loaded", dict(backends._loaded))
    backends.register("torch_example", torch_backend.TorchBackend)
    return torch_backend


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_op_it_has_keeps_its_bound(example, agree, dtype):
    there = backends.get("torch_example")
    known = [op for op in all_ops() if op.name in example.OPS]
    assert len(known) == len(example.OPS) > 20
    for op in known:
        if op.name not in ("linear", "linear_vjp"):
            agree(op, dtype, there)


@pytest.mark.parametrize("name", ["linear", "linear_vjp"])
def test_what_is_missing_is_named(example, agree, name):
    """Its `linear` knows five activations; the others are errors, and not another activation."""
    there = backends.get("torch_example")
    with pytest.raises(AssertionError) as found:
        agree(TABLE[name], "float32", there)
    lines = str(found.value).splitlines()[1:]
    assert len(lines) > 8
    assert all("BackendError: backend 'torch_example' has no activation" in line for line in lines)
    with pytest.raises(BackendError, match="backend 'torch_example' has no op 'gelu'"):
        refnet.activations.gelu(refnet.tensor([1.0], backend="torch_example"))


def test_it_trains(example, capsys):
    example.main()
    assert "% right" in capsys.readouterr().out


def test_a_graph_runs_on_it_and_is_compared(example):
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 3), name="x")
        layers.Dense(4, activation="tanh")(x).mean().named("y")
    session = refnet.Session(graph, "numpy")
    found = session.compare("torch_example", feed_dict={x: [[1, 2, 3], [4, 5, 6]]})
    assert found.ok, str(found)
    assert [c.op for c in found.ops] == ["linear", "mean"]
