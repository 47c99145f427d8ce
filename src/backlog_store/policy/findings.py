"""
What is wrong with a policy file, and where: each finding can be drawn with its line and a caret.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from msgspec import Struct

__all__ = ["Finding", "Mark", "nearest"]

_SHOWN_MAX = 160


class Mark(Struct, frozen=True):
    """
    A place in a text: line and column count from 1; *width* is in characters, at least 1.
    """

    line: int
    column: int
    width: int = 1


class Finding(Struct, frozen=True, kw_only=True):
    """
    One fault (or, with `warning`, one oddity) of a policy.

    `pointer` is a JSON pointer into the policy; the loader finds `mark` for it. `at_key` means the key there, not its
    value. `suggestion` is what was probably meant, `file` the further file that `mark` is in, if it is not the policy.
    """

    pointer: str
    reason: str
    suggestion: str = ""
    warning: bool = False
    at_key: bool = False
    mark: Mark | None = None
    file: str = ""

    @property
    def text(self) -> str:
        """
        Return the reason with the suggestion, as a sentence without its end.
        """
        return f"{self.reason}. Did you mean {self.suggestion}?" if self.suggestion else self.reason

    @property
    def place(self) -> str:
        """
        Return where it is, in words.
        """
        mark = self.mark
        where = f"line {mark.line}, column {mark.column}" if mark is not None else ""
        return f"{self.file} {where}".strip() if self.file else where

    def drawn(self, name: str, lines: Sequence[str]) -> list[str]:
        """
        Return the finding as lines for people: place and reason, the line of the file, a caret below.
        """
        kind = "warning" if self.warning else "error"
        path = f"{self.pointer}: " if self.pointer else ""
        if self.mark is None:
            return [f"{name}: {kind}: {path}{self.text}"]
        head = f"{self.file or name}:{self.mark.line}:{self.mark.column}: {kind}: {path}{self.text}"
        if not 1 <= self.mark.line <= len(lines):
            return [head]
        line = lines[self.mark.line - 1]
        start = max(0, self.mark.column - 1 - _SHOWN_MAX // 2)
        shown = "".join(letter if letter.isprintable() else " " for letter in line[start : start + _SHOWN_MAX])
        width = max(1, min(self.mark.width, len(shown) - (self.mark.column - 1 - start)))
        number = f"{self.mark.line:>5}"
        return [head, f"{number} | {shown}", f"{' ' * 5} | {' ' * (self.mark.column - 1 - start)}{'^' * width}"]


def nearest(word: str, known: Sequence[str]) -> str:
    """
    Return the known word that looks most like *word*, or nothing.
    """
    folded = {one.lower(): one for one in known}
    found = get_close_matches(word.lower(), list(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else ""
