"""Compile what would be launched, for a GPU that is not here, and read what came out.

Nothing lists the kernels. A twin is called on tensors of the "meta" device, which have a shape and no
memory, and its launches are not made but noted (`recording`): the kernel, its arguments, its options.
What Triton would compile follows from these (`device.specialize`). The machine code says the rest: how
many registers a thread has, whether numbers are spilled to memory, how wide the loads and stores are.

This module is for programs of their own (see `refnet_triton.inspect.process`): Triton compiles or
interprets, as it was told when it was imported.
"""

from __future__ import annotations

import collections
import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from refnet_triton.inspect.targets import TARGETS, Target, occupancy
from refnet_triton.runtime import device

# isort: split
import triton

DEFAULT_WIDTH = 32  # bits that a load or store of NVIDIA's moves if its name does not say
INVISIBLE = 1024  # bytes of static shared memory that NVIDIA's tools count and the system uses


def without_memory() -> None:
    """Let the twins work on the "meta" device. To be called before they are imported."""
    device.DEVICE = torch.device("meta")


# -- what would be launched ------------------------------------------------------------------------


class Launch(NamedTuple):
    """A launch that was not made. `made` is what `device.specialize` returns."""

    made: tuple
    grid: tuple[int, ...]

    @property
    def kernel(self) -> str:
        """The name of the kernel."""
        return self.made[0].__name__

    @property
    def constants(self) -> dict[str, Any]:
        """The values that are compiled into the kernel, by parameter, as text where they are no data."""
        names = [parameter.name for parameter in self.made[0].params]
        shown: dict[str, Any] = {}
        for path, value in self.made[2].items():
            key = ".".join([names[path[0]], *map(str, path[1:])])
            shown[key] = getattr(value, "__name__", None) or value
            if not isinstance(shown[key], bool | int | float | str | None):
                shown[key] = str(shown[key])
        return shown


@contextlib.contextmanager
def recording(note: Callable[[Launch], Any]) -> Iterator[None]:
    """Within the block launches are not made; `note` is called with each of them."""
    from triton.runtime.jit import JITFunction

    launch = JITFunction.run

    def run(kernel: Any, *args: Any, grid: Any, warmup: Any, **options: Any) -> None:
        grid = grid if isinstance(grid, tuple) else (grid,)
        note(Launch(device.specialize(kernel, args, options), grid))

    JITFunction.run = run
    try:
        yield
    finally:
        JITFunction.run = launch


# -- compile ---------------------------------------------------------------------------------------


def compile_for(made: tuple, target: Target, afresh: bool = False) -> Any:
    """What `device.specialize` returned, compiled. Not from Triton's cache if it has to be `afresh`.

    The cache knows the source, but not the file it stands in: what it holds may name the lines of
    another checkout.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel, signature, constants, attributes, options = made
    with triton.knobs.compilation.scope():
        triton.knobs.compilation.always_compile = afresh
        return triton.compile(
            ASTSource(kernel, signature, constants, attributes),
            target=GPUTarget(target.backend, target.arch, target.lanes),
            options=options,
        )


def root_cause(error: BaseException) -> str:
    """The message of the innermost cause: that of the line at fault."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return f"{type(error).__name__}: {error}"


# -- what the machine code needs -------------------------------------------------------------------


def tool(name: str) -> str | None:
    """The path of one of NVIDIA's programs, from Triton's wheel or the PATH; None if there is none."""
    shipped = Path(triton.__file__).parent / "backends/nvidia/bin" / name
    return str(shipped) if shipped.is_file() else shutil.which(name)


