"""All of refnet compared between backends: every op, a program of yours, whole trainings."""

from refnet.check.ops import check
from refnet.check.result import Report
from refnet.check.shadow import shadow

__all__ = ["Report", "check", "shadow"]
