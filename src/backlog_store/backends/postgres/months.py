"""
Tables of events, one a month: made ahead, so that no event has to go into the default one.

Opening a store looks whether the next month has its table, and so does a handle every `LOOK_S`. What is missing is made
without anybody waiting for it: whoever cannot have the locks at once leaves it to the next one.
"""

from __future__ import annotations

from backlog_store.backends.postgres.migrating import lock_number
from backlog_store.backends.postgres.sessions import Session
from backlog_store.backends.postgres.statements import COMMIT, limit_to
from backlog_store.backends.postgres.wire import Link, Statement

__all__ = ["LOOK_S", "make_ahead"]

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
        Statement("BEGIN"),
        Statement(f"SET LOCAL search_path = {schema}"),
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
