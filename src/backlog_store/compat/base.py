"""
What the stores of the original interface have in common: each call is a command or a query of a `Backlog`.
"""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from backlog_store.backends.port import Health, Reader
from backlog_store.backlog import Backlog
from backlog_store.clock import Clock, IdSource, system_clock, system_ids
from backlog_store.codec import from_builtins
from backlog_store.commands import Answer, Body, Comment, Create, Edit, Outcome, Report
from backlog_store.compat.contract import OVERDUE_SHOWN, BacklogStore, summary
from backlog_store.compat.queries import find, find_by_key, is_known, where_of, whole
from backlog_store.compat.values import (
    WRITABLE,
    BacklogEvent,
    BacklogItem,
    bring_up_to_date,
    draft_of,
    event_from,
    fields_of,
    item_from,
    seen_of,
)
from backlog_store.errors import AlreadyExists, Conflict, Fault, InvalidInput, NotFound, RevisionConflict
from backlog_store.executors.local import LocalExecutor
from backlog_store.forks import Lock
from backlog_store.ids import event_id
from backlog_store.instants import day_of
from backlog_store.legacy.report import notes
from backlog_store.legacy.times import NO_TITLE, as_text, given_times, instant_of
from backlog_store.model import Draft, Event, Item, KeyState, closed_status, key_record_id
from backlog_store.query import ANY, All, Compare, EventQuery, Facet, In, ItemQuery, Where, live
from backlog_store.rules import check_draft

__all__ = ["CALLER", "BacklogBackedStore", "report_of"]

T = TypeVar("T")

#: The name that events bear where nobody gave one.
CALLER = "caller"
#: What a report changes on a known item; status, owner, service, category and source stay.
REFRESHED = ("title", "description", "evidence_refs", "meta", "priority", "due_date", "tags")
#: What a person holds by `update`, so that no later report changes it.
_HELD = ("status", "owner", "priority", "due_date")


def report_of(draft: Draft) -> Report:
    """
    Return the report of an item; one without a title leaves the title of a known item as it is.
    """
    refresh = REFRESHED if draft.title != NO_TITLE else tuple(name for name in REFRESHED if name != "title")
    return Report(drafts=(draft,), refresh=refresh)


