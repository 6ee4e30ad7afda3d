"""refnet show: the source of an op, in NumPy and in Triton, side by side.

First the page of formulas; what proves them, with --proof. Sources are read, not imported: it works
where torch and triton are not installed.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.util
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, zip_longest
from pathlib import Path

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from refnet.check.edge_cases import without
from refnet.cli.output import HEADING, QUIET, console, say, whole
from refnet.errors import BackendError
from refnet.op import TABLE, Op
from refnet.proof.judge import cases_of

SIDES = {"numpy": "refnet", "triton": "refnet_triton"}
WIDE, NARROW = 120, 80  # columns from which the two sides stand beside each other; those of a pipe
GAP = "  "
WHAT_VJP_IS = (
    "vjp (vector-Jacobian product): from g = ∂L/∂y, how the loss L changes with the result, "
    "to how it changes with the inputs"
)
Function = ast.FunctionDef | ast.ClassDef


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "op", nargs="?", default=argparse.SUPPRESS, help="its name; without one, all are listed"
    )
    only = parser.add_mutually_exclusive_group()
    for side in SIDES:
        only.add_argument(
            f"--{side}", dest="side", action="store_const", const=side, default=argparse.SUPPRESS,
            help=f"only the {'NumPy' if side == 'numpy' else 'Triton'} side",
        )  # fmt: skip
    parser.add_argument(
        "--proof", action="store_true", help="also what it is tried on, and how wrong it may be"
    )
    parser.add_argument(
        "--width", type=whole, default=argparse.SUPPRESS, metavar="N",
        help=f"columns to print in; from {WIDE} on, both sides stand beside each other",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if not hasattr(arguments, "op"):
        _list()
        return 0
    op = TABLE[arguments.op]
    op = op.primal or op
    sides = [arguments.side] if hasattr(arguments, "side") else list(SIDES)
    _say_formulas(op)
    out = console()
    width = getattr(arguments, "width", out.width if out.is_terminal else _columns())
    _print([(side, _source(op, side)) for side in sides], width)
    if arguments.proof:
        say()
        _say_proof(op)
        if "numpy" in sides:
            _print([("numpy", _proof(op))], width)
    return 0


def _columns() -> int:
    """How wide a file or a pipe is, if COLUMNS says so."""
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() else NARROW


# -- what there is to know about an op ------------------------------------------------------------


def _list() -> None:
    """All ops with their formulas, file by file."""
    ops = [op for op in TABLE.values() if op.primal is None]
    width = max(len(op.name) for op in ops)
    for file, members in groupby(sorted(ops, key=lambda op: op.file), key=lambda op: op.file):
        say(f"refnet/ops/{file}.py", HEADING)
        for op in members:
            say(f"  {op.name:<{width}}  {op.formula}")
    say(
        f"{len(ops)} ops and {len(TABLE) - len(ops)} gradients. refnet show OP prints their source.",
        QUIET,
    )


def _say_formulas(op: Op) -> None:
    """The formulas of an op and of its gradient, and what a gradient is."""
    rows = [row for row in (op, op.gradient) if row is not None]
    for row in rows:
        attributes = [f"{name}={value!r}" for name, value in row.attributes.items()]
        data = [f"*{name}" if row.variadic and row is op else name for name in row.inputs]
        say(f"{row.name}({', '.join(data + attributes)})", HEADING)
        say(f"  {row.formula}")
    if len(rows) > 1:
        say(WHAT_VJP_IS, QUIET)


def _say_proof(op: Op) -> None:
    """The bounds, the kinks and the cases of an op and of its gradient."""
    for row in (op, op.gradient):
        if row is not None:
            say(f"bound of {row.name}: {row.error or 'none'}")
    for kink in op.kinks:
        attributes = [f" with {name}={value!r}" for name, value in kink.attributes.items()]
        at = ", ".join(f"{x:g}" if isinstance(x, (int, float)) else str(x) for x in kink.at)
        say(f"kink at {at}{''.join(attributes)}: the {kink.rule} derivative")
    names = [case.name for case in cases_of(op)]
    say(f"{len(names)} cases: {'; '.join(names)}")
    for corner, why in without(op).items():
        say(f"no case of {corner}: {why}")


# -- its source -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """Some lines of a file."""

    path: Path
    start: int  # counted from 1
    text: str

    @property
    def place(self) -> str:
        """Where they stand: "refnet/ops/softmax.py:26-34"."""
        folder = next(p for p in self.path.parents if p.name in SIDES.values())
        lines = f"{self.start}" if self.start == self.last else f"{self.start}-{self.last}"
        return f"{self.path.relative_to(folder.parent).as_posix()}:{lines}"

    @property
    def last(self) -> int:
        """The number of its last line."""
        return self.start + self.text.count("\n")


def _source(op: Op, side: str) -> list[Piece] | str:
    """The op, its gradient and their helpers, in the order of the file; or why there is none."""
    try:
        path = folder(side) / "ops" / f"{op.file}.py"
    except BackendError as error:
        return str(error)
    names = [row.name for row in (op, op.gradient) if row is not None]
    if not path.is_file():
        return f"{SIDES[side]}/ops/{op.file}.py does not exist"
    found = pieces(path, names)
    lacking = [name for name in names if name not in _module(path).definitions]
    if lacking:
        return f"{SIDES[side]}/ops/{op.file}.py has no {' and no '.join(lacking)}"
    return found


def _proof(op: Op) -> list[Piece]:
    """What the reference's file says below its line about an op: the call of `proof`, and its helpers."""
    path = folder("numpy") / "ops" / f"{op.file}.py"
    shown = {piece.place for piece in pieces(path, [row.name for row in (op, op.gradient) if row])}
    found = pieces(path, [f"{op.name}.proof"])
    return [piece for piece in found if piece.place not in shown]


