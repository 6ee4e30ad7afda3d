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
from typing import TYPE_CHECKING, Any

from refnet import config, ops
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

if TYPE_CHECKING:
    from refnet import (
        activations,
        callbacks,
        datasets,
        descent,
        diagnostics,
        initializers,
        layers,
        losses,
        metrics,
        optimizers,
        plot,
        random,
        regularizers,
        summary,
        utils,
    )
    from refnet.check.shadow import shadow
    from refnet.graph.graph import Graph, group, placeholder, reset_default_graph
    from refnet.graph.session import Session
    from refnet.models.model import Model
    from refnet.models.sequential import Sequential
    from refnet.perceptron import Perceptron

#: loaded when first asked for, so that `import refnet` takes no time: names that are no module of
#: refnet, and the module that has them
_ELSEWHERE = {
    "Graph": "graph.graph",
    "Model": "models.model",
    "Perceptron": "perceptron",
    "Sequential": "models.sequential",
    "Session": "graph.session",
    "group": "graph.graph",
    "placeholder": "graph.graph",
    "reset_default_graph": "graph.graph",
    "shadow": "check",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise missing(__name__, name, __all__)
    if name in _ELSEWHERE:
        found = getattr(importlib.import_module(f"refnet.{_ELSEWHERE[name]}"), name)
    else:
        found = importlib.import_module(f"refnet.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
