"""
The index of words and terms: kept behind on purpose, and caught up many items at a time.

Indexing one item costs as much as half of a durable transaction; of thousands in one go a tenth of that.
So a write leaves the index alone: items numbered above the mark, and those in ``stale_words``, are not in it yet, and a
search looks at their texts itself. The index catches up when `PENDING_MAX` items wait, or after a search that had to
look at many.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct
from msgspec.json import Decoder

from backlog_store.backends.sql.dialects import sqlite_term
from backlog_store.codec import decode_item, decode_json
from backlog_store.model import LIMITS, Item
from backlog_store.query import item_text
from backlog_store.words import words_of

__all__ = ["PENDING_MAX", "catch_up", "indexed", "pending", "register"]

#: A write lets so many items wait. A search looks at as many in some 60 ms, once.
PENDING_MAX = 4_096
_CHUNK = 1_000
#: Texts of so many items that wait are kept cut, for the next search.
_CACHED = PENDING_MAX
#: But not those of larger documents (bytes), so that the cache stays small.
_CACHED_BYTES_MAX = 4_096


def register(connection: sqlite3.Connection) -> None:
    """
    Give *connection* the functions that look at an item itself.

    ``words_in(doc)`` is its words, each between single spaces; ``has_tag(doc, tags)`` tells whether it has one of the
    tags of a JSON array.
    """
    connection.create_function("words_in", 1, _words_in, deterministic=True)
    connection.create_function("has_tag", 2, _has_tag, deterministic=True)


def pending(connection: sqlite3.Connection) -> int:
    """
    Return how many items the index does not know yet (about: free numbers count).
    """
    sql = """
        SELECT IFNULL((SELECT MAX(num) FROM items), 0) - words_mark + (SELECT COUNT(*) FROM stale_words)
        FROM marks"""
    return int(connection.execute(sql).fetchone()[0])


def catch_up(connection: sqlite3.Connection) -> None:
    """
    Index every item that waits, within the transaction that the caller has open for writing.
    """
    connection.execute("DELETE FROM item_words WHERE rowid IN (SELECT num FROM stale_words)")
    waiting = connection.execute("""
        SELECT num, doc FROM items WHERE num > (SELECT words_mark FROM marks)
        UNION ALL
        SELECT num, doc FROM items WHERE num IN (SELECT num FROM stale_words)""")
    while found := waiting.fetchmany(_CHUNK):
        rows = [indexed(num, decode_item(doc)) for num, doc in found]
        connection.executemany("INSERT INTO item_words (rowid, words, terms) VALUES (?, ?, ?)", rows)
    connection.execute("DELETE FROM stale_words")
    connection.execute("UPDATE marks SET words_mark = IFNULL((SELECT MAX(num) FROM items), 0)")


def _words_in(doc: bytes) -> str:
    words = _cut_and_kept(doc) if len(doc) <= _CACHED_BYTES_MAX else _cut(doc)
    return f" {words} "


def _cut(doc: bytes) -> str:
    return _words(decode_item(doc))


_cut_and_kept = lru_cache(maxsize=_CACHED)(_cut)


def _has_tag(doc: bytes, tags: str) -> bool:
    return not _set(tags).isdisjoint(_decode_tags(doc).tags)


_set: Callable[[str], frozenset[str]] = lru_cache(maxsize=8)(lambda tags: frozenset(decode_json(tags)))


class _Tags(Struct):
    tags: tuple[str, ...] = ()


_decode_tags = Decoder(_Tags).decode


def indexed(num: int, item: Item) -> tuple[int, str, str]:
    """
    Return an item's row in the index: its number, words and terms, each between single spaces.
    """
    terms = [sqlite_term("tag", tag) for tag in item.tags]
    terms += [sqlite_term(column, value) for column, value in (("owner", item.owner), ("fix", item.fix)) if value]
    return num, _words(item), " ".join(terms)


def _words(item: Item) -> str:
    return " ".join(words_of(item_text(item))[: LIMITS.words])
