"""
The state of a store in this process: what memory keeps, and what jsonl rebuilds from its journal.

Everything is held as canonical bytes and decoded anew for each reader: nobody holds a value that another one could
change, 100,000 items cost little more than their text, and the bytes are the ones that a journal writes. (Decoding an
item costs some 3 µs; a deep copy of a decoded one ten times that.)

Changes become *effects*, the new bytes of what they change; a state is the sum of its effects, whether they come from
changes or out of a journal. While a transaction is open, each one leaves a way back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from backlog_store import codec
from backlog_store.backends.eventlog import EventLog
from backlog_store.backends.index import Index
from backlog_store.backends.ordered import Ordered
from backlog_store.backends.port import Change, DropRecord, Load, Purge, Put, PutRecord, Sighting, Trim
from backlog_store.backends.preconditions import check_changes
from backlog_store.model import Event, Item, ItemId, Key, Record, RecordKind

__all__ = ["Effect", "State"]

#: What is done to the state: ``item`` (its bytes), ``event``, ``record``, ``purge`` (an item's id as JSON), ``trim``
#: (an item's id and the revision of its first event that stays, as JSON), ``drop`` (kind and id of a record as JSON),
#: ``at`` (the number of the next event).
Effect = tuple[bytes, bytes]


class _ItemFacts(msgspec.Struct, frozen=True, gc=False):
    id: ItemId
    revision: int
    env: str
    dedupe_key: str = ""

    @property
    def key(self) -> Key | None:
        return (self.env, self.dedupe_key) if self.dedupe_key else None


class _RecordFacts(msgspec.Struct, frozen=True, gc=False):
    kind: RecordKind
    id: str
    revision: int


# Decoding only these members of a document costs a third of decoding it.
_item_facts = msgspec.json.Decoder(_ItemFacts).decode
_record_facts = msgspec.json.Decoder(_RecordFacts).decode
_text = msgspec.json.Decoder(str).decode
_kind_and_id = msgspec.json.Decoder(tuple[str, str]).decode
_id_and_revision = msgspec.json.Decoder(tuple[str, int]).decode


class State:
    """
    Items, events and records, with their indexes. Not safe for several threads: its owner holds a lock.
    """

    def __init__(self) -> None:
        self._items: dict[ItemId, bytes] = {}
        self._holders: dict[Key, ItemId] = {}
        self._records: dict[str, dict[str, bytes]] = {}
        self._ordered: dict[str, Ordered[str]] = {}
        self._index: Index | None = None
        self._undo: list[tuple[Any, ...]] | None = None  # functions with their arguments
        self._doers: dict[bytes, Callable[[bytes], None]] = {
            b"item": self._put_item,
            b"event": self._add_event,
            b"record": self._put_record,
            b"purge": lambda body: self._purge(_text(body)),
            b"trim": lambda body: self._forget(*_id_and_revision(body)),
            b"drop": lambda body: self._drop_record(*_kind_and_id(body)),
            b"at": self._go_to,
        }
        self.events = EventLog()
        self.size = 0  # bytes of all items, events and records

    # Transactions.

    @property
    def is_in_transaction(self) -> bool:
        """
        Tell whether a transaction is open.
        """
        return self._undo is not None

    def begin(self) -> None:
        """
        Keep a way back for every effect from here on, until `commit` or `roll_back`.
        """
        self._undo = []

    def commit(self) -> None:
        """
        Let go of the way back.
        """
        self._undo = None
        self.events.tidy()

    def roll_back(self) -> None:
        """
        Undo every effect since `begin`.
        """
        self._undo_to(0)
        self._undo = None

    def _undo_to(self, mark: int) -> None:
        steps, self._undo = self._undo or [], None
        while len(steps) > mark:
            step, *arguments = steps.pop()
            step(*arguments)
        self._undo = steps

    def apply(self, changes: Sequence[Change]) -> list[Effect]:
        """
        Check all changes, then carry them out; return their effects. Raises as `check_changes`, with nothing done.

        A transaction must be open.
        """
        check_changes(self, changes)
        effects: list[Effect] = []
        before = len(self._undo or ())
        try:
            for change in changes:
                self._carry_out(change, effects)
        except BaseException:  # a value that has no JSON form, or an interrupt
            self._undo_to(before)
            raise
        return effects

    def do(self, kind: bytes, body: bytes) -> None:
        """
        Carry out one effect. Raises `KeyError` for an unknown kind, `msgspec.DecodeError` for a body that is none.
        """
        self._doers[kind](body)

    def all_effects(self) -> Iterator[Effect]:
        """
        Yield effects that make an empty state equal to this one.
        """
        for raw in self._items.values():
            yield b"item", raw
        at = 0
        for number, raw in self.events:
            if number != at:
                yield b"at", b"%d" % number
            yield b"event", raw
            at = number + 1
        if self.events.next != at:
            yield b"at", b"%d" % self.events.next
        for shelf in self._records.values():
            for raw in shelf.values():
                yield b"record", raw

    def counts(self) -> dict[str, int]:
        """
        Return how many items, events and records there are.
        """
        records = sum(len(shelf) for shelf in self._records.values())
        return {"items": len(self._items), "events": len(self.events), "records": records}

    # What the preconditions look at.

    def item_standing(self, id: ItemId) -> tuple[int, Key | None]:
        """
        Return the item's revision and key; ``(0, None)`` if it is absent.
        """
        raw = self._items.get(id)
        if raw is None:
            return 0, None
        facts = _item_facts(raw)
        return facts.revision, facts.key

    def key_holder(self, key: Key) -> ItemId | None:
        """
        Return the id of the item that holds *key*, if any.
        """
        return self._holders.get(key)

    def record_revision(self, kind: str, id: str) -> int:
        """
        Return the record's revision; 0 if it is absent.
        """
        raw = self._records.get(kind, {}).get(id)
        return 0 if raw is None else _record_facts(raw).revision

    # Reading.

    def items(self, ids: Iterable[ItemId]) -> dict[ItemId, Item]:
        """
        Return the items of these ids, decoded.
        """
        items = self._items
        return {item_id: codec.decode_item(items[item_id]) for item_id in ids if item_id in items}

    def items_by_key(self, keys: Iterable[Key]) -> codec.Undecoded[Key]:
        """
        Return the items that hold these keys.
        """
        holders = self._holders
        return codec.Undecoded({key: self._items[holders[key]] for key in keys if key in holders})

    def index(self) -> Index:
        """
        Return the index of the items, built when first asked for.
        """
        if self._index is None:
            self._index = Index(self._items)
        return self._index

    def records(self, kind: str, ids: Iterable[str]) -> dict[str, Record]:
        """
        Return the records of this kind and these ids, decoded.
        """
        shelf = self._records.get(kind, {})
        return {record_id: codec.decode_record(shelf[record_id]) for record_id in ids if record_id in shelf}

    def record_ids(self, kind: str, prefix: str, after: str = "") -> Iterator[str]:
        """
        Yield the ids that start with *prefix* and are greater than *after*, in order.
        """
        shelf = self._records.get(kind)
        if not shelf:
            return
        if kind not in self._ordered:
            self._ordered[kind] = Ordered(shelf)
        ids = self._ordered[kind].keys()
        start = max(bisect_left(ids, prefix), bisect_right(ids, after) if after else 0)
        for at in range(start, len(ids)):
            if not ids[at].startswith(prefix):
                return
            yield ids[at]

    # From changes to effects.

    def _carry_out(self, change: Change, effects: list[Effect]) -> None:
        """
        Do what a checked change says, and add its effects.
        """
        match change:
            case Sighting():  # first, for most of what is reported is known
                self._carry_out_record(self._sighted(change), effects)
            case Put():
                self._carry_out_item(change.item, effects)
                self._carry_out_event(change.event, effects)
            case Load(item, events):
                self._carry_out_item(item, effects)
                for event in events:
                    self._carry_out_event(event, effects)
            case PutRecord(record, event):
                self._carry_out_record(record, effects)
                if event is not None:
                    self._carry_out_event(event, effects)
            case Purge(id):
                self._purge(id)
                effects.append((b"purge", codec.encode(id)))
            case Trim(id, revision):
                self._forget(id, revision)
                effects.append((b"trim", codec.encode((id, revision))))
            case DropRecord(kind, id):
                self._drop_record(kind, id)
                effects.append((b"drop", codec.encode((kind, id))))

    def _carry_out_item(self, item: Item, effects: list[Effect]) -> None:
        raw = codec.encode_item(item)
        self._set_item(item.id, raw, item.key)
        effects.append((b"item", raw))

    def _carry_out_event(self, event: Event, effects: list[Effect]) -> None:
        raw = codec.encode_event(event)
        self._add_event(raw)
        effects.append((b"event", raw))

    def _carry_out_record(self, record: Record, effects: list[Effect]) -> None:
        raw = codec.encode(record)
        self._set_record(record.kind, record.id, raw)
        effects.append((b"record", raw))

    def _sighted(self, seen: Sighting) -> Record:
        """
        Return the source's sighting record with *seen* added. It has no revisions of its own: it is always 1.
        """
        id = f"{seen.item_id}/{seen.source}"
        n, first_at, last_at, run = seen.n, seen.first_at, seen.last_at, seen.run
        stored = self._records.get("sighting", {}).get(id)
        if stored is not None:
            old: dict[str, Any] = codec.decode_record(stored).body
            n += old["n"]
            first_at, last_at = min(first_at, old["first_at"]), max(last_at, old["last_at"])
            run = run or old.get("run", "")
        body: dict[str, Any] = {"n": n, "first_at": first_at, "last_at": last_at}
        if run:
            body["run"] = run
        return Record(kind="sighting", id=id, revision=1, body=body)

    # Effects.

    def _put_item(self, raw: bytes) -> None:
        facts = _item_facts(raw)
        self._set_item(facts.id, raw, facts.key)

    def _set_item(self, id: ItemId, raw: bytes | None, key: Key | None) -> None:
        old = self._items.get(id)
        old_key = None if old is None else _item_facts(old).key
        if old_key is not None and old_key != key and self._holders.get(old_key) == id:
            del self._holders[old_key]
        if raw is not None:
            self._items[id] = raw
            if key is not None:
                self._holders[key] = id
        elif old is not None:
            del self._items[id]
        self.size += len(raw or b"") - len(old or b"")
        if self._index is not None:
            self._index.put(id, raw)
        if self._undo is not None:
            self._undo.append((self._set_item, id, old, old_key))

    def _add_event(self, raw: bytes) -> None:
        self.events.append(raw)
        self.size += len(raw)
        if self._undo is not None:
            self._undo.append((self._take_back_event,))

    def _take_back_event(self) -> None:
        self.size -= self.events.take_back()

    def _purge(self, id: ItemId) -> None:
        self._set_item(id, None, None)
        self._forget(id)
        for sighting in list(self.record_ids("sighting", f"{id}/")):
            self._drop_record("sighting", sighting)

    def _forget(self, id: ItemId, below: int | None = None) -> None:
        removed = self.events.remove(id, below)
        freed = sum(map(len, removed.values()))
        self.size -= freed
        if self._undo is not None:

            def put_back() -> None:
                self.events.put_back(id, removed)
                self.size += freed

            self._undo.append((put_back,))

    def _put_record(self, raw: bytes) -> None:
        facts = _record_facts(raw)
        self._set_record(facts.kind, facts.id, raw)

    def _drop_record(self, kind: str, id: str) -> None:
        self._set_record(kind, id, None)

    def _set_record(self, kind: str, id: str, raw: bytes | None) -> None:
        shelf = self._records.setdefault(kind, {})
        old = shelf.get(id)
        if raw is not None:
            shelf[id] = raw
        elif old is not None:
            del shelf[id]
        self.size += len(raw or b"") - len(old or b"")
        ordered = self._ordered.get(kind)
        if ordered is not None and (old is None) != (raw is None):
            (ordered.remove if raw is None else ordered.add)(id)
        if self._undo is not None:
            self._undo.append((self._set_record, kind, id, old))

    def _go_to(self, body: bytes) -> None:
        self.events.next = int(body)
