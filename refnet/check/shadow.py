r"""Shadow mode: a program runs on one backend, and a second one computes every op along with it.

    with refnet.shadow("triton", "numpy") as seen:
        model.fit(x, y)
    print(seen)

The program is the user's own: eager tensors, gradients, `fit` and `predict`, sessions. Each op runs as
always, on the backend its tensors are on. Then the other backend computes it **from the same inputs**,
bit by bit, and both are held against the reference in float64, within the bound of the op's row. So each
op is judged by itself: what earlier ops rounded is in the inputs of both, and neither a kink nor a tie
can make two right backends differ. The program goes on with what its own backend computed.

The first op that breaks its bound is a `Disagreement`. It says which op, in which layer, on which line,
how far off and at which index; and its inputs are in a file, from which `replay` computes it once more.
"""

from __future__ import annotations

import functools
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import Token
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from refnet import backend as backends
from refnet.autograd.context import Symbol, line_of_user, scoped
from refnet.autograd.tensor import Tensor, Watch, watching
from refnet.autograd.variable import Variable
from refnet.backend import Array, Backend
from refnet.base.dtypes import FORMATS, arithmetic, round_to
from refnet.base.files import decode, encode, replace_file
from refnet.errors import ArgumentError, FileError, RefnetError
from refnet.op import Op
from refnet.op.results import as_tuple
from refnet.op.shapes import Spec
from refnet.ops import TABLE
from refnet.proof.exact import reference
from refnet.proof.judge import Verdict, judge_output, output_names, tolerances

FORMAT, VERSION = "refnet shadow", 1
STANDARD_FILE = "disagreement.safetensors"


class Disagreement(RefnetError, AssertionError):
    """An op that broke its bound.

    Attributes
    ----------
    judged : the op on both backends, as `replay` returns it.
    path : the file with its inputs; None if it could not be written.
    """

    def __init__(self, message: str, judged: Judged, path: Path | None) -> None:
        super().__init__(message)
        self.judged = judged
        self.path = path


