"""Every kernel, as it may be launched, compiles for a GPU that is not here, and compiles well.

Nothing lists the kernels. The twins of TABLE are called without memory, and what they would launch is
noted and compiled (`refnet_triton.inspect.compilation`):

- the launches of the benchmark: every op, large, contiguous, in the types it is timed in;
- those of the test cases in float32: every kernel in each of its forms (of the shared pointwise kernel:
  each way of reaching the data, with one formula);
- for the other GPUs: every kernel once;
- in `make proof`: the launches of the benchmark and of all cases, in all types, for all GPUs.

The machine code is read as well. A kernel keeps what it works on in registers; a matrix product in 16
bits uses the matrix units; an elementwise op moves 16 bytes with each instruction.

This file is also the program that compiles, in processes of its own: Triton compiles or interprets, as it
was told when it was imported.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TYPES = ("float32", "bfloat16", "float16", "float64")
#: bytes of stack that are no spill: a pointer, stored once, before the loop
STACK = 16
#: (kernel, target, case) that spills, and how many bytes. Of matrices that no wide load fits each number
#: has an address of 64 bits: those of two tiles take all 255 registers of a thread.
SPILLS = {
    ("_matmul_kernel", "sm_100", "strided"): 72,
    ("_matmul_kernel", "sm_100", "nothing to sum"): 72,
}
#: (kernel, target) that needs more shared memory than there is: its tiles are chosen for sm_90
TOO_LARGE = {("_matmul_kernel", "gfx942")}


# -- what would be launched ------------------------------------------------------------------------


class Recorder:
    """Notes launches in place of making them: `launches` maps what to compile to who asked for it."""

    def __init__(self):
        from refnet_triton.inspect import compilation

        compilation.without_memory()
        from refnet_triton.bench import inputs, suite

        self.inputs, self.suite, self.launches, self.asking = inputs, suite, {}, None

    def note(self, launch):
        """One launch."""
        self.launches.setdefault(_named(launch.made), (launch.made, self.asking))

    def ask(self, op, case, dtype, draw):
        """Call the twin of an op on the inputs that `draw` makes."""
        self.asking = f"{op.name}, {case.name}, {dtype}"
        arrays, attributes = draw(op, case, dtype)
        self.inputs.backend().function(op)(*arrays, **attributes)

    def benchmarks(self):
        """The launches of the benchmark."""
        for spec in self.suite.specs():
            op, case = self.suite.case_of(spec)
            self.ask(op, case, spec.dtype, self.inputs.draw)

    def cases(self, dtypes):
        """The launches of the test cases in some types."""
        from refnet.proof.judge import all_ops, arrays_for, cases_of, inputs_for

        def draw(op, case, dtype):
            inputs, attributes = inputs_for(op, case, dtype)
            if op.file == "random" and "dtype" in op.attributes:
                attributes = {**attributes, "dtype": dtype}
            return arrays_for(self.inputs.backend(), inputs, dtype, case.layout), attributes

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


OTHERS = ("sm_80", "sm_100", "gfx942")


def _chosen(recorder, which):
    """The launches of a selection, "usual" or "all in TARGET", and the target of each."""
    recorder.benchmarks()
    usual = dict(recorder.launches)
    recorder.cases(TYPES if which.startswith("all") else ("float32",))
    if which.startswith("all"):
        return [(*launch, which.split()[-1]) for launch in recorder.launches.values()]
    kernels, seen = {}, set()
    for made, asking in usual.values():
        kernels.setdefault((made[0].__name__, "16" in str(made[1])), (made, asking))
        seen.add(_named(made, form=True))
    for name, (made, asking) in recorder.launches.items():
        form = _named(made, form=True)
        if form not in seen:
            seen.add(form)
            usual[name] = made, asking
    sample = [(*launch, target) for target in OTHERS for launch in kernels.values()]
    return [(*launch, "sm_90") for launch in usual.values()] + sample


# -- the program: compile, and say what came out ---------------------------------------------------


def compile_share(which, share, shares):
    """Compile every shares-th launch, from number `share` on; one line of JSON for each."""
    from refnet_triton.inspect import compilation

    recorder = Recorder()
    with compilation.recording(recorder.note):
        chosen = _chosen(recorder, which)
    for made, asking, target in chosen[share::shares]:
        print(json.dumps(compiled_one(made, asking, target)))


def compiled_one(made, asking, target):
    """What became of a launch on a target, and what should have."""
    from refnet_triton.inspect import compilation
    from refnet_triton.inspect.targets import TARGETS

    kernel, signature, *_ = made
    found = {"kernel": kernel.__name__, "target": target, "asking": asking, "error": ""}
    try:
        compiled = compilation.compile_for(made, TARGETS[target])
    except Exception as error:
        return found | {"error": compilation.root_cause(error)}
    found["shared"] = compiled.metadata.shared
    found["limit"] = TARGETS[target].shared_limit
    found |= compilation.resources(compiled)
    found["matrix"] = kernel.__name__ == "_matmul_kernel" and "16" in signature["a"]
    if found["matrix"]:
        names = compilation.instructions(compilation.machine_code(compiled))
        found["multiply"] = list(compilation.matrix_instructions(names))
    found["wide"] = "ptx" in compiled.asm and _should_be_wide(made)
    if found["wide"]:
        found["ptx"] = compilation.widths_in_ptx(compiled.asm["ptx"])
    return found


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


@functools.cache
def all_compiled(which):
    """What `compile_share` says, from as many processes as there are processors."""
    from refnet_triton.inspect.process import COMPILING, environment

    shares = min(8, os.cpu_count() or 1)
    surroundings = environment(COMPILING)
    surroundings["PYTHONPATH"] = os.pathsep.join([str(ROOT), surroundings["PYTHONPATH"]])
    with contextlib.ExitStack() as stack:
        programs = []
        for share in range(shares):
            output, errors = (
                stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in "oe"
            )
            command = [
                *(sys.executable, "-W", "ignore", __file__, which),
                *(f"{share}", f"{shares}"),
            ]
            program = subprocess.Popen(command, env=surroundings, stdout=output, stderr=errors)
            stack.callback(program.kill)
            programs.append((program, output, errors))
        found = []
        for program, output, errors in programs:
            program.wait(timeout=3000)
            output.seek(0), errors.seek(0)
            assert program.returncode == 0, errors.read()[-3000:]
            found += [json.loads(line) for line in output]
    return found


UNITS = {"sm_80": "HMMA", "sm_90": "HGMMA", "sm_100": "UTCHMMA", "gfx942": "v_mfma"}


def spill(found):
    """What to call a spill in SPILLS."""
    return found["kernel"], found["target"], found["asking"].split(", ")[1]


def complaints(found):
    """What is wrong with a compiled kernel, if anything."""
    if found["error"]:
        yield found["error"]
        return
    target = found["target"]
    if found["stack"] > max(STACK, SPILLS.get(spill(found), 0)):
        yield f"spills: {found['stack']} bytes of stack, {found['registers']} registers"
    if found["shared"] > found["limit"] and (found["kernel"], target) not in TOO_LARGE:
        yield f"{found['shared']} bytes of shared memory"
    if found["matrix"] and not any(name.startswith(UNITS[target]) for name in found["multiply"]):
        yield "does not use the matrix units"
    for kind, widths in found["ptx"].items() if found["wide"] else ():
        if max(widths) < 128:
            yield f"{kind} moves {max(widths)} bits at a time"


def check(found):
    wrong = [
        f"{one['kernel']} for {one['target']} ({one['asking']}): {complaint}"
        for one in found
        for complaint in complaints(one)
    ]
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.triton
def test_kernels_compile_for_sm_90(interpreted):
    found = [one for one in all_compiled("usual") if one["target"] == "sm_90"]
    assert len(found) >= 400
    check(found)
    assert any(one["matrix"] for one in found) and any(one["wide"] for one in found)
    kernels = {one["kernel"] for one in found}
    assert {"_pointwise_kernel", "_matmul_kernel", "_rows_kernel", "_reduce_kernel"} <= kernels


@pytest.mark.triton
@pytest.mark.parametrize("target", OTHERS)
def test_each_kernel_compiles_for_other_gpus(target, interpreted):
    found = [one for one in all_compiled("usual") if one["target"] == target]
    assert {one["kernel"] for one in found} >= {
        "_pointwise_kernel",
        "_matmul_kernel",
        "_rows_kernel",
    }
    assert len(found) >= 20
    check(found)
    assert any(one["matrix"] for one in found)


@pytest.mark.triton
@pytest.mark.proof
@pytest.mark.parametrize("target", ["sm_90", *OTHERS])
def test_kernels_compile_for_each_gpu_in_all_types(target, interpreted):
    found = all_compiled(f"all in {target}")
    assert len(found) >= 1000
    check(found)
    too_large = {(one["kernel"], target) for one in found if one["shared"] > one["limit"]}
    assert too_large == {pair for pair in TOO_LARGE if pair[1] == target}
    assert {spill(one) for one in found if one["stack"] > STACK} == {
        name for name in SPILLS if name[1] == target
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"error": "TypeError: no"}, "TypeError: no"),
        ({"stack": 408}, "spills: 408 bytes of stack"),
        ({"stack": 72, "target": "sm_100", "multiply": ["UTCHMMA"]}, "spills: 72 bytes of stack"),
        (
            {
                "stack": 80,
                "target": "sm_100",
                "multiply": ["UTCHMMA"],
                "asking": "matmul, strided, float16",
            },
            "spills: 80 bytes of stack",
        ),
        (
            {
                "stack": 72,
                "target": "sm_100",
                "multiply": ["UTCHMMA"],
                "asking": "matmul, strided, float16",
            },
            None,
        ),
        ({"shared": 300_000}, "300000 bytes of shared memory"),
        ({"multiply": []}, "does not use the matrix units"),
        ({"multiply": ["HMMA"]}, "does not use the matrix units"),
        ({"ptx": {"ld": [16, 64]}}, "ld moves 64 bits at a time"),
        ({"target": "sm_80", "multiply": ["HMMA"]}, None),
        ({"target": "gfx942", "multiply": ["v_mfma_f32_32x32x8_bf16"], "shared": 1 << 20}, None),
        ({}, None),
    ],
)
def test_what_is_wrong_is_named(change, complaint):
    good = {
        "kernel": "_matmul_kernel", "target": "sm_90", "error": "", "stack": 0, "registers": 99,
        "shared": 1024, "limit": 227 << 10, "matrix": True, "multiply": ["HGMMA"],
        "wide": True, "ptx": {"ld": [32, 128], "st": [16, 128]}, "asking": "matmul, primes, bfloat16",
    }  # fmt: skip
    found = list(complaints(good | change))
    assert len(found) == bool(complaint) and (not complaint or found[0].startswith(complaint))


if __name__ == "__main__":
    compile_share(sys.argv[1], *map(int, sys.argv[2:4]))
