"""
The upsert: what one report means for the one item of its key.

========================  =======================================================================================
the key is                 a report makes it
========================  =======================================================================================
unknown                    *created* (or *suppressed*, where the report may not open items)
held by a live item        *updated* where a field that the machine owns changes, else *unchanged* (a sighting)
closed as fixed            *reopened*, if seen after the close
an expired acceptance      *reopened*
a lifted verdict           *reopened*
closed otherwise           *suppressed* (a sighting): people decided
purged                     as the verdict that outlived the item says: *reopened* under its old id, or *suppressed*
========================  =======================================================================================

The section `reopen` of a policy may say otherwise of what is closed; see `rules.returning`.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from backlog_store.commands import Outcome, Report
from backlog_store.errors import AlreadyExists, BacklogError, Fault, InvalidInput
from backlog_store.ids import item_id_of_key, unkeyed_item_id
from backlog_store.instants import Instant
from backlog_store.model import CLOSED, Draft, Item, ItemId, Key, KeyState
from backlog_store.rules.assigning import assigned, held_back, load_held_back, without_ended_holds
from backlog_store.rules.checks import draft_faults, has_plain_key
from backlog_store.rules.dates import dated
from backlog_store.rules.fields import (
    MACHINE_FIELDS,
    draft_digest,
    merge_evidence,
    merge_meta,
    merge_tags,
    total_evidence,
)
from backlog_store.rules.lanes import seen_of
from backlog_store.rules.opening import Opening, new_item
from backlog_store.rules.repeating import repeated, says_the_same
from backlog_store.rules.returning import NEW_EPISODE, clear_verdict, reopened, return_of
from backlog_store.rules.runs import hold_return, note_reported, open_run
from backlog_store.rules.secondary import other_name, refreshed_under, report_secondary
from backlog_store.rules.view import Context
from backlog_store.rules.voices import every_claim, sighted_as, sighting_id, with_claim, with_report
from backlog_store.rules.waiting import (
    as_counted,
    has_bounds,
    held_draft,
    held_return,
    load_waiting,
    note_active,
    settle_storms,
)
from backlog_store.workflow import REOPENED_BY_REPORTS

__all__ = ["NOT_OPENING", "decide_report", "identity", "keep_given_id", "report_one"]


def decide_report(context: Context, body: Report) -> tuple[Outcome, ...]:
    """
    Decide every draft of a report. A faulty draft is refused with all its faults; the rest go on.
    """
    # What a draft says that says nothing new was checked when it was new. So where nothing but its key is asked about
    # it beforehand, a draft is checked once it turns out to say anything else. (Of a large report most never are.)
    policy = context.policy
    is_late = policy.suppression is None and policy.activation is None and not has_bounds(policy)
    checked: list[tuple[Draft, list[Fault] | None]] = []
    keys: list[Key] = []
    for draft in body.drafts:
        wrong = None if is_late and has_plain_key(draft) else draft_faults(draft, f"/drafts/{len(checked)}")
        checked.append((draft, wrong))
        if draft.dedupe_key and not wrong:
            keys.append((draft.env, draft.dedupe_key))
    may_repeat = context.load_keys(keys)
    context.run = open_run(context, body.run) if body.run else None
    load_held_back(context, [draft for draft, wrong in checked if not wrong])
    load_waiting(context, [draft for draft, wrong in checked if not wrong])
    opening = Opening(context, body)
    outcomes = []
    for number, (draft, wrong) in enumerate(checked):
        try:
            outcome = None
            if wrong is None and may_repeat:
                outcome = repeated(context, draft, body, is_checked=False)
            if outcome is None:
                faults = draft_faults(draft, f"/drafts/{number}") if wrong is None else wrong
                if faults:
                    raise InvalidInput(faults, what="draft")
                outcome = (opening.open(draft) or repeated(context, draft, body)
                           or report_one(context, draft, body))  # fmt: skip
            outcomes.append(outcome)
        except BacklogError as error:
            outcomes.append(_refused(error))
    settle_storms(context)
    if context.policy.activation is not None:
        note_active(context, [(draft, outcome) for (draft, _), outcome in zip(checked, outcomes, strict=True)])
    if context.run is not None:
        note_reported(context, context.run, body, [outcome.verdict == "refused" for outcome in outcomes])
    return tuple(outcomes)


def _refused(error: BacklogError) -> Outcome:
    return Outcome(verdict="refused", code=error.code, why=str(error))


def report_one(context: Context, draft: Draft, body: Report) -> Outcome:
    """
    Decide one sound draft.
    """
    seen_at = draft.observed_at or context.now
    if not draft.dedupe_key:
        return _unknown(context, draft, body, seen_at, None, None)
    item, key, state = context.holder((draft.env, draft.dedupe_key))
    if item is None:
        return _unknown(context, draft, body, seen_at, key, state)
    if item.status in CLOSED:
        return _closed(context, item, draft, body, seen_at)
    return report_secondary(context, item, draft, body, seen_at) or _refresh(context, item, draft, body, seen_at)


def _unknown(context: Context, draft: Draft, body: Report, seen_at: Instant, key: Key | None, state: KeyState | None,
             ) -> Outcome:  # fmt: skip
    if key is not None and state is not None and state.purged_at:
        known = state.verdict
        blocked = "" if known is None else return_of(
            context.policy, draft, known.reason, closed_at=known.at, expires_at=known.expires_at, now=context.now,
            seen_at=seen_at,
        ).why  # fmt: skip
        if blocked or not body.opens:
            return Outcome(verdict="suppressed", id=state.item_id, revision=state.last_revision,
                           why=blocked or NOT_OPENING)  # fmt: skip
        if why := held_back(context, draft, seen_at):
            return Outcome(verdict="suppressed", id=state.item_id, revision=state.last_revision, why=why)
        was_fixed = known is not None and known.reason == REOPENED_BY_REPORTS
        if was_fixed and (why := held_return(context, draft, seen_at)):
            return Outcome(verdict="held", id=state.item_id, revision=state.last_revision, why=why)
        if _is_held(context, draft):
            return hold_return(context, draft, body, seen_at, state.item_id, None)
        return _returned(context, draft, body, seen_at, key, state)
    if why := NOT_OPENING if not body.opens else held_back(context, draft, seen_at):
        return Outcome(verdict="suppressed", why=why)
    if has_bounds(context.policy) and (held := held_draft(context, draft, seen_at)) is not None:
        return held
    # Whichever of its names a problem is reported by that is not there: it is opened by the one that all lead to.
    named = draft if key in (None, draft.key) else replace(draft, dedupe_key=key[1])
    id, generation = identity(context, named, known=state is not None)
    fresh = new_item(context, draft, id=id, seen_at=seen_at, generation=generation,
                     tags=("baseline",) if body.baseline else (), run=body.run)  # fmt: skip
    fresh = replace(as_counted(context, fresh, draft.source), dedupe_key=named.dedupe_key)
    fresh, because = _settled(context, fresh, draft, body, seen_at)
    item = context.put(None, fresh, "created", meta=because)
    if state is not None and item.key is not None:
        context.put_key_state(item.key, KeyState(item_id=item.id))
    return Outcome(verdict="created", id=item.id, revision=item.revision, item=item)


def _is_held(context: Context, draft: Draft) -> bool:
    return context.run is not None and context.run.source == draft.source


def identity(context: Context, draft: Draft, *, known: bool) -> tuple[ItemId, int]:
    """
    Return the id and the generation of the item that a draft opens. Raises `AlreadyExists` for a given id.

    An id once given stays with its item, also when that one is purged or goes by another key. *known*: something is
    remembered about the key, so its id may be taken. (About most keys nothing is, and nothing needs to be read.)
    """
    if draft.id:
        holder = context.find(draft.id)
        if holder is not None:
            raise AlreadyExists("id", draft.id, held_by=f"the item {holder.id} ({holder.title!r})")
        if context.record("alias", draft.id) is not None:
            raise AlreadyExists("id", draft.id, held_by="an item that was purged")
        return draft.id, 0
    key = draft.key
    if key is None:
        return unkeyed_item_id(context.command.seed, context.draw()), 0
    generation = 0
    while known and _is_taken(context, item_id_of_key(key, generation)):
        generation += 1
    return item_id_of_key(key, generation), generation


def keep_given_id(context: Context, draft: Draft, id: ItemId) -> None:
    """
    Let the id that a draft brings find the item *id*, with which its key goes on. Raises `AlreadyExists`.
    """
    if draft.id and draft.id != id:
        identity(context, draft, known=True)
        context.put_record("alias", draft.id, {"item_id": id})


def _is_taken(context: Context, id: ItemId) -> bool:
    return context.find(id) is not None or context.record("alias", id) is not None


#: Why a report of another branch opens nothing; a pipeline asks for it.
NOT_OPENING = "this report may not open items (its ref is not the default branch)"


def _settled(context: Context, fresh: Item, draft: Draft, body: Report, seen_at: Instant,
             ) -> tuple[Item, dict[str, Any]]:  # fmt: skip
    """
    Return a new item with what the policy makes of it: its priority and owner; and when it is due.
    """
    fresh, because = assigned(context.policy, fresh, context.now)
    return dated(context.policy, fresh, because, seen_at, named=draft.due_date, body=body, priority=fresh.priority)


def _returned(context: Context, draft: Draft, body: Report, seen_at: Instant, key: Key, state: KeyState) -> Outcome:
    fresh = new_item(context, draft, id=state.item_id, seen_at=seen_at, revision=state.last_revision + 1,
                     generation=state.generation, run=body.run)  # fmt: skip
    fresh = as_counted(context, fresh, draft.source)
    fresh = replace(fresh, dedupe_key=key[1], head=state.head, episode=state.episode + 1)
    fresh, because = _settled(context, fresh, draft, body, seen_at)
    keep_given_id(context, draft, fresh.id)
    item = context.put(None, fresh, "created", message=f"returned; purged at {state.purged_at}", meta=because)
    context.put_key_state(key, KeyState(item_id=item.id))
    return Outcome(verdict="reopened", id=item.id, revision=item.revision, item=item,
                   why=f"known until it was purged at {state.purged_at}")  # fmt: skip


def _closed(context: Context, item: Item, draft: Draft, body: Report, seen_at: Instant) -> Outcome:
    back = NEW_EPISODE if item.verdict_lifted else return_of(
        context.policy, draft, item.closed_reason, closed_at=item.closed_at, expires_at=item.expires_at,
        now=context.now, seen_at=seen_at,
    )  # fmt: skip
    other = other_name(context, item, draft)
    counted_as = sighted_as(draft.source, other or "")
    why = back.why or (NOT_OPENING if not body.opens else held_back(context, draft, seen_at))
    seldom = "" if why or item.closed_reason != REOPENED_BY_REPORTS else held_return(context, draft, seen_at)
    if why or seldom:
        context.sight(item, counted_as, seen_at, body.run)
        return Outcome(verdict="suppressed" if why else "held", id=item.id, revision=item.revision, why=why or seldom,
                       item=item)  # fmt: skip
    if _is_held(context, draft):
        context.sight(item, counted_as, seen_at, body.run)
        return hold_return(context, draft, body, seen_at, item.id, item)
    before = without_ended_holds(item, context.now)
    opened = reopened(context, before, goes_on=back.goes_on)
    if not back.goes_on:
        opened = _without_old_claims(context, opened, item.closed_at, (draft.source, other or ""))
    claimed = with_report(context, opened, other or "", draft, seen_at, draft_digest(draft), body.run)
    if other is not None:
        opened = refreshed_under(before, claimed, draft, body)
    else:
        opened = refreshed(claimed, draft, body, refresh_due=not back.goes_on)
    opened, because = _assigned(context, opened, body)
    urgency = opened.priority if context.policy.priority else draft.priority
    if not back.goes_on:
        opened, because = dated(context.policy, opened, because, seen_at, named=draft.due_date, body=body,
                                priority=urgency)  # fmt: skip
    if back.said:
        because = because | {"reopen": back.said}
    result = context.put(item, opened, "reopened", message=f"reported again by {draft.source}", meta=because)
    clear_verdict(context, result)
    return Outcome(verdict="reopened", id=item.id, revision=result.revision, item=result,
                   why=f"was closed as {item.closed_reason}")  # fmt: skip


def _without_old_claims(context: Context, item: Item, closed_at: Instant, reporting: tuple[str, str]) -> Item:
    """
    Return *item* with what was claimed before it was closed withdrawn: that was of the episode before.

    A source that still sees it says so with its next report; of one that resolved it meanwhile nobody took notice. The
    source and the name that are *reporting* are about to say it anew.
    """
    claimed = [one for one in every_claim(item) if one[2].live and (one[1], one[0]) != reporting]
    context.load_records("sighting", [sighting_id(item, source, under) for under, source, _ in claimed])
    for under, source, claim in claimed:
        seen = seen_of(claim, context.record("sighting", sighting_id(item, source, under)))
        if seen.at < closed_at:
            item = with_claim(item, under, source, replace(claim, live=False))
    return item


def _refresh(context: Context, item: Item, draft: Draft, body: Report, seen_at: Instant) -> Outcome:
    known = item.claims.get(draft.source)
    new_evidence = body.refresh is not None and "evidence_refs" in body.refresh and bool(draft.evidence_refs)
    digest = draft_digest(draft)
    current = without_ended_holds(item, context.now)
    if current is item and says_the_same(item, draft, body, digest):
        after, because = assigned(context.policy, item, context.now)
        if after is item:
            return _sighted(context, item, draft, body, seen_at)
        # Nothing new is reported; the policy is another one since.
        context.sight(item, draft.source, seen_at, body.run)
        return _updated(context, item, after, because)
    claimed = with_report(context, current, "", draft, seen_at, digest, body.run)
    after, because = _assigned(context, refreshed(claimed, draft, body, refresh_due=False), body)
    if after == item:
        return _sighted(context, item, draft, body, seen_at)
    unseen = replace(after, claims=item.claims, evidence_refs=item.evidence_refs, evidence_totals=item.evidence_totals)
    evidence_counts = new_evidence and after.evidence_refs != item.evidence_refs
    if unseen == item and known is not None and known.live and not evidence_counts:
        return _sighted(context, item, draft, body, seen_at)
    return _updated(context, item, after, because)


def _assigned(context: Context, item: Item, body: Report) -> tuple[Item, dict[str, Any]]:
    """
    Return a refreshed item with what the policy makes of it; a report that names its fields leaves the others alone.
    """
    named = body.refresh is not None
    return assigned(context.policy, item, context.now, reported=item.priority if named else "", only=body.refresh)


def _updated(context: Context, item: Item, after: Item, because: dict[str, Any]) -> Outcome:
    after = replace(after, updated_at=max(context.now, item.updated_at))
    result = context.put(item, after, "auto_update", meta=because)
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)


def _sighted(context: Context, item: Item, draft: Draft, body: Report, seen_at: Instant) -> Outcome:
    context.sight(item, draft.source, seen_at, body.run)
    return Outcome(verdict="unchanged", id=item.id, revision=item.revision, priority=item.priority, item=item)


def refreshed(item: Item, draft: Draft, body: Report, *, refresh_due: bool) -> Item:
    """
    Return *item* with what the report may change.

    By default: the fields that the machine owns, if its source opened the item; priority as the highest live claim;
    evidence and tags merged. Fields named in `body.refresh` are taken from any source. An empty text is no opinion;
    `refresh_due` lets an empty due date clear a known one.
    """
    named = body.refresh is not None
    wanted = set(body.refresh if body.refresh is not None else MACHINE_FIELDS) - item.held.keys()
    changes: dict[str, Any] = {}
    if named or draft.source == item.source:
        for name in ("title", "description", "service", "category", "owner", "fix", "key_inputs"):
            value = getattr(draft, name)
            if name in wanted and value:
                changes[name] = value
        if "due_date" in wanted and (draft.due_date or refresh_due):
            changes["due_date"] = draft.due_date
        if "meta" in wanted and draft.meta:
            changes["meta"] = merge_meta(item.meta, draft.meta)
        if "tags" in wanted:
            changes["tags"] = merge_tags(item.tags, draft.tags)
    if "priority" in wanted:
        live = [claim.priority for _, _, claim in every_claim(item) if claim.live]
        changes["priority"] = draft.priority if named or not live else min(live)
    if "evidence_refs" not in item.held and draft.evidence_refs:
        changes["evidence_refs"] = merge_evidence(item.evidence_refs, draft.evidence_refs)
        changes["evidence_totals"] = total_evidence(item.evidence_totals, item.evidence_refs, draft.evidence_refs)
    return replace(item, **changes)
