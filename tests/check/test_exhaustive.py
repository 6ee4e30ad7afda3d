"""Every float32 there is: which numbers a part holds, what is kept, and what is found."""

import json

import numpy as np
import pytest

from refnet import backend as backends
from refnet.check import exhaustive
from refnet.errors import ArgumentError, FileError
from refnet.op import TABLE
from refnet.proof.bounds import ulp

NUMPY = backends.get("numpy")


@pytest.fixture
def short(monkeypatch):
    """Parts of 2¹⁶ numbers, as if there were 2²² of them."""
    monkeypatch.setattr(exhaustive, "NUMBERS", 1 << 22)
    monkeypatch.setattr(exhaustive, "BLOCK", 1 << 14)


def test_the_parts_are_all_numbers_and_each_once():
    bits = []
    for part in (1, 2, exhaustive.PARTS):
        blocks = [b.view(np.uint32) for b in exhaustive.numbers_of(part)]
        assert all(np.all(np.diff(b) == 1) for b in blocks)
        bits.append((int(blocks[0][0]), int(blocks[-1][-1])))
    size = (1 << 32) // exhaustive.PARTS
    assert bits == [(0, size - 1), (size, 2 * size - 1), ((1 << 32) - size, (1 << 32) - 1)]
    for part in (0, exhaustive.PARTS + 1):
        with pytest.raises(ArgumentError, match="a part is a number from 1 to 64"):
            next(exhaustive.numbers_of(part))


def test_what_is_found(short):
    found = exhaustive.exhaust(TABLE["tanh"], NUMPY, 1, {})
    assert (found.op, found.part, found.numbers, found.complaint) == ("tanh", 1, 1 << 16, "")
    assert found.ratio <= 1
    found = exhaustive.exhaust(TABLE["relu"], NUMPY, 3, {})
    assert (found.ratio, found.ulp) == (0.0, 0.0)


def test_what_is_wrong_is_named(short, monkeypatch):
    """One number among 65,536."""
    right = TABLE["relu"].function
    wrong = np.uint32(12_345).view(np.float32)

    class Off(type(NUMPY)):
        name = "off"

        def function(self, op):
            return lambda x: np.where(x == wrong, np.float32(1.0), right(x))

    found = exhaustive.exhaust(TABLE["relu"], Off(), 1, {})
    assert found.ratio == np.inf
    assert float(found.x) == wrong
    assert "y[12345] is 1.0" in found.complaint
    assert exhaustive.exhaust(TABLE["relu"], Off(), 2, {}).complaint == ""


def test_gradients_and_settings_are_tried_and_others_refused(short):
    assert exhaustive.settings(TABLE["leaky_relu"]).keys() == {"", "{'negative_slope': 0.3}"}
    assert exhaustive.exhaust(TABLE["tanh_vjp"], NUMPY, 2, {}).ratio <= 1
    assert not exhaustive.is_unary(TABLE["add"])
    with pytest.raises(ArgumentError, match="add is no function of one number"):
        exhaustive.exhaust(TABLE["add"], NUMPY, 1, {})


@pytest.mark.needs("rich")
def test_the_command_goes_on_where_it_was_stopped(refnet_, short, tmp_path, monkeypatch):
    path = tmp_path / "done.json"
    code, out, err = refnet_(
        "check", "--exhaustive", "--op", "exp", "--part", "2/64", "--json", path
    )
    assert (code, err) == (0, "")
    assert "part 2/64, 65,536 numbers, " in out
    monkeypatch.setattr(exhaustive, "PARTS", 4)
    code, out, _ = refnet_("check", "--exhaustive", "--op", "exp", "--json", path)
    assert code == 0
    assert [line.split("/")[0] for line in out.splitlines()[1:]] == [
        "  part 1",
        "  part 3",
        "  part 4",
    ]
    assert [row["part"] for row in json.loads(path.read_text())] == [2, 1, 3, 4]
    code, out, _ = refnet_("check", "--exhaustive", "--op", "exp", "--json", path)
    assert out == "exp on numpy\n"
    page = exhaustive.page(path)
    assert "| `exp` | numpy | " in page


@pytest.mark.needs("rich")
def test_the_command_says_what_is_out_of_its_bound(refnet_, monkeypatch):
    monkeypatch.setattr(
        exhaustive, "numbers_of", lambda part: [np.linspace(0.1, 3, 5000, dtype="f4")]
    )
    monkeypatch.setattr(TABLE["tanh"], "error", ulp(0.01))
    code, out, _ = refnet_("check", "--exhaustive", "--op", "tanh", "--part", "1/64")
    assert code == 1
    assert "the reference" in out and "bound" in out


@pytest.mark.needs("rich")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--exhaustive takes --op NAME"),
        (("--op", "add"), "add is no function of one number"),
        (("--op", "relu", "--part", "65/64"), "--part is one of 1/64 to 64/64, got 65/64"),
        (("--op", "relu", "--part", "3"), "--part is one of 1/64 to 64/64, got 3"),
    ],
)
def test_mistakes(refnet_, arguments, said):
    code, out, err = refnet_("check", "--exhaustive", *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_a_damaged_file_is_refused_and_stays(tmp_path):
    path = tmp_path / "done.json"
    assert exhaustive.read(path) == []
    for text in ("[{", '[{"op": "relu"}]', "3"):
        path.write_text(text)
        with pytest.raises(FileError, match="holds no parts of an exhaustive check"):
            exhaustive.read(path)
        assert path.read_text() == text
