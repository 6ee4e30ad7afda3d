"""x[key] is what NumPy says it is: for thousands of random keys, values, shapes, errors and gradients.

After that: what is said about a key that does not fit, what the kernels promise beyond NumPy, and the
methods that only rearrange or compose.
"""

import numpy as np
import pytest

from refnet import backend as backends
from refnet.autograd.backpropagation import gradients
from refnet.autograd.tensor import tensor
from refnet.autograd.variable import Variable
from refnet.errors import ArgumentError, BackendError, DTypeError, RefnetError, ShapeError
from refnet.graph.graph import Graph, placeholder
from refnet.graph.session import Session
from refnet.ops import TABLE

SHAPES = [(), (1,), (5,), (0,), (4, 3), (1, 6), (3, 0), (2, 3, 4), (3, 1, 2), (2, 3, 2, 3)]
COMMON = [(), (1,), (3,), (2, 3), (2, 1), (0,), (3, 0)]
COUNTS = {"numpy": 8000, "loopback": 4000, "triton": 200}


@pytest.fixture
def here(backend):
    """Each backend in turn, as the current one."""
    with backends.use_backend(backend):
        yield backend


# -- random keys ---------------------------------------------------------------------------------


def random_key(rng, shape):
    """A key for an array of this shape, as NumPy takes it. Some do not fit, on purpose."""
    common = COMMON[rng.integers(len(COMMON))]
    kinds = ["int", "slice", "slice", "None", "array", "array", "list", "mask", "bool", "number"]
    parts, axis, dots = [], 0, rng.random() < 0.3
    while axis < len(shape) + (rng.random() < 0.05):
        if rng.random() < 0.15:
            break
        kind = kinds[rng.integers(len(kinds))]
        if dots and rng.random() < 0.4:
            parts.append(...)
            dots, axis = rng.random() < 0.03, axis + rng.integers(0, 3)
        elif kind in ("None", "bool"):
            if rng.random() < 0.4:
                parts.append(None if kind == "None" else bool(rng.random() < 0.7))
        else:
            part, axes = random_part(rng, kind, shape[axis:], common)
            parts.append(part)
            axis += axes
    return parts[0] if len(parts) == 1 and rng.random() < 0.5 else tuple(parts)


def random_part(rng, kind, lengths, common):
    """(a part of a key, for how many axes it is)"""
    n = lengths[0] if lengths else 1
    far = n + (rng.random() < 0.04)  # one beyond the end, seldom
    if kind == "slice":
        ends = [None if rng.random() < 0.4 else int(rng.integers(-n - 2, n + 3)) for _ in range(2)]
        step = [None, 1, 2, -1, -2, -3, 3, 0][rng.choice(8, p=[0.3, *[0.115] * 6, 0.01])]
        return slice(*ends, step), 1
    if kind == "mask":
        axes = int(rng.integers(0, min(3, len(lengths)) + 1))
        wrong = rng.random() < 0.03
        return rng.random(tuple(m + wrong for m in lengths[:axes])) < 0.5, axes
    if kind in ("int", "number"):
        i = int(rng.integers(-max(far, 1), max(far, 1)))
        return (i if kind == "int" else np.array(i, "int32")), 1
    if rng.random() < 0.03:
        common = (7,)
    keep = int(rng.integers(0, len(common) + 1))
    mine = tuple(1 if rng.random() < 0.2 else m for m in common[len(common) - keep :])
    if n == 0:
        mine = tuple(0 if m == common[i] else m for i, m in enumerate(mine)) or (0,)
    array = rng.integers(-max(far, 1), max(far, 1), mine)
    if kind == "list":
        return array.tolist(), 1
    return array.astype(rng.choice(["int64", "int32", "int16"])), 1


def with_tensors(rng, key):
    """The same key, some of its arrays tensors of the current backend.

    Numbers stay: a position that is data counts only where something is picked, as that of an array.
    """
    if isinstance(key, tuple):
        return tuple(with_tensors(rng, part) for part in key)
    array = isinstance(key, np.ndarray) and (key.ndim or key.dtype == bool)
    return tensor(key) if array and rng.random() < 0.6 else key


