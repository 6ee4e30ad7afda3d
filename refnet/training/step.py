"""One step of training, evaluation or prediction: recorded once, then run for every batch.

The first batch of a given shape runs eagerly, through tensors: forward, loss, gradients, update.
The record of what happened is made into a `Plan`, and the batches that follow run the plan: on NumPy
a list of array calls; on a GPU one captured graph.

What Python decided on the way is the same in all runs of a plan. Attributes of layers, regularizers,
the loss, the metrics and the optimizer may change all the same: `refnet.training.settings` notices, and
the step is recorded anew. Python code that asks for something else needs ``compile(...,
run_eagerly=True)``, where every step runs as the first one does: a global variable, an attribute of a
class, an array that is changed in place, a set, an object of another kind among the attributes, a value
of the batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from refnet.autograd.backpropagation import gradients
from refnet.autograd.context import recording, writes_of
from refnet.autograd.tensor import Tensor, leaves, tensor, watching
from refnet.autograd.variable import Variable
from refnet.backend import Array
from refnet.errors import GradientError
from refnet.ops import TABLE
from refnet.optimizers.parameters import Parameters
from refnet.plan.plan import Plan

if TYPE_CHECKING:
    from refnet.training.model import Trainable

KEPT = 32  # how many plans of a step are kept: the oldest goes
#: what a step gives: a tensor, or a number that follows from the shapes of the batch
Output = Tensor | float
Record = Callable[[Sequence[Tensor]], list[Output]]


class Recorded(NamedTuple):
    """A plan as a function on batches, and θ and the arrays of all variables when it was made."""

    run: Callable[..., tuple[Array, ...]]
    parameters: Parameters | None
    variables: Sequence[Variable]
    arrays: Sequence[Array]

    def holds(self, parameters: Parameters | None) -> bool:
        """Whether they still are what they were: no other model took them, none was moved."""
        return self.parameters is parameters and all(
            v.value is a for v, a in zip(self.variables, self.arrays, strict=True)
        )


class Step:
    """A function on batches, recorded once for each shape and type of its inputs and each setting.

    `record(inputs)` computes with tensors and returns those whose values are wanted. Every op on the
    way that overwrites something is run again as well, whoever applied it: the optimizer, a layer, or
    a layer within a layer. A step that trains has the model's weights gathered first.
    """

    def __init__(self, model: Trainable, record: Record, trains: bool = False) -> None:
        self.model = model
        self.record = record
        self.trains = trains
        self._plans: dict[tuple[Any, ...], Recorded] = {}

    def __call__(self, *batch: Any) -> tuple[Array, ...]:
        """Run on one batch: NumPy arrays, or arrays of the model's backend, as the results are."""
        model, backend = self.model, self.model.backend
        if model.run_eagerly or watching.get() is not None:  # op by op, each under its layer's name
            outputs = self.record([Tensor(backend.array(x), backend) for x in batch])
            return tuple(map(_read, outputs))
        number = model.settings.number()
        if self.trains:
            model.gather(number)
        key = (number, backend, *[(x.shape, x.dtype) for x in batch])
        recorded = self._plans.get(key)
        if recorded is not None and recorded.holds(model._parameters):
            return recorded.run(*batch)
        arrays = tuple(backend.array(x) for x in batch)
        inputs = [Tensor(a, backend) for a in arrays]
        with recording(inputs), writes_of() as updates:
            outputs = self.record(inputs)
        computed = [t for t in outputs if isinstance(t, Tensor)]
        variables = [t for t in leaves(*computed, *updates) if isinstance(t, Variable)]
        run = _among(outputs, self._again(Plan(inputs, computed, updates), arrays))
        if len(self._plans) == KEPT:
            del self._plans[next(iter(self._plans))]
        self._plans[key] = Recorded(
            run, model._parameters, variables, [v.known() for v in variables]
        )
        return tuple(map(_read, outputs))

    def _again(self, plan: Plan, arrays: tuple[Array, ...]) -> Callable[..., tuple[Array, ...]]:
        """The plan as a function on batches."""
        backend = self.model.backend
        if plan.data_dependent_shape:  # nobody moves the arguments of what is not captured
            return lambda *batch: plan(*[backend.array(x) for x in batch])
        run = backend.capture(plan, arrays)

        def again(*batch: Array) -> tuple[Array, ...]:
            plan.note_changes()  # what was captured runs without the plan
            return run(*[backend.feed(x) for x in batch])

        return again


