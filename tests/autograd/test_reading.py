"""What was read from a variable stays what it was, however it was read and however it changes.

Rows of TABLE say which results may lie in the memory of an input; here they are held to it. Then all
that reads (every op, every method and operator of tensors) meets all that writes.
"""

import copy
import inspect
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import refnet
from refnet import backend as backends
from refnet import losses
from refnet.autograd import numpy_functions
from refnet.autograd.backpropagation import gradients
from refnet.autograd.operators import Operators
from refnet.autograd.tensor import Tensor, apply, tensor
from refnet.autograd.variable import Variable
from refnet.callbacks import LambdaCallback
from refnet.errors import CallError, GradientError
from refnet.layers import Activation, Dense, Dropout, Flatten, Input, PReLU, Softmax
from refnet.op import TABLE
from refnet.plan.plan import Plan
from refnet.proof.judge import arrays_for, cases_of, inputs_for
from refnet.training import step as training

VALUES = [[1.0, 2.0], [3.0, 4.0]]
OTHERS = [[10.0, 20.0], [30.0, 40.0]]


@pytest.fixture
def here(backend):
    """Tensors are made on each backend in turn."""
    with backends.use_backend(backend):
        yield backend


def as_tuple(results):
    return results if isinstance(results, tuple) else (results,)


def small(op):
    """(inputs, attributes, layout) of the cases of an op that are computed in no time."""
    drawn = [(*inputs_for(op, case, "float32"), case.layout) for case in cases_of(op)]
    return [row for row in drawn if sum(np.size(x) for x in row[0]) <= 2500]


def of_type(x):
    return "float32" if np.asarray(x).dtype.kind == "f" else None


# -- what the rows say -----------------------------------------------------------------------------


def meet(backend, x, y):
    """Whether two arrays of a backend lie in the same memory."""
    if backend.name == "triton":
        x, y = (a.untyped_storage() for a in (x, y))
        return x.nbytes() > 0 and x.data_ptr() == y.data_ptr()
    x, y = (np.asarray(a).view(np.ndarray) for a in (x, y))
    return np.may_share_memory(x, y) and x.size > 0 and y.size > 0


def _way_to_call(row):
    inputs, attributes, layout = row
    return len({np.shape(x) for x in inputs}), str(attributes), layout


def lying_in(op, backend):
    """The inputs in whose memory results of an op lie, by name."""
    found, rows = set(), small(op)
    if backend.name == "triton":  # interpreted, which takes long: one case for each way to call it
        rows = {_way_to_call(row): row for row in rows}.values()
    for inputs, attributes, layout in rows:
        arrays = arrays_for(backend, inputs, "float32", layout)
        with np.errstate(all="ignore"):
            results = as_tuple(backend.function(op)(*arrays, **attributes))
        given = list(zip(op.names(len(arrays)), arrays, strict=True))
        made = [y for y in results if y is not None]
        found |= {name for name, x in given for y in made if meet(backend, x, y)}
    return found


@pytest.mark.parametrize("op", TABLE.values(), ids=lambda op: op.name)
def test_results_lie_in_the_memory_of_inputs_only_where_the_row_says_so(op, backend):
    assert small(op)
    assert lying_in(op, backend) <= {*op.views, *op.writes}


#: rows whose cases hold none of the views there may be, with one that is
RARE = {"broadcast_to_vjp": (np.ones(3), np.ones(3))}


@pytest.mark.triton
@pytest.mark.parametrize("op", [op for op in TABLE.values() if op.views], ids=lambda op: op.name)
def test_no_row_names_a_view_that_is_none(op):
    found = set().union(*(lying_in(op, backends.get(name)) for name in ("numpy", "triton")))
    if op.name in RARE:
        x = np.ones(3)
        found |= {"g"} if meet(backends.get("numpy"), op(x, np.ones(3), shape=(3,)), x) else set()
    assert set(op.views) <= found