def outcome(take):
    """What an indexing gives, or that it fails. On a GPU that is known when it has been waited for."""
    try:
        found = take()
        backends.current().synchronize()
        return found
    except (RefnetError, IndexError, TypeError, ValueError) as error:
        return error


def test_random_keys(here):
    rng = np.random.default_rng(7)
    kept, failed, empty = 0, 0, 0
    for number in range(COUNTS[here.name]):
        shape = SHAPES[rng.integers(len(SHAPES))]
        values = rng.normal(size=shape)
        key = random_key(rng, shape)
        expected = outcome(lambda: np.asarray(values[key]))  # noqa: B023
        x = tensor(values)
        y = outcome(lambda: x[with_tensors(rng, key)])  # noqa: B023
        told = f"{number}: {key!r} of {shape}"
        if isinstance(expected, Exception):
            assert isinstance(y, RefnetError), f"{told}: {y!r}, NumPy says {expected!r}"
            failed += 1
            continue
        assert not isinstance(y, Exception), f"{told}: {y!r}"
        assert y.shape == expected.shape, told
        assert y.backend is here and y.dtype == "float64"
        assert y.numpy().tobytes() == expected.tobytes(), told
        g = rng.integers(-8, 9, expected.shape).astype("float64")  # sums of these are exact
        dx = np.zeros(shape)
        np.add.at(dx, key, g)
        (found,) = gradients(y, [x], upstream=tensor(g))
        assert found.numpy().tobytes() == dx.tobytes(), told
        kept, empty = kept + 1, empty + (expected.size == 0)
    assert kept > 0.6 * COUNTS[here.name] and failed > 0.02 * COUNTS[here.name] and empty < kept / 2


def waiting(rng, key, feed):
    """The same key, its arrays placeholders of open lengths, whose values go into `feed`."""
    if isinstance(key, tuple):
        return tuple(waiting(rng, part, feed) for part in key)
    if not isinstance(key, np.ndarray) or not (key.ndim or key.dtype == bool):
        return key
    hole = placeholder((None,) * key.ndim, str(key.dtype), name=f"key_{len(feed)}")
    feed[hole] = key
    return hole


