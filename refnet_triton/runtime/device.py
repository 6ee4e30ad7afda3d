"""The machine: which device there is, and whether kernels are compiled for it or interpreted.

Every module of this package imports this one before `triton`, because Triton reads the variable
TRITON_INTERPRET once, while it is being imported:

===================================  ==========================================================
GPU present                          kernels are compiled; tensors live on ``DEVICE = cuda``
no GPU                               kernels run in Triton's interpreter, on the CPU
TRITON_INTERPRET=1, GPU or not       the same, on purpose: a debugger can step through a kernel
REFNET_COMPILE_ONLY=1, no GPU        kernels can be compiled for any GPU, but not launched
===================================  ==========================================================

What the interpreter gets wrong is put right once: see `narrow`, `widen`, and `interpreter`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from refnet_triton.runtime import interpreter
from refnet_triton.runtime.interpreter import MOST_PROGRAMS

_NO_GPU = not torch.cuda.is_available()
_COMPILE_ONLY = os.environ.get("REFNET_COMPILE_ONLY") == "1"
_ASKED_FOR = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")

if _NO_GPU and not _COMPILE_ONLY and not _ASKED_FOR:
    os.environ["TRITON_INTERPRET"] = "1"
    print(
        "refnet_triton: no GPU found, so kernels run in Triton's interpreter: correct, but slow.",
        file=sys.stderr,
    )

# These two come after the decision above: importing them is what makes it final.
import triton  # noqa: E402
import triton.language as tl  # noqa: E402

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))
few_programs = bool(INTERPRETED.value)  # which sizes launches have: see `as_on_a_gpu`
DEVICE = torch.device("cpu" if _NO_GPU or INTERPRETED.value else "cuda")

# Options for every launch, ``kernel[grid](..., **LAUNCH)``. Fusing a * b + c into one instruction
# halves the length of a polynomial. It has been Triton's default, and will not be from 3.10 on.
LAUNCH = {"enable_fp_fusion": True}

if isinstance(tl.zeros, triton.JITFunction) == INTERPRETED.value:
    from refnet.errors import BackendError

    raise BackendError(
        "triton was imported before refnet_triton.runtime.device could choose between compiling and "
        "interpreting. Import refnet_triton.runtime.device first, or set TRITON_INTERPRET (no GPU: 1) "
        "in the environment, before Python starts."
    )


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Within the block, grids, blocks and tiles have the sizes that they have on a GPU.

    Interpreted, a program takes about a millisecond, whatever its size. So there are few large ones, if
    `few_programs` holds. To prove or to show what a GPU would do, its many small ones are wanted.
    """
    global few_programs
    before, few_programs = few_programs, False
    try:
        yield
    finally:
        few_programs = before


def arithmetic(dtype: torch.dtype) -> torch.dtype:
    """The type that numbers of `dtype` are computed and summed in: float32 for the half types."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def compute_type(dtype: torch.dtype) -> Any:
    """`arithmetic`, as Triton names it: what a kernel takes as COMPUTE."""
    return tl.float64 if dtype == torch.float64 else tl.float32


def check_tensors(name: str, *tensors: torch.Tensor) -> None:
    """Raise BackendError unless all of these are torch tensors on the kernels' device."""
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor):
            raise _backend_error(
                f"{name} works on torch tensors, got {type(tensor).__name__}: "
                f"convert it with torch.as_tensor(x, device={str(DEVICE)!r})"
            )
        if tensor.device.type != DEVICE.type:
            raise _backend_error(
                f"{name} works on tensors on {str(DEVICE)!r}, got one on {str(tensor.device)!r}: "
                f"move it with x.to({str(DEVICE)!r})"
            )
    if len({tensor.device for tensor in tensors}) > 1:
        devices = ", ".join(str(tensor.device) for tensor in tensors)
        raise _backend_error(f"{name} needs all tensors on one device, got {devices}")


def _backend_error(message: str) -> Exception:
    from refnet.errors import BackendError

    return BackendError(message)