def test_what_a_row_names_is_an_input():
    for op in TABLE.values():
        assert set(op.views) <= set(op.inputs), op.name
        assert set(op.writes) <= set(op.inputs), op.name
        assert not op.writes or op.outputs == op.writes, op.name  # a plan counts on it


# -- every op --------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", TABLE.values(), ids=lambda op: op.name)
def test_results_stay_when_the_inputs_are_assigned(op, here):
    for inputs, attributes, _ in small(op)[:4]:
        given = [Variable(x, of_type(x)) for x in inputs]
        with np.errstate(all="ignore"):
            results = as_tuple(apply(op, given, attributes))
        before = [y.numpy().tobytes() for y in results if y.value is not None]
        for x in given:
            x.assign(np.full(x.shape, 1, x.numpy().dtype))
        assert [y.numpy().tobytes() for y in results if y.value is not None] == before


@pytest.mark.parametrize(
    "op", [op for op in TABLE.values() if op.gradient and op.wrt], ids=lambda op: op.name
)
def test_gradients_after_an_assignment_are_those_of_before_or_an_error(op, here):
    """Both of what reads the variable itself and of what reads a view of it."""
    for inputs, attributes, _ in small(op)[:3]:
        leaves = [Variable(x, of_type(x)) for x in inputs]
        views = [x.reshape(x.shape) for x in leaves]
        with np.errstate(all="ignore"):
            results = [as_tuple(apply(op, given, attributes))[0] for given in (leaves, views)]
            named = zip(op.names(len(leaves)), leaves, strict=True)
            leaves = [x for name, x in named if name != "targets"]  # of which there are none
            expected = [None if g is None else g.numpy() for g in gradients(results[0], leaves)]
            for x in leaves:
                x.assign(np.full(x.shape, 1, x.numpy().dtype))
            found = [None if g is None else g.numpy() for g in gradients(results[1], leaves)]
            np.testing.assert_equal(found, expected)
            try:
                found = [None if g is None else g.numpy() for g in gradients(results[0], leaves)]
            except GradientError as error:
                assert "has been assigned since" in str(error)
            else:
                np.testing.assert_equal(found, expected)


# -- every method and operator ---------------------------------------------------------------------

OTHER_TENSOR = object()  # stands for a tensor of the variable's shape
ARGUMENTS = {
    "__format__": [("",)],
    "__getitem__": [(0,), (...,), (None,), (slice(None),), ((slice(None), 1),), ([1, 0],)],
    "__array__": [(), ("float64",), ("float32", True)],
    "astype": [("float32",), ("float64",)],
    "clip": [(), (0.0, 9.0)],
    "expand_dims": [(0,), (-1,)],
    "reshape": [(4,), ((1, 4),), (2, -1)],
    "split": [(2,), (1,), ([1], 1)],
    "swapaxes": [(0, 1)],
    "transpose": [(), (1, 0)],
}
#: what returns no value of the tensor or a Python number; `known`, the array itself, for who asks for it
NO_READS = {
    "backward",
    "known",
    "named",
    "backend",
    "grad",
    "graph",
    "index",
    "key",
    "name",
    "node",
}
NO_READS |= {"symbol", "value", "shape", "dtype", "spec", "ndim", "size"}
NO_READS |= {
    "item",
    "__init__",
    "__hash__",
    "__bool__",
    "__index__",
    "__int__",
    "__float__",
    "__len__",
}
NO_READS |= {"__setitem__", "__dlpack_device__", "__dlpack__", "__refnet_apply__", "__getstate__"}
NO_READS |= {"__array_ufunc__", "__array_function__"}  # NumPy's functions: see below
READERS = sorted(
    name
    for kind in (Operators, Tensor)
    for name, what in vars(kind).items()
    if name not in NO_READS
    and (callable(what) or isinstance(what, property) or inspect.isdatadescriptor(what))
    and (not name.startswith("_") or name.startswith("__"))
    and name not in ("__weakref__",)
)


