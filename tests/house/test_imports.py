"""The arrows of the architecture, read off the source: who may import whom.

`python -m tests.house.test_imports` prints the rooms in their order, and how many imports lead where.
"""

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFNET, TRITON = ROOT / "refnet", ROOT / "refnet_triton"

#: the rooms of each package, lowest first: a folder, or a file that is alone. A room imports from itself
#: and from those before it, imports for the type checker included. "refnet" gathers what a user types.
ROOMS = {
    REFNET: (
        *("errors", "config", "base", "op", "backend", "proof", "ops"),
        *("autograd", "plan", "graph"),
        *("activations", "random", "initializers", "regularizers", "datasets", "utils", "summary"),
        *("losses", "metrics", "optimizers", "layers", "training"),
        *("perceptron", "descent", "check", "plot", "callbacks", "models", "diagnostics"),
        *("report", "refnet", "cli", "__main__"),
    ),
    TRITON: (
        *("refnet_triton", "runtime", "language", "ops", "capture", "bench", "inspect"),
        *("backend", "gpu"),
    ),
}
OUTSIDE = {  # what each package may use besides the standard library and itself
    REFNET: {"numpy", "rich", "safetensors", "matplotlib", "tensorboard"},
    TRITON: {"refnet", "numpy", "torch", "triton", "pytest"},
}
HEAVY = {"rich", "safetensors", "matplotlib", "tensorboard"}
MAY_BE_HEAVY = {"cli", "plot", "summary"}


