"""
The local copy: items of the primary in an SQLite file, for reads while the primary is away.

It goes through four phases. *clearing* empties what belongs to another primary, or to one that was set back; *filling*
reads live items, then closed ones, as many as it may hold, then links, views and policies; *following* reads the event
feed from the position noted before the filling. Each step is one bounded read there and one transaction here, together
with the mark that says where the next one goes on, so a step that was interrupted is simply done again.

An item is replaced whole, with its newest events. Counts of unchanged reports are as of the item's last event: such a
report writes none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from backlog_store.backends.port import Backend, Change, DropRecord, Load, Purge, Put, PutRecord, Reader, Writer
from backlog_store.backends.registry import open_backend
from backlog_store.backends.scanning import end_of_log
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.commands import Command
from backlog_store.errors import BackendUnavailable, BacklogError, DataCorrupt, SchemaMismatch
from backlog_store.forks import Lock
from backlog_store.instants import Instant
from backlog_store.model import CLOSED, LIVE, Event, Item, ItemId, Key, Record, RecordKind, key_record_id
from backlog_store.policy import DEFAULT_POLICY, Policy
from backlog_store.query import EventQuery, In, ItemQuery, order_key
from backlog_store.rules import decide, split_by_item
from backlog_store.rules.links import link_ids
from backlog_store.rules.trails import RECORDS_OF
from backlog_store.rules.voices import sighting_ids

__all__ = ["ITEMS_MAX", "LocalCopy"]

T = TypeVar("T")

#: A copy holds so many items: live ones first, then those closed last.
ITEMS_MAX = 100_000
_FILE = "copy.db"
_PAGE = 500
_EVENTS_PAGE = 1_000
#: Of each item the copy keeps so many of the newest events, on average over a page.
_EVENTS_KEPT = 20
_RECORDS_MAX = 10_000
_MARK = "copy"
_TOUCHED = "touched/"
_NAME = "copy"

Phase = Literal["clearing", "live", "closed", "link", "view", "policy", "access", "following"]
_AFTER: dict[Phase, Phase] = {
    "clearing": "live", "live": "closed", "closed": "link", "link": "view", "view": "policy", "policy": "access",
    "access": "following",
}  # fmt: skip
_KINDS: tuple[RecordKind, ...] = ("key", "link", "view", "policy", "access", "suppressed", "answer", "store")
_OF_PHASE: dict[Phase, RecordKind] = {"link": "link", "view": "view", "policy": "policy", "access": "access"}


class _Mark(Struct, frozen=True, kw_only=True):
    """
    Where a copy stands: of which primary, in which phase, how far in it, and as of when it is whole.
    """

    primary: str
    position: str
    phase: Phase = "clearing"
    after: list[str] = field(default_factory=list)
    as_of: Instant = ""
    items: int = 0
    left_out: bool = False


class _Part(Struct, kw_only=True):
    """
    What was read of the primary about some items; those of `ids` that are in no `items` are gone there.
    """

    ids: list[ItemId]
    items: list[Item]
    trails: dict[ItemId, list[Event]]
    records: list[Record]
    dropped: list[tuple[RecordKind, str]] = []


class LocalCopy:
    """
    A copy in *folder*, shared by the processes that share the spool there. See `reading.Copy`.
    """

    def __init__(self, folder: Path, *, policy: Policy = DEFAULT_POLICY, items_max: int = ITEMS_MAX) -> None:
        self._path = folder / _FILE
        self._policy = policy
        self._items_max = items_max
        self._lock = Lock()
        self._store: Backend | None = None
        self._is_closed = False

    @property
    def as_of(self) -> Instant:
        """
        Return when the copy was last brought up to date; empty before it was ever filled, or where it cannot be read.
        """
        try:
            mark = self._mark() if self._path.exists() else None
        except BacklogError:
            return ""
        return mark.as_of if mark is not None else ""

    @property
    def is_partial(self) -> bool:
        """
        Tell whether live items had to be left out, because there are more than the copy may hold.
        """
        mark = self._mark() if self._path.exists() else None
        return mark is not None and mark.left_out

    def feed(self, primary: Backend, now: Instant) -> bool:
        """
        Take in one bounded part of what is new on the primary; tell whether there is more.
        """
        try:
            mark = self._mark()
        except (DataCorrupt, SchemaMismatch):
            self._discard()  # nothing is lost with it: all of it can be read again
            mark = None
        mark = primary.read(lambda reader: _checked(reader, mark))
        if mark.phase == "clearing":
            return self._clear(mark)
        if mark.phase == "following":
            return self._follow(primary, mark, now)
        if mark.phase in ("live", "closed"):
            return self._fill(primary, mark)
        return self._fill_records(primary, mark)

    def lay_over(self, commands: Sequence[Command]) -> None:
        """
        Carry accepted commands out on the copy, in order; what a rule refuses here is left out.
        """
        if not commands or not self.as_of:
            return

        def run(writer: Writer) -> None:
            touched: set[ItemId] = set()
            for command in commands:
                try:
                    changes = decide(writer, command, self._policy).changes
                except BacklogError:
                    continue  # the copy may lack what it is about; the replay will tell
                for part in split_by_item(changes):
                    writer.apply(part)
                touched |= {change.item.id for change in changes if isinstance(change, Put)}
            writer.apply([_forced(Record(kind="store", id=f"{_TOUCHED}{id}", revision=1)) for id in sorted(touched)])

        self._opened().write(run)

    def refresh(self, primary: Backend, ids: Collection[ItemId]) -> None:
        """
        Read these items, and all that `lay_over` touched, anew from the primary: the spool was drained.
        """
        if not self.as_of:
            return
        store = self._opened()
        touched = store.read(lambda reader: reader.scan("store", _TOUCHED, "", _RECORDS_MAX))
        wanted = sorted({*ids, *(record.id.removeprefix(_TOUCHED) for record in touched)})
        for start in range(0, len(wanted), _PAGE):
            page = wanted[start : start + _PAGE]
            there = store.read(lambda reader, page=page: reader.items(page))  # type: ignore[misc]
            part = primary.read(lambda reader, page=page, there=there: _part(reader, page, there.values()))  # type: ignore[misc]
            self._put(part, lambda mark: mark)
        store.write(_forget_overlay)

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view of the copy. Raises `BackendUnavailable` before it was ever filled.
        """
        if not self.as_of:
            raise BackendUnavailable(
                _NAME, "reading", "the database is away, and there is no local copy of it yet",
                hint="Try again when it is back; a copy is filled while it is there.",
            )  # fmt: skip
        return self._opened().read(fn)

    def close(self) -> None:
        """
        Let go of the copy. Idempotent.
        """
        with self._lock:
            self._is_closed = True
            if self._store is not None:
                self._store.close()
                self._store = None

    # The steps of `feed`.

    def _clear(self, mark: _Mark) -> bool:
        def run(writer: Writer) -> None:
            items = writer.search(ItemQuery(order="id", limit=_PAGE))
            records = [record for kind in _KINDS for record in writer.scan(kind, "", "", _PAGE)]
            changes: list[Change] = [Purge(item.id, item.revision) for item in items]
            changes += [DropRecord(record.kind, record.id, record.revision) for record in records]
            is_empty = len(items) < _PAGE and len(records) < _PAGE
            following = replace(mark, phase="live" if is_empty else "clearing", items=0)
            writer.apply(changes)
            writer.apply([_mark_record(following)])

        self._opened().write(run)
        return True

    def _fill(self, primary: Backend, mark: _Mark) -> bool:
        is_live = mark.phase == "live"
        query = ItemQuery(
            where=In("status", tuple(sorted(LIVE if is_live else CLOSED))), order="id" if is_live else "closed",
            descending=not is_live, limit=_PAGE, after=tuple(mark.after) or None,
        )  # fmt: skip

        def step(reader: Reader) -> tuple[Sequence[Item], _Part]:
            items = reader.search(query)
            return items, _part(reader, [item.id for item in items], items)

        items, part = primary.read(step)
        is_last = len(items) < _PAGE or (not is_live and mark.items + len(items) >= self._items_max)
        after = [] if is_last else list(order_key(items[-1], query.order))
        phase = _AFTER[mark.phase] if is_last else mark.phase
        self._put(part, lambda standing: replace(standing, phase=phase, after=after))
        return True

    def _fill_records(self, primary: Backend, mark: _Mark) -> bool:
        kind = _OF_PHASE[mark.phase]
        after = mark.after[0] if mark.after else ""
        records = primary.read(lambda reader: reader.scan(kind, "", after, _PAGE))
        is_last = len(records) < _PAGE
        following = replace(
            mark, phase=_AFTER[mark.phase] if is_last else mark.phase, after=[] if is_last else [records[-1].id]
        )
        changes = [*map(_forced, records), _mark_record(following)]
        self._opened().write(lambda writer: writer.apply(changes))
        return True

    def _follow(self, primary: Backend, mark: _Mark, now: Instant) -> bool:
        def step(reader: Reader) -> tuple[Sequence[Event], _Part]:
            events = reader.events(EventQuery(after=mark.position, limit=_EVENTS_PAGE))
            ids = sorted({event.item_id for event in events})
            there = self._opened().read(lambda own: own.items(ids))
            part = _part(reader, ids, there.values())
            _add_links(reader, events, part)
            for trail, records_of in RECORDS_OF.items():
                part.records += records_of(reader) if trail in ids else ()
            return events, part

        events, part = primary.read(step)
        is_all = len(events) < _EVENTS_PAGE
        position = events[-1].position if events else mark.position

        def moved(standing: _Mark) -> _Mark:
            return replace(standing, position=position, as_of=now if is_all else standing.as_of)

        self._put(part, moved)
        return not is_all

    # Reading and writing the copy itself.

    def _put(self, part: _Part, moved: Callable[[_Mark], _Mark]) -> None:
        """
        Replace items and records by what was read, and move the mark, in one transaction.
        """

        def run(writer: Writer) -> None:
            mark = _mark_of(writer)
            if mark is None:
                return  # somebody began anew meanwhile
            items = part.items
            there = writer.items(part.ids)
            gone = dict(there)
            # What holds a key here that another item holds there was made by an accepted command.
            holders = writer.items_by_key([item.key for item in items if item.key is not None])
            gone |= {holder.id: holder for holder in holders.values()}
            room = self._items_max - mark.items + len(gone)
            if len(items) > room:
                evicted = _oldest_closed(writer, len(items) - room, but=gone)
                gone |= evicted
                room += len(evicted)
            by_use = sorted(items, key=lambda item: item.status in CLOSED)
            kept, rest = by_use[: max(room, 0)], by_use[max(room, 0) :]
            left_out = mark.left_out or any(item.status in LIVE for item in rest)
            changes: list[Change] = [Purge(item.id, item.revision) for item in gone.values()]
            changes += [Load(item, tuple(part.trails.get(item.id, ()))) for item in kept]
            writer.apply(changes)
            known = {item.id for item in kept}
            records = [
                record for record in part.records
                if record.kind != "sighting" or record.id.partition("/")[0] in known
            ]  # fmt: skip
            writer.apply([*map(_forced, records), *_drops(writer, part.dropped)])
            count = mark.items - len(gone) + len(kept)
            writer.apply([_mark_record(moved(replace(mark, items=count, left_out=left_out)))])

        self._opened().write(run)

    def _mark(self) -> _Mark | None:
        return self._opened().read(_mark_of)

    def _opened(self) -> Backend:
        with self._lock:
            if self._is_closed:
                raise BackendUnavailable(_NAME, "use", "the store was closed", hint="Open it again.")
            if self._store is None:
                # What a power cut takes from a copy is read again from the primary.
                self._store = open_backend(str(self._path), synchronous="NORMAL")
            return self._store

    def _discard(self) -> None:
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None
            for path in self._path.parent.glob(f"{_FILE}*"):
                path.unlink(missing_ok=True)