def calls(name, w):
    """What a method of a tensor returns, for each of the arguments to try."""
    if isinstance(getattr(type(w), name), property):
        yield getattr(w, name)
        return
    method = getattr(w, name)
    required = [
        p
        for p in inspect.signature(method).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    if name in ("__and__", "__or__", "__xor__", "__rand__", "__ror__", "__rxor__"):
        yield getattr(w > 2.0, name)(w > 3.0)
    elif name == "__invert__":
        yield ~(w > 2.0)
    else:
        others = [(2.0,), (tensor(VALUES),)][name in ("__matmul__", "__rmatmul__") :]
        default = others if [p.name for p in required] == ["other"] else [()]
        for arguments in ARGUMENTS.get(name, default):
            yield method(*arguments)


def frozen(value):
    """All the numbers in what was read, as they are now."""
    if isinstance(value, Tensor):
        return value.numpy().tolist()
    if isinstance(value, (list, tuple)):
        return [frozen(x) for x in value]
    if isinstance(value, (str, float)):
        return value
    return np.array(backends.backend_of(value).numpy(value)).tolist()


@pytest.mark.parametrize("name", READERS)
def test_what_a_method_or_operator_read_stays(name, here):
    w = Variable(VALUES, name="w")
    read = [list(x) if name == "__iter__" else x for x in calls(name, w)]
    before = [frozen(x) for x in read]
    assert read and str(before) != "[]"
    w.assign(OTHERS)
    assert [frozen(x) for x in read] == before


def read_by_numpy(w):
    """What NumPy's functions make of a variable alone, by name."""
    known = numpy_functions
    names = {*TABLE, *known.ALIASES, *known.BY_HAND, *known.METHODS, *known.ABOUT_VALUES}
    found = {"broadcast_to": np.broadcast_to(w, (3, 2, 2)), "reshape": np.reshape(w, (4,))}
    for name in sorted(names):
        try:
            found[name] = getattr(np, name)(w)
        except (AttributeError, TypeError, CallError):  # np lacks it, or it takes more than w
            continue
    return {name: y for name, y in found.items() if isinstance(y, (Tensor, np.ndarray, list))}


def test_what_numpy_s_functions_read_stays(here):
    w = Variable(VALUES)
    read = read_by_numpy(w)
    assert {"positive", "transpose", "squeeze", "ravel", "exp"} <= {*read}
    before = {name: frozen(y) for name, y in read.items()}
    w.assign(OTHERS)
    assert {name: frozen(y) for name, y in read.items()} == before


def test_numpy_gets_the_memory_of_a_tensor_and_none_of_a_variable(here):
    for copied in (None, True):
        assert np.array(Variable([1.0, 2.0]), copy=copied).tolist() == [1.0, 2.0]
        assert np.array(tensor([1.0, 2.0]), copy=copied).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="variable 'w' may change"):
        np.array(Variable([1.0, 2.0], name="w"), copy=False)
    if here.name == "numpy":
        x = tensor([1.0, 2.0])
        assert np.shares_memory(np.array(x, copy=False), x.value)
        with pytest.raises(ValueError, match="copy"):
            np.array(x, "float64", copy=False)


READS = {
    "numpy": lambda w: w.numpy(),
    "asarray": lambda w: np.asarray(w),
    "read": lambda w: w.read(),
    "detach": lambda w: w.detach(),
    "tensor": lambda w: tensor(w),
    "Variable": lambda w: Variable(w),
    "copy": lambda w: copy.copy(w),
    "from_dlpack": lambda w: refnet.from_dlpack(w),
    "rows": lambda w: list(w),
    "w[:]": lambda w: w[:],
    "w.T": lambda w: w.T,
    "flatten": lambda w: w.flatten(),
    "identity": lambda w: TABLE["identity"](w),
    "view of a view": lambda w: w.T[0].reshape(1, 2),
    "gradient": lambda w: _gradient_through_views(w),
}


