"""Every kernel, as it may be launched, compiles for a GPU that is not here, and compiles well.

Nothing lists the kernels. The twins of TABLE are called on tensors of the "meta" device, which have
a shape and no memory, and a launch is not made but noted: the kernel, its arguments, its options. What
Triton would compile for it follows from these (`runtime.specialize`), and is compiled:

- the launches of the benchmark: every op, large, contiguous, in the types it is timed in;
- those of the test cases in float32: every kernel in each of its forms (of the shared pointwise kernel:
  each way of reaching the data, with one formula);
- marked slow: the launches of all cases in all types, and a sample for other GPUs.

For sm_90 the machine code is read as well. A kernel keeps what it works on in registers; a matrix product
in 16 bits uses the matrix units (HGMMA); an elementwise op moves 16 bytes with each instruction.

This file is also the program that compiles, in processes of its own: Triton compiles or interprets, as it
was told when it was imported.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TYPES = ("float32", "bfloat16", "float16", "float64")
TARGETS = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "sm_100": ("cuda", 100, 32),
    "gfx942": ("hip", "gfx942", 64),
}
#: bytes of stack that are no spill: a pointer, stored once, before the loop
STACK = 16
SHARED = 227 << 10  # bytes of shared memory a program can have on sm_90


# -- what would be launched ------------------------------------------------------------------------


class Recorder:
    """Notes launches in place of making them: `launches` maps what to compile to who asked for it."""

    def __init__(self):
        import torch

        from refnet_triton import runtime

        runtime.DEVICE = torch.device("meta")  # before the other modules import it
        from triton.runtime.jit import JITFunction

        from refnet_triton import bench

        self.bench, self.launches, self.asking = bench, {}, None
        JITFunction.run = lambda kernel, *args, grid, warmup, **options: self.note(
            kernel, args, options
        )

    def note(self, kernel, arguments, options):
        """One launch."""
        from refnet_triton.runtime import specialize

        made = specialize(kernel, arguments, options)
        self.launches.setdefault(_named(made), (made, self.asking))

    def ask(self, op, case, dtype, draw):
        """Call the twin of an op on the inputs that `draw` makes."""
        self.asking = f"{op.name}, {case.name}, {dtype}"
        arrays, attributes = draw(op, case, dtype)
        self.bench.backend().function(op)(*arrays, **attributes)

    def benchmarks(self):
        """The launches of the benchmark."""
        for spec in self.bench.suite():
            op, case = self.bench._case(spec)
            self.ask(op, case, spec[3], self.bench.draw)

    def cases(self, dtypes):
        """The launches of the test cases in some types."""
        from refnet.agreement import all_ops, arrays_for, cases_of, inputs_for

        def draw(op, case, dtype):
            inputs, attributes = inputs_for(op, case, dtype)
            if op.file == "random" and "dtype" in op.attributes:
                attributes = {**attributes, "dtype": dtype}
            return arrays_for(self.bench.backend(), inputs, dtype, case.layout), attributes

        for dtype in dtypes:
            for op in all_ops():
                for case in cases_of(op):
                    self.ask(op, case, dtype, draw)


def _named(made, form=False):
    """What distinguishes a compiled kernel from others.

    Its form is that without what hardly changes the code: the formula of the pointwise kernel, the size
    of a block of rows, and which whole numbers are multiples of 16.
    """
    kernel, signature, constants, attributes, options = made
    shown = {}
    for path, value in constants.items():
        function = getattr(value, "fn", None)
        shown[path] = f"{function.__module__}.{function.__qualname__}" if function else value
    parts = [signature, shown, options, attributes]
    if form:
        names = [parameter.name for parameter in kernel.params]
        hidden = ("F", "ATTRIBUTES") if _is_pointwise(made) else ("ROWS", "COLUMNS", "BLOCK")
        parts[1:] = {p: v for p, v in shown.items() if names[p[0]] not in hidden}, options
    return kernel.__name__, *(str(sorted(part.items(), key=str)) for part in parts)


def _is_pointwise(made):
    return made[0].__name__ == "_pointwise_kernel"


def _chosen(recorder, which):
    """The launches of a selection: "usual", "all", or "sample"."""
    if which == "sample":
        recorder.cases(("float32", "bfloat16"))
        return list(recorder.launches.values())[::8]
    recorder.benchmarks()
    usual = dict(recorder.launches)
    recorder.cases(TYPES if which == "all" else ("float32",))
    if which == "usual":
        seen = {_named(made, form=True) for made, _ in usual.values()}
        for name, (made, asking) in recorder.launches.items():
            form = _named(made, form=True)
            if form not in seen:
                seen.add(form)
                usual[name] = made, asking
        return list(usual.values())
    return list(recorder.launches.values())


# -- the program: compile, and say what came out ---------------------------------------------------


def compile_share(target, which, share, shares):
    """Compile every shares-th launch, from number `share` on; one line of JSON for each."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    for made, asking in _chosen(Recorder(), which)[share::shares]:
        kernel, signature, constants, attributes, options = made
        found = {"kernel": kernel.__name__, "asking": asking, "error": ""}
        try:
            source = ASTSource(kernel, signature, constants, attributes)
            compiled = compile(source, target=GPUTarget(*TARGETS[target]), options=options)
        except Exception as error:
            found["error"] = _root(error)
        else:
            found["shared"] = compiled.metadata.shared
            if target.startswith("sm_"):
                found["matrix"] = kernel.__name__ == "_matmul_kernel" and "16" in signature["a"]
                found["wide"] = _should_be_wide(made)
                found["ptx"] = _accesses(compiled.asm["ptx"])
                found |= resources(compiled.asm["cubin"], found["matrix"])
        print(json.dumps(found))


