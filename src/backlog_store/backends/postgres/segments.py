"""
A list of changes as few statements: changes of one kind go together where their order among the others does not matter.

Changes count in their order. A *segment* holds changes that touch different things, so its statements may run kind by
kind; a change that touches what the segment has touched already begins a new one. Rows go sorted by id, so that two
writers take their locks in one order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from backlog_store import codec
from backlog_store.backends.port import Change, DropRecord, Load, Purge, Put, PutRecord, Require, Sighting, Trim
from backlog_store.backends.postgres import forms
from backlog_store.backends.postgres import statements as sql
from backlog_store.backends.postgres.alone import changed_alone, new_alone
from backlog_store.backends.postgres.forms import Form, Row
from backlog_store.backends.postgres.wire import Statement
from backlog_store.model import Event, Item, ItemId, Key, Record, Sighted
from backlog_store.query import item_text

__all__ = ["Batch", "Targets", "targets_of"]

Target = tuple[str, str]


class Targets:
    """
    What a list of changes writes or relies on: what a second attempt locks before it reads.
    """

    def __init__(self) -> None:
        self.items: set[ItemId] = set()
        self.keys: set[Key] = set()
        self.records: set[Target] = set()

    def locks(self) -> list[Statement]:
        """
        Return the statements that lock the rows that there are.
        """
        locks = []
        if self.items:
            locks.append(Statement(sql.LOCK_ITEMS, (sorted(self.items),)))
        if self.keys:
            locks.append(Statement(sql.LOCK_KEYS, _columns(sorted(self.keys))))
        if self.records:
            locks.append(Statement(sql.LOCK_RECORDS, _columns(sorted(self.records))))
        return locks


def targets_of(changes: Iterable[Change], targets: Targets) -> None:
    """
    Add to *targets* what the changes write or rely on.
    """
    for change in changes:
        match change:
            case Put(item) | Load(item):
                targets.items.add(item.id)
                if item.key is not None:
                    targets.keys.add(item.key)
            case Purge(id) | Require("item", id):
                targets.items.add(id)
            case PutRecord(Record(kind=kind, id=id)) | DropRecord(kind, id) | Require(kind, id):
                targets.records.add((kind, id))


class Batch:
    """
    Changes on their way into one transaction. What is added is encoded at once, so that it may change afterwards.

    *seen* are items as they stand in the transaction, where known: what did not change is not written again. It is kept
    up to date.
    """

    def __init__(self, seen: dict[ItemId, Item]) -> None:
        self._seen = seen
        self._segments: list[_Segment] = []
        self._events = 0
        self.size = 0

    def add_all(self, changes: Sequence[Change], *, apart: bool) -> None:
        """
        Add changes; *apart* keeps each from those before it, in order.
        """
        new = [change for change in changes if type(change) is Put and change.created]
        if not apart and 1 < len(new) == len(changes):
            self._add_new(new)
            return
        for change in changes:
            self.add(change, apart=apart)

    def _add_new(self, puts: Sequence[Put]) -> None:
        """
        Add new items, of distinct ids.
        """
        if not self._segments or not self._segments[-1].takes_new(puts):
            self._segments.append(_Segment(closed=False))
        self._segments[-1].add_new(puts, self._events)
        self._events += len(puts)
        self.size += len(puts)
        self._seen.update([(put.item.id, put.item) for put in puts])

    def add(self, change: Change, *, apart: bool) -> None:
        """
        Add a change; *apart* keeps it from those before it, in order.
        """
        stands_alone = apart or self._stands_alone(change)
        if stands_alone or not self._segments or not self._segments[-1].takes(change):
            self._segments.append(_Segment(closed=stands_alone))
        self._segments[-1].add(change, self._seen, self._numbered(change))
        self.size += 1
        match change:
            case Put(item) | Load(item):
                self._seen[item.id] = item
            case Purge(id):
                self._seen.pop(id, None)

    def take(self) -> list[Statement]:
        """
        Return the statements that carry the changes out, and forget those.
        """
        segments, self._segments, self.size = self._segments, [], 0
        return [statement for segment in segments for statement in segment.statements()]

    def _stands_alone(self, change: Change) -> bool:
        """
        Tell whether *change* may give a key free or take one: its order among all others matters.
        """
        if isinstance(change, Put) and not change.created:
            before = self._seen.get(change.item.id)
            return before is None or before.key != change.item.key
        return isinstance(change, Purge)

    def _numbered(self, change: Change) -> list[Row]:
        events: Sequence[Event] = ()
        match change:
            case Put(_, event):
                events = (event,)
            case Load(_, events):
                pass
            case PutRecord(_, event) if event is not None:
                events = (event,)
        first, self._events = self._events, self._events + len(events)
        return [forms.event_row(event, number) for number, event in enumerate(events, first)]


class _Segment:
    def __init__(self, *, closed: bool) -> None:
        self._closed = closed
        self._touched: set[Target] = set()
        self._sighted: dict[str, tuple[ItemId, Sighted]] = {}
        self._required: list[Require] = []
        self._rows: defaultdict[Form, list[Row]] = defaultdict(list)
        self._retagged: list[ItemId] = []
        self._stored_sightings: list[Statement] = []
        self._events: list[Row] = []
        self._trimmed: list[Row] = []

    def takes(self, change: Change) -> bool:
        """
        Tell whether *change* may go with those before it.
        """
        target = _target(change)
        if isinstance(change, Sighting) and target[1] in self._sighted:
            return not self._closed
        if isinstance(change, PutRecord) and change.event is not None:
            # What is trimmed is let go at the end: an event of the same item that comes after it would go, too.
            return not self._closed and self._touched.isdisjoint({target, ("trimmed", change.event.item_id)})
        return not self._closed and target not in self._touched

    def takes_new(self, puts: Sequence[Put]) -> bool:
        """
        Tell whether new items may go with what is there.
        """
        return not self._closed and self._touched.isdisjoint([("item", put.item.id) for put in puts])

    def add_new(self, puts: Sequence[Put], first: int) -> None:
        """
        Add new items that `takes_new` allowed, and their events, the *first* of which has this number.
        """
        items = [put.item for put in puts]
        self._touched.update([("item", item.id) for item in items])
        self._rows[forms.CREATE] += map(forms.item_row, items)
        self._rows[forms.NEW_WORDS] += map(forms.words_row, items)
        self._rows[forms.TAGS] += [(item.id, tag) for item in items for tag in dict.fromkeys(item.tags)]
        self._events += [forms.event_row(put.event, number) for number, put in enumerate(puts, first)]

    def add(self, change: Change, seen: Mapping[ItemId, Item], events: Iterable[Row]) -> None:
        """
        Add a change that `takes` allowed, or the first one, and its events.
        """
        self._touched.add(_target(change))
        self._events += events
        match change:
            case Put(item, created=True) | Load(item):
                self._add_item(forms.CREATE, item, None)
            case Put(item):
                self._add_item(forms.CHANGE, item, seen.get(item.id))
            case Purge(id, revision):
                self._rows[forms.PURGE].append((id, revision))
            case Trim(id, revision):
                self._trimmed.append((id, revision))
                self._touched.add(("trimmed", id))
            case PutRecord(Record(kind="sighting", id=id)) | DropRecord("sighting", id):
                self._stored_sightings += _stored_sighting(change, id)
            case PutRecord(record, _, force):
                checked = forms.CHANGE_RECORD if record.revision > 1 else forms.CREATE_RECORD
                self._rows[forms.FORCE_RECORD if force else checked].append(forms.record_row(record))
            case DropRecord(kind, id, revision):
                self._rows[forms.DROP_RECORD].append((kind, id, revision))
            case Sighting():
                self._add_sighting(change)
            case Require():
                self._required.append(change)

    def statements(self) -> list[Statement]:
        """
        Return the statements of the whole segment. Items go before sightings: one may be created and sighted here.
        """
        found = list(_required(self._required))
        found += [Statement(forms.CLEAR_TAGS, (sorted(self._retagged),))] if self._retagged else []
        if len(self._events) == 1 and (alone := self._taken_alone(self._events[0])) is not None:
            found.append(alone)
            self._events = []
        # Rows begin with an id, or with a kind and an id.
        found += [form.on(sorted(rows)) for form in _FORMS if (rows := self._rows.get(form))]
        found += self._stored_sightings
        if self._sighted:
            rows = [(item, id, s.n, s.first_at, s.last_at, s.run) for id, (item, s) in sorted(self._sighted.items())]
            found.append(forms.SIGHT.on(rows))
        if self._events:
            found.append(forms.EVENTS.on(self._events))
        if self._trimmed:
            found.append(forms.TRIM.on(sorted(self._trimmed)))
        if purged := sorted(id for id, _ in self._rows[forms.PURGE]):
            found += [Statement(rest, (purged,)) for rest in forms.PURGE_REST]
        return found

    def _taken_alone(self, event: Row) -> Statement | None:
        """
        Take the rows of a segment's only item together with its event, if that is what there is.
        """
        new, changed = self._rows[forms.CREATE], self._rows[forms.CHANGE]
        if len(new) + len(changed) != 1:
            return None
        if new:
            alone = new_alone(new.pop(), event, self._rows[forms.NEW_WORDS].pop(), self._rows[forms.TAGS])
            self._rows[forms.TAGS] = []
            return alone
        words = self._rows[forms.WORDS]
        return changed_alone(changed.pop(), event, words.pop() if words else None)

    def _add_item(self, form: Form, item: Item, before: Item | None) -> None:
        self._rows[form].append(forms.item_row(item))
        if form is forms.CREATE:
            self._rows[forms.NEW_WORDS].append(forms.words_row(item))
        elif before is None or item_text(before) != item_text(item):
            self._rows[forms.WORDS].append(forms.words_row(item))
        if before is None or before.tags != item.tags:
            self._rows[forms.TAGS] += [(item.id, tag) for tag in dict.fromkeys(item.tags)]
            if form is forms.CHANGE:
                self._retagged.append(item.id)

    def _add_sighting(self, seen: Sighting) -> None:
        id = f"{seen.item_id}/{seen.source}"
        n, first_at, last_at, run = seen.n, seen.first_at, seen.last_at, seen.run
        if id in self._sighted:
            before = self._sighted[id][1]
            n += before.n
            first_at, last_at = min(before.first_at, first_at), max(before.last_at, last_at)
            run = run or before.run
        self._sighted[id] = (seen.item_id, Sighted(n=n, first_at=first_at, last_at=last_at, run=run))


#: The statements of a segment that share nothing but their order.
_FORMS = (
    forms.CREATE, forms.CHANGE, forms.PURGE, forms.NEW_WORDS, forms.WORDS, forms.TAGS,
    forms.CREATE_RECORD, forms.CHANGE_RECORD, forms.FORCE_RECORD, forms.DROP_RECORD,
)  # fmt: skip


def _target(change: Change) -> Target:
    match change:
        case Put(item) | Load(item):
            return "item", item.id
        case Purge(id) | Trim(id):
            return "item", id
        case PutRecord(record):
            return record.kind, record.id
        case Sighting(item_id, source):
            return "sighting", f"{item_id}/{source}"
        case DropRecord(kind, id) | Require(kind, id):
            return kind, id
    raise AssertionError(change)


def _columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [one for one, _ in pairs], [other for _, other in pairs]


def _required(required: Sequence[Require]) -> Iterable[Statement]:
    items = [(require.id, require.revision) for require in required if require.kind == "item" and require.revision]
    no_items = [(require.id,) for require in required if require.kind == "item" and not require.revision]
    others = [require for require in required if require.kind != "item"]
    records = [(r.kind, r.id, r.revision) for r in others if r.revision and r.kind != "sighting"]
    no_records = [(r.kind, r.id) for r in others if not r.revision and r.kind != "sighting"]
    if items:
        yield forms.REQUIRE_ITEM.on(sorted(items))
    if no_items:
        yield forms.REQUIRE_NO_ITEM.on(sorted(no_items))
        yield Statement(forms.FORGET_NO_ITEM, (sorted(id for (id,) in no_items),))
    if records:
        yield forms.REQUIRE_RECORD.on(sorted(records))
    if no_records:
        yield forms.REQUIRE_NO_RECORD.on(sorted(no_records))
        yield forms.FORGET_NO_RECORD.on(sorted(no_records))
    for require in others:
        if require.kind == "sighting":
            yield _sighting_at(require.revision, require.id)


def _sighting_at(revision: int, id: str) -> Statement:
    if revision not in {0, 1}:
        return Statement(forms.VIOLATED)
    return Statement(forms.SIGHTINGS_PRESENT if revision else forms.SIGHTINGS_ABSENT, ([id],))


def _stored_sighting(change: PutRecord | DropRecord, id: str) -> Iterable[Statement]:
    if isinstance(change, DropRecord):
        yield _sighting_at(change.revision or -1, id)
        yield Statement(forms.CLEAR_SIGHTINGS, ([id],))
        return
    if not change.force:
        yield _sighting_at(change.record.revision - 1, id)
    body = codec.from_builtins(change.record.body, Sighted)
    yield Statement(forms.CLEAR_SIGHTINGS, ([id],))
    yield forms.SET_SIGHTINGS.on([(id, body.n, body.first_at, body.last_at, body.run)])
