"""A graph as text that draws itself: Mermaid, which GitHub and many editors show, and DOT, for Graphviz.

Both, and the picture of `refnet.plot.graph`, start from the same outline: boxes, the frames they stand
in, and what flows between them. Where a scope is not looked into, it is one box.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from refnet.errors import ArgumentError
from refnet.graph.entry import Entry, Shape, source_of
from refnet.op import TABLE

#: for each kind of box a soft fill, and the colour of Okabe and Ito (2008) it is a tint of
COLOURS = {
    "placeholder": ("#D3E6F3", "#0072B2"),
    "variable": ("#FBE8C3", "#E69F00"),
    "constant": ("#EDEDED", "#6B6B6B"),
    "op": ("#D5EFE6", "#009E73"),
    "scope": ("#F5E4EE", "#CC79A7"),
}
WRITES = "#D55E00"

_MERMAID_SHAPES = {
    "placeholder": ("([", "])"),
    "variable": ("[(", ")]"),
    "constant": ("(", ")"),
    "op": ("[", "]"),
    "scope": ("[[", "]]"),
}
_DOT_SHAPES = {
    "placeholder": 'shape=box style="rounded,filled"',
    "variable": "shape=cylinder style=filled",
    "constant": 'shape=box style="rounded,filled" height=0.2',
    "op": "shape=box style=filled",
    "scope": "shape=box3d style=filled",
}


@dataclass(frozen=True)
class Box:
    """An entry, or a scope that is not looked into.

    Attributes
    ----------
    key : unique in the outline: an entry's name, or a scope's name with a slash behind it.
    kind : an entry's kind, or "scope".
    lines : what to write into the box.
    frame : the scope the box stands in; "" at the top.
    """

    key: str
    kind: str
    lines: tuple[str, ...]
    frame: str


@dataclass(frozen=True)
class Edge:
    """What flows from one box (its key) to another; or, if `writes`, which box an update overwrites."""

    source: str
    target: str
    label: str
    writes: bool = False


@dataclass(frozen=True)
class Outline:
    """Boxes and edges, in the order in which the entries name them."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]

    def nested(self) -> Iterator[tuple[int, Box | str | None]]:
        """Boxes inside frames, with their depth: a frame's name opens it, None closes it."""
        inside: dict[str, list[Box | str]] = {"": []}
        for box in self.boxes:
            child: Box | str = box
            frame, known = box.frame, False
            while not known:
                known = frame in inside
                inside.setdefault(frame, []).append(child)
                child, frame = frame, parent(frame)
        stack: list[tuple[int, Box | str | None]] = [(0, item) for item in reversed(inside[""])]
        while stack:
            level, item = stack.pop()
            yield level, item
            if isinstance(item, str):
                stack.append((level, None))
                stack.extend((level + 1, child) for child in reversed(inside[item]))


def outline(entries: Sequence[Entry], depth: int | None = None) -> Outline:
    """What there is to draw.

    Names have parts, "hidden/linear" has two. Entries whose names have more than `depth` parts are
    gathered in one box for each scope of `depth` parts: with depth=1, all of "hidden/..." is the box
    "hidden". With depth=None every entry has its box. What flows between two boxes is one edge.

    >>> x = Entry("x", "placeholder", [((None, 64), "float32")])
    >>> y = Entry("hidden/relu", "op", [((None, 64), "float32")], "relu", ["x"])
    >>> for edge in outline([x, y], depth=1).edges:
    ...     print(edge.source, "->", edge.target, "with", edge.label)
    x -> hidden/ with ?×64
    """
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise ArgumentError(f"depth is a whole number from 1 on, or None for all, got {depth!r}")
    by_name = {entry.name: entry for entry in entries}
    if len(by_name) < len(entries):
        name = Counter(entry.name for entry in entries).most_common(1)[0][0]
        raise ArgumentError(f"two entries are named {name!r}")
    boxes: dict[str, list[Entry]] = {}
    flows: dict[tuple[str, str], Counter[tuple[str, int]]] = {}
    writes: dict[tuple[str, str], None] = {}
    for entry in entries:
        here = _key(entry.name, depth)
        boxes.setdefault(here, []).append(entry)
        written = _written(entry)
        for i, reference in enumerate(entry.inputs):
            source = _resolve(reference, entry, by_name)
            there = _key(source[0], depth)
            if there == here:  # inside a box
                continue
            flows.setdefault((there, here), Counter())[source] += 1
            if i in written:
                writes[here, there] = None
    read = {source for flow in flows.values() for source in flow}
    edges = [Edge(*ends, _flow_text(flow, ends[1], by_name)) for ends, flow in flows.items()]
    edges += [Edge(*ends, "writes", writes=True) for ends in writes]
    return Outline(
        tuple(_box(k, inside, k in by_name, read) for k, inside in boxes.items()), (*edges,)
    )


