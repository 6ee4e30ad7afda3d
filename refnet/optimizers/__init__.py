"""Optimizers: how a model learns from its gradients.

>>> from refnet import optimizers
>>> optimizers.get("adam")
Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07)
"""

from refnet.base.elsewhere import explain
from refnet.base.names import look_up
from refnet.errors import ArgumentError
from refnet.optimizers.optimizer import Optimizer
from refnet.optimizers.rules import SGD, Adagrad, Adam, RMSprop

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
}


def get(identifier: str | Optimizer) -> Optimizer:
    """The optimizer of this name, with Keras' defaults; an optimizer is returned as it is."""
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str) and identifier.lower() in OPTIMIZERS:
        identifier = identifier.lower()
    found = look_up("optimizer", identifier, OPTIMIZERS)
    if not isinstance(found, Optimizer):
        raise ArgumentError(f"optimizer is a name or an Optimizer, got {identifier!r}")
    return found


__all__ = ["OPTIMIZERS", "SGD", "Adagrad", "Adam", "Optimizer", "RMSprop", "get"]

explain(__name__)
