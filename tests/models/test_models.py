"""Models: the loop that trains them, against eager tensors, finite differences and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import refnet
from refnet import backend as backends
from refnet import layers, losses, optimizers
from refnet.check.training import float_type
from refnet.layers import Dense, Dropout, Flatten, Input, PReLU, Reshape
from refnet.optimizers import SGD, Adam, RMSprop
from refnet.training.step import Step

RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 4)).astype("float32")  # 23: no batch size but 1 divides it
LABELS = RNG.integers(0, 3, 23)
Y = RNG.normal(size=(23, 3)).astype("float32")


@pytest.fixture
def float64():
    """All numbers in double precision, for this test."""
    with float_type("float64"):
        yield


def classifier(*middle, optimizer="adam", seed=0, outputs=3, **compile_options):
    """4 inputs, some layers in the middle, a distribution over 3 classes."""
    refnet.utils.set_random_seed(seed)
    middle = middle or (Dense(5, "tanh"),)
    model = refnet.Sequential([Input((4,)), *middle, Dense(outputs, "softmax")])
    options = {"loss": "sparse_categorical_crossentropy", **compile_options}
    model.compile(optimizer, **options)
    return model


def assert_same(these, those, **tolerance):
    """Lists of arrays: the same bits, or within a tolerance."""
    for a, b in zip(these, those, strict=True):
        if tolerance:
            np.testing.assert_allclose(a, b, **tolerance)
        else:
            np.testing.assert_array_equal(a, b)


# -- building, as in Keras -------------------------------------------------------------------------


def test_weights_stand_in_the_order_of_the_layers():
    model = classifier(Dense(5, name="hidden"), PReLU(name="bend"))
    names = [w.name for w in model.weights]
    assert names[:3] == ["hidden/kernel", "hidden/bias", "bend/alpha"]
    assert [w.shape for w in model.get_weights()] == [(4, 5), (5,), (5,), (5, 3), (3,)]
    assert model.count_params() == 20 + 5 + 5 + 15 + 3


def test_a_model_without_an_input_is_built_by_its_first_data():
    model = refnet.Sequential([Dense(5), Dense(3)])
    assert not model.built
    assert model.weights == []
    assert model.predict(X).shape == (23, 3)
    assert model.built
    assert model.count_params() == 43


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 3)])
def test_images_and_sequences(shape):
    model = refnet.Sequential([Input(shape), Flatten(), Dense(6, "relu"), Reshape((2, 3))])
    assert model.output_shape == (None, 2, 3)
    assert model.predict(np.zeros((5, *shape))).shape == (5, 2, 3)


def test_add_and_pop():
    model = classifier()
    before, last = model.get_weights(), model.layers[-1]
    assert model.pop() is last
    assert model.output_shape == (None, 5)
    assert_same(model.get_weights(), before[:2])
    model.add(Dense(3, "softmax"))
    assert_same(model.get_weights()[:2], before[:2])
    model.fit(X, LABELS, verbose=0)
    assert (model.get_weights()[0] != before[0]).any()


def test_a_layer_that_does_not_fit_is_not_added():
    model = classifier()
    with pytest.raises(refnet.errors.ShapeError, match="reshape"):
        model.add(Reshape((7,)))
    assert len(model.layers) == 3
    model.fit(X, LABELS, verbose=0)


def test_summary_tells_shapes_and_parameters():
    lines = []
    classifier(Dense(5, name="hidden", trainable=False)).summary(lines.append)
    row = next(line for line in lines if "hidden" in line)
    assert "(None, 5)" in row
    assert row.endswith("25")
    assert lines[-1] == "43 parameters, 18 of them trainable"


def test_calling_a_model_gives_a_tensor_with_a_history():
    model = classifier()
    y = model(X)
    np.testing.assert_array_equal(y.numpy(), model.predict(X))
    assert all(g is not None for g in refnet.gradients(y, model.trainable_weights))


# -- parameters: one vector ------------------------------------------------------------------------


def test_weights_are_views_of_one_vector():
    model = classifier(Dense(5), PReLU())
    theta = model.parameters.theta
    assert all(np.shares_memory(w.value, theta.value) for w in model.trainable_weights)
    theta.assign(np.ones(theta.shape))
    assert all((w == 1).all() for w in model.get_weights())
    model.set_weights([np.full(w.shape, i) for i, w in enumerate(model.weights)])
    assert set(np.unique(theta.numpy())) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    "make",
    [lambda: SGD(0.1, 0.9), lambda: SGD(0.1, 0.9, True), RMSprop, Adam],
    ids=["momentum", "nesterov", "rmsprop", "adam"],
)
def test_gaps_between_the_weights_stay_zero(make):
    optimizer = make()
    model = classifier(optimizer=optimizer)
    model.fit(X, LABELS, epochs=3, verbose=0)
    parameters, taken = model.parameters, np.zeros(model.parameters.size, bool)
    for variable, start in zip(parameters.variables, parameters.offsets, strict=True):
        taken[start : start + variable.size] = True
    assert not taken.all()
    for vector in (parameters.theta, *optimizer.memory[parameters.theta]):
        assert not vector.numpy()[~taken].any()
        assert vector.numpy()[taken].any()


def test_frozen_layers_do_not_move():
    frozen, free = Dense(5, "tanh", trainable=False), Dense(5, "tanh")
    model = classifier(frozen, free)
    before = frozen.get_weights(), free.get_weights()
    model.fit(X, LABELS, epochs=2, verbose=0)
    assert_same(frozen.get_weights(), before[0])
    assert (free.get_weights()[0] != before[1][0]).any()


def test_layers_may_be_frozen_and_thawed_between_fits():
    first, second = Dense(5, "tanh"), Dense(5, "tanh")
    model = classifier(first, second)
    for frozen, free in ((first, second), (second, first), (first, second)):
        frozen.trainable, free.trainable = False, True
        before = frozen.get_weights(), free.get_weights()
        model.fit(X, LABELS, verbose=0)
        assert_same(frozen.get_weights(), before[0])
        assert (free.get_weights()[0] != before[1][0]).any()


def test_a_layer_in_two_models_learns_in_both():
    """As when a trained body gets a new head."""
    shared = Dense(5, "tanh")
    models = classifier(shared), classifier(shared)
    for model in (*models, models[0]):
        before, x = shared.get_weights(), model.predict(X)
        model.fit(X, LABELS, verbose=0)
        assert (shared.get_weights()[0] != before[0]).any()
        assert (model.predict(X) != x).any()


def test_prelu_learns_its_slope():
    refnet.utils.set_random_seed(0)
    x = RNG.normal(size=(64, 2)).astype("float32")
    model = refnet.Sequential([Input((2,)), PReLU()])
    model.compile(SGD(0.3), "mean_squared_error")
    model.fit(x, np.where(x > 0, x, [0.25, -0.5] * x), epochs=200, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], [0.25, -0.5], atol=1e-3)


# -- gradients -------------------------------------------------------------------------------------

NETWORKS = {
    "softmax": lambda: [Dense(5, "tanh"), Dense(3, "softmax")],
    "layers of activation": lambda: [
        *(Dense(5), layers.ELU(), Dense(4), layers.LeakyReLU(), Dense(3), layers.Softmax())
    ],
    "learned slopes": lambda: [Dense(5), PReLU("ones"), Dense(3, "softmax")],
    "penalties": lambda: [
        Dense(5, "swish", kernel_regularizer="l2", bias_regularizer="l1", bias_initializer="ones"),
        Dense(3, "softmax", kernel_regularizer=refnet.regularizers.L1L2(0.01, 0.1)),
    ],
    "no bias": lambda: [Dense(5, "gelu", use_bias=False), Dense(3, "softmax", use_bias=False)],
    "reshaped": lambda: [
        *(Dense(6, "mish"), Reshape((2, 3)), Dense(4, "softplus"), Flatten(), Dense(3, "softmax"))
    ],
    "sigmoids": lambda: [Dense(5, "sigmoid"), Dense(3, "sigmoid")],
    "dropout": lambda: [Dense(50, "tanh"), Dropout(0.5, seed=0), Dense(3, "softmax")],
}
SIMPLEX = np.exp(Y) / np.exp(Y).sum(1, keepdims=True)
TARGETS = {
    "sparse_categorical_crossentropy": LABELS,
    "categorical_crossentropy": SIMPLEX,
    "binary_crossentropy": SIMPLEX,
    "mean_squared_error": Y,
    "mean_absolute_error": Y,
    "quadratic_cost": Y,
    "poisson": SIMPLEX,
}
PAIRS = [
    *((network, "sparse_categorical_crossentropy") for network in NETWORKS),
    *(("softmax", loss) for loss in TARGETS if "sparse" not in loss),
    ("sigmoids", "binary_crossentropy"),
]


@pytest.mark.parametrize(("network", "loss"), PAIRS)
def test_gradient_of_a_model_against_differences(network, loss, float64):
    """∂L/∂θ of the whole model, penalties included, against (L(θ+h) - L(θ-h)) / 2h."""
    refnet.utils.set_random_seed(1)
    model = refnet.Sequential([Input((4,)), *NETWORKS[network]()])
    model.compile(SGD(1.0), loss)
    x, y, dropouts = X[:7], TARGETS[loss][:7], [w for w in model.weights if w.dtype == "int64"]
    dropouts += [layer.key for layer in model.layers if isinstance(layer, Dropout)]
    keys = [key.numpy().copy() for key in dropouts]
    theta = model.parameters.theta
    start = theta.numpy().copy()

    def step(at):
        """The loss at θ = at; afterwards θ is one step of length 1 further, down the gradient."""
        for key, value in zip(dropouts, keys, strict=True):
            key.assign(value)
        theta.assign(at)
        return model.train_on_batch(x, y)

    step(start)
    gradient = start - theta.numpy()
    h, found = 1e-5, np.zeros_like(start)
    for i in np.random.default_rng(0).permutation(start.size)[:60]:
        nudge = h * (np.arange(start.size) == i)
        found[i] = (step(start + nudge) - step(start - nudge)) / (2 * h)
        assert found[i] == pytest.approx(gradient[i], rel=1e-6, abs=1e-9)
    assert np.abs(found).max() > 1e-3


# -- the recorded plan -----------------------------------------------------------------------------


def eager_step(model, x, y):
    """A training step as one would write it with tensors alone: nothing recorded is run again."""
    x, y = (refnet.tensor(v, backend=model.backend) for v in (x, y))
    loss = model.loss(y, model(x, training=True))
    for layer in model.layers:
        for penalty in layer.losses:
            loss = loss + penalty
    found = refnet.gradients(loss, model.trainable_weights)
    model.optimizer.apply_gradients(list(zip(found, model.trainable_weights, strict=True)))
    return loss.item()


@pytest.mark.parametrize("backend", ["numpy", "loopback"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "make", [SGD, lambda: SGD(0.1, 0.9), RMSprop, Adam], ids=["sgd", "momentum", "rmsprop", "adam"]
)
def test_recorded_steps_are_the_eager_ones(network, make, backend):
    """Bit for bit, loss by loss: in batches of 5, whose last one, of 3, is recorded by itself."""
    recorded, eager = (refnet.Sequential([Input((4,)), *NETWORKS[network]()]) for _ in range(2))
    eager.set_weights(recorded.get_weights())
    for model in (recorded, eager):
        model.compile(make(), "sparse_categorical_crossentropy")
    recorded.to(backend)
    for _ in range(3):
        for start in range(0, 23, 5):
            batch = X[start : start + 5], LABELS[start : start + 5]
            assert recorded.train_on_batch(*batch) == eager_step(eager, *batch)
            assert_same(recorded.get_weights(), eager.get_weights())


# -- against PyTorch -------------------------------------------------------------------------------


def torch_twin(torch, model, activation):
    """The same network, with the same weights, in PyTorch: without the softmax at its end."""
    sizes = [w.shape for w in model.get_weights()[::2]]
    parts = []
    for inputs, outputs in sizes:
        parts += [torch.nn.Linear(inputs, outputs, dtype=torch.float64), activation()]
    twin = torch.nn.Sequential(*parts[:-1])
    with torch.no_grad():
        for parameter, w in zip(twin.parameters(), model.get_weights(), strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(w.T)))
    return twin


class KerasRMSprop:
    """RMSprop on PyTorch's gradients, ε inside the root as in Keras; PyTorch puts it outside."""

    def __init__(self, parameters, rate, rho, epsilon):
        self.parameters, self.rate, self.rho, self.epsilon = parameters, rate, rho, epsilon
        self.mean_squares = [0.0 for _ in parameters]

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    def step(self):
        for i, p in enumerate(self.parameters):
            s = self.rho * self.mean_squares[i] + (1 - self.rho) * p.grad**2
            self.mean_squares[i] = s
            p.data -= self.rate * p.grad / (s + self.epsilon) ** 0.5


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "mean_squared_error"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov", "rmsprop", "adam"])
def test_training_is_that_of_pytorch(rule, activation, loss, float64, torch):
    ours = {
        "sgd": lambda: SGD(0.1),
        "momentum": lambda: SGD(0.1, momentum=0.9),
        "nesterov": lambda: SGD(0.1, momentum=0.9, nesterov=True),
        "rmsprop": lambda: RMSprop(0.01, epsilon=1e-3),
        "adam": lambda: Adam(0.01, epsilon=1e-8),
    }
    theirs = {
        "sgd": lambda p: torch.optim.SGD(p, 0.1),
        "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        "rmsprop": lambda p: KerasRMSprop(list(p), 0.01, 0.9, 1e-3),
        "adam": lambda p: torch.optim.Adam(p, 0.01, eps=1e-8),
    }
    kinds = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}
    sparse = loss.startswith("sparse")
    refnet.utils.set_random_seed(0)
    model = refnet.Sequential(
        [
            Input((4,)),
            Dense(6, activation),
            Dense(5, activation),
            Dense(3, "softmax" if sparse else None),
        ]
    )
    model.compile(ours[rule](), loss)
    twin = torch_twin(torch, model, kinds[activation])
    optimizer = theirs[rule](twin.parameters())
    criterion = torch.nn.CrossEntropyLoss() if sparse else torch.nn.MSELoss()
    y = LABELS if sparse else Y.astype("float64")
    x = X.astype("float64")
    for step in range(30):
        rows = slice(step % 3 * 8, step % 3 * 8 + 8)
        optimizer.zero_grad()
        expected = criterion(twin(torch.from_numpy(x[rows])), torch.from_numpy(y[rows]))
        expected.backward()
        optimizer.step()
        assert model.train_on_batch(x[rows], y[rows]) == pytest.approx(expected.item(), rel=1e-11)
    found = [p.detach().numpy().T for p in twin.parameters()]
    assert_same(model.get_weights(), found, rtol=1e-10, atol=1e-12)


