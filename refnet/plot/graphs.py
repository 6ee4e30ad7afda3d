"""The picture of a graph: boxes in rows, from what is given at the top to what is computed at the bottom.

A layered drawing after Sugiyama, Tagawa and Toda (1981), in four steps: (1) every box gets a row below
everything it reads (`refnet.graph.drawing.rows_of`); (2) an edge gets a place of its own in each row
it passes, so that it runs around the boxes there; (3) each row is put in an order with few crossings;
(4) everything is moved towards its neighbours as far as there is room. Lengths are points, 1/72 inch.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from refnet.errors import ArgumentError
from refnet.graph.drawing import (
    COLOURS,
    WRITES,
    Box,
    Edge,
    Outline,
    leaf,
    legend,
    outline,
    parent,
    printable,
    rows_of,
)
from refnet.graph.entry import Entry
from refnet.plot.figure import DPI, GREY, new_figure, save

MOST_BOXES = 200
MOST_PIXELS = 20_000  # in either direction
SIZES = (9.0, 7.5)  # of the first line in a box, and of all other text
LINE, PADDING, BETWEEN = 11.0, 8.0, 16.0
HEADER = 21.0  # the height of a frame's name
BESIDE = 5.0  # how far the edge of a write runs beside the edge of the read
STUB = 5.0  # how far an edge leads straight out of a box
SHADOW = 3.0  # how far the box behind that of a scope shows
SWEEPS, ROUNDS, STRAIGHTENING = 24, 60, 8
PLENTY = 3_000


class HasEntries(Protocol):
    """A `refnet.Graph`, or anything else that lists what is in it."""

    def entries(self) -> Sequence[Entry]:
        """One entry each; what an entry reads stands before it."""


def graph(
    graph: HasEntries | Sequence[Entry], path: str | Path, depth: int | None = 1, title: str = ""
) -> Path:
    """The boxes of a graph, or of a list of its entries, and what flows between them, with the shapes.

    `depth` says how many parts of a name are looked into, as in `refnet.graph.drawing.outline`: 1 draws
    each outermost scope as one box, None every entry, with frames for the scopes.
    """
    if not isinstance(graph, Sequence):
        if not hasattr(graph, "entries"):
            raise ArgumentError(f"graph draws a Graph or a list of entries, got {graph!r}")
        graph = graph.entries()
    drawn = outline(graph, depth)
    if not drawn.boxes:
        raise ArgumentError("graph draws at least one entry, got none")
    if len(drawn.boxes) > MOST_BOXES:
        raise ArgumentError(
            f"nobody could read a picture of {len(drawn.boxes)} boxes ({MOST_BOXES} at most): "
            "use depth=1, which draws each outermost scope as one box, or to_dot() and a viewer"
        )
    with warnings.catch_warnings(), new_figure((1, 1), (1, 1)) as (figure, axes):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as an empty box
        picture = Picture(drawn)
        picture.draw(figure, axes.item(), printable(title) or "The graph")
        return save(figure, path)


@dataclass(eq=False)
class Place:
    """Something with a place in a row: a box, an edge that passes, or room that a frame keeps free.

    `frames` are those it stands in, outermost first. `x` is its middle.
    """

    row: int
    frames: tuple[str, ...]
    width: float
    box: Box | None = None
    label: str = ""
    x: float = 0.0
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)


Room = tuple[dict[Place, list[tuple[Place, float]]], dict[Place, list[tuple[Place, float]]]]


# -- 3. The order in each row ------------------------------------------------------------------------


def reorder(rows: list[list[Place]]) -> None:
    """Sort each row so that few edges cross: each place goes to the mean of its neighbours' (barycentre).

    Sweeps lead down and up in turn; the best order is kept. What stands in a frame stays together, and
    frames keep the same order in all rows, so that they can be drawn as rectangles.
    """
    best, fewest = [list(row) for row in rows], crossings(rows)
    for row in rows:
        _spread(row)
    for sweep in range(_repeats(SWEEPS, rows)):
        members: dict[str, list[float]] = defaultdict(list)
        for place in (place for row in rows for place in row):
            for frame in place.frames:
                members[frame].append(place.x)
        middle = {frame: fmean(x) for frame, x in members.items()}

        def key(place: Place, middle: dict[str, float] = middle) -> list[tuple[float, str]]:
            return [*((middle[frame], frame) for frame in place.frames), (place.x, "")]

        for row in rows if sweep % 2 == 0 else reversed(rows):
            for place in row:
                neighbours = place.above if sweep % 2 == 0 else place.below
                if neighbours:
                    place.x = fmean(n.x for n in neighbours)
            row.sort(key=key)
            _spread(row)
        if (count := crossings(rows)) < fewest or sweep == 0:
            best, fewest = [list(row) for row in rows], count
    rows[:] = best


def crossings(rows: list[list[Place]]) -> int:
    """How many pairs of edges cross between rows."""
    number = {place: i for row in rows for i, place in enumerate(row)}
    count = 0
    for row in rows:
        seen: list[int] = []
        for place in row:
            ends = [number[neighbour] for neighbour in place.below]
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


def _repeats(times: int, rows: list[list[Place]]) -> int:
    """How often to repeat a step, an even number: less often if there are more than PLENTY places."""
    return 2 * max(2, times * PLENTY // max(PLENTY, sum(map(len, rows))) // 2)


def _spread(row: list[Place]) -> None:
    """Move the places of a row apart, keeping their order, by as little as is needed."""
    room = _room([(a, b, _distance(a, b)) for a, b in pairwise(row)])
    _settle(row, room, {place: place.x for place in row})


# -- 4. Where in the row -----------------------------------------------------------------------------


def place_rows(rows: list[list[Place]], widths: dict[str, float]) -> dict[str, tuple[Place, Place]]:
    """Give every place its x. Returns the left and the right border of each frame.

    `widths` are the least widths of frames. Each round moves every box towards the mean of its
    neighbours, every label to the box it stands above, and continues edges straight, if it can.
    """
    borders = {f: (Place(-1, (), 0.0), Place(-1, (), 0.0)) for f in widths}
    gaps = [(*borders[frame], width) for frame, width in widths.items()]
    inside: dict[str, list[Place]] = defaultdict(list)
    for row in rows:
        line: list[Place] = []
        within: tuple[str, ...] = ()
        for place in [*row, Place(-1, (), 0.0)]:
            shared = len([1 for a, b in zip(within, place.frames, strict=False) if a == b])
            line += [borders[frame][1] for frame in reversed(within[shared:])]
            line += [borders[frame][0] for frame in place.frames[shared:]]
            line.append(place)
            within = place.frames
            for frame in within:
                inside[frame].append(place)
        gaps += [(a, b, _distance(a, b)) for a, b in pairwise(line[:-1])]
    room, order = _room(gaps), _left_to_right(gaps, [place for row in rows for place in row])
    for turn in range(_repeats(ROUNDS, rows)):
        wanted = {place: place.x for place in order}
        down = turn % 2 == 1  # and so the last round leads down
        for row in rows if down else reversed(rows):
            for place in row:
                towards = [*place.above, *place.below]
                if not place.box and towards:
                    towards = place.above if down and not place.label else place.below
                if towards:
                    wanted[place] = fmean(wanted[neighbour] for neighbour in towards)
        for frame, (left, right) in borders.items():
            wanted[left] = min(wanted[p] - p.width / 2 for p in inside[frame]) - PADDING
            wanted[right] = max(wanted[p] + p.width / 2 for p in inside[frame]) + PADDING
        _settle(order, room, wanted)
    _straighten(rows, room)
    return borders


def _straighten(rows: list[list[Place]], room: Room) -> None:
    """Let edges lead straight down where there is room, with everything else left where it is."""
    left_of, right_of = room
    for _ in range(STRAIGHTENING):
        for place in (place for row in rows for place in row):
            if place.box or place.label or not place.above or place.above[0].box:
                continue
            least = max([a.x + gap for a, gap in left_of[place]], default=-math.inf)
            most = min([b.x - gap for b, gap in right_of[place]], default=math.inf)
            place.x = min(max(place.above[0].x, least), most)


def _distance(a: Place, b: Place) -> float:
    """How far apart the middles of two neighbours are at least."""
    border = a.row < 0 or b.row < 0
    gap = PADDING if border or not (a.box or b.box) else BETWEEN
    return (a.width + b.width) / 2 + gap


def _left_to_right(gaps: list[tuple[Place, Place, float]], places: list[Place]) -> list[Place]:
    """The places, and the borders the gaps name, each behind what is to the left of it."""
    after: dict[Place, list[Place]] = {place: [] for place in places}
    before: dict[Place, int] = defaultdict(int)
    for a, b, _ in gaps:
        after.setdefault(a, []).append(b)
        after.setdefault(b, [])
        before[b] += 1
    order = [place for place in after if not before[place]]
    for place in order:
        for follower in after[place]:
            before[follower] -= 1
            if not before[follower]:
                order.append(follower)
    return order


def _room(gaps: list[tuple[Place, Place, float]]) -> Room:
    """For each place those to its left, with the least distance; and those to its right."""
    left_of: dict[Place, list[tuple[Place, float]]] = defaultdict(list)
    right_of: dict[Place, list[tuple[Place, float]]] = defaultdict(list)
    for a, b, gap in gaps:
        left_of[b].append((a, gap))
        right_of[a].append((b, gap))
    return left_of, right_of


def _settle(order: list[Place], room: Room, wanted: dict[Place, float]) -> None:
    """Put each place where it is wanted, or as near as the gaps allow.

    Pushing everything to the right until the gaps are kept is one solution, pushing to the left
    another. Half way between them no place is further from where it was wanted than it must be.
    """
    left_of, right_of = room
    rightmost: dict[Place, float] = {}
    leftmost: dict[Place, float] = {}
    for place in order:
        rightmost[place] = max([wanted[place], *(rightmost[a] + gap for a, gap in left_of[place])])
    for place in reversed(order):
        leftmost[place] = min([wanted[place], *(leftmost[b] - gap for b, gap in right_of[place])])
    for place in order:
        place.x = (rightmost[place] + leftmost[place]) / 2


# -- All four steps, and ink ---------------------------------------------------------------------------


class Picture:
    """Where all stands: boxes, edges (chains of places from the upper box to the lower), frames."""

    def __init__(self, drawn: Outline) -> None:
        self.drawn = drawn
        rows, upwards = rows_of(drawn)
        self.upwards = {(edge.source, edge.target) for edge in upwards}
        self.overwritten = {(edge.target, edge.source) for edge in drawn.edges if edge.writes}
        self.rows: list[list[Place]] = [[] for _ in range(2 * max(rows.values()) + 1)]
        self.boxes: dict[str, Place] = {}
        for box in drawn.boxes:
            frames = _with_parents(box.frame)
            self.boxes[box.key] = self._add(Place(2 * rows[box.key], frames, _box_width(box), box))
        self.chains = {(e.source, e.target): self._chain(e) for e in drawn.edges if not e.writes}
        self._keep_frames_free()
        names = {frame: _crop(leaf(frame)) for row in self.rows for p in row for frame in p.frames}
        reorder(self.rows)
        widths = {frame: _width(name) + 2 * PADDING for frame, name in names.items()}
        self.borders = place_rows(self.rows, widths)
        self._stack_rows()

    def _add(self, place: Place) -> Place:
        self.rows[place.row].append(place)
        return place

    def _chain(self, edge: Edge) -> list[Place]:
        """The edge's places, one in each row; the label stands in the row above the lower box."""
        ends = (edge.source, edge.target)
        upper, lower = (self.boxes[key] for key in (ends[::-1] if ends in self.upwards else ends))
        shared = [a for a, b in zip(upper.frames, lower.frames, strict=False) if a == b]
        chain = [upper]
        for row in range(upper.row + 1, lower.row):
            label = edge.label if row == lower.row - 1 else ""
            width = _width(label) if label else 0.0
            width += 4 * BESIDE if ends in self.overwritten else 0.0
            chain.append(self._add(Place(row, tuple(shared), width, label=label)))
        chain.append(lower)
        for a, b in pairwise(chain):
            a.below.append(b)
            b.above.append(a)
        return chain

    def _keep_frames_free(self) -> None:
        """An empty place in each row that a frame crosses and has nothing in."""
        self.reach: dict[str, tuple[int, int]] = {}
        for row, places in enumerate(self.rows):
            for frame in (frame for place in places for frame in place.frames):
                self.reach[frame] = (self.reach.get(frame, (row,))[0], row)
        for frame, (first, last) in sorted(self.reach.items(), reverse=True):
            for row in range(first, last + 1):
                if not any(frame in place.frames for place in self.rows[row]):
                    self._add(Place(row, _with_parents(frame), 0.0))

    def _stack_rows(self) -> None:
        """The top and bottom of each row and frame; y grows downwards."""
        heads, feet = (self._nested_at(end) for end in (0, 1))
        self.tops: list[float] = []
        self.bottoms: list[float] = []
        y = 0.0
        for i, row in enumerate(self.rows):
            starts = max([heads[f] for f, reach in self.reach.items() if reach[0] == i], default=0)
            ends = max([feet[f] for f, reach in self.reach.items() if reach[1] == i], default=0)
            slant = max([abs(p.x - n.x) for p in row for n in p.above], default=0.0)
            y += HEADER * starts + (min(max(0.06 * slant, 8.0) + 2 * STUB, 44.0) if i else 0.0)
            self.tops.append(y)
            y += max(map(_room_height, row), default=0.0)
            self.bottoms.append(y)
            y += PADDING * ends
        self.height = y
        self.frames = {
            frame: (
                self.borders[frame][0].x,
                self.tops[first] - HEADER * heads[frame],
                self.borders[frame][1].x,
                self.bottoms[last] + PADDING * feet[frame],
            )
            for frame, (first, last) in self.reach.items()
        }

    def _nested_at(self, end: int) -> dict[str, int]:
        """For each frame, how many nested frames, itself included, share its first (last) row."""
        levels: dict[str, int] = dict.fromkeys(self.reach, 1)
        for frame in sorted(self.reach, key=lambda name: -name.count("/")):
            outer = parent(frame)
            if outer in levels and self.reach[outer][end] == self.reach[frame][end]:
                levels[outer] = max(levels[outer], levels[frame] + 1)
        return levels

    def _end(self, place: Place, side: int) -> float:
        """The top (-1) or bottom (1), with the shadow, of a box in the middle of its row."""
        assert place.box
        middle = (self.tops[place.row] + self.bottoms[place.row]) / 2
        return middle + side * _box_height(place.box) / 2 + max(side, 0) * _shadow(place.box)

    # -- ink --

    def draw(self, figure: Any, ax: Any, title: str) -> None:
        """Boxes, edges, frames, a title and a legend, one point to a point."""
        edges_of = [(p.x - p.width / 2, p.x + p.width / 2) for row in self.rows for p in row]
        edges_of += [(left, right) for left, _, right, _ in self.frames.values()]
        left, right = min(a for a, _ in edges_of), max(b for _, b in edges_of)
        rows = legend(self.drawn)
        width = max(right - left, *map(_row_width, rows), _width(title, 12)) + 4 * PADDING
        middle = (left + right) / 2
        top, bottom = -16 - 3 * PADDING, self.height + 3 * PADDING + 16 * len(rows)
        figure.set_layout_engine("none")
        figure.set_size_inches(width / 72, (bottom - top) / 72)
        figure.set_dpi(min(DPI, MOST_PIXELS / max(figure.get_size_inches())))
        ax.set_position((0, 0, 1, 1))
        ax.set_axis_off()
        ax.set(xlim=(middle - width / 2, middle + width / 2), ylim=(bottom, top))
        _write(ax, middle, top + PADDING + 8, title, 12)
        for i, row in enumerate(reversed(rows)):
            _draw_legend(ax, row, middle - _row_width(row) / 2, bottom - PADDING - 5 - 16 * i)
        for depth, frame in sorted((f.count("/"), f) for f in self.frames):
            _draw_frame(ax, self.frames[frame], frame, depth)
        ports = self._ports()
        for ends, chain in self.chains.items():
            self._draw_edge(ax, ends, chain, ports)
        for place in self.boxes.values():
            assert place.box
            top, bottom = self.tops[place.row], self.bottoms[place.row]
            _draw_box(ax, place.box, place.x, (top + bottom) / 2, place.width)

    def _ports(self) -> dict[tuple[Place, Place], float]:
        """Where an edge leaves or enters a box, x of (box, next place): so that none cross there."""
        ports = {}
        for box in self.boxes.values():
            for neighbours in (box.above, box.below):
                step = min(18.0, 0.85 * box.width / max(len(neighbours), 1))
                for i, place in enumerate(sorted(neighbours, key=lambda place: place.x)):
                    ports[box, place] = box.x + (i - (len(neighbours) - 1) / 2) * step
        return ports

    def _draw_edge(
        self, ax: Any, ends: tuple[str, str], chain: list[Place], ports: dict[Any, float]
    ) -> None:
        upper, *between, lower = chain
        written, up = ends in self.overwritten, ends in self.upwards
        lines: list[tuple[float, str, Any, bool]] = [(0.0, GREY, "-", up)]
        if written:
            lines.append((BESIDE, WRITES, (0, (4, 2)), not up))
        for beside, colour, style, upwards in lines:
            x = ports[upper, chain[1]] + beside
            stops = [(x, self._end(upper, 1)), (x, self.bottoms[upper.row] + STUB)]
            for place in between:
                aside = beside + (_width(place.label) / 2 if beside and place.label else 0.0)
                stops.append((place.x + aside, self.tops[place.row]))
                stops.append((place.x + aside, self.bottoms[place.row]))
            x = ports[lower, chain[-2]] + beside
            stops += [(x, self.tops[lower.row] - STUB), (x, self._end(lower, -1))]
            _draw_line(ax, stops[::-1] if upwards else stops, colour, style)
        for place in between:
            if place.label:
                y = (self.tops[place.row] + self.bottoms[place.row]) / 2
                _write(ax, place.x, y, place.label, SIZES[1], background="white")


