"""Runs the tests that concern a mutant, with the mutant in the place of its file.

Each mutant is tried in a fork of a process that has NumPy, PyTorch, Triton and pytest in memory already.
Only refnet itself is imported anew, the mutated file from a copy outside of the package: nothing in the
checkout changes. The first test that fails, an import that fails, a crash or a test that does not end
kills the mutant.
"""

from __future__ import annotations

import ast
import functools
import gc
import hashlib
import importlib.abc
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .mutator import Mutant, definitions, is_op, uses
from .reach import Reach, Watched, nearest

ROOT = Path(__file__).parents[2]
TIMEOUT = 60.0  # seconds without the end of a test
MEMORY = 24 << 30  # bytes of addresses

#: tests that go op by op: of these only the ones of the ops concerned
BY_OP = {
    "refnet": ("op/test_table.py", "ops/test_twins.py", "op/test_shapes.py"),
    "refnet_triton": ("ops/test_twins.py",),
}
#: tests of one file of ops
BY_FILE = {
    "activations": ("ops/test_known_values.py",),
    "comparisons": (),
    "elementwise": (),
    "indexing": ("test_errors.py", "autograd/test_indexing.py"),
    "losses": ("ops/test_known_values.py", "losses/test_losses.py"),
    "matmul": ("ops/test_known_values.py", "test_errors.py", "layers/test_layers.py"),
    "optimizers": ("ops/test_known_values.py", "optimizers/test_optimizers.py"),
    "random": ("ops/test_random.py",),
    "reductions": ("test_errors.py",),
    "shape": ("test_errors.py", "autograd/test_tensor.py"),
    "softmax": ("ops/test_known_values.py",),
}
#: tests of the folders and files above the ops, the nearest first
ABOVE = {
    "autograd/backpropagation": (
        *(
            "autograd/test_tensor.py",
            "graph/test_graph.py",
            "graph/test_session.py",
            "autograd/test_reading.py",
        ),
    ),
    "autograd/operators": (
        *(
            "op/test_calls.py",
            "autograd/test_tensor.py",
            "autograd/test_indexing.py",
            "autograd/test_creation.py",
        ),
    ),
    "autograd/tensor": (
        *(
            "autograd/test_tensor.py",
            "autograd/test_creation.py",
            "graph/test_session.py",
            "op/test_promotion.py",
        ),
    ),
    "autograd/variable": (
        "autograd/test_tensor.py",
        "graph/test_session.py",
        "autograd/test_reading.py",
    ),
    "layers": (
        "layers/test_layers.py",
        "models/test_models.py",
        "layers/test_nested_layers.py",
        "training/test_settings.py",
    ),
    "losses": ("losses/test_losses.py", "losses/test_pairing.py", "models/test_models.py"),
    "metrics": ("metrics/test_metrics.py", "losses/test_pairing.py", "models/test_models.py"),
    "models": (
        "models/test_models.py",
        "callbacks/test_callbacks.py",
        "models/test_shared_layers.py",
        "training/test_settings.py",
    ),
    "optimizers/parameters": (
        "models/test_shared_layers.py",
        "models/test_models.py",
        "optimizers/test_optimizers.py",
    ),
    "training": (
        "models/test_models.py",
        "callbacks/test_callbacks.py",
        "training/test_settings.py",
    ),
}


def _files(*folders: str) -> tuple[str, ...]:
    """The test files of some folders of tests/."""
    return tuple(
        path.relative_to(ROOT / "tests").as_posix()
        for folder in folders
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py"))
    )


