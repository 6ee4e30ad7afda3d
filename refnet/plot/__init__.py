"""Pictures. Every function writes one PNG and returns its path."""

from refnet.plot.activations import activation_curves, gradients_through_depth
from refnet.plot.descent import excess_losses, line_fits, paths_on_surface, steps_on_curve
from refnet.plot.drift import training_drift
from refnet.plot.graphs import graph
from refnet.plot.perceptron import approximations, decision_boundary, responsibilities
from refnet.plot.trace import memory_trace, trace_text
from refnet.plot.training import compare_losses, loss_curves, predictions

__all__ = [
    "activation_curves",
    "approximations",
    "compare_losses",
    "decision_boundary",
    "excess_losses",
    "gradients_through_depth",
    "graph",
    "line_fits",
    "loss_curves",
    "memory_trace",
    "paths_on_surface",
    "predictions",
    "responsibilities",
    "steps_on_curve",
    "trace_text",
    "training_drift",
]