def _root(error):
    """The message of the innermost cause: that of the line at fault."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return f"{type(error).__name__}: {error}"


def resources(cubin, matrix):
    """{"registers", "stack"} of machine code, and "hgmma" of a product, as NVIDIA's tool reads them."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        read = [str(tool), "--dump-resource-usage", *(["-sass"] if matrix else []), str(path)]
        text = subprocess.run(read, capture_output=True, text=True, check=True).stdout
    registers, stack = map(int, re.search(r"REG:(\d+) STACK:(\d+)", text).groups())
    return {"registers": registers, "stack": stack, "hgmma": "HGMMA" in text}


def _accesses(ptx):
    """The widths in bits of the loads and stores of device memory."""
    pattern = r"(ld|st)[.]global\S*?(?:[.]v([248]))?[.][bfsu](\d+)"
    found = collections.defaultdict(set)
    for kind, count, bits in re.findall(pattern, ptx):
        found[kind].add(int(count or 1) * int(bits))
    return {kind: sorted(widths) for kind, widths in found.items()}


def _should_be_wide(made):
    """Whether a pointwise kernel reads and writes contiguous tensors of 16 bits or more each."""
    kernel, signature, constants, _, _ = made
    if not _is_pointwise(made):
        return False
    given = {kernel.params[path[0]].name: value for path, value in constants.items()}
    pointers = [*signature["outs"], *signature["ins"]]
    flat = set(given["OUT_LAYOUTS"]) == {"f"} and set(given["IN_LAYOUTS"]) <= set("f1n")
    return flat and not {"*i1", "*i8", "*u8"} & set(pointers)


# -- the tests -------------------------------------------------------------------------------------


def compiled_for(target, which):
    """What `compile_share` says, from as many processes as there are processors."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    path = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    environment |= {"REFNET_COMPILE_ONLY": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    shares = min(8, os.cpu_count() or 1)
    with contextlib.ExitStack() as stack:
        programs = []
        for share in range(shares):
            output, errors = (
                stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in "oe"
            )
            command = [
                sys.executable,
                "-W",
                "ignore",
                __file__,
                target,
                which,
                f"{share}",
                f"{shares}",
            ]
            program = subprocess.Popen(command, env=environment, stdout=output, stderr=errors)
            stack.callback(program.kill)
            programs.append((program, output, errors))
        found = []
        for program, output, errors in programs:
            program.wait(timeout=3000)
            output.seek(0), errors.seek(0)
            assert program.returncode == 0, errors.read()[-3000:]
            found += [json.loads(line) for line in output]
    return found


def complaints(target, found):
    """What is wrong with a compiled kernel, if anything."""
    if found["error"]:
        yield found["error"]
    elif target == "sm_90":
        if found["stack"] > STACK:
            yield f"spills: {found['stack']} bytes of stack, {found['registers']} registers"
        if found["shared"] > SHARED:
            yield f"{found['shared']} bytes of shared memory"
        if found["matrix"] and not found["hgmma"]:
            yield "does not use the matrix units"
        for kind, widths in found["ptx"].items() if found["wide"] else ():
            if max(widths) < 128:
                yield f"{kind} moves {max(widths)} bits at a time"


def check(target, which, at_least):
    found = compiled_for(target, which)
    assert len(found) >= at_least
    wrong = [
        f"{one['kernel']} ({one['asking']}): {complaint}"
        for one in found
        for complaint in complaints(target, one)
    ]
    assert not wrong, "\n".join(sorted(wrong))
    return found


@pytest.mark.triton
def test_kernels_compile_for_sm_90():
    pytest.importorskip("triton")
    found = check("sm_90", "usual", 400)
    assert any(one["hgmma"] for one in found) and any(one["wide"] for one in found)
    kernels = {one["kernel"] for one in found}
    assert {"_pointwise_kernel", "_matmul_kernel", "_rows_kernel", "_reduce_kernel"} <= kernels


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "which"),
    [("sm_90", "all"), ("sm_80", "sample"), ("sm_100", "sample"), ("gfx942", "sample")],
)
def test_kernels_compile_for_other_gpus_and_in_all_types(target, which):
    if not os.environ.get("REFNET_COMPILE_ALL"):
        pytest.skip("takes minutes: set REFNET_COMPILE_ALL=1")
    pytest.importorskip("triton")
    check(target, which, 100)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"error": "TypeError: no"}, "TypeError: no"),
        ({"stack": 408}, "spills: 408 bytes of stack"),
        ({"shared": 300_000}, "300000 bytes of shared memory"),
        ({"hgmma": False}, "does not use the matrix units"),
        ({"ptx": {"ld": [16, 64]}}, "ld moves 64 bits at a time"),
        ({}, None),
    ],
)
def test_what_is_wrong_is_named(change, complaint):
    good = {
        "error": "", "stack": 0, "registers": 99, "shared": 1024, "matrix": True, "hgmma": True,
        "wide": True, "ptx": {"ld": [32, 128], "st": [16, 128]},
    }  # fmt: skip
    found = list(complaints("sm_90", good | change))
    assert len(found) == bool(complaint) and (not complaint or found[0].startswith(complaint))


if __name__ == "__main__":
    compile_share(*sys.argv[1:3], *map(int, sys.argv[3:5]))
