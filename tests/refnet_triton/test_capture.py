"""Captured functions: every call has its effect exactly once, whatever fails.

There need not be a GPU. `Machine` takes the place of PyTorch's streams and graphs; PyTorch's own context
manager, `torch.cuda.graph`, is the real one. A launch computes at once, and while a stream is captured
becomes part of a graph.
"""

import gc
import inspect
import threading
import warnings
import weakref

import numpy as np
import pytest

import refnet
from refnet import backend as backends
from refnet.backend import Backend
from refnet.layers import Dense, Input
from refnet.training.step import Step, training_step

pytestmark = pytest.mark.triton


class Stream:
    """A stream: which others it waited for."""

    def __init__(self):
        self.waited = []

    def wait_stream(self, other):
        self.waited.append(other)


class RandomState:
    """A generator of PyTorch's. States are lists: what is marked stays marked for all who share one."""

    def __init__(self, state=None):
        self.state = [] if state is None else state

    def graphsafe_get_state(self):
        return RandomState(self.state)

    def graphsafe_set_state(self, other):
        self.state = other.state

    def clone_state(self):
        return RandomState([])


class Machine:
    """PyTorch's half of a GPU. Captures fail where `breaks` says: at the "begin", launch 1, the "end"."""

    def __init__(self, torch, monkeypatch):
        self.torch, self.breaks = torch, None
        self.default, self.capturing, self.modes = Stream(), None, []
        self.stream, self.launched, self.graphs, self.resets = self.default, 0, [], 0
        self.random = RandomState()
        machine = self

        class Graph:
            def __init__(self):
                self.work, self.was_reset, self.random = [], False, None
                machine.graphs.append(weakref.ref(self))

            def capture_begin(self, *pool, capture_error_mode="global", check_input_liveness=False):
                assert machine.stream is not machine.default and machine.capturing is None
                self.random = machine.random.state
                self.random.append("captured")
                machine.modes.append(capture_error_mode)
                machine.fails("begin")
                machine.capturing, machine.launched = self, 0

            def capture_end(self):
                machine.capturing = None
                machine.fails("end")
                if isinstance(machine.breaks, int):  # an error within makes the capture invalid
                    raise RuntimeError("capture is invalid")
                self.random.clear()

            def replay(self):
                assert not self.was_reset and not self.random and machine.capturing is None
                for work in self.work:
                    work()

            def reset(self):
                self.was_reset = True
                machine.resets += 1
                self.work.clear()

        class Entered:
            def __init__(self, stream):
                self.stream = stream

            def __enter__(self):
                self.before, machine.stream = machine.stream, self.stream

            def __exit__(self, *error):
                machine.stream = self.before

        for name, value in {
            "CUDAGraph": Graph,
            "Stream": Stream,
            "stream": Entered,
            "current_stream": lambda: machine.stream,
            "current_device": lambda: 0,
            "default_generators": (self.random,),
            "synchronize": lambda: None,
            "empty_cache": lambda: None,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)

    def fails(self, where):
        """Fail, if this is where the machine breaks."""
        if self.breaks == where:
            raise RuntimeError(f"broken at {where}")

    def launch(self, work):
        """Compute now, or whenever the graph is replayed."""
        if self.capturing is None:
            work()
            return
        self.launched += 1
        self.fails(self.launched)
        self.capturing.work.append(work)


@pytest.fixture
def machine(torch, monkeypatch):
    made = Machine(torch, monkeypatch)
    yield made
    assert made.stream is made.default and made.capturing is None
    assert made.random.state == []  # a random number can be drawn, and other graphs replayed


class Update:
    """weight += x, and 2x; counts how often Python ran it. Two launches."""

    def __init__(self, machine):
        from refnet_triton.runtime.device import DEVICE

        self.machine, self.python, self.broken = machine, 0, ""
        self.weight = machine.torch.zeros(2, device=DEVICE)

    def __call__(self, x):
        self.python += 1
        if self.broken:
            raise ValueError(self.broken)
        y = self.machine.torch.empty_like(x)
        self.machine.launch(lambda: self.weight.add_(x.sum()))
        self.machine.launch(lambda: y.copy_(2 * x))
        return (y,)


