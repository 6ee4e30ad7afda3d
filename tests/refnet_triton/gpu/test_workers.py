"""Tasks and tests in processes of their own: one that is lost costs the one it was at."""

from __future__ import annotations

import functools
import math
import os
import signal
import sys
import time

import pytest

from refnet_triton.gpu import share, workers
from refnet_triton.gpu.clock import Clock

# -- tasks in other processes, and a deadline --------------------------------------------------------


def doubled(task):
    if task == "lose":
        workers.synchronize = functools.partial(math.sqrt, -1)  # as after an illegal address
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "hang":
        time.sleep(600)
    if task == "exit":
        sys.exit(3)
    if task == "raise":
        raise ValueError("no")
    return (lambda: 0) if task == "strange" else task * 2


def run_all(tasks, count, seconds=120.0, **options):
    taken = {}
    cut = workers.run_all(
        doubled, tasks, count, Clock(seconds),
        lambda task, result, error: taken.update({task: (result, error)}), **options,
    )  # fmt: skip
    return taken, cut


@pytest.mark.parametrize("count", [1, 2])
def test_a_process_that_is_lost_costs_its_own_task(count):
    taken, cut = run_all(["a", "lose", "b", "die", "raise", "exit", "strange", "c"], count)
    assert cut == [] and len(taken) == 8
    assert [taken[name] for name in "abc"] == [("aa", ""), ("bb", ""), ("cc", "")]
    assert taken["lose"][1].startswith("ValueError")
    assert taken["die"] == (None, "its process ended, by signal 9")
    assert taken["raise"] == (None, "ValueError: no")
    assert taken["exit"] == (None, "its process ended, with status 3")
    assert taken["strange"][0] is None and "pickle" in taken["strange"][1].lower()


def test_a_process_that_is_silent_costs_its_own_task():
    taken, cut = run_all(["hang", "a", "b"], 2, silence=3.0)
    assert cut == [] and taken["hang"] == (None, "no result after 3 s")
    assert taken["a"] == ("aa", "") and taken["b"] == ("bb", "")


def test_what_the_clock_cuts_off_is_returned():
    start = time.monotonic()
    taken, cut = run_all(["a", "hang", "b"], 1, seconds=4.0)
    assert set(taken) == {"a"} and cut == ["hang", "b"]
    assert time.monotonic() - start < 30
    assert run_all(["a"], 1, seconds=-1.0) == ({}, ["a"])
    assert run_all([], 2) == ({}, [])


def test_a_machine_that_loses_every_process_is_given_up(monkeypatch):
    monkeypatch.setattr(workers, "MOST_LOST", 1)
    taken, cut = run_all(["die", "exit", "a", "b"], 1)
    assert set(taken) == {"die", "exit", "a", "b"} and cut == []
    assert taken["a"] == taken["b"] == (None, "not run: 2 processes were lost")


def test_what_starts_a_process_hears_ctrl_c_and_the_process_does_not():
    asked = []
    before = signal.signal(signal.SIGINT, lambda *_: asked.append("stop"))
    try:
        worker = workers.Worker(doubled)
        worker.give(0, "a")
        assert worker.answer() == ("aa", "", False)
        for how in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker.process.pid, how)
        os.kill(os.getpid(), signal.SIGINT)
        worker.give(1, "b")
        assert worker.answer() == ("bb", "", False) and asked == ["stop"]
        worker.stop()
        assert worker.process.exitcode == -signal.SIGKILL
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_part_ends_no_later_than_the_whole():
    whole = Clock(100.0)
    part, other = whole.part(50.0), whole.part(200.0)
    assert 49 < part.left() <= 50 and 99 < other.left() <= 100
    part.stop()
    assert part.left() == 0 and other.left() > 0
    whole.stop()
    assert other.left() == 0 == Clock(-1.0).left()


# -- tests in other processes ------------------------------------------------------------------------

TESTS = """
import os, signal, time, pytest

@pytest.mark.parametrize("n", range(6))
def test_good(n): pass
def test_bad(): assert 1 == 2
def test_skipped(): pytest.skip("not here")
@pytest.fixture
def broken():
    yield
    raise ValueError("behind it")
def test_cleaned_up_badly(broken): pass
def test_killed():
    if not HARMLESS: os.kill(os.getpid(), signal.SIGKILL)
def test_hangs():
    if not HARMLESS: time.sleep(600)
def test_last(): pass
HARMLESS = False
"""


