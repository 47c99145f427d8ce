"""
Which findings of two releases are the same, told from the code alone: no key and no hash has a say in it.

A finding goes on in the other release if the same rule fires

1. on a line that a comparison of both files leaves as it is (files that moved are paired by their content);
2. else in the part of the file that was rewritten in its place, on a statement that is at least six tenths the same;
3. else on the same statement, parsed, in a definition of the same name, or on one that is six tenths the same in a
   definition of the same full name, in whichever file: code that moved;
4. else on the same statement elsewhere in the file.

One finding goes on as one at most; the closest are paired first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import product

from msgspec import Struct

from bench.identity.code import File

__all__ = ["Found", "same_findings"]

_ALIKE = 0.6
_MOVED_FILE = 0.5
_TELLING = 12


class Found(Struct, frozen=True):
    """
    One finding of a report: what fired, and where.
    """

    rule: str
    path: str
    line: int
    column: int


Files = Mapping[str, File]


def same_findings(old: Sequence[Found], new: Sequence[Found], before: Files, after: Files) -> dict[int, int]:
    """
    Return which finding of *new* (its index) is which one of *old*.
    """
    pairs: dict[int, int] = {}
    left = set(range(len(old)))
    moved = _moved_files(before, after)
    places = {path: _Places(file, after[moved.get(path, path)]) for path, file in before.items()
              if moved.get(path, path) in after}  # fmt: skip

    def pair(closeness: Callable[[int, int], float], by: Callable[[Found], object]) -> None:
        groups: dict[object, list[int]] = defaultdict(list)
        for index, found in enumerate(new):
            if index not in pairs:
                groups[found.rule, by(found)].append(index)
        close = [
            (-degree, abs(old[one].line - new[other].line), one, other)
            for one in sorted(left)
            for other in groups.get((old[one].rule, by(old[one])), ())
            if (degree := closeness(one, other)) > 0
        ]
        for _, _, one, other in sorted(close):
            if one in left and other not in pairs:
                pairs[other] = one
                left.discard(one)

    def file_of(found: Found) -> str:
        # By the name that it has in the new release.
        return moved.get(found.path, found.path)

    def in_place(one: int, other: int) -> float:
        at = places.get(old[one].path)
        if at is None or at.same.get(old[one].line) != new[other].line:
            return 0.0
        return 1.0 / (1 + abs(old[one].column - new[other].column))

    def rewritten(one: int, other: int) -> float:
        at = places.get(old[one].path)
        if at is None or not at.share_block(old[one].line, new[other].line):
            return 0.0
        return _alike(_said(before, old[one]), _said(after, new[other]))

    def moved_code(one: int, other: int) -> float:
        (name, said), (now, says) = _around(before, old[one]), _around(after, new[other])
        if name and name == now:
            return _alike(said, says)
        return float(said == says and bool(name) and name.rpartition(".")[2] == now.rpartition(".")[2])

    def elsewhere(one: int, other: int) -> float:
        said = _said(before, old[one])
        return float(len(said) >= _TELLING and said == _said(after, new[other]))

    pair(in_place, file_of)
    pair(rewritten, file_of)
    pair(moved_code, lambda _: "")
    pair(elsewhere, file_of)
    return pairs


def _around(files: Files, found: Found) -> tuple[str, str]:
    file = files.get(found.path)
    return file.around(found.line) if file is not None else ("", "")


def _said(files: Files, found: Found) -> str:
    return _around(files, found)[1]


def _alike(one: str, other: str) -> float:
    ratio = 1.0 if one == other else SequenceMatcher(None, one, other, autojunk=False).ratio()
    return ratio if ratio >= _ALIKE else 0.0


class _Places:
    """
    Where the lines of a file are in the other one.
    """

    def __init__(self, before: File, after: File) -> None:
        self.same: dict[int, int] = {}
        self._block_before: dict[int, int] = {}
        self._block_after: dict[int, int] = {}
        matcher = SequenceMatcher(None, before.lines, after.lines, autojunk=False)
        for number, (kind, start, end, onto, until) in enumerate(matcher.get_opcodes()):
            if kind == "equal":
                self.same.update((start + at + 1, onto + at + 1) for at in range(end - start))
            elif kind == "replace":
                self._block_before.update((at + 1, number) for at in range(start, end))
                self._block_after.update((at + 1, number) for at in range(onto, until))

    def share_block(self, line: int, other: int) -> bool:
        """
        Tell whether the one line is among those that the other was rewritten from.
        """
        block = self._block_before.get(line)
        return block is not None and block == self._block_after.get(other)


def _moved_files(before: Files, after: Files) -> dict[str, str]:
    """
    Return the new paths of files that are there under another one.
    """
    gone, come = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    close = []
    for one, other in product(gone, come):
        matcher = SequenceMatcher(None, before[one].lines, after[other].lines, autojunk=False)
        if matcher.quick_ratio() >= _MOVED_FILE and (ratio := matcher.ratio()) >= _MOVED_FILE:
            close.append((-ratio, one, other))
    moved: dict[str, str] = {}
    for _, one, other in sorted(close):
        if one not in moved and other not in moved.values():
            moved[one] = other
    return moved
