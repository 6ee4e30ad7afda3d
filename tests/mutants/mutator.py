"""Mutants: copies of a file with one small fault each.

A mutant is one edit of the text, found by walking the syntax tree: a `+` that becomes `-`, a `<` that
becomes `<=`, a number that is one too large, a minus sign or a mask that is gone. Left alone is what does
not compute: docstrings, decorators, type hints, strings, errors that are raised, and `strict=True` of
zip, which is one of these. In a file of formulas, so is what proves them: cases and bounds, and the
functions that only these use.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.MatMult: ("@", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}


def _pairs(both_ways: str, one_way: str = "") -> dict[str, str]:
    """ "max/min exp/expm1" as {"max": "min", "min": "max", ...}."""
    pairs = [pair.split("/") for pair in both_ways.split()]
    there = [pair.split("/") for pair in one_way.split()]
    return dict([*pairs, *there, *(pair[::-1] for pair in pairs)])


#: what a function is mistaken for, by the module it is taken from ("": none)
RELATIVES = {
    "": _pairs("max/min any/all", "sum/max"),
    "builtins": _pairs("max/min any/all", "sum/max"),
    "np": _pairs(
        "maximum/minimum max/min exp/expm1 log/log1p sum/mean argmax/argmin sin/cos any/all zeros/ones",
        "sqrt/square floor/ceil zeros_like/ones_like abs/negative",
    ),
    "tl": _pairs("maximum/minimum max/min", "sum/max zeros/ones floor/ceil cdiv/minimum"),
    "mathematics": _pairs("maximum/minimum exp/expm1 log/log1p sin/cos", "tanh/erf"),
    "torch": _pairs("zeros/ones", "zeros_like/ones_like"),
}
DROPPED = {"mask", "other", "axis", "keepdims", "initial", "dtype", "stable"}
SWAPPED = {"where": (1, 2), "divide": (0, 1), "power": (0, 1), "subtract": (0, 1)}


@dataclass(frozen=True)
class Mutant:
    """`source[start:end]`, in bytes, becomes `new`. `function` is the top-level name it is in."""

    path: str
    function: str
    kind: str
    line: int
    start: int
    end: int
    new: str

    def apply(self, source: str) -> str:
        """The text with the fault in it."""
        text = source.encode()
        return (text[: self.start] + self.new.encode() + text[self.end :]).decode()

    def diff(self, source: str) -> str:
        """The lines that change, as `- before` and `+ after`."""
        lines = difflib.ndiff(source.splitlines(), self.apply(source).splitlines())
        changed = [line for line in lines if line[:2] in ("- ", "+ ")]
        return "\n".join(f"{line[0]} {line[2:].strip()}" for line in changed)


def names_in(node: ast.AST) -> set[str]:
    """Every plain name a node mentions."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def decorator_names(node: ast.stmt) -> list[str]:
    """`op`, `sigmoid.vjp`, `triton.jit` ...: what a function is decorated with."""
    calls = getattr(node, "decorator_list", [])
    return [ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in calls]


def is_op(node: ast.stmt) -> bool:
    """Whether a function is a row of TABLE."""
    return any(name == "op" or name.endswith(".vjp") for name in decorator_names(node))


def definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """The functions, classes and constants of a module by name."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


def uses(node: ast.stmt) -> set[str]:
    """The names that a function (or a constant) is computed with: its body, defaults and shape rule."""
    if not isinstance(node, ast.FunctionDef):
        return names_in(node)
    calls = [call for call in node.decorator_list if isinstance(call, ast.Call)]
    rules = [k.value for call in calls for k in call.keywords if k.arg == "shape"]
    parts = [*node.body, *node.args.defaults, *node.args.kw_defaults, *rules]
    return set().union(*(names_in(part) for part in parts if part is not None))


def computing(tree: ast.Module) -> set[str]:
    """The definitions that ops compute with; in a file without rows of TABLE (a twin), all of them."""
    found = definitions(tree)
    reached = {name for name, node in found.items() if is_op(node)}
    if not reached:
        return set(found)
    waiting = list(reached)
    while waiting:
        new = (uses(found[waiting.pop()]) & set(found)) - reached
        reached |= new
        waiting += new
    return reached


class _Text:
    """Where the nodes of a syntax tree stand in the text, in bytes."""

    def __init__(self, source: str) -> None:
        self.text = source.encode()
        self.lines = [0]
        for line in self.text.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """(first byte, one past the last)"""
        return (
            self.lines[node.lineno - 1] + node.col_offset,  # type: ignore[attr-defined]
            self.lines[node.end_lineno - 1] + node.end_col_offset,  # type: ignore[attr-defined]
        )

    def of(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.text[start:end].decode()

    def between(self, left: ast.AST, right: ast.AST, sign: str) -> tuple[int, int]:
        """Where the operator between two operands stands."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = re.sub(rb"#[^\n]*", lambda m: b" " * len(m[0]), self.text[start:end])
        at = start + re.search(re.escape(sign).replace(r"\ ", r"\s+").encode(), gap).start()  # type: ignore[union-attr]
        return at, at + len(sign)


