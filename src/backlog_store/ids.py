"""
How ids are made: 128 bits in lower-case base32, derived, never drawn here.
"""

from __future__ import annotations

from backlog_store.codec import digest, encode
from backlog_store.digests import blake2b
from backlog_store.model import ItemId, Key

__all__ = ["batch_id", "derived", "event_id", "event_salt", "item_id_of_key", "unkeyed_item_id"]


def derived(*parts: str | int) -> str:
    """
    Return 26 characters that depend on all parts, and on where each ends. Texts must be Unicode.
    """
    return digest(encode(parts))


def item_id_of_key(key: Key, generation: int = 0) -> ItemId:
    """
    Return the id of the item of a key: the same on every backend, also offline.
    """
    return "bl_" + derived("item", key[0], key[1], generation)


def unkeyed_item_id(seed: str, number: int) -> ItemId:
    """
    Return the id of the *number*-th item without a key that a command makes.
    """
    return "bl_" + derived("unkeyed", seed, number)


def event_id(item_id: ItemId, revision: int) -> str:
    """
    Return the id of the event that makes this revision; an item has exactly one.
    """
    return "ev_" + _short("event", f"{revision} {item_id}")


def batch_id(seed: str) -> str:
    """
    Return the id under which a command's changes can be undone.
    """
    return "cm_" + _short("batch", seed)


def event_salt(seed: str, item_id: ItemId, revision: int) -> str:
    """
    Return the salt of an event. The seed is kept nowhere, so it cannot be guessed from what is stored.
    """
    return _short("salt", f"{revision} {item_id} {seed}")


def _short(kind: str, text: str) -> str:
    # Nobody types these: 128 bits in hexadecimal.
    return blake2b(f"{kind} {text}".encode()).hexdigest()[:32]
