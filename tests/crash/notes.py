"""
What a writer did, kept where no end of its process takes it away and no system call is needed to write it down.
"""

from __future__ import annotations

import mmap
from pathlib import Path

__all__ = ["ACKNOWLEDGED", "BEGUN", "NUMBERS_MAX", "REFUSED", "Notes"]

NUMBERS_MAX = 4096
#: A number not begun is 0. `REFUSED`: the store said that it surely did not happen; what it called unknown stays begun.
BEGUN, ACKNOWLEDGED, REFUSED = 1, 2, 3


class Notes:
    """
    One byte for each number that is written, in a file shared between processes: what became of it so far.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(NUMBERS_MAX))
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), NUMBERS_MAX)

    def put(self, number: int, state: int) -> None:
        """
        Note what became of a number.
        """
        self._bytes[number] = state

    def numbers(self, *states: int) -> set[int]:
        """
        Return the numbers in these states.
        """
        return {number for number, state in enumerate(self._bytes[:]) if state in states}

    def close(self) -> None:
        """
        Let go of the file.
        """
        self._bytes.close()
