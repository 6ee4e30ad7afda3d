"""The bug museum: mistakes people really make, planted on purpose, each caught by a named test.

A `Piece` is one mistake: the line as it is, the line as it would be wrong, how one comes to write it, and
the test that notices. `harness` plants one in a copy of the packages and runs that test there; `page`
writes docs/museum.md. `make docs` writes the page anew.
"""

from . import gradients, kernels, machinery, precision, training
from .piece import Piece

#: the halls, in the order in which one walks through them
HALLS = (precision, gradients, training, machinery, kernels)
PIECES: tuple[Piece, ...] = tuple(piece for hall in HALLS for piece in hall.PIECES)

__all__ = ["HALLS", "PIECES", "Piece"]