def test_random_keys_in_a_graph(here):
    """Nothing is known of any length until the graph runs; what does not fit is found out then."""
    rng = np.random.default_rng(8)
    kept = 0
    for number in range(COUNTS[here.name] // 10):
        shape = SHAPES[rng.integers(len(SHAPES))]
        values, key = rng.normal(size=shape), random_key(rng, shape)
        expected = outcome(lambda: np.asarray(values[key]))  # noqa: B023
        with Graph():
            x = placeholder((None,) * len(shape), "float64", name="x")
            feed = {x: values}

            def run():
                y = x[waiting(rng, key, feed)]  # noqa: B023
                return y, Session().run([y, gradients(y, x)], feed)  # noqa: B023

            found = outcome(run)
        told = f"{number}: {key!r} of {shape}"
        if isinstance(expected, Exception):
            nothing = isinstance(found, tuple) and found[1][0].size == 0
            assert isinstance(found, RefnetError) or nothing, f"{told}: {found!r}"
            continue
        assert isinstance(found, tuple), f"{told}: {found!r}"
        y, (result, slope) = found
        assert len(y.shape) == expected.ndim, told
        assert all(n in (None, m) for n, m in zip(y.shape, expected.shape, strict=True)), told
        assert result.shape == expected.shape and result.tobytes() == expected.tobytes(), told
        dx = np.zeros(shape)
        np.add.at(dx, key, 1.0)
        assert slope.tobytes() == dx.tobytes(), told
        kept += 1
    assert kept > 0.6 * COUNTS[here.name] // 10


# -- keys by hand --------------------------------------------------------------------------------

X = np.arange(12.0, dtype="float32").reshape(4, 3) - 5


def test_masks_by_comparison(here):
    x = tensor(X)
    for mine, numpys in (
        (x > 0, X > 0),
        ((x > -3) & (x < 2), (X > -3) & (X < 2)),
        ((x < -3) | (x > 2), (X < -3) | (X > 2)),
        (~(x > 0), ~(X > 0)),
        ((x > 0) ^ (x > 2), (X > 0) ^ (X > 2)),
    ):
        assert mine.dtype == "bool" and mine.numpy().tolist() == numpys.tolist()
        assert x[mine].numpy().tolist() == X[numpys].tolist()
    for wrong in (lambda: x & (x > 0), lambda: (x > 0) | 1, lambda: ~x):
        with pytest.raises(DTypeError, match="joins booleans"):
            wrong()


def test_repeated_positions_add(here):
    table = tensor(X)
    rows = tensor([[2, 0], [2, -2]])
    (found,) = gradients(table[rows].sum(), [table])
    assert found.numpy().tolist() == [[1, 1, 1], [0, 0, 0], [3, 3, 3], [0, 0, 0]]
    (found,) = gradients(table[rows, 1].sum(), [table])
    assert found.numpy().tolist() == [[0, 1, 0], [0, 0, 0], [0, 3, 0], [0, 0, 0]]


def test_a_number_that_is_data_is_an_index(here):
    x, step = tensor(X), Variable(2, dtype="int64")
    assert x[step].numpy().tolist() == X[2].tolist()
    assert x[1:, step, None].numpy().tolist() == X[1:, 2, None].tolist()
    step.assign(-1)
    assert x[step, 0].item() == X[-1, 0]


def test_positions_out_of_range_name_index_axis_and_length(here):
    x = tensor(X)
    for key in ([0, 4], tensor([1, 4]), ([0, 1], [4, 0])):
        where = "axis 1 of length 3" if isinstance(key, tuple) else "axis 0 of length 4"
        with pytest.raises(ShapeError, match=f"index 4 is out of range for {where}"):
            x[key].numpy()  # which waits for a GPU
    with pytest.raises(ShapeError, match="index -5 is out of range for axis 0 of length 4"):
        x[-5, [0, 1]]
    with pytest.raises(ShapeError, match="index -4 is out of range for axis 1 of length 3"):
        x[:, tensor([0, -4])].numpy()


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        ("a", ArgumentError, "integers, slices, None, ..., .* got 'a'"),
        ([slice(2)], ArgumentError, "integers, slices, None"),
        ((..., ...), ArgumentError, "one ... at most"),
        (slice(0, 1.5), ArgumentError, r"slices are made of integers, got 1\.5"),
        (1.5, DTypeError, "integers or booleans, got float64"),
        ([0.0, 1.0], DTypeError, "integers or booleans, got float64"),
        (np.zeros(0), DTypeError, "integers or booleans, got float64"),
        ([[1], [2, 3]], ShapeError, "ragged"),
        (([0, 1], [0, 1, 2]), ShapeError, r"\(2,\) and \(3,\) do not broadcast"),
        ([True, False], ShapeError, r"mask of shape \(2,\) does not fit the axes \(4,\)"),
        ((0, 0, [0]), ShapeError, r"3 axes, but the array has shape \(4, 3\)"),
    ],
    ids=str,
)
def test_keys_that_do_not_fit(here, key, error, words):
    with pytest.raises(error, match=words):
        tensor(X)[key]


def test_positions_are_whole_numbers_of_the_same_backend(here):
    x = tensor(X)
    with pytest.raises(DTypeError, match="got float32"):
        x[x]
    for function, arrays in (("coordinates", (x,)), ("gather", (x, x[:, :1]))):
        with pytest.raises(DTypeError, match="positions are integers, got float32"):
            TABLE[function](*arrays)
    with pytest.raises(ShapeError, match=r"coordinates of shape \(2, 1\) .* axes \(0, 1\)"):
        TABLE["gather"](x, tensor([[0], [1]]), axes=(0, 1))
    other = "loopback" if here.name == "numpy" else "numpy"
    with pytest.raises(BackendError, match=other):
        x[tensor([0], backend=other)]


def test_a_tensor_does_not_change():
    for x in (tensor(X), Variable(X)):
        with pytest.raises(ArgumentError, match=r"does not change.*where.*\.assign\(values\)"):
            x[0] = 1.0
        assert x.numpy().tolist() == X.tolist()


# -- the kernels ---------------------------------------------------------------------------------