def _checked(reader: Reader, mark: _Mark | None) -> _Mark:
    """
    Return the mark to go on from: a new one where there is none, or where the primary is another or was set back.
    """
    identity = reader.records("store", ["identity"]).get("identity")
    primary = str(identity.body.get("id", "")) if identity is not None else ""
    position = end_of_log(reader)
    if mark is None or mark.primary != primary or mark.position > position:
        return _Mark(primary=primary, position=position)
    return mark


def _part(reader: Reader, ids: Sequence[ItemId], known: Iterable[Item]) -> _Part:
    """
    Read what the primary holds of these items; *known* are those of which the keys are known already.
    """
    items = list(reader.items(ids).values())
    trails: dict[ItemId, list[Event]] = {}
    if items:
        found = tuple(item.id for item in items)
        limit = _EVENTS_KEPT * len(found)
        for event in reader.events(EventQuery(item_ids=found, newest_first=True, limit=limit)):
            trails.setdefault(event.item_id, []).insert(0, replace(event, position=""))
    keys: set[Key] = {item.key for item in [*items, *known] if item.key is not None}
    names = sorted(key_record_id(key) for key in keys)
    stored = reader.records("key", names) if names else {}
    sources = [id for item in items for id in sighting_ids(item)]
    sightings = reader.records("sighting", sources) if sources else {}
    dropped: list[tuple[RecordKind, str]] = [("key", name) for name in names if name not in stored]
    return _Part(ids=list(ids), items=items, trails=trails, records=[*stored.values(), *sightings.values()],
                 dropped=dropped)  # fmt: skip


