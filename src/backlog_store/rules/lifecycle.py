"""
Moving, closing, reopening, snoozing: the life of one item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from backlog_store.codec import to_builtins
from backlog_store.commands import Close, Comment, Create, Move, Outcome, Reopen, Resolve, Snooze
from backlog_store.errors import AlreadyExists, NotAllowed, RevisionConflict, TransitionNotAllowed
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import (
    CLOSED,
    CLOSING_REASONS,
    LIMITS,
    LIVE,
    STATUSES,
    Event,
    Item,
    KeyState,
    Verdict,
    closed_status,
)
from backlog_store.rules.assigning import assigned
from backlog_store.rules.checks import Checker, draft_faults
from backlog_store.rules.dates import dated
from backlog_store.rules.lanes import seen_of
from backlog_store.rules.opening import new_item
from backlog_store.rules.policies import check_guards, kept_by_guard
from backlog_store.rules.returning import check_verdict, clear_verdict, is_barred, put_verdict, reopened
from backlog_store.rules.upsert import (
    identity,
    keep_given_id,
)
from backlog_store.rules.view import Context
from backlog_store.rules.voices import (
    claims_of,
    name_under,
    present,
    sighting_id,
    sighting_ids,
    still_reports,
    with_claim,
)
from backlog_store.rules.wip import check_room
from backlog_store.workflow import check_move, held_by, reason_of_move

__all__ = ["check_holder", "check_original", "check_revision", "close", "comment", "create", "move", "reopen",
           "resolve", "snooze", "with_status"]  # fmt: skip

_DAY_S = 86_400


def check_revision(item: Item, expected: int) -> None:
    """
    Refuse a stale revision; 0 means any. Raises `RevisionConflict`.
    """
    if expected and expected != item.revision:
        raise RevisionConflict(item.id, expected=expected, found=item.revision)


def check_holder(context: Context, item: Item, field: str) -> None:
    """
    Refuse a machine's hand on what a person holds. Raises `NotAllowed`.
    """
    holder = held_by(item, field, context.now)
    if context.actor.kind == "machine" and holder:
        raise NotAllowed(f"changing {field} of {item.id}", f"{holder} holds it", hint=f"A person may release {field}.")


def create(context: Context, body: Create) -> Outcome:
    """
    Add an item that is not there yet.
    """
    check = Checker("/draft")
    check.faults += draft_faults(body.draft, "/draft")
    check.prefix = ""
    check.one_of("status", body.status, STATUSES)
    check.instant("created_at", body.created_at)
    check.instant("updated_at", body.updated_at)
    check.further("extra", body.extra, Item)
    check.done("item")
    draft, key = body.draft, body.draft.key
    state = None
    if key is not None:
        holder, key, state = context.holder(key)
        if holder is not None:
            raise AlreadyExists("key", body.draft.dedupe_key, held_by=f"the item {holder.id} ({holder.title!r})")
    if state is not None and state.purged_at:
        if is_barred(context, draft, state):
            check_verdict(context, f"creating an item for {draft.dedupe_key!r}", state)
        id, generation = state.item_id, state.generation
        keep_given_id(context, draft, id)
    else:
        draft = draft if key is None else replace(draft, dedupe_key=key[1])
        id, generation = identity(context, draft, known=state is not None)
    seen_at = draft.observed_at or context.now
    item = new_item(context, draft, id=id, seen_at=seen_at, generation=generation)
    created_at = body.created_at or body.updated_at or context.now
    updated_at = max(body.updated_at or created_at, created_at)
    item = replace(
        item, status=body.status, created_at=created_at, updated_at=updated_at, extra=to_builtins(body.extra)
    )  # fmt: skip
    if state is not None and key is not None and state.purged_at:
        item = replace(
            item, dedupe_key=key[1], revision=state.last_revision + 1, head=state.head, episode=state.episode + 1
        )
    because: dict[str, Any] = {}
    if context.actor.kind == "person":
        # What a person files by hand is no claim of a machine, and is the person's to change.
        item = replace(item, claims={})
        if not item.owner:
            item, because = assigned(context.policy, item, context.now, only=("owner",))
    if body.status not in CLOSED and not body.created_at:  # an importer's item keeps what it had
        item, because = dated(context.policy, item, because, seen_at, named=draft.due_date)
    if body.status == "in_progress" and not body.created_at:
        check_room(context, item.owner, item)
    if body.status in CLOSED:
        item = replace(
            item, closed_at=updated_at, closed_reason=reason_of_move(body.status), closed_by=context.actor.name
        )
    item = context.put(None, item, "created", meta=because)
    if state is not None and key is not None:
        context.put_key_state(key, KeyState(item_id=item.id))
    return Outcome(verdict="created", id=item.id, revision=item.revision, item=item)


def with_status(context: Context, item: Item, to: str, message: str) -> Item:
    """
    Return *item* moved to another status along the workflow and past its guards, held by a person who moves it.
    """
    if to not in STATUSES:
        check = Checker()
        check.one_of("status", to, STATUSES)
        check.done("status")
    check_move(item, to, context.policy)
    check_holder(context, item, "status")
    check_guards(context, item, to, reason=reason_of_move(to), message=message)
    if to == "in_progress":
        check_room(context, item.owner, item)
    moved = replace(item, status=to, wake_at="", updated_at=max(context.now, item.updated_at))
    if to in CLOSED:
        moved = replace(moved, closed_at=context.now, closed_reason=reason_of_move(to), closed_by=context.actor.name)
    return held_by_actor(context, moved, "status")


def held_by_actor(context: Context, item: Item, *fields: str, until: Instant = "") -> Item:
    """
    Return *item* with these fields held by the actor, if that is a person; *until* an instant, or without an end.
    """
    if context.actor.kind != "person" or not fields:
        return item
    ends = item.held_until
    if until or ends:
        ends = {name: end for name, end in ends.items() if name not in fields}
        ends |= dict.fromkeys(fields, until) if until else {}
    return replace(item, held={**item.held, **dict.fromkeys(fields, context.actor.name)}, held_until=ends)


def remember_closing(context: Context, item: Item, note: str) -> None:
    """
    Keep the verdict of a closed item with its key, where it is more than "fixed".
    """
    if item.closed_reason == "fixed":
        return
    put_verdict(
        context,
        item,
        Verdict(reason=item.closed_reason, by=item.closed_by, at=item.closed_at, note=note, expires_at=item.expires_at),
    )


def move(context: Context, body: Move) -> Outcome:
    """
    Move one item along the workflow.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message)
    check.done("move")
    item = context.item(body.id)
    check_revision(item, body.revision)
    if body.to == item.status:
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, item=item)
    result = context.put(item, with_status(context, item, body.to, body.message), "status_change", message=body.message)
    if result.status in CLOSED:
        remember_closing(context, result, body.message)
    return Outcome(verdict="closed" if result.status in CLOSED else "updated", id=item.id, revision=result.revision,
                   item=result)  # fmt: skip


