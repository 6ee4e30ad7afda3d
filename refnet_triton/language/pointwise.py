"""One kernel for every elementwise operation: load, compute, store.

An elementwise operation differs from the next one by a line of mathematics. `pointwise` turns that
line, a Triton device function of single numbers, into a function of whole tensors:

    >>> @pointwise  # doctest: +SKIP
    ... def leaky_relu(x, negative_slope=0.1):
    ...     return tl.where(x > 0, x, negative_slope * x)
    >>> leaky_relu(torch.tensor([-1.0, 2.0]), negative_slope=0.5)  # doctest: +SKIP
    tensor([-0.5000,  2.0000])

A parameter without a default is *data*: a tensor, or a Python number, which a kernel receives anew
at each call. A parameter with a default is an *attribute*, a number or a bool that is compiled into
the kernel.

What an elementwise kernel can be judged by is how near it comes to the speed of memory. Each thread
therefore moves 16 bytes per instruction, and computes in registers in between. Two things would
spoil it:

- A mask on every access makes the compiler give up 16-byte accesses wherever the length is not a
  multiple of 16. So only the last block is masked; all others are full, and take a branch without
  masks.
- 64-bit offsets in every element. So the 64-bit start of a block is added to the pointer, which
  happens once, and elements are counted from there with 32 bits. (Tensors above 2³¹ elements come
  out right.)
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import math
import numbers
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from refnet.base.dtypes import common
from refnet.errors import DTypeError
from refnet_triton.language.strides import (
    collapse,
    expand,
    is_contiguous,
    meetings,
    reach,
    share_elements,
    stored_twice,
)
from refnet_triton.runtime import device
from refnet_triton.runtime.device import (
    DEVICE,
    LAUNCH,
    check_tensors,
    narrow,
    on_device_of,
    specialize,
    widen,
)

# isort: split
import triton
import triton.language as tl

MAX_DATA, MAX_ATTRIBUTES = 6, 3  # as many as `_call` has branches for
MAX_NUMBERS = 4  # as many as `_pointwise_kernel` has parameters for

# How a tensor is reached, one letter each. "f", flat: element i of the result needs element i in
# memory. "1", single: one element serves all. "s", strided: i is taken apart into an index per
# dimension. And "n", number: there is no tensor, but a Python number that comes with the launch.


# --- the kernel ---------------------------------------------------------------------------------


@triton.jit
def strided_offset(index, sizes, strides):
    """Σ index_d · stride_d, where index counts the elements in row-major order."""
    offset = 0
    for d in tl.static_range(len(sizes) - 1, 0, -1):
        offset += (index % sizes[d]) * strides[d]
        index = index // sizes[d]
    return offset + index * strides[0]


@triton.jit
def _address(pointer, sizes, strides, start, lane, LAYOUT: tl.constexpr, WIDE: tl.constexpr):
    if LAYOUT == "s":
        if WIDE:
            return pointer + strided_offset(start + lane, sizes, strides)
        else:
            return pointer + strided_offset(start.to(tl.int32) + lane, sizes, strides)
    else:
        return pointer + start + lane


@triton.jit
def _compute_type(x, COMPUTE: tl.constexpr):
    """Floating-point numbers in one common type; integers and booleans as they are."""
    if x.dtype.is_floating():
        return widen(x).to(COMPUTE)
    else:
        return x


@triton.jit
def _read(pointer, sizes, strides, start, lane, n, LAYOUT: tl.constexpr, COMPUTE: tl.constexpr,
          WIDE: tl.constexpr, FULL: tl.constexpr):  # fmt: skip
    if LAYOUT == "1":
        return _compute_type(tl.load(pointer), COMPUTE)
    else:
        address = _address(pointer, sizes, strides, start, lane, LAYOUT, WIDE)
        if FULL:
            return _compute_type(tl.load(address), COMPUTE)
        else:
            return _compute_type(tl.load(address, mask=lane < n - start), COMPUTE)


@triton.jit
def _call(F: tl.constexpr, v, A: tl.constexpr):
    """F(*v, *A). Written out, because Triton compiles a starred call only from 3.9 on.

    The attributes A go in one by one, as constants: in a tuple with the data they would become
    float32 numbers, and 0.1 would be 0.10000000149 in a float64 formula.
    """
    if len(A) == 0:
        return _call_0(F, v)
    elif len(A) == 1:
        return _call_1(F, v, A[0])
    elif len(A) == 2:
        return _call_2(F, v, A[0], A[1])
    else:
        return _call_3(F, v, A[0], A[1], A[2])


@triton.jit
def _call_0(F: tl.constexpr, v):
    if len(v) == 1:
        return F(v[0])
    elif len(v) == 2:
        return F(v[0], v[1])
    elif len(v) == 3:
        return F(v[0], v[1], v[2])
    elif len(v) == 4:
        return F(v[0], v[1], v[2], v[3])
    elif len(v) == 5:
        return F(v[0], v[1], v[2], v[3], v[4])
    else:
        return F(v[0], v[1], v[2], v[3], v[4], v[5])


@triton.jit
def _call_1(F: tl.constexpr, v, a: tl.constexpr):
    if len(v) == 1:
        return F(v[0], a)
    elif len(v) == 2:
        return F(v[0], v[1], a)
    elif len(v) == 3:
        return F(v[0], v[1], v[2], a)
    elif len(v) == 4:
        return F(v[0], v[1], v[2], v[3], a)
    elif len(v) == 5:
        return F(v[0], v[1], v[2], v[3], v[4], a)
    else:
        return F(v[0], v[1], v[2], v[3], v[4], v[5], a)


@triton.jit
def _call_2(F: tl.constexpr, v, a: tl.constexpr, b: tl.constexpr):
    if len(v) == 1:
        return F(v[0], a, b)
    elif len(v) == 2:
        return F(v[0], v[1], a, b)
    elif len(v) == 3:
        return F(v[0], v[1], v[2], a, b)
    elif len(v) == 4:
        return F(v[0], v[1], v[2], v[3], a, b)
    elif len(v) == 5:
        return F(v[0], v[1], v[2], v[3], v[4], a, b)
    else:
        return F(v[0], v[1], v[2], v[3], v[4], v[5], a, b)


@triton.jit
def _call_3(F: tl.constexpr, v, a: tl.constexpr, b: tl.constexpr, c: tl.constexpr):
    if len(v) == 1:
        return F(v[0], a, b, c)
    elif len(v) == 2:
        return F(v[0], v[1], a, b, c)
    elif len(v) == 3:
        return F(v[0], v[1], v[2], a, b, c)
    elif len(v) == 4:
        return F(v[0], v[1], v[2], v[3], a, b, c)
    elif len(v) == 5:
        return F(v[0], v[1], v[2], v[3], v[4], a, b, c)
    else:
        return F(v[0], v[1], v[2], v[3], v[4], v[5], a, b, c)


@triton.jit
def _block(F: tl.constexpr, outs, ins, numbers, n, sizes, out_strides, in_strides, start, lane,
           ATTRIBUTES: tl.constexpr, OUT_LAYOUTS: tl.constexpr, IN_LAYOUTS: tl.constexpr,
           PLACES: tl.constexpr, COMPUTE: tl.constexpr, WIDE: tl.constexpr,
           FULL: tl.constexpr):  # fmt: skip
    """Load one block of every input, apply the formula, store one block of every output.

    Argument i of the formula is ins[PLACES[i]], or numbers[PLACES[i]] if its letter is "n".
    """
    values = ()
    for i in tl.static_range(len(IN_LAYOUTS)):
        if IN_LAYOUTS[i] == "n":
            value = tl.full((), numbers[PLACES[i]], COMPUTE)
        else:
            value = _read(ins[PLACES[i]], sizes, in_strides[PLACES[i]], start, lane, n,
                          tl.constexpr(IN_LAYOUTS[i]), COMPUTE, WIDE, FULL)  # fmt: skip
        values = values + (value,)  # noqa: RUF005  Triton has no (*values, value) before 3.9

    results = _call(F, values, ATTRIBUTES)
    if len(outs) == 1:
        results = (results,)

    for i in tl.static_range(len(outs)):
        address = _address(outs[i], sizes, out_strides[i], start, lane,
                           tl.constexpr(OUT_LAYOUTS[i]), WIDE)  # fmt: skip
        value = narrow(results[i], outs[i].dtype.element_ty)
        if FULL:
            tl.store(address, value)
        else:
            tl.store(address, value, mask=lane < n - start)


@triton.jit(do_not_specialize=["n"])
def _pointwise_kernel(F: tl.constexpr, outs, ins, number0: tl.float64, number1: tl.float64,
                      number2: tl.float64, number3: tl.float64, n, sizes, out_strides, in_strides,
                      ATTRIBUTES: tl.constexpr, OUT_LAYOUTS: tl.constexpr, IN_LAYOUTS: tl.constexpr,
                      PLACES: tl.constexpr, COMPUTE: tl.constexpr, WIDE: tl.constexpr,
                      BLOCK: tl.constexpr):  # fmt: skip
    """outs[i] = F(ins[i], ...) for the n elements i of the outputs, BLOCK of them per program."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    numbers = (number0, number1, number2, number3)
    if start + BLOCK <= n:
        _block(F, outs, ins, numbers, n, sizes, out_strides, in_strides, start, lane,
               ATTRIBUTES, OUT_LAYOUTS, IN_LAYOUTS, PLACES, COMPUTE, WIDE, True)  # fmt: skip
    else:
        _block(F, outs, ins, numbers, n, sizes, out_strides, in_strides, start, lane,
               ATTRIBUTES, OUT_LAYOUTS, IN_LAYOUTS, PLACES, COMPUTE, WIDE, False)  # fmt: skip


