"""Metrics of numbers: the losses of regression, to be looked at."""

from refnet.losses import mean_absolute_error, mean_squared_error, pairing
from refnet.metrics.metric import metric_of

MeanSquaredError = metric_of(mean_squared_error, pairing.TARGETS)
MeanAbsoluteError = metric_of(mean_absolute_error, pairing.TARGETS)
