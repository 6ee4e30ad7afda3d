"""`make gpu` where there is no GPU: all its parts on tiny sizes, and what it says of what went wrong."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("refnet_triton.runtime.device")

from refnet.check.ops import cases_for  # noqa: E402
from refnet.check.ops import check as checked_by_refnet  # noqa: E402
from refnet.op import TABLE  # noqa: E402
from refnet.report import as_json, read_json  # noqa: E402
from refnet_triton.bench import results  # noqa: E402
from refnet_triton.bench.inputs import backend  # noqa: E402
from refnet_triton.bench.timing import ON_GPU  # noqa: E402
from refnet_triton.gpu import check, main, preflight, workers  # noqa: E402
from refnet_triton.gpu.clock import Clock  # noqa: E402

pytestmark = pytest.mark.triton
ROOT = Path(__file__).resolve().parents[3]
interpreted = pytest.mark.skipif(ON_GPU, reason="there is a GPU here")
OPS = ("relu", "softmax", "sum", "matmul", "adam")


def run(program, *arguments, folder):
    """The command in a process of its own, as `python -m refnet_triton.gpu` runs it."""
    path = os.pathsep.join([str(ROOT), str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *program, "--out", str(folder), *arguments], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def report_of(folder):
    (file,) = folder.glob("*-no-measurement.json")
    return file, json.loads(file.read_text(encoding="utf-8"))


@interpreted
def test_all_parts(tmp_path):
    done = run(["-m", "refnet_triton.gpu"], "--ops", *OPS, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO GPU HERE" in done.stdout and "NO MEASUREMENT" in done.stdout
    file, report = report_of(tmp_path)
    assert report["measurement"] is False and report["cut"] == report["wrong"] == []
    assert {"python", "torch", "triton", "numpy"} <= set(report["versions"])
    assert set(report["seconds"]) == {*main.UNLESS_NAMED, "all"}
    own = file.with_suffix(".check.json")
    assert own.exists() and read_json(own)["rows"] == report["check"]["rows"]
    assert report["check"]["ok"] and len(report["check"]["rows"]) == 2 * 9
    assert all(row["cases"] == 2 and row["numbers"] for row in report["check"]["rows"])
    assert report["options"]["ops"] == [*OPS] and report["options"]["budget"] == 520.0
    (again,) = [line for line in done.stdout.splitlines() if line.startswith("again: ")]
    words = again.split()
    assert words[2:6] == ["-m", "refnet_triton.gpu", "--parts", "check"] and words[6] == "--ops"
    assert set(words[7:-2]) == {*OPS} and words[-2:] == ["--seed", str(report["check"]["seed"])]
    assert ("changes" in report["check"]) == check.INTERPRETED.exists()
    page = file.with_suffix(".check.html")
    assert page.exists() or "no HTML report of the check: matplotlib" in done.stdout
    assert report["tests"]["counts"] == {"passed": report["tests"]["selected"]}
    assert report["tests"]["selected"] > 1 and report["tests"]["not_run"] == 0
    assert report["bench"]["errors"] == [] and report["tuning"]["best"]
    assert report["bench"]["training"]["microseconds"]["refnet"] > 0
    rows = {row["op"]: row for row in report["bench"]["rows"]}
    assert {"relu", "relu_vjp", "softmax", "sum", "matmul", "adam"} <= set(rows)
    for name in ("relu", "softmax_vjp", "matmul", "adam"):
        assert set(rows[name]["samples"]) == {"refnet", "eager"}
        assert rows[name]["percent"] > 0 and rows[name]["difference"] < 1e-5
    left = {path.suffix for path in tmp_path.iterdir()}
    assert left <= {".json", ".html", ".log"}, left  # no journal, nothing partial


@interpreted
def test_what_is_said_to_type_again_gives_the_same(tmp_path, capsys):
    arguments = ["--parts", "check", "smoke", "--ops", "relu", "--out"]
    assert main.main([*arguments, str(tmp_path / "a")]) == main.RIGHT
    _, first = report_of(tmp_path / "a")
    for part in ("check", "smoke"):
        line = f"again: {first[part]['command']}"
        assert line in capsys.readouterr().out or part == "smoke"
        words = line.split()[4:]
        assert main.main([*words, "--out", str(tmp_path / part)]) == main.RIGHT
        _, again = report_of(tmp_path / part)
        seconds = [row.pop("seconds") for row in (*again[part]["rows"], *first[part]["rows"])]
        assert len(seconds) == 8 and again[part]["rows"] == first[part]["rows"]


@interpreted
def test_goals(tmp_path):
    done = run(["-m", "refnet_triton.gpu"], "--parts", "goals", "--ops", "relu", "add",
               folder=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    _, report = report_of(tmp_path)
    assert set(report["seconds"]) == {"goals", "all"}
    rows = report["goals"]["rows"]
    assert {row["op"] for row in rows} == {"relu", "relu_vjp"}  # no goal is about addition


PLANTED = """
import os, signal, sys, time
from refnet_triton.gpu import check, speed