#: of all that stands above the ops: the tests of the rooms there
ABOVE_NEXT = _files(
    *("layers", "losses", "metrics", "models", "training", "optimizers", "callbacks", "autograd")
)
#: for what is still alive above the ops
ABOVE_LAST = (
    *_files("base", "op", "graph", "backend"),
    *("test_errors.py", "test_random.py", "ops/test_known_values.py", "ops/test_axes.py"),
)
#: for what is still alive
LAST = (
    "house/test_completeness.py",
    "test_errors.py",
    "layers/test_layers.py",
    "ops/test_edges.py",
    "ops/test_digits.py",
    "refnet_triton/ops/test_tiles.py",
    "refnet_triton/ops/test_long_rows.py",
    "refnet_triton/ops/test_addresses.py",
)


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: "killed" or "survived", by which test or how, in how many seconds."""

    outcome: str
    by: str
    seconds: float


@functools.cache
def _trees(side: str) -> dict[str, dict[str, ast.stmt]]:
    """What each op file of a side defines."""
    files = sorted((ROOT / side / "ops").glob("*.py"))
    return {file.stem: definitions(ast.parse(file.read_text())) for file in files}


@functools.cache
def ops_concerned(side: str, path: str, function: str) -> frozenset[str]:
    """The names of the ops whose results depend on a function (or constant) of an op file."""
    trees, formulas = _trees(side), _trees("refnet")
    rows = {name for tree in formulas.values() for name, node in tree.items() if is_op(node)}
    here = trees[Path(path).stem]
    if function in rows:
        base = function.removesuffix("_vjp")
        return frozenset({base, f"{base}_vjp"} & rows)
    everywhere = {name: node for tree in trees.values() for name, node in tree.items()}
    if not function.startswith("_"):  # other files may use it
        return frozenset(_callers({function}, everywhere) & rows)
    return frozenset(_callers({function}, here) & rows)


def _callers(names: set[str], nodes: dict[str, ast.stmt]) -> set[str]:
    """The names, whoever uses them, whoever uses those ..."""
    reached, before = set(names), set()
    while reached != before:
        before = set(reached)
        reached |= {name for name, node in nodes.items() if uses(node) & before}
    return reached


def above(path: str) -> str:
    """Which part above the ops a file is of: "models", "autograd/tensor" ...; "" for a file of ops."""
    side, _, within = Path(path).with_suffix("").as_posix().partition("/")
    parts = (part for part in ABOVE if f"{within}/".startswith(f"{part}/"))
    return next(parts, "") if side == "refnet" else ""


def _name(test: str) -> str:
    """The file of a test, seen from the folder of all tests."""
    return test.partition("::")[0].removeprefix("tests/")


class Chosen:
    """A pytest plugin: of the tests that go op by op, those of some ops; the others as they are.

    Without `ops` all tests that need no kernel.
    """

    def __init__(
        self, side: str, ops: frozenset[str] | None, log: Path, near: dict[str, float] | None = None
    ) -> None:
        self.side, self.ops, self.log, self.near = side, ops, log, near
        self.first_failure = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """NumPy's tests first; then the one with many small programs, which finds most.

        Of tests that are near, the quickest first.
        """
        order = lambda item: (needs_triton(item), "sizes_of_a_gpu" not in item.name)  # noqa: E731
        if self.near is not None:
            order = lambda item: self.near[item.nodeid]  # noqa: E731
        items[:] = sorted(filter(self.keeps, items), key=order)

    def keeps(self, item: pytest.Item) -> bool:
        if self.near is not None:
            return item.nodeid in self.near
        if self.ops is None:
            return not needs_triton(item)
        if self.side == "refnet_triton" and not needs_triton(item):
            return False
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if hasattr(parameters.get("op"), "formula"):
            return parameters["op"].name in self.ops
        if _name(item.nodeid) in (*BY_OP["refnet"],):
            return parameters.get("name") in self.ops
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.log.touch()  # a sign of life
        if report.failed and not self.first_failure:
            self.first_failure = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.first_failure:
            self.first_failure = f"{report.nodeid or 'tests'} (when it is imported)"


def needs_triton(item: pytest.Item) -> bool:
    """Whether a test is for the kernels."""
    return item.get_closest_marker("triton") is not None


class Instead(importlib.abc.MetaPathFinder):
    """Imports one module from another file."""

    def __init__(self, module: str, file: Path) -> None:
        self.module, self.file = module, file

    def find_spec(self, name: str, path: object, target: object = None) -> object:
        if name == self.module:
            return importlib.util.spec_from_file_location(name, self.file)
        return None


def warm_up() -> None:
    """Import what takes long and does not depend on refnet."""
    os.environ.update(OMP_NUM_THREADS="1", TRITON_INTERPRET="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    sys.path.insert(0, str(ROOT))
    for name in ("mpmath", "torch", "triton", "triton.language", "triton.runtime.interpreter"):
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is in memory by now is no business of the forks


def verdicts(
    chosen: Iterable[tuple[str, Mutant | None]], jobs: int, timeout: float = TIMEOUT
) -> Iterator[tuple[tuple[str, Mutant | None], Verdict]]:
    """Each ("path", mutant) with its verdict, as they come in. None in place of a mutant: no fault."""
    with tempfile.TemporaryDirectory(prefix="refnet-mutants-") as folder:
        waiting, running = list(chosen)[::-1], {}
        while waiting or running:
            while waiting and len(running) < jobs:
                one = waiting.pop()
                log = Path(folder) / f"{len(waiting)}.log"
                log.touch()
                running[_start(*one, log)] = one, time.monotonic(), log
            time.sleep(0.02)
            for pid, (one, began, log) in list(running.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                seconds = time.monotonic() - began
                late = time.time() - log.stat().st_mtime > timeout
                if not done and not late:
                    continue
                if not done:
                    os.killpg(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                del running[pid]
                said = log.with_suffix(".by").read_text() if log.with_suffix(".by").exists() else ""
                if late and not done:
                    yield (
                        one,
                        Verdict("killed", f"a test that takes more than {timeout:.0f} s", seconds),
                    )
                elif os.WIFSIGNALED(status):
                    yield one, Verdict("killed", f"signal {os.WTERMSIG(status)}", seconds)
                else:
                    code = os.WEXITSTATUS(status)
                    said = said or ("" if code == 0 else log.read_text()[-300:])
                    yield one, Verdict("killed" if code else "survived", said, seconds)


#: of the tests of what stands above the ops; filled by `watch`
reach: Reach = {}


def watch(files: Iterable[Path], jobs: int) -> None:
    """Run all tests of what stands above the ops, and keep which functions of some files they reach."""
    tests = [*dict.fromkeys(name for names in ABOVE.values() for name in names)]
    tests = [*dict.fromkeys([*tests, *ABOVE_NEXT, *ABOVE_LAST])]
    shares = [tests[i::jobs] for i in range(jobs)]
    with tempfile.TemporaryDirectory(prefix="refnet-reach-") as folder:
        notes = [Path(folder) / f"{i}.json" for i in range(jobs)]
        running = [
            _watched(share, [*files], note) for share, note in zip(shares, notes, strict=True)
        ]
        for pid in running:
            os.waitpid(pid, 0)
        for note in notes:
            for test, (seconds, called) in json.loads(note.read_text()).items():
                reach[test] = seconds, {(file, line) for file, line in called}


def _watched(tests: list[str], files: list[Path], note: Path) -> int:
    """Fork a process that runs tests and writes down what they reach."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.chdir(ROOT)
        out = os.open(os.devnull, os.O_WRONLY)
        os.dup2(out, 1)
        plugin = Watched(files)
        chosen = Chosen("refnet", None, note)
        arguments = [str(ROOT / "tests" / name) for name in tests]
        pytest.main(["-q", "--tb=no", "-p", "no:cacheprovider", *arguments], [plugin, chosen])
        found = {
            test: (seconds, sorted(called)) for test, (seconds, called) in plugin.found.items()
        }
        note.write_text(json.dumps(found))
    finally:
        os._exit(0)


