"""
Export, import and migration: everything of a store as lines of canonical JSON, and back, losing nothing.

What the lines are, and how a file of them is proved, stands in `backlog_store.exportfile`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

from msgspec import Struct

from backlog_store.backends.port import Backend, Load, Reader, Writer
from backlog_store.backends.scanning import each_record
from backlog_store.codec import decode_json, encode, encode_event, encode_item
from backlog_store.digests import blake2b
from backlog_store.errors import BackendError, BackendUnavailable, InvalidInput
from backlog_store.exportfile import HEADER, KINDS, Group, LineDigest, check_export, owner_of_events, read_groups
from backlog_store.importchunk import Step, Transferred
from backlog_store.model import Event, Item, ItemId, Key, Record, RecordKind
from backlog_store.preview import Decided, check_shown, shown_of, token_of_import
from backlog_store.query import EventQuery, ItemQuery, order_key

__all__ = ["Foreseen", "Transferred", "check_token", "checked_export", "export_store", "fetched_export", "foresee",
           "import_store", "migrate_store", "take_in", "write_export"]  # fmt: skip

_PAGE = 500
_CHUNK_GROUPS = 500
_CHUNK_BYTES = 2 * 1024 * 1024
_MEMORY = 32 * 1024 * 1024


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
        _pour(spool, sink)
    return done


def fetched_export(blocks: Iterable[bytes], sink: IO[bytes]) -> Transferred:
    """
    Write to *sink* the export that comes in these blocks, once its last line has proved that it is whole.

    Raises `BackendUnavailable` where it is not.
    """
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as spool:
        for block in blocks:
            spool.write(block)
        spool.seek(0)
        digest, last = LineDigest(), b""
        for line in spool:
            if last:
                digest.add(last)
            last = line
        try:
            end = decode_json(last)["end"]
            told = end.pop("digest")
            done = Transferred(**end)
        except (ValueError, LookupError, TypeError) as error:
            raise _cut() from error
        if told != digest.text():
            raise _cut()
        _pour(spool, sink)
    return done


def _cut() -> BackendUnavailable:
    return BackendUnavailable("remote", "exporting", "what came is not all of it, or was changed on its way",
                              hint="Nothing was written; try again.")  # fmt: skip


def _pour(spool: IO[bytes], sink: IO[bytes]) -> None:
    spool.seek(0)
    while block := spool.read(1 << 20):
        sink.write(block)


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
    before = ""
    for record in each_record(reader, kind, prefix):
        if record.id <= before:
            raise _out_of_order(record.id, before)
        yield record
        before = record.id


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


def take_in(backend: Backend, export: IO[bytes], *, token: str = "", shown: Sequence[Decided] = ()) -> Transferred:
    """
    Write what `checked_export` gave into a store, in bounded steps.

    With the *token* that `foresee` gave, and what it showed (*shown*) where that is still known: only if just that
    would be done now, but for what came to be there meanwhile just as it was to be made. Else `PlanChanged`, before the
    first step and once more in each.
    """
    if token:
        shown = check_token(backend, export, token, shown)
    export.seek(0)
    done = Transferred(refused=[])
    refused: dict[ItemId, bool] = {}
    at = 1  # behind the decision that stands for the file
    for chunk in _chunks(read_groups(export)):
        expected, at = shown[at : at + len(chunk)], at + len(chunk)

        step = backend.write(partial(_take_in_chunk, chunk, dict(refused), token, expected))
        done.add(step.done)
        refused |= step.refused
    return done


def check_token(backend: Backend, export: IO[bytes], token: str, shown: Sequence[Decided]) -> Sequence[Decided]:
    """
    Return what would be done now, if that is what the *token* stands for. Raises `PlanChanged`.
    """
    now = foresee(backend, export)
    if now.token != token:
        check_shown(token, shown, now.decided)
    return now.decided


def _take_in_chunk(chunk: Sequence[Group], refused: Mapping[ItemId, bool], token: str, expected: Sequence[Decided],
                   writer: Writer) -> Step:  # fmt: skip
    step = Step(writer, chunk, {}, refused)
    if token:
        check_shown(token, expected, step.decided)
    if step.changes:
        writer.apply(step.changes)
    for change in step.parted:
        writer.apply([change])
    return step


class Foreseen(Struct, frozen=True, kw_only=True):
    """
    What an import would do: the account, each decision, and the token that stands for them and the file.
    """

    done: Transferred
    decided: tuple[Decided, ...]
    token: str


def foresee(backend: Backend, export: IO[bytes]) -> Foreseen:
    """
    Tell what `take_in` would do with what `checked_export` gave; write nothing. Needs memory for each decision.
    """
    export.seek(0)
    hashed = blake2b(digest_size=16)
    while block := export.read(1 << 20):
        hashed.update(block)
    export.seek(0)
    done = Transferred(refused=[])
    decided: list[Decided] = []
    loaded: dict[Key, ItemId] = {}
    refused: dict[ItemId, bool] = {}
    for chunk in _chunks(read_groups(export)):
        step = backend.read(partial(Step, chunk=chunk, loaded=loaded, refused=refused))
        done.add(step.done)
        decided += step.decided
        refused |= step.refused
        loaded.update((change.item.key, change.item.id) for change in step.changes
                      if isinstance(change, Load) and change.item.key is not None)  # fmt: skip
    shown = shown_of(hashed.hexdigest(), decided)
    return Foreseen(done=done, decided=shown, token=token_of_import(shown))


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
