"""Looking into kernels: what the compiler makes of them, and which program touches which element."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from refnet import backend as backends
from refnet.errors import ArgumentError, BackendError, MissingPackageError, RefnetError
from refnet.op import TABLE
from refnet.op.shapes import Spec
from refnet.plot.figure import RED
from refnet.plot.trace import faults, memory_trace, trace_text
from tests.pictures import contains, pixels

ROOT = Path(__file__).resolve().parents[3]


def triton(test):
    """Marks a test that compiles, or interprets, in another process."""
    return pytest.mark.triton(pytest.mark.usefixtures("interpreted")(test))


@pytest.fixture
def refnet_inspect(refnet_):
    """refnet_inspect("relu --sass") -> (exit code, stdout, stderr) of `refnet inspect`."""
    return lambda line: refnet_("inspect", *line.split())


HALF, LONG = "bfloat16", ((64, 50257), "bfloat16")
PRODUCT = [((4096, 4096), HALF)] * 2
#: the widest loads and stores in bits, where a row has 50257 numbers of 16 bits. Elementwise ops see one
#: long vector. A kernel that takes rows masks each access, and the compiler cannot tell that 8 numbers
#: are all inside: 16 bits at a time (but 64 for a label). Whoever mends that raises the number here.
WIDEST = {
    "relu": (128, 128), "gelu": (128, 128), "gelu_vjp": (128, 128), "add": (128, 128),
    "softmax": (16, 16), "softmax_vjp": (16, 16), "sparse_softmax_cross_entropy_vjp": (64, 16),
}  # fmt: skip
LISTINGS = (
    ("sm_90", "ptx", "ld.global"),
    ("sm_90", "sass", "LDG.E"),
    ("gfx942", "amdgcn", "_load_dword"),
)


def questions():
    """All that is compiled here, by what it is for."""
    asked = {"softmax": ("softmax", [((1000, 4096), HALF)], "sm_90")}
    asked |= {("matmul", t): ("matmul", PRODUCT, t) for t in ("sm_80", "sm_90", "sm_100", "gfx942")}
    others = {"add": [LONG, LONG], "sparse_softmax_cross_entropy_vjp": [LONG, ((64,), "int64")]}
    asked |= {("wide", name): (name, others.get(name, [LONG]), "sm_90") for name in WIDEST}
    asked |= {stage: ("relu", [((64, 1024), "float32")], t, stage) for t, stage, _ in LISTINGS}
    return asked


@functools.cache
def reports():
    """The report of the one launch of each of `questions`."""
    from refnet_triton.inspect.process import Inspection, inspect

    asked = [
        Inspection(TABLE[name], [Spec(*given) for given in inputs], {}, *rest)
        for name, inputs, *rest in questions().values()
    ]
    answers = dict(zip(questions(), inspect(*asked), strict=True))
    assert {len(launches) for launches in answers.values()} == {1}
    return {key: launch for key, (launch,) in answers.items()}


# -- compiled ----------------------------------------------------------------------------------------


@triton
def test_a_report_says_what_a_launch_needs():
    one = reports()["softmax"]
    assert (one["kernel"], one["grid"], one["error"], one["notes"]) == (
        "_rows_kernel",
        [1000],
        "",
        [],
    )
    assert one["constants"]["F"] == "_softmax_rows"
    assert one["constants"]["COLUMNS"] == 4096
    assert one["arguments"] == {"x": "*bf16", "out": "*bf16", "rows": "i32", "columns": "i32"}
    assert one["warps"] == 4
    assert 16 <= one["registers"] <= 255
    assert (one["stack"], one["spills"]) == (0, 0)
    # 4096 numbers of 2 bytes, 128 threads of 16 bytes each: 4 accesses
    assert one["accesses"] == {"load": {128: 4}, "store": {128: 4}}
    assert one["matrix"] == {}
    assert one["instructions"] == sum(one["kinds"].values()) > 100
    assert one["kinds"]["LDG"] == 4


@triton
@pytest.mark.parametrize(
    ("target", "unit", "fits"),
    [
        ("sm_80", "HMMA", True),
        ("sm_90", "HGMMA", True),
        ("sm_100", "UTCHMMA", True),
        ("gfx942", "v_mfma", False),
    ],
)
def test_a_product_uses_the_matrix_units_of_each_target(target, unit, fits):
    one = reports()["matmul", target]
    assert one["error"] == ""
    assert any(name.startswith(unit) for name in one["matrix"]), one["matrix"]
    assert one["grid"] == [512]
    assert max(one["accesses"]["load"]) == 128
    assert (one["occupancy"]["programs"] > 0) == fits
    assert bool(one["notes"]) != fits
    assert fits or "98304 bytes of shared memory, gfx942 allows 65536" in one["notes"][0]


@triton
def test_a_gradient_gets_what_the_op_saves_for_it():
    one = reports()["wide", "sparse_softmax_cross_entropy_vjp"]
    kinds = [one["arguments"][name] for name in ("g", "logits", "labels", "maxima", "log_sums")]
    assert kinds == ["*bf16", "*bf16", "*i64", "*fp32", "*fp32"]


@triton
@pytest.mark.parametrize("name", WIDEST)
def test_width_of_accesses_where_rows_are_not_divisible_by_16(name):
    one = reports()["wide", name]
    assert tuple(max(one["accesses"][kind]) for kind in ("load", "store")) == WIDEST[name]


@triton
@pytest.mark.parametrize(("target", "stage", "text"), LISTINGS)
def test_instructions_stand_beside_their_line_of_source(target, stage, text):
    lines = reports()[stage]["listing"]
    loads = [line for line in lines if text in line.text and line.place]
    assert loads
    assert any("tl.load(" in line.source for line in loads)
    assert {"pointwise.py", "activations.py"} <= {line.place.split(":")[0] for line in lines}
    for line in lines:
        file, _, number = line.place.partition(":")
        path = next((p for p in (ROOT / "refnet_triton").rglob(file)), None) if file else None
        if path:
            assert path.read_text().splitlines()[int(number) - 1].strip() == line.source


@triton
def test_a_stage_that_a_target_lacks_is_refused():
    from refnet_triton.inspect.assembly import listed

    compiled = type("Compiled", (), {"asm": {"ttir": "", "ptx": "", "cubin": b""}})
    with pytest.raises(RefnetError, match="this target has no amdgcn; it has ttir, ptx, sass"):
        listed(compiled, "amdgcn", "")
    with pytest.raises(RefnetError, match="nvdisasm, which comes with Triton's wheel, is missing"):
        listed(compiled, "sass", "")


@triton
def test_without_nvidias_tools_nothing_is_made_up(monkeypatch):
    from refnet_triton.inspect import compilation

    compiled = type("Compiled", (), {"asm": {"cubin": b""}})
    assert "nvdisasm" in (compilation.tool("nvdisasm") or "")
    monkeypatch.setattr(compilation, "tool", lambda name: None)
    assert compilation.machine_code(compiled) == ""
    assert compilation.resources(compiled) == {"registers": None, "stack": None, "static": None}


@triton
@pytest.mark.parametrize(
    ("target", "warps", "registers", "shared", "programs", "scarce"),
    [  # as NVIDIA's occupancy calculator has it
        ("sm_80", 4, 32, 0, 16, "warps"),
        ("sm_80", 1, 32, 0, 32, "programs"),
        ("sm_80", 8, 255, 0, 1, "registers"),
        ("sm_80", 4, 65, 0, 7, "registers"),  # 72 registers: 28 warps
        ("sm_90", 4, 168, 0, 3, "registers"),
        ("sm_90", 4, 32, 100 << 10, 2, "shared memory"),
        ("sm_90", 4, 32, 113 << 10, 2, "shared memory"),  # with what the system adds: 2 x 114 KiB
        ("sm_90", 4, 32, (113 << 10) + 1, 1, "shared memory"),
        ("sm_90", 4, 32, 228 << 10, 0, "shared memory"),
        ("gfx942", 4, 178, 0, 2, "registers"),  # LLVM prints so: 2 warps in each of 4 parts
        ("gfx942", 4, 128, 0, 4, "registers"),
        ("gfx942", 4, 32, 0, 8, "warps"),
    ],
)
def test_occupancy(target, warps, registers, shared, programs, scarce):
    from refnet_triton.inspect.targets import TARGETS, occupancy

    found = occupancy(TARGETS[target], warps, registers, shared)
    assert (found.programs, found.warps) == (programs, programs * warps)
    assert found.limited_by == scarce


@triton
def test_instructions_are_read_as_the_disassemblers_print_them():
    from refnet_triton.inspect.compilation import accesses, instructions, matrix_instructions

    code = """