@pytest.fixture
def captured(machine):
    """captured() -> (an update, the same captured). All of them share their graphs."""
    from refnet_triton.capture import CapturedGraph, Graphs

    graphs = Graphs()

    def make():
        update = Update(machine)
        return update, CapturedGraph(update, graphs)

    return make


def call(torch, function, values):
    """What a captured function gives for these numbers, as a list."""
    (y,) = function(torch.tensor(values))
    return y.tolist()


# -- the usual course ------------------------------------------------------------------------------


def test_every_call_has_its_effect_once(torch, machine, captured):
    update, function = captured()
    total = 0.0
    kept = []
    for number in range(5):
        (y,) = function(torch.tensor([1.0, number]))
        kept.append(y)
        total += 1 + number
        assert update.weight.tolist() == [total, total]
        assert update.python == min(number + 1, 2)
    assert [y.tolist() for y in kept] == [[2, 2 * number] for number in range(5)]
    assert machine.modes == ["thread_local"]


def test_the_first_call_is_on_another_stream_and_both_wait(torch, machine, captured):
    _, function = captured()
    seen = []
    run = function._run
    function._run = lambda x: (seen.append(machine.stream), run(x))[1]
    call(torch, function, [1.0])
    (side,) = seen
    assert side is not machine.default
    assert side.waited == [machine.default] and machine.default.waited == [side]
    call(torch, function, [1.0])
    assert seen[1] not in (machine.default, side)  # of the capture


def test_a_first_call_that_fails_is_made_again(torch, machine, captured):
    update, function = captured()
    update.broken = "no"
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            call(torch, function, [1.0])
    assert machine.default.waited and not machine.graphs
    update.broken = ""
    for number in range(4):
        assert call(torch, function, [1.0]) == [2.0]
        assert update.weight[0] == number + 1


def test_other_shapes_and_types_run_as_usual(torch, machine, captured):
    update, function = captured()
    for _ in range(3):
        call(torch, function, [1.0, 1.0])
    assert call(torch, function, [1.0]) == [2.0]  # would broadcast into the place
    assert function(torch.tensor([1, 1]))[0].dtype == torch.int64
    assert call(torch, function, [1.0, 2.0]) == [2.0, 4.0]
    assert update.weight[0] == 6 + 1 + 2 + 3 and update.python == 4 and len(machine.graphs) == 1


def test_what_is_captured_ran_on_the_same_shapes_before(torch, machine, captured):
    update, function = captured()
    for values in ([1.0], [1.0, 1.0], [1.0]):
        call(torch, function, values)
    assert not machine.graphs
    assert call(torch, function, [3.0]) == [6.0] and len(machine.graphs) == 1
    assert update.weight[0] == 7


def test_arguments_that_change_later_do_not_change_results(torch, captured):
    _, function = captured()
    x = torch.tensor([1.0])
    results = []
    for _ in range(4):
        results += function(x)
        x += 1
    assert [y.item() for y in results] == [2, 4, 6, 8]


# -- captures that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["begin", 1, 2, "end"])
def test_a_capture_that_fails(torch, machine, captured, where):
    update, function = captured()
    call(torch, function, [1.0])
    machine.breaks = where
    with pytest.warns(RuntimeWarning) as said:
        assert call(torch, function, [2.0]) == [4.0]
    assert update.weight[0] == 3
    assert len(said) == 1 and said[0].filename == __file__
    for words in ("Update on (float32 (1,))", f"broken at {where}", "the same, only slower"):
        assert words in str(said[0].message)
    machine.breaks = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(3):
            assert call(torch, function, [1.0]) == [2.0]
            assert update.weight[0] == 4 + number
    assert [graph() for graph in machine.graphs] == [None]  # its memory is free again


@pytest.mark.parametrize("where", ["begin", 1, "end"])
def test_a_capture_that_fails_leaves_others_alone(torch, machine, captured, where):
    (one, first), (two, second), (three, third) = (captured() for _ in range(3))
    for _ in range(2):
        call(torch, first, [1.0])
    call(torch, second, [1.0])
    machine.breaks = where
    with pytest.warns(RuntimeWarning, match="broken"):
        call(torch, second, [1.0])
    machine.breaks = None
    for _ in range(3):
        call(torch, first, [1.0])
        call(torch, third, [1.0])
    assert (one.weight[0], two.weight[0], three.weight[0]) == (5, 2, 3)
    assert (one.python, three.python) == (2, 2)


