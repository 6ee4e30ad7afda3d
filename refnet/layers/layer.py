"""Layer: what all layers have in common. Weights that are made when the input shape is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from refnet import config, initializers, regularizers
from refnet.errors import ArgumentError, DTypeError, NotReadyError, ShapeError
from refnet.naming import snake_case, unique_name
from refnet.scope import name_scope
from refnet.tensor import Tensor, Variable, tensor

Shape = tuple[int | None, ...]


class Layer:
    """A function with weights.

    A subclass overrides `make_weights` (for an input shape), `call` (compute the output) and
    `compute_output_shape`. Shapes include the batch, whose length is None when it is open.

    Parameters
    ----------
    name : what errors and summaries call it; made up from the class if not given.
    trainable : False freezes the weights.
    input_shape : the shape of one example, if this is the first layer of a model.
    """

    def __init__(
        self,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        self.name = name or unique_name(snake_case(type(self).__name__))
        self.trainable = trainable
        if isinstance(input_shape, int):
            raise ArgumentError(
                f"{self.name}: input_shape is a tuple, ({input_shape},) for one axis"
            )
        self.input_shape: Shape | None = None if input_shape is None else (None, *input_shape)
        self.built = False
        self.weights: list[Variable] = []
        #: what changes in a call and is no weight: the keys of random numbers
        self.state: list[Variable] = []
        #: tensors made by in-place updates during the last call: a traced step has to run them too
        self.updates: list[Tensor] = []
        self._penalties: list[tuple[regularizers.Regularizer, Variable]] = []
        self._takes_training = "training" in inspect.signature(self.call).parameters

    # -- what a subclass says ------------------------------------------------------------------

    def make_weights(self, input_shape: Shape) -> None:
        """Make the weights for inputs of this shape. Called once, before the first use."""

    def call(self, x: Any, training: bool = False) -> Any:
        """The output for a batch x."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output for inputs of this shape; the same, unless overridden."""
        return input_shape

    # -- what a user calls ---------------------------------------------------------------------

    def __call__(self, x: Any, training: bool = False) -> Any:
        """Apply the layer to a batch, a tensor or an array, building it first if need be."""
        if not isinstance(x, Tensor):
            own = isinstance(x, (list, tuple, np.ndarray))
            there = self.weights[0].backend if self.weights else None
            x = tensor(np.asarray(x, config.floatx()) if own else x, backend=there)
        self.ensure_built(x.shape)
        self.updates = []
        with name_scope(self.name):
            y = self.call(x, training=training) if self._takes_training else self.call(x)
        for update in self.updates:
            if update.graph is not None:
                update.graph.updates.append(update)
        self._check_output(x, y)
        return y

    def _check_output(self, x: Tensor, y: Tensor) -> None:
        """The layers that follow were built for the promised shape: what came has to have it."""
        if y.value is None:
            return
        promised = self.compute_output_shape(x.shape)
        if y.shape != promised:
            raise ShapeError(
                f"{type(self).__name__} {self.name!r} returned the shape {y.shape}, but its "
                f"compute_output_shape says {promised}"
            )

    def build(self, input_shape: Shape) -> None:
        """Make the weights for inputs of this shape, unless they are made; all of them, or none."""
        if self.built:
            return
        try:
            self.make_weights(input_shape)
        except Exception:
            self.weights, self.state, self._penalties = [], [], []
            raise
        self.input_shape = (None, *input_shape[1:])
        self.built = True

    def ensure_built(self, input_shape: Shape) -> None:
        """Build the layer unless it is built, and check that the input fits it."""
        if not self.built:
            self.build(input_shape)
        if not self.built:  # a subclass brought a `build` of its own, as in Keras
            self.input_shape, self.built = (None, *input_shape[1:]), True
        self.check_input(input_shape)

    def check_input(self, shape: Shape) -> None:
        """Raise a ShapeError if inputs of this shape do not fit."""

    def wrong_shape(self, expected: str, got: Shape, hint: str = "") -> ShapeError:
        """The error for an input that does not fit, naming the layer."""
        if len(got) == 1:
            hint = ": x[None] makes a batch of one example, x[:, None] one input of each number"
        return ShapeError(
            f"{type(self).__name__} {self.name!r} expects inputs of shape {expected}, got "
            f"({', '.join('batch' if n is None else str(n) for n in got)}){hint}"
        )

    def add_weight(
        self,
        shape: tuple[int, ...],
        initializer: str | Callable[..., Any] = "glorot_uniform",
        dtype: Any = None,
        trainable: bool = True,
        regularizer: str | regularizers.Regularizer | None = None,
        name: str = "weight",
    ) -> Variable:
        """Make a weight, drawn by NumPy so that it is the same on every backend."""
        values = initializers.get(initializer)(shape, config.dtype_name(dtype))
        variable = Variable(values, name=f"{self.name}/{name}", trainable=trainable)
        self.weights.append(variable)
        penalty = regularizers.get(regularizer)
        if penalty is not None:
            self._penalties.append((penalty, variable))
        return variable

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights an optimizer may change."""
        return [w for w in self.weights if w.trainable and self.trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights it may not: frozen ones, counters, running means."""
        return [w for w in self.weights if not (w.trainable and self.trainable)]

    @property
    def losses(self) -> list[Any]:
        """What the regularizers charge for the current weights."""
        return [penalty(w) for penalty, w in self._penalties]

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the weights, as NumPy arrays."""
        return [np.array(w.numpy()) for w in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Overwrite the weights with arrays of the same shapes, in the order of `get_weights`."""
        assign_all(f"{type(self).__name__} {self.name!r}", self.weights, weights)

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        return sum(w.size for w in self.weights)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def assign_all(owner: str, variables: Sequence[Variable], values: Sequence[Any]) -> None:
    """Overwrite variables with arrays, all or none: everything is checked before anything changes."""
    if len(values) != len(variables):
        raise ShapeError(f"{owner} has {len(variables)} weights, got {len(values)} arrays")
    arrays = []
    for variable, value in zip(variables, values, strict=True):
        if variable.graph is not None:
            raise NotReadyError(
                f"{owner}: {variable.name!r} has its value in a session: session.assign sets it there"
            )
        try:
            arrays.append(np.asarray(value, variable.dtype))
        except (TypeError, ValueError) as error:
            raise DTypeError(f"{owner}: weight {variable.name!r} cannot be set: {error}") from error
        if arrays[-1].shape != variable.shape:
            raise ShapeError(
                f"{owner}: weight {variable.name!r} has shape {variable.shape}, got {np.shape(value)}"
            )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
