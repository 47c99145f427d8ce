"""
Counts to SQL: from what was counted as items were written, where that answers; else from the items.

Kept are the counts by env, status and one more field (`TALLIED`), and, of items that have an instant to wake at, by the
day of it besides (`SLEEPERS`). "Wakes after this instant" is so every count of a later day, and the rows of that one
day, which an index holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import LiteralString

from msgspec.structs import replace

from backlog_store.backends.sql.compile import COLUMNS, all_of, conditions, flat, parts_of
from backlog_store.backends.sql.dialects import SLEEPERS, TALLIED, Dialect, Statement
from backlog_store.backends.sql.stages import staged
from backlog_store.errors import Fault, InvalidInput
from backlog_store.query import ANY, FACETS, All, Any_, Compare, HasWords, In, Not, Where, check_where

__all__ = ["compile_tally"]

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def compile_tally(
    where: Where, by: Sequence[str], dialect: Dialect, *, envs: Callable[[], Sequence[str]] | None = None
) -> Statement:
    """
    Return the counting SELECT: the facets' columns, then a count. Raises `InvalidInput` for what is no facet.

    Several rows of the same facets add up. *envs* tells which envs there are, for a store whose indexes start with it.
    """
    check_where(where)
    faults = [Fault(f"/by/{index}", str(name), "no such facet") for index, name in enumerate(by) if name not in FACETS]
    if faults:
        raise InvalidInput(faults, what="tally", hint=f"Facets: {', '.join(FACETS)}.")
    # An index that starts with the env is of use behind it only where envs are named.
    of_envs = where if envs is None or where == ANY or _names_env(where) else All((In("env", tuple(envs())), where))
    # What names an instant is asked once, and would only drive out what is asked again and again.
    is_asked_again = not any(name.endswith("_at") for name in _named(where))
    kept = (_kept if is_asked_again else _kept.__wrapped__)(of_envs, tuple(by), dialect)
    if kept is not None:
        return kept
    condition = all_of(conditions(parts_of(staged(where), envs), dialect))
    return _grouped(by, "COUNT(*)", "items", condition)


# Whoever looks at a dashboard asks the same again and again, and putting the question costs as much as the answer.
@lru_cache(maxsize=128)
def _kept(where: Where, by: tuple[str, ...], dialect: Dialect) -> Statement | None:
    """
    Return the SELECT from the counts that are kept; `None` if they do not answer.
    """
    where = staged(where)
    parts = list(flat(where))
    columns = {COLUMNS.get(name, "") for name in {*by, *_named(where)} - {"env", "status", "stage"}}
    if len(columns) <= 1 and columns <= set(TALLIED):
        column = next((column for column in TALLIED if column in columns), TALLIED[0])
        return _summed(by, dialect.tallied(column), conditions(parts, _of_counts(dialect)))
    waking = [part for part in parts if isinstance(part, Compare) and part.field == "wake_at"]
    others = [part for part in parts if part not in waking]
    if len(waking) == 1 and "wake_at" not in {*by, *_named(All(tuple(others)))} and _DAY.match(waking[0].value):
        columns.discard("wake_at")
        if len(columns) <= 1 and columns <= set(SLEEPERS):
            column = next((column for column in SLEEPERS if column in columns), SLEEPERS[0])
            return _sleepers(column, waking[0], others, by, dialect)
    return None


def _sleepers(
    column: LiteralString, waking: Compare, others: Sequence[Where], by: Sequence[str], dialect: Dialect
) -> Statement:
    """
    Return the counts of all days before or after the one that *waking* names, and of the items of that day.
    """
    day = waking.value[:10]
    mark = dialect.placeholder
    relation: LiteralString = "<" if waking.op.startswith("<") else ">"
    days = Statement(f"wake {relation} {mark}", (day,))
    kept = _summed(by, dialect.sleepers(column), [*conditions(others, _of_counts(dialect)), days])
    after = day[:-1] + chr(ord(day[-1]) + 1)  # the least text that is greater than all that begin with the day
    today = Statement(f"wake_at >= {mark} AND wake_at < {mark}", (day, after))
    # The index of wake_at leads, and holds all else that is asked for.
    weak = replace(dialect, among_known=dialect.among)
    rows = _grouped(by, "COUNT(*)", "items", all_of([*conditions([waking, *others], weak), today]))
    return Statement(f"{kept.sql}\nUNION ALL\n{rows.sql}", kept.parameters + rows.parameters)


def _of_counts(dialect: Dialect) -> Dialect:
    """
    Return the dialect without what is said for the sake of the indexes of items: counts have none of them.
    """
    return replace(dialect, among_known=dialect.among, weaken="")


def _summed(by: Sequence[str], sources: Sequence[LiteralString], parts: Sequence[Statement]) -> Statement:
    """
    Return the sum over each of the sources: SQLite adds up rows of a united one four times as slowly.
    """
    condition = all_of(parts)
    each = [_grouped(by, "COALESCE(SUM(n), 0)", f"({source}) AS counts", condition) for source in sources]
    sql: LiteralString = "\nUNION ALL\n".join([one.sql for one in each])
    return Statement(sql, condition.parameters * len(each))


def _grouped(by: Sequence[str], counted: LiteralString, source: LiteralString, condition: Statement) -> Statement:
    columns = [COLUMNS[name] for name in by]
    shown: LiteralString = ", ".join([*columns, counted])
    grouped: LiteralString = "\nGROUP BY " + ", ".join(columns) if columns else ""
    return Statement(f"SELECT {shown}\nFROM {source}\nWHERE {condition.sql}{grouped}", condition.parameters)


def _names_env(where: Where) -> bool:
    return any(isinstance(part, In) and part.field == "env" for part in flat(where))


def _named(where: Where) -> Iterator[str]:
    """
    Yield the fields that a condition is about; an empty name for text.
    """
    match where:
        case All(parts) | Any_(parts):
            for part in parts:
                yield from _named(part)
        case Not(part):
            yield from _named(part)
        case In(name) | Compare(name):
            yield name
        case HasWords():
            yield ""
