r"""Losses: one number that says how wrong the predictions are.

Each function takes what is right, y_true, and what the network says, y_pred, as tensors, arrays or
lists, and returns one loss for each example. The class of the same name (``MeanSquaredError`` for
`mean_squared_error`) averages them over the batch, weighted if asked to. Which shapes belong together
is said in `refnet.losses.pairing`, for functions and classes alike.
"""

from refnet.base.elsewhere import explain
from refnet.base.names import class_around, look_up
from refnet.losses.loss import REDUCTIONS, Function, Loss, loss_of
from refnet.losses.probabilistic import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Poisson,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    poisson,
    sparse_categorical_crossentropy,
)
from refnet.losses.regression import (
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    QuadraticCost,
    SumSquaredResiduals,
    huber,
    mean_absolute_error,
    mean_squared_error,
    quadratic_cost,
    sum_squared_residuals,
)

LOSSES: dict[str, type[Loss]] = {
    **{
        c.function.__name__: c
        for c in (
            *(MeanSquaredError, MeanAbsoluteError, QuadraticCost, SumSquaredResiduals, Huber),
            Poisson,
            *(BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy),
        )
    },
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
}


def get(identifier: str | Loss | Function) -> Loss:
    """The loss of this name; a function (y_true, y_pred) -> loss of each example becomes a Loss."""
    found = look_up("loss", identifier, LOSSES)
    return found if isinstance(found, Loss) else class_around(found, LOSSES, loss_of)()


__all__ = [
    "LOSSES",
    "REDUCTIONS",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "QuadraticCost",
    "SparseCategoricalCrossentropy",
    "SumSquaredResiduals",
    "binary_crossentropy",
    "categorical_crossentropy",
    "get",
    "huber",
    "mean_absolute_error",
    "mean_squared_error",
    "poisson",
    "quadratic_cost",
    "sparse_categorical_crossentropy",
    "sum_squared_residuals",
]

explain(__name__)
