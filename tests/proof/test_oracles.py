"""The reference against formulas that are not ours: PyTorch's functions, in float64, on every case.

What judges an op elsewhere is its own formula, in more digits: another function, computed faithfully,
would pass. So the reference is compared with PyTorch as well, wherever PyTorch has the op. What it has
not is named; these gradients are judged by central differences alone, draws by their distribution.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("refnet_triton.bench.peers")

from refnet.op import TABLE  # noqa: E402
from refnet.proof.exact import reference  # noqa: E402
from refnet.proof.judge import cases_of, differences, inputs_for, tolerances  # noqa: E402
from refnet_triton.bench import peers  # noqa: E402
from tests.refnet_triton.ops.test_against_torch import DRAWN, LOSS_ALONE, taken  # noqa: E402

pytestmark = pytest.mark.triton
JUDGED = [name for name in peers.EAGER if name not in DRAWN]
#: ops that round, and of which PyTorch has none, or draws other numbers
ALONE = {"add_vjp", "mean_vjp", "logsumexp_vjp", *DRAWN, "dropout_vjp"} - {"random_bits"}
#: where PyTorch rounds to float32 on its way, or is another function from somewhere on: how far they part
DIGITS = {
    "softplus": (1e-8, "x itself above 20"),
    "softplus_vjp": (1e-8, "1 above 20"),
    "hard_sigmoid_vjp": (1e-7, "1/6 is a float32"),
    "linear_vjp": (1e-7, "that of hard_sigmoid is in it"),
    "sgd": (1e-7, "the rate is a float32"),
    "adam": (1e-7, "the rate is a float32"),
}


def ordinary(op, x):
    """x with 1 in place of what libraries differ about: NaN and infinity, and 0 where there is a kink."""
    if np.asarray(x).dtype.kind != "f":
        return x
    kinked = (x == 0) & bool((op.primal or op).kinks)
    return np.where(np.isfinite(x) & ~kinked, x, 1.0)


def wrong(name, function=None):
    """What parts from PyTorch by more than both may be off."""
    op, said, compared = TABLE[name], [], 0
    for case in cases_of(op):
        inputs, attributes = inputs_for(op, case, "float64")
        inputs = tuple(ordinary(op, x) for x in inputs)
        if case.layout != "C" or not taken(op, inputs, attributes):
            continue
        expected = reference(op, inputs, attributes)
        bounds = tolerances(op, inputs, attributes, expected, "float64")
        tensors = [torch.tensor(np.array(x)) for x in inputs]
        found = (function or peers.EAGER[name])(*tensors, **attributes)
        found = found if isinstance(found, tuple | list) else (found,)
        assert len(found) == (1 if name in LOSS_ALONE else len(expected)), case.name
        for y, z, bound in zip(expected, found, bounds, strict=False):
            compared += np.size(y)
            if np.asarray(y).dtype.kind != "f":
                if not np.array_equal(y, z.numpy()):
                    said.append(f"{case.name}: {y} is not {z}")
                continue
            if name in DIGITS:
                bound = bound + DIGITS[name][0] * np.maximum(np.abs(y), 1)
            bound = np.broadcast_to(bound, np.shape(y))
            _, ratio = differences(z.numpy(), np.asarray(y), bound)
            if ratio.size and not np.all(ratio <= 1):
                at = np.unravel_index(np.nanargmax(np.where(ratio <= 1, 0, ratio)), ratio.shape)
                said.append(
                    f"{case.name}{list(map(int, at))}: {y[at]!r}, PyTorch {z.numpy()[at]!r}"
                )
    return said, compared


@pytest.mark.parametrize("name", JUDGED)
def test_the_reference_is_that_of_pytorch(name):
    said, compared = wrong(name)
    assert compared and not said


def test_another_function_is_noticed():
    def gelu(x, approximate=False):
        return torch.nn.functional.gelu(x, approximate="tanh")

    said, _ = wrong("gelu", gelu)
    assert said and "PyTorch" in said[0]


def test_most_ops_that_compute_are_judged():
    computing = {op.name for op in TABLE.values() if str(op.error) != "0"}
    alone = computing - set(JUDGED)
    assert alone == ALONE
