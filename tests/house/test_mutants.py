"""The faults that `make mutants` puts into the ops: which they are, and that a test notices one."""

import ast
import os
import signal

import pytest

from tests.mutants import mutator, report, runner
from tests.mutants.__main__ import SIDES, all_mutants
from tests.mutants.mutator import Mutant, mutants

OP = '''
"""1 + 1"""
import numpy as np

SLOPE = 0.1
BOUND = 3.0


def bound(x: "1 + 1"):
    return x * BOUND


@op(shape=lambda n: n + 1)
def relu(x, slope=SLOPE):
    r"""y = x + 1"""
    {body}


relu.proof(lambda: 1 + 1, bound)
'''


def changes(body):
    """What becomes of one line in an op: the mutants of that line."""
    source = OP.format(body=body)
    found = [
        m
        for m in mutants(source, "refnet/ops/x.py")
        if m.line == source[: source.index(body)].count("\n") + 1
    ]
    return {m.diff(source).splitlines()[1][2:] for m in found}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return x + slope", {"return x - slope"}),
        ("return (x) * (slope)", {"return (x) / (slope)"}),
        ("return x // slope ** x", {"return x * slope ** x", "return x // slope * x"}),
        ("return x < slope", {"return x <= slope"}),
        ("return x <= slope < x", {"return x < slope < x", "return x <= slope <= x"}),
        ("return x is not None", {"return x is None"}),
        ("return x not in slope", {"return x in slope"}),
        ("return x and slope", {"return x or slope"}),
        ("return x[0], x[7]", {"return x[1], x[7]", "return x[0], x[8]"}),
        ("return 0.5, True", {"return 0.75, True", "return 0.5, False"}),
        ("return x[-1]", {"return x[1]", "return x[0]"}),
        ("return -x", {"return x"}),
        ("return not x", {"return x"}),
        ("return np.exp(x)", {"return np.expm1(x)"}),
        ("return np.where(x, slope, x)", {"return np.where(x, x, slope)"}),
        (
            "return np.sum(x, axis=x, keepdims=True)",
            {
                "return np.mean(x, axis=x, keepdims=True)",
                "return np.sum(x, keepdims=True)",
                "return np.sum(x, axis=x)",
                "return np.sum(x, axis=x, keepdims=False)",
            },
        ),
        ("return tl.load(x, mask=1 < x, other=x)",
         {"return tl.load(x)", "return tl.load(x, mask=1 < x)", "return tl.load(x, mask=2 < x, other=x)",
          "return tl.load(x, mask=1 <= x, other=x)"}),
        ("x *= slope", {"x /= slope", "pass"}),
        ("x = slope", {"pass"}),
        ("y = slope", set()),
        ("check(x)", {"pass"}),
        ("raise ShapeError(x + 1, f'{x + 1}')", set()),
        ("return ShapeError(x + 1)", set()),
        ("return 'σ', x + x", {"return 'σ', x - x"}),
    ],
)  # fmt: skip
def test_faults(body, expected):
    assert changes(body) == expected


def test_only_what_computes_is_changed():
    source = OP.format(body="return x")
    found = mutants(source, "refnet/ops/x.py")
    assert [(m.function, m.new) for m in found] == [("SLOPE", "0.15000000000000002")]


def test_in_a_twin_everything_computes():
    found = mutants(
        "TILE = 4\n\n\ndef helper(x: 'int' = 1):\n    return x + 1\n", "refnet_triton/ops/x.py"
    )
    assert [(m.function, m.new) for m in found] == [
        ("TILE", "5"), ("helper", "2"), ("helper", "-"), ("helper", "2"),
    ]  # fmt: skip


@pytest.mark.parametrize("side", SIDES)
def test_each_mutant_of_the_real_files_is_one_edit_that_parses(side):
    made = all_mutants(side, "")
    for path, found in [*made.items()][1:4]:
        source = (runner.ROOT / path).read_text()
        assert len(found) > 8, path
        for mutant in found[::30]:
            changed = mutant.apply(source)
            assert changed != source and ast.parse(changed)
            assert mutant.diff(source).count("\n") >= 1


def test_every_op_file_has_its_tests():
    files = {file.stem for file in (runner.ROOT / "refnet" / "ops").glob("[!_]*.py")}
    assert set(runner.BY_FILE) == files
    chosen = (*runner.BY_OP.values(), *runner.BY_FILE.values(), *runner.ABOVE.values())
    named = {name for names in chosen for name in names}
    for name in (*named, *runner.LAST, *runner.ABOVE_LAST):
        assert (runner.ROOT / "tests" / name).exists(), name


