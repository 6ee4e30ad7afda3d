"""Models that share layers: each trains as if it were alone with them, whatever the others do."""

from __future__ import annotations

import copy
import gc

import numpy as np
import pytest

import refnet
from refnet.layers import Dense, Dropout, Input
from refnet.optimizers import SGD, Adam

RNG = np.random.default_rng(3)
X, Y = RNG.normal(0, 1, (12, 3)), RNG.normal(0, 1, (12, 3))
RATE, MOMENTUM, BETAS, EPSILON = 0.1, 0.9, (0.9, 0.999), 1e-7

backends = pytest.mark.parametrize("backend", ["numpy", "loopback"])


@pytest.fixture(autouse=True)
def _float64():
    refnet.config.set_floatx("float64")
    yield
    refnet.config.set_floatx("float32")


# -- the same in NumPy, where nothing is shared but the weights themselves -------------------------


class Plain:
    """A row of tanh layers, trained by hand. `weights` maps a layer's number to [kernel, bias]."""

    def __init__(self, weights, numbers, rule):
        self.weights, self.numbers = weights, numbers
        self.compile(rule)

    def compile(self, rule):
        self.rule, self.t = rule, 0
        self.memory = {}

    def predict(self, x):
        for n in self.numbers:
            x = np.tanh(x @ self.weights[n][0] + self.weights[n][1])
        return x

    def loss(self, x, y):
        return np.mean((self.predict(x) - y) ** 2)

    def step(self, x, y, frozen):
        values = [x]
        for n in self.numbers:
            values.append(np.tanh(values[-1] @ self.weights[n][0] + self.weights[n][1]))
        loss, g = np.mean((values[-1] - y) ** 2), 2 * (values[-1] - y) / y.size
        self.t += bool(set(self.numbers) - frozen)  # where nothing learns, no step is taken
        gradients = {}
        for n, a, b in zip(self.numbers[::-1], values[-2::-1], values[:0:-1], strict=True):
            g = g * (1 - b * b)
            gradients[n] = a.T @ g, g.sum(0)
            g = g @ self.weights[n][0].T
        for n in set(self.numbers) - frozen:
            for part in (0, 1):
                self.weights[n][part] -= self.change((n, part), gradients[n][part])
        return loss

    def change(self, key, g):
        if self.rule is SGD:
            v = self.memory[key] = MOMENTUM * self.memory.get(key, 0) - RATE * g
            return -v
        m, v = self.memory.get(key, (0, 0))
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g * g
        self.memory[key] = m, v
        m_hat, v_hat = m / (1 - BETAS[0] ** self.t), v / (1 - BETAS[1] ** self.t)
        return RATE * m_hat / (np.sqrt(v_hat) + EPSILON)


def optimizer(rule):
    return SGD(RATE, MOMENTUM) if rule is SGD else Adam(RATE, *BETAS, EPSILON)