def _gradient_through_views(w):
    x = tensor(np.ones(w.shape, "float32"))
    return [*gradients(x, [x], w), *gradients(x.T.T, [x], w), *gradients(x + 1.0, [x], w)]


# -- every way to write ----------------------------------------------------------------------------


def network(backend):
    model = refnet.Sequential([Input((2,)), Dense(2, name="first"), Dense(1, name="last")])
    model.compile(optimizer=refnet.optimizers.Adam(0.1), loss="mse")
    model.to(backend)
    model.train_on_batch(
        [[1.0, 2.0]], [[1.0]]
    )  # the first is recorded, those that follow are planned
    return model


X, Y = [[1.0, 2.0], [0.5, -1.0]], [[3.0], [1.0]]


def assign_in_session(model, w):
    with refnet.Graph() as graph:
        x = refnet.placeholder((2, 2))
        new = w.assign(w + x)
    refnet.Session(graph, model.backend).run(new, {x: np.ones((2, 2))})


def minimized(model, w):
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 2))
        train = refnet.optimizers.SGD(0.1).minimize((model(x) ** 2).sum())
    refnet.Session(graph, model.backend).run(train, {x: X})


WRITES = {
    "assign": lambda model, w: w.assign(OTHERS),
    "assign_add": lambda model, w: w.assign_add(1.0),
    "assign_sub": lambda model, w: w.assign_sub(1.0),
    "theta.assign": lambda model, w: model.parameters.theta.assign_add(1.0),
    "layer.set_weights": lambda model, w: model.layers[1].set_weights([OTHERS, [0, 0]]),
    "model.set_weights": lambda model, w: model.set_weights([a + 1 for a in model.get_weights()]),
    "apply_gradients": lambda model, w: model.optimizer.apply_gradients([(np.ones((2, 2)), w)]),
    "fit": lambda model, w: model.fit(X, Y, batch_size=1, verbose=0),
    "train_on_batch": lambda model, w: model.train_on_batch([[1.0, 2.0]], [[5.0]]),
    "session": assign_in_session,
    "minimize": minimized,
}


def weight_of(model):
    return next(w for w in model.weights if w.name == "first/kernel")


@pytest.mark.parametrize("how", WRITES)
def test_what_was_read_from_a_weight_stays(how, here):
    model = network(here)
    w = weight_of(model)
    WRITES[how](model, w)  # once before, so that plans are made
    w.assign(VALUES)
    read = {name: reads(w) for name, reads in READS.items()}
    before = {name: frozen(value) for name, value in read.items()}
    was, loss, whole = w.numpy(), (w * w).sum(), (model.parameters.theta**2).sum()
    through_a_view = (w[:] ** 2).sum()
    WRITES[how](model, w)
    assert (w.numpy() != was).any()
    assert {name: frozen(value) for name, value in read.items()} == before
    np.testing.assert_array_equal(gradients(through_a_view, w).numpy(), 2 * was)
    with pytest.raises(GradientError, match="'first/kernel', which has been assigned since"):
        gradients(loss, w)
    with pytest.raises(GradientError, match="'theta', which has been assigned since"):
        gradients(whole, model.parameters.theta)


def test_another_weight_may_change(here):
    model = network(here)
    w, bias = model.weights[:2]
    loss = (w * w).sum()
    bias.assign([5.0, 5.0])
    np.testing.assert_array_equal(gradients(loss, w).numpy(), 2 * w.numpy())


def test_a_callback_sees_the_weights_change(here):
    model = network(here)
    w, seen, copies = weight_of(model), [], []

    def look(*_):
        seen.append((w.numpy(), w.T, w[0], np.asarray(w)))
        copies.append(np.array(w.numpy()))

    model.fit(
        X, Y, batch_size=1, epochs=2, verbose=0, callbacks=[LambdaCallback(on_train_batch_end=look)]
    )
    assert all((a != b).any() for a, b in itertools.pairwise(copies)) and len(copies) == 4
    for (whole, turned, row, array), then in zip(seen, copies, strict=True):
        assert whole.tolist() == array.tolist() == then.tolist()
        assert (
            turned.numpy().T.tolist() == then.tolist() and row.numpy().tolist() == then[0].tolist()
        )


