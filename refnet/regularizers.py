"""Regularizers: a price on large weights, added to the loss so that the network prefers small ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refnet.base.arguments import Number
from refnet.base.names import look_up
from refnet.base.objects import Configured
from refnet.ops import TABLE


class L1L2(Configured):
    r"""l1 · Σ|w| + l2 · Σw²

    The first term pulls every weight to zero with the same force (many become zero), the second in
    proportion to its size (none becomes large). Goodfellow et al. (2016), section 7.1.
    """

    l1, l2 = Number(least=0), Number(least=0)

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1, self.l2 = l1, l2

    def __call__(self, w: Any) -> Any:
        """The penalty of a weight tensor or array: one number, with a gradient even where it is 0."""
        terms = [
            factor * TABLE["sum"](TABLE[power](w))
            for factor, power in ((self.l1, "abs"), (self.l2, "square"))
            if factor
        ]
        return sum(terms[1:], terms[0]) if terms else TABLE["sum"](TABLE["multiply"](w, 0.0))

    def __repr__(self) -> str:
        return f"L1L2(l1={self.l1}, l2={self.l2})"


class L1(L1L2):
    r"""l1 · Σ|w|: many weights become exactly zero."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    r"""l2 · Σw²: no weight becomes large. Also called weight decay."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


Regularizer = Callable[[Any], Any]
REGULARIZERS: dict[str, type[L1L2]] = {"l1": L1, "l2": L2, "l1_l2": L1L2, "l1l2": L1L2}


def get(identifier: str | Regularizer | None) -> Regularizer | None:
    """The regularizer of this name, with its default strength."""
    found: Regularizer | None = look_up("regularizer", identifier, REGULARIZERS)
    return found
