"""The errors refnet raises. Each says what came, what was expected, and which op or layer is meant.

Every one of them is a `RefnetError`, and also the built-in exception a Python user would expect, so
that ``except ValueError`` keeps working.
"""

from __future__ import annotations

from collections.abc import Iterable


class RefnetError(Exception):
    """The base of every error that refnet raises on purpose."""


class ShapeError(RefnetError, ValueError):
    """Arrays whose shapes do not fit together, or do not fit the layer they were given to."""


class UnsizedError(ShapeError, TypeError):
    """The length of a tensor without axes. A TypeError, by which Python tells what cannot be iterated."""


class DTypeError(RefnetError, TypeError):
    """Numbers of the wrong kind: float labels where class numbers are needed, text, objects."""


class DataError(RefnetError, ValueError):
    """Data that cannot be learned from: empty, of uneven length, out of range, damaged."""


class ArgumentError(RefnetError, ValueError):
    """An argument outside the values it may take."""


class CallError(RefnetError, TypeError):
    """A call that does not fit: an argument missing, given twice or unknown, a function without an op."""


class UnknownNameError(RefnetError, ValueError):
    """A name (of an op, a layer, a loss, a backend ...) that nothing answers to."""


class MissingNameError(RefnetError, AttributeError):
    """A name that a module or an object does not have."""


class BackendError(RefnetError, RuntimeError):
    """A backend that is missing, cannot run here, or was handed another backend's arrays."""


class MissingPackageError(RefnetError, ImportError):
    """An optional package that is not installed: matplotlib for pictures, say."""


class GradientError(RefnetError, RuntimeError):
    """A gradient that was asked for and does not exist."""


class NotReadyError(RefnetError, RuntimeError):
    """Something used before it was built or compiled, or a placeholder that has no value yet."""


class GraphError(RefnetError, ValueError):
    """Something that is not in the graph, or belongs to another one."""


class FileError(RefnetError, ValueError):
    """A file that is damaged, truncated, not ours, or written by a newer version."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a mistyped name: it suggests the nearest known ones.

    >>> unknown_name("activation", "rleu", ["relu", "selu", "tanh"])
    UnknownNameError("unknown activation 'rleu': did you mean 'relu'? Known: relu, selu, tanh")
    """
    import difflib  # only now: most programs never need it

    names = sorted(known)
    lower = {n.lower(): n for n in reversed(names)}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1)
    hint = f": did you mean {lower[near[0]]!r}?" if near else "."
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""
    return UnknownNameError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names[:40])}{more}")