\t//## File "/x/softmax.py", line 66
        /*0160*/                   IADD3.X R19, R2, UR5, RZ, P1, !PT ;
        /*0170*/               @P3 LDG.E.128 R12, desc[UR6][R18.64] ;
        /*0180*/              @!P0 LDG.E.U16.CONSTANT R0, desc[UR6][R18.64+0x800] ;
        /*0190*/                   HFMA2.MMA R21, -RZ, RZ, 0, 0 ;
        /*01a0*/              @UP0 UTCHMMA gdesc[UR8], gdesc[UR10], tmem[UR4] ;
        /*01b0*/                   STG.E.64 desc[UR6][R18.64], R2 ;
        /*01c0*/                   NOP;
"""
    names = instructions(code)
    assert [name.split(".")[0] for name in names] == [
        "IADD3", "LDG", "LDG", "HFMA2", "UTCHMMA", "STG"
    ]  # fmt: skip
    assert accesses(names) == {"load": {16: 1, 128: 1}, "store": {64: 1}}
    assert matrix_instructions(names) == {"UTCHMMA": 1}
    amd = instructions(
        "\t.loc\t1 66 22\n\tglobal_load_dwordx4 v[6:9], v[6:7], off\n\ts_nop 0\n\tglobal_load_ushort v1\n"
        "\tbuffer_store_dword v1\n\tv_mfma_f32_32x32x8_bf16 a[0:15]\n.Lfunc_end0:\n\tv_dead v0\n"
    )
    assert accesses(amd) == {"load": {16: 1, 128: 1}, "store": {32: 1}}
    assert matrix_instructions(amd) == {"v_mfma_f32_32x32x8_bf16": 1}


# -- the command line --------------------------------------------------------------------------------


@triton
def test_the_command_prints_a_report(refnet_inspect):
    code, out, err = refnet_inspect("relu --shape 64x1024 --dtype bfloat16 --sass")
    assert (code, err) == (0, "")
    assert "relu(x 64x1024 bfloat16), for sm_90" in out
    assert "launch 1: _pointwise_kernel, grid 64" in out
    assert "\n  loads          1 of 128 bits" in out
    assert "pointwise.py:" in out


@pytest.mark.parametrize("what", ["--dtype float64", "--trace"])
def test_the_command_prints_json(refnet_inspect, what, monkeypatch):
    asked = []
    answer = [{"kernel": "_kernel", "error": "", "occupancy": None}]
    numpy = type(backends.get("numpy"))
    monkeypatch.setattr(numpy, "inspect", lambda self, *question: asked.append(question) or answer)
    monkeypatch.setattr(numpy, "trace", lambda self, *question: asked.append(question) or answer)
    code, out, err = refnet_inspect(
        f"sum --vjp --set axis=0 --shape 5x4 --json --backend numpy {what}"
    )
    assert (code, err) == (0, "")
    assert json.loads(out) == answer
    ((op, (x,), attributes, *_),) = asked
    assert (op.name, x.shape, attributes) == ("sum_vjp", (5, 4), {"axis": 0})


@pytest.mark.parametrize(
    ("one", "code", "said"),
    [
        ({"error": "OutOfResources: no"}, 1, "does not compile: OutOfResources: no"),
        ({"occupancy": {"programs": 0}}, 1, ""),
        ({"occupancy": {"programs": 1}}, 0, ""),
    ],
)
def test_a_kernel_that_cannot_run_gets_an_exit_code(refnet_inspect, one, code, said, monkeypatch):
    answer = {
        "kernel": "_kernel", "grid": [1], "arguments": {}, "constants": {}, "error": "", "notes": [],
        "occupancy": None,
    }  # fmt: skip
    numpy = type(backends.get("numpy"))
    monkeypatch.setattr(numpy, "inspect", lambda self, *question: [answer | one])
    quiet = "" if said else "--json"
    found, out, _ = refnet_inspect(f"relu --backend numpy {quiet}")
    assert found == code
    assert said in out


MISTAKES = [
    ("sofmax", "unknown op 'sofmax': did you mean 'softmax'?"),
    ("argmax --vjp", "argmax has no gradient"),
    ("relu --shape 3y4", "a shape is written 1024x4096, 1000 or scalar, got '3y4'"),
    ("relu --shape 3 4", "relu takes 1 input, x: --shape needs as many, got 2"),
    ("adam --shape 3 4", "The benchmark has --shape 4194304 4194304 4194304 4194304 scalar scalar"),
    ("matmul --shape 3x4 5x6", "matmul: (3, 4) times (5, 6): rows of 4 numbers meet columns of 5"),
    ("softmax --set axs=1", "unknown attribute of softmax 'axs': did you mean 'axis'?"),
    ("softmax --set axis=9", "softmax does not take (4096, 1024) float32 with {'axis': 9}"),
    (
        "softmax --case 1023-columns",
        "unknown case of softmax '1023-columns': did you mean '1024 columns'?",
    ),
    ("relu --dtype float8", "unknown dtype 'float8'"),
    ("relu --target sm_91", "unknown target 'sm_91': did you mean 'sm_90'?"),
    ("relu --picture x.png", "--picture draws a trace: ask for --trace as well"),
    ("relu --ptx --sass", "not allowed with argument"),
    (
        "reshape",
        "reshape launches no kernel here: what it returns is a view of its inputs, or empty",
    ),
]


@triton
@pytest.mark.parametrize(("line", "complaint"), MISTAKES)
def test_a_mistake_gets_one_clear_line(refnet_inspect, line, complaint):
    code, out, err = refnet_inspect(f"{line}")
    assert (code, out) == (2, "")
    assert complaint in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("what", ["", "--trace"])
def test_a_backend_without_kernels_says_so(refnet_inspect, what):
    code, out, err = refnet_inspect(f"relu --backend numpy {what}")
    assert (code, out) == (2, "")
    assert err.startswith("refnet inspect: backend 'numpy' ")


# -- traced ------------------------------------------------------------------------------------------


SMALL = (
    ("add", ((3, 700), (700,)), {}),
    ("softmax", ((7, 300),), {}),
    ("matmul", ((40, 20), (20, 33)), {}),
    ("pad", ((2, 3),), {"pad_width": ((1, 0), (0, 1))}),
    ("transpose", ((2, 3),), {}),
    ("sum", ((9, 5),), {"axis": 0}),
)


@functools.cache
def traces():
    """(traces of SMALL on normal numbers, [(op, case, trace)] of two cases of every op)."""
    from refnet_triton.inspect.process import Trace, trace

    draw = np.random.default_rng(0).normal
    small = [
        (TABLE[n], [draw(size=shape) for shape in shapes], given) for n, shapes, given in SMALL
    ]
    every = [(op, case) for op in TABLE.values() if (op.primal or op).cases for case in _cases(op)]
    all_of_them = [(op, case.make(np.random.default_rng(0)), case.attributes) for op, case in every]
    found = trace(*(Trace(*one, "float32") for one in [*small, *all_of_them]))
    return found[: len(small)], [
        (*one, t) for one, t in zip(every, found[len(small) :], strict=True)
    ]


@triton
def test_a_trace_says_who_touches_what():
    add, softmax, matmul, *_ = traces()[0]
    a, b, y = add["tensors"]
    assert [t["role"] for t in add["tensors"]] == ["input", "input", "output"]
    assert y["writer"] == [i // 1024 for i in range(2100)]  # as on a GPU: 1024 elements a program
    assert set(y["writes"]) == {1} and a["reader"] == y["writer"]
    assert (
        b["reads"][0] == 2 and b["reads"][699] == 3
    )  # rows 0, 1 and 2 begin in programs 0, 0 and 1
    (launch,) = add["launches"]
    assert (launch["kernel"], launch["grid"], launch["programs"]) == (
        "_pointwise_kernel",
        [3],
        [0, 3],
    )
    masks = [p[-1]["mask"] for p in launch["lanes"]]
    assert [m.count("1") for m in masks] == [1024, 1024, 52]
    assert all(p[-1]["writes"] for p in launch["lanes"])

    assert softmax["tensors"][1]["writer"] == [0] * 1200 + [1] * 900  # four rows a program
    assert matmul["launches"][0]["grid"] == [4]
    # two tiles need a row of A, and the programs of the lower tiles take the first rows once more, as
    # numbers to compute with where there are none
    assert np.unique(np.reshape(matmul["tensors"][0]["reads"], (40, 20))[:24]) == [4]
    assert np.unique(np.reshape(matmul["tensors"][0]["reads"], (40, 20))[24:]) == [2]
    writer = np.array(matmul["tensors"][2]["writer"]).reshape(40, 33)
    assert len({*writer[:32, :32].flat}) == 1 and len({*writer.flat}) == 4


@triton
def test_a_trace_as_text():
    _, _, _, pad, transpose, column_sum = traces()[0]
    assert trace_text(pad)[-4:] == [
        "y (3, 4), output, 6 written up to 2 times", "   0  0  0  0", "  1! 1! 1!  0", "  1! 1! 1!  0"
    ]  # fmt: skip
    assert trace_text(transpose) == ["", "no kernel writes y: a view of an input"]
    lines = trace_text(column_sum)
    assert lines[0].startswith("launch 1: _reduce_kernel, grid 1, programs 0 to 0; stores: ")
    assert lines[-2:] == ["y (5,), output, each element written once", "  0 0 0 0 0"]


def made_up(writes, stray=0):
    """A trace of one launch of two programs, each of which should write three elements."""
    lanes = [[{"writes": True, "mask": "1110"}]] * 2
    y = {
        "name": "y", "role": "output", "shape": [2, 3], "stored": [2, 3], "dtype": "float32",
        "writes": writes, "writer": [i // 3 if w else -1 for i, w in enumerate(writes)],
        "reads": [0] * 6, "reader": [-1] * 6,
    }  # fmt: skip
    launch = {"kernel": "_kernel", "grid": [2], "programs": [0, 2], "lanes": lanes}
    return {"op": "relu", "launches": [launch], "tensors": [y], "views": [], "stray": stray}


def test_faults_are_told_in_text():
    lines = trace_text(made_up([1, 1, 1, 2, 1, 0], stray=3))
    assert lines[0].endswith("programs 0 to 1; stores: 2 of 8 lanes masked off (25 %)")
    assert lines[2] == "y (2, 3), output, 1 NEVER WRITTEN; 1 written up to 2 times"
    assert lines[3:5] == ["   0  0  0", "  1!  1  ."]
    assert lines[-1] == "3 ACCESSES BESIDE ALL TENSORS"


@pytest.mark.needs("matplotlib")
def test_faults_are_drawn_in_red(tmp_path):
    assert not contains(pixels(memory_trace(made_up([1] * 6), tmp_path / "fine.png")), RED)
    for writes in ([1, 1, 1, 2, 1, 1], [1, 1, 1, 0, 1, 1]):
        assert faults(made_up(writes)["tensors"][0]).tolist() == [n != 1 for n in writes]
    assert contains(pixels(memory_trace(made_up(writes), tmp_path / "wrong.png")), RED)


@triton
@pytest.mark.needs("matplotlib")
def test_the_command_draws_a_trace(refnet_inspect, tmp_path):
    path = tmp_path / "prelu.png"
    code, out, err = refnet_inspect(f"prelu --vjp --shape 20x70 70 --trace --picture {path}")
    assert (code, err) == (0, "")
    assert "prelu_vjp, for prelu(x 20x70 float32, alpha 70 float32)" in out
    assert out.endswith(f"\n{path}\n")
    pixels(path)


@pytest.mark.needs("matplotlib")
def test_a_picture_that_cannot_be_written_is_named(refnet_inspect, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    numpy = type(backends.get("numpy"))
    monkeypatch.setattr(numpy, "trace", lambda self, *question: made_up([1] * 6))
    path = tmp_path / "file" / "x.png"
    code, _, err = refnet_inspect(f"relu --backend numpy --trace --json --picture {path}")
    assert code == 2
    assert err.startswith(f"refnet inspect: --picture {path}: cannot write there (")


def test_where_nothing_is_launched_there_is_nothing_to_draw(tmp_path):
    empty = {"op": "transpose", "launches": [], "tensors": [], "views": ["y"], "stray": 0}
    with pytest.raises(ArgumentError, match="transpose launches no kernel here"):
        memory_trace(empty, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_picture_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match="pip install 'refnet\\[viz\\]'"):
        memory_trace(made_up([1] * 6), tmp_path / "x.png")


# -- what holds for every op -------------------------------------------------------------------------

#: results that some elements of are written twice: filled first, then overwritten in part
FILLED_FIRST = {"pad", "pack", "index_vjp"}
#: results that a function of PyTorch writes: how long it is depends on the values
NOT_OURS = {"mask_coordinates"}
LARGEST = 20_000  # elements of the inputs of a case


def _cases(op):
    """Two cases: the first where the op is smooth, and the largest of those that are small."""
    cases = list((op.primal or op).cases)
    sizes = [sum(np.size(x) for x in case.make(np.random.default_rng(0))) for case in cases]
    smooth = next((i for i, case in enumerate(cases) if case.smooth), 0)
    large = max((i for i, n in enumerate(sizes) if n <= LARGEST), key=sizes.__getitem__)
    return [cases[i] for i in sorted({smooth, large})]


def complaints(trace):
    """What is not as it should be: every element of a result is written once, and nothing else is."""
    if trace["stray"]:
        yield f"{trace['stray']} accesses beside all tensors"
    for tensor in trace["tensors"]:
        writes = set(tensor["writes"])
        wanted = {1} if tensor["role"] in ("output", "overwritten") else {0}
        wanted |= {2} if tensor["role"] == "output" and trace["op"] in FILLED_FIRST else set()
        if tensor["role"] == "output" and trace["op"] in NOT_OURS:
            wanted = {0}
        if tensor["role"] == "temporary":
            wanted = {0} if writes == {0} else {1}  # PyTorch's, or ours
        if writes - wanted:
            yield f"{tensor['name']} ({tensor['role']}): elements written {sorted(writes)} times"


@triton
def test_each_element_of_a_result_is_written_once():
    small, every = traces()
    wrong = [
        f"{trace['op']}, {case}: {complaint}"
        for case, trace in [
            *((case.name, t) for _, case, t in every),
            *(("small", t) for t in small),
        ]
        for complaint in complaints(trace)
    ]
    assert not wrong, "\n".join(wrong)
    assert {op.name for op, *_ in every} == {
        op.name for op in TABLE.values() if (op.primal or op).cases
    }
    twice = {op.name for op, _, t in every for x in t["tensors"] if max(x["writes"], default=0) > 1}
    assert twice == FILLED_FIRST
    several = {
        op.name for op, _, t in every if any(_programs(launch) > 1 for launch in t["launches"])
    }
    assert {"relu", "softmax", "adam", "sum", "linear_vjp"} <= several


def _programs(launch):
    return launch["programs"][1] - launch["programs"][0]


@pytest.mark.parametrize(
    ("writes", "stray", "complaint"),
    [
        ([1] * 6, 0, None),
        ([1, 1, 1, 2, 1, 1], 0, "y (output): elements written [1, 2] times"),
        ([1, 1, 1, 0, 1, 1], 0, "y (output): elements written [0, 1] times"),
        ([1] * 6, 2, "2 accesses beside all tensors"),
    ],
)
def test_what_is_wrong_with_a_trace_is_named(writes, stray, complaint):
    assert list(complaints(made_up(writes, stray))) == ([complaint] if complaint else [])


PLANTED = """
import torch
from refnet_triton.inspect import tracing
import triton, triton.language as tl

