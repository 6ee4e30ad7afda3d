"""`refnet check`: that it finds what is wrong, by name and place, and says how to see it again."""

import contextlib
import json
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest

from refnet import report
from refnet.backend import Backend, NumPyBackend, registry
from refnet.check.ops import cases_for, check
from refnet.check.result import Curve, Failure, command, verdict
from refnet.errors import ArgumentError, BackendError, MissingPackageError, UnknownNameError
from refnet.op import TABLE
from refnet.plot import check as pictures
from refnet.proof.exact import LONGER
from refnet.proof.judge import all_ops
from refnet.report.html import LISTED
from refnet.report.json import ABOUT

FILES = ("activations", "matmul", "softmax")


class Planted(NumPyBackend):
    """NumPy, but some ops are replaced: ``wrong[name](op, *inputs, **attributes)``."""

    name, dtypes = "planted", ("float32",)
    array_type = type("Nothing", (), {})

    def __init__(self, **wrong):
        self.wrong = wrong

    def function(self, op):
        wrong = self.wrong.get(op.name)
        return (lambda *xs, **given: wrong(op, *xs, **given)) if wrong else op.function


@pytest.fixture
def one():
    """one("relu", wrong) -> the row of that op, replaced by `wrong`, on all of its cases."""

    def run(name, wrong, backend=Planted, **options):
        found = check([name], backends=[backend(**{name: wrong})], seed=3, **options)
        (row,) = found.rows
        assert found.ok() == (row.status == "pass")
        return row

    return run


@pytest.fixture
def planted(monkeypatch):
    """planted(sum=wrong): the backend `planted` of the command line has this mistake."""
    registered = dict(registry._targets), dict(registry._loaded)
    registry.register("planted", Planted)

    def plant(**wrong):
        monkeypatch.setitem(registry._loaded, "planted", Planted(**wrong))

    yield plant
    for now, before in zip((registry._targets, registry._loaded), registered, strict=True):
        now.clear()
        now.update(before)


def off(op, x):
    """One element of the largest case is off by 0.1 %."""
    y = np.array(op.function(x))
    if y.shape == (1025,):
        y[7] *= y.dtype.type(1.001)
    return y


def first(row):
    return row.failures[0]


# -- what is wrong is found ------------------------------------------------------------------------


def test_all_is_well():
    found = check(backends=["numpy"], seed=1)
    assert not found.failed
    assert found.ok()
    assert {row.op for row in found.rows} == set(TABLE)
    assert all(row.cases == len(cases_for(TABLE[row.op])) for row in found.rows)
    one, other = found.summaries()
    assert (one.ops, one.passed, one.missing, one.itself) == (len(TABLE), len(TABLE), 0, False)
    assert (other.itself, other.ratio > 0) == (
        (True, True) if LONGER is np.float64 else (False, True)
    )
    assert 0 < one.ratio <= 1
    assert one.numbers > 500_000


def test_a_wrong_element_is_named(one):
    row = one("softsign", off)
    assert row.status == "fail"
    assert len(row.failures) == 1
    assert (first(row).case, first(row).output, first(row).index) == ("block edge 1025", "y", (7,))
    assert first(row).got == pytest.approx(first(row).expected * 1.001, rel=1e-6)
    assert np.argwhere(first(row).ratios > 1).tolist() == [[7]]
    assert (row.worst.case, row.worst.index) == ("block edge 1025", (7,))
    assert row.ratio == first(row).ratio > 100


def test_a_wrong_integer_is_named(one):
    def wrong(op, x, **given):
        y = np.array(op.function(x, **given))
        if y.shape == (37,):
            y[5] += 1
        return y

    row = one("argmax", wrong, cases=["transposed"])
    assert row.status == "pass"

    def late(op, x, **given):
        return op.function(x, **given) + (np.arange(33) == 5)

    row = one("argmax", late, cases=["transposed"])
    assert (first(row).index, first(row).got) == ((5,), first(row).expected + 1)
    assert first(row).complaint.startswith("y: 1 wrong, first [5] is")


