"""NumPy's functions on tensors: right and recorded, or refused by refnet. Nothing else."""

import copy
import operator
import warnings

import numpy as np
import pytest

import refnet
from refnet.autograd import numpy_functions
from refnet.autograd.tensor import Tensor
from refnet.errors import CallError, NotReadyError, RefnetError
from refnet.ops import TABLE

#: no functions of numbers: files, settings, what is called with text or with another function
OTHER = {
    *("errstate", "printoptions", "set_printoptions", "get_printoptions", "seterr", "seterrcall"),
    *("setbufsize", "geterr", "geterrcall", "getbufsize", "get_include", "info", "show_config"),
    *("show_runtime", "test", "fromfile", "fromregex", "genfromtxt", "load", "loadtxt", "save"),
    *("savez", "savez_compressed", "savetxt", "frompyfunc", "memmap", "open_memmap", "from_dlpack"),
    *("frombuffer", "bmat"),  # bmat answers None to all it does not know
}


def functions(module, prefix=""):
    """The names of a module's functions, as np.NAME has them."""
    for name in sorted(module.__all__):
        function = getattr(module, name)
        if callable(function) and not isinstance(function, type) and name not in OTHER:
            yield prefix + name


FUNCTIONS = [*functions(np), *functions(np.linalg, "linalg."), *functions(np.fft, "fft.")]
MATRIX = np.array([[0.5, 1.5], [3.25, 0.125]])
VECTOR, OTHER_VECTOR = np.array([0.5, 1.5, 0.25]), np.array([2.0, 0.75, 3.0])


def forms(x, w, matrix):
    """Ways to call a function: what stands for which arguments."""
    yield "f(x)", (x,), {}
    yield "f(matrix)", (matrix,), {}
    yield "f(x, w)", (x, w), {}
    yield "f([x, w])", ([x, w],), {}
    yield "f(x, 0)", (x, 0), {}
    yield "f(2.0, x)", (2.0, x), {}
    yield "f(matrix, axis=1)", (matrix,), {"axis": 1}
    yield "f(matrix, axis=0, keepdims=True)", (matrix,), {"axis": 0, "keepdims": True}
    yield "f(x > 1, x, w)", (x > 1, x, w), {}
    yield "f(x, [1, 2], w)", (x, [1, 2], w), {}


def outcome(function, arguments, options):
    """(what a function returns, None) or (None, what it raises)."""
    try:
        return function(*arguments, **options), None
    except Exception as error:
        return None, error


def values(result):
    """A result without tensors."""
    if isinstance(result, Tensor):
        return result.numpy()
    if isinstance(result, (list, tuple)):
        return [values(r) for r in result]
    return result


def assert_alike(found, expected, call):
    found, expected = values(found), values(expected)
    if isinstance(expected, list):
        assert len(found) == len(expected), call
        for a, b in zip(found, expected, strict=True):
            assert_alike(a, b, call)
    elif isinstance(expected, (np.ndarray, np.generic, float, int)) and np.size(expected):
        assert np.shape(found) == np.shape(expected), call
        if np.asarray(expected).dtype == object:
            return
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=call)
    elif isinstance(expected, (str, bool, type(None))):
        assert found == expected, call


def total(result):
    """Σ of all the floats in a result, each with a weight of its own: a number to differentiate."""
    sum_ = 0.0
    for part in result if isinstance(result, (list, tuple)) else [result]:
        if str(getattr(part, "dtype", "")).startswith("float") and type(part) is not np.matrix:
            weights = np.cos(np.arange(part.size) + 1.0).reshape(part.shape)
            sum_ = sum_ + (part * weights).sum()
    return sum_


def assert_recorded(function, given, there, options, found, call):
    """A tensor that came out has the gradient of NumPy's function, by differences."""
    loss = total(found)
    if not isinstance(loss, Tensor) or not np.isfinite(loss):
        return
    flat = [x for x in given if isinstance(x, Tensor)]
    flat += [x for xs in given if isinstance(xs, list) for x in xs if isinstance(x, Tensor)]
    leaves = [x for x in flat if x.dtype.startswith("float")]
    for leaf, gradient in zip(leaves, refnet.gradients(loss, leaves), strict=True):
        at, expected = np.array(leaf.numpy()), np.zeros(leaf.shape)
        for i in np.ndindex(leaf.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = at.copy()
                moved[i] += step
                swapped = [_with(g, leaf, moved, a) for g, a in zip(given, there, strict=True)]
                ends.append(total(function(*swapped, **options)))
            expected[i] = (ends[0] - ends[1]) / 2e-6
        got = np.zeros(leaf.shape) if gradient is None else gradient.numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8, err_msg=call)


