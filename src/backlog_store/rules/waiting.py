"""
Problems that are reported and not open yet: seen too seldom, or beyond what their source may open.

Each is kept as a ``proposal`` ``waiting/<digest of its key>``: when it was seen, and whether it is held in a storm. A
flood of a source becomes one item, the *storm*, which counts and lists what it holds; ``guard`` ``budget/<storm>``
counts what was opened, by the hour; what returns spends nothing. Once there is room again, the next report of a held
problem opens it, with all that was counted before, and a storm that holds nothing more is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.codec import digest, encode, from_builtins, to_builtins
from backlog_store.commands import Outcome
from backlog_store.ids import item_id_of_key
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import CLOSED, Draft, Item, ItemId, Key, KeyState
from backlog_store.policy import Policy
from backlog_store.rules.fields import merge_evidence, total_evidence
from backlog_store.rules.returning import reopened
from backlog_store.rules.view import Context

if TYPE_CHECKING:
    from backlog_store.policy.opening import Budget

__all__ = [
    "Active", "active_id", "as_counted", "has_bounds", "held_draft", "held_return", "load_waiting", "note_active",
    "settle_storms",
]  # fmt: skip

_HOUR_S = 3_600
_SEEN_KEPT = 100  # as many as `policy.opening.SIGHTINGS_MAX`
_KEPT_DAYS = 90
_ACTIVE_DAYS = 400  # longer than any window of a lower threshold


class Waiting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What is remembered of a problem that is not open: how often it was seen, since when, and the newest instants.
    """

    n: int
    first_at: Instant
    seen: tuple[Instant, ...]
    storm: str = ""


