"""
Every statement that writes, and the rows that go with it.

They work on a set of rows: on one row as plain parameters, on more as one array a column. A statement whose condition
must hold ends in ``1 / (count = expected)::int``: a division by zero (SQLSTATE 22012) stops the exchange before COMMIT,
so that writing and checking cost one round trip. An insert needs no such end: a row that is there already is refused.
"""

# ruff: noqa: S608 - what is put into these texts are fixed names of columns; values are parameters.
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backlog_store import codec
from backlog_store.backends.postgres.parameters import array, array_of_documents
from backlog_store.backends.postgres.wire import Statement
from backlog_store.model import LIMITS, Event, Item, Record
from backlog_store.query import NO_DUE, item_text
from backlog_store.words import words_of

__all__ = ["Form", "Row", "event_row", "item_row", "record_row", "words_row"]

Row = tuple[Any, ...]


class Form:
    """
    A statement over rows; *name* tells it from others whose answer does not matter.

    ``{rows}`` in *sql* is where they stand, as a relation ``r`` of these columns; ``{checked}`` is the expression that
    fails unless as many rows were done as there are. *one* is the same on one row, ``$1``, ``$2``…, for the statements
    of single writes: the server plans it in half the time.
    """

    def __init__(self, sql: str, columns: tuple[tuple[str, str], ...], one: str = "", name: str = "") -> None:
        names = ", ".join(name for name, _ in columns)
        arrays = ", ".join(f"${n}::{type}[]" for n, (_, type) in enumerate(columns, 1))
        values = ", ".join(f"${n}::{type} AS {name}" for n, (name, type) in enumerate(columns, 1))
        checked = f"1 / (count(*) = ${len(columns) + 1}::bigint)::int"
        self.name = name
        self._is_checked = "{checked}" in sql
        self._is_one_checked = self._is_checked and not one
        self._many = sql.format(rows=f"unnest({arrays}) AS r ({names})", checked=checked)
        self._one = one or sql.format(rows=f"(SELECT {values}) AS r", checked=checked)

    def on(self, rows: Sequence[Row]) -> Statement:
        """
        Return the statement on these rows, at least one.
        """
        if len(rows) == 1:
            row = (*rows[0], 1) if self._is_one_checked else rows[0]
            return Statement(self._one, row, True, self.name)
        parameters: list[Any] = [_array(column) for column in zip(*rows, strict=True)]
        if self._is_checked:
            parameters.append(len(rows))
        return Statement(self._many, parameters, True, self.name)


def _insert(table: str, columns: tuple[tuple[str, str], ...]) -> Form:
    names = ", ".join(name for name, _ in columns)
    insert = f"INSERT INTO {table} ({names})"
    return Form(f"{insert} SELECT {names} FROM {{rows}}", columns, f"{insert} VALUES ({marks(columns)})")


def marks(columns: Sequence[Any]) -> str:
    return ", ".join(f"${number}" for number in range(1, len(columns) + 1))


def _array(values: Sequence[Any]) -> bytes:
    match values[0]:
        case str():
            return array(values)
        case bytes():
            return array_of_documents(values)
        case bool():
            return b"{" + b",".join(b"t" if value else b"f" for value in values) + b"}"
        case _:
            return b"{" + b",".join(b"%d" % value for value in values) + b"}"


def _texts(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, "text") for name in names)


# --- writing items ---------------------------------------------------------------------------------------------------

ITEM = (
    ("id", "text"), ("revision", "bigint"),
    *_texts(
        "env", "service", "category", "priority", "status", "owner", "source", "dedupe_key", "due", "created_at",
        "updated_at", "wake_at", "closed_at", "closed_reason", "expires_at", "fix", "claimed_by", "doc",
    ),
)  # fmt: skip
ITEM_NAMES = ", ".join(name for name, _ in ITEM)
#: The number of this transaction, as it stands in positions.
TX = "(SELECT base FROM clock) + pg_current_xact_id()::text::bigint"

