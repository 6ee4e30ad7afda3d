"""Sequential: layers in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from refnet.autograd.context import outside_graphs
from refnet.base.objects import written
from refnet.errors import ArgumentError, DTypeError, NotReadyError
from refnet.graph.graph import Graph, placeholder
from refnet.layers.described import made
from refnet.layers.layer import Layer, Shape
from refnet.models.model import Model

#: what a model within this one raises whose shapes show only with a batch: `call` asks for values, or
#: for integers
LATER = (NotReadyError, DTypeError)


class Sequential(Model):
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
        self._layers: list[Layer] = []
        super().__init__(name)
        if isinstance(layers, Layer):
            raise ArgumentError(f"{self.name}: layers is a list, [{layers.name}, ...]")
        for layer in layers:
            self.add(layer)

    @property
    def layers(self) -> list[Layer]:
        """The layers, in the order in which they are applied."""
        return self._layers

    def add(self, layer: Layer) -> None:
        """Append a layer."""
        if not isinstance(layer, Layer):
            raise ArgumentError(f"{self.name}: add() takes a layer, got {layer!r}")
        if layer in self.layers:
            raise ArgumentError(f"{self.name}: layer {layer.name!r} is in the model already")
        if self in layer.flattened():
            raise ArgumentError(f"{self.name}: {layer.name!r} is or holds this very model")
        self.layers.append(layer)
        try:
            first = self.layers[0].input_shape
            if first is not None:
                self.build(first)
        except LATER:
            self.output_shape = None  # built by the first batch
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
        self._require_batch(input_shape)
        self.compute_output_shape(input_shape)  # raises before anything is built
        shape: Shape = (None, *input_shape[1:])
        with self._building():
            for layer in self.layers:
                layer.ensure_built(shape)
                if not layer.all_built():
                    with Graph():
                        x = placeholder(shape)
                    layer.build_inner(x)
                shape = layer.compute_output_shape(shape)
            self._note(input_shape, shape)

    def check_input(self, shape: Shape) -> None:
        self.compute_output_shape(shape)

    def _contents(self) -> Any:
        return self._layers

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output for inputs of this shape. Nothing is built; what is must fit."""
        shape: Shape = (None, *input_shape[1:])
        for layer in self.layers:
            if layer.built:
                layer.check_input(shape)
            shape = layer.compute_output_shape(shape)
        return shape

    def _fitting(self, x: np.ndarray[Any, Any]) -> Shape:
        if not self.layers:
            raise NotReadyError(f"{self.name} has no layers")
        try:
            return self.compute_output_shape(x.shape)
        except (
            NotReadyError,
            DTypeError,
        ):  # a model within it that asks for values, or for integers
            return super()._fitting(x)

    def layer_shapes(self) -> list[Shape | None]:
        """The output shape of each layer, where it is known."""
        shapes: list[Shape | None] = []
        shape = self.layers[0].input_shape if self.layers else None
        for layer in self.layers:
            shape = layer.compute_output_shape(shape) if shape else None
            shapes.append(shape)
        return shapes

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in self.layers:
            x = layer(x, training=training)
        return x

    @property
    def trainable(self) -> bool:
        """Whether any layer may learn. Setting it sets it for all layers."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = bool(value)

    def get_config(self) -> dict[str, Any]:
        """The layers as data, without weights and without what `compile` was given."""
        return {"name": self.name, "layers": [written(self.name, layer) for layer in self.layers]}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """A model of the same layers, not compiled. `custom_objects` maps names to layers of yours."""
        known = {"Sequential": Sequential, **(custom_objects or {})}
        return super().from_config({**config, "layers": made(config["layers"], known)})
