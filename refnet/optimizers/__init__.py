"""Optimizers: how a model learns from its gradients.

>>> from refnet import optimizers
>>> optimizers.get("adam")
Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07)
"""

from refnet.naming import look_up
from refnet.optimizers.optimizer import Optimizer
from refnet.optimizers.rules import SGD, Adam, RMSprop

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam}


def get(identifier: str | Optimizer) -> Optimizer:
    """The optimizer of this name, with Keras' defaults; an optimizer is returned as it is."""
    if isinstance(identifier, Optimizer):
        return identifier
    found: Optimizer = look_up("optimizer", identifier, OPTIMIZERS)
    return found


__all__ = ["OPTIMIZERS", "SGD", "Adam", "Optimizer", "RMSprop", "get"]
