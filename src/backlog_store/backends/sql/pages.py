"""
Pages of items in order, to SQL: read from an index, without a sort.

The orders by priority and by due date are read from the index ``(env, status, priority, due, id)``: the query is split
into one branch for each combination of the leading values (env, status, priority), every branch is in order already,
and the page is put together from the branches. A page costs the same on page 1 and page 10,000, with one index for all
of it. A query without an env takes the envs there are from the caller; a store that keeps ``(status, priority, due,
id)`` as well needs none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import LiteralString

from msgspec import Struct

from backlog_store.backends.sql.compile import (
    COLUMNS,
    NOTHING,
    all_of,
    bounds,
    conditions,
    is_selective,
    parts_of,
    phrases_of,
)
from backlog_store.backends.sql.dialects import Dialect, Statement
from backlog_store.backends.sql.stages import in_columns
from backlog_store.model import PRIORITIES, STAGES
from backlog_store.query import ORDERS, Compare, In, ItemQuery, Where, check_query, flat

__all__ = ["compile_items"]

#: Orders that are put together from branches, and the columns that have one value in each branch.
_BRANCHED: dict[str, tuple[str, ...]] = {"priority": ("stage",), "due": ("stage", "priority")}
_DOMAINS: dict[str, tuple[str, ...]] = {"stage": STAGES, "priority": PRIORITIES}


class _Branches(Struct, frozen=True):
    """
    What a page is put together from: *rows* of one value for each of *names*, and what holds in every branch.
    """

    names: tuple[str, ...]
    rows: list[tuple[str, ...]]
    shared: list[Statement]


def compile_items(query: ItemQuery, dialect: Dialect, *, envs: Callable[[], Sequence[str]] | None = None) -> Statement:
    """
    Return the SELECT of a page; `doc` is the first column of each row. Raises `InvalidInput`.

    *envs* tells which envs there are, for a store whose index of the order starts with the env.
    """
    check_query(query)
    columns = [COLUMNS[name] for name in ORDERS[query.order]]
    direction: LiteralString = " DESC" if query.descending else ""
    order: LiteralString = ", ".join([column + direction for column in columns])
    branches = _branches(query, dialect, envs)
    if query.after is not None:
        listed: LiteralString = ", ".join(columns)
        marks: LiteralString = ", ".join([dialect.placeholder] * len(columns))
        relation: LiteralString = "<" if query.descending else ">"
        branches.shared.append(Statement(f"({listed}) {relation} ({marks})", query.after))
    if dialect.unites_max and len(branches.rows) > dialect.unites_max and query.limit is not None:
        return _gathered(branches, query, dialect, order)
    return _united(branches, query, dialect, order)


def _united(branches: _Branches, query: ItemQuery, dialect: Dialect, order: LiteralString) -> Statement:
    """
    Return one SELECT for each branch, united, for the engine to merge.
    """
    listed: LiteralString = ", ".join([COLUMNS[name] for name in ORDERS[query.order]])
    # A page that is sorted, or has far fewer rows than branches, is found by order keys alone; only its documents are
    # read. However many match, no other one is, and where an index holds all that is asked no other row is either.
    is_late = query.limit is not None and (
        (not branches.names and query.order in _BRANCHED and (dialect.words_late or not _is_on_words(query.where)))
        or len(branches.rows) > 4 * (query.limit + query.offset)
    )
    shown: LiteralString = f"{dialect.row} AS row" if is_late else "doc"
    selects = []
    for row in branches.rows:
        fixed = [dialect.among(COLUMNS[name], (value,)) for name, value in zip(branches.names, row, strict=True)]
        where = all_of([*fixed, *branches.shared])
        selects.append(Statement(f"SELECT {shown}, {listed}\nFROM items\nWHERE {where.sql}", where.parameters))
    if dialect.unites_max and len(selects) > 1 and query.limit is not None:
        # No branch can give more rows to the page than the page has, and those that it skips.
        bound = f"\nORDER BY {order}\nLIMIT {dialect.placeholder}"
        selects = [Statement(f"({one.sql}{bound})", (*one.parameters, query.limit + query.offset)) for one in selects]
    body: LiteralString = "\nUNION ALL\n".join([one.sql for one in selects])
    page = bounds(query.limit, query.offset, dialect)
    values = tuple(itertools.chain.from_iterable(one.parameters for one in selects))
    sql: LiteralString = f"{body}\nORDER BY {order}{page.sql}"
    if is_late:
        sql = f"""SELECT doc, {_prefixed("page.", listed)}
