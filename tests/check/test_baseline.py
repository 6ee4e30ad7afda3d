"""`refnet check --against`: what is another than it was, what is not, and files that are no check."""

import copy
import json

import numpy as np
import pytest

from refnet import report
from refnet.backend import NumPyBackend, registry
from refnet.check.baseline import changes, lines
from refnet.check.ops import check
from refnet.errors import FileError

OPS = ["sigmoid", "softmax", "relu"]


@pytest.fixture(scope="module")
def earlier():
    """A check of three ops in float32 and float64, as JSON."""
    return report.as_json(check(OPS, backends=["numpy"], seed=5))


@pytest.fixture
def other(earlier):
    """other(3, ratio=0.5) -> the same check, but row 3 is another in that."""

    def make(number, **values):
        found = copy.deepcopy(earlier)
        found["rows"][number] |= values
        return found

    return make


def named(found):
    return [(one["op"], one["dtype"]) for one in found["rows"]]


def test_nothing_changed(earlier):
    found = changes(earlier, earlier)
    assert (found["rows"], found["compared"], found["same_inputs"]) == ([], 6, True)
    assert (found["only_now"], found["only_before"]) == (0, 0)
    assert "Both drew their inputs from seed 5" in "\n".join(lines(found, 5))


@pytest.mark.parametrize(("times", "listed"), [(1.9, 0), (2.1, 1), (1 / 1.9, 0), (1 / 2.1, 1)])
def test_a_factor_of_two_either_way(earlier, other, times, listed):
    ratio = earlier["rows"][0]["ratio"]
    found = changes(other(0, ratio=times * ratio), earlier)
    assert named(found) == [("sigmoid", "float32")] * listed
    for one in found["rows"]:
        assert one["factor"] == pytest.approx(max(times, 1 / times))
        assert (one["before"]["ratio"], one["now"]["ratio"]) == (ratio, times * ratio)
        assert one["before"]["where"] == earlier["rows"][0]["where"]


def test_the_worst_is_first_and_infinity_is_text(earlier):
    now, before = copy.deepcopy(earlier), copy.deepcopy(earlier)
    pairs = [(0.1, 0.5), (0.4, 0.1), (0.3, "inf"), (0.0, 0.2), ("inf", "inf"), (0.0, 0.0)]
    for one, was, (old, new) in zip(now["rows"], before["rows"], pairs, strict=True):
        was["ratio"], one["ratio"] = old, new
    found = changes(now, before)
    assert [one["factor"] for one in found["rows"]] == [np.inf, np.inf, pytest.approx(5), 4.0]
    assert [one["now"]["ratio"] for one in found["rows"]] == ["inf", 0.2, 0.5, 0.1]
    text = list(lines(found, 5, most=3))
    assert text[3].split() == ["inf", "x", *f"{found['rows'][0]['op']} on numpy in float32".split()]
    assert text[5].lstrip().startswith("now    inf (error ")
    assert text[-1].strip() == "and 1 more"


def test_rows_that_only_one_has(earlier, other):
    assert changes(other(0, backend="triton"), earlier)["only_now"] == 1
    fewer = {**earlier, "rows": earlier["rows"][:2]}
    found = changes(fewer, earlier)
    assert (found["compared"], found["only_now"], found["only_before"]) == (2, 0, 4)
    assert "only this check has 0 rows, only the earlier one 4" in "\n".join(lines(found, 5))


@pytest.mark.parametrize("status", ["error", "missing"])
def test_what_was_not_computed_is_not_compared(earlier, other, status):
    found = changes(other(0, status=status, ratio=0.0), earlier)
    assert (found["rows"], found["compared"], found["only_before"]) == ([], 5, 1)


def test_what_fails_is_compared(earlier, other):
    assert named(changes(other(0, status="fail", ratio=7.0), earlier)) == [("sigmoid", "float32")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"seed": 6}, "OTHER INPUTS: the seed was 6 and is 5"),
        ({"quick": True}, "OTHER INPUTS: one of the two was quick"),
    ],
)
def test_other_inputs_are_said(earlier, values, said):
    found = changes(earlier, {**earlier, **values})
    assert not found["same_inputs"]
    assert said in "\n".join(lines(found, 5))


