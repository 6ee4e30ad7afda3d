"""The three tiers, the backends the tests run on, and the report of what ran at the end.

A test marked `triton` runs on the GPU where there is one, and in Triton's interpreter otherwise. A
test marked `gpu` is skipped without one, one marked `needs("rich")` without that package. All others
need NumPy and pytest alone. What a GPU has no part in asks for `interpreted`: there it is skipped.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import operator
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from refnet import backend as backends
from refnet.op import TABLE
from refnet.op.columns import Case
from refnet.proof.judge import cases_of, compare
from tests.loopback import Loopback

TIERS = {
    "numpy": "NumPy",
    "interpreted": "Triton, interpreted",
    "gpu": "Triton on a GPU",
}

#: `make proof`: every case in every type, every seed, every GPU, however long that takes
PROOF = bool(os.environ.get("REFNET_PROOF"))
LEFT = pytest.StashKey[int]()  # how many tests were left to it

backends.register("loopback", Loopback)
backends.register_uninstalled("triton", "refnet_triton.backend:TritonBackend")


# -- which tier a test belongs to, and what it lacks ---------------------------------------------


def missing(*packages: str) -> str:
    """Which of these packages is not installed, in words, or ""."""
    absent = (name for name in packages if importlib.util.find_spec(name) is None)
    return next((f"{name} is not installed" for name in absent), "")


def need(*packages: str) -> None:
    """Skip what runs if one of these packages is not installed."""
    if lacking := missing(*packages):
        pytest.skip(lacking)


@functools.cache
def triton_here() -> tuple[str, str]:
    """(the tier that tests of Triton belong to on this machine, why they cannot run or "")."""
    if lacking := missing("torch", "triton"):
        return "interpreted", lacking
    from refnet_triton.runtime import device

    if device.INTERPRETED.value:
        return "interpreted", ""
    if device.DEVICE.type == "cuda":
        return "gpu", ""
    return "interpreted", "REFNET_COMPILE_ONLY=1 is set: kernels are compiled here, not run"


def why_no_gpu() -> str:
    """Why tests on a GPU cannot run here, or ""."""
    tier, lacking = triton_here()
    if tier == "gpu" or lacking:
        return lacking
    import torch

    return "TRITON_INTERPRET=1 is set" if torch.cuda.is_available() else "no GPU found"


def pytest_configure(config: pytest.Config) -> None:
    triton_here()  # first of all: a test that uses torch.optim imports triton, uninterpreted
    config.addinivalue_line("markers", "needs(package, ...): skipped without one of these packages")
    config.addinivalue_line("markers", "every_op: concerns all ops; -k NAME selects it for any op")
    config.addinivalue_line("markers", "proof: one more of many; run by `make proof` alone")


def pytest_itemcollected(item: pytest.Item) -> None:
    item.extra_keyword_matches |= ops_of(item)
    needs = [name for name in ("gpu", "triton") if item.get_closest_marker(name)]
    item.user_properties.append(("needs", needs[0] if needs else ""))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = set() if PROOF else {item for item in items if item.get_closest_marker("proof")}
    if left:
        config.hook.pytest_deselected(items=[*left])
        items[:] = [item for item in items if item not in left]
    config.stash[LEFT] = len(left)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # in a process of pytest-xdist
        session.config.workeroutput["left"] = session.config.stash.get(LEFT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    node.config.stash[LEFT] = getattr(node, "workeroutput", {}).get("left", 0)


def ops_of(item: pytest.Item) -> set[str]:
    """The ops that a test concerns without naming them: all, or those of a file of ops."""
    if item.get_closest_marker("every_op"):
        return set(TABLE)
    path = getattr(item, "callspec", None) and item.callspec.params.get("path")
    if not isinstance(path, Path) or path.parent.name != "ops":
        return set()
    return {op.name for op in TABLE.values() if op.file == path.stem}


def pytest_runtest_setup(item: pytest.Item) -> None:
    lacking = ""
    if item.get_closest_marker("gpu"):
        lacking = why_no_gpu()
    elif item.get_closest_marker("triton"):
        lacking = triton_here()[1]
    if lacking:
        pytest.skip(lacking)
    for mark in item.iter_markers("needs"):
        need(*mark.args)


# -- what tests ask for --------------------------------------------------------------------------


@pytest.fixture
def torch():
    """PyTorch, for tests that compare with it."""
    need("torch")
    import torch

    return torch


@pytest.fixture
def mpmath():
    """mpmath, for tests that compute in 100 bits."""
    need("mpmath")
    import mpmath

    return mpmath


@pytest.fixture(scope="session")
def interpreted():
    """Skips on a GPU: for what is marked `triton`, and is compiled or interpreted wherever it runs."""
    if triton_here() == ("gpu", ""):
        pytest.skip("looked at in the interpreter, without a GPU")


TRITON = pytest.param("triton", marks=pytest.mark.triton)


@pytest.fixture(params=["numpy", "loopback", TRITON])
def backend(request):
    """Each backend in turn."""
    return backends.get(request.param)


@pytest.fixture
def poisoned(request):
    """New torch memory holds NaN (integers: their largest value): nobody can count on it."""
    if not request.node.get_closest_marker("triton"):
        yield
        return
    with backends.get("triton").poisoned():
        yield


@functools.cache
def differing_by_type(op) -> list[Case]:
    """The cases of an op that may go well in one float type and wrong in another.

    These are the numbers that are given and not drawn; and of those that are drawn, in each order of
    magnitude and with each fraction or name among the attributes, the first case and the longest.
    What is left is about shapes and layouts, which are the same in all types.
    """
    kept, drawn = [], {}
    for case in cases_of(op):
        inputs, again = (case.make(np.random.default_rng(seed)) for seed in (0, 1))
        if all(np.array_equal(x, y, equal_nan=True) for x, y in zip(inputs, again, strict=True)):
            kept.append(case)
        else:
            largest = max(np.max(np.abs(x), initial=0, where=np.isfinite(x)) for x in inputs)
            given = sorted((k, v) for k, v in case.attributes.items() if isinstance(v, float | str))
            key = (math.floor(math.log10(largest)) if largest else None, *given)
            drawn.setdefault(key, []).append((sum(map(np.size, inputs)), case))
    for those in drawn.values():
        first, most = those[0][1], max(those, key=operator.itemgetter(0))[1]
        kept += [first] if first is most else [first, most]
    return kept


@pytest.fixture
def agree(record_property):
    """agree(op, dtype, backend): the backend keeps the bound of the op's row on all its cases."""

    def check(op, dtype, backend):
        complaints, largest, cause = [], 0.0, None
        for case in cases_of(op) if PROOF or dtype == "float32" else differing_by_type(op):
            try:
                found = compare(op, case, dtype, backend)
            except Exception as error:
                complaints.append(f"{case.name}: {type(error).__name__}: {error}")
                cause = cause or error
                continue
            largest = max(largest, found.ratio)
            if not found.ok:
                complaints.append(f"{case.name}: {found.complaint}")
        if complaints:
            raise AssertionError("\n".join([f"{op.name} in {dtype}:", *complaints])) from cause
        record_property("agreement", [backend.name, float(largest), f"{op.name} in {dtype}"])

    return check


