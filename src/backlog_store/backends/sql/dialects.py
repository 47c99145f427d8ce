"""
Where SQLite and PostgreSQL part: the few clauses that the compiler asks a `Dialect` for.
"""

# ruff: noqa: S608 - what is put into these texts are fixed names of columns.
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, LiteralString, NamedTuple

from msgspec import Struct

from backlog_store.backends.positions import number_of
from backlog_store.codec import encode
from backlog_store.query import HasWords

__all__ = [
    "BY_MONTH", "MONTHS", "POSTGRES", "SLEEPERS", "SQLITE", "TALLIED", "Dialect", "Statement", "kept_counts",
    "of_items", "sqlite_term",
]  # fmt: skip

#: Columns whose values are counted as items are written, each by env and status.
TALLIED: tuple[LiteralString, ...] = (
    "priority", "category", "service", "owner", "source", "due", "created_on", "closed_on",
)  # fmt: skip
#: Those of them that are no columns of items, and what is taken for them there.
_DERIVED: dict[LiteralString, LiteralString] = {
    "created_on": "substr(created_at, 1, 10)", "closed_on": "substr(closed_at, 1, 10)"
}  # fmt: skip
#: Columns by whose values those that have an instant to wake at are counted besides, each by env, status and day of it.
SLEEPERS: tuple[LiteralString, ...] = ("priority", "owner", "due")
#: Facets of counts by month: that of the counts by day, with " month" behind the column whose days are put together.
MONTHS: LiteralString = """(
  'due month', 'priority asleep month', 'owner asleep month', 'due asleep month', 'due month asleep',
  'due month asleep month'
)"""
#: What each of them holds, as a relation like ``tallies`` over its counts by day. (Triggers keep it so.)
BY_MONTH: LiteralString = """
    SELECT 'due month' AS facet, env, status, substr(value, 1, 7) AS value, wake, n FROM tallies WHERE facet = 'due'
    UNION ALL
    SELECT facet || ' month', env, status, value, substr(wake, 1, 7), n FROM tallies
    WHERE facet IN ('priority asleep', 'owner asleep', 'due asleep')
    UNION ALL
    SELECT 'due month asleep', env, status, substr(value, 1, 7), wake, n FROM tallies WHERE facet = 'due asleep'
    UNION ALL
    SELECT 'due month asleep month', env, status, substr(value, 1, 7), substr(wake, 1, 7), n FROM tallies
    WHERE facet = 'due asleep'"""
#: Columns that SQLite finds through its index of words.
SQLITE_TERMS = frozenset({"owner", "fix"})
#: Up to so many values stand in SQLite's text one by one; more go in one JSON parameter, so that few texts are cached.
INLINE_MAX = 8


class Statement(NamedTuple):
    """
    SQL, or a part of it, and its parameters in order. The text holds fixed names only, never a user's text.
    """

    sql: LiteralString
    parameters: tuple[Any, ...] = ()


class Dialect(Struct, frozen=True):
    """
    How one engine writes what the engines write differently.

    *row* is the column by which one row of items is found soonest, *words_late* whether a page of what holds words is
    sorted before its documents are read, *woken_in_order* whether an index has those with an instant to wake at in the
    order of pages; *branches_max* is up to how many branches putting a
    page together is cheaper than a sort, *unites_max* up to how many they are SELECTs of their own (0: always);
    *weaken* keeps a column's index out of the plan; *among* is "the column has one of these values" (at least one),
    *among_known* the same where none of them is empty and the column has an index of what is not empty, *not_empty* how
    such an index says so; *has_tag* is "the item has one of these tags" (at least one), *has_words* "the item's words
    hold one of these phrases" (at least one, each of at least one valid word), *events_of* "the event is of one of
    these items" (at least one);
    *position* are the columns of an event's position, *parse_position* gives their values for a position's text
    (`InvalidInput` if it is none), *horizon* says which events may be read yet; *uncounted* are the SELECTs of what the
    counts by a column of `TALLIED` do not hold yet, with the columns of `kept_counts`.
    """

    placeholder: LiteralString
    row: LiteralString
    words_late: bool
    woken_in_order: bool
    branches_max: int
    no_limit: LiteralString
    weaken: LiteralString
    among: Callable[[LiteralString, Sequence[str]], Statement]
    among_known: Callable[[LiteralString, Sequence[str]], Statement]
    not_empty: LiteralString
    has_tag: Callable[[Sequence[str]], Statement]
    has_words: Callable[[Sequence[HasWords]], Statement]
    events_of: Callable[[Sequence[str]], Statement]
    position: tuple[LiteralString, ...]
    parse_position: Callable[[str], tuple[Any, ...]]
    uncounted: Callable[[LiteralString], tuple[LiteralString, ...]]
    horizon: Statement | None = None
    unites_max: int = 0