def _with(given, leaf, moved, array):
    """An argument as an array, with other values where it was `leaf`."""
    if isinstance(given, list):
        return [_with(g, leaf, moved, a) for g, a in zip(given, array, strict=True)]
    return moved if given is leaf else array


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_numpy_on_the_values_or_refused(name):
    function = operator.attrgetter(name)(np)
    arrays = VECTOR, OTHER_VECTOR, MATRIX
    tensors = [refnet.tensor(a) for a in arrays]
    warnings.simplefilter("ignore")  # within a test alone
    for (form, given, options), (_, there, _) in zip(forms(*tensors), forms(*arrays), strict=True):
        call = f"np.{name}: {form}"
        expected, refused = outcome(function, copy.deepcopy(there), options)
        found, error = outcome(function, given, options)
        if error is not None:
            assert refused is not None or isinstance(error, RefnetError), f"{call}: {error!r}"
        elif not (name == "clip" and "missing 1 required" in str(refused)):  # one bound is enough
            assert refused is None, f"{call} gave {found!r}, NumPy says {refused!r}"
            assert_alike(found, expected, call)
            assert_recorded(function, given, there, options, found, call)
        for tensor, array in zip(tensors, arrays, strict=True):
            np.testing.assert_array_equal(tensor.numpy(), array, err_msg=f"{call} wrote")


def test_every_op_that_numpy_has_is_recorded_under_its_name():
    x = refnet.tensor([[0.5, 1.5], [2.5, 0.25]])
    options = {"reshape": (4,), "broadcast_to": (2, 2), "pad": 1, "clip": 0.5, "full_like": 1.0}
    for name, op in TABLE.items():
        if op.primal is None and callable(getattr(np, name, None)) and name != "identity":
            extra = (options[name],) if name in options else (x,) * (len(op.inputs) - 1)
            first = [x, x] if op.variadic else x
            y = getattr(np, name)(first, *extra)
            assert isinstance(y, Tensor), name
            assert y.node.op.name == name, name


def test_what_a_user_writes():
    t, array = refnet.Variable([[1.0, 2.0], [3.0, 4.5]]), np.ones((2, 2), "float32")
    for y in (
        *(np.sum(t), np.mean(t, axis=0, keepdims=True), np.exp(t), np.maximum(t, 0)),
        *(np.maximum(0, t), np.concatenate([t, array]), np.stack([t, array], 1), np.add(array, t)),
        *(array + t, array - t, array * t, array / t, array**t, array @ t, np.float32(2) * t),
        *(np.float64(2) - t, np.hstack([t, array]), np.vstack([array, t]), np.where(t > 1, t, 0.0)),
        *(np.zeros_like(t), np.expand_dims(t, (0, 3)), np.pad(t, 1), np.clip(t, None, 2.0)),
        *(array < t, array == t, array != t, np.float32(2) > t, (array > 2) & (t > 2), ~(t > 2)),
    ):
        assert isinstance(y, Tensor)
        assert y.node is not None
    (g,) = refnet.gradients(np.sum(array * np.square(t)), [t])
    np.testing.assert_array_equal(g.numpy(), 2 * t.numpy())


def test_what_tests_ask_has_plain_answers():
    t = refnet.tensor([[1.0, 2.0], [3.0, np.nan]])
    assert np.shape(t) == (2, 2)
    assert np.ndim(t) == 2
    assert np.size(t) == 4
    assert np.size(t, 1) == 2
    assert type(np.asarray(t)) is type(np.array(t)) is type(np.isnan(t)) is np.ndarray
    assert np.isnan(t).tolist() == [[False, False], [False, True]]
    assert np.array_equal(t, t.numpy(), equal_nan=True) is True
    assert np.allclose(t, t, equal_nan=True) is True
    assert np.array2string(t) == np.array2string(t.numpy())
    assert f"{np.all(t > 0)}" == "False"
    np.testing.assert_allclose(t, t)
    np.testing.assert_array_equal(t, t.numpy())
    np.testing.assert_equal(np.shape(t), (2, 2))
    with pytest.raises(AssertionError, match="Mismatched elements"):
        np.testing.assert_allclose(t, t + 1)