def _add_links(reader: Reader, events: Sequence[Event], part: _Part) -> None:
    told = [event for event in events if event.type in ("linked", "unlinked") and not event.added]
    links = [(event.item_id, event.meta["link"]) for event in told]
    names = sorted({name for id, link in links for name in link_ids(id, link["kind"], link["other"])})
    if names:
        found = reader.records("link", names)
        part.records += found.values()
        part.dropped += [("link", name) for name in names if name not in found]


def _oldest_closed(writer: Writer, count: int, *, but: Collection[ItemId]) -> dict[ItemId, Item]:
    query = ItemQuery(where=In("status", tuple(sorted(CLOSED))), order="closed", limit=count + len(but))
    items = [item for item in writer.search(query) if item.id not in but]
    return {item.id: item for item in items[:count]}


def _drops(writer: Writer, names: Sequence[tuple[RecordKind, str]]) -> list[Change]:
    changes: list[Change] = []
    for kind in sorted({kind for kind, _ in names}):
        found = writer.records(kind, [id for of, id in names if of == kind])
        changes += [DropRecord(kind, record.id, record.revision) for record in found.values()]
    return changes


def _forget_overlay(writer: Writer) -> None:
    """
    Drop what accepted commands left beside items (notes, answers, counts of windows): the primary has it now.
    """
    notes = [*writer.scan("store", _TOUCHED, "", _RECORDS_MAX), *writer.scan("answer", "", "", _RECORDS_MAX),
             *writer.scan("suppressed", "", "", _RECORDS_MAX)]  # fmt: skip
    writer.apply([DropRecord(record.kind, record.id, record.revision) for record in notes])


def _forced(record: Record) -> PutRecord:
    return PutRecord(record, force=True)


def _mark_record(mark: _Mark) -> PutRecord:
    return _forced(Record(kind="store", id=_MARK, revision=1, body=to_builtins(mark)))


def _mark_of(reader: Reader) -> _Mark | None:
    record = reader.records("store", [_MARK]).get(_MARK)
    return None if record is None else from_builtins(record.body, _Mark)
