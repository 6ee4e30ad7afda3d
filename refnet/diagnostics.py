r"""What can go wrong inside a deep network, measured: gradients that vanish, neurons that are dead.

Back-propagation multiplies one factor a layer, so a gradient shrinks or grows geometrically on its
way down. With z_l the weighted sums of layer l and f the activation,

    ∂L/∂z_l = f'(z_l) · (∂L/∂z_{l+1} W_{l+1}ᵀ)

For the sigmoid f' is 1/4 at most, so L layers of orthogonal weights (which keep lengths) leave
(1/4)^L of a gradient, or less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnet import activations, config, initializers
from refnet.autograd.backpropagation import gradients
from refnet.autograd.tensor import tensor
from refnet.errors import ArgumentError, DataError
from refnet.layers import Dense, Layer, ReLU
from refnet.models.sequential import Sequential
from refnet.ops import TABLE

Array = np.ndarray[Any, Any]

#: activations that are flat at 0: where their output is 0 in every example, no gradient comes through
FLAT_AT_ZERO = (TABLE["relu"], TABLE["relu6"])


def gradient_norms(
    depth: int,
    activation: str | Callable[..., Any] = "sigmoid",
    width: int = 64,
    initializer: str = "glorot_uniform",
    seed: int = 0,
    batch: int = 32,
) -> Array:
    r"""‖∂L/∂z_l‖ for each layer l = 1 … depth of a network as it is before training.

    The network is `depth` Dense layers of `width` units, all with this activation and biases of 0.
    Its inputs are standard normal; the gradient that enters at the top, ∂L/∂a_depth, is random and
    has norm 1 over the whole batch, so that what comes out is the share of it that arrives.

    Examples
    --------
    >>> norms = gradient_norms(20, "sigmoid")
    >>> bool(norms[0] < 1e-9 * norms[-1])
    True
    """
    if not isinstance(initializer, str):
        raise ArgumentError(
            f"initializer is a name, so that each layer draws anew: {initializer!r}"
        )
    if min(depth, width, batch) < 1:
        raise ArgumentError(
            f"depth, width and batch are at least 1, got {depth}, {width} and {batch}"
        )
    rng = np.random.default_rng(seed)
    f = activations.get(activation)
    upstream = rng.standard_normal((batch, width))
    a = tensor(rng.standard_normal((batch, width)))
    sums = []
    for _ in range(depth):
        draw = initializers.get(initializer)
        vars(draw)["seed"] = int(rng.integers(2**32))
        sums.append(Dense(width, kernel_initializer=draw)(a))
        a = f(sums[-1])
    found = gradients(a, sums, upstream=tensor(upstream / np.linalg.norm(upstream)))
    return np.array([np.linalg.norm(g.numpy()) for g in found])


@dataclass(frozen=True)
class DeadNeurons:
    """The units of a layer that are 0 for every example, and so learn nothing from any of them."""

    layer: str
    units: int
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __str__(self) -> str:
        which = f": {', '.join(map(str, self.indices[:9]))}" if self.indices else ""
        which += ", ..." if len(self) > 9 else ""
        return f"{self.layer}: {len(self)} of {self.units} units are dead{which}"


def dead_neurons(model: Sequential, x: Any) -> list[DeadNeurons]:
    """For each layer of a Sequential model with a ReLU (or ReLU6): which units are 0 for all of x.

    A unit is an entry of the last axis: a neuron of a Dense layer, a channel of an image. Units of
    other activations have a gradient on both sides of 0; their layers are not listed.

    Examples
    --------
    >>> from refnet import Sequential, layers
    >>> model = Sequential([layers.Dense(3, "relu", input_shape=(2,), name="hidden")])
    >>> model.set_weights([np.ones((2, 3)), [0.0, -9.0, 0.0]])
    >>> print(*dead_neurons(model, [[1.0, 2.0], [3.0, 4.0]]))
    hidden: 1 of 3 units are dead: 1
    """
    if not isinstance(model, Sequential):
        raise ArgumentError(
            f"dead_neurons: {model!r} is no Sequential, whose layers are applied one after the other"
        )
    values = np.asarray(x, config.floatx())
    if not len(values):
        raise DataError("dead_neurons needs examples: of none, every unit would be dead")
    a = tensor(values, backend=model.backend)
    model(a)  # builds the model if need be, and complains if x does not fit
    found = []
    for layer in model.layers:
        a = layer(a)
        if _flat_at_zero(layer):
            off = (a.numpy() == 0).reshape(-1, a.shape[-1]).all(axis=0)
            found.append(DeadNeurons(layer.name, len(off), tuple(np.flatnonzero(off).tolist())))
    return found


def _flat_at_zero(layer: Layer) -> bool:
    f = TABLE["relu"] if isinstance(layer, ReLU) else getattr(layer, "activation", None)
    return f in FLAT_AT_ZERO