# --- types --------------------------------------------------------------------------------------

_TRITON_TYPE = {
    torch.float64: tl.float64, torch.float32: tl.float32, torch.float16: tl.float32,
    torch.bfloat16: tl.float32, torch.int64: tl.int64, torch.int32: tl.int32, torch.int16: tl.int16,
    torch.int8: tl.int8, torch.uint8: tl.uint8, torch.uint16: tl.uint16, torch.uint32: tl.uint32,
    torch.uint64: tl.uint64,
}  # fmt: skip


@functools.cache
def _result_type(kinds: tuple[torch.dtype | type, ...]) -> torch.dtype:
    """The type of a result, from the dtypes of tensors and the Python types of numbers.

    Floating-point tensors decide. Without any, integers stay integers, unless a Python float makes
    them float64. Otherwise numbers are weak, as in NumPy 2: they take on the type of the tensors.
    """
    dtypes = [kind for kind in kinds if isinstance(kind, torch.dtype)]
    floating = [dtype for dtype in dtypes if dtype.is_floating_point]
    if not floating and float in kinds:
        return torch.float64
    result = getattr(torch, common([str(d).removeprefix("torch.") for d in floating or dtypes]))
    return torch.int64 if result == torch.bool and int in kinds else result


# --- shapes -------------------------------------------------------------------------------------


