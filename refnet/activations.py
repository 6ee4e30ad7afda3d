"""The activation functions by their Keras names, for tensors and arrays.

>>> from refnet import activations
>>> activations.relu([-1.0, 2.0])
array([0., 2.])
>>> activations.get("silu") is activations.swish
True
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refnet.errors import ArgumentError
from refnet.naming import look_up
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
