"""refnet inspect: what a compiler makes of an op's kernels, for any GPU, and what they touch.

Nothing runs on a GPU, and none has to be there. The kernels are those that the op would launch for
inputs of the given shapes.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refnet import backend as backends
from refnet.cli.output import BAD, HEADING, QUIET, counted, say
from refnet.errors import ArgumentError, ShapeError, unknown_name
from refnet.op import TABLE, Op
from refnet.op.columns import Case
from refnet.op.shapes import Spec

ELEMENTS, ELEMENTS_TRACED = 1 << 22, 1 << 12  # of the largest array, if no shape is asked for
STAGES = ("ttir", "ttgir", "llir", "ptx", "sass", "amdgcn")
KINDS = 8  # of instructions that are counted one by one
TEXT = 72  # columns for an instruction, before its line of source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add = parser.add_argument
    hidden = argparse.SUPPRESS
    add("op", help="its name: refnet show lists them")
    add(
        "--vjp", action="store_true", help="the op's gradient; shapes are still those of its inputs"
    )
    add("--shape", nargs="+", default=hidden, metavar="SHAPE",
        help="of each input, as 1024x4096, 1000 or scalar; one alone is for all that are alike "
        "(default: those of a case of the benchmark)")  # fmt: skip
    add(
        "--case",
        default=hidden,
        metavar="NAME",
        help="which case of the benchmark (default: the first)",
    )
    add("--set", nargs="+", default=[], metavar="NAME=VALUE", help="attributes: --set axis=0")
    add("--dtype", default="float32", help="the type of floats")
    add("--target", default="sm_90", help="sm_80, sm_90, sm_100 or gfx942")
    add("--backend", default="triton", help="whose kernels")
    what = parser.add_mutually_exclusive_group()
    for stage in STAGES:
        line = ", beside the lines of Triton it comes from"
        what.add_argument(f"--{stage}", dest="listing", action="store_const", const=stage, default="",
            help=f"print the {stage}{line if stage in STAGES[3:] else ''}")  # fmt: skip
    what.add_argument("--trace", action="store_true",
        help="which program touches which element, from Triton's interpreter")  # fmt: skip
    add(
        "--picture",
        type=Path,
        default=hidden,
        metavar="FILE",
        help="with --trace: draw it, as a PNG",
    )
    add("--json", action="store_true", help="print all there is as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 if a kernel does not compile or cannot be launched."""
    op = TABLE[arguments.op]
    if arguments.vjp and op.primal is None:
        if op.gradient is None:
            raise ArgumentError(f"{op.name} has no gradient, so there is no vjp to inspect")
        op = op.gradient
    backend = _backend(arguments.backend)
    if arguments.dtype not in backend.dtypes:
        raise unknown_name("dtype", arguments.dtype, backend.dtypes)
    if hasattr(arguments, "picture") and not arguments.trace:
        raise ArgumentError("--picture draws a trace: ask for --trace as well")
    inputs, attributes = _question(op, arguments)
    if arguments.trace:
        return _trace(backend, op, inputs, attributes, arguments)
    specs = [_spec(x, arguments.dtype) for x in inputs]
    found = backend.inspect(op, specs, attributes, arguments.target, arguments.listing)
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        say(f"{_asked(op, specs, attributes)}, for {arguments.target}", HEADING)
        for number, report in enumerate(found, 1):
            _print_report(number, report)
    return int(
        any(one["error"] or not (one["occupancy"] or {"programs": 1})["programs"] for one in found)
    )


def _backend(name: str) -> backends.Backend:
    """The backend, loaded to compile: it would say that kernels are going to be interpreted."""
    before = os.environ.get("REFNET_COMPILE_ONLY")
    os.environ["REFNET_COMPILE_ONLY"] = "1"
    try:
        return backends.get(name)
    finally:
        del os.environ["REFNET_COMPILE_ONLY"]
        if before is not None:
            os.environ["REFNET_COMPILE_ONLY"] = before


# -- what is asked for -----------------------------------------------------------------------------


class _Zeros:
    """A generator of cases that takes no memory: one zero stands for all numbers."""

    def normal(self, mean: float, deviation: float, shape: Any) -> Any:
        return np.broadcast_to(np.zeros(()), shape)

    def integers(self, low: int, high: int, shape: Any) -> Any:
        return np.broadcast_to(np.zeros((), np.int64), shape)


