"""
The file of an export: what its lines say, and the proof that it is what was exported.

The first line is the header. Then, for each item in order of its id: the item, its events by revision, its sightings;
then all other records by kind and id, and behind the record of a purged key the events that explain it. The last line
is the trailer: the counts, and a digest of all lines above, so that a file that was cut or changed is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any

import msgspec
from msgspec import Struct

from backlog_store.codec import decode_event, decode_item, decode_record, encode, from_builtins
from backlog_store.digests import blake2b
from backlog_store.errors import Fault, InvalidInput
from backlog_store.instants import parse_instant
from backlog_store.model import (
    LEGACY_NOTES,
    PRIORITIES,
    STATUSES,
    TRAILS,
    Event,
    Item,
    KeyState,
    Record,
    RecordKind,
    Sighted,
)  # fmt: skip
from backlog_store.trail import faults_of_chain, faults_of_key_trail, faults_of_trail

__all__ = ["HEADER", "KINDS", "Group", "LineDigest", "check_export", "owner_of_events", "read_groups"]

FORMAT = "backlog-store"
VERSION = 1
HEADER = encode({"format": FORMAT, "version": VERSION})
#: Records that travel, in this order, each with how its ids begin. Sightings go with their items; what else is of kind
#: `store` makes a store this one. Sessions stay behind: people sign in anew; so do deliveries and what
#: was seen, which rest on positions.
KINDS: tuple[tuple[RecordKind, str], ...] = (
    ("access", ""), ("alias", ""), ("answer", ""), ("guard", ""), ("key", ""), ("lease", ""), ("link", ""),
    ("policy", ""), ("proposal", ""), ("run", ""), ("store", LEGACY_NOTES), ("suppressed", ""), ("view", ""),
)  # fmt: skip
#: Far beyond what the limits of the store allow; it bounds the memory of a check.
_LINE_MAX = 64 * 1024 * 1024
_FAULTS_MAX = 20
_COUNT_MAX = 2**53 - 1  # what every reader of JSON holds exactly (RFC 8259, section 6)
_PREFIXES = dict(KINDS)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_BOM = b"\xef\xbb\xbf"
_WRAPPED = (
    (b"\x1f\x8b", "compressed with gzip; unpack it first: gzip -dc FILE | backlog import -"),
    (b"PK\x03\x04", "a zip archive; unpack it and import the file inside"),
    (b"\xff\xfe", "UTF-16 (PowerShell's > writes that); name the file to export to: backlog export FILE"),
    (b"\xfe\xff", "UTF-16; an export is UTF-8"),
)
_Line = dict[str, msgspec.Raw]
_lines = msgspec.json.Decoder(_Line)


class Group(Struct):
    """
    An item with its events and sightings, or a record with the events that explain it; from line *number* on.
    """

    number: int
    head: Item | Record
    size: int  # bytes of its lines
    events: list[Event] = []
    sightings: list[Record] = []

    @property
    def place(self) -> tuple[str, str]:
        """
        Return what groups are ordered by: items come first.
        """
        return ("", self.head.id) if isinstance(self.head, Item) else (self.head.kind, self.head.id)


def owner_of_events(record: Record) -> str:
    """
    Return the id of which the events stand behind a record, and explain it; empty where none do.
    """
    if record.kind == "key" and record.body.get("purged_at"):
        return str(record.body.get("item_id", ""))
    return next((trail for trail, head in TRAILS.items() if head == (record.kind, record.id)), "")


class LineDigest:
    """
    The digest of lines, however they end: a file that went through a program that changes line ends is the same.
    """

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    def add(self, line: bytes) -> None:
        """
        Take a line in, with or without its end.
        """
        self._hash.update(line.rstrip(b"\r\n") + b"\n")

    def text(self) -> str:
        """
        Return the digest of the lines so far, in hexadecimal.
        """
        return self._hash.hexdigest()


def read_groups(stream: IO[bytes]) -> Iterator[Group]:
    """
    Yield what a file holds that `check_export` found to be sound.
    """
    group: Group | None = None
    for line in stream:
        value = _decode(_members(line.removeprefix(_BOM)))
        if isinstance(value, Event | _Sighting) and group is not None:
            group.size += len(line)
            if isinstance(value, Event):
                group.events.append(value)
            else:
                group.sightings.append(value.record)
        elif isinstance(value, Item | Record):
            if group is not None:
                yield group
            group = Group(0, value, len(line), [], [])
    if group is not None:
        yield group


def check_export(stream: IO[bytes]) -> None:
    """
    Read a whole file and prove it: every line, its place, every trail and chain, the trailer. One item is held at once.

    Raises `InvalidInput` with the line and item of every fault, at most 20.
    """
    check = _Check()
    while line := stream.readline(_LINE_MAX + 1):
        check.line(line)
        if check.is_over:
            break
    faults = check.faults or check.end_faults()
    if faults:
        raise InvalidInput(faults[:_FAULTS_MAX], what="export", hint="Nothing was written.")


class _Sighting(Struct):
    record: Record


class _Check:
    """
    What is known of the lines above.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.number = 0
        self.is_over = False
        self.counts = {"items": 0, "events": 0, "records": 0}
        self.digest = LineDigest()
        self.group: Group | None = None
        self.is_garbled = False  # a line of this group could not be read: what follows from that is not told
        self.end: Any = None

    def line(self, line: bytes) -> None:
        """
        Check the next line.
        """
        self.number += 1
        if self.number == 1:
            line = line.removeprefix(_BOM)
            self._header(line)
        elif self.end is not None:
            self._fault("", "something stands behind the last line")
            self.is_over = True
        elif len(line) > _LINE_MAX:
            self._fault("", f"longer than {_LINE_MAX // 2**20} MiB: that is no line of an export")
            self.is_over = True
        else:
            self._further(line)
        if self.end is None:
            self.digest.add(line)
        self.is_over = self.is_over or len(self.faults) >= _FAULTS_MAX

    def end_faults(self) -> list[Fault]:
        """
        Return what is wrong with the file as a whole, once all lines are known to be sound.
        """
        if not self.number:
            self.number = 1
            self._fault("", "the file is empty")
        elif self.end is None:
            self._fault("", "the export ends too early: its last line is missing")
        elif not isinstance(self.end, dict) or {name: self.end.get(name) for name in self.counts} != self.counts:
            told = ", ".join(f"{count} {name}" for name, count in self.counts.items())
            self._fault(_shown(encode(self.end)), f"the lines above are {told}: some were taken out or put in")
        elif self.end.get("digest") != self.digest.text():
            self._fault("", "the lines above are not those that were exported: one was changed, taken out or put in")
        return self.faults

    def _header(self, line: bytes) -> None:
        self.is_over = True
        for start, reason in _WRAPPED:
            if line.startswith(start):
                self._fault("", reason)
                return
        try:
            header = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            header = None
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            reason = "not an export of this program; `backlog report` reads reports and drafts"
            self._fault(_shown(line), reason)
        elif header.get("version") != VERSION:
            self._fault(_shown(encode(header.get("version"))), f"this program reads version {VERSION}")
        else:
            self.is_over = False

    def _further(self, line: bytes) -> None:
        try:
            members = _members(line)
            if "end" in members:
                self._close()
                self.end = msgspec.json.decode(members["end"])
                return
            value = _decode(members)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
            self._fault(_shown(line), str(error) or "nested too deeply")
            self.is_garbled = True
            return
        if isinstance(value, Item | Record):
            self._open(value, len(line))
        elif isinstance(value, Event):
            self.counts["events"] += 1
            self._event(value)
        elif isinstance(value, _Sighting):
            self.counts["records"] += 1
            self._sighting(value.record)

    def _open(self, head: Item | Record, size: int) -> None:
        above = self.group
        self._close()
        self.counts["items" if isinstance(head, Item) else "records"] += 1
        self.group = Group(self.number, head, size, [], [])
        self.is_garbled = False
        if above is not None and above.place >= self.group.place:
            self._fault(head.id, f"stands behind {above.head.id}: items by id, then records by kind and id")

    def _close(self) -> None:
        """
        Check the trail of the group that ends here.
        """
        group, self.group = self.group, None
        if group is None or self.is_garbled:
            return
        told: list[str] = []
        if isinstance(group.head, Item):
            told = faults_of_trail(group.head, group.events)
        elif group.head.kind == "key":
            state = from_builtins(group.head.body, KeyState)
            told = faults_of_key_trail(state, group.events) if state.purged_at else []
        elif owner_of_events(group.head):
            told = faults_of_chain(group.head.body.get("head", ""), group.events)
        self.faults += [Fault(f"/line/{group.number}", group.head.id, reason) for reason in told]

    def _event(self, event: Event) -> None:
        head = self.group.head if self.group is not None else None
        owner = head.id if isinstance(head, Item) else "" if head is None else owner_of_events(head)
        if self.group is not None and event.item_id == owner:
            self.group.events.append(event)
        elif not self.is_garbled:
            stands = f"the line belongs to {owner}" if owner else "it does not stand below that item"
            self._fault(event.id, f"an event of {event.item_id}, and {stands}")

    def _sighting(self, record: Record) -> None:
        group = self.group
        if group is not None and isinstance(group.head, Item) and record.id.startswith(f"{group.head.id}/"):
            if group.sightings and group.sightings[-1].id >= record.id:
                self._fault(record.id, f"stands behind {group.sightings[-1].id}: sightings by id")
            group.sightings = [record]
        elif not self.is_garbled:
            self._fault(record.id, "a sighting that does not stand below its item")

    def _fault(self, value: str, reason: str) -> None:
        self.faults.append(Fault(f"/line/{self.number}", value, reason))


