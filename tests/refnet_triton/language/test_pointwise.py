"""`refnet_triton.language.pointwise`: one kernel for every elementwise operation. Judged by what torch
computes.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip(
    "refnet_triton.runtime.device"
)  # before triton, which it tells whether to interpret

import triton.language as tl  # noqa: E402

from refnet.errors import BackendError, ShapeError  # noqa: E402
from refnet_triton.language.pointwise import _pointwise_kernel, collapse, copy_, pointwise  # noqa: E402, F401
from refnet_triton.runtime.device import DEVICE, INTERPRETED, LAUNCH, specialize  # noqa: E402, F401

pytestmark = pytest.mark.triton

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
INTEGERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


@pointwise
def leaky_relu(x, negative_slope=0.1):
    """max(x, slope·x)"""
    return tl.where(x > 0, x, negative_slope * x)


@pointwise
def identity(x):
    return x


@pointwise
def add(x, y):
    return x + y


@pointwise
def scale_shift(x, scale, shift):
    return x * scale + shift


@pointwise
def sum_and_difference(x, y):
    return x + y, x - y


@pointwise(dtype=torch.bool)
def greater(x, y):
    return x > y


@pointwise(dtype=(None, torch.bool))
def value_and_sign(x):
    return x, x < 0


@pointwise(writes=("theta", "m"))
def momentum(theta, m, g, rate, decay=0.9):
    m = decay * m + g
    return theta - rate * m, m


@pointwise
def choose(condition, x, y, negate=False):
    if negate:
        return tl.where(condition, y, x)
    else:
        return tl.where(condition, x, y)


def normal(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).to(DEVICE)


def test_looks_like_the_function_it_wraps():
    assert leaky_relu.__name__ == "leaky_relu" and leaky_relu.__module__ == __name__
    assert leaky_relu.__doc__ == "max(x, slope·x)"
    assert inspect.signature(leaky_relu) == inspect.signature(leaky_relu.__wrapped__)
    assert leaky_relu.data == ("x",) and leaky_relu.attributes == {"negative_slope": 0.1}
    assert sum_and_difference.outputs == 2


@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 1023, 1024, 1025, 2047, 4096, 65_537, 131_072])
def test_every_size(n):
    x = normal(n)
    assert torch.equal(leaky_relu(x), torch.where(x > 0, x, 0.1 * x))


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0), (1, 1), (7, 1, 5)])
def test_shapes_are_kept(shape):
    x = normal(*shape)
    assert leaky_relu(x).shape == shape
    assert torch.equal(add(x, x), x + x)


def test_arguments_by_position_and_name():
    x = normal(10)
    expected = torch.where(x > 0, x, 0.25 * x)
    for result in (
        leaky_relu(x, 0.25),
        leaky_relu(x, negative_slope=0.25),
        leaky_relu(negative_slope=0.25, x=x),
    ):
        assert torch.equal(result, expected)
    assert torch.equal(leaky_relu(x, 1), x)
    with pytest.raises(TypeError, match="slope"):
        leaky_relu(x, slope=0.25)
    with pytest.raises(TypeError, match=r"negative_slope.*number or a bool"):
        leaky_relu(x, x)


@pytest.mark.parametrize("shapes", [
    [(4, 5), (5,)], [(4, 5), (4, 1)], [(4, 1), (5,)], [(4, 5), (1, 1)], [(1,), (4, 5)],
    [(3,), (1, 1)], [(), (4,)], [(2, 1, 3, 1, 5), (4, 1, 6, 1)], [(0, 5), (5,)], [(0, 5), (1,)],
    [(1, 5), (0, 1)],
    [(64, 33), (33,)], [(2, 3, 64), (3, 1)],
])  # fmt: skip
def test_broadcasting(shapes):
    x, y = (normal(*shape, seed=i) for i, shape in enumerate(shapes))
    assert torch.equal(add(x, y), x + y)
    assert torch.equal(add(y, x), x + y)


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"add: shapes \(3,\), \(4,\)"):
        add(normal(3), normal(4))


VIEWS = {
    "transposed": lambda x: x.T,
    "permuted": lambda x: x.view(4, 3, 4, 12).permute(2, 0, 3, 1),
    "every other": lambda x: x[:, ::2],
    "a column": lambda x: x[:, 3],
    "a block": lambda x: x[1:7, 2:11],
    "shifted by one": lambda x: x.view(-1)[1:],
    "expanded": lambda x: x[:1].expand(9, -1),
    "six dimensions": lambda x: x.view(2, 2, 3, 2, 2, 12).permute(5, 3, 1, 0, 2, 4),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("view", VIEWS)
def test_strides(view, dtype):
    x = VIEWS[view](normal(12, 48, dtype=dtype))
    y = normal(*x.shape, dtype=dtype, seed=1)
    assert torch.equal(add(x, y), x + y)
    assert torch.equal(identity(x), x)
    assert identity(x).is_contiguous()


def test_collapsing_dimensions():
    assert collapse((2, 3, 4), [(12, 4, 1)]) == ((24,), [(1,)])
    assert collapse((2, 3, 4), [(12, 4, 1), (0, 0, 1)]) == ((6, 4), [(4, 1), (0, 1)])
    assert collapse((2, 1, 4), [(1, 77, 2)]) == ((2, 4), [(1, 2)])
    assert collapse((1, 1), [(5, 5)]) == ((), [()])


@pytest.mark.parametrize("dtype", FLOATS)
def test_sixteen_bit_numbers_are_rounded_once_to_nearest(dtype):
    x, y, z = (normal(5000, dtype=dtype, seed=seed) for seed in range(3))
    compute = torch.promote_types(dtype, torch.float32)
    expected = (x.to(compute) * y.to(compute) + z.to(compute)).to(dtype)
    difference = (scale_shift(x, y, z).double() - expected.double()).abs()
    # compiled, x·y + z may be one fused operation, so float32 and float64 may differ in the last
    # place
    fused = torch.finfo(compute).eps * ((x * y).abs().double() + z.abs().double())
    assert (difference <= (0 if dtype != compute and INTERPRETED.value else fused)).all()


def every_bfloat16():
    return (
        torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32)
        .to(torch.int16)
        .view(torch.bfloat16)
        .to(DEVICE)
    )


def test_every_bfloat16_survives():
    x = every_bfloat16()
    torch.testing.assert_close(identity(x), x, rtol=0, atol=0, equal_nan=True)
    finite = ~x.isnan()
    assert torch.equal(identity(x)[finite].view(torch.int16), x[finite].view(torch.int16))  # ±0 too


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrowing_rounds_as_torch_does(dtype):
    """Ties to even, carries into the exponent, subnormal results, overflow, infinities and NaN."""
    bits = torch.randint(-(1 << 31), 1 << 31, (50_000,), generator=torch.Generator().manual_seed(0))
    x = bits.to(torch.int32).view(torch.float32)
    near = every_bfloat16().cpu().float()
    ties = (near.view(torch.int32) + 0x8000).view(torch.float32)
    x = torch.cat(
        [x, near, ties, ties.nextafter(torch.zeros(())), torch.tensor([torch.inf, torch.nan])]
    ).to(DEVICE)
    narrow = copy_(torch.empty(len(x), dtype=dtype, device=DEVICE), x)
    torch.testing.assert_close(narrow, x.to(dtype), rtol=0, atol=0, equal_nan=True)


def test_types_of_results():
    half, single, double, integer = (
        normal(4).to(t) for t in (torch.float16, torch.float32, torch.float64, torch.int32)
    )
    assert add(half, single).dtype == torch.float32
    assert add(half, half.bfloat16()).dtype == torch.float32
    assert add(single, double).dtype == torch.float64
    assert add(half, integer).dtype == torch.float16
    assert add(half, 2.0).dtype == torch.float16  # a Python number is weak
    assert add(integer, 2).dtype == torch.int32
    assert add(integer, 2.0).dtype == torch.float64  # as in NumPy
    assert add(integer, integer.long()).dtype == torch.int64
    assert greater(half, 0).dtype == torch.bool
    assert [y.dtype for y in value_and_sign(half)] == [torch.float16, torch.bool]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers(dtype):
    x = torch.arange(100, device=DEVICE).to(dtype)
    assert torch.equal(add(x, 3), x + 3)
    assert torch.equal(scale_shift(x, 2, x), x * 2 + x)
    assert torch.equal(greater(x, 50), x > 50)


def test_booleans():
    condition = normal(100) > 0
    x, y = normal(100, seed=1), normal(100, seed=2)
    assert torch.equal(choose(condition, x, y), torch.where(condition, x, y))
    assert torch.equal(choose(condition, x, y, negate=True), torch.where(condition, y, x))
    assert torch.equal(choose(condition, x, 0), torch.where(condition, x, 0))
    assert torch.equal(identity(condition), condition)
    nan = torch.tensor([torch.nan, 0.0, -0.0, 2.0], device=DEVICE)
    assert copy_(torch.empty(4, dtype=torch.bool, device=DEVICE), nan).tolist() == [
        True,
        False,
        False,
        True,
    ]


def test_python_numbers_keep_float64_precision():
    x = torch.zeros(3, dtype=torch.float64, device=DEVICE)
    for value in (0.1, 1e-300, 1e300, -0.0, 0, 7, True):
        assert add(x, value).tolist() == [float(value)] * 3
    assert add(x, float("inf")).isinf().all() and add(x, float("nan")).isnan().all()
    assert torch.equal(add(x.float(), 0.1), x.float() + 0.1)


def test_single_elements_are_shared():
    x, rate = normal(5000), torch.tensor(0.3, device=DEVICE)
    assert torch.equal(scale_shift(x, rate, 0.0), x * rate)
    assert torch.equal(scale_shift(rate, x, torch.zeros(1, device=DEVICE)), x * rate)


def test_several_results():
    x, y = normal(40, 3), normal(3, seed=1)
    total, difference = sum_and_difference(x, y)
    assert torch.equal(total, x + y) and torch.equal(difference, x - y)


@pytest.mark.parametrize("transposed", [False, True])
def test_in_place(transposed):
    theta, m, g = (normal(30, 50, seed=seed) for seed in range(3))
    if transposed:
        theta = theta.T.contiguous().T
    expected_m = 0.9 * m + g
    expected = theta - 0.5 * expected_m
    result = momentum(theta, m, g, 0.5)
    assert result[0] is theta and result[1] is m
    torch.testing.assert_close(m, expected_m)
    torch.testing.assert_close(theta, expected)


def test_in_place_keeps_each_type():
    theta, m, g = (
        normal(50, dtype=torch.bfloat16),
        normal(50, seed=1),
        normal(50, dtype=torch.bfloat16, seed=2),
    )
    expected_m = 0.9 * m + g.float()
    expected = (theta.float() - 0.5 * expected_m).bfloat16()
    momentum(theta, m, g, 0.5)
    torch.testing.assert_close(m, expected_m)
    torch.testing.assert_close(theta, expected)


def test_in_place_refuses_what_it_cannot_overwrite():
    with pytest.raises(ShapeError, match=r"overwrites theta.*\(4, 3\)"):
        momentum(normal(3), normal(4, 3), normal(4, 3), 0.1)
    with pytest.raises(ShapeError, match="no element stored twice"):
        copy_(normal(1, 3).expand(4, 3), normal(4, 3))


def test_copy():
    x = torch.zeros(6, 8, device=DEVICE)
    assert copy_(x[:, ::2], torch.arange(4, device=DEVICE)) is not None
    copy_(x[1::2, 1::2], normal(4, 3).T)
    expected = torch.zeros(6, 8, device=DEVICE)
    expected[:, ::2] = torch.arange(4.0, device=DEVICE)
    expected[1::2, 1::2] = normal(4, 3).T
    assert torch.equal(x, expected)
    assert torch.equal(copy_(x, 7), torch.full_like(x, 7))


def test_what_is_not_a_tensor_here():
    with pytest.raises(BackendError, match="add works on torch tensors, got ndarray"):
        add(normal(3), normal(3).cpu().numpy())
    with pytest.raises(BackendError, match="got float"):
        add(1.0, 2.0)
    with pytest.raises(BackendError, match=r"add works on tensors on .* got one on 'meta'"):
        add(normal(3), torch.empty(3, device="meta"))


COMPILE = """
import re, torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from tests.refnet_triton.language import test_pointwise as t

