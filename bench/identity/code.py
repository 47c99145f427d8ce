"""
What stands around a line of Python: its statement, in one form, and the definitions that it lies in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

__all__ = ["File"]

#: A statement over more lines than this holds what is not the finding: the line stands for itself then.
_LINES_MAX = 10


class File:
    """
    One source file. Lines count from 1.
    """

    def __init__(self, path: Path) -> None:
        self.text = path.read_bytes().decode("utf-8", "replace")
        self.lines = [line.strip() for line in self.text.splitlines()]

    def line(self, number: int) -> str:
        """
        Return the text of a line without its indentation; empty if there is none.
        """
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    @cached_property
    def _around(self) -> dict[int, tuple[str, str]]:
        """
        Of each line that a statement covers, the name of the definition around it and the statement, as parsed.
        """
        found: dict[int, tuple[str, str]] = {}
        try:
            tree = ast.parse(self.text)
        except (SyntaxError, ValueError):
            return found
        for name, statement in _statements(tree, ""):
            first, last = _extent(statement)
            said = _said(statement) if last - first < _LINES_MAX else ""
            for number in range(first, last + 1):
                found[number] = name, said
        return found

    def around(self, number: int) -> tuple[str, str]:
        """
        Return the dotted name of the definition around a line, and the statement in it (or the line, outside of one).
        """
        name, said = self._around.get(number, ("", ""))
        return name, said or self.line(number)


def _statements(node: ast.AST, name: str) -> Iterator[tuple[str, ast.stmt]]:
    """
    Yield all statements, outer ones first; a definition is named by itself.
    """
    for child in ast.iter_child_nodes(node):
        inner = name
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{name}.{child.name}".lstrip(".")
        if isinstance(child, ast.stmt):
            yield inner, child
        yield from _statements(child, inner)


def _extent(statement: ast.stmt) -> tuple[int, int]:
    """
    Return the first and the last line of a statement; of one with a body, those before its body.
    """
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(one.lineno for one in decorators)])
    body = getattr(statement, "body", None)
    if isinstance(body, list) and body:
        return first, max(first, body[0].lineno - 1)
    return first, statement.end_lineno or first


def _said(statement: ast.stmt) -> str:
    text = ast.unparse(statement)
    return text.split("\n", 1)[0] if getattr(statement, "body", None) else text
