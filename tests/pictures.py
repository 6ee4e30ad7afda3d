"""Looking at pictures: whether something is drawn, and in which colours."""

import numpy as np


def pixels(path, least=(300, 300)):
    """The picture as an array (height, width, 4), after a look at whether something is drawn in it."""
    from matplotlib.image import imread

    assert path.suffix == ".png"
    assert path.stat().st_size > 4000
    image = imread(path)
    assert image.shape[0] >= least[0]
    assert image.shape[1] >= least[1]
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 20
    return image


def contains(image, colour):
    wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return bool((np.abs(image[..., :3] - wanted) < 0.01).all(-1).any())
