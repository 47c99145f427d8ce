"""
From changes to rows: those of one change are sent at once, those of a list gathered by statement and sent together.

Gathered rows are sent in a fixed order of tables. That is the order of the list as long as no two changes touch one
item, key or record; where a second one does, what was gathered is sent first.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from itertools import compress
from operator import itemgetter, ne
from typing import Any, LiteralString, NoReturn

from backlog_store.backends.port import Sighting
from backlog_store.backends.sqlite.faults import NAME
from backlog_store.codec import encode, encode_event, encode_item, from_builtins
from backlog_store.errors import DataCorrupt, Fault, InvalidInput
from backlog_store.model import PRIORITIES, STATUSES, Event, Item, Record, Sighted
from backlog_store.query import NO_DUE

__all__ = ["INSERT_EVENT", "INSERT_ITEM", "GatheredRows", "Rows", "event_values", "item_values"]

_STATUSES, _PRIORITIES = frozenset(STATUSES), frozenset(PRIORITIES)
_COLUMNS: tuple[LiteralString, ...] = (
    "id", "revision", "env", "service", "category", "priority", "status", "owner", "source", "dedupe_key", "due",
    "created_at", "updated_at", "wake_at", "closed_at", "closed_reason", "expires_at", "fix", "claimed_by",
)  # fmt: skip


def _row(item: Item) -> tuple[Any, ...]:
    """
    Return the values of `_COLUMNS`. Raises `InvalidInput` for a status or priority that no page would show.
    """
    if item.status not in _STATUSES or item.priority not in _PRIORITIES:
        fault = Fault("/item", f"{item.id}: {item.status}, {item.priority}"[:80], "no such status or priority")
        raise InvalidInput([fault], what="change")
    return (
        item.id, item.revision, item.env, item.service, item.category, item.priority, item.stage, item.owner,
        item.source, item.dedupe_key, item.due_date or NO_DUE, item.created_at, item.updated_at, item.wake_at,
        item.closed_at, item.closed_reason, item.expires_at, item.fix, item.claimed_by,
    )  # fmt: skip


_LISTED: LiteralString = ", ".join(_COLUMNS)
_MARKS: LiteralString = ", ".join(["?"] * len(_COLUMNS))
INSERT_ITEM: LiteralString = f"INSERT INTO items ({_LISTED}, last_event, doc) VALUES ({_MARKS}, ?, ?)"  # noqa: S608
INSERT_EVENT: LiteralString = """
    INSERT INTO events (position, item_id, prev, revision, ts, type, actor, batch, added, doc)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
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
#: Each takes the item's id, and the item is still there for the first three.
_PURGE: tuple[LiteralString, ...] = (
    "DELETE FROM item_words WHERE rowid = (SELECT num FROM items WHERE id = ?)",
    "DELETE FROM stale_words WHERE num = (SELECT num FROM items WHERE id = ?)",
    # Gathered first: the chain must not be cut while it is followed.
    """
    INSERT INTO temp.purged (position)
    WITH RECURSIVE trail (position) AS (
      SELECT last_event FROM items WHERE id = ?
      UNION ALL
      SELECT events.prev FROM trail CROSS JOIN events USING (position) WHERE events.prev > 0
    )
    SELECT position FROM trail WHERE position > 0""",
    "INSERT INTO temp.purged (position) SELECT position FROM events WHERE prev < 0 AND item_id = ?",
    "DELETE FROM items WHERE id = ?",
)
#: Each takes the item's id and the revision of its first event that stays.
_TRIM: tuple[LiteralString, ...] = (
    """
    INSERT INTO temp.purged (position)
    WITH RECURSIVE trail (position) AS (
      SELECT last_event FROM items WHERE id = ?
      UNION ALL
      SELECT events.prev FROM trail CROSS JOIN events USING (position) WHERE events.prev > 0
    )
    SELECT position FROM trail CROSS JOIN events USING (position) WHERE events.revision < ?""",
    "INSERT INTO temp.purged (position) SELECT position FROM events WHERE prev < 0 AND item_id = ? AND revision < ?",
)
#: What stays is a chain of its own. Each takes the item's id, and the first one follows the chain as it still is.
_CUT_CHAIN: tuple[LiteralString, ...] = (
    """
    UPDATE events SET prev = 0
    WHERE prev IN (SELECT position FROM temp.purged) AND position IN (
      WITH RECURSIVE trail (position) AS (
        SELECT last_event FROM items WHERE id = ?
        UNION ALL
        SELECT events.prev FROM trail CROSS JOIN events USING (position) WHERE events.prev > 0
      )
      SELECT position FROM trail
    )""",
    "UPDATE items SET last_event = 0 WHERE id = ? AND last_event IN (SELECT position FROM temp.purged)",
)
_AFTER_PURGE: tuple[LiteralString, ...] = (
    # The last position stays taken: were it given again, a tail that has passed it would miss the new event.
    """
    UPDATE events
    SET item_id = '', prev = -1, revision = 0, ts = '', type = '', actor = '', batch = '', added = 0, doc = x''
    WHERE position = (SELECT MAX(position) FROM events) AND position IN (SELECT position FROM temp.purged)""",
    """
    DELETE FROM events
    WHERE position IN (SELECT position FROM temp.purged) AND position < (SELECT MAX(position) FROM events)""",
    """
    DELETE FROM events
    WHERE prev < 0 AND item_id = '' AND revision = 0 AND position < (SELECT MAX(position) FROM events)""",
    "DELETE FROM temp.purged",
)
# A number that is free again must not look indexed or counted when the next item gets it, be it in the same list.
_LOWER_MARKS: LiteralString = """
    UPDATE marks
    SET words_mark = MIN(words_mark, IFNULL((SELECT MAX(num) FROM items), 0)),
        counted_mark = MIN(counted_mark, IFNULL((SELECT MAX(num) FROM items), 0))"""
