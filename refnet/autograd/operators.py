"""What one can write with tensors: a + b, x[1:], x.sum(axis=0). Each is the op of that name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet.base.dtypes import is_float
from refnet.base.elsewhere import Explained
from refnet.config import floatx
from refnet.errors import ArgumentError, DTypeError, NotReadyError, ShapeError, UnsizedError
from refnet.ops import TABLE


class Operators(Explained):
    """Arithmetic, comparisons, indexing, shape and reductions, as NumPy's arrays have them."""

    __slots__ = ()

    if TYPE_CHECKING:  # what is inherited from here has these

        @property
        def shape(self) -> tuple[int | None, ...]: ...

        @property
        def ndim(self) -> int: ...

        @property
        def size(self) -> int: ...

        @property
        def dtype(self) -> str: ...

        name: str

        def numpy(self) -> np.ndarray[Any, Any]: ...

    # -- arithmetic ----------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return TABLE["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return TABLE["add"](other, self)

    def __sub__(self, other: Any) -> Any:
        return TABLE["subtract"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return TABLE["subtract"](other, self)

    def __mul__(self, other: Any) -> Any:
        return TABLE["multiply"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return TABLE["multiply"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return TABLE["divide"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return TABLE["divide"](other, self)

    def __pow__(self, other: Any) -> Any:
        return TABLE["power"](self, other)

    def __rpow__(self, other: Any) -> Any:
        return TABLE["power"](other, self)

    def __matmul__(self, other: Any) -> Any:
        return TABLE["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return TABLE["matmul"](other, self)

    def __neg__(self) -> Any:
        return TABLE["negative"](self)

    def __pos__(self) -> Any:
        return TABLE["identity"](self)

    def __abs__(self) -> Any:
        return TABLE["abs"](self)

    def __eq__(self, other: object) -> Any:
        return TABLE["equal"](self, other)

    def __ne__(self, other: object) -> Any:
        return TABLE["not_equal"](self, other)

    def __lt__(self, other: Any) -> Any:
        return TABLE["less"](self, other)

    def __le__(self, other: Any) -> Any:
        return TABLE["less_equal"](self, other)

    def __gt__(self, other: Any) -> Any:
        return TABLE["greater"](self, other)

    def __ge__(self, other: Any) -> Any:
        return TABLE["greater_equal"](self, other)

    def __and__(self, other: Any) -> Any:
        return TABLE["where"](_truths("&", self), _truths("&", other), False)

    def __or__(self, other: Any) -> Any:
        return TABLE["where"](_truths("|", self), True, _truths("|", other))

    def __xor__(self, other: Any) -> Any:
        return TABLE["not_equal"](_truths("^", self), _truths("^", other))

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Any:
        return TABLE["equal"](_truths("~", self), False)

    # -- shape and reductions ------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        return _picked(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise ArgumentError(
            "a tensor does not change, so x[key] = value has no meaning: refnet.ops.where(mask, "
            "value, x) is a new tensor; a Variable is overwritten as a whole, by .assign(values)"
        )

    def reshape(self, *shape: Any) -> Any:
        """The same elements in another shape: ``x.reshape(2, 3)`` or ``x.reshape((2, -1))``."""
        return TABLE["reshape"](self, shape=_tuple(shape))

    def flatten(self) -> Any:
        """All elements along one axis, in row-major order."""
        return TABLE["reshape"](self, shape=(-1,))

    ravel = flatten

    def expand_dims(self, axis: int | tuple[int, ...]) -> Any:
        """A new axis of length 1, which is then axis `axis`; or several."""
        axes = axis if isinstance(axis, tuple) else (axis,)
        count = self.ndim + len(axes)
        new = {_axis(a, count) for a in axes}
        key = tuple(None if i in new else slice(None) for i in range(count))
        return TABLE["index"](self, key=key)

    def squeeze(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """Without one axis of length 1, several, or all there are."""
        if axis is None:
            axes = [i for i, n in enumerate(self.shape) if n == 1]
        else:
            axes = [_axis(a, self.ndim) for a in (axis if isinstance(axis, tuple) else (axis,))]
        for i in axes:
            if self.shape[i] != 1:
                raise ShapeError(f"squeeze: axis {i} of shape {self.shape} has not length 1")
        key = tuple(0 if i in axes else slice(None) for i in range(self.ndim))
        return TABLE["index"](self, key=key)

    def transpose(self, *axes: Any) -> Any:
        """The axes in another order; reversed if none is given."""
        return TABLE["transpose"](self, axes=_tuple(axes) if axes else None)

    def swapaxes(self, axis1: int, axis2: int) -> Any:
        """Two axes in each other's place."""
        order = list(range(self.ndim))
        i, j = _axis(axis1, self.ndim), _axis(axis2, self.ndim)
        order[i], order[j] = j, i
        return TABLE["transpose"](self, axes=tuple(order))

    @property
    def T(self) -> Any:
        """The axes reversed."""
        return TABLE["transpose"](self)

    def split(self, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
        """Parts along an axis: so many of equal length, or cut before each of some positions."""
        axis = _axis(axis, self.ndim)
        n = self.shape[axis]
        if isinstance(indices_or_sections, int):
            if n is None or indices_or_sections < 1 or n % indices_or_sections:
                raise ShapeError(
                    f"split: an axis of length {n} is not cut into {indices_or_sections} equal parts"
                )
            length = n // indices_or_sections
            cuts = list(range(length, n, length)) if length else [0] * (indices_or_sections - 1)
        else:
            cuts = [_whole("positions", i) for i in indices_or_sections]
        before = (slice(None),) * axis
        ends = zip([None, *cuts], [*cuts, None], strict=True)
        return [TABLE["index"](self, key=(*before, slice(a, b))) for a, b in ends]

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Σ over an axis, several, or all."""
        return TABLE["sum"](self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The mean over an axis, several, or all."""
        return TABLE["mean"](self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The mean squared distance from the mean, (1/n) Σ (x_i - mean)²."""
        x = self if is_float(self.dtype) else self.astype(floatx())
        distance = x - x.mean(axis, keepdims=True)
        return TABLE["square"](distance).mean(axis, keepdims)

    def std(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The standard deviation, √var. It has no gradient where all x_i are equal."""
        return TABLE["sqrt"](self.var(axis, keepdims))

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The largest element along an axis, several, or all."""
        return TABLE["max"](self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The smallest element along an axis, several, or all."""
        return TABLE["min"](self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None) -> Any:
        """Where the largest element is."""
        return TABLE["argmax"](self, axis=axis)

    def argmin(self, axis: int | None = None) -> Any:
        """Where the smallest element is."""
        return TABLE["argmin"](self, axis=axis)

    def clip(self, minimum: float = -np.inf, maximum: float = np.inf) -> Any:
        """Every element brought to within the two bounds."""
        return TABLE["clip"](self, minimum=minimum, maximum=maximum)

    def astype(self, dtype: Any) -> Any:
        """The same values as numbers of another type."""
        return TABLE["cast"](self, dtype=dtype)

    # -- as Python has them --------------------------------------------------------------------

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        array = self.numpy()
        if array.size != 1:
            raise ShapeError(f"item() is for one element, the tensor has shape {self.shape}")
        return array.item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self.numpy().tolist()

    def __format__(self, form: str) -> str:
        return format(self.item(), form) if form else repr(self)

    def __index__(self) -> int:
        return self.numpy().__index__()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"a tensor of shape {self.shape} is neither true nor false")
        return bool(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise UnsizedError("a tensor without axes has no length")
        if self.shape[0] is None:
            raise NotReadyError(f"tensor {self.name!r} of shape {self.shape} has no length yet")
        return self.shape[0]

    def __iter__(self) -> Iterable[Any]:
        return (self[i] for i in range(len(self)))


def _tuple(items: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(items[0]) if len(items) == 1 and not isinstance(items[0], int) else items


def _axis(axis: int, count: int) -> int:
    """An axis counted from the front, where there are `count` of them."""
    if not -count <= axis < count:
        raise ShapeError(f"there is no axis {axis} among {count}")
    return axis % count


def _truths(sign: str, x: Any) -> Any:
    """x, which has to hold booleans."""
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    if str(dtype) != "bool":
        raise DTypeError(f"{sign} joins booleans, as in (x > 0) & (x < 1), got {dtype}")
    return x


# -- keys ------------------------------------------------------------------------------------------


def _picked(x: Any, key: Any) -> Any:
    """x[key]: `index` for what is known when it is written, `gather` for positions that are data."""
    parts = [_part(part) for part in (key if isinstance(key, tuple) else (key,))]
    if sum(part is ... for part in parts) > 1:
        raise ArgumentError("a key holds one ... at most: it stands for all other axes")
    if not any(_is_array(part) for part in parts):
        return TABLE["index"](x, key=tuple(parts) if isinstance(key, tuple) else parts[0])
    return _gathered(x, _spelled_out(x, parts), _side_by_side(parts))


def _part(part: Any) -> Any:
    """One part of a key: an int, a slice, None, ..., or an array or tensor of integers or booleans."""
    if part is None or part is ... or type(part) is int:
        return part
    if isinstance(part, slice):
        ends = part.start, part.stop, part.step
        return slice(*(None if n is None else _whole("slices", n) for n in ends))
    array: Any = part if isinstance(part, Operators) else _array(part)
    if not str(array.dtype).startswith(("int", "uint", "bool")):
        raise DTypeError(f"an index holds integers or booleans, got {array.dtype}")
    known = isinstance(array, np.ndarray) and array.ndim == 0 and not _is_mask(array)
    return int(array) if known else array


def _whole(what: str, n: Any) -> int:
    try:
        return operator.index(n)
    except TypeError:
        raise ArgumentError(f"{what} are made of integers, got {n!r}") from None


def _array(part: Any) -> np.ndarray[Any, Any]:
    """A number, list or array as an array, integers as int64; an empty list holds integers."""
    try:
        array = np.asarray(part)
    except ValueError as error:
        raise ShapeError(f"an index of nested lists is ragged: {error}") from error
    if array.dtype.kind not in "biuf":
        raise ArgumentError(
            "a tensor is indexed by integers, slices, None, ..., and by lists, arrays or tensors of "
            f"integers or booleans, got {part!r}"
        )
    whole = array.dtype.kind in "iu" or (array.size == 0 and isinstance(part, (list, tuple)))
    return array.astype(np.int64) if whole else array


def _is_array(part: Any) -> bool:
    return isinstance(part, (np.ndarray, Operators))


def _is_mask(part: Any) -> bool:
    return _is_array(part) and str(part.dtype) == "bool"


def _is_pick(part: Any) -> bool:
    return _is_array(part) or isinstance(part, int)


def _side_by_side(parts: Sequence[Any]) -> bool:
    """Whether arrays and integers follow one another: the picks then stand where these stood.

    With a slice, None or ... in between there is no such place, and the picks come first.
    """
    places = [i for i, part in enumerate(parts) if _is_pick(part)]
    return places[-1] - places[0] < len(places)


def _axes_of(part: Any) -> int:
    """How many axes a part of a key is for."""
    return int(part.ndim) if _is_mask(part) else int(part is not None)


def _spelled_out(x: Any, parts: Sequence[Any]) -> list[Any]:
    """The parts of a key, with a slice for each of the axes that ... stands for."""
    taken = sum(_axes_of(part) for part in parts if part is not ...)
    if taken > x.ndim:
        raise ShapeError(f"a key for {taken} axes, but the array has shape {x.shape}")
    rest = [slice(None)] * (x.ndim - taken)
    at = next((i for i, part in enumerate(parts) if part is ...), len(parts))
    return [*parts[:at], *rest, *parts[at + 1 :]]


def _gathered(x: Any, parts: Sequence[Any], in_place: bool) -> Any:
    """Slices and new axes first, by `index`; then the picks along the axes that are left."""
    views: list[Any] = []  # for each axis of what is gathered from: a slice or None
    axes: list[int] = []  # those of them that are picked from
    picks: dict[int, Any] = {}  # by the first of its axes
    for part in parts:
        if _is_pick(part):
            _check_number(part, x.shape, sum(view is not None for view in views))
            picks[len(views)] = part
            count = max(1, _axes_of(part))
            axes += range(len(views), len(views) + count)
            views += [slice(None) if _axes_of(part) else None] * count
        else:
            views.append(part)
    if any(view != slice(None) for view in views):
        x = TABLE["index"](x, key=tuple(views))
    at = axes[0] if in_place else 0
    return TABLE["gather"](x, _coordinates(x, picks), axes=tuple(axes), at=at)


def _check_number(part: Any, shape: Sequence[int | None], axis: int) -> None:
    """Raise a ShapeError for an integer that is out of range, even where nothing is picked."""
    n = shape[axis] if isinstance(part, int) else None
    if n is not None and not -n <= part < n:
        raise ShapeError(
            f"index {part} is out of range for axis {axis} of length {n} (of an array of shape {shape})"
        )


def _coordinates(x: Any, picks: Mapping[int, Any]) -> Any:
    """Integers, index arrays and masks, each with the axis of x that it begins with, as coordinates."""
    positions = []
    for axis, pick in picks.items():
        array: Any = pick if isinstance(pick, Operators) else np.asarray(pick)
        if _is_mask(array):  # one truth is a mask for the new axis that was made for it
            array = array if array.ndim else array.reshape((1,))
            mask = array if isinstance(array, Operators) else x.backend.array(array)
            found = TABLE["mask_coordinates"](mask, x, axis=axis)
            if len(picks) == 1:
                return found
            positions += [found[..., j] for j in range(array.ndim)]
        else:
            positions.append(array)
    if all(isinstance(array, np.ndarray) for array in positions):
        return x.backend.array(TABLE["coordinates"](*positions))
    there = (p if isinstance(p, Operators) else x.backend.array(p) for p in positions)
    return TABLE["coordinates"](*there)