def folder(side: str) -> Path:
    """Where a package lies. It is found, not imported: that would need torch."""
    spec = importlib.util.find_spec(SIDES[side])
    if spec is None or not spec.submodule_search_locations:
        raise BackendError(f"the package {SIDES[side]} is not installed")
    return Path(spec.submodule_search_locations[0])


def pieces(path: Path, names: list[str]) -> list[Piece]:
    """These functions of a file and what they use, in the order of the file.

    That is: helpers and constants of the same file, unless they are ops themselves, and the
    functions of `mathematics` that are called directly.
    """
    here, wanted, queue = _module(path), dict[str, ast.stmt](), list(names)
    elsewhere: set[str] = set()
    while queue:
        name = queue.pop()
        node = here.definitions.get(name)
        if node is None or name in wanted:
            continue
        wanted[name] = node
        queue += [used for used in _uses(node) if used not in TABLE]
        if isinstance(node, Function):
            elsewhere |= set(_uses_of_mathematics(node))
    found = here.pieces(wanted.values())
    library = path.parent.parent / "mathematics.py"
    if elsewhere and library.is_file():
        there = _module(library)
        found += there.pieces(there.definitions[n] for n in elsewhere if n in there.definitions)
    return found


def _uses_of_mathematics(node: Function) -> Iterator[str]:
    """Names that a function reads from that module: tanh of ``mathematics.tanh``."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "mathematics":
            yield part.attr


def _uses(node: ast.stmt) -> Iterator[str]:
    """Names that a statement reads; of a function, those of its body, and not of its decorators."""
    for statement in node.body if isinstance(node, Function) else [node]:
        for part in ast.walk(statement):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
                yield part.id


class _Module:
    """A source file, and the statement that defines each of its names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        source = path.read_text(encoding="utf-8")
        self.lines = source.splitlines()
        self.definitions: dict[str, ast.stmt] = {}
        for node in ast.parse(source).body:
            if isinstance(node, Function):
                self.definitions[node.name] = node
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.definitions[target.id] = node
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self.definitions[ast.unparse(node.value.func)] = node  # "softmax.proof"

    def pieces(self, nodes: Iterable[ast.stmt]) -> list[Piece]:
        """The lines of statements; those with only blank lines between them are one piece."""
        spans: list[tuple[int, int]] = []
        for start, last in sorted(self._span(node) for node in nodes):
            if spans and not "".join(self.lines[spans[-1][1] : start - 1]).strip():
                start = spans.pop()[0]
            spans.append((start, last))
        return [Piece(self.path, a, "\n".join(self.lines[a - 1 : b])) for a, b in spans]

    def _span(self, node: ast.stmt) -> tuple[int, int]:
        """First and last line of a statement, with its decorators."""
        decorators = node.decorator_list if isinstance(node, Function) else []
        return min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno or node.lineno


@functools.cache
def _module(path: Path) -> _Module:
    return _Module(path)


# -- on screen ------------------------------------------------------------------------------------


def _print(sources: list[tuple[str, list[Piece] | str]], width: int) -> None:
    """Each side below the other, or beside it where there is room."""
    out = console()
    beside = len(sources) == 2 and width >= WIDE
    if not out.is_terminal:
        blocks = [_as_text(side, source) for side, source in sources]
        for line in (
            _beside(blocks[0], blocks[1], width) if beside else [*chain.from_iterable(blocks)]
        ):
            say(line)
    elif beside:
        grid = Table.grid(padding=(0, len(GAP)), expand=True)
        for _ in sources:
            grid.add_column(ratio=1)
        grid.add_row(*(_panel(side, source) for side, source in sources))
        out.print(grid, width=width)
    else:
        for side, source in sources:
            out.print(_panel(side, source), width=width)


def _panel(side: str, source: list[Piece] | str) -> RenderableType:
    """One side, highlighted."""
    if isinstance(source, str):
        return Text(f"{side}: {source}", "yellow")
    parts: list[RenderableType] = []
    for piece in source:
        parts.append(Text(f"\n{side}  {piece.place}", "bold cyan"))
        code = Syntax(piece.text, "python", theme="ansi_dark", start_line=piece.start)
        code.line_numbers, code.word_wrap, code.background_color = True, True, "default"
        parts.append(code)
    return Group(*parts)


def _as_text(side: str, source: list[Piece] | str) -> list[str]:
    """One side as lines of plain text."""
    if isinstance(source, str):
        return ["", f"{side}: {source}"]
    lines = []
    for piece in source:
        lines += ["", f"# {side}  {piece.place}"]
        numbered = enumerate(piece.text.split("\n"), piece.start)
        lines += [f"{number:5}  {text}".rstrip() for number, text in numbered]
    return lines


def _beside(left: list[str], right: list[str], width: int) -> list[str]:
    """Two columns of text. What is too long goes on in the next line, below the code."""
    room = (width - len(GAP)) // 2
    columns = [[part for line in side for part in _folded(line, room)] for side in (left, right)]
    pairs = zip_longest(*columns, fillvalue="")
    return [f"{a:<{room}}{GAP}{b}".rstrip() for a, b in pairs]


def _folded(line: str, room: int) -> Iterator[str]:
    """A line in parts of at most `room` columns.

    >>> list(_folded("    7  return a + b", 14))
    ['    7  return ', '       a + b']
    """
    yield line[:room]
    margin = " " * 7  # that of the line numbers
    for start in range(room, len(line), room - len(margin)):
        yield margin + line[start : start + room - len(margin)]
