"""
Adding up the counts: what writers appended to ``tally_moves`` goes into ``tallies``, in bounded steps, one at a time.

A write asks for a step when its handle has moved many items, and besides whenever its transaction's number is a
multiple of `EVERY`: so the rows that wait stay few, however many processes write and however short each one lives.
"""

# ruff: noqa: S608 - what is put into these texts are fixed names of columns.
from __future__ import annotations

from collections.abc import Iterator

from backlog_store.backends.postgres.failures import RUN_AGAIN
from backlog_store.backends.postgres.migrating import lock_number
from backlog_store.backends.postgres.reading import PostgresReader
from backlog_store.backends.postgres.sessions import Session
from backlog_store.backends.postgres.statements import COMMIT, begin
from backlog_store.backends.postgres.wire import Link, Refused, Statement
from backlog_store.backends.sql.dialects import POSTGRES, SLEEPERS, TALLIED, of_items
from backlog_store.backends.sql.recounting import recounts, what_is_counted

__all__ = ["MOVES_MAX", "add_up", "differences", "is_due"]

#: A handle lets so many items move before it adds up.
MOVES_MAX = 1_024
#: One transaction in so many adds up.
EVERY = 512
#: Rows that one step takes at most.
STEP = 20_000

#: Whoever finds another one at it leaves it to that one.
_TAKE_TURN = "SELECT pg_try_advisory_xact_lock($1)"
#: A trigger adds up the days on which items were created and closed, whoever takes rows out.
_COLUMNS = [facet for facet in TALLIED if of_items(facet) == facet]
_CELLS = ", ".join([
    *(f"('{facet}', taken.{facet}, '')" for facet in _COLUMNS),
    *(f"('{facet} asleep', taken.{facet}, taken.wake)" for facet in SLEEPERS),
])  # fmt: skip
_ADD_UP = f"""
WITH taken AS (
  DELETE FROM tally_moves
  WHERE ctid = ANY (ARRAY (SELECT ctid FROM tally_moves LIMIT $1))
  RETURNING n, env, status, {", ".join(_COLUMNS)}, wake
),
cells AS (
  SELECT cell.facet, taken.env, taken.status, cell.value, cell.wake, sum(taken.n) AS n
  FROM taken
  CROSS JOIN LATERAL (VALUES {_CELLS}) AS cell (facet, value, wake)
  WHERE cell.wake > '' OR cell.facet NOT LIKE '% asleep'
  GROUP BY cell.facet, taken.env, taken.status, cell.value, cell.wake
  HAVING sum(taken.n) <> 0
)
INSERT INTO tallies AS t (facet, env, status, value, wake, n)
SELECT facet, env, status, value, wake, n FROM cells
ON CONFLICT (facet, env, status, value, wake) DO UPDATE SET n = t.n + excluded.n
"""
_TIDY = "DELETE FROM tallies WHERE n = 0"


def is_due(moved: int, transaction: int) -> bool:
    """
    Tell whether to add up after a transaction of this number, by a handle that has moved so many items since.
    """
    return moved >= MOVES_MAX or (transaction > 0 and transaction % EVERY == 0)


def add_up(link: Link, schema: str, moment: float, seconds: float) -> None:
    """
    Add up the rows that wait, at most `STEP` of them, unless another one is at it. Raises `LinkError`.
    """
    session = Session(link, begin(schema, seconds), moment)
    try:
        ((is_mine,),) = session.ask(Statement(_TAKE_TURN, (_lock_number(schema),)))[0]
        if is_mine == b"t":
            session.is_over = True
            session.ask(Statement(_ADD_UP, (STEP,)), Statement(_TIDY), COMMIT)
        else:
            session.end()
    except Refused as error:
        session.end(commit=False)
        if error.sqlstate not in RUN_AGAIN:  # another one was done just before
            raise
    except BaseException:
        session.end(commit=False)
        raise


def differences(reader: PostgresReader) -> Iterator[tuple[str, str, str, str, int]]:
    """
    Yield facet, env, status, value and by how much the count is too high, for each count that is not so.
    """
    for statement in recounts(POSTGRES):
        for facet, env, status, value, wake, more in reader._ask(Statement(statement), whole=True):
            counted = what_is_counted(facet.decode(), wake.decode())
            yield counted, env.decode(), status.decode(), value.decode(), int(more)


def _lock_number(schema: str) -> int:
    return lock_number(f"{schema}/tallies")