def _row_width(row: list[tuple[str, str]]) -> float:
    return sum(_width(text) + 36 for _, text in row) - 18


def _draw_legend(ax: Any, row: list[tuple[str, str]], x: float, y: float) -> None:
    for kind, text in row:
        if kind == "write":
            ax.plot([x, x + 14], [y, y], color=WRITES, lw=1, ls=(0, (4, 2)))
        elif kind in COLOURS:
            _rectangle(ax, (x, y - 5, x + 14, y + 5), *COLOURS[kind], rounding=2)
        else:
            _write(ax, x + 9, y, kind, SIZES[0])
        _write(ax, x + 18 + _width(text) / 2, y, text, SIZES[1])
        x += _width(text) + 36


def _with_parents(frame: str) -> tuple[str, ...]:
    """A scope behind all the scopes it stands in, outermost first."""
    frames: list[str] = []
    while frame:
        frames.insert(0, frame)
        frame = parent(frame)
    return tuple(frames)


def _width(text: str, size: float = SIZES[1]) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return float(
        text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)[0]
    )


def _crop(text: str) -> str:
    text = printable(text)
    return text if len(text) <= 36 else f"{text[:17]}…{text[-18:]}"


def _box_width(box: Box) -> float:
    first, *rest = map(_crop, box.lines)
    return max([_width(first, SIZES[0]), *map(_width, rest), 16.0]) + 2 * PADDING


