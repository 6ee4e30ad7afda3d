"""Triton's interpreter, mended: it computes as a GPU does, and refuses what a GPU refuses.

A kernel that is interpreted is a Python function, run once for each program of the grid. That hides what
matters to a GPU: how large a grid may be, how many threads a program has, how much memory its threads
share. A launch that no GPU takes would be found on the day that there is one. So it is refused here:

=====================  ==============================================================================
the grid               x below 2³¹, y and z below 2¹⁶; fewer than 2³¹ programs in all. Triton multiplies
                       the three as 32-bit integers, and where the product is not positive it launches
                       nothing, and says nothing.
num_warps              a power of 2, at most 32: 1024 threads
tl.dot                 16 terms a step at least, as the compiler takes no fewer
shared memory          227 KiB at most for the tiles that a tl.dot reads (see `Tiles`)
=====================  ==============================================================================

The last three hold in the sizes of a GPU alone (`device.as_on_a_gpu`). Interpreted, there are few
programs, larger than a GPU could have.

That blocks are powers of 2 and have at most 2²⁰ elements, and that the factors of a tl.dot are of one
type, the interpreter sees by itself. What it cannot see, registers and the widths of accesses, the
compiler says (`test_compile.py`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from refnet.errors import BackendError

MOST_PROGRAMS = (1 << 31) - 1
GRID = MOST_PROGRAMS, (1 << 16) - 1, (1 << 16) - 1  # programs along x, y, z
MOST_WARPS = 32
LEAST_TERMS = 16  # of a tl.dot
SHARED = 227 << 10  # bytes a program may share on sm_90


# -- what a GPU refuses ------------------------------------------------------------------------------


def check_launch(kernel: str, grid: Sequence[int], num_warps: int = 4) -> None:
    """Raise BackendError unless a GPU would take a launch of this kernel."""
    limits = zip("xyz", grid, GRID, strict=False)
    too_large = [f"{axis} = {n:,} (at most {most:,})" for axis, n, most in limits if n > most]
    programs = math.prod(grid)
    if too_large:
        raise BackendError(f"{kernel} has a grid that no GPU takes: {', '.join(too_large)}")
    if min(grid) < 0 or programs > MOST_PROGRAMS:
        raise BackendError(
            f"{kernel} has a grid of {' x '.join(f'{n:,}' for n in grid)} programs; a launch has "
            f"0 to {MOST_PROGRAMS:,}"
        )
    if num_warps not in (1, 2, 4, 8, 16, MOST_WARPS):
        raise BackendError(
            f"{kernel} is launched with num_warps={num_warps}; a program has 1, 2, 4, 8, 16 or "
            f"{MOST_WARPS} warps of 32 threads"
        )


def check_options(kernel: str, parameters: Collection[str], options: Iterable[str]) -> None:
    """Raise BackendError unless Triton knows each option. The interpreter drops the others."""
    unknown = sorted(set(options) - set(parameters) - _options())
    if unknown:
        raise BackendError(
            f"{kernel} is launched with {', '.join(unknown)}; Triton knows the options "
            f"{', '.join(sorted(_options()))}"
        )


@functools.cache
def _options() -> frozenset[str]:
    from triton.backends.nvidia.compiler import CUDAOptions

    return frozenset(field.name for field in dataclasses.fields(CUDAOptions))


class Tiles:
    """The memory that the programs of one launch share, as far as tl.dot needs it.

    The factors of a tl.dot lie in shared memory, several of each, so that some are on their way while
    others are multiplied. A tile of A of (m, k) and one of B of (k, n) take

        copies · (m k + k n) · bytes of an element as it was loaded

    with `num_stages` copies where the matrix units read them out of shared memory (16 bits and less, 64
    rows and more, warps in fours), one copy less where they go through registers. It is what the compiler
    takes on sm_90, to the byte, for a product in a loop that loads its factors (`test_launches.py`
    compares); one outside of a loop takes one copy; what follows a product may take more.
    """

    def __init__(self, kernel: str, num_stages: int, num_warps: int = 4) -> None:
        self.kernel, self.num_stages, self.num_warps = kernel, num_stages, num_warps
        self._loaded: dict[tuple[int, ...], int] = {}  # bytes of an element, by shape

    def load(self, shape: tuple[int, ...], size: int) -> None:
        """A tile was loaded: elements are widened later, but kept as they are."""
        self._loaded[shape] = size

    def taken(self, *factors: Any) -> int:
        """The bytes that these factors of a tl.dot take."""
        sizes = [self._loaded.get(x.shape, x.itemsize) for x in factors]
        units = max(sizes) <= 2 and factors[0].shape[-2] >= 64 and self.num_warps % 4 == 0
        copies = self.num_stages if units else max(1, self.num_stages - 1)
        return copies * sum(x.size * size for x, size in zip(factors, sizes, strict=True))

    def dot(self, *factors: Any) -> None:
        """Raise BackendError unless these arrays can be the factors of a tl.dot."""
        a, b = factors
        least = max(LEAST_TERMS, 32 // max(self._loaded.get(x.shape, x.itemsize) for x in factors))
        if a.shape[-1] < least:
            raise BackendError(
                f"{self.kernel} has a tl.dot of {a.shape} and {b.shape}: sums of {a.shape[-1]} "
                f"terms, and the compiler takes {least} and more"
            )
        taken = self.taken(*factors)
        if taken > SHARED:
            raise BackendError(
                f"{self.kernel} has tiles of {a.shape} and {b.shape} in {self.num_stages} stages: "
                f"{taken:,} bytes of shared memory, and a program has {SHARED:,}"
            )


def refuse_what_a_gpu_refuses() -> None:
    """Look at each launch before it runs, and at the tiles of its products."""
    from triton.runtime import interpreter

    from refnet_triton.runtime import device

    executor, builder = interpreter.GridExecutor, interpreter.InterpreterBuilder
    launch, load, dot = executor.__call__, builder.create_masked_load, builder.create_dot
    tiles: Tiles | None = None  # of the launch that runs, in the sizes of a GPU

    @functools.wraps(launch)
    def checked_launch(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal tiles
        before, grid, name = tiles, self.grid, self.fn.__name__
        as_on_a_gpu = not device.few_programs
        warps = options.get("num_warps", 4) if as_on_a_gpu else 4

        def checked_grid(arguments: Any) -> Any:
            found = grid(arguments) if callable(grid) else grid
            check_launch(name, found, warps)
            return found

        self.grid = checked_grid
        check_options(name, self.arg_names, options)
        tiles = Tiles(name, options.get("num_stages", 3), warps) if as_on_a_gpu else None
        try:
            return launch(self, *args, **options)
        except interpreter.InterpreterError as error:
            refusal = _refusal(error)
            if refusal is None:
                raise
        finally:
            tiles, self.grid = before, grid
        raise refusal  # out here it has no context, which would be itself, wrapped

    @functools.wraps(load)
    def noted_load(self: Any, pointers: Any, *rest: Any) -> Any:
        if tiles is not None:
            size = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
            tiles.load(pointers.data.shape, size)
        return load(self, pointers, *rest)

    @functools.wraps(dot)
    def checked_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        if tiles is not None:
            tiles.dot(a.data, b.data)
        return dot(self, a, b, *rest)

    executor.__call__ = checked_launch
    builder.create_masked_load, builder.create_dot = noted_load, checked_dot


def _refusal(error: BaseException | None) -> BackendError | None:
    """The BackendError that the interpreter wrapped, once for each function it came through."""
    while error is not None and not isinstance(error, BackendError):
        error = error.__cause__
    return error


# -- what it computes otherwise than a GPU -----------------------------------------------------------


def silence_numpy() -> None:
    """Keep NumPy from warning about overflow or log(0) inside interpreted kernels: a GPU does not
    either.
    """
    import numpy as np
    from triton.runtime.interpreter import GridExecutor

    launch = GridExecutor.__call__

    @functools.wraps(launch)
    def quiet_launch(self, *args, **kwargs):
        with np.errstate(all="ignore"):
            return launch(self, *args, **kwargs)

    GridExecutor.__call__ = quiet_launch


def sum_in_pairs() -> None:
    """Sum a tile as a GPU does, halves upon halves. NumPy adds the rows of a column one after another,
    which loses more digits.
    """
    import numpy as np
    from triton.runtime.interpreter import ReduceOps

    whole = ReduceOps.sum

    @functools.wraps(whole)
    def pairs(self: Any, tile: Any) -> Any:
        x = tile.handle.data
        if x.dtype.kind != "f" or self.axis is None:
            return whole(self, tile)
        x = np.moveaxis(x, self.axis, 0)
        while len(x) > 1:  # a power of 2
            x = x[: len(x) // 2] + x[len(x) // 2 :]
        y = np.expand_dims(x[0], self.axis) if self.keep_dims else x[0]
        return self.to_tensor(y, tile.dtype)

    ReduceOps.sum = pairs


def mend_loop_bounds() -> None:
    """Let run-time loop bounds be numbers again: Triton 3.6 calls int() on an array of one element, which
    NumPy 2.4 refuses. Later versions of Triton do as is done here.
    """
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    @functools.wraps(patch)
    def mended_patch(tensor, scope):
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = mended_patch


def mend() -> None:
    """All of it, once, before the first launch."""
    import triton

    silence_numpy()
    sum_in_pairs()
    if triton.__version__.startswith("3.6."):
        mend_loop_bounds()
    refuse_what_a_gpu_refuses()