def close(context: Context, body: Close) -> Outcome:
    """
    Close one live item with a reason.
    """
    check = Checker()
    check.one_of("reason", body.reason, CLOSING_REASONS)
    check.text("message", body.message, LIMITS.message)
    check.text("approver", body.approver, LIMITS.name, required=body.reason == "accepted_risk")
    if body.reason == "accepted_risk":
        _check_expiry(context, check, body.expires_at)
    elif body.expires_at or body.approver:
        check.fault("reason", body.reason, "approver and expires_at belong to accepted_risk only")
    if (body.reason == "duplicate") != bool(body.duplicate_of):
        check.fault("duplicate_of", body.duplicate_of, "goes with the reason duplicate, and only with it")
    check.done("close")
    item = context.item(body.id)
    check_revision(item, body.revision)
    if item.status not in LIVE:
        raise TransitionNotAllowed(item.id, from_status=item.status, to_status=closed_status(body.reason), allowed=())
    check_holder(context, item, "status")
    check_guards(context, item, closed_status(body.reason), reason=body.reason, message=body.message,
                 approver=body.approver)  # fmt: skip
    duplicate_of = ""
    if body.duplicate_of:
        original = context.item(body.duplicate_of)
        duplicate_of = original.id
        if duplicate_of == item.id:
            check.fault("duplicate_of", body.duplicate_of, "an item is no duplicate of itself")
            check.done("close")
        for one in check_original(context, f"closing {item.id} as a duplicate of {original.id}", item, original):
            context.require(one)
    closed = replace(
        item,
        status=closed_status(body.reason),
        closed_at=context.now,
        closed_reason=body.reason,
        closed_by=context.actor.name,
        approver=body.approver,
        expires_at=body.expires_at,
        duplicate_of=duplicate_of,
        wake_at="",
        updated_at=max(context.now, item.updated_at),
    )
    result = context.put(item, held_by_actor(context, closed, "status"), "closed", message=body.message)
    remember_closing(context, result, body.message)
    return Outcome(verdict="closed", id=item.id, revision=result.revision, item=result)