@pytest.fixture
def kernels(torch):
    """The twins of the index ops; new torch tensors lie where they run."""
    from refnet_triton.ops import indexing
    from refnet_triton.runtime.device import DEVICE

    with torch.device(DEVICE):
        yield indexing


@pytest.mark.triton
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(3,), (3, 200)])
def test_half_types_are_summed_in_float32(kernels, torch, dtype, shape):
    """In bfloat16 a sum of ones stops at 256, in float16 at 2048."""
    x = torch.zeros(shape, dtype=getattr(torch, dtype))
    g = torch.ones((4096, *shape[1:]), dtype=x.dtype)
    rows = torch.ones((4096, 1), dtype=torch.int64)
    dx = kernels.gather_vjp(g, x, rows)
    assert (dx[1] == 4096).all() and (dx[0] == 0).all() and (dx[2] == 0).all()


@pytest.fixture
def later(kernels, torch, monkeypatch):
    """Faults are noted, as on a GPU, and not raised by the call; nothing is noted at first."""
    from refnet_triton.runtime import faults

    monkeypatch.setattr(faults, "later", True)
    monkeypatch.setattr(faults, "_notes", {})
    return faults


@pytest.mark.triton
def test_nothing_out_of_range_is_read_where_no_error_can_be_raised(kernels, torch, later):
    x = torch.arange(6.0).reshape(3, 2)
    indices = torch.tensor([[0], [3], [-3], [-4]])
    y = kernels.gather(x, indices)
    assert y[[0, 2]].tolist() == [[0, 1], [0, 1]] and y[[1, 3]].isnan().all()
    assert kernels.gather(x.long(), indices).tolist() == [[0, 1], [0, 0], [0, 1], [0, 0]]
    assert kernels.gather_vjp(torch.ones(4, 2), x, indices).tolist() == [[2, 2], [0, 0], [0, 0]]
    with pytest.raises(ShapeError, match="index 3 is out of range"):
        later.raise_noted()


@pytest.mark.triton
def test_no_graph_holds_what_depends_on_a_mask(kernels, torch, monkeypatch):
    monkeypatch.setattr(kernels, "_is_captured", lambda tensor: True)
    x = torch.ones(3)
    with pytest.raises(BackendError, match="CUDA graph"):
        kernels.mask_coordinates(x > 0, x)


#: (shape, axes, indices), and the position and the axis that are named
OUTSIDE = [
    ((4, 3, 5), (0,), [[0], [4], [3]], 4, 0),
    ((4, 3, 5), (1,), [[2], [-4]], -4, 1),
    ((4, 3, 5), (0, 2), [[3, 4], [0, 5]], 5, 2),
    ((4, 3, 5), (2, 0), [[4, 3], [9, 9]], 9, 2),
    ((4, 3, 5), (0, 1, 2), [[[-4, -3, -5]], [[-5, 0, 7]]], -5, 0),
    ((0, 3), (0,), [[0]], 0, 0),
    ((2, 1), (1,), [[-1], [0], [1]], 1, 1),
    ((2, 16), (1,), [[-16], [16]], 16, 1),
    ((100,), (0,), [[99], [-128], [127]], -128, 0),
]


@pytest.mark.triton
@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        (case, dtype)
        for case in OUTSIDE
        for dtype in ("int64", "int32", "int16", "int8", "uint8")
        if dtype != "uint8" or np.min(case[2]) >= 0
    ],
    ids=str,
)
def test_a_fault_that_is_noted_is_the_error_that_is_raised_at_once(
    kernels, torch, later, monkeypatch, case, dtype, strided
):
    """The same words, whoever waits: at once or where values are read, which clears the note."""
    shape, axes, indices, position, axis = case
    backend = backends.get("triton")
    positions = torch.tensor(indices).to(getattr(torch, dtype))
    if strided:
        positions = torch.stack([positions, positions], -1)[..., 0]
    x = torch.ones(shape)
    with monkeypatch.context() as at_once:
        at_once.setattr(later, "later", False)
        with pytest.raises(ShapeError) as expected:
            kernels.gather(x, positions, axes)
    assert str(expected.value) == (
        f"index {position} is out of range for axis {axis} of length {shape[axis]} (of an array of "
        f"shape {shape})"
    )
    for read in (backend.synchronize, lambda: backend.numpy(x)):
        kernels.gather(x, positions, axes)
        with pytest.raises(ShapeError) as error:
            read()
        assert str(error.value) == str(expected.value)
        read()