def _question(op: Op, arguments: argparse.Namespace) -> tuple[list[Any], dict[str, Any]]:
    """(arrays, attributes) for an op, or for the op that a gradient belongs to."""
    primal = op.primal or op
    case = _case(primal, arguments)
    traced, shaped = arguments.trace, hasattr(arguments, "shape")
    generator: Any = np.random.default_rng(0) if traced and not shaped else _Zeros()
    inputs = [np.asarray(x) for x in case.make(generator)]
    if shaped:
        shapes = _shapes(primal, [x.shape for x in inputs], arguments.shape)
        kinds = [x.dtype for x in inputs] + [inputs[-1].dtype] * (len(shapes) - len(inputs))
        inputs = [_filled(s, k, traced) for s, k in zip(shapes, kinds, strict=True)]
    attributes = {**case.attributes, **_attributes(primal, arguments.set)}
    specs = [_spec(x, arguments.dtype) for x in inputs]
    _require_fitting(primal, specs, attributes)
    return inputs, attributes


def _case(op: Op, arguments: argparse.Namespace) -> Case:
    if op.cases is None:
        raise ArgumentError(f"{op.name} has no cases to take shapes from")
    cases = op.cases.bench(ELEMENTS_TRACED if arguments.trace else ELEMENTS)
    wanted = getattr(arguments, "case", cases[0].name)
    for case in cases:
        if case.name == wanted:
            return case
    raise unknown_name(f"case of {op.name}", wanted, [case.name for case in cases])


def _shapes(
    op: Op, usual: Sequence[tuple[int, ...]], asked: Sequence[str]
) -> list[tuple[int, ...]]:
    """A shape for each input. One alone is for all inputs whose usual shapes are alike."""
    shapes = [_shape(text) for text in asked]
    if op.variadic or len(shapes) == len(usual):
        return shapes
    large = {shape for shape in usual if _size(shape) > 1}
    if len(shapes) == 1 and len(large) == 1:
        return [shapes[0] if shape in large else shape for shape in usual]
    raise ArgumentError(
        f"{op.name} takes {counted(len(usual), 'input')}, {', '.join(op.inputs)}: --shape needs as many, "
        f"got {len(shapes)}. The benchmark has --shape {' '.join(map(_written, usual))}"
    )


def _size(shape: Sequence[int]) -> int:
    return math.prod(shape)


def _shape(text: str) -> tuple[int, ...]:
    if text == "scalar":
        return ()
    if not re.fullmatch(r"\d+(x\d+)*", text):
        raise ArgumentError(f"a shape is written 1024x4096, 1000 or scalar, got {text!r}")
    return tuple(map(int, text.split("x")))


