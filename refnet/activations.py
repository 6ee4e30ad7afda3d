"""The activation functions by their Keras names, for tensors and arrays.

>>> from refnet import activations
>>> activations.relu([-1.0, 2.0])
array([0., 2.])
>>> activations.get("silu") is activations.swish
True

Which one? Ask for the problem at hand:

>>> activations.for_output("binary")
binary classification: yes or no
  activation  sigmoid
  loss        binary_crossentropy
  units       1
  why         σ maps any score to a number between 0 and 1, read as the probability of
              "yes"; it is as good a probability as the training made it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from refnet.base.elsewhere import explain
from refnet.base.names import look_up
from refnet.errors import ArgumentError, unknown_name
from refnet.ops import TABLE

Activation = Callable[..., Any]

#: every elementwise activation of TABLE, and the two that normalise a whole row
ACTIVATIONS: dict[str, Activation] = {
    **{name: row for name, row in TABLE.items() if row.activation},
    "linear": TABLE["identity"],
    "silu": TABLE["swish"],
    "softmax": TABLE["softmax"],
    "log_softmax": TABLE["log_softmax"],
}
globals().update(ACTIVATIONS, prelu=TABLE["prelu"])


def get(identifier: str | Activation | None) -> Activation:
    """The activation of this name; a function is returned as it is; None is linear."""
    if identifier == "prelu":
        raise ArgumentError("prelu has a slope to learn: use the layer PReLU() in its place")
    found: Activation = look_up("activation", identifier or "linear", ACTIVATIONS)
    return found


@dataclass(frozen=True, repr=False)
class Choice:
    """An activation for a purpose, and why it is that one. Printed, it explains itself.

    `loss` and `units` (how many neurons) are empty where they do not follow from the purpose.
    """

    purpose: str
    activation: str
    loss: str
    units: str
    why: str

    def __repr__(self) -> str:
        said = {f.name: getattr(self, f.name) for f in fields(self)[1:]}
        lines = [f"  {name:10}  {text}" for name, text in said.items() if text]
        wrapped = [textwrap.fill(line, 88, subsequent_indent=" " * 14) for line in lines]
        return "\n".join([self.purpose, *wrapped])


OUTPUTS = {
    "regression": Choice(
        "regression: a number of any size",
        "linear",
        "mean_squared_error",
        "1 for each number that is predicted",
        "what is predicted may be any number, so nothing is cut off or squeezed.",
    ),
    "binary": Choice(
        "binary classification: yes or no",
        "sigmoid",
        "binary_crossentropy",
        "1",
        'σ maps any score to a number between 0 and 1, read as the probability of "yes"; it is as '
        "good a probability as the training made it.",
    ),
    "multiclass": Choice(
        "multiclass classification: one class of several",
        "softmax",
        "sparse_categorical_crossentropy",
        "1 for each class",
        "the classes exclude each other, so their probabilities compete and sum to 1. For one-hot "
        "labels the loss is categorical_crossentropy.",
    ),
    "multilabel": Choice(
        "multilabel classification: any number of labels at once",
        "sigmoid",
        "binary_crossentropy",
        "1 for each label",
        "each label is a yes or no of its own, so each unit gets its own probability; they need not "
        "sum to 1.",
    ),
}

HIDDEN = {
    "dense": Choice(
        "hidden layers",
        "relu",
        "",
        "",
        "cheap, and its slope is 1 wherever it is on, so gradients do not shrink on their way down. "
        "Start here; if many units die, try leaky_relu, elu or swish.",
    ),
    "convolutional": Choice(
        "hidden layers of a convolutional network (CNN)",
        "relu",
        "",
        "",
        "as in any deep network; ReLU after each convolution.",
    ),
    "recurrent": Choice(
        "the cells of a recurrent network (RNN)",
        "tanh",
        "",
        "",
        "the state is fed back again and again: tanh keeps it between -1 and 1. The gates of an "
        "LSTM or GRU are sigmoid: how much to let through, from 0 to 1.",
    ),
}
SHORT = {"cnn": "convolutional", "rnn": "recurrent"}


def for_output(problem: str) -> Choice:
    """The activation of the output layer, with the loss and the units that go with it, and why.

    `problem` is "regression", "binary", "multiclass" or "multilabel" ("classification" may follow).
    """
    name = str(problem).lower().replace("_", " ").replace("-", " ")
    return _chosen("problem", problem, name.removesuffix("classification").strip(), OUTPUTS)


def for_hidden(network: str = "dense") -> Choice:
    """The activation to begin with in hidden layers, and why: of a dense network, a CNN or an RNN."""
    name = str(network).lower()
    return _chosen("network", network, SHORT.get(name, name), HIDDEN)


def _chosen(kind: str, given: str, name: str, choices: dict[str, Choice]) -> Choice:
    if name not in choices:
        raise unknown_name(kind, given, choices)
    return choices[name]


explain(__name__)