# "0" follows "/": the range of the ids <item id>/…; the item's own column tells ids with a slash apart.
_PURGE_SIGHTINGS: LiteralString = "DELETE FROM sightings WHERE id >= ? AND id < ? AND item_id = ?"
_MARK_STALE: LiteralString = """
    INSERT OR IGNORE INTO stale_words (num)
    SELECT num FROM items WHERE id = ? AND num <= (SELECT words_mark FROM marks)"""


def item_values(item: Item, last_event: int) -> tuple[Any, ...]:
    """
    Return the row of an item, for `INSERT_ITEM`. Raises as `_row`.
    """
    return (*_row(item), last_event, encode_item(item))


def event_values(event: Event, position: int, prev: int) -> tuple[Any, ...]:
    """
    Return the row of an event, for `INSERT_EVENT`; *prev* as in `Rows.add_event`.
    """
    return (
        position, event.item_id, prev, event.revision, event.ts, event.type, event.actor, event.batch, event.added,
        encode_event(event),
    )  # fmt: skip


@cache
def _update(differs: tuple[bool, ...]) -> LiteralString:
    # Only what differs is set: SQLite rewrites each index that one of the columns is in.
    changed: LiteralString = "".join([f"{column} = ?, " for column in compress(_COLUMNS, differs)])
    return f"UPDATE items SET {changed}last_event = ?, doc = ? WHERE id = ?"  # noqa: S608


