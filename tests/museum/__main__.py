"""``python -m tests.museum`` writes docs/museum.md."""

from .page import PAGE, write

write()
print(f"wrote {PAGE}")
