"""
What outlives items: verdicts of keys, retention, undoing a batch, saved views.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from backlog_store.backends.port import DropRecord
from backlog_store.commands import Cleanup, DropView, LiftVerdict, Outcome, SaveView, Undo
from backlog_store.errors import BacklogError, NotAllowed, NotFound, RevisionConflict
from backlog_store.ids import event_id, event_salt
from backlog_store.instants import add_seconds
from backlog_store.model import CLOSED, LIMITS, LIVE, Event, Item, KeyState, Verdict
from backlog_store.query import All, Compare, EventQuery, In, ItemQuery, Where
from backlog_store.rules.checks import Checker
from backlog_store.rules.lifecycle import remember_closing
from backlog_store.rules.links import part_all
from backlog_store.rules.upsert import clear_verdict
from backlog_store.rules.view import Context
from backlog_store.trail import plain_fields, sealed

__all__ = ["cleanup", "drop_view", "lift_verdict", "save_view", "undo"]

_DAY_S = 86_400


def lift_verdict(context: Context, body: LiftVerdict) -> Outcome:
    """
    Lift a key's verdict, of a closed item as of a purged one.
    """
    check = Checker()
    check.env(body.env)
    check.text("dedupe_key", body.dedupe_key, LIMITS.dedupe_key, required=True)
    check.text("message", body.message, LIMITS.message)
    check.done("lift")
    key = (body.env, body.dedupe_key)
    item = context.by_key(key)
    state = context.key_state(key)
    if item is not None:
        if item.status not in CLOSED or item.verdict_lifted:
            return Outcome(verdict="unchanged", id=item.id, revision=item.revision, item=item)
        lifted = replace(item, verdict_lifted=True, updated_at=max(context.now, item.updated_at))
        result = context.put(item, lifted, "verdict_lifted", message=body.message)
        clear_verdict(context, result)
        return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)
    if state is None or not state.purged_at:
        raise NotFound("key", f"{body.env}/{body.dedupe_key}")
    if state.verdict is None:
        return Outcome(verdict="unchanged", id=state.item_id, revision=state.last_revision)
    event = _key_event(context, state, "verdict_lifted", body.message)
    context.put_key_state(key, replace(state, verdict=None, last_revision=event.revision, head=event.hash), event=event)
    return Outcome(verdict="updated", id=state.item_id, revision=event.revision)


def _key_event(context: Context, state: KeyState, type: str, message: str) -> Event:
    revision = state.last_revision + 1
    event = Event(
        id=event_id(state.item_id, revision),
        item_id=state.item_id,
        revision=revision,
        ts=context.now,
        type=type,
        actor=context.actor.name,
        actor_kind=context.actor.kind,
        message=message,
        batch=context.batch,
        request=context.command.request_id,
        policy=context.policy.revision,
        salt=event_salt(context.command.seed, state.item_id, revision),
        prev=state.head,
    )
    return sealed(event)


def cleanup(context: Context, body: Cleanup) -> tuple[Outcome, ...]:
    """
    Purge closed items that nobody touched for so long, oldest first; of a keyed one the key's record stays.
    """
    check = Checker()
    if isinstance(body.retention_days, bool) or not 0 <= body.retention_days <= 36_500:
        check.fault("retention_days", body.retention_days, "0 to 36500 days")
    if not 1 <= body.limit <= LIMITS.drafts_per_command:
        check.fault("limit", body.limit, f"1 to {LIMITS.drafts_per_command}")
    check.done("cleanup")
    before = add_seconds(context.now, -body.retention_days * _DAY_S)
    parts: list[Where] = [In("status", tuple(sorted(CLOSED))), Compare("updated_at", "<", before)]
    if body.env:
        parts.append(In("env", (body.env,)))
    found = context.reader.search(ItemQuery(where=All(tuple(parts)), order="updated", limit=body.limit))
    context.load_records("key", [f"{item.env}/{item.dedupe_key}" for item in found if item.dedupe_key])
    linked = [item for item in found if item.links]
    if linked:
        context.load_ids([item.id for item in found])
        for item in linked:
            part_all(context, item)
        found = [context.item(item.id) for item in found]
    return tuple(_purge(context, item) for item in found)


def _purge(context: Context, item: Item) -> Outcome:
    body = {"purged_at": context.now, "env": item.env, "dedupe_key": item.dedupe_key}
    state = (context.key_state(item.key) if item.key is not None else None) or KeyState()
    state = replace(state, item_id=item.id, last_revision=item.revision, head=item.head)
    event = _key_event(context, state, "purged", "")
    context.purge(item)
    context.put_record("alias", item.id, body)
    if item.key is not None:
        verdict = None if item.verdict_lifted else Verdict(
            reason=item.closed_reason or "fixed", by=item.closed_by, at=item.closed_at or item.updated_at,
            note=state.verdict.note if state.verdict else "", expires_at=item.expires_at,
        )  # fmt: skip
        kept = replace(state, purged_at=context.now, verdict=verdict, last_revision=event.revision, head=event.hash,
                       episode=item.episode, generation=item.generation)  # fmt: skip
        context.put_key_state(item.key, kept, event=event)
    return Outcome(verdict="purged", id=item.id, revision=item.revision)


def undo(context: Context, body: Undo) -> tuple[Outcome, ...]:
    """
    Set back each item that a batch changed, newest event first, unless somebody changed it since.
    """
    events = context.reader.events(EventQuery(batch=body.batch, newest_first=True, limit=None))
    if not events:
        raise NotFound("batch", body.batch, hint="Only changes of items can be undone.")
    by_item: dict[str, list[Event]] = {}
    for event in events:
        by_item.setdefault(event.item_id, []).append(event)
    context.load_ids(list(by_item))
    outcomes = []
    for id, own in by_item.items():
        try:
            outcomes.append(_undo_item(context, sorted(own, key=lambda event: -event.revision)))
        except BacklogError as error:
            outcomes.append(Outcome(verdict="refused", id=id, code=error.code, why=str(error)))
    return tuple(outcomes)


def _undo_item(context: Context, newest_first: list[Event]) -> Outcome:
    newest = newest_first[0]
    item = context.find(newest.item_id)
    if item is None:
        raise NotAllowed(f"undoing {newest.type} of {newest.item_id}", "the item is purged")
    if item.revision != newest.revision and not _was_all_set_back(context, item, newest.revision):
        raise RevisionConflict(item.id, expected=newest.revision, found=item.revision)
    if any(event.type in ("linked", "unlinked", "purged") for event in newest_first):
        raise NotAllowed(f"undoing {newest.type} of {item.id}", "it is not a change of fields")
    if not any(event.changes for event in newest_first):
        raise NotAllowed(f"undoing {newest.type} of {item.id}", "what was said stays said")
    if newest_first[-1].type == "created":
        return _undo_creation(context, item, newest.batch)
    fields: dict[str, Any] = plain_fields(item)
    for event in newest_first:
        for name, (before, _) in event.changes.items():
            fields[name] = before
    fields.update(id=item.id, revision=item.revision, head=item.head, updated_at=max(context.now, item.updated_at))
    before = msgspec.convert(fields, Item)
    if before.key != item.key:
        raise NotAllowed(f"undoing {newest.type} of {item.id}", "its key was changed; edit it back")
    by_machine = any(event.actor_kind == "machine" for event in newest_first)
    if context.actor.kind == "person" and by_machine and item.status in CLOSED and before.status in LIVE:
        # As with reopening: what closed it must not close it again on the same grounds.
        before = replace(before, held={**before.held, "status": context.actor.name})
    result = context.put(item, before, "undone", meta={"batch": newest.batch})
    if result.status in CLOSED and item.status not in CLOSED:
        remember_closing(context, result, "")
    elif item.status in CLOSED and result.status not in CLOSED:
        clear_verdict(context, result)
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)


def _was_all_set_back(context: Context, item: Item, revision: int) -> bool:
    """
    Tell whether all that happened after *revision* was undone again, so that undoing can go on further back.
    """
    events = context.reader.events(EventQuery(item_ids=(item.id,), newest_first=True, limit=None))
    later = [event for event in events if event.revision > revision]
    undone = {event.meta.get("batch") for event in later if event.type == "undone"}
    if not all(event.type == "undone" or event.batch in undone for event in later):
        return False
    now = plain_fields(item)
    then = dict(now)
    for event in sorted(later, key=lambda event: -event.revision):
        then |= {name: before for name, (before, _) in event.changes.items()}
    return {**then, "updated_at": ""} == {**now, "updated_at": ""}


def _undo_creation(context: Context, item: Item, batch: str) -> Outcome:
    if item.status in CLOSED:
        raise NotAllowed(f"undoing the creation of {item.id}", f"it is {item.status} already")
    closed = replace(item, status="canceled", closed_at=context.now, closed_reason="obsolete", wake_at="",
                     closed_by=context.actor.name, updated_at=max(context.now, item.updated_at),
                     verdict_lifted=True)  # fmt: skip
    result = context.put(item, closed, "undone", message="created by mistake", meta={"batch": batch})
    return Outcome(verdict="closed", id=item.id, revision=result.revision, item=result)


def save_view(context: Context, body: SaveView) -> Outcome:
    """
    Keep a query under a name, over an older one of that name.
    """
    _check_view_name(body.name, body.query)
    context.put_record("view", body.name, {"query": body.query, "by": context.actor.name, "at": context.now})
    return Outcome(verdict="updated", id=body.name)


def drop_view(context: Context, body: DropView) -> Outcome:
    """
    Forget a saved view. Raises `NotFound`.
    """
    _check_view_name(body.name, "")
    record = context.record("view", body.name)
    if record is None:
        raise NotFound("view", body.name)
    context.changes.append(DropRecord("view", body.name, record.revision))
    return Outcome(verdict="purged", id=body.name)


def _check_view_name(name: str, query: str) -> None:
    check = Checker()
    check.id("name", name)
    check.text("query", query, LIMITS.message)
    check.done("view")
