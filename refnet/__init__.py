"""refnet: neural networks to read, and to run.

This package is the reference: NumPy that says what the textbook says. The same names, computed by
Triton kernels, are one line away: ``model.to("triton")``.

>>> import refnet
>>> model = refnet.Sequential(
...     [
...         refnet.layers.Input((8, 8)),
...         refnet.layers.Flatten(),
...         refnet.layers.Dense(128, activation="relu"),
...         refnet.layers.Dense(10, activation="softmax"),
...     ]
... )
>>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
>>> model.count_params()
9610
"""

from refnet import (
    activations,
    callbacks,
    config,
    datasets,
    descent,
    diagnostics,
    initializers,
    layers,
    losses,
    metrics,
    ops,
    optimizers,
    random,
    regularizers,
    utils,
)
from refnet.backend import use_backend
from refnet.backpropagation import gradients
from refnet.creation import (
    arange,
    eye,
    from_dlpack,
    full,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from refnet.graph import Graph, group, placeholder, reset_default_graph
from refnet.models import Sequential
from refnet.perceptron import Perceptron
from refnet.scope import name_scope
from refnet.session import Session
from refnet.tensor import Tensor, Variable, tensor

__version__ = "0.1.0"

__all__ = [
    "Graph",
    "Perceptron",
    "Sequential",
    "Session",
    "Tensor",
    "Variable",
    "activations",
    "arange",
    "callbacks",
    "config",
    "datasets",
    "descent",
    "diagnostics",
    "eye",
    "from_dlpack",
    "full",
    "gradients",
    "group",
    "initializers",
    "layers",
    "linspace",
    "losses",
    "metrics",
    "name_scope",
    "ones",
    "ones_like",
    "ops",
    "optimizers",
    "placeholder",
    "random",
    "regularizers",
    "reset_default_graph",
    "tensor",
    "use_backend",
    "utils",
    "zeros",
    "zeros_like",
]
