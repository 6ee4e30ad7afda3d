"""`make gpu` where there is no GPU: its whole path on tiny sizes, and a JSON that says what it is not."""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("refnet_triton.runtime")

from refnet.check import cases_for, check  # noqa: E402
from refnet.op import TABLE  # noqa: E402
from refnet.report import as_json, read_json  # noqa: E402
from refnet_triton import bench, gpu, peers, results  # noqa: E402

pytestmark = pytest.mark.triton
ROOT = Path(__file__).resolve().parent.parent
interpreted = pytest.mark.skipif(bench.ON_GPU, reason="there is a GPU here")


@interpreted
def test_the_whole_path(tmp_path):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "refnet_triton.gpu", "--out", str(tmp_path)]
    command += ["--ops", "relu", "softmax", "sum", "matmul", "adam"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}, cwd=ROOT,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO GPU HERE" in done.stdout and "NO MEASUREMENT" in done.stdout
    (file,) = tmp_path.glob("*-no-measurement.json")
    report = json.loads(file.read_text(encoding="utf-8"))
    assert report["measurement"] is False and report["cut"] == []
    assert {"python", "torch", "triton", "numpy"} <= set(report["versions"])
    own = file.with_suffix(".check.json")
    assert report["check"] == json.loads(own.read_text(encoding="utf-8")) == read_json(own)
    assert report["check"]["ok"] and len(report["check"]["rows"]) == 2 * 9
    assert all(row["cases"] == 2 and row["numbers"] for row in report["check"]["rows"])
    assert f"--seed {report['check']['seed']} --quick" in done.stdout
    assert ("changes" in report["check"]) == gpu.INTERPRETED.exists()
    page = file.with_suffix(".check.html")
    assert page.exists() or "no HTML report of the check: matplotlib" in done.stdout
    assert report["tests"]["exit_status"] == 0 and report["tests"]["counts"]["passed"] >= 1
    assert report["bench"]["errors"] == [] and report["tuning"]["best"]
    rows = {row["op"]: row for row in report["bench"]["rows"]}
    assert {"relu", "relu_vjp", "softmax", "sum", "matmul", "adam"} <= set(rows)
    for name in ("relu", "softmax_vjp", "matmul", "adam"):
        assert set(rows[name]["samples"]) == {"refnet", "eager"}
        assert rows[name]["percent"] > 0 and rows[name]["difference"] < 1e-5


# -- the check ---------------------------------------------------------------------------------------

CHOSEN = [TABLE[name] for name in ("relu", "matmul", "softmax_vjp")]


@interpreted
def test_the_check_is_that_of_the_command_line(tmp_path):
    """The same rows, to the bit, as `check` finds on the same cases with the seed that is kept."""
    found = gpu.check_all(CHOSEN, 0, time.monotonic() + 120)
    assert found.ok() and len(found.rows) == 6 and found.quick
    assert [row.dtype for row in found.rows] == ["float32"] * 3 + ["bfloat16"] * 3
    for row in found.rows:
        cases = [case.name for case in cases_for(TABLE[row.op], True)[:2]]
        (again,) = check([row.op], [row.dtype], ["triton"], cases, found.seed, quick=True).rows
        assert (again.cases, again.numbers, again.worst) == (row.cases, row.numbers, row.worst)
    written = gpu.write_check(found, tmp_path / "a.json")
    read = read_json(tmp_path / "a.check.json")
    assert written == read and set(as_json(found)) <= set(read)
    assert gpu.check_all(CHOSEN[:1], 0, time.monotonic() + 120).seed != found.seed


def test_on_a_gpu_every_case_in_every_type_is_a_task(monkeypatch):
    """And what the clock cuts off is named, and passes for nothing."""
    monkeypatch.setattr(bench, "ON_GPU", True)
    tasks = []
    monkeypatch.setattr(gpu, "run_all", lambda _, given, *__: tasks.extend(given) or given[1:])
    found = gpu.check_all(CHOSEN, 0, 0.0)
    every = {(op.name, dtype) for op in CHOSEN for dtype in bench.backend().dtypes}
    assert {task[:2] for task in tasks} == every and len(tasks) == 12
    assert {task[2:] for task in tasks} == {(found.seed, False)}
    assert found.command.endswith(f"--backend triton --seed {found.seed}")
    assert len(found.not_checked) == 11 and set(found.not_checked.values()) == {gpu.NO_RESULT}
    assert "matmul on triton in float64" in found.not_checked
    assert not found.ok() and not found.rows