def _number(value: bool | int | float) -> str:
    """What a constant is mistaken for."""
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, int):
        return str(value + 1)
    return repr(value * 1.5 if value else 1.0)


def _can_go(node: ast.AST, known: set[str]) -> bool:
    """Whether a statement can be left out and no name is missing: a call, or a new value."""
    if isinstance(node, ast.Assign):
        return names_in(node.targets[0]) <= known
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _edits(node: ast.AST, text: _Text, known: set[str]) -> Iterator[tuple[str, int, int, str]]:
    """(kind, start, end, new) for each fault that can be put into this node itself."""
    if isinstance(node, ast.BinOp):
        sign, other = OPERATORS[type(node.op)]
        yield "operator", *text.between(node.left, node.right, sign), other
    elif isinstance(node, ast.AugAssign):
        sign, other = OPERATORS[type(node.op)]
        start, _ = text.between(node.target, node.value, f"{sign}=")
        yield "operator", start, start + len(sign), other
        yield "statement", *text.span(node), "pass"
    elif _can_go(node, known):
        yield "statement", *text.span(node), "pass"
    elif isinstance(node, ast.If) and not node.orelse:
        yield "statement", *text.span(node.test), "False"
    elif isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            sign, other = COMPARISONS[type(op)]
            yield "comparison", *text.between(left, right, sign), other
    elif isinstance(node, ast.BoolOp):
        sign, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        if len(node.values) == 2:
            yield "and/or", *text.between(node.values[0], node.values[1], sign), other
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.UAdd):
        start, end = text.span(node)
        yield "sign", start, end, text.of(node.operand)
        if isinstance(node.operand, ast.Constant):
            yield "constant", start, end, "0" if node.operand.value == 1 else f"{text.of(node)}+1"
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield "constant", *text.span(node), _number(node.value)
    elif isinstance(node, ast.Call):
        yield from _call_edits(node, text)


def _call_edits(node: ast.Call, text: _Text) -> Iterator[tuple[str, int, int, str]]:
    module, _, name = ast.unparse(node.func).rpartition(".")
    relative = RELATIVES.get(module, {}).get(name)
    if relative:
        end = text.span(node.func)[1]
        yield "function", end - len(name), end, relative
    if name in SWAPPED and len(node.args) > SWAPPED[name][1]:
        a, b = (node.args[i] for i in SWAPPED[name])
        gap = text.text[text.span(a)[1] : text.span(b)[0]].decode()
        yield "order", text.span(a)[0], text.span(b)[1], f"{text.of(b)}{gap}{text.of(a)}"
    given = [k for k in node.keywords if k.arg in DROPPED]
    for keyword in given:
        start, end = text.span(keyword)
        if keyword.arg == "mask":  # a value for what is masked says nothing without the mask
            end = max(text.span(k)[1] for k in given if k.arg in ("mask", "other"))
        comma = text.text.rfind(b",", text.span(node.func)[1], start)
        if comma > 0:
            yield "argument", comma, end, ""


def _skipped(node: ast.AST) -> bool:
    """Errors and what is said in them; what only a type checker reads."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2].endswith("Error")
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom))


def _walk(node: ast.AST, known: set[str]) -> Iterator[tuple[ast.AST, set[str]]]:
    """The nodes that compute, each with the names that were assigned before it."""
    if _skipped(node):
        return
    yield node, set(known)
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        return
    for field, value in ast.iter_fields(node):
        if field in ("decorator_list", "annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.keyword) and child.arg == "strict":
                continue
            if isinstance(child, ast.arg):
                known.add(child.arg)
            elif isinstance(child, ast.AST):
                yield from _walk(child, known)
    if isinstance(node, ast.Assign):
        known |= names_in(node.targets[0])


def mutants(source: str, path: str) -> list[Mutant]:
    """All mutants of a file, from top to bottom. Those that would not parse are left out."""
    tree, text, found = ast.parse(source), _Text(source), []
    chosen = computing(tree)
    for name, definition in definitions(tree).items():
        if name not in chosen:
            continue
        for node, known in _walk(definition, set()):
            for kind, start, end, new in _edits(node, text, known):
                line = text.text[:start].count(b"\n") + 1
                mutant = Mutant(path, name, kind, line, start, end, new)
                if _parses(mutant.apply(source)):
                    found.append(mutant)
    return sorted(set(found), key=lambda m: (m.start, m.end, m.new))


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True
