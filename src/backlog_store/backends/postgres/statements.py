"""
Every statement of the backend, and the rows that go with them.

Statements that write work on a set of rows: on one row as plain parameters, on more as one array a column. A statement
whose condition must hold ends in ``1 / (count = expected)::int``: a division by zero (SQLSTATE 22012) stops the
exchange before COMMIT, so that writing and checking cost one round trip. Table names need no schema: each transaction
sets its own `search_path`.
"""

# ruff: noqa: S608 - what is put into these texts are fixed names of columns; values are parameters.
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from backlog_store import codec
from backlog_store.backends.postgres.wire import Statement, array
from backlog_store.model import LIMITS, Event, Item, Record
from backlog_store.query import NO_DUE, item_text
from backlog_store.words import words_of

__all__ = ["Form", "after_prefix", "event_row", "item_row", "record_row", "words_row"]

Row = tuple[Any, ...]


class Form(NamedTuple):
    """
    A statement over rows.

    ``{rows}`` in *sql* is where they stand, as a relation ``r`` of these columns; ``{checked}`` is the expression that
    fails unless as many rows were done as there are. *one* is the same on one row, ``$1``, ``$2``…, for the statements
    of single writes: the server plans it in half the time.
    """

    sql: str
    columns: tuple[tuple[str, str], ...]
    one: str = ""
    name: str = ""

    def on(self, rows: Sequence[Row]) -> Statement:
        """
        Return the statement on these rows, at least one.
        """
        if len(rows) == 1 and self.one:
            return Statement(self.one, rows[0], True, self.name)
        if len(rows) == 1:
            source = ", ".join(f"${n}::{type} AS {name}" for n, (name, type) in enumerate(self.columns, 1))
            relation, parameters = f"(SELECT {source}) AS r", list(rows[0])
        else:
            source = ", ".join(f"${n}::{type}[]" for n, (_, type) in enumerate(self.columns, 1))
            names = ", ".join(name for name, _ in self.columns)
            relation = f"unnest({source}) AS r ({names})"
            parameters = [_array(column) for column in zip(*rows, strict=True)]
        if "{checked}" not in self.sql:
            return Statement(self.sql.format(rows=relation), parameters, False, self.name)
        parameters.append(len(rows))
        checked = f"1 / (count(*) = ${len(parameters)}::bigint)::int"
        return Statement(self.sql.format(rows=relation, checked=checked), parameters, False, self.name)


def _insert(table: str, columns: tuple[tuple[str, str], ...]) -> Form:
    names = ", ".join(name for name, _ in columns)
    insert = f"INSERT INTO {table} ({names})"
    return Form(f"{insert} SELECT {names} FROM {{rows}}", columns, f"{insert} VALUES ({_marks(columns)})")


def _marks(columns: Sequence[Any]) -> str:
    return ", ".join(f"${number}" for number in range(1, len(columns) + 1))


def _array(values: Sequence[Any]) -> bytes:
    match values[0]:
        case str():
            return array(values)
        case bool():
            return b"{" + b",".join(b"t" if value else b"f" for value in values) + b"}"
        case _:
            return b"{" + b",".join(b"%d" % value for value in values) + b"}"


def _texts(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, "text") for name in names)


def begin(
    schema: str, seconds: float, *, read_only: bool = False, is_lax: bool = False, in_turn: bool = False
) -> list[Statement]:
    """
    Return what begins a transaction on one snapshot. All settings end with it: a pooler may sit in between.

    The server's own limit is a little shorter than the caller's deadline, so that a statement that waits for a lock is
    refused, and surely not executed, rather than given up with an unknown outcome. *is_lax* says that the database does
    not wait for the disk by default; *in_turn* takes the snapshot only when it is this writer's turn.
    """
    found = [
        Statement("BEGIN ISOLATION LEVEL REPEATABLE READ" + (", READ ONLY" if read_only else "")),
        # SET, not set_config(): a SELECT costs more, and takes the snapshot.
        Statement(f"SET LOCAL search_path = {schema}"),
        limit_to(seconds),
    ]
    if is_lax and not read_only:
        found.append(Statement("SET LOCAL synchronous_commit = on"))  # acknowledged means durable
    if in_turn:
        # Nobody may wait for long because this client froze while it held the turn.
        found.append(Statement(f"SET LOCAL idle_in_transaction_session_timeout = {_limit(seconds)}"))
        # The one statement that waits without a snapshot.
        found.append(Statement("LOCK TABLE turn IN EXCLUSIVE MODE"))
    return found


