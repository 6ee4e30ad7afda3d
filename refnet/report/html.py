"""A check as one HTML file, with pictures, for people.

It needs no network and no other file, follows the light or dark mode of the reader, and leaves out the
pictures, and says so, where matplotlib is missing.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from refnet.base.files import replace_file
from refnet.check import baseline as changes
from refnet.check.result import ERROR, FAIL, MISSING, PASS, Failure, Report, Row, by_file, verdict
from refnet.errors import MissingPackageError
from refnet.op import TABLE
from refnet.plot.check import activation_errors, failure_maps, product_errors
from refnet.report.json import as_json

MAPS = 12  # failing results drawn at most
LISTED = 5  # failing cases of a row that are written out


# -- HTML ------------------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>refnet check: {verdict}</title>
<style>
:root {{ color-scheme: light dark; --back: #fff; --text: #1c2126; --quiet: #5c6670; --line: #dde2e7;
  --panel: #f5f7f9; --good: #00724f; --bad: #b83a00; --bar: #9cc9e5; --warn: #8a5a00 }}
@media (prefers-color-scheme: dark) {{ :root {{ --back: #14181c; --text: #e4e8ec; --quiet: #98a3ad;
  --line: #2e363d; --panel: #1c2228; --good: #4fd3a4; --bad: #ff8a5c; --bar: #1f5273; --warn: #e8b04a }}
  img {{ filter: invert(0.91) hue-rotate(180deg) }} }}
body {{ margin: 0 auto; padding: 24px; max-width: 1320px; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif }}
h1 {{ font-size: 24px; margin: 0 0 4px }} h2 {{ font-size: 18px; margin: 32px 0 8px }}
.pass {{ color: var(--good) }} .fail, .error {{ color: var(--bad) }} .missing {{ color: var(--warn) }}
.quiet {{ color: var(--quiet) }}
code, pre, td.number {{ font-family: ui-monospace, monospace; font-size: 13px }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: 4px 0 }}
.panel {{ background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px;
  margin: 10px 0 }}
.panel.wrong {{ border-left: 4px solid var(--bad) }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0 }}
dt {{ color: var(--quiet) }} dd {{ margin: 0; overflow-wrap: anywhere }}
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid var(--line);
  vertical-align: top }}
th {{ font-weight: 600; white-space: nowrap; background: var(--back); position: sticky; top: 0 }}
#rows {{ font-size: 13px }} #rows td.number {{ font-size: 12px }} #rows th {{ cursor: pointer }}
#rows td:nth-child(10) {{ min-width: 13em; overflow-wrap: anywhere }}
.number {{ text-align: right; white-space: nowrap }}
td.bar {{ background: linear-gradient(var(--bar), var(--bar)) no-repeat left bottom / 0 4px }}
input, select {{ font: inherit; padding: 4px 8px; color: inherit; background: var(--panel);
  border: 1px solid var(--line); border-radius: 6px }}
input {{ width: 22em }}
img {{ max-width: 100%; border-radius: 6px }}
summary {{ cursor: pointer; padding: 4px 0 }}
</style>
</head>
<body>
{body}
<script>
{{
const table = document.querySelector("#rows tbody"), rows = [...table.children];
const words = document.getElementById("words"), kind = document.getElementById("kind");
function filter() {{
  const wanted = words.value.toLowerCase().split(" ").filter(Boolean);
  for (const row of rows) {{
    const text = row.textContent.toLowerCase();
    const fits = !kind.value || row.dataset.status === kind.value;
    row.hidden = !(fits && wanted.every(word => text.includes(word)));
  }}
  const shown = rows.filter(row => !row.hidden).length;
  document.getElementById("count").textContent = shown + " of " + rows.length + " rows";
}}
words.oninput = kind.onchange = filter;
document.querySelectorAll("#rows th").forEach((head, column) => head.onclick = () => {{
  const key = row => row.children[column].dataset.sort ?? row.children[column].textContent;
  const numeric = rows.every(row => !isNaN(key(row)));
  rows.sort((a, b) => numeric ? key(b) - key(a) : key(a).localeCompare(key(b)));
  table.append(...rows);
}});
filter();
}}
</script>
</body>
</html>
"""


def as_html(report: Report, before: dict[str, Any] | None = None) -> str:
    """The report as one page; what changed since an earlier check, if one is given."""
    body = [
        *_heading(report),
        *_machine(report),
        *_failures(report),
        *_summaries(report),
        *_files(report),
        *_changes(report, before),
        *_pictures(report),
        *_table(report),
    ]
    return PAGE.format(verdict=escape(verdict(report)), body="\n".join(body))


def write_html(report: Report, path: str | Path, before: dict[str, Any] | None = None) -> Path:
    """Write `as_html` to a file, whole or not at all."""
    replace_file(Path(path), as_html(report, before).encode())
    return Path(path)