def _layout(shape: tuple[int, ...], strides: tuple[int, ...], to: tuple[int, ...]) -> str:
    if shape == to and is_contiguous(shape, strides):
        return "f"
    return "1" if math.prod(shape) == 1 else "s"


def _block_size(n: int, few_programs: bool) -> int:
    """Elements per program.

    On a GPU: 8 for each of 128 threads, one 16-byte access in bfloat16 and two in float32.
    Interpreted, few programs: two at least, to run both branches.
    """
    if few_programs:
        return min(1 << 16, max(16, 1 << max(0, n.bit_length() - 1)))
    return 1024


# --- the decorator ------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """What a call needs, of what depends on types, shapes and strides alone."""

    shape: tuple[int, ...]  # of the results
    dtypes: tuple[torch.dtype, ...]
    device: torch.device
    grid: tuple[int]
    meetings: tuple[tuple, ...]  # what may lie in memory that is written
    padding: tuple[float, ...]  # for those parameters of the kernel that take numbers and get none
    arguments: tuple  # of the kernel, from n on


class Pointwise:
    """A formula on numbers, made callable on tensors. See `pointwise`.

    Attributes
    ----------
    formula : triton.JITFunction
        The formula alone, for other kernels: as an argument ``F: tl.constexpr`` of a matrix
        product's epilogue, or, under a module-level name of its own, to be called by other
        formulas.
    data, attributes : names of the parameters without a default; name and default of the others
    outputs : how many results the formula returns
    """

    def __init__(
        self, function: Callable, dtype: Any, writes: tuple[str, ...], floats: bool
    ) -> None:
        functools.update_wrapper(self, function)
        self.__signature__ = signature = inspect.signature(function)
        parameters = signature.parameters.values()
        self.data = tuple(p.name for p in parameters if p.default is p.empty)
        self.attributes = {p.name: p.default for p in parameters if p.default is not p.empty}
        function.__globals__.setdefault("tl", tl)  # the interpreter insists that the module has it
        self.formula = triton.jit(function)
        self.outputs = len(writes) or _count_results(function)
        self._dtypes = dtype if isinstance(dtype, tuple) else (dtype,) * self.outputs
        self._writes = tuple(self.data.index(name) for name in writes)
        self._floats = floats
        self._defaults = tuple(self.attributes.values())
        self._plan = functools.lru_cache(maxsize=4096)(self._make_plan)
        if len(self.data) > MAX_DATA or len(self.attributes) > MAX_ATTRIBUTES:
            raise TypeError(
                f"{self.__name__}: a pointwise formula takes at most {MAX_DATA} data and "
                f"{MAX_ATTRIBUTES} attributes"
            )

    def __repr__(self) -> str:
        return f"<pointwise {self.__name__}{self.__signature__}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != len(self.data):
            data, attributes = self._bind(args, kwargs)
        else:
            data, attributes = args, self._defaults
        plan, outs, arguments = self._prepare(data, attributes)
        if plan.device.type != DEVICE.type:
            check_tensors(self.__name__, *outs)
        if plan.meetings and (apart := self._apart(plan, data, arguments[2])) is not data:
            plan, outs, arguments = self._prepare(apart, attributes)
        if plan.grid[0]:
            with on_device_of(outs[0]):
                _pointwise_kernel[plan.grid](*arguments, **LAUNCH)
        return outs[0] if len(outs) == 1 else outs

    def specializations(self, dtype: torch.dtype = torch.float32) -> list[tuple]:
        """What `triton.compile` needs for this operation on tensors of one type, with no GPU.

        One entry, (kernel, signature, constexprs, attrs, options), per way of reaching the data:
        all tensors contiguous; all strided; all but the first one a Python number, if the operation
        allows.
        """
        empty = functools.partial(torch.empty, dtype=dtype, device="meta")
        rest = len(self.data) - 1
        cases: list[list] = [[empty(64, 4096)] * (rest + 1), [empty(4096, 64).T] * (rest + 1)]
        if rest and rest <= MAX_NUMBERS and max(self._writes, default=0) == 0:
            cases.append([empty(64, 4096)] + [0.5] * rest)
        return [
            specialize(_pointwise_kernel, self._prepare(tuple(data), self._defaults)[-1], LAUNCH)
            for data in cases
        ]

    def _bind(self, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, tuple]:
        """Data and attributes, whichever way they were passed."""
        bound = self.__signature__.bind(*args, **kwargs)
        bound.apply_defaults()
        for name, default in self.attributes.items():
            value = bound.arguments[name]
            if not isinstance(value, numbers.Real):
                raise TypeError(
                    f"{self.__name__}: {name}, an attribute compiled into the kernel, has to be a "
                    f"number or a bool, got {type(value).__name__}"
                )
            if isinstance(default, float):
                bound.arguments[name] = float(value)  # 1 and 1.0 would be two kernels
        values = tuple(bound.arguments.values())
        return values[: len(self.data)], values[len(self.data) :]

    def _prepare(self, data: tuple, attributes: tuple) -> tuple[_Plan, tuple, tuple]:
        """The plan, the outputs, and all arguments of the kernel. Runs at every call."""
        tensors, scalars, kinds = [], [], []
        for value in data:
            if isinstance(value, torch.Tensor):
                tensors.append(value)
                kinds.append((value.dtype, value.shape, value.stride(), value.device))
            elif isinstance(value, numbers.Real):
                scalars.append(float(value))
                kinds.append(float if isinstance(value, float) else int)
            else:
                check_tensors(self.__name__, value)
        if not tensors or len(scalars) > MAX_NUMBERS:
            check_tensors(self.__name__, *data)  # says that a number came where a tensor has to
        plan = self._plan(tuple(kinds), attributes, device.few_programs)
        if self._writes:
            outs = tuple([data[i] for i in self._writes])
        else:
            new = functools.partial(torch.empty, plan.shape, device=plan.device)
            outs = tuple([new(dtype=dtype) for dtype in plan.dtypes])
        ins = tuple(tensors)
        return plan, outs, (self.formula, outs, ins, *scalars, *plan.padding, *plan.arguments)

    def _apart(self, plan: _Plan, data: tuple, tensors: tuple) -> tuple:
        """The data, with a copy of each input that lies in memory which is written.

        NumPy's rule: as if all were read before anything is written. Programs run in any order, and
        so do the threads of one. Addresses decide: two storages may share memory. Runs at every call.
        """
        at = [x.data_ptr() for x in tensors]
        met = [(i, j) for i, j, low, high, same in plan.meetings
               if low < at[j] - at[i] < high and at[j] - at[i] != same]  # fmt: skip
        if not met:
            return data
        places = [i for i, x in enumerate(data) if isinstance(x, torch.Tensor)]
        met = [(places[i], places[j]) for i, j in met]
        for i, j in met:
            if j in self._writes and share_elements(data[i], data[j]):
                raise _shape_error(
                    f"{self.__name__} overwrites {self.data[i]} and {self.data[j]}, which share "
                    "memory: an element cannot become two numbers"
                )
        inputs = {j for _, j in met if j not in self._writes}
        return tuple(copied(x) if i in inputs else x for i, x in enumerate(data))

    def _make_plan(self, kinds: tuple, attributes: tuple, few_programs: bool) -> _Plan:
        """Everything else. Runs once for each combination of types, shapes, strides and sizes.

        ``kinds`` has (dtype, shape, strides, device) for a tensor, float or int for a number.
        """
        tensors = [kind for kind in kinds if isinstance(kind, tuple)]
        devices = [device for *_, device in tensors]
        if len(set(devices)) > 1:
            check_tensors(self.__name__, *(torch.empty(0, device=device) for device in devices))

        shape = self._broadcast([size for _, size, _, _ in tensors])
        result = _result_type(tuple(kind[0] if isinstance(kind, tuple) else kind for kind in kinds))
        if self._floats and not result.is_floating_point:
            raise DTypeError(f"{self.__name__} is of floats on Triton, got {result}: cast them")
        written = [kinds[i] for i in self._writes]
        self._check_writes(written, shape)
        dtypes = tuple(dtype or result for dtype in self._dtypes)

        contiguous = torch.empty(shape, device="meta").stride()
        outs = [(size, stride) for _, size, stride, _ in written]
        outs = outs or [(shape, contiguous)] * self.outputs
        ins = [(size, stride) for _, size, stride, _ in tensors]
        out_layouts = [_layout(size, stride, shape) for size, stride in outs]
        in_layouts = [_layout(size, stride, shape) for size, stride in ins]
        sizes, out_strides, in_strides, wide = (), ((),) * len(outs), ((),) * len(ins), False
        n = math.prod(shape)
        if n and "s" in (*out_layouts, *in_layouts):
            strides = [expand(size, stride, shape) for size, stride in outs + ins]
            sizes, strides = collapse(shape, strides)
            out_strides, in_strides = tuple(strides[: len(outs)]), tuple(strides[len(outs) :])
            wide = max(n + (1 << 16), *(reach(sizes, s) for s in strides)) >= 1 << 31

        counts = {True: itertools.count(), False: itertools.count()}
        places = tuple(next(counts[isinstance(kind, tuple)]) for kind in kinds)
        letters = iter(in_layouts)
        layouts = "".join(next(letters) if isinstance(kind, tuple) else "n" for kind in kinds)
        compute = _TRITON_TYPE.get(result, tl.int32)
        block = _block_size(n, few_programs)
        arguments = (
            n, sizes, out_strides, in_strides,
            attributes, "".join(out_layouts), layouts, places, compute, wide, block,
        )  # fmt: skip
        padding = (0.0,) * (MAX_NUMBERS - (len(kinds) - len(tensors)))
        met = meetings(tensors, [places[i] for i in self._writes], shape)
        grid = (triton.cdiv(n, block),)
        return _Plan(shape, dtypes, devices[0], grid, met, padding, arguments)

    def _broadcast(self, shapes: list[torch.Size]) -> torch.Size:
        try:
            return torch.broadcast_shapes(*shapes)
        except RuntimeError:
            got = ", ".join(str(tuple(shape)) for shape in shapes)
            raise _shape_error(
                f"{self.__name__}: shapes {got} cannot be broadcast together"
            ) from None

    def _check_writes(self, written: list, shape: torch.Size) -> None:
        for kind, i in zip(written, self._writes, strict=True):
            whole = isinstance(kind, tuple) and kind[1] == shape
            if not whole or (shape.numel() and stored_twice(*kind[1:3])):
                got = "a number"
                if isinstance(kind, tuple):
                    got = f"shape {tuple(kind[1])}, strides {kind[2]}"
                raise _shape_error(
                    f"{self.__name__} overwrites {self.data[i]}, which has to be a tensor of the "
                    f"full shape {tuple(shape)} with no element stored twice, got {got}"
                )