def _start(path: str, mutant: Mutant | None, log: Path) -> int:
    """Fork a process that runs the tests; its exit status is pytest's."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        out = os.open(log, os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = _run(path, mutant, log)
    except BaseException as error:  # an exit code is all that the parent hears
        log.with_suffix(".by").write_text(f"{type(error).__name__}: {error}"[:300])
    finally:
        os._exit(code)


def _run(path: str, mutant: Mutant | None, log: Path) -> int:
    side, stem = path.partition("/")[0], Path(path).stem
    source = (ROOT / path).read_text()
    if mutant:
        copy = log.with_name(f"{log.stem}_{stem}.py")
        copy.write_text(mutant.apply(source))
        module = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        sys.meta_path.insert(0, Instead(module, copy))
    near = None
    if part := above(path):
        first = [*dict.fromkeys((*ABOVE[part], *ABOVE_NEXT))]
        ops, files = None, [*dict.fromkeys((*first, *ABOVE_LAST))]
        if mutant:
            near = nearest(reach, ROOT / path, mutant.line, files, len(first))
            files = [*dict.fromkeys(_name(test) for test in near)]
        groups = [(name,) for name in files]
    else:
        ops = (
            ops_concerned(side, path, mutant.function)
            if mutant
            else frozenset(_trees("refnet")[stem])
        )
        groups = [*((name,) for name in BY_OP[side]), (*BY_FILE[stem], *LAST)]
    os.chdir(ROOT)
    code = 0
    for files in groups:
        plugin = Chosen(side, ops, log, near)
        arguments = [str(ROOT / "tests" / name) for name in dict.fromkeys(files)]
        code = int(
            pytest.main(["-x", "-q", "--tb=no", "-p", "no:cacheprovider", *arguments], [plugin])
        )
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            log.with_suffix(".by").write_text(plugin.first_failure)
            return code
    return 0


def fingerprint(path: str) -> str:
    """Which text of a file the mutants were made of."""
    return hashlib.sha256((ROOT / path).read_bytes()).hexdigest()[:12]