@pytest.mark.triton
@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8"])
def test_small_integers_count_along_long_axes(kernels, torch, dtype):
    """-n and n are no numbers of theirs."""
    x = np.arange(3000.0).reshape(3, 1000)
    indices = np.array([[2, 5], [0, 127], [1, 0]], dtype)
    y = kernels.gather(torch.tensor(x), torch.tensor(indices), (0, 1))
    assert y.tolist() == x[tuple(indices.T)].tolist()
    if dtype != "uint8":
        y = kernels.gather(torch.tensor(x), torch.tensor(-indices[:, ::-1].copy()), (1, 0))
        assert y.tolist() == x[tuple(-indices.T)].tolist()


@pytest.mark.triton
def test_one_fault_of_many_is_noted(kernels, torch, later):
    """Many programs see one: position, axis and shape are those of one pick. The first note stays."""
    from refnet_triton.runtime.device import as_on_a_gpu

    x, other = torch.ones(50, 70), torch.ones(3)
    indices = torch.stack([torch.arange(5000) % 50, torch.full((5000,), 5)], -1)
    with as_on_a_gpu():  # five programs
        kernels.gather(x, indices, (0, 1))
        later.raise_noted()
        indices[3000:] = torch.tensor([0, 71])
        indices[4500:] = torch.tensor([-51, 0])
        kernels.gather(x, indices, (0, 1))
        kernels.gather(other, torch.tensor([[3]]))
    with pytest.raises(ShapeError) as error:
        later.raise_noted()
    assert str(error.value) in (
        "index 71 is out of range for axis 1 of length 70 (of an array of shape (50, 70))",
        "index -51 is out of range for axis 0 of length 50 (of an array of shape (50, 70))",
    )
    later.raise_noted()


@pytest.mark.triton
def test_a_note_is_read_only_once_there_is_one(kernels, torch, later):
    x = torch.ones(3)
    backends.get("triton").numpy(x)
    assert not later._notes
    kernels.gather(x, torch.zeros(0, 1, dtype=torch.int64))  # picks nothing, launches nothing
    kernels.gather_vjp(torch.ones(1), x, torch.tensor([[7]]))  # its gather has said so before
    assert not later._notes
    kernels.gather(x, torch.tensor([[2]]))
    assert list(later._notes) == [x.device]
    assert later._notes[x.device].tolist() == [0, 0, 0, 0]


@pytest.mark.triton
def test_a_captured_graph_makes_no_note_but_uses_one(torch, later, monkeypatch):
    """The zeros of a new note would be written again at each replay."""
    cuda = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert later.note_on(cuda) is None and not later._notes
    later._notes[cuda] = note = torch.zeros(4, dtype=torch.int64)
    assert later.note_on(cuda) is note


@pytest.mark.triton
def test_numbers_of_shapes_are_their_own(later):
    shapes = [(), (1,), (1, 1), (3, 4), (4, 3)]
    numbers = [later.number_of(shape) for shape in shapes]
    assert len(set(numbers)) == len(shapes)
    assert [later.number_of(list(shape)) for shape in shapes] == numbers


