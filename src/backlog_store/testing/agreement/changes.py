"""
Random programs at the port: changes, good and bad, and every kind of reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import (
    Backend,
    Change,
    DropRecord,
    Load,
    Purge,
    Put,
    PutRecord,
    Reader,
    Require,
    Sighting,
    Trim,
    Writer,
)
from backlog_store.codec import encode, encode_event, encode_item
from backlog_store.errors import BacklogError
from backlog_store.model import Item, Record, RecordKind
from backlog_store.query import FACETS, ORDERS, EventQuery, Facet, ItemQuery, order_key
from backlog_store.testing.agreement import Maintain, Reopen, Step, Store
from backlog_store.testing.contents import records_of
from backlog_store.testing.samples import NASTY, Sampler, an_event

__all__ = ["Look", "Write", "changes_program"]

ITEMS_MAX = 80
_KINDS: tuple[RecordKind, ...] = ("view", "key", "guard")


class _StopError(Exception):
    pass


class Write(Struct, frozen=True):
    """
    Apply lists of changes in one transaction, look at its own view, and perhaps fail in the end.
    """

    lists: tuple[tuple[Change, ...], ...]
    fails: bool = False

    def run(self, store: Store, /) -> Any:
        """
        Write.
        """

        def use(writer: Writer) -> Any:
            for changes in self.lists:
                writer.apply(changes)
            if self.fails:
                raise _StopError
            ids = sorted({change.item.id for changes in self.lists for change in changes if isinstance(change, Put)})
            own = writer.events(EventQuery(item_ids=tuple(ids), limit=None))
            return _items(writer.items(ids).values()), [encode_event(event) for event in own]

        try:
            return store.backend.write(use)
        except _StopError:
            return "stopped"
        except BacklogError:
            # A refusal may come from `apply` or only at the end, behind the function's own error; both write nothing.
            if self.fails:
                return "stopped"
            raise


class Look(Struct, frozen=True):
    """
    Ask questions of one view.
    """

    items: tuple[ItemQuery, ...] = ()
    facets: tuple[Facet, ...] = ()
    events: tuple[EventQuery, ...] = ()
    event_after: int = -1  # go on after the event of this number (a position is each backend's own)
    ids: tuple[str, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    scan: tuple[RecordKind, str, str, int] | None = None

    def run(self, store: Store, /) -> Any:
        """
        Read.
        """
        return store.backend.read(self._ask)

    def _ask(self, reader: Reader) -> Any:
        events = []
        for query in self.events:
            if self.event_after >= 0:
                whole = reader.events(EventQuery(limit=None))
                after = whole[self.event_after].position if self.event_after < len(whole) else ""
                query = replace(query, after=after)  # noqa: PLW2901  (the same query, from this store's own place)
            events.append([encode_event(event) for event in reader.events(query)])
        return (
            [_items(reader.search(query)) for query in self.items],
            [reader.tally(query.where, self.facets) for query in self.items],
            events,
            sorted(_items(reader.items(self.ids).values())),
            sorted((key, encode_item(item)) for key, item in reader.items_by_key(self.keys).items()),
            [_record(record) for record in reader.scan(*self.scan)] if self.scan else [],
        )


class changes_program:  # noqa: N801  (reads as a function; it keeps the sampler)
    """
    A program that draws writes and readings from *seed*; *maintain* names the maintenance to call in between.
    """

    def __init__(self, seed: int, *, maintain: Sequence[str] = ("compact",)) -> None:
        self._sampler = Sampler(seed)
        self._rng = self._sampler.rng
        self._maintain = tuple(maintain)
        self._number = 0
        self._revision = 0

    def next(self, model: Backend, /) -> Step:
        """
        Draw the next step.
        """
        rng = self._rng
        kind = rng.random()
        if kind < 0.005:
            return Reopen()
        if kind < 0.01 and self._maintain:
            return Maintain(rng.choice(self._maintain))
        items = list(model.read(lambda reader: reader.search(ItemQuery(order="id", limit=None))))
        records = model.read(lambda reader: [record for kind in _KINDS for record in records_of(reader, kind)])
        if kind < 0.4:
            return self._look(items)
        lists = tuple(
            tuple(self._once_each(self._change(items, records) for _ in range(rng.randrange(1, 6))))
            for _ in range(rng.choice((1, 1, 1, 2)))
        )
        return Write(lists, fails=rng.random() < 0.05)

    def _once_each(self, changes: Any) -> list[Change]:
        seen: set[str] = set()
        kept = []
        for change in changes:
            if isinstance(change, Put):
                if change.item.id in seen:
                    continue
                seen.add(change.item.id)
            kept.append(change)
        return kept

    def _change(self, items: Sequence[Item], records: Sequence[Record]) -> Change:
        rng = self._rng
        kind = rng.random()
        if kind < 0.35 or not items:
            if len(items) > ITEMS_MAX:
                item = rng.choice(items)
                return Purge(item.id, item.revision)
            return self._new(items)
        item = rng.choice(items)
        if kind < 0.65:
            drawn = self._sampler.item(0)
            names = rng.sample(("title", "status", "owner", "tags", "due_date", "priority", "service", "meta", "env",
                                "closed_at", "closed_reason", "fix", "updated_at", "dedupe_key"), k=3)  # fmt: skip
            fields = {name: getattr(drawn, name) for name in names}
            if "dedupe_key" in fields and rng.random() < 0.3:
                fields["dedupe_key"] = rng.choice(items).dedupe_key
            changed = replace(item, revision=item.revision + self._off_by(), **fields)
            return Put(changed, an_event(changed, ts=self._sampler.instant(), message=self._sampler.text()))
        if kind < 0.7:
            return Purge(item.id, item.revision + self._off_by() - 1)
        if kind < 0.72:
            return Trim(item.id, rng.randrange(item.revision + 2))
        if kind < 0.8:
            target = item.id if rng.random() < 0.97 else "bl_nobody"
            seen = sorted((self._sampler.instant(), self._sampler.instant()))
            return Sighting(target, rng.choice(("ruff", "s/lo", "'")), seen[0], seen[1], rng.randrange(1, 9))
        if kind < 0.85:
            return Require("item", item.id, item.revision + self._off_by() - 1)
        return self._record_change(records, item)

    def _new(self, items: Sequence[Item]) -> Change:
        rng = self._rng
        self._number += 1
        item = self._sampler.item(self._number)
        if items and rng.random() < 0.05:
            item = replace(item, id=rng.choice(items).id)
        if items and rng.random() < 0.05:
            other = rng.choice(items)
            item = replace(item, env=other.env, dedupe_key=other.dedupe_key)
        if rng.random() < 0.2:
            trail = tuple(an_event(replace(item, revision=number)) for number in range(1, rng.randrange(2, 5)))
            return Load(replace(item, revision=len(trail)), trail)
        return Put(item, an_event(item, ts=item.created_at, added=rng.random() < 0.2), created=True)

    def _record_change(self, records: Sequence[Record], item: Item) -> Change:
        rng = self._rng
        kind = rng.choice(_KINDS)
        if not records or rng.random() < 0.4:
            record = Record(kind=kind, id=f"{rng.choice('pq')}/{rng.choice(NASTY)}", revision=1)
        else:
            record = rng.choice(records)
            if rng.random() < 0.25:
                return DropRecord(record.kind, record.id, record.revision + self._off_by() - 1)
            if rng.random() < 0.2:
                return Require(record.kind, record.id, record.revision + self._off_by() - 1)
            record = replace(record, revision=record.revision + self._off_by())
        record = replace(record, body=self._sampler.document())
        if record.kind == "key":
            self._revision += 1
            return PutRecord(record, an_event(item, id=f"ev_{self._revision}", type="judged"), force=rng.random() < 0.1)
        return PutRecord(record, force=rng.random() < 0.1)

    def _off_by(self) -> int:
        return self._rng.choice((0, 2, 3)) if self._rng.random() < 0.04 else 1

    def _look(self, items: Sequence[Item]) -> Look:
        rng = self._rng
        queries = []
        for _ in range(2):
            order: Any = rng.choice(list(ORDERS))
            after = order_key(rng.choice(items), order) if items and rng.random() < 0.4 else None
            where = self._sampler.where(items)
            limit = rng.choice((None, 0, 1, 5, 50))
            offset = rng.choice((0, 0, 0, 2))
            descending = rng.random() < 0.5
            queries.append(
                ItemQuery(where=where, order=order, descending=descending, limit=limit, offset=offset, after=after)
            )
        some = tuple(item.id for item in items if rng.random() < 0.1)
        facets: Any = tuple(rng.sample(FACETS, k=rng.randrange(3)))
        events = EventQuery(
            item_ids=some if rng.random() < 0.5 else None, types=rng.choice((None, None, ("created", "judged"), ())),
            added=rng.choice((None, None, True, False)), since=self._sampler.maybe((self._sampler.instant(),)),
            until=self._sampler.maybe((self._sampler.instant(),)), newest_first=rng.random() < 0.5,
            limit=rng.choice((None, 0, 3, 50)),
        )  # fmt: skip
        scan = (rng.choice((*_KINDS, "sighting")), rng.choice(("", "p/", "bl_", "q")), rng.choice(("", "p/a")), 20)
        return Look(
            items=tuple(queries), facets=facets, events=(events,), event_after=rng.choice((-1, 0, 7, 100)), ids=some,
            keys=tuple(item.key for item in items if item.key and rng.random() < 0.1), scan=scan,
        )  # fmt: skip


def _items(items: Any) -> list[bytes]:
    return [encode_item(item) for item in items]


def _record(record: Record) -> Any:
    return (record.id, encode(record.body)) if record.kind == "sighting" else encode(record)