def imports(path: Path, root: Path) -> list[tuple[str, bool, int]]:
    """(module, whether it is imported together with this file, line) for every import of a file.

    ``from refnet import op`` counts as `refnet.op`, as the name of a module or of something in it.
    What only the type checker imports is not imported together with the file.
    """
    found: list[tuple[str, bool, int]] = []
    package = path.relative_to(root.parent).with_suffix("").parts[:-1]

    def visit(node: ast.AST, at_once: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, at_once, node.lineno) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            found.extend((f"{module}.{alias.name}", at_once, node.lineno) for alias in node.names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        inside |= isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.iter_child_nodes(node):
            visit(child, at_once and not inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


def room_of(root: Path, dotted: str) -> str:
    """The room of `root` that a dotted name lies in; the name of the root for the root itself."""
    name = [*dotted.split("."), ""][1]
    there = name and ((root / name).is_dir() or (root / f"{name}.py").is_file())
    return name if there else root.name


def room_of_file(path: Path, root: Path) -> str:
    name = path.relative_to(root).with_suffix("").parts[0]
    return root.name if name == "__init__" else name


def rooms_of(root: Path) -> tuple[str, ...]:
    """The rooms of a package, or of a copy of it that has its name."""
    return next(rooms for package, rooms in ROOMS.items() if package.name == root.name)


def import_complaints(path: Path, root: Path) -> list[str]:
    """What a file of a package imports and should not."""
    complaints = []
    room = room_of_file(path, root)
    allowed = {*sys.stdlib_module_names, root.name, *OUTSIDE.get(root, OUTSIDE[REFNET])}
    for dotted, at_once, line in imports(path, root):
        where, top = f"{path.relative_to(root.parent)}:{line}", dotted.partition(".")[0]
        if top not in allowed:
            complaints.append(f"{where}: {root.name} does not import {top}")
        elif top in HEAVY and at_once and room not in MAY_BE_HEAVY:
            complaints.append(f"{where}: import {top} inside the function that needs it")
        elif top == root.name:
            target, rooms = room_of(root, dotted), rooms_of(root)
            if rooms.index(target) > rooms.index(room):
                complaints.append(f"{where}: {room} stands below {target}")
    return complaints


def arrows(root: Path) -> Counter[tuple[str, str]]:
    """How many imports lead from one room to another."""
    found: Counter[tuple[str, str]] = Counter()
    for path in sorted(root.rglob("*.py")):
        here = room_of_file(path, root)
        for dotted, _, _ in imports(path, root):
            there = room_of(root, dotted) if dotted.partition(".")[0] == root.name else here
            found[here, there] += here != there
    return +found


@pytest.mark.parametrize("root", OUTSIDE, ids=lambda root: root.name)
def test_no_import_goes_back(root):
    paths = sorted(root.rglob("*.py"))
    assert paths
    complaints = [wrong for path in paths for wrong in import_complaints(path, root)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("root", ROOMS, ids=lambda root: root.name)
def test_the_rooms_are_those_that_are_there(root):
    there = {room_of_file(path, root) for path in root.rglob("*.py")}
    assert there == set(ROOMS[root])
    assert len(ROOMS[root]) == len(there)


#: what most programs need none of, or not at once: loaded when it is first asked for
LATER = ("graph", "models", "check", "plot", "callbacks", "summary", "report", "cli", "training")


def test_importing_refnet_loads_what_tensors_need():
    """No framework, and no room above the tensors: `import refnet` takes no longer than NumPy."""
    heavy = {"torch", "triton", "refnet_triton", *HEAVY, *(f"refnet.{room}" for room in LATER)}
    program = (
        f"import sys, refnet, refnet.op; print([m for m in {sorted(heavy)} if m in sys.modules])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "REFNET_BACKEND"}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (loaded.stdout, loaded.returncode) == ("[]\n", 0), loaded.stderr


def test_every_public_name_is_there():
    """In a process of its own, where none of them was loaded before."""
    program = (
        "import refnet; print([n for n in refnet.__all__ if n not in dir(refnet)]);"
        "print([n for n in refnet.__all__ if getattr(refnet, n, None) is None])"
    )
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (loaded.stdout, loaded.returncode) == ("[]\n[]\n", 0), loaded.stderr


# -- that the check can fail ---------------------------------------------------------------------

TYPES = "if TYPE_CHECKING:\n    from refnet.autograd.tensor import Tensor"


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("ops/x.py", "import torch", "refnet does not import torch"),
        ("ops/x.py", "from refnet_triton.ops import relu", "refnet does not import refnet_triton"),
        ("backend/base.py", "def f():\n    import triton", "refnet does not import triton"),
        ("op/row.py", "from refnet.ops import relu", "op stands below ops"),
        ("ops/x.py", "from refnet import autograd", "ops stands below autograd"),
        ("ops/x.py", "from ..autograd.tensor import Tensor", "ops stands below autograd"),
        ("base/files.py", "def f():\n    from refnet.op import op", "base stands below op"),
        ("graph/graph.py", "from refnet.layers import Dense", "graph stands below layers"),
        ("layers/dense.py", "from refnet.models import Model", "layers stands below models"),
        ("autograd/tensor.py", "import refnet", "autograd stands below refnet"),
        ("models/fit.py", "import rich.progress", "import rich inside the function that needs it"),
        ("models/fit.py", "class A:\n    import matplotlib", "import matplotlib inside"),
        ("op/row.py", TYPES, "op stands below autograd"),
        ("losses/loss.py", "from refnet.layers import Dense", "losses stands below layers"),
        ("layers/dense.py", "from refnet.autograd.tensor import Tensor", None),
        ("layers/dense.py", "from refnet.layers.layer import Layer", None),
        ("cli/main.py", "import rich", None),
        ("models/fit.py", "def f():\n    import rich", None),
    ],
)
def test_a_wrong_import_is_named(tmp_path, file, line, complaint):
    root = tmp_path / "refnet"
    for name in ("ops", "op", "layers", "cli", "base", "backend", "autograd", "graph", "models"):
        (root / name).mkdir(parents=True)
    (root / "losses").mkdir()
    (root / file).write_text(line)
    found = import_complaints(root / file, root)
    assert len(found) == bool(complaint)
    assert not complaint or complaint in found[0]


def main() -> None:
    """Print the tables of rooms: what each imports from, and how often; at last what goes back."""
    for root, rooms in ROOMS.items():
        found = arrows(root)
        for room in rooms:
            below = sorted((there for here, there in found if here == room), key=rooms.index)
            print(f"{room:13} {' '.join(f'{there} {found[room, there]}' for there in below)}")
        paths = sorted(root.rglob("*.py"))
        back = [wrong for path in paths for wrong in import_complaints(path, root)]
        print(f"\n{root.name}: {len(rooms)} rooms; {len(back)} imports that go up or out")
        print(*back, "", sep="\n")


if __name__ == "__main__":
    main()