def test_a_page_of_a_check_that_found_no_time(earlier):
    nothing = check(OPS, backends=["numpy"], seed=5)
    nothing.rows.clear()
    page = report.as_html(nothing, earlier)
    assert "Nothing was compared" in page and "only the earlier one 6" in page


# -- the command -----------------------------------------------------------------------------------


class Coarse(NumPyBackend):
    """NumPy, with a sigmoid that loses some digits."""

    name, dtypes = "coarse", ("float32",)
    array_type = type("Nothing", (), {})
    loss = 0.0

    def function(self, op):
        scale = np.float32(1 + self.loss * (op.name == "sigmoid"))
        return lambda *xs, **given: op.function(*xs, **given) * scale


@pytest.fixture
def coarse(monkeypatch):
    monkeypatch.setattr(registry, "_targets", dict(registry._targets))
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
    registry.register("coarse", Coarse)
    return lambda loss: monkeypatch.setattr(Coarse, "loss", loss)


def test_the_command(refnet_check, coarse, tmp_path):
    before, now, page = (tmp_path / name for name in ("before.json", "now.json", "now.html"))
    arguments = "--op", "sigmoid", "relu", "--backend", "coarse", "--json"
    assert refnet_check(*arguments, before, "--seed", 1)[0] == 0
    coarse(1e-3)
    code, out, _ = refnet_check(*arguments, now, "--html", page, "--seed", 2, "--against", before)
    assert code == 1
    assert "OTHER INPUTS: the seed was 1 and is 2" in out
    assert "1 of 2 rows differ by more than a factor 2" in out
    assert " x  sigmoid on coarse in float32" in out
    found = json.loads(now.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert named(found["changes"]) == [("sigmoid", "float32")]
    assert found["changes"]["rows"][0]["now"]["ratio"] == found["rows"][0]["ratio"] > 100
    assert found["changes"]["earlier"]["seed"] == 1
    assert (
        "sigmoid on coarse in float32"
        in page.read_text(encoding="utf-8").partition("OTHER INPUTS")[2]
    )
    coarse(0.0)
    code, out, _ = refnet_check(*arguments, tmp_path / "x.json", "--seed", 1, "--against", before)
    assert code == 0
    assert "Both drew their inputs from seed 1" in out and "0 of 2 rows differ" in out


def test_a_file_is_read_as_it_was_written(earlier, tmp_path):
    path = report.write_json(check(OPS, backends=["numpy"], seed=5), tmp_path / "a.json")
    again = report.read_json(path)
    assert changes(again, earlier)["rows"] == []
    assert "changes" not in again
    assert changes(again, earlier)["compared"] == 6


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda found: found.pop("schema"), "is no report of a check"),
        (lambda found: found.update(schema=99), "another version of refnet: its schema is 99"),
        (lambda found: found.pop("rows"), "is no report of a check"),
        (lambda found: found.update(seed="5"), "is no report of a check"),
        (lambda found: found["rows"].append(3), "row 6 is damaged"),
        (lambda found: found["rows"][1].pop("bound"), "row 1 is damaged"),
        (lambda found: found["rows"][1].update(ratio="nan"), "row 1 is damaged"),
        (lambda found: found["rows"][1].update(ratio="much"), "row 1 is damaged"),
        (lambda found: found["rows"][1].update(op=None), "row 1 is damaged"),
        (lambda found: found["rows"][0]["where"].pop("case"), "row 0 is damaged"),
        (lambda found: found["rows"][0].update(where="here"), "row 0 is damaged"),
    ],
)
def test_another_form_is_refused(earlier, tmp_path, damage, said):
    found = copy.deepcopy(earlier)
    damage(found)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(FileError, match=said) as error:
        report.read_json(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b'{"rows": [', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_refused(refnet_check, tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    code, out, err = refnet_check("--against", path)
    assert (code, out) == (2, "")
    assert err.startswith(f"refnet check: {path} is no JSON, or damaged: ")


def test_a_list_a_folder_and_nothing(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[1]")
    for place, said in [
        (path, "no report of"),
        (tmp_path, "cannot read"),
        (path / "b", "cannot read"),
    ]:
        with pytest.raises(FileError, match=said):
            report.read_json(place)
