"""The GPUs that kernels can be compiled for, and how many programs one of their cores holds at a time.

A *core* is what NVIDIA calls a streaming multiprocessor (SM) and AMD a compute unit (CU). A program
occupies registers, shared memory and places for its warps there from its start to its end. The more
programs a core holds, the more loads are under way while others compute: *occupancy* is the number of
warps it holds over the number it could.

Sources. NVIDIA: CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability"
(8.0, 9.0, 10.0); the units in which registers and shared memory are handed out, and the 1024 bytes
that the system keeps for each program: cuda_occupancy.h of the CUDA toolkit. AMD: LLVM, "User Guide for
AMDGPU Backend", and AMDGPUBaseInfo.cpp, for gfx942 (CDNA 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from refnet.errors import unknown_name

KIBIBYTE = 1024


@dataclass(frozen=True)
class Target:
    """A GPU architecture and the limits of one of its cores.

    Attributes
    ----------
    gpus : the products that have it.
    backend, arch, lanes
        Its names in Triton; threads in a warp (AMD: a wavefront).
    warps, programs : how many a core holds at most.
    registers, register_unit, parts
        Registers of 32 bits in a core, those of one thread counted once for each of its warp's lanes;
        how many a warp gets at a time; into how many parts, each with warps of its own, they are split.
    shared, shared_limit, shared_unit, reserved
        Bytes of shared memory in a core, and those one program may have; how many it gets at a time;
        how many the system adds.
    """

    gpus: str
    backend: str
    arch: int | str
    lanes: int
    warps: int
    programs: int
    registers: int
    register_unit: int
    shared: int
    shared_limit: int
    shared_unit: int
    reserved: int
    parts: int = 4


TARGETS = {
    "sm_80": Target("A100", "cuda", 80, 32, 64, 32, 1 << 16, 256,
                    164 * KIBIBYTE, 163 * KIBIBYTE, 128, KIBIBYTE),
    "sm_90": Target("H100, H200", "cuda", 90, 32, 64, 32, 1 << 16, 256,
                    228 * KIBIBYTE, 227 * KIBIBYTE, 128, KIBIBYTE),
    "sm_100": Target("B200", "cuda", 100, 32, 64, 32, 1 << 16, 256,
                     228 * KIBIBYTE, 227 * KIBIBYTE, 128, KIBIBYTE),
    "gfx942": Target("MI300", "hip", "gfx942", 64, 32, 16, 1 << 17, 512,
                     64 * KIBIBYTE, 64 * KIBIBYTE, 512, 0),
}  # fmt: skip


def target_named(name: str) -> Target:
    """The target of this name; an UnknownNameError if there is none.

    >>> target_named("sm_90").gpus
    'H100, H200'
    """
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS)
    return TARGETS[name]


class Occupancy(NamedTuple):
    """How many programs and warps a core holds, of how many warps, and what there is too little of."""

    programs: int
    warps: int
    most: int
    limited_by: str


def occupancy(target: Target, warps: int, registers: int, shared: int) -> Occupancy:
    """Programs of `warps` warps that a core holds, with so many registers a thread and bytes shared.

    >>> occupancy(TARGETS["sm_90"], warps=8, registers=168, shared=0)
    Occupancy(programs=1, warps=8, most=64, limited_by='registers')
    >>> occupancy(TARGETS["sm_90"], warps=4, registers=32, shared=0)
    Occupancy(programs=16, warps=64, most=64, limited_by='warps')
    """
    each = _rounded_up(max(1, registers) * target.lanes, target.register_unit)
    held = target.registers // target.parts // each * target.parts
    memory = _rounded_up(shared + target.reserved, target.shared_unit)
    limits = {
        "warps": target.warps // warps,
        "programs": target.programs,
        "registers": held // warps,
        "shared memory": 0 if shared > target.shared_limit else target.shared // max(1, memory),
    }
    scarce = min(limits, key=limits.__getitem__)
    return Occupancy(limits[scarce], limits[scarce] * warps, target.warps, scarce)


def _rounded_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
