"""Shadow mode: a wrong op is caught wherever it runs, right ones pass, and nobody notices the shadow."""

import json
import threading

import numpy as np
import pytest

import refnet
from refnet import backend as backends
from refnet import layers
from refnet.autograd.tensor import apply, tensor, watching
from refnet.autograd.variable import Variable
from refnet.check.shadow import Disagreement
from refnet.errors import ArgumentError, FileError, RefnetError
from refnet.ops import TABLE
from refnet.proof.judge import all_ops, cases_of, inputs_for
from tests.conftest import TRITON, need

X = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 24)


@pytest.fixture(params=["loopback", TRITON])
def first(request):
    """The backend a program runs on, in the shadow of NumPy."""
    return backends.get(request.param)


@pytest.fixture
def plant(monkeypatch):
    """plant(backend, name, make): an op of a backend becomes what `make` makes of its function."""

    def planted(backend, name, make):
        right = backend.function
        monkeypatch.setattr(
            backend, "function", lambda op: make(right(op)) if op.name == name else right(op)
        )

    return planted


def scaled(backend, factor=1.001):
    """A fault: the first result is a little too large."""

    def make(function):
        def wrong(*inputs, **attributes):
            results = function(*inputs, **attributes)
            several = isinstance(results, tuple)
            y, *others = results if several else (results,)
            y = backend.array(backend.numpy(y) * np.float32(factor))
            return (y, *others) if several else y

        return wrong

    return make


@pytest.fixture
def shadow(first, tmp_path):
    """shadow(): `first` in the shadow of NumPy, with the file in a folder of its own."""
    path = tmp_path / "found.safetensors"
    return lambda **options: refnet.shadow(first, "numpy", path=path, **options)


def network(backend, seed=3):
    refnet.random.set_seed(seed)
    with refnet.use_backend("numpy"):
        model = refnet.Sequential(
            [
                layers.Input((5,)),
                layers.Dense(8, activation="relu", name="hidden"),
                layers.Dropout(0.25, seed=1),
                layers.Dense(3, activation="softmax", name="out", kernel_regularizer="l2"),
            ]
        )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model.to(backend)


def fit(model, epochs=2):
    refnet.random.set_seed(7)  # the order of the examples
    return model.fit(X, Y, batch_size=12, epochs=epochs, verbose=0).history


# -- right backends pass, and nothing changes ------------------------------------------------------