def launches(count: int, programs: int) -> list[range]:
    """Ranges of 0 … count - 1, one for each launch, where each number needs so many programs.

    There is one launch unless the programs of all are more than a grid can have.
    """
    each = max(1, MOST_PROGRAMS // programs)
    return [range(first, min(first + each, count)) for first in range(0, count, each)]


def share(x: torch.Tensor, numbers: range, size: int) -> torch.Tensor:
    """The elements of x, contiguous, that belong to some numbers, `size` to each; x itself if to all."""
    if len(numbers) * size == x.numel():
        return x
    return x.view(-1)[numbers.start * size : numbers.stop * size]


def on_device_of(tensor: torch.Tensor) -> Any:
    """``with on_device_of(x): kernel[grid](...)`` launches on the GPU that x is on, if there are
    several.
    """
    return torch.cuda.device(tensor.device) if _SEVERAL_GPUS else _HERE


_SEVERAL_GPUS = DEVICE.type == "cuda" and torch.cuda.device_count() > 1
_HERE: Any = contextlib.nullcontext()


def specialize(kernel: Any, arguments: Sequence[Any], options: dict[str, Any]) -> tuple:
    """What Triton would compile if ``kernel`` were launched with these arguments, on any machine.

    Tensors may be on the "meta" device: of any size, without memory. Of what a launch would look
    at, only the alignment of a tensor is assumed, not read: 16 bytes.

    Returns
    -------
    (kernel, signature, constexprs, attrs, options), for

        triton.compile(ASTSource(kernel, signature, constexprs, attrs), target=..., options=options)
    """
    constexprs: dict[tuple[int, ...], Any] = {}
    attrs: dict[tuple[int, ...], Any] = {}

    def type_of(value: Any, path: tuple[int, ...], parameter: Any) -> Any:
        if parameter.is_constexpr or value is None:
            constexprs[path] = value
            return "constexpr"
        if isinstance(value, tuple):
            return tuple(type_of(v, (*path, i), parameter) for i, v in enumerate(value))
        if parameter.annotation_type:
            return parameter.annotation_type
        if isinstance(value, torch.Tensor):
            attrs[path] = [["tt.divisibility", 16]]
            return "*" + _TYPE_NAME[value.dtype]
        if isinstance(value, bool | int) and not parameter.do_not_specialize:
            if value == 1:
                constexprs[path] = value
                return "constexpr"
            if value % 16 == 0:
                attrs[path] = [["tt.divisibility", 16]]
        return "i32" if abs(value) < 1 << 31 else "i64"

    signature = {
        parameter.name: type_of(value, (i,), parameter)
        for i, (parameter, value) in enumerate(zip(kernel.params, arguments, strict=True))
    }
    return kernel, signature, constexprs, attrs, dict(options)


_TYPE_NAME = {
    torch.float64: "fp64", torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16",
    torch.int64: "i64", torch.int32: "i32", torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8",
    torch.bool: "i1", torch.uint16: "u16", torch.uint32: "u32", torch.uint64: "u64",
}  # fmt: skip


@triton.jit
def blocks(n, BLOCK: tl.constexpr):
    """How many blocks n elements fill. (Just below 2³¹ of them, tl.cdiv overflows.)"""
    return (n - 1) // BLOCK + 1


@triton.jit
def widen(x):
    """float16 and bfloat16 as float32, to be used right after a load; every other type unchanged.

    Sixteen-bit numbers are for storage: 8 or 11 bits of precision do not survive a formula.
    """
    if x.dtype == tl.bfloat16:
        if (
            INTERPRETED
        ):  # .to() makes subnormal numbers up here; the upper half of a float32 is exact
            return (x.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)
        else:
            return x.to(tl.float32)
    elif x.dtype == tl.float16:
        return x.to(tl.float32)
    else:
        return x


@triton.jit
def narrow(y, dtype: tl.constexpr):
    """y in the type it is stored as, rounded to nearest even; to be used right before a store.

    A bfloat16 is the upper half of a float32, and the interpreter just cuts the lower half off.
    Adding half of what is cut off, less one unless the last kept bit is odd, rounds to nearest even
    instead. A carry into the exponent is right too: 1.99 becomes 2, and the largest numbers become
    infinity.
    """
    if dtype == tl.int1:
        return y != 0
    elif dtype == tl.bfloat16 and INTERPRETED:
        bits = y.to(tl.float32).to(tl.uint32, bitcast=True)
        upper = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        upper = tl.where(y != y, 0x7FC0, upper)  # a NaN may have all its set bits in the lower half
        return upper.to(tl.uint16).to(tl.bfloat16, bitcast=True)
    else:
        return y.to(dtype)


if INTERPRETED.value:
    interpreter.mend()