def _box_height(box: Box) -> float:
    return LINE * len(box.lines) + PADDING


def _shadow(box: Box) -> float:
    return SHADOW if box.kind == "scope" else 0.0


def _room_height(place: Place) -> float:
    """What a place needs of its row: a box stands in the middle, with its shadow below."""
    return _box_height(place.box) + 2 * _shadow(place.box) if place.box else SIZES[1] + 5


def _draw_box(ax: Any, box: Box, x: float, y: float, width: float) -> None:
    height = _box_height(box)
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    fill, line = COLOURS[box.kind]
    if box.kind == "scope":  # one behind the other: there is more inside
        _rectangle(ax, tuple(c + SHADOW for c in corners), fill, line)
    rounding = {"placeholder": height / 2, "variable": 5, "constant": 5}.get(box.kind, 1)
    _rectangle(ax, corners, fill, line, rounding)
    for i, text in enumerate(box.lines):
        middle = y + (i - (len(box.lines) - 1) / 2) * LINE
        _write(ax, x, middle, _crop(text), SIZES[min(i, 1)], "black" if i == 0 else "#404040")


def _draw_frame(ax: Any, corners: tuple[float, ...], frame: str, depth: int) -> None:
    fill = "#F7F7F7" if depth % 2 == 0 else "#EFEFEF"
    _rectangle(ax, corners, fill, "#B5B5B5", 4)
    text = _crop(leaf(frame))
    _write(ax, corners[0] + PADDING + _width(text) / 2, corners[1] + 8, text, SIZES[1], GREY, fill)


