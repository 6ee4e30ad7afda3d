"""NumPy's functions on tensors: np.sum(x), np.exp(x), np.concatenate([x, y]), array + x.

NumPy asks an operand that is no array of its own what a function means (its protocols
``__array_ufunc__`` and ``__array_function__``). A tensor answers with the op, or the method, of that
name: what is computed is recorded, and gradients flow. A function that says something about numbers
and has no gradient (np.allclose, np.isnan, np.argsort) is answered by NumPy, on the values. All
others are refused, for their results would have lost their history without a word.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from refnet.autograd.operators import Operators
from refnet.errors import CallError, ShapeError
from refnet.op import Op
from refnet.ops import TABLE

Function = Callable[..., Any]

#: NumPy's name -> the op's, where they differ
ALIASES = {
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "linalg.matmul": "matmul",
    "positive": "identity",
}

#: NumPy's name of a parameter -> the op's
PARAMETERS = {"fill_value": "value"}

#: answered by NumPy: text, types, truths and positions have no gradient
ABOUT_VALUES = {
    *("all", "allclose", "any", "argsort", "argwhere", "array2string", "array_equal"),
    *("array_equiv", "array_repr", "array_str", "can_cast", "count_nonzero", "flatnonzero"),
    *("isclose", "iscomplex", "iscomplexobj", "isfinite", "isinf", "isnan", "isneginf"),
    *("isposinf", "isreal", "isrealobj", "may_share_memory", "min_scalar_type", "nonzero"),
    *("result_type", "save", "savetxt", "savez", "savez_compressed", "shares_memory", "signbit"),
}

#: what has no op -> what says the same, for tensors x and w
INSTEAD = {
    "average": "np.mean(x)",
    "ceil": "-np.floor(-x)",
    "copy": "np.array(x)",
    "diff": "x[1:] - x[:-1]",
    "exp2": "2.0**x",
    "expm1": "np.exp(x) - 1",
    "flip": "x[::-1]",
    "fmax": "np.maximum(x, w)",
    "fmin": "np.minimum(x, w)",
    "hypot": "np.sqrt(x * x + w * w)",
    "inner": "x @ w",
    "linalg.norm": "np.sqrt(np.sum(x * x))",
    "log10": "np.log(x) / np.log(10.0)",
    "log1p": "np.log(1 + x)",
    "log2": "np.log(x) / np.log(2.0)",
    "nansum": "np.sum(np.where(x == x, x, 0.0))",
    "outer": "x[:, None] * w",
    "ptp": "np.max(x) - np.min(x)",
    "reciprocal": "1 / x",
    "take": "x[[0, 1]]",
    "vdot": "np.sum(x * w)",
    "vecdot": "np.sum(x * w, axis=-1)",
}


# -- what NumPy asks -------------------------------------------------------------------------------


def ufunc(function: np.ufunc, method: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """np.exp(x), np.add(array, x), array + x: the answer of `Tensor.__array_ufunc__`."""
    name = function.__name__
    if method != "__call__":
        raise CallError(
            f"np.{name}.{method} takes no tensors. What is recorded: np.sum, np.max ..."
        )
    if "out" in options:
        raise CallError(
            f"np.{name}: what is written into an array (out=, +=) has no gradient. "
            "For a tensor write a = a + x, for an array a += x.numpy()"
        )
    if name in ABOUT_VALUES:
        return function(*_values(inputs), **options)
    called = BY_HAND.get(name) or TABLE.get(ALIASES.get(name, name))
    if called is None:
        raise _no_op(name)
    usual = {"where": True, "dtype": None, "casting": "same_kind", "order": "K", "subok": True}
    _require_none(name, [o for o in options if o not in usual or options[o] is not usual[o]])
    return called(*inputs)


def array_function(
    function: Function, types: Iterable[type], arguments: Sequence[Any], options: dict[str, Any]
) -> Any:
    """np.sum(x), np.stack([x, y]): the answer of `Tensor.__array_function__`."""
    if not all(issubclass(t, (Operators, np.ndarray)) for t in types):
        return NotImplemented
    name = f"{function.__module__}.{function.__name__}".removeprefix("numpy.")
    if name in ABOUT_VALUES:
        out = _given(function, arguments, options).get("out")
        _require_none(name, ["out"] if isinstance(out, Operators) else [])
        values = dict(zip(options, _values(options.values()), strict=True))
        return function(*_values(arguments), **values)
    called = BY_HAND.get(name) or TABLE.get(ALIASES.get(name, name)) or METHODS.get(name)
    if called is None:
        raise _no_op(name)
    given = _given(function, arguments, options)
    if isinstance(called, Op):
        data, takes = len(called.inputs), list(called.attributes)
        given = {PARAMETERS.get(n, n): value for n, value in given.items()}
    else:
        parameters = _signature(called).parameters.values()
        takes = [p.name for p in parameters]
        data = 1 if name in METHODS else sum(p.default is p.empty for p in parameters)
    named = {n: _plain(name, n, given[n]) for n in list(given)[data:]}
    _require_none(name, [n for n in named if n not in takes])
    return called(*list(given.values())[:data], **named)


_signature = functools.cache(inspect.signature)


def _given(
    function: Function, arguments: Sequence[Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What a call sets to something else than its default, by NumPy's names, in NumPy's order."""
    signature = _signature(function)
    bound = signature.bind(*arguments, **options).arguments
    bound |= bound.pop("kwargs", {})
    usual = {n: p.default for n, p in signature.parameters.items()}
    return {
        n: value
        for n, value in bound.items()
        if n not in usual
        or (value is not usual[n] and not (isinstance(value, (int, str)) and value == usual[n]))
    }


