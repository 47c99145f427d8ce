"""
Keys in order, where writing must cost nothing: changes are noted, and put in place when the order is next read.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

__all__ = ["Ordered"]

K = TypeVar("K", bound=Any)

#: Up to so many changes are put in place one by one (a binary search and a move of memory each: some 20 µs among
#: 100,000 keys); more are cheaper by filtering and sorting anew (some 20 ms there: the list is nearly in order).
_ONE_BY_ONE = 1_000


class Ordered(Generic[K]):
    """
    A set of keys (texts, or tuples of texts) that is read in ascending order.
    """

    def __init__(self, keys: Iterable[K]) -> None:
        self._keys = sorted(keys)
        self._added: set[K] = set()
        self._removed: set[K] = set()

    def add(self, key: K) -> None:
        """
        Add a key that is not there.
        """
        if key in self._removed:
            self._removed.discard(key)
        else:
            self._added.add(key)

    def remove(self, key: K) -> None:
        """
        Remove a key that is there.
        """
        if key in self._added:
            self._added.discard(key)
        else:
            self._removed.add(key)

    def keys(self) -> list[K]:
        """
        Return all keys, ascending: the list itself, to be read before the next change.
        """
        added, removed = self._added, self._removed
        if added or removed:
            if len(added) + len(removed) <= _ONE_BY_ONE:
                for key in removed:
                    del self._keys[bisect_left(self._keys, key)]
                for key in added:
                    insort(self._keys, key)
            else:
                if removed:
                    self._keys = [key for key in self._keys if key not in removed]
                self._keys.extend(added)
                self._keys.sort()
            self._added, self._removed = set(), set()
        return self._keys
