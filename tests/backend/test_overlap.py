"""What is written may lie in memory that is read: NumPy's rule, on every backend.

As if the right side were read whole before anything is written. A kernel cannot keep that by itself: its
programs run in any order, and so do the threads of one. The values alone do not tell, as the interpreter
runs one program after the other. So each access is looked at too: no lane may read what another writes.
"""

from __future__ import annotations

import contextlib
from math import isqrt

import numpy as np
import pytest

import refnet
from refnet import backend as backends
from refnet.autograd.tensor import Tensor
from refnet.autograd.variable import Variable
from refnet.errors import DTypeError, ShapeError
from refnet.op import TABLE
from refnet.optimizers import SGD, Adam, RMSprop
from refnet.proof.judge import cases_of, inputs_for

TRITON = pytest.mark.triton
WRITING = [op for op in TABLE.values() if op.writes]


# -- memory, and ways to lie in it -------------------------------------------------------------------


def memory(backend, count, seed=0):
    """A vector of float32 numbers between 1/2 and 3/2: NumPy's, or torch's for the backend triton."""
    values = np.random.default_rng(seed).uniform(0.5, 1.5, count).astype("float32")
    return backend.array(values) if backend.name == "triton" else values


def handed(backend, x):
    """A view of `memory` as an array of the backend, in the same place."""
    if backend.name != "loopback":
        return x
    from tests.loopback import own

    return own(x)


def apart(x):
    """The same numbers in memory of their own, without gaps."""
    return x.contiguous().clone() if hasattr(x, "clone") else x.copy()


def seen(x):
    """The numbers as NumPy has them."""
    return np.array(x.cpu().numpy() if hasattr(x, "cpu") else x)


def repeated(x, shape):
    return x.expand(shape) if hasattr(x, "expand") else np.broadcast_to(x, shape)


def other_type(x, name):
    if not hasattr(x, "expand"):
        return x.view(name)
    import torch

    return x.view(getattr(torch, name))


def other_storage(x):
    """The same elements for torch, in what it takes for other memory."""
    if not hasattr(x, "expand"):
        return x.view()
    import torch

    y = torch.from_dlpack(x)
    assert y.untyped_storage()._cdata != x.untyped_storage()._cdata
    assert y.data_ptr() == x.data_ptr()
    return y


def as_type(x, dtype):
    return x.to(dtype) if hasattr(x, "expand") else x.astype(dtype)


def square(x, n):
    return x[: isqrt(n) ** 2].reshape(isqrt(n), isqrt(n))


