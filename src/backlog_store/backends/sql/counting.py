"""
Counts to SQL: from what was counted as items were written, where that answers; else from the items.

Kept are the counts by env, status and one more field (`TALLIED`), and, of items that have an instant to wake at, by the
day of it besides (`SLEEPERS`). "Wakes after this instant" is so every count of a later day, and the rows of that one
day, which an index holds. What is counted by day is counted by month as well: of "every later day" those of the same
month and every later month are added up, which are few however many days there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain, product
from typing import LiteralString, NamedTuple

from msgspec.structs import replace

from backlog_store.backends.sql.compile import COLUMNS, OPERATORS, all_of, conditions, parts_of
from backlog_store.backends.sql.dialects import SLEEPERS, TALLIED, Dialect, Statement, kept_counts, of_items
from backlog_store.backends.sql.stages import in_columns, staged
from backlog_store.errors import Fault, InvalidInput
from backlog_store.model import PRIORITIES
from backlog_store.query import (
    ANY,
    FACETS,
    NO_DUE,
    All,
    Compare,
    In,
    Where,
    check_where,
    fields_of,
    flat,
)

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
    is_asked_again = not any(name.endswith("_at") for name in fields_of(where))
    kept = (_kept if is_asked_again else _kept.__wrapped__)(of_envs, tuple(by), dialect)
    if kept is not None:
        return kept
    condition = all_of(conditions(parts_of(in_columns(where), envs), dialect))
    return _grouped(by, "COUNT(*)", "items", condition)


# Whoever looks at a dashboard asks the same again and again, and putting the question costs as much as the answer.
@lru_cache(maxsize=128)
def _kept(where: Where, by: tuple[str, ...], dialect: Dialect) -> Statement | None:
    """
    Return the SELECT from the counts that are kept; `None` if they do not answer.
    """
    where = staged(where)
    parts = list(flat(where))
    columns = {COLUMNS.get(name, "") for name in {*by, *fields_of(where)} - {"env", "status", "stage"}}
    if len(columns) <= 1 and columns <= set(TALLIED):
        column = next((column for column in TALLIED if column in columns), TALLIED[0])
        return _summed(by, column, parts, None, dialect)
    waking = [part for part in parts if isinstance(part, Compare) and part.field == "wake_at"]
    others = [part for part in parts if part not in waking]
    if len(waking) == 1 and "wake_at" not in {*by, *fields_of(All(tuple(others)))} and _DAY.match(waking[0].value):
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
    kept = _summed(by, column, others, Compare("wake_at", "<" if waking.op.startswith("<") else ">", day), dialect)
    after = day[:-1] + chr(ord(day[-1]) + 1)  # the least text that is greater than all that begin with the day
    today = Statement(f"wake_at >= {mark} AND wake_at < {mark}", (day, after))
    # The index of wake_at leads, and holds all else that is asked for.
    weak = replace(dialect, among_known=dialect.among)
    rows = _grouped(by, "COUNT(*)", "items", all_of([*conditions([waking, *others], weak), today]))
    return Statement(f"{kept.sql}\nUNION ALL\n{rows.sql}", kept.parameters + rows.parameters)


class _Days(NamedTuple):
    """
    A range of days: the condition for each day, and the stretches of counts that make it up.

    A stretch is the suffix of its facet, and from which day or month on it goes, up to which not; there are none where
    each day has to be looked at.
    """

    each: Statement
    stretches: Sequence[tuple[LiteralString, str, str]]


_EACH_PRIORITY: LiteralString = ", ".join([f"'{name}'" for name in PRIORITIES])
_ANY_DAY = _Days(all_of([]), ())
_WHOLE: Sequence[tuple[LiteralString, str, str]] = [("", "", "")]


def _days(column: LiteralString, compared: Sequence[Compare], mark: LiteralString, *, by_month: bool = True) -> _Days:
    """
    Return the range of days that *compared* describe; *by_month* allows to add up whole months.
    """
    tests = {
        direction: [Statement(f"{column} {OPERATORS[one.op]} {mark}", (one.value,)) for one in compared
                    if one.op.startswith(direction)]
        for direction in "<>"
    }  # fmt: skip
    # No day of waking is the empty text, no due date the greatest: both are outside of every range. One bound of a side
    # is enough, for SQLite begins and ends at one.
    if not any(one.value < NO_DUE for one in compared if one.op.startswith("<")):
        tests["<"].append(Statement(f"{column} < '{NO_DUE}'"))
    each = all_of([*(tests[">"] or [Statement(f"{column} > ''")]), *tests["<"]])
    (one, *more) = compared
    if not by_month or more or not _DAY.fullmatch(one.value) or one.value >= NO_DUE:
        return _Days(each, ())
    day, month = one.value, one.value[:7]
    # A letter behind a day or month is above all that begin with it, and below the next.
    if one.op.startswith("<"):
        return _Days(each, [(" month", "", month), ("", month, day if one.op == "<" else f"{day}~")])
    return _Days(each, [(" month", f"{month}~", NO_DUE[:7]), ("", day if one.op == ">=" else f"{day}~", f"{month}~")])


def _of_counts(dialect: Dialect) -> Dialect:
    """
    Return the dialect without what is said for the sake of the indexes of items: counts have none of them.
    """
    return replace(dialect, among_known=dialect.among, weaken="")


def _summed(
    by: Sequence[str], column: LiteralString, parts: Sequence[Where], waking: Compare | None, dialect: Dialect
) -> Statement:
    """
    Return the sums of the counts by *column*, of those that wake on these days if *waking* names some.

    One sum a source: SQLite adds up rows of a united one four times as slowly.
    """
    mark = dialect.placeholder
    dated = [part for part in parts if isinstance(part, Compare) and part.field == "due_date"]
    rest = [part for part in parts if part not in dated]
    named = {COLUMNS.get(name) for name in fields_of(All(tuple(rest)))}
    by_month = "due" not in {*named, *map(COLUMNS.get, by)}
    due = _days("due", dated, mark, by_month=by_month) if dated else _ANY_DAY
    wake = _days("wake", [waking], mark) if waking else _ANY_DAY
    shared = conditions(rest, _of_counts(dialect))
    of_all = column == "priority" and column not in named
    kept = _kept_counts(column, due, wake, mark, are_asleep=waking is not None, of_all=of_all)
    sources = [(kept, [days.each for days in (due, wake) if not days.stretches])]
    sources += [(Statement(source), [due.each, wake.each]) for source in dialect.uncounted(column)]
    sums = []
    for source, days in sources:
        condition = all_of([*shared, *days])
        sum = _grouped(by, "COALESCE(SUM(n), 0)", f"({source.sql}) AS counts", condition)
        sums.append(Statement(sum.sql, source.parameters + sum.parameters))
    sql: LiteralString = "\nUNION ALL\n".join([one.sql for one in sums])
    return Statement(sql, tuple(chain.from_iterable(one.parameters for one in sums)))


def _kept_counts(
    column: LiteralString, due: _Days, wake: _Days, mark: LiteralString, *, are_asleep: bool, of_all: bool
) -> Statement:
    """
    Return the SELECT of the counts that are kept: of all days, or of the stretches of *due* and *wake*.

    *of_all* says that *column* is the priority, and that nothing else is said of it.
    """
    facets: list[LiteralString] = []
    ends: list[str] = []
    for (of_due, *dues), (of_wake, *wakes) in product(due.stretches or _WHOLE, wake.stretches or _WHOLE):
        facets.append(f"{column}{of_due} asleep{of_wake}" if are_asleep else f"{column}{of_due}")
        ends += [*dues, *wakes]
    if len(facets) == 1:
        return Statement(kept_counts(column, facets[0]))
    # All stretches in one SELECT: SQLite makes a table of each list of values that a SELECT has.
    rows: LiteralString = ", ".join([f"('{facet}', {mark}, {mark}, {mark}, {mark})" for facet in facets])
    tests: LiteralString = "facet = column1"
    if due.stretches:
        tests = f"{tests} AND value >= column2 AND value < column3"
    if wake.stretches:
        tests = f"{tests} AND wake >= column4 AND wake < column5"
    if wake.stretches and of_all:  # a range of waking is one stretch of the counts only within one priority
        tests = f"{tests} AND value IN ({_EACH_PRIORITY})"
    counts: LiteralString = f"SELECT env, status, value AS {column}, wake, n"
    return Statement(f"{counts} FROM (VALUES {rows}) AS stretch CROSS JOIN tallies WHERE {tests}", tuple(ends))


def _grouped(by: Sequence[str], counted: LiteralString, source: LiteralString, condition: Statement) -> Statement:
    columns = [of_items(COLUMNS[name]) if source == "items" else COLUMNS[name] for name in by]
    shown: LiteralString = ", ".join([*columns, counted])
    grouped: LiteralString = "\nGROUP BY " + ", ".join(columns) if columns else ""
    return Statement(f"SELECT {shown}\nFROM {source}\nWHERE {condition.sql}{grouped}", condition.parameters)


def _names_env(where: Where) -> bool:
    return any(isinstance(part, In) and part.field == "env" for part in flat(where))