CREATE = _insert("items", ITEM)
CHANGE = Form(
    f"""
WITH done AS (
  UPDATE items AS i
  SET {", ".join(f"{name} = r.{name}" for name, _ in ITEM[1:])}
  FROM {{rows}}
  WHERE i.id = r.id AND i.revision = r.revision - 1
  RETURNING 1
)
SELECT {{checked}} FROM done
""",
    ITEM,
    f"""
WITH done AS (
  UPDATE items
  SET {", ".join(f"{name} = ${number}" for number, (name, _) in enumerate(ITEM[1:], 2))}
  WHERE id = $1 AND revision = $2::bigint - 1
  RETURNING 1
)
SELECT 1 / count(*) FROM done
""",
)
PURGE = Form(
    """
WITH done AS (
  DELETE FROM items AS i
  USING {rows}
  WHERE i.id = r.id AND i.revision = r.revision
  RETURNING 1
)
SELECT {checked} FROM done
""",
    (("id", "text"), ("revision", "bigint")),
)
#: What goes with a purged item. "0" is the character after "/": the ids of its sightings lie in between.
PURGE_REST = (
    "DELETE FROM events WHERE item_id = ANY($1)",
    "DELETE FROM item_words WHERE item_id = ANY($1)",
    "DELETE FROM item_tags WHERE item_id = ANY($1)",
    """
DELETE FROM sightings AS s
USING unnest($1::text[]) AS r (id)
WHERE s.id >= (r.id || '/') COLLATE "C" AND s.id < (r.id || '0') COLLATE "C"
""",
)
#: The revision stands in the document alone: few ask for it, and no column has to be written for it.
TRIM = Form(
    """
DELETE FROM events AS e
USING {rows}
WHERE e.item_id = r.item_id AND (e.doc::json ->> 'revision')::bigint < r.revision
""",
    (("item_id", "text"), ("revision", "bigint")),
)
_WORDS = _texts("item_id", "words", "said")
NEW_WORDS = Form(
    "INSERT INTO item_words (item_id, words, said) SELECT item_id, words::tsvector, said FROM {rows}",
    _WORDS,
    f"INSERT INTO item_words (item_id, words, said) VALUES ({marks(_WORDS)})",
)
WORDS = Form(
    """
INSERT INTO item_words (item_id, words, said)
SELECT item_id, words::tsvector, said FROM {rows}
ON CONFLICT (item_id) DO UPDATE SET words = excluded.words, said = excluded.said
""",
    _WORDS,
)
CLEAR_TAGS = "DELETE FROM item_tags WHERE item_id = ANY($1)"
TAGS = _insert("item_tags", _texts("item_id", "tag"))
EVENT = (("n", "integer"), *_texts("item_id", "type", "actor", "ts", "batch"), ("added", "boolean"), ("doc", "text"))
EVENT_NAMES = ", ".join(name for name, _ in EVENT)
EVENTS = Form(
    f"""
WITH done AS (
  INSERT INTO events (tx, {EVENT_NAMES})
  SELECT {TX}, {EVENT_NAMES} FROM {{rows}}
  RETURNING tx
)
SELECT max(tx) FROM done
""",
    EVENT,
    f"INSERT INTO events (tx, {EVENT_NAMES}) VALUES ({TX}, {marks(EVENT)}) RETURNING tx",
    "events",
)

# --- writing records -------------------------------------------------------------------------------------------------

_RECORD = (("kind", "text"), ("id", "text"), ("revision", "bigint"), ("doc", "text"))
_NAMED = (("kind", "text"), ("id", "text"), ("revision", "bigint"))
CREATE_RECORD = _insert("records", _RECORD)
CHANGE_RECORD = Form(
    """
WITH done AS (
  UPDATE records AS s
  SET revision = r.revision, doc = r.doc
  FROM {rows}
  WHERE s.kind = r.kind AND s.id = r.id AND s.revision = r.revision - 1
  RETURNING 1
)
SELECT {checked} FROM done
""",
    _RECORD,
    """
WITH done AS (
  UPDATE records SET revision = $3, doc = $4 WHERE kind = $1 AND id = $2 AND revision = $3::bigint - 1 RETURNING 1
)
SELECT 1 / count(*) FROM done
""",
)
FORCE_RECORD = Form(
    """
INSERT INTO records (kind, id, revision, doc)
SELECT kind, id, revision, doc FROM {rows}
ON CONFLICT (kind, id) DO UPDATE SET revision = excluded.revision, doc = excluded.doc
""",
    _RECORD,
)
DROP_RECORD = Form(
    """
WITH done AS (
  DELETE FROM records AS s
  USING {rows}
  WHERE s.kind = r.kind AND s.id = r.id AND s.revision = r.revision
  RETURNING 1
)
SELECT {checked} FROM done
""",
    _NAMED,
)

# --- sightings -------------------------------------------------------------------------------------------------------

