"""Every file of `refnet/ops` is a page: formulas first, each gradient below its op, then the proof."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(p for p in (ROOT / "refnet/ops").glob("*.py") if p.stem != "__init__")
LINE = "# == Proof: what it is tried on, and how wrong it may be "
MOST, FIRST = 200, 30  # lines of a page, without empty ones; the first op stands within so many
PROOFS = {"Bound", "Case", "Cases", "Kink"}  # of refnet.op


def decorator(node):
    """ "op", "relu.vjp" or ""."""
    names = [ast.unparse(getattr(d, "func", d)) for d in getattr(node, "decorator_list", [])]
    return next((name for name in names if name == "op" or name.endswith(".vjp")), "")


def proofs(nodes):
    """The ops whose `proof` is called."""
    calls = [n.value for n in nodes if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    names = [ast.unparse(call.func) for call in calls]
    return [name.removesuffix(".proof") for name in names if name.endswith(".proof")]


def complaints(text):
    """What is not in its place on a page."""
    page, line, proof = text.partition(LINE)
    if not line:
        return ["there is no line between formulas and proof"]
    above, below = ast.parse(page).body, ast.parse(line + proof).body
    ops = [node.name for node in above if decorator(node) == "op"]
    found = []
    for before, node in zip([None, *above], above, strict=False):
        owner = decorator(node).removesuffix(".vjp")
        if owner not in ("", "op") and getattr(before, "name", "") != owner:
            found.append(f"{node.name} does not stand directly below {owner}")
    for node in above:
        names = {n.name for n in node.names} if isinstance(node, ast.ImportFrom) else set()
        if names & PROOFS or getattr(node, "module", "").startswith("refnet.proof"):
            found.append(f"what proves is imported above the line: {ast.unparse(node)}")
    found += [f"{name} is proven above the line" for name in proofs(above)]
    found += [f"{n.name} stands below the line" for n in below if decorator(n)]
    found += [f"{name} is not proven" for name in ops if name not in proofs(below)]
    used = {n.id for part in above for n in ast.walk(part) if isinstance(n, ast.Name)}
    helpers = [n.name for n in below if isinstance(n, ast.FunctionDef)]
    found += [
        f"{name} is used above the line, and stands below it" for name in helpers if name in used
    ]
    lines = [n for n, text in enumerate(page.splitlines(), 1) if text.strip()]
    if len(lines) > MOST:
        found.append(f"{len(lines)} lines stand above the proof")
    first = next(node for node in above if decorator(node) == "op")
    if first.lineno > FIRST:
        found.append(f"the first op stands in line {first.lineno}")
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_is_in_order(path):
    assert complaints(path.read_text(encoding="utf-8")) == []


RIGHT = f'''"""Page."""
from refnet.op import op


@op(saves="x")
def double(x):
    return 2 * x


@double.vjp
def double_vjp(g, x):
    return 2 * g


{LINE}===
from refnet.proof.cases import unary


def terms(x):
    return x


double.proof(unary, ulp(1, of=terms))
'''


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", []),
        (LINE, "# ==", ["there is no line between formulas and proof"]),
        (
            "@double.vjp",
            "def helper():\n    pass\n\n\n@double.vjp",
            ["double_vjp does not stand directly below double"],
        ),
        (
            "import op\n",
            "import Kink, op\n",
            ["what proves is imported above the line: from refnet.op import Kink, op"],
        ),
        (
            "import op\n",
            "import op\nfrom refnet.proof.bounds import ulp\n",
            ["what proves is imported above the line: from refnet.proof.bounds import ulp"],
        ),
        ("double.proof(unary", "other.proof(unary", ["double is not proven"]),
        ("2 * x", "terms(x)", ["terms is used above the line, and stands below it"]),
        ('"""Page."""', '"""Page.' + "\n" * 30 + '"""', ["the first op stands in line 36"]),
        (
            '"""Page."""',
            '"""Page."""' + "\nx = 1" * 199,
            ["207 lines stand above the proof", "the first op stands in line 205"],
        ),
    ],
)
def test_what_is_out_of_order_is_named(old, new, said):
    assert complaints(RIGHT.replace(old, new) if old else RIGHT) == said
