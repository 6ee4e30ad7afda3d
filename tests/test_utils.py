"""Labels as rows: one-hot for one class each, multi-hot for several."""

import re

import numpy as np
import pytest

from refnet import config
from refnet.errors import ArgumentError, DataError, UnknownNameError
from refnet.utils import multi_hot, to_categorical

COURSE = [["A", "B"], ["A"], ["C", "B"], ["B"]]
COURSE_ROWS = [[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 1, 0]]


def test_the_courses_table():
    rows = multi_hot(COURSE, classes=["A", "B", "C"])
    assert rows.tolist() == COURSE_ROWS
    assert rows.dtype == "float32"
    assert multi_hot(COURSE, classes="CBA").tolist() == [row[::-1] for row in COURSE_ROWS]
    numbers = [["ABC".index(name) for name in names] for names in COURSE]
    assert multi_hot(numbers).tolist() == COURSE_ROWS


def test_one_hot_rows_of_numbers_and_names():
    assert to_categorical([2, 0]).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert to_categorical(np.array([1], "uint8"), 4).tolist() == [[0, 1, 0, 0]]
    assert to_categorical(["dog", "cat"], classes=["cat", "dog"]).tolist() == [[0, 1], [1, 0]]
    assert to_categorical([7, 5], classes=[5, 7]).tolist() == [[0, 1], [1, 0]]  # 5 and 7 are names
    assert to_categorical([True, False]).tolist() == [[0, 1], [1, 0]]


def test_shapes_are_those_of_keras():
    assert to_categorical(np.zeros((4, 5), int), 3).shape == (4, 5, 3)
    assert to_categorical(np.zeros((4, 1), int), 3).shape == (4, 3)
    assert to_categorical([], 3).shape == (0, 3)
    assert to_categorical(2, 3).tolist() == [0, 0, 1]


def test_multi_hot_takes_any_collections():
    assert multi_hot([{2, 0}, (), [1, 1]], 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert multi_hot(iter([iter([1])])).tolist() == [[0, 1]]
    assert multi_hot([], 3).shape == (0, 3)
    assert multi_hot([[]]).shape == (1, 0)


def test_multi_hot_of_single_labels_is_one_hot():
    labels = np.random.default_rng(0).integers(0, 6, 50)
    assert np.array_equal(multi_hot(labels[:, None], 6), to_categorical(labels, 6))


def test_rows_are_of_the_default_float_type():
    before = config.floatx()
    config.set_floatx("float64")
    try:
        assert to_categorical([0]).dtype == multi_hot([[0]]).dtype == "float64"
    finally:
        config.set_floatx(before)


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        ([0, 3], {"num_classes": 3}, DataError, "labels are 0 to 2, got 0 to 3"),
        ([0, -1], {}, DataError, "got -1 to 0"),
        ([0, 1], {"num_classes": 0}, DataError, "got 0 to 1"),
        ([0.5], {}, DataError, "integers, got float64"),
        (["a"], {}, DataError, "names (a) need classes=[...]"),
        (["bule"], {"classes": ["red", "blue"]}, UnknownNameError, "did you mean 'blue'?"),
        (["a"], {"classes": ["a", "b", "a"]}, ArgumentError, "names one twice"),
        (["a"], {"classes": ["a"], "num_classes": 2}, ArgumentError, "num_classes is 2"),
    ],
)
def test_labels_that_fit_no_column(labels, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        to_categorical(labels, **options)
    with pytest.raises(error, match=re.escape(message)):
        multi_hot([[label] for label in labels], **options)


@pytest.mark.parametrize(
    ("label_sets", "got"), [([0, 1], "got 0 for example 0"), ([["A"], "A,B"], "got 'A,B'")]
)
def test_multi_hot_needs_collections(label_sets, got):
    with pytest.raises(DataError, match=f"{got}.*use to_categorical"):
        multi_hot(label_sets, classes=["A", "B"])


def test_ragged_labels_belong_into_multi_hot():
    with pytest.raises(DataError, match="use multi_hot"):
        to_categorical([[0, 1], [0]])
