"""A function on tensors as one CUDA graph: Python runs once, then the GPU replays its launches.

Each call of a captured function has its effect (the update of a training step, say) exactly once:

=================  =================================================================================
first call         runs as usual, on a stream beside the current one: that compiles the kernels
second call        is captured, which launches nothing; then what was captured is replayed
all later calls    are replayed: inputs are copied to fixed places, results out of theirs
=================  =================================================================================

Where the capture fails, nothing has happened yet. The call then runs as usual, and so do all later ones.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from refnet_triton.runtime.device import DEVICE

#: graphs of a backend: training, evaluation and prediction, each with a last, smaller batch
KEPT = 8

#: PyTorch allows one capture at a time in a process. So captured functions take turns in all threads.
TURN = threading.RLock()

Form = tuple[tuple[torch.Size, torch.dtype], ...]


class Graphs:
    """The graphs of a backend that are alive, `KEPT` at most: the one used longest ago goes first."""

    def __init__(self) -> None:
        self._functions: list[weakref.ref[CapturedGraph]] = []  # in the order of their last use
        self._stream: Any = None

    def follow(self) -> None:
        """Let the current stream wait for that of the call before, should a thread have its own.

        Places, results and weights are the same memory in all threads.
        """
        stream = torch.cuda.current_stream()
        if self._stream is not None and stream != self._stream:
            stream.wait_stream(self._stream)
        self._stream = stream

    def used(self, function: CapturedGraph) -> None:
        """Note that the graph of a function is used now."""
        if not self._functions or self._functions[-1]() is not function:
            self._functions = [*self._others(function), weakref.ref(function)]

    def make_room(self, function: CapturedGraph) -> None:
        """Drop what was used longest ago, so that the graph of a function can be one more."""
        self._functions = self._others(function)
        while len(self._functions) >= KEPT:
            oldest = self._functions.pop(0)()
            if oldest is not None:
                oldest.drop()

    def _others(self, function: CapturedGraph) -> list[weakref.ref[CapturedGraph]]:
        """Without a function, and without those that nobody has any more."""
        return [f for f in self._functions if f() is not None and f() is not function]


class _Captured(NamedTuple):
    """A graph, the arguments it is for, and where it reads and writes."""

    form: Form
    graph: Any
    places: tuple[torch.Tensor, ...]
    outputs: tuple[torch.Tensor, ...]


class CapturedGraph:
    """A function on tensors, to be called again and again on others of the same shapes and types.

    Arguments of another shape or type than those that were captured are no fault: on these the function
    runs as usual. So it does after a capture that failed, which is said once, in a RuntimeWarning.

    **Threads.** Any thread may call it; calls take turns, and each gets results of its own. While one
    thread captures, another may compute with arrays as it likes, and read them. It may not wait for the
    whole device other than by `TritonBackend.synchronize`, capture a graph without holding `TURN`, or
    draw PyTorch's own random numbers on the GPU. What it launches itself while a captured function runs
    is in no order with it, unless both are on the same stream.
    """

    def __init__(self, run: Callable[..., tuple[torch.Tensor, ...]], graphs: Graphs) -> None:
        self._run = run
        self._graphs = graphs
        self._ran_on: Form | None = None
        self._captured: _Captured | None = None
        self._fails = False

    def __call__(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        form = tuple((a.shape, a.dtype) for a in arguments)
        with TURN:
            self._graphs.follow()
            if self._captured is not None and self._captured.form == form:
                return self._replay(self._captured, arguments)
            if self._captured is not None or self._fails:
                return self._eagerly(arguments)
            if self._ran_on != form:
                results = self._beside(arguments)
                self._ran_on = form
                return results
            return self._captured_now(form, arguments)

    def drop(self) -> None:
        """Give the memory of the graph back. The next call runs as usual, the one after is captured."""
        captured, self._captured, self._ran_on = self._captured, None, None
        if captured is not None:
            captured.graph.reset()

    def _eagerly(self, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return self._run(*(a.to(DEVICE) for a in arguments))

    def _beside(self, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """As usual, but on another stream: PyTorch asks for that before a capture.

        Results are copied, so that their memory is the current stream's.
        """
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(current)
        try:
            with torch.cuda.stream(side):
                results = self._eagerly(arguments)
        finally:
            current.wait_stream(side)
        return tuple(result.clone() for result in results)

    def _captured_now(
        self, form: Form, arguments: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        try:
            captured = self._capture(form)
        except Exception as error:
            reason = _reason(error)  # and not the error: its traceback holds the places
        else:
            self._captured = captured
            return self._replay(captured, arguments)
        results = self._eagerly(arguments)  # an error here is no fault of the capture
        self._fails = True
        name = getattr(self._run, "__qualname__", type(self._run).__name__)
        given = ", ".join(f"{str(t).removeprefix('torch.')} {tuple(s)}" for s, t in form)
        warnings.warn(
            f"{name} on ({given}) cannot be captured as a CUDA graph: {reason}. From now on its "
            "kernels are launched one by one: the results are the same, only slower",
            RuntimeWarning,
            stacklevel=3,
        )
        return results

    def _capture(self, form: Form) -> _Captured:
        """The function as a graph. Nothing is computed.

        A stream that fails to end its capture is of no more use, so that each capture has a new one. And
        PyTorch, where a capture does not begin or end, leaves its stream the current one: the outer
        `stream` puts that right. The places are made before: what is filled within a capture is filled
        again at each replay.
        """
        self._graphs.make_room(self)
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        with torch.cuda.stream(side):
            places = tuple(torch.empty(shape, dtype=dtype, device=DEVICE) for shape, dtype in form)
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            _random_state_of_its_own(),
            torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"),
        ):
            outputs = self._run(*places)
        return _Captured(form, graph, places, outputs)

    def _replay(
        self, captured: _Captured, arguments: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        self._graphs.used(self)
        for place, value in zip(captured.places, arguments, strict=True):
            place.copy_(value, non_blocking=True)
        captured.graph.replay()
        return tuple(output.clone() for output in captured.outputs)


@contextlib.contextmanager
def _random_state_of_its_own() -> Iterator[None]:
    """Within the block, PyTorch's random numbers come from a copy of their state.

    PyTorch up to 2.11 marks the state as captured, and a capture that fails leaves the mark. No graph
    that shares the state could then be replayed, and no random number be drawn. No kernel of ours draws
    from it.
    """
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    state = generator.graphsafe_get_state()
    generator.graphsafe_set_state(generator.clone_state())
    try:
        yield
    finally:
        generator.graphsafe_set_state(state)


def _reason(error: BaseException) -> str:
    """The error that came first: where a capture breaks, that it could not end says nothing."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return f"{type(error).__name__}: {error}"
