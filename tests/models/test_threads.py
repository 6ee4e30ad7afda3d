"""Threads: a backend in use is that of its thread, a model is built once."""

from __future__ import annotations

import concurrent.futures
import sys
import threading

import numpy as np

import refnet
from refnet.layers import Dense

RNG = np.random.default_rng(5)

X, Y = RNG.normal(0, 1, (6, 3)), RNG.normal(0, 1, (6, 1))


def in_threads(count, work):
    """The results of work(0), work(1) ..., each in a thread of its own; an error in one is raised."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return [one.result(60) for one in [pool.submit(work, i) for i in range(count)]]


def test_a_backend_in_use_is_that_of_its_thread():
    inside, over = threading.Event(), threading.Event()

    def other(i):
        with refnet.use_backend("loopback"):
            inside.set()
            over.wait(60)
            return refnet.tensor(1.0).backend.name

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        found = pool.submit(other, 0)
        inside.wait(60)
        assert refnet.tensor(1.0).backend.name == "numpy"
        with refnet.use_backend("numpy"):
            over.set()
            assert found.result(60) == "loopback"
            assert refnet.tensor(1.0).backend.name == "numpy"
    assert refnet.tensor(1.0).backend.name == "numpy"


def test_threads_that_call_a_model_first_build_it_once():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            model = refnet.Sequential([Dense(4, "relu"), Dense(2)])
            found = in_threads(6, lambda i, model=model: model.predict(X))
            assert len(model.get_weights()) == 4
            for y in found:
                np.testing.assert_array_equal(y, model.predict(X))
    finally:
        sys.setswitchinterval(before)
