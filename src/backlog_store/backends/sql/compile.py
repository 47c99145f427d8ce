"""
Queries to SQL, for both dialects, with exactly the meaning of `backlog_store.query.matcher`.

Field names map to fixed columns and user text travels only as parameters. The tables behind it have the columns of
`COLUMNS` (text, compared bytewise, never NULL) and `doc`. One column differs from the item's field: `due` holds the due
date, or ``9999-99-99`` for none, so that one index gives the order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import LiteralString

from backlog_store.backends.sql.dialects import Dialect, Statement
from backlog_store.backends.sql.stages import in_columns
from backlog_store.model import LIMITS
from backlog_store.query import (
    NO_DUE,
    All,
    Any_,
    Compare,
    EventQuery,
    HasWords,
    In,
    Not,
    Where,
    check_events,
    check_where,
    flat,
)

__all__ = [
    "COLUMNS", "NOTHING", "OPERATORS", "all_of", "bounds", "compile_events", "compile_where", "conditions",
    "is_selective", "parts_of", "phrases_of",
]  # fmt: skip

#: Each query field and its column. ``tag`` has a table of its own; days are columns of counts alone (see stages.py).
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
    "stage": "status",
    "claimed_by": "claimed_by",
    "created_on": "created_on",
    "closed_on": "closed_on",
}
#: Each comparison, as SQL has it.
OPERATORS: dict[str, LiteralString] = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}
#: Columns with an index that holds only the rows where they are not empty: the condition must say so to use it.
_SPARSE = frozenset({"owner", "dedupe_key", "fix", "closed_at", "expires_at", "wake_at", "claimed_by"})
#: A condition on one of these finds few items; it leads the plan, and the page is sorted.
_SELECTIVE = frozenset({"id", "dedupe_key", "owner", "fix", "tag", "closed_at", "expires_at", "wake_at", "claimed_by"})
_RANGES = frozenset({"id", "closed_at", "expires_at", "wake_at", "claimed_by"})
#: Columns that the index of pages starts with: where a condition is selective, that index is the wrong one.
_LEADING = frozenset({"env", "stage", "priority", "due", "due_date"})

#: The condition that no row meets.
NOTHING = Statement("FALSE")
_EVERYTHING = Statement("TRUE")
_WORD = re.compile(r"\w+")


def compile_where(where: Where, dialect: Dialect) -> Statement:
    """
    Return the condition over the table ``items``. Raises `InvalidInput` for an unknown field.
    """
    check_where(where)
    return all_of(conditions(list(flat(in_columns(where))), dialect))


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
        parts.append(dialect.events_of(wanted) if wanted else NOTHING)
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
        parts.append(Statement(f"({listed}) {relation} ({marks})", dialect.parse_position(query.after)))
    condition = all_of(parts)
    direction: LiteralString = " DESC" if query.newest_first else ""
    order: LiteralString = ", ".join([column + direction for column in dialect.position])
    page, parameters = bounds(query.limit, 0, dialect)
    return Statement(
        f"SELECT {listed}, doc\nFROM events\nWHERE {condition.sql}\nORDER BY {order}{page}",
        condition.parameters + parameters,
    )


def bounds(limit: int | None, offset: int, dialect: Dialect) -> Statement:
    """
    Return LIMIT and OFFSET.
    """
    mark = dialect.placeholder
    skip = Statement(f" OFFSET {mark}", (offset,)) if offset else Statement("")
    if limit is not None:
        return Statement(f"\nLIMIT {mark}{skip.sql}", (limit, *skip.parameters))
    return Statement(f"\n{dialect.no_limit}{skip.sql}", skip.parameters) if offset else skip


# --- conditions ------------------------------------------------------------------------------------------------------


def conditions(parts: Sequence[Where], dialect: Dialect) -> list[Statement]:
    """
    Return the conditions of all *parts*; where one of them is selective, the others stay out of the plan.
    """
    weak: frozenset[str] = frozenset()
    if dialect.weaken and any(map(is_selective, parts)):
        by_key = any(isinstance(part, In) and part.field == "dedupe_key" for part in parts)
        weak = _LEADING - {"env"} if by_key else _LEADING  # the index of keys starts with the env too
    return [_where(part, dialect, weak) for part in parts]


def _where(where: Where, dialect: Dialect, weak: frozenset[str]) -> Statement:
    phrases = phrases_of(where)
    if phrases:
        return _has_words(phrases, dialect)
    match where:
        case All(parts):
            return all_of([_where(part, dialect, weak) for part in parts])
        case Any_(parts):
            return _join([_where(part, dialect, weak) for part in parts], " OR ", NOTHING)
        case Not(Not(part)):
            return _where(part, dialect, weak)
        case Not(part):
            inner = _where(part, dialect, weak)
            return Statement(f"NOT ({inner.sql})", inner.parameters)
        case In(name, values):
            return _in(name, values, dialect, weak)
        case Compare(name, op, value):
            return _compare(name, op, value, dialect, weak)
        case HasWords():
            return _EVERYTHING  # of no words
    raise AssertionError(where)


def all_of(parts: Sequence[Statement]) -> Statement:
    """
    Return the condition that all *parts* hold.
    """
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
    return dialect.among(column, wanted) if wanted else NOTHING


def _column(name: str, dialect: Dialect, weak: frozenset[str]) -> LiteralString:
    return f"{dialect.weaken}{COLUMNS[name]}" if name in weak else COLUMNS[name]


def _in(name: str, values: Sequence[str], dialect: Dialect, weak: frozenset[str]) -> Statement:
    if name == "tag":
        return dialect.has_tag(sorted(set(values))) if values else NOTHING
    column = _column(name, dialect, weak)
    if name == "due_date":
        values = [value or NO_DUE for value in values if value != NO_DUE]
    if name in _SPARSE and values and "" not in values:
        return dialect.among_known(column, sorted(set(values)))
    return _among(column, values, dialect)


def _compare(name: str, op: str, value: str, dialect: Dialect, weak: frozenset[str]) -> Statement:
    column = _column(name, dialect, weak)
    test: LiteralString = f"{column} {OPERATORS[op]} {dialect.placeholder}"
    if name == "due_date":
        return Statement(f"({test} AND {column} < '{NO_DUE}')", (value,))
    return Statement(test if name == "due" else f"({test} AND {column} {dialect.not_empty})", (value,))


def phrases_of(where: Where) -> tuple[HasWords, ...]:
    """
    Return the phrases of which one must be held, where a condition says nothing else; else none.
    """
    parts = where.parts if isinstance(where, Any_) else (where,)
    phrases = tuple(part for part in parts if isinstance(part, HasWords) and part.words)
    return phrases if len(phrases) == len(parts) else ()


def _has_words(phrases: Sequence[HasWords], dialect: Dialect) -> Statement:
    # No item holds what `words_of` cannot have cut, and the engine's own parser must never see it.
    possible = [phrase for phrase in phrases if all(map(_may_be_held, phrase.words))]
    return dialect.has_words(possible) if possible else NOTHING


def _may_be_held(word: str) -> bool:
    return _WORD.fullmatch(word) is not None and len(word) <= LIMITS.word and not _shouts(word)


def _shouts(word: str) -> bool:
    return any("A" <= letter <= "Z" for letter in word)


def parts_of(where: Where, envs: Callable[[], Sequence[str]] | None) -> list[Where]:
    """
    Return the conditions that must all hold; a key without an env is looked for in each of *envs*.
    """
    parts = list(flat(where))
    fields = {part.field for part in parts if isinstance(part, In)}
    if "dedupe_key" in fields and "env" not in fields and envs is not None:
        parts.append(In("env", tuple(envs())))  # the index of keys starts with the env
    return parts


def is_selective(part: Where) -> bool:
    """
    Tell whether a condition finds few items: it leads the plan then, and the page is sorted.
    """
    match part:
        case HasWords() | Any_():
            return bool(phrases_of(part))
        case In(name, values):
            return name in _SELECTIVE and "" not in values
        case Compare(name):
            return name in _RANGES
    return False