# -- fit: batches, order, seeds --------------------------------------------------------------------


def steps_by_hand(model, x, y, batch_size, epochs):
    """What fit does without shuffling: the mean loss of each epoch."""
    history = []
    for _ in range(epochs):
        total = 0.0
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            total += model.train_on_batch(x[rows], y[rows]) * len(x[rows])
        history.append(total / len(x))
    return history


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_fit_is_a_loop_over_batches(batch_size):
    """Stochastic, mini-batch and batch gradient descent; a smaller last batch counts less."""
    fitted, stepped = classifier(), classifier()
    history = fitted.fit(X, LABELS, batch_size, epochs=3, shuffle=False, verbose=0)
    expected = steps_by_hand(stepped, X, LABELS, batch_size, 3)
    np.testing.assert_allclose(history.history["loss"], expected, rtol=1e-12)
    assert_same(fitted.get_weights(), stepped.get_weights())
    assert fitted.optimizer.iterations == 3 * -(-23 // batch_size)


def test_a_seed_repeats_everything():
    """Weights, shuffling and dropout: the same bits. Another seed: others."""

    def train(seed):
        model = classifier(Dense(20, "relu"), Dropout(0.5), seed=seed)
        return model.fit(X, LABELS, 4, epochs=3, verbose=0).history["loss"], model.get_weights()

    (losses_1, weights_1), (losses_2, weights_2), (losses_3, _) = train(1), train(1), train(2)
    assert losses_1 == losses_2
    assert_same(weights_1, weights_2)
    assert losses_1 != losses_3


def test_shuffle_takes_each_example_once_in_another_order_each_epoch():
    seen = []

    class Watching(refnet.Sequential):
        def _train(self, x, y, weights):
            seen.append(x[:, 0])
            return super()._train(x, y, weights)

    model = Watching([Input((1,)), Dense(1)])
    model.compile(SGD(0.0), "mse")
    model.fit(np.arange(23.0)[:, None], np.zeros(23), 5, epochs=2, verbose=0)
    first, second = np.concatenate(seen[:5]), np.concatenate(seen[5:])
    assert [len(batch) for batch in seen[:5]] == [5, 5, 5, 5, 3]
    np.testing.assert_array_equal(np.sort(first), np.arange(23))
    np.testing.assert_array_equal(np.sort(second), np.arange(23))
    assert (first != second).any()
    assert (first != np.arange(23)).any()


def test_dropout_acts_while_training_only():
    model = classifier(Dense(50, "relu"), Dropout(0.5), optimizer=SGD(0.0))
    training = [model.train_on_batch(X, LABELS) for _ in range(5)]
    assert len(set(training)) == 5
    assert len({model.evaluate(X, LABELS) for _ in range(3)}) == 1
    np.testing.assert_array_equal(model.predict(X), model.predict(X))


def test_it_learns():
    refnet.utils.set_random_seed(0)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    y = np.array([0, 1, 1, 0])
    model = refnet.Sequential([Input((2,)), Dense(8, "tanh"), Dense(1, "sigmoid")])
    model.compile(Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=300, verbose=0)
    assert history.history["accuracy"][-1] == 1
    assert history.history["loss"][-1] < 0.05


# -- validation, weights, history ------------------------------------------------------------------


def test_history_has_loss_metrics_and_their_validation_twins():
    model = classifier(metrics=["accuracy"])
    history = model.fit(X, LABELS, epochs=2, validation_split=0.3, verbose=0)
    assert history is model.history
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(values) == 2 for values in history.history.values())
    assert history.epoch == [0, 1]
    assert set(model.fit(X, LABELS, verbose=0).history) == {"loss", "accuracy"}


