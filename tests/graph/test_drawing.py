"""Graphs as Mermaid, as DOT and as pictures: all that is in the graph is drawn, once, and can be read."""

import re
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from refnet.errors import ArgumentError, UnknownNameError
from refnet.graph.drawing import (
    COLOURS,
    WRITES,
    legend,
    outline,
    printable,
    shape_text,
    to_dot,
    to_mermaid,
)
from refnet.graph.entry import Entry
from tests.conftest import need

F32 = "float32"


def placeholder(name, *shape):
    return Entry(name, "placeholder", [(shape, F32)])


def variable(name, *shape):
    return Entry(name, "variable", [(shape, F32)], value=np.zeros(shape, F32), trainable=True)


def constant(name, value):
    value = np.asarray(value, F32)
    return Entry(name, "constant", [(value.shape, F32)], value=value)


def op(name, row, inputs, *shapes):
    return Entry(name, "op", [(shape, F32) for shape in shapes], row, inputs)


def addition():
    return [placeholder("x", None, 64), variable("b", 64), op("add", "add", ["x", "b"], (None, 64))]


def two_layers():
    """A network of two layers with its loss, the gradients of that and a step of SGD."""
    batch, pixels, hidden, classes = None, 64, 128, 10
    weights = {
        "hidden/kernel": (pixels, hidden),
        "hidden/bias": (hidden,),
        "output/kernel": (hidden, classes),
        "output/bias": (classes,),
    }
    gradients = {
        "hidden/kernel": "gradients/hidden/linear_vjp:0",
        "hidden/bias": "gradients/hidden/linear_vjp:1",
        "output/kernel": "gradients/output/linear_vjp:1",
        "output/bias": "gradients/output/linear_vjp:2",
    }
    z1, z2 = (batch, hidden), (batch, classes)
    entropy = "sparse_softmax_cross_entropy"
    return [
        placeholder("x", batch, pixels),
        Entry("labels", "placeholder", [((batch,), "int64")]),
        *(variable(name, *shape) for name, shape in weights.items()),
        op("hidden/linear", "linear", ["x", "hidden/kernel", "hidden/bias"], z1, z1),
        op("output/linear", "linear", ["hidden/linear", "output/kernel", "output/bias"], z2, z2),
        op("loss/entropy", entropy, ["output/linear", "labels"], (batch,), (batch, 1), (batch, 1)),
        op("loss/mean", "mean", ["loss/entropy"], ()),
        constant("gradients/one", 1.0),
        op("gradients/loss/mean_vjp", "mean_vjp", ["gradients/one", "loss/entropy"], (batch,)),
        op(
            "gradients/loss/entropy_vjp",
            f"{entropy}_vjp",
            [
                "gradients/loss/mean_vjp",
                "output/linear",
                "labels",
                "loss/entropy:1",
                "loss/entropy:2",
            ],
            z2,
        ),
        op(
            "gradients/output/linear_vjp",
            "linear_vjp",
            ["gradients/loss/entropy_vjp", "hidden/linear", "output/kernel", "output/linear:1"],
            z1,
            weights["output/kernel"],
            weights["output/bias"],
        ),
        op(
            "gradients/hidden/linear_vjp",
            "linear_vjp",
            ["gradients/output/linear_vjp", "x", "hidden/kernel", "hidden/linear:1"],
            weights["hidden/kernel"],
            weights["hidden/bias"],
        ),
        constant("sgd/learning_rate", 0.1),
        *(
            op(f"sgd/{name}", "sgd", [name, gradients[name], "sgd/learning_rate"], shape)
            for name, shape in weights.items()
        ),
    ]


#: names that mean something in Mermaid, DOT, HTML, Markdown or mathtext, or have no shape of their own
ODD = [
    "end", "graph", "subgraph", "class", "default", "style", "strict", "node", 'a"b', '"]', "[x]",
    "{y}", "(z)", "<b>bold</b>", "&amp;", "back\\slash", "a\\new", "\\", "\\N", "new\nline", "`code`",
    "*star*", "_u_", "1. first", "- dash", "# head", "#35;", "%%{init: 1}%%", "%% c", "|pipe|",
    "a;b", "o--o", "-->", "$x$", "漢字", "é", "😀", "\u202eabc", "tab\t", "@{ shape: x }", "'q'", "a:b",
]  # fmt: skip


