"""What an op is: a row of TABLE, the shapes and types that come out of it, the inputs it refuses."""

from refnet.op.columns import Bound, Case, Cases, Kink
from refnet.op.row import TABLE, Op, Table, op

__all__ = ["TABLE", "Bound", "Case", "Cases", "Kink", "Op", "Table", "op"]