class BacklogBackedStore(BacklogStore):
    """
    A store of the original interface on a `Backlog`, which is opened when first used. Safe for several threads.

    *actor* is the name that events bear: a machine's for `create` and `upsert`, a person's for `update`.
    """

    def __init__(
        self, place: str, *, actor: str = CALLER, clock: Clock = system_clock, ids: IdSource = system_ids
    ) -> None:
        self._place = place
        self._actor = actor
        self._clock = clock
        self._ids = ids
        self._opening = Lock()
        self._opened: Backlog | None = None
        self._letting_go: Callable[[], object] = lambda: None

    @property
    def backlog(self) -> Backlog:
        """
        Return the same store with the new interface: its trail, its queries, its commands.
        """
        if self._opened is None:
            with self._opening:
                if self._opened is None:
                    backlog = self._open()
                    try:
                        self._take_in_news(backlog)
                    except BaseException:
                        backlog.close()
                        raise
                    # Callers of the original interface close nothing.
                    self._letting_go = weakref.finalize(self, backlog.close)
                    self._opened = backlog
                    return backlog
        self._take_in_news(self._opened)
        return self._opened

    def close(self) -> None:
        """
        Let go of the store; a later call opens it again.
        """
        with self._opening:
            self._opened = None
            self._letting_go()

    def check(self) -> Health:
        """
        Look at the store's condition.
        """
        return self.backlog.check()

    def legacy_notes(self) -> list[str]:
        """
        List what is to know about rows of the original module that were taken in: what was damaged, mapped or merged.
        """
        return self._read(lambda reader: [str(note) for note in notes(reader)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _open(self) -> Backlog:
        """
        Open the store.
        """

    def _take_in_news(self, backlog: Backlog) -> None:
        """
        Take in what processes of the original module wrote beside this store, where it has such a side.
        """

    def _on(self, executor: LocalExecutor) -> Backlog:
        return Backlog(executor, actor=self._actor, clock=self._clock, ids=self._ids)

    # --- the eight methods, and the two that follow from them --------------------------------------------------------

    def create(self, item: BacklogItem) -> BacklogItem:
        """
        Add an item with the id, status and times that it was given.

        Raises `AlreadyExists` for a taken id or key, `InvalidInput` with every fault.
        """
        return self._stored(item, self._create(item, fields_of(item)))

    def get(self, item_id: str) -> BacklogItem | None:
        """
        Return the caller's own copy of an item, also of an id that it had before; or ``None``.
        """
        found = self._read(lambda reader: find(reader, item_id))
        return None if found is None else item_from(found, self._place)

    def get_by_dedupe_key(self, key: str) -> BacklogItem | None:
        """
        Return the item that holds a key, or ``None``; of several envs ``prod`` comes first, then they go by name.
        """
        found = self._read(lambda reader: find_by_key(reader, key)) if key else None
        return None if found is None else item_from(found, self._place)

    def update(self, item: BacklogItem) -> BacklogItem:
        """
        Write the fields changed since the item was last stored or read.

        Without that memory (``from_dict(to_dict())``) all are written, if nobody changed the item since its
        `updated_at`. Raises `NotFound`, `TransitionNotAllowed`, `InvalidInput`, and `RevisionConflict` where somebody
        else changed such a field meanwhile.
        """
        wanted = fields_of(item)
        seen = seen_of(item)
        if seen is not None and (seen.place, seen.id) == (self._place, item.id):
            known, created_at = seen.fields, seen.created_at
            expected = {}
        else:
            stored, created_at = self._unchanged_since(item)
            known, expected = fields_of(stored), {"updated_at": instant_of("updated_at", stored.updated_at)}
        if instant_of("created_at", item.created_at) not in ("", created_at):
            fault = Fault(
                "/created_at", str(item.created_at)[:60], f"the item was created at {created_at}, and stays so"
            )
            raise InvalidInput([fault], what="item")
        changed = {name: wanted[name] for name in WRITABLE if wanted[name] != known[name]}
        expected |= {name: known[name] for name in changed}
        body = Edit(id=item.id, fields=changed, hold=_HELD, expect=expected)
        return self._stored(item, self._one(body, person=True).item)

    def list_items(
        self, filters: Mapping[str, Any] | None = None, limit: int | None = 50, offset: int = 0
    ) -> list[BacklogItem]:
        """
        Return items by priority, then due date (none last), then id; ``limit=None`` all of them.

        Filters: ``env``, ``service``, ``status``, ``owner``, ``category`` (one value or several; ``""`` and ``None``
        are any, ``[]`` none), ``due_before`` (a day or time; never an item without a due date). Raises `InvalidInput`
        for any other.
        """
        query = ItemQuery(where=where_of(filters or {}), limit=None if limit is None else whole("limit", limit),
                          offset=whole("offset", offset))  # fmt: skip
        return [item_from(item, self._place) for item in self._read(lambda reader: reader.search(query))]

    def add_event(self, event: BacklogEvent) -> BacklogEvent:
        """
        Add an event to an item; adding the same one (by its id) again changes nothing.

        Raises `NotFound` for an unknown item, `InvalidInput`, and `RequestReused` for another event of the same id.
        """
        ts = instant_of("ts", event.ts)
        kind, message = as_text(event.type) or "comment", as_text(event.message)
        given = self._own_event_id(event)
        body = Comment(id=event.item_id, message=message, type=kind, meta=event.meta or {}, ts=ts, event_id=given,
                       extra=given_times(ts=event.ts))  # fmt: skip
        backlog = self.backlog.acting_as(as_text(event.actor) or "system")
        command = backlog.command(body, request_id=f"event:{event.id}" if event.id else "")
        outcome = backlog.executor.execute(command).outcomes[0]
        own_id = given or event_id(outcome.id, outcome.revision)
        stored = Event(id=own_id, item_id=outcome.id, revision=outcome.revision, ts=ts or command.at, type=kind,
                       actor=backlog.actor.name, message=message, meta=event.meta or {}, extra=body.extra)  # fmt: skip
        return event_from(stored)

    def get_events(self, item_id: str, limit: int | None = 50) -> list[BacklogEvent]:
        """
        Return the newest *limit* events that callers added to an item, oldest first.

        In order of `ts`, then as they were added. The store's own trail is `backlog.trail(id)`.
        """
        count = None if limit is None else whole("limit", limit)

        def run(reader: Reader) -> list[Event]:
            item = find(reader, item_id)
            query = EventQuery(item_ids=() if item is None else (item.id,), added=True, limit=None)
            return list(reader.events(query))

        events = sorted(self._read(run), key=lambda event: event.ts)
        return [event_from(event) for event in (events if count is None else events[max(0, len(events) - count) :])]

    def cleanup(self, retention_days: int = 180) -> int:
        """
        Purge closed items, and their events, that nobody touched for so many days; return how many.

        What was decided about their keys stays. Raises `InvalidInput` for a negative number.
        """
        return self.backlog.cleanup(whole("retention_days", retention_days))

    def upsert(self, item: BacklogItem) -> dict[str, Any]:
        """
        Report an item: ``{"action": "created" | "updated", "item": …}``. Exactly one reporter creates a key.

        A known item keeps status and owner (and priority and due date once `update` has set them), takes title,
        description, evidence, meta (merged), priority, due date and the union of tags; a done one opens again, one that
        people decided against is answered as it is. An item without a key is always a new one.
        """
        fields = fields_of(item)
        draft = draft_of(fields, item.id)
        check_draft(draft)
        key = draft.key
        if key is None or not self._read(lambda reader: is_known(reader, key)):
            try:
                return {"action": "created", "item": self._stored(item, self._create(item, fields))}
            except AlreadyExists as error:
                if key is None or error.kind != "key":
                    raise
                # Another reporter was faster: this one is the second.
        return self._reported(item, self._one(report_of(draft)))

    def _reported(self, item: BacklogItem, outcome: Outcome) -> dict[str, Any]:
        if outcome.verdict == "refused":
            if outcome.code == AlreadyExists.code:
                raise AlreadyExists("id", item.id, held_by="another item")
            raise Conflict(outcome.why)
        action = "created" if outcome.verdict == "created" else "updated"
        if outcome.item is None:
            return {"action": action, "item": self._purged(item, outcome)}
        return {"action": action, "item": self._stored(item, outcome.item)}

    def dashboard(self, env: str = "prod") -> dict[str, Any]:
        """
        Count all items of an env (``""``: of all), and name those that are overdue.
        """
        scope: Where = In("env", (env,)) if env else ANY
        overdue = All((scope, live(), Compare("due_date", "<", day_of(self._clock()))))
        facets: tuple[Facet, ...] = ("status", "priority", "category", "service")

        def run(reader: Reader) -> dict[str, Any]:
            counts: dict[str, dict[str, int]] = {
                facet: {names[0]: n for names, n in reader.tally(scope, (facet,)).items()} for facet in facets
            }
            shown = reader.search(ItemQuery(where=overdue, limit=OVERDUE_SHOWN))
            count = reader.tally(overdue, ()).get((), 0)
            return summary(env, counts, [item_from(item, self._place) for item in shown], count)

        return self._read(run)

    # --- the steps of the above --------------------------------------------------------------------------------------

    def _own_event_id(self, event: BacklogEvent) -> str:
        """
        Return the id that an event is to have; empty for the one that the store gives it.
        """
        return event.id

    def _read(self, fn: Callable[[Reader], T]) -> T:
        return self.backlog.read(fn)

    def _one(self, body: Body, *, person: bool = False) -> Outcome:
        backlog = self.backlog.acting_as(self._actor, person=person)
        answer: Answer = backlog.execute(body)
        return answer.outcomes[0]

    def _create(self, item: BacklogItem, fields: Mapping[str, Any]) -> Item | None:
        draft = draft_of(fields, item.id)
        check_draft(draft)
        body = Create(
            draft=draft,
            status=fields["status"],
            created_at=instant_of("created_at", item.created_at),
            updated_at=instant_of("updated_at", item.updated_at),
            extra=given_times(created_at=item.created_at, updated_at=item.updated_at),
        )
        return self._one(body).item

    def _stored(self, mine: BacklogItem, item: Item | None) -> BacklogItem:
        assert item is not None, "an answer that is not replayed brings its item"
        stored = item_from(item, self._place)
        bring_up_to_date(mine, stored)
        return stored

    def _unchanged_since(self, item: BacklogItem) -> tuple[BacklogItem, str]:
        found = self._read(lambda reader: find(reader, item.id))
        if found is None:
            raise NotFound("item", item.id, hint="`create` adds an item, `update` changes one.")
        if instant_of("updated_at", item.updated_at) != found.updated_at:
            detail = f"the copy is of {item.updated_at}, the stored item of {found.updated_at}"
            raise RevisionConflict(found.id, expected=0, found=found.revision, detail=detail)
        return item_from(found, self._place), found.created_at

    def _purged(self, mine: BacklogItem, outcome: Outcome) -> BacklogItem:
        """
        Answer a report of a problem that was decided against and purged since: as the closed item that it was.
        """
        record_id = key_record_id((fields_of(mine)["env"], mine.dedupe_key))
        record = self._read(lambda reader: reader.records("key", [record_id]).get(record_id))
        state = KeyState() if record is None else from_builtins(record.body, KeyState)
        closed = BacklogItem.from_dict(mine.to_dict())
        closed.id = outcome.id
        closed.status = closed_status(state.verdict.reason if state.verdict else "wont_fix")
        bring_up_to_date(mine, closed)
        return closed
