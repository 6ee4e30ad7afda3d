"""The layers a network is built from, under their Keras names.

>>> from refnet import layers
>>> layers.Dense(3, activation="relu")([[1.0, 2.0]]).shape
(1, 3)
"""

from refnet.base.elsewhere import explain
from refnet.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from refnet.layers.dense import Dense
from refnet.layers.input import Input
from refnet.layers.layer import Layer
from refnet.layers.noise import Dropout, GaussianNoise
from refnet.layers.reshaping import Flatten, Reshape

__all__ = [
    "ELU",
    "Activation",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "Input",
    "Layer",
    "LeakyReLU",
    "PReLU",
    "ReLU",
    "Reshape",
    "Softmax",
]

explain(__name__)
