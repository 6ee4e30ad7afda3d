"""Which type an op computes in: NumPy's rules, and floatx where integers become floats.

=========================================  =========================================================
what meets                                 type
=========================================  =========================================================
arrays                                     NumPy's `result_type`: the smallest that holds both.
                                           uint8 and int8: int16; int8 and float32: float32;
                                           int32 and float32: float64
bfloat16 with an array                     bool, int8 and uint8: bfloat16; all others: as float32
a Python number with arrays                that of the arrays (the number is *weak*, NEP 50); a float
                                           with integers: floatx, where they are compared float64
integers in an op of floats                floatx: exp, divide, mean, the activations, the losses ...;
                                           in a product of matrices, if there are floats beside them
integers, and an attribute like 0.5        floatx: ``clip(x, 0.5, 2.5)``
labels, positions, keys; what gives its    each its own
shape alone
conditions, masks                          bool
what an update rule reads                  floats: each its own; integers: float32, or float64 where that
                                           is overwritten. `assign` alone overwrites integers
=========================================  =========================================================

An op of floats is one whose formula makes floats of integers, or whose row says `floats`. An array of
another type than the one in the table is cast to it before the op runs, by the op `cast`: that is
recorded, and gradients flow back through it. So the functions of all backends get one type, and give
the same.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet import config
from refnet.base.dtypes import castable, common, is_float, native
from refnet.errors import DTypeError
from refnet.op.results import as_tuple
from refnet.op.shapes import Attributes, number

if TYPE_CHECKING:
    from refnet.op import Op

OWN = ("labels", "indices", "key")  # inputs that keep their type, whatever stands beside them
TRUTHS = ("condition", "mask")
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
WEAK = (bool, int, float)  # Python's numbers: among types, they stand for themselves


def promoted(op: Op, given: Sequence[Any], attributes: Attributes) -> tuple[str, ...]:
    """The types in which an op takes inputs; a DTypeError if it takes no such.

    `given` has for each input the name of its type, or the input itself if it is a Python number.
    """
    kinds = tuple([x if isinstance(x, str) else type(x) for x in given])
    if op.name in COMPARISONS:
        kinds = _with_room(kinds, given)
    known = tuple([(name, value, type(value)) for name, value in attributes.items()])
    try:
        hash(known)
    except TypeError:  # a list or a slice
        return _promoted.__wrapped__(op, kinds, known, config.floatx())
    return _promoted(op, kinds, known, config.floatx())


@functools.lru_cache(maxsize=4096)
def _promoted(
    op: Op, kinds: tuple[Any, ...], attributes: tuple[Any, ...], floatx: str
) -> tuple[str, ...]:
    """`promoted`, worked out once for each op, types and attributes."""
    names = op.names(len(kinds))
    alone = [
        "bool" if n in TRUTHS else _alone(k, floatx) for n, k in zip(names, kinds, strict=True)
    ]
    if op.writes:
        _require_castable(op, names, alone)
        wide = common([alone[0], "float32"])
        return tuple(t if is_float(t) or op.name == "assign" else wide for t in alone)
    joins = joined_inputs(op, len(kinds))
    numbers = [k for k, join in zip(kinds, joins, strict=True) if join and k in WEAK]
    arrays = [k for k, join in zip(kinds, joins, strict=True) if join and k not in WEAK]
    if not (arrays or numbers):
        return tuple(alone)
    if not arrays:
        arrays = [next(_alone(k, floatx) for k in (float, int, bool) if k in numbers)]
    if not all(map(is_float, arrays)) and _is_of_floats(op, arrays, alone, joins, attributes):
        arrays = [t if is_float(t) else floatx for t in arrays]
    target = _meeting(op, arrays, numbers, floatx)
    return tuple(target if join else t for t, join in zip(alone, joins, strict=True))


def _alone(kind: Any, floatx: str) -> str:
    """The type of an input that meets no other."""
    return {bool: "bool", int: "int64", float: floatx}.get(kind, kind)


@functools.cache
def keeps_floats(op: Op) -> bool:
    """Whether an op takes inputs of one type of floats as they are, always."""
    return not op.writes and not {*TRUTHS, *OWN} & {*op.inputs}


@functools.cache
def joined_inputs(op: Op, count: int) -> list[bool]:
    """Which of `count` inputs are brought to one type."""
    apart = {*OWN, *TRUTHS, *op.shape_of}
    if op.primal:  # what was kept is in the precision it was computed in
        apart |= {*op.primal.outputs} - {*op.primal.differentiable}
    return ["dtype" not in op.attributes and name not in apart for name in op.names(count)]


def _meeting(op: Op, arrays: Sequence[str], numbers: Sequence[Any], floatx: str) -> str:
    """The type of arrays of these types and Python numbers, which are weak."""
    there = common(arrays)
    if op.name in COMPARISONS and is_float(there) and not any(map(is_float, arrays)):
        raise DTypeError(
            f"{op.name} of {' and '.join(arrays)}: no type holds the integers of both. Cast one first"
        )
    if is_float(there) or not numbers:
        return there
    if float in numbers:
        return "float64" if op.name in COMPARISONS else floatx
    return "int64" if there == "bool" and int in numbers else there


def _with_room(kinds: tuple[Any, ...], given: Sequence[Any]) -> tuple[Any, ...]:
    """Where integers are compared with a Python integer that their type does not hold: its own type."""
    arrays = [k for k in kinds if k not in WEAK]
    if int not in kinds or not arrays or is_float(there := common(arrays)) or there == "bool":
        return kinds
    least, most = np.iinfo(there).min, np.iinfo(there).max
    return tuple(
        k if k is not int or least <= x <= most else str(np.asarray(x).dtype)
        for k, x in zip(kinds, given, strict=True)
    )


def _require_castable(op: Op, names: Sequence[str], dtypes: Sequence[str]) -> None:
    target = dtypes[0]
    if op.name != "assign" and not is_float(target):
        raise DTypeError(f"{op.name} updates floats, got {names[0]} of {target}")
    for name, dtype in zip(names, dtypes, strict=True):
        if not castable(dtype, target) or (name in op.writes and dtype != target):
            raise DTypeError(
                f"{op.name}: {names[0]} holds {target}, and {name} {dtype} cannot be stored there"
            )


def _is_of_floats(
    op: Op,
    arrays: Sequence[str],
    alone: Sequence[str],
    joins: Sequence[bool],
    attributes: tuple[Any, ...],
) -> bool:
    """Whether an op takes these arrays, integers among them, as floats."""
    if op.primal is not None or op.activation or op.floats:
        return True
    if any(_is_fraction(value) for _, value, _ in attributes):
        return True
    if op.name == "matmul" and any(map(is_float, arrays)):
        return True
    given = {name: value for name, value, _ in attributes}
    return _makes_floats(
        op, ["int64" if join else t for t, join in zip(alone, joins, strict=True)], given
    )


def _is_fraction(value: Any) -> bool:
    return isinstance(value, float) and np.isfinite(value) and not value.is_integer()


def _makes_floats(op: Op, dtypes: Sequence[str], attributes: Attributes) -> bool:
    """Whether the formula does, for matrices of one number each."""
    ones = [number("float32" if t == "bfloat16" else t, 2) for t in dtypes]
    for given in (attributes, {}):  # without, where they are not for such matrices
        try:
            with np.errstate(all="ignore"):
                y = op.function(*ones, **given)
        except (ValueError, IndexError, TypeError):
            continue
        return np.asarray(as_tuple(y)[0]).dtype.kind == "f"
    return False


# -- arrays ----------------------------------------------------------------------------------------


def _is_native_float(dtype: Any) -> bool:
    return getattr(dtype, "kind", "") == "f" and dtype.isnative


def promoted_arrays(op: Op, inputs: Sequence[Any], attributes: Attributes) -> Sequence[Any]:
    """NumPy arrays, lists and numbers as arrays of the types in which the op takes them."""
    kinds = {getattr(x, "dtype", None) for x in inputs}
    if len(kinds) == 1 and keeps_floats(op) and _is_native_float(kinds.pop()):
        return inputs
    arrays = [native(x if isinstance(x, np.ndarray) else np.asarray(x)) for x in inputs]
    given = [x if type(x) in WEAK else str(a.dtype) for x, a in zip(inputs, arrays, strict=True)]
    types = promoted(op, given, attributes)
    return [x.astype(t, copy=False) for x, t in zip(arrays, types, strict=True)]
