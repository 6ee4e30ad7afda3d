"""A backend on one page: PyTorch's own functions under refnet's names.

It knows the ops that a network of dense layers trains with, and no more: any other is an error that
names it, and `refnet check --backend torch_example` lists them. The pyproject.toml beside this file makes
it known to refnet when it is installed; without that, in a checkout, it trains a network:

    python docs/examples/torch_example/torch_example.py
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from refnet.backend import Backend
from refnet.errors import BackendError
from refnet.ops import TABLE


class Array(torch.Tensor):
    """A tensor of this backend: refnet tells whose an array is by its type."""


class TorchBackend(Backend):
    name = "torch_example"
    array_type = Array
    dtypes = ("float32", "float64")

    def function(self, op):
        if op.name not in OPS:
            raise BackendError(f"backend {self.name!r} has no op {op.name!r}")
        return OPS[op.name]

    def array(self, values, dtype=None):
        kind = getattr(torch, dtype) if dtype else None
        if isinstance(values, torch.Tensor):
            return values.to(dtype=kind, copy=True).as_subclass(Array)
        return torch.as_tensor(np.array(values), dtype=kind).as_subclass(Array)

    def numpy(self, array):
        return array.detach().as_subclass(torch.Tensor).numpy()

    def dtype(self, array):
        return str(array.dtype).removeprefix("torch.")

    def describe(self):
        return f"PyTorch {torch.__version__} on the CPU"


# -- the ops: arrays in, arrays out, names and arguments as in refnet/ops ---------------------------


def binary_step(x):
    return torch.where(x.isnan(), x, (x >= 0).to(x.dtype))


def leaky_relu(x, negative_slope=0.1):
    return F.leaky_relu(x, negative_slope)


def leaky_relu_vjp(g, x, negative_slope=0.1):
    return torch.where(x > 0, g, negative_slope * g)


def elu(x, alpha=1.0):
    return F.elu(x, alpha)


def elu_vjp(g, y, alpha=1.0):
    return g * torch.where(y >= 0, 1, y + alpha)


def selu_vjp(g, y):
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return g * torch.where(y >= 0, scale, y + scale * alpha)


def fading(x, factor):
    """x · factor, and 0 where the factor is 0, at -∞ as well."""
    return torch.where(factor == 0, 0, x) * factor


def swish(x):
    return fading(x, torch.sigmoid(x))


def swish_vjp(g, x):
    s = torch.sigmoid(x)
    return g * (s + fading(x, s * (1 - s)))


def _gelu_tanh(x):
    return torch.tanh(math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x))


def gelu(x, approximate=False):
    if approximate:
        return fading(0.5 * x, 1 + _gelu_tanh(x))
    return fading(x, torch.special.ndtr(x))


def gelu_vjp(g, x, approximate=False):
    if approximate:
        t, inner = _gelu_tanh(x), 1 + 3 * 0.044715 * x * x
        slope = math.sqrt(2 / math.pi) * x * inner
        return g * (0.5 * (1 + t) + 0.5 * fading(slope, (1 - t) * (1 + t)))
    density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return g * (torch.special.ndtr(x) + fading(x, density))


def mish(x):
    return fading(x, torch.tanh(softplus(x)))


def mish_vjp(g, x):
    t = torch.tanh(softplus(x))
    return g * (t + fading(x, (1 - t) * (1 + t) * torch.sigmoid(x)))


def softsign(x):
    return torch.where(x.isinf(), x.sign(), F.softsign(x))


def softplus(x):
    return torch.logaddexp(x, torch.zeros_like(x))


def hard_sigmoid_vjp(g, x):
    return torch.where((x > -3) & (x < 3), g / 6, 0)


def relu6_vjp(g, y):
    return torch.where((y > 0) & (y < 6), g, 0)


ACTIVATIONS = {  # name -> (f, its gradient, whether that is written in x or in y)
    "identity": (lambda x: x, lambda g, y=None: g, "y"),
    "binary_step": (binary_step, lambda g, y=None: torch.zeros_like(g), "y"),
    "sigmoid": (torch.sigmoid, lambda g, y: g * y * (1 - y), "y"),
    "tanh": (torch.tanh, lambda g, y: g * (1 - y) * (1 + y), "y"),
    "relu": (torch.relu, lambda g, y: torch.where(y > 0, g, 0), "y"),
    "leaky_relu": (leaky_relu, leaky_relu_vjp, "x"),
    "elu": (elu, elu_vjp, "y"),
    "selu": (torch.selu, selu_vjp, "y"),
    "swish": (swish, swish_vjp, "x"),
    "gelu": (gelu, gelu_vjp, "x"),
    "softplus": (softplus, lambda g, x: g * torch.sigmoid(x), "x"),
    "softsign": (softsign, lambda g, x: g / (1 + x.abs()) / (1 + x.abs()), "x"),
    "hard_sigmoid": (F.hardsigmoid, hard_sigmoid_vjp, "x"),
    "relu6": (F.relu6, relu6_vjp, "y"),
    "mish": (mish, mish_vjp, "x"),
    "exponential": (torch.exp, lambda g, y: g * y, "y"),
}


def activation_of(name):
    """A row of the table above; for an activation it lacks, the reference's own, by way of NumPy."""
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    f = TABLE[name]
    return through_numpy(f), through_numpy(f.gradient), "y" if "y" in f.saves else "x"


