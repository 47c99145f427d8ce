"""
Undoing a batch: each item is set back to what it was, and links that were made are parted again.

What only followed for other items (`following.is_consequence`) is not set back by itself: it follows again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from backlog_store.commands import Outcome, Undo
from backlog_store.errors import BacklogError, NotAllowed, NotFound, RevisionConflict
from backlog_store.instants import Instant
from backlog_store.model import ACCESS_TRAIL, CLOSED, LIVE, POLICY_TRAIL, Claim, Event, Item
from backlog_store.query import EventQuery
from backlog_store.rules.following import FOLLOWING, is_consequence
from backlog_store.rules.identity import is_of_identity, set_back_keys
from backlog_store.rules.lifecycle import check_holder, check_original, remember_closing
from backlog_store.rules.links import join, link_ids, part
from backlog_store.rules.names import check_key_free, rekey
from backlog_store.rules.returning import clear_verdict
from backlog_store.rules.view import Context
from backlog_store.rules.voices import every_claim, with_claim
from backlog_store.rules.wip import check_room_after
from backlog_store.trail import is_baseline, plain_fields

__all__ = ["undo"]


def undo(context: Context, body: Undo) -> tuple[Outcome, ...]:
    """
    Set back each item that a batch changed, newest event first, unless somebody changed it since.
    """
    query = EventQuery(batch=body.batch, newest_first=True, after=body.after, limit=body.limit)
    events = context.reader.events(query)
    if not events and not body.after:
        raise NotFound("batch", body.batch, hint="Only changes of items can be undone.")
    if events and not body.after and all(map(is_baseline, events)):
        raise NotAllowed("undoing a cleanup", "a baseline changed nothing, and what was forgotten does not come back")
    if body.limit is not None and events:
        context.next = events[-1].position if len(events) == body.limit else ""
        ids = tuple(dict.fromkeys(event.item_id for event in events))
        # Each item whole, though some of its events would come in a later step; there it is left out.
        events = context.reader.events(replace(query, item_ids=ids, after="", limit=None))
    done = {event.item_id for event in events if body.after and event.position >= body.after}
    by_item: dict[str, list[Event]] = {}
    for event in events:
        if event.item_id not in done and not _is_nothing_own(event):
            by_item.setdefault(event.item_id, []).append(event)
    context.load_ids(list(by_item))
    outcomes = []
    for id, own in by_item.items():
        try:
            outcomes.append(_undo_item(context, sorted(own, key=lambda event: -event.revision)))
        except BacklogError as error:
            outcomes.append(Outcome(verdict="refused", id=id, code=error.code, why=str(error)))
    return tuple(outcomes)


def _is_other_end(event: Event) -> bool:
    # A link is parted from the end that it was made from.
    return _is_of_link(event) and event.meta["link"]["kind"].startswith("~")


def _is_of_link(event: Event) -> bool:
    return event.type in ("linked", "unlinked") and not event.added


#: By trail that belongs to no item: what is not undone, why not, and what to do.
_NOT_UNDONE: Mapping[str, tuple[str, str, str]] = {
    POLICY_TRAIL: ("a policy", "it is replaced by another one, not undone",
                   "`backlog policy show --revision N` prints an older one, to be applied."),
    ACCESS_TRAIL: ("what was decided about tokens and people", "it is decided anew, not undone",
                   "`backlog token --help` and `backlog person --help` say how."),
}  # fmt: skip


def _changed_item(context: Context, newest: Event) -> Item:
    if newest.item_id in _NOT_UNDONE:
        what, why, hint = _NOT_UNDONE[newest.item_id]
        raise NotAllowed(f"undoing {what}", why, hint=hint)
    item = context.find(newest.item_id)
    if item is None:
        raise NotAllowed(f"undoing {newest.type} of {newest.item_id}", "the item is purged")
    return item


def _undo_item(context: Context, newest_first: list[Event]) -> Outcome:
    newest = newest_first[0]
    item = _changed_item(context, newest)
    if item.revision != newest.revision:
        later = _later(context, item, newest.revision)
        if later and _is_undoing(later[0]) and later[0].meta.get("batch") == newest.batch:
            return Outcome(
                verdict="unchanged", id=item.id, revision=item.revision, item=item, why="was set back before"
            )
        if not _was_all_set_back(item, later):
            raise RevisionConflict(item.id, expected=newest.revision, found=item.revision)
    if any(event.type == "purged" for event in newest_first):
        raise NotAllowed(f"undoing {newest.type} of {item.id}", "it is not a change of fields")
    links = [event for event in newest_first if _is_of_link(event)]
    fields = [event for event in newest_first if not event.changes.keys() <= _NOT_SET_BACK]
    keys = [event for event in newest_first if is_of_identity(event)]
    if not links and not fields and not keys:
        what = "a claim is released, not undone" if newest.type == "claimed" else "what was said stays said"
        raise NotAllowed(f"undoing {newest.type} of {item.id}", what)
    for name in dict.fromkeys(name for event in fields for name in event.changes):
        check_holder(context, item, name)
    if newest_first[-1].type == "created":
        return _undo_creation(context, item, newest.batch)
    before = _set_back(context, item, fields)
    is_renamed = before.key != item.key and not keys
    if is_renamed:
        check_key_free(context, before)
    check_room_after(context, item, before)
    _check_circle(context, item, before)
    item = _part_again(context, item, keys, links)
    if not fields and keys:
        item = context.put(item, item, "undone", meta={"batch": newest.batch})
    if not fields:
        return Outcome(verdict="updated", id=item.id, revision=item.revision, item=item)
    before = _set_back(context, item, fields)
    by_machine = any(event.actor_kind == "machine" for event in newest_first)
    if context.actor.kind == "person" and by_machine and item.status in CLOSED and before.status in LIVE:
        # As with reopening: what closed it must not close it again on the same grounds.
        before = replace(before, held={**before.held, "status": context.actor.name})
    result = context.put(item, before, "undone", meta={"batch": newest.batch})
    if is_renamed:
        rekey(context, item, result)  # the key that is taken back stays another name: reports may know it by now
    if result.status in CLOSED and item.status not in CLOSED:
        remember_closing(context, result, "")
    elif item.status in CLOSED and result.status not in CLOSED:
        clear_verdict(context, result)
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)


def _check_circle(context: Context, item: Item, before: Item) -> None:
    """
    Refuse to make an item a copy again of what was closed as a copy of it since. Raises `NotAllowed`.
    """
    is_copy = before.duplicate_of and not before.verdict_lifted
    if is_copy and (item.duplicate_of, item.verdict_lifted) != (before.duplicate_of, before.verdict_lifted):
        action = f"setting {item.id} back to a duplicate of {before.duplicate_of}"
        for original in context.wherever([before.duplicate_of]):
            for one in check_original(context, action, item, original):
                context.require(one)


def _part_again(context: Context, item: Item, keys: Sequence[Event], links: Sequence[Event]) -> Item:
    for event in keys:
        set_back_keys(context, item, event)
    for event in links:
        item = _undo_link(context, item, event)
    return item


#: What a change may name that is none of the item's own fields, or cannot be unsaid. Which steps fired goes with the
#: episode instead (`_fired`).
_NOT_SET_BACK = FOLLOWING | {"updated_at", "escalated"}


def _set_back(context: Context, item: Item, newest_first: Sequence[Event]) -> Item:
    fields: dict[str, Any] = plain_fields(item)
    for event in newest_first:
        fields |= {name: before for name, (before, _) in event.changes.items() if name not in _NOT_SET_BACK}
    fields.update(id=item.id, revision=item.revision, head=item.head, updated_at=max(context.now, item.updated_at),
                  escalated=_fired(item, newest_first))  # fmt: skip
    before = msgspec.convert(fields, Item)
    for under, source, claim in every_claim(before):
        before = with_claim(before, under, source, _still_seen(claim, _claimed_now(item, under, source)))
    return before


def _fired(item: Item, newest_first: Sequence[Event]) -> dict[str, Instant]:
    """
    Return the steps that fired in the episode that an item is set back to: its own, or those of an older one.
    """
    turns = [event for event in newest_first if "episode" in event.changes]
    if not turns:
        return item.escalated
    if "escalated" in turns[-1].changes:
        return dict(turns[-1].changes["escalated"][0] or {})
    # The same steps on both sides of the turn, so those of the item that are as old as that.
    return {step: at for step, at in item.escalated.items() if at < turns[-1].ts}


def _claimed_now(item: Item, under: str, source: str) -> Claim | None:
    return (item.claims if not under else item.claims_under.get(under, {})).get(source)


def _still_seen(claim: Claim, now: Claim | None) -> Claim:
    """
    Return a claim of before, which was made when it was made: that a source saw the item is not undone.
    """
    return claim if now is None else replace(claim, last_at=max(claim.last_at, now.last_at), run=now.run or claim.run)


def _undo_link(context: Context, item: Item, event: Event) -> Item:
    kind, other_id = event.meta["link"]["kind"], event.meta["link"]["other"]
    other = context.find(other_id)
    if other is None:
        raise NotAllowed(f"undoing {event.type} of {item.id}", f"{other_id} is purged")
    is_there = context.record("link", link_ids(item.id, kind, other_id)[0]) is not None
    if is_there == (event.type == "linked"):
        return (part if is_there else join)(context, item, kind, other, {"batch": event.batch})
    raise NotAllowed(f"undoing {event.type} of {item.id}", f"its link with {other_id} was changed since")


def _later(context: Context, item: Item, revision: int) -> list[Event]:
    """
    Return what changed an item after *revision*, newest first.
    """
    events = context.reader.events(EventQuery(item_ids=(item.id,), newest_first=True, limit=None))
    later = [event for event in events if event.revision > revision and not _is_nothing_own(event)
             and (event.type != "escalated" or event.added)]  # fmt: skip
    return sorted(later, key=lambda event: -event.revision)


def _was_all_set_back(item: Item, later: Sequence[Event]) -> bool:
    """
    Tell whether all that happened later, newest first, was undone again, so that undoing can go on further back.
    """
    undone: Collection[Any] = {event.meta.get("batch") for event in later if _is_undoing(event)}
    if not all(_is_undoing(event) or event.batch in undone for event in later):
        return False
    now = plain_fields(item)
    then = dict(now)
    for event in later:
        then |= {name: before for name, (before, _) in event.changes.items() if name not in _NOT_SET_BACK}
    return _comparable(then) == _comparable(now)


def _comparable(fields: dict[str, Any]) -> dict[str, Any]:
    claims = [fields["claims"] or {}, *(fields["claims_under"] or {}).values()]
    said = [{source: {name: value for name, value in claim.items() if name not in ("last_at", "run")}
             for source, claim in own.items()} for own in claims]  # fmt: skip
    return {**fields, "claims": said, "claims_under": list(fields["claims_under"] or {}), "updated_at": ""}


def _is_nothing_own(event: Event) -> bool:
    return is_consequence(event) or _is_other_end(event) or is_baseline(event)


def _is_undoing(event: Event) -> bool:
    return event.type == "undone" or (_is_of_link(event) and "batch" in event.meta)


def _undo_creation(context: Context, item: Item, batch: str) -> Outcome:
    if item.status in CLOSED:
        raise NotAllowed(f"undoing the creation of {item.id}", f"it is {item.status} already")
    closed = replace(item, status="canceled", closed_at=context.now, closed_reason="obsolete", wake_at="",
                     closed_by=context.actor.name, updated_at=max(context.now, item.updated_at),
                     verdict_lifted=True)  # fmt: skip
    result = context.put(item, closed, "undone", message="created by mistake", meta={"batch": batch})
    return Outcome(verdict="closed", id=item.id, revision=result.revision, item=result)
