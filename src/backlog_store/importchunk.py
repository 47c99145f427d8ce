"""
A chunk of an export and what becomes of it in a store: changes, or the reason why not.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import Change, Load, Put, PutRecord, Reader, Sighting
from backlog_store.codec import from_builtins
from backlog_store.errors import AlreadyExists
from backlog_store.exportfile import Group
from backlog_store.ids import Salts, event_id
from backlog_store.model import (
    LIVE,
    SYSTEM,
    Event,
    Item,
    ItemId,
    Key,
    KeyState,
    Record,
    RecordKind,
    Sighted,
    key_record_id,
)
from backlog_store.preview import Decided
from backlog_store.trail import difference, sealed

__all__ = ["Step", "Transferred"]

#: Records that say what somebody decided: one that is there already and says something else is told. Others (answers,
#: runs, guards, leases) are of the store's own work, and stay as they are there.
_DECIDED: frozenset[RecordKind] = frozenset({"access", "alias", "key", "link", "policy", "view"})


class Transferred(Struct, kw_only=True):
    """
    What an export or import moved. `skipped` items were there already, the same; `refused` names what differs there.
    """

    items: int = 0
    events: int = 0
    records: int = 0
    skipped: int = 0
    refused: list[str] = []

    def add(self, step: Transferred) -> None:
        """
        Count what one step moved.
        """
        self.items += step.items
        self.events += step.events
        self.records += step.records
        self.skipped += step.skipped
        self.refused += step.refused


class Step:
    """
    What becomes of a chunk of an export on what is there: changes, an account of them, and a decision a group.

    *loaded* are keys of items that steps before would have written, with their items, where nothing is written;
    *refused* are the items that steps before refused, and whether they live in the file; `refused` those of this one.
    `parted` are changes of items that were taken in, and whose links lead to such items; each is applied by itself.
    """

    def __init__(self, reader: Reader, chunk: Sequence[Group], loaded: Mapping[Key, ItemId],
                 refused: Mapping[ItemId, bool]) -> None:  # fmt: skip
        self.done = Transferred(refused=[])
        self.decided: list[Decided] = []
        self.refused: dict[ItemId, bool] = {}
        self._cut: dict[ItemId, list[tuple[str, ItemId]]] = {}
        self._refused_before = refused
        self.changes: list[Change] = [*self._of_items(reader, chunk), *self._of_records(reader, chunk, loaded)]
        self.parted: list[Change] = [*self._parted(reader)]

    def _skip(self, id: str) -> None:
        self.decided.append(Decided("unchanged", id))

    def _refuse(self, id: str, why: str, revision: int = 0) -> None:
        self.decided.append(Decided("refused", id, revision))
        self.done.refused.append(f"{id}: {why}")

    def _make(self, id: str, revision: int, group: Group) -> None:
        self.decided.append(Decided("created", id, revision))
        self.done.events += len(group.events)

    def _of_items(self, reader: Reader, chunk: Sequence[Group]) -> Iterator[Change]:
        items = [(group.head, group) for group in chunk if isinstance(group.head, Item)]
        present = reader.items([item.id for item, _ in items])
        there_by_key = reader.items_by_key([item.key for item, _ in items if item.key is not None])
        holders = {key: item.id for key, item in there_by_key.items()}
        new = [key_record_id(item.key) for item, _ in items if item.key is not None and item.id not in present]
        known = reader.records("key", new)
        gone = reader.records("alias", [item.id for item, _ in items if item.id not in present])
        for item, group in items:
            there = present.get(item.id)
            if there is not None and there.head == item.head and there.revision == item.revision:
                self.done.skipped += 1
                self._skip(item.id)
                continue
            if there is not None:
                self.refused[item.id] = item.status in LIVE
                self._refuse(item.id, f"is there already at revision {there.revision}, with another history",
                             there.revision)  # fmt: skip
                continue
            if item.key is not None and item.key in holders:
                self.refused[item.id] = item.status in LIVE
                self.decided.append(Decided("refused", item.id))
                self.done.refused.append(str(AlreadyExists("key", item.dedupe_key, held_by=holders[item.key])))
                continue
            of_key = known.get(key_record_id(item.key)) if item.key is not None else None
            if wrong := _fault_of_holder(item, of_key) or _fault_of_id(gone.get(item.id)):
                self.refused[item.id] = item.status in LIVE
                self._refuse(item.id, wrong)
                continue
            if item.key is not None:
                holders[item.key] = item.id
            yield Load(item, tuple(group.events))
            yield from map(_sighting, group.sightings)
            self._make(item.id, item.revision, group)
            self.done.items += 1
            self.done.records += len(group.sightings)

    def _of_records(self, reader: Reader, chunk: Sequence[Group], loaded: Mapping[Key, ItemId]) -> Iterator[Change]:
        """
        Yield the changes that write each record and the events that explain it; the last one leaves it as it was.
        """
        groups = [(group.head, group) for group in chunk if isinstance(group.head, Record)]
        by_kind: dict[RecordKind, list[str]] = {}
        for record, _ in groups:
            by_kind.setdefault(record.kind, []).append(record.id)
        present = {kind: reader.records(kind, ids) for kind, ids in by_kind.items()}
        keys = [_key_of(record) for record, _ in groups if record.kind == "key"]
        holders = {key: item.id for key, item in reader.items_by_key(keys).items()}
        purged = [record.body.get("item_id", "") for record, _ in groups if record.kind == "key" and
                  record.body.get("purged_at")]  # fmt: skip
        living = reader.items(purged).keys()
        for record, group in groups:
            there, id = present[record.kind].get(record.id), f"{record.kind} {record.id}"
            if there is not None:
                if there.body != record.body and record.kind in _DECIDED:
                    self._refuse(id, "is there already, and says something else", there.revision)
                else:
                    self._skip(id)
                continue
            if record.kind == "key":
                holder = holders.get(_key_of(record)) or loaded.get(_key_of(record), "")
                if wrong := _fault_of_key(record, holder, self._refused_before, living):
                    self._refuse(id, wrong)
                    continue
                record = _without_refused(record, self._refused_before)  # noqa: PLW2901
            if missing := self._refused_before.keys() & _items_named(record):
                self._refuse(id, f"leads to or from {min(missing)}, which was not taken in")
                if record.kind == "link":
                    start, kind, end = record.id.rsplit("/", 2)
                    self._cut.setdefault(start, []).append((kind, end))
                continue
            if group.events:
                yield from (PutRecord(record, event=event, force=True) for event in group.events)
            else:
                yield PutRecord(record, force=True)
            self._make(id, record.revision, group)
            self.done.records += 1

    def _parted(self, reader: Reader) -> Iterator[Change]:
        """
        Yield the changes by which items count no links that were refused; their trails tell of each.
        """
        there = reader.items([id for id in self._cut if id not in self._refused_before])
        for id, item in there.items():
            for kind, other in self._cut[id]:
                blocked_by = item.blocked_by - (kind == "~blocks" and self._refused_before.get(other, False))
                change = _without_link(item, replace(item, links=item.links - 1, blocked_by=blocked_by), kind, other)
                item = change.item  # noqa: PLW2901
                yield change


def _without_link(item: Item, after: Item, kind: str, other: ItemId) -> Put:
    # As old as the item, which it makes no newer: an import draws neither time nor chance.
    event = sealed(Event(
        id=event_id(item.id, item.revision + 1), item_id=item.id, revision=item.revision + 1, ts=item.updated_at,
        type="unlinked", actor=SYSTEM.name, salt=Salts(item.head).next(), prev=item.head,
        changes=difference(item, after, item.updated_at), meta={"link": {"kind": kind, "other": other}, "absent": True},
    ))  # fmt: skip
    return Put(replace(after, revision=event.revision, head=event.hash), event)


def _without_refused(record: Record, refused: Mapping[ItemId, bool]) -> Record:
    """
    Return the record of a key, which leads to another one, without the item there if that was refused.
    """
    return replace(record, body={**record.body, "item_id": ""}) if record.body.get("item_id") in refused else record


def _items_named(record: Record) -> AbstractSet[str]:
    """
    Return the items between which a link leads, or the one to which another id does.
    """
    if record.kind == "link":
        return set(record.id.rsplit("/", 2))
    return {str(record.body.get("item_id", ""))} if record.kind == "alias" else set()


def _sighting(record: Record) -> Sighting:
    item_id, source = record.id.split("/", 1)
    seen = from_builtins(record.body, Sighted)
    return Sighting(item_id, source, seen.first_at, seen.last_at, seen.n, seen.run)


def _key_of(record: Record) -> Key:
    env, dedupe_key = record.id.split("/", 1)
    return env, dedupe_key


def _fault_of_key(record: Record, holder: ItemId, refused: Container[ItemId], living: Container[ItemId]) -> str:
    """
    Say why the record of a key cannot be taken in: it contradicts the item that holds the key.

    Or it tells the end of an item that is among the *living* there, where it has another history.
    """
    state = from_builtins(record.body, KeyState)
    if state.purged_at and state.item_id in living:
        return f"is said to be purged with {state.item_id}, which is there"
    if not holder:
        return ""
    if state.alias_of:
        return f"is another name of {state.alias_of!r}, but {holder} holds it"
    if state.purged_at:
        return f"is said to be purged, but {holder} holds it"
    if holder in refused:
        return f"is about {holder}, which was not taken in"
    return f"names {state.item_id}, but {holder} holds it" if state.item_id not in ("", holder) else ""


def _fault_of_holder(item: Item, record: Record | None) -> str:
    """
    Say why an item cannot be taken in: what is remembered of its key there says that it holds it no more.
    """
    state = KeyState() if record is None else from_builtins(record.body, KeyState)
    if state.purged_at:
        return f"its key {item.dedupe_key!r} is that of an item that was purged there at {state.purged_at}"
    if state.alias_of:
        return f"its key {item.dedupe_key!r} is another name of {state.alias_of!r} there"
    return f"its key {item.dedupe_key!r} is that of {state.item_id} there" if state.item_id not in ("", item.id) else ""


def _fault_of_id(record: Record | None) -> str:
    """
    Say why no item of an id can be taken in: what is remembered of the id there says that it is another one's, or over.
    """
    if record is None:
        return ""
    if purged_at := record.body.get("purged_at"):
        return f"was purged there at {purged_at}"
    return f"is another id of {record.body.get('item_id', '')} there"
