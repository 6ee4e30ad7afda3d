r"""No kernel is less accurate than the function of PyTorch that it would replace.

The bounds of TABLE say how wrong a result may be. They do not say that a user who swaps PyTorch for our
kernel loses nothing: where n terms are summed, a bound is generous. So a second rule holds as well, for
every op that has a peer in `refnet_triton.bench.peers`, on each output of each case, in each float type:

    max|ours - exact|  ≤  2 · max|PyTorch's - exact|  +  floor

Both run in the same type on the same rounded inputs; exact is the reference in float64.

The factor is that of the tests of QuACK (T. Dao and others, github.com/Dao-AILab/quack,
tests/test_linear.py) and of FlashAttention (Dao-AILab/flash-attention, tests/cute/test_flash_attn.py).
QuACK's floor is 1e-6, or 1e-5 for products. That suits numbers near 1. It is too little at 1e4, where one
rounding to float32 is 5e-4, and in gradients of 1e-9 it would allow anything. FlashAttention's is
2 max|(y + 0.3) - 0.3 - y| in the type of the result: twice what an addition rounds away.
Here it is **one ulp, in the type of the result, of the largest exact number**. PyTorch may by luck hit
every number exactly; ours has to be rounded once all the same, by half an ulp, and computed before that.

Only where the exact number is finite in that type, and at least its bound, are errors measured: of what
cancels altogether no digit is left, whoever sums it, but by luck. `test_twins.py` proves that infinities
and NaN are where they belong. An infinity or NaN of ours where a number belongs is an infinite error; one
of PyTorch's excuses nothing.

A maximum over a few sums is luck: of two kernels that are equally good, one is now and then more than
twice as wrong as the other. A case in which ours comes to more than half of what is allowed, as it cannot
unless it is less accurate there than PyTorch, is drawn eight times, and the means of the maxima decide.
Of the sums that this was tried on, 2 to 12 % of single draws break the rule, and 0.2 % of eight at most.

Left out, by rule: views with odd strides (the same numbers elsewhere), results that are empty or nowhere
finite, rounding on fewer than 8 numbers (those cases are about shapes), and what a peer cannot take,
which `TAKES` says. An op that never rounds is exact on all cases by `test_twins.py`; here it runs on one.

    python -m tests.refnet_triton.ops.test_against_torch  # the largest ratios, as a table
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("refnet_triton.runtime.device")

from refnet.base.dtypes import round_to, spacing  # noqa: E402
from refnet.ops import TABLE  # noqa: E402
from refnet.proof.exact import reference  # noqa: E402
from refnet.proof.judge import arrays_for, cases_of, inputs_for, output_names, tolerances  # noqa: E402
from refnet_triton.bench import inputs as bench  # noqa: E402
from refnet_triton.bench import peers  # noqa: E402

pytestmark = pytest.mark.triton

DTYPES = ("float32", "bfloat16", "float16")
FEWEST = 8  # numbers among the inputs
DOUBTFUL = 0.5  # a larger ratio is looked at again ...
DRAWS = 8  # ... on so many draws

# -- what is compared ------------------------------------------------------------------------------

DRAWN = {  # have a peer, to be timed against, that draws other numbers
    "random_bits": "other random bits",
    "random_uniform": "other random numbers",
    "random_normal": "other random numbers",
    "dropout": "another random mask",
}
#: cross-entropies also return what the gradient needs, PyTorch's do not
LOSS_ALONE = {"sparse_softmax_cross_entropy", "softmax_cross_entropy"}


def _one_shape(*inputs):
    return len({np.shape(x) for x in inputs}) == 1


def _slices(key):
    return [k for k in (key if isinstance(key, tuple) else (key,)) if isinstance(k, slice)]


#: What a peer takes, where that is less than the op does; called like the op.
TAKES = {
    # one slope, or one for each of the features, which stand on axis 1; for the gradient the latter
    "prelu": lambda x, alpha: np.size(alpha) == 1 or np.shape(alpha) == np.shape(x)[1:],
    "prelu_vjp": lambda g, x, alpha: np.shape(alpha) == np.shape(x)[1:],
    # classes stand on axis 1 as well, so a sequence has them in another place
    "sparse_softmax_cross_entropy": lambda logits, labels: np.ndim(logits) <= 2,
    "softmax_cross_entropy": lambda logits, targets: np.ndim(logits) <= 2,
    # no broadcasting; gradients have the shape of g
    "sigmoid_cross_entropy": _one_shape,
    "sigmoid_cross_entropy_vjp": lambda g, logits, targets: _one_shape(g, logits),
    "subtract_vjp": _one_shape,
    "multiply_vjp": _one_shape,
    "divide_vjp": _one_shape,
    "maximum_vjp": _one_shape,
    "minimum_vjp": _one_shape,
    "where_vjp": lambda g, condition, a, b: _one_shape(g, a, b),
    "power_vjp": lambda g, a, b: _one_shape(g, a) and np.ndim(b) == 0,
    # transposes matrices alone
    "matmul_vjp": lambda g, a, b: (
        min(np.ndim(a), np.ndim(b)) > 1 and np.shape(a)[:-2] == np.shape(b)[:-2]
    ),
    # addmm is for matrices, and the activation has to have a peer
    "linear": lambda x, kernel, bias, activation="relu": (
        np.ndim(x) == 2 and activation in peers.EAGER
    ),
    "linear_vjp": lambda g, x, kernel, saved, activation="relu": (
        np.ndim(g) == 2 and f"{activation}_vjp" in peers.EAGER
    ),
    # unsqueeze puts one axis back
    "max_vjp": lambda g, x, y, axis=None, keepdims=False: keepdims or not isinstance(axis, tuple),
    "min_vjp": lambda g, x, y, axis=None, keepdims=False: keepdims or not isinstance(axis, tuple),
    # PyTorch's slices go forward
    "index_vjp": lambda g, x, key: all((s.step or 1) > 0 for s in _slices(key)),
    # torch.cat leaves no gaps
    "pack": lambda *xs, offsets, size: sum(map(np.size, xs)) == size,
}


def rounds(op):
    """Whether an op rounds at all. If not, `test_twins.py` proves it exact in every type."""
    return str(op.error) != "0"


def taken(op, inputs, attributes):
    """Whether the peer takes these inputs."""
    return op.name not in TAKES or TAKES[op.name](*inputs, **attributes)


def usable_cases(op):
    """The cases to compare; of an op that does not round, the one of the most numbers."""
    usable, numbers = [], []
    for case in cases_of(op):
        inputs, attributes = inputs_for(op, case, "float32")
        something = any(np.isfinite(y).any() for y in reference(op, inputs, attributes))
        if case.layout == "C" and something and taken(op, inputs, attributes):
            usable.append(case)
            numbers.append(sum(map(np.size, inputs)))
    if not rounds(op):
        return [usable[int(np.argmax(numbers))]]
    return [case for case, n in zip(usable, numbers, strict=True) if n >= FEWEST]


OPS = [TABLE[name] for name in peers.EAGER if name not in DRAWN]
PAIRS = [(op, dtype) for op in OPS for dtype in (DTYPES if rounds(op) else DTYPES[:1])]

# -- the rule --------------------------------------------------------------------------------------


@dataclass
class Errors:
    """The largest error of ours and of PyTorch's in one output, and the floor: totals over `draws`."""

    case: str
    output: str
    ours: float = 0.0
    theirs: float = 0.0
    floor: float = 0.0
    draws: int = 0

    @property
    def ratio(self):
        """Left side of the rule over its right side: at most 1 if it holds."""
        allowed = 2 * self.theirs + self.floor
        return self.ours / allowed if allowed else math.inf if self.ours else 0.0

    def __str__(self):
        ulp = self.floor or 1.0
        return (
            f"{self.case}, {self.output}: {self.ours / ulp:.2f} ulp, PyTorch's "
            f"{self.theirs / ulp:.2f}: {self.ratio:.2f} of what is allowed, on {self.draws} draws"
        )

    def include(self, ours, theirs, exact, floor):
        """Measure one draw."""
        with np.errstate(invalid="ignore"):
            ours, theirs = np.abs(ours - exact), np.abs(theirs - exact)
        self.ours += float(np.where(np.isnan(ours), np.inf, ours).max())
        self.theirs += float(np.where(np.isfinite(theirs), theirs, 0.0).max())
        self.floor += floor
        self.draws += 1


