"""What the tests do without a package: each that needs it skips and says so, and no other does."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest

ROOT = Path(__file__).resolve().parents[2]
#: what a machine with torch, triton, NumPy and pytest alone does not have
OPTIONAL = ("rich", "safetensors", "matplotlib", "tensorboard", "mpmath", "PIL", "google")
HIDING = """
import sys
sys.modules.update(dict.fromkeys({hidden!r}))
import pytest
sys.exit(pytest.main({arguments!r}))
"""


def pytest_without(hidden, *arguments):
    """What pytest prints in a process in which some packages cannot be found."""
    program = HIDING.format(hidden=hidden, arguments=["-q", "-p", "no:cacheprovider", *arguments])
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env={
            **environment,
            "PYTHONPATH": path,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "REFNET_PROOF": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def written_tests():
    """file::name of every function in tests/ that is written as a test, but for the benchmarks."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        if path.parent.name == "benchmarks":
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield f"{path.relative_to(ROOT).as_posix()}::{node.name}"


def test_nothing_that_is_written_as_a_test_is_left_out():
    """Not for what some tests of its file need, nor for what another file does to it."""
    done = pytest_without(OPTIONAL, "tests", "-W", "default", "--collect-only")
    collected = {line.partition("[")[0] for line in done.stdout.splitlines()}
    lost = sorted(set(written_tests()) - collected)
    assert not lost
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert not [line for line in skipped if any(name in line for name in OPTIONAL)]


EXAMPLE = """
import pytest
from tests.conftest import need

@pytest.fixture
def drawn():
    need("matplotlib")

def test_runs(): pass
def test_draws(drawn): raise AssertionError
@pytest.mark.needs("rich")
def test_prints(): raise AssertionError
@pytest.mark.needs("numpy")
@pytest.mark.needs("pytest", "safetensors")
def test_saves(): raise AssertionError
@pytest.mark.needs("numpy", "pytest")
def test_computes(): pass
"""
WHOLE = """
import pytest
pytest.importorskip("tensorboard", reason="all of it needs tensorboard")
"""


def test_the_report_says_what_did_not_run_and_why(tmp_path):
    (tmp_path / "test_example.py").write_text(EXAMPLE)
    (tmp_path / "test_whole.py").write_text(WHOLE)
    options = ["-W", "default", "--strict-markers", "-p", "tests.conftest", f"--rootdir={tmp_path}"]
    done = pytest_without(OPTIONAL, *options, str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed, 4 skipped" in done.stdout
    (numpy,) = (line for line in done.stdout.splitlines() if line.startswith("NumPy:"))
    ran, _, reasons = numpy.partition("; 3 DID NOT RUN: ")
    assert ran.endswith("2 ran: 2 passed")
    assert sorted(reasons.split(", ")) == [
        f"{name} is not installed (1)" for name in ("matplotlib", "rich", "safetensors")
    ]
    (files,) = (line for line in done.stdout.splitlines() if line.startswith("Whole files:"))
    assert files.endswith("1 DID NOT RUN: all of it needs tensorboard (1)")


def test_what_is_missing():
    assert conftest.missing("numpy", "pytest") == ""
    assert conftest.missing("numpy", "no_such", "nor_this") == "no_such is not installed"


@pytest.mark.parametrize("here", [("gpu", ""), ("interpreted", "")])
def test_what_a_gpu_has_no_part_in_is_skipped_on_one(monkeypatch, here):
    monkeypatch.setattr(conftest, "triton_here", lambda: here)
    look = conftest.interpreted.__wrapped__
    if here[0] == "gpu":
        with pytest.raises(pytest.skip.Exception, match="looked at in the interpreter"):
            look()
    else:
        assert look() is None
