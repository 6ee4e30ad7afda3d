"""Graph files: numbers and text, no code. Reading one runs nothing, whoever wrote it.

A file is a safetensors file. Its tensors are the constants and the variables; its metadata holds one
text, the structure as JSON: which placeholders, variables, constants and ops there are, by name, what
each reads, and how it was applied. Nothing in it is ever taken for a path, a module or a program.

Writing is atomic: a file that a run leaves behind is the old one or the new one, whole. Reading checks
everything, above all that an op exists, takes these inputs and attributes, and reads only what stands
before it, and builds a graph only when all is in order.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet.autograd.context import absolute_scope
from refnet.autograd.tensor import Tensor, defer, tensor
from refnet.autograd.variable import Variable
from refnet.base.files import decode, encode, replace_file
from refnet.errors import FileError, RefnetError
from refnet.graph.entry import Entry, source_of
from refnet.op.shapes import Spec, agree
from refnet.ops import TABLE

if TYPE_CHECKING:
    from refnet.graph.graph import Graph

FORMAT, VERSION = "refnet graph", 1
KINDS = ("placeholder", "variable", "constant", "op")
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64",
)  # fmt: skip
LONGEST = 2**62  # no axis is longer than an address can reach


# -- writing ---------------------------------------------------------------------------------------


def write(
    path: str | Path,
    entries: Sequence[Entry],
    groups: Mapping[str, Sequence[str]],
    values: Mapping[str, np.ndarray[Any, Any]],
) -> Path:
    """Write a graph's entries to a file, variables with these values where there are any."""
    import safetensors.numpy

    arrays, rows = {}, []
    for entry in entries:
        value = values.get(entry.name, entry.value)
        if value is not None:
            arrays[entry.name] = np.array(value, order="C")
        rows.append(_row(entry))
    document = {
        "format": FORMAT, "version": VERSION, "entries": rows, "groups": dict(groups),
        "sha256": _digest(arrays),
    }  # fmt: skip
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    replace_file(Path(path), safetensors.numpy.save(arrays, {"graph": text}))
    return Path(path)