@dataclass(frozen=True)
class Call:
    """An op, and copies of what it was applied to. bfloat16, which NumPy lacks, is held as float32."""

    op: Op
    attributes: dict[str, Any]
    values: tuple[np.ndarray[Any, Any], ...]
    dtypes: tuple[str, ...]

    @classmethod
    def of(
        cls, backend: Backend, op: Op, inputs: Sequence[Array], attributes: dict[str, Any]
    ) -> Call:
        """What an op is about to be applied to on a backend."""
        values = tuple(np.array(backend.numpy(x)) for x in inputs)
        return cls(op, attributes, values, tuple(backend.dtype(x) for x in inputs))

    def __str__(self) -> str:
        names = self.op.names(len(self.values))
        inputs = zip(names, self.values, self.dtypes, strict=True)
        data = [f"{name} {value.shape} {dtype}" for name, value, dtype in inputs]
        return ", ".join([*data, *(f"{k}={v!r}" for k, v in self.attributes.items())])

    def at(self, side: Verdict) -> str:
        """The inputs where a backend is furthest off, of an op that goes element by element."""
        names = self.op.names(len(self.values))
        shape = np.shape(self.exact[1][0])
        if side.output != self.op.outputs[0] or len(side.index) != len(shape):
            return ""
        pairs = zip(names, self.values, strict=True)
        there = [f"{name} = {v[side.index].item()!r}" for name, v in pairs if v.shape == shape]
        return f"; there {', '.join(there)}" if there else ""

    @functools.cached_property
    def exact(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """(inputs, results) of the reference in float64."""
        inputs = tuple(v.astype("float64") if v.dtype.kind == "f" else v for v in self.values)
        attributes = dict(self.attributes)
        if attributes.get("dtype") == "bfloat16":
            attributes["dtype"] = "float64"
        results = reference(self.op, inputs, attributes)
        if self.op is TABLE["assign"] and self.dtypes[0] in FORMATS:  # a copy, in its target's type
            results = tuple(round_to(y, self.dtypes[0]) for y in results)
        return inputs, results

    @functools.cached_property
    def types(self) -> list[str]:
        """The types that float results may have; none if that is the backend's to decide."""
        asked = {**self.op.attributes, **self.attributes}.get("dtype")
        if asked and self.op.primal is None:
            return [asked]
        given = [t for t in self.dtypes if t in FORMATS]
        specs = [Spec(v.shape, t) for v, t in zip(self.values, self.dtypes, strict=True)]
        promised = [s.dtype for s in self.op.infer(specs, self.attributes)] if given else []
        return list(dict.fromkeys(t for t in (*given, *promised) if t in FORMATS))

    def fits(self, backend: Backend) -> bool:
        """Whether the backend computes in the types that are asked for."""
        types = {*self.dtypes, *self.types} & set(FORMATS)
        return types <= set(backend.dtypes)

    def bounds(self, dtype: str) -> list[Any]:
        """How far each result may be from the exact one."""
        inputs, results = self.exact
        bounds = tolerances(self.op, inputs, self.attributes, results, dtype)
        if self.attributes.get("activation") == "binary_step" and self.op.primal is None:
            # the step jumps: where z = x W + b may be rounded across 0, it may be 0 or 1
            plain = Call(self.op, {"activation": "identity"}, self.values, self.dtypes)
            near = np.abs(plain.exact[1][0]) <= plain.bounds(dtype)[0]
            bounds = [np.where(near, 1.0, bound) for bound in bounds]
        return bounds

    def run(self, backend: Backend, name: str = "") -> Verdict:
        """Compute it on a backend, and hold the results against the exact ones."""
        try:
            inputs = [
                backend.array(v, dtype) for v, dtype in zip(self.values, self.dtypes, strict=True)
            ]
            with np.errstate(all="ignore"):
                results = backend.function(self.op)(*inputs, **self.attributes)
        except Exception as error:  # whatever goes wrong there, it went well on the other one
            return self._failed(backend, name, f"{type(error).__name__}: {error}")
        return self.judge(backend, inputs, results, name)

    def judge(
        self, backend: Backend, inputs: Sequence[Array], results: Any, name: str = ""
    ) -> Verdict:
        """Hold the results of a backend, and what it did to its inputs, against the exact results."""
        op, (_, exact) = self.op, self.exact
        results = as_tuple(results)
        if len(results) != len(exact):
            what = f"{len(results)} results, the reference has {len(exact)}"
            return self._failed(backend, name, what)
        given = op.names(len(inputs))
        if not op.writes:
            for input_name, x, before in zip(given, inputs, self.values, strict=True):
                if np.asarray(backend.numpy(x)).tobytes() != before.tobytes():
                    return self._failed(backend, name, f"the input {input_name} was overwritten")
        floats = [y for y in results if y is not None and backend.dtype(y) in FORMATS]
        types = self.types or list({backend.dtype(y) for y in floats}) or ["float32"]
        known = [t for t in types if t in FORMATS] or ["float32"]
        dtype = min(known, key=lambda t: FORMATS[t][0])
        bounds, names = self.bounds(dtype), output_names(op, exact)
        # what was updated in place is looked at where it lies
        written = {n: x for n, x in zip(given, inputs, strict=True) if n in op.writes}
        saved = [not op.flows_through(number) for number in range(len(exact))]
        rows = list(zip(names, results, exact, bounds, saved, strict=True))
        rows += [(n, written[n], y, b, s) for n, _, y, b, s in rows if n in written]
        worst: tuple[Any, ...] = (0.0, 0.0, 0.0, "")
        for output, result, y, bound, kept in rows:
            if result is None or y is None:
                continue
            # what is kept for the gradient may have the precision it was computed in
            allowed = {*types, *map(arithmetic, known)} if kept else set(types)
            found = judge_output(output, result, y, bound, allowed, backend)
            if found[2] > worst[2] or (found[3] and not worst[3]):
                worst = found
        return Verdict(op.name, name, dtype, backend.name, *worst)

    def _failed(self, backend: Backend, name: str, complaint: str) -> Verdict:
        dtype = (self.types or ["float32"])[0]
        return Verdict(self.op.name, name, dtype, backend.name, np.inf, 0.0, np.inf, complaint)


@dataclass(frozen=True)
class Judged:
    """One op, computed by two backends from the same inputs, each held against the exact result.

    Attributes
    ----------
    op, name, line : the op, its name in its layer or graph, and the user's line that led to it.
    variables : the names of the variables among its inputs: the weights of its layer.
    call : its inputs and attributes.
    sides : a `Verdict` for each backend that computes in this type, the program's own first.
    """

    op: str
    name: str
    line: str
    variables: tuple[str, ...]
    call: Call
    sides: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        """True if every backend keeps the bound."""
        return all(side.ok for side in self.sides)

    @property
    def ratio(self) -> float:
        """The largest error of all backends, in units of its bound."""
        return max(side.ratio for side in self.sides)

    def __str__(self) -> str:
        wrong = [side.backend for side in self.sides if not side.ok]
        verdict = f"{' and '.join(wrong)} disagrees" if wrong else "all agree"
        reads = f" (reads {', '.join(self.variables)})" if self.variables else ""
        lines = [f"{self.op} {self.name!r}{reads}: {verdict}"]
        for side in self.sides:
            of_bound = f"{side.ratio:.3g} times its bound"
            if side.ok:
                lines.append(f"{side.backend}: right, largest error {side.error:.3g}, {of_bound}")
            else:
                lines.append(f"{side.backend}: {side.complaint}; {of_bound}{self.call.at(side)}")
        lines.append(f"inputs: {self.call}")
        lines.append(f"in {self.line}")
        return "\n  ".join(lines)


# -- files -------------------------------------------------------------------------------------------


def _save(path: Path, judged: Judged, sides: Sequence[str]) -> None:
    """Write an op and its inputs: numbers as safetensors, all else as JSON in the metadata."""
    import safetensors.numpy

    call = judged.call
    document = {
        "format": FORMAT,
        "version": VERSION,
        "op": judged.op,
        "attributes": {k: encode(v) for k, v in call.attributes.items()},
        "dtypes": call.dtypes,
        "backends": sides,
        "name": judged.name,
        "line": judged.line,
        "variables": judged.variables,
    }
    arrays = {str(i): np.array(v, order="C") for i, v in enumerate(call.values)}
    text = json.dumps(document, allow_nan=False)
    replace_file(path, safetensors.numpy.save(arrays, {"shadow": text}))


def replay(path: str | Path, on: Sequence[str | Backend] = ()) -> Judged:
    """Compute the op in a file once more, from the same inputs, on the same backends or `on` others.

    Nothing in the file is run but the op of TABLE it names. A file that is not in order is a FileError.
    """
    import safetensors

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            document = json.loads((file.metadata() or {}).get("shadow", "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library has an exception of its own, and raises others too
        raise FileError(f"{path} is damaged, truncated, or not ours: {error}") from error
    call, texts, saved = _parse(path, document, arrays)
    try:
        _ = call.exact, call.types
    except Exception as error:  # attributes of a hostile file: whatever the formula trips over
        raise FileError(f"{path} holds what {call.op.name} cannot compute: {error}") from error
    chosen = [backends.get(side) for side in on or saved]
    sides = tuple(call.run(b, texts[0]) for b in chosen if call.fits(b))
    return Judged(call.op.name, *texts, call, sides)


def _parse(
    path: str | Path, document: Any, arrays: dict[str, np.ndarray[Any, Any]]
) -> tuple[Call, tuple[str, str, tuple[str, ...]], list[str]]:
    """What `_save` wrote, every field checked."""
    match document:
        case {
            "format": "refnet shadow",
            "version": 1,
            "op": str(name),
            "attributes": dict(attributes),
            "dtypes": list(dtypes),
            "backends": list(sides),
            "name": str(place),
            "line": str(line),
            "variables": list(variables),
        } if name in TABLE and set(arrays) == {str(i) for i in range(len(dtypes))}:
            op, values = TABLE[name], tuple(arrays[str(i)] for i in range(len(dtypes)))
        case {"format": "refnet shadow", "version": int(version)} if version > VERSION:
            raise FileError(f"{path} was written by a newer refnet: its version is {version}")
        case _:
            raise FileError(f"{path} holds no op of refnet with its inputs")
    fits = len(values) >= len(op.inputs) - 1 if op.variadic else len(values) == len(op.inputs)
    stored = ["float32" if t == "bfloat16" else t for t in dtypes]
    texts = all(isinstance(t, str) for t in (*sides, *variables))
    known = set(attributes) <= set(op.attributes)
    if not (fits and texts and known and stored == [str(v.dtype) for v in values]):
        raise FileError(f"{path} is not in order: {name} does not take what it holds")
    decoded = {k: decode(v) for k, v in attributes.items()}
    return Call(op, decoded, values, tuple(dtypes)), (place, line, tuple(variables)), sides


# -- what happened in a block ------------------------------------------------------------------------


@dataclass
class Tally:
    """How often an op ran in a block, how often it was checked, and its largest ratio by backend."""

    calls: int = 0
    checked: int = 0
    worst: dict[str, float] = field(default_factory=dict)


class shadow:
    """Compare two backends, op by op, on everything that runs within a ``with`` block.

    New tensors and models are made on `first` within the block, and what is on it already stays there.
    An op on the tensors of `second` is compared with `first`; an op on those of a third backend runs
    unchecked, and is counted in `elsewhere`. Results are the same bits with and without a shadow;
    training steps run op by op instead of as one captured program, and everything takes longer.

    A block holds for the thread it is in. Of several within each other, the innermost one looks.

    Parameters
    ----------
    first, second : names of backends: where the program runs, and whom it is compared with.
    every : check the first call of each op and then each n-th one.
    path : where to save the inputs of an op that disagrees.

    Attributes
    ----------
    ops : what was seen of each op, by name, as a `Tally`.
    elsewhere : how many ops ran on other backends and were not checked, by backend.

    Raises
    ------
    Disagreement : at the first op that breaks its bound, out of the line that ran it.
    """

    def __init__(
        self,
        first: str | Backend,
        second: str | Backend,
        *,
        every: int = 1,
        path: str | Path = STANDARD_FILE,
    ) -> None:
        self.first, self.second = backends.get(first), backends.get(second)
        if self.first is self.second:
            raise ArgumentError(f"shadow compares two backends, got {self.first.name!r} twice")
        if not isinstance(every, (int, np.integer)) or isinstance(every, bool) or every < 1:
            raise ArgumentError(f"every is a whole number of at least 1, got {every!r}")
        self.every = int(every)
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ArgumentError(f"{self.path} cannot be written: there is no such folder")
        self.ops: dict[str, Tally] = {}
        self.elsewhere: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._entered: list[tuple[backends.use_backend, Token[Watch | None]]] = []

    Disagreement = Disagreement
    replay = staticmethod(replay)

    def __enter__(self) -> shadow:
        self._entered.append((backends.use_backend(self.first), watching.set(self._watch)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        before, token = self._entered.pop()
        watching.reset(token)
        before.__exit__(kind, error, trace)

    def _watch(
        self, backend: Backend, op: Op, tensors: Sequence[Tensor], symbol: Symbol | None
    ) -> Callable[..., Any]:
        """What runs in the place of an op's function."""
        function = backend.function(op)
        if backend is not self.first and backend is not self.second:
            with self._lock:
                self.elsewhere[backend.name] += 1
            return function
        with self._lock:
            tally = self.ops.setdefault(op.name, Tally())
            tally.calls += 1
            skipped = (tally.calls - 1) % self.every
            tally.checked += not skipped
        if skipped:
            return function

        def both(*inputs: Array, **attributes: Any) -> Any:
            call = Call.of(backend, op, inputs, attributes)
            results = function(*inputs, **attributes)
            sides = [call.judge(backend, inputs, results)]
            other = self.second if backend is self.first else self.first
            if call.fits(other):
                sides.append(call.run(other))
            with self._lock:
                for side in sides:
                    tally.worst[side.backend] = max(tally.worst.get(side.backend, 0.0), side.ratio)
            if not all(side.ok for side in sides):
                name = symbol.name if symbol else scoped(op.name)
                line = symbol.line if symbol else line_of_user()
                read = tuple(t.name for t in tensors if isinstance(t, Variable) and t.name)
                self._stop(Judged(op.name, name, line, read, call, tuple(sides)))
            return results

        return both

    def _stop(self, judged: Judged) -> None:
        """Save what disagrees, and raise the error."""
        own = judged.sides[0]
        names = list(dict.fromkeys((own.backend, self.first.name, self.second.name)))
        path: Path | None = self.path
        try:
            _save(self.path, judged, names)
            text = f"to compute it again: refnet.shadow.replay({str(path)!r})"
        except (ImportError, OSError, FileError) as error:
            path, text = None, f"its inputs could not be saved: {error}"
        if not own.ok and judged.call.run(backends.get(own.backend)).ok:
            text += (
                f"\n  computed again from copies of its inputs it is right on {own.backend}: the fault "
                "depends on how they lie in memory, or on what ran before"
            )
        raise Disagreement(f"{judged}\n  {text}", judged, path)

    def __str__(self) -> str:
        sides = self.first.name, self.second.name
        checked = sum(t.checked for t in self.ops.values())
        calls = sum(t.calls for t in self.ops.values())
        width = max([len(name) for name in self.ops] + [2])
        lines = [f"{'op':{width}}    calls  checked  largest error / bound: {', '.join(sides)}"]
        largest = {name: max(t.worst.values(), default=0.0) for name, t in self.ops.items()}
        for name, tally in sorted(self.ops.items(), key=lambda item: -largest[item[0]]):
            ratios = [f"{tally.worst[s]:8.2g}" if s in tally.worst else "       -" for s in sides]
            lines.append(f"{name:{width}}  {tally.calls:7}  {tally.checked:7}  {'  '.join(ratios)}")
        lines.append(f"{checked} of {calls} calls checked.")
        for name, count in self.elsewhere.items():
            lines.append(f"{count} calls ran on {name} and were NOT checked.")
        return "\n".join(lines)

    def __repr__(self) -> str:
        checked = sum(t.checked for t in self.ops.values())
        return f"<shadow of {self.first.name} by {self.second.name}: {checked} calls checked>"
