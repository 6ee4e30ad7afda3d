"""What is missing on this machine, said before anything starts.

Triton compiles a little C for every kernel: the host's half of its launch. So it needs more than a GPU: a
C compiler, and the headers of this Python.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from refnet_triton.bench.results import output
from refnet_triton.bench.timing import ON_GPU

# isort: split
import torch

#: the most that the largest rows of the benchmark take, with all their contenders
MEMORY = 24 << 30
DISK = 2 << 30  # compiled kernels, of Triton and of torch.compile


def missing() -> list[str]:
    """What a run on a GPU cannot do without, and is not here."""
    found = []
    if not ON_GPU:
        how = "TRITON_INTERPRET=1 is set" if torch.cuda.is_available() else _no_gpu()
        found.append(f"a GPU: {how}")
    if not _compiler():
        found.append("a C compiler: install gcc, or set CC")
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    if not headers.exists():
        found.append(f"the headers of this Python ({headers}): install python3-dev")
    if ON_GPU and not found:
        found += _kernel()
    return found


def scarce() -> list[str]:
    """What there may be too little of: a run goes on, and may be cut."""
    found = []
    cache = Path(os.environ.get("TRITON_CACHE_DIR") or Path.home() / ".triton")
    there = next(path for path in (cache, *cache.parents) if path.exists())
    disk = shutil.disk_usage(there).free
    if disk < DISK:
        found.append(
            f"{disk / 2**30:.1f} GiB are free on the disk of {cache}, {DISK >> 30} are wanted"
        )
    if not os.access(there, os.W_OK):
        found.append(f"{there} cannot be written: nothing that is compiled can be kept")
    if ON_GPU:
        free, memory = torch.cuda.mem_get_info()
        if free < MEMORY:
            found.append(
                f"{free / 2**30:.0f} of {memory / 2**30:.0f} GiB of the GPU's memory are free, "
                f"{MEMORY >> 30} are wanted: large rows may fail"
            )
        others = _said(
            "nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader"
        )
        others = [line for line in others.splitlines() if line.split(",")[0] != str(os.getpid())]
        if others:
            found.append(f"other programs are on the GPU, times may be off: {'; '.join(others)}")
    return found


def _no_gpu() -> str:
    if not (_said("nvidia-smi", "-L") or shutil.which("rocminfo")):
        return "no driver answers (nvidia-smi -L)"
    return f"there is one, but torch {torch.__version__} does not see it"


def _compiler() -> str | None:
    """The one that Triton takes: CC, or the first of these."""
    named = os.environ.get("CC")
    return next(filter(None, map(shutil.which, [named] if named else ["gcc", "clang", "cc"])), None)


def _kernel() -> list[str]:
    """Whether one kernel can be compiled and run."""
    from refnet.ops import TABLE
    from refnet_triton.bench.inputs import backend

    try:
        y = backend().function(TABLE["relu"])(torch.tensor([-1.0, 2.0], device="cuda")).tolist()
    except Exception as error:
        return [f"a kernel that runs: {type(error).__name__}: {error}"]
    return [] if y == [0.0, 2.0] else [f"a kernel that is right: relu of -1 and 2 is {y}"]


def _said(*command: str) -> str:
    """What a program prints, soon; "" otherwise."""
    return output(*command, seconds=5.0) or ""
