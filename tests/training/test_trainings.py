"""Some of the trainings of `python -m tests.trainings`, which compares whole ones with PyTorch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from tests.trainings.__main__ import BOUND
from tests.trainings.compare import compare
from tests.trainings.recipe import draw


@pytest.mark.parametrize("seed", range(1000, 1040))
def test_a_training_is_that_of_pytorch(seed):
    found = compare(seed)
    assert found.size <= BOUND, f"{found.where}: {draw(seed)}"


def test_a_recipe_is_that_of_its_seed():
    assert str(draw(3)) == str(draw(3)) != str(draw(4))


def test_the_seeds_of_the_tests_cover_what_can_be_drawn():
    text = " ".join(str(draw(seed)) for seed in range(1000, 1040))
    for what in ("rate", "backend", "weights", "other learns", "other predicts", "freeze", "unfreeze",
                 "dropout", "l2", "bool", "uint8", "int64", "class_weight", "sample_weight"):  # fmt: skip
        assert what in text, what