def _rectangle(
    ax: Any, corners: tuple[float, ...], fill: str, line: str, rounding: float = 1
) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, top, right, bottom = corners
    style = f"round,pad=0,rounding_size={rounding}"
    looks: Any = {"fc": fill, "ec": line, "lw": 1.0}
    patch = FancyBboxPatch((left, top), right - left, bottom - top, boxstyle=style, **looks)
    ax.add_patch(patch)


def _draw_line(ax: Any, stops: list[tuple[float, float]], colour: str, style: Any) -> None:
    """A smooth line with a head: it runs straight through rows and bends between them."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    points, codes = [stops[0]], [Curve.MOVETO]
    for (x, y), (to_x, to_y) in pairwise(stops):
        points += [(x, (y + to_y) / 2), (to_x, (y + to_y) / 2), (to_x, to_y)]
        codes += [Curve.CURVE4] * 3
    head = "-|>,head_length=4.5,head_width=2"
    looks = {"arrowstyle": head, "color": colour, "lw": 0.9, "ls": style, "joinstyle": "miter"}
    ax.add_patch(FancyArrowPatch(path=Curve(points, codes), mutation_scale=1, **looks))


def _write(
    ax: Any, x: float, y: float, text: str, size: float, colour: str = "black", background: str = ""
) -> None:
    """Text around its middle; a $ is a $."""
    behind = {"fc": background, "ec": "none", "boxstyle": "square,pad=0.15"} if background else None
    looks = {"ha": "center", "va": "center", "parse_math": False}
    ax.text(x, y, text, size=size, color=colour, bbox=behind, **looks)
