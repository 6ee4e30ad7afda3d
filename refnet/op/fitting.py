"""Inputs that do not fit are refused before anything is computed, on every backend alike.

NumPy would stretch some of them to fit, and a kernel would read beside its tensors. So the rule of an
op's row (`refnet.op.shapes`) is asked first, as it is when a graph is written. Its answer depends on
shapes, types and attributes alone: it is asked once for each combination of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet.errors import DTypeError
from refnet.op.promotion import promoted
from refnet.op.shapes import Spec

if TYPE_CHECKING:
    from refnet.op import Op

MOST = 4096  # combinations that are remembered; then it begins anew


class Fitted:
    """A backend's function of an op, for inputs that fit: a ShapeError or DTypeError for others.

    Attributes
    ----------
    op, function : the row whose rule is asked, and what is called then.
    """

    def __init__(self, op: Op, function: Callable[..., Any]) -> None:
        self.op = op
        self.function = function
        self.__name__ = self.__qualname__ = op.name
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._known: set[tuple[Any, ...]] = set()

    def __call__(self, *inputs: Any, **attributes: Any) -> Any:
        try:  # at every call: as little as possible
            seen = [*attributes.items()] if attributes else []
            for x in inputs:
                seen += x.shape, x.dtype
            known = (key := tuple(seen)) in self._known
        except (
            AttributeError,
            TypeError,
        ):  # a number among the inputs, a slice among the attributes
            key, known = (), False
        if not known:
            specs = [spec_of(x) for x in inputs]
            self.op.infer(specs, attributes)
            self._require_types(specs, attributes)
            if key:
                self._remember(key)
        return self.function(*inputs, **attributes)

    def _require_types(self, specs: list[Spec], attributes: dict[str, Any]) -> None:
        types = tuple([spec.dtype for spec in specs])
        if types != (expected := promoted(self.op, types, attributes)):
            raise DTypeError(
                f"{self.op.name} computes with {', '.join(expected)}, got {', '.join(types)}"
            )

    def _remember(self, key: tuple[Any, ...]) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known.add(key)

    def __repr__(self) -> str:
        return f"<{self.op.name} of inputs that fit>"


def spec_of(x: Any) -> Spec:
    """Shape and type of any array, PyTorch's as well, or of a number."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return Spec(tuple(x.shape), str(x.dtype).removeprefix("torch."))
