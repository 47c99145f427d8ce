"""
A TOML file as a tree of nodes with their places.

`tomllib` says what is TOML and what is not, but not where things stand; so what it has accepted is walked once more
here, for the places alone. That walk may trust the text: it decides nothing.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Any

from backlog_store.policy.findings import Finding, Mark
from backlog_store.policy.nodes import NODES_MAX, Listing, Node, Scalar, Table, Unreadable

__all__ = ["read_toml"]

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\r\n#]+")
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\])*"'),
    re.compile(r"'[^']*'"),
)


def read_toml(text: str) -> tuple[Node | None, list[Finding]]:
    """
    Return the tree of a TOML document. Keys that stand twice are no TOML. Raises `Unreadable`.
    """
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        found = _PLACE.search(said)
        mark = Mark(int(found[1]), int(found[2])) if found and found[1] else Mark(text.count("\n") + 1, 1)
        reason = f"is not TOML: {_PLACE.sub('', said)}"
        raise Unreadable(Finding(pointer="", reason=reason, mark=mark)) from None
    except RecursionError:
        raise Unreadable(Finding(pointer="", reason="is nested too deeply")) from None
    return _Walk(text.replace("\r\n", "\n")).document(), []


class _Open:
    """
    A table or an array of tables that can still grow.
    """

    def __init__(self, mark: Mark) -> None:
        self.mark = mark
        self.entries: dict[str, tuple[Mark, Any]] = {}
        self.items: list[_Open] = []
        self.is_array = False


class _Walk:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self.count = 0

    def document(self) -> Node:
        root = _Open(Mark(1, 1))
        here = root
        while self._skip(_BLANK) and self.at < len(self.text):
            if self.text[self.at] == "[":
                here = self._header(root)
            else:
                self._pair(here)
        return _closed(root)

    def _skip(self, what: re.Pattern[str]) -> bool:
        found = what.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return True

    def _mark(self, start: int, end: int) -> Mark:
        line = bisect_right(self.starts, start)
        self.count += 1
        mark = Mark(line, start - self.starts[line - 1] + 1, max(1, end - start))
        if self.count > 2 * NODES_MAX:
            raise Unreadable(Finding(pointer="", reason=f"holds more than {NODES_MAX:,} values", mark=mark))
        return mark

    def _header(self, root: _Open) -> _Open:
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        path = self._path()
        self.at = self.text.index("]", self.at) + (2 if is_array else 1)
        here = root
        for name, mark in path[:-1]:
            here = _inside(here, name, mark)
        name, mark = path[-1]
        if not is_array:
            return _inside(here, name, mark)
        array = here.entries.setdefault(name, (mark, _Open(mark)))[1]
        array.is_array = True
        array.items.append(_Open(mark))
        last: _Open = array.items[-1]
        return last

    def _path(self) -> list[tuple[str, Mark]]:
        names = []
        while True:
            self._skip(_SPACE)
            start = self.at
            if self.text[start] in "\"'":
                name = self._string()
            else:
                self._skip(_BARE_KEY)
                name = self.text[start : self.at]
            names.append((name, self._mark(start, self.at)))
            self._skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return names
            self.at += 1

    def _pair(self, here: _Open) -> None:
        path = self._path()
        self.at = self.text.index("=", self.at) + 1
        self._skip(_SPACE)
        for name, mark in path[:-1]:
            here = _inside(here, name, mark)
        name, mark = path[-1]
        here.entries[name] = (mark, self._value())

    def _string(self) -> str:
        found = next(found for one in _STRINGS if (found := one.match(self.text, self.at)) is not None)
        self.at = found.end()
        return str(tomllib.loads(f"v = {found[0]}")["v"])

    def _value(self) -> Any:
        start = self.at
        first = self.text[start]
        if first in "\"'":
            return Scalar(self._string(), self._mark(start, self.at), quoted=True)
        if first == "[":
            return self._array()
        if first == "{":
            return self._inline()
        self._skip(_BARE_VALUE)
        text = self.text[start : self.at].rstrip()
        return Scalar(text, self._mark(start, start + len(text)))

    def _array(self) -> Listing:
        mark = self._mark(self.at, self.at + 1)
        self.at += 1
        items = []
        while self._skip(_BLANK) and self.text[self.at] != "]":
            items.append(_closed(self._value()))
            self._skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
        self.at += 1
        return Listing(tuple(items), mark)

    def _inline(self) -> _Open:
        table = _Open(self._mark(self.at, self.at + 1))
        self.at += 1
        while self._skip(_BLANK) and self.text[self.at] != "}":
            self._pair(table)
            self._skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
        self.at += 1
        return table


def _inside(here: _Open, name: str, mark: Mark) -> _Open:
    found: _Open = here.entries.setdefault(name, (mark, _Open(mark)))[1]
    return found.items[-1] if found.is_array else found


def _closed(value: Any) -> Node:
    """
    Return what has grown as a node.
    """
    if isinstance(value, Scalar | Listing):
        return value
    if value.is_array:
        return Listing(tuple(_closed(item) for item in value.items), value.mark)
    return Table({name: (mark, _closed(one)) for name, (mark, one) in value.entries.items()}, value.mark)
