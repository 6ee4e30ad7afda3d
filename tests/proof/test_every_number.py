"""Functions of one number, on every number there is in a half type: 65,536, value and gradient."""

import numpy as np
import pytest

from refnet import backend as backends
from refnet.op import TABLE
from refnet.op.columns import Case
from refnet.proof.cases import constant
from refnet.proof.judge import compare

TRITON = pytest.mark.triton
PAIRS = [
    ("numpy", "float16"),
    pytest.param("triton", "float16", marks=TRITON),
    pytest.param("triton", "bfloat16", marks=TRITON),
]
UNARY = [
    op
    for op in TABLE.values()
    if (op.primal or op).cases.family == "unary" and "dtype" not in op.attributes
]


def every_number(dtype):
    """All numbers of a half type, in float64; one NaN for all that there are."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    half = (
        bits.view(np.float16)
        if dtype == "float16"
        else (bits.astype(np.uint32) << 16).view(np.float32)
    )
    x = np.full(half.shape, np.nan)
    x[~np.isnan(half)] = half[~np.isnan(half)]
    return x


def settings(op):
    """The attributes that the op's cases try."""
    tried = {str(case.attributes): case.attributes for case in (op.primal or op).cases}
    return tried.values()


@pytest.mark.parametrize(("name", "dtype"), PAIRS)
@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_every_number_of_a_half_type_is_within_the_bound(op, name, dtype, record_property):
    largest = 0.0
    for given in settings(op):
        case = Case(f"every {dtype} {given}", constant(every_number(dtype)), given)
        found = compare(op, case, dtype, backends.get(name))
        assert found.ok, found.complaint
        largest = max(largest, found.ratio)
    record_property("agreement", [name, float(largest), f"{op.name} in {dtype}"])


def test_every_number_is_there():
    for dtype, most in (("float16", 65504.0), ("bfloat16", 3.3895313892515355e38)):
        x = every_number(dtype)
        assert x.size == 65_536
        finite = x[np.isfinite(x)]
        assert finite.max() == -finite.min() == most
        assert np.unique(finite).size == finite.size - 1  # 0 and -0
