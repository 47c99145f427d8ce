"""
What begins and ends a transaction, what is read, and what is locked.

Table names need no schema: each transaction sets its own `search_path`.
"""

# ruff: noqa: S608 - what is put into these texts are pieces of them.
from __future__ import annotations

from functools import cache

from backlog_store.backends.postgres.wire import Statement

__all__ = ["BY_NAME", "COMMIT", "HORIZON", "ROLLBACK", "after_prefix", "begin", "glance", "limit_to"]


#: How long, in milliseconds, the work of several callers waits for a lock.
LOCK_MS = 50


def begin(
    schema: str,
    seconds: float,
    *,
    read_only: bool = False,
    is_lax: bool = False,
    is_shared: bool = False,
    in_turn: bool = False,
) -> list[Statement]:
    """
    Return what begins a transaction on one snapshot. All settings end with it: a pooler may sit in between.

    The server's own limit is a little shorter than the caller's deadline, so that a statement that waits for a lock is
    refused, and surely not executed, rather than given up with an unknown outcome. *is_lax* says that the database does
    not wait for the disk by default; *is_shared* waits for locks for `LOCK_MS` at most (see `Hint`); *in_turn* takes
    the snapshot only when it is this writer's turn.
    """
    found = [_BEGIN_READING if read_only else _BEGIN]
    if in_turn:
        # SET, not set_config(): a SELECT takes the snapshot.
        found.append(Statement(f'SET LOCAL search_path = "{schema}"'))
        found.append(limit_to(seconds))
        if is_shared:
            found.append(Statement(f"SET LOCAL lock_timeout = {LOCK_MS}"))
        # Nobody may wait for long because this client froze while it held the turn.
        found.append(Statement(f"SET LOCAL idle_in_transaction_session_timeout = {_limit(seconds)}"))
        # The one statement that waits without a snapshot.
        found.append(Statement("LOCK TABLE turn IN EXCLUSIVE MODE"))
    else:
        found.append(Statement(_SETTINGS_SHARED if is_shared else _SETTINGS, (schema, _limit(seconds)), True))
    if is_lax and not read_only:
        found.append(Statement("SET LOCAL synchronous_commit = on"))  # acknowledged means durable
    return found


def limit_to(seconds: float) -> Statement:
    """
    Return what sets the server's limit on the statements that follow in the transaction.
    """
    return Statement(f"SET LOCAL statement_timeout = {_limit(seconds)}")


#: What a transaction with many changes is planned with. It names all that it touches: a join that reads a whole table
#: is never right, and the planner cannot know that of tables that nobody has analyzed yet. (Scans stay as they are: one
#: that cannot be avoided would look so dear, before version 18, that the server compiled it.)
BY_NAME = tuple(Statement(f"SET LOCAL enable_{way} = off") for way in ("hashjoin", "mergejoin"))


def _limit(seconds: float) -> str:
    return str(max(1, int(seconds * 900)))  # milliseconds


#: Before a page. A second process takes some ten milliseconds to start, twenty times what PostgreSQL takes it for; then
#: it starts one for a word that it thinks to be in thousands of a million items.
CAUTIOUS = Statement("SET LOCAL parallel_setup_cost = 20000")
_BEGIN = Statement("BEGIN ISOLATION LEVEL REPEATABLE READ", (), True)
_BEGIN_READING = Statement("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", (), True)
#: One SELECT, which can be prepared, costs less than two SETs, which are read anew each time.
_SETTINGS = "SELECT set_config('search_path', $1, true), set_config('statement_timeout', $2, true)"
_SETTINGS_SHARED = f"{_SETTINGS}, set_config('lock_timeout', '{LOCK_MS}', true)"
COMMIT = Statement("COMMIT", (), True)
ROLLBACK = Statement("ROLLBACK")

# --- reading ---------------------------------------------------------------------------------------------------------

ITEMS = "SELECT id, doc FROM items WHERE id = ANY($1)"
ITEM_BY_KEY = "SELECT env, dedupe_key, doc FROM items WHERE env = $1 AND dedupe_key = $2 AND dedupe_key > ''"
# One look at the index for each key, whatever is known of the table: LIMIT keeps the planner from joining, which means
# sorting the whole table where many keys are asked for.
_HELD = """
FROM unnest($1::text[], $2::text[]) AS r (env, dedupe_key)
CROSS JOIN LATERAL (
  SELECT * FROM items WHERE env = r.env AND dedupe_key = r.dedupe_key AND dedupe_key > '' LIMIT 1
) AS i
"""
ITEMS_BY_KEY = "SELECT i.env, i.dedupe_key, i.doc" + _HELD
RECORDS = "SELECT id, doc FROM records WHERE kind = $1 AND id = ANY($2)"
SCAN = "SELECT id, doc FROM records WHERE kind = $1 AND id > $2 AND id >= $3 AND id < $4 ORDER BY id LIMIT $5"
SCAN_TO_END = "SELECT id, doc FROM records WHERE kind = $1 AND id > $2 AND id >= $3 ORDER BY id LIMIT $4"


@cache
def glance(ids: int, keys: int, records: int) -> str:
    """
    Return one look at so many items by id, items by key and records: (number of the thing, document).
    """
    branches = ["items WHERE id = ${}"] * ids
    branches += ["items WHERE env = ${} AND dedupe_key = ${} AND dedupe_key > ''"] * keys
    branches += ["records WHERE kind = ${} AND id = ${}"] * records
    numbers = iter(range(1, 1 + ids + 2 * (keys + records)))
    selects = []
    for thing, branch in enumerate(branches):
        marks = [next(numbers) for _ in range(branch.count("{}"))]
        selects.append(f"SELECT {thing}, doc FROM {branch.format(*marks)}")
    return " UNION ALL ".join(selects)


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
STANDING_KEYS = "SELECT i.env, i.dedupe_key, i.id" + _HELD
STANDING_RECORDS = """
SELECT s.kind, s.id, s.revision
FROM unnest($1::text[], $2::text[]) AS r (kind, id)
JOIN records AS s ON s.kind = r.kind AND s.id = r.id
"""
STANDING_SIGHTINGS = "SELECT DISTINCT id FROM sightings WHERE id = ANY($1)"

# --- locks of a second attempt, in the order of ids, so that two of them never wait for each other --------------------

LOCK_ITEMS = "SELECT count(*) FROM (SELECT id FROM items WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE) AS held"
LOCK_KEYS = f"""
SELECT count(*)
FROM (
  SELECT id FROM items WHERE id = ANY (ARRAY (SELECT i.id {_HELD})) ORDER BY id FOR NO KEY UPDATE
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