def _digest(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """A checksum of all values: a damaged file is noticed, wherever the damage is."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _row(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": entry.name,
        "kind": entry.kind,
        "outputs": [[list(shape), dtype] for shape, dtype in entry.outputs],
        "line": entry.line,
    }
    if entry.kind == "op":
        row["op"], row["inputs"] = entry.op, list(entry.inputs)
        row["attributes"] = {k: encode(v) for k, v in entry.attributes.items()}
    if entry.kind == "variable":
        row["trainable"] = entry.trainable
    return row


# -- reading ---------------------------------------------------------------------------------------


def read_into(graph: Graph, path: str | Path) -> None:
    """Build the graph a file describes in a new, empty `graph`."""
    arrays, metadata = _read(Path(path))
    try:
        entries, groups = _parse(metadata, arrays)
        found: dict[str, Tensor] = {}
        with graph, absolute_scope(""):
            for entry in entries:
                _build(graph, entry, found)
            for name, members in groups.items():
                graph.group(name, [_find(ref, found, name) for ref in members])
    except FileError as error:
        raise FileError(f"{path}: {error}") from None
    except RefnetError as error:
        raise FileError(f"{path}: {error}") from error


def _read(path: Path) -> tuple[dict[str, np.ndarray[Any, Any]], str]:
    """The tensors of a safetensors file, and the text of the structure."""
    import safetensors

    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
        )
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            if "graph" not in metadata:
                raise FileError(f"{path} is a safetensors file, but holds no graph of refnet")
            return {name: file.get_tensor(name) for name in file.keys()}, metadata["graph"]  # noqa: SIM118
    except FileError:
        raise
    except Exception as error:  # the library has an exception of its own, and raises others too
        raise FileError(f"{path} is damaged, truncated, or no graph file: {error}") from error


def _parse(
    text: str, arrays: dict[str, np.ndarray[Any, Any]]
) -> tuple[list[Entry], dict[str, list[str]]]:
    """The structure as entries, every field checked for its type."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"the structure is no JSON: {error}") from None
    _require(isinstance(document, dict) and document.get("format") == FORMAT, "no graph of refnet")
    version = document.get("version")
    _require(type(version) is int and version > 0, f"the format version is {version!r}")
    if version > VERSION:
        raise FileError(
            f"written by a newer refnet: its format is version {version}, this one reads up to {VERSION}"
        )
    _require(document.get("sha256") == _digest(arrays), "its values are damaged")
    rows, groups = document.get("entries"), document.get("groups")
    _require(isinstance(rows, list), "no list of entries")
    _require(
        isinstance(groups, dict)
        and all(
            isinstance(g, list) and all(isinstance(r, str) for r in g) for g in groups.values()
        ),
        "no table of groups",
    )
    entries = [_entry(row, arrays) for row in rows]
    name, count = Counter(entry.name for entry in entries).most_common(1)[0] if entries else ("", 0)
    _require(count < 2, f"the name {name!r} stands there {count} times")
    _require_order(entries)
    return entries, groups


def _require(condition: Any, what: str) -> None:
    if not condition:
        raise FileError(f"the file is not in order: {what}")


def _entry(row: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Entry:
    _require(isinstance(row, dict), f"{row!r:.100} is no entry")
    name, kind, line = row.get("name"), row.get("kind"), row.get("line", "")
    _require(isinstance(name, str) and isinstance(line, str), f"{row!r:.100} has no name")
    _require(kind in KINDS, f"{name!r} is a {kind!r:.100}, not one of {', '.join(KINDS)}")
    outputs = row.get("outputs")
    _require(isinstance(outputs, list) and outputs, f"{name!r} has no results")
    entry = Entry(name, kind, [_spec(name, o) for o in outputs], line=line)
    if kind == "op":
        inputs, attributes = row.get("inputs"), row.get("attributes")
        _require(
            isinstance(inputs, list) and all(isinstance(r, str) for r in inputs),
            f"{name!r} has no list of inputs",
        )
        _require(isinstance(attributes, dict), f"{name!r} has no table of attributes")
        attributes = {k: decode(v) for k, v in attributes.items()}
        return replace(entry, op=row.get("op"), inputs=inputs, attributes=attributes)
    _require(len(outputs) == 1, f"{kind} {name!r} has {len(outputs)} values")
    if kind == "placeholder":
        return entry
    (shape, dtype), value = entry.outputs[0], arrays.get(name)
    _require(value is not None, f"{kind} {name!r} has no values")
    assert value is not None
    _require(value.shape == shape, f"{kind} {name!r} of shape {shape} has values of {value.shape}")
    stored = "float32" if dtype == "bfloat16" else dtype
    _require(str(value.dtype) == stored, f"{kind} {name!r} of {dtype} has values of {value.dtype}")
    return replace(entry, value=value, trainable=row.get("trainable") is True)


def _spec(name: str, pair: Any) -> tuple[tuple[int | None, ...], str]:
    match pair:
        case [list(shape), str(dtype)]:
            lengths = all(n is None or (type(n) is int and 0 <= n < LONGEST) for n in shape)
            _require(lengths and len(shape) <= 64, f"{name!r} has the shape {shape!r:.100}")
            _require(dtype in DTYPES, f"{name!r} has the type {dtype!r:.100}")
            return tuple(shape), dtype
    raise FileError(f"the file is not in order: {name!r} has a result {pair!r:.100}")


def _require_order(entries: Sequence[Entry]) -> None:
    """Whatever an op reads stands before it. If that can never be, name the cycle."""
    place = {entry.name: number for number, entry in enumerate(entries)}
    for number, entry in enumerate(entries):
        for reference in entry.inputs:
            source = _source(reference)
            _require(source in place, f"{entry.name!r} reads {source!r:.100}, which is not there")
            if place[source] >= number:
                cycle = _cycle(
                    entry.name, {e.name: [_source(r) for r in e.inputs] for e in entries}
                )
                what = f"a cycle: {' -> '.join(cycle)}" if cycle else f"{source!r} stands behind it"
                raise FileError(f"{entry.name!r} cannot be computed: {what}")


def _source(reference: str) -> str:
    try:
        return source_of(reference)[0]
    except ValueError:
        raise FileError(f"the file is not in order: {reference!r:.100} names no result") from None


def _cycle(start: str, reads: Mapping[str, Sequence[str]]) -> list[str]:
    """A way from an entry back to itself along what is read, or an empty list."""
    came_from: dict[str, str] = {}
    stack = [start]
    while stack:
        name = stack.pop()
        for source in reads.get(name, ()):
            if source == start:
                path = [start, name]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path if len(path) == 2 else [start, *path[1:]]
            if source not in came_from:
                came_from[source] = name
                stack.append(source)
    return []


def _find(reference: str, found: Mapping[str, Tensor], reader: str) -> Tensor:
    _require(reference in found, f"{reader!r} reads {reference!r:.100}, which is not there")
    return found[reference]


def _build(graph: Graph, entry: Entry, found: dict[str, Tensor]) -> None:
    """Enter one entry into the graph, and what it results in into `found`. Nothing is computed."""
    specs = [Spec(tuple(shape), dtype) for shape, dtype in entry.outputs]
    if entry.kind == "op":
        _build_op(graph, entry, specs, found)
        return
    made: Tensor
    if entry.kind == "variable":
        made = Variable(entry.value, None, entry.name, entry.trainable, "numpy")
        symbol = made.symbol
        assert symbol is not None
        symbol.specs, symbol.line = specs, entry.line
    elif entry.kind == "constant":
        made = tensor(entry.value, name=entry.name, backend="numpy")
        graph.enter_constant(made, entry.name)
    else:
        made = Tensor(None, tensor(0, backend="numpy").backend)
        made._symbol = graph.enter(made, entry.name, specs, entry.line)
    made.name = entry.name
    found[entry.name] = made


def _build_op(graph: Graph, entry: Entry, specs: list[Spec], found: dict[str, Tensor]) -> None:
    _require(isinstance(entry.op, str) and entry.op in TABLE, f"there is no op {entry.op!r:.100}")
    op = TABLE[entry.op]
    inputs = tuple(_find(r, found, entry.name) for r in entry.inputs)
    least = len(op.inputs) - op.variadic
    fits = len(inputs) >= least if op.variadic else len(inputs) == least
    _require(fits, f"{op.name} of {len(inputs)} inputs; it takes {', '.join(op.inputs)}")
    unknown = set(entry.attributes) - set(op.attributes)
    _require(not unknown, f"{op.name} has no attribute {', '.join(sorted(unknown)):.100}")
    for name, t in zip(op.inputs, inputs, strict=False):
        _require(
            name not in op.writes or isinstance(t, Variable),
            f"{op.name} would write to {t.name!r}, which is no variable",
        )
    try:
        node = defer(graph, op, inputs, dict(entry.attributes), entry.name, entry.line)
    except RefnetError:
        raise
    except Exception as error:  # attributes of a hostile file: whatever the shape rule trips over
        raise FileError(
            f"{entry.name!r} cannot be built: {type(error).__name__}: {error}"
        ) from None
    assert node.symbol is not None
    promised = list(node.symbol.specs)
    same = len(promised) == len(specs) and all(
        agree(a.shape, b.shape) and a.dtype == b.dtype for a, b in zip(promised, specs, strict=True)
    )
    given = "; ".join(map(str, specs))
    _require(same, f"{entry.name!r} would give {'; '.join(map(str, promised))}, not {given}")
    for i, t in enumerate(node.outputs()):
        found[f"{entry.name}:{i}" if i else entry.name] = t