def ptx(specialization):
    *source, options = specialization
    target = GPUTarget("cuda", 90, 32)
    return triton.compile(ASTSource(*source), target=target, options=options).asm["ptx"]

def accesses(text, kind):
    pattern = kind + r"[.]global\\S*?(?:[.]v([248]))?[.][bfsu](\\d+)"
    return {int(count or 1) * int(bits) for count, bits in re.findall(pattern, text)}

for operation in (t.leaky_relu, t.sum_and_difference, t.momentum, t.choose):
    for text in map(ptx, operation.specializations(torch.int32)):
        assert "st.global" in text
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        flat, strided, *mixed = map(ptx, operation.specializations(dtype))
        for text in (flat, *mixed):
            assert 128 in accesses(text, "ld"), (operation, dtype, accesses(text, "ld"))
            assert 128 in accesses(text, "st"), (operation, dtype, accesses(text, "st"))
        assert "st.global" in strided

huge = torch.empty(1 << 20, 1 << 14, device="meta")
flat = t.add._prepare((huge, huge), ())[-1]
wide = t.add._prepare((huge.T, huge.T), ())[-1]
assert "mul.wide" in ptx(t.specialize(t._pointwise_kernel, flat, t.LAUNCH))
assert wide[-2] is True and "rem.s64" in ptx(t.specialize(t._pointwise_kernel, wide, t.LAUNCH))
print("compiled")
"""


def test_compiles_to_128_bit_accesses_without_a_gpu(compile_only):
    assert "compiled" in compile_only(COMPILE)


CONSTANTS = """
from refnet_triton.ops.activations import leaky_relu
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
kernel, signature, constexprs, attrs, options = leaky_relu.specializations(torch.float64)[0]
source = ASTSource(kernel, signature, constexprs, attrs)
print(triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ttir"])
"""


def test_attributes_are_compiled_in_with_all_their_digits(compile_only):
    """Interpreted, a slope is a Python float; compiled, it must not go through float32."""
    text = compile_only(CONSTANTS)
    assert "dense<1.000000e-01> : tensor<1024xf64>" in text  # and not 0.10000000149011612


def test_says_once_that_there_is_no_gpu():
    env = {
        k: v for k, v in os.environ.items() if k not in ("TRITON_INTERPRET", "REFNET_COMPILE_ONLY")
    }
    code = "import sys, refnet_triton; assert 'triton' not in sys.modules"
    code += "; import refnet_triton.runtime.device"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    expected = 0 if torch.cuda.is_available() else 1
    assert done.stderr.count("no GPU found") == expected