def _shape_error(message: str) -> Exception:
    from refnet.errors import ShapeError

    return ShapeError(message)


def _count_results(function: Callable) -> int:
    """How many values the return statements of a formula list."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    returned = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    return max((len(v.elts) for v in returned if isinstance(v, ast.Tuple)), default=1)


def pointwise(
    function: Callable | None = None,
    *,
    dtype: Any = None,
    writes: tuple[str, ...] = (),
    floats: bool = False,
) -> Any:
    r"""Turn a formula on numbers, ``function``, into an operation on tensors.

    .. math:: y_i = f(x_i, z_i, \dots)

    The inputs broadcast as in NumPy. float16 and bfloat16 are computed in float32 and rounded once,
    at the end. An empty tensor gives an empty one. A 0-d tensor as an input, a learning rate say,
    stays on the device, so that a captured CUDA graph sees it change.

    Parameters
    ----------
    function : the body of a Triton function. A parameter without a default is a tensor or a number;
        one with a default is a number or a bool that is known when the kernel is compiled. It may
        return a tuple.
    dtype : type of the result, or a tuple of one per result. None: see `_result_type`.
    writes : names of inputs that the results overwrite, in the order in which they are returned.
    floats : whether integers are refused, which the formula cannot take.
    """
    if function is None:
        return functools.partial(pointwise, dtype=dtype, writes=writes, floats=floats)
    return Pointwise(function, dtype, writes, floats)


@pointwise(writes=("dst",))
def copy_(dst, src):
    """dst[...] = src, with broadcasting and conversion; dst may have any strides."""
    return src


def copied(x: torch.Tensor) -> torch.Tensor:
    """x in memory of its own, by a kernel of ours: a captured CUDA graph copies it anew each time."""
    return copy_(torch.empty(x.shape, dtype=x.dtype, device=x.device), x)