#: (what is written, what is read), both views of 2 n + 2 numbers
ARRAYS = {
    "one behind": lambda x, n: (x[1 : n + 1], x[:n]),
    "one before": lambda x, n: (x[:n], x[1 : n + 1]),
    "far behind": lambda x, n: (x[n - 1 : 2 * n - 1], x[:n]),
    "one behind, another storage": lambda x, n: (x[1 : n + 1], other_storage(x[:n])),
    "one before, another storage": lambda x, n: (other_storage(x[:n]), x[1 : n + 1]),
    "in place": lambda x, n: (x[:n], x[:n]),
    "in place, another storage": lambda x, n: (x[1 : n + 1], other_storage(x[1 : n + 1])),
    "transposed": lambda x, n: (square(x, n), square(x, n).T),
    "transposed, written": lambda x, n: (square(x, n).T, square(x, n)),
    "every other one, of all": lambda x, n: (x[: 2 * n : 2], x[:n]),
    "every other one, written to all": lambda x, n: (x[:n], x[: 2 * n : 2]),
    "in turns": lambda x, n: (x[: 2 * n : 2], x[1 : 2 * n : 2]),
    "the first row": lambda x, n: (square(x, n), square(x, n)[0]),
    "the last column": lambda x, n: (square(x, n), square(x, n)[:, -1:]),
    "a row, repeated": lambda x, n: (
        square(x, n),
        repeated(square(x, n)[1:2], (isqrt(n), isqrt(n))),
    ),
    "an array of one": lambda x, n: (x[:n], x[n // 2 : n // 2 + 1]),
    "half as wide": lambda x, n: (x[:n], other_type(x, "float16")[:n]),
    "half as wide, written": lambda x, n: (other_type(x, "float16")[1 : n + 1], x[:n]),
    "the other half of each": lambda x, n: (x[:n], other_type(x, "float16")[1 : 2 * n : 2]),
    "integers": lambda x, n: (x[:n], other_type(x, "int32")[:n]),
}
NUMBERS = {
    "the first element": lambda x, n: (x[:n], x[:1].reshape(())),
    "the last element": lambda x, n: (x[:n], x[n - 1 : n].reshape(())),
    "an element of a matrix": lambda x, n: (square(x, n).T, x[1:2].reshape(())),
}


def is_number(op, name):
    """Whether an input is a single number: a learning rate."""
    inputs, _ = inputs_for(op, next(iter(cases_of(op))), "float32")
    return np.shape(inputs[op.inputs.index(name)]) == ()


def is_refused(op, how):
    """Update rules read floats alone (`refnet.op.promotion`); `assign` casts what it reads."""
    return how == "integers" and op.name != "assign"


#: (op, what it writes, what it reads, how the two lie in memory)
CASES = [
    pytest.param(op, written, read, place, id=f"{op.name}-{written}-{read}-{how}")
    for op in WRITING
    for written in op.writes
    for read in op.inputs
    if read not in op.writes
    for how, place in (NUMBERS if is_number(op, read) else ARRAYS).items()
    if not is_refused(op, how)
]
EVERY = pytest.mark.parametrize(("op", "written", "read", "place"), CASES)


def inputs_of(op, backend, given):
    """The inputs of an op: those given by name, and others like the first one that it writes."""
    first = given[next(name for name in op.writes if name in given)]
    shape = tuple(first.shape)

    def make(seed, name):
        if is_number(op, name):
            return memory(backend, 1, seed)[:1].reshape(())
        other = memory(backend, int(np.prod(shape)), seed).reshape(shape)
        return as_type(other, first.dtype) if name in op.writes else other

    return [given[name] if name in given else make(7 + i, name) for i, name in enumerate(op.inputs)]


def results(op, backend, given):
    """What stands in each tensor that an op has written."""
    inputs = inputs_of(op, backend, given)
    with np.errstate(all="ignore"):
        backend.function(op)(*(handed(backend, x) for x in inputs))
    return [seen(inputs[op.inputs.index(name)]) for name in op.writes]


def check(op, backend, written, read, place, n):
    target, source = place(memory(backend, 2 * n + 2), n)
    expected = results(op, backend, {written: apart(target), read: apart(source)})
    assert any(np.isfinite(y).any() for y in expected)
    with racing():
        found = results(op, backend, {written: target, read: source})
    for name, y, ours in zip(op.writes, expected, found, strict=True):
        np.testing.assert_array_equal(ours, y, err_msg=name)


# -- the accesses ------------------------------------------------------------------------------------


@contextlib.contextmanager
def racing():
    """Within the block, a lane that reads a byte which another lane writes is an error.

    A kernel on a GPU is not looked at.
    """
    if not backends.get("triton").interpreted:
        yield
        return
    from refnet_triton.runtime.guard import watched

    launches = []
    with watched(lambda *launch: launches.append([]), lambda access: launches[-1].append(access)):
        yield
    for launch in launches:
        assert not races(launch), (
            f"{races(launch)} bytes are read by one lane and written by another"
        )


def races(accesses):
    """How many bytes of a launch are read by a lane other than the one that writes them."""
    reads, writes = (_bytes([a for a in accesses if a.writes is w]) for w in (False, True))
    if not reads.size or not writes.size:
        return 0
    writes = writes[:, np.argsort(writes[0])]
    found = np.searchsorted(writes[0], reads[0]).clip(max=writes.shape[1] - 1)
    address, writer = writes[:, found]
    return int(((address == reads[0]) & (writer != reads[1])).sum())


def _bytes(accesses):
    """(address of each byte, who touches it). A load of one number for all lanes is nobody's."""
    found = [np.empty((2, 0), int)]
    for access in accesses:
        lanes = np.arange(access.addresses.size) + (access.program << 20)
        if access.addresses.size == 1:
            lanes[:] = -2
        for offset in range(access.bytes):
            found.append(np.stack([access.addresses + offset, lanes])[:, access.active])
    return np.concatenate(found, axis=1)


# -- what is read ------------------------------------------------------------------------------------


def test_every_op_that_writes_is_tried():
    assert {op.name for op in WRITING} == {param.values[0].name for param in CASES}
    assert {op.name for op in WRITING} >= {"assign", "sgd", "momentum", "rmsprop", "adam"}
    assert {(p.values[1], p.values[2]) for p in CASES if p.values[0].name == "adam"} == {
        (written, read) for written in ("theta", "m", "v") for read in ("g", "learning_rate", "t")
    }


@EVERY
def test_as_if_read_before_anything_is_written(op, written, read, place, backend):
    """Interpreted, two programs, and the second one reads what the first one has written."""
    check(op, backend, written, read, place, 25)


@TRITON
@EVERY
def test_in_the_sizes_of_a_gpu(op, written, read, place):
    """A full program and one that is not. The lanes of a program are those of many threads."""
    from refnet_triton.runtime.device import as_on_a_gpu

    with as_on_a_gpu():
        check(op, backends.get("triton"), written, read, place, 1100)


@pytest.mark.parametrize("n", [1000, 200_000])
@pytest.mark.parametrize("how", ARRAYS)
def test_many_numbers(how, n, backend):
    check(TABLE["assign"], backend, "target", "value", ARRAYS[how], n)


@TRITON
@pytest.mark.parametrize("how", ["one behind", "one before", "transposed"])
def test_many_numbers_in_the_sizes_of_a_gpu(how):
    from refnet_triton.runtime.device import as_on_a_gpu

    with as_on_a_gpu():
        check(TABLE["assign"], backends.get("triton"), "target", "value", ARRAYS[how], 200_000)


@TRITON
def test_a_race_is_seen_where_the_values_are_right(torch):
    """The detector: within one program the interpreter reads all before it writes, a GPU does not."""
    from refnet_triton.language.pointwise import Pointwise
    from refnet_triton.ops.optimizers import assign
    from refnet_triton.runtime.device import DEVICE, INTERPRETED

    if not INTERPRETED.value:
        pytest.skip("accesses are looked at in the interpreter")
    x, start = torch.arange(10.0, device=DEVICE), torch.arange(10.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pointwise, "_apart", lambda self, plan, data, tensors: data)
        with pytest.raises(AssertionError, match="32 bytes are read by one lane"), racing():
            assign(x[1:], x[:-1])
    assert torch.equal(x[1:].cpu(), start[:-1])


@TRITON
def test_python_numbers_among_the_inputs(torch):
    """Which tensor overlaps with which is counted without them."""
    from refnet_triton.ops.optimizers import momentum
    from refnet_triton.runtime.device import DEVICE

    start = torch.rand(200, device=DEVICE)
    x, expected = start.clone(), [start[:100].clone(), start[100:].clone()]
    momentum(expected[0], 0.5, expected[1], start[150].clone())
    with racing():
        momentum(x[:100], 0.5, x[100:], x[150])
    assert torch.equal(x, torch.cat(expected))
    with pytest.raises(ShapeError, match="overwrites theta and velocity"):
        momentum(x[:100], 0.5, x[99:199], 0.1)


# -- what is written ---------------------------------------------------------------------------------

SEVERAL = [op for op in WRITING if len(op.writes) > 1]
PAIRS = [
    pytest.param(op, a, b, id=f"{op.name}-{a}-{b}")
    for op in SEVERAL
    for i, a in enumerate(op.writes)
    for b in op.writes[i + 1 :]
]
TOGETHER = [
    "one behind", "one before", "far behind", "one behind, another storage", "in place",
    "in place, another storage", "transposed", "every other one, of all",
]  # fmt: skip
TYPES = ["half as wide", "half as wide, written", "the other half of each", "integers"]


@TRITON
@pytest.mark.parametrize("how", TOGETHER)
@pytest.mark.parametrize(("op", "a", "b"), PAIRS)
def test_two_that_are_written_share_no_element(op, a, b, how):
    triton, n = backends.get("triton"), 1000
    for first, second in ((a, b), (b, a)):
        x = memory(triton, 2 * n + 2)
        before = seen(x)
        target, other = ARRAYS[how](x, n)
        with pytest.raises(
            ShapeError, match=f"{op.name} overwrites {a} and {b}, which share memory"
        ):
            results(op, triton, {first: target, second: other})
        np.testing.assert_array_equal(seen(x), before)


@pytest.mark.parametrize("how", TYPES)
@pytest.mark.parametrize(("op", "a", "b"), PAIRS)
def test_two_that_are_written_are_of_one_type(op, a, b, how, backend):
    x = memory(backend, 52)
    before = seen(x)
    target, other = ARRAYS[how](x, 25)
    with pytest.raises(DTypeError, match=rf"{op.name}: \w+ holds .*cannot be stored|computes with"):
        results(op, backend, {a: target, b: other})
    np.testing.assert_array_equal(seen(x), before)


@TRITON
@pytest.mark.parametrize(("op", "a", "b"), PAIRS)
def test_two_that_are_written_may_take_turns_in_memory(op, a, b):
    """x[::2] and x[1::2], and two columns of a matrix: no element in common."""
    triton = backends.get("triton")
    places = (
        lambda x: (x[::2], x[1::2]),
        lambda x: (x[:999].reshape(333, 3)[:, 0], x[:999].reshape(333, 3)[:, 2]),
    )
    for place in places:
        target, other = place(memory(triton, 1000))
        expected = results(op, triton, {a: apart(target), b: apart(other)})
        found = results(op, triton, {a: target, b: other})
        for y, ours in zip(expected, found, strict=True):
            np.testing.assert_array_equal(ours, y)


@TRITON
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:1].expand(9),
        lambda x: x.unfold(0, 3, 1),
        lambda x: x.unfold(0, 3, 2).T,
        lambda x: x.as_strided((4, 4), (1, 1)),
        lambda x: x.as_strided((2, 3, 4), (3, 4, 1)),
    ],
    ids=["repeated", "windows", "windows, transposed", "all diagonals", "rows that meet"],
)
@pytest.mark.parametrize("op", WRITING, ids=lambda op: op.name)
def test_no_element_is_stored_twice(op, view):
    triton = backends.get("triton")
    for name in op.writes:
        x = memory(triton, 100)
        before = seen(x)
        others = {one: apart(view(x)) for one in op.writes if one != name}
        with pytest.raises(ShapeError, match=f"overwrites {name}|overwrites dst"):
            results(op, triton, {name: view(x), **others})
        np.testing.assert_array_equal(seen(x), before)