def test_an_update_rule_s_result_stays(here):
    w, g, rate = Variable([4.0, 8.0]), tensor([1.0, 1.0]), tensor(1.0)
    path = [TABLE["sgd"](w, g, rate) for _ in range(3)]
    assert [t.numpy().tolist() for t in path] == [[3, 7], [2, 6], [1, 5]]


@pytest.mark.parametrize("op", [op for op in TABLE.values() if op.writes], ids=lambda op: op.name)
def test_an_update_rule_changes_no_plain_tensor(op, here):
    for inputs, attributes, _ in small(op)[:2]:
        given = [tensor(x, of_type(x)) for x in inputs]
        before = [x.numpy().tobytes() for x in given]
        results = as_tuple(apply(op, given, attributes))
        arrays = [here.array(x.known()) for x in given]
        planned = Plan(given, results)(*arrays)
        for kept in (given, [Tensor(a, here) for a in arrays]):
            assert [x.numpy().tobytes() for x in kept] == before
        for y, z in zip(results, planned, strict=True):
            assert y.numpy().tobytes() == here.numpy(z).tobytes()


# -- where memory is shared on purpose -------------------------------------------------------------


def test_a_variable_takes_no_part_in_the_memory_it_was_made_from(here):
    array = np.array(VALUES, "float32")
    given = [array, tensor(array), here.array(array), np.asarray(array).view()]
    made = [*(Variable(x) for x in given), *(tensor(x) for x in given)]
    array[:] = 0
    assert all(x.numpy().tolist() == VALUES for x in made)
    source = tensor(VALUES)
    Variable(source).assign(OTHERS)
    assert source.numpy().tolist() == VALUES


def test_a_deep_copy_of_a_weight_is_a_variable_of_its_own(here):
    model = network(here)
    w = weight_of(model)
    for made in (copy.copy(w), copy.deepcopy(w), weight_of(copy.deepcopy(model))):
        assert made.overlaps == ()
        loss, was = (w * w).sum(), w.numpy()
        made.assign(OTHERS)
        assert w.numpy().tolist() == was.tolist()
        assert gradients(loss, w).numpy().tolist() == (2 * was).tolist()


def test_dlpack_exports_a_copy_of_a_variable(backend):
    if backend.name == "loopback":
        pytest.skip("its arrays are let out by no other door than `numpy`")
    w = Variable(VALUES, backend=backend)
    theirs = backend.from_dlpack(w)
    memory = backend.from_dlpack(w.known())  # asked for
    w.assign(OTHERS)
    assert backend.numpy(theirs).tolist() == VALUES
    assert backend.numpy(memory).tolist() == OTHERS
    plain = tensor(VALUES, backend=backend)
    assert meet(backend, backend.from_dlpack(plain), plain.known())


# -- graphs and sessions ---------------------------------------------------------------------------

VIEWS = {
    "index": lambda w: w[:, 1],
    "reshape": lambda w: w.flatten(),
    "transpose": lambda w: w.T,
    "identity": lambda w: TABLE["identity"](w),
    "broadcast_to": lambda w: TABLE["broadcast_to"](w, shape=(3, 2, 2)),
    "cast": lambda w: w.astype("float32"),
    "gather": lambda w: w[refnet.tensor(1, backend=w.backend)],
    "sum": lambda w: w.sum(axis=()),
    "mean": lambda w: w.mean(axis=()),
    "max": lambda w: w.max(axis=()),
    "min": lambda w: w.min(axis=()),
    "sum_to": lambda w: TABLE["sum_to"](w, shape=(2, 2)),
}