def check_original(context: Context, action: str, item: Item, original: Item) -> Sequence[Item]:
    """
    Refuse an original that is itself a copy of *item*: no report would open either. Raises `NotAllowed`.

    Return the original and what that was closed as a copy of, on which this rests.
    """
    chain = [original]
    while (id := chain[-1].duplicate_of) and not chain[-1].verdict_lifted:
        if id == item.id:
            raise NotAllowed(action, f"{chain[-1].id} is itself closed as a duplicate of {id}",
                             hint="Reopen that one first, or leave this one open.")  # fmt: skip
        found = next(iter(context.wherever([id])), None)
        if found is None or found in chain:
            break
        chain.append(found)
    return chain


def _check_expiry(context: Context, check: Checker, expires_at: Instant) -> None:
    check.instant("expires_at", expires_at, required=True)
    if check.faults:
        return
    if expires_at <= context.now:
        check.fault("expires_at", expires_at, "an acceptance ends in the future")
    latest = add_seconds(context.now, context.policy.acceptance_days_max * _DAY_S)
    if expires_at > latest:
        check.fault("expires_at", expires_at, f"at most {context.policy.acceptance_days_max} days ahead ({latest})")


def reopen(context: Context, body: Reopen) -> Outcome:
    """
    Open a new episode of a closed item.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message, required=True)
    check.done("reopen")
    item = context.item(body.id)
    check_revision(item, body.revision)
    if item.status not in CLOSED:
        raise TransitionNotAllowed(
            item.id, from_status=item.status, to_status="open", allowed=context.policy.transitions.get(item.status, ())
        )
    check_holder(context, item, "status")
    check_guards(context, item, "open", message=body.message)
    # A person who reopens takes it over: what closed it before must not close it again on the same grounds.
    opened = held_by_actor(context, reopened(context, item), "status")
    because: dict[str, Any] = {}
    if context.policy.due is not None:  # the day of the episode that is over is none of this one
        opened, because = dated(context.policy, opened, because, context.now)
    result = context.put(item, opened, "reopened", message=body.message, meta=because)
    clear_verdict(context, result)
    return Outcome(verdict="reopened", id=item.id, revision=result.revision, item=result)


def snooze(context: Context, body: Snooze) -> Outcome:
    """
    Let a live item sleep until an instant, or wake it.
    """
    check = Checker()
    check.instant("until", body.until)
    check.text("message", body.message, LIMITS.message)
    if not check.faults and body.until and body.until <= context.now:
        check.fault("until", body.until, "lies in the past; give an instant ahead, or nothing to wake the item")
    check.done("snooze")
    item = context.item(body.id)
    check_revision(item, body.revision)
    if item.status not in LIVE:
        raise NotAllowed(f"snoozing {item.id}", f"it is {item.status}", hint="Only a live item can sleep.")
    check_holder(context, item, "status")
    if item.wake_at == body.until:
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, item=item)
    asleep = replace(item, wake_at=body.until, updated_at=max(context.now, item.updated_at))
    result = context.put(item, held_by_actor(context, asleep, "status") if body.until else asleep,
                         "snoozed" if body.until else "woken", message=body.message)  # fmt: skip
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)


def comment(context: Context, body: Comment) -> Outcome:
    """
    Add a caller's event. The item's fields and `updated_at` stay as they are.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message)
    check.text("type", body.type, LIMITS.name, required=True)
    check.document("meta", body.meta, longest=LIMITS.meta_bytes)
    check.instant("ts", body.ts)
    if body.event_id:
        check.id("event_id", body.event_id)
    check.further("extra", body.extra, Event)
    if body.type == "comment" and not body.message.strip() and not body.meta:
        check.fault("message", body.message, "a comment needs words")
    check.done("comment")
    item = context.item(body.id)
    check_revision(item, body.revision)
    result = context.put(item, item, body.type, message=body.message, meta=to_builtins(body.meta), added=True,
                         ts=body.ts, own_event_id=body.event_id, extra=to_builtins(body.extra))  # fmt: skip
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)


