"""
Tables of events, one a month: made ahead, so that no event has to go into the default one.

Those in which nothing is left any more are dropped when `maintain` asks for it.

Opening a store looks whether the next month has its table, and so does a handle every `LOOK_S`. What is missing is made
without anybody waiting for it: whoever cannot have the locks at once leaves it to the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backlog_store.backends.postgres.deadlines import moment_after
from backlog_store.backends.postgres.migrating import lock_number
from backlog_store.backends.postgres.sessions import Session
from backlog_store.backends.postgres.statements import COMMIT, limit_to
from backlog_store.backends.postgres.wire import Link, Refused, Statement

if TYPE_CHECKING:
    from backlog_store.backends.postgres.backend import PostgresBackend

__all__ = ["LOOK_S", "drop_emptied", "make_ahead"]

#: Months that have their table before they begin.
AHEAD = 2
#: A handle looks again after so long, in seconds.
LOOK_S = 6 * 3_600
#: How long making a table may wait for readers of the default one, who would have others wait behind it.
LOCK_MS = 100

_HAS_NEXT = """
SELECT 1 FROM pg_tables
WHERE schemaname = $1
  AND tablename = 'events_' || to_char((now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYY_MM')
"""


def make_ahead(link: Link, schema: str, moment: float, seconds: float) -> None:
    """
    Make the tables of this month and the next ones where they are missing. Raises `LinkError`; nothing is lost then.
    """
    if link.exchange([Statement(_HAS_NEXT, (schema,))], moment)[0]:
        return
    # READ COMMITTED: what another one has just made is seen once the lock is ours.
    start = [
        Statement("BEGIN ISOLATION LEVEL READ COMMITTED"),
        Statement(f'SET LOCAL search_path = "{schema}"'),
        Statement(f"SET LOCAL lock_timeout = '{LOCK_MS}ms'"),
        limit_to(seconds),
    ]
    session = Session(link, start, moment)
    try:
        take_turn = Statement("SELECT pg_try_advisory_xact_lock($1)", (lock_number(f"{schema}/months"),))
        ((is_mine,),) = session.ask(take_turn)[0]
        if is_mine == b"t":
            session.is_over = True
            session.ask(Statement("SELECT make_event_months($1)", (AHEAD,)), COMMIT)
        else:
            session.end()
    except BaseException:
        session.end(commit=False)
        raise


#: The tables of months that are over.
_OVER = """
SELECT c.relname
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass($1) AND c.relname ~ '^events_[0-9]{4}_[0-9]{2}$'
  AND c.relname < 'events_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')
ORDER BY c.relname
"""
#: Somebody else uses the table, or all of them, and would have others wait behind us.
_IN_USE = "55P03"


def drop_emptied(backend: PostgresBackend) -> tuple[str, ...]:
    """
    Drop the tables of months that are over and hold no event any more, and return their names.

    Dropping one locks all events, so it is waited for as briefly as making one, and what is in use now is left to the
    next time. Raises `BackendError`.
    """
    schema, seconds = backend.schema, backend.deadlines.batch_s
    dropped: list[str] = []

    def run(link: Link, moment: float) -> None:
        for (name,) in link.exchange([Statement(_OVER, (f'"{schema}".events',))], moment)[0]:
            table = name.decode()
            if link.exchange([Statement(f'SELECT 1 FROM "{schema}".{table} LIMIT 1')], moment)[0]:  # noqa: S608
                continue
            # What was deleted is cleared away first: looking again, under the lock, is a matter of one page then.
            link.script(f'VACUUM "{schema}".{table}', moment)
            if _drop(link, schema, table, moment, seconds):
                dropped.append(table)

    backend._attempt(run, moment_after(seconds), "dropping empty months")
    return tuple(dropped)


def _drop(link: Link, schema: str, table: str, moment: float, seconds: float) -> bool:
    start = [
        Statement("BEGIN ISOLATION LEVEL READ COMMITTED"),
        Statement(f'SET LOCAL search_path = "{schema}"'),
        Statement(f"SET LOCAL lock_timeout = '{LOCK_MS}ms'"),
        limit_to(seconds),
    ]
    session = Session(link, start, moment)
    try:
        session.ask(Statement("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
        is_empty = not session.ask(Statement(f"SELECT 1 FROM {table} LIMIT 1"))[0]  # noqa: S608
        if is_empty:
            session.is_over = True
            session.ask(Statement(f"DROP TABLE {table}"), COMMIT)
        else:
            session.end(commit=False)
    except Refused as error:
        session.end(commit=False)
        if error.sqlstate != _IN_USE:
            raise
        return False
    except BaseException:
        session.end(commit=False)
        raise
    return is_empty