def limit_to(seconds: float) -> Statement:
    """
    Return what sets the server's limit on the statements that follow in the transaction.
    """
    return Statement(f"SET LOCAL statement_timeout = {_limit(seconds)}")


def _limit(seconds: float) -> str:
    return str(max(1, int(seconds * 900)))  # milliseconds


COMMIT = Statement("COMMIT")
ROLLBACK = Statement("ROLLBACK")

# --- reading ---------------------------------------------------------------------------------------------------------

ITEMS = "SELECT id, doc FROM items WHERE id = ANY($1)"
ITEM_BY_KEY = "SELECT env, dedupe_key, doc FROM items WHERE env = $1 AND dedupe_key = $2 AND dedupe_key > ''"
ITEMS_BY_KEY = """
SELECT i.env, i.dedupe_key, i.doc
FROM unnest($1::text[], $2::text[]) AS r (env, dedupe_key)
JOIN items AS i ON i.env = r.env AND i.dedupe_key = r.dedupe_key
WHERE i.dedupe_key > ''
"""
RECORDS = "SELECT id, doc FROM records WHERE kind = $1 AND id = ANY($2)"
SCAN = "SELECT id, doc FROM records WHERE kind = $1 AND id > $2 AND id >= $3 AND id < $4 ORDER BY id LIMIT $5"
SCAN_TO_END = "SELECT id, doc FROM records WHERE kind = $1 AND id > $2 AND id >= $3 ORDER BY id LIMIT $4"

_SIGHTED = """
SELECT
  id, sum(n), min(first_at), max(last_at),
  -- The newest run that was named: slots do not know of each other.
  coalesce((array_agg(run ORDER BY run_at DESC) FILTER (WHERE run > ''))[1], '')
FROM sightings
"""
SIGHTED = _SIGHTED + "WHERE id = ANY($1) GROUP BY id"
SIGHTED_SCAN = _SIGHTED + "WHERE id > $1 AND id >= $2 AND id < $3 GROUP BY id ORDER BY id LIMIT $4"
SIGHTED_SCAN_TO_END = _SIGHTED + "WHERE id > $1 AND id >= $2 GROUP BY id ORDER BY id LIMIT $3"

#: Everything below it is settled: no transaction that began earlier can still add an event there.
HORIZON = "(SELECT base FROM clock) + pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

# --- what stands, for naming a violated condition --------------------------------------------------------------------

STANDING_ITEMS = "SELECT id, revision, env, dedupe_key FROM items WHERE id = ANY($1)"
STANDING_KEYS = """
SELECT i.env, i.dedupe_key, i.id
FROM unnest($1::text[], $2::text[]) AS r (env, dedupe_key)
JOIN items AS i ON i.env = r.env AND i.dedupe_key = r.dedupe_key
WHERE i.dedupe_key > ''
"""
STANDING_RECORDS = """
SELECT s.kind, s.id, s.revision
FROM unnest($1::text[], $2::text[]) AS r (kind, id)
JOIN records AS s ON s.kind = r.kind AND s.id = r.id
"""
STANDING_SIGHTINGS = "SELECT DISTINCT id FROM sightings WHERE id = ANY($1)"

# --- locks of a second attempt, in the order of ids, so that two of them never wait for each other --------------------

LOCK_ITEMS = "SELECT count(*) FROM (SELECT id FROM items WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE) AS held"
LOCK_KEYS = """
SELECT count(*)
FROM (
  SELECT i.id
  FROM unnest($1::text[], $2::text[]) AS r (env, dedupe_key)
  JOIN items AS i ON i.env = r.env AND i.dedupe_key = r.dedupe_key
  WHERE i.dedupe_key > ''
  ORDER BY i.id
  FOR NO KEY UPDATE OF i
) AS held
"""
LOCK_RECORDS = """
SELECT count(*)
FROM (
  SELECT s.id
  FROM unnest($1::text[], $2::text[]) AS r (kind, id)
  JOIN records AS s ON s.kind = r.kind AND s.id = r.id
  ORDER BY s.kind, s.id
  FOR NO KEY UPDATE OF s
) AS held
"""