@interpreted
def test_the_clock_cuts_the_check_off(monkeypatch, capsys, tmp_path):
    for name in gpu.THREADS:
        monkeypatch.setenv(name, "1")
    arguments = ["--parts", "check", "--ops", "relu", "--out", str(tmp_path), "--budget", "0"]
    assert gpu.main(arguments) == 1
    out = capsys.readouterr().out
    assert "CUT OFF by the clock in check: 4, from relu on triton in float32 on" in out
    assert "NOTHING WAS CHECKED" in out
    found = read_json(next(tmp_path.glob("*.check.json")))
    assert found["ok"] is False and found["rows"] == [] and len(found["not_checked"]) == 5


@interpreted
def test_a_row_that_is_lost_is_an_error_and_is_named(monkeypatch, tmp_path):
    lost = functools.partial(checked_or_lose, gpu.checked)
    monkeypatch.setattr(gpu, "checked", lost)
    found = gpu.check_all(CHOSEN, 0, time.monotonic() + 120)
    assert [row.op for row in found.failed] == ["relu", "relu"] and not found.ok()
    assert {row.status for row in found.failed} == {"error"}
    assert found.failed[0].message == "RuntimeError: an illegal memory access was encountered"
    shown = "\n".join(gpu.shown_check(gpu.write_check(found, tmp_path / "a.json")))
    assert "NOT ALL OF IT IS RIGHT" in shown and "ERROR relu float32: RuntimeError: an ill" in shown
    assert f"--op relu --dtype float32 --backend triton --seed {found.seed}" in shown


def checked_or_lose(checked, task):
    if task[0] == "relu":
        raise RuntimeError("an illegal memory access was encountered")
    return checked(task)


def test_a_row_whose_process_loses_its_gpu_afterwards_is_an_error():
    task = ("relu", "float32", 1, True)
    row = gpu.with_error(task, gpu.checked(task), "RuntimeError: an illegal memory access")
    assert (row.status, row.cases, row.message) == (
        "error",
        2,
        "RuntimeError: an illegal memory access",
    )
    assert row.failures[-1].raised


@interpreted
def test_an_interpreted_check_to_compare_with(monkeypatch, tmp_path, capsys):
    found = gpu.check_all(CHOSEN[:2], 0, time.monotonic() + 120)
    earlier = as_json(found)
    matmul = next(row for row in earlier["rows"] if row["op"] == "matmul")
    matmul["ratio"] = matmul["ratio"] / 3
    monkeypatch.setattr(gpu, "INTERPRETED", tmp_path / "interpreted.check.json")
    gpu.INTERPRETED.write_text(json.dumps(earlier), encoding="utf-8")
    written = gpu.write_check(found, tmp_path / "a.json", gpu.interpreted())
    (one,) = written["changes"]["rows"]
    assert (one["op"], one["dtype"], one["factor"]) == ("matmul", "float32", pytest.approx(3))
    shown = "\n".join(gpu.shown_check(written))
    assert f"Both drew their inputs from seed {found.seed}" in shown
    assert "3.0 x  matmul on triton in float32" in shown
    gpu.INTERPRETED.write_text("{", encoding="utf-8")
    capsys.readouterr()
    assert "changes" not in gpu.write_check(found, tmp_path / "a.json", gpu.interpreted())
    assert "NOT COMPARED with an interpreted check: " in capsys.readouterr().out


@interpreted
def test_no_page_without_matplotlib(monkeypatch, tmp_path, capsys):
    found = gpu.check_all(CHOSEN[:1], 0, time.monotonic() + 120)
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    gpu.write_check(found, tmp_path / "a.json")
    assert "no HTML report of the check: matplotlib is not installed" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["a.check.json"]