class Rows:
    """
    The rows of one change, each sent at once.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._purges = False

    def insert_item(self, item: Item, last_event: int) -> None:
        """
        Write a new item.
        """
        self._touch_item(item)
        self._add(INSERT_ITEM, item_values(item, last_event))

    def update_item(self, old: Item, new: Item, last_event: int) -> None:
        """
        Write the next state of an item.
        """
        self._touch_item(new, old)
        values = _row(new)
        differs = tuple(map(ne, _row(old), values))
        self._update(differs, (*compress(values, differs), last_event, encode_item(new), new.id))
        if _texts(old) != _texts(new):
            self._add(_MARK_STALE, (new.id,))

    def purge_item(self, item: Item) -> None:
        """
        Remove an item with its events and sightings.
        """
        self._touch_item(item, gone=True)
        self._add(_PURGE_SIGHTINGS, (f"{item.id}/", f"{item.id}0", item.id))
        for sql in _PURGE:
            self._add(sql, (item.id,))
        if not self._purges:
            self._add(_LOWER_MARKS, ())
        self._purges = True

    def trim_events(self, id: str, revision: int) -> int:
        """
        Remove the events of an item below a revision, at once, and return the position of its newest event.
        """
        self.flush()
        for sql in _TRIM:
            self._connection.execute(sql, (id, revision))
        for sql in _CUT_CHAIN:
            self._connection.execute(sql, (id,))
        for sql in _AFTER_PURGE:
            self._connection.execute(sql)
        row: Any = self._connection.execute("SELECT last_event FROM items WHERE id = ?", (id,)).fetchone()
        return row[0] if row else 0

    def put_record(self, record: Record) -> None:
        """
        Write a record, whether it was there or not.
        """
        self._touch_record(record.kind, record.id)
        if record.kind == "sighting":
            seen = from_builtins(record.body, Sighted)
            item_id = record.id.partition("/")[0]
            self._add(_PUT_SIGHTING, (record.id, item_id, seen.n, seen.first_at, seen.last_at, seen.run))
        else:
            self._add(_PUT_RECORD, (record.kind, record.id, record.revision, record.expires_at, encode(record)))

    def drop_record(self, kind: str, id: str) -> None:
        """
        Remove a record.
        """
        self._touch_record(kind, id)
        if kind == "sighting":
            self._add("DELETE FROM sightings WHERE id = ?", (id,))
        else:
            self._add("DELETE FROM records WHERE kind = ? AND id = ?", (kind, id))

    def sight(self, seen: Sighting) -> None:
        """
        Count reports of an item.
        """
        id = f"{seen.item_id}/{seen.source}"
        self._follow("sighting", id, of_item=seen.item_id)
        self._add(_SIGHT, (id, seen.item_id, seen.n, seen.first_at, seen.last_at, seen.run))

    def add_event(self, event: Event, position: int, prev: int) -> None:
        """
        Write an event; *prev* is the position of the item's event before, 0 for its first, -1 outside of its chain.
        """
        self._follow("item", event.item_id)
        self._add(INSERT_EVENT, event_values(event, position, prev))

    def flush(self) -> None:
        """
        Send what was gathered.
        """
        if self._purges:
            for sql in _AFTER_PURGE:
                self._connection.execute(sql)
            self._purges = False

    # What differs where rows are gathered.

    def _add(self, sql: LiteralString, values: tuple[Any, ...]) -> None:
        self._connection.execute(sql, values)

    def _update(self, differs: tuple[bool, ...], values: tuple[Any, ...]) -> None:
        if self._connection.execute(_update(differs), values).rowcount != 1:
            self._fail()

    def _touch_item(self, item: Item, old: Item | None = None, *, gone: bool = False) -> None:
        pass

    def _touch_record(self, kind: str, id: str) -> None:
        pass

    def _follow(self, kind: str, id: str, *, of_item: str = "") -> None:
        pass

    def _fail(self) -> NoReturn:
        # Each row was read in this transaction: an index must contradict its table.
        path = self._connection.execute("PRAGMA database_list").fetchone()[2]
        raise DataCorrupt(NAME, path=path, offset=0, reason="a row that was just read cannot be found",
                          hint="Nothing was changed. `backlog doctor` shows the damage.")  # fmt: skip


class GatheredRows(Rows):
    """
    The rows of a list of changes, sent by `flush`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._touched: set[tuple[str, str]] = set()
        self._gone: set[tuple[str, str]] = set()  # removed or replaced by what is gathered
        self._pending: dict[LiteralString, list[tuple[Any, ...]]] = {}
        self._updates: dict[tuple[bool, ...], list[tuple[Any, ...]]] = {}

    def flush(self) -> None:
        """
        Send what was gathered.
        """
        for differs, rows in self._updates.items():
            if self._connection.executemany(_update(differs), rows).rowcount != len(rows):
                self._fail()
        for sql, rows in self._pending.items():
            if sql is _SIGHT:  # ids are random: in their order each page is found, and written, once
                rows.sort(key=itemgetter(0))
            self._connection.executemany(sql, rows)
        super().flush()
        self._updates.clear()
        self._pending.clear()
        self._touched.clear()
        self._gone.clear()

    def _add(self, sql: LiteralString, values: tuple[Any, ...]) -> None:
        self._pending.setdefault(sql, []).append(values)

    def _update(self, differs: tuple[bool, ...], values: tuple[Any, ...]) -> None:
        self._updates.setdefault(differs, []).append(values)

    def _touch_item(self, item: Item, old: Item | None = None, *, gone: bool = False) -> None:
        keys = _key_of(item)
        if old is not None:
            keys = () if old.key == item.key else (*_key_of(old), *keys)
        self._touch(("item", item.id), *keys)
        if gone:
            self._gone.add(("item", item.id))

    def _touch_record(self, kind: str, id: str) -> None:
        self._touch((kind, id))
        if kind == "sighting":
            self._gone.add((kind, id))

    def _touch(self, *names: tuple[str, str]) -> None:
        if not self._touched.isdisjoint(names):
            self.flush()
        self._touched.update(names)

    def _follow(self, kind: str, id: str, *, of_item: str = "") -> None:
        # Events and sightings are only added: they wait for what removes or replaces them, and for nothing else.
        if (kind, id) in self._gone:
            self.flush()
        self._touched.add((kind, id))
        if of_item:
            self._touched.add(("item", of_item))


def _key_of(item: Item) -> tuple[tuple[str, str], ...]:
    return (("held", f"{item.env}/{item.dedupe_key}"),) if item.dedupe_key else ()


def _texts(item: Item) -> tuple[Any, ...]:
    """
    Return what the index of words is made from.
    """
    return item.title, item.description, item.service, item.dedupe_key, item.fix, item.tags, item.owner
