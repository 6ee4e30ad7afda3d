"""What PyTorch offers for each op: the functions that the benchmark times ours against.

Each takes the arguments of the op of the same name and computes the same numbers, as a PyTorch user
would: with the library's own function where there is one, which for a gradient is the function that
autograd calls; with the shortest formula otherwise. Ops that only rearrange a view, and the gradient
of dropout, which PyTorch computes from a stored mask, have no peer.

`EAGER` holds the functions as they are run; `COMPILED` holds those that `torch.compile` is given
where that is another function: it cannot look into an update rule that is one kernel already.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from refnet.ops import TABLE

aten = torch.ops.aten
Peer = Callable[..., Any]
EAGER: dict[str, Peer] = {}
COMPILED: dict[str, Peer] = {}


def peer(function: Peer) -> Peer:
    """Decorator: enter a function as the peer of the op of the same name."""
    EAGER[function.__name__] = function
    return function


# -- activations -----------------------------------------------------------------------------------

SELU = 1.6732632423543772, 1.0507009873554805  # α, λ

EAGER |= {
    "identity": lambda x: x.clone(),
    "identity_vjp": lambda g: g.clone(),
    "binary_step": lambda x: (x >= 0).to(x.dtype),
    "binary_step_vjp": torch.zeros_like,
    "sigmoid": torch.sigmoid,
    "sigmoid_vjp": lambda g, y: aten.sigmoid_backward(g, y),
    "tanh": torch.tanh,
    "tanh_vjp": lambda g, y: aten.tanh_backward(g, y),
    "relu": torch.relu,
    "relu_vjp": lambda g, y: aten.threshold_backward(g, y, 0),
    "leaky_relu": lambda x, negative_slope=0.1: F.leaky_relu(x, negative_slope),
    "leaky_relu_vjp": lambda g, x, negative_slope=0.1: aten.leaky_relu_backward(
        g, x, negative_slope, False
    ),
    "prelu": F.prelu,
    "elu": lambda x, alpha=1.0: F.elu(x, alpha),
    "elu_vjp": lambda g, y, alpha=1.0: aten.elu_backward(g, alpha, 1, 1, True, y),
    "selu": F.selu,
    "selu_vjp": lambda g, y: aten.elu_backward(g, *SELU, 1, True, y),
    "swish": F.silu,
    "swish_vjp": lambda g, x: aten.silu_backward(g, x),
    "gelu": lambda x, approximate=False: F.gelu(x, approximate=_form(approximate)),
    "gelu_vjp": lambda g, x, approximate=False: aten.gelu_backward(
        g, x, approximate=_form(approximate)
    ),
    "softplus": F.softplus,
    "softplus_vjp": lambda g, x: aten.softplus_backward(g, x, 1, 20),
    "softsign": F.softsign,
    "softsign_vjp": lambda g, x: g / (1 + x.abs()).square(),
    "hard_sigmoid": F.hardsigmoid,
    "hard_sigmoid_vjp": lambda g, x: aten.hardsigmoid_backward(g, x),
    "hard_swish": F.hardswish,
    "hard_swish_vjp": lambda g, x: aten.hardswish_backward(g, x),
    "relu6": F.relu6,
    "relu6_vjp": lambda g, y: aten.hardtanh_backward(g, y, 0, 6),
    "mish": F.mish,
    "mish_vjp": lambda g, x: aten.mish_backward(g, x),
    "exponential": torch.exp,
    "exponential_vjp": torch.mul,
}


def _form(approximate: bool) -> str:
    return "tanh" if approximate else "none"


@peer
def prelu_vjp(g, x, alpha):
    """(∂L/∂x, ∂L/∂α), α being one slope for each column."""
    dx, dalpha = aten._prelu_kernel_backward(g, x, alpha)
    return dx, dalpha.sum(0)


# -- softmax and losses ----------------------------------------------------------------------------

EAGER |= {
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "softmax_vjp": lambda g, y, axis=-1: aten._softmax_backward_data(g, y, axis, y.dtype),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "log_softmax_vjp": lambda g, y, axis=-1: aten._log_softmax_backward_data(g, y, axis, y.dtype),
    "sparse_softmax_cross_entropy": lambda logits, labels: F.cross_entropy(
        logits, labels, reduction="none"
    ),
    "softmax_cross_entropy": lambda logits, targets: F.cross_entropy(
        logits, targets, reduction="none"
    ),
    "sigmoid_cross_entropy": lambda logits, targets: F.binary_cross_entropy_with_logits(
        logits, targets, reduction="none"
    ),
    "sigmoid_cross_entropy_vjp": lambda g, logits, targets: g * (torch.sigmoid(logits) - targets),
    "mean_squared_error": lambda y_true, y_pred: F.mse_loss(y_pred, y_true, reduction="none").mean(
        -1
    ),
}


def _probabilities(logits, largest, log_sum):
    return torch.exp(logits - largest.unsqueeze(-1) - log_sum.unsqueeze(-1))


@peer
def sparse_softmax_cross_entropy_vjp(g, logits, labels, largest, log_sum):
    """g · (softmax(x) - [j = c]), with 1 subtracted at the right class only."""
    p = _probabilities(logits, largest, log_sum)
    minus_one = torch.full_like(labels, -1, dtype=p.dtype).unsqueeze(-1)
    dx = g.unsqueeze(-1) * p.scatter_add(-1, labels.unsqueeze(-1), minus_one)
    return dx.to(logits.dtype)


@peer
def softmax_cross_entropy_vjp(g, logits, targets, largest, log_sum):
    """g · (softmax(x) · Σ t - t)"""
    p = _probabilities(logits, largest, log_sum)
    dx = g.unsqueeze(-1) * (p * targets.sum(-1, keepdim=True) - targets)
    return dx.to(logits.dtype)


@peer
def mean_squared_error_vjp(g, y_true, y_pred):
    """(-d, d) with d = g · 2 (a - y) / n"""
    d = g.unsqueeze(-1) * (y_pred - y_true) * (2 / y_true.shape[-1])
    return -d, d


# -- elementwise arithmetic and comparisons --------------------------------------------------------

EAGER |= {
    "add": torch.add,
    "subtract": torch.sub,
    "subtract_vjp": lambda g, a, b: (g, -g),
    "multiply": torch.mul,
    "multiply_vjp": lambda g, a, b: (g * b, g * a),
    "divide": torch.div,
    "divide_vjp": lambda g, a, b: (g / b, -g * (a / b) / b),
    "power": torch.pow,
    "negative": torch.neg,
    "negative_vjp": torch.neg,
    "square": torch.square,
    "square_vjp": lambda g, x: g * (2 * x),
    "exp": torch.exp,
    "exp_vjp": torch.mul,
    "log": torch.log,
    "log_vjp": torch.div,
    "sqrt": torch.sqrt,
    "sqrt_vjp": lambda g, y: g / (2 * y),
    "abs": torch.abs,
    "sign": torch.sign,
    "floor": torch.floor,
    "abs_vjp": lambda g, x: g * x.sgn(),
    "maximum": torch.maximum,
    "maximum_vjp": lambda g, a, b: _to_the_chosen(g, a > b, b > a),
    "minimum": torch.minimum,
    "minimum_vjp": lambda g, a, b: _to_the_chosen(g, a < b, b < a),
    "clip": lambda x, minimum=-math.inf, maximum=math.inf: torch.clamp(x, minimum, maximum),
    "clip_vjp": lambda g, x, minimum=-math.inf, maximum=math.inf: torch.where(
        (x >= minimum) & (x <= maximum), g, 0.0
    ),
    "equal": torch.eq,
    "not_equal": torch.ne,
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "where": torch.where,
    "where_vjp": lambda g, condition, a, b: (
        torch.where(condition, g, 0.0),
        torch.where(condition, 0.0, g),
    ),
    "cast": lambda x, dtype="float32": x.to(getattr(torch, dtype)),
    "cast_vjp": lambda g, x, dtype="float32": g.to(x.dtype),
}


def _to_the_chosen(g, a_is, b_is):
    half = torch.where(a_is | b_is, 0.0, 0.5 * g)
    return torch.where(a_is, g, half), torch.where(b_is, g, half)


@peer
def power_vjp(g, a, b):
    """(g · b · aᵇ⁻¹, Σ g · aᵇ · ln a) for a single exponent b."""
    return g * b * torch.pow(a, b - 1), (g * torch.pow(a, b) * torch.log(a)).sum()


# -- reductions and arrangements -------------------------------------------------------------------


def _over(function: Peer) -> Peer:
    """Over `axis`, or over everything if that is None."""
    return lambda x, axis=None, keepdims=False: (
        function(x) if axis is None else function(x, axis, keepdims)
    )


EAGER |= {
    "sum": _over(torch.sum),
    "mean": _over(torch.mean),
    "logsumexp": lambda x, axis=None, keepdims=False: torch.logsumexp(
        x, tuple(range(x.ndim)) if axis is None else axis, keepdims
    ),
    "max": _over(torch.amax),
    "min": _over(torch.amin),
    "argmax": _over(torch.argmax),
    "argmin": _over(torch.argmin),
    "sum_to": lambda x, shape=(): x.sum_to_size(shape),
    "broadcast_to_vjp": lambda g, x, shape=(): g.sum_to_size(x.shape),
    "concatenate": lambda *xs, axis=0: torch.cat(xs, axis),
    "stack": lambda *xs, axis=0: torch.stack(xs, axis),
    "full_like": lambda x, value=0.0: torch.full_like(x, value),
    "pack": lambda *xs, offsets=(), size=0: torch.cat([x.reshape(-1) for x in xs]),
    "assign": lambda target, value: target.copy_(value),
}


@peer
def max_vjp(g, x, y, axis=None, keepdims=False):
    """g, shared by all elements that are equal to the extreme."""
    if axis is None:
        equal = x == y
        return equal * (g / equal.sum())
    if not keepdims:
        g, y = g.unsqueeze(axis), y.unsqueeze(axis)
    equal = x == y
    return equal * (g / equal.sum(axis, keepdim=True))


EAGER["min_vjp"] = max_vjp


@peer
def gather(x, indices, axes=(0,), at=0):
    """x[i_1, i_2, ...], the indexed axes in front, then moved to their place."""
    picks = indices.ndim - 1
    y = torch.movedim(x, axes, tuple(range(len(axes))))[indices.unbind(-1)]
    return torch.movedim(y, tuple(range(picks)), tuple(range(at, at + picks)))


@peer
def gather_vjp(g, x, indices, axes=(0,), at=0):
    """Zeros, to which index_put_ adds g."""
    picks = indices.ndim - 1
    dx = torch.zeros(x.shape, dtype=g.dtype, device=g.device)
    terms = torch.movedim(g, tuple(range(at, at + picks)), tuple(range(picks)))
    front = torch.movedim(dx, axes, tuple(range(len(axes))))
    front.index_put_(indices.unbind(-1), terms, accumulate=True)
    return dx


EAGER["coordinates"] = lambda *indices: torch.stack(torch.broadcast_tensors(*indices), -1)
EAGER["mask_coordinates"] = lambda mask, x, axis=0: torch.nonzero(mask)


@peer
def index_vjp(g, x, key=...):
    """Zeros, with g where x was looked at."""
    dx = torch.zeros_like(x)
    dx[key] = g
    return dx


@peer
def pad(x, pad_width=(), value=0.0):
    """F.pad, which counts the axes from the last one."""
    return F.pad(x, [n for pair in reversed(pad_width) for n in pair], value=value)


# -- products --------------------------------------------------------------------------------------

EAGER |= {
    "matmul": torch.matmul,
    "matmul_vjp": lambda g, a, b: (g @ b.mT, a.mT @ g),
}


@peer
def linear(x, kernel, bias, activation="identity"):
    """f(x W + b), and what the gradient of f needs, which autograd keeps: that, or x W + b."""
    if activation == "relu":  # on a GPU cuBLASLt's epilogue: one kernel
        y = aten._addmm_activation(bias, x, kernel)
        return y, y
    z = torch.addmm(bias, x, kernel)
    y = z if activation == "identity" else EAGER[activation](z)
    return y, (z if "x" in TABLE[activation].saves else y)


@peer
def linear_vjp(g, x, kernel, saved, activation="identity"):
    """The gradient through f, then two products and a sum."""
    dz = g if activation == "identity" else EAGER[f"{activation}_vjp"](g, saved)
    return dz @ kernel.mT, x.mT @ dz, dz.sum(0)


# -- random numbers --------------------------------------------------------------------------------

EAGER |= {
    "random_bits": lambda key, shape=(): torch.randint(0, 2**32, shape, device=key.device),
    "random_uniform": lambda key, shape=(), dtype="float32": torch.rand(
        shape, dtype=getattr(torch, dtype), device=key.device
    ),
    "random_normal": lambda key, shape=(), dtype="float32": torch.randn(
        shape, dtype=getattr(torch, dtype), device=key.device
    ),
    "dropout": lambda x, key, rate=0.5: F.dropout(x, rate),
}

# -- update rules: formulas on whole tensors, in place; PyTorch's one-kernel forms of SGD and Adam --


@peer
def momentum(theta, g, velocity, learning_rate, momentum=0.9):
    """v ← μ v - η g;  θ ← θ + v"""
    velocity.copy_(momentum * velocity - learning_rate * g)
    return theta.add_(velocity), velocity


@peer
def nesterov(theta, g, velocity, learning_rate, momentum=0.9):
    """v ← μ v - η g;  θ ← θ + μ v - η g"""
    step = learning_rate * g
    velocity.copy_(momentum * velocity - step)
    return theta.add_(momentum * velocity - step), velocity


@peer
def adagrad(theta, g, total, learning_rate, epsilon=1e-7):
    """s ← s + g²;  θ ← θ - η g / √(s + ε)"""
    total.add_(g * g)
    return theta.sub_(learning_rate * g / torch.sqrt(total + epsilon)), total


@peer
def rmsprop(theta, g, mean_square, learning_rate, rho=0.9, epsilon=1e-7):
    """s ← ρ s + (1 - ρ) g²;  θ ← θ - η g / √(s + ε)"""
    mean_square.copy_(rho * mean_square + (1 - rho) * g * g)
    return theta.sub_(learning_rate * g / torch.sqrt(mean_square + epsilon)), mean_square


@peer
def sgd(theta, g, learning_rate):
    """`torch.optim.SGD(fused=True)`"""
    torch._fused_sgd_(
        [theta], [g], [], lr=learning_rate.float(), momentum=0.0, weight_decay=0.0, dampening=0.0,
        nesterov=False, maximize=False, is_first_step=False,
    )  # fmt: skip
    return theta


@peer
def adam(theta, g, m, v, learning_rate, t, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """`torch.optim.Adam(fused=True)`"""
    torch._fused_adam_(
        [theta], [g], [m], [v], [], [t.float()], lr=learning_rate.float(), beta1=beta_1,
        beta2=beta_2, weight_decay=0.0, eps=epsilon, amsgrad=False, maximize=False,
    )  # fmt: skip
    return theta, m, v


def _sgd_formula(theta, g, learning_rate):
    return theta.sub_(learning_rate * g)


def _adam_formula(theta, g, m, v, learning_rate, t, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m.copy_(beta_1 * m + (1 - beta_1) * g)
    v.copy_(beta_2 * v + (1 - beta_2) * g * g)
    step = learning_rate.float() / (1 - beta_1 ** t.float())
    theta.sub_(step * m / (torch.sqrt(v / (1 - beta_2 ** t.float())) + epsilon))
    return theta, m, v


COMPILED |= {"sgd": _sgd_formula, "adam": _adam_formula}
