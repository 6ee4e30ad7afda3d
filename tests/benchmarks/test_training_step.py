"""A training step of 64-128-10, batch 32, Adam: refnet, NumPy by hand, PyTorch on the CPU.

    pytest tests/benchmarks/test_training_step.py

The contenders take turns in one run, so that whatever else the machine does hits all of them alike.
Medians and ratios are printed; medians and raw samples go into pytest-benchmark's JSON
(`--benchmark-json FILE`).
"""

from __future__ import annotations

import random
import statistics
import time

import numpy as np
import pytest

import refnet
from refnet import layers
from refnet.training.data import NO_WEIGHTS

INPUTS, HIDDEN, CLASSES, BATCH = 64, 128, 10, 32
RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-7
STEPS = 20  # timed together: one step is a tenth of a millisecond
ROUNDS = 100


def batches():
    """A few batches of digits: pixels (32, 64) float32, classes (32,) int64."""
    x, y = refnet.datasets.digits.load()
    x = np.ascontiguousarray(x.reshape(len(x), INPUTS))
    starts = range(0, 16 * BATCH, BATCH)
    return [(x[start : start + BATCH], y[start : start + BATCH]) for start in starts]


def network():
    """The model all contenders start from."""
    refnet.utils.set_random_seed(0)
    model = refnet.Sequential(
        [
            layers.Input((INPUTS,)),
            layers.Dense(HIDDEN, activation="relu"),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile(refnet.optimizers.Adam(RATE), "sparse_categorical_crossentropy")
    return model


# -- the contenders: each is a function of a batch that trains one step and returns the loss -------


def refnet_fit():
    """What `fit` runs for each batch."""
    model = network()
    return lambda x, y: model._train(x, y, NO_WEIGHTS)[0]


def refnet_on_batch():
    """The public `train_on_batch`, with its checks of the data."""
    return network().train_on_batch


def by_hand():
    """The step as one would write it for this network alone: one θ, every array made beforehand."""
    weights = network().get_weights()
    sizes = [w.size for w in weights]
    bounds = list(zip(np.cumsum([0, *sizes[:-1]]), np.cumsum(sizes), strict=True))
    theta, g, m, v, scratch = (np.zeros(sum(sizes), np.float32) for _ in range(5))

    def views(flat):
        return [flat[a:b].reshape(w.shape) for (a, b), w in zip(bounds, weights, strict=True)]

    theta[:] = np.concatenate([w.ravel() for w in weights])
    w1, b1, w2, b2 = views(theta)
    dw1, db1, dw2, db2 = views(g)
    hidden = np.empty((BATCH, HIDDEN), np.float32)
    dhidden, on = np.empty_like(hidden), np.empty(hidden.shape, bool)
    p = np.empty((BATCH, CLASSES), np.float32)
    rows, t = np.arange(BATCH), 0

    def step(x, y):
        nonlocal t
        np.matmul(x, w1, out=hidden)  # forward
        np.add(hidden, b1, out=hidden)
        np.maximum(hidden, 0, out=hidden)
        np.matmul(hidden, w2, out=p)
        np.add(p, b2, out=p)
        np.subtract(p, p.max(1, keepdims=True), out=p)
        chosen = p[rows, y]
        np.exp(p, out=p)
        total = p.sum(1, keepdims=True)
        loss = float(np.log(total).mean() - chosen.mean())

        np.divide(p, total, out=p)  # backward
        p[rows, y] -= 1
        np.multiply(p, np.float32(1 / BATCH), out=p)
        np.matmul(hidden.T, p, out=dw2)
        np.sum(p, 0, out=db2)
        np.matmul(p, w2.T, out=dhidden)
        np.greater(hidden, 0, out=on)
        np.multiply(dhidden, on, out=dhidden)
        np.matmul(x.T, dhidden, out=dw1)
        np.sum(dhidden, 0, out=db1)

        t += 1  # Adam
        np.multiply(m, BETA_1, out=m)
        np.multiply(g, 1 - BETA_1, out=scratch)
        np.add(m, scratch, out=m)
        np.multiply(v, BETA_2, out=v)
        np.multiply(g, g, out=scratch)
        np.multiply(scratch, 1 - BETA_2, out=scratch)
        np.add(v, scratch, out=v)
        root = (1 - BETA_2**t) ** 0.5
        np.sqrt(v, out=scratch)
        np.add(scratch, EPSILON * root, out=scratch)
        np.divide(m, scratch, out=scratch)
        np.multiply(scratch, RATE * root / (1 - BETA_1**t), out=scratch)
        np.subtract(theta, scratch, out=theta)
        return loss

    return step


def pytorch(**adam_options):
    """PyTorch, eager, on the CPU."""
    torch = pytest.importorskip("torch")
    weights = network().get_weights()
    net = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, CLASSES)
    )
    with torch.no_grad():
        for parameter, w in zip(net.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(w.T.copy()))
    adam = torch.optim.Adam(net.parameters(), RATE, (BETA_1, BETA_2), EPSILON, **adam_options)
    cross_entropy = torch.nn.CrossEntropyLoss()

    def step(x, y):
        loss = cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y))
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.item()

    return step