def test_tensors_are_saved_as_their_values(tmp_path):
    t = refnet.tensor([1.0, 2.0])
    np.save(tmp_path / "t.npy", t)
    np.savez(tmp_path / "t.npz", t=t)
    np.savetxt(tmp_path / "t.txt", t)
    np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), t)
    np.testing.assert_array_equal(np.load(tmp_path / "t.npz")["t"], t)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "t.txt"), t)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t, a: np.sum(t, out=a), r"np.sum of a tensor takes no out="),
        (lambda t, a: np.sum(t, where=a > 0), r"takes no where="),
        (lambda t, a: np.mean(t, dtype="float64"), r"takes no dtype="),
        (lambda t, a: np.var(t, ddof=1), r"np.var of a tensor takes no ddof="),
        (lambda t, a: np.sum(t, axis=refnet.tensor(0)), r"np.sum: axis= is no tensor"),
        (lambda t, a: np.clip(t, t, 2.0), r"np.clip: a_min= is no tensor"),
        (lambda t, a: np.exp(t, where=a > 0), r"np.exp of a tensor takes no where="),
        (lambda t, a: np.add(t, a, dtype="float64"), r"np.add of a tensor takes no dtype="),
        (lambda t, a: np.add(a, t, out=a), r"np.add: what is written .* a \+= x.numpy\(\)"),
        (lambda t, a: a.__iadd__(t), r"np.add: what is written .* a = a \+ x"),
        (lambda t, a: np.add.reduce(t), r"np.add.reduce takes no tensors. .*np.sum"),
        (lambda t, a: np.linalg.norm(t), r"np.linalg.norm has no op .*There is np.sqrt\(np.sum"),
        (lambda t, a: np.fft.fft(t), r"np.fft.fft has no op .*np.fft.fft\(x.numpy\(\)\)"),
        (lambda t, a: np.nansum(t), r"np.nansum has no op .*There is np.sum"),
        (lambda t, a: np.dot(np.ones((2, 2, 2)), refnet.tensor(np.ones((2, 2, 2)))), "batch by"),
    ],
)
def test_what_is_refused_says_what_there_is(call, message):
    array = np.ones((2, 2), "float32")
    with pytest.raises(RefnetError, match=message):
        call(refnet.tensor([[1.0, 2.0], [3.0, 4.0]]), array)
    assert (array == 1).all()


@pytest.mark.parametrize("name", numpy_functions.INSTEAD)
def test_what_is_recommended_says_the_same(name):
    x, w = VECTOR, OTHER_VECTOR
    if name != "copy":
        with pytest.raises(CallError, match="There is"):
            operator.attrgetter(name)(np)(*[refnet.tensor(a) for a in _arguments(name, x, w)])
    found = eval(
        numpy_functions.INSTEAD[name], {"x": refnet.tensor(x), "w": refnet.tensor(w), "np": np}
    )
    np.testing.assert_allclose(
        found, operator.attrgetter(name)(np)(*_arguments(name, x, w)), rtol=1e-12
    )


def _arguments(name, x, w):
    two = name in ("fmax", "fmin", "hypot", "inner", "outer", "vdot", "vecdot")
    return (x, w) if two else (x, np.array([0, 1])) if name == "take" else (x,)


def test_in_a_graph():
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 2), name="x")
        y = np.sum(np.exp(x), axis=1).named("y")
        assert np.shape(x) == (None, 2)
        with pytest.raises(NotReadyError):
            np.isnan(x)
    rows = np.ones((3, 2), "float32")
    found = refnet.Session(graph).run("y", {"x": rows})
    np.testing.assert_array_equal(found, np.sum(np.exp(rows), axis=1))
    assert y.node.op.name == "sum"


@pytest.mark.triton
def test_on_another_backend():
    with refnet.use_backend("triton"):
        t = refnet.tensor([[1.0, 2.0], [3.0, 4.0]])
        y = np.sum(np.maximum(t, 2.0) * np.float32(2), axis=0)
    assert y.backend.name == "triton"
    np.testing.assert_array_equal(y, [10, 12])
    assert np.allclose(t, t.numpy())


@pytest.mark.needs("matplotlib")
def test_tensors_can_be_plotted():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    x, image = refnet.tensor([1.0, 2.0, 3.0]), refnet.tensor([[1.0, 2.0], [3.0, 4.0]])
    axes.plot(x, x)
    axes.scatter(x, x, c=x)
    axes.bar(x, x)
    axes.hist(x)
    axes.fill_between(x, x, -x)
    axes.errorbar(x, x, yerr=x)
    axes.imshow(image)
    axes.contour(image)
    axes.boxplot(x)
