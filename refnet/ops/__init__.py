"""The formulas: pure functions on NumPy arrays, each with its gradient right below it.

Importing this package fills `refnet.op.TABLE`; every op is also an attribute of it:

>>> import numpy as np
>>> from refnet import ops
>>> ops.softmax(np.array([1.8, 0.9, 0.68])).round(2)
array([0.58, 0.23, 0.19])
"""

from refnet.op import TABLE as TABLE  # the filled one
from refnet.ops import (
    activations,
    comparisons,
    elementwise,
    indexing,
    losses,
    matmul,
    optimizers,
    random,
    reductions,
    shape,
    softmax,
)

globals().update(TABLE)
