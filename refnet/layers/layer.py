"""Layer: what all layers have in common. Weights that are made when the input shape is known."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from refnet import config, initializers, regularizers
from refnet.autograd.context import name_scope, writes_of
from refnet.autograd.tensor import Tensor, tensor
from refnet.autograd.variable import Variable
from refnet.backend import Backend
from refnet.backend.conversion import as_numbers
from refnet.base.arguments import truth
from refnet.base.dtypes import castable, is_float
from refnet.base.elsewhere import Explained
from refnet.base.names import snake_case, unique_name
from refnet.base.objects import Configured
from refnet.errors import ArgumentError, DTypeError, NotReadyError, RefnetError, ShapeError
from refnet.layers.building import Built, all_or_none, building
from refnet.ops import TABLE

Shape = tuple[int | None, ...]
#: whether the layer that is being called trains: those it calls do as it does, unless told otherwise
_training: ContextVar[bool] = ContextVar("training", default=False)


class Layer(Explained, Configured):
    """A function with weights.

    A subclass overrides `make_weights` (for an input shape), `call` (compute the output) and
    `compute_output_shape`. Shapes include the batch, whose length is None when it is open.

    A layer knows what it holds: the layers and variables among its attributes, in lists, tuples and
    dicts too, in the order in which the attributes were first set. Their weights, penalties and state
    are its own as well. What `call` gets is a tensor: floats of `config.floatx()` where an array was
    given, integers and truth values as they are.

    Parameters
    ----------
    name : what errors and summaries call it; made up from the class if not given.
    trainable : False freezes the weights.
    input_shape : the shape of one example, if this is the first layer of a model.
    """

    built: bool = False

    def __init__(
        self,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        self.name = name or unique_name(snake_case(type(self).__name__))
        self._trainable = truth(f"{self.name}: trainable", trainable)
        if isinstance(input_shape, int):
            raise ArgumentError(
                f"{self.name}: input_shape is a tuple, ({input_shape},) for one axis"
            )
        self.input_shape: Shape | None = None if input_shape is None else (None, *input_shape)
        self._first = input_shape is not None
        self._weights: list[Variable] = []
        self._state: list[Variable] = []
        self._penalties: list[tuple[regularizers.Regularizer, Variable]] = []
        self._takes_training = "training" in inspect.signature(self.call).parameters

    def __setattr__(self, name: str, value: Any) -> None:
        there = vars(self).get(name)
        if isinstance(value, (Layer, Variable)) and "_weights" not in vars(self):
            raise ArgumentError(
                f"{type(self).__name__}: call super().__init__() before setting {name}, which it holds"
            )
        if isinstance(there, Variable) and there is not value and there in self._weights:
            raise ArgumentError(
                f"{type(self).__name__} {self.name!r}: {name} is a weight, changed by {name}.assign(...)"
            )
        super().__setattr__(name, value)

    # -- what a subclass says ------------------------------------------------------------------

    def make_weights(self, input_shape: Shape) -> None:
        """Make the weights for inputs of this shape. Called once, before the first use."""

    def call(self, x: Any, training: bool = False) -> Any:
        """The output for a batch x."""
        raise NotImplementedError(
            f"{type(self).__name__} {self.name!r}: a subclass says in call(self, x) what it computes"
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output for inputs of this shape; the same, unless overridden."""
        return input_shape

    # -- what a user calls ---------------------------------------------------------------------

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Apply the layer to a batch, a tensor or an array, building it first if need be.

        `training`: whether what differs in training (dropout) does; if None as in the layer that calls
        this one, and False where none does.
        """
        if not isinstance(x, Tensor):
            x = as_batch(x, self._place())
        self._make_ready(x)
        with self._named(), self._updates_of(x), _in_mode(training) as trains:
            y = self.call(x, training=trains) if self._takes_training else self.call(x)
        self._check_output(x, y)
        return y

    def _place(self) -> Backend | None:
        """The backend its variables are on; None if it has none."""
        return next((v.backend for v in self.variables), None)

    def _make_ready(self, x: Tensor) -> None:
        """Build the layer for this batch, unless it is built, and check that the batch fits."""
        self.ensure_built(x.shape)

    def _named(self) -> contextlib.AbstractContextManager[Any]:
        """Where the ops of a call are named, in a graph and in messages."""
        return name_scope(self.name)

    @contextlib.contextmanager
    def _updates_of(self, x: Tensor) -> Iterator[None]:
        """In a graph, what a layer overwrites belongs to each step of the training."""
        if x.graph is None:
            yield
            return
        with writes_of() as written:
            yield
        x.graph.updates += [t for t in written if t.graph is x.graph]

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
        self._require_batch(input_shape)
        with all_or_none(self):
            self.make_weights(input_shape)
        self.input_shape = (None, *input_shape[1:])
        self.built = True

    def _require_batch(self, shape: Any) -> None:
        """Raise an error for what is no shape of a batch: a tuple that begins with its length."""
        if not isinstance(shape, (tuple, list)):
            raise ArgumentError(
                f"{type(self).__name__} {self.name!r}: an input shape is a tuple, such as (None, 3), "
                f"got {shape!r}"
            )
        if not shape:
            raise self.wrong_shape("(batch, ...)", ())

    def ensure_built(self, input_shape: Shape) -> None:
        """Build the layer unless it is built, and check that the input fits it."""
        self._require_batch(input_shape)
        with building:  # by one thread
            if not self.built:
                self.build(input_shape)
        if not self.built:  # a subclass brought a `build` of its own, as in Keras
            self.input_shape, self.built = (None, *input_shape[1:]), True
        self.check_input(input_shape)

    def build_inner(self, x: Tensor) -> None:
        """Build the layers within this one that are built when they are first called: by a call.

        With a placeholder nothing is computed and no random number drawn. A `call` that asks for
        values needs some: the first batch. Errors are not raised here: what is wrong will be seen.
        """
        for training in (False, True):
            if self.all_built():
                return
            before = Built(self)
            with contextlib.suppress(Exception):
                self(x, training=training)
            before.restore_values()  # nothing has been counted yet

    def all_built(self) -> bool:
        """Whether this layer and all layers within it are built."""
        return all(layer.built for layer in self.flattened())

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
        self._weights.append(variable)
        penalty = regularizers.get(regularizer)
        if penalty is not None:
            self._penalties.append((penalty, variable))
        return variable

    def add_state(self, values: Any, name: str = "state") -> Variable:
        """Make a variable that changes in a call and is no weight, such as a key of random numbers."""
        variable = Variable(values, name=f"{self.name}/{name}", trainable=False)
        self._state.append(variable)
        return variable

    # -- what it holds -------------------------------------------------------------------------

    def _contents(self) -> Any:
        """Where its layers and variables are found: its attributes."""
        return vars(self)

    def flattened(self) -> list[Layer]:
        """The layer and all layers within it, each once: a layer stands before those it holds."""
        return [x for x in _held(self) if isinstance(x, Layer)]

    @property
    def variables(self) -> list[Variable]:
        """All variables of this layer and of those within it, each once: weights and state."""
        return [x for x in _held(self) if isinstance(x, Variable)]

    @property
    def weights(self) -> list[Variable]:
        """All variables but the state, in the order of `get_weights`: its own, then inner layers'."""
        state = set(map(id, self.state))
        return [v for v in self.variables if id(v) not in state]

    @property
    def state(self) -> list[Variable]:
        """What changes in a call and is no weight: the keys of random numbers."""
        return list({id(v): v for layer in self.flattened() for v in layer._state}.values())

    @property
    def trainable(self) -> bool:
        """Whether the layer may learn. Setting it sets it for the layers within as well."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        value = truth(f"{self.name}: trainable", value)
        for layer in self.flattened():
            layer._trainable = value

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights an optimizer may change: those that no frozen layer holds."""
        frozen = {
            id(v) for layer in self.flattened() if not layer._trainable for v in layer.variables
        }
        return [w for w in self.weights if w.trainable and id(w) not in frozen]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights it may not: frozen ones, counters, running means."""
        trainable = set(map(id, self.trainable_weights))
        return [w for w in self.weights if id(w) not in trainable]

    @property
    def trainable_variables(self) -> list[Variable]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def losses(self) -> list[Any]:
        """What the regularizers charge for the current weights: add them to the loss in your own loop."""
        return [penalty(w) for layer in self.flattened() for penalty, w in layer._penalties]

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the weights, as NumPy arrays."""
        return [np.array(w.numpy()) for w in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Overwrite the weights with arrays of the same shapes, in the order of `get_weights`."""
        assign_all(f"{type(self).__name__} {self.name!r}", self.weights, weights)

    def get_config(self) -> dict[str, Any]:
        """What the layer was made with, as data; an input shape if it was given one. No weights."""
        return super().get_config()

    def _written(self, name: str) -> Any:
        if name == "input_shape":
            return [*(self.input_shape or ())[1:]] if self._first else None
        return super()._written(name)

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        return sum(w.size for w in self.weights)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def as_batch(x: Any, backend: Backend | None = None) -> Tensor:
    """What is no tensor as one: floats of `config.floatx()`, integers and truth values as they are."""
    batch = tensor(x, backend=backend)
    if not is_float(batch.dtype) or batch.dtype == config.floatx():
        return batch
    cast: Tensor = TABLE["cast"](batch, dtype=config.floatx())
    return cast


@contextlib.contextmanager
def _in_mode(training: bool | None) -> Iterator[bool]:
    """What is called within trains, or does not; None: as what stands around it."""
    token = _training.set(_training.get() if training is None else training)
    try:
        yield _training.get()
    finally:
        _training.reset(token)


def _held(root: Layer) -> Iterator[Layer | Variable]:
    """A layer, and the variables and layers it holds, each once: its variables before its layers'."""
    seen: set[int] = set()
    layers: list[Layer] = [root]
    while layers:
        layer = layers.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        inner = []
        for x in within(layer._contents()):
            if isinstance(x, Layer):
                inner.append(x)
            elif id(x) not in seen:
                seen.add(id(x))
                yield x
        layers += reversed(inner)


def within(x: Any) -> Iterator[Layer | Variable]:
    """The layers and variables in lists, tuples and dicts, nested to any depth, in their order."""
    if isinstance(x, (Layer, Variable)):
        yield x
    elif isinstance(x, (dict, list, tuple)):
        for part in [*x.values()] if isinstance(x, dict) else x:
            yield from within(part)


def assign_all(owner: str, variables: Sequence[Variable], values: Sequence[Any]) -> None:
    """Overwrite variables with arrays, all or none: everything is checked before anything changes."""
    if not isinstance(values, (list, tuple, np.ndarray)):
        raise ArgumentError(f"{owner}: weights are a list of arrays, got {values!r}")
    if len(values) != len(variables):
        raise ShapeError(f"{owner} has {len(variables)} weights, got {len(values)} arrays")
    arrays = []
    for variable, value in zip(variables, values, strict=True):
        if variable.graph is not None:
            raise NotReadyError(
                f"{owner}: {variable.name!r} has its value in a session: session.assign sets it there"
            )
        try:
            array = as_numbers(value, None)
            if not castable(str(array.dtype), variable.dtype):
                raise DTypeError(f"it holds {variable.dtype}, got {array.dtype}")
            arrays.append(array.astype(variable.dtype, copy=False))
        except (TypeError, ValueError, RefnetError) as error:
            raise DTypeError(f"{owner}: weight {variable.name!r} cannot be set: {error}") from error
        if arrays[-1].shape != variable.shape:
            raise ShapeError(
                f"{owner}: weight {variable.name!r} has shape {variable.shape}, got {np.shape(value)}"
            )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
