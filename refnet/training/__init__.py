"""One step of training, what it is given, and what it depends on."""

from refnet.training.step import Step

__all__ = ["Step"]