def odd_chain():
    """A chain of ops with odd names, each in a scope of that name too."""
    names = [name for odd in ODD for name in (odd, f"in {odd}/{odd}")]
    reads = zip(names[1:], names, strict=False)
    return [placeholder(names[0], 3), *(op(name, "exp", [read], (3,)) for name, read in reads)]


# -- strict readers of what is written ---------------------------------------------------------------


def read_mermaid(text):
    """({id: (label lines, kind, frames)}, [(source, target, label, arrow)]) or a failed assert."""
    lines = text.split("\n")
    assert lines[0] == "flowchart TB"
    shapes = {"([": "placeholder", "[(": "variable", "(": "constant", "[": "op", "[[": "scope"}
    closing = {"([": "])", "[(": ")]", "(": ")", "[": "]", "[[": "]]"}
    label = r'"([^"]*)"'
    boxes, edges, frames, classes = {}, [], [], set()

    def plain(escaped):
        codes = re.sub(r"#\d+;", "", escaped)
        assert not re.search(r"[\"#;<>&`{}\[\]|%*\\]", codes), escaped
        return re.sub(r"#(\d+);", lambda m: chr(int(m[1])), escaped).replace("\u200b", "")

    for line in lines[1:]:
        assert line.startswith("  " * (len(frames) + 1)) or line.strip() == "end"
        line = line.strip()
        if box := re.fullmatch(rf"(n\d+)(\W+?){label}(\W+?):::(\w+)", line):
            name, before, written, after, kind = box.groups()
            assert (shapes[before], closing[before]) == (kind, after)
            assert name not in boxes
            boxes[name] = ([plain(part) for part in written.split("<br/>")], kind, tuple(frames))
        elif frame := re.fullmatch(rf"subgraph s\d+\[{label}\]", line):
            frames.append(plain(frame[1]))
        elif line == "end":
            frames.pop()
        elif edge := re.fullmatch(rf"(n\d+) (-->|<-\.->)\|{label}\| (n\d+)", line):
            edges.append((edge[1], edge[4], edge[3], edge[2]))
        else:
            style = re.fullmatch(r"classDef (\w+) fill:#\w{6},stroke:#\w{6},color:#000000", line)
            assert style or re.fullmatch(r"class (s\d+,?)+ frame", line), line
            classes.add(style and style[1])
    assert not frames
    assert {kind for _, kind, _ in boxes.values()} <= classes
    return boxes, edges


