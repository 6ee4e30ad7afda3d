"""Many tasks, some processes, a deadline: a process that is lost costs the one task it had.

Kernels may go wrong in ways that Python cannot catch. An illegal address spoils all that follows in its
process; a fault in a driver ends it; a kernel may never return. So tasks run in processes of their own,
each of which has one at a time, and whoever hands them out knows which.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from refnet_triton.gpu.clock import Clock

SILENCE = 90.0  # seconds that a task may take before its process is taken for lost
MOST_LOST = 20  # processes; more of them say that the machine is at fault, not a task
LOOK = 0.5  # seconds between two looks at the clock

Take = Callable[[Any, Any, str], None]


class Worker:
    """A process that does one task after the other. `task` is the number of the one it has."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        with _deaf():
            self.process.start()
        theirs.close()  # so that its end is noticed here
        self.task: int | None = None
        self.since = time.monotonic()

    def give(self, number: int, task: Any) -> None:
        """Hand a task out."""
        self.task, self.since = number, time.monotonic()
        with contextlib.suppress(OSError):  # a process that has ended: `answer` says so
            self.pipe.send(task)

    def answer(self) -> tuple[Any, str, bool]:
        """(result, error, whether this process is of no more use); for its end as well."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode
            how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
            return None, f"its process ended, {how}", True

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join(5)
        self.pipe.close()


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """What starts within hears no Ctrl-C and no `kill`: whoever started it is told, and ends it."""
    ends = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_all(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    clock: Clock,
    take: Take,
    silence: float = SILENCE,
) -> list[Any]:
    """``take(task, function(task), error)`` for all tasks; returns those that the clock cut off.

    `function` is one that a new process can import. A task whose process ended, or was silent for too
    long, has an error instead of a result, and another process goes on with the next one. After
    `MOST_LOST` of them the tasks that are left have that as their error.
    """
    left = iter(enumerate(tasks))
    crew: list[Worker] = []
    unfinished = dict(enumerate(tasks))
    lost = 0
    try:
        for _ in range(min(workers, len(tasks)) if clock.left() else 0):
            crew.append(_next(Worker(function), left, tasks))
        while any(worker.task is not None for worker in crew):
            seconds = clock.left()
            if not seconds:
                break
            busy = {worker.pipe: worker for worker in crew if worker.task is not None}
            ready = [busy[pipe] for pipe in wait(list(busy), min(LOOK, seconds))]  # type: ignore[index]
            late = [w for w in busy.values() if time.monotonic() - w.since >= silence]
            for worker in [*ready, *(w for w in late if w not in ready)]:
                answer = (None, f"no result after {silence:.0f} s", True)
                result, error, gone = worker.answer() if worker in ready else answer
                take(unfinished.pop(worker.task), result, error)  # type: ignore[arg-type]
                if gone:
                    lost += 1
                    worker.stop()
                    crew.remove(worker)
                    if lost > MOST_LOST:
                        for number in list(unfinished):
                            take(
                                unfinished.pop(number), None, f"not run: {lost} processes were lost"
                            )
                        return []
                    worker = Worker(function)
                    crew.append(worker)
                _next(worker, left, tasks)
    finally:
        for worker in crew:
            worker.stop()
    return list(unfinished.values())


def _next(worker: Worker, left: Iterator[tuple[int, Any]], tasks: Sequence[Any]) -> Worker:
    """The worker, with the next task if there is one."""
    number, task = next(left, (None, None))
    worker.task = None
    if number is not None:
        worker.give(number, task)
    return worker


# -- in the process ----------------------------------------------------------------------------------


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    """Do what comes, until nobody is there any more."""
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        answer = _attempt(function, task)
        try:
            pipe.send(answer)
        except OSError:
            return
        except Exception as error:  # a result that cannot travel
            pipe.send((None, _said(error), answer[2]))
        if answer[2]:
            os._exit(1)  # no clean end is to be had without the GPU


def _attempt(function: Callable[[Any], Any], task: Any) -> tuple[Any, str, bool]:
    """(result, error, whether the GPU is lost to this process)."""
    result, error = None, ""
    try:
        result = function(task)
    except Exception as exception:
        error = _said(exception)
    try:
        synchronize()
    except Exception as exception:
        return result, error or _said(exception), True
    return result, error, False


def synchronize() -> None:
    """Wait for the GPU; an error if it is lost. A process that has not used one has none to lose."""
    runtime = sys.modules.get("refnet_triton.runtime.device")
    if runtime is not None and runtime.DEVICE.type == "cuda":
        sys.modules["torch"].cuda.synchronize()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2000]