def _plain(function: str, name: str, value: Any) -> Any:
    """An option as Python has it; a tensor has no place there, for it would have no gradient."""
    if isinstance(value, Operators):
        raise CallError(f"np.{function}: {name}= is no tensor. With .tolist() it is numbers")
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value


def _values(arguments: Iterable[Any]) -> list[Any]:
    return [np.asarray(x) if isinstance(x, Operators) else x for x in arguments]


def _require_none(name: str, options: Sequence[str]) -> None:
    if options:
        given = ", ".join(f"{option}=" for option in options)
        raise CallError(f"np.{name} of a tensor takes no {given}")


def _no_op(name: str) -> CallError:
    """The error for a function that nothing records."""
    hint = f" There is {INSTEAD[name]}." if name in INSTEAD else ""
    return CallError(
        f"np.{name} has no op that would record it for gradients.{hint} "
        f"Without gradients, on an array: np.{name}(x.numpy())"
    )


# -- what is neither an op nor a method of that name -----------------------------------------------


def _joined(sign: str) -> Function:
    """& | ^ with a tensor on either side."""
    method = getattr(Operators, f"__{sign}__")
    return lambda a, b: method(a, b) if isinstance(a, Operators) else method(b, a)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None) -> Any:
    least, most = (min if a_min is None else a_min), (max if a_max is None else a_max)
    given = {"minimum": least, "maximum": most}
    return TABLE["clip"](a, **{name: bound for name, bound in given.items() if bound is not None})


def _concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    if axis is None:
        arrays, axis = [TABLE["reshape"](x, shape=(-1,)) for x in arrays], 0
    return TABLE["concatenate"](*arrays, axis=axis)


def _dot(a: Any, b: Any) -> Any:
    if not (np.ndim(a) and np.ndim(b)):
        return TABLE["multiply"](a, b)
    if np.ndim(a) > 1 and np.ndim(b) > 2:
        raise ShapeError(f"np.dot of shapes {np.shape(a)} and {np.shape(b)}: @ is batch by batch")
    return TABLE["matmul"](a, b)


def _stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    return TABLE["stack"](*arrays, axis=axis)


def _full(value: float) -> Function:
    def like(a: Any, dtype: Any = None) -> Any:
        y = TABLE["full_like"](a, value=value)
        return y if dtype is None else TABLE["cast"](y, dtype=dtype)

    return like


def _pad(array: Any, pad_width: Any, constant_values: float = 0.0) -> Any:
    widths = np.broadcast_to(pad_width, (array.ndim, 2)).tolist()
    return TABLE["pad"](array, pad_width=tuple(map(tuple, widths)), value=constant_values)


def _size(a: Any, axis: int | None = None) -> Any:
    return a.size if axis is None else a.shape[axis]


def _with_axes(x: Any, count: int) -> Any:
    """x with new axes in front, so that it has `count` of them at least."""
    x = x if isinstance(x, Operators) else np.asarray(x)
    return TABLE["index"](x, key=(*[None] * (count - x.ndim), ...))


def _rows(tup: Sequence[Any]) -> Any:
    return TABLE["concatenate"](*(_with_axes(x, 2) for x in tup), axis=0)


def _columns(tup: Sequence[Any]) -> Any:
    parts = [_with_axes(x, 1) for x in tup]
    return TABLE["concatenate"](*parts, axis=int(parts[0].ndim > 1))


def _atleast_1d(arys: Sequence[Any]) -> Any:
    found = tuple(_with_axes(x, 1) for x in arys)
    return found if len(found) > 1 else found[0]


def _broadcast_arrays(args: Sequence[Any]) -> Any:
    shape = np.broadcast_shapes(*map(np.shape, args))
    return tuple(TABLE["broadcast_to"](x, shape=shape) for x in args)


#: the methods of tensors that are named as NumPy's functions are
METHODS: dict[str, Function] = {
    name: method
    for name, method in vars(Operators).items()
    if not name.startswith("_") and callable(method) and hasattr(np, name)
}

BY_HAND: dict[str, Function] = {
    "atleast_1d": _atleast_1d,
    "bitwise_and": _joined("and"),
    "bitwise_or": _joined("or"),
    "bitwise_xor": _joined("xor"),
    "broadcast_arrays": _broadcast_arrays,
    "clip": _clip,
    "concatenate": _concatenate,
    "dot": _dot,
    "hstack": _columns,
    "invert": Operators.__invert__,
    "logical_and": _joined("and"),
    "logical_not": Operators.__invert__,
    "logical_or": _joined("or"),
    "logical_xor": _joined("xor"),
    "matrix_transpose": lambda x: x.swapaxes(-1, -2),
    "ndim": lambda a: a.ndim,
    "ones_like": _full(1.0),
    "pad": _pad,
    "shape": lambda a: a.shape,
    "size": _size,
    "stack": _stack,
    "vstack": _rows,
    "zeros_like": _full(0.0),
}