class World:
    """Layers, models that share them, and the same in NumPy; each operation is done in both."""

    def __init__(self, seed, backend):
        self.rng = np.random.default_rng(seed)
        refnet.utils.set_random_seed(seed)
        self.layers = [Dense(3, "tanh") for _ in range(4)]
        for layer in self.layers:
            layer.build((None, 3))
        self.weights = [layer.get_weights() for layer in self.layers]
        self.frozen, self.pairs, self.backend = set(), [], "numpy"
        for _ in range(2):
            self.make()
        self.move(backend)

    def pick(self):
        return self.pairs[self.rng.integers(len(self.pairs))]

    def rows(self):
        start = int(self.rng.integers(0, 8))
        return slice(start, start + int(self.rng.choice([3, 4])))

    def make(self):
        """A new model over some of the layers; the oldest of four is let go."""
        numbers = [int(n) for n in self.rng.permutation(4)[: self.rng.integers(1, 4)]]
        rule = (SGD, Adam)[self.rng.integers(2)]
        with refnet.use_backend(self.backend):
            model = refnet.Sequential([Input((3,)), *(self.layers[n] for n in numbers)])
        model.compile(optimizer(rule), "mean_squared_error")
        self.pairs = [*self.pairs, (model, Plain(self.weights, numbers, rule))][-4:]
        gc.collect()

    def train(self):
        (model, plain), rows = self.pick(), self.rows()
        expected = plain.step(X[rows], Y[rows], self.frozen)
        assert model.train_on_batch(X[rows], Y[rows]) == pytest.approx(expected, rel=1e-9)

    def fit(self):
        """Two epochs, and another model that predicts and trains in the middle of them."""
        (model, plain), (other, its_plain) = self.pick(), self.pick()
        (bystander, its_own) = self.pick()

        def between(batch, logs):
            np.testing.assert_allclose(bystander.predict(X), its_own.predict(X), rtol=1e-9)
            if other is not model:
                expected = its_plain.step(X[:4], Y[:4], self.frozen)
                assert other.train_on_batch(X[:4], Y[:4]) == pytest.approx(expected, rel=1e-9)

        def before(batch, logs):
            plain.step(X[5 * batch : 5 * batch + 5], Y[5 * batch : 5 * batch + 5], self.frozen)

        hooks = refnet.callbacks.LambdaCallback(
            on_train_batch_begin=before, on_train_batch_end=between
        )
        model.fit(X, Y, 5, epochs=2, shuffle=False, verbose=0, callbacks=[hooks])

    def predict(self):
        model, plain = self.pick()
        np.testing.assert_allclose(model.predict(X), plain.predict(X), rtol=1e-9)

    def evaluate(self):
        model, plain = self.pick()
        assert model.evaluate(X, Y) == pytest.approx(plain.loss(X, Y), rel=1e-9)

    def set_weights(self):
        model, plain = self.pick()
        new = [self.rng.normal(0, 0.5, w.shape) for w in model.get_weights()]
        model.set_weights(new)
        for n, kernel, bias in zip(plain.numbers, new[::2], new[1::2], strict=True):
            self.weights[n][:] = kernel.copy(), bias.copy()

    def freeze(self):
        n = int(self.rng.integers(4))
        self.frozen ^= {n}
        self.layers[n].trainable = n not in self.frozen

    def recompile(self):
        model, plain = self.pick()
        rule = (SGD, Adam)[self.rng.integers(2)]
        model.compile(optimizer(rule), "mean_squared_error")
        plain.compile(rule)

    def move(self, backend=None):
        self.backend = backend or str(self.rng.choice(["numpy", "loopback"]))
        for i in self.rng.permutation(len(self.pairs)):
            self.pairs[i][0].to(self.backend)
        for layer in self.layers:  # those that no model has now
            for w in layer.weights:
                refnet.optimizers.parameters.move(w, refnet.backend.get(self.backend))

    def look_at_theta(self):
        assert self.pick()[0].parameters is None or self.frozen != {0, 1, 2, 3}

    def check(self):
        for layer, expected in zip(self.layers, self.weights, strict=True):
            for found, w in zip(layer.get_weights(), expected, strict=True):
                np.testing.assert_allclose(found, w, rtol=1e-8, atol=1e-12)


OPERATIONS = (
    *[World.train] * 6, *[World.predict] * 2, World.evaluate, World.fit, World.set_weights,
    World.freeze, World.recompile, World.make, World.look_at_theta,
)  # fmt: skip


@backends
@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.proof) for seed in range(3, 12))]
)
def test_any_order_of_operations_gives_what_unshared_models_give(seed, backend):
    world = World(seed, backend)
    for _ in range(60):
        operation = OPERATIONS[world.rng.integers(len(OPERATIONS))]
        operation(world)
        if world.rng.random() < 0.05:
            world.move()
        world.check()


# -- the cases by name -----------------------------------------------------------------------------


def autoencoder():
    refnet.utils.set_random_seed(0)
    model = refnet.Sequential([Dense(2, "tanh", input_shape=(3,)), Dropout(0.1), Dense(3)])
    model.compile(Adam(0.02), "mean_squared_error")
    return model


