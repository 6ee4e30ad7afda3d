"""The benchmark: what is drawn and counted, PyTorch's counterparts, the goals and the page about them."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("refnet_triton.runtime.device")

from refnet.op import TABLE  # noqa: E402
from refnet_triton.bench import goals, host, measure, page, peers, results, suite, tuning  # noqa: E402
from refnet_triton.bench.inputs import as_tuple, backend, draw  # noqa: E402
from refnet_triton.bench.timing import ON_GPU  # noqa: E402

pytestmark = pytest.mark.triton
interpreted = pytest.mark.skipif(ON_GPU, reason="there is a GPU here")

# -- what is drawn, what is counted, and that the contenders compute the same ------------------------


@interpreted
@pytest.mark.parametrize("op", [op for op in TABLE.values() if op.name in peers.EAGER])
def test_a_peer_computes_the_same(op):
    if op.file == "random":
        pytest.skip("other random numbers")
    cases = (op.primal or op).cases.bench(256)
    for case in cases if op.file in ("matmul", "reductions") else cases[:1]:
        inputs, attributes = draw(op, case, "float32")
        ours = backend().function(op)(*(x.clone() for x in inputs), **attributes)
        for peer in {peers.EAGER[op.name], peers.COMPILED.get(op.name, peers.EAGER[op.name])}:
            theirs = peer(*(x.clone() for x in inputs), **attributes)
            for a, b in zip(as_tuple(ours), as_tuple(theirs), strict=False):
                torch.testing.assert_close(
                    a, b, rtol=1e-4, atol=1e-4, check_dtype=op.name != "cast"
                )


def test_no_peer_without_an_op():
    assert set(peers.EAGER) | set(peers.COMPILED) <= set(TABLE)


def counted(name, dtype="float32", elements=1 << 12):
    op = TABLE[name]
    case = (op.primal or op).cases.bench(elements)[0]
    inputs, attributes = draw(op, case, dtype)
    outputs = as_tuple(backend().function(op)(*inputs, **attributes))
    moved = measure.traffic(op, case, inputs, outputs)
    return moved, measure.operations(op, inputs, attributes)


@interpreted
@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("relu", 2 * 4 * 4096),
        ("relu_vjp", 3 * 4 * 4096),
        ("add", 3 * 4 * 4096),
        ("less", (2 * 4 + 1) * 4096),
        ("add_vjp", 0),  # views of g
        ("reshape", 0),
        ("sum", 4 * (4096 + 64)),
        ("mean_vjp", 4 * 2 * 64),  # g is read; x is only asked for its shape
        ("where_vjp", (4 + 1 + 2 * 4) * 4096),  # neither a nor b is read
        ("binary_step_vjp", 4 * 4096),  # zeros, whatever g is
        ("adam", 7 * 4 * 4096 + 2 * 4),  # θ, g, m, v, η, t are read; θ, m, v are written
    ],
)
def test_bytes_are_counted(name, moved):
    assert counted(name)[0] == moved


@interpreted
def test_operations_are_counted():
    assert counted("matmul", elements=1024)[1] == 2 * 32**3
    assert counted("linear_vjp", elements=1024)[1] == 4 * 32**3
    assert counted("relu")[1] == 0


LIMITS = {"copy_bytes_per_second": 4e12, "flops_per_second": {"bfloat16": 8e14}}
SAMPLES = {"refnet": [50.0, 60.0, 40.0], "eager": [100.0], "compile": [25.0]}


def test_a_row_is_judged():
    row = measure.Row("relu", "activations", "square", "float32", bytes=10**8, samples=SAMPLES)
    row.judge(LIMITS)
    assert (row.floor, row.microseconds, row.percent) == (25.0, 50.0, 50.0)
    assert (row.eager, row.compiled) == (2.0, 0.5)
    row = measure.Row("matmul", "matmul", "4096 cubed", "bfloat16", 1, 2 * 10**10, SAMPLES)
    assert row.judge(LIMITS).percent == pytest.approx(50.0)
    words = results.line(row).split()
    assert words == ["matmul", "4096", "cubed", "bfloat16", "25.0", "50.0", "50.0", "2.00", "0.50"]
    assert results.table([row])[1] == results.line(row)


def test_the_longer_of_two_times_is_the_floor():
    row = measure.Row("matmul", "matmul", "thin", "bfloat16", 4 * 10**8, 8 * 10**9, SAMPLES)
    assert row.judge(LIMITS).floor == pytest.approx(100.0)  # 100 us of bytes, 10 us of operations


def test_a_row_without_a_result_says_why():
    row = measure.Row("sum_vjp", "reductions", "rows", "float32", note="a view: nothing is moved")
    assert results.line(row).endswith("float32  a view: nothing is moved")
    assert row.judge(LIMITS).percent is None


def test_a_row_is_compared_with_pytorch_where_the_limits_are_not_known():
    row = measure.Row("relu", "activations", "square", "float32", bytes=8)
    row.samples = {"refnet": [1.0, 2.0, 3.0], "eager": [5.0]}
    row.judge(None)
    assert (row.microseconds, row.eager, row.floor, row.percent) == (2.0, 2.5, None, None)


# -- the goals ---------------------------------------------------------------------------------------


def row(op, case, dtype, us, **figures):
    """A row that took so many microseconds."""
    family = TABLE[op].file
    return measure.Row(op, family, case, dtype, bytes=1 << 30, microseconds=us, **figures)


def verdict(title, facts):
    (goal,) = [goal for goal in goals.GOALS if goal.title == title]
    return goal.judge({"rows": [], **facts})


PRODUCTS = "bf16, fp16 products, M, N >= 4096, K >= 1024"


def test_every_goal_that_is_about_rows_finds_rows_in_the_suite():
    specs = suite.specs()
    for goal in goals.GOALS:
        rows = goal.rows_among(specs)
        assert bool(rows) == (goal.rows != goals.NONE), goal.title
        assert rows or callable(goal.measure) or not goal.measure, goal.title
        assert len(set(rows)) == len(rows)


def test_the_suite_is_every_row_once_and_the_first_of_every_goal_comes_first():
    specs = suite.specs()
    order = suite.suite(goals=goals.GOALS)
    assert sorted(order) == sorted(specs) and len(set(order)) == len(order)
    about = [goal for goal in goals.GOALS if goal.rows_among(specs)]
    first = {goal.rows_among(specs)[0] for goal in about}
    assert set(order[: len(first)]) == first
    without = suite.suite(goals=goals.GOALS, rest=False)
    assert order[: len(without)] == without
    assert set(without) == {spec for goal in about for spec in goal.rows_among(specs)}


def test_what_is_compared_stands_before_what_it_is_compared_with():
    order = suite.suite(goals=goals.GOALS, rest=False)
    places = {
        (s.op, s.case.partition(",")[0], s.dtype): i for i, s in reversed([*enumerate(order)])
    }
    for op, bare in (("linear", "matmul"), ("linear_vjp", "matmul_vjp")):
        for dtype in goals.HALF:
            assert (bare, "4096 cubed", dtype) in places and (op, "4096 cubed", dtype) in places


def test_only_what_a_goal_compares_with_it_is_given_to_torch_compile():
    specs = suite.specs()
    compared = [goal for goal in goals.GOALS if goal.measure == "compiled"]
    wanted = {spec for goal in compared for spec in goal.rows_among(specs)}
    assert wanted and {spec for spec in specs if goals.to_be_compiled(spec)} == wanted
    assert {spec.op for spec in wanted} == {"linear_vjp", *goals.SPARSE}


def test_a_goal_is_met_by_every_row_and_by_the_mean():
    good = [row("matmul", "4096 cubed", "bfloat16", 1.0, eager=1.1, floor=0.9)]
    found = verdict(PRODUCTS, {"rows": good})
    assert found["verdict"] == goals.MET and found["ratio"] == pytest.approx(1.1)
    assert found["worst"] == {
        "where": "matmul 4096 cubed bfloat16", "value": 1.1, "floor": 0.9, "microseconds": 1.0,
    }  # fmt: skip
    slow = [*good, row("matmul_vjp", "8192 cubed", "float16", 1.0, eager=0.94)]
    found = verdict(PRODUCTS, {"rows": slow})
    assert (found["verdict"], found["worst"]["value"]) == (goals.MISSED, 0.94)
    assert found["ratio"] == pytest.approx(0.94 / 0.95) and len(found["figures"]) == 2
    even = [row("matmul", "4096 cubed", dtype, 1.0, eager=0.96) for dtype in goals.HALF]
    found = verdict(PRODUCTS, {"rows": even})  # each is good enough, their mean is not
    assert found["verdict"] == goals.MISSED and found["ratio"] == pytest.approx(0.96)
    other = [row("matmul", "4096 cubed", "float32", 1.0, eager=0.1)]  # another goal's
    assert verdict(PRODUCTS, {"rows": other})["verdict"] == goals.NOT_MEASURED


def test_a_goal_on_time_over_another_row():
    title = "linear: bias, activation; over the bare product"
    rows = [row("linear", "4096 cubed, gelu", "bfloat16", 1.1)]
    assert verdict(title, {"rows": rows})["verdict"] == goals.NOT_MEASURED
    rows.append(row("matmul", "4096 cubed", "bfloat16", 1.0))
    found = verdict(title, {"rows": rows})
    assert (found["verdict"], found["worst"]["value"]) == (goals.MISSED, pytest.approx(1.1))
    assert found["worst"]["floor"] == 1.0 and found["ratio"] == pytest.approx(1.03 / 1.1)
    rows[0].microseconds = 1.02
    assert verdict(title, {"rows": rows})["verdict"] == goals.MET


def test_goals_on_python_and_on_the_training_step():
    times = {"relu": 12.0, "add": 4.0, "torch.relu": 40.0, goals.MANY_TENSORS: 90.0}
    costs = {"microseconds": times}
    found = verdict("what Python costs for one op", {"host": costs})
    assert (found["verdict"], found["worst"]["where"]) == (goals.MISSED, "relu")
    assert len(found["figures"]) == 2
    assert verdict(goals.MANY_TENSORS, {"host": costs})["verdict"] == goals.MET
    times = {"training": {"microseconds": {"refnet": 50.0, "eager": 160.0, "compile": 40.0}}}
    assert verdict("training step: torch eager over it", times)["verdict"] == goals.MET
    found = verdict("training step: torch.compile over it", times)
    assert (found["verdict"], found["ratio"]) == (goals.MISSED, 0.8)


def test_a_row_too_small_for_the_memory_counts_for_no_percentage():
    title = "reductions"
    small = row("sum", "rows", "float32", 1.0, percent=3.0)
    small.bytes = goals.LARGE - 1
    assert verdict(title, {"rows": [small]})["verdict"] == goals.NOT_MEASURED
    small.bytes = goals.LARGE
    assert verdict(title, {"rows": [small]})["verdict"] == goals.MISSED


def test_the_table_of_goals_fits_a_screen():
    facts = {"rows": [row("matmul", "4096 cubed", "bfloat16", 1.0, eager=0.5, floor=0.9)]}
    lines = goals.table(goals.judged(facts))
    assert len(lines) == 1 + len(goals.GOALS) < 40
    (line,) = [line for line in lines if goals.MISSED in line]
    assert line.startswith(PRODUCTS) and "0.50" in line and "0.53" not in line
    assert line.endswith("MISSED: matmul 4096 cubed bfloat16, mean 0.50")
    absent = [line for line in lines if goals.ABSENT in line]
    assert len(absent) == sum(not goal.measure for goal in goals.GOALS)


# -- the page ----------------------------------------------------------------------------------------


def report(date, **more):
    facts = {"rows": [row("matmul", "4096 cubed", "bfloat16", 1.0, eager=0.5, floor=0.9)]}
    verdicts = json.loads(json.dumps(goals.judged(facts)))
    return {
        "measurement": True, "date": date, "device": "NVIDIA H200", "commit": "0123456789abcdef",
        "versions": {"torch": "2.11.0", "triton": "3.6.0"}, "driver": "580.1", "cut": [],
        "bench": {"goals": verdicts}, "options": {"ops": []}, **more,
    }  # fmt: skip


def test_a_page_of_measurements(tmp_path):
    assert "Nothing has been measured on a GPU yet" in page.text(tmp_path)
    results.write(tmp_path / "a.json", report("2026-01-02T03:04:05"))
    cut = ["bench, by the clock: 3 not run"]
    later = report("2026-02-03T03:04:05", cut=cut, uncommitted_changes=" M a.py")
    results.write(tmp_path / "b.json", later)
    results.write(tmp_path / "c.json", report("2026-03-04T03:04:05", measurement=False))
    some = report("2026-03-05T03:04:05", options={"ops": ["relu"]})
    results.write(tmp_path / "d.json", some)  # a run of some ops
    results.write(tmp_path / "interpreted.check.json", {"rows": []})
    text = page.write(tmp_path).read_text(encoding="utf-8")
    assert "Nothing has been measured" not in text
    assert text.index("## NVIDIA H200, 2026-02-03") < text.index("## NVIDIA H200, 2026-01-02")
    assert "2026-03-0" not in text and "[b.json](b.json)" in text
    assert "Commit 0123456789ab and uncommitted changes, torch 2.11.0" in text
    assert "Cut off: bench, by the clock: 3 not run." in text
    assert f"0 goals met, 1 missed, {len(goals.GOALS) - 1} not measured" in text
    assert f"| {PRODUCTS} | >= 0.95 x cuBLAS, mean >= 1 | 0.50 | 50 % | MISSED " in text


# -- what Python costs, the training step, the tiles -------------------------------------------------


@interpreted
def test_the_training_step_has_a_time():
    found = host.training_step(quick=True)
    assert found["errors"] == {} and set(found["microseconds"]) == {"refnet", "eager"}
    assert all(time > 0 for time in found["microseconds"].values())


@interpreted
def test_what_python_costs():
    found = host.host_cost(quick=True)
    names = {"relu", "add", "softmax", "sum", "torch.relu", "torch.add"}
    assert found["errors"] == {} and set(found["microseconds"]) == set(found["samples"]) == names
    assert all(len(samples) == 5 for samples in found["samples"].values())


@interpreted
def test_our_update_of_many_tensors_is_theirs(monkeypatch):
    """The two contenders do the same work: here on 3 tensors instead of 300."""
    made = []

    def weights(count=3):
        torch.manual_seed(0)
        made.append([torch.randn(16) for _ in range(count)])
        return made[-1]

    monkeypatch.setattr(host, "_weights", weights)
    theta, *_ = host._our_update()()
    assert theta.shape == (48,)
    host._their_update()()
    moved = torch.cat(made[1]) - torch.cat(made[0])
    assert torch.allclose(moved.abs(), torch.full((48,), 1e-3), rtol=1e-3)
    assert torch.allclose(theta.abs(), torch.full((48,), 1e-3), rtol=1e-3)


def test_a_contender_that_fails_is_named_and_costs_no_other():
    def none():
        raise ValueError("no such function")

    def third(calls=iter(range(9))):  # noqa: B008
        if next(calls) == 2:
            raise RuntimeError("out of memory")

    contenders = {"a": lambda: lambda: None, "b": none, "c": lambda: third}
    samples, errors = host._taking_turns(contenders, lambda _: 1, 4)
    assert set(samples) == {"a"} and len(samples["a"]) == 4
    assert errors == {"b": "ValueError: no such function", "c": "RuntimeError: out of memory"}


@interpreted
def test_a_tile_is_used_within_its_block():
    from refnet_triton.ops import matmul

    before = matmul.configuration
    with tuning.tile((16, 16, 16, 4, 1)):
        assert matmul.configuration(8, 8, 8, torch.float32) == (16, 16, 16, 4, 1)
    assert matmul.configuration is before
    (one,) = tuning.tuned((32, 32, 32))
    assert one["ratio"] > 0 and set(one["samples"]) == {"refnet", "cublas"}


@interpreted
def test_a_peer_that_fails_is_an_error_of_its_row(monkeypatch):
    monkeypatch.setitem(peers.EAGER, "relu", lambda x: 1 // 0)
    (spec, *_) = suite.specs(True, ["relu"])
    found = measure.measure(spec)
    assert found.errors == ["eager failed: ZeroDivisionError: integer division or modulo by zero"]
    assert set(found.samples) == {"refnet"}
    assert measure.compared(spec).errors == found.errors


@interpreted
def test_what_is_compared_only_is_not_timed():
    (spec, *_) = suite.specs(True, ["matmul"])
    found = measure.compared(spec)
    assert found.samples == {} and found.difference < 1e-5
    found.difference = 0.5
    assert "is 0.5 away from PyTorch's" in results.remarks([found])[0]
