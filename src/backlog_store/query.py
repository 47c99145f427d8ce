"""
Queries as values: one small syntax tree that is evaluated in Python and compiled to SQL, with the same meaning.

``None`` means any, an empty set means none, an unknown name is an error. Texts compare bytewise (by code point, which
for UTF-8 is the same). A comparison never matches an empty value: an item without a due date is neither before nor
after a day. Every order ends in `id` and runs in one direction, so that a page goes on after the last row's order key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from operator import ge, gt, le, lt
from typing import Any, Literal, get_args

from msgspec import Struct

from backlog_store.errors import Fault, InvalidInput
from backlog_store.instants import Instant
from backlog_store.model import LIMITS, LIVE, Item
from backlog_store.words import words_of

__all__ = [
    "ANY", "FACETS", "FIELDS", "OPERATORS", "ORDERS", "All", "Any_", "Compare", "EventQuery", "Facet", "HasWords", "In",
    "ItemFilter", "ItemQuery", "Matcher", "Not", "Order", "OrderKey", "Where", "check_events", "check_query",
    "check_where", "fields_of", "flat", "item_text", "matcher", "order_key", "value_of",
]  # fmt: skip

#: Every field that a query may name. ``due`` orders like ``due_date`` with "none" last; ``tag`` holds for any tag;
#: ``stage`` is `Item.stage`, ``created_on`` and ``closed_on`` are days, `Item.created_on` and `Item.closed_on`.
FIELDS: tuple[str, ...] = (
    "id", "env", "service", "category", "priority", "status", "owner", "source", "dedupe_key", "due_date", "created_at",
    "updated_at", "wake_at", "closed_at", "closed_reason", "expires_at", "fix", "tag", "stage", "claimed_by",
    "created_on", "closed_on",
)  # fmt: skip
#: Fields that `tally` can count by.
Facet = Literal[
    "env", "service", "category", "priority", "status", "owner", "source", "due_date", "closed_reason", "fix", "stage",
    "created_on", "closed_on",
]  # fmt: skip
FACETS: tuple[Facet, ...] = get_args(Facet)

NO_DUE = "9999-99-99"  # sorts after every day


class In(Struct, frozen=True, tag="in"):
    """
    The field has one of the values; an empty tuple matches nothing.
    """

    field: str
    values: tuple[str, ...]


class Compare(Struct, frozen=True, tag="compare"):
    """
    The field is not empty and stands in this relation to the value, bytewise.
    """

    field: str
    op: Literal["<", "<=", ">", ">="]
    value: str


class HasWords(Struct, frozen=True, tag="words"):
    """
    The item's text holds these words (as `words_of` cuts them) one after the other; the last one as a prefix if asked.
    """

    words: tuple[str, ...]
    prefix: bool = False


class All(Struct, frozen=True, tag="all"):
    """
    Every part holds; with no parts: everything.
    """

    parts: tuple[Where, ...] = ()


class Any_(Struct, frozen=True, tag="any"):  # noqa: N801  (`Any` is typing's)
    """
    At least one part holds; with no parts: nothing.
    """

    parts: tuple[Where, ...] = ()


class Not(Struct, frozen=True, tag="not"):
    """
    The part does not hold.
    """

    part: Where


Where = In | Compare | HasWords | All | Any_ | Not
ANY: Where = All()

Matcher = Callable[[Item], bool]
OrderKey = tuple[str, ...]
Order = Literal["priority", "due", "created", "updated", "closed", "id"]
#: Each order: the fields that make its key. It ends in the id.
ORDERS: dict[str, tuple[str, ...]] = {
    "priority": ("priority", "due", "id"),
    "due": ("due", "priority", "id"),
    "created": ("created_at", "id"),
    "updated": ("updated_at", "id"),
    "closed": ("closed_at", "id"),
    "id": ("id",),
}


class ItemQuery(Struct, frozen=True, kw_only=True):
    """
    Which items, in which order, how many.

    `after` is the order key of the last row of the page before (`order_key`); `offset` skips rows and costs as much,
    so it is for callers who have no cursor. `limit` is at most `LIMITS.page`; ``None`` reads all (export).
    """

    where: Where = ANY
    order: Order = "priority"
    descending: bool = False
    limit: int | None = 50
    offset: int = 0
    after: OrderKey | None = None


class EventQuery(Struct, frozen=True, kw_only=True):
    """
    Which events. ``None`` means any, an empty tuple none. Ordered by position; of one item that is its revision order.

    `after` is the position to go on behind (before, if `newest_first`); `since` and `until` bound `ts`, until excluded.
    """

    item_ids: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    actors: tuple[str, ...] | None = None
    batch: str | None = None
    added: bool | None = None
    since: Instant = ""
    until: Instant = ""
    after: str = ""
    newest_first: bool = False
    limit: int | None = 50


class ItemFilter(Struct, frozen=True, kw_only=True):
    """
    The common conditions by name, for callers who build no tree. ``None`` is any, an empty set none.
    """

    env: Collection[str] | None = None
    service: Collection[str] | None = None
    category: Collection[str] | None = None
    priority: Collection[str] | None = None
    status: Collection[str] | None = None
    owner: Collection[str] | None = None
    source: Collection[str] | None = None
    dedupe_key: Collection[str] | None = None
    closed_reason: Collection[str] | None = None
    fix: Collection[str] | None = None
    tag: Collection[str] | None = None
    id: Collection[str] | None = None
    due_before: str | None = None
    due_after: str | None = None
    updated_before: Instant | None = None
    text: str | None = None

    def where(self) -> Where:
        """
        Return the tree that means the same.
        """
        parts: list[Where] = []
        for name in _SETS:
            values = getattr(self, name)
            if values is None:
                continue
            if isinstance(values, str):
                fault = Fault(f"/{name}", values, "give a set or list of values, not one text")
                raise InvalidInput([fault], what="filter")
            parts.append(In(name, tuple(sorted(set(values)))))
        if self.due_before is not None:
            parts.append(Compare("due_date", "<", self.due_before))
        if self.due_after is not None:
            parts.append(Compare("due_date", ">", self.due_after))
        if self.updated_before is not None:
            parts.append(Compare("updated_at", "<", self.updated_before))
        if self.text is not None:
            parts.extend(HasWords((word,)) for word in words_of(self.text))
        return parts[0] if len(parts) == 1 else All(tuple(parts))


_SETS = ("env", "service", "category", "priority", "status", "owner", "source", "dedupe_key", "closed_reason", "fix",
         "tag", "id")  # fmt: skip


def live() -> Where:
    """
    Return the condition of items that are not closed.
    """
    return In("status", tuple(sorted(LIVE)))


def value_of(item: Item, name: str) -> str:
    """
    Return the value of a query field other than ``tag``.
    """
    if name == "due":
        return item.due_date or NO_DUE
    value: str = getattr(item, name)
    return value


def order_key(item: Item, order: str) -> OrderKey:
    """
    Return the item's key in *order*: what `ItemQuery.after` takes.
    """
    return tuple(value_of(item, name) for name in ORDERS[order])


def item_text(item: Item) -> str:
    """
    Return the text that full-text search looks in.
    """
    parts = (item.title, item.description, item.service, item.dedupe_key, item.fix, *item.tags)
    return "\n".join(parts)


def matcher(where: Where) -> Matcher:
    """
    Return a function that tells whether an item matches *where*. Raises `InvalidInput` for an unknown field.
    """
    check_where(where)
    return _matcher(where)


def _matcher(where: Where) -> Matcher:
    match where:
        case All(parts):
            tests = [_matcher(part) for part in parts]
            return lambda item: all(test(item) for test in tests)
        case Any_(parts):
            tests = [_matcher(part) for part in parts]
            return lambda item: any(test(item) for test in tests)
        case Not(part):
            test = _matcher(part)
            return lambda item: not test(item)
        case In(name, values):
            wanted = frozenset(values)
            if name == "tag":
                return lambda item: not wanted.isdisjoint(item.tags)
            return lambda item: value_of(item, name) in wanted
        case Compare(name, op, value):
            return _compare(name, op, value)
        case HasWords(words, prefix):
            return lambda item: _holds_words(words_of(item_text(item))[: LIMITS.words], words, prefix)
    raise AssertionError(where)


def _compare(name: str, op: str, value: str) -> Matcher:
    compare: Callable[[str, str], bool] = OPERATORS[op]

    def test(item: Item) -> bool:
        found = value_of(item, name)
        return found != "" and compare(found, value)

    return test


#: How texts are compared, by name.
OPERATORS: dict[str, Callable[[str, str], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def _holds_words(text: list[str], words: tuple[str, ...], prefix: bool) -> bool:
    if not words:
        return True
    exact, last = words[:-1], words[-1]
    for start in range(len(text) - len(words) + 1):
        if tuple(text[start : start + len(exact)]) != exact:
            continue
        found = text[start + len(exact)]
        if found == last or (prefix and found.startswith(last)):
            return True
    return False


def flat(where: Where) -> Iterator[Where]:
    """
    Yield the conditions that must all hold.
    """
    if isinstance(where, All):
        for part in where.parts:
            yield from flat(part)
    else:
        yield where


def fields_of(where: Where) -> set[str]:
    """
    Return the fields that a condition is about; an empty name, which is none, for text.
    """
    match where:
        case All(parts) | Any_(parts):
            return {name for part in parts for name in fields_of(part)}
        case Not(part):
            return fields_of(part)
        case In(name) | Compare(name):
            return {name}
        case HasWords():
            return {""}


def check_where(where: Where) -> None:
    """
    Refuse a tree that names an unknown field or compares tags. Raises `InvalidInput` with every fault.
    """
    faults: list[Fault] = []
    _check(where, "", faults)
    if faults:
        raise InvalidInput(faults, what="filter", hint=f"Fields: {', '.join(FIELDS)}.")


def _check(where: Any, pointer: str, faults: list[Fault]) -> None:
    match where:
        case All(parts) | Any_(parts) if isinstance(parts, tuple):
            for index, part in enumerate(parts):
                _check(part, f"{pointer}/parts/{index}", faults)
        case Not(part):
            _check(part, f"{pointer}/part", faults)
        case In(name, values):
            if name not in FIELDS:
                faults.append(Fault(f"{pointer}/field", str(name), "no such field"))
            if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
                faults.append(Fault(f"{pointer}/values", repr(values)[:80], "give a tuple of texts"))
            else:
                _check_texts(values, f"{pointer}/values", faults)
        case Compare(name, op, value):
            if name not in FIELDS or name == "tag":
                faults.append(Fault(f"{pointer}/field", str(name), "no such field to compare"))
            if op not in OPERATORS:
                faults.append(Fault(f"{pointer}/op", str(op), "one of < <= > >="))
            if not isinstance(value, str):
                faults.append(Fault(f"{pointer}/value", repr(value)[:80], "give a text"))
            else:
                _check_texts((value,), f"{pointer}/value", faults)
        case HasWords(words):
            if not isinstance(words, tuple) or not all(isinstance(word, str) and word for word in words):
                faults.append(Fault(f"{pointer}/words", repr(words)[:80], "give a tuple of words, none empty"))
            else:
                _check_texts(words, f"{pointer}/words", faults)
        case _:
            faults.append(Fault(pointer, repr(where)[:80], "not a condition, nor conditions in a tuple"))


def _check_texts(texts: Collection[str], pointer: str, faults: list[Fault]) -> None:
    # No stored text holds these, and not every engine can be asked for them.
    for text in texts:
        if "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
            faults.append(Fault(pointer, repr(text)[:80], "a text holds neither NUL nor lone surrogates"))
            return


def check_query(query: ItemQuery) -> None:
    """
    Refuse an impossible query: unknown order, negative limit or offset, a cursor of another order. `InvalidInput`.
    """
    check_where(query.where)
    faults: list[Fault] = []
    if query.order not in ORDERS:
        faults.append(Fault("/order", str(query.order), f"one of {', '.join(ORDERS)}"))
    elif query.after is not None and len(query.after) != len(ORDERS[query.order]):
        faults.append(Fault("/after", repr(query.after)[:80], f"not a cursor of the order {query.order!r}"))
    elif query.after is not None:
        _check_texts(query.after, "/after", faults)
    if query.limit is not None and query.limit < 0:
        faults.append(Fault("/limit", str(query.limit), "0 or more"))
    if query.offset < 0:
        faults.append(Fault("/offset", str(query.offset), "0 or more"))
    if faults:
        raise InvalidInput(faults, what="query")


def check_events(query: EventQuery) -> None:
    """
    Refuse an impossible query of events: a negative limit, a text that cannot be stored. Raises `InvalidInput`.
    """
    faults: list[Fault] = []
    for name in ("item_ids", "types", "actors"):
        _check_texts(getattr(query, name) or (), f"/{name}", faults)
    for name in ("since", "until", "after"):
        _check_texts((getattr(query, name),), f"/{name}", faults)
    _check_texts((query.batch or "",), "/batch", faults)
    if query.limit is not None and query.limit < 0:
        faults.append(Fault("/limit", str(query.limit), "0 or more"))
    if faults:
        raise InvalidInput(faults, what="query")