def _written(shape: Sequence[int | None]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _filled(shape: tuple[int, ...], kind: Any, with_values: bool) -> Any:
    """An array of this shape: normal numbers, or zeros, which any position or label may be."""
    if with_values and kind.kind == "f":
        return np.random.default_rng(0).normal(size=shape)
    return np.broadcast_to(np.zeros((), kind), shape)


def _attributes(op: Op, settings: Sequence[str]) -> dict[str, Any]:
    """axis=0 as {"axis": 0}; what is no Python literal is text."""
    found = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in op.attributes:
            raise unknown_name(f"attribute of {op.name}", name, op.attributes)
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = text
    return found


def _spec(x: Any, dtype: str) -> Spec:
    return Spec(x.shape, dtype if x.dtype.kind == "f" else str(x.dtype))


def _require_fitting(op: Op, specs: Sequence[Spec], attributes: Mapping[str, Any]) -> None:
    """Raise an error if the op takes no inputs of these shapes, or no such attributes."""
    try:
        op.infer(specs, attributes)
    except ShapeError:
        raise
    except Exception as error:
        given = ", ".join(map(str, specs))
        raise ArgumentError(
            f"{op.name} does not take {given} with {dict(attributes)}: {error}"
        ) from error


def _asked(op: Op, specs: Sequence[Spec], attributes: Mapping[str, Any]) -> str:
    primal = op.primal or op
    names = primal.names(len(specs))
    given = [f"{n} {_written(s.shape)} {s.dtype}" for n, s in zip(names, specs, strict=True)]
    given += [f"{name}={value!r}" for name, value in attributes.items()]
    return (
        f"{op.name}, for {primal.name}({', '.join(given)})"
        if op.primal
        else (f"{op.name}({', '.join(given)})")
    )


# -- on screen -------------------------------------------------------------------------------------


def _print_report(number: int, report: Mapping[str, Any]) -> None:
    grid = " x ".join(map(str, report["grid"]))
    say()
    say(f"launch {number}: {report['kernel']}, grid {grid}", HEADING)
    rows = [
        ("arguments", ", ".join(f"{k} {v}" for k, v in report["arguments"].items())),
        ("constants", ", ".join(f"{k}={v}" for k, v in report["constants"].items())),
    ]
    if report["error"]:
        _print_rows(rows)
        say(f"  does not compile: {report['error']}", BAD)
        return
    _print_rows([*rows, *_numbers(report)])
    for note in report["notes"]:
        say(f"  {note}", BAD)
    if "listing" in report:
        say()
        _print_listing(report["listing"])


def _numbers(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the machine code says, as rows of a table."""
    unknown = "not known"
    registers, spills = report["registers"], report["spills"]
    shared = report["shared"]
    rows = [
        ("warps, stages", f"{report['warps']}, {report['stages']}"),
        ("registers", unknown if registers is None else f"{registers} a thread"),
        ("spills", unknown if spills is None else str(spills)),
        ("stack", unknown if report["stack"] is None else f"{report['stack']} bytes a thread"),
        ("shared memory", f"{shared['dynamic']} bytes, and {shared['static'] or 0} static"),
    ]
    if report["occupancy"]:
        held = report["occupancy"]
        share = 100 * held["warps"] / held["most"]
        rows.append((
            "occupancy",
            f"{share:.0f} %: {counted(held['programs'], 'program')} a core, {held['warps']} of "
            f"{held['most']} warps, limited by {held['limited_by']}",
        ))  # fmt: skip
    if report["instructions"]:
        kinds = list(report["kinds"].items())[:KINDS]
        rows += [
            ("loads", _widths(report["accesses"]["load"])),
            ("stores", _widths(report["accesses"]["store"])),
            ("matrix units", _counts(report["matrix"]) or "not used"),
            ("instructions", f"{report['instructions']}: {_counts(dict(kinds))} ..."),
        ]
    return rows


def _counts(counted_names: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counted_names.items())


def _widths(counts: Mapping[int, int]) -> str:
    """{128: 4, 16: 12} as "4 of 128 bits (25 %), 12 of 16 bits (75 %)"."""
    total = sum(counts.values())
    parts = [
        f"{count} of {bits} bits ({100 * count / total:.0f} %)"
        for bits, count in sorted(counts.items(), reverse=True)
    ]
    return ", ".join(parts) or "none"


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    for name, text in rows:
        say(f"  {name:<14} {text}".rstrip())


def _print_listing(lines: Sequence[Sequence[str]]) -> None:
    """Instructions; beside them their line of source, where it is not that of the one before."""
    before = ""
    for text, place, source in lines:
        beside = f"{place}  {source}" if place and place != before else ""
        say(f"{text:<{TEXT}}  {beside}".rstrip())
        before = place or before


def _trace(
    backend: backends.Backend,
    op: Op,
    inputs: Sequence[Any],
    attributes: Mapping[str, Any],
    arguments: argparse.Namespace,
) -> int:
    from refnet.plot.trace import memory_trace, trace_text

    found = backend.trace(op, inputs, attributes, arguments.dtype)
    title = _asked(op, [_spec(x, arguments.dtype) for x in inputs], attributes)
    if arguments.json:
        print(json.dumps(found))
    else:
        say(title, HEADING)
        say("as launched on a GPU, run by the interpreter; . nobody, * read by several, ! written twice",
            QUIET)  # fmt: skip
        for line in trace_text(found):
            say(line)
    if hasattr(arguments, "picture"):
        try:
            path = memory_trace(found, arguments.picture, title)
        except OSError as error:
            raise ArgumentError(
                f"--picture {arguments.picture}: cannot write there ({error.strerror or error})"
            ) from error
        if not arguments.json:
            say(f"\n{path}")
    return 0