def read_dot(text):
    """The same for DOT; the fourth of an edge is whether it is dashed. Strings are read to their end."""
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[\w.#]+|->|[{}\[\]=]|\S', text)
    rest = re.sub(r'"(?:[^"\\]|\\.)*"|[\w.#]+|->|[{}\[\]=]|\s', "", text)
    assert not rest, f"not DOT: {rest!r}"
    assert tokens[:3] == ["digraph", "refnet", "{"]
    boxes, edges, frames = {}, [], []

    def plain(quoted):
        lines = quoted[1:-1].replace("\\\\", "\0").split("\\n")
        return [x.replace('\\"', '"').replace("&amp;", "&").replace("\0", "\\") for x in lines]

    def looks(i):
        given = {}
        while i + 2 < len(tokens) and tokens[i + 1] == "=":
            given[tokens[i]] = tokens[i + 2]
            i += 3
        return given, i

    i = 3
    while i < len(tokens):
        if tokens[i] == "}":
            if frames:
                frames.pop()
            else:
                assert i == len(tokens) - 1, "text behind the last brace"
                return boxes, edges
            i += 1
        elif tokens[i] == "subgraph":
            assert tokens[i + 2] == "{"
            given, i = looks(i + 3)
            frames.append(plain(given["label"])[0])
        elif tokens[i + 1] == "=":
            i += 3
        else:
            ends = [tokens[i], tokens[i + 2]] if tokens[i + 1] == "->" else [tokens[i]]
            i += 2 * len(ends) - 1
            assert tokens[i] == "["
            given, i = looks(i + 1)
            assert tokens[i] == "]"
            i += 1
            if len(ends) == 2:
                edges.append((*ends, plain(given["label"])[0], given.get("style") == "dashed"))
            elif ends[0] not in ("node", "edge"):
                assert ends[0] not in boxes
                boxes[ends[0]] = (plain(given["label"]), given["fillcolor"], tuple(frames))
    raise AssertionError("a brace is open")


# -- what is drawn -----------------------------------------------------------------------------------

GRAPHS = {
    "nothing": [],
    "one": [placeholder("x", 3)],
    "addition": addition(),
    "two layers": two_layers(),
    "odd names": odd_chain(),
    "a name that is a scope too": [placeholder("a", 3), op("a/a", "exp", ["a"], (3,))],
}


def expected(entries, depth):
    """(source, target) of reads and of writes, between the keys of boxes, straight from the entries."""

    def key(name):
        parts = name.split("/")
        return name if depth is None or len(parts) <= depth else "/".join(parts[:depth]) + "/"

    names = {entry.name for entry in entries}
    reads, writes = set(), set()
    for entry in entries:
        for i, reference in enumerate(entry.inputs):
            source = reference if reference in names else reference.rpartition(":")[0]
            ends = key(source), key(entry.name)
            if ends[0] != ends[1]:
                reads.add(ends)
                if (entry.op, i) == ("sgd", 0):
                    writes.add(ends)
    return [*dict.fromkeys(key(entry.name) for entry in entries)], reads, writes


@pytest.mark.parametrize("depth", [None, 1, 2])
@pytest.mark.parametrize("graph", GRAPHS)
def test_all_of_a_graph_is_drawn_once(graph, depth):
    entries = GRAPHS[graph]
    keys, reads, writes = expected(entries, depth)
    numbers = {key: f"n{i}" for i, key in enumerate(keys)}
    for read, text in ((read_mermaid, to_mermaid), (read_dot, to_dot)):
        boxes, edges = read(text(entries, depth))
        assert sorted(boxes) == sorted(numbers.values())
        for key, number in numbers.items():
            lines, _, frames = boxes[number]
            *scopes, name = key.removesuffix("/").split("/")
            assert printable(name) in lines
            assert frames == tuple(map(printable, scopes))
        solid = {(a, b) for a, b, _, look in edges if look in ("-->", "<-.->", False)}
        dashed = {(b, a) for a, b, _, look in edges if look is True}
        dashed |= {(a, b) for a, b, _, look in edges if look == "<-.->"}
        assert solid == {(numbers[a], numbers[b]) for a, b in reads}
        assert dashed == {(numbers[a], numbers[b]) for a, b in writes}
        assert len(edges) == len(reads) + (len(writes) if text is to_dot else 0)


def test_the_kinds_look_different():
    boxes, _ = read_mermaid(to_mermaid(two_layers()))
    kinds = Counter(kind for _, kind, _ in boxes.values())
    assert kinds == {"placeholder": 2, "variable": 4, "constant": 2, "op": 12}
    fills, _ = read_dot(to_dot(two_layers()))
    assert Counter(fill.strip('"') for _, fill, _ in fills.values()) == {
        COLOURS[kind][0]: count for kind, count in kinds.items()
    }


def test_what_stands_in_the_boxes():
    boxes = {box.key: box.lines for box in outline(two_layers()).boxes}
    assert boxes["x"] == ("x",)
    assert boxes["hidden/linear"] == ("linear",)
    assert boxes["loss/mean"] == (
        "mean",
        "→ scalar",
    )  # nothing reads it: its shape stands in the box
    assert boxes["sgd/learning_rate"] == ("learning_rate", "= 0.1")
    assert boxes["sgd/hidden/kernel"] == ("sgd", "kernel", "→ 64×128")
    closed = {box.key: box.lines for box in outline(two_layers(), 1).boxes}
    assert closed["hidden/"] == ("hidden", "1 op, 2 variables")
    assert closed["sgd/"] == ("sgd", "4 ops, 1 constant")


def test_what_flows():
    edges = {(e.source, e.target, e.writes): e.label for e in outline(two_layers()).edges}
    assert edges["x", "hidden/linear", False] == "?×64"
    assert edges["gradients/one", "gradients/loss/mean_vjp", False] == "scalar"
    assert edges["loss/entropy", "gradients/loss/entropy_vjp", False] == "?×1, ?×1"
    assert edges["sgd/hidden/bias", "hidden/bias", True] == "writes"
    closed = {(e.source, e.target, e.writes): e.label for e in outline(two_layers(), 1).edges}
    assert closed["hidden/", "gradients/", False] == "3 tensors"
    assert closed["sgd/", "hidden/", True] == "writes"
    assert ("sgd/", "sgd/", False) not in closed


def test_an_input_read_more_than_once():
    entries = [
        placeholder("x", 3),
        op("y", "multiply", ["x", "x"], (3,)),
        op("z", "concatenate", ["x", "y", "x", "x:0"], (12,)),
    ]
    labels = {(e.source, e.target): e.label for e in outline(entries).edges}
    assert labels == {("x", "y"): "3 (twice)", ("x", "z"): "3 (3 times)", ("y", "z"): "3"}


def test_adam_writes_three_of_its_inputs():
    theta, m, v = (variable(name, 5) for name in ("theta", "m", "v"))
    inputs = ["theta", "g", "m", "v", "rate", "t"]
    given = [placeholder("g", 5), constant("rate", 0.1), placeholder("t")]
    adam = op("adam", "adam", inputs, (5,), (5,), (5,))
    edges = outline([theta, m, v, *given, adam]).edges
    assert [e.target for e in edges if e.writes] == ["theta", "m", "v"]
    assert {e.source for e in edges if e.writes} == {"adam"}
    assert [e.source for e in edges if not e.writes] == inputs


def test_shapes():
    shapes = [(), (7,), (None,), (None, 28, 28, 1), (0, 3)]
    assert [shape_text(s) for s in shapes] == ["scalar", "7", "?", "?×28×28×1", "0×3"]


def test_ten_thousand_ops_are_written():
    entries = [placeholder("x", 3)]
    for i in range(10_000):
        name = f"block_{i // 100}/layer_{i // 10}/exp_{i}"
        entries.append(op(name, "exp", [entries[-1].name], (3,)))
    for read, text in ((read_mermaid, to_mermaid), (read_dot, to_dot)):
        boxes, edges = read(text(entries))
        assert (len(boxes), len(edges)) == (10_001, 10_000)
    deep = "/".join(["a"] * 2_000)  # deeper than Python's stack
    assert to_dot([placeholder(deep, 3)]).count("subgraph") == 1_999


def test_the_same_text_every_time():
    for text in (to_mermaid, to_dot):
        assert text(two_layers()) == text(two_layers())
        assert text(two_layers(), 1) != text(two_layers())


def test_what_cannot_be_drawn():
    x = placeholder("x", 3)
    for depth in (0, -1, 1.0, True, "1"):
        with pytest.raises(ArgumentError, match="depth is a whole number from 1 on, or None"):
            to_mermaid([x], depth)
    for reference in ("y", "x:1", "x:", ":0", ""):
        with pytest.raises(ArgumentError, match=f"'b' reads '{reference}', which nothing"):
            to_dot([x, op("b", "exp", [reference], (3,))])
    with pytest.raises(ArgumentError, match="two entries are named 'x'"):
        to_dot([x, placeholder("y", 3), x])
    with pytest.raises(UnknownNameError, match="did you mean 'exp'"):
        to_mermaid([x, op("b", "expp", ["x"], (3,))])


# -- that the readers can fail -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        'flowchart TB\n  n0["a"b"]:::op',
        'flowchart TB\n  n0["a&b"]:::op',
        'flowchart TB\n  subgraph s0["a"]',
        'flowchart TB\n  n0(["x"]):::op',
    ],
)
def test_the_reader_of_mermaid_is_strict(broken):
    with pytest.raises(AssertionError):
        read_mermaid(broken)


