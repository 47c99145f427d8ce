"""
Queries to SQL, for both dialects, with exactly the meaning of `backlog_store.query.matcher`.

Field names map to fixed columns and user text travels only as parameters. The tables behind it have the columns of
`COLUMNS` (text, compared bytewise, never NULL) and `doc`. One column differs from the item's field: `due` holds the due
date, or ``9999-99-99`` for none, so that one index gives the order.

**Pages without a sort.** The orders by priority and by due date are read from the index
``(env, status, priority, due, id)``: the query is split into one branch for each combination of the leading values
(env, status, priority), every branch is in order already, and the engine merges the branches. A page costs the same on
page 1 and page 10,000, with one index for all of it. A query without an env takes the envs there are from the caller;
a store that keeps ``(status, priority, due, id)`` as well needs none.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, LiteralString

from msgspec.structs import replace

from backlog_store.backends.sql.dialects import TALLIED, Dialect, Statement
from backlog_store.errors import Fault, InvalidInput
from backlog_store.model import LIMITS, PRIORITIES, STATUSES
from backlog_store.query import (
    FACETS,
    NO_DUE,
    ORDERS,
    All,
    Any_,
    Compare,
    EventQuery,
    HasWords,
    In,
    ItemQuery,
    Not,
    Where,
    check_events,
    check_query,
    check_where,
)

__all__ = ["COLUMNS", "compile_events", "compile_items", "compile_tally", "compile_where", "tally_keys"]

#: Each query field and its column. ``tag`` has a table of its own.
COLUMNS: dict[str, LiteralString] = {
    "id": "id",
    "env": "env",
    "service": "service",
    "category": "category",
    "priority": "priority",
    "status": "status",
    "owner": "owner",
    "source": "source",
    "dedupe_key": "dedupe_key",
    "due_date": "due",
    "due": "due",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "wake_at": "wake_at",
    "closed_at": "closed_at",
    "closed_reason": "closed_reason",
    "expires_at": "expires_at",
    "fix": "fix",
}
_OPERATORS: dict[str, LiteralString] = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}
#: Columns with an index that holds only the rows where they are not empty: the condition must say so to use it.
_SPARSE = frozenset({"owner", "dedupe_key", "fix", "closed_at", "expires_at", "wake_at"})
#: A condition on one of these finds few items; it leads the plan, and the page is sorted.
_SELECTIVE = frozenset({"id", "dedupe_key", "owner", "fix", "tag", "closed_at", "expires_at", "wake_at"})
_RANGES = frozenset({"id", "closed_at", "expires_at", "wake_at"})
#: Columns that the index of pages starts with: where a condition is selective, that index is the wrong one.
_LEADING = frozenset({"env", "status", "priority", "due", "due_date"})
#: Orders that are merged from branches, and the columns that have one value in each branch.
_MERGED: dict[str, tuple[str, ...]] = {"priority": ("status",), "due": ("status", "priority")}
_DOMAINS: dict[str, tuple[str, ...]] = {"status": STATUSES, "priority": PRIORITIES}

_NOTHING = Statement("FALSE")
_EVERYTHING = Statement("TRUE")
_WORD = re.compile(r"\w+")


def compile_where(where: Where, dialect: Dialect) -> Statement:
    """
    Return the condition over the table ``items``. Raises `InvalidInput` for an unknown field.
    """
    check_where(where)
    return _and(_conditions(list(_flat(where)), dialect))


def compile_items(query: ItemQuery, dialect: Dialect, *, envs: Callable[[], Sequence[str]] | None = None) -> Statement:
    """
    Return the SELECT of a page; `doc` is the first column of each row. Raises `InvalidInput`.

    *envs* tells which envs there are, for a store whose index of the order starts with the env.
    """
    check_query(query)
    columns = [COLUMNS[name] for name in ORDERS[query.order]]
    listed: LiteralString = ", ".join(columns)
    select: LiteralString = f"SELECT doc, {listed}\nFROM items\nWHERE "
    rest: list[Statement] = []
    if query.after is not None:
        marks: LiteralString = ", ".join([dialect.placeholder] * len(columns))
        relation: LiteralString = "<" if query.descending else ">"
        rest.append(Statement(f"({listed}) {relation} ({marks})", query.after))
    branches = [_and([*parts, *rest]) for parts in _branches(query, dialect, envs)]
    direction: LiteralString = " DESC" if query.descending else ""
    order: LiteralString = ", ".join([column + direction for column in columns])
    selects = [Statement(select + branch.sql, branch.parameters) for branch in branches]
    if dialect.sorts_branches and len(selects) > 1 and query.limit is not None:
        # No branch can give more rows to the page than the page has, and those that it skips.
        bound = f"\nORDER BY {order}\nLIMIT {dialect.placeholder}"
        selects = [Statement(f"({one.sql}{bound})", (*one.parameters, query.limit + query.offset)) for one in selects]
    body: LiteralString = "\nUNION ALL\n".join([one.sql for one in selects])
    page, parameters = _page(query.limit, query.offset, dialect)
    values = tuple(itertools.chain.from_iterable(one.parameters for one in selects))
    return Statement(f"{body}\nORDER BY {order}{page}", values + parameters)


def compile_tally(
    where: Where, by: Sequence[str], dialect: Dialect, *, envs: Callable[[], Sequence[str]] | None = None
) -> Statement:
    """
    Return the counting SELECT: the facets' columns, then the count. Raises `InvalidInput` for what is no facet.

    Where env, status and one field of `TALLIED` answer it, what was counted at each write is added up.
    """
    faults = [Fault(f"/by/{index}", str(name), "no such facet") for index, name in enumerate(by) if name not in FACETS]
    if faults:
        raise InvalidInput(faults, what="tally", hint=f"Facets: {', '.join(FACETS)}.")
    check_where(where)
    tallied = _tallied({*by, *_named(where)})
    counted: LiteralString = "COUNT(*)"
    source: LiteralString = "items"
    if tallied:
        counted, source = "COALESCE(SUM(n), 0)", f"{dialect.tallied(tallied)} AS counts"
        parts, dialect = list(_flat(where)), replace(dialect, among_known=dialect.among, weaken="")
    else:
        parts = _parts(where, envs)
    condition = _and(_conditions(parts, dialect))
    columns = [COLUMNS[name] for name in by]
    shown: LiteralString = ", ".join([*columns, counted])
    grouped: LiteralString = "\nGROUP BY " + ", ".join(columns) if columns else ""
    return Statement(f"SELECT {shown}\nFROM {source}\nWHERE {condition.sql}{grouped}", condition.parameters)


def _tallied(fields: set[str]) -> LiteralString | None:
    """
    Return the column of `TALLIED` by whose counts a question about these fields is answered, if there is one.
    """
    columns = {COLUMNS.get(name, "") for name in fields - {"env", "status"}}
    if not columns:
        return TALLIED[0]
    return next((column for column in TALLIED if columns == {column}), None)


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


def tally_keys(by: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[tuple[str, ...], int]:
    """
    Return the rows of `compile_tally` as the port's mapping: zeros left out, "no due date" as the empty text.
    """
    due = [index for index, name in enumerate(by) if name == "due_date"]
    counts: dict[tuple[str, ...], int] = {}
    for *facets, count in rows:
        for index in due:
            facets[index] = "" if facets[index] == NO_DUE else facets[index]
        if count:
            counts[tuple(facets)] = count
    return counts


def compile_events(query: EventQuery, dialect: Dialect) -> Statement:
    """
    Return the SELECT of events: the position's columns, then `doc`, in order of position. Raises `InvalidInput`.
    """
    check_events(query)
    mark = dialect.placeholder
    parts: list[Statement] = [] if dialect.horizon is None else [dialect.horizon]
    named: tuple[tuple[LiteralString, tuple[str, ...] | None], ...] = (
        ("type", query.types),
        ("actor", query.actors),
        ("batch", None if query.batch is None else (query.batch,)),
    )
    if query.item_ids is not None:
        wanted = sorted(set(query.item_ids))
        parts.append(dialect.events_of(wanted) if wanted else _NOTHING)
    for column, values in named:
        if values is not None:
            parts.append(_among(column, values, dialect))
    if query.batch:
        parts.append(Statement(f"batch {dialect.not_empty}"))  # only batches of events that have one are indexed
    if query.added is not None:
        parts.append(Statement("added" if query.added else "NOT added"))
    if query.since:
        parts.append(Statement(f"ts >= {mark}", (query.since,)))
    if query.until:
        parts.append(Statement(f"ts < {mark}", (query.until,)))
    listed: LiteralString = ", ".join(dialect.position)
    if query.after:
        relation: LiteralString = "<" if query.newest_first else ">"
        marks: LiteralString = ", ".join([mark] * len(dialect.position))
        parts.append(Statement(f"({listed}) {relation} ({marks})", _position(query.after, dialect)))
    condition = _and(parts)
    direction: LiteralString = " DESC" if query.newest_first else ""
    order: LiteralString = ", ".join([column + direction for column in dialect.position])
    page, parameters = _page(query.limit, 0, dialect)
    return Statement(
        f"SELECT {listed}, doc\nFROM events\nWHERE {condition.sql}\nORDER BY {order}{page}",
        condition.parameters + parameters,
    )


def _position(after: str, dialect: Dialect) -> tuple[Any, ...]:
    try:
        return dialect.parse_position(after)
    except ValueError as error:
        fault = Fault("/after", after[:80], "no position of this store's events")
        raise InvalidInput([fault], what="query") from error


def _page(limit: int | None, offset: int, dialect: Dialect) -> Statement:
    mark = dialect.placeholder
    skip = Statement(f" OFFSET {mark}", (offset,)) if offset else Statement("")
    if limit is not None:
        return Statement(f"\nLIMIT {mark}{skip.sql}", (limit, *skip.parameters))
    return Statement(f"\n{dialect.no_limit}{skip.sql}", skip.parameters) if offset else skip


# --- conditions ------------------------------------------------------------------------------------------------------


def _conditions(parts: Sequence[Where], dialect: Dialect) -> list[Statement]:
    """
    Return the conditions of all *parts*; where one of them is selective, the others stay out of the plan.
    """
    weak: frozenset[str] = frozenset()
    if dialect.weaken and any(map(_is_selective, parts)):
        by_key = any(isinstance(part, In) and part.field == "dedupe_key" for part in parts)
        weak = _LEADING - {"env"} if by_key else _LEADING  # the index of keys starts with the env too
    return [_where(part, dialect, weak) for part in parts]


def _where(where: Where, dialect: Dialect, weak: frozenset[str]) -> Statement:
    match where:
        case All(parts):
            return _and([_where(part, dialect, weak) for part in parts])
        case Any_(parts):
            return _join([_where(part, dialect, weak) for part in parts], " OR ", _NOTHING)
        case Not(Not(part)):
            return _where(part, dialect, weak)
        case Not(part):
            inner = _where(part, dialect, weak)
            return Statement(f"NOT ({inner.sql})", inner.parameters)
        case In(name, values):
            return _in(name, values, dialect, weak)
        case Compare(name, op, value):
            return _compare(name, op, value, dialect, weak)
        case HasWords(words, prefix):
            return _has_words(words, dialect, prefix=prefix)
    raise AssertionError(where)


def _and(parts: Sequence[Statement]) -> Statement:
    return _join([part for part in parts if part is not _EVERYTHING], " AND ", _EVERYTHING)


def _join(parts: Sequence[Statement], word: LiteralString, empty: Statement) -> Statement:
    """
    Join conditions as a balanced tree: SQLite refuses expressions deeper than 1,000, and a plain chain is that deep.
    """
    if len(parts) <= 1:
        return parts[0] if parts else empty
    middle = len(parts) // 2
    left = _join(parts[:middle], word, empty)
    right = _join(parts[middle:], word, empty)
    sql: LiteralString = f"{left.sql}{word}{right.sql}"
    # AND binds closest and needs brackets only where a chain grows long; OR always does.
    return Statement(f"({sql})" if word == " OR " or len(parts) > 16 else sql, left.parameters + right.parameters)


def _among(column: LiteralString, values: Sequence[str], dialect: Dialect) -> Statement:
    wanted = sorted(set(values))
    return dialect.among(column, wanted) if wanted else _NOTHING


def _column(name: str, dialect: Dialect, weak: frozenset[str]) -> LiteralString:
    return f"{dialect.weaken}{COLUMNS[name]}" if name in weak else COLUMNS[name]


def _in(name: str, values: Sequence[str], dialect: Dialect, weak: frozenset[str]) -> Statement:
    if name == "tag":
        return dialect.has_tag(sorted(set(values))) if values else _NOTHING
    column = _column(name, dialect, weak)
    if name == "due_date":
        values = [value or NO_DUE for value in values if value != NO_DUE]
    if name in _SPARSE and values and "" not in values:
        return dialect.among_known(column, sorted(set(values)))
    return _among(column, values, dialect)


def _compare(name: str, op: str, value: str, dialect: Dialect, weak: frozenset[str]) -> Statement:
    column = _column(name, dialect, weak)
    test: LiteralString = f"{column} {_OPERATORS[op]} {dialect.placeholder}"
    if name == "due_date":
        return Statement(f"({test} AND {column} < '{NO_DUE}')", (value,))
    return Statement(test if name == "due" else f"({test} AND {column} {dialect.not_empty})", (value,))


def _has_words(words: Sequence[str], dialect: Dialect, *, prefix: bool) -> Statement:
    if not words:
        return _EVERYTHING
    # No item holds what `words_of` cannot have cut, and the engine's own parser must never see it.
    if any(not _WORD.fullmatch(word) or len(word) > LIMITS.word or _shouts(word) for word in words):
        return _NOTHING
    return dialect.has_words(words, prefix)


def _shouts(word: str) -> bool:
    return any("A" <= letter <= "Z" for letter in word)


# --- pages in order --------------------------------------------------------------------------------------------------


def _branches(query: ItemQuery, dialect: Dialect, envs: Callable[[], Sequence[str]] | None) -> list[list[Statement]]:
    """
    Return the conditions of each branch; one branch where splitting does not help.
    """
    parts = _parts(query.where, envs)
    if query.order not in _MERGED or any(_is_selective(part) for part in parts):
        return [_conditions(parts, dialect)]
    # A range of days is one stretch of the index only within one priority.
    by_day = any(isinstance(part, Compare) and part.field == "due_date" for part in parts)
    values: dict[str, Sequence[str]] = {name: _DOMAINS[name] for name in _MERGED["due" if by_day else query.order]}
    rest: list[Where] = []
    for part in parts:
        # A second condition on one of these fields narrows the values of the first.
        if isinstance(part, In) and part.field in {"env", "status", "priority"}:
            known = values.get(part.field, part.values)
            values[part.field] = [value for value in dict.fromkeys(known) if value in part.values]
        else:
            rest.append(part)
    if "env" not in values and envs is not None:
        values["env"] = envs()
    combinations = list(itertools.islice(itertools.product(*values.values()), dialect.branches_max + 1))
    if not combinations:
        return [[_NOTHING]]
    if len(combinations) > dialect.branches_max:
        return [_conditions(parts, dialect)]
    shared = _conditions(rest, dialect)
    branches = []
    for chosen in combinations:
        fixed = [dialect.among(COLUMNS[name], (value,)) for name, value in zip(values, chosen, strict=True)]
        branches.append([*fixed, *shared])
    return branches


def _parts(where: Where, envs: Callable[[], Sequence[str]] | None) -> list[Where]:
    parts = list(_flat(where))
    fields = {part.field for part in parts if isinstance(part, In)}
    if "dedupe_key" in fields and "env" not in fields and envs is not None:
        parts.append(In("env", tuple(envs())))  # the index of keys starts with the env
    return parts


def _flat(where: Where) -> Iterable[Where]:
    if isinstance(where, All):
        for part in where.parts:
            yield from _flat(part)
    else:
        yield where


def _is_selective(part: Where) -> bool:
    match part:
        case HasWords(words):
            return bool(words)
        case In(name, values):
            return name in _SELECTIVE and "" not in values
        case Compare(name):
            return name in _RANGES
    return False