@pytest.mark.parametrize(
    ("path", "function", "some", "others"),
    [
        ("refnet/ops/activations.py", "tanh_vjp", {"tanh", "tanh_vjp"}, {"relu"}),
        ("refnet/ops/activations.py", "standard_normal_cdf", {"gelu", "gelu_vjp"}, {"relu"}),
        ("refnet/ops/reductions.py", "sum_to", {"sum_to", "sum_to_vjp"}, {"sum"}),
        ("refnet_triton/ops/reductions.py", "_first_equal_kernel", {"argmax", "argmin"}, {"sum"}),
        ("refnet_triton/ops/reductions.py", "summed", {"multiply_vjp"}, {"add"}),
    ],
)  # fmt: skip
def test_which_ops_a_function_concerns(path, function, some, others):
    found = runner.ops_concerned(path.partition("/")[0], path, function)
    assert some <= found and not others & found


def verdict(monkeypatch, run, timeout=20.0):
    monkeypatch.setattr(runner, "_run", run)
    mutant = Mutant("refnet/ops/softmax.py", "softmax", "operator", 1, 0, 1, "")
    ((_, found),) = runner.verdicts([(mutant.path, mutant)], 1, timeout)
    return found


# Python 3.12 warns of any thread, those of OpenBLAS among them; the child here calls no NumPy
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_what_kills_a_mutant(monkeypatch):
    assert verdict(monkeypatch, lambda *_: 0).outcome == "survived"
    assert verdict(monkeypatch, lambda *_: 1).outcome == "killed"
    assert verdict(monkeypatch, lambda *_: 1 // 0).by.startswith("ZeroDivisionError")
    crash = verdict(monkeypatch, lambda *_: os.kill(os.getpid(), signal.SIGKILL) or 0)
    assert (crash.outcome, crash.by) == ("killed", "signal 9")
    late = verdict(monkeypatch, lambda *_: signal.pause() or 0, timeout=0.2)
    assert late.outcome == "killed" and "more than" in late.by


def test_the_page_counts_and_shows(monkeypatch):
    path = "refnet/ops/softmax.py"
    source = (runner.ROOT / path).read_text()
    first, second, third, *_ = mutants(source, path)
    rows = {
        m.new: {
            "key": m.new, "path": path, "function": m.function, "line": m.line,
            "diff": f"- {n}\n+ {n + 1}", "outcome": outcome, "by": "", "seconds": 1.0,
        }
        for n, (m, outcome) in enumerate(
            zip((first, second, third), ("killed", "survived", "survived"), strict=True)
        )
    }  # fmt: skip
    monkeypatch.setattr(report, "REASONS", {"It is the same.": (f"{path}: 2 → 3",)})
    text = report.page({"refnet/ops": {path: [*rows, "never tried"]}}, rows, 0)
    assert "3 of 4 mutants" in text
    assert "| `softmax.py` | 4 | 3 | 1 | 2 | 1 | 33.3 % | 50.0 % |" in text
    assert text.index("without a reason") < text.index("- 1\n+ 2") < text.index("It is the same.")
    assert text.index("It is the same.") < text.index("- 2\n+ 3")
    before = text.replace("3 of 4", "3 of 5")
    assert report.page({"refnet/ops": {path: ["never tried"]}}, rows, 0, before) == before
    assert report.page({"refnet/ops": {path: [*rows, "never tried"]}}, rows, 0, before) == text


def test_what_stands_above_the_ops():
    made = all_mutants("above", "")
    assert {runner.above(path) for path in made} == set(runner.ABOVE)
    assert {"refnet/models/sequential.py", "refnet/layers/layer.py"} <= set(made)
    assert runner.above("refnet/ops/losses.py") == runner.above("refnet_triton/ops/losses.py") == ""
    source = "class A:\n    if TYPE_CHECKING:\n        x = 1\n    y = 2\n"
    assert [m.new for m in mutants(source, "refnet/models/sequential.py")] == ["3"]


def test_names_of_definitions_and_their_callers():
    tree = ast.parse("A = 1\n\ndef f(x=A): return g(x)\n\ndef g(x): return x\n")
    found = mutator.definitions(tree)
    assert list(found) == ["A", "f", "g"]
    assert mutator.uses(found["f"]) == {"A", "g", "x"}
    assert runner._callers({"g"}, found) == {"f", "g"}
