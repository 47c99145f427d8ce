"""
A view of the store with decided changes laid over it, so that many commands can be decided and none is written.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from backlog_store.backends.port import Change, DropRecord, Load, Purge, Put, PutRecord, Reader, Sighting, Trim
from backlog_store.codec import Undecoded, from_builtins, to_builtins
from backlog_store.model import Event, Item, ItemId, Key, Record, RecordKind, Sighted
from backlog_store.query import EventQuery, Facet, ItemQuery, OrderKey, Where, matcher, order_key, value_of
from backlog_store.rules.voices import both_sighted

__all__ = ["Overlay"]


class Overlay:
    """
    A `port.Reader`: what `on` was given, under the changes that it absorbed. Not safe for use by several threads.

    The view below may be another one for each command; what was changed here is read from here. Events that were
    decided have no position yet, and come behind all others.
    """

    def __init__(self) -> None:
        self._below: Reader | None = None
        self._items: dict[ItemId, Item | None] = {}
        self._by_key: dict[Key, Item | None] = {}
        self._records: dict[RecordKind, dict[str, Record | None]] = {}
        self._sighted: dict[str, Sighted] = {}
        self._events: list[Event] = []
        self._gone: dict[ItemId, float] = {}  # below this revision the events of the store are forgotten
        self._sorted: dict[Any, tuple[list[OrderKey], list[Item]]] = {}

    def on(self, below: Reader) -> Overlay:
        """
        Return this view, with *below* as the store.
        """
        self._below = below
        return self

    @property
    def _store(self) -> Reader:
        assert self._below is not None, "an overlay lies on something"
        return self._below

    def absorb(self, changes: Iterable[Change]) -> None:
        """
        Lay decided changes over what is there.
        """
        self._sorted.clear()
        for change in changes:
            match change:
                case Put(item, event):
                    self._set(item.id, item)
                    self._events.append(event)
                case Load(item, events):
                    self._set(item.id, item)
                    self._events += events
                case Purge(id):
                    self._set(id, None)
                    self._forget(id, _ALL_OF_IT)
                case Trim(id, revision):
                    self._forget(id, revision)
                case PutRecord(record, event):
                    if event is not None:
                        self._events.append(event)
                    self._records.setdefault(record.kind, {})[record.id] = record
                case DropRecord(kind, id):
                    self._records.setdefault(kind, {})[id] = None
                case Sighting():
                    self._see(change)
                case _:
                    pass  # what is only required changes nothing

    def _set(self, id: ItemId, item: Item | None) -> None:
        old = self._items.get(id)
        if old is not None and old.key is not None:
            self._by_key[old.key] = None
        self._items[id] = item
        if item is not None and item.key is not None:
            self._by_key[item.key] = item

    def _forget(self, id: ItemId, below: float) -> None:
        self._events = [event for event in self._events if event.item_id != id or event.revision >= below]
        self._gone[id] = max(below, self._gone.get(id, 0))
        if below == _ALL_OF_IT:
            self._sighted = {name: seen for name, seen in self._sighted.items() if not name.startswith(f"{id}/")}

    def _is_purged(self, sighting: str) -> bool:
        return self._gone.get(sighting.partition("/")[0]) == _ALL_OF_IT

    def _see(self, change: Sighting) -> None:
        id = f"{change.item_id}/{change.source}"
        known = self._sighted.get(id)
        seen = Sighted(n=change.n, first_at=change.first_at, last_at=change.last_at, run=change.run)
        self._sighted[id] = seen if known is None else both_sighted(known, seen)

    # Reading

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:
        """
        Return the items of these ids.
        """
        below = self._store.items([id for id in ids if id not in self._items])
        return {id: item for id in ids if (item := self._items.get(id) or below.get(id)) is not None}

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:
        """
        Return the items that hold these keys.
        """
        found = {key: item for key in keys if (item := self._by_key.get(key)) is not None}
        missing = [key for key in keys if key not in self._by_key]
        if not missing:
            return found
        below = self._store.items_by_key(missing)
        if isinstance(below, Undecoded):
            kept = [key for key in below if below.outline(key).id not in self._items]
            if not found and len(kept) == len(below):
                return below  # most of a large report is known and unchanged: nobody needs to see the whole of it
        else:
            kept = [key for key, item in below.items() if item.id not in self._items]
        # What was changed here holds the key that it has here.
        return found | {key: below[key] for key in kept}

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:
        """
        Return the records of this kind and these ids.
        """
        changed = self._records.get(kind, {})
        below = self._store.records(kind, [id for id in ids if id not in changed])
        if kind == "sighting":
            return {id: record for id in ids if (record := self._sighting(id, below.get(id))) is not None}
        return {id: record for id in ids if (record := changed.get(id) or below.get(id)) is not None}

    def _sighting(self, id: str, below: Record | None) -> Record | None:
        seen = self._sighted.get(id)
        if self._is_purged(id):
            below = None
        if seen is None:
            return below
        if below is not None:
            seen = both_sighted(from_builtins(below.body, Sighted), seen)
        return Record(kind="sighting", id=id, revision=1, body=to_builtins(seen))

    def scan(self, kind: RecordKind, prefix: str, after: str, limit: int) -> Sequence[Record]:
        """
        Return up to *limit* records whose id starts with *prefix* and is greater than *after*, in bytewise id order.
        """
        changed: Mapping[str, Any] = self._sighted if kind == "sighting" else self._records.get(kind, {})
        names = sorted(id for id in changed if id.startswith(prefix) and id > after)
        own = self.records(kind, names)
        return _merged(
            lambda start, count: self._store.scan(kind, prefix, start or after, count),
            [own[name] for name in names if name in own],
            lambda name: name in changed or (kind == "sighting" and self._is_purged(name)),
            lambda record: record.id, lambda record: record.id, limit,
        )  # fmt: skip

    def search(self, query: ItemQuery) -> Sequence[Item]:
        """
        Return a page of items.
        """
        keys, items = self._matching(query)
        start = 0 if query.after is None else bisect_right(keys, _place(query.after, query.descending))
        wanted = None if query.limit is None else query.limit + query.offset

        def below(after: Any, count: int) -> Sequence[Item]:
            page = count if wanted is not None else None
            return self._store.search(replace(query, after=after or query.after, limit=page, offset=0))

        found = _merged(
            below, items[start:], self._items.__contains__,
            lambda item: _place(order_key(item, query.order), query.descending),
            lambda item: order_key(item, query.order), wanted if wanted is not None else _ALL,
        )  # fmt: skip
        return found[query.offset :]

    def _matching(self, query: ItemQuery) -> tuple[list[Any], list[Item]]:
        name = (query.where, query.order, query.descending)
        known = self._sorted.get(name)
        if known is None:
            matches = matcher(query.where)
            pairs = sorted(
                (
                    (_place(order_key(item, query.order), query.descending), item)
                    for item in self._items.values()
                    if item is not None and matches(item)
                ),
                key=lambda pair: pair[0],
            )
            known = self._sorted[name] = [key for key, _ in pairs], [item for _, item in pairs]
        return known

    def tally(self, where: Where, by: Sequence[Facet]) -> Mapping[tuple[str, ...], int]:
        """
        Count the items that match, by facet values.
        """
        counts = dict(self._store.tally(where, by))
        matches = matcher(where)
        before = self._store.items(list(self._items))
        for sign, items in ((-1, before.values()), (1, self._items.values())):
            for item in items:
                if item is not None and matches(item):
                    cell = tuple(value_of(item, facet) for facet in by)
                    counts[cell] = counts.get(cell, 0) + sign
        return {cell: count for cell, count in counts.items() if count}

    def events(self, query: EventQuery) -> Sequence[Event]:
        """
        Return the events of the store below, and those decided here.
        """
        below = self._kept(query) if self._gone else self._store.events(query)
        own = [event for event in self._events if _is_asked(event, query)]
        found = [*reversed(own), *below] if query.newest_first else [*below, *own]
        return found if query.limit is None else found[: query.limit]

    def _kept(self, query: EventQuery) -> Sequence[Event]:
        """
        Return events of the store that are not forgotten here, page by page until there are enough.
        """
        found: list[Event] = []
        while True:
            page = self._store.events(query)
            found += [event for event in page if event.revision >= self._gone.get(event.item_id, 0)]
            if query.limit is None or len(page) < query.limit or len(found) >= query.limit:
                return found
            query = replace(query, after=page[-1].position)


_ALL = 1 << 60
_ALL_OF_IT = float("inf")


def _is_asked(event: Event, query: EventQuery) -> bool:
    return (
        (query.item_ids is None or event.item_id in query.item_ids)
        and (query.types is None or event.type in query.types)
        and (query.actors is None or event.actor in query.actors)
        and (query.batch is None or event.batch == query.batch)
        and (query.added is None or event.added == query.added)
        and (not query.since or event.ts >= query.since)
        and (not query.until or event.ts < query.until)
    )


class _Backwards(str):
    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def _place(key: OrderKey, descending: bool) -> OrderKey:
    return tuple(map(_Backwards, key)) if descending else key


def _merged(
    below: Callable[[Any, int], Sequence[Any]], own: Sequence[Any], is_changed: Callable[[str], bool],
    place: Callable[[Any], Any], cursor: Callable[[Any], Any], limit: int,
) -> list[Any]:  # fmt: skip
    """
    Return a page of what lies *below*, without what was changed, and of *own*, both in order, merged.
    """
    found: list[Any] = []
    after: Any = None
    at = 0
    while len(found) < limit:
        page = below(after, limit)
        is_last = len(page) < limit
        end = len(own) if is_last else at
        if not is_last:
            last = place(page[-1])
            while end < len(own) and not last < place(own[end]):  # backwards texts know this one relation
                end += 1
        kept = [one for one in page if not is_changed(one.id)]
        found += sorted([*kept, *own[at:end]], key=place) if at < end else kept
        at = end
        if is_last:
            break
        after = cursor(page[-1])
    return found[:limit]
