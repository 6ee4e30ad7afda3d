"""What the documentation says, runs: examples in docstrings, lessons, the code in the README."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import refnet

ROOT = Path(__file__).resolve().parents[2]
FILES = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "refnet").rglob("*.py")]
MODULES = sorted(".".join(path.parts).removesuffix(".__init__") for path in FILES)
MODULES.remove("refnet.__main__")
LESSONS = sorted((ROOT / "tutorials").glob("*.py"))
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.S | re.M)


def in_cli(module):
    return [pytest.mark.needs("rich")] if "cli" in module.split(".") else []


def saves(code):
    return [pytest.mark.needs("safetensors")] if "graph.save(" in code else []


@pytest.fixture(autouse=True)
def settings_survive():
    """Examples may change how NumPy prints and what the default type is."""
    floatx = refnet.config.floatx()
    with np.printoptions(legacy=False):
        yield
    refnet.config.set_floatx(floatx)


@pytest.mark.parametrize("name", [pytest.param(name, marks=in_cli(name)) for name in MODULES])
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    said = []
    for found in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(found, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_there_are_examples():
    """A finder that finds nothing would pass everything above."""
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES if not in_cli(name)]
    found = [t for module in modules for t in finder.find(module) if t.examples]
    assert len(found) > 15
    assert len(MODULES) > 30


def run(arguments, folder, **environment):
    """A Python program in a folder of its own, with a short setting; what it printed."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "MPLBACKEND": "Agg", **environment},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "lesson",
    [pytest.param(path, id=path.stem, marks=saves(path.read_text("utf-8"))) for path in LESSONS],
)
def test_lesson(lesson, tmp_path):
    assert run([lesson], tmp_path, REFNET_LESSON="short")


@pytest.mark.parametrize(
    "code", [pytest.param(c, id=f"{i}", marks=saves(c)) for i, c in enumerate(BLOCKS)]
)
def test_code_in_the_readme(code, tmp_path):
    """As it stands there, with one epoch; where Triton cannot run, all but what needs it."""
    code = re.sub(r"epochs=\d+", "epochs=1", code)
    without = """
import refnet
try:
    refnet.backend.get("triton")
except refnet.errors.RefnetError:
    refnet.Sequential.to = lambda self, name: self
"""
    run(["-c", without + code], tmp_path)


def test_there_are_lessons_and_code():
    assert LESSONS
    assert BLOCKS
