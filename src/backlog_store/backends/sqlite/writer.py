"""
Writing: a `port.Writer` over the one connection that writes, inside ``BEGIN IMMEDIATE``.

Nobody else writes while that transaction is open. So what it has read stays true, is remembered, and is what the
conditions of changes are checked on before the first row is touched: a refused list has written nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from backlog_store.backends.port import Change, DropRecord, Hint, Load, Purge, Put, PutRecord, Require, Sighting, Trim
from backlog_store.backends.preconditions import check_changes, check_event
from backlog_store.backends.sql.dialects import Statement
from backlog_store.backends.sqlite import glance, tallies, words
from backlog_store.backends.sqlite.faults import ENGINE_ERRORS, backend_error
from backlog_store.backends.sqlite.reader import CatchUp, SqliteReader, among_ids
from backlog_store.backends.sqlite.rows import INSERT_EVENT, INSERT_ITEM, GatheredRows, Rows, event_values, item_values
from backlog_store.codec import Undecoded, decode_record
from backlog_store.model import Event, Item, ItemId, Key, Record, RecordKind

__all__ = ["SqliteWriter"]

#: What is kept behind is looked at when the events' position passes a multiple of this.
_LOOK_EVERY = 256


class SqliteWriter(SqliteReader):
    """
    A reader that can also apply changes. Once one failed half-way, `failure` is set and the transaction cannot commit.
    """

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        super().__init__(connection, path)
        self.failure: BaseException | None = None
        self.changed = 0  # changes applied so far
        self._position = self._position_before = -1  # of the last event, once there is a next one
        self._items: dict[ItemId, Item | None] = {}
        self._undecoded: dict[ItemId, tuple[int, Key]] = {}  # of items that nobody has looked at: revision and key
        self._last_events: dict[ItemId, int] = {}
        self._holders: dict[Key, ItemId | None] = {}
        self._revisions: dict[tuple[str, str], int] = {}
        self._glance: glance.Glance = {}

    def look_ahead(self, hint: Hint) -> None:
        """
        Read what a small *hint* names in one go.
        """
        try:
            self._glance, self._position = glance.take(self._connection, hint)
        except ENGINE_ERRORS as error:
            raise backend_error("read", self._path, error) from error
        self._position_before = self._position

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:
        """
        Return the items of these ids, and remember them.
        """
        seen = self._seen("id", ids)
        found = super().items(ids) if seen is None else {item.id: item for item in map(self._item, seen)}
        for id in ids:
            if id not in found:
                self._items[id] = None
        return found

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:
        """
        Return the items that hold these keys now, and remember them.
        """
        seen = self._seen("key", keys)
        found: Mapping[Key, Item]
        if seen is None:
            found = super().items_by_key(keys)
            if not isinstance(found, Undecoded):
                self._holders.update({key: item.id for key, item in found.items()})
        else:
            found = {}
            for row in seen:
                item = self._item(row)
                key = (item.env, item.dedupe_key)
                found[key], self._holders[key] = item, item.id
        for key in keys:
            if key not in found:
                self._holders[key] = None
        return found

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:
        """
        Return the records of this kind and these ids, and remember their revisions.
        """
        seen = self._seen(kind, ids)
        found: Mapping[str, Record]
        if seen is None:
            found = super().records(kind, ids)
        else:
            found = {}
            for doc, _ in seen:
                record = decode_record(doc)
                found[record.id] = record
        for id in ids:
            self._revisions[kind, id] = found[id].revision if id in found else 0
        return found

    def apply(self, changes: Sequence[Change]) -> None:
        """
        Apply all changes, or none. Raises as `check_changes`, before anything is written.
        """
        self._require_open()
        self._glance = {}
        self._found_envs = None
        one = changes[0] if len(changes) == 1 else None
        # A new item alone is most of what is written: that its id and key are free is left to the indexes.
        new = one if isinstance(one, Put) and one.created else None
        if new is not None:
            check_event(new)
        else:
            if not self._is_known(one):
                self._look_up(changes)
            check_changes(self, changes)
        try:
            if new is not None:
                self._insert(new.item, new.event)
            else:
                self._write(changes)
        except sqlite3.IntegrityError as error:
            if new is not None:
                self._name_holder(changes)
            self._fail(error)
        except sqlite3.Error as error:
            self._fail(error)
        except BaseException as error:  # a value that has no row or no JSON form, or an interrupt
            self.failure = error
            raise

    def _is_known(self, change: Change | None) -> bool:
        """
        Tell whether *change* is the next state of an item that was read, under the same key: all it needs is at hand.
        """
        if not isinstance(change, Put):
            return False
        stored = self._items.get(change.item.id)
        return stored is not None and stored.key == change.item.key

    def _name_holder(self, changes: Sequence[Change]) -> None:
        """
        Raise `AlreadyExists` for a new item that the indexes refused. Its row is the first one, so nothing was written.
        """
        self._items.clear()
        self._holders.clear()
        self._look_up(changes)
        check_changes(self, changes)

    def _fail(self, error: sqlite3.Error) -> NoReturn:
        self.failure = failure = backend_error("write", self._path, error)
        raise failure from error

    def catch_up(self, *kept: CatchUp) -> None:
        """
        Let the index of words, or the counts, catch up.
        """
        try:
            for catch_up in kept:
                catch_up(self._connection)
        except sqlite3.Error as error:
            raise backend_error("write", self._path, error) from error

    def finish(self) -> None:
        """
        Do what is due before the commit. Raises the failure of an earlier `apply`, also where the function caught it.
        """
        self._require_open()
        if self._position_before // _LOOK_EVERY != self._position // _LOOK_EVERY:
            for kept in (words, tallies):
                if kept.pending(self._connection) >= kept.PENDING_MAX:
                    self.catch_up(kept.catch_up)

    def _seen(self, kind: str, names: Collection[Any]) -> list[tuple[bytes, int]] | None:
        """
        Return the rows under these names if all of them were looked at ahead; `None` if the store must be asked.
        """
        if self.is_over or self.failure is not None:
            self._require_open()
        glance = self._glance
        rows = []
        for name in names:
            if (kind, name) not in glance:
                return None
            row = glance[kind, name]
            if row is not None:
                rows.append(row)
        return rows

    # What the preconditions look at; `_look_up` has fetched it, and what it did not find is absent.

    def item_standing(self, id: ItemId) -> tuple[int, Key | None]:
        """
        Return the item's revision and key; ``(0, None)`` if it is absent.
        """
        if id not in self._items and id in self._undecoded:
            return self._undecoded[id]
        item = self._items.get(id)
        return (0, None) if item is None else (item.revision, item.key)

    def key_holder(self, key: Key) -> ItemId | None:
        """
        Return the id of the item that holds *key*, if any.
        """
        return self._holders.get(key)

    def record_revision(self, kind: str, id: str) -> int:
        """
        Return the record's revision; 0 if it is absent.
        """
        return self._revisions.get((kind, id), 0)

    def _look_up(self, changes: Sequence[Change]) -> None:
        """
        Read what the conditions of *changes* are about and was not read yet, in one statement for each table.
        """
        ids: dict[ItemId, None] = {}
        records: dict[str, dict[str, None]] = {}
        keyed: list[Item] = []
        for change in changes:
            match change:
                case Put(item) | Load(item):
                    ids[item.id] = None
                    keyed.append(item)
                case Sighting(id) | Require("item", id) if id in self._undecoded:
                    pass
                case Purge(id) | Sighting(id) | Require("item", id):
                    ids[id] = None
                case PutRecord(record):
                    records.setdefault(record.kind, {})[record.id] = None
                case DropRecord(kind, id) | Require(kind, id):
                    records.setdefault(kind, {})[id] = None
        unknown = [id for id in ids if id not in self._items]
        if unknown:
            self.items(unknown)
        keys = {item.key for item in keyed if item.key is not None and item.key not in self._holders}
        for item in keyed:
            stored = self._items[item.id]
            # What an item holds already needs no look at the index.
            if stored is not None and stored.key is not None and stored.key in keys:
                keys.discard(stored.key)
                self._holders[stored.key] = stored.id
        if keys:
            self.items_by_key(keys)
        for kind, wanted in records.items():
            # Sightings come and go with items, and are looked up each time.
            known = () if kind == "sighting" else self._revisions
            self._look_up_revisions(kind, [id for id in wanted if (kind, id) not in known])

    def _look_up_revisions(self, kind: str, ids: Sequence[str]) -> None:
        if not ids:
            return
        where = among_ids(ids)
        if kind == "sighting":
            found = self._rows(Statement(f"SELECT id, 1 FROM sightings WHERE {where.sql}", where.parameters))  # noqa: S608
        else:
            sql = f"SELECT id, revision FROM records WHERE kind = ? AND {where.sql}"  # noqa: S608
            found = self._rows(Statement(sql, (kind, *where.parameters)))
        revisions = dict(found)
        for id in ids:
            self._revisions[kind, id] = revisions.get(id, 0)

    # Writing, once every condition holds.

    def _insert(self, item: Item, event: Event) -> None:
        """
        Write a new item alone: what `_write` comes to for it, without what is there for lists.
        """
        execute = self._connection.execute
        position = self._next_positions(1)
        execute(INSERT_ITEM, item_values(item, position))
        execute(INSERT_EVENT, event_values(event, position, 0))
        self._items[item.id] = item
        self._last_events[item.id] = position
        if item.dedupe_key:
            self._holders[item.env, item.dedupe_key] = item.id
        self.changed += 1

    def _insert_all(self, new: Sequence[Put]) -> None:
        """
        Write new items of which no two are the same: what `_write` comes to for them.
        """
        first = self._next_positions(len(new))
        items = [item_values(put.item, position) for position, put in enumerate(new, first)]
        events = [event_values(put.event, position, 0) for position, put in enumerate(new, first)]
        self._connection.executemany(INSERT_ITEM, items)
        self._connection.executemany(INSERT_EVENT, events)
        for position, put in enumerate(new, first):
            item = put.item
            self._items[item.id] = item
            self._last_events[item.id] = position
            if item.dedupe_key:
                self._holders[item.env, item.dedupe_key] = item.id
        self.changed += len(new)

    def _write(self, changes: Sequence[Change]) -> None:
        new = [change for change in changes if type(change) is Put and change.created]
        if len(new) == len(changes):
            self._insert_all(new)
            return
        rows = Rows(self._connection) if len(changes) == 1 else GatheredRows(self._connection)
        for change in changes:
            match change:
                case Put(item, event):
                    self._put(rows, item, (event,))
                case Load(item, events):
                    self._put(rows, item, events)
                case Purge(id):
                    self._purge(rows, id)
                case Trim(id, revision):
                    last = rows.trim_events(id, revision)
                    if id in self._last_events:
                        self._last_events[id] = last
                case PutRecord(record, event):
                    self._revisions[record.kind, record.id] = record.revision
                    rows.put_record(record)
                    if event is not None:
                        rows.add_event(event, self._next_positions(1), -1)
                case DropRecord(kind, id):
                    self._revisions[kind, id] = 0
                    rows.drop_record(kind, id)
                case Sighting():
                    rows.sight(change)
                case Require():
                    pass
        rows.flush()
        self.changed += len(changes)

    def _put(self, rows: Rows, item: Item, events: Sequence[Event]) -> None:
        stored = self._items.get(item.id)
        prev = self._last_events[item.id] if stored is not None else 0
        first = self._next_positions(len(events))
        last = first + len(events) - 1 if events else prev
        if stored is None:
            rows.insert_item(item, last)
        else:
            rows.update_item(stored, item, last)
            if stored.key is not None and stored.key != item.key:
                self._holders[stored.key] = None
        for position, event in enumerate(events, first):
            rows.add_event(event, position, prev)
            prev = position
        if item.key is not None:
            self._holders[item.key] = item.id
        self._items[item.id] = item
        self._last_events[item.id] = last

    def _next_positions(self, count: int) -> int:
        """
        Take the next *count* positions and return the first of them.
        """
        if self._position < 0:
            row: Any = self._connection.execute("SELECT IFNULL(MAX(position), 0) FROM events").fetchone()
            self._position = self._position_before = row[0]
        first = self._position + 1
        self._position += count
        return first

    def _purge(self, rows: Rows, id: ItemId) -> None:
        item = self._items[id]
        if item is None:  # the conditions have ruled it out
            raise AssertionError(id)
        rows.purge_item(item)
        self._items[id] = None
        if item.key is not None:
            self._holders[item.key] = None

    def _item(self, row: tuple[Any, ...]) -> Item:
        item = super()._item(row)
        self._last_events[item.id] = row[1]
        return item

    def _decoded(self, doc: bytes) -> Item:
        item = super()._decoded(doc)
        self._items.setdefault(item.id, item)  # it may be decoded after it was changed
        return item

    def _note_standing(self, row: tuple[Any, ...]) -> None:
        env, dedupe_key, id, revision, last_event, _ = row
        self._undecoded[id] = (revision, (env, dedupe_key))
        self._holders[env, dedupe_key] = id
        self._last_events[id] = last_event

    def _require_open(self) -> None:
        if self.is_over:
            super()._require_open()
        if self.failure is not None:
            raise self.failure
