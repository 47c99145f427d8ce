"""
Export, import and migration: everything of a store as lines of canonical JSON, and back, losing nothing.

The first line is the header, the last one the trailer with the counts, so that a cut file is noticed before anything
is written. Between them, for each item in order of its id: the item, its events by revision, its sightings; then all
other records by kind and id, and behind the record of a purged key the events that explain it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import msgspec
from msgspec import Struct

from backlog_store.backends.port import Backend, Change, Load, PutRecord, Reader, Sighting, Writer
from backlog_store.codec import (
    decode_event,
    decode_item,
    decode_json,
    decode_record,
    encode,
    encode_event,
    encode_item,
    from_builtins,
)
from backlog_store.errors import AlreadyExists, Fault, InvalidInput
from backlog_store.instants import parse_instant
from backlog_store.model import Event, Item, Record, RecordKind, Sighted
from backlog_store.query import EventQuery, ItemQuery, order_key

__all__ = ["Transferred", "export_store", "import_store", "migrate_store"]

FORMAT = "backlog-store"
VERSION = 1
_PAGE = 500
_CHUNK_ITEMS = 500
_CHUNK_BYTES = 2 * 1024 * 1024
_MEMORY = 32 * 1024 * 1024
#: Records that travel, in this order. Sightings go with their items; `store` is what makes a store this one.
_KINDS: tuple[RecordKind, ...] = ("alias", "answer", "guard", "key", "lease", "link", "policy", "run", "view")


class Transferred(Struct, kw_only=True):
    """
    What an export or import moved. `skipped` items were there already, the same; `refused` names those that differ.
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
            return _export(reader, spool)

        done = backend.read(run)
        spool.seek(0)
        while block := spool.read(1 << 20):
            sink.write(block)
    return done


def _export(reader: Reader, sink: Any) -> Transferred:
    done = Transferred()
    sink.write(encode({"format": FORMAT, "version": VERSION}) + b"\n")
    for items in _pages(reader):
        ids = tuple(item.id for item in items)
        trails = _by_item(reader.events(EventQuery(item_ids=ids, limit=None)))
        for item in items:
            sink.write(b'{"item":' + encode_item(item) + b"}\n")
            done.items += 1
            for event in trails.get(item.id, ()):
                sink.write(b'{"event":' + encode_event(event) + b"}\n")
                done.events += 1
            for record in _scan(reader, "sighting", f"{item.id}/"):
                sink.write(b'{"record":' + encode(record) + b"}\n")
                done.records += 1
    for kind in _KINDS:
        for record in _scan(reader, kind, ""):
            sink.write(b'{"record":' + encode(record) + b"}\n")
            done.records += 1
            for event in _key_events(reader, record):
                sink.write(b'{"event":' + encode_event(event) + b"}\n")
                done.events += 1
    counts = {"items": done.items, "events": done.events, "records": done.records}
    sink.write(encode({"end": counts}) + b"\n")
    return done


def _pages(reader: Reader) -> Iterator[Sequence[Item]]:
    after = None
    while items := reader.search(ItemQuery(order="id", limit=_PAGE, after=after)):
        yield items
        after = order_key(items[-1], "id")