def _read(output: Output) -> Any:
    return output.read() if isinstance(output, Tensor) else output


def _among(outputs: Sequence[Output], run: Callable[..., tuple[Array, ...]]) -> Callable[..., Any]:
    """A function that gives the numbers among the outputs where they stood when it was recorded."""
    known = [(i, x) for i, x in enumerate(outputs) if not isinstance(x, Tensor)]
    if not known:
        return run

    def with_numbers(*batch: Array) -> tuple[Any, ...]:
        found: list[Any] = [*run(*batch)]
        for i, x in known:
            found.insert(i, x)
        return tuple(found)

    return with_numbers


def prediction_step(model: Trainable) -> Step:
    """x -> the outputs."""

    def record(inputs: Sequence[Tensor]) -> list[Output]:
        return [model(inputs[0])]

    return Step(model, record)


def evaluation_step(model: Trainable) -> Step:
    """x, y, weights -> the loss, and what the batch adds to each metric's sums."""

    def record(inputs: Sequence[Tensor]) -> list[Output]:
        x, y, weights = inputs
        y_pred = model(x)
        return [_loss(model, y, y_pred, weights), *_metrics(model, y, y_pred)]

    return Step(model, record)


def training_step(model: Trainable) -> Step:
    """x, y, weights, η, t -> the same; and the parameters take one step downhill."""

    def record(inputs: Sequence[Tensor]) -> list[Output]:
        x, y, weights, rate, t = inputs
        y_pred = model(x, training=True)
        loss = _loss(model, y, y_pred, weights)
        outputs = [loss, *_metrics(model, y, y_pred)]
        parameters, optimizer = model.parameters, model.optimizer
        if parameters is not None:
            one = tensor(1.0, loss.dtype, backend=model.backend)
            found = gradients(loss, parameters.variables, upstream=one)
            _require_gradients(model, parameters.variables, found)
            optimizer.update(parameters.theta, parameters.pack(found), rate, t)
        return outputs

    return Step(model, record, trains=True)


def _require_gradients(
    model: Trainable, variables: Sequence[Variable], found: Sequence[Tensor | None]
) -> None:
    """Raise an error if the loss gives no weight a gradient; warn, once, of those without one."""
    without = [v.name for v, g in zip(variables, found, strict=True) if g is None]
    sentence = (
        f"{model.name}: the loss gives no gradient to {', '.join(without)}: a function with steps, a "
        "value that Python has read, or detach() is on the way, or nothing depends on it"
    )
    if len(without) == len(variables):
        raise GradientError(sentence)
    if without and sentence not in model.said:
        model.said.add(sentence)
        warnings.warn(sentence, UserWarning, stacklevel=2)


def weight_gradients(model: Trainable, x: Any, y: Any) -> list[np.ndarray[Any, Any]]:
    """∂L/∂w of the loss on a batch, for each trainable weight; 0 where the loss does not depend on it.

    As in an evaluation, dropout lets everything pass: drawing random numbers here would change those
    that the training draws next.
    """
    no_weights = tensor(np.zeros(0), backend=model.backend)
    loss = _loss(model, tensor(y, backend=model.backend), model(x), no_weights)
    found = gradients(loss, model.trainable_weights)
    pairs = zip(model.trainable_weights, found, strict=True)
    return [np.zeros(w.shape) if g is None else g.numpy() for w, g in pairs]


def _loss(model: Trainable, y: Tensor, y_pred: Tensor, weights: Tensor) -> Tensor:
    """The loss of the batch and what the regularizers charge. No weights: an empty tensor."""
    loss: Tensor = model.loss(y, y_pred, weights if weights.size else None)
    for penalty in model.losses:
        loss = TABLE["add"](loss, penalty)
    return loss


def _metrics(model: Trainable, y: Tensor, y_pred: Tensor) -> list[Output]:
    """What the batch adds to the sums of all metrics, one after the other."""
    return [part for metric in model.metrics for part in metric.batch_sums(y, y_pred)]


__all__ = ["Step", "evaluation_step", "prediction_step", "training_step", "weight_gradients"]
