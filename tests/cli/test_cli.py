"""The command line: what each command prints, writes and returns, and what a mistake gets."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import refnet
from refnet import config
from refnet.backend import NumPyBackend, registry
from refnet.check import training as drift
from refnet.op import TABLE

pytestmark = pytest.mark.needs("rich")  # so does refnet.cli: it is imported where it is used
COMMANDS = "demo", "train", "show", "check", "bound", "inspect", "doctor"
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
}


def clean(text):
    """No control characters, no trailing blanks: what a pipe or a file should get."""
    return not [c for c in text if ord(c) < 32 and c != "\n"] and " \n" not in text


def program(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "refnet", *arguments], env={**ENVIRONMENT, **environment},
        capture_output=True, text=True, encoding="utf-8", timeout=120,
    )  # fmt: skip


# -- the program itself -----------------------------------------------------------------------------


def test_alone_it_prints_help(refnet_):
    code, out, err = refnet_()
    assert (code, err) == (0, "")
    assert tuple(re.findall(r"^    (\w+) ", out, re.MULTILINE)) == COMMANDS


def test_version(refnet_):
    assert refnet_("--version") == (0, f"refnet {refnet.__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(refnet_, command):
    code, out, _ = refnet_(command, "--help")
    assert code == 0
    assert "SUPPRESS" not in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("tran", "invalid choice: 'tran'"),
        ("show rleu", "refnet show: unknown op 'rleu': did you mean 'relu'?"),
        ("show relu --numpy --triton", "not allowed with argument"),
        ("train --optimizer adm", "refnet train: unknown optimizer 'adm': did you mean 'adam'?"),
        ("train --loss msee", "refnet train: unknown loss 'msee': did you mean 'mse'?"),
        ("train --activation rleu", "refnet train: unknown activation 'rleu': did you mean 'relu'?"),
        ("train --data digit", "refnet train: unknown data set 'digit': did you mean 'digits'?"),
        ("train --backend numpi", "refnet train: unknown backend 'numpi': did you mean 'numpy'?"),
        ("train --layers 128,x", "refnet train: --layers is the units of each hidden layer"),
        ("train --layers 128,0", "refnet train: --layers is the units of each hidden layer"),
        ("train --learning-rate -1", "refnet train: --learning-rate is a number of at least 0"),
        ("train --l2 nan", "refnet train: --l2 is a number of at least 0, got nan"),
        ("train --dropout 1", "refnet train: Dropout 'dropout"),
        ("train --epochs 0", "a whole number of at least 1 is expected, got '0'"),
        ("train --seed -1", "expected"),
        ("demo --steps many", "a whole number of at least 1 is expected, got 'many'"),
        ("demo --backend loopbak", "refnet demo: unknown backend 'loopbak': did you mean 'loopback'?"),
        ("demo --activation rleu", "refnet demo: unknown activation 'rleu': did you mean 'relu'?"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_clear_line(refnet_, arguments, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = refnet_(*arguments.split())
    assert (code, out) == (2, "")
    assert complaint in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["train", "demo"])
def test_a_folder_that_cannot_be_made_is_named_before_the_work(refnet_, tmp_path, command):
    (tmp_path / "file").touch()
    backend = "--backend", "loopback"
    code, out, err = refnet_(command, *backend, "--out", tmp_path / "file" / "x")
    assert (code, out) == (2, "")
    assert err.startswith(
        f"refnet {command}: --out {tmp_path / 'file' / 'x'}: cannot write there ("
    )


def test_interrupted(refnet_, monkeypatch):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("refnet.cli.doctor.run", interrupt)
    assert refnet_("doctor") == (130, "", "\nrefnet doctor: interrupted\n")


def test_as_a_program():
    done = program("show", "relu", "--numpy")
    assert (done.returncode, done.stderr) == (0, "")
    assert "def relu(x):" in done.stdout
    assert clean(done.stdout)
    failed = program("show", "rleu")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert len(failed.stderr.splitlines()) == 1


def test_a_terminal_without_greek_gets_question_marks():
    done = program("show", "tanh", "--numpy", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "?L/?x = g" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="pipes break differently on Windows")
def test_a_reader_that_leaves_early():
    command = f"{sys.executable} -m refnet show | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("refnet/ops/")


# -- show -------------------------------------------------------------------------------------------


def test_show_lists_every_op(refnet_):
    code, out, _ = refnet_("show")
    assert code == 0
    assert clean(out)
    for op in TABLE.values():
        if op.primal is None:
            assert f"  {op.name} " in out
            assert op.formula in out


@pytest.mark.parametrize("name", TABLE)
def test_show_each_op(refnet_, name):
    code, out, err = refnet_("show", name, "--proof")
    assert (code, err) == (0, "")
    assert clean(out)
    row = TABLE[name].primal or TABLE[name]
    assert f"# numpy  refnet/ops/{row.file}.py:" in out
    for op in filter(None, (row, row.gradient)):
        assert f"def {op.name}(" in out
        assert op.formula in out
        assert str(op.error) in out


def test_show_both_sides_helpers_and_facts(refnet_):
    _, out, _ = refnet_("show", "gelu", "--proof")
    numpy, triton = out.split("# triton", 1)
    for part in ("def _gelu_tanh(x)", "def standard_normal_cdf(x)", "erf = np.frompyfunc"):
        assert part in numpy
    assert "refnet_triton/ops/activations.py:" in triton
    assert "def gelu_vjp(g, x, approximate=False):" in triton
    assert f"{len(list(TABLE['gelu'].cases))} cases: points; " in out
    _, out, _ = refnet_("show", "relu6", "--proof")
    assert "kink at 6: the right derivative" in out


def test_show_has_the_formulas_first_and_the_proof_when_asked(refnet_):
    _, page, _ = refnet_("show", "softmax")
    _, whole, _ = refnet_("show", "softmax", "--proof")
    assert whole.startswith(page)
    assert "from g = ∂L/∂y" in page
    for part in ("bound of softmax_vjp", "cases: small;", "softmax.proof(", "def _softmax_terms"):
        assert part in whole[len(page) :]
        assert part not in page
    assert "def _log_softmax_terms" not in whole  # another op's


@pytest.mark.parametrize("width", [119, 120, 160])
def test_show_lays_the_sides_beside_each_other_where_there_is_room(refnet_, width):
    _, out, _ = refnet_("show", "softmax", "--width", width)
    lines = out.splitlines()
    (head,) = [line for line in lines if "# numpy  refnet/ops/softmax.py" in line]
    assert ("# triton  refnet_triton/ops/softmax.py" in head) == (width >= 120)
    start = lines.index(head)
    assert max(map(len, lines[start:])) <= max(width, 113)  # a line of source, and its number
    below = refnet_("show", "softmax")[1].splitlines()
    code = "".join("".join(below).split())
    beside = "".join("".join(lines).split())
    assert sorted(code) == sorted(beside)  # nothing is lost


def test_show_one_side(refnet_):
    assert "# triton" not in refnet_("show", "relu", "--numpy")[1]
    assert "# numpy" not in refnet_("show", "relu", "--triton")[1]


def test_the_lines_shown_are_those_of_the_file(refnet_):
    _, out, _ = refnet_("show", "softmax", "--numpy")
    source = (ROOT / "refnet/ops/softmax.py").read_text(encoding="utf-8").splitlines()
    numbered = [
        line for line in out.splitlines() if line[:5].strip().isdigit() and line[5:7] in ("  ", "")
    ]
    assert len(numbered) > 10
    for line in numbered:
        assert line[7:] == source[int(line[:5]) - 1]


def test_show_imports_neither_torch_nor_triton():
    code = (
        "import sys; from refnet.cli import main; main(['show', 'linear']); "
        "sys.exit(bool({'torch', 'triton', 'refnet_triton.ops'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_show_where_refnet_triton_is_missing(refnet_, monkeypatch):
    from refnet.cli import show

    monkeypatch.setitem(show.SIDES, "triton", "refnet_no_such_package")
    code, out, _ = refnet_("show", "relu")
    assert code == 0
    assert "triton: the package refnet_no_such_package is not installed" in out


@pytest.mark.parametrize(("columns", "beside"), [("200", True), ("120", True), ("100", False)])
def test_show_on_a_terminal(columns, beside):
    done = program(
        "show", "relu", COLUMNS=columns, FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR=""
    )
    assert done.returncode == 0
    assert "\x1b[" in done.stdout
    heads = [line for line in done.stdout.splitlines() if "refnet/ops/activations.py:" in line]
    assert len(heads) == 1
    assert ("refnet_triton/ops/activations.py:" in heads[0]) == beside


# -- train ------------------------------------------------------------------------------------------


@pytest.mark.needs("matplotlib")
def test_train(refnet_, tmp_path):
    sizes = "--layers", 16, "--epochs", 2, "--dropout", 0.1, "--l2", 1e-5
    arguments = "train", *sizes, "--learning-rate", 0.01, "--out"
    code, out, err = refnet_(*arguments, tmp_path / "run")
    assert (code, err) == (0, "")
    assert clean(out)
    assert "Dropout" in out
    assert "Adam(learning_rate=0.01," in out
    assert [line[:9] for line in out.splitlines() if line.startswith("epoch")] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    record = json.loads((tmp_path / "run" / "history.json").read_text())
    assert record["arguments"]["layers"] == "16"
    assert len(record["history"]["val_accuracy"]) == 2
    assert record["held_out"]["accuracy"] > 0.8
    assert (tmp_path / "run" / "training.png").stat().st_size > 4000
    assert refnet_(*arguments, tmp_path / "again")[0] == 0
    assert (
        json.loads((tmp_path / "again" / "history.json").read_text())["history"]
        == record["history"]
    )


@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy", "poisson"])
def test_train_with_one_hot_losses(refnet_, loss):
    code, out, _ = refnet_(
        "train", "--layers", "", "--epochs", 1, "--loss", loss, "--optimizer", "sgd"
    )
    assert code == 0
    assert "650 parameters" in out


def test_train_on_another_backend(refnet_):
    arguments = ["train", "--layers", "16", "--epochs", "1"]
    numpy, loopback = refnet_(*arguments)[1], refnet_(*arguments, "--backend", "loopback")[1]
    assert "on loopback" in loopback
    assert numpy.splitlines()[-1] == loopback.splitlines()[-1]
    assert registry.current().name == "numpy"


def test_train_that_diverges_says_so(refnet_, tmp_path):
    code, out, err = refnet_(
        *("train", "--layers", "8", "--epochs", "1", "--loss", "mse", "--optimizer", "sgd"),
        *("--activation", "linear"),
        "--learning-rate", "1e30", "--out", tmp_path,
    )  # fmt: skip
    assert (code, err) == (1, "")
    assert "The training loss is nan: try a smaller --learning-rate." in out
    assert json.loads((tmp_path / "history.json").read_text())["history"]["loss"] == ["nan"]


# -- doctor -----------------------------------------------------------------------------------------


def test_doctor(refnet_):
    code, out, _ = refnet_("doctor")
    assert code == 0
    assert clean(out)
    assert f"numpy        {np.__version__}" in out
    assert "\nnumpy: NumPy" in out
    assert "\nloopback: loopback; softmax in float32 is right on" in out


def test_doctor_says_what_is_missing(refnet_, monkeypatch):
    from refnet.cli import doctor

    monkeypatch.setitem(doctor.PACKAGES, "no-such-package", ("nothing", "pip install nothing"))
    registry.register("absent", "no_such_module:Backend")
    try:
        code, out, _ = refnet_("doctor")
    finally:
        del registry._targets["absent"]
    assert code == 0
    assert "no-such-package  missing  " in " ".join(out.split("\n")).replace("     ", "  ")
    assert "nothing; pip install nothing" in out
    assert "absent: cannot run: No module named 'no_such_module'\n" in out


def test_doctor_finds_a_wrong_backend(refnet_, monkeypatch):
    class Wrong(NumPyBackend):
        name, array_type = "wrong", type("WrongArray", (np.ndarray,), {})

        def function(self, op):
            return lambda *inputs, **attributes: op.function(*inputs, **attributes) * 1.001

    class Broken(Wrong):
        def function(self, op):
            raise RuntimeError("no kernel image")

    for kind, complaint in (
        (Wrong, "softmax is wrong: small: y["),
        (Broken, "softmax fails: RuntimeError"),
    ):
        monkeypatch.setitem(registry._loaded, "loopback", kind())
        code, out, _ = refnet_("doctor")
        assert code == 0
        assert complaint in out


def test_doctor_fails_with_numpy(refnet_, monkeypatch):
    monkeypatch.setattr("refnet.cli.doctor._backend", lambda name: False)
    code, out, _ = refnet_("doctor")
    assert code == 1
    assert "The NumPy side does not work" in out


# -- demo -------------------------------------------------------------------------------------------


@pytest.mark.needs("matplotlib")
def test_demo(refnet_, tmp_path):
    code, out, err = refnet_("demo", "--backend", "loopback", "--steps", 50, "--out", tmp_path)
    assert (code, err) == (0, "")
    assert clean(out)
    assert sum(line.startswith("epoch ") for line in out.splitlines()) == 30
    assert "(reaches the 97% it should)" in out
    assert "All 50 losses are equal to the last bit" in out
    assert "It holds at every step" in out
    record = json.loads((tmp_path / "demo.json").read_text())
    assert record["held_out_accuracy"] >= 0.97
    compared = record["comparison"]
    assert compared["losses"]["numpy"] == compared["losses"]["loopback"]
    assert len(compared["bounds"]) == len(compared["losses"]["float64"]) == 50
    assert compared["relative_distance_of_parameters"]["loopback"] == [0.0] * 50
    for name in ("training.png", "digits.png", "comparison.png"):
        assert (tmp_path / name).stat().st_size > 10_000
        assert str(tmp_path / name) in out
    assert config.floatx() == "float32"
    assert registry.current().name == "numpy"


def test_demo_says_if_the_accuracy_is_missed(refnet_, tmp_path):
    code, out, _ = refnet_("demo", "--backend", "numpy", "--epochs", 1, "--out", tmp_path)
    assert code == 1
    assert "(MISSES the 97% it should)" in out
    assert "nothing to compare" in out


def test_demo_where_the_backend_cannot_run(refnet_, tmp_path):
    registry.register("absent", "no_such_module:Backend")
    try:
        code, out, _ = refnet_("demo", "--backend", "absent", "--epochs", 12, "--out", tmp_path)
    finally:
        del registry._targets["absent"]
    assert code == 0
    assert "Skipped: backend 'absent' cannot run here: No module named 'no_such_module'" in out
    assert "comparison" not in json.loads((tmp_path / "demo.json").read_text())


class Careless(NumPyBackend):
    """Computes every product a hundred-thousandth too large."""

    name, array_type = "careless", type("CarelessArray", (np.ndarray,), {})

    def function(self, op):
        def run(*inputs, **attributes):
            results = op.function(*(np.asarray(x) for x in inputs), **attributes)
            if op.name == "linear":
                return tuple(self.array(y * np.float32(1 + 1e-5)) for y in results)
            if isinstance(results, tuple):
                return tuple(None if y is None else self.own(y) for y in results)
            return self.own(results)

        return run

    def own(self, array):
        return np.asarray(array).view(self.array_type)

    def array(self, values, dtype=None):
        return self.own(np.array(values, dtype))

    def numpy(self, array):
        return np.asarray(array)


def test_demo_notices_a_careless_backend(refnet_, tmp_path):
    registry.register("careless", Careless)
    try:
        arguments = [
            "demo",
            "--backend",
            "careless",
            "--epochs",
            "12",
            "--steps",
            "20",
            "--activation",
            "relu",
            "--out",
        ]
        code, out, _ = refnet_(*arguments, tmp_path)
    finally:
        del registry._targets["careless"], registry._loaded["careless"]
    assert code == 1
    assert "It BREAKS at step" in out
    assert "relu has a kink" in out


@pytest.mark.triton
def test_demo_with_triton(refnet_, tmp_path):
    code, out, _ = refnet_("demo", "--epochs", 12, "--steps", 3, "--out", tmp_path)
    assert code == 0, out
    compared = json.loads((tmp_path / "demo.json").read_text())["comparison"]
    assert compared["backend"] == "triton"
    assert compared["largest_difference_in_units_of_its_bound"] <= 1


# -- what the demo stands on: refnet.check.training -------------------------------------------------


def test_float32_drifts_within_its_bound_and_not_far_below():
    from refnet.cli import demo

    x, y = demo._digits()[0]
    runs = [drift.Run("float32", "numpy"), drift.Run("float64", "numpy", "float64")]
    gaps, bounds = [], []
    for step in drift.steps(lambda: demo.network("swish", 3), runs, drift.batches_of(x, y, 32, 90)):
        gaps.append(abs(step.losses["float32"] - step.losses["float64"]))
        bounds.append(drift.loss_bound(step.t, step.losses["float64"], layers=3, rounded=1))
    worst = max(np.divide(gaps, bounds))
    assert 1 / 16 < worst <= 1
    assert 0 < step.distance("float32", "float64") < 1e-4


def test_columns_and_numbers():
    from refnet.cli import output

    assert output.table(("op", "n"), [("relu", 1), ("x", 10)]) == [
        "op     n",
        "relu   1",
        "x     10",
    ]
    assert [output.duration(s) for s in (0.0123, 4.56, 185)] == ["12.3 ms", "4.6 s", "3 min 5 s"]