def test_a_nan_where_none_should_be(one):
    def wrong(op, x):
        y = np.array(op.function(x))
        if y.shape == (7, 31):
            y[2, 3] = np.nan
        return y

    row = one("tanh", wrong)
    assert [f.case for f in row.failures] == ["matrix"]
    assert first(row).index == (2, 3)
    assert np.isnan(first(row).got)


def test_an_element_that_is_never_written(one):
    class Careless(Planted):
        """Memory holds what was there before: the right result, as luck would have it."""

        poison = False

        @contextlib.contextmanager
        def poisoned(self):
            self.poison = True
            yield
            self.poison = False

        def function(self, op):
            def run(x):
                y = np.array(op.function(x))
                if self.poison and y.size:
                    y[..., -1] = np.nan
                return y

            return run if op.name == "square" else op.function

    row = one("square", None, Careless, cases=["block edge 1023"])
    assert row.status == "fail"
    assert first(row).index == (1022,)
    assert np.isnan(first(row).got)
    assert check(["square"], backends=[Careless()], quick=True).poisoned == ["planted"]
    assert check(["square"], backends=[Planted()], quick=True).poisoned == []


def test_an_input_that_is_changed(one):
    def wrong(op, x):
        y = op.function(np.array(x))
        if x.shape == (7, 31):
            x[1, 2] = 5
        return y

    row = one("relu", wrong)
    assert [f.case for f in row.failures] == ["matrix"]
    assert (first(row).output, first(row).index, first(row).got) == ("x", (1, 2), 5.0)
    assert first(row).complaint.startswith("x changed: x[1, 2] is 5.0, not ")


def test_one_of_many_inputs_that_is_changed(one):
    def wrong(op, *xs, **given):
        y = op.function(*(np.array(x) for x in xs), **given)
        if xs[-1].size:
            xs[-1][...] += 1
        return y

    assert " changed" in first(one("concatenate", wrong)).complaint


def test_an_input_that_should_be_overwritten_and_is_not(one):
    row = one("sgd", lambda op, theta, g, eta: op.function(np.array(theta), g, eta))
    assert row.status == "fail"
    assert "theta was not overwritten with the result: theta[0] is " in first(row).complaint
    assert one("sgd", lambda op, *inputs: op.function(*inputs)).status == "pass"


def test_another_type_or_shape(one):
    row = one("relu", lambda op, x: op.function(x).astype(np.float64))
    assert first(row).complaint == "y has type float64, not float32"
    row = one("relu", lambda op, x: op.function(x)[None])
    assert first(row).complaint == "y has shape (1, 28), the reference (28,)"
    row = one("relu", lambda op, x: (x, x))
    assert first(row).complaint == "2 results, the reference has 1"
    assert (first(row).index, first(row).got, first(row).ratios) == ((), None, None)


def test_other_bits_when_run_again(one):
    count = iter(range(10_000))
    wrong = lambda op, x: x + np.float32(2.0**-25 * (next(count) % 2))  # noqa: E731
    row = one("relu", lambda op, x: np.maximum(wrong(op, x), 0), cases=["matrix"])
    assert row.status == "fail"
    row = one("sigmoid", lambda op, x: op.function(wrong(op, x)), cases=["matrix"])
    assert first(row).complaint.startswith("run again, result 0[")
    row = one("sigmoid", lambda op, x: op.function(wrong(op, x)), cases=["matrix"], quick=True)
    assert row.status == "pass"


def test_an_exception_is_a_row_and_no_crash(one):
    def wrong(op, x, **given):
        if x.shape == (4, 3, 5):
            raise ValueError("bad stride\n  in kernel")
        return op.function(x, **given)

    row = one("sum", wrong)
    assert row.status == "error"
    assert row.cases == len(cases_for(TABLE["sum"]))
    assert first(row).raised
    assert first(row).complaint == "ValueError: bad stride in kernel"
    assert len(row.failures) == sum(name.startswith("(4, 3, 5)") for name in names_of("sum"))
    assert row.worst.case not in {f.case for f in row.failures}


def names_of(op):
    return [case.name for case in cases_for(TABLE[op])]


class Partial(Planted):
    """Has activations only, and a file that cannot be loaded."""

    def function(self, op):
        if op.file == "softmax":
            raise OSError("disk")
        if op.file != "activations":
            raise BackendError(f"no {op.name} here")
        return op.function