def test_all_views_are_tried_in_graphs():
    assert set(VIEWS) == {op.name for op in TABLE.values() if op.views and op.primal is None}


@pytest.mark.parametrize("outside", [False, True], ids=["a session's", "outside"])
@pytest.mark.parametrize("name", VIEWS)
def test_a_session_shows_what_was_read_before_the_assignment(name, outside, backend):
    view, outer = VIEWS[name], Variable(VALUES, backend=backend)
    expected = view(Variable(VALUES)).numpy().tolist()
    with refnet.Graph() as graph:
        w = outer if outside else Variable(VALUES)
        one = refnet.placeholder(())
        before = view(w)
        further = before * 1.0
        new = w.assign(w * 10.0 * one)
        used = before + 0.0 * one
        after = view(w)
    session = refnet.Session(graph, backend)
    fetches = [before, further, used, new, w, after]
    old, older, oldest, now, same, later = session.run(fetches, {one: 1.0})
    assert old.tolist() == older.tolist() == oldest.tolist() == expected
    assert now.tolist() == same.tolist() == OTHERS
    assert later.tolist() == view(Variable(OTHERS)).numpy().tolist()
    assert session.run(used, {one: 1.0}).tolist() == later.tolist()


def test_gradients_of_views_go_the_same_way(backend):
    """A gradient may be a view of what arrives, and what arrives a variable."""
    x = tensor(VALUES, backend=backend)
    w = Variable(VALUES, backend=backend)
    with refnet.Graph() as graph:
        one = refnet.placeholder((2, 2))
        waiting = x * one
        through = [waiting, waiting.T.T, waiting + 1.0, waiting.flatten().reshape(2, 2)]
        dx = [gradients(y, waiting, w) for y in through]
        new = w.assign(w * 10.0 * one)
        used = [d * one for d in dx]
    results = refnet.Session(graph, backend).run([*dx, *used, new], {one: np.ones((2, 2))})
    assert [r.tolist() for r in results] == [VALUES] * 8 + [OTHERS]


def test_runs_of_a_session_give_values_that_stay(backend):
    with refnet.Graph() as graph:
        w = Variable(VALUES)
        turned, new = w.T, w.assign_add(1.0)
    session = refnet.Session(graph, backend)
    seen = [session.run([w, turned, new]) for _ in range(3)]
    assert [row[0][0, 0] for row in seen] == [2, 3, 4]  # a variable: as it is at the end
    assert [row[1][0, 0] for row in seen] == [1, 2, 3]
    assert [row[2][0, 0] for row in seen] == [2, 3, 4]


def test_a_graph_s_gradient_reads_the_variable_its_op_has_read(backend):
    with refnet.Graph() as graph:
        w = Variable([1.0, 2.0], name="w")
        loss, shifted = (w * w).sum(), (w + 3.0).sum()
        early = gradients(loss, w)
        reset = w.assign([10.0, 20.0])
        late, fine = gradients(loss, w), gradients(shifted, w)
    session = refnet.Session(graph, backend)
    assert session.run([late])[0].tolist() == [2, 4]
    assert session.run([early, fine, reset])[0].tolist() == [2, 4]
    with pytest.raises(GradientError, match="variable 'w' as it was when the result was computed"):
        session.run([late, reset])


def test_a_comparison_computes_what_a_session_would(backend):
    with refnet.Graph() as graph:
        w, x = Variable(VALUES), refnet.placeholder((2, 2))
        before = w.astype("float32")
        new = w.assign(x)
        used = before + x
    found = refnet.Session(graph).compare(backend, [new, used], {x: np.array(OTHERS)})
    assert found.ok and found.first_difference is None


# -- plans -----------------------------------------------------------------------------------------


@pytest.fixture
def plans(monkeypatch):
    """The plans that steps of models make from now on."""
    made = []

    class Kept(Plan):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(training, "Plan", Kept)
    return made