def _heading(report: Report) -> Iterator[str]:
    kind = PASS if report.ok() else FAIL
    yield f'<h1 class="{kind}">{escape(verdict(report))}</h1>'
    cases, numbers = (sum(getattr(r, name) for r in report.rows) for name in ("cases", "numbers"))
    how = "quick: few cases, each run once" if report.quick else "each case run twice"
    poisoned = f" New memory of {', '.join(report.poisoned)} held NaN." if report.poisoned else ""
    yield (
        f'<p class="quiet">{numbers:,} numbers in {cases:,} cases were compared with the reference in '
        f"float64, on inputs drawn anew ({how}), and the inputs with what they were before."
        f"{escape(poisoned)}</p>"
    )


def _machine(report: Report) -> Iterator[str]:
    facts: dict[str, Any] = {"seed": report.seed, "again": report.command}
    facts |= {name: value for name, value in report.machine.items() if value != ""}
    facts |= {f"backend {name}": line for name, line in report.backends.items()}
    facts |= {f"not checked: {what}": why for what, why in report.not_checked.items()}
    facts["took"] = f"{report.seconds:.1f} s"
    entries = "".join(
        f"<dt>{escape(k)}</dt><dd>{escape(str(value))}</dd>" for k, value in facts.items()
    )
    yield f'<div class="panel"><dl>{entries}</dl></div>'


def _failures(report: Report) -> Iterator[str]:
    if report.failed:
        yield "<h2>What is wrong</h2>"
    for row in report.failed:
        title = f"{row.op} on {row.backend} in {row.dtype}"
        lines = [f'<b class="{row.status}">{escape(title)}</b>']
        for one in row.failures[:LISTED]:
            what = f"{one.case}: {one.complaint}" if one.case else one.complaint
            lines.append(f"<pre>{escape(what)}\n{escape(row.replay(report.seed, one.case))}</pre>")
        more = len(row.failures) - LISTED
        if more > 0:
            every = escape(row.replay(report.seed))
            lines.append(f'<pre class="quiet">and {more} more cases: {every}</pre>')
        yield f'<div class="panel wrong">{"".join(lines)}</div>'
    if report.missing:
        yield "<h2>What is missing</h2>"
        for pair in dict.fromkeys((row.backend, row.dtype) for row in report.missing):
            names = [row.op for row in report.missing if (row.backend, row.dtype) == pair]
            yield f"<p><b>{escape(' '.join(pair))}</b> lacks {escape(', '.join(names))}</p>"


def _summaries(report: Report) -> Iterator[str]:
    yield "<h2>Backends and types</h2>"
    header = ["backend", "type", "ops", "cases", "numbers", "passed", "failed", "errors", "missing"]
    header += ["largest error / bound", "where", "seconds"]
    rows = []
    for one in report.summaries():
        counts = (one.ops, one.cases, f"{one.numbers:,}", one.passed, one.failed, one.errors)
        cells = [f"<td>{escape(text)}</td>" for text in (one.backend, one.dtype)]
        cells += [f'<td class="number">{n}</td>' for n in (*counts, one.missing)]
        note = " (the reference itself)" if one.itself else ""
        cells += [f'<td class="number">{one.ratio:.2f}</td>', f"<td>{escape(one.at + note)}</td>"]
        rows.append("".join([*cells, f'<td class="number">{one.seconds:.1f}</td>']))
    yield _html_table(header, [f"<tr>{row}</tr>" for row in rows], "summaries")


def _files(report: Report) -> Iterator[str]:
    header, rows = by_file(report)
    yield "<h2>Largest error of each op file, in units of its bound</h2>"
    shown = []
    for file, *cells in rows:
        tds = [
            f'<td class="number {"" if _is_number(c) else FAIL}">{escape(c)}</td>' for c in cells
        ]
        shown.append(f"<tr><td>{escape(file)}</td>{''.join(tds)}</tr>")
    yield _html_table(header, shown, "files")


def _changes(report: Report, before: dict[str, Any] | None) -> Iterator[str]:
    if before is not None:
        yield "<h2>What changed since an earlier check</h2>"
        text = "\n".join(changes.lines(as_json(report, before)["changes"], report.seed))
        yield f'<pre class="panel">{escape(text)}</pre>'


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).isdigit()


def _html_table(header: list[str], rows: list[str], name: str) -> str:
    """A table; a column is headed as the cells of its first row are aligned."""
    first = rows[0] if rows else "<td>" * len(header)
    numeric = ['class="number' in cell for cell in first.split("<td")[1:]]
    heads = "".join(
        f'<th class="{"number" if right else ""}">{escape(text)}</th>'
        for text, right in zip(header, numeric, strict=True)
    )
    return (
        f'<div class="wide"><table id="{name}"><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{chr(10).join(rows)}</tbody></table></div>"
    )