def _sqlite_among(column: LiteralString, values: Sequence[str]) -> Statement:
    if len(values) == 1:
        return Statement(f"{column} = ?", (values[0],))
    if len(values) <= INLINE_MAX:
        if column.startswith("+"):  # no index is to be asked, and SQLite makes a table of a list each time
            tests: LiteralString = " OR ".join([f"{column} = ?"] * len(values))
            return Statement(f"({tests})", tuple(values))
        marks: LiteralString = ", ".join(["?"] * len(values))
        return Statement(f"{column} IN ({marks})", tuple(values))
    # A fixed column's name.
    return Statement(f"{column} IN (SELECT value FROM json_each(?))", (encode(values).decode(),))


def _sqlite_among_known(column: LiteralString, values: Sequence[str]) -> Statement:
    found = _sqlite_among(column, values)
    if column not in SQLITE_TERMS:
        return Statement(f"({found.sql} AND {column} <> '')", found.parameters)
    # Candidates are enough, for the column itself decides: those that the index knows, and all that it does not know.
    sql: LiteralString = f"""({found.sql} AND num IN (
  SELECT rowid FROM item_words WHERE item_words MATCH ?
  UNION ALL
  SELECT num FROM items WHERE num > (SELECT words_mark FROM marks)
  UNION ALL
  SELECT num FROM stale_words
))"""
    return Statement(sql, (*found.parameters, _any_term(column, values)))


def _sqlite_has_tag(tags: Sequence[str]) -> Statement:
    wanted = encode(list(tags)).decode()
    return Statement(_lagging("has_tag(doc, ?)"), (_any_term("tag", tags), wanted, wanted))


def _sqlite_words(phrases: Sequence[HasWords]) -> Statement:
    asked = [f'"{" ".join(one.words)}"{"*" if one.prefix else ""}' for one in phrases]
    pending = [f" {' '.join(one.words)}{'' if one.prefix else ' '}" for one in phrases]
    test: LiteralString = " OR ".join(["instr(words_in(doc), ?)"] * len(pending))
    return Statement(_lagging(f"({test})"), (f"words : ({' OR '.join(asked)})", *pending, *pending))


def _lagging(test: LiteralString) -> LiteralString:
    # The index lags behind: items above its mark and those that changed since are looked at one by one, by functions
    # that the backend gives each connection.
    return f"""num IN (
  SELECT rowid FROM item_words WHERE item_words MATCH ? AND rowid NOT IN (SELECT num FROM stale_words)
  UNION ALL
  SELECT num FROM items WHERE num > (SELECT words_mark FROM marks) AND {test}
  UNION ALL
  SELECT num FROM items WHERE num IN (SELECT num FROM stale_words) AND {test}
)"""


def sqlite_term(column: str, value: str) -> str:
    """
    Return the term under which SQLite's index of words finds a tag, owner or fix: a letter, then UTF-8 in hexadecimal.
    """
    return column[0] + value.encode().hex()


def _any_term(column: str, values: Sequence[str]) -> str:
    return f"terms : ({' OR '.join(sqlite_term(column, value) for value in values)})"


def _sqlite_events(item_ids: Sequence[str]) -> Statement:
    # An item's events are found by following its chain; those that came with records are indexed.
    items, events = _sqlite_among("id", item_ids), _sqlite_among("item_id", item_ids)
    sql: LiteralString = f"""position IN (
  WITH RECURSIVE trail (position) AS (
    SELECT last_event FROM items WHERE {items.sql}
    UNION ALL
    SELECT events.prev FROM trail CROSS JOIN events USING (position) WHERE events.prev > 0
  )
  SELECT position FROM trail
  UNION ALL
  SELECT position FROM events WHERE prev < 0 AND {events.sql}
)"""
    return Statement(sql, items.parameters + events.parameters)


