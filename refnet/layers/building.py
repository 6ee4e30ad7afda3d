"""Building: weights are made by one thread, and all of them or none."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from refnet.layers.layer import Layer

#: held while weights are made: of threads that call a layer first, one builds it
building = threading.RLock()


@contextlib.contextmanager
def all_or_none(layer: Layer) -> Iterator[None]:
    """After an error within the block, the layer and those within it are as they were before."""
    before = Built(layer)
    try:
        yield
    except BaseException:
        before.restore()
        raise


class Built:
    """What a layer and those within it hold, and the values of their variables, to be put back.

    >>> from refnet.layers import Dense
    >>> layer = Dense(2)
    >>> before = Built(layer)
    >>> layer.build((None, 3))
    >>> before.restore()
    >>> layer.built, layer.weights
    (False, [])
    """

    def __init__(self, layer: Layer) -> None:
        held = layer.flattened()
        self.attributes = [(x, dict(vars(x))) for x in held]
        self.slots = [(x, name, getattr(x, name)) for x in held for name in slots_of(x)]
        self.lists = [
            (value, [*value])
            for _, attributes in self.attributes
            for value in attributes.values()
            if isinstance(value, list)
        ]
        self.values = [(v, np.array(v.numpy())) for v in layer.variables if v.graph is None]

    def restore(self) -> None:
        """Put everything back."""
        for layer, attributes in self.attributes:
            vars(layer).clear()
            vars(layer).update(attributes)
        for layer, name, value in self.slots:
            setattr(layer, name, value)
        for there, parts in self.lists:
            there[:] = parts
        self.restore_values()

    def restore_values(self) -> None:
        """Put the values of the variables back: what has been counted, and random keys."""
        for variable, value in self.values:
            variable.assign(value)


def slots_of(x: Any) -> list[str]:
    """The attributes that are set and kept beside ``__dict__``."""
    names = [name for c in type(x).__mro__ for name in vars(c).get("__slots__", ())]
    return [name for name in names if not name.startswith("__") and hasattr(x, name)]
