"""How targets, predictions and weights meet: one rule for every loss and every metric.

Nothing broadcasts. Shapes that do not belong together are a ShapeError that names both:

    targets        the shape of the predictions; one of the two may lack a last axis of length 1, which
                   it is given: (n,) beside (n, 1)
    class numbers  (n,) or (n, 1) beside predictions (n, k) of k classes; (n, t) or (n, t, 1) beside
                   (n, t, k)
    weights        a number, one for each example, (n,) or (n, 1), or the shape of the losses

What is computed with is a float: integers and booleans become floatx, and targets take the type of the
predictions. Lists and arrays stay on NumPy, unless what they meet is a tensor.

>>> import numpy as np
>>> y, p = meet(TARGETS, "mse", [1, 2, 3], np.zeros((3, 1)))
>>> y.shape, str(y.dtype)
((3, 1), 'float64')
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnet import config
from refnet.autograd.tensor import Tensor, checked_when_run, tensor
from refnet.base.dtypes import native
from refnet.errors import DTypeError, ShapeError
from refnet.op.shapes import Shape, agree
from refnet.ops import TABLE

Function = Callable[..., Any]
#: what happens to the last axes of y_true and y_pred: 1 adds one of length 1, -1 takes one away
Axes = tuple[int, int]


@dataclass(frozen=True)
class Rule:
    """Which shapes and types of y_true and y_pred belong together.

    `axes(y, p)` says what happens to their last axes, or None if they do not belong together; `floats`
    whether predictions have to be floats; `alike` whether both have one shape and one type in the end.
    """

    axes: Callable[[Shape, Shape], Axes | None]
    floats: bool
    alike: bool


def _one_shape(y: Shape, p: Shape) -> Axes | None:
    """One shape, once a last axis of length 1 that one of them lacks is added."""
    to_y = int(len(p) == len(y) + 1 and p[-1] == 1)
    to_p = int(len(y) == len(p) + 1 and y[-1] == 1)
    return (to_y, to_p) if agree(p + (1,) * to_p, y + (1,) * to_y) else None


def _outputs_in_one_shape(y: Shape, p: Shape) -> Axes | None:
    """One shape, whose last axis is that of the outputs."""
    return _one_shape(y, p) if y or p else None


def _a_class_for_each_row(y: Shape, p: Shape) -> Axes | None:
    """The predictions have one axis more, that of the classes; in its place, labels may have 1."""
    to_y = -int(len(y) == len(p) and y[-1:] == (1,))
    return (to_y, 0) if p and agree(p[:-1], y[: len(y) + to_y]) else None


def _one_shape_or_as_they_are(y: Shape, p: Shape) -> Axes:
    return _one_shape(y, p) or (0, 0)


#: targets beside predictions; class numbers beside a score for each class; class numbers beside class
#: numbers; and what functions from elsewhere are given, who may know better
TARGETS = Rule(_outputs_in_one_shape, floats=True, alike=True)
CLASSES = Rule(_a_class_for_each_row, floats=True, alike=False)
NUMBERS = Rule(_one_shape, floats=False, alike=True)
FREE = Rule(_one_shape_or_as_they_are, floats=False, alike=False)


def meeting(rule: Rule) -> Callable[[Function], Function]:
    """Decorator: y_true and y_pred meet by this rule before the function sees them."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def met(y_true: Any, y_pred: Any, *arguments: Any, **options: Any) -> Any:
            y_true, y_pred = meet(rule, function.__name__, y_true, y_pred)
            return function(y_true, y_pred, *arguments, **options)

        return met

    return decorate


