"""What comes out, before anything is computed: the shape and type of an op's results.

A graph is built of placeholders, which have a shape and a type but no values yet. A rule of this page
turns what is known of an op's inputs into what is known of its results; a length that is open until
the graph runs is None. A rule raises a ShapeError where no values could ever make the inputs fit, so
that a wrong graph fails on the line where it is written.

The row of an op names its rule. Without one, shapes broadcast; the gradient with respect to an input
has that input's shape; and what is updated in place keeps its shape. Types need no rule: the formula
itself is asked, with one number for each input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet.errors import ShapeError
from refnet.op.results import as_tuple

if TYPE_CHECKING:
    from refnet.op import Op

Length = int | None
Shape = tuple[Length, ...]


@dataclass(frozen=True)
class Spec:
    """What is known of an array that has no values yet: its shape and its type."""

    shape: Shape
    dtype: str

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


Attributes = Mapping[str, Any]
Rule = Callable[["Op", Sequence[Spec], Attributes], Sequence[Spec]]


# -- types -----------------------------------------------------------------------------------------


def types(op: Op, specs: Sequence[Spec], attributes: Attributes) -> list[str]:
    """The types of the results: those the formula gives for one number of each input's type.

    NumPy has no bfloat16. There a result is bfloat16 if it has the type of whatever stands in for it.
    """
    if "dtype" in attributes and op.primal is None:
        return [str(attributes["dtype"])] * len(op.outputs)
    found = _types(op, specs, attributes, "float32")
    if all(s.dtype != "bfloat16" for s in specs):
        return found
    others = _types(op, specs, attributes, "float64")
    return [a if a == b else "bfloat16" for a, b in zip(found, others, strict=True)]


def _types(op: Op, specs: Sequence[Spec], attributes: Attributes, bfloat16: str) -> list[str]:
    kinds = [bfloat16 if s.dtype == "bfloat16" else s.dtype for s in specs]
    numbers = [number(kind, len(s.shape)) for kind, s in zip(kinds, specs, strict=True)]
    with np.errstate(all="ignore"):
        results = as_tuple(op.function(*numbers, **attributes))
    return ["float32" if y is None else str(np.asarray(y).dtype) for y in results]


def number(dtype: str, axes: int) -> np.ndarray[Any, Any]:
    """One number: 1.0, or for integers 0, which is a valid class number."""
    return np.full((1,) * axes, dtype.startswith("float"), dtype)


# -- shapes that broadcast -------------------------------------------------------------------------


def common_length(a: Length, b: Length) -> Length:
    """The length of an axis where arrays of these lengths meet; a ShapeError if they cannot."""
    if a == b or b == 1:
        return a
    if a == 1 or a is None:
        return b
    if b is None:
        return a
    raise ShapeError(f"lengths {a} and {b} do not fit")


def broadcast(*shapes: Shape) -> Shape:
    """The shape of arrays of these shapes, stretched to fit each other as NumPy does it.

    >>> broadcast((None, 1, 4), (3, 1))
    (None, 3, 4)
    """
    result: Shape = ()
    for shape in shapes:
        axes = max(len(result), len(shape))
        pairs = zip(_padded(result, axes), _padded(shape, axes), strict=True)
        try:
            result = tuple(common_length(a, b) for a, b in pairs)
        except ShapeError as error:
            given = " and ".join(map(str, shapes))
            raise ShapeError(f"shapes {given} do not broadcast: {error}") from None
    return result


def _padded(shape: Shape, axes: int) -> Shape:
    return (1,) * (axes - len(shape)) + shape


def agree(expected: Shape, got: Shape) -> bool:
    """Whether an array of shape `got` may stand where `expected` is promised (None: any length).

    >>> agree((None, 4), (7, 4)), agree((None, 4), (7, 5))
    (True, False)
    """
    return len(expected) == len(got) and all(
        a is None or b is None or a == b for a, b in zip(expected, got, strict=True)
    )


# -- what a gradient is given ----------------------------------------------------------------------


def require_results(op: Op, specs: Sequence[Spec], attributes: Attributes) -> None:
    """Raise a ShapeError unless g, and the results that were saved, have the shapes of the op's results.

    They are inferred from the op's inputs, if all of these were saved. If the result itself was, g has
    its shape. With several differentiable results there is such a g for each.
    """
    primal = op.primal
    assert primal is not None
    count = len(primal.upstream)
    saved = dict(zip(op.inputs[count:], specs[count:], strict=False))
    upstream = dict(
        zip(primal.differentiable, zip(primal.upstream, specs, strict=False), strict=True)
    )
    for result, (name, g) in upstream.items():
        if result in saved:
            _require((name,), (g.shape,), saved[result].shape)
    if not set(primal.inputs) <= set(saved):
        return
    inputs = specs[count:] if primal.variadic else [saved[name] for name in primal.inputs]
    given = {name: value for name, value in attributes.items() if name in primal.attributes}
    results = zip(primal.outputs, primal.infer(inputs, given), strict=True)
    for result, spec in results:
        if result in upstream:
            name, g = upstream[result]
            _require((name,), (g.shape,), spec.shape)
        if result in saved:
            _require((result,), (saved[result].shape,), spec.shape)


def _require(names: Sequence[str], shapes: Sequence[Shape], expected: Shape) -> None:
    for name, shape in zip(names, shapes, strict=True):
        if not agree(expected, shape):
            raise ShapeError(f"{name} of shape {shape} has not the shape of the result, {expected}")


# -- the rules -------------------------------------------------------------------------------------


def by_name(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """The rule of every row that names none: by the name of the result, or else by broadcasting."""
    named = dict(zip(op.inputs, specs, strict=False))
    if op.writes:
        target = specs[0].shape
        for name, spec in named.items():
            seen = spec.shape if name in op.writes else broadcast(target, spec.shape)
            if name in ("learning_rate", "t") and spec.shape:
                raise ShapeError(f"{name} is a number, got shape {spec.shape}")
            if not agree(target, seen):
                raise ShapeError(f"{name} of shape {spec.shape} does not fit {target}")
    if op.writes:
        return [named[name] for name in op.outputs]
    shapes = []
    for name in op.outputs:
        source = name[1:] if op.primal else ""
        if source in named:
            shapes.append(named[source].shape)
        else:
            shapes.append(broadcast(*(s.shape for s in specs)))
    return [Spec(s, t) for s, t in zip(shapes, types(op, specs, attributes), strict=True)]


def drawn(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """Random numbers: the attributes say which shape and type; without a type, integers."""
    _require_key(specs[0])
    return [Spec(tuple(attributes["shape"]), str(attributes.get("dtype", "int64")))]


def dropped(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """The first input, some of its elements dropped with the numbers that are drawn from a key."""
    _require_key(specs[1])
    return [specs[0]]


def _require_key(key: Spec) -> None:
    if not agree((2,), key.shape):
        raise ShapeError(f"a key holds two integers, got shape {key.shape}")


def summed_to(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """The attribute `shape`, which broadcasts to the shape of x."""
    (x,), shape = specs, tuple(attributes["shape"])
    if not agree(x.shape, broadcast(x.shape, shape)):
        raise ShapeError(f"an array of shape {x.shape} is not summed to the shape {shape}")
    return [Spec(shape, x.dtype)]


def reduced(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """The axes that are reduced are gone, or with `keepdims` have length 1."""
    (x,), axis, keep = specs, attributes["axis"], attributes["keepdims"]
    axes = range(len(x.shape)) if axis is None else np.atleast_1d(axis)
    gone = {_axis(int(a), x.shape) for a in axes}
    kept = ((1 if i in gone else n) for i, n in enumerate(x.shape) if keep or i not in gone)
    return [Spec(tuple(kept), t) for t in types(op, specs, attributes)]


def _axis(axis: int, shape: Shape) -> int:
    """An axis counted from the front."""
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"there is no axis {axis} in an array of shape {shape}")
    return axis % len(shape)


def per_row(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """One number for each row of the first input. What stands beside it has the same shape."""
    return _per_row(op, specs, attributes, specs[0].shape)


def per_labelled_row(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """One number for each row of the first input. The second has a label for each row."""
    return _per_row(op, specs, attributes, specs[0].shape[:-1])


def _per_row(
    op: Op, specs: Sequence[Spec], attributes: Attributes, expected: Shape
) -> Sequence[Spec]:
    rows, other = specs
    if not rows.shape:
        raise ShapeError("a number has no rows: an axis of classes or outputs is needed")
    if not agree(expected, other.shape):
        raise ShapeError(f"shapes {rows.shape} and {other.shape} do not belong together")
    return [Spec(rows.shape[:-1], t) for t in types(op, specs, attributes)]


def product(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """(..., m, k) times (..., k, n) is (..., m, n). A vector on the left has no m, on the right no n."""
    a, b = specs[0].shape, specs[1].shape
    require_axes(a, b)
    k = b[-2] if len(b) > 1 else b[0]
    _summed(a[-1], k, a, b)
    shape = (*broadcast(a[:-2], b[:-2]), *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))
    return [Spec(shape, t) for t in types(op, specs, attributes)]


def require_axes(a: Shape, b: Shape, owner: str = "") -> None:
    """Raise a ShapeError if one of two factors is a number."""
    if not (a and b):
        raise ShapeError(
            f"{owner}needs matrices or vectors, (..., m, k) and (..., k, n), got {a} and {b}: "
            "* multiplies by a number"
        )


def _summed(k: Length, l: Length, a: Shape, b: Shape) -> None:
    if not agree((k,), (l,)):
        raise ShapeError(f"{a} times {b}: rows of {k} numbers meet columns of {l}")


def neurons(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """x (..., k), kernel (k, n) and bias (n,) give (..., n)."""
    x, kernel, bias = (s.shape for s in specs)
    if not x or len(kernel) != 2 or not agree((kernel[1],), bias):
        raise ShapeError(f"needs x (..., k), kernel (k, n), bias (n,), got {x}, {kernel}, {bias}")
    _summed(x[-1], kernel[0], x, kernel)
    return [Spec((*x[:-1], kernel[1]), t) for t in types(op, specs, attributes)]


def neurons_vjp(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """What went into the neurons: x, kernel, bias."""
    g, x, kernel, saved = (s.shape for s in specs)
    if not x or len(kernel) != 2:
        raise ShapeError(f"needs x (..., k) and kernel (k, n), got {x} and {kernel}")
    _summed(x[-1], kernel[0], x, kernel)
    _require(("g", "saved"), (g, saved), (*x[:-1], kernel[1]))
    found = types(op, specs, {**attributes, "wrt": op.attributes["wrt"]})
    return [Spec(s, t) for s, t in zip((x, kernel, kernel[1:]), found, strict=True)]


# -- rules for rearrangements: the type stays ------------------------------------------------------


def moved_back(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """Gradients in the shapes of the inputs that were saved, in the type of what arrived."""
    assert op.primal is not None
    k, flows_to = len(op.primal.upstream), op.primal.wrt
    saved = zip(op.names(len(specs))[k:], specs[k:], strict=True)
    return [Spec(x.shape, specs[0].dtype) for name, x in saved if name in flows_to]


def reshaped(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """The attribute `shape`, where one length may be -1."""
    (x,), shape = specs, attributes["shape"]
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    free = shape.count(-1)
    if free > 1 or any(n < -1 for n in shape):
        raise ShapeError(f"shape {shape} may hold one -1, and no other negative length")
    known = math.prod(n for n in shape if n != -1)
    if None in x.shape:
        return [Spec(tuple(None if n == -1 else n for n in shape), x.dtype)]
    size = math.prod(n or 0 for n in x.shape)
    if size != known if not free else (known == 0 or size % known):
        raise ShapeError(f"{size} numbers of shape {x.shape} do not fill the shape {shape}")
    return [Spec(tuple(size // known if n == -1 else n for n in shape), x.dtype)]


def transposed(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """The axes in another order. The gradient's order is the one that undoes it."""
    shape, axes = specs[0].shape, attributes["axes"]
    order = [_axis(a, shape) for a in (range(len(shape))[::-1] if axes is None else axes)]
    if sorted(order) != list(range(len(shape))):
        raise ShapeError(f"axes {axes} are not an order of the axes of {shape}")
    if op.primal is not None:
        order = [int(a) for a in np.argsort(order)]
    return [Spec(tuple(shape[a] for a in order), specs[0].dtype)]