def _members(line: bytes) -> _Line:
    if b"\\u0000" in line and _NUL.search(line):
        raise ValueError("holds the character NUL, which no store can keep")
    return _lines.decode(line)


def _decode(members: _Line) -> Item | Event | Record | _Sighting | None:
    """
    Return what a line says; nothing for header and trailer. Raises what the decoder raises, or `ValueError`.
    """
    if "item" in members:
        return _item(decode_item(bytes(members["item"])))
    if "event" in members:
        event = decode_event(bytes(members["event"]))
        _check_count("revision", event.revision)
        return event
    if "record" in members:
        return _record(decode_record(bytes(members["record"])))
    if "end" in members or "format" in members:
        return None
    raise ValueError("neither item nor event nor record")


def _check_count(name: str, value: int) -> None:
    if not 1 <= value <= _COUNT_MAX:
        raise ValueError(f"{name} {value} is not from 1 to {_COUNT_MAX}")


def _item(item: Item) -> Item:
    _check_count("revision", item.revision)
    for name in ("created_at", "updated_at"):
        parse_instant(getattr(item, name))
    for name, known in (("status", STATUSES), ("priority", PRIORITIES)):
        if getattr(item, name) not in known:
            raise ValueError(f"{name} {getattr(item, name)!r} is none of {', '.join(known)}")
    return item


def _record(record: Record) -> Record | _Sighting:
    _check_count("revision", record.revision)
    if record.kind == "sighting":
        _check_count("n", from_builtins(record.body, Sighted).n)
        return _Sighting(record)
    if record.kind not in _PREFIXES or not record.id.startswith(_PREFIXES[record.kind]):
        raise ValueError(f"the record {record.kind} {record.id} does not travel")
    if record.kind == "key":
        from_builtins(record.body, KeyState)
        if "/" not in record.id:
            raise ValueError(f"the id of a key record is env and key with a slash between, not {record.id!r}")
    return record


def _shown(line: bytes) -> str:
    return line[:60].decode("utf-8", "replace").rstrip()
