"""
Reading: a `port.Reader` over one connection, in the transaction that its backend has begun.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, LiteralString

from backlog_store.backends.positions import position_text
from backlog_store.backends.sql.compile import compile_events
from backlog_store.backends.sql.counting import compile_tally
from backlog_store.backends.sql.dialects import SQLITE, Statement
from backlog_store.backends.sql.pages import compile_items
from backlog_store.backends.sql.stages import tally_keys
from backlog_store.backends.sqlite import tallies, words
from backlog_store.backends.sqlite.faults import ENGINE_ERRORS, NAME, backend_error
from backlog_store.codec import Undecoded, decode_event, decode_item, decode_record, encode
from backlog_store.errors import BackendError
from backlog_store.model import Event, Item, ItemId, Key, Record, RecordKind
from backlog_store.query import EventQuery, Facet, ItemQuery, Where

__all__ = ["BY_KEY", "CatchUp", "SqliteReader", "among_ids", "is_storable"]

#: Who had to look at more rows than this lets the index of words, or the counts, catch up.
LAG_MAX = 64

CatchUp = Callable[[sqlite3.Connection], None]

# Each env once, by looking for the next greater one: as many steps in the index as there are envs.
_ENVS: LiteralString = """
    WITH RECURSIVE found (env) AS (
      SELECT MIN(env) FROM items
      UNION ALL
      SELECT (SELECT MIN(env) FROM items WHERE items.env > found.env) FROM found WHERE found.env IS NOT NULL
    )
    SELECT env FROM found WHERE env IS NOT NULL"""
_SIGHTING_COLUMNS: LiteralString = "id, n, first_at, last_at, run"


class SqliteReader:
    """
    One consistent view of the store.
    """

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._searched_words = self._counted = False
        self._found_envs: list[str] | None = None
        self.is_over = False

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:
        """
        Return the items of these ids.
        """
        return {item.id: item for item in map(self._item, self._rows(_by_ids(ids)))}

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:
        """
        Return the items that hold these keys now.
        """
        if len(keys) == 1:
            items = [self._item(row) for statement in _by_keys(keys) for row in self._rows(statement)]
            return {(item.env, item.dedupe_key): item for item in items}
        docs: dict[Key, bytes] = {}
        for statement in _by_keys(keys):
            for row in self._rows(statement):
                docs[row[0], row[1]] = row[-1]
                self._note_standing(row)
        return Undecoded(docs, self._decoded)

    def search(self, query: ItemQuery) -> Sequence[Item]:
        """
        Return a page of items.
        """
        statement = self._noted(compile_items(query, SQLITE, envs=self._envs))
        return [decode_item(row[0]) for row in self._rows(statement)]

    def tally(self, where: Where, by: Sequence[Facet]) -> Mapping[tuple[str, ...], int]:
        """
        Count the items that match, by facet values.
        """
        return tally_keys(by, self._rows(self._noted(compile_tally(where, by, SQLITE, envs=self._envs))))

    def events(self, query: EventQuery) -> Sequence[Event]:
        """
        Return events in order of position.
        """
        rows = self._rows(compile_events(query, SQLITE))
        return [decode_event(doc, position=position_text(position)) for position, doc in rows]

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:
        """
        Return the records of this kind and these ids.
        """
        return {record.id: record for record in self._records(kind, among_ids(ids), "")}

    def scan(self, kind: RecordKind, prefix: str, after: str, limit: int) -> Sequence[Record]:
        """
        Return up to *limit* records in bytewise id order.
        """
        if limit <= 0 or not is_storable(prefix):
            return []
        # No `after` is the start, also for the record whose id is the empty text.
        least = Statement("id > ?", (after,)) if after and after >= prefix else Statement("id >= ?", (prefix,))
        end = _end_of(prefix)
        where = least if end is None else Statement(f"{least.sql} AND id < ?", (*least.parameters, end))
        return self._records(kind, where, "\nORDER BY id\nLIMIT ?", limit)

    def _records(self, kind: str, where: Statement, tail: LiteralString, *more: Any) -> list[Record]:
        if kind == "sighting":
            sql = f"SELECT {_SIGHTING_COLUMNS}\nFROM sightings\nWHERE {where.sql}{tail}"
            return [_sighting(*row) for row in self._rows(Statement(sql, (*where.parameters, *more)))]
        sql = f"SELECT doc\nFROM records\nWHERE kind = ? AND {where.sql}{tail}"
        rows = self._rows(Statement(sql, (kind, *where.parameters, *more)))
        return [decode_record(row[0]) for row in rows]

    def lagging(self) -> tuple[CatchUp, ...]:
        """
        Return how that catches up which this view has used, and of which much had to be looked at in the tables.
        """
        used = ((words, self._searched_words), (tallies, self._counted))
        return tuple(kept.catch_up for kept, is_used in used if is_used and kept.pending(self._connection) > LAG_MAX)

    def _noted(self, statement: Statement) -> Statement:
        self._searched_words = self._searched_words or "item_words" in statement.sql
        self._counted = self._counted or "tallies" in statement.sql
        return statement

    def _envs(self) -> list[str]:
        if self._found_envs is None:
            self._found_envs = [row[0] for row in self._rows(Statement(_ENVS))]
        return self._found_envs

    def _item(self, row: tuple[Any, ...]) -> Item:
        return self._decoded(row[0])

    def _decoded(self, doc: bytes) -> Item:
        return decode_item(doc)

    def _note_standing(self, row: tuple[Any, ...]) -> None:
        """
        Take note of a row of several items that are handed out undecoded: env, key, id, revision, last event, document.
        """

    def _rows(self, statement: Statement) -> list[Any]:
        self._require_open()
        try:
            return self._connection.execute(statement.sql, statement.parameters).fetchall()
        except ENGINE_ERRORS as error:
            raise backend_error("read", self._path, error) from error

    def _require_open(self) -> None:
        if self.is_over:
            hint = "Use a reader or writer only inside the function that it was handed to."
            raise BackendError(NAME, "read", "the transaction is over", hint=hint)


def among_ids(ids: Iterable[str]) -> Statement:
    """
    Return the condition that the column ``id`` has one of these values: one text of SQL for any number of them.
    """
    storable = [id for id in ids if is_storable(id)]
    if len(storable) == 1:
        return Statement("id = ?", (storable[0],))
    return Statement("id IN (SELECT value FROM json_each(?))", (encode(storable).decode(),))


def _by_ids(ids: Iterable[ItemId]) -> Statement:
    wanted = among_ids(ids)
    return Statement(f"SELECT doc, last_event FROM items WHERE {wanted.sql}", wanted.parameters)  # noqa: S608


def _by_keys(keys: Collection[Key]) -> Iterable[Statement]:
    by_env: dict[str, list[str]] = {}
    for env, dedupe_key in keys:
        if dedupe_key and is_storable(env) and is_storable(dedupe_key):
            by_env.setdefault(env, []).append(dedupe_key)
    for env, dedupe_keys in by_env.items():
        if len(keys) == 1:
            yield Statement(BY_KEY, (env, dedupe_keys[0]))
        else:
            yield Statement(_BY_KEYS, (env, encode(dedupe_keys).decode()))


# The index of keys leaves out empty ones; SQLite uses it only where the statement says so too.
BY_KEY: LiteralString = "SELECT doc, last_event FROM items WHERE env = ? AND dedupe_key = ? AND dedupe_key <> ''"
_BY_KEYS: LiteralString = """
    SELECT env, dedupe_key, id, revision, last_event, doc FROM items
    WHERE env = ? AND dedupe_key IN (SELECT value FROM json_each(?)) AND dedupe_key <> ''"""


def _sighting(id: str, n: int, first_at: str, last_at: str, run: str) -> Record:
    body: dict[str, Any] = {"n": n, "first_at": first_at, "last_at": last_at}
    if run:
        body["run"] = run
    return Record(kind="sighting", id=id, revision=1, body=body)


def is_storable(text: str) -> bool:
    """
    Tell whether a store can hold *text* at all, and so whether SQLite can be asked for it.
    """
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


def _end_of(prefix: str) -> str | None:
    """
    Return the least text greater than every text that starts with *prefix*; `None` if there is none.
    """
    for end in range(len(prefix), 0, -1):
        code = ord(prefix[end - 1])
        if code < 0x10FFFF:
            # U+D800 to U+DFFF are no letters, and no text holds them.
            following = 0xE000 if code == 0xD7FF else code + 1
            return prefix[: end - 1] + chr(following)
    return None