class Active(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The reports of a live item that has a lower threshold: the newest instants, all of them counted *since* then.

    Whether none was missed is only known as long as the same *policy* is in force.
    """

    since: Instant
    seen: tuple[Instant, ...]
    policy: int


def has_bounds(policy: Policy) -> bool:
    """
    Tell whether a policy holds problems back at all.
    """
    return policy.activation is not None or policy.budgets is not None


def _id(draft: Draft) -> str:
    return f"waiting/{digest(encode((draft.env, draft.dedupe_key)))}"


def load_waiting(context: Context, drafts: Sequence[Draft]) -> None:
    """
    Read in one go what is remembered of these problems.
    """
    if has_bounds(context.policy):
        context.load_records("proposal", [_id(draft) for draft in drafts if draft.dedupe_key])


def held_draft(context: Context, draft: Draft, seen_at: Instant) -> Outcome | None:
    """
    Hold a problem that would open an item, if the policy says so; else remember that it is opened.
    """
    waiting = _seen_again(context, draft, seen_at)
    why = _too_seldom(context, draft, waiting, seen_at)
    if not why:
        storm, why = _beyond_budget(context, draft)
        if why and storm:
            waiting = _into_storm(context, draft, waiting, storm)
    _keep(context, draft, waiting, why)
    return Outcome(verdict="held", id=waiting.storm, why=why) if why else None


def held_return(context: Context, draft: Draft, seen_at: Instant) -> str:
    """
    Return why a fixed problem does not return yet: with a lower threshold it does so as often as it is opened.

    One that reached the threshold before, and waited for the end of a run since, is not asked again.
    """
    found = context.policy.activation.rule(draft) if context.policy.activation is not None else None
    if found is None or found[1].close_below is None or context.is_counted or draft.key in context.counted:
        return ""
    waiting = _seen_again(context, draft, seen_at)
    why = _too_seldom(context, draft, waiting, seen_at)
    _keep(context, draft, waiting, why)
    return why


def _seen_again(context: Context, draft: Draft, seen_at: Instant) -> Waiting:
    record = context.record("proposal", _id(draft)) if draft.dedupe_key else None
    if record is None:
        return Waiting(n=1, first_at=seen_at, seen=(seen_at,))
    before = from_builtins(record.body, Waiting)
    seen = tuple(sorted((*before.seen, seen_at))[-_SEEN_KEPT:])
    return replace(before, n=before.n + 1, first_at=min(before.first_at, seen_at), seen=seen)


def _keep(context: Context, draft: Draft, waiting: Waiting, why: str) -> None:
    """
    Remember a problem that waits, for the reason *why*; without one let it go, with all that was counted of it.
    """
    if not draft.dedupe_key:
        return
    if why:
        context.put_record("proposal", _id(draft), to_builtins(waiting),
                           expires_at=add_seconds(context.now, _KEPT_DAYS * 24 * _HOUR_S))  # fmt: skip
    elif context.record("proposal", _id(draft)) is not None:
        context.counted[draft.env, draft.dedupe_key] = (waiting.n, waiting.first_at)
        context.drop_record("proposal", _id(draft))
        if waiting.storm:
            context.storms.setdefault(waiting.storm, []).append((draft, -1))


def active_id(id: ItemId) -> str:
    """
    Return the id of the record that counts the reports of a live item.
    """
    return f"active/{id}"


def note_active(context: Context, told: Sequence[tuple[Draft, Outcome]]) -> None:
    """
    Count the reports of known items that have a lower threshold; of closed ones, too, so that none is ever missed.
    """
    activation = context.policy.activation
    if activation is None or all(rule.close_below is None for rule in activation.rules):
        return
    counted = [(draft, outcome.id) for draft, outcome in told
               if (outcome.item is not None or outcome.verdict == "unchanged") and draft.dedupe_key
               and (found := activation.rule(draft)) is not None and found[1].close_below is not None]  # fmt: skip
    context.load_records("proposal", [active_id(id) for _, id in counted])
    for draft, id in counted:
        seen_at, record = draft.observed_at or context.now, context.record("proposal", active_id(id))
        known = from_builtins(record.body, Active) if record is not None else None
        if known is None or known.policy != context.policy.revision:
            # Since when is the instant of counting: what was seen before it came was not counted.
            known = Active(since=context.now, seen=(), policy=context.policy.revision)
        after = replace(known, seen=tuple(sorted((*known.seen, seen_at))[-_SEEN_KEPT:]))
        context.put_record("proposal", active_id(id), to_builtins(after),
                           expires_at=add_seconds(context.now, _ACTIVE_DAYS * 24 * _HOUR_S))  # fmt: skip


def _too_seldom(context: Context, draft: Draft, waiting: Waiting, seen_at: Instant) -> str:
    found = context.policy.activation.rule(draft) if context.policy.activation is not None else None
    if found is None or not draft.dedupe_key:
        return ""
    rule = found[1]
    since = add_seconds(seen_at, -rule.within_hours * _HOUR_S)
    count = sum(since < at < seen_at or at == seen_at for at in waiting.seen)
    if count >= rule.sightings:
        return ""
    return f"seen {count} of the {rule.sightings} times within {rule.within_hours:g} hours that open it ({rule.name})"


def _beyond_budget(context: Context, draft: Draft) -> tuple[str, str]:
    """
    Spend one creation. Where none is left: return the storm's key, and why.
    """
    found = context.policy.budgets.rule(draft) if context.policy.budgets is not None else None
    if found is None:
        return "", ""
    budget = found[1]
    key = f"storm:{draft.source}:{budget.name}"
    id = f"budget/{draft.env}/{digest(key.encode())}"
    record = context.record("guard", id)
    first = add_seconds(context.now, -budget.within_hours * _HOUR_S)[:13]
    spent = {hour: int(n) for hour, n in (record.body["spent"] if record else {}).items() if hour > first}
    if sum(spent.values()) >= budget.creations and draft.dedupe_key:
        return key, _words(draft, budget)
    hour = context.now[:13]
    context.put_record("guard", id, {"spent": {**spent, hour: spent.get(hour, 0) + 1}})
    return "", ""


def _words(draft: Draft, budget: Budget) -> str:
    allowed = f"{budget.creations:,} items it may in {budget.within_hours} hours"
    return f"{draft.source} has opened the {allowed} ({budget.name})"


def _into_storm(context: Context, draft: Draft, waiting: Waiting, key: str) -> Waiting:
    id = _storm_id(context, (draft.env, key))
    if waiting.storm != id:
        context.storms.setdefault(id, []).append((draft, 1))
        context.storm_keys[id] = (draft.env, key)
    return replace(waiting, storm=id)


def _storm_id(context: Context, key: Key) -> ItemId:
    """
    Return the id of a storm. One that was purged goes on under its id, unless it went by another key by then.
    """
    generation = 0
    while True:
        id = item_id_of_key(key, generation)
        purged = context.record("alias", id)
        if purged is None or (purged.body.get("env"), purged.body.get("dedupe_key")) == key:
            return id
        generation += 1


def as_counted(context: Context, item: Item, source: str) -> Item:
    """
    Return a new item with the reports that were counted before it was opened.
    """
    known = context.counted.get((item.env, item.dedupe_key))
    if known is None:
        return item
    n, first_at = known
    claim = replace(item.claims[source], reports=n, first_at=first_at)
    return replace(item, claims={**item.claims, source: claim})


def settle_storms(context: Context) -> None:
    """
    Bring each storm up to date, once a command: what it holds now, and closed where that is nothing any more.
    """
    for id, moved in context.storms.items():
        item = next(iter(context.wherever([id])), None)  # whoever reports may not reach all that the storm is about
        held = (int(item.meta.get("held", 0)) if item is not None else 0) + sum(count for _, count in moved)
        come = [draft for draft, count in moved if count > 0]
        if item is None:
            if come:  # else it was purged, and nobody misses what leaves it
                _open_storm(context, id, come, held)
        else:
            _change_storm(context, item, come, held)


def _open_storm(context: Context, id: str, come: Sequence[Draft], held: int) -> None:
    env, key = context.storm_keys[id]
    source = come[0].source
    item = Item(
        id=id, revision=1, env=env, status="open", priority=min(draft.priority for draft in come),
        created_at=context.now, updated_at=context.now, category="storm",
        title=f"{source} reports more than it may open",
        description="Beyond the budget of this source, new problems are counted here. Each opens with its next report "
        "once there is room, or when the policy's budget is raised.",
        source=source, dedupe_key=key, tags=("storm",), meta={"held": held},
        evidence_refs=merge_evidence({}, _listed(come)), evidence_totals=total_evidence({}, {}, _listed(come)),
    )  # fmt: skip
    state = context.key_state((env, key))
    if state is not None and state.purged_at:
        item = replace(item, revision=state.last_revision + 1, head=state.head, episode=state.episode + 1)
    if state is not None:
        context.put_key_state((env, key), KeyState(item_id=id))
    context.put(None, item, "created")


def _change_storm(context: Context, item: Item, come: Sequence[Draft], held: int) -> None:
    after = replace(item, meta={**item.meta, "held": held}, updated_at=max(context.now, item.updated_at))
    if come:
        totals = total_evidence(item.evidence_totals, item.evidence_refs, _listed(come))
        after = replace(after, evidence_refs=merge_evidence(item.evidence_refs, _listed(come)), evidence_totals=totals)
        if "priority" not in item.held:
            after = replace(after, priority=min(item.priority, *(draft.priority for draft in come)))
    if item.status in CLOSED:
        if held > 0 and item.closed_reason == "fixed":
            context.put(item, reopened(context, after), "reopened", message="more is held again")
        elif after.meta != item.meta:
            context.put(item, after, "auto_update")
    elif held <= 0 and "status" not in item.held:
        closed = replace(after, status="done", closed_at=context.now, closed_reason="fixed",
                         closed_by=context.actor.name, wake_at="")  # fmt: skip
        context.put(item, closed, "closed", message="it holds nothing any more", meta={"proof": "dissolved"})
    else:
        context.put(item, after, "auto_update")


def _listed(drafts: Sequence[Draft]) -> dict[str, Any]:
    return {"held": [draft.dedupe_key for draft in drafts]} if drafts else {}
