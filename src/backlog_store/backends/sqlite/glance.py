"""
One look at all that a small transaction is going to read: three statements in one.

A report of one problem reads its key, what is remembered of the key, and the last position. Each statement costs as
much as what it does, so a hint that names few things is answered by one.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import Any, LiteralString

from backlog_store.backends.port import Hint
from backlog_store.backends.sqlite.reader import BY_KEY, is_storable

__all__ = ["Glance", "is_small", "take"]

#: A hint that names more is left to the reads themselves, each of which takes a list.
_THINGS_MAX = 4
#: What was seen: ("id", id), ("key", key) or (kind, id of a record), and its row or `None`.
Glance = dict[tuple[str, Any], tuple[bytes, int] | None]
_POSITION: LiteralString = "SELECT x'', IFNULL(MAX(position), 0) FROM events"


def is_small(hint: Hint) -> bool:
    """
    Tell whether one look at what *hint* names pays.
    """
    return 0 < len(hint.ids) + len(hint.keys) + len(hint.records) <= _THINGS_MAX


def take(connection: sqlite3.Connection, hint: Hint) -> tuple[Glance, int]:
    """
    Return what stands under the names of a small *hint*, and the last position of an event.
    """
    names: list[tuple[str, Any]] = []
    parameters: list[str] = []
    for id in hint.ids:
        names.append(("id", id))
        parameters.append(id)
    for key in hint.keys:
        names.append(("key", key))
        parameters += key
    records = 0
    for record in hint.records:
        if record[0] != "sighting":  # which are no rows of that table
            names.append(record)
            parameters += record
            records += 1
    if not is_storable("".join(parameters)):
        # The reads themselves will tell which of the names nothing can stand under.
        return {}, connection.execute(_POSITION).fetchone()[1]
    statement = _sql(len(hint.ids), len(hint.keys), records)
    rows = connection.execute(statement, parameters).fetchall()
    seen: Glance = dict.fromkeys(names)
    _, _, position = rows.pop()
    for number, doc, last_event in rows:
        seen[names[number]] = (doc, last_event)
    return seen, position


@cache
def _sql(ids: int, keys: int, records: int) -> LiteralString:
    parts: list[LiteralString] = [
        *["SELECT doc, last_event FROM items WHERE id = ?"] * ids,
        *[BY_KEY] * keys,
        *["SELECT doc, 0 FROM records WHERE kind = ? AND id = ?"] * records,
        _POSITION,
    ]
    # The number of each part comes back with its row. (S608: nothing but numbers is put in.)
    return "\nUNION ALL\n".join([part.replace("SELECT", f"SELECT {at},", 1) for at, part in enumerate(parts)])
