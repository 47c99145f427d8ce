"""
GitHub's ``primaryLocationLineHash``, as its upload action adds it to a report whose tool wrote none.

Of each line, a rolling hash over the hundred characters that start with it, blanks and tabs left out, across line ends;
a number after it tells equal ones of a file apart. Described in github/codeql-action, ``src/fingerprints.ts``.
"""

from __future__ import annotations

from collections import Counter

__all__ = ["line_hashes"]

_WINDOW = 100
_FACTOR = 37
_END_OF_FILE = 65_535
_BITS_64 = (1 << 64) - 1


def line_hashes(text: str) -> list[str]:
    """
    Return the hash of each line, the first one first.
    """
    units: list[int] = []
    starts: list[int] = []
    is_start = True
    for character in text.replace("\r\n", "\n").replace("\r", "\n") + chr(_END_OF_FILE):
        if character in " \t":
            continue
        if is_start:
            starts.append(len(units))
        is_start = character == "\n"
        encoded = character.encode("utf-16-le", "surrogatepass")
        units += (int.from_bytes(encoded[at : at + 2], "little") for at in range(0, len(encoded), 2))
    units += [0] * _WINDOW
    seen: Counter[int] = Counter()
    hashes = []
    for start in starts:
        value = 0
        for unit in units[start : start + _WINDOW]:
            value = (value * _FACTOR + unit) & _BITS_64
        seen[value] += 1
        hashes.append(f"{value:x}:{seen[value]}")
    return hashes