def resolve(context: Context, body: Resolve) -> tuple[Outcome, ...]:
    """
    Withdraw what a source claims under these keys, and close what nobody claims any more or holds.
    """
    check = Checker()
    check.env(body.env)
    check.text("source", body.source, LIMITS.name, required=True)
    check.text("proof", body.proof, LIMITS.message, required=True)
    check.instant("observed_at", body.observed_at)
    if len(body.dedupe_keys) > LIMITS.drafts_per_command:
        check.fault("dedupe_keys", len(body.dedupe_keys), f"at most {LIMITS.drafts_per_command} in one command")
    for index, key in enumerate(body.dedupe_keys):
        check.text(f"dedupe_keys/{index}", key, LIMITS.dedupe_key, required=True)
    check.done("resolve")
    context.load_keys([(body.env, key) for key in body.dedupe_keys])
    items = [item for key in body.dedupe_keys if (item := context.by_key((body.env, key))) is not None]
    context.load_records("sighting", [id for item in items for id in sighting_ids(item, body.source)])
    return tuple(_resolve_one(context, body, key) for key in body.dedupe_keys)


def _resolve_one(context: Context, body: Resolve, dedupe_key: str) -> Outcome:
    item = context.by_key((body.env, dedupe_key))
    if item is None:
        return Outcome(verdict="unchanged", why="no such item")
    under = name_under(context, item, (body.env, dedupe_key))
    claim = claims_of(item, under).get(body.source)
    if item.status not in LIVE or claim is None or not claim.live:
        why = f"already {item.status}" if item.status not in LIVE else f"{body.source} claims nothing here"
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, why=why, item=item)
    seen_at = body.observed_at or context.now
    seen = seen_of(claim, context.record("sighting", sighting_id(item, body.source, under)))
    if seen_at < seen.at:
        why = f"resolved at {seen_at}, but reported again at {seen.at}"
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, why=why, item=item)
    withdrawn = present(context, with_claim(item, under, body.source, replace(claim, live=False)))
    withdrawn = replace(withdrawn, updated_at=max(context.now, item.updated_at))
    if why := still_reports(withdrawn):
        pass
    elif item.source not in item.claims:
        why = f"{item.source} opened it"
    elif holder := held_by(item, "status", context.now):
        why = f"{holder} has taken it over"
    else:
        why = kept_by_guard(context, item, body.proof)
    if why:
        result = context.put(item, withdrawn, "resolved", message=body.proof, meta={"kept_open": why})
        return Outcome(verdict="updated", id=item.id, revision=result.revision, why=why, item=result)
    closed = replace(withdrawn, status="done", closed_at=context.now, closed_reason="fixed",
                     closed_by=context.actor.name, wake_at="")  # fmt: skip
    result = context.put(item, closed, "closed", message=body.proof, meta={"proof": "resolved"})
    return Outcome(verdict="closed", id=item.id, revision=result.revision, item=result)