def test_an_error_of_the_function_is_no_fault_of_the_capture(torch, machine, captured):
    update, function = captured()
    call(torch, function, [1.0])
    update.broken = "bad label"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        machine.breaks = 1  # so that the capture is invalid
        with pytest.raises(ValueError, match="bad label") as caught:
            call(torch, function, [1.0])
        assert caught.value.__context__ is None
        update.broken, machine.breaks = "", None
        for _ in range(3):
            call(torch, function, [1.0])
    assert update.weight[0] == 4 and update.python == 4  # eager, twice in vain, and captured


def test_a_warning_that_is_an_error_comes_after_the_effect(torch, machine, captured):
    update, function = captured()
    call(torch, function, [1.0])
    machine.breaks = "end"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            call(torch, function, [1.0])
        call(torch, function, [1.0])
    assert update.weight[0] == 3


def test_an_interrupt_keeps_no_graph(torch, machine, captured):
    update, function = captured()
    call(torch, function, [1.0])
    run = function._run

    def interrupted(x):
        raise KeyboardInterrupt

    function._run = interrupted
    with pytest.raises(KeyboardInterrupt):
        call(torch, function, [1.0])
    function._run = run
    for _ in range(2):
        call(torch, function, [1.0])
    assert update.weight[0] == 3 and update.python == 2


# -- how many are alive ----------------------------------------------------------------------------


def alive(machine):
    """The graphs that hold memory."""
    return [graph() for graph in machine.graphs if graph() and not graph().was_reset]


def test_the_graph_used_longest_ago_is_dropped(torch, machine, captured):
    from refnet_triton.capture import KEPT

    made = [captured() for _ in range(KEPT + 1)]
    functions = [function for _, function in made]
    for function in functions[:KEPT]:
        for _ in range(2):
            call(torch, function, [1.0])
    call(torch, functions[0], [1.0])  # so that the second is the oldest
    oldest, place = machine.graphs[1], weakref.ref(functions[1]._captured.places[0])
    for _ in range(2):
        call(torch, functions[KEPT], [1.0])
    assert functions[1]._captured is None and oldest() is None and place() is None
    assert len(alive(machine)) == KEPT and machine.resets == 1
    for _ in range(4):  # as usual, then captured anew: now the third is the oldest
        call(torch, functions[1], [1.0])
    assert functions[2]._captured is None and len(alive(machine)) == KEPT
    counts = [2 + (i in (0,)) + 4 * (i == 1) for i in range(KEPT + 1)]
    assert [update.weight[0].item() for update, _ in made] == counts
    assert [update.python for update, _ in made] == [2 + 2 * (i == 1) for i in range(KEPT + 1)]


def test_functions_that_nobody_has_any_more_drop_none(torch, machine, captured):
    from refnet_triton.capture import KEPT

    _, kept = captured()
    for _ in range(2):
        call(torch, kept, [1.0])
    for _ in range(2 * KEPT):
        _, function = captured()
        for _ in range(2):
            call(torch, function, [1.0])
        del function
        gc.collect()
    assert kept._captured is not None and alive(machine) == [kept._captured.graph]


# -- threads ---------------------------------------------------------------------------------------


