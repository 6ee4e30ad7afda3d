"""Models: layers in a row, and the loop that trains them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from refnet import backend as backends
from refnet import config, optimizers, pairing
from refnet import losses as criteria
from refnet import metrics as measures
from refnet.advice import advice
from refnet.callbacks import Callback, Callbacks, History, Logs, progress
from refnet.errors import ArgumentError, DataError, NotReadyError, unknown_name
from refnet.examples import Examples, examples
from refnet.layers.layer import Layer, Shape, assign_all
from refnet.naming import unique_name
from refnet.optimizers import Optimizer
from refnet.overview import overview
from refnet.parameters import Parameters, move
from refnet.scope import outside_graphs
from refnet.tensor import Tensor, Variable, tensor
from refnet.training import Step, evaluation_step, prediction_step, training_step


class Sequential:
    """Layers applied one after the other.

    Examples
    --------
    >>> from refnet.layers import Dense, Input
    >>> model = Sequential([Input((2,)), Dense(8, activation="tanh"), Dense(1)])
    >>> model.compile(optimizer="adam", loss="mean_squared_error")
    >>> history = model.fit([[0.0, 0.0], [1.0, 1.0]], [[0.0], [2.0]], epochs=2, verbose=0)
    >>> len(history.history["loss"])
    2
    """

    def __init__(self, layers: Iterable[Layer] = (), name: str | None = None) -> None:
        self.name = name or unique_name("sequential")
        self.layers: list[Layer] = []
        self.backend = backends.current()
        self.output_shape: Shape | None = None
        self.parameters: Parameters | None = None
        self.stop_training = False
        self.history: History | None = None
        self._compiled: tuple[Optimizer, criteria.Loss, list[measures.Metric]] | None = None
        self._said: set[str] = set()
        self._arrays: list[Any] = []
        self._steps: dict[Callable[..., Step], Step] = {}
        if isinstance(layers, Layer):
            raise ArgumentError(f"{self.name}: layers is a list, [{layers.name}, ...]")
        for layer in layers:
            self.add(layer)

    # -- building ------------------------------------------------------------------------------

    def add(self, layer: Layer) -> None:
        """Append a layer."""
        if not isinstance(layer, Layer):
            raise ArgumentError(f"{self.name}: add() takes a layer, got {layer!r}")
        if layer in self.layers:
            raise ArgumentError(f"{self.name}: layer {layer.name!r} is in the model already")
        self.layers.append(layer)
        try:
            first = self.layers[0].input_shape
            if first is not None:
                self.build(first)
        except Exception:
            self.layers.pop()
            raise

    def pop(self) -> Layer:
        """Remove the last layer and return it."""
        if not self.layers:
            raise NotReadyError(f"{self.name} has no layers")
        layer = self.layers.pop()
        self.output_shape = None
        if self.layers and self.layers[0].input_shape is not None:
            self.build(self.layers[0].input_shape)
        return layer

    @outside_graphs()
    def build(self, input_shape: Shape) -> None:
        """Make the weights of all layers for inputs of this shape (with the batch, None)."""
        self.compute_output_shape(input_shape)  # raises before anything is built
        shape: Shape = (None, *input_shape[1:])
        with backends.use_backend(self.backend):
            for layer in self.layers:
                layer.ensure_built(shape)
                shape = layer.compute_output_shape(shape)
        self.output_shape = shape
        self._gather_parameters()

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output for inputs of this shape. Nothing is built; what is must fit."""
        shape: Shape = (None, *input_shape[1:])
        for layer in self.layers:
            if layer.built:
                layer.check_input(shape)
            shape = layer.compute_output_shape(shape)
        return shape

    @outside_graphs()
    def _gather_parameters(self) -> None:
        """Make the trainable weights views of one vector; forget steps recorded with other arrays."""
        trainable = self.trainable_weights
        before = self.parameters
        if before is None or not _same(before.variables, trainable):
            self.parameters = Parameters(trainable) if trainable else None
            memory = self._compiled[0].memory if self._compiled else {}
            if before is not None and self.parameters is not None and before.theta in memory:
                slots = memory.pop(before.theta)
                memory[self.parameters.theta] = self.parameters.take_over(slots, before)
        elif not before.holds(trainable):
            before.take_back()
        self._arrays = [w.value for w in self.weights]
        self._steps = {}

    def _gathered(self) -> bool:
        """Whether θ holds the trainable weights, and no weight's array has been replaced."""
        known = self.parameters.variables if self.parameters else []
        return _same(known, self.trainable_weights) and _same(
            self._arrays, [w.value for w in self.weights]
        )

    @property
    def built(self) -> bool:
        """True once the weights are made."""
        return self.output_shape is not None

    @outside_graphs()
    def to(self, backend: str | backends.Backend) -> Sequential:
        """Move the model to another backend, with its weights and its optimizer's memory.

        Examples
        --------
        >>> from refnet.layers import Dense
        >>> Sequential([Dense(1, input_shape=(2,))]).to("numpy").backend
        <backend numpy>
        """
        there = backends.get(backend)
        if there is self.backend:
            return self
        memory = [v for slots in self._optimizer_memory() for v in slots]
        inside = set(map(id, self.parameters.variables)) if self.parameters else set()
        if self.parameters is not None:
            self.parameters.to(there)
        for variable in [
            *(w for w in self.weights if id(w) not in inside),
            *(v for layer in self.layers for v in layer.state),
            *memory,
        ]:
            move(variable, there)
        self.backend = there
        self._arrays = [w.value for w in self.weights]
        self._steps = {}
        return self

    def _optimizer_memory(self) -> Iterable[list[Variable]]:
        return self._compiled[0].memory.values() if self._compiled else ()

    # -- weights -------------------------------------------------------------------------------

    @property
    def weights(self) -> list[Variable]:
        """The weights of all layers."""
        return [w for layer in self.layers for w in layer.weights]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes."""
        return [w for layer in self.layers for w in layer.trainable_weights]

    trainable_variables = trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether any layer may learn. Setting it sets it for all layers."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = bool(value)

    @property
    def losses(self) -> list[Any]:
        """What the regularizers of all layers charge: add them to the loss in a loop of your own."""
        return [penalty for layer in self.layers for penalty in layer.losses]

    def get_layer(self, name: str) -> Layer:
        """The layer of this name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise unknown_name("layer", name, [layer.name for layer in self.layers])

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training does not change."""
        return [w for layer in self.layers for w in layer.non_trainable_weights]

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of all weights, as NumPy arrays."""
        return [w for layer in self.layers for w in layer.get_weights()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Overwrite all weights, in the order of `get_weights`. All or none."""
        assign_all(f"model {self.name!r}", self.weights, weights)

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        return sum(layer.count_params() for layer in self.layers)

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print the layers, their output shapes and how many parameters each has."""
        for line in overview(self):
            print_fn(line)

    # -- computing -----------------------------------------------------------------------------

    def __call__(self, x: Any, training: bool = False) -> Any:
        """The output for a batch, as a tensor with its history."""
        if not isinstance(x, Tensor):
            values = np.asarray(x)
            x = tensor(values.astype(config.floatx(), copy=False), backend=self.backend)
        if not self.built:
            self.build(x.shape)
        for layer in self.layers:
            x = layer(x, training=training)
        return x

    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: str | criteria.Loss | Callable[..., Any] | None = None,
        metrics: Sequence[Any] | None = None,
    ) -> None:
        """Choose how to learn: the optimizer, the loss and the metrics, by name or as objects."""
        if not isinstance(metrics or (), (list, tuple)):
            raise ArgumentError(f"{self.name}: metrics is a list, [{metrics!r}]")
        if loss is None:
            raise ArgumentError(f"{self.name}: compile() needs a loss, e.g. 'mean_squared_error'")
        loss = criteria.get(loss)
        if loss.reduction == "none":
            raise ArgumentError(
                f"{self.name}: training needs one number, not {loss}: reduction='none'"
            )
        self._compiled = (
            optimizers.get(optimizer),
            loss,
            [measures.get(m) for m in metrics or ()],
        )
        self._steps, self._said = {}, set()

    def _ready(self, what: str) -> tuple[Optimizer, criteria.Loss, list[measures.Metric]]:
        if self._compiled is None:
            raise NotReadyError(f"{self.name}: call compile(optimizer, loss) before {what}()")
        return self._compiled

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer `compile` was given."""
        return self._ready("optimizer")[0]

    @property
    def loss(self) -> criteria.Loss:
        """The loss `compile` was given."""
        return self._ready("loss")[1]

    @property
    def metrics(self) -> list[measures.Metric]:
        """The metrics `compile` was given."""
        return self._ready("metrics")[2]

    def _step(self, make: Callable[[Sequential], Step]) -> Step:
        if make not in self._steps:
            self._steps[make] = make(self)
        return self._steps[make]

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callback | Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: tuple[Any, ...] | None = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
    ) -> History:
        """Train: `epochs` times over the examples, one step downhill for each batch.

        batch_size=1 is stochastic gradient descent, batch_size=len(x) batch gradient descent, and
        everything between mini-batch gradient descent. Returns a History with the loss and metrics
        of each epoch; with validation data, also their val_... twins.

        `class_weight` weighs the training data by their classes, not those of the validation; in
        sequences each element by its own. What cannot be learned as it is set up is a UserWarning
        (`refnet.advice`).

        Raises
        ------
        A refnet error if the model is not compiled or the data do not fit; no weight has changed then.
        """
        self._ready("fit")
        batch_size = _batch_size(batch_size)
        if isinstance(callbacks, Callback):
            callbacks = [callbacks]
        elif not isinstance(callbacks or (), (list, tuple)):
            raise ArgumentError(f"callbacks is a list of callback objects, got {callbacks!r}")
        _require_whole("epochs", epochs, least=0)
        data = self._examples(x, y, sample_weight)
        validation = None
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
                raise ArgumentError("validation_data is (x, y) or (x, y, sample_weight)")
            validation = self._examples(*validation_data)
        elif validation_split:
            data, validation = data.split(validation_split)
        data = self._weighed_by_class(data, class_weight)
        self._advise(data)
        steps = -(-len(data) // batch_size)
        self.stop_training = False
        self.history = History()
        hooks = Callbacks(
            [self.history, *(callbacks or ()), *progress(verbose)],
            self,
            epochs=epochs,
            steps=steps,
            verbose=verbose,
        )
        hooks("on_train_begin", None)
        for epoch in range(initial_epoch, epochs):
            hooks("on_epoch_begin", epoch, None)
            logs = self._train_epoch(data, batch_size, shuffle, hooks)
            if validation is not None:
                hooks("on_test_begin", None)
                held_out = self._evaluate(validation, batch_size)
                hooks("on_test_end", held_out)
                logs |= {f"val_{name}": value for name, value in held_out.items()}
            hooks("on_epoch_end", epoch, logs)
            if self.stop_training:
                break
        hooks("on_train_end", None)
        return self.history

    def _train_epoch(
        self, data: Examples, batch_size: int, shuffle: bool, hooks: Callbacks
    ) -> dict[str, float]:
        means = self._means()
        results: list[
            tuple[int, tuple[Any, ...]]
        ] = []  # read late: on a GPU, reading means waiting
        for number, batch in enumerate(data.batches(batch_size, shuffle)):
            if hooks.each_batch:
                hooks("on_train_batch_begin", number, None)
            results.append((len(batch[0]), self._train(*batch)))
            if hooks.each_batch:
                hooks("on_train_batch_end", number, self._read(means, results))
                if self.stop_training:
                    break
        return self._read(means, results)

    @outside_graphs()
    def _train(self, x: Any, y: Any, weights: Any) -> tuple[Any, ...]:
        """One step on one batch: the loss and the metrics of it, as arrays."""
        optimizer = self.optimizer
        if self.parameters is not None:
            optimizer.build([self.parameters.theta])
        optimizer.iterations += 1
        rate = np.array(optimizer.learning_rate, x.dtype)
        return self._step(training_step)(
            x, y, weights, rate, np.array(optimizer.iterations, x.dtype)
        )

    def _means(self) -> dict[str, measures.Mean]:
        """A running mean of the loss and of each metric. The second "mse" is called "mse_1"."""
        means: dict[str, measures.Mean] = {}
        for name in ("loss", *(metric.name for metric in self.metrics)):
            count = sum(mean.name == name for mean in means.values())
            means[f"{name}_{count}" if count else name] = measures.Mean(name)
        return means

    def _read(
        self, means: dict[str, measures.Mean], results: list[tuple[int, tuple[Any, ...]]]
    ) -> dict[str, float]:
        """Add the results of batches to the running means, empty the list, and give the means."""
        for count, values in results:
            for mean, value in zip(means.values(), values, strict=True):
                mean.add(float(self.backend.numpy(value)), count)
        results.clear()
        return {name: mean.result() for name, mean in means.items()}

    def evaluate(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss, followed by the metrics if there are any; as a dict with return_dict=True."""
        self._ready("evaluate")
        batch_size = _batch_size(batch_size)
        logs = self._evaluate(self._examples(x, y, sample_weight), batch_size)
        return _shown(logs, return_dict)

    def _evaluate(self, data: Examples, batch_size: int) -> dict[str, float]:
        means = self._means()
        step = self._step(evaluation_step)
        results = [(len(batch[0]), step(*batch)) for batch in data.batches(batch_size)]
        return self._read(means, results)

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: int | str = "auto"
    ) -> np.ndarray[Any, Any]:
        """The outputs for all examples, as one NumPy array."""
        batch_size = _batch_size(batch_size)
        data = examples(x)
        self._fitting(data.x)
        self._ensure_built(data.x)
        step = self._step(prediction_step)
        return np.concatenate(
            [self.backend.numpy(step(batch[0])[0]) for batch in data.batches(batch_size)]
        )

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch: the loss, followed by the metrics if there are any."""
        self._ready("train_on_batch")
        data = self._weighed_by_class(self._examples(x, y, sample_weight), class_weight)
        batch = next(data.batches(len(data)))
        logs = self._read(self._means(), [(len(data), self._train(*batch))])
        return _shown(logs, return_dict)

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss and the metrics of one batch; nothing changes."""
        return self.evaluate(x, y, np.shape(x)[0], 0, sample_weight, return_dict)

    def predict_on_batch(self, x: Any) -> np.ndarray[Any, Any]:
        """The outputs for one batch."""
        return self.predict(x, np.shape(x)[0])

    # -- checking ------------------------------------------------------------------------------

    def _fitting(self, x: np.ndarray[Any, Any]) -> Shape:
        """The output's shape for these inputs, which have to fit. Nothing is built yet."""
        if not self.layers:
            raise NotReadyError(f"{self.name} has no layers")
        return self.compute_output_shape(x.shape)

    def _ensure_built(self, x: np.ndarray[Any, Any]) -> None:
        """Build the model for these inputs, if it is not; gather weights that were frozen or taken."""
        if not self.built:
            self.build(x.shape)
        elif not self._gathered():
            self._gather_parameters()

    def _examples(self, x: Any, y: Any, sample_weight: Any = None) -> Examples:
        """Checked data for training or evaluation: x fits the input, y the loss and the output."""
        if y is None:
            raise DataError(f"{self.name} needs targets y beside the inputs x")
        data = examples(x, y, sample_weight)
        data = self._targets(data, self._fitting(data.x))
        self._ensure_built(data.x)
        return data

    def _targets(self, data: Examples, output_shape: Shape) -> Examples:
        """The same data, with y and the weights in the shapes that the loss and the output have."""
        assert data.y is not None
        y = self.loss.targets(data.y, output_shape)
        for metric in self.metrics:
            metric.require(y, output_shape)
        if data.weights is not None:
            pairing.require_weights((len(y), *output_shape[1:-1]), data.weights.shape)
        return Examples(data.x, y, data.weights)

    def _advise(self, data: Examples) -> None:
        """Warn of what cannot be learned as it is set up, once after each `compile`."""
        assert data.y is not None
        for sentence in advice(self, data.y):
            if sentence not in self._said:
                self._said.add(sentence)
                warnings.warn(f"{self.name}: {sentence}", UserWarning, stacklevel=3)

    def _weighed_by_class(
        self, data: Examples, class_weight: Mapping[int, float] | None
    ) -> Examples:
        """Training data weighed by class. Validation data never are."""
        if class_weight is None:
            return data
        return data.weighed_by_class(class_weight, self._fitting(data.x))

    def __repr__(self) -> str:
        return f"<Sequential {self.name!r} of {len(self.layers)} layers on {self.backend.name}>"


def _same(these: Sequence[Any], those: Sequence[Any]) -> bool:
    """Whether two lists hold the same objects. (== on tensors would compare elements.)"""
    return len(these) == len(those) and all(a is b for a, b in zip(these, those, strict=True))


def _shown(logs: Logs, return_dict: bool) -> Any:
    values = list(logs.values())
    return logs if return_dict else values[0] if len(values) == 1 else values


def _batch_size(given: int | None) -> int:
    """Keras' default where none is given."""
    _require_whole("batch_size", 32 if given is None else given)
    return 32 if given is None else int(given)


def _require_whole(name: str, value: Any, least: int = 1) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise ArgumentError(f"{name} is a whole number of at least {least}, got {value!r}")
