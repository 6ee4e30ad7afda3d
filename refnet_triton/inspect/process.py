"""Look into kernels without running them on a GPU: what becomes of them, and what they touch.

`inspect` compiles the launches that an op would make, for any target (`compilation`). `trace` runs them
in Triton's interpreter, in the sizes they have on a GPU, and notes which program touches which element
(`tracing`).

Triton decides while it is imported whether it compiles or interprets, and this program may have decided
already. So the work is done by another one, `python -m refnet_triton.inspect.process`, which is asked
through its standard input and answers through its standard output.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from refnet.errors import ArgumentError, BackendError, RefnetError
from refnet.op import Op
from refnet.op.columns import Case
from refnet.op.shapes import Spec
from refnet_triton.inspect.targets import target_named

COMPILING = {"REFNET_COMPILE_ONLY": "1", "CUDA_VISIBLE_DEVICES": ""}
INTERPRETING = {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}


class Inspection(NamedTuple):
    """What `inspect` is asked."""

    op: Op
    inputs: Sequence[Spec]
    attributes: Mapping[str, Any]
    target: str
    listing: str = ""


class Trace(NamedTuple):
    """What `trace` is asked."""

    op: Op
    inputs: Sequence[Any]
    attributes: Mapping[str, Any]
    dtype: str


def inspect(*asked: Inspection) -> list[list[dict[str, Any]]]:
    """For each question one `compilation.report` for each launch that the op makes.

    See `Backend.inspect` for what the inputs are.
    """
    for one in asked:
        target_named(one.target)
    return _ask(COMPILING, "inspect", [one._replace(op=one.op.name) for one in asked])


def trace(*asked: Trace) -> list[dict[str, Any]]:
    """For each question what the programs of the op's launches read and write: see `Backend.trace`."""
    return _ask(INTERPRETING, "trace", [one._replace(op=one.op.name) for one in asked])


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that finds what this one finds, and compiles or interprets."""
    kept = {k: v for k, v in os.environ.items() if k not in (*COMPILING, *INTERPRETING)}
    path = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return {**kept, "PYTHONPATH": path, **settings}


def _ask(settings: Mapping[str, str], kind: str, asked: list[Any]) -> Any:
    """The answers of the other program; its errors are raised here."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", __name__],
        input=pickle.dumps((kind, asked)), env=environment(settings), capture_output=True,
    )  # fmt: skip
    if done.returncode:
        raise BackendError(f"the program that looks into kernels failed: {done.stderr.decode()}")
    answer = pickle.loads(done.stdout)
    if isinstance(answer, Exception):
        raise answer
    return answer


# -- the other program -----------------------------------------------------------------------------


def _inspected(asked: list[Inspection]) -> list[list[dict[str, Any]]]:
    from refnet_triton.inspect import compilation

    compilation.without_memory()
    return [_reports(*one) for one in asked]


def _reports(
    name: str, specs: Sequence[Spec], attributes: dict[str, Any], target: str, listing: str
) -> list[dict[str, Any]]:
    import torch

    from refnet_triton.inspect.compilation import Launch, recording, report

    empty = [torch.empty(s.shape, dtype=getattr(torch, s.dtype), device="meta") for s in specs]
    dtype = next((s.dtype for s in specs if "float" in s.dtype), "float32")
    launches: list[Launch] = []
    with recording(lambda launch: None):
        function, arrays, given = call(name, empty, attributes, dtype)
    with recording(launches.append):
        function(*arrays, **given)
    if not launches:
        raise ArgumentError(
            f"{name} launches no kernel here: what it returns is a view of its inputs, or empty"
        )
    return [report(launch, target, listing) for launch in launches]


def _traced(asked: list[Trace]) -> list[dict[str, Any]]:
    from refnet_triton.inspect import tracing

    return [tracing.trace(one.op, *call(*one)) for one in asked]


def call(name: str, inputs: Sequence[Any], attributes: Mapping[str, Any], dtype: str) -> tuple:
    """(twin, arrays, attributes) for an op; a gradient gets what the op of the inputs saves for it."""
    from refnet.op import TABLE
    from refnet_triton.bench.inputs import backend, draw

    op = TABLE[name]
    case = Case("asked for", lambda rng: tuple(inputs), dict(attributes))
    dtype = attributes.get("dtype", dtype)
    return backend().function(op), *draw(op, case, dtype)


def _main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever is printed meanwhile is no answer
    kind, asked = pickle.load(sys.stdin.buffer)
    try:
        answer = {"inspect": _inspected, "trace": _traced}[kind](asked)
    except RefnetError as error:
        answer = error
    except Exception:
        answer = BackendError(traceback.format_exc())
    with open(answers, "wb") as pipe:
        pipe.write(pickle.dumps(answer))


if __name__ == "__main__":
    _main()
