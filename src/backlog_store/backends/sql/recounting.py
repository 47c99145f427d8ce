"""
Proving the counts that are kept: SELECTs of those that are not what the items say, for both engines.
"""

# ruff: noqa: S608 - what is put into these texts are fixed names of columns.
from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

from backlog_store.backends.sql.dialects import BY_MONTH, MONTHS, SLEEPERS, TALLIED, Dialect, kept_counts, of_items

__all__ = ["recounts", "what_is_counted"]


def recounts(dialect: Dialect) -> Iterator[LiteralString]:
    """
    Yield each SELECT; its rows are facet, env, status, value, day of waking, and by how much the count is too high.

    Counts by day are compared with the items, counts by month with those by day.
    """
    for column in TALLIED:
        sources = (kept_counts(column, column), *dialect.uncounted(column))
        yield _compared(f"'{column}'", column, "''", [
            *(f"SELECT env, status, {column}, n FROM ({source}) AS counts" for source in sources),
            f"SELECT env, status, {of_items(column)}, -1 FROM items",
        ])  # fmt: skip
    for column in SLEEPERS:
        sources = (kept_counts(column, f"{column} asleep"), *dialect.uncounted(column))
        yield _compared(f"'{column} asleep'", column, "wake", [
            *(f"SELECT env, status, {column}, wake, n FROM ({source}) AS found WHERE wake <> ''" for source in sources),
            f"SELECT env, status, {column}, substr(wake_at, 1, 10), -1 FROM items WHERE wake_at <> ''",
        ])  # fmt: skip
    yield _compared("facet", "value", "wake", [
        f"SELECT facet, env, status, value, wake, n FROM tallies WHERE facet IN {MONTHS}",
        f"SELECT facet, env, status, value, wake, -n FROM ({BY_MONTH}) AS by_month",
    ])  # fmt: skip


def _compared(
    facet: LiteralString, value: LiteralString, wake: LiteralString, relations: list[LiteralString]
) -> LiteralString:
    united: LiteralString = "\nUNION ALL\n".join(relations)
    return f"""SELECT {facet}, env, status, {value}, {wake}, SUM(n)
FROM ({united}) AS compared
GROUP BY 1, 2, 3, 4, 5
HAVING SUM(n) <> 0"""


def what_is_counted(facet: str, wake: str) -> str:
    """
    Return what to call a count in a sentence.
    """
    return f"asleep until {wake}, {facet.replace(' asleep', '')}" if wake else facet
