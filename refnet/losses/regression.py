"""Losses of numbers: how far the predictions a lie from the targets y."""

from __future__ import annotations

from typing import Any

from refnet.base.arguments import number
from refnet.losses import pairing
from refnet.losses.loss import loss_of
from refnet.ops import TABLE


@pairing.meeting(pairing.TARGETS)
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    r"""L = (1/n) Σ_j (a_j - y_j)²"""
    return TABLE["mean_squared_error"](y_true, y_pred)


@pairing.meeting(pairing.TARGETS)
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    r"""L = (1/n) Σ_j |a_j - y_j|"""
    return TABLE["mean"](TABLE["abs"](TABLE["subtract"](y_pred, y_true)), axis=-1)


@pairing.meeting(pairing.TARGETS)
def quadratic_cost(y_true: Any, y_pred: Any) -> Any:
    r"""L = ½ ‖y - a‖², so that the mean over n examples is the course's C = 1/(2n) Σ_x ‖y(x) - a(x)‖²"""
    residuals = TABLE["subtract"](y_true, y_pred)
    return TABLE["multiply"](TABLE["sum"](TABLE["square"](residuals), axis=-1), 0.5)


@pairing.meeting(pairing.TARGETS)
def sum_squared_residuals(y_true: Any, y_pred: Any) -> Any:
    r"""L = Σ_j (y_j - a_j)²"""
    return TABLE["sum"](TABLE["square"](TABLE["subtract"](y_true, y_pred)), axis=-1)


@pairing.meeting(pairing.TARGETS)
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    r"""L = (1/n) Σ_j c_j (|e_j| - c_j / 2), e = a - y, c_j = min(|e_j|, δ)

    Half the square of an error up to δ, beyond it a straight line of slope δ: outliers do not pull as
    hard as in the squared error. Huber (1964), "Robust estimation of a location parameter".
    """
    number("huber: delta", delta, least=0)
    distance = TABLE["abs"](TABLE["subtract"](y_pred, y_true))
    capped = TABLE["minimum"](distance, delta)
    return TABLE["mean"](capped * (distance - capped * 0.5), axis=-1)


MeanSquaredError = loss_of(mean_squared_error)
MeanAbsoluteError = loss_of(mean_absolute_error)
QuadraticCost = loss_of(quadratic_cost)
SumSquaredResiduals = loss_of(sum_squared_residuals)
Huber = loss_of(huber)
