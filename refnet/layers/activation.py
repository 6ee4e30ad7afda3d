"""Activations as layers of their own: for those with options, or with weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from refnet import activations, initializers, regularizers
from refnet.base.arguments import Checked, Named, Number, whole_number
from refnet.layers.layer import Layer, Shape
from refnet.ops import TABLE


class Activation(Layer):
    """y = f(x) for any activation, by name or as a function."""

    activation = Named(activations.get)

    def __init__(self, activation: str | Callable[..., Any], **common: Any) -> None:
        super().__init__(**common)
        self.activation = activation

    def call(self, x: Any, training: bool = False) -> Any:
        return self.activation(x)


class ReLU(Layer):
    r"""y = max(0, x)"""

    def call(self, x: Any, training: bool = False) -> Any:
        return TABLE["relu"](x)


class LeakyReLU(Layer):
    r"""y = x for x > 0, else negative_slope · x. The course's slope is 0.1."""

    negative_slope = Number()

    def __init__(self, negative_slope: float = 0.1, **common: Any) -> None:
        super().__init__(**common)
        self.negative_slope = negative_slope

    def call(self, x: Any, training: bool = False) -> Any:
        return TABLE["leaky_relu"](x, negative_slope=self.negative_slope)


class ELU(Layer):
    r"""y = x for x ≥ 0, else α (eˣ - 1)"""

    alpha = Number()

    def __init__(self, alpha: float = 1.0, **common: Any) -> None:
        super().__init__(**common)
        self.alpha = alpha

    def call(self, x: Any, training: bool = False) -> Any:
        return TABLE["elu"](x, alpha=self.alpha)


class Softmax(Layer):
    r"""y_i = e^{x_i} / Σ_j e^{x_j} along an axis"""

    axis = Checked(partial(whole_number, least=None))

    def __init__(self, axis: int = -1, **common: Any) -> None:
        super().__init__(**common)
        self.axis = axis

    def call(self, x: Any, training: bool = False) -> Any:
        return TABLE["softmax"](x, axis=self.axis)


def _axes(what: str, axes: int | Sequence[int] | None) -> tuple[int, ...]:
    given = (axes,) if isinstance(axes, int) else tuple(axes or ())
    return tuple(whole_number(f"{what}: an axis", axis, least=None) for axis in given)


class PReLU(Layer):
    r"""y = x for x > 0, else α · x, where the slope α is learned

    There is one α for each element of an example; `shared_axes` lists axes along which one α serves
    all, such as (1, 2) for an image with one slope a channel. He et al. (2015), arXiv:1502.01852.
    """

    alpha_initializer = Named(initializers.get, fixed=True)
    alpha_regularizer = Named(regularizers.get, fixed=True)
    shared_axes = Checked(_axes, fixed=True)

    def __init__(
        self,
        alpha_initializer: str | Callable[..., Any] = "zeros",
        alpha_regularizer: Any = None,
        shared_axes: Sequence[int] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.alpha_initializer, self.alpha_regularizer = alpha_initializer, alpha_regularizer
        self.shared_axes = shared_axes

    def make_weights(self, input_shape: Shape) -> None:
        lengths = list(input_shape)
        for axis in self.shared_axes:
            if not 0 < axis < len(lengths):
                raise self.wrong_shape(f"with an axis {axis} (shared_axes)", input_shape)
            lengths[axis] = 1
        if any(n is None for n in lengths[1:]):
            raise self.wrong_shape("with known lengths", input_shape)
        self.alpha = self.add_weight(
            tuple(n or 0 for n in lengths[1:]),
            self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            name="alpha",
        )

    def check_input(self, shape: Shape) -> None:
        if self.input_shape and self.alpha.ndim != len(shape) - 1:
            raise self.wrong_shape(str(self.input_shape), shape)

    def call(self, x: Any, training: bool = False) -> Any:
        return TABLE["prelu"](x, self.alpha)