def test_a_training_in_the_shadow_gives_the_same_bits(first, shadow):
    plain, shadowed = network(first), network(first)
    history, predicted = fit(plain), plain.predict(X)
    with shadow() as seen:
        assert fit(shadowed) == history
        assert shadowed.predict(X).tobytes() == predicted.tobytes()
    for a, b in zip(plain.get_weights(), shadowed.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()
    assert seen.ops["adam"].calls == seen.ops["adam"].checked == 4
    assert {"linear", "linear_vjp", "dropout", "dropout_vjp", "assign", "argmax"} <= set(seen.ops)
    assert all(set(t.worst) == {first.name, "numpy"} for t in seen.ops.values())
    assert max(t.worst[first.name] for t in seen.ops.values()) <= 1
    assert seen.ops["linear"].worst["numpy"] > 0
    assert f"{first.name}, numpy\n" in str(seen)
    assert repr(seen).startswith(f"<shadow of {first.name} by numpy: ")


def test_a_model_may_be_trained_before_within_and_after(first, shadow):
    plain, shadowed = network(first), network(first)
    expected = [fit(plain, 1) for _ in range(3)]
    found = [fit(shadowed, 1)]
    with shadow() as seen:
        found.append(fit(shadowed, 1))
    checked = seen.ops["linear"].checked
    found.append(fit(shadowed, 1))
    assert found == expected
    assert seen.ops["linear"].checked == checked == 4  # none before, none after


def test_a_session_in_the_shadow_gives_the_same_bits(first, shadow):
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 5), name="x")
        w = Variable(np.ones((5, 2)), "float32", "w")
        loss = TABLE["mean"](refnet.activations.tanh(x @ w))
        train = refnet.optimizers.SGD(0.1).minimize(loss)
    plain, shadowed = (refnet.Session(graph, first) for _ in range(2))
    expected = [plain.run([loss, train], {x: X}) for _ in range(3)]
    found = [shadowed.run([loss, train], {x: X})]
    with shadow() as seen:
        found.append(shadowed.run([loss, train], {x: X}))
        shadowed.run([w], {})[0][...] = 0
    found.append(shadowed.run([loss, train], {x: X}))
    assert found == expected
    assert plain.run(w).tobytes() == shadowed.run(w).tobytes()
    assert [seen.ops[name].checked for name in ("matmul", "matmul_vjp", "sgd")] == [1, 1, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_op_passes_on_all_its_cases(dtype, tmp_path):
    shadow = refnet.shadow("numpy", "loopback", path=tmp_path / "found.safetensors")
    count = 0
    with np.errstate(all="ignore"), shadow as seen:
        for op in all_ops():
            for case in cases_of(op):
                inputs, attributes = inputs_for(op, case, dtype)
                kinds = [dtype if np.asarray(x).dtype.kind == "f" else None for x in inputs]
                apply(op, list(map(tensor, inputs, kinds)), attributes)
                count += 1
    assert sum(t.checked for t in seen.ops.values()) == count > 1000


def test_types_may_meet(first, shadow):
    whole, single, double = tensor([1, 2, 3]), tensor([1.5, 2.5, 3.5]), tensor([0.1] * 3, "float64")
    with shadow() as seen:
        whole, single, double = (tensor(t, backend=first) for t in (whole, single, double))
        results = [whole * single, whole + whole, single * double, TABLE["cast"](single, "float64")]
        target = Variable([0.0, 0.0, 0.0])
        target.assign(np.array([0.1, 0.2, 0.3]))  # float64, rounded once
        target.assign(whole)
    assert [t.shape for t in results] == [(3,)] * 4
    assert seen.ops["assign"].checked == 2


def test_jumps_and_ties_are_no_disagreement(first, shadow):
    """w x + b is rounded to either side of 0; the step then jumps, and is right on both sides."""
    rng = np.random.default_rng(5)
    x, kernel = (
        rng.normal(size=(40, 9)).astype("float32"),
        rng.normal(size=(9, 4)).astype("float32"),
    )
    bias = -(x[0].astype("float64") @ kernel).astype("float32")
    with shadow() as seen:
        refnet.ops.linear(tensor(x), tensor(kernel), tensor(bias), activation="binary_step")
        ties = tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
        ties.max(axis=1).sum().backward()
        TABLE["argmax"](ties)
        refnet.activations.relu(ties).sum().backward()
    assert seen.ops["linear"].checked == seen.ops["max_vjp"].checked == 1


def test_a_wrong_step_is_a_disagreement(first, shadow, plant):
    plant(first, "linear", scaled(first, 0.0))
    with pytest.raises(Disagreement, match=r"the reference 1\.0"), shadow():
        ones = tensor(np.ones((2, 2)))
        refnet.ops.linear(ones, ones, tensor([0.0, 0.0]), activation="binary_step")


# -- a wrong op is caught --------------------------------------------------------------------------


def test_in_fit(first, shadow, plant):
    model = network(first)
    fit(model, 1)  # its plans hold right functions
    plant(first, "linear", scaled(first))
    with pytest.raises(Disagreement) as caught, shadow():
        fit(model)  # this line
    found = caught.value.judged
    assert (found.op, found.name) == ("linear", "hidden/linear")
    assert found.variables == ("hidden/kernel", "hidden/bias")
    assert "model.fit(X, Y" in found.line
    assert found.line.startswith("test_shadow.py:")
    own, other = found.sides
    assert (own.backend, own.ok, other.backend, other.ok) == (first.name, False, "numpy", True)
    assert own.ratio == found.ratio > 100 > 1 > other.ratio
    assert own.error > 100 * own.bound > 0
    text = str(caught.value)
    for part in (
        f"linear 'hidden/linear' (reads hidden/kernel, hidden/bias): {first.name} disagrees",
        f"{first.name}: y[",
        f"bound {own.bound:.3g}; {own.ratio:.3g} times its bound",
        "numpy: right, largest error ",
        "inputs: x (12, 5) float32, kernel (5, 8) float32, bias (8,) float32, activation='relu'",
        f"in {found.line}",
    ):
        assert part in text
    assert "computed again from copies" not in text


def test_in_predict(first, shadow, plant):
    model = network(first)
    plant(first, "softmax", scaled(first))
    with shadow(), pytest.raises(Disagreement, match="softmax 'out/softmax': ") as caught:
        model.predict(X)  # here
    assert caught.value.judged.line.endswith("model.predict(X)  # here")


def test_in_a_session(first, shadow, plant):
    with refnet.Graph() as graph:
        x = refnet.placeholder((None,), name="x")
        with refnet.name_scope("middle"):
            y = x * 2.0  # written here
        z = y + 1.0
    session = refnet.Session(graph, first)
    plant(first, "multiply", scaled(first))
    session.run(z, {x: [1, 2]})  # without a shadow nobody looks
    with shadow(), pytest.raises(Disagreement, match="multiply 'middle/multiply'") as caught:
        session.run(z, {x: [1, 2]})
    assert caught.value.judged.line.endswith("y = x * 2.0  # written here")


def test_in_eager_code(first, shadow, plant):
    plant(first, "exp", scaled(first))
    with shadow(), pytest.raises(Disagreement, match=r"exp 'exp': .* disagrees") as caught:
        x = tensor([0.0, 1.0, 2.0])
        assert (x + 1.0).numpy().tolist() == [1, 2, 3]
        TABLE["exp"](x)
    side = caught.value.judged.sides[0]
    assert side.ratio > 1000
    assert f"times its bound; there x = {float(side.index[0])!r}\n" in str(caught.value)
    assert isinstance(caught.value, RefnetError)


def test_in_a_gradient(first, shadow, plant):
    plant(first, "tanh_vjp", scaled(first))
    with shadow():
        x = tensor([0.1, 0.2])
        y = refnet.activations.tanh(x).sum()
        with pytest.raises(Disagreement, match="tanh_vjp 'gradients/tanh_vjp'") as caught:
            y.backward()
    assert caught.value.judged.line.endswith("y.backward()")


def test_in_an_update_that_is_wrong_in_memory(first, shadow, plant):
    """The rule returns what it should, and leaves something else behind."""

    def forgetful(function):
        def wrong(theta, *others, **attributes):
            return function(first.array(theta), *others, **attributes)

        return wrong

    plant(first, "adam", forgetful)
    model = network(first)
    with shadow(), pytest.raises(Disagreement, match=r"adam 'adam' \(reads theta, ") as caught:
        fit(model)
    assert "theta[" in caught.value.judged.sides[0].complaint


def test_an_op_that_overwrites_its_input(first, shadow, plant):
    assign = first.function(TABLE["assign"])

    def greedy(function):
        def wrong(x):
            y = function(x)
            assign(x, first.array(np.zeros(x.shape, "float32")))
            return y

        return wrong

    plant(first, "exp", greedy)
    with shadow(), pytest.raises(Disagreement, match="the input x was overwritten"):
        TABLE["exp"](tensor([1.0, 2.0]))


def test_the_other_backend_may_be_the_wrong_one(first, tmp_path, plant):
    plant(first, "exp", scaled(first))
    shadow = refnet.shadow("numpy", first, path=tmp_path / "found.safetensors")
    with shadow, pytest.raises(Disagreement, match=f"{first.name} disagrees") as caught:
        TABLE["exp"](tensor([1.0, 2.0]))
    assert [side.ok for side in caught.value.judged.sides] == [True, False]


def test_the_other_backend_may_fail(first, tmp_path, plant):
    def make(function):
        def fails(x):
            raise ZeroDivisionError("no such kernel")

        return fails

    plant(first, "exp", make)
    shadow = refnet.shadow("numpy", first, path=tmp_path / "found.safetensors")
    with shadow, pytest.raises(Disagreement, match="ZeroDivisionError: no such kernel"):
        TABLE["exp"](tensor([1.0, 2.0]))


def test_a_fault_that_does_not_come_back_is_said_so(first, shadow, plant):
    calls = []

    def make(function):
        def wrong(x):
            calls.append(1)
            return scaled(first)(function)(x) if len(calls) == 1 else function(x)

        return wrong

    plant(first, "exp", make)
    with shadow(), pytest.raises(Disagreement, match="computed again from copies of its inputs"):
        TABLE["exp"](tensor([1.0, 2.0]))


# -- after the error -------------------------------------------------------------------------------


def test_the_model_is_usable_afterwards(first, shadow, monkeypatch):
    plain, model = network(first), network(first)
    with monkeypatch.context() as patch:
        right = first.function
        wrong = scaled(first)(right(TABLE["softmax"]))
        patch.setattr(first, "function", lambda op: wrong if op.name == "softmax" else right(op))
        with pytest.raises(Disagreement), shadow():
            model.predict(X)
    assert watching.get() is None
    assert backends.current().name == "numpy"
    assert model.predict(X).tobytes() == plain.predict(X).tobytes()
    assert fit(model, 1) == fit(plain, 1)


# -- replay ----------------------------------------------------------------------------------------


@pytest.fixture
def saved(first, shadow, plant):
    """What was caught, in a file, while the fault is still there."""
    need("safetensors")
    plant(first, "linear", scaled(first))
    with pytest.raises(Disagreement) as caught, shadow():
        fit(network(first))
    return caught.value


def test_the_file_is_named(saved, tmp_path):
    assert saved.path == tmp_path / "found.safetensors"
    assert f"refnet.shadow.replay('{saved.path}')" in str(saved)


def test_replay_finds_the_same(saved, first):
    found = refnet.shadow.replay(saved.path)
    assert str(found) == str(saved.judged)
    assert found.ratio == saved.judged.ratio > 100
    assert found.sides[0].error == saved.judged.sides[0].error
    for a, b in zip(found.call.values, saved.judged.call.values, strict=True):
        assert (a.tobytes(), a.dtype, a.shape) == (b.tobytes(), b.dtype, b.shape)
    alone = refnet.shadow.replay(saved.path, on=["numpy"])
    assert alone.ok
    assert [side.backend for side in alone.sides] == ["numpy"]


def test_replay_after_the_fault_is_mended(saved, monkeypatch):
    monkeypatch.undo()
    found = refnet.shadow.replay(saved.path)
    assert found.ok
    assert "all agree" in str(found)
    assert 0 < found.ratio <= 1


def test_a_file_that_is_not_in_order(saved, tmp_path):
    import safetensors.numpy

    with pytest.raises(FileNotFoundError, match="there is no file"):
        refnet.shadow.replay(tmp_path / "nothing")
    content = saved.path.read_bytes()
    for bad in (content[:100], b"", content[:-7]):
        saved.path.write_bytes(bad)
        with pytest.raises(FileError, match="damaged, truncated, or not ours"):
            refnet.shadow.replay(saved.path)
    good = {
        "format": "refnet shadow", "version": 1, "op": "exp", "attributes": {}, "dtypes": ["float32"],
        "backends": ["numpy"], "name": "", "line": "", "variables": [],
    }  # fmt: skip
    arrays = {"0": np.ones(2, "float32")}

    def written(**changed):
        text = json.dumps({**good, **changed})
        safetensors.numpy.save_file(arrays, saved.path, {"shadow": text})
        return saved.path

    assert refnet.shadow.replay(written()).ok
    for changed in (
        {"op": "system"},
        {"format": "?"},
        {"attributes": {"axis": 0}},
        {"op": "add"},
        {"dtypes": ["float64"]},
        {"dtypes": ["float32"] * 2},
        {"variables": [1]},
        {"attributes": []},
    ):
        with pytest.raises(FileError, match=r"holds no op of refnet|is not in order"):
            refnet.shadow.replay(written(**changed))
    hostile = written(op="sum", attributes={"axis": {"tuple": ["x", None]}})
    with pytest.raises(FileError, match="holds what sum cannot compute"):
        refnet.shadow.replay(hostile)
    with pytest.raises(FileError, match="written by a newer refnet: its version is 2"):
        refnet.shadow.replay(written(version=2))


@pytest.mark.triton
@pytest.mark.needs("safetensors")
def test_bfloat16_is_judged_and_replayed(tmp_path, plant):
    """NumPy has no bfloat16: the exact result alone says who is right."""
    triton, path = backends.get("triton"), tmp_path / "found.safetensors"
    with refnet.shadow("triton", "numpy", path=path) as seen:
        x = tensor([1.0, 2.0, 3.0], "bfloat16")
        TABLE["cast"](x * x, "float32")
        TABLE["cast"](tensor([0.1]), "bfloat16")
    assert set(seen.ops["multiply"].worst) == {"triton"}
    function = triton.function
    plant(
        triton,
        "exp",
        lambda exp: lambda x: function(TABLE["cast"])(exp(x) * 1.05, dtype="bfloat16"),
    )
    with pytest.raises(Disagreement) as caught, refnet.shadow("triton", "numpy", path=path):
        TABLE["exp"](x)
    found = refnet.shadow.replay(path)
    assert found.call.dtypes == ("bfloat16",)
    assert found.ratio == caught.value.judged.ratio > 1


def test_a_file_that_cannot_be_written_hides_nothing(first, shadow, plant, tmp_path):
    (tmp_path / "found.safetensors").mkdir()
    plant(first, "exp", scaled(first))
    with pytest.raises(Disagreement, match="its inputs could not be saved: ") as caught, shadow():
        TABLE["exp"](tensor([1.0, 2.0]))
    assert caught.value.path is None
    assert caught.value.judged.op == "exp"


# -- options, blocks within blocks, threads --------------------------------------------------------


def test_every(first, shadow):
    with shadow(every=4) as seen:
        x = tensor([1.0, 2.0])
        for _ in range(9):
            x = x * 1.5
        x + 1.0
    assert (seen.ops["multiply"].calls, seen.ops["multiply"].checked) == (9, 3)
    assert (seen.ops["add"].calls, seen.ops["add"].checked) == (1, 1)
    assert "4 of 10 calls checked." in str(seen)


def test_a_fault_between_two_checks_is_not_seen(first, shadow, plant):
    plant(first, "exp", scaled(first))
    with shadow(every=2) as seen:
        x = tensor([1.0])
        with pytest.raises(Disagreement):
            TABLE["exp"](x)
        TABLE["exp"](x)  # the second call passes unchecked
    assert (seen.ops["exp"].calls, seen.ops["exp"].checked) == (2, 1)


def test_the_program_runs_where_the_first_name_says(first, shadow):
    with shadow():
        assert tensor([1.0]).backend is first
        assert refnet.Sequential().backend is first
    assert tensor([1.0]).backend.name == "numpy"


def test_ops_of_the_second_backend_are_compared_with_the_first(first, shadow, plant):
    x = tensor([1.0, 2.0], backend="numpy")
    plant(first, "exp", scaled(first))
    with pytest.raises(Disagreement) as caught, shadow():
        TABLE["exp"](x)
    assert [side.backend for side in caught.value.judged.sides] == ["numpy", first.name]


def test_ops_of_a_third_backend_are_counted(tmp_path):
    class Third(backends.NumPyBackend):
        name, array_type = "third", type("Nothing", (), {})

    third = Third()
    x = refnet.Tensor(np.ones(3, "float32"), third)
    with refnet.shadow("numpy", "loopback", path=tmp_path / "found.safetensors") as seen:
        TABLE["exp"](x)
    assert seen.ops == {}
    assert seen.elsewhere == {"third": 1}
    assert "1 calls ran on third and were NOT checked." in str(seen)


def test_blocks_within_blocks(first, shadow):
    with shadow() as outer:
        x = tensor([1.0]) * 2.0
        with refnet.shadow("numpy", first) as inner:
            x * 2.0
            tensor([1.0]) + 1.0
        x * 3.0
        with outer:  # the same one again
            x * 4.0
        assert watching.get() is not None
    assert watching.get() is None
    assert outer.ops["multiply"].checked == 3
    assert {name: t.checked for name, t in inner.ops.items()} == {"multiply": 1, "add": 1}


def test_a_thread_has_a_shadow_of_its_own(first, shadow):
    seen = shadow()
    with seen:
        x = tensor([1.0, 2.0])
        thread = threading.Thread(target=lambda: x * 2.0)
        thread.start()
        thread.join()
        assert seen.ops == {}
        x * 2.0
    assert seen.ops["multiply"].checked == 1


def test_bad_arguments(tmp_path):
    with pytest.raises(ArgumentError, match="compares two backends, got 'numpy' twice"):
        refnet.shadow("numpy", "numpy")
    with pytest.raises(RefnetError, match="unknown backend 'nmpy'"):
        refnet.shadow("numpy", "nmpy")
    for every in (0, 1.5, True, "2"):
        with pytest.raises(ArgumentError, match="every is a whole number of at least 1"):
            refnet.shadow("numpy", "loopback", every=every)
    with pytest.raises(ArgumentError, match="there is no such folder"):
        refnet.shadow("numpy", "loopback", path=tmp_path / "no" / "x.safetensors")
    assert watching.get() is None
