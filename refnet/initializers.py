r"""What the weights are before training.

All zero, every neuron of a layer would compute the same and learn the same. Random, they must have
the right size: the variance of a sum of n terms is n times that of a term, so signals grow or fade
from layer to layer unless weights are drawn with a variance of about 1/n. n is the *fan*: fan_in
inputs reach a neuron, fan_out neurons are reached by an input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from refnet import config, ops
from refnet.base.arguments import Number, optional_seed
from refnet.base.names import look_up, snake_case
from refnet.base.objects import Configured
from refnet.random import next_key

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a kernel (..., in, out): leading axes are a convolution's window."""
    if len(shape) < 2:
        n = math.prod(shape)
        return n, n
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


class Initializer(Configured):
    """Draws the first values of a weight: ``initializer(shape)`` is a NumPy array."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        """An array of this shape."""
        raise NotImplementedError

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v!r}" for k, v in vars(self).items())
        return f"{type(self).__name__}({given})"


class Constant(Initializer):
    """Every weight is `value`."""

    value = Number()

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return np.full(shape, self.value, config.dtype_name(dtype))


class Zeros(Constant):
    """Every weight is 0: for biases."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Ones(Constant):
    """Every weight is 1."""

    def __init__(self) -> None:
        super().__init__(1.0)


class RandomUniform(Initializer):
    """Uniform on [minval, maxval)."""

    minval, maxval = Number(), Number()

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        self.minval, self.maxval, self.seed = minval, maxval, optional_seed(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        key = next_key(self.seed, "weights")
        return _draw_uniform(key, shape, self.minval, self.maxval, dtype)


class RandomNormal(Initializer):
    """Normal: N(mean, stddev²)."""

    mean, stddev = Number(), Number(least=0)

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = mean, stddev, optional_seed(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        draw = ops.random.random_normal.function
        z: Array = draw(
            next_key(self.seed, "weights"), shape, self.mean, self.stddev, config.dtype_name(dtype)
        )
        return z


class TruncatedNormal(Initializer):
    """N(mean, stddev²), where numbers more than two stddev away are drawn again."""

    mean, stddev = Number(), Number(least=0)

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = mean, stddev, optional_seed(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return self.mean + self.stddev * _truncated(next_key(self.seed, "weights"), shape, dtype)


class VarianceScaling(Initializer):
    """Variance scale / fan: the parent of the Glorot, He and LeCun initializers.

    `mode` picks the fan ("fan_in", "fan_out", "fan_avg"), `distribution` the shape ("uniform", or
    "truncated_normal", whose stddev is corrected for the cut tails).
    """

    scale: ClassVar[float] = 1.0
    mode: ClassVar[str] = "fan_in"
    distribution: ClassVar[str] = "uniform"

    def __init__(self, seed: int | None = None) -> None:
        self.seed = optional_seed(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        key = next_key(self.seed, "weights")
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)  # the variance of uniform(-a, a) is a²/3
            return _draw_uniform(key, shape, -limit, limit, dtype)
        # 0.8796 is the standard deviation of a normal number cut off at ±2
        return math.sqrt(variance) / 0.87962566103423978 * _truncated(key, shape, dtype)


class GlorotUniform(VarianceScaling):
    """Uniform(±√(6 / (fan_in + fan_out))). Glorot and Bengio (2010). For sigmoid, tanh, softmax."""

    mode = "fan_avg"


class GlorotNormal(GlorotUniform):
    """Truncated normal with variance 2 / (fan_in + fan_out). Glorot and Bengio (2010)."""

    distribution = "truncated_normal"


class HeUniform(VarianceScaling):
    """Uniform(±√(6 / fan_in)). He et al. (2015). For ReLU, which halves the variance."""

    scale = 2.0


class HeNormal(HeUniform):
    """Truncated normal with variance 2 / fan_in. He et al. (2015)."""

    distribution = "truncated_normal"


class LecunUniform(VarianceScaling):
    """Uniform(±√(3 / fan_in)). LeCun et al. (1998). For SELU."""


class LecunNormal(VarianceScaling):
    """Truncated normal with variance 1 / fan_in. LeCun et al. (1998). For SELU."""

    distribution = "truncated_normal"


class Orthogonal(Initializer):
    """A random matrix with orthonormal columns (or rows): lengths are kept. Saxe et al. (2014)."""

    gain = Number()

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain, self.seed = gain, optional_seed(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = max(rows, columns), min(rows, columns)
        normal = ops.random.random_normal.function(
            next_key(self.seed, "weights"), tall, dtype="float64"
        )
        q, r = np.linalg.qr(normal)
        q = q * np.sign(np.diag(r))  # makes the draw uniform over all such matrices
        q = q if rows >= columns else q.T
        return (self.gain * q).reshape(shape).astype(config.dtype_name(dtype))


def _draw_uniform(key: Array, shape: Shape, low: float, high: float, dtype: Any) -> Array:
    draw = ops.random.random_uniform.function
    u: Array = draw(key, shape, low, high, config.dtype_name(dtype))
    return u


def _truncated(key: Array, shape: Shape, dtype: Any) -> Array:
    """Standard normal numbers within ±2: the first ones of a stream that is long enough."""
    count = math.prod(shape)
    drawn = ops.random.random_normal.function(
        key, (2 * count + 64,), dtype=config.dtype_name(dtype)
    )
    kept: Array = drawn[np.abs(drawn) <= 2][:count]
    return kept.reshape(shape)


INITIALIZERS: dict[str, type[Initializer]] = {
    snake_case(c.__name__): c
    for c in (
        *(Constant, Zeros, Ones, RandomUniform, RandomNormal, TruncatedNormal, GlorotUniform),
        *(GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal, Orthogonal),
    )
}


def get(identifier: str | Callable[..., Array] | None) -> Callable[..., Array]:
    """The initializer of this name; None is zeros."""
    found: Callable[..., Array] = look_up("initializer", identifier or "zeros", INITIALIZERS)
    return found