FROM ({sql}) AS page
JOIN items ON items.{dialect.row} = page.row
ORDER BY {_prefixed("page.", order)}"""  # noqa: S608
    return Statement(sql, values + page.parameters)


def _is_on_waking(leading: Sequence[Where]) -> bool:
    """
    Tell whether it is about all that woke before an instant, or sleep after it: many, of which an index has the order.
    """
    return len(leading) == 1 and isinstance(leading[0], Compare) and leading[0].field == "wake_at"


def _is_on_words(where: Where) -> bool:
    return any(phrases_of(part) for part in flat(where))


def _gathered(branches: _Branches, query: ItemQuery, dialect: Dialect, order: LiteralString) -> Statement:
    """
    Return one SELECT that is run for each branch and reads order keys alone; documents are read of the page's rows.

    (Planning a dozen united SELECTs costs more than running them, and a whole page of documents would be read of each.)
    """
    mark = dialect.placeholder
    columns = [COLUMNS[name] for name in ORDERS[query.order]]
    listed: LiteralString = ", ".join(columns)
    shown: LiteralString = ", ".join([f"page.{column}" for column in columns])
    fixed: LiteralString = " AND ".join([f"{COLUMNS[name]} = branch.{COLUMNS[name]}" for name in branches.names])
    where = all_of([Statement(fixed), *branches.shared])
    arrays: LiteralString = ", ".join([f"{mark}::text[]"] * len(branches.names))
    named: LiteralString = ", ".join([COLUMNS[name] for name in branches.names])
    page = bounds(query.limit, query.offset, dialect)
    sql: LiteralString = f"""SELECT doc, {shown}
FROM (
  SELECT {shown}
  FROM unnest({arrays}) AS branch ({named})
  CROSS JOIN LATERAL (
    SELECT {listed}
    FROM items
    WHERE {where.sql}
    ORDER BY {order}
    LIMIT {mark}
  ) AS page
  ORDER BY {order}{page.sql}
) AS page
JOIN items ON items.id = page.id
ORDER BY {_prefixed("page.", order)}"""  # noqa: S608
    values = tuple(map(list, zip(*branches.rows, strict=True)))
    return Statement(sql, (*values, *where.parameters, (query.limit or 0) + query.offset, *page.parameters))


def _prefixed(prefix: LiteralString, order: LiteralString) -> LiteralString:
    return ", ".join([prefix + column for column in order.split(", ")])


def _branches(query: ItemQuery, dialect: Dialect, envs: Callable[[], Sequence[str]] | None) -> _Branches:
    """
    Return the branches of a page; one branch of no fixed values where splitting does not help.
    """
    parts = parts_of(in_columns(query.where), envs)
    leading = [part for part in parts if is_selective(part)]
    if query.order not in _BRANCHED or (leading and not (dialect.woken_in_order and _is_on_waking(leading))):
        return _Branches((), [()], conditions(parts, dialect))
    # A range of days is one stretch of the index only within one priority.
    by_day = any(isinstance(part, Compare) and part.field == "due_date" for part in parts)
    values: dict[str, Sequence[str]] = {name: _DOMAINS[name] for name in _BRANCHED["due" if by_day else query.order]}
    rest: list[Where] = []
    for part in parts:
        # A second condition on one of these fields narrows the values of the first.
        if isinstance(part, In) and part.field in {"env", "stage", "priority"}:
            known = values.get(part.field, part.values)
            values[part.field] = [value for value in dict.fromkeys(known) if value in part.values]
        else:
            rest.append(part)
    if "env" not in values and envs is not None:
        values["env"] = envs()
    rows = list(itertools.islice(itertools.product(*values.values()), dialect.branches_max + 1))
    if not rows:
        return _Branches((), [()], [NOTHING])
    if len(rows) > dialect.branches_max:
        return _Branches((), [()], conditions(parts, dialect))
    return _Branches(tuple(values), rows, conditions(rest, dialect))