def test_threads_take_turns(torch, machine, captured):
    update, function = captured()
    wrong, start = [], threading.Barrier(4)
    inside = threading.Semaphore(1)
    launch = machine.launch

    def alone(work):
        if not inside.acquire(blocking=False):
            wrong.append("two at once")
            return
        launch(work)
        inside.release()

    machine.launch = alone

    def repeat(number):
        start.wait()
        for i in range(50):
            x = float(100 * number + i)
            if call(torch, function, [x]) != [2 * x]:
                wrong.append(x)

    threads = [threading.Thread(target=repeat, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and len(machine.graphs) == 1
    assert update.weight[0] == sum(100 * n + i for n in range(4) for i in range(50))


def test_a_thread_with_a_stream_of_its_own_waits_for_the_call_before(torch, machine, captured):
    (_, first), (_, second) = captured(), captured()
    for function in (first, second):
        call(torch, function, [1.0])
    other = Stream()
    with torch.cuda.stream(other):
        call(torch, first, [1.0])
    assert other.waited == [machine.default]
    machine.default.waited.clear()
    call(torch, second, [1.0])
    assert machine.default.waited == [other]
    call(torch, first, [1.0])
    assert machine.default.waited == [other]


def test_waiting_for_the_device_waits_for_a_capture(torch, machine, monkeypatch):
    from refnet_triton import backend
    from refnet_triton.capture import TURN

    waited, began = threading.Event(), threading.Event()
    monkeypatch.setattr(backend, "DEVICE", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "synchronize", waited.set)

    def wait():
        began.set()
        backends.get("triton").synchronize()

    thread = threading.Thread(target=wait)
    with TURN:
        thread.start()
        assert began.wait(10) and not waited.wait(0.2)
    thread.join(10)
    assert waited.is_set()


# -- the backend, and what PyTorch has -------------------------------------------------------------


def test_the_backend_captures_where_there_is_a_gpu(torch, machine, monkeypatch):
    from refnet_triton import backend
    from refnet_triton.capture import CapturedGraph

    triton, update = backend.TritonBackend(), Update(machine)
    if backend.DEVICE.type == "cpu":
        assert triton.capture(update, ()) is update
    monkeypatch.setattr(backend, "DEVICE", torch.device("cuda"))
    first, second = (triton.capture(update, (torch.zeros(1),)) for _ in range(2))
    assert type(first) is type(second) is CapturedGraph
    assert first._graphs is second._graphs and update.python == 0


def test_pytorch_takes_what_it_is_given(torch):
    """The real signatures: `Machine` has its own."""
    graph = torch.cuda.CUDAGraph
    inspect.signature(torch.cuda.graph).bind(graph, stream=None, capture_error_mode="thread_local")
    inspect.signature(graph.capture_begin).bind(None, capture_error_mode="thread_local")
    inspect.signature(torch.cuda.stream).bind(None)
    inspect.signature(torch.cuda.Stream.wait_stream).bind(None, None)
    for method in (graph.capture_end, graph.replay, graph.reset):
        inspect.signature(method).bind(None)
    generator = torch.Generator()
    for name in ("graphsafe_get_state", "graphsafe_set_state", "clone_state"):
        assert callable(getattr(generator, name))
    assert isinstance(torch.cuda.default_generators, tuple)


# -- steps of a model ------------------------------------------------------------------------------


def model_on(backend, seed=0):
    refnet.utils.set_random_seed(seed)
    model = refnet.Sequential([Input((4,)), Dense(5, "tanh"), Dense(3, "softmax")])
    model.compile("adam", loss="sparse_categorical_crossentropy")
    return model.to(backend)


X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
LABELS = np.array([0, 1, 2, 2, 1, 0])


def torch_example():
    """The backend of the docs."""
    import importlib.util
    from pathlib import Path

    path = Path(__file__).resolve().parents[2] / "docs/examples/torch_example/torch_example.py"
    spec = importlib.util.spec_from_file_location("torch_example_fed", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TorchBackend()


def test_a_step_takes_arrays_of_its_backend(backend):
    check_arrays_are_fed(backend)


def test_a_step_of_the_example_takes_its_arrays(torch):
    check_arrays_are_fed(torch_example())


def check_arrays_are_fed(backend):
    """The same training from NumPy arrays and from arrays that are there already, which stay."""
    weights = []
    for mine in (np.asarray, backend.array):
        model = model_on(backend)
        model.train_on_batch(X, LABELS)
        step = model._step(training_step)
        for shown in (X, X, X[:4], X[:4]):  # two of a shape that is new
            t = np.float32(model.optimizer.iterations + 1)
            values = [shown, LABELS[: len(shown)], np.zeros(0, "float32"), np.float32(0.01), t]
            batch = [mine(x) for x in values]
            (loss,) = step(*batch)
            assert backend.numpy(loss).shape == () and backend.numpy(loss) > 0
            for x, known in zip(batch, values, strict=True):
                assert mine is np.asarray or np.array_equal(backend.numpy(x), known)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        assert a.tobytes() == b.tobytes()


def test_tensors_are_fed_as_they_are(torch):
    triton = backends.get("triton")
    x = triton.array(X)
    assert triton.feed(x) is x and triton.feed(x.T).data_ptr() == x.data_ptr()
    for values in (X, X[:, ::2], X[::-1], np.float32(1.5)):
        values = np.asarray(values)
        assert np.array_equal(triton.numpy(triton.feed(values)), values)


def test_a_training_step_is_captured_once(torch, machine, monkeypatch):
    """Through `Step`: which of its calls run op by op, which from a graph; and a last, smaller batch."""
    from refnet_triton.capture import CapturedGraph, Graphs

    graphs, triton = Graphs(), backends.get("triton")
    made = []

    def capture(run, arguments):
        def launched(*inputs):  # all of the plan as one launch, its results in fixed places
            places = [torch.zeros((), device=inputs[0].device)]
            machine.launch(lambda: [p.copy_(r) for p, r in zip(places, run(*inputs), strict=True)])
            return tuple(places)

        made.append(CapturedGraph(launched, graphs))
        return made[-1]

    def trained(backend):
        model = model_on(backend)
        losses = model.fit(X, LABELS, batch_size=4, epochs=5, shuffle=False, verbose=0)
        return losses.history["loss"], model.get_weights()

    usual = trained(triton)
    monkeypatch.setattr(triton, "capture", capture)
    replayed = trained(triton)
    assert len(made) == 2 and len(alive(machine)) == 2
    assert usual[0] == replayed[0]
    for a, b in zip(usual[1], replayed[1], strict=True):
        assert a.tobytes() == b.tobytes()


class Away(Backend):
    """NumPy, but what is fed is elsewhere, and only a captured function can move it."""

    name = "away"
    array_type = np.ndarray

    def function(self, op):
        return op.function

    def array(self, values, dtype=None):
        return np.array(values, dtype)

    def numpy(self, array):
        return array

    def dtype(self, array):
        return str(array.dtype)

    def feed(self, values):
        raise AssertionError("fed to what is not captured")

    def capture(self, run, arguments):
        raise AssertionError("shapes within depend on values")


def test_what_is_not_captured_is_not_fed():
    """A plan whose shapes depend on values computes with arrays of its backend."""
    away = Away()

    model = refnet.Sequential()
    model.backend = away
    step = Step(model, lambda inputs: [inputs[0][inputs[0] > 0.0].sum()])
    for x in ([1.0, -1.0, 2.0], [-1.0, 4.0, 5.0], [1.0, 1.0, 1.0]):
        (y,) = step(np.array(x))
        assert y == sum(v for v in x if v > 0)


# -- on a GPU --------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_a_real_graph_is_replayed(torch):
    """The same training as op by op, bit for bit; tensors and NumPy arrays are fed alike."""
    from refnet_triton.capture import CapturedGraph, Graphs

    triton = backends.get("triton")
    weight = torch.zeros(3, device="cuda")

    def run(x):
        weight.add_(x)
        return (2 * weight,)

    function = CapturedGraph(run, Graphs())
    for number in range(1, 6):
        (y,) = function(torch.ones(3, device="cuda" if number % 2 else "cpu"))
        assert triton.numpy(y).tolist() == [2 * number] * 3
    assert function._captured is not None
    function.drop()
    for number in range(6, 9):
        function(torch.ones(3))
        assert triton.numpy(weight).tolist() == [number] * 3


@pytest.mark.gpu
def test_a_real_capture_that_fails(torch):
    """Reading a value is not allowed while a graph is captured."""
    from refnet_triton.capture import CapturedGraph, Graphs

    graphs = Graphs()
    weight = torch.zeros((), device="cuda")

    def run(x):
        weight.add_(x)
        assert weight.item() == weight.item()
        return (weight + 0,)

    good = CapturedGraph(lambda x: (x + 1,), graphs)
    for _ in range(3):
        good(torch.ones(()))
    function = CapturedGraph(run, graphs)
    function(torch.ones(()))
    with pytest.warns(RuntimeWarning, match="cannot be captured"):
        function(torch.ones(()))
    for number in range(3, 6):
        assert function(torch.ones(()))[0].item() == number
        assert good(torch.ones(()))[0].item() == 2
    assert torch.rand(2, device="cuda").shape == (2,)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