def timed(task):
    if "relu square" in str(task):
        raise RuntimeError("an illegal memory access was encountered")
    if "softmax 1024" in str(task):
        os.kill(os.getpid(), signal.SIGKILL)
    return HONEST(task)

HONEST = speed.timed
if __name__ == "__main__":
    import planted
    speed.timed = planted.timed
    from refnet_triton.gpu import main
    sys.exit(main.main(sys.argv[1:]))
"""


@interpreted
def test_an_error_in_a_row_and_a_lost_process(tmp_path):
    (tmp_path / "planted.py").write_text(PLANTED, encoding="utf-8")
    done = run([str(tmp_path / "planted.py")], "--parts", "bench", "--budget", "280", "--ops", *OPS,
               folder=tmp_path)  # fmt: skip
    assert done.returncode == main.WRONG, done.stdout + done.stderr
    _, report = report_of(tmp_path)
    errors = {one["task"]: one["error"] for one in report["bench"]["errors"]}
    assert errors == {
        "relu square float32": "RuntimeError: an illegal memory access was encountered",
        "softmax 1024 columns float32": "its process ended, by signal 9",
    }
    for task, error in errors.items():
        assert f"FAILED {task}: {error}" in done.stdout
    measured = [f"{r['op']} {r['case']}" for r in report["bench"]["rows"]]
    assert {"adam flat", "sum rows", "relu ragged"} <= set(measured)
    assert report["cut"] == [] and report["wrong"] == ["bench"]
    assert "exit status 1" in done.stdout


@interpreted
def test_what_the_clock_cuts_off_is_said(tmp_path, capsys):
    arguments = ["--parts", "bench", "--ops", "relu", "--out", str(tmp_path), "--budget", "0"]
    assert main.main(arguments) == main.CUT
    _, report = report_of(tmp_path)
    cut = report["bench"]["cut"]
    assert cut[:3] == ["limits", "training", "host"] and "relu square float32" in cut
    assert report["cut"] == [f"bench, by the clock: {len(cut)} not run"]
    assert report["wrong"] == []
    out = capsys.readouterr().out
    assert f"CUT OFF by the clock in bench: {len(cut)}, from limits on" in out
    assert "exit status 3" in out


@interpreted
def test_whoever_ends_it_gets_what_there_is(tmp_path):
    """As with `timeout 60 python -m refnet_triton.gpu`."""
    planted = PLANTED.replace(
        "    return HONEST", '    time.sleep(2 * ("sum" in str(task)))\n    return HONEST'
    )
    (tmp_path / "planted.py").write_text(planted, encoding="utf-8")
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "planted.py"), "--out", str(tmp_path), "--parts", "bench",
         "--ops", "adam", "sum"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}, text=True,
    )  # fmt: skip
    try:
        for line in program.stdout:
            if line.startswith("adam"):
                break
        (journal,) = tmp_path.glob("*.journal")
        noted = [json.loads(line) for line in journal.read_text().splitlines()]
        assert [one["row"]["op"] for one in noted if "row" in one] == ["adam"]
        program.send_signal(signal.SIGTERM)
        out, _ = program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == main.CUT, out
    _, report = report_of(tmp_path)
    assert report["cut"] == [
        f"bench, as it was told to stop: {len(report['bench']['cut'])} not run"
    ]
    assert "adam" in [row["op"] for row in report["bench"]["rows"]] and not journal.exists()


def test_a_name_that_is_no_op_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main.main(["--ops", "rellu"])
    assert stopped.value.code == main.NOT_STARTED
    assert "no op is named rellu" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ops", "relu_vjp"], "relu_vjp comes with its op: --ops relu"),
        (["--budget", "-5"], "--budget is a number of seconds, got -5.0"),
        (["--budget", "nan"], "--budget is a number of seconds, got nan"),
        (["--seed", "-1"], "--seed is 0 or more, got -1"),
        (["--out", __file__], f"--out is a folder, {__file__} is a file"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main.main(arguments)
    assert stopped.value.code == main.NOT_STARTED and said in capsys.readouterr().err


def test_exit_statuses():
    assert not main.wrong({"errors": [], "failed": {}, "wrong": False})
    assert not main.wrong({})
    for found in ({"errors": ["a"]}, {"failed": {"a": "b"}}, {"wrong": True}):
        assert main.wrong(found)


# -- what is missing is said before anything starts --------------------------------------------------


def test_a_machine_without_a_compiler_or_headers(monkeypatch, tmp_path):
    monkeypatch.setattr(preflight.shutil, "which", lambda name: None)
    monkeypatch.setattr(preflight.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    found = "; ".join(preflight.missing())
    assert "a C compiler" in found and "the headers of this Python" in found


@interpreted
def test_nothing_starts_on_a_gpu_that_lacks_something(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(main, "ON_GPU", True)
    report = {"device": "a", "driver": "b", "versions": {}}
    monkeypatch.setattr(main.results, "surroundings", lambda: report)
    monkeypatch.setattr(main.preflight, "missing", lambda: ["a C compiler: install gcc, or set CC"])
    assert main.main(["--out", str(tmp_path)]) == main.NOT_STARTED
    out = capsys.readouterr().out
    assert "MISSING a C compiler: install gcc" in out and "nothing was started" in out
    assert list(tmp_path.iterdir()) == []


def test_too_little_disk_is_said(monkeypatch):
    usage = type("usage", (), {"free": 1 << 20})
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage)
    assert any("are free on the disk" in line for line in preflight.scarce())


# -- the check ---------------------------------------------------------------------------------------

CHOSEN = [TABLE[name] for name in ("relu", "matmul", "softmax_vjp")]


@pytest.fixture(autouse=True)
def here(request, monkeypatch):
    """Tasks of the check run in this process, unless a test is about processes."""
    monkeypatch.setattr(check, "run_all", in_turn)


def in_turn(function, tasks, count, clock, take):
    """What `workers.run_all` does, one task after the other, here."""
    left = list(tasks)
    while left and clock.left():
        task = left.pop(0)
        take(task, *workers._attempt(function, task)[:2])
    return left


def none(line, facts):
    """Note nothing."""


def all_of(ops, note=none):
    return check.check_all(ops, check.TWO_SMALL, 2, Clock(120), note)


LAUNCHED = """
from refnet_triton.inspect import compilation
compilation.without_memory()
from refnet.proof.judge import all_ops, arrays_for, inputs_for
from refnet_triton.bench.inputs import backend
from refnet_triton.gpu import check