def rows_of(drawn: Outline) -> tuple[dict[str, int], list[Edge]]:
    """The row of each box, and the edges that lead upwards because boxes read each other in a circle.

    The row is one more than the largest of what the box reads; what reads nothing stands right above
    its first reader. Writes do not count: they all lead back.
    """
    edges = [edge for edge in drawn.edges if not edge.writes]
    order = _order(drawn, edges)
    upwards = [e for e in edges if order[e.source] > order[e.target]]
    downwards = [(e.source, e.target) for e in edges if order[e.source] < order[e.target]]
    downwards += [(e.target, e.source) for e in upwards]
    rows = dict.fromkeys(order, 0)
    for above, below in sorted(downwards, key=lambda ends: order[ends[0]]):
        rows[below] = max(rows[below], rows[above] + 1)
    sources = rows.keys() - {below for _, below in downwards}
    for box in sources:
        rows[box] = min((rows[b] for a, b in downwards if a == box), default=1) - 1
    return rows, upwards


def _order(drawn: Outline, edges: list[Edge]) -> dict[str, int]:
    """A number for each box, larger than those of the boxes it reads, wherever there is no circle.

    A circle is opened at the box with the most readers for the boxes it still waits for.
    """
    waits_for, readers = defaultdict(set), defaultdict(set)
    for edge in edges:
        waits_for[edge.target].add(edge.source)
        readers[edge.source].add(edge.target)
    left = {box.key: None for box in drawn.boxes}
    order: dict[str, int] = {}
    while left:
        ready = [key for key in left if not waits_for[key]]
        for key in ready or [max(left, key=lambda k: len(readers[k]) - len(waits_for[k]))]:
            order[key] = len(order)
            del left[key]
            for reader in readers[key]:
                waits_for[reader].discard(key)
            for read in waits_for[key]:
                readers[read].discard(key)
    return order


def legend(drawn: Outline) -> list[list[tuple[str, str]]]:
    """What a picture's colours and signs mean, (kind or sign, meaning): a row of either."""
    kinds = {box.kind for box in drawn.boxes}
    results = [box.lines[-1] for box in drawn.boxes if box.lines[-1].startswith("→ ")]
    labels = [edge.label for edge in drawn.edges if not edge.writes]
    signs = [
        ("write", "overwrites", any(edge.writes for edge in drawn.edges)),
        ("?", "any length", any("?" in text for text in results + labels)),
        ("→", "what comes out", bool(results)),
    ]
    rows = [
        [(k, k) for k in COLOURS if k in kinds],
        [(s, means) for s, means, used in signs if used],
    ]
    return [row for row in rows if row]


