"""How much time is left: until an end that was set, or until whoever started it says stop."""

from __future__ import annotations

import time


class Clock:
    """A time limit. A `part` of it ends at its own end, and no later than the whole.

    >>> whole = Clock(60.0)
    >>> part = whole.part(10.0)
    >>> 9.0 < part.left() <= 10.0
    True
    >>> whole.stop()
    >>> part.left()
    0.0
    """

    def __init__(self, seconds: float, whole: Clock | None = None) -> None:
        self.end = time.monotonic() + seconds
        self.whole = whole
        self.stopped = False

    def part(self, seconds: float) -> Clock:
        """A limit of so many seconds from now within this one."""
        return Clock(seconds, self)

    def stop(self) -> None:
        """The time is up now."""
        self.stopped = True

    def left(self) -> float:
        """Seconds; 0 when the time is up."""
        if self.stopped:
            return 0.0
        left = max(0.0, self.end - time.monotonic())
        return min(left, self.whole.left()) if self.whole else left
