"""One step of training, evaluation or prediction: recorded once, then run for every batch.

The first batch of a given shape runs eagerly, through tensors: forward, loss, gradients, update.
The record of what happened is made into a `Plan`, and the batches that follow run the plan: on NumPy
a list of array calls; on a GPU one captured graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from refnet.backend import Array
from refnet.backpropagation import gradients
from refnet.ops import TABLE
from refnet.plan import Plan
from refnet.scope import writes_of
from refnet.tensor import Tensor, Variable, leaves, tensor, watching

if TYPE_CHECKING:
    from refnet.models import Sequential

Record = Callable[[Sequence[Tensor]], list[Tensor]]


class Recorded(NamedTuple):
    """A plan as a function on batches, and the arrays its variables had when it was made."""

    run: Callable[..., tuple[Array, ...]]
    variables: Sequence[Variable]
    arrays: Sequence[Array]

    def holds(self) -> bool:
        """Whether the variables still have those arrays: no other model took them, none was moved."""
        return all([v.value is a for v, a in zip(self.variables, self.arrays, strict=True)])


class Step:
    """A function on batches that is recorded once for each shape and type of its inputs.

    `record(inputs)` computes with tensors and returns those whose values are wanted. Every op on the
    way that overwrites something is run again as well, whoever applied it: the optimizer, a layer, or
    a layer within a layer.
    """

    def __init__(self, model: Sequential, record: Record) -> None:
        self.model = model
        self.record = record
        self._plans: dict[tuple[Any, ...], Recorded] = {}

    def __call__(self, *batch: Any) -> tuple[Array, ...]:
        """Run on one batch: NumPy arrays, or arrays of the model's backend, as the results are."""
        backend = self.model.backend
        if watching.get() is not None:  # op by op, through the layers, each under its name
            outputs = self.record([Tensor(backend.array(x), backend) for x in batch])
            return tuple(t.known() for t in outputs)
        key = (backend, *[(x.shape, x.dtype) for x in batch])
        recorded = self._plans.get(key)
        if recorded is not None and recorded.holds():
            return recorded.run(*batch)
        arrays = tuple(backend.array(x) for x in batch)
        inputs = [Tensor(a, backend) for a in arrays]
        with writes_of() as updates:
            outputs = self.record(inputs)
        found = leaves(*outputs, *updates)
        variables = [t for t in found if isinstance(t, Variable)]
        run = self._again(Plan(inputs, outputs, updates), arrays)
        self._plans[key] = Recorded(run, variables, [v.known() for v in variables])
        return tuple(t.known() for t in outputs)

    def _again(self, plan: Plan, arrays: tuple[Array, ...]) -> Callable[..., tuple[Array, ...]]:
        """The plan as a function on batches."""
        backend = self.model.backend
        if plan.varies:  # nobody moves the arguments of what is not captured
            return lambda *batch: plan(*[backend.array(x) for x in batch])
        run = backend.capture(plan, arrays)
        return lambda *batch: run(*[backend.feed(x) for x in batch])


def prediction_step(model: Sequential) -> Step:
    """x -> the outputs."""

    def record(inputs: Sequence[Tensor]) -> list[Tensor]:
        return [model(inputs[0])]

    return Step(model, record)


def evaluation_step(model: Sequential) -> Step:
    """x, y, weights -> the loss and each metric's mean over the batch."""

    def record(inputs: Sequence[Tensor]) -> list[Tensor]:
        x, y, weights = inputs
        y_pred = model(x)
        return [_loss(model, y, y_pred, weights), *_metrics(model, y, y_pred)]

    return Step(model, record)


def training_step(model: Sequential) -> Step:
    """x, y, weights, η, t -> loss and metrics; the parameters take one step downhill."""

    def record(inputs: Sequence[Tensor]) -> list[Tensor]:
        x, y, weights, rate, t = inputs
        y_pred = model(x, training=True)
        loss = _loss(model, y, y_pred, weights)
        outputs = [loss, *_metrics(model, y, y_pred)]
        parameters, optimizer = model.parameters, model.optimizer
        if parameters is not None:
            one = tensor(1.0, loss.dtype, backend=model.backend)
            g = parameters.pack(gradients(loss, parameters.variables, upstream=one))
            optimizer.update(parameters.theta, g, rate, t)
        return outputs

    return Step(model, record)


def weight_gradients(model: Sequential, x: Any, y: Any) -> list[np.ndarray[Any, Any]]:
    """∂L/∂w of the loss on a batch, for each trainable weight; 0 where the loss does not depend on it.

    As in an evaluation, dropout lets everything pass: drawing random numbers here would change those
    that the training draws next.
    """
    no_weights = tensor(np.zeros(0), backend=model.backend)
    loss = _loss(model, tensor(y, backend=model.backend), model(x), no_weights)
    found = gradients(loss, model.trainable_weights)
    pairs = zip(model.trainable_weights, found, strict=True)
    return [np.zeros(w.shape) if g is None else g.numpy() for w, g in pairs]


def _loss(model: Sequential, y: Tensor, y_pred: Tensor, weights: Tensor) -> Tensor:
    """The loss of the batch and what the regularizers charge. No weights: an empty tensor."""
    loss: Tensor = model.loss(y, y_pred, weights if weights.size else None)
    for penalty in model.losses:
        loss = TABLE["add"](loss, penalty)
    return loss


def _metrics(model: Sequential, y: Tensor, y_pred: Tensor) -> list[Tensor]:
    return [metric.batch_mean(y, y_pred) for metric in model.metrics]


__all__ = ["Step", "evaluation_step", "prediction_step", "training_step", "weight_gradients"]