@pytest.fixture
def compile_only(interpreted):
    """compile_only(program): what a program prints that compiles kernels and launches none."""
    from refnet_triton.inspect.process import COMPILING, environment

    def run(program):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env=environment(COMPILING),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture
def refnet_(capsys):
    """refnet_("show", "relu") -> (exit code, stdout, stderr) of the command line."""
    need("rich")
    from refnet import cli

    def run(*arguments):
        code = cli.main([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def refnet_check(refnet_):
    """refnet_check("--op", "relu") -> (exit code, stdout, stderr) of `refnet check`."""
    return functools.partial(refnet_, "check")


# -- the closing report --------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter, config) -> None:
    ran = {tier: Counter() for tier in (*TIERS, "file")}
    skipped = {tier: Counter() for tier in (*TIERS, "file")}
    largest: dict[str, tuple[float, str]] = {}
    for outcome in ("passed", "failed", "error", "xfailed", "xpassed", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            properties = dict(getattr(report, "user_properties", ()))
            whole_file = isinstance(report, pytest.CollectReport)
            tier = "file" if whole_file else _tier(properties.get("needs", ""))
            if outcome == "skipped":
                skipped[tier][str(report.longrepr[2]).removeprefix("Skipped: ")] += 1
            else:
                ran[tier][outcome] += 1
            if "agreement" in properties:
                name, ratio, where = properties["agreement"]
                largest[name] = max(largest.get(name, (0.0, "")), (ratio, where))
    terminalreporter.section("tiers")
    for tier, title in TIERS.items():
        terminalreporter.line(f"{title + ':':21}{_outcome(tier, ran, skipped)}")
    if ran["file"] or skipped["file"]:
        terminalreporter.line(f"{'Whole files:':21}{_outcome('file', ran, skipped)}")
    if config.stash.get(LEFT, 0):
        left = config.stash[LEFT]
        terminalreporter.line(
            f"Left to `make proof`: {left} tests, and most cases in types but float32"
        )
    if largest:
        each = [f"{name} {ratio:.2f} ({where})" for name, (ratio, where) in largest.items()]
        terminalreporter.line(f"Largest error, in units of its bound: {', '.join(each)}")


def _tier(needs: str) -> str:
    return triton_here()[0] if needs == "triton" else needs or "numpy"


def _outcome(tier: str, ran: dict[str, Counter], skipped: dict[str, Counter]) -> str:
    """ "12 ran: 11 passed, 1 failed; 3 DID NOT RUN: mpmath is not installed (3)"."""
    parts = []
    if ran[tier]:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in ran[tier].items())
        parts.append(f"{sum(ran[tier].values())} ran: {counts}")
    if skipped[tier]:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in skipped[tier].items())
        parts.append(f"{sum(skipped[tier].values())} DID NOT RUN: {reasons}")
    other = {"interpreted": "gpu", "gpu": "interpreted"}.get(tier)
    shared = (ran[other] + skipped[other]).total() if other else 0
    if shared and not ran[tier]:  # tests marked `triton` are for both tiers; a machine is for one
        if tier == "gpu":
            parts.append(f"the {shared} tests above DID NOT RUN on one: {why_no_gpu()}")
        else:
            parts.append("DID NOT RUN: kernels are compiled here (try TRITON_INTERPRET=1)")
    return "; ".join(parts) or "none selected"