@pytest.mark.parametrize(
    "broken",
    [
        'digraph refnet { n0 [label="a"b" fillcolor="#"] }',
        'digraph refnet { n0 [label="a\\" fillcolor="#"] }',
        "digraph refnet { } }",
        'digraph refnet { subgraph cluster_0 { label="a" }',
    ],
)
def test_the_reader_of_dot_is_strict(broken):
    with pytest.raises((AssertionError, IndexError, KeyError)):
        read_dot(broken)


# -- the picture -------------------------------------------------------------------------------------


glyphs_may_be_missing = pytest.mark.filterwarnings("ignore:Glyph")


@pytest.fixture
def picture_of():
    """Where everything stands in the picture of some entries."""
    need("matplotlib")
    from refnet.plot.graphs import Picture

    return lambda entries, depth: Picture(outline(entries, depth))


def circle():
    """Two scopes that read each other: closed, each is above and below the other."""
    return [
        placeholder("x", 3),
        op("a/first", "exp", ["x"], (3,)),
        op("b/second", "exp", ["a/first"], (3,)),
        op("a/third", "exp", ["b/second"], (3,)),
    ]


def overlaps(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def encloses(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and a[2] >= b[2] and a[3] >= b[3]


PICTURES = [(two_layers(), None), (two_layers(), 2), (two_layers(), 1), (odd_chain(), None)]
PICTURES += [(addition(), None), (circle(), None), (circle(), 1)]


@pytest.mark.parametrize(("entries", "depth"), PICTURES)
@glyphs_may_be_missing
def test_nothing_in_a_picture_overlaps(picture_of, entries, depth):
    picture = picture_of(entries, depth)
    places = [place for row in picture.rows for place in row]

    def rectangle(place):
        x, half = place.x, place.width / 2
        return x - half, picture.tops[place.row], x + half, picture.bottoms[place.row]

    for a, b in combinations(places, 2):  # boxes, labels, and edges where they pass a row
        assert not overlaps(rectangle(a), rectangle(b))
    for frame, area in picture.frames.items():
        for place in places:
            check = encloses if frame in place.frames else overlaps
            assert check(area, rectangle(place)) is (frame in place.frames)
    for (f, a), (g, b) in combinations(picture.frames.items(), 2):
        within = g.startswith(f + "/") or f.startswith(g + "/")
        assert (encloses(a, b) or encloses(b, a)) if within else not overlaps(a, b)


@pytest.mark.parametrize(("entries", "depth"), PICTURES)
@glyphs_may_be_missing
def test_edges_lead_down_from_row_to_row(picture_of, entries, depth):
    picture = picture_of(entries, depth)
    drawn = outline(entries, depth)
    reads = {(e.source, e.target): e.label for e in drawn.edges if not e.writes}
    assert picture.chains.keys() == reads.keys()
    for ends, chain in picture.chains.items():
        rows = [place.row for place in chain]
        assert rows == list(range(rows[0], rows[-1] + 1))
        assert len(rows) >= 3
        assert {chain[0].box.key, chain[-1].box.key} == {*ends}
        assert [place.label for place in chain if place.label] == [reads[ends]]
    upwards = [ends for ends, chain in picture.chains.items() if chain[0].box.key == ends[1]]
    assert len(upwards) == ((entries, depth) == (circle(), 1))


def test_edges_end_below_the_shadow_of_a_scope(picture_of):
    from refnet.plot.graphs import SHADOW, STUB

    picture = picture_of(two_layers(), 1)
    scope, leaf = picture.boxes["hidden/"], picture.boxes["x"]
    for place, shadow in ((scope, SHADOW), (leaf, 0.0)):
        middle = (picture.tops[place.row] + picture.bottoms[place.row]) / 2
        height = 2 * (middle - picture._end(place, -1))
        assert picture._end(place, 1) == pytest.approx(middle + height / 2 + shadow)
        assert picture._end(place, 1) <= picture.bottoms[place.row] + 1e-9  # a head needs the stub
    assert STUB > 4.5


def test_the_legend_explains_what_is_in_use():
    def shown(entries, depth=None):
        return [[sign for sign, _ in row] for row in legend(outline(entries, depth))]

    kinds = ["placeholder", "variable", "constant", "op"]
    assert shown(two_layers()) == [kinds, ["write", "?", "→"]]
    assert shown(two_layers(), 1) == [["placeholder", "scope"], ["write", "?"]]
    assert shown(circle()) == [["placeholder", "op"], ["→"]]
    assert shown(circle()[:1]) == [["placeholder"], ["→"]]


def test_what_reads_nothing_stands_right_above_its_reader(picture_of):
    rows = {key: place.row // 2 for key, place in picture_of(two_layers(), None).boxes.items()}
    assert rows["x"] == rows["hidden/kernel"] == 0
    assert rows["output/kernel"] == rows["output/linear"] - 1 == 1
    assert rows["labels"] == rows["loss/entropy"] - 1


@glyphs_may_be_missing
def test_few_edges_cross(picture_of):
    from refnet.plot.graphs import crossings

    assert crossings(picture_of(addition(), None).rows) == 0
    assert crossings(picture_of(odd_chain(), None).rows) == 0
    ladder = [placeholder(f"x{i}", 3) for i in range(6)]
    ladder += [op(f"y{i}", "add", [f"x{5 - i}", f"x{5 - i}"], (3,)) for i in range(6)]
    assert crossings(picture_of(ladder, None).rows) == 0  # in the order of the names: 15


@pytest.mark.needs("matplotlib")
def test_pictures(tmp_path):
    from matplotlib.image import imread

    from refnet import plot
    from tests.pictures import contains, pixels

    full = plot.graph(two_layers(), tmp_path / "new" / "full.png", depth=None, title="Two layers")
    assert full == tmp_path / "new" / "full.png"
    full = imread(full)
    assert min(full.shape[:2]) > 1000
    for kind in ("placeholder", "variable", "constant", "op"):
        assert contains(full, COLOURS[kind][0])
    assert contains(full, WRITES)
    assert not contains(full, COLOURS["scope"][0])
    closed = pixels(plot.graph(two_layers(), tmp_path / "closed.png"))
    assert closed.shape[0] < full.shape[0]
    assert contains(closed, COLOURS["scope"][0])
    assert not contains(closed, COLOURS["op"][0])
    small = pixels(plot.graph(addition(), tmp_path / "add.png"), (200, 200))
    assert small.shape[0] < closed.shape[0]
    assert not contains(small, WRITES)
    odd = imread(plot.graph(odd_chain()[:30], tmp_path / "odd.png", None, "$x_1$ \n漢"))
    assert odd.shape[0] > 3000


@pytest.mark.needs("matplotlib")
def test_pictures_that_are_refused(tmp_path):
    from refnet import plot

    path = tmp_path / "a.png"
    many = [placeholder(f"scope/x{i}", 3) for i in range(201)]
    with pytest.raises(ArgumentError, match=r"201 boxes \(200 at most\): use depth=1"):
        plot.graph(many, path, depth=None)
    with pytest.raises(ArgumentError, match="at least one entry, got none"):
        plot.graph([], path)
    with pytest.raises(ArgumentError, match="depth is a whole number"):
        plot.graph(many, path, depth=0)
    assert not path.exists()
    assert plot.graph(many, path).exists()


@pytest.mark.needs("matplotlib")
def test_a_graph_is_drawn_as_its_entries_are(tmp_path):
    import refnet

    with refnet.Graph() as graph:
        x = refnet.placeholder((None, 3), name="x")
        with refnet.name_scope("inner"):
            _ = (x * 2.0).sum()
    drawn = refnet.plot.graph(graph, tmp_path / "a.png").read_bytes()
    assert drawn == refnet.plot.graph(graph.entries(), tmp_path / "b.png").read_bytes()
    assert graph.to_dot(depth=1) == to_dot(graph.entries(), depth=1)
    assert graph.to_mermaid() == to_mermaid(graph.entries())
    with pytest.raises(ArgumentError, match="a Graph or a list of entries"):
        refnet.plot.graph(None, tmp_path / "c.png")
