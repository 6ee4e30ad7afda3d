"""Six examples and a model that many tests begin with."""

import numpy as np

import refnet

RNG = np.random.default_rng(5)
X, Y = RNG.normal(0, 1, (6, 3)), RNG.normal(0, 1, (6, 1))
CLASSES = np.array([0, 1, 2, 0, 1, 2])


def compiled(*layers, optimizer="sgd", loss="mse", found=None):
    """These layers as a model that can be trained; `found` are its metrics."""
    model = refnet.Sequential(layers)
    model.compile(optimizer, loss, found)
    return model