def test_validation_split_takes_the_last_share_unshuffled():
    given, split = classifier(), classifier()
    at = int(23 * 0.7)
    held_out = X[at:], LABELS[at:]
    options = {"epochs": 3, "shuffle": False, "verbose": 0}
    expected = given.fit(X[:at], LABELS[:at], validation_data=held_out, **options).history
    assert split.fit(X, LABELS, validation_split=0.3, **options).history == expected
    np.testing.assert_allclose(expected["val_loss"][-1], given.evaluate(*held_out), rtol=1e-6)


def test_validation_does_not_train():
    plain, validated = classifier(), classifier()
    plain.fit(X, LABELS, epochs=3, shuffle=False, verbose=0)
    validated.fit(X, LABELS, epochs=3, shuffle=False, validation_data=(X, LABELS), verbose=0)
    assert_same(plain.get_weights(), validated.get_weights())


def test_sample_weight_weighs_examples():
    """A weight of 2 is an example given twice; a weight of 0, one left out."""
    doubled, weighted = (classifier(optimizer=SGD(0.5), outputs=3) for _ in range(2))
    rows = [0, 0, 2, 3]
    weighted.train_on_batch(X[:4], LABELS[:4], sample_weight=[2, 0, 1, 1])
    doubled.train_on_batch(X[rows], LABELS[rows])
    assert_same(weighted.get_weights(), doubled.get_weights(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_class_weight_weighs_by_class(loss):
    by_class, by_sample = classifier(loss=loss), classifier(loss=loss)
    y = LABELS if loss.startswith("sparse") else refnet.utils.to_categorical(LABELS, 3)
    weights = {0: 1.0, 1: 0.5, 2: 3.0}
    options = {"epochs": 3, "shuffle": False, "verbose": 0}
    found = by_class.fit(X, y, class_weight=weights, **options)
    each = np.array([weights[label] for label in LABELS])
    assert found.history == by_sample.fit(X, y, sample_weight=each, **options).history
    assert found.history["loss"][0] != classifier(loss=loss).fit(X, y, **options).history["loss"][0]


def test_weights_in_a_column_weigh_examples_too():
    row, column = classifier(), classifier()
    w = np.linspace(0, 1, 23)
    expected = row.evaluate(X, LABELS, sample_weight=w)
    assert column.evaluate(X, LABELS, sample_weight=w[:, None]) == expected


def test_penalties_add_to_the_loss():
    model = classifier(Dense(5, kernel_regularizer=refnet.regularizers.L1L2(0.1, 0.2)))
    kernel = model.get_weights()[0]
    p = model.predict(X)[np.arange(23), LABELS]
    penalty = 0.1 * np.abs(kernel).sum() + 0.2 * (kernel**2).sum()
    assert model.evaluate(X, LABELS, 23) == pytest.approx(-np.log(p).mean() + penalty, rel=1e-5)
    assert model.train_on_batch(X, LABELS) == pytest.approx(-np.log(p).mean() + penalty, rel=1e-5)


# -- evaluate, predict, the rest -------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 23, 1000])
def test_evaluate_and_predict_do_not_depend_on_batches(batch_size):
    model = classifier(metrics=["accuracy"])
    p = model.predict(X, batch_size)
    loss, accuracy = model.evaluate(X, LABELS, batch_size)
    np.testing.assert_allclose(p, model(X).numpy(), rtol=1e-5)
    assert loss == pytest.approx(-np.log(p[np.arange(23), LABELS]).mean(), rel=1e-5)
    assert accuracy == pytest.approx((p.argmax(1) == LABELS).mean())


def test_results_come_as_a_number_a_list_or_a_dict():
    plain, measured = classifier(), classifier(metrics=["accuracy", "sparse_categorical_accuracy"])
    for results in (plain.evaluate, plain.train_on_batch, plain.test_on_batch):
        assert isinstance(results(X, LABELS), float)
    for results in (measured.evaluate, measured.train_on_batch, measured.test_on_batch):
        assert len(results(X, LABELS)) == 3
        named = results(X, LABELS, return_dict=True)
        assert list(named) == ["loss", "accuracy", "sparse_categorical_accuracy"]


def test_arguments_of_keras_are_taken():
    """What nearly every Keras program writes."""
    model = refnet.Sequential([Input((4,)), Dense(3, "softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=None)
    model.fit(X, LABELS, batch_size=None, callbacks=None, verbose=0)
    model.evaluate(X, LABELS, batch_size=None, verbose=0)
    model.predict(X, batch_size=None, verbose=0)


@pytest.mark.parametrize("y", [Y[:, :1], Y[:, 0], Y[:, 0].tolist()], ids=["column", "row", "list"])
def test_one_output_takes_targets_with_or_without_their_axis(y):
    refnet.utils.set_random_seed(0)
    model = refnet.Sequential([Input((4,)), Dense(1)])
    model.compile("sgd", "mse")
    expected = np.mean((model.predict(X)[:, 0] - np.reshape(y, -1)) ** 2)
    assert model.evaluate(X, y) == pytest.approx(expected, rel=1e-5)


def test_own_losses_and_metrics():
    def cubed(y_true, y_pred):
        return (abs(y_true - y_pred) ** 3).mean(axis=-1)

    model = refnet.Sequential([Input((4,)), Dense(3)])
    model.compile("sgd", cubed, metrics=[cubed, "mae"])
    logs = model.evaluate(X, Y, return_dict=True)
    error = np.abs(Y - model.predict(X))
    assert logs["loss"] == pytest.approx((error**3).mean(), rel=1e-4)
    assert logs["cubed"] == pytest.approx(logs["loss"], rel=1e-6)  # a sum, and a mean
    assert logs["mae"] == pytest.approx(error.mean(), rel=1e-4)


def test_from_logits():
    raw = refnet.Sequential([Input((4,)), Dense(3)])
    soft = refnet.Sequential([Input((4,)), Dense(3, "softmax")])
    soft.set_weights(raw.get_weights())
    raw.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    soft.compile("sgd", losses.SparseCategoricalCrossentropy())
    for _ in range(5):
        assert raw.train_on_batch(X, LABELS) == soft.train_on_batch(X, LABELS)
    assert_same(raw.get_weights(), soft.get_weights())


@pytest.mark.parametrize(
    ("activation", "loss", "y"),
    [
        ("softmax", "sparse_categorical_crossentropy", [1, 2]),
        ("softmax", "categorical_crossentropy", [[0, 1, 0], [0, 0, 1]]),
        ("sigmoid", "binary_crossentropy", [[0, 1, 0], [1, 0, 1]]),
    ],
)
def test_scores_of_ten_thousand_stay_finite(activation, loss, y):
    """Probabilities of 0 have no logarithm; their scores are used instead."""
    model = refnet.Sequential([Input((3,)), Dense(3, activation)])
    model.compile(SGD(0.1), loss)
    model.set_weights([1e4 * np.eye(3), np.zeros(3)])
    x = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    first = model.train_on_batch(x, y)
    assert 3e3 < first < 3e4
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert model.train_on_batch(x, y) < first


def test_compiling_again_forgets_the_optimizer_and_keeps_the_weights():
    model = classifier()
    model.fit(X, LABELS, verbose=0)
    weights = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert_same(model.get_weights(), weights)
    model.fit(X, LABELS, verbose=0)
    assert model.optimizer.iterations == 1


def test_set_weights_takes_all_or_none():
    model = classifier()
    before = model.get_weights()
    for wrong in (
        [np.ones_like(w) for w in before[:-1]],
        [*(np.ones_like(w) for w in before[:-1]), np.ones(4)],
        [*(np.ones_like(w) for w in before[:-1]), ["a", "b", "c"]],
    ):
        with pytest.raises(refnet.errors.RefnetError):
            model.set_weights(wrong)
        assert_same(model.get_weights(), before)


# -- the swap --------------------------------------------------------------------------------------

THERE = ["loopback", pytest.param("triton", marks=pytest.mark.triton)]


def memory(model):
    """The optimizer's memory as NumPy arrays."""
    return [v.numpy() for slots in model.optimizer.memory.values() for v in slots]


@pytest.mark.parametrize("there", THERE)
@pytest.mark.parametrize("make", [lambda: SGD(0.1, 0.9), RMSprop, Adam], ids=["sgd", "rms", "adam"])
def test_there_and_back_keeps_every_bit(make, there):
    model = classifier(Dense(5, "relu"), Dropout(0.3), Dense(4, trainable=False), optimizer=make())
    model.fit(X, LABELS, verbose=0)
    weights, moments, step = model.get_weights(), memory(model), model.optimizer.iterations
    assert moments
    for name in (there, "numpy"):
        assert model.to(name) is model
        assert model.backend.name == name
        assert_same(model.get_weights(), weights)
        assert_same(memory(model), moments)
        assert model.optimizer.iterations == step


@pytest.mark.parametrize("there", THERE)
def test_training_goes_on_after_a_swap_as_if_nothing_had_happened(there):
    staying, moving = (classifier(Dense(8, "relu"), Dropout(0.3)) for _ in range(2))
    tolerance = {} if there == "loopback" else {"rtol": 1e-4, "atol": 1e-5}
    for name in ("numpy", there, "numpy"):
        moving.to(name)
        for _ in range(3):
            expected = staying.train_on_batch(X, LABELS)
            found = moving.train_on_batch(X, LABELS)
            assert found == pytest.approx(expected, rel=0 if there == "loopback" else 1e-5)
        assert_same(moving.get_weights(), staying.get_weights(), **tolerance)
        np.testing.assert_allclose(
            moving.predict(X), staying.predict(X), **(tolerance or {"rtol": 0})
        )


@pytest.mark.parametrize("there", THERE)
def test_a_model_made_on_a_backend_starts_from_the_same_weights(there):
    here = classifier()
    with refnet.use_backend(there):
        elsewhere = classifier(metrics=["accuracy"])
    assert elsewhere.backend.name == there
    assert refnet.zeros((1,)).backend.name == "numpy"
    assert_same(elsewhere.get_weights(), here.get_weights())
    options = {"batch_size": 10, "epochs": 2, "shuffle": False, "verbose": 0}
    found = elsewhere.fit(X, LABELS, validation_split=0.2, **options).history
    expected = here.fit(X, LABELS, validation_split=0.2, **options).history
    np.testing.assert_allclose(found["val_loss"], expected["val_loss"], rtol=1e-5)
    assert isinstance(elsewhere.predict(X), np.ndarray)


def test_optimizers_by_name():
    for name in optimizers.OPTIMIZERS:
        model = classifier(optimizer=name)
        first = model.train_on_batch(X, LABELS)
        assert model.fit(X, LABELS, 5, epochs=20, verbose=0).history["loss"][-1] < first


def test_a_frozen_model_learns_nothing_and_thaws():
    model = classifier(Dense(5, "tanh"))
    model.trainable = False
    before = model.get_weights()
    model.fit(X, LABELS, verbose=0)
    assert_same(model.get_weights(), before)
    model.trainable = True
    model.fit(X, LABELS, verbose=0)
    assert (model.get_weights()[0] != before[0]).any()


def test_the_memory_of_an_optimizer_follows_the_weights_that_stay():
    first, last = Dense(5, "tanh"), Dense(3, "softmax")
    model = refnet.Sequential([Input((4,)), first, last])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, LABELS, verbose=0)

    def moments(layer):
        kept = model.parameters
        slots = model.optimizer.memory[kept.theta]
        return [
            slot.numpy()[start : start + v.size].copy()
            for slot in slots
            for v, start in zip(kept.variables, kept.offsets, strict=True)
            if any(v is w for w in layer.weights)
        ]

    before = moments(last)
    first.trainable = False
    model.predict(X)
    for now, then in zip(moments(last), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert any(m.any() for m in before)


def test_a_layer_written_as_in_keras():
    class Scale(refnet.layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight(shape=(input_shape[-1],), initializer="ones")

        def call(self, inputs):
            return inputs * self.w

    model = classifier(Scale())
    model.fit(X, LABELS, epochs=2, verbose=0)
    assert (model.layers[1].w.numpy() != 1).any()
    model.summary(lambda line: line)


def test_a_layer_that_breaks_its_promise_is_named():
    class Wide(refnet.layers.Layer):
        def call(self, inputs):
            return refnet.ops.concatenate(inputs, inputs, axis=1)

    with pytest.raises(refnet.errors.ShapeError, match=r"Wide 'wide.*returned.*8.*says.*4"):
        refnet.Sequential([Input((4,)), Wide()])(X)


def test_a_loop_of_ones_own_runs_on_either_backend():
    for there in ("numpy", "loopback"):
        model = classifier(Dense(5, "tanh", kernel_regularizer="l2")).to(there)
        loss = model.loss(LABELS, model(X)) + sum(model.losses)
        optimizer = refnet.optimizers.SGD(0.1)
        before = model.evaluate(X, LABELS)
        pairs = zip(
            refnet.gradients(loss, model.trainable_weights), model.trainable_weights, strict=True
        )
        optimizer.apply_gradients(list(pairs))
        assert model.evaluate(X, LABELS) < before


def test_a_class_without_a_weight_counts_as_one():
    options = {"epochs": 2, "shuffle": False, "verbose": 0}
    some, all_of_them = classifier(), classifier()
    found = some.fit(X, LABELS, class_weight={1: 5.0}, **options)
    expected = all_of_them.fit(X, LABELS, class_weight={0: 1.0, 1: 5.0, 2: 1.0}, **options)
    assert found.history == expected.history


def test_what_varies_with_the_values_is_not_captured(monkeypatch):
    """A step whose shapes depend on values runs as it is; all others a backend may capture."""
    captured = []
    backend = backends.get("numpy")
    monkeypatch.setattr(
        type(backend), "capture", lambda self, run, arguments: captured.append(run) or run
    )

    def record(inputs):
        return [inputs[0][inputs[0] > 0].sum()]

    model = refnet.Sequential([Input((3,)), Dense(2)])
    varying = Step(model, record)
    for value in (1.0, -1.0, 2.0):
        assert varying(np.full((2, 3), value, "float32"))[0] == max(0, 6 * value)
    assert captured == []
    fixed = Step(model, lambda inputs: [inputs[0].sum()])
    assert [fixed(np.full((2, 3), v, "float32"))[0] for v in (1.0, 2.0)] == [6, 12]
    assert len(captured) == 1