def to_mermaid(entries: Sequence[Entry], depth: int | None = None) -> str:
    """The graph as Mermaid text, to stand in a ```mermaid block. `depth` as in `outline`.

    What an op overwrites it has also read: that is one dashed edge with a head at either end, as Mermaid
    would put a box that an edge of its own leads back to below the rest.

    Mermaid by itself refuses more than 500 edges; its settings maxEdges and maxTextSize raise that.

    >>> print(to_mermaid([Entry("x", "placeholder", [((None, 64), "float32")])]))
    flowchart TB
      n0(["x<br/>→ ?×64"]):::placeholder
      classDef placeholder fill:#D3E6F3,stroke:#0072B2,color:#000000
    """
    drawn = outline(entries, depth)
    names = {box.key: f"n{i}" for i, box in enumerate(drawn.boxes)}
    frames: list[str] = []

    def box_line(box: Box) -> str:
        before, after = _MERMAID_SHAPES[box.kind]
        text = "<br/>".join(map(_in_mermaid, box.lines))
        return f'{names[box.key]}{before}"{text}"{after}:::{box.kind}'

    def frame_line(frame: str) -> str:
        frames.append(f"s{len(frames)}")
        return f'subgraph {frames[-1]}["{_in_mermaid(leaf(frame))}"]'

    lines = ["flowchart TB", *_indented(drawn, box_line, frame_line, "end")]
    written = {(edge.target, edge.source) for edge in drawn.edges if edge.writes}
    for edge in drawn.edges:
        if edge.writes:
            continue
        back = (edge.source, edge.target) in written
        arrow, label = ("<-.->", f"{edge.label}, overwritten") if back else ("-->", edge.label)
        lines.append(f'  {names[edge.source]} {arrow}|"{label}"| {names[edge.target]}')
    for kind, (fill, line) in COLOURS.items():
        if any(box.kind == kind for box in drawn.boxes):
            lines.append(f"  classDef {kind} fill:{fill},stroke:{line},color:#000000")
    if frames:
        lines.append("  classDef frame fill:#FAFAFA,stroke:#6B6B6B,color:#000000")
        lines.append(f"  class {','.join(frames)} frame")
    return "\n".join(lines)


def to_dot(entries: Sequence[Entry], depth: int | None = None) -> str:
    """The graph as DOT text, for Graphviz: ``dot -Tsvg graph.dot -o graph.svg``. `depth` as in `outline`.

    >>> print(to_dot([]))
    digraph refnet {
      newrank=true
      node [fontname="Helvetica" fontsize=11]
      edge [fontname="Helvetica" fontsize=9]
    }
    """
    drawn = outline(entries, depth)
    names = {box.key: f"n{i}" for i, box in enumerate(drawn.boxes)}
    frames: list[str] = []

    def box_line(box: Box) -> str:
        fill, line = COLOURS[box.kind]
        text = "\\n".join(map(_in_dot, box.lines))
        looks = f'{_DOT_SHAPES[box.kind]} fillcolor="{fill}" color="{line}"'
        return f'{names[box.key]} [label="{text}" {looks}]'

    def frame_line(frame: str) -> str:
        frames.append(f"cluster_{len(frames)}")
        looks = 'fontname="Helvetica" fontsize=11 style="rounded" color="#6B6B6B"'
        return f'subgraph {frames[-1]} {{ label="{_in_dot(leaf(frame))}" labeljust=l {looks}'

    lines = [
        "digraph refnet {",
        "  newrank=true",
        '  node [fontname="Helvetica" fontsize=11]',
        '  edge [fontname="Helvetica" fontsize=9]',
        *_indented(drawn, box_line, frame_line, "}"),
    ]
    for edge in drawn.edges:
        looks = f' style=dashed color="{WRITES}" constraint=false' if edge.writes else ""
        ends = f"{names[edge.source]} -> {names[edge.target]}"
        lines.append(f'  {ends} [label="{edge.label}"{looks}]')
    return "\n".join([*lines, "}"])


def shape_text(shape: Shape) -> str:
    """A shape as a reader would say it.

    >>> shape_text((None, 64)), shape_text((10,)), shape_text(())
    ('?×64', '10', 'scalar')
    """
    return "×".join("?" if n is None else str(n) for n in shape) or "scalar"


