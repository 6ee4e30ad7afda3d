"""What the shape rules promise is what the ops give: every op, every case, every type."""

import numpy as np
import pytest

from refnet import config
from refnet.errors import ShapeError
from refnet.op.shapes import Spec, agree, broadcast
from refnet.ops import TABLE
from refnet.proof.judge import all_ops, cases_of, inputs_for


def arrays(op, case, dtype):
    inputs, attributes = inputs_for(op, case, dtype)
    placed = [np.asarray(x) for x in inputs]
    return [x.astype(dtype) if x.dtype.kind == "f" else x.copy() for x in placed], attributes


def results_of(op, inputs, attributes):
    with np.errstate(all="ignore"):
        results = op.function(*(x.copy() for x in inputs), **attributes)
    return results if isinstance(results, tuple) else (results,)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
def test_the_promise_is_kept(op, dtype):
    for case in cases_of(op):
        inputs, attributes = arrays(op, case, dtype)
        specs = [Spec(x.shape, str(x.dtype)) for x in inputs]
        promised = op.infer(specs, attributes)
        found = results_of(op, inputs, attributes)
        given = [Spec(np.shape(y), str(np.asarray(y).dtype)) for y in found]
        if op.data_dependent_shape:
            assert None in promised[0].shape
            promised = [Spec(given[0].shape, promised[0].dtype)]
            assert agree(op.infer(specs, attributes)[0].shape, given[0].shape)
        assert promised == given, case.name


@pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
def test_open_lengths_promise_less_but_nothing_wrong(op):
    """With the first axis of every input open, the promise still agrees with what comes out."""
    for case in cases_of(op):
        inputs, attributes = arrays(op, case, "float32")
        specs = [Spec((None, *x.shape[1:])[: x.ndim], str(x.dtype)) for x in inputs]
        if op.name == "stack_vjp" and attributes.get("axis", 0) % inputs[0].ndim == 0:
            with pytest.raises(ShapeError, match=r"length of axis 0 .* has to be known"):
                op.infer(specs, attributes)  # it says how many results there are
            continue
        promised = op.infer(specs, attributes)
        found = results_of(op, inputs, attributes)
        for spec, y in zip(promised, found, strict=True):
            assert agree(spec.shape, np.shape(y)), (case.name, spec, np.shape(y))
            assert spec.dtype == str(np.asarray(y).dtype), case.name


def spec(*shape, dtype="float32"):
    return Spec(shape, dtype)


@pytest.mark.parametrize(
    ("name", "specs", "attributes", "message"),
    [
        ("add", [spec(3, 4), spec(2, 4)], {}, r"add: shapes \(3, 4\) and \(2, 4\) .* 3 and 2"),
        (
            "matmul",
            [spec(None, 3), spec(4, 5)],
            {},
            "matmul: .* rows of 3 numbers meet columns of 4",
        ),
        ("matmul", [spec(3, 5), spec()], {}, "matmul: needs matrices or vectors"),
        ("matmul", [spec(3), spec(4, 5)], {}, "matmul: .* rows of 3 numbers meet columns of 4"),
        ("linear", [spec(None, 3), spec(4, 5), spec(5)], {}, "linear: .* rows of 3"),
        ("linear", [spec(None, 3), spec(3, 5), spec(4)], {}, r"linear: needs .* bias \(n,\)"),
        ("reshape", [spec(3, 4)], {"shape": (5, -1)}, "reshape: 12 numbers"),
        ("reshape", [spec(3, 4)], {"shape": (-1, -1)}, "one -1"),
        ("transpose", [spec(3, 4)], {"axes": (0, 0)}, "not an order of the axes"),
        ("transpose", [spec(3, 4)], {"axes": (0, 2)}, "no axis 2"),
        ("sum", [spec(3, 4)], {"axis": 2}, "sum: there is no axis 2"),
        ("concatenate", [spec(3, 4), spec(3, 5)], {"axis": 0}, "more than axis 0"),
        ("stack", [spec(3, 4), spec(3, 5)], {}, "not the same"),
        ("broadcast_to", [spec(3)], {"shape": (2, 4)}, "broadcast"),
        ("pad", [spec(3)], {"pad_width": ((1, 1), (0, 0))}, "pad_width"),
        ("index", [spec(3, 4)], {"key": (0, 1, 2)}, "index: 3 indices"),
        ("index", [spec(3, 4)], {"key": 3}, "index 3 is out of range"),
        ("mean_squared_error", [spec(7, 3), spec(7, 4)], {}, "do not belong together"),
        (
            "sparse_softmax_cross_entropy",
            [spec(7, 3), spec(6, dtype="int64")],
            {},
            "do not belong together",
        ),
        ("assign", [spec(3), spec(2, 3)], {}, "assign: value of shape"),
    ],
)
def test_what_can_never_fit_is_an_error(name, specs, attributes, message):
    with pytest.raises(ShapeError, match=message):
        TABLE[name].infer(specs, attributes)


def test_types_follow_numpy():
    whole, half, single = spec(2, dtype="int64"), spec(2, dtype="float16"), spec(2)
    assert TABLE["divide"].infer([whole, whole], {})[0].dtype == config.floatx()
    assert TABLE["add"].infer([half, single], {})[0].dtype == "float32"
    assert TABLE["less"].infer([single, single], {})[0].dtype == "bool"
    assert TABLE["mean"].infer([whole], {})[0] == spec(dtype=config.floatx())
    brain = spec(2, dtype="bfloat16")
    assert TABLE["add"].infer([brain, brain], {})[0].dtype == "bfloat16"
    assert TABLE["cast"].infer([single], {"dtype": "bfloat16"})[0].dtype == "bfloat16"


def test_broadcasting_with_open_lengths():
    assert broadcast((None, 4), (4,)) == (None, 4)
    assert broadcast((None, 1), (1, 5)) == (None, 5)
    assert broadcast((None,), (7,)) == (7,)
    assert broadcast() == ()