@TRITON
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.unfold(0, 3, 3),
        lambda x: x.unfold(0, 3, 5).T,
        lambda x: x[:96].view(4, 2, 12).permute(2, 0, 1)[::3],
        lambda x: x[:96].view(4, 24).diagonal(),
        lambda x: x[:96].view(4, 1, 24)[:, :, ::2],
        lambda x: x.as_strided((4, 1, 3), (3, 2, 1)),
        lambda x: x.as_strided((3, 1), (1, 0)),
        lambda x: x[:0].expand(3, 0),
    ],
    ids=[
        "windows",
        "windows apart",
        "permuted",
        "diagonal",
        "every other one",
        "a step never taken",
        "none",
        "empty",
    ],
)
def test_every_arrangement_without_that_is_written(view):
    triton = backends.get("triton")
    x = memory(triton, 100)
    value = memory(triton, view(x).numel(), 1).reshape(view(x).shape)
    found = results(TABLE["assign"], triton, {"target": view(x), "value": value})
    np.testing.assert_array_equal(found[0], seen(value))


# -- what it costs -----------------------------------------------------------------------------------


def launches(run):
    from refnet_triton.runtime.guard import watched

    names = []
    with watched(lambda kernel, *_: names.append(kernel), lambda access: None):
        run()
    return len(names)