def _read(cubin: bytes, *command: str) -> str:
    """What one of NVIDIA's programs says about machine code; "" if it is missing or fails."""
    path = tool(command[0])
    if path is None:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        done = subprocess.run([path, *command[1:], str(file)], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def resources(compiled: Any) -> dict[str, int | None]:
    """{"registers" of a thread, bytes of "stack", bytes of "static" shared memory}; None: not known."""
    if "amdgcn" in compiled.asm:
        text = compiled.asm["amdgcn"]
        found = {
            "registers": r"[.]vgpr_count:\s+(\d+)",
            "stack": r"[.]private_segment_fixed_size:\s+(\d+)",
            "static": r"[.]group_segment_fixed_size:\s+(\d+)",
        }
    else:
        text = _read(compiled.asm["cubin"], "cuobjdump", "--dump-resource-usage")
        found = {
            "registers": r"REG:(\d+)",
            "stack": r"STACK:(\d+)",
            "static": r"SHARED:(\d+)",
        }
    matches = {name: re.search(pattern, text) for name, pattern in found.items()}
    numbers = {name: int(match[1]) if match else None for name, match in matches.items()}
    if "cubin" in compiled.asm and (numbers["static"] or 0) >= INVISIBLE:
        numbers["static"] -= INVISIBLE  # type: ignore[operator]
    return numbers


def machine_code(compiled: Any) -> str:
    """The instructions as text, with the lines they come from; "" where nothing can take it apart."""
    if "amdgcn" in compiled.asm:
        return compiled.asm["amdgcn"]
    return _read(compiled.asm["cubin"], "nvdisasm", "-g", "-c")


_INSTRUCTION = re.compile(
    r"/\*[0-9a-f]{4,}\*/\s+\{?\s*(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)"  # NVIDIA: /*0170*/ @P3 LDG.E.128
    r"|^\t([a-z]\w+)",  # AMD: global_load_dwordx4
    re.MULTILINE,
)
_MATRIX = re.compile(r"(UTC)?[A-Z]?[A-Z]?MMA([.]|$)|v_s?mfma_")
_AMD_WIDTHS = {
    "ubyte": 8, "sbyte": 8, "byte": 8, "ushort": 16, "sshort": 16, "short": 16,
    "dword": 32, "dwordx2": 64, "dwordx3": 96, "dwordx4": 128,
}  # fmt: skip


def instructions(code: str) -> list[str]:
    """The names of the instructions, in order; padding is left out."""
    names = [a or b for a, b in _INSTRUCTION.findall(code.partition(".Lfunc_end")[0])]
    return [name for name in names if name not in ("NOP", "s_nop")]


def matrix_instructions(names: list[str]) -> dict[str, int]:
    """Those that multiply tiles: HMMA (sm_80), HGMMA (sm_90), UTCHMMA (sm_100), v_mfma (AMD).

    >>> matrix_instructions(["HGMMA.64x256x16.F32.BF16", "HFMA2.MMA", "UTCHMMA", "FFMA"])
    {'HGMMA': 1, 'UTCHMMA': 1}
    """
    kinds = (name.split(".")[0] for name in names if _MATRIX.match(name))
    return dict(collections.Counter(kinds))


def accesses(names: list[str]) -> dict[str, dict[int, int]]:
    """How many instructions "load" from and "store" to device memory, by the bits each thread moves.

    >>> accesses(["LDG.E.128", "LDG.E", "LDGSTS.E.BYPASS.128", "STG.E.U16", "global_store_dwordx2"])
    {'load': {32: 1, 128: 2}, 'store': {16: 1, 64: 1}}
    """
    found = {"load": collections.Counter[int](), "store": collections.Counter[int]()}
    for name in names:
        parts = name.split(".")
        if parts[0] in ("LDG", "LDGSTS", "STG"):
            found["store" if parts[0] == "STG" else "load"][_width(parts)] += 1
        match = re.match(r"(?:global|buffer|flat)_(load|store)_([a-z]+?(?:x\d)?)(?:_|$)", name)
        if match and match[2] in _AMD_WIDTHS:
            found[match[1]][_AMD_WIDTHS[match[2]]] += 1
    return {kind: dict(sorted(widths.items())) for kind, widths in found.items()}


def _width(parts: list[str]) -> int:
    """Bits of LDG.E.U16.CONSTANT or LDG.E.128."""
    for part in parts:
        size = part.removeprefix("U").removeprefix("S")
        if size in ("8", "16", "64", "128", "256"):
            return int(size)
    return DEFAULT_WIDTH


def widths_in_ptx(ptx: str) -> dict[str, list[int]]:
    """The widths in bits of the loads (ld) and stores (st) of device memory, as PTX asks for them.

    >>> widths_in_ptx("ld.global.v4.b32 {...}; st.global.b16 [...]; st.global.v2.b64 [...];")
    {'ld': [128], 'st': [16, 128]}
    """
    pattern = r"(ld|st)[.]global\S*?(?:[.]v([248]))?[.][bfsu](\d+)"
    found = collections.defaultdict(set)
    for kind, count, bits in re.findall(pattern, ptx):
        found[kind].add(int(count or 1) * int(bits))
    return {kind: sorted(widths) for kind, widths in found.items()}


def _spills(compiled: Any, names: list[str]) -> int | None:
    """AMD: registers that are kept in memory; NVIDIA: instructions that move some there or back."""
    if "amdgcn" in compiled.asm:
        counts = re.findall(r"[.][vs]gpr_spill_count:\s+(\d+)", compiled.asm["amdgcn"])
        return sum(map(int, counts))
    if not names:
        return None
    return sum(name.split(".")[0] in ("LDL", "STL") for name in names)


# -- all of it, for one launch ---------------------------------------------------------------------


def report(launch: Launch, target_name: str, listing: str = "") -> dict[str, Any]:
    """What became of a launch, as numbers, strings, lists and dictionaries of these.

    `listing` asks for a text as well: "ttir", "ttgir", "llir", "ptx" (AMD: "amdgcn") or "sass".
    """
    from refnet_triton.inspect.assembly import listed

    target = TARGETS[target_name]
    found: dict[str, Any] = {
        "kernel": launch.kernel, "target": target_name, "grid": list(launch.grid),
        "constants": launch.constants, "arguments": _types(launch), "error": "", "notes": [],
    }  # fmt: skip
    try:
        compiled = compile_for(launch.made, target, afresh=bool(listing))
    except Exception as error:
        return found | {"error": root_cause(error)}
    code = machine_code(compiled)
    names = instructions(code)
    if not code:
        found["notes"].append(_LACKING.format(tool="nvdisasm"))
    needs = resources(compiled)
    if needs["registers"] is None:
        found["notes"].append(_LACKING.format(tool="cuobjdump"))
    static, dynamic = needs.pop("static"), compiled.metadata.shared
    found |= needs
    found["spills"] = _spills(compiled, names)
    found["shared"] = {"static": static, "dynamic": dynamic}
    found["warps"] = warps = compiled.metadata.num_warps
    found["stages"] = compiled.metadata.num_stages
    found["occupancy"] = None
    if needs["registers"] is not None:
        total = (static or 0) + dynamic
        found["occupancy"] = occupancy(target, warps, needs["registers"], total)._asdict()
        if total > target.shared_limit:
            found["notes"].append(
                f"cannot be launched: {total} bytes of shared memory, {target_name} allows "
                f"{target.shared_limit}"
            )
    found["matrix"] = matrix_instructions(names)
    found["accesses"] = accesses(names)
    found["instructions"] = len(names)
    found["kinds"] = dict(collections.Counter(n.split(".")[0] for n in names).most_common())
    if listing:
        found["listing"] = listed(compiled, listing, code)
    return found


_LACKING = (
    "{tool} is missing: it comes with Triton's wheel and with the CUDA toolkit, and nothing else "
    "reads NVIDIA's machine code"
)


def _types(launch: Launch) -> dict[str, str]:
    """The arguments that are not constants, with their types: x "*bf16", rows "i32"."""

    def text(kind: Any) -> str:
        if isinstance(kind, tuple):
            return f"({', '.join(map(text, kind))})"
        return str(kind)

    return {name: text(kind) for name, kind in launch.made[1].items() if kind != "constexpr"}