_ADD_UP = """
ON CONFLICT (id, slot) DO UPDATE SET
    n = s.n + excluded.n,
    first_at = least(s.first_at, excluded.first_at),
    last_at = greatest(s.last_at, excluded.last_at),
    run = CASE WHEN excluded.run > '' THEN excluded.run ELSE s.run END,
    run_at = CASE WHEN excluded.run > '' THEN excluded.run_at ELSE s.run_at END
"""
#: The items are held so that none is purged meanwhile and leaves its sightings behind.
SIGHT = Form(
    f"""
WITH held AS (
  SELECT i.id FROM items AS i WHERE i.id IN (SELECT item_id FROM {{rows}}) FOR KEY SHARE
),
added AS (
  INSERT INTO sightings AS s (id, slot, n, first_at, last_at, run, run_at)
  SELECT id, pg_backend_pid() % 16, n, first_at, last_at, run, {TX} FROM {{rows}}
  {_ADD_UP}
)
SELECT 1 / (count(*) = (SELECT count(DISTINCT item_id) FROM {{rows}}))::int FROM held
""",
    (*_texts("item_id", "id"), ("n", "bigint"), *_texts("first_at", "last_at", "run")),
    f"""
WITH held AS (
  SELECT id FROM items WHERE id = $1 FOR KEY SHARE
),
added AS (
  INSERT INTO sightings AS s (id, slot, n, first_at, last_at, run, run_at)
  VALUES ($2, pg_backend_pid() % 16, $3, $4, $5, $6, {TX})
  {_ADD_UP}
)
SELECT 1 / count(*) FROM held
""",
)
#: A sighting's record has no revisions of its own: stored, it is at 1.
SIGHTINGS_ABSENT = "SELECT 1 / (count(*) = 0)::int FROM sightings WHERE id = ANY($1)"
SIGHTINGS_PRESENT = "SELECT 1 / (count(DISTINCT id) = cardinality($1::text[]))::int FROM sightings WHERE id = ANY($1)"
VIOLATED = "SELECT 1 / 0"
CLEAR_SIGHTINGS = "DELETE FROM sightings WHERE id = ANY($1)"
SET_SIGHTINGS = Form(
    f"""
INSERT INTO sightings (id, slot, n, first_at, last_at, run, run_at)
SELECT id, 0, n, first_at, last_at, run, {TX} FROM {{rows}}
""",
    (("id", "text"), ("n", "bigint"), *_texts("first_at", "last_at", "run")),
)

# --- what was relied on ----------------------------------------------------------------------------------------------

#: FOR SHARE waits for a writer of the row and keeps the next one away until the end: no skew without SERIALIZABLE.
REQUIRE_ITEM = Form(
    """
WITH held AS (
  SELECT i.id FROM items AS i JOIN {rows} ON i.id = r.id AND i.revision = r.revision ORDER BY i.id FOR SHARE OF i
)
SELECT {checked} FROM held
""",
    (("id", "text"), ("revision", "bigint")),
)
REQUIRE_RECORD = Form(
    """
WITH held AS (
  SELECT s.id
  FROM records AS s
  JOIN {rows} ON s.kind = r.kind AND s.id = r.id AND s.revision = r.revision
  ORDER BY s.kind, s.id
  FOR SHARE OF s
)
SELECT {checked} FROM held
""",
    _NAMED,
)
#: What is absent has no row to lock, so one is put there, which meets any other writer of the same id, and taken away
#: again before the commit.
REQUIRE_NO_ITEM = Form(
    """
WITH done AS (INSERT INTO items (id) SELECT id FROM {rows} ON CONFLICT DO NOTHING RETURNING 1)
SELECT {checked} FROM done
""",
    _texts("id"),
)
FORGET_NO_ITEM = "DELETE FROM items WHERE id = ANY($1) AND revision = 0"
REQUIRE_NO_RECORD = Form(
    """
WITH done AS (
  INSERT INTO records (kind, id, revision, doc) SELECT kind, id, 0, '' FROM {rows} ON CONFLICT DO NOTHING RETURNING 1
)
SELECT {checked} FROM done
""",
    _texts("kind", "id"),
)
FORGET_NO_RECORD = Form(
    "DELETE FROM records AS s USING {rows} WHERE s.kind = r.kind AND s.id = r.id AND s.revision = 0",
    _texts("kind", "id"),
)

# --- rows ------------------------------------------------------------------------------------------------------------


def item_row(item: Item) -> Row:
    """
    Return the row of `CREATE` and `CHANGE`.
    """
    return (
        item.id, item.revision, item.env, item.service, item.category, item.priority, item.stage, item.owner,
        item.source, item.dedupe_key, item.due_date or NO_DUE, item.created_at, item.updated_at, item.wake_at,
        item.closed_at, item.closed_reason, item.expires_at, item.fix, item.claimed_by,
        codec.encode_item(item),
    )  # fmt: skip


def words_row(item: Item) -> Row:
    """
    Return the row of `WORDS`.
    """
    words = words_of(item_text(item))[: LIMITS.words]
    # A word has only letters, digits and "_": between quotes it needs no escape.
    lexemes = "' '".join(dict.fromkeys(words))
    return item.id, f"'{lexemes}'".encode() if words else b"", f" {' '.join(words)} ".encode()


def event_row(event: Event, number: int) -> Row:
    """
    Return the row of `EVENTS`; *number* is the event's in its transaction.
    """
    return number, event.item_id, event.type, event.actor, event.ts, event.batch, event.added, codec.encode_event(event)


def record_row(record: Record) -> Row:
    """
    Return the row of the statements that write records.
    """
    return record.kind, record.id, record.revision, codec.encode(record)