def trained(model, x, y, **compiled):
    model.compile(**compiled)
    for _ in range(2):
        model.train_on_batch(x, y)
    return model


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_a_step_of_training_copies_nothing(plans, optimizer):
    layers = [
        Flatten(input_shape=(2, 2)),
        Dense(3, kernel_regularizer="l2"),
        PReLU(),
        Dropout(0.5),
        Dense(2),
        Softmax(),
    ]
    x, y = np.ones((4, 2, 2)), np.array([0, 1, 1, 0])
    loss = "sparse_categorical_crossentropy"
    model = trained(refnet.Sequential(layers), x, y, optimizer=optimizer, loss=loss)
    model.evaluate(x, y, verbose=0)
    model.predict(x)
    assert len(plans) == 3
    assert not any("copy(" in plan.source for plan in plans)


def test_the_step_on_the_page_about_the_architecture(plans):
    page = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"
    (printed,) = re.findall(r"```\n(def plan.*?)```", page.read_text(encoding="utf-8"), re.S)
    layers = [Dense(128, "relu", input_shape=(64,)), Dense(10, "softmax")]
    loss = "sparse_categorical_crossentropy"
    trained(
        refnet.Sequential(layers), np.ones((32, 64)), np.zeros(32, int), optimizer="adam", loss=loss
    )
    lines = [line for line in plans[0].source.splitlines() if not line.strip().startswith("del ")]
    assert lines == printed.splitlines()


def test_a_plan_copies_what_is_looked_at_after_the_assignment():
    w, x = Variable([1.0, 2.0]), tensor([5.0, 5.0])
    early, late, back = w[::-1], w[:], w[:1]
    sums = early + x  # used up before
    new = apply(TABLE["assign"], (w, x))
    plan = Plan([x], [late * x, sums, back], [new])
    used_after = re.findall(r"(v\d+) = index\(c\d+, key=(?!slice\(None, None, -1)", plan.source)
    assert re.findall(r"(v\d+) = copy\(\1\)", plan.source) == used_after
    w.assign([1.0, 2.0])
    for expected in ([[5, 10], [7, 6], [1]], [[25, 25], [10, 10], [5]]):
        assert [y.tolist() for y in plan(np.array([5.0, 5.0], "float32"))] == expected


def test_weights_are_written_through_theta_and_theta_through_them():
    model = network(backends.get("numpy"))
    w, theta = weight_of(model), model.parameters.theta
    for read, written in ((w, theta), (theta, w)):
        view = read[:]
        after = view + 0.0
        new = apply(TABLE["assign"], (written, written * 2.0))
        again = view * 1.0
        assert "= copy(" in Plan([], [again], [new]).source
        assert "= copy(" not in Plan([], [after], [new]).source


class Detaching(Dense):
    """y = x W + b, where gradients stop at what is named."""

    def __init__(self, units, stops, **common):
        super().__init__(units, **common)
        self.stops = stops

    def call(self, x, training=False):
        kernel = self.kernel.detach() if self.stops == "kernel" else self.kernel
        x = (x * 1.0).detach() if self.stops == "x" else x
        return x @ kernel + self.bias


@pytest.mark.filterwarnings("ignore:.*no gradient to")  # as it should be
@pytest.mark.parametrize("stops", ["kernel", "x"])
def test_what_is_detached_is_computed_anew_by_each_step(stops, here):
    first = Dense(2, use_bias=False)
    model = refnet.Sequential([Input((2,)), first, Detaching(1, stops)]).to(here)
    model.compile(optimizer=refnet.optimizers.SGD(0.5), loss="mse")
    first.kernel.assign(np.eye(2))
    kernel = model.layers[-1].kernel
    for scale in (1.0, 2.0, 3.0):
        kernel.assign([[scale], [0.0]])
        assert model.predict([[scale, 1.0]]).item() == scale**2
    for _ in range(3):
        before = [w.numpy() for w in (first.kernel, kernel)]
        model.train_on_batch([[1.0, 1.0]], [[0.0]])
        moved = [
            (w.numpy() != b).any() for w, b in zip((first.kernel, kernel), before, strict=True)
        ]
        assert moved == [stops == "kernel", stops == "x"]