@backends
def test_a_callback_that_looks_at_the_code_changes_nothing(backend):
    alone, watched = autoencoder().to(backend), autoencoder().to(backend)

    def look(epoch, logs):
        with refnet.use_backend(backend):
            encoder = refnet.Sequential(watched.layers[:2])
        assert encoder.predict(X).shape == (12, 2)
        assert encoder.parameters.size  # its weights in one vector, taken from the autoencoder's

    hook = refnet.callbacks.LambdaCallback(on_epoch_end=look)
    options = {"batch_size": 5, "epochs": 40, "shuffle": False, "verbose": 0}
    expected = alone.fit(X, X, **options).history
    assert watched.fit(X, X, callbacks=[hook], **options).history == expected
    assert watched.evaluate(X, X) == alone.evaluate(X, X)
    for a, b in zip(watched.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_models_that_train_in_turn_record_their_steps_once(monkeypatch):
    """Taking weights back puts them where they were: the steps recorded there are right again."""
    shared = Dense(3, "tanh")
    models = [refnet.Sequential([Input((3,)), shared, Dense(3)]) for _ in range(2)]
    for model in models:
        model.compile(Adam(), "mean_squared_error")
    plans = []
    kind = type(refnet.backend.get("numpy"))
    monkeypatch.setattr(kind, "capture", lambda self, run, arguments: plans.append(run) or run)
    for _ in range(5):
        for model in models:
            model.train_on_batch(X, Y)
    assert len(plans) == 2


def test_a_model_whose_layer_was_moved_is_refused_until_it_follows():
    shared = Dense(3, "tanh")
    first, second = (refnet.Sequential([Input((3,)), shared, Dense(3)]) for _ in range(2))
    for model in (first, second):
        model.compile("adam", "mean_squared_error")
        model.train_on_batch(X, Y)
    first.to("loopback")
    for call in (second.predict, second, lambda x: second.train_on_batch(x, Y)):
        with pytest.raises(refnet.errors.BackendError, match=r"Move sequential.* too"):
            call(X)
    before = second.get_weights()
    second.to("loopback").train_on_batch(X, Y)
    assert all((a != b).any() for a, b in zip(second.get_weights(), before, strict=True))
    second.to("numpy")
    with pytest.raises(refnet.errors.BackendError, match="that shares it was moved"):
        first.predict(X)
    np.testing.assert_array_equal(first.to("numpy").predict(X), first(X).numpy())


def test_a_frozen_layer_finds_its_memory_when_it_thaws():
    layer = Dense(3)
    model = refnet.Sequential([Input((3,)), layer, Dense(3)])
    model.compile(SGD(0.1, 0.9), "mean_squared_error")
    model.train_on_batch(X, Y)
    layer.trainable = False
    optimizer, theta = model.optimizer, model.parameters.theta
    waiting = optimizer.memory[layer.kernel][0].numpy().copy()
    assert waiting.any()
    layer.trainable = True
    now = model.parameters
    assert now.theta is not theta
    assert layer.kernel not in optimizer.memory
    np.testing.assert_array_equal(now.parts(optimizer.memory[now.theta][0])[0], waiting)


@backends
@pytest.mark.parametrize("rule", [SGD, Adam])
def test_a_deep_copy_trains_itself_and_nothing_else(rule, backend):
    """It goes on as the model would have: same weights, memory, count of steps and random keys."""
    model = autoencoder().to(backend)
    model.compile(optimizer(rule), "mean_squared_error")
    model.train_on_batch(X, X)
    twin = copy.deepcopy(model)
    before = model.get_weights()
    losses = [twin.train_on_batch(X, X) for _ in range(3)]
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [model.train_on_batch(X, X) for _ in range(3)] == losses
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_optimizer_trains_one_model():
    one = Adam()
    models = [refnet.Sequential([Input((3,)), Dense(3)]) for _ in range(2)]
    models[0].compile(one, "mean_squared_error")
    models[0].compile(one, "mean_absolute_error")
    with pytest.raises(refnet.errors.ArgumentError, match=r"trains sequential.*for each model"):
        models[1].compile(one, "mean_squared_error")
    models[0].train_on_batch(X, Y)
    del models[0]
    gc.collect()
    with pytest.raises(refnet.errors.ArgumentError, match="trains another model"):
        models[0].compile(one, "mean_squared_error")
