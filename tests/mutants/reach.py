"""Which tests run which functions: a mutant is tried with those that reach it, the quickest first.

All tests are run once, watched by `sys.settrace`. What runs when a module is imported, constants,
classes, decorators, concerns all of them.
"""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

MOST = float(os.environ.get("MUTANTS_MOST", 60))  # seconds of tests that a mutant is tried with

#: node id of a test -> how long it takes, and the functions it runs: (file, first line)
Reach = dict[str, tuple[float, set[tuple[str, int]]]]


class Watched:
    """A pytest plugin that notes which functions of some files each test calls."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = {str(file) for file in files}
        self.found: Reach = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        called: set[tuple[str, int]] = set()
        files = self.files

        def look(frame: Any, event: str, argument: Any) -> None:
            code = frame.f_code
            if code.co_filename in files:
                called.add((code.co_filename, code.co_firstlineno))

        began = time.perf_counter()
        sys.settrace(look)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.found[item.nodeid] = time.perf_counter() - began, called


def function_at(tree: ast.Module, line: int) -> int | None:
    """The first line of the innermost function around a line, its decorators included."""
    around = [
        min([node.lineno, *(d.lineno for d in node.decorator_list)])
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.lineno <= line <= (node.end_lineno or line)
    ]
    return max(around, default=None)


def nearest(
    reach: Reach, file: Path, line: int, test_files: Sequence[str], near_files: int
) -> dict[str, float]:
    """The tests that reach a line of a file, with their seconds: the files in order, not above MOST.

    Those of the first `near_files` files are taken before all others, of each lot the quickest.
    """
    first = function_at(ast.parse(file.read_text()), line)
    near = {
        test: seconds
        for test, (seconds, called) in reach.items()
        if first is None or (str(file), first) in called
    }
    if not near:  # it runs as a module is imported
        near = {test: seconds for test, (seconds, _) in reach.items()}
    order = {name: place for place, name in enumerate(test_files)}
    place = lambda test: order.get(test.partition("::")[0].removeprefix("tests/"), len(order))  # noqa: E731
    chosen, total = {}, 0.0
    for test in sorted(near, key=lambda test: (place(test) >= near_files, near[test])):
        total += near[test]
        if chosen and total > MOST:
            break
        chosen[test] = near[test]
    return dict(sorted(chosen.items(), key=lambda one: (place(one[0]), one[1])))
