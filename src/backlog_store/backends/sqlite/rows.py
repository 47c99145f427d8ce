"""
From changes to rows: what a list of changes writes, gathered by statement and sent many rows at a time.

Rows are sent in a fixed order of tables. That is the order of the list as long as no two changes touch one item, key or
record; where a second one does, what was gathered is sent first.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import Any, LiteralString

from backlog_store.backends.port import Sighting
from backlog_store.backends.sqlite.faults import NAME
from backlog_store.codec import encode, encode_event, encode_item, from_builtins
from backlog_store.errors import DataCorrupt
from backlog_store.model import Event, Item, Record, Sighted
from backlog_store.query import NO_DUE

__all__ = ["Rows"]

_COLUMNS: tuple[LiteralString, ...] = (
    "id", "revision", "env", "service", "category", "priority", "status", "owner", "source", "dedupe_key", "due",
    "created_at", "updated_at", "wake_at", "closed_at", "closed_reason", "expires_at", "fix",
)  # fmt: skip


def _row(item: Item) -> tuple[Any, ...]:
    """
    Return the values of `_COLUMNS`.
    """
    return (
        item.id, item.revision, item.env, item.service, item.category, item.priority, item.status, item.owner,
        item.source, item.dedupe_key, item.due_date or NO_DUE, item.created_at, item.updated_at, item.wake_at,
        item.closed_at, item.closed_reason, item.expires_at, item.fix,
    )  # fmt: skip


_LISTED: LiteralString = ", ".join(_COLUMNS)
_MARKS: LiteralString = ", ".join(["?"] * len(_COLUMNS))
_INSERT_ITEM: LiteralString = f"INSERT INTO items (num, {_LISTED}, doc) VALUES (?, {_MARKS}, ?)"  # noqa: S608
_INSERT_EVENT: LiteralString = """
    INSERT INTO events (position, item_id, revision, ts, type, actor, batch, added, doc)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_PUT_RECORD: LiteralString = """
    INSERT INTO records (kind, id, revision, expires_at, doc)
    VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (kind, id) DO UPDATE
    SET revision = excluded.revision, expires_at = excluded.expires_at, doc = excluded.doc"""
_SIGHT: LiteralString = """
    INSERT INTO sightings (id, item_id, n, first_at, last_at, run)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE
    SET n = n + excluded.n,
        first_at = MIN(first_at, excluded.first_at),
        last_at = MAX(last_at, excluded.last_at),
        run = CASE excluded.run WHEN '' THEN run ELSE excluded.run END"""
_PUT_SIGHTING: LiteralString = """
    INSERT OR REPLACE INTO sightings (id, item_id, n, first_at, last_at, run)
    VALUES (?, ?, ?, ?, ?, ?)"""
# Before events go: no position is given a second time, or a tail that has passed it would miss the new event.
_KEEP_POSITION: LiteralString = """
    UPDATE marks
    SET position_mark = MAX(position_mark, IFNULL((SELECT MAX(position) FROM events), 0))"""


@cache
def _update(columns: tuple[LiteralString, ...]) -> LiteralString:
    # Only what differs is set: SQLite rewrites each index that one of the columns is in.
    changed: LiteralString = ", ".join([f"{column} = ?" for column in columns])
    return f"UPDATE items SET {changed}, doc = ? WHERE num = ?"  # noqa: S608