def of_items(column: LiteralString) -> LiteralString:
    """
    Return how a SELECT from items says a column of `TALLIED`.
    """
    return _DERIVED.get(column, column)


def kept_counts(column: LiteralString, facet: LiteralString) -> LiteralString:
    """
    Return the SELECT of the counts of *facet*: env, status, *column*, ``wake`` (the day of waking, or none) and n.
    """
    return f"SELECT env, status, value AS {column}, wake, n FROM tallies WHERE facet = '{facet}'"


def _sqlite_uncounted(column: LiteralString) -> tuple[LiteralString, ...]:
    # What moved since, and the items that are above the mark.
    return (
        *_moves(column),
        f"SELECT env, status, {of_items(column)} AS {column}, substr(wake_at, 1, 10) AS wake, 1 AS n FROM {_UNCOUNTED}",
    )


_UNCOUNTED: LiteralString = "items NOT INDEXED WHERE num > (SELECT counted_mark FROM marks)"


def _moves(column: LiteralString) -> tuple[LiteralString, ...]:
    return (f"SELECT env, status, {column}, wake, n FROM tally_moves",)


def _numbered(position: str) -> tuple[Any, ...]:
    return (number_of(position),)


SQLITE = Dialect(
    placeholder="?",
    row="num",
    words_late=True,
    woken_in_order=True,
    branches_max=120,
    no_limit="LIMIT -1",
    weaken="+",  # it has no statistics, and takes two equal columns of an index for better than one rare value
    among=_sqlite_among,
    among_known=_sqlite_among_known,
    not_empty="<> ''",  # not "> ''": SQLite would rather walk that range than look up each of many values
    has_tag=_sqlite_has_tag,
    has_words=_sqlite_words,
    events_of=_sqlite_events,
    position=("position",),
    parse_position=_numbered,
    uncounted=_sqlite_uncounted,
    horizon=Statement("revision > 0"),  # an empty row may hold the place of the last event, if that was purged
)


def _postgres_among(column: LiteralString, values: Sequence[str]) -> Statement:
    if len(values) == 1:
        return Statement(f"{column} = %s", (values[0],))
    return Statement(f"{column} = ANY(%s)", (list(values),))


def _postgres_among_known(column: LiteralString, values: Sequence[str]) -> Statement:
    found = _postgres_among(column, values)
    return Statement(f"({found.sql} AND {column} > '')", found.parameters)


def _postgres_has_tag(tags: Sequence[str]) -> Statement:
    found = _postgres_among("tag", tags)
    # Not "id IN": where it is denied, PostgreSQL would read all that have the tag, for each row anew if they are many.
    return Statement(f"EXISTS (SELECT FROM item_tags WHERE item_id = items.id AND {found.sql})", found.parameters)


def _postgres_words(phrases: Sequence[HasWords]) -> Statement:
    # A word has only letters, digits and "_": between quotes it needs no escape.
    asked = [" <-> ".join(f"'{word}'" for word in one.words) + (":*" if one.prefix else "") for one in phrases]
    return Statement("words @@ CAST(%s AS tsquery)", (" | ".join(f"({one})" for one in asked),))


#: `position` columns and horizon are set by the backend, which knows how its events are numbered.
POSTGRES = Dialect(
    placeholder="%s",
    row="id",
    words_late=False,  # a common word is joined with all items: one scan of them, in parallel, is cheaper than an index
    woken_in_order=False,  # it chooses among indexes of the same rows by what it happens to know of them
    branches_max=120,
    no_limit="LIMIT ALL",
    weaken="",
    among=_postgres_among,
    among_known=_postgres_among_known,
    not_empty="> ''",
    has_tag=_postgres_has_tag,
    has_words=_postgres_words,
    events_of=lambda item_ids: _postgres_among("item_id", item_ids),
    position=("position",),
    parse_position=_numbered,
    uncounted=_moves,
    unites_max=6,  # as many stages as there are; a dozen SELECTs cost more to plan than to run
)