def test_what_is_missing_is_named_and_is_no_agreement():
    found = check(["relu", "matmul", "relu_vjp"], backends=[Partial()], quick=True)
    assert [row.status for row in found.rows] == ["pass", "missing", "pass"]
    assert found.rows[1].message == "BackendError: no matmul here"
    assert not found.ok()
    assert found.ok(allow_missing=True)
    nothing = check(["matmul"], backends=[Partial()], quick=True)
    assert not nothing.ok(allow_missing=True)
    assert verdict(nothing).startswith("Nothing was compared")
    broken = check(["softmax"], backends=[Partial()], quick=True).rows[0]
    assert (broken.status, broken.message) == ("error", "OSError: disk")


def test_an_op_that_is_tried_on_nothing_does_not_pass(monkeypatch):
    monkeypatch.setattr("refnet.check.ops.cases_for", lambda op, quick=False: ())
    found = check(["relu"], backends=[Planted()])
    assert found.rows[0].status == "fail"
    assert not found.ok()


def test_a_backend_that_cannot_run_is_said_to_be_left_out(refnet_check, planted):
    registry.register("absent", "no_such_module:Backend")
    for name in registry.names():
        if name not in ("numpy", "absent"):
            registry.register(name, "no_other_module:Backend")
    found = check(["relu"], seed=1, quick=True)
    assert list(found.backends) == ["numpy"]
    assert "No module named 'no_such_module'" in found.not_checked["absent"]
    assert (
        "NOT CHECKED  absent: backend 'absent' cannot run here" in refnet_check("--op", "relu")[1]
    )
    with pytest.raises(BackendError, match="no_such_module"):
        check(["relu"], backends=["absent"])


# -- seeds, and what is tried ----------------------------------------------------------------------


def facts(found):
    return [(row.op, row.dtype, row.numbers, row.worst) for row in found.rows]


def test_a_seed_draws_the_same_inputs_to_the_bit():
    ops = ["matmul", "gelu", "softmax_vjp", "dropout"]
    a, b = (check(ops, backends=["numpy"], seed=11, quick=True) for _ in range(2))
    assert facts(a) == facts(b)
    assert facts(a) != facts(check(ops, backends=["numpy"], seed=12, quick=True))
    one, two = (check(ops, backends=["numpy"], quick=True) for _ in range(2))
    assert one.seed != two.seed
    assert facts(one) == facts(check(ops, backends=["numpy"], seed=one.seed, quick=True))


def test_quick_covers_every_op_in_every_type():
    found = check(backends=["numpy", Planted()], quick=True)
    tried = {(row.op, row.backend, row.dtype) for row in found.rows if row.cases}
    pairs = [("numpy", "float32"), ("numpy", "float64"), ("planted", "float32")]
    assert tried == {(op.name, *pair) for op in all_ops() for pair in pairs}
    assert all(len(cases_for(op, True)) <= len(cases_for(op)) for op in all_ops())
    assert sum(row.cases for row in found.rows) < 0.5 * 3 * sum(
        len(cases_for(o)) for o in all_ops()
    )


def test_unknown_names_and_types_that_a_backend_lacks():
    for arguments, hint in [
        ({"ops": ["rleu"]}, "unknown op 'rleu': did you mean 'relu'"),
        ({"dtypes": ["float23"]}, "unknown dtype 'float23': did you mean 'float32'"),
        ({"backends": ["numpi"]}, "unknown backend 'numpi': did you mean 'numpy'"),
        ({"ops": ["relu"], "cases": ["matrx"]}, "unknown case 'matrx': did you mean 'matrix'"),
    ]:
        with pytest.raises(UnknownNameError, match=hint):
            check(**arguments)
    with pytest.raises(ArgumentError, match="numpy in bfloat16: it computes in float32, float64"):
        check(["relu"], dtypes=["bfloat16"], backends=["numpy"])
    with pytest.raises(UnknownNameError, match="'K = 4'"):
        check(["relu"], cases=["K = 4"], backends=["numpy"])
    found = check(["relu", "matmul"], cases=["K = 4"], backends=["numpy"])
    assert {row.op for row in found.rows} == {"matmul"}