def parent(scope: str) -> str:
    """The scope that a scope stands in."""
    return scope.rpartition("/")[0]


def leaf(name: str) -> str:
    """The last part of a name."""
    return name.rpartition("/")[2]


def printable(text: str) -> str:
    """The text with what has no shape of its own (line ends, control characters) spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _key(name: str, depth: int | None) -> str:
    """The box an entry goes into: its own, or that of the scope `depth` parts deep."""
    parts = name.split("/")
    return name if depth is None or len(parts) <= depth else "/".join(parts[:depth]) + "/"


def _written(entry: Entry) -> set[int]:
    """Which of an entry's inputs its op overwrites."""
    if entry.kind != "op" or not (row := TABLE[entry.op]).writes:
        return set()
    return {row.inputs.index(name) for name in row.writes}


def _resolve(reference: str, reader: Entry, by_name: dict[str, Entry]) -> tuple[str, int]:
    """The name and result that an input means; an error if there is no such thing."""
    name, index = reference, 0
    if reference not in by_name and re.fullmatch(r".*:\d+", reference, re.DOTALL):
        name, index = source_of(reference)
    if name not in by_name or index >= len(by_name[name].outputs):
        raise ArgumentError(
            f"{reader.name!r} reads {reference!r}, which nothing in the graph is called"
        )
    return name, index


def _box(key: str, inside: list[Entry], alone: bool, read: set[tuple[str, int]]) -> Box:
    if not alone:
        scope, counts = key[:-1], Counter(entry.kind for entry in inside)
        kinds = [kind for kind in ("op", "variable", "placeholder", "constant") if counts[kind]]
        total = ", ".join(f"{counts[k]} {k}{'s' if counts[k] > 1 else ''}" for k in kinds)
        return Box(key, "scope", (leaf(scope), total), parent(scope))
    (entry,) = inside
    name = leaf(entry.name)
    lines = [name] if name == (entry.op or name) else [entry.op, name]
    if entry.kind == "constant" and entry.value is not None and entry.value.size == 1:
        lines.append(f"= {entry.value.item():.6g}")
    results = range(len(entry.outputs))
    if not any((entry.name, i) in read for i in results):
        lines.append("→ " + _listed([shape_text(shape) for shape, _ in entry.outputs]))
    return Box(key, entry.kind, tuple(lines), entry.scope)


def _flow_text(flow: Counter[tuple[str, int]], target: str, by_name: dict[str, Entry]) -> str:
    """The shapes of what flows along an edge; if the reader is one op, also how often it reads it."""
    texts = []
    for (name, index), count in flow.items():
        times = {1: "", 2: " (twice)"}.get(count, f" ({count} times)") if target in by_name else ""
        texts.append(shape_text(by_name[name].outputs[index][0]) + times)
    return _listed(texts)


def _listed(texts: list[str]) -> str:
    return ", ".join(texts) if len(texts) <= 2 else f"{len(texts)} tensors"


def _indented(
    drawn: Outline, box_line: Callable[[Box], str], frame_line: Callable[[str], str], end: str
) -> Iterator[str]:
    for level, item in drawn.nested():
        if item is None:
            line = end
        else:
            line = box_line(item) if isinstance(item, Box) else frame_line(item)
        yield "  " * (level + 1) + line


def _in_mermaid(text: str) -> str:
    """Inside double quotes. Characters that Mermaid, Markdown or HTML could read are written as #NN;."""
    text = printable(text).replace("\\n", "\\\u200bn")  # Mermaid would break the line at \n
    return re.sub(r"[^\w .,=+/()?→×-]", lambda found: f"#{ord(found[0])};", text)


def _in_dot(text: str) -> str:
    r"""Inside double quotes, where \ begins an escape and & an HTML entity."""
    return printable(text).replace("\\", r"\\").replace('"', r"\"").replace("&", "&amp;")