def measure(op, dtype, case, function=None):
    """The errors in each output of a case, of `function` in place of the kernel, if given."""
    backend = bench.backend()
    found = {}
    for seed in range(DRAWS):
        inputs, attributes = inputs_for(op, case, dtype, seed)
        exact = reference(op, inputs, attributes)

        def results(of, inputs=inputs, attributes=attributes):
            return bench.as_tuple(of(*arrays_for(backend, inputs, dtype), **attributes))

        ours = results(function or backend.function(op))
        theirs = results(peers.EAGER[op.name])
        assert len(theirs) == (1 if op.name in LOSS_ALONE else len(exact)), case.name
        names, bounds = output_names(op, exact), tolerances(op, inputs, attributes, exact, dtype)
        for name, a, b, y, bound in zip(names, ours, theirs, exact, bounds, strict=False):
            where = f"{case.name}, {name}"
            assert a.shape == b.shape == np.shape(y), where
            y, floats = np.asarray(y), np.asarray(y).dtype.kind == "f"
            assert a.dtype == b.dtype or not floats, where
            kind = backend.dtype(a)
            finite = np.isfinite(round_to(y, kind)) if floats else np.full(y.shape, True)
            finite &= ~(bound > np.abs(y)) if floats else True
            if finite.any():
                y = y[finite].astype(np.float64)
                a, b = (np.asarray(backend.numpy(x), np.float64)[finite] for x in (a, b))
                floor = float(spacing(np.abs(y).max(), kind)) if floats else 0.0
                found.setdefault(name, Errors(case.name, name)).include(a, b, y, floor)
        if not seed and all(errors.ratio <= DOUBTFUL for errors in found.values()):
            break
    return list(found.values())