def meet(rule: Rule, owner: str, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """y_true and y_pred, both arrays or both tensors, in shapes and types that belong together."""
    y_true, y_pred = together(y_true, y_pred)
    to_y, to_p = _axes(rule, owner, y_true, tuple(y_pred.shape))
    y_true, y_pred = _with_last_axis(y_true, to_y), _with_last_axis(y_pred, to_p)
    if rule.floats and not is_float(y_pred):
        y_pred = TABLE["cast"](y_pred, dtype=config.floatx())
    if rule.alike:
        y_true = _of_type(y_true, y_pred)
        y_pred = _of_type(y_pred, y_true)
        y_true = checked_when_run(y_true, y_pred)
    return y_true, y_pred


def meet_output(rule: Rule, owner: str, y: np.ndarray[Any, Any], output_shape: Shape) -> Any:
    """The targets y in the shape in which they will meet a model's output, before there is one."""
    return _with_last_axis(y, _axes(rule, owner, y, output_shape)[0])


def losses_shape(rule: Rule, y: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the losses of targets that have met an output: that of its rows."""
    return y if rule is CLASSES else y[:-1]


def weights_beside(losses: Any, weights: Any) -> Any:
    """Weights that multiply losses: a number, or one axis for each axis of the losses."""
    losses, weights = together(losses, weights)
    weights = _of_type(weights, losses)
    shape, given = tuple(losses.shape), tuple(weights.shape)
    require_weights(shape, given)
    if not given:
        return weights
    if agree(shape, given):
        return checked_when_run(weights, losses)
    ones = len(shape) - 1
    if len(given) == 2:
        weights = TABLE["index"](weights, key=(slice(None), 0))
    weights = checked_when_run(weights, TABLE["index"](losses, key=(slice(None), *(0,) * ones)))
    return TABLE["index"](weights, key=(slice(None), *(None,) * ones))


def require_weights(losses: Shape, weights: Shape) -> None:
    """Raise a ShapeError for weights that are neither a number, nor one each, nor like the losses."""
    each = losses[:1]
    if not (
        weights == ()
        or agree(losses, weights)
        or (each and (agree(each, weights) or agree((*each, 1), weights)))
    ):
        also = "" if len(losses) < 2 else f", or has the shape of the losses, {shown(losses)}"
        one = "a number" if not each else f"a number, or one for each example, {shown(each)}"
        hint = ": y[:, None] and p[:, None] make an example of each number" if not each else ""
        raise ShapeError(f"sample_weight is {one}{also}, got {shown(weights)}{hint}")


def together(*values: Any) -> list[Any]:
    """Lists and numbers as NumPy arrays; as tensors, if one of them is one, and on its backend."""
    tensors = [v for v in values if isinstance(v, Tensor)]
    if not tensors:
        return [_array(v) for v in values]
    there = tensors[-1].backend
    return [v if isinstance(v, Tensor) else tensor(v, backend=there) for v in values]


def is_float(x: Any) -> bool:
    """Whether an array or a tensor holds floats."""
    return str(x.dtype).startswith(("float", "bfloat"))


def shown(shape: Shape) -> str:
    """A shape as errors show it: a length that is open is that of the batch."""
    lengths = ["batch" if n is None else str(n) for n in shape]
    return f"({', '.join(lengths)}{',' if len(shape) == 1 else ''})"


def _axes(rule: Rule, owner: str, y: Any, p: Shape) -> Axes:
    shape = tuple(y.shape)
    found = rule.axes(shape, p)
    if found is not None:
        return found
    expected, hint = f"targets of shape {shown(p)}", ""
    if not p:
        expected = "an axis of outputs"
    elif rule is CLASSES:
        expected = f"class numbers of shape {shown(p[:-1])}"
        if agree(p, shape):
            hint = f": for one-hot rows use {owner.removeprefix('sparse_')}"
    elif agree(p[:-1], shape) and not is_float(y):
        hint = ": for class numbers use the sparse loss or metric, or utils.to_categorical(y)"
    raise ShapeError(
        f"{owner} expects {expected} beside predictions of shape {shown(p)}, got {shown(shape)}{hint}"
    )


def _array(values: Any) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"the nested lists are ragged: {error}") from error
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"a loss or metric needs numbers, got {array.dtype}")
    return native(array)


def _of_type(x: Any, other: Any) -> Any:
    """x in the type of the other, if that holds floats."""
    same = str(x.dtype) == str(other.dtype)
    return x if same or not is_float(other) else TABLE["cast"](x, dtype=str(other.dtype))


def _with_last_axis(x: Any, change: int) -> Any:
    """x with one axis of length 1 more at its end, or one less."""
    if not change:
        return x
    return TABLE["index"](x, key=(..., None) if change > 0 else (..., 0))