@TRITON
def test_a_copy_is_made_where_it_has_to_be_and_nowhere_else(torch):
    from refnet_triton.ops.optimizers import adam, assign, sgd
    from refnet_triton.runtime.device import DEVICE, INTERPRETED

    if not INTERPRETED.value:
        pytest.skip("launches are counted in the interpreter")
    x = torch.rand(400, device=DEVICE)
    theta, g, m, v = x[:300].view(4, 75).unbind()  # side by side: nothing in common
    assert launches(lambda: adam(theta, g, m, v, x[300], x[301])) == 1
    assert launches(lambda: adam(theta, theta, m, v, 0.1, 1.0)) == 1
    assert launches(lambda: adam(theta, x[:75], m, v, x[0], x[80])) == 2  # x[80] is in g
    assert launches(lambda: adam(theta, x[1:76], m, v, x[0], x[301])) == 3
    rows = x[:40].view(8, 5)
    assert launches(lambda: sgd(rows[:, None], rows.as_strided((8, 1, 5), (5, 7, 1)), 0.1)) == 1
    assert launches(lambda: sgd(rows[None], rows, 0.1)) == 1
    assert launches(lambda: sgd(rows, rows[0], 0.1)) == 2
    assert launches(lambda: sgd(x[:1], x[0], x[0])) == 1  # one element, read before it is written
    assert launches(lambda: assign(x[:10], x[10:20])) == 1
    assert launches(lambda: assign(x[10:20], x[:10])) == 1
    assert launches(lambda: assign(x[:10], x[9:19])) == 2
    assert launches(lambda: assign(x[:0], x[:1])) == 0