@triton.jit
def _wrong_kernel(x, y, n, FAULT: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    if FAULT == "no mask":
        mask = i >= 0
    if FAULT == "tail lost":
        mask = i < n // BLOCK * BLOCK
    values = tl.load(x + i, mask=i < n)
    tl.store(y + i, values, mask=mask)
    if FAULT == "overlap":
        tl.store(y + i + 1, values, mask=i + 1 < n)

def relu(x, fault):
    y = torch.zeros(64)[:20]  # with room behind it
    _wrong_kernel[(triton.cdiv(x.numel(), 8),)](x, y, x.numel(), fault, 8)
    return y

for fault in ("none", "no mask", "tail lost", "overlap"):
    found = tracing.trace("relu", relu, (torch.zeros(20),), {"fault": fault})
    y = found["tensors"][1]
    print(fault, "|", found["stray"], sorted(set(y["writes"])), y["writes"].count(1))
"""


@triton
def test_planted_faults_are_seen(tmp_path):
    from refnet_triton.inspect.process import INTERPRETING, environment

    program = tmp_path / "planted.py"
    program.write_text(PLANTED)
    done = subprocess.run(
        [sys.executable, str(program)],
        env=environment(INTERPRETING), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "none | 0 [1] 20",
        "no mask | 4 [1] 20",
        "tail lost | 0 [0, 1] 16",
        "overlap | 0 [1, 2] 1",
    ]


@triton
def test_a_trace_needs_the_interpreter(monkeypatch):
    from refnet_triton.inspect import tracing
    from refnet_triton.runtime import device

    monkeypatch.setattr(device.INTERPRETED, "value", False)
    with pytest.raises(BackendError, match="set TRITON_INTERPRET=1"):
        tracing.trace("relu", lambda x: x, (), {})
