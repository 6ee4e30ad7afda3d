"""What a recorded step depends on besides tensors: the plain values that Python read while it recorded.

The rate of a Dropout, the price of a regularizer, β₁ of Adam, whether a layer is trainable: each is a
number in an attribute, and stands in a recorded step as it was. `Settings` notices when one changes.
"""

from __future__ import annotations

import itertools
import operator
import types
from collections.abc import Iterable
from typing import Any

from refnet.autograd.tensor import Tensor
from refnet.autograd.variable import Variable
from refnet.base.names import called
from refnet.initializers import Initializer
from refnet.layers.layer import Layer
from refnet.metrics import MeanMetric, Metric
from refnet.op import Op

PLAIN = (bool, int, float, complex, str, bytes, type(None))
LONGEST = 256  # longer lists and dicts are data, no settings
KEPT = 32  # how many combinations of values are remembered
#: what may be called and holds nothing that a step reads
_NO_SETTINGS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    type,
    Op,
    Initializer,
)


class Settings:
    """The plain values in the attributes of layers and whatever else, and in what these hold.

    Looked at are attributes, lists, tuples and dicts; the layers, regularizers and activations in
    them; whether variables are trainable. Other objects count as themselves.

    Examples
    --------
    >>> from refnet.layers import Dropout
    >>> layer = Dropout(0.5)
    >>> settings = Settings(layer)
    >>> before = settings.number()
    >>> layer.rate = 0.1
    >>> settings.number() == before
    False
    >>> layer.rate = 0.5
    >>> settings.number() == before
    True
    """

    def __init__(self, *roots: Any) -> None:
        self._roots = roots
        self._count = itertools.count()
        #: what was seen, as a key, and its number; and the objects in it, which have to live as long
        self._numbers: dict[tuple[Any, ...], tuple[int, list[Any]]] = {}
        self._walk()

    def number(self) -> int:
        """The same number as long as all values are the same, and again when they are so again.

        Whoever changes a plain value puts another object in its place. So it is enough to compare
        objects, which takes some microseconds; the values themselves are read where one differs.
        """
        values = self._values()
        if len(values) != len(self._seen) or not all(map(operator.is_, values, self._seen)):
            self._walk()
        return self._number

    def _values(self) -> list[Any]:
        return [
            *itertools.chain.from_iterable(map(dict.values, self._dicts)),
            *itertools.chain.from_iterable(self._lists),
            *[getattr(x, name) for x, name in self._attributes],
        ]

    def _walk(self) -> None:
        """Find everything anew."""
        self._dicts: list[dict[Any, Any]] = []
        self._lists: list[list[Any]] = []
        self._attributes: list[tuple[Any, str]] = []
        self._visited: set[int] = set()
        key = tuple([part for root in self._roots for part in self._key(root)])
        self._seen = self._values()
        if key not in self._numbers:
            if len(self._numbers) == KEPT:
                del self._numbers[next(iter(self._numbers))]
            self._numbers[key] = next(self._count), self._seen
        self._number = self._numbers[key][0]

    def _key(self, x: Any) -> Iterable[Any]:
        """What identifies a value, and all values within it."""
        if isinstance(x, PLAIN):
            yield type(x), repr(x)
            return
        if isinstance(x, Tensor) and x.node is not None and x.node.recorded:
            yield "recorded"  # kept by the layer, to be looked at: it is another one after each record
            return
        yield id(x)
        if id(x) in self._visited:
            return
        self._visited.add(id(x))
        if isinstance(x, Variable):
            self._attributes.append((x, "trainable"))
            yield x.trainable
        elif isinstance(x, (dict, list, tuple)):
            yield from self._parts(x)
        elif isinstance(x, Layer):
            yield from self._parts(x._contents())
        elif isinstance(x, Metric):  # its other attributes are what it has counted so far
            given = type(x)._arguments()
            self._attributes += [(x, name) for name in given]
            for name in given:
                yield from self._key(getattr(x, name))
            if isinstance(x, MeanMetric):
                yield from self._key(called(type(x)))
        elif hasattr(x, "__dict__") and callable(x) and not isinstance(x, _NO_SETTINGS):
            yield from self._parts(vars(x))

    def _parts(self, x: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterable[Any]:
        yield len(x)
        if len(x) > LONGEST:
            return
        if isinstance(x, dict):
            self._dicts.append(x)
            yield tuple(k if isinstance(k, PLAIN) else id(k) for k in x)
        elif isinstance(x, list):
            self._lists.append(x)
        for part in x.values() if isinstance(x, dict) else x:
            yield from self._key(part)
