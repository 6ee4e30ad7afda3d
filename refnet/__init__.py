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
from refnet.models import Sequential
from refnet.tensor import (
    Tensor,
    Variable,
    arange,
    gradients,
    ones,
    placeholder,
    tensor,
    zeros,
)

__version__ = "0.1.0"

__all__ = [
    "Sequential",
    "Tensor",
    "Variable",
    "activations",
    "arange",
    "callbacks",
    "config",
    "datasets",
    "gradients",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "ones",
    "ops",
    "optimizers",
    "placeholder",
    "random",
    "regularizers",
    "tensor",
    "use_backend",
    "utils",
    "zeros",
]
