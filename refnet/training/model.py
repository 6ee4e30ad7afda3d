"""What a step and a callback need of a model: `refnet.Model` has it, and so may a class of yours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from refnet.autograd.variable import Variable
from refnet.backend import Backend
from refnet.layers import Layer
from refnet.losses import Loss
from refnet.metrics import Metric
from refnet.optimizers import Optimizer
from refnet.optimizers.parameters import Parameters
from refnet.training.settings import Settings


class Trainable(Protocol):
    """A model, as far as training goes.

    Attributes
    ----------
    name, backend : what it is called, and where it is.
    layers, weights, trainable_weights, parameters : what it consists of; the last as one vector θ.
    loss, optimizer, metrics : what `compile` was given.
    losses : what regularizers charge.
    run_eagerly, settings : whether each step runs in Python; what a recorded step depends on.
    stop_training : a callback sets it to end a training.
    said : the warnings that were given once.
    """

    name: str
    backend: Backend
    run_eagerly: bool
    stop_training: bool
    settings: Settings
    said: set[str]
    _parameters: Parameters | None

    @property
    def layers(self) -> list[Layer]:
        """What it consists of."""

    @property
    def loss(self) -> Loss:
        """What it is to make small."""

    @property
    def optimizer(self) -> Optimizer:
        """How."""

    @property
    def metrics(self) -> list[Metric]:
        """What is reported besides."""

    @property
    def losses(self) -> list[Any]:
        """What the regularizers charge."""

    @property
    def weights(self) -> list[Variable]:
        """All weights."""

    @property
    def trainable_weights(self) -> list[Variable]:
        """Those that learn."""

    @property
    def parameters(self) -> Parameters | None:
        """Those that learn, as one vector."""

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """The outputs for a batch."""

    def gather(self, number: int) -> None:
        """Make the weights that learn views of θ."""

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the weights."""

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Overwrite the weights."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the outputs."""

    def train_on_batch(self, x: Any, y: Any, *, return_dict: bool = False) -> Any:
        """One step on one batch."""

    def predict(self, x: Any) -> np.ndarray[Any, Any]:
        """The outputs for all examples."""

    def to(self, backend: str | Backend) -> Any:
        """Move it to another backend."""

    def _examples(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        """Data, checked against the model."""