def test_curves_of_activations_and_products():
    found = check(["sigmoid", "matmul", "sigmoid_vjp"], dtypes=["float32"], backends=["numpy"])
    sigmoid, product, gradient = (row.curve for row in found.rows)
    assert gradient is None
    assert product.x.tolist() == [1, 4, 16, 64, 256, 1024, 4096]
    assert (product.error <= product.bound).all()
    assert (product.error > 0).any()
    assert np.all(np.diff(sigmoid.x) >= 0)
    assert 0.4 < sigmoid.error.max() <= sigmoid.bound.max() < 10


def test_the_curve_of_a_wrong_activation_shows_it():
    wrong = {"tanh": lambda op, x: op.function(x) * np.float32(1.001)}
    curve = check(["tanh"], backends=[Planted(**wrong)]).rows[0].curve
    assert (curve.error > curve.bound).mean() > 0.9


def test_words_for_the_shell():
    for case in ("plain", "two words", "{'axis': 0}", "a'b\"c", "cost $5's"):
        words = shlex.split(command(["relu"], [], ["numpy"], [case], 5, True))
        assert words == [
            *("refnet", "check", "--op", "relu", "--backend", "numpy"),
            *("--case", case, "--seed", "5", "--quick"),
        ]


# -- the command -----------------------------------------------------------------------------------


def test_the_command_agrees(refnet_check):
    code, out, err = refnet_check("--backend", "numpy", "--seed", 5, "--quick")
    assert (code, err) == (0, "")
    assert "seed 5 (--seed 5 draws the same inputs again)" in out
    assert re.search(r"^softmax +0\.\d\d +0\.\d\d$", out, re.MULTILINE)
    assert f"numpy float32: {len(TABLE)} agree; " in out
    assert re.search("numpy float32: .*; judged in float64", out)
    by = "this is the reference itself" if LONGER is np.float64 else "judged in floats of"
    assert re.search(f"numpy float64: .*; {by}", out)
    assert out.splitlines()[-1].startswith(f"All {len(TABLE)} ops within bounds: numpy float32")


def test_the_command_says_what_is_wrong_and_how_to_see_it_again(refnet_check, planted):
    planted(softsign=off)
    arguments = "--op", "softsign", "relu", "--backend", "planted", "numpy", "--seed", 9
    code, out, err = refnet_check(*arguments)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0] == "FAIL  softsign on planted in float32"
    assert lines[1].startswith("  block edge 1025: y[7] is ")
    again = lines[2].strip()
    assert again == (
        "refnet check --op softsign --dtype float32 --backend planted --case 'block edge 1025' --seed 9"
    )
    table = out[out.index("op        backend") :]
    assert table.splitlines()[1].startswith("softsign  planted")
    assert "1 of 6 checks disagree with the reference" in lines[-1]
    code, second, _ = refnet_check(*shlex.split(again)[2:])
    assert code == 1
    assert second.splitlines()[:3] == lines[:3]
    assert "1 DISAGREE; 1 case, 1,025 numbers" in second


def test_many_failures_of_an_op_are_counted(refnet_check, planted):
    planted(sum=lambda op, x, **given: op.function(x, **given) + 1)
    code, out, _ = refnet_check("--op", "sum", "--backend", "planted", "--seed", 9)
    assert code == 1
    assert re.search(r"and \d+ more cases: refnet check --op sum --dtype float32 ", out)
    assert out.count("--case") == LISTED


