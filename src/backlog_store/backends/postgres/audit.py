"""
A look at a store's own form: rows against their documents, tags and words against their items.

It reads page by page on the snapshot of the reader that it is given. Pages and indexes themselves are the server's:
`amcheck` and its data checksums look at those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from backlog_store import codec
from backlog_store.backends.keeping import Watch
from backlog_store.backends.port import Backend, Reader
from backlog_store.backends.postgres import tallies
from backlog_store.backends.postgres.reading import PostgresReader
from backlog_store.backends.postgres.wire import Rows, Statement
from backlog_store.model import LIMITS, Event, Item
from backlog_store.query import item_text, value_of
from backlog_store.words import words_of

__all__ = ["audit"]

_PAGE = 500
#: Columns of items that are copies of a field (``due`` of the due date).
_COPIES = (
    "id", "revision", "env", "service", "category", "priority", "status", "owner", "source", "dedupe_key", "due",
    "created_at", "updated_at", "wake_at", "closed_at", "closed_reason", "expires_at", "fix", "claimed_by",
)  # fmt: skip
_ITEMS = f"""
SELECT
  i.doc,
  coalesce((SELECT json_agg(t.tag ORDER BY t.tag) FROM item_tags AS t WHERE t.item_id = i.id)::text, '[]'),
  coalesce(array_to_json(tsvector_to_array(w.words))::text, 'null'),
  coalesce(w.said, ''),
  {", ".join(f"i.{name}" for name in _COPIES)}
FROM items AS i
LEFT JOIN item_words AS w ON w.item_id = i.id
WHERE i.id > $1
ORDER BY i.id
LIMIT $2
"""  # noqa: S608  (fixed names of columns)
_EVENTS = """
SELECT tx, n, doc, item_id, type, actor, ts, batch, added
FROM events
WHERE (tx, n) > ($1::bigint, $2::integer)
ORDER BY tx, n
LIMIT $3
"""
_RECORDS = """
SELECT kind, id, revision, doc
FROM records
WHERE (kind, id) > ($1, $2)
ORDER BY kind, id
LIMIT $3
"""
#: What belongs to an item that is not there: the table, and the statement.
_STRAYS = {
    "tags": """
SELECT DISTINCT item_id FROM item_tags AS t WHERE NOT EXISTS (SELECT FROM items WHERE id = t.item_id) LIMIT 100
""",
    "words": """
SELECT item_id FROM item_words AS w WHERE NOT EXISTS (SELECT FROM items WHERE id = w.item_id) LIMIT 100
""",
}


def audit(backend: Backend, reader: Reader, watch: Watch) -> Iterator[str]:  # noqa: ARG001  (of every backend)
    """
    Yield what is wrong with the rows that *reader* sees.
    """
    if not isinstance(reader, PostgresReader):
        return
    yield from _items(reader, watch)
    yield from _events(reader, watch)
    yield from _records(reader, watch)
    watch("counts", 0, 0)
    for facet, env, status, value, more in tallies.differences(reader):
        yield f"counts: {facet} {value!r}, {status}, env {env!r}: {abs(more)} too {'many' if more > 0 else 'few'}"
    for what, statement in _STRAYS.items():
        for (item_id,) in _ask(reader, statement):
            yield f"{item_id.decode()}: has {what}, and is not there"


def _ask(reader: PostgresReader, statement: str, *parameters: Any) -> Rows:
    return reader._ask(Statement(statement, parameters), whole=True)


def _items(reader: PostgresReader, watch: Watch) -> Iterator[str]:
    after, done = "", 0
    while rows := _ask(reader, _ITEMS, after, _PAGE):
        for doc, tags, lexemes, said, *copies in rows:
            values = [value.decode() for value in copies]
            try:
                item = codec.decode_item(doc)
                is_canonical = codec.encode_item(item) == doc
            except (msgspec.MsgspecError, UnicodeError) as error:
                yield f"{values[0]}: its document cannot be read: {error}"
                continue
            if not is_canonical:
                yield f"{values[0]}: its document is not as it was written"
            wrong = [name for name, value in zip(_COPIES, values, strict=True) if _text(item, name) != value]
            if wrong:
                yield f"{values[0]}: columns differ from the document: {', '.join(wrong)}"
            if sorted(set(item.tags)) != codec.decode_json(tags):
                yield f"{values[0]}: the rows of its tags differ from the document"
            if not _says(item, codec.decode_json(lexemes), said.decode()):
                yield f"{values[0]}: the index of words holds other words than the document"
        done += len(rows)
        after = rows[-1][4].decode()
        watch("rows of items", done, 0)


def _text(item: Item, name: str) -> str:
    return str(item.revision) if name == "revision" else value_of(item, "stage" if name == "status" else name)


def _says(item: Item, lexemes: list[str] | None, said: str) -> bool:
    words = words_of(item_text(item))[: LIMITS.words]
    return lexemes is not None and set(lexemes) == set(words) and said == f" {' '.join(words)} "


def _events(reader: PostgresReader, watch: Watch) -> Iterator[str]:
    tx, n, done = "-1", "0", 0
    while rows := _ask(reader, _EVENTS, tx, n, _PAGE):
        for row in rows:
            doc, values = row[2], [value.decode() for value in row[3:]]
            place = f"{row[0].decode()}.{row[1].decode()}"
            try:
                event = codec.decode_event(doc)
                is_canonical = codec.encode_event(event) == doc
            except (msgspec.MsgspecError, UnicodeError) as error:
                yield f"event at position {place}: its document cannot be read: {error}"
                continue
            if not is_canonical:
                yield f"event {event.id}: its document is not as it was written"
            if values != _event_values(event):
                yield f"event {event.id}: columns differ from the document"
        done += len(rows)
        tx, n = rows[-1][0].decode(), rows[-1][1].decode()
        watch("rows of events", done, 0)


def _event_values(event: Event) -> list[str]:
    return [event.item_id, event.type, event.actor, event.ts, event.batch, "t" if event.added else "f"]


def _records(reader: PostgresReader, watch: Watch) -> Iterator[str]:
    kind, id, done = "", "", 0
    while rows := _ask(reader, _RECORDS, kind, id, _PAGE):
        for row in rows:
            kind, id = row[0].decode(), row[1].decode()
            try:
                record = codec.decode_record(row[3])
                is_canonical = codec.encode(record) == row[3]
            except (msgspec.MsgspecError, UnicodeError) as error:
                yield f"record {kind} {id}: its document cannot be read: {error}"
                continue
            if not is_canonical:
                yield f"record {kind} {id}: its document is not as it was written"
            if (record.kind, record.id, str(record.revision)) != (kind, id, row[2].decode()):
                yield f"record {kind} {id}: columns differ from the document"
        done += len(rows)
        watch("rows of records", done, 0)
