"""What a compiler made of a kernel, as text: each instruction beside the line of Triton it comes from.

Loads and stores are inline assembly to the compiler. That of Triton 3.9 counts on within it, so that in
SASS a load may seem to stand a few lines below its own. In PTX one sees where such a piece begins and
ends, and this is put right.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from refnet.errors import ArgumentError

#: the stages of a compilation; "sass" is what NVIDIA's disassembler makes of the machine code
LISTINGS = ("ttir", "ttgir", "llir", "ptx", "sass", "amdgcn")
HERE = Path(__file__).resolve().parent


class Line(NamedTuple):
    """A line of a listing; the line of source it comes from: "softmax.py:66" and its text."""

    text: str
    place: str
    source: str


def listed(compiled: Any, stage: str, code: str) -> list[Line]:
    """One stage of a compiled kernel; `code` is what `compilation.machine_code` says of it."""
    if stage == "sass" and "cubin" in compiled.asm:
        if not code:
            raise ArgumentError("no SASS: nvdisasm, which comes with Triton's wheel, is missing")
        return list(_sass(code))
    if stage not in compiled.asm:
        known = [name for name in LISTINGS if name in compiled.asm]
        known += ["sass"] if "cubin" in compiled.asm else []
        raise ArgumentError(f"this target has no {stage}; it has {', '.join(known)}")
    text = compiled.asm[stage]
    if stage in ("ptx", "amdgcn"):
        return list(_assembly(text))
    return [Line(line, "", "") for line in text.splitlines()]


def _line(text: str, path: str, number: int) -> Line:
    return Line(text, f"{Path(path).name}:{number}", linecache.getline(path, number).strip())


def _sass(code: str) -> Iterator[Line]:
    """Instructions and labels, without the tables around them."""
    path, number = "", 0
    for text in code.splitlines():
        at = re.search(r'//## File "(.*?)", line (\d+)', text)
        if at:
            path, number = at[1], int(at[2])
        elif re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(?!NOP)\S", text):
            yield _line(text.strip(), path, number)
        elif re.match(r"[.]L_x_\d+:", text):
            yield Line(text.strip(), "", "")


_START = re.compile(r"[.]visible|[\w$]+:")
_END = re.compile(r"[.]Lfunc_end|[.]section|}")
_INLINE = re.compile(r"//.*(begin|end) inline asm|;.*ASM(START|END)")
_SILENT = re.compile(r"(\$L__|[.]L)(tmp|func|info)|[.](file|cfi|p2align)|$")
_WITHOUT_SOURCE = re.compile(r"[.$\w]+:|[.](visible|reg|param|reqntid)|[({)]")


def _assembly(text: str) -> Iterator[Line]:
    """PTX or AMD's assembly: the body of the kernel. A .loc says where what follows comes from."""
    files = {Path(name).name: name for name in _files(text)}
    place, inline = None, False
    for line in _body(text):
        word = line.strip()
        border = _INLINE.match(word)
        if border:
            inline = "begin" in border[0] or "START" in border[0]
        elif word.startswith(".loc"):
            place = place if inline else _nearest(word, files) or place
        elif not _SILENT.match(word):
            shown = line.expandtabs(4)
            sourceless = place is None or _WITHOUT_SOURCE.match(word)
            yield Line(shown, "", "") if sourceless else _line(shown, *place)


def _body(text: str) -> Iterator[str]:
    """The lines from the name of the kernel to its end."""
    inside = False
    for line in text.splitlines():
        inside = inside or bool(_START.match(line.strip()))
        if inside and _END.match(line.strip()):
            return
        if inside:
            yield line


def _files(text: str) -> list[str]:
    found = re.findall(r'[.]file\s+\d+\s+"(.*?)"(?:\s+"(.*?)")?', text)
    return [str(Path(folder, name)) if name else folder for folder, name in found]


def _nearest(directive: str, files: dict[str, str]) -> tuple[str, int] | None:
    """Of a line and those it was inlined into, the innermost of this package.

    The comment of a .loc has them, innermost first: "standard.py:191:40 @[ softmax.py:38:35 ]".
    """
    comment = re.split(r"//|;", directive)[-1]
    chain = re.findall(r"([\w.-]+[.]py):([1-9]\d*)", comment)
    ours = [(files[name], int(n)) for name, n in chain if HERE in Path(files.get(name, "")).parents]
    others = [(files[name], int(n)) for name, n in chain if name in files]
    return next(iter([*ours, *others]), None)
