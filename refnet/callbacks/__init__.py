"""Callbacks: what happens around training. `fit` calls their hooks, named as in Keras."""

from refnet.callbacks.callback import Callback, Callbacks, LambdaCallback, Logs
from refnet.callbacks.reports import EpochLines, History, ProgressBar, loudness, progress
from refnet.callbacks.stopping import EarlyStopping, TerminateOnNaN
from refnet.callbacks.tensorboard import TensorBoard

__all__ = [
    "Callback",
    "Callbacks",
    "EarlyStopping",
    "EpochLines",
    "History",
    "LambdaCallback",
    "Logs",
    "ProgressBar",
    "TensorBoard",
    "TerminateOnNaN",
    "loudness",
    "progress",
]
