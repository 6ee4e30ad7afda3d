"""Metrics: how good the predictions are, in terms a person asks for. They do not steer training.

A metric keeps sums: `update_state` takes in a batch, `result` is what is computed of them, `merge_state`
adds those of others, `reset_state` starts over.
"""

from refnet.base.elsewhere import explain
from refnet.base.names import class_around, look_up
from refnet.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    accuracy,
    accuracy_function,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
)
from refnet.metrics.confusion import (
    AUC,
    F1Score,
    FalseNegatives,
    FalsePositives,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from refnet.metrics.metric import Function, Mean, MeanMetric, Metric, metric_of
from refnet.metrics.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    RootMeanSquaredError,
)
from refnet.metrics.running import Running

METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "acc": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "root_mean_squared_error": RootMeanSquaredError,
    "precision": Precision,
    "recall": Recall,
    "f1_score": F1Score,
    "auc": AUC,
    "true_positives": TruePositives,
    "false_positives": FalsePositives,
    "true_negatives": TrueNegatives,
    "false_negatives": FalseNegatives,
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "rmse": RootMeanSquaredError,
}


def get(identifier: str | Metric | Function) -> Metric:
    """The metric of this name, called what it was asked for by; a function becomes a Metric."""
    if isinstance(identifier, str) and identifier in METRICS:
        return METRICS[identifier](name=identifier)
    found = look_up("metric", identifier, METRICS)
    return found if isinstance(found, Metric) else class_around(found, METRICS, metric_of)()


__all__ = [
    "AUC",
    "METRICS",
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "F1Score",
    "FalseNegatives",
    "FalsePositives",
    "Mean",
    "MeanAbsoluteError",
    "MeanMetric",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "Running",
    "SparseCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "accuracy",
    "accuracy_function",
    "binary_accuracy",
    "categorical_accuracy",
    "get",
    "sparse_categorical_accuracy",
]

explain(__name__)
