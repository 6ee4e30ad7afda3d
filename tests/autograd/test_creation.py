"""New tensors: values, types, other libraries' arrays in and out, and what is refused."""

import numpy as np
import pytest

import refnet
from refnet.errors import ArgumentError, BackendError, DTypeError, ShapeError
from tests.conftest import TRITON


@pytest.fixture(params=["numpy", "loopback", TRITON], autouse=True)
def here(request):
    with refnet.use_backend(request.param) as backend:
        yield backend


def test_constants_and_ranges(here):
    made = {
        refnet.zeros((2, 3)): np.zeros((2, 3), "float32"),
        refnet.ones(2, "int64"): np.ones(2, "int64"),
        refnet.full((2,), 7): np.array([7, 7]),
        refnet.full((2,), 0.5): np.array([0.5, 0.5], "float32"),
        refnet.full((), True): np.array(True),
        refnet.eye(2, 3): np.eye(2, 3, dtype="float32"),
        refnet.arange(5): np.arange(5),
        refnet.arange(5, 1, -2): np.array([5, 3]),
        refnet.arange(0, 1, 0.25): np.array([0, 0.25, 0.5, 0.75], "float32"),
        refnet.arange(3, dtype="float64"): np.arange(3.0),
        refnet.linspace(0, 1, 5): np.linspace(0, 1, 5, dtype="float32"),
        refnet.zeros_like(refnet.ones((2, 3), "float64")): np.zeros((2, 3)),
        refnet.ones_like([[1, 2]]): np.ones((1, 2), "int64"),
        refnet.ones_like([[1, 2]], "float32"): np.ones((1, 2), "float32"),
    }
    for tensor, array in made.items():
        assert (tensor.shape, tensor.dtype) == (array.shape, str(array.dtype))
        assert np.array_equal(tensor.numpy(), array)
        assert tensor.backend is here


def test_types_follow_what_is_given():
    assert refnet.tensor([1, 2]).dtype == "int64"
    assert refnet.tensor([1, 2.5]).dtype == "float32"
    assert refnet.tensor([True]).dtype == "bool"
    assert refnet.tensor(np.ones(2)).dtype == "float64"
    assert refnet.tensor([1, 2], "float64").dtype == "float64"
    refnet.config.set_floatx("float64")
    try:
        assert refnet.tensor([1, 2.5]).dtype == refnet.ones(2).dtype == "float64"
    finally:
        refnet.config.set_floatx("float32")


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: refnet.zeros((2, -1)), ShapeError, "zeros: a shape is a tuple of lengths"),
        (lambda: refnet.ones((2.5,)), ShapeError, "ones: a shape is a tuple of lengths"),
        (lambda: refnet.eye(-1), ShapeError, "eye: the lengths are at least 0, got -1"),
        (lambda: refnet.arange(0, 5, 0), ArgumentError, "the step is 0"),
        (lambda: refnet.linspace(0, 1, -1), ArgumentError, "linspace: num is at least 0, got -1"),
        (lambda: refnet.full((2,), "x"), DTypeError, "a tensor holds numbers, got str"),
        (lambda: refnet.tensor([1.0], "flaot32"), DTypeError, "flaot32"),
        (lambda: refnet.placeholder((2,), "flaot32"), DTypeError, "flaot32"),
        (lambda: refnet.tensor([[1], [2, 3]]), ShapeError, "ragged"),
        (lambda: refnet.from_dlpack([1.0]), DTypeError, "list does not speak DLPack"),
    ],
)
def test_what_is_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_numpy_takes_tensors(here):
    x = refnet.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert np.asarray(x).tolist() == [[1, 2], [3, 4]]
    assert np.array(x, "float64").dtype == "float64"
    assert (float(x[0, 1]), int(x[1, 0]), x[1, 1].item()) == (2.0, 3, 4.0)
    assert list(range(refnet.tensor(3))) == [0, 1, 2]
    with pytest.raises(TypeError):
        range(refnet.tensor(3.0))


def test_dlpack_shares_memory_with_numpy():
    with refnet.use_backend("numpy"):
        x = refnet.tensor([1.0, 2.0])
        view = np.from_dlpack(x)
        assert view.tolist() == [1, 2]
        x.value[0] = 5
        assert view[0] == 5
        mine = np.arange(3.0)
        taken = refnet.from_dlpack(mine)
        mine[0] = 7
        assert taken.numpy().tolist() == [7, 1, 2]
        assert np.from_dlpack(refnet.tensor([1.0, 2.0]).sum()) == 3


def test_dlpack_both_ways_with_torch(torch, here):
    theirs = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    x = refnet.from_dlpack(theirs)
    assert x.backend is here
    assert x.numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert torch.from_dlpack(x * 2.0).tolist() == [[0, 2, 4], [6, 8, 10]]
    assert refnet.tensor(theirs.to("cpu")).numpy().tolist() == x.numpy().tolist()


class Locked:
    """An array of some other library that will not become one of NumPy's."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("call detach() first")


def test_what_numpy_cannot_take_over(torch):
    with pytest.raises(DTypeError, match=r"Locked cannot become an array: call detach\(\) first"):
        refnet.tensor(Locked())
    with refnet.use_backend("numpy"):  # noqa: SIM117
        with pytest.raises(BackendError, match="numpy cannot take over this Tensor"):
            refnet.from_dlpack(torch.ones(2, dtype=torch.bfloat16))
