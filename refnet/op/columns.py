"""What a row of TABLE may say besides the formula: inputs to try, a bound on the error, kinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Inputs = tuple[Any, ...]
Make = Callable[["np.random.Generator"], Inputs]  # quoted: numpy.random takes long to import


@dataclass(frozen=True)
class Case:
    """One set of inputs to try.

    Attributes
    ----------
    name : what the case is after.
    make : draws the inputs, in float64 (integers stay integers).
    attributes : the op's attributes for this case.
    layout : "C", or "transposed" or "strided" for views of every input that allows it.
    smooth : True if the op has a derivative at these inputs: the gradient check uses the case.
    """

    name: str
    make: Make
    attributes: dict[str, Any] = field(default_factory=dict)
    layout: str = "C"
    smooth: bool = False


@dataclass(frozen=True)
class Cases:
    """A family of cases.

    Attributes
    ----------
    tests : the inputs to try.
    bench : the inputs to time, for a given number of elements.
    large : inputs of more than 2³¹ elements, from `stand_in`.
    without : which of the hard cases (`refnet.check.edge_cases`) make no sense here, and why; under
        "limits", why NaN is the better answer where an input is infinite (`refnet.proof.exact`).
    family : what they are cases of, for those from `refnet.proof.cases`: "unary" for functions of one
        array, element by element; "binary", "reduction", "rows".
    """

    tests: tuple[Case, ...]
    bench: Callable[[int], tuple[Case, ...]]
    large: tuple[Case, ...] = ()
    without: Mapping[str, str] = field(default_factory=dict)
    family: str = ""

    def __iter__(self) -> Any:
        return iter(self.tests)


@dataclass(frozen=True)
class Bound:
    """A bound on |ŷ - y| for each output of an op, element by element.

    `tolerance(dtype, inputs, attributes, outputs)` takes the float64 inputs and exact outputs and
    returns one array per output. `formula` is what the documentation prints.
    """

    formula: str
    tolerance: Callable[[str, tuple[Any, ...], dict[str, Any], tuple[Any, ...]], list[Any]]

    def __str__(self) -> str:
        return self.formula


@dataclass(frozen=True)
class Kink:
    """A point where an op has no derivative, and which one-sided derivative its gradient takes.

    `rule` is "left", "right" or "mean" (of the two). `at` holds the inputs.
    """

    at: tuple[Any, ...]
    rule: str
    attributes: dict[str, Any] = field(default_factory=dict)
