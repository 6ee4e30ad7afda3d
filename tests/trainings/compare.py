"""One recipe both ways."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np

from refnet import config
from refnet.errors import RefnetError

from . import ours, theirs
from .recipe import draw


class Difference(NamedTuple):
    """The largest |ours - theirs| / max(1, |theirs|) of a training, and what it is of."""

    seed: int
    size: float
    where: str


def compare(seed: int) -> Difference:
    """Follow the recipe of a seed in refnet and in PyTorch."""
    recipe, floatx = draw(seed), config.floatx()
    config.set_floatx("float64")
    try:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            start, found = ours.run(recipe)
            wanted = theirs.run(recipe, start)
    except RefnetError as error:
        return Difference(seed, math.inf, f"{type(error).__name__}: {error}")
    finally:
        config.set_floatx(floatx)
    assert found.keys() == wanted.keys()
    sizes = {name: _difference(found[name], wanted[name]) for name in wanted}
    where = max(sizes, key=lambda name: sizes[name])
    return Difference(seed, sizes[where], where)


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        return math.inf
    with np.errstate(all="ignore"):
        off = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    off = np.where((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)), 0.0, off)
    return float(np.max(np.where(np.isnan(off), math.inf, off), initial=0.0))