def _scan(reader: Reader, kind: RecordKind, prefix: str) -> Iterator[Record]:
    after = ""
    while True:
        page = reader.scan(kind, prefix, after, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _by_item(events: Iterable[Event]) -> dict[str, list[Event]]:
    trails: dict[str, list[Event]] = {}
    for event in events:
        trails.setdefault(event.item_id, []).append(event)
    for trail in trails.values():
        trail.sort(key=lambda event: event.revision)
    return trails


def _key_events(reader: Reader, record: Record) -> Sequence[Event]:
    """
    Return the events that explain a purged key: those of its item, which is gone.
    """
    if record.kind != "key" or not record.body.get("purged_at"):
        return ()
    return reader.events(EventQuery(item_ids=(record.body["item_id"],), limit=None))


class _Chunk:
    """
    Lines on their way in: items with their trails, records with their events.
    """

    def __init__(self) -> None:
        self.items: list[tuple[Item, list[Event], list[Record]]] = []
        self.records: list[tuple[Record, list[Event]]] = []
        self.bytes = 0

    def full(self) -> bool:
        return self.bytes >= _CHUNK_BYTES or len(self.items) + len(self.records) >= _CHUNK_ITEMS


def import_store(backend: Backend, source: IO[bytes]) -> Transferred:
    """
    Take in an export. An item that is there already with the same trail is skipped, one that differs is refused.

    The whole file is checked first: `InvalidInput` names the line of every fault (at most 20), and nothing is written.
    Then it is applied in bounded steps; running it again goes on where it stopped.
    """
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as spool:
        while block := source.read(1 << 20):
            spool.write(block)
        spool.seek(0)
        _check_lines(spool)
        spool.seek(0)
        done = Transferred(refused=[])
        for chunk in _chunks(spool):
            _take_in(backend, chunk, done)
    return done


def _check_lines(lines: Iterable[bytes]) -> None:
    faults: list[Fault] = []
    counts = {"items": 0, "events": 0, "records": 0}
    last: Any = None
    owned = False  # whether something stands above that an event can belong to
    number = 0
    for number, line in enumerate(lines, 1):
        if last is not None and "end" in last:
            faults.append(Fault(f"/line/{number}", "", "something stands behind the last line"))
            break
        try:
            last = _decode_line(line)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            faults.append(Fault(f"/line/{number}", line[:60].decode("utf-8", "replace"), str(error)))
            last = {}
        orphan = "event" in last or ("record" in last and last["record"].kind == "sighting")
        if orphan and not owned:
            reason = "an event or a sighting stands before the item that it belongs to"
            faults.append(Fault(f"/line/{number}", line[:60].decode("utf-8", "replace"), reason))
        owned = owned or "item" in last or ("record" in last and not orphan)
        for name in last:
            if f"{name}s" in counts:
                counts[f"{name}s"] += 1
        if number == 1 and last.get("format") != FORMAT:
            faults.append(Fault("/line/1", line[:60].decode("utf-8", "replace"), "not an export of this program; "
                                "`backlog report` reads reports and drafts"))  # fmt: skip
        elif number == 1 and last.get("version") != VERSION:
            faults.append(Fault("/line/1", str(last.get("version")), f"this program reads version {VERSION}"))
        if len(faults) >= 20:
            break
    if not faults and (last is None or "end" not in last):
        faults.append(Fault(f"/line/{number}", "", "the export ends too early: its last line is missing"))
    elif not faults and last["end"] != counts:
        faults.append(Fault(f"/line/{number}", str(last["end"]), f"the file holds {counts}"))
    if faults:
        raise InvalidInput(faults, what="export", hint="Nothing was written.")


def _decode_line(line: bytes) -> dict[str, Any]:
    plain = decode_json(line)
    if not isinstance(plain, dict):
        raise ValueError("not an object")  # noqa: TRY004  (what the caller reports is a value, not a type)
    if "item" in plain:
        item = decode_item(encode(plain["item"]))
        for name in ("created_at", "updated_at"):
            parse_instant(getattr(item, name))
        return {"item": item}
    if "event" in plain:
        return {"event": decode_event(encode(plain["event"]))}
    if "record" in plain:
        record = decode_record(encode(plain["record"]))
        if record.kind not in (*_KINDS, "sighting"):
            raise ValueError(f"records of kind {record.kind} do not travel")
        return {"record": record}
    if "end" in plain or "format" in plain:
        return plain
    raise ValueError("neither item nor event nor record")


def _chunks(lines: Iterable[bytes]) -> Iterator[_Chunk]:
    chunk = _Chunk()
    for line in lines:
        decoded = _decode_line(line)
        starts = "item" in decoded or ("record" in decoded and decoded["record"].kind != "sighting")
        if starts and chunk.full():
            yield chunk
            chunk = _Chunk()
        chunk.bytes += len(line)
        if "item" in decoded:
            chunk.items.append((decoded["item"], [], []))
        elif "event" in decoded:
            target = chunk.records[-1][1] if chunk.records else chunk.items[-1][1]
            target.append(decoded["event"])
        elif "record" in decoded:
            record = decoded["record"]
            if record.kind == "sighting":
                chunk.items[-1][2].append(record)
            else:
                chunk.records.append((record, []))
    yield chunk


def _take_in(backend: Backend, chunk: _Chunk, done: Transferred) -> None:
    def run(writer: Writer) -> Transferred:
        step = Transferred(refused=[])
        present = writer.items([item.id for item, _, _ in chunk.items])
        holders = writer.items_by_key([item.key for item, _, _ in chunk.items if item.key is not None])
        changes: list[Change] = []
        for item, trail, sightings in chunk.items:
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
            changes.append(Load(item, tuple(trail)))
            changes += [_sighting(record) for record in sightings]
            step.items += 1
            step.events += len(trail)
            step.records += len(sightings)
        for record, events in chunk.records:
            if writer.records(record.kind, [record.id]):
                continue
            changes += _record_changes(record, events)
            step.records += 1
            step.events += len(events)
        if changes:
            writer.apply(changes)
        return step

    step = backend.write(run)
    done.items += step.items
    done.events += step.events
    done.records += step.records
    done.skipped += step.skipped
    done.refused += step.refused


def _sighting(record: Record) -> Sighting:
    item_id, source = record.id.split("/", 1)
    seen = from_builtins(record.body, Sighted)
    return Sighting(item_id, source, seen.first_at, seen.last_at, seen.n, seen.run)


def _record_changes(record: Record, events: list[Event]) -> list[Change]:
    """
    Return the changes that write a record and each event that explains it; the last one leaves the record as it was.
    """
    if not events:
        return [PutRecord(record, force=True)]
    return [PutRecord(record, event=event, force=True) for event in events]


def migrate_store(source: Backend, target: Backend) -> Transferred:
    """
    Copy everything of one store into another, on any backend.
    """
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as spool:
        export_store(source, spool)
        spool.seek(0)
        return import_store(target, spool)
