"""Model: a layer of layers that can be trained. A subclass says in `call` how they are put together."""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from refnet import backend as backends
from refnet import random
from refnet.autograd.context import outside_graphs
from refnet.autograd.tensor import Tensor, tensor
from refnet.errors import ArgumentError, unknown_name
from refnet.graph.graph import Graph, placeholder
from refnet.layers.building import Built, all_or_none, building, slots_of
from refnet.layers.layer import Layer, Shape
from refnet.models.table import overview
from refnet.models.trainer import Trainer
from refnet.optimizers.optimizer import model_of


class Model(Trainer):
    """A network of your own: its layers are attributes, `call` says how they are put together.

    A model is a layer, and may stand within another one. Models may share layers, and each trains them
    as if it were alone with them.

    The shape of the output is found by calling `call` on a placeholder, which has a shape and no values.
    A `call` that asks for values (``if x.sum() > 0:``) is called on the first example instead; such a
    model trains with ``compile(..., run_eagerly=True)``.

    Examples
    --------
    >>> from refnet import Model, layers
    >>> class Residual(Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = layers.Dense(3, activation="tanh")
    ...         self.out = layers.Dense(1)
    ...
    ...     def call(self, x):
    ...         return self.out(x + self.hidden(x))
    >>> model = Residual()
    >>> model.compile("adam", "mean_squared_error")
    >>> history = model.fit([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]], [[0.0], [2.0]], epochs=2, verbose=0)
    >>> model.output_shape, model.count_params()
    ((None, 1), 16)
    """

    __slots__ = ("_shapes",)

    def __init__(self, name: str | None = None, **common: Any) -> None:
        super().__init__(name, **common)
        #: output shapes that are known, without the batch: by the settings and the input's shape
        self._shapes: dict[tuple[Any, ...], Shape] = {}

    # -- what it consists of -------------------------------------------------------------------

    def get_layer(self, name: str) -> Layer:
        """The layer of this name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise unknown_name("layer", name, [layer.name for layer in self.layers])

    def layer_shapes(self) -> list[Shape | None]:
        """The output shape of each layer, where it is known."""
        return [
            layer.compute_output_shape(layer.input_shape)
            if layer.all_built() and layer.input_shape
            else None
            for layer in self.layers
        ]

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print the layers, their output shapes and how many parameters each has."""
        for line in overview(self):
            print_fn(line)

    # -- building ------------------------------------------------------------------------------

    @property
    def built(self) -> bool:  # type: ignore[override]
        """True once the weights are made."""
        return self.output_shape is not None

    @outside_graphs()
    def build(self, input_shape: Shape) -> None:
        """Make the weights of all layers for inputs of this shape (with the batch, None)."""
        if self.built:
            return
        self._require_batch(input_shape)
        with self._building():
            self.make_weights(input_shape)
            shape = self._traced(input_shape)
            self._note(input_shape, shape)

    @contextlib.contextmanager
    def _building(self) -> Iterator[None]:
        """By one thread, on the model's backend, all or none; models within it go where it is."""
        for inner in self._models():
            if all(v.backend is self.backend for v in inner.variables):
                inner.backend = self.backend
        restored = contextlib.nullcontext() if self.built else all_or_none(self)
        with building, backends.use_backend(self.backend), restored:
            yield

    def _note(self, input_shape: Shape, output_shape: Shape) -> None:
        """From now on it is built, for inputs of this shape."""
        self.input_shape = (None, *input_shape[1:])
        self.output_shape = (None, *output_shape[1:])
        self._shapes[self.settings.number(), *input_shape[1:]] = output_shape[1:]

    def ensure_built(self, input_shape: Shape) -> None:
        if self.built:
            return
        with self._building():
            self.build(input_shape)
            if not self.built:  # a subclass brought a `build` of its own, as in Keras
                Model.build(self, input_shape)

    def _make_ready(self, x: Tensor) -> None:
        """Build it for a batch: by its shape; by calling it on an example where that is not enough."""
        self._require_here()
        if self.built:
            return
        try:
            self.ensure_built(x.shape)
        except Exception as error:
            if x.value is None:
                raise
            with _the_clearer(error), self._building():
                before = Built(self)
                shape = self._called(x[:1])
                before.restore_values()
                self._note(x.shape, shape)

    def _ensure_built(self, x: np.ndarray[Any, Any]) -> None:
        """Build the model for these inputs, if it is not built, and all layers within layers."""
        if self.built and self.all_built():
            return
        example = tensor(x[:1], backend=self.backend)
        self._make_ready(example)
        if not self.all_built():
            with building, backends.use_backend(self.backend):
                self.build_inner(example)

    # -- shapes --------------------------------------------------------------------------------

    @outside_graphs()
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output for inputs of this shape. Nothing is built."""
        key = (self.settings.number(), *input_shape[1:])
        if key not in self._shapes:
            shape = self._traced(input_shape) if self.built else self._if_built(input_shape)
            self._shapes[key] = shape[1:]
        return (input_shape[0], *self._shapes[key])

    def _if_built(self, input_shape: Shape) -> Shape:
        """The shape of the output if it were built for inputs of this shape; it is unbuilt afterwards."""
        before, draws = Built(self), random.get_state()
        try:
            self.ensure_built(input_shape)
            assert self.output_shape is not None
            return self.output_shape
        finally:
            before.restore()
            random.set_state(draws)

    def _fitting(self, x: np.ndarray[Any, Any]) -> Shape:
        example = tensor(x[:1], backend=self.backend)
        self._make_ready(example)
        try:
            return self.compute_output_shape(x.shape)
        except Exception as error:  # `call` asks for values, or for integers
            with _the_clearer(error), backends.use_backend(self.backend):
                before = Built(self)
                shape = self._called(example)
                before.restore_values()
            return (len(x), *shape[1:])

    def _traced(self, input_shape: Shape) -> Shape:
        """The output's shape, from calling it on a placeholder for any number of examples, or for one."""
        try:
            return self._called(_waiting((None, *input_shape[1:])))
        except Exception as error:
            with _the_clearer(error):
                return self._called(_waiting((1, *input_shape[1:])))

    def _called(self, x: Tensor) -> Shape:
        """The output's shape, from a call."""
        with self._named():
            y = self.call(x, training=False) if self._takes_training else self.call(x)
        if not isinstance(y, Tensor) or not y.shape:
            raise ArgumentError(
                f"{type(self).__name__} {self.name!r}: call returns a tensor with a row for each "
                f"example, got {y.shape if isinstance(y, Tensor) else type(y).__name__}"
            )
        return y.shape

    def _check_output(self, x: Tensor, y: Tensor) -> None:
        """Its layers have checked theirs."""

    # -- computing -----------------------------------------------------------------------------

    def _place(self) -> backends.Backend:
        return self.backend

    def _named(self) -> contextlib.AbstractContextManager[Any]:
        """Its layers have their names; what `call` makes is made where the model is."""
        return backends.use_backend(self.backend)

    # -- copies --------------------------------------------------------------------------------

    def __reduce__(self) -> Any:
        raise ArgumentError(
            f"{self.name}: a model is not pickled: copy.deepcopy copies it, get_weights() its numbers"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A model of its own: with copies of layers, weights and memory, which it gathers anew."""
        if self._compiled is not None:
            self._compiled[0].rearrange(self._parameters, None)
        self._parameters, self._gathered_at, self._steps, self._shapes = None, None, {}, {}
        made = object.__new__(type(self))
        memo[id(self)] = made
        vars(made).update(copy.deepcopy(vars(self), memo))
        for name in slots_of(self):
            if name not in ("settings", "_position"):
                setattr(made, name, copy.deepcopy(getattr(self, name), memo))
        made._position = None
        if made._compiled is not None:
            model_of[made.optimizer] = weakref.ref(made)
        made._look_at_settings()
        return made

    def __repr__(self) -> str:
        many, where = len(self.layers), self.backend.name
        return f"<{type(self).__name__} {self.name!r} of {many} layers on {where}>"


def _waiting(shape: Shape) -> Tensor:
    with Graph():
        return placeholder(shape)


@contextlib.contextmanager
def _the_clearer(first: Exception) -> Iterator[None]:
    """Of two tries that fail alike the first error is raised; else that of the second."""
    try:
        yield
    except Exception as second:
        raise (first if type(second) is type(first) else second) from None


__all__ = ["Model"]