class Rows:
    """
    The rows of one list of changes.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._touched: set[tuple[str, str]] = set()
        self._gone: set[tuple[str, str]] = set()  # removed or replaced by what is gathered
        self._pending: dict[LiteralString, list[tuple[Any, ...]]] = {}
        self._updates: dict[tuple[LiteralString, ...], list[tuple[Any, ...]]] = {}

    def insert_item(self, num: int, item: Item) -> None:
        """
        Write a new item.
        """
        self._touch(("item", item.id), *_key_of(item))
        self._add(_INSERT_ITEM, num, *_row(item), encode_item(item))
        for tag in item.tags:
            self._add("INSERT INTO item_tags (tag, item_id) VALUES (?, ?)", tag, item.id)

    def update_item(self, num: int, old: Item, new: Item, *, is_indexed: bool) -> None:
        """
        Write the next state of an item; *is_indexed* tells whether the index of words knows it.
        """
        self._touch(("item", new.id), *(() if old.key == new.key else (*_key_of(old), *_key_of(new))))
        differing = [
            (column, after)
            for column, before, after in zip(_COLUMNS, _row(old), _row(new), strict=True)
            if before != after
        ]
        columns = tuple(column for column, _ in differing)
        values = (*(value for _, value in differing), encode_item(new), num)
        self._updates.setdefault(columns, []).append(values)
        if old.tags != new.tags:
            for tag in sorted(set(old.tags) - set(new.tags)):
                self._add("DELETE FROM item_tags WHERE tag = ? AND item_id = ?", tag, new.id)
            for tag in sorted(set(new.tags) - set(old.tags)):
                self._add("INSERT INTO item_tags (tag, item_id) VALUES (?, ?)", tag, new.id)
        if is_indexed and _texts(old) != _texts(new):
            self._add("INSERT OR IGNORE INTO stale_words (num) VALUES (?)", num)

    def purge_item(self, num: int, item: Item, *, is_indexed: bool) -> None:
        """
        Remove an item with its events and sightings.
        """
        self._touch(("item", item.id), *_key_of(item))
        self._gone.add(("item", item.id))
        self._add("DELETE FROM items WHERE num = ?", num)
        for tag in item.tags:
            self._add("DELETE FROM item_tags WHERE tag = ? AND item_id = ?", tag, item.id)
        # "0" follows "/": the range of the ids <item id>/…; the item's own column tells ids with a slash apart.
        sightings: LiteralString = "DELETE FROM sightings WHERE id > ? AND id < ? AND item_id = ?"
        self._add(sightings, f"{item.id}/", f"{item.id}0", item.id)
        self._pending.setdefault(_KEEP_POSITION, [()])
        self._add("DELETE FROM events WHERE item_id = ?", item.id)
        if is_indexed:
            self._add("DELETE FROM item_words WHERE rowid = ?", num)
            self._add("DELETE FROM stale_words WHERE num = ?", num)

    def put_record(self, record: Record) -> None:
        """
        Write a record, whether it was there or not.
        """
        self._touch((record.kind, record.id))
        if record.kind == "sighting":
            self._gone.add((record.kind, record.id))
            seen = from_builtins(record.body, Sighted)
            item_id = record.id.partition("/")[0]
            self._add(_PUT_SIGHTING, record.id, item_id, seen.n, seen.first_at, seen.last_at, seen.run)
        else:
            self._add(_PUT_RECORD, record.kind, record.id, record.revision, record.expires_at, encode(record))

    def drop_record(self, kind: str, id: str) -> None:
        """
        Remove a record.
        """
        self._touch((kind, id))
        if kind == "sighting":
            self._gone.add((kind, id))
            self._add("DELETE FROM sightings WHERE id = ?", id)
        else:
            self._add("DELETE FROM records WHERE kind = ? AND id = ?", kind, id)

    def sight(self, seen: Sighting) -> None:
        """
        Count reports of an item.
        """
        id = f"{seen.item_id}/{seen.source}"
        self._follow("sighting", id)
        self._add(_SIGHT, id, seen.item_id, seen.n, seen.first_at, seen.last_at, seen.run)
        self._touched.add(("item", seen.item_id))

    def add_event(self, position: int, event: Event) -> None:
        """
        Write an event.
        """
        self._follow("item", event.item_id)
        self._add(
            _INSERT_EVENT, position, event.item_id, event.revision, event.ts, event.type, event.actor, event.batch,
            event.added, encode_event(event),
        )  # fmt: skip

    def flush(self) -> None:
        """
        Send what was gathered.
        """
        for columns, rows in self._updates.items():
            self._send(_update(columns), rows, must_hit=True)
        for sql, rows in self._pending.items():
            self._send(sql, rows)
        self._updates.clear()
        self._pending.clear()
        self._touched.clear()
        self._gone.clear()

    def _send(self, sql: LiteralString, rows: list[tuple[Any, ...]], *, must_hit: bool = False) -> None:
        send = self._connection
        cursor = send.execute(sql, rows[0]) if len(rows) == 1 else send.executemany(sql, rows)
        if must_hit and cursor.rowcount != len(rows):
            # Each row was read in this transaction: an index must contradict its table.
            path = self._connection.execute("PRAGMA database_list").fetchone()[2]
            raise DataCorrupt(NAME, path=path, offset=0, reason="a row that was just read cannot be found")

    def _add(self, sql: LiteralString, *values: Any) -> None:
        self._pending.setdefault(sql, []).append(values)

    def _touch(self, *names: tuple[str, str]) -> None:
        if not self._touched.isdisjoint(names):
            self.flush()
        self._touched.update(names)

    def _follow(self, kind: str, id: str) -> None:
        # Events and sightings are only added: they wait for what removes or replaces them, and for nothing else.
        if (kind, id) in self._gone:
            self.flush()
        self._touched.add((kind, id))


def _key_of(item: Item) -> tuple[tuple[str, str], ...]:
    return (("held", f"{item.env}/{item.dedupe_key}"),) if item.dedupe_key else ()


def _texts(item: Item) -> tuple[Any, ...]:
    return item.title, item.description, item.service, item.dedupe_key, item.fix, item.tags
