"""
Finding and counting items in memory: nothing is prepared before it is asked for, and what was built once is kept.

The state holds each item as its canonical bytes. The first search decodes the fields that queries can name into a row
an item; an order, the sets of a field's values and the counts of a group of facets are built when a query first uses
them and follow each change from then on. So a process that only reports pays for none of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import msgspec

from backlog_store import codec
from backlog_store.backends.ordered import Ordered
from backlog_store.errors import Fault, InvalidInput
from backlog_store.model import ItemId, stage_of
from backlog_store.query import (
    FACETS,
    NO_DUE,
    ORDERS,
    All,
    Any_,
    Compare,
    HasWords,
    In,
    ItemQuery,
    OrderKey,
    Where,
    check_query,
    check_where,
    fields_of,
    matcher,
)

__all__ = ["Index", "check_tally"]

#: Orders whose first field is an instant or a day: a comparison with that field is a slice of the order.
_SLICES = {
    "due_date": "due", "created_at": "created", "updated_at": "updated", "closed_at": "closed", "wake_at": "wake",
}  # fmt: skip
#: Fields whose values are kept as sets of ids. Instants have nearly one value an item; ids are looked up as they are.
_SETS = frozenset({
    "env", "service", "category", "priority", "status", "owner", "source", "dedupe_key", "closed_reason", "fix", "tag",
    "stage", "claimed_by",
})  # fmt: skip
#: So many groups of facets are counted at the same time; the one first asked for longest ago makes room.
_TALLIES = 24
#: What is ready has orders of its own, without the closed and the waiting items that would be walked past.
_READY = frozenset({"open"})
#: A query is narrowed by a set when that leaves less than one in so many items; else the order is walked.
_SELECTIVE = 8

#: How many items a condition leaves at most, and how to list them.
_Plan = tuple[int, Callable[[], Iterable[ItemId]]]


class _Row(msgspec.Struct, frozen=True, gc=False):
    """
    The fields of an item that queries name, decoded alone: a third of the cost of the item.

    It goes where an `Item` goes in `query`, which looks only at these (conditions on text are tested on the item).
    """

    id: str
    env: str
    priority: str
    status: str
    created_at: str
    updated_at: str
    service: str = ""
    category: str = ""
    owner: str = ""
    source: str = ""
    dedupe_key: str = ""
    due_date: str = ""
    wake_at: str = ""
    closed_at: str = ""
    closed_reason: str = ""
    expires_at: str = ""
    fix: str = ""
    tags: tuple[str, ...] = ()
    blocked_by: int = 0
    claimed_by: str = ""

    @property
    def stage(self) -> str:
        return stage_of(self.status, self.blocked_by)

    @property
    def created_on(self) -> str:
        return self.created_at[:10]

    @property
    def closed_on(self) -> str:
        return self.closed_at[:10]

    @property
    def due(self) -> str:
        return self.due_date or NO_DUE


_decode_row: Callable[[bytes], Any] = msgspec.json.Decoder(_Row).decode

#: The order key of a row, as `query.order_key` makes it of an item, several times as fast.
_KEYS: dict[str, Callable[[Any], OrderKey]] = {
    order: attrgetter(*names) if len(names) > 1 else lambda row: (row.id,) for order, names in ORDERS.items()
}
#: No page comes in this order: it holds those alone that have an instant to wake at, so that they are found.
_KEYS["wake"] = attrgetter("wake_at", "id")


class Index:
    """
    Rows, orders, sets and counts over a mapping of items' canonical bytes, which it only reads.
    """

    def __init__(self, items: Mapping[ItemId, bytes]) -> None:
        self._items = items
        self._rows: dict[ItemId, Any] = {item_id: _decode_row(raw) for item_id, raw in items.items()}
        self._orders: dict[tuple[str, bool], Ordered[OrderKey]] = {}
        self._sets: dict[str, dict[str, set[ItemId]]] = {}
        self._tallies: dict[tuple[str, ...], dict[tuple[str, ...], int]] = {}

    def put(self, item_id: ItemId, raw: bytes | None) -> None:
        """
        Take in an item's new bytes; ``None`` where it was removed.
        """
        old = self._rows.pop(item_id, None)
        new = None if raw is None else _decode_row(raw)
        if new is not None:
            self._rows[item_id] = new
        for (order, ready), ordered in self._orders.items():
            key = _KEYS[order]
            before = key(old) if old is not None and _stands_in(order, ready, old) else None
            after = key(new) if new is not None and _stands_in(order, ready, new) else None
            if before != after:
                if before is not None:
                    ordered.remove(before)
                if after is not None:
                    ordered.add(after)
        for field, sets in self._sets.items():
            gone, come = _values(old, field), _values(new, field)
            if gone != come:
                for value in gone:
                    sets[value].discard(item_id)
                for value in come:
                    sets.setdefault(value, set()).add(item_id)
        for names, counts in self._tallies.items():
            if old is not None:
                _count(counts, old, names, -1)
            if new is not None:
                _count(counts, new, names, 1)

    def search(self, query: ItemQuery) -> list[ItemId]:
        """
        Return the ids of a page. Raises `InvalidInput` for an impossible query.
        """
        check_query(query)
        if query.limit == 0:
            return []
        test = self._test(query.where)
        narrowed = self._narrow(query.where)
        keys: Sequence[OrderKey]
        if narrowed is None:
            keys = self._order(query.order, ready=_is_ready(query.where))
        else:
            key = _KEYS[query.order]
            keys = sorted(key(self._rows[item_id]) for item_id in narrowed if test(item_id))
            test = _always
        ids = (found[-1] for found in _from(keys, query) if test(found[-1]))
        stop = None if query.limit is None else query.offset + query.limit
        return list(islice(ids, query.offset, stop))

    def tally(self, where: Where, by: Sequence[str]) -> dict[tuple[str, ...], int]:
        """
        Count the items that match, by values of *by*. Raises `InvalidInput` for what is no facet, or no condition.
        """
        check_tally(where, by)
        names = fields_of(where)
        found: dict[tuple[str, ...], int] = {}
        if not names <= set(FACETS):
            test = self._test(where)
            narrowed = self._narrow(where)
            for item_id in list(self._rows) if narrowed is None else narrowed:
                if test(item_id):
                    _count(found, self._rows[item_id], tuple(by), 1)
            return found
        matches = matcher(where)
        for group, n in self._groups(tuple(sorted(names.union(by)))):
            if matches(group):
                _count(found, group, tuple(by), n)
        return found

    # How a condition is tested and narrowed.

    def _test(self, where: Where) -> Callable[[ItemId], bool]:
        """
        Return the test of one item_id. Conditions on text are tested last, on the whole item.
        """
        rows, items = self._rows, self._items
        parts = where.parts if isinstance(where, All) else (where,)
        matches = matcher(All(tuple(part for part in parts if "" not in fields_of(part))))
        texts = tuple(part for part in parts if "" in fields_of(part))
        if not texts:
            return lambda item_id: matches(rows[item_id])
        matches_text = matcher(All(texts))
        needed = [word.encode() for part in texts if isinstance(part, HasWords) for word in part.words]

        def test(item_id: ItemId) -> bool:
            if not matches(rows[item_id]):
                return False
            raw = items[item_id]
            # In a text of ASCII alone each word stands as it is, but for its case; escapes do not touch letters.
            if raw.isascii() and needed:
                lowered = raw.lower()
                if not all(word in lowered for word in needed):
                    return False
            return matches_text(codec.decode_item(raw))

        return test

    def _narrow(self, where: Where) -> Collection[ItemId] | None:
        """
        Return ids of items among which all matches are, if there are few; ``None`` if walking an order is better.
        """
        plan = self._plan(where)
        if plan is None or plan[0] * _SELECTIVE > len(self._rows):
            return None
        return {item_id for item_id in plan[1]() if item_id in self._rows}

    def _plan(self, where: Where) -> _Plan | None:
        match where:
            case All(parts):
                plans = [plan for part in parts if (plan := self._plan(part)) is not None]
                return min(plans, key=lambda plan: plan[0], default=None)
            case Any_(parts):
                some = [self._plan(part) for part in parts]
                every = [plan for plan in some if plan is not None]
                if len(every) < len(some):
                    return None
                return sum(plan[0] for plan in every), lambda: (item_id for plan in every for item_id in plan[1]())
            case In("id", ids):
                return len(ids), lambda: ids
            case In(field, values) if field in _SETS:
                sets = self._values(field)
                chosen = [sets[value] for value in set(values) if value in sets]
                return sum(len(ids) for ids in chosen), lambda: (item_id for ids in chosen for item_id in ids)
            case Compare(field, op, value) if field in _SLICES:
                keys = self._order(_SLICES[field])
                edge = bisect_left(keys, (value,)) if op in {"<", ">="} else bisect_right(keys, value, key=_first)
                start, stop = (0, edge) if op in {"<", "<="} else (edge, len(keys))
                return stop - start, lambda: (found[-1] for found in keys[start:stop])
            case _:
                return None

    # What is built when it is first used.

    def _order(self, order: str, *, ready: bool = False) -> list[OrderKey]:
        name = order, ready
        if name not in self._orders:
            shown = (row for row in self._rows.values() if _stands_in(order, ready, row))
            self._orders[name] = Ordered(map(_KEYS[order], shown))
        return self._orders[name].keys()

    def _values(self, field: str) -> dict[str, set[ItemId]]:
        if field not in self._sets:
            sets = self._sets[field] = {}
            for item_id, row in self._rows.items():
                for value in _values(row, field):
                    sets.setdefault(value, set()).add(item_id)
        return self._sets[field]

    def _groups(self, names: tuple[str, ...]) -> Iterator[tuple[Any, int]]:
        if names not in self._tallies:
            if len(self._tallies) >= _TALLIES:
                del self._tallies[next(iter(self._tallies))]
            counts = self._tallies[names] = {}
            for row in self._rows.values():
                _count(counts, row, names, 1)
        for group, n in self._tallies[names].items():
            yield SimpleNamespace(**dict(zip(names, group, strict=True))), n


def check_tally(where: Where, by: Sequence[str]) -> None:
    """
    Refuse an impossible tally. Raises `InvalidInput` with every fault.
    """
    check_where(where)
    faults = [Fault(f"/by/{index}", str(name), "no such facet") for index, name in enumerate(by) if name not in FACETS]
    if faults:
        raise InvalidInput(faults, what="tally", hint=f"Facets: {', '.join(FACETS)}.")


def _stands_in(order: str, ready: bool, row: Any) -> bool:
    return (not ready or row.stage in _READY) and (order != "wake" or row.wake_at != "")


def _is_ready(where: Where) -> bool:
    """
    Tell whether a condition leaves only items that are ready.
    """
    match where:
        case All(parts):
            return any(map(_is_ready, parts))
        case In("stage", values):
            return set(values) <= _READY
        case _:
            return False


def _always(_: ItemId) -> bool:
    return True


def _first(key: OrderKey) -> str:
    return key[0]


def _from(keys: Sequence[OrderKey], query: ItemQuery) -> Iterable[OrderKey]:
    """
    Return the keys behind the query's cursor, in its direction.
    """
    if query.descending:
        stop = len(keys) if query.after is None else bisect_left(keys, query.after)
        return (keys[at] for at in range(stop - 1, -1, -1))
    start = 0 if query.after is None else bisect_right(keys, query.after)
    return (keys[at] for at in range(start, len(keys)))


def _values(row: Any, field: str) -> tuple[str, ...]:
    if row is None:
        return ()
    return row.tags if field == "tag" else (getattr(row, field),)


def _count(counts: dict[tuple[str, ...], int], row: Any, names: tuple[str, ...], n: int) -> None:
    group = tuple(getattr(row, name) for name in names)
    total = counts.get(group, 0) + n
    if total:
        counts[group] = total
    else:
        del counts[group]