def through_numpy(op):
    """An op of the reference, as a function of this backend's arrays."""

    def function(*arrays):
        wanted = arrays[: len(op.inputs)]
        y = op.function(*[a.as_subclass(torch.Tensor).numpy() for a in wanted])
        return torch.as_tensor(y).as_subclass(Array)

    return function


def linear(x, kernel, bias, activation="identity"):
    f, _, saves = activation_of(activation)
    z = x @ kernel + bias
    y = f(z)
    return y, (y if saves == "y" else z)


def linear_vjp(g, x, kernel, saved, activation="identity", wrt=("x", "kernel", "bias")):
    dz = activation_of(activation)[1](g, saved)
    rows = x.reshape(-1, x.shape[-1]), dz.reshape(-1, dz.shape[-1])
    dx = dz @ kernel.T if "x" in wrt else None
    dkernel = rows[0].T @ rows[1] if "kernel" in wrt else None
    return dx, dkernel, rows[1].sum(0) if "bias" in wrt else None


def sparse_softmax_cross_entropy(logits, labels):
    largest = logits.amax(-1)
    log_sum = (logits - largest[..., None]).exp().sum(-1).log()
    chosen = (logits - largest[..., None]).gather(-1, labels[..., None].long())[..., 0]
    return log_sum - chosen, largest, log_sum


def sparse_softmax_cross_entropy_vjp(g, logits, labels, largest, log_sum):
    p = (logits - largest[..., None] - log_sum[..., None]).exp()
    return g[..., None] * (p - F.one_hot(labels.long(), logits.shape[-1]).to(p.dtype))


def softmax(x, axis=-1):
    return torch.softmax(x, axis)


def softmax_vjp(g, y, axis=-1):
    return y * (g - (g * y).sum(axis, keepdim=True))


def mean(x, axis=None, keepdims=False):
    axes = tuple(range(x.ndim)) if axis is None else axis
    return x.mean(axes, keepdim=keepdims) if x.ndim else x.clone()


def mean_vjp(g, x, axis=None, keepdims=False):
    count = x.numel() // max(1, g.numel())
    if axis is not None and not keepdims:
        for a in sorted(i % x.ndim for i in np.atleast_1d(axis)):
            g = g.unsqueeze(int(a))
    return (g / count).expand(x.shape)


def argmax(x, axis=None, keepdims=False):
    return torch.argmax(x, axis, keepdim=keepdims)


def cast(x, dtype="float32"):
    return x.to(getattr(torch, dtype))


def full_like(x, value=0.0):
    return torch.full_like(x, value)


def reshape(x, shape=(-1,)):
    return x.reshape(shape)


def reshape_vjp(g, x, shape=(-1,)):
    return g.reshape(x.shape)


def pack(*xs, offsets=(), size=0):
    y = torch.zeros(size, dtype=xs[0].dtype).as_subclass(Array)
    for x, start in zip(xs, offsets, strict=True):
        y[start : start + x.numel()] = x.reshape(-1)
    return y


def assign(target, value):
    return target.copy_(value)


def sgd(theta, g, learning_rate):
    return theta.sub_(learning_rate * g)


def adam(theta, g, m, v, learning_rate, t, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m.mul_(beta_1).add_((1 - beta_1) * g)
    v.mul_(beta_2).add_((1 - beta_2) * g * g)
    root = v.sqrt() / _less_than_one(beta_2, t).sqrt()
    theta.sub_(learning_rate * m / _less_than_one(beta_1, t) / (root + epsilon))
    return theta, m, v


def _less_than_one(beta, t):
    """1 - βᵗ, without losing the digits that are left when βᵗ is nearly 1."""
    return -torch.expm1(t * math.log(beta)) if beta else torch.ones_like(t)


OPS = {
    f.__name__: f
    for f in (
        *(linear, linear_vjp, sparse_softmax_cross_entropy, sparse_softmax_cross_entropy_vjp),
        *(softmax, softmax_vjp, mean, mean_vjp, argmax, cast, full_like, reshape, reshape_vjp),
        *(pack, assign, sgd, adam),
    )
}
OPS |= {name: f for name, (f, _, _) in ACTIVATIONS.items()}
OPS |= {f"{name}_vjp": vjp for name, (_, vjp, _) in ACTIVATIONS.items()}
OPS |= {"equal": torch.eq, "exp": torch.exp, "add": torch.add, "multiply": torch.mul}


def main():
    """Train on handwritten digits, from the same weights, on NumPy and on this backend."""
    import refnet
    from refnet import backend, layers

    backend.register("torch_example", TorchBackend)
    refnet.utils.set_random_seed(0)
    (x, y), test = refnet.datasets.digits.load_data()
    hidden = layers.Dense(64, activation="swish")
    model = refnet.Sequential([layers.Flatten(), hidden, layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.build((None, 8, 8))
    model.to("torch_example")
    history = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    model.to("numpy")
    right = float(np.mean(model.predict(test[0]).argmax(1) == test[1]))
    print(f"PyTorch as a backend: loss {history[0]:.3f} to {history[-1]:.3f}, {right:.1%} right")


if __name__ == "__main__":
    main()
