"""Data sets to learn from, used as Keras' are.

>>> from refnet import datasets
>>> (x_train, y_train), (x_test, y_test) = datasets.digits.load_data()
>>> x_train.shape, x_test.shape
((1438, 8, 8), (359, 8, 8))

Sources and licences: refnet/data/README.md.
"""

from __future__ import annotations

import os
from operator import index
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from refnet.errors import ArgumentError, DataError

__all__ = ["Digits", "digits"]

Images: TypeAlias = NDArray[np.float32]  # (n, 8, 8)
Labels: TypeAlias = NDArray[np.int64]  # (n,)

_FOLDER = os.path.join(os.path.dirname(__file__), "data")


class Digits:
    """Handwritten digits: 1797 images of 8 x 8 pixels, 0 (paper) to 1 (ink), and the digit shown.

    Notes
    -----
    A pixel is n/16, n being how many of the 4 x 4 points it stands for are set. All sixteenths are
    exact in float32.

    References
    ----------
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (test set), UCI Machine
    Learning Repository, 1998. https://doi.org/10.24432/C50P49. CC BY 4.0.
    """

    file = "digits.csv.gz"
    sha256 = "02633070f0eba52475fb2cfaedcf256826aa2b6c462429e2e6d0826619fc55c9"

    def load(self) -> tuple[Images, Labels]:
        """All images and their labels, in the order of the source.

        Returns
        -------
        x : float32 array, shape (1797, 8, 8)
            Pixels in [0, 1].
        y : int64 array, shape (1797,)
            The digit shown, 0 to 9.

        Raises
        ------
        DataError
            If the file is missing, or is not the one refnet was shipped with.

        Examples
        --------
        >>> x, y = digits.load()
        >>> y[:10]
        array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        """
        table = _read_csv(self.file, self.sha256)  # (1797, 65)
        pixels, label = table[:, :-1], table[:, -1]
        x = pixels.reshape(-1, 8, 8).astype(np.float32) / np.float32(16)
        return x, label.astype(np.int64)

    def load_data(
        self, test_split: float = 0.2, seed: int = 0
    ) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
        """Shuffle the images, and set some aside for testing.

        Parameters
        ----------
        test_split : float
            The share of images to set aside, 0 < test_split < 1.
        seed : int
            Which shuffle: the same seed gives the same split.

        Returns
        -------
        (x_train, y_train), (x_test, y_test)
            As from `load`; round(1797 · test_split) images are in the test part.

        Raises
        ------
        ArgumentError
            If test_split leaves one of the two parts empty, or seed is not a whole number >= 0.
        DataError
            As `load`.

        Examples
        --------
        >>> (x_train, y_train), (x_test, y_test) = digits.load_data(test_split=0.5, seed=1)
        >>> len(x_train), len(x_test)
        (899, 898)
        """
        return _split(*self.load(), test_split, seed)


digits = Digits()


def _read_csv(file: str, sha256: str) -> NDArray[np.uint8]:
    """The whole numbers in a shipped, compressed CSV file, once its checksum is found right."""
    import gzip  # here, not above: `import refnet` need not wait for them
    import hashlib

    path = os.path.join(_FOLDER, file)
    try:
        with open(path, "rb") as stream:
            raw = stream.read()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): reinstall refnet") from error
    got = hashlib.sha256(raw).hexdigest()
    if got != sha256:
        raise DataError(f"{path} is damaged: its sha256 is {got}, expected {sha256}")
    lines = gzip.decompress(raw).decode("ascii").splitlines()
    return np.loadtxt(lines, dtype=np.uint8, delimiter=",", ndmin=2)


def _split(
    x: Images, y: Labels, test_split: float, seed: int
) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
    """Shuffle x and y alike; the first round(n · test_split) of them are the test part."""
    n = len(x)
    try:
        n_test = round(n * float(test_split))
    except (TypeError, ValueError, OverflowError):  # text; NaN; infinity
        n_test = 0
    if isinstance(test_split, bool) or not 0 < n_test < n:
        raise ArgumentError(
            f"test_split is a share between 0 and 1 that leaves both parts at least one of the "
            f"{n} examples, got {test_split!r}"
        )
    try:
        seed_ok = not isinstance(seed, bool) and index(seed) >= 0
    except TypeError:
        seed_ok = False
    if not seed_ok:
        raise ArgumentError(f"seed is a whole number, 0 or larger, got {seed!r}")

    order = np.random.default_rng(seed).permutation(n)
    test, train = order[:n_test], order[n_test:]
    return (x[train], y[train]), (x[test], y[test])