def indexed(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """x[key] for integers, slices, None and ..."""
    (x,), key = specs, attributes["key"]
    key = key if isinstance(key, tuple) else (key,)
    taken = sum(part is not None and part is not ... for part in key)
    if taken > len(x.shape):
        raise ShapeError(f"{taken} indices for an array of shape {x.shape}")
    rest = (slice(None),) * (len(x.shape) - taken)
    at = key.index(...) if ... in key else len(key)
    key = (*key[:at], *rest, *key[at + 1 :])
    lengths, shape = iter(enumerate(x.shape)), list[Length]()
    for part in key:
        if part is None:
            shape.append(1)
            continue
        axis, n = next(lengths)
        if isinstance(part, slice):
            shape.append(_sliced(part, n))
        elif n is not None and not -n <= part < n:
            raise ShapeError(f"index {part} is out of range for axis {axis} of shape {x.shape}")
    return [Spec(tuple(shape), x.dtype)]


def _sliced(part: slice, n: Length) -> Length:
    if n is None:
        return None
    return len(range(*part.indices(n)))


def joined(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """Along `axis` the lengths add up; all others are the same."""
    first = specs[0].shape
    axis = _axis(attributes["axis"], first)
    total: Length = 0
    for x in specs:
        others = (*first[:axis], None, *first[axis + 1 :])
        if not agree(others, x.shape):
            raise ShapeError(f"shapes {first} and {x.shape} differ in more than axis {axis}")
        total = None if total is None or x.shape[axis] is None else total + (x.shape[axis] or 0)
    return [Spec((*first[:axis], total, *first[axis + 1 :]), specs[0].dtype)]


def stacked(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """A new axis, as long as there are inputs. All have one shape."""
    first = specs[0].shape
    for x in specs:
        if not agree(first, x.shape):
            raise ShapeError(f"shapes {first} and {x.shape} are not the same")
    axis = _axis(attributes["axis"], (*first, None))
    return [Spec((*first[:axis], len(specs), *first[axis:]), specs[0].dtype)]


def stacked_vjp(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """As many slices of g as it is long."""
    g = specs[0]
    axis = _axis(attributes["axis"], g.shape)
    count = g.shape[axis]
    if count is None:
        raise ShapeError(f"the length of axis {axis} of {g.shape} has to be known")
    return [Spec((*g.shape[:axis], *g.shape[axis + 1 :]), g.dtype)] * count


def stretched(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """The attribute `shape`, to which x broadcasts."""
    (x,), shape = specs, tuple(attributes["shape"])
    if not agree(shape, broadcast(x.shape, shape)):
        raise ShapeError(f"an array of shape {x.shape} does not broadcast to {shape}")
    return [Spec(shape, x.dtype)]


def padded(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """Each axis longer by what stands before and after it."""
    (x,), widths = specs, attributes["pad_width"]
    if len(widths) != len(x.shape):
        raise ShapeError(f"pad_width {widths} does not name each axis of {x.shape}")
    pairs = zip(x.shape, widths, strict=True)
    return [Spec(tuple(None if n is None else n + sum(w) for n, w in pairs), x.dtype)]


def packed(op: Op, specs: Sequence[Spec], attributes: Attributes) -> Sequence[Spec]:
    """A vector of `size` numbers, with room for each input from its offset on."""
    offsets, size = attributes["offsets"], attributes["size"]
    if len(offsets) != len(specs):
        raise ShapeError(f"{len(specs)} arrays and {len(offsets)} offsets")
    for x, at in zip(specs, offsets, strict=True):
        if None not in x.shape and not 0 <= at <= size - math.prod(n or 0 for n in x.shape):
            raise ShapeError(f"{x.shape} at offset {at} does not lie within {size} numbers")
    return [Spec((attributes["size"],), specs[0].dtype)]
