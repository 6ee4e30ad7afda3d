"""Trainer: a layer that is trained. compile, fit, evaluate and predict, as in Keras."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from refnet import backend as backends
from refnet import losses as criteria
from refnet import metrics as measures
from refnet import optimizers
from refnet.autograd.context import outside_graphs, recording
from refnet.autograd.variable import Variable
from refnet.base.arguments import truth
from refnet.base.names import called
from refnet.callbacks import Callback, Callbacks, History, loudness, progress
from refnet.config import floatx
from refnet.errors import ArgumentError, BackendError, DataError, NotReadyError
from refnet.layers.building import all_or_none
from refnet.layers.layer import Layer, Shape, within
from refnet.losses import pairing
from refnet.models.advice import warn
from refnet.models.arguments import batch_size_of, callbacks_of, require_for_fit, shown
from refnet.optimizers import Optimizer
from refnet.optimizers.optimizer import countable
from refnet.optimizers.parameters import Parameters, move
from refnet.random import next_key
from refnet.training.data import Examples, examples
from refnet.training.position import Position
from refnet.training.settings import Settings
from refnet.training.step import Step, evaluation_step, prediction_step, training_step


class Trainer(Layer):
    """What `refnet.Model` is besides the layers it consists of: a loss, an optimizer, the loop.

    What a training changes stands in slots: `Settings` watches the other attributes.
    """

    __slots__ = (
        *("backend", "output_shape", "stop_training", "history", "run_eagerly", "settings", "said"),
        *("_parameters", "_gathered_at", "_compiled", "_steps", "_position"),
    )

    def __init__(self, name: str | None = None, **common: Any) -> None:
        super().__init__(name, **common)
        self.backend = backends.current()
        self.output_shape: Shape | None = None
        self.stop_training = False
        self.history: History | None = None
        self.run_eagerly = False
        self.said: set[str] = set()
        self._parameters: Parameters | None = None
        self._gathered_at: int | None = None
        self._compiled: tuple[Optimizer, criteria.Loss, list[measures.Metric]] | None = None
        self._steps: dict[Callable[..., Step], Step] = {}
        self._position: Position | None = None
        self._look_at_settings()

    # -- what it consists of -------------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers that it holds itself, in the order in which they were set."""
        held = {id(x): x for x in within(self._contents()) if isinstance(x, Layer)}
        return [*held.values()]

    def _models(self) -> list[Trainer]:
        """It and those within it."""
        return [layer for layer in self.flattened() if isinstance(layer, Trainer)]

    @property
    def parameters(self) -> Parameters | None:
        """The trainable weights as one vector θ, gathered when they are first asked for.

        What another model that shares layers took since then is taken back.
        """
        self.gather(self.settings.number())
        return self._parameters

    @recording(None)
    @outside_graphs()
    def gather(self, number: int) -> None:
        """Make the trainable weights views of θ. `number` is that of the settings: who is trainable."""
        if number != self._gathered_at:
            trainable, before = self.trainable_weights, self._parameters
            if before is None or not before.is_of(trainable):
                self._require_here()
                self._parameters = Parameters(trainable) if trainable else None
                if self._compiled is not None:
                    self._compiled[0].rearrange(before, self._parameters)
            self._gathered_at = number
        if self._parameters is not None and not self._parameters.in_place():
            self._require_here()
            self._parameters.take_back()

    def _require_here(self) -> None:
        """Raise an error if a variable lies on another backend, where another model took it."""
        for v in self.variables:
            if v.backend is not self.backend:
                raise BackendError(
                    f"{self.name} is on {self.backend.name}, {v.name!r} on {v.backend.name}: a model "
                    f"that shares it was moved. Move {self.name} too, with to({v.backend.name!r})"
                )

    @outside_graphs()
    def to(self, backend: str | backends.Backend) -> Self:
        """Move the model to another backend, with its weights and its optimizer's memory.

        Examples
        --------
        >>> from refnet import Sequential
        >>> from refnet.layers import Dense
        >>> Sequential([Dense(1, input_shape=(2,))]).to("numpy").backend
        <backend numpy>
        """
        there = backends.get(backend)
        for variable in (*self.variables, *self._optimizer_memory()):
            if variable.backend is not there:
                move(variable, there)
        for model in self._models():
            model.backend = there
        return self

    def _optimizer_memory(self) -> Iterable[Variable]:
        """The memory of the optimizers of this model and of models within it."""
        for model in self._models():
            for slots in model._compiled[0].memory.values() if model._compiled else ():
                yield from slots

    # -- what it is to learn -------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: str | criteria.Loss | Callable[..., Any] | None = None,
        metrics: Sequence[Any] | None = None,
        run_eagerly: bool = False,
    ) -> None:
        """Choose how to learn: the optimizer, the loss and the metrics, by name or as objects.

        Steps are recorded and run again, see `refnet.training`. With run_eagerly=True, Python code in
        layers, losses and metrics is run at every step: for code that decides by the values of the
        batch, and to look at them.
        """
        if not isinstance(metrics or (), (list, tuple)):
            raise ArgumentError(f"{self.name}: metrics is a list, [{metrics!r}]")
        if loss is None:
            raise ArgumentError(f"{self.name}: compile() needs a loss, e.g. 'mean_squared_error'")
        loss, optimizer = criteria.get(loss), optimizers.get(optimizer)
        if loss.reduction == "none":
            raise ArgumentError(
                f"{self.name}: training needs one number, not {loss}: reduction='none'"
            )
        found = [measures.get(m) for m in metrics or ()]
        self.run_eagerly = truth("run_eagerly", run_eagerly)
        optimizer.claim(self)
        self._compiled = optimizer, loss, found
        self._look_at_settings()
        self._steps, self.said = {}, set()

    def _look_at_settings(self) -> None:
        """Whatever Python reads in a step: of the layers, and of what `compile` was given."""
        optimizer, loss, found = self._compiled or (None, None, [])
        options = [vars(x) for x in (optimizer, loss) if x is not None]
        functions = [] if loss is None else [called(type(loss))]
        self.settings, self._gathered_at = Settings(self, *options, *functions, *found), None

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

    # -- the loop ------------------------------------------------------------------------------

    def _step(self, make: Callable[[Trainer], Step]) -> Step:
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
        position: Mapping[str, Any] | None = None,
    ) -> History:
        """Train: `epochs` times over the examples, one step downhill for each batch.

        batch_size=1 is stochastic gradient descent, batch_size=len(x) batch gradient descent, and
        everything between mini-batch gradient descent. Returns a History with the loss and metrics
        of each epoch; with validation data, also their val_... twins.

        `class_weight` weighs the training data by their classes, not those of the validation; in
        sequences each element by its own. What cannot be learned as it is set up is a UserWarning
        (`refnet.models.advice`).

        With a `position`, which is what `model.position` was, training goes on from there: with the next
        batch of the same epoch, in the same order. With the same data, weights, state and memory of the
        optimizer it ends with the same bits as if it had not been interrupted.

        Raises
        ------
        A refnet error if the model is not compiled or the data do not fit; no weight has changed then.
        """
        self._ready("fit")
        batch_size = batch_size_of(batch_size)
        callbacks = callbacks_of(callbacks)
        require_for_fit(epochs, initial_epoch, shuffle, validation_data)
        loudness(verbose)
        data = self._examples(x, y, sample_weight)
        validation = None
        if validation_data is not None:
            validation = self._examples(*validation_data)
        elif validation_split:
            data, validation = data.split(validation_split)
        data = self._weighed_by_class(data, class_weight)
        warn(self, data.y, self.said)
        steps = -(-len(data) // batch_size)
        here = Position(self._running(), initial_epoch)
        if position is not None:
            here.go_to(position, steps)
        self.stop_training = False
        self.history = history = History()
        listening = [history, *callbacks, *progress(verbose)]
        hooks = Callbacks(listening, self, epochs=epochs, steps=steps, verbose=verbose)
        hooks("on_train_begin", None)
        for epoch in range(here.epoch, epochs):
            self._position = here
            hooks("on_epoch_begin", epoch, None)
            logs = self._train_epoch(data, batch_size, shuffle, hooks, here)
            if validation is not None:
                hooks("on_test_begin", None)
                held_out = self._evaluate(validation, batch_size)
                hooks("on_test_end", held_out)
                logs |= {f"val_{name}": value for name, value in held_out.items()}
            if not self.stop_training or here.batch == steps:
                here.begin(epoch + 1)
            hooks("on_epoch_end", epoch, logs)
            if self.stop_training:
                break
        hooks("on_train_end", None)
        self.history = history  # a callback may have called fit, too
        return history

    def _train_epoch(
        self, data: Examples, batch_size: int, shuffle: bool, hooks: Callbacks, here: Position
    ) -> dict[str, float]:
        if shuffle and here.order is None:
            here.order = next_key().tolist()
        batches = data.batches(batch_size, here.order if shuffle else None, here.batch)
        for number, batch in enumerate(batches, start=here.batch):
            if hooks.each_batch:
                hooks("on_train_batch_begin", number, None)
            here.running.add(len(batch[0]), self._train(*batch))
            here.batch = number + 1
            if hooks.each_batch:
                hooks("on_train_batch_end", number, here.running.result())
                if self.stop_training:
                    break
        return here.running.result()

    @property
    def position(self) -> dict[str, Any]:
        """Where the training stands, or stood last, as data that JSON can hold: see `fit`.

        At the end of an epoch it is the beginning of the next one.
        """
        if self._position is None:
            raise NotReadyError(f"{self.name}: fit() has not begun, so there is no position")
        return self._position.as_data()

    @outside_graphs()
    def _train(self, x: Any, y: Any, weights: Any) -> tuple[Any, ...]:
        """One step on one batch: the loss and the metrics of it, as arrays."""
        optimizer = self.optimizer
        kind = countable(floatx())
        rate, t = (np.array(v, kind) for v in (optimizer.learning_rate, optimizer.iterations + 1))
        results = self._step(training_step)(x, y, weights, rate, t)
        if self._parameters is not None:  # where nothing learns, no step is taken
            optimizer.iterations += 1
        return results

    def _running(self) -> measures.Running:
        """The sums of the loss and of each metric."""
        return measures.Running(self.metrics, self.backend.numpy)

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
        loudness(verbose)
        batch_size = batch_size_of(batch_size)
        logs = self._evaluate(self._examples(x, y, sample_weight), batch_size)
        return shown(logs, return_dict)

    def _evaluate(self, data: Examples, batch_size: int) -> dict[str, float]:
        running = self._running()
        step = self._step(evaluation_step)
        for batch in data.batches(batch_size):
            running.add(len(batch[0]), step(*batch))
        return running.result()

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: int | str = "auto"
    ) -> np.ndarray[Any, Any]:
        """The outputs for all examples, as one NumPy array."""
        loudness(verbose)
        batch_size = batch_size_of(batch_size)
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
        running = self._running()
        running.add(len(data), self._train(*batch))
        return shown(running.result(), return_dict)

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss and the metrics of one batch; nothing changes."""
        return self.evaluate(x, y, len(examples(x)), 0, sample_weight, return_dict)

    def predict_on_batch(self, x: Any) -> np.ndarray[Any, Any]:
        """The outputs for one batch."""
        return self.predict(x, len(examples(x)))

    # -- checking ------------------------------------------------------------------------------

    def _fitting(self, x: np.ndarray[Any, Any]) -> Shape:
        """The output's shape for these inputs, which have to fit."""
        return self.compute_output_shape(x.shape)

    def _ensure_built(self, x: np.ndarray[Any, Any]) -> None:
        """Build it for these inputs, if it is not built."""
        self.ensure_built(x.shape)

    def _examples(self, x: Any, y: Any, sample_weight: Any = None) -> Examples:
        """Checked data for training or evaluation: x fits the input, y the loss and the output."""
        if y is None:
            raise DataError(f"{self.name} needs targets y beside the inputs x")
        data = examples(x, y, sample_weight)
        with contextlib.nullcontext() if self.built else all_or_none(self):
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
            shape = pairing.losses_shape(self.loss.rule, y.shape)
            pairing.require_weights(shape, data.weights.shape)
        return Examples(data.x, y, data.weights)

    def _weighed_by_class(
        self, data: Examples, class_weight: Mapping[int, float] | None
    ) -> Examples:
        """Training data weighed by class. Validation data never are."""
        if class_weight is None:
            return data
        assert data.y is not None
        shape = pairing.losses_shape(self.loss.rule, data.y.shape)
        return data.weighed_by_class(class_weight, shape, self._fitting(data.x)[-1])
