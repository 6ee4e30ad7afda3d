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
from refnet.autograd.backpropagation import gradients
from refnet.autograd.context import name_scope
from refnet.autograd.creation import (
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
from refnet.autograd.tensor import Tensor, tensor
from refnet.autograd.variable import Variable
from refnet.backend import use_backend
from refnet.base.elsewhere import missing
from refnet.base.version import __version__
from refnet.graph.graph import Graph, group, placeholder, reset_default_graph
from refnet.graph.session import Session
from refnet.models.model import Model
from refnet.models.sequential import Sequential

#: loaded when first asked for, since most programs need none of them: names, and where they are
_LATER = {
    "Perceptron": "refnet.perceptron:Perceptron",
    "descent": "refnet.descent",
    "diagnostics": "refnet.diagnostics",
    "plot": "refnet.plot",
    "shadow": "refnet.check:shadow",
    "summary": "refnet.summary",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        module, _, attribute = _LATER[name].partition(":")
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found
    raise missing(__name__, name, __all__)


__all__ = [
    "Graph",
    "Model",
    "Perceptron",
    "Sequential",
    "Session",
    "Tensor",
    "Variable",
    "__version__",
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
