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

import importlib
from typing import Any

from refnet import (
    activations,
    callbacks,
    config,
    datasets,
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
from refnet.elsewhere import missing
from refnet.graph import Graph, group, placeholder, reset_default_graph
from refnet.models import Sequential
from refnet.perceptron import Perceptron
from refnet.scope import name_scope
from refnet.session import Session
from refnet.shadow import shadow
from refnet.tensor import Tensor, tensor
from refnet.variable import Variable

__version__ = "0.1.0"

#: loaded when first asked for: most programs need none of them
_LATER = ("descent", "diagnostics", "plot", "summary")


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f"refnet.{name}")
    raise missing(__name__, name, __all__)


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
    "plot",
    "random",
    "regularizers",
    "reset_default_graph",
    "shadow",
    "summary",
    "tensor",
    "use_backend",
    "utils",
    "zeros",
    "zeros_like",
]
