"""
How ids are made: 128 bits in lower-case base32, derived, never drawn here.

A command's seed amounts to a sequence of 128 bits each, four of them a hash: the first names its batch, those that
follow are the salts of its events. The seed itself is kept nowhere, and of what is published nothing else follows.
"""

from __future__ import annotations

from backlog_store.codec import digest, encode
from backlog_store.digests import blake2b
from backlog_store.model import ItemId, Key

__all__ = ["Salts", "batch_id", "derived", "event_id", "item_id_of_key", "unkeyed_item_id"]

_DIGITS = 32  # 128 bits in hexadecimal: nobody types these
_A_HASH = 4


def derived(*parts: str | int) -> str:
    """
    Return 26 characters that depend on all parts, and on where each ends. Texts must be Unicode.
    """
    return digest(encode(parts))


def item_id_of_key(key: Key, generation: int = 0) -> ItemId:
    """
    Return the id of the item of a key: the same on every backend, also offline.
    """
    return "bl_" + digest(encode(("item", key[0], key[1], generation)))


def unkeyed_item_id(seed: str, number: int) -> ItemId:
    """
    Return the id of the *number*-th item without a key that a command makes.
    """
    return "bl_" + derived("unkeyed", seed, number)


def event_id(item_id: ItemId, revision: int) -> str:
    """
    Return the id of the event that makes this revision; an item has exactly one.
    """
    return f"ev_{item_id}_{revision}"


def batch_id(seed: str) -> str:
    """
    Return the id under which a command's changes can be undone.
    """
    return "cm_" + _hashed(seed, 0)[:_DIGITS]


class Salts:
    """
    What one seed amounts to: the id of its batch, and a salt for each event, in the order in which they are made.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._digits = _hashed(seed, 0)
        self._given = 0
        self.batch_id = "cm_" + self._digits[:_DIGITS]

    def next(self) -> str:
        """
        Return the next salt.
        """
        self._given += 1
        number, place = divmod(self._given, _A_HASH)
        if not place:
            self._digits = _hashed(self._seed, number)
        return self._digits[place * _DIGITS : (place + 1) * _DIGITS]


def _hashed(seed: str, number: int) -> str:
    return blake2b(f"{number} {seed}".encode()).hexdigest()
