"""Both sides are whole: same files, names, signatures, docs; and no file outgrows its budget.

The checks are functions of paths and modules, so that the tests below can also show each of them
something that is wrong, and see it named.
"""

import ast
import importlib
import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

from refnet.op import TABLE

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / "refnet", ROOT / "refnet_triton"]
OP_BUDGET, MODULE_BUDGET = 200, 400
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


# -- the checks ----------------------------------------------------------------------------------


def file_complaints(reference: Path, twins: Path) -> list[str]:
    """What stands in one folder and not in the other."""
    here, there = ({path.name for path in folder.glob("*.py")} for folder in (reference, twins))
    return [f"{twins}/{name} is missing" for name in sorted(here - there)] + [
        f"{reference}/{name} is missing" for name in sorted(there - here)
    ]


def twin_complaints(ops, module_of) -> list[str]:
    """Ops without a twin of the same name, in the same file, with the same parameters, and docs.

    `module_of(file)` is the module of twins for a file of `refnet/ops`.
    """
    return [f"{op.name}: {wrong}" for op in ops for wrong in _twin(op, module_of(op.file))]


def _twin(op, module):
    twin = getattr(module, op.name, None)
    if not callable(twin):
        yield f"no twin in {module.__name__}"
        return
    if twin.__module__ != module.__name__:
        yield f"its twin stands in {twin.__module__}, not in {module.__name__}"
    expected, found = parameters(op.function), parameters(twin)
    if expected != found:
        yield f"its twin takes {found}, the reference {expected}"
    if not (twin.__doc__ or "").strip():
        yield "its twin has no docstring"


def parameters(function) -> list[tuple]:
    """(name, kind, default) of each parameter; of defaults that are missing, the type `empty`."""
    listed = inspect.signature(function).parameters.values()
    return [(p.name, p.kind.name, p.default) for p in listed]


def code_lines(source: str) -> int:
    """Lines of code: no docstrings, comments or blank lines; an import is one, however it is wrapped."""
    silent: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            silent.update(range(node.lineno + 1, node.end_lineno + 1))
        text = node.value.value if _is_constant(node) else None
        if isinstance(text, str):
            silent.update(range(node.lineno, node.end_lineno + 1))
    lines = {n for n, line in enumerate(source.splitlines(), 1) if line.partition("#")[0].strip()}
    return len(lines - silent)


def _is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def length_complaints(path: Path) -> list[str]:
    """The file, if it has more lines of code than it may; of a file of ops also what proves nothing."""
    source = path.read_text(encoding="utf-8")
    counted = [(code_lines(source), MODULE_BUDGET)]
    if path.parent.name == "ops":
        counted.append((code_lines(source.partition("# == Proof: ")[0]), OP_BUDGET))
    return [f"{path}: {n} lines of code, {most} allowed" for n, most in counted if n >= most]


def docstring_complaints(path: Path) -> list[str]:
    """Public functions and classes of a module, and the module itself, without a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    public = [d for d in tree.body if isinstance(d, DEFINITIONS) and not d.name.startswith("_")]
    bare = [getattr(d, "name", "the module") for d in (tree, *public) if not ast.get_docstring(d)]
    return [f"{path}: {name} has no docstring" for name in bare]


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]


each_module = pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))


# -- what must hold ------------------------------------------------------------------------------


@pytest.mark.every_op
def test_the_two_sides_have_the_same_files():
    assert not file_complaints(*(package / "ops" for package in PACKAGES))


def twin_module(file: str):
    """The module of twins for a file of `refnet/ops`; an empty one if there is none."""
    name = f"refnet_triton.ops.{file}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, "refnet_triton.ops"):
            raise
        return SimpleNamespace(__name__=name)


@pytest.mark.triton
@pytest.mark.parametrize("op", TABLE.values(), ids=lambda op: op.name)
def test_an_op_has_its_twin(op):
    assert not twin_complaints([op], twin_module)


@each_module
def test_module_is_short_and_documented(path):
    assert not length_complaints(path)
    assert not docstring_complaints(path)


# -- that they can fail --------------------------------------------------------------------------


@pytest.fixture
def twins():
    """A faithful copy of the activations, to be spoiled."""
    ops = [op for op in TABLE.values() if op.file == "activations"]
    functions = {op.name: op.function for op in ops}
    module = SimpleNamespace(__name__=ops[0].function.__module__, **functions)
    return ops, module, lambda: twin_complaints(ops, lambda file: module)


def test_a_faithful_copy_passes(twins):
    assert twins[2]() == []


@pytest.mark.triton
def test_a_missing_module_is_named_op_by_op():
    complaints = twin_complaints([TABLE["relu"]], lambda file: twin_module("no_such_file"))
    assert complaints == ["relu: no twin in refnet_triton.ops.no_such_file"]


def test_a_deleted_twin_is_named(twins):
    _, module, complaints = twins
    del module.mish_vjp
    assert complaints() == [f"mish_vjp: no twin in {module.__name__}"]


@pytest.mark.parametrize(
    "other",
    [
        lambda x, slope=0.1: x,  # another name
        lambda x, negative_slope=0.2: x,  # another default
        lambda x, negative_slope: x,  # none
        lambda negative_slope, x: x,  # another order
        lambda x: x,  # one too few
        lambda x, *, negative_slope=0.1: x,  # by name only
    ],
)
def test_a_changed_signature_is_named(twins, other):
    _, module, complaints = twins
    other.__module__, other.__doc__ = module.__name__, "y = x"
    module.leaky_relu = other
    (complaint,) = complaints()
    assert complaint.startswith("leaky_relu: its twin takes")


def test_a_twin_without_docs_or_in_another_file_is_named(twins):
    _, module, complaints = twins
    module.relu = lambda x: x
    assert complaints() == [
        f"relu: its twin stands in {__name__}, not in {module.__name__}",
        "relu: its twin has no docstring",
    ]


def test_a_missing_or_extra_file_is_named(tmp_path):
    for folder, names in {"a": ("x", "both"), "b": ("y", "both")}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.py").touch()
    assert file_complaints(tmp_path / "a", tmp_path / "b") == [
        f"{tmp_path}/b/x.py is missing",
        f"{tmp_path}/a/y.py is missing",
    ]


def test_only_lines_of_code_count(tmp_path):
    path = tmp_path / "ops" / "x.py"
    path.parent.mkdir()
    doc, code = '"""Doc.\n\nMore."""\n\n# why\n', 'def f(x):\n    """y"""\n    return """a\nb"""\n'
    source = doc + code
    path.write_text(source)
    assert code_lines(source) == 3
    assert code_lines(source + "from a import (\n    b,\n    c,\n)\n") == 4
    assert not length_complaints(path)
    path.write_text(source + "x = 1\n" * (OP_BUDGET - 3))
    assert length_complaints(path) == [f"{path}: 200 lines of code, 200 allowed"]
    path.write_text(source + "# == Proof: \n" + "x = 1\n" * (OP_BUDGET - 3))
    assert not length_complaints(path)
    path.write_text(source + "# == Proof: \n" + "x = 1\n" * (MODULE_BUDGET - 3))
    assert length_complaints(path) == [f"{path}: 400 lines of code, 400 allowed"]


def test_missing_docs_are_named(tmp_path):
    path = tmp_path / "x.py"
    path.write_text('def f():\n    """y"""\ndef g(): pass\nclass C: pass\ndef _h(): pass\n')
    assert docstring_complaints(path) == [
        f"{path}: {name} has no docstring" for name in ("the module", "g", "C")
    ]
