"""The shipped data: what is in it, how it is split, and what happens when the file is damaged."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from refnet import datasets
from refnet.errors import ArgumentError, DataError, RefnetError

FOLDER = Path(datasets._FOLDER)


def test_load_gives_every_image_in_the_order_of_the_source():
    x, y = datasets.digits.load()
    assert (x.shape, x.dtype) == ((1797, 8, 8), np.float32)
    assert (y.shape, y.dtype) == ((1797,), np.int64)
    assert (x.min(), x.max()) == (0, 1)
    assert np.array_equal(x * 16, np.round(x * 16))
    # The first line of the UCI file.
    assert (x[0, 0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert y[:10].tolist() == list(range(10))
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def rows(x, y):
    """Every example as one comparable value, sorted."""
    return sorted((int(label), image.tobytes()) for image, label in zip(x, y, strict=True))


@pytest.mark.parametrize(
    ("test_split", "n_test"), [(0.2, 359), (0.5, 898), (1 / 1797, 1), (1796 / 1797, 1796)]
)
def test_split_keeps_every_example_once_and_with_its_label(test_split, n_test):
    (x_train, y_train), (x_test, y_test) = datasets.digits.load_data(test_split=test_split)
    assert len(x_test) == len(y_test) == n_test
    assert len(x_train) == len(y_train) == 1797 - n_test
    assert x_train.dtype == x_test.dtype == np.float32
    assert y_train.dtype == y_test.dtype == np.int64
    both = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    assert rows(*both) == rows(*datasets.digits.load())


def test_the_default_split_has_every_digit_in_both_parts():
    (_, y_train), (_, y_test) = datasets.digits.load_data()
    assert len(y_test) == 359
    assert set(y_train) == set(y_test) == set(range(10))


def test_the_seed_decides_the_split():
    (first, _), _ = datasets.digits.load_data(seed=3)
    (again, _), _ = datasets.digits.load_data(seed=np.int64(3))
    (other, _), _ = datasets.digits.load_data(seed=4)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_callers_get_arrays_of_their_own():
    x, y = datasets.digits.load()
    x[:], y[:] = -1, -1
    x, y = datasets.digits.load()
    assert x.min() == 0
    assert y.min() == 0


@pytest.mark.parametrize(
    "test_split", [0, 1, -0.2, 1.5, 1e-9, float("nan"), float("inf"), True, "many", None, [0.2]]
)
def test_a_split_that_leaves_a_part_empty_is_refused(test_split):
    message = re.escape(f"got {test_split!r}")
    with pytest.raises(ArgumentError, match=message) as caught:
        datasets.digits.load_data(test_split=test_split)
    assert isinstance(caught.value, RefnetError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("seed", [-1, 1.0, True, None, "0"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(ArgumentError, match=re.escape(f"0 or larger, got {seed!r}")):
        datasets.digits.load_data(seed=seed)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: b"", lambda raw: raw + b"0"])
def test_a_damaged_file_is_refused(damage, tmp_path, monkeypatch):
    path = tmp_path / datasets.digits.file
    path.write_bytes(damage((FOLDER / datasets.digits.file).read_bytes()))
    monkeypatch.setattr(datasets, "_FOLDER", str(tmp_path))
    with pytest.raises(DataError, match="is damaged: its sha256 is"):
        datasets.digits.load()


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_FOLDER", str(tmp_path))
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "digits.csv.gz"))):
        datasets.digits.load_data()


def test_the_notice_beside_the_data_names_source_licence_and_checksum():
    notice = (FOLDER / "README.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((FOLDER / "digits.csv.gz").read_bytes()).hexdigest()
    for fact in ("10.24432/C50P49", "CC BY 4.0", "Alpaydin", "Kaynak", digest):
        assert fact in notice
