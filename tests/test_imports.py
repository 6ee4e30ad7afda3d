"""The arrows of the architecture, read off the source: who may import whom."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REFNET, TRITON = ROOT / "refnet", ROOT / "refnet_triton"

#: the modules of refnet, lowest first: a module imports from its own level and from those below.
#: What is not listed (layers, optimizers, losses, ...) is OTHER.
OTHER = "layers, optimizers, losses and the rest"
LEVELS = [
    {"errors", "config", "elsewhere", "entries", "scope"},
    {"bounds", "cases", "shapes", "promotion", "halves", "fitting"},
    {"op"},
    {"ops"},
    {"backend", "conversion", "operators", "numpy_functions"},
    {"agreement", "tensor", "variable", "backpropagation"},
    {"creation", "plan", "serialization", "drawing"},
    {"graph"},
    {"comparison", "session", "shadow"},
    {OTHER},
    {"models"},
    # "" is the package itself, which gathers the names a user types
    {"cli", "__main__", "check", "report", "machine", ""},
]
OUTSIDE = {  # what each package may use besides the standard library and itself
    REFNET: {"numpy", "rich", "safetensors", "matplotlib", "tensorboard"},
    TRITON: {"refnet", "numpy", "torch", "triton", "pytest"},
}
HEAVY = {"rich", "safetensors", "matplotlib", "tensorboard"}
MAY_BE_HEAVY = {"cli", "plot", "summary"}


def imports(path: Path, root: Path) -> list[tuple[str, bool, int]]:
    """(module, whether it is imported together with this file, line) for every import of a file.

    ``from refnet import op`` counts as `refnet.op`, as the name of a module or of something in it.
    Imports for the type checker alone (``if TYPE_CHECKING:``) do not count.
    """
    found: list[tuple[str, bool, int]] = []
    package = path.relative_to(root.parent).with_suffix("").parts[:-1]

    def visit(node: ast.AST, at_once: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child, at_once)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, at_once, node.lineno) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            found.extend((f"{module}.{alias.name}", at_once, node.lineno) for alias in node.names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, at_once and not inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


def module_in(root: Path, dotted: str) -> str:
    """The module or subpackage of `root` that a dotted name lies in; "" for the root itself."""
    name = [*dotted.split("."), ""][1]
    return name if (root / name).is_dir() or (root / f"{name}.py").is_file() else ""


def level_of(name: str) -> int:
    return next((i for i, level in enumerate(LEVELS) if name in level), LEVELS.index({OTHER}))


def import_complaints(path: Path, root: Path) -> list[str]:
    """What a file of a package imports and should not."""
    complaints = []
    name = path.relative_to(root).with_suffix("").parts[0]
    name = "" if name == "__init__" else name
    allowed = {*sys.stdlib_module_names, root.name, *OUTSIDE.get(root, OUTSIDE[REFNET])}
    for dotted, at_once, line in imports(path, root):
        where, top = f"{path.relative_to(root.parent)}:{line}", dotted.partition(".")[0]
        if top not in allowed:
            complaints.append(f"{where}: {root.name} does not import {top}")
        elif top in HEAVY and at_once and name not in MAY_BE_HEAVY:
            complaints.append(f"{where}: import {top} inside the function that needs it")
        elif top == root.name == "refnet":
            target = module_in(root, dotted)
            if level_of(target) > level_of(name):
                complaints.append(f"{where}: {name} stands below {target or 'refnet itself'}")
    return complaints


@pytest.mark.parametrize("root", OUTSIDE, ids=lambda root: root.name)
def test_no_import_goes_back(root):
    paths = sorted(root.rglob("*.py"))
    assert paths
    complaints = [wrong for path in paths for wrong in import_complaints(path, root)]
    assert not complaints, "\n".join(complaints)


def test_every_listed_module_exists():
    listed = set().union(*LEVELS) - {OTHER, "", "__main__"}
    assert {name for name in listed if not module_in(REFNET, f"refnet.{name}")} == set()


def test_importing_refnet_loads_nothing_heavy():
    heavy = sorted({"torch", "triton", "refnet_triton"} | HEAVY)
    program = f"import sys, refnet, refnet.op; print([m for m in {heavy} if m in sys.modules])"
    environment = {k: v for k, v in os.environ.items() if k != "REFNET_BACKEND"}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (loaded.stdout, loaded.returncode) == ("[]\n", 0), loaded.stderr


# -- that the check can fail ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("ops/x.py", "import torch", "refnet does not import torch"),
        ("ops/x.py", "from refnet_triton.ops import relu", "refnet does not import refnet_triton"),
        ("backend.py", "def f():\n    import triton", "refnet does not import triton"),
        ("op.py", "from refnet.ops import relu", "op stands below ops"),
        ("ops/x.py", "from refnet import tensor", "ops stands below tensor"),
        ("ops/x.py", "from ..tensor import Tensor", "ops stands below tensor"),
        ("bounds.py", "def f():\n    from refnet.op import op", "bounds stands below op"),
        ("graph.py", "from refnet.layers import Dense", "graph stands below layers"),
        ("layers/dense.py", "from refnet.models import Model", "layers stands below models"),
        ("tensor.py", "import refnet", "tensor stands below refnet itself"),
        ("models.py", "import rich.progress", "import rich inside the function that needs it"),
        ("models.py", "class A:\n    import matplotlib", "import matplotlib inside"),
        ("layers/dense.py", "from refnet.tensor import Tensor", None),
        ("losses.py", "from refnet.layers import Dense", None),
        ("cli/main.py", "import rich", None),
        ("models.py", "def f():\n    import rich", None),
        ("op.py", "if TYPE_CHECKING:\n    from refnet.tensor import Tensor", None),
    ],
)
def test_a_wrong_import_is_named(tmp_path, file, line, complaint):
    root = tmp_path / "refnet"
    for name in ("ops", "layers", "cli"):
        (root / name).mkdir(parents=True)
    for name in ("op", "bounds", "tensor", "graph", "models", "losses", "backend"):
        (root / f"{name}.py").touch()
    (root / file).write_text(line)
    found = import_complaints(root / file, root)
    assert len(found) == bool(complaint)
    assert not complaint or complaint in found[0]
