"""Types of numbers, however they are written: everywhere a type is taken."""

import inspect

import numpy as np
import pytest

import refnet
from refnet import initializers, random
from refnet.config import DTYPES, dtype_name
from refnet.errors import DTypeError, RefnetError
from refnet.op import TABLE

#: what stands before the type in a call
ARGUMENTS = {
    "full": ((2,), 1),
    "zeros_like": (np.ones(2),),
    "ones_like": (np.ones(2),),
    "eye": (2,),
    "arange": (3,),
    "linspace": (0, 1),
    "tensor": ([1.0],),
    "Variable": ([1.0],),
    "placeholder": ((None, 2),),
    "cast": (np.ones(2),),
    "random_uniform": (np.array([1, 2]),),
    "random_normal": (np.array([1, 2]),),
}


def takers():
    """Everything public that takes a type, as (name, function of a type)."""
    found = {name: getattr(refnet, name) for name in refnet.__all__}
    found |= {f"random.{name}": f for name, f in vars(random).items() if name[0] != "_"}
    found |= {f"ops.{op.name}": op for op in TABLE.values() if op.primal is None}
    found |= {f"initializers.{name}": c() for name, c in initializers.INITIALIZERS.items()}
    for name, f in found.items():
        if not callable(f) or getattr(f, "__module__", "").startswith(("numpy", "typing")):
            continue
        try:
            takes = "dtype" in inspect.signature(f).parameters
        except (TypeError, ValueError):
            continue
        if takes:
            base = name.rpartition(".")[2]
            shape = ((2, 2),) if name.startswith("initializers") else ()
            given = ARGUMENTS.get(base, shape)
            yield pytest.param(lambda dtype, f=f, given=given: f(*given, dtype=dtype), id=name)


def of(y):
    return y.dtype if isinstance(y.dtype, str) else y.dtype.name


TAKERS = list(takers())
SPELLINGS = ["float64", np.float64, np.dtype("float64"), np.dtype(">f8"), "double", "f8"]


def test_all_takers_are_found():
    names = {p.id for p in TAKERS}
    assert {"zeros", "Variable", "placeholder", "ops.cast", "random.normal"} <= names
    assert "initializers.glorot_uniform" in names
    assert len(TAKERS) > 25


@pytest.mark.parametrize("make", TAKERS)
def test_a_type_may_be_written_in_many_ways(make):
    for spelling in SPELLINGS:
        assert of(make(spelling)) == "float64", spelling
    assert of(make(float)) == "float32"
    for wrong in (complex, "float99", 3, str):
        with pytest.raises(DTypeError, match=r"float32, .*got"):
            make(wrong)


def test_types_of_other_libraries(torch):
    for name in DTYPES:
        if hasattr(torch, name):
            assert dtype_name(getattr(torch, name)) == name
    for name in set(DTYPES) - {"bfloat16"}:
        assert dtype_name(getattr(np, name)) == dtype_name(np.dtype(name)) == name
    x = refnet.tensor([1.5, -2.5])
    assert x.astype(torch.float64).dtype == "float64"
    assert x.astype(np.int32).dtype == x.astype(dtype=np.int32).dtype == "int32"


def test_types_of_python():
    assert [dtype_name(t) for t in (bool, int, float, None)] == ["bool", "int64", *["float32"] * 2]
    before = refnet.config.floatx()
    try:
        refnet.config.set_floatx(np.float64)
        assert dtype_name(float) == dtype_name() == refnet.zeros(1).dtype == "float64"
    finally:
        refnet.config.set_floatx(before)


def test_a_type_where_a_shape_belongs_and_lengths_that_are_no_tuple():
    with pytest.raises(RefnetError, match=r"a shape is one tuple, \(2, 3\)"):
        refnet.zeros(2, 3)
    for first in (np.float32, "float32", np.dtype("int8"), 3):
        with pytest.raises(RefnetError, match=r"placeholder\(\(None, 3\), \"float32\"\)"):
            refnet.placeholder(first, (None, 3))


def test_a_graph_and_its_file_hold_names(tmp_path):
    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 2), np.dtype("float64"), "x")
        refnet.ops.cast(x, np.float32).named("y")
    graph.save(tmp_path / "g")
    loaded = refnet.Graph.load(tmp_path / "g")
    assert loaded["y"].dtype == "float32"
    assert loaded["y"].node.attributes == {"dtype": "float32"}
