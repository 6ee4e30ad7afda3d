"""What Python costs: for one call of an op, for a step of training, for an update of many tensors."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from typing import Any

from refnet_triton.bench.goals import MANY_TENSORS
from refnet_triton.bench.inputs import backend
from refnet_triton.bench.measure import first_line
from refnet_triton.bench.suite import COMPILED, EAGER, REFNET
from refnet_triton.bench.timing import ON_GPU, now, rounded
from refnet_triton.runtime.device import DEVICE

# isort: split
import torch

import refnet
from refnet.ops import TABLE


def host_cost(quick: bool = False, calls: int = 1000) -> dict[str, Any]:
    """Microseconds of Python for one call of an op on 16 numbers: the GPU has nothing to do.

    And, unless it is to be quick, for one update of 300 tensors of 16 numbers: ours, gradients packed
    into one vector and one launch; and PyTorch's, the fused one.
    """
    x = torch.ones(16, device=DEVICE)
    ops = {name: backend().function(TABLE[name]) for name in ("relu", "add", "softmax", "sum")}
    contenders = {
        "relu": lambda: lambda: ops["relu"](x),
        "add": lambda: lambda: ops["add"](x, x),
        "softmax": lambda: lambda: ops["softmax"](x),
        "sum": lambda: lambda: ops["sum"](x),
        "torch.relu": lambda: lambda: torch.relu(x),
        "torch.add": lambda: lambda: torch.add(x, x),
    }
    if not quick:
        contenders |= {MANY_TENSORS: _our_update, f"torch.{MANY_TENSORS}": _their_update}
    rounds = {name: calls // 10 if MANY_TENSORS in name else calls for name in contenders}
    return _timed(*_taking_turns(contenders, lambda name: 2 if quick else rounds[name], 5))


def _timed(samples: dict[str, list[float]], errors: dict[str, str]) -> dict[str, Any]:
    """Medians, what they come from, and what went wrong."""
    return {
        "microseconds": {name: statistics.median(values) for name, values in samples.items()},
        "samples": {name: rounded(values) for name, values in samples.items()},
        "errors": errors,
    }


def _taking_turns(
    contenders: dict[str, Callable[[], Callable[[], Any]]],
    calls: Callable[[str], int],
    rounds: int,
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """(microseconds a call in each round, what went wrong), by contender.

    A contender is a function that makes what is to be called.
    """
    functions: dict[str, Callable[[], Any]] = {}
    samples: dict[str, list[float]] = {}
    errors: dict[str, str] = {}
    for turn in range(rounds + 1):
        for name in [name for name in contenders if name not in errors]:
            try:
                call = functions[name] if turn else functions.setdefault(name, contenders[name]())
                start = now()
                for _ in range(calls(name)):
                    call()
                if turn:  # the first one warms up
                    samples.setdefault(name, []).append((now() - start) / calls(name) * 1e6)
            except Exception as error:
                errors[name] = first_line(error)
                samples.pop(name, None)
    return samples, errors


def _weights(count: int = 300) -> list[torch.Tensor]:
    return [torch.randn(16, device=DEVICE) for _ in range(count)]


def _our_update() -> Callable[[], Any]:
    gradients = _weights()
    size = 16 * len(gradients)
    theta, m, v = (torch.zeros(size, device=DEVICE) for _ in range(3))
    pack, adam = (backend().function(TABLE[name]) for name in ("pack", "adam"))
    offsets = tuple(range(0, size, 16))
    rate, t = (torch.tensor(x, device=DEVICE) for x in (1e-3, 1.0))
    return lambda: adam(theta, pack(*gradients, offsets=offsets, size=size), m, v, rate, t)


def _their_update() -> Callable[[], Any]:
    weights = _weights()
    for w in weights:
        w.grad = torch.randn_like(w)
    return torch.optim.Adam(weights, 1e-3, fused=True).step


def training_step(quick: bool = False) -> dict[str, Any]:
    """Microseconds of one step of a 784-512-512-10 network on a batch of 128, with Adam.

    refnet's is one captured graph; PyTorch's run eagerly and through torch.compile(mode=
    "reduce-overhead"), with the fused Adam. The batch is on the device already. Taking turns, each
    is asked for a few steps, and the clock stops when the GPU has done them.
    """
    sizes, batch = ((8, 4, 4, 3), 5) if quick else ((784, 512, 512, 10), 128)
    x = torch.randn(batch, sizes[0], device=DEVICE)
    y = torch.randint(0, sizes[-1], (batch,), device=DEVICE)
    contenders = {
        REFNET: lambda: _our_step(sizes, x, y),
        EAGER: lambda: _their_step(sizes, x, y),
    }
    if ON_GPU:
        contenders[COMPILED] = lambda: _their_step(sizes, x, y, mode="reduce-overhead")
    steps, rounds = (1, 2) if quick else (50, 30)
    found = _timed(*_taking_turns(contenders, lambda _: steps, rounds))
    return {"layers": sizes, "batch": batch, **found}


def _our_step(sizes: tuple[int, ...], x: torch.Tensor, y: torch.Tensor) -> Callable[[], Any]:
    from refnet.training.step import training_step

    refnet.utils.set_random_seed(0)
    first, *hidden, last = sizes
    dense = refnet.layers.Dense
    model = refnet.Sequential(
        [refnet.layers.Input((first,)), *(dense(n, "relu") for n in hidden), dense(last, "softmax")]
    )
    model.compile(refnet.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    model.to(backend())
    model.train_on_batch(x.cpu().numpy(), y.cpu().numpy())  # makes the optimizer's memory
    step, t = model._step(training_step), torch.tensor(1.0, device=DEVICE)
    no_weights, rate = torch.empty(0, device=DEVICE), torch.tensor(1e-3, device=DEVICE)
    return lambda: step(x, y, no_weights, rate, t.add_(1))


def _their_step(
    sizes: tuple[int, ...], x: torch.Tensor, y: torch.Tensor, mode: str | None = None
) -> Callable[[], Any]:
    layers: list[torch.nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1]).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(x), y)

    forward = torch.compile(loss_of, mode=mode) if mode else loss_of

    def step() -> torch.Tensor:
        if mode:
            torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step
