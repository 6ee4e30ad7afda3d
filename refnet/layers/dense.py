"""Dense: a layer of neurons, each connected to every input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from refnet import activations, initializers, regularizers
from refnet.base.arguments import Checked, Named, truth, whole_number
from refnet.layers.layer import Layer, Shape
from refnet.op import Op
from refnet.ops import TABLE


class Dense(Layer):
    r"""y = f(x W + b)

    Every neuron weighs all inputs, adds its bias (the threshold it has to cross), and passes the sum
    through the activation f. Shapes: x (batch, ..., inputs), W (inputs, units), b (units,),
    y (batch, ..., units).

    Parameters
    ----------
    units : how many neurons.
    activation : name or function; None is linear.
    use_bias : whether there is a b.
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer
        Names or objects, see `refnet.initializers` and `refnet.regularizers`.
    """

    units = Checked(whole_number, fixed=True)
    activation = Named(activations.get)
    use_bias = Checked(truth)
    kernel_initializer = Named(initializers.get, fixed=True)
    bias_initializer = Named(initializers.get, fixed=True)
    kernel_regularizer = Named(regularizers.get, fixed=True)
    bias_regularizer = Named(regularizers.get, fixed=True)

    def __init__(
        self,
        units: int,
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        kernel_initializer: str | Callable[..., Any] = "glorot_uniform",
        bias_initializer: str | Callable[..., Any] = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.units, self.activation, self.use_bias = units, activation, use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer

    def make_weights(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # raises if it has no last axis to connect
        inputs = input_shape[-1]
        assert inputs is not None
        self.kernel = self.add_weight(
            (inputs, self.units),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            name="kernel",
        )
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,), self.bias_initializer, regularizer=self.bias_regularizer, name="bias"
            )

    def check_input(self, shape: Shape) -> None:
        inputs = self.kernel.shape[0]
        if len(shape) < 2 or shape[-1] != inputs:
            flattened = (
                len(shape) > 2 and all(shape[1:]) and math.prod(n or 0 for n in shape[1:]) == inputs
            )
            hint = ": add Flatten() before it" if flattened else ""
            raise self.wrong_shape(f"(batch, {inputs})", shape, hint)

    def call(self, x: Any, training: bool = False) -> Any:
        f = self.activation
        fused = isinstance(f, Op) and f.activation
        if not self.use_bias:
            return f(TABLE["matmul"](x, self.kernel))
        if fused:
            return TABLE["linear"](x, self.kernel, self.bias, activation=f.__name__)[0]
        return f(TABLE["linear"](x, self.kernel, self.bias)[0])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise self.wrong_shape("(batch, inputs)", input_shape)
        return (*input_shape[:-1], self.units)
