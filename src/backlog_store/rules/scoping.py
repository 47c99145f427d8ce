"""
Deciding and reading within a scope: what lies outside does not exist.

A command of a bound credential is decided by the same rules on a view that lacks what it does not reach, so an item of
others is "not found" whatever is asked of it. What the decision would write is held against the scope, too: nobody
moves an item out of their sight, or a draft into it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec.structs import replace

from backlog_store.access import Action, Scope, permits
from backlog_store.backends.port import Load, Put, Reader
from backlog_store.codec import from_builtins
from backlog_store.commands import (
    AbortRun,
    Access,
    ApplyPolicy,
    BeginRun,
    Body,
    Cleanup,
    CompleteRun,
    DropExpired,
    JudgeRun,
    KeepPlan,
    MarkSeen,
    Outcome,
    Report,
    Reporting,
    Resolve,
    RunScope,
    ShortenHistory,
    Webhooks,
)
from backlog_store.errors import NotAllowed, NotFound
from backlog_store.model import Draft, Event, Item, ItemId, Key, Record, RecordKind
from backlog_store.query import All, EventQuery, Facet, ItemQuery, Where
from backlog_store.rules.following import is_consequence
from backlog_store.rules.lanes import lane_of
from backlog_store.rules.view import Context

__all__ = ["OF_ADMINS", "ScopedReader", "action_of", "check_scope", "outcomes_within", "visible"]

#: Records that belong to an item, whose id their own begins with.
_OF_ITEMS = frozenset({"link", "sighting", "lease"})
#: Records that are all seen by whoever sees every item: of runs, of what parked ones would do, of what is planned.
_OF_WHOLE = frozenset({"run", "proposal", "plan"})
#: Records that are seen by admins of everything: of who may sign in or is told, and of what was told.
OF_ADMINS = frozenset({"access", "delivery"})
#: Records that anybody may read who may read at all.
_OPEN = frozenset({"view", "policy"})


def action_of(body: Body) -> Action:
    """
    Return what a role must include to ask this.
    """
    if isinstance(body, MarkSeen):
        return "read"  # it is one's own mark
    if isinstance(body, Reporting | KeepPlan):
        return "report"
    return (
        "administer"
        if isinstance(body, ApplyPolicy | Access | Webhooks | Cleanup | ShortenHistory | DropExpired)
        else "work"
    )


def check_scope(scope: Scope, body: Body) -> None:
    """
    Refuse what the role does not include, or a source that the credential does not speak for. Raises `NotAllowed`.
    """
    action = action_of(body)
    if not permits(scope.role, action):
        raise NotAllowed(f"the command {body.__struct_config__.tag}", f"a {scope.role} may not {action}")
    if isinstance(body, ApplyPolicy) and not scope.is_whole:
        raise NotAllowed("applying a policy", "this credential reaches a part of the backlog, and a policy all of it")
    if isinstance(body, Access | Webhooks) and not scope.is_unbound:
        raise NotAllowed("saying who may sign in or is told", "this credential reaches a part, and could give more")
    if isinstance(body, Resolve | BeginRun | CompleteRun | AbortRun):
        _check_source(scope, body.source)
    if isinstance(body, BeginRun):
        for service in body.scope.services:
            if not scope.covers(body.scope.env, service):
                raise NotAllowed(f"a run over {body.scope.env}/{service}", "this is outside of the credential's scope")
    if isinstance(body, Resolve) and scope.envs is not None and body.env not in scope.envs:
        raise NotAllowed(f"resolving in {body.env}", "this env is outside of the credential's scope")


def _check_source(scope: Scope, source: str) -> None:
    if scope.sources is not None and source not in scope.sources:
        spoken = ", ".join(scope.sources) or "no source"
        raise NotAllowed(f"reporting as {source!r}", f"this credential speaks for {spoken}")


def outcomes_within(
    scope: Scope, context: Context, body: Body, decide: Callable[[Context, Body], tuple[Outcome, ...]]
) -> tuple[Outcome, ...]:
    """
    Decide *body* as far as *scope* reaches, with *decide*. Raises what that raises, and `NotAllowed`.

    Drafts of a report that lie outside are refused one by one, with the reason; the others go on.
    """
    check_scope(scope, body)
    _check_run(scope, context, body)
    whole, context.reader = context.reader, ScopedReader(context.reader, scope, rules=True)
    if not isinstance(body, Report):
        outcomes = decide(context, body)
        _check_written(scope, context.changes)
        return outcomes
    refusals = _refusals(scope, whole, body.drafts)
    if not refusals:
        return decide(context, body)
    sound = tuple(draft for index, draft in enumerate(body.drafts) if index not in refusals)
    rest = iter(decide(context, replace(body, drafts=sound)))
    return tuple(refusals[index] if index in refusals else next(rest) for index in range(len(body.drafts)))


def _check_written(scope: Scope, changes: Sequence[object]) -> None:
    for change in changes:
        if isinstance(change, Put) and is_consequence(change.event):
            continue
        if isinstance(change, Put | Load) and not scope.covers_item(change.item):
            place = f"{change.item.env}/{change.item.service or '(no service)'}"
            raise NotAllowed(f"writing {change.item.id}", f"{place} is outside of the credential's scope")


def _check_run(scope: Scope, context: Context, body: Body) -> None:
    """
    Refuse a run that lies outside, even in part: by it items would be closed that are not seen from here.
    """
    id = body.run if isinstance(body, Report | CompleteRun | AbortRun | JudgeRun) else ""
    record = context.record("run", id) if id and lane_of(id) and not scope.is_whole else None
    if record is not None and not _covers_run(scope, record):
        raise NotFound("run", id)


def _covers_run(scope: Scope, record: Record) -> bool:
    told = record.body.get("scope")
    if told is None:  # what was reported in a run, which is told with it
        return False
    looked_at = from_builtins(told, RunScope)
    return all(scope.covers(looked_at.env, service) for service in looked_at.services)


def _refusals(scope: Scope, reader: Reader, drafts: Sequence[Draft]) -> dict[int, Outcome]:
    """
    Return an outcome for each draft that the credential may not report: of another source, or about what is not its.
    """
    refused: dict[int, Outcome] = {}
    keys: dict[Key, list[int]] = {}
    for index, draft in enumerate(drafts):
        if scope.sources is not None and draft.source not in scope.sources:
            spoken = ", ".join(scope.sources) or "no source"
            refused[index] = _refusal(f"reporting as {draft.source!r}", f"this credential speaks for {spoken}")
        elif not scope.covers(draft.env, draft.service):
            place = f"{draft.env}/{draft.service or '(no service)'}"
            refused[index] = _refusal(f"reporting about {place}", "this is outside of the credential's scope")
        elif draft.key is not None:
            keys.setdefault(draft.key, []).append(index)
    if keys and not scope.is_whole:
        for key, item in reader.items_by_key(list(keys)).items():
            if not scope.covers_item(item):
                for index in keys[key]:
                    refused[index] = _refusal("reporting this key", "it is outside of the credential's scope")
    return refused


def _refusal(action: str, reason: str) -> Outcome:
    error = NotAllowed(action, reason)
    return Outcome(verdict="refused", code=error.code, why=str(error))


class ScopedReader:
    """
    A `port.Reader` that shows what *scope* reaches.

    For *rules* records pass as they are: what people may see of them is not what a rule may rest on.
    """

    def __init__(self, reader: Reader, scope: Scope, *, rules: bool = False) -> None:
        self._reader = reader
        self._scope = scope
        self._rules = rules
        self._where = scope.where()

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:
        """
        Return the items of these ids that lie within.
        """
        covers = self._scope.covers_item
        return {id: item for id, item in self._reader.items(ids).items() if covers(item)}

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:
        """
        Return the items of these keys that lie within.
        """
        covers = self._scope.covers_item
        return {key: item for key, item in self._reader.items_by_key(keys).items() if covers(item)}

    def search(self, query: ItemQuery) -> Sequence[Item]:
        """
        Return a page of the items within.
        """
        return self._reader.search(replace(query, where=self._within(query.where)))

    def tally(self, where: Where, by: Sequence[Facet]) -> Mapping[tuple[str, ...], int]:
        """
        Count the items within.
        """
        return self._reader.tally(self._within(where), by)

    def _within(self, where: Where) -> Where:
        return where if self._scope.is_whole else All((*_parts(self._where), *_parts(where)))

    def events(self, query: EventQuery) -> Sequence[Event]:
        """
        Return events of the items within; those of purged ones only to who sees everything.
        """
        if self._scope.is_whole:
            return self._reader.events(query)
        found: list[Event] = []
        while True:
            page = self._reader.events(query)
            known = self.items({event.item_id for event in page})
            found += [event for event in page if event.item_id in known]
            if query.limit is None or len(page) < query.limit or len(found) >= query.limit:
                return found[: query.limit]
            query = replace(query, after=page[-1].position)

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:
        """
        Return the records of this kind and these ids that may be seen.
        """
        found = self._reader.records(kind, ids)
        return found if self._rules else {record.id: record for record in self._visible(list(found.values()))}

    def scan(self, kind: RecordKind, prefix: str, after: str, limit: int) -> Sequence[Record]:
        """
        Return up to *limit* records behind *after* that may be seen.
        """
        if self._rules:
            return self._reader.scan(kind, prefix, after, limit)
        found: list[Record] = []
        while len(found) < limit:
            page = self._reader.scan(kind, prefix, after, limit)
            found += self._visible(page)
            if len(page) < limit:
                break
            after = page[-1].id
        return found[:limit]

    def _visible(self, records: Sequence[Record]) -> Sequence[Record]:
        if not records:
            return records
        kind = records[0].kind
        if kind in _OPEN or (kind in _OF_WHOLE and self._scope.is_whole):
            return records
        if kind == "run":
            return [record for record in records if _covers_run(self._scope, record)]
        if kind == "plan":
            return [record for record in records if record.body.get("reach") == self._scope.reach]
        if kind == "proposal":
            runs = {"/".join(record.id.split("/")[:2]) for record in records}
            begun = self.records("run", runs)
            return [record for record in records if "/".join(record.id.split("/")[:2]) in begun]
        if kind in OF_ADMINS:
            if not self._scope.is_admin:
                return []
            from backlog_store.rules.admitted import without_secrets  # few look at these

            return [without_secrets(record) for record in records] if kind == "access" else records
        if kind in _OF_ITEMS:
            known = self.items({record.id.partition("/")[0] for record in records})
            return [record for record in records if record.id.partition("/")[0] in known]
        if kind == "alias":
            known = self.items({str(record.body.get("item_id", "")) for record in records})
            return [record for record in records if record.body.get("item_id") in known or self._scope.is_whole]
        if kind == "key":
            # What is remembered of a key names no service: bound to services, one sees it through the item.
            known = self.items({str(record.body.get("item_id", "")) for record in records})
            return [
                record
                for record in records
                if record.body.get("item_id") in known
                or (self._scope.services is None and self._scope.covers(record.id.partition("/")[0], ""))
            ]
        return []


def _parts(where: Where) -> tuple[Where, ...]:
    # Flat, as the reading side knows the conditions that are counted and indexed.
    return where.parts if isinstance(where, All) else (where,)


def visible(reader: Reader, scope: Scope | None) -> Reader:
    """
    Return *reader* as a credential sees it; the library itself (``None``) sees all.
    """
    return reader if scope is None else ScopedReader(reader, scope)