def test_what_is_detached_has_no_history():
    w = Variable(VALUES)
    x = w.detach()
    assert x.node is None and (w * 2.0).detach().node is None
    (x * w).sum().backward()
    assert w.grad.tolist() == x.grad.tolist() == VALUES
    assert gradients(w.detach().sum(), [w]) == [None]


def test_what_a_step_returns_stays(here):
    class Bare(Dense):
        def call(self, x, training=False):
            return self.kernel

        def compute_output_shape(self, shape):
            return (2, 2)

    model = refnet.Sequential([Input((2,)), Bare(2)]).to(here)
    step = training.prediction_step(model)
    results = []
    for value in (1.0, 2.0, 3.0):
        model.weights[0].assign(np.full((2, 2), value))
        (y,) = step(np.ones((2, 2), "float32"))
        results.append(y)
    assert [here.numpy(y)[0, 0] for y in results] == [1, 2, 3]


# -- what a loss traces back to --------------------------------------------------------------------

BINARY = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
ONE_HOT = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
LOSSES = [
    ("sigmoid", losses.BinaryCrossentropy, BINARY),
    ("softmax", losses.CategoricalCrossentropy, ONE_HOT),
    ("softmax", losses.SparseCategoricalCrossentropy, [0, 1, 0]),
]
MODELS = {
    "fused": lambda f: [Dense(3, "tanh", input_shape=(2,)), Dense(2, f)],
    "a layer of its own": lambda f: [Dense(2, input_shape=(2,)), Activation(f)],
    "of a weight": lambda f: [OfWeight(f, input_shape=(2,))],
}


class OfWeight(refnet.layers.Layer):
    """The activation of a weight itself, whatever x is."""

    def __init__(self, f, **common):
        super().__init__(**common)
        self.f = f

    def make_weights(self, input_shape):
        self.scores = self.add_weight((3, 2))

    def call(self, x):
        return TABLE[self.f](self.scores)


@pytest.mark.parametrize("change", ["model.set_weights", "assign", "theta.assign"])
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("activation", "loss", "y"), LOSSES)
def test_a_loss_is_that_of_the_prediction_it_was_given(activation, loss, y, kind, change, here):
    model = refnet.Sequential(MODELS[kind](activation)).to(here)
    p = model([[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]])
    expected = loss()(y, p.numpy()).item()
    same = loss()(y, p).item()
    last = model.weights[0 if kind == "of a weight" else -2]
    {
        "model.set_weights": lambda: model.set_weights([a + 3 for a in model.get_weights()]),
        "assign": lambda: last.assign(last.numpy() * 5 + 1),
        "theta.assign": lambda: model.parameters.theta.assign(
            model.parameters.theta.numpy() * 5 + 1
        ),
    }[change]()
    np.testing.assert_allclose([same, loss()(y, p).item()], expected, rtol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("activation", "loss", "y"), LOSSES)
def test_a_loss_in_a_graph_is_that_of_the_prediction_it_was_given(
    activation, loss, y, fused, backend
):
    if fused and activation == "softmax":
        pytest.skip("linear computes no softmax")
    x = [[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]]
    with refnet.Graph() as graph:
        kernel, bias = Variable(np.eye(2), "float32"), Variable([0.0, 1.0])
        data = refnet.placeholder((3, 2))
        if fused:
            p = TABLE["linear"](data, kernel, bias, activation=activation)[0]
        else:
            p = TABLE[activation](data @ kernel + bias)
        new = kernel.assign(kernel * 10.0)
        late = loss()(y, p)
    found, _, outputs = refnet.Session(graph, backend).run([late, new, p], {data: x})
    np.testing.assert_allclose(found, loss()(y, outputs), rtol=1e-5)