# -- where it does not hold ------------------------------------------------------------------------

# -- the tests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "dtype"), PAIRS, ids=[f"{op.name}-{dtype}" for op, dtype in PAIRS])
def test_at_most_twice_the_error_of_pytorch(op, dtype, record_property):
    found = [errors for case in usable_cases(op) for errors in measure(op, dtype, case)]
    record_property("compared", len(found))
    assert found
    assert not [str(errors) for errors in found if not errors.ratio <= 1]


def test_every_op_with_a_peer_is_compared():
    assert set(peers.EAGER) <= set(TABLE)
    assert set(TAKES) <= {op.name for op in OPS}
    compared = Counter({op.name: len(usable_cases(op)) for op in OPS})
    assert not [op.name for op in OPS if not compared[op.name]]
    assert compared.total() > 500, compared.total()


@pytest.mark.parametrize("name", TAKES)
def test_what_is_left_out_the_peer_cannot_take(name):
    op, backend, left_out = TABLE[name], bench.backend(), 0
    for case in cases_of(op):
        inputs, attributes = inputs_for(op, case, "float32")
        if case.layout != "C" or taken(op, inputs, attributes):
            continue
        left_out += 1
        shapes = [np.shape(y) for y in reference(op, inputs, attributes)]
        try:
            results = peers.EAGER[name](*arrays_for(backend, inputs, "float32"), **attributes)
        except (RuntimeError, TypeError, ValueError):
            continue
        results = bench.as_tuple(results)
        assert [tuple(y.shape) for y in results] != shapes[: len(results)], case.name
    assert left_out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("by", [4.0, -4.0, math.nan])
def test_one_element_that_is_four_ulp_off_is_caught(dtype, by):
    op, kernel = TABLE["sigmoid"], bench.backend().function(TABLE["sigmoid"])
    (case,) = (case for case in usable_cases(op) if case.name == "block edge 1025")

    def spoiled(x):
        y = kernel(x)
        y[y.argmax()] += by * float(spacing(float(y.max()), dtype))
        return y

    (good,), (bad,) = measure(op, dtype, case), measure(op, dtype, case, spoiled)
    assert good.ratio <= 1 < bad.ratio


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_a_running_total_in_the_half_type_is_caught(dtype):
    """The commonest mistake in a product: each partial sum is rounded to the type of the inputs."""
    (case,) = (case for case in usable_cases(TABLE["matmul"]) if case.name == "long sums")

    def careless(a, b):
        total = torch.zeros(a.shape[0], b.shape[1], dtype=a.dtype, device=a.device)
        for k in range(a.shape[1]):
            total += a[:, k, None] * b[k]
        return total

    (errors,) = measure(TABLE["matmul"], dtype, case, careless)
    assert errors.ratio > 4


@pytest.mark.parametrize(
    ("ours", "theirs", "ratio"),
    [
        (1.0 + 2**-24, 1.0, 0.5),  # PyTorch hit the number: ours may round once
        (1.0 + 2**-22, 1.0, 2.0),
        (1.0 + 2**-22, 1.0 - 2**-23, 2 / 3),
        (math.nan, 1.0, math.inf),
        (math.inf, math.inf, math.inf),  # PyTorch's infinity is no excuse
        (1.0, math.nan, 0.0),
    ],
)
def test_the_ratio(ours, theirs, ratio):
    errors = Errors("a case", "y")
    errors.include(np.array([ours, 0.25]), np.array([theirs, 0.25]), np.array([1.0, 0.25]), 2**-23)
    assert errors.ratio == pytest.approx(ratio)


def test_where_nothing_is_rounded_nothing_may_be_wrong():
    errors = Errors("a case", "y")
    assert errors.ratio == 0
    errors.include(np.array([1.0]), np.array([0.0]), np.array([0.0]), 0.0)
    assert errors.ratio == math.inf


# -- as a program ----------------------------------------------------------------------------------


def table():
    """The largest ratio of each op in each type, over all cases, as Markdown."""
    lines = [f"| op | cases | {' | '.join(DTYPES)} |", f"| --- |{' ---: |' * (1 + len(DTYPES))}"]
    for op in sorted(OPS, key=list(TABLE.values()).index):
        cases = usable_cases(op)
        cells = [
            f"{max(e.ratio for case in cases for e in measure(op, dtype, case)):.2f}"
            if (op, dtype) in PAIRS
            else "exact"
            for dtype in DTYPES
        ]
        lines.append(f"| `{op.name}` | {len(cases)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