triton = backend()
for op in all_ops():
    kernels = {}
    for which in (check.SMOKE, check.ALL):
        launches = []
        for case in check.cases_of(op, which):
            inputs, attributes = inputs_for(op, case, "float32")
            arrays = arrays_for(triton, inputs, "float32", case.layout)
            with compilation.recording(launches.append):
                triton.function(op)(*arrays, **attributes)
        kernels[which] = {launch.kernel for launch in launches}
    left_out = kernels[check.ALL] - kernels[check.SMOKE]
    print(op.name, "launches", len(kernels[check.ALL]), "and leaves out", *left_out)
"""


def test_the_smoke_test_launches_every_kernel_that_the_check_does(compile_only):
    lines = compile_only(LAUNCHED).splitlines()
    lines = [line for line in lines if " launches " in line]
    assert len(lines) == len(TABLE) and any("launches 1" in line for line in lines)
    assert [line for line in lines if not line.endswith("and leaves out")] == []


@interpreted
def test_smoke(monkeypatch):
    found = check.smoke(CHOSEN[:2], 1, Clock(120), none)
    assert found["ok"] and found["errors"] == [] == found["cut"]
    assert {row["op"] for row in found["rows"]} == {"relu", "matmul"}
    monkeypatch.setattr(check, "compared", lambda spec: 1 // 0)
    found = check.smoke(CHOSEN[1:2], 1, Clock(120), none)
    assert found["errors"][0].startswith("matmul 32 cubed float32: ZeroDivisionError")
    assert main.wrong(found) and "ERROR matmul 32 cubed" in "\n".join(check.shown(found))


@interpreted
def test_the_check_is_that_of_the_command_line(tmp_path):
    """The same rows, to the bit, as `check` finds on the same cases with the seed that is kept."""
    found = all_of(CHOSEN)
    assert found.ok() and len(found.rows) == 6 and found.quick
    assert [row.dtype for row in found.rows] == ["float32"] * 3 + ["bfloat16"] * 3
    for row in found.rows:
        cases = [case.name for case in cases_for(TABLE[row.op], True)[:2]]
        (again,) = checked_by_refnet(
            [row.op], [row.dtype], ["triton"], cases, found.seed, quick=True
        ).rows
        assert (again.cases, again.numbers, again.worst) == (row.cases, row.numbers, row.worst)
    written = check.write_check(found, tmp_path / "a.json")
    read = read_json(tmp_path / "a.check.json")
    assert written == read and set(as_json(found)) <= set(read)
    assert all_of(CHOSEN[:1]).seed != found.seed


def test_on_a_gpu_every_case_in_every_type_is_a_task(monkeypatch):
    """And what the clock cuts off is named, and passes for nothing."""
    monkeypatch.setattr(check, "ON_GPU", True)
    tasks = []
    monkeypatch.setattr(check, "run_all", lambda _, given, *__: tasks.extend(given) or given[1:])
    found = check.check_all(CHOSEN, check.ALL, 1, Clock(0), none)
    every = {(op.name, dtype) for op in CHOSEN for dtype in backend().dtypes}
    assert {task[:2] for task in tasks} == every and len(tasks) == 12
    assert {task[2:] for task in tasks} == {(found.seed, check.ALL)}
    assert found.command.endswith(f"--parts check --ops relu matmul softmax --seed {found.seed}")
    assert len(found.not_checked) == 11 and set(found.not_checked.values()) == {check.NO_RESULT}
    assert "matmul on triton in float64" in found.not_checked
    assert not found.ok() and not found.rows


@interpreted
def test_the_clock_cuts_the_check_off(monkeypatch, capsys, tmp_path):
    for name in main.THREADS:
        monkeypatch.setenv(name, "1")
    arguments = ["--parts", "check", "--ops", "relu", "--out", str(tmp_path), "--budget", "0"]
    assert main.main(arguments) == main.CUT
    out = capsys.readouterr().out
    assert "CUT OFF by the clock in check: 4, from relu on triton in float32 on" in out
    assert "NOTHING WAS CHECKED" in out
    found = read_json(next(tmp_path.glob("*.check.json")))
    assert found["ok"] is False and found["rows"] == [] and len(found["not_checked"]) == 5


@interpreted
def test_every_row_of_the_check_is_noted_as_it_comes(monkeypatch, tmp_path):
    noted = []
    found = all_of(CHOSEN[:2], lambda line, facts: noted.append((line, facts["row"])))
    rows = {(row["op"], row["dtype"]): row for line, row in noted if not line}
    assert len(rows) == 4
    assert [rows[row["op"], row["dtype"]] for row in as_json(found)["rows"]] == as_json(found)[
        "rows"
    ]


@interpreted
def test_a_row_that_is_lost_is_an_error_and_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(check, "checked", functools.partial(checked_or_lose, check.checked))
    found = all_of(CHOSEN)
    assert [row.op for row in found.failed] == ["relu", "relu"] and not found.ok()
    assert {row.status for row in found.failed} == {"error"}
    assert found.failed[0].message == "RuntimeError: an illegal memory access was encountered"
    shown = "\n".join(check.shown(check.write_check(found, tmp_path / "a.json")))
    assert "NOT ALL OF IT IS RIGHT" in shown and "ERROR relu float32: RuntimeError: an ill" in shown
    assert f"--op relu --dtype float32 --backend triton --seed {found.seed}" in shown


def checked_or_lose(checked, task):
    if task[0] == "relu":
        raise RuntimeError("an illegal memory access was encountered")
    return checked(task)


def test_a_row_whose_process_loses_its_gpu_afterwards_is_an_error():
    task = ("relu", "float32", 1, check.TWO_SMALL)
    row = check.with_error(task, check.checked(task), "RuntimeError: an illegal memory access")
    assert (row.status, row.cases, row.message) == (
        "error",
        2,
        "RuntimeError: an illegal memory access",
    )
    assert row.failures[-1].raised


@interpreted
def test_an_interpreted_check_to_compare_with(monkeypatch, tmp_path, capsys):
    found = all_of(CHOSEN[:2])
    earlier = as_json(found)
    matmul = next(row for row in earlier["rows"] if row["op"] == "matmul")
    matmul["ratio"] = matmul["ratio"] / 3
    monkeypatch.setattr(check, "INTERPRETED", tmp_path / "interpreted.check.json")
    check.INTERPRETED.write_text(json.dumps(earlier), encoding="utf-8")
    written = check.write_check(found, tmp_path / "a.json", check.interpreted())
    (one,) = written["changes"]["rows"]
    assert (one["op"], one["dtype"], one["factor"]) == ("matmul", "float32", pytest.approx(3))
    shown = "\n".join(check.shown(written))
    assert f"Both drew their inputs from seed {found.seed}" in shown
    assert "3.0 x  matmul on triton in float32" in shown
    check.INTERPRETED.write_text("{", encoding="utf-8")
    capsys.readouterr()
    assert "changes" not in check.write_check(found, tmp_path / "a.json", check.interpreted())
    assert "NOT COMPARED with an interpreted check: " in capsys.readouterr().out


@interpreted
def test_no_page_without_matplotlib(monkeypatch, tmp_path, capsys):
    found = all_of(CHOSEN[:1])
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    check.write_check(found, tmp_path / "a.json")
    assert "no HTML report of the check: matplotlib is not installed" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["a.check.json"]


@interpreted
def test_a_page_that_cannot_be_drawn_stops_nothing(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    found = all_of(CHOSEN[:1])
    monkeypatch.setattr(check, "write_html", lambda *_: 1 // 0)
    assert check.write_check(found, tmp_path / "a.json")["ok"]
    assert "no HTML report of the check: ZeroDivisionError" in capsys.readouterr().out


# -- the file ----------------------------------------------------------------------------------------


def test_json_has_no_infinity(tmp_path):
    report = results.as_data({"x": [float("inf"), 1.5, None, True], ("a", 1): Path("b")})
    results.write(tmp_path / "a.json", report)
    found = json.loads((tmp_path / "a.json").read_text())
    assert found == {"x": ["inf", 1.5, None, True], "('a', 1)": "b"}
    report = {"measurement": True, "device": "NVIDIA H200", "date": "2026-01-02T03:04:05"}
    assert results.place_for(tmp_path, report).name == "2026-01-02-nvidia-h200.json"


@pytest.mark.parametrize("left", [".json", ".journal", ".partial", ".tests", ".check.json"])
def test_whatever_a_run_has_left_takes_its_name(tmp_path, left):
    """The journal of a run that was lost is all that is left of it."""
    report = {"measurement": True, "device": "NVIDIA H200", "date": "2026-01-02T03:04:05"}
    (tmp_path / f"2026-01-02-nvidia-h200{left}").touch()
    places = [results.place_for(tmp_path, report).name for _ in range(2)]  # as two at once
    assert places == ["2026-01-02-nvidia-h200-2.json", "2026-01-02-nvidia-h200-3.json"]


def started(folder, *arguments, **options):
    """The command, in a process of its own, while it runs."""
    return subprocess.Popen(
        [sys.executable, "-m", "refnet_triton.gpu", "--out", str(folder), *arguments], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


@interpreted
def test_a_run_that_nobody_listens_to_writes_what_it_finds(tmp_path):
    """As with `python -m refnet_triton.gpu | head -1`."""
    budget = "--budget", "200"
    with started(tmp_path, "--parts", "smoke", "--ops", "relu", *budget) as program:
        program.stdout.readline()
        program.stdout.close()
        error = program.stderr.read()
    assert program.returncode == main.RIGHT and "Traceback" not in error
    _, report = report_of(tmp_path)
    assert len(report["smoke"]["rows"]) == 4 and report["wrong"] == []


def told(monkeypatch, *signals):
    """Whoever started it ends it after the first row of the bench."""
    bench, shown = main.PARTS["bench"]

    def stopped(run, clock):
        run.note("", {"op": "sum"})
        for number in signals:
            signal.raise_signal(number)
        return bench(run, clock)

    monkeypatch.setitem(main.PARTS, "bench", (stopped, shown))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_keeps_what_it_has(tmp_path, monkeypatch, number):
    told(monkeypatch, number)
    assert main.main(["--out", str(tmp_path), "--parts", "bench", "--ops", "sum"]) == main.CUT
    report = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert len(report["cut"]) == 1 and "told to stop" in report["cut"][0]


def test_told_twice_it_ends_at_once_and_the_journal_stays(tmp_path, monkeypatch, capsys):
    told(monkeypatch, signal.SIGINT, signal.SIGINT)
    assert main.main(["--out", str(tmp_path), "--parts", "bench", "--ops", "sum"]) == main.CUT
    assert "ended at once" in capsys.readouterr().out
    assert [path.suffix for path in tmp_path.iterdir()] == [".journal"]


def test_a_worker_that_nobody_waits_for_ends_in_silence(capfd):
    worker = workers.Worker(time.sleep)
    worker.give(0, 0.5)
    worker.pipe.close()
    worker.process.join(30)
    assert worker.process.exitcode == 0 and "Traceback" not in capfd.readouterr().err