def shares(tmp_path, text, clock=None, **options):
    pytest.importorskip("torch")
    from refnet_triton.gpu import tests

    file = tmp_path / "test_some.py"
    file.write_text(text, encoding="utf-8")
    clock = clock or Clock(120)
    return tests.run(2, clock, tmp_path / "some.tests.log", [str(file)], **options)


def shown(found):
    from refnet_triton.gpu import tests

    return tests.shown(found)


@pytest.mark.triton
def test_shares_of_the_tests(tmp_path):
    found = shares(tmp_path, TESTS, silence=12.0)
    assert found["selected"] == 12 and found["not_run"] == 0 and found["cut"] == []
    assert found["counts"] == {"passed": 7, "failed": 4, "skipped": 1}
    failed = {name.rpartition("::")[2]: text for name, text in found["failed"].items()}
    assert set(failed) == {"test_bad", "test_cleaned_up_badly", "test_killed", "test_hangs"}
    assert "assert 1 == 2" in failed["test_bad"] and "behind it" in failed["test_cleaned_up_badly"]
    assert failed["test_killed"] == "its process ended with status -9"
    assert failed["test_hangs"] == "no end after 12 s"
    assert found["skipped"] == {"not here": 1}
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and "some" in path.name] == []
    assert "share 1/2" in (tmp_path / "some.tests.log").read_text()
    text = "\n".join(shown(found))
    assert "7 passed" in text and "4 failed" in text and "of 12" in text
    assert "test_bad: E   assert 1 == 2" in text and "skipped, 1: not here" in text


class UntilItHangs(Clock):
    """The time is up as soon as a test stands still, and the other share is done."""

    def __init__(self, folder):
        super().__init__(120)
        self.folder = folder

    def left(self):
        lines = [line for path in self.folder.glob("*.journal") for line in share.read(path)]
        hangs = any(line.get("test", "").endswith("::test_hangs") for line in lines)
        return 0.0 if hangs and any("exitstatus" in line for line in lines) else super().left()


@pytest.mark.triton
def test_shares_that_the_clock_cuts_off(tmp_path):
    text = TESTS.replace("if not HARMLESS: os.kill", "if HARMLESS: os.kill")
    found = shares(tmp_path, text, UntilItHangs(tmp_path / "some.tests"))
    assert [name.rpartition("::")[2] for name in found["cut"]] == ["test_hangs"]
    assert found["counts"]["passed"] == 8 and found["not_run"] == 1
    assert "1 NOT RUN" in "\n".join(shown(found))


@pytest.mark.triton
def test_shares_that_are_cut_off_before_they_have_collected(tmp_path):
    found = shares(tmp_path, f"import time\ntime.sleep(100)\n{TESTS}", Clock(0))
    assert found["cut"] == [f"all tests of share {k}/2" for k in range(2)]
    assert found["errors"] == [] and found["failed"] == {}


@pytest.mark.triton
def test_no_process_is_left_when_something_goes_wrong(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from refnet_triton.gpu import tests

    started = []

    def watch(one, silence):
        started.append(one.process)
        raise MemoryError

    monkeypatch.setattr(tests.Run, "watch", watch)
    with pytest.raises(MemoryError):
        shares(tmp_path, TESTS)
    assert started and all(process.poll() is not None for process in started)


@pytest.mark.triton
def test_without_any_test_there_is_an_error(tmp_path):
    found = shares(tmp_path, "import no_such_module\n")
    assert found["errors"] == ["no test was collected: see the log"]


LOST = """
from refnet_triton.gpu import workers
def test_a(): pass
def test_b():
    def lost(): raise RuntimeError("an illegal memory access was encountered")
    workers.synchronize = lost
def test_c(): pass
def test_d(): pass
"""


@pytest.mark.triton
def test_a_test_that_costs_the_gpu_ends_its_process(tmp_path):
    found = shares(tmp_path, LOST)
    (name,) = found["failed"]
    assert name.endswith("test_b") and found["counts"] == {"passed": 3, "failed": 1}


def test_a_journal_that_was_cut_off(tmp_path):
    (tmp_path / "a").write_text('{"test": "x"}\n{"ended": "x", "outco', encoding="utf-8")
    assert share.read(tmp_path / "a") == [{"test": "x"}]
    assert share.read(tmp_path / "none") == []
