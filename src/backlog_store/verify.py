"""
Proof that a store is whole: the events rebuild every item, each trail's chain of hashes holds, nothing stands alone.

Everything is read in pages, on one consistent view: the memory needed does not grow with the store. What a backend
keeps beside the documents (columns, indexes, checksums) it looks at itself, see `backlog_store.backends.keeping`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.codec import from_builtins
from backlog_store.errors import BackendError, BackendUnavailable
from backlog_store.model import (
    CLOSED,
    CURRENT_POLICY,
    LIVE,
    TRAILS,
    Event,
    Item,
    KeyState,
    Record,
    RecordKind,
    Sighted,
)
from backlog_store.query import ANY, EventQuery, ItemQuery, order_key
from backlog_store.trail import faults_of_chain, faults_of_key_trail, faults_of_trail, is_baseline

__all__ = ["FAULTS_KEPT", "Verified", "Watch", "silent", "verify"]

_PAGE = 500
_EVENTS_PAGE = 2_000
#: So many faults are told; the others are counted.
FAULTS_KEPT = 1_000

#: Told what is looked at, how much of it so far, and of how much (0: unknown).
Watch = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """
    Tell nobody.
    """


class Verified(Struct, kw_only=True):
    """
    What was looked at, and what is wrong: each fault names its item. No faults: the store is whole.

    *shortened* items have forgotten their older history: a baseline tells what it came to. *faults* are the first
    `FAULTS_KEPT` of *fault_count*.
    """

    items: int = 0
    events: int = 0
    keys: int = 0
    sightings: int = 0
    links: int = 0
    shortened: int = 0
    fault_count: int = 0
    faults: list[str] = []

    def add(self, fault: str) -> None:
        """
        Take a fault down.
        """
        self.fault_count += 1
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(fault)


def verify(reader: Reader, *, audit: Iterable[str] = (), watch: Watch = silent) -> Verified:
    """
    Rebuild every item from its events, check every chain, and that keys, sightings, links and events belong to items.

    The faults of *audit*, the backend's own look at what it keeps, come first; where it raises `BackendError`, nothing
    more is read. What cannot be read is a fault, too; `BackendUnavailable` is raised.
    """
    return _Verifier(reader, watch).run(audit)


class _End:
    """
    The links of one item: how many, and which items block it.
    """

    def __init__(self) -> None:
        self.links = 0
        self.blockers: list[str] = []

    def add(self, kind: str, other: str) -> None:
        self.links += 1
        if kind == "~blocks":
            self.blockers.append(other)


class _Verifier:
    def __init__(self, reader: Reader, watch: Watch) -> None:
        self.reader = reader
        self.watch = watch
        self.result = Verified(faults=[])
        self.counted = 0  # links, as items count them
        self.explained = 0  # events that stand in the trail of an item or of a purged key

    def run(self, audit: Iterable[str]) -> Verified:
        try:
            for fault in audit:
                self.result.add(fault)
        except BackendUnavailable:
            raise
        except BackendError as error:
            self.result.add(str(error))
            return self.result
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("items", self._items),
            ("keys", self._keys),
            ("sightings", self._sightings),
            ("links", self._links),
            ("trails", self._trails_alone),
            ("policies", self._policies),
            ("events", self._strays),
        )
        for what, step in steps:
            try:
                step()
            except BackendUnavailable:
                raise
            except Exception as error:
                # Of pages that the audit found damaged anything can come, and so any exception of what takes it in.
                known = isinstance(error, BackendError | msgspec.MsgspecError | UnicodeDecodeError)
                if not known and not self.result.fault_count:
                    raise
                self.result.add(f"{what}: reading ended early: {error}")
        return self.result

    def _items(self) -> None:
        total = self.reader.tally(ANY, ()).get((), 0)
        after = None
        while items := self.reader.search(ItemQuery(order="id", limit=_PAGE, after=after)):
            self._trails(items)
            before, after = after, order_key(items[-1], "id")
            if before is not None and after <= before:
                self.result.add(f"{items[-1].id}: stands behind {before[0]}; what follows cannot be read in order")
                return
            self.watch("items", self.result.items, total)
        if self.result.items != total:
            self.result.add(f"items: {total} are counted, and {self.result.items} found")

    def _trails(self, items: Sequence[Item]) -> None:
        trails: dict[str, list[Event]] = {item.id: [] for item in items}
        for event in self.reader.events(EventQuery(item_ids=tuple(trails), limit=None)):
            trail = trails.get(event.item_id)
            if trail is None:
                self.result.add(f"event {event.id}: stands in the history of another item than {event.item_id}")
            else:
                trail.append(event)
        for item in items:
            trail = sorted(trails[item.id], key=lambda event: event.revision)
            self.result.items += 1
            self.counted += item.links
            self.result.events += len(trail)
            self.explained += len(trail)
            self.result.shortened += _is_shortened(trail)
            for fault in faults_of_trail(item, trail):
                self.result.add(f"{item.id}: {fault}")

    def _keys(self) -> None:
        for records in self._pages("key"):
            states = {record.id: from_builtins(record.body, KeyState) for record in records}
            keys = {id: (id.partition("/")[0], id.partition("/")[2]) for id in states}
            holders = self.reader.items_by_key(list(keys.values()))
            ids = {state.item_id for state in states.values() if state.item_id}
            there = self.reader.items(ids)
            tombs = self.reader.records("alias", ids - there.keys())
            for id, state in states.items():
                self.result.keys += 1
                if state.purged_at:
                    self._purged_key(id, state)
                for fault in _faults_of_key(state, holders.get(keys[id]), there.keys() | tombs.keys()):
                    self.result.add(f"key {id}: {fault}")
            self.watch("keys", self.result.keys, 0)

    def _purged_key(self, id: str, state: KeyState) -> None:
        events = self.reader.events(EventQuery(item_ids=(state.item_id,), limit=None))
        self.result.events += len(events)
        self.explained += len(events)
        for fault in faults_of_key_trail(state, events):
            self.result.add(f"key {id}: {fault}")

    def _sightings(self) -> None:
        for records in self._pages("sighting"):
            owners = {record.id: set(_prefixes(record.id)) for record in records}
            there = self.reader.items(set().union(*owners.values())).keys()
            for record in records:
                self.result.sightings += 1
                seen = from_builtins(record.body, Sighted)
                if owners[record.id].isdisjoint(there):
                    self.result.add(f"sighting {record.id}: of an item that is not there")
                if seen.n < 1 or seen.first_at > seen.last_at:
                    self.result.add(f"sighting {record.id}: its count or its instants cannot be")
            self.watch("sightings", self.result.sightings, 0)

    def _links(self) -> None:
        ends: dict[str, _End] = {}
        for records in self._pages("link"):
            mirrored = {record.id: _mirrored(record.id) for record in records}
            there = self.reader.records("link", [id for id in mirrored.values() if id])
            for id, other in mirrored.items():
                self.result.links += 1
                if other not in there:
                    self.result.add(f"link {id}: is seen from one end only")
                if other:
                    start, kind, end = id.rsplit("/", 2)
                    ends.setdefault(start, _End()).add(kind, end)
            # Links of one item stand together: only those of the last one may go on in the next page.
            self._ends({start: ends.pop(start) for start in list(ends)[:-1]})
            self.watch("links", self.result.links, 0)
        self._ends(ends)
        if self.result.links != self.counted:
            self.result.add(f"links: items count {self.counted}, and {self.result.links} are there")

    def _ends(self, ends: Mapping[str, _End]) -> None:
        """
        Compare what items count of their links with the links.
        """
        items = self.reader.items({*ends, *(id for end in ends.values() for id in end.blockers)})
        for id, end in ends.items():
            item = items.get(id)
            if item is None:
                self.result.add(f"link {id}/…: begins at an item that is not there")
                continue
            if item.links != end.links:
                self.result.add(f"{id}: counts {item.links} links, and has {end.links}")
            blocked_by = sum(1 for other in end.blockers if other in items and items[other].status in LIVE)
            if item.blocked_by != blocked_by:
                self.result.add(f"{id}: counts {item.blocked_by} live items that block it; its links say {blocked_by}")

    def _trails_alone(self) -> None:
        for trail, (kind, id) in TRAILS.items():
            current = self.reader.records(kind, [id]).get(id)
            if current is None:
                continue
            events = self.reader.events(EventQuery(item_ids=(trail,), limit=None))
            self.result.events += len(events)
            self.explained += len(events)
            for fault in faults_of_chain(current.body["head"], events):
                self.result.add(f"{trail}: {fault}")

    def _policies(self) -> None:
        current = self.reader.records("policy", [CURRENT_POLICY]).get(CURRENT_POLICY)
        if current is None:
            return
        records = (record for page in self._pages("policy") for record in page)
        kept = {record.body["revision"] for record in records if record.id != CURRENT_POLICY}
        missing = sorted(set(range(1, current.body["revision"] + 1)) - kept)
        if missing:
            self.result.add(f"policy: revision {', '.join(map(str, missing))} is not there")

    def _strays(self) -> None:
        """
        Count all events there are; only where that is another number than those explained, look which they are.
        """
        total = 0
        for events in self._all_events():
            total += len(events)
            self.watch("events", total, self.explained)
        if total == self.explained:
            return
        found = sum(map(self._name_strays, self._all_events()))
        if not found:
            self.result.add(f"events: {total} are there, and {self.explained} are found by their items")

    def _all_events(self) -> Iterable[Sequence[Event]]:
        # Newest first: the other way round a read ends before what others have just begun to write.
        before = ""
        while events := self.reader.events(EventQuery(newest_first=True, after=before, limit=_EVENTS_PAGE)):
            yield events
            before = events[-1].position

    def _name_strays(self, events: Sequence[Event]) -> int:
        ids = tuple({event.item_id for event in events})
        there = self.reader.items(ids)
        own = {event.position for event in self.reader.events(EventQuery(item_ids=ids, limit=None))}
        tombs = self.reader.records("alias", [id for id in ids if id not in there])
        trails = {trail for trail, (kind, id) in TRAILS.items() if self.reader.records(kind, [id])}
        found = 0
        for event in events:
            if event.item_id in trails:
                continue  # they stand in their order, or that was told
            if event.item_id not in there and event.item_id not in tombs:
                self.result.add(f"event {event.id}: of {event.item_id}, which is not there")
            elif event.position not in own:
                self.result.add(f"event {event.id}: does not stand in the history of {event.item_id}")
            else:
                continue
            found += 1
        return found

    def _pages(self, kind: RecordKind) -> Iterable[Sequence[Record]]:
        after = ""
        while records := self.reader.scan(kind, "", after, _PAGE):
            yield records
            before, after = after, records[-1].id
            if after <= before:
                self.result.add(f"{kind} {after}: stands behind {before}; what follows cannot be read in order")
                return


def _is_shortened(trail: Sequence[Event]) -> bool:
    return bool(trail) and bool(trail[0].prev) and any(map(is_baseline, trail))


def _faults_of_key(state: KeyState, holder: Item | None, known: Collection[str]) -> list[str]:
    """
    Return how a key's record contradicts the item that holds the key; *known* are items that are or were there.
    """
    if state.item_id and state.item_id not in known and not state.purged_at:
        return [f"names {state.item_id}, which is not there"]
    if holder is None or state.alias_of:
        return []
    if state.purged_at:
        return [f"is said to be purged, but {holder.id} holds it"]
    if state.item_id not in ("", holder.id):
        return [f"names {state.item_id}, but {holder.id} holds it"]
    if state.verdict is not None and holder.status not in CLOSED:
        return [f"says {state.verdict.reason}, but {holder.id} is {holder.status}"]
    if state.verdict is not None and state.verdict.reason != holder.closed_reason:
        return [f"says {state.verdict.reason}, but {holder.id} was closed as {holder.closed_reason}"]
    return []


def _prefixes(id: str) -> Iterable[str]:
    """
    Yield the ids of items that a sighting can be of: nothing keeps a slash out of an id, or out of a source.
    """
    at = id.find("/")
    while at >= 0:
        yield id[:at]
        at = id.find("/", at + 1)


def _mirrored(id: str) -> str:
    """
    Return the id of a link's other record; empty for an id that is none.
    """
    parts = id.rsplit("/", 2)
    if len(parts) != 3:
        return ""
    start, kind, end = parts
    return f"{end}/{kind[1:] if kind.startswith('~') else '~' + kind}/{start}"