@interpreted
def test_a_page_that_cannot_be_drawn_stops_nothing(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    found = gpu.check_all(CHOSEN[:1], 0, time.monotonic() + 120)
    monkeypatch.setattr(gpu, "write_html", lambda *_: 1 // 0)
    assert gpu.write_check(found, tmp_path / "a.json")["ok"]
    assert "no HTML report of the check: ZeroDivisionError" in capsys.readouterr().out


# -- the benchmark: what is drawn, what is counted, and that the contenders compute the same ---------


@interpreted
@pytest.mark.parametrize("op", [op for op in TABLE.values() if op.name in peers.EAGER])
def test_a_peer_computes_the_same(op):
    if op.file == "random":
        pytest.skip("other random numbers")
    cases = (op.primal or op).cases.bench(256)
    for case in cases if op.file in ("matmul", "reductions") else cases[:1]:
        inputs, attributes = bench.draw(op, case, "float32")
        ours = bench.backend().function(op)(*(x.clone() for x in inputs), **attributes)
        for peer in {peers.EAGER[op.name], peers.COMPILED.get(op.name, peers.EAGER[op.name])}:
            theirs = peer(*(x.clone() for x in inputs), **attributes)
            for a, b in zip(bench._tuple(ours), bench._tuple(theirs), strict=False):
                torch.testing.assert_close(
                    a, b, rtol=1e-4, atol=1e-4, check_dtype=op.name != "cast"
                )


def test_no_peer_without_an_op():
    assert set(peers.EAGER) | set(peers.COMPILED) <= set(TABLE)


def counted(name, dtype="float32", elements=1 << 12):
    op = TABLE[name]
    case = (op.primal or op).cases.bench(elements)[0]
    inputs, attributes = bench.draw(op, case, dtype)
    outputs = bench._tuple(bench.backend().function(op)(*inputs, **attributes))
    moved = bench.traffic(op, case, inputs, outputs)
    return moved, bench.operations(op, inputs, attributes)


@interpreted
@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("relu", 2 * 4 * 4096),
        ("relu_vjp", 3 * 4 * 4096),
        ("add", 3 * 4 * 4096),
        ("less", (2 * 4 + 1) * 4096),
        ("add_vjp", 0),  # views of g
        ("reshape", 0),
        ("sum", 4 * (4096 + 64)),
        ("mean_vjp", 4 * 2 * 64),  # g is read; x is only asked for its shape
        ("where_vjp", (4 + 1 + 2 * 4) * 4096),  # neither a nor b is read
        ("binary_step_vjp", 4 * 4096),  # zeros, whatever g is
        ("adam", 7 * 4 * 4096 + 2 * 4),  # θ, g, m, v, η, t are read; θ, m, v are written
    ],
)
def test_bytes_are_counted(name, moved):
    assert counted(name)[0] == moved


@interpreted
def test_operations_are_counted():
    assert counted("matmul", elements=1024)[1] == 2 * 32**3
    assert counted("linear_vjp", elements=1024)[1] == 4 * 32**3
    assert counted("relu")[1] == 0


def test_a_row_is_judged():
    limits = {"copy_bytes_per_second": 4e12, "flops_per_second": {"bfloat16": 8e14}}
    samples = {"refnet": [50.0, 60.0, 40.0], "eager": [100.0], "compile": [25.0]}
    row = bench.Row("relu", "activations", "square", "float32", bytes=10**8, samples=samples)
    row.judge(limits)
    assert (row.microseconds, row.percent, row.eager, row.compiled) == (50.0, 50.0, 2.0, 0.5)
    row = bench.Row("matmul", "matmul", "1024 cubed", "bfloat16", 1, 2 * 10**10, samples)
    assert row.judge(limits).percent == pytest.approx(50.0)
    facts = {"rows": [row], "host": {"relu": 12.0, "torch.relu": 4.0}, "training": {}}
    lines = results.goals(facts)
    assert len(lines) == len(results.GOALS)
    assert (
        sum("MISSED" in line for line in lines) == 1 and sum(" met " in line for line in lines) == 1
    )
    assert any("MISSED  what Python costs" in line and "12.00 (relu)" in line for line in lines)
    line = results.table([row])[1]
    assert line.split() == ["matmul", "1024", "cubed", "bfloat16", "50.0", "50.0", "2.00", "0.50"]


# -- tasks in other processes, and a deadline --------------------------------------------------------


def double_or_lose(task):
    if task == "lose":
        bench.synchronize = functools.partial(math.sqrt, -1)  # as after an illegal address
    return task * 2


def test_a_lost_gpu_ends_no_more_than_its_process():
    taken = {}
    tasks = ["a", "lose", "b", "c"]
    cut = gpu.run_all(
        double_or_lose, tasks, 1, time.monotonic() + 120,
        lambda task, result, error: taken.update({task: (result, error)}),
    )  # fmt: skip
    assert cut == [] and set(taken) == set(tasks)
    assert taken["lose"][1].startswith("ValueError") and taken["c"] == ("cc", "")


def test_what_the_clock_cuts_off_is_returned():
    taken = []
    deadline = time.monotonic() + 0.2
    cut = gpu.run_all(time.sleep, [0.3, 0.0, 0.1], 0, deadline, lambda *one: taken.append(one[0]))
    assert taken == [0.3] and cut == [0.0, 0.1]


def test_json_has_no_infinity(tmp_path):
    results.write(tmp_path / "a.json", {"x": [float("inf"), 1.5, None, True], ("a", 1): Path("b")})
    found = json.loads((tmp_path / "a.json").read_text())
    assert found == {"x": ["inf", 1.5, None, True], "('a', 1)": "b"}
    report = {"measurement": True, "device": "NVIDIA H200", "date": "2026-01-02T03:04:05"}
    assert results.place_for(tmp_path, report).name == "2026-01-02-nvidia-h200.json"
    results.write(results.place_for(tmp_path, report), {})
    assert results.place_for(tmp_path, report).name == "2026-01-02-nvidia-h200-2.json"
