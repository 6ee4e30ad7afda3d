"""Pictures. Every function writes one PNG and returns its path."""

from refnet.plot.activations import activation_curves
from refnet.plot.training import compare_losses, loss_curves, predictions

__all__ = ["activation_curves", "compare_losses", "loss_curves", "predictions"]
