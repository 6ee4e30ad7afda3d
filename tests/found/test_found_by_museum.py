"""What no test caught when the bug museum planted it: small losses, NaN, tf32, and 2³¹ elements."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from refnet import Sequential
from refnet import backend as backends
from refnet.autograd.tensor import tensor
from refnet.base.files import replace_file
from refnet.callbacks import Callback, EarlyStopping
from refnet.layers import Dense, Input
from refnet.op import TABLE
from refnet.proof.judge import cases_of, compare

ROOT = Path(__file__).resolve().parents[2]

# -- digits ----------------------------------------------------------------------------------------


def test_unlikely_classes_have_finite_logarithms(backend):
    x = np.array([[0.0, -1000.0], [300.0, 0.0]], "float32")
    y = backend.numpy(backend.function(TABLE["log_softmax"])(backend.array(x)))
    np.testing.assert_array_equal(y, [[0.0, -1000.0], [0.0, -300.0]])


def test_right_answers_have_a_small_loss_and_not_none(backend):
    """A score of 17 on the right side costs 4·10⁻⁸, and one of 60 still e⁻⁶⁰."""
    x = np.array([17.0, 20.0, 60.0, -17.0, -40.0], "float32")
    t = np.array([1.0, 1.0, 1.0, 0.0, 0.0], "float32")
    loss = backend.function(TABLE["sigmoid_cross_entropy"])(backend.array(x), backend.array(t))
    expected = np.log1p(np.exp(-np.abs(x.astype("float64"))))
    np.testing.assert_allclose(backend.numpy(loss), expected, rtol=1e-6)


def test_the_variance_of_data_far_from_zero(backend):
    """E[x²] - E[x]² would have no digit right here: both terms are 10⁸."""
    x = (1e4 + np.random.default_rng(0).normal(size=(3, 500))).astype("float32")
    with backends.use_backend(backend):
        found = tensor(x).var(axis=1).numpy()
    np.testing.assert_allclose(found, x.astype("float64").var(axis=1), rtol=1e-3)


FILES = "activations", "elementwise", "reductions", "softmax"
COMPUTED = [
    op
    for op in TABLE.values()
    if op.primal is None and op.file in FILES and not op.variadic and "arg" not in op.name
]


@pytest.mark.parametrize("op", COMPUTED, ids=lambda op: op.name)
def test_nan_is_never_swallowed(op):
    """Whichever of its inputs is NaN, the result is."""
    for place in range(len(op.inputs)):
        inputs = [np.array([2.0]) for _ in op.inputs]
        if op.name == "prelu":
            inputs[0] = np.array([-2.0])  # so that the slope counts
        inputs[place] = np.array([np.nan])
        with np.errstate(invalid="ignore"):
            y = op.function(*inputs)
        assert np.isnan(y).all(), f"{op.name} of {inputs} is {y}, not NaN"


# -- copies ----------------------------------------------------------------------------------------


class Scripted(Callback):
    """Puts numbers of our choice into the logs, and copies the weights of each epoch."""

    def __init__(self, values):
        self.values, self.weights = values, []

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.values[epoch]
        self.weights.append([np.array(w) for w in self.model.get_weights()])


def test_the_best_weights_are_not_the_last():
    """Views of the weights would follow them, those of the callback and those of a test alike."""
    rng = np.random.default_rng(0)
    model = Sequential([Input((3,)), Dense(2)])
    model.compile("sgd", "mse")
    scripted, stopping = Scripted([2, 1, 3]), EarlyStopping(patience=2, restore_best_weights=True)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    model.fit(x, y, epochs=3, callbacks=[scripted, stopping], verbose=0)
    _, best, last = scripted.weights
    assert (best[0] != last[0]).any()
    for found, expected in zip(model.get_weights(), best, strict=True):
        np.testing.assert_array_equal(found, expected)


# -- files -----------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    """With other content than before: the same bytes again would look whole either way."""
    path = tmp_path / "a.refnet"
    replace_file(path, b"the old one")

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        replace_file(path, b"the new one")
    assert path.read_bytes() == b"the old one"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


# -- kernels ---------------------------------------------------------------------------------------


@pytest.mark.triton
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize(("shape", "axis"), [((200_003,), None), ((40_007, 3), 0)])
def test_a_long_reduction_takes_two_launches(name, shape, axis, torch, monkeypatch):
    """As on a GPU. Interpreted it takes one, so that nothing else here goes this way."""
    from refnet_triton.ops import reductions
    from refnet_triton.runtime.device import DEVICE, as_on_a_gpu

    calls, once = [], reductions._reduce
    monkeypatch.setattr(reductions, "_reduce", lambda *a: [calls.append(a), once(*a)][1])
    x = np.random.default_rng(0).normal(3.0, 1.0, shape).astype("float32")
    with as_on_a_gpu():
        y = getattr(reductions, name)(torch.from_numpy(x).to(DEVICE), axis).cpu().numpy()
    expected = getattr(np, name)(x.astype("float64"), axis)
    np.testing.assert_allclose(y, expected, rtol=1e-6, err_msg=f"{name} in two launches")
    assert len(calls) == 2


ENTROPIES = ["sparse_softmax_cross_entropy", "softmax_cross_entropy"]


@pytest.mark.triton
@pytest.mark.parametrize("name", [*ENTROPIES, *(f"{name}_vjp" for name in ENTROPIES)])
def test_a_row_longer_than_a_block(name, monkeypatch):
    """On a GPU a block holds 4096 classes. Interpreted it holds 65,536, and no row is longer."""
    from refnet_triton.ops import losses

    monkeypatch.setattr(losses, "_block", lambda classes: 64)
    op, backend = TABLE[name], backends.get("triton")
    case = next(case for case in cases_of(op) if case.name == "block edge 1025")
    found = compare(op, case, "float32", backend)
    assert found.ok, found.complaint


PRODUCTS = """
import torch
from refnet_triton.inspect import compilation
compilation.without_memory()
from refnet_triton.ops.matmul import linear, matmul
from refnet_triton.inspect.targets import TARGETS

launches = []
with compilation.recording(launches.append):
    x, bias = torch.empty(256, 256, device="meta"), torch.empty(256, device="meta")
    matmul(x, x)
    linear(x, x, bias, "gelu")
for launch in launches:
    text = compilation.compile_for(launch.made, TARGETS["sm_90"]).asm["ttir"]
    print(*(line for line in text.splitlines() if "tt.dot " in line))
"""


@pytest.mark.triton
def test_float32_products_are_not_tf32(compile_only):
    """The interpreter multiplies with all digits whatever is asked for; compiled code does not."""
    printed = compile_only(PRODUCTS)
    assert printed.count("tt.dot") == 2
    assert "tf32" not in printed
