"""
Export, import and migration: everything of a store as lines of canonical JSON, and back, losing nothing.

What the lines are, and how a file of them is proved, stands in `backlog_store.exportfile`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from msgspec import Struct

from backlog_store.backends.port import Backend, Change, Load, PutRecord, Reader, Sighting, Writer
from backlog_store.codec import encode, encode_event, encode_item, from_builtins
from backlog_store.errors import AlreadyExists, BackendError, InvalidInput
from backlog_store.exportfile import HEADER, KINDS, Group, LineDigest, check_export, owner_of_events, read_groups
from backlog_store.model import Event, Item, Key, KeyState, Record, RecordKind, Sighted
from backlog_store.query import EventQuery, ItemQuery, order_key

__all__ = ["Transferred", "checked_export", "export_store", "import_store", "migrate_store", "take_in",
           "write_export"]  # fmt: skip

_PAGE = 500
_CHUNK_GROUPS = 500
_CHUNK_BYTES = 2 * 1024 * 1024
_MEMORY = 32 * 1024 * 1024
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


def export_store(backend: Backend, sink: IO[bytes]) -> Transferred:
    """
    Write everything of one consistent view to *sink*; nothing is written there before all of it could be read.
    """
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as spool:

        def run(reader: Reader) -> Transferred:
            spool.seek(0)
            spool.truncate()
            return write_export(reader, spool)

        done = backend.read(run)
        spool.seek(0)
        while block := spool.read(1 << 20):
            sink.write(block)
    return done


def write_export(reader: Reader, sink: Any) -> Transferred:
    """
    Write everything that *reader* sees to *sink*, line by line as it is read. Memory is bounded.
    """
    done = Transferred()
    digest = LineDigest()

    def write(line: bytes) -> None:
        digest.add(line)
        sink.write(line + b"\n")

    write(HEADER)
    for items in _pages(reader):
        ids = tuple(item.id for item in items)
        trails = _by_item(reader.events(EventQuery(item_ids=ids, limit=None)))
        for item in items:
            write(b'{"item":' + encode_item(item) + b"}")
            done.items += 1
            for event in trails.get(item.id, ()):
                write(b'{"event":' + encode_event(event) + b"}")
                done.events += 1
            for record in _scan(reader, "sighting", f"{item.id}/"):
                write(b'{"record":' + encode(record) + b"}")
                done.records += 1
    for kind, prefix in KINDS:
        for record in _scan(reader, kind, prefix):
            write(b'{"record":' + encode(record) + b"}")
            done.records += 1
            for event in _record_events(reader, record):
                write(b'{"event":' + encode_event(event) + b"}")
                done.events += 1
    counts = {"items": done.items, "events": done.events, "records": done.records}
    write(encode({"end": {**counts, "digest": digest.text()}}))
    return done


def _pages(reader: Reader) -> Iterator[Sequence[Item]]:
    after = None
    while items := reader.search(ItemQuery(order="id", limit=_PAGE, after=after)):
        yield items
        before, after = after, order_key(items[-1], "id")
        if before is not None and after <= before:
            raise _out_of_order(items[-1].id, before[0])


def _scan(reader: Reader, kind: RecordKind, prefix: str) -> Iterator[Record]:
    after = ""
    while True:
        page = reader.scan(kind, prefix, after, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        before, after = after, page[-1].id
        if after <= before:
            raise _out_of_order(after, before)


def _out_of_order(id: str, before: str) -> BackendError:
    # Reading on behind it would begin anew, and never end.
    return BackendError("export", "reading", f"{id} stands behind {before}", hint="`backlog verify` lists the faults.")


def _by_item(events: Iterable[Event]) -> dict[str, list[Event]]:
    trails: dict[str, list[Event]] = {}
    for event in events:
        trails.setdefault(event.item_id, []).append(event)
    for trail in trails.values():
        trail.sort(key=lambda event: event.revision)
    return trails


def _record_events(reader: Reader, record: Record) -> Sequence[Event]:
    """
    Return the events that explain a record: of a purged key those of its item, which is gone; of policies their trail.
    """
    owner = owner_of_events(record)
    if not owner:
        return ()
    events = reader.events(EventQuery(item_ids=(owner,), limit=None))
    return sorted(events, key=lambda event: event.revision)


@contextmanager
def checked_export(source: IO[bytes]) -> Iterator[IO[bytes]]:
    """
    Give a copy of an export that was proved line by line, for `take_in`; it lies in a temporary file where it is large.

    Raises `InvalidInput` naming line and item of every fault (at most 20).
    """
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as spool:
        while block := source.read(1 << 20):
            spool.write(block)
        spool.seek(0)
        check_export(spool)
        spool.seek(0)
        yield spool


def import_store(backend: Backend, source: IO[bytes]) -> Transferred:
    """
    Take in an export. An item that is there already with the same trail is skipped, one that differs is refused.

    The whole file is checked first, see `checked_export`; if it is faulty, nothing is written. Then it is applied in
    bounded steps; running it again goes on where it stopped.
    """
    with checked_export(source) as export:
        return take_in(backend, export)


def take_in(backend: Backend, export: IO[bytes]) -> Transferred:
    """
    Write what `checked_export` gave into a store, in bounded steps.
    """
    done = Transferred(refused=[])
    for chunk in _chunks(read_groups(export)):
        _take_in_chunk(backend, chunk, done)
    return done


def _chunks(groups: Iterable[Group]) -> Iterator[list[Group]]:
    chunk: list[Group] = []
    size = 0
    for group in groups:
        # Items first, by themselves: what the records of keys name must be there to be held against.
        turns = bool(chunk) and type(chunk[-1].head) is not type(group.head)
        if chunk and (turns or size >= _CHUNK_BYTES or len(chunk) >= _CHUNK_GROUPS):
            yield chunk
            chunk, size = [], 0
        chunk.append(group)
        size += group.size
    if chunk:
        yield chunk


def _take_in_chunk(backend: Backend, chunk: Sequence[Group], done: Transferred) -> None:
    def run(writer: Writer) -> Transferred:
        step = Transferred(refused=[])
        changes = [*_item_changes(writer, chunk, step), *_record_changes(writer, chunk, step)]
        if changes:
            writer.apply(changes)
        return step

    step = backend.write(run)
    done.items += step.items
    done.events += step.events
    done.records += step.records
    done.skipped += step.skipped
    done.refused += step.refused


def _item_changes(writer: Writer, chunk: Sequence[Group], step: Transferred) -> Iterator[Change]:
    items = [(group.head, group) for group in chunk if isinstance(group.head, Item)]
    present = writer.items([item.id for item, _ in items])
    holders = dict(writer.items_by_key([item.key for item, _ in items if item.key is not None]))
    for item, group in items:
        there = present.get(item.id)
        if there is not None and there.head == item.head and there.revision == item.revision:
            step.skipped += 1
            continue
        if there is not None:
            step.refused.append(f"{item.id}: is there already at revision {there.revision}, with another history")
            continue
        if item.key is not None and item.key in holders:
            step.refused.append(str(AlreadyExists("key", item.dedupe_key, held_by=holders[item.key].id)))
            continue
        if item.key is not None:
            holders[item.key] = item
        yield Load(item, tuple(group.events))
        yield from map(_sighting, group.sightings)
        step.items += 1
        step.events += len(group.events)
        step.records += len(group.sightings)


def _sighting(record: Record) -> Sighting:
    item_id, source = record.id.split("/", 1)
    seen = from_builtins(record.body, Sighted)
    return Sighting(item_id, source, seen.first_at, seen.last_at, seen.n, seen.run)


def _record_changes(writer: Writer, chunk: Sequence[Group], step: Transferred) -> Iterator[Change]:
    """
    Yield the changes that write each record and the events that explain it; the last one leaves it as it was.
    """
    groups = [(group.head, group.events) for group in chunk if isinstance(group.head, Record)]
    by_kind: dict[RecordKind, list[str]] = {}
    for record, _ in groups:
        by_kind.setdefault(record.kind, []).append(record.id)
    present = {kind: writer.records(kind, ids) for kind, ids in by_kind.items()}
    holders = writer.items_by_key([_key_of(record) for record, _ in groups if record.kind == "key"])
    for record, events in groups:
        there = present[record.kind].get(record.id)
        if there is not None:
            if there.body != record.body and record.kind in _DECIDED:
                step.refused.append(f"{record.kind} {record.id}: is there already, and says something else")
            continue
        wrong = _fault_of_key(record, holders.get(_key_of(record))) if record.kind == "key" else ""
        if wrong:
            step.refused.append(f"{record.kind} {record.id}: {wrong}")
            continue
        if events:
            yield from (PutRecord(record, event=event, force=True) for event in events)
        else:
            yield PutRecord(record, force=True)
        step.records += 1
        step.events += len(events)


def _key_of(record: Record) -> Key:
    env, dedupe_key = record.id.split("/", 1)
    return env, dedupe_key


def _fault_of_key(record: Record, holder: Item | None) -> str:
    """
    Say why the record of a key cannot be taken in: it contradicts the item that holds the key.
    """
    state = from_builtins(record.body, KeyState)
    if holder is None or state.alias_of:
        return ""
    if state.purged_at:
        return f"is said to be purged, but {holder.id} holds it"
    return f"names {state.item_id}, but {holder.id} holds it" if state.item_id not in ("", holder.id) else ""


def migrate_store(source: Backend, open_target: Callable[[], Backend]) -> Transferred:
    """
    Copy everything of one store into another, on any backend. The other is opened once all could be read and proved.

    Raises `BackendError` for a store whose history does not hold, and what opening, reading and writing raise.
    """
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as spool:
        export_store(source, spool)
        spool.seek(0)
        try:
            check_export(spool)
        except InvalidInput as error:
            told = "; ".join(f"{fault.value}: {fault.reason}" for fault in error.faults[:3])
            raise BackendError(source.capabilities.name, "copying", f"the history does not hold: {told}",
                               hint="Nothing was written. `backlog verify` lists every fault.") from error  # fmt: skip
        spool.seek(0)
        target = open_target()
        try:
            return take_in(target, spool)
        finally:
            target.close()
