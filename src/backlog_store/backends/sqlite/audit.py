"""
A look at a store's own form: pages, rows against their documents, the chain of events, the index of words.

It reads in the transaction of the reader that it is given, row by row. What it finds it yields as a sentence.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import msgspec

from backlog_store.backends.keeping import Watch
from backlog_store.backends.port import Backend, Reader
from backlog_store.backends.sqlite import schema, tallies, words
from backlog_store.backends.sqlite.faults import ENGINE_ERRORS, NAME, backend_error
from backlog_store.backends.sqlite.reader import SqliteReader
from backlog_store.codec import decode_event, decode_item, decode_record, encode, encode_event, encode_item
from backlog_store.errors import DataCorrupt
from backlog_store.model import Event
from backlog_store.query import value_of

__all__ = ["audit", "audit_view"]

_PAGE_FAULTS = 100
_TELL_EVERY = 1_000
#: What a document raises that is no document, or is not there at all.
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, TypeError)
#: Columns of items that are no copies of a field.
_OWN = frozenset({"num", "last_event", "doc"})
#: Sums of the terms in the index are compared in so many bits.
_BITS = (1 << 64) - 1

_Step = Callable[[sqlite3.Connection, Watch], Iterator[str]]


def audit(backend: Backend, reader: Reader, watch: Watch) -> Iterator[str]:  # noqa: ARG001  (of every backend)
    """
    Yield what is wrong with the store that *reader* sees. Raises `DataCorrupt` where reading on would not end.
    """
    return audit_view(reader, watch)


def audit_view(reader: Reader, watch: Watch) -> Iterator[str]:
    """
    Yield what is wrong with the store or the copy of one that *reader* sees.
    """
    if not isinstance(reader, SqliteReader):
        return
    path = reader._path
    with _lenient(reader._connection) as connection:
        steps: Sequence[tuple[str, _Step]] = (
            ("schema", _schema), ("pages", _pages), ("events", _events), ("items", _items), ("records", _records),
            ("sightings", _sightings), ("index of words", _index), ("counts", _counts),
        )  # fmt: skip
        for what, step in steps:
            try:
                yield from step(connection, watch)
            except sqlite3.Error as error:
                yield f"{what}: reading ended early: {backend_error('read', path, error)}"
            except UnicodeError as error:  # of names: sqlite3 decodes those without `text_factory`
                yield f"{what}: reading ended early: {error}"
        _require_order(connection, path)


def _require_order(connection: sqlite3.Connection, path: str) -> None:
    """
    Raise `DataCorrupt` where following a history would go round for ever, or nobody can tell.
    """
    try:
        found = connection.execute("SELECT position FROM events WHERE prev >= position LIMIT 1").fetchone()
    except ENGINE_ERRORS as error:
        raise backend_error("read", path, error) from error
    if found is not None:
        reason = f"the event at position {found[0]} says that a later one came before it"
        hint = "Histories cannot be followed through it: bring a backup back (`backlog restore`)."
        raise DataCorrupt(NAME, path=path, offset=0, reason=reason, hint=hint)


@contextmanager
def _lenient(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """
    Let texts that are no UTF-8 be read, and temporary tables be made, meanwhile.
    """
    before = connection.text_factory
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    connection.execute("PRAGMA query_only = OFF")
    try:
        yield connection
    finally:
        with suppress(*ENGINE_ERRORS):  # of a file that is damaged; the table ends with the connection
            connection.execute("DROP TABLE IF EXISTS temp.item_terms")
        connection.execute("PRAGMA query_only = ON")
        connection.text_factory = before


def _schema(connection: sqlite3.Connection, watch: Watch) -> Iterator[str]:
    """
    Compare tables and indexes with those of a new store; what a newer program added is left alone.
    """
    watch("tables", 0, 0)
    found = _objects(connection)
    for name, (definition, columns) in _own_objects().items():
        if name not in found:
            yield f"schema: {name} is missing"
        elif not columns <= found[name][1] or (definition != found[name][0] and not columns):
            yield f"schema: {name} is not as the store made it"


def _own_objects() -> dict[str, tuple[str, frozenset[str]]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        schema.upgrade(fresh)
        return _objects(fresh)


def _objects(connection: sqlite3.Connection) -> dict[str, tuple[str, frozenset[str]]]:
    """
    Return by name what defines an index, and a table's columns.
    """
    listed = connection.execute("SELECT name, type, IFNULL(sql, '') FROM sqlite_master").fetchall()
    quoted = "SELECT name FROM pragma_table_info(?)"
    return {
        name: (
            sql,
            frozenset(column for (column,) in connection.execute(quoted, (name,))) if type == "table" else frozenset(),
        )
        for name, type, sql in listed
    }


def _pages(connection: sqlite3.Connection, watch: Watch) -> Iterator[str]:
    watch("pages", 0, 0)
    for (found,) in connection.execute(f"PRAGMA integrity_check({_PAGE_FAULTS})"):
        if found != "ok":
            yield f"pages: {found}"
    (last,) = connection.execute("SELECT IFNULL(MAX(num), 0) FROM items").fetchone()
    marks = connection.execute("SELECT words_mark, counted_mark FROM marks").fetchone() or (None, None)
    for what, mark in zip(("index of words: is said to reach", "counts: are said to reach"), marks, strict=True):
        if not isinstance(mark, int) or mark > last:
            yield f"{what} {mark}, and the last item is {last}"


#: Where a column holds another field than the one of its name.
_FIELD = {"status": "stage"}


def _items(connection: sqlite3.Connection, watch: Watch) -> Iterator[str]:
    present = _objects(connection).get("items", ("", frozenset()))[1]
    columns = sorted((present & _own_objects()["items"][1]) - _OWN)
    listed = ", ".join(f"items.{column}" for column in columns)  # of our own table
    found = connection.execute(f"""
        SELECT num <= words_mark AND num NOT IN (SELECT num FROM stale_words), num, id, doc, item_words.words,
               terms, {listed}
        FROM marks CROSS JOIN items LEFT JOIN item_words ON item_words.rowid = items.num
        ORDER BY num""")  # noqa: S608
    for number, (is_indexed, num, id, doc, said, terms, *values) in enumerate(found, 1):
        try:
            item = decode_item(doc)
            is_canonical = encode_item(item) == doc
        except _UNREADABLE as error:
            yield f"{id}: its document cannot be read: {error}"
            continue
        if not is_canonical:
            yield f"{id}: its document is not as it was written"
        fields = [item.revision if name == "revision" else value_of(item, _FIELD.get(name, name)) for name in columns]
        if fields != values:
            wrong = [column for column, field, value in zip(columns, fields, values, strict=True) if field != value]
            yield f"{id}: columns differ from the document: {', '.join(wrong)}"
        if is_indexed and (num, said, terms) != words.indexed(num, item):
            yield f"{id}: the index of words holds other words than the document"
        if number % _TELL_EVERY == 0:
            watch("rows of items", number, 0)


def _events(connection: sqlite3.Connection, watch: Watch) -> Iterator[str]:
    found = connection.execute("""
        SELECT position, doc, prev, item_id, revision, ts, type, actor, batch, added
        FROM events
        WHERE revision <> 0 OR doc <> x''
        ORDER BY position""")
    for number, (position, doc, prev, *values) in enumerate(found, 1):
        try:
            event = decode_event(doc)
            is_canonical = encode_event(event) == doc
        except _UNREADABLE as error:
            yield f"event at position {position}: its document cannot be read: {error}"
            continue
        if not is_canonical:
            yield f"event {event.id}: its document is not as it was written"
        if values != _event_values(event):
            yield f"event {event.id}: columns differ from the document"
        if not isinstance(prev, int) or prev < -1:
            yield f"event {event.id}: names no event before it"
        if number % _TELL_EVERY == 0:
            watch("rows of events", number, 0)
    astray = """
        SELECT new.position
        FROM events AS new LEFT JOIN events AS old ON old.position = new.prev
        WHERE new.prev > 0
          AND (old.position IS NULL OR old.item_id <> new.item_id OR old.revision <> new.revision - 1)"""
    for (position,) in connection.execute(astray):
        yield f"event at position {position}: names another event than the one before it"


def _event_values(event: Event) -> list[Any]:
    return [event.item_id, event.revision, event.ts, event.type, event.actor, event.batch, int(event.added)]


def _records(connection: sqlite3.Connection, watch: Watch) -> Iterator[str]:
    found = connection.execute("SELECT kind, id, revision, expires_at, doc FROM records ORDER BY kind, id")
    for number, (kind, id, revision, expires_at, doc) in enumerate(found, 1):
        try:
            record = decode_record(doc)
            is_canonical = encode(record) == doc
        except _UNREADABLE as error:
            yield f"record {kind} {id}: its document cannot be read: {error}"
            continue
        if not is_canonical:
            yield f"record {kind} {id}: its document is not as it was written"
        if (record.kind, record.id, record.revision, record.expires_at) != (kind, id, revision, expires_at):
            yield f"record {kind} {id}: columns differ from the document"
        if number % _TELL_EVERY == 0:
            watch("rows of records", number, 0)


def _sightings(connection: sqlite3.Connection, watch: Watch) -> Iterator[str]:
    watch("rows of sightings", 0, 0)
    strays = "SELECT id, item_id FROM sightings WHERE substr(id, 1, length(item_id) + 1) <> item_id || '/'"
    for id, item_id in connection.execute(strays):
        yield f"sighting {id}: its column says that it is of {item_id}"


def _counts(connection: sqlite3.Connection, watch: Watch) -> Iterator[str]:
    """
    Compare the counts kept with the rows of items.
    """
    watch("counts", 0, 0)
    for facet, env, status, value, more in tallies.differences(connection):
        yield f"counts: {facet} {value!r}, {status}, env {env!r}: {abs(more)} too {'many' if more > 0 else 'few'}"


def _index(connection: sqlite3.Connection, watch: Watch) -> Iterator[str]:
    """
    Compare what the index of words finds with the words it was given, as sums that need no memory.

    SQLite's own check of such an index writes, and so would keep writers waiting all the while.
    """
    given = found = 0
    rows = connection.execute("SELECT rowid, words, terms FROM item_words")
    for number, (rowid, *columns) in enumerate(rows, 1):
        for name, text in zip(("words", "terms"), columns, strict=True):
            for place, term in enumerate(text.split(" ") if text else ()):
                given += hash((term, rowid, name, place))
        if number % _TELL_EVERY == 0:
            watch("index of words", number, 0)
    connection.execute("CREATE VIRTUAL TABLE temp.item_terms USING fts5vocab('main', 'item_words', 'instance')")
    for term, rowid, name, place in connection.execute('SELECT term, doc, col, "offset" FROM temp.item_terms'):
        found += hash((term, rowid, name, place))
    if (given & _BITS) != (found & _BITS):
        yield "index of words: finds other items than those that hold the words"
    strays = "SELECT COUNT(*) FROM item_words_content WHERE id NOT IN (SELECT num FROM items)"
    (count,) = connection.execute(strays).fetchone()
    if count:
        yield f"index of words: holds words of {count} items that are not there"