@TRITON
def test_an_op_that_does_not_write_looks_at_no_address(torch):
    from refnet_triton.language.pointwise import copy_
    from refnet_triton.ops.elementwise import add
    from refnet_triton.runtime.device import DEVICE

    x = torch.rand(5, device=DEVICE)
    assert add._prepare((x, x), ())[0].meetings == ()
    assert copy_._prepare((x, 1.0), ())[0].meetings == ()
    assert len(copy_._prepare((x, x), ())[0].meetings) == 1


@pytest.mark.gpu
def test_the_copy_is_part_of_a_captured_graph(torch):
    from refnet_triton.ops.optimizers import assign

    start = torch.rand(300, 300, device="cuda")
    x = start.clone()
    assign(x, x.T)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        assign(x, x.T)
    for number in range(3):
        x.copy_(start + number)
        graph.replay()
        assert torch.equal(x, (start + number).T)


# -- what one writes ---------------------------------------------------------------------------------
# What is read from a variable is a copy. A tensor made of its array itself, and a program, have views.


@pytest.mark.parametrize("side", [5, 40, 450])
def test_a_matrix_is_assigned_its_transpose(side, backend):
    values = np.random.default_rng(0).normal(size=(side, side)).astype("float32")
    v = Variable(values, backend=backend)
    v.assign(Tensor(v.known(), backend).T)
    np.testing.assert_array_equal(v.numpy(), values.T)


VALUES = np.random.default_rng(1).normal(size=(36, 40)).astype("float32")
VIEWS = {
    "reshaped and transposed": (lambda v: v.reshape((40, 36)).T, VALUES.reshape(40, 36).T),
    "upside down": (lambda v: v[::-1], VALUES[::-1]),
    "its first row": (
        lambda v: TABLE["broadcast_to"](v[:1], shape=(36, 40)),
        np.broadcast_to(VALUES[0], (36, 40)),
    ),
    "its last column": (
        lambda v: TABLE["broadcast_to"](v[:, -1:], shape=(36, 40)),
        np.broadcast_to(VALUES[:, -1:], (36, 40)),
    ),
    "one of its elements": (
        lambda v: TABLE["broadcast_to"](v[3, 4], shape=(36, 40)),
        np.full((36, 40), VALUES[3, 4]),
    ),
    "itself": (lambda v: v, VALUES),
}


@pytest.mark.parametrize("way", VIEWS)
def test_a_variable_is_assigned_a_view_of_itself(way, backend):
    view, expected = VIEWS[way]
    v = Variable(VALUES, backend=backend)
    v.assign(view(v))
    np.testing.assert_array_equal(v.numpy(), expected)
    for change, sign in (("assign_add", 1), ("assign_sub", -1)):
        v = Variable(VALUES, backend=backend)
        getattr(v, change)(view(v))
        np.testing.assert_array_equal(v.numpy(), VALUES + sign * expected)


@pytest.mark.parametrize("way", VIEWS)
def test_a_session_assigns_a_variable_a_view_of_itself(way, backend):
    view, expected = VIEWS[way]
    with refnet.Graph() as graph:
        v = Variable(VALUES, name="v")
        update = v.assign(view(v))
    session = refnet.Session(graph, backend)
    np.testing.assert_array_equal(session.run(update), expected)
    np.testing.assert_array_equal(session.run(v), expected)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: SGD(0.5), lambda: SGD(0.5, momentum=0.5),
        lambda: SGD(0.5, momentum=0.5, nesterov=True), lambda: RMSprop(0.5), lambda: Adam(0.5),
    ],
    ids=["sgd", "momentum", "nesterov", "rmsprop", "adam"],
)  # fmt: skip
def test_a_gradient_that_is_a_view_of_the_weights(optimizer, backend):
    """∂/∂v of Σ v·vᵀ/2 is vᵀ: a step with the view is the step with a copy of it."""
    made = []
    for gradient in (lambda v: Tensor(v.known(), backend).T, lambda v: v.numpy().T.copy()):
        v = Variable(VALUES[:, :36], backend=backend)
        once = optimizer()
        for _ in range(2):
            once.apply_gradients([(gradient(v), v)])
        made.append(v.numpy().copy())
    np.testing.assert_array_equal(*made)


@TRITON
def test_a_tensor_that_came_by_dlpack(torch):
    """Another library's view of a variable's memory is another storage to torch."""
    v = Variable(VALUES[:, :36], backend="triton")
    v.assign(refnet.from_dlpack(v.known().T, backend="triton"))
    np.testing.assert_array_equal(v.numpy(), VALUES[:, :36].T)
