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
what an update rule reads                  its own, if it may be stored as what is overwritten: floats
                                           are not stored as integers
=========================================  =========================================================

An op of floats is one whose formula makes floats of integers. An array of another type than the one in
the table is cast to it before the op runs, by the op `cast`: that is recorded, and gradients flow back
through it. So the functions of all backends get one type, and give the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet import config
from refnet.errors import DTypeError
from refnet.shapes import Attributes, Spec, number

if TYPE_CHECKING:
    from refnet.op import Op

OWN = ("labels", "indices", "key")  # inputs that keep their type, whatever stands beside them
TRUTHS = ("condition", "mask")
PRODUCTS = ("matmul", "linear")
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
NARROW = {"bool", "int8", "uint8"}  # their numbers are numbers of bfloat16

_of_floats: dict[Op, bool] = {}  # what `_makes_floats` found out


def common(dtypes: Sequence[str]) -> str:
    """The type of arrays of these types together.

    >>> common(["uint8", "int8"]), common(["int32", "float32"]), common(["bfloat16", "float16"])
    ('int16', 'float64', 'float32')
    """
    others = set(dtypes) - {"bfloat16"}
    if "bfloat16" not in dtypes:
        return str(np.result_type(*others))
    return "bfloat16" if others <= NARROW else str(np.result_type("float32", *others))


def is_float(dtype: str) -> bool:
    """Whether a type holds fractions: gradients flow through tensors of such types alone."""
    return dtype.startswith(("float", "bfloat"))


def castable(source: str, target: str) -> bool:
    """Whether numbers of a type may be stored as another: integers as floats, not floats as integers.

    >>> castable("float64", "float32"), castable("int64", "float32"), castable("float32", "int64")
    (True, True, False)
    """
    source, target = ("float32" if t == "bfloat16" else t for t in (source, target))
    return np.can_cast(source, target, "same_kind")


def meets(op: Op, count: int) -> list[bool]:
    """Which of `count` inputs are brought to one type."""
    apart = {*OWN, *TRUTHS, *op.shape_of, *(op.primal.outputs[1:] if op.primal else ())}
    free = bool(op.writes) or "dtype" in op.attributes
    return [not free and name not in apart for name in op.names(count)]


def promoted(
    op: Op, specs: Sequence[Spec], attributes: Attributes, weak: Mapping[int, Any] | None = None
) -> list[str]:
    """The types in which an op takes inputs of these types; a DTypeError if it takes no such.

    `weak` has the Python numbers among the inputs, by their places; their specs do not count.
    """
    names, joined = op.names(len(specs)), _joined(op, len(specs))
    weak = weak or {}
    if op.writes:
        _require_castable(op, names, specs)
    together = [s.dtype for i, s in enumerate(specs) if joined[i] and i not in weak]
    together = _with_numbers(op, together, [x for i, x in weak.items() if joined[i]])
    if together and not all(map(is_float, together)):
        floats = any(map(_is_fraction, attributes.values())) or _makes_floats(op, specs, attributes)
        if floats or (op.name in PRODUCTS and any(map(is_float, together))):
            together = [t if is_float(t) else config.floatx() for t in together]
    target = common(together) if together else ""
    own = (_alone(weak[i]) if i in weak else s.dtype for i, s in enumerate(specs))
    return [
        target if meets else "bool" if name in TRUTHS else dtype
        for name, dtype, meets in zip(names, own, joined, strict=True)
    ]


def _joined(op: Op, count: int) -> list[bool]:
    """Which of `count` inputs are brought to one type."""
    kept = op.primal.outputs[1:] if op.primal else ()  # in the precision they were computed in
    apart = {*OWN, *TRUTHS, *op.shape_of, *kept}
    free = bool(op.writes) or "dtype" in op.attributes
    return [not free and name not in apart for name in op.names(count)]


def _with_numbers(op: Op, dtypes: list[str], numbers: Sequence[Any]) -> list[str]:
    """The types that meet where arrays of `dtypes` meet Python numbers: these weigh nothing, as a rule."""
    if not dtypes:
        return [_alone(x) for x in numbers]
    there = common(dtypes)
    for x in numbers:
        if is_float(there) or isinstance(x, bool):
            continue
        if isinstance(x, float):
            return ["float64" if op.name in COMPARISONS else config.floatx()]
        if there == "bool" or (op.name in COMPARISONS and not _holds(there, x)):
            dtypes = [*dtypes, "int64"]
    return dtypes


def _alone(x: Any) -> str:
    """The type of a Python number that meets no array."""
    return config.floatx() if isinstance(x, float) else str(np.asarray(x).dtype)


def _holds(dtype: str, x: int) -> bool:
    return bool(np.iinfo(dtype).min <= x <= np.iinfo(dtype).max)


def _require_castable(op: Op, names: Sequence[str], specs: Sequence[Spec]) -> None:
    target = specs[0].dtype
    for name, spec in zip(names, specs, strict=True):
        if not castable(spec.dtype, target) or (name in op.writes and spec.dtype != target):
            raise DTypeError(
                f"{op.name}: {names[0]} holds {target}, and {name} {spec.dtype} cannot be stored there"
            )


def _is_fraction(value: Any) -> bool:
    return isinstance(value, float) and np.isfinite(value) and not value.is_integer()


def _makes_floats(op: Op, specs: Sequence[Spec], attributes: Attributes) -> bool:
    """Whether an op computes in floats: activations and gradients do, and whose formula says so."""
    if op.primal is not None or op.file == "activations":
        return True
    if op not in _of_floats:
        joined = _joined(op, len(specs))
        kinds = ["int64" if meet else s.dtype for s, meet in zip(specs, joined, strict=True)]
        ones = [number(kind, len(s.shape)) for kind, s in zip(kinds, specs, strict=True)]
        try:
            with np.errstate(all="ignore"):
                y = op.function(*ones, **attributes)
        except (ValueError, IndexError, TypeError):  # attributes that are not for one number
            return False
        y = y[0] if isinstance(y, tuple) else y
        _of_floats[op] = np.asarray(y).dtype.kind == "f"
    return _of_floats[op]


# -- arrays ----------------------------------------------------------------------------------------


def promoted_arrays(op: Op, inputs: Sequence[Any], attributes: Attributes) -> Sequence[Any]:
    """NumPy arrays, lists and numbers as arrays of the types in which the op takes them."""
    kinds = {getattr(x, "dtype", None) for x in inputs}
    if len(kinds) == 1 and getattr(kinds.pop(), "kind", "") == "f":
        return inputs
    weak = {i: x for i, x in enumerate(inputs) if type(x) in (bool, int, float)}
    arrays = [x if isinstance(x, np.ndarray) else np.asarray(x) for x in inputs]
    specs = [Spec(x.shape, str(x.dtype)) for x in arrays]
    types = promoted(op, specs, attributes, weak)
    return [x.astype(t, copy=False) for x, t in zip(arrays, types, strict=True)]
