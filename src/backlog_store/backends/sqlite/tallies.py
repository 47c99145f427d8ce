"""
The counts of items by env, status and one more field: kept a little behind, and read so that nobody can tell.

Those that sleep are counted by the day on which they wake, too. What is counted by day, triggers count by month.

A new item writes nothing here: items numbered above the mark are counted from their own rows when somebody asks. One
that moves to another cell leaves two rows in ``tally_moves`` (triggers do that). The counts catch up when `PENDING_MAX`
rows wait, or after a dashboard that had to look at many.
"""

# ruff: noqa: S608 - what is put into these texts are fixed names of columns.
from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import LiteralString

from backlog_store.backends.sql.dialects import SLEEPERS, SQLITE, TALLIED, of_items
from backlog_store.backends.sql.recounting import recounts, what_is_counted

__all__ = ["PENDING_MAX", "catch_up", "differences", "pending", "start_anew"]

#: A write lets so many rows wait. A count looks at as many in about a millisecond.
PENDING_MAX = 1_024

_LISTED: LiteralString = ", ".join(TALLIED)
_OF_ITEMS: LiteralString = ", ".join([of_items(column) for column in TALLIED])
_CELLS: LiteralString = "\nUNION ALL\n".join(
    [f"SELECT '{facet}' AS facet, env, status, {facet} AS value, '' AS wake, n FROM moved" for facet in TALLIED]
    + [f"SELECT '{facet} asleep', env, status, {facet}, wake, n FROM moved WHERE wake <> ''" for facet in SLEEPERS]
)
_FOLD: LiteralString = f"""
    INSERT INTO tallies (facet, env, status, value, wake, n)
    WITH waiting AS (
      SELECT env, status, {_LISTED}, wake, n FROM tally_moves
      UNION ALL
      SELECT env, status, {_OF_ITEMS}, substr(wake_at, 1, 10), 1 FROM items NOT INDEXED
      WHERE num > (SELECT counted_mark FROM marks)
    ),
    -- Those that go the same way together first: of thousands of new items that leaves some dozens.
    moved AS MATERIALIZED (
      SELECT env, status, {_LISTED}, wake, SUM(n) AS n FROM waiting GROUP BY env, status, {_LISTED}, wake
    )
    SELECT facet, env, status, value, wake, SUM(n) AS n FROM ({_CELLS}) WHERE TRUE
    GROUP BY facet, env, status, value, wake HAVING SUM(n) <> 0
    ON CONFLICT (facet, env, status, value, wake) DO UPDATE SET n = n + excluded.n"""


def pending(connection: sqlite3.Connection) -> int:
    """
    Return how many rows the counts do not hold yet (about: free numbers count).
    """
    sql = """
        SELECT IFNULL((SELECT MAX(num) FROM items), 0) - counted_mark + (SELECT COUNT(*) FROM tally_moves)
        FROM marks"""
    return int(connection.execute(sql).fetchone()[0])


def catch_up(connection: sqlite3.Connection) -> None:
    """
    Count every row that waits, within the transaction that the caller has open for writing.
    """
    connection.execute(_FOLD)
    connection.execute("DELETE FROM tallies WHERE n = 0")
    connection.execute("DELETE FROM tally_moves")
    connection.execute("UPDATE marks SET counted_mark = IFNULL((SELECT MAX(num) FROM items), 0)")


def start_anew(connection: sqlite3.Connection) -> None:
    """
    Count all items again, within the transaction that the caller has open for writing.
    """
    connection.execute("DELETE FROM tallies")
    connection.execute("DELETE FROM tally_moves")
    connection.execute("UPDATE marks SET counted_mark = 0")
    catch_up(connection)


def differences(connection: sqlite3.Connection) -> Iterator[tuple[str, str, str, str, int]]:
    """
    Yield facet, env, status, value and by how much the count is too high, for each count that is not so.
    """
    for sql in recounts(SQLITE):
        for facet, env, status, value, wake, more in connection.execute(sql):
            yield what_is_counted(facet, wake), env, status, value, more