def _table(report: Report) -> Iterator[str]:
    yield "<h2>Every op</h2>"
    options = "".join(f"<option>{kind}</option>" for kind in (PASS, FAIL, ERROR, MISSING))
    yield (
        '<p><input id="words" placeholder="filter: softmax triton bfloat16"> '
        f'<select id="kind"><option value="">every status</option>{options}</select> '
        '<span class="quiet"><span id="count"></span>. A click on a heading sorts.</span></p>'
    )
    header = ["status", "op", "file", "backend", "type", "cases", "error", "bound"]
    header += ["error / bound", "where", "got", "expected", "seconds"]
    rows = [_table_row(row) for row in report.rows]
    yield _html_table(header, rows, "rows")


def _table_row(row: Row) -> str:
    worst = row.worst
    cells = [f'<td class="{row.status}">{row.status}</td>']
    cells += [f"<td>{escape(text)}</td>" for text in (row.op, row.file, row.backend, row.dtype)]
    cells.append(f'<td class="number">{row.cases}</td>')
    values = (worst.error, worst.bound) if worst else (0.0, 0.0)
    cells += [f'<td class="number" data-sort="{v!r}">{v:.3g}</td>' for v in values]
    width = 100 * min(row.ratio, 1.0)
    cells.append(
        f'<td class="number bar" style="background-size: {width:.0f}% 4px" '
        f'data-sort="{min(row.ratio, 1e300)!r}">{row.ratio:.3f}</td>'
    )
    cells.append(f"<td>{escape(row.where or row.message)}</td>")
    pair = (worst.got, worst.expected) if worst else (None, None)
    cells += [f'<td class="number">{_value(value)}</td>' for value in pair]
    cells.append(f'<td class="number">{row.seconds:.2f}</td>')
    return f'<tr data-status="{row.status}">{"".join(cells)}</tr>'


def _value(value: Any) -> str:
    """An element, short: all digits stand in the JSON and with what is wrong."""
    return "" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)


# -- pictures --------------------------------------------------------------------------------------


def _pictures(report: Report) -> Iterator[str]:
    yield "<h2>Pictures</h2>"
    try:
        pictures = [
            (title, draw) for title, draw in (*_maps(report), *_products(report), *_ranges(report))
        ]
        shown = [_picture(*one, opened=i < 2) for i, one in enumerate(pictures)]
    except MissingPackageError as error:
        yield f"<p>This report has no pictures: {escape(str(error))}</p>"
        return
    yield from shown or ["<p>There is nothing to draw for these ops.</p>"]


Draw = Callable[[Path], Path]


def _picture(title: str, draw: Draw, opened: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        content = base64.b64encode(draw(Path(folder) / "picture.png").read_bytes()).decode()
    return (
        f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>"
        f'<img alt="{escape(title)}" src="data:image/png;base64,{content}"></details>'
    )


def _maps(report: Report) -> Iterator[tuple[str, Draw]]:
    """Where the first failures of each row lie."""
    maps: dict[str, Failure] = {}
    for row in report.failed:
        for one in [f for f in row.failures if f.ratios is not None][:1]:
            maps[f"{row.op} {row.backend} {row.dtype}\n{one.case}: {one.output}"] = one
    if maps:
        shown = dict(list(maps.items())[:MAPS])
        more = f" (the first {MAPS} of {len(maps)})" if len(maps) > MAPS else ""
        yield f"Where the wrong elements lie{more}", lambda path: failure_maps(shown, path)


def _products(report: Report) -> Iterator[tuple[str, Draw]]:
    curves: dict[str, dict[str, Any]] = {}
    itself = {(one.backend, one.dtype) for one in report.summaries() if one.itself}
    for row in report.rows:
        product = row.curve is not None and not TABLE[row.op].activation
        if product and (row.backend, row.dtype) not in itself:
            curves.setdefault(row.op, {})[f"{row.backend} {row.dtype}"] = row.curve
    if curves:
        yield "Error against K, for products", lambda path: product_errors(curves, path)


def _ranges(report: Report) -> Iterator[tuple[str, Draw]]:
    for one in report.summaries():
        if one.itself:
            continue
        curves = {
            row.op: row.curve
            for row in report.rows
            if (row.backend, row.dtype) == (one.backend, one.dtype)
            and row.curve is not None
            and TABLE[row.op].activation
        }
        if curves:
            title = f"Error over x of each activation, {one.backend} {one.dtype}"

            def draw(path: Path, curves: Any = curves, title: str = title) -> Path:
                return activation_errors(curves, path, f"{title}: points; the line is the bound")

            yield title, draw
