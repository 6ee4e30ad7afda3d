"""Every op is tried on every edge case, or its row says why that makes no sense."""

import math
from pathlib import Path

import numpy as np
import pytest

from refnet.check import edge_cases
from refnet.op import TABLE, Op
from refnet.op.columns import Case, Cases
from refnet.op.shapes import Spec
from refnet.proof.bounds import exact
from refnet.proof.cases import constant, normal, with_nonfinite
from refnet.proof.judge import all_ops

PAGE = Path(__file__).resolve().parents[2] / "docs" / "edge_cases.md"
EVERY = pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)


@EVERY
def test_every_corner_is_tried_or_excused(op):
    found, excused = edge_cases.tried(op), edge_cases.without(op)
    assert list(found) == list(edge_cases.EDGE_CASES)
    assert set(excused) <= set(edge_cases.EDGE_CASES) and all(excused.values())
    for edge, cases in found.items():
        assert bool(cases) != (edge in excused), f"{op.name}, {edge}: {cases or 'no case'}"


@EVERY
def test_large_cases_are_large_and_take_no_memory(op):
    for case in edge_cases.large_cases(op):
        inputs = [np.asarray(x) for x in case.make(np.random.default_rng(0))]
        primal = op.primal or op
        specs = [Spec(x.shape, str(x.dtype)) for x in inputs]
        results = primal.infer(specs, {**primal.attributes, **case.attributes})
        shapes = [s.shape for s in (*specs, *results) if None not in s.shape]
        assert max(math.prod(shape) for shape in shapes) > 1 << 31
        held = [x.base if x.base is not None else x for x in inputs]
        assert sum(x.nbytes for x in held) < 1 << 20


def planted(case):
    def planted_op(x, z):
        return x + z

    def planted_one(x):
        return x

    family = Cases((case,), lambda n: ())
    count = len(case.make(np.random.default_rng(0)))
    made = Op(planted_one if count == 1 else planted_op)
    made.proof(family, exact())
    return made


@pytest.mark.parametrize(
    ("case", "found"),
    [
        (Case("", normal((4, 5))), set()),
        (Case("", constant([1.0, np.nan])), {"NaN"}),
        (Case("", constant([1.0, -np.inf])), {"infinity"}),
        (Case("", with_nonfinite(normal((4, 5)))), {"NaN", "infinity"}),
        (Case("", normal((0, 5))), {"empty"}),
        (Case("", normal((1, 1))), {"one element"}),
        (Case("", normal((1,), (1,))), {"one element"}),
        (Case("", normal((5,), (1,))), {"broadcast"}),
        (Case("", normal((4, 5), (4, 5)), layout="transposed"), {"transposed"}),
        (Case("", normal((5,)), layout="transposed"), set()),
        (Case("", normal((5,)), layout="strided"), {"strided"}),
        (Case("", normal(()), layout="strided"), {"one element"}),
    ],
)
def test_what_lies_in_a_corner(case, found):
    assert {edge for edge, cases in edge_cases.tried(planted(case)).items() if cases} == found


def test_infinities_and_nan_are_where_they_were_put():
    x, number, whole = with_nonfinite(lambda rng: (rng.normal(size=(2, 3)), 1.5, np.arange(3)))(
        np.random.default_rng(0)
    )
    assert np.isnan(x[0, 0]) and x[1, 1] == np.inf and x[1, 2] == -np.inf
    assert np.isfinite(x).sum() == 3 and number == 1.5 and whole.tolist() == [0, 1, 2]


def test_the_page_is_that_of_the_cases():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) == sum(op.primal is None for op in TABLE.values())
