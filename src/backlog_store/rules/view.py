"""
A view for one decision: the store as read, with the changes decided so far laid over it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from backlog_store.backends.port import Change, DropRecord, Purge, Put, PutRecord, Reader, Require, Sighting
from backlog_store.codec import Undecoded, from_builtins, to_builtins
from backlog_store.commands import Command
from backlog_store.errors import NotFound
from backlog_store.ids import Salts, event_id
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import (
    LIMITS,
    Draft,
    Event,
    Item,
    ItemId,
    Key,
    KeyState,
    Outline,
    Record,
    RecordKind,
    key_record_id,
)
from backlog_store.policy import Policy
from backlog_store.rules.following import follow, settled
from backlog_store.trail import difference, sealed

if TYPE_CHECKING:
    from backlog_store.rules.lanes import Run

__all__ = ["Context", "split_by_item"]

T = TypeVar("T")


class Context:
    """
    What a rule needs: the command's circumstances, reads that see what was decided before, and the growing changes.
    """

    def __init__(self, reader: Reader, command: Command, policy: Policy) -> None:
        self.reader = reader  # as far as the credential reaches
        self.whole = reader  # also beyond it: for what follows from a command, and for limits
        self.command = command
        self.policy = policy
        self.now: Instant = command.at
        self.actor = command.actor
        self.salts = Salts(command.seed)
        self.batch = command.batch or self.salts.batch_id
        self.changes: list[Change] = []
        self.run: Run | None = None  # the one under way that a report belongs to
        self.counted: dict[Key, tuple[int, Instant]] = {}  # reports before an item was opened, and since when
        self.storms: dict[ItemId, list[tuple[Draft, int]]] = {}  # what each storm takes in (1) and lets go (-1)
        self.storm_keys: dict[ItemId, Key] = {}
        self.is_counted = False  # the report that is decided was counted when it came, and held
        self._items: dict[ItemId, Item | None] = {}
        self._by_key: dict[Key, Item | None] = {}
        self._undecoded: dict[Key, Undecoded[Key]] = {}  # read, unless something is in `_by_key`
        self._records: dict[tuple[str, str], Record | None] = {}
        self._beyond: dict[ItemId, Item] = {}  # items that the credential does not reach, as decided
        self.next = ""  # where the next step goes on
        self._drawn = 0

    # Reading

    def load_ids(self, ids: Collection[ItemId]) -> None:
        """
        Read these items in one go.
        """
        missing = [id for id in _distinct(ids) if id not in self._items]
        if missing:
            found = self.reader.items(missing)
            for id in missing:
                self._remember(found.get(id), id=id)

    def load_keys(self, keys: Collection[Key]) -> bool:
        """
        Read the items of these keys in one go, and the key records of those that no item holds.

        Of several, those that come undecoded stay so until a rule asks for them. Return whether any is.
        """
        missing = [key for key in _distinct(keys) if key not in self._by_key and key not in self._undecoded]
        if not missing:
            return bool(self._undecoded)
        found = self.reader.items_by_key(missing)
        several = found if len(missing) > 1 and isinstance(found, Undecoded) else None
        free = []
        for key in missing:
            if key not in found:
                self._by_key[key] = None
                free.append(key_record_id(key))
            elif several is not None:
                self._undecoded[key] = several
            else:
                item = self._by_key[key] = found[key]
                self._items[item.id] = item
        if free:
            self.load_records("key", free)
        return bool(self._undecoded)

    def load_records(self, kind: RecordKind, ids: Collection[str]) -> None:
        """
        Read these records in one go.
        """
        records = self._records
        missing = [id for id in _distinct(ids) if (kind, id) not in records]
        if missing:
            found = self.reader.records(kind, missing)
            for id in missing:
                records[kind, id] = found.get(id)

    def item(self, id: ItemId) -> Item:
        """
        Return the item of an id, also of an id that it had before. Raises `NotFound`.
        """
        self.load_ids([id])
        item = self._items[id]
        if item is not None:
            return item
        alias = self.record("alias", id)
        if alias is None:
            raise NotFound("item", id)
        other = alias.body.get("item_id")
        if isinstance(other, str) and other != id:
            return self.item(other)
        raise NotFound("item", id, hint=f"It was purged at {alias.body.get('purged_at', 'some time')}.")

    def find(self, id: ItemId) -> Item | None:
        """
        Return the item that has this very id, or ``None``.
        """
        if id not in self._items:
            self.load_ids([id])
        return self._items[id]

    def wherever(self, ids: Collection[ItemId]) -> Iterator[Item]:
        """
        Yield the items of these ids, also what the credential does not reach: for what follows from a command.
        """
        self.load_ids(ids)
        beyond = [id for id in ids if self._items[id] is None and id not in self._beyond]
        self._beyond |= self.whole.items(beyond) if beyond and self.whole is not self.reader else {}
        for id in ids:
            item = self._items[id] or self._beyond.get(id)
            if item is not None:
                yield item

    def by_key(self, key: Key) -> Item | None:
        """
        Return the item that holds *key*, following an alias.
        """
        return self.holder(key)[0]

    def holder(self, key: Key) -> tuple[Item | None, Key, KeyState | None]:
        """
        Return the item that holds *key*, following aliases, and the key that it is held by.

        Where none does: the key that *key* is another name of (mostly itself) and what is remembered about that one.
        """
        seen: set[Key] = set()
        while True:
            if key not in self._by_key:
                self._load_key(key)
            item = self._by_key[key]
            state = None if item is not None else self.key_state(key)
            if state is None or not state.alias_of:
                return item, key, state
            seen.add(key)
            other = (key[0], state.alias_of)
            if other in seen:
                return item, key, state
            key = other

    def is_unheard_of(self, key: Key) -> bool:
        """
        Tell whether it was read that no item holds *key*, and that nothing is remembered about it.
        """
        return self._by_key.get(key, key) is None and self._records.get(("key", key_record_id(key)), key) is None

    def outline(self, key: Key) -> Outline | None:
        """
        Return the outline of the item that holds *key*, if it was read and neither decoded nor changed since.
        """
        several = None if key in self._by_key else self._undecoded.get(key)
        return None if several is None else several.outline(key)

    def _load_key(self, key: Key) -> None:
        several = self._undecoded.pop(key, None)
        if several is None:
            self.load_keys([key])
        else:
            item = self._by_key[key] = several[key]
            self._items[item.id] = item

    def record(self, kind: RecordKind, id: str) -> Record | None:
        """
        Return a record, or ``None``.
        """
        name, records = (kind, id), self._records
        if name not in records:
            records[name] = self.reader.records(kind, (id,)).get(id)
        return records[name]

    def scan(self, kind: RecordKind, prefix: str) -> list[str]:
        """
        Return the ids of the records that begin so, in order: at most those of the links of one item.
        """
        ids = {record.id for record in self.reader.scan(kind, prefix, "", LIMITS.links_per_item)}
        for (of, id), record in self._records.items():
            if of == kind and id.startswith(prefix):
                (ids.discard if record is None else ids.add)(id)
        return sorted(ids)

    def key_state(self, key: Key) -> KeyState | None:
        """
        Return what is remembered about a key beyond its item.
        """
        record = self.record("key", key_record_id(key))
        return None if record is None else from_builtins(record.body, KeyState)

    # Deciding

    def draw(self) -> int:
        """
        Return the next number for ids that only this command makes.
        """
        self._drawn += 1
        return self._drawn

    def put(
        self,
        old: Item | None,
        new: Item,
        type: str,
        *,
        message: str = "",
        meta: Mapping[str, Any] | None = None,
        added: bool = False,
        ts: Instant = "",
        own_event_id: str = "",
        extra: Mapping[str, Any] | None = None,
        changes: dict[str, tuple[Any, Any]] | None = None,
    ) -> Item:
        """
        Decide the next state of an item; revision, event and chain follow. Return the item as it will be stored.

        For a new item *new* brings its revision (1, or the next one of a purged item) and the head it goes on from.
        """
        revision = new.revision if old is None else old.revision + 1
        is_followed = old is not None and (old.links > 0 or old.claimed_by != "")
        if is_followed:
            new = settled(new)
        ts = ts or self.now
        if old is not None and new is not old and new.updated_at == old.updated_at and new != old:
            # The clock stood still or went back; a copy from before must not pass for a fresh one.
            new = replace(new, updated_at=add_seconds(old.updated_at, 0.000_001))
        event = self.event(
            new.id, revision, type, message, ts=ts, id=own_event_id, prev=(old or new).head, added=added,
            changes=difference(old, new, ts) if changes is None else changes, meta=dict(meta) if meta else {},
            extra=dict(extra) if extra else {},
        )  # fmt: skip
        item = replace(new, revision=revision, head=event.hash)
        if old is None:
            self.add(item, event)
        else:
            if item.id in self._beyond:
                self._beyond[item.id] = item
            else:
                if old.key is not None:
                    self._by_key[old.key] = None
                self._remember(item, id=item.id)
            self.changes.append(Put(item, event))
            if is_followed:
                follow(self, old, item)
        return item

    def event(self, item_id: ItemId, revision: int, type: str, message: str, *, prev: str, ts: Instant = "",
              id: str = "", **more: Any) -> Event:  # fmt: skip
        """
        Return the event by which this command writes on a trail, sealed onto *prev*; *more* are further fields of it.
        """
        return sealed(Event(
            id=id or event_id(item_id, revision), item_id=item_id, revision=revision, ts=ts or self.now, type=type,
            actor=self.actor.name, actor_kind=self.actor.kind, message=message, batch=self.batch,
            request=self.command.request_id, policy=self.policy.revision, salt=self.salts.next(), prev=prev, **more,
        ))  # fmt: skip

    def add(self, item: Item, event: Event) -> None:
        """
        Decide a new item, complete, with the event that explains it.
        """
        self._remember(item, id=item.id)
        self.changes.append(Put(item, event, created=True))

    def put_record(self, kind: RecordKind, id: str, body: Mapping[str, Any], *, expires_at: Instant = "",
                   event: Event | None = None) -> None:  # fmt: skip
        """
        Decide the next body of a record.
        """
        old = self.record(kind, id)
        record = Record(
            kind=kind, id=id, revision=old.revision + 1 if old else 1, body=dict(body), expires_at=expires_at
        )
        self._records[kind, id] = record
        self.changes.append(PutRecord(record, event))

    def drop_record(self, kind: RecordKind, id: str) -> None:
        """
        Decide the removal of a record, if it is there.
        """
        old = self.record(kind, id)
        if old is not None:
            self._records[kind, id] = None
            self.changes.append(DropRecord(kind, id, old.revision))

    def put_key_state(self, key: Key, state: KeyState, event: Event | None = None, *, whole: bool = False) -> None:
        """
        Decide what is remembered about a key.

        Which other names it has, and from which it was split, stays if not told; *whole*: all is told.
        """
        if not whole and not (state.aliases and state.apart) and (known := self.key_state(key)) is not None:
            state = replace(state, aliases=state.aliases or known.aliases, apart=state.apart or known.apart)
        self.put_record("key", key_record_id(key), to_builtins(state), event=event)

    def sight(self, item: Item | Outline, source: str, observed_at: Instant, run: str) -> None:
        """
        Count one more unchanged report.
        """
        if not self.is_counted:
            self.changes.append(Sighting(item.id, source, observed_at, observed_at, 1, run))

    def require(self, item: Item) -> None:
        """
        Rely on an item that is read and not changed: a writer who changes or purges it meanwhile is seen first.
        """
        if not any(isinstance(change, Put) and change.item.id == item.id for change in self.changes):
            self.changes.append(Require("item", item.id, item.revision))

    def purge(self, item: Item) -> None:
        """
        Decide the removal of an item and its trail.
        """
        self._items[item.id] = None
        if item.key is not None:
            self._by_key[item.key] = None
        self.changes.append(Purge(item.id, item.revision))

    def _remember(self, item: Item | None, *, id: ItemId) -> None:
        self._items[id] = item
        key = None if item is None else item.key
        if key is not None:
            self._by_key[key] = item


def _distinct(names: Collection[T]) -> Collection[T]:
    return dict.fromkeys(names) if len(names) > 1 else names


def split_by_item(changes: Sequence[Change]) -> list[list[Change]]:
    """
    Cut a list of changes where an item or record comes up again: a backend takes each at most once in one call.
    """
    if len(changes) == 1:
        return [list(changes)]
    parts: list[list[Change]] = [[]]
    seen: set[tuple[str, str]] = set()
    for change in changes:
        name = None if type(change) is Sighting else _target(change)
        if name is not None:
            if name in seen:
                parts.append([])
                seen.clear()
            seen.add(name)
        parts[-1].append(change)
    return parts


def _target(change: Change) -> tuple[str, str] | None:
    match change:
        case Put(item):
            return "item", item.id
        case Purge(id):
            return "item", id
        case PutRecord(record):
            return record.kind, record.id
        case DropRecord(kind, id):
            return kind, id
        case _:
            return None