@pytest.mark.gpu
def test_no_gather_waits_for_the_gpu(kernels, torch):
    """Nor do the others of this file, but for masks: PyTorch makes an error of each wait."""
    backend = backends.get("triton")
    x, indices = torch.ones(4, 3, device="cuda"), torch.tensor([[1], [4]], device="cuda")
    g = torch.ones(2, 3, device="cuda")
    for _ in range(2):  # the first compiles, and makes the note
        kernels.gather(x, indices.clamp(max=3))
        kernels.gather_vjp(g, x, indices)
        backend.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        y = kernels.gather(x, indices)
        kernels.gather_vjp(g, x, indices)
        kernels.coordinates(indices, indices)
        kernels.index(x, (slice(None, None, -1), 0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    with pytest.raises(ShapeError, match="index 4 is out of range for axis 0 of length 4"):
        backend.numpy(y)
    assert np.isnan(backend.numpy(y)).tolist() == [[False] * 3, [True] * 3]


@pytest.mark.triton
def test_elements_beyond_32_bits_are_reached(kernels, torch, monkeypatch):
    """Which integers count the elements; and that those of 64 bits count as the others do."""
    tl = kernels.tl
    large = torch.empty(1 << 21, 1 << 10, device="meta")
    assert (
        kernels._index_type(large) is tl.int64 and kernels._index_type(large[: 1 << 20]) is tl.int32
    )
    assert kernels._index_type(large[:, :5]) is tl.int64  # few elements, far apart
    x, indices = torch.randn(5, 4, 3), torch.randint(-4, 4, (6, 2, 1))
    g = torch.randn(5, 6, 2, 3)
    run = lambda: (  # noqa: E731
        kernels.gather(x, indices, (1,), 1),
        kernels.gather_vjp(g, x, indices, (1,), 1),
    )
    narrow = run()
    monkeypatch.setattr(kernels, "_index_type", lambda *arrays: tl.int64)
    for a, b in zip(narrow, run(), strict=True):
        assert torch.equal(a, b)


# -- methods that rearrange and compose ----------------------------------------------------------

Y = np.random.default_rng(3).normal(size=(2, 1, 3, 4))


@pytest.mark.parametrize(
    ("mine", "numpys"),
    [
        (lambda x: x.flatten(), lambda x: x.flatten()),
        (lambda x: x.ravel(), lambda x: x.ravel()),
        (lambda x: x.squeeze(), lambda x: x.squeeze()),
        (lambda x: x.squeeze(1), lambda x: x.squeeze(1)),
        (lambda x: x.squeeze((-3,)), lambda x: x.squeeze((-3,))),
        (lambda x: x.expand_dims(0), lambda x: np.expand_dims(x, 0)),
        (lambda x: x.expand_dims(-1), lambda x: np.expand_dims(x, -1)),
        (lambda x: x.expand_dims(2), lambda x: np.expand_dims(x, 2)),
        (lambda x: x.swapaxes(0, -1), lambda x: x.swapaxes(0, -1)),
        (lambda x: x.split(2, axis=3)[1], lambda x: np.split(x, 2, 3)[1]),
        (lambda x: x.split([1, 3], axis=-1)[1], lambda x: np.split(x, [1, 3], -1)[1]),
        (lambda x: x.split(2)[0], lambda x: np.split(x, 2)[0]),
        (lambda x: x.clip(-0.5, 0.5), lambda x: x.clip(-0.5, 0.5)),
        (lambda x: x.argmin(2), lambda x: x.argmin(2)),
        (lambda x: x.argmin(), lambda x: x.argmin()),
    ],
)
def test_methods_that_move_numbers(here, mine, numpys):
    y, expected = mine(tensor(Y)), np.asarray(numpys(Y))
    assert y.shape == expected.shape and y.numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("axis", [None, 0, (0, 2), -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_variance_and_standard_deviation(here, axis, keepdims):
    x = tensor(Y)
    for mine, numpys in ((x.var(axis, keepdims), Y.var), (x.std(axis, keepdims), Y.std)):
        expected = numpys(axis, keepdims=keepdims)
        assert mine.shape == np.shape(expected)
        assert np.allclose(mine.numpy(), expected, rtol=1e-14, atol=0)


def test_the_gradient_of_the_variance(here):
    x = tensor(Y)
    (found,) = gradients(x.var(), [x])
    assert np.allclose(found.numpy(), 2 * (Y - Y.mean()) / Y.size, rtol=1e-12, atol=1e-16)


def test_axes_that_are_not_there():
    x = tensor(Y)
    for wrong in (
        lambda: x.squeeze(0),
        lambda: placeholder((None, 2)).squeeze(0),
        lambda: x.squeeze(4),
        lambda: x.expand_dims(6),
        lambda: x.swapaxes(0, 4),
        lambda: x.split(3),
        lambda: x.split(0),
        lambda: x.split(1, axis=4),
    ):
        with pytest.raises(ShapeError, match=r"axis|split"):
            wrong()
