"""Time: events on the GPU, contenders that take turns, and what the machine can do at best."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

from refnet_triton.runtime.device import DEVICE

# isort: split
import torch

ON_GPU = DEVICE.type == "cuda"
CACHE = 256 << 20  # bytes: several times the largest level-2 cache


def stored(x: torch.Tensor) -> int:
    """Bytes of x in memory; what an expanded tensor repeats is there once."""
    sizes = [n for n, stride in zip(x.shape, x.stride(), strict=True) if stride]
    return math.prod(sizes) * x.element_size()


def synchronize() -> None:
    """Wait until the GPU has done all it was asked to."""
    if ON_GPU:
        torch.cuda.synchronize()


class Busy:
    """A large buffer. Writing it empties the cache and keeps the GPU busy for a known time."""

    def __init__(self) -> None:
        self.buffer = torch.empty(CACHE if ON_GPU else 1, dtype=torch.int8, device=DEVICE)
        self.seconds = 0.0
        for _ in range(3):  # the first times are slower
            start = now()
            for _ in range(20):
                self.buffer.zero_()
            self.seconds = (now() - start) / 20

    def __call__(self, seconds: float) -> None:
        for _ in range(1 + math.ceil(seconds / self.seconds) if ON_GPU else 0):
            self.buffer.zero_()


def now() -> float:
    """The time at which the GPU has done all it was asked to."""
    synchronize()
    return time.perf_counter()


_busy = functools.cache(Busy)


def _mark() -> Any:
    if not ON_GPU:
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _microseconds(start: Any, end: Any) -> float:
    return start.elapsed_time(end) * 1e3 if ON_GPU else (end - start) * 1e6


def interleaved(
    contenders: dict[str, Callable[[int], Any]], seconds: float = 0.35
) -> dict[str, list[float]]:
    """Microseconds a call, taking turns. A contender is called with the number of the call."""
    turn = itertools.count()
    samples: dict[str, list[float]] = {name: [] for name in contenders}

    def once(repeats: int, ahead: float) -> None:
        _busy()(ahead)
        marks = [_mark()]
        for call in contenders.values():
            for _ in range(repeats):
                call(next(turn))
            marks.append(_mark())
        synchronize()
        for values, start, end in zip(samples.values(), marks, marks[1:], strict=False):
            values.append(_microseconds(start, end) / repeats)

    if not ON_GPU:  # only to show that it runs
        once(1, 0.0)
        return samples
    for call in [*contenders.values()] * 3:
        call(next(turn))
    start = now()
    for call in contenders.values():
        call(next(turn))
    asking = time.perf_counter() - start  # what Python takes for a round
    for _ in range(2):
        once(1, 2 * asking)
    each = [min(values) for values in samples.values()]
    repeats = max(1, min(20, math.ceil(100 / max(1.0, min(each)))))
    ahead = 2 * asking * repeats
    rounds = seconds / (sum(each) * 1e-6 * repeats + ahead)
    for values in samples.values():
        values.clear()
    for _ in range(max(7, min(40, int(rounds)))):
        once(repeats, ahead)
    return samples


@contextlib.contextmanager
def tf32(allowed: bool):
    """Whether PyTorch may round the factors of float32 products to tf32 (10 bits) within the block."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    yield
    torch.set_float32_matmul_precision("highest")


def limits(quick: bool = False) -> dict[str, Any]:
    """The machine's limits: bytes a second of a copy, operations a second of the library's product."""
    pair = [torch.randn(1 << (12 if quick else 30), device=DEVICE) for _ in range(2)]
    copies = interleaved({"copy": lambda i: pair[0].copy_(pair[1])})["copy"]
    moved = sum(map(stored, pair))
    pair.clear()
    n = 64 if quick else 8192
    products = {}
    for name, dtype in {"bfloat16": "bfloat16", "float16": "float16", "float32": "float32",
                        "tf32": "float32"}.items():  # fmt: skip
        a, b = (torch.randn(n, n, device=DEVICE).to(getattr(torch, dtype)) for _ in "ab")
        with tf32(name == "tf32"):
            products[name] = interleaved({name: lambda i, a=a, b=b: a @ b})[name]
    return {
        "copy_bytes_per_second": moved / statistics.median(copies) * 1e6,
        "flops_per_second": {k: 2 * n**3 / statistics.median(v) * 1e6 for k, v in products.items()},
        "copy_bytes": moved,
        "product_side": n,
        "samples": {"copy": rounded(copies), **{k: rounded(v) for k, v in products.items()}},
    }


def rounded(values: Iterable[float]) -> list[float]:
    """Samples to the nanosecond."""
    return [round(value, 3) for value in values]