# --- writing items ---------------------------------------------------------------------------------------------------

_ITEM = (
    ("id", "text"), ("revision", "bigint"),
    *_texts(
        "env", "service", "category", "priority", "status", "owner", "source", "dedupe_key", "due", "created_at",
        "updated_at", "wake_at", "closed_at", "closed_reason", "expires_at", "fix", "doc",
    ),
)  # fmt: skip
_ITEM_NAMES = ", ".join(name for name, _ in _ITEM)
#: The number of this transaction, as it stands in positions.
_TX = "(SELECT base FROM clock) + pg_current_xact_id()::text::bigint"

CREATE = _insert("items", _ITEM)
CHANGE = Form(
    f"""
WITH done AS (
  UPDATE items AS i
  SET {", ".join(f"{name} = r.{name}" for name, _ in _ITEM[1:])}
  FROM {{rows}}
  WHERE i.id = r.id AND i.revision = r.revision - 1
  RETURNING 1
)
SELECT {{checked}} FROM done
""",
    _ITEM,
    f"""
WITH done AS (
  UPDATE items
  SET {", ".join(f"{name} = ${number}" for number, (name, _) in enumerate(_ITEM[1:], 2))}
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
_WORDS = _texts("item_id", "words", "said")
NEW_WORDS = Form(
    "INSERT INTO item_words (item_id, words, said) SELECT item_id, words::tsvector, said FROM {rows}",
    _WORDS,
    f"INSERT INTO item_words (item_id, words, said) VALUES ({_marks(_WORDS)})",
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
_EVENT = (("n", "integer"), *_texts("item_id", "type", "actor", "ts", "batch"), ("added", "boolean"), ("doc", "text"))
_EVENT_NAMES = ", ".join(name for name, _ in _EVENT)
EVENTS = Form(
    f"""
WITH done AS (
  INSERT INTO events (tx, {_EVENT_NAMES})
  SELECT {_TX}, {_EVENT_NAMES} FROM {{rows}}
  RETURNING tx
)
SELECT max(tx) FROM done
""",
    _EVENT,
    f"INSERT INTO events (tx, {_EVENT_NAMES}) VALUES ({_TX}, {_marks(_EVENT)}) RETURNING tx",
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
  SELECT id, pg_backend_pid() % 16, n, first_at, last_at, run, {_TX} FROM {{rows}}
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
  VALUES ($2, pg_backend_pid() % 16, $3, $4, $5, $6, {_TX})
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
SELECT id, 0, n, first_at, last_at, run, {_TX} FROM {{rows}}
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
        item.id, item.revision, item.env, item.service, item.category, item.priority, item.status, item.owner,
        item.source, item.dedupe_key, item.due_date or NO_DUE, item.created_at, item.updated_at, item.wake_at,
        item.closed_at, item.closed_reason, item.expires_at, item.fix, codec.encode_item(item).decode(),
    )  # fmt: skip


def words_row(item: Item) -> Row:
    """
    Return the row of `WORDS`.
    """
    words = words_of(item_text(item))[: LIMITS.words]
    # A word has only letters, digits and "_": between quotes it needs no escape.
    return item.id, " ".join(f"'{word}'" for word in dict.fromkeys(words)), f" {' '.join(words)} "


def event_row(event: Event, number: int) -> Row:
    """
    Return the row of `EVENTS`; *number* is the event's in its transaction.
    """
    doc = codec.encode_event(event).decode()
    return number, event.item_id, event.type, event.actor, event.ts, event.batch, event.added, doc


def record_row(record: Record) -> Row:
    """
    Return the row of the statements that write records.
    """
    return record.kind, record.id, record.revision, codec.encode(record).decode()


def after_prefix(prefix: str) -> str:
    """
    Return the least text that is greater than every text with this prefix; the empty text if there is none.
    """
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return ""
    last = ord(kept[-1]) + 1
    # Surrogates are no characters: the next one after U+D7FF is U+E000.
    return kept[:-1] + chr(0xE000 if last == 0xD800 else last)