def test_missing_ops_and_the_exit_code(refnet_check, planted, monkeypatch):
    planted()
    monkeypatch.setitem(registry._loaded, "planted", Partial())
    arguments = "--op", "relu", "matmul", "--backend", "planted", "--quick"
    code, out, _ = refnet_check(*arguments)
    assert code == 1
    assert "MISSING  1 op on planted in float32: matmul" in out
    code, out, _ = refnet_check(*arguments, "--allow-missing")
    assert code == 0
    assert "MISSING  1 op on planted in float32: matmul" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--op rleu", "refnet check: unknown op 'rleu': did you mean 'relu'?"),
        ("--dtype float23", "refnet check: unknown dtype 'float23': did you mean 'float32'?"),
        ("--backend numpi", "refnet check: unknown backend 'numpi': did you mean 'numpy'?"),
        ("--op relu --case matrx", "refnet check: unknown case 'matrx': did you mean 'matrix'?"),
        ("--seed -1", "expected"),
        ("--backend numpy --dtype bfloat16", "numpy in bfloat16: it computes in float32, float64"),
        ("--op relu --json {there}/file/x.json", "cannot write there"),
        ("--op relu --html {there}", "cannot write there (it is a folder)"),
    ],
)
def test_a_mistake_gets_one_clear_line(refnet_check, arguments, complaint, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = refnet_check(*arguments.format(there=tmp_path).split())
    assert (code, out) == (2, "")
    assert complaint in err.splitlines()[-1]


def test_progress_on_a_terminal(refnet_check, monkeypatch):
    from refnet.cli.output import console

    monkeypatch.setenv("COLUMNS", "150")
    shown = lambda: type(console())(force_terminal=True, width=150)  # noqa: E731
    monkeypatch.setattr("refnet.cli.check.console", shown)
    code, out, _ = refnet_check("--op", "relu", "--backend", "numpy", "--quick")
    assert code == 0
    assert "2/2" in out


# -- the files -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failing():
    """A report with everything in it: failures, an exception, a missing op, maps and curves."""

    class Mixed(Planted):
        def function(self, op):
            if op.name == "prelu":
                raise BackendError("no prelu <here>")
            return super().function(op)

    def explode(op, x, **given):
        raise ValueError("<bad> & wrong")

    mixed = Mixed(
        softsign=off, mean=explode, relu=lambda op, x: op.function(x) + np.float32(np.inf)
    )
    ops = [op.name for op in all_ops() if op.file in FILES] + ["mean"]
    return check(ops, backends=[mixed, "numpy"], seed=21)


def test_json(failing, tmp_path):
    path = report.write_json(failing, tmp_path / "check.json")
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert found["schema"] == report.SCHEMA
    assert (found["ok"], found["seed"], found["quick"]) == (False, 21, False)
    assert set(found) == {"schema", "ok", "summary", "rows", *ABOUT}
    for name in ("date", "commit", "python", "system", "cores", "numpy", "torch"):
        assert name in found["machine"]
    assert found["backends"]["numpy"].startswith("NumPy")
    assert len(found["rows"]) == len(failing.rows)
    rows = {(row["op"], row["backend"], row["dtype"]): row for row in found["rows"]}
    wrong = rows["softsign", "planted", "float32"]
    assert set(wrong) == {
        *("op", "file", "backend", "dtype", "status", "cases", "numbers", "message", "seconds"),
        *("error", "bound", "ratio", "where", "failures"),
    }
    assert (wrong["status"], wrong["file"]) == ("fail", "activations")
    assert wrong["where"]["index"] == [7]
    assert wrong["failures"][0]["replay"].endswith("--case 'block edge 1025' --seed 21")
    assert rows["relu", "planted", "float32"]["ratio"] == "inf"
    assert rows["prelu", "planted", "float32"]["status"] == "missing"
    assert rows["mean", "planted", "float32"]["message"] == "ValueError: <bad> & wrong"
    good = rows["tanh", "numpy", "float32"]
    assert (good["status"], good["failures"]) == ("pass", [])
    assert 0 < good["error"] <= good["bound"]


class Page(HTMLParser):
    """Every tag that is opened is closed; rows of the table, and what it would load."""

    VOID = "meta", "input", "img"

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.loads, self.pictures, self.text = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.loads += [given[k] for k in ("src", "href") if k in given]
        if tag == "img":
            self.pictures.append(given["alt"])
        if "data-status" in given:
            self.rows.append([given["data-status"]])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open[-1:] == ["td"] and self.rows and "tr" in self.open:
            self.rows[-1].append(data)


@pytest.mark.needs("matplotlib")
def test_html(failing, tmp_path):
    path = report.write_html(failing, tmp_path / "check.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    assert [row[:3] for row in page.rows] == [[r.status, r.status, r.op] for r in failing.rows]
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in page.loads)
    assert page.pictures == [
        "Where the wrong elements lie",
        "Error against K, for products",
        "Error over x of each activation, planted float32",
        "Error over x of each activation, numpy float32",
    ] + (["Error over x of each activation, numpy float64"] if LONGER is not np.float64 else [])
    assert "ValueError: <bad> & wrong" in page.text
    for said in ("--case 'block edge 1025' --seed 21", "planted float32", failing.command):
        assert said in page.text


def test_html_without_matplotlib(monkeypatch):
    def missing(*_, **__):
        raise MissingPackageError("pictures need matplotlib: pip install 'refnet[viz]'")

    monkeypatch.setattr(pictures, "new_figure", missing)
    page = Page(report.as_html(check(["relu", "matmul"], backends=["numpy"], quick=True)))
    assert page.pictures == []
    assert "This report has no pictures: pictures need matplotlib" in page.text


def test_html_of_what_has_no_picture():
    page = Page(report.as_html(check(["where"], backends=["numpy"], quick=True)))
    assert "There is nothing to draw" in page.text


def test_files_are_written_by_the_command(refnet_check, tmp_path):
    targets = tmp_path / "new" / "a.json", tmp_path / "b.html"
    code, out, _ = refnet_check(
        *("--op", "where", "--backend", "numpy", "--quick"),
        *("--json", targets[0], "--html", targets[1]),
    )
    assert code == 0
    for path in targets:
        assert f"{path}  the report as" in out
        assert path.stat().st_size > 1000


def test_pictures_of_nothing_are_refused(tmp_path):
    for draw in (pictures.activation_errors, pictures.product_errors, pictures.failure_maps):
        with pytest.raises(ArgumentError):
            draw({}, tmp_path / "x.png")
    with pytest.raises(ArgumentError):
        pictures.failure_maps({"a": Failure("case", "raised", True)}, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.needs("matplotlib")
def test_pictures_of_odd_results(tmp_path):
    """A scalar, three axes, infinite errors, a bound that is 0."""
    maps = {
        name: Failure("c", "x", ratios=np.array(ratios))
        for name, ratios in (
            ("scalar", 3.0),
            ("cube", np.full((2, 3, 4), np.inf)),
            ("nan", [np.nan, 1]),
        )
    }
    path = pictures.failure_maps(maps, tmp_path / "maps.png")
    assert path.stat().st_size > 4000
    curve = Curve(np.arange(3.0), np.array([0, np.inf, np.nan]), np.array([0.0, 2.0, 100.0]))
    assert pictures.activation_errors({"a": curve}, tmp_path / "a.png").stat().st_size > 4000
    zero = Curve([1, 4], [0.0, 0.0], [0.0, 0.0])
    path = pictures.product_errors({"p": {"q": zero}}, tmp_path / "p.png")
    assert path.stat().st_size > 4000


def test_levels_of_a_map():
    ratios = pictures._flat(np.array([0.0, 0.6, 1.0, 1.01, 3.0, 11.0, np.inf, np.nan]))
    assert pictures._levels(ratios).tolist() == [[0, 1, 1, 2, 3, 4, 4, 4]]
    assert pictures._flat(np.ones(65)).mask.sum() == 63


# -- Triton ----------------------------------------------------------------------------------------


@pytest.mark.triton
def test_triton_keeps_its_bounds_on_a_few_ops():
    found = check(["relu", "softmax", "matmul_vjp"], backends=["triton"], seed=4, quick=True)
    assert found.ok(), [row.failures for row in found.failed]
    assert [s.dtype for s in found.summaries()] == list(registry.get("triton").dtypes)
    assert found.poisoned == ["triton"]


@pytest.mark.triton
def test_memory_of_triton_is_poisoned_within_and_not_after(torch):
    backend = registry.get("triton")
    before = torch.utils.deterministic.fill_uninitialized_memory
    with pytest.raises(KeyError), backend.poisoned():
        assert torch.empty(5).isnan().all()
        assert torch.empty(5, dtype=torch.int64).eq(torch.iinfo(torch.int64).max).all()
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory == before


def test_a_backend_need_not_poison():
    with Backend().poisoned() as nothing:
        assert nothing is None
