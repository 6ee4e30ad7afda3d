"""The only plug-in point: find a backend by name, move arrays to and from it.

A backend is a namespace of the names in TABLE, on arrays of its own, and a handful of array calls.
Others can add one: a distribution that declares an entry point in the group ``refnet.backends``
names a subclass of `Backend`, and `refnet.use_backend("theirs")` finds it.
"""

from refnet.backend.base import LACKS, Array, Backend
from refnet.backend.numpy import NumPyBackend
from refnet.backend.registry import (
    ENTRY_POINTS,
    backend_of,
    current,
    get,
    names,
    register,
    register_uninstalled,
    use_backend,
)

__all__ = [
    "ENTRY_POINTS",
    "LACKS",
    "Array",
    "Backend",
    "NumPyBackend",
    "backend_of",
    "current",
    "get",
    "names",
    "register",
    "register_uninstalled",
    "use_backend",
]