def contenders():
    return {
        "refnet, a step of fit": refnet_fit(),
        "refnet, train_on_batch": refnet_on_batch(),
        "NumPy by hand": by_hand(),
        "PyTorch, fused Adam": pytorch(fused=True),
        "PyTorch, default Adam": pytorch(),
    }


# -- the race --------------------------------------------------------------------------------------


def test_contenders_train_alike():
    """They are worth comparing only if they compute the same thing."""
    data = batches()
    losses = {
        name: [float(step(*data[i % len(data)])) for i in range(50)]
        for name, step in contenders().items()
    }
    expected = losses.pop("NumPy by hand")
    for name, found in losses.items():
        np.testing.assert_allclose(found, expected, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("threads", ["one thread", "default threads"])
def test_training_step(threads, benchmark, capsys):
    """Two races, as PyTorch may be faster with one thread, and switching in between costs it time."""
    torch = pytest.importorskip("torch")
    default = torch.get_num_threads()
    torch.set_num_threads(1 if threads == "one thread" else default)
    data, steps = batches(), contenders()
    seconds = {name: [] for name in steps}
    turns = random.Random(0)  # always to follow the same one would be unfair

    def everyone_once():
        for name in turns.sample(list(steps), len(steps)):
            step = steps[name]
            for i in range(5):  # its weights back in the cache, its threads awake
                step(*data[i])
            start = time.perf_counter()
            for i in range(STEPS):
                step(*data[i % len(data)])
            seconds[name].append((time.perf_counter() - start) / STEPS)

    try:
        benchmark.pedantic(everyone_once, rounds=ROUNDS, warmup_rounds=5)
    finally:
        torch.set_num_threads(default)
    seconds = {name: samples[5:] for name, samples in seconds.items()}
    medians = {name: statistics.median(samples) for name, samples in seconds.items()}
    benchmark.extra_info.update(threads=threads, medians=medians, samples=seconds)
    with capsys.disabled():
        print(table(medians, f"PyTorch with {threads}"))


def table(medians, title):
    """The medians, and how they stand to refnet's."""
    ours = medians["refnet, a step of fit"]
    lines = [f"\n{title:34}{'µs':>8}{'of refnet':>11}"]
    lines += [f"{name:34}{1e6 * time:8.1f}{time / ours:10.2f}x" for name, time in medians.items()]
    goals = [
        ("faster than PyTorch, fused Adam", ours / medians["PyTorch, fused Adam"], 1.0),
        ("faster than PyTorch, default Adam", ours / medians["PyTorch, default Adam"], 1.0),
        ("within 1.5 x of NumPy by hand", ours / medians["NumPy by hand"], 1.5),
    ]
    for goal, ratio, limit in goals:
        lines.append(f"{goal:34}{ratio:8.2f}{'met' if ratio <= limit else 'MISSED':>11}")
    return "\n".join(lines)
