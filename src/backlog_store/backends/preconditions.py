"""
What must hold before changes are applied: the rules of `port.Change`, written once for every backend.

A backend that evaluates them in Python hands over a view of what stands; one that puts them into its statements uses
`check_changes` only to name the condition that was violated. Changes of one list count in their order: each one sees
what those before it leave behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backlog_store.backends.port import Change, DropRecord, Load, Purge, Put, PutRecord, Require, Sighting, Trim
from backlog_store.errors import AlreadyExists, Fault, InvalidInput, NotFound, RevisionConflict
from backlog_store.model import Event, Item, ItemId, Key, key_record_id

__all__ = ["Standing", "check_changes", "check_event"]


class Standing(Protocol):
    """
    What the rules look at: revisions and who holds a key. Absent is revision 0.
    """

    def item_standing(self, id: ItemId) -> tuple[int, Key | None]:
        """
        Return the item's revision and key; ``(0, None)`` if it is absent.
        """
        ...

    def key_holder(self, key: Key) -> ItemId | None:
        """
        Return the id of the item that holds *key*, if any.
        """
        ...

    def record_revision(self, kind: str, id: str) -> int:
        """
        Return the record's revision; 0 if it is absent.
        """
        ...


def check_changes(standing: Standing, changes: Sequence[Change]) -> None:
    """
    Raise for the first change whose condition does not hold; touch nothing.

    Raises `RevisionConflict`, `AlreadyExists`, `NotFound` (a sighting of an absent item), `InvalidInput` (an event that
    is not the item's own, a second `Put` of one item).
    """
    if len(changes) == 1:  # nothing stands before it
        _check(standing, changes[0], 0)
        return
    after = _After(standing)
    for index, change in enumerate(changes):
        _check(after, change, index)
        if type(change) is not Sighting:  # which leaves everything as it stands
            after.note(change, index)


def _check(standing: Standing, change: Change, index: int) -> None:
    match change:
        case Sighting():  # first, for most of what is reported is known
            if not standing.item_standing(change.item_id)[0]:
                raise NotFound("item", change.item_id, hint="Only an item that is stored can be sighted.")
        case Put():
            _check_put(standing, change, index)
        case Load(item, events):
            for event in events:
                _check_event(event, item, index)
            _check_absent(standing, item)
        case Purge(id, revision):
            _check_present(id, expected=revision, found=standing.item_standing(id)[0])
        case PutRecord(record, _, force):
            if not force:
                found = standing.record_revision(record.kind, record.id)
                _check_revision(f"{record.kind}/{record.id}", expected=record.revision - 1, found=found)
        case DropRecord(kind, id, revision):
            _check_present(f"{kind}/{id}", expected=revision, found=standing.record_revision(kind, id))
        case Require("item", id, revision):
            _check_revision(id, expected=revision, found=standing.item_standing(id)[0])
        case Require(kind, id, revision):
            _check_revision(f"{kind}/{id}", expected=revision, found=standing.record_revision(kind, id))
        case Trim():
            pass
        case _:
            raise InvalidInput([Fault(f"/{index}", repr(change)[:80], "not a change")], what="change")


class _After:
    """
    A standing with the effects of the changes looked at so far laid over it.
    """

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._items: dict[ItemId, tuple[int, Key | None]] = {}
        self._holders: dict[Key, ItemId | None] = {}
        self._records: dict[tuple[str, str], int] = {}
        self._written: set[ItemId] = set()

    def item_standing(self, id: ItemId) -> tuple[int, Key | None]:
        return self._items[id] if id in self._items else self._standing.item_standing(id)

    def key_holder(self, key: Key) -> ItemId | None:
        return self._holders[key] if key in self._holders else self._standing.key_holder(key)

    def record_revision(self, kind: str, id: str) -> int:
        known = self._records.get((kind, id))
        return self._standing.record_revision(kind, id) if known is None else known

    def note(self, change: Change, index: int) -> None:
        match change:
            case Put(item):
                if item.id in self._written:
                    fault = Fault(f"/{index}/item/id", item.id, "one list puts an item once")
                    raise InvalidInput([fault], what="change")
                self._written.add(item.id)
                self._put(item.id, item.revision, item.key)
            case Load(item):
                self._put(item.id, item.revision, item.key)
            case Purge(id):
                self._put(id, 0, None)
            case PutRecord(record):
                self._records[record.kind, record.id] = record.revision
            case DropRecord(kind, id):
                self._records[kind, id] = 0

    def _put(self, id: ItemId, revision: int, key: Key | None) -> None:
        _, before = self.item_standing(id)
        if before is not None and before != key:
            self._holders[before] = None
        if key is not None:
            self._holders[key] = id
        self._items[id] = (revision, key)


def check_event(put: Put, index: int = 0) -> None:
    """
    Raise `InvalidInput` for an event that is not the item's own; *index* is the place of the change in its list.
    """
    item, event = put.item, put.event
    _check_event(event, item, index)
    if event.revision != item.revision:
        fault = Fault(f"/{index}/event/revision", str(event.revision), f"the item's revision is {item.revision}")
        raise InvalidInput([fault], what="change")


def _check_put(standing: Standing, put: Put, index: int) -> None:
    check_event(put, index)
    item = put.item
    if put.created:
        _check_absent(standing, item)
    else:
        found, key = standing.item_standing(item.id)
        _check_present(item.id, expected=item.revision - 1, found=found)
        if item.key != key:
            _check_key_free(standing, item)


def _check_event(event: Event, item: Item, index: int) -> None:
    if event.item_id != item.id:
        fault = Fault(f"/{index}/event/item_id", event.item_id, f"the event is written with the item {item.id}")
        raise InvalidInput([fault], what="change")


def _check_absent(standing: Standing, item: Item) -> None:
    if standing.item_standing(item.id)[0]:
        raise AlreadyExists("item", item.id, held_by=item.id)
    _check_key_free(standing, item)


def _check_key_free(standing: Standing, item: Item) -> None:
    key = item.key
    if key is None:
        return
    holder = standing.key_holder(key)
    if holder is not None and holder != item.id:
        raise AlreadyExists("key", key_record_id(key), held_by=holder)


def _check_revision(id: str, *, expected: int, found: int) -> None:
    if expected != found:
        raise RevisionConflict(id, expected=expected, found=found)


def _check_present(id: str, *, expected: int, found: int) -> None:
    # Revision 0 is no revision: what is absent cannot be changed, purged or dropped.
    if expected != found or not found:
        raise RevisionConflict(id, expected=expected, found=found)
