"""A check written down: as JSON for programs, as one HTML file with pictures for people."""

from refnet.report.html import as_html, write_html
from refnet.report.json import SCHEMA, as_json, read_json, row_as_json, write_json

__all__ = [
    "SCHEMA",
    "as_html",
    "as_json",
    "read_json",
    "row_as_json",
    "write_html",
    "write_json",
]
