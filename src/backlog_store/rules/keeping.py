"""
What outlives items: verdicts of keys, retention, saved views.
"""

from __future__ import annotations

from msgspec.structs import replace

from backlog_store.backends.port import DropRecord
from backlog_store.commands import Cleanup, DropView, LiftVerdict, Outcome, SaveView
from backlog_store.errors import NotFound
from backlog_store.ids import event_id
from backlog_store.instants import add_seconds
from backlog_store.model import CLOSED, LIMITS, Event, Item, KeyState, Verdict
from backlog_store.query import All, Compare, In, ItemQuery, Where
from backlog_store.rules.checks import Checker
from backlog_store.rules.links import part_all
from backlog_store.rules.upsert import clear_verdict
from backlog_store.rules.view import Context
from backlog_store.trail import sealed

__all__ = ["cleanup", "drop_view", "lift_verdict", "save_view"]

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
        salt=context.salts.next(),
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
