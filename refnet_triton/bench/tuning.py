"""Tiles of the matrix product in 16 bits, each timed against cuBLAS."""

from __future__ import annotations

import contextlib
import statistics
from typing import Any

from refnet_triton.bench.inputs import backend
from refnet_triton.bench.measure import first_line
from refnet_triton.bench.timing import DEVICE, ON_GPU, interleaved, rounded, synchronize

# isort: split
import torch

from refnet.ops import TABLE

#: (M, N, K, warps, stages) of a tile of the product in 16 bits, to try
TILES = [
    (128, 256, 64, 8, 3), (128, 256, 64, 8, 4), (256, 128, 64, 8, 3), (256, 128, 64, 8, 4),
    (128, 128, 64, 4, 3), (128, 128, 64, 4, 4), (128, 128, 64, 8, 3), (128, 128, 64, 8, 4),
    (128, 128, 32, 8, 4), (64, 256, 64, 4, 3), (64, 256, 64, 4, 4), (256, 64, 64, 4, 4),
    (64, 128, 64, 4, 4), (128, 64, 64, 4, 4), (64, 64, 64, 4, 4), (64, 128, 128, 4, 3),
]  # fmt: skip
SHAPES = [(4096, 4096, 4096), (8192, 8192, 8192), (4096, 4096, 512), (1024, 1024, 1024)]


@contextlib.contextmanager
def tile(configuration: tuple[int, ...]):
    """Within the block, products use this tile."""
    from refnet_triton.ops import matmul

    before = matmul.configuration
    matmul.configuration = lambda *_, **__: configuration
    try:
        yield
    finally:
        matmul.configuration = before


def _factors(shape: tuple[int, int, int]) -> list[torch.Tensor]:
    m, n, k = shape
    sizes = [(m, k), (k, n)]
    return [torch.randn(size, device=DEVICE).bfloat16() for size in sizes]


def warm_tile(configuration: tuple[int, ...]) -> None:
    """Compile a tile, into the caches that all processes share."""
    with tile(configuration):
        backend().function(TABLE["matmul"])(*_factors((1024, 1024, 1024)))
    synchronize()


def tuned(shape: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Each tile on one shape, and cuBLAS in the same round: microseconds, and cuBLAS' time over it."""
    product = backend().function(TABLE["matmul"])
    found = []
    for configuration in TILES if ON_GPU else TILES[:1]:
        one: dict[str, Any] = {"shape": shape, "tile": configuration}
        sets = [_factors(shape) for _ in range(3)]

        def ours(i: int, sets: Any = sets, tile_of: Any = configuration) -> Any:
            with tile(tile_of):
                return product(*sets[i % 3])

        try:
            samples = interleaved(
                {"refnet": ours, "cublas": lambda i, sets=sets: torch.matmul(*sets[i % 3])}, 0.1
            )
        except Exception as error:  # out of shared memory, as a rule
            synchronize()
            one["error"] = first_line(error)
        else:
            median = {name: statistics.median(values) for name, values in samples.items()}
            one |= {f"{name}_us": round(value, 3) for name, value in median.items()}
            one["ratio"] = median["cublas"] / median["refnet"]
            one["samples"] = {name: rounded(values) for name, values in samples.items()}
        found.append(one)
    return found
